//! Reservations: granted, refused, changed, released; alone and two hundred at once.

use crate::support::{World, but, order, tenant};
use serde_json::{Value, json};
use siyada_api::openapi::examples;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

async fn held(world: &World, name: &str) -> (i64, i64) {
    let view: Value = world.operator().get(&format!("/v1/tenants/{name}/quota")).await.ok();
    let number = |pointer: &str| view.pointer(pointer).and_then(Value::as_i64).unwrap();
    (number("/held/resources/instances"), number("/held/monthlyCost/minor"))
}

#[tokio::test]
async fn a_reservation_holds_along_the_whole_chain() {
    let world = World::with_tenants().await;
    let request = order("police", "db", 1, 10);
    let first: Value = world.operator().put("/v1/reservations/u-1", &request).await.ok();
    assert_eq!(first["commitment"]["monthlyCost"], json!({"minor": 94_690, "currency": "MAD"}));
    assert_eq!(first["priceList"], "tarif-2026");
    for name in ["police", "interior", "kingdom"] {
        assert_eq!(held(&world, name).await, (1, 94_690), "{name}");
    }
    assert_eq!(held(&world, "health").await, (0, 0));
    let again: Value = world.operator().put("/v1/reservations/u-1", &request).await.ok();
    assert_eq!(again, first);
    assert_eq!(held(&world, "kingdom").await, (1, 94_690));
    let page: Value = world.member("interior").get("/v1/tenants/interior/reservations").await.ok();
    assert_eq!(page, json!({"items": [first]}));
}

#[tokio::test]
async fn a_refusal_names_tenant_dimension_asked_free_and_limit() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    let check = async |name: &str, parent: Option<&str>, quota: Value, expect: Value| {
        operator.put(&format!("/v1/tenants/{name}"), &tenant(name, parent, quota)).await.ok::<Value>();
        let problem = operator
            .put("/v1/reservations/u", &order("police", "db", 2, 10))
            .await
            .refused(409, "quota-exceeded");
        let shortfall = problem.shortfall.unwrap();
        assert!(problem.detail.starts_with(&shortfall.to_string()), "{}", problem.detail);
        assert_eq!(serde_json::to_value(shortfall).unwrap(), but(&expect, json!({"tenant": name})));
        operator.put(&format!("/v1/tenants/{name}"), &tenant(name, parent, json!({}))).await.ok::<Value>();
    };
    let dimension = |name: &str, asked: i64, limit: i64| json!({"dimension": name, "asked": asked, "free": limit, "limit": limit});
    let (up, top) = (Some("interior"), Some("kingdom"));
    check("police", up, json!({"instances": 1}), dimension("instances", 2, 1)).await;
    check("interior", top, json!({"cpuMilli": 1_999}), dimension("cpu", 2_000, 1_999)).await;
    check("kingdom", None, json!({"memoryBytes": 5}), dimension("memory", 4 << 30, 5)).await;
    check("police", up, json!({"storageBytes": 0}), dimension("storage", 10 << 30, 0)).await;
    let money = json!({"monthlyCost": {"minor": 187_814, "currency": "MAD"}});
    let expect = but(&dimension("monthlyCost", 187_815, 187_814), json!({"currency": "MAD"}));
    check("kingdom", None, money, expect).await;
    assert_eq!(held(&world, "kingdom").await, (0, 0));
    operator.put("/v1/reservations/u", &order("police", "db", 2, 10)).await.ok::<Value>();
}

#[tokio::test]
async fn exactly_the_limit_fits() {
    let world = World::with_tenants().await;
    let quota = json!({
        "instances": 1, "cpuMilli": 1_000, "memoryBytes": 2_i64 << 30, "storageBytes": 10_i64 << 30,
        "monthlyCost": {"minor": 94_690, "currency": "MAD"}
    });
    world
        .operator()
        .put("/v1/tenants/police", &tenant("police", Some("interior"), quota))
        .await
        .ok::<Value>();
    world.operator().put("/v1/reservations/u", &order("police", "db", 1, 10)).await.ok::<Value>();
    world.operator().put("/v1/reservations/v", &order("police", "e", 0, 0)).await.ok::<Value>();
}

#[tokio::test]
async fn a_change_holds_the_difference_and_an_older_one_is_stale() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    operator
        .put("/v1/tenants/police", &tenant("police", Some("interior"), json!({"instances": 3})))
        .await
        .ok::<Value>();
    let path = "/v1/reservations/u-1";
    let of = |generation: i64, instances: i64| {
        but(&order("police", "db", instances, 0), json!({"generation": generation}))
    };
    operator.put(path, &of(1, 2)).await.ok::<Value>();
    operator.put(path, &of(3, 3)).await.ok::<Value>();
    assert_eq!(held(&world, "police").await, (3, 279_375));
    let problem = operator.put(path, &of(2, 1)).await.refused(409, "stale");
    assert!(problem.detail.contains('3'), "{}", problem.detail);
    operator.put(path, &of(4, 4)).await.refused(409, "quota-exceeded");
    // Refused, so that what was held before is still on record and may be asked again.
    operator.put(path, &of(3, 3)).await.ok::<Value>();
    // Other amounts under the same generation: the plan itself was changed.
    operator.put(path, &of(3, 1)).await.ok::<Value>();
    assert_eq!(held(&world, "kingdom").await, (1, 93_125));
    let described: Value = operator.put(path, &but(&of(4, 1), json!({"plan": "tiny"}))).await.ok();
    assert_eq!(
        (&described["request"]["plan"], &described["request"]["generation"]),
        (&json!("tiny"), &json!(4))
    );
    operator.put(path, &of(3, 1)).await.refused(409, "stale");
}

#[tokio::test]
async fn an_order_keeps_its_price_until_it_is_valued_anew_or_its_amounts_change() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    let path = "/v1/reservations/u-1";
    operator.put(path, &order("police", "db", 1, 10)).await.ok::<Value>();
    let mut dearer = examples::price_list();
    dearer["prices"]["name"] = json!("tarif-now");
    dearer["prices"]["validFrom"] = json!("2026-02-01T00:00:00Z");
    dearer["prices"]["skus"] = json!([
        {"sku": "postgres-small", "unit": "Hour", "price": "2"}, {"sku": "block-storage", "unit": "GibHour", "price": "1"}
    ]);
    operator.put("/v1/price-lists/tarif-now", &dearer).await.ok::<Value>();
    let same: Value =
        operator.put(path, &but(&order("police", "db", 1, 10), json!({"generation": 2}))).await.ok();
    assert_eq!(
        (&same["priceList"], &same["commitment"]["monthlyCost"]["minor"]),
        (&json!("tarif-2026"), &json!(94_690))
    );
    // What is retained keeps its price, so that it only shrinks.
    let retained = but(&order("police", "db", 1, 10), json!({"generation": 3, "retained": true}));
    let kept: Value = operator.put(path, &retained).await.ok();
    assert_eq!(
        (&kept["priceList"], &kept["commitment"]["monthlyCost"]["minor"]),
        (&json!("tarif-2026"), &json!(1_565))
    );
    let larger: Value =
        operator.put(path, &but(&order("police", "db", 2, 10), json!({"generation": 4}))).await.ok();
    assert_eq!(
        (&larger["priceList"], &larger["commitment"]["monthlyCost"]["minor"]),
        (&json!("tarif-now"), &json!(298_000 + 745_000))
    );
    assert!(world.wrong_sums().await.is_empty());
}

#[tokio::test]
async fn what_is_retained_holds_its_storage_only_and_is_listed() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    operator.put("/v1/reservations/u-1", &order("police", "a", 1, 10)).await.ok::<Value>();
    operator.put("/v1/reservations/u-2", &order("police", "b", 1, 10)).await.ok::<Value>();
    // The tenant is full and suspended: giving back is always possible.
    let full = but(
        &tenant("police", Some("interior"), json!({"instances": 0, "storageBytes": 0})),
        json!({"suspended": true}),
    );
    operator.put("/v1/tenants/police", &full).await.ok::<Value>();
    let retained = but(&order("police", "a", 1, 10), json!({"generation": 2, "retained": true}));
    let kept: Value = operator.put("/v1/reservations/u-1", &retained).await.ok();
    assert_eq!(
        kept["commitment"],
        json!({
            "resources": {"instances": 0, "cpuMilli": 0, "memoryBytes": 0, "storageBytes": 10_i64 << 30},
            "monthlyCost": {"minor": 1_565, "currency": "MAD"}
        })
    );
    assert_eq!(held(&world, "kingdom").await, (1, 94_690 + 1_565));
    for (query, expect) in
        [("", vec!["u-1", "u-2"]), ("?retained=true", vec!["u-1"]), ("?retained=false", vec!["u-2"])]
    {
        let page: Value = operator.get(&format!("/v1/reservations{query}")).await.ok();
        let uids: Vec<_> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["orderUid"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(uids, expect, "{query}");
    }
}

#[tokio::test]
async fn a_suspended_tenant_takes_no_growth_and_neither_does_one_below_it() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    operator.put("/v1/reservations/u-1", &order("police", "a", 2, 10)).await.ok::<Value>();
    let suspended = but(&tenant("interior", Some("kingdom"), json!({})), json!({"suspended": true}));
    operator.put("/v1/tenants/interior", &suspended).await.ok::<Value>();
    let problem = operator
        .put("/v1/reservations/u-2", &order("police", "b", 1, 1))
        .await
        .refused(409, "tenant-suspended");
    assert!(problem.detail.contains("interior"), "{}", problem.detail);
    let of = |generation: i64, instances: i64| {
        but(&order("police", "a", instances, 10), json!({"generation": generation}))
    };
    operator.put("/v1/reservations/u-1", &of(2, 3)).await.refused(409, "tenant-suspended");
    operator.put("/v1/reservations/u-1", &of(2, 1)).await.ok::<Value>();
    operator.put("/v1/reservations/u-3", &order("health", "c", 1, 1)).await.ok::<Value>();
    operator.delete("/v1/reservations/u-1").await.gone();
}

#[tokio::test]
async fn what_cannot_be_priced_or_placed_is_refused_with_its_own_code() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    let put = async |request: &Value| operator.put("/v1/reservations/u-1", request).await;
    put(&order("absent", "a", 1, 1)).await.refused(409, "tenant-unknown");
    let mut unknown = order("police", "a", 1, 1);
    unknown["items"][0]["sku"] = json!("unheard-of");
    let problem = put(&unknown).await.refused(409, "price-unknown");
    assert!(problem.detail.contains("unheard-of"), "{}", problem.detail);
    put(&but(&order("police", "a", 1, 1), json!({"name": ""}))).await.refused(422, "invalid");
    let mut negative = order("police", "a", 1, 1);
    negative["resources"]["cpuMilli"] = json!(-1);
    put(&negative).await.refused(422, "invalid");
    let mut huge = order("police", "a", 1, 1);
    huge["items"][0]["quantity"] = json!(i64::MAX);
    put(&huge).await.refused(422, "invalid");
    for wrong in [json!(-5), json!(0.5), json!(1e300), json!("1"), json!(null)] {
        for pointer in ["/resources/storageBytes", "/items/0/quantity", "/generation"] {
            let mut request = order("police", "a", 1, 1);
            *request.pointer_mut(pointer).unwrap() = wrong.clone();
            if pointer != "/generation" || wrong != json!(-5) {
                put(&request).await.refused(422, "invalid");
            }
        }
    }
    operator.put("/v1/reservations/Not_a_uid", &order("police", "a", 1, 1)).await.refused(404, "not-found");
    assert_eq!(held(&world, "kingdom").await, (0, 0));
}

#[tokio::test]
async fn an_order_never_becomes_another() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    let path = "/v1/reservations/u-1";
    operator.put(path, &order("police", "a", 1, 1)).await.ok::<Value>();
    operator
        .put(path, &but(&order("police", "b", 1, 1), json!({"generation": 2})))
        .await
        .refused(409, "conflict");
    operator
        .put(path, &but(&order("health", "a", 1, 1), json!({"generation": 2})))
        .await
        .refused(409, "conflict");
    assert_eq!(held(&world, "health").await, (0, 0));
}

#[tokio::test]
async fn a_reservation_goes_when_its_usage_ended_and_going_twice_is_no_error() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    operator.delete("/v1/reservations/never-was").await.gone();
    operator.put("/v1/reservations/u-1", &order("police", "a", 1, 10)).await.ok::<Value>();
    let report = async |meter: &str, level: Value| {
        let fact =
            json!({"orderUid": "u-1", "tenant": "police", "meter": meter, "reason": "Seen", "level": level});
        operator
            .post("/v1/usage", &json!({"collector": "c", "epoch": 1, "facts": [fact]}))
            .await
            .ok::<Value>();
    };
    report("compute", json!({"sku": "postgres-small", "quantity": 1})).await;
    report("storage", json!({"sku": "block-storage", "quantity": 10_240})).await;
    let problem = operator.delete("/v1/reservations/u-1").await.refused(409, "in-use");
    assert!(problem.detail.contains("compute and storage"), "{}", problem.detail);
    report("compute", Value::Null).await;
    let problem = operator.delete("/v1/reservations/u-1").await.refused(409, "in-use");
    assert!(problem.detail.contains("storage") && !problem.detail.contains("compute"), "{}", problem.detail);
    report("storage", Value::Null).await;
    operator.delete("/v1/reservations/u-1").await.gone();
    operator.delete("/v1/reservations/u-1").await.gone();
    assert_eq!(held(&world, "kingdom").await, (0, 0));
}

#[tokio::test]
async fn lists_are_paged_to_the_last_row() {
    let world = World::with_tenants().await;
    for index in 0..7 {
        let path = format!("/v1/reservations/u-{index}");
        world.operator().put(&path, &order("police", &format!("db-{index}"), 0, 1)).await.ok::<Value>();
    }
    for base in ["/v1/reservations", "/v1/tenants/kingdom/reservations"] {
        let (mut uids, mut token) = (Vec::new(), String::new());
        loop {
            let page: Value = world.operator().get(&format!("{base}?pageSize=3{token}")).await.ok();
            uids.extend(
                page["items"].as_array().unwrap().iter().map(|r| r["orderUid"].as_str().unwrap().to_owned()),
            );
            match page["nextPageToken"].as_str() {
                Some(next) => token = format!("&pageToken={next}"),
                None => break,
            }
        }
        assert_eq!(uids, ["u-0", "u-1", "u-2", "u-3", "u-4", "u-5", "u-6"], "{base}");
    }
}

/// Looks again and again whether any sum lies above its limit.
async fn watch(world: &World, stop: Arc<AtomicBool>) -> u64 {
    let sql = "select count(*) from tenant_quota where held_instances > limit_instances
               or held_money_minor > limit_money_minor or held_storage_bytes > limit_storage_bytes";
    let mut looks = 0;
    while !stop.load(Ordering::Acquire) {
        let over: i64 = sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap();
        assert_eq!(over, 0, "a sum was above its limit");
        looks += 1;
    }
    looks
}

#[tokio::test(flavor = "multi_thread")]
async fn i08_two_hundred_at_once_never_exceed_any_limit() {
    let world = Arc::new(World::with_tenants().await);
    let operator = world.operator();
    // The middle tenant is the tightest; the leaves and the root would each let more pass.
    for (name, parent, quota) in [
        ("kingdom", None, json!({"instances": 60, "monthlyCost": {"minor": 93_125 * 50, "currency": "MAD"}})),
        ("interior", Some("kingdom"), json!({"instances": 37, "storageBytes": 200_i64 << 30})),
        ("police", Some("interior"), json!({"instances": 50})),
    ] {
        operator.put(&format!("/v1/tenants/{name}"), &tenant(name, parent, quota)).await.ok::<Value>();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = tokio::spawn({
        let (world, stop) = (world.clone(), stop.clone());
        async move { watch(&world, stop).await }
    });
    let mut tasks = Vec::new();
    for index in 0..200 {
        let world = world.clone();
        tasks.push(tokio::spawn(async move {
            // Every fourth goes to the other branch, so that chains of different length meet at the root.
            let tenant = if index % 4 == 0 { "health" } else { "police" };
            let request = order(tenant, &format!("db-{index}"), 1, 0);
            world.operator().put(&format!("/v1/reservations/u-{index}"), &request).await
        }));
    }
    let mut granted = 0;
    for task in tasks {
        let answer = task.await.unwrap();
        match answer.status.as_u16() {
            200 => granted += 1,
            409 => {}
            other => panic!("status {other}: {}", answer.text()),
        }
    }
    stop.store(true, Ordering::Release);
    assert!(watcher.await.unwrap() > 0);
    assert!(world.wrong_sums().await.is_empty());
    let (kingdom, money) = held(&world, "kingdom").await;
    let (interior, _) = held(&world, "interior").await;
    assert_eq!((kingdom, money), (granted, granted * 93_125));
    // 150 asked for 37 in one branch and 50 for the rest of the root's 50: what is granted is all that fits.
    assert_eq!(kingdom, 50);
    assert!(interior <= 37 && interior == held(&world, "police").await.0);
    // Sent once more, each is granted or refused as it was.
    let mut again = 0;
    for index in 0..200 {
        let tenant = if index % 4 == 0 { "health" } else { "police" };
        let request = order(tenant, &format!("db-{index}"), 1, 0);
        again +=
            i64::from(operator.put(&format!("/v1/reservations/u-{index}"), &request).await.status == 200);
    }
    assert_eq!((again, held(&world, "kingdom").await.0), (granted, granted));
}

#[tokio::test(flavor = "multi_thread")]
async fn i09_the_same_order_sent_fifty_times_at_once_is_held_once() {
    let world = Arc::new(World::with_tenants().await);
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move {
                world
                    .operator()
                    .put("/v1/reservations/u-1", &order("police", "db", 1, 10))
                    .await
                    .ok::<Value>()
            })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(held(&world, "kingdom").await, (1, 94_690));
}

#[tokio::test]
async fn a_refusal_names_what_could_be_freed_and_nobody_elses_orders() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    for (uid, owner, gib) in
        [("a", "police", 5), ("b", "police", 30), ("c", "interior", 40), ("d", "health", 50)]
    {
        operator.put(&format!("/v1/reservations/{uid}"), &order(owner, uid, 0, gib)).await.ok::<Value>();
    }
    let full = but(&tenant("kingdom", None, json!({"storageBytes": 0})), json!({"generation": 2}));
    operator.put("/v1/tenants/kingdom", &full).await.ok::<Value>();
    let refused = async |owner: &str, name: &str| {
        let answer = operator.put(&format!("/v1/reservations/{name}"), &order(owner, name, 0, 60)).await;
        let problem = answer.refused(409, "quota-exceeded");
        let short = problem.shortfall.unwrap();
        assert_eq!(short.tenant.as_str(), "kingdom");
        (short.freeable.into_iter().map(|f| (f.name, f.amount >> 30)).collect::<Vec<_>>(), problem.detail)
    };
    let of = |rows: &[(&str, i64)]| rows.iter().map(|(n, a)| ((*n).to_owned(), *a)).collect::<Vec<_>>();
    assert_eq!(refused("police", "x").await.0, of(&[("b", 30), ("a", 5)]));
    let (rows, words) = refused("interior", "y").await;
    assert_eq!(rows, of(&[("c", 40), ("b", 30), ("a", 5)]));
    assert!(words.contains("PostgresInstance interior/c (40Gi)") && !words.contains("health"), "{words}");
    assert_eq!(refused("health", "z").await.0, of(&[("d", 50)]));
}

#[tokio::test]
async fn a_suspended_order_makes_room_and_comes_back_only_where_there_is_some() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    let one = tenant("interior", Some("kingdom"), json!({"instances": 1}));
    operator.put("/v1/tenants/interior", &one).await.ok::<Value>();
    let of = |name: &str, generation: i64, instances: i64| {
        but(&order("police", name, instances, 10), json!({"generation": generation}))
    };
    operator.put("/v1/reservations/u-1", &of("a", 1, 1)).await.ok::<Value>();
    operator.put("/v1/reservations/u-2", &of("b", 1, 1)).await.refused(409, "quota-exceeded");
    // The database is stopped some moments after it was asked to be: the same generation is told twice.
    operator.put("/v1/reservations/u-1", &of("a", 2, 1)).await.ok::<Value>();
    operator.put("/v1/reservations/u-1", &of("a", 2, 0)).await.ok::<Value>();
    assert_eq!(held(&world, "interior").await, (0, 1_565), "its storage stays");
    operator.put("/v1/reservations/u-2", &of("b", 1, 1)).await.ok::<Value>();
    let problem = operator.put("/v1/reservations/u-1", &of("a", 3, 1)).await.refused(409, "quota-exceeded");
    assert!(problem.detail.contains("asked 1, free 0 of 1"), "{}", problem.detail);
    assert_eq!(held(&world, "interior").await, (1, 94_690 + 1_565), "what it held it holds");
    // The wish is taken back, and asked again when there is room.
    operator.put("/v1/reservations/u-1", &of("a", 4, 0)).await.ok::<Value>();
    operator.delete("/v1/reservations/u-2").await.gone();
    operator.put("/v1/reservations/u-1", &of("a", 5, 1)).await.ok::<Value>();
    assert_eq!(held(&world, "kingdom").await, (1, 94_690));
    assert!(world.wrong_sums().await.is_empty());
}

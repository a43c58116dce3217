//! Tenants: the tree, limits, moves.

use crate::support::{World, but, order, tenant};
use serde_json::{Value, json};
use siyada_api::openapi::examples;

async fn held(world: &World, name: &str) -> i64 {
    let view: Value = world.operator().get(&format!("/v1/tenants/{name}/quota")).await.ok();
    view["held"]["resources"]["instances"].as_i64().unwrap()
}

#[tokio::test]
async fn a_tenant_reads_back_as_it_was_pushed() {
    let world = World::with_tenants().await;
    let record = examples::tenant();
    assert_eq!(world.operator().put("/v1/tenants/interior", &record).await.ok::<Value>(), record);
    assert_eq!(world.operator().get("/v1/tenants/interior").await.ok::<Value>(), record);
}

#[tokio::test]
async fn an_older_generation_never_replaces_a_newer() {
    let world = World::new().await;
    let record = tenant("a", None, json!({}));
    let path = "/v1/tenants/a";
    world.operator().put(path, &but(&record, json!({"generation": 3}))).await.ok::<Value>();
    world.operator().put(path, &but(&record, json!({"generation": 3}))).await.ok::<Value>();
    let problem =
        world.operator().put(path, &but(&record, json!({"generation": 2}))).await.refused(409, "stale");
    assert!(problem.detail.contains('3'), "{}", problem.detail);
    // A tenant created anew begins to count anew.
    world.operator().put(path, &but(&record, json!({"generation": 1, "uid": "new"}))).await.ok::<Value>();
}

#[tokio::test]
async fn a_parent_must_be_known_and_never_below() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    operator
        .put("/v1/tenants/x", &tenant("x", Some("absent"), json!({})))
        .await
        .refused(409, "tenant-unknown");
    operator
        .put("/v1/tenants/kingdom", &tenant("kingdom", Some("police"), json!({})))
        .await
        .refused(422, "invalid");
    operator
        .put("/v1/tenants/police", &tenant("police", Some("police"), json!({})))
        .await
        .refused(422, "invalid");
    operator.put("/v1/tenants/Nope", &tenant("x", None, json!({}))).await.refused(404, "not-found");
}

#[tokio::test]
async fn the_tree_is_at_most_eight_deep() {
    let world = World::new().await;
    let operator = world.operator();
    for depth in 1..=8 {
        let parent = (depth > 1).then(|| format!("d{}", depth - 1));
        operator
            .put(&format!("/v1/tenants/d{depth}"), &tenant("d", parent.as_deref(), json!({})))
            .await
            .ok::<Value>();
    }
    operator.put("/v1/tenants/d9", &tenant("d", Some("d8"), json!({}))).await.refused(422, "invalid");
    // Moving a subtree must not make its leaves too deep either.
    operator.put("/v1/tenants/root", &tenant("root", None, json!({}))).await.ok::<Value>();
    operator.put("/v1/tenants/d1", &tenant("d", Some("root"), json!({}))).await.refused(422, "invalid");
    assert_eq!(operator.get("/v1/tenants/d8").await.status, 200);
}

#[tokio::test]
async fn a_limit_below_use_is_stored_and_stops_growth_only() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    operator.put("/v1/reservations/u-1", &order("police", "a", 3, 10)).await.ok::<Value>();
    operator
        .put("/v1/tenants/police", &tenant("police", Some("interior"), json!({"instances": 2})))
        .await
        .ok::<Value>();
    let view: Value = operator.get("/v1/tenants/police/quota").await.ok();
    assert_eq!(
        (&view["limit"]["instances"], &view["held"]["resources"]["instances"]),
        (&json!(2), &json!(3))
    );
    let refused = operator
        .put("/v1/reservations/u-2", &order("police", "b", 1, 1))
        .await
        .refused(409, "quota-exceeded");
    let shortfall = refused.shortfall.unwrap();
    assert_eq!((shortfall.asked, shortfall.free, shortfall.limit), (1, 0, 2));
    let smaller = but(&order("police", "a", 2, 20), json!({"generation": 2}));
    operator.put("/v1/reservations/u-1", &smaller).await.ok::<Value>();
    operator.delete("/v1/reservations/u-1").await.gone();
    assert_eq!(held(&world, "police").await, 0);
}

#[tokio::test]
async fn a_quota_is_in_the_currency_of_the_prices() {
    let world = World::with_tenants().await;
    let euros = json!({"monthlyCost": {"minor": 1_000, "currency": "EUR"}});
    let problem = world
        .operator()
        .put("/v1/tenants/x", &tenant("x", None, euros.clone()))
        .await
        .refused(422, "invalid");
    assert!(problem.detail.contains("EUR") && problem.detail.contains("MAD"), "{}", problem.detail);
    // Pushed before there were prices, it is refused when something is ordered.
    let world = World::new().await;
    let operator = world.operator();
    operator.put("/v1/tenants/top", &tenant("top", None, euros)).await.ok::<Value>();
    operator.put("/v1/tenants/x", &tenant("x", Some("top"), json!({}))).await.ok::<Value>();
    operator.put("/v1/price-lists/tarif-2026", &examples::price_list()).await.ok::<Value>();
    let problem =
        operator.put("/v1/reservations/u", &order("x", "a", 1, 1)).await.refused(409, "price-unknown");
    assert!(problem.detail.contains("top") && problem.detail.contains("MAD"), "{}", problem.detail);
    let negative = json!({"instances": -1});
    operator.put("/v1/tenants/y", &tenant("y", None, negative)).await.refused(422, "invalid");
}

#[tokio::test]
async fn a_moved_tenant_carries_its_sums_or_stays() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    operator.put("/v1/tenants/brigade", &tenant("brigade", Some("police"), json!({}))).await.ok::<Value>();
    operator.put("/v1/reservations/u-1", &order("brigade", "a", 3, 10)).await.ok::<Value>();
    operator
        .put("/v1/tenants/health", &tenant("health", Some("kingdom"), json!({"instances": 2})))
        .await
        .ok::<Value>();
    let moved = but(&tenant("police", Some("health"), json!({})), json!({"generation": 2}));
    let problem = operator.put("/v1/tenants/police", &moved).await.refused(409, "quota-exceeded");
    assert_eq!(problem.shortfall.unwrap().tenant.as_str(), "health");
    assert_eq!((held(&world, "interior").await, held(&world, "health").await), (3, 0));

    let wider = but(&tenant("health", Some("kingdom"), json!({"instances": 3})), json!({"generation": 2}));
    operator.put("/v1/tenants/health", &wider).await.ok::<Value>();
    operator.put("/v1/tenants/police", &moved).await.ok::<Value>();
    assert_eq!((held(&world, "interior").await, held(&world, "health").await), (0, 3));
    assert_eq!((held(&world, "kingdom").await, held(&world, "police").await), (3, 3));
    assert!(world.wrong_sums().await.is_empty());
    // The leaf below followed: its growth is now stopped by the new chain, and its old members above lost sight.
    let larger = but(&order("brigade", "a", 4, 10), json!({"generation": 2}));
    let problem = operator.put("/v1/reservations/u-1", &larger).await.refused(409, "quota-exceeded");
    assert_eq!(problem.shortfall.unwrap().tenant.as_str(), "health");
    assert_eq!(world.member("interior").get("/v1/tenants/brigade").await.status, 404);
    assert_eq!(world.member("health").get("/v1/tenants/brigade").await.status, 200);
    // To the root, and back.
    let root = but(&tenant("police", None, json!({})), json!({"generation": 3}));
    operator.put("/v1/tenants/police", &root).await.ok::<Value>();
    assert_eq!((held(&world, "kingdom").await, held(&world, "police").await), (0, 3));
    assert!(world.wrong_sums().await.is_empty());
}

#[tokio::test]
async fn a_tenant_goes_only_when_nothing_depends_on_it() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    for index in 0..25 {
        let name = format!("db-{index:02}");
        operator
            .put(&format!("/v1/reservations/u-{index}"), &order("police", &name, 0, 1))
            .await
            .ok::<Value>();
    }
    let problem = operator.delete("/v1/tenants/police").await.refused(409, "in-use");
    assert!(
        problem.detail.contains("PostgresInstance police/db-19") && !problem.detail.contains("db-20"),
        "{}",
        problem.detail
    );
    let problem = operator.delete("/v1/tenants/interior").await.refused(409, "in-use");
    assert!(problem.detail.contains("tenant police"), "{}", problem.detail);
    for index in 0..25 {
        operator.delete(&format!("/v1/reservations/u-{index}")).await.gone();
    }
    operator.delete("/v1/tenants/police").await.gone();
    operator.delete("/v1/tenants/police").await.gone();
    operator.get("/v1/tenants/police").await.refused(404, "not-found");
    operator.put("/v1/reservations/u-1", &order("police", "a", 1, 1)).await.refused(409, "tenant-unknown");
    // A new one of that name begins empty.
    operator.put("/v1/tenants/police", &tenant("police", Some("interior"), json!({}))).await.ok::<Value>();
    assert_eq!(held(&world, "police").await, 0);
}

#[tokio::test]
async fn past_usage_of_a_deleted_tenant_stays_in_the_report_above() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    operator.put("/v1/reservations/u-1", &order("police", "a", 1, 1)).await.ok::<Value>();
    let fact = |at: &str, level: Value| {
        json!({
            "orderUid": "u-1", "tenant": "police", "meter": "compute", "reason": "Ready", "at": at, "level": level
        })
    };
    let facts = [
        fact("2026-02-01T00:00:00Z", json!({"sku": "postgres-small", "quantity": 1})),
        fact("2026-02-01T04:00:00Z", Value::Null),
    ];
    let batch = json!({"collector": "c", "epoch": 1, "facts": facts});
    operator.post("/v1/usage", &batch).await.ok::<Value>();
    operator.delete("/v1/reservations/u-1").await.gone();
    operator.delete("/v1/tenants/police").await.gone();
    let path = "/v1/tenants/interior/usage?from=2026-02-01T00:00:00Z&to=2026-03-01T00:00:00Z";
    let report: Value = operator.get(path).await.ok();
    assert_eq!(report["total"], json!({"minor": 500, "currency": "MAD"}));
    assert_eq!((&report["lines"][0]["tenant"], &report["lines"][0]["name"]), (&json!("police"), &json!("a")));
    // Sent once more after the tenant is gone, the facts are still known.
    assert_eq!(
        operator.post("/v1/usage", &batch).await.ok::<Value>(),
        json!({"recorded": 0, "known": 2, "gaps": 0})
    );
}

#[tokio::test]
async fn tenants_are_found_by_their_names_in_every_script_by_those_who_may_see_them() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    let named = but(
        &tenant("police", Some("interior"), json!({})),
        json!({
            "generation": 2,
            "displayName": {"fr": "Sûreté Nationale", "ar": "الأمن الوطني", "zgh": "ⵜⴰⵏⴼⵍⵓⵙⵜ ⵜⴰⵏⴰⵎⵓⵔⵜ"}
        }),
    );
    operator.put("/v1/tenants/police", &named).await.ok::<Value>();
    let found = async |namespace: &str, search: &str| {
        let encoded: String = search.bytes().map(|b| format!("%{b:02X}")).collect();
        let page: Value = world.member(namespace).get(&format!("/v1/tenants?search={encoded}")).await.ok();
        let rows = page["items"].as_array().unwrap().clone();
        rows.into_iter().map(|row| row["tenant"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for search in ["الأمن", "ⵜⴰⵏⴰⵎⵓⵔⵜ", "SÛRETÉ", "pol"] {
        assert_eq!(found("interior", search).await, ["police"], "{search}");
        assert_eq!(found("audit", search).await, ["police"], "{search}");
        assert!(found("health", search).await.is_empty(), "{search}");
    }
    assert_eq!(found("interior", "").await, ["interior", "police"]);
    assert_eq!(found("police", "").await, ["police"]);
    // As the name of a tenant itself, which is also the name of a namespace, they are nothing that exists.
    operator.put("/v1/tenants/%D9%88%D8%B2", &named).await.refused(404, "not-found");
    operator.get(&format!("/v1/tenants?search={}", "a".repeat(101))).await.refused(422, "invalid");
}

#[tokio::test]
async fn two_thousand_children_of_one_parent_leave_everything_quick() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    let sql = "with made as (
                   insert into tenant (id, name, uid, generation, parent_id, path, suspended, record)
                   overriding system value
                   select 1000 + n, 'child-' || n, 'uid-' || n, 1, p.id, p.path || (1000 + n)::bigint, false,
                          jsonb_set(c.record, '{parent}', '\"interior\"')
                   from generate_series(1, 2000) n, tenant p, tenant c where p.name = 'interior' and c.name = 'police'
                   returning id
               ) insert into tenant_quota (tenant_id) select id from made";
    sqlx::query(sql).execute(&world.pool).await.unwrap();
    sqlx::query("analyze").execute(&world.pool).await.unwrap();
    let one = but(&tenant("child-7", Some("interior"), json!({"instances": 2})), json!({"generation": 2}));
    let began = std::time::Instant::now();
    operator.put("/v1/tenants/child-7", &one).await.ok::<Value>();
    operator.put("/v1/reservations/u-1", &order("child-7", "db", 1, 1)).await.ok::<Value>();
    let view: Value = operator.get("/v1/tenants/kingdom/quota").await.ok();
    assert_eq!(view["reservations"], 1);
    let moved = but(&tenant("interior", None, json!({})), json!({"generation": 2}));
    operator.put("/v1/tenants/interior", &moved).await.ok::<Value>();
    // A debug build on a busy machine; what must not be is a time that grows with every pair of children.
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(world.wrong_sums().await.is_empty());
    let page: Value = operator.get("/v1/tenants?search=child-1999").await.ok();
    assert_eq!(page["items"][0]["tenant"], "child-1999");
}

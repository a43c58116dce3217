//! Usage: batches, epochs, checkpoints, intervals and reports.

use crate::support::{World, order, prices_of_2024};
use serde_json::{Value, json};
use siyada_model::usage::Interval;

fn fact(uid: &str, meter: &str, at: &str, level: Option<(&str, i64)>) -> Value {
    let level = level.map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity}));
    json!({"orderUid": uid, "tenant": "police", "meter": meter, "at": at, "level": level, "reason": "Seen"})
}

fn batch(epoch: i64, facts: &[Value]) -> Value {
    json!({"collector": "cluster-a", "epoch": epoch, "facts": facts})
}

/// Two orders around a change of prices on 11 March 2024.
fn march() -> Vec<Value> {
    vec![
        fact("u-1", "compute", "2024-02-20T00:00:00Z", Some(("postgres-small", 1))),
        fact("u-1", "compute", "2024-03-20T12:00:00Z", None),
        fact("u-1", "storage", "2024-02-20T00:00:00Z", Some(("block-storage", 10_240))),
        fact("u-2", "compute", "2024-03-10T23:30:00.5Z", Some(("postgres-small", 2))),
        fact("u-2", "compute", "2024-03-11T00:30:00Z", None),
    ]
}

async fn world_of_march() -> World {
    let world = World::with_tenants().await;
    prices_of_2024(&world).await;
    for uid in ["u-1", "u-2"] {
        world
            .operator()
            .put(&format!("/v1/reservations/{uid}"), &order("police", uid, 1, 10))
            .await
            .ok::<Value>();
    }
    world
}

const MARCH: &str = "from=2024-03-01T00:00:00Z&to=2024-04-01T00:00:00Z";

async fn report(world: &World, tenant: &str) -> Value {
    world.operator().get(&format!("/v1/tenants/{tenant}/usage?{MARCH}")).await.ok()
}

async fn all_intervals(world: &World, query: &str) -> Vec<Interval> {
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let page: Value =
            world.operator().get(&format!("/v1/tenants/kingdom/intervals?{query}{token}")).await.ok();
        found.extend(serde_json::from_value::<Vec<Interval>>(page["items"].clone()).unwrap());
        match page["nextPageToken"].as_str() {
            Some(next) => token = format!("&pageToken={next}"),
            None => return found,
        }
    }
}

#[tokio::test]
async fn a_month_with_a_change_of_prices_is_what_a_hand_computes() {
    let world = world_of_march().await;
    let accepted: Value = world.operator().post("/v1/usage", &batch(1, &march())).await.ok();
    assert_eq!(accepted, json!({"recorded": 5, "known": 0, "gaps": 0}));
    let report = report(&world, "kingdom").await;
    let lines: Vec<_> = report["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| {
            let text = |key: &str| l[key].as_str().unwrap().to_owned();
            (
                text("name"),
                text("meter"),
                text("priceList"),
                text("quantityMs"),
                l["amount"]["minor"].as_i64().unwrap(),
            )
        })
        .collect();
    let line = |name: &str, meter: &str, list: &str, quantity_ms: i64, minor: i64| {
        (name.to_owned(), meter.to_owned(), list.to_owned(), quantity_ms.to_string(), minor)
    };
    const HOUR: i64 = 3_600_000;
    assert_eq!(
        lines,
        [
            // 10 days at 1.25, then 9.5 days at 1.40.
            line("u-1", "compute", "tarif-a", 240 * HOUR, 30_000),
            line("u-1", "compute", "tarif-b", 228 * HOUR, 31_920),
            // 10 GiB: 240 h at 0.0021 = 5.04; 504 h at 0.0023 = 11.592.
            line("u-1", "storage", "tarif-a", 10_240 * 240 * HOUR, 504),
            line("u-1", "storage", "tarif-b", 10_240 * 504 * HOUR, 1_159),
            // Two instances: 1799.5 s at 1.25 = 1.2497; 1800 s at 1.40.
            line("u-2", "compute", "tarif-a", 2 * 1_799_500, 125),
            line("u-2", "compute", "tarif-b", 2 * 1_800_000, 140),
        ]
    );
    assert_eq!(report["total"], json!({"minor": 63_848, "currency": "MAD"}));
    assert_eq!(report["lines"][0]["billing"], json!({"costCentre": "DSI"}));
    let health = self::report(&world, "health").await;
    assert_eq!((&health["lines"], &health["total"]["minor"]), (&json!([]), &json!(0)));
}

#[tokio::test]
async fn i03_doubled_and_reordered_batches_give_the_same_intervals_and_report() {
    let expected = world_of_march().await;
    expected.operator().post("/v1/usage", &batch(1, &march())).await.ok::<Value>();
    let (report_expected, intervals_expected) =
        (report(&expected, "kingdom").await, all_intervals(&expected, MARCH).await);
    assert_eq!(intervals_expected.len(), 3);
    assert_eq!(
        intervals_expected[0].start.to_string(),
        "2024-02-20T00:00:00Z",
        "evidence is the whole interval"
    );

    let world = world_of_march().await;
    let facts = march();
    for order in [[4, 2, 0, 1, 3], [0, 1, 2, 3, 4], [3, 3, 1, 1, 0]] {
        for index in order {
            world
                .operator()
                .post("/v1/usage", &batch(1, &[facts[index].clone(), facts[index].clone()]))
                .await
                .ok::<Value>();
        }
    }
    let again: Value = world.operator().post("/v1/usage", &batch(1, &facts)).await.ok();
    assert_eq!(again, json!({"recorded": 0, "known": 5, "gaps": 0}));
    assert_eq!(report(&world, "kingdom").await, report_expected);
    assert_eq!(all_intervals(&world, &format!("{MARCH}&pageSize=1")).await, intervals_expected);
}

#[tokio::test]
async fn i01_at_one_instant_there_is_one_level_and_a_batch_is_all_or_nothing() {
    let world = world_of_march().await;
    let operator = world.operator();
    operator.post("/v1/usage", &batch(1, &march())).await.ok::<Value>();
    let facts = [
        fact("u-2", "storage", "2024-03-01T00:00:00Z", Some(("block-storage", 1))),
        fact("u-1", "compute", "2024-02-20T00:00:00Z", Some(("postgres-small", 2))),
    ];
    operator.post("/v1/usage", &batch(1, &facts)).await.refused(409, "conflict");
    let again: Value = operator.post("/v1/usage", &batch(1, &facts[..1])).await.ok();
    assert_eq!(again["recorded"], 1, "nothing of the refused batch is on record");
}

#[tokio::test]
async fn i03_a_lower_epoch_is_fenced_out_and_a_higher_one_takes_over() {
    let world = world_of_march().await;
    let operator = world.operator();
    let facts = march();
    operator.get("/v1/collectors/cluster-a").await.refused(404, "not-found");
    operator.post("/v1/usage", &batch(2, &facts[..1])).await.ok::<Value>();
    operator.post("/v1/usage", &batch(1, &facts)).await.refused(409, "fenced");
    operator.post("/v1/usage", &batch(3, &facts[..2])).await.ok::<Value>();
    operator.post("/v1/usage", &batch(2, &facts)).await.refused(409, "fenced");
    let checkpoint = json!({"collector": "cluster-a", "epoch": 2, "seen": [], "complete": true});
    operator.post("/v1/usage/checkpoints", &checkpoint).await.refused(409, "fenced");
    let collector: Value = operator.get("/v1/collectors/cluster-a").await.ok();
    assert_eq!((&collector["epoch"], &collector["watermark"]), (&json!(3), &Value::Null));
    // A refused batch raises nothing, neither facts nor the epoch.
    let refused = [facts[0].clone(), fact("u-1", "compute", "2024-02-20T00:00:00Z", None)];
    operator.post("/v1/usage", &batch(9, &refused)).await.refused(409, "conflict");
    operator.post("/v1/usage", &batch(3, &facts)).await.ok::<Value>();
}

#[tokio::test]
async fn checkpoints_raise_what_was_seen_and_the_last_page_the_watermark() {
    let world = world_of_march().await;
    let operator = world.operator();
    let send = async |seen: &[&str], complete: bool| -> Value {
        let checkpoint = json!({"collector": "cluster-a", "epoch": 1, "seen": seen, "complete": complete});
        operator.post("/v1/usage/checkpoints", &checkpoint).await.ok()
    };
    assert_eq!(send(&["u-1", "absent"], false).await["watermark"], Value::Null);
    let seen: Vec<String> = sqlx::query_scalar("select uid from orders where last_seen_ms is not null")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    assert_eq!(seen, ["u-1"]);
    let first = send(&["u-2"], true).await["watermark"].as_str().unwrap().to_owned();
    let second = send(&[], true).await["watermark"].as_str().unwrap().to_owned();
    // As instants: as texts, 50.55Z would come after 50.557Z.
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    assert!(at(&first) <= at(&second), "{first} {second}");
    assert_eq!(operator.get("/v1/collectors/cluster-a").await.ok::<Value>()["watermark"], json!(second));
}

#[tokio::test]
async fn facts_without_a_stamp_are_now_and_an_unchanged_level_adds_nothing() {
    let world = world_of_march().await;
    let operator = world.operator();
    let now = |quantity: Option<i64>| {
        let level = quantity.map(|q| json!({"sku": "postgres-small", "quantity": q}));
        let fact = json!({"orderUid": "u-1", "tenant": "police", "meter": "compute", "level": level, "reason": "Ready"});
        batch(1, &[fact])
    };
    let send =
        async |quantity| operator.post("/v1/usage", &now(quantity)).await.ok::<Value>()["recorded"].as_u64();
    assert_eq!(send(None).await, Some(0));
    assert_eq!(send(Some(1)).await, Some(1));
    assert_eq!(send(Some(1)).await, Some(0));
    // Faster than the clock ticks, each change still has an instant of its own.
    let flips: Vec<Value> = (0..6).map(|i| now(Some(2 + i % 2))["facts"][0].clone()).collect();
    let accepted: Value = operator.post("/v1/usage", &batch(1, &flips)).await.ok();
    assert_eq!(accepted, json!({"recorded": 6, "known": 0, "gaps": 0}));
    assert_eq!(send(None).await, Some(1));
    assert_eq!(send(None).await, Some(0));
    let instants: i64 = sqlx::query_scalar("select count(distinct at_ms) from usage_change")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(instants, 8);
}

#[tokio::test]
async fn what_is_used_is_what_of_the_held_is_billed_now() {
    let world = world_of_march().await;
    let operator = world.operator();
    let used = async |tenant: &str| {
        let view: Value = operator.get(&format!("/v1/tenants/{tenant}/quota")).await.ok();
        let one = |index: usize| view["dimensions"][index]["used"].as_i64().unwrap();
        let held = |index: usize| view["dimensions"][index]["held"].as_i64().unwrap();
        ([one(0), one(1), one(3)], held(0), one(4) * 2 == held(4))
    };
    assert_eq!(used("police").await, ([0, 0, 0], 2, false));
    let steps = [
        (fact("u-1", "storage", "2024-03-10T00:00:00Z", Some(("block-storage", 10_240))), [1, 0, 10 << 30]),
        (fact("u-1", "compute", "2024-03-10T00:01:00Z", Some(("postgres-small", 1))), [1, 1_000, 10 << 30]),
        (fact("u-1", "compute", "2024-03-10T00:02:00Z", None), [1, 0, 10 << 30]),
    ];
    for (fact, expected) in steps {
        operator.post("/v1/usage", &batch(1, &[fact])).await.ok::<Value>();
        assert_eq!(used("police").await, (expected, 2, true));
        assert_eq!(used("kingdom").await, (expected, 2, true), "those above see what is below");
    }
    let end = fact("u-1", "storage", "2024-03-10T00:03:00Z", None);
    operator.post("/v1/usage", &batch(1, &[end])).await.ok::<Value>();
    assert_eq!(used("police").await, ([0, 0, 0], 2, false));
}

#[tokio::test]
async fn the_first_level_may_begin_at_a_proven_stamp() {
    let world = world_of_march().await;
    let mut created = fact("u-1", "storage", "2024-03-01T00:00:00Z", Some(("block-storage", 1_024)));
    created["since"] = created["at"].take();
    for expect in [1, 0] {
        let accepted: Value = world.operator().post("/v1/usage", &batch(1, &[created.clone()])).await.ok();
        assert_eq!(accepted["recorded"], expect);
    }
    let found = all_intervals(&world, MARCH).await;
    assert_eq!(found[0].start.to_string(), "2024-03-01T00:00:00Z");
    assert_eq!(found[0].end, None);
}

#[tokio::test]
async fn what_is_no_fact_is_refused() {
    let world = world_of_march().await;
    let operator = world.operator();
    let good = fact("u-1", "compute", "2024-03-01T00:00:00Z", Some(("postgres-small", 1)));
    let check = async |key: &str, value: Value, status: u16, code: &str| {
        let mut fact = good.clone();
        fact[key] = value;
        operator.post("/v1/usage", &batch(1, &[fact])).await.refused(status, code);
    };
    check("level", json!({"sku": "postgres-small", "quantity": 0}), 422, "invalid").await;
    check("level", json!({"sku": "postgres-small", "quantity": -5}), 422, "invalid").await;
    check("meter", json!("network"), 422, "invalid").await;
    check("reason", json!("two words"), 422, "invalid").await;
    check("at", json!("2999-01-01T00:00:00Z"), 422, "invalid").await;
    check("tenant", json!("health"), 409, "conflict").await;
    let mut unknown = good.clone();
    (unknown["orderUid"], unknown["tenant"]) = (json!("u-new"), json!("absent"));
    operator.post("/v1/usage", &batch(1, &[unknown])).await.refused(409, "tenant-unknown");
    let many = vec![good.clone(); 5_001];
    operator.post("/v1/usage", &batch(1, &many)).await.refused(413, "too-large");
    operator
        .post("/v1/usage", &json!({"collector": "", "epoch": 1, "facts": []}))
        .await
        .refused(422, "invalid");
}

#[tokio::test]
async fn usage_of_an_order_that_was_never_reserved_is_billed_all_the_same() {
    let world = world_of_march().await;
    let facts = [
        fact("u-9", "compute", "2024-03-01T00:00:00Z", Some(("postgres-small", 1))),
        fact("u-9", "compute", "2024-03-01T01:00:00Z", None),
    ];
    world.operator().post("/v1/usage", &batch(1, &facts)).await.ok::<Value>();
    let found = report(&world, "police").await;
    assert_eq!((&found["total"]["minor"], &found["lines"][0]["name"]), (&json!(125), &json!("u-9")));
    // Its reservation, when it comes, gives it its name.
    world.operator().put("/v1/reservations/u-9", &order("police", "late", 1, 1)).await.ok::<Value>();
    assert_eq!(report(&world, "police").await["lines"][0]["name"], "late");
}

#[tokio::test]
async fn time_without_a_price_is_refused_and_never_free() {
    let world = World::with_tenants().await;
    let facts = [fact("u-1", "compute", "2024-03-01T00:00:00Z", Some(("postgres-small", 1)))];
    world.operator().post("/v1/usage", &batch(1, &facts)).await.ok::<Value>();
    world.operator().get(&format!("/v1/tenants/police/usage?{MARCH}")).await.refused(409, "price-unknown");
    world.operator().get("/v1/tenants/police/usage?from=2999-01-01T00:00:00Z").await.refused(422, "invalid");
    world.operator().get("/v1/tenants/police/usage?from=yesterday").await.refused(422, "invalid");
}

#[tokio::test]
async fn what_is_on_record_cannot_be_altered_even_with_sql() {
    let world = world_of_march().await;
    world.operator().post("/v1/usage", &batch(1, &march())).await.ok::<Value>();
    for sql in ["update usage_change set quantity = 2", "delete from usage_change", "truncate usage_change"] {
        let error = sqlx::query(sql).execute(&world.pool).await.unwrap_err();
        let constraint = error.as_database_error().and_then(|e| e.constraint()).map(ToOwned::to_owned);
        assert_eq!(constraint.as_deref(), Some("usage_change_is_append_only"), "{sql}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_batch_is_few_statements_and_two_collectors_do_not_mix() {
    let world = std::sync::Arc::new(world_of_march().await);
    let facts = |first: u64| -> Vec<Value> {
        (0..5_000)
            .map(|i| {
                fact(
                    &format!("bulk-{}", first + i),
                    "compute",
                    "2024-03-01T00:00:00Z",
                    Some(("postgres-small", 1)),
                )
            })
            .collect()
    };
    let tasks: Vec<_> = [("cluster-a", 0), ("cluster-b", 2_500), ("cluster-a", 2_500)]
        .into_iter()
        .map(|(collector, first)| {
            let world = world.clone();
            let batch = json!({"collector": collector, "epoch": 1, "facts": facts(first)});
            tokio::spawn(async move { world.operator().post("/v1/usage", &batch).await.ok::<Value>() })
        })
        .collect();
    let mut recorded = 0;
    for task in tasks {
        recorded += task.await.unwrap()["recorded"].as_u64().unwrap();
    }
    assert_eq!(recorded, 7_500);
    assert_eq!(report(&world, "police").await["lines"].as_array().unwrap().len(), 15_000);
}

//! Price lists: gaps and overlaps, and what happens to what stands when one comes into force.

use crate::support::{World, but, order, tenant, until};
use jiff::Timestamp;
use serde_json::{Value, json};
use siyada_api::openapi::examples;
use siyada_api::store::revaluation;
use siyada_api::tasks;
use std::sync::Arc;

fn list(name: &str, from: &str, small: &str) -> Value {
    let mut record = examples::price_list();
    record["prices"]["name"] = json!(name);
    record["prices"]["validFrom"] = json!(from);
    record["prices"]["skus"][0]["price"] = json!(small);
    record
}

fn in_ms(ms: i64) -> String {
    Timestamp::from_millisecond(Timestamp::now().as_millisecond() + ms).unwrap().to_string()
}

async fn held(world: &World, name: &str) -> i64 {
    let view: Value = world.operator().get(&format!("/v1/tenants/{name}/quota")).await.ok();
    view["held"]["monthlyCost"]["minor"].as_i64().unwrap()
}

async fn publish(world: &World, record: &Value) -> crate::support::Answer {
    let name = record["prices"]["name"].as_str().unwrap();
    world.operator().put(&format!("/v1/price-lists/{name}"), record).await
}

async fn use_compute(world: &World, uid: &str, at: &str) {
    let fact = json!({
        "orderUid": uid, "tenant": "police", "meter": "compute", "reason": "Ready", "at": at,
        "level": {"sku": "postgres-small", "quantity": 1}
    });
    let batch = json!({"collector": "c", "epoch": 1, "facts": [fact]});
    world.operator().post("/v1/usage", &batch).await.ok::<Value>();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_comes_into_force_values_what_stands_and_blocks_growth_only() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    let limit = json!({"monthlyCost": {"minor": 300_000, "currency": "MAD"}});
    operator.put("/v1/tenants/police", &tenant("police", Some("interior"), limit)).await.ok::<Value>();
    for index in 0..3 {
        let request = order("police", &format!("db-{index}"), 1, 0);
        operator.put(&format!("/v1/reservations/u-{index}"), &request).await.ok::<Value>();
    }
    let kept = but(&order("police", "kept", 1, 10), json!({"retained": true}));
    operator.put("/v1/reservations/u-9", &kept).await.ok::<Value>();
    let before = held(&world, "police").await;
    assert_eq!(before, 3 * 93_125 + 1_565);
    // Two replicas sleep until something is announced.
    let tasks: Vec<_> = (0..2).map(|_| tokio::spawn(tasks::keep_valued(world.state.clone()))).collect();
    publish(&world, &list("dearer", &in_ms(1_500), "2.50")).await.ok::<Value>();
    assert_eq!(held(&world, "police").await, before);
    until("what stands is valued anew", 20, async || held(&world, "police").await != before).await;
    assert_eq!(held(&world, "police").await, 3 * 186_250 + 1_565);
    assert_eq!(held(&world, "kingdom").await, 3 * 186_250 + 1_565);
    assert!(world.wrong_sums().await.is_empty());
    let view: Value = operator.get("/v1/tenants/police/quota").await.ok();
    assert_eq!(view["dimensions"][4]["over"], 3 * 186_250 + 1_565 - 300_000);
    let alerts: Value = operator.get("/v1/alerts").await.ok();
    assert_eq!(alerts["items"].as_array().unwrap().last().unwrap()["percent"], 100);
    // Growth is blocked; what stands stays, shrinks and goes.
    operator.put("/v1/reservations/u-5", &order("police", "e", 0, 1)).await.refused(409, "quota-exceeded");
    operator.put("/v1/reservations/u-0", &order("police", "db-0", 1, 0)).await.ok::<Value>();
    operator
        .put("/v1/reservations/u-0", &but(&order("police", "db-0", 0, 0), json!({"generation": 2})))
        .await
        .ok::<Value>();
    operator.delete("/v1/reservations/u-1").await.gone();
    let kept: Value = operator.get("/v1/reservations?retained=true").await.ok();
    assert_eq!(kept["items"][0]["priceList"], "tarif-2026");
    tasks.into_iter().for_each(|task| task.abort());
    assert!(world.wrong_sums().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn valuing_anew_beside_callers_and_twice_at_once_leaves_one_value() {
    let world = Arc::new(World::with_tenants().await);
    for index in 0..450 {
        let request = order("police", &format!("db-{index}"), 1, 0);
        let held = world
            .state
            .group
            .hold(format!("u-{index:03}").parse().unwrap(), serde_json::from_value(request).unwrap());
        held.await.unwrap();
    }
    publish(&world, &list("now", &in_ms(0), "2")).await.ok::<Value>();
    let callers: Vec<_> = (0..100)
        .map(|index| {
            let world = world.clone();
            tokio::spawn(async move {
                let uid = index * 4;
                let path = format!("/v1/reservations/u-{uid:03}");
                let grown = but(&order("police", &format!("db-{uid}"), 2, 0), json!({"generation": 2}));
                world.operator().put(&path, &grown).await.ok::<Value>();
            })
        })
        .collect();
    let (one, two) = tokio::join!(revaluation::run(&world.pool), revaluation::run(&world.pool));
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(one.unwrap().reservations + two.unwrap().reservations <= 450);
    assert_eq!(revaluation::run(&world.pool).await.unwrap().reservations, 0);
    assert!(world.wrong_sums().await.is_empty());
    assert_eq!(held(&world, "kingdom").await, (350 + 100 * 2) * 149_000);
}

#[tokio::test]
async fn a_list_that_leaves_something_without_a_price_is_refused_by_name() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    operator.put("/v1/reservations/u-1", &order("police", "db", 1, 10)).await.ok::<Value>();
    operator.put("/v1/reservations/u-2", &order("police", "e", 1, 10)).await.ok::<Value>();
    let mut gap = list("gap", &in_ms(3_600_000), "2");
    gap["prices"]["skus"].as_array_mut().unwrap().remove(1);
    let problem = publish(&world, &gap).await.refused(409, "price-unknown");
    assert!(
        problem.detail.contains("block-storage (of PostgresInstance police/db and 1 more)"),
        "{}",
        problem.detail
    );
    operator.delete("/v1/reservations/u-1").await.gone();
    operator.delete("/v1/reservations/u-2").await.gone();
    // What is used and not reserved needs its price as well.
    use_compute(&world, "u-3", "2026-11-01T00:00:00Z").await;
    let mut other = list("other", &in_ms(3_600_000), "2");
    other["prices"]["skus"].as_array_mut().unwrap().remove(0);
    let problem = publish(&world, &other).await.refused(409, "price-unknown");
    assert!(problem.detail.contains("postgres-small (of order u-3)"), "{}", problem.detail);
    publish(&world, &gap).await.ok::<Value>();
    // From then on nothing is ordered that the list to come does not know.
    let problem = operator.put("/v1/reservations/u-4", &order("police", "f", 1, 1)).await;
    let problem = problem.refused(409, "price-unknown");
    assert!(problem.detail.contains("block-storage") && problem.detail.contains("gap"), "{}", problem.detail);
}

#[tokio::test]
async fn two_lists_for_the_same_time_are_refused() {
    let world = World::with_tenants().await;
    let problem = publish(&world, &list("twin", "2026-01-01T00:00:00Z", "2")).await.refused(409, "conflict");
    assert!(problem.detail.contains("tarif-2026"), "{}", problem.detail);
    // Nothing was used since: a list of the past changes no figure.
    publish(&world, &list("past", "2026-02-01T00:00:00Z", "2")).await.ok::<Value>();
    world.operator().put("/v1/reservations/u-1", &order("police", "db", 1, 10)).await.ok::<Value>();
    use_compute(&world, "u-1", "2026-03-01T00:00:00Z").await;
    let problem = publish(&world, &list("later", "2026-04-01T00:00:00Z", "3")).await.refused(409, "conflict");
    assert!(problem.detail.contains("past"), "{}", problem.detail);
    publish(&world, &list("next", &in_ms(60_000), "3")).await.ok::<Value>();
}

#[tokio::test]
async fn the_first_list_begins_not_later_than_the_earliest_usage() {
    let world = World::new().await;
    world.operator().put("/v1/tenants/police", &tenant("police", None, json!({}))).await.ok::<Value>();
    use_compute(&world, "u-1", "2026-03-01T00:00:00Z").await;
    let problem =
        publish(&world, &list("late", "2026-03-01T00:00:01Z", "1")).await.refused(409, "price-unknown");
    assert!(problem.detail.contains("2026-03-01T00:00:00Z"), "{}", problem.detail);
    publish(&world, &list("first", "2026-03-01T00:00:00Z", "1")).await.ok::<Value>();
}

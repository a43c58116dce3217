//! Counters: readings, resets, and what was counted.

use crate::support::{World, but, order};
use serde_json::{Value, json};

const MARCH: &str = "from=2024-03-01T00:00:00Z&to=2024-04-01T00:00:00Z";

fn reading(uid: &str, at: &str, reset_id: &str, value: i64) -> Value {
    json!({"orderUid": uid, "tenant": "police", "meter": "transactions", "windowEnd": at, "resetId": reset_id, "value": value})
}

pub fn batch(epoch: i64, readings: &[Value]) -> Value {
    json!({"collector": "cluster-a", "epoch": epoch, "readings": readings})
}

/// One order whose counter was reset, and came back on the server that led before; and a second order.
pub fn march() -> Vec<Value> {
    vec![
        reading("u-1", "2024-02-29T23:00:00Z", "a", 1_000),
        reading("u-1", "2024-03-01T00:00:00Z", "a", 1_100),
        reading("u-1", "2024-03-01T01:00:00.5Z", "a", 1_250),
        reading("u-1", "2024-03-01T02:00:00Z", "b", 7),
        reading("u-1", "2024-03-01T03:00:00Z", "a", 1_300),
        reading("u-2", "2024-03-01T01:00:00Z", "z", 0),
        reading("u-2", "2024-03-31T23:00:00Z", "z", 5),
        reading("u-2", "2024-04-01T00:00:00.001Z", "z", 9),
    ]
}

async fn world() -> World {
    let world = World::with_tenants().await;
    for uid in ["u-1", "u-2"] {
        world
            .operator()
            .put(&format!("/v1/reservations/{uid}"), &order("police", uid, 1, 10))
            .await
            .ok::<Value>();
    }
    world
}

/// Order, start, end, quantity and whether it may miss something, of every row.
async fn counted(world: &World, query: &str) -> Vec<(String, Option<String>, String, String, bool)> {
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let page: Value =
            world.operator().get(&format!("/v1/tenants/kingdom/counters?{query}{token}")).await.ok();
        for row in page["items"].as_array().unwrap() {
            let text = |key: &str| row[key].as_str().map(ToOwned::to_owned);
            assert_eq!((&row["order"]["tenant"], &row["meter"]), (&json!("police"), &json!("transactions")));
            let name = row["order"]["name"].as_str().unwrap().to_owned();
            found.push((
                name,
                text("start"),
                text("end").unwrap(),
                text("quantity").unwrap(),
                row["mayMiss"].as_bool().unwrap(),
            ));
        }
        match page["nextPageToken"].as_str() {
            Some(next) => token = format!("&pageToken={next}"),
            None => return found,
        }
    }
}

fn row(
    name: &str,
    start: Option<&str>,
    end: &str,
    quantity: &str,
    may_miss: bool,
) -> (String, Option<String>, String, String, bool) {
    (name.to_owned(), start.map(ToOwned::to_owned), end.to_owned(), quantity.to_owned(), may_miss)
}

#[tokio::test]
async fn what_was_counted_is_the_same_however_it_arrives() {
    let world = world().await;
    let readings = march();
    for order in [[7, 4, 0, 3, 2, 6, 1, 5], [0, 1, 2, 3, 4, 5, 6, 7]] {
        for index in order {
            let twice = [readings[index].clone(), readings[index].clone()];
            world.operator().post("/v1/usage/counters", &batch(1, &twice)).await.ok::<Value>();
        }
    }
    let again: Value = world.operator().post("/v1/usage/counters", &batch(1, &readings)).await.ok();
    assert_eq!(again, json!({"recorded": 0, "known": 8, "gaps": 0}));
    let windows = [
        row("u-1", Some("2024-03-01T00:00:00Z"), "2024-03-01T01:00:00.5Z", "150", false),
        row("u-1", Some("2024-03-01T01:00:00.5Z"), "2024-03-01T02:00:00Z", "7", true),
        row("u-1", Some("2024-03-01T02:00:00Z"), "2024-03-01T03:00:00Z", "50", true),
        row("u-2", None, "2024-03-01T01:00:00Z", "0", false),
        row("u-2", Some("2024-03-01T01:00:00Z"), "2024-03-31T23:00:00Z", "5", false),
    ];
    assert_eq!(counted(&world, &format!("{MARCH}&per=window")).await, windows);
    assert_eq!(counted(&world, &format!("{MARCH}&per=window&pageSize=2")).await, windows, "pages join");
    let orders = [
        row("u-1", Some("2024-03-01T00:00:00Z"), "2024-03-01T03:00:00Z", "207", true),
        row("u-2", None, "2024-03-31T23:00:00Z", "5", false),
    ];
    assert_eq!(counted(&world, MARCH).await, orders);
    assert_eq!(counted(&world, &format!("{MARCH}&pageSize=1")).await, orders);
    // A month border neither loses nor doubles: the reading on it ends a window of February.
    let february = counted(&world, "from=2024-02-01T00:00:00Z&to=2024-03-01T00:00:00Z").await;
    assert_eq!(february, [row("u-1", None, "2024-03-01T00:00:00Z", "1100", false)]);
    let april = counted(&world, "from=2024-04-01T00:00:00Z&to=2024-05-01T00:00:00Z").await;
    assert_eq!(april, [row("u-2", Some("2024-03-31T23:00:00Z"), "2024-04-01T00:00:00.001Z", "4", false)]);
}

#[tokio::test]
async fn a_counter_is_not_billed_and_another_tenant_does_not_see_it() {
    let world = world().await;
    world.operator().post("/v1/usage/counters", &batch(1, &march())).await.ok::<Value>();
    let report: Value = world.operator().get(&format!("/v1/tenants/police/usage?{MARCH}")).await.ok();
    assert_eq!(report["lines"], json!([]));
    let health: Value = world.operator().get(&format!("/v1/tenants/health/counters?{MARCH}")).await.ok();
    assert_eq!(health, json!({"items": []}));
    world.operator().get("/v1/tenants/police/counters?per=day").await.refused(422, "invalid");
    world.operator().get("/v1/tenants/police/counters?pageToken=x").await.refused(422, "invalid");
}

#[tokio::test]
async fn a_reading_that_contradicts_another_is_refused_by_name_and_the_batch_with_it() {
    let world = world().await;
    let operator = world.operator();
    operator.post("/v1/usage/counters", &batch(2, &march())).await.ok::<Value>();
    let good = reading("u-2", "2024-04-02T00:00:00Z", "z", 10);
    let check = async |bad: Value, status: u16, code: &str, words: &str| {
        let problem =
            operator.post("/v1/usage/counters", &batch(2, &[good.clone(), bad])).await.refused(status, code);
        assert!(problem.detail.contains(words), "{words}: {}", problem.detail);
    };
    let another = "transactions of order u-1 at 2024-03-01T02:00:00Z: another reading";
    check(reading("u-1", "2024-03-01T02:00:00Z", "b", 8), 409, "conflict", another).await;
    check(reading("u-1", "2024-03-01T02:00:00Z", "c", 7), 409, "conflict", another).await;
    check(reading("u-1", "2024-03-01T04:00:00Z", "a", 1_299), 409, "conflict", "falls from 1300 to 1299")
        .await;
    check(reading("u-1", "2024-03-01T00:30:00Z", "a", 1_251), 409, "conflict", "falls from 1251 to 1250")
        .await;
    check(reading("u-2", "2024-04-03T00:00:00Z", "z", 9), 409, "conflict", "falls from 10 to 9").await;
    check(but(&good, json!({"value": -1})), 422, "invalid", "below zero").await;
    check(but(&good, json!({"resetId": ""})), 422, "invalid", "reset id of transactions of order u-2").await;
    check(but(&good, json!({"resetId": "two words"})), 422, "invalid", "reset id").await;
    check(but(&good, json!({"resetId": "r".repeat(81)})), 422, "invalid", "reset id").await;
    check(but(&good, json!({"windowEnd": "2999-01-01T00:00:00Z"})), 422, "invalid", "future").await;
    check(but(&good, json!({"meter": "compute"})), 422, "invalid", "no counter compute").await;
    check(but(&good, json!({"meter": "network"})), 422, "invalid", "egress, requests, transactions").await;
    check(but(&good, json!({"tenant": "health"})), 409, "conflict", "u-2 is not one of tenant health").await;
    check(but(&good, json!({"orderUid": "u-9", "tenant": "absent"})), 409, "tenant-unknown", "absent").await;
    operator.post("/v1/usage/counters", &batch(1, std::slice::from_ref(&good))).await.refused(409, "fenced");
    operator
        .post("/v1/usage/counters", &batch(2, &vec![good.clone(); 5_001]))
        .await
        .refused(413, "too-large");
    let accepted: Value = operator.post("/v1/usage/counters", &batch(2, &[good])).await.ok();
    assert_eq!(accepted["recorded"], 1, "nothing of the refused batches is on record");
}

#[tokio::test]
async fn readings_that_race_fall_nowhere() {
    let world = std::sync::Arc::new(world().await);
    // Each sender says that the counter stands at its number, all at different instants: one order of them is possible.
    let tasks: Vec<_> = (0..24_i64)
        .map(|n| {
            let (world, value) = (world.clone(), if n % 2 == 0 { n } else { 24 - n });
            let sent = batch(1, &[reading("u-1", &format!("2024-03-01T{n:02}:00:00Z"), "a", value)]);
            tokio::spawn(
                async move { world.operator().post("/v1/usage/counters", &sent).await.status.as_u16() },
            )
        })
        .collect();
    let mut taken = 0;
    for task in tasks {
        let status = task.await.unwrap();
        assert!(status == 200 || status == 409, "{status}");
        taken += i64::from(status == 200);
    }
    let values: Vec<i64> = sqlx::query_scalar("select value from counter_reading order by window_end_ms")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    assert_eq!(i64::try_from(values.len()).unwrap(), taken);
    assert!(values.is_sorted(), "{values:?}");
}

#[tokio::test]
async fn the_database_itself_refuses_a_fall_and_a_change() {
    let world = world().await;
    world.operator().post("/v1/usage/counters", &batch(1, &march())).await.ok::<Value>();
    let check = async |sql: &'static str, expect: &str| {
        let error = sqlx::query(sql).execute(&world.pool).await.unwrap_err();
        assert_eq!(error.as_database_error().and_then(|e| e.constraint()), Some(expect), "{sql}: {error}");
    };
    check(
        "insert into counter_reading values ('u-2', 'transactions', 1711929600002, 'z', 8, 'a', 1, 1)",
        "counter_reading_never_falls",
    )
    .await;
    check(
        "insert into counter_reading values ('u-2', 'transactions', 1, 'z', 1, 'a', 1, 1)",
        "counter_reading_never_falls",
    )
    .await;
    check(
        "insert into counter_reading values ('u-2', 'network', 1, 'z', 0, 'a', 1, 1)",
        "counter_reading_meter",
    )
    .await;
    for sql in
        ["update counter_reading set value = 0", "delete from counter_reading", "truncate counter_reading"]
    {
        check(sql, "counter_reading_is_append_only").await;
    }
}

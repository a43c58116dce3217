//! Two replicas of the api on one database: both start at once, both work, and what is to be done once is done once.

use crate::crash::{Program, keys};
use crate::support::{OPERATOR, World, bare_database, order, tenant};
use serde_json::{Value, json};
use siyada_api::openapi::examples;
use siyada_api::store::{self, audit};
use sqlx::{AssertSqlSafe, PgPool};

async fn put(program: &Program, path: &str, body: &Value) -> u16 {
    program.ask(OPERATOR, "PUT", path, Some(body)).await.unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_start_at_once_on_an_empty_database_decide_as_one() {
    siyada_api::install_tls_provider();
    let (database, keys) = (bare_database("replicas").await, keys().await);
    let (one, other) =
        tokio::join!(Program::start(&database, &keys, ""), Program::start(&database, &keys, ""));
    let incarnation = async |program: &Program| {
        let answer = program.address().response(OPERATOR, "GET", "/v1/whoami", None).await.unwrap();
        answer.headers()[siyada_model::wire::INCARNATION].clone()
    };
    assert_eq!(incarnation(&one).await, incarnation(&other).await);
    assert_eq!(put(&one, "/v1/price-lists/tarif-2026", &examples::price_list()).await, 200);
    let limit = tenant("kingdom", None, json!({"instances": 8}));
    assert_eq!(put(&other, "/v1/tenants/kingdom", &limit).await, 200);
    // 48 orders through both at once, each sent to both, for eight places.
    let mut tasks = Vec::new();
    for number in 0..48 {
        for address in [one.address(), other.address()] {
            tasks.push(tokio::spawn(async move {
                let path = format!("/v1/reservations/r-{number}");
                let body = order("kingdom", &format!("r-{number}"), 1, 0);
                let (status, bytes) = address.ask(OPERATOR, "PUT", &path, Some(&body)).await.unwrap();
                assert!(matches!(status, 200 | 409), "{status}: {}", String::from_utf8_lossy(&bytes));
                (number, status)
            }));
        }
    }
    let mut granted = std::collections::BTreeSet::new();
    for task in tasks {
        let (number, status) = task.await.unwrap();
        if status == 200 {
            granted.insert(number);
        }
    }
    assert_eq!(granted.len(), 8);
    let world = World::on(store::pool(database));
    assert!(world.wrong_sums().await.is_empty());
    let held: i64 =
        sqlx::query_scalar("select count(*) from reservation").fetch_one(&world.pool).await.unwrap();
    assert_eq!(held, 8);
}

/// A trail of this many events, all but the last of them old enough to go.
async fn old_trail(pool: &PgPool, events: i64) {
    let sql = format!(
        "insert into audit_event (seq, at_ms, actor, action, object, detail, previous_sha256, sha256)
         select n, n + case when n = {events} then ledger_now_ms() else 0 end, 'oidc:amina', 'priceList.put', 'priceList/a',
                '{{}}', lpad(to_hex(n - 1), 64, '0'), lpad(to_hex(n), 64, '0')
         from generate_series(1, {events}) n"
    );
    sqlx::query(AssertSqlSafe(sql)).execute(pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_shorten_the_trail_at_once_remove_each_event_once() {
    const EVENTS: i64 = 25_000;
    let world = World::new().await;
    old_trail(&world.pool, EVENTS).await;
    let shorten = |pool: PgPool| async move {
        let mut anchors = Vec::new();
        while let Some(anchor) = audit::remove_expired(&pool).await.unwrap() {
            anchors.push(anchor.seq);
        }
        anchors
    };
    let (one, other) =
        tokio::join!(tokio::spawn(shorten(world.pool.clone())), tokio::spawn(shorten(world.pool.clone())));
    let mut anchors = [one.unwrap(), other.unwrap()].concat();
    anchors.sort_unstable();
    assert_eq!(anchors, [10_000, 20_000, EVENTS - 1]);
    let sql = "select count(*) from audit_event where action = 'audit.remove'";
    let told: i64 = sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap();
    assert_eq!(told, 3);
}

//! Alerts: once per crossing, in order, and told to those who are to be told.

use crate::support::{World, but, order, tenant, until};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use serde_json::{Value, json};
use siyada_api::tasks;
use siyada_api::webhook::{Webhooks, signature};
use std::sync::{Arc, Mutex};

async fn alerts(world: &World, after: i64) -> Vec<(String, String, i64)> {
    let page: Value = world.operator().get(&format!("/v1/alerts?after={after}&pageSize=500")).await.ok();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (text(row, "tenant"), text(row, "dimension"), row["percent"].as_i64().unwrap()))
        .collect()
}

fn limited(generation: i64, quota: Value) -> Value {
    but(&tenant("police", Some("interior"), quota), json!({"generation": generation}))
}

#[tokio::test]
async fn a_threshold_is_told_once_and_again_after_it_fell_below() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    operator.put("/v1/tenants/police", &limited(2, json!({"instances": 10}))).await.ok::<Value>();
    let path = "/v1/reservations/u-1";
    let of = |generation: i64, instances: i64| {
        but(&order("police", "db", instances, 0), json!({"generation": generation}))
    };
    for (generation, instances) in [(1, 6), (2, 7), (3, 8), (4, 7), (5, 9), (6, 6), (7, 7), (8, 10)] {
        operator.put(path, &of(generation, instances)).await.ok::<Value>();
    }
    operator.put(path, &of(9, 11)).await.refused(409, "quota-exceeded");
    let seen: Vec<i64> = alerts(&world, 0).await.into_iter().map(|(_, _, percent)| percent).collect();
    assert_eq!(seen, [70, 85, 70, 100]);
}

#[tokio::test]
async fn a_limit_that_is_lowered_and_a_threshold_that_is_new_are_crossed_too() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    operator.put("/v1/reservations/u-1", &order("police", "db", 2, 0)).await.ok::<Value>();
    assert_eq!(alerts(&world, 0).await, []);
    operator.put("/v1/tenants/police", &limited(2, json!({"instances": 4}))).await.ok::<Value>();
    assert_eq!(alerts(&world, 0).await, []);
    let named = but(&limited(3, json!({"instances": 4})), json!({"alerts": {"percent": [50, 90]}}));
    operator.put("/v1/tenants/police", &named).await.ok::<Value>();
    let lower = but(&limited(4, json!({"instances": 2})), json!({"alerts": {"percent": [50, 90]}}));
    operator.put("/v1/tenants/police", &lower).await.ok::<Value>();
    let police = |percent| ("police".to_owned(), "instances".to_owned(), percent);
    assert_eq!(alerts(&world, 0).await, [police(50), police(90)]);
    let none = but(&limited(5, json!({"instances": 2})), json!({"alerts": {"percent": []}}));
    operator.put("/v1/tenants/police", &none).await.ok::<Value>();
    operator.delete("/v1/reservations/u-1").await.gone();
    operator.put("/v1/reservations/u-2", &order("police", "e", 2, 0)).await.ok::<Value>();
    assert_eq!(alerts(&world, 0).await.len(), 2);
    for wrong in [json!({"percent": [0]}), json!({"percent": [201]}), json!({"targets": [""]})] {
        let record = but(&limited(6, json!({})), json!({"alerts": wrong}));
        operator.put("/v1/tenants/police", &record).await.refused(422, "invalid");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_callers_each_crossing_is_written_once_and_in_order() {
    let world = Arc::new(World::with_tenants().await);
    let operator = world.operator();
    operator.put("/v1/tenants/police", &limited(2, json!({"instances": 100}))).await.ok::<Value>();
    operator
        .put("/v1/tenants/health", &tenant("health", Some("kingdom"), json!({"instances": 100})))
        .await
        .ok::<Value>();
    // Somebody follows the stream by the last id all the while.
    let follower = tokio::spawn({
        let world = world.clone();
        async move {
            let (mut last, mut seen) = (0, Vec::new());
            while seen.len() < 8 {
                let page: Value = world.operator().get(&format!("/v1/alerts?after={last}")).await.ok();
                for row in page["items"].as_array().unwrap() {
                    last = row["id"].as_i64().unwrap();
                    seen.push((row["tenant"].as_str().unwrap().to_owned(), row["percent"].as_i64().unwrap()));
                }
            }
            seen
        }
    });
    let tasks: Vec<_> = (0..200)
        .map(|index| {
            let world = world.clone();
            tokio::spawn(async move {
                let name = if index % 2 == 0 { "police" } else { "health" };
                let request = order(name, &format!("db-{index}"), 1, 0);
                world.operator().put(&format!("/v1/reservations/u-{index}"), &request).await.ok::<Value>();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let seen = tokio::time::timeout(std::time::Duration::from_secs(30), follower).await.unwrap().unwrap();
    for name in ["police", "health"] {
        let of: Vec<i64> = seen.iter().filter(|(t, _)| t == name).map(|(_, percent)| *percent).collect();
        assert_eq!(of, [70, 85, 95, 100], "{name}");
    }
}

const SECRET: &str = "a secret of the treasury";

#[derive(Clone, Default)]
struct Inbox(Arc<Mutex<Vec<(HeaderMap, Bytes)>>>);

/// A receiver that fails first, redirects next and then accepts.
async fn receiver(inbox: Inbox) -> String {
    let router = Router::new().route(
        "/hook",
        post(move |headers: HeaderMap, body: Bytes| async move {
            let mut seen = inbox.0.lock().unwrap();
            seen.push((headers, body));
            match seen.len() {
                1 => (StatusCode::INTERNAL_SERVER_ERROR, HeaderMap::new()),
                2 => {
                    let elsewhere = HeaderMap::from_iter([(header::LOCATION, "/hook".parse().unwrap())]);
                    (StatusCode::TEMPORARY_REDIRECT, elsewhere)
                }
                _ => (StatusCode::NO_CONTENT, HeaderMap::new()),
            }
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

fn webhooks(url: &str, allow: &[&str]) -> anyhow::Result<Webhooks> {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("siyada-webhooks-{}-{count}", std::process::id()));
    std::fs::write(&path, json!([{"name": "treasury", "url": url, "secret": SECRET}]).to_string()).unwrap();
    let allow: Vec<String> = allow.iter().map(|text| (*text).to_owned()).collect();
    let read = Webhooks::read(Some(&path), &allow);
    std::fs::remove_file(&path).unwrap();
    read
}

/// Fills half of police's limit, of which the treasury is to be told.
async fn cross(world: &World) {
    let rules = json!({"alerts": {"percent": [50], "targets": ["treasury", "treasury"]}});
    let record = but(&limited(2, json!({"instances": 2})), rules);
    world.operator().put("/v1/tenants/police", &record).await.ok::<Value>();
    world.operator().put("/v1/reservations/u-1", &order("police", "db", 1, 0)).await.ok::<Value>();
}

async fn outcome(world: &World) -> Option<(bool, i32, Option<String>)> {
    sqlx::query_as("select done_ms is not null, attempts, outcome from alert_delivery")
        .fetch_optional(&world.pool)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_signed_follows_no_redirect_and_is_tried_until_it_is_taken() {
    siyada_api::install_tls_provider();
    let inbox = Inbox::default();
    let mut world = World::with_tenants().await;
    let hooks = webhooks(&receiver(inbox.clone()).await, &["127.0.0.0/8"]).unwrap();
    world.state.webhooks = Arc::new(hooks);
    let task = tokio::spawn(tasks::keep_told(world.state.clone()));
    let other = tokio::spawn(tasks::keep_told(world.state.clone()));
    cross(&world).await;
    until("the alert is delivered", 30, async || outcome(&world).await.is_some_and(|o| o.0)).await;
    task.abort();
    other.abort();
    assert_eq!(outcome(&world).await, Some((true, 3, Some("delivered".to_owned()))));
    let seen = inbox.0.lock().unwrap().clone();
    assert_eq!(seen.len(), 3, "each try reached the address itself once");
    let (headers, body) = &seen[2];
    let of = |name: &str| headers[name].to_str().unwrap();
    assert_eq!(of("webhook-id"), seen[0].0["webhook-id"]);
    let expect = signature(SECRET, of("webhook-id"), of("webhook-timestamp"), body);
    assert_eq!(of("webhook-signature"), expect);
    let alert: Value = serde_json::from_slice(body).unwrap();
    assert_eq!((&alert["tenant"], &alert["percent"]), (&json!("police"), &json!(50)));
    let told = format!("{headers:?} {}", String::from_utf8_lossy(body));
    assert!(!told.contains(SECRET) && !told.contains("uthorization"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_never_reaches_what_is_not_public_unless_it_is_allowed() {
    siyada_api::install_tls_provider();
    let inbox = Inbox::default();
    let url = receiver(inbox.clone()).await;
    // Without TLS only where a network was allowed by name.
    assert!(webhooks(&url, &[]).is_err());
    let mut world = World::with_tenants().await;
    // The name resolves to this machine, which is not in what is allowed.
    let by_name = url.replace("127.0.0.1", "localhost");
    world.state.webhooks = Arc::new(webhooks(&by_name, &["10.0.0.0/8"]).unwrap());
    let task = tokio::spawn(tasks::keep_told(world.state.clone()));
    cross(&world).await;
    until("the delivery was tried", 30, async || {
        outcome(&world).await.is_some_and(|(_, _, words)| words.is_some())
    })
    .await;
    task.abort();
    let words = outcome(&world).await.unwrap().2.unwrap();
    assert!(words.contains("not public") && !words.contains(SECRET), "{words}");
    assert!(inbox.0.lock().unwrap().is_empty());
}

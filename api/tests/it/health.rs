//! Health, readiness, limits and metrics.

use crate::support::{World, bare_database, order};
use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use siyada_api::auth::Verifier;
use siyada_api::{App, app, store};
use tower::ServiceExt;

#[tokio::test]
async fn readiness_names_what_it_waits_for() {
    let pool = store::pool("postgres:///none?host=/nonexistent".parse().unwrap());
    let state = App::new(pool, Verifier::new(vec![]), siyada_api::access::Platform::default());
    let get = async |state: &App| {
        let request = Request::get("/readyz").body(Body::empty()).unwrap();
        let response = app(state.clone()).oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), 4_096).await.unwrap();
        (status.as_u16(), serde_json::from_slice::<Value>(&bytes).unwrap())
    };
    let waiting = |names: Value| (503, json!({"ready": false, "waitingFor": names}));
    assert_eq!(get(&state).await, waiting(json!(["database", "migrations"])));
    state.set_migrated();
    assert_eq!(get(&state).await, waiting(json!(["database"])));
    let world = World::new().await;
    assert_eq!(get(&world.state).await, (200, json!({"ready": true, "waitingFor": []})));
    world.anonymous().get("/healthz").await;
}

#[tokio::test]
async fn migrations_run_twice_and_at_once() {
    let options = bare_database("migrations").await;
    let (first, second) = tokio::join!(store::migrate(&options), store::migrate(&options));
    first.unwrap();
    second.unwrap();
    store::migrate(&options).await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_away_is_a_503_and_no_secret() {
    let world = World::new().await;
    world.pool.close().await;
    let problem = world.operator().get("/v1/price-lists").await.refused(503, "unavailable");
    assert_eq!(problem.detail, "the database does not answer now; try again");
}

#[tokio::test]
async fn bodies_have_a_limit_and_must_be_json() {
    let world = World::new().await;
    let large = json!({"x": "a".repeat(1 << 20)});
    world.operator().put("/v1/tenants/a", &large).await.refused(413, "too-large");
    let batch = json!({"collector": "c", "epoch": 1, "facts": [], "x": "a".repeat(3 << 20)});
    world.operator().post("/v1/usage", &batch).await.ok::<Value>();
    let larger = json!({"x": "a".repeat(4 << 20)});
    world.operator().post("/v1/usage", &larger).await.refused(413, "too-large");
    world.operator().put("/v1/tenants/a", &json!({"uid": 1})).await.refused(422, "invalid");
    let request = Request::put("/v1/tenants/a")
        .header(header::AUTHORIZATION, format!("Bearer {}", world.operator().token.unwrap()))
        .body(Body::from("{}"))
        .unwrap();
    assert_eq!(world.app.clone().oneshot(request).await.unwrap().status(), 422);
    world.operator().get("/v1/price-lists?pageSize=0").await.refused(422, "invalid");
    world.operator().get("/v1/price-lists?pageSize=x").await.refused(422, "invalid");
}

#[tokio::test]
async fn metrics_have_bounded_labels_and_count_decisions() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    let limited = crate::support::tenant("police", Some("interior"), json!({"instances": 1}));
    operator.put("/v1/tenants/police", &limited).await.ok::<Value>();
    operator.put("/v1/reservations/u-1", &order("police", "a", 1, 1)).await.ok::<Value>();
    operator.put("/v1/reservations/u-2", &order("police", "b", 1, 1)).await.refused(409, "quota-exceeded");
    operator.get("/v1/no-such-route/secret-name").await;
    let text = world.state.metrics.text().unwrap();
    for line in [
        r#"siyada_api_reservations_total{outcome="granted",dimension="none"} 1"#,
        r#"siyada_api_reservations_total{outcome="refused",dimension="instances"} 1"#,
        r#"siyada_api_requests_total{route="/v1/reservations/{uid}",method="PUT",status="4xx"} 1"#,
        r#"siyada_api_requests_total{route="none",method="GET",status="4xx"} 1"#,
        "siyada_api_database_connections_open",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("police") && !text.contains("secret-name"), "{text}");
}

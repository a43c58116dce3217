//! Health, readiness and the description of the api: the only routes that ask nobody who he is. And the health of metering,
//! for the platform.

use crate::error::Error;
use crate::openapi::examples;
use crate::state::App;
use crate::store;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use serde::Serialize;
use siyada_model::health::MeteringHealth;
use siyada_model::wire::Problem;
use std::time::{Duration, Instant};
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;

/// How long the database may take to answer a question about its health.
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// Whether the api serves.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// True when nothing is waited for.
    pub ready: bool,
    /// What is waited for: `database`, `migrations`, `recovery`: a restored ledger that nobody has declared.
    pub waiting_for: Vec<&'static str>,
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, description = "It lives")))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the api serves, and what it waits for.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()), responses(
    (status = 200, description = "It serves", body = Readiness),
    (status = 503, description = "It waits for something", body = Readiness),
))]
pub async fn readyz(State(app): State<App>) -> (StatusCode, Json<Readiness>) {
    let answers = matches!(tokio::time::timeout(PING_TIMEOUT, store::ping(&app.pool)).await, Ok(Ok(())));
    let declared = answers || !app.standing.is_undeclared();
    let waiting_for: Vec<_> =
        [(answers, "database"), (app.is_migrated(), "migrations"), (declared, "recovery")]
            .into_iter()
            .filter_map(|(done, name)| (!done).then_some(name))
            .collect();
    let ready = waiting_for.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, waiting_for }))
}

/// Whether metering can be believed: every check, what it found, and what to do about it, by one state of the ledger.
#[utoipa::path(get, path = "/v1/health/metering", tag = "health", responses(
    (status = 200, description = "Every check", body = MeteringHealth, example = json!(examples::metering_health())),
    (status = 403, description = "Only for the platform", body = Problem, content_type = "application/problem+json"),
))]
pub async fn metering(State(app): State<App>) -> Result<Json<MeteringHealth>, Error> {
    Ok(Json(store::health::metering(&app.pool).await?))
}

/// The description of this api.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "health", security(()),
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
pub async fn openapi() -> Json<OpenApi> {
    Json(super::description())
}

/// Logs each answer that is not a success; the rest is counted. Neither headers nor bodies are ever logged.
pub async fn request_log(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let began = Instant::now();
    let response = next.run(request).await;
    let status = response.status();
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    if status.is_server_error() {
        tracing::warn!(%method, path, status = status.as_u16(), ms, "answered {method} {path} with {status}");
    } else {
        tracing::debug!(%method, path, status = status.as_u16(), ms, "answered {method} {path} with {status}");
    }
    response
}

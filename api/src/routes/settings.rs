//! What the ledger does by itself, as national finance sets it.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::Body;
use crate::openapi::examples;
use crate::state::App;
use crate::store::settings;
use axum::Json;
use axum::extract::State;
use siyada_model::schedule::Settings;
use siyada_model::wire::Problem;

/// What the ledger does by itself: when it closes months, and how long it keeps the audit trail.
#[utoipa::path(get, path = "/v1/settings", tag = "finance", responses(
    (status = 200, description = "What counts now", body = Settings, example = json!(examples::settings())),
    (status = 403, description = "Only for the platform", body = Problem, content_type = "application/problem+json"),
))]
pub async fn get(State(app): State<App>) -> Result<Json<Settings>, Error> {
    Ok(Json(settings::settings(&mut *app.pool.acquire().await?).await?))
}

/// Sets what the ledger does by itself. What is left out is as if nobody had set it.
#[utoipa::path(put, path = "/v1/settings", tag = "finance",
    request_body(content = Settings, example = json!(examples::settings())),
    responses(
        (status = 200, description = "On record", body = Settings, example = json!(examples::settings())),
        (status = 403, description = "Only for national finance", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not a day, an hour or a number of years", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn put(
    State(app): State<App>,
    caller: Caller,
    Body(new): Body<Settings>,
) -> Result<Json<Settings>, Error> {
    let known = settings::put(&app.pool, &new, &caller.subject).await?;
    app.set.notify_one();
    Ok(Json(known))
}

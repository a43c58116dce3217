//! Months: what blocks their closing, and closing them.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::Key;
use crate::openapi::examples;
use crate::state::App;
use crate::store::{closing, periods};
use axum::Json;
use axum::extract::State;
use siyada_model::period::Month;
use siyada_model::wire::{Closing, Page, PeriodState, Problem};

/// Every month that was opened, the first first.
#[utoipa::path(get, path = "/v1/periods", tag = "finance", responses(
    (status = 200, description = "All of them", body = Page<PeriodState>, example = json!({"items": [examples::period()]})),
))]
pub async fn list(State(app): State<App>) -> Result<Json<Page<PeriodState>>, Error> {
    let items = periods::all(&mut *app.pool.acquire().await?).await?;
    Ok(Json(Page { items, next_page_token: None }))
}

/// What closing the month would come to, and what still blocks it. Nothing is written.
#[utoipa::path(get, path = "/v1/periods/{month}/closing", tag = "finance",
    params(("month" = Month, Path, description = "The month, for example 2026-10")),
    responses(
        (status = 200, description = "What it would come to", body = Closing, example = json!(examples::closing())),
        (status = 403, description = "Only for the platform", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "It was not opened", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`issuer-unknown`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn preview(State(app): State<App>, Key(month): Key<Month>) -> Result<Json<Closing>, Error> {
    Ok(Json(closing::preview(&app.pool, month).await?))
}

/// Closes the month: every tenant's statement is numbered, chained and signed, once and for all. Asked again, it says
/// what was closed. If something blocks it, nothing is written and `closed` is false.
#[utoipa::path(post, path = "/v1/periods/{month}/closing", tag = "finance",
    params(("month" = Month, Path, description = "The month, for example 2026-10")),
    responses(
        (status = 200, description = "Closed, or what blocks it", body = Closing, example = json!(examples::closing())),
        (status = 403, description = "Only for national finance", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "It was not opened", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`issuer-unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "It goes on; ask again", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn close(
    State(app): State<App>,
    caller: Caller,
    Key(month): Key<Month>,
) -> Result<Json<Closing>, Error> {
    // A caller who goes away, or whom the limit of a request sends away, does not stop it half way.
    let closing = tokio::spawn(async move {
        closing::close(&app.pool, month, &caller.subject, app.signer.as_deref()).await
    });
    closing.await.map_err(|cause| Error::Fault(format!("failed to close {month}: {cause}")))?.map(Json)
}

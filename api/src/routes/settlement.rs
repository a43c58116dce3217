//! The stages of public expenditure on what a statement books.

use super::{acting, visible};
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{Body, Keys};
use crate::openapi::examples;
use crate::state::App;
use crate::store::settlement;
use axum::Json;
use axum::extract::State;
use siyada_model::id::TenantName;
use siyada_model::settlement::{BookedStages, Stage, StageRequest};
use siyada_model::wire::{Page, Problem, Role};

/// What a statement books on each budget line, and how far it is: certified, ordered, paid, or rejected.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/statements/{number}/stages", tag = "budget",
    params(
        ("tenant" = TenantName, Path, description = "Name of the tenant, or of one above it"),
        ("number" = String, Path, description = "Number of the statement"),
    ),
    responses(
        (status = 200, description = "All of it", body = Page<BookedStages>, example = json!({"items": [examples::booked_stages()]})),
        (status = 404, description = "No such statement, or not yours", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn get(
    State(app): State<App>,
    caller: Caller,
    Keys(name, number): Keys<TenantName, String>,
) -> Result<Json<Page<BookedStages>>, Error> {
    let tenant = visible(&app, &caller, &name).await?;
    let items = settlement::stages(&mut *app.pool.acquire().await?, &tenant, &number).await?;
    Ok(Json(Page { items, next_page_token: None }))
}

/// Puts a stage on record, for one budget line of a statement or for all of it. A certifier certifies, who neither ordered
/// anything on the statement nor closed it; finance orders the payment and says that it was made, and is not the one who
/// certified; either may reject with a reason. The same once more changes nothing.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/statements/{number}/stages", tag = "budget",
    params(
        ("tenant" = TenantName, Path, description = "Name of the tenant, or of one above it"),
        ("number" = String, Path, description = "Number of the statement"),
    ),
    request_body(content = StageRequest, example = json!(examples::stage_request())),
    responses(
        (status = 200, description = "On record", body = Page<BookedStages>),
        (status = 403, description = "You have not the role, or another one must do it", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such statement, or not yours", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`conflict`: it does not follow the stage on record, or the budget line has no credits on record", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn post(
    State(app): State<App>,
    caller: Caller,
    Keys(name, number): Keys<TenantName, String>,
    Body(request): Body<StageRequest>,
) -> Result<Json<Page<BookedStages>>, Error> {
    let any: &[Role] = match request.stage {
        Stage::Certified => &[Role::Certifier],
        Stage::Ordered | Stage::Paid => &[Role::Finance],
        Stage::Rejected => &[Role::Certifier, Role::Finance],
    };
    let tenant = acting(&app, &caller, &name, any).await?;
    let by = (caller.subject.as_str(), app.fiscal_year_start_month);
    let items = settlement::put(&app.pool, &tenant, &number, &request, by).await?;
    Ok(Json(Page { items, next_page_token: None }))
}

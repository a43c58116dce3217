//! Cost coverage of the hosting body: what it spends against what it billed and what was paid.

use super::budget::{Year, snapshot};
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{Body, Keys, Query};
use crate::openapi::examples;
use crate::state::App;
use crate::store::{costs, prices};
use axum::Json;
use axum::extract::State;
use siyada_model::coverage::{Category, CostCoverage, CostRecord, CostVersion, coverage};
use siyada_model::money::Money;
use siyada_model::period::YEARS;
use siyada_model::wire::{Page, Problem};

/// Puts on record what was spent in a fiscal year on something. A change is a new version; the same once more changes nothing.
#[utoipa::path(put, path = "/v1/costs/{fiscalYear}/{category}", tag = "finance",
    params(
        ("fiscalYear" = i16, Path, description = "The year in which the fiscal year begins"),
        ("category" = Category, Path, description = "What it was spent on, for example `energy`"),
    ),
    request_body(content = CostRecord, example = json!(examples::cost_record())),
    responses(
        (status = 200, description = "On record", body = CostVersion, example = json!(examples::cost())),
        (status = 403, description = "Only for national finance", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn put(
    State(app): State<App>,
    caller: Caller,
    Keys(fiscal_year, category): Keys<i16, Category>,
    Body(record): Body<CostRecord>,
) -> Result<Json<CostVersion>, Error> {
    if !YEARS.contains(&fiscal_year) {
        return Err(Error::invalid("fiscalYear is 2000 to 9998"));
    }
    Ok(Json(costs::put(&app.pool, (fiscal_year, &category), &record, &caller.subject).await?))
}

/// Every version of every cost of a fiscal year: who put it, and when.
#[utoipa::path(get, path = "/v1/costs", tag = "finance", params(Year),
    responses(
        (status = 200, description = "All of them, on one page", body = Page<CostVersion>, example = json!({"items": [examples::cost()]})),
        (status = 403, description = "Only for national finance and auditors of the nation", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn list(
    State(app): State<App>,
    Query(year): Query<Year>,
) -> Result<Json<Page<CostVersion>>, Error> {
    let (mut tx, year) = snapshot(&app, year.fiscal_year).await?;
    let items = costs::history(&mut tx, year.year).await?;
    Ok(Json(Page { items, next_page_token: None }))
}

/// What the hosting body billed and was paid in a fiscal year against what it spent, in basis points. What must be covered
/// is the platform's configuration.
#[utoipa::path(get, path = "/v1/cost-coverage", tag = "finance", params(Year),
    responses(
        (status = 200, description = "The coverage", body = CostCoverage, example = json!(examples::coverage())),
        (status = 403, description = "Only for national finance and auditors of the nation", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn cost_coverage(
    State(app): State<App>,
    Query(year): Query<Year>,
) -> Result<Json<CostCoverage>, Error> {
    let (mut tx, year) = snapshot(&app, year.fiscal_year).await?;
    let currency = prices::billing_currency(&mut tx).await?;
    let months = costs::months(&mut tx, year, currency).await?;
    let services = costs::services(&mut tx, year, currency).await?;
    let spent = costs::current(&mut tx, year.year).await?;
    let threshold = app.coverage_threshold_basis_points;
    Ok(Json(coverage((year.year, Money::zero(currency)), months, services, spent, threshold)?))
}

//! Availability: what collectors find, and what comes of it for each instance.

use super::usage::{Period, borders, check_collector};
use super::{commitments::Format, visible};
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{Body, Key, Query};
use crate::file::{CSV, attachment};
use crate::openapi::examples;
use crate::state::App;
use crate::store::{self, periods};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde::Deserialize;
use siyada_documents::availability_csv;
use siyada_model::availability::Availability;
use siyada_model::id::TenantName;
use siyada_model::wire::{AvailabilityBatch, AvailabilityReport, Problem, UsageAccepted};
use utoipa::IntoParams;

/// Stores whether somebody can log in, as a collector finds it, all or nothing. The same batch once more changes nothing.
#[utoipa::path(post, path = "/v1/usage/availability", tag = "usage",
    request_body(content = AvailabilityBatch, example = json!(examples::availability_batch())),
    responses(
        (status = 200, description = "On record", body = UsageAccepted, example = json!({"recorded": 1, "known": 0})),
        (status = 403, description = "Only for the operator", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`fenced`, `conflict`, `tenant-unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`too-large`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn ingest(
    State(app): State<App>,
    Body(batch): Body<AvailabilityBatch>,
) -> Result<Json<UsageAccepted>, Error> {
    check_collector(&batch.collector, batch.changes.len())?;
    if batch.clock_ms < 0 || batch.changes.iter().any(|change| change.clock_ms < 0) {
        return Err(Error::invalid("a collector's own clock shows zero or more"));
    }
    Ok(Json(store::availability::ingest(&app.pool, &batch).await?))
}

/// From when until when, and how it is written.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// First instant; the start of the issuer's current month when absent.
    #[param(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
    /// First instant after it; now when absent or later than now.
    #[param(value_type = Option<String>, format = DateTime)]
    pub to: Option<Timestamp>,
    /// `json` or `csv`.
    #[param(inline)]
    pub format: Option<Format>,
}

/// For how long somebody could log in to each instance of a tenant and everything below it, of the time for which it should
/// have run. Time at which nobody looked is neither up nor down, and the last minutes are such time until the operator's next
/// checkpoint.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/availability", tag = "usage",
    params(("tenant" = TenantName, Path, description = "Name of the tenant"), Which),
    responses(
        (status = 200, description = "The figures, or a file", content(
            (AvailabilityReport = "application/json", example = json!(examples::availability())),
            (String = "text/csv"),
        )),
        (status = 404, description = "No such tenant, or not yours", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn of_tenant(
    State(app): State<App>,
    caller: Caller,
    Key(name): Key<TenantName>,
    Query(which): Query<Which>,
) -> Result<Response, Error> {
    let tenant = visible(&app, &caller, &name).await?;
    // One snapshot for what ran and what was seen.
    let mut tx = store::snapshot(&app.pool).await?;
    let now = store::now(&mut tx).await?;
    let (month, _) = periods::month_of(&mut tx, now).await?;
    let (from, to) = borders(&Period { from: which.from, to: which.to }, month, now)?;
    let instances = store::availability::of_tenant(&mut tx, tenant.id, (from, to)).await?;
    let total = Availability::sum(instances.iter().map(|one| &one.figures));
    let report = AvailabilityReport { tenant: name, from, to, instances, total };
    Ok(match which.format.unwrap_or_default() {
        Format::Json => Json(report).into_response(),
        Format::Csv => {
            let file = format!("availability-{}.csv", report.tenant);
            attachment(CSV, &file, availability_csv((from, to), &report.instances))
        }
    })
}

//! Counters: where they stood, and what they counted.

use super::usage::{Cursor, Period, borders, check_collector, cut};
use super::visible;
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{Body, Key, Query};
use crate::openapi::examples;
use crate::page::PageQuery;
use crate::state::App;
use crate::store::{self, periods};
use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Deserialize;
use siyada_model::counter::{LONGEST_RESET_ID, sum};
use siyada_model::id::TenantName;
use siyada_model::wire::{Counted, CounterBatch, CounterReading, Page, Problem, UsageAccepted};
use utoipa::{IntoParams, ToSchema};

/// Orders looked at for one page.
const MOST_ORDERS: i64 = 50;

/// Stores where counters stood, all or nothing. The same batch once more changes nothing.
#[utoipa::path(post, path = "/v1/usage/counters", tag = "usage",
    request_body(content = CounterBatch, example = json!(examples::counter_batch())),
    responses(
        (status = 200, description = "On record", body = UsageAccepted, example = json!({"recorded": 1, "known": 0})),
        (status = 403, description = "Only for the operator", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`fenced`, `conflict`, `tenant-unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`too-large`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn ingest(
    State(app): State<App>,
    Body(batch): Body<CounterBatch>,
) -> Result<Json<UsageAccepted>, Error> {
    check_collector(&batch.collector, batch.readings.len())?;
    batch.readings.iter().try_for_each(check_reading)?;
    Ok(Json(store::counters::ingest(&app.pool, &batch).await?))
}

fn check_reading(reading: &CounterReading) -> Result<(), Error> {
    let of = || format!("{} of order {}", reading.meter, reading.order_uid);
    if reading.value < 0 {
        return Err(Error::invalid(format!("the reading of {} is below zero; no counter is", of())));
    }
    let printable = reading.reset_id.bytes().all(|b| b.is_ascii_graphic());
    if reading.reset_id.is_empty() || reading.reset_id.len() > LONGEST_RESET_ID || !printable {
        return Err(Error::invalid(format!(
            "the reset id of {} must be 1 to {LONGEST_RESET_ID} characters of ASCII without spaces",
            of()
        )));
    }
    Ok(())
}

/// What one row is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Rows {
    /// An order and meter in the whole period.
    #[default]
    Order,
    /// What was counted from one reading to the next.
    Window,
}

/// Which counters are listed, and how.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// The start of the issuer's current month when absent. What ends here is not in the period.
    #[param(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
    /// Now when absent or later than now. What ends here is in the period.
    #[param(value_type = Option<String>, format = DateTime)]
    pub to: Option<Timestamp>,
    /// `order`, when absent: one row for each order and meter; `window`: one for each reading.
    #[param(inline)]
    pub per: Option<Rows>,
    /// Most rows to answer, 1 to 500; 100 when absent.
    pub page_size: Option<usize>,
    /// `nextPageToken` of the page before.
    pub page_token: Option<String>,
}

/// What counters of a tenant and everything below it counted, by order, meter and time. A reading counts whole in the period
/// that it ends in. With `mayMiss` a counter began again: what it counted since the reading before is not in it. A page may
/// be shorter than asked, even empty, and still have a next one.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/counters", tag = "usage",
    params(("tenant" = TenantName, Path, description = "Name of the tenant"), Which),
    responses(
        (status = 200, description = "A page", body = Page<Counted>, example = json!({"items": [examples::counted()]})),
        (status = 404, description = "No such tenant, or not yours", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn of_tenant(
    State(app): State<App>,
    caller: Caller,
    Key(name): Key<TenantName>,
    Query(which): Query<Which>,
) -> Result<Json<Page<Counted>>, Error> {
    let tenant = visible(&app, &caller, &name).await?;
    let size = PageQuery { page_size: which.page_size, page_token: None }.size()?;
    let after = which.page_token.as_deref().map(Cursor::parse).transpose()?;
    let first = after.as_ref().map_or("", |cursor| cursor.order_uid.as_str());
    let mut tx = store::snapshot(&app.pool).await?;
    let now = store::now(&mut tx).await?;
    let (month, _) = periods::month_of(&mut tx, now).await?;
    let period = borders(&Period { from: which.from, to: which.to }, month, now)?;
    let (mut rows, last) = store::counters::counted(&mut tx, tenant.id, period, first, MOST_ORDERS).await?;
    let per = which.per.unwrap_or_default();
    if per == Rows::Order {
        rows = summed(rows);
    }
    // The last reading of an order changes between two pages; its place in the list does not.
    let at = |row: &Counted| if per == Rows::Order { period.0 } else { row.window.end };
    let place = |row: &Counted| Cursor::new(&row.order.uid, row.meter, at(row));
    Ok(Json(cut(rows, place, size, after.as_ref(), last)))
}

/// One row for each order and meter.
fn summed(rows: Vec<Counted>) -> Vec<Counted> {
    let same = |a: &Counted, b: &Counted| (&a.order.uid, a.meter) == (&b.order.uid, b.meter);
    let sums = rows.chunk_by(same).filter_map(|group| {
        let windows: Vec<_> = group.iter().map(|row| row.window.clone()).collect();
        Some(Counted { window: sum(&windows)?, ..group.first()?.clone() })
    });
    sums.collect()
}

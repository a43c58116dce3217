//! Commitments: what is reserved, by whom, where it is booked, and where it leads.

use super::{tenants::currency, visible};
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{Key, Query};
use crate::file::{CSV, attachment};
use crate::openapi::examples;
use crate::page::{PageQuery, one_more, page};
use crate::state::App;
use crate::store::commitments::{self, Basis, MOST_ROWS};
use crate::store::periods;
use crate::store::tenants::Tenant;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use siyada_documents::cell;
use siyada_model::id::TenantName;
use siyada_model::money::Currency;
use siyada_model::period::Month;
use siyada_model::wire::{Commitments, CommittedOrder, Forecast, Problem, code};
use utoipa::{IntoParams, ToSchema};

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Format {
    /// JSON, in pages.
    #[default]
    Json,
    /// CSV (RFC 4180), all rows at once.
    Csv,
}

/// Which commitments are listed, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// `json`, or `csv` for all rows at once.
    #[param(inline)]
    pub format: Option<Format>,
    /// Most rows to answer, 1 to 500; 100 when absent.
    pub page_size: Option<usize>,
    /// `nextPageToken` of the page before.
    pub page_token: Option<String>,
}

/// What a tenant and everything below it has reserved, by order uid, with totals; the first page has a forecast to the
/// end of the month and of the fiscal year.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/commitments", tag = "commitments",
    params(("tenant" = TenantName, Path, description = "Name of the tenant"), Which),
    responses(
        (status = 200, description = "A page, or a file", content(
            (Commitments = "application/json", example = json!(examples::commitments())),
            (String = "text/csv"),
        )),
        (status = 404, description = "No such tenant, or not yours", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`price-unknown` for time without a price", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`too-large`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn commitments(
    State(app): State<App>,
    caller: Caller,
    Key(name): Key<TenantName>,
    Query(which): Query<Which>,
) -> Result<Response, Error> {
    let tenant = visible(&app, &caller, &name).await?;
    let query = PageQuery { page_size: which.page_size, page_token: which.page_token };
    let size = query.size()?;
    if which.format == Some(Format::Csv) {
        return csv(&app, &tenant).await;
    }
    let currency = currency(&app, &tenant).await?;
    let rows = commitments::list(&app.pool, &tenant, query.after(), one_more(size)).await?;
    let page = page(rows, size, |row| row.order.order_uid.to_string());
    let (reservations, total) =
        commitments::total(&mut *app.pool.acquire().await?, &tenant, currency).await?;
    let forecast =
        if query.after().is_empty() { Some(forecast(&app, &tenant, currency).await?) } else { None };
    let next_page_token = page.next_page_token;
    Ok(Json(Commitments { tenant: name, items: page.items, next_page_token, reservations, total, forecast })
        .into_response())
}

async fn forecast(app: &App, tenant: &Tenant, currency: Currency) -> Result<Forecast, Error> {
    // One snapshot for usage, reservations and prices.
    let mut tx = crate::store::snapshot(&app.pool).await?;
    let now = crate::store::now(&mut tx).await?;
    let month = periods::month_of(&mut tx, now).await?;
    let (zone, start) = periods::calendar(&mut tx, app.fiscal_year_start_month).await?;
    let year = fiscal_year(now, start, &zone)?;
    let basis = Basis::read(&mut tx, tenant, (now, year.1.max(month.1)), currency).await?;
    Ok(Forecast {
        month: basis.forecast(&mut tx, tenant, month).await?,
        fiscal_year: basis.forecast(&mut tx, tenant, year).await?,
    })
}

/// The twelve months that begin with `start` in `zone` and hold `now`.
fn fiscal_year(now: Timestamp, start: i8, zone: &TimeZone) -> Result<(Timestamp, Timestamp), Error> {
    let year = Month::holding(now, zone).fiscal_year(start);
    let begins = |year: i16| {
        let month = Month::new(year, start);
        let month = month.ok_or_else(|| Error::Fault(format!("failed to find month {start} of {year}")))?;
        month.begins(zone).map_err(|cause| Error::Fault(cause.to_string()))
    };
    Ok((begins(year)?, begins(year.saturating_add(1))?))
}

async fn csv(app: &App, tenant: &Tenant) -> Result<Response, Error> {
    let rows = commitments::list(&app.pool, tenant, "", MOST_ROWS.saturating_add(1)).await?;
    if i64::try_from(rows.len()).unwrap_or(i64::MAX) > MOST_ROWS {
        return Err(Error::refuse(
            code::TOO_LARGE,
            format!("a file has at most {MOST_ROWS} rows; ask for the tenants below one by one"),
        ));
    }
    let mut text = String::from(
        "orderUid,tenant,kind,namespace,name,plan,requester,account,costCentre,budgetLine,priceList,heldSince,\
         retained,instances,cpuMilli,memoryBytes,storageBytes,monthlyMaximum,currency\r\n",
    );
    for row in &rows {
        text.push_str(&line(row));
    }
    Ok(attachment(CSV, &format!("commitments-{}.csv", tenant.name), text))
}

fn line(row: &CommittedOrder) -> String {
    let (order, billing) = (&row.order, &row.billing);
    let word = |text: &Option<String>| cell(text.as_deref().unwrap_or_default());
    let resources = &order.commitment.resources;
    let cells = [
        order.order_uid.to_string(),
        order.tenant.to_string(),
        cell(&order.kind),
        cell(&order.namespace),
        cell(&order.name),
        cell(&row.plan),
        word(&row.requester),
        word(&billing.account),
        word(&billing.cost_centre),
        word(&billing.budget_line),
        row.price_list.to_string(),
        row.held_since.to_string(),
        row.retained.to_string(),
        resources.instances.to_string(),
        resources.cpu_milli.to_string(),
        resources.memory_bytes.to_string(),
        resources.storage_bytes.to_string(),
        order.commitment.monthly_cost.decimal(),
        order.commitment.monthly_cost.currency.to_string(),
    ];
    cells.join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fiscal_year_holds_now_whatever_month_it_begins_in() {
        let check = |now: &str, start: i8, from: &str, to: &str| {
            let at = |text: &str| format!("{text}T00:00:00Z").parse::<Timestamp>().unwrap();
            assert_eq!(
                fiscal_year(now.parse().unwrap(), start, &TimeZone::UTC).unwrap(),
                (at(from), at(to)),
                "{now} {start}"
            );
        };
        check("2026-11-24T08:00:00Z", 1, "2026-01-01", "2027-01-01");
        check("2026-11-24T08:00:00Z", 4, "2026-04-01", "2027-04-01");
        check("2026-03-31T23:59:59Z", 4, "2025-04-01", "2026-04-01");
        check("2026-12-31T23:59:59Z", 12, "2026-12-01", "2027-12-01");
        let casablanca = TimeZone::get("Africa/Casablanca").unwrap();
        let year = fiscal_year("2026-08-31T23:30:00Z".parse().unwrap(), 9, &casablanca).unwrap();
        assert_eq!(year.0.to_string(), "2026-08-31T23:00:00Z");
    }
}

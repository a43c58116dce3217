//! Budget lines: credits for a fiscal year, and how far they went.

use super::commitments::Format;
use super::{acting, visible};
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{Body, Key, Keys, Query};
use crate::file::{CSV, attachment};
use crate::openapi::examples;
use crate::page::{PageQuery, one_more, page};
use crate::state::App;
use crate::store::budget::{self, FiscalYear, Lines};
use crate::store::periods;
use crate::store::tenants::Tenant;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use siyada_documents::cell;
use siyada_model::budget::{BudgetLine, BudgetLineRecord, BudgetLineVersion, LineName};
use siyada_model::id::TenantName;
use siyada_model::period::{Month, YEARS};
use siyada_model::wire::{Page, Problem, Role, code};
use sqlx::PgTransaction;
use utoipa::{IntoParams, ToSchema};

/// Most budget lines in one file.
const MOST_ROWS: i64 = 10_000;

/// Which budget lines are listed, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// The year in which the fiscal year begins; the current one when absent.
    pub fiscal_year: Option<i16>,
    /// `json`, or `csv` for all rows at once.
    #[param(inline)]
    pub format: Option<Format>,
    /// Most rows to answer, 1 to 500; 100 when absent.
    pub page_size: Option<usize>,
    /// `nextPageToken` of the page before.
    pub page_token: Option<String>,
}

/// Of which fiscal year.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct Year {
    /// The year in which the fiscal year begins; the current one when absent.
    pub fiscal_year: Option<i16>,
}

/// A budget line with every version of its credits.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BudgetLineHistory {
    /// The line as it is.
    #[serde(flatten)]
    pub line: BudgetLine,
    /// What was put on record, the oldest first.
    pub versions: Vec<BudgetLineVersion>,
}

/// One snapshot, and the fiscal year that is asked.
pub(super) async fn snapshot(
    app: &App,
    year: Option<i16>,
) -> Result<(PgTransaction<'static>, FiscalYear), Error> {
    let mut tx = crate::store::snapshot(&app.pool).await?;
    let (_, start) = periods::calendar(&mut tx, app.fiscal_year_start_month).await?;
    let now = crate::store::now(&mut tx).await?;
    let year = year.unwrap_or_else(|| Month::holding(now, &TimeZone::UTC).fiscal_year(start));
    if !YEARS.contains(&year) {
        return Err(Error::invalid("fiscalYear is 2000 to 9998"));
    }
    Ok((tx, FiscalYear { year, start }))
}

/// Budget lines of a tenant in a fiscal year by name: opened, committed, billed, certified, ordered, paid, and what remains.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/budget-lines", tag = "budget",
    params(("tenant" = TenantName, Path, description = "Name of the tenant"), Which),
    responses(
        (status = 200, description = "A page, or a file", content(
            (Page<BudgetLine> = "application/json", example = json!({"items": [examples::budget_line()]})),
            (String = "text/csv"),
        )),
        (status = 404, description = "No such tenant, or not yours", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Key(name): Key<TenantName>,
    Query(which): Query<Which>,
) -> Result<Response, Error> {
    let tenant = visible(&app, &caller, &name).await?;
    let query = PageQuery { page_size: which.page_size, page_token: which.page_token };
    let size = query.size()?;
    let (mut tx, year) = snapshot(&app, which.fiscal_year).await?;
    if which.format == Some(Format::Csv) {
        let rows =
            budget::list(&mut tx, &tenant, year, Lines::After("", MOST_ROWS.saturating_add(1))).await?;
        return csv(&tenant, year, &rows);
    }
    let rows = budget::list(&mut tx, &tenant, year, Lines::After(query.after(), one_more(size))).await?;
    Ok(Json(page(rows, size, |row| row.line.to_string())).into_response())
}

/// A budget line in a fiscal year, with every version of its credits: who put it, and when.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/budget-lines/{line}", tag = "budget",
    params(
        ("tenant" = TenantName, Path, description = "Name of the tenant"),
        ("line" = LineName, Path, description = "Name of the budget line, as in `billing.budgetLine`"),
        Year,
    ),
    responses(
        (status = 200, description = "The line", body = BudgetLineHistory, example = json!(examples::budget_line_history())),
        (status = 404, description = "No such line, or not yours", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn get(
    State(app): State<App>,
    caller: Caller,
    Keys(name, line): Keys<TenantName, LineName>,
    Query(year): Query<Year>,
) -> Result<Json<BudgetLineHistory>, Error> {
    let tenant = visible(&app, &caller, &name).await?;
    let (mut tx, year) = snapshot(&app, year.fiscal_year).await?;
    let found = budget::list(&mut tx, &tenant, year, Lines::Only(&line)).await?.pop();
    let found = found.ok_or_else(Error::not_found)?;
    let versions = budget::history(&mut tx, tenant.id, year.year, &line).await?;
    Ok(Json(BudgetLineHistory { line: found, versions }))
}

/// Puts the credits of a budget line on record. A change is a new version; the same once more changes nothing.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/budget-lines/{line}", tag = "budget",
    params(
        ("tenant" = TenantName, Path, description = "Name of the tenant"),
        ("line" = LineName, Path, description = "Name of the budget line, as in `billing.budgetLine`"),
    ),
    request_body(content = BudgetLineRecord, example = json!(examples::budget_line_record())),
    responses(
        (status = 200, description = "On record", body = BudgetLineVersion),
        (status = 403, description = "Only for the finance of the tenant or of the nation", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such tenant, or not yours", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn put(
    State(app): State<App>,
    caller: Caller,
    Keys(name, line): Keys<TenantName, LineName>,
    Body(record): Body<BudgetLineRecord>,
) -> Result<Json<BudgetLineVersion>, Error> {
    let tenant = acting(&app, &caller, &name, &[Role::Finance]).await?;
    Ok(Json(budget::put(&app.pool, &tenant, &line, &record, &caller.subject).await?))
}

fn csv(tenant: &Tenant, year: FiscalYear, rows: &[BudgetLine]) -> Result<Response, Error> {
    if i64::try_from(rows.len()).unwrap_or(i64::MAX) > MOST_ROWS {
        return Err(Error::refuse(code::TOO_LARGE, format!("a file has at most {MOST_ROWS} budget lines")));
    }
    let mut text = String::from(
        "tenant,fiscalYear,line,nameFr,nameAr,nomenclature,opened,carried,heldMonthly,committed,billed,certified,\
         ordered,paid,remainingToCommit,remainingToPay,currency\r\n",
    );
    for row in rows {
        let record = &row.current.record;
        let places: Vec<String> =
            record.nomenclature.iter().map(|place| format!("{}={}", place.key, place.value)).collect();
        let word = |text: &Option<String>| cell(text.as_deref().unwrap_or_default());
        let mut cells = vec![
            row.tenant.to_string(),
            record.fiscal_year.to_string(),
            cell(row.line.as_str()),
            word(&record.display_name.fr),
            word(&record.display_name.ar),
            cell(&places.join("; ")),
        ];
        let amounts = [
            record.opened,
            record.carried(),
            row.held_monthly,
            row.committed,
            row.billed,
            row.certified,
            row.ordered,
            row.paid,
            row.remaining_to_commit,
            row.remaining_to_pay,
        ];
        cells.extend(amounts.iter().map(|amount| amount.decimal()));
        cells.push(record.opened.currency.to_string());
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    Ok(attachment(CSV, &format!("budget-{}-{}.csv", tenant.name, year.year), text))
}

//! Tenants, what they may hold and what they hold.

use super::visible;
use crate::access::names_of;
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{Body, Key, Query};
use crate::openapi::examples;
use crate::page::{PageQuery, one_more, page};
use crate::state::App;
use crate::store::reservations::{self, Filter};
use crate::store::tenants::Sight;
use crate::store::{prices, tenants};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use siyada_model::id::TenantName;
use siyada_model::money::Currency;
use siyada_model::quota::view;
use siyada_model::wire::{LARGEST_PAGE, Page, Problem, QuotaView, Reservation, TenantRecord, TenantSummary};
use utoipa::IntoParams;

/// A tenant as the cluster knows it.
#[utoipa::path(get, path = "/v1/tenants/{tenant}", tag = "tenants",
    params(("tenant" = TenantName, Path, description = "Name of the tenant")),
    responses(
        (status = 200, description = "The tenant", body = TenantRecord, example = json!(examples::tenant())),
        (status = 404, description = "No such tenant, or not yours", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn get(
    State(app): State<App>,
    caller: Caller,
    Key(name): Key<TenantName>,
) -> Result<Json<TenantRecord>, Error> {
    Ok(Json(visible(&app, &caller, &name).await?.record))
}

/// Tenants scanned for one page of a search.
const MOST_SCANNED: usize = 5_000;
/// Longest text that is searched for.
const LONGEST_SEARCH: usize = 100;

/// Which tenants are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only those whose name, or name in any language and script, contains this.
    pub search: Option<String>,
    /// Most rows to answer, 1 to 500; 100 when absent.
    pub page_size: Option<usize>,
    /// `nextPageToken` of the page before.
    pub page_token: Option<String>,
}

/// The tenants that the caller may see, by name. A page of a search may be shorter than asked and still have a next one.
#[utoipa::path(get, path = "/v1/tenants", tag = "tenants", params(Which),
    responses(
        (status = 200, description = "A page", body = Page<TenantSummary>, example = json!({"items": [examples::tenant_summary()]})),
        (status = 401, description = "No token, or one that is not accepted", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Json<Page<TenantSummary>>, Error> {
    let query = PageQuery { page_size: which.page_size, page_token: which.page_token };
    let size = query.size()?;
    let search = which.search.unwrap_or_default();
    if search.len() > LONGEST_SEARCH {
        return Err(Error::invalid(format!("search has at most {LONGEST_SEARCH} bytes")));
    }
    let names = names_of(&caller);
    let sight = if app.platform.roles(&caller).is_empty() { Sight::Of(&names) } else { Sight::All };
    let mut connection = app.pool.acquire().await?;
    let (mut found, mut after, mut scanned) = (Vec::new(), query.after().to_owned(), 0);
    let more = loop {
        let rows = tenants::list(&mut connection, sight, &after, one_more(LARGEST_PAGE)).await?;
        let (count, last) = (rows.len(), rows.last().map(|row| row.tenant.to_string()));
        found.extend(rows.into_iter().filter(|row| is_named(row, &search)));
        scanned += count;
        match last {
            Some(last) if count > LARGEST_PAGE => after = last,
            _ => break false,
        }
        if found.len() > size || scanned >= MOST_SCANNED {
            break true;
        }
    };
    let mut page = page(found, size, |row| row.tenant.to_string());
    if page.next_page_token.is_none() && more {
        page.next_page_token = Some(after);
    }
    Ok(Json(page))
}

/// Whether a name of the tenant contains the text, whatever its case.
fn is_named(row: &TenantSummary, search: &str) -> bool {
    let wanted = search.to_lowercase();
    let names = &row.display_name;
    let mut all = [&names.fr, &names.ar, &names.en, &names.zgh].into_iter().flatten();
    row.tenant.as_str().contains(&wanted) || all.any(|name| name.to_lowercase().contains(&wanted))
}

/// Stores a tenant as the cluster knows it. Below another parent, its sums move with it or nothing does.
#[utoipa::path(put, path = "/v1/tenants/{tenant}", tag = "tenants",
    params(("tenant" = TenantName, Path, description = "Name of the tenant")),
    request_body(content = TenantRecord, example = json!(examples::tenant())),
    responses(
        (status = 200, description = "On record", body = TenantRecord),
        (status = 403, description = "Only for the operator", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`stale`, `tenant-unknown` (the parent), `quota-exceeded`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`: a cycle, too deep, another currency than the prices", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn put(
    State(app): State<App>,
    caller: Caller,
    Key(name): Key<TenantName>,
    Body(record): Body<TenantRecord>,
) -> Result<Json<TenantRecord>, Error> {
    Ok(Json(tenants::put(&app.pool, &name, &record, &caller.subject).await?))
}

/// Removes a tenant on which nothing depends any more; its past usage stays. Once more is no error.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}", tag = "tenants",
    params(("tenant" = TenantName, Path, description = "Name of the tenant")),
    responses(
        (status = 204, description = "Gone"),
        (status = 403, description = "Only for the operator", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`in-use`, with at most 20 that depend on it", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn delete(
    State(app): State<App>,
    caller: Caller,
    Key(name): Key<TenantName>,
) -> Result<StatusCode, Error> {
    tenants::delete(&app.pool, &name, &caller.subject).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a tenant may hold, and what it and everything below it holds.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/quota", tag = "tenants",
    params(("tenant" = TenantName, Path, description = "Name of the tenant")),
    responses(
        (status = 200, description = "Limits and sums", body = QuotaView, example = json!(examples::quota())),
        (status = 404, description = "No such tenant, or not yours", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn quota(
    State(app): State<App>,
    caller: Caller,
    Key(name): Key<TenantName>,
) -> Result<Json<QuotaView>, Error> {
    let tenant = visible(&app, &caller, &name).await?;
    let currency = currency(&app, &tenant).await?;
    let holdings = tenants::holdings(&app.pool, &tenant, currency).await?;
    let (held, used) = (holdings.held.in_currency(currency), holdings.used.in_currency(currency));
    Ok(Json(QuotaView {
        tenant: name,
        dimensions: view(&tenant.record.quota, &held, &used),
        limit: tenant.record.quota,
        held,
        reservations: holdings.reservations,
        largest: holdings.largest,
        pending: holdings.pending,
    }))
}

/// The currency of the prices; before there are any, that of the tenant's own limit.
pub(super) async fn currency(app: &App, tenant: &tenants::Tenant) -> Result<Currency, Error> {
    let mut connection = app.pool.acquire().await?;
    let of_limit = || tenant.record.quota.monthly_cost.map_or(Currency::MAD, |m| m.currency);
    Ok(prices::currency(&mut connection).await?.unwrap_or_else(of_limit))
}

/// What the orders of a tenant and everything below it hold, by order uid.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/reservations", tag = "tenants",
    params(("tenant" = TenantName, Path, description = "Name of the tenant"), PageQuery),
    responses(
        (status = 200, description = "A page", body = Page<Reservation>, example = json!({"items": [examples::reservation()]})),
        (status = 404, description = "No such tenant, or not yours", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn reservations(
    State(app): State<App>,
    caller: Caller,
    Key(name): Key<TenantName>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Reservation>>, Error> {
    let tenant = visible(&app, &caller, &name).await?;
    let size = query.size()?;
    let filter = Filter { below: Some(tenant.id), retained: None };
    let rows = reservations::list(&app.pool, filter, query.after(), one_more(size)).await?;
    Ok(Json(page(rows, size, |r| r.order_uid.to_string())))
}

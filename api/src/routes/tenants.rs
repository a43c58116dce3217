//! Tenants, what they may hold and what they hold.

use super::visible;
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{Body, Key, Query};
use crate::openapi::examples;
use crate::page::{PageQuery, one_more, page};
use crate::state::App;
use crate::store::reservations::{self, Filter};
use crate::store::{prices, tenants};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use siyada_model::id::TenantName;
use siyada_model::money::Currency;
use siyada_model::quota::view;
use siyada_model::wire::{Page, Problem, QuotaView, Reservation, TenantRecord};

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
    Key(name): Key<TenantName>,
    Body(record): Body<TenantRecord>,
) -> Result<Json<TenantRecord>, Error> {
    Ok(Json(tenants::put(&app.pool, &name, &record).await?))
}

/// Removes a tenant on which nothing depends any more; its past usage stays. Once more is no error.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}", tag = "tenants",
    params(("tenant" = TenantName, Path, description = "Name of the tenant")),
    responses(
        (status = 204, description = "Gone"),
        (status = 403, description = "Only for the operator", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`in-use`, with at most 20 that depend on it", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn delete(State(app): State<App>, Key(name): Key<TenantName>) -> Result<StatusCode, Error> {
    tenants::delete(&app.pool, &name).await?;
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
    let (held, reservations) = tenants::quota_of(&app.pool, &tenant).await?;
    let currency = currency(&app, &tenant).await?;
    let held = held.in_currency(currency);
    Ok(Json(QuotaView {
        tenant: name,
        dimensions: view(&tenant.record.quota, &held),
        limit: tenant.record.quota,
        held,
        reservations,
        largest: Vec::new(),
        pending: None,
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

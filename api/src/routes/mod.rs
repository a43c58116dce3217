//! The routes: extract, authorize, call, answer.

pub mod alerts;
pub mod approvals;
pub mod audit;
pub mod availability;
pub mod breakdown;
pub mod budget;
pub mod commitments;
pub mod costs;
pub mod counters;
pub mod finance;
pub mod gaps;
pub mod health;
pub mod ledger;
pub mod meters;
pub mod national;
pub mod periods;
pub mod prices;
pub mod quotes;
pub mod reservations;
pub mod settings;
pub mod settlement;
pub mod statements;
pub mod tenants;
pub mod usage;
pub mod whoami;

use crate::access;
use crate::auth::Caller;
use crate::error::Error;
use crate::state::App;
use crate::store::tenants::Tenant;
use crate::{limits, metrics, openapi};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use siyada_model::id::TenantName;
use siyada_model::wire::{Access, Role};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The routes and their description.
fn described() -> OpenApiRouter<App> {
    let batches = OpenApiRouter::new()
        .routes(routes!(usage::ingest))
        .routes(routes!(counters::ingest))
        .routes(routes!(availability::ingest))
        .layer(DefaultBodyLimit::max(limits::LARGEST_BATCH));
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::openapi))
        .routes(routes!(whoami::whoami))
        .routes(routes!(prices::list))
        .routes(routes!(prices::put, prices::delete))
        .routes(routes!(tenants::list))
        .routes(routes!(tenants::get, tenants::put, tenants::delete))
        .routes(routes!(tenants::quota))
        .routes(routes!(tenants::reservations))
        .routes(routes!(commitments::commitments))
        .routes(routes!(approvals::list))
        .routes(routes!(approvals::approve, approvals::reject))
        .routes(routes!(approvals::decisions))
        .routes(routes!(alerts::list))
        .routes(routes!(meters::list))
        .routes(routes!(usage::report))
        .routes(routes!(usage::intervals))
        .routes(routes!(counters::of_tenant))
        .routes(routes!(availability::of_tenant))
        .routes(routes!(finance::get_issuer, finance::put_issuer))
        .routes(routes!(finance::accounts))
        .routes(routes!(finance::put_account))
        .routes(routes!(finance::allocate))
        .routes(routes!(periods::list))
        .routes(routes!(periods::preview, periods::close))
        .routes(routes!(statements::list))
        .routes(routes!(statements::get))
        .routes(routes!(statements::take_back))
        .routes(routes!(statements::chain))
        .routes(routes!(statements::signing_key))
        .routes(routes!(gaps::of_tenant))
        .routes(routes!(gaps::decide))
        .routes(routes!(gaps::decide_all))
        .routes(routes!(gaps::all))
        .routes(routes!(quotes::quote))
        .routes(routes!(reservations::list))
        .routes(routes!(reservations::put, reservations::delete))
        .routes(routes!(usage::checkpoint))
        .routes(routes!(usage::collector))
        .routes(routes!(ledger::journal))
        .routes(routes!(health::metering))
        .routes(routes!(settings::get, settings::put))
        .routes(routes!(audit::retention))
        .routes(routes!(audit::all, audit::tell))
        .routes(routes!(audit::of_tenant))
        .routes(routes!(budget::list))
        .routes(routes!(budget::get, budget::put))
        .routes(routes!(settlement::get, settlement::post))
        .routes(routes!(breakdown::grouped))
        .routes(routes!(national::export))
        .routes(routes!(national::annex))
        .routes(routes!(costs::list))
        .routes(routes!(costs::put))
        .routes(routes!(costs::cost_coverage))
        .layer(DefaultBodyLimit::max(limits::LARGEST_BODY))
        .merge(batches)
}

/// The description of every route.
pub fn description() -> OpenApi {
    described().into_openapi()
}

/// The api as a value: the server listens with it, tests call it.
pub fn app(state: App) -> Router {
    Router::from(described())
        .fallback(|| async { Error::not_found() })
        .layer(from_fn_with_state(state.clone(), limits::guard))
        .layer(from_fn_with_state(state.clone(), limits::name_incarnation))
        .layer(from_fn_with_state(state.clone(), limits::bound))
        .layer(from_fn_with_state(state.clone(), metrics::count))
        .layer(from_fn(health::request_log))
        .with_state(state)
}

/// The tenant, if `caller` may see it and acts in it with one of the roles `any`.
async fn acting(app: &App, caller: &Caller, name: &TenantName, any: &[Role]) -> Result<Tenant, Error> {
    let (tenant, access) = with_access(app, caller, name).await?;
    access::may_act(&access::acting_roles(caller, &app.platform.roles(caller), &access), any)?;
    Ok(tenant)
}

/// The tenant, if `caller` may see it; the same answer for one that is not there and one that is not his.
async fn visible(app: &App, caller: &Caller, name: &TenantName) -> Result<Tenant, Error> {
    with_access(app, caller, name).await.map(|(tenant, _)| tenant)
}

/// The tenant, if `caller` may see it, and the access lists of its chain.
async fn with_access(
    app: &App,
    caller: &Caller,
    name: &TenantName,
) -> Result<(Tenant, Vec<Vec<Access>>), Error> {
    let tenant = crate::store::tenants::find(&app.pool, name).await?.ok_or_else(Error::not_found)?;
    let mut connection = app.pool.acquire().await?;
    let chain = crate::store::tenants::chain(&mut connection, &tenant.path).await?;
    let access: Vec<_> = chain.into_iter().map(|link| link.access).collect();
    if access::in_tenant(caller, &app.platform.roles(caller), &access) {
        return Ok((tenant, access));
    }
    Err(Error::not_found())
}

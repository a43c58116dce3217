//! Who bills and who is billed, and where orders are booked.

use super::acting;
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{Body, Key, Keys, Query};
use crate::openapi::examples;
use crate::page::{PageQuery, one_more, page};
use crate::state::App;
use crate::store::{allocations, finance};
use axum::Json;
use axum::extract::State;
use siyada_model::allocation::Allocation;
use siyada_model::id::{OrderUid, TenantName};
use siyada_model::party::{AccountName, AccountRecord, IssuerRecord};
use siyada_model::wire::{AccountEntry, AllocationRequest, Page, Problem, Role};

/// The body that bills.
#[utoipa::path(get, path = "/v1/issuer", tag = "finance", responses(
    (status = 200, description = "The issuer", body = IssuerRecord, example = json!(examples::issuer())),
    (status = 404, description = "None is on record", body = Problem, content_type = "application/problem+json"),
))]
pub async fn get_issuer(State(app): State<App>) -> Result<Json<IssuerRecord>, Error> {
    let found = finance::issuer(&mut *app.pool.acquire().await?).await?;
    found.map(Json).ok_or_else(Error::not_found)
}

/// Puts the body that bills on record, and opens the months since the first usage. What was issued keeps what it says.
#[utoipa::path(put, path = "/v1/issuer", tag = "finance",
    request_body(content = IssuerRecord, example = json!(examples::issuer())),
    responses(
        (status = 200, description = "On record", body = IssuerRecord),
        (status = 403, description = "Only for national finance", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn put_issuer(
    State(app): State<App>,
    caller: Caller,
    Body(record): Body<IssuerRecord>,
) -> Result<Json<IssuerRecord>, Error> {
    let stored = finance::put_issuer(&app.pool, &record, &caller.subject).await?;
    app.months.notify_one();
    Ok(Json(stored))
}

/// The accounts that are billed, by name.
#[utoipa::path(get, path = "/v1/accounts", tag = "finance", params(PageQuery), responses(
    (status = 200, description = "A page", body = Page<AccountEntry>, example = json!({"items": [examples::account()]})),
    (status = 403, description = "Only for the platform", body = Problem, content_type = "application/problem+json"),
))]
pub async fn accounts(
    State(app): State<App>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<AccountEntry>>, Error> {
    let size = query.size()?;
    let rows = finance::accounts(&app.pool, query.after(), one_more(size)).await?;
    Ok(Json(page(rows, size, |row| row.account.clone())))
}

/// Puts an account on record. What was issued keeps what it says.
#[utoipa::path(put, path = "/v1/accounts/{account}", tag = "finance",
    params(("account" = String, Path, description = "Name of the account, as tenants say it in billing.account")),
    request_body(content = AccountRecord, example = json!(examples::account_record())),
    responses(
        (status = 200, description = "On record", body = AccountEntry),
        (status = 403, description = "Only for national finance", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn put_account(
    State(app): State<App>,
    caller: Caller,
    Key(account): Key<AccountName>,
    Body(record): Body<AccountRecord>,
) -> Result<Json<AccountEntry>, Error> {
    Ok(Json(finance::put_account(&app.pool, account.as_str(), &record, &caller.subject).await?))
}

/// Books an order's cost on one or more budget lines from an instant on, until its own `costAllocation` changes.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/orders/{uid}/allocation", tag = "finance",
    params(
        ("tenant" = TenantName, Path, description = "Name of the tenant"),
        ("uid" = OrderUid, Path, description = "Uid of the order"),
    ),
    request_body(content = AllocationRequest, example = json!(examples::allocation())),
    responses(
        (status = 200, description = "On record", body = Allocation),
        (status = 403, description = "Only for finance of the tenant, or national finance", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such order, or not yours", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`conflict`, `period-closed`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn allocate(
    State(app): State<App>,
    caller: Caller,
    Keys(name, uid): Keys<TenantName, OrderUid>,
    Body(request): Body<AllocationRequest>,
) -> Result<Json<Allocation>, Error> {
    let tenant = acting(&app, &caller, &name, &[Role::Finance]).await?;
    let asked = (request.at, &request.shares);
    Ok(Json(allocations::put(&app.pool, tenant.id, &uid, asked, &caller.subject).await?))
}

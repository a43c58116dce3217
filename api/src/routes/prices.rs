//! Price lists.

use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{Body, Key, Query};
use crate::openapi::examples;
use crate::page::{PageQuery, one_more, page};
use crate::state::App;
use crate::store::prices;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use siyada_model::id::PriceListName;
use siyada_model::wire::{Page, PriceListRecord, Problem};

/// Every price list, by name.
#[utoipa::path(get, path = "/v1/price-lists", tag = "prices", params(PageQuery), responses(
    (status = 200, description = "A page", body = Page<PriceListRecord>, example = json!({"items": [examples::price_list()]})),
    (status = 401, description = "No token, or one that is not accepted", body = Problem, content_type = "application/problem+json"),
))]
pub async fn list(
    State(app): State<App>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<PriceListRecord>>, Error> {
    let size = query.size()?;
    let rows = prices::list(&app.pool, query.after(), one_more(size)).await?;
    Ok(Json(page(rows, size, |r| r.prices.name.to_string())))
}

/// Publishes a price list. It never changes: the same once more is accepted, anything else is a conflict.
#[utoipa::path(put, path = "/v1/price-lists/{name}", tag = "prices",
    params(("name" = PriceListName, Path, description = "Name of the price list")),
    request_body(content = PriceListRecord, example = json!(examples::price_list())),
    responses(
        (status = 200, description = "On record", body = PriceListRecord),
        (status = 403, description = "Only for the operator", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`conflict`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn put(
    State(app): State<App>,
    caller: Caller,
    Key(name): Key<PriceListName>,
    Body(record): Body<PriceListRecord>,
) -> Result<Json<PriceListRecord>, Error> {
    Ok(Json(prices::put(&app.pool, &name, &record, &caller.subject).await?))
}

/// Withdraws a price list that nothing was priced with. Once more is no error.
#[utoipa::path(delete, path = "/v1/price-lists/{name}", tag = "prices",
    params(("name" = PriceListName, Path, description = "Name of the price list")),
    responses(
        (status = 204, description = "Gone"),
        (status = 403, description = "Only for the operator", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`in-use`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn delete(
    State(app): State<App>,
    caller: Caller,
    Key(name): Key<PriceListName>,
) -> Result<StatusCode, Error> {
    prices::delete(&app.pool, &name, &caller.subject).await?;
    Ok(StatusCode::NO_CONTENT)
}

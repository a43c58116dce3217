//! Reservations: this is where an order is granted or refused.

use crate::error::Error;
use crate::extract::{Body, Key, Query};
use crate::openapi::examples;
use crate::page::{PageQuery, one_more, page};
use crate::state::App;
use crate::store::reservations::{self, Filter};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use siyada_model::id::OrderUid;
use siyada_model::wire::{Page, Problem, Reservation, ReservationRequest};
use utoipa::IntoParams;

/// Most items of one order.
const MOST_ITEMS: usize = 100;
/// Longest text of a name, a plan or a kind.
const LONGEST_TEXT: usize = 253;
/// Largest amount of anything: a thousand of these fit in 64 bits.
const LARGEST_AMOUNT: i64 = 1 << 53;

/// Holds what an order asks along the whole chain of its tenant, or refuses. The same request once more is granted
/// without holding more; a change holds the difference.
#[utoipa::path(put, path = "/v1/reservations/{uid}", tag = "reservations",
    params(("uid" = OrderUid, Path, description = "uid of the order")),
    request_body(content = ReservationRequest, example = json!(examples::reservation_request())),
    responses(
        (status = 200, description = "Held", body = Reservation, example = json!(examples::reservation())),
        (status = 403, description = "Only for the operator", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`quota-exceeded` with the shortfall, `approval-pending`, `approval-rejected`, `tenant-suspended`, `tenant-unknown`, `price-unknown`, `stale`, `conflict`", body = Problem, content_type = "application/problem+json", example = json!(examples::shortfall())),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn put(
    State(app): State<App>,
    Key(uid): Key<OrderUid>,
    Body(request): Body<ReservationRequest>,
) -> Result<Json<Reservation>, Error> {
    check(&request)?;
    let held = app.group.hold(uid.clone(), request).await;
    match &held {
        Ok(_) => app.metrics.reservation(None),
        Err(Error::Refused(problem)) => {
            tracing::info!(order.uid = %uid, code = problem.code, "refused a reservation: {}", problem.detail);
            app.metrics.reservation(Some(problem));
        }
        Err(_) => {}
    }
    held.map(Json)
}

/// Refuses what can be no order, whatever the quota.
///
/// # Errors
/// `invalid` with what is wrong.
pub(super) fn check(request: &ReservationRequest) -> Result<(), Error> {
    let texts = [&request.namespace, &request.name, &request.kind, &request.plan];
    if texts.iter().any(|t| t.is_empty() || t.len() > LONGEST_TEXT) {
        return Err(Error::invalid(format!(
            "namespace, name, kind and plan have 1 to {LONGEST_TEXT} characters each"
        )));
    }
    let r = &request.resources;
    let amounts = [r.instances, r.cpu_milli, r.memory_bytes, r.storage_bytes];
    let quantities = request.items.iter().map(|item| item.quantity);
    if amounts.into_iter().chain(quantities).any(|a| !(0..=LARGEST_AMOUNT).contains(&a)) {
        return Err(Error::invalid(format!("amounts are 0 to {LARGEST_AMOUNT}")));
    }
    if request.items.len() > MOST_ITEMS {
        return Err(Error::invalid(format!("an order has at most {MOST_ITEMS} items")));
    }
    Ok(())
}

/// Gives back what an order holds. Once more is no error.
#[utoipa::path(delete, path = "/v1/reservations/{uid}", tag = "reservations",
    params(("uid" = OrderUid, Path, description = "uid of the order")),
    responses(
        (status = 204, description = "Nothing is held any more"),
        (status = 403, description = "Only for the operator", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`in-use` while usage of the order is open", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn delete(State(app): State<App>, Key(uid): Key<OrderUid>) -> Result<StatusCode, Error> {
    app.group.release(uid).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which reservations are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only those that are retained, or only those that are not.
    pub retained: Option<bool>,
    /// Most rows to answer, 1 to 500; 100 when absent.
    pub page_size: Option<usize>,
    /// `nextPageToken` of the page before.
    pub page_token: Option<String>,
}

/// Every reservation, by order uid: what the operator compares with the orders that exist.
#[utoipa::path(get, path = "/v1/reservations", tag = "reservations", params(Which), responses(
    (status = 200, description = "A page", body = Page<Reservation>, example = json!({"items": [examples::reservation()]})),
    (status = 403, description = "Only for the platform", body = Problem, content_type = "application/problem+json"),
))]
pub async fn list(
    State(app): State<App>,
    Query(which): Query<Which>,
) -> Result<Json<Page<Reservation>>, Error> {
    let query = PageQuery { page_size: which.page_size, page_token: which.page_token };
    let size = query.size()?;
    let filter = Filter { below: None, retained: which.retained };
    let rows = reservations::list(&app.pool, filter, query.after(), one_more(size)).await?;
    Ok(Json(page(rows, size, |r| r.order_uid.to_string())))
}

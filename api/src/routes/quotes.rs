//! Quotes: advice before an order. What decides is the reservation.

use super::{tenants::currency, visible};
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::Body;
use crate::openapi::examples;
use crate::state::App;
use crate::store::quota::{self, Amounts};
use crate::store::{approvals, batch, freeable, reservations};
use axum::Json;
use axum::extract::State;
use siyada_model::money::{Currency, Money};
use siyada_model::quota::{SoftLimit, soft_limits};
use siyada_model::wire::{Billing, Problem, Quote, QuoteRequest, ReservationRequest};

/// What an order would cost at most in a month, and whether it fits.
#[utoipa::path(post, path = "/v1/quotes", tag = "quotes",
    request_body(content = QuoteRequest, example = json!(examples::quote_request())),
    responses(
        (status = 200, description = "The quote", body = Quote, example = json!(examples::quote())),
        (status = 404, description = "No such tenant, or not yours", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`price-unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn quote(
    State(app): State<App>,
    caller: Caller,
    Body(asked): Body<QuoteRequest>,
) -> Result<Json<Quote>, Error> {
    let tenant = visible(&app, &caller, &asked.tenant).await?;
    let currency = currency(&app, &tenant).await?;
    let request = as_request(asked);
    super::reservations::check(&request.1)?;
    let mut connection = app.pool.acquire().await?;
    let known = match &request.0 {
        Some(uid) => reservations::of_tenant(&mut connection, uid, &tenant.name).await?,
        None => None,
    };
    let (difference, whole, price_list) =
        reservations::quote(&mut connection, &request.1, known.as_ref()).await?;
    let monthly_maximum = whole.monthly_cost;
    let rows = quota::read(&mut connection, &tenant.path).await?;
    quota::same_currency(&rows, monthly_maximum.currency)?;
    let mut shortfall = shortfall(&tenant.path, &rows, &difference)?;
    if let Some(short) = &mut shortfall {
        short.freeable = freeable::of(&app.pool, &tenant.name, short.dimension).await?;
    }
    let chain = || tenant.path.iter().rev().filter_map(|id| rows.iter().find(|row| row.tenant_id == *id));
    let decision = match &request.0 {
        Some(uid) => approvals::latest(&mut connection, &[uid.as_str()]).await?.into_values().next(),
        None => None,
    };
    let grows = known.is_none() || difference.grows();
    let approval_needed =
        if grows { batch::approval_needed(chain(), &whole, decision.as_ref()) } else { None };
    let held = rows.iter().find(|r| r.tenant_id == tenant.id).map(|r| r.held).unwrap_or_default();
    let committed = held.in_currency(currency).monthly_cost;
    let added = Money { minor: difference.money_minor, currency: monthly_maximum.currency };
    Ok(Json(Quote {
        monthly_maximum,
        price_list,
        committed,
        committed_after: committed.add(added)?,
        limit: tenant.record.quota.monthly_cost,
        shortfall,
        soft_limits: chain().flat_map(|row| near(row, &difference)).collect(),
        approval_needed,
    }))
}

/// The soft limits of one tenant that growth would reach.
fn near(row: &quota::QuotaRow, growth: &Amounts) -> Vec<SoftLimit> {
    let currency = row.limit.monthly_cost.map_or(Currency::MAD, |m| m.currency);
    let held = row.held.in_currency(currency);
    row.soft_limit_percent
        .map(|percent| soft_limits(&row.tenant, percent, &row.limit, &held, &growth.in_currency(currency)))
        .unwrap_or_default()
}

/// The first shortfall from the tenant up.
fn shortfall(
    path: &[i64],
    rows: &[quota::QuotaRow],
    asked: &Amounts,
) -> Result<Option<siyada_model::quota::Shortfall>, Error> {
    for id in path.iter().rev() {
        let Some(row) = rows.iter().find(|r| r.tenant_id == *id) else { continue };
        if let Err(error) = quota::check(row, asked) {
            return match error.refusal().and_then(|problem| problem.shortfall.clone()) {
                Some(shortfall) => Ok(Some(shortfall)),
                None => Err(error),
            };
        }
    }
    Ok(None)
}

/// The quote as the reservation that would follow.
fn as_request(asked: QuoteRequest) -> (Option<siyada_model::id::OrderUid>, ReservationRequest) {
    let request = ReservationRequest {
        generation: 0,
        tenant: asked.tenant,
        namespace: "quote".to_owned(),
        name: "quote".to_owned(),
        kind: "Quote".to_owned(),
        plan: "quote".to_owned(),
        requester: None,
        billing: Billing::default(),
        resources: asked.resources,
        items: asked.items,
        retained: false,
    };
    (asked.order_uid, request)
}

//! Limits on every request: how many at once, how long, how large. And the one place where a caller is let in.

use crate::access;
use crate::error::Error;
use crate::state::App;
use crate::store::incarnation::UNDECLARED;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use siyada_model::wire::INCARNATION;
use std::time::Duration;

/// Longest time that a request may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a request waits for its turn before the caller is told to come again.
const WAIT_FOR_TURN: Duration = Duration::from_secs(5);
/// Largest body of a request.
pub const LARGEST_BODY: usize = 1024 * 1024;
/// Largest body of a batch of usage.
pub const LARGEST_BATCH: usize = 4 * 1024 * 1024;

/// Bounds the requests in flight and the time of each.
pub async fn bound(State(app): State<App>, request: Request, next: Next) -> Response {
    let Ok(Ok(_turn)) = tokio::time::timeout(WAIT_FOR_TURN, app.in_flight.acquire()).await else {
        return Error::unavailable("too many requests are being answered; try again").into_response();
    };
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Error::unavailable("the answer took too long; try again").into_response(),
    }
}

/// Says with each answer which incarnation of the ledger gave it: whoever remembers what another one acknowledged, tells it
/// again.
pub async fn name_incarnation(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(began) = app.standing.incarnation() {
        response.headers_mut().insert(INCARNATION, began.into());
    }
    response
}

/// Lets a request pass if its route is declared and its caller has the right that the route asks.
pub async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Result<Response, Error> {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let right =
        path.and_then(|path| access::required(request.method(), path)).ok_or_else(Error::not_found)?;
    if right == access::Right::Open {
        return Ok(next.run(request).await);
    }
    let caller = app.verifier.caller(request.headers()).await?;
    access::admit(right, &app.platform.roles(&caller))?;
    if !app.is_migrated() {
        return Err(Error::unavailable("the ledger is starting; GET /readyz says what it waits for"));
    }
    if app.standing.is_undeclared() && crate::store::ping(&app.pool).await.is_err() {
        return Err(Error::unavailable(UNDECLARED));
    }
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

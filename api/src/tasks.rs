//! What the api does by itself: values reservations when a price list comes into force, tells whom it must of alerts, closes
//! months when that is set, and removes what the audit trail need not keep. Every replica does all of it; the database decides who does what. Nothing is polled: each task sleeps until the
//! next instant that is on record, or until the database announces a change.

use crate::state::App;
use crate::store::{alerts, audit, periods, prices, revaluation, scheduled};
use crate::webhook;
use sqlx::postgres::PgListener;
use std::time::Duration;

/// How long to wait before trying again what the database refused.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// Longest sleep. A list that an older replica priced with a moment too long is found then.
const LONGEST_SLEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// Values what stands by the list in force, as soon as one comes into force. Never ends.
pub async fn keep_valued(app: App) {
    loop {
        if let Err(cause) = valued(&app).await {
            tracing::warn!(?cause, "failed to value reservations anew; trying again");
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

async fn valued(app: &App) -> Result<(), crate::error::Error> {
    let mut listener = PgListener::connect_with(&app.pool).await?;
    listener.listen(prices::CHANNEL).await?;
    loop {
        let valued = revaluation::run(&app.pool).await?;
        if valued.reservations > 0 {
            tracing::info!(
                reservations = valued.reservations,
                "valued {} reservations by the price list in force",
                valued.reservations
            );
        }
        if !slept(&mut listener, valued.next_in_ms).await? {
            return Ok(());
        }
    }
}

/// Delivers alerts to webhooks as they fall due. Never ends.
pub async fn keep_told(app: App) {
    loop {
        if let Err(cause) = told(&app).await {
            tracing::warn!(?cause, "failed to deliver alerts; trying again");
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

async fn told(app: &App) -> Result<(), crate::error::Error> {
    let mut listener = PgListener::connect_with(&app.pool).await?;
    listener.listen(alerts::CHANNEL).await?;
    loop {
        while webhook::deliver_due(app).await? {}
        let next = alerts::next_due_ms(&app.pool).await?;
        if !slept(&mut listener, next).await? {
            return Ok(());
        }
    }
}

/// Opens each month as it begins, once there is an issuer. Never ends.
pub async fn keep_open(app: App) {
    loop {
        let nap = match periods::keep_open(&app.pool).await {
            Ok(next) => nap(next),
            Err(cause) => {
                tracing::warn!(?cause, "failed to open a month; trying again");
                TRY_AGAIN
            }
        };
        tokio::select! {
            () = tokio::time::sleep(nap) => {}
            () = app.months.notified() => {}
        }
    }
}

/// Closes each month on the day and at the hour that national finance set. Never ends. It sleeps until that instant, and
/// looks at least once an hour whether the clock, the issuer or the settings are others.
pub async fn keep_closed(app: App) {
    let longest = u64::try_from(scheduled::AGAIN_MS).map_or(LONGEST_SLEEP, Duration::from_millis);
    loop {
        let nap = match Box::pin(scheduled::run(&app.pool, app.signer.as_deref())).await {
            Ok(next) => nap(next).min(longest),
            Err(cause) => {
                tracing::warn!(?cause, "failed to see whether a month is to be closed; trying again");
                TRY_AGAIN
            }
        };
        tokio::select! {
            () = tokio::time::sleep(nap) => {}
            () = app.set.notified() => {}
        }
    }
}

/// Removes what the audit trail need not keep any longer, once a day. Never ends.
pub async fn keep_pruned(app: App) {
    loop {
        let nap = match audit::remove_expired(&app.pool).await {
            Ok(None) => LONGEST_SLEEP,
            Ok(Some(anchor)) => {
                tracing::info!(seq = anchor.seq, "removed events of the audit trail up to {}", anchor.seq);
                Duration::ZERO
            }
            Err(cause) => {
                tracing::warn!(?cause, "failed to remove old events of the audit trail; trying again");
                TRY_AGAIN
            }
        };
        tokio::time::sleep(nap).await;
    }
}

/// How long until so many milliseconds are over, at most the longest sleep.
fn nap(ms: Option<i64>) -> Duration {
    // One more: the instant itself is over then.
    let ms = ms.and_then(|ms| u64::try_from(ms.max(0)).ok()).map(|ms| ms.saturating_add(1));
    ms.map_or(LONGEST_SLEEP, Duration::from_millis).min(LONGEST_SLEEP)
}

/// Sleeps for so many milliseconds, or until something is announced. False: the connection broke, and something may
/// have been missed.
async fn slept(listener: &mut PgListener, ms: Option<i64>) -> Result<bool, sqlx::Error> {
    tokio::select! {
        () = tokio::time::sleep(nap(ms)) => Ok(true),
        announced = listener.try_recv() => Ok(announced?.is_some()),
    }
}

//! Closing months by themselves, when national finance set a day for it. Every replica does it; the database decides which.

use super::{closing, finance, periods, settings};
use crate::error::Error;
use crate::signing::Signer;
use jiff::Timestamp;
use siyada_model::period::{InvalidPeriod, Month, zone};
use siyada_model::schedule::{Step, step};
use siyada_model::wire::Blocker;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};

/// Who closes a month by itself. No token has this subject: nobody but the cluster's own issuer gives one that begins so.
pub const BY: &str = "system:schedule";
/// How long after a try that was blocked the next one comes.
pub const AGAIN_MS: i64 = 60 * 60 * 1_000;
/// How long after another replica was found at it somebody looks again: whoever died in the midst leaves his turn.
pub const TAKEN_MS: i64 = 60 * 1_000;
/// Most months that are closed at one go: a ledger of ten years.
const MOST_MONTHS: usize = 120;

/// Closes every month that is due by the ledger's clock, the first first, and says in how many milliseconds there is
/// something to do again; nothing when closing is not set. While nothing is due, nothing is written.
///
/// # Errors
/// When the database does not answer. What blocks a closing is kept for the page of health, and is no error.
pub async fn run(pool: &PgPool, signer: Option<&Signer>) -> Result<Option<i64>, Error> {
    for _ in 0..MOST_MONTHS {
        let mut connection = pool.acquire().await?;
        let now = super::now(&mut connection).await?;
        let next = next(&mut connection, now).await?;
        drop(connection);
        match next {
            Step::Nothing => return Ok(None),
            Step::Wait(at) => return Ok(Some(at.as_millisecond().saturating_sub(now.as_millisecond()))),
            Step::Close(month) => {
                if let Some(again) = attempt(pool, month, signer).await? {
                    return Ok(Some(again));
                }
            }
        }
    }
    Ok(Some(0))
}

/// What there is to do at `now`.
///
/// # Errors
/// When the database does not answer, or the issuer's time zone is gone from the tz database.
pub async fn next(connection: &mut PgConnection, now: Timestamp) -> Result<Step, Error> {
    let Some(schedule) = settings::settings(connection).await?.closing else { return Ok(Step::Nothing) };
    let Some(issuer) = finance::issuer(connection).await? else { return Ok(Step::Nothing) };
    let months = periods::all(connection).await?;
    let fault = |cause: InvalidPeriod| Error::Fault(cause.to_string());
    step(schedule, &zone(&issuer.time_zone).map_err(fault)?, &months, now).map_err(fault)
}

/// Tries to close a month, unless another replica is at it or it was tried within the hour. Answers nothing when it is
/// closed; else in how many milliseconds to try again.
async fn attempt(pool: &PgPool, month: Month, signer: Option<&Signer>) -> Result<Option<i64>, Error> {
    // Held as long as the closing takes. Whoever dies meanwhile gives the turn back.
    let mut turn = pool.begin_with("begin; set local idle_in_transaction_session_timeout = 0").await?;
    let mine: bool = sqlx::query_scalar(
        "select pg_try_advisory_xact_lock(hashtextextended('siyada closing schedule', 0))",
    )
    .fetch_one(&mut *turn)
    .await?;
    if !mine {
        return Ok(Some(TAKEN_MS));
    }
    // A try from the future is one from before the clock was set back.
    let sql = "select tried_ms + $2 - ledger_now_ms() from closing_attempt
               where month = $1 and ledger_now_ms() between tried_ms and tried_ms + $2 - 1";
    let wait: Option<i64> =
        sqlx::query_scalar(sql).bind(month.to_string()).bind(AGAIN_MS).fetch_optional(&mut *turn).await?;
    if wait.is_some() {
        return Ok(wait);
    }
    let (blockers, failure) = match Box::pin(closing::close(pool, month, BY, signer)).await {
        Ok(closed) if closed.closed => {
            tracing::info!(%month, statements = closed.statements, "closed {month} as it is set");
            keep(&mut turn, month, None).await?;
            turn.commit().await?;
            return Ok(None);
        }
        Ok(blocked) => (blocked.blockers, None),
        Err(cause) => {
            tracing::warn!(?cause, "failed to close {month}; trying again in an hour");
            (vec![], Some("the closing failed; the api's log says why".to_owned()))
        }
    };
    let reasons = blockers.len();
    tracing::info!(%month, reasons, "{month} is due and does not close yet, for {reasons} reasons");
    keep(&mut turn, month, Some((&blockers, failure.as_deref()))).await?;
    turn.commit().await?;
    Ok(Some(AGAIN_MS))
}

/// Keeps what came of a try, for the page of health; nothing of a month that is closed.
async fn keep(
    turn: &mut PgConnection,
    month: Month,
    blocked: Option<(&[Blocker], Option<&str>)>,
) -> Result<(), Error> {
    let Some((blockers, failure)) = blocked else {
        sqlx::query("delete from closing_attempt where month = $1")
            .bind(month.to_string())
            .execute(turn)
            .await?;
        return Ok(());
    };
    let sql = "insert into closing_attempt (month, tried_ms, blockers, failure)
               values ($1, ledger_now_ms(), $2, $3)
               on conflict (month) do update set tried_ms = excluded.tried_ms, blockers = excluded.blockers,
                   failure = excluded.failure";
    sqlx::query(sql).bind(month.to_string()).bind(Json(blockers)).bind(failure).execute(turn).await?;
    Ok(())
}

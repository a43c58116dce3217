//! Months: opened one after the other, each with the borders it keeps.

use super::finance;
use crate::error::Error;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use siyada_model::period::{Month, Period, zone};
use siyada_model::wire::PeriodState;
use sqlx::{PgConnection, PgPool};

/// Most months that are opened at once: a ledger of ten years.
const MOST_MONTHS: usize = 120;

#[derive(sqlx::FromRow)]
struct Row {
    month: String,
    start_ms: i64,
    end_ms: i64,
    time_zone: String,
    tz_database: String,
    closed_ms: Option<i64>,
    closed_by: Option<String>,
    as_of: Option<i64>,
}

impl Row {
    fn state(self) -> Result<PeriodState, Error> {
        let month =
            self.month.parse().map_err(|cause| Error::Fault(format!("failed to read a period: {cause}")))?;
        let period = Period {
            month,
            start: super::timestamp(self.start_ms)?,
            end: super::timestamp(self.end_ms)?,
            time_zone: self.time_zone,
            tz_database: self.tz_database,
        };
        let closed_at = self.closed_ms.map(super::timestamp).transpose()?;
        Ok(PeriodState { period, closed_at, closed_by: self.closed_by, as_of: self.as_of })
    }
}

/// Whoever opens or closes months holds this until he commits.
///
/// # Errors
/// When the database does not answer.
pub async fn lock(tx: &mut PgConnection) -> Result<(), Error> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('siyada periods', 0))").execute(tx).await?;
    Ok(())
}

/// Opens every month that has begun, from the first usage on; none while there is no issuer. To be called under [`lock`].
///
/// # Errors
/// When the database does not answer, or the issuer's time zone is gone from the tz database.
pub async fn open_due(tx: &mut PgConnection) -> Result<(), Error> {
    let Some(issuer) = finance::issuer(tx).await? else { return Ok(()) };
    let fault = |cause: siyada_model::period::InvalidPeriod| Error::Fault(cause.to_string());
    let now = super::now(tx).await?;
    let mut last = last(tx).await?;
    for _ in 0..MOST_MONTHS {
        let next = match &last {
            Some(last) if last.end > now => return Ok(()),
            Some(last) => last.next(&issuer.time_zone).map_err(fault)?,
            None => {
                let first = first_usage(tx).await?.unwrap_or(now).min(now);
                let month = Month::holding(first, &zone(&issuer.time_zone).map_err(fault)?);
                Period::first(month, &issuer.time_zone).map_err(fault)?
            }
        };
        insert(tx, &next).await?;
        last = Some(next);
    }
    Ok(())
}

async fn first_usage(tx: &mut PgConnection) -> Result<Option<Timestamp>, Error> {
    let first: Option<i64> = sqlx::query_scalar("select min(at_ms) from usage_change").fetch_one(tx).await?;
    first.map(super::timestamp).transpose()
}

async fn insert(tx: &mut PgConnection, period: &Period) -> Result<(), Error> {
    let sql = "insert into period (month, start_ms, end_ms, time_zone, tz_database, opened_ms)
               values ($1, $2, $3, $4, $5, ledger_now_ms())";
    sqlx::query(sql)
        .bind(period.month.to_string())
        .bind(period.start.as_millisecond())
        .bind(period.end.as_millisecond())
        .bind(&period.time_zone)
        .bind(&period.tz_database)
        .execute(tx)
        .await?;
    Ok(())
}

/// The month that was opened last.
///
/// # Errors
/// When the database does not answer.
pub async fn last(connection: &mut PgConnection) -> Result<Option<Period>, Error> {
    const LAST: &str = "select month, start_ms, end_ms, time_zone, tz_database, closed_ms, closed_by, as_of
                        from period order by start_ms desc limit 1";
    let row: Option<Row> = sqlx::query_as(LAST).fetch_optional(connection).await?;
    row.map(|row| row.state().map(|state| state.period)).transpose()
}

/// Every month, the first first.
///
/// # Errors
/// When the database does not answer.
pub async fn all(connection: &mut PgConnection) -> Result<Vec<PeriodState>, Error> {
    const ALL: &str = "select month, start_ms, end_ms, time_zone, tz_database, closed_ms, closed_by, as_of
                       from period order by start_ms";
    let rows: Vec<Row> = sqlx::query_as(ALL).fetch_all(connection).await?;
    rows.into_iter().map(Row::state).collect()
}

/// A month, if it was opened.
///
/// # Errors
/// When the database does not answer.
pub async fn find(connection: &mut PgConnection, month: Month) -> Result<Option<PeriodState>, Error> {
    const ONE: &str = "select month, start_ms, end_ms, time_zone, tz_database, closed_ms, closed_by, as_of
                       from period where month = $1";
    let row: Option<Row> = sqlx::query_as(ONE).bind(month.to_string()).fetch_optional(connection).await?;
    row.map(Row::state).transpose()
}

/// Opens what has begun, and says in how many milliseconds the next month begins; nothing while there is no issuer.
///
/// # Errors
/// When the database does not answer.
pub async fn keep_open(pool: &PgPool) -> Result<Option<i64>, Error> {
    let mut tx = pool.begin().await?;
    lock(&mut tx).await?;
    open_due(&mut tx).await?;
    let last = last(&mut tx).await?;
    let now = super::now(&mut tx).await?;
    tx.commit().await?;
    Ok(last.map(|period| period.end.as_millisecond().saturating_sub(now.as_millisecond())))
}

/// The issuer's time zone, and the month in which its fiscal year begins; UTC and `else_start` while there is no issuer.
///
/// # Errors
/// When the database does not answer.
pub async fn calendar(connection: &mut PgConnection, else_start: i8) -> Result<(TimeZone, i8), Error> {
    let Some(issuer) = finance::issuer(connection).await? else { return Ok((TimeZone::UTC, else_start)) };
    let zone = zone(&issuer.time_zone).map_err(|cause| Error::Fault(cause.to_string()))?;
    Ok((zone, issuer.fiscal_year_start_month))
}

/// The borders of the month that holds `now`: those it was opened with, or those it would have.
///
/// # Errors
/// When the database does not answer.
pub async fn month_of(
    connection: &mut PgConnection,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp), Error> {
    if let Some(open) = last(connection).await?.filter(|period| period.start <= now && now < period.end) {
        return Ok((open.start, open.end));
    }
    let (zone, _) = calendar(connection, 1).await?;
    let fault = |cause: siyada_model::period::InvalidPeriod| Error::Fault(cause.to_string());
    let month = Month::holding(now, &zone);
    Ok((
        month.begins(&zone).map_err(fault)?,
        month.next().and_then(|next| next.begins(&zone)).map_err(fault)?,
    ))
}

//! Alerts: what crossed a threshold, and whom to tell.

use super::{id, timestamp};
use crate::error::Error;
use siyada_model::money::Currency;
use siyada_model::quota::{Crossing, Dimension};
use siyada_model::wire::Alert;
use sqlx::{PgConnection, PgPool};
use std::sync::atomic::{AtomicU64, Ordering};

/// The channel on which alerts that must be delivered are announced.
pub const CHANNEL: &str = "siyada_alert";

static RECORDED: [AtomicU64; 5] = [const { AtomicU64::new(0) }; 5];

/// How many alerts of each dimension this process wrote.
pub fn recorded() -> Vec<(Dimension, u64)> {
    Dimension::ALL.into_iter().zip(&RECORDED).map(|(d, n)| (d, n.load(Ordering::Relaxed))).collect()
}

/// An alert that is to be written.
#[derive(Clone, Debug)]
pub struct NewAlert {
    /// Key of the tenant.
    pub tenant_id: i64,
    /// What was crossed.
    pub crossing: Crossing,
    /// Currency, for money only.
    pub currency: Option<Currency>,
    /// Names of the targets to tell.
    pub targets: Vec<String>,
}

/// Writes alerts. To be called last in a transaction: ids are then in the order of the commits, so that a reader who
/// asks for what comes after an id misses none.
///
/// # Errors
/// When the database does not answer.
pub async fn record(tx: &mut PgConnection, alerts: &[NewAlert]) -> Result<(), Error> {
    if alerts.is_empty() {
        return Ok(());
    }
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('siyada alerts', 0))")
        .execute(&mut *tx)
        .await?;
    for alert in alerts {
        let sql = "with made as (
                       insert into alert (tenant_id, at_ms, dimension, percent, held, held_of, currency)
                       values ($1, ledger_now_ms(), $2, $3, $4, $5, $6) returning id, at_ms
                   )
                   insert into alert_delivery (alert_id, target, next_ms)
                   select distinct made.id, target, made.at_ms from made, unnest($7::text[]) as target";
        sqlx::query(sql)
            .bind(alert.tenant_id)
            .bind(alert.crossing.dimension.as_str())
            .bind(i16::from(alert.crossing.percent))
            .bind(alert.crossing.held)
            .bind(alert.crossing.limit)
            .bind(alert.currency.map(Currency::as_str))
            .bind(&alert.targets)
            .execute(&mut *tx)
            .await?;
        let index = Dimension::ALL.iter().position(|d| *d == alert.crossing.dimension).unwrap_or_default();
        if let Some(count) = RECORDED.get(index) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
    if alerts.iter().any(|alert| !alert.targets.is_empty()) {
        sqlx::query("select pg_notify($1, '')").bind(CHANNEL).execute(tx).await?;
    }
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    at_ms: i64,
    tenant: String,
    dimension: String,
    percent: i16,
    held: i64,
    held_of: i64,
    currency: Option<String>,
}

impl TryFrom<Row> for Alert {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self, Error> {
        let dimension = Dimension::ALL.into_iter().find(|d| d.as_str() == row.dimension);
        Ok(Self {
            id: row.id,
            at: timestamp(row.at_ms)?,
            tenant: id(row.tenant)?,
            dimension: dimension
                .ok_or_else(|| Error::Fault(format!("failed to read dimension {}", row.dimension)))?,
            percent: u8::try_from(row.percent).unwrap_or(u8::MAX),
            held: row.held,
            limit: row.held_of,
            currency: row.currency.map(|text| text.parse()).transpose()?,
        })
    }
}

/// Alerts after `after`, in their order.
///
/// # Errors
/// When the database does not answer.
pub async fn after(pool: &PgPool, after: i64, limit: i64) -> Result<Vec<Alert>, Error> {
    let sql = "select a.id, a.at_ms, t.name as tenant, a.dimension, a.percent, a.held, a.held_of, a.currency
               from alert a join tenant t on t.id = a.tenant_id where a.id > $1 order by a.id limit $2";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(after).bind(limit).fetch_all(pool).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// One alert that one target must be told.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The alert.
    pub alert: Alert,
    /// The name of the target.
    pub target: String,
    /// Tries before this one.
    pub attempts: i32,
}

#[derive(sqlx::FromRow)]
struct DueRow {
    #[sqlx(flatten)]
    alert: Row,
    target: String,
    attempts: i32,
}

/// Takes up to `most` deliveries that are due. Until `again_ms` from now nobody else takes them, so that one that is
/// not finished, because we died, is tried again.
///
/// # Errors
/// When the database does not answer.
pub async fn take_due(pool: &PgPool, most: i64, again_ms: i64) -> Result<Vec<Delivery>, Error> {
    let sql = "with taken as (
                   update alert_delivery d set next_ms = ledger_now_ms() + $2, attempts = d.attempts + 1
                   from (select alert_id, target from alert_delivery
                         where done_ms is null and next_ms <= ledger_now_ms()
                         order by next_ms limit $1 for update skip locked) due
                   where d.alert_id = due.alert_id and d.target = due.target
                   returning d.alert_id, d.target, d.attempts - 1 as attempts
               )
               select a.id, a.at_ms, t.name as tenant, a.dimension, a.percent, a.held, a.held_of, a.currency,
                      taken.target, taken.attempts
               from taken join alert a on a.id = taken.alert_id join tenant t on t.id = a.tenant_id
               order by a.id";
    let rows: Vec<DueRow> = sqlx::query_as(sql).bind(most).bind(again_ms).fetch_all(pool).await?;
    rows.into_iter()
        .map(|row| Ok(Delivery { alert: row.alert.try_into()?, target: row.target, attempts: row.attempts }))
        .collect()
}

/// What came of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It is finished, well or not.
    Done,
    /// It is tried again in so many milliseconds.
    Again(i64),
}

/// Stores what came of a delivery, with words that hold no secret.
///
/// # Errors
/// When the database does not answer.
pub async fn finish(pool: &PgPool, delivery: &Delivery, outcome: &str, after: After) -> Result<(), Error> {
    let again = match after {
        After::Done => None,
        After::Again(ms) => Some(ms),
    };
    let sql = "update alert_delivery set outcome = $3,
                   done_ms = case when $4::bigint is null then ledger_now_ms() end,
                   next_ms = ledger_now_ms() + coalesce($4, 0)
               where alert_id = $1 and target = $2 and done_ms is null";
    sqlx::query(sql)
        .bind(delivery.alert.id)
        .bind(&delivery.target)
        .bind(outcome)
        .bind(again)
        .execute(pool)
        .await?;
    Ok(())
}

/// Milliseconds until the next delivery is due, if any waits.
///
/// # Errors
/// When the database does not answer.
pub async fn next_due_ms(pool: &PgPool) -> Result<Option<i64>, Error> {
    let sql = "select min(next_ms) - ledger_now_ms() from alert_delivery where done_ms is null";
    Ok(sqlx::query_scalar(sql).fetch_one(pool).await?)
}

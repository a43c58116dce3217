//! Gaps of measurement: found when usage is reported, listed, and decided by a named person. A decision adds a record;
//! the last one counts.

use super::audit::{self, Act};
use super::tenants::Tenant;
use super::{id, timestamp, usage};
use crate::error::Error;
use jiff::Timestamp;
use serde_json::json;
use siyada_model::id::OrderUid;
use siyada_model::proof::{Gap, GapReason, MOST_UNSEEN_MS, Unproven};
use siyada_model::statement::Billed;
use siyada_model::statement::closing::KnownGap;
use siyada_model::usage::{Level, Meter};
use siyada_model::wire::{GapDecision, GapDecisionRequest, GapRecord};
use sqlx::{PgConnection, PgPool};

/// Which gaps are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decided {
    /// All of them.
    #[default]
    Either,
    /// Those that somebody decided.
    Yes,
    /// Those that wait for a decision.
    No,
}

/// Which gaps are read.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Those that touch this time.
    pub time: (Timestamp, Timestamp),
    /// By the records up to this one alone.
    pub as_of: i64,
    /// And those before that time of which something was recorded after this record.
    pub late: Option<i64>,
    /// Of this tenant and below it; of all when absent.
    pub tenant: Option<i64>,
    /// Of these orders; of all when absent.
    pub only: Option<&'a [&'a str]>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    seq: i64,
    order_uid: String,
    tenant: String,
    namespace: String,
    name: String,
    kind: String,
    meter: String,
    start_ms: i64,
    end_ms: i64,
    sku: String,
    quantity: i64,
    reason: String,
    recorded_ms: i64,
    decided_seq: Option<i64>,
    billed: Option<bool>,
    evidence: Option<String>,
    decided_by: Option<String>,
    decided_ms: Option<i64>,
}

impl Row {
    fn read(self) -> Result<KnownGap, Error> {
        let decision = match (self.billed, self.evidence, self.decided_by, self.decided_ms) {
            (Some(billed), Some(evidence), Some(by), Some(at)) => {
                Some(GapDecision { billed, evidence, by, at: timestamp(at)? })
            }
            _ => None,
        };
        let order = Billed {
            tenant: id(self.tenant)?,
            namespace: self.namespace,
            name: self.name,
            uid: id(self.order_uid)?,
            kind: self.kind,
        };
        let record = GapRecord {
            id: self.id,
            order,
            meter: usage::meter(&self.meter)?,
            level: Level { sku: id(self.sku)?, quantity: self.quantity },
            start: timestamp(self.start_ms)?,
            end: timestamp(self.end_ms)?,
            reason: self.reason,
            recorded_at: timestamp(self.recorded_ms)?,
            decision,
        };
        Ok(KnownGap { record, seq: self.seq, decided_seq: self.decided_seq })
    }
}

/// The gaps of `scope`, each with its last decision.
///
/// # Errors
/// When the database does not answer.
pub async fn within(connection: &mut PgConnection, scope: &Scope<'_>) -> Result<Vec<KnownGap>, Error> {
    const WITHIN: &str =
        "select g.id, g.seq, g.order_uid, t.name as tenant, o.namespace, o.name, o.kind, g.meter,
            g.start_ms, g.end_ms, g.sku, g.quantity, g.reason, g.recorded_ms,
            d.seq as decided_seq, d.billed, d.evidence, d.decided_by, d.decided_ms
        from meter_gap g
        join orders o on o.uid = g.order_uid join tenant t on t.id = o.tenant_id
        left join lateral (select * from gap_decision d where d.gap_id = g.id and d.seq <= $3
                           order by d.seq desc limit 1) d on true
        where g.seq <= $3 and g.start_ms < $2 and (g.end_ms > $1 or g.seq > $4 or d.seq > $4)
            and ($5::bigint is null or t.path @> array[$5]) and ($6::text[] is null or g.order_uid = any($6))
        order by g.order_uid, g.meter, g.start_ms";
    let rows: Vec<Row> = sqlx::query_as(WITHIN)
        .bind(scope.time.0.as_millisecond())
        .bind(scope.time.1.as_millisecond())
        .bind(scope.as_of)
        .bind(scope.late.unwrap_or(i64::MAX))
        .bind(scope.tenant)
        .bind(scope.only)
        .fetch_all(connection)
        .await?;
    rows.into_iter().map(Row::read).collect()
}

/// What is billed of the gaps of `scope` all the same.
///
/// # Errors
/// When the database does not answer.
pub async fn billed(
    connection: &mut PgConnection,
    scope: &Scope<'_>,
) -> Result<Vec<(OrderUid, Meter, Gap)>, Error> {
    let found = within(connection, &Scope { late: None, ..*scope }).await?;
    Ok(found.into_iter().filter_map(|gap| gap.record.billed()).collect())
}

/// Up to `most` gaps of a tenant and below it, or of all, after the one with the id `after`, that touch `time`.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    connection: &mut PgConnection,
    tenant: Option<i64>,
    time: (Timestamp, Timestamp),
    decided: Decided,
    (after, most): (i64, i64),
) -> Result<Vec<GapRecord>, Error> {
    const LIST: &str = "select g.id, g.seq, g.order_uid, t.name as tenant, o.namespace, o.name, o.kind, g.meter,
            g.start_ms, g.end_ms, g.sku, g.quantity, g.reason, g.recorded_ms,
            d.seq as decided_seq, d.billed, d.evidence, d.decided_by, d.decided_ms
        from meter_gap g
        join orders o on o.uid = g.order_uid join tenant t on t.id = o.tenant_id
        left join lateral (select * from gap_decision d where d.gap_id = g.id order by d.seq desc limit 1) d on true
        where g.id > $1 and g.start_ms < $3 and g.end_ms > $2 and ($4::bigint is null or t.path @> array[$4])
            and ($5::boolean is null or (d.seq is not null) = $5)
        order by g.id limit $6";
    let decided = match decided {
        Decided::Either => None,
        Decided::Yes => Some(true),
        Decided::No => Some(false),
    };
    let rows: Vec<Row> = sqlx::query_as(LIST)
        .bind(after)
        .bind(time.0.as_millisecond())
        .bind(time.1.as_millisecond())
        .bind(tenant)
        .bind(decided)
        .bind(most)
        .fetch_all(connection)
        .await?;
    rows.into_iter().map(|row| row.read().map(|known| known.record)).collect()
}

/// Puts on record whether gaps of a tenant or below it are billed, all of them or none, and tells the audit trail. What
/// the same person decided last changes nothing.
///
/// # Errors
/// `not-found` when one of them is not there or not the tenant's, `invalid` for evidence that says nothing, forbidden for
/// whoever ordered.
pub async fn decide(
    pool: &PgPool,
    tenant: &Tenant,
    gaps: &[i64],
    request: &GapDecisionRequest,
    by: &str,
) -> Result<Vec<GapRecord>, Error> {
    request.check().map_err(Error::invalid)?;
    let mut tx = pool.begin().await?;
    let sql = "select g.id, g.order_uid, o.tenant_id, d.billed, d.evidence, d.decided_by
               from meter_gap g join orders o on o.uid = g.order_uid join tenant t on t.id = o.tenant_id
               left join lateral (select * from gap_decision d where d.gap_id = g.id order by d.seq desc limit 1) d
                   on true
               where g.id = any($1) and t.path @> array[$2] order by g.id for no key update of g";
    type Known = (i64, String, i64, Option<bool>, Option<String>, Option<String>);
    let known: Vec<Known> = sqlx::query_as(sql).bind(gaps).bind(tenant.id).fetch_all(&mut *tx).await?;
    if let Some(missing) = gaps.iter().find(|gap| known.iter().all(|row| row.0 != **gap)) {
        tracing::debug!(gap = missing, "asked about a gap that is not there, or another tenant's");
        return Err(Error::not_found());
    }
    for (gap, uid, tenant_id, billed, evidence, decided_by) in known {
        let last = (billed, evidence.as_deref(), decided_by.as_deref());
        if last == (Some(request.billed), Some(request.evidence.as_str()), Some(by)) {
            continue;
        }
        let sql = "insert into gap_decision (gap_id, billed, evidence, decided_by, decided_ms)
                   values ($1, $2, $3, $4, ledger_now_ms())";
        sqlx::query(sql)
            .bind(gap)
            .bind(request.billed)
            .bind(&request.evidence)
            .bind(by)
            .execute(&mut *tx)
            .await?;
        let detail = json!({"order": uid, "billed": request.billed, "evidence": request.evidence});
        let object = format!("gap/{gap}");
        audit::record(
            &mut tx,
            Act { actor: by, action: "gap.decide", tenant_id: Some(tenant_id), object, detail },
        )
        .await?;
    }
    let time = (Timestamp::MIN, Timestamp::MAX);
    let mut decided = Vec::with_capacity(gaps.len());
    for gap in gaps {
        let before = gap.saturating_sub(1);
        decided.extend(list(&mut tx, Some(tenant.id), time, Decided::Yes, (before, 1)).await?);
    }
    tx.commit().await?;
    Ok(decided)
}

/// A gap that a report shows.
pub(super) struct Found<'a> {
    pub order_uid: &'a OrderUid,
    pub meter: Meter,
    pub gap: &'a Gap,
    pub reason: GapReason,
}

/// Puts gaps on record that a batch shows.
pub(super) async fn insert(
    tx: &mut PgConnection,
    (collector, epoch, now): (&str, i64, Timestamp),
    gaps: &[Found<'_>],
) -> Result<(), Error> {
    if gaps.is_empty() {
        return Ok(());
    }
    let sql =
        "insert into meter_gap (order_uid, meter, start_ms, end_ms, sku, quantity, reason, collector, epoch,
                   recorded_ms)
               select g.order_uid, g.meter, g.start_ms, g.end_ms, g.sku, g.quantity, g.reason, $8, $9, $10
               from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::text[])
                    as g (order_uid, meter, start_ms, end_ms, sku, quantity, reason)";
    sqlx::query(sql)
        .bind(gaps.iter().map(|g| g.order_uid.as_str()).collect::<Vec<_>>())
        .bind(gaps.iter().map(|g| g.meter.as_str()).collect::<Vec<_>>())
        .bind(gaps.iter().map(|g| g.gap.start.as_millisecond()).collect::<Vec<_>>())
        .bind(gaps.iter().map(|g| g.gap.end.as_millisecond()).collect::<Vec<_>>())
        .bind(gaps.iter().map(|g| g.gap.level.sku.as_str()).collect::<Vec<_>>())
        .bind(gaps.iter().map(|g| g.gap.level.quantity).collect::<Vec<_>>())
        .bind(gaps.iter().map(|g| g.reason.as_str()).collect::<Vec<_>>())
        .bind(collector)
        .bind(epoch)
        .bind(now.as_millisecond())
        .execute(tx)
        .await?;
    Ok(())
}

/// Makes what a collector did not prove a gap of everything that it has open: it stops there and goes on from `now`.
pub(super) async fn open_up(
    tx: &mut PgConnection,
    (collector, epoch, now): (&str, i64, Timestamp),
    unproven: Unproven,
) -> Result<u64, Error> {
    // Nobody adds to these orders until this is on record.
    let sql = "select count(*) from (
                   select from orders o where exists (
                       select from usage_change c where c.order_uid = o.uid and c.collector = $1)
                   order by o.uid for no key update) locked";
    let _: i64 = sqlx::query_scalar(sql).bind(collector).fetch_one(&mut *tx).await?;
    let sql = "with latest as (
                   select distinct on (order_uid, meter) order_uid, meter, at_ms, sku, quantity, collector
                   from usage_change order by order_uid, meter, at_ms desc
               ), gap as (
                   insert into meter_gap (order_uid, meter, start_ms, end_ms, sku, quantity, reason, collector, epoch,
                       recorded_ms)
                   select order_uid, meter, greatest($2, at_ms + 1), $3, sku, quantity, $4, $1, $5, $3
                   from latest
                   where collector = $1 and sku is not null and greatest($2, at_ms + 1) < $3
                   on conflict on constraint meter_gap_once do nothing
                   returning order_uid, meter, start_ms, end_ms, sku, quantity
               ), change as (
                   select order_uid, meter, start_ms as at_ms, null::text as sku, null::bigint as quantity from gap
                   union all select order_uid, meter, end_ms, sku, quantity from gap
               )
               insert into usage_change (order_uid, meter, at_ms, sku, quantity, reason, collector, epoch, recorded_ms)
               select order_uid, meter, at_ms, sku, quantity, 'Gap', $1, $5, $3 from change order by 1, 2, 3";
    let done = sqlx::query(sql)
        .bind(collector)
        .bind(unproven.since.as_millisecond())
        .bind(now.as_millisecond())
        .bind(unproven.reason.as_str())
        .bind(epoch)
        .execute(tx)
        .await?;
    Ok(done.rows_affected() / 2)
}

/// Makes gaps, until `now`, of what a restored ledger lost and this collector has not named again, although its last complete
/// report, at `reported`, was more than a quarter of an hour later: it does not see them.
pub(super) async fn of_unseen(
    tx: &mut PgConnection,
    (collector, epoch, now): (&str, i64, Timestamp),
    reported: Timestamp,
) -> Result<u64, Error> {
    let sql = "with unseen as (
                   delete from lost_span where collector = $1 and began_ms < $5 returning *
               )
               insert into meter_gap (order_uid, meter, start_ms, end_ms, sku, quantity, reason, collector, epoch, recorded_ms)
               select u.order_uid, u.meter, u.since_ms, $3, u.sku, u.quantity, $4, $1, $2, $3
               from unseen u where u.sku is not null and u.since_ms < $3 order by 1, 2";
    let done = sqlx::query(sql)
        .bind(collector)
        .bind(epoch)
        .bind(now.as_millisecond())
        .bind(GapReason::LedgerRestored.as_str())
        .bind(reported.as_millisecond().saturating_sub(MOST_UNSEEN_MS))
        .execute(tx)
        .await?;
    Ok(done.rows_affected())
}

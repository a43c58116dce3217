//! Metering: changes of level are added and never altered; intervals and lines are derived from them.

use super::gaps::{self, Found, Scope};
use super::{id, incarnation, meters, now, orders, timestamp};
use crate::error::Error;
use crate::fail::point;
use jiff::Timestamp;
use siyada_model::id::{OrderUid, TenantName};
use siyada_model::proof::{self, Gap, GapReason, Lost, Watch, report, with_billed};
use siyada_model::usage::{Change, Interval, Level, Meter, Observation, Record, intervals, record};
use siyada_model::wire::{
    Checkpoint, CollectorRecord, MeterKind, UsageAccepted, UsageBatch, UsageFact, code,
};
use sqlx::{PgConnection, PgPool};
use std::collections::{BTreeMap, BTreeSet};

/// How far a stamp of an API server may lie after the database's clock.
pub(super) const FUTURE_MS: i64 = 10 * 60 * 1_000;

/// A plan that a connection made and kept while the table was nearly empty reads all of the table for each fact of a
/// large batch, until the statement is stopped.
pub(super) const PLANNED_EACH_TIME: &str = "begin; set local plan_cache_mode = force_custom_plan";

type Stream = (OrderUid, Meter);

/// An order that is still as it was is on record as seen again when that was longer ago than this: what comes once after
/// a collector started is proof, and costs a write.
const SEEN_AGAIN_MS: i64 = 5 * 60 * 1_000;

/// A change that must be stored, and the fact it comes from.
struct Added<'a> {
    fact: &'a UsageFact,
    change: Change,
}

/// What is on record of a stream.
#[derive(Default)]
struct Known {
    changes: Vec<Change>,
    /// When it was seen last, by the database's clock.
    proven: Option<Timestamp>,
    /// What was lost of it when the ledger was restored, until it is seen again.
    lost: Option<Lost>,
}

/// What a batch adds.
#[derive(Default)]
struct Decided<'a> {
    added: Vec<Added<'a>>,
    gaps: Vec<(&'a UsageFact, Gap, GapReason)>,
    /// Those that were lost when the ledger was restored.
    seen_again: Vec<&'a UsageFact>,
    /// Orders that are as they were.
    proven: BTreeSet<&'a str>,
    known: u64,
}

/// Stores what a collector saw, all or nothing; what is known already changes nothing.
///
/// # Errors
/// `fenced` for a lower epoch than on record, `conflict` when another level is on record at the same instant or the
/// order belongs to another tenant, `tenant-unknown`, `invalid`.
pub async fn ingest(pool: &PgPool, batch: &UsageBatch) -> Result<UsageAccepted, Error> {
    let mut tx = pool.begin_with(PLANNED_EACH_TIME).await?;
    fence(&mut tx, &batch.collector, batch.epoch).await?;
    meters::check(&mut tx, batch.facts.iter().map(|fact| fact.meter), MeterKind::Level).await?;
    let seen = lock_orders(&mut tx, batch.facts.iter().map(|f| (&f.order_uid, &f.tenant))).await?;
    let now = now(&mut tx).await?;
    let mut on_record = on_record(&mut tx, &batch.facts, &seen).await?;
    add_lost(&mut tx, &batch.facts, &mut on_record).await?;
    let decided = decide(&batch.facts, &mut on_record, now)?;
    insert(&mut tx, batch, &decided.added, now).await?;
    let found: Vec<Found<'_>> = decided
        .gaps
        .iter()
        .map(|(fact, gap, reason)| Found {
            order_uid: &fact.order_uid,
            meter: fact.meter,
            gap,
            reason: *reason,
        })
        .collect();
    gaps::insert(&mut tx, (&batch.collector, batch.epoch, now), &found).await?;
    seen_again(&mut tx, &decided.proven, now).await?;
    found_again(&mut tx, &decided.seen_again).await?;
    point("usage-before-commit");
    tx.commit().await?;
    point("usage-after-commit");
    let gaps = u64::try_from(decided.gaps.len()).unwrap_or(u64::MAX);
    let facts = u64::try_from(batch.facts.len()).unwrap_or(u64::MAX);
    Ok(UsageAccepted { recorded: facts.saturating_sub(decided.known), known: decided.known, gaps })
}

/// Decides fact by fact what is new, in the order of the batch.
fn decide<'a>(
    facts: &'a [UsageFact],
    on_record: &mut BTreeMap<Stream, Known>,
    now: Timestamp,
) -> Result<Decided<'a>, Error> {
    let mut decided = Decided::default();
    for fact in facts {
        let at = fact.at.map(to_millisecond).transpose()?;
        if at.is_some_and(|at| at.as_millisecond() > now.as_millisecond().saturating_add(FUTURE_MS)) {
            return Err(Error::invalid(format!(
                "the fact about {} of order {} lies in the future; check the clock of the API server",
                fact.meter, fact.order_uid
            )));
        }
        let since = fact.since.map(to_millisecond).transpose()?;
        let seen = Observation { level: fact.level.clone(), at, since };
        let known = on_record.entry((fact.order_uid.clone(), fact.meter)).or_default();
        if let Some(lost) = known.lost.take() {
            let gap = proof::seen_again(&lost, fact.level.as_ref(), at, now);
            decided.gaps.extend(gap.map(|gap| (fact, gap, GapReason::LedgerRestored)));
            decided.seen_again.push(fact);
        }
        let found = record(&known.changes, &seen, known.proven, now);
        match &found {
            Record::Nothing => {
                decided.known = decided.known.saturating_add(1);
                if at.is_none() && fact.level.is_some() && is_long_ago(known.proven, now) {
                    decided.proven.insert(fact.order_uid.as_str());
                }
            }
            Record::Add(_) => {}
            Record::AddAfter(gap, _) => decided.gaps.push((fact, gap.clone(), GapReason::NotSeen)),
            Record::Conflict => {
                return Err(Error::refuse(
                    code::CONFLICT,
                    format!(
                        "another level of {} of order {} is on record at that instant; records are never altered",
                        fact.meter, fact.order_uid
                    ),
                ));
            }
        }
        for change in found.changes() {
            known.proven = Some(now);
            known.changes.push(change.clone());
            decided.added.push(Added { fact, change });
        }
    }
    Ok(decided)
}

fn is_long_ago(proven: Option<Timestamp>, now: Timestamp) -> bool {
    proven.is_none_or(|proven| now.as_millisecond().saturating_sub(proven.as_millisecond()) > SEEN_AGAIN_MS)
}

/// Puts on record that these orders were seen as they were.
async fn seen_again(tx: &mut PgConnection, uids: &BTreeSet<&str>, now: Timestamp) -> Result<(), Error> {
    if uids.is_empty() {
        return Ok(());
    }
    let sql = "update orders set last_seen_ms = greatest(last_seen_ms, $2) where uid = any($1)";
    sqlx::query(sql)
        .bind(uids.iter().copied().collect::<Vec<_>>())
        .bind(now.as_millisecond())
        .execute(tx)
        .await?;
    Ok(())
}

/// The instant without what is finer than a millisecond.
pub(super) fn to_millisecond(at: Timestamp) -> Result<Timestamp, Error> {
    timestamp(at.as_nanosecond().div_euclid(1_000_000).try_into().unwrap_or(i64::MAX))
}

/// Raises the epoch of a collector, or refuses a lower one; the lock keeps its batches in line.
pub(super) async fn fence(tx: &mut PgConnection, collector: &str, epoch: i64) -> Result<(), Error> {
    let sql = "insert into collector (id, epoch, last_seen_ms) values ($1, $2, ledger_now_ms())
               on conflict (id) do update set epoch = excluded.epoch,
                   last_seen_ms = greatest(collector.last_seen_ms, excluded.last_seen_ms)
               where collector.epoch <= excluded.epoch";
    let done = sqlx::query(sql).bind(collector).bind(epoch).execute(tx).await?;
    if done.rows_affected() == 1 {
        return Ok(());
    }
    Err(Error::refuse(
        code::FENCED,
        format!(
            "collector {collector} reports with a newer epoch than {epoch}; another operator leads, stop"
        ),
    ))
}

/// Locks the orders of the facts, makes known those of which only usage is known, and answers when each was seen last.
pub(super) async fn lock_orders<'a>(
    tx: &mut PgConnection,
    facts: impl Iterator<Item = (&'a OrderUid, &'a TenantName)> + Clone,
) -> Result<BTreeMap<String, Option<i64>>, Error> {
    let tenants: BTreeMap<&str, &str> =
        facts.clone().map(|(uid, tenant)| (uid.as_str(), tenant.as_str())).collect();
    let (uids, names): (Vec<&str>, Vec<&str>) = tenants.into_iter().unzip();
    let sql = "insert into orders (uid, tenant_id, namespace, name, kind, plan, billing)
               select f.uid, t.id, '', f.uid, '', '', '{}'
               from unnest($1::text[], $2::text[]) as f (uid, tenant)
               join tenant t on t.name = f.tenant and t.deleted_ms is null
               where not exists (select 1 from orders o where o.uid = f.uid)
               order by f.uid on conflict (uid) do nothing";
    sqlx::query(sql).bind(&uids).bind(&names).execute(&mut *tx).await?;
    let sql = "select o.uid, t.name, o.last_seen_ms from orders o join tenant t on t.id = o.tenant_id
               where o.uid = any($1) order by o.uid for no key update of o";
    let rows: Vec<(String, String, Option<i64>)> = sqlx::query_as(sql).bind(&uids).fetch_all(tx).await?;
    let payers: BTreeMap<&str, &str> =
        rows.iter().map(|(uid, payer, _)| (uid.as_str(), payer.as_str())).collect();
    for (uid, tenant) in facts {
        match payers.get(uid.as_str()) {
            None => return Err(Error::tenant_unknown(tenant.as_str())),
            Some(payer) if *payer != tenant.as_str() => {
                return Err(Error::refuse(
                    code::CONFLICT,
                    format!("order {uid} is not one of tenant {tenant}"),
                ));
            }
            Some(_) => {}
        }
    }
    Ok(rows.into_iter().map(|(uid, _, seen)| (uid, seen)).collect())
}

#[derive(sqlx::FromRow)]
struct Row {
    order_uid: String,
    meter: String,
    at_ms: i64,
    sku: Option<String>,
    quantity: Option<i64>,
}

pub(crate) fn meter(text: &str) -> Result<Meter, Error> {
    text.parse().map_err(|cause| Error::Fault(format!("failed to read a meter: {cause}")))
}

fn streams(rows: Vec<Row>) -> Result<BTreeMap<Stream, Vec<Change>>, Error> {
    let mut found: BTreeMap<Stream, Vec<Change>> = BTreeMap::new();
    for row in rows {
        let level = match (row.sku, row.quantity) {
            (Some(sku), Some(quantity)) => Some(Level { sku: id(sku)?, quantity }),
            _ => None,
        };
        let stream = (id(row.order_uid)?, meter(&row.meter)?);
        found.entry(stream).or_default().push(Change { at: timestamp(row.at_ms)?, level });
    }
    Ok(found)
}

#[derive(sqlx::FromRow)]
struct LatestRow {
    #[sqlx(flatten)]
    row: Row,
    recorded_ms: i64,
}

/// What is on record and can matter to these facts: the latest change of each stream, and those at the same instants.
async fn on_record(
    tx: &mut PgConnection,
    facts: &[UsageFact],
    seen: &BTreeMap<String, Option<i64>>,
) -> Result<BTreeMap<Stream, Known>, Error> {
    let pairs: BTreeSet<(&str, &str)> =
        facts.iter().map(|f| (f.order_uid.as_str(), f.meter.as_str())).collect();
    let (uids, meters): (Vec<&str>, Vec<&str>) = pairs.into_iter().unzip();
    let sql = "select c.order_uid, c.meter, c.at_ms, c.sku, c.quantity, c.recorded_ms
               from unnest($1::text[], $2::text[]) as f (order_uid, meter)
               cross join lateral (
                   select * from usage_change c where c.order_uid = f.order_uid and c.meter = f.meter
                   order by c.at_ms desc limit 1
               ) c";
    let latest: Vec<LatestRow> = sqlx::query_as(sql).bind(uids).bind(meters).fetch_all(&mut *tx).await?;
    let mut proven: BTreeMap<Stream, i64> = BTreeMap::new();
    for LatestRow { row, recorded_ms } in &latest {
        let seen = seen.get(&row.order_uid).copied().flatten().unwrap_or(*recorded_ms);
        proven.insert((id(row.order_uid.clone())?, meter(&row.meter)?), seen.max(*recorded_ms));
    }
    let mut rows: Vec<Row> = latest.into_iter().map(|latest| latest.row).collect();
    let stamped: Vec<(&UsageFact, i64)> = facts
        .iter()
        .filter_map(|f| f.at.map(|at| to_millisecond(at).map(|at| (f, at.as_millisecond()))))
        .collect::<Result<_, Error>>()?;
    // What is "now" has no instant that could be on record, and most facts are so: one statement less.
    if !stamped.is_empty() {
        let sql = "select c.order_uid, c.meter, c.at_ms, c.sku, c.quantity
                   from unnest($1::text[], $2::text[], $3::bigint[]) as f (order_uid, meter, at_ms)
                   join usage_change c using (order_uid, meter, at_ms)";
        let same: Vec<Row> = sqlx::query_as(sql)
            .bind(stamped.iter().map(|(f, _)| f.order_uid.as_str()).collect::<Vec<_>>())
            .bind(stamped.iter().map(|(f, _)| f.meter.as_str()).collect::<Vec<_>>())
            .bind(stamped.iter().map(|(_, at)| *at).collect::<Vec<_>>())
            .fetch_all(tx)
            .await?;
        rows.extend(same);
    }
    streams(rows)?
        .into_iter()
        .map(|(stream, changes)| {
            let proven = proven.get(&stream).copied().map(timestamp).transpose()?;
            Ok((stream, Known { changes, proven, lost: None }))
        })
        .collect()
}

#[derive(sqlx::FromRow)]
struct LostRow {
    order_uid: String,
    meter: String,
    since_ms: i64,
    sku: Option<String>,
    quantity: Option<i64>,
}

/// Adds what was lost of these streams when the ledger was restored: of those on record where they were seen last, and of
/// those that it knows nothing of, although they were metered before.
async fn add_lost(
    tx: &mut PgConnection,
    facts: &[UsageFact],
    on_record: &mut BTreeMap<Stream, Known>,
) -> Result<(), Error> {
    let Some((began, last_known)) = incarnation::restored(tx).await? else { return Ok(()) };
    let sql = "select order_uid, meter, since_ms, sku, quantity from lost_span where order_uid = any($1) for update";
    let uids: Vec<&str> = facts.iter().map(|f| f.order_uid.as_str()).collect();
    let rows: Vec<LostRow> = sqlx::query_as(sql).bind(uids).fetch_all(tx).await?;
    for row in rows {
        let level = row.sku.zip(row.quantity);
        let level =
            level.map(|(sku, quantity)| Ok::<_, Error>(Level { sku: id(sku)?, quantity })).transpose()?;
        let lost = Lost { level, since: timestamp(row.since_ms)? };
        on_record.entry((id(row.order_uid)?, meter(&row.meter)?)).or_default().lost = Some(lost);
    }
    for fact in facts.iter().filter(|fact| fact.at.is_none()) {
        let Some(since) = fact.metered_since.filter(|since| *since < began) else { continue };
        let known = on_record.entry((fact.order_uid.clone(), fact.meter)).or_default();
        if known.changes.is_empty() {
            known.lost = Some(Lost { level: None, since: to_millisecond(since)?.max(last_known) });
        }
    }
    Ok(())
}

/// Nobody waits any longer for these to be seen again.
async fn found_again(tx: &mut PgConnection, facts: &[&UsageFact]) -> Result<(), Error> {
    if facts.is_empty() {
        return Ok(());
    }
    let sql = "delete from lost_span l using unnest($1::text[], $2::text[]) as f (order_uid, meter)
               where (l.order_uid, l.meter) = (f.order_uid, f.meter)";
    sqlx::query(sql)
        .bind(facts.iter().map(|f| f.order_uid.as_str()).collect::<Vec<_>>())
        .bind(facts.iter().map(|f| f.meter.as_str()).collect::<Vec<_>>())
        .execute(tx)
        .await?;
    Ok(())
}

async fn insert(
    tx: &mut PgConnection,
    batch: &UsageBatch,
    added: &[Added<'_>],
    now: Timestamp,
) -> Result<(), Error> {
    let sql = "insert into usage_change
                   (order_uid, meter, at_ms, sku, quantity, reason, collector, epoch, recorded_ms)
               select f.order_uid, f.meter, f.at_ms, f.sku, f.quantity, f.reason, $7, $8, $9
               from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::text[])
                    as f (order_uid, meter, at_ms, sku, quantity, reason)";
    let level = |a: &Added<'_>| a.change.level.clone();
    point("insert-usage");
    sqlx::query(sql)
        .bind(added.iter().map(|a| a.fact.order_uid.as_str()).collect::<Vec<_>>())
        .bind(added.iter().map(|a| a.fact.meter.as_str()).collect::<Vec<_>>())
        .bind(added.iter().map(|a| a.change.at.as_millisecond()).collect::<Vec<_>>())
        .bind(added.iter().map(|a| level(a).map(|l| String::from(l.sku))).collect::<Vec<_>>())
        .bind(added.iter().map(|a| level(a).map(|l| l.quantity)).collect::<Vec<_>>())
        .bind(added.iter().map(|a| a.fact.reason.as_str()).collect::<Vec<_>>())
        .bind(&batch.collector)
        .bind(batch.epoch)
        .bind(now.as_millisecond())
        .execute(tx)
        .await?;
    Ok(())
}

/// Stores that these orders were seen; the last page raises the collector's watermark, which never falls.
///
/// # Errors
/// `fenced` for a lower epoch than on record.
pub async fn checkpoint(pool: &PgPool, checkpoint: &Checkpoint) -> Result<CollectorRecord, Error> {
    let mut tx = pool.begin().await?;
    fence(&mut tx, &checkpoint.collector, checkpoint.epoch).await?;
    let uids: Vec<&str> = checkpoint.seen.iter().map(OrderUid::as_str).collect();
    let sql = "update orders o set last_seen_ms = greatest(o.last_seen_ms, ledger_now_ms())
               from (select uid from orders where uid = any($1) order by uid for no key update) seen
               where o.uid = seen.uid";
    sqlx::query(sql).bind(uids).execute(&mut *tx).await?;
    if checkpoint.complete {
        raise(&mut tx, checkpoint).await?;
    }
    let record = find_collector(&mut tx, &checkpoint.collector).await?;
    point("checkpoint-before-commit");
    tx.commit().await?;
    point("checkpoint-after-commit");
    record.ok_or_else(|| Error::Fault("failed to read back a collector".to_owned()))
}

/// Raises the watermark of a collector that has reported everything; what its own clock does not prove becomes a gap.
async fn raise(tx: &mut PgConnection, checkpoint: &Checkpoint) -> Result<(), Error> {
    let sql = "select watermark_ms, ran_ms, ledger_now_ms() from collector where id = $1";
    let (until, ran_ms, now): (Option<i64>, i64, i64) =
        sqlx::query_as(sql).bind(&checkpoint.collector).fetch_one(&mut *tx).await?;
    let before = Watch { until: until.map(timestamp).transpose()?, ran_ms };
    let now = timestamp(now)?;
    let (watch, unproven) = report(before, checkpoint.elapsed_ms, now);
    if let Some(unproven) = unproven {
        let by = (checkpoint.collector.as_str(), checkpoint.epoch, now);
        let gaps = gaps::open_up(tx, by, unproven).await?;
        tracing::warn!(
            collector = checkpoint.collector,
            reason = unproven.reason.as_str(),
            gaps,
            "from {} until {now} nothing is proven: {gaps} gaps wait for a decision",
            unproven.since
        );
    }
    // One that has just started may not have looked at everything.
    if let (Some(_), Some(reported)) = (checkpoint.elapsed_ms, before.until) {
        let by = (checkpoint.collector.as_str(), checkpoint.epoch, now);
        let gaps = gaps::of_unseen(tx, by, reported).await?;
        if gaps > 0 {
            tracing::warn!(
                gaps,
                "{gaps} streams that the restored ledger lost are not seen again: gaps until {now}"
            );
        }
    }
    let sql = "update collector set watermark_ms = $2, ran_ms = $3 where id = $1";
    sqlx::query(sql)
        .bind(&checkpoint.collector)
        .bind(watch.until.map(Timestamp::as_millisecond))
        .bind(watch.ran_ms)
        .execute(tx)
        .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct CollectorRow {
    id: String,
    epoch: i64,
    watermark_ms: Option<i64>,
    last_seen_ms: i64,
}

/// A collector as on record.
///
/// # Errors
/// When the database does not answer.
pub async fn find_collector(
    connection: &mut PgConnection,
    id: &str,
) -> Result<Option<CollectorRecord>, Error> {
    let sql = "select id, epoch, watermark_ms, last_seen_ms from collector where id = $1";
    let row: Option<CollectorRow> = sqlx::query_as(sql).bind(id).fetch_optional(connection).await?;
    row.map(|row| {
        Ok(CollectorRecord {
            collector: row.id,
            epoch: row.epoch,
            watermark: row.watermark_ms.map(timestamp).transpose()?,
            last_seen: timestamp(row.last_seen_ms)?,
        })
    })
    .transpose()
}

/// The intervals of a tenant and everything below it that touch `from` until `to`. What began long before begins at
/// its last change before `from`, which is enough to rate it.
///
/// # Errors
/// When the database does not answer.
pub async fn in_period(
    connection: &mut PgConnection,
    tenant_id: i64,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Interval>, Error> {
    let sql = "select c.order_uid, c.meter, c.at_ms, c.sku, c.quantity
               from tenant t
               join orders o on o.tenant_id = t.id
               join usage_change c on c.order_uid = o.uid
               where t.path @> array[$1] and c.at_ms < $3 and c.at_ms >= coalesce(
                   (select max(p.at_ms) from usage_change p
                    where p.order_uid = c.order_uid and p.meter = c.meter and p.at_ms <= $2), $2)";
    let rows: Vec<Row> = sqlx::query_as(sql)
        .bind(tenant_id)
        .bind(from.as_millisecond())
        .bind(to.as_millisecond())
        .fetch_all(&mut *connection)
        .await?;
    let found = touching(&streams(rows)?, from);
    let scope = Scope { time: (from, to), as_of: i64::MAX, late: None, tenant: Some(tenant_id), only: None };
    Ok(with_billed(found, gaps::billed(connection, &scope).await?))
}

/// The intervals of `streams` that do not end before `from`.
fn touching(streams: &BTreeMap<Stream, Vec<Change>>, from: Timestamp) -> Vec<Interval> {
    streams
        .iter()
        .flat_map(|((uid, meter), changes)| intervals(uid, *meter, changes))
        .filter(|interval| interval.end.is_none_or(|end| end > from))
        .collect()
}

/// The intervals that touch `from` until `to` and what is billed of gaps, by the records up to `as_of` alone: of every
/// order, or of `only` these.
///
/// # Errors
/// When the database does not answer.
pub async fn recorded(
    connection: &mut PgConnection,
    (from, to): (Timestamp, Timestamp),
    as_of: i64,
    only: Option<&[&str]>,
) -> Result<Vec<Interval>, Error> {
    // Of each stream the last change at or before `from`, and those after it: each is read once.
    let sql = "select c.order_uid, c.meter, c.at_ms, c.sku, c.quantity
               from (select *, lead(at_ms) over (partition by order_uid, meter order by at_ms) as next_ms
                     from usage_change
                     where ($4::text[] is null or order_uid = any($4)) and seq <= $3 and at_ms < $2) c
               where c.next_ms is null or c.next_ms > $1";
    let rows: Vec<Row> = sqlx::query_as(sql)
        .bind(from.as_millisecond())
        .bind(to.as_millisecond())
        .bind(as_of)
        .bind(only)
        .fetch_all(&mut *connection)
        .await?;
    let found = touching(&streams(rows)?, from);
    let scope = Scope { time: (from, to), as_of, late: None, tenant: None, only };
    Ok(with_billed(found, gaps::billed(connection, &scope).await?))
}

/// The whole intervals of up to `orders` orders of a tenant and below it that touch `from` until `to`, beginning with
/// the order `first`; and the uid of the last order looked at, if more may follow.
///
/// # Errors
/// When the database does not answer.
pub async fn evidence(
    pool: &PgPool,
    tenant_id: i64,
    (from, to): (Timestamp, Timestamp),
    first: &str,
    most_orders: i64,
) -> Result<(Vec<Interval>, Option<OrderUid>), Error> {
    let mut connection = pool.acquire().await?;
    let sql = r#"select o.uid from orders o join tenant t on t.id = o.tenant_id
                 where t.path @> array[$1] and o.uid collate "C" >= $2
                   and exists (select 1 from usage_change c where c.order_uid = o.uid and c.at_ms < $3)
                 order by o.uid collate "C" limit $4"#;
    let uids: Vec<String> = sqlx::query_scalar(sql)
        .bind(tenant_id)
        .bind(first)
        .bind(to.as_millisecond())
        .bind(most_orders)
        .fetch_all(&mut *connection)
        .await?;
    let full = i64::try_from(uids.len()).unwrap_or(i64::MAX) >= most_orders;
    let last = uids.last().cloned().filter(|_| full).map(id).transpose()?;
    let sql = "select order_uid, meter, at_ms, sku, quantity from usage_change where order_uid = any($1)";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(&uids).fetch_all(&mut *connection).await?;
    let mut found = touching(&streams(rows)?, from);
    let uids: Vec<&str> = uids.iter().map(String::as_str).collect();
    let scope =
        Scope { time: (from, to), as_of: i64::MAX, late: None, tenant: None, only: Some(uids.as_slice()) };
    found = with_billed(found, gaps::billed(&mut connection, &scope).await?);
    found.retain(|interval| interval.start < to);
    Ok((found, last))
}

/// What is known of the orders of these intervals.
///
/// # Errors
/// When the database does not answer.
pub async fn orders_of(
    connection: &mut PgConnection,
    intervals: &[Interval],
) -> Result<BTreeMap<OrderUid, orders::Order>, Error> {
    let uids: BTreeSet<&str> = intervals.iter().map(|i| i.order_uid.as_str()).collect();
    orders::find(connection, &uids.into_iter().collect::<Vec<_>>()).await
}

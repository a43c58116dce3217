//! Availability: what collectors find is added and never altered; figures are derived from it, and from when compute was
//! metered.

use super::gaps::{self, Scope};
use super::usage::{self, PLANNED_EACH_TIME, fence, lock_orders};
use super::{id, now, orders, timestamp};
use crate::error::Error;
use jiff::Timestamp;
use siyada_model::availability::{Observed, OfInstance, Seen, ShouldRun, State, Watcher, observed, record};
use siyada_model::id::OrderUid;
use siyada_model::statement::Billed;
use siyada_model::wire::{AvailabilityBatch, AvailabilityChange, UsageAccepted};
use sqlx::{PgConnection, PgPool};
use std::collections::{BTreeMap, BTreeSet};

/// Stores what a collector found, all or nothing; what is known already changes nothing.
///
/// # Errors
/// `fenced` for a lower epoch than on record, `conflict` when the order belongs to another tenant, `tenant-unknown`.
pub async fn ingest(pool: &PgPool, batch: &AvailabilityBatch) -> Result<UsageAccepted, Error> {
    let mut tx = pool.begin_with(PLANNED_EACH_TIME).await?;
    fence(&mut tx, &batch.collector, batch.epoch).await?;
    lock_orders(&mut tx, batch.changes.iter().map(|change| (&change.order_uid, &change.tenant))).await?;
    let now = now(&mut tx).await?;
    let by = Watcher { collector: batch.collector.clone(), epoch: batch.epoch };
    let mut last = last(&mut tx, &batch.changes).await?;
    let mut added = Vec::new();
    for change in &batch.changes {
        let clocks = (change.clock_ms, batch.clock_ms);
        let known = last.get(&change.order_uid);
        if let Some(seen) = record(known, change.state, &by, clocks, now) {
            added.push((&change.order_uid, seen.clone()));
            last.insert(change.order_uid.clone(), seen);
        }
    }
    insert(&mut tx, &added, now).await?;
    if batch.complete {
        prove(&mut tx, &by, now).await?;
    }
    tx.commit().await?;
    let (recorded, all) = (added.len(), batch.changes.len());
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    Ok(UsageAccepted { recorded: count(recorded), known: count(all.saturating_sub(recorded)), gaps: 0 })
}

#[derive(sqlx::FromRow)]
struct Row {
    order_uid: String,
    at_ms: i64,
    state: String,
    clock_ms: i64,
    collector: String,
    epoch: i64,
}

impl Row {
    fn read(self) -> Result<(OrderUid, Seen), Error> {
        let by = Watcher { collector: self.collector, epoch: self.epoch };
        let seen =
            Seen { at: timestamp(self.at_ms)?, state: state(&self.state)?, by, clock_ms: self.clock_ms };
        Ok((id(self.order_uid)?, seen))
    }
}

/// A state by its word.
pub(crate) fn state(word: &str) -> Result<State, Error> {
    let found = State::ALL.into_iter().find(|state| state.as_str() == word);
    found.ok_or_else(|| Error::Fault(format!("failed to read state {word}")))
}

/// The last that is on record of the orders of `changes`.
async fn last(
    tx: &mut PgConnection,
    changes: &[AvailabilityChange],
) -> Result<BTreeMap<OrderUid, Seen>, Error> {
    let sql = "select c.order_uid, c.at_ms, c.state, c.clock_ms, c.collector, c.epoch
               from (select distinct unnest($1::text[]) as uid) f cross join lateral (
                   select * from availability_change c where c.order_uid = f.uid order by c.at_ms desc limit 1
               ) c";
    let uids: Vec<&str> = changes.iter().map(|change| change.order_uid.as_str()).collect();
    let rows: Vec<Row> = sqlx::query_as(sql).bind(uids).fetch_all(tx).await?;
    rows.into_iter().map(Row::read).collect()
}

async fn insert(tx: &mut PgConnection, added: &[(&OrderUid, Seen)], now: Timestamp) -> Result<(), Error> {
    if added.is_empty() {
        return Ok(());
    }
    let sql = "insert into availability_change (order_uid, at_ms, state, clock_ms, collector, epoch, recorded_ms)
               select f.*, $7
               from unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::bigint[]) as f";
    sqlx::query(sql)
        .bind(added.iter().map(|(uid, _)| uid.as_str()).collect::<Vec<_>>())
        .bind(added.iter().map(|(_, seen)| seen.at.as_millisecond()).collect::<Vec<_>>())
        .bind(added.iter().map(|(_, seen)| seen.state.as_str()).collect::<Vec<_>>())
        .bind(added.iter().map(|(_, seen)| seen.clock_ms).collect::<Vec<_>>())
        .bind(added.iter().map(|(_, seen)| seen.by.collector.as_str()).collect::<Vec<_>>())
        .bind(added.iter().map(|(_, seen)| seen.by.epoch).collect::<Vec<_>>())
        .bind(now.as_millisecond())
        .execute(tx)
        .await?;
    Ok(())
}

/// Puts on record that a collector was at work, and told all that it found, until `now`.
async fn prove(tx: &mut PgConnection, by: &Watcher, now: Timestamp) -> Result<(), Error> {
    let sql = "insert into availability_proof (collector, epoch, until_ms) values ($1, $2, $3)
               on conflict on constraint availability_proof_key do nothing";
    sqlx::query(sql).bind(&by.collector).bind(by.epoch).bind(now.as_millisecond()).execute(tx).await?;
    Ok(())
}

/// When each order was seen to be up and down, as far as that touches `from` until `to`, by the records up to `as_of` alone:
/// of `tenant` and below it, or of all.
///
/// # Errors
/// When the database does not answer.
pub async fn within(
    connection: &mut PgConnection,
    (from, to): (Timestamp, Timestamp),
    as_of: i64,
    tenant: Option<i64>,
) -> Result<BTreeMap<OrderUid, Vec<Observed>>, Error> {
    // Of each order the last at or before `from`, and those after it: each is read once.
    let sql = "select c.order_uid, c.at_ms, c.state, c.clock_ms, c.collector, c.epoch
               from (select *, lead(at_ms) over (partition by order_uid order by at_ms) as next_ms
                     from availability_change
                     where seq <= $3 and at_ms < $2 and ($4::bigint is null or order_uid in (
                         select o.uid from orders o join tenant t on t.id = o.tenant_id where t.path @> array[$4]))) c
               where c.next_ms is null or c.next_ms > $1
               order by c.order_uid, c.at_ms";
    let rows: Vec<Row> = sqlx::query_as(sql)
        .bind(from.as_millisecond())
        .bind(to.as_millisecond())
        .bind(as_of)
        .bind(tenant)
        .fetch_all(&mut *connection)
        .await?;
    let mut seen: BTreeMap<OrderUid, Vec<Seen>> = BTreeMap::new();
    for row in rows {
        let (uid, one) = row.read()?;
        seen.entry(uid).or_default().push(one);
    }
    let until = until(connection, &seen, as_of).await?;
    Ok(seen.into_iter().map(|(uid, seen)| (uid, observed(&seen, &until))).collect())
}

/// Until when whoever saw these was at work, by the records up to `as_of` alone.
async fn until(
    connection: &mut PgConnection,
    seen: &BTreeMap<OrderUid, Vec<Seen>>,
    as_of: i64,
) -> Result<BTreeMap<Watcher, Timestamp>, Error> {
    let watchers: BTreeSet<&Watcher> = seen.values().flatten().map(|one| &one.by).collect();
    let sql = "select f.collector, f.epoch, p.until_ms
               from unnest($1::text[], $2::bigint[]) as f (collector, epoch) cross join lateral (
                   select p.until_ms from availability_proof p
                   where (p.collector, p.epoch) = (f.collector, f.epoch) and p.seq <= $3
                   order by p.until_ms desc limit 1
               ) p";
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(sql)
        .bind(watchers.iter().map(|by| by.collector.as_str()).collect::<Vec<_>>())
        .bind(watchers.iter().map(|by| by.epoch).collect::<Vec<_>>())
        .bind(as_of)
        .fetch_all(connection)
        .await?;
    rows.into_iter()
        .map(|(collector, epoch, until)| Ok((Watcher { collector, epoch }, timestamp(until)?)))
        .collect()
}

/// The availability of each instance of a tenant and below it that should have run between `from` and `to`, sorted by
/// order.
///
/// # Errors
/// When the database does not answer.
pub async fn of_tenant(
    connection: &mut PgConnection,
    tenant_id: i64,
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<OfInstance>, Error> {
    let intervals = usage::in_period(connection, tenant_id, from, to).await?;
    let scope = Scope { time: (from, to), as_of: i64::MAX, late: None, tenant: Some(tenant_id), only: None };
    let gaps = gaps::within(connection, &scope).await?;
    let seen = within(connection, (from, to), i64::MAX, Some(tenant_id)).await?;
    let should_run = ShouldRun::new(&intervals, gaps.iter().map(|gap| &gap.record), (from, to));
    let found: Vec<_> = should_run.availability(&seen).collect();
    let known =
        orders::find(connection, &found.iter().map(|(uid, _)| uid.as_str()).collect::<Vec<_>>()).await?;
    let mut instances = found
        .into_iter()
        .map(|(uid, figures)| {
            let of = known.get(uid).cloned();
            let of = of.ok_or_else(|| Error::Fault(format!("failed to find order {uid}")))?;
            let (tenant, uid) = (of.tenant, uid.clone());
            let order = Billed { tenant, namespace: of.namespace, name: of.name, uid, kind: of.kind };
            Ok(OfInstance { order, figures })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    instances.sort_by(|a, b| a.order.cmp(&b.order));
    Ok(instances)
}

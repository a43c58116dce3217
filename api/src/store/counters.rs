//! Counters: readings are added and never altered; what was counted is derived from them.

use super::usage::{FUTURE_MS, PLANNED_EACH_TIME, fence, lock_orders, meter, to_millisecond};
use super::{id, meters, now, orders, timestamp};
use crate::error::Error;
use jiff::Timestamp;
use siyada_model::counter::{Reading, is_new, windows};
use siyada_model::id::OrderUid;
use siyada_model::statement::Billed;
use siyada_model::usage::Meter;
use siyada_model::wire::{Counted, CounterBatch, CounterReading, MeterKind, UsageAccepted, code};
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;

/// Readings of an order and a meter, by their instants.
type Streams = BTreeMap<(OrderUid, Meter), BTreeMap<Timestamp, Reading>>;

/// Stores where counters stood, all or nothing; what is known already changes nothing.
///
/// # Errors
/// `fenced` for a lower epoch than on record, `conflict` names the reading that contradicts another or the order that
/// belongs to another tenant, `tenant-unknown`, `invalid`.
pub async fn ingest(pool: &PgPool, batch: &CounterBatch) -> Result<UsageAccepted, Error> {
    let mut tx = pool.begin_with(PLANNED_EACH_TIME).await?;
    fence(&mut tx, &batch.collector, batch.epoch).await?;
    meters::check(&mut tx, batch.readings.iter().map(|r| r.meter), MeterKind::Counter).await?;
    lock_orders(&mut tx, batch.readings.iter().map(|r| (&r.order_uid, &r.tenant))).await?;
    let now = now(&mut tx).await?;
    let said = said(&batch.readings, now)?;
    let mut on_record = near(&mut tx, &said).await?;
    let added = decide(&said, &mut on_record)?;
    insert(&mut tx, batch, &added, now).await?;
    tx.commit().await?;
    let recorded = u64::try_from(added.len()).unwrap_or(u64::MAX);
    let known = u64::try_from(said.len()).unwrap_or(u64::MAX).saturating_sub(recorded);
    Ok(UsageAccepted { recorded, known, gaps: 0 })
}

/// What a batch says, as the model has it.
type Said<'a> = (&'a CounterReading, Reading);

fn said(readings: &[CounterReading], now: Timestamp) -> Result<Vec<Said<'_>>, Error> {
    let read = |reading: &CounterReading| {
        let at = to_millisecond(reading.window_end)?;
        if at.as_millisecond() > now.as_millisecond().saturating_add(FUTURE_MS) {
            return Err(Error::invalid(format!(
                "the reading of {} of order {} lies in the future; check the clock of what counts",
                reading.meter, reading.order_uid
            )));
        }
        Ok(Reading { at, reset_id: reading.reset_id.clone(), value: reading.value })
    };
    readings.iter().map(|reading| Ok((reading, read(reading)?))).collect()
}

/// Decides reading by reading what is new, in the order of the batch.
fn decide<'a, 'b>(said: &'b [Said<'a>], on_record: &mut Streams) -> Result<Vec<&'b Said<'a>>, Error> {
    let mut added = Vec::new();
    for one in said {
        let (said, reading) = one;
        let known = on_record.entry((said.order_uid.clone(), said.meter)).or_default();
        let is_new = is_new(known, reading).map_err(|cause| {
            let (meter, uid, at) = (said.meter, &said.order_uid, reading.at);
            Error::refuse(code::CONFLICT, format!("the reading of {meter} of order {uid} at {at}: {cause}"))
        })?;
        if is_new {
            known.insert(reading.at, reading.clone());
            added.push(one);
        }
    }
    Ok(added)
}

#[derive(sqlx::FromRow)]
struct Row {
    order_uid: String,
    meter: String,
    window_end_ms: i64,
    reset_id: String,
    value: i64,
}

fn streams(rows: Vec<Row>) -> Result<Streams, Error> {
    let mut found = Streams::new();
    for row in rows {
        let at = timestamp(row.window_end_ms)?;
        let reading = Reading { at, reset_id: row.reset_id, value: row.value };
        found.entry((id(row.order_uid)?, meter(&row.meter)?)).or_default().insert(at, reading);
    }
    Ok(found)
}

/// What is on record and can matter to these readings: that of the same instant, and the nearest before and after it with
/// the same reset id.
async fn near(tx: &mut PgConnection, said: &[Said<'_>]) -> Result<Streams, Error> {
    let sql = "select distinct c.order_uid, c.meter, c.window_end_ms, c.reset_id, c.value
               from unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) as f (order_uid, meter, at_ms, reset_id)
               cross join lateral (
                   (select * from counter_reading c
                    where (c.order_uid, c.meter, c.window_end_ms) = (f.order_uid, f.meter, f.at_ms))
                   union all
                   (select * from counter_reading c
                    where (c.order_uid, c.meter, c.reset_id) = (f.order_uid, f.meter, f.reset_id)
                        and c.window_end_ms < f.at_ms order by c.window_end_ms desc limit 1)
                   union all
                   (select * from counter_reading c
                    where (c.order_uid, c.meter, c.reset_id) = (f.order_uid, f.meter, f.reset_id)
                        and c.window_end_ms > f.at_ms order by c.window_end_ms limit 1)
               ) c";
    let rows: Vec<Row> = sqlx::query_as(sql)
        .bind(said.iter().map(|(s, _)| s.order_uid.as_str()).collect::<Vec<_>>())
        .bind(said.iter().map(|(s, _)| s.meter.as_str()).collect::<Vec<_>>())
        .bind(said.iter().map(|(_, r)| r.at.as_millisecond()).collect::<Vec<_>>())
        .bind(said.iter().map(|(_, r)| r.reset_id.as_str()).collect::<Vec<_>>())
        .fetch_all(tx)
        .await?;
    streams(rows)
}

async fn insert(
    tx: &mut PgConnection,
    batch: &CounterBatch,
    added: &[&Said<'_>],
    now: Timestamp,
) -> Result<(), Error> {
    let sql = "insert into counter_reading
                   (order_uid, meter, window_end_ms, reset_id, value, collector, epoch, recorded_ms)
               select f.*, $6, $7, $8
               from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[]) as f";
    sqlx::query(sql)
        .bind(added.iter().map(|(s, _)| s.order_uid.as_str()).collect::<Vec<_>>())
        .bind(added.iter().map(|(s, _)| s.meter.as_str()).collect::<Vec<_>>())
        .bind(added.iter().map(|(_, r)| r.at.as_millisecond()).collect::<Vec<_>>())
        .bind(added.iter().map(|(_, r)| r.reset_id.as_str()).collect::<Vec<_>>())
        .bind(added.iter().map(|(_, r)| r.value).collect::<Vec<_>>())
        .bind(&batch.collector)
        .bind(batch.epoch)
        .bind(now.as_millisecond())
        .execute(tx)
        .await?;
    Ok(())
}

/// What counters of up to `orders` orders of a tenant and below it counted in the windows that end after `from` and not
/// after `to`, by order, meter and time, beginning with the order `first`; and the uid of the last order looked at, if more
/// may follow.
///
/// # Errors
/// When the database does not answer.
pub async fn counted(
    connection: &mut PgConnection,
    tenant_id: i64,
    (from, to): (Timestamp, Timestamp),
    first: &str,
    most_orders: i64,
) -> Result<(Vec<Counted>, Option<OrderUid>), Error> {
    let sql = r#"select o.uid from orders o join tenant t on t.id = o.tenant_id
                 where t.path @> array[$1] and o.uid collate "C" >= $2
                   and exists (select from counter_reading c
                               where c.order_uid = o.uid and c.window_end_ms > $3 and c.window_end_ms <= $4)
                 order by o.uid collate "C" limit $5"#;
    let uids: Vec<String> = sqlx::query_scalar(sql)
        .bind(tenant_id)
        .bind(first)
        .bind(from.as_millisecond())
        .bind(to.as_millisecond())
        .bind(most_orders)
        .fetch_all(&mut *connection)
        .await?;
    let full = i64::try_from(uids.len()).unwrap_or(i64::MAX) >= most_orders;
    let last = uids.last().cloned().filter(|_| full).map(id).transpose()?;
    let known = orders::find(connection, &uids.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let mut found = Vec::new();
    for ((uid, meter), readings) in within(connection, &uids, (from, to)).await? {
        let of = known.get(&uid).cloned();
        let of = of.ok_or_else(|| Error::Fault(format!("failed to find order {uid}")))?;
        let order = Billed { tenant: of.tenant, namespace: of.namespace, name: of.name, uid, kind: of.kind };
        let windows = windows(&readings.into_values().collect::<Vec<_>>());
        let inside = windows.into_iter().filter(|window| window.end > from);
        found.extend(inside.map(|window| Counted { order: order.clone(), meter, window }));
    }
    Ok((found, last))
}

/// The readings of a period, and of what lies before it the last of each reset id that goes on in it, and the last.
async fn within(
    connection: &mut PgConnection,
    uids: &[String],
    (from, to): (Timestamp, Timestamp),
) -> Result<Streams, Error> {
    let sql = "with inside as (
                   select order_uid, meter, window_end_ms, reset_id, value from counter_reading
                   where order_uid = any($1) and window_end_ms > $2 and window_end_ms <= $3
               )
               select * from inside
               union
               select c.* from (select distinct order_uid, meter, reset_id from inside) i cross join lateral (
                   select order_uid, meter, window_end_ms, reset_id, value from counter_reading b
                   where (b.order_uid, b.meter, b.reset_id) = (i.order_uid, i.meter, i.reset_id)
                       and b.window_end_ms <= $2 order by b.window_end_ms desc limit 1
               ) c
               union
               select c.* from (select distinct order_uid, meter from inside) i cross join lateral (
                   select order_uid, meter, window_end_ms, reset_id, value from counter_reading b
                   where (b.order_uid, b.meter) = (i.order_uid, i.meter)
                       and b.window_end_ms <= $2 order by b.window_end_ms desc limit 1
               ) c";
    let rows: Vec<Row> = sqlx::query_as(sql)
        .bind(uids)
        .bind(from.as_millisecond())
        .bind(to.as_millisecond())
        .fetch_all(connection)
        .await?;
    streams(rows)
}

//! Whether metering can be believed: each check is one question to the ledger, and all of them see the same state of it.
//!
//! Each answers up to [`MOST_EXAMPLES`] rows of what it found, and in each row how many there are in all.

use super::{id, now, settings};
use crate::error::Error;
use siyada_model::health::{Check, Example, Found, MOST_EXAMPLES, MeteringHealth, judge};
use sqlx::{PgConnection, PgPool};

/// Longest time of one question. A plan that was made while the tables were nearly empty is not kept.
const BOUNDED: &str = "begin isolation level repeatable read read only;
                       set local statement_timeout = '4s'; set local plan_cache_mode = force_custom_plan";
/// How long an order may be held before its compute is metered: engines start within minutes.
const NOT_RUNNING_MS: i64 = 30 * 60 * 1_000;
/// Three checkpoints of an operator, which come every five minutes.
const THREE_CHECKPOINTS_MS: i64 = 15 * 60 * 1_000;
/// Documents at the end of the chain that are looked at.
const LAST_DOCUMENTS: i64 = 20;
/// Events at the end of the audit trail that are looked at.
const LAST_EVENTS: i64 = 200;

/// Every check, by one state of the ledger.
///
/// # Errors
/// When the database does not answer, or takes too long.
pub async fn metering(pool: &PgPool) -> Result<MeteringHealth, Error> {
    let mut tx = pool.begin_with(BOUNDED).await?;
    let at = now(&mut tx).await?;
    let mut found = running(&mut tx).await?;
    found.extend(intervals(&mut tx).await?);
    found.extend(watermarks(&mut tx).await?);
    found.extend(gaps(&mut tx).await?);
    found.extend(documents(&mut tx).await?);
    found.extend(trail(&mut tx).await?);
    found.extend(closing(&mut tx).await?);
    Ok(judge(at, &found))
}

#[derive(sqlx::FromRow)]
struct Row {
    word: String,
    total: i64,
    order_uid: Option<String>,
    tenant: Option<String>,
    detail: String,
}

impl TryFrom<Row> for Found {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self, Error> {
        let check = Check::ALL.into_iter().find(|check| check.as_str() == row.word);
        let check = check.ok_or_else(|| Error::Fault(format!("failed to read check {}", row.word)))?;
        let example = Example {
            order_uid: row.order_uid.map(id).transpose()?,
            tenant: row.tenant.map(id).transpose()?,
            detail: row.detail,
        };
        Ok(Self { check, total: row.total, example })
    }
}

fn read(rows: Vec<Row>) -> Result<Vec<Found>, Error> {
    rows.into_iter().map(TryInto::try_into).collect()
}

fn most() -> i64 {
    i64::try_from(MOST_EXAMPLES).unwrap_or(i64::MAX)
}

/// Orders that are held, are no kept data, and are not metered: compute never was, or nothing is any more. One that is
/// suspended has its storage metered, and had compute. Of most orders compute is metered now, which is asked first.
async fn running(tx: &mut PgConnection) -> Result<Vec<Found>, Error> {
    let sql = "with stopped as materialized (
                   select r.order_uid, r.tenant_id from reservation r
                   where not r.retained and r.held_since_ms < ledger_now_ms() - $1 and (
                       select c.sku from usage_change c where c.order_uid = r.order_uid and c.meter = 'compute'
                       order by c.at_ms desc limit 1) is null
               ), known as (
                   select s.*, o.namespace || '/' || o.name as name, m.*
                   from stopped s join orders o on o.uid = s.order_uid
                   cross join lateral (
                       select count(*) > 0 as any_change, coalesce(bool_or(c.meter = 'compute'), false) as compute,
                              coalesce(max(c.recorded_ms), 0) as recorded_ms
                       from usage_change c where c.order_uid = s.order_uid
                   ) m
               ), bad as (
                   select k.order_uid, k.tenant_id, k.name || case
                       when not k.any_change then ' is held, and nothing of it was ever metered'
                       when not k.compute then ' has storage that is metered, and its compute never was'
                       else ' is held, and nothing of it is metered any more' end as detail
                   from known k
                   where not k.compute or (k.recorded_ms < ledger_now_ms() - $1 and not exists (
                       select from (select name from meter where kind = 'level') m (meter) cross join lateral (
                           select c.sku from usage_change c where c.order_uid = k.order_uid and c.meter = m.meter
                           order by c.at_ms desc limit 1
                       ) last where last.sku is not null))
               )
               select 'runningWithoutInterval' as word, count(*) over () as total, b.order_uid, t.name as tenant, b.detail
               from bad b join tenant t on t.id = b.tenant_id order by b.order_uid limit $2";
    read(sqlx::query_as(sql).bind(NOT_RUNNING_MS).bind(most()).fetch_all(tx).await?)
}

/// Intervals that are open: without a price in force, with no confirmation at all, or passed over by their collector. What
/// was recorded a moment ago is confirmed by that.
async fn intervals(tx: &mut PgConnection) -> Result<Vec<Found>, Error> {
    let sql = "with open as materialized (
                   select o.uid, o.tenant_id, m.meter, c.sku, c.collector,
                          greatest(coalesce(o.last_seen_ms, 0), c.recorded_ms) as proven_ms
                   from orders o cross join (select name from meter where kind = 'level') m (meter) cross join lateral (
                       select c.sku, c.collector, c.recorded_ms from usage_change c
                       where c.order_uid = o.uid and c.meter = m.meter order by c.at_ms desc limit 1
                   ) c where c.sku is not null
               ), priced as materialized (
                   select s ->> 'sku' as sku from (
                       select l.record from price_list l where l.valid_from_ms <= ledger_now_ms()
                       order by l.valid_from_ms desc limit 1
                   ) l cross join jsonb_array_elements(l.record #> '{prices,skus}') s
               ), bad as (
                   select 'intervalWithoutPrice' as word, o.uid, o.tenant_id, o.meter,
                          o.meter || ' by ' || o.sku || ', which the price list in force does not know' as detail
                   from open o where o.sku not in (select p.sku from priced p)
                   union all
                   select 'totalsStopped', o.uid, o.tenant_id, o.meter, o.meter || ', confirmed last at ' || ledger_stamp(o.proven_ms)
                   from open o where (select max(l.proven_ms) from open l) < ledger_now_ms() - $1
                   union all
                   select 'notProven', o.uid, o.tenant_id, o.meter,
                          o.meter || ', confirmed last at ' || ledger_stamp(o.proven_ms) || '; collector ' || k.id
                              || ' has reported until ' || ledger_stamp(k.watermark_ms)
                   from open o join collector k on k.id = o.collector where o.proven_ms < k.watermark_ms - $1
                   union all
                   select 'notProven', s.order_uid, o.tenant_id, s.meter,
                          s.meter || ', not seen again since the ledger was restored; it was confirmed last at ' || ledger_stamp(s.since_ms)
                   from lost_span s join orders o on o.uid = s.order_uid
               ), counted as (
                   select b.*, count(*) over (partition by b.word) as total,
                          row_number() over (partition by b.word order by b.uid, b.meter) as place
                   from bad b
               )
               select c.word, c.total, c.uid as order_uid, t.name as tenant, c.detail
               from counted c join tenant t on t.id = c.tenant_id where c.place <= $2 order by c.word, c.place";
    read(sqlx::query_as(sql).bind(THREE_CHECKPOINTS_MS).bind(most()).fetch_all(tx).await?)
}

/// Collectors that have not finished a report for long. Their months do not close either.
async fn watermarks(tx: &mut PgConnection) -> Result<Vec<Found>, Error> {
    let sql = "select 'watermarkStandsStill' as word, count(*) over () as total, null::text as order_uid,
                   null::text as tenant, 'collector ' || k.id || coalesce(' has reported until ' || ledger_stamp(k.watermark_ms),
                       ' has not finished a first report') || '; it was heard of last at ' || ledger_stamp(k.last_seen_ms) as detail
               from collector k where coalesce(k.watermark_ms, 0) < ledger_now_ms() - $1 order by k.id limit $2";
    read(sqlx::query_as(sql).bind(THREE_CHECKPOINTS_MS).bind(most()).fetch_all(tx).await?)
}

/// Gaps that nobody has decided. A schema of a landing that has none yet has none to decide.
async fn gaps(tx: &mut PgConnection) -> Result<Vec<Found>, Error> {
    let known: bool =
        sqlx::query_scalar("select to_regclass('gap_decision') is not null").fetch_one(&mut *tx).await?;
    if !known {
        return Ok(vec![]);
    }
    let sql = "with undecided as (
                   select g.* from meter_gap g where not exists (select from gap_decision d where d.gap_id = g.id)
               )
               select 'gapsUndecided' as word, count(*) over () as total, u.order_uid, t.name as tenant,
                   'gap ' || u.id || ' of ' || u.meter || ' from ' || ledger_stamp(u.start_ms) || ' until '
                       || ledger_stamp(u.end_ms) || ': ' || u.reason as detail
               from undecided u join orders o on o.uid = u.order_uid join tenant t on t.id = o.tenant_id
               order by u.id limit $1";
    read(sqlx::query_as(sql).bind(most()).fetch_all(tx).await?)
}

/// The last documents: is each what was hashed, and does each extend the chain of the one before?
async fn documents(tx: &mut PgConnection) -> Result<Vec<Found>, Error> {
    let sql = "with last as (
                   select s.position, s.number, s.document, s.sha256, s.chain,
                          lag(s.chain) over follow as before, lag(s.position) over follow as place
                   from (select * from statement order by position desc limit $1 + 1) s
                   window follow as (order by s.position)
               ), bad as (
                   select l.number from last l
                   where l.sha256 <> ledger_sha256(l.document)
                      or (l.place is not null and (l.position <> l.place + 1 or l.chain <> ledger_sha256(l.before || l.sha256)))
                      or (l.position = 1 and l.chain <> ledger_sha256(repeat('0', 64) || l.sha256))
               )
               select 'chainBroken' as word, count(*) over () as total, null::text as order_uid, null::text as tenant,
                   'document ' || b.number || ' is not what was hashed, or does not follow the one before' as detail
               from bad b order by b.number limit $2";
    read(sqlx::query_as(sql).bind(LAST_DOCUMENTS).bind(most()).fetch_all(tx).await?)
}

/// The last events of the audit trail: does each name the one before? What an event says is checked by whoever verifies an
/// export.
async fn trail(tx: &mut PgConnection) -> Result<Vec<Found>, Error> {
    let sql = "with last as (
                   select e.seq, e.previous_sha256, lag(e.sha256) over follow as before, lag(e.seq) over follow as place
                   from (select * from audit_event order by seq desc limit $1) e
                   window follow as (order by e.seq)
               ), bad as (
                   select l.seq from last l
                   where (l.place is not null and (l.seq <> l.place + 1 or l.previous_sha256 <> l.before))
                      or (l.place is null and l.seq = 1 and l.previous_sha256 <> repeat('0', 64))
               )
               select 'chainBroken' as word, count(*) over () as total, null::text as order_uid, null::text as tenant,
                   'audit event ' || b.seq || ' does not follow the one before' as detail
               from bad b order by b.seq limit $2";
    read(sqlx::query_as(sql).bind(LAST_EVENTS).bind(most()).fetch_all(tx).await?)
}

/// Months that are open, although they were to be closed by themselves: each reason, as of the last try.
async fn closing(tx: &mut PgConnection) -> Result<Vec<Found>, Error> {
    if settings::settings(tx).await?.closing.is_none() {
        return Ok(vec![]);
    }
    let sql = "with reasons as (
                   select a.month, a.tried_ms, b.value as blocker, coalesce(a.failure, b.value ->> 'detail') as detail
                   from closing_attempt a join period p on p.month = a.month and p.closed_ms is null
                   left join lateral jsonb_array_elements(a.blockers) b on true
               )
               select 'closingBlocked' as word, count(*) over () as total, r.blocker ->> 'orderUid' as order_uid,
                   r.blocker ->> 'tenant' as tenant,
                   r.month || ', tried at ' || ledger_stamp(r.tried_ms) || ': ' || coalesce(r.detail, 'no reason is on record') as detail
               from reasons r order by r.month, r.detail limit $1";
    read(sqlx::query_as(sql).bind(most()).fetch_all(tx).await?)
}

//! The audit trail: written by the transaction that does what it tells.

use super::{id, timestamp};
use crate::error::Error;
use serde_json::{Value, json};
use siyada_model::act::PlatformAct;
use siyada_model::audit::{Anchor, AuditEvent, NOTHING_BEFORE, REMOVED, Retention, exact};
use siyada_model::id::TenantName;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};

/// Who removes events that need not be kept any longer. No token has this subject.
const RETENTION: &str = "system:retention";
/// Most events that are removed at once.
const MOST_REMOVED: i32 = 10_000;

/// Something that is done in the transaction at hand.
#[derive(Clone, Debug)]
pub struct Act<'a> {
    /// Who does it: the subject of the token.
    pub actor: &'a str,
    /// What, for example `priceList.put`.
    pub action: &'static str,
    /// Key of the tenant it concerns; none when it concerns all.
    pub tenant_id: Option<i64>,
    /// What it is done to, for example `priceList/tarif-2026`.
    pub object: String,
    /// What changes.
    pub detail: Value,
}

/// Puts `act` on record. To be called last in a transaction: until it ends nobody else writes an event, and whoever
/// holds this turn must not wait for another.
///
/// # Errors
/// When the database does not answer.
pub async fn record(tx: &mut PgConnection, act: Act<'_>) -> Result<AuditEvent, Error> {
    take_turn(tx).await?;
    let sql = "select coalesce(last.seq, 0) + 1, greatest(ledger_now_ms(), last.at_ms), last.sha256,
                   (select name from tenant where id = $1)
               from (select 1) one
               left join (select seq, at_ms, sha256 from audit_event order by seq desc limit 1) last on true";
    let (seq, at_ms, previous, tenant): (i64, i64, Option<String>, Option<String>) =
        sqlx::query_as(sql).bind(act.tenant_id).fetch_one(&mut *tx).await?;
    let mut event = AuditEvent {
        seq,
        at: timestamp(at_ms)?,
        actor: act.actor.to_owned(),
        action: act.action.to_owned(),
        tenant: tenant.map(id).transpose()?,
        object: act.object,
        detail: exact(act.detail),
        previous_sha256: previous.unwrap_or_else(|| NOTHING_BEFORE.to_owned()),
        sha256: String::new(),
    };
    event.sha256 = event.hash().map_err(|cause| Error::Fault(format!("failed to hash an event: {cause}")))?;
    let sql = "insert into audit_event (seq, at_ms, actor, action, tenant_id, object, detail, previous_sha256, sha256)
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    sqlx::query(sql)
        .bind(seq)
        .bind(at_ms)
        .bind(&event.actor)
        .bind(&event.action)
        .bind(act.tenant_id)
        .bind(&event.object)
        .bind(Json(&event.detail))
        .bind(&event.previous_sha256)
        .bind(&event.sha256)
        .execute(tx)
        .await?;
    Ok(event)
}

/// Until the transaction ends nobody else writes an event.
async fn take_turn(tx: &mut PgConnection) -> Result<(), Error> {
    let sql = "select pg_advisory_xact_lock(hashtextextended('siyada audit', 0))";
    sqlx::query(sql).execute(tx).await?;
    Ok(())
}

/// Puts on record what somebody of the platform did on a cluster, as its operator tells it. The same act told again, in
/// whatever words, changes nothing: what is on record is answered.
///
/// # Errors
/// `invalid` when a part of it is beyond its bound; else when the database does not answer.
pub async fn tell(pool: &PgPool, act: &PlatformAct, told_by: &str) -> Result<AuditEvent, Error> {
    act.check().map_err(Error::invalid)?;
    let mut tx = pool.begin().await?;
    take_turn(&mut tx).await?;
    // Such acts are rare, so no index is kept for this question.
    let sql = "select e.seq, e.at_ms, e.actor, e.action, t.name as tenant, e.object, e.detail, e.previous_sha256, e.sha256
               from audit_event e left join tenant t on t.id = e.tenant_id
               where e.action = $1 and e.object = $2 order by e.seq limit 1";
    let known: Option<Row> =
        sqlx::query_as(sql).bind(act.action()).bind(act.object()).fetch_optional(&mut *tx).await?;
    if let Some(known) = known {
        return known.try_into();
    }
    let sql = "select id from tenant where name = $1 and deleted_ms is null";
    let tenant_id: Option<i64> =
        sqlx::query_scalar(sql).bind(act.tenant().map(TenantName::as_str)).fetch_optional(&mut *tx).await?;
    let (action, object, detail) = (act.action(), act.object(), act.detail(told_by));
    let event = record(&mut tx, Act { actor: act.by(), action, tenant_id, object, detail }).await?;
    tx.commit().await?;
    Ok(event)
}

#[derive(sqlx::FromRow)]
struct Row {
    seq: i64,
    at_ms: i64,
    actor: String,
    action: String,
    tenant: Option<String>,
    object: String,
    detail: Json<Value>,
    previous_sha256: String,
    sha256: String,
}

impl TryFrom<Row> for AuditEvent {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            seq: row.seq,
            at: timestamp(row.at_ms)?,
            actor: row.actor,
            action: row.action,
            tenant: row.tenant.map(id).transpose()?,
            object: row.object,
            detail: row.detail.0,
            previous_sha256: row.previous_sha256,
            sha256: row.sha256,
        })
    }
}

/// Events after `after`, in their order: all of them, or those of a tenant and everything below it.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    pool: &PgPool,
    below: Option<i64>,
    after: i64,
    limit: i64,
) -> Result<Vec<AuditEvent>, Error> {
    let sql = "select e.seq, e.at_ms, e.actor, e.action, t.name as tenant, e.object, e.detail, e.previous_sha256, e.sha256
               from audit_event e left join tenant t on t.id = e.tenant_id
               where e.seq > $2 and ($1::bigint is null
                   or e.tenant_id in (select id from tenant where path @> array[$1]))
               order by e.seq limit $3";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(below).bind(after).bind(limit).fetch_all(pool).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

type AnchorRow = (i64, i64, String);

fn anchor_of((seq, at_ms, sha256): AnchorRow) -> Result<Anchor, Error> {
    Ok(Anchor { seq, at: timestamp(at_ms)?, sha256 })
}

/// Where the trail begins, if events were removed.
///
/// # Errors
/// When the database does not answer.
pub async fn anchor(connection: &mut PgConnection) -> Result<Option<Anchor>, Error> {
    let sql = "select seq, at_ms, sha256 from audit_anchor order by seq desc limit 1";
    let row: Option<AnchorRow> = sqlx::query_as(sql).fetch_optional(connection).await?;
    row.map(anchor_of).transpose()
}

/// How long events are kept, and where the trail begins.
///
/// # Errors
/// When the database does not answer.
pub async fn retention(pool: &PgPool) -> Result<Retention, Error> {
    let mut tx = super::snapshot(pool).await?;
    let sql = "select audit_kept_years(), audit_kept_since_ms()";
    let (years, since): (i32, i64) = sqlx::query_as(sql).fetch_one(&mut *tx).await?;
    Ok(Retention { years, kept_since: timestamp(since)?, anchor: anchor(&mut tx).await? })
}

/// Removes the oldest events that need not be kept any longer, as many as at once, and puts that on the trail. Answers the
/// new beginning; nothing when no event is that old, and then nothing is written.
///
/// # Errors
/// When the database does not answer.
pub async fn remove_expired(pool: &PgPool) -> Result<Option<Anchor>, Error> {
    let mut tx = pool.begin().await?;
    let before = anchor(&mut tx).await?.map_or(0, |anchor| anchor.seq);
    let sql = "select seq, at_ms, sha256 from remove_expired_audit_events($1)";
    let row: Option<AnchorRow> = sqlx::query_as(sql).bind(MOST_REMOVED).fetch_optional(&mut *tx).await?;
    let Some(anchor) = row.map(anchor_of).transpose()? else { return Ok(None) };
    let detail = json!({
        "seq": anchor.seq, "sha256": anchor.sha256, "at": anchor.at, "removed": anchor.seq.saturating_sub(before)
    });
    let object = format!("audit/{}", anchor.seq);
    record(&mut tx, Act { actor: RETENTION, action: REMOVED, tenant_id: None, object, detail }).await?;
    tx.commit().await?;
    Ok(Some(anchor))
}

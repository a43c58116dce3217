//! Approvals: what waits, who decided, and up to what.

use super::audit::{self, Act};
use super::quota::Amounts;
use super::tenants::Tenant;
use super::{id, orders, timestamp};
use crate::error::Error;
use serde_json::json;
use siyada_model::id::OrderUid;
use siyada_model::money::{Currency, Money};
use siyada_model::quota::Commitment;
use siyada_model::resources::Resources;
use siyada_model::wire::{
    Approval, ApprovalDecision, ApprovalNeeded, ApprovalState, ApproveRequest, Pending, code,
};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;

#[derive(sqlx::FromRow)]
struct DecisionRow {
    id: i64,
    order_uid: String,
    decided_by: String,
    decided_ms: i64,
    approved: bool,
    currency: String,
    instances: i64,
    cpu_milli: i64,
    memory_bytes: i64,
    storage_bytes: i64,
    money_minor: i64,
    comment: Option<String>,
}

impl TryFrom<DecisionRow> for ApprovalDecision {
    type Error = Error;
    fn try_from(row: DecisionRow) -> Result<Self, Error> {
        let resources = Resources {
            instances: row.instances,
            cpu_milli: row.cpu_milli,
            memory_bytes: row.memory_bytes,
            storage_bytes: row.storage_bytes,
        };
        let up_to = Amounts { resources, money_minor: row.money_minor }.in_currency(row.currency.parse()?);
        Ok(Self {
            id: row.id,
            order_uid: id(row.order_uid)?,
            approved: row.approved,
            by: row.decided_by,
            at: timestamp(row.decided_ms)?,
            up_to,
            comment: row.comment,
        })
    }
}

/// The last decision about each of these orders.
///
/// # Errors
/// When the database does not answer.
pub async fn latest(
    connection: &mut PgConnection,
    uids: &[&str],
) -> Result<BTreeMap<OrderUid, ApprovalDecision>, Error> {
    let sql = "select distinct on (order_uid) * from approval_decision where order_uid = any($1)
               order by order_uid, id desc";
    let rows: Vec<DecisionRow> = sqlx::query_as(sql).bind(uids).fetch_all(connection).await?;
    rows.into_iter()
        .map(|row| {
            let decision = ApprovalDecision::try_from(row)?;
            Ok((decision.order_uid.clone(), decision))
        })
        .collect()
}

/// Decisions after `after`, in their order.
///
/// # Errors
/// When the database does not answer.
pub async fn after(pool: &PgPool, after: i64, limit: i64) -> Result<Vec<ApprovalDecision>, Error> {
    let sql = "select * from approval_decision where id > $1 order by id limit $2";
    let rows: Vec<DecisionRow> = sqlx::query_as(sql).bind(after).bind(limit).fetch_all(pool).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// What an order asks that must be approved first.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The order.
    pub order_uid: OrderUid,
    /// Key of its tenant.
    pub tenant_id: i64,
    /// Its generation.
    pub generation: i64,
    /// Who ordered.
    pub requester: Option<String>,
    /// Its plan.
    pub plan: String,
    /// Whose approval it waits for.
    pub needed: ApprovalNeeded,
    /// What it asks.
    pub asked: Commitment,
}

#[derive(Debug, sqlx::FromRow)]
struct Row {
    order_uid: String,
    tenant: String,
    kind: String,
    namespace: String,
    name: String,
    plan: String,
    requester: Option<String>,
    needed: Json<ApprovalNeeded>,
    currency: String,
    instances: i64,
    cpu_milli: i64,
    memory_bytes: i64,
    storage_bytes: i64,
    money_minor: i64,
    asked_ms: i64,
    decision_id: Option<i64>,
    approved: Option<bool>,
}

impl Row {
    fn asked(&self) -> Result<Commitment, Error> {
        let resources = Resources {
            instances: self.instances,
            cpu_milli: self.cpu_milli,
            memory_bytes: self.memory_bytes,
            storage_bytes: self.storage_bytes,
        };
        Ok(Amounts { resources, money_minor: self.money_minor }.in_currency(self.currency.parse()?))
    }

    fn with(self, decision: Option<ApprovalDecision>) -> Result<Approval, Error> {
        Ok(Approval {
            asked: self.asked()?,
            order_uid: id(self.order_uid)?,
            tenant: id(self.tenant)?,
            kind: self.kind,
            namespace: self.namespace,
            name: self.name,
            plan: self.plan,
            requester: self.requester,
            state: match self.approved {
                None => ApprovalState::Pending,
                Some(true) => ApprovalState::Approved,
                Some(false) => ApprovalState::Rejected,
            },
            asked_at: timestamp(self.asked_ms)?,
            needed: self.needed.0,
            decision,
        })
    }
}

/// Approvals of a tenant and below it after `after`, by order uid; only those in `state` if it is given.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    pool: &PgPool,
    tenant_id: i64,
    state: Option<ApprovalState>,
    after: &str,
    limit: i64,
) -> Result<Vec<Approval>, Error> {
    let sql = r#"select a.*, t.name as tenant, o.kind, o.namespace, o.name, d.approved
                 from approval_request a
                 join tenant t on t.id = a.tenant_id join orders o on o.uid = a.order_uid
                 left join approval_decision d on d.id = a.decision_id
                 where t.path @> array[$1] and a.order_uid collate "C" > $2
                   and ($3::text is null or $3 = case d.approved when true then 'approved'
                        when false then 'rejected' else 'pending' end)
                 order by a.order_uid collate "C" limit $4"#;
    let state = state.map(|state| match state {
        ApprovalState::Pending => "pending",
        ApprovalState::Approved => "approved",
        ApprovalState::Rejected => "rejected",
    });
    let rows: Vec<Row> =
        sqlx::query_as(sql).bind(tenant_id).bind(after).bind(state).bind(limit).fetch_all(pool).await?;
    let ids: Vec<i64> = rows.iter().filter_map(|row| row.decision_id).collect();
    let sql = "select * from approval_decision where id = any($1)";
    let decisions: Vec<DecisionRow> = sqlx::query_as(sql).bind(ids).fetch_all(pool).await?;
    let mut decisions = decisions
        .into_iter()
        .map(|row| Ok((row.id, ApprovalDecision::try_from(row)?)))
        .collect::<Result<BTreeMap<i64, ApprovalDecision>, Error>>()?;
    rows.into_iter()
        .map(|row| {
            let decision = row.decision_id.and_then(|id| decisions.remove(&id));
            row.with(decision)
        })
        .collect()
}

/// How many orders of a tenant and below it wait, and what they ask together.
///
/// # Errors
/// When the database does not answer.
pub async fn pending(
    connection: &mut PgConnection,
    tenant_id: i64,
    currency: Currency,
) -> Result<Option<Pending>, Error> {
    let sql = "select count(*), coalesce(sum(a.money_minor), 0)::bigint
               from approval_request a join tenant t on t.id = a.tenant_id
               where t.path @> array[$1] and a.decision_id is null";
    let (count, minor): (i64, i64) = sqlx::query_as(sql).bind(tenant_id).fetch_one(connection).await?;
    Ok((count > 0).then_some(Pending { count, monthly_cost: Money { minor, currency } }))
}

/// A decision that somebody wants to take.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'a> {
    /// Approve, up to what is asked or more.
    Approve(&'a ApproveRequest),
    /// Reject, or withdraw what was approved, with words for the record.
    Reject(Option<&'a str>),
}

/// What waits for the approver: found and locked first, so that the caller's right can be decided on it.
#[derive(Debug)]
pub struct Waiting {
    row: Row,
    tenant_id: i64,
}

impl Waiting {
    /// Who ordered.
    pub fn requester(&self) -> Option<&str> {
        self.row.requester.as_deref()
    }

    /// The tenant whose approver decides.
    pub fn needed(&self) -> &ApprovalNeeded {
        &self.row.needed.0
    }
}

/// What an order of `tenant` or below it asks, locked until the transaction ends.
///
/// # Errors
/// Not found when it asked nothing that needs an approval.
pub async fn lock(tx: &mut PgConnection, tenant: &Tenant, uid: &OrderUid) -> Result<Waiting, Error> {
    // The same order of locks as whoever reserves: the order first.
    orders::lock(tx, uid).await?;
    let sql = "select a.*, t.name as tenant, o.kind, o.namespace, o.name, d.approved
               from approval_request a
               join tenant t on t.id = a.tenant_id join orders o on o.uid = a.order_uid
               left join approval_decision d on d.id = a.decision_id
               where a.order_uid = $1 and t.path @> array[$2]";
    let row: Option<Row> =
        sqlx::query_as(sql).bind(uid.as_str()).bind(tenant.id).fetch_optional(&mut *tx).await?;
    let row = row.ok_or_else(Error::not_found)?;
    let tenant_id = sqlx::query_scalar("select tenant_id from orders where uid = $1")
        .bind(uid.as_str())
        .fetch_one(tx)
        .await?;
    Ok(Waiting { row, tenant_id })
}

/// Puts a decision on record. The same decision once more changes nothing.
///
/// # Errors
/// `conflict` when less would be approved than is asked, or nobody is stamped as the requester.
pub async fn decide(
    tx: &mut PgConnection,
    waiting: Waiting,
    by: &str,
    verdict: Verdict<'_>,
) -> Result<Approval, Error> {
    let Waiting { row, tenant_id } = waiting;
    let asked = row.asked()?;
    let up_to = up_to(&asked, verdict)?;
    let (approved, comment) = match verdict {
        Verdict::Approve(request) => (true, request.comment.as_deref()),
        Verdict::Reject(comment) => (false, comment),
    };
    let known = latest(tx, &[&row.order_uid]).await?.into_values().next();
    let repeated = row.decision_id.is_some()
        && known.as_ref().is_some_and(|k| k.approved == approved && (!approved || k.up_to.covers(&up_to)));
    if let Some(known) = known.filter(|_| repeated) {
        return row.with(Some(known));
    }
    let requester = row.requester.clone().ok_or_else(|| {
        Error::refuse(
            code::CONFLICT,
            "nobody is stamped as the requester of this order; have it ordered anew",
        )
    })?;
    // As for alerts: ids in the order of the commits.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('siyada approvals', 0))")
        .execute(&mut *tx)
        .await?;
    let sql =
        "insert into approval_decision (order_uid, tenant_id, requester, decided_by, decided_ms, approved,
                   currency, instances, cpu_milli, memory_bytes, storage_bytes, money_minor, comment)
               values ($1, $2, $3, $4, ledger_now_ms(), $5, $6, $7, $8, $9, $10, $11, $12) returning *";
    let decision: DecisionRow = sqlx::query_as(sql)
        .bind(&row.order_uid)
        .bind(tenant_id)
        .bind(requester)
        .bind(by)
        .bind(approved)
        .bind(asked.monthly_cost.currency.as_str())
        .bind(asked.resources.instances)
        .bind(asked.resources.cpu_milli)
        .bind(asked.resources.memory_bytes)
        .bind(asked.resources.storage_bytes)
        .bind(up_to.monthly_cost.minor)
        .bind(comment)
        .fetch_one(&mut *tx)
        .await?;
    sqlx::query("update approval_request set decision_id = $2 where order_uid = $1")
        .bind(&row.order_uid)
        .bind(decision.id)
        .execute(&mut *tx)
        .await?;
    let detail = json!({"requester": row.requester, "upTo": up_to, "comment": decision.comment});
    let action = if approved { "approval.approve" } else { "approval.reject" };
    let object = format!("order/{}", row.order_uid);
    audit::record(tx, Act { actor: by, action, tenant_id: Some(tenant_id), object, detail }).await?;
    Row { approved: Some(approved), decision_id: Some(decision.id), ..row }.with(Some(decision.try_into()?))
}

/// What a decision is about: what is asked, with as much money as the approver says.
fn up_to(asked: &Commitment, verdict: Verdict<'_>) -> Result<Commitment, Error> {
    let Verdict::Approve(ApproveRequest { up_to: Some(money), .. }) = verdict else { return Ok(*asked) };
    let cost = asked.monthly_cost;
    if money.currency != cost.currency || money.minor < cost.minor {
        return Err(Error::refuse(
            code::CONFLICT,
            format!("the order asks {cost}/month now; approve at least that in its currency, or reject it"),
        ));
    }
    Ok(Commitment { monthly_cost: *money, ..*asked })
}

//! Tenants: the tree, its quotas' limits, and who may do what.

use super::audit::{self, Act};
use super::quota::{self, Amounts, Shift};
use super::{alerts, approvals, id, prices, reservations};
use crate::error::Error;
use serde_json::{Value, json};
use siyada_model::id::TenantName;
use siyada_model::money::Currency;
use siyada_model::quota::Quota;
use siyada_model::resources::Resources;
use siyada_model::wire::{
    Access, DisplayName, HeldOrder, MOST_ALERT_RULES, MOST_LARGEST, Pending, Role, TenantRecord,
    TenantSummary, code,
};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;

/// Most tenants from the root to a leaf.
pub const DEEPEST: usize = 8;
/// Most objects named in a refusal.
const MOST_NAMED: i64 = 20;
/// Most rows of `whoami`.
const MOST_ROLES: i64 = 100;

/// A tenant on record.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its key.
    pub id: i64,
    /// Its name.
    pub name: TenantName,
    /// Keys from the root to itself.
    pub path: Vec<i64>,
    /// What was pushed.
    pub record: TenantRecord,
}

/// A tenant of a chain, and what matters of it for those below.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its name.
    pub name: TenantName,
    /// Takes no new orders.
    pub suspended: bool,
    /// Who may do what.
    pub access: Vec<Access>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    name: String,
    path: Vec<i64>,
    record: Json<TenantRecord>,
}

impl TryFrom<Row> for Tenant {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self { id: row.id, name: id(row.name)?, path: row.path, record: row.record.0 })
    }
}

/// The tenant of that name.
///
/// # Errors
/// When the database does not answer.
pub async fn find(pool: &PgPool, name: &TenantName) -> Result<Option<Tenant>, Error> {
    let sql = "select id, name, path, record from tenant where name = $1 and deleted_ms is null";
    let row: Option<Row> = sqlx::query_as(sql).bind(name.as_str()).fetch_optional(pool).await?;
    row.map(TryInto::try_into).transpose()
}

/// Those of these tenants that there are. They cannot move, be suspended or go until the transaction ends.
///
/// # Errors
/// When the database does not answer.
pub async fn hold_all_still(connection: &mut PgConnection, names: &[&str]) -> Result<Vec<Tenant>, Error> {
    let sql = "select id, name, path, record from tenant where name = any($1) and deleted_ms is null
               order by id for share";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(names).fetch_all(connection).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// The names of the tenants of these orders, as far as they hold something.
///
/// # Errors
/// When the database does not answer.
pub async fn of_reservations(connection: &mut PgConnection, uids: &[&str]) -> Result<Vec<String>, Error> {
    let sql = "select distinct t.name from reservation r join tenant t on t.id = r.tenant_id
               where r.order_uid = any($1)";
    Ok(sqlx::query_scalar(sql).bind(uids).fetch_all(connection).await?)
}

/// The chain of tenants with these keys, from the nearest to the root.
///
/// # Errors
/// When the database does not answer.
pub async fn chain(connection: &mut PgConnection, path: &[i64]) -> Result<Vec<Link>, Error> {
    let sql = "select name, suspended, record -> 'access' from tenant
               where id = any($1) order by array_position($1, id) desc";
    let rows: Vec<(String, bool, Json<Vec<Access>>)> =
        sqlx::query_as(sql).bind(path).fetch_all(connection).await?;
    rows.into_iter()
        .map(|(name, suspended, access)| Ok(Link { name: id(name)?, suspended, access: access.0 }))
        .collect()
}

/// The roles that any of `names` (a subject and its groups) has, tenant by tenant.
///
/// # Errors
/// When the database does not answer.
pub async fn roles_of(pool: &PgPool, names: &[String]) -> Result<Vec<(TenantName, Role)>, Error> {
    let sql = "select t.name, a.value -> 'role'
               from tenant t, jsonb_array_elements(t.record -> 'access') a
               where t.deleted_ms is null and a.value -> 'groups' ?| $1
               order by 1, 2 limit $2";
    let rows: Vec<(String, Json<Role>)> =
        sqlx::query_as(sql).bind(names).bind(MOST_ROLES).fetch_all(pool).await?;
    rows.into_iter().map(|(name, role)| Ok((id(name)?, role.0))).collect()
}

/// Stores a tenant as the cluster knows it.
///
/// # Errors
/// `stale` for an older generation, `tenant-unknown` for an unknown parent, `invalid` for a cycle, a tree that is too
/// deep or a wrong quota, `quota-exceeded` when what it holds does not fit below another parent.
pub async fn put(
    pool: &PgPool,
    name: &TenantName,
    record: &TenantRecord,
    actor: &str,
) -> Result<TenantRecord, Error> {
    check_quota(&record.quota)?;
    check_rules(record)?;
    let mut tx = pool.begin().await?;
    lock_tree(&mut tx).await?;
    if let Some(currency) = prices::currency(&mut tx).await? {
        for (what, money) in
            [("monthlyCost", record.quota.monthly_cost), ("approvalAbove", record.approval_above)]
        {
            money.map_or(Ok(()), |money| same_currency(name, what, money.currency, currency))?;
        }
    }
    let parent = match &record.parent {
        Some(parent) => {
            Some(lock_one(&mut tx, parent).await?.ok_or_else(|| Error::tenant_unknown(parent.as_str()))?)
        }
        None => None,
    };
    let known = lock_one(&mut tx, name).await?;
    let before = known.as_ref().map(|known| audited(&known.record));
    let id = match known {
        Some(known) => {
            let same_object = known.record.uid == record.uid;
            if same_object && known.record.generation > record.generation {
                let of = known.record.generation;
                return Err(Error::refuse(
                    code::STALE,
                    format!("generation {of} of tenant {name} is on record; read the tenant again"),
                ));
            }
            if known.record == *record {
                return Ok(known.record);
            }
            update(&mut tx, &known, parent.as_ref(), record).await?;
            known.id
        }
        None => insert(&mut tx, name, parent.as_ref(), record).await?,
    };
    let after = audited(record);
    if before.as_ref() != Some(&after) {
        let detail = json!({"before": before, "after": after});
        audit::record(&mut tx, act(actor, "tenant.put", (name, id), detail)).await?;
    }
    tx.commit().await?;
    Ok(record.clone())
}

fn act<'a>(actor: &'a str, action: &'static str, (name, id): (&TenantName, i64), detail: Value) -> Act<'a> {
    Act { actor, action, tenant_id: Some(id), object: format!("tenant/{name}"), detail }
}

/// What is told of a tenant when it changes: where it stands, what it may hold, and who may do what in it.
fn audited(record: &TenantRecord) -> Value {
    json!({
        "parent": record.parent, "access": record.access, "quota": record.quota, "suspended": record.suspended,
        "billing": record.billing, "dataClassification": record.data_classification,
        "softLimitPercent": record.soft_limit_percent, "approvalAbove": record.approval_above
    })
}

fn check_quota(quota: &Quota) -> Result<(), Error> {
    let money = quota.monthly_cost.map(|m| m.minor);
    let limits = [quota.instances, quota.cpu_milli, quota.memory_bytes, quota.storage_bytes, money];
    if limits.into_iter().flatten().any(i64::is_negative) {
        return Err(Error::invalid("a limit of a quota cannot be negative"));
    }
    Ok(())
}

/// Refuses thresholds that mean nothing.
fn check_rules(record: &TenantRecord) -> Result<(), Error> {
    let percent = |p: &u8| (1..=200).contains(p);
    let rules = &record.alerts;
    if rules.percent.len() > MOST_ALERT_RULES || !rules.percent.iter().all(percent) {
        return Err(Error::invalid(format!(
            "alerts has at most {MOST_ALERT_RULES} thresholds, each 1 to 200 percent"
        )));
    }
    if rules.targets.len() > MOST_ALERT_RULES || rules.targets.iter().any(|t| t.is_empty() || t.len() > 63) {
        return Err(Error::invalid(format!(
            "alerts has at most {MOST_ALERT_RULES} targets, each a name of 1 to 63 characters"
        )));
    }
    if record.soft_limit_percent.is_some_and(|p| !(1..=100).contains(&p)) {
        return Err(Error::invalid("softLimitPercent is 1 to 100"));
    }
    if record.approval_above.is_some_and(|money| money.minor < 0) {
        return Err(Error::invalid("approvalAbove cannot be negative"));
    }
    Ok(())
}

fn same_currency(name: &TenantName, what: &str, given: Currency, prices: Currency) -> Result<(), Error> {
    if given == prices {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{what} of tenant {name} is in {given}, but prices are in {prices}; give it in {prices}"
    )))
}

/// Writers of the tree take turns; there are few, and orders never wait for this lock.
async fn lock_tree(connection: &mut PgConnection) -> Result<(), Error> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('siyada tenant tree', 0))")
        .execute(connection)
        .await?;
    Ok(())
}

async fn lock_one(connection: &mut PgConnection, name: &TenantName) -> Result<Option<Tenant>, Error> {
    let sql = "select id, name, path, record from tenant where name = $1 and deleted_ms is null";
    let row: Option<Row> = sqlx::query_as(sql).bind(name.as_str()).fetch_optional(connection).await?;
    row.map(TryInto::try_into).transpose()
}

async fn insert(
    tx: &mut PgConnection,
    name: &TenantName,
    parent: Option<&Tenant>,
    record: &TenantRecord,
) -> Result<i64, Error> {
    let id: i64 = sqlx::query_scalar("select nextval(pg_get_serial_sequence('tenant', 'id'))")
        .fetch_one(&mut *tx)
        .await?;
    let path = path_below(parent, id)?;
    let sql = "insert into tenant (id, name, uid, generation, parent_id, path, suspended, record)
               overriding system value values ($1, $2, $3, $4, $5, $6, $7, $8)";
    sqlx::query(sql)
        .bind(id)
        .bind(name.as_str())
        .bind(&record.uid)
        .bind(record.generation)
        .bind(parent.map(|p| p.id))
        .bind(&path)
        .bind(record.suspended)
        .bind(Json(record))
        .execute(&mut *tx)
        .await?;
    sqlx::query("insert into tenant_quota (tenant_id) values ($1)").bind(id).execute(&mut *tx).await?;
    set_limits(tx, id, &record.quota).await?;
    Ok(id)
}

async fn update(
    tx: &mut PgConnection,
    known: &Tenant,
    parent: Option<&Tenant>,
    record: &TenantRecord,
) -> Result<(), Error> {
    let (name, id) = (&known.name, known.id);
    if parent.is_some_and(|p| p.path.contains(&id)) {
        return Err(Error::invalid(format!(
            "tenant {name} cannot be below itself; choose a parent outside of it"
        )));
    }
    let path = path_below(parent, id)?;
    lock_subtree(tx, id).await?;
    let before = quota::lock(tx, &[id]).await?;
    if path != known.path {
        move_subtree(tx, known, &path).await?;
    }
    let sql =
        "update tenant set uid = $2, generation = $3, parent_id = $4, path = $5, suspended = $6, record = $7
               where id = $1";
    sqlx::query(sql)
        .bind(id)
        .bind(&record.uid)
        .bind(record.generation)
        .bind(parent.map(|p| p.id))
        .bind(&path)
        .bind(record.suspended)
        .bind(Json(record))
        .execute(&mut *tx)
        .await?;
    set_limits(tx, id, &record.quota).await?;
    // A limit that was lowered, or a threshold that is new, is crossed without a growth.
    let after = quota::read(tx, &[id]).await?;
    let crossed: Vec<_> = before.iter().zip(&after).flat_map(|(b, a)| b.became(a)).collect();
    alerts::record(tx, &crossed).await
}

/// Orders of the subtree that are being decided are waited for, and no new one begins.
async fn lock_subtree(tx: &mut PgConnection, id: i64) -> Result<(), Error> {
    sqlx::query("select id from tenant where path @> array[$1] order by id for no key update")
        .bind(id)
        .execute(tx)
        .await?;
    Ok(())
}

/// Takes what `known` holds from its old ancestors and adds it to the new ones, and carries its descendants along.
async fn move_subtree(tx: &mut PgConnection, known: &Tenant, path: &[i64]) -> Result<(), Error> {
    let held = quota::held(tx, known.id).await?;
    let mut shifts: BTreeMap<i64, Shift> = BTreeMap::new();
    let above = |path: &[i64]| path.iter().copied().filter(|id| *id != known.id).collect::<Vec<_>>();
    for (ids, amounts) in [(above(&known.path), held.negated()?), (above(path), held)] {
        for id in ids {
            shifts.entry(id).or_default().add(&amounts)?;
        }
    }
    quota::shift(tx, &shifts, path).await?;
    // Descendants get the new beginning and keep their own end.
    let sql = "update tenant set path = $2 || path[$3 + 1:] where path @> array[$1] and id <> $1";
    let depth = i32::try_from(known.path.len()).unwrap_or(i32::MAX);
    sqlx::query(sql).bind(known.id).bind(path).bind(depth).execute(tx).await?;
    Ok(())
}

fn path_below(parent: Option<&Tenant>, id: i64) -> Result<Vec<i64>, Error> {
    let mut path = parent.map(|p| p.path.clone()).unwrap_or_default();
    path.push(id);
    if path.len() > DEEPEST {
        return Err(Error::invalid(format!(
            "tenants nest at most {DEEPEST} deep; choose a parent nearer to the root"
        )));
    }
    Ok(path)
}

async fn set_limits(tx: &mut PgConnection, id: i64, quota: &Quota) -> Result<(), Error> {
    let sql = "update tenant_quota set limit_instances = $2, limit_cpu_milli = $3, limit_memory_bytes = $4,
               limit_storage_bytes = $5, limit_money_minor = $6, limit_currency = $7 where tenant_id = $1";
    sqlx::query(sql)
        .bind(id)
        .bind(quota.instances)
        .bind(quota.cpu_milli)
        .bind(quota.memory_bytes)
        .bind(quota.storage_bytes)
        .bind(quota.monthly_cost.map(|m| m.minor))
        .bind(quota.monthly_cost.map(|m| m.currency.as_str()))
        .execute(tx)
        .await?;
    Ok(())
}

/// Removes a tenant; its past usage stays. Once more is no error.
///
/// # Errors
/// `in-use` with what still depends on it.
pub async fn delete(pool: &PgPool, name: &TenantName, actor: &str) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    lock_tree(&mut tx).await?;
    let Some(tenant) = lock_one(&mut tx, name).await? else { return Ok(()) };
    lock_subtree(&mut tx, tenant.id).await?;
    let dependants = dependants(&mut tx, tenant.id).await?;
    if !dependants.is_empty() {
        let shown = dependants.join(", ");
        return Err(Error::refuse(
            code::IN_USE,
            format!("tenant {name} still has {shown}; delete these first"),
        ));
    }
    sqlx::query("delete from tenant_quota where tenant_id = $1").bind(tenant.id).execute(&mut *tx).await?;
    sqlx::query("update tenant set deleted_ms = ledger_now_ms() where id = $1")
        .bind(tenant.id)
        .execute(&mut *tx)
        .await?;
    let detail = json!({"before": audited(&tenant.record)});
    audit::record(&mut tx, act(actor, "tenant.delete", (name, tenant.id), detail)).await?;
    tx.commit().await?;
    Ok(())
}

async fn dependants(tx: &mut PgConnection, id: i64) -> Result<Vec<String>, Error> {
    let sql = "(select 'tenant ' || name from tenant where parent_id = $1 and deleted_ms is null
                order by name limit $2)
               union all
               (select o.kind || ' ' || o.namespace || '/' || o.name
                from reservation r join orders o on o.uid = r.order_uid
                where r.tenant_id = $1 order by o.namespace, o.name limit $2)";
    let mut named: Vec<String> = sqlx::query_scalar(sql).bind(id).bind(MOST_NAMED).fetch_all(tx).await?;
    named.truncate(usize::try_from(MOST_NAMED).unwrap_or(0));
    Ok(named)
}

/// What a tenant and everything below it holds and asks.
#[derive(Debug)]
pub struct Holdings {
    /// The sums.
    pub held: Amounts,
    /// What of them is billed now.
    pub used: Amounts,
    /// Count of reservations.
    pub reservations: i64,
    /// The largest of them.
    pub largest: Vec<HeldOrder>,
    /// What waits for an approval.
    pub pending: Option<Pending>,
}

/// What a tenant and everything below it holds and asks, in the ledger's currency.
///
/// # Errors
/// When the database does not answer.
pub async fn holdings(pool: &PgPool, tenant: &Tenant, currency: Currency) -> Result<Holdings, Error> {
    let mut connection = pool.acquire().await?;
    let held = quota::held(&mut connection, tenant.id).await?;
    let (reservations, used) = used(&mut connection, tenant.id).await?;
    let most = i64::try_from(MOST_LARGEST).unwrap_or(i64::MAX);
    let largest = reservations::largest(&mut connection, tenant.id, most).await?;
    let pending = approvals::pending(&mut connection, tenant.id, currency).await?;
    Ok(Holdings { held, used, reservations, largest, pending })
}

/// Count of the reservations of a tenant and everything below it, and the sum of what of them is billed now: CPU and memory
/// where compute runs, storage where there are volumes, instances and their money where there is either.
async fn used(connection: &mut PgConnection, tenant_id: i64) -> Result<(i64, Amounts), Error> {
    let sql = "with held as (
                   select r.*, coalesce(compute.open, false) as runs, coalesce(storage.open, false) as stores
                   from reservation r
                   left join lateral (
                       select c.sku is not null as open from usage_change c
                       where c.order_uid = r.order_uid and c.meter = 'compute' order by c.at_ms desc limit 1
                   ) compute on true
                   left join lateral (
                       select c.sku is not null as open from usage_change c
                       where c.order_uid = r.order_uid and c.meter = 'storage' order by c.at_ms desc limit 1
                   ) storage on true
                   where r.tenant_id in (select id from tenant where path @> array[$1])
               )
               select count(*),
                      coalesce(sum(instances) filter (where runs or stores), 0)::bigint,
                      coalesce(sum(cpu_milli) filter (where runs), 0)::bigint,
                      coalesce(sum(memory_bytes) filter (where runs), 0)::bigint,
                      coalesce(sum(storage_bytes) filter (where stores), 0)::bigint,
                      coalesce(sum(money_minor) filter (where runs or stores), 0)::bigint
               from held";
    let (count, instances, cpu_milli, memory_bytes, storage_bytes, money_minor) =
        sqlx::query_as(sql).bind(tenant_id).fetch_one(connection).await?;
    let resources = Resources { instances, cpu_milli, memory_bytes, storage_bytes };
    Ok((count, Amounts { resources, money_minor }))
}

#[derive(sqlx::FromRow)]
struct SummaryRow {
    name: String,
    parent: Option<String>,
    display_name: Json<DisplayName>,
    suspended: bool,
}

/// Whose tenants are listed.
#[derive(Clone, Copy, Debug)]
pub enum Sight<'a> {
    /// Every tenant.
    All,
    /// Those in which one of these names (a subject and its groups) has a role, or above which.
    Of(&'a [String]),
}

/// Tenants after `after`, by name, that `sight` allows.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    connection: &mut PgConnection,
    sight: Sight<'_>,
    after: &str,
    limit: i64,
) -> Result<Vec<TenantSummary>, Error> {
    let sql = r#"with seen as (
                     select t.id from tenant t
                     where t.deleted_ms is null and exists (
                         select 1 from jsonb_array_elements(t.record -> 'access') a where a.value -> 'groups' ?| $1)
                 )
                 select t.name, p.name as parent, coalesce(t.record -> 'displayName', '{}') as display_name, t.suspended
                 from tenant t left join tenant p on p.id = t.parent_id
                 where t.deleted_ms is null and t.name collate "C" > $2
                   and ($1::text[] is null or t.path && (select array_agg(id) from seen))
                 order by t.name collate "C" limit $3"#;
    let names = match sight {
        Sight::All => None,
        Sight::Of(names) => Some(names),
    };
    let rows: Vec<SummaryRow> =
        sqlx::query_as(sql).bind(names).bind(after).bind(limit).fetch_all(connection).await?;
    rows.into_iter()
        .map(|row| {
            Ok(TenantSummary {
                tenant: id(row.name)?,
                parent: row.parent.map(id).transpose()?,
                display_name: row.display_name.0,
                suspended: row.suspended,
            })
        })
        .collect()
}

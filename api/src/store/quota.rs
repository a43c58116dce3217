//! The guarded sums: what every tenant holds, raised and lowered along whole chains in one transaction.

use super::id;
use crate::error::Error;
use siyada_model::money::{Currency, InvalidMoney, Money};
use siyada_model::quota::{Commitment, Quota, fits};
use siyada_model::resources::Resources;
use siyada_model::wire::code;
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// Amounts of each dimension; a difference may be negative. Money is in the ledger's one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// The resources.
    pub resources: Resources,
    /// Minor units of money a month.
    pub money_minor: i64,
}

/// What is added to the sums of one tenant.
pub type Shift = Amounts;

impl Amounts {
    /// The amounts of a commitment.
    pub fn of(commitment: &Commitment) -> Self {
        Self { resources: commitment.resources, money_minor: commitment.monthly_cost.minor }
    }

    /// The commitment in `currency`.
    pub fn in_currency(self, currency: Currency) -> Commitment {
        Commitment { resources: self.resources, monthly_cost: Money { minor: self.money_minor, currency } }
    }

    /// Each amount with the other sign.
    ///
    /// # Errors
    /// Invalid outside of 64 bits.
    pub fn negated(self) -> Result<Self, Error> {
        let resources = self.resources.checked_mul(-1).ok_or(InvalidMoney::TooLarge)?;
        let money_minor = self.money_minor.checked_neg().ok_or(InvalidMoney::TooLarge)?;
        Ok(Self { resources, money_minor })
    }

    /// Adds the other amounts.
    ///
    /// # Errors
    /// Invalid outside of 64 bits.
    pub fn add(&mut self, other: &Self) -> Result<(), Error> {
        self.resources = self.resources.checked_add(other.resources).ok_or(InvalidMoney::TooLarge)?;
        self.money_minor = self.money_minor.checked_add(other.money_minor).ok_or(InvalidMoney::TooLarge)?;
        Ok(())
    }

    /// What must be added to `before` to have these.
    ///
    /// # Errors
    /// Invalid outside of 64 bits.
    pub fn minus(self, before: &Self) -> Result<Self, Error> {
        let mut difference = before.negated()?;
        difference.add(&self)?;
        Ok(difference)
    }

    /// Whether any dimension grows.
    pub fn grows(&self) -> bool {
        let r = &self.resources;
        [r.instances, r.cpu_milli, r.memory_bytes, r.storage_bytes, self.money_minor].iter().any(|d| *d > 0)
    }
}

/// Limits and sums of one tenant.
#[derive(Clone, Debug)]
pub struct QuotaRow {
    /// Key of the tenant.
    pub tenant_id: i64,
    /// Its name.
    pub tenant: siyada_model::id::TenantName,
    /// Its limits.
    pub limit: Quota,
    /// What it and everything below it holds.
    pub held: Amounts,
}

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: i64,
    name: String,
    limit_instances: Option<i64>,
    limit_cpu_milli: Option<i64>,
    limit_memory_bytes: Option<i64>,
    limit_storage_bytes: Option<i64>,
    limit_money_minor: Option<i64>,
    limit_currency: Option<String>,
    held_instances: i64,
    held_cpu_milli: i64,
    held_memory_bytes: i64,
    held_storage_bytes: i64,
    held_money_minor: i64,
}

impl TryFrom<Row> for QuotaRow {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self, Error> {
        let monthly_cost = match (row.limit_money_minor, row.limit_currency) {
            (Some(minor), Some(currency)) => Some(Money { minor, currency: currency.parse()? }),
            _ => None,
        };
        Ok(Self {
            tenant_id: row.tenant_id,
            tenant: id(row.name)?,
            limit: Quota {
                instances: row.limit_instances,
                cpu_milli: row.limit_cpu_milli,
                memory_bytes: row.limit_memory_bytes,
                storage_bytes: row.limit_storage_bytes,
                monthly_cost,
            },
            held: Amounts {
                resources: Resources {
                    instances: row.held_instances,
                    cpu_milli: row.held_cpu_milli,
                    memory_bytes: row.held_memory_bytes,
                    storage_bytes: row.held_storage_bytes,
                },
                money_minor: row.held_money_minor,
            },
        })
    }
}

/// What a tenant and everything below it holds.
///
/// # Errors
/// When the database does not answer.
pub async fn held(connection: &mut PgConnection, tenant_id: i64) -> Result<Amounts, Error> {
    let rows = read(connection, &[tenant_id]).await?;
    Ok(rows.first().map(|row| row.held).unwrap_or_default())
}

/// Limits and sums of these tenants, unlocked: for advice, not for decisions.
///
/// # Errors
/// When the database does not answer.
pub async fn read(connection: &mut PgConnection, ids: &[i64]) -> Result<Vec<QuotaRow>, Error> {
    let sql = "select q.*, t.name from tenant_quota q join tenant t on t.id = q.tenant_id
               where q.tenant_id = any($1) order by q.tenant_id";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(ids).fetch_all(connection).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Limits and sums of these tenants, locked in the order of their keys, so that no two writers wait for each other.
async fn lock(connection: &mut PgConnection, ids: &[i64]) -> Result<Vec<QuotaRow>, Error> {
    let sql = "select q.*, t.name from tenant_quota q join tenant t on t.id = q.tenant_id
               where q.tenant_id = any($1) order by q.tenant_id for no key update of q";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(ids).fetch_all(connection).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Adds `shifts` to the sums of their tenants, all or none. Growth is checked against the limits, nearest tenant of
/// `path` first; shrinking never is.
///
/// # Errors
/// `quota-exceeded` with the shortfall.
pub async fn shift(tx: &mut PgConnection, shifts: &BTreeMap<i64, Shift>, path: &[i64]) -> Result<(), Error> {
    let shifts: Vec<(i64, Shift)> =
        shifts.iter().filter(|(_, s)| **s != Shift::default()).map(|(id, s)| (*id, *s)).collect();
    if shifts.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = shifts.iter().map(|(id, _)| *id).collect();
    let rows = lock(tx, &ids).await?;
    for tenant_id in path.iter().rev() {
        let (Some(row), Some((_, asked))) =
            (rows.iter().find(|r| r.tenant_id == *tenant_id), shifts.iter().find(|(id, _)| id == tenant_id))
        else {
            continue;
        };
        check(row, asked)?;
    }
    if raise(tx, &shifts).await? == u64::try_from(shifts.len()).unwrap_or(u64::MAX) {
        return Ok(());
    }
    Err(Error::Fault("the guarded update and the check of a quota disagree".to_owned()))
}

/// Whether `asked` fits below the limits of one tenant.
///
/// # Errors
/// `quota-exceeded` with the shortfall.
pub fn check(row: &QuotaRow, asked: &Shift) -> Result<(), Error> {
    let currency = row.limit.monthly_cost.map_or(Currency::MAD, |m| m.currency);
    fits(&row.tenant, &row.limit, &row.held.in_currency(currency), &asked.in_currency(currency))
        .map_err(Error::quota_exceeded)
}

/// Refuses a quota in another currency than the prices.
///
/// # Errors
/// `price-unknown`: in the quota's currency there is none.
pub fn same_currency(rows: &[QuotaRow], prices: Currency) -> Result<(), Error> {
    let other = |row: &&QuotaRow| row.limit.monthly_cost.is_some_and(|m| m.currency != prices);
    match rows.iter().find(other) {
        None => Ok(()),
        Some(row) => Err(Error::refuse(
            code::PRICE_UNKNOWN,
            format!(
                "the quota of tenant {} is not in {prices}, the currency of the prices; give its monthlyCost in {prices}",
                row.tenant
            ),
        )),
    }
}

/// The rule itself: no sum rises above its limit, and none at all unless all do.
async fn raise(tx: &mut PgConnection, shifts: &[(i64, Shift)]) -> Result<u64, Error> {
    let sql = "update tenant_quota q set
                   held_instances = held_instances + d.instances,
                   held_cpu_milli = held_cpu_milli + d.cpu_milli,
                   held_memory_bytes = held_memory_bytes + d.memory_bytes,
                   held_storage_bytes = held_storage_bytes + d.storage_bytes,
                   held_money_minor = held_money_minor + d.money_minor
               from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
                    as d (tenant_id, instances, cpu_milli, memory_bytes, storage_bytes, money_minor)
               where q.tenant_id = d.tenant_id
                 and (d.instances <= 0 or limit_instances is null or held_instances + d.instances <= limit_instances)
                 and (d.cpu_milli <= 0 or limit_cpu_milli is null or held_cpu_milli + d.cpu_milli <= limit_cpu_milli)
                 and (d.memory_bytes <= 0 or limit_memory_bytes is null
                      or held_memory_bytes + d.memory_bytes <= limit_memory_bytes)
                 and (d.storage_bytes <= 0 or limit_storage_bytes is null
                      or held_storage_bytes + d.storage_bytes <= limit_storage_bytes)
                 and (d.money_minor <= 0 or limit_money_minor is null
                      or held_money_minor + d.money_minor <= limit_money_minor)";
    let column = |value: fn(&Shift) -> i64| shifts.iter().map(|(_, s)| value(s)).collect::<Vec<_>>();
    let done = sqlx::query(sql)
        .bind(shifts.iter().map(|(id, _)| *id).collect::<Vec<_>>())
        .bind(column(|s| s.resources.instances))
        .bind(column(|s| s.resources.cpu_milli))
        .bind(column(|s| s.resources.memory_bytes))
        .bind(column(|s| s.resources.storage_bytes))
        .bind(column(|s| s.money_minor))
        .execute(tx)
        .await?;
    Ok(done.rows_affected())
}

//! The guarded sums: what every tenant holds, raised and lowered along whole chains in one transaction.

use super::alerts::{self, NewAlert};
use super::id;
use crate::error::Error;
use crate::fail::point;
use siyada_model::money::{Currency, InvalidMoney, Money};
use siyada_model::quota::{Commitment, Dimension, Quota, Standing, crossings, fits};
use siyada_model::resources::Resources;
use siyada_model::wire::{AlertRules, code};
use sqlx::PgConnection;
use sqlx::types::Json;
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

/// Limits and sums of one tenant, and its rules for growth.
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
    /// Takes no new orders.
    pub suspended: bool,
    /// Costs above wait for an approval.
    pub approval_above: Option<Money>,
    /// Growth to this many percent is worth a warning.
    pub soft_limit_percent: Option<u8>,
    /// Whom to tell at which thresholds.
    pub alerts: AlertRules,
}

impl QuotaRow {
    /// Adds to the sums, and says what that crossed.
    ///
    /// # Errors
    /// Invalid outside of 64 bits.
    pub fn add(&mut self, shift: &Shift) -> Result<Vec<NewAlert>, Error> {
        let before = self.clone();
        self.held.add(shift)?;
        Ok(before.became(self))
    }

    /// What was crossed from this to `after`.
    pub fn became(&self, after: &Self) -> Vec<NewAlert> {
        let currency = after.currency();
        let (held, now) = (self.held.in_currency(currency), after.held.in_currency(currency));
        let before = Standing { percent: &self.alerts.percent, limit: &self.limit, held: &held };
        let standing = Standing { percent: &after.alerts.percent, limit: &after.limit, held: &now };
        let made = |crossing: siyada_model::quota::Crossing| NewAlert {
            tenant_id: after.tenant_id,
            currency: (crossing.dimension == Dimension::MonthlyCost).then_some(currency),
            targets: after.alerts.targets.clone(),
            crossing,
        };
        crossings(before, standing).into_iter().map(made).collect()
    }

    /// The currency of its limit; without one it matters to nobody.
    fn currency(&self) -> Currency {
        self.limit.monthly_cost.map_or(Currency::MAD, |m| m.currency)
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: i64,
    name: String,
    suspended: bool,
    approval_above: Option<Json<Money>>,
    soft_limit_percent: Option<i16>,
    alerts: Option<Json<AlertRules>>,
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
            suspended: row.suspended,
            approval_above: row.approval_above.map(|json| json.0),
            soft_limit_percent: row.soft_limit_percent.and_then(|p| u8::try_from(p).ok()),
            alerts: row.alerts.map(|json| json.0).unwrap_or_default(),
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
    let sql = "select q.*, t.name, t.suspended, t.record -> 'approvalAbove' as approval_above,
                      (t.record ->> 'softLimitPercent')::smallint as soft_limit_percent,
                      t.record -> 'alerts' as alerts
               from tenant_quota q join tenant t on t.id = q.tenant_id
               where q.tenant_id = any($1) order by q.tenant_id";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(ids).fetch_all(connection).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Limits and sums of these tenants, locked in the order of their keys, so that no two writers wait for each other.
///
/// # Errors
/// When the database does not answer.
pub async fn lock(connection: &mut PgConnection, ids: &[i64]) -> Result<Vec<QuotaRow>, Error> {
    let sql = "select q.*, t.name, t.suspended, t.record -> 'approvalAbove' as approval_above,
                      (t.record ->> 'softLimitPercent')::smallint as soft_limit_percent,
                      t.record -> 'alerts' as alerts
               from tenant_quota q join tenant t on t.id = q.tenant_id
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
    let rows = lock(tx, &shifts.keys().copied().collect::<Vec<_>>()).await?;
    for tenant_id in path.iter().rev() {
        let row = rows.iter().find(|r| r.tenant_id == *tenant_id);
        if let (Some(row), Some(asked)) = (row, shifts.get(tenant_id)) {
            check(row, asked)?;
        }
    }
    let mut crossed = Vec::new();
    for mut row in rows {
        if let Some(shift) = shifts.get(&row.tenant_id) {
            crossed.extend(row.add(shift)?);
        }
    }
    raise(tx, shifts).await?;
    alerts::record(tx, &crossed).await
}

/// Whether `asked` fits below the limits of one tenant.
///
/// # Errors
/// `quota-exceeded` with the shortfall.
pub fn check(row: &QuotaRow, asked: &Shift) -> Result<(), Error> {
    let currency = row.currency();
    fits(&row.tenant, &row.limit, &row.held.in_currency(currency), &asked.in_currency(currency))
        .map_err(Error::quota_exceeded)
}

/// Refuses a quota in another currency than the prices.
///
/// # Errors
/// `price-unknown`: in the quota's currency there is none.
pub fn same_currency<'a>(
    rows: impl IntoIterator<Item = &'a QuotaRow>,
    prices: Currency,
) -> Result<(), Error> {
    let other = |row: &&QuotaRow| row.limit.monthly_cost.is_some_and(|m| m.currency != prices);
    match rows.into_iter().find(other) {
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
///
/// # Errors
/// A fault when the rule refuses what was checked under the same locks: nothing is written then.
pub async fn raise(tx: &mut PgConnection, shifts: &BTreeMap<i64, Shift>) -> Result<(), Error> {
    let shifts: Vec<(i64, Shift)> =
        shifts.iter().filter(|(_, s)| **s != Shift::default()).map(|(id, s)| (*id, *s)).collect();
    if shifts.is_empty() {
        return Ok(());
    }
    point("raise-sums");
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
    if done.rows_affected() == u64::try_from(shifts.len()).unwrap_or(u64::MAX) {
        return Ok(());
    }
    Err(Error::Fault("the guarded update and the check of a quota disagree".to_owned()))
}

/// Adds money to sums whatever the limits: prices changed, and what is held is held. Only growth is blocked by it.
///
/// # Errors
/// When the database does not answer.
pub async fn revalue(tx: &mut PgConnection, shifts: &BTreeMap<i64, Shift>) -> Result<(), Error> {
    let mut crossed = Vec::new();
    for mut row in lock(tx, &shifts.keys().copied().collect::<Vec<_>>()).await? {
        if let Some(shift) = shifts.get(&row.tenant_id) {
            crossed.extend(row.add(shift)?);
        }
    }
    point("raise-sums");
    let sql = "update tenant_quota q set held_money_minor = held_money_minor + d.money_minor
               from unnest($1::bigint[], $2::bigint[]) as d (tenant_id, money_minor)
               where q.tenant_id = d.tenant_id";
    sqlx::query(sql)
        .bind(shifts.keys().copied().collect::<Vec<_>>())
        .bind(shifts.values().map(|s| s.money_minor).collect::<Vec<_>>())
        .execute(&mut *tx)
        .await?;
    alerts::record(tx, &crossed).await
}

//! Budget lines: versions that are only added, and how far the credits went, always computed from what is on record.

use super::audit::{self, Act};
use super::tenants::Tenant;
use super::{ledger, prices, timestamp};
use crate::error::Error;
use jiff::tz::TimeZone;
use serde_json::json;
use siyada_model::budget::{
    Amounts, BudgetLine, BudgetLineRecord, BudgetLineVersion, LineName, months_left, post_credits,
};
use siyada_model::period::Month;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;

/// Most versions in one answer.
const MOST_VERSIONS: i64 = 500;

/// A fiscal year, and the month in which fiscal years begin.
#[derive(Clone, Copy, Debug)]
pub struct FiscalYear {
    /// The year in which it begins.
    pub year: i16,
    /// The month, 1 to 12.
    pub start: i8,
}

impl FiscalYear {
    /// Its first month and the first month after it, as texts.
    pub fn borders(self) -> (String, String) {
        let text = |year: i16| format!("{year:04}-{:02}", self.start);
        (text(self.year), text(self.year.saturating_add(1)))
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    line: String,
    version: i32,
    record: Json<BudgetLineRecord>,
    decided_by: String,
    decided_ms: i64,
}

impl Row {
    fn read(self) -> Result<(LineName, BudgetLineVersion), Error> {
        let line = LineName::try_from(self.line).map_err(|cause| Error::Fault(cause.to_string()))?;
        let at = timestamp(self.decided_ms)?;
        Ok((
            line,
            BudgetLineVersion { version: self.version, record: self.record.0, by: self.decided_by, at },
        ))
    }
}

/// Puts a version of a budget line on record, posts the difference in credits, and tells the audit trail. What is on
/// record already changes nothing.
///
/// # Errors
/// `invalid` for another currency than the prices.
pub async fn put(
    pool: &PgPool,
    tenant: &Tenant,
    line: &LineName,
    record: &BudgetLineRecord,
    by: &str,
) -> Result<BudgetLineVersion, Error> {
    record.check().map_err(|cause| Error::invalid(cause.to_string()))?;
    let mut tx = pool.begin().await?;
    // Whoever writes credits posts them: they take turns from here on.
    ledger::lock(&mut tx).await?;
    if let Some(currency) = prices::currency(&mut tx).await?.filter(|c| *c != record.opened.currency) {
        let given = record.opened.currency;
        return Err(Error::invalid(format!(
            "credits of budget line {line} are in {given}, but prices are in {currency}; give them in {currency}"
        )));
    }
    let before = history(&mut tx, tenant.id, record.fiscal_year, line).await?.pop();
    if let Some(known) = before.as_ref().filter(|known| known.record == *record) {
        return Ok(known.clone());
    }
    let version = before.as_ref().map_or(0, |known| known.version).saturating_add(1);
    let sql = "insert into budget_line_version (tenant_id, fiscal_year, line, version, record, currency, opened_minor,
                   carried_minor, decided_by, decided_ms)
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, ledger_now_ms()) returning decided_ms";
    let decided_ms: i64 = sqlx::query_scalar(sql)
        .bind(tenant.id)
        .bind(i32::from(record.fiscal_year))
        .bind(line.as_str())
        .bind(version)
        .bind(Json(record))
        .bind(record.opened.currency.as_str())
        .bind(record.opened.minor)
        .bind(record.carried().minor)
        .bind(by)
        .fetch_one(&mut *tx)
        .await?;
    let new =
        BudgetLineVersion { version, record: record.clone(), by: by.to_owned(), at: timestamp(decided_ms)? };
    let before = before.map(|known| known.record);
    let date = new.at.to_zoned(TimeZone::UTC).date();
    let posted = post_credits((&tenant.name, line), before.as_ref(), &new, (tenant.id, date))?;
    ledger::post(&mut tx, &[posted]).await?;
    let act = Act {
        actor: by,
        action: "budgetLine.put",
        tenant_id: Some(tenant.id),
        object: format!("budgetLine/{}/{line}", record.fiscal_year),
        detail: json!({"version": version, "before": before, "after": record}),
    };
    audit::record(&mut tx, act).await?;
    tx.commit().await?;
    Ok(new)
}

/// Every version of a budget line, the oldest first.
///
/// # Errors
/// When the database does not answer.
pub async fn history(
    connection: &mut PgConnection,
    tenant_id: i64,
    fiscal_year: i16,
    line: &LineName,
) -> Result<Vec<BudgetLineVersion>, Error> {
    let sql = "select * from (
                   select line, version, record, decided_by, decided_ms from budget_line_version
                   where tenant_id = $1 and fiscal_year = $2 and line = $3 order by version desc limit $4
               ) last order by version";
    let rows: Vec<Row> = sqlx::query_as(sql)
        .bind(tenant_id)
        .bind(i32::from(fiscal_year))
        .bind(line.as_str())
        .bind(MOST_VERSIONS)
        .fetch_all(connection)
        .await?;
    rows.into_iter().map(|row| Ok(row.read()?.1)).collect()
}

/// Which lines are asked.
#[derive(Clone, Copy, Debug)]
pub enum Lines<'a> {
    /// This one.
    Only(&'a LineName),
    /// Those after a name, at most so many.
    After(&'a str, i64),
}

/// Budget lines of a tenant and how far their credits went, by name. To be called in one snapshot.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    connection: &mut PgConnection,
    tenant: &Tenant,
    year: FiscalYear,
    which: Lines<'_>,
) -> Result<Vec<BudgetLine>, Error> {
    let sql = r#"select distinct on (line collate "C") line, version, record, decided_by, decided_ms
                 from budget_line_version
                 where tenant_id = $1 and fiscal_year = $2 and ($3::text is null or line = $3)
                   and line collate "C" > $4
                 order by line collate "C", version desc limit $5"#;
    let (only, after, limit) = match which {
        Lines::Only(line) => (Some(line.as_str()), "", 1),
        Lines::After(after, limit) => (None, after, limit),
    };
    let rows: Vec<Row> = sqlx::query_as(sql)
        .bind(tenant.id)
        .bind(i32::from(year.year))
        .bind(only)
        .bind(after)
        .bind(limit)
        .fetch_all(&mut *connection)
        .await?;
    let lines = rows.into_iter().map(Row::read).collect::<Result<Vec<_>, Error>>()?;
    let names: Vec<&str> = lines.iter().map(|(line, _)| line.as_str()).collect();
    let mut amounts = billed(connection, tenant.id, year, &names).await?;
    add_held(connection, tenant.id, year, &names, &mut amounts).await?;
    lines
        .into_iter()
        .map(|(line, version)| {
            let amounts = amounts.get(line.as_str()).copied().unwrap_or_default();
            Ok(BudgetLine::new((tenant.name.clone(), line), version, &amounts)?)
        })
        .collect()
}

/// What statements of the year book on these lines, by the stage it is at.
async fn billed(
    connection: &mut PgConnection,
    tenant_id: i64,
    year: FiscalYear,
    lines: &[&str],
) -> Result<BTreeMap<String, Amounts>, Error> {
    let sql = "select b.booking, sum(b.gross_minor)::bigint,
                   coalesce(sum(b.gross_minor) filter (where s.stage in ('certified', 'ordered', 'paid')), 0)::bigint,
                   coalesce(sum(b.gross_minor) filter (where s.stage in ('ordered', 'paid')), 0)::bigint,
                   coalesce(sum(b.gross_minor) filter (where s.stage = 'paid'), 0)::bigint
               from statement_booked b
               left join lateral (
                   select stage from settlement
                   where statement_number = b.number and booking = b.booking order by id desc limit 1
               ) s on true
               where b.tenant_id = $1 and b.booking = any($2) and b.month >= $3 and b.month < $4
               group by b.booking";
    let (from, to) = year.borders();
    let rows: Vec<(String, i64, i64, i64, i64)> =
        sqlx::query_as(sql).bind(tenant_id).bind(lines).bind(from).bind(to).fetch_all(connection).await?;
    let amounts = rows.into_iter().map(|(line, billed, certified, ordered, paid)| {
        (line, Amounts { billed, certified, ordered, paid, ..Amounts::default() })
    });
    Ok(amounts.collect())
}

/// Adds what is held on these lines: what it costs at most a month, and in the months of the year that are not billed.
/// A reservation counts for the line of the nearest tenant that has one of that name.
async fn add_held(
    connection: &mut PgConnection,
    tenant_id: i64,
    year: FiscalYear,
    lines: &[&str],
    amounts: &mut BTreeMap<String, Amounts>,
) -> Result<(), Error> {
    let (from, to) = year.borders();
    let sql = "select max(month) from statement_booked where tenant_id = $1 and month >= $2 and month < $3";
    let last: Option<String> =
        sqlx::query_scalar(sql).bind(tenant_id).bind(from).bind(to).fetch_one(&mut *connection).await?;
    let month = |text: String| text.parse::<Month>().map_err(|cause| Error::Fault(cause.to_string()));
    let unbilled = last.map(month).transpose()?.and_then(|month| month.next().ok());
    let sql = "select h.line, h.since, sum(h.money_minor)::bigint from (
                   select coalesce(r.request #>> '{billing,budgetLine}', t.record #>> '{billing,budgetLine}') as line,
                       to_char(to_timestamp(r.held_since_ms / 1000.0) at time zone 'UTC', 'YYYY-MM') as since,
                       r.money_minor, t.path
                   from reservation r join tenant t on t.id = r.tenant_id
                   where t.path @> array[$1]
               ) h
               where h.line = any($2) and not exists (
                   select from budget_line_version v where v.line = h.line and v.fiscal_year = $3
                       and v.tenant_id = any(h.path[array_position(h.path, $1) + 1:])
               )
               group by h.line, h.since";
    let rows: Vec<(String, String, i64)> = sqlx::query_as(sql)
        .bind(tenant_id)
        .bind(lines)
        .bind(i32::from(year.year))
        .fetch_all(connection)
        .await?;
    for (line, since, minor) in rows {
        let first = unbilled.into_iter().fold(month(since)?, Month::max);
        let months = months_left(year.year, year.start, first);
        let of_line = amounts.entry(line).or_default();
        let too_large = || Error::invalid("a sum is larger than the ledger can hold");
        let to_come = minor.checked_mul(months).ok_or_else(too_large)?;
        of_line.to_come = of_line.to_come.checked_add(to_come).ok_or_else(too_large)?;
        of_line.held_monthly = of_line.held_monthly.checked_add(minor).ok_or_else(too_large)?;
    }
    Ok(())
}

/// Whether a tenant has that line in that year.
///
/// # Errors
/// When the database does not answer.
pub async fn is_known(
    connection: &mut PgConnection,
    tenant_id: i64,
    fiscal_year: i16,
    line: &str,
) -> Result<bool, Error> {
    let sql = "select exists (select from budget_line_version where tenant_id = $1 and fiscal_year = $2 and line = $3)";
    Ok(sqlx::query_scalar(sql)
        .bind(tenant_id)
        .bind(i32::from(fiscal_year))
        .bind(line)
        .fetch_one(connection)
        .await?)
}

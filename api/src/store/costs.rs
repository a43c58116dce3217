//! What the hosting body spends: versions that are only added, and what was billed and paid against it.

use super::audit::{self, Act};
use super::budget::FiscalYear;
use super::{prices, timestamp};
use crate::error::Error;
use serde_json::json;
use siyada_model::coverage::{
    Category, CostRecord, CostVersion, MOST_CATEGORIES, MonthRevenue, ServiceRevenue,
};
use siyada_model::money::{Currency, Money};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};

/// Most versions in one answer.
const MOST_VERSIONS: i64 = 5_000;

#[derive(sqlx::FromRow)]
struct Row {
    fiscal_year: i32,
    category: String,
    version: i32,
    record: Json<CostRecord>,
    put_by: String,
    put_ms: i64,
}

impl Row {
    fn read(self) -> Result<CostVersion, Error> {
        let fault = |cause: String| Error::Fault(format!("failed to read a cost: {cause}"));
        Ok(CostVersion {
            fiscal_year: i16::try_from(self.fiscal_year).map_err(|cause| fault(cause.to_string()))?,
            category: self.category.try_into().map_err(|cause| fault(format!("{cause}")))?,
            version: self.version,
            record: self.record.0,
            by: self.put_by,
            at: timestamp(self.put_ms)?,
        })
    }
}

/// Puts a cost on record and tells the audit trail; the same once more changes nothing.
///
/// # Errors
/// `invalid` for another currency than the prices, or too many categories.
pub async fn put(
    pool: &PgPool,
    (fiscal_year, category): (i16, &Category),
    record: &CostRecord,
    by: &str,
) -> Result<CostVersion, Error> {
    record.check().map_err(|cause| Error::invalid(cause.to_string()))?;
    let mut tx = pool.begin().await?;
    // Versions of costs take turns, so that each is the next.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('siyada costs', 0))")
        .execute(&mut *tx)
        .await?;
    if let Some(currency) = prices::currency(&mut tx).await?.filter(|c| *c != record.amount.currency) {
        let given = record.amount.currency;
        let detail = format!(
            "costs of {category} are in {given}, but prices are in {currency}; give them in {currency}"
        );
        return Err(Error::invalid(detail));
    }
    let now = current(&mut tx, fiscal_year).await?;
    let before = now.iter().find(|known| known.category == *category);
    if let Some(known) = before.filter(|known| known.record == *record) {
        return Ok(known.clone());
    }
    if before.is_none() && now.len() >= MOST_CATEGORIES {
        return Err(Error::invalid(format!(
            "a fiscal year has at most {MOST_CATEGORIES} categories of costs"
        )));
    }
    let version = before.map_or(0, |known| known.version).saturating_add(1);
    let sql =
        "insert into cost_version (fiscal_year, category, version, record, currency, minor, put_by, put_ms)
               values ($1, $2, $3, $4, $5, $6, $7, ledger_now_ms()) returning put_ms";
    let put_ms: i64 = sqlx::query_scalar(sql)
        .bind(i32::from(fiscal_year))
        .bind(category.as_str())
        .bind(version)
        .bind(Json(record))
        .bind(record.amount.currency.as_str())
        .bind(record.amount.minor)
        .bind(by)
        .fetch_one(&mut *tx)
        .await?;
    let act = Act {
        actor: by,
        action: "cost.put",
        tenant_id: None,
        object: format!("cost/{fiscal_year}/{category}"),
        detail: json!({"version": version, "before": before.map(|known| &known.record), "after": record}),
    };
    audit::record(&mut tx, act).await?;
    tx.commit().await?;
    let (category, record, by) = (category.clone(), record.clone(), by.to_owned());
    Ok(CostVersion { fiscal_year, category, version, record, by, at: timestamp(put_ms)? })
}

/// The costs of a fiscal year by category, each as it was put last.
///
/// # Errors
/// When the database does not answer.
pub async fn current(connection: &mut PgConnection, fiscal_year: i16) -> Result<Vec<CostVersion>, Error> {
    let sql = r#"select distinct on (category collate "C") fiscal_year, category, version, record, put_by, put_ms
                 from cost_version where fiscal_year = $1 order by category collate "C", version desc"#;
    let rows: Vec<Row> = sqlx::query_as(sql).bind(i32::from(fiscal_year)).fetch_all(connection).await?;
    rows.into_iter().map(Row::read).collect()
}

/// Every version of every cost of a fiscal year, by category and version; the last ones if there are very many.
///
/// # Errors
/// When the database does not answer.
pub async fn history(connection: &mut PgConnection, fiscal_year: i16) -> Result<Vec<CostVersion>, Error> {
    let sql = r#"select * from (
                     select fiscal_year, category, version, record, put_by, put_ms from cost_version
                     where fiscal_year = $1 order by put_ms desc, category limit $2
                 ) last order by category collate "C", version"#;
    let rows: Vec<Row> =
        sqlx::query_as(sql).bind(i32::from(fiscal_year)).bind(MOST_VERSIONS).fetch_all(connection).await?;
    rows.into_iter().map(Row::read).collect()
}

/// What was billed for the months of a fiscal year, and what of it was paid: without tax, credit notes taken off.
///
/// # Errors
/// When the database does not answer.
pub async fn months(
    connection: &mut PgConnection,
    year: FiscalYear,
    currency: Currency,
) -> Result<Vec<MonthRevenue>, Error> {
    // What is paid is a budget line of a document; its net amount is in the document.
    let sql = "with paid as (
                   select s.month, sum((b.value ->> 'netMinor')::bigint) as minor
                   from (select distinct on (statement_number, booking) statement_number, booking, stage
                         from settlement order by statement_number, booking, id desc) last
                   join statement s on s.number = last.statement_number
                   cross join lateral jsonb_array_elements(s.document::jsonb #> '{totals,booked}') b
                   where last.stage = 'paid' and coalesce(b.value ->> 'budgetLine', '') = last.booking
                       and s.month >= $1 and s.month < $2
                   group by s.month
               )
               select s.month, sum(s.net_minor)::bigint, coalesce(max(p.minor), 0)::bigint
               from statement s left join paid p on p.month = s.month
               where s.month >= $1 and s.month < $2 group by s.month order by s.month";
    let (from, to) = year.borders();
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(sql).bind(from).bind(to).fetch_all(connection).await?;
    let money = |minor| Money { minor, currency };
    rows.into_iter()
        .map(|(month, billed, paid)| {
            let month =
                month.parse().map_err(|cause| Error::Fault(format!("failed to read a month: {cause}")))?;
            Ok(MonthRevenue { month, billed: money(billed), paid: money(paid) })
        })
        .collect()
}

/// What each service earned in a fiscal year, by the ledger in double entry.
///
/// # Errors
/// When the database does not answer.
pub async fn services(
    connection: &mut PgConnection,
    year: FiscalYear,
    currency: Currency,
) -> Result<Vec<ServiceRevenue>, Error> {
    let sql = r#"select substr(e.account, length('revenue:') + 1), (-sum(e.minor))::bigint
                 from ledger_transaction t join ledger_entry e on e.transaction_id = t.id
                 where e.account like 'revenue:%' and to_char(t.effective_date, 'YYYY-MM') >= $1
                     and to_char(t.effective_date, 'YYYY-MM') < $2
                 group by e.account order by e.account collate "C""#;
    let (from, to) = year.borders();
    let rows: Vec<(String, i64)> = sqlx::query_as(sql).bind(from).bind(to).fetch_all(connection).await?;
    let revenue = |(service, minor)| ServiceRevenue { service, billed: Money { minor, currency } };
    Ok(rows.into_iter().map(revenue).collect())
}

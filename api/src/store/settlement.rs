//! The stages of what statements book: put on record under the database's rules, and posted to the ledger.

use super::audit::{self, Act};
use super::tenants::Tenant;
use super::{budget, id, ledger, periods, timestamp};
use crate::error::Error;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::json;
use siyada_model::id::TenantName;
use siyada_model::ledger::Transaction;
use siyada_model::money::Money;
use siyada_model::period::Month;
use siyada_model::settlement::{BookedStages, Stage, StageRecord, StageRequest, post_stage};
use siyada_model::wire::code;
use sqlx::{PgConnection, PgPool};

/// What a statement books on one line.
struct Booked {
    tenant_id: i64,
    tenant: TenantName,
    month: Month,
    /// Empty for what is booked on none.
    booking: String,
    amount: Money,
}

/// What a statement of `tenant` or below it books, by line.
async fn booked(connection: &mut PgConnection, tenant: &Tenant, number: &str) -> Result<Vec<Booked>, Error> {
    let sql = r#"select b.tenant_id, t.name, b.month, b.booking, b.gross_minor, b.currency
                 from statement_booked b join tenant t on t.id = b.tenant_id
                 where b.number = $1 and t.path @> array[$2] order by b.booking collate "C""#;
    let rows: Vec<(i64, String, String, String, i64, String)> =
        sqlx::query_as(sql).bind(number).bind(tenant.id).fetch_all(connection).await?;
    rows.into_iter()
        .map(|(tenant_id, tenant, month, booking, minor, currency)| {
            let month =
                month.parse().map_err(|cause| Error::Fault(format!("statement {number}: {cause}")))?;
            let amount = Money { minor, currency: currency.parse()? };
            Ok(Booked { tenant_id, tenant: id(tenant)?, month, booking, amount })
        })
        .collect()
}

#[derive(sqlx::FromRow)]
struct Row {
    booking: String,
    stage: String,
    fiscal_year: i32,
    minor: i64,
    currency: String,
    decided_by: String,
    decided_ms: i64,
    paid_on: Option<String>,
    reference: Option<String>,
    reason: Option<String>,
}

impl Row {
    fn read(self, number: &str) -> Result<StageRecord, Error> {
        let fault = |what: &str| Error::Fault(format!("failed to read {what} of statement {number}"));
        let stage = Stage::ALL.into_iter().find(|stage| stage.as_str() == self.stage);
        let date: Option<Date> =
            self.paid_on.map(|text| text.parse()).transpose().map_err(|_| fault("a date"))?;
        Ok(StageRecord {
            statement: number.to_owned(),
            budget_line: named(self.booking),
            stage: stage.ok_or_else(|| fault("a stage"))?,
            amount: Money { minor: self.minor, currency: self.currency.parse()? },
            fiscal_year: i16::try_from(self.fiscal_year).map_err(|_| fault("a fiscal year"))?,
            by: self.decided_by,
            at: timestamp(self.decided_ms)?,
            date,
            reference: self.reference,
            reason: self.reason,
        })
    }
}

fn named(booking: String) -> Option<String> {
    Some(booking).filter(|booking| !booking.is_empty())
}

async fn records(connection: &mut PgConnection, number: &str) -> Result<Vec<StageRecord>, Error> {
    let sql = "select booking, stage, fiscal_year, minor, currency, decided_by, decided_ms,
                   to_char(paid_on, 'YYYY-MM-DD') as paid_on, reference, reason
               from settlement where statement_number = $1 order by id";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(number).fetch_all(connection).await?;
    rows.into_iter().map(|row| row.read(number)).collect()
}

/// What a statement of `tenant` or below it books, and how far each part is.
///
/// # Errors
/// Not found when there is no such statement.
pub async fn stages(
    connection: &mut PgConnection,
    tenant: &Tenant,
    number: &str,
) -> Result<Vec<BookedStages>, Error> {
    let booked = booked(connection, tenant, number).await?;
    if booked.is_empty() {
        return Err(Error::not_found());
    }
    let records = records(connection, number).await?;
    let all = booked.into_iter().map(|part| {
        let budget_line = named(part.booking);
        let history: Vec<StageRecord> =
            records.iter().filter(|record| record.budget_line == budget_line).cloned().collect();
        BookedStages {
            stage: history.last().map(|last| last.stage),
            budget_line,
            amount: part.amount,
            history,
        }
    });
    Ok(all.collect())
}

/// Puts a stage on record for the part of a statement that is asked, or for all of it or none, posts it, and tells the
/// audit trail. What the same person put on record last changes nothing.
///
/// # Errors
/// Not found when there is no such statement; `invalid` when it books nothing there; `conflict` for a stage that does not
/// follow, or a line that is not on record; forbidden for whoever must be another.
pub async fn put(
    pool: &PgPool,
    tenant: &Tenant,
    number: &str,
    request: &StageRequest,
    (by, year_start): (&str, i8),
) -> Result<Vec<BookedStages>, Error> {
    request.check().map_err(|cause| Error::invalid(cause.to_string()))?;
    let mut tx = pool.begin().await?;
    ledger::lock(&mut tx).await?;
    let parts = asked(booked(&mut tx, tenant, number).await?, number, request)?;
    let known = records(&mut tx, number).await?;
    let now = super::now(&mut tx).await?;
    let (_, start) = periods::calendar(&mut tx, year_start).await?;
    let mut posted: Vec<Transaction> = Vec::new();
    let mut told = Vec::new();
    for part in &parts {
        let budget_line = named(part.booking.clone());
        let before: Vec<&StageRecord> = known.iter().filter(|r| r.budget_line == budget_line).collect();
        if before.last().is_some_and(|last| repeats(last, request, by)) {
            continue;
        }
        // The year of the first stage stays, whatever the platform says later of when a fiscal year begins.
        let year = before.first().map_or_else(|| part.month.fiscal_year(start), |r| r.fiscal_year);
        let record = record(part, number, request, (by, now, year));
        follows(&mut tx, part, &record, before.last().map(|last| last.stage)).await?;
        insert(&mut tx, &record).await?;
        let date = request.date.unwrap_or_else(|| now.to_zoned(TimeZone::UTC).date());
        let nth = before.len().saturating_add(1);
        posted.push(post_stage(&part.tenant, &record, before.last().map(|last| last.stage), (nth, date))?);
        told.push(record);
    }
    ledger::post(&mut tx, &posted).await?;
    if let Some(tenant_id) = parts.first().map(|part| part.tenant_id).filter(|_| !told.is_empty()) {
        let object = format!("statement/{number}");
        let detail = json!({"stages": told});
        let act =
            Act { actor: by, action: action(request.stage), tenant_id: Some(tenant_id), object, detail };
        audit::record(&mut tx, act).await?;
    }
    let all = stages(&mut tx, tenant, number).await?;
    tx.commit().await?;
    Ok(all)
}

fn action(stage: Stage) -> &'static str {
    match stage {
        Stage::Certified => "statement.certify",
        Stage::Ordered => "statement.order",
        Stage::Paid => "statement.pay",
        Stage::Rejected => "statement.reject",
    }
}

/// The parts of a statement that a request is about.
fn asked(booked: Vec<Booked>, number: &str, request: &StageRequest) -> Result<Vec<Booked>, Error> {
    if booked.is_empty() {
        return Err(Error::not_found());
    }
    let Some(line) = &request.budget_line else { return Ok(booked) };
    let names: Vec<String> = booked.iter().filter_map(|part| named(part.booking.clone())).collect();
    let parts: Vec<Booked> = booked.into_iter().filter(|part| part.booking == *line).collect();
    if parts.is_empty() {
        return Err(Error::invalid(format!(
            "statement {number} books nothing on budget line {line:?}; it books on {}",
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        )));
    }
    Ok(parts)
}

/// Whether the last stage on record is what is asked again.
fn repeats(last: &StageRecord, request: &StageRequest, by: &str) -> bool {
    last.stage == request.stage
        && last.by == by
        && (&last.date, &last.reference, &last.reason) == (&request.date, &request.reference, &request.reason)
}

fn record(
    part: &Booked,
    number: &str,
    request: &StageRequest,
    (by, at, fiscal_year): (&str, Timestamp, i16),
) -> StageRecord {
    StageRecord {
        statement: number.to_owned(),
        budget_line: named(part.booking.clone()),
        stage: request.stage,
        amount: part.amount,
        fiscal_year,
        by: by.to_owned(),
        at,
        date: request.date,
        reference: request.reference.clone(),
        reason: request.reason.clone(),
    }
}

/// Refuses a stage that does not follow the last one, and credits that were never opened; the database refuses what is
/// out of order as well, but knows no names.
async fn follows(
    tx: &mut PgConnection,
    part: &Booked,
    record: &StageRecord,
    last: Option<Stage>,
) -> Result<(), Error> {
    let place = record
        .budget_line
        .as_ref()
        .map_or_else(|| "what is booked on no budget line".to_owned(), |line| format!("budget line {line}"));
    if !record.stage.follows(last) {
        let at = last.map_or("not certified yet", Stage::as_str);
        return Err(Error::refuse(
            code::CONFLICT,
            format!(
                "{place} of statement {} is {at}, {} does not follow; the order is certified, ordered, paid, and what \
                 is not paid may be rejected",
                record.statement,
                record.stage.as_str()
            ),
        ));
    }
    let Some(line) = record.budget_line.as_ref().filter(|_| record.stage == Stage::Certified) else {
        return Ok(());
    };
    if budget::is_known(tx, part.tenant_id, record.fiscal_year, line).await? {
        return Ok(());
    }
    Err(Error::refuse(
        code::CONFLICT,
        format!(
            "tenant {} has no {place} in fiscal year {}; put its credits on record first",
            part.tenant, record.fiscal_year
        ),
    ))
}

async fn insert(tx: &mut PgConnection, record: &StageRecord) -> Result<(), Error> {
    let sql =
        "insert into settlement (statement_number, booking, stage, fiscal_year, minor, currency, decided_by,
                   decided_ms, paid_on, reference, reason)
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9::date, $10, $11)";
    sqlx::query(sql)
        .bind(&record.statement)
        .bind(record.budget_line.as_deref().unwrap_or_default())
        .bind(record.stage.as_str())
        .bind(i32::from(record.fiscal_year))
        .bind(record.amount.minor)
        .bind(record.amount.currency.as_str())
        .bind(&record.by)
        .bind(record.at.as_millisecond())
        .bind(record.date.map(|date| date.to_string()))
        .bind(&record.reference)
        .bind(&record.reason)
        .execute(tx)
        .await?;
    Ok(())
}

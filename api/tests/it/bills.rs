//! Statements for tests, made by the functions that make real ones.

use crate::support::{World, account};
use serde_json::json;
use siyada_api::store::statements::{self, Head, Issued};
use siyada_model::period::Period;
use siyada_model::statement::{Statement, StatementKind, StatementLine, totals};

/// A line of a bill.
pub struct Line {
    pub order: &'static str,
    pub service: &'static str,
    pub minor: i64,
    pub tax_basis_points: Option<u32>,
    pub budget_line: Option<&'static str>,
}

/// A line of 20 % tax.
pub fn line(order: &'static str, minor: i64, budget_line: &'static str) -> Line {
    Line {
        order,
        service: "PostgresInstance",
        minor,
        tax_basis_points: Some(2_000),
        budget_line: Some(budget_line),
    }
}

fn full(tenant: &str, line: &Line) -> StatementLine {
    let mut part = json!({"millionths": 1_000_000, "minor": line.minor});
    if let Some(name) = line.budget_line {
        part["budgetLine"] = json!(name);
    }
    let mut value = json!({
        "month": "2026-10",
        "order": {
            "tenant": tenant, "namespace": "apps", "name": line.order, "uid": line.order, "kind": line.service
        },
        "meter": "compute", "sku": "postgres-small", "unit": "Hour", "unitPrice": "1.25", "priceList": "tarif-2026",
        "start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z", "quantityMs": "1", "minor": line.minor,
        "parts": [part]
    });
    if let Some(rate) = line.tax_basis_points {
        value["taxBasisPoints"] = json!(rate);
    }
    serde_json::from_value(value).unwrap()
}

/// The bill of October 2026 to `tenant`.
pub fn bill(number: &str, tenant: &str, currency: &str, lines: &[Line]) -> Statement {
    bill_of("2026-10", number, tenant, currency, lines)
}

/// The bill of a month to `tenant`.
pub fn bill_of(month: &str, number: &str, tenant: &str, currency: &str, lines: &[Line]) -> Statement {
    let period = Period::first(month.parse().unwrap(), "UTC").unwrap();
    let lines: Vec<StatementLine> = lines.iter().map(|line| full(tenant, line)).collect();
    let totals = totals(lines.iter()).unwrap();
    serde_json::from_value(json!({
        "format": "siyada.cloud/statement/v1", "kind": "statement", "number": number,
        "issuedAt": "2026-11-02T08:00:00Z", "issuer": {}, "buyer": {"tenant": tenant, "account": "1.2"},
        "period": period,
        "currency": currency, "tax": {"regime": "taxable", "rateBasisPoints": 2000, "legalBasis": "CGI"},
        "lines": lines, "corrections": [], "gaps": [], "totals": totals, "asOf": 1, "position": 1,
        "previousChain": "0".repeat(64)
    }))
    .unwrap()
}

/// The note that takes all of `bill` back.
pub fn note(number: &str, bill: &Statement) -> Statement {
    let mut note = bill.clone();
    (note.kind, note.number, note.credits) =
        (StatementKind::CreditNote, number.to_owned(), Some(bill.number.clone()));
    for line in &mut note.lines {
        line.minor = -line.minor;
        line.parts.iter_mut().for_each(|part| part.minor = -part.minor);
    }
    note.totals = totals(note.lines.iter()).unwrap();
    note
}

/// Who issues in tests.
pub fn issuer() -> String {
    account("closer")
}

/// Issues a statement as the closing does: the next in the chain, and posted.
pub async fn file(world: &World, statement: &Statement) {
    let mut tx = world.pool.begin().await.unwrap();
    let period = &statement.period;
    let sql = "insert into period (month, start_ms, end_ms, time_zone, tz_database, opened_ms)
               values ($1, $2, $3, 'UTC', 'x', 0) on conflict (month) do nothing";
    sqlx::query(sql)
        .bind(period.month.to_string())
        .bind(period.start.as_millisecond())
        .bind(period.end.as_millisecond())
        .execute(&mut *tx)
        .await
        .unwrap();
    let head = Head::lock(&mut tx).await.unwrap();
    let (series, sequence) = statement.number.rsplit_once('-').unwrap();
    let document = Statement { position: head.position + 1, previous_chain: head.chain, ..statement.clone() };
    let issued = Issued::seal(document, series.to_owned(), sequence.parse().unwrap(), None).unwrap();
    statements::insert(&mut tx, &[issued], &issuer(), None).await.unwrap();
    tx.commit().await.unwrap();
}

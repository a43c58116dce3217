//! Statements for tests, made by the functions that make real ones.

use crate::support::World;
use serde_json::json;
use siyada_api::store;
use siyada_model::ledger::post_statement;
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
    let lines: Vec<StatementLine> = lines.iter().map(|line| full(tenant, line)).collect();
    let totals = totals(lines.iter()).unwrap();
    serde_json::from_value(json!({
        "format": "siyada.cloud/statement/v1", "kind": "statement", "number": number,
        "issuedAt": "2026-11-02T08:00:00Z", "issuer": {}, "buyer": {"tenant": tenant, "account": "1.2"},
        "period": {
            "month": "2026-10", "start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z",
            "timeZone": "Africa/Casablanca", "tzDatabase": "2026f"
        },
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

/// Puts a statement with a number of the test's own on record, closed by `closer`: the rules of numbers and of the chain,
/// which are told by other tests, are switched off for it.
pub async fn file(world: &World, statement: &Statement) {
    let tenant = statement.buyer.tenant.as_str();
    let sql = "insert into statement (position, number, series, sequence, kind, tenant_id, month, credits, issued_ms,
                   issued_by, net_minor, gross_minor, currency, document, sha256, chain)
               select (select coalesce(max(position), 0) + 1 from statement), $1, $1, 1,
                   case when $4::text is null then 'statement' else 'creditNote' end, id,
                   -- A tenant has one statement a month.
                   '2026-' || lpad((10 - (select count(*) from statement where tenant_id = t.id))::text, 2, '0'), $4, 1,
                   'closer', 0, 0,
                   $5, $3, encode(sha256(convert_to($3, 'UTF8')), 'hex'), ''
               from tenant t where name = $2 and deleted_ms is null";
    let mut tx = world.pool.begin().await.unwrap();
    sqlx::query("set local session_replication_role = replica").execute(&mut *tx).await.unwrap();
    sqlx::query(sql)
        .bind(&statement.number)
        .bind(tenant)
        .bind(String::from_utf8(statement.bytes().unwrap()).unwrap())
        .bind(&statement.credits)
        .bind(statement.currency.as_str())
        .execute(&mut *tx)
        .await
        .unwrap();
    sqlx::query("set local session_replication_role = origin").execute(&mut *tx).await.unwrap();
    store::ledger::post(&mut tx, &[post_statement(statement).unwrap()]).await.unwrap();
    tx.commit().await.unwrap();
}

//! What is about all tenants, and what the ledger does by itself.

use super::name_of;
use crate::amounts::{hours, signed_percent};
use crate::table::{Cell, Column, Head, Kind, Listed, at, money, number, sentence, some, text};
use serde::Serialize;
use siyada_model::coverage::{CostCoverage, CostVersion};
use siyada_model::health::{Check, Example, Finding, MeteringHealth};
use siyada_model::national::Movement;
use siyada_model::schedule::Settings;
use siyada_model::statement::breakdown::{Dimension, GroupedUsage, UsageGroup};

/// The figures of a month by what they are grouped by: only columns that were asked for, and names instead of uids.
pub fn grouped(found: &GroupedUsage) -> (Vec<Head>, Vec<Vec<Cell>>) {
    let by = |dimension| found.group_by.contains(&dimension);
    let mut heads: Vec<Head> = Vec::new();
    for dimension in &found.group_by {
        heads.push((dimension.as_str(), Kind::Text));
        heads.extend((*dimension == Dimension::Instance).then_some(("name", Kind::Text)));
    }
    let priced = by(Dimension::Plan) && by(Dimension::PriceList);
    heads.extend(by(Dimension::Plan).then_some(("quantity", Kind::Number)));
    heads.extend(priced.then_some(("unitPrice", Kind::Number)));
    heads.push(("amount", Kind::Money));
    heads.extend(found.forecast.map(|_| ("forecast", Kind::Money)));
    let cells = |row: &UsageGroup| {
        let mut cells = Vec::with_capacity(heads.len());
        for dimension in &found.group_by {
            cells.push(some(row.group.get(*dimension).as_ref()));
            cells.extend((*dimension == Dimension::Instance).then(|| some(row.name.as_ref())));
        }
        cells.extend(by(Dimension::Plan).then(|| Cell::Text(quantity(row))));
        cells.extend(priced.then(|| some(row.unit_price.as_ref())));
        cells.push(row.amount.into());
        cells.extend(row.forecast.map(Cell::from));
        cells
    };
    let rows = found.rows.iter().map(cells).collect();
    (heads, rows)
}

/// A quantity in hours of its meter, if the row is of one meter; else as it is exact.
fn quantity(row: &UsageGroup) -> String {
    let meter = row.group.meter.as_deref().and_then(|meter| meter.parse().ok());
    match (&row.quantity_ms, meter) {
        (Some(exact), Some(meter)) => hours(meter, exact),
        (Some(exact), None) => format!("{exact} ms"),
        (None, _) => String::new(),
    }
}

impl Listed for Movement {
    const COLUMNS: &'static [Column<Self>] = &[
        text("month", |row| (&row.month).into()),
        text("number", |row| (&row.number).into()),
        text("kind", |row| (&row.kind.as_str()).into()),
        text("tenant", |row| (&row.tenant).into()),
        text("from", |row| some(name_of(&row.from.party.display_name))),
        text("fromBudgetLine", |row| some(row.from.budget_line.as_ref())),
        text("to", |row| some(name_of(&row.to.party.display_name))),
        text("toBudgetLine", |row| some(row.to.budget_line.as_ref())),
        money("net", |row| row.net.into()),
        money("tax", |row| row.tax.into()),
        money("gross", |row| row.gross.into()),
        text("legalBasis", |row| Cell::Text(row.legal_basis.join("; "))),
    ];
}

impl Listed for CostVersion {
    const COLUMNS: &'static [Column<Self>] = &[
        number("fiscalYear", |row| (&row.fiscal_year).into()),
        text("category", |row| (&row.category).into()),
        number("version", |row| (&row.version).into()),
        text("name", |row| some(name_of(&row.record.display_name))),
        money("amount", |row| row.record.amount.into()),
        text("source", |row| (&row.record.source).into()),
        text("by", |row| (&row.by).into()),
        text("at", |row| at(row.at)),
    ];
}

/// What is known of the coverage of a fiscal year.
pub fn coverage(found: &CostCoverage) -> Vec<(&'static str, Cell)> {
    let share = |points: Option<i64>| some(points.map(signed_percent).as_ref());
    let mut facts = vec![
        ("fiscalYear", (&found.fiscal_year).into()),
        ("costs", found.costs.into()),
        ("billed", found.billed.into()),
        ("paid", found.paid.into()),
        ("billedOfCosts", share(found.billed_basis_points)),
        ("paidOfCosts", share(found.paid_basis_points)),
    ];
    if let Some(threshold) = found.threshold_basis_points {
        facts.push(("threshold", share(Some(i64::from(threshold)))));
        let reached = found.reached.map(|reached| if reached { "yes" } else { "no" });
        facts.push(("reached", some(reached.as_ref())));
    }
    facts
}

impl Listed for Finding {
    const COLUMNS: &'static [Column<Self>] = &[
        text("check", |row| (&row.check.as_str()).into()),
        text("ok", |row| (if row.ok { &"yes" } else { &"no" }).into()),
        number("count", |row| (&row.count).into()),
        sentence("advice", |row| some(row.advice.as_ref())),
    ];
}

/// One of what a check found.
#[derive(Serialize)]
pub struct FoundExample {
    /// The check.
    pub check: Check,
    /// What it found.
    #[serde(flatten)]
    pub example: Example,
}

impl FoundExample {
    /// All that a page names.
    pub fn all(page: &MeteringHealth) -> Vec<Self> {
        let of = |finding: &Finding| {
            let check = finding.check;
            finding.examples.clone().into_iter().map(move |example| Self { check, example })
        };
        page.checks.iter().flat_map(of).collect()
    }
}

impl Listed for FoundExample {
    const COLUMNS: &'static [Column<Self>] = &[
        text("check", |row| (&row.check.as_str()).into()),
        text("tenant", |row| some(row.example.tenant.as_ref())),
        text("orderUid", |row| some(row.example.order_uid.as_ref())),
        sentence("detail", |row| (&row.example.detail).into()),
    ];
}

/// What is set.
pub fn settings(settings: &Settings) -> Vec<(&'static str, Cell)> {
    let closing = settings.closing.map_or_else(
        || "by nobody but who asks".to_owned(),
        |schedule| {
            format!("on day {} at {:02}:00, in the issuer's time zone", schedule.day_of_month, schedule.hour)
        },
    );
    vec![("closing", Cell::Text(closing)), ("auditRetentionYears", (&settings.audit_retention_years).into())]
}

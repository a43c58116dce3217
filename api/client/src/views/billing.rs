//! Months, who bills, who is billed, and documents.

use super::name_of;
use crate::amounts::{hours, percent};
use crate::table::{Cell, Column, Listed, at, money, number, sentence, some, text};
use serde::Serialize;
use siyada_model::money::{Currency, Money};
use siyada_model::party::{IssuerRecord, TaxRegime};
use siyada_model::statement::{Statement, StatementLine};
use siyada_model::usage::Meter;
use siyada_model::wire::{AccountEntry, Blocker, Closing, PeriodState, StatementEntry};

impl Listed for PeriodState {
    const COLUMNS: &'static [Column<Self>] = &[
        text("month", |row| (&row.period.month).into()),
        text("start", |row| (&row.period.start).into()),
        text("end", |row| (&row.period.end).into()),
        number("length", |row| Cell::Text(hours(Meter::COMPUTE, &row.period.length_ms().to_string()))),
        text("timeZone", |row| (&row.period.time_zone).into()),
        text("tzDatabase", |row| (&row.period.tz_database).into()),
        text("closedAt", |row| row.closed_at.map_or_else(|| some::<String>(None), at)),
        text("closedBy", |row| some(row.closed_by.as_ref())),
    ];
}

impl Listed for Blocker {
    const COLUMNS: &'static [Column<Self>] = &[
        text("reason", |row| (&row.reason).into()),
        text("tenant", |row| some(row.tenant.as_ref())),
        text("orderUid", |row| some(row.order_uid.as_ref())),
        sentence("detail", |row| (&row.detail).into()),
    ];
}

/// What is known of a closing that nothing blocks.
pub fn closing(closing: &Closing) -> Vec<(&'static str, Cell)> {
    let state = if closing.closed { "closed" } else { "open, nothing blocks it" };
    let mut facts = vec![
        ("month", (&closing.month).into()),
        ("state", (&state).into()),
        ("statements", (&closing.statements).into()),
    ];
    facts.extend(closing.net.map(|net| ("net", net.into())));
    facts.extend(closing.gross.map(|gross| ("gross", gross.into())));
    facts
}

/// The tax, as people say it.
fn tax_words(tax: &TaxRegime) -> String {
    match tax {
        TaxRegime::Taxable { rate_basis_points, other_rates, legal_basis } => {
            let other = other_rates.iter().map(|(sku, rate)| format!(", {sku} {}", percent(*rate)));
            format!("{}{} ({legal_basis})", percent(*rate_basis_points), other.collect::<String>())
        }
        TaxRegime::Exempt { legal_basis } => format!("exempt ({legal_basis})"),
        TaxRegime::Outside { legal_basis } => format!("outside of the tax ({legal_basis})"),
    }
}

/// What is known of who bills.
pub fn issuer(record: &IssuerRecord) -> Vec<(&'static str, Cell)> {
    let party = &record.party;
    vec![
        ("name", some(name_of(&party.display_name))),
        ("ice", some(party.ice.as_ref())),
        ("taxId", some(party.tax_id.as_ref())),
        ("address", some(party.address.as_ref())),
        ("timeZone", (&record.time_zone).into()),
        ("fiscalYearStartMonth", (&record.fiscal_year_start_month).into()),
        ("numberPrefix", (&record.number_prefix).into()),
        ("tax", Cell::Text(tax_words(&record.tax))),
        ("requireBudgetLine", (if record.require_budget_line { &"yes" } else { &"no" }).into()),
    ]
}

impl Listed for AccountEntry {
    const COLUMNS: &'static [Column<Self>] = &[
        text("account", |row| (&row.account).into()),
        text("name", |row| some(name_of(&row.record.party.display_name))),
        text("ice", |row| some(row.record.party.ice.as_ref())),
        text("taxId", |row| some(row.record.party.tax_id.as_ref())),
        text("tax", |row| some(row.record.tax.as_ref().map(tax_words).as_ref())),
    ];
}

impl Listed for StatementEntry {
    const COLUMNS: &'static [Column<Self>] = &[
        text("number", |row| (&row.number).into()),
        text("kind", |row| (&row.kind.as_str()).into()),
        text("tenant", |row| (&row.tenant).into()),
        text("month", |row| (&row.month).into()),
        text("credits", |row| some(row.credits.as_ref())),
        text("issuedAt", |row| at(row.issued_at)),
        money("net", |row| row.net.into()),
        money("gross", |row| row.gross.into()),
    ];
}

/// A line of a document with its place, by which a credit note names it.
#[derive(Serialize)]
pub struct DocumentLine {
    /// From 0; corrections are counted after the lines.
    pub place: usize,
    /// Currency of its amounts.
    pub currency: Currency,
    /// The line.
    #[serde(flatten)]
    pub line: StatementLine,
}

impl DocumentLine {
    /// Every line and correction of a document.
    pub fn all(document: &Statement) -> Vec<Self> {
        let lines = document.lines.iter().chain(&document.corrections).enumerate();
        lines.map(|(place, line)| Self { place, currency: document.currency, line: line.clone() }).collect()
    }

    fn amount(&self, minor: i64) -> Money {
        Money { minor, currency: self.currency }
    }

    /// Where it is booked, with the amounts if it is in several places.
    fn booked(&self) -> Cell {
        let name = |line: &Option<String>| line.clone().unwrap_or_else(|| "no line".to_owned());
        let words = match self.line.parts.as_slice() {
            [part] => part.booking.budget_line.clone().unwrap_or_default(),
            parts => {
                let words = parts
                    .iter()
                    .map(|p| format!("{} {}", name(&p.booking.budget_line), self.amount(p.minor).decimal()));
                words.collect::<Vec<_>>().join("; ")
            }
        };
        Cell::Text(words)
    }
}

impl Listed for DocumentLine {
    const COLUMNS: &'static [Column<Self>] = &[
        number("line", |row| (&row.place).into()),
        text("month", |row| (&row.line.month).into()),
        text("tenant", |row| (&row.line.order.tenant).into()),
        text("name", |row| (&row.line.order.name).into()),
        text("sku", |row| (&row.line.sku).into()),
        text("start", |row| (&row.line.start).into()),
        text("end", |row| (&row.line.end).into()),
        number("quantity", |row| Cell::Text(hours(row.line.meter, &row.line.quantity_ms))),
        number("unitPrice", |row| (&row.line.unit_price).into()),
        text("budgetLine", Self::booked),
        number("tax", |row| some(row.line.tax_basis_points.map(percent).as_ref())),
        money("net", |row| row.amount(row.line.minor).into()),
    ];
}

/// What is known of a document without its lines.
pub fn document(document: &Statement) -> Vec<(&'static str, Cell)> {
    let money = |minor| Cell::Money(Money { minor, currency: document.currency });
    let mut facts = vec![
        ("number", (&document.number).into()),
        ("kind", (&document.kind.as_str()).into()),
        ("month", (&document.period.month).into()),
        ("tenant", (&document.buyer.tenant).into()),
        ("buyer", some(name_of(&document.buyer.party.display_name))),
        ("issuedAt", at(document.issued_at)),
    ];
    facts.extend(document.credits.as_ref().map(|number| ("credits", number.into())));
    facts.extend(document.reason.as_ref().map(|reason| ("reason", reason.into())));
    facts.push(("net", money(document.totals.net_minor)));
    let tax = |tax: &siyada_model::statement::TaxAmount| {
        format!(
            "{}: {}",
            percent(tax.rate_basis_points),
            Money { minor: tax.minor, currency: document.currency }
        )
    };
    let taxes: Vec<String> = document.totals.taxes.iter().map(tax).collect();
    let taxes = if taxes.is_empty() { tax_words(&document.tax) } else { taxes.join("; ") };
    facts.push(("taxes", Cell::Text(taxes)));
    facts.push(("gross", money(document.totals.gross_minor)));
    let gaps = document.gaps.len();
    facts.extend((gaps > 0).then(|| ("gaps", (&gaps).into())));
    facts
}

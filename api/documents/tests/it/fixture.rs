//! A statement as the ledger would close it: its amounts come from the model's own functions.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rust_decimal::Decimal;
use siyada_model::allocation::{Booking, Share, Shares};
use siyada_model::availability::{Availability, OfInstance};
use siyada_model::money::Currency;
use siyada_model::party::{Party, TaxRegime};
use siyada_model::period::Period;
use siyada_model::price::{SkuPrice, Unit, amount};
use siyada_model::statement::credit::{Ask, credit};
use siyada_model::statement::{
    Billed, Buyer, FORMAT, ListedGap, Part, Statement, StatementKind, StatementLine, totals,
};
use siyada_model::usage::Meter;
use siyada_model::wire::DisplayName;
use std::collections::BTreeMap;

/// Right-to-left override: what follows it would read backwards.
pub const OVERRIDE: char = '\u{202E}';

/// A text that somebody hopes is run, is markup, or breaks the page.
pub fn hostile() -> String {
    format!(
        "=cmd()|' /C calc'!A0 {OVERRIDE}gnp.exe\n\r\t*bold* #read(\"x\") \\input{{x}} <script> &amp; {}",
        "x".repeat(1 << 16)
    )
}

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn booking(budget_line: Option<&str>, cost_centre: Option<&str>, reference: Option<&str>) -> Booking {
    let text = |text: Option<&str>| text.map(str::to_owned);
    Booking { cost_centre: text(cost_centre), budget_line: text(budget_line), reference: text(reference) }
}

fn halves() -> Shares {
    let first = booking(Some("2.1.3.10-30"), Some("DSI"), Some("BC 12/2026"));
    let second = booking(Some("2.1.3.20-10"), Some("État civil"), None);
    let share = |booking, millionths| Share { booking, millionths };
    Shares::try_from(vec![share(first, 333_333), share(second, 666_667)]).unwrap()
}

fn whole() -> Shares {
    Shares::whole(booking(Some("2.1.3.10-30"), Some("ميزانية الاستثمار"), Some("BC 14/2026")))
}

/// The order number `index` of a tenant.
pub fn order(tenant: &str, index: usize) -> Billed {
    let kinds = ["PostgresInstance", "DocumentStoreInstance"];
    Billed {
        tenant: tenant.parse().unwrap(),
        namespace: format!("{tenant}-prod"),
        name: format!("registre-{index:04}"),
        uid: format!("7c0f9a3e-5d1b-4c52-9e0a-{index:012x}").parse().unwrap(),
        kind: kinds[index % 2].to_owned(),
    }
}

/// A line over `start..end` whose amount is that of the model, split over its shares.
pub fn line(
    (order, meter, sku): (Billed, Meter, &str),
    (unit, price): (Unit, &str),
    (start, end): (Timestamp, Timestamp),
    (quantity, rate, shares): (i64, Option<u32>, &Shares),
    (period, currency): (&Period, Currency),
) -> StatementLine {
    let sku_price = SkuPrice { sku: sku.parse().unwrap(), unit, price: price.parse::<Decimal>().unwrap() };
    let quantity_ms = i128::from(quantity) * i128::from(end.as_millisecond() - start.as_millisecond());
    let minor = amount(quantity_ms, &sku_price, currency).unwrap().minor;
    let parts = shares.as_slice().iter().zip(shares.split(minor).unwrap());
    StatementLine {
        month: period.month,
        order,
        meter,
        sku: sku_price.sku,
        unit,
        unit_price: price.to_owned(),
        price_list: "tarif-2026-07".parse().unwrap(),
        start,
        end,
        quantity_ms: quantity_ms.to_string(),
        minor,
        tax_basis_points: rate,
        parts: parts
            .map(|(share, minor)| Part {
                booking: share.booking.clone(),
                millionths: share.millionths,
                minor,
            })
            .collect(),
    }
}

pub fn october() -> Period {
    Period {
        month: "2026-10".parse().unwrap(),
        start: at("2026-10-01T00:00:00Z"),
        end: at("2026-11-01T00:00:00Z"),
        time_zone: "Africa/Casablanca".to_owned(),
        tz_database: "2026f".to_owned(),
    }
}

/// A statement of these lines and corrections.
pub fn statement(lines: Vec<StatementLine>, corrections: Vec<StatementLine>) -> Statement {
    let totals = totals(lines.iter().chain(&corrections)).unwrap();
    Statement {
        format: FORMAT.to_owned(),
        kind: StatementKind::Statement,
        number: "SIY-2026-000042".to_owned(),
        issued_at: at("2026-11-03T08:15:07.25Z"),
        issuer: Party {
            display_name: DisplayName {
                fr: Some("Agence nationale d’hébergement souverain".to_owned()),
                ar: Some("الوكالة الوطنية للإيواء السيادي".to_owned()),
                en: Some("National Sovereign Hosting Agency".to_owned()),
                zgh: Some("ⵜⴰⵙⵏⵓⵔⴰⵢⵜ ⵜⴰⵏⴰⵎⵓⵔⵜ ⵏ ⵓⵙⵏⵙⵉ".to_owned()),
            },
            ice: Some("001234567000089".to_owned()),
            tax_id: Some("40123456".to_owned()),
            address: Some("Avenue Annakhil, Hay Riad, 10100 Rabat".to_owned()),
        },
        buyer: Buyer {
            tenant: "interieur".parse().unwrap(),
            account: "min-interieur".to_owned(),
            party: Party {
                display_name: DisplayName {
                    fr: Some("Ministère de l’Intérieur".to_owned()),
                    ar: Some("وزارة الداخلية".to_owned()),
                    en: Some("Ministry of the Interior".to_owned()),
                    zgh: Some("ⵜⴰⵎⴰⵡⴰⵙⵜ ⵏ ⵓⴳⵏⵙⵓ".to_owned()),
                },
                ice: Some("000987654000012".to_owned()),
                tax_id: None,
                address: Some("Quartier administratif, Rabat-Chellah".to_owned()),
            },
        },
        period: october(),
        currency: Currency::MAD,
        tax: TaxRegime::Taxable {
            rate_basis_points: 2_000,
            other_rates: BTreeMap::from([("storage-standard".parse().unwrap(), 1_050)]),
            legal_basis: "CGI, articles 89-I-5° et 98; arrêté conjoint n° 1234-26".to_owned(),
        },
        credits: None,
        reason: None,
        lines,
        corrections,
        gaps: Vec::new(),
        availability: Vec::new(),
        totals,
        as_of: 918_273,
        position: 118,
        previous_chain: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
    }
}

/// The month of a ministry with its tenants: orders, a change of price in the middle, corrections, and gaps.
pub fn month(tenants: &[&str], orders: usize) -> Statement {
    let period = october();
    let (start, end) = (period.start, period.end);
    let middle = at("2026-10-17T09:41:00.5Z");
    let (halves, whole, money) = (halves(), whole(), (&period, Currency::MAD));
    let mut lines = Vec::new();
    for tenant in tenants {
        for index in 0..orders {
            let order = order(tenant, index);
            let shares = if index % 3 == 0 { &halves } else { &whole };
            let compute = (order.clone(), Meter::COMPUTE, "postgres-small");
            if index % 4 == 0 {
                let dearer = (Unit::Hour, "0.24750000");
                lines.push(line(
                    compute.clone(),
                    (Unit::Hour, "0.2035"),
                    (start, middle),
                    (1, Some(2_000), shares),
                    money,
                ));
                lines.push(line(compute, dearer, (middle, end), (1, Some(2_000), shares), money));
            } else {
                lines.push(line(
                    compute,
                    (Unit::Hour, "0.2035"),
                    (start, end),
                    (2, Some(2_000), shares),
                    money,
                ));
            }
            let storage = (order, Meter::STORAGE, "storage-standard");
            lines.push(line(
                storage,
                (Unit::GibHour, "0.00201389"),
                (start, end),
                (20_480, Some(1_050), shares),
                money,
            ));
        }
    }
    let mut corrections = Vec::new();
    for tenant in tenants.iter().take(1) {
        let sold = (order(tenant, 0), Meter::COMPUTE, "postgres-small");
        let late = (at("2026-09-12T00:00:00Z"), at("2026-09-12T07:30:00Z"));
        let mut correction = line(sold, (Unit::Hour, "0.2035"), late, (-1, Some(2_000), &whole), money);
        correction.month = "2026-09".parse().unwrap();
        correction.parts.iter_mut().for_each(|part| part.millionths = 0);
        corrections.push(correction);
    }
    let mut statement = statement(lines, corrections);
    statement.gaps = tenants.iter().take(2).map(|tenant| gap(tenant)).collect();
    statement.availability =
        tenants.iter().flat_map(|tenant| (0..orders).map(|index| available(tenant, index))).collect();
    statement
}

/// An instance that was down for a while, or that nobody looked at.
pub fn available(tenant: &str, index: usize) -> OfInstance {
    let month_ms = 744 * 3_600_000;
    let figures = match index {
        1 => Availability::of(month_ms, 0, 0),
        _ => Availability::of(month_ms, month_ms - 1_612_250, 1_312_250),
    };
    OfInstance { order: order(tenant, index), figures }
}

pub fn gap(tenant: &str) -> ListedGap {
    ListedGap {
        order: order(tenant, 1),
        meter: Meter::COMPUTE,
        start: at("2026-10-09T02:10:00Z"),
        end: at("2026-10-09T03:55:20Z"),
        reason: "clock of the database moved by more than three checkpoints".to_owned(),
        billed: tenant.len().is_multiple_of(2),
        decided_by: "https://id.gov.ma#f.benali".to_owned(),
        evidence: "سجل التدخل رقم 77، بتاريخ 9 أكتوبر 2026".to_owned(),
    }
}

/// The same month with a hostile text in every name there is.
pub fn hostile_month() -> Statement {
    let mut statement = month(&["interieur", "sante"], 2);
    let text = hostile;
    for party in [&mut statement.issuer, &mut statement.buyer.party] {
        let DisplayName { fr, ar, en, zgh } = &mut party.display_name;
        [fr, ar, en, zgh].into_iter().for_each(|name| *name = Some(text()));
        (party.ice, party.tax_id, party.address) = (Some(text()), Some(text()), Some(text()));
    }
    statement.buyer.account = text();
    statement.number = text();
    statement.tax = TaxRegime::Outside { legal_basis: text() };
    (statement.credits, statement.reason) = (Some(text()), Some(text()));
    for line in statement.lines.iter_mut().chain(&mut statement.corrections) {
        (line.order.namespace, line.order.name, line.order.kind) = (text(), text(), text());
        for part in &mut line.parts {
            part.booking = booking(Some(&text()), Some(&text()), Some(&text()));
        }
    }
    for one in &mut statement.availability {
        (one.order.namespace, one.order.name, one.order.kind) = (text(), text(), text());
    }
    for gap in &mut statement.gaps {
        (gap.order.namespace, gap.order.name, gap.order.kind) = (text(), text(), text());
        (gap.reason, gap.decided_by, gap.evidence) = (text(), text(), text());
    }
    statement.totals = totals(statement.lines.iter().chain(&statement.corrections)).unwrap();
    statement
}

/// A credit note over the whole of a statement, as the model computes it.
pub fn credit_note(of: &Statement) -> Statement {
    let (lines, totals) = credit(of, &[], &Ask::Rest).unwrap();
    Statement {
        kind: StatementKind::CreditNote,
        number: "SIY-C-2026-000003".to_owned(),
        credits: Some(of.number.clone()),
        reason: Some("Commande facturée à la mauvaise administration".to_owned()),
        lines,
        corrections: Vec::new(),
        gaps: Vec::new(),
        availability: Vec::new(),
        totals,
        ..of.clone()
    }
}

/// Statements of any lines and corrections, with and without taxes.
pub fn statements() -> impl Strategy<Value = Statement> {
    let rate = prop_oneof![Just(None), Just(Some(2_000)), Just(Some(1_000)), Just(Some(725))];
    let price = prop_oneof![Just("0.2035"), Just("0.00201389"), Just("13"), Just("0.00000001")];
    let part = (
        0..3_usize,
        0..4_usize,
        any::<bool>(),
        price,
        -40..400_i64,
        0..600_i64,
        1..144_i64,
        rate,
        any::<bool>(),
    );
    proptest::collection::vec(part, 0..24).prop_map(|drawn| {
        let (period, tenants) = (october(), ["interieur", "sante", "protection-civile"]);
        let (halves, whole) = (halves(), whole());
        let (mut lines, mut corrections) = (Vec::new(), Vec::new());
        for (index, (tenant, number, storage, price, quantity, from, hours, rate, shared)) in
            drawn.into_iter().enumerate()
        {
            let start =
                period.start + SignedDuration::from_hours(from) + SignedDuration::from_millis(index as i64);
            let span = (start, start + SignedDuration::from_hours(hours));
            let (meter, sku, unit) = if storage {
                (Meter::STORAGE, "storage-standard", Unit::GibHour)
            } else {
                (Meter::COMPUTE, "postgres-small", Unit::Hour)
            };
            let shares = if shared { &halves } else { &whole };
            let about = (order(tenants[tenant], number), meter, sku);
            let line = line(about, (unit, price), span, (quantity, rate, shares), (&period, Currency::MAD));
            if quantity < 0 { corrections.push(line) } else { lines.push(line) }
        }
        statement(lines, corrections)
    })
}

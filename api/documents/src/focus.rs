//! FOCUS: the FinOps Open Cost and Usage Specification, its dataset Cost and Usage.
//!
//! `BilledCost` of all rows with one `InvoiceId` sums to what is to be paid, so taxes are rows of their own. Corrections of
//! closed months have the `ChargeClass` Correction, the lines of credit notes the `ChargeCategory` Credit. Columns
//! that the specification asks for only of providers with regions, commitments and the like are not there.

use crate::DocumentError;
use crate::csv::{parts, quoted, unformulated};
use crate::numbers::percent;
use crate::shown::{SENTENCE, clean};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use siyada_model::allocation::{Booking, WHOLE_MILLIONTHS};
use siyada_model::canonical::sha256;
use siyada_model::money::Money;
use siyada_model::party::Party;
use siyada_model::price::{HOUR_MS, Unit};
use siyada_model::statement::{Part, Statement, StatementKind, StatementLine, TaxAmount};
use std::collections::BTreeMap;

/// Decimals of a quantity.
const QUANTITY_DECIMALS: u32 = 6;

/// A version of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FocusVersion {
    /// 1.2, which most tools read, and for which there is an official validator.
    V1_2,
    /// 1.4, which names the host and the provider of a service instead of a publisher.
    V1_4,
}

/// `CommitmentDiscountStatus` is always null: rules on quantities ask for it.
const COMMON: [&str; 45] = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingAccountType",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "CommitmentDiscountStatus",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceId",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingCurrency",
    "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost",
    "PricingCurrencyListUnitPrice",
    "PricingQuantity",
    "PricingUnit",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceDetails",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "SubAccountType",
    "Tags",
    "x_LineId",
];

impl FocusVersion {
    fn columns(self) -> Vec<&'static str> {
        let own: &[&str] = match self {
            Self::V1_2 => &["ProviderName", "PublisherName"],
            Self::V1_4 => &["HostProviderName", "InvoiceDetailId", "ServiceProviderName"],
        };
        COMMON.iter().chain(own).copied().collect()
    }
}

/// A row: a value for each of some columns; the others are null, which is an empty cell.
type Charge = BTreeMap<&'static str, String>;

/// Statements as Cost and Usage of FOCUS, one row for each part of a line and for each rate of tax. `x_LineId` is the same
/// in every export.
///
/// # Errors
/// [`DocumentError`] for a statement that was not computed.
pub fn focus(statements: &[Statement], version: FocusVersion) -> Result<String, DocumentError> {
    let columns = version.columns();
    let mut text = columns.join(",") + "\r\n";
    for statement in statements {
        for charge in charges(statement)? {
            let value = |column: &&str| charge.get(column).cloned().unwrap_or_default();
            let written = |column: &&str| match (version, *column) {
                // JSON, and not bound to ASCII.
                (_, "Tags") | (FocusVersion::V1_4, _) => value(column),
                (FocusVersion::V1_2, _) => ascii(&value(column)),
            };
            text.push_str(&columns.iter().map(written).map(quoted).collect::<Vec<_>>().join(","));
            text.push_str("\r\n");
        }
    }
    Ok(text)
}

fn charges(statement: &Statement) -> Result<Vec<Charge>, DocumentError> {
    let mut charges = Vec::new();
    let lines = statement.lines.iter().map(|line| (false, line));
    for (correction, line) in lines.chain(statement.corrections.iter().map(|line| (true, line))) {
        let parts = parts(line);
        let only = parts.len() == 1;
        for part in parts {
            charges.push(usage(statement, line, (&part, only), correction)?);
        }
    }
    for amount in &statement.totals.taxes {
        charges.push(tax(statement, amount)?);
    }
    Ok(charges)
}

/// What every row of a statement says.
fn of(statement: &Statement, minor: i64) -> Charge {
    let cost = Money { minor, currency: statement.currency }.decimal();
    let issuer = name(&statement.issuer, "issuer");
    let account = text(&statement.buyer.account);
    Charge::from([
        ("BilledCost", cost.clone()),
        ("BillingAccountId", account.clone()),
        ("BillingAccountName", name(&statement.buyer.party, &statement.buyer.account)),
        ("BillingAccountType", "Administration".to_owned()),
        ("BillingCurrency", statement.currency.to_string()),
        ("BillingPeriodEnd", instant(statement.period.end)),
        ("BillingPeriodStart", instant(statement.period.start)),
        ("ChargeFrequency", "Usage-Based".to_owned()),
        ("ContractedCost", cost.clone()),
        ("EffectiveCost", cost.clone()),
        ("HostProviderName", issuer.clone()),
        ("InvoiceId", text(&statement.number)),
        ("InvoiceIssuerName", issuer.clone()),
        ("ListCost", cost.clone()),
        ("PricingCurrency", statement.currency.to_string()),
        ("PricingCurrencyEffectiveCost", cost),
        ("ProviderName", issuer.clone()),
        ("PublisherName", issuer.clone()),
        ("ServiceProviderName", issuer),
    ])
}

fn usage(
    statement: &Statement,
    line: &StatementLine,
    (part, only): (&Part, bool),
    correction: bool,
) -> Result<Charge, DocumentError> {
    let order = &line.order;
    let credit = statement.kind == StatementKind::CreditNote;
    let resource = format!("{}/{}", order.namespace, order.name);
    let (service, meter) = (clean(&order.kind, SENTENCE), line.meter.as_str());
    let (sku, list) = (line.sku.to_string(), line.price_list.to_string());
    let id = line_id(statement, correction, line, &part.booking)?;
    let mut charge = of(statement, part.minor);
    charge.extend([
        ("ChargeCategory", if credit { "Credit" } else { "Usage" }.to_owned()),
        ("ChargeDescription", text(&format!("{service} {resource}: {meter}, {sku}"))),
        ("ChargePeriodEnd", instant(line.end)),
        ("ChargePeriodStart", instant(line.start)),
        ("InvoiceDetailId", id.clone()),
        ("ResourceId", order.uid.to_string()),
        ("ResourceName", text(&resource)),
        ("ResourceType", text(&order.kind)),
        ("ServiceCategory", "Databases".to_owned()),
        ("ServiceName", text(&order.kind)),
        ("ServiceSubcategory", subcategory(&order.kind).to_owned()),
        ("SkuId", sku.clone()),
        ("SkuMeter", meter.to_owned()),
        ("SubAccountId", order.tenant.to_string()),
        ("SubAccountName", order.tenant.to_string()),
        ("SubAccountType", "Tenant".to_owned()),
        ("Tags", tags(&part.booking)?),
        ("x_LineId", id),
    ]);
    if correction && !credit {
        charge.insert("ChargeClass", "Correction".to_owned());
    }
    let share = if part.millionths > 0 { Some(part.millionths) } else { only.then_some(WHOLE_MILLIONTHS) };
    if let Some(share) = share.filter(|_| !credit) {
        charge.insert("SkuPriceId", format!("{list}/{sku}"));
        charge.insert("PricingCategory", "Standard".to_owned());
        charge.extend(priced(line, share)?);
    }
    Ok(charge)
}

/// Quantity and price of a share of a line. The product of both is exact: the cost by the list, before it was rounded.
fn priced(line: &StatementLine, millionths: u32) -> Result<Charge, DocumentError> {
    let wrong = || DocumentError::Quantity(clean(&line.quantity_ms, SENTENCE));
    let (base_units, unit) = match line.unit {
        Unit::Hour => (1, "Hours"),
        Unit::GibHour => (1_024, "GiB-Hours"),
    };
    let whole = i128::from(HOUR_MS) * base_units;
    let quantity: i128 = line.quantity_ms.parse().map_err(|_| wrong())?;
    // A share in millionths makes a quantity in millionths.
    let doubled = quantity.checked_mul(i128::from(millionths) * 2).ok_or_else(wrong)?;
    let quantity = doubled.checked_add(doubled.signum() * whole).ok_or_else(wrong)? / (whole * 2);
    let shown = decimal(quantity, QUANTITY_DECIMALS);
    let mut charge = Charge::from([
        ("ConsumedQuantity", shown.clone()),
        ("ConsumedUnit", unit.to_owned()),
        ("PricingQuantity", shown),
        ("PricingUnit", unit.to_owned()),
    ]);
    if let Some((mantissa, scale)) = mantissa(&line.unit_price) {
        let cost = quantity.checked_mul(mantissa).ok_or_else(wrong)?;
        let cost = decimal(cost, scale + QUANTITY_DECIMALS);
        charge.extend([
            ("ContractedCost", cost.clone()),
            ("ContractedUnitPrice", line.unit_price.clone()),
            ("ListCost", cost),
            ("ListUnitPrice", line.unit_price.clone()),
            ("PricingCurrencyContractedUnitPrice", line.unit_price.clone()),
            ("PricingCurrencyListUnitPrice", line.unit_price.clone()),
        ]);
    }
    Ok(charge)
}

fn tax(statement: &Statement, amount: &TaxAmount) -> Result<Charge, DocumentError> {
    let rate = percent(amount.rate_basis_points);
    let key = serde_json::to_vec(&("tax", &statement.number, amount.rate_basis_points))?;
    let id = sha256(&key);
    let mut charge = of(statement, amount.minor);
    charge.extend([
        ("ChargeCategory", "Tax".to_owned()),
        ("ChargeDescription", format!("Tax of {rate}%")),
        ("ChargePeriodEnd", instant(statement.period.end)),
        ("ChargePeriodStart", instant(statement.period.start)),
        ("InvoiceDetailId", id.clone()),
        ("ServiceCategory", "Other".to_owned()),
        ("ServiceName", "Tax".to_owned()),
        ("ServiceSubcategory", "Other (Other)".to_owned()),
        ("x_LineId", id),
    ]);
    Ok(charge)
}

/// What tells a line from every other one, hashed.
fn line_id(
    statement: &Statement,
    correction: bool,
    line: &StatementLine,
    booking: &Booking,
) -> Result<String, DocumentError> {
    let section = if correction { "correction" } else { "line" };
    let price = (&line.sku, &line.price_list, &line.unit_price);
    let key = (
        section,
        &statement.number,
        line.month,
        &line.order.uid,
        line.meter,
        price,
        line.start,
        line.end,
        booking,
    );
    Ok(sha256(&serde_json::to_vec(&key)?))
}

fn tags(booking: &Booking) -> Result<String, DocumentError> {
    let named = [
        ("budgetLine", &booking.budget_line),
        ("costCentre", &booking.cost_centre),
        ("reference", &booking.reference),
    ];
    let named = named.into_iter().filter_map(|(key, text)| Some((key, clean(text.as_ref()?, SENTENCE))));
    Ok(serde_json::to_string(&named.collect::<BTreeMap<_, _>>())?)
}

fn subcategory(kind: &str) -> &'static str {
    match kind {
        "PostgresInstance" => "Relational Databases",
        "DocumentStoreInstance" => "NoSQL Databases",
        _ => "Other (Databases)",
    }
}

/// A name that keeps its letters in ASCII, if there is one: tools join on it, whatever the version. Else what it is
/// called by the api.
fn name(party: &Party, otherwise: &str) -> String {
    let names = &party.display_name;
    let written = [&names.en, &names.fr].into_iter().flatten().map(|name| text(name));
    let readable = |name: &String| !name.is_empty() && !ascii(name).contains('?');
    written.into_iter().find(readable).unwrap_or_else(|| text(otherwise))
}

/// A text that no spreadsheet takes for a formula. It is put in quotes later.
fn text(text: &str) -> String {
    unformulated(&clean(text, SENTENCE))
}

/// The text in ASCII, which the official validator of 1.2 asks of every column: letters without their accents, and a
/// question mark for what has none.
fn ascii(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii() { c } else { plain(c) }).collect()
}

fn plain(c: char) -> char {
    const FOLDED: [(&str, char); 22] = [
        ("àáâãäåā", 'a'),
        ("çćč", 'c'),
        ("èéêëēę", 'e'),
        ("ìíîïī", 'i'),
        ("ñń", 'n'),
        ("òóôõöøō", 'o'),
        ("ùúûüū", 'u'),
        ("ýÿ", 'y'),
        ("šś", 's'),
        ("žźż", 'z'),
        ("ÀÁÂÃÄÅĀ", 'A'),
        ("ÇĆČ", 'C'),
        ("ÈÉÊËĒĘ", 'E'),
        ("ÌÍÎÏĪ", 'I'),
        ("ÑŃ", 'N'),
        ("ÒÓÔÕÖØŌ", 'O'),
        ("ÙÚÛÜŪ", 'U'),
        ("ŠŚ", 'S'),
        ("ŽŹŻ", 'Z'),
        ("‘’ʼ", '\''),
        ("–—−", '-'),
        ("\u{00A0}\u{202F}", ' '),
    ];
    FOLDED.iter().find(|(from, _)| from.contains(c)).map_or('?', |(_, to)| *to)
}

/// An instant to the second, as the specification wants it.
fn instant(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).datetime().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A decimal text as a whole number and its decimals; nothing for what is no plain number.
fn mantissa(text: &str) -> Option<(i128, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let plain = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
    let scale = u32::try_from(fraction.len()).ok().filter(|scale| *scale <= 28)?;
    let digits =
        (plain(whole) && plain(fraction) && !whole.is_empty()).then(|| format!("{whole}{fraction}"))?;
    Some((digits.parse().ok()?, scale))
}

/// `value` with so many decimals, without zeros at the end.
fn decimal(value: i128, decimals: u32) -> String {
    let width = usize::try_from(decimals).unwrap_or(0);
    let digits = format!("{:0>1$}", value.unsigned_abs(), width + 1);
    let (whole, fraction) = digits.split_at(digits.len() - width);
    let sign = if value < 0 { "-" } else { "" };
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_lose_their_accents_and_nothing_else() {
        assert_eq!(ascii("Ministère de l’Intérieur"), "Ministere de l'Interieur");
        assert_eq!(ascii("وزارة"), "?????");
    }

    #[test]
    fn decimals_are_exact_and_short() {
        for (value, decimals, expect) in [(1_500, 3, "1.5"), (-5, 3, "-0.005"), (0, 6, "0"), (42, 0, "42")] {
            assert_eq!(decimal(value, decimals), expect);
        }
        assert_eq!(mantissa("0.00201389"), Some((201_389, 8)));
        assert_eq!(mantissa("12"), Some((12, 0)));
        for text in ["", ".5", "-1", "1e3", "1.2.3"] {
            assert_eq!(mantissa(text), None, "{text}");
        }
    }
}

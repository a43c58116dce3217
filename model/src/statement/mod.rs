//! Statements: a month's bill of one tenant, once and for all.
//!
//! A statement is a document. Its canonical bytes ([`crate::canonical`]) are what is hashed, signed and stored; each
//! names the [`chain`] of those before it, so that none can be changed, removed or slipped in. Everything in it is computed from what
//! the ledger had on record when it closed ([`Statement::as_of`]), by the functions here, and so it can be computed
//! again by anybody who has that record.

pub mod breakdown;
pub mod chain;
pub mod closing;
pub mod credit;
pub mod rating;

use crate::allocation::{Booking, split};
use crate::availability::OfInstance;
use crate::canonical::{self, NotCanonical};
use crate::id::{OrderUid, PriceListName, Sku, TenantName};
use crate::money::{Currency, InvalidMoney};
use crate::party::{Party, TaxRegime, WHOLE_BASIS_POINTS};
use crate::period::{Month, Period};
use crate::price::{Unit, div_half_away};
use crate::usage::Meter;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What [`Statement::format`] says.
pub const FORMAT: &str = "siyada.cloud/statement/v1";

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum StatementKind {
    /// The bill of a month.
    Statement,
    /// Takes back an earlier one, or a part of it.
    CreditNote,
}

impl StatementKind {
    /// The word used in JSON, SQL and files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Statement => "statement",
            Self::CreditNote => "creditNote",
        }
    }
}

/// The buyer of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Buyer {
    /// The tenant that pays, for itself and for the tenants below it that have no account of their own.
    pub tenant: TenantName,
    /// The account of the tenant.
    pub account: String,
    /// Who it is.
    #[serde(flatten)]
    pub party: Party,
}

/// The order a line is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Billed {
    /// The tenant that ordered.
    pub tenant: TenantName,
    /// Namespace of the order.
    pub namespace: String,
    /// Name of the order.
    pub name: String,
    /// Its uid.
    pub uid: OrderUid,
    /// Its kind: the service.
    pub kind: String,
}

/// A part of a line, where it is booked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// Where it is booked.
    #[serde(flatten)]
    pub booking: Booking,
    /// The share of the line, in millionths; zero in a correction, whose parts are differences.
    pub millionths: u32,
    /// The amount in minor units.
    pub minor: i64,
}

/// One line: a SKU of an order at one price, booked in one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct StatementLine {
    /// The month it is about: that of the statement, or an earlier one in a correction.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub month: Month,
    /// The order.
    pub order: Billed,
    /// What was measured.
    pub meter: Meter,
    /// The price key: the plan, for compute.
    pub sku: Sku,
    /// What one unit of the price is.
    pub unit: Unit,
    /// Price of one unit, as a decimal text in major units.
    pub unit_price: String,
    /// The list the price comes from.
    pub price_list: PriceListName,
    /// First instant that it counts.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub start: Timestamp,
    /// First instant after the last that it counts.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub end: Timestamp,
    /// Exact quantity: base units (instances, MiB) x milliseconds, as a whole number; it may exceed 64 bits.
    pub quantity_ms: String,
    /// The amount without tax in minor units: rounded here and nowhere before.
    pub minor: i64,
    /// The rate of the tax on it in basis points; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax_basis_points: Option<u32>,
    /// The same amount by where it is booked; the parts sum to it.
    pub parts: Vec<Part>,
}

/// Time that was not proven and is not billed, or was decided to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ListedGap {
    /// The order.
    pub order: Billed,
    /// The meter.
    pub meter: Meter,
    /// First instant.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub start: Timestamp,
    /// First instant after it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub end: Timestamp,
    /// Why it is not proven.
    pub reason: String,
    /// Whether it is billed all the same.
    pub billed: bool,
    /// Who decided.
    pub decided_by: String,
    /// On what evidence.
    pub evidence: String,
}

/// The tax at one rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TaxAmount {
    /// The rate in basis points.
    pub rate_basis_points: u32,
    /// What it is computed on, in minor units.
    pub base_minor: i64,
    /// The tax in minor units: rounded once.
    pub minor: i64,
}

/// The sum of what is booked in one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct BookedTotal {
    /// The place.
    #[serde(flatten)]
    pub booking: Booking,
    /// Without tax, in minor units.
    pub net_minor: i64,
    /// Its part of the tax.
    pub tax_minor: i64,
    /// With tax.
    pub gross_minor: i64,
}

/// The sums of a document. Totals are sums of shown figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Sum of the lines, in minor units.
    pub net_minor: i64,
    /// The tax, by rate.
    pub taxes: Vec<TaxAmount>,
    /// Sum of net and taxes: what is to be paid.
    pub gross_minor: i64,
    /// The same by where it is booked; each column sums to the figure above it.
    pub booked: Vec<BookedTotal>,
}

/// A closed document. Field for field what docs/reference/statement.md specifies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// [`FORMAT`].
    pub format: String,
    /// What it is.
    pub kind: StatementKind,
    /// Its number, without holes in its series: `SIY-2026-000001`, credit notes `SIY-C-2026-000001`.
    pub number: String,
    /// When it was issued, by the ledger's clock.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub issued_at: Timestamp,
    /// Who bills.
    pub issuer: Party,
    /// Who is billed.
    pub buyer: Buyer,
    /// The month.
    pub period: Period,
    /// Currency of every amount.
    pub currency: Currency,
    /// The tax between the two.
    pub tax: TaxRegime,
    /// The number that a credit note takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credits: Option<String>,
    /// Why, for a credit note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The lines, sorted by order, meter, SKU, price and start.
    pub lines: Vec<StatementLine>,
    /// What became known late about earlier months: differences to what was billed for them.
    pub corrections: Vec<StatementLine>,
    /// What could not be measured.
    pub gaps: Vec<ListedGap>,
    /// The availability of each instance that should have run in the month, sorted by order; absent where nothing was
    /// observed in all of the month, and in credit notes. Nothing of it is money.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub availability: Vec<OfInstance>,
    /// The sums.
    pub totals: Totals,
    /// Sequence of the last record that it is computed from.
    pub as_of: i64,
    /// Place in the chain of all documents of the ledger, from 1.
    pub position: i64,
    /// The chain up to the document before it ([`chain::extend`]); 64 zeros before the first.
    pub previous_chain: String,
}

impl Statement {
    /// The canonical bytes: what is hashed, signed and stored.
    ///
    /// # Errors
    /// [`NotCanonical::Number`] for an amount above 2^53 - 1 minor units.
    pub fn bytes(&self) -> Result<Vec<u8>, NotCanonical> {
        canonical::bytes(self)
    }
}

/// The sums over lines and corrections.
///
/// # Errors
/// [`InvalidMoney::TooLarge`] when a sum is outside of 64 bits.
pub fn totals<'a>(lines: impl Iterator<Item = &'a StatementLine>) -> Result<Totals, InvalidMoney> {
    let mut bases: BTreeMap<u32, i64> = BTreeMap::new();
    let mut booked: BTreeMap<(Option<u32>, &Booking), i64> = BTreeMap::new();
    let mut net_minor = 0_i64;
    for line in lines {
        add(&mut net_minor, line.minor)?;
        if let Some(rate) = line.tax_basis_points {
            add(bases.entry(rate).or_default(), line.minor)?;
        }
        for part in &line.parts {
            add(booked.entry((line.tax_basis_points, &part.booking)).or_default(), part.minor)?;
        }
    }
    let taxes: Vec<TaxAmount> = bases
        .into_iter()
        .map(|(rate, base)| {
            Ok(TaxAmount { rate_basis_points: rate, base_minor: base, minor: tax(base, rate)? })
        })
        .collect::<Result<_, InvalidMoney>>()?;
    let mut gross_minor = net_minor;
    for amount in &taxes {
        add(&mut gross_minor, amount.minor)?;
    }
    Ok(Totals { booked: by_booking(&booked, &taxes)?, net_minor, taxes, gross_minor })
}

/// The tax on `base` minor units: rounded once for a rate, half away from zero.
///
/// # Errors
/// [`InvalidMoney::TooLarge`]: not for rates up to a whole.
pub fn tax(base: i64, rate_basis_points: u32) -> Result<i64, InvalidMoney> {
    let product = i128::from(base).saturating_mul(i128::from(rate_basis_points));
    let minor = div_half_away(product, i128::from(WHOLE_BASIS_POINTS)).ok_or(InvalidMoney::TooLarge)?;
    i64::try_from(minor).map_err(|_| InvalidMoney::TooLarge)
}

/// What is booked where, with the tax of each rate split over the places that have some of it.
fn by_booking(
    booked: &BTreeMap<(Option<u32>, &Booking), i64>,
    taxes: &[TaxAmount],
) -> Result<Vec<BookedTotal>, InvalidMoney> {
    let mut totals: BTreeMap<&Booking, (i64, i64)> = BTreeMap::new();
    for ((_, booking), net) in booked {
        add(&mut totals.entry(booking).or_default().0, *net)?;
    }
    for amount in taxes {
        let places: Vec<(&Booking, i64)> = booked
            .iter()
            .filter(|((rate, _), _)| *rate == Some(amount.rate_basis_points))
            .map(|((_, booking), net)| (*booking, *net))
            .collect();
        // A place's tax as if it were alone; what rounding adds or takes is spread by the largest.
        let mut parts: Vec<i64> =
            places.iter().map(|(_, net)| tax(*net, amount.rate_basis_points)).collect::<Result<_, _>>()?;
        let sum =
            parts.iter().try_fold(0_i64, |sum, part| sum.checked_add(*part)).ok_or(InvalidMoney::TooLarge)?;
        let left = amount.minor.checked_sub(sum).ok_or(InvalidMoney::TooLarge)?;
        let weights: Vec<i128> = places.iter().map(|(_, net)| i128::from(net.unsigned_abs())).collect();
        for (part, more) in parts.iter_mut().zip(split(left, &weights)?) {
            add(part, more)?;
        }
        for ((booking, _), part) in places.iter().zip(parts) {
            add(&mut totals.entry(booking).or_default().1, part)?;
        }
    }
    totals
        .into_iter()
        .map(|(booking, (net_minor, tax_minor))| {
            let mut gross_minor = net_minor;
            add(&mut gross_minor, tax_minor)?;
            Ok(BookedTotal { booking: booking.clone(), net_minor, tax_minor, gross_minor })
        })
        .collect()
}

fn add(sum: &mut i64, amount: i64) -> Result<(), InvalidMoney> {
    *sum = sum.checked_add(amount).ok_or(InvalidMoney::TooLarge)?;
    Ok(())
}

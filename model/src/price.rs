//! Prices, and the one function that turns quantity, time and price into money.

use crate::id::{PriceListName, Sku};
use crate::money::{Currency, InvalidMoney, Money};
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// Hours of the longest month there is: October with the hour that comes twice. A commitment is the price of that
/// month, so that no bill of any month exceeds it.
pub const LONGEST_MONTH_HOURS: i64 = 745;
/// Milliseconds in an hour.
pub const HOUR_MS: i64 = 3_600_000;
/// Most decimals a unit price may have.
pub const MOST_PRICE_DECIMALS: u32 = 8;

/// What a unit price is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Unit {
    /// One instance for one hour.
    Hour,
    /// One GiB for one hour; quantities of such a SKU are counted in MiB.
    GibHour,
}

impl Unit {
    /// How many of the quantity's base unit make one priced unit.
    fn divisor(self) -> i128 {
        match self {
            Self::Hour => 1,
            Self::GibHour => 1_024,
        }
    }

    /// The word used in YAML, SQL and HTTP.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "Hour",
            Self::GibHour => "GibHour",
        }
    }
}

/// `quantity_ms` (base units x milliseconds) in priced units, in thousandths: what people are shown. Rounded half away from
/// zero; nothing is computed from it.
pub fn thousandths(quantity_ms: i128, unit: Unit) -> Option<i128> {
    let whole = i128::from(HOUR_MS).checked_mul(unit.divisor())?;
    let doubled = quantity_ms.checked_mul(2_000)?;
    doubled.checked_add(doubled.signum().checked_mul(whole)?)?.checked_div(whole.checked_mul(2)?)
}

/// Thousandths as a plain decimal number: `744.000`.
pub fn decimal_of_thousandths(thousandths: i128) -> String {
    let sign = if thousandths < 0 { "-" } else { "" };
    let digits = thousandths.unsigned_abs();
    let (whole, rest) = (digits.checked_div(1_000), digits.checked_rem(1_000));
    format!("{sign}{}.{:03}", whole.unwrap_or(0), rest.unwrap_or(0))
}

/// Why an amount has no price.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// No price list is in force, or the one in force does not know the SKU.
    #[error("no price for {sku} in {}", .list.as_ref().map_or("any price list in force".to_owned(), |l| format!("price list {l}")))]
    Unknown {
        /// The SKU that has no price.
        sku: Sku,
        /// The price list that was looked at.
        list: Option<PriceListName>,
    },
    /// The result is outside of 64 bits, or currencies were mixed.
    #[error(transparent)]
    Money(#[from] InvalidMoney),
}

/// The price of one SKU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SkuPrice {
    /// What is priced.
    pub sku: Sku,
    /// What one unit is.
    pub unit: Unit,
    /// Price of one unit in major units of the list's currency, at most 8 decimals, never negative.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub price: Decimal,
}

/// A price list as it was published. Immutable; the next one begins at its own `valid_from`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PriceList {
    /// Its name.
    pub name: PriceListName,
    /// Currency of every price.
    pub currency: Currency,
    /// In force from this instant until the next list's.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub valid_from: Timestamp,
    /// The prices.
    pub skus: Vec<SkuPrice>,
}

/// A count of one SKU: instances, or MiB for a SKU priced per GiB.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// What is counted.
    pub sku: Sku,
    /// How many of its base unit (instances, or MiB).
    pub quantity: i64,
}

impl PriceList {
    /// The price of `sku`.
    pub fn price_of(&self, sku: &Sku) -> Option<&SkuPrice> {
        self.skus.iter().find(|p| p.sku == *sku)
    }

    /// What `items` cost at most in one month: each line is the price of 745 hours, rounded once.
    ///
    /// # Errors
    /// [`PriceError::Unknown`] names the first SKU without a price.
    pub fn monthly_maximum(&self, items: &[Item]) -> Result<Money, PriceError> {
        let hours_ms = i128::from(LONGEST_MONTH_HOURS).saturating_mul(i128::from(HOUR_MS));
        items.iter().try_fold(Money::zero(self.currency), |total, item| {
            let unknown = || PriceError::Unknown { sku: item.sku.clone(), list: Some(self.name.clone()) };
            let price = self.price_of(&item.sku).ok_or_else(unknown)?;
            let quantity_ms =
                i128::from(item.quantity).checked_mul(hours_ms).ok_or(InvalidMoney::TooLarge)?;
            Ok(total.add(amount(quantity_ms, price, self.currency)?)?)
        })
    }
}

/// The list in force at `at`: the one with the latest `valid_from` that is not after it.
pub fn in_force(lists: &[PriceList], at: Timestamp) -> Option<&PriceList> {
    lists.iter().filter(|l| l.valid_from <= at).max_by_key(|l| l.valid_from)
}

/// Money for `quantity_ms` (base units x milliseconds) at `price`: **the only place where anything is rounded**, half
/// away from zero, to the currency's minor unit.
///
/// # Errors
/// [`InvalidMoney::TooLarge`] when the exact product does not fit.
pub fn amount(quantity_ms: i128, price: &SkuPrice, currency: Currency) -> Result<Money, InvalidMoney> {
    let too_large = || InvalidMoney::TooLarge;
    let minor_per_major = 10_i128.checked_pow(currency.exponent()).ok_or_else(too_large)?;
    let normal = price.price.normalize();
    let numerator = quantity_ms
        .checked_mul(normal.mantissa())
        .and_then(|n| n.checked_mul(minor_per_major))
        .ok_or_else(too_large)?;
    let denominator = 10_i128
        .checked_pow(normal.scale())
        .and_then(|d| d.checked_mul(i128::from(HOUR_MS)))
        .and_then(|d| d.checked_mul(price.unit.divisor()))
        .ok_or_else(too_large)?;
    let minor = div_half_away(numerator, denominator).ok_or_else(too_large)?;
    Ok(Money { minor: i64::try_from(minor).map_err(|_| too_large())?, currency })
}

/// `numerator / denominator` to the nearest integer, halves away from zero. `denominator` is positive.
pub(crate) fn div_half_away(numerator: i128, denominator: i128) -> Option<i128> {
    let quotient = numerator.checked_div(denominator)?;
    let remainder = numerator.checked_rem(denominator)?;
    if remainder.checked_abs()?.checked_mul(2)? >= denominator {
        quotient.checked_add(numerator.signum())
    } else {
        Some(quotient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn price(unit: Unit, price: &str) -> SkuPrice {
        SkuPrice { sku: "s".parse().unwrap(), unit, price: price.parse().unwrap() }
    }

    #[test]
    fn i11_amounts_round_once_half_away_from_zero() {
        let check = |quantity_ms: i128, p: &SkuPrice, expect: i64| {
            assert_eq!(amount(quantity_ms, p, Currency::MAD).unwrap().minor, expect);
        };
        let hour = i128::from(HOUR_MS);
        check(hour, &price(Unit::Hour, "1.25"), 125);
        check(hour, &price(Unit::Hour, "0.005"), 1);
        check(hour, &price(Unit::Hour, "0.0049"), 0);
        check(-hour, &price(Unit::Hour, "0.005"), -1);
        check(1_024 * hour, &price(Unit::GibHour, "0.01"), 1);
        check(10 * 1_024 * hour * 745, &price(Unit::GibHour, "0.0020"), 1_490);
    }

    #[test]
    fn the_monthly_maximum_is_745_hours_of_each_line() {
        let list = PriceList {
            name: "l".parse().unwrap(),
            currency: Currency::MAD,
            valid_from: Timestamp::UNIX_EPOCH,
            skus: vec![price(Unit::Hour, "1.00")],
        };
        let items = [Item { sku: "s".parse().unwrap(), quantity: 2 }];
        assert_eq!(list.monthly_maximum(&items).unwrap().minor, 149_000);
        let unknown = [Item { sku: "other".parse().unwrap(), quantity: 1 }];
        assert_eq!(
            list.monthly_maximum(&unknown).unwrap_err().to_string(),
            "no price for other in price list l"
        );
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_no_panic() {
        assert_eq!(
            amount(i128::MAX, &price(Unit::Hour, "9999.99999999"), Currency::MAD),
            Err(InvalidMoney::TooLarge)
        );
    }

    proptest! {
        #[test]
        fn rounding_errs_by_at_most_half_a_minor_unit(q in 0_i128..1 << 70, mantissa in 0_i64..1_000_000_000) {
            let p = price(Unit::GibHour, &Decimal::new(mantissa, 8).to_string());
            let minor = i128::from(amount(q, &p, Currency::MAD).map_err(|_| TestCaseError::reject("large"))?.minor);
            let denominator = 100_000_000_i128 * i128::from(HOUR_MS) * 1_024;
            let exact = q * i128::from(mantissa) * 100;
            prop_assert!((minor * denominator - exact).abs() * 2 <= denominator);
        }
    }
}

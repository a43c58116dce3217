//! Amounts of money: whole minor units with their currency.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A currency, by its ISO 4217 code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Currency {
    /// Moroccan dirham.
    MAD,
    /// Euro.
    EUR,
    /// US dollar.
    USD,
    /// Tunisian dinar: three decimals.
    TND,
    /// West African franc: no decimals.
    XOF,
}

impl Currency {
    /// Every currency that is accepted.
    pub const ALL: [Self; 5] = [Self::MAD, Self::EUR, Self::USD, Self::TND, Self::XOF];

    /// Number of decimals of the minor unit (ISO 4217).
    pub fn exponent(self) -> u32 {
        match self {
            Self::MAD | Self::EUR | Self::USD => 2,
            Self::TND => 3,
            Self::XOF => 0,
        }
    }

    /// The ISO 4217 code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MAD => "MAD",
            Self::EUR => "EUR",
            Self::USD => "USD",
            Self::TND => "TND",
            Self::XOF => "XOF",
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Currency {
    type Err = InvalidMoney;
    fn from_str(code: &str) -> Result<Self, InvalidMoney> {
        Self::ALL
            .into_iter()
            .find(|c| c.as_str() == code)
            .ok_or_else(|| InvalidMoney::Currency(code.to_owned()))
    }
}

/// Why a text is not an amount, or why a sum has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMoney {
    /// The code is not one of [`Currency::ALL`].
    #[error("currency {0:?} is not known; use MAD, EUR, USD, TND or XOF")]
    Currency(String),
    /// The text is not a decimal number with at most the currency's decimals.
    #[error("amount {text:?} must be a plain number with at most {decimals} decimals, like 1240.50")]
    Amount {
        /// What was given.
        text: String,
        /// Decimals of the currency.
        decimals: u32,
    },
    /// Two currencies met in one sum.
    #[error("{0} and {1} cannot be added")]
    Mixed(Currency, Currency),
    /// The result is outside of 64 bits.
    #[error("the amount is too large")]
    TooLarge,
}

/// An amount: `minor` hundredths (thousandths, ...) of `currency`. Never a float.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Money {
    /// Count of the currency's minor unit: 124050 is 1 240.50 MAD.
    pub minor: i64,
    /// The currency.
    pub currency: Currency,
}

impl Money {
    /// No money at all.
    pub const fn zero(currency: Currency) -> Self {
        Self { minor: 0, currency }
    }

    /// Reads `1240.5` as an amount. Spaces, signs, exponents and more decimals than the currency has are refused.
    ///
    /// # Errors
    /// [`InvalidMoney::Amount`] with what is wanted instead, [`InvalidMoney::TooLarge`] outside of 64 bits.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, InvalidMoney> {
        let decimals = currency.exponent();
        let wrong = || InvalidMoney::Amount { text: text.to_owned(), decimals };
        let (whole, fraction) = text.split_once('.').map_or((text, ""), |(w, f)| (w, f));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        let width = usize::try_from(decimals).map_err(|_| InvalidMoney::TooLarge)?;
        if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > width {
            return Err(wrong());
        }
        if text.contains('.') && fraction.is_empty() {
            return Err(wrong());
        }
        let minor = format!("{whole}{fraction:0<width$}").parse().map_err(|_| InvalidMoney::TooLarge)?;
        Ok(Self { minor, currency })
    }

    /// The exact sum.
    ///
    /// # Errors
    /// [`InvalidMoney::Mixed`] for two currencies, [`InvalidMoney::TooLarge`] outside of 64 bits.
    #[expect(clippy::should_implement_trait, reason = "the operator cannot fail; this sum can")]
    pub fn add(self, other: Self) -> Result<Self, InvalidMoney> {
        if self.currency != other.currency {
            return Err(InvalidMoney::Mixed(self.currency, other.currency));
        }
        let minor = self.minor.checked_add(other.minor).ok_or(InvalidMoney::TooLarge)?;
        Ok(Self { minor, currency: self.currency })
    }

    /// The amount as a plain decimal number, `1240.50`, for files and columns.
    pub fn decimal(self) -> String {
        let width = usize::try_from(self.currency.exponent()).unwrap_or(0);
        let digits = format!("{:0>1$}", self.minor.unsigned_abs(), width.saturating_add(1));
        let (whole, fraction) = digits.split_at(digits.len().saturating_sub(width));
        let sign = if self.minor < 0 { "-" } else { "" };
        if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
    }
}

impl fmt::Display for Money {
    /// For people: `1 240.50 MAD`, thousands apart by a space.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = self.decimal();
        let (sign, plain) = plain.strip_prefix('-').map_or(("", plain.as_str()), |rest| ("-", rest));
        let (whole, fraction) = plain.split_once('.').map_or((plain, None), |(w, f)| (w, Some(f)));
        f.write_str(sign)?;
        for (index, digit) in whole.chars().enumerate() {
            let left = whole.len().saturating_sub(index);
            if index > 0 && left.is_multiple_of(3) {
                f.write_str(" ")?;
            }
            write!(f, "{digit}")?;
        }
        if let Some(fraction) = fraction {
            write!(f, ".{fraction}")?;
        }
        write!(f, " {}", self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_read_exactly_or_refused() {
        let check = |text: &str, expect: Option<i64>| {
            assert_eq!(Money::parse(text, Currency::MAD).ok().map(|m| m.minor), expect, "{text:?}");
        };
        check("0", Some(0));
        check("1240", Some(124_000));
        check("1240.5", Some(124_050));
        check("1240.50", Some(124_050));
        check("1240.505", None);
        check("1 240", None);
        check("1,240", None);
        check("-1", None);
        check("1e3", None);
        check("", None);
        check(".5", None);
        check("5.", None);
        check("١٢", None);
        check("99999999999999999999", None);
    }

    #[test]
    fn people_read_thousands_apart() {
        let check = |minor, currency, expect: &str| assert_eq!(Money { minor, currency }.to_string(), expect);
        check(124_000, Currency::MAD, "1 240.00 MAD");
        check(5, Currency::MAD, "0.05 MAD");
        check(-123_456_789, Currency::MAD, "-1 234 567.89 MAD");
        check(1_000, Currency::XOF, "1 000 XOF");
        check(1_500, Currency::TND, "1.500 TND");
    }

    proptest! {
        #[test]
        fn the_decimal_form_reads_back(minor in 0..i64::MAX) {
            for currency in Currency::ALL {
                let money = Money { minor, currency };
                prop_assert_eq!(Money::parse(&money.decimal(), currency), Ok(money));
            }
        }
    }
}

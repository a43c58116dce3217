//! Amounts as people write and read them. All of it is exact.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use siyada_model::allocation::{Booking, Share, WHOLE_MILLIONTHS};
use siyada_model::budget::LineName;
use siyada_model::money::{Currency, Money};
use siyada_model::party::WHOLE_BASIS_POINTS;
use siyada_model::price::{Item, Unit, decimal_of_thousandths, thousandths};
use siyada_model::statement::breakdown::{Dimension, UnknownDimension};
use siyada_model::usage::Meter;
use siyada_model::wire::CreditedLine;

/// Reads `1300.00 MAD` or `1 300 MAD`.
pub fn money(text: &str) -> Result<Money, String> {
    let text = text.trim();
    let (amount, currency) =
        text.rsplit_once(' ').ok_or("write the amount and the currency, like 1300.00 MAD")?;
    let currency: Currency = currency.parse().map_err(|cause| format!("{cause}"))?;
    Money::parse(&amount.replace(' ', ""), currency).map_err(|cause| cause.to_string())
}

fn whole(text: &str) -> Option<i64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Reads `postgres-small=1`: a price key and how much of it.
pub fn item(text: &str) -> Result<Item, String> {
    let wrong = || format!("{text:?} is no item; write KEY=QUANTITY, like postgres-small=1");
    let (sku, quantity) = text.split_once('=').ok_or_else(wrong)?;
    let quantity = whole(quantity).ok_or_else(wrong)?;
    Ok(Item { sku: sku.parse().map_err(|cause| format!("{cause}"))?, quantity })
}

/// Reads an instant, `2026-10-01T00:00:00Z`, or a day, which begins at midnight UTC.
pub fn instant(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let midnight = text.parse::<Date>().and_then(|day| day.to_zoned(TimeZone::UTC));
    let read = midnight.map(|midnight| midnight.timestamp());
    read.map_err(|_| format!("{text:?} is no instant; write 2026-10-01 or 2026-10-01T08:00:00Z"))
}

/// Reads a day, `2026-10-01`.
pub fn day(text: &str) -> Result<Date, String> {
    text.parse().map_err(|_| format!("{text:?} is no day; write 2026-10-01"))
}

/// Reads `2026-30-10=60%` or `2026-30-10=600000`: a budget line and its share, in percent or in millionths.
pub fn share(text: &str) -> Result<Share, String> {
    let wrong = || format!("{text:?} is no share; write LINE=60% or LINE=600000 (millionths)");
    let (line, part) = text.rsplit_once('=').ok_or_else(wrong)?;
    let line: LineName = line.parse().map_err(|cause| format!("{cause}"))?;
    let read =
        part.strip_suffix('%').map_or_else(|| whole(part), |percent| decimal(percent, PERCENT_DECIMALS));
    let millionths = read.and_then(|read| u32::try_from(read).ok()).ok_or_else(wrong)?;
    let booking = Booking { budget_line: Some(line.into()), ..Booking::default() };
    Ok(Share { booking, millionths })
}

/// Decimals of a percentage in millionths.
const PERCENT_DECIMALS: usize = 4;

/// Reads a decimal number as a count of its last decimal.
fn decimal(text: &str, decimals: usize) -> Option<i64> {
    let (units, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let sound = !units.is_empty() && !fraction.is_empty() && fraction.len() <= decimals;
    sound.then(|| whole(&format!("{units}{fraction:0<decimals$}")))?
}

/// A part of a whole in percent: `20 %`, `33.3333 %`.
fn percent_of(part: u32, whole: u32) -> String {
    let millionths = u64::from(part) * u64::from(WHOLE_MILLIONTHS) / u64::from(whole);
    let (units, fraction) = (millionths / 10_000, format!("{:04}", millionths % 10_000));
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { format!("{units} %") } else { format!("{units}.{fraction} %") }
}

/// Basis points as people read them.
pub fn percent(basis_points: u32) -> String {
    percent_of(basis_points, WHOLE_BASIS_POINTS)
}

/// Basis points that may be below nothing or above the whole, as people read them.
pub fn signed_percent(basis_points: i64) -> String {
    let sign = if basis_points < 0 { "-" } else { "" };
    let (units, fraction) = (basis_points.unsigned_abs() / 100, basis_points.unsigned_abs() % 100);
    format!("{sign}{units}.{fraction:02} %")
}

/// Reads `service=PostgresInstance`: what a figure must have.
pub fn only(text: &str) -> Result<(Dimension, String), String> {
    let wrong = || format!("{text:?} is no filter; write WHAT=VALUE, like service=PostgresInstance");
    let (dimension, value) = text.split_once('=').ok_or_else(wrong)?;
    let dimension = dimension.parse().map_err(|cause: UnknownDimension| cause.to_string())?;
    Ok((dimension, value.to_owned()))
}

/// Millionths as people read them.
pub fn percent_of_millionths(millionths: u32) -> String {
    percent_of(millionths, WHOLE_MILLIONTHS)
}

/// So much of a line of a statement, as it was typed: only the statement says in what currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartOfLine {
    line: usize,
    amount: String,
}

/// Reads `0=12.50`: a line and how much of it.
pub fn part_of_line(text: &str) -> Result<PartOfLine, String> {
    let wrong = || format!("{text:?} is no part of a line; write LINE=AMOUNT, like 0=12.50");
    let (line, amount) = text.split_once('=').ok_or_else(wrong)?;
    let line = whole(line).and_then(|line| usize::try_from(line).ok()).ok_or_else(wrong)?;
    Ok(PartOfLine { line, amount: amount.trim().to_owned() })
}

impl PartOfLine {
    /// The part in the currency of its statement. It has the sign of its line.
    pub fn credited(&self, currency: Currency) -> Result<CreditedLine, String> {
        let amount = match self.amount.rsplit_once(' ') {
            Some((amount, other)) if other == currency.as_str() => amount,
            Some((_, other)) if other.starts_with(|c: char| c.is_alphabetic()) => {
                return Err(format!("the statement is in {currency}, not in {other}"));
            }
            _ => &self.amount,
        };
        let (sign, amount) = amount.strip_prefix('-').map_or((1, amount), |amount| (-1, amount));
        let money = Money::parse(&amount.replace(' ', ""), currency).map_err(|cause| cause.to_string())?;
        Ok(CreditedLine { line: self.line, minor: sign * money.minor })
    }
}

/// An exact quantity of a meter as hours of its unit, to three decimals, half away from zero.
pub fn hours(meter: Meter, quantity_ms: &str) -> String {
    let Ok(exact) = quantity_ms.parse::<i128>() else { return quantity_ms.to_owned() };
    let (unit, word) = match meter {
        Meter::COMPUTE | Meter::STANDBY => (Unit::Hour, "h"),
        Meter::STORAGE | Meter::BACKUP => (Unit::GibHour, "GiB h"),
        // Of one that came later nothing is known here but that it counts something.
        _ => (Unit::Hour, "unit h"),
    };
    match thousandths(exact, unit) {
        Some(thousandths) => format!("{} {word}", decimal_of_thousandths(thousandths)),
        None => format!("{quantity_ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly_or_refused() {
        let mad = |minor| Ok(Money { minor, currency: Currency::MAD });
        assert_eq!(money("1300.50 MAD"), mad(130_050));
        assert_eq!(money("1 300 MAD"), mad(130_000));
        for wrong in ["1300", "1300.505 MAD", "-1 MAD", "1300 XXX", ""] {
            assert!(money(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            item("postgres-small=2").map(|i| (i.sku.to_string(), i.quantity)),
            Ok(("postgres-small".to_owned(), 2))
        );
        assert!(item("postgres-small").is_err() && item("a=-1").is_err());
    }

    #[test]
    fn shares_are_read_in_percent_and_in_millionths() {
        let check = |text: &str, expect: Option<(&str, u32)>| {
            let read = share(text).ok();
            let read = read.as_ref().map(|s| (s.booking.budget_line.as_deref().unwrap(), s.millionths));
            assert_eq!(read, expect, "{text}");
        };
        check("2026-30-10=60%", Some(("2026-30-10", 600_000)));
        check("2026-30-10=33.3333%", Some(("2026-30-10", 333_333)));
        check("a=b=400000", Some(("a=b", 400_000)));
        for wrong in [
            "2026-30-10",
            "=60%",
            "a=",
            "a=%",
            "a=-1%",
            "a=1.23456%",
            "a=.5%",
            "a=5.%",
            "a=0.5",
            "a\u{202e}=1%",
        ] {
            check(wrong, None);
        }
        assert_eq!(
            [percent(2_000), percent(1_050), percent_of_millionths(333_333)],
            ["20 %", "10.5 %", "33.3333 %"]
        );
    }

    #[test]
    fn a_part_of_a_line_is_in_the_currency_of_its_statement() {
        let check = |text: &str, expect: Option<(usize, i64)>| {
            let read = part_of_line(text).and_then(|part| part.credited(Currency::MAD)).ok();
            assert_eq!(read.map(|read| (read.line, read.minor)), expect, "{text}");
        };
        check("0=12.50", Some((0, 1_250)));
        check("3=1 250.5 MAD", Some((3, 125_050)));
        check("1=-0.05", Some((1, -5)));
        for wrong in ["12.50", "0=12.505", "0=12.50 EUR", "0=MAD", "-1=1", "x=1", "0=--1"] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_day_begins_at_midnight_utc() {
        assert_eq!(instant("2026-10-01").unwrap().to_string(), "2026-10-01T00:00:00Z");
        assert_eq!(instant("2026-10-01T00:00:00+01:00").unwrap().to_string(), "2026-09-30T23:00:00Z");
        assert!(instant("yesterday").is_err());
    }

    #[test]
    fn hours_are_rounded_once() {
        let check = |meter, ms: &str, expect: &str| assert_eq!(hours(meter, ms), expect, "{ms}");
        check(Meter::COMPUTE, "3600000", "1.000 h");
        check(Meter::COMPUTE, "1800", "0.001 h");
        check(Meter::COMPUTE, "1799", "0.000 h");
        check(Meter::STORAGE, "3686400000", "1.000 GiB h");
        check(Meter::BACKUP, "3686400000", "1.000 GiB h");
        check("licences".parse().unwrap(), "7200000", "2.000 unit h");
        check(Meter::COMPUTE, "170141183460469231731687303715884", "47261439850130342147690917.699 h");
        let largest = i128::MAX.to_string();
        check(Meter::COMPUTE, &largest, &format!("{largest} ms"));
    }
}

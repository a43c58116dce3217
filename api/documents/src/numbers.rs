//! Figures and dates as people read them. In integers and texts only.

use crate::shown::Shown;
use crate::words::Words;
use crate::{DocumentError, Language};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use siyada_model::money::{Currency, Money};
use siyada_model::price::{self, HOUR_MS, Unit};

pub use siyada_model::price::decimal_of_thousandths;

/// A space that is narrow and does not break.
const NARROW: char = '\u{202F}';

/// `quantity_ms` in the unit of the price, in thousandths.
///
/// # Errors
/// [`DocumentError::Quantity`] for a text that is no whole number, or one far beyond anything that can be billed.
pub fn thousandths(quantity_ms: &str, unit: Unit) -> Result<i128, DocumentError> {
    let wrong = || DocumentError::Quantity(quantity_ms.chars().take(60).collect());
    price::thousandths(quantity_ms.parse().map_err(|_| wrong())?, unit).ok_or_else(wrong)
}

/// A plain decimal number as it is written in `language`. French and Moroccan Arabic write the same figures, so that
/// both versions of a document can be compared at a glance.
pub fn localized(decimal: &str, language: Language) -> String {
    let (group, point) = match language {
        Language::French | Language::Arabic => (NARROW, ','),
        Language::English => (',', '.'),
    };
    let (sign, digits) = decimal.strip_prefix('-').map_or(("", decimal), |rest| ("-", rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut text = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && whole.len().saturating_sub(index).is_multiple_of(3) {
            text.push(group);
        }
        text.push(digit);
    }
    if !fraction.is_empty() {
        text.push(point);
        text.push_str(fraction);
    }
    text
}

/// An amount without its currency.
pub fn amount(minor: i64, currency: Currency, language: Language) -> String {
    localized(&Money { minor, currency }.decimal(), language)
}

/// Basis points as a plain decimal number of percent: `20` or `10.5`.
pub fn percent(basis_points: u32) -> String {
    let text = format!("{}.{:02}", basis_points / 100, basis_points % 100);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A rate: `20 %`.
pub fn rate(basis_points: u32, language: Language) -> String {
    let number = localized(&percent(basis_points), language);
    match language {
        Language::English => format!("{number}%"),
        Language::French | Language::Arabic => format!("{number}{NARROW}%"),
    }
}

/// An instant, in UTC to the second or millisecond: `2026-09-30 23:00:00`. Local time is not shown: it depends on a
/// database of time zones that changes, and a document does not.
pub fn instant(at: Timestamp) -> String {
    let at = at.to_zoned(TimeZone::UTC).datetime();
    let millisecond = at.millisecond();
    let fraction = if millisecond == 0 { String::new() } else { format!(".{millisecond:03}") };
    format!("{}{fraction}", at.strftime("%Y-%m-%d %H:%M:%S"))
}

/// A date with the name of its month, and the time in UTC.
pub fn date(at: Timestamp, words: &Words) -> Shown {
    let at = at.to_zoned(TimeZone::UTC).datetime();
    let (space, comma) = (Shown::word(" "), Shown::word(words.comma));
    let day = Shown::figure(&at.day().to_string()).and(&space).and(&Shown::word(words.month(at.month())));
    let day = day.and(&space).and(&Shown::figure(&at.year().to_string()));
    day.and(&comma).and(&Shown::figure(&format!("{} UTC", at.strftime("%H:%M:%S"))))
}

/// The length of a period in hours, in thousandths.
pub fn hours(start: Timestamp, end: Timestamp) -> i128 {
    i128::from(end.as_millisecond().saturating_sub(start.as_millisecond())) * 1_000 / i128::from(HOUR_MS)
}

/// A time in hours, minutes and seconds, exactly: `743:58:12`, or `743:58:12.250`.
pub fn clock(ms: i64) -> String {
    let (hours, minutes, seconds) = (ms / HOUR_MS, ms / 60_000 % 60, ms / 1_000 % 60);
    let fraction = if ms % 1_000 == 0 { String::new() } else { format!(".{:03}", ms % 1_000) };
    format!("{hours}:{minutes:02}:{seconds:02}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_time_is_shown_to_the_millisecond() {
        let check = |ms: i64, expect: &str| assert_eq!(clock(ms), expect);
        check(0, "0:00:00");
        check(999, "0:00:00.999");
        check(31 * 86_400_000, "744:00:00");
        check(743 * HOUR_MS + 58 * 60_000 + 12_250, "743:58:12.250");
    }

    #[test]
    fn numbers_are_written_as_the_language_writes_them() {
        let check = |decimal: &str, french: &str, english: &str| {
            assert_eq!(localized(decimal, Language::French).replace(NARROW, " "), french);
            assert_eq!(localized(decimal, Language::Arabic), localized(decimal, Language::French));
            assert_eq!(localized(decimal, Language::English), english);
        };
        check("1240.50", "1 240,50", "1,240.50");
        check("-1234567.89", "-1 234 567,89", "-1,234,567.89");
        check("0.00201389", "0,00201389", "0.00201389");
        check("999", "999", "999");
        check("1000", "1 000", "1,000");
    }

    #[test]
    fn quantities_are_hours_and_gib_hours_to_the_third_decimal() {
        let check = |quantity: &str, unit, expect: &str| {
            assert_eq!(decimal_of_thousandths(thousandths(quantity, unit).unwrap()), expect);
        };
        check("2678400000", Unit::Hour, "744.000");
        check("1800", Unit::Hour, "0.001");
        check("1799", Unit::Hour, "0.000");
        check("-1800", Unit::Hour, "-0.001");
        check("27426816000000", Unit::GibHour, "7440.000");
        assert!(thousandths("1e3", Unit::Hour).is_err());
        assert!(thousandths(&"9".repeat(39), Unit::Hour).is_err());
    }

    #[test]
    fn rates_have_the_decimals_they_need() {
        for (basis_points, expect) in
            [(2_000, "20"), (1_050, "10.5"), (25, "0.25"), (0, "0"), (10_000, "100")]
        {
            assert_eq!(percent(basis_points), expect);
        }
    }

    proptest! {
        #[test]
        fn the_shown_quantity_is_nearest_to_the_exact_one(quantity in -(1_i128 << 90)..(1_i128 << 90)) {
            for (unit, whole) in [(Unit::Hour, 3_600_000_i128), (Unit::GibHour, 3_600_000 * 1_024)] {
                let shown = thousandths(&quantity.to_string(), unit).unwrap();
                prop_assert!((shown * whole - quantity * 1_000).abs() * 2 <= whole);
            }
        }
    }
}

//! Amounts as people write and read them. All of it is exact.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use siyada_model::money::{Currency, Money};
use siyada_model::price::{Item, Unit, decimal_of_thousandths, thousandths};
use siyada_model::usage::Meter;

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

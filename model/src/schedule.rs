//! What the ledger does by itself: when a month is closed, and how long the audit trail is kept.

use crate::period::{InvalidPeriod, Month, Period};
use crate::wire::PeriodState;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// Days that every month has.
const DAYS: RangeInclusive<i8> = 1..=28;
/// Hours of a day.
const HOURS: RangeInclusive<i8> = 0..=23;
/// How long an audit trail may be kept, in years.
const YEARS: RangeInclusive<i16> = 1..=100;
/// How long the audit trail is kept while nobody says otherwise.
const USUAL_YEARS: i16 = 10;

/// Why something cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSettings {
    /// Not a day that every month has.
    #[error("closing.dayOfMonth is 1 to 28, a day that every month has; {0} is not")]
    Day(i8),
    /// Not an hour.
    #[error("closing.hour is 0 to 23; {0} is not")]
    Hour(i8),
    /// Not a number of years.
    #[error("auditRetentionYears is 1 to 100; {0} is not")]
    Years(i16),
}

/// When the month before is closed, in the issuer's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClosingSchedule {
    /// The day of the month after it, 1 to 28.
    pub day_of_month: i8,
    /// The hour of that day, 0 to 23. Where the clocks leave it out, the hour after it.
    pub hour: i8,
}

/// `PUT /v1/settings`: what the ledger does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// When each month is closed; absent: never without somebody who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing: Option<ClosingSchedule>,
    /// For how many years events of the audit trail are kept, 1 to 100; 10 when absent.
    #[serde(default = "usual_years")]
    pub audit_retention_years: i16,
}

fn usual_years() -> i16 {
    USUAL_YEARS
}

impl Default for Settings {
    fn default() -> Self {
        Self { closing: None, audit_retention_years: USUAL_YEARS }
    }
}

impl Settings {
    /// # Errors
    /// [`InvalidSettings`], which names the field.
    pub fn check(&self) -> Result<(), InvalidSettings> {
        if let Some(closing) = self.closing {
            if !DAYS.contains(&closing.day_of_month) {
                return Err(InvalidSettings::Day(closing.day_of_month));
            }
            if !HOURS.contains(&closing.hour) {
                return Err(InvalidSettings::Hour(closing.hour));
            }
        }
        if YEARS.contains(&self.audit_retention_years) {
            return Ok(());
        }
        Err(InvalidSettings::Years(self.audit_retention_years))
    }
}

impl ClosingSchedule {
    /// The instant at which `period` is closed: never before it is over, whatever the clocks did.
    ///
    /// # Errors
    /// [`InvalidPeriod::Label`] after the last month there is.
    pub fn due(self, period: &Period, zone: &TimeZone) -> Result<Timestamp, InvalidPeriod> {
        let wrong = || InvalidPeriod::Label(period.month.to_string());
        let first = period.month.last_day().and_then(|day| day.tomorrow().ok()).ok_or_else(wrong)?;
        let days = i64::from(self.day_of_month).saturating_sub(1).days();
        let day = first.checked_add(days).map_err(|_| wrong())?;
        let time = Time::new(self.hour, 0, 0, 0).map_err(|_| wrong())?;
        let at = day.to_datetime(time).to_zoned(zone.clone()).map_err(|_| wrong())?.timestamp();
        Ok(at.max(period.end))
    }
}

/// What there is to do about closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// This month is to be closed now.
    Close(Month),
    /// Nothing before this instant.
    Wait(Timestamp),
    /// Nothing at all: no month is open.
    Nothing,
}

/// What there is to do at `now`, given every month. Months close in their order, so only the first open one counts.
///
/// # Errors
/// [`InvalidPeriod`], as [`ClosingSchedule::due`].
pub fn step(
    schedule: ClosingSchedule,
    zone: &TimeZone,
    months: &[PeriodState],
    now: Timestamp,
) -> Result<Step, InvalidPeriod> {
    let open = months.iter().filter(|state| state.closed_at.is_none()).min_by_key(|state| state.period.start);
    let Some(open) = open else { return Ok(Step::Nothing) };
    let due = schedule.due(&open.period, zone)?;
    Ok(if due <= now { Step::Close(open.period.month) } else { Step::Wait(due) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::period::zone;
    use proptest::prelude::*;

    const CASABLANCA: &str = "Africa/Casablanca";

    fn period(label: &str) -> Period {
        Period::first(label.parse().unwrap(), CASABLANCA).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn state(period: Period, closed: bool) -> PeriodState {
        let closed_at = closed.then_some(period.end);
        PeriodState { period, closed_at, closed_by: None, as_of: None }
    }

    #[test]
    fn a_month_is_due_at_the_hour_that_clocks_on_the_wall_show() {
        let check = |label: &str, day_of_month, hour, expect: &str| {
            let schedule = ClosingSchedule { day_of_month, hour };
            let due = schedule.due(&period(label), &zone(CASABLANCA).unwrap()).unwrap();
            assert_eq!(due, at(expect), "{label}");
        };
        // UTC+1 before Ramadan of 2026, UTC+0 in it, and UTC+0 for good from 20 September on.
        check("2026-01", 5, 9, "2026-02-05T08:00:00Z");
        check("2026-02", 5, 9, "2026-03-05T09:00:00Z");
        check("2026-03", 5, 9, "2026-04-05T08:00:00Z");
        check("2026-12", 5, 9, "2027-01-05T09:00:00Z");
        // Ramadan ends on 22 March at 02:00: that hour is left out.
        check("2026-02", 22, 2, "2026-03-22T02:00:00Z");
        check("2026-02", 22, 3, "2026-03-22T02:00:00Z");
        // It begins on 15 February at 03:00: the hour from 02:00 comes twice, and its first time counts.
        check("2026-01", 15, 2, "2026-02-15T01:00:00Z");
        check("2026-09", 1, 0, "2026-10-01T00:00:00Z");
    }

    #[test]
    fn a_month_whose_border_was_fixed_by_other_clocks_is_not_closed_before_it() {
        let schedule = ClosingSchedule { day_of_month: 1, hour: 0 };
        let august = period("2026-07").next("UTC").unwrap();
        assert_eq!(schedule.due(&august, &zone("Pacific/Apia").unwrap()).unwrap(), august.end);
    }

    #[test]
    fn months_close_in_their_order() {
        let schedule = ClosingSchedule { day_of_month: 3, hour: 6 };
        let zone = zone(CASABLANCA).unwrap();
        let months = |closed: [bool; 3]| {
            let labels = ["2026-10", "2026-11", "2026-12"];
            labels.iter().zip(closed).map(|(label, closed)| state(period(label), closed)).collect::<Vec<_>>()
        };
        let check = |closed, now: &str, expect| {
            assert_eq!(step(schedule, &zone, &months(closed), at(now)), Ok(expect), "{now}");
        };
        let october = Step::Close("2026-10".parse().unwrap());
        check([false; 3], "2026-11-03T05:59:59.999Z", Step::Wait(at("2026-11-03T06:00:00Z")));
        check([false; 3], "2026-11-03T06:00:00Z", october);
        // One that was missed is made up for, and those after it follow.
        check([false; 3], "2027-06-01T00:00:00Z", october);
        check([true, false, false], "2027-06-01T00:00:00Z", Step::Close("2026-11".parse().unwrap()));
        check([true, false, false], "2026-11-20T00:00:00Z", Step::Wait(at("2026-12-03T06:00:00Z")));
        check([true; 3], "2027-06-01T00:00:00Z", Step::Nothing);
        assert_eq!(step(schedule, &zone, &[], at("2027-06-01T00:00:00Z")), Ok(Step::Nothing));
    }

    #[test]
    fn what_cannot_be_set_is_refused_with_a_sentence() {
        let check = |json: &str, expect: &str| {
            let settings: Settings = serde_json::from_str(json).unwrap();
            assert_eq!(settings.check().unwrap_err().to_string(), expect);
        };
        check(
            r#"{"closing": {"dayOfMonth": 29, "hour": 0}}"#,
            "closing.dayOfMonth is 1 to 28, a day that every month has; 29 is not",
        );
        check(r#"{"closing": {"dayOfMonth": 1, "hour": 24}}"#, "closing.hour is 0 to 23; 24 is not");
        check(r#"{"auditRetentionYears": 0}"#, "auditRetentionYears is 1 to 100; 0 is not");
        assert!(serde_json::from_str::<Settings>(r#"{"closings": null}"#).is_err());
        let usual: Settings = serde_json::from_str("{}").unwrap();
        assert_eq!((usual, usual.check()), (Settings::default(), Ok(())));
    }

    proptest! {
        #[test]
        fn a_month_is_due_once_after_its_end_on_its_day(
            year in 2000_i16..2086, number in 1_i8..=12, day_of_month in DAYS, hour in HOURS, zone_of in 0..4_usize,
            aside in -3_000_000_000_i64..3_000_000_000,
        ) {
            let name = [CASABLANCA, "UTC", "Europe/Paris", "Pacific/Apia"][zone_of];
            let zone = zone(name).unwrap();
            let schedule = ClosingSchedule { day_of_month, hour };
            let period = Period::first(Month::new(year, number).unwrap(), name).unwrap();
            let due = schedule.due(&period, &zone).unwrap();
            prop_assert!(due >= period.end);
            let next = period.next(name).unwrap();
            prop_assert!(due < schedule.due(&next, &zone).unwrap());
            let local = due.to_zoned(zone.clone());
            prop_assert_eq!(Month::holding(due, &zone), next.month);
            // Where clocks leave the hour, or in Apia a whole day, out, it is what comes next.
            let kept = (local.day(), local.hour(), local.minute()) == (day_of_month, hour, 0);
            let left_out = zone.to_ambiguous_timestamp(local.date().with().day(day_of_month).build().unwrap().at(hour, 0, 0, 0));
            prop_assert!(kept || left_out.is_ambiguous(), "{}", local);
            // Whatever the time, closing is due from that instant on and not before.
            let now = Timestamp::from_millisecond(due.as_millisecond() + aside).unwrap();
            let months = [state(period.clone(), false), state(next, false)];
            let expect = if aside >= 0 { Step::Close(period.month) } else { Step::Wait(due) };
            prop_assert_eq!(step(schedule, &zone, &months, now), Ok(expect));
        }
    }
}

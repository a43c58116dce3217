//! When an instance may be interrupted for what nobody asked of it now. Pure: `now` is an argument, and the time zones are those
//! that the program carries in itself.

use crate::check::Refusal;
use crate::condition::reason;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use sha2::{Digest, Sha256};
use siyada_crds::catalogue::OfferingMaintenance;
use siyada_crds::order::{Apply, MaintenanceSpec};
use siyada_crds::shared::{DayOfWeek, WindowSpec};
use std::fmt;

/// How long a window is.
pub const LENGTH: SignedDuration = SignedDuration::from_hours(2);
/// The end of a window, in which nothing begins any more: so long a change may take.
pub const FINISH: SignedDuration = SignedDuration::from_mins(30);
/// So long instances take turns to begin, where they wait for no window.
pub const SPREAD: SignedDuration = SignedDuration::from_mins(90);
/// What waits for so long waits for no window any more: two of them were missed.
pub const OVERDUE: SignedDuration = SignedDuration::from_hours(14 * 24);
/// A moment of urgency that was over for so long when a change is first seen is of another change.
pub const STALE: SignedDuration = SignedDuration::from_hours(24);

/// The window of those who name none: a night that few work in, by the clocks of Morocco.
const USUAL: (Weekday, Time, &str) = (Weekday::Sunday, Time::constant(2, 0, 0, 0), "Africa/Casablanca");
/// Days that are looked at for the next window: two weeks, as a zone may leave out a whole day, and the two before.
const DAYS: i32 = 16;
/// Shares of the time in which instances begin.
const SHARES: i64 = 1024;

/// The maintenance window of an order, and what else decides when it is interrupted.
#[derive(Clone, Debug, PartialEq)]
pub struct Maintenance {
    /// The day on which it begins.
    pub day: Weekday,
    /// When it begins, by the clocks of the zone.
    pub start: Time,
    /// The zone.
    pub zone: TimeZone,
    /// Its name.
    pub zone_name: String,
    /// From here on what changed in the offering waits for no window.
    pub urgent_by: Option<Timestamp>,
    /// Whether what the order itself asks waits too.
    pub apply: Apply,
}

impl fmt::Display for Maintenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} ({})", self.day, self.start.strftime("%H:%M"), self.zone_name)
    }
}

/// From when until when: the end is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its begin.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
}

/// Whether something that interrupts an instance may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// It may.
    Now,
    /// Later: from a moment, and where that lies in a window, until its end.
    Later {
        /// The moment.
        from: Timestamp,
        /// The end of the window; absent where it waits for none.
        until: Option<Timestamp>,
    },
}

/// What waits, since when, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Wait<'a> {
    /// Uid of the order: it gives each its own moment.
    pub uid: &'a str,
    /// When the change was first seen.
    pub since: Timestamp,
    /// Whether the order itself asks for it: then nobody else's urgency matters.
    pub own: bool,
}

impl Maintenance {
    /// The window of an order: what it says, else what its offering says, else Sunday at 02:00 in Morocco.
    ///
    /// # Errors
    /// A [`Refusal`] that says which value cannot be read, and whose it is.
    pub fn of(
        order: Option<&MaintenanceSpec>,
        offering: Option<&OfferingMaintenance>,
    ) -> Result<Self, Refusal> {
        let windows: [(Option<&WindowSpec>, &str); 2] = [
            (order.map(|o| &o.window), "spec.maintenance"),
            (offering.map(|o| &o.window), "the offering's maintenance"),
        ];
        let pick = |of: fn(&WindowSpec) -> Option<&str>| {
            windows.iter().find_map(|(window, whose)| Some((window.and_then(of)?, *whose)))
        };
        let day = windows.iter().find_map(|(window, _)| window.and_then(|w| w.day_of_week));
        let start = match pick(|w| w.start_time.as_deref()) {
            Some((text, whose)) => Time::strptime("%H:%M", text).map_err(|_| {
                unreadable(format!(
                    "{whose}.startTime {text:?} is no time of a day: give hours and minutes, like 02:00"
                ))
            })?,
            None => USUAL.1,
        };
        let (zone_name, whose) = pick(|w| w.time_zone.as_deref()).unwrap_or((USUAL.2, "the platform"));
        let zone = TimeZone::get(zone_name).map_err(|_| {
            unreadable(format!(
                "{whose}.timeZone {zone_name:?} is no time zone: give the name of one as IANA lists it, like Africa/Casablanca"
            ))
        })?;
        let urgent_by = offering.and_then(|o| o.urgent_by.as_deref());
        let urgent_by = urgent_by.map(|text| {
            text.parse().map_err(|_| {
                unreadable(format!(
                    "the offering's maintenance.urgentBy {text:?} is no moment: give a date and time with its offset, like \
                     2026-07-01T18:00:00+01:00"
                ))
            })
        });
        Ok(Self {
            day: day.map_or(USUAL.0, weekday),
            start,
            zone,
            zone_name: zone_name.to_owned(),
            urgent_by: urgent_by.transpose()?,
            apply: order.map(|o| o.apply).unwrap_or_default(),
        })
    }

    /// The windows that are not over, the nearest first: one that is open, or the next, and the one after it.
    fn windows(&self, now: Timestamp) -> impl Iterator<Item = Window> {
        let today = now.to_zoned(self.zone.clone()).date();
        (-2..DAYS).filter_map(move |days| {
            let date = today.checked_add(days.days()).ok()?;
            let begin = date.to_datetime(self.start).to_zoned(self.zone.clone()).ok()?;
            // Where a zone leaves out a whole day, that day has no window.
            let from = (begin.weekday() == self.day && begin.date() == date).then(|| begin.timestamp())?;
            let until = from.checked_add(LENGTH).ok()?;
            (until > now).then_some(Window { from, until })
        })
    }

    /// The window that is open, or the next one. None only at the end of time.
    pub fn window(&self, now: Timestamp) -> Option<Window> {
        self.windows(now).next()
    }

    /// Whether what waits may begin now, and when else. Until then it is the same answer at every moment.
    pub fn when(&self, wait: Wait<'_>, now: Timestamp) -> When {
        let share = share(wait.uid);
        let forced = self.forced(wait, share);
        let turns = self.windows(now).filter_map(|window| turn(window, wait.since, share));
        let next = turns.map(|(from, until)| (from, Some(until))).next();
        let forced = forced.map(|from| (from, None));
        match [next, forced].into_iter().flatten().min_by_key(|(from, _)| *from) {
            Some((from, until)) if from > now => When::Later { from, until },
            _ => When::Now,
        }
    }

    /// From when on something waits for no window any more.
    fn forced(&self, wait: Wait<'_>, share: i64) -> Option<Timestamp> {
        let overdue = wait.since.checked_add(OVERDUE).ok();
        let fresh = |by: &Timestamp| by.checked_add(STALE).is_ok_and(|end| end >= wait.since);
        let urgent = self.urgent_by.filter(|by| !wait.own && fresh(by)).map(|by| by.max(wait.since));
        let first = [overdue, urgent].into_iter().flatten().min()?;
        first.checked_add(part(SPREAD, share)).ok()
    }
}

/// When an instance begins in a window. Who was first seen to need it while the window was open takes a turn in what is left of
/// it; who came too late for that has none.
fn turn(window: Window, since: Timestamp, share: i64) -> Option<(Timestamp, Timestamp)> {
    let (begin, last) = (window.from.max(since), window.until.checked_sub(FINISH).ok()?);
    let left = last.duration_since(begin);
    let from = begin.checked_add(part(left, share)).ok().filter(|_| !left.is_negative())?;
    Some((from, window.until))
}

/// The part of a time, in whole seconds.
fn part(time: SignedDuration, share: i64) -> SignedDuration {
    SignedDuration::from_secs(time.as_secs().saturating_mul(share) / SHARES)
}

/// Where in the order of all instances one is: the same for ever, and evenly spread over all.
fn share(uid: &str) -> i64 {
    let digest = Sha256::digest(uid.as_bytes());
    i64::from(u16::from_be_bytes([digest[0], digest[1]])) % SHARES
}

fn weekday(day: DayOfWeek) -> Weekday {
    match day {
        DayOfWeek::Monday => Weekday::Monday,
        DayOfWeek::Tuesday => Weekday::Tuesday,
        DayOfWeek::Wednesday => Weekday::Wednesday,
        DayOfWeek::Thursday => Weekday::Thursday,
        DayOfWeek::Friday => Weekday::Friday,
        DayOfWeek::Saturday => Weekday::Saturday,
        DayOfWeek::Sunday => Weekday::Sunday,
    }
}

fn unreadable(message: String) -> Refusal {
    Refusal { reason: reason::INVALID, message }
}

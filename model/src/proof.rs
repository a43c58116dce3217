//! What is proven of usage, and what is a gap.
//!
//! A level that is seen again as it was is proven for all the time between; state before and after is proof. A level that
//! changed while nobody looked is proven only until it was last seen, and what follows is a [`Gap`]. So is time by which
//! the ledger's clock moved on while no time went by. A gap is listed and not billed, until a named person decides.

use crate::id::OrderUid;
use crate::usage::{Interval, Level, Meter};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Longest time in milliseconds for which a level that then changed counts without having been seen: three checkpoints of
/// a collector, which come every five minutes.
pub const MOST_UNSEEN_MS: i64 = 15 * 60 * 1_000;
/// By how many milliseconds the ledger's clock may run ahead of a collector's between two checkpoints.
pub const MOST_AHEAD_MS: i64 = 60 * 1_000;
/// Longest absence of a collector in milliseconds after which what it sees unchanged is taken for proven. Only a collector
/// that went on running can tell a long absence from a clock that jumped.
pub const MOST_AWAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Why time is not proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GapReason {
    /// The level changed or the order went while no collector saw it.
    NotSeen,
    /// The ledger's clock moved on, and the collector's did not.
    ClockJumped,
    /// The collector came back after more than [`MOST_AWAY_MS`].
    CollectorAway,
    /// The ledger was restored to a moment before, and what was recorded since then is lost.
    LedgerRestored,
}

impl GapReason {
    /// The word used in SQL and HTTP.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSeen => "notSeen",
            Self::ClockJumped => "clockJumped",
            Self::CollectorAway => "collectorAway",
            Self::LedgerRestored => "ledgerRestored",
        }
    }
}

/// Time that is not proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The level before it.
    pub level: Level,
    /// First instant.
    pub start: Timestamp,
    /// First instant after it.
    pub end: Timestamp,
}

/// Up to when a collector has reported, and how long it has run since: both as the ledger has them on record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// The watermark, by the ledger's clock; none before the first report. It never falls.
    pub until: Option<Timestamp>,
    /// Milliseconds that went by on the collector's own clock since the watermark was raised.
    pub ran_ms: i64,
}

/// Time of everything that a collector watches which is not proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unproven {
    /// First instant; it lasts until the report.
    pub since: Timestamp,
    /// Why.
    pub reason: GapReason,
}

/// Decides what a complete report at `now` proves, given the milliseconds that went by on the collector's own clock since
/// the report before; none when it has just started.
///
/// A clock that is set back proves nothing wrong: until it has caught up the watermark stands, and the time that went by
/// meanwhile counts when it is compared.
pub fn report(before: Watch, elapsed_ms: Option<i64>, now: Timestamp) -> (Watch, Option<Unproven>) {
    let fresh = Watch { until: Some(now), ran_ms: 0 };
    let Some(until) = before.until else { return (fresh, None) };
    let ran_ms = before.ran_ms.saturating_add(elapsed_ms.unwrap_or(0).max(0));
    let ahead = now.as_millisecond().saturating_sub(until.as_millisecond());
    if ahead <= 0 {
        return (Watch { until: Some(until), ran_ms }, None);
    }
    let since =
        |ms: i64| Timestamp::from_millisecond(until.as_millisecond().saturating_add(ms)).unwrap_or(now);
    let unproven = match elapsed_ms {
        Some(_) if ahead.saturating_sub(ran_ms) > MOST_AHEAD_MS => {
            Some(Unproven { since: since(ran_ms), reason: GapReason::ClockJumped })
        }
        None if ahead > MOST_AWAY_MS => Some(Unproven { since: until, reason: GapReason::CollectorAway }),
        _ => None,
    };
    (fresh, unproven)
}

/// The gap before a level that is seen to have changed at `now`, when it was seen last at `proven`.
pub fn unseen(before: &Level, proven: Timestamp, now: Timestamp) -> Option<Gap> {
    let for_ms = now.as_millisecond().saturating_sub(proven.as_millisecond());
    (for_ms > MOST_UNSEEN_MS).then(|| Gap { level: before.clone(), start: proven, end: now })
}

/// What a restored ledger knows of a stream: its level at the last proof that is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The level; none means stopped.
    pub level: Option<Level>,
    /// The first instant of which nothing is known.
    pub since: Timestamp,
}

/// The gap that ends as a stream is seen again which a ledger lost when it was restored: the levels that it had meanwhile
/// were on record, and are not any more. So it is one also where the level is what it was; none where it was stopped before
/// and is stopped now.
pub fn seen_again(lost: &Lost, level: Option<&Level>, at: Option<Timestamp>, now: Timestamp) -> Option<Gap> {
    let end = at.unwrap_or(now);
    let level = lost.level.as_ref().or(level)?;
    (lost.since < end).then(|| Gap { level: level.clone(), start: lost.since, end })
}

/// From when until when; without an end, it lasts.
type Span = (Timestamp, Option<Timestamp>);

/// `intervals` and what is billed of `gaps` all the same. Where an interval proves a part of a gap after all, it counts
/// once: the result never overlaps within an order and meter if `intervals` do not.
pub fn with_billed(
    mut intervals: Vec<Interval>,
    gaps: impl IntoIterator<Item = (OrderUid, Meter, Gap)>,
) -> Vec<Interval> {
    let mut gaps: Vec<(OrderUid, Meter, Gap)> = gaps.into_iter().collect();
    gaps.sort_by(|(a_uid, a_meter, a), (b_uid, b_meter, b)| {
        (a_uid, a_meter, a.start, a.end).cmp(&(b_uid, b_meter, b.start, b.end))
    });
    // The intervals of the streams that have a gap, found in one reading of them all.
    let mut proven: BTreeMap<(&OrderUid, Meter), Vec<Span>> =
        gaps.iter().map(|(uid, meter, _)| ((uid, *meter), vec![])).collect();
    for interval in intervals.iter().filter(|_| !gaps.is_empty()) {
        if let Some(proven) = proven.get_mut(&(&interval.order_uid, interval.meter)) {
            proven.push((interval.start, interval.end));
        }
    }
    for proven in proven.values_mut() {
        proven.sort_unstable_by_key(|(start, _)| *start);
    }
    let mut more = Vec::new();
    for of_stream in gaps.chunk_by(|a, b| (&a.0, a.1) == (&b.0, b.1)) {
        let mut from = Timestamp::MIN;
        for (uid, meter, gap) in of_stream {
            from = from.max(gap.start);
            let proven = proven.get(&(uid, *meter)).map_or(&[][..], Vec::as_slice);
            for (start, end) in uncovered(from, gap.end, proven) {
                let level = gap.level.clone();
                more.push(Interval { order_uid: uid.clone(), meter: *meter, level, start, end: Some(end) });
            }
            from = from.max(gap.end);
        }
    }
    intervals.extend(more);
    intervals
}

/// The parts of `from` until `to` in none of `proven`, which is sorted by start.
fn uncovered(mut from: Timestamp, to: Timestamp, proven: &[Span]) -> Vec<(Timestamp, Timestamp)> {
    let mut found = Vec::new();
    for (start, end) in proven {
        if *start >= to {
            break;
        }
        if from < *start {
            found.push((from, *start));
        }
        from = from.max(end.unwrap_or(to));
    }
    if from < to {
        found.push((from, to));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }
    fn level(quantity: i64) -> Level {
        Level { sku: "s".parse().unwrap(), quantity }
    }
    fn uid() -> OrderUid {
        "u".parse().unwrap()
    }
    const HOUR: i64 = 3_600_000;
    const STEP: i64 = 300_000;

    #[test]
    fn a_first_report_and_regular_ones_prove_everything() {
        let (watch, unproven) = report(Watch::default(), None, at(10));
        assert_eq!((watch, unproven), (Watch { until: Some(at(10)), ran_ms: 0 }, None));
        assert_eq!(report(watch, Some(STEP), at(10 + STEP)).1, None);
        assert_eq!(report(watch, Some(STEP), at(10 + STEP + MOST_AHEAD_MS)).1, None);
        assert_eq!(report(watch, None, at(10 + MOST_AWAY_MS)).1, None);
    }

    #[test]
    fn i05_an_absence_of_more_than_a_day_is_not_taken_for_proven() {
        let before = Watch { until: Some(at(0)), ran_ms: 0 };
        let unproven = Unproven { since: at(0), reason: GapReason::CollectorAway };
        assert_eq!(report(before, None, at(MOST_AWAY_MS + 1)).1, Some(unproven));
    }

    #[test]
    fn i05_a_clock_set_back_and_forth_again_is_no_gap() {
        // Set back by an hour, then put right half an hour later: half an hour went by, and half an hour is proven.
        let mut watch = Watch { until: Some(at(HOUR)), ran_ms: 0 };
        for step in 1..6 {
            let (next, unproven) = report(watch, Some(STEP), at(step * STEP));
            assert_eq!((next.until, unproven), (Some(at(HOUR)), None));
            watch = next;
        }
        assert_eq!(
            report(watch, Some(STEP), at(HOUR + 6 * STEP)),
            (Watch { until: Some(at(HOUR + 6 * STEP)), ran_ms: 0 }, None)
        );
    }

    #[test]
    fn only_what_nobody_saw_for_long_is_a_gap() {
        assert_eq!(unseen(&level(1), at(0), at(MOST_UNSEEN_MS)), None);
        let gap = Gap { level: level(1), start: at(0), end: at(MOST_UNSEEN_MS + 1) };
        assert_eq!(unseen(&level(1), at(0), at(MOST_UNSEEN_MS + 1)), Some(gap));
    }

    #[test]
    fn what_a_restored_ledger_lost_is_a_gap_whatever_it_is_now() {
        let check =
            |before: Option<i64>, now: Option<i64>, stamp: Option<i64>, expect: Option<(i64, i64, i64)>| {
                let lost = Lost { level: before.map(level), since: at(10) };
                let found = seen_again(&lost, now.map(level).as_ref(), stamp.map(at), at(20));
                let gap =
                    |(quantity, start, end)| Gap { level: level(quantity), start: at(start), end: at(end) };
                assert_eq!(found, expect.map(gap), "{before:?} {now:?} {stamp:?}");
            };
        check(Some(1), Some(1), None, Some((1, 10, 20)));
        check(Some(1), Some(2), None, Some((1, 10, 20)));
        check(Some(1), None, None, Some((1, 10, 20)));
        check(None, Some(2), None, Some((2, 10, 20)));
        check(None, None, None, None);
        check(Some(1), None, Some(15), Some((1, 10, 15)));
        check(Some(1), None, Some(10), None);
        check(Some(1), None, Some(5), None);
    }

    /// What of `from` until `to` is in `intervals`, and whether any two overlap.
    fn covered(intervals: &[Interval], from: i64, to: i64) -> (i64, bool) {
        let counts = (from..to).map(|ms| {
            intervals.iter().filter(|i| i.start <= at(ms) && i.end.is_none_or(|end| at(ms) < end)).count()
        });
        counts.fold((0, false), |(sum, overlap), count| (sum + i64::from(count > 0), overlap || count > 1))
    }

    proptest! {
        #[test]
        fn i05_the_ledgers_clock_moved_by_anything_bills_no_more_than_went_by(
            steps in proptest::collection::vec((1_i64..STEP * 2, -400 * 24 * HOUR..400 * 24 * HOUR, any::<bool>()), 1..30)
        ) {
            // Time that really went by, the ledger's clock beside it, and what counts: the time between watermarks less
            // what is a gap.
            let (mut real, mut clock, mut counted) = (0_i64, 1_000_000 * HOUR, 0_i64);
            let first = clock;
            let mut watch = Watch { until: Some(at(clock)), ran_ms: 0 };
            for (step, jump, jumps) in steps {
                real += step;
                clock = (clock + step + if jumps { jump } else { 0 }).max(0);
                let (next, unproven) = report(watch, Some(step), at(clock));
                let until = unproven.map_or(next.until.unwrap(), |u| u.since);
                prop_assert!(watch.until <= next.until);
                prop_assert!(watch.until.unwrap() <= until && until <= next.until.unwrap());
                counted += until.as_millisecond() - watch.until.unwrap().as_millisecond();
                watch = next;
                prop_assert!(counted <= real + 30 * MOST_AHEAD_MS, "{counted} of {real} since {first}");
            }
        }

        #[test]
        fn i01_a_billed_gap_never_overlaps_what_is_proven_and_fills_the_rest(
            proven in proptest::collection::btree_map(0_i64..100, 1_i64..20, 0..8),
            gaps in proptest::collection::vec((0_i64..100, 1_i64..30), 0..5),
            open in any::<bool>(),
        ) {
            let mut intervals: Vec<Interval> = Vec::new();
            let mut from = 0;
            for (start, length) in proven {
                let start = start.max(from);
                from = start + length;
                intervals.push(Interval { order_uid: uid(), meter: Meter::COMPUTE, level: level(2), start: at(start), end: Some(at(from)) });
            }
            if open && let Some(last) = intervals.last_mut() {
                last.end = None;
            }
            let before = covered(&intervals, 0, 200).0;
            let billed = gaps.iter().map(|(start, length)| {
                (uid(), Meter::COMPUTE, Gap { level: level(1), start: at(*start), end: at(start + length) })
            });
            let all = with_billed(intervals.clone(), billed);
            prop_assert_eq!(&all[..intervals.len()], &intervals[..]);
            let (sum, overlap) = covered(&all, 0, 200);
            prop_assert!(!overlap);
            let in_gaps = (0..200).filter(|ms| {
                gaps.iter().any(|(start, length)| start <= ms && *ms < start + length)
                    && covered(&intervals, *ms, ms + 1).0 == 0
            });
            prop_assert_eq!(sum, before + i64::try_from(in_gaps.count()).unwrap());
        }
    }
}

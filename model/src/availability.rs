//! Availability: for how long somebody could log in to an instance, of the time for which it should have run.
//!
//! A collector logs in as a client would and tells when what it finds changes ([`Seen`]). What it finds holds until it
//! tells another thing, and no longer than the collector was at work: time at which nobody looked is neither up nor down.
//! An instance should run while its compute is metered, so not before its first login, while it is suspended, or once it is
//! being deleted. Nothing here is money.

use crate::id::OrderUid;
use crate::statement::Billed;
use crate::usage::{Interval, Meter};
use crate::wire::GapRecord;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whether somebody can log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = AvailabilityState))]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// A client that has the bound Secret can.
    Up,
    /// It cannot.
    Down,
    /// Nobody looks.
    Unobserved,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Up, Self::Down, Self::Unobserved];

    /// The word used in SQL and HTTP.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Unobserved => "unobserved",
        }
    }
}

/// A collector from its start to its end: no other one has its epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watcher {
    /// The collector's name.
    pub collector: String,
    /// The epoch of its lease.
    pub epoch: i64,
}

/// From `at` on, an order was found to be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The instant, by the ledger's clock.
    pub at: Timestamp,
    /// What was found.
    pub state: State,
    /// By whom.
    pub by: Watcher,
    /// The same instant by the watcher's own clock, in milliseconds.
    pub clock_ms: i64,
}

/// What is to be stored when `by` says, while its own clock shows `sent_ms` and the ledger's `now`, that a state began at
/// `clock_ms`; nothing when it is known. What comes again is known by the watcher's own clock.
pub fn record(
    last: Option<&Seen>,
    state: State,
    by: &Watcher,
    (clock_ms, sent_ms): (i64, i64),
    now: Timestamp,
) -> Option<Seen> {
    let ago_ms = sent_ms.saturating_sub(clock_ms).max(0);
    let at = now.as_millisecond().saturating_sub(ago_ms);
    let earliest = match last {
        None if state == State::Unobserved => return None,
        None => at,
        Some(last) if last.by == *by && (clock_ms <= last.clock_ms || last.state == state) => return None,
        Some(last) if last.state == State::Unobserved && state == State::Unobserved => return None,
        Some(last) => last.at.as_millisecond().saturating_add(1),
    };
    let at = Timestamp::from_millisecond(at.max(earliest)).unwrap_or(now);
    Some(Seen { at, state, by: by.clone(), clock_ms })
}

/// An order was up, or down, for all of this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// First instant.
    pub start: Timestamp,
    /// First instant after it.
    pub end: Timestamp,
    /// Whether it was up.
    pub up: bool,
}

/// What `seen` of one order, sorted by instant, proves: a state holds until the same watcher tells another, and no longer
/// than its watcher was at work, which `until` says.
pub fn observed(seen: &[Seen], until: &BTreeMap<Watcher, Timestamp>) -> Vec<Observed> {
    let mut found = Vec::new();
    for (index, one) in seen.iter().enumerate().filter(|(_, one)| one.state != State::Unobserved) {
        let next = seen.get(index.saturating_add(1));
        let proven = until.get(&one.by).copied().unwrap_or(one.at);
        let end = match next {
            Some(next) if next.by == one.by => next.at,
            Some(next) => next.at.min(proven),
            None => proven,
        };
        if one.at < end {
            found.push(Observed { start: one.at, end, up: one.state == State::Up });
        }
    }
    found
}

/// The availability of an instance, or of several together, in a period. Up, down and unobserved sum to the time for which
/// it should have run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Availability {
    /// Milliseconds for which it should have run: its compute was metered, or not proven to have ended.
    pub should_run_ms: i64,
    /// Milliseconds of them at which somebody could log in.
    pub up_ms: i64,
    /// Milliseconds of them at which nobody could, for whatever reason.
    pub down_ms: i64,
    /// Milliseconds of them at which nobody looked: neither up nor down.
    pub unobserved_ms: i64,
    /// `upMs` of `upMs` and `downMs` in percent, with two decimals, rounded down; absent where nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<String>,
}

impl Availability {
    /// By the time for which it should have run, and how much of it was up and down.
    pub fn of(should_run_ms: i64, up_ms: i64, down_ms: i64) -> Self {
        let unobserved_ms = should_run_ms.saturating_sub(up_ms).saturating_sub(down_ms);
        Self { should_run_ms, up_ms, down_ms, unobserved_ms, percent: percent(up_ms, down_ms) }
    }

    /// All of these together.
    pub fn sum<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        let (mut should_run_ms, mut up_ms, mut down_ms) = (0_i64, 0_i64, 0_i64);
        for one in all {
            should_run_ms = should_run_ms.saturating_add(one.should_run_ms);
            up_ms = up_ms.saturating_add(one.up_ms);
            down_ms = down_ms.saturating_add(one.down_ms);
        }
        Self::of(should_run_ms, up_ms, down_ms)
    }
}

/// `up` of `up` and `down` in percent, with two decimals, rounded down: `100.00` only if nothing was down.
pub fn percent(up_ms: i64, down_ms: i64) -> Option<String> {
    let (up, down) = (i128::from(up_ms), i128::from(down_ms));
    let hundredths = up.saturating_mul(10_000).checked_div(up.saturating_add(down))?;
    Some(format!("{}.{:02}", hundredths.div_euclid(100), hundredths.rem_euclid(100)))
}

/// The availability of an instance, with the order that it is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = InstanceAvailability))]
#[serde(rename_all = "camelCase")]
pub struct OfInstance {
    /// The order.
    pub order: Billed,
    /// The figures.
    #[serde(flatten)]
    pub figures: Availability,
}

/// From when until when.
type Span = (Timestamp, Timestamp);

/// When instances should run, and when nobody can tell: from the intervals and gaps of their compute.
#[derive(Clone, Debug, Default)]
pub struct ShouldRun {
    of: BTreeMap<OrderUid, (Vec<Span>, Vec<Span>)>,
}

impl ShouldRun {
    /// What `intervals` and `gaps` say of the time from `from` until `to`. Whatever was decided of a gap, nobody saw in it
    /// whether an instance that may have run was up.
    pub fn new<'a>(
        intervals: &[Interval],
        gaps: impl IntoIterator<Item = &'a GapRecord>,
        (from, to): Span,
    ) -> Self {
        let mut found = Self::default();
        let clipped = |start: Timestamp, end: Timestamp| {
            let span = (start.max(from), end.min(to));
            (span.0 < span.1).then_some(span)
        };
        for interval in intervals.iter().filter(|interval| interval.meter == Meter::COMPUTE) {
            if let Some(span) = clipped(interval.start, interval.end.unwrap_or(to)) {
                found.of.entry(interval.order_uid.clone()).or_default().0.push(span);
            }
        }
        for gap in gaps.into_iter().filter(|gap| gap.meter == Meter::COMPUTE) {
            if let Some(span) = clipped(gap.start, gap.end) {
                let (runs, unproven) = found.of.entry(gap.order.uid.clone()).or_default();
                runs.push(span);
                unproven.push(span);
            }
        }
        for (runs, unproven) in found.of.values_mut() {
            *runs = joined(std::mem::take(runs));
            *unproven = joined(std::mem::take(unproven));
        }
        found
    }

    /// The availability of each instance that should have run, by what was observed of it.
    pub fn availability(
        &self,
        seen: &BTreeMap<OrderUid, Vec<Observed>>,
    ) -> impl Iterator<Item = (&OrderUid, Availability)> {
        self.of.iter().map(|(uid, (runs, unproven))| {
            let all = seen.get(uid).map_or(&[][..], Vec::as_slice);
            let length = |up: bool| {
                let spans = all.iter().filter(|o| o.up == up).map(|o| (o.start, o.end)).collect();
                let while_running = common(&joined(spans), runs);
                length_ms(&while_running).saturating_sub(length_ms(&common(&while_running, unproven)))
            };
            (uid, Availability::of(length_ms(runs), length(true), length(false)))
        })
    }
}

/// The same time in spans that neither touch nor overlap, the first first.
fn joined(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut found: Vec<Span> = Vec::with_capacity(spans.len());
    for (start, end) in spans {
        match found.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => found.push((start, end)),
        }
    }
    found
}

/// The time that is in both of two lists of joined spans.
fn common(a: &[Span], b: &[Span]) -> Vec<Span> {
    let (mut found, mut rest) = (Vec::new(), b);
    for (start, end) in a {
        let before = rest.partition_point(|span| span.1 <= *start);
        rest = rest.get(before..).unwrap_or_default();
        let inside = rest.iter().take_while(|span| span.0 < *end);
        found.extend(inside.map(|span| (span.0.max(*start), span.1.min(*end))));
    }
    found
}

fn length_ms(spans: &[Span]) -> i64 {
    spans.iter().fold(0, |sum, (start, end)| {
        sum.saturating_add(end.as_millisecond().saturating_sub(start.as_millisecond()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Level;
    use proptest::prelude::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }
    fn uid() -> OrderUid {
        "u".parse().unwrap()
    }
    fn by(epoch: i64) -> Watcher {
        Watcher { collector: "a".to_owned(), epoch }
    }
    fn seen(ms: i64, state: State, epoch: i64) -> Seen {
        Seen { at: at(ms), state, by: by(epoch), clock_ms: ms }
    }
    fn runs(start: i64, end: Option<i64>) -> Interval {
        let level = Level { sku: "s".parse().unwrap(), quantity: 3 };
        Interval { order_uid: uid(), meter: Meter::COMPUTE, level, start: at(start), end: end.map(at) }
    }
    fn gap(start: i64, end: i64) -> GapRecord {
        let order = Billed {
            tenant: "t".parse().unwrap(),
            namespace: String::new(),
            name: String::new(),
            uid: uid(),
            kind: String::new(),
        };
        GapRecord {
            id: 1,
            order,
            meter: Meter::COMPUTE,
            level: Level { sku: "s".parse().unwrap(), quantity: 1 },
            start: at(start),
            end: at(end),
            reason: "notSeen".to_owned(),
            recorded_at: at(end),
            decision: None,
        }
    }
    /// Milliseconds in which it should run, was up, was down, and that nobody saw.
    fn figures(
        intervals: &[Interval],
        gaps: &[GapRecord],
        seen: Vec<Observed>,
        period: (i64, i64),
    ) -> Option<[i64; 4]> {
        let should_run = ShouldRun::new(intervals, gaps, (at(period.0), at(period.1)));
        let seen = BTreeMap::from([(uid(), seen)]);
        let found = should_run.availability(&seen).next().map(|(_, found)| found)?;
        Some([found.should_run_ms, found.up_ms, found.down_ms, found.unobserved_ms])
    }

    #[test]
    fn i21_a_percentage_is_rounded_down_and_is_whole_only_if_nothing_was_down() {
        let check = |up, down, expect: Option<&str>| assert_eq!(percent(up, down).as_deref(), expect);
        check(0, 0, None);
        check(1, 0, Some("100.00"));
        check(0, 1, Some("0.00"));
        check(9_995, 5, Some("99.95"));
        check(2, 1, Some("66.66"));
        check(i64::MAX, 1, Some("99.99"));
        check(31 * 86_400_000, 1, Some("99.99"));
        check(5, 9_995, Some("0.05"));
    }

    #[test]
    fn what_comes_again_is_known_and_what_is_new_begins_when_it_was_seen() {
        let told = |last: Option<&Seen>, state, epoch, clock_ms| {
            record(last, state, &by(epoch), (clock_ms, 100), at(1_000))
                .map(|s| (s.at.as_millisecond(), s.state))
        };
        use State::{Down, Unobserved, Up};
        assert_eq!(told(None, Up, 1, 40), Some((940, Up)));
        assert_eq!(told(None, Up, 1, 140), Some((1_000, Up)), "nothing was seen after it was told");
        assert_eq!(told(None, Unobserved, 1, 40), None);
        let up = seen(500, Up, 1);
        assert_eq!(told(Some(&Seen { clock_ms: 40, ..up.clone() }), Up, 1, 40), None);
        assert_eq!(told(Some(&Seen { clock_ms: 40, ..up.clone() }), Down, 1, 30), None, "told before");
        assert_eq!(told(Some(&Seen { clock_ms: 40, ..up.clone() }), Down, 1, 41), Some((941, Down)));
        assert_eq!(told(Some(&Seen { clock_ms: 40, ..up }), Up, 2, 10), Some((910, Up)), "another saw it");
        let late = Seen { clock_ms: 40, ..seen(2_000, Up, 1) };
        assert_eq!(told(Some(&late), Down, 1, 50), Some((2_001, Down)), "later than what is on record");
        assert_eq!(told(Some(&seen(500, Unobserved, 1)), Unobserved, 2, 50), None);
    }

    #[test]
    fn i21_a_state_holds_as_long_as_its_watcher_was_at_work() {
        use State::{Down, Unobserved, Up};
        let until = BTreeMap::from([(by(1), at(50)), (by(2), at(90))]);
        let check = |seen: &[Seen], expect: &[(i64, i64, bool)]| {
            let found: Vec<_> = observed(seen, &until)
                .iter()
                .map(|o| (o.start.as_millisecond(), o.end.as_millisecond(), o.up))
                .collect();
            assert_eq!(found, expect, "{seen:?}");
        };
        check(&[], &[]);
        check(&[seen(10, Up, 1)], &[(10, 50, true)]);
        check(&[seen(10, Up, 1), seen(20, Down, 1)], &[(10, 20, true), (20, 50, false)]);
        // Another one comes, and between the two nobody looked; or the first was still at work.
        check(&[seen(10, Up, 1), seen(70, Up, 2)], &[(10, 50, true), (70, 90, true)]);
        check(&[seen(10, Up, 1), seen(30, Down, 2)], &[(10, 30, true), (30, 90, false)]);
        // What a watcher tells proves that it was at work, also after what it proved last.
        check(&[seen(10, Down, 1), seen(60, Up, 1)], &[(10, 60, false)]);
        check(
            &[seen(10, Up, 1), seen(20, Unobserved, 1), seen(30, Up, 1)],
            &[(10, 20, true), (30, 50, true)],
        );
        check(&[seen(10, Up, 3)], &[]);
    }

    #[test]
    fn it_should_run_while_its_compute_is_metered_and_a_gap_is_seen_by_nobody() {
        let up = |start, end| Observed { start: at(start), end: at(end), up: true };
        let down = |start, end| Observed { up: false, ..up(start, end) };
        // Suspended from 40 to 60, although somebody said that it is down.
        let suspended = [runs(10, Some(40)), runs(60, None)];
        let all = vec![up(0, 30), down(30, 70), up(70, 95)];
        assert_eq!(figures(&suspended, &[], all.clone(), (0, 100)), Some([70, 45, 20, 5]));
        assert_eq!(figures(&suspended, &[], all.clone(), (20, 65)), Some([25, 10, 15, 0]));
        assert_eq!(figures(&suspended, &[], all.clone(), (40, 60)), None);
        // A gap between two intervals: it may have run, and nobody can tell.
        assert_eq!(figures(&suspended, &[gap(40, 60)], all, (0, 100)), Some([90, 45, 20, 25]));
        assert_eq!(figures(&[], &[gap(40, 60)], vec![up(0, 100)], (50, 100)), Some([10, 0, 0, 10]));
        assert_eq!(figures(&[runs(0, None)], &[], vec![], (0, 100)), Some([100, 0, 0, 100]));
        let storage = Interval { meter: Meter::STORAGE, ..runs(0, None) };
        assert_eq!(figures(&[storage], &[], vec![up(0, 100)], (0, 100)), None);
    }

    fn spans(most: usize) -> impl Strategy<Value = Vec<(i64, i64)>> {
        proptest::collection::vec((0_i64..100, 1_i64..30), 0..most)
    }

    proptest! {
        #[test]
        fn i21_up_down_and_unobserved_are_the_time_for_which_it_should_run(
            steps in proptest::collection::vec((1_i64..40, any::<bool>()), 0..8),
            gaps in spans(3),
            told in proptest::collection::vec((1_i64..30, 0_usize..3, 1_i64..4), 0..12),
            until in proptest::collection::btree_map(1_i64..4, 0_i64..160, 0..4),
            (from, to) in (0_i64..60, 60_i64..140),
        ) {
            // Compute that is metered now and then, gaps anywhere, and states told by watchers that come and go.
            let (mut ms, mut intervals) = (0, Vec::new());
            for (length, is_on) in steps {
                if is_on {
                    intervals.push(runs(ms, Some(ms + length)));
                }
                ms += length;
            }
            let gaps: Vec<GapRecord> = gaps.iter().map(|(start, length)| gap(*start, start + length)).collect();
            let (mut ms, mut epoch, mut all) = (0, 1, Vec::new());
            for (after, state, watcher) in told {
                ms += after;
                epoch = epoch.max(watcher);
                all.push(seen(ms, State::ALL[state], epoch));
            }
            let until: BTreeMap<Watcher, Timestamp> = until.into_iter().map(|(epoch, ms)| (by(epoch), at(ms))).collect();
            let all = observed(&all, &until);
            // Millisecond by millisecond.
            let mut counted = [0_i64; 4];
            for ms in from..to {
                let holds = |start: Timestamp, end: Timestamp| start <= at(ms) && at(ms) < end;
                let in_gap = gaps.iter().any(|gap| holds(gap.start, gap.end));
                let runs = intervals.iter().any(|i| holds(i.start, i.end.unwrap()));
                if !runs && !in_gap {
                    continue;
                }
                let state = all.iter().find(|o| holds(o.start, o.end)).filter(|_| !in_gap);
                counted[0] += 1;
                counted[match state.map(|o| o.up) { Some(true) => 1, Some(false) => 2, None => 3 }] += 1;
            }
            let found = figures(&intervals, &gaps, all, (from, to));
            prop_assert_eq!(found.unwrap_or_default(), counted);
            prop_assert_eq!(counted[1] + counted[2] + counted[3], counted[0]);
        }

        #[test]
        fn i21_what_is_told_in_any_pieces_and_twice_is_on_record_once(
            told in proptest::collection::vec((1_i64..30, 0_usize..3), 1..12),
            again in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let (mut clock_ms, mut news) = (0, Vec::new());
            for (after, state) in told {
                clock_ms += after;
                news.push((clock_ms, State::ALL[state]));
            }
            // The ledger's clock is 10,000 ahead of the watcher's, and each answer may be lost: what was sent is sent again, later.
            let mut on_record: Vec<Seen> = Vec::new();
            let mut send = |upto: usize, sent_ms: i64| {
                for (clock_ms, state) in &news[..upto] {
                    let now = at(10_000 + sent_ms);
                    on_record.extend(record(on_record.last(), *state, &by(1), (*clock_ms, sent_ms), now));
                }
            };
            let mut upto = 1;
            for index in again {
                upto = upto.max(index.index(news.len()) + 1);
                send(upto, news[upto - 1].0);
                send(upto, news[upto - 1].0 + 500);
            }
            send(news.len(), clock_ms + 500);
            let mut expect: Vec<(i64, State)> = Vec::new();
            for (ms, state) in &news {
                let before = expect.last().map_or(State::Unobserved, |last| last.1);
                if before != *state {
                    expect.push((10_000 + ms, *state));
                }
            }
            let found: Vec<(i64, State)> = on_record.iter().map(|s| (s.at.as_millisecond(), s.state)).collect();
            prop_assert_eq!(found, expect);
        }
    }
}

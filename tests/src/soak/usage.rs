//! What must hold of intervals, whatever was killed. Pure: complaints in words, none when all is well.

use jiff::Timestamp;
use siyada_model::usage::{Interval, Meter};
use std::collections::BTreeMap;

type Streams<'a> = BTreeMap<(&'a str, Meter), Vec<&'a Interval>>;

fn streams(intervals: &[Interval]) -> Streams<'_> {
    let mut found: Streams<'_> = BTreeMap::new();
    for interval in intervals {
        found.entry((interval.order_uid.as_str(), interval.meter)).or_default().push(interval);
    }
    for stream in found.values_mut() {
        stream.sort_by_key(|i| i.start);
    }
    found
}

/// An interval in words.
pub fn show(i: &Interval) -> String {
    let end = i.end.map_or("open".to_owned(), |end| end.to_string());
    format!(
        "{} of {}: {} x {} from {} to {end}",
        i.meter, i.order_uid, i.level.quantity, i.level.sku, i.start
    )
}

/// Per order and meter: no overlap, at most one open and that the last, nothing of no length, nothing of no quantity.
pub fn well_formed(intervals: &[Interval]) -> Vec<String> {
    let mut wrong = Vec::new();
    for stream in streams(intervals).values() {
        for interval in stream {
            if interval.end.is_some_and(|end| end <= interval.start) || interval.level.quantity <= 0 {
                wrong.push(format!("an interval without length or quantity: {}", show(interval)));
            }
        }
        for pair in stream.windows(2) {
            match pair[0].end {
                None => wrong.push(format!("open, and yet another follows: {}", show(pair[0]))),
                Some(end) if end > pair[1].start => {
                    wrong.push(format!("{} overlaps {}", show(pair[0]), show(pair[1])));
                }
                Some(_) => {}
            }
        }
    }
    wrong
}

/// What was once reported stays: a closed interval is never altered, an open one is at most closed, and nothing is put in
/// before what was known.
pub fn kept(before: &[Interval], after: &[Interval]) -> Vec<String> {
    let (old, new) = (streams(before), streams(after));
    let mut wrong = Vec::new();
    for (key, stream) in &old {
        let now = new.get(key).map(Vec::as_slice).unwrap_or_default();
        for interval in stream {
            let same = |i: &&&Interval| i.start == interval.start && i.level == interval.level;
            match now.iter().find(same) {
                None => wrong.push(format!("was reported and is gone: {}", show(interval))),
                Some(found) if interval.end.is_some() && found.end != interval.end => {
                    wrong.push(format!(
                        "was closed and became another: {} -> {}",
                        show(interval),
                        show(found)
                    ));
                }
                Some(_) => {}
            }
        }
    }
    for (key, stream) in &new {
        let Some(known) = old.get(key) else { continue };
        let border = known.iter().map(|i| i.end.unwrap_or(i.start)).max().unwrap_or(Timestamp::MIN);
        for interval in stream {
            let is_new = !known.iter().any(|i| i.start == interval.start);
            if is_new && interval.start < border {
                wrong.push(format!("was put in afterwards: {}", show(interval)));
            }
        }
    }
    wrong
}

/// What an order's compute should have come to: one level after the other, and whether the last is still open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Price keys, first to last.
    pub skus: Vec<String>,
    /// Whether the last is open.
    pub open: bool,
}

impl Levels {
    /// The levels once an order runs with this price key, or does not run.
    pub fn then(&self, running: Option<&str>) -> Self {
        let mut levels = self.clone();
        if let Some(sku) = running
            && !(levels.open && levels.skus.last().map(String::as_str) == Some(sku))
        {
            levels.skus.push(sku.to_owned());
        }
        levels.open = running.is_some();
        levels
    }
}

/// The compute of an order, compared with what it should have come to: the same levels in the same order, no more.
pub fn compute(uid: &str, intervals: &[Interval], expected: &Levels) -> Option<String> {
    let all = streams(intervals);
    let stream = all.get(&(uid, Meter::COMPUTE)).map(Vec::as_slice).unwrap_or_default();
    let skus: Vec<&str> = stream.iter().map(|i| i.level.sku.as_str()).collect();
    let open = stream.last().is_some_and(|i| i.end.is_none());
    let same = skus == expected.skus && open == (expected.open && !expected.skus.is_empty());
    (!same).then(|| {
        let seen: Vec<String> = stream.iter().map(|i| show(i)).collect();
        format!("compute of {uid} should be {expected:?} and is {seen:?}")
    })
}

/// Whether a meter of an order is open, and at which quantity.
pub fn open(uid: &str, meter: Meter, intervals: &[Interval]) -> Option<i64> {
    let of = |i: &&Interval| i.order_uid.as_str() == uid && i.meter == meter && i.end.is_none();
    intervals.iter().find(of).map(|i| i.level.quantity)
}

/// The first instant of a meter of an order.
pub fn first(uid: &str, meter: Meter, intervals: &[Interval]) -> Option<Timestamp> {
    let of = |i: &&Interval| i.order_uid.as_str() == uid && i.meter == meter;
    intervals.iter().filter(of).map(|i| i.start).min()
}

/// The last end of a meter of an order.
pub fn last_end(uid: &str, meter: Meter, intervals: &[Interval]) -> Option<Timestamp> {
    let of = |i: &&Interval| i.order_uid.as_str() == uid && i.meter == meter;
    intervals.iter().filter(of).filter_map(|i| i.end).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use siyada_model::usage::{Change, Level, intervals};

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    fn changes(steps: &[(i64, Option<i64>)]) -> Vec<Change> {
        let level = |q: i64| Level { sku: format!("sku-{q}").parse().unwrap(), quantity: q };
        steps.iter().map(|(ms, q)| Change { at: at(*ms), level: q.map(level) }).collect()
    }

    fn of(steps: &[(i64, Option<i64>)]) -> Vec<Interval> {
        intervals(&"u".parse().unwrap(), Meter::COMPUTE, &changes(steps))
    }

    fn steps() -> impl Strategy<Value = Vec<(i64, Option<i64>)>> {
        let gaps = proptest::collection::vec((1..100_i64, proptest::option::of(1..4_i64)), 0..12);
        gaps.prop_map(|gaps| {
            let mut ms = 0;
            gaps.into_iter()
                .map(|(gap, quantity)| {
                    ms += gap;
                    (ms, quantity)
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn a_true_history_is_never_blamed(steps in steps(), cut in 0..12_usize) {
            let all = of(&steps);
            prop_assert_eq!(well_formed(&all), Vec::<String>::new());
            let before = of(&steps[..cut.min(steps.len())]);
            prop_assert_eq!(kept(&before, &all), Vec::<String>::new());
        }

        #[test]
        fn an_altered_history_is_always_blamed(steps in steps(), which in 0..12_usize, shift in 1..50_i64) {
            let all = of(&steps);
            let Some(index) = which.checked_rem(all.len()) else { return Ok(()) };
            let mut lost = all.clone();
            lost.remove(index);
            prop_assert!(!kept(&all, &lost).is_empty());
            let mut moved = all.clone();
            moved[index].start = at(moved[index].start.as_millisecond() - shift);
            prop_assert!(!kept(&all, &moved).is_empty());
            let mut ended = all.clone();
            if let Some(end) = ended[index].end {
                ended[index].end = Some(at(end.as_millisecond() + shift));
                prop_assert!(!kept(&all, &ended).is_empty());
                ended[index].end = None;
                prop_assert!(!kept(&all, &ended).is_empty());
            }
        }

        #[test]
        fn two_at_once_are_always_blamed(steps in steps(), which in 0..12_usize) {
            let mut all = of(&steps);
            let Some(index) = which.checked_rem(all.len()) else { return Ok(()) };
            all.push(all[index].clone());
            prop_assert!(!well_formed(&all).is_empty());
        }
    }

    #[test]
    fn levels_follow_what_runs() {
        let run = |all: &[Option<&str>]| all.iter().fold(Levels::default(), |l, sku| l.then(*sku));
        let check = |all: &[Option<&str>], skus: &[&str], open| {
            let levels = run(all);
            assert_eq!(
                (levels.skus.iter().map(String::as_str).collect::<Vec<_>>(), levels.open),
                (skus.to_vec(), open)
            );
        };
        check(&[None, None], &[], false);
        check(&[Some("a"), Some("a")], &["a"], true);
        check(&[Some("a"), Some("b"), None], &["a", "b"], false);
        check(&[Some("a"), None, Some("a")], &["a", "a"], true);
    }

    #[test]
    fn one_start_too_many_is_seen() {
        let expected = Levels { skus: vec!["sku-1".into()], open: true };
        assert_eq!(compute("u", &of(&[(1, Some(1))]), &expected), None);
        assert!(compute("u", &of(&[(1, Some(1)), (5, None), (6, Some(1))]), &expected).is_some());
        assert!(compute("u", &of(&[(1, Some(1)), (5, None)]), &expected).is_some());
        assert!(compute("u", &[], &expected).is_some());
    }
}

//! Counters: absolute values that are read now and then, to what was counted between two readings.
//!
//! What counts is a set of readings; neither duplicates nor another order of arrival can alter what comes of it. A counter
//! that begins again from zero (statistics that were reset, another server that took over) has another reset id from then
//! on. What it counted between its last reading and its reset nobody read: it is not counted, and the window says so.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest reset id.
pub const LONGEST_RESET_ID: usize = 80;

/// A counter of one order and meter stood at `value` at `at`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// When it was read, to the millisecond: the end of a window.
    pub at: Timestamp,
    /// Since which reset it counts.
    pub reset_id: String,
    /// Where it stood, never below zero.
    pub value: i64,
}

/// Why a reading cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Readings are never altered.
    #[error("another reading is on record at that instant; readings are never altered")]
    Another,
    /// Within one reset id a counter only rises.
    #[error(
        "it falls from {from} to {to}, and within one reset id a counter never falls; a counter that began again has \
         another reset id"
    )]
    Falls {
        /// What was read earlier.
        from: i64,
        /// What was read later.
        to: i64,
    },
}

/// Whether a reading is new to those on record. Of these only that of the same instant matters, and the nearest before and
/// after it with the same reset id.
///
/// # Errors
/// [`Refused`] when it contradicts what is on record.
pub fn is_new(on_record: &BTreeMap<Timestamp, Reading>, reading: &Reading) -> Result<bool, Refused> {
    if let Some(known) = on_record.get(&reading.at) {
        return if known == reading { Ok(false) } else { Err(Refused::Another) };
    }
    let same = |other: &&Reading| other.reset_id == reading.reset_id;
    let before = on_record.range(..reading.at).rev().map(|(_, other)| other).find(same);
    let after = on_record.range(reading.at..).map(|(_, other)| other).find(same);
    let pairs = [before.zip(Some(reading)), Some(reading).zip(after)];
    match pairs.into_iter().flatten().find(|(earlier, later)| earlier.value > later.value) {
        Some((earlier, later)) => Err(Refused::Falls { from: earlier.value, to: later.value }),
        None => Ok(true),
    }
}

/// What was counted from one reading to a later one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// The reading before; absent: there was none, and it counts from the counter's beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub start: Option<Timestamp>,
    /// The reading.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub end: Timestamp,
    /// How many of the meter's base unit, as a whole number in a text (it may exceed 64 bits).
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "1830"))]
    pub quantity: i128,
    /// True when the counter began again within: what it counted between the last reading and the reset is not in it.
    pub may_miss: bool,
}

/// A whole number as a text.
mod text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(number: &i128, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i128, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// The windows between the readings of one order and meter, in time order. Each reset id counts from zero, and goes on where
/// it stood when it comes back: a server that led before leads again.
pub fn windows(readings: &[Reading]) -> Vec<Window> {
    let by_time: BTreeMap<Timestamp, &Reading> = readings.iter().map(|r| (r.at, r)).collect();
    let mut stood: BTreeMap<&str, i64> = BTreeMap::new();
    let mut before: Option<&Reading> = None;
    let mut found = Vec::with_capacity(by_time.len());
    for reading in by_time.into_values() {
        let last = stood.insert(&reading.reset_id, reading.value).unwrap_or(0);
        found.push(Window {
            start: before.map(|before| before.at),
            end: reading.at,
            quantity: i128::from(reading.value).saturating_sub(i128::from(last)),
            may_miss: before.is_some_and(|before| before.reset_id != reading.reset_id),
        });
        before = Some(reading);
    }
    found
}

/// Windows that follow one another as one; nothing for none.
pub fn sum(windows: &[Window]) -> Option<Window> {
    Some(Window {
        start: windows.first()?.start,
        end: windows.last()?.end,
        quantity: windows.iter().fold(0, |sum, window| window.quantity.saturating_add(sum)),
        may_miss: windows.iter().any(|window| window.may_miss),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }
    fn reading(ms: i64, reset_id: &str, value: i64) -> Reading {
        Reading { at: at(ms), reset_id: reset_id.to_owned(), value }
    }
    /// Feeds readings one by one, as the api does.
    fn feed(readings: &[Reading]) -> Vec<Reading> {
        let mut on_record = BTreeMap::new();
        for reading in readings {
            if is_new(&on_record, reading).unwrap() {
                on_record.insert(reading.at, reading.clone());
            }
        }
        on_record.into_values().collect()
    }
    fn total(readings: &[Reading]) -> i128 {
        sum(&windows(readings)).map_or(0, |window| window.quantity)
    }

    #[test]
    fn a_counter_that_began_again_counts_from_zero_and_says_what_it_may_miss() {
        let readings = [
            reading(10, "a", 100),
            reading(20, "a", 130),
            reading(30, "b", 7),
            reading(40, "b", 7),
            // The first server leads again, and goes on where it stood.
            reading(50, "a", 150),
        ];
        let found: Vec<_> = windows(&readings).into_iter().map(|w| (w.quantity, w.may_miss)).collect();
        assert_eq!(found, [(100, false), (30, false), (7, true), (0, false), (20, true)]);
        let whole = sum(&windows(&readings)).unwrap();
        assert_eq!((whole.start, whole.end, whole.quantity, whole.may_miss), (None, at(50), 157, true));
        assert_eq!(sum(&[]), None);
    }

    #[test]
    fn a_fall_without_a_reset_is_refused_wherever_it_arrives() {
        let known: BTreeMap<_, _> = [reading(10, "a", 100), reading(15, "b", 1), reading(20, "a", 130)]
            .map(|reading| (reading.at, reading))
            .into();
        let check = |ms, reset_id: &str, value, expect| {
            assert_eq!(is_new(&known, &reading(ms, reset_id, value)), expect, "{ms} {reset_id} {value}");
        };
        check(10, "a", 100, Ok(false));
        check(10, "a", 101, Err(Refused::Another));
        check(10, "b", 100, Err(Refused::Another));
        check(30, "a", 129, Err(Refused::Falls { from: 130, to: 129 }));
        check(12, "a", 131, Err(Refused::Falls { from: 131, to: 130 }));
        check(12, "a", 99, Err(Refused::Falls { from: 100, to: 99 }));
        check(12, "a", 100, Ok(true));
        check(5, "a", 0, Ok(true));
        check(30, "c", 0, Ok(true));
    }

    /// A counter as it was: steps forward, each perhaps read, each perhaps after a reset.
    fn lives() -> impl Strategy<Value = (Vec<Reading>, i128)> {
        proptest::collection::vec((0..1_000_i64, any::<bool>(), proptest::bool::weighted(0.2)), 0..40)
            .prop_map(|steps| {
                let (mut value, mut life, mut read, mut lost) = (0, 0, 0, 0_i128);
                let (mut readings, mut all) = (Vec::new(), 0_i128);
                for ((more, is_read, is_reset), ms) in steps.into_iter().zip((10_i64..).step_by(10)) {
                    if is_reset {
                        lost += i128::from(value - read);
                        (value, read, life) = (0, 0, life + 1);
                    }
                    value += more;
                    all += i128::from(more);
                    if is_read {
                        readings.push(reading(ms, &life.to_string(), value));
                        read = value;
                    }
                }
                (readings, all - lost - i128::from(value - read))
            })
    }

    proptest! {
        #[test]
        fn what_was_read_is_counted_once_however_it_arrives(
            (readings, counted) in lives(), picks in proptest::collection::vec(any::<proptest::sample::Index>(), 0..40)
        ) {
            let mut shuffled: Vec<Reading> = Vec::new();
            if !readings.is_empty() {
                shuffled.extend(picks.iter().map(|i| readings[i.index(readings.len())].clone()));
            }
            shuffled.extend(readings.iter().rev().cloned());
            let fed = feed(&shuffled);
            prop_assert_eq!(windows(&fed), windows(&readings));
            prop_assert_eq!(total(&fed), counted);
        }

        #[test]
        fn no_window_is_below_zero_and_borders_neither_lose_nor_double((readings, counted) in lives(), border in 0..400_i64) {
            let found = windows(&readings);
            prop_assert!(found.iter().all(|window| window.quantity >= 0));
            prop_assert!(found.windows(2).all(|pair| pair[1].start == Some(pair[0].end)));
            let (early, late): (Vec<Window>, Vec<Window>) = found.into_iter().partition(|w| w.end <= at(border));
            let halves = [early, late].iter().filter_map(|half| sum(half)).map(|w| w.quantity).sum::<i128>();
            prop_assert_eq!(halves, counted);
        }

        #[test]
        fn what_a_reset_may_have_taken_is_told((readings, _) in lives()) {
            let resets = readings.windows(2).filter(|pair| pair[0].reset_id != pair[1].reset_id).count();
            prop_assert_eq!(windows(&readings).iter().filter(|w| w.may_miss).count(), resets);
        }
    }
}

//! Metering: from changes of level to intervals to lines of money.
//!
//! What is billed is a fact about state. A [`Change`] says "from this instant, this order has this level of this
//! meter"; the set of changes is all that is stored. Intervals are what lies between two changes, so they cannot
//! overlap, and neither duplicates nor another order of arrival can alter them.

use crate::id::{InvalidId, OrderUid, PriceListName, Sku, is_dns_label};
use crate::money::{InvalidMoney, Money};
use crate::price::{PriceError, PriceList, amount};
use crate::proof::{Gap, unseen};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What is measured: a name of 1 to 24 characters of a-z, 0-9 and '-'. Which meters there are is data of the ledger:
/// `GET /v1/meters`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, example = "compute"))]
#[serde(try_from = "String")]
// The text, and zeros after it: small enough to be copied, and ordered as the text is.
pub struct Meter([u8; Meter::LONGEST]);

impl Meter {
    /// Longest name.
    pub const LONGEST: usize = 24;
    /// Instances of the plan, from the first Ready to suspension or deletion.
    pub const COMPUTE: Self = Self::of(b"compute");
    /// Volumes in MiB, from their creation to their proven removal.
    pub const STORAGE: Self = Self::of(b"storage");
    /// Instances beside the primary, where a plan prices them apart.
    pub const STANDBY: Self = Self::of(b"standby");
    /// Backups in MiB, by the bytes that were measured.
    pub const BACKUP: Self = Self::of(b"backup");
    /// Transactions of a database: a counter.
    pub const TRANSACTIONS: Self = Self::of(b"transactions");

    /// The levels that every ledger knows.
    pub const LEVELS: [Self; 4] = [Self::COMPUTE, Self::STORAGE, Self::STANDBY, Self::BACKUP];

    const fn of(text: &[u8]) -> Self {
        let mut bytes = [0; Self::LONGEST];
        bytes.split_at_mut(text.len()).0.copy_from_slice(text);
        Self(bytes)
    }

    /// The word used in SQL and HTTP.
    pub fn as_str(&self) -> &str {
        let length = self.0.iter().position(|byte| *byte == 0).unwrap_or(Self::LONGEST);
        let text = self.0.get(..length).and_then(|text| std::str::from_utf8(text).ok());
        text.unwrap_or_default()
    }
}

impl FromStr for Meter {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if is_dns_label(text, Self::LONGEST) {
            Ok(Self::of(text.as_bytes()))
        } else {
            Err(InvalidId { kind: "meter", value: text.to_owned(), longest: Self::LONGEST })
        }
    }
}

impl TryFrom<String> for Meter {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl Serialize for Meter {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Meter({self})")
    }
}

/// How much of a meter an order has: a quantity above zero of a SKU.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Level {
    /// The price key.
    pub sku: Sku,
    /// Count of the meter's base unit: instances, or MiB.
    pub quantity: i64,
}

/// From `at` on, the level is this; nothing means stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The instant, to the millisecond.
    pub at: Timestamp,
    /// The level from then on.
    pub level: Option<Level>,
}

/// An order had `level` of `meter` from `start` until `end`, or until now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Interval {
    /// The order.
    pub order_uid: OrderUid,
    /// The meter.
    pub meter: Meter,
    /// The level.
    pub level: Level,
    /// First instant.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub start: Timestamp,
    /// First instant after it; absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub end: Option<Timestamp>,
}

/// The intervals between `changes` of one order and meter, in time order, equal neighbours joined.
pub fn intervals(order_uid: &OrderUid, meter: Meter, changes: &[Change]) -> Vec<Interval> {
    let by_time: BTreeMap<Timestamp, &Option<Level>> = changes.iter().map(|c| (c.at, &c.level)).collect();
    let mut found: Vec<Interval> = Vec::new();
    for (at, level) in by_time {
        if let Some(open) = found.last_mut().filter(|i| i.end.is_none()) {
            if level.as_ref() == Some(&open.level) {
                continue;
            }
            open.end = Some(at);
        }
        if let Some(level) = level.clone() {
            found.push(Interval { order_uid: order_uid.clone(), meter, level, start: at, end: None });
        }
    }
    found
}

/// What a collector says of an order's meter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The level; none means stopped.
    pub level: Option<Level>,
    /// A stamp of its own; without, it is "now".
    pub at: Option<Timestamp>,
    /// Without a stamp: from when on the very first level counts, such as a volume's creation.
    pub since: Option<Timestamp>,
}

/// What must be stored for a new observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Nothing: it is known already.
    Nothing,
    /// This change.
    Add(Change),
    /// The level before it stops where the gap begins, and this change is at its end.
    AddAfter(Gap, Change),
    /// At that instant another level is on record. Records are never altered.
    Conflict,
}

impl Record {
    /// The changes that must be stored, the first first.
    pub fn changes(&self) -> impl Iterator<Item = Change> + use<> {
        let (first, second) = match self {
            Self::Nothing | Self::Conflict => (None, None),
            Self::Add(change) => (Some(change.clone()), None),
            Self::AddAfter(gap, change) => {
                let resumes = change.level.is_some().then(|| change.clone());
                (Some(Change { at: gap.start, level: None }), resumes)
            }
        };
        first.into_iter().chain(second)
    }
}

/// Decides what an observation adds to the changes on record.
///
/// With a stamp, it is a fact and may arrive in any order, any number of times. Without, it is "now": `now` (the
/// database's clock) is made later than every record, and an unchanged level adds nothing. A level that changed, and that
/// was seen last at `proven`, long ago, leaves a gap. [`Observation::since`] moves the very first record back to a proven
/// stamp; once anything is on record it says nothing, so that it can be sent again after a restart.
pub fn record(on_record: &[Change], seen: &Observation, proven: Option<Timestamp>, now: Timestamp) -> Record {
    let level = seen.level.clone();
    if let Some(at) = seen.at {
        return match on_record.iter().find(|c| c.at == at) {
            Some(known) if known.level == level => Record::Nothing,
            Some(_) => Record::Conflict,
            None => Record::Add(Change { at, level }),
        };
    }
    match on_record.iter().max_by_key(|c| c.at) {
        Some(last) if last.level == level => Record::Nothing,
        None if level.is_none() => Record::Nothing,
        Some(last) => {
            let next = Timestamp::from_millisecond(last.at.as_millisecond().saturating_add(1)).unwrap_or(now);
            let change = Change { at: now.max(next), level };
            let proven = proven.map(|proven| proven.max(next));
            match last.level.as_ref().zip(proven).and_then(|(open, proven)| unseen(open, proven, change.at)) {
                Some(gap) => Record::AddAfter(gap, change),
                None => Record::Add(change),
            }
        }
        None => Record::Add(Change { at: seen.since.unwrap_or(now).min(now), level }),
    }
}

/// One line of a report: a SKU of an order at one price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// The order.
    pub order_uid: OrderUid,
    /// The meter.
    pub meter: Meter,
    /// The price key.
    pub sku: Sku,
    /// The list the price comes from.
    pub price_list: PriceListName,
    /// Unit price as a decimal text.
    pub unit_price: String,
    /// Exact quantity: base units x milliseconds, as a decimal integer (it may exceed 64 bits).
    pub quantity_ms: String,
    /// The rounded amount.
    pub amount: Money,
}

/// A part of an interval during which one price list is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice<'a> {
    /// What it is a part of.
    pub interval: &'a Interval,
    /// First instant.
    pub start: Timestamp,
    /// First instant after it.
    pub end: Timestamp,
    /// Index of the list in force.
    pub list: usize,
}

impl Slice<'_> {
    /// Its length in milliseconds.
    pub fn length_ms(&self) -> i128 {
        i128::from(self.end.as_millisecond()).saturating_sub(i128::from(self.start.as_millisecond()))
    }
}

/// `intervals` between `from` and `to`, cut where the price list changes. An open interval counts until `to`.
///
/// # Errors
/// [`PriceError::Unknown`] for time before the first of `lists`, which are sorted by the instant from which they hold.
pub fn slices<'a>(
    intervals: &'a [Interval],
    lists: &[&PriceList],
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Slice<'a>>, PriceError> {
    let mut found = Vec::new();
    for interval in intervals {
        let (mut start, end) = (interval.start.max(from), interval.end.unwrap_or(to).min(to));
        while start < end {
            let unknown = || PriceError::Unknown { sku: interval.level.sku.clone(), list: None };
            let after = lists.partition_point(|l| l.valid_from <= start);
            let list = after.checked_sub(1).ok_or_else(unknown)?;
            let until = lists.get(after).map_or(end, |next| next.valid_from.min(end));
            found.push(Slice { interval, start, end: until, list });
            start = until;
        }
    }
    Ok(found)
}

/// The intervals' cost between `from` and `to`: one line per order, meter, SKU and price list, each rounded once, so
/// that cutting an interval anywhere changes nothing. An open interval counts until `to`.
///
/// # Errors
/// [`PriceError::Unknown`] for time without a price, [`PriceError::Money`] when a sum does not fit.
pub fn rate(
    intervals: &[Interval],
    lists: &[PriceList],
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Line>, PriceError> {
    let mut lists: Vec<&PriceList> = lists.iter().collect();
    lists.sort_by_key(|l| l.valid_from);
    let mut sums: BTreeMap<(OrderUid, Meter, Sku, usize), i128> = BTreeMap::new();
    for slice in slices(intervals, &lists, from, to)? {
        let interval = slice.interval;
        let key = (interval.order_uid.clone(), interval.meter, interval.level.sku.clone(), slice.list);
        let share = slice.length_ms().checked_mul(i128::from(interval.level.quantity));
        let sum = sums.entry(key).or_insert(0);
        *sum = share.and_then(|share| sum.checked_add(share)).ok_or(InvalidMoney::TooLarge)?;
    }
    sums.into_iter().map(|(key, quantity_ms)| line(key, quantity_ms, &lists)).collect()
}

fn line(
    key: (OrderUid, Meter, Sku, usize),
    quantity_ms: i128,
    lists: &[&PriceList],
) -> Result<Line, PriceError> {
    let (order_uid, meter, sku, index) = key;
    let unknown = |list| PriceError::Unknown { sku: sku.clone(), list };
    let list = lists.get(index).ok_or_else(|| unknown(None))?;
    let price = list.price_of(&sku).ok_or_else(|| unknown(Some(list.name.clone())))?;
    Ok(Line {
        amount: amount(quantity_ms, price, list.currency)?,
        price_list: list.name.clone(),
        unit_price: price.price.normalize().to_string(),
        quantity_ms: quantity_ms.to_string(),
        order_uid,
        meter,
        sku,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Currency;
    use crate::price::{SkuPrice, Unit};
    use crate::proof::MOST_UNSEEN_MS;
    use proptest::prelude::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }
    fn uid() -> OrderUid {
        "u".parse().unwrap()
    }
    fn level(quantity: i64) -> Option<Level> {
        (quantity > 0).then(|| Level { sku: "s".parse().unwrap(), quantity })
    }
    fn list(name: &str, from: i64, price: &str) -> PriceList {
        let skus =
            vec![SkuPrice { sku: "s".parse().unwrap(), unit: Unit::Hour, price: price.parse().unwrap() }];
        PriceList { name: name.parse().unwrap(), currency: Currency::MAD, valid_from: at(from), skus }
    }
    fn changes() -> impl Strategy<Value = Vec<Change>> {
        proptest::collection::btree_map(0..1_000_i64, 0..4_i64, 0..12).prop_map(|points| {
            points.into_iter().map(|(ms, q)| Change { at: at(ms), level: level(q) }).collect()
        })
    }
    fn seen(level: Option<Level>) -> Observation {
        Observation { level, ..Observation::default() }
    }
    fn stamped(level: Option<Level>, ms: i64) -> Observation {
        Observation { level, at: Some(at(ms)), since: None }
    }
    /// Feeds stamped facts one by one, as the api does.
    fn feed(facts: &[Change]) -> Vec<Change> {
        let mut on_record = Vec::new();
        for fact in facts {
            let seen = stamped(fact.level.clone(), fact.at.as_millisecond());
            match record(&on_record, &seen, None, at(0)) {
                Record::Add(change) => on_record.push(change),
                Record::Nothing => {}
                other => unreachable!("one level per instant in this test: {other:?}"),
            }
        }
        on_record
    }

    #[test]
    fn a_meter_is_ordered_and_written_as_its_name() {
        let check = |text: &str, expect: bool| {
            let read = text.parse::<Meter>();
            assert_eq!(read.as_ref().is_ok_and(|m| m.as_str() == text), expect, "{text:?}");
            let json = serde_json::to_string(text).unwrap();
            assert_eq!(serde_json::from_str::<Meter>(&json).ok(), read.ok(), "{json}");
        };
        check("compute", true);
        check("object-storage-2", true);
        check(&"m".repeat(24), true);
        check(&"m".repeat(25), false);
        for text in ["", "Compute", "compute ", "-compute", "com\0pute", "\0", "تخزين"] {
            check(text, false);
        }
        assert_eq!(serde_json::to_string(&Meter::STORAGE).unwrap(), "\"storage\"");
        assert!(Meter::BACKUP < Meter::COMPUTE && Meter::COMPUTE < Meter::STANDBY);
        assert!(Meter::STANDBY < Meter::STORAGE && "a".parse::<Meter>().unwrap() < "aa".parse().unwrap());
        let told = "Disk!".parse::<Meter>().unwrap_err().to_string();
        assert!(told.contains("meter \"Disk!\"") && told.contains("1 to 24"), "{told}");
    }

    #[test]
    fn now_never_lies_before_what_is_on_record() {
        let known = [Change { at: at(100), level: level(1) }];
        let check = |known: &[Change], seen: Observation, now, expect| {
            assert_eq!(record(known, &seen, None, at(now)), expect);
        };
        check(&known, seen(level(1)), 50, Record::Nothing);
        check(&known, seen(level(2)), 50, Record::Add(Change { at: at(101), level: level(2) }));
        check(&known, seen(None), 500, Record::Add(Change { at: at(500), level: None }));
        check(&[], seen(None), 5, Record::Nothing);
        check(&known, stamped(level(3), 100), 5, Record::Conflict);
    }

    #[test]
    fn since_counts_for_the_first_record_only() {
        let since = |level| Observation { level, at: None, since: Some(at(10)) };
        let first = Record::Add(Change { at: at(10), level: level(1) });
        assert_eq!(record(&[], &since(level(1)), None, at(50)), first);
        let known = [Change { at: at(10), level: level(1) }];
        assert_eq!(record(&known, &since(level(1)), None, at(90)), Record::Nothing);
        let grown = Record::Add(Change { at: at(90), level: level(2) });
        assert_eq!(record(&known, &since(level(2)), None, at(90)), grown);
    }

    #[test]
    fn i05_what_changed_while_nobody_looked_is_a_gap_and_what_did_not_change_is_proven() {
        let known = [Change { at: at(100), level: level(1) }];
        let late = at(1_000 + MOST_UNSEEN_MS + 1);
        let proven = Some(at(1_000));
        assert_eq!(record(&known, &seen(level(1)), proven, late), Record::Nothing);
        let gap = |start| Gap { level: level(1).unwrap(), start: at(start), end: late };
        for (next, changes) in [
            (level(2), vec![Change { at: at(1_000), level: None }, Change { at: late, level: level(2) }]),
            (None, vec![Change { at: at(1_000), level: None }]),
        ] {
            let found = record(&known, &seen(next.clone()), proven, late);
            assert_eq!(found, Record::AddAfter(gap(1_000), Change { at: late, level: next }));
            assert_eq!(found.changes().collect::<Vec<_>>(), changes);
        }
        // What was proven before the level began says nothing of it.
        let early = record(&known, &seen(None), Some(at(5)), late);
        assert_eq!(early, Record::AddAfter(gap(101), Change { at: late, level: None }));
        // Nothing that could be billed was on record: no gap.
        let stopped = [Change { at: at(100), level: None }];
        let begins = Record::Add(Change { at: late, level: level(1) });
        assert_eq!(record(&stopped, &seen(level(1)), proven, late), begins);
        // A stamp of the API server is proof by itself.
        let deleted = stamped(None, 1_000 + MOST_UNSEEN_MS + 1);
        assert_eq!(record(&known, &deleted, proven, late), Record::Add(Change { at: late, level: None }));
    }

    #[test]
    fn time_without_a_price_is_an_error_not_zero() {
        let open = intervals(&uid(), Meter::COMPUTE, &[Change { at: at(0), level: level(1) }]);
        let error = rate(&open, &[list("late", 10, "1")], at(0), at(20)).unwrap_err();
        assert_eq!(error.to_string(), "no price for s in any price list in force");
    }

    proptest! {
        #[test]
        fn i03_intervals_are_the_same_from_any_duplicated_and_reordered_facts(
            facts in changes(), picks in proptest::collection::vec(any::<proptest::sample::Index>(), 0..40)
        ) {
            let mut shuffled: Vec<Change> = Vec::new();
            if !facts.is_empty() {
                shuffled.extend(picks.iter().map(|i| facts[i.index(facts.len())].clone()));
            }
            shuffled.extend(facts.iter().rev().cloned());
            let expected = intervals(&uid(), Meter::COMPUTE, &facts);
            prop_assert_eq!(intervals(&uid(), Meter::COMPUTE, &feed(&shuffled)), expected);
        }

        #[test]
        fn i01_intervals_never_overlap_and_at_most_the_last_is_open(facts in changes()) {
            let found = intervals(&uid(), Meter::COMPUTE, &facts);
            for pair in found.windows(2) {
                prop_assert!(pair[0].end.is_some_and(|end| end <= pair[1].start));
            }
            prop_assert!(found.iter().all(|i| i.end.is_none_or(|end| i.start < end)));
        }

        #[test]
        fn i15_cutting_an_interval_anywhere_changes_no_amount(cuts in proptest::collection::btree_set(1..999_i64, 0..10)) {
            let lists = [list("a", -10, "123.45678901".get(..9).unwrap()), list("b", 500, "7")];
            let whole = Interval { order_uid: uid(), meter: Meter::COMPUTE, level: level(3).unwrap(), start: at(0), end: Some(at(1_000)) };
            let mut borders: Vec<i64> = cuts.into_iter().collect();
            borders.insert(0, 0);
            borders.push(1_000);
            let pieces: Vec<Interval> = borders.windows(2)
                .map(|w| Interval { start: at(w[0]), end: Some(at(w[1])), ..whole.clone() }).collect();
            let expected = rate(&[whole], &lists, at(0), at(1_000));
            prop_assert_eq!(rate(&pieces, &lists, at(0), at(1_000)), expected);
        }
    }
}

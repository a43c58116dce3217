//! Properties of statements, named by the invariants of docs/reference/statement.md.
#![expect(clippy::unwrap_used, reason = "a test may; the panic is the report")]

use jiff::Timestamp;
use proptest::prelude::*;
use siyada_model::allocation::{Allocation, Booking, Share, Shares};
use siyada_model::canonical::sha256;
use siyada_model::id::OrderUid;
use siyada_model::money::Currency;
use siyada_model::party::{Party, TaxRegime};
use siyada_model::period::{Month, Period};
use siyada_model::price::{PriceList, SkuPrice, Unit};
use siyada_model::statement::breakdown::{Asked, Daily, Dimension, Figures, days, group};
use siyada_model::statement::chain::{BEGINNING, Broken, Chain, extend, first_difference, number, series};
use siyada_model::statement::credit::{Ask, CreditError, credit};
use siyada_model::statement::rating::{Basis, corrections, lines};
use siyada_model::statement::{Billed, Buyer, FORMAT, Statement, StatementKind, StatementLine, totals};
use siyada_model::usage::{
    Change, Interval, Level, Meter, Observation, Record as Recorded, intervals, record as recorded,
};
use std::collections::BTreeMap;

/// Orders of a tenant.
const ORDERS: [&str; 3] = ["u-a", "u-b", "u-c"];

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

/// The period that all of this is about: September 2026 in Casablanca, which has 721 hours.
fn september() -> Period {
    Period::first("2026-09".parse().unwrap(), "Africa/Casablanca").unwrap()
}

/// The instant `share` of the way through the period and a day on each side of it.
fn instant(share: u32) -> Timestamp {
    let (period, day) = (september(), 86_400_000_i64);
    let span = i128::from(period.length_ms() + 2 * day);
    let offset = i64::try_from(span * i128::from(share) / i128::from(u32::MAX)).unwrap();
    at(period.start.as_millisecond() - day + offset)
}

/// What a month's lines are made of.
#[derive(Clone, Debug)]
struct Record {
    changes: BTreeMap<(String, bool), BTreeMap<u32, i64>>,
    lists: Vec<PriceList>,
    allocations: BTreeMap<OrderUid, Vec<Allocation>>,
    tax: TaxRegime,
}

impl Record {
    fn intervals(&self) -> Vec<Interval> {
        let found = self.changes.iter().flat_map(|((uid, compute), changes)| {
            let (meter, sku) =
                if *compute { (Meter::COMPUTE, "compute") } else { (Meter::STORAGE, "storage") };
            let level = |q: i64| (q > 0).then(|| Level { sku: sku.parse().unwrap(), quantity: q });
            let changes: Vec<Change> =
                changes.iter().map(|(share, q)| Change { at: instant(*share), level: level(*q) }).collect();
            intervals(&uid.parse().unwrap(), meter, &changes)
        });
        found.collect()
    }

    fn lines(&self, intervals: &[Interval]) -> Vec<StatementLine> {
        let orders = orders();
        let period = september();
        lines(&Basis {
            period: &period,
            intervals,
            lists: &self.lists,
            allocations: &self.allocations,
            orders: &orders,
            tax: &self.tax,
        })
        .unwrap()
    }
}

fn orders() -> BTreeMap<OrderUid, Billed> {
    let order = |uid: &str| Billed {
        tenant: "interior".parse().unwrap(),
        namespace: "interior-apps".to_owned(),
        name: format!("order-{uid}"),
        uid: uid.parse().unwrap(),
        kind: "PostgresInstance".to_owned(),
    };
    ORDERS.into_iter().map(|uid| (uid.parse().unwrap(), order(uid))).collect()
}

fn lists() -> impl Strategy<Value = Vec<PriceList>> {
    let prices = (0_i64..90_000_000_000, 0_i64..1_000_000, any::<u32>());
    proptest::collection::vec(prices, 1..4).prop_map(|all| {
        let mut found: Vec<PriceList> = Vec::new();
        for (index, (compute, storage, share)) in all.into_iter().enumerate() {
            let price = |sku: &str, unit, mantissa| SkuPrice {
                sku: sku.parse().unwrap(),
                unit,
                price: rust_decimal::Decimal::new(mantissa, 8),
            };
            // The first is in force before anything is used.
            let valid_from = if index == 0 { at(0) } else { instant(share) };
            if found.iter().all(|l| l.valid_from != valid_from) {
                let skus =
                    vec![price("compute", Unit::Hour, compute), price("storage", Unit::GibHour, storage)];
                let name = format!("list-{index}").parse().unwrap();
                found.push(PriceList { name, currency: Currency::MAD, valid_from, skus });
            }
        }
        found
    })
}

fn shares() -> impl Strategy<Value = Shares> {
    proptest::collection::vec(1_u32..1_000_000, 0..4).prop_map(|mut cuts| {
        cuts.push(1_000_000);
        cuts.sort_unstable();
        cuts.dedup();
        let mut from = 0;
        let mut shares = Vec::new();
        for (index, cut) in cuts.into_iter().enumerate() {
            let booking = Booking { budget_line: Some(format!("line-{index}")), ..Booking::default() };
            shares.push(Share { booking, millionths: cut - from });
            from = cut;
        }
        Shares::try_from(shares).unwrap()
    })
}

fn allocations() -> impl Strategy<Value = BTreeMap<OrderUid, Vec<Allocation>>> {
    let dated = proptest::collection::vec((any::<u32>(), shares()), 0..4);
    proptest::collection::vec(dated, ORDERS.len()).prop_map(|all| {
        let entry = |(share, shares): (u32, Shares)| Allocation { at: instant(share), shares };
        let orders = ORDERS.into_iter().map(|uid| uid.parse().unwrap());
        orders.zip(all.into_iter().map(|dated| dated.into_iter().map(entry).collect())).collect()
    })
}

fn tax() -> impl Strategy<Value = TaxRegime> {
    let basis = || "CGI".to_owned();
    prop_oneof![
        Just(TaxRegime::Outside { legal_basis: basis() }),
        (0_u32..=10_000, 0_u32..=10_000).prop_map(move |(rate, other)| TaxRegime::Taxable {
            rate_basis_points: rate,
            other_rates: BTreeMap::from([("storage".parse().unwrap(), other)]),
            legal_basis: basis(),
        }),
    ]
}

fn changes() -> impl Strategy<Value = BTreeMap<(String, bool), BTreeMap<u32, i64>>> {
    let stream =
        (0..ORDERS.len(), any::<bool>()).prop_map(|(order, compute)| (ORDERS[order].to_owned(), compute));
    let of_stream = proptest::collection::btree_map(any::<u32>(), 0_i64..100_000, 0..6);
    proptest::collection::btree_map(stream, of_stream, 0..6)
}

fn record() -> impl Strategy<Value = Record> {
    (changes(), lists(), allocations(), tax()).prop_map(|(changes, lists, allocations, tax)| Record {
        changes,
        lists,
        allocations,
        tax,
    })
}

fn statement(record: &Record, position: i64, previous_chain: &str) -> Statement {
    let lines = record.lines(&record.intervals());
    Statement {
        format: FORMAT.to_owned(),
        kind: StatementKind::Statement,
        number: number(&series("SIY", StatementKind::Statement, 2026), position),
        issued_at: at(1_800_000_000_000),
        issuer: Party::default(),
        buyer: Buyer {
            tenant: "interior".parse().unwrap(),
            account: "interior".to_owned(),
            party: Party::default(),
        },
        period: september(),
        currency: Currency::MAD,
        tax: record.tax.clone(),
        credits: None,
        reason: None,
        totals: totals(lines.iter()).unwrap(),
        lines,
        corrections: vec![],
        gaps: vec![],
        availability: vec![],
        as_of: 7,
        position,
        previous_chain: previous_chain.to_owned(),
    }
}

/// What was used, by what it is: base units x milliseconds in the period.
fn used(intervals: &[Interval]) -> BTreeMap<(String, Meter), i128> {
    let period = september();
    let mut sums = BTreeMap::new();
    for interval in intervals {
        let start = interval.start.max(period.start).as_millisecond();
        let end = interval.end.unwrap_or(period.end).min(period.end).as_millisecond();
        let sum: &mut i128 = sums.entry((interval.order_uid.to_string(), interval.meter)).or_default();
        *sum += i128::from((end - start).max(0)) * i128::from(interval.level.quantity);
    }
    sums.retain(|_, sum| *sum != 0);
    sums
}

fn billed(lines: &[StatementLine]) -> BTreeMap<(String, Meter), i128> {
    let mut sums = BTreeMap::new();
    for line in lines {
        let sum: &mut i128 = sums.entry((line.order.uid.to_string(), line.meter)).or_default();
        *sum += line.quantity_ms.parse::<i128>().unwrap();
    }
    sums
}

/// Sums by place, month, order, meter and SKU, without what is zero.
fn by_place<'a>(lines: impl Iterator<Item = &'a StatementLine>) -> BTreeMap<String, i64> {
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for line in lines {
        for part in &line.parts {
            let key = format!(
                "{} {} {} {} {} {:?}",
                line.month, line.order.uid, line.meter, line.sku, line.price_list, part.booking
            );
            *sums.entry(key).or_default() += part.minor;
        }
    }
    sums.retain(|_, sum| *sum != 0);
    sums
}

proptest! {
    #[test]
    fn i02_what_is_billed_is_what_lies_in_the_period_to_the_millisecond(record in record()) {
        let intervals = record.intervals();
        prop_assert_eq!(billed(&record.lines(&intervals)), used(&intervals));
    }

    #[test]
    fn i02_cutting_intervals_anywhere_changes_no_line(record in record(), cuts in proptest::collection::vec(any::<u32>(), 0..8)) {
        let whole = record.intervals();
        let mut pieces = whole.clone();
        for cut in cuts {
            let cut = instant(cut);
            let index = pieces.iter().position(|i| i.start < cut && i.end.is_none_or(|end| cut < end));
            if let Some(index) = index {
                let second = Interval { start: cut, ..pieces[index].clone() };
                pieces[index].end = Some(cut);
                pieces.push(second);
            }
        }
        prop_assert_eq!(record.lines(&pieces), record.lines(&whole));
    }

    #[test]
    fn i03_any_prefix_of_facts_gives_the_same_intervals_doubled_and_in_any_order(
        facts in proptest::collection::btree_map(0_i64..1_000_000, 0_i64..4, 0..20), length in any::<prop::sample::Index>(),
        again in proptest::collection::vec(any::<prop::sample::Index>(), 0..20), keys in proptest::collection::vec(any::<u32>(), 40)
    ) {
        let level = |q: i64| (q > 0).then(|| Level { sku: "compute".parse().unwrap(), quantity: q });
        let facts: Vec<Change> = facts.into_iter().map(|(ms, q)| Change { at: at(ms), level: level(q) }).collect();
        let prefix = &facts[..length.index(facts.len() + 1)];
        let doubles = again.iter().filter(|_| !prefix.is_empty()).map(|which| &prefix[which.index(prefix.len())]);
        let mut sent: Vec<(u32, &Change)> = prefix.iter().chain(doubles).enumerate().map(|(n, fact)| (keys[n], fact)).collect();
        sent.sort_by_key(|(key, _)| *key);
        let mut on_record: Vec<Change> = Vec::new();
        for (_, fact) in sent {
            // The clock of whoever records stands anywhere: it says nothing about a fact with a stamp of its own.
            let seen = Observation { level: fact.level.clone(), at: Some(fact.at), since: None };
            match recorded(&on_record, &seen, Some(at(1)), at(500_000)) {
                Recorded::Add(change) => on_record.push(change),
                Recorded::Nothing => {}
                Recorded::AddAfter(..) => prop_assert!(false, "a stamp of its own is proof"),
                Recorded::Conflict => prop_assert!(false, "the same fact conflicts with itself"),
            }
        }
        let uid: OrderUid = "u".parse().unwrap();
        prop_assert_eq!(intervals(&uid, Meter::COMPUTE, &on_record), intervals(&uid, Meter::COMPUTE, prefix));
        prop_assert_eq!(on_record.len(), prefix.len());
    }

    #[test]
    fn i20_what_runs_all_month_is_billed_for_its_length_in_utc(year in 2020_i16..2090, number in 1_i8..=12, zone in 0..4_usize, early in 0_i64..1 << 40, late in 0_i64..1 << 40) {
        let zone = ["Africa/Casablanca", "Africa/El_Aaiun", "Europe/Paris", "America/New_York"][zone];
        let period = Period::first(Month::new(year, number).unwrap(), zone).unwrap();
        let uid: OrderUid = "u-a".parse().unwrap();
        let whole = Interval {
            order_uid: uid.clone(),
            meter: Meter::COMPUTE,
            level: Level { sku: "compute".parse().unwrap(), quantity: 1 },
            start: at(period.start.as_millisecond() - early),
            end: Some(at(period.end.as_millisecond() + late)),
        };
        let price = SkuPrice { sku: "compute".parse().unwrap(), unit: Unit::Hour, price: rust_decimal::Decimal::ONE };
        let list = PriceList { name: "l".parse().unwrap(), currency: Currency::MAD, valid_from: at(0), skus: vec![price] };
        let tax = TaxRegime::Outside { legal_basis: "CGI".to_owned() };
        let basis = Basis { period: &period, intervals: &[whole], lists: &[list], allocations: &BTreeMap::new(), orders: &orders(), tax: &tax };
        let found = lines(&basis).unwrap();
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(&found[0].quantity_ms, &period.length_ms().to_string());
        prop_assert_eq!(found[0].minor, period.length_ms() / 36_000, "100 minor units an hour, of whole hours");
    }

    #[test]
    fn i16_the_parts_of_a_line_are_the_line_by_its_shares(record in record()) {
        for line in record.lines(&record.intervals()) {
            prop_assert_eq!(line.parts.iter().map(|p| p.minor).sum::<i64>(), line.minor);
            prop_assert_eq!(line.parts.iter().map(|p| p.millionths).sum::<u32>(), 1_000_000);
            for part in &line.parts {
                let error = i128::from(part.minor) * 1_000_000 - i128::from(line.minor) * i128::from(part.millionths);
                prop_assert!(error.abs() < 1_000_000, "{} of {} at {}", part.minor, line.minor, part.millionths);
            }
        }
    }

    #[test]
    fn i11_lines_are_the_net_tax_is_rounded_once_and_columns_are_their_totals(record in record()) {
        let totals = statement(&record, 1, BEGINNING).totals;
        let lines = record.lines(&record.intervals());
        prop_assert_eq!(lines.iter().map(|l| l.minor).sum::<i64>(), totals.net_minor);
        prop_assert_eq!(totals.net_minor + totals.taxes.iter().map(|t| t.minor).sum::<i64>(), totals.gross_minor);
        for tax in &totals.taxes {
            let exact = i128::from(tax.base_minor) * i128::from(tax.rate_basis_points);
            prop_assert!((exact - i128::from(tax.minor) * 10_000).abs() * 2 <= 10_000);
        }
        prop_assert_eq!(totals.booked.iter().map(|b| b.net_minor).sum::<i64>(), totals.net_minor);
        prop_assert_eq!(totals.booked.iter().map(|b| b.gross_minor).sum::<i64>(), totals.gross_minor);
        for line in &lines {
            prop_assert_eq!(line.parts.iter().map(|p| p.minor).sum::<i64>(), line.minor);
        }
    }

    #[test]
    fn i11_all_credit_notes_of_a_statement_cancel_it_figure_by_figure(
        record in record(), asks in proptest::collection::vec((any::<proptest::sample::Index>(), 1_u32..100), 0..6)
    ) {
        let original = statement(&record, 1, BEGINNING);
        let mut notes: Vec<Statement> = Vec::new();
        let note = |lines, totals| Statement { kind: StatementKind::CreditNote, lines, totals, ..original.clone() };
        for (index, percent) in asks {
            if original.lines.is_empty() { break; }
            let index = index.index(original.lines.len());
            let asked = original.lines[index].minor * i64::from(percent) / 100;
            let earlier: Vec<&Statement> = notes.iter().collect();
            match credit(&original, &earlier, &Ask::Lines(BTreeMap::from([(index, asked)]))) {
                Ok((lines, totals)) => notes.push(note(lines, totals)),
                Err(CreditError::More { .. }) => {}
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
        let earlier: Vec<&Statement> = notes.iter().collect();
        match credit(&original, &earlier, &Ask::Rest) {
            Ok((lines, totals)) => notes.push(note(lines, totals)),
            Err(CreditError::Nothing) => {}
            Err(other) => prop_assert!(false, "{other}"),
        }
        let sum = |figure: &dyn Fn(&Statement) -> i64| notes.iter().map(figure).sum::<i64>();
        prop_assert_eq!(sum(&|n| n.totals.net_minor), -original.totals.net_minor);
        prop_assert_eq!(sum(&|n| n.totals.gross_minor), -original.totals.gross_minor);
        for (index, tax) in original.totals.taxes.iter().enumerate() {
            prop_assert_eq!(sum(&|n| n.totals.taxes[index].minor), -tax.minor);
        }
        for (index, booked) in original.totals.booked.iter().enumerate() {
            prop_assert_eq!(sum(&|n| n.totals.booked[index].gross_minor), -booked.gross_minor);
        }
        let all = notes.iter().flat_map(|n| &n.lines).chain(&original.lines);
        prop_assert!(by_place(all).is_empty());
        let earlier: Vec<&Statement> = notes.iter().collect();
        prop_assert_eq!(credit(&original, &earlier, &Ask::Rest), Err(CreditError::Nothing));
    }

    #[test]
    fn i12_the_same_record_gives_the_same_bytes_in_whatever_order_it_is_read(record in record(), seed in any::<prop::sample::Index>()) {
        let expected = statement(&record, 1, BEGINNING).bytes().unwrap();
        let mut turned = record.clone();
        let by = seed.index(turned.lists.len());
        turned.lists.rotate_left(by);
        turned.allocations.values_mut().for_each(|dated| dated.reverse());
        let mut backwards = turned.intervals();
        backwards.reverse();
        prop_assert_eq!(turned.lines(&backwards), record.lines(&record.intervals()));
        prop_assert_eq!(statement(&turned, 1, BEGINNING).bytes().unwrap(), expected);
    }

    #[test]
    fn i12_late_facts_are_corrected_to_what_they_would_have_been(early in record(), late in changes()) {
        let mut all = early.clone();
        for (stream, facts) in late {
            let known = all.changes.entry(stream).or_default();
            for (share, level) in facts {
                known.entry(share).or_insert(level);
            }
        }
        let (before, now) = (early.lines(&early.intervals()), all.lines(&all.intervals()));
        let first = corrections(&now, before.iter()).unwrap();
        prop_assert_eq!(by_place(before.iter().chain(&first)), by_place(now.iter()));
        let mut sums = billed(&before);
        for (key, more) in billed(&first) { *sums.entry(key).or_default() += more; }
        sums.retain(|_, sum| *sum != 0);
        prop_assert_eq!(sums, billed(&now));
        prop_assert_eq!(corrections(&now, before.iter().chain(&first)).unwrap(), vec![]);
    }

    #[test]
    fn i15_a_price_that_changes_changes_only_what_comes_after(record in record(), share in any::<u32>()) {
        let when = instant(share);
        prop_assume!(record.lists.iter().all(|l| l.valid_from < when));
        let intervals = record.intervals();
        let mut changed = record.clone();
        let skus = record.lists[0].skus.iter().map(|s| SkuPrice { price: rust_decimal::Decimal::ONE_HUNDRED, ..s.clone() });
        changed.lists.push(PriceList { name: "late".parse().unwrap(), valid_from: when, skus: skus.collect(), ..record.lists[0].clone() });
        let before: Vec<Interval> = intervals.iter().filter(|i| i.start < when)
            .map(|i| Interval { end: Some(i.end.map_or(when, |end| end.min(when))), ..i.clone() }).collect();
        let kept: Vec<StatementLine> = changed.lines(&intervals).into_iter().filter(|l| l.price_list.as_str() != "late").collect();
        prop_assert_eq!(kept, record.lines(&before));
    }

    #[test]
    fn i14_a_byte_that_is_changed_is_found_in_its_document(
        records in proptest::collection::vec(record(), 1..4), which in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), bit in 0_u8..8
    ) {
        let mut chain = BEGINNING.to_owned();
        let mut documents = Vec::new();
        for (position, record) in (1..).zip(&records) {
            let bytes = statement(record, position, &chain).bytes().unwrap();
            chain = extend(&chain, &sha256(&bytes));
            documents.push(bytes);
        }
        let mut whole = Chain::default();
        for bytes in &documents { whole.take(bytes).unwrap(); }
        prop_assert_eq!(whole.value(), chain.as_str());

        let which = which.index(documents.len());
        let original = documents[which].clone();
        let place = place.index(original.len());
        documents[which][place] ^= 1 << bit;
        prop_assert_eq!(first_difference(&original, &documents[which]), Some(place));
        let mut read = Chain::default();
        let found = documents.iter().position(|bytes| read.take(bytes).is_err());
        // Either its own figures or form give it away, or the document after it, or, for the last one, the head.
        match found {
            Some(found) => prop_assert!(found == which || found == which + 1, "{} {}", found, which),
            None => prop_assert!(which + 1 == documents.len() && read.value() != chain),
        }
    }
}

#[test]
fn i13_a_hole_and_a_number_twice_are_found() {
    let empty = Record {
        changes: BTreeMap::new(),
        lists: vec![],
        allocations: BTreeMap::new(),
        tax: TaxRegime::Outside { legal_basis: "CGI".to_owned() },
    };
    let first = statement(&empty, 1, BEGINNING).bytes().unwrap();
    let after = extend(BEGINNING, &sha256(&first));
    let mut chain = Chain::default();
    chain.take(&first).unwrap();
    let numbered = |name: &str| Statement { number: name.to_owned(), ..statement(&empty, 2, &after) };
    let check = |name: &str, expect: &str| {
        let broken = chain.clone().take(&numbered(name).bytes().unwrap()).unwrap_err();
        assert_eq!(broken.to_string(), expect);
    };
    check("SIY-2026-000003", "the numbers have a hole: SIY-2026-000002 was to follow, SIY-2026-000003 did");
    check("SIY-2026-000001", "the numbers have a hole: SIY-2026-000002 was to follow, SIY-2026-000001 did");
    check("SIY-2026-2", "document 2 is no statement: \"SIY-2026-2\" is no number of a document");
    chain.clone().take(&numbered("SIY-2026-000002").bytes().unwrap()).unwrap();
    chain.clone().take(&numbered("SIY-C-2026-000001").bytes().unwrap()).unwrap();
    let elsewhere = Statement { previous_chain: BEGINNING.to_owned(), ..numbered("SIY-2026-000002") };
    assert!(matches!(chain.take(&elsewhere.bytes().unwrap()), Err(Broken::Chain { .. })));
}

fn daily(record: &Record) -> Daily {
    let (orders, period, intervals) = (orders(), september(), record.intervals());
    Daily::of(&Basis {
        period: &period,
        intervals: &intervals,
        lists: &record.lists,
        allocations: &record.allocations,
        orders: &orders,
        tax: &record.tax,
    })
    .unwrap()
}

fn grouped(by: &[Dimension], lines: &[StatementLine], daily: &Daily) -> Figures {
    let asked = Asked { by: by.to_vec(), only: BTreeMap::new() };
    group(&asked, september().month, lines, daily).unwrap()
}

/// Sums by the values of the first `of` dimensions.
fn rolled_up(figures: &Figures, of: usize) -> BTreeMap<Vec<String>, i64> {
    let mut sums = BTreeMap::new();
    for (key, figure) in figures {
        *sums.entry(key[..of].to_vec()).or_default() += figure.minor;
    }
    sums
}

#[test]
fn i20_days_are_23_24_or_25_hours_and_join_to_the_month() {
    let hours = |month: &str, zone: &str| -> Vec<i64> {
        let period = Period::first(month.parse().unwrap(), zone).unwrap();
        let days = days(&period).unwrap();
        assert_eq!((days[0].start, days[days.len() - 1].end), (period.start, period.end));
        assert!(days.windows(2).all(|pair| pair[0].end == pair[1].start));
        let length = |ms: i64| ms / 3_600_000;
        days.iter().map(|d| length(d.end.as_millisecond() - d.start.as_millisecond())).collect()
    };
    let but = |count: usize, day: usize, hours: i64| {
        let mut all = vec![24; count];
        all[day - 1] = hours;
        all
    };
    assert_eq!(hours("2026-10", "Europe/Paris"), but(31, 25, 25));
    assert_eq!(hours("2026-03", "Europe/Paris"), but(31, 29, 23));
    // Ramadan began, Ramadan ended, and the clocks went back for good.
    assert_eq!(hours("2026-02", "Africa/Casablanca"), but(28, 15, 25));
    assert_eq!(hours("2026-03", "Africa/Casablanca"), but(31, 22, 23));
    assert_eq!(hours("2026-09", "Africa/Casablanca"), but(30, 20, 25));
    assert_eq!(hours("2026-10", "Africa/Casablanca"), [24; 31]);
    // A day that Samoa never had.
    assert_eq!(hours("2011-12", "Pacific/Apia").len(), 30);
}

proptest! {
    #[test]
    fn i16_every_grouping_sums_to_the_bill(record in record(), by in proptest::sample::subsequence(Dimension::ALL.to_vec(), 0..=9)) {
        let statement = statement(&record, 1, BEGINNING);
        let figures = grouped(&by, &statement.lines, &daily(&record));
        let sum: i64 = figures.values().map(|figure| figure.minor).sum();
        prop_assert_eq!(sum, statement.totals.net_minor);
    }

    #[test]
    fn i16_two_groupings_never_contradict_each_other(record in record(), by in proptest::sample::subsequence(Dimension::ALL.to_vec(), 1..=9)) {
        let (lines, daily) = (record.lines(&record.intervals()), daily(&record));
        let fine = grouped(&by, &lines, &daily);
        for of in 0..by.len() {
            let coarse = grouped(&by[..of], &lines, &daily);
            prop_assert_eq!(rolled_up(&fine, of), rolled_up(&coarse, of));
        }
    }

    #[test]
    fn i16_budget_lines_are_those_of_the_statement_and_only_picks_what_it_says(record in record()) {
        let (statement, daily) = (statement(&record, 1, BEGINNING), daily(&record));
        let by = [Dimension::BudgetLine, Dimension::Day];
        for (key, minor) in rolled_up(&grouped(&by, &statement.lines, &daily), 1) {
            let line = |b: &Booking| b.budget_line.clone().unwrap_or_default() == key[0];
            let booked: i64 = statement.totals.booked.iter().filter(|b| line(&b.booking)).map(|b| b.net_minor).sum();
            prop_assert_eq!(minor, booked);
            let only = BTreeMap::from([(Dimension::BudgetLine, key[0].clone())]);
            let asked = Asked { by: vec![], only };
            let figures = group(&asked, september().month, &statement.lines, &daily).unwrap();
            prop_assert_eq!(figures.values().map(|f| f.minor).sum::<i64>(), booked);
        }
    }

    #[test]
    fn i01_days_have_what_was_used_on_them_and_nothing_else(record in record()) {
        let (lines, daily) = (record.lines(&record.intervals()), daily(&record));
        let by = [Dimension::Instance, Dimension::Plan, Dimension::Meter, Dimension::PriceList, Dimension::Day];
        let figures = grouped(&by, &lines, &daily);
        let mut sums: BTreeMap<(String, Meter), i128> = BTreeMap::new();
        for (key, figure) in &figures {
            let meter = if key[2] == "compute" { Meter::COMPUTE } else { Meter::STORAGE };
            *sums.entry((key[0].clone(), meter)).or_default() += figure.quantity_ms.unwrap();
            let day = days(&september()).unwrap().into_iter().find(|day| day.date == key[4]).unwrap();
            prop_assert!(day.start <= figure.from && figure.to <= day.end);
        }
        prop_assert_eq!(sums, used(&record.intervals()));
        // A day's money is near to its share of the line: less than a coin for each part and each line.
        let without = grouped(&by[..4], &lines, &daily);
        for (key, figure) in figures {
            let whole = &without[&key[..4]];
            let exact = i128::from(whole.minor) * figure.quantity_ms.unwrap();
            let quantity = whole.quantity_ms.unwrap();
            let error = (i128::from(figure.minor) * quantity - exact).abs();
            prop_assert!(error <= 2 * quantity * i128::try_from(4 * lines.len()).unwrap());
        }
    }
}

//! Closing a month: from what is on record to the documents that are still to be numbered. Pure, so that the ledger and
//! whoever checks its export compute the same.

use super::rating::{Basis, RatingError, corrections, lines};
use super::{Billed, Buyer, ListedGap, Statement, StatementKind, StatementLine, Totals, totals};
use crate::allocation::Allocation;
use crate::availability::{Observed, OfInstance, ShouldRun};
use crate::id::{OrderUid, TenantName};
use crate::party::TaxRegime;
use crate::period::{Month, Period};
use crate::price::PriceList;
use crate::usage::Interval;
use crate::wire::{Blocker, GapRecord, PeriodState};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Most blockers that are named.
pub const MOST_BLOCKERS: usize = 100;

/// A gap of measurement with its place in the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownGap {
    /// The gap, and its last decision.
    pub record: GapRecord,
    /// Its number in the record.
    pub seq: i64,
    /// The number of the decision.
    pub decided_seq: Option<i64>,
}

impl KnownGap {
    /// Whether something of it was recorded after `known`.
    pub fn is_late(&self, known: Option<i64>) -> bool {
        known.is_some_and(|known| self.seq > known || self.decided_seq.is_some_and(|seq| seq > known))
    }
}

/// What is known of a month that is to be closed.
#[derive(Clone, Debug)]
pub struct Books<'a> {
    /// The month.
    pub period: &'a Period,
    /// All intervals that touch it, with what is billed of gaps.
    pub intervals: Vec<Interval>,
    /// The gaps that touch it, and those before it about which something was recorded since the last closing.
    pub gaps: Vec<KnownGap>,
    /// When orders were seen to be up and down.
    pub observed: BTreeMap<OrderUid, Vec<Observed>>,
    /// The last record that counted when the months before it closed.
    pub known: Option<i64>,
    /// Closed months about which facts came late, with all intervals in them of the orders that they are about.
    pub late: Vec<(Period, Vec<Interval>)>,
    /// The orders about which facts came late.
    pub late_orders: BTreeSet<OrderUid>,
    /// Every statement about those months, and every later one: what was billed.
    pub billed: Vec<Statement>,
    /// Price lists.
    pub lists: Vec<PriceList>,
    /// Where orders are booked.
    pub allocations: BTreeMap<OrderUid, Vec<Allocation>>,
    /// The orders, and the tenant that pays for each.
    pub orders: BTreeMap<OrderUid, (Billed, TenantName)>,
    /// The tenants that pay, and the tax.
    pub buyers: BTreeMap<TenantName, (Buyer, TaxRegime)>,
    /// Whether every amount must have a budget line.
    pub require_budget_line: bool,
}

/// The last record that counted when the months before `period` closed; none while none is closed.
pub fn closed_as_of(all: &[PeriodState], period: &Period) -> Option<i64> {
    before(all, period).filter_map(|state| state.as_of).max()
}

/// The months before `period` that a fact at `earliest`, and what follows it, is about.
pub fn touched(all: &[PeriodState], period: &Period, earliest: Option<Timestamp>) -> Vec<Period> {
    let Some(earliest) = earliest else { return vec![] };
    before(all, period).map(|state| &state.period).filter(|p| earliest < p.end).cloned().collect()
}

fn before<'a>(all: &'a [PeriodState], period: &'a Period) -> impl Iterator<Item = &'a PeriodState> {
    all.iter().filter(|other| other.period.start < period.start)
}

/// A statement without number, place and hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Who is billed.
    pub buyer: Buyer,
    /// The tax.
    pub tax: TaxRegime,
    /// The lines.
    pub lines: Vec<StatementLine>,
    /// Differences to earlier months.
    pub corrections: Vec<StatementLine>,
    /// What could not be measured.
    pub gaps: Vec<ListedGap>,
    /// The availability of what should have run.
    pub availability: Vec<OfInstance>,
    /// The sums.
    pub totals: Totals,
}

/// The statements of the month, by tenant; tenants of which there is nothing to say have none.
///
/// # Errors
/// Every reason why it cannot be closed, up to [`MOST_BLOCKERS`].
pub fn drafts(books: &Books<'_>) -> Result<Vec<Draft>, Vec<Blocker>> {
    let billed: BTreeMap<OrderUid, Billed> =
        books.orders.iter().map(|(uid, (order, _))| (uid.clone(), order.clone())).collect();
    let mut blockers = Vec::new();
    let mut found = Vec::new();
    let by_payer = by_payer(books, &mut blockers);
    let late = late_by_payer(books, &billed, &mut blockers);
    let mut gaps = gaps_by_payer(books, &mut blockers);
    let mut availability = availability_by_payer(books);
    let payers: BTreeSet<&TenantName> =
        by_payer.keys().chain(late.keys()).chain(gaps.keys()).copied().collect();
    for payer in payers {
        let Some((buyer, tax)) = books.buyers.get(payer) else {
            blockers.push(blocker("buyerUnknown", Some(payer), None, format!("tenant {payer} is not known")));
            continue;
        };
        let intervals = by_payer.get(payer).map_or(&[][..], Vec::as_slice);
        let lines = rated(books, &billed, books.period, intervals, tax, &mut blockers);
        let corrections = late.get(payer).cloned().unwrap_or_default();
        let gaps = gaps.remove(payer).unwrap_or_default();
        if books.require_budget_line {
            blockers.extend(lines.iter().filter_map(|line| unbooked(payer, line)));
        }
        if lines.is_empty() && corrections.is_empty() && gaps.is_empty() {
            continue;
        }
        match totals(lines.iter().chain(&corrections)) {
            Ok(totals) => {
                let (buyer, tax) = (buyer.clone(), tax.clone());
                let availability = availability.remove(payer).unwrap_or_default();
                found.push(Draft { buyer, tax, lines, corrections, gaps, availability, totals });
            }
            Err(cause) => blockers.push(blocker("tooLarge", Some(payer), None, cause.to_string())),
        }
    }
    if blockers.is_empty() {
        return Ok(found);
    }
    blockers.sort();
    blockers.dedup();
    blockers.truncate(MOST_BLOCKERS);
    Err(blockers)
}

fn blocker(reason: &str, tenant: Option<&TenantName>, order: Option<&OrderUid>, detail: String) -> Blocker {
    Blocker { reason: reason.to_owned(), tenant: tenant.cloned(), order_uid: order.cloned(), detail }
}

/// The intervals of the month by the tenant that pays.
fn by_payer<'a>(
    books: &'a Books<'_>,
    blockers: &mut Vec<Blocker>,
) -> BTreeMap<&'a TenantName, Vec<Interval>> {
    let mut found: BTreeMap<&TenantName, Vec<Interval>> = BTreeMap::new();
    for interval in &books.intervals {
        match books.orders.get(&interval.order_uid) {
            Some((_, payer)) => found.entry(payer).or_default().push(interval.clone()),
            None => blockers.push(unknown(&interval.order_uid)),
        }
    }
    found
}

fn unknown(uid: &OrderUid) -> Blocker {
    blocker("orderUnknown", None, Some(uid), RatingError::Order(uid.clone()).to_string())
}

/// Lines of one payer's intervals; what has no price becomes a blocker for each order.
fn rated(
    books: &Books<'_>,
    orders: &BTreeMap<OrderUid, Billed>,
    period: &Period,
    intervals: &[Interval],
    tax: &TaxRegime,
    blockers: &mut Vec<Blocker>,
) -> Vec<StatementLine> {
    let rate = |intervals: &[Interval]| {
        lines(&Basis { period, intervals, lists: &books.lists, allocations: &books.allocations, orders, tax })
    };
    if let Ok(lines) = rate(intervals) {
        return lines;
    }
    for (uid, own) in by_order(intervals) {
        let Err(cause) = rate(&own) else { continue };
        let (order, payer) = match books.orders.get(uid) {
            Some((order, payer)) => (order.name.as_str(), Some(payer)),
            None => (uid.as_str(), None),
        };
        let detail = format!("order {order} cannot be billed: {cause}; publish a price list that knows it");
        blockers.push(blocker("priceUnknown", payer, Some(uid), detail));
    }
    vec![]
}

/// Intervals by their order, so that looking at each order reads each interval once.
fn by_order(intervals: &[Interval]) -> BTreeMap<&OrderUid, Vec<Interval>> {
    let mut found: BTreeMap<&OrderUid, Vec<Interval>> = BTreeMap::new();
    for interval in intervals {
        found.entry(&interval.order_uid).or_default().push(interval.clone());
    }
    found
}

/// The gaps by the tenant that pays, each with the part of it that this month is about: all of it up to the month's end
/// if something of it became known late.
fn gaps_by_payer<'a>(
    books: &'a Books<'_>,
    blockers: &mut Vec<Blocker>,
) -> BTreeMap<&'a TenantName, Vec<ListedGap>> {
    let mut found: BTreeMap<&TenantName, Vec<ListedGap>> = BTreeMap::new();
    for known in &books.gaps {
        let gap = &known.record;
        let Some((order, payer)) = books.orders.get(&gap.order.uid) else {
            blockers.push(unknown(&gap.order.uid));
            continue;
        };
        let Some(decision) = &gap.decision else {
            blockers.push(undecided(payer, gap));
            continue;
        };
        let is_late = known.is_late(books.known) && gap.start < books.period.start;
        found.entry(payer).or_default().push(ListedGap {
            order: order.clone(),
            meter: gap.meter,
            start: if is_late { gap.start } else { gap.start.max(books.period.start) },
            end: gap.end.min(books.period.end),
            reason: gap.reason.clone(),
            billed: decision.billed,
            decided_by: decision.by.clone(),
            evidence: decision.evidence.clone(),
        });
    }
    for gaps in found.values_mut() {
        gaps.sort_by(|a, b| (&a.order, a.meter, a.start).cmp(&(&b.order, b.meter, b.start)));
    }
    found
}

/// The availability of the month by the tenant that pays. Where nothing was observed in all of the month, nobody could tell
/// the ledger: nothing is said of any instance.
fn availability_by_payer<'a>(books: &'a Books<'_>) -> BTreeMap<&'a TenantName, Vec<OfInstance>> {
    let (start, end) = (books.period.start, books.period.end);
    let mut found: BTreeMap<&TenantName, Vec<OfInstance>> = BTreeMap::new();
    if !books.observed.values().flatten().any(|seen| seen.start < end && seen.end > start) {
        return found;
    }
    let gaps = books.gaps.iter().map(|gap| &gap.record);
    let should_run = ShouldRun::new(&books.intervals, gaps, (start, end));
    for (uid, figures) in should_run.availability(&books.observed) {
        // An order that is not known blocks the closing already.
        let Some((order, payer)) = books.orders.get(uid) else { continue };
        found.entry(payer).or_default().push(OfInstance { order: order.clone(), figures });
    }
    found.values_mut().for_each(|instances| instances.sort_by(|a, b| a.order.cmp(&b.order)));
    found
}

fn undecided(payer: &TenantName, gap: &GapRecord) -> Blocker {
    let GapRecord { id, order, meter, start, end, .. } = gap;
    let detail = format!(
        "gap {id}: {meter} of order {}/{} is not proven from {start} until {end}; a certifier of the tenant decides \
         whether it is billed, or national finance waives it: POST /v1/tenants/{}/gaps/{id}/decision",
        order.namespace, order.name, order.tenant
    );
    blocker("gapUndecided", Some(payer), Some(&order.uid), detail)
}

fn unbooked(payer: &TenantName, line: &StatementLine) -> Option<Blocker> {
    let is_open = line.parts.iter().any(|part| part.minor != 0 && part.booking.budget_line.is_none());
    is_open.then(|| {
        let order = &line.order;
        let detail = format!(
            "order {}/{} has no budget line in {}; set costAllocation.budgetLine on it, billing.budgetLine on its \
             tenant, or PUT /v1/tenants/{}/orders/{}/allocation",
            order.namespace, order.name, line.month, order.tenant, order.uid
        );
        blocker("budgetLineMissing", Some(payer), Some(&order.uid), detail)
    })
}

/// What late facts change of closed months, by the tenant that pays now.
fn late_by_payer<'a>(
    books: &'a Books<'_>,
    orders: &BTreeMap<OrderUid, Billed>,
    blockers: &mut Vec<Blocker>,
) -> BTreeMap<&'a TenantName, Vec<StatementLine>> {
    let mut found: BTreeMap<&TenantName, Vec<StatementLine>> = BTreeMap::new();
    if books.late_orders.is_empty() {
        return found;
    }
    let past = Past::of(books);
    let late: Vec<_> = books.late.iter().map(|(period, intervals)| (period, by_order(intervals))).collect();
    for uid in &books.late_orders {
        let Some((_, payer)) = books.orders.get(uid) else {
            blockers.push(unknown(uid));
            continue;
        };
        let mut now = Vec::new();
        for (period, intervals) in &late {
            let own = intervals.get(uid).map_or(&[][..], Vec::as_slice);
            if let Some(tax) = past.tax(books, period.month, uid, payer) {
                now.extend(rated(books, orders, period, own, tax, blockers));
            }
        }
        let billed = past.lines.get(uid).into_iter().flatten().copied();
        match corrections(&now, billed) {
            Ok(lines) if lines.is_empty() => {}
            Ok(lines) => found.entry(payer).or_default().extend(lines),
            Err(cause) => blockers.push(blocker("tooLarge", Some(payer), Some(uid), cause.to_string())),
        }
    }
    found
}

/// What the statements of closed months say of the orders about which facts came late, found in one reading of them.
/// Credit notes take back money, not usage.
#[derive(Default)]
struct Past<'a> {
    /// What was billed of an order for the months about which facts came late, in the order of the chain.
    lines: BTreeMap<&'a OrderUid, Vec<&'a StatementLine>>,
    /// The tax of the first statement of a month that billed the order.
    by_order: BTreeMap<(Month, &'a OrderUid), &'a TaxRegime>,
    /// The tax of the first statement of a month for a buyer.
    by_buyer: BTreeMap<(Month, &'a TenantName), &'a TaxRegime>,
}

impl<'a> Past<'a> {
    fn of(books: &'a Books<'_>) -> Self {
        let months: BTreeSet<Month> = books.late.iter().map(|(period, _)| period.month).collect();
        let is_late = |line: &&StatementLine| books.late_orders.contains(&line.order.uid);
        let mut found = Self::default();
        for document in books.billed.iter().filter(|d| d.kind == StatementKind::Statement) {
            let month = document.period.month;
            found.by_buyer.entry((month, &document.buyer.tenant)).or_insert(&document.tax);
            for line in document.lines.iter().filter(is_late) {
                found.by_order.entry((month, &line.order.uid)).or_insert(&document.tax);
            }
            for line in document.lines.iter().chain(&document.corrections).filter(is_late) {
                if months.contains(&line.month) {
                    found.lines.entry(&line.order.uid).or_default().push(line);
                }
            }
        }
        found
    }

    /// The tax of a closed month: that of the document which billed the order then, or its payer; else today's.
    fn tax(
        &self,
        books: &'a Books<'_>,
        month: Month,
        uid: &OrderUid,
        payer: &TenantName,
    ) -> Option<&'a TaxRegime> {
        let then = self.by_order.get(&(month, uid)).or_else(|| self.by_buyer.get(&(month, payer)));
        then.copied().or_else(|| books.buyers.get(payer).map(|(_, tax)| tax))
    }
}

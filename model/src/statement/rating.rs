//! From intervals, prices and allocations to lines. Pure, so that the same record gives the same lines for ever.

use super::{Billed, Part, StatementLine};
use crate::allocation::{Allocation, Booking, Shares};
use crate::id::{OrderUid, PriceListName, Sku};
use crate::money::InvalidMoney;
use crate::party::TaxRegime;
use crate::period::{InvalidPeriod, Month, Period};
use crate::price::{PriceError, PriceList, amount};
use crate::usage::{Interval, Meter, Slice, slices};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Why there are no lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RatingError {
    /// Time without a price, or a sum that does not fit.
    #[error(transparent)]
    Price(#[from] PriceError),
    /// Usage of an order that nothing else is known of.
    #[error("usage of order {0} is on record, but not the order")]
    Order(OrderUid),
    /// A quantity on record that is no number.
    #[error("quantity {0:?} of a line is not a whole number")]
    Quantity(String),
    /// The period has no days.
    #[error(transparent)]
    Period(InvalidPeriod),
}

impl From<InvalidMoney> for RatingError {
    fn from(cause: InvalidMoney) -> Self {
        Self::Price(cause.into())
    }
}

/// What a statement is computed from.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// The month.
    pub period: &'a Period,
    /// The intervals; only what lies in the period counts.
    pub intervals: &'a [Interval],
    /// Every price list in force at some time of the period.
    pub lists: &'a [PriceList],
    /// Where orders are booked. The first entry of an order also holds before it; an order without any is booked nowhere.
    pub allocations: &'a BTreeMap<OrderUid, Vec<Allocation>>,
    /// The orders.
    pub orders: &'a BTreeMap<OrderUid, Billed>,
    /// The tax on it.
    pub tax: &'a TaxRegime,
}

/// What has one line: everything of it is added up before anything is rounded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a> {
    order: &'a Billed,
    meter: Meter,
    sku: &'a Sku,
    list: usize,
    booking: usize,
}

/// What is added up for a line.
struct Sum {
    quantity_ms: i128,
    start: Timestamp,
    end: Timestamp,
}

/// The lines of a month, sorted by order, meter, SKU, price list and booking; each is rounded once, so that cutting an
/// interval anywhere changes nothing.
///
/// # Errors
/// [`RatingError`]: time without a price, an unknown order, or a sum that does not fit.
pub fn lines(basis: &Basis<'_>) -> Result<Vec<StatementLine>, RatingError> {
    let mut lists: Vec<&PriceList> = basis.lists.iter().collect();
    lists.sort_by_key(|list| list.valid_from);
    let bookings = Bookings::of(basis);
    let mut sums: BTreeMap<Key<'_>, Sum> = BTreeMap::new();
    for slice in slices(basis.intervals, &lists, basis.period.start, basis.period.end)? {
        let interval = slice.interval;
        let uid = &interval.order_uid;
        let order = basis.orders.get(uid).ok_or_else(|| RatingError::Order(uid.clone()))?;
        for (booking, start, end) in bookings.cut(uid, &slice) {
            let key =
                Key { order, meter: interval.meter, sku: &interval.level.sku, list: slice.list, booking };
            let sum = sums.entry(key).or_insert(Sum { quantity_ms: 0, start, end });
            let piece = Slice { start, end, ..slice };
            let more = piece
                .length_ms()
                .checked_mul(i128::from(interval.level.quantity))
                .ok_or(InvalidMoney::TooLarge)?;
            sum.quantity_ms = sum.quantity_ms.checked_add(more).ok_or(InvalidMoney::TooLarge)?;
            sum.start = sum.start.min(start);
            sum.end = sum.end.max(end);
        }
    }
    sums.into_iter().map(|(key, sum)| line(basis, &lists, &bookings, &key, &sum)).collect()
}

fn line(
    basis: &Basis<'_>,
    lists: &[&PriceList],
    bookings: &Bookings<'_>,
    key: &Key<'_>,
    sum: &Sum,
) -> Result<StatementLine, RatingError> {
    let unknown = |list| PriceError::Unknown { sku: key.sku.clone(), list };
    let list = lists.get(key.list).ok_or_else(|| unknown(None))?;
    let price = list.price_of(key.sku).ok_or_else(|| unknown(Some(list.name.clone())))?;
    let minor = amount(sum.quantity_ms, price, list.currency)?.minor;
    let nowhere = Shares::whole(Booking::default());
    let shares = bookings.all.get(key.booking).copied().unwrap_or(&nowhere);
    let parts = shares.as_slice().iter().zip(shares.split(minor)?);
    Ok(StatementLine {
        month: basis.period.month,
        order: key.order.clone(),
        meter: key.meter,
        sku: key.sku.clone(),
        unit: price.unit,
        unit_price: price.price.normalize().to_string(),
        price_list: list.name.clone(),
        start: sum.start,
        end: sum.end,
        quantity_ms: sum.quantity_ms.to_string(),
        minor,
        tax_basis_points: basis.tax.rate(key.sku),
        parts: parts
            .map(|(share, minor)| Part {
                booking: share.booking.clone(),
                millionths: share.millionths,
                minor,
            })
            .collect(),
    })
}

/// The allocations of the orders that have intervals, equal ones under one number, so that an order that is booked as it
/// was before has one line and not two. Of those orders alone: a closing rates payer after payer, each with few of all orders.
struct Bookings<'a> {
    all: Vec<&'a Shares>,
    of_order: BTreeMap<&'a OrderUid, Vec<(Timestamp, usize)>>,
}

impl<'a> Bookings<'a> {
    fn of(basis: &Basis<'a>) -> Self {
        let uids: BTreeSet<&OrderUid> = basis.intervals.iter().map(|interval| &interval.order_uid).collect();
        let allocations: Vec<(&OrderUid, &[Allocation])> =
            uids.into_iter().filter_map(|uid| Some((uid, basis.allocations.get(uid)?.as_slice()))).collect();
        let mut all: Vec<&Shares> =
            allocations.iter().flat_map(|(_, dated)| *dated).map(|a| &a.shares).collect();
        all.sort_by(|a, b| a.as_slice().cmp(b.as_slice()));
        all.dedup();
        let number = |shares: &Shares| all.binary_search_by(|s| s.as_slice().cmp(shares.as_slice())).ok();
        let of_order = allocations
            .into_iter()
            .map(|(uid, dated)| {
                let mut dated: Vec<(Timestamp, usize)> =
                    dated.iter().filter_map(|a| Some((a.at, number(&a.shares)?))).collect();
                dated.sort_by_key(|entry| entry.0);
                (uid, dated)
            })
            .collect();
        Self { all, of_order }
    }

    /// The slice in pieces, each with the number of its booking; the number of none is past the last.
    fn cut(&self, uid: &OrderUid, slice: &Slice<'_>) -> Vec<(usize, Timestamp, Timestamp)> {
        let nowhere = self.all.len();
        let dated = self.of_order.get(uid).map_or(&[][..], Vec::as_slice);
        let mut pieces = Vec::new();
        let mut at = slice.start;
        while at < slice.end {
            let after = dated.partition_point(|entry| entry.0 <= at);
            let booking = dated.get(after.saturating_sub(1)).map_or(nowhere, |entry| entry.1);
            let change = dated.get(after.max(1)).map(|entry| entry.0).filter(|change| *change > at);
            let until = change.map_or(slice.end, |change| change.min(slice.end));
            pieces.push((booking, at, until));
            at = until;
        }
        pieces
    }
}

/// What one correction is about: the same however the facts came.
type Same<'a> = (Month, &'a Billed, Meter, &'a Sku, &'a PriceListName, Option<u32>);

/// The amounts of a line by place.
type Places<'a> = BTreeMap<&'a Booking, i64>;

/// What is known now and what was billed, of one thing.
#[derive(Default)]
struct Difference<'a> {
    line: Option<&'a StatementLine>,
    quantity_ms: i128,
    places: Places<'a>,
}

impl<'a> Difference<'a> {
    fn count(&mut self, line: &'a StatementLine, sign: i64) -> Result<(), RatingError> {
        let too_large = || RatingError::from(InvalidMoney::TooLarge);
        let quantity: i128 =
            line.quantity_ms.parse().map_err(|_| RatingError::Quantity(line.quantity_ms.clone()))?;
        let signed = quantity.checked_mul(i128::from(sign)).ok_or_else(too_large)?;
        self.quantity_ms = self.quantity_ms.checked_add(signed).ok_or_else(too_large)?;
        for part in &line.parts {
            let more = part.minor.checked_mul(sign).ok_or_else(too_large)?;
            let place = self.places.entry(&part.booking).or_default();
            *place = place.checked_add(more).ok_or_else(too_large)?;
        }
        self.line.get_or_insert(line);
        Ok(())
    }

    fn correction(self) -> Result<Option<StatementLine>, InvalidMoney> {
        let parts: Vec<Part> = self
            .places
            .into_iter()
            .filter(|(_, minor)| *minor != 0)
            .map(|(booking, minor)| Part { booking: booking.clone(), millionths: 0, minor })
            .collect();
        let minor =
            parts.iter().try_fold(0_i64, |sum, p| sum.checked_add(p.minor)).ok_or(InvalidMoney::TooLarge)?;
        let line = self.line.filter(|_| !parts.is_empty() || self.quantity_ms != 0);
        let nowhere = || vec![Part { booking: Booking::default(), millionths: 0, minor: 0 }];
        Ok(line.map(|line| StatementLine {
            quantity_ms: self.quantity_ms.to_string(),
            minor,
            parts: if parts.is_empty() { nowhere() } else { parts },
            ..line.clone()
        }))
    }
}

/// What earlier months need so that their sum is what is known now: the difference between `now`, their lines by today's
/// record, and `billed`, the lines and corrections of all documents about them. Nothing where nothing differs.
///
/// # Errors
/// [`RatingError`] when a sum does not fit.
pub fn corrections<'a>(
    now: &'a [StatementLine],
    billed: impl Iterator<Item = &'a StatementLine>,
) -> Result<Vec<StatementLine>, RatingError> {
    let mut found: BTreeMap<Same<'a>, Difference<'a>> = BTreeMap::new();
    for (line, sign) in now.iter().map(|line| (line, 1)).chain(billed.map(|line| (line, -1))) {
        let same = (line.month, &line.order, line.meter, &line.sku, &line.price_list, line.tax_basis_points);
        found.entry(same).or_default().count(line, sign)?;
    }
    found
        .into_values()
        .filter_map(|difference| difference.correction().map_err(RatingError::from).transpose())
        .collect()
}

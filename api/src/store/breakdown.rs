//! What a month's grouped figures are computed from: the statements of a closed month, the record of an open one.

use super::commitments::Basis as Forecast;
use super::tenants::Tenant;
use super::{allocations, finance, orders, periods, prices, statements, usage};
use crate::error::Error;
use jiff::Timestamp;
use siyada_model::id::OrderUid;
use siyada_model::money::Currency;
use siyada_model::party::TaxRegime;
use siyada_model::period::{Month, Period, zone};
use siyada_model::price::PriceList;
use siyada_model::statement::breakdown::Daily;
use siyada_model::statement::rating::{Basis, RatingError, lines};
use siyada_model::statement::{Billed, Statement, StatementLine};
use siyada_model::usage::Interval;
use siyada_model::wire::PeriodState;
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};

/// Documents read at a time.
const DOCUMENTS: i64 = 8;

/// Lines, and how much of each was used on which day, if that was asked.
#[derive(Default)]
pub struct Rated {
    /// The lines and corrections.
    pub lines: Vec<StatementLine>,
    /// Their days.
    pub daily: Daily,
}

/// A month of a tenant and everything below it.
pub struct MonthOf {
    /// The month and its borders.
    pub period: Period,
    /// What is counted ends here.
    pub until: Timestamp,
    /// Whether it is closed.
    pub closed: bool,
    /// What is billed, or was used so far.
    pub used: Rated,
    /// What it comes to if nothing changes; none once it is over.
    pub forecast: Option<Rated>,
}

/// The month as it was opened, or as it would be; the current one when none is asked.
///
/// # Errors
/// `invalid` for a month that has not begun.
pub async fn period(
    tx: &mut PgConnection,
    asked: Option<Month>,
    now: Timestamp,
) -> Result<PeriodState, Error> {
    let fault = |cause: siyada_model::period::InvalidPeriod| Error::Fault(cause.to_string());
    let issuer = finance::issuer(tx).await?;
    let name = issuer.map_or_else(|| "UTC".to_owned(), |issuer| issuer.time_zone);
    let open = periods::last(tx).await?.filter(|open| open.start <= now && now < open.end);
    let current = match open {
        Some(open) => open.month,
        None => Month::holding(now, &zone(&name).map_err(fault)?),
    };
    let month = asked.unwrap_or(current);
    if let Some(known) = periods::find(tx, month).await? {
        return Ok(known);
    }
    let period = Period::first(month, &name).map_err(fault)?;
    if period.start >= now {
        return Err(Error::invalid(format!("{month} has not begun")));
    }
    Ok(PeriodState { period, closed_at: None, closed_by: None, as_of: None })
}

/// Reads a month of a tenant. To be called in one snapshot.
///
/// # Errors
/// `price-unknown` for time without a price.
pub async fn read(
    tx: &mut PgConnection,
    tenant: &Tenant,
    (state, now): (PeriodState, Timestamp),
    by_day: bool,
    currency: Currency,
) -> Result<MonthOf, Error> {
    let period = state.period;
    if state.closed_at.is_some() {
        let used = closed(tx, tenant, &period, state.as_of.unwrap_or(i64::MAX), by_day).await?;
        let until = period.end;
        return Ok(MonthOf { period, until, closed: true, used, forecast: None });
    }
    let until = period.end.min(now);
    let so_far = Period { end: until, ..period.clone() };
    let basis = Forecast::read(tx, tenant, (now, period.end), currency).await?;
    let (used, all) = basis.intervals(tx, tenant, (period.start, period.end)).await?;
    let known = known(tx, used.iter().chain(&all)).await?;
    let used = known.rate(&so_far, &used, basis.lists(), by_day)?;
    let forecast = match until < period.end {
        true => Some(known.rate(&period, &all, basis.lists(), by_day)?),
        false => None,
    };
    Ok(MonthOf { period, until, closed: false, used, forecast })
}

/// The orders of some intervals and where they are booked.
struct Known {
    orders: BTreeMap<OrderUid, Billed>,
    allocations: BTreeMap<OrderUid, Vec<siyada_model::allocation::Allocation>>,
}

async fn known(tx: &mut PgConnection, intervals: impl Iterator<Item = &Interval>) -> Result<Known, Error> {
    let uids: BTreeSet<&str> = intervals.map(|interval| interval.order_uid.as_str()).collect();
    let uids: Vec<&str> = uids.into_iter().collect();
    let found = orders::find(tx, &uids).await?;
    let billed = |(uid, order): (OrderUid, orders::Order)| {
        let orders::Order { tenant, namespace, name, kind, .. } = order;
        (uid.clone(), Billed { tenant, namespace, name, uid, kind })
    };
    let allocations = allocations::of(tx, &uids, i64::MAX).await?;
    Ok(Known { orders: found.into_iter().map(billed).collect(), allocations })
}

impl Known {
    fn rate(
        &self,
        period: &Period,
        intervals: &[Interval],
        lists: &[PriceList],
        by_day: bool,
    ) -> Result<Rated, Error> {
        let (orders, allocations) = (&self.orders, &self.allocations);
        // Figures are without tax.
        let tax = &TaxRegime::Outside { legal_basis: String::new() };
        let basis = Basis { period, intervals, lists, allocations, orders, tax };
        let daily = if by_day { Daily::of(&basis).map_err(unrated)? } else { Daily::default() };
        Ok(Rated { lines: lines(&basis).map_err(unrated)?, daily })
    }
}

/// Why there are no lines, as a refusal.
pub fn unrated(cause: RatingError) -> Error {
    match cause {
        RatingError::Price(cause) => cause.into(),
        other => Error::Fault(other.to_string()),
    }
}

/// What the statements of a closed month bill of a tenant's orders, and those below it.
async fn closed(
    tx: &mut PgConnection,
    tenant: &Tenant,
    period: &Period,
    as_of: i64,
    by_day: bool,
) -> Result<Rated, Error> {
    let mut lines = Vec::new();
    let mut after = 0;
    loop {
        // Whoever pays now may not have paid then: the orders say whose lines these are.
        let (documents, last) = statements::of_month(tx, period.month, after, DOCUMENTS).await?;
        let Some(last) = last else { break };
        after = last;
        let mut all: Vec<StatementLine> = documents
            .into_iter()
            .flat_map(|Statement { lines, corrections, .. }| lines.into_iter().chain(corrections))
            .collect();
        let uids: BTreeSet<&str> = all.iter().map(|line| line.order.uid.as_str()).collect();
        let sql = "select o.uid from orders o join tenant t on t.id = o.tenant_id
                   where o.uid = any($1) and t.path @> array[$2]";
        let own: Vec<String> = sqlx::query_scalar(sql)
            .bind(uids.into_iter().collect::<Vec<_>>())
            .bind(tenant.id)
            .fetch_all(&mut *tx)
            .await?;
        let own: BTreeSet<&str> = own.iter().map(String::as_str).collect();
        all.retain(|line| own.contains(line.order.uid.as_str()));
        lines.extend(all);
    }
    if !by_day {
        return Ok(Rated { lines, daily: Daily::default() });
    }
    let uids: BTreeSet<&str> = lines.iter().map(|line| line.order.uid.as_str()).collect();
    let uids: Vec<&str> = uids.into_iter().collect();
    let intervals = usage::recorded(tx, (period.start, period.end), as_of, Some(&uids)).await?;
    let allocations = allocations::of(tx, &uids, as_of).await?;
    let orders = lines.iter().map(|line| (line.order.uid.clone(), line.order.clone())).collect();
    let lists = prices::before(tx, period.end).await?;
    let Rated { daily, .. } = Known { orders, allocations }.rate(period, &intervals, &lists, true)?;
    Ok(Rated { lines, daily })
}

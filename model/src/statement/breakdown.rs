//! A month's cost by day, service, instance and whatever else finance asks, so that every grouping sums to the bill.
//!
//! A line is rounded once. Its parts over budget lines and cost centres are those of the statement; each part is then spread
//! over the days by the largest remainder ([`split`]), by what was used on each. These are the smallest figures, and a figure of any
//! grouping is a sum of them: so two groupings never contradict each other, and the sum of each is the bill, to the coin.

use super::rating::{Basis, RatingError, lines};
use super::{Billed, StatementLine};
use crate::allocation::{Booking, split};
use crate::id::{OrderUid, PriceListName, Sku, TenantName};
use crate::money::{InvalidMoney, Money};
use crate::period::{InvalidPeriod, Month, Period, zone};
use crate::price::Unit;
use crate::usage::Meter;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What figures are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum Dimension {
    /// A calendar day in the issuer's time zone; a correction is of the month that it is about.
    Day,
    /// The tenant that ordered.
    Tenant,
    /// The kind of the order.
    Service,
    /// The order, by its uid.
    Instance,
    /// The price key: the plan, for compute.
    Plan,
    /// What was measured.
    Meter,
    /// The cost centre; empty for what is booked on none.
    CostCentre,
    /// The budget line; empty for what is booked on none.
    BudgetLine,
    /// The list that the price comes from.
    PriceList,
}

impl Dimension {
    /// All of them, in the order in which rows are sorted.
    pub const ALL: [Self; 9] = [
        Self::Day,
        Self::Tenant,
        Self::Service,
        Self::Instance,
        Self::Plan,
        Self::Meter,
        Self::CostCentre,
        Self::BudgetLine,
        Self::PriceList,
    ];

    /// The word used in HTTP.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Tenant => "tenant",
            Self::Service => "service",
            Self::Instance => "instance",
            Self::Plan => "plan",
            Self::Meter => "meter",
            Self::CostCentre => "costCentre",
            Self::BudgetLine => "budgetLine",
            Self::PriceList => "priceList",
        }
    }

    /// Whether it takes a line apart by where it is booked.
    fn is_booking(self) -> bool {
        matches!(self, Self::CostCentre | Self::BudgetLine)
    }

    fn text<'a>(self, cell: &Cell<'a>) -> &'a str {
        let order = &cell.line.order;
        match self {
            Self::Day => cell.day,
            Self::Tenant => order.tenant.as_str(),
            Self::Service => &order.kind,
            Self::Instance => order.uid.as_str(),
            Self::Plan => cell.line.sku.as_str(),
            Self::Meter => cell.line.meter.as_str(),
            Self::CostCentre => cell.booking.cost_centre.as_deref().unwrap_or_default(),
            Self::BudgetLine => cell.booking.budget_line.as_deref().unwrap_or_default(),
            Self::PriceList => cell.line.price_list.as_str(),
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Nothing is grouped by that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "usage is not grouped by {0:?}; use some of day, tenant, service, instance, plan, meter, costCentre, budgetLine, priceList"
)]
pub struct UnknownDimension(String);

impl FromStr for Dimension {
    type Err = UnknownDimension;
    fn from_str(text: &str) -> Result<Self, UnknownDimension> {
        let found = Self::ALL.into_iter().find(|dimension| dimension.as_str() == text);
        found.ok_or_else(|| UnknownDimension(text.to_owned()))
    }
}

/// A day of a period, cut at its borders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Day {
    /// The date in the period's time zone: `2026-10-03`.
    pub date: String,
    /// First instant.
    pub start: Timestamp,
    /// First instant after it.
    pub end: Timestamp,
}

/// The calendar days of a period in its time zone: 23 or 25 hours long where clocks change. The first begins and the last
/// ends with the period, whatever the rules of the zone say by now.
///
/// # Errors
/// [`InvalidPeriod::Zone`] when the time zone is gone from the tz database.
pub fn days(period: &Period) -> Result<Vec<Day>, InvalidPeriod> {
    let zone = zone(&period.time_zone)?;
    let begins = |date: Date| date.to_zoned(zone.clone()).ok().map(|at| at.timestamp());
    let mut found: Vec<Day> = Vec::new();
    let (mut date, mut start) = (period.start.to_zoned(zone.clone()).date(), period.start);
    while start < period.end {
        let Ok(next) = date.tomorrow() else { break };
        let end = begins(next).unwrap_or(period.end).clamp(start, period.end);
        if start < end {
            found.push(Day { date: date.to_string(), start, end });
        }
        (date, start) = (next, end);
    }
    Ok(found)
}

/// What makes two lines of different days parts of one line of the month.
type Same = (OrderUid, Meter, Sku, PriceListName, Vec<(Booking, u32)>);

fn same(line: &StatementLine) -> Same {
    let parts = line.parts.iter().map(|part| (part.booking.clone(), part.millionths)).collect();
    (line.order.uid.clone(), line.meter, line.sku.clone(), line.price_list.clone(), parts)
}

/// How much of each line was used on which day.
#[derive(Clone, Debug, Default)]
pub struct Daily {
    days: Vec<Day>,
    used: BTreeMap<Same, Vec<(usize, i128)>>,
}

impl Daily {
    /// What the days of `basis` have of each line: the lines of each day, computed as those of the month are.
    ///
    /// # Errors
    /// [`RatingError`] as for the lines of the month.
    pub fn of(basis: &Basis<'_>) -> Result<Self, RatingError> {
        let days = days(basis.period).map_err(RatingError::Period)?;
        let mut used: BTreeMap<Same, Vec<(usize, i128)>> = BTreeMap::new();
        for (index, day) in days.iter().enumerate() {
            let period = Period { start: day.start, end: day.end, ..basis.period.clone() };
            for line in lines(&Basis { period: &period, ..*basis })? {
                used.entry(same(&line)).or_default().push((index, quantity(&line)?));
            }
        }
        Ok(Self { days, used })
    }

    /// The days of a line: by what was used on each, and if that is not known by how much of each it covers.
    fn of_line<'a>(&'a self, line: &'a StatementLine, whole: i128) -> Vec<Spread<'a>> {
        let spread = |index: usize, weight| {
            let day = self.days.get(index)?;
            Some(Spread {
                day: &day.date,
                weight,
                from: line.start.max(day.start),
                to: line.end.min(day.end),
            })
        };
        let known = self.used.get(&same(line)).filter(|used| {
            used.iter().try_fold(0_i128, |sum, (_, quantity)| sum.checked_add(*quantity)) == Some(whole)
        });
        if let Some(used) = known {
            return used.iter().filter_map(|(index, quantity)| spread(*index, *quantity)).collect();
        }
        let covered = |day: &Day| {
            let (from, to) = (line.start.max(day.start), line.end.min(day.end));
            i128::from(to.as_millisecond()).saturating_sub(i128::from(from.as_millisecond()))
        };
        let covered = self.days.iter().map(covered).enumerate().filter(|(_, ms)| *ms > 0);
        covered.filter_map(|(index, ms)| spread(index, ms)).collect()
    }
}

fn quantity(line: &StatementLine) -> Result<i128, RatingError> {
    line.quantity_ms.parse().map_err(|_| RatingError::Quantity(line.quantity_ms.clone()))
}

/// A day's weight in a line.
struct Spread<'a> {
    day: &'a str,
    weight: i128,
    from: Timestamp,
    to: Timestamp,
}

/// The smallest figure: a part of a line on a day.
struct Cell<'a> {
    line: &'a StatementLine,
    booking: &'a Booking,
    day: &'a str,
}

/// What is asked: by what to group, and which figures count.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// By what, each once; nothing for one sum of all.
    pub by: Vec<Dimension>,
    /// Only figures with this value of a dimension.
    pub only: BTreeMap<Dimension, String>,
}

impl Asked {
    /// Whether `dimension` matters.
    pub fn uses(&self, dimension: Dimension) -> bool {
        self.by.contains(&dimension) || self.only.contains_key(&dimension)
    }

    fn takes(&self, cell: &Cell<'_>) -> bool {
        self.only.iter().all(|(dimension, value)| dimension.text(cell) == value)
    }

    fn key(&self, cell: &Cell<'_>) -> Vec<String> {
        self.by.iter().map(|dimension| dimension.text(cell).to_owned()).collect()
    }
}

/// A figure of a grouping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The amount without tax, in minor units.
    pub minor: i64,
    /// Exact quantity, base units x milliseconds; none where different things or parts of them were added up.
    pub quantity_ms: Option<i128>,
    /// First instant that it counts.
    pub from: Timestamp,
    /// First instant after the last that it counts.
    pub to: Timestamp,
    /// The order of the first line in it.
    pub order: Billed,
    /// Unit and price of the first line in it.
    pub price: (Unit, String),
    sku: Sku,
}

impl Figure {
    fn new(line: &StatementLine, spread: &Spread<'_>) -> Self {
        Self {
            minor: 0,
            quantity_ms: Some(0),
            from: spread.from,
            to: spread.to,
            order: line.order.clone(),
            price: (line.unit, line.unit_price.clone()),
            sku: line.sku.clone(),
        }
    }

    fn add(
        &mut self,
        (minor, quantity): (i64, Option<i128>),
        line: &StatementLine,
        spread: &Spread<'_>,
    ) -> Result<(), InvalidMoney> {
        self.minor = self.minor.checked_add(minor).ok_or(InvalidMoney::TooLarge)?;
        let both = self.quantity_ms.zip(quantity).filter(|_| self.sku == line.sku);
        self.quantity_ms = both.and_then(|(sum, more)| sum.checked_add(more));
        self.from = self.from.min(spread.from);
        self.to = self.to.max(spread.to);
        Ok(())
    }
}

/// Figures by the values of what they are grouped by, in the order of [`Asked::by`].
pub type Figures = BTreeMap<Vec<String>, Figure>;

/// The figures of the lines and corrections of `month`. Those of any grouping sum to the sum of the lines.
///
/// # Errors
/// [`RatingError`] when a sum does not fit.
pub fn group<'a>(
    asked: &Asked,
    month: Month,
    all: impl IntoIterator<Item = &'a StatementLine>,
    daily: &Daily,
) -> Result<Figures, RatingError> {
    let mut found = Figures::new();
    let by_booking = Dimension::ALL.into_iter().any(|d| d.is_booking() && asked.uses(d));
    for line in all {
        let whole = quantity(line)?;
        let about = line.month.to_string();
        let all_at_once = Spread { day: &about, weight: 1, from: line.start, to: line.end };
        let mut spread = match asked.uses(Dimension::Day) && line.month == month {
            true => daily.of_line(line, whole),
            false => vec![],
        };
        let on_days = spread.iter().fold(0_i128, |sum, day| sum.saturating_add(day.weight)) == whole;
        let one = spread.is_empty();
        if one {
            spread.push(all_at_once);
        }
        let weights: Vec<i128> = spread.iter().map(|day| day.weight).collect();
        for (index, part) in line.parts.iter().enumerate() {
            for (day, minor) in spread.iter().zip(split(part.minor, &weights)?) {
                let cell = Cell { line, booking: &part.booking, day: day.day };
                if !asked.takes(&cell) {
                    continue;
                }
                // A line has its quantity once, however many parts its amount has; a part of it has none of its own.
                let quantity = match (by_booking, index) {
                    (true, _) => None,
                    (false, 0) if one => Some(whole),
                    (false, 0) => on_days.then_some(day.weight),
                    (false, _) => Some(0),
                };
                let figure = found.entry(asked.key(&cell)).or_insert_with(|| Figure::new(line, day));
                figure.add((minor, quantity), line, day)?;
            }
        }
    }
    Ok(found)
}

/// `GET /v1/tenants/{tenant}/usage/grouped`: a month's cost, grouped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GroupedUsage {
    /// The tenant; everything below it is included.
    pub tenant: TenantName,
    /// The month and its borders.
    #[serde(flatten)]
    pub period: Period,
    /// What is counted ends here: at the end of the month, or now.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub until: Timestamp,
    /// The month is closed: these are the figures of its statements.
    pub closed: bool,
    /// By what it is grouped.
    pub group_by: Vec<Dimension>,
    /// The figures, sorted by what they are grouped by.
    pub rows: Vec<UsageGroup>,
    /// Their sum, without tax.
    pub total: Money,
    /// What the month comes to if nothing changes; absent once it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Money>,
}

/// A figure of a [`GroupedUsage`]. What it is not grouped by is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct UsageGroup {
    /// The values of what it is grouped by.
    #[serde(flatten)]
    pub group: Group,
    /// Namespace of the order, when grouped by instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the order, when grouped by instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What one unit of the price is, when grouped by plan and price list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// Price of one unit, when grouped by plan and price list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_price: Option<String>,
    /// Exact quantity, base units x milliseconds, when grouped by plan and not by where it is booked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity_ms: Option<String>,
    /// The amount without tax: of the closed month, or so far.
    pub amount: Money,
    /// What the month comes to if nothing changes; absent once it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Money>,
    /// Where the figure opens: the same by instance, or the intervals of an instance; absent while nothing is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opens: Option<String>,
}

/// The values of what a figure is grouped by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// A day, `2026-10-03`; of a correction, the month that it is about, `2026-09`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// The tenant that ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The kind of the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Uid of the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The price key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// What was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meter: Option<String>,
    /// The cost centre; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_centre: Option<String>,
    /// The budget line; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_line: Option<String>,
    /// The price list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_list: Option<String>,
}

impl Group {
    /// The group with these values of what figures are grouped by.
    pub fn new(by: &[Dimension], key: Vec<String>) -> Self {
        let mut group = Self::default();
        for (dimension, value) in by.iter().zip(key) {
            *group.place(*dimension) = Some(value);
        }
        group
    }

    fn place(&mut self, dimension: Dimension) -> &mut Option<String> {
        match dimension {
            Dimension::Day => &mut self.day,
            Dimension::Tenant => &mut self.tenant,
            Dimension::Service => &mut self.service,
            Dimension::Instance => &mut self.instance,
            Dimension::Plan => &mut self.plan,
            Dimension::Meter => &mut self.meter,
            Dimension::CostCentre => &mut self.cost_centre,
            Dimension::BudgetLine => &mut self.budget_line,
            Dimension::PriceList => &mut self.price_list,
        }
    }

    /// The value of a dimension, if figures are grouped by it.
    pub fn get(&self, dimension: Dimension) -> Option<&str> {
        let value = match dimension {
            Dimension::Day => &self.day,
            Dimension::Tenant => &self.tenant,
            Dimension::Service => &self.service,
            Dimension::Instance => &self.instance,
            Dimension::Plan => &self.plan,
            Dimension::Meter => &self.meter,
            Dimension::CostCentre => &self.cost_centre,
            Dimension::BudgetLine => &self.budget_line,
            Dimension::PriceList => &self.price_list,
        };
        value.as_deref()
    }
}

//! What each thing of the ledger looks like in a list: a new kind of row is one block here, a column is one line.

pub mod billing;
pub mod national;
pub mod records;
pub mod spending;

use crate::amounts::hours;
use crate::table::{Cell, Column, Listed, at, money, number, some, text};
use serde::Serialize;
use siyada_model::money::{self as amount, Currency};
use siyada_model::price::SkuPrice;
use siyada_model::quantity::{show_bytes, show_cpu};
use siyada_model::quota::{Dimension, DimensionView};
use siyada_model::usage::Interval;
use siyada_model::wire::{
    Alert, Approval, ApprovalDecision, ApprovalState, CommittedOrder, Counted, DisplayName, MeterKind,
    MeterRecord, PriceListRecord, ReportLine, TenantSummary,
};

/// The first name there is.
pub fn name_of(names: &DisplayName) -> Option<&String> {
    [&names.fr, &names.ar, &names.en, &names.zgh].into_iter().flatten().next()
}

/// `yes`, or nothing.
fn if_so(so: bool) -> Cell {
    (if so { &"yes" } else { &"" }).into()
}

impl Listed for TenantSummary {
    const COLUMNS: &'static [Column<Self>] = &[
        text("tenant", |row| (&row.tenant).into()),
        text("parent", |row| some(row.parent.as_ref())),
        text("name", |row| some(name_of(&row.display_name))),
        text("suspended", |row| if_so(row.suspended)),
    ];
}

/// A dimension of a quota with the currency of its money.
#[derive(Serialize)]
pub struct Dimensional {
    /// The dimension.
    #[serde(flatten)]
    pub view: DimensionView,
    /// For money.
    #[serde(skip)]
    pub currency: Currency,
}

impl Dimensional {
    fn shown(&self, value: Option<i64>) -> Cell {
        let show = |value: i64| match self.view.dimension {
            Dimension::Cpu => show_cpu(value),
            Dimension::Memory | Dimension::Storage => show_bytes(value),
            Dimension::MonthlyCost => amount::Money { minor: value, currency: self.currency }.to_string(),
            Dimension::Instances => value.to_string(),
        };
        some(value.map(show).as_ref())
    }
}

impl Listed for Dimensional {
    const COLUMNS: &'static [Column<Self>] = &[
        text("dimension", |row| (&row.view.dimension).into()),
        number("limit", |row| row.shown(row.view.limit)),
        number("held", |row| row.shown(Some(row.view.held))),
        number("used", |row| row.shown(Some(row.view.used))),
        number("free", |row| row.shown(row.view.free)),
        number("over", |row| row.shown(Some(row.view.over).filter(|over| *over != 0))),
    ];
}

impl Listed for MeterRecord {
    const COLUMNS: &'static [Column<Self>] = &[
        text("meter", |row| (&row.name).into()),
        text("kind", |row| (&kind_of(row.kind)).into()),
        text("baseUnit", |row| (&row.base_unit).into()),
        text("name", |row| some(name_of(&row.display_name))),
    ];
}

fn kind_of(kind: MeterKind) -> &'static str {
    match kind {
        MeterKind::Level => "level",
        MeterKind::Counter => "counter",
    }
}

impl Listed for Counted {
    const COLUMNS: &'static [Column<Self>] = &[
        text("tenant", |row| (&row.order.tenant).into()),
        text("namespace", |row| (&row.order.namespace).into()),
        text("name", |row| (&row.order.name).into()),
        text("meter", |row| (&row.meter).into()),
        number("quantity", |row| (&row.window.quantity).into()),
        text("start", |row| some(row.window.start.as_ref())),
        text("end", |row| (&row.window.end).into()),
        text("mayMiss", |row| if_so(row.window.may_miss)),
    ];
}

impl Listed for ReportLine {
    const COLUMNS: &'static [Column<Self>] = &[
        text("tenant", |row| (&row.tenant).into()),
        text("namespace", |row| (&row.namespace).into()),
        text("name", |row| (&row.name).into()),
        text("plan", |row| (&row.plan).into()),
        text("costCentre", |row| some(row.billing.cost_centre.as_ref())),
        text("budgetLine", |row| some(row.billing.budget_line.as_ref())),
        text("sku", |row| (&row.line.sku).into()),
        number("quantity", |row| Cell::Text(hours(row.line.meter, &row.line.quantity_ms))),
        number("unitPrice", |row| (&row.line.unit_price).into()),
        text("priceList", |row| (&row.line.price_list).into()),
        money("amount", |row| row.line.amount.into()),
    ];
}

/// A line of a report with the intervals it comes from.
#[derive(Serialize)]
pub struct Proven {
    /// The line.
    #[serde(flatten)]
    pub line: ReportLine,
    /// Its intervals, whole, also where they reach out of the report.
    pub intervals: Vec<Interval>,
}

/// An interval behind a figure.
#[derive(Serialize)]
pub struct Proof {
    /// The figure.
    #[serde(flatten)]
    pub line: ReportLine,
    /// The interval.
    pub interval: Interval,
}

impl Listed for Proof {
    const COLUMNS: &'static [Column<Self>] = &[
        text("tenant", |row| (&row.line.tenant).into()),
        text("namespace", |row| (&row.line.namespace).into()),
        text("name", |row| (&row.line.name).into()),
        text("orderUid", |row| (&row.interval.order_uid).into()),
        text("sku", |row| (&row.line.line.sku).into()),
        number("level", |row| (&row.interval.level.quantity).into()),
        text("start", |row| (&row.interval.start).into()),
        text("end", |row| some(row.interval.end.as_ref())),
        number("ofQuantity", |row| Cell::Text(hours(row.line.line.meter, &row.line.line.quantity_ms))),
        number("unitPrice", |row| (&row.line.line.unit_price).into()),
        money("ofAmount", |row| row.line.line.amount.into()),
    ];
}

impl Listed for Interval {
    // To the millisecond: it is evidence.
    const COLUMNS: &'static [Column<Self>] = &[
        text("orderUid", |row| (&row.order_uid).into()),
        text("meter", |row| (&row.meter).into()),
        text("sku", |row| (&row.level.sku).into()),
        number("quantity", |row| (&row.level.quantity).into()),
        text("start", |row| (&row.start).into()),
        text("end", |row| some(row.end.as_ref())),
    ];
}

impl Listed for CommittedOrder {
    const COLUMNS: &'static [Column<Self>] = &[
        text("orderUid", |row| (&row.order.order_uid).into()),
        text("tenant", |row| (&row.order.tenant).into()),
        text("namespace", |row| (&row.order.namespace).into()),
        text("name", |row| (&row.order.name).into()),
        text("plan", |row| (&row.plan).into()),
        text("requester", |row| some(row.requester.as_ref())),
        text("costCentre", |row| some(row.billing.cost_centre.as_ref())),
        text("budgetLine", |row| some(row.billing.budget_line.as_ref())),
        text("heldSince", |row| at(row.held_since)),
        money("monthlyMaximum", |row| row.order.commitment.monthly_cost.into()),
    ];
}

/// The word of a state, as it is asked for.
pub fn state(of: ApprovalState) -> &'static str {
    match of {
        ApprovalState::Pending => "pending",
        ApprovalState::Approved => "approved",
        ApprovalState::Rejected => "rejected",
    }
}

impl Listed for Approval {
    const COLUMNS: &'static [Column<Self>] = &[
        text("orderUid", |row| (&row.order_uid).into()),
        text("tenant", |row| (&row.tenant).into()),
        text("namespace", |row| (&row.namespace).into()),
        text("name", |row| (&row.name).into()),
        text("plan", |row| (&row.plan).into()),
        text("requester", |row| some(row.requester.as_ref())),
        text("state", |row| (&state(row.state)).into()),
        text("askedAt", |row| at(row.asked_at)),
        money("monthlyCost", |row| row.asked.monthly_cost.into()),
        text("approverOf", |row| (&row.needed.tenant).into()),
        text("decidedBy", |row| some(row.decision.as_ref().map(|decision| &decision.by))),
        text("comment", |row| some(row.decision.as_ref().and_then(|decision| decision.comment.as_ref()))),
    ];
}

impl Listed for ApprovalDecision {
    const COLUMNS: &'static [Column<Self>] = &[
        number("id", |row| (&row.id).into()),
        text("at", |row| at(row.at)),
        text("orderUid", |row| (&row.order_uid).into()),
        text("decision", |row| (if row.approved { &"approved" } else { &"rejected" }).into()),
        text("by", |row| (&row.by).into()),
        money("upTo", |row| row.up_to.monthly_cost.into()),
        text("comment", |row| some(row.comment.as_ref())),
    ];
}

impl Listed for Alert {
    const COLUMNS: &'static [Column<Self>] = &[
        number("id", |row| (&row.id).into()),
        text("at", |row| at(row.at)),
        text("tenant", |row| (&row.tenant).into()),
        text("dimension", |row| (&row.dimension).into()),
        number("percent", |row| (&row.percent).into()),
        number("held", |row| (&row.held).into()),
        number("limit", |row| (&row.limit).into()),
        text("currency", |row| some(row.currency.as_ref())),
    ];
}

/// A price with the list it is in.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedPrice {
    /// The list.
    #[serde(skip)]
    pub list: PriceListRecord,
    /// The price.
    #[serde(flatten)]
    pub price: SkuPrice,
}

impl Listed for ListedPrice {
    const COLUMNS: &'static [Column<Self>] = &[
        text("priceList", |row| (&row.list.prices.name).into()),
        text("validFrom", |row| (&row.list.prices.valid_from).into()),
        text("legalBasis", |row| (&row.list.legal_basis).into()),
        text("sku", |row| (&row.price.sku).into()),
        text("unit", |row| (&row.price.unit.as_str()).into()),
        number("price", |row| (&row.price.price).into()),
        text("currency", |row| (&row.list.prices.currency).into()),
    ];
}

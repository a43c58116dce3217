//! What each thing of the ledger looks like in a list: a new kind of row is one block here.

use crate::amounts::hours;
use crate::table::Kind::{Money, Number, Text};
use crate::table::{Cell, Column, Listed, at, some};
use serde::Serialize;
use siyada_model::money::{self, Currency};
use siyada_model::price::SkuPrice;
use siyada_model::quantity::{show_bytes, show_cpu};
use siyada_model::quota::{Dimension, DimensionView};
use siyada_model::usage::Interval;
use siyada_model::wire::{
    Alert, Approval, ApprovalDecision, ApprovalState, CommittedOrder, Counted, MeterKind, MeterRecord,
    PriceListRecord, ReportLine, TenantSummary,
};

impl Listed for TenantSummary {
    const COLUMNS: &'static [Column] =
        &[("tenant", Text), ("parent", Text), ("name", Text), ("suspended", Text)];
    fn cells(&self) -> Vec<Cell> {
        let names = &self.display_name;
        let name = [&names.fr, &names.ar, &names.en, &names.zgh].into_iter().flatten().next();
        let suspended = if self.suspended { "yes" } else { "" };
        vec![(&self.tenant).into(), some(self.parent.as_ref()), some(name), (&suspended).into()]
    }
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

impl Listed for Dimensional {
    const COLUMNS: &'static [Column] = &[
        ("dimension", Text),
        ("limit", Number),
        ("held", Number),
        ("used", Number),
        ("free", Number),
        ("over", Number),
    ];
    fn cells(&self) -> Vec<Cell> {
        let view = &self.view;
        let show = |value: i64| match view.dimension {
            Dimension::Cpu => show_cpu(value),
            Dimension::Memory | Dimension::Storage => show_bytes(value),
            Dimension::MonthlyCost => money::Money { minor: value, currency: self.currency }.to_string(),
            Dimension::Instances => value.to_string(),
        };
        let optional = |value: Option<i64>| some(value.map(show).as_ref());
        let over = Some(view.over).filter(|over| *over != 0);
        let (held, used) = (Some(view.held), Some(view.used));
        vec![
            (&view.dimension).into(),
            optional(view.limit),
            optional(held),
            optional(used),
            optional(view.free),
            optional(over),
        ]
    }
}

impl Listed for ReportLine {
    const COLUMNS: &'static [Column] = &[
        ("tenant", Text),
        ("namespace", Text),
        ("name", Text),
        ("plan", Text),
        ("costCentre", Text),
        ("budgetLine", Text),
        ("sku", Text),
        ("quantity", Number),
        ("unitPrice", Number),
        ("priceList", Text),
        ("amount", Money),
    ];
    fn cells(&self) -> Vec<Cell> {
        let line = &self.line;
        vec![
            (&self.tenant).into(),
            (&self.namespace).into(),
            (&self.name).into(),
            (&self.plan).into(),
            some(self.billing.cost_centre.as_ref()),
            some(self.billing.budget_line.as_ref()),
            (&line.sku).into(),
            Cell::Text(hours(line.meter, &line.quantity_ms)),
            (&line.unit_price).into(),
            (&line.price_list).into(),
            line.amount.into(),
        ]
    }
}

impl Listed for MeterRecord {
    const COLUMNS: &'static [Column] = &[("meter", Text), ("kind", Text), ("baseUnit", Text), ("name", Text)];
    fn cells(&self) -> Vec<Cell> {
        let names = &self.display_name;
        let name = [&names.fr, &names.ar, &names.en, &names.zgh].into_iter().flatten().next();
        let kind = match self.kind {
            MeterKind::Level => "level",
            MeterKind::Counter => "counter",
        };
        vec![(&self.name).into(), (&kind).into(), (&self.base_unit).into(), some(name)]
    }
}

impl Listed for Counted {
    const COLUMNS: &'static [Column] = &[
        ("tenant", Text),
        ("namespace", Text),
        ("name", Text),
        ("meter", Text),
        ("quantity", Number),
        ("start", Text),
        ("end", Text),
        ("mayMiss", Text),
    ];
    fn cells(&self) -> Vec<Cell> {
        let (order, window) = (&self.order, &self.window);
        let may_miss = if window.may_miss { "yes" } else { "" };
        vec![
            (&order.tenant).into(),
            (&order.namespace).into(),
            (&order.name).into(),
            (&self.meter).into(),
            (&window.quantity).into(),
            some(window.start.as_ref()),
            (&window.end).into(),
            (&may_miss).into(),
        ]
    }
}

impl Listed for Interval {
    const COLUMNS: &'static [Column] = &[
        ("orderUid", Text),
        ("meter", Text),
        ("sku", Text),
        ("quantity", Number),
        ("start", Text),
        ("end", Text),
    ];
    fn cells(&self) -> Vec<Cell> {
        // To the millisecond: it is evidence.
        vec![
            (&self.order_uid).into(),
            (&self.meter).into(),
            (&self.level.sku).into(),
            (&self.level.quantity).into(),
            (&self.start).into(),
            some(self.end.as_ref()),
        ]
    }
}

impl Listed for CommittedOrder {
    const COLUMNS: &'static [Column] = &[
        ("orderUid", Text),
        ("tenant", Text),
        ("namespace", Text),
        ("name", Text),
        ("plan", Text),
        ("requester", Text),
        ("costCentre", Text),
        ("budgetLine", Text),
        ("heldSince", Text),
        ("monthlyMaximum", Money),
    ];
    fn cells(&self) -> Vec<Cell> {
        let order = &self.order;
        vec![
            (&order.order_uid).into(),
            (&order.tenant).into(),
            (&order.namespace).into(),
            (&order.name).into(),
            (&self.plan).into(),
            some(self.requester.as_ref()),
            some(self.billing.cost_centre.as_ref()),
            some(self.billing.budget_line.as_ref()),
            at(self.held_since),
            order.commitment.monthly_cost.into(),
        ]
    }
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
    const COLUMNS: &'static [Column] = &[
        ("orderUid", Text),
        ("tenant", Text),
        ("namespace", Text),
        ("name", Text),
        ("plan", Text),
        ("requester", Text),
        ("state", Text),
        ("askedAt", Text),
        ("monthlyCost", Money),
        ("approverOf", Text),
        ("decidedBy", Text),
        ("comment", Text),
    ];
    fn cells(&self) -> Vec<Cell> {
        let decision = self.decision.as_ref();
        vec![
            (&self.order_uid).into(),
            (&self.tenant).into(),
            (&self.namespace).into(),
            (&self.name).into(),
            (&self.plan).into(),
            some(self.requester.as_ref()),
            (&state(self.state)).into(),
            at(self.asked_at),
            self.asked.monthly_cost.into(),
            (&self.needed.tenant).into(),
            some(decision.map(|decision| &decision.by)),
            some(decision.and_then(|decision| decision.comment.as_ref())),
        ]
    }
}

impl Listed for ApprovalDecision {
    const COLUMNS: &'static [Column] = &[
        ("id", Number),
        ("at", Text),
        ("orderUid", Text),
        ("decision", Text),
        ("by", Text),
        ("upTo", Money),
        ("comment", Text),
    ];
    fn cells(&self) -> Vec<Cell> {
        let word = if self.approved { "approved" } else { "rejected" };
        vec![
            (&self.id).into(),
            at(self.at),
            (&self.order_uid).into(),
            (&word).into(),
            (&self.by).into(),
            self.up_to.monthly_cost.into(),
            some(self.comment.as_ref()),
        ]
    }
}

impl Listed for Alert {
    const COLUMNS: &'static [Column] = &[
        ("id", Number),
        ("at", Text),
        ("tenant", Text),
        ("dimension", Text),
        ("percent", Number),
        ("held", Number),
        ("limit", Number),
        ("currency", Text),
    ];
    fn cells(&self) -> Vec<Cell> {
        vec![
            (&self.id).into(),
            at(self.at),
            (&self.tenant).into(),
            (&self.dimension).into(),
            (&self.percent).into(),
            (&self.held).into(),
            (&self.limit).into(),
            some(self.currency.as_ref()),
        ]
    }
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
    const COLUMNS: &'static [Column] = &[
        ("priceList", Text),
        ("validFrom", Text),
        ("legalBasis", Text),
        ("sku", Text),
        ("unit", Text),
        ("price", Number),
        ("currency", Text),
    ];
    fn cells(&self) -> Vec<Cell> {
        let prices = &self.list.prices;
        vec![
            (&prices.name).into(),
            (&prices.valid_from).into(),
            (&self.list.legal_basis).into(),
            (&self.price.sku).into(),
            (&self.price.unit.as_str()).into(),
            (&self.price.price).into(),
            (&prices.currency).into(),
        ]
    }
}

//! Budget lines, where an order is booked, and how far what is billed went.

use super::name_of;
use crate::amounts::percent_of_millionths;
use crate::table::{Cell, Column, Listed, at, money, number, some, text};
use serde::{Deserialize, Serialize};
use siyada_model::allocation::Share;
use siyada_model::budget::{BudgetLine, BudgetLineVersion};
use siyada_model::settlement::{BookedStages, StageRecord};

impl Listed for BookedStages {
    const COLUMNS: &'static [Column<Self>] = &[
        text("budgetLine", |row| some(row.budget_line.as_ref())),
        money("amount", |row| row.amount.into()),
        text("stage", |row| some(row.stage.map(siyada_model::settlement::Stage::as_str).as_ref())),
        text("by", |row| some(row.history.last().map(|last| &last.by))),
        text("at", |row| row.history.last().map_or_else(|| some::<String>(None), |last| at(last.at))),
        text("date", |row| some(row.history.last().and_then(|last| last.date.as_ref()))),
        text("reference", |row| some(row.history.last().and_then(|last| last.reference.as_ref()))),
        text("reason", |row| some(row.history.last().and_then(|last| last.reason.as_ref()))),
    ];
}

impl Listed for StageRecord {
    const COLUMNS: &'static [Column<Self>] = &[
        text("budgetLine", |row| some(row.budget_line.as_ref())),
        text("stage", |row| (&row.stage.as_str()).into()),
        money("amount", |row| row.amount.into()),
        number("fiscalYear", |row| (&row.fiscal_year).into()),
        text("by", |row| (&row.by).into()),
        text("at", |row| at(row.at)),
        text("date", |row| some(row.date.as_ref())),
        text("reference", |row| some(row.reference.as_ref())),
        text("reason", |row| some(row.reason.as_ref())),
    ];
}

impl Listed for BudgetLine {
    const COLUMNS: &'static [Column<Self>] = &[
        text("line", |row| (&row.line).into()),
        text("name", |row| some(name_of(&row.current.record.display_name))),
        number("fiscalYear", |row| (&row.current.record.fiscal_year).into()),
        money("opened", |row| row.current.record.opened.into()),
        money("carried", |row| row.current.record.carried().into()),
        money("committed", |row| row.committed.into()),
        money("billed", |row| row.billed.into()),
        money("certified", |row| row.certified.into()),
        money("ordered", |row| row.ordered.into()),
        money("paid", |row| row.paid.into()),
        money("remainingToCommit", |row| row.remaining_to_commit.into()),
        money("remainingToPay", |row| row.remaining_to_pay.into()),
    ];
}

/// A budget line with every version of its credits.
#[derive(Serialize, Deserialize)]
pub struct BudgetLineHistory {
    /// The line.
    #[serde(flatten)]
    pub line: BudgetLine,
    /// Its versions.
    pub versions: Vec<BudgetLineVersion>,
}

impl Listed for BudgetLineVersion {
    const COLUMNS: &'static [Column<Self>] = &[
        number("version", |row| (&row.version).into()),
        number("fiscalYear", |row| (&row.record.fiscal_year).into()),
        text("name", |row| some(name_of(&row.record.display_name))),
        money("opened", |row| row.record.opened.into()),
        money("carried", |row| row.record.carried().into()),
        text("by", |row| (&row.by).into()),
        text("at", |row| at(row.at)),
    ];
}

impl Listed for Share {
    const COLUMNS: &'static [Column<Self>] = &[
        text("budgetLine", |row| some(row.booking.budget_line.as_ref())),
        text("costCentre", |row| some(row.booking.cost_centre.as_ref())),
        text("reference", |row| some(row.booking.reference.as_ref())),
        number("millionths", |row| (&row.millionths).into()),
        number("share", |row| Cell::Text(percent_of_millionths(row.millionths))),
    ];
}

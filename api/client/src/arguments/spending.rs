//! Budget lines, where an order is booked, and the stages of expenditure.

use crate::amounts;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::civil::Date;
use siyada_model::allocation::Share;
use siyada_model::budget::LineName;
use siyada_model::id::{OrderUid, TenantName};
use siyada_model::settlement::{Stage, StageRequest};
use std::path::PathBuf;

/// What to do about credits and payments.
#[derive(Subcommand)]
pub enum Spending {
    /// What a statement books on each budget line, and how far it is.
    #[command(after_help = "Example:\n  siyada stages interior SIY-2026-000001 --history")]
    Stages {
        /// Name of the tenant, or of one above it.
        tenant: TenantName,
        /// Number of the statement.
        number: String,
        /// Every stage that is on record, not the last ones.
        #[arg(long)]
        history: bool,
    },
    /// Certify that what a statement bills was done: for a certifier, who neither ordered any of it nor closed it.
    #[command(after_help = "Example:\n  siyada certify interior SIY-2026-000001 --reference SF-17")]
    Certify(Booked),
    /// Order the payment of what is certified: for finance, and not for whoever certified.
    #[command(
        after_help = "Example:\n  siyada order interior SIY-2026-000001 --budget-line 2026-30-10 --reference OP-42"
    )]
    Order(Booked),
    /// Put on record that what was ordered is paid: for finance, and not for whoever certified.
    #[command(
        after_help = "Example:\n  siyada pay interior SIY-2026-000001 --budget-line 2026-30-10 --date 2026-11-20 --reference TR-9"
    )]
    Pay {
        /// What is paid; its reference is needed.
        #[command(flatten)]
        booked: Booked,
        /// The day of the payment.
        #[arg(long, value_parser = amounts::day, requires = "reference")]
        date: Date,
    },
    /// The budget lines of a tenant: credits, what is committed of them, and what remains.
    #[command(
        args_conflicts_with_subcommands = true,
        subcommand_negates_reqs = true,
        after_help = "Example:\n  siyada budget interior --fiscal-year 2026\n  siyada budget interior 2026-30-10\n  siyada budget put interior 2026-30-10 line.json"
    )]
    Budget {
        /// To put credits on record.
        #[command(subcommand)]
        task: Option<BudgetTask>,
        /// Name of the tenant.
        #[arg(required = true)]
        tenant: Option<TenantName>,
        /// Only this line, with every version of its credits.
        line: Option<LineName>,
        /// The year in which the fiscal year begins; the current one when absent.
        #[arg(long)]
        fiscal_year: Option<i16>,
    },
    /// Book an order's cost on one or more budget lines from an instant on.
    #[command(
        after_help = "Example:\n  siyada allocate interior 4f9c0f5e-0a57-4d4e-b9a8-2f1f54a0a001 --share 2026-30-10=60% --share 2026-30-20=400000"
    )]
    Allocate {
        /// Name of the tenant that ordered.
        tenant: TenantName,
        /// The order, as `siyada commitments` shows it.
        order: OrderUid,
        /// A budget line and its part, LINE=PERCENT% or LINE=MILLIONTHS, again for each; all of them are 100 %.
        #[arg(long = "share", value_name = "LINE=PART", value_parser = amounts::share, required = true)]
        shares: Vec<Share>,
        /// From when on; now when absent.
        #[arg(long, value_parser = amounts::instant)]
        at: Option<Timestamp>,
    },
}

/// What to do about credits.
#[derive(Subcommand)]
pub enum BudgetTask {
    /// Put the credits of a budget line on record; a change is a new version.
    #[command(after_help = "Example:\n  siyada budget put interior 2026-30-10 line.json")]
    Put {
        /// Name of the tenant.
        tenant: TenantName,
        /// Name of the line, as orders and tenants say it in billing.budgetLine.
        line: LineName,
        /// File with the record as JSON; - for standard input.
        file: PathBuf,
    },
}

/// What a statement books.
#[derive(Args)]
pub struct Booked {
    /// Name of the tenant, or of one above it.
    pub tenant: TenantName,
    /// Number of the statement.
    pub number: String,
    /// Only what is booked on this line; all of the statement when absent.
    #[arg(long, value_name = "LINE")]
    pub budget_line: Option<String>,
    /// Number of the certificate, the order or the payment where it was made.
    #[arg(long)]
    pub reference: Option<String>,
}

impl Booked {
    /// What is asked of it.
    pub fn request(&self, stage: Stage, date: Option<Date>, reason: Option<String>) -> StageRequest {
        let (budget_line, reference) = (self.budget_line.clone(), self.reference.clone());
        StageRequest { stage, budget_line, date, reference, reason }
    }
}

//! Gaps of measurement, the ledger's journal, and the audit trail.

use super::{Period, Save};
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use siyada_model::id::TenantName;
use siyada_model::period::Month;

/// What to do about what is on record.
#[derive(Subcommand)]
pub enum Records {
    /// Time that no observation proves, and what was decided of it; without a tenant of all of them, for the platform.
    #[command(after_help = "Example:\n  siyada gaps interior --state undecided")]
    Gaps {
        /// Name of the tenant.
        tenant: Option<TenantName>,
        /// Only those that stand so.
        #[arg(long, value_enum)]
        state: Option<GapState>,
        /// From when until when.
        #[command(flatten)]
        period: Period,
    },
    /// Decide whether time that is not proven is billed.
    #[command(
        after_help = "Example:\n  siyada decide interior 7 --waive --evidence \"The cluster was off, see incident 2026-114\""
    )]
    Decide(Decide),
    /// Every transaction of the ledger as a journal for hledger and Ledger; for the platform.
    #[command(
        after_help = "Example:\n  siyada journal --period 2026-10\n  siyada journal --file - > ledger.journal"
    )]
    Journal {
        /// Only what counts for this month, like 2026-10.
        #[arg(long, value_name = "MONTH")]
        period: Option<Month>,
        /// Where to.
        #[command(flatten)]
        save: Save,
    },
    /// Who did what to a tenant and everything below it; without a tenant all of it, for the platform.
    #[command(
        after_help = "Example:\n  siyada audit interior\n  siyada audit interior --format lines --file audit.ndjson"
    )]
    Audit {
        /// Name of the tenant.
        tenant: Option<TenantName>,
        /// Only what came after this number.
        #[arg(long, default_value_t = 0)]
        after: i64,
        /// Write it to a file, so; -o json prints it instead.
        #[arg(long, value_enum)]
        format: Option<TrailFormat>,
        /// Where to.
        #[command(flatten)]
        save: Save,
    },
}

/// Which gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GapState {
    /// Those that block the closing of their month.
    Undecided,
    /// Those that somebody decided about.
    Decided,
    /// All of them.
    All,
}

/// How the trail is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TrailFormat {
    /// CSV (RFC 4180).
    Csv,
    /// Each event in its canonical bytes on a line of its own: what can be verified.
    Lines,
}

/// A decision about a gap.
#[derive(Args)]
#[command(group = ArgGroup::new("decision").required(true))]
pub struct Decide {
    /// Name of the tenant.
    pub tenant: TenantName,
    /// The gap, as `siyada gaps` shows it.
    pub id: i64,
    /// It is billed: for a certifier.
    #[arg(long, group = "decision")]
    pub bill: bool,
    /// It is not billed.
    #[arg(long, group = "decision")]
    pub waive: bool,
    /// On what evidence: a sentence for the record.
    #[arg(long)]
    pub evidence: String,
}

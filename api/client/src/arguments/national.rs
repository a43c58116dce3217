//! What is about all tenants, and what the ledger does by itself.

use super::Save;
use super::billing::Language;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use siyada_model::coverage::Category;
use siyada_model::period::Month;
use std::path::PathBuf;

/// What to do for the nation.
#[derive(Subcommand)]
pub enum National {
    /// Every line of a month of all tenants as a file, written only if its last record proves that nothing is missing.
    #[command(
        after_help = "Example:\n  siyada export 2026-10\n  siyada export 2026-10 --format ndjson --file october.ndjson"
    )]
    Export {
        /// The month, like 2026-10: closed, or so far.
        month: Month,
        /// How it is written.
        #[arg(long, value_enum, default_value_t = ExportFormat::Csv)]
        format: ExportFormat,
        /// Where to.
        #[command(flatten)]
        save: Save,
    },
    /// What administrations owe each other: from which budget line to which, how much and on what legal basis.
    #[command(
        after_help = "Example:\n  siyada settlement --period 2026-10\n  siyada settlement --fiscal-year 2026 --format csv --file settlement.csv"
    )]
    Settlement(Settlement),
    /// What the hosting body spends, with every version and who put it.
    #[command(
        after_help = "Example:\n  siyada costs --fiscal-year 2026\n  siyada costs put 2026 energy cost.json"
    )]
    #[command(args_conflicts_with_subcommands = true)]
    Costs {
        /// To put one on record.
        #[command(subcommand)]
        task: Option<CostTask>,
        /// The year in which the fiscal year begins; the current one when absent.
        #[arg(long)]
        fiscal_year: Option<i16>,
    },
    /// How much of its costs the hosting body earns: what was billed and paid against what was spent.
    #[command(after_help = "Example:\n  siyada coverage --fiscal-year 2026")]
    Coverage {
        /// The year in which the fiscal year begins; the current one when absent.
        #[arg(long)]
        fiscal_year: Option<i16>,
    },
    /// Whether metering can be believed: every check, what it found and what to do. Ends with 5 if one found something.
    #[command(after_help = "Example:\n  siyada health\n  siyada health -o json")]
    Health,
    /// What the ledger does by itself: when it closes months, how long it keeps the audit trail.
    #[command(after_help = "Example:\n  siyada settings\n  siyada settings put settings.json")]
    Settings {
        /// To look, or to set it.
        #[command(subcommand)]
        task: Option<SettingsTask>,
    },
}

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// CSV (RFC 4180).
    Csv,
    /// One JSON object on each line.
    Ndjson,
}

/// Which months are settled, and how it is shown.
#[derive(Args)]
#[command(group = ArgGroup::new("months").required(true))]
pub struct Settlement {
    /// One closed month, like 2026-10.
    #[arg(long, value_name = "MONTH", group = "months")]
    pub period: Option<Month>,
    /// What is closed of a fiscal year: the year in which it begins.
    #[arg(long, group = "months")]
    pub fiscal_year: Option<i16>,
    /// Write it to a file, so.
    #[arg(long, value_enum)]
    pub format: Option<AnnexFormat>,
    /// In this language; French when absent.
    #[arg(long, value_enum, requires = "format")]
    pub language: Option<Language>,
    /// Where to.
    #[command(flatten)]
    pub save: Save,
}

/// How an annex is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AnnexFormat {
    /// For people: PDF/UA, in a language.
    Pdf,
    /// CSV (RFC 4180), one row for each movement.
    Csv,
}

/// What to do about costs.
#[derive(Subcommand)]
pub enum CostTask {
    /// Put on record what was spent on something; a change is a new version.
    #[command(after_help = "Example:\n  siyada costs put 2026 energy cost.json")]
    Put {
        /// The year in which the fiscal year begins.
        fiscal_year: i16,
        /// What it was spent on.
        category: Category,
        /// File with the record as JSON; - for standard input.
        file: PathBuf,
    },
}

/// What to do about settings.
#[derive(Subcommand)]
pub enum SettingsTask {
    /// What is set.
    #[command(after_help = "Example:\n  siyada settings get -o json")]
    Get,
    /// Set it; what is left out is as if nobody had set it.
    #[command(after_help = "Example:\n  siyada settings put settings.json")]
    Put {
        /// File with the settings as JSON; - for standard input.
        file: PathBuf,
    },
}

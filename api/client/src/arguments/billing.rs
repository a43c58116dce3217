//! Months, who bills, who is billed, and documents.

use super::Save;
use crate::amounts::{self, PartOfLine};
use clap::{Args, Subcommand, ValueEnum};
use siyada_model::id::TenantName;
use siyada_model::party::AccountName;
use siyada_model::period::Month;
use std::path::PathBuf;

/// What to do about what is billed.
#[derive(Subcommand)]
pub enum Billing {
    /// The months, and which are closed.
    #[command(after_help = "Example:\n  siyada periods")]
    Periods,
    /// Close a month, once and for all: what it comes to or what blocks it is shown, and a yes is asked for.
    #[command(after_help = "Example:\n  siyada close 2026-10\n  siyada close 2026-10 --yes -o json")]
    Close {
        /// The month, like 2026-10.
        month: Month,
        /// Close it without being asked.
        #[arg(long)]
        yes: bool,
    },
    /// The body that bills.
    #[command(after_help = "Example:\n  siyada issuer\n  siyada issuer put issuer.json")]
    Issuer {
        /// To look, or to put it on record.
        #[command(subcommand)]
        task: Option<IssuerTask>,
    },
    /// The accounts that are billed.
    #[command(after_help = "Example:\n  siyada accounts\n  siyada accounts put 1.2.10 account-interior.json")]
    Accounts {
        /// To put one on record.
        #[command(subcommand)]
        task: Option<AccountTask>,
    },
    /// The statements and credit notes of a tenant and everything below it.
    #[command(after_help = "Example:\n  siyada statements interior -o csv")]
    Statements {
        /// Name of the tenant.
        tenant: TenantName,
    },
    /// A statement or credit note: its lines, or with --format as a file.
    #[command(
        after_help = "Example:\n  siyada statement interior SIY-2026-000001\n  siyada statement interior SIY-2026-000001 --format pdf --language ar"
    )]
    Statement(StatementFile),
    /// Take back a statement, or a part of it, by a credit note.
    #[command(
        after_help = "Example:\n  siyada credit interior SIY-2026-000001 --key 2026-11-05/1 --reason \"Panne du 3 octobre\" --line 0=12.50"
    )]
    Credit(Credit),
    /// The key that signs documents now.
    #[command(after_help = "Example:\n  siyada signing-key -o json")]
    SigningKey,
}

/// What to do about who bills.
#[derive(Subcommand)]
pub enum IssuerTask {
    /// Who bills.
    #[command(after_help = "Example:\n  siyada issuer get -o json")]
    Get,
    /// Put on record who bills, and open the months since the first usage.
    #[command(after_help = "Example:\n  siyada issuer put issuer.json")]
    Put {
        /// File with the record as JSON; - for standard input.
        file: PathBuf,
    },
}

/// What to do about who is billed.
#[derive(Subcommand)]
pub enum AccountTask {
    /// Put an account on record.
    #[command(after_help = "Example:\n  siyada accounts put 1.2.10 account-interior.json")]
    Put {
        /// Its name, as tenants say it in billing.account.
        #[arg(value_parser = str::parse::<AccountName>)]
        account: AccountName,
        /// File with the record as JSON; - for standard input.
        file: PathBuf,
    },
}

/// A format in which the ledger writes documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people: PDF/UA, in a language.
    Pdf,
    /// A workbook, in a language.
    Xlsx,
    /// CSV (RFC 4180), one row for each part of a line.
    Csv,
    /// Exactly the bytes that were hashed and signed.
    Json,
    /// CSV, one row for each instance: for how long it was available.
    Availability,
    /// Cost and Usage of FOCUS 1.2.
    #[value(name = "focus-1.2")]
    Focus12,
    /// Cost and Usage of FOCUS 1.4.
    #[value(name = "focus-1.4")]
    Focus14,
}

/// A language of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// French.
    Fr,
    /// Arabic.
    Ar,
    /// English.
    En,
}

/// Which document, and how.
#[derive(Args)]
pub struct StatementFile {
    /// Name of the tenant, or of one above it.
    pub tenant: TenantName,
    /// Its number.
    pub number: String,
    /// Write it to a file, so.
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// In this language; French when absent.
    #[arg(long, value_enum, requires = "format")]
    pub language: Option<Language>,
    /// Where to.
    #[command(flatten)]
    pub save: Save,
}

/// What is taken back, and why.
#[derive(Args)]
pub struct Credit {
    /// Name of the tenant, or of one above it.
    pub tenant: TenantName,
    /// Number of the statement.
    pub number: String,
    /// A text of yours: the same one again answers the same note and makes no other.
    #[arg(long)]
    pub key: String,
    /// Why: printed on the note.
    #[arg(long)]
    pub reason: String,
    /// So much of a line without tax, LINE=AMOUNT as `siyada statement` counts them, again for each; all that is left
    /// when absent.
    #[arg(long = "line", value_name = "LINE=AMOUNT", value_parser = amounts::part_of_line)]
    pub lines: Vec<PartOfLine>,
}

//! What national finance takes with it: the lines of all tenants, and the settlement between administrations.

use crate::allocation::Booking;
use crate::canonical::hex;
use crate::id::TenantName;
use crate::money::{Currency, InvalidMoney, Money};
use crate::party::Party;
use crate::period::Month;
use crate::statement::{Part, StatementKind, StatementLine};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What a row of the export is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum ExportRecord {
    /// A part of a line of the month.
    Line,
    /// A part of a correction of an earlier month.
    Correction,
}

impl ExportRecord {
    /// The word in the files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Correction => "correction",
        }
    }
}

/// A row of `GET /v1/usage/export`: a part of a line, where it is booked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExportRow<'a> {
    /// What it is.
    pub record: ExportRecord,
    /// Number of the statement; absent while the month is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<&'a str>,
    /// The tenant that pays.
    pub payer: &'a TenantName,
    /// The line; `month` is the one it is about, `minor` the amount of all its parts.
    #[serde(flatten)]
    pub line: &'a StatementLine,
    /// This part of it.
    pub part: &'a Part,
    /// The currency.
    pub currency: Currency,
}

/// The last record of an export: without it, or if it does not match what came before, the file is not whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExportEnd {
    /// `end`.
    pub record: String,
    /// Number of rows before it.
    pub rows: u64,
    /// Sum of the rows in minor units; a text, because it may exceed 53 bits.
    pub minor: String,
    /// The currency.
    pub currency: Currency,
    /// SHA-256 of every byte before this record.
    pub sha256: String,
}

/// Counts, adds and hashes an export while it is written, in constant memory.
#[derive(Clone, Default)]
pub struct Proof {
    hash: Sha256,
    rows: u64,
    minor: i128,
}

impl Proof {
    /// Counts a row of so many minor units.
    pub fn count(&mut self, minor: i64) {
        self.rows = self.rows.saturating_add(1);
        self.minor = self.minor.saturating_add(i128::from(minor));
    }

    /// Hashes what is written.
    pub fn written(&mut self, text: &str) {
        self.hash.update(text.as_bytes());
    }

    /// The last record.
    pub fn end(&self, currency: Currency) -> ExportEnd {
        ExportEnd {
            record: "end".to_owned(),
            rows: self.rows,
            minor: self.minor.to_string(),
            currency,
            sha256: hex(&self.hash.clone().finalize()),
        }
    }
}

/// Who settles, and from or to which line of its budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Side {
    /// Who it is.
    #[serde(flatten)]
    pub party: Party,
    /// The line of its budget; absent where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_line: Option<String>,
}

/// A movement of a [`SettlementAnnex`]: what a document books in one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Movement {
    /// The month that was billed.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub month: Month,
    /// Number of the statement or credit note.
    pub number: String,
    /// Which of the two.
    pub kind: StatementKind,
    /// The tenant that pays.
    pub tenant: TenantName,
    /// Its account.
    pub account: String,
    /// From whose budget.
    pub from: Side,
    /// Its cost centre.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_centre: Option<String>,
    /// Its own reference, such as a commitment number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// To whose budget.
    pub to: Side,
    /// Without tax.
    pub net: Money,
    /// The tax.
    pub tax: Money,
    /// What moves.
    pub gross: Money,
    /// What the prices rest on: the legal basis of each price list in it.
    pub legal_basis: Vec<String>,
    /// What the tax, or that there is none, rests on.
    pub tax_legal_basis: String,
    /// Why, for a credit note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Movement {
    /// Its place in the buyer's books.
    pub fn booking(&self) -> Booking {
        Booking {
            cost_centre: self.cost_centre.clone(),
            budget_line: self.from.budget_line.clone(),
            reference: self.reference.clone(),
        }
    }
}

/// `GET /v1/settlement-annex`: what administrations owe each other, from closed documents alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SettlementAnnex {
    /// The first month.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub from: Month,
    /// The last month.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub to: Month,
    /// The movements, in the order in which their documents were issued.
    pub movements: Vec<Movement>,
    /// Sum without tax.
    pub net: Money,
    /// Sum of the tax.
    pub tax: Money,
    /// Sum of what moves.
    pub gross: Money,
    /// The same by the ledger in double entry: what its receivables say of these months.
    pub ledger_gross: Money,
}

impl SettlementAnnex {
    /// The annex of these movements, which are in the currency of `ledger_gross`.
    ///
    /// # Errors
    /// [`InvalidMoney`] when a sum does not fit or currencies are mixed.
    pub fn new(
        (from, to): (Month, Month),
        movements: Vec<Movement>,
        ledger_gross: Money,
    ) -> Result<Self, InvalidMoney> {
        let zero = Money::zero(ledger_gross.currency);
        let sum = |figure: fn(&Movement) -> Money| movements.iter().map(figure).try_fold(zero, Money::add);
        let (net, tax, gross) = (sum(|m| m.net)?, sum(|m| m.tax)?, sum(|m| m.gross)?);
        Ok(Self { from, to, movements, net, tax, gross, ledger_gross })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::sha256;

    #[test]
    fn the_last_record_proves_what_came_before() {
        let mut proof = Proof::default();
        for (text, minor) in [("a\n", i64::MAX), ("b\n", i64::MAX), ("c\n", -7)] {
            proof.written(text);
            proof.count(minor);
        }
        let end = proof.end(Currency::MAD);
        assert_eq!((end.rows, end.sha256), (3, sha256(b"a\nb\nc\n")));
        assert_eq!(end.minor, (2 * i128::from(i64::MAX) - 7).to_string());
    }
}

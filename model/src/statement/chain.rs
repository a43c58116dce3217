//! Numbers without holes, and a chain in which no document can be changed, removed or slipped in.
//!
//! The chain is a text of 64 hexadecimal digits. It begins as 64 zeros; each document extends it to the SHA-256 of the
//! chain before followed by the document's own SHA-256, both as texts. So whoever has the hashes alone can compute the
//! whole chain, and find his own documents in it, without reading those of others:
//! `printf %s%s "$chain" "$(sha256sum < statement.json | cut -c1-64)" | sha256sum`.

use super::{BookedTotal, FORMAT, Statement, StatementKind, totals};
use crate::canonical::{NOTHING_BEFORE, sha256};
use crate::money::InvalidMoney;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// The chain before the first document.
pub const BEGINNING: &str = NOTHING_BEFORE;

/// The chain after a document with this SHA-256.
pub fn extend(chain: &str, document_sha256: &str) -> String {
    sha256(format!("{chain}{document_sha256}").as_bytes())
}

/// The series of documents of a kind in a year: `SIY-2026`, credit notes `SIY-C-2026`.
pub fn series(prefix: &str, kind: StatementKind, year: i16) -> String {
    match kind {
        StatementKind::Statement => format!("{prefix}-{year:04}"),
        StatementKind::CreditNote => format!("{prefix}-C-{year:04}"),
    }
}

/// A series of its own for what is issued after a ledger was restored: by its instant, so that nobody can have used it.
pub fn series_after(series: &str, restored: Timestamp) -> String {
    format!("{series}-R{}", restored_at(restored))
}

/// The instant of a restoration as it stands in numbers.
pub fn restored_at(restored: Timestamp) -> String {
    restored.strftime("%Y%m%d%H%M%S").to_string()
}

/// The number of the document `sequence` of a series, from 1.
pub fn number(series: &str, sequence: i64) -> String {
    format!("{series}-{sequence:06}")
}

/// The series of a number, and its place in it.
fn place(number: &str) -> Option<(&str, i64)> {
    let (series, sequence) = number.rsplit_once('-')?;
    let sequence = sequence.parse().ok()?;
    (self::number(series, sequence) == number).then_some((series, sequence))
}

/// What is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Not a document of this format.
    #[error("document {position} is no statement: {cause}")]
    Format {
        /// Its place in the chain, from 1.
        position: i64,
        /// What the reader said.
        cause: String,
    },
    /// Written in another way than the canonical one.
    #[error("{number} is not in its canonical form: byte {byte} differs")]
    Canonical {
        /// Which document.
        number: String,
        /// The first byte that differs, from 0.
        byte: usize,
    },
    /// Not at its place.
    #[error("{number} says that it is document {says} of the chain, but it is document {position}")]
    Position {
        /// Which document.
        number: String,
        /// What it says.
        says: i64,
        /// What it is.
        position: i64,
    },
    /// What lies before it is not what was there when it was issued.
    #[error("the chain is broken before {number}: it names {says}, but what lies before it gives {is}")]
    Chain {
        /// Which document.
        number: String,
        /// What it names.
        says: String,
        /// What is there.
        is: String,
    },
    /// A hole in the numbers, or one twice.
    #[error("the numbers have a hole: {expected} was to follow, {number} did")]
    Number {
        /// What follows.
        number: String,
        /// What was to follow.
        expected: String,
    },
    /// A sum that is not the sum.
    #[error("the figures of {number} do not add up: {what}")]
    Sum {
        /// Which document.
        number: String,
        /// Which figures.
        what: String,
    },
}

/// Follows the chain, document by document, in constant memory.
#[derive(Clone, Debug)]
pub struct Chain {
    chain: String,
    position: i64,
    numbers: BTreeMap<String, i64>,
}

impl Default for Chain {
    fn default() -> Self {
        Self { chain: BEGINNING.to_owned(), position: 0, numbers: BTreeMap::new() }
    }
}

impl Chain {
    /// The chain up to here.
    pub fn value(&self) -> &str {
        &self.chain
    }

    /// Number of documents so far.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// The number that the next document of a series has.
    pub fn next_number(&self, series: &str) -> String {
        number(series, self.numbers.get(series).copied().unwrap_or(0).saturating_add(1))
    }

    /// Takes the next document, if it is one: canonical, at its place, numbered without a hole, and its figures add up.
    ///
    /// # Errors
    /// [`Broken`] says what is wrong, and the chain is as before.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Statement, Broken> {
        let position = self.position.saturating_add(1);
        let format = |cause: String| Broken::Format { position, cause };
        let document: Statement = serde_json::from_slice(bytes).map_err(|cause| format(cause.to_string()))?;
        if document.format != FORMAT {
            return Err(format(format!("its format is {:?}, not {FORMAT:?}", document.format)));
        }
        let number = || document.number.clone();
        let canonical = document.bytes().map_err(|cause| format(cause.to_string()))?;
        if let Some(byte) = first_difference(bytes, &canonical) {
            return Err(Broken::Canonical { number: number(), byte });
        }
        if document.position != position {
            return Err(Broken::Position { number: number(), says: document.position, position });
        }
        if document.previous_chain != self.chain {
            return Err(Broken::Chain {
                number: number(),
                says: document.previous_chain,
                is: self.chain.clone(),
            });
        }
        let (series, sequence) = place(&document.number)
            .ok_or_else(|| format(format!("{:?} is no number of a document", document.number)))?;
        let expected = self.next_number(series);
        if expected != document.number {
            return Err(Broken::Number { number: number(), expected });
        }
        adds_up(&document)?;
        self.numbers.insert(series.to_owned(), sequence);
        self.chain = extend(&self.chain, &sha256(bytes));
        self.position = position;
        Ok(document)
    }
}

/// The first byte in which two texts differ; none if they are the same.
pub fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    let differs = a.iter().zip(b).position(|(a, b)| a != b);
    differs.or_else(|| (a.len() != b.len()).then(|| a.len().min(b.len())))
}

/// Whether parts sum to lines, and lines to totals. The sums of a credit note are differences to the notes before it, of
/// which only the plain ones can be checked alone.
fn adds_up(document: &Statement) -> Result<(), Broken> {
    let wrong = |what: String| Broken::Sum { number: document.number.clone(), what };
    let lines = || document.lines.iter().chain(&document.corrections);
    for line in lines() {
        let parts = line.parts.iter().try_fold(0_i64, |sum, part| sum.checked_add(part.minor));
        if parts != Some(line.minor) {
            return Err(wrong(format!("the parts of {} {} are not its amount", line.order.name, line.sku)));
        }
    }
    let counted = totals(lines()).map_err(|cause: InvalidMoney| wrong(cause.to_string()))?;
    let shown = &document.totals;
    let same = match document.kind {
        StatementKind::Statement => counted == *shown,
        StatementKind::CreditNote => counted.net_minor == shown.net_minor && columns(document),
    };
    if same { Ok(()) } else { Err(wrong("the totals are not the sums of the lines".to_owned())) }
}

/// Whether the columns of a document's totals sum to its figures.
fn columns(document: &Statement) -> bool {
    let totals = &document.totals;
    let sum = |minors: Vec<i64>| minors.into_iter().try_fold(0_i64, i64::checked_add);
    let column = |figure: fn(&BookedTotal) -> i64| sum(totals.booked.iter().map(figure).collect());
    let tax = sum(totals.taxes.iter().map(|t| t.minor).collect());
    column(|b| b.net_minor) == Some(totals.net_minor)
        && column(|b| b.tax_minor) == tax
        && column(|b| b.gross_minor) == Some(totals.gross_minor)
        && tax.and_then(|tax| totals.net_minor.checked_add(tax)) == Some(totals.gross_minor)
}

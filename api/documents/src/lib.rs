//! Statements and settlements as files: for people (PDF, XLSX) and for programs (CSV, FOCUS).
//!
//! Everything here is a function of a closed [`Statement`] and a language: no clock, no network, no files. The same
//! statement gives the same bytes, today and after a restart; the date inside of a file is that of issue. Figures are
//! shown as they are in the statement. Nothing is computed anew but sums of shown figures, and all of it in integers;
//! where a file format keeps numbers as floats (XLSX), what would not be exact is refused.
//!
//! | function | gives |
//! |---|---|
//! | [`pdf`] | PDF/UA-1: tagged, with a title, a language, table headers and a reading order; fonts embedded |
//! | [`annex_pdf`] | the settlement between administrations, so |
//! | [`xlsx`] | a workbook with the sheets Lines, Booked, Gaps, Availability and Control |
//! | [`csv`] | RFC 4180, one row for each part of a line |
//! | [`availability_csv`] | RFC 4180, one row for each instance: for how long it was available |
//! | [`focus`] | Cost and Usage of FOCUS 1.2 or 1.4, for any finops tool |
//!
//! ```no_run
//! # fn show(statement: &siyada_model::statement::Statement) -> Result<(), siyada_documents::DocumentError> {
//! use siyada_documents::{Language, pdf};
//! let file = pdf(statement, Language::Arabic)?;
//! assert!(file.starts_with(b"%PDF-"));
//! # Ok(()) }
//! ```
//!
//! Names come from people and may be hostile. A text becomes part of a page only as a `Shown`, which has no controls, no
//! marks of direction and a limited length and is isolated from what is around it; there is no markup language
//! that it could be written in. In CSV and XLSX no text is taken for a formula.
//!
//! Why these libraries: docs/adr/0008-documents.md.

mod csv;
mod focus;
mod numbers;
mod pdf;
mod shown;
mod words;
mod xlsx;

pub use csv::{availability_csv, cell, csv, line_cells, part_cells, parts};
pub use focus::{FocusVersion, focus};
pub use pdf::{annex_pdf, pdf};
pub use xlsx::xlsx;

use siyada_model::canonical::NotCanonical;
use siyada_model::money::InvalidMoney;
use siyada_model::wire::DisplayName;

/// The language of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// French.
    French,
    /// Arabic, from right to left, with the digits that Moroccan administration writes.
    Arabic,
    /// English.
    English,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 3] = [Self::French, Self::Arabic, Self::English];

    /// Its tag (BCP 47).
    pub fn tag(self) -> &'static str {
        match self {
            Self::French => "fr",
            Self::Arabic => "ar",
            Self::English => "en",
        }
    }

    /// Whether it is written from right to left.
    pub(crate) fn right_to_left(self) -> bool {
        self == Self::Arabic
    }

    /// The name in this language, or else in another one that there is.
    pub(crate) fn name(self, names: &DisplayName) -> Option<&str> {
        let first = match self {
            Self::French => &names.fr,
            Self::Arabic => &names.ar,
            Self::English => &names.en,
        };
        let texts = [first, &names.fr, &names.ar, &names.en, &names.zgh];
        texts.into_iter().flatten().map(String::as_str).find(|text| !text.is_empty())
    }
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// A quantity is no whole number: no statement that was computed has one.
    #[error("failed to read the quantity {0:?} as a whole number")]
    Quantity(String),
    /// A sum is too large.
    #[error("failed to add the amounts")]
    Add(#[from] InvalidMoney),
    /// The statement has no canonical bytes, so no hash.
    #[error("failed to hash the statement")]
    Hash(#[from] NotCanonical),
    /// A cell of a workbook keeps 15 digits.
    #[error("failed to write {0} to a workbook, whose numbers have 15 digits; take the CSV or the JSON")]
    Digits(String),
    /// The workbook could not be written.
    #[error("failed to write the workbook")]
    Workbook(#[from] rust_xlsxwriter::XlsxError),
    /// The library refused the page: it says which rule of PDF/UA it would break.
    #[error("failed to write the PDF: {0}")]
    Pdf(String),
    /// The tags of a line could not be written.
    #[error("failed to write the tags of a line")]
    Tags(#[from] serde_json::Error),
}

//! Each invariant of billing broken on purpose. A mutant is one edit of the sources and the test that must fail on it; a
//! test that lets its mutant live proves nothing.
//!
//! The invariants I1 to I20 are those that tests are named by: `i07_…` is about I7.

mod list;
mod page;
mod tree;

pub use list::{MUTANTS, Mutant};
pub use page::{Page, commit};
pub use tree::{Fate, Tree};

use std::path::{Path, PathBuf};

/// The project's folder.
pub fn folder() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

//! docs/mutations.md: which mutants are killed, by which test, and at which commit that was seen.

use crate::{MUTANTS, folder};
use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

/// The page: the commit at which each mutant was last killed.
#[derive(Clone, Debug, Default)]
pub struct Page(BTreeMap<String, String>);

impl Page {
    /// Where it is.
    pub fn file() -> PathBuf {
        folder().join("docs/mutations.md")
    }

    /// What it says now; nothing when there is none.
    pub fn read() -> Self {
        let text = std::fs::read_to_string(Self::file()).unwrap_or_default();
        let rows = text.lines().filter(|line| line.starts_with("| I")).filter_map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(|cell| cell.trim()).collect();
            let plain = |cell: &&str| cell.trim_matches('`').to_owned();
            Some((plain(cells.get(1)?), plain(cells.last()?)))
        });
        Self(rows.collect())
    }

    /// Whether it has the mutant.
    pub fn lists(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A mutant was killed at this commit; or, without one, it lives.
    ///
    /// # Errors
    /// When the page cannot be written.
    pub fn put(&mut self, name: &str, commit: Option<&str>) -> Result<()> {
        match commit {
            Some(commit) => self.0.insert(name.to_owned(), commit.to_owned()),
            None => self.0.remove(name),
        };
        std::fs::write(Self::file(), self.text()).context("failed to write docs/mutations.md")
    }

    fn text(&self) -> String {
        let mut page = String::from(
            "# Mutations\nWritten by `make mutants`; never by hand. Each invariant of billing was broken by an edit of the sources, \
             and the test failed\nthat must fail. The edits: tests/mutants/src/list.rs.\n\n\
             | invariant | mutation | what it breaks | test that kills it | seen at commit |\n|---|---|---|---|---|\n",
        );
        for mutant in MUTANTS {
            let Some(commit) = self.0.get(mutant.name) else { continue };
            let _ = writeln!(
                page,
                "| I{} | `{}` | {} | {} `{}` | `{commit}` |",
                mutant.invariant, mutant.name, mutant.breaks, mutant.package, mutant.test
            );
        }
        page
    }
}

fn git(arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").args(arguments).current_dir(folder()).output()?;
    ensure!(
        output.status.success(),
        "git {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The commit that is broken, with a plus when files were changed since.
///
/// # Errors
/// When this is no checkout.
pub fn commit() -> Result<String> {
    let head = git(&["rev-parse", "--short=12", "HEAD"])?;
    // The pages that tests write are no change of what is tested.
    let changed = !git(&["status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs"])?.is_empty();
    Ok(if changed { format!("{head}+") } else { head })
}

/// Every file of the checkout, from its root.
pub(crate) fn tracked() -> Result<Vec<String>> {
    let listed = git(&["ls-files", "--cached", "--others", "--exclude-standard"])?;
    Ok(listed.lines().map(ToOwned::to_owned).collect())
}

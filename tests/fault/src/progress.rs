//! What was found so far, in a file that an interrupted run goes on from, and the page it ends in.

use crate::matrix::{Cell, FAULTS, Outcome, References};
use crate::operation::{OPERATIONS, Operation};
use crate::plan::Plan;
use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// What became of one cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name, as `create/7/kill-after`.
    pub name: String,
    /// The write that was hit; nothing when this run had fewer writes than the undisturbed one.
    pub hit: Option<String>,
    /// What is not as in the undisturbed run; empty when all is.
    pub wrong: Vec<String>,
    /// Seconds that the operation took.
    pub took: f64,
    /// Seconds since the row before: with what had to be done before the operation.
    pub whole: f64,
}

impl Row {
    /// What was found in a cell.
    pub fn new(name: &str, outcome: Outcome, whole: f64) -> Self {
        Self {
            name: name.to_owned(),
            hit: outcome.hit.map(|write| write.to_string()),
            wrong: outcome.wrong,
            took: outcome.took.as_secs_f64(),
            whole,
        }
    }

    fn is_of(&self, operation: Operation) -> bool {
        self.name.split('/').next() == Some(operation.name())
    }
}

/// The rows of one commit, in a file that several processes may add to.
pub struct Progress {
    file: PathBuf,
}

impl Progress {
    /// The rows of a commit.
    pub fn of(project: &Path, commit: &str) -> Self {
        Self { file: project.join(format!("target/faults-{commit}.jsonl")) }
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What was found so far, by the cell's name. A line that an interrupted process did not finish is none.
    pub fn rows(&self) -> BTreeMap<String, Row> {
        let all = fs::read_to_string(&self.file).unwrap_or_default();
        let rows = all.lines().filter_map(|line| serde_json::from_str::<Row>(line).ok());
        rows.map(|row| (row.name.clone(), row)).collect()
    }

    /// Adds a row.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&self, row: &Row) -> Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.file)?;
        // One write; the line before may have been left without its end.
        let line = format!("\n{}\n", serde_json::to_string(row)?);
        file.write_all(line.as_bytes()).with_context(|| format!("failed to write {}", self.file.display()))
    }
}

/// The cells of a list of cases, as they are numbered in this run.
///
/// # Errors
/// For a line that cannot be read, or a write that no undisturbed run has any more.
pub fn cases(list: &str, references: &References) -> Result<Vec<Cell>> {
    let mut all = Vec::new();
    for line in list.lines() {
        let case = line.split('#').next().unwrap_or_default().trim();
        if case.is_empty() {
            continue;
        }
        let Some((operation, (fault, write))) =
            case.split_once(' ').and_then(|(operation, rest)| Some((operation, rest.split_once(' ')?)))
        else {
            bail!("a case is an operation, a fault and a write: {line}");
        };
        let one = OPERATIONS.into_iter().find(|one| one.name() == operation);
        let operation = one.with_context(|| format!("there is no operation {operation}"))?;
        let named = FAULTS.into_iter().find(|(name, _)| *name == fault);
        let (name, fault) = named.with_context(|| format!("there is no fault {fault}"))?;
        let Some(run) = references.get(&operation) else { continue };
        let before = all.len();
        for (index, _) in run.writes.iter().enumerate().filter(|(_, one)| one.to_string() == write.trim()) {
            let at = index + 1;
            let name = format!("{}/{at}/{name}", operation.name());
            all.push(Cell { operation, plan: Plan { at, fault }, name });
        }
        if all.len() == before {
            bail!("{} has no write {write:?} any more: mend tests/fault/cases.txt", operation.name());
        }
    }
    Ok(all)
}

/// What a page is of.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// Every cell, with the engine's status played back.
    Whole,
    /// A sample, with the real engine.
    Real,
}

impl Part {
    fn words(self) -> &'static str {
        match self {
            Self::Whole => "Written by `make faults`",
            Self::Real => "A sample with the real engine on a node, written by `make soak`",
        }
    }
}

/// The page of a run.
///
/// # Errors
/// When it cannot be worded.
pub fn page(
    part: Part,
    (commit, machine): (&str, &str),
    references: &References,
    rows: &BTreeMap<String, Row>,
) -> Result<String> {
    let seconds: f64 = rows.values().map(|row| row.whole).sum();
    let (bad, missed) = tally(rows.values());
    let mut text = format!(
        "# The operator disturbed at each of its writes\n\n{}, of {commit}. What it means, and what it does \
         not: docs/adr/0025.\n\n{} cells in {:.0} minutes ({machine}): {bad} ended elsewhere than the undisturbed run, {missed} had \
         no such write.\n\n| operation | writes | cells | ended elsewhere | had no such write | median seconds |\n|---|---|---|---|---|---|\n",
        part.words(),
        rows.len(),
        seconds / 60.0,
    );
    for (operation, run) in references {
        let of: Vec<&Row> = rows.values().filter(|row| row.is_of(*operation)).collect();
        let (bad, missed) = tally(of.iter().copied());
        let mut took: Vec<f64> = of.iter().map(|row| row.took).collect();
        took.sort_by(f64::total_cmp);
        let median = took.get(took.len() / 2).copied().unwrap_or_default();
        let (name, writes) = (operation.name(), run.writes.len());
        writeln!(text, "| {name} | {writes} | {} | {bad} | {missed} | {median:.1} |", of.len())?;
    }
    for row in rows.values().filter(|row| !row.wrong.is_empty()) {
        let hit = row.hit.as_deref().unwrap_or("no such write");
        writeln!(text, "\n- `{}` ({hit}): {}", row.name, row.wrong.join("; "))?;
    }
    text.push_str("\n## The writes\n\nOf an undisturbed run; a star is a hash. The operator's tasks run beside each other, so that their order may differ.\n");
    for (operation, run) in references {
        writeln!(text, "\n{}:\n", operation.name())?;
        for (index, write) in run.writes.iter().enumerate() {
            writeln!(text, "{}. {write}", index + 1)?;
        }
    }
    Ok(text)
}

/// How many ended elsewhere, and how many had no such write.
pub fn tally<'a>(rows: impl Iterator<Item = &'a Row>) -> (usize, usize) {
    rows.fold((0, 0), |(bad, missed), row| {
        (bad + usize::from(!row.wrong.is_empty()), missed + usize::from(row.hit.is_none()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Reference;
    use crate::write::Write;

    fn references(names: &[&str]) -> References {
        let write = |name: &&str| Write {
            verb: "create",
            resource: "secrets".into(),
            namespace: "n".into(),
            name: (*name).to_owned(),
        };
        let run = Reference { writes: names.iter().map(write).collect(), ..Reference::default() };
        References::from([(Operation::Create, run)])
    }

    #[test]
    fn a_case_is_found_wherever_its_write_comes_now() {
        let all = references(&["a", "b-0123456789", "a"]);
        let names = |list: &str| -> Result<Vec<String>> {
            Ok(cases(list, &all)?.into_iter().map(|cell| cell.name).collect())
        };
        assert_eq!(names("# nothing\n\n").unwrap(), [""; 0]);
        assert_eq!(
            names("create drop create secrets a # twice").unwrap(),
            ["create/1/drop", "create/3/drop"]
        );
        assert_eq!(names("create delay create secrets b-*").unwrap(), ["create/2/delay"]);
        for bad in
            ["create drop", "create burn create secrets a", "sing drop x y", "create drop create secrets z"]
        {
            assert!(names(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_committed_cases_can_be_read() {
        for line in include_str!("../cases.txt").lines().filter(|line| !line.starts_with('#')) {
            assert!(line.split(' ').count() >= 5 && line.contains('#'), "{line}");
        }
    }

    #[test]
    fn an_interrupted_run_goes_on_from_what_it_wrote() {
        let folder = std::env::temp_dir().join(format!("siyada-progress-{}", std::process::id()));
        fs::create_dir_all(folder.join("target")).unwrap();
        let row = |name: &str, wrong: &[&str]| Row {
            name: name.to_owned(),
            hit: Some("create secrets a".to_owned()),
            wrong: wrong.iter().map(|text| (*text).to_owned()).collect(),
            took: 1.5,
            whole: 3.0,
        };
        let progress = Progress::of(&folder, "abc");
        assert!(progress.rows().is_empty());
        progress.add(&row("create/1/drop", &[])).unwrap();
        let mut torn = OpenOptions::new().append(true).open(progress.file()).unwrap();
        torn.write_all(b"{\"name\":\"create/2").unwrap();
        progress.add(&row("create/3/drop", &["a: expected 1, found 2"])).unwrap();
        let rows = Progress::of(&folder, "abc").rows();
        assert_eq!(rows.keys().collect::<Vec<_>>(), ["create/1/drop", "create/3/drop"]);
        assert!(Progress::of(&folder, "abd").rows().is_empty(), "another commit begins anew");
        let page = page(Part::Whole, ("abc", "a machine"), &references(&["a", "b", "c"]), &rows).unwrap();
        assert!(page.contains("| create | 3 | 2 | 1 | 0 | 1.5 |"), "{page}");
        assert!(page.contains("`create/3/drop` (create secrets a): a: expected 1, found 2"), "{page}");
        fs::remove_dir_all(folder).unwrap();
    }
}

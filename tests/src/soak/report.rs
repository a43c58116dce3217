//! What was done so far, in a file that an interrupted soak goes on from, and the page it ends in.

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::process::Command;

/// What became of a part of the soak.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Why it failed; nothing when it held.
    pub failure: Option<String>,
    /// How long it took.
    pub seconds: u64,
    /// How many checked things it stands for: cells of the matrix, or steps of a walk.
    pub cases: u64,
}

/// Everything done so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What was soaked.
    pub commit: String,
    /// The seed of it all.
    pub seed: u64,
    /// When it began.
    pub began: Timestamp,
    /// Outcomes by part.
    pub parts: BTreeMap<String, Outcome>,
    /// Deeds and faults by words.
    pub counts: BTreeMap<String, u64>,
}

impl Progress {
    /// Nothing yet.
    pub fn new(commit: &str, seed: u64) -> Self {
        let (parts, counts) = (BTreeMap::new(), BTreeMap::new());
        Self { commit: commit.to_owned(), seed, began: Timestamp::now(), parts, counts }
    }

    /// What a file holds, if it is of this commit and seed: other results say nothing about this one.
    pub fn read(file: &Path, commit: &str, seed: u64) -> Self {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let found: Option<Self> = serde_json::from_str(&text).ok();
        found.filter(|p| p.commit == commit && p.seed == seed).unwrap_or_else(|| Self::new(commit, seed))
    }

    /// Adds what became of a part to the file, beside what other processes did of this soak meanwhile, and reads it all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(
        &mut self,
        file: &Path,
        name: &str,
        outcome: Outcome,
        counts: BTreeMap<String, u64>,
    ) -> Result<()> {
        let lock = File::create(file.with_extension("lock"))?;
        lock.lock()?;
        let found = Self::read(file, &self.commit, self.seed);
        *self = Self { began: self.began.min(found.began), ..found };
        self.insert(name, outcome, counts);
        self.write(file)
    }

    /// Adds what became of a part.
    pub fn insert(&mut self, name: &str, outcome: Outcome, counts: BTreeMap<String, u64>) {
        self.parts.insert(name.to_owned(), outcome);
        for (what, count) in counts {
            *self.counts.entry(what).or_insert(0) += count;
        }
    }

    /// Writes it, never half.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        let fresh = file.with_extension("new");
        std::fs::write(&fresh, serde_json::to_string_pretty(self)?)
            .and_then(|()| std::fs::rename(&fresh, file))
            .with_context(|| format!("failed to write {}", file.display()))
    }

    /// How many parts held, and how many failed.
    pub fn verdict(&self) -> (usize, usize) {
        let failed = self.parts.values().filter(|p| p.failure.is_some()).count();
        (self.parts.len() - failed, failed)
    }

    /// The page, of so many parts in all.
    pub fn page(&self, machine: &str, parts: usize) -> String {
        let (held, failed) = self.verdict();
        let seconds: u64 = self.parts.values().map(|p| p.seconds).sum();
        let mut page = String::from(
            "# Soak\nWritten by `make soak`; never by hand. What each part does: tests/src/soak/.\n\n",
        );
        let rows = [
            ("begun", self.began.strftime("%Y-%m-%d %H:%M UTC").to_string()),
            ("commit", format!("`{}`", self.commit)),
            ("seed", self.seed.to_string()),
            ("machine", machine.to_owned()),
            ("parts done", format!("{} of {parts}", self.parts.len())),
            ("time of the parts", format!("{} min", seconds / 60)),
            ("passed / failed", format!("{held} / {failed}")),
        ];
        page.push_str("| | |\n|---|---|\n");
        for (what, value) in rows {
            let _ = writeln!(page, "| {what} | {value} |");
        }
        page.push_str("\n## Failures\n");
        if failed == 0 {
            page.push_str("none\n");
        }
        for (name, outcome) in &self.parts {
            if let Some(failure) = &outcome.failure {
                let _ = writeln!(page, "- {name}: {}", failure.replace('\n', " "));
            }
        }
        page.push_str("\n## What was done\n| | |\n|---|---|\n");
        for (what, count) in &self.counts {
            let _ = writeln!(page, "| {what} | {count} |");
        }
        page.push_str("\n## Parts\n| part | cases | seconds | |\n|---|---|---|---|\n");
        for (name, outcome) in &self.parts {
            let held = if outcome.failure.is_some() { "**failed**" } else { "held" };
            let _ = writeln!(page, "| {name} | {} | {} | {held} |", outcome.cases, outcome.seconds);
        }
        page
    }
}

/// Takes a part for this process alone, for as long as what it answers with lives; nothing when another process has it.
/// A process that was killed has none.
///
/// # Errors
/// When the file that is locked cannot be made.
pub fn claim(file: &Path, name: &str) -> Result<Option<File>> {
    let folder = file.with_extension("claims");
    std::fs::create_dir_all(&folder)?;
    let lock = File::create(folder.join(name.replace(' ', "-")))?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// The commit that is soaked, and whether files were changed since.
///
/// # Errors
/// When this is no checkout.
pub fn commit(folder: &Path) -> Result<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(folder).args(arguments).output()?;
        anyhow::ensure!(
            output.status.success(),
            "git {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        anyhow::Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let head = git(&["rev-parse", "HEAD"])?;
    // The page that the soak writes is no change of what is soaked.
    let changed = !git(&["status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs"])?.is_empty();
    Ok(if changed { format!("{head}+") } else { head })
}

/// A seed from a commit: each landing draws another sample, which can be repeated.
pub fn seed_of(commit: &str) -> u64 {
    commit.get(..8).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(1)
}

/// The machine in a line: processors, memory, kernel.
pub fn machine() -> String {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let (cpus, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let gib =
        value(&memory, "MemTotal").split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0)
            / 1_048_576;
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{count} x {}, {gib} GiB, Linux {}", value(&cpus, "model name"), kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_found_again_for_the_same_commit_and_seed_only() {
        let file = std::env::temp_dir().join(format!("siyada-soak-{}.json", std::process::id()));
        let mut progress = Progress::new("abc", 7);
        progress.parts.insert("a".into(), Outcome { failure: None, seconds: 3, cases: 1 });
        progress.write(&file).unwrap();
        assert_eq!(Progress::read(&file, "abc", 7), progress);
        assert!(Progress::read(&file, "abc", 8).parts.is_empty());
        assert!(Progress::read(&file, "abd", 7).parts.is_empty());
        std::fs::remove_file(&file).unwrap();
        assert!(Progress::read(&file, "abc", 7).parts.is_empty());
    }

    #[test]
    fn two_processes_share_one_soak() {
        let file = std::env::temp_dir().join(format!("siyada-soak-shared-{}.json", std::process::id()));
        let outcome = || Outcome { failure: None, seconds: 3, cases: 1 };
        let counts = || BTreeMap::from([("order".to_owned(), 2)]);
        let (mut one, mut other) = (Progress::new("abc", 7), Progress::new("abc", 7));
        one.add(&file, "a", outcome(), counts()).unwrap();
        other.add(&file, "b", outcome(), counts()).unwrap();
        one.add(&file, "c", outcome(), counts()).unwrap();
        assert_eq!(one.parts.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(one.counts, BTreeMap::from([("order".to_owned(), 6)]));
        let held = claim(&file, "a b").unwrap();
        assert!(
            held.is_some() && claim(&file, "a b").unwrap().is_none() && claim(&file, "c").unwrap().is_some()
        );
        drop(held);
        assert!(claim(&file, "a b").unwrap().is_some());
        std::fs::remove_dir_all(file.with_extension("claims")).unwrap();
        std::fs::remove_file(file.with_extension("lock")).unwrap();
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_failure_is_on_the_page() {
        let mut progress = Progress::new("abc", 7);
        let failure = Some("it\nbroke".to_owned());
        progress.parts.insert("walk 1".into(), Outcome { failure, seconds: 61, cases: 9 });
        let page = progress.page("a machine", 3);
        for text in [
            "- walk 1: it broke",
            "| passed / failed | 0 / 1 |",
            "| parts done | 1 of 3 |",
            "| walk 1 | 9 | 61 | **failed** |",
        ] {
            assert!(page.contains(text), "{text} in {page}");
        }
    }

    #[test]
    fn a_seed_comes_of_the_commit() {
        assert_eq!(seed_of("000000ff1234"), 255);
        assert_eq!(seed_of("x"), 1);
    }
}

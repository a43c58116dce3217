//! What a whole storm found, written to docs/storm.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

pub struct Report {
    pub seed: u64,
    kills: usize,
    commit: String,
    began: Instant,
}

fn git(arguments: &[&str]) -> String {
    let output =
        Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The commit that is tested, with a plus when files were changed since.
fn commit() -> String {
    let head = git(&["rev-parse", "HEAD"]);
    // The pages that tests write are no change of what is tested.
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", "..", ":!../docs"]);
    if changed.is_empty() { head } else { format!("{head}+") }
}

impl Report {
    /// Without a seed it comes from the commit: each landing has another storm, which can be repeated.
    pub fn begin(seed: Option<u64>, kills: usize) -> Self {
        let commit = commit();
        let seed = seed.unwrap_or_else(|| u64::from_str_radix(&commit[..8], 16).unwrap());
        Self { seed, kills, commit, began: Instant::now() }
    }

    pub fn write(&self, outcome: &Result<BTreeMap<String, u64>, String>) {
        let mut page = String::from(
            "# Storm over the ledger\nWritten by `make storm`; never by hand. What happens in it: api/tests/it/storm/.\n\n| | |\n|---|---|\n",
        );
        let _ = writeln!(page, "| commit | `{}` |", self.commit);
        let _ = writeln!(page, "| seed, kills | {}, {} |", self.seed, self.kills);
        let _ = writeln!(
            page,
            "| to repeat it | `SIYADA_SEED={} SIYADA_KILLS={} make storm` |",
            self.seed, self.kills
        );
        let _ = writeln!(page, "| time | {} s |", self.began.elapsed().as_secs());
        let failure = outcome.as_ref().err().map_or("none".to_owned(), |cause| cause.replace('\n', " "));
        let _ = writeln!(page, "| failures | {failure} |\n\n## What happened\n| | |\n|---|---|");
        for (what, count) in outcome.iter().flatten() {
            let _ = writeln!(page, "| {what} | {count} |");
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/storm.md");
        std::fs::write(path, page).unwrap();
    }
}

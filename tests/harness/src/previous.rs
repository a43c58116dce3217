//! The landing before this one, for the story that upgrades from it: its charts, its examples and its programs, out of
//! the history of this clone.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::cache;
use crate::command::{command, output, succeeds};
use crate::programs::{PROGRAMS, Profile};
use crate::say::{Step, say};

/// One line: the commit, and what it is.
const RECORD: &str = "tests/previous-landing";
/// What one build of a target directory knows of its packages. Fingerprints come first: one is written when its package
/// is complete, so a copy taken while somebody compiles never claims what it does not have.
const COMPILED: [&str; 3] = [".fingerprint", "build", "deps"];
/// How the packages of every landing begin.
const OURS: &str = "siyada";

/// A landing in the cache: its whole tree, and its programs in `bin`.
#[derive(Debug, Clone)]
pub struct Previous(PathBuf);

impl Previous {
    /// Its tree.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// One of its programs.
    pub fn program(&self, program: &str) -> PathBuf {
        self.0.join("bin").join(program)
    }
}

/// The previous landing, taken out of git and compiled first if this machine never did. Fails when the clone does not
/// have it, with what to type.
pub fn ensure(checkout: &Path) -> Result<Previous> {
    let path = checkout.join(RECORD);
    let record = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let commit = commit(&record)?;
    let made = cache::ensure(&format!("previous-{commit}"), |fresh| make(checkout, commit, fresh))?;
    Ok(Previous(made))
}

/// Has the previous landing ready, then becomes the command, if there is one, which finds it in `SIYADA_PREVIOUS`.
pub fn with(checkout: &Path, words: &[String]) -> Result<ExitCode> {
    let previous = ensure(checkout)?;
    let Some((program, arguments)) = words.split_first() else { return Ok(ExitCode::SUCCESS) };
    let mut command = Command::new(program);
    Err(command.args(arguments).env("SIYADA_PREVIOUS", previous.folder()).exec())
        .with_context(|| format!("failed to start {program}"))
}

fn commit(record: &str) -> Result<&str> {
    let word = record.split_whitespace().next().unwrap_or_default();
    match word.len() == 40 && word.chars().all(|c| c.is_ascii_hexdigit()) {
        true => Ok(word),
        false => bail!("{RECORD} must begin with a whole commit hash (git rev-parse), not {word:?}"),
    }
}

fn make(checkout: &Path, commit: &str, into: &Path) -> Result<()> {
    let step = Step::begin();
    export(checkout, commit, into)?;
    compile(checkout, commit, into)?;
    step.done("the previous landing");
    Ok(())
}

fn git(checkout: &Path) -> Command {
    let mut git = Command::new("git");
    // Root works on a clone that is somebody else's.
    git.arg("-c").arg(format!("safe.directory={}", checkout.display())).arg("-C").arg(checkout);
    git
}

fn export(checkout: &Path, commit: &str, into: &Path) -> Result<()> {
    let known = ["cat-file", "-e", &format!("{commit}^{{commit}}")];
    if !succeeds(git(checkout).args(known)) {
        let shallow = output(git(checkout).args(["rev-parse", "--is-shallow-repository"]));
        bail!("{}", absent(commit, shallow.ok().as_deref().map(str::trim)));
    }
    let tar = into.join("tree.tar");
    output(git(checkout).args(["archive", "--format=tar", "--output"]).arg(&tar).arg(commit))
        .with_context(|| format!("failed to take commit {commit} out of git"))?;
    output(command("tar", ["-x", "-C"]).arg(into).arg("-f").arg(&tar))?;
    fs::remove_file(&tar).context("failed to clean up")
}

/// Why there is no such commit, and how to get it. `shallow` is git's own answer, if it gave one.
fn absent(commit: &str, shallow: Option<&str>) -> String {
    let way_out = match shallow {
        Some("true") => "this clone is shallow and does not have it; run `git fetch --unshallow`",
        Some(_) => "this clone does not have it; run `git fetch origin`, or mend the commit in that file",
        None => "this checkout has no history; use a clone (`git clone`), not an archive",
    };
    format!("the upgrade is tested from the previous landing, {commit} ({RECORD}): {way_out}")
}

/// Compiles its programs in a directory of its own, with what this landing compiled of third-party crates in it.
fn compile(checkout: &Path, commit: &str, into: &Path) -> Result<()> {
    let target = into.join("target");
    let ready = Profile::Release.directory(checkout);
    let short = &commit[..12];
    match ready.join(".fingerprint").is_dir() {
        true => {
            say(format!("compiling the previous landing {short}, once: some 2 minutes on 2 cores"));
            seed(&ready, &target.join("release"))?;
        }
        false => say(format!(
            "compiling the previous landing {short}, once: some 6 minutes on 2 cores; 2 after `make build`, which \
             compiles the third-party crates of both"
        )),
    }
    let manifest = fs::read_to_string(checkout.join("Cargo.toml")).context("failed to read Cargo.toml")?;
    let mut cargo = Command::new("cargo");
    // Its own toolchain and its own lock file; but our profile, or no compiled crate would be the one it asks for.
    cargo.current_dir(into).env_remove("RUSTUP_TOOLCHAIN").args(["build", "--release", "--locked"]);
    for setting in release_profile(&manifest) {
        cargo.args(["--config", &setting]);
    }
    cargo.args(PROGRAMS.map(|program| format!("--package={program}"))).arg("--target-dir").arg(&target);
    let status = cargo.status().context("failed to start cargo")?;
    if !status.success() {
        bail!("failed to compile the previous landing {commit}; cargo says why above");
    }
    fs::create_dir_all(into.join("bin"))?;
    for program in PROGRAMS {
        fs::rename(target.join("release").join(program), into.join("bin").join(program))
            .with_context(|| format!("the previous landing has no {program}"))?;
    }
    fs::remove_dir_all(&target).context("failed to clean up")
}

/// Copies what is compiled, except what is ours: Cargo names packages by their place in the workspace and looks at the
/// times of files, and would take this landing's for the previous one's.
fn seed(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("failed to create {}", to.display()))?;
    for part in COMPILED {
        output(command("cp", ["-a", "--reflink=auto"]).arg(from.join(part)).arg(to))
            .context("failed to copy compiled crates")?;
    }
    for part in COMPILED {
        let entries = fs::read_dir(to.join(part)).into_iter().flatten().filter_map(Result::ok);
        for entry in entries.filter(|entry| is_ours(&entry.file_name().to_string_lossy())) {
            let path = entry.path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.with_context(|| format!("failed to remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn is_ours(file: &str) -> bool {
    file.strip_prefix("lib").unwrap_or(file).starts_with(OURS)
}

/// The settings of a manifest's release profile, each as an argument of `cargo --config`.
fn release_profile(manifest: &str) -> Vec<String> {
    let mut section = "";
    let mut settings = Vec::new();
    for line in manifest.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if (section == "profile.release" || section.starts_with("profile.release."))
            && let Some((key, value)) = line.split_once('=')
        {
            settings.push(format!("{section}.{}={}", key.trim(), value.trim()));
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_is_a_commit_and_what_it_is() {
        let hash = "b942eb7658441fb6e1840d00a9217e9136f2349e";
        assert_eq!(commit(&format!("{hash} the previous landing\n")).unwrap(), hash);
        for wrong in ["", "b942eb7 too short", "main"] {
            assert!(commit(wrong).is_err(), "{wrong}");
        }
        let record = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../").join(RECORD);
        let record = fs::read_to_string(record).unwrap();
        assert!(commit(&record).is_ok() && record.lines().count() == 1, "{record}");
    }

    #[test]
    fn a_clone_without_the_commit_is_told_how_to_get_it() {
        for (shallow, way_out) in [
            (Some("true"), "git fetch --unshallow"),
            (Some("false"), "git fetch origin"),
            (None, "git clone"),
        ] {
            let said = absent("b942eb7", shallow);
            assert!(said.contains(way_out) && said.contains("b942eb7"), "{said}");
        }
    }

    #[test]
    fn nothing_of_this_landing_is_taken_for_the_previous_one() {
        for ours in ["siyada-api-0a1b", "siyada_operator-0a1b.d", "libsiyada_model-0a1b.rlib"] {
            assert!(is_ours(ours), "{ours}");
        }
        for theirs in ["libkube-0a1b.rlib", "serde-0a1b", "library-0a1b"] {
            assert!(!is_ours(theirs), "{theirs}");
        }
    }

    #[test]
    fn the_profile_is_given_setting_by_setting() {
        let manifest = "[profile.dev]\ndebug = 1\n[profile.release]\n# Why = so.\nopt-level = 2\nlto = \"off\"\n\
                        [profile.release.package.\"*\"]\nopt-level = 1\n[workspace]\nmembers = []\n";
        let expect = [
            "profile.release.opt-level=2",
            "profile.release.lto=\"off\"",
            "profile.release.package.\"*\".opt-level=1",
        ];
        assert_eq!(release_profile(manifest), expect);
    }
}

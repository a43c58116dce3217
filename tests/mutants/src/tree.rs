//! A copy of the sources in which mutants live: the checkout itself is never edited.

use crate::page::tracked;
use crate::{Mutant, folder};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What became of a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its test failed, and nothing else was wrong.
    Killed,
    /// Its test passed.
    Lives,
    /// It does not compile, or the test is not there.
    Spoilt(String),
}

/// The copy, with what was compiled in it.
#[derive(Clone, Debug)]
pub struct Tree {
    sources: PathBuf,
    compiled: PathBuf,
}

impl Tree {
    /// The copy, as the checkout is now. What others wrote is compiled already: it is linked from the checkout's own
    /// `target`, so that only our own crates are compiled anew.
    ///
    /// # Errors
    /// When files cannot be copied.
    pub fn new() -> Result<Self> {
        let target = folder().join("target");
        let tree = Self { sources: target.join("mutants/sources"), compiled: target.join("mutants/target") };
        tree.copy_all()?;
        if !tree.compiled.exists() {
            link_all(&target.join("debug"), &tree.compiled.join("debug"))?;
        }
        Ok(tree)
    }

    /// Makes every file what it is in the checkout; one that is so already keeps its time, and is not compiled again.
    fn copy_all(&self) -> Result<()> {
        for name in tracked()? {
            let (from, to) = (folder().join(&name), self.sources.join(&name));
            if from.is_symlink() {
                let points_to = fs::read_link(&from)?;
                if fs::read_link(&to).ok().as_ref() != Some(&points_to) {
                    make_parent(&to)?;
                    let _ = fs::remove_file(&to);
                    std::os::unix::fs::symlink(points_to, &to)?;
                }
            } else if from.is_file() {
                let bytes = fs::read(&from)?;
                if fs::read(&to).ok().as_ref() != Some(&bytes) {
                    make_parent(&to)?;
                    fs::write(&to, bytes).with_context(|| format!("failed to copy {name}"))?;
                }
            }
        }
        Ok(())
    }

    /// Whether the test passes as things are, without any edit.
    ///
    /// # Errors
    /// What cargo said, when it does not.
    pub fn is_sound(&self, mutant: &Mutant) -> Result<()> {
        match self.test(mutant)? {
            Fate::Lives => Ok(()),
            other => anyhow::bail!("{} {} does not pass by itself: {other:?}", mutant.package, mutant.test),
        }
    }

    /// Lets a mutant live, and says what its test made of it. The copy is as before afterwards.
    ///
    /// # Errors
    /// When its text is not there exactly once, or cargo cannot be run.
    pub fn try_out(&self, mutant: &Mutant) -> Result<Fate> {
        let file = self.sources.join(mutant.file);
        let sound = fs::read_to_string(&file)?;
        ensure!(sound.matches(mutant.text).count() == 1, "{} is not once in {}", mutant.name, mutant.file);
        fs::write(&file, sound.replace(mutant.text, mutant.instead))?;
        self.touch(mutant)?;
        let fate = self.test(mutant);
        fs::write(&file, sound)?;
        self.touch(mutant)?;
        fate
    }

    /// A migration is compiled into the file that names its folder, which cargo does not know.
    fn touch(&self, mutant: &Mutant) -> Result<()> {
        if mutant.file.ends_with(".sql") {
            let file = self.sources.join("api/src/store/mod.rs");
            let text = fs::read(&file)?;
            fs::write(file, text)?;
        }
        Ok(())
    }

    fn test(&self, mutant: &Mutant) -> Result<Fate> {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let output = Command::new(cargo)
            .args(["test", "--package", mutant.package, mutant.target])
            .args(["--", "--exact", mutant.test])
            .current_dir(&self.sources)
            .env("CARGO_TARGET_DIR", &self.compiled)
            // A failure that is found once needs no search for the smallest, nor to be kept.
            .env("PROPTEST_MAX_SHRINK_ITERS", "0")
            .env("PROPTEST_FAILURE_PERSISTENCE", "off")
            .output()
            .context("failed to run cargo")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = |end: &str| said.contains(&format!("test {} ... {end}", mutant.test));
        let counted = |what: &str| said.contains(&format!("test result: {what}"));
        if line("FAILED") && counted("FAILED. 0 passed; 1 failed;") {
            return Ok(Fate::Killed);
        }
        if line("ok") && counted("ok. 1 passed; 0 failed;") {
            return Ok(Fate::Lives);
        }
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let end: Vec<&str> = errors.lines().chain(said.lines()).filter(|line| !line.is_empty()).collect();
        Ok(Fate::Spoilt(end[end.len().saturating_sub(12)..].join("\n")))
    }
}

fn make_parent(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), |parent| Ok(fs::create_dir_all(parent)?))
}

/// Links every compiled file of others; ours are left out, since the copy's are other files of the same names.
fn link_all(from: &Path, to: &Path) -> Result<()> {
    for part in ["deps", "build", ".fingerprint"] {
        link(&from.join(part), &to.join(part))?;
    }
    Ok(())
}

fn link(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).into_iter().flatten() {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().contains("siyada") {
            continue;
        }
        let (from, to) = (entry.path(), to.join(&name));
        if entry.file_type()?.is_dir() {
            link(&from, &to)?;
        } else if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}

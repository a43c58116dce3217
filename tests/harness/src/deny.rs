//! `harness cargo-deny`: looks at what the crates of others are allowed to be, with a tool that is compiled once.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::cache;
use crate::command::{command, output};
use crate::place::Place;
use crate::say::{Step, say};

/// Raise it together with what a newer Rust needs.
const VERSION: &str = "0.20.2";

/// Becomes the tool, in the checkout.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let checkout = Place::checkout()?;
    let mut tool = Command::new(ensure()?);
    Err(tool.args(arguments).current_dir(checkout).exec()).context("failed to start cargo-deny")
}

/// The tool, compiled first if it never was.
fn ensure() -> Result<PathBuf> {
    let root = cache::ensure(&format!("cargo-deny-{VERSION}"), |fresh| {
        say(format!("compiling cargo-deny {VERSION}, once: some 5 minutes on 2 cores"));
        let step = Step::begin();
        let mut install =
            command("cargo", ["install", "cargo-deny", "--locked", "--quiet", "--version", VERSION]);
        // In a folder of its own, so that nothing of it mixes with what the checkout compiled.
        install.arg("--root").arg(fresh).env("CARGO_TARGET_DIR", fresh.join("target"));
        output(&mut install).context("failed to compile cargo-deny; is crates.io reachable?")?;
        std::fs::remove_dir_all(fresh.join("target")).context("failed to clean up")?;
        step.done("cargo-deny");
        Ok(())
    })?;
    Ok(root.join("bin/cargo-deny"))
}

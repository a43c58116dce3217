//! `harness trial`: a command on a fresh cluster of its own, which is gone afterwards whatever happened.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::binaries;
use crate::cache;
use crate::command::{command, output, tail};
use crate::component::ALL;
use crate::down::down;
use crate::exec::{kubectl, resolving};
use crate::load::load;
use crate::place::Place;
use crate::previous;
use crate::say::{Step, say};
use crate::up::up;

/// Lines of each log shown when the command failed.
const LINES: usize = 8;

/// Runs it and returns its exit code. On failure the logs are kept, and what matters of them is shown. With `previous`
/// the node has the images of the previous landing too.
pub fn trial(place: &Place, previous: bool, words: &[String]) -> Result<ExitCode> {
    let locks = place.checkout.join("target");
    fs::create_dir_all(&locks).with_context(|| format!("failed to create {}", locks.display()))?;
    let lock = cache::lock_at_once(&locks.join(format!("trial-{}.lock", place.name)))
        .with_context(|| format!("a trial {:?} is under way here; give another --name", place.name))?;
    down(place, true).context("failed to clear what an earlier trial left")?;
    let step = Step::begin();
    let result = attempt(place, previous, words);
    let good = matches!(result, Ok(0));
    step.done(format!("trial {}", if good { "passed" } else { "failed" }));
    if !good {
        report(place);
    }
    let cleaned = down(place, true);
    drop(lock);
    let code = result?;
    cleaned?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// The command's exit code; 1 when a signal ended it.
fn attempt(place: &Place, previous: bool, words: &[String]) -> Result<i32> {
    let program = words.first().map(String::as_str).unwrap_or_default();
    if program.contains('/') && !Path::new(program).is_file() {
        anyhow::bail!("no program {program}; run `make build` first");
    }
    let previous = previous.then(|| previous::ensure(&place.checkout)).transpose()?;
    up(place, true, true)?;
    load(place, previous.as_ref())?;
    let binaries = binaries::ensure(&place.checkout)?;
    let status =
        resolving(place, &binaries, words).status().with_context(|| format!("failed to start {program}"))?;
    Ok(status.code().unwrap_or(1))
}

/// Never fails: it is called when something else did.
fn report(place: &Place) {
    let kept = kept(place);
    for component in ALL {
        let text = fs::read_to_string(place.log(component.name())).unwrap_or_default();
        say(format!("--- {}\n{}", component.name(), tail(&text, LINES)));
    }
    if let Ok(binaries) = binaries::ensure(&place.checkout) {
        let pods = ["get", "pods", "--all-namespaces", "-o", "wide"].as_slice();
        let warnings = ["get", "events", "--all-namespaces", "--field-selector=type!=Normal"].as_slice();
        for (what, arguments) in [("pods", pods), ("warnings", warnings)] {
            let list = output(kubectl(place, &binaries).args(arguments));
            let text = list.unwrap_or_else(|error| format!("{error:#}"));
            let _shown_anyway = fs::write(place.log(what), &text);
            say(format!("--- {what}\n{}", tail(&text, 30)));
        }
    }
    let _absent = fs::remove_dir_all(&kept);
    let copied = fs::create_dir_all(&kept).is_ok()
        && output(command("cp", ["-rL"]).arg(place.state("log/.")).arg(&kept)).is_ok();
    if copied {
        say(format!("all logs, those of the pods too, are in {}", kept.display()));
    }
}

fn kept(place: &Place) -> PathBuf {
    place.checkout.join("target").join(format!("logs-{}", place.name))
}

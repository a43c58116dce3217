//! `harness status` and `harness logs`: what runs, and what it says.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::binaries;
use crate::command::output;
use crate::component::{ALL, named};
use crate::exec::kubectl;
use crate::place::Place;
use crate::say::print;

/// Prints a line per component, then node and engine. Fails (exit code 1) unless all run.
pub fn status(place: &Place) -> Result<ExitCode> {
    let node = ALL.into_iter().any(|component| component.of_node() && component.process_file(place).exists());
    let mut dead = 0;
    for component in ALL.into_iter().filter(|component| node || !component.of_node()) {
        let (pid, state) = match component.running(place) {
            Some(identity) => (identity.pid.to_string(), "running"),
            None => ("-".into(), "dead"),
        };
        dead += usize::from(state == "dead");
        print(&format!(
            "{:<24} {pid:>8}  {state:<8} {}\n",
            component.name(),
            place.log(component.name()).display()
        ));
    }
    if dead > 0 {
        print(&format!("{dead} not running; `harness up{}` starts what is missing\n", place.flag()));
        return Ok(ExitCode::FAILURE);
    }
    let binaries = binaries::ensure(&place.checkout)?;
    let show = |arguments: &[&str]| {
        let answer =
            output(kubectl(place, &binaries).args(arguments)).unwrap_or_else(|error| format!("{error:#}\n"));
        print(&format!("\n{answer}"));
    };
    if node {
        show(&["get", "nodes", "-o", "wide"]);
        show(&["get", "deployments", "--all-namespaces"]);
    }
    print(&format!("\nexport KUBECONFIG={}\n", place.kubeconfig().display()));
    Ok(ExitCode::SUCCESS)
}

/// Becomes `tail` on the logs.
pub fn logs(place: &Place, component: Option<&str>, follow: bool) -> Result<ExitCode> {
    let chosen = component.map_or(Ok(ALL.to_vec()), |name| named(name).map(|component| vec![component]))?;
    let files: Vec<_> =
        chosen.iter().map(|component| place.log(component.name())).filter(|log| log.exists()).collect();
    if files.is_empty() {
        bail!("no logs yet; run `harness up{}`", place.flag());
    }
    let lines = if component.is_some() { "200" } else { "10" };
    let mut tail = Command::new("tail");
    tail.args(["-n", lines]).args(follow.then_some("-F")).args(files);
    Err(tail.exec()).context("failed to start tail")
}

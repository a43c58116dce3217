//! `harness`: a real Kubernetes with a real database engine on one machine, from source and Debian packages alone.
//!
//! Everything runs in a network namespace of its own, is reachable from the host on one port of 127.0.0.1, and
//! leaves the machine as it was after `harness down --purge`.

mod archive;
mod arguments;
mod binaries;
mod cache;
mod cgroup;
mod command;
mod component;
mod config;
mod containerd;
mod debian;
mod deny;
mod down;
mod engine;
mod exec;
mod images;
mod load;
mod mounts;
mod network;
mod object_store;
mod pki;
mod place;
mod previous;
mod process;
mod programs;
mod provisioner;
mod quantity;
mod restart;
mod say;
mod status;
mod trial;
mod up;
mod volume;
mod wheel;

use std::process::ExitCode;

use anyhow::Result;
use arguments::{Arguments, Verb};
use place::Place;

fn main() -> ExitCode {
    match Arguments::parse(std::env::args().skip(1)).and_then(run) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("harness: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let place = || Place::find(&arguments.name);
    match arguments.verb {
        Verb::Help => say::print(arguments::HELP),
        Verb::Deps => debian::install_missing()?,
        Verb::Build => drop(binaries::ensure(&Place::checkout()?)?),
        Verb::Images => {
            images::ensure(&binaries::ensure(&Place::checkout()?)?)?;
            object_store::ensure()?;
        }
        Verb::Up { node, store } => up::up(&place()?, node, store)?,
        Verb::Previous { ref command } => return previous::with(&Place::checkout()?, command),
        Verb::Load { previous } => load_on(&place()?, previous)?,
        Verb::Down { purge } => down::down(&place()?, purge)?,
        Verb::Status => return status::status(&place()?),
        Verb::Logs { ref component, follow } => return status::logs(&place()?, component.as_deref(), follow),
        Verb::Restart { ref component } => restart::restart(&place()?, component)?,
        Verb::Exec { ref command } => return exec::inside(&place()?, command),
        Verb::Trial { previous, ref command } => return trial::trial(&place()?, previous, command),
        Verb::Tool { ref tool, ref arguments } => return exec::tool(&place()?, tool, arguments),
        Verb::Deny { ref arguments } => return deny::run(arguments),
        Verb::Provisioner => provisioner::run(&place()?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn load_on(place: &Place, previous: bool) -> Result<()> {
    let previous = previous.then(|| previous::ensure(&place.checkout)).transpose()?;
    load::load(place, previous.as_ref())
}

//! `harness restart`: a component dies without warning and is started again, as after a crash.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::binaries;
use crate::cache;
use crate::component::{Setting, named};
use crate::place::Place;
use crate::say::say;
use crate::up::host_port;

/// Kills it and starts it with the same command line. Whoever needs it waits until it answers: what waits for the API
/// server is also told by it, and it may be asked from inside the network namespace or from outside.
pub fn restart(place: &Place, name: &str) -> Result<()> {
    let component = named(name)?;
    let Some(running) = component.running(place) else {
        bail!("{name} does not run; `harness up{}` starts what is missing", place.flag());
    };
    let binaries = binaries::ensure(&place.checkout)?;
    let _lock = cache::lock(&place.state("lock"))?;
    let setting = Setting { place, binaries: &binaries, host_port: host_port(place)? };
    if !running.kill() {
        bail!("failed to kill {name}, pid {}", running.pid);
    }
    let _gone = fs::remove_file(component.process_file(place));
    component.ensure(&setting).with_context(|| format!("failed to start {name} again"))?;
    say(format!("{name} was killed and started again"));
    Ok(())
}

//! `harness restart`: a component dies without warning and is started again, as after a crash.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::binaries;
use crate::cache;
use crate::command::wait_until;
use crate::component::{Setting, named};
use crate::place::Place;
use crate::say::say;
use crate::up::host_port;

/// One that could not start ends within this: its port was still taken, for example.
const STAYS: Duration = Duration::from_millis(700);

/// Kills it and starts it with the same command line. Whoever needs it waits until it answers: it may be asked from inside
/// the network namespace or from outside.
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
    let mut failure = None;
    let stays = || {
        failure = component.ensure(&setting).err();
        sleep(STAYS);
        component.running(place).is_some()
    };
    if !wait_until(30, stays) {
        match failure {
            Some(error) => return Err(error.context(format!("failed to start {name} again"))),
            None => bail!("{}", component.explain(place, &format!("{name} did not stay up"))),
        }
    }
    say(format!("{name} was killed and started again"));
    Ok(())
}

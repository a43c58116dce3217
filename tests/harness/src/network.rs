//! The network namespace a cluster lives in. No packet of it can leave the machine.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{command, output, succeeds};
use crate::place::Place;

/// The node's address, also where CoreDNS listens. The kubelet refuses a loopback address.
pub const NODE_IP: &str = "10.10.0.2";
/// The bridge that carries the address; some kernels have no `dummy` link type.
const LINK: &str = "node0";

/// Makes the namespace, or completes one that a crash left half made.
pub fn ensure(place: &Place) -> Result<()> {
    let id = place.id.as_str();
    if !reachable(place) {
        // A file without a namespace mounted on it is left after a reboot.
        let _absent = output(&mut command("ip", ["netns", "del", id]));
        output(&mut command("ip", ["netns", "add", id]))
            .context("failed to make a network namespace; are you root?")?;
    }
    let ip = |arguments: &[&str]| output(command("ip", ["-n", id]).args(arguments));
    ip(&["link", "set", "lo", "up"])?;
    if ip(&["link", "show", LINK]).is_err() {
        ip(&["link", "add", LINK, "type", "bridge"])?;
    }
    ip(&["addr", "replace", &format!("{NODE_IP}/24"), "dev", LINK])?;
    ip(&["link", "set", LINK, "up"])?;
    ip(&["route", "replace", "default", "dev", LINK])?;
    output(inside(place, "sysctl").args(["-qw", "net.ipv4.ip_forward=1"]))?;
    Ok(())
}

/// A command inside the namespace. Never `ip netns exec`: it remounts /sys and hides the cgroups from the kubelet.
pub fn inside(place: &Place, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", place.netns().display())).arg("--").arg(program);
    command
}

/// Whether the namespace exists and can be entered.
pub fn reachable(place: &Place) -> bool {
    place.netns().exists() && succeeds(&mut inside(place, "true"))
}

/// What identifies a network namespace, read from a `/proc/<pid>/ns/net` or a file in /run/netns.
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Deletes the namespace; says whether there was one.
pub fn remove(place: &Place) -> Result<bool> {
    if !place.netns().exists() {
        return Ok(false);
    }
    output(&mut command("ip", ["netns", "del", &place.id]))
        .context("failed to delete the network namespace")?;
    Ok(true)
}

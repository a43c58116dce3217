//! `harness down`: ends everything of a cluster, whatever state it is in, and says what it found.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::cache;
use crate::cgroup;
use crate::command::wait_until;
use crate::component::{ALL, Component, outside_relays};
use crate::mounts;
use crate::network;
use crate::object_store;
use crate::place::Place;
use crate::process;
use crate::say::say;
use crate::volume;

/// Long enough for etcd and the API server to end by themselves; they are made to after it.
const GRACE_SECONDS: u64 = 5;
const CNI_RESULTS: &str = "/var/lib/cni/results";
/// Rounds of killing: a container may start a process between the look and the kill.
const ROUNDS: usize = 10;

/// Ends it. Without `purge` databases, volumes and images are kept for the next `up`.
pub fn down(place: &Place, purge: bool) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("a cluster needs root, for network namespaces and mounts; run it with sudo");
    }
    let lock = if place.state.exists() { Some(cache::lock(&place.state("lock"))?) } else { None };
    let mut did = Vec::new();
    // Read before containerd tidies up what names them.
    let sockets = shim_sockets(place);
    // From the outside in: nothing may start containers while they are ended.
    let (servers, workers): (Vec<Component>, Vec<Component>) =
        ALL.into_iter().rev().partition(|component| is_server(*component));
    note(&mut did, stop(place, &workers)?, "components");
    note(&mut did, kill_containers(place)?, "container processes");
    note(&mut did, stop(place, &servers)?, "servers");
    note(&mut did, kill_members(place)?, "other processes in the network namespace");
    note(
        &mut did,
        kill_all("relays", || outside_relays(place).into_iter().collect())?,
        "connections from the host",
    );
    note(&mut did, unmount(place)?, "mounts");
    note(&mut did, volume::free_loop_devices(&place.state), "loop devices");
    note(&mut did, usize::from(network::remove(place)?), "network namespace");
    let (cgroups, left) = cgroup::remove(place);
    note(&mut did, cgroups, "cgroups");
    if let Some(left) = left.first() {
        bail!("failed to remove the cgroup {}; see its cgroup.procs", left.display());
    }
    note(&mut did, remove_files(&sockets), "shim sockets");
    note(&mut did, remove_files(&object_store::sockets(place)), "sockets of the object store");
    note(&mut did, remove_files(&container_logs(place)), "log links");
    note(&mut did, remove_files(&address_records(place)), "address records");
    remove_tree(&place.run)?;
    drop(lock);
    if purge {
        remove_tree(&place.state)?;
    }
    let kept = if purge || !place.state.exists() {
        String::new()
    } else {
        format!("; data kept in {}", place.state.display())
    };
    match did.is_empty() {
        true => say(format!("down: {} was not up{kept}", place.name)),
        false => say(format!("down: {}{kept}", did.join(", "))),
    }
    Ok(())
}

fn is_server(component: Component) -> bool {
    use Component::{ApiServer, Containerd, ControllerManager, Etcd, Scheduler};
    matches!(component, Etcd | ApiServer | ControllerManager | Scheduler | Containerd)
}

fn note(did: &mut Vec<String>, count: usize, what: &str) {
    if count > 0 {
        did.push(format!("{count} {what}"));
    }
}

/// Ends components in the given order; counts those that ran.
fn stop(place: &Place, components: &[Component]) -> Result<usize> {
    let mut stopped = 0;
    for component in components {
        if let Some(running) = component.running(place) {
            stopped += 1;
            if !running.stop(GRACE_SECONDS) {
                bail!(
                    "{} (pid {}) does not end, even when killed; see its log {}",
                    component.name(),
                    running.pid,
                    place.log(component.name()).display()
                );
            }
        }
    }
    Ok(stopped)
}

/// Containers are found by their cgroup, shims by the socket they were given: this needs no containerd.
fn kill_containers(place: &Place) -> Result<usize> {
    let socket = place.run("containerd.sock").display().to_string();
    kill_all("container processes", || {
        let shims = process::all().into_iter().filter(|pid| is_shim(&process::command_line(*pid), &socket));
        shims.chain(cgroup::processes(place)).filter(|pid| process::started_ticks(*pid).is_some()).collect()
    })
}

fn is_shim(words: &[String], socket: &str) -> bool {
    let shim = words.first().is_some_and(|program| program.ends_with("containerd-shim-runc-v2"));
    shim && words.windows(2).any(|pair| pair[0] == "-address" && pair[1] == socket)
}

/// Whatever else is in the network namespace: children of components, commands run by `harness exec`.
fn kill_members(place: &Place) -> Result<usize> {
    let Some(ours) = network::identity(&place.netns()) else { return Ok(0) };
    let me = std::process::id();
    kill_all("processes in the network namespace", || {
        let member =
            |pid: &u32| network::identity(&PathBuf::from(format!("/proc/{pid}/ns/net"))) == Some(ours);
        let mine =
            process::all().into_iter().filter(|pid| *pid != me && process::started_ticks(*pid).is_some());
        mine.filter(member).collect()
    })
}

fn kill_all(what: &str, find: impl Fn() -> BTreeSet<u32>) -> Result<usize> {
    let mut killed = BTreeSet::new();
    for _ in 0..ROUNDS {
        let found = find();
        if found.is_empty() {
            return Ok(killed.len());
        }
        found.iter().for_each(|pid| process::signal(*pid, Signal::KILL));
        wait_until(2, || find().is_disjoint(&found));
        killed.extend(found);
    }
    bail!("some {what} do not end, even when killed: {:?}", find())
}

fn unmount(place: &Place) -> Result<usize> {
    let mut count = 0;
    for _ in 0..ROUNDS {
        let found = mounts::below(&[&place.run, &place.state]);
        if found.is_empty() {
            return Ok(count);
        }
        count += found.iter().filter(|mount| mounts::unmount(mount)).count();
    }
    bail!("mounts below {} do not go away; see /proc/mounts", place.state.display())
}

/// containerd 2 puts the sockets of its shims in a directory of the machine; each names its own in its bundle.
fn shim_sockets(place: &Place) -> Vec<PathBuf> {
    let bundles = place.run("containerd/io.containerd.runtime.v2.task/k8s.io");
    let entries = fs::read_dir(bundles).into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| socket_in(&entry.path())).collect()
}

fn socket_in(bundle: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(bundle.join("bootstrap.json")).ok()?;
    let bootstrap: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(PathBuf::from(bootstrap["address"].as_str()?.strip_prefix("unix://")?))
}

/// The kubelet links every container's log in a directory of the machine, whatever its own directories are.
fn container_logs(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir("/var/log/containers")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()));
    entries.filter(|link| fs::read_link(link).is_ok_and(|target| target.starts_with(&place.state))).collect()
}

/// The CNI library notes every pod's addresses in a directory of the machine. Ours are named after our network; the
/// loopback's are not, but share the pod's id with one that is.
fn address_records(place: &Place) -> Vec<PathBuf> {
    let names = fs::read_dir(CNI_RESULTS)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let names: Vec<String> = names.collect();
    our_records(&names, &place.id).into_iter().map(|name| Path::new(CNI_RESULTS).join(name)).collect()
}

fn our_records<'a>(names: &'a [String], network: &str) -> Vec<&'a String> {
    let pod = |name: &'a String| name.strip_prefix(network)?.strip_prefix('-')?.strip_suffix("-eth0");
    let pods: BTreeSet<&str> = names.iter().filter_map(pod).collect();
    let loopback = |name: &'a String| name.strip_prefix("cni-loopback-")?.strip_suffix("-lo");
    names.iter().filter(|name| pod(name).or(loopback(name)).is_some_and(|id| pods.contains(id))).collect()
}

fn remove_files(files: &[PathBuf]) -> usize {
    files.iter().filter(|file| fs::remove_file(file).is_ok()).count()
}

/// Never follows a mount: everything below was unmounted, and is looked at once more.
fn remove_tree(directory: &Path) -> Result<()> {
    if let Some(mount) = mounts::below(&[directory]).first() {
        bail!("{} is still mounted; nothing below it was deleted", mount.display());
    }
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to delete {}", directory.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_shims_of_our_own_containerd_are_ours() {
        let words = |line: &str| line.split(' ').map(String::from).collect::<Vec<_>>();
        let socket = "/run/siyada-test-1/containerd.sock";
        let cases = [
            (
                "/b/containerd-shim-runc-v2 -namespace k8s.io -id x -address /run/siyada-test-1/containerd.sock",
                true,
            ),
            (
                "/b/containerd-shim-runc-v2 -namespace k8s.io -id x -address /run/containerd/containerd.sock",
                false,
            ),
            ("vi -address /run/siyada-test-1/containerd.sock", false),
            ("", false),
        ];
        for (line, expect) in cases {
            assert_eq!(is_shim(&words(line), socket), expect, "{line}");
        }
    }

    #[test]
    fn address_records_of_other_clusters_stay() {
        let names =
            ["siyada-a-1-p1-eth0", "cni-loopback-p1-lo", "siyada-b-1-p2-eth0", "cni-loopback-p2-lo", "other"];
        let names = names.map(String::from);
        assert_eq!(our_records(&names, "siyada-a-1"), ["siyada-a-1-p1-eth0", "cni-loopback-p1-lo"]);
    }
}

//! The cgroups a cluster's pods live in: a tree of its own in every hierarchy, on cgroup v1, v2 or both.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::place::Place;

const MOUNT: &str = "/sys/fs/cgroup";

/// Makes the cluster's own cgroup in every hierarchy; the kubelet wants to find it there.
pub fn ensure(place: &Place) -> Result<()> {
    let unified = Path::new(MOUNT).join("cgroup.controllers").exists();
    let roots = if unified { vec![PathBuf::from(MOUNT)] } else { hierarchies() };
    for root in roots {
        let own = root.join(&place.id);
        fs::create_dir_all(&own)
            .with_context(|| format!("failed to make the cgroup {}; are you root?", own.display()))?;
        match unified {
            true => [root.as_path(), own.as_path()].into_iter().for_each(delegate),
            false => inherit_cpuset(&root, &own)?,
        }
    }
    Ok(())
}

/// Version 1: each directory that has `tasks` is a hierarchy.
fn hierarchies() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(MOUNT) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.join("tasks").exists()).collect()
}

/// Version 2: hands the controllers down. One that is missing is the kubelet's to complain about.
fn delegate(directory: &Path) {
    for controller in ["cpu", "cpuset", "io", "memory", "pids"] {
        let _absent = fs::write(directory.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// A new cpuset of version 1 has no processors and can hold no process.
fn inherit_cpuset(root: &Path, own: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if root.join(file).exists() {
            fs::copy(root.join(file), own.join(file))
                .map(drop)
                .or_else(|_| fs::read(root.join(file)).and_then(|text| fs::write(own.join(file), text)))
                .with_context(|| format!("failed to set {}", own.join(file).display()))?;
        }
    }
    Ok(())
}

/// The cluster's cgroups, deepest first.
fn directories(place: &Place) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut roots = vec![PathBuf::from(MOUNT)];
    roots.extend(fs::read_dir(MOUNT).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())));
    for root in roots {
        collect(&root.join(&place.id), &mut found);
    }
    found
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), found);
        }
    }
    found.push(directory.into());
}

/// Every process in the cluster's cgroups: the containers.
pub fn processes(place: &Place) -> Vec<u32> {
    let mut pids: Vec<u32> = directories(place)
        .iter()
        .filter_map(|directory| fs::read_to_string(directory.join("cgroup.procs")).ok())
        .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<u32>>())
        .collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// Removes the cgroups, which must be empty of processes. Returns how many went, and those that would not.
pub fn remove(place: &Place) -> (usize, Vec<PathBuf>) {
    let (gone, left): (Vec<_>, Vec<_>) =
        directories(place).into_iter().partition(|directory| fs::remove_dir(directory).is_ok());
    (gone.len(), left)
}

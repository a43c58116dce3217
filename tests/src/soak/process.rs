//! Processes of containers: found by the container's own cgroup inside the cluster's, killed by number.

use super::server::{Server, path};
use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The first process of a container, and no other that has had or will have its pid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pid: i32,
    started_ticks: u64,
}

/// Field 22 of a `stat` line, counted behind the name, which may hold anything; nothing for the dead.
fn started(line: &str) -> Option<u64> {
    let mut fields = line.rsplit_once(')')?.1.split_whitespace();
    if matches!(fields.next()?, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Whether a `status` text is of the first process of a pid namespace below this one.
fn is_first(status: &str) -> bool {
    let line = status.lines().find(|line| line.starts_with("NSpid:")).unwrap_or_default();
    let pids: Vec<&str> = line.split_whitespace().skip(1).collect();
    pids.len() > 1 && pids.last() == Some(&"1")
}

impl Process {
    fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Self { pid, started_ticks: started(&stat)? })
    }

    /// Whether exactly this process still runs.
    pub fn alive(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// SIGKILL, which nothing can catch. False when it was gone already.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill(&self) -> Result<bool> {
        self.signal(Signal::KILL)
    }

    /// Lets it do nothing from now on, and know nothing of it. False when it is gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn stop(&self) -> Result<bool> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on where it was stopped. False when it is gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn go_on(&self) -> Result<bool> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<bool> {
        if !self.alive() {
            return Ok(false);
        }
        let pid = Pid::from_raw(self.pid).context("no such pid")?;
        kill_process(pid, signal).with_context(|| format!("failed to signal {}", self.pid))?;
        Ok(true)
    }
}

/// The cluster's own cgroups: one tree for version 2, one of the trees for version 1.
fn roots() -> Result<Vec<PathBuf>> {
    let id = std::env::var("SIYADA_ID").context("SIYADA_ID is not set: run this through `harness exec`")?;
    ensure!(!id.is_empty(), "SIYADA_ID is empty");
    let mount = Path::new("/sys/fs/cgroup");
    let below = std::fs::read_dir(mount)?.flatten().map(|entry| entry.path());
    let mut all: Vec<PathBuf> = below.chain([mount.to_path_buf()]).map(|root| root.join(&id)).collect();
    all.retain(|root| root.is_dir());
    Ok(all)
}

fn find(directory: &Path, container: &str, depth: u8) -> Option<PathBuf> {
    let below =
        std::fs::read_dir(directory).ok()?.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
    for entry in below {
        let path = entry.path();
        if entry.file_name().to_string_lossy().contains(container) {
            return Some(path);
        }
        let deeper = if depth > 0 { find(&path, container, depth - 1) } else { None };
        if deeper.is_some() {
            return deeper;
        }
    }
    None
}

/// The first process of a container of that id (64 hexadecimal digits).
fn of_container(container: &str) -> Result<Process> {
    ensure!(container.len() == 64, "{container:?} is no container's id");
    let found = roots()?.iter().find_map(|root| find(root, container, 6));
    let directory = found.with_context(|| format!("container {container} has no cgroup"))?;
    let pids = std::fs::read_to_string(directory.join("cgroup.procs"))?;
    let first =
        |pid: &i32| is_first(&std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default());
    let pid = pids.lines().filter_map(|line| line.parse().ok()).find(first);
    let pid = pid.with_context(|| format!("container {container} has no first process"))?;
    Process::of(pid).with_context(|| format!("the process of container {container} is gone"))
}

/// The first process of the first container that runs in a pod of a namespace with these labels.
///
/// # Errors
/// When none runs.
pub async fn of_pod(server: &Server, namespace: &str, selector: &str) -> Result<Process> {
    let pods = server.list(&format!("{}?labelSelector={selector}", path::pods(namespace))).await?;
    first_of(&pods).with_context(|| format!("no container of {selector} runs in {namespace}"))
}

/// The first process of the first container that runs in these pods.
pub fn first_of(pods: &[Value]) -> Option<Process> {
    for pod in pods {
        let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
        for status in statuses.into_iter().flatten() {
            let running = status.pointer("/state/running").is_some();
            let id = status["containerID"].as_str().unwrap_or_default().trim_start_matches("containerd://");
            if let (true, Ok(process)) = (running, of_container(id)) {
                return Some(process);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_process_of_a_container_is_taken() {
        for (status, expect) in [
            ("Name:\tx\nNSpid:\t4711\t1\n", true),
            ("Name:\tx\nNSpid:\t4711\t12\n", false),
            ("Name:\tinit\nNSpid:\t1\n", false),
            ("", false),
        ] {
            assert_eq!(is_first(status), expect, "{status}");
        }
    }

    #[test]
    fn a_process_of_the_same_number_is_not_the_same() {
        let me = Process::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(me.alive());
        let other = Process { started_ticks: me.started_ticks + 1, ..me };
        assert!(!other.alive() && !other.kill().unwrap());
    }

    #[test]
    fn the_start_is_found_behind_any_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(started(&format!("42 (a) b) {rest}")), Some(4711));
        assert_eq!(started(&format!("42 (a) {}", rest.replacen('S', "Z", 1))), None);
    }
}

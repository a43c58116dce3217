//! What the processes of this cluster cost: its components in the network namespace, its pods in their cgroups.

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// Clock ticks of a second in `/proc`: 100 on every Linux that containers run on.
const TICKS: u64 = 100;

/// A process of the cluster.
#[derive(Clone, Debug)]
pub struct Process {
    /// What the kernel calls it: at most 15 characters.
    pub name: String,
    /// Its folder in `/proc`.
    folder: PathBuf,
}

impl Process {
    /// Hundredths of seconds of a processor that it used so far; zero once it is gone.
    pub fn cpu_ticks(&self) -> u64 {
        let text = fs::read_to_string(self.folder.join("stat")).unwrap_or_default();
        // The name may hold spaces; what follows its closing bracket does not.
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let number = |index: usize| fields.get(index).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
        number(11) + number(12)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        let pid = pid.and_then(Pid::from_raw).context("no pid")?;
        kill_process(pid, signal).with_context(|| format!("failed to signal {}", self.name))
    }

    /// Resident memory in MiB.
    ///
    /// # Errors
    /// When it is gone.
    pub fn resident_mib(&self) -> Result<u64> {
        let text = fs::read_to_string(self.folder.join("status"))?;
        let line = text.lines().find(|l| l.starts_with("VmRSS")).context("no VmRSS")?;
        let kib: u64 = line.split_whitespace().nth(1).context("no figure")?.parse()?;
        Ok(kib / 1024)
    }
}

/// Every process of the cluster that this one was started for.
///
/// # Errors
/// When it was not started through `harness exec` or `harness trial`.
pub fn all() -> Result<Vec<Process>> {
    let id = std::env::var("SIYADA_ID").context("SIYADA_ID is not set: run this through `harness exec`")?;
    let root = format!("/{id}/");
    let network = fs::read_link("/proc/self/ns/net")?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let folder = entry.path();
        let ours = fs::read_link(folder.join("ns/net")).is_ok_and(|link| link == network)
            || fs::read_to_string(folder.join("cgroup")).is_ok_and(|text| text.contains(&root));
        let name = fs::read_to_string(folder.join("comm")).unwrap_or_default().trim().to_owned();
        if ours && !name.is_empty() {
            found.push(Process { name, folder });
        }
    }
    Ok(found)
}

/// The one process of that name.
///
/// # Errors
/// When there is none, or there are several.
pub fn one(name: &str) -> Result<Process> {
    let mut found: Vec<Process> = all()?.into_iter().filter(|p| p.name == name).collect();
    anyhow::ensure!(found.len() == 1, "{} processes {name:?} in this cluster", found.len());
    found.pop().context("gone")
}

/// Processor time so far, by name of process, in hundredths of seconds.
///
/// # Errors
/// See [`all`].
pub fn cpu_ticks() -> Result<BTreeMap<String, u64>> {
    let mut sums = BTreeMap::new();
    for process in all()? {
        *sums.entry(process.name.clone()).or_insert(0) += process.cpu_ticks();
    }
    Ok(sums)
}

/// What was used between two readings, most first, as seconds with two decimals.
pub fn used(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> Vec<(String, String)> {
    let spent = |name: &String, now: &u64| now.saturating_sub(before.get(name).copied().unwrap_or(0));
    let mut rows: Vec<(u64, &String)> = after.iter().map(|(name, now)| (spent(name, now), name)).collect();
    rows.sort_by(|a, b| b.cmp(a));
    let shown = |ticks: u64| format!("{}.{:02}", ticks / TICKS, ticks % TICKS);
    rows.into_iter().filter(|(ticks, _)| *ticks > 0).map(|(t, name)| (name.clone(), shown(t))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_is_the_difference_and_the_largest_first() {
        let before = BTreeMap::from([("a".to_owned(), 100), ("b".to_owned(), 100), ("c".to_owned(), 7)]);
        let after = BTreeMap::from([("a".to_owned(), 150), ("b".to_owned(), 1_205), ("c".to_owned(), 7)]);
        let shown = used(&before, &after);
        let expect = [("b", "11.05"), ("a", "0.50")];
        assert_eq!(shown, expect.map(|(name, s)| (name.to_owned(), s.to_owned())));
    }
}

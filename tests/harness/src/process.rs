//! Processes we started: remembered by more than a number, ended by number only.
//!
//! A pid is used again after its process ends. So a process file holds the start time and the boot as well, and
//! nothing is trusted or killed unless all three are still the same.

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Error, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::command::wait_until;

/// One process, and no other that has had or will have its pid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The process id.
    pub pid: u32,
    /// Start time in clock ticks since boot.
    pub started_ticks: u64,
    /// The kernel's id of the boot.
    pub boot: String,
    /// Hash of the command line it was started with; tells whether it must be replaced.
    pub command: String,
}

impl Identity {
    /// The identity of a live process. `None` when it is gone or a zombie.
    pub fn of(pid: u32, command: &str) -> Option<Self> {
        let started_ticks = started_ticks(pid)?;
        Some(Self { pid, started_ticks, boot: boot(), command: command.into() })
    }

    /// Reads a process file. `None` when there is none or it is damaged: then nothing is known.
    pub fn read(path: &Path) -> Option<Self> {
        fs::read_to_string(path).ok()?.parse().ok()
    }

    /// Whether exactly this process still runs.
    pub fn alive(&self) -> bool {
        self.boot == boot() && started_ticks(self.pid) == Some(self.started_ticks)
    }

    /// Ends it without asking, as a crash would. Says whether it is gone, with every thread: until then it holds its ports.
    pub fn kill(&self) -> bool {
        if self.alive() {
            signal(self.pid, Signal::KILL);
        }
        wait_until(10, || !self.alive() && threads(self.pid) <= 1)
    }

    /// Asks it to end, and after `grace_seconds` makes it. Says whether it is gone.
    pub fn stop(&self, grace_seconds: u64) -> bool {
        if !self.alive() {
            return true;
        }
        signal(self.pid, Signal::TERM);
        if wait_until(grace_seconds, || !self.alive()) {
            return true;
        }
        signal(self.pid, Signal::KILL);
        wait_until(10, || !self.alive())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} {} {}", self.pid, self.started_ticks, self.boot, self.command)
    }
}

impl FromStr for Identity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut words = text.split_whitespace();
        let mut next = || words.next().context("a process file holds pid, start time, boot and command");
        Ok(Self {
            pid: next()?.parse()?,
            started_ticks: next()?.parse()?,
            boot: next()?.into(),
            command: next()?.into(),
        })
    }
}

/// Sends a signal to one process; one that is already gone is no error.
pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _gone = kill_process(pid, signal);
    }
}

/// How many threads a process has left; a zombie has one, what is gone none.
fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// All process ids there are.
pub fn all() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// The command line of a process; empty for one that is gone.
pub fn command_line(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

/// When a live process started; `None` for none and for zombies.
pub fn started_ticks(pid: u32) -> Option<u64> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Field 22 of a `stat` line, unless field 3 says the process is dead. The name (field 2) may hold anything, so
/// counting starts behind its last parenthesis.
fn parse_stat(line: &str) -> Option<u64> {
    let mut fields = line.rsplit_once(')')?.1.split_whitespace();
    if matches!(fields.next()?, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        let cases = [
            (format!("42 (etcd) {rest}"), Some(4711)),
            (format!("42 (a) b) c (d) {rest}"), Some(4711)),
            (format!("42 (gone) {}", rest.replacen('S', "Z", 1)), None),
            ("42 (cut) S 1 2".into(), None),
            (String::new(), None),
        ];
        for (line, expect) in cases {
            assert_eq!(parse_stat(&line), expect, "{line}");
        }
    }

    #[test]
    fn a_recycled_pid_is_not_the_same_process() {
        let me = Identity::of(std::process::id(), "c").unwrap();
        assert!(me.alive());
        assert!(!Identity { started_ticks: me.started_ticks + 1, ..me.clone() }.alive());
        assert!(!Identity { boot: "another".into(), ..me }.alive());
    }

    #[test]
    fn a_killed_process_is_gone_and_may_be_killed_again() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let identity = Identity::of(child.id(), "c").unwrap();
        assert!(identity.kill() && !identity.alive() && identity.kill());
        child.wait().unwrap();
    }

    #[test]
    fn a_process_file_reads_back_and_a_damaged_one_says_nothing() {
        let me = Identity::of(std::process::id(), "c0ffee").unwrap();
        assert_eq!(me.to_string().parse::<Identity>().unwrap(), me);
        assert!("123".parse::<Identity>().is_err());
    }
}

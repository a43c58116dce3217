//! Running other programs, and waiting for a condition with a limit.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const POLL: Duration = Duration::from_millis(200);

/// A command with its arguments.
pub fn command<I: AsRef<std::ffi::OsStr>>(
    program: impl AsRef<std::ffi::OsStr>,
    arguments: impl IntoIterator<Item = I>,
) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Runs to the end and returns standard output. Fails with what the program wrote on standard error.
pub fn output(command: &mut Command) -> Result<String> {
    command.stdin(Stdio::null());
    let done = command.output().with_context(|| format!("failed to start {}", name_of(command)))?;
    if !done.status.success() {
        bail!(
            "{} failed ({}): {}",
            line_of(command),
            done.status,
            tail(&String::from_utf8_lossy(&done.stderr), 12)
        );
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Runs with the given standard input; otherwise as [`output`].
pub fn feed(command: &mut Command, input: &str) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start {}", name_of(command)))?;
    let mut pipe = child.stdin.take().context("a piped child has a standard input")?;
    // A program may refuse before it has read everything; what it then says matters more than the broken pipe.
    let written = pipe.write_all(input.as_bytes());
    drop(pipe);
    let done = child.wait_with_output()?;
    if !done.status.success() {
        bail!(
            "{} failed ({}): {}",
            line_of(command),
            done.status,
            tail(&String::from_utf8_lossy(&done.stderr), 12)
        );
    }
    written.with_context(|| format!("failed to write to {}", name_of(command)))?;
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Whether the program ran and said yes; what it prints is dropped.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Looks until `look` says yes, at most `seconds`. The answer is whether it ever did.
pub fn wait_until(seconds: u64, mut look: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if look() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        sleep(POLL);
    }
}

/// The last lines of a text, for an error message.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// SHA-256 of a file, by coreutils: our debug builds would take seconds per hundred megabytes.
pub fn file_digest(path: &Path) -> Result<String> {
    let line = output(Command::new("sha256sum").arg("--").arg(path))?;
    let digest = line.trim_start_matches('\\').split_whitespace().next().unwrap_or_default();
    match digest.len() == 64 {
        true => Ok(digest.into()),
        false => bail!("sha256sum gave no digest for {}", path.display()),
    }
}

fn name_of(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(240) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_what_the_program_said() {
        let error =
            output(&mut command("sh", ["-c", "echo the disk is full >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("the disk is full") && error.contains('3'), "{error}");
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 5), "a");
    }

    #[test]
    fn input_reaches_the_program() {
        assert_eq!(feed(&mut command("cat", [""; 0]), "words").unwrap(), "words");
    }
}

//! What the person at the terminal reads: one line per step, with its time.

use std::io::Write;
use std::time::Instant;

/// Prints a line of progress.
pub fn say(line: impl AsRef<str>) {
    eprintln!("{}", line.as_ref());
}

/// Prints a result. A reader that went away, such as `head`, is no fault of ours.
pub fn print(text: &str) {
    let _reader_gone = std::io::stdout().write_all(text.as_bytes());
}

/// A step being timed.
pub struct Step {
    began: Instant,
}

impl Step {
    /// Starts the clock.
    pub fn begin() -> Self {
        Self { began: Instant::now() }
    }

    /// Prints what was done and how long it took.
    pub fn done(&self, what: impl AsRef<str>) {
        say(format!("  {:>6.1} s  {}", self.began.elapsed().as_secs_f64(), what.as_ref()));
    }

    /// Whole seconds since the start.
    pub fn seconds(&self) -> u64 {
        self.began.elapsed().as_secs()
    }
}

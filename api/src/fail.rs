//! Points at which a test lets the process die, as `kill -9` would. A release build has none of it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Every point, in the order in which a reservation or a release passes them.
pub const POINTS: &[&str] = &[
    "insert-orders",
    "describe-orders",
    "drop-orders",
    "write-reservations",
    "delete-reservations",
    "write-approval-requests",
    "delete-approval-requests",
    "raise-sums",
    "before-commit",
    "after-commit",
];

/// Every point, in the order in which a batch of usage passes them, and then a checkpoint.
pub const USAGE: &[&str] = &[
    "insert-usage",
    "usage-before-commit",
    "usage-after-commit",
    "checkpoint-before-commit",
    "checkpoint-after-commit",
];

/// Every point, in the order in which the closing of a month passes them.
pub const CLOSING: &[&str] =
    &["insert-statements", "closing-issued", "closing-before-commit", "closing-after-commit"];

/// Every point, in the order in which a credit note passes them.
pub const CREDIT: &[&str] = &["insert-statements", "credit-before-commit", "credit-after-commit"];

/// Every point, in the order in which the declaration of a recovery passes them; the last is after its commit.
pub const RECOVERY: &[&str] =
    &["recover-declared", "recover-spans", "recover-before-commit", "recover-after-commit"];

/// Dies here if the environment says so: `SIYADA_FAIL_AT=<name>`, or `<name>:3` for the third time it is passed.
pub fn point(name: &'static str) {
    if cfg!(debug_assertions) && is_chosen(name) {
        tracing::warn!("dying at the fail point {name}");
        // Nothing is flushed, closed or rolled back, as when the machine stops.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}

fn is_chosen(name: &str) -> bool {
    static CHOSEN: OnceLock<Option<(String, AtomicUsize)>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let text = std::env::var("SIYADA_FAIL_AT").ok()?;
        let (name, times) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), AtomicUsize::new(times.parse().ok()?)))
    });
    let Some((chosen, left)) = chosen else { return false };
    chosen == name && left.fetch_sub(1, Ordering::Relaxed) == 1
}

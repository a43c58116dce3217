//! Points at which a test lets the process die, as `kill -9` would. A release build has none of it.

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

/// Every point, in the order in which the closing of a month passes them.
pub const CLOSING: &[&str] =
    &["insert-statements", "closing-issued", "closing-before-commit", "closing-after-commit"];

/// Every point, in the order in which a credit note passes them.
pub const CREDIT: &[&str] = &["insert-statements", "credit-before-commit", "credit-after-commit"];

/// Dies here if the environment says so: `SIYADA_FAIL_AT=<name>`.
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
    static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    CHOSEN.get_or_init(|| std::env::var("SIYADA_FAIL_AT").ok()).as_deref() == Some(name)
}

//! Back-off per object; kube has none (kube-rs/kube#1916).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// First delay.
const FIRST: Duration = Duration::from_secs(1);
/// Longest delay: what was away is noticed within a minute of its return.
const LONGEST: Duration = Duration::from_secs(60);

/// Counts failures in a row by object.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: Mutex<BTreeMap<String, u32>>,
}

impl Backoff {
    /// Counts a failure; answers with how long to wait: 1 s doubling up to a minute, plus up to a quarter of chance.
    pub fn failed(&self, key: &str) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key.to_owned()).or_insert(0);
        let delay = FIRST.saturating_mul(2_u32.saturating_pow(*count)).min(LONGEST);
        *count = count.saturating_add(1);
        let spread = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX) / 4;
        delay + Duration::from_millis(rand::random_range(0..=spread))
    }

    /// Forgets every object that is not wanted any more. A key may have a word and a slash before the object's uid.
    pub fn keep_only(&self, wanted: impl Fn(&str) -> bool) {
        let uid = |key: &str| key.rsplit('/').next().unwrap_or_default().to_owned();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|key, _| wanted(&uid(key)));
    }

    /// Forgets the failures of an object that went well, or is gone.
    pub fn clear(&self, key: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_a_limit_and_start_again() {
        let backoff = Backoff::default();
        let first = backoff.failed("a");
        assert!(first >= FIRST && first <= FIRST * 5 / 4);
        assert!(backoff.failed("a") >= FIRST * 2);
        for _ in 0..40 {
            assert!(backoff.failed("a") <= LONGEST * 5 / 4);
        }
        backoff.clear("a");
        assert!(backoff.failed("a") <= FIRST * 5 / 4);
        assert!(backoff.failed("b") <= FIRST * 5 / 4);
        backoff.failed("ledger/b");
        backoff.failed("ledger/c");
        backoff.keep_only(|uid| uid == "b");
        let left: Vec<String> = backoff.failures.lock().unwrap().keys().cloned().collect();
        assert_eq!(left, ["b", "ledger/b"]);
    }
}

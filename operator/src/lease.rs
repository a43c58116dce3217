//! Who works: one replica at a time, and an epoch that fences whoever worked before.

use crate::apply;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::sync::watch::Receiver;
use tokio::task::JoinHandle;

/// Name of the lease.
const NAME: &str = "siyada-operator";
/// A leader that is not heard of for so long has lost it.
const DURATION_SECONDS: u64 = 20;
/// It renews so long before.
const GRACE_SECONDS: u64 = 8;
/// Annotation on the lease with the last epoch that was taken.
const EPOCH: &str = "siyada.cloud/epoch";
/// Tries to write it.
const MOST_TRIES: u32 = 10;

/// Why there is no leadership.
#[derive(Debug, thiserror::Error)]
pub enum Election {
    /// The lease cannot be used.
    #[error("failed to use the lease {NAME}")]
    Lease(#[from] LeaseManagerError),
    /// The lease cannot be read.
    #[error("failed to read the lease {NAME}")]
    Read(#[source] Box<kube::Error>),
    /// The epoch cannot be written.
    #[error("failed to take an epoch")]
    Write(#[from] apply::Apply),
    /// Somebody else writes the lease all the time.
    #[error("failed to take an epoch: the lease {NAME} changed {MOST_TRIES} times meanwhile")]
    Contended,
    /// The channel is closed: the process is ending.
    #[error("failed to wait for the lease: its task ended")]
    Ended,
}

/// Leadership; dropping it gives the lease back.
pub struct Leadership {
    /// The epoch: later leaders have higher ones, also when the lease itself was deleted in between.
    pub epoch: i64,
    state: Receiver<bool>,
    task: JoinHandle<Result<LeaseManager, LeaseManagerError>>,
}

/// Waits until this process leads.
///
/// # Errors
/// [`Election`].
pub async fn lead(client: &Client, namespace: &str, identity: &str) -> Result<Leadership, Election> {
    // Another name at each start: the transitions count restarts too.
    let identity = format!("{identity}-{:08x}", rand::random::<u32>());
    let manager = LeaseManagerBuilder::new(client.clone(), NAME)
        .with_namespace(namespace)
        .with_identity(identity)
        .with_duration(DURATION_SECONDS)
        .with_grace(GRACE_SECONDS)
        .build()
        .await?;
    let (mut state, task) = manager.watch().await;
    while !*state.borrow_and_update() {
        state.changed().await.map_err(|_| Election::Ended)?;
    }
    let epoch = take_epoch(&Api::namespaced(client.clone(), namespace)).await?;
    Ok(Leadership { epoch, state, task })
}

/// Takes an epoch that nobody ever had: it is written into the lease itself, guarded by the version that was read. Two
/// that take each other for no leader, as may happen around a lost write, still have different ones.
async fn take_epoch(leases: &Api<Lease>) -> Result<i64, Election> {
    for _ in 0..MOST_TRIES {
        let lease = leases.get(NAME).await.map_err(|e| Election::Read(Box::new(e)))?;
        let epoch = next_epoch(&lease);
        if apply::mark_lease(leases, &lease, EPOCH, &epoch.to_string()).await? {
            return Ok(epoch);
        }
    }
    Err(Election::Contended)
}

/// Higher than the last one; and, by the lease's own age, higher than any of a lease that was deleted and made again.
fn next_epoch(lease: &Lease) -> i64 {
    let born = lease.metadata.creation_timestamp.as_ref().map_or(0, |t| t.0.as_second());
    let transitions = lease.spec.as_ref().and_then(|s| s.lease_transitions).unwrap_or(0);
    let by_age = born.saturating_mul(100_000).saturating_add(i64::from(transitions));
    let annotations = lease.metadata.annotations.as_ref();
    let last: Option<i64> = annotations.and_then(|a| a.get(EPOCH)?.parse().ok());
    last.map_or(by_age, |last| by_age.max(last.saturating_add(1)))
}

impl Leadership {
    /// Returns when leadership is lost.
    pub async fn lost(&mut self) {
        while *self.state.borrow_and_update() {
            if self.state.changed().await.is_err() {
                return;
            }
        }
    }

    /// Gives the lease back, so that the next replica need not wait.
    pub async fn release(self) {
        let Self { state, task, .. } = self;
        drop(state);
        if let Ok(Err(error)) = task.await {
            tracing::warn!(error = %error, "the lease was not given back: the next replica waits until it expires");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lease(born: &str, transitions: i32, epoch: Option<&str>) -> Lease {
        let annotations = epoch.map(|e| json!({EPOCH: e})).unwrap_or_default();
        serde_json::from_value(json!({
            "metadata": {"creationTimestamp": born, "annotations": annotations},
            "spec": {"leaseTransitions": transitions},
        }))
        .unwrap()
    }

    #[test]
    fn an_epoch_is_higher_than_all_before_also_when_the_lease_was_deleted() {
        let (first, later) = ("2026-07-01T00:00:00Z", "2026-07-01T00:00:01Z");
        let fresh = next_epoch(&lease(first, 3, None));
        let next = next_epoch(&lease(first, 3, Some(&fresh.to_string())));
        assert!(next > fresh, "without a transition too");
        assert!(next_epoch(&lease(first, 9, Some(&fresh.to_string()))) > next);
        assert!(next_epoch(&lease(later, 0, None)) > next_epoch(&lease(first, 99_999, None)));
    }
}

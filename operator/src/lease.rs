//! Who works: one replica at a time, and an epoch that fences whoever worked before.

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

/// Why there is no leadership.
#[derive(Debug, thiserror::Error)]
pub enum Election {
    /// The lease cannot be used.
    #[error("failed to use the lease {NAME}")]
    Lease(#[from] LeaseManagerError),
    /// The lease cannot be read.
    #[error("failed to read the lease {NAME}")]
    Read(#[source] Box<kube::Error>),
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
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let lease = leases.get(NAME).await.map_err(|e| Election::Read(Box::new(e)))?;
    Ok(Leadership { epoch: epoch(&lease), state, task })
}

/// The lease's own age makes the epoch of a deleted and re-created lease higher than any before.
fn epoch(lease: &Lease) -> i64 {
    let born = lease.metadata.creation_timestamp.as_ref().map_or(0, |t| t.0.as_second());
    let transitions = lease.spec.as_ref().and_then(|s| s.lease_transitions).unwrap_or(0);
    born.saturating_mul(100_000).saturating_add(i64::from(transitions))
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

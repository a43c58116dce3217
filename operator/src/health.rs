//! Health and metrics over plain HTTP, for the kubelet and the monitoring only.

use crate::metrics::Metrics;
use axum::{Router, extract::State, http::StatusCode, routing::get};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// What the process waits for before it works. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Health {
    waiting: Arc<Mutex<BTreeSet<String>>>,
}

impl Health {
    /// Starts to wait for something.
    pub fn wait_for(&self, what: &str) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(what.to_owned());
    }

    /// It is there.
    pub fn done(&self, what: &str) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(what);
    }

    /// Everything that is waited for.
    pub fn waiting(&self) -> Vec<String> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

async fn ready(State((health, _)): State<(Health, Metrics)>) -> (StatusCode, String) {
    let waiting = health.waiting();
    if waiting.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for {}\n", waiting.join(", ")))
    }
}

async fn instances(State((_, metrics)): State<(Health, Metrics)>) -> String {
    metrics.of_instances()
}

/// Serves `/livez`, `/readyz`, `/metrics` and `/metrics/instances` until the process ends.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(address: SocketAddr, health: Health, metrics: Metrics) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    let app = Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(|State((_, metrics)): State<(Health, Metrics)>| async move { metrics.text() }))
        .route("/metrics/instances", get(instances))
        .with_state((health, metrics));
    axum::serve(listener, app).await
}

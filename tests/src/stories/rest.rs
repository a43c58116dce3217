//! At rest.

use super::{DISPOSABLE, HOME, postgres};
use crate::audit::{log_length, renewed_since, requests_since};
use crate::kubectl::Kubectl;
use crate::platform::{engine, gone, ready};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, ensure};

/// Nothing is read and nothing written while nothing changes; a change without meaning writes to no child.
pub async fn at_rest() -> Result<()> {
    let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(HOME, "ministry-it").await?);
    for name in ["idle-one", "idle-two"] {
        ministry.apply(&postgres(HOME, name, DISPOSABLE)).await?;
    }
    for name in ["idle-one", "idle-two"] {
        ready(&ministry, "pgi", HOME, name, 240).await?;
    }
    let window = std::env::var("SIYADA_REST_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(60);
    // What is under way settles first: the window begins when ten seconds brought nothing.
    let quiet = |length: u64| async move {
        let from = log_length()?;
        tokio::time::sleep(seconds(length)).await;
        let counts = requests_since(from)?;
        ensure!(counts.is_empty(), "the operator did {counts:?}");
        anyhow::Ok(())
    };
    eventually(seconds(60), "ten quiet seconds", || quiet(10)).await?;
    let from = log_length()?;
    quiet(window).await.context("at rest, in the measured window")?;
    ensure!(
        renewed_since(from)?,
        "the operator did not even renew its lease: it is dead, or the log is not read"
    );

    let order = admin.get("pgi", HOME, "idle-one").await?.context("no order")?;
    let (namespace, cluster) = engine(&order)?;
    let version = async || {
        let object = admin.get("clusters.postgresql.cnpg.io", &namespace, &cluster).await?.context("gone")?;
        anyhow::Ok(object["metadata"]["resourceVersion"].clone())
    };
    let (before, from) = (version().await?, log_length()?);
    ministry.run(&["-n", HOME, "annotate", "pgi", "idle-one", "note=nothing"]).await?;
    eventually(seconds(30), "ten quiet seconds", || quiet(10)).await?;
    let counts = requests_since(from)?;
    ensure!(
        counts.keys().all(|k| !k.contains("clusters") && !k.contains("secrets")),
        "a change without meaning did {counts:?}"
    );
    ensure!(version().await? == before, "the engine object was written");
    for name in ["idle-one", "idle-two"] {
        ministry.run(&["-n", HOME, "delete", "pgi", name, "--wait=false"]).await?;
    }
    for name in ["idle-one", "idle-two"] {
        gone("pgi", HOME, name, 180).await?;
    }
    Ok(())
}

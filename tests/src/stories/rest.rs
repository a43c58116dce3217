//! At rest.

use super::{DISPOSABLE, HOME, postgres};
use crate::kubectl::Kubectl;
use crate::platform::{engine, gone, ready, state};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

const OPERATOR: &str = "system:serviceaccount:siyada-system:siyada-operator";

fn audit_log() -> Result<PathBuf> {
    Ok(state()?.join("log/audit.log"))
}

/// The audit log after a byte of it.
fn log_since(from: u64) -> Result<String> {
    let mut log = std::fs::File::open(audit_log()?)?;
    log.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    log.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether the operator renewed its lease after a byte of the audit log: it lives, and the log shows it.
///
/// # Errors
/// When the log cannot be read.
pub fn renewed_since(from: u64) -> Result<bool> {
    let text = log_since(from)?;
    let renewed =
        |event: &Value| event["user"]["username"] == OPERATOR && event["objectRef"]["resource"] == "leases";
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).any(|event| renewed(&event)))
}

/// The operator's requests after a byte of the audit log, leases and watches aside, by verb and resource.
///
/// # Errors
/// When the log cannot be read.
pub fn requests_since(from: u64) -> Result<BTreeMap<String, usize>> {
    let text = log_since(from)?;
    let mut counts = BTreeMap::new();
    for event in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let field = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (verb, resource) = (field("/verb"), field("/objectRef/resource"));
        if field("/user/username") == OPERATOR && verb != "watch" && resource != "leases" {
            *counts.entry(format!("{verb} {resource}")).or_insert(0) += 1;
        }
    }
    Ok(counts)
}

/// How many bytes the audit log has.
///
/// # Errors
/// When it cannot be read.
pub fn log_length() -> Result<u64> {
    Ok(std::fs::metadata(audit_log()?)?.len())
}

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

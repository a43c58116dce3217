//! What the operator asked of the API server, from the server's own audit log.

use crate::platform::state;
use anyhow::Result;
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

/// The operator's requests after a byte of the audit log, leases and watches aside, by verb and resource: `patch tenants/status`.
///
/// # Errors
/// When the log cannot be read.
pub fn requests_since(from: u64) -> Result<BTreeMap<String, usize>> {
    let text = log_since(from)?;
    let mut counts = BTreeMap::new();
    for event in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let field = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (verb, resource, part) =
            (field("/verb"), field("/objectRef/resource"), field("/objectRef/subresource"));
        if field("/user/username") == OPERATOR && verb != "watch" && resource != "leases" {
            let slash = if part.is_empty() { "" } else { "/" };
            *counts.entry(format!("{verb} {resource}{slash}{part}")).or_insert(0) += 1;
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

/// The same, only what writes.
///
/// # Errors
/// When the log cannot be read.
pub fn writes_since(from: u64) -> Result<BTreeMap<String, usize>> {
    let mut counts = requests_since(from)?;
    counts.retain(|what, _| !what.starts_with("get ") && !what.starts_with("list "));
    Ok(counts)
}

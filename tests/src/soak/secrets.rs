//! No secret is ever in a log, an event or a status: every one that was ever made is looked for.

use super::server::Server;
use super::snapshot::Snapshot;
use crate::kubectl::secret_value;
use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Shorter values are found by chance.
const SHORTEST: usize = 16;
/// Lists in which people read.
const READ: [&str; 5] = [
    "/api/v1/events",
    "/apis/siyada.cloud/v1alpha1/postgresinstances",
    "/apis/siyada.cloud/v1alpha1/documentstoreinstances",
    "/apis/siyada.cloud/v1alpha1/tenants",
    "/apis/postgresql.cnpg.io/v1/clusters",
];

/// The secrets of a look: passwords, and a line of each private key.
pub fn of(look: &Snapshot) -> BTreeSet<String> {
    let secrets = look.objects.iter().filter(|o| o.kind == "Secret");
    let values = |o: &super::snapshot::Object| {
        let password = secret_value(&o.body, "password").ok();
        let key = secret_value(&o.body, "tls.key").ok().and_then(|key| key.lines().nth(1).map(str::to_owned));
        [password, key].into_iter().flatten().filter(|v| v.len() >= SHORTEST).collect::<Vec<_>>()
    };
    secrets.flat_map(values).collect()
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path(), found),
            Ok(_) => found.push(entry.path()),
            Err(_) => {}
        }
    }
}

/// Looks for every secret in every pod's log and in everything that people read.
///
/// # Errors
/// Says where one was found, never which.
pub async fn search(server: &Server, secrets: &BTreeSet<String>) -> Result<()> {
    let state = std::env::var_os("SIYADA_STATE")
        .context("SIYADA_STATE is not set: run this through `harness exec`")?;
    let mut logs = Vec::new();
    files(&PathBuf::from(state).join("log/pods"), &mut logs);
    ensure!(!logs.is_empty(), "there are no logs of pods");
    for log in logs {
        // A container that is gone takes its log along.
        let text = String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
        ensure!(
            !secrets.iter().any(|s| text.contains(s.as_str())),
            "a secret is in the log {}",
            log.display()
        );
    }
    for path in READ {
        for object in server.list(path).await? {
            let text = object.to_string();
            let name = &object["metadata"]["name"];
            ensure!(!secrets.iter().any(|s| text.contains(s.as_str())), "a secret is in {path} {name}");
        }
    }
    Ok(())
}

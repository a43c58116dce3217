//! The ceiling: `pgbench` raises one guarded sum by one statement.

use anyhow::{Context, bail};
use siyada_api::embedded::Embedded;
use std::process::Command;

/// Clients of pgbench: the server of a laptop has a hundred connections.
const MOST_CLIENTS: usize = 64;

/// Transactions a second of one guarded update, as pgbench counts them.
pub fn pgbench(embedded: &Embedded, rows: usize, callers: usize, seconds: u64) -> anyhow::Result<f64> {
    let options = embedded.connect_options("siyada");
    let script = std::env::temp_dir().join(format!("siyada-bench-{}.sql", std::process::id()));
    let text = format!(
        "\\set id random(1, {rows})\nupdate ceiling set held = held + 1 where id = :id and held + 1 <= most;\n"
    );
    std::fs::write(&script, text)?;
    let clients = callers.min(MOST_CLIENTS).to_string();
    let output = Command::new("pgbench")
        .args(["-n", "-M", "prepared", "-U", options.get_username(), "-h", options.get_host(), "-p", "5432"])
        .args(["-c", &clients, "-j", "1", "-T", &seconds.to_string()])
        .arg("-f")
        .arg(&script)
        .arg("siyada")
        .output()
        .context("failed to run pgbench; install it (Debian: postgresql-contrib)")?;
    std::fs::remove_file(&script)?;
    if !output.status.success() {
        bail!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("tps = ")).context("pgbench said no rate")?;
    let word = line.split_whitespace().nth(2).context("pgbench said no rate")?;
    Ok(word.parse()?)
}

//! Running commands on a cluster.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::binaries::{self, Binaries};
use crate::network;
use crate::place::Place;

/// Points the resolver of a mount namespace of its own at the cluster, then becomes the command. The file may be a
/// link (systemd-resolved); what it leads to is what must be covered.
const RESOLVE: &str = r#"mount --bind "$1" "$(readlink -f /etc/resolv.conf)" && shift && exec "$@""#;

/// kubectl from the host.
pub fn kubectl(place: &Place, binaries: &Binaries) -> Command {
    let mut kubectl = Command::new(binaries.path("kubectl"));
    kubectl.env("KUBECONFIG", place.kubeconfig()).arg("--request-timeout=30s");
    kubectl
}

/// A command inside the network namespace, where names of services resolve and pods can be reached.
pub fn resolving(place: &Place, binaries: &Binaries, words: &[String]) -> Command {
    let mut command = network::inside(place, "unshare");
    command.args(["--mount", "--propagation", "private", "--", "sh", "-c", RESOLVE, "sh"]);
    command.arg(place.run("resolv.conf")).args(words);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", binaries.directory().display()));
    command.env("KUBECONFIG", place.inner_kubeconfig());
    command.env("SIYADA_CLUSTER", &place.name).env("SIYADA_STATE", &place.state).env("SIYADA_ID", &place.id);
    // For what restarts a component of the cluster it is run in.
    if let Ok(harness) = std::env::current_exe() {
        command.env("SIYADA_HARNESS", harness);
    }
    for proxy in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    command
}

/// `harness exec`: becomes the command, so that its exit code and signals are its own.
pub fn inside(place: &Place, words: &[String]) -> Result<ExitCode> {
    if !network::reachable(place) {
        bail!("the cluster {:?} is not up; run `harness up{}`", place.name, place.flag());
    }
    let binaries = binaries::ensure(&place.checkout)?;
    Err(resolving(place, &binaries, words).exec()).context("failed to enter the network namespace")
}

/// `harness kubectl` and `harness helm`: the same, from the host.
pub fn tool(place: &Place, tool: &str, arguments: &[String]) -> Result<ExitCode> {
    if !place.kubeconfig().exists() {
        bail!("the cluster {:?} is not up; run `harness up{}`", place.name, place.flag());
    }
    let binaries = binaries::ensure(&place.checkout)?;
    let mut command = Command::new(binaries.path(tool));
    Err(command.env("KUBECONFIG", place.kubeconfig()).args(arguments).exec())
        .with_context(|| format!("failed to start {tool}"))
}

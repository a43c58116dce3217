//! The Debian packages everything else needs.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::output;
use crate::say::{Step, say};

/// All of them, in one place.
const PACKAGES: [&str; 24] = [
    "ca-certificates",
    "conntrack",
    "containernetworking-plugins",
    "curl",
    "gcc",
    "hledger",
    "iproute2",
    "iptables",
    // The finance guide says it, and is run as it stands there.
    "jq",
    "libc6-dev",
    "mmdebstrap",
    "nftables",
    "nodejs",
    "npm",
    "openssl",
    // Judge statements from outside in tests.
    "poppler-utils",
    "postgresql-15",
    "postgresql-client-15",
    "procps",
    "python3-venv",
    "runc",
    "socat",
    "util-linux",
    "xfsprogs",
];

/// Installs what is missing. Without root it says what to type instead.
pub fn install_missing() -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !rustix::process::geteuid().is_root() {
        bail!(
            "Debian packages are missing; run: sudo apt-get update && sudo apt-get install --no-install-recommends {list}"
        );
    }
    say(format!("installing Debian packages: {list}"));
    let step = Step::begin();
    let quiet = NoServices::begin();
    apt(&["update", "-q"]).context("failed to refresh the package lists; is a Debian mirror reachable?")?;
    apt(&[&["install", "-qy", "--no-install-recommends"], missing.as_slice()].concat())
        .with_context(|| format!("failed to install {list}"))?;
    drop(quiet);
    step.done("Debian packages");
    Ok(())
}

fn missing() -> Vec<&'static str> {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${Package} ${db:Status-Status}\n"]).args(PACKAGES);
    // dpkg-query fails when it does not know a package, yet lists the others.
    let listed =
        query.output().map(|done| String::from_utf8_lossy(&done.stdout).into_owned()).unwrap_or_default();
    absent(&listed, is_command)
}

/// Packages that are not installed. Node.js that somebody has from elsewhere does as well: its package brings npm and
/// conflicts with Debian's.
fn absent(listed: &str, is_command: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let installed = |package: &str| listed.lines().any(|line| line == format!("{package} installed"));
    let from_elsewhere =
        |package: &str| matches!(package, "nodejs" | "npm") && ["node", "npm"].into_iter().all(&is_command);
    PACKAGES.into_iter().filter(|package| !installed(package) && !from_elsewhere(package)).collect()
}

fn is_command(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| directory.join(name).is_file())
}

fn apt(arguments: &[&str]) -> Result<String> {
    output(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// While it lives, freshly installed packages start no services: we want PostgreSQL's programs, not a server.
struct NoServices(Option<&'static Path>);

impl NoServices {
    fn begin() -> Self {
        let policy = Path::new("/usr/sbin/policy-rc.d");
        if policy.exists() {
            return Self(None);
        }
        let written = fs::write(policy, "#!/bin/sh\nexit 101\n")
            .and_then(|()| fs::set_permissions(policy, std::os::unix::fs::PermissionsExt::from_mode(0o755)));
        Self(written.is_ok().then_some(policy))
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(policy) = self.0 {
            let _gone = fs::remove_file(policy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_fully_installed_counts() {
        let all: String = PACKAGES.iter().map(|package| format!("{package} installed\n")).collect();
        let none = |_: &str| false;
        assert!(absent(&all, none).is_empty());
        assert_eq!(absent(&all.replace("runc installed", "runc config-files"), none), ["runc"]);
        assert_eq!(absent("", none).len(), PACKAGES.len());
    }

    #[test]
    fn node_from_elsewhere_does_if_it_brought_npm() {
        let all: String = PACKAGES.iter().map(|package| format!("{package} installed\n")).collect();
        let other = all.replace("npm installed", "npm unknown");
        assert!(absent(&other, |_| true).is_empty());
        assert_eq!(absent(&other, |command| command == "node"), ["npm"]);
        assert_eq!(absent("", |_| true).len(), PACKAGES.len() - 2);
    }
}

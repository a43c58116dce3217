//! The object store of a cluster: SeaweedFS, S3 and IAM over TLS at the node's address, everything else on its loopback.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::command::{command, output};
use crate::network::NODE_IP;
use crate::pki;
use crate::place::{Place, key, write};
use crate::wheel::Wheel;

/// The tests' object store and nothing else: it is linked into nothing.
const PROGRAM: Wheel = Wheel {
    name: "object-store",
    requirements: include_str!("../modules/object-store/requirements.txt"),
    program: "weed",
    size: 48,
};
/// Where S3 is served.
const PORT: u16 = 9443;
/// Its parts, which speak gRPC to each other.
const PARTS: [(&str, u16); 4] = [("master", 0), ("volume", 1), ("filer", 2), ("s3", 3)];

/// The program's path, whether it was installed or not.
pub fn program() -> PathBuf {
    PROGRAM.path()
}

/// Installs the program, if it never was.
pub fn ensure() -> Result<()> {
    PROGRAM.ensure().map(drop)
}

/// Writes its configuration: one login that may do everything, made once by chance. What a site needs is in
/// `object-store.json`, for tests.
pub fn configure(place: &Place) -> Result<()> {
    let data = place.state("object-store");
    fs::create_dir_all(&data).with_context(|| format!("failed to create {}", data.display()))?;
    let file = place.state("object-store.json");
    if file.exists() {
        return Ok(());
    }
    let secret = output(&mut command("openssl", ["rand", "-hex", "20"]))?.trim().to_owned();
    let authority = fs::read_to_string(pki::file(place, "ca.crt")).context("no authority")?;
    let login = serde_json::json!({"accessKey": "SITE", "secretKey": secret});
    let identities = serde_json::json!({"identities": [
        {"name": "site", "credentials": [login], "actions": ["Admin", "Read", "List", "Tagging", "Write"]},
    ]});
    write(&place.state("object-store.identities.json"), &identities.to_string())?;
    let site = serde_json::json!({
        "endpoint": format!("https://{NODE_IP}:{PORT}"), "ca": authority, "accessKeyId": "SITE", "secretAccessKey": secret,
    });
    write(&file, &site.to_string())
}

/// The port of a part. Beside each the program listens at a socket in `/tmp` that is named by the port alone and that network
/// namespaces do not keep apart: two clusters of one machine would reach each other's, and so each has ports of its own,
/// below those that the kernel gives away.
fn grpc_port(id: &str, part: u16) -> u16 {
    let hash = key([id.as_bytes()]);
    let slot = hash.get(..4).and_then(|digits| u16::from_str_radix(digits, 16).ok()).unwrap_or(0) % 2_500;
    20_000 + slot * 4 + part
}

/// The sockets that it leaves outside of the cluster's own folders.
pub fn sockets(place: &Place) -> Vec<PathBuf> {
    let socket =
        |(name, part)| format!("/tmp/seaweedfs-{name}-grpc-{}.sock", grpc_port(&place.id, part)).into();
    PARTS.into_iter().map(socket).collect()
}

/// How it is started.
pub fn words(place: &Place) -> Vec<String> {
    let file = |name: &str| pki::file(place, name).display().to_string();
    let mut words = vec![program().display().to_string(), "server".to_owned()];
    words.extend([
        format!("-dir={}", place.state("object-store").display()),
        // Its own parts know no logins: nobody but itself reaches them.
        "-ip=127.0.0.1".to_owned(),
        "-ip.bind=127.0.0.1".to_owned(),
        "-master.port=9633".to_owned(),
        // Every bucket takes seven volumes at its first object; they grow as they are filled.
        "-master.volumeSizeLimitMB=64".to_owned(),
        "-volume.max=1000".to_owned(),
        "-volume.port=9680".to_owned(),
        "-filer.port=9688".to_owned(),
        "-s3".to_owned(),
        format!("-s3.ip.bind={NODE_IP}"),
        format!("-s3.port={PORT}"),
        format!("-s3.cert.file={}", file("object-store.crt")),
        format!("-s3.key.file={}", file("object-store.key")),
        format!("-s3.config={}", place.state("object-store.identities.json").display()),
        "-s3.iam.readOnly=false".to_owned(),
        format!("-filer.localSocket={}", place.run("store-filer.sock").display()),
        format!("-s3.localSocket={}", place.run("store-s3.sock").display()),
        // Nothing of a test is told to anybody.
        "-master.telemetry=false".to_owned(),
    ]);
    words.extend(PARTS.map(|(name, part)| format!("-{name}.port.grpc={}", grpc_port(&place.id, part))));
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn clusters_have_ports_of_their_own_below_those_of_the_kernel() {
        let ids = ["siyada-demo-7c61080c", "siyada-mend-3221b633", "siyada-ci-00000000"];
        let ports: BTreeSet<u16> =
            ids.iter().flat_map(|id| PARTS.map(|(_, part)| grpc_port(id, part))).collect();
        assert_eq!(ports.len(), ids.len() * PARTS.len(), "{ports:?}");
        assert!(ports.iter().all(|port| (20_000..30_000).contains(port)), "{ports:?}");
    }
}

//! The cluster's certificates: one local authority that nobody else trusts, and a certificate per identity.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::{command, output, succeeds};
use crate::network::NODE_IP;
use crate::place::{Place, write};

const DAYS: &str = "3650";

/// Who a certificate speaks for.
struct Identity {
    file: &'static str,
    subject: &'static str,
    /// Names it serves under besides; empty for one that only calls.
    serves: &'static str,
}

const IDENTITIES: [Identity; 8] = [
    Identity { file: "admin", subject: "/O=system:masters/CN=admin", serves: "" },
    Identity { file: "provisioner", subject: "/O=system:masters/CN=siyada-harness-provisioner", serves: "" },
    Identity { file: "controller-manager", subject: "/CN=system:kube-controller-manager", serves: "" },
    Identity { file: "scheduler", subject: "/CN=system:kube-scheduler", serves: "" },
    Identity { file: "proxy", subject: "/CN=system:kube-proxy", serves: "" },
    Identity { file: "kubelet", subject: "/O=system:nodes/CN=system:node:node1", serves: "DNS:node1" },
    Identity { file: "object-store", subject: "/CN=object-store", serves: "DNS:object-store" },
    Identity {
        file: "apiserver",
        subject: "/CN=kube-apiserver",
        serves: "IP:10.96.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc",
    },
];

/// The path of a file of the authority, for example `ca.crt` or `admin.key`.
pub fn file(place: &Place, name: &str) -> PathBuf {
    place.state("pki").join(name)
}

/// Makes what is missing. Each file appears whole or not at all, so a crash in between costs nothing.
pub fn ensure(place: &Place) -> Result<()> {
    let directory = place.state("pki");
    fs::create_dir_all(&directory).with_context(|| format!("failed to create {}", directory.display()))?;
    fs::set_permissions(&directory, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    authority(&directory)?;
    IDENTITIES.iter().try_for_each(|identity| certificate(&directory, identity))
}

fn authority(directory: &Path) -> Result<()> {
    if !directory.join("sa.pub").exists() {
        openssl(directory, &["genrsa", "-out", "sa.key", "2048"])?;
        openssl(directory, &["rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub"])?;
    }
    let request =
        ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key.new", "-out", "ca.crt.new"];
    if !directory.join("ca.crt").exists() {
        openssl(directory, &[request.as_slice(), &["-days", DAYS, "-subj", "/CN=siyada-local-ca"]].concat())?;
        complete(directory, "ca")?;
    }
    Ok(())
}

fn certificate(directory: &Path, identity: &Identity) -> Result<()> {
    let name = identity.file;
    if directory.join(format!("{name}.crt")).exists() && verified(directory, name) {
        return Ok(());
    }
    let usage = if identity.serves.is_empty() { "clientAuth" } else { "serverAuth,clientAuth" };
    let mut extensions = format!("extendedKeyUsage={usage}\n");
    if !identity.serves.is_empty() {
        extensions += &format!("subjectAltName=IP:127.0.0.1,IP:{NODE_IP},{}\n", identity.serves);
    }
    let (key, request, made) = (format!("{name}.key.new"), format!("{name}.csr"), format!("{name}.crt.new"));
    write(&directory.join(format!("{name}.ext")), &extensions)?;
    openssl(
        directory,
        &[
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            &key,
            "-out",
            &request,
            "-subj",
            identity.subject,
        ],
    )?;
    let ext = format!("{name}.ext");
    let sign = ["x509", "-req", "-in", &request, "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"];
    openssl(directory, &[sign.as_slice(), &["-out", &made, "-days", DAYS, "-extfile", &ext]].concat())?;
    complete(directory, name)
}

/// A certificate of an authority that was since replaced is as good as none.
fn verified(directory: &Path, name: &str) -> bool {
    succeeds(
        command("openssl", ["verify", "-CAfile", "ca.crt", &format!("{name}.crt")]).current_dir(directory),
    )
}

/// The key first: a certificate without its key would look complete.
fn complete(directory: &Path, name: &str) -> Result<()> {
    for end in ["key", "crt"] {
        let file = directory.join(format!("{name}.{end}"));
        fs::rename(directory.join(format!("{name}.{end}.new")), &file)
            .with_context(|| format!("failed to complete {}", file.display()))?;
    }
    Ok(())
}

fn openssl(directory: &Path, arguments: &[&str]) -> Result<()> {
    output(command("openssl", arguments).current_dir(directory)).map(drop)
}

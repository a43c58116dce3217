//! The program itself, with its private PostgreSQL: TLS, and kill -9 of both.

use crate::support::{AUDIENCE, ISSUER, OPERATOR, claims, served_address, signer, tenant, until};
use axum::routing::get;
use axum::{Json, Router};
use jsonwebtoken::jwk::JwkSet;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

fn kill(pid: u32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal);
}

fn postgres_pid(directory: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(directory.join("db/data/postmaster.pid")).ok()?;
    let pid = text.lines().next()?.parse().ok()?;
    Path::new(&format!("/proc/{pid}/exe")).read_link().ok().map(|_| pid)
}

/// A directory with certificates and a database; what runs in it ends with it.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(pid) = postgres_pid(&self.0) {
            kill(pid, Signal::KILL);
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A program that runs; it ends with the test.
struct Program {
    child: Child,
    address: String,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Place {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("siyada-api-program-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a new certificate, and returns it.
    fn certify(&self) -> String {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(self.0.join("tls.crt"), made.cert.pem()).unwrap();
        std::fs::write(self.0.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
        made.cert.pem()
    }

    async fn start(&self, keys: &str) -> Program {
        let file = |name: &str| self.0.join(name).display().to_string();
        let mut child = Command::new(env!("CARGO_BIN_EXE_siyada-api"))
            .args([
                "serve",
                "--listen=127.0.0.1:0",
                "--metrics-listen=127.0.0.1:0",
                "--embedded-unsafe-no-fsync",
            ])
            .args([format!("--tls-cert={}", file("tls.crt")), format!("--tls-key={}", file("tls.key"))])
            .args([format!("--embedded-postgres={}", file("db")), format!("--issuer={ISSUER}")])
            .args([format!("--jwks-url={keys}"), format!("--audience={AUDIENCE}")])
            .env("SIYADA_PLATFORM_OPERATOR", OPERATOR)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let address = served_address(&mut child).await;
        Program { child, address: address.replace("127.0.0.1", "localhost") }
    }
}

impl Program {
    async fn send(
        &self,
        certificate: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<u16, reqwest::Error> {
        let root = reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([root]).no_proxy().build().unwrap();
        let url = format!("https://{}{path}", self.address);
        let mut request =
            client.request(method.parse().unwrap(), url).bearer_auth(signer().sign(&claims(OPERATOR)));
        if let Some(body) = body {
            request = request.json(body);
        }
        Ok(request.send().await?.status().as_u16())
    }
    async fn ready(&self, certificate: &str) {
        until("the api is ready", 60, async || {
            self.send(certificate, "GET", "/readyz", None).await.is_ok_and(|s| s == 200)
        })
        .await;
    }
}

#[tokio::test]
async fn the_program_survives_the_death_of_itself_and_of_its_database() {
    siyada_api::install_tls_provider();
    let place = Place::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let keys = format!("http://{}/keys", listener.local_addr().unwrap());
    let set = JwkSet { keys: vec![signer().jwk()] };
    let router = Router::new().route("/keys", get(move || async move { Json(set) }));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

    let old = place.certify();
    let mut first = place.start(&keys).await;
    first.ready(&old).await;
    let record = tenant("interior", None, json!({}));
    assert_eq!(first.send(&old, "PUT", "/v1/tenants/interior", Some(&record)).await.unwrap(), 200);
    // A second one on the same data must not start.
    let rival = Command::new(env!("CARGO_BIN_EXE_siyada-api"))
        .args(["migrate", "--embedded-postgres"])
        .arg(place.0.join("db"))
        .output()
        .unwrap();
    assert!(!rival.status.success());
    assert!(String::from_utf8_lossy(&rival.stderr).contains("another siyada-api uses"), "{rival:?}");

    // The api dies: its database lives on and is taken over.
    let database = postgres_pid(&place.0).unwrap();
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let mut second = place.start(&keys).await;
    second.ready(&old).await;
    assert_eq!(postgres_pid(&place.0), Some(database));
    assert_eq!(second.send(&old, "GET", "/v1/tenants/interior", None).await.unwrap(), 200);

    // The database dies: it is started again, and nothing is lost.
    kill(database, Signal::KILL);
    until("another postgres runs", 30, async || postgres_pid(&place.0).is_some_and(|pid| pid != database))
        .await;
    second.ready(&old).await;
    assert_eq!(second.send(&old, "GET", "/v1/tenants/interior", None).await.unwrap(), 200);

    // Both die at once, which leaves a stale pid file.
    second.child.kill().unwrap();
    second.child.wait().unwrap();
    kill(postgres_pid(&place.0).unwrap(), Signal::KILL);
    let mut third = place.start(&keys).await;
    third.ready(&old).await;
    assert_eq!(third.send(&old, "GET", "/v1/tenants/interior", None).await.unwrap(), 200);

    // A renewed certificate is served without a restart, and the old one no longer.
    let new = place.certify();
    until("the new certificate is served", 20, async || {
        third.send(&new, "GET", "/healthz", None).await.is_ok()
    })
    .await;
    assert!(third.send(&old, "GET", "/healthz", None).await.is_err());

    // Told to stop, both stop in good order.
    kill(third.child.id(), Signal::TERM);
    let status = tokio::task::spawn_blocking(move || third.child.wait().unwrap()).await.unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(postgres_pid(&place.0), None);
    assert!(!place.0.join("db/data/postmaster.pid").exists());
}

#[test]
fn http_without_tls_is_for_loopback_only() {
    let output = Command::new(env!("CARGO_BIN_EXE_siyada-api"))
        .args([
            "serve",
            "--listen=0.0.0.0:0",
            "--insecure-http",
            "--issuer=i",
            "--embedded-postgres=/nonexistent/x",
        ])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("only for a loopback address"), "{output:?}");
}

#[test]
fn the_password_of_the_database_is_never_printed() {
    let output = Command::new(env!("CARGO_BIN_EXE_siyada-api"))
        .args(["migrate"])
        .env("SIYADA_DATABASE_URL", "postgres://u:hunter2@ledger.example:notaport/x")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let printed = format!("{output:?}");
    assert!(printed.contains("is not a PostgreSQL URL") && !printed.contains("hunter2"), "{printed}");
}

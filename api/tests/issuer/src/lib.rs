//! A real issuer of OpenID Connect for tests: `oidc-provider` from npm on Node.js, and a browser that signs people in.
//!
//! What npm brings is installed once into the cache of the project, by the committed lock file.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "only tests use it; the panic is the report"
)]

mod browser;

pub use browser::Browser;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

const LOCK: &str = include_str!("../package-lock.json");
const PACKAGE: &str = include_str!("../package.json");
const NEEDED: &str =
    "Node.js 18 or newer with npm: `make harness` installs it, or: apt-get install nodejs npm";
/// How long the issuer may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder with what npm brings, installed first if it never was.
fn modules() -> &'static Path {
    static MODULES: OnceLock<PathBuf> = OnceLock::new();
    MODULES.get_or_init(|| {
        let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/siyada"));
        let root = std::env::var_os("SIYADA_CACHE").map(PathBuf::from).or_else(home);
        let root = root.expect("no place for the cache; set HOME or SIYADA_CACHE");
        let name = format!("issuer-{}", &hex::encode(Sha256::digest(LOCK))[..16]);
        let done = root.join(&name);
        std::fs::create_dir_all(&root).unwrap();
        // Two test programs at once wait for each other; a crash leaves nothing half made.
        let lock = std::fs::File::create(root.join(format!("{name}.lock"))).unwrap();
        lock.lock().unwrap();
        if !done.is_dir() {
            let fresh = root.join(format!("{name}.new"));
            let _absent = std::fs::remove_dir_all(&fresh);
            std::fs::create_dir_all(&fresh).unwrap();
            install(&fresh);
            std::fs::rename(&fresh, &done).unwrap();
        }
        done
    })
}

fn install(into: &Path) {
    std::fs::write(into.join("package.json"), PACKAGE).unwrap();
    std::fs::write(into.join("package-lock.json"), LOCK).unwrap();
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(into);
    let done =
        npm.output().unwrap_or_else(|cause| panic!("failed to start npm: {cause}. The test needs {NEEDED}"));
    assert!(
        done.status.success(),
        "npm failed to install the test's issuer; is the registry reachable? {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// What an issuer is.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its name, if it says another one than its address.
    pub name: Option<String>,
    /// How many seconds its clock is ahead.
    pub clock: i64,
    /// How long its access tokens last.
    pub access_seconds: u64,
    /// The claims of each account beside its subject, by login.
    pub accounts: Value,
    /// The keys: `[{"kid", "alg"}]`; the first signs.
    pub keys: Value,
}

impl Setup {
    /// An honest issuer with one key and these accounts.
    pub fn honest(accounts: &Value) -> Self {
        let keys = json!([{"kid": "first", "alg": "RS256"}]);
        Self { name: None, clock: 0, access_seconds: 600, accounts: accounts.clone(), keys }
    }
}

/// A running issuer; it ends with this value, or with the test.
#[derive(Debug)]
pub struct Issuer {
    /// Where it is, and its name if it has no other.
    pub url: String,
    _child: Child,
    orders: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Issuer {
    /// Starts one.
    pub async fn start(setup: &Setup) -> Self {
        let modules = tokio::task::spawn_blocking(modules).await.unwrap();
        let what = json!({
            "name": setup.name, "clock": setup.clock, "accessSeconds": setup.access_seconds,
            "accounts": setup.accounts, "keys": setup.keys,
        });
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/issuer.mjs");
        let mut child = tokio::process::Command::new("node")
            .arg(program)
            .arg(modules)
            .arg(what.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|cause| panic!("failed to start node: {cause}. The test needs {NEEDED}"));
        let orders = child.stdin.take().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut issuer = Self { url: String::new(), _child: child, orders, said };
        issuer.url = issuer.answer().await;
        issuer
    }

    async fn answer(&mut self) -> String {
        let read = async {
            while let Some(line) = self.said.next_line().await.unwrap() {
                if let Some(said) = line.strip_prefix("issuer: ") {
                    return said.to_owned();
                }
            }
            panic!(
                "the issuer ended; run `node api/tests/issuer/issuer.mjs` to see why. The test needs {NEEDED}"
            );
        };
        tokio::time::timeout(PATIENCE, read).await.expect("the issuer does not answer")
    }

    /// Replaces its keys; the first signs.
    pub async fn use_keys(&mut self, keys: &Value) {
        self.orders.write_all(format!("{keys}\n").as_bytes()).await.unwrap();
        assert_eq!(self.answer().await, "done");
    }

    /// Signs `login` in by the device flow and gives the access token, for `resource` or else for the api.
    pub async fn token(&self, login: &str, resource: Option<&str>) -> String {
        let mut asked = vec![("client_id", "siyada"), ("scope", "openid")];
        asked.extend(resource.map(|resource| ("resource", resource)));
        let device = self.post("/device/auth", &asked).await;
        let page = Browser::new().visit(device["verification_uri_complete"].as_str().unwrap(), login).await;
        assert!(page.contains("Sign-in Success"), "{page}");
        let grant = "urn:ietf:params:oauth:grant-type:device_code";
        let code = device["device_code"].as_str().unwrap();
        let asked = [("client_id", "siyada"), ("grant_type", grant), ("device_code", code)];
        self.post("/token", &asked).await["access_token"].as_str().unwrap().to_owned()
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Value {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let request = client
            .post(format!("{}{path}", self.url))
            .header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(browser::encoded(form)).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }
}

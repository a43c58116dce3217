//! A ledger with something in it, two issuers with people, and the program in somebody's hands.

use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use clap::Parser;
use serde_json::{Value, json};
use siyada_api::auth::Verifier;
use siyada_api::config::{Cli, Command as Api};
use siyada_api::embedded::{Embedded, Options};
use siyada_api::openapi::examples;
use siyada_api::signing::Signer;
use siyada_api::{App, app, people, store};
use siyada_test_issuer::{Browser, Issuer, Setup};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::OnceCell;

/// The name in the ledger's certificate; it is reached at this machine all the same.
const NAME: &str = "siyada-api.siyada-system.svc";
/// More tenants than a page has.
pub const AGENCIES: usize = 505;
/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What all tests share.
pub struct World {
    /// Where the ledger is.
    pub server: String,
    /// Its certificate authority.
    pub ca: PathBuf,
    /// Its people's tokens last long enough.
    pub calm: Issuer,
    /// Its people's tokens are old as soon as they come.
    pub hasty: Issuer,
    /// The ledger takes its ID tokens: they are for the client.
    pub plain: Issuer,
    directory: PathBuf,
    _undertaker: Child,
}

/// The world, made once; a shell waits for our end, whatever it is, and clears it away.
pub async fn world() -> &'static World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    WORLD
        .get_or_init(|| async {
            // Made on a runtime that lives as long as the program: each test has one of its own that ends with it.
            let (send, receive) = tokio::sync::oneshot::channel();
            std::thread::spawn(|| {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                runtime.block_on(async {
                    let _ = send.send(make("world", AGENCIES, "2026-02").await);
                    std::future::pending::<()>().await;
                });
            });
            receive.await.unwrap()
        })
        .await
}

fn accounts() -> Value {
    json!({
        "root": {"groups": ["operators"]}, "karim": {"groups": ["auditors"]},
        "amina": {"groups": ["treasury"]}, "salma": {"groups": ["chiefs"]}, "omar": {"groups": []},
        "nadia": {"groups": ["nation"]}, "youssef": {"groups": ["certifiers"]},
        "leila": {"groups": ["certifiers", "treasury"]},
    })
}

/// A world of its own with so many agencies, in which something was used in the first days of `month`. It lasts as long as
/// the runtime that it is made on.
pub async fn make(name: &str, agencies: usize, month: &str) -> World {
    siyada_api::install_tls_provider();
    let directory = std::env::temp_dir().join(format!("siyada-client-test-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let embedded =
        Embedded::start(&directory.join("postgres"), Options { unsafe_no_fsync: true }).await.unwrap();
    let script = "read _; kill -QUIT $1; while kill -0 $1 2>/dev/null; do sleep 0.1; done; rm -rf \"$2\"";
    let undertaker = Command::new("sh")
        .args(["-c", script, "undertaker", &embedded.pid().unwrap().to_string()])
        .arg(&directory)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let setup = Setup::honest(&accounts());
    let calm = Issuer::start(&setup).await;
    let plain = Issuer::start(&setup).await;
    let hasty = Issuer::start(&Setup { access_seconds: 20, ..setup }).await;
    let database = embedded.connect_options("siyada");
    store::migrate(&database).await.unwrap();
    Box::leak(Box::new(embedded));
    let configured = directory.join("issuers.json");
    let issuers = json!([
        {"issuer": calm.url, "prefix": "a:"}, {"issuer": hasty.url, "prefix": "b:"},
        {"issuer": plain.url, "prefix": "c:", "audience": "siyada"},
    ]);
    std::fs::write(&configured, issuers.to_string()).unwrap();
    let configured = configured.to_str().unwrap();
    let line = ["siyada-api", "serve", "--issuer=https://cluster", "--insecure-http"];
    let roles =
        ["--platform-operator=a:operators", "--platform-auditor=a:auditors", "--platform-finance=a:nation"];
    let rest = ["--people-issuers", configured, "--database-url=unused"];
    let cli = Cli::parse_from([&line[..], &roles, &rest].concat());
    let Api::Serve(serve) = cli.command else { panic!("serve") };
    let verifier = Verifier::new(people::issuers(&serve.tokens).unwrap());
    let mut state = App::new(store::pool(database), verifier, serve.platform.into());
    let seal = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    state.signer = Some(Arc::new(Signer::new(&seal.serialize_der()).unwrap()));
    state.set_migrated();

    let key = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let ca = directory.join("ca.crt");
    std::fs::write(&ca, key.cert.pem()).unwrap();
    let tls = RustlsConfig::from_pem(key.cert.pem().into(), key.signing_key.serialize_pem().into());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let server = format!("https://{NAME}:{}", listener.local_addr().unwrap().port());
    let acceptor = RustlsAcceptor::new(tls.await.unwrap());
    let served = axum_server::from_tcp(listener).unwrap().acceptor(acceptor);
    tokio::spawn(served.serve(app(state).into_make_service()));
    let world = World { server, ca, calm, hasty, plain, directory, _undertaker: undertaker };
    world.fill(agencies, month).await;
    world
}

fn tenant(name: &str, parent: Option<&str>, access: &Value) -> Value {
    let mut record = json!({
        "uid": format!("uid-{name}"), "generation": 1, "access": access, "dataClassification": "Internal",
        "displayName": {"ar": "الداخلية"}, "quota": {"instances": 20}
    });
    if let Some(parent) = parent {
        record["parent"] = json!(parent);
    }
    record
}

/// An order of interior.
pub fn order(name: &str, instances: i64) -> Value {
    json!({
        "generation": 1, "tenant": "interior", "namespace": "interior", "name": name,
        "kind": "PostgresInstance", "plan": "small", "requester": "a:amina", "billing": {"costCentre": "DSI"},
        "resources": {
            "instances": instances, "cpuMilli": 1_000 * instances, "memoryBytes": (2_i64 << 30) * instances,
            "storageBytes": 10_i64 << 30
        },
        "items": [
            {"sku": "postgres-small", "quantity": instances}, {"sku": "block-storage", "quantity": 10_240}
        ]
    })
}

impl World {
    /// kingdom > interior with two held orders and two that wait, and more agencies than a page has.
    async fn fill(&self, agencies: usize, month: &str) {
        let token = self.calm.token("root", None).await;
        let put = async |path: &str, body: &Value| self.put_as(&token, path, body).await;
        put("/v1/price-lists/tarif-2026", &examples::price_list()).await;
        let access = json!([
            {"role": "finance", "groups": ["a:treasury", "b:treasury"]},
            {"role": "approver", "groups": ["a:chiefs"]},
            {"role": "certifier", "groups": ["a:certifiers"]},
        ]);
        put("/v1/tenants/kingdom", &tenant("kingdom", None, &access)).await;
        let mut interior = tenant("interior", Some("kingdom"), &json!([]));
        interior["billing"] = json!({"account": "1.2.10"});
        interior["approvalAbove"] = json!({"minor": 150_000, "currency": "MAD"});
        put("/v1/tenants/interior", &interior).await;
        for number in 0..agencies {
            let name = format!("agency-{number}");
            put(&format!("/v1/tenants/{name}"), &tenant(&name, Some("kingdom"), &json!([]))).await;
        }
        for (uid, name, instances) in
            [("u-1", "registry", 1), ("u-2", "archive", 1), ("u-3", "large", 2), ("u-4", "larger", 3)]
        {
            put(&format!("/v1/reservations/{uid}"), &order(name, instances)).await;
        }
        let day = |rest: &str| format!("{month}-{rest}");
        let fact = |level: Value, at: &str| {
            json!({
                "orderUid": "u-1", "tenant": "interior", "meter": "compute", "level": level, "at": at,
                "reason": "Ready"
            })
        };
        let level = json!({"sku": "postgres-small", "quantity": 1});
        let facts = [fact(level, &day("01T00:00:00Z")), fact(Value::Null, &day("03T02:00:00Z"))];
        let batch = json!({"collector": "c", "epoch": 1, "facts": facts});
        let reading = |reset_id: &str, at: &str, value: i64| {
            json!({
                "orderUid": "u-1", "tenant": "interior", "meter": "transactions", "windowEnd": at,
                "resetId": reset_id, "value": value
            })
        };
        let readings = [
            reading("a", &day("01T01:00:00Z"), 1_000),
            reading("a", &day("01T02:00:00Z"), 1_830),
            reading("b", &day("01T03:00:00Z"), 12),
        ];
        let counters = json!({"collector": "c", "epoch": 1, "readings": readings});
        let seen = json!({"collector": "c", "epoch": 1, "seen": [], "complete": true});
        for (path, body) in
            [("/v1/usage", batch), ("/v1/usage/counters", counters), ("/v1/usage/checkpoints", seen)]
        {
            let answer = self.http().post(format!("{}{path}", self.server)).bearer_auth(&token).json(&body);
            let answer = answer.send().await.unwrap();
            assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
        }
    }

    /// Puts something on record, as the operator does.
    pub async fn put(&self, path: &str, body: &Value) {
        self.put_as(&self.calm.token("root", None).await, path, body).await;
    }

    async fn put_as(&self, token: &str, path: &str, body: &Value) {
        let answer = self.http().put(format!("{}{path}", self.server)).bearer_auth(token).json(body);
        let answer = answer.send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert!(status == 200 || text.contains("approval-pending"), "{path}: {text}");
    }

    fn http(&self) -> reqwest::Client {
        let root = reqwest::Certificate::from_pem(&std::fs::read(&self.ca).unwrap()).unwrap();
        let builder = reqwest::Client::builder().tls_certs_only([root]).no_proxy().timeout(PATIENCE);
        builder.resolve(NAME, "127.0.0.1:0".parse().unwrap()).build().unwrap()
    }

    /// The program in the hands of `who`, with a place of its own for the session.
    pub fn person(&self, who: &'static str) -> Person<'_> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let home = self.directory.join(format!("home-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir_all(&home).unwrap();
        Person { world: self, who, home }
    }

    /// The same, signed in.
    pub async fn signed_in(&self, who: &'static str) -> Person<'_> {
        let person = self.person(who);
        person.signs_in(&self.calm, &["--device"]).await.ok();
        person
    }
}

/// Somebody at a terminal.
pub struct Person<'a> {
    world: &'a World,
    who: &'static str,
    /// Where the files are, and the session below it.
    pub home: PathBuf,
}

/// What the program printed and how it ended.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    /// The output of a success.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }
    /// The output of a success, as JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }
    /// Ended with this code and these words.
    #[track_caller]
    pub fn refused(self, code: i32, words: &str) {
        assert!(
            self.code == code && self.err.contains(words) && self.out.is_empty(),
            "{code} {words}: {self:?}"
        );
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Person<'_> {
    fn command(&self) -> tokio::process::Command {
        self.command_of(env!("CARGO_BIN_EXE_siyada"))
    }

    /// A program in their hands, which finds their session and works among their files.
    pub fn command_of(&self, program: &str) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(program);
        command
            .env_clear()
            .env("XDG_STATE_HOME", self.home.join("state"))
            .current_dir(&self.home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs a command line at a terminal, and types.
    pub async fn types(&self, line: &str, typed: &str) -> Done {
        let mut command = self.command_of("script");
        let line = format!("{} {line}", env!("CARGO_BIN_EXE_siyada"));
        command.args(["-q", "-e", "-c", &line, "/dev/null"]).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut keys = child.stdin.take().unwrap();
        keys.write_all(typed.as_bytes()).await.unwrap();
        let done = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        drop(keys);
        done.expect("the program does not end").unwrap().into()
    }

    /// Runs a command line; words that hold spaces are given apart.
    pub async fn runs(&self, line: &str, words: &[&str]) -> Done {
        let mut command = self.command();
        command.args(line.split_whitespace()).args(words);
        let done = tokio::time::timeout(PATIENCE, command.output()).await;
        done.expect("the program does not end").unwrap().into()
    }

    /// Signs in at an issuer, with `flow` for the way; the browser is this test's.
    pub async fn signs_in(&self, issuer: &Issuer, flow: &[&str]) -> Done {
        let mut command = self.command();
        command.args(["login", "--connect-to=127.0.0.1", "--server", &self.world.server, "--ca"]);
        command.arg(&self.world.ca).args(["--issuer", &issuer.url]).args(flow);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        // The last address is the one that says everything.
        let wanted = if flow.contains(&"--device") { "user_code=" } else { "code_challenge=" };
        let mut err = String::new();
        let read = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                err.push_str(&line);
                if line.contains(wanted) {
                    return line.trim().to_owned();
                }
            }
            panic!("no address: {err}");
        };
        let url = tokio::time::timeout(PATIENCE, read).await.expect("the program prints no address");
        // Browsers open connections in advance and say nothing on them.
        let back = url.split("127.0.0.1%3A").nth(1).and_then(|rest| rest.split('%').next());
        let mut silent = Vec::new();
        for port in back.into_iter().flat_map(|port| std::iter::repeat_n(port, 10)) {
            silent.push(tokio::net::TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap());
        }
        let page = Browser::new().visit(&url, self.who).await;
        err.push_str(&page);
        while let Some(line) = lines.next_line().await.unwrap() {
            err.push_str(&line);
        }
        let output = child.wait_with_output().await.unwrap();
        Done { err, ..output.into() }
    }

    /// The file of the session.
    pub fn session(&self) -> PathBuf {
        self.home.join("state/siyada/session.json")
    }

    /// A file of theirs.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.home.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

/// The permissions of a file.
pub fn mode(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions()) & 0o777
}

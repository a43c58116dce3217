//! A world for a test: the app, a fresh database, tokens, and short words for requests.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use siyada_api::access::Platform;
use siyada_api::auth::{Issuer, KeySource, Population, Verifier};
use siyada_api::embedded::{Embedded, Options};
use siyada_api::openapi::examples;
use siyada_api::{App, app, store};
use siyada_model::wire::Problem;
use sqlx::{AssertSqlSafe, ConnectOptions, PgPool};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tower::ServiceExt;

pub const ISSUER: &str = "https://kubernetes.default.svc";
pub const AUDIENCE: &str = "siyada-api";
pub const OPERATOR: &str = "system:serviceaccount:siyada-system:siyada-operator";

/// The server of this run. A shell waits for our end, whatever it is, and then stops the server and removes its files.
struct Server {
    embedded: Embedded,
    _undertaker: Child,
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| std::thread::spawn(start_server).join().unwrap())
}

fn start_server() -> Server {
    siyada_api::install_tls_provider();
    // Never dropped, so that the server is watched until the end.
    let runtime = Box::leak(Box::new(tokio::runtime::Runtime::new().unwrap()));
    let directory = std::env::temp_dir().join(format!("siyada-api-test-{}", std::process::id()));
    runtime.block_on(async {
        let embedded = Embedded::start(&directory, Options { unsafe_no_fsync: true }).await.unwrap();
        let undertaker = Command::new("sh")
            .args([
                "-c",
                "read _; kill -QUIT $1; while kill -0 $1 2>/dev/null; do sleep 0.1; done; rm -rf \"$2\"",
                "undertaker",
            ])
            .arg(embedded.pid().unwrap().to_string())
            .arg(&directory)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        store::migrate(&embedded.connect_options("siyada")).await.unwrap();
        Server { embedded, _undertaker: undertaker }
    })
}

/// A new database with the schema.
pub async fn fresh_database() -> sqlx::postgres::PgConnectOptions {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let server = server();
    let mut connection = server.embedded.connect_options("postgres").connect().await.unwrap();
    let sql = format!("create database {name} template siyada");
    sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    server.embedded.connect_options(&name)
}

/// How a program of its own reaches a database of this server.
pub fn url_of(database: &sqlx::postgres::PgConnectOptions) -> String {
    let socket = database.get_socket().map_or(database.get_host().to_owned(), |s| s.display().to_string());
    format!(
        "postgres://{}@localhost/{}?host={}&port=5432&sslmode=disable",
        database.get_username(),
        database.get_database().unwrap(),
        socket.replace('/', "%2F")
    )
}

/// An empty database without a schema.
pub async fn bare_database(name: &str) -> sqlx::postgres::PgConnectOptions {
    let server = server();
    let mut connection = server.embedded.connect_options("postgres").connect().await.unwrap();
    sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&mut connection).await.unwrap();
    server.embedded.connect_options(name)
}

/// A key that signs tokens.
pub struct Signer {
    pub id: &'static str,
    pub algorithm: Algorithm,
    pub key: EncodingKey,
}

impl Signer {
    pub fn es256(id: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Self { id, algorithm: Algorithm::ES256, key: EncodingKey::from_ec_der(&pair.serialize_der()) }
    }

    pub fn jwk(&self) -> Jwk {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.to_owned());
        jwk
    }

    pub fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

pub fn signer() -> &'static Signer {
    static SIGNER: OnceLock<Signer> = OnceLock::new();
    SIGNER.get_or_init(|| Signer::es256("cluster-1"))
}

pub fn in_seconds(seconds: i64) -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap() + seconds
}

pub fn claims(subject: &str) -> Value {
    json!({"iss": ISSUER, "aud": [AUDIENCE], "sub": subject, "exp": in_seconds(600), "iat": in_seconds(0)})
}

/// A subject of a namespace, as a service account.
pub fn account(namespace: &str) -> String {
    format!("system:serviceaccount:{namespace}:web")
}

pub fn platform() -> Platform {
    Platform {
        operator: vec![OPERATOR.to_owned()],
        finance: vec!["system:serviceaccounts:finance".to_owned()],
        auditor: vec!["system:serviceaccounts:audit".to_owned()],
        admin: vec![],
    }
}

pub struct World {
    pub app: Router,
    pub state: App,
    pub pool: PgPool,
}

/// Somebody who sends requests.
pub struct Client<'a> {
    pub world: &'a World,
    pub token: Option<String>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn read<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
    /// The body of a success.
    #[track_caller]
    pub fn ok<T: DeserializeOwned>(&self) -> T {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        self.read()
    }
    #[track_caller]
    pub fn gone(&self) {
        assert_eq!(self.status, StatusCode::NO_CONTENT, "{}", self.text());
    }
    /// The problem of a refusal.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> Problem {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        let problem: Problem = self.read();
        assert_eq!((problem.code.as_str(), problem.status), (code, status));
        assert_eq!(problem.type_, format!("urn:siyada:problem:{code}"));
        problem
    }
}

/// The same pool, which waits for a connection as long as a busy machine needs: what is tested is not its speed.
fn patient(pool: &PgPool) -> PgPool {
    let options = pool.options().clone().acquire_timeout(std::time::Duration::from_secs(60));
    options.connect_lazy_with((*pool.connect_options()).clone())
}

impl World {
    pub async fn new() -> Self {
        Self::on(store::pool(fresh_database().await))
    }

    /// A world on this database.
    pub fn on(pool: PgPool) -> Self {
        let source = KeySource::Fixed(JwkSet { keys: vec![signer().jwk()] });
        let issuer = Issuer::new(ISSUER.to_owned(), AUDIENCE.to_owned(), Population::Cluster, source);
        Self::with(pool, Verifier::new(vec![issuer]))
    }

    pub fn with(pool: PgPool, verifier: Verifier) -> Self {
        let pool = patient(&pool);
        let state = App::new(pool.clone(), verifier, platform());
        state.set_migrated();
        Self { app: app(state.clone()), state, pool }
    }

    /// A world with prices and the tenants kingdom > interior > police, and kingdom > health.
    pub async fn with_tenants() -> Self {
        Self::with_tenants_on(store::pool(fresh_database().await)).await
    }

    /// The same on this database.
    pub async fn with_tenants_on(pool: PgPool) -> Self {
        let world = Self::on(pool);
        world.set_up().await;
        world
    }

    /// Puts the prices and the tenants.
    pub async fn set_up(&self) {
        let operator = self.operator();
        operator.put("/v1/price-lists/tarif-2026", &examples::price_list()).await.ok::<Value>();
        for (name, parent) in [
            ("kingdom", None),
            ("interior", Some("kingdom")),
            ("police", Some("interior")),
            ("health", Some("kingdom")),
        ] {
            operator
                .put(&format!("/v1/tenants/{name}"), &tenant(name, parent, json!({})))
                .await
                .ok::<Value>();
        }
    }

    pub fn operator(&self) -> Client<'_> {
        self.caller(OPERATOR)
    }
    pub fn member(&self, namespace: &str) -> Client<'_> {
        self.caller(&account(namespace))
    }
    pub fn caller(&self, subject: &str) -> Client<'_> {
        Client { world: self, token: Some(signer().sign(&claims(subject))) }
    }
    pub fn anonymous(&self) -> Client<'_> {
        Client { world: self, token: None }
    }

    /// Every tenant whose sums differ from a recount, and every one over its limit in instances or money.
    pub async fn wrong_sums(&self) -> Vec<String> {
        let sql = "select t.name from tenant_quota q join tenant t on t.id = q.tenant_id
                   join quota_recount r on r.tenant_id = q.tenant_id
                   where (q.held_instances, q.held_cpu_milli, q.held_memory_bytes, q.held_storage_bytes,
                          q.held_money_minor)
                      is distinct from (r.instances, r.cpu_milli, r.memory_bytes, r.storage_bytes, r.money_minor)";
        sqlx::query_scalar(sql).fetch_all(&self.pool).await.unwrap()
    }
}

impl Client<'_> {
    pub async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = match body {
            Some(value) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(value.to_string())
            }
            None => Body::empty(),
        };
        let response = self.world.app.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec();
        Answer { status, headers, bytes }
    }
    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None).await
    }
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, Some(body)).await
    }
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, Some(body)).await
    }
    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None).await
    }
}

/// A tenant whose members are the service accounts of the namespace of the same name.
pub fn tenant(name: &str, parent: Option<&str>, quota: Value) -> Value {
    let mut record = json!({
        "uid": format!("uid-{name}"), "generation": 1, "namespaces": [name],
        "access": [{"role": "requester", "groups": [format!("system:serviceaccounts:{name}")]}],
        "quota": quota, "dataClassification": "Internal"
    });
    if let Some(parent) = parent {
        record["parent"] = json!(parent);
    }
    record
}

/// A request of one small instance with `gib` of storage: 931.25 MAD and 15.645 MAD per 10 GiB at most a month.
pub fn order(tenant: &str, name: &str, instances: i64, gib: i64) -> Value {
    json!({
        "generation": 1, "tenant": tenant, "namespace": tenant, "name": name, "kind": "PostgresInstance",
        "plan": "small", "billing": {"costCentre": "DSI"},
        "resources": {
            "instances": instances, "cpuMilli": 1_000 * instances, "memoryBytes": (2_i64 << 30) * instances,
            "storageBytes": gib << 30
        },
        "items": [
            {"sku": "postgres-small", "quantity": instances}, {"sku": "block-storage", "quantity": gib * 1_024}
        ]
    })
}

/// Prices for usage of 2024, with a change of them on 11 March.
pub async fn prices_of_2024(world: &World) {
    for (name, from, compute, storage) in [
        ("tarif-a", "2024-01-01T00:00:00Z", "1.25", "0.0021"),
        ("tarif-b", "2024-03-11T00:00:00Z", "1.40", "0.0023"),
    ] {
        let mut list = examples::price_list();
        list["prices"] = json!({"name": name, "currency": "MAD", "validFrom": from, "skus": [
            {"sku": "postgres-small", "unit": "Hour", "price": compute},
            {"sku": "block-storage", "unit": "GibHour", "price": storage}
        ]});
        world.operator().put(&format!("/v1/price-lists/{name}"), &list).await.ok::<Value>();
    }
}

/// A copy with other values.
pub fn but(value: &Value, changes: Value) -> Value {
    let mut copy = value.clone();
    for (key, change) in changes.as_object().unwrap() {
        copy[key] = change.clone();
    }
    copy
}

/// Sets the ledger's clock, which stands still from then on.
pub async fn set_clock(pool: &PgPool, at: jiff::Timestamp) {
    let sql = format!(
        "create or replace function ledger_now_ms() returns bigint language sql volatile return {}::bigint",
        at.as_millisecond()
    );
    sqlx::query(AssertSqlSafe(sql)).execute(pool).await.unwrap();
}

/// What only somebody can do who owns the database: alters rows of `table` past its triggers.
pub async fn tamper(pool: &PgPool, table: &str, sql: &str) {
    let sql =
        format!("alter table {table} disable trigger user; {sql}; alter table {table} enable trigger user");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.unwrap();
}

/// Waits until `holds`, at most `seconds`.
pub async fn until<F: Future<Output = bool>>(what: &str, seconds: u64, mut holds: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(seconds);
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "waited {seconds} s in vain until {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The address that a program says it serves on, from its log; the rest of the log is read to its end, so that the
/// program never waits for somebody to read it.
pub async fn served_address(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let (send, receive) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut seen = Vec::new();
        let found = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let address = line.split("serving on ").nth(1).and_then(|rest| rest.split(' ').next());
            let address = address.map(ToOwned::to_owned);
            seen.push(line);
            address
        });
        let _ = send.send(found.ok_or(seen));
        lines.for_each(drop);
    });
    receive.await.unwrap().unwrap_or_else(|log| panic!("the program ended: {log:#?}"))
}

//! The api as it is served: its own `serve`, TLS, tokens that are signed and checked; and a client that calls it as the
//! operator does.

use anyhow::{Context, bail, ensure};
use axum::routing::get;
use axum::{Json, Router};
use clap::Parser;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rsa::pkcs1::EncodeRsaPrivateKey;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use siyada_api::config::{Cli, Command};
use sqlx::postgres::PgConnectOptions;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const ISSUER: &str = "https://kubernetes.default.svc";
const OPERATOR: &str = "system:serviceaccount:siyada-system:siyada-operator";
const KEY_ID: &str = "bench-1";
/// As many bits as a cluster's keys have.
const KEY_BITS: usize = 2048;
/// How long the api may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// The api, served in a thread of its own with a runtime of its own until the process ends.
#[derive(Clone)]
pub struct Served {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Served {
    /// Serves on a free port of this machine and waits until the api says that it is ready.
    pub async fn start(directory: &Path, database: &PgConnectOptions) -> anyhow::Result<Self> {
        let (key, keys) = signing_key()?;
        let keys_url = serve_keys(keys).await?;
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        let (cert, private) = (directory.join("tls.crt"), directory.join("tls.key"));
        std::fs::write(&cert, made.cert.pem())?;
        std::fs::write(&private, made.signing_key.serialize_pem())?;
        let listen = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let socket = database.get_host().replace('/', "%2F");
        let user = database.get_username();
        let Command::Serve(args) = Cli::try_parse_from([
            "siyada-api".to_owned(),
            "serve".to_owned(),
            format!("--listen={listen}"),
            "--metrics-listen=127.0.0.1:0".to_owned(),
            format!("--tls-cert={}", cert.display()),
            format!("--tls-key={}", private.display()),
            format!("--issuer={ISSUER}"),
            format!("--jwks-url={keys_url}"),
            format!("--platform-operator={OPERATOR}"),
            format!("--platform-auditor={OPERATOR}"),
            format!(
                "--database-url=postgres://{user}@localhost/siyada?host={socket}&port=5432&sslmode=disable"
            ),
        ])?
        .command
        else {
            bail!("these are the arguments of serve");
        };
        let serving = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new()?;
            runtime.block_on(Box::pin(siyada_api::serve::serve(*args)))
        });
        let http = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(made.cert.pem().as_bytes())?])
            .no_proxy()
            .build()?;
        let served = Self { http, base: format!("https://localhost:{}", listen.port()), token: token(&key)? };
        let began = Instant::now();
        while !served.is_ready().await {
            if serving.is_finished() {
                let ended = serving.join().map_err(|_| anyhow::anyhow!("the api panicked"))?;
                bail!("the api ended before it was ready: {ended:?}");
            }
            ensure!(began.elapsed() < READY_WITHIN, "the api was not ready in {READY_WITHIN:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(served)
    }

    async fn is_ready(&self) -> bool {
        let answer = self.http.get(format!("{}/readyz", self.base)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Sends a body as the operator; anything but a success is an error.
    pub async fn send<T: DeserializeOwned>(
        &self,
        method: reqwest::Method,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let request = self.http.request(method, format!("{}{path}", self.base));
        let answer = request.bearer_auth(&self.token).json(body).send().await?;
        let status = answer.status();
        if !status.is_success() {
            bail!("{path}: {status} {}", answer.text().await?);
        }
        Ok(answer.json().await?)
    }
}

impl Served {
    /// Reads an answer to its end without keeping it: how many bytes it had; none when there is no such route.
    pub async fn read(&self, path: &str) -> anyhow::Result<Option<u64>> {
        let request = self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token);
        let mut answer = request.send().await?;
        let status = answer.status();
        if status == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        ensure!(status.is_success(), "{path}: {status}");
        let mut bytes = 0;
        while let Some(part) = answer.chunk().await? {
            bytes += u64::try_from(part.len())?;
        }
        Ok(Some(bytes))
    }
}

/// A key like that of a cluster, and what its issuer publishes of it.
fn signing_key() -> anyhow::Result<(EncodingKey, JwkSet)> {
    let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, KEY_BITS)?;
    let key = EncodingKey::from_rsa_der(key.to_pkcs1_der()?.as_bytes());
    let mut public = Jwk::from_encoding_key(&key, Algorithm::RS256)?;
    public.common.key_id = Some(KEY_ID.to_owned());
    Ok((key, JwkSet { keys: vec![public] }))
}

/// The operator's token, as the API server would sign it.
fn token(key: &EncodingKey) -> anyhow::Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims = json!({
        "iss": ISSUER, "aud": ["siyada-api"], "sub": OPERATOR, "iat": now, "nbf": now, "exp": now + 6 * 3_600
    });
    let header = Header { kid: Some(KEY_ID.to_owned()), ..Header::new(Algorithm::RS256) };
    jsonwebtoken::encode(&header, &claims, key).context("failed to sign a token")
}

/// Publishes the keys on a port of this machine; answers with their URL.
async fn serve_keys(keys: JwkSet) -> anyhow::Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/keys", listener.local_addr()?);
    let router = Router::new().route("/keys", get(move || async move { Json(keys) }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

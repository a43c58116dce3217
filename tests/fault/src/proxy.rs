//! The proxy itself: TLS on 127.0.0.1, one key that lets in, and every answer remembered.

use crate::plan::{Fault, Plan, Refusal, Seen};
use crate::upstream::Upstream;
use crate::write::Write;
use anyhow::{Context as _, Result, bail};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use futures::{StreamExt as _, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, BodyStream, Full, Limited, StreamBody};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use ring::rand::{SecureRandom as _, SystemRandom};
use rustix::process::{Pid, Signal, kill_process};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A request larger than this is none of an operator's: etcd takes a megabyte and a half.
const LARGEST: usize = 4 << 20;
/// A write that the server does not answer in this time has failed; the server itself gives up after a minute.
const ANSWER: Duration = Duration::from_secs(70);

type Body = UnsyncBoxBody<Bytes, anyhow::Error>;

/// A proxy that listens until it is dropped.
pub struct Proxy {
    address: SocketAddr,
    certificate: String,
    key: String,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

struct Shared {
    upstream: Upstream,
    bearer: String,
    state: Mutex<State>,
    /// Whoever serves a watch listens here; a change cuts it.
    cuts: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    plan: Option<Plan>,
    victim: Option<Pid>,
    writes: usize,
    struck: Option<Write>,
    seen: Vec<Seen>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1, with a certificate and a key to be let in by that are made for it.
    ///
    /// # Errors
    /// When the port or the certificate cannot be had.
    pub async fn start(upstream: Upstream) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        let private = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], private)?;
        let mut random = [0; 32];
        SystemRandom::new().fill(&mut random).ok().context("failed to draw a key")?;
        let key = hex::encode(random);
        let shared = Arc::new(Shared {
            upstream,
            bearer: format!("Bearer {key}"),
            state: Mutex::default(),
            cuts: watch::channel(()).0,
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listening = tokio::spawn(listen(listener, acceptor, Arc::clone(&shared)));
        Ok(Self { address, certificate: made.cert.pem(), key, shared, listening })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// What lets in: the proxy lends its login to whoever shows this, and to nobody else.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// A kubeconfig that leads here. It holds the key: whoever writes it to a file keeps that from others.
    pub fn kubeconfig(&self) -> Value {
        use_of(self.address, self.certificate(), self.key())
    }

    /// Forgets what was seen, counts from one again, and disturbs as planned whoever has this process id.
    pub fn arm(&self, plan: Option<Plan>, victim: Option<Pid>) {
        self.shared.with(|state| *state = State { plan, victim, ..State::default() });
    }

    /// The process that is killed, after a restart of it.
    pub fn aim(&self, victim: Pid) {
        self.shared.with(|state| state.victim = Some(victim));
    }

    /// Whether the planned write came.
    pub fn struck(&self) -> bool {
        self.struck_at().is_some()
    }

    /// The write that the plan happened to, once it came.
    pub fn struck_at(&self) -> Option<Write> {
        self.shared.with(|state| state.struck.clone())
    }

    /// How many writes were asked so far; one that is under way counts.
    pub fn asked(&self) -> usize {
        self.shared.with(|state| state.writes)
    }

    /// Every write since [`arm`](Self::arm) that the server answered.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.with(|state| state.seen.clone())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.shared.cuts.send_replace(());
    }
}

fn use_of(address: SocketAddr, certificate: &str, key: &str) -> Value {
    let data = BASE64_STANDARD.encode(certificate);
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
        "clusters": [{"name": "proxy", "cluster": {"server": format!("https://{address}"), "certificate-authority-data": data}}],
        "users": [{"name": "proxy", "user": {"token": key}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
    })
}

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts a write; says its number, and what is to happen to it.
    fn count(&self, write: &Write) -> (usize, Option<Fault>) {
        self.with(|state| {
            state.writes += 1;
            let fault = state.plan.filter(|plan| plan.at == state.writes).map(|plan| plan.fault);
            if fault.is_some() {
                state.struck = Some(write.clone());
            }
            (state.writes, fault)
        })
    }

    /// Kills the operator as a lost node would: nothing of it runs another line.
    fn kill(&self) -> Result<()> {
        let victim = self.with(|state| state.victim.take()).context("nobody to kill")?;
        kill_process(victim, Signal::KILL).context("failed to kill")
    }
}

async fn listen(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    // A connection that cannot be accepted is its client's to try again.
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, acceptor.clone(), Arc::clone(&shared)));
        }
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        // A task of its own: a client that dies must not stop what the server was asked, nor that it is remembered.
        async move { tokio::spawn(answer(shared, request)).await.context("failed to answer")? }
    });
    // An error here is a connection that a fault broke, or the client; both are what a proxy is for.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Answers one request. An error breaks the connection without an answer.
async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let key = parts.headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    if key != Some(shared.bearer.as_bytes()) {
        return status(401, "Unauthorized", "the key of this proxy is in its kubeconfig");
    }
    let body =
        Limited::new(body, LARGEST).collect().await.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
    match Write::of(&parts.method, parts.uri.path(), &body) {
        Some(write) => disturb(&shared, &parts, &body, write).await,
        None => read(&shared, &parts, &body).await,
    }
}

/// Passes a request on that writes nothing that counts; a watch lasts until watches are cut.
async fn read(shared: &Shared, parts: &Parts, body: &Bytes) -> Result<Response<Body>> {
    let cuts = shared.cuts.subscribe();
    let answer = shared.upstream.send(again(parts, body)).await?;
    let watches = parts
        .uri
        .query()
        .is_some_and(|query| query.split('&').any(|one| one == "watch=true" || one == "watch=1"));
    if !watches {
        return Ok(answer.map(|body| body.map_err(anyhow::Error::from).boxed_unsync()));
    }
    // What is cut ends in an error, so that the connection breaks; an end that the server wrote stays an end.
    Ok(answer.map(|body| {
        let frames = stream::try_unfold((BodyStream::new(body), cuts), async |(mut frames, mut cuts)| {
            tokio::select! {
                _ = cuts.changed() => bail!("watches are cut"),
                frame = frames.next() => Ok(frame.transpose()?.map(|frame| (frame, (frames, cuts)))),
            }
        });
        StreamBody::new(Box::pin(frames)).boxed_unsync()
    }))
}

async fn disturb(shared: &Shared, parts: &Parts, body: &Bytes, write: Write) -> Result<Response<Body>> {
    let (ordinal, fault) = shared.count(&write);
    let pass = || pass(shared, parts, body, ordinal, &write);
    match fault {
        None => pass().await,
        Some(Fault::KillBefore) => {
            shared.kill()?;
            bail!("killed before {write}")
        }
        Some(Fault::KillAfter) => {
            pass().await?;
            shared.kill()?;
            bail!("killed after {write}")
        }
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            pass().await
        }
        Some(Fault::Drop) => {
            pass().await?;
            bail!("dropped the answer to {write}")
        }
        Some(Fault::Duplicate) => {
            pass().await?;
            pass().await
        }
        Some(Fault::Answer(refusal)) => refuse(refusal, &write),
        Some(Fault::CutWatches) => {
            shared.cuts.send_replace(());
            pass().await
        }
    }
}

/// Lets the server do a write, and remembers what it answered.
async fn pass(
    shared: &Shared,
    parts: &Parts,
    body: &Bytes,
    ordinal: usize,
    write: &Write,
) -> Result<Response<Body>> {
    let asked = async {
        let (head, answer) = shared.upstream.send(again(parts, body)).await?.into_parts();
        anyhow::Ok((head, answer.collect().await?.to_bytes()))
    };
    let (head, answer) = tokio::time::timeout(ANSWER, asked).await.context("no answer in time")??;
    let object: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let uid = ["/metadata/uid", "/details/uid"].iter().find_map(|path| object.pointer(path)?.as_str());
    let mut write = write.clone();
    // The server drew this name.
    if let Some(name) =
        object.pointer("/metadata/name").and_then(Value::as_str).filter(|_| write.name.is_empty())
    {
        name.clone_into(&mut write.name);
    }
    let seen = Seen { ordinal, write, code: head.status.as_u16(), uid: uid.map(str::to_owned) };
    shared.with(|state| state.seen.push(seen));
    Ok(Response::from_parts(head, whole(answer)))
}

/// The request once more.
fn again(parts: &Parts, body: &Bytes) -> Request<Full<Bytes>> {
    Request::from_parts(parts.clone(), Full::new(body.clone()))
}

fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

fn refuse(refusal: Refusal, write: &Write) -> Result<Response<Body>> {
    let (code, reason) = refusal.code();
    let mut answer = status(code, reason, &format!("the fault proxy refused {write}"))?;
    if refusal == Refusal::TooMany {
        answer.headers_mut().insert(RETRY_AFTER, "1".parse()?);
    }
    Ok(answer)
}

/// An answer as the API server words its own.
fn status(code: u16, reason: &str, message: &str) -> Result<Response<Body>> {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    let mut answer = Response::new(whole(Bytes::from(body.to_string())));
    *answer.status_mut() = StatusCode::from_u16(code)?;
    answer.headers_mut().insert(CONTENT_TYPE, "application/json".parse()?);
    Ok(answer)
}

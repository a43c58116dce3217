//! The proxy between a client and a server, both over TLS: each fault does to the server and to the client what it says.
#![expect(
    clippy::unwrap_used,
    reason = "tests may unwrap; clippy sees that in test functions only, not in what they call"
)]

use anyhow::Result;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustix::process::Pid;
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use siyada_fault::plan::{Fault, Plan, Refusal, created, deleted};
use siyada_fault::proxy::Proxy;
use siyada_fault::upstream::{Login, Upstream};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const LIMIT: Duration = Duration::from_secs(20);
const SECRETS: &str = "/api/v1/namespaces/n/secrets";

/// What the server was asked: method, path, and the login that it was shown.
type Asked = Arc<Mutex<Vec<(String, String)>>>;

/// A server that keeps what it was asked. It stands for the API server's transport only, not for what that answers: the first
/// POST of a path is 201 and every further one is 409; a watch sends one line and stays.
async fn server() -> (Upstream, Asked) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Asked::default();
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, kept) = (acceptor.clone(), Arc::clone(&kept));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = hyper::service::service_fn(|request| answer(Arc::clone(&kept), request));
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    let login = Login::Token("of-the-operator".into());
    (Upstream::new(address, "127.0.0.1", &made.cert.pem(), login).unwrap(), asked)
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, std::convert::Infallible>;

async fn answer(kept: Asked, request: Request<Incoming>) -> Result<Response<Body>> {
    use futures::StreamExt as _;
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let login = request.headers()["authorization"].to_str()?.to_owned();
    assert_eq!(login, "Bearer of-the-operator");
    request.into_body().collect().await?;
    let before = {
        let mut kept = kept.lock().unwrap();
        kept.push((method.clone(), path.clone()));
        kept.iter().filter(|one| one.0 == method && one.1 == path).count()
    };
    if path.ends_with("/watched") {
        let line = Ok(hyper::body::Frame::data(Bytes::from("line\n")));
        let stays = futures::stream::iter([line]).chain(futures::stream::pending());
        return Ok(Response::new(http_body_util::StreamBody::new(stays).boxed_unsync()));
    }
    let body = Full::new(Bytes::from(r#"{"metadata":{"uid":"one","name":"s"}}"#)).boxed_unsync();
    let code = if method != "POST" {
        200
    } else if before == 1 {
        201
    } else {
        409
    };
    Ok(Response::builder().status(code).body(body)?)
}

/// Asks the proxy, as the operator does, on a connection of its own.
async fn ask(proxy: &Proxy, key: &str, method: Method, path: &str) -> Result<Response<Incoming>> {
    let login = Login::Token(key.to_owned());
    let client = Upstream::new(proxy.address(), "127.0.0.1", proxy.certificate(), login)?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "proxy")
        .body(Full::new(Bytes::from(r#"{"metadata":{"name":"s"}}"#)))?;
    tokio::time::timeout(LIMIT, client.send(request)).await?
}

async fn post(proxy: &Proxy) -> Result<Response<Incoming>> {
    ask(proxy, proxy.key(), Method::POST, SECRETS).await
}

fn victim() -> (Child, Pid) {
    let child = Command::new("sleep").arg("600").spawn().unwrap();
    let pid = Pid::from_child(&child);
    (child, pid)
}

/// How many requests reached the server, and what became of the operator's.
async fn with(fault: Fault) -> (usize, Result<Response<Incoming>>, Proxy, Option<i32>) {
    let (upstream, asked) = server().await;
    let proxy = Proxy::start(upstream).await.unwrap();
    let (mut child, pid) = victim();
    proxy.arm(Some(Plan { at: 1, fault }), Some(pid));
    let answer = post(&proxy).await;
    let kills = matches!(fault, Fault::KillBefore | Fault::KillAfter);
    if !kills {
        assert_eq!(child.try_wait().unwrap(), None, "{fault:?} kills nobody");
        child.kill().unwrap();
    }
    let signal = child.wait().unwrap().signal().filter(|_| kills);
    assert!(proxy.struck());
    let reached = asked.lock().unwrap().len();
    (reached, answer, proxy, signal)
}

#[tokio::test]
async fn a_kill_is_before_or_after_the_server_did_it() {
    for (fault, expect) in [(Fault::KillBefore, 0), (Fault::KillAfter, 1)] {
        let (reached, answer, proxy, signal) = with(fault).await;
        assert_eq!((reached, signal), (expect, Some(9)), "{fault:?}");
        assert!(answer.is_err(), "the operator hears nothing");
        assert_eq!(created(&proxy.seen()).values().sum::<usize>(), expect, "{fault:?}");
    }
}

#[tokio::test]
async fn a_dropped_answer_was_done_and_a_duplicate_is_heard_the_second_time() {
    let (reached, answer, proxy, _) = with(Fault::Drop).await;
    assert!(reached == 1 && answer.is_err() && proxy.seen()[0].code == 201);
    let (reached, answer, proxy, _) = with(Fault::Duplicate).await;
    assert_eq!((reached, answer.unwrap().status().as_u16()), (2, 409));
    assert_eq!(created(&proxy.seen())["secrets"], 1);
}

#[tokio::test]
async fn a_refusal_never_reaches_the_server_and_the_next_write_does() {
    for (refusal, code) in [(Refusal::Conflict, 409), (Refusal::TooMany, 429), (Refusal::Internal, 500)] {
        let (reached, answer, proxy, _) = with(Fault::Answer(refusal)).await;
        let answer = answer.unwrap();
        assert_eq!((reached, answer.status().as_u16()), (0, code));
        assert_eq!(answer.headers().contains_key("retry-after"), code == 429);
        assert_eq!(post(&proxy).await.unwrap().status(), 201);
        let gone = ask(&proxy, proxy.key(), Method::DELETE, &format!("{SECRETS}/s")).await.unwrap();
        assert_eq!((gone.status().as_u16(), deleted(&proxy.seen())["secrets"]), (200, 1));
    }
}

#[tokio::test]
async fn a_delay_is_at_least_as_long_as_planned() {
    let (begun, time) = (Instant::now(), Duration::from_millis(300));
    let (reached, answer, _, _) = with(Fault::Delay(time)).await;
    assert!(begun.elapsed() >= time && reached == 1 && answer.unwrap().status() == 201);
}

#[tokio::test]
async fn a_cut_breaks_a_watch_and_the_write_is_done() {
    let (upstream, _) = server().await;
    let proxy = Proxy::start(upstream).await.unwrap();
    proxy.arm(Some(Plan { at: 1, fault: Fault::CutWatches }), None);
    let path = "/api/v1/watched?watch=true";
    let mut watch = ask(&proxy, proxy.key(), Method::GET, path).await.unwrap().into_body();
    assert_eq!(watch.frame().await.unwrap().unwrap().into_data().unwrap(), "line\n");
    assert_eq!(post(&proxy).await.unwrap().status(), 201);
    let end = tokio::time::timeout(LIMIT, watch.frame()).await.unwrap();
    assert!(end.unwrap().is_err(), "a broken connection, not an end that the server wrote");
}

#[tokio::test]
async fn nobody_is_let_in_without_the_key() {
    let (upstream, asked) = server().await;
    let proxy = Proxy::start(upstream).await.unwrap();
    let answer = ask(&proxy, "wrong", Method::POST, SECRETS).await.unwrap();
    assert_eq!((answer.status().as_u16(), asked.lock().unwrap().len(), proxy.seen().len()), (401, 0, 0));
}

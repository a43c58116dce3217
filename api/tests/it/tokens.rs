//! Tokens: what is accepted, and how keys are fetched.

use crate::support::{AUDIENCE, ISSUER, OPERATOR, Signer, World, claims, fresh_database, in_seconds, signer};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::get;
use axum::{Json, Router};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rsa::pkcs1::EncodeRsaPrivateKey;
use serde_json::{Value, json};
use siyada_api::auth::{Issuer, KeySource, People, Population, Verifier};
use siyada_api::store;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn changed(changes: &Value) -> String {
    signer().sign(&crate::support::but(&claims(OPERATOR), changes.clone()))
}

/// Small, so that a test makes it quickly.
fn rs256(id: &'static str) -> Signer {
    let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 1024).unwrap();
    let der = key.to_pkcs1_der().unwrap();
    Signer { id, algorithm: Algorithm::RS256, key: EncodingKey::from_rsa_der(der.as_bytes()) }
}

#[tokio::test]
async fn a_token_must_be_right_in_every_way() {
    let world = World::new().await;
    let check = async |token: String, expect: u16, why: &str| {
        let client = crate::support::Client { world: &world, token: Some(token) };
        assert_eq!(client.get("/v1/whoami").await.status, expect, "{why}");
    };
    check(changed(&json!({})), 200, "as it must be").await;
    check(changed(&json!({"aud": AUDIENCE})), 200, "one audience").await;
    check(changed(&json!({"aud": ["other"]})), 401, "another audience").await;
    check(changed(&json!({"aud": null})), 401, "no audience").await;
    check(changed(&json!({"iss": "https://other"})), 401, "another issuer").await;
    check(changed(&json!({"exp": in_seconds(-120)})), 401, "expired").await;
    check(changed(&json!({"exp": null})), 401, "no expiry").await;
    check(changed(&json!({"nbf": in_seconds(120)})), 401, "not yet").await;
    check(changed(&json!({"sub": null})), 401, "no subject").await;
    check(changed(&json!({"sub": "system:admin"})), 401, "no service account").await;
    check(Signer::es256("cluster-1").sign(&claims(OPERATOR)), 401, "another key of that id").await;
    check(Signer::es256("cluster-9").sign(&claims(OPERATOR)), 401, "an unknown key").await;
    let shared = Signer { id: "cluster-1", algorithm: Algorithm::HS256, key: EncodingKey::from_secret(b"x") };
    check(shared.sign(&claims(OPERATOR)), 401, "a shared secret").await;
    let none = "eyJhbGciOiJub25lIiwia2lkIjoiY2x1c3Rlci0xIn0";
    let payload = changed(&json!({})).split('.').nth(1).unwrap().to_owned();
    check(format!("{none}.{payload}."), 401, "no signature").await;
    let head = Header {
        crit: Some(vec!["b64".to_owned()]),
        kid: Some("cluster-1".to_owned()),
        ..Header::new(Algorithm::ES256)
    };
    let critical = jsonwebtoken::encode(&head, &claims(OPERATOR), &signer().key).unwrap();
    check(critical, 401, "an extension that is not known").await;
    check("x".repeat(20_000), 401, "too long").await;
    check(String::new(), 401, "nothing").await;
}

/// An issuer that serves its keys, counts the fetches and wants a token.
#[derive(Clone)]
struct Keys {
    served: Arc<Mutex<JwkSet>>,
    fetches: Arc<AtomicU32>,
}

async fn serve(State(keys): State<Keys>, headers: HeaderMap) -> Json<JwkSet> {
    assert_eq!(headers["authorization"], "Bearer ours");
    keys.fetches.fetch_add(1, Ordering::SeqCst);
    Json(keys.served.lock().unwrap().clone())
}

#[tokio::test]
async fn keys_are_fetched_with_our_token_rarely_and_again_when_they_rotate() {
    let (first, second) = (rs256("rsa-1"), Signer::es256("ec-2"));
    let keys =
        Keys { served: Arc::new(Mutex::new(JwkSet { keys: vec![first.jwk()] })), fetches: Arc::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let router = Router::new().route("/keys", get(serve)).with_state(keys.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let token_file = std::env::temp_dir().join(format!("siyada-token-{}", std::process::id()));
    std::fs::write(&token_file, "ours\n").unwrap();

    let pool = store::pool(fresh_database().await);
    let source = KeySource::Url { client: reqwest::Client::new(), url, token_file: Some(token_file.clone()) };
    let issuer = Issuer::new(ISSUER.to_owned(), AUDIENCE.to_owned(), Population::Cluster, source);
    let world = World::with(pool, Verifier::new(vec![issuer]));
    let status = async |signer: &Signer| {
        let token = Some(signer.sign(&claims(OPERATOR)));
        crate::support::Client { world: &world, token }.get("/v1/whoami").await.status.as_u16()
    };
    assert_eq!(status(&first).await, 200);
    for _ in 0..20 {
        assert_eq!(status(&second).await, 401);
    }
    assert_eq!(keys.fetches.load(Ordering::SeqCst), 1, "unknown keys must not make us ask again at once");

    keys.served.lock().unwrap().keys.push(second.jwk());
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
    assert_eq!(status(&second).await, 200);
    assert_eq!(status(&first).await, 200);
    assert_eq!(keys.fetches.load(Ordering::SeqCst), 2);
    std::fs::remove_file(token_file).unwrap();
}

#[tokio::test]
async fn without_any_key_the_answer_is_to_try_again() {
    let pool = store::pool(fresh_database().await);
    let source = KeySource::Url {
        client: reqwest::Client::new(),
        url: "http://127.0.0.1:1/keys".to_owned(),
        token_file: None,
    };
    let issuer = Issuer::new(ISSUER.to_owned(), AUDIENCE.to_owned(), Population::Cluster, source);
    let world = World::with(pool, Verifier::new(vec![issuer]));
    world.operator().get("/v1/whoami").await.refused(503, "unavailable");
}

#[tokio::test]
async fn people_have_roles_by_their_qualified_groups() {
    let pool = store::pool(fresh_database().await);
    let issuer = |name: &str, population, key: &Signer| {
        let source = KeySource::Fixed(JwkSet { keys: vec![key.jwk()] });
        Issuer::new(name.to_owned(), AUDIENCE.to_owned(), population, source)
    };
    let people = Signer::es256("people-1");
    let verifier = Verifier::new(vec![
        issuer(ISSUER, Population::Cluster, signer()),
        issuer("https://id.example", Population::People(People::prefixed("oidc:")), &people),
    ]);
    let world = World::with(pool, verifier);
    let mut record = crate::support::tenant("interior", None, json!({}));
    record["access"] = json!([{"role": "finance", "groups": ["oidc:treasury"]}]);
    world.operator().put("/v1/tenants/interior", &record).await.ok::<Value>();
    let with = |groups: Value, key: &Signer| {
        let changes = json!({"iss": "https://id.example", "sub": "amina", "groups": groups});
        let token = Some(key.sign(&crate::support::but(&claims(""), changes)));
        crate::support::Client { world: &world, token }
    };
    assert_eq!(with(json!(["treasury"]), &people).get("/v1/tenants/interior").await.status, 200);
    assert_eq!(with(json!(["other"]), &people).get("/v1/tenants/interior").await.status, 404);
    // The keys of one issuer do not speak for another, and a name does not make an operator.
    assert_eq!(with(json!(["treasury"]), signer()).get("/v1/tenants/interior").await.status, 401);
    assert_eq!(with(json!([]), &people).get("/v1/reservations").await.status, 403);
}

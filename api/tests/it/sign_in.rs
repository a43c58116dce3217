//! People of real issuers against the program: what is accepted, and each way in which a token can be wrong.

use crate::support::{
    ISSUER, OPERATOR, Signer, World, but, claims, fresh_database, served_address, tenant, until, url_of,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use siyada_api::store;
use siyada_test_issuer::{Issuer, Setup};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long keys stay fresh here. An issuer that is away is believed for six times as long, so what takes less than
/// [`SOON`] was asked for anew, and not given up.
const FRESH: Duration = Duration::from_secs(4);
/// Seconds for a change of keys to be seen, on a busy machine.
const SOON: u64 = 16;

/// The program, with the tenants kingdom > interior > police and kingdom > health; finance of interior are the people of
/// `interior:treasury`, finance of health those of `health:treasury`.
struct Program {
    child: Child,
    base: String,
    configured: std::path::PathBuf,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.configured);
    }
}

impl Program {
    /// The program with these issuers of people; keys are fetched again after [`FRESH`].
    async fn start(issuers: &Value) -> Self {
        let database = fresh_database().await;
        let world = World::with_tenants_on(store::pool(database.clone())).await;
        for (name, parent) in [("interior", Some("kingdom")), ("health", Some("kingdom"))] {
            let finance = json!([{"role": "finance", "groups": [format!("{name}:treasury")]}]);
            let record = but(&tenant(name, parent, json!({})), json!({"generation": 2, "access": finance}));
            world.operator().put(&format!("/v1/tenants/{name}"), &record).await.ok::<Value>();
        }
        let file = format!("siyada-people-{}-{}", std::process::id(), database.get_database().unwrap());
        let configured = std::env::temp_dir().join(file);
        std::fs::write(&configured, issuers.to_string()).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_siyada-api"))
            .args(["serve", "--listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0", "--insecure-http"])
            .args([format!("--issuer={ISSUER}"), "--jwks-url=http://127.0.0.1:1/keys".to_owned()])
            .arg(format!("--keys-fresh-seconds={}", FRESH.as_secs()))
            .arg("--people-issuers")
            .arg(&configured)
            .env("SIYADA_DATABASE_URL", url_of(&database))
            .env("SIYADA_PLATFORM_OPERATOR", OPERATOR)
            .env("SIYADA_PLATFORM_FINANCE", "system:masters,system:serviceaccounts:finance")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let base = format!("http://{}", served_address(&mut child).await);
        let program = Self { child, base, configured };
        until("the program is ready", 30, async || program.get("/readyz", "").await.0 == 200).await;
        program
    }

    async fn get(&self, path: &str, token: &str) -> (u16, Value) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("{}{path}", self.base)).bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn refuses(&self, token: &str, why: &str) {
        let (status, problem) = self.get("/v1/whoami", token).await;
        assert_eq!((status, &problem["code"]), (401, &json!("unauthenticated")), "{why}");
    }
}

/// Who signs in, with the claims of each.
fn accounts() -> Value {
    json!({
        "amina": {"groups": ["treasury"]},
        "omar": {"groups": []},
        "nadia": {},
        "mallory": {"groups": ["system:masters", "system:serviceaccounts:finance", "treasury2"]},
        "system:serviceaccount:siyada-system:siyada-operator": {"groups": ["treasury"]},
    })
}

fn configured(issuer: &str, prefix: &str) -> Value {
    json!({"issuer": issuer, "prefix": prefix})
}

/// The token with another head, signed by `sign`.
fn forged(token: &str, head: &Value, sign: impl Fn(&str) -> String) -> String {
    let payload = token.split('.').nth(1).unwrap();
    let message = format!("{}.{payload}", BASE64_URL_SAFE_NO_PAD.encode(head.to_string()));
    format!("{message}.{}", sign(&message))
}

/// What an attacker makes of a good token and the public key that everybody can read.
async fn forgeries(honest: &Issuer, good: &str) -> Vec<(String, &'static str)> {
    let head = jsonwebtoken::decode_header(good).unwrap();
    let kid = head.kid.unwrap();
    let keys: Value = reqwest::get(format!("{}/jwks", honest.url)).await.unwrap().json().await.unwrap();
    let (key, modulus) = (keys["keys"][0].to_string(), keys["keys"][0]["n"].as_str().unwrap().to_owned());
    let modulus_bytes = BASE64_URL_SAFE_NO_PAD.decode(&modulus).unwrap();
    let mut all = Vec::new();
    for secret in [key.as_bytes(), modulus.as_bytes(), &modulus_bytes, b""] {
        let secret = EncodingKey::from_secret(secret);
        let sign = |m: &str| jsonwebtoken::crypto::sign(m.as_bytes(), &secret, Algorithm::HS256).unwrap();
        let head = json!({"alg": "HS256", "typ": "at+jwt", "kid": kid});
        all.push((forged(good, &head, sign), "the public key as a shared secret"));
    }
    for none in ["none", "None", "NONE", ""] {
        let head = json!({"alg": none, "typ": "at+jwt", "kid": kid});
        all.push((forged(good, &head, |_| String::new()), "no signature"));
    }
    let rest = good.rsplit_once('.').unwrap().0;
    all.push((format!("{rest}."), "the signature left out"));
    let claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(good).unwrap();
    let own = Signer::es256("first");
    let head = Header { kid: Some(kid), jwk: Some(own.jwk()), ..Header::new(Algorithm::ES256) };
    let brought = jsonwebtoken::encode(&head, &claims, &own.key).unwrap();
    all.push((brought, "a key that the token brings along"));
    let payload = BASE64_URL_SAFE_NO_PAD.encode(but(&claims, json!({"groups": ["x"]})).to_string());
    let parts: Vec<&str> = good.split('.').collect();
    all.push((format!("{}.{payload}.{}", parts[0], parts[2]), "other claims under the signature"));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_must_be_of_the_issuer_for_us_and_in_time() {
    siyada_api::install_tls_provider();
    let honest = Issuer::start(&Setup::honest(&accounts())).await;
    let program = Program::start(&json!([configured(&honest.url, "interior:")])).await;
    let good = honest.token("amina", None).await;
    let (status, who) = program.get("/v1/whoami", &good).await;
    assert_eq!((status, &who["subject"]), (200, &json!("interior:amina")), "{who}");
    assert_eq!(who["groups"], json!(["interior:treasury"]));
    assert_eq!(who["tenantRoles"], json!([{"tenant": "interior", "role": "finance"}]));

    program.refuses(&honest.token("amina", Some("urn:another:api")).await, "another audience").await;
    let stranger = Issuer::start(&Setup::honest(&accounts())).await;
    program.refuses(&stranger.token("amina", None).await, "another issuer").await;
    // Its own key under the id and the name of the honest one.
    let name = Some(honest.url.clone());
    let impostor = Issuer::start(&Setup { name: name.clone(), ..Setup::honest(&accounts()) }).await;
    program.refuses(&impostor.token("amina", None).await, "a swapped key under the same id").await;
    for (token, why) in forgeries(&honest, &good).await {
        program.refuses(&token, why).await;
    }
    assert_eq!(program.get("/v1/whoami", &good).await.0, 200, "the forgeries changed nothing");
    drop(honest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_time_is_refused() {
    siyada_api::install_tls_provider();
    // An honest issuer whose clock is an hour behind signs tokens that are over.
    let late = Issuer::start(&Setup { clock: -3_600, ..Setup::honest(&accounts()) }).await;
    let all = json!([configured(&late.url, "late:")]);
    let program = Program::start(&all).await;
    let token = late.token("amina", None).await;
    let claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(&token).unwrap();
    assert!(claims["exp"].as_i64().unwrap() < crate::support::in_seconds(-2_000), "{claims}");
    program.refuses(&token, "expired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_accepted_at_once_and_a_withdrawn_one_soon_no_more() {
    siyada_api::install_tls_provider();
    let mut issuer = Issuer::start(&Setup::honest(&accounts())).await;
    let program = Program::start(&json!([configured(&issuer.url, "interior:")])).await;
    let old = issuer.token("amina", None).await;
    assert_eq!(program.get("/v1/whoami", &old).await.0, 200);

    let key = |kid: &str, alg: &str| json!({"kid": kid, "alg": alg});
    issuer.use_keys(&json!([key("second", "ES256"), key("first", "RS256")])).await;
    let new = issuer.token("amina", None).await;
    assert_eq!(jsonwebtoken::decode_header(&new).unwrap().kid.unwrap(), "second");
    let accepted = async || program.get("/v1/whoami", &new).await.0 == 200;
    until("the new key is accepted", SOON, accepted).await;
    assert_eq!(program.get("/v1/whoami", &old).await.0, 200, "both keys are published");

    issuer.use_keys(&json!([key("second", "ES256")])).await;
    until("the withdrawn key is refused", SOON, async || program.get("/v1/whoami", &old).await.0 == 401)
        .await;
    assert_eq!(program.get("/v1/whoami", &new).await.0, 200);
    for first in [json!([key("third", "PS256")]), json!([key("fourth", "EdDSA")])] {
        issuer.use_keys(&first).await;
        let token = issuer.token("amina", None).await;
        until("every algorithm is accepted", SOON, async || program.get("/v1/whoami", &token).await.0 == 200)
            .await;
    }
    until("the second key is refused", SOON, async || program.get("/v1/whoami", &new).await.0 == 401).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_count_as_those_of_their_issuer_and_nothing_else() {
    siyada_api::install_tls_provider();
    let setup = Setup::honest(&accounts());
    let (interior, health) = tokio::join!(Issuer::start(&setup), Issuer::start(&setup));
    let all = json!([configured(&interior.url, "interior:"), configured(&health.url, "health:")]);
    let program = Program::start(&all).await;
    let sees = async |issuer: &Issuer, login: &str| {
        let token = issuer.token(login, None).await;
        let (status, page) = program.get("/v1/tenants", &token).await;
        assert_eq!(status, 200, "{login}: {page}");
        let rows = page["items"].as_array().unwrap();
        let names: Vec<_> = rows.iter().map(|row| row["tenant"].as_str().unwrap().to_owned()).collect();
        let quota = program.get("/v1/tenants/interior/quota", &token).await.0;
        (names, quota, program.get("/v1/reservations", &token).await.0)
    };
    let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(sees(&interior, "amina").await, (names(&["interior", "police"]), 200, 403));
    assert_eq!(sees(&health, "amina").await, (names(&["health"]), 404, 403), "the same group elsewhere");
    assert_eq!(sees(&interior, "omar").await, (names(&[]), 404, 403), "empty groups");
    assert_eq!(sees(&interior, "nadia").await, (names(&[]), 404, 403), "no groups");
    assert_eq!(sees(&interior, "mallory").await, (names(&[]), 404, 403), "groups of the cluster");
    let mallory = interior.token("mallory", None).await;
    let (_, who) = program.get("/v1/whoami", &mallory).await;
    assert_eq!((&who["groups"], &who["platformRoles"]), (&json!(["interior:treasury2"]), &json!([])));
    program.refuses(&interior.token(OPERATOR, None).await, "a name of the cluster").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_must_describe_itself() {
    siyada_api::install_tls_provider();
    // Asked where its keys are, this one answers for another name.
    let name = Some("https://id.example".to_owned());
    let other = Issuer::start(&Setup { name, ..Setup::honest(&accounts()) }).await;
    let all = json!([configured(&other.url, "a:"), configured("http://127.0.0.1:1", "b:")]);
    let program = Program::start(&all).await;
    for issuer in [&other.url, "http://127.0.0.1:1"] {
        let token = Signer::es256("first").sign(&but(&claims("amina"), json!({"iss": issuer})));
        let (status, problem) = program.get("/v1/whoami", &token).await;
        assert_eq!((status, &problem["code"]), (503, &json!("unavailable")), "{problem}");
    }
}

#[tokio::test]
async fn issuers_that_could_be_taken_for_each_other_stop_the_program() {
    let file = std::env::temp_dir().join(format!("siyada-people-bad-{}", std::process::id()));
    let check = async |issuers: Value, says: &str| {
        std::fs::write(&file, issuers.to_string()).unwrap();
        let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_siyada-api"));
        program
            .args(["serve", "--listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0", "--insecure-http"])
            .args(["--issuer=https://c", "--database-url=postgres://127.0.0.1:1/none", "--people-issuers"])
            .arg(&file)
            .kill_on_drop(true);
        let done = tokio::time::timeout(Duration::from_secs(30), program.output()).await;
        let done = done.unwrap_or_else(|_| panic!("the program serves although {says}")).unwrap();
        let log = String::from_utf8_lossy(&done.stderr);
        assert!(!done.status.success() && log.contains(says), "{says}: {log}");
    };
    check(json!([configured("https://a", "x:"), configured("https://b", "x:")]), "begin alike").await;
    check(json!([configured("https://a", ""), configured("https://b", "x:")]), "begin alike").await;
    check(json!([configured("https://a", "system:")]), "could make a name of the cluster").await;
    check(json!([configured("http://a.example", "a:")]), "with https").await;
    check(json!([{"issuer": "https://a"}]), "missing field `prefix`").await;
    std::fs::remove_file(&file).unwrap();
}

//! The public keys of an issuer: where they come from, how long they are believed, and which one a token may be signed by.

use anyhow::{Context, bail};
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, Header};
use reqwest::{RequestBuilder, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::{Mutex, RwLock};
use tokio::time::Instant;

/// Shortest time between two fetches of keys, so that unknown key ids cannot make us flood the issuer.
const REFETCH_AT_MOST_EVERY: Duration = Duration::from_secs(10);
/// After this, keys are fetched again, so that a withdrawn one stops being accepted.
pub const KEYS_STAY_FRESH: Duration = Duration::from_secs(600);
/// An issuer that cannot be reached is believed for this many times as long as keys stay fresh, and no longer: we would
/// not learn that a key was stolen.
const BELIEVED_UNREACHED: u32 = 6;
/// How long one fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest document that an issuer may answer.
const LARGEST_DOCUMENT: usize = 256 * 1024;
/// Where an issuer says where its keys are (OpenID Connect Discovery 1.0, section 4).
const DISCOVERY: &str = ".well-known/openid-configuration";

/// The algorithms that are accepted. None of them takes a shared secret, which a public key could be mistaken for.
const ACCEPTED: [Algorithm; 4] = [Algorithm::RS256, Algorithm::ES256, Algorithm::PS256, Algorithm::EdDSA];

/// Where the public keys of an issuer come from.
pub enum KeySource {
    /// A URL, fetched with a token of our own if there is one.
    Url {
        /// The client, which trusts the issuer's CA.
        client: reqwest::Client,
        /// The URL of the JWKS.
        url: String,
        /// A file with a bearer token, read at each fetch because it rotates.
        token_file: Option<PathBuf>,
    },
    /// Where the issuer's own description says, which must be its own.
    Discovered {
        /// The client, which trusts the issuer's CA.
        client: reqwest::Client,
        /// The issuer, exactly as in `iss`.
        issuer: String,
    },
    /// These keys, for ever.
    Fixed(JwkSet),
}

/// What of an issuer's description is needed here.
#[derive(Deserialize)]
struct Description {
    issuer: String,
    jwks_uri: String,
}

impl KeySource {
    /// Keys at this URL.
    ///
    /// # Errors
    /// When the URL is not safe or the certificate authority cannot be read.
    pub fn at(url: &str, ca: Option<&Path>, token_file: Option<PathBuf>) -> anyhow::Result<Self> {
        safe(url)?;
        Ok(Self::Url { client: client(ca)?, url: url.to_owned(), token_file })
    }

    /// Keys where the issuer says.
    ///
    /// # Errors
    /// As for [`KeySource::at`].
    pub fn discovered(issuer: &str, ca: Option<&Path>) -> anyhow::Result<Self> {
        safe(issuer)?;
        Ok(Self::Discovered { client: client(ca)?, issuer: issuer.to_owned() })
    }

    async fn fetch(&self) -> anyhow::Result<JwkSet> {
        match self {
            Self::Fixed(keys) => Ok(keys.clone()),
            Self::Url { client, url, token_file } => {
                let mut request = client.get(url);
                if let Some(path) = token_file {
                    let token = tokio::fs::read_to_string(path)
                        .await
                        .with_context(|| format!("failed to read {}", path.display()))?;
                    request = request.bearer_auth(token.trim());
                }
                read(request).await.context("failed to fetch the keys")
            }
            Self::Discovered { client, issuer } => {
                let url = format!("{}/{DISCOVERY}", issuer.trim_end_matches('/'));
                let found: Description =
                    read(client.get(&url)).await.with_context(|| format!("failed to fetch {url}"))?;
                if found.issuer != *issuer {
                    bail!("{url} is the description of another issuer, {}", found.issuer);
                }
                let keys = safe(&found.jwks_uri)?;
                read(client.get(keys)).await.with_context(|| format!("failed to fetch {}", found.jwks_uri))
            }
        }
    }
}

/// The URL, if what it answers can be believed: over TLS, or from this machine, for a test's issuer.
fn safe(url: &str) -> anyhow::Result<Url> {
    let parsed = Url::parse(url).with_context(|| format!("{url} is no URL"))?;
    let loopback = matches!(parsed.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    match parsed.scheme() {
        "https" => Ok(parsed),
        "http" if loopback => Ok(parsed),
        _ => bail!("an issuer and its keys must be at a URL with https, not {url}"),
    }
}

/// A client for keys. It follows no redirect, which could lead off TLS.
fn client(ca: Option<&Path>) -> anyhow::Result<reqwest::Client> {
    let builder = reqwest::Client::builder()
        .timeout(FETCH_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    let builder = match ca {
        Some(path) => {
            let pem = std::fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
            let roots = reqwest::Certificate::from_pem_bundle(&pem)
                .with_context(|| format!("{} holds no certificates", path.display()))?;
            builder.tls_certs_only(roots)
        }
        None => builder,
    };
    builder.build().context("failed to make a client for keys")
}

async fn read<T: DeserializeOwned>(request: RequestBuilder) -> anyhow::Result<T> {
    let mut response = request.send().await.context("failed to reach the issuer")?;
    if !response.status().is_success() {
        bail!("the issuer answered {}", response.status());
    }
    let mut bytes = Vec::new();
    while let Some(part) = response.chunk().await.context("failed to read the answer")? {
        bytes.extend_from_slice(&part);
        if bytes.len() > LARGEST_DOCUMENT {
            bail!("the answer is longer than {LARGEST_DOCUMENT} bytes");
        }
    }
    serde_json::from_slice(&bytes).context("failed to understand the answer")
}

/// Whether keys of an issuer are there at all, and the one that was asked for.
pub enum Found {
    /// This one.
    Key(Box<Jwk>),
    /// The issuer has no such key.
    NoSuchKey,
    /// The issuer could not be asked yet, or not for long.
    NotAtHand,
}

#[derive(Default)]
struct Cached {
    keys: Option<JwkSet>,
    /// When these keys came.
    fetched: Option<Instant>,
    /// When they were last asked for, with whatever result.
    tried: Option<Instant>,
}

/// The keys of an issuer, fetched at first use and kept for a while.
pub struct Keys {
    source: KeySource,
    fresh: Duration,
    cached: RwLock<Cached>,
    /// Held by the one that fetches, so that the issuer is asked once.
    fetching: Mutex<()>,
}

impl Keys {
    /// Keys that are fetched again after `fresh`.
    pub fn new(source: KeySource, fresh: Duration) -> Self {
        Self { source, fresh, cached: RwLock::default(), fetching: Mutex::default() }
    }

    /// The key that a token with this header must be signed by; `name` of the issuer is for the log.
    pub async fn find(&self, header: &Header, name: &str) -> Found {
        let (found, due) = self.look(header).await;
        if !due {
            return found;
        }
        // While somebody fetches, who has a key goes on with it: a slow issuer does not stop everybody.
        let fetching = match (self.fetching.try_lock(), &found) {
            (Ok(fetching), _) => fetching,
            (Err(_), Found::Key(_)) => return found,
            (Err(_), _) => self.fetching.lock().await,
        };
        let (found, due) = self.look(header).await;
        if !due {
            return found;
        }
        self.fetch(name).await;
        drop(fetching);
        self.look(header).await.0
    }

    /// What is known of the key, and whether it is time to ask the issuer.
    async fn look(&self, header: &Header) -> (Found, bool) {
        let cached = self.cached.read().await;
        let older = |at: Option<Instant>, than: Duration| at.is_none_or(|at| at.elapsed() >= than);
        let believed = !older(cached.fetched, self.fresh.saturating_mul(BELIEVED_UNREACHED));
        let found = match cached.keys.as_ref().filter(|_| believed) {
            None => Found::NotAtHand,
            Some(keys) => {
                key_for(keys, header).map_or(Found::NoSuchKey, |key| Found::Key(Box::new(key.clone())))
            }
        };
        let wanted = !matches!(found, Found::Key(_)) || older(cached.fetched, self.fresh);
        let due = wanted && older(cached.tried, self.fresh.min(REFETCH_AT_MOST_EVERY));
        (found, due)
    }

    async fn fetch(&self, name: &str) {
        let fetched = self.source.fetch().await;
        let now = Instant::now();
        let mut cached = self.cached.write().await;
        cached.tried = Some(now);
        match fetched {
            Ok(keys) => {
                cached.keys = Some(keys);
                cached.fetched = Some(now);
            }
            Err(cause) => {
                tracing::warn!(issuer = name, cause = format!("{cause:#}"), "failed to fetch keys");
            }
        }
    }
}

/// The key of that id; without an id, the only one that the token can be signed by.
fn key_for<'a>(keys: &'a JwkSet, header: &Header) -> Option<&'a Jwk> {
    let mut fitting = keys.keys.iter().filter(|key| {
        fits(key, header.alg) && header.kid.as_ref().is_none_or(|kid| key.common.key_id.as_ref() == Some(kid))
    });
    let first = fitting.next()?;
    (header.kid.is_some() || fitting.next().is_none()).then_some(first)
}

/// Whether signatures of this algorithm may be checked with the key.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let made_for = match (&key.algorithm, algorithm) {
        (AlgorithmParameters::RSA(_), Algorithm::RS256 | Algorithm::PS256) => true,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => key.curve == EllipticCurve::P256,
        (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDSA) => key.curve == EllipticCurve::Ed25519,
        _ => false,
    };
    let common = &key.common;
    made_for
        && common.key_algorithm.is_none_or(|named| named == KeyAlgorithm::from(algorithm))
        && common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify))
}

/// Whether tokens of this algorithm are looked at.
pub fn is_accepted(algorithm: Algorithm) -> bool {
    ACCEPTED.contains(&algorithm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn keys_come_over_tls() {
        for (url, expect) in [
            ("http://issuer.example/keys", false),
            ("ftp://127.0.0.1/keys", false),
            ("issuer.example", false),
            ("http://127.0.0.1:1/keys", true),
            ("http://[::1]:1/keys", true),
            ("https://issuer.example/keys", true),
        ] {
            assert_eq!(safe(url).is_ok(), expect, "{url}");
        }
    }

    fn header(algorithm: Algorithm, kid: Option<&str>) -> Header {
        Header { kid: kid.map(ToOwned::to_owned), ..Header::new(algorithm) }
    }

    #[test]
    fn a_key_is_used_for_what_it_was_made_for_and_nothing_else() {
        let check = |changes: Value, algorithm: Algorithm, expect: bool| {
            let mut key = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "a"});
            key.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            let keys = JwkSet { keys: vec![serde_json::from_value(key.clone()).unwrap()] };
            assert_eq!(
                key_for(&keys, &header(algorithm, Some("a"))).is_some(),
                expect,
                "{key} {algorithm:?}"
            );
        };
        let curve = |kty: &str, name: &str| json!({"kty": kty, "crv": name, "x": "AQAB", "y": "AQAB"});
        check(json!({}), Algorithm::RS256, true);
        check(json!({}), Algorithm::PS256, true);
        check(json!({}), Algorithm::ES256, false);
        check(json!({}), Algorithm::HS256, false);
        check(json!({"alg": "RS256", "use": "sig", "key_ops": ["verify"]}), Algorithm::RS256, true);
        check(json!({"alg": "RS256"}), Algorithm::PS256, false);
        check(json!({"use": "enc"}), Algorithm::RS256, false);
        check(json!({"key_ops": ["encrypt"]}), Algorithm::RS256, false);
        check(json!({"kty": "oct", "k": "AQAB"}), Algorithm::HS256, false);
        check(curve("EC", "P-256"), Algorithm::ES256, true);
        check(curve("EC", "P-384"), Algorithm::ES256, false);
        check(curve("OKP", "Ed25519"), Algorithm::EdDSA, true);
    }

    #[test]
    fn a_token_without_a_key_id_is_for_an_issuer_with_one_key() {
        let key = |id: &str| json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": id});
        let check = |keys: Value, kid: Option<&str>, expect: Option<&str>| {
            let keys: JwkSet = serde_json::from_value(json!({"keys": keys})).unwrap();
            let found = key_for(&keys, &header(Algorithm::RS256, kid));
            assert_eq!(found.and_then(|key| key.common.key_id.as_deref()), expect, "{kid:?}");
        };
        check(json!([key("a")]), None, Some("a"));
        check(json!([key("a"), key("b")]), None, None);
        check(json!([key("a"), key("b")]), Some("b"), Some("b"));
        check(json!([key("a")]), Some("b"), None);
        check(json!([]), None, None);
    }
}

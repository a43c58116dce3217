//! Who calls: bearer tokens, checked against the keys of their issuer.

use crate::error::Error;
use anyhow::Context;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::RwLock;
use tokio::time::Instant;

/// Shortest time between two fetches of keys, so that unknown key ids cannot make us flood the issuer.
const REFETCH_AT_MOST_EVERY: Duration = Duration::from_secs(10);
/// After this, keys are fetched again, so that a withdrawn one stops being accepted.
const KEYS_STAY_FRESH: Duration = Duration::from_secs(600);
/// How far clocks may differ.
const LEEWAY_SECONDS: u64 = 30;
/// Longest token that is looked at.
const LONGEST_TOKEN: usize = 16 * 1024;
/// Most groups taken from a token.
const MOST_GROUPS: usize = 500;

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The subject of the token, qualified by its issuer.
    pub subject: String,
    /// Its groups, qualified by their issuer.
    pub groups: BTreeSet<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Error::unauthenticated(NO_TOKEN))
    }
}

const NO_TOKEN: &str = "send a token as `Authorization: Bearer ...`";
const NOT_ACCEPTED: &str =
    "the token is not accepted: its issuer, audience, expiry or signature is not as it must be";

/// Whose tokens an issuer signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Population {
    /// Service accounts of the cluster: only this issuer's subjects and groups may begin with `system:`.
    Cluster,
    /// People: their subjects and groups get this prefix, so that they are never taken for the cluster's.
    People {
        /// The prefix, for example `oidc:`.
        prefix: String,
    },
}

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
    /// These keys, for ever.
    Fixed(JwkSet),
}

impl KeySource {
    async fn fetch(&self) -> anyhow::Result<JwkSet> {
        let (client, url, token_file) = match self {
            Self::Fixed(keys) => return Ok(keys.clone()),
            Self::Url { client, url, token_file } => (client, url, token_file),
        };
        let mut request = client.get(url);
        if let Some(path) = token_file {
            let token = tokio::fs::read_to_string(path)
                .await
                .with_context(|| format!("failed to read {}", path.display()))?;
            request = request.bearer_auth(token.trim());
        }
        let response = request.send().await.context("failed to reach the issuer")?;
        let response = response.error_for_status().context("the issuer refused")?;
        response.json().await.context("failed to read the issuer's keys")
    }
}

#[derive(Default)]
struct Cached {
    keys: Option<JwkSet>,
    tried: Option<Instant>,
}

/// An issuer whose tokens are accepted.
pub struct Issuer {
    /// Exactly what stands in `iss`.
    pub name: String,
    /// Exactly what must stand in `aud`.
    pub audience: String,
    /// Whose tokens it signs.
    pub population: Population,
    source: KeySource,
    cached: RwLock<Cached>,
}

impl Issuer {
    /// An issuer; its keys are fetched at first use.
    pub fn new(name: String, audience: String, population: Population, source: KeySource) -> Self {
        Self { name, audience, population, source, cached: RwLock::default() }
    }

    /// The key `id`, fetched anew when it is not known or the keys are old.
    async fn key(&self, id: &str) -> Result<Jwk, Error> {
        let found = |cached: &Cached| cached.keys.as_ref().and_then(|keys| keys.find(id)).cloned();
        let old = |cached: &Cached, after: Duration| cached.tried.is_none_or(|at| at.elapsed() >= after);
        {
            let cached = self.cached.read().await;
            match found(&cached) {
                Some(key) if !old(&cached, KEYS_STAY_FRESH) => return Ok(key),
                None if !old(&cached, REFETCH_AT_MOST_EVERY) => {
                    return Err(self.no_key(cached.keys.is_some()));
                }
                _ => {}
            }
        }
        let mut cached = self.cached.write().await;
        if old(&cached, REFETCH_AT_MOST_EVERY) {
            cached.tried = Some(Instant::now());
            match self.source.fetch().await {
                Ok(keys) => cached.keys = Some(keys),
                Err(cause) => {
                    tracing::warn!(issuer = self.name, cause = format!("{cause:#}"), "failed to fetch keys");
                }
            }
        }
        found(&cached).ok_or_else(|| self.no_key(cached.keys.is_some()))
    }

    fn no_key(&self, any: bool) -> Error {
        if any {
            Error::unauthenticated(NOT_ACCEPTED)
        } else {
            Error::unavailable(format!("the keys of issuer {} are not at hand yet; try again", self.name))
        }
    }
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    groups: Vec<String>,
}

#[derive(Deserialize)]
struct Peek {
    iss: String,
}

/// Checks tokens.
pub struct Verifier {
    issuers: Vec<Issuer>,
}

impl Verifier {
    /// Accepts the tokens of these issuers, and no others.
    pub fn new(issuers: Vec<Issuer>) -> Self {
        Self { issuers }
    }

    /// Who calls, by the `Authorization` header.
    ///
    /// # Errors
    /// Unauthenticated, with nothing that helps to guess why; unavailable while keys cannot be fetched.
    pub async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Error> {
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| Error::unauthenticated(NO_TOKEN))?;
        self.check(token).await
    }

    /// Who the token stands for.
    ///
    /// # Errors
    /// As for [`Verifier::caller`].
    pub async fn check(&self, token: &str) -> Result<Caller, Error> {
        let refused = || Error::unauthenticated(NOT_ACCEPTED);
        if token.len() > LONGEST_TOKEN {
            return Err(refused());
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| refused())?;
        // An allow-list: the key's family must match as well, which `decode` checks.
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) {
            return Err(refused());
        }
        let peek: Peek = jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(|_| refused())?;
        let issuer = self.issuers.iter().find(|i| i.name == peek.iss).ok_or_else(refused)?;
        let key = issuer.key(header.kid.as_deref().ok_or_else(refused)?).await?;
        let key = DecodingKey::from_jwk(&key).map_err(|_| refused())?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&issuer.name]);
        validation.set_audience(&[&issuer.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation).map_err(|_| refused())?.claims;
        qualified(&issuer.population, claims).ok_or_else(refused)
    }
}

/// The caller that `claims` stand for, or nothing when they claim what this issuer cannot give.
fn qualified(population: &Population, claims: Claims) -> Option<Caller> {
    match population {
        Population::Cluster => {
            let (namespace, name) = claims.sub.strip_prefix("system:serviceaccount:")?.split_once(':')?;
            if namespace.is_empty() || name.is_empty() || name.contains(':') {
                return None;
            }
            let groups = BTreeSet::from([
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
            ]);
            Some(Caller { subject: claims.sub, groups })
        }
        Population::People { prefix } => {
            let qualify = |name: &String| format!("{prefix}{name}");
            let own = |name: &String| !name.is_empty() && !qualify(name).starts_with("system:");
            if !own(&claims.sub) {
                return None;
            }
            let groups = claims.groups.iter().filter(|g| own(g)).take(MOST_GROUPS).map(qualify).collect();
            Some(Caller { subject: qualify(&claims.sub), groups })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(sub: &str, groups: &[&str]) -> Claims {
        Claims { sub: sub.to_owned(), groups: groups.iter().map(|g| (*g).to_owned()).collect() }
    }

    #[test]
    fn a_service_account_has_the_groups_of_its_namespace_and_no_others() {
        let caller = qualified(
            &Population::Cluster,
            claims("system:serviceaccount:interior-apps:web", &["system:masters"]),
        )
        .unwrap();
        assert_eq!(caller.subject, "system:serviceaccount:interior-apps:web");
        let groups: Vec<_> = caller.groups.into_iter().collect();
        assert_eq!(groups, ["system:serviceaccounts", "system:serviceaccounts:interior-apps"]);
    }

    #[test]
    fn what_is_no_service_account_is_nobody_of_the_cluster() {
        for sub in [
            "",
            "amina",
            "system:serviceaccount:",
            "system:serviceaccount:ns:",
            "system:serviceaccount:a:b:c",
        ] {
            assert_eq!(qualified(&Population::Cluster, claims(sub, &[])), None, "{sub}");
        }
    }

    #[test]
    fn people_are_never_taken_for_the_cluster() {
        let check = |prefix: &str, sub: &str, groups: &[&str], expect: Option<(&str, Vec<&str>)>| {
            let found = qualified(&Population::People { prefix: prefix.to_owned() }, claims(sub, groups));
            let expect = expect.map(|(subject, groups)| Caller {
                subject: subject.to_owned(),
                groups: groups.into_iter().map(ToOwned::to_owned).collect(),
            });
            assert_eq!(found, expect, "{prefix} {sub}");
        };
        check("oidc:", "amina", &["treasury"], Some(("oidc:amina", vec!["oidc:treasury"])));
        check("", "system:serviceaccount:a:b", &[], None);
        check("", "amina", &["system:masters", "x"], Some(("amina", vec!["x"])));
        check("oidc:", "system:admin", &[], Some(("oidc:system:admin", vec![])));
    }
}

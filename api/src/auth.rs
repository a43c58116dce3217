//! Who calls: bearer tokens, checked against the keys of their issuer.

use crate::error::Error;
use crate::keys::{Found, KEYS_STAY_FRESH, Keys, is_accepted};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use jsonwebtoken::{DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::time::Duration;

pub use crate::keys::KeySource;

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
    /// People: their subjects and groups get a prefix, so that they are never taken for the cluster's.
    People(People),
}

/// How the people of an issuer are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct People {
    /// What their subjects and groups get in front, for example `oidc:`.
    pub prefix: String,
    /// The claim that says who somebody is, usually `sub`.
    pub subject_claim: String,
    /// The claim with his groups: its name, or a JSON pointer such as `/realm_access/roles`.
    pub groups_claim: String,
}

impl People {
    /// People with this prefix, by the usual claims.
    pub fn prefixed(prefix: &str) -> Self {
        let [prefix, subject_claim, groups_claim] = [prefix, "sub", "groups"].map(ToOwned::to_owned);
        Self { prefix, subject_claim, groups_claim }
    }
}

/// An issuer whose tokens are accepted.
pub struct Issuer {
    /// Exactly what stands in `iss`.
    pub name: String,
    /// Exactly what must stand in `aud`.
    pub audience: String,
    /// Whose tokens it signs.
    pub population: Population,
    keys: Keys,
}

impl Issuer {
    /// An issuer; its keys are fetched at first use.
    pub fn new(name: String, audience: String, population: Population, source: KeySource) -> Self {
        Self::with_fresh(name, audience, population, source, KEYS_STAY_FRESH)
    }

    /// The same with another time after which its keys are fetched again.
    pub fn with_fresh(
        name: String,
        audience: String,
        population: Population,
        source: KeySource,
        fresh: Duration,
    ) -> Self {
        Self { name, audience, population, keys: Keys::new(source, fresh) }
    }
}

type Claims = Map<String, Value>;

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
        // No extension is known that a signer could call critical (RFC 7515, section 4.1.11).
        if !is_accepted(header.alg) || header.crit.is_some() {
            return Err(refused());
        }
        let peek: Peek = jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(|_| refused())?;
        let issuer = self.issuers.iter().find(|i| i.name == peek.iss).ok_or_else(refused)?;
        let key = match issuer.keys.find(&header, &issuer.name).await {
            Found::Key(key) => key,
            Found::NoSuchKey => return Err(refused()),
            Found::NotAtHand => {
                let wait = format!("the keys of issuer {} are not at hand yet; try again", issuer.name);
                return Err(Error::unavailable(wait));
            }
        };
        let key = DecodingKey::from_jwk(&key).map_err(|_| refused())?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&issuer.name]);
        validation.set_audience(&[&issuer.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation).map_err(|_| refused())?.claims;
        qualified(&issuer.population, &claims).ok_or_else(refused)
    }
}

/// The caller that `claims` stand for, or nothing when they claim what this issuer cannot give.
fn qualified(population: &Population, claims: &Claims) -> Option<Caller> {
    match population {
        Population::Cluster => {
            let subject = claims.get("sub")?.as_str()?;
            let (namespace, name) = subject.strip_prefix("system:serviceaccount:")?.split_once(':')?;
            if namespace.is_empty() || name.is_empty() || name.contains(':') {
                return None;
            }
            let groups = BTreeSet::from([
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
            ]);
            Some(Caller { subject: subject.to_owned(), groups })
        }
        Population::People(people) => {
            let qualify = |name: &&str| {
                let qualified = format!("{}{name}", people.prefix);
                // An issuer of people gives nothing of the cluster's, whatever its prefix is.
                (!name.is_empty() && !name.starts_with("system:") && !qualified.starts_with("system:"))
                    .then_some(qualified)
            };
            let groups = groups(claims, &people.groups_claim)?;
            Some(Caller {
                subject: qualify(&subject(claims, &people.subject_claim)?)?,
                groups: groups.iter().filter_map(qualify).take(MOST_GROUPS).collect(),
            })
        }
    }
}

/// Who somebody says he is. An address that the issuer did not verify could be another person's.
fn subject<'a>(claims: &'a Claims, claim: &str) -> Option<&'a str> {
    if claim == "email" && claims.get("email_verified") != Some(&Value::Bool(true)) {
        return None;
    }
    claims.get(claim)?.as_str()
}

/// The groups of a token: a list of texts, a single one, or none; nothing when the claim is anything else.
fn groups<'a>(claims: &'a Claims, claim: &str) -> Option<Vec<&'a str>> {
    let found = match claim.strip_prefix('/') {
        None => claims.get(claim),
        Some(path) => {
            let (first, rest) =
                path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
            let first = claims.get(first);
            rest.map_or(first, |rest| first.and_then(|value| value.pointer(&format!("/{rest}"))))
        }
    };
    match found {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::String(one)) => Some(vec![one]),
        Some(Value::Array(all)) => all.iter().map(Value::as_str).collect(),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(sub: &str, groups: &[&str]) -> Claims {
        of(json!({"sub": sub, "groups": groups}))
    }

    fn of(claims: Value) -> Claims {
        claims.as_object().unwrap().clone()
    }

    #[test]
    fn a_service_account_has_the_groups_of_its_namespace_and_no_others() {
        let caller = qualified(
            &Population::Cluster,
            &claims("system:serviceaccount:interior-apps:web", &["system:masters"]),
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
            assert_eq!(qualified(&Population::Cluster, &claims(sub, &[])), None, "{sub}");
        }
    }

    #[test]
    fn people_are_never_taken_for_the_cluster() {
        let check = |prefix: &str, sub: &str, groups: &[&str], expect: Option<(&str, Vec<&str>)>| {
            let found = qualified(&Population::People(People::prefixed(prefix)), &claims(sub, groups));
            let expect = expect.map(|(subject, groups)| Caller {
                subject: subject.to_owned(),
                groups: groups.into_iter().map(ToOwned::to_owned).collect(),
            });
            assert_eq!(found, expect, "{prefix} {sub}");
        };
        check("oidc:", "amina", &["treasury"], Some(("oidc:amina", vec!["oidc:treasury"])));
        check("", "system:serviceaccount:a:b", &[], None);
        check("", "amina", &["system:masters", "x"], Some(("amina", vec!["x"])));
        check("oidc:", "system:admin", &[], None);
        check("oidc:", "amina", &["system:masters", ""], Some(("oidc:amina", vec![])));
        check("sys", "tem:admin", &[], None);
        check("sys", "amina", &["tem:masters"], Some(("sysamina", vec![])));
    }

    #[test]
    fn people_are_named_by_the_claims_that_the_platform_chose() {
        let check = |subject: &str, groups: &str, found: Value, expect: Option<(&str, Vec<&str>)>| {
            let people = People {
                subject_claim: subject.to_owned(),
                groups_claim: groups.to_owned(),
                ..People::prefixed("oidc:")
            };
            let caller = qualified(&Population::People(people), &of(found.clone()));
            let caller = caller.map(|c| (c.subject, c.groups.into_iter().collect::<Vec<_>>()));
            let expect = expect.map(|(s, g)| (s.to_owned(), g.into_iter().map(ToOwned::to_owned).collect()));
            assert_eq!(caller, expect, "{subject} {groups} {found}");
        };
        check("sub", "groups", json!({"sub": "a"}), Some(("oidc:a", vec![])));
        check("sub", "groups", json!({"sub": "a", "groups": null}), Some(("oidc:a", vec![])));
        check("sub", "groups", json!({"sub": "a", "groups": "g"}), Some(("oidc:a", vec!["oidc:g"])));
        check("sub", "groups", json!({"sub": "a", "groups": ["g", 1]}), None);
        check("sub", "groups", json!({"sub": "a", "groups": {"g": true}}), None);
        check("sub", "groups", json!({"sub": ["a"]}), None);
        check("email", "groups", json!({"sub": "a", "email": "a@b"}), None);
        check("email", "groups", json!({"sub": "a", "email": "a@b", "email_verified": "true"}), None);
        let verified = json!({"sub": "a", "email": "a@b", "email_verified": true});
        check("email", "groups", verified, Some(("oidc:a@b", vec![])));
        let nested = json!({"sub": "a", "realm": {"roles": ["g"]}, "https://x/groups": ["h"]});
        check("sub", "/realm/roles", nested.clone(), Some(("oidc:a", vec!["oidc:g"])));
        check("sub", "/realm/none", nested.clone(), Some(("oidc:a", vec![])));
        check("sub", "/realm", nested.clone(), None);
        check("sub", "https://x/groups", nested, Some(("oidc:a", vec!["oidc:h"])));
    }
}

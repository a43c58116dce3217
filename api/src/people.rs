//! The issuers of people's tokens, as the platform configured them.

use crate::auth::{Issuer, KeySource, People, Population};
use crate::config::TokenArgs;
use anyhow::{Context, bail};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Most issuers of people: each token is compared with all of them.
const MOST_ISSUERS: usize = 20;
/// Longest prefix, in bytes.
const LONGEST_PREFIX: usize = 64;
/// What only the cluster gives.
const CLUSTER: &str = "system:";

/// An issuer of people's tokens, as in the file of `--people-issuers`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PeopleIssuer {
    /// Exactly what stands in `iss`.
    pub issuer: String,
    /// Where its keys are; where its own description says when absent.
    pub jwks_url: Option<String>,
    /// File with its certificate authority; the system's when absent.
    pub ca_file: Option<PathBuf>,
    /// What must stand in `aud`; that of all tokens when absent.
    pub audience: Option<String>,
    /// What its subjects and groups get in front.
    pub prefix: String,
    /// The claim that says who somebody is.
    #[serde(default = "usual_subject_claim")]
    pub subject_claim: String,
    /// The claim with his groups: its name, or a JSON pointer.
    #[serde(default = "usual_groups_claim")]
    pub groups_claim: String,
}

fn usual_subject_claim() -> String {
    People::prefixed("").subject_claim
}

fn usual_groups_claim() -> String {
    People::prefixed("").groups_claim
}

/// The issuers of people that the command line names: one by flags, any by a file.
///
/// # Errors
/// When the file cannot be read or [`check`] refuses.
pub fn issuers(args: &TokenArgs) -> anyhow::Result<Vec<Issuer>> {
    let mut named = args.people_issuers.as_deref().map(read).transpose()?.unwrap_or_default();
    // An empty variable of the environment names nobody.
    named.extend(args.people_issuer.iter().filter(|issuer| !issuer.is_empty()).map(|issuer| PeopleIssuer {
        issuer: issuer.clone(),
        jwks_url: args.people_jwks_url.clone(),
        ca_file: args.people_jwks_ca.clone(),
        audience: None,
        prefix: args.people_prefix.clone(),
        subject_claim: usual_subject_claim(),
        groups_claim: usual_groups_claim(),
    }));
    check(&named, &args.issuer)?;
    let fresh = Duration::from_secs(args.keys_fresh_seconds);
    named.into_iter().map(|people| issuer(people, &args.audience, fresh)).collect()
}

fn read(path: &Path) -> anyhow::Result<Vec<PeopleIssuer>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no list of issuers", path.display()))
}

fn issuer(people: PeopleIssuer, audience: &str, fresh: Duration) -> anyhow::Result<Issuer> {
    let ca = people.ca_file.as_deref();
    let source = match &people.jwks_url {
        Some(url) => KeySource::at(url, ca, None)?,
        None => KeySource::discovered(&people.issuer, ca)?,
    };
    let PeopleIssuer { prefix, subject_claim, groups_claim, .. } = people;
    let population = Population::People(People { prefix, subject_claim, groups_claim });
    let audience = people.audience.unwrap_or_else(|| audience.to_owned());
    Ok(Issuer::with_fresh(people.issuer, audience, population, source, fresh))
}

/// Whether a name of one issuer can never be read as that of another or of the cluster.
fn check(issuers: &[PeopleIssuer], cluster: &str) -> anyhow::Result<()> {
    if issuers.len() > MOST_ISSUERS {
        bail!("at most {MOST_ISSUERS} issuers of people, not {}", issuers.len());
    }
    let mut names = BTreeSet::from([cluster]);
    for issuer in issuers {
        let name = &issuer.issuer;
        let claims = [&issuer.subject_claim, &issuer.groups_claim];
        if name.is_empty() || claims.iter().any(|c| c.is_empty()) || issuer.audience.as_deref() == Some("") {
            bail!("issuer {name:?}: its name, audience and claims cannot be empty");
        }
        if !names.insert(name) {
            bail!("issuer {name} is named twice; each has one entry");
        }
        let prefix = &issuer.prefix;
        if prefix.len() > LONGEST_PREFIX || prefix.contains(',') || prefix.chars().any(char::is_whitespace) {
            bail!("prefix {prefix:?} of {name}: at most {LONGEST_PREFIX} bytes, no space and no comma");
        }
        if prefix.starts_with(CLUSTER) || (!prefix.is_empty() && CLUSTER.starts_with(prefix.as_str())) {
            bail!(
                "prefix {prefix:?} of {name} could make a name of the cluster, which begins with {CLUSTER}"
            );
        }
    }
    // Not only equal ones: `a:` with the group `b:x` would be `a:b:` with the group `x`.
    for (number, one) in issuers.iter().enumerate() {
        for other in issuers.iter().skip(number + 1) {
            if one.prefix.starts_with(&other.prefix) || other.prefix.starts_with(&one.prefix) {
                bail!(
                    "prefixes {:?} of {} and {:?} of {} begin alike, so that a group of one could be read as one of \
                     the other; give each a prefix such as \"interior:\"",
                    one.prefix,
                    one.issuer,
                    other.prefix,
                    other.issuer
                );
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Cli, Command};
    use clap::Parser;
    use serde_json::{Value, json};

    #[test]
    fn no_name_of_one_issuer_can_be_read_as_that_of_another() {
        let check = |prefixes: &[&str], expect: bool| {
            let all: Vec<Value> = prefixes
                .iter()
                .enumerate()
                .map(|(n, prefix)| json!({"issuer": format!("https://{n}"), "prefix": prefix}))
                .collect();
            let all: Vec<PeopleIssuer> = serde_json::from_value(json!(all)).unwrap();
            assert_eq!(super::check(&all, "https://cluster").is_ok(), expect, "{prefixes:?}");
        };
        check(&[], true);
        check(&[""], true);
        check(&["oidc:"], true);
        check(&["interior:", "health:"], true);
        check(&["oidc:", "oidc:"], false);
        check(&["a:", "a:b:"], false);
        check(&["a:b:", "a:"], false);
        check(&["", "a:"], false);
        check(&["system:"], false);
        check(&["system:x:"], false);
        check(&["s"], false);
        check(&["system"], false);
        check(&["a b:"], false);
        check(&["a,b:"], false);
        check(&[&"a".repeat(65)], false);
    }

    #[test]
    fn one_issuer_can_be_given_by_flags_alone_or_beside_the_file() {
        crate::install_tls_provider();
        let file = std::env::temp_dir().join(format!("siyada-people-flags-{}", std::process::id()));
        std::fs::write(&file, json!([{"issuer": "https://a", "prefix": "a:", "audience": "x"}]).to_string())
            .unwrap();
        let from_file = format!("--people-issuers={}", file.display());
        let check = |flags: &[&str], expect: Option<&[(&str, &str, &str)]>| {
            let base = ["siyada-api", "serve", "--issuer=i", "--embedded-postgres=/d", "--insecure-http"];
            let cli = Cli::try_parse_from(base.iter().chain(flags)).unwrap();
            let Command::Serve(serve) = cli.command else { panic!("serve") };
            let found = issuers(&serve.tokens).ok().map(|all| {
                let named = |issuer: Issuer| match issuer.population {
                    Population::People(people) => (issuer.name, people.prefix, issuer.audience),
                    Population::Cluster => panic!("{} is of people", issuer.name),
                };
                all.into_iter().map(named).collect::<Vec<_>>()
            });
            let owned = |(name, prefix, audience): &(&str, &str, &str)| {
                ((*name).to_owned(), (*prefix).to_owned(), (*audience).to_owned())
            };
            assert_eq!(found, expect.map(|all| all.iter().map(owned).collect()), "{flags:?}");
        };
        check(&[], Some(&[]));
        check(&["--people-issuer="], Some(&[]));
        let old = ["--people-issuer=https://b", "--people-jwks-url=https://b/keys"];
        check(&old, Some(&[("https://b", "oidc:", "siyada-api")]));
        check(&old[..1], Some(&[("https://b", "oidc:", "siyada-api")]));
        check(&["--people-issuer=http://b.example"], None);
        let both = [&from_file, old[0], "--people-prefix=b:"];
        check(&both, Some(&[("https://a", "a:", "x"), ("https://b", "b:", "siyada-api")]));
        check(&[&from_file, old[0], "--people-prefix=a:b:"], None);
        check(&[&from_file, "--people-issuer=https://a"], None);
        check(&["--people-issuers=/nonexistent"], None);
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn an_entry_is_whole_and_of_one_issuer_only() {
        let check = |all: Value, expect: bool| {
            let read: Result<Vec<PeopleIssuer>, _> = serde_json::from_value(all.clone());
            let found = read.is_ok_and(|issuers| super::check(&issuers, "https://cluster").is_ok());
            assert_eq!(found, expect, "{all}");
        };
        check(json!([{"issuer": "https://a", "prefix": "a:", "jwksUrl": "https://a/keys"}]), true);
        check(json!([{"issuer": "https://a"}]), false);
        check(json!([{"issuer": "https://a", "prefix": "a:", "groupClaim": "typo"}]), false);
        check(json!([{"issuer": "", "prefix": "a:"}]), false);
        check(json!([{"issuer": "https://a", "prefix": "a:", "audience": ""}]), false);
        check(json!([{"issuer": "https://a", "prefix": "a:", "groupsClaim": ""}]), false);
        check(json!([{"issuer": "https://cluster", "prefix": "a:"}]), false);
        check(
            json!([{"issuer": "https://a", "prefix": "a:"}, {"issuer": "https://a", "prefix": "b:"}]),
            false,
        );
    }
}

//! What a request writes: its verb, the resource, and a name that is the same in every run.

use hyper::Method;
use serde_json::Value;
use std::fmt;

/// How many hexadecimal digits the operator's hashes in names have.
const HASH: usize = 10;

/// A request that changes something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Write {
    /// `create`, `update`, `patch` or `delete`.
    pub verb: &'static str,
    /// The resource, with its part: `secrets`, `tenants/status`.
    pub resource: String,
    /// The namespace, or nothing.
    pub namespace: String,
    /// The name, or nothing when the server gives one.
    pub name: String,
}

impl Write {
    /// What a request writes, or nothing when it only reads, renews a lease, tells an event or asks about a right.
    pub fn of(method: &Method, path: &str, body: &[u8]) -> Option<Self> {
        let verb = verb(method)?;
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let rest = match parts.as_slice() {
            ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            _ => return None,
        };
        // A namespace is itself an object: only what follows its name lies in it. Its own parts are these two.
        let (namespace, rest) = match rest {
            ["namespaces", namespace, inner @ ..]
                if !inner.is_empty() && !matches!(inner, ["status" | "finalize"]) =>
            {
                (*namespace, inner)
            }
            other => ("", other),
        };
        let (resource, name) = match rest {
            [resource] => ((*resource).to_owned(), named(body)),
            [resource, name] => ((*resource).to_owned(), (*name).to_owned()),
            [resource, name, part @ ..] => (format!("{resource}/{}", part.join("/")), (*name).to_owned()),
            [] => return None,
        };
        let apart = resource == "leases" || resource == "events" || resource.ends_with("reviews");
        (!apart).then(|| Self { verb, resource, namespace: namespace.to_owned(), name })
    }

    /// Its name in every run: hashes, which follow from an order's uid, are a star.
    pub fn pattern(&self) -> String {
        let star = |part| if is_hash(part) { "*" } else { part };
        self.name.split('-').map(star).collect::<Vec<_>>().join("-")
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.verb, self.resource, self.pattern())
    }
}

fn verb(method: &Method) -> Option<&'static str> {
    match method.as_str() {
        "POST" => Some("create"),
        "PUT" => Some("update"),
        "PATCH" => Some("patch"),
        "DELETE" => Some("delete"),
        _ => None,
    }
}

/// The name that an object is to get; a delete of a whole list has none.
fn named(body: &[u8]) -> String {
    let object: Value = serde_json::from_slice(body).unwrap_or_default();
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn is_hash(part: &str) -> bool {
    part.len() == HASH && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: Method, path: &str, body: &str, expect: Option<&str>) {
        let found = Write::of(&method, path, body.as_bytes());
        assert_eq!(found.map(|write| write.to_string()).as_deref(), expect, "{method} {path}");
    }

    #[test]
    fn a_write_is_named_by_what_it_writes() {
        let body = r#"{"metadata":{"name":"registry-1a2b3c4d5e"}}"#;
        check(Method::POST, "/api/v1/namespaces/n/secrets", body, Some("create secrets registry-*"));
        check(Method::POST, "/api/v1/namespaces", body, Some("create namespaces registry-*"));
        check(Method::DELETE, "/api/v1/namespaces/n", "", Some("delete namespaces n"));
        check(Method::PUT, "/api/v1/namespaces/n/finalize", "", Some("update namespaces/finalize n"));
        check(Method::PATCH, "/apis/g/v1/namespaces/n/tenants/t/status", "", Some("patch tenants/status t"));
        check(Method::PATCH, "/apis/g/v1/tenants/t", "", Some("patch tenants t"));
        check(Method::DELETE, "/api/v1/namespaces/n/pods", "", Some("delete pods "));
    }

    #[test]
    fn reads_leases_events_and_questions_about_rights_are_apart() {
        check(Method::GET, "/api/v1/namespaces/n/secrets/s", "", None);
        check(Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/n/leases/l", "", None);
        check(Method::POST, "/apis/events.k8s.io/v1/namespaces/n/events", "{}", None);
        check(Method::POST, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "{}", None);
        check(Method::POST, "/healthz", "", None);
    }

    #[test]
    fn only_a_hash_becomes_a_star() {
        for (part, expect) in
            [("1a2b3c4d5e", true), ("deadbeef", false), ("1a2b3c4d5e6", false), ("registry01", false)]
        {
            assert_eq!(is_hash(part), expect, "{part}");
        }
    }
}

//! Where a run ends: what lies in the cluster and the ledger, without what differs between any two runs.

use crate::cluster::Cluster;
use crate::recording::reduced;
use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use serde_json::{Map, Value, json};

/// Namespace of the order.
pub const ORDERS: &str = "interior-apps";
/// Namespace of what is made for it.
pub const ENGINE: &str = "siyada-t-interior";
/// Fields that the server writes, or that say when and not what.
const APART: [&str; 9] = [
    "uid",
    "resourceVersion",
    "generation",
    "managedFields",
    "creationTimestamp",
    "selfLink",
    "clusterIP",
    "clusterIPs",
    "kubectl.kubernetes.io/last-applied-configuration",
];
/// Lengths of the hashes that an operator writes: in names, and of what it applied.
const HASHES: [usize; 2] = [10, 16];

/// Everything that one order can leave, by path.
fn paths() -> Vec<String> {
    let own = ["postgresinstances", "retainedinstances", "servicebackups", "servicecredentials"]
        .map(|kind| format!("/apis/siyada.cloud/v1alpha1/namespaces/{ORDERS}/{kind}"));
    let engine = ["clusters", "scheduledbackups", "backups"]
        .map(|kind| format!("/apis/postgresql.cnpg.io/v1/namespaces/{ENGINE}/{kind}"));
    let mut all: Vec<String> = own.into_iter().chain(engine).collect();
    for namespace in [ORDERS, ENGINE] {
        for kind in ["secrets", "services", "persistentvolumeclaims"] {
            all.push(format!("/api/v1/namespaces/{namespace}/{kind}"));
        }
        all.push(format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"));
    }
    all
}

/// What is there now.
///
/// # Errors
/// When a server does not answer.
pub async fn take(cluster: &Cluster, ledger: &Cluster) -> Result<Value> {
    let mut all = Map::new();
    let paths = paths();
    let lists = try_join_all(paths.iter().map(|path| cluster.list(path))).await?;
    for (path, list) in paths.iter().zip(lists) {
        for mut object in list {
            if path.ends_with("/clusters") {
                // The rest of what the engine says of itself is the engine's.
                object["status"] = reduced(&object);
            }
            let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            all.insert(format!("{path}/{}", words(name)), plain(&object));
        }
    }
    for path in [format!("/api/v1/namespaces/{ORDERS}"), format!("/api/v1/namespaces/{ENGINE}")] {
        all.insert(path.clone(), plain(&cluster.get(&path).await?.unwrap_or_default()));
    }
    let mut quota =
        ledger.get("/v1/tenants/interior/quota").await?.context("the ledger does not know the tenant")?;
    // Those that are as large as each other come in the order of their uids.
    if let Some(largest) = quota.get_mut("largest").and_then(Value::as_array_mut) {
        largest.sort_by_key(|one| one["name"].as_str().map(str::to_owned));
    }
    all.insert("ledger".to_owned(), plain(&quota));
    Ok(Value::Object(all))
}

/// A value without random and passing parts.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter(|(key, _)| !APART.contains(&key.as_str()))
                .map(|(key, value)| match key.as_str() {
                    // What a Secret says is drawn at random; which parts it has is not.
                    "data" => {
                        (key.clone(), json!(value.as_object().map(|data| data.keys().collect::<Vec<_>>())))
                    }
                    "siyada.cloud/renew-after" => (key.clone(), json!("later")),
                    _ => (key.clone(), plain(value)),
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        Value::String(text) => Value::String(words(text)),
        other => other.clone(),
    }
}

/// A text with a star for each hash, uid and time.
fn words(text: &str) -> String {
    let mut found = String::new();
    let mut word = String::new();
    for sign in text.chars().chain(['\n']) {
        if sign.is_ascii_alphanumeric() || matches!(sign, '-' | ':' | '.') {
            word.push(sign);
        } else {
            found.push_str(&one(&word));
            word.clear();
            found.push(sign);
        }
    }
    found.pop();
    found
}

fn one(word: &str) -> String {
    let hexadecimal = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let parts: Vec<&str> = word.split('-').collect();
    let is_uid = |parts: &[&str]| {
        parts.iter().map(|p| p.len()).eq([8, 4, 4, 4, 12]) && parts.iter().all(|p| hexadecimal(p))
    };
    let shape: String = word.chars().take(11).map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    if is_uid(&parts) || shape == "0000-00-00T" {
        return "*".to_owned();
    }
    // Volumes are named so.
    if let [kind, uid @ ..] = parts.as_slice()
        && is_uid(uid)
    {
        return format!("{kind}-*");
    }
    let dotted = |text: &str| {
        let star =
            |p: &str| if HASHES.contains(&p.len()) && hexadecimal(p) { "*".to_owned() } else { p.to_owned() };
        text.split('.').map(star).collect::<Vec<_>>().join(".")
    };
    parts.into_iter().map(dotted).collect::<Vec<_>>().join("-")
}

/// Where two ends differ, a line each; nothing when they do not.
pub fn differences(expected: &Value, found: &Value) -> Vec<String> {
    let mut all = Vec::new();
    compare(String::new(), expected, found, &mut all);
    all
}

fn compare(at: String, expected: &Value, found: &Value, all: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let none = Value::Null;
                compare(format!("{at} {key}"), a.get(key).unwrap_or(&none), b.get(key).unwrap_or(&none), all);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (number, (one, other)) in a.iter().zip(b).enumerate() {
                compare(format!("{at} {number}"), one, other, all);
            }
        }
        (a, b) if a != b => all.push(format!("{}: expected {a}, found {b}", at.trim())),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_random_or_a_time_is_a_star() {
        let text = "registry-12b9377cbe-rw.siyada-t-interior.svc of 00000000-0000-0000-0000-000000000000 since \
                    2026-11-25T17:40:00Z costs 151.38 MAD, tarif-2026-07, on pvc-00000000-0000-0000-0000-000000000000";
        assert_eq!(
            words(text),
            "registry-*-rw.siyada-t-interior.svc of * since * costs 151.38 MAD, tarif-2026-07, on pvc-*"
        );
    }

    #[test]
    fn a_lost_object_and_another_value_are_both_told() {
        let expected = json!({"a": {"spec": 1}, "b": {"spec": [1, 2]}});
        let found = json!({"b": {"spec": [1, 3]}});
        let all = differences(&expected, &found);
        assert_eq!(all, ["a: expected {\"spec\":1}, found null", "b spec 1: expected 2, found 3"]);
        assert!(differences(&found, &found).is_empty());
    }
}

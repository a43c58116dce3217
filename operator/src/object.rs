//! The kinds of children, and one planned child.

use kube::core::{ApiResource, GroupVersionKind};
use serde::Serialize;
use serde_json::Value;
use std::fmt;

/// A kind of object that a plan may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum ChildKind {
    /// Core `Secret`.
    Secret,
    /// `NetworkPolicy`.
    NetworkPolicy,
    /// CloudNativePG `Cluster`.
    Cluster,
    /// Core `Service`.
    Service,
    /// `Deployment`.
    Deployment,
    /// Core `PersistentVolumeClaim`: made by the engine, only watched.
    PersistentVolumeClaim,
    /// CloudNativePG `ScheduledBackup`.
    ScheduledBackup,
    /// CloudNativePG `Backup`: of the schedule, made by the engine, or on demand.
    Backup,
    /// Core `Pod`: made by the engine, only watched, and no child in the sense of what an order leaves.
    Pod,
}

impl ChildKind {
    /// Every kind that is watched in all namespaces; Secrets are watched in tenants' namespaces only, pods in engine namespaces.
    pub const WATCHED: [Self; 7] = [
        Self::NetworkPolicy,
        Self::Cluster,
        Self::Service,
        Self::Deployment,
        Self::PersistentVolumeClaim,
        Self::ScheduledBackup,
        Self::Backup,
    ];

    /// Group, version, kind and plural.
    pub fn api_resource(self) -> ApiResource {
        let (group, version, kind, plural) = match self {
            Self::Secret => ("", "v1", "Secret", "secrets"),
            Self::NetworkPolicy => ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
            Self::Cluster => ("postgresql.cnpg.io", "v1", "Cluster", "clusters"),
            Self::ScheduledBackup => ("postgresql.cnpg.io", "v1", "ScheduledBackup", "scheduledbackups"),
            Self::Backup => ("postgresql.cnpg.io", "v1", "Backup", "backups"),
            Self::Service => ("", "v1", "Service", "services"),
            Self::Deployment => ("apps", "v1", "Deployment", "deployments"),
            Self::PersistentVolumeClaim => ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
            Self::Pod => ("", "v1", "Pod", "pods"),
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }
}

impl fmt::Display for ChildKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Key {
    /// Its kind.
    pub kind: ChildKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// A key.
    pub fn new(kind: ChildKind, namespace: &str, name: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// How an object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Mode {
    /// Once: what is there is never overwritten (sources of credentials).
    CreateOnly,
    /// Brought back to the plan whenever it differs.
    Apply,
}

/// An object of a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Planned {
    /// Which object.
    pub key: Key,
    /// How it is written.
    pub mode: Mode,
    /// Its whole content, with apiVersion, kind and metadata.
    pub body: Value,
}

/// Whether everything `wanted` says is already so in `live`. What the server or others added does not matter; a list
/// must have the same length.
pub fn is_so(wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => {
            wanted.iter().all(|(key, value)| live.get(key).map_or(is_nothing(value), |l| is_so(value, l)))
        }
        (Value::Array(wanted), Value::Array(live)) => {
            wanted.len() == live.len() && wanted.iter().zip(live).all(|(w, l)| is_so(w, l))
        }
        _ => wanted == live,
    }
}

/// What the API server leaves out when it stores an object.
pub fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_others_added_does_not_matter_but_a_change_does() {
        let check = |wanted: Value, live: Value, expect: bool| {
            assert_eq!(is_so(&wanted, &live), expect, "{wanted} in {live}")
        };
        check(json!({"a": 1}), json!({"a": 1, "b": 2}), true);
        check(json!({"a": {"x": 1}}), json!({"a": {"x": 1, "y": 2}}), true);
        check(json!({"a": 1}), json!({"a": 2}), false);
        check(json!({"a": 1}), json!({}), false);
        check(json!({"a": [1]}), json!({"a": [1, 2]}), false);
        check(json!({"a": [{"n": 1}]}), json!({"a": [{"n": 1, "defaulted": true}]}), true);
    }
}

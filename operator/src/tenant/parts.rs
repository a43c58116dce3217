//! What a tenant gets in each of its namespaces. Pure: from the tenant and those above it to objects.

use crate::apply::tenants::PartKind;
use crate::catalogue::listed;
use crate::names::{ENGINE, TENANT};
use serde_json::{Value, json};
use siyada_crds::Tenant;
use siyada_crds::tenant::RoleName;
use std::collections::{BTreeMap, BTreeSet};

/// The ClusterRole that the operator has in a tenant's engine namespace.
pub const ENGINE_ROLE: &str = "siyada-operator-engine";
/// The ClusterRole that the operator has in a tenant's own namespaces.
pub const BINDING_ROLE: &str = "siyada-operator-binding";
/// The ClusterRole of those who order and read the bindings.
pub const REQUESTER_ROLE: &str = "siyada-requester";
/// The ClusterRole of those who look at orders.
pub const VIEWER_ROLE: &str = "siyada-viewer";
/// How the groups of service accounts begin.
const SERVICE_ACCOUNTS: &str = "system:serviceaccounts:";

/// Every role, in the order in which they are spoken of.
pub const ROLES: [RoleName; 6] = [
    RoleName::Requester,
    RoleName::Admin,
    RoleName::Approver,
    RoleName::Finance,
    RoleName::Certifier,
    RoleName::Auditor,
];

/// The word for a role in YAML and in names.
pub fn word(role: RoleName) -> &'static str {
    match role {
        RoleName::Requester => "requester",
        RoleName::Admin => "admin",
        RoleName::Approver => "approver",
        RoleName::Finance => "finance",
        RoleName::Certifier => "certifier",
        RoleName::Auditor => "auditor",
    }
}

/// A namespace of a tenant as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct WantedNamespace {
    /// Its name.
    pub name: String,
    /// Its uid, where one exists already and is bound.
    pub uid: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What is in it, in the order in which it is written: our own rights first.
    pub parts: Vec<Part>,
}

/// An object that is set up for a tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Its kind.
    pub kind: PartKind,
    /// All of it.
    pub body: Value,
}

impl Part {
    /// Its name.
    pub fn name(&self) -> &str {
        self.body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
    }
}

/// The groups that may have a role through a tenant's access: of the cluster's own groups only the service accounts of
/// its namespaces. The schema says so too; what was stored before it did is left out here.
pub fn groups(tenant: &Tenant, role: RoleName) -> BTreeSet<String> {
    let own: BTreeSet<&str> = listed(tenant).map(|(name, _)| name).collect();
    let allowed = |group: &&String| {
        !group.starts_with("system:") || group.strip_prefix(SERVICE_ACCOUNTS).is_some_and(|n| own.contains(n))
    };
    let entries = tenant.spec.access.iter().filter(|entry| entry.role == role);
    entries.flat_map(|entry| &entry.groups).map(|g| &g.0).filter(allowed).cloned().collect()
}

/// The namespaces of a tenant. `chain` is the tenant and those above it: roles hold here and below. `operator` is the
/// namespace of the operator.
pub fn namespaces(name: &str, engine: &str, chain: &[&Tenant], operator: &str) -> Vec<WantedNamespace> {
    let own_label = BTreeMap::from([(TENANT.to_owned(), name.to_owned())]);
    let mut engine_labels = own_label.clone();
    engine_labels.insert(ENGINE.to_owned(), "true".to_owned());
    engine_labels.insert("pod-security.kubernetes.io/enforce".to_owned(), "restricted".to_owned());
    let engine = WantedNamespace {
        name: engine.to_owned(),
        uid: None,
        labels: engine_labels,
        parts: vec![operator_binding(name, engine, ENGINE_ROLE, operator)],
    };
    let Some(tenant) = chain.first() else { return vec![engine] };
    let own = listed(tenant).map(|(namespace, uid)| {
        let mut parts = vec![operator_binding(name, namespace, BINDING_ROLE, operator)];
        parts.extend(ROLES.iter().filter_map(|role| role_binding(name, namespace, *role, chain)));
        parts.extend(workloads(name, namespace, tenant));
        let (name, uid) = (namespace.to_owned(), uid.map(str::to_owned));
        WantedNamespace { name, uid, labels: own_label.clone(), parts }
    });
    std::iter::once(engine).chain(own).collect()
}

/// What every part carries.
fn metadata(tenant: &str, namespace: &str, name: &str) -> Value {
    json!({"namespace": namespace, "name": name, "labels": {TENANT: tenant}})
}

fn binding(tenant: &str, namespace: &str, name: &str, role: &str, subjects: Value) -> Part {
    let body = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": metadata(tenant, namespace, name),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": subjects,
    });
    Part { kind: PartKind::RoleBinding, body }
}

fn operator_binding(tenant: &str, namespace: &str, role: &str, operator: &str) -> Part {
    let subjects = json!([{"kind": "ServiceAccount", "name": "siyada-operator", "namespace": operator}]);
    binding(tenant, namespace, role, role, subjects)
}

fn role_binding(tenant: &str, namespace: &str, role: RoleName, chain: &[&Tenant]) -> Option<Part> {
    let groups: BTreeSet<String> = chain.iter().flat_map(|above| groups(above, role)).collect();
    if groups.is_empty() {
        return None;
    }
    let cluster_role = match role {
        RoleName::Requester | RoleName::Admin => REQUESTER_ROLE,
        _ => VIEWER_ROLE,
    };
    Some(binding(tenant, namespace, &format!("siyada-{}", word(role)), cluster_role, subjects(&groups)))
}

/// Groups as the subjects of a binding.
pub fn subjects(groups: &BTreeSet<String>) -> Value {
    let subject = |group| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group});
    groups.iter().map(subject).collect()
}

fn workloads(name: &str, namespace: &str, tenant: &Tenant) -> Vec<Part> {
    let asked = &tenant.spec.workloads;
    let mut parts = Vec::new();
    let mut add = |kind, api_version: &str, what: &str, name_of: &str, spec: Value| {
        let metadata = metadata(name, namespace, name_of);
        let body = json!({"apiVersion": api_version, "kind": what, "metadata": metadata, "spec": spec});
        parts.push(Part { kind, body });
    };
    if asked.network_policies {
        let (version, what) = ("networking.k8s.io/v1", "NetworkPolicy");
        let deny = json!({"podSelector": {}, "policyTypes": ["Ingress"]});
        add(PartKind::NetworkPolicy, version, what, "siyada-default-deny", deny);
        let same = json!({"namespaceSelector": {
            "matchLabels": {TENANT: name}, "matchExpressions": [{"key": ENGINE, "operator": "DoesNotExist"}],
        }});
        let within = json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [same]}]});
        add(PartKind::NetworkPolicy, version, what, "siyada-allow-within", within);
    }
    if !asked.resource_quota.is_empty() {
        let spec = json!({"hard": asked.resource_quota});
        add(PartKind::ResourceQuota, "v1", "ResourceQuota", "siyada-workloads", spec);
    }
    if let Some(limits) = &asked.limit_range {
        let mut entry = json!({"type": "Container"});
        let maps =
            [("default", &limits.default), ("defaultRequest", &limits.default_request), ("max", &limits.max)];
        for (field, values) in maps.into_iter().filter(|(_, values)| !values.is_empty()) {
            entry[field] = json!(values);
        }
        let spec = json!({"limits": [entry]});
        add(PartKind::LimitRange, "v1", "LimitRange", "siyada-workloads", spec);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str, parent: Option<&str>, access: Value) -> Tenant {
        serde_json::from_value(json!({
            "apiVersion": "siyada.cloud/v1alpha1", "kind": "Tenant", "metadata": {"name": name},
            "spec": {
                "kind": "Agency", "parent": parent, "namespaces": [format!("{name}-apps")],
                "dataClassification": "Internal", "access": access,
            },
        }))
        .unwrap()
    }

    #[test]
    fn roles_hold_here_and_below_and_only_for_groups_that_may_have_them() {
        let above = tenant("m", None, json!([{"role": "auditor", "groups": ["court"]}]));
        let groups =
            ["system:authenticated", "system:serviceaccounts:m-apps", "system:serviceaccounts:a-apps"];
        let below = tenant("a", Some("m"), json!([{"role": "requester", "groups": groups}]));
        let wanted = namespaces("a", "siyada-t-a", &[&below, &above], "siyada-system");
        let names: Vec<&str> = wanted.iter().map(|n| n.name.as_str()).collect();
        assert_eq!(names, ["siyada-t-a", "a-apps"]);
        let parts: Vec<(&str, &Value)> =
            wanted[1].parts.iter().map(|p| (p.name(), &p.body["subjects"])).collect();
        assert_eq!(parts[1].0, "siyada-requester");
        assert_eq!(parts[1].1, &subjects(&BTreeSet::from(["system:serviceaccounts:a-apps".to_owned()])));
        assert_eq!(parts[2].0, "siyada-auditor");
        assert_eq!(parts[2].1[0]["name"], "court");
        assert_eq!(parts.len(), 3, "nobody else has a role: {parts:?}");
    }

    #[test]
    fn nothing_is_set_up_for_workloads_unless_asked_for() {
        let mut asked = tenant("a", None, json!([]));
        assert_eq!(workloads("a", "a-apps", &asked), []);
        asked.spec.workloads = serde_json::from_value(json!({
            "networkPolicies": true, "resourceQuota": {"pods": "5"}, "limitRange": {"default": {"cpu": "1"}},
        }))
        .unwrap();
        let parts = workloads("a", "a-apps", &asked);
        let names: Vec<&str> = parts.iter().map(Part::name).collect();
        assert_eq!(
            names,
            ["siyada-default-deny", "siyada-allow-within", "siyada-workloads", "siyada-workloads"]
        );
        assert_eq!(
            parts[3].body["spec"],
            json!({"limits": [{"type": "Container", "default": {"cpu": "1"}}]})
        );
    }
}

//! Who may connect: the order's namespace and those it names, the platform's probe, the engine's operator, the monitoring.

use super::documents::selector;
use super::{Platform, metadata_of};
use crate::check::Valid;
use crate::names::{self, Names};
use crate::object::{ChildKind, Key, Mode, Planned};
use crate::order::Kind;
use serde_json::{Value, json};

/// The policies of an order.
pub fn plan(valid: &Valid, names: &Names, platform: &Platform) -> Vec<Planned> {
    let same_order = json!({"podSelector": {"matchLabels": {names::ORDER_UID: valid.order.uid}}});
    let engine =
        json!({"from": [namespaces(&[platform.engine_namespace.as_str()])], "ports": [tcp(5432), tcp(8000)]});
    let parts = json!({"from": [same_order], "ports": [tcp(5432), tcp(8000)]});
    let labelled = json!({"matchExpressions": [{"key": names::MONITORING, "operator": "Exists"}]});
    let monitoring = json!({"from": [{"namespaceSelector": labelled}], "ports": [tcp(9187)]});
    let database_of = |clients: Value| {
        let pods = json!({"matchLabels": {"cnpg.io/cluster": names.cluster}});
        policy(valid, names, names.network_policy(), pods, json!([clients, parts, engine, monitoring]))
    };
    match valid.order.at.kind {
        Kind::Postgres => {
            vec![database_of(json!({"from": [clients(valid, platform)], "ports": [tcp(5432)]}))]
        }
        Kind::Documents => {
            let probe = json!({"from": [namespaces(&[platform.namespace.as_str()])], "ports": [tcp(5432)]});
            let gateway = json!([{"from": [clients(valid, platform)], "ports": [tcp(27017)]}]);
            let pods = json!({"matchLabels": selector(valid)});
            vec![database_of(probe), policy(valid, names, names.gateway(), pods, gateway)]
        }
    }
}

pub(super) fn tcp(port: i32) -> Value {
    json!({"port": port, "protocol": "TCP"})
}

pub(super) fn namespaces(names: &[&str]) -> Value {
    json!({"namespaceSelector": {"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "In", "values": names},
    ]}})
}

fn clients(valid: &Valid, platform: &Platform) -> Value {
    let allowed = &valid.order.spec.network.allowed_namespaces;
    let mut all: Vec<&str> = allowed.iter().map(String::as_str).collect();
    all.extend([valid.order.at.namespace.as_str(), platform.namespace.as_str()]);
    all.sort_unstable();
    all.dedup();
    namespaces(&all)
}

fn policy(valid: &Valid, names: &Names, name: String, pods: Value, ingress: Value) -> Planned {
    let body = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata_of(valid, &names.engine, &name),
        "spec": {"podSelector": pods, "policyTypes": ["Ingress"], "ingress": ingress},
    });
    Planned { key: Key::new(ChildKind::NetworkPolicy, &names.engine, name), mode: Mode::Apply, body }
}

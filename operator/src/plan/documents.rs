//! The document gateway: the MongoDB wire protocol in front of the order's own PostgreSQL.

use super::metadata_of;
use crate::check::Valid;
use crate::names::{self, Names};
use crate::object::{ChildKind, Key, Mode, Planned};
use crate::rotation::Rotation;
use serde_json::{Value, json};

/// Gateway and Service. `secrets` are the Secrets planned before: the gateway restarts when its certificate changes or a login
/// has ended.
pub fn plan(valid: &Valid, names: &Names, rotation: &Rotation, secrets: &[Planned]) -> Vec<Planned> {
    let name = names.gateway();
    let key = |kind| Key::new(kind, &names.engine, &name);
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata_of(valid, &names.engine, &name),
        "spec": {
            "type": "ClusterIP",
            "selector": selector(valid),
            "ports": [{"name": "mongodb", "port": 27017, "protocol": "TCP", "targetPort": 27017}],
        },
    });
    vec![
        Planned { key: key(ChildKind::Service), mode: Mode::Apply, body: service },
        Planned {
            key: key(ChildKind::Deployment),
            mode: Mode::Apply,
            body: deployment(valid, names, rotation, secrets),
        },
    ]
}

/// Labels of the gateway's pods, and of nothing else.
pub fn selector(valid: &Valid) -> Value {
    json!({names::ORDER_UID: valid.order.uid, "siyada.cloud/part": "gateway"})
}

/// Certificates are read once and password pools live on: what the gateway read is part of its template. A new login needs
/// no restart, and nobody is cut off for it; the end of the one before does, and the oldest one that is accepted tells.
fn generation(names: &Names, rotation: &Rotation, secrets: &[Planned]) -> String {
    let of = |name: String| {
        let found = secrets.iter().find(|s| s.key.kind == ChildKind::Secret && s.key.name == name);
        found.map(|s| s.body["data"].to_string()).unwrap_or_default()
    };
    names::short_hash(&format!("{}{}", of(names.server_secret()), of(names.login_secret(rotation.lowest()))))
}

fn deployment(valid: &Valid, names: &Names, rotation: &Rotation, secrets: &[Planned]) -> Value {
    let mut labels = super::labels(valid);
    labels.insert("siyada.cloud/part", "gateway".to_owned());
    let url = format!(
        "postgres://{}:5432/{}?sslmode=verify-full&sslrootcert=/ca/ca.crt",
        names.host(&names.rw_service()),
        names::DATABASE
    );
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata_of(valid, &names.engine, &names.gateway()),
        "spec": {
            "replicas": if valid.order.spec.suspend { 0 } else { 1 },
            // Collection metadata is cached in the process: there is never a second one.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": selector(valid)},
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {"siyada.cloud/secrets": generation(names, rotation, secrets)},
                },
                "spec": {
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "nodeSelector": valid.node_selector,
                    "terminationGracePeriodSeconds": 10,
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [container(valid, &url)],
                    "volumes": [
                        {"name": "tls", "secret": {"secretName": names.server_secret()}},
                        {"name": "ca", "secret": {"secretName": names.authority_secret()}},
                    ],
                },
            },
        },
    })
}

fn container(valid: &Valid, url: &str) -> Value {
    json!({
        "name": "gateway",
        "image": valid.gateway_image,
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        },
        "env": [
            {"name": "LISTEN_TLS", "value": ":27017"},
            {"name": "TLS_CERT", "value": "/tls/tls.crt"},
            {"name": "TLS_KEY", "value": "/tls/tls.key"},
            // No credentials here: FerretDB would lend them to clients that bring none.
            {"name": "POSTGRESQL_URL", "value": url},
        ],
        "ports": [{"name": "mongodb", "containerPort": 27017, "protocol": "TCP"}],
        "readinessProbe": {"tcpSocket": {"port": 27017}, "periodSeconds": 2},
        "resources": {
            "requests": {"cpu": "20m", "memory": "64Mi"},
            "limits": {"cpu": "1", "memory": "256Mi"},
        },
        "volumeMounts": [
            {"name": "tls", "mountPath": "/tls", "readOnly": true},
            {"name": "ca", "mountPath": "/ca", "readOnly": true},
        ],
    })
}

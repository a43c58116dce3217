//! The engine's `Cluster`: PostgreSQL for both kinds of orders.

use super::{backup, labels, metadata_of};
use crate::check::Valid;
use crate::names::{self, Names};
use crate::object::{ChildKind, Key, Mode, Planned};
use crate::seen::Seen;
use serde_json::{Value, json};
use siyada_model::quantity::{show_bytes, show_cpu};

/// The `Cluster` of a valid order; with backups once the object store gave a login.
pub fn cluster(valid: &Valid, names: &Names, seen: &Seen, has_login: bool) -> Planned {
    let order = &valid.order;
    let mut metadata = metadata_of(valid, &names.engine, &names.cluster);
    metadata["annotations"] = json!({
        // Hibernation removes the pods and keeps the volumes.
        "cnpg.io/hibernation": if order.spec.suspend { "on" } else { "off" },
        names::ORDER_RECORD: record(valid),
    });
    if let Some(source) = &seen.source {
        metadata["annotations"][names::RESTORED_FROM] = json!(json!(source).to_string());
    }
    let restored = seen.source.as_ref().and_then(|source| backup::recovery(valid, names, source));
    let (bootstrap, external) = restored.unwrap_or_else(|| (empty(names), Value::Null));
    let mut parameters = valid.parameters.clone();
    parameters.extend(backup::parameters(valid.backups.policy().filter(|_| has_login)));
    let resources = json!({"cpu": show_cpu(valid.cpu_milli), "memory": show_bytes(valid.memory_bytes)});
    let disabled = if valid.instances == 1 { json!(["ro", "r"]) } else { json!([]) };
    let body = json!({
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "metadata": metadata,
        "spec": {
            "instances": valid.instances,
            "imageName": valid.image,
            "imagePullPolicy": "IfNotPresent",
            "enableSuperuserAccess": false,
            "enablePDB": valid.instances > 1,
            // A stop waits so long for clients before it ends their sessions.
            "smartShutdownTimeout": 15,
            "stopDelay": 90,
            "inheritedMetadata": {"labels": labels(valid)},
            "storage": {
                "size": show_bytes(valid.storage_bytes),
                "storageClass": valid.storage_class,
                "resizeInUseVolumes": true,
            },
            "resources": {"requests": resources, "limits": resources},
            "affinity": {"nodeSelector": valid.node_selector, "podAntiAffinityType": "preferred"},
            "certificates": {
                "serverCASecret": names.authority_secret(),
                "serverTLSSecret": names.server_secret(),
            },
            "managed": {
                "services": {"disabledDefaultServices": disabled},
                "roles": roles(names),
            },
            "bootstrap": bootstrap,
            "externalClusters": external,
            "backup": backup::section(valid, names, has_login),
            "postgresql": {
                "parameters": parameters,
                "pg_hba": ["hostnossl all all all reject"],
            },
        },
    });
    Planned { key: Key::new(ChildKind::Cluster, &names.engine, &names.cluster), mode: Mode::Apply, body }
}

/// How a `Cluster` begins with nothing in it.
fn empty(names: &Names) -> Value {
    json!({"initdb": {
        "database": names::DATABASE,
        "owner": names::OWNER_ROLE,
        "secret": {"name": names.owner_secret()},
        // Every login acts as the owner, so that whoever made a table, the next login can use it.
        "postInitApplicationSQL": [format!("alter database {} set role = '{}'", names::DATABASE, names::OWNER_ROLE)],
    }})
}

fn roles(names: &Names) -> serde_json::Value {
    json!([
        {"name": names::OWNER_ROLE, "ensure": "present", "login": false},
        {
            "name": names::LOGIN_ROLE,
            "ensure": "present",
            "login": true,
            "inherit": true,
            "inRoles": [names::OWNER_ROLE],
            "passwordSecret": {"name": names.login_secret()},
        },
    ])
}

/// What the platform must know of the order when only the engine object is left.
fn record(valid: &Valid) -> String {
    let at = &valid.order.at;
    json!({
        "kind": at.kind.as_str(),
        "namespace": at.namespace,
        "name": at.name,
        "uid": valid.order.uid,
        "tenant": valid.tenant,
        "plan": valid.plan,
        "storageSku": valid.storage_sku,
        "billing": valid.billing,
        "requester": valid.order.requester,
    })
    .to_string()
}

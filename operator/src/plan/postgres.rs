//! The engine's `Cluster`: PostgreSQL for both kinds of orders.

use super::{backup, labels, metadata_of};
use crate::check::Valid;
use crate::credential;
use crate::major::{self, Upgrade};
use crate::names::{self, Names};
use crate::object::{ChildKind, Key, Mode, Planned};
use crate::retained::Record;
use crate::rotation::{Phase, Rotation, role};
use crate::seen::Seen;
use serde_json::{Value, json};
use siyada_model::quantity::{show_bytes, show_cpu};

/// The `Cluster` of a valid order, with its logins as they stand from this write on, and with backups once the object store
/// gave a login.
pub fn cluster(valid: &Valid, names: &Names, rotation: &Rotation, seen: &Seen, has_login: bool) -> Planned {
    let order = &valid.order;
    let upgrade = major::upgrade(seen, names);
    let mut metadata = metadata_of(valid, &names.engine, &names.cluster);
    metadata["annotations"] = json!({
        names::HIBERNATION: if order.spec.suspend { "on" } else { "off" },
        names::ORDER_RECORD: record(valid, upgrade.as_ref()),
        names::ROTATION: rotation_record(rotation),
    });
    if let Some(upgrade) = &upgrade {
        metadata["annotations"][names::MAJOR] = json!(json!(upgrade).to_string());
    }
    if let Some(source) = &seen.source {
        metadata["annotations"][names::RESTORED_FROM] = json!(json!(source).to_string());
    }
    let restored = seen.source.as_ref().and_then(|source| backup::recovery(valid, names, source));
    let (bootstrap, external) = restored.unwrap_or_else(|| (empty(names), Value::Null));
    let mut parameters = valid.defaults.clone();
    parameters.extend(valid.parameters.clone());
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
                "roles": roles(names, rotation, seen.source.is_some(), credential::roles(seen, names)),
            },
            "bootstrap": bootstrap,
            "externalClusters": external,
            "backup": backup::section(valid, names, seen, has_login),
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
        "postInitApplicationSQL": [
            // Every login acts as the owner, so that whoever made a table, the next login can use it.
            format!("alter database {} set role = '{}'", names::DATABASE, names::OWNER_ROLE),
            // But not the engine itself: a change of major version writes what no owner may.
            format!("alter role postgres in database {} set role = 'none'", names::DATABASE),
        ],
    }})
}

/// Absent for a first login that nothing was asked of: a database of an older operator needs no write.
fn rotation_record(rotation: &Rotation) -> Option<String> {
    let told = rotation.number > 1 || !rotation.trigger.is_empty();
    told.then(|| json!(rotation).to_string())
}

/// The roles, which the engine brings about. A login that ended stays as a role that cannot log in; and what was restored may
/// hold a second login of its origin, with a password that its origin's clients know.
pub(super) fn roles(names: &Names, rotation: &Rotation, restored: bool, further: Vec<Value>) -> Value {
    let (newest, before) = (rotation.number, rotation.before());
    let mut roles = vec![
        json!({"name": names::OWNER_ROLE, "ensure": "present", "login": false}),
        login(newest, &names.login_secret(newest)),
    ];
    if before > 0 {
        roles.push(match rotation.phase {
            Phase::Making | Phase::Switching | Phase::Grace => login(before, &names.login_secret(before)),
            Phase::Closing => login(before, &names.closing_secret(before)),
            Phase::Steady => ended(before),
        });
    } else if restored {
        roles.push(ended(newest.saturating_add(1)));
    }
    roles.extend(further);
    json!(roles)
}

/// A role that cannot log in.
fn ended(number: u32) -> Value {
    json!({
        "name": role(number),
        "ensure": "present",
        "login": false,
        "inherit": true,
        "inRoles": [names::OWNER_ROLE],
        "disablePassword": true,
    })
}

fn login(number: u32, secret: &str) -> Value {
    json!({
        "name": role(number),
        "ensure": "present",
        "login": true,
        "inherit": true,
        "inRoles": [names::OWNER_ROLE],
        "passwordSecret": {"name": secret},
    })
}

/// What the platform must know of the order when only the engine object is left; keys in the order of the alphabet.
fn record(valid: &Valid, upgrade: Option<&Upgrade>) -> String {
    json!(Record::of(valid).with(upgrade)).to_string()
}

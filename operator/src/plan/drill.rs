//! Objects of a restore drill: a throw-away instance beside the order's own, that reads its archive and writes into none.

use super::{Fresh, Platform, backup, network, postgres, secrets, strip};
use crate::backup::{Source, bucket};
use crate::check::Valid;
use crate::credential;
use crate::names::{self, Names};
use crate::object::{ChildKind, Key, Mode, Planned};
use crate::rotation::Rotation;
use crate::seen::Seen;
use jiff::Timestamp;
use serde_json::{Value, json};
use siyada_model::quantity::{show_bytes, show_cpu};

/// What a drill asks of a node's processors, whatever its plan has: it may use what is free.
const CPU_MILLI: i64 = 100;

/// What is restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drilled {
    /// The backup as it is listed.
    pub backup: String,
    /// Its name in the store.
    pub backup_id: String,
    /// The archive that it lies in.
    pub archive: String,
    /// When the drill began.
    pub began: Timestamp,
}

/// The objects, in the order in which they are written: the cluster is last, and is what says that there is a drill. Nothing
/// without a store, or without the login that reads it.
pub fn plan(
    valid: &Valid,
    names: &Names,
    drilled: &Drilled,
    fresh: &Fresh,
    platform: &Platform,
) -> Option<Vec<Planned>> {
    let seen = Seen::default();
    let login = fresh.login_password.as_str();
    let mut objects = vec![
        network(valid, names, platform),
        secrets::basic(valid, &names.engine, &names.owner_secret(), names::OWNER_ROLE, &fresh.owner_password),
        secrets::basic(valid, &names.engine, &names.login_secret(1), names::LOGIN_ROLE, login),
        secrets::authority(valid, names, platform),
        secrets::server(valid, names, &seen, fresh, platform),
        backup::store_secret(valid, names, &seen, fresh)?,
        cluster(valid, names, drilled)?,
    ];
    for object in &mut objects {
        if object.key.kind == ChildKind::Secret {
            // A child of the order: should it be left, then it goes with the order.
            object.body["metadata"]["labels"][names::DRILL] = json!(valid.order.uid);
        }
        strip(&mut object.body);
    }
    Some(objects)
}

/// Every Secret of a drill.
pub fn secrets_of(names: &Names) -> Vec<Key> {
    let all = [
        names.owner_secret(),
        names.login_secret(1),
        names.authority_secret(),
        names.server_secret(),
        names.store_secret(),
    ];
    all.into_iter().map(|name| Key::new(ChildKind::Secret, &names.engine, name)).collect()
}

/// Metadata without a label of the order's: what has one is billed, counted and taken for the order's own.
fn metadata(valid: &Valid, names: &Names) -> Value {
    json!({
        "namespace": names.engine, "name": names.cluster,
        "labels": {names::DRILL: valid.order.uid, names::TENANT: valid.tenant},
    })
}

/// Nobody is let in but the platform and the engine: not the tenant either, as the data is that of another moment.
fn network(valid: &Valid, names: &Names, platform: &Platform) -> Planned {
    let from = |namespaces: &str, ports: Value| json!({"from": [network::namespaces(&[namespaces])], "ports": ports});
    let body = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(valid, names),
        "spec": {
            "podSelector": {"matchLabels": {"cnpg.io/cluster": names.cluster}},
            "policyTypes": ["Ingress"],
            "ingress": [
                from(&platform.namespace, json!([network::tcp(5432)])),
                from(&platform.engine_namespace, json!([network::tcp(5432), network::tcp(8000)])),
                // What restores talks to nobody, and the instance manager to itself.
                {"from": [{"podSelector": {"matchLabels": {"cnpg.io/cluster": names.cluster}}}],
                 "ports": [network::tcp(5432), network::tcp(8000)]},
            ],
        },
    });
    let key = Key::new(ChildKind::NetworkPolicy, &names.engine, &names.cluster);
    Planned { key, mode: Mode::CreateOnly, body }
}

/// One instance with the memory, volume and parameters of the order's own, as less may not hold what is restored. It has no
/// `backup`: it archives nothing.
fn cluster(valid: &Valid, names: &Names, drilled: &Drilled) -> Option<Planned> {
    let policy = valid.backups.policy()?;
    let source = Source {
        order_uid: valid.order.uid.clone(),
        bucket: bucket(&policy.store, &valid.order.uid),
        archive: Some(drilled.archive.clone()),
        backup_id: Some(drilled.backup_id.clone()),
        time: None,
        all: false,
    };
    let (bootstrap, external) = backup::recovery(valid, names, &source)?;
    let mut metadata = metadata(valid, names);
    metadata["annotations"] = json!({
        names::DRILL_BEGAN: drilled.began.to_string(),
        names::DRILL_BACKUP: drilled.backup,
        names::DRILL_SITE: valid.site,
    });
    let memory = show_bytes(valid.memory_bytes);
    let body = json!({
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "metadata": metadata,
        "spec": {
            "instances": 1,
            "imageName": valid.image,
            "imagePullPolicy": "IfNotPresent",
            "enableSuperuserAccess": false,
            "enablePDB": false,
            "smartShutdownTimeout": 1,
            "stopDelay": 30,
            "inheritedMetadata": {"labels": {names::DRILL: valid.order.uid}},
            "storage": {"size": show_bytes(valid.storage_bytes), "storageClass": valid.storage_class},
            "resources": {
                "requests": {"cpu": show_cpu(valid.cpu_milli.min(CPU_MILLI)), "memory": memory},
                "limits": {"cpu": show_cpu(valid.cpu_milli), "memory": memory},
            },
            "affinity": {"nodeSelector": valid.node_selector},
            "certificates": {
                "serverCASecret": names.authority_secret(),
                "serverTLSSecret": names.server_secret(),
            },
            "managed": {
                "services": {"disabledDefaultServices": ["ro", "r"]},
                "roles": postgres::roles(names, &Rotation::first(drilled.began, ""), true, credential::none()),
            },
            "bootstrap": bootstrap,
            "externalClusters": external,
            "postgresql": {
                "parameters": valid.parameters,
                "pg_hba": ["hostnossl all all all reject"],
            },
        },
    });
    let key = Key::new(ChildKind::Cluster, &names.engine, &names.cluster);
    Some(Planned { key, mode: Mode::CreateOnly, body })
}

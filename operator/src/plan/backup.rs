//! Objects of backups: the store's login, the engine's schedule and the backups that people asked for.

use super::{Fresh, metadata_of};
use crate::backup::{INSTEAD_OF, Policy, SERVICE_BACKUP, Source, bucket};
use crate::check::Valid;
use crate::major;
use crate::names::{self, MAJOR_BACKUP, Names};
use crate::object::{ChildKind, Key, Mode, Planned};
use crate::seen::{Seen, metadata, secret_value};
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use siyada_crds::catalogue::ObjectStorage;
use std::collections::BTreeMap;

/// Keys of the store's Secret.
const ID: &str = "ACCESS_KEY_ID";
const SECRET: &str = "ACCESS_SECRET_KEY";

/// A login of the object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreKey {
    /// Its public part.
    pub id: String,
    /// Its secret part.
    pub secret: String,
}

/// Whether the store must be asked for a login: backups are on and there is none yet.
pub fn needs_store_key(valid: &Valid, seen: &Seen) -> bool {
    let names = Names::of(&valid.order, &valid.tenant);
    valid.backups.policy().is_some() && store_key(&names, seen).is_none()
}

fn store_key(names: &Names, seen: &Seen) -> Option<StoreKey> {
    let secret = seen.get(ChildKind::Secret, &names.engine, &names.store_secret())?;
    Some(StoreKey { id: secret_value(secret, ID)?, secret: secret_value(secret, SECRET)? })
}

/// The login: the one that is there, else the new one. What is there is never replaced.
pub fn store_secret(valid: &Valid, names: &Names, seen: &Seen, fresh: &Fresh) -> Option<Planned> {
    let policy = valid.backups.policy()?;
    let key = store_key(names, seen).or_else(|| fresh.store_key.clone())?;
    let store = &policy.store;
    let mut data: BTreeMap<&str, &str> =
        BTreeMap::from([(ID, key.id.as_str()), (SECRET, key.secret.as_str()), ("REGION", &store.region)]);
    if let Some(ca) = &store.ca {
        data.insert("ca.crt", ca);
    }
    let data: BTreeMap<&str, ByteString> =
        data.into_iter().map(|(k, v)| (k, ByteString(v.as_bytes().to_vec()))).collect();
    let name = names.store_secret();
    let mut metadata = metadata_of(valid, &names.engine, &name);
    // Makes the engine read what changed without a restart.
    metadata["labels"]["cnpg.io/reload"] = json!("true");
    let body =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data});
    Some(Planned { key: Key::new(ChildKind::Secret, &names.engine, name), mode: Mode::Apply, body })
}

/// A store as the engine wants it: the one place that knows the engine's in-tree driver.
fn driver(store: &ObjectStorage, bucket: &str, archive: &str, names: &Names) -> Value {
    let secret = names.store_secret();
    let key = |key: &str| json!({"name": secret, "key": key});
    json!({
        "destinationPath": format!("s3://{bucket}/"),
        "serverName": archive,
        "endpointURL": store.endpoint,
        "endpointCA": store.ca.as_ref().map(|_| key("ca.crt")),
        "s3Credentials": {"accessKeyId": key(ID), "secretAccessKey": key(SECRET), "region": key("REGION")},
        "wal": {"compression": "gzip"},
        // A checkpoint spread over minutes would delay a backup that somebody waits for by as much.
        "data": {"compression": "gzip", "immediateCheckpoint": true},
    })
}

/// The part of the engine's `Cluster` that says where backups go; nothing before there is a login.
pub fn section(valid: &Valid, names: &Names, seen: &Seen, has_login: bool) -> Value {
    let Some(policy) = valid.backups.policy().filter(|_| has_login) else { return Value::Null };
    let (bucket, archive) = (bucket(&policy.store, &valid.order.uid), major::archive(seen, names));
    json!({
        "barmanObjectStore": driver(&policy.store, &bucket, &archive, names),
        "retentionPolicy": format!("{}d", policy.retention_days),
    })
}

/// How soon the engine archives what it wrote, where every moment counts.
pub fn parameters(policy: Option<&Policy>) -> Option<(String, String)> {
    let policy = policy.filter(|policy| policy.point_in_time)?;
    // Half of it: the archiving itself takes time too.
    let seconds = i64::from(policy.recovery_point_minutes) * 30;
    Some(("archive_timeout".to_owned(), format!("{seconds}s")))
}

/// How a `Cluster` begins from another one's archive, and where that is.
pub fn recovery(valid: &Valid, names: &Names, source: &Source) -> Option<(Value, Value)> {
    let policy = valid.backups.policy()?;
    let target = match (&source.backup_id, source.moment()) {
        (Some(id), _) => json!({"backupID": id, "targetImmediate": true}),
        (None, Some(moment)) => json!({"targetTime": moment.to_string()}),
        (None, None) => Value::Null,
    };
    let bootstrap = json!({"recovery": {
        "source": "origin",
        "database": names::DATABASE,
        "owner": names::OWNER_ROLE,
        "secret": {"name": names.owner_secret()},
        "recoveryTarget": target,
    }});
    let external = json!([{"name": "origin", "barmanObjectStore": driver(&policy.store, &source.bucket, source.archive(), names)}]);
    Some((bootstrap, external))
}

/// What an instance was restored from, as its engine object says.
pub fn recorded(cluster: &Value) -> Option<Source> {
    serde_json::from_str(metadata(cluster, "annotations", names::RESTORED_FROM)?).ok()
}

/// The schedule, and the backups that people asked for.
pub fn plan(valid: &Valid, names: &Names, seen: &Seen) -> Vec<Planned> {
    let Some(policy) = valid.backups.policy() else { return Vec::new() };
    let cluster = json!({"name": names.cluster});
    let planned = |kind: ChildKind, name: String, mode, annotations: Value, spec: Value| {
        let mut metadata = metadata_of(valid, &names.engine, &name);
        metadata["annotations"] = annotations;
        let body = json!({
            "apiVersion": "postgresql.cnpg.io/v1", "kind": kind.to_string(), "metadata": metadata, "spec": spec,
        });
        Planned { key: Key::new(kind, &names.engine, name), mode, body }
    };
    let schedule = json!({
        "schedule": policy.schedule.with_seconds(),
        "immediate": true,
        "suspend": valid.order.spec.suspend,
        "cluster": cluster,
        "method": "barmanObjectStore",
        // Backups then carry the order's labels, as everything of the engine does.
        "backupOwnerReference": "cluster",
    });
    let mut all =
        vec![planned(ChildKind::ScheduledBackup, names.schedule(), Mode::Apply, json!({}), schedule)];
    // Those that people asked for, those around a change of the major version, and another try of one that failed.
    let asked =
        seen.asked.iter().map(|asked| (names.backup(&asked.uid), json!({SERVICE_BACKUP: asked.name})));
    let changes = seen.major.iter().filter_map(|stage| stage.backup.as_ref());
    let changes = changes.map(|mark| {
        (names.backup(&format!("{}/major/{mark}", valid.order.uid)), json!({MAJOR_BACKUP: mark}))
    });
    let again = seen.again.iter().map(|again| {
        (format!("{}-{}", again.instead_of, again.number), json!({INSTEAD_OF: again.instead_of}))
    });
    let spec = json!({"cluster": cluster, "method": "barmanObjectStore"});
    all.extend(asked.chain(changes).chain(again).map(|(name, annotations)| {
        planned(ChildKind::Backup, name, Mode::CreateOnly, annotations, spec.clone())
    }));
    all
}

//! The plan: what must exist for a valid order. Pure, and it cannot fail.

pub mod backup;
pub mod documents;
pub mod drill;
pub mod network;
pub mod postgres;
pub mod secrets;

use crate::certificate::must_renew;
use crate::check::Refusal;
use crate::check::Valid;
use crate::condition::reason;
use crate::credential;
use crate::hold;
use crate::major;
use crate::names::{self, Names};
use crate::object::{ChildKind, Key, Planned, is_nothing};
use crate::order::Kind;
use crate::rotation::Rotation;
use crate::seen::{Seen, metadata};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Where the platform itself lives, and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// Namespace of the operator, which probes.
    pub namespace: String,
    /// Namespace of CloudNativePG, which manages.
    pub engine_namespace: String,
    /// Certificate of the authority, PEM.
    pub authority_pem: String,
}

/// A certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// Its key, PEM.
    pub key_pem: String,
    /// Renew from this second on (Unix time).
    pub renew_after_second: i64,
}

/// What chance and the authority give to a plan, made beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// Password of the owning role, which cannot log in.
    pub owner_password: String,
    /// Password of a login that has none yet.
    pub login_password: String,
    /// What new passwords of further logins are made of, each with its Secret's name.
    pub further_seed: String,
    /// Where the logins go on to; nothing while they stay as they are.
    pub rotation: Option<Rotation>,
    /// A new server certificate, when [`needs_certificate`] says so.
    pub certificate: Option<Certificate>,
    /// A new login of the object store, when [`backup::needs_store_key`] says so and the store gave one.
    pub store_key: Option<backup::StoreKey>,
}

impl Fresh {
    /// A password for a Secret of a further login: 128 bits of the seed, which is kept nowhere.
    pub fn further_password(&self, secret: &str) -> String {
        let digest = hex::encode(Sha256::digest(format!("{secret}\n{}", self.further_seed).as_bytes()));
        digest[..32].to_owned()
    }
}

/// What must exist, and what is too much.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The objects, in the order in which they are written.
    pub objects: Vec<Planned>,
    /// Objects of this order that left the plan. Never one that holds data.
    pub surplus: Vec<Key>,
    /// Something that a person must mend first; nothing of the engine is written then.
    pub problem: Option<Refusal>,
}

/// Text that changes when a certificate must be replaced before its time: its names or its authority.
pub fn certificate_for(names: &Names, platform: &Platform) -> String {
    names::short_hash(&format!("{}\n{}", names.certificate_names().join("\n"), platform.authority_pem))
}

/// Whether the server needs a new certificate: it has none, or its time has come, or it is for something else.
pub fn needs_certificate(valid: &Valid, seen: &Seen, platform: &Platform, now: Timestamp) -> bool {
    let names = Names::of(&valid.order, &valid.tenant);
    let Some(secret) = seen.get(ChildKind::Secret, &names.engine, &names.server_secret()) else {
        return true;
    };
    must_renew(secret, &certificate_for(&names, platform), now)
}

/// Volumes that must be made to grow past the engine: it raises none while a disk is full (CloudNativePG 1.30), and so could
/// never be helped.
pub fn growth(valid: &Valid, seen: &Seen) -> Vec<Key> {
    let full = seen.pods.iter().any(|pod| pod.disk_full);
    if full { seen.claims_below(valid.storage_bytes) } else { Vec::new() }
}

/// Plans a valid order from what was seen.
pub fn plan(valid: &Valid, seen: &Seen, fresh: &Fresh, platform: &Platform) -> Plan {
    let names = Names::of(&valid.order, &valid.tenant);
    let now = match standing(seen, &names) {
        Ok(now) => now,
        Err(problem) => return Plan { objects: Vec::new(), surplus: Vec::new(), problem: Some(problem) },
    };
    if let Some(problem) = other_major(valid, seen, &names) {
        return Plan { objects: Vec::new(), surplus: Vec::new(), problem: Some(problem) };
    }
    let next = fresh.rotation.as_ref().unwrap_or(&now);
    let mut objects = secrets::plan(valid, &names, (&now, next), seen, fresh, platform);
    objects.extend(credential::plan(valid, &names, seen, fresh, platform));
    objects.extend(network::plan(valid, &names, platform));
    let store = backup::store_secret(valid, &names, seen, fresh);
    let has_login = store.is_some();
    // Never an empty database where somebody wants his data back.
    if valid.order.spec.restore_from.is_some() && (seen.source.is_none() || !has_login) {
        let message =
            "the object store does not let the archive be read yet: it is asked again by itself".to_owned();
        let problem = Some(Refusal { reason: reason::BACKUP_STORE_UNAVAILABLE, message });
        return Plan { objects: Vec::new(), surplus: Vec::new(), problem };
    }
    objects.extend(store);
    objects.push(postgres::cluster(valid, &names, next, seen, has_login));
    if has_login {
        objects.extend(backup::plan(valid, &names, seen));
    }
    if valid.order.at.kind == Kind::Documents {
        objects.extend(documents::plan(valid, &names, &now, &objects));
    }
    for object in &mut objects {
        strip(&mut object.body);
        hold::record(valid, object);
        stamp(&mut object.body);
    }
    let planned: BTreeSet<&Key> = objects.iter().map(|o| &o.key).collect();
    let mut surplus = surplus(seen, &planned);
    surplus.extend(credential::surplus(seen, &names, &planned));
    surplus.extend(ended(seen, &names, now.lowest().min(next.lowest())));
    Plan { objects, surplus, problem: None }
}

/// The major version in an image's tag, by which the engine goes too.
pub(crate) fn major(image: &str) -> Option<u32> {
    let tag = image.split('@').next()?.rsplit_once(':')?.1;
    tag.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The image that an engine object was given.
pub(crate) fn image_of(cluster: &Value) -> Option<&str> {
    cluster.pointer("/spec/imageName")?.as_str()
}

/// The major version of that.
pub(crate) fn major_of(cluster: &Value) -> Option<u32> {
    major(image_of(cluster)?)
}

/// An image of another major version makes the engine rewrite the data at once: it is given only where the record of a change says
/// so, and by the catalogue's doing never.
fn other_major(valid: &Valid, seen: &Seen, names: &Names) -> Option<Refusal> {
    let has = major_of(seen.cluster(names)?)?;
    let wanted = major(&valid.image).filter(|wanted| *wanted != has)?;
    if major::upgrade(seen, names).is_some_and(|upgrade| upgrade.permits(has, wanted)) {
        return None;
    }
    let message = format!(
        "its data is of major version {has}, and the catalogue has an image of {wanted} for version {}: it runs on as it is; ask \
         the platform to name an image of {has}, and order a new instance to move to {wanted}",
        valid.order.spec.version
    );
    Some(Refusal { reason: reason::MAJOR_VERSION_CHANGE, message })
}

/// Where the logins stand, when nothing of them is lost that somebody was promised to be let in with.
fn standing(seen: &Seen, names: &Names) -> Result<Rotation, Refusal> {
    let lost = |message| Refusal { reason: reason::CREDENTIALS_LOST, message };
    let Some(cluster) = seen.cluster(names) else {
        // A cluster that was removed by hand is made again with the login that clients have.
        return Ok(Rotation { number: newest(seen, names), ..Rotation::first(Timestamp::UNIX_EPOCH, "") });
    };
    let rotation = Rotation::of(cluster).ok_or_else(|| {
        lost(format!(
            "the annotation {} of Cluster {} in {} cannot be read, and it says which login clients use: restore it from \
             the platform's backup",
            names::ROTATION,
            names.cluster,
            names.engine
        ))
    })?;
    let gone =
        |number: &u32| seen.get(ChildKind::Secret, &names.engine, &names.login_secret(*number)).is_none();
    match rotation.promised().into_iter().find(gone) {
        None => Ok(rotation),
        Some(number) => Err(lost(format!(
            "the Secret {} in {} holds the only copy of the password and is gone: restore it from the platform's \
             backup; a new password would lock every client out",
            names.login_secret(number),
            names.engine
        ))),
    }
}

/// The number of the login that a child holds a password of.
fn login_number(names: &Names, key: &Key, object: &Value) -> Option<u32> {
    let first = (key.name == names.login_secret(1)).then_some(1);
    metadata(object, "labels", names::LOGIN_NUMBER).and_then(|number| number.parse().ok()).or(first)
}

/// The highest number of a login that there is a Secret of.
fn newest(seen: &Seen, names: &Names) -> u32 {
    let numbers = seen.children.iter().filter_map(|(key, object)| {
        login_number(names, key, object).filter(|number| key.name == names.login_secret(*number))
    });
    numbers.max().unwrap_or(1)
}

/// Secrets of logins that ended: nobody is accepted with them.
fn ended(seen: &Seen, names: &Names, lowest: u32) -> Vec<Key> {
    let secrets = seen
        .children
        .iter()
        .filter(|(key, _)| key.kind == ChildKind::Secret && key.namespace == names.engine);
    let ended = secrets
        .filter(|(key, object)| login_number(names, key, object).is_some_and(|number| number < lowest));
    ended.map(|(key, _)| key.clone()).collect()
}

/// What carries our label and is not planned, leaving alone whatever holds data or the only copy of a secret.
fn surplus(seen: &Seen, planned: &BTreeSet<&Key>) -> Vec<Key> {
    let prunable = |kind| {
        matches!(
            kind,
            ChildKind::NetworkPolicy
                | ChildKind::Service
                | ChildKind::Deployment
                | ChildKind::ScheduledBackup
        )
    };
    let ours = |object: &Value| metadata(object, "labels", names::MANAGED).is_some();
    let candidates = seen.children.iter().filter(|(key, object)| prunable(key.kind) && ours(object));
    candidates.map(|(key, _)| key).filter(|key| !planned.contains(key)).cloned().collect()
}

/// The labels of an order: on what is planned, and through the engine on what it makes.
pub fn labels(valid: &Valid) -> BTreeMap<&'static str, String> {
    names::labels(&valid.order.at, &valid.order.uid, &valid.tenant)
}

/// Metadata of a planned object.
pub fn metadata_of(valid: &Valid, namespace: &str, name: &str) -> Value {
    let mut labels = labels(valid);
    labels.insert(names::MANAGED, "true".to_owned());
    json!({"namespace": namespace, "name": name, "labels": labels, "annotations": {}})
}

/// Removes what says nothing: null, `{}` and `[]`. The engine takes an empty node selector for another one than none,
/// and would restart the database for ever.
pub(crate) fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(strip);
            map.retain(|_, v| !is_nothing(v));
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}

/// Writes the hash of an object's content into it, so that a field that leaves the plan is noticed.
pub(crate) fn stamp(body: &mut Value) {
    if let Some(annotations) = body.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(names::APPLIED);
    }
    let hash = hex::encode(Sha256::digest(body.to_string().as_bytes()));
    body["metadata"]["annotations"][names::APPLIED] = Value::String(hash[..16].to_owned());
}

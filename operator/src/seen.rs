//! What was seen of an order's children, from the caches.

use crate::backup::{Again, Source};
use crate::credential::Wanted;
use crate::disk::Fullness;
use crate::hold::Waiting;
use crate::major;
use crate::names::{HIBERNATION, Names};
use crate::object::{ChildKind, Key, Planned};
use crate::pods::Pod;
use crate::probe::Outcome;
use jiff::Timestamp;
use serde_json::Value;
use siyada_crds::order::DrillStatus;
use siyada_model::quantity::bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A volume of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The API server's stamp of its creation.
    pub created: Option<Timestamp>,
    /// What was asked, in bytes.
    pub asked_bytes: i64,
    /// What is there, in bytes; zero before it is bound.
    pub held_bytes: i64,
}

/// Everything seen of one order.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Children by key.
    pub children: BTreeMap<Key, Arc<Value>>,
    /// Its pods, by name.
    pub pods: Vec<Pod>,
    /// What the last login found.
    pub login: Option<Outcome>,
    /// How full its disk is, as far as that is known.
    pub disk: Fullness,
    /// Since when nothing came to its archive although something waits, where that is too long.
    pub late: Option<Timestamp>,
    /// What the last try with a login that is being made or ended found.
    pub turning: Option<Outcome>,
    /// Backups that people asked for and that are not finished.
    pub asked: Vec<Asked>,
    /// The try that is due of a backup of the schedule that failed.
    pub again: Option<Again>,
    /// Further logins that people asked for, oldest first.
    pub further: Vec<Wanted>,
    /// What the last restore drill found, if this process knows of one.
    pub drill: Option<DrillStatus>,
    /// Where the first data comes from, if the order says so.
    pub source: Option<Source>,
    /// What would interrupt it and waits for its maintenance window.
    pub waiting: Vec<Waiting>,
    /// What its order's wish for another major version comes to; nothing before that was looked at.
    pub major: Option<major::Stage>,
    /// How the job that rewrites its data failed, once its log was read.
    pub failure: Option<major::Failure>,
}

/// A backup that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Name of the object that asks.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl Seen {
    /// One child.
    pub fn get(&self, kind: ChildKind, namespace: &str, name: &str) -> Option<&Value> {
        self.children.get(&Key::new(kind, namespace, name)).map(|v| &**v)
    }

    /// Adds objects that were just written and that no cache shows yet.
    pub fn add(&mut self, written: Vec<Planned>) {
        for object in written {
            self.children.entry(object.key).or_insert_with(|| Arc::new(object.body));
        }
    }

    /// The engine's cluster.
    pub fn cluster(&self, names: &Names) -> Option<&Value> {
        self.get(ChildKind::Cluster, &names.engine, &names.cluster)
    }

    /// Whether the engine's cluster was told to run nothing and to keep its volumes.
    pub fn sleeps(&self, names: &Names) -> bool {
        self.cluster(names).is_some_and(|cluster| metadata(cluster, "annotations", HIBERNATION) == Some("on"))
    }

    /// Whether the engine reports a running database (and the gateway runs, where there is one).
    pub fn engine_runs(&self, names: &Names, with_gateway: bool) -> bool {
        let number = |v: Option<&Value>, path: &str| {
            v.and_then(|v| v.pointer(path)).and_then(Value::as_i64).unwrap_or(0)
        };
        let database = number(self.cluster(names), "/status/readyInstances") > 0;
        let gateway = self.get(ChildKind::Deployment, &names.engine, &names.gateway());
        database && (!with_gateway || number(gateway, "/status/readyReplicas") > 0)
    }

    /// What the engine says of itself, in its own words.
    pub fn engine_phase(&self, names: &Names) -> Option<&str> {
        self.cluster(names)?.pointer("/status/phase")?.as_str()
    }

    /// Why a pod does not run, where one does not.
    pub fn hindrance(&self) -> Option<&str> {
        self.pods.iter().find_map(|pod| pod.hindrance.as_deref())
    }

    /// The volumes of the engine, oldest first.
    pub fn volumes(&self) -> Vec<Volume> {
        let claims = self.children.iter().filter(|(key, _)| key.kind == ChildKind::PersistentVolumeClaim);
        let mut found: Vec<Volume> = claims.map(|(_, claim)| volume(claim)).collect();
        found.sort_by_key(|v| v.created);
        found
    }

    /// Bytes of all volumes: what each holds, or asks for where that is more.
    pub fn volume_bytes(&self) -> i64 {
        self.volumes().iter().map(|volume| volume.held_bytes.max(volume.asked_bytes)).sum()
    }

    /// The claims that ask for less than so many bytes.
    pub fn claims_below(&self, least: i64) -> Vec<Key> {
        let claims = self.children.iter().filter(|(key, _)| key.kind == ChildKind::PersistentVolumeClaim);
        claims.filter(|(_, claim)| volume(claim).asked_bytes < least).map(|(key, _)| key.clone()).collect()
    }

    /// How full the fullest disk is: a database that ended for want of room can be asked nothing.
    pub fn fullness(&self) -> Fullness {
        if self.pods.iter().any(|pod| pod.disk_full) { Fullness::Full } else { self.disk }
    }

    /// The name of a claim that is still there.
    pub fn claim_names(&self) -> Vec<&str> {
        let claims = self.children.keys().filter(|key| key.kind == ChildKind::PersistentVolumeClaim);
        claims.map(|key| key.name.as_str()).collect()
    }
}

fn volume(claim: &Value) -> Volume {
    let size =
        |path: &str| claim.pointer(path).and_then(Value::as_str).and_then(|t| bytes(t).ok()).unwrap_or(0);
    let created = claim.pointer("/metadata/creationTimestamp").and_then(Value::as_str);
    Volume {
        created: created.and_then(|t| t.parse().ok()),
        asked_bytes: size("/spec/resources/requests/storage"),
        held_bytes: size("/status/capacity/storage"),
    }
}

/// A value of a Secret, decoded.
pub fn secret_value(secret: &Value, key: &str) -> Option<String> {
    let data = secret.get("data")?.get(key)?.clone();
    let bytes: k8s_openapi::ByteString = serde_json::from_value(data).ok()?;
    String::from_utf8(bytes.0).ok()
}

/// An annotation or label of an object.
pub fn metadata<'a>(object: &'a Value, field: &str, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get(field)?.get(key)?.as_str()
}

//! What CloudNativePG does to a cluster that an operator can see, without a node: its status is played back from a recording
//! of the real one, its pod is a PostgreSQL of this machine, and it has a service, a volume, backups that are asked for, and an
//! end.
//!
//! The garbage collector and the volume controller are the real ones.

use crate::cluster::{Cluster, secret_text, text};
use crate::database::{Database, Files, Programs};
use crate::recording::{Act, Recording, named, played};
use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// The engine of one namespace.
pub struct Player {
    cluster: Cluster,
    namespace: String,
    recording: Recording,
    /// Each cluster by its uid.
    played: BTreeMap<String, Played>,
    // Last: the databases must end before their folder goes.
    programs: Programs,
}

/// How far one cluster is.
struct Played {
    act: Act,
    /// What of the act was said.
    said: usize,
    size: String,
    memory: String,
    sleeps: bool,
    database: Option<Database>,
}

impl Player {
    /// An engine of a namespace.
    ///
    /// # Errors
    /// When there is no recording.
    pub fn new(cluster: Cluster, namespace: &str, programs: Programs) -> Result<Self> {
        let recording = Recording::read()?;
        Ok(Self { cluster, namespace: namespace.to_owned(), recording, played: BTreeMap::new(), programs })
    }

    /// Plays until it is dropped. A look that fails is tried again at the next.
    pub async fn play(mut self) {
        loop {
            if let Err(error) = self.look().await {
                eprintln!("the player is tried again: {error:#}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn clusters(&self) -> String {
        format!("/apis/postgresql.cnpg.io/v1/namespaces/{}/clusters", self.namespace)
    }

    fn core(&self, kind: &str) -> String {
        format!("/api/v1/namespaces/{}/{kind}", self.namespace)
    }

    async fn look(&mut self) -> Result<()> {
        let mut there = BTreeSet::new();
        let clusters = self.cluster.list(&self.clusters()).await?;
        for object in &clusters {
            if object.pointer("/metadata/deletionTimestamp").is_none() {
                there.insert(text(object, "/metadata/uid"));
                self.act(object).await?;
            }
        }
        let gone: Vec<String> = self.played.keys().filter(|uid| !there.contains(*uid)).cloned().collect();
        for uid in gone {
            if let Some(database) = self.played.remove(&uid).and_then(|played| played.database) {
                database.stop().await?;
            }
            self.programs.remove(&uid);
        }
        self.back_up(&clusters).await?;
        // A volume goes with its claim, as the storage class says: here nobody else removes it.
        for volume in self.cluster.list("/api/v1/persistentvolumes").await? {
            if volume.pointer("/status/phase") == Some(&json!("Released")) {
                let name = text(&volume, "/metadata/name");
                self.cluster.delete(&format!("/api/v1/persistentvolumes/{name}")).await?;
            }
        }
        Ok(())
    }

    /// The next thing that the engine would do to one cluster.
    async fn act(&mut self, object: &Value) -> Result<()> {
        let (name, uid) = (text(object, "/metadata/name"), text(object, "/metadata/uid"));
        let size = text(object, "/spec/storage/size");
        let sleeps = object.pointer("/metadata/annotations/cnpg.io~1hibernation") == Some(&json!("on"));
        let memory = text(object, "/spec/resources/limits/memory");
        let new = || Played {
            act: Act::Create,
            said: 0,
            size: size.clone(),
            memory: memory.clone(),
            sleeps: false,
            database: None,
        };
        let mut played = self.played.remove(&uid).unwrap_or_else(new);
        let result = self.go_on(object, (&name, &uid), (&size, &memory, sleeps), &mut played).await;
        self.played.insert(uid, played);
        result
    }

    async fn go_on(
        &self,
        object: &Value,
        (name, uid): (&str, &str),
        (size, memory, sleeps): (&str, &str, bool),
        at: &mut Played,
    ) -> Result<()> {
        let whole = self.recording.of(at.act).len();
        // A wish that comes while another is carried out waits for it.
        if at.said >= whole {
            let next = match () {
                () if sleeps != at.sleeps => Some(if sleeps { Act::Suspend } else { Act::Resume }),
                () if memory != at.memory => Some(Act::Plan),
                () if size != at.size => Some(Act::Storage),
                () => None,
            };
            if let Some(act) = next {
                (at.act, at.said) = (act, 0);
                match act {
                    Act::Storage => size.clone_into(&mut at.size),
                    Act::Plan => memory.clone_into(&mut at.memory),
                    _ => at.sleeps = sleeps,
                }
            }
        }
        let said = self.recording.of(at.act).get(at.said);
        // It says first that it begins.
        if at.act != Act::Create || at.said > 0 {
            if !self.volume(object, name, &at.size).await? {
                return Ok(());
            }
            if at.sleeps {
                if let Some(database) = at.database.take() {
                    database.stop().await?;
                }
            } else {
                self.database(object, (name, uid), at).await?;
            }
        }
        if let Some(said) = said {
            let status = json!({"status": played(said, name)});
            self.cluster.patch(&format!("{}/{name}/status", self.clusters()), &status).await?;
            at.said += 1;
        }
        Ok(())
    }

    /// Brings the volume to its size; true when it has it.
    async fn volume(&self, object: &Value, name: &str, size: &str) -> Result<bool> {
        let path = self.core("persistentvolumeclaims");
        let own = format!("{path}/{name}-1");
        let Some(there) = self.cluster.get(&own).await? else {
            let volume = volume(&self.namespace, name, size);
            self.cluster.create("/api/v1/persistentvolumes", &volume).await?;
            self.cluster
                .create(&path, &claim(&self.namespace, name, size, (self.recording.owned("claim"), object)))
                .await?;
            return Ok(false);
        };
        if text(&there, "/spec/resources/requests/storage") != size {
            let wanted = json!({"spec": {"resources": {"requests": {"storage": size}}}});
            self.cluster.patch(&own, &wanted).await?;
            return Ok(false);
        }
        if text(&there, "/status/phase") != "Bound" {
            return Ok(false);
        }
        if text(&there, "/status/capacity/storage") != size {
            let volume = format!("/api/v1/persistentvolumes/{}", text(&there, "/spec/volumeName"));
            self.cluster.patch(&volume, &json!({"spec": {"capacity": {"storage": size}}})).await?;
            let grown = json!({"status": {"capacity": {"storage": size}}});
            self.cluster.patch(&format!("{own}/status"), &grown).await?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Brings the database to what the cluster says.
    async fn database(&self, object: &Value, (name, uid): (&str, &str), at: &mut Played) -> Result<()> {
        let secrets: BTreeMap<String, Value> = self
            .cluster
            .list(&self.core("secrets"))
            .await?
            .into_iter()
            .map(|secret| (text(&secret, "/metadata/name"), secret))
            .collect();
        let value = |secret: &str, key: &str| secrets.get(secret).and_then(|secret| secret_text(secret, key));
        let server = text(object, "/spec/certificates/serverTLSSecret");
        let access = object.pointer("/spec/postgresql/pg_hba").and_then(Value::as_array);
        let access: Vec<&str> = access.into_iter().flatten().filter_map(Value::as_str).collect();
        let files = Files {
            certificate: value(&server, "tls.crt").context("no certificate for the server yet")?,
            key: value(&server, "tls.key").context("no key for the server yet")?,
            access: access.join("\n"),
        };
        let mut database = match at.database.take() {
            Some(database) => database,
            None => {
                let address = self.service(object, name).await?;
                let recovery = object.pointer("/spec/bootstrap/recovery").filter(|value| !value.is_null());
                let origin = recovery.map(|recovery| self.origin(object, recovery)).transpose()?;
                let database = self.programs.start(uid, address, &files, origin).await?;
                let initdb = object.pointer("/spec/bootstrap/initdb");
                let bootstrap = recovery.or(initdb).context("it begins from nothing")?;
                let owner = value(&text(bootstrap, "/secret/name"), "password").unwrap_or_default();
                database.begin(bootstrap, &owner).await?;
                database
            }
        };
        self.programs.keep(&mut database, &files)?;
        let database = at.database.insert(database);
        let roles = object.pointer("/spec/managed/roles").unwrap_or(&Value::Null);
        if !database.has_roles(roles) {
            database.bring_roles(roles, |secret| value(secret, "password")).await?;
        }
        Ok(())
    }

    /// The backup that a cluster begins from.
    fn origin(&self, object: &Value, recovery: &Value) -> Result<PathBuf> {
        let all = object.pointer("/spec/externalClusters").and_then(Value::as_array);
        let source = all.into_iter().flatten().find(|one| one["name"] == recovery["source"]);
        let bucket = bucket(source.context("the origin is not described")?, "/barmanObjectStore");
        let found = self.programs.backup(&bucket, &text(recovery, "/recoveryTarget/backupID"));
        found.with_context(|| format!("there is no such backup in {bucket}"))
    }

    /// Makes the backups that are asked for and not made yet.
    async fn back_up(&self, clusters: &[Value]) -> Result<()> {
        let all = format!("/apis/postgresql.cnpg.io/v1/namespaces/{}/backups", self.namespace);
        for backup in self.cluster.list(&all).await? {
            let of = text(&backup, "/spec/cluster/name");
            let Some(cluster) = clusters.iter().find(|one| text(one, "/metadata/name") == of) else {
                continue;
            };
            let played = self.played.get(&text(cluster, "/metadata/uid"));
            let Some(database) = played.and_then(|played| played.database.as_ref()) else { continue };
            let bucket = bucket(cluster, "/spec/backup/barmanObjectStore");
            if !text(&backup, "/status/phase").is_empty() || bucket.is_empty() {
                continue;
            }
            let started = Timestamp::now();
            let id = started.strftime("%Y%m%dT%H%M%S").to_string();
            self.programs.back_up(database, &bucket, &id).await?;
            let stopped = Timestamp::now();
            let whole = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let status = json!({"status": {"phase": "completed", "backupId": id, "startedAt": whole(started),
                "stoppedAt": whole(stopped), "method": "barmanObjectStore"}});
            let name = text(&backup, "/metadata/name");
            self.cluster.patch(&format!("{all}/{name}/status"), &status).await?;
        }
        Ok(())
    }

    /// The address of the service that clients use. No node leads it anywhere here: the database listens at it itself.
    async fn service(&self, object: &Value, name: &str) -> Result<std::net::IpAddr> {
        let path = self.core("services");
        self.cluster
            .create(&path, &service(&self.namespace, name, (self.recording.owned("service"), object)))
            .await?;
        let there = self.cluster.get(&format!("{path}/{name}-rw")).await?.unwrap_or_default();
        text(&there, "/spec/clusterIP").parse().context("the service has no address")
    }
}

/// The bucket that an archive is in.
fn bucket(object: &Value, path: &str) -> String {
    let at = text(object, &format!("{path}/destinationPath"));
    at.trim_start_matches("s3://").trim_end_matches('/').to_owned()
}

/// What everything of a cluster is: labelled by its spec and as the engine was seen to, and owned, so that the garbage
/// collector takes it along.
fn metadata(namespace: &str, name: &str, seen: &Value, owner: &Value) -> Value {
    let cluster = text(owner, "/metadata/name");
    let inherited = owner.pointer("/spec/inheritedMetadata/labels").and_then(Value::as_object);
    let mut labels = inherited.cloned().unwrap_or_default();
    labels.extend(named(&seen["labels"], &cluster));
    json!({
        "name": name, "namespace": namespace, "labels": labels, "annotations": named(&seen["annotations"], &cluster),
        "ownerReferences": [{"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "name": cluster,
            "uid": text(owner, "/metadata/uid"), "controller": true}],
    })
}

fn claim(namespace: &str, name: &str, size: &str, (seen, owner): (&Value, &Value)) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": metadata(namespace, &format!("{name}-1"), seen, owner),
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": owner.pointer("/spec/storage/storageClass"),
            "volumeName": format!("{name}-1"), "resources": {"requests": {"storage": size}}},
    })
}

fn service(namespace: &str, name: &str, (seen, owner): (&Value, &Value)) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata(namespace, &format!("{name}-rw"), seen, owner),
        "spec": {"type": "ClusterIP", "ports": [{"name": "postgres", "port": 5432, "targetPort": 5432}],
            "selector": named(&seen["selector"], name)},
    })
}

/// A volume that is promised to the claim; the volume controller binds the two.
fn volume(namespace: &str, name: &str, size: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": format!("{name}-1")},
        "spec": {
            "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": "siyada-local",
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/nonexistent"},
            "claimRef": {"namespace": namespace, "name": format!("{name}-1")},
        },
    })
}

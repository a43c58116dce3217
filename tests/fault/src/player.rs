//! What CloudNativePG does to a cluster that an operator can see, without a node: status, volumes, and their end.
//!
//! No pod runs, and nothing of it can be logged in to. The garbage collector and the volume controller are the real ones.

use crate::cluster::Cluster;
use anyhow::Result;
use serde_json::{Value, json};
use std::time::Duration;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(150);
/// What CloudNativePG says first.
const SETTING_UP: &str = "Setting up primary";
/// What CloudNativePG says when all is well.
const HEALTHY: &str = "Cluster in healthy state";

/// Plays until it is dropped. A look that fails is tried again at the next.
pub async fn play(cluster: &Cluster, namespace: &str) {
    loop {
        if let Err(error) = look(cluster, namespace).await {
            eprintln!("the player is tried again: {error:#}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn look(cluster: &Cluster, namespace: &str) -> Result<()> {
    let all = format!("/apis/postgresql.cnpg.io/v1/namespaces/{namespace}/clusters");
    for object in cluster.list(&all).await? {
        if object.pointer("/metadata/deletionTimestamp").is_none() {
            act(cluster, &all, namespace, &object).await?;
        }
    }
    // A volume goes with its claim, as the storage class says: here nobody else removes it.
    for volume in cluster.list("/api/v1/persistentvolumes").await? {
        if volume.pointer("/status/phase") == Some(&json!("Released")) {
            cluster.delete(&format!("/api/v1/persistentvolumes/{}", text(&volume, "/metadata/name"))).await?;
        }
    }
    Ok(())
}

/// The next thing that the engine would do to one cluster.
async fn act(cluster: &Cluster, all: &str, namespace: &str, object: &Value) -> Result<()> {
    let name = text(object, "/metadata/name");
    let status = format!("{all}/{name}/status");
    let phase = text(object, "/status/phase");
    if phase.is_empty() {
        let first = json!({"status": {"phase": SETTING_UP, "phaseReason": "Creating primary instance", "instances": 1,
            "currentPrimary": format!("{name}-1"), "targetPrimary": format!("{name}-1")}});
        return cluster.patch(&status, &first).await.map(|_| ());
    }
    let size = text(object, "/spec/storage/size");
    let claim = claim(namespace, &name, &size, object);
    let path = format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims");
    let Some(there) = cluster.get(&format!("{path}/{name}-1")).await? else {
        cluster.create("/api/v1/persistentvolumes", &volume(namespace, &name, &size)).await?;
        return cluster.create(&path, &claim).await;
    };
    if text(&there, "/spec/resources/requests/storage") != size {
        let wanted = json!({"spec": {"resources": {"requests": {"storage": size}}}});
        return cluster.patch(&format!("{path}/{name}-1"), &wanted).await.map(|_| ());
    }
    if text(&there, "/status/phase") != "Bound" {
        return Ok(());
    }
    if text(&there, "/status/capacity/storage") != size {
        let volume = format!("/api/v1/persistentvolumes/{}", text(&there, "/spec/volumeName"));
        cluster.patch(&volume, &json!({"spec": {"capacity": {"storage": size}}})).await?;
        let grown = json!({"status": {"capacity": {"storage": size}}});
        return cluster.patch(&format!("{path}/{name}-1/status"), &grown).await.map(|_| ());
    }
    let sleeps = object.pointer("/metadata/annotations/cnpg.io~1hibernation") == Some(&json!("on"));
    let ready = i64::from(!sleeps);
    if phase == HEALTHY && object.pointer("/status/readyInstances").and_then(Value::as_i64) == Some(ready) {
        return Ok(());
    }
    let conditions = json!([
        {"type": "Ready", "status": if sleeps { "False" } else { "True" }, "lastTransitionTime": "2026-01-01T00:00:00Z",
            "reason": if sleeps { "ClusterIsNotReady" } else { "ClusterIsReady" }, "message": "played"},
        {"type": "cnpg.io/hibernation", "status": if sleeps { "True" } else { "False" },
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "reason": if sleeps { "Hibernated" } else { "Running" }, "message": "played"},
    ]);
    let done = json!({"status": {"phase": HEALTHY, "phaseReason": null, "instances": ready, "readyInstances": ready,
        "conditions": conditions}});
    cluster.patch(&status, &done).await.map(|_| ())
}

fn text(object: &Value, path: &str) -> String {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The claim as the engine labels it; the cluster owns it, so that the garbage collector takes it along.
fn claim(namespace: &str, name: &str, size: &str, owner: &Value) -> Value {
    let mut labels = owner
        .pointer("/spec/inheritedMetadata/labels")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    for (key, value) in [
        ("cnpg.io/cluster", name.to_owned()),
        ("cnpg.io/instanceName", format!("{name}-1")),
        ("cnpg.io/instanceRole", "primary".to_owned()),
        ("cnpg.io/pvcRole", "PG_DATA".to_owned()),
    ] {
        labels.insert(key.to_owned(), json!(value));
    }
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": format!("{name}-1"), "namespace": namespace, "labels": labels,
            "annotations": {"cnpg.io/nodeSerial": "1", "cnpg.io/pvcStatus": "ready"},
            "ownerReferences": [{"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "name": name,
                "uid": text(owner, "/metadata/uid"), "controller": true}],
        },
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": owner.pointer("/spec/storage/storageClass"),
            "volumeName": format!("{name}-1"), "resources": {"requests": {"storage": size}}},
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

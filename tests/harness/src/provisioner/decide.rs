//! What the provisioner should do, from what it has seen. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::quantity::bytes;

/// The storage class we serve.
pub const CLASS: &str = "siyada-local";
/// Our name in it.
pub const PROVISIONER: &str = "siyada.cloud/loop";

/// Objects by kind and uid, as the watches deliver them.
#[derive(Debug, Default)]
pub struct Seen {
    /// PersistentVolumeClaims.
    pub claims: BTreeMap<String, Value>,
    /// PersistentVolumes.
    pub volumes: BTreeMap<String, Value>,
}

/// One step towards what the objects ask for.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the disk, then the PersistentVolume.
    Provision { volume: String, bytes: u64, object: Value },
    /// Grow the disk, then say so on the PersistentVolume.
    Grow { volume: String, bytes: u64, capacity: String },
    /// Say on the claim what its volume has.
    Report { namespace: String, claim: String, capacity: String },
    /// Delete the disk, then the PersistentVolume.
    Remove { volume: String },
}

/// Every action that is due. Doing one twice does no harm; doing none loses nothing, since the next look finds it again.
/// `path` gives the directory of a volume's data.
pub fn decide(seen: &Seen, path: impl Fn(&str) -> String) -> Vec<Action> {
    let mut actions: Vec<Action> =
        seen.claims.values().filter_map(|claim| for_claim(claim, seen, &path)).collect();
    actions.extend(seen.volumes.values().filter_map(for_volume));
    actions
}

fn for_claim(claim: &Value, seen: &Seen, path: &impl Fn(&str) -> String) -> Option<Action> {
    if text(claim, "/spec/storageClassName") != CLASS
        || !text(claim, "/metadata/deletionTimestamp").is_empty()
    {
        return None;
    }
    let asked = text(claim, "/spec/resources/requests/storage");
    match text(claim, "/status/phase") {
        "Bound" => {
            let name = text(claim, "/spec/volumeName");
            let volume = seen.volumes.values().find(|volume| text(volume, "/metadata/name") == name)?;
            growth(claim, volume, asked)
        }
        "Pending" if !selected_node(claim).is_empty() && text(claim, "/spec/volumeName").is_empty() => {
            let volume = format!("pvc-{}", text(claim, "/metadata/uid"));
            let known = seen.volumes.values().any(|other| text(other, "/metadata/name") == volume);
            let object = persistent_volume(&volume, claim, asked, &path(&volume));
            (!known).then_some(Action::Provision { bytes: bytes(asked)?, volume, object })
        }
        _ => None,
    }
}

fn growth(claim: &Value, volume: &Value, asked: &str) -> Option<Action> {
    if !is_ours(volume) {
        return None;
    }
    let has = text(volume, "/spec/capacity/storage");
    if bytes(asked)? > bytes(has)? {
        let volume = text(volume, "/metadata/name").into();
        return Some(Action::Grow { volume, bytes: bytes(asked)?, capacity: asked.into() });
    }
    let told = text(claim, "/status/capacity/storage");
    (bytes(told)? < bytes(has)?).then(|| Action::Report {
        namespace: text(claim, "/metadata/namespace").into(),
        claim: text(claim, "/metadata/name").into(),
        capacity: has.into(),
    })
}

fn for_volume(volume: &Value) -> Option<Action> {
    let released = matches!(text(volume, "/status/phase"), "Released" | "Failed");
    let delete = text(volume, "/spec/persistentVolumeReclaimPolicy") == "Delete";
    (is_ours(volume) && released && delete)
        .then(|| Action::Remove { volume: text(volume, "/metadata/name").into() })
}

fn is_ours(volume: &Value) -> bool {
    text(volume, "/metadata/annotations/pv.kubernetes.io~1provisioned-by") == PROVISIONER
}

/// The scheduler's choice: with WaitForFirstConsumer no disk is made before there is one.
fn selected_node(claim: &Value) -> &str {
    text(claim, "/metadata/annotations/volume.kubernetes.io~1selected-node")
}

fn persistent_volume(name: &str, claim: &Value, capacity: &str, path: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
        "spec": {
            "capacity": {"storage": capacity},
            "accessModes": claim.pointer("/spec/accessModes"),
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": CLASS,
            "volumeMode": "Filesystem",
            "local": {"path": path},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": text(claim, "/metadata/namespace"),
                "name": text(claim, "/metadata/name"),
                "uid": text(claim, "/metadata/uid"),
            },
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": [selected_node(claim)]},
            ]}]}},
        },
    })
}

/// The string at a JSON pointer, empty when there is none.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(phase: &str, asked: &str, has: &str, node: &str) -> Value {
        json!({
            "metadata": {"name": "data", "namespace": "a", "uid": "u1",
                         "annotations": {"volume.kubernetes.io/selected-node": node}},
            "spec": {"storageClassName": CLASS, "accessModes": ["ReadWriteOnce"],
                     "volumeName": if phase == "Bound" { "pvc-u1" } else { "" },
                     "resources": {"requests": {"storage": asked}}},
            "status": {"phase": phase, "capacity": {"storage": has}},
        })
    }

    fn volume(phase: &str, capacity: &str, policy: &str, by: &str) -> Value {
        json!({
            "metadata": {"name": "pvc-u1", "uid": "u2", "annotations": {"pv.kubernetes.io/provisioned-by": by}},
            "spec": {"capacity": {"storage": capacity}, "persistentVolumeReclaimPolicy": policy},
            "status": {"phase": phase},
        })
    }

    fn check(claim: Option<Value>, volume: Option<Value>) -> Vec<Action> {
        let by_uid = |object: Value| (text(&object, "/metadata/uid").to_string(), object);
        let seen = Seen {
            claims: claim.into_iter().map(by_uid).collect(),
            volumes: volume.into_iter().map(by_uid).collect(),
        };
        decide(&seen, |name| format!("/volumes/{name}/data"))
    }

    #[test]
    fn a_claim_gets_a_disk_of_its_size_once_the_scheduler_chose() {
        assert_eq!(check(Some(claim("Pending", "1Gi", "", "")), None), []);
        let [Action::Provision { volume: name, bytes, object }] =
            &check(Some(claim("Pending", "1Gi", "", "node1")), None)[..]
        else {
            panic!("a disk was due")
        };
        assert_eq!((name.as_str(), *bytes), ("pvc-u1", 1 << 30));
        assert_eq!(object["spec"]["local"]["path"], "/volumes/pvc-u1/data");
        assert_eq!(object["spec"]["claimRef"]["uid"], "u1");
        let made = volume("Available", "1Gi", "Delete", PROVISIONER);
        assert_eq!(check(Some(claim("Pending", "1Gi", "", "node1")), Some(made)), []);
    }

    #[test]
    fn growth_is_first_done_then_reported_and_never_undone() {
        let bound = |asked, told, has| {
            check(
                Some(claim("Bound", asked, told, "node1")),
                Some(volume("Bound", has, "Delete", PROVISIONER)),
            )
        };
        assert_eq!(bound("1Gi", "1Gi", "1Gi"), []);
        let grow = Action::Grow { volume: "pvc-u1".into(), bytes: 2 << 30, capacity: "2Gi".into() };
        assert_eq!(bound("2Gi", "1Gi", "1Gi"), [grow]);
        let report = Action::Report { namespace: "a".into(), claim: "data".into(), capacity: "2Gi".into() };
        assert_eq!(bound("2Gi", "1Gi", "2Gi"), [report]);
        assert_eq!(bound("1Gi", "2Gi", "2Gi"), []);
    }

    #[test]
    fn only_a_released_disk_of_ours_that_nobody_keeps_is_deleted() {
        let cases = [
            ("Released", "Delete", PROVISIONER, true),
            ("Failed", "Delete", PROVISIONER, true),
            ("Bound", "Delete", PROVISIONER, false),
            ("Released", "Retain", PROVISIONER, false),
            ("Released", "Delete", "someone.else", false),
        ];
        for (phase, policy, by, gone) in cases {
            let expect = if gone { vec![Action::Remove { volume: "pvc-u1".into() }] } else { vec![] };
            assert_eq!(check(None, Some(volume(phase, "1Gi", policy, by))), expect, "{phase} {policy} {by}");
        }
    }

    #[test]
    fn a_claim_of_another_class_is_not_ours() {
        let mut other = claim("Pending", "1Gi", "", "node1");
        other["spec"]["storageClassName"] = "other".into();
        assert_eq!(check(Some(other), None), []);
    }
}

//! A deletion that is forced: who may, what is noted, what is told, and what may go afterwards.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod common;

use jiff::Timestamp;
use serde_json::{Value, json};
use siyada_crds::PostgresInstance;
use siyada_model::act::{ForcedDeletion, LeftObject, MOST_LEFT, PlatformAct};
use siyada_operator::condition::{kind, reason};
use siyada_operator::force::{due, note, notes, outdated, removable, sentence, waiting};
use siyada_operator::ledger::Ledger;
use siyada_operator::object::{ChildKind, Key};
use siyada_operator::order::Order;
use siyada_operator::seen::Seen;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const BLOCKED: &str = "Cluster siyada-t-interior/registry-1 is held by its finalizers example.org/backup";

/// An order that is being deleted, blocked by an object of the engine, and forced.
fn forced() -> Value {
    json!({
        "apiVersion": "siyada.cloud/v1alpha1", "kind": "PostgresInstance",
        "metadata": {
            "name": "registry", "namespace": "interior-apps", "uid": "u1",
            "deletionTimestamp": "2026-11-24T09:00:00Z", "finalizers": ["siyada.cloud/order"],
            "annotations": {
                "siyada.cloud/force-delete": "u1", "siyada.cloud/force-delete-reason": "the backup tool is gone\n",
                "siyada.cloud/decided-by": "oidc:amina",
            },
        },
        "spec": {
            "plan": "dev", "version": "15", "dataClassification": "Internal", "deletionProtection": false,
            "onDeletion": "Delete",
        },
        "status": {"conditions": [{
            "type": kind::DELETION_BLOCKED, "status": "True", "reason": reason::ENGINE_OBJECT_STAYS,
            "message": BLOCKED, "lastTransitionTime": "2026-11-24T09:05:00Z",
        }]},
    })
}

fn order(value: Value) -> Order {
    Order::of(&serde_json::from_value::<PostgresInstance>(value).unwrap()).unwrap()
}

fn left(kind: &str, name: &str, finalizers: &[&str]) -> LeftObject {
    LeftObject {
        kind: kind.to_owned(),
        namespace: "siyada-t-interior".to_owned(),
        name: name.to_owned(),
        uid: format!("uid-of-{name}"),
        finalizers: finalizers.iter().map(|f| (*f).to_owned()).collect(),
    }
}

fn noted(found: Vec<LeftObject>) -> ForcedDeletion {
    let tenant = "interior".parse().unwrap();
    note(&order(forced()), Some(tenant), false, found, common::now()).unwrap()
}

#[test]
fn only_an_order_that_goes_and_is_held_up_by_an_object_is_forced_and_only_by_its_own_uid() {
    assert!(order(forced()).finalized, "the finalizer has another name");
    let check = |what: &str, change: fn(&mut Value), expect: bool| {
        let mut value = forced();
        change(&mut value);
        assert_eq!(due(&order(value)).is_some(), expect, "{what}");
    };
    check("as it is", |_| {}, true);
    check("volume", |o| o["status"]["conditions"][0]["reason"] = json!(reason::VOLUME_STAYS), true);
    check("write", |o| o["status"]["conditions"][0]["reason"] = json!(reason::WRITE_FAILED), true);
    let stopped = |o: &mut Value| o["status"]["conditions"][0]["reason"] = json!(reason::TOO_MANY_DELETIONS);
    check("too many deletions are confirmed, not forced", stopped, false);
    let ledger = |o: &mut Value| o["status"]["conditions"][0]["reason"] = json!(reason::LEDGER_UNAVAILABLE);
    check("the ledger is waited for", ledger, false);
    check("not blocked any more", |o| o["status"]["conditions"][0]["status"] = json!("False"), false);
    check("never blocked", |o| o["status"] = json!({}), false);
    check("not deleted", |o| o["metadata"]["deletionTimestamp"] = Value::Null, false);
    check("gone already", |o| o["metadata"]["finalizers"] = json!([]), false);
    let annotation = |name: &str| format!("/metadata/annotations/siyada.cloud~1{name}");
    for (name, value) in [
        ("force-delete", "u2"),
        ("force-delete", "true"),
        ("force-delete", ""),
        ("force-delete-reason", " "),
        ("decided-by", ""),
    ] {
        let mut changed = forced();
        *changed.pointer_mut(&annotation(name)).unwrap() = json!(value);
        assert_eq!(due(&order(changed)), None, "{name}={value:?}");
    }
}

#[test]
fn the_note_says_who_why_when_and_what_is_left_and_the_ledger_takes_it() {
    let mut found = vec![left("Cluster", "registry-1", &["example.org/backup"])];
    let note = noted(found.clone());
    assert_eq!((note.by.as_str(), note.reason.as_str()), ("oidc:amina", "the backup tool is gone"));
    assert_eq!((note.at, note.blocked.as_str()), (common::now(), BLOCKED));
    assert_eq!((&note.left, note.more_left, note.data_kept), (&found, 0, false));
    let told = sentence(&note);
    for part in
        ["oidc:amina", "the backup tool is gone", "Cluster siyada-t-interior/registry-1", "not billed"]
    {
        assert!(told.contains(part), "{told}");
    }
    found.extend((0..MOST_LEFT + 4).map(|n| left("Secret", &format!("s{n}"), &[])));
    let note = noted(found);
    assert_eq!((note.left.len(), note.more_left), (MOST_LEFT, 5));
    assert_eq!(note.left[0].kind, "Cluster");
    assert!(sentence(&note).contains("105 objects"), "{}", sentence(&note));
    PlatformAct::ForceDelete(note).check().unwrap();
}

#[test]
fn data_that_was_to_be_kept_is_kept_while_an_engine_object_holds_it() {
    let check = |retains: bool, kind: &str, expect: bool| {
        let found = vec![left(kind, "registry-1", &[])];
        let note = note(&order(forced()), None, retains, found, common::now()).unwrap();
        assert_eq!(note.data_kept, expect, "{retains} {kind}");
        assert_eq!(sentence(&note).contains("billed as kept data"), expect, "{}", sentence(&note));
    };
    check(true, "Cluster", true);
    check(true, "PersistentVolumeClaim", false);
    check(false, "Cluster", false);
}

#[test]
fn without_the_ledger_a_forced_order_says_what_it_waits_for_and_is_forced_still() {
    let mut before = order(forced());
    let away = Ledger::Unavailable("no route".to_owned());
    let note = noted(Vec::new());
    for _ in 0..2 {
        let said = waiting(&before, &note, &away).unwrap();
        assert_eq!(said.reason, reason::ENGINE_OBJECT_STAYS, "another reason would end the force");
        for part in [BLOCKED, "oidc:amina", "no route"] {
            assert_eq!(said.message.matches(part).count(), 1, "{}", said.message);
        }
        before.status.conditions[0].message = said.message;
    }
    assert!(due(&before).is_some());
}

#[test]
fn notes_are_read_by_their_order_and_go_when_nothing_is_left() {
    let text = serde_json::to_string(&noted(Vec::new())).unwrap();
    let data = BTreeMap::from([
        ("u1".to_owned(), text.clone()),
        ("u2".to_owned(), text),
        ("u3".to_owned(), "{".to_owned()),
    ]);
    let read = notes(data);
    assert_eq!(
        read.keys().collect::<Vec<_>>(),
        ["u1"],
        "a note of another order or a torn one counts for nothing"
    );
    let there = |uids: &[&str]| uids.iter().map(|uid| (*uid).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(outdated(&read, &there(&["u1"])).count(), 0);
    assert_eq!(outdated(&read, &there(&["u7"])).collect::<Vec<_>>(), ["u1"]);
}

#[test]
fn what_was_left_goes_by_its_noted_uid_and_the_rest_only_after_the_data() {
    let note = noted(vec![left("Cluster", "registry-1", &[])]);
    let object = |uid: &str, going: bool| {
        let mut object = json!({"metadata": {"uid": uid}});
        if going {
            object["metadata"]["deletionTimestamp"] = json!(Timestamp::UNIX_EPOCH.to_string());
        }
        object
    };
    let check = |what: &str, children: &[(ChildKind, &str, Value)], expect: &[&str]| {
        let children = children.iter().map(|(kind, name, value)| {
            (Key::new(*kind, "siyada-t-interior", *name), Arc::new(value.clone()))
        });
        let seen = Seen { children: children.collect(), ..Seen::default() };
        let found: Vec<String> = removable(&seen, &note).into_iter().map(|(key, _)| key.name).collect();
        assert_eq!(found, expect, "{what}");
    };
    let claim = (ChildKind::PersistentVolumeClaim, "registry-1-1", object("claim", false));
    let secret = (ChildKind::Secret, "registry-1-login-a", object("secret", false));
    let cluster = |uid: &str, going: bool| (ChildKind::Cluster, "registry-1", object(uid, going));
    let noted = "uid-of-registry-1";
    check("untold", &[cluster(noted, false), claim.clone(), secret.clone()], &["registry-1"]);
    check("told", &[cluster(noted, true), claim.clone(), secret.clone()], &[]);
    check("made again", &[cluster("another", false), claim.clone(), secret.clone()], &[]);
    check("volumes", &[claim, secret.clone()], &[]);
    check("the rest", &[secret], &["registry-1-login-a"]);
}

//! Kept data: what its listing tells, when it may go, and what holds up a deletion.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod common;

use common::examples;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};
use siyada_crds::{RetainedInstance, RetainedInstanceStatus};
use siyada_operator::apply::Apply;
use siyada_operator::check::check;
use siyada_operator::condition::{is_true, kind, reason};
use siyada_operator::deletion::{
    ENGINE_DEADLINE, LEDGER_DEADLINE, VOLUME_DEADLINE, blocked, ledger_blocks, write_blocks,
};
use siyada_operator::ledger::Ledger;
use siyada_operator::mirror::{Kept, due, home, listing, may_expire, remainder, status};
use siyada_operator::namespaces::Bound;
use siyada_operator::object::{ChildKind, Key};
use siyada_operator::order::Order;
use siyada_operator::plan::{Certificate, Fresh, Platform, plan};
use siyada_operator::pods::Pod;
use siyada_operator::retained::{Why, unwanted};
use siyada_operator::seen::Seen;
use std::collections::BTreeMap;
use std::sync::Arc;

const ENGINE: &str = "siyada-t-interior";
const DAY: SignedDuration = SignedDuration::from_hours(24);

fn start() -> Timestamp {
    common::now()
}

fn day(number: i32) -> Timestamp {
    start() + DAY * number
}

fn registry() -> Order {
    common::registry(&examples())
}

fn seen(children: Vec<(ChildKind, &str, Value)>) -> Seen {
    let children =
        children.into_iter().map(|(kind, name, value)| (Key::new(kind, ENGINE, name), Arc::new(value)));
    Seen { children: children.collect(), ..Seen::default() }
}

/// The engine's object of a deleted order, kept from the start for so many days.
fn cluster(days: Option<i32>) -> Value {
    let mut record = json!({
        "kind": "PostgresInstance", "namespace": "interior-apps", "name": "registry", "uid": "u1",
        "tenant": "interior", "plan": "small", "storageSku": "volume", "billing": {}, "requester": null,
    });
    if let Some(days) = days {
        record["retainedDays"] = json!(days);
    }
    json!({"metadata": {
        "labels": {"siyada.cloud/retained": "true"},
        "annotations": {
            "siyada.cloud/order-record": record.to_string(), "siyada.cloud/retained-since": start().to_string(),
        },
    }})
}

fn volume() -> Value {
    json!({"spec": {"resources": {"requests": {"storage": "5Gi"}}}, "status": {"capacity": {"storage": "6Gi"}}})
}

fn kept(days: Option<i32>) -> Kept {
    let children = vec![
        (ChildKind::Cluster, "registry-1", cluster(days)),
        (ChildKind::PersistentVolumeClaim, "registry-1-1", volume()),
        (ChildKind::Secret, "registry-1-store", json!({})),
    ];
    Kept::of(&seen(children), None).unwrap()
}

fn listed(kept: &Kept, told: RetainedInstanceStatus) -> RetainedInstance {
    let mut listing = listing(kept, "interior-apps").unwrap();
    listing.status = Some(told);
    listing
}

#[test]
fn a_listing_says_what_is_kept_until_when_and_how_to_have_it_back() {
    let told = status(&kept(Some(30)), &RetainedInstanceStatus::default(), 1, day(1));
    assert_eq!(told.data.as_deref(), Some("volume and backups"));
    assert_eq!(told.storage.as_deref(), Some("6Gi"));
    assert_eq!(told.kept_since.as_deref(), Some("2026-11-24T10:00:00Z"));
    assert_eq!(told.expires.as_deref(), Some("2026-12-24T10:00:00Z"));
    let restore = "order with spec.restoreFrom: {retainedInstance: registry-1}";
    assert_eq!(told.restore.as_deref(), Some(restore));
    assert!(told.discard.as_deref().unwrap().contains("set spec.discard to registry"));
    assert!(is_true(&told.conditions, kind::RESTORABLE) && !is_true(&told.conditions, kind::EXPIRES_SOON));
    let again = status(&kept(Some(30)), &told, 1, day(2));
    assert_eq!(again, told, "nothing of it changes by itself");
}

#[test]
fn what_was_never_backed_up_says_so() {
    let volume = seen(vec![(ChildKind::Cluster, "registry-1", cluster(None))]);
    let told = status(&Kept::of(&volume, None).unwrap(), &RetainedInstanceStatus::default(), 1, day(0));
    assert_eq!(told.data.as_deref(), Some("volume"));
    let restorable = told.conditions.iter().find(|c| c.type_ == kind::RESTORABLE).unwrap();
    assert_eq!((restorable.status.as_str(), restorable.reason.as_str()), ("False", reason::NEVER_BACKED_UP));
}

#[test]
fn an_engine_object_that_is_not_kept_has_no_listing() {
    let mut runs = cluster(Some(30));
    runs["metadata"]["labels"] = json!({});
    assert_eq!(Kept::of(&seen(vec![(ChildKind::Cluster, "registry-1", runs)]), None), None);
}

#[test]
fn an_end_is_warned_about_two_weeks_a_week_and_a_day_before() {
    let end = kept(Some(30)).expires();
    assert_eq!(end, Some(day(30)));
    for (at, expect) in
        [(0, None), (15, None), (16, Some(14)), (22, Some(14)), (23, Some(7)), (29, Some(1)), (31, Some(1))]
    {
        assert_eq!(due(end, day(at)), expect, "day {at}");
    }
    assert_eq!(due(kept(None).expires(), day(30_000)), None);
}

#[test]
fn who_was_away_warns_for_a_day_before_anything_goes() {
    // The operator was away for the last weeks, and tells of the end only after it.
    let (kept, late) = (kept(Some(30)), day(60));
    let told = status(&kept, &RetainedInstanceStatus::default(), 1, late);
    assert!(is_true(&told.conditions, kind::EXPIRES_SOON));
    let hour = SignedDuration::from_hours(1);
    let goes = |now| unwanted(&kept.record, kept.since, &listed(&kept, told.clone()), now);
    assert_eq!(goes(late), None);
    assert_eq!(goes(late + hour * 23), None);
    assert_eq!(goes(late + hour * 24), Some(Why::Expired));
}

#[test]
fn only_the_name_of_the_instance_in_the_listing_of_its_order_discards() {
    let kept = kept(None);
    let mut listing = listed(&kept, RetainedInstanceStatus::default());
    let why = |l: &RetainedInstance| unwanted(&kept.record, kept.since, l, day(0));
    assert_eq!(why(&listing), None);
    listing.spec.discard = Some("another".to_owned());
    assert_eq!(why(&listing), None);
    listing.spec.discard = Some("registry".to_owned());
    assert_eq!(why(&listing), Some(Why::Discarded));
    // An order of the same name that was deleted later.
    listing.spec.order_uid = "u2".to_owned();
    assert_eq!(why(&listing), None);
}

#[test]
fn a_listing_is_where_it_was_ordered_else_in_another_namespace_of_its_tenant() {
    let record = kept(None).record;
    let bound = |tenant: &str| Bound { tenant: tenant.to_owned(), ..Bound::default() };
    let mut all = BTreeMap::from([
        ("aaa".to_owned(), bound("health")),
        ("bbb".to_owned(), Bound { engine: true, ..bound("interior") }),
        ("ccc".to_owned(), Bound { terminating: true, ..bound("interior") }),
        ("ddd".to_owned(), bound("interior")),
        ("interior-apps".to_owned(), bound("interior")),
    ]);
    assert_eq!(home(&record, &all).as_deref(), Some("interior-apps"));
    all.get_mut("interior-apps").unwrap().terminating = true;
    assert_eq!(home(&record, &all).as_deref(), Some("ddd"));
    // A namespace of that name that was made again for somebody else.
    all.insert("interior-apps".to_owned(), bound("health"));
    assert_eq!(home(&record, &all).as_deref(), Some("ddd"));
    all.remove("ddd");
    assert_eq!(home(&record, &all), None);
}

proptest! {
    /// However often and whenever the operator looks, nothing goes before its end, nor without a day's warning.
    #[test]
    fn nothing_goes_before_its_end_or_unwarned(days in 15_i32..60, looks in prop::collection::vec(0_i64..2_000, 1..20)) {
        let kept = kept(Some(days));
        let (mut told, mut warned) = (RetainedInstanceStatus::default(), None);
        let mut hours = looks;
        hours.sort_unstable();
        for hour in hours {
            let now = start() + SignedDuration::from_hours(hour);
            if may_expire(kept.expires(), &told, now) {
                prop_assert!(now >= start() + DAY * days);
                let warned: Timestamp = warned.unwrap();
                prop_assert!(now.duration_since(warned) >= DAY);
            }
            told = status(&kept, &told, 1, now);
            if is_true(&told.conditions, kind::EXPIRES_SOON) && warned.is_none() {
                warned = Some(now);
            }
        }
    }
}

#[test]
fn the_days_are_on_the_engines_object_only_where_the_offering_has_them() {
    let input = examples();
    let record = |days: Option<i32>| {
        let mut catalogue = input.catalogue.clone();
        for offering in &mut catalogue.offerings {
            Arc::make_mut(offering).spec.retained_days = days;
        }
        let valid = check(&registry(), &catalogue, start()).unwrap();
        let platform = Platform {
            namespace: "siyada-system".into(),
            engine_namespace: "cnpg-system".into(),
            authority_pem: "ca".into(),
        };
        let certificate = Certificate {
            certificate_pem: "certificate".into(),
            key_pem: "key".into(),
            renew_after_second: day(300).as_second(),
        };
        let fresh = Fresh {
            owner_password: "owner".into(),
            login_password: "login".into(),
            further_seed: "seed".into(),
            rotation: None,
            certificate: Some(certificate),
            store_key: None,
        };
        let planned = plan(&valid, &Seen::default(), &fresh, &platform);
        let cluster = planned.objects.iter().find(|p| p.key.kind == ChildKind::Cluster).unwrap();
        cluster.body["metadata"]["annotations"]["siyada.cloud/order-record"].as_str().unwrap().to_owned()
    };
    assert!(!record(None).contains("retainedDays"), "objects of the landing before would change");
    assert!(record(Some(90)).contains("\"retainedDays\":90"));
}

#[test]
fn a_deletion_names_what_holds_it_once_its_deadline_is_over() {
    let order = Order { deletion: Some(start()), ..registry() };
    let going = |finalizers: Value| json!({"metadata": {"deletionTimestamp": start().to_string(), "finalizers": finalizers}});
    let cluster = |object: Value| seen(vec![(ChildKind::Cluster, "registry-1", object)]);
    let claim = |object: Value| seen(vec![(ChildKind::PersistentVolumeClaim, "registry-1-1", object)]);
    let held = json!(["example.org/backup"]);
    let second = SignedDuration::from_secs(1);
    for (what, deadline, why) in [
        (cluster(going(held.clone())), ENGINE_DEADLINE, reason::ENGINE_OBJECT_STAYS),
        (claim(going(held.clone())), VOLUME_DEADLINE, reason::VOLUME_STAYS),
    ] {
        assert_eq!(blocked(&order, &what, start() + deadline - second), None, "{why} too early");
        let said = blocked(&order, &what, start() + deadline).unwrap();
        assert_eq!(said.reason, why);
        assert!(said.message.contains("siyada-t-interior/registry-1"), "{}", said.message);
        assert!(said.message.contains("example.org/backup"), "{}", said.message);
    }
    let untold = blocked(&order, &claim(json!({"metadata": {}})), start() + VOLUME_DEADLINE).unwrap();
    assert!(untold.message.contains("was not told to go"), "{}", untold.message);
    assert_eq!(blocked(&order, &cluster(json!({"metadata": {}})), day(1)), None);
}

#[test]
fn a_write_that_fails_is_named_after_the_deadline_of_the_engine() {
    let order = Order { deletion: Some(start()), ..registry() };
    let key = Key::new(ChildKind::Cluster, ENGINE, "registry-1");
    let refused = kube::Error::LinesCodecMaxLineLengthExceeded;
    let error = Apply::Write(key, Box::new(refused));
    let second = SignedDuration::from_secs(1);
    assert_eq!(write_blocks(&order, &error, start() + ENGINE_DEADLINE - second), None);
    let said = write_blocks(&order, &error, start() + ENGINE_DEADLINE).unwrap();
    assert_eq!(said.reason, reason::WRITE_FAILED);
    assert!(said.message.contains("siyada-t-interior/registry-1"), "{}", said.message);
}

fn said<'a>(told: &'a RetainedInstanceStatus, kind: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let found = told.conditions.iter().find(|c| c.type_ == kind)?;
    Some((found.status.as_str(), found.reason.as_str(), found.message.as_str()))
}

#[test]
fn kept_data_that_hangs_names_what_it_is_and_by_when_it_should_have_been_over() {
    let look = |cluster: Value, pods: &[(&str, bool)], now: Timestamp| {
        let mut all = seen(vec![(ChildKind::Cluster, "registry-1", cluster)]);
        let pod = |(name, database): &(&str, bool)| Pod {
            name: (*name).to_owned(),
            database: *database,
            ..Pod::default()
        };
        all.pods = pods.iter().map(pod).collect();
        status(&Kept::of(&all, None).unwrap(), &RetainedInstanceStatus::default(), 1, now)
    };
    let second = SignedDuration::from_secs(1);
    let late = start() + ENGINE_DEADLINE;
    let runs = [("registry-1-1", true), ("registry-1-docs-x", false)];
    assert_eq!(said(&look(cluster(None), &runs, late - second), kind::DELETION_BLOCKED), None);
    assert_eq!(said(&look(cluster(None), &[], late), kind::DELETION_BLOCKED), None);
    assert_eq!(said(&look(cluster(None), &runs[1..], late), kind::DELETION_BLOCKED), None);
    let told = look(cluster(None), &runs, late);
    let (is, why, message) = said(&told, kind::DELETION_BLOCKED).unwrap();
    assert_eq!((is, why), ("True", reason::ENGINE_RUNS_ON));
    for part in ["Pod siyada-t-interior/registry-1-1", &late.to_string()] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains("docs"), "{message}");

    let mut going = cluster(None);
    going["metadata"]["deletionTimestamp"] = json!(day(1).to_string());
    going["metadata"]["finalizers"] = json!(["example.org/backup"]);
    let late = day(1) + ENGINE_DEADLINE;
    assert_eq!(said(&look(going.clone(), &runs, late - second), kind::DELETION_BLOCKED), None);
    let told = look(going, &runs, late);
    let (is, why, message) = said(&told, kind::DELETION_BLOCKED).unwrap();
    assert_eq!((is, why), ("True", reason::ENGINE_OBJECT_STAYS));
    for part in ["Cluster siyada-t-interior/registry-1", "example.org/backup", &day(1).to_string()] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn volumes_that_outlive_their_engine_object_stay_listed_and_are_named_when_they_are_late() {
    let claims = |claim: Value| seen(vec![(ChildKind::PersistentVolumeClaim, "registry-1-1", claim)]);
    let begun = status(&kept(None), &RetainedInstanceStatus::default(), 1, day(0));
    let untold = claims(json!({"metadata": {}}));
    let first = remainder(&begun, &untold, 1, day(1));
    assert_eq!(said(&first, kind::RESTORABLE).unwrap().0, "False");
    assert_eq!(said(&first, kind::DELETION_BLOCKED).unwrap().0, "False");
    assert_eq!(first.storage, begun.storage, "what it was is told on");
    let second = SignedDuration::from_secs(1);
    let early = remainder(&first, &untold, 1, day(1) + VOLUME_DEADLINE - second);
    assert_eq!(early, first, "nothing of it changes by itself");
    let late = remainder(&first, &untold, 1, day(1) + VOLUME_DEADLINE);
    let (is, why, message) = said(&late, kind::DELETION_BLOCKED).unwrap();
    assert_eq!((is, why), ("True", reason::VOLUME_STAYS));
    assert!(message.contains("PersistentVolumeClaim siyada-t-interior/registry-1-1"), "{message}");
    assert_eq!(remainder(&late, &untold, 1, day(1) + VOLUME_DEADLINE + second), late);
    // One that was told to go counts from then, whenever it was first seen.
    let told = claims(json!({"metadata": {"deletionTimestamp": day(1).to_string()}}));
    let at_once = remainder(&begun, &told, 1, day(1) + VOLUME_DEADLINE);
    assert_eq!(said(&at_once, kind::DELETION_BLOCKED).unwrap().0, "True");
}

#[test]
fn a_ledger_that_is_away_is_named_after_its_deadline() {
    let order = Order { deletion: Some(start()), ..registry() };
    let away = Ledger::Unavailable("no route".to_owned());
    let second = SignedDuration::from_secs(1);
    assert_eq!(ledger_blocks(&order, &away, start() + LEDGER_DEADLINE - second), None);
    let said = ledger_blocks(&order, &away, start() + LEDGER_DEADLINE).unwrap();
    assert_eq!(said.reason, reason::LEDGER_UNAVAILABLE);
    assert!(said.message.contains("no route"), "{}", said.message);
}

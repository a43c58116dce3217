//! Last backups, and what deleted orders have in the object store: when data may go, what is noted, listed, priced, and who needs it.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod common;

use common::examples;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};
use siyada_crds::order::{BackupSpec, BackupStatus, OnDeletion, RestoreFrom};
use siyada_crds::{RetainedInstanceStatus, ServiceBackupStatus};
use siyada_operator::archive::{Archive, MARKED, Note, asks, bucket_of, note, reads};
use siyada_operator::backup::AGAIN;
use siyada_operator::check::{Refusal, check};
use siyada_operator::condition::{is_true, kind, reason};
use siyada_operator::last_backup::{DEADLINE, Facts, Fate, Step, Try, next, without_engine};
use siyada_operator::metering::kept_backups;
use siyada_operator::mirror::{Kept, status};
use siyada_operator::names::Names;
use siyada_operator::object::{ChildKind, Key};
use siyada_operator::order::Order;
use siyada_operator::reconcile::PASS;
use siyada_operator::retained::{Record, kept_items};
use siyada_operator::seen::Seen;
use siyada_operator::service_backup::bytes_of;
use std::sync::Arc;

const ENGINE: &str = "siyada-t-interior";
const MIB: i64 = 1 << 20;

fn now() -> Timestamp {
    common::now()
}

fn record() -> Record {
    let text = json!({
        "kind": "PostgresInstance", "namespace": "interior-apps", "name": "registry", "uid": "u1", "tenant": "interior",
        "plan": "small", "storageSku": "volume", "billing": {}, "requester": null, "retainedDays": 30, "site": "rabat",
        "backupSku": "backup", "lastBackupDays": 30,
    });
    serde_json::from_value(text).unwrap()
}

/// An instance that ran, is archived, and was asked for no last backup yet.
fn facts() -> Facts {
    Facts { wanted: true, ran: true, login: true, archiving: true, ..Facts::default() }
}

fn one(number: u32, phase: &'static str, asked: Timestamp) -> Try {
    let (ended, error) = match phase {
        "Completed" => (Some(asked), None),
        "Failed" => (Some(asked), Some("no such bucket".to_owned())),
        _ => (None, None),
    };
    Try { number, object: format!("registry-1-{number}"), asked: Some(asked), phase, ended, error }
}

fn told(step: &Step) -> Option<&Refusal> {
    match step {
        Step::Go(_) => None,
        Step::Begin(_, told) | Step::Wait(told) => told.as_ref(),
    }
}

#[test]
fn an_instance_that_is_backed_up_makes_a_last_backup_before_it_goes() {
    assert_eq!(next(&facts(), now()), Step::Begin(1, None));
    let tried = |phase| Facts { tries: vec![one(1, phase, now())], ..facts() };
    assert_eq!(next(&tried("Pending"), now()), Step::Wait(None));
    assert_eq!(next(&tried("Running"), now()), Step::Wait(None));
    assert_eq!(next(&tried("Completed"), now()), Step::Go(Fate::Stays(Some(now()))));
}

#[test]
fn what_has_nothing_to_keep_goes() {
    let check = |facts: Facts, fate| assert_eq!(next(&facts, now()), Step::Go(fate), "{facts:?}");
    check(Facts { wanted: false, ..facts() }, Fate::Nothing);
    check(Facts { declined: true, ..facts() }, Fate::Goes);
    check(Facts { ran: false, ..facts() }, Fate::Goes);
    // Declined also after it was made, and while the store is away.
    check(Facts { declined: true, tries: vec![one(1, "Completed", now())], ..facts() }, Fate::Goes);
    check(Facts { declined: true, login: false, ..facts() }, Fate::Goes);
}

#[test]
fn a_suspended_instance_keeps_its_newest_backup_and_is_not_woken() {
    let sleeps = Facts { sleeps: true, ..facts() };
    let newest = Some(now());
    assert_eq!(next(&Facts { newest, ..sleeps.clone() }, now()), Step::Go(Fate::Stays(newest)));
    for (facts, cause) in [
        (sleeps.clone(), "never backed up"),
        (Facts { newest, archiving: false, ..sleeps }, "did not reach the object store"),
    ] {
        let step = next(&facts, now());
        let told = told(&step).unwrap();
        assert!(matches!(step, Step::Wait(_)) && told.reason == reason::LAST_BACKUP_FAILED, "{step:?}");
        assert!(told.message.contains(cause), "{}", told.message);
    }
}

#[test]
fn a_backup_that_fails_is_named_with_its_cause_and_the_ways_out_and_tried_again() {
    let failed = Facts { tries: vec![one(3, "Failed", now())], ..facts() };
    let second = SignedDuration::from_secs(1);
    let step = next(&failed, now() + AGAIN - second);
    let why = told(&step).unwrap();
    assert!(matches!(step, Step::Wait(_)) && why.reason == reason::LAST_BACKUP_FAILED);
    for part in
        ["registry-1-3", "no such bucket", "spec.backup.lastBackup to false", "spec.onDeletion to Retain"]
    {
        assert!(why.message.contains(part), "{part}: {}", why.message);
    }
    let again = next(&failed, now() + AGAIN);
    assert!(matches!(&again, Step::Begin(4, Some(_))), "{again:?}");
    let never = next(&Facts { login: false, ..facts() }, now());
    assert!(told(&never).unwrap().message.contains("never gave it a login"));
}

#[test]
fn a_backup_that_takes_too_long_is_told_and_waited_for() {
    let runs = Facts { tries: vec![one(1, "Running", now())], ..facts() };
    let second = SignedDuration::from_secs(1);
    assert_eq!(next(&runs, now() + DEADLINE - second), Step::Wait(None));
    let step = next(&runs, now() + DEADLINE);
    assert!(matches!(step, Step::Wait(_)));
    assert_eq!(told(&step).unwrap().reason, reason::LAST_BACKUP_LATE);
    assert!(told(&step).unwrap().message.contains("registry-1-1"));
}

fn phases() -> impl Strategy<Value = Vec<Try>> {
    let phase = prop::sample::select(vec!["Pending", "Running", "Completed", "Failed"]);
    prop::collection::vec((phase, 0_i64..4_000), 0..4).prop_map(|all| {
        let one = |(index, (phase, age)): (usize, (&'static str, i64))| {
            one(u32::try_from(index).unwrap() + 1, phase, now() - SignedDuration::from_secs(age))
        };
        all.into_iter().enumerate().map(one).collect()
    })
}

proptest! {
    /// Whatever is known: the data of an instance that ran and is backed up goes only when a whole backup is there, or nobody wants
    /// one; what waits for a person says so; and the number of a try is never one that was used.
    #[test]
    fn nothing_goes_silently(
        wanted: bool, declined: bool, ran: bool, sleeps: bool, login: bool, archiving: bool, has_newest: bool, tries in phases(),
    ) {
        let newest = has_newest.then(now);
        let facts = Facts { wanted, declined, ran, sleeps, login, archiving, newest, tries };
        let whole = facts.tries.iter().any(|one| one.phase == "Completed") || sleeps && has_newest && archiving;
        match next(&facts, now()) {
            Step::Go(Fate::Stays(made)) => prop_assert!(whole && !declined && made.is_some()),
            Step::Go(_) => prop_assert!(!wanted || declined || !ran),
            Step::Begin(number, _) => {
                prop_assert!(!whole && login && !sleeps);
                prop_assert!(facts.tries.iter().all(|one| one.number < number));
            }
            Step::Wait(told) => {
                let under_way = facts.tries.last().is_some_and(|one| matches!(one.phase, "Pending" | "Running"));
                prop_assert!(told.is_some() || under_way && login && !sleeps);
            }
        }
    }

    /// A note that is written again in any order keeps that it is being removed, and what was measured.
    #[test]
    fn a_note_forgets_nothing(keeps in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>(), 0_i64..9), 1..6)) {
        let first = Archive::of(Fate::Stays(None), "rabat", "siyada-u1", 1).unwrap();
        let (mut now_noted, mut measured, mut removing) = (first.clone(), None, false);
        for (keep, measures, removes, bytes) in keeps {
            let wanted = Archive {
                keep, bytes, measured: measures, removing: removes.then(now), ..first.clone()
            };
            now_noted = wanted.over(&now_noted);
            measured = if measures { Some(bytes) } else { measured };
            removing |= removes;
            prop_assert_eq!(now_noted.keep, keep);
            prop_assert_eq!(now_noted.removing.is_some(), removing);
            prop_assert_eq!(now_noted.measured, measured.is_some());
            prop_assert_eq!(now_noted.bytes, measured.unwrap_or(bytes));
            prop_assert_eq!(now_noted.restorable(), keep && !removing);
        }
    }
}

fn cluster() -> Value {
    json!({
        "metadata": {"annotations": {"cnpg.io/hibernation": "off"}},
        "spec": {"backup": {"barmanObjectStore": {"destinationPath": "s3://siyada-u1/", "endpointURL": "https://s3"}}},
        "status": {"currentPrimary": "registry-1-1", "conditions": [{"type": "ContinuousArchiving", "status": "True"}]},
    })
}

fn seen(children: Vec<(ChildKind, &str, Value)>) -> Seen {
    let children =
        children.into_iter().map(|(kind, name, value)| (Key::new(kind, ENGINE, name), Arc::new(value)));
    Seen { children: children.collect(), ..Seen::default() }
}

#[test]
fn facts_are_read_from_the_engines_objects() {
    let order = common::registry(&examples());
    let backup = |number: Option<&str>, phase: &str| {
        let annotations = number.map_or(json!({}), |number| json!({"siyada.cloud/last-backup": number}));
        json!({
            "metadata": {"annotations": annotations, "creationTimestamp": "2026-11-24T10:00:00Z"},
            "status": {"phase": phase, "stoppedAt": "2026-11-24T10:05:00Z"},
        })
    };
    let children = vec![
        (ChildKind::Backup, "of-the-schedule", backup(None, "completed")),
        (ChildKind::Backup, "second", backup(Some("2"), "running")),
        (ChildKind::Backup, "first", backup(Some("1"), "failed")),
    ];
    let known = Facts::of(&order, &record(), &seen(children), &cluster());
    assert!(known.wanted && known.ran && known.login && known.archiving && !known.sleeps && !known.declined);
    assert_eq!(known.newest, "2026-11-24T10:05:00Z".parse().ok());
    let tries: Vec<(u32, &str)> = known.tries.iter().map(|one| (one.number, one.phase)).collect();
    assert_eq!(tries, [(1, "Failed"), (2, "Running")], "a backup of the schedule is no last backup");

    let mut declines = order.clone();
    declines.spec.backup = Some(BackupSpec { last_backup: Some(false), ..BackupSpec::default() });
    assert!(Facts::of(&declines, &record(), &Seen::default(), &cluster()).declined);
    let mut never = cluster();
    never["status"] = json!({"targetPrimary": "registry-1-1"});
    assert!(!Facts::of(&order, &record(), &Seen::default(), &never).ran, "an instance that is only planned");
    let without = Record { site: None, ..record() };
    assert!(!Facts::of(&order, &without, &Seen::default(), &json!({})).wanted);
    assert!(Facts::of(&order, &without, &Seen::default(), &cluster()).wanted, "an earlier version's record");
}

#[test]
fn without_its_engine_object_what_was_backed_up_stays_unless_it_is_declined() {
    let mut order = common::registry(&examples());
    assert_eq!(without_engine(&order), Fate::Goes);
    order.status.backup = Some(BackupStatus { last: Some(now().to_string()), ..BackupStatus::default() });
    assert_eq!(without_engine(&order), Fate::Stays(Some(now())));
    order.spec.backup = Some(BackupSpec { last_backup: Some(false), ..BackupSpec::default() });
    assert_eq!(without_engine(&order), Fate::Stays(Some(now())), "its data was to be kept");
    order.spec.on_deletion = OnDeletion::Delete;
    order.spec.deletion_protection = false;
    assert_eq!(without_engine(&order), Fate::Goes);
}

fn noted(fate: Fate) -> Note {
    let archive = Archive::of(fate, "rabat", "siyada-u1", 3 * MIB).unwrap();
    Note { record: record(), since: now(), archive }
}

fn names() -> Names {
    Names { engine: ENGINE.to_owned(), cluster: "registry-1".to_owned() }
}

#[test]
fn a_note_is_read_again_and_holds_no_secret() {
    let written = noted(Fate::Stays(Some(now())));
    let planned = written.planned(&names()).unwrap();
    assert!(planned.body.get("data").is_none() && planned.body.get("stringData").is_none());
    assert_eq!(planned.body["metadata"]["labels"]["siyada.cloud/order-uid"], "u1");
    let children = vec![(ChildKind::Secret, "registry-1-archive", planned.body)];
    assert_eq!(note(&seen(children)), Some((names(), written)));
    assert_eq!(note(&seen(vec![(ChildKind::Secret, "registry-1-archive", json!({}))])), None);
    assert_eq!(Archive::of(Fate::Nothing, "rabat", "siyada-u1", 1), None);
}

fn listed(fate: Fate, change: impl Fn(&mut Archive)) -> RetainedInstanceStatus {
    let mut noted = noted(fate);
    change(&mut noted.archive);
    let planned = noted.planned(&names()).unwrap();
    let kept = Kept::of(&seen(vec![(ChildKind::Secret, "registry-1-archive", planned.body)]), None).unwrap();
    status(&kept, &RetainedInstanceStatus::default(), 1, now())
}

#[test]
fn a_last_backup_is_listed_with_its_end_and_how_to_have_it_back() {
    let told = listed(Fate::Stays(Some(now())), |_| ());
    assert_eq!(told.data.as_deref(), Some("last backup"));
    assert_eq!((told.storage, told.backups.as_deref()), (None, Some("3Mi")));
    assert_eq!(told.last_backup, Some(now().to_string()));
    assert_eq!(told.expires.as_deref(), Some("2026-12-24T10:00:00Z"));
    assert!(told.restore.unwrap().contains("{retainedInstance: registry-1}"));
    assert!(is_true(&told.conditions, kind::RESTORABLE) && !is_true(&told.conditions, kind::EXPIRES_SOON));
    for gone in
        [listed(Fate::Goes, |_| ()), listed(Fate::Stays(None), |archive| archive.removing = Some(now()))]
    {
        assert_eq!(gone.data.as_deref(), Some("backups, which are being removed"));
        assert!(!is_true(&gone.conditions, kind::RESTORABLE));
    }
    assert_eq!(listed(Fate::Goes, |_| ()).expires, None, "what goes at once has no end of its own");
}

#[test]
fn a_store_that_is_away_is_told_and_the_rest_stays_as_it_was() {
    let planned = noted(Fate::Goes).planned(&names()).unwrap();
    let kept = Kept::of(&seen(vec![(ChildKind::Secret, "registry-1-archive", planned.body)]), None).unwrap();
    let quiet = status(&kept, &RetainedInstanceStatus::default(), 1, now());
    assert!(quiet.conditions.iter().all(|c| c.type_ != kind::DELETION_BLOCKED));
    let trouble = Some(Refusal { reason: reason::BACKUP_STORE_UNAVAILABLE, message: "no route".to_owned() });
    let told = status(&Kept { trouble, ..kept.clone() }, &quiet, 1, now());
    let blocked = told.conditions.iter().find(|c| c.type_ == kind::DELETION_BLOCKED).unwrap();
    assert_eq!(
        (blocked.reason.as_str(), blocked.message.as_str()),
        (reason::BACKUP_STORE_UNAVAILABLE, "no route")
    );
    assert_eq!(status(&kept, &told, 1, now()), quiet);
}

#[test]
fn a_note_of_an_engine_object_that_stays_says_nothing() {
    let mut kept = cluster();
    kept["metadata"] = json!({
        "labels": {"siyada.cloud/retained": "true"},
        "annotations": {
            "siyada.cloud/order-record": json!(record()).to_string(), "siyada.cloud/retained-since": now().to_string(),
            "siyada.cloud/backup-bytes": (5 * MIB).to_string(),
        },
    });
    let look = |cluster: &Value| {
        let note = noted(Fate::Goes).planned(&names()).unwrap().body;
        let children = vec![
            (ChildKind::Cluster, "registry-1", cluster.clone()),
            (ChildKind::Secret, "registry-1-archive", note),
            (ChildKind::Secret, "registry-1-store", json!({})),
        ];
        Kept::of(&seen(children), None).unwrap()
    };
    let stays = look(&kept);
    assert!(stays.archived && stays.archive.is_none() && stays.backup_bytes == 5 * MIB);
    kept["metadata"]["deletionTimestamp"] = json!(now().to_string());
    assert!(!look(&kept).archived);
}

#[test]
fn kept_data_is_priced_with_its_backups_and_one_key_is_one_item() {
    let check = |record: &Record, (storage, backups): (i64, i64), expect: &[(&str, i64)]| {
        let items = kept_items(record, storage, backups);
        let said: Vec<(&str, i64)> = items.iter().map(|item| (item.sku.as_str(), item.quantity)).collect();
        assert_eq!(said, expect);
    };
    check(&record(), (10 * MIB, 3 * MIB), &[("volume", 10), ("backup", 3)]);
    check(&record(), (0, 3 * MIB), &[("backup", 3)]);
    check(&record(), (10 * MIB, 0), &[("volume", 10)]);
    check(&Record { backup_sku: None, ..record() }, (0, 3 * MIB), &[]);
    let same = Record { backup_sku: Some("volume".parse().unwrap()), ..record() };
    check(&same, (10 * MIB, 3 * MIB), &[("volume", 13)]);
    let fact = kept_backups(&record(), 3 * MIB + 1).unwrap();
    assert_eq!(fact.level.unwrap().quantity, 4, "a MiB that was begun counts");
    assert_eq!(kept_backups(&record(), 0), None);
}

#[test]
fn backups_are_billed_with_the_archive_that_was_beside_the_newest() {
    let backup = |done: &str, size: &str, archive: Option<i64>| ServiceBackupStatus {
        phase: Some("Completed".to_owned()),
        order_uid: Some("u1".to_owned()),
        completed_at: Some(done.to_owned()),
        size: Some(size.to_owned()),
        archive_bytes: archive,
        ..ServiceBackupStatus::default()
    };
    let mut all = [
        backup("2026-11-24T01:30:00Z", "2Mi", Some(7)),
        backup("2026-11-23T01:30:00Z", "1Mi", Some(9)),
        // An earlier version measured no archive.
        backup("2026-11-25T01:30:00Z", "4Mi", None),
        ServiceBackupStatus {
            phase: Some("Expired".to_owned()),
            ..backup("2026-11-26T01:30:00Z", "8Mi", Some(1))
        },
        ServiceBackupStatus {
            order_uid: Some("u2".to_owned()),
            ..backup("2026-11-26T01:30:00Z", "8Mi", Some(1))
        },
    ];
    let uid = "u1".parse().unwrap();
    assert_eq!(bytes_of(&uid, all.iter()), 7 * MIB + 7);
    all.reverse();
    assert_eq!(bytes_of(&uid, all.iter()), 7 * MIB + 7);
    assert_eq!(bytes_of(&uid, [].iter()), 0);
}

#[test]
fn an_archive_is_read_until_what_is_made_from_it_has_run() {
    let source = json!({"orderUid": "u1", "bucket": "siyada-u1"}).to_string();
    let made = |primary: &str| json!({"metadata": {"annotations": {"siyada.cloud/restored-from": source}}, "status": {"currentPrimary": primary}});
    assert!(reads(&made(""), "siyada-u1"));
    assert!(!reads(&made("new-1"), "siyada-u1"));
    assert!(!reads(&made(""), "siyada-u2"));
    assert!(!reads(&cluster(), "siyada-u1"), "its own engine object reads nobody's");
    assert_eq!(bucket_of(&cluster()), Some(("siyada-u1".to_owned(), "https://s3".to_owned())));
    // A pass that began before the mark was seen is over before anything is removed.
    assert!(MARKED > SignedDuration::try_from(PASS).unwrap());
}

#[test]
fn an_order_that_asks_to_be_restored_from_it_is_waited_for() {
    let order = |from: RestoreFrom| {
        let mut order = common::registry(&examples());
        order.spec.restore_from = Some(from);
        order
    };
    let retained =
        |name: &str| RestoreFrom { retained_instance: Some(name.to_owned()), ..RestoreFrom::default() };
    let backup = RestoreFrom { backup: Some("b".to_owned()), ..RestoreFrom::default() };
    let asked = |order: &Order, of: Option<&str>| asks(order, &record(), "registry-1", of);
    assert!(asked(&order(retained("registry-1")), None) && asked(&order(retained("u1")), None));
    assert!(!asked(&order(retained("registry-2")), None));
    assert!(asked(&order(backup.clone()), Some("u1")) && !asked(&order(backup), Some("u2")));
    assert!(!asked(&common::registry(&examples()), None));
    let mut going = order(retained("u1"));
    going.deletion = Some(now());
    assert!(!asked(&going, None), "it will never be made");
}

#[test]
fn the_days_and_the_site_are_on_the_record_only_of_what_is_backed_up() {
    let mut input = examples();
    let order = common::registry(&input);
    let record = |input: &siyada_operator::plan_command::Input| {
        Record::of(&check(&order, &input.catalogue, now()).unwrap())
    };
    let usual = record(&input);
    assert_eq!((usual.site, usual.last_backup_days, usual.backup_sku), (None, None, None));
    for site in &mut input.catalogue.sites {
        let store = json!({"endpoint": "https://s3", "bucketPrefix": "siyada", "credentialsSecret": "s"});
        Arc::make_mut(site).spec.object_storage = serde_json::from_value(store).unwrap();
    }
    for offering in &mut input.catalogue.offerings {
        for plan in &mut Arc::make_mut(offering).spec.plans {
            let backup = json!({"schedule": "30 1 * * *", "retentionDays": 7});
            (plan.backup, plan.backup_sku) =
                (serde_json::from_value(backup).unwrap(), Some("volume".to_owned()));
        }
    }
    let backed_up = record(&input);
    assert!(backed_up.site.is_some() && backed_up.backup_sku.is_some());
    assert_eq!(backed_up.last_backup_days, Some(30));
    for offering in &mut input.catalogue.offerings {
        Arc::make_mut(offering).spec.last_backup_days = Some(90);
    }
    assert_eq!(record(&input).last_backup_days, Some(90));
}

//! Changes of the major version: nothing is rewritten without a backup, no archive is written by two versions, and nothing is taken back
//! once the data may have been touched.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod common;

use common::{now, platform};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};
use siyada_crds::order::{OperationPhase, Work};
use siyada_operator::admission::{Advice, Wish, advise};
use siyada_operator::backup::{Backups, made};
use siyada_operator::catalogue::Catalogue;
use siyada_operator::check::{Refusal, Valid, check};
use siyada_operator::condition::{kind, reason};
use siyada_operator::hold;
use siyada_operator::major::{self, FRESH, Failure, Phase, Upgrade, archive_at, expired, failure};
use siyada_operator::names::{MAJOR, MAJOR_BACKUP, Names};
use siyada_operator::object::{ChildKind, Key, Mode};
use siyada_operator::order::{Kind, Order};
use siyada_operator::plan::backup::StoreKey;
use siyada_operator::plan::{Certificate, Fresh, plan};
use siyada_operator::pods::{Pod, Rewrites, Rewriting};
use siyada_operator::reconcile::as_it_may_be;
use siyada_operator::retained::Record;
use siyada_operator::seen::{Seen, metadata};
use siyada_operator::status::{Admission, Picture, status};
use std::collections::BTreeMap;
use std::sync::Arc;

const HEALTHY: &str = "Cluster in healthy state";

/// The examples with a store, and the registry without wishes of its own.
fn ordered() -> (Order, Catalogue) {
    let mut input = common::examples();
    for site in &mut input.catalogue.sites {
        let store = json!({"endpoint": "https://s3", "bucketPrefix": "siyada", "credentialsSecret": "s"});
        Arc::make_mut(site).spec.object_storage = Some(serde_json::from_value(store).unwrap());
    }
    let mut order = common::registry(&input);
    (order.spec.storage, order.spec.max_monthly_cost, order.spec.backup) = (None, None, None);
    (order.spec.suspend, order.spec.version) = (false, "15".to_owned());
    order.spec.plan = "small".to_owned();
    (order, input.catalogue)
}

/// The pod that rewrites, as the engine has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Job {
    state: Rewriting,
    /// Whether the data was touched.
    touched: bool,
}

/// An order, and an engine that does what it is told, when it is let.
struct World {
    order: Order,
    catalogue: Catalogue,
    names: Names,
    seen: Seen,
    now: Timestamp,
    /// Which major version the data on the disk has, and which one the engine knows of.
    disk: u64,
    known: u64,
    job: Option<Job>,
    /// Whether the pod cannot begin, and whether logs can be read.
    stuck: bool,
    log: bool,
    /// Who wrote into an archive.
    written: BTreeMap<String, u64>,
}

impl World {
    fn new() -> Self {
        let (order, catalogue) = ordered();
        let names = Names::of(&order, &check(&order, &catalogue, now()).unwrap().tenant);
        let mut world = Self {
            order,
            catalogue,
            names,
            seen: Seen::default(),
            now: now(),
            disk: 15,
            known: 15,
            job: None,
            stuck: false,
            log: true,
            written: BTreeMap::new(),
        };
        world.pass();
        world.pass();
        assert_eq!(world.image(), "15");
        world
    }

    fn key(&self) -> Key {
        Key::new(ChildKind::Cluster, &self.names.engine, &self.names.cluster)
    }

    fn cluster(&self) -> &Value {
        &self.seen.children[&self.key()]
    }

    fn image(&self) -> &str {
        self.cluster()["spec"]["imageName"].as_str().unwrap().rsplit(':').next().unwrap()
    }

    fn archive(&self) -> String {
        self.cluster()["spec"]["backup"]["barmanObjectStore"]["serverName"].as_str().unwrap().to_owned()
    }

    fn record(&self) -> Option<Upgrade> {
        major::recorded(self.cluster())
    }

    fn phase(&self) -> Option<Phase> {
        self.record().map(|record| record.phase)
    }

    /// Whether the database runs.
    fn runs(&self) -> bool {
        self.job.is_none() && self.image() == self.known.to_string() && self.disk == self.known
    }

    /// What the engine and the watches show.
    fn show(&mut self) {
        if !self.seen.children.contains_key(&self.key()) {
            return;
        }
        let runs = self.runs();
        let mut cluster = self.cluster().clone();
        cluster["status"] = json!({
            "phase": if runs { HEALTHY } else { "Upgrading Postgres major version" },
            "readyInstances": i32::from(runs), "pgDataImageInfo": {"majorVersion": self.known},
            "conditions": [{"type": "ContinuousArchiving", "status": "True", "message": ""}],
        });
        if runs {
            let archive = self.archive();
            let writer = *self.written.entry(archive.clone()).or_insert(self.disk);
            assert_eq!(writer, self.disk, "archive {archive} is written by two versions");
        }
        self.seen.children.insert(self.key(), Arc::new(cluster));
        self.seen.login = if runs { Some(Ok(())) } else { None };
        let pod = |job: Job| Pod {
            name: "db-1-major-upgrade-x".into(),
            hindrance: (self.stuck && job.state == Rewriting::Pending)
                .then(|| "it cannot be started".to_owned()),
            rewrites: Some(Rewrites { job: "db-1-major-upgrade".into(), state: job.state }),
            ..Pod::default()
        };
        self.seen.pods = self.job.map(pod).into_iter().collect();
        self.seen.failure = major::unread(&self.seen, &self.names).map(|(pod, job)| Failure {
            job,
            pod,
            untouched: self.log.then(|| !self.job.unwrap().touched),
            why: "a column cannot be rewritten".into(),
        });
    }

    fn fresh(&self) -> Fresh {
        Fresh {
            owner_password: "o".into(),
            login_password: "l".into(),
            further_seed: "s".into(),
            rotation: None,
            certificate: Some(Certificate {
                certificate_pem: "c".into(),
                key_pem: "k".into(),
                renew_after_second: i64::MAX,
            }),
            store_key: Some(StoreKey { id: "i".into(), secret: "s".into() }),
        }
    }

    /// A pass as the reconciler makes one. Says what it could not do.
    fn pass(&mut self) -> Option<Refusal> {
        self.now = self.now.checked_add(SignedDuration::from_secs(1)).unwrap();
        self.show();
        (self.seen.major, self.seen.waiting) = (None, Vec::new());
        let valid = check(&self.order, &self.catalogue, self.now);
        let names = self.names.clone();
        let valid =
            valid.and_then(|v| as_it_may_be(v, Some(&names), &mut self.seen, &self.catalogue, self.now));
        let mut problem = None;
        if let Ok(valid) = &valid {
            let mut planned = plan(valid, &self.seen, &self.fresh(), &platform());
            problem = planned.problem;
            if problem.is_none() {
                let held = hold::hold(valid, &names, &self.seen, &mut planned.objects, self.now);
                self.seen.waiting.extend(held);
                for object in planned.objects {
                    let there = self.seen.children.get(&object.key).cloned();
                    if object.mode == Mode::CreateOnly && there.is_some() {
                        continue;
                    }
                    let mut body = object.body;
                    body["metadata"]["creationTimestamp"] = json!(self.now.to_string());
                    if let Some(there) = there {
                        body["status"] = there["status"].clone();
                    }
                    self.seen.children.insert(object.key, Arc::new(body));
                }
                problem = self.seen.major.as_ref().and_then(|stage| stage.problem.clone());
            }
        }
        let admission = match &valid {
            Ok(_) => Admission::Held,
            Err(refusal) => Admission::Refused(refusal.clone()),
        };
        let told = problem.clone().or_else(|| valid.as_ref().err().cloned());
        let picture = Picture {
            order: &self.order,
            valid: valid.as_ref().ok(),
            admission,
            seen: &self.seen,
            names: Some(names),
            problem,
            metered: true,
        };
        self.order.status = status(&picture, self.now);
        told
    }

    /// The oldest backup that is not finished ends.
    fn backup(&mut self, well: bool) {
        let open = |(key, object): &(&Key, &Arc<Value>)| {
            key.kind == ChildKind::Backup && object.pointer("/status/phase").is_none()
        };
        let Some(key) = self.seen.children.iter().find(open).map(|(key, _)| key.clone()) else { return };
        if !self.runs() {
            return;
        }
        let mut object = (*self.seen.children[&key]).clone();
        object["status"] = json!({
            "phase": if well { "completed" } else { "failed" }, "startedAt": self.now.to_string(),
            "stoppedAt": self.now.to_string(), "backupId": "20261124T100000", "serverName": self.archive(),
            "majorVersion": self.disk, "error": "the store is away",
        });
        self.seen.children.insert(key, Arc::new(object));
    }

    /// The engine goes on where it may.
    fn engine(&mut self) {
        let wanted: u64 = self.image().parse().unwrap();
        match self.job {
            Some(Job { state: Rewriting::Succeeded, .. }) => {
                (self.known, self.job) = (self.disk, None);
            }
            // It removes whatever runs there.
            Some(_) if wanted <= self.known => self.job = None,
            Some(job) if job.state == Rewriting::Pending && !self.stuck => {
                self.job = Some(Job { state: Rewriting::Running, ..job });
            }
            None if wanted > self.known => self.job = Some(Job { state: Rewriting::Pending, touched: false }),
            _ => {}
        }
    }

    /// The job goes on.
    fn work(&mut self, ends: bool, well: bool) {
        let Some(job) = self.job.filter(|job| job.state == Rewriting::Running) else { return };
        self.job = Some(match (ends, well) {
            (false, _) => Job { touched: true, ..job },
            (true, true) => {
                self.disk = 17;
                Job { state: Rewriting::Succeeded, touched: true }
            }
            (true, false) => Job { state: Rewriting::Failed, ..job },
        });
    }

    fn later(&mut self, time: SignedDuration) {
        self.now = self.now.checked_add(time).unwrap();
    }

    fn ask(&mut self, version: &str) -> Option<Refusal> {
        self.order.spec.version = version.to_owned();
        self.order.generation += 1;
        self.pass()
    }

    /// All that helps, until nothing moves.
    fn settle(&mut self) {
        for _ in 0..12 {
            self.pass();
            self.backup(true);
            self.engine();
            self.work(true, true);
        }
        self.pass();
    }

    fn operation(&self) -> (Work, OperationPhase) {
        let operation = self.order.status.operation.as_ref().unwrap();
        (operation.type_, operation.state)
    }

    fn ready(&self) -> (String, String) {
        let ready = self.order.status.conditions.iter().find(|c| c.type_ == kind::READY).unwrap();
        (ready.reason.clone(), ready.message.clone())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the engine, the job, the store, the clock and the person do, in any order.
    #[test]
    fn nothing_is_rewritten_without_a_backup_nor_taken_back_once_it_may_be_touched(
        steps in proptest::collection::vec((0_u8..14, any::<bool>()), 1..120),
    ) {
        let mut world = World::new();
        let mut rewritten = false;
        for (step, well) in steps {
            let before = (world.image().to_owned(), world.archive());
            match step {
                0 | 1 => world.backup(well),
                2..=4 => world.engine(),
                5 => world.work(false, well),
                6 | 7 => world.work(true, well),
                8 | 9 => drop(world.ask("17")),
                10 => drop(world.ask("15")),
                11 => world.later(SignedDuration::from_mins(if well { 6 } else { 60 * 27 })),
                12 => world.stuck = well,
                _ => world.log = well,
            }
            let job = world.job;
            world.pass();
            let after = (world.image().to_owned(), world.archive());
            // The image and the archive change together.
            prop_assert_eq!(before.0 == after.0, before.1 == after.1);
            if (before.0.as_str(), after.0.as_str()) == ("15", "17") {
                let record = world.record().unwrap();
                let all = made(&world.seen);
                let named = all.iter().find(|made| Some(&made.listed_as) == record.backup.as_ref()).unwrap();
                prop_assert!(named.is_whole() && named.lies_in(&before.1) && named.major == Some(15));
                prop_assert!(world.now.duration_since(named.stopped.unwrap()) <= FRESH);
                prop_assert!(job.is_none());
            }
            if (before.0.as_str(), after.0.as_str()) == ("17", "15") {
                let safe = |job: Job| !job.touched && matches!(job.state, Rewriting::Failed | Rewriting::Pending);
                prop_assert!(job.is_some_and(safe) && world.disk == 15 && !rewritten);
            }
            rewritten |= world.known == 17;
            prop_assert_eq!(world.order.status.version.as_deref() == Some("17"), world.record().is_some_and(|r| r.is_rewritten()));
        }
        // Once everything helps it is as it is asked, unless a job ended with the data in its hands, or nobody can read how.
        (world.stuck, world.log) = (false, true);
        world.ask("17");
        world.later(SignedDuration::from_hours(1));
        if world.job.is_some_and(|job| job.state == Rewriting::Failed) {
            world.ask("15");
            if world.image() == "17" {
                prop_assert!(world.job.is_some_and(|job| job.touched));
                return Ok(());
            }
            world.settle();
            world.ask("17");
        }
        world.settle();
        prop_assert_eq!((world.image(), world.phase()), ("17", Some(Phase::Done)));
        prop_assert!(world.runs());
        let writes = (world.cluster().clone(), world.order.status.clone());
        world.pass();
        prop_assert_eq!(&writes.0["metadata"]["annotations"][MAJOR], &world.cluster()["metadata"]["annotations"][MAJOR]);
        prop_assert_eq!(writes.1.operation, world.order.status.operation);
    }
}

#[test]
fn a_change_is_told_step_by_step_and_leaves_the_name_of_the_backup_before() {
    let mut world = World::new();
    world.settle();
    assert_eq!(world.record(), None, "an order that never changed its version carries no record");
    assert_eq!(world.ask("17"), None);
    assert_eq!((world.phase(), world.image()), (Some(Phase::Backup), "15"));
    assert_eq!(world.operation(), (Work::UpgradeMajorVersion, OperationPhase::InProgress));
    let marks = |world: &World| {
        let mark = |object: &Arc<Value>| metadata(object, "annotations", MAJOR_BACKUP).map(str::to_owned);
        world.seen.children.values().filter_map(mark).collect::<Vec<_>>()
    };
    assert_eq!(marks(&world), ["1/before/1"]);
    world.backup(false);
    world.pass();
    let told = world.order.status.operation.clone().unwrap();
    assert!(told.retries == Some(true) && told.error.unwrap().contains("the store is away"));
    assert_eq!(world.ready().0, reason::LOGIN_SUCCEEDED, "the database runs on");
    world.later(SignedDuration::from_mins(6));
    world.pass();
    assert_eq!(marks(&world).len(), 2, "it is tried again");
    world.backup(true);
    world.pass();
    assert_eq!((world.phase(), world.image(), world.archive().as_str()), (Some(Phase::Running), "17", "g2"));
    assert_eq!(world.order.status.version.as_deref(), Some("15"));
    let health = |world: &World| {
        let told = world.order.status.conditions.iter().find(|c| c.type_ == kind::BACKUP_HEALTHY).unwrap();
        (told.status.clone(), told.reason.clone())
    };
    assert_eq!(health(&world), ("Unknown".to_owned(), reason::BACKUP_PENDING.to_owned()));
    let span = world.order.status.backup.clone();
    world.engine();
    world.engine();
    let refused = world.ask("15").unwrap();
    assert!(refused.message.contains("cannot be stopped"), "{refused:?}");
    world.ask("17");
    world.work(true, true);
    world.engine();
    world.pass();
    assert_eq!((world.phase(), world.order.status.version.as_deref()), (Some(Phase::Securing), Some("17")));
    assert_eq!(world.order.status.backup, span, "what is in no archive yet is not claimed");
    world.later(SignedDuration::from_secs(30));
    world.backup(true);
    world.pass();
    world.pass();
    assert_eq!(world.operation(), (Work::UpgradeMajorVersion, OperationPhase::Succeeded));
    let from = world.order.status.upgraded_from.clone().unwrap();
    let first = world.order.status.backup.clone().unwrap().first_recoverable.unwrap();
    assert!(first > from.until, "{first} is before {from:?} ended");
    assert_eq!(from.version, "15");
    let refused = world.ask("15").unwrap();
    assert!(refused.message.contains(&format!("restoreFrom.backup {}", from.backup)), "{refused:?}");
    assert_eq!(world.image(), "17");
}

#[test]
fn what_failed_is_told_with_the_job_and_is_taken_back_only_while_the_data_is_untouched() {
    let failed = |touched: bool, log: bool| {
        let mut world = World::new();
        world.ask("17");
        world.backup(true);
        world.pass();
        world.engine();
        world.engine();
        if touched {
            world.work(false, true);
        }
        world.work(true, false);
        world.log = log;
        let told = world.pass().unwrap();
        assert_eq!(told.reason, reason::MAJOR_UPGRADE_FAILED);
        assert!(
            told.message.contains("job db-1-major-upgrade") && told.message.contains("a column cannot"),
            "{told:?}"
        );
        assert_eq!(world.ready(), (reason::MAJOR_UPGRADE_FAILED.to_owned(), told.message.clone()));
        assert_eq!(world.operation(), (Work::UpgradeMajorVersion, OperationPhase::Failed));
        (world, told.message)
    };
    let (mut world, message) = failed(false, true);
    assert!(message.contains("set spec.version back to 15"), "{message}");
    world.ask("15");
    assert_eq!((world.image(), world.archive().as_str(), world.phase()), ("15", "g1", Some(Phase::Back)));
    world.engine();
    world.pass();
    assert!(world.runs());
    world.pass();
    assert_eq!(world.operation(), (Work::UpgradeMajorVersion, OperationPhase::Cancelled));
    assert_eq!(world.order.status.version.as_deref(), Some("15"));
    // Another try has a backup and an archive of its own.
    world.ask("17");
    assert_eq!(world.phase(), Some(Phase::Backup));
    world.settle();
    assert_eq!((world.image(), world.archive().as_str(), world.phase()), ("17", "g3", Some(Phase::Done)));
    for (touched, log) in [(true, true), (false, false)] {
        let (mut world, message) = failed(touched, log);
        assert!(message.contains("restoreFrom.backup"), "{message}");
        world.ask("15");
        assert_eq!(world.image(), "17");
    }
    let (mut world, _) = failed(false, false);
    world.log = true;
    world.ask("15");
    assert_eq!(world.image(), "15", "the log can be read after all");
}

#[test]
fn what_waits_for_a_window_has_its_backup_before_and_begins_with_a_young_one() {
    let mut world = World::new();
    let later = json!({"dayOfWeek": "Sunday", "startTime": "02:00", "timeZone": "UTC", "apply": "Window"});
    world.order.spec.maintenance = Some(serde_json::from_value(later).unwrap());
    world.ask("17");
    assert_eq!(world.operation(), (Work::UpgradeMajorVersion, OperationPhase::Pending));
    world.backup(true);
    world.pass();
    assert_eq!((world.image(), world.phase()), ("15", Some(Phase::Backup)));
    // It is Tuesday; on Sunday the backup is five days old.
    world.now = "2026-11-29T03:40:00Z".parse().unwrap();
    world.pass();
    assert_eq!((world.image(), world.phase()), ("15", Some(Phase::Backup)));
    world.later(SignedDuration::from_mins(10));
    world.pass();
    let all = made(&world.seen);
    assert_eq!(all.iter().filter(|made| made.mark.is_some()).count(), 2, "one more, not one in each pass");
    world.backup(true);
    world.pass();
    assert_eq!(
        (world.image(), world.phase()),
        ("17", Some(Phase::Running)),
        "its turn is not lost by the backup"
    );
    world.ask("15");
    assert_eq!(world.image(), "17");
}

#[test]
fn a_wish_taken_back_before_anything_is_done_leaves_the_database_as_it_is() {
    let mut world = World::new();
    let image = world.cluster()["spec"].clone();
    world.ask("17");
    world.ask("15");
    world.pass();
    assert_eq!((world.phase(), &world.cluster()["spec"]), (Some(Phase::Back), &image));
    assert_eq!(world.operation(), (Work::UpgradeMajorVersion, OperationPhase::Cancelled));
}

fn edit(order: &Order, catalogue: &Catalogue) -> Result<Valid, Refusal> {
    let mut order = order.clone();
    order.spec.version = "17".into();
    check(&order, catalogue, now())
}

#[test]
fn another_major_version_is_admitted_only_where_it_can_be_done_and_is_announced() {
    let mut world = World::new();
    world.settle();
    let (order, catalogue) = (world.order.clone(), world.catalogue.clone());
    let before = check(&order, &catalogue, now()).unwrap();
    let after = edit(&order, &catalogue).unwrap();
    match advise(Ok(&after), Some(&before), None, Wish::Change) {
        Advice::Allow(said) => {
            assert!(
                said.iter().any(|s| s.contains("first a backup is made") && s.contains("back to 15")),
                "{said:?}"
            );
        }
        Advice::Deny(why) => panic!("{why:?}"),
    }
    let refused = |order: &Order, catalogue: &Catalogue, text: &str| {
        let why = edit(order, catalogue).unwrap_err();
        assert_eq!(why.reason, reason::MAJOR_VERSION_CHANGE);
        assert!(why.message.contains(text) && why.message.ends_with("it runs on as it is"), "{why:?}");
    };
    let suspended =
        Order { spec: siyada_crds::OrderSpec { suspend: true, ..order.spec.clone() }, ..order.clone() };
    refused(&suspended, &catalogue, "set spec.suspend to false");
    let mut without = catalogue.clone();
    for site in &mut without.sites {
        Arc::make_mut(site).spec.object_storage = None;
    }
    refused(&order, &without, "a backup is made, and its plan or its site has none");
    let mut silent = catalogue.clone();
    for offering in &mut silent.offerings {
        for version in &mut Arc::make_mut(offering).spec.versions {
            version.upgrade_from.clear();
        }
    }
    refused(&order, &silent, "order a new instance with version 17 and move the data");
}

#[test]
fn a_document_store_becomes_no_other_major_version() {
    let (_, mut catalogue) = ordered();
    let input = common::examples();
    let mut order = input
        .orders
        .iter()
        .find(|o| o.at.kind == Kind::Documents && o.at.name != "everything")
        .unwrap()
        .clone();
    (order.spec.storage, order.spec.max_monthly_cost) = (None, None);
    // One with another database behind it, another gateway alone, and one that only has another number.
    let same = |o: &siyada_crds::ServiceOffering| o.spec.versions[0].image.clone();
    for offering in &mut catalogue.offerings {
        let offering = Arc::make_mut(offering);
        let versions =
            [("1.25", "registry/pg:17".to_owned()), ("2.0", same(offering)), ("1.26", same(offering))];
        for (version, image) in versions {
            let newer = siyada_crds::catalogue::EngineVersion {
                version: version.into(),
                image,
                upgrade_from: vec![order.spec.version.clone()],
                ..offering.spec.versions[0].clone()
            };
            offering.spec.versions.push(newer);
        }
    }
    let valid = check(&order, &catalogue, now()).unwrap();
    let names = Names::of(&order, &valid.tenant);
    order.status.version = Some(order.spec.version.clone());
    order.status.engine_ref =
        Some(siyada_crds::order::EngineRef { namespace: names.engine.clone(), name: names.cluster.clone() });
    for version in ["1.25", "2.0"] {
        order.spec.version = version.into();
        let why = check(&order, &catalogue, now()).unwrap_err();
        let sentence = format!(
            "a document store cannot become another major version in place: order a new instance with version \
             {version} and move the data; it runs on as it is"
        );
        assert_eq!((why.reason, why.message), (reason::MAJOR_VERSION_CHANGE, sentence));
    }
    order.spec.version = "1.26".into();
    assert_eq!(check(&order, &catalogue, now()).map(|_| ()), Ok(()));
}

/// An order that is over with a change.
fn done() -> World {
    let mut world = World::new();
    world.ask("17");
    world.settle();
    world
}

#[test]
fn a_moment_is_restored_from_the_archive_that_has_it_and_kept_data_from_the_last() {
    let world = done();
    let (record, all) = (world.record().unwrap(), made(&world.seen));
    let first = |archive: &str| {
        all.iter().filter(|m| m.is_whole() && m.lies_in(archive)).filter_map(|m| m.stopped).min().unwrap()
    };
    let until = record.past[0].until;
    assert_eq!(archive_at(&record, &all, None), Ok(("g2".into(), 17)));
    assert_eq!(archive_at(&record, &all, Some(until)), Ok(("g1".into(), 15)));
    assert_eq!(archive_at(&record, &all, Some(first("g2"))), Ok(("g2".into(), 17)));
    let second = SignedDuration::from_secs(1);
    for none in [first("g1").checked_sub(second).unwrap(), until.checked_add(second).unwrap()] {
        assert!(archive_at(&record, &all, Some(none)).unwrap_err().contains("choose another time"), "{none}");
    }
    let note = metadata(world.cluster(), "annotations", "siyada.cloud/order-record").unwrap();
    let kept: Record = serde_json::from_str(note).unwrap();
    assert_eq!((kept.archive.as_deref(), kept.major), (Some("g2"), Some(17)));
    // An order that is deleted before its record says so: the last backup counts, wherever it was made.
    let early = Record { archive: Some("g1".into()), major: Some(15), ..kept.clone() };
    assert_eq!(early.with_newest(&all, world.cluster()), kept);
}

#[test]
fn the_archive_of_a_version_that_ended_is_kept_for_its_days_and_then_forgotten() {
    let mut world = done();
    let valid = check(&world.order, &world.catalogue, now()).unwrap();
    let Backups::On(policy) = &valid.backups else { panic!("no backups") };
    let days = SignedDuration::from_hours(24 * i64::from(policy.retention_days));
    let record = world.record().unwrap();
    let end = record.past[0].until.checked_add(days).unwrap();
    let over = |record: &Upgrade, made: &[siyada_operator::backup::Made], now: Timestamp| {
        expired(record, policy, made, now).iter().map(|past| past.archive.clone()).collect::<Vec<_>>()
    };
    let all = made(&world.seen);
    let after = end.checked_add(SignedDuration::from_secs(1)).unwrap();
    assert!(over(&record, &all, end).is_empty());
    assert_eq!(over(&record, &all, after), ["g1"]);
    let none: Vec<_> = all.iter().filter(|made| !made.lies_in("g2")).cloned().collect();
    assert!(over(&record, &none, after).is_empty(), "without a backup of what runs nothing goes");
    let open = Upgrade { phase: Phase::Securing, ..record };
    assert!(over(&open, &all, after).is_empty());
    world.now = after;
    world.pass();
    assert_eq!(world.record().unwrap().past.len(), 1, "there are backups in it");
    let gone: Vec<Key> = major::backups_in(&world.seen, "g1").map(|(key, _)| key.clone()).collect();
    assert!(!gone.is_empty());
    world.seen.children.retain(|key, _| !gone.contains(key));
    world.pass();
    assert_eq!((world.record().unwrap().past.len(), world.archive().as_str()), (0, "g2"));
}

#[test]
fn a_log_says_how_far_a_job_came_and_why_it_ended() {
    let line = |text: &str| json!({"level": "info", "msg": text}).to_string();
    let log = |lines: &[&str]| lines.iter().map(|text| line(text)).collect::<Vec<_>>().join("\n");
    let check = |log: Option<&str>, untouched: Option<bool>, why: &str| {
        let found = failure("job", "pod", log);
        assert_eq!((found.untouched, found.why.as_str()), (untouched, why));
    };
    let first = "Searching for failed upgrades";
    // As PostgreSQL 17.12 and 16 say it.
    let failed = "Checking data type usage                        failed check: Checking for reg* data types in user tables";
    let cause = "Your installation contains one of the reg* data types in user tables.";
    let said = format!(
        "Checking data type usage failed check: Checking for reg* data types in user tables Data type checks failed: {cause}"
    );
    let after = "These data types reference system OIDs that are not preserved by";
    let lines = [first, "Running pg_upgrade", failed, "", "Data type checks failed: ", cause, after];
    check(Some(&log(&lines)), Some(true), &said);
    let fatal = "Checking for reg* data types in user tables                   fatal";
    check(Some(&log(&[first, fatal])), Some(true), "Checking for reg* data types in user tables fatal");
    let linked = "Adding \".old\" suffix to old global/pg_control                 ok";
    check(
        Some(&log(&[first, linked, "Linking user relation files                                   ok"])),
        Some(false),
        "",
    );
    check(Some(&log(&["Running pg_upgrade"])), None, "");
    check(Some(""), None, "");
    check(None, None, "");
}

#[test]
fn a_record_that_is_lost_changes_neither_the_archive_nor_the_image() {
    let mut world = done();
    let mut cluster = world.cluster().clone();
    cluster["metadata"]["annotations"].as_object_mut().unwrap().remove(MAJOR);
    world.seen.children.insert(world.key(), Arc::new(cluster));
    world.pass();
    assert_eq!((world.image(), world.archive().as_str()), ("17", "g2"));
}

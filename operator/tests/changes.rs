//! Changes of an order: what is told of each, when it is over, and what it costs more or less.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod common;

use common::{now, project};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};
use siyada_crds::OrderStatus;
use siyada_crds::order::{Operation, OperationPhase, Parameter, Work};
use siyada_operator::admission::{Advice, Wish, advise};
use siyada_operator::catalogue::Catalogue;
use siyada_operator::check::{Refusal, Valid, check};
use siyada_operator::condition::reason;
use siyada_operator::disk::Fullness;
use siyada_operator::names::{HIBERNATION, Names};
use siyada_operator::object::{ChildKind, Key};
use siyada_operator::operation::{ALL, SETTLE};
use siyada_operator::order::Order;
use siyada_operator::plan::{Fresh, Platform, growth, plan};
use siyada_operator::pods::Pod;
use siyada_operator::seen::Seen;
use siyada_operator::status::{Admission, Picture, status};
use std::sync::Arc;

fn at(second: i64) -> Timestamp {
    now().checked_add(SignedDuration::from_secs(second)).unwrap()
}

fn ordered(size: &str) -> (Order, Catalogue) {
    let input = common::examples();
    let mut order = common::registry(&input);
    order.spec.plan = size.to_owned();
    order.spec.storage = None;
    order.spec.max_monthly_cost = None;
    (order, input.catalogue)
}

/// An order, and an engine that does what it is told when it is let.
struct World {
    order: Order,
    catalogue: Catalogue,
    seen: Seen,
    writes: usize,
    now: i64,
}

impl World {
    fn new(size: &str) -> Self {
        let (order, catalogue) = ordered(size);
        Self { order, catalogue, seen: Seen::default(), writes: 0, now: 0 }
    }

    /// The engine brings about what is asked.
    fn engine(&mut self) {
        let valid = check(&self.order, &self.catalogue, at(self.now)).unwrap();
        let names = Names::of(&self.order, &valid.tenant);
        let count = if self.order.spec.suspend { 0 } else { valid.instances };
        self.seen.pods = (0..count)
            .map(|n| Pod {
                name: format!("{}-{n}", names.cluster),
                database: true,
                ready: true,
                image: valid.image.clone(),
                cpu_milli: valid.cpu_milli,
                memory_bytes: valid.memory_bytes,
                ..Pod::default()
            })
            .collect();
        let cluster = json!({
            "metadata": {"annotations": {HIBERNATION: if self.order.spec.suspend { "on" } else { "off" }}},
            "status": {"phase": "Cluster in healthy state", "readyInstances": count},
        });
        let put = |seen: &mut Seen, kind, name: &str, body: Value| {
            seen.children.insert(Key::new(kind, &names.engine, name), Arc::new(body));
        };
        put(&mut self.seen, ChildKind::Cluster, &names.cluster, cluster);
        // The engine removes the volume of a standby with it.
        self.seen.children.retain(|key, _| key.kind != ChildKind::PersistentVolumeClaim);
        for n in 0..valid.instances {
            let volume = json!({"status": {"capacity": {"storage": valid.storage_bytes.to_string()}}});
            put(&mut self.seen, ChildKind::PersistentVolumeClaim, &format!("v-{n}"), volume);
        }
        self.seen.login = (!self.order.spec.suspend).then_some(Ok(()));
    }

    fn told(&mut self, refused: Option<(Refusal, bool)>) -> OrderStatus {
        self.now += 1;
        let valid = check(&self.order, &self.catalogue, at(self.now));
        let names = valid.as_ref().ok().map(|valid| Names::of(&self.order, &valid.tenant));
        let admission = match (&valid, refused) {
            (Err(refusal), _) => Admission::Refused(refusal.clone()),
            (Ok(_), Some((why, true))) => Admission::Refused(why),
            (Ok(_), Some((why, false))) => Admission::Waiting(why),
            (Ok(_), None) => Admission::Held,
        };
        let valid = valid.ok();
        let picture = Picture {
            order: &self.order,
            valid: valid.as_ref(),
            admission,
            seen: &self.seen,
            names,
            problem: None,
            metered: true,
        };
        status(&picture, at(self.now))
    }

    /// A pass that tells the order what it must be told.
    fn pass(&mut self, refused: Option<(Refusal, bool)>) -> Operation {
        let told = self.told(refused);
        self.writes += usize::from(told != self.order.status);
        self.order.status = told;
        self.operation()
    }

    fn operation(&self) -> Operation {
        self.order.status.operation.clone().unwrap()
    }

    /// An order that is made and rests.
    fn made(size: &str) -> Self {
        let mut world = Self::new(size);
        let begun = world.pass(None);
        assert_eq!((begun.type_, begun.state), (Work::Create, OperationPhase::InProgress));
        world.engine();
        let done = world.pass(None);
        assert_eq!((done.type_, done.state), (Work::Create, OperationPhase::Succeeded));
        assert_eq!(done.started, begun.started);
        assert!(done.finished.is_some());
        world
    }
}

fn no_room() -> Refusal {
    Refusal { reason: reason::QUOTA_EXCEEDED, message: "asked 2, free 1: choose a smaller plan".into() }
}

#[derive(Clone, Debug)]
enum Change {
    Plan(&'static str),
    Storage(u32),
    Standbys(bool),
    Parameter(u8),
    Suspend(bool),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        prop_oneof![Just("medium"), Just("large")].prop_map(Change::Plan),
        (100..200_u32).prop_map(Change::Storage),
        any::<bool>().prop_map(Change::Standbys),
        (1..4_u8).prop_map(Change::Parameter),
        any::<bool>().prop_map(Change::Suspend),
    ];
    proptest::collection::vec(change, 0..12)
}

fn make(order: &mut Order, change: &Change) {
    let spec = &mut order.spec;
    match change {
        Change::Plan(plan) => spec.plan = (*plan).to_owned(),
        Change::Storage(size) => {
            let held = spec.storage.as_deref().and_then(|held| held.strip_suffix("Gi")?.parse().ok());
            spec.storage = Some(format!("{}Gi", held.unwrap_or(0).max(*size)));
        }
        Change::Standbys(on) => spec.high_availability = *on,
        Change::Suspend(on) => spec.suspend = *on,
        Change::Parameter(value) => {
            spec.parameters = vec![Parameter { name: "work_mem".into(), value: format!("{}MB", 2 << value) }];
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever is asked, in whatever order and with whatever engine in between: in the end it is told as done, once, and
    /// nothing more is written.
    #[test]
    fn every_change_ends_and_rests(
        changes in changes(),
        works in proptest::collection::vec(any::<bool>(), 12),
        held in proptest::collection::vec(proptest::bool::weighted(0.7), 12),
    ) {
        let mut world = World::made("medium");
        for ((change, works), held) in changes.iter().zip(works).zip(held) {
            make(&mut world.order, change);
            let told = world.pass((!held).then(|| (no_room(), true)));
            prop_assert_eq!(told.finished.is_some(), [OperationPhase::Succeeded, OperationPhase::Cancelled].contains(&told.state));
            prop_assert_eq!(told.error.is_some(), told.retries.is_some());
            if works && held {
                world.engine();
                world.pass(None);
            }
        }
        world.pass(None);
        world.engine();
        world.now += SETTLE.as_secs();
        world.pass(None);
        let before = world.writes;
        let last = world.pass(None);
        world.now += 1_000;
        world.pass(None);
        prop_assert!(last.finished.is_some(), "{last:?} of {changes:?}");
        prop_assert!(last.error.is_none());
        prop_assert_eq!(world.writes, before, "at rest nothing is written");
    }
}

#[test]
fn a_change_says_what_from_what_to_what_and_is_over_when_the_pods_have_it() {
    let mut world = World::made("medium");
    world.order.spec.plan = "large".into();
    world.order.spec.high_availability = true;
    let begun = world.pass(None);
    assert_eq!((begun.type_, begun.state), (Work::ChangePlan, OperationPhase::InProgress));
    let change = "plan medium to large; instances 1 to 3; storage 20Gi to 100Gi";
    assert_eq!(begun.change.as_deref(), Some(change));
    // The engine says that all is well for as long as it has not looked.
    let still = world.pass(None);
    assert_eq!(
        (still.state, &still.message[..37]),
        (OperationPhase::InProgress, "0 of 3 instances run as asked; the en")
    );
    let full = "no node takes pod db-1 (1 Insufficient cpu)";
    world.seen.pods[0].hindrance = Some(full.to_owned());
    let hindered = world.pass(None);
    assert_eq!((hindered.error.as_deref(), hindered.retries), (Some(full), Some(true)));
    world.engine();
    let done = world.pass(None);
    assert_eq!((done.state, done.error), (OperationPhase::Succeeded, None));
    assert_eq!((done.started, done.change.as_deref()), (begun.started, Some(change)));
}

#[test]
fn what_was_stopped_by_an_operator_that_died_before_it_told_so_is_told_as_resumed() {
    let mut world = World::made("medium");
    world.order.spec.suspend = true;
    world.engine();
    world.order.spec.suspend = false;
    let begun = world.pass(None);
    assert_eq!((begun.type_, begun.state), (Work::Resume, OperationPhase::InProgress));
    world.engine();
    let done = world.pass(None);
    assert_eq!(
        (done.type_, done.state, done.started),
        (Work::Resume, OperationPhase::Succeeded, begun.started)
    );
}

#[test]
fn what_does_not_fit_waits_what_cannot_be_fails_and_a_wish_taken_back_is_cancelled() {
    let mut world = World::made("medium");
    world.order.spec.plan = "large".into();
    let waits = world.pass(Some((no_room(), true)));
    assert_eq!((waits.state, waits.retries), (OperationPhase::Pending, Some(true)));
    assert_eq!(waits.error, Some(no_room().message));
    let again = world.pass(Some((no_room(), true)));
    assert_eq!(again, waits, "it waits since then");
    world.order.spec.plan = "medium".into();
    let back = world.pass(None);
    assert_eq!((back.state, back.error), (OperationPhase::Cancelled, None));
    world.order.spec.plan = "huge".into();
    let fails = world.pass(None);
    assert_eq!((fails.type_, fails.state), (Work::ChangePlan, OperationPhase::Failed));
    assert_eq!((fails.change.as_deref(), fails.retries), (Some("plan medium to huge"), Some(false)));
    assert!(fails.error.unwrap().contains("there is no plan \"huge\""));
}

#[test]
fn a_parameter_is_not_told_as_set_before_the_engine_had_time() {
    let mut world = World::made("medium");
    world.order.spec.parameters.clear();
    assert_eq!(world.pass(None).type_, Work::ChangeParameters);
    assert_eq!(world.pass(None).state, OperationPhase::InProgress);
    world.now += SETTLE.as_secs();
    let done = world.pass(None);
    assert_eq!(
        (done.state, done.change.as_deref()),
        (OperationPhase::Succeeded, Some("parameters statement_timeout"))
    );
}

#[test]
fn an_order_of_an_earlier_platform_is_told_of_nothing_that_did_not_happen() {
    let mut world = World::made("medium");
    let status = &mut world.order.status;
    (status.operation, status.instances, status.parameters) = (None, None, Vec::new());
    assert_eq!(world.told(None).operation, None);
    assert_eq!(world.told(None).instances, Some(1));
}

#[test]
fn words_of_a_later_platform_are_read() {
    let later =
        json!({"type": "MoveSite", "state": "Paused", "message": "m", "started": "2026-11-24T10:00:00Z"});
    let read: Operation = serde_json::from_value(later).unwrap();
    assert_eq!((read.type_, read.state), (Work::Other, OperationPhase::Other));
}

#[test]
fn every_kind_of_operation_is_in_the_reference() {
    let mut text = String::from(
        "# Operations\n\nGenerated by `UPDATE=1 cargo test -p siyada-operator` from `operator/src/operation.rs`. \
         `status.operation` of an order has `type`, `state`, `change`, `message`, `started`, `finished`, `error` and `retries`.\n\n\
         | word | meaning |\n|---|---|\n",
    );
    for (word, meaning) in ALL {
        text.push_str(&format!("| `{word}` | {meaning} |\n"));
        let operation = |type_: &str, state: &str| {
            let text = json!({"type": type_, "state": state, "message": "m", "started": "s"});
            serde_json::from_value::<Operation>(text).unwrap()
        };
        let known = operation(word, "Other").type_ != Work::Other
            || operation("Other", word).state != OperationPhase::Other;
        assert!(known || *word == "Other", "{word} is no word of the kind");
    }
    let path = project().join("docs/reference/operations.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "{} is stale: run UPDATE=1 cargo test -p siyada-operator", path.display());
}

#[test]
fn a_change_is_advised_with_what_it_costs_more_and_what_it_interrupts() {
    let (mut order, catalogue) = ordered("medium");
    let mut valid = |plan: &str, available: bool, suspend: bool| {
        order.spec.plan = plan.to_owned();
        order.spec.high_availability = available;
        order.spec.suspend = suspend;
        check(&order, &catalogue, at(0)).unwrap()
    };
    let said = |before: &Valid, after: &Valid| match advise(Ok(after), Some(before), None, Wish::Change) {
        Advice::Allow(warnings) => warnings,
        Advice::Deny(refusal) => panic!("{refusal:?}"),
    };
    let (medium, large) = (valid("medium", false, false), valid("large", false, false));
    let by = |minor: i64| siyada_model::money::Money { minor, currency: medium.monthly_maximum.currency };
    let more = by(large.monthly_maximum.minor - medium.monthly_maximum.minor);
    let up = said(&medium, &large);
    let (from, to) = (medium.monthly_maximum, large.monthly_maximum);
    assert!(up[0].starts_with(&format!("at most {to}/month")), "{up:?}");
    assert!(up[0].contains(&format!("; {more}/month more than the {from}/month before; ")), "{up:?}");
    assert!(up[1].contains("restarted once"), "{up:?}");
    let down = said(&large, &medium);
    assert!(down[0].contains(&format!("; {more}/month less than the {to}/month before")), "{down:?}");
    let two = valid("medium", true, false);
    assert_eq!(said(&medium, &two).len(), 1, "standbys are added under running clients");
    assert!(said(&two, &medium)[1].contains("without standbys"));
    assert!(said(&two, &valid("large", true, false))[1].contains("standby takes over"));
    assert_eq!(said(&medium, &valid("large", false, true)).len(), 1, "what stands still interrupts nobody");
    assert!(said(&medium, &medium)[0].contains(&format!("as much as before ({from}/month)")));
}

#[test]
fn a_disk_that_fills_is_told_and_a_full_one_grows_while_the_database_is_down() {
    let mut world = World::made("medium");
    let storage = |world: &mut World| {
        let told = world.told(None).conditions;
        let found = told.into_iter().find(|c| c.type_ == "StorageHealthy").unwrap();
        (found.status, found.reason, found.message)
    };
    assert_eq!(storage(&mut world).1, reason::BOUND);
    world.seen.disk = Fullness::NearlyFull;
    let (status, why, message) = storage(&mut world);
    assert_eq!((status.as_str(), why.as_str()), ("False", reason::DISK_NEARLY_FULL));
    assert!(message.contains("80 % or more of 20Gi") && message.contains("set spec.storage"), "{message}");
    // The engine's program ends with this code, and whoever would measure is let in no more.
    world.seen.disk = Fullness::Roomy;
    (world.seen.pods[0].disk_full, world.seen.pods[0].ready) = (true, false);
    world.seen.login = Some(Err("no connection can be made"));
    assert_eq!(storage(&mut world).1, reason::DISK_FULL);
    let grows =
        |world: &World| growth(&check(&world.order, &world.catalogue, at(0)).unwrap(), &world.seen).len();
    let claim = |asked: &str, held: &str| {
        Arc::new(json!({
            "spec": {"resources": {"requests": {"storage": asked}}}, "status": {"capacity": {"storage": held}},
        }))
    };
    let key =
        world.seen.children.keys().find(|k| k.kind == ChildKind::PersistentVolumeClaim).unwrap().clone();
    world.seen.children.insert(key.clone(), claim("20Gi", "20Gi"));
    assert_eq!(grows(&world), 0, "nobody asked for more yet");
    world.order.spec.storage = Some("30Gi".into());
    assert_eq!(grows(&world), 1, "the engine would not");
    let (_, why, message) = storage(&mut world);
    assert!(why == reason::RESIZE_PENDING && message.contains("storage class"), "{why} {message}");
    world.seen.children.insert(key.clone(), claim("30Gi", "20Gi"));
    assert_eq!(grows(&world), 0);
    assert!(storage(&mut world).2.ends_with("it is growing"));
    world.seen.children.insert(key, claim("20Gi", "20Gi"));
    world.seen.pods[0].disk_full = false;
    assert_eq!(grows(&world), 0, "else it is the engine's work");
}

/// The catalogue with two minor versions and the image of the next major one under a name of the first.
fn with_versions(world: &mut World, versions: &[(&str, &str)]) {
    for offering in &mut world.catalogue.offerings {
        let spec = &mut Arc::make_mut(offering).spec;
        let first = spec.versions[0].clone();
        let version = |(version, image): &(&str, &str)| siyada_crds::catalogue::EngineVersion {
            version: (*version).to_owned(),
            image: (*image).to_owned(),
            ..first.clone()
        };
        spec.versions = versions.iter().map(version).collect();
    }
}

#[test]
fn a_newer_minor_version_is_rolled_out_and_an_older_one_refused() {
    let mut world = World::new("medium");
    with_versions(&mut world, &[("15.6", "pg:15.6"), ("15.4", "pg:15.4")]);
    world.order.spec.version = "15.4".into();
    world.pass(None);
    world.engine();
    assert_eq!(world.pass(None).state, OperationPhase::Succeeded);
    world.order.spec.version = "15.6".into();
    let begun = world.pass(None);
    assert_eq!((begun.type_, begun.change.as_deref()), (Work::ChangeVersion, Some("version 15.4 to 15.6")));
    assert_eq!(world.pass(None).state, OperationPhase::InProgress, "every pod has the old image");
    world.engine();
    assert_eq!(world.pass(None).state, OperationPhase::Succeeded);
    assert_eq!(world.order.status.version.as_deref(), Some("15.6"));
    world.order.spec.version = "15.4".into();
    let back = check(&world.order, &world.catalogue, at(0)).unwrap_err();
    assert!(back.message.contains("older than 15.6"), "{back:?}");
}

#[test]
fn an_image_of_another_major_version_is_never_given_to_data_that_is_there() {
    let mut world = World::made("medium");
    let planned = |world: &World, images: &[(&str, &str)]| {
        let mut tried =
            World { order: world.order.clone(), catalogue: world.catalogue.clone(), ..World::new("medium") };
        with_versions(&mut tried, images);
        let valid = check(&tried.order, &tried.catalogue, at(0)).unwrap();
        let fresh = Fresh {
            owner_password: "o".into(),
            login_password: "l".into(),
            further_seed: "s".into(),
            rotation: None,
            certificate: None,
            store_key: None,
        };
        let platform =
            Platform { namespace: "s".into(), engine_namespace: "c".into(), authority_pem: "a".into() };
        plan(&valid, &world.seen, &fresh, &platform).problem.map(|problem| problem.reason)
    };
    let valid = check(&world.order, &world.catalogue, at(0)).unwrap();
    let names = Names::of(&world.order, &valid.tenant);
    let key = Key::new(ChildKind::Cluster, &names.engine, &names.cluster);
    let login = Key::new(ChildKind::Secret, &names.engine, names.login_secret(1));
    let runs = |image: &str| Arc::new(json!({"metadata": {"annotations": {}}, "spec": {"imageName": image}}));
    world.seen.children.insert(login, Arc::new(json!({"data": {}})));
    for (has, image, expect) in [
        ("pg:15.4", "pg:15.6", None),
        ("host:5000/pg:15", "host:5000/pg:16", Some(reason::MAJOR_VERSION_CHANGE)),
        ("pg:15-bookworm@sha256:aa", "pg:16-bookworm@sha256:bb", Some(reason::MAJOR_VERSION_CHANGE)),
        ("pg:15", "pg:latest", None),
    ] {
        world.seen.children.insert(key.clone(), runs(has));
        assert_eq!(planned(&world, &[("15", image)]), expect, "{has} to {image}");
    }
}

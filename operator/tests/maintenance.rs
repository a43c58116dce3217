//! Maintenance windows: when they are, and what waits for them.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod common;

use common::{examples, is_as_planned, now, platform};
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use siyada_crds::catalogue::{EngineVersion, OfferingMaintenance};
use siyada_crds::order::{Apply, MaintenanceSpec, OperationPhase, Parameter, PendingMaintenance, Work};
use siyada_crds::shared::{DayOfWeek, WindowSpec};
use siyada_crds::{OrderStatus, ServiceOffering};
use siyada_operator::admission::{Advice, Wish, advise};
use siyada_operator::catalogue::Catalogue;
use siyada_operator::check::{Valid, check};
use siyada_operator::hold::{self, Waiting};
use siyada_operator::names::{GIVEN, HIBERNATION, Names};
use siyada_operator::object::{ChildKind, Mode, Planned};
use siyada_operator::order::{Kind, Order};
use siyada_operator::plan::{Certificate, Fresh, needs_certificate, plan};
use siyada_operator::pods::Pod;
use siyada_operator::reconcile::as_it_may_be;
use siyada_operator::seen::Seen;
use siyada_operator::status::{Admission, Picture, status};
use siyada_operator::window::{FINISH, LENGTH, Maintenance, OVERDUE, SPREAD, STALE, Wait, When};
use std::collections::BTreeSet;
use std::sync::Arc;

const DAY: i64 = 86_400;

fn after(from: Timestamp, time: SignedDuration) -> Timestamp {
    from.checked_add(time).unwrap()
}

fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn maintenance(day: Weekday, start: Time, zone: &str) -> Maintenance {
    let usual = Maintenance::of(None, None).unwrap();
    Maintenance { day, start, zone: TimeZone::get(zone).unwrap(), zone_name: zone.to_owned(), ..usual }
}

fn windows() -> impl Strategy<Value = Maintenance> {
    let zones: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    assert!(zones.len() > 300, "the program carries its time zones in itself");
    let zones = prop_oneof![3 => Just("Africa/Casablanca".to_owned()), 7 => select(zones)];
    (0..7_i8, 0..24_i8, 0..60_i8, zones).prop_map(|(day, hour, minute, zone)| {
        maintenance(Weekday::from_monday_zero_offset(day).unwrap(), Time::constant(hour, minute, 0, 0), &zone)
    })
}

/// From 1990 to 2087.
fn moments() -> impl Strategy<Value = Timestamp> {
    (631_152_000..3_692_217_600_i64).prop_map(|second| Timestamp::from_second(second).unwrap())
}

fn uids() -> impl Strategy<Value = String> {
    "[0-9a-f]{8}-[0-9a-f]{4}".prop_map(|uid| uid)
}

/// From when on, if not now.
fn from(when: When) -> Option<Timestamp> {
    match when {
        When::Now => None,
        When::Later { from, .. } => Some(from),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_window_is_open_or_to_come_lasts_its_length_and_begins_on_its_day(maintenance in windows(), now in moments()) {
        let window = maintenance.window(now).unwrap();
        prop_assert!(window.until > now);
        prop_assert_eq!(window.until.duration_since(window.from), LENGTH);
        let local = window.from.to_zoned(maintenance.zone.clone());
        prop_assert_eq!(local.weekday(), maintenance.day);
        // By the clocks it begins when it was said, or later where they leap over that.
        let said = local.date().to_datetime(maintenance.start);
        let exists = !maintenance.zone.to_ambiguous_timestamp(said).is_ambiguous();
        prop_assert!(local.datetime() == said || !exists && local.datetime() > said, "{} for {}", local, said);
        // None is left out: there is one a week, and two where a zone left out a whole day.
        prop_assert!(window.from.duration_since(now) <= seconds(15 * DAY));
        let next = maintenance.window(window.until).unwrap();
        prop_assert!(next.from >= window.until);
        prop_assert!(maintenance.window(after(next.from, seconds(-1))).unwrap().from <= next.from);
        prop_assert_eq!(maintenance.window(window.from).unwrap(), window, "the same from its begin");
        prop_assert_eq!(maintenance.window(after(window.until, seconds(-1))).unwrap(), window, "to its end");
    }

    #[test]
    fn what_waits_is_told_one_moment_until_it_comes_and_waits_no_longer_than_it_may(
        maintenance in windows(), now in moments(), waited in 0..16 * DAY, part in 0..1_000_i64, uid in uids(), own in any::<bool>(),
        urgent in proptest::option::of(-20 * DAY..20 * DAY),
    ) {
        let since = after(now, seconds(-waited));
        let urgent_by = urgent.map(|s| after(now, seconds(s)));
        let maintenance = Maintenance { urgent_by, ..maintenance };
        let wait = Wait { uid: &uid, since, own };
        let last = after(since, OVERDUE.checked_add(SPREAD).unwrap());
        let When::Later { from, until } = maintenance.when(wait, now) else { return Ok(()) };
        prop_assert!(now < from && from <= last, "{} is after {}", from, last);
        let between = after(now, seconds(from.duration_since(now).as_secs() * part / 1_000));
        let same = between >= from || maintenance.when(wait, between) == When::Later { from, until };
        prop_assert!(same, "told {} and at {} {:?}", from, between, maintenance.when(wait, between));
        prop_assert_eq!(maintenance.when(wait, from), When::Now);
        prop_assert_eq!(maintenance.when(wait, last), When::Now);
        if let Some(until) = until {
            let window = maintenance.window(from).unwrap();
            prop_assert!(window.from <= from && from.checked_add(FINISH).unwrap() <= until && window.until == until);
            prop_assert_eq!(maintenance.when(wait, after(until, seconds(-1))), When::Now);
        } else {
            let by = urgent_by.filter(|by| !own && after(*by, STALE) >= since).map(|by| by.max(since));
            let earliest = by.into_iter().chain([after(since, OVERDUE)]).min().unwrap();
            prop_assert!(from >= earliest && from <= after(earliest, SPREAD));
        }
    }
}

#[test]
fn the_clocks_of_morocco_leap_into_and_out_of_ramadan_over_the_usual_window() {
    let usual = Maintenance::of(None, None).unwrap();
    assert_eq!(usual.to_string(), "Sunday 02:00 (Africa/Casablanca)");
    let check = |now: &str, from: &str| {
        let window = usual.window(time(now)).unwrap();
        assert_eq!((window.from, window.until), (time(from), after(time(from), LENGTH)), "at {now}");
    };
    // An hour ahead of UTC.
    check("2026-02-05T12:00:00Z", "2026-02-08T01:00:00Z");
    // The night in which the hour from two to three comes twice: it begins when two comes first.
    check("2026-02-12T12:00:00Z", "2026-02-15T01:00:00Z");
    // During Ramadan.
    check("2026-02-20T12:00:00Z", "2026-02-22T02:00:00Z");
    // The night that has no two o'clock: at three, which is the same moment.
    check("2026-03-19T12:00:00Z", "2026-03-22T02:00:00Z");
    check("2026-03-22T03:59:59Z", "2026-03-22T02:00:00Z");
    check("2026-03-22T04:00:00Z", "2026-03-29T01:00:00Z");
    // Apia had no 30 December 2011, a Friday: that week has no window.
    let apia = maintenance(Weekday::Friday, Time::constant(10, 0, 0, 0), "Pacific/Apia");
    let window = apia.window(time("2011-12-24T12:00:00Z")).unwrap();
    assert_eq!(window.from, time("2012-01-05T20:00:00Z"));
}

#[test]
fn instances_take_turns_whenever_a_change_is_first_seen_and_none_begins_at_the_end() {
    let usual = Maintenance::of(None, None).unwrap();
    let before = time("2026-11-26T12:00:00Z");
    let opens = usual.window(before).unwrap().from;
    let check = |since: Timestamp, maintenance: &Maintenance, first: Timestamp, last: Timestamp| {
        let span = last.duration_since(first).as_secs();
        let mut slots = [0_u32; 18];
        for n in 0..1_000 {
            let uid = format!("0f3c{n:04}-8d1a");
            let wait = Wait { uid: &uid, since, own: false };
            let at = from(maintenance.when(wait, since)).unwrap_or(since);
            assert!(first <= at && at <= last, "{at} is not from {first} to {last}");
            let slot = at.duration_since(first).as_secs() * 18 / (span + 1);
            slots[usize::try_from(slot).unwrap()] += 1;
        }
        assert!(slots.iter().all(|count| (20..=100).contains(count)), "{slots:?}");
    };
    let until_turns = after(opens, SPREAD);
    check(before, &usual, opens, until_turns);
    // Seen in the middle of the window: what is left is shared.
    let late = after(opens, SignedDuration::from_mins(45));
    check(late, &usual, late, until_turns);
    // Too late for this window.
    let next = after(opens, seconds(7 * DAY));
    check(after(opens, SignedDuration::from_mins(91)), &usual, next, after(next, SPREAD));
    // Urgent.
    let by = time("2026-11-24T18:00:00Z");
    let urgent = Maintenance { urgent_by: Some(by), ..usual };
    check(time("2026-11-24T09:00:00Z"), &urgent, by, after(by, SPREAD));
    let seen = time("2026-11-24T20:00:00Z");
    check(seen, &urgent, seen, after(seen, SPREAD));
}

#[test]
fn an_urgent_moment_of_an_earlier_fix_says_nothing_of_this_one() {
    let usual = Maintenance::of(None, None).unwrap();
    let since = time("2026-11-24T10:00:00Z");
    let with = |by: &str| {
        let maintenance = Maintenance { urgent_by: Some(time(by)), ..usual.clone() };
        maintenance.when(Wait { uid: "a", since, own: false }, since)
    };
    let waits = usual.when(Wait { uid: "a", since, own: false }, since);
    assert!(matches!(waits, When::Later { until: Some(_), .. }));
    assert_eq!(with("2026-11-23T09:59:59Z"), waits);
    assert_ne!(with("2026-11-23T10:00:00Z"), waits);
    assert_eq!(with("2027-01-01T00:00:00Z"), waits, "the window comes before");
}

fn window_spec(day: Option<DayOfWeek>, start: Option<&str>, zone: Option<&str>) -> WindowSpec {
    let text = |text: &str| text.to_owned();
    WindowSpec { day_of_week: day, start_time: start.map(text), time_zone: zone.map(text) }
}

#[test]
fn what_an_order_leaves_out_is_the_offerings_and_what_nobody_knows_is_a_sentence() {
    let order = |window| MaintenanceSpec { window, apply: Apply::Immediately };
    let offering =
        |window, by: Option<&str>| OfferingMaintenance { window, urgent_by: by.map(str::to_owned) };
    let both = Maintenance::of(
        Some(&order(window_spec(None, Some("23:30"), None))),
        Some(&offering(window_spec(Some(DayOfWeek::Friday), Some("04:00"), Some("Europe/Paris")), None)),
    );
    assert_eq!(both.unwrap().to_string(), "Friday 23:30 (Europe/Paris)");
    let refused = |order: Option<&MaintenanceSpec>, offering: Option<&OfferingMaintenance>, text: &str| {
        let refusal = Maintenance::of(order, offering).unwrap_err();
        assert_eq!(refusal.reason, "Invalid");
        assert!(refusal.message.contains(text), "{}", refusal.message);
    };
    let rabat = window_spec(None, None, Some("Africa/Rabat"));
    refused(
        Some(&order(rabat.clone())),
        None,
        "spec.maintenance.timeZone \"Africa/Rabat\" is no time zone: give the name of one as IANA lists it, like Africa/Casablanca",
    );
    refused(None, Some(&offering(rabat, None)), "the offering's maintenance.timeZone \"Africa/Rabat\"");
    refused(
        Some(&order(window_spec(None, Some("24:00"), None))),
        None,
        "startTime \"24:00\" is no time of a day",
    );
    refused(
        None,
        Some(&offering(WindowSpec::default(), Some("tomorrow"))),
        "urgentBy \"tomorrow\" is no moment",
    );
}

fn fresh(valid: &Valid, seen: &Seen) -> Fresh {
    let certificate = || Certificate {
        certificate_pem: "certificate".into(),
        key_pem: "key".into(),
        renew_after_second: now().as_second() + 10_000_000,
    };
    Fresh {
        owner_password: "owner".into(),
        login_password: "login".into(),
        further_seed: "seed".into(),
        rotation: None,
        certificate: needs_certificate(valid, seen, &platform(), now()).then(certificate),
        store_key: None,
    }
}

/// What the engine runs: the part of its objects that no other write than a restart can change.
fn runs(seen: &Seen) -> Vec<Value> {
    let of = |kind: ChildKind| seen.children.iter().filter(move |(key, _)| key.kind == kind).map(|(_, v)| v);
    let clusters = of(ChildKind::Cluster).map(|c| {
        let spec = &c["spec"];
        let resources = (&spec["resources"], &spec["affinity"], &spec["stopDelay"]);
        let mut parameters = spec["postgresql"]["parameters"].clone();
        parameters.as_object_mut().into_iter().for_each(|p| drop(p.remove("archive_timeout")));
        json!([spec["imageName"], resources.0, resources.1, resources.2, parameters])
    });
    let gateways = of(ChildKind::Deployment).map(|d| d["spec"]["template"]["spec"].clone());
    clusters.chain(gateways).collect()
}

/// An order, its catalogue, and a cluster that takes what is written.
struct World {
    order: Order,
    catalogue: Catalogue,
    seen: Seen,
    now: Timestamp,
    pending: Option<PendingMaintenance>,
}

impl World {
    fn new(kind: Kind) -> Self {
        let input = examples();
        let mut order =
            input.orders.iter().find(|o| o.at.kind == kind && o.at.name != "everything").unwrap().clone();
        (order.spec.storage, order.spec.max_monthly_cost, order.spec.maintenance) = (None, None, None);
        order.spec.plan = "small".to_owned();
        let mut world =
            Self { order, catalogue: input.catalogue, seen: Seen::default(), now: now(), pending: None };
        world.change(|offering| {
            offering.spec.maintenance = None;
            offering.spec.versions.retain(|version| version.version != "17");
            let newer = EngineVersion {
                version: "15.9".into(),
                image: "registry/pg:15.9".into(),
                ..offering.spec.versions[0].clone()
            };
            offering.spec.versions.push(newer);
        });
        world.pass();
        assert_eq!(world.seen.waiting, []);
        world
    }

    /// The platform changes its offerings.
    fn change(&mut self, change: impl Fn(&mut ServiceOffering)) {
        for offering in &mut self.catalogue.offerings {
            change(Arc::make_mut(offering));
        }
    }

    fn names(&self) -> Names {
        Names::of(&self.order, &check(&self.order, &self.catalogue, self.now).unwrap().tenant)
    }

    /// A pass as the reconciler makes one: what is judged, and what it writes.
    fn planned(&mut self) -> (Valid, Vec<Planned>) {
        let valid = check(&self.order, &self.catalogue, self.now).unwrap();
        let names = self.names();
        self.seen.waiting.clear();
        let valid = as_it_may_be(valid, Some(&names), &mut self.seen, &self.catalogue, self.now).unwrap();
        let mut plan = plan(&valid, &self.seen, &fresh(&valid, &self.seen), &platform());
        assert_eq!(plan.problem, None);
        let held = hold::hold(&valid, &names, &self.seen, &mut plan.objects, self.now);
        self.seen.waiting.extend(held);
        (valid, plan.objects)
    }

    fn pass(&mut self) -> OrderStatus {
        let (valid, objects) = self.planned();
        let names = self.names();
        for object in objects {
            let there = self.seen.children.get(&object.key);
            if there.is_some_and(|there| object.mode == Mode::CreateOnly || is_as_planned(&object, there)) {
                continue;
            }
            self.seen.children.insert(object.key, Arc::new(object.body));
        }
        let valid = hold::as_it_runs(valid, &names, &self.seen);
        let picture = Picture {
            order: &self.order,
            valid: Some(&valid),
            admission: Admission::Held,
            seen: &self.seen,
            names: Some(names),
            problem: None,
            metered: true,
        };
        let told = status(&picture, self.now);
        self.pending = told.pending_maintenance.clone();
        self.order.status = told.clone();
        told
    }

    fn waiting(&self) -> &[Waiting] {
        &self.seen.waiting
    }

    /// What has begun is over, and a client can log in.
    fn engine(&mut self) {
        let names = self.names();
        let cluster = self.seen.cluster(&names).unwrap().clone();
        let (spec, suspended) =
            (cluster["spec"].clone(), cluster["metadata"]["annotations"][HIBERNATION] == "on");
        let count = if suspended { 0 } else { spec["instances"].as_i64().unwrap() };
        let limit = |name: &str| spec["resources"]["limits"][name].as_str().unwrap().to_owned();
        self.seen.pods = (0..count)
            .map(|n| Pod {
                name: format!("p-{n}"),
                database: true,
                ready: true,
                image: spec["imageName"].as_str().unwrap().to_owned(),
                cpu_milli: siyada_model::quantity::cpu_milli(&limit("cpu")).unwrap(),
                memory_bytes: siyada_model::quantity::bytes(&limit("memory")).unwrap(),
                ..Pod::default()
            })
            .collect();
        let mut live = cluster;
        live["status"] = json!({"phase": "Cluster in healthy state", "readyInstances": count});
        let size = spec["storage"]["size"].clone();
        let put = |seen: &mut Seen, kind, name: &str, body: Value| {
            seen.children
                .insert(siyada_operator::object::Key::new(kind, &names.engine, name), Arc::new(body));
        };
        put(&mut self.seen, ChildKind::Cluster, &names.cluster, live);
        self.seen.children.retain(|key, _| key.kind != ChildKind::PersistentVolumeClaim);
        for n in 0..spec["instances"].as_i64().unwrap() {
            let volume = json!({"status": {"capacity": {"storage": size}}});
            put(&mut self.seen, ChildKind::PersistentVolumeClaim, &format!("v-{n}"), volume);
        }
        self.seen.login = (!suspended).then_some(Ok(()));
    }
}

/// What the platform may do.
#[derive(Clone, Debug)]
enum Platform {
    Image(u8),
    Gateway(u8),
    Memory(u8),
    Default(Option<u8>),
    Nodes(Option<u8>),
}

fn platforms() -> impl Strategy<Value = Platform> {
    prop_oneof![
        (0..3_u8).prop_map(Platform::Image),
        (0..3_u8).prop_map(Platform::Gateway),
        (1..4_u8).prop_map(Platform::Memory),
        proptest::option::of(1..3_u8).prop_map(Platform::Default),
        proptest::option::of(1..3_u8).prop_map(Platform::Nodes),
    ]
}

fn does(world: &mut World, what: &Platform) {
    match what {
        Platform::Image(n) => world.change(|o| o.spec.versions[0].image = format!("registry/pg:15.{n}")),
        Platform::Gateway(n) => {
            world.change(|o| o.spec.versions[0].gateway_image = Some(format!("registry/gateway:1.{n}")));
        }
        Platform::Memory(n) => {
            world.change(|o| o.spec.plans.iter_mut().for_each(|p| p.memory = format!("{n}Gi")));
        }
        Platform::Default(value) => world.change(|o| {
            if let Some(parameter) = o.spec.parameters.iter_mut().find(|p| p.name == "max_connections") {
                parameter.default = value.map(|n| format!("{n}00"));
            }
        }),
        Platform::Nodes(value) => {
            let site = Arc::make_mut(&mut world.catalogue.sites[0]);
            site.spec.node_selector = value.iter().map(|n| ("pool".to_owned(), n.to_string())).collect();
        }
    }
}

/// What an order may ask without an interruption.
fn quiet(world: &mut World, which: u8) {
    let spec = &mut world.order.spec;
    match which {
        0 => spec.storage = Some("40Gi".to_owned()),
        1 => spec.network.allowed_namespaces = vec!["team".to_owned()],
        2 => spec.cost_allocation.reference = Some("M-2026-7".to_owned()),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever the platform changes, and whatever the order asks for that interrupts nothing: outside of the window nothing that
    /// runs is restarted, and in it everything becomes as it was planned.
    #[test]
    fn nothing_runs_otherwise_before_the_window_and_everything_after_it(
        documents in any::<bool>(), changes in proptest::collection::vec((platforms(), 0..4_u8), 1..8), recorded in any::<bool>(),
    ) {
        let mut world = World::new(if documents { Kind::Documents } else { Kind::Postgres });
        let before = runs(&world.seen);
        if !recorded {
            // What the landing before wrote carries no record.
            for (key, child) in &mut world.seen.children {
                if matches!(key.kind, ChildKind::Cluster | ChildKind::Deployment) {
                    let annotations = Arc::make_mut(child)["metadata"]["annotations"].as_object_mut().unwrap();
                    prop_assert!(annotations.remove(GIVEN).is_some());
                }
            }
        }
        for (change, asks) in &changes {
            does(&mut world, change);
            quiet(&mut world, *asks);
            world.now = after(world.now, seconds(600));
            let told = world.pass();
            prop_assert_eq!(&runs(&world.seen), &before, "after {:?}", changes);
            prop_assert_eq!(told.pending_maintenance.is_some(), !world.waiting().is_empty());
            let again = world.pass();
            prop_assert_eq!(again, told, "at rest nothing is written");
        }
        if let Some(pending) = world.pending.clone() {
            prop_assert!(!world.waiting().is_empty());
            world.now = after(time(&pending.from), seconds(-1));
            world.pass();
            prop_assert_eq!(&runs(&world.seen), &before);
            prop_assert_eq!(world.pending.as_ref(), Some(&pending), "it is told one moment");
            prop_assert_eq!(hold::wake(&world.seen, world.now).map(|d| d.as_secs()), Some(2));
            world.now = time(&pending.from);
        }
        let told = world.pass();
        prop_assert_eq!(told.pending_maintenance, None);
        let valid = check(&world.order, &world.catalogue, world.now).unwrap();
        let whole = plan(&valid, &world.seen, &fresh(&valid, &world.seen), &platform());
        for object in whole.objects {
            prop_assert!(is_as_planned(&object, &world.seen.children[&object.key]), "{} is not as planned", object.key);
        }
    }
}

#[test]
fn what_waits_is_named_with_its_moment_and_goes_along_with_a_restart_that_the_order_asks_for() {
    let mut world = World::new(Kind::Postgres);
    world.engine();
    world.pass();
    does(&mut world, &Platform::Image(7));
    does(&mut world, &Platform::Default(Some(3)));
    let before = runs(&world.seen);
    let told = world.pass().pending_maintenance.unwrap();
    assert_eq!(told.what, "another image; parameters max_connections");
    assert_eq!(told.since, "2026-11-24T10:00:00Z");
    let window = Maintenance::of(None, None).unwrap().window(world.now).unwrap();
    assert_eq!(told.until, Some(window.until.to_string()));
    assert!(
        told.message.contains("the maintenance window, Sunday 02:00 (Africa/Casablanca)"),
        "{}",
        told.message
    );
    // A parameter of the order's own goes through alone.
    world.order.spec.parameters = vec![Parameter { name: "statement_timeout".into(), value: "5000".into() }];
    world.now = after(world.now, seconds(60));
    let later = world.pass();
    assert_eq!(later.pending_maintenance.as_ref(), Some(&told));
    assert_eq!(later.operation.unwrap().state, OperationPhase::InProgress);
    let names = world.names();
    let spec = |world: &World| world.seen.cluster(&names).unwrap()["spec"].clone();
    assert_eq!(spec(&world)["postgresql"]["parameters"]["statement_timeout"], "5000");
    assert_ne!(runs(&world.seen), before);
    assert_eq!(spec(&world)["imageName"], "localhost/postgresql:15");
    // That is told as done, although another image waits.
    world.engine();
    world.now = after(world.now, seconds(60));
    let done = world.pass();
    assert_eq!(done.operation.unwrap().state, OperationPhase::Succeeded);
    assert_eq!(done.parameters[0].value, "5000");
    // Another plan restarts it anyway.
    world.order.spec.plan = "medium".into();
    let along = world.pass();
    assert_eq!(along.pending_maintenance, None);
    let now = spec(&world);
    assert_eq!(
        (&now["imageName"], &now["postgresql"]["parameters"]["max_connections"]),
        (&json!("registry/pg:15.7"), &json!("300"))
    );
    let (_, word, sentence) = hold::news(Some(&told), None, |_| false, world.now).unwrap();
    assert_eq!(word, "MaintenanceOver");
    assert!(sentence.contains("went along"));
    // It did begin where the window was moved over this very moment.
    let (_, word, _) = hold::news(Some(&told), None, |since| since == time(&told.since), world.now).unwrap();
    assert_eq!(word, "MaintenanceBegan");
}

#[test]
fn what_the_engine_added_to_an_object_without_a_record_is_no_change() {
    let mut world = World::new(Kind::Postgres);
    let names = world.names();
    let key = siyada_operator::object::Key::new(ChildKind::Cluster, &names.engine, &names.cluster);
    let live = Arc::make_mut(world.seen.children.get_mut(&key).unwrap());
    live["metadata"]["annotations"].as_object_mut().unwrap().remove(GIVEN);
    live["spec"]["postgresql"]["parameters"]["wal_keep_size"] = json!("512MB");
    live["spec"]["logLevel"] = json!("info");
    let (_, objects) = world.planned();
    assert_eq!(world.waiting(), []);
    let cluster = objects.iter().find(|o| o.key == key).unwrap();
    assert!(cluster.body["spec"].get("logLevel").is_none());
    assert!(cluster.body["metadata"]["annotations"][GIVEN].is_string(), "from now on there is a record");
}

#[test]
fn a_default_of_the_offering_that_is_taken_away_waits_too() {
    let mut world = World::new(Kind::Postgres);
    does(&mut world, &Platform::Default(Some(2)));
    world.now = time(&world.pass().pending_maintenance.unwrap().from);
    assert_eq!(world.pass().pending_maintenance, None);
    let before = runs(&world.seen);
    does(&mut world, &Platform::Default(None));
    world.now = after(world.now, seconds(3 * DAY));
    let told = world.pass().pending_maintenance.unwrap();
    assert_eq!((told.what.as_str(), runs(&world.seen)), ("parameters max_connections", before.clone()));
    // Who sets it himself is not asked about it.
    world.order.spec.parameters.push(Parameter { name: "max_connections".into(), value: "200".into() });
    assert_eq!(world.pass().pending_maintenance, None);
    assert_eq!(runs(&world.seen), before);
}

#[test]
fn a_suspended_order_takes_everything_at_once_as_nothing_runs() {
    let mut world = World::new(Kind::Documents);
    world.order.spec.suspend = true;
    does(&mut world, &Platform::Image(7));
    does(&mut world, &Platform::Gateway(7));
    assert_eq!(world.pass().pending_maintenance, None);
    does(&mut world, &Platform::Image(8));
    world.order.spec.suspend = false;
    assert_eq!(world.pass().pending_maintenance, None, "resuming begins with all of it");
    let before = runs(&world.seen);
    does(&mut world, &Platform::Gateway(9));
    let told = world.pass().pending_maintenance.unwrap();
    assert_eq!((told.what.as_str(), runs(&world.seen)), ("the gateway", before));
}

#[test]
fn what_was_missed_waits_for_the_next_window_and_in_the_end_for_none() {
    let mut world = World::new(Kind::Postgres);
    does(&mut world, &Platform::Image(7));
    let before = runs(&world.seen);
    let told = world.pass().pending_maintenance.unwrap();
    // Nobody was there in the window.
    world.now = time(told.until.as_deref().unwrap());
    let missed = world.pass().pending_maintenance.unwrap();
    assert_eq!((&missed.since, runs(&world.seen)), (&told.since, before.clone()));
    assert_eq!(time(&missed.from), after(time(&told.from), seconds(7 * DAY)));
    let (warning, word, _) = hold::news(Some(&told), Some(&missed), |_| false, world.now).unwrap();
    assert_eq!((warning, word), (false, "MaintenancePending"));
    // Nor in the next: it waits for none any more, and people are warned.
    world.now = time(missed.until.as_deref().unwrap());
    let overdue = world.pass().pending_maintenance.unwrap();
    assert_eq!(overdue.until, None);
    let (warning, word, sentence) = hold::news(Some(&missed), Some(&overdue), |_| false, world.now).unwrap();
    assert_eq!((warning, word), (true, "MaintenanceOutsideWindow"));
    assert!(sentence.contains("waits for no window any more"), "{sentence}");
    world.now = time(&overdue.from);
    assert_eq!(world.pass().pending_maintenance, None);
    assert_ne!(runs(&world.seen), before);
    let (_, word, _) = hold::news(Some(&overdue), None, |_| false, world.now).unwrap();
    assert_eq!(word, "MaintenanceBegan");
    assert_eq!(hold::news(None, None, |_| true, world.now), None);
}

/// An order that wants its own changes in its window.
fn patient() -> World {
    let mut world = World::new(Kind::Postgres);
    world.order.spec.maintenance =
        Some(MaintenanceSpec { window: WindowSpec::default(), apply: Apply::Window });
    world.engine();
    world.pass();
    world
}

#[test]
fn a_change_that_asks_to_wait_is_pending_is_not_billed_and_begins_in_the_window() {
    let mut world = patient();
    let before = runs(&world.seen);
    let (old, _) = world.planned();
    (world.order.spec.plan, world.order.spec.version) = ("medium".into(), "15.9".into());
    world.order.spec.high_availability = true;
    let told = world.pass();
    let pending = told.pending_maintenance.clone().unwrap();
    assert_eq!(pending.what, "as ordered: version 15 to 15.9; plan small to medium");
    assert_eq!(runs(&world.seen), before);
    let operation = told.operation.unwrap();
    assert_eq!((operation.type_, operation.state), (Work::ChangeVersion, OperationPhase::Pending));
    assert_eq!((operation.error.as_ref(), operation.retries), (Some(&pending.message), Some(true)));
    assert_eq!(
        (told.plan.as_deref(), told.version.as_deref(), told.instances),
        (Some("small"), Some("15"), Some(1))
    );
    // Until then it is what it was: held, priced and billed.
    let (held, _) = world.planned();
    assert_eq!((&held.items, &held.resources, &held.running), (&old.items, &old.resources, &old.running));
    assert_eq!(world.pass().operation, Some(operation.clone()), "nothing is written at rest");
    // Taken back, it is cancelled.
    let mut back = World {
        order: world.order.clone(),
        catalogue: world.catalogue.clone(),
        seen: world.seen.clone(),
        ..World::new(Kind::Postgres)
    };
    (back.order.spec.plan, back.order.spec.version, back.order.spec.high_availability) =
        ("small".into(), "15".into(), false);
    let cancelled = back.pass();
    assert_eq!(cancelled.operation.unwrap().state, OperationPhase::Cancelled);
    assert_eq!(cancelled.pending_maintenance, None);
    // In the window it begins, and a crash before the status was written changes nothing of that.
    world.now = time(&pending.from);
    let lost = world.order.status.clone();
    let begun = world.pass();
    assert_eq!((begun.plan.as_deref(), begun.version.as_deref()), (Some("medium"), Some("15.9")));
    assert_eq!(begun.operation.unwrap().state, OperationPhase::InProgress);
    let runs_now = runs(&world.seen);
    world.order.status = lost;
    world.now = time(pending.until.as_deref().unwrap());
    let after_crash = world.pass();
    assert_eq!((after_crash.plan.as_deref(), after_crash.pending_maintenance), (Some("medium"), None));
    assert_eq!(runs(&world.seen), runs_now);
    world.engine();
    assert_eq!(world.pass().operation.unwrap().state, OperationPhase::Succeeded);
}

#[test]
fn what_interrupts_nothing_does_not_wait_for_the_change_beside_it_and_urgency_is_not_the_orders() {
    let mut world = patient();
    let before = runs(&world.seen);
    world.order.spec.plan = "medium".into();
    world.order.spec.storage = Some("60Gi".to_owned());
    let told = world.pass();
    let names = world.names();
    assert_eq!(world.seen.cluster(&names).unwrap()["spec"]["storage"]["size"], "60Gi");
    assert_eq!((told.storage.as_deref(), told.plan.as_deref()), (Some("60Gi"), Some("small")));
    assert_eq!(runs(&world.seen), before);
    // An urgent fix of the platform comes before; the order's change goes on waiting.
    let by = after(world.now, seconds(3_600));
    world.change(|o| {
        o.spec.versions[0].image = "registry/pg:15.8".into();
        o.spec.maintenance =
            Some(OfferingMaintenance { urgent_by: Some(by.to_string()), ..OfferingMaintenance::default() });
    });
    let urgent = world.pass().pending_maintenance.unwrap();
    assert_eq!(urgent.until, None);
    assert!(time(&urgent.from) >= by && time(&urgent.from) <= after(by, SPREAD));
    assert_eq!(urgent.what, "as ordered: plan small to medium; another image");
    world.now = time(&urgent.from);
    let left = world.pass();
    assert_eq!(left.pending_maintenance.unwrap().what, "as ordered: plan small to medium");
    let spec = &world.seen.cluster(&names).unwrap()["spec"];
    assert_eq!((&spec["imageName"], left.plan.as_deref()), (&json!("registry/pg:15.8"), Some("small")));
}

#[test]
fn the_answer_to_a_change_says_whether_it_interrupts_or_waits() {
    let mut world = World::new(Kind::Postgres);
    let valid = |world: &World| check(&world.order, &world.catalogue, world.now).unwrap();
    let said = |before: &Valid, after: &Valid| match advise(Ok(after), Some(before), None, Wish::Change) {
        Advice::Allow(warnings) => warnings.join("\n"),
        Advice::Deny(refusal) => panic!("{refusal:?}"),
    };
    let small = valid(&world);
    world.order.spec.plan = "medium".into();
    let text = said(&small, &valid(&world));
    assert!(text.contains("restarted once") && !text.contains("window"), "{text}");
    world.order.status.pending_maintenance = Some(PendingMaintenance {
        what: "another image".into(),
        message: String::new(),
        since: String::new(),
        from: String::new(),
        until: None,
    });
    let text = said(&small, &valid(&world));
    assert!(text.contains("goes along: another image"), "{text}");
    world.order.spec.maintenance =
        Some(MaintenanceSpec { window: WindowSpec::default(), apply: Apply::Window });
    let text = said(&small, &valid(&world));
    let wanted =
        "it waits for the maintenance window, Sunday 02:00 (Africa/Casablanca), or for the next one; then";
    assert!(text.contains(wanted), "{text}");
}

#[test]
fn a_default_that_the_offering_itself_does_not_allow_is_a_sentence() {
    let mut world = World::new(Kind::Postgres);
    for (name, default, wanted) in
        [("work_mem", "5MB", "one of: 16MB"), ("max_connections", "many", "a whole number")]
    {
        world.change(|o| {
            o.spec
                .parameters
                .iter_mut()
                .for_each(|p| p.default = (p.name == name).then(|| default.to_owned()));
        });
        let refusal = check(&world.order, &world.catalogue, world.now).unwrap_err();
        assert!(refusal.message.contains(wanted) && refusal.message.contains(name), "{}", refusal.message);
    }
}

#[test]
fn what_waits_is_said_in_words_that_no_earlier_landing_must_know() {
    // The landing before reads the status and knows nothing of this field: it is one of its own, with no word of a closed list.
    let mut world = World::new(Kind::Postgres);
    does(&mut world, &Platform::Memory(3));
    let told = serde_json::to_value(world.pass()).unwrap();
    let fields: BTreeSet<&str> =
        told["pendingMaintenance"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, BTreeSet::from(["what", "message", "since", "from", "until"]));
    assert_eq!(told["pendingMaintenance"]["what"], "other CPU and memory");
}

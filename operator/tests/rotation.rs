//! Rotations as a property: whenever the operator is killed, whatever the engine is behind with, nobody is locked out early,
//! and in the end there is one login.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod common;

use common::{examples, is_as_planned, now, platform};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};
use siyada_operator::check::{Valid, check};
use siyada_operator::names::{Names, OWNER_ROLE, binding};
use siyada_operator::object::{ChildKind, Key};
use siyada_operator::order::Kind;
use siyada_operator::plan::{Certificate, Fresh, needs_certificate, plan};
use siyada_operator::rotate::is_bound;
use siyada_operator::rotation::{Facts, Phase, Rotation};
use siyada_operator::seen::{Seen, secret_value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Grace period of the catalogue that is tried.
const GRACE_SECONDS: i64 = 3_600;

type Objects = BTreeMap<Key, Arc<Value>>;
type Login = (String, String);

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    /// A pass that is killed after so many writes.
    Pass(usize),
    /// A pass by an operator that was away, on what it saw when it left.
    Late(usize),
    /// An operator stops looking: what it sees is what [`Event::Late`] works on.
    Leave,
    /// The engine brings its roles about.
    Engine,
    /// Time goes by.
    Seconds(i64),
    /// The order's trigger changes.
    Trigger(u8),
    /// The order is suspended, or resumed.
    Suspend(bool),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => (0..12_usize).prop_map(Event::Pass),
        1 => (0..12_usize).prop_map(Event::Late),
        1 => Just(Event::Leave),
        4 => Just(Event::Engine),
        3 => (1..2_000_i64).prop_map(Event::Seconds),
        2 => (0..4_u8).prop_map(Event::Trigger),
        1 => any::<bool>().prop_map(Event::Suspend),
    ];
    proptest::collection::vec(event, 0..120)
}

struct World {
    valid: Valid,
    names: Names,
    objects: Objects,
    left: Objects,
    writes: u64,
    /// Passwords by role, as the engine has them.
    accepted: BTreeMap<String, String>,
    /// What clients were given before, and until when it was promised.
    promised: Vec<(Login, Timestamp)>,
    now: Timestamp,
}

impl World {
    fn new(kind: Kind) -> Self {
        let input = examples();
        let order = input.orders.iter().find(|o| o.at.kind == kind && o.at.name != "everything").unwrap();
        let mut valid = check(order, &input.catalogue, now()).unwrap();
        valid.grace_seconds = GRACE_SECONDS;
        let names = Names::of(&valid.order, &valid.tenant);
        let mut world = Self {
            valid,
            names,
            objects: Objects::new(),
            left: Objects::new(),
            writes: 0,
            accepted: BTreeMap::new(),
            promised: Vec::new(),
            now: now(),
        };
        world.pass(usize::MAX, None);
        world.engine();
        world
    }

    fn login_of(objects: &Objects, key: &Key) -> Option<Login> {
        let secret = objects.get(key)?;
        Some((secret_value(secret, "username")?, secret_value(secret, "password")?))
    }

    fn source(&self, name: &str) -> Key {
        Key::new(ChildKind::Secret, &self.names.engine, name)
    }

    fn bound(&self) -> Key {
        let at = &self.valid.order.at;
        Key::new(ChildKind::Secret, &at.namespace, binding(at))
    }

    fn accepts(&self, login: &Login) -> bool {
        self.accepted.get(&login.0) == Some(&login.1)
    }

    fn works(&self, objects: &Objects, key: &Key) -> bool {
        let runs = !self.valid.order.spec.suspend;
        runs && Self::login_of(objects, key).is_some_and(|login| self.accepts(&login))
    }

    fn rotation(objects: &Objects, names: &Names) -> Option<Rotation> {
        Rotation::of(objects.get(&Key::new(ChildKind::Cluster, &names.engine, &names.cluster))?)
    }

    /// What the operator's own part that looks would say.
    fn next(&self, seen: &Seen) -> Option<Rotation> {
        let rotation = Self::rotation(&seen.children, &self.names)?;
        let newest = self.source(&self.names.login_secret(rotation.number));
        let closing = self.source(&self.names.closing_secret(rotation.before()));
        let facts = Facts {
            trigger: self.valid.order.spec.rotation_trigger.clone().unwrap_or_default(),
            rotation_days: None,
            grace_seconds: GRACE_SECONDS,
            bound_works: self.works(&seen.children, &self.bound()),
            newest_works: self.works(&seen.children, &newest),
            newest_is_bound: is_bound(&self.valid, &self.names, &rotation, seen),
            closed: self.works(&seen.children, &closing),
        };
        rotation.next(&facts, self.now)
    }

    /// A pass over what is seen, killed after `cut` writes. Returns the writes it needed.
    fn pass(&mut self, cut: usize, view: Option<Objects>) -> usize {
        let seen = Seen { children: view.unwrap_or_else(|| self.objects.clone()), ..Seen::default() };
        let number = self.writes;
        let certificate = needs_certificate(&self.valid, &seen, &platform(), self.now).then(|| Certificate {
            certificate_pem: format!("certificate {number}"),
            key_pem: format!("key {number}"),
            renew_after_second: self.now.as_second() + 1_000_000_000,
        });
        let fresh = Fresh {
            owner_password: format!("owner {number}"),
            login_password: format!("login {number}"),
            further_seed: format!("seed {number}"),
            store_key: None,
            rotation: self.next(&seen),
            certificate,
        };
        let plan = plan(&self.valid, &seen, &fresh, &platform());
        assert!(plan.problem.is_none(), "{:?}", plan.problem);
        let mut writes = 0;
        for planned in plan.objects {
            let so = seen.children.get(&planned.key).is_some_and(|live| is_as_planned(&planned, live));
            if so {
                continue;
            }
            let version = |o: &Objects| o.get(&planned.key).map(|v| v["metadata"]["resourceVersion"].clone());
            if version(&seen.children) != version(&self.objects) {
                return writes; // The API server says that the view is of the past.
            }
            if writes >= cut {
                return writes;
            }
            writes += 1;
            self.write(planned.key, planned.body);
            self.holds();
        }
        for key in plan.surplus {
            if writes >= cut {
                return writes;
            }
            writes += 1;
            self.objects.remove(&key);
            self.holds();
        }
        writes
    }

    fn write(&mut self, key: Key, mut body: Value) {
        self.writes += 1;
        body["metadata"]["resourceVersion"] = json!(self.writes.to_string());
        let before = Self::login_of(&self.objects, &key).filter(|_| key == self.bound());
        self.objects.insert(key.clone(), Arc::new(body));
        if let Some(before) = before.filter(|b| Some(b) != Self::login_of(&self.objects, &key).as_ref()) {
            self.promised.push((before, self.now + SignedDuration::from_secs(GRACE_SECONDS)));
        }
    }

    /// The engine's part: managed roles as CloudNativePG brings them about.
    fn engine(&mut self) {
        let key = Key::new(ChildKind::Cluster, &self.names.engine, &self.names.cluster);
        let Some(cluster) = self.objects.get(&key).cloned() else { return };
        if self.valid.order.spec.suspend {
            return;
        }
        for role in cluster["spec"]["managed"]["roles"].as_array().unwrap() {
            let name = role["name"].as_str().unwrap().to_owned();
            if role["login"] == false {
                self.accepted.remove(&name);
                continue;
            }
            let secret = self.source(role["passwordSecret"]["name"].as_str().unwrap());
            let (user, password) =
                Self::login_of(&self.objects, &secret).expect("the engine finds no password");
            assert_eq!(user, name, "the engine refuses a Secret of another role");
            self.accepted.insert(name, password);
        }
        assert!(!self.accepted.contains_key(OWNER_ROLE));
        self.holds();
    }

    /// What must be true at every moment.
    fn holds(&self) {
        let bound = Self::login_of(&self.objects, &self.bound());
        if let Some(bound) = bound.filter(|_| !self.accepted.is_empty()) {
            assert!(self.accepts(&bound), "what clients are given is refused");
        }
        for (login, until) in &self.promised {
            assert!(self.accepts(login) || *until <= self.now, "a login is refused before its time");
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Pass(cut) => {
                self.pass(cut, None);
            }
            Event::Leave => self.left = self.objects.clone(),
            Event::Late(cut) => {
                let view = self.left.clone();
                if !view.is_empty() {
                    self.pass(cut, Some(view));
                }
            }
            Event::Engine => self.engine(),
            Event::Seconds(seconds) => self.now += SignedDuration::from_secs(seconds),
            Event::Trigger(n) => {
                self.valid.order.spec.rotation_trigger = (n > 0).then(|| n.to_string());
            }
            Event::Suspend(suspend) => self.valid.order.spec.suspend = suspend,
        }
        self.holds();
    }

    /// Undisturbed from here on.
    fn settle(&mut self) {
        self.valid.order.spec.suspend = false;
        for _ in 0..40 {
            self.engine();
            self.pass(usize::MAX, None);
            self.now += SignedDuration::from_secs(GRACE_SECONDS / 4);
        }
        self.engine();
        assert_eq!(self.pass(usize::MAX, None), 0, "it does not come to rest");
        let rotation = Self::rotation(&self.objects, &self.names).unwrap();
        assert_eq!(rotation.phase, Phase::Steady);
        let wanted = self.valid.order.spec.rotation_trigger.clone().unwrap_or_default();
        assert_eq!(rotation.trigger, wanted);
        assert_eq!(self.accepted.len(), 1, "one login is left");
        // A source that was written before the wish was taken back waits for the next rotation: nobody has its password, and
        // removing it by a late view could take it from a rotation that has begun.
        let next = self.names.login_secret(rotation.number + 1);
        let logins = self.objects.keys().filter(|key| {
            let of_login = key.name.contains("-login-") || key.name.contains("-closing-");
            key.kind == ChildKind::Secret
                && key.namespace == self.names.engine
                && of_login
                && key.name != next
        });
        assert_eq!(logins.count(), 1, "and one source");
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Postgres), Just(Kind::Documents)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_nobody_is_locked_out_early_and_one_login_is_left(kind in kinds(), events in events()) {
        let mut world = World::new(kind);
        for event in events {
            world.happen(event);
        }
        world.settle();
    }
}

#[test]
fn killed_after_every_single_write_a_rotation_ends_as_an_undisturbed_one() {
    for kind in Kind::ALL {
        let mut world = World::new(kind);
        let before = World::login_of(&world.objects, &world.bound()).unwrap();
        world.happen(Event::Trigger(1));
        for _ in 0..200 {
            world.happen(Event::Pass(1));
            world.happen(Event::Engine);
            world.happen(Event::Seconds(60));
        }
        world.settle();
        let after = World::login_of(&world.objects, &world.bound()).unwrap();
        assert_eq!((before.0.as_str(), after.0.as_str()), ("app_a", "app_b"));
        assert!(!world.accepts(&before) && world.accepts(&after));
    }
}

#[test]
fn a_gateway_is_restarted_when_a_login_ended_and_not_before() {
    let mut world = World::new(Kind::Documents);
    let gateway = Key::new(ChildKind::Deployment, &world.names.engine, world.names.gateway());
    let template = |world: &World| world.objects[&gateway]["spec"]["template"].clone();
    let before = template(&world);
    world.happen(Event::Trigger(1));
    loop {
        world.happen(Event::Pass(usize::MAX));
        world.happen(Event::Engine);
        if World::rotation(&world.objects, &world.names).unwrap().phase == Phase::Grace {
            break;
        }
        assert!(template(&world) == before, "it was restarted for a new login");
    }
    world.happen(Event::Seconds(GRACE_SECONDS - 1));
    world.happen(Event::Pass(usize::MAX));
    assert!(template(&world) == before, "it was restarted before the grace period ended");
    world.settle();
    assert!(template(&world) != before, "pools with the old password live on");
}

#[test]
fn a_schedule_asks_when_it_is_time_and_a_broken_database_is_left_alone() {
    let start: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
    let day = SignedDuration::from_hours(24);
    let first = Rotation::first(start, "");
    let check = |days: Option<i64>, trigger: &str, bound_works: bool, after: i32, expect: Option<u32>| {
        let facts =
            Facts { trigger: trigger.to_owned(), rotation_days: days, bound_works, ..Facts::default() };
        let next = first.next(&facts, start + day * after).map(|next| next.number);
        assert_eq!(next, expect, "{days:?} {trigger:?} {bound_works} {after}");
    };
    check(None, "", true, 4_000, None);
    check(Some(90), "", true, 89, None);
    check(Some(90), "", true, 90, Some(2));
    check(Some(90), "", false, 90, None);
    check(None, "now", true, 0, Some(2));
    check(None, "now", false, 0, None);
}

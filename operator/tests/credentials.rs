//! Further logins as a property: whenever the operator is killed and whatever people ask for, a login has the rights that were
//! asked for it, its Secret holds what the engine was told of, and nobody is let in with one that is gone.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod common;

use common::{examples, is_as_planned, now, platform, registry};
use proptest::prelude::*;
use serde_json::{Value, json};
use siyada_operator::backup::Source;
use siyada_operator::check::{Valid, check};
use siyada_operator::credential::{MOST, Wanted, binding, is_over, role, slots};
use siyada_operator::names::{CREDENTIAL, Names, OWNER_ROLE};
use siyada_operator::object::{ChildKind, Key};
use siyada_operator::plan::{Certificate, Fresh, needs_certificate, plan};
use siyada_operator::seen::{Seen, metadata, secret_value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    /// A pass that is killed after so many writes.
    Pass(usize),
    /// The engine brings the roles about.
    Engine,
    /// Somebody asks for a login, by number; it reads, or also writes.
    Ask(u8, bool),
    /// Somebody asks for another password.
    Trigger(u8, u8),
    /// Somebody deletes one.
    Delete(u8),
    /// One that is being deleted goes, with its sessions ended or torn out.
    Go(u8),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let which = 0..11_u8;
    let event = prop_oneof![
        4 => prop_oneof![0..6_usize, Just(usize::MAX)].prop_map(Event::Pass),
        3 => Just(Event::Engine),
        3 => (which.clone(), any::<bool>()).prop_map(|(n, reads)| Event::Ask(n, reads)),
        1 => (which.clone(), 1..4_u8).prop_map(|(n, text)| Event::Trigger(n, text)),
        1 => which.clone().prop_map(Event::Delete),
        1 => which.prop_map(Event::Go),
    ];
    proptest::collection::vec(event, 0..60)
}

struct World {
    valid: Valid,
    names: Names,
    objects: BTreeMap<Key, Arc<Value>>,
    further: Vec<Wanted>,
    writes: u64,
    asked: u64,
    /// Role by name: password, and what it is a member of.
    accepted: BTreeMap<String, (String, String)>,
}

impl World {
    fn new() -> Self {
        let input = examples();
        let valid = check(&registry(&input), &input.catalogue, now()).unwrap();
        let names = Names::of(&valid.order, &valid.tenant);
        let mut world = Self {
            valid,
            names,
            objects: BTreeMap::new(),
            further: Vec::new(),
            writes: 0,
            asked: 0,
            accepted: BTreeMap::new(),
        };
        world.pass(usize::MAX);
        world.engine();
        world
    }

    fn seen(&self) -> Seen {
        Seen { children: self.objects.clone(), further: self.further.clone(), ..Seen::default() }
    }

    fn fresh(&self, seen: &Seen) -> Fresh {
        let (now, number) = (now(), self.writes);
        let certificate = needs_certificate(&self.valid, seen, &platform(), now).then(|| Certificate {
            certificate_pem: format!("certificate {number}"),
            key_pem: format!("key {number}"),
            renew_after_second: now.as_second() + 1_000,
        });
        Fresh {
            owner_password: format!("owner {number}"),
            login_password: format!("login {number}"),
            further_seed: format!("seed {number}"),
            rotation: None,
            certificate,
            store_key: None,
        }
    }

    /// A pass that is killed after `cut` writes. Returns the writes it needed.
    fn pass(&mut self, cut: usize) -> usize {
        let seen = self.seen();
        let plan = plan(&self.valid, &seen, &self.fresh(&seen), &platform());
        assert!(plan.problem.is_none(), "{:?}", plan.problem);
        let mut writes = 0;
        for planned in plan.objects {
            let so = self.objects.get(&planned.key).is_some_and(|live| is_as_planned(&planned, live));
            if so {
                continue;
            }
            if writes >= cut {
                return writes;
            }
            (writes, self.writes) = (writes + 1, self.writes + 1);
            self.objects.insert(planned.key, Arc::new(planned.body));
        }
        for key in plan.surplus {
            if writes >= cut {
                return writes;
            }
            (writes, self.writes) = (writes + 1, self.writes + 1);
            self.objects.remove(&key);
        }
        writes
    }

    fn secret(&self, name: &str) -> Option<&Arc<Value>> {
        self.objects.get(&Key::new(ChildKind::Secret, &self.names.engine, name))
    }

    /// The engine's part: managed roles as CloudNativePG brings them about. A Secret that it is to read must be there.
    fn engine(&mut self) {
        let cluster = self.seen().cluster(&self.names).cloned().unwrap();
        for entry in cluster["spec"]["managed"]["roles"].as_array().unwrap() {
            let name = entry["name"].as_str().unwrap().to_owned();
            if entry["ensure"] == "absent" || entry["login"] == false {
                self.accepted.remove(&name);
                continue;
            }
            let source = self.secret(entry["passwordSecret"]["name"].as_str().unwrap());
            let source = source.expect("the engine finds no password");
            assert_eq!(secret_value(source, "username").as_ref(), Some(&name), "a Secret of another role");
            let member = entry["inRoles"][0].as_str().unwrap().to_owned();
            self.accepted.insert(name, (secret_value(source, "password").unwrap(), member));
        }
    }

    fn bound(&self, wanted: &Wanted) -> Option<(String, String)> {
        let key = Key::new(ChildKind::Secret, &self.valid.order.at.namespace, binding(&wanted.name));
        let secret = self.objects.get(&key)?;
        Some((secret_value(secret, "username")?, secret_value(secret, "password")?))
    }

    /// What must be true at every moment.
    fn holds(&self) {
        let slots = slots(&self.seen(), &self.names);
        let distinct: BTreeSet<u32> = slots.values().copied().collect();
        assert_eq!(distinct.len(), slots.len(), "two logins share a role");
        for wanted in self.further.iter().filter(|w| !w.ends) {
            let Some((user, password)) = self.bound(wanted) else { continue };
            assert_eq!(Some(&user), slots.get(&wanted.uid).map(|slot| role(*slot)).as_ref());
            // A slot may have had another owner until the engine brings the new one about; nobody gets in as him.
            let accepted = self.accepted.get(&user).filter(|(now, _)| *now == password);
            let Some((_, member)) = accepted else { continue };
            let wanted_of = if wanted.reads_only { "pg_read_all_data" } else { OWNER_ROLE };
            assert_eq!(member, wanted_of, "{user} has rights that nobody asked for");
        }
    }

    fn happen(&mut self, event: Event) {
        let named = |n: u8| format!("login-{n}");
        match event {
            Event::Pass(cut) => drop(self.pass(cut)),
            Event::Engine => self.engine(),
            Event::Ask(n, reads_only) => {
                if self.further.iter().all(|w| w.name != named(n)) {
                    self.asked += 1;
                    let uid = format!("u{:04}", self.asked);
                    self.further.push(Wanted {
                        name: named(n),
                        uid,
                        reads_only,
                        trigger: String::new(),
                        ends: false,
                    });
                }
            }
            Event::Trigger(n, text) => {
                for wanted in self.further.iter_mut().filter(|w| w.name == named(n) && !w.ends) {
                    wanted.trigger = text.to_string();
                }
            }
            Event::Delete(n) => {
                self.further.iter_mut().filter(|w| w.name == named(n)).for_each(|w| w.ends = true)
            }
            Event::Go(n) => self.further.retain(|w| w.name != named(n) || !w.ends),
        }
    }

    /// Undisturbed from here on: those that end go when the engine lets nobody in as them but the operator.
    fn settle(&mut self) {
        for _ in 0..8 {
            self.pass(usize::MAX);
            self.engine();
        }
        self.further.retain(|w| !w.ends);
        for _ in 0..4 {
            self.pass(usize::MAX);
            self.engine();
        }
        assert_eq!(self.pass(usize::MAX), 0, "it does not come to rest");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_every_login_is_what_was_asked_and_those_that_are_gone_let_nobody_in(events in events()) {
        let mut world = World::new();
        let mut given = BTreeSet::new();
        for event in events {
            world.happen(event);
            world.holds();
            given.extend(world.further.iter().filter_map(|wanted| world.bound(wanted)));
        }
        world.settle();
        world.holds();
        let living = world.further.len().min(usize::try_from(MOST).unwrap());
        let bound: BTreeSet<_> = world.further.iter().filter_map(|wanted| world.bound(wanted)).collect();
        prop_assert_eq!(bound.len(), living, "as many as there are slots have a Secret");
        for (user, password) in &bound {
            prop_assert_eq!(&world.accepted[user].0, password, "what clients are given is accepted");
        }
        for (user, password) in given.difference(&bound) {
            let accepted = world.accepted.get(user).is_some_and(|(now, _)| now == password);
            prop_assert!(!accepted, "a password that was replaced or whose login is gone lets in");
        }
        prop_assert_eq!(world.accepted.len(), living + 1, "the order's own login and those asked for");
        let secrets = world.objects.iter().filter(|(_, o)| metadata(o, "labels", CREDENTIAL).is_some()).count();
        let replaced = world.further.iter().filter(|w| world.bound(w).is_some() && !w.trigger.is_empty()).count();
        prop_assert_eq!(secrets, 2 * living + replaced, "a binding, a claim, and a source where a password was replaced");
    }
}

#[test]
fn without_further_logins_nothing_of_an_order_changes() {
    let world = World::new();
    let text = json!(world.objects.values().map(|o| &**o).collect::<Vec<_>>()).to_string();
    assert!(!text.contains("app_c_") && !text.contains("-cred-"));
    assert!(is_over(&world.seen(), &world.names, "nobody"));
}

#[test]
fn a_copy_has_no_further_login_of_its_origin() {
    let mut world = World::new();
    world.objects.clear();
    let bucket = "siyada-origin".to_owned();
    let source = Source {
        order_uid: "origin".parse().unwrap(),
        bucket,
        archive: None,
        backup_id: None,
        time: None,
        all: false,
    };
    let seen = Seen { source: Some(source), ..world.seen() };
    let absent = siyada_operator::credential::roles(&seen, &world.names);
    assert_eq!(absent.len(), usize::try_from(MOST).unwrap());
    assert!(absent.iter().all(|entry| entry["ensure"] == "absent"));
}

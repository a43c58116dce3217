//! Suspended orders as a property: what stands still holds its volumes alone, what runs is held, and what may not run again
//! stands still.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod common;

use common::{examples, now, platform};
use proptest::prelude::*;
use serde_json::{Value, json};
use siyada_crds::OrderStatus;
use siyada_model::money::Money;
use siyada_model::quota::{Commitment, Quota, fits};
use siyada_model::resources::Resources;
use siyada_model::wire::code;
use siyada_operator::admission::{Advice, Wish, advise};
use siyada_operator::catalogue::Catalogue;
use siyada_operator::check::{Refusal, Valid, check};
use siyada_operator::condition::reason;
use siyada_operator::ledger::Ledger;
use siyada_operator::names::Names;
use siyada_operator::object::Key;
use siyada_operator::order::{Kind, Order};
use siyada_operator::plan::{Certificate, Fresh, needs_certificate, plan};
use siyada_operator::reconcile::{Held, admission, request, stops};
use siyada_operator::seen::Seen;
use siyada_operator::status::{Admission, Picture, status};
use std::collections::BTreeMap;
use std::sync::Arc;

fn registry() -> (Order, Catalogue) {
    let input = examples();
    let mut order = common::registry(&input);
    order.spec.max_monthly_cost = None;
    order.spec.storage = None;
    (order, input.catalogue)
}

proptest! {
    #[test]
    fn what_is_suspended_holds_and_costs_its_volumes_alone(
        size in prop_oneof![Just("dev"), Just("small"), Just("medium"), Just("large")],
        available in any::<bool>(),
        documents in any::<bool>(),
    ) {
        let input = examples();
        let kind = if documents { Kind::Documents } else { Kind::Postgres };
        let mut order = input.orders.into_iter().find(|o| o.at.kind == kind && o.at.name != "everything").unwrap();
        order.spec.plan = size.to_owned();
        order.spec.storage = None;
        order.spec.max_monthly_cost = None;
        order.spec.high_availability = available;
        let Ok(running) = check(&order, &input.catalogue, now()) else { return Ok(()) };
        order.spec.suspend = true;
        let asleep = check(&order, &input.catalogue, now()).unwrap();
        let volumes = Resources { storage_bytes: running.resources.storage_bytes, ..Resources::default() };
        prop_assert_eq!(asleep.resources, volumes);
        prop_assert_eq!(&asleep.items[..], &running.items[running.items.len() - 1..]);
        prop_assert_eq!(&asleep.items[0].sku, &asleep.storage_sku);
        prop_assert!(asleep.monthly_maximum.minor < running.monthly_maximum.minor);
        prop_assert_eq!(asleep.resumed_maximum, Some(running.monthly_maximum));
        prop_assert_eq!(running.resumed_maximum, None);
        let told = asleep.price_sentence();
        prop_assert!(told.contains(&asleep.monthly_maximum.to_string()) && told.contains(&running.monthly_maximum.to_string()), "{told}");
        prop_assert_eq!(request(&asleep).resources, volumes);
    }
}

#[test]
fn a_resumption_that_does_not_fit_is_advised_against_in_words_of_its_own() {
    let (order, catalogue) = registry();
    let valid = check(&order, &catalogue, now()).unwrap();
    let money = json!({"minor": 1, "currency": "MAD"});
    let quote = json!({
        "monthlyMaximum": money, "priceList": "tarif-2026-07", "committed": money, "committedAfter": money,
        "shortfall": {"tenant": "interior", "dimension": "instances", "asked": 1, "free": 0, "limit": 1},
    });
    let quote = serde_json::from_value(quote).unwrap();
    let said = |wish| match advise(Ok(&valid), None, Some(&quote), wish) {
        Advice::Deny(refusal) => (refusal.reason, refusal.message),
        Advice::Allow(warnings) => panic!("allowed with {warnings:?}"),
    };
    let (why, message) = said(Wish::Resume);
    assert_eq!(why, reason::QUOTA_EXCEEDED);
    assert!(
        message
            .starts_with("it stays suspended, as resuming it does not fit the instances of tenant interior")
    );
    assert!(said(Wish::Order).1.starts_with("the order does not fit"));
    assert!(said(Wish::Change).1.starts_with("the change does not fit"));
}

/// What happens next, to the first or the second order.
#[derive(Clone, Debug)]
enum Event {
    /// Somebody wants compute, or wants none.
    Suspend(usize, bool),
    /// A pass; the engine takes its writes or does not.
    Pass(usize, bool),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        1 => (0..2_usize, any::<bool>()).prop_map(|(which, suspend)| Event::Suspend(which, suspend)),
        3 => (0..2_usize, proptest::bool::weighted(0.8)).prop_map(|(which, takes)| Event::Pass(which, takes)),
    ];
    proptest::collection::vec(event, 0..40)
}

/// Two orders of a tenant that may have one instance, and its ledger.
struct World {
    catalogue: Catalogue,
    orders: [Order; 2],
    seen: [Seen; 2],
    held: BTreeMap<String, Commitment>,
}

fn fresh(valid: &Valid, seen: &Seen) -> Fresh {
    let certificate = needs_certificate(valid, seen, &platform(), now()).then(|| Certificate {
        certificate_pem: "certificate".into(),
        key_pem: "key".into(),
        renew_after_second: now().as_second() + 1_000,
    });
    Fresh {
        owner_password: "owner".into(),
        login_password: "login".into(),
        further_seed: "seed".into(),
        rotation: None,
        certificate,
        store_key: None,
    }
}

impl World {
    fn new() -> Self {
        let (first, catalogue) = registry();
        let mut second = first.clone();
        second.uid = "second".parse().unwrap();
        second.at.name = "sibling".to_owned();
        Self { catalogue, orders: [first, second], seen: Default::default(), held: BTreeMap::new() }
    }

    fn valid(&self, which: usize) -> Valid {
        check(&self.orders[which], &self.catalogue, now()).unwrap()
    }

    fn sum(&self, but: &str) -> Commitment {
        let nothing = Commitment {
            resources: Resources::default(),
            monthly_cost: Money { minor: 0, currency: "MAD".parse().unwrap() },
        };
        self.held.iter().filter(|(uid, _)| *uid != but).fold(nothing, |sum, (_, held)| Commitment {
            resources: sum.resources.checked_add(held.resources).unwrap(),
            monthly_cost: sum.monthly_cost.add(held.monthly_cost).unwrap(),
        })
    }

    /// The ledger's part: growth must fit one instance, what shrinks always does.
    fn hold(&mut self, valid: &Valid) -> Admission {
        let uid = valid.order.uid.to_string();
        let asked = Commitment { resources: request(valid).resources, monthly_cost: valid.monthly_maximum };
        let before = self.held.get(&uid).map_or(0, |held| held.resources.instances);
        let mut growth = asked;
        growth.resources.instances -= before;
        let all = {
            let mut all = self.sum(&uid);
            all.resources.instances += before;
            all
        };
        let quota = Quota { instances: Some(1), ..Quota::default() };
        match fits(&valid.tenant, &quota, &all, &growth) {
            Ok(()) => {
                self.held.insert(uid, asked);
                Admission::Held
            }
            Err(shortfall) => {
                let problem = json!({
                    "type": "urn:siyada:problem:quota-exceeded", "title": "t", "status": 409, "code": code::QUOTA_EXCEEDED,
                    "detail": format!("{shortfall}"), "shortfall": shortfall,
                });
                let refused = Ledger::Refused(Box::new(serde_json::from_value(problem).unwrap()));
                admission(valid, &Err(refused))
            }
        }
    }

    /// A pass, in the order of the operator's. Whether somebody is told that it is refused.
    fn pass(&mut self, which: usize, takes_writes: bool) -> OrderStatus {
        let valid = self.valid(which);
        let names = Names::of(&valid.order, &valid.tenant);
        let stopping = stops(&valid, &names, &self.seen[which]);
        let admission = if stopping { Admission::Held } else { self.hold(&valid) };
        let problem = if let Some(_held) = Held::of(&valid, &admission) {
            let plan = plan(&valid, &self.seen[which], &fresh(&valid, &self.seen[which]), &platform());
            assert!(plan.problem.is_none());
            let failed = Refusal { reason: reason::WRITE_FAILED, message: "not now".to_owned() };
            if takes_writes {
                let objects = plan.objects.into_iter().map(|o| (o.key, Arc::new(o.body)));
                self.seen[which].children.extend(objects.collect::<BTreeMap<Key, Arc<Value>>>());
            }
            (!takes_writes).then_some(failed)
        } else {
            None
        };
        let picture = Picture {
            order: &self.orders[which],
            valid: Some(&valid),
            admission,
            seen: &self.seen[which],
            names: Some(names),
            problem,
            metered: true,
        };
        status(&picture, now())
    }

    fn runs(&self, which: usize) -> bool {
        let valid = self.valid(which);
        let names = Names::of(&valid.order, &valid.tenant);
        self.seen[which].cluster(&names).is_some() && !self.seen[which].sleeps(&names)
    }

    fn holds(&self) {
        assert!(self.sum("").resources.instances <= 1, "more is held than may be");
        for which in 0..2 {
            let held = self.held.get(self.orders[which].uid.as_str()).map_or(0, |h| h.resources.instances);
            assert!(held == 1 || !self.runs(which), "order {which} runs and holds nothing");
        }
    }
}

fn told<'a>(status: &'a OrderStatus, kind: &str) -> (&'a str, &'a str, &'a str) {
    let found = status.conditions.iter().find(|c| c.type_ == kind);
    found.map_or(("", "", ""), |c| (c.status.as_str(), c.reason.as_str(), c.message.as_str()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_runs_is_held_whatever_happens_and_room_is_taken_by_whoever_waits(events in events()) {
        let mut world = World::new();
        world.pass(0, true);
        for event in events {
            match event {
                Event::Suspend(which, suspend) => {
                    world.orders[which].spec.suspend = suspend;
                    world.orders[which].generation += 1;
                }
                Event::Pass(which, takes) => drop(world.pass(which, takes)),
            }
            world.holds();
        }
        for (first, second) in [(0, 1), (1, 0)] {
            world.orders[first].spec.suspend = true;
            world.orders[second].spec.suspend = false;
            for which in [first, first, second, second] {
                world.pass(which, true);
                world.holds();
            }
            prop_assert!(!world.runs(first) && world.runs(second));
        }
    }
}

#[test]
fn an_order_that_may_not_run_again_says_why_and_stays_suspended() {
    let mut world = World::new();
    world.pass(0, true);
    world.orders[0].spec.suspend = true;
    world.pass(0, true);
    world.pass(0, true);
    assert_eq!(world.sum("").resources.instances, 0, "what stands still holds no instance");
    world.pass(1, true);
    world.orders[0].spec.suspend = false;
    let refused = world.pass(0, true);
    assert!(!world.runs(0));
    assert_eq!(refused.phase.as_deref(), Some("Suspended"));
    for kind in ["Admitted", "Stalled"] {
        let (_, why, message) = told(&refused, kind);
        assert_eq!(why, reason::QUOTA_EXCEEDED, "{kind}");
        assert!(
            message.contains("asked 1, free 0 of 1") && message.contains("spec.suspend to true again"),
            "{message}"
        );
    }
    assert_eq!(told(&refused, "Admitted").0, "False");
    let (ready, why, message) = told(&refused, "Ready");
    assert_eq!((ready, why), ("False", reason::SUSPENDED));
    assert!(message.contains("stays stopped"), "{message}");
    // A wish taken back is no failure, and room is enough for it to go on by itself.
    world.orders[0].spec.suspend = true;
    assert_eq!(told(&world.pass(0, true), "Admitted").0, "True");
    world.orders[0].spec.suspend = false;
    world.orders[1].spec.suspend = true;
    world.pass(1, true);
    world.pass(1, true);
    assert_eq!(told(&world.pass(0, true), "Admitted").0, "True");
    assert!(world.runs(0));
}

#[test]
fn an_order_that_grows_while_it_stops_is_held_before_it_is_written() {
    let mut world = World::new();
    world.pass(0, true);
    let names = |valid: &Valid| Names::of(&valid.order, &valid.tenant);
    world.orders[0].spec.suspend = true;
    let valid = world.valid(0);
    assert!(stops(&valid, &names(&valid), &world.seen[0]));
    world.orders[0].spec.storage = Some("2Gi".to_owned());
    let valid = world.valid(0);
    assert!(!stops(&valid, &names(&valid), &world.seen[0]), "more storage is asked of the ledger first");
}

//! What happens next, drawn from a seed. Pure: the steps of a walk depend on nothing but the seed.

use super::dice::Dice;
use super::world::{Action, Change, Kind, Plan, Spec, World};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// Databases that run or may run at once: more would only wait for each other on two cores.
const REAL: [&str; 3] = ["alpha", "beta", "gamma"];
/// Orders that start no pods.
const CHEAP: [&str; 6] = ["papier", "crayon", "gomme", "encre", "plume", "cahier"];
/// Orders of the larger plan at once, so that all fit on two cores.
const MOST_SMALL: usize = 2;
/// Kept data beyond this is removed next.
const MOST_KEPT: usize = 4;

/// A process of the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Component {
    /// The operator.
    Operator,
    /// The api.
    Api,
    /// Both.
    Both,
    /// The engine's operator.
    Engine,
}

impl Component {
    /// All.
    pub const ALL: [Self; 4] = [Self::Operator, Self::Api, Self::Both, Self::Engine];

    /// Its name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Api => "api",
            Self::Both => "operator and api",
            Self::Engine => "engine operator",
        }
    }
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// SIGKILL of a process.
    Kill(Component),
    /// The pod of a component is deleted without grace.
    Replace(Component),
    /// SIGKILL of the ledger's PostgreSQL.
    Ledger,
    /// SIGKILL of an order's database.
    Database(String),
    /// SIGKILL of the API server, which is started again.
    Server,
    /// SIGKILL of etcd, which is started again.
    Etcd,
    /// The api is scaled to nothing for so many seconds.
    ApiAway(u64),
    /// The webhook's configuration is absent for so many seconds.
    WebhookAway(u64),
}

impl Fault {
    /// What it is, in few words.
    pub fn words(&self) -> String {
        match self {
            Self::Kill(component) => format!("kill -9 of the {}", component.as_str()),
            Self::Replace(component) => format!("pod of the {} deleted", component.as_str()),
            Self::Ledger => "kill -9 of the ledger's PostgreSQL".to_owned(),
            Self::Database(_) => "kill -9 of a database".to_owned(),
            Self::Server => "kill -9 of the API server".to_owned(),
            Self::Etcd => "kill -9 of etcd".to_owned(),
            Self::ApiAway(_) => "api away".to_owned(),
            Self::WebhookAway(_) => "webhook away".to_owned(),
        }
    }
}

/// A fault and its moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blow {
    /// What.
    pub fault: Fault,
    /// Milliseconds from the step's first request.
    pub after_ms: u64,
}

/// What is done at once, and what goes wrong meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What is done, each on another order.
    pub actions: Vec<Action>,
    /// What goes wrong.
    pub blows: Vec<Blow>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).unwrap_or_default())
    }
}

/// Draws the next step in a world.
pub fn next(world: &World, dice: &mut Dice) -> Step {
    let mut after = world.clone();
    let (mut actions, mut used) = (Vec::new(), BTreeSet::new());
    for _ in 0..dice.between(1, 3) {
        let Some(action) = action(&after, &used, dice) else { continue };
        used.insert(action.name().to_owned());
        after.apply(&action);
        actions.push(action);
    }
    let count = *dice.pick(&[0, 1, 1, 1, 2, 2]).unwrap_or(&1);
    let blows = (0..count).map(|_| blow(world, dice)).collect();
    Step { actions, blows }
}

/// The steps of a walk from an empty world.
pub fn walk(seed: u64, part: &str, count: usize) -> Vec<Step> {
    let (mut world, mut dice) = (World::default(), Dice::for_part(seed, part));
    let mut steps = Vec::with_capacity(count);
    for _ in 0..count {
        let step = next(&world, &mut dice);
        step.actions.iter().for_each(|action| world.apply(action));
        steps.push(step);
    }
    steps
}

fn spec(world: &World, nowhere: bool, dice: &mut Dice) -> Spec {
    let kind = if dice.chance(35) { Kind::Documents } else { Kind::Postgres };
    let smalls = world.living.values().filter(|o| o.spec.plan == Plan::Small && !o.spec.nowhere).count();
    let plan = if (nowhere || smalls < MOST_SMALL) && dice.chance(20) { Plan::Small } else { Plan::Dev };
    Spec {
        plan,
        storage_gib: plan.storage_gib(),
        suspend: dice.chance(if nowhere { 30 } else { 10 }),
        protected: dice.chance(40),
        retain: dice.chance(40),
        nowhere,
        ..Spec::small(kind)
    }
}

fn free<'a>(world: &World, used: &BTreeSet<String>, names: &[&'a str]) -> Vec<&'a str> {
    names.iter().copied().filter(|n| !world.living.contains_key(*n) && !used.contains(*n)).collect()
}

fn action(world: &World, used: &BTreeSet<String>, dice: &mut Dice) -> Option<Action> {
    let (real, cheap) = (free(world, used, &REAL), free(world, used, &CHEAP));
    let living: Vec<&String> = world.living.keys().filter(|n| !used.contains(*n)).collect();
    let running: Vec<&String> =
        living.iter().copied().filter(|n| world.living.get(*n).is_some_and(|o| o.spec.runs())).collect();
    let kept: Vec<&String> = world.kept.iter().map(|k| &k.name).filter(|n| !used.contains(*n)).collect();
    if world.kept.len() > MOST_KEPT && !kept.is_empty() {
        return kept.first().map(|name| Action::Remove((*name).clone()));
    }
    let weights = [
        if real.is_empty() { 0 } else { 10 + 10 * real.len() as u64 },
        if cheap.is_empty() { 0 } else { 15 },
        if living.is_empty() { 0 } else { 35 },
        if living.len() < 2 { 0 } else { 14 },
        if cheap.is_empty() { 0 } else { 5 },
        if cheap.is_empty() { 0 } else { 3 },
        if kept.is_empty() { 0 } else { 8 },
        if running.is_empty() { 0 } else { 12 },
    ];
    let mut rest = dice.below(weights.iter().sum());
    let mut choice = 0;
    while rest >= weights[choice] {
        rest -= weights[choice];
        choice += 1;
    }
    let one = |names: &[&String], dice: &mut Dice| dice.pick(names).map(|n| (*n).clone());
    Some(match choice {
        0 => Action::Order((*dice.pick(&real)?).to_owned(), spec(world, false, dice)),
        1 => Action::Order((*dice.pick(&cheap)?).to_owned(), spec(world, true, dice)),
        2 => {
            let name = one(&living, dice)?;
            let change = change(world, &world.living.get(&name)?.spec, dice);
            Action::Edit(name, change)
        }
        3 => Action::Delete(one(&living, dice)?),
        4 => fleeting(world, &cheap, dice)?,
        5 => Action::Greedy((*dice.pick(&cheap)?).to_owned()),
        6 => Action::Remove(one(&kept, dice)?),
        _ => Action::Write(one(&running, dice)?),
    })
}

/// An order that is gone before it is made goes with its data: whether data was there to keep would be chance.
fn fleeting(world: &World, names: &[&str], dice: &mut Dice) -> Option<Action> {
    let nowhere = dice.chance(50);
    let spec = Spec { suspend: false, protected: false, retain: false, ..spec(world, nowhere, dice) };
    Some(Action::Fleeting((*dice.pick(names)?).to_owned(), spec, dice.between(0, 8_000)))
}

fn change(world: &World, spec: &Spec, dice: &mut Dice) -> Change {
    let smalls = world.living.values().filter(|o| o.spec.plan == Plan::Small && !o.spec.nowhere).count();
    let work_mem = [4, 8, 16, 32];
    match dice.below(if spec.kind == Kind::Postgres { 8 } else { 7 }) {
        0 | 1 => Change::Suspend(!spec.suspend),
        2 if spec.plan == Plan::Small => Change::Plan(Plan::Dev),
        2 if spec.nowhere || smalls < MOST_SMALL => Change::Plan(Plan::Small),
        2 | 3 if spec.storage_gib < 9 => Change::Storage(spec.storage_gib + 1),
        4 => Change::Protected(!spec.protected),
        5 => Change::Retain(!spec.retain),
        7 => Change::WorkMem(*dice.pick(&work_mem).unwrap_or(&8)),
        _ => Change::Reference(u32::try_from(dice.below(1_000)).unwrap_or(0)),
    }
}

/// Half of all moments lie within the first second, where the operator writes the parts of an order one by one.
fn blow(world: &World, dice: &mut Dice) -> Blow {
    let after_ms = if dice.chance(60) { dice.below(1_000) } else { dice.below(15_000) };
    let component = *dice.pick(&Component::ALL).unwrap_or(&Component::Operator);
    let running: Vec<&String> = world.living.iter().filter(|(_, o)| o.spec.runs()).map(|(n, _)| n).collect();
    let fault = match dice.below(20) {
        0..=7 => Fault::Kill(component),
        8..=11 => Fault::Replace(component),
        12 | 13 => Fault::Ledger,
        14 => dice.pick(&running).map_or(Fault::Kill(component), |name| Fault::Database((*name).clone())),
        15 => Fault::Server,
        16 => Fault::Etcd,
        17 | 18 => Fault::ApiAway(dice.between(2, 20)),
        _ => Fault::WebhookAway(dice.between(2, 10)),
    };
    Blow { fault, after_ms }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_walk_is_possible(seed in any::<u64>()) {
            let mut world = World::default();
            for step in walk(seed, "walk/1", 60) {
                let names: BTreeSet<&str> = step.actions.iter().map(Action::name).collect();
                prop_assert_eq!(names.len(), step.actions.len(), "two actions on one order");
                for blow in &step.blows {
                    if let Fault::Database(name) = &blow.fault {
                        prop_assert!(world.living.get(name).is_some_and(|o| o.spec.runs()));
                    }
                }
                for action in &step.actions {
                    let there = world.living.get(action.name());
                    match action {
                        Action::Order(..) | Action::Fleeting(..) | Action::Greedy(_) => prop_assert!(there.is_none()),
                        Action::Edit(_, change) => {
                            let spec = &there.unwrap().spec;
                            let after = change.of(spec);
                            prop_assert!(after.storage_gib >= spec.storage_gib);
                            prop_assert!(after.storage_gib >= after.plan.storage_gib() && after.storage_gib <= 20);
                        }
                        Action::Delete(_) => prop_assert!(there.is_some()),
                        Action::Write(_) => prop_assert!(there.unwrap().spec.runs()),
                        Action::Remove(name) => prop_assert!(world.kept.iter().any(|k| k.name == *name)),
                    }
                    world.apply(action);
                }
                let real = world.living.values().filter(|o| !o.spec.nowhere);
                prop_assert!(real.clone().count() <= REAL.len());
                prop_assert!(real.filter(|o| o.spec.plan == Plan::Small).count() <= MOST_SMALL);
            }
        }
    }

    #[test]
    fn a_long_walk_has_every_action_and_every_fault() {
        let steps = walk(1, "walk/1", 600);
        let words: BTreeSet<&str> = steps.iter().flat_map(|s| s.actions.iter().map(Action::word)).collect();
        assert_eq!(words.len(), 7, "{words:?}");
        let faults: BTreeSet<String> =
            steps.iter().flat_map(|s| s.blows.iter().map(|b| b.fault.words())).collect();
        assert_eq!(faults.len(), 14, "{faults:?}");
        assert_eq!(steps, walk(1, "walk/1", 600));
    }
}

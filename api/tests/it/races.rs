//! Callers at once: for the last unit, while the tree moves, and against a model of what a ledger is.

use crate::random::Dice;
use crate::support::{World, but, order, tenant};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// Sends one order of one instance per entry at once, and counts who got it by tenant.
async fn race(world: &Arc<World>, tenants: &[&'static str]) -> BTreeMap<&'static str, usize> {
    let tasks: Vec<_> = tenants
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let (world, name) = (world.clone(), *name);
            tokio::spawn(async move {
                let path = format!("/v1/reservations/race-{index}");
                let answer = world.operator().put(&path, &order(name, &format!("race-{index}"), 1, 0)).await;
                match answer.status.as_u16() {
                    200 => Some(name),
                    _ => {
                        let short = answer.refused(409, "quota-exceeded").shortfall.unwrap();
                        assert_eq!((short.asked, short.free), (1, 0), "{short}");
                        None
                    }
                }
            })
        })
        .collect();
    let mut granted = BTreeMap::new();
    for task in tasks {
        if let Some(name) = task.await.unwrap() {
            *granted.entry(name).or_default() += 1;
        }
    }
    granted
}

#[tokio::test(flavor = "multi_thread")]
async fn i08_of_sixty_four_callers_one_gets_the_last_unit_at_the_leaf() {
    let world = Arc::new(World::with_tenants().await);
    let limit = tenant("police", Some("interior"), json!({"instances": 1}));
    world.operator().put("/v1/tenants/police", &limit).await.ok::<Value>();
    assert_eq!(race(&world, &["police"; 64]).await, BTreeMap::from([("police", 1)]));
    assert!(world.wrong_sums().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn i08_of_sixty_four_callers_one_gets_the_last_unit_at_the_root() {
    let world = Arc::new(World::with_tenants().await);
    world
        .operator()
        .put("/v1/tenants/kingdom", &tenant("kingdom", None, json!({"instances": 1})))
        .await
        .ok::<Value>();
    let granted = race(&world, &["police"; 64]).await;
    assert_eq!(granted.values().sum::<usize>(), 1);
    assert!(world.wrong_sums().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn i08_of_sixty_four_callers_in_three_branches_one_gets_the_last_unit_above_them() {
    let world = Arc::new(World::with_tenants().await);
    let operator = world.operator();
    operator
        .put("/v1/tenants/kingdom", &tenant("kingdom", None, json!({"instances": 1})))
        .await
        .ok::<Value>();
    operator.put("/v1/tenants/justice", &tenant("justice", Some("kingdom"), json!({}))).await.ok::<Value>();
    let callers: Vec<&str> =
        ["police", "health", "justice", "interior"].into_iter().cycle().take(64).collect();
    assert_eq!(race(&world, &callers).await.values().sum::<usize>(), 1);
    assert!(world.wrong_sums().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn i09_a_tenant_that_moves_while_callers_race_takes_its_sums_along() {
    let world = Arc::new(World::with_tenants().await);
    let operator = world.operator();
    for (name, limit) in [("interior", 9), ("health", 12)] {
        let record = tenant(name, Some("kingdom"), json!({"instances": limit}));
        operator.put(&format!("/v1/tenants/{name}"), &record).await.ok::<Value>();
    }
    let racer = tokio::spawn({
        let world = world.clone();
        async move { race_any(&world, 64).await }
    });
    let mut moves = 0;
    for (generation, parent) in (2..).zip(["health", "interior"].into_iter().cycle().take(20)) {
        let moved = but(&tenant("police", Some(parent), json!({})), json!({"generation": generation}));
        moves += u32::from(operator.put("/v1/tenants/police", &moved).await.status == 200);
    }
    let granted = racer.await.unwrap();
    assert!(moves > 0);
    assert!(world.wrong_sums().await.is_empty());
    let sum: i64 = sqlx::query_scalar("select held_instances from tenant_quota q join tenant t on t.id = q.tenant_id where t.name = 'police'")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(usize::try_from(sum).unwrap(), granted);
    assert!((9..=12).contains(&granted), "{granted}");
}

/// Orders of police, whoever stops them.
async fn race_any(world: &Arc<World>, count: usize) -> usize {
    let tasks: Vec<_> = (0..count)
        .map(|index| {
            let world = world.clone();
            tokio::spawn(async move {
                let path = format!("/v1/reservations/any-{index}");
                let request = order("police", &format!("any-{index}"), 1, 0);
                world.operator().put(&path, &request).await.status == 200
            })
        })
        .collect();
    let mut granted = 0;
    for task in tasks {
        granted += usize::from(task.await.unwrap());
    }
    granted
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_the_database_cannot_take_fails_alone() {
    let world = Arc::new(World::with_tenants().await);
    let tasks: Vec<_> = (0..40)
        .map(|index| {
            let world = world.clone();
            tokio::spawn(async move {
                // PostgreSQL has no NUL in a text: the whole batch fails on it.
                let name = if index == 17 { "nul\0".to_owned() } else { format!("db-{index}") };
                let request = serde_json::from_value(order("police", &name, 1, 0)).unwrap();
                world.state.group.hold(format!("u-{index}").parse().unwrap(), request).await.is_ok()
            })
        })
        .collect();
    let mut held = Vec::new();
    for task in tasks {
        held.push(task.await.unwrap());
    }
    let failed: Vec<usize> =
        held.iter().enumerate().filter(|(_, ok)| !**ok).map(|(index, _)| index).collect();
    assert_eq!(failed, [17]);
    assert!(world.wrong_sums().await.is_empty());
    let nul = order("police", "nul\0", 1, 0);
    world.operator().put("/v1/reservations/u-99", &nul).await.refused(422, "invalid");
    let named = but(
        &tenant("police", Some("interior"), json!({})),
        json!({"displayName": {"ar": "\0"}, "generation": 2}),
    );
    world.operator().put("/v1/tenants/police", &named).await.refused(422, "invalid");
}

#[tokio::test]
async fn an_order_made_anew_under_another_uid_inherits_nothing() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    let limit = tenant("police", Some("interior"), json!({"instances": 1}));
    operator.put("/v1/tenants/police", &limit).await.ok::<Value>();
    operator.put("/v1/reservations/first", &order("police", "db", 1, 1)).await.ok::<Value>();
    let short = operator.put("/v1/reservations/second", &order("police", "db", 1, 1)).await;
    let short = short.refused(409, "quota-exceeded").shortfall.unwrap();
    assert_eq!(short.freeable[0].name, "db");
    operator.delete("/v1/reservations/second").await.gone();
    assert_eq!(operator.get("/v1/reservations").await.ok::<Value>()["items"][0]["orderUid"], "first");
    operator.delete("/v1/reservations/first").await.gone();
    operator.put("/v1/reservations/second", &order("police", "db", 1, 1)).await.ok::<Value>();
}

#[tokio::test]
async fn what_stands_is_counted_when_a_quota_is_first_set() {
    let world = World::with_tenants().await;
    let operator = world.operator();
    for index in 0..3 {
        let request = order("police", &format!("db-{index}"), 1, 0);
        operator.put(&format!("/v1/reservations/u-{index}"), &request).await.ok::<Value>();
    }
    let first = but(&tenant("police", Some("interior"), json!({"instances": 4})), json!({"generation": 2}));
    operator.put("/v1/tenants/police", &first).await.ok::<Value>();
    operator.put("/v1/reservations/u-3", &order("police", "db-3", 1, 0)).await.ok::<Value>();
    let short = operator.put("/v1/reservations/u-4", &order("police", "db-4", 1, 0)).await;
    assert_eq!(short.refused(409, "quota-exceeded").shortfall.unwrap().free, 0);
}

/// What somebody did, when, and what he was told: the free units for a refusal.
#[derive(Clone, Debug)]
struct Event {
    began: Instant,
    ended: Instant,
    uid: u64,
    /// Units asked for; none for a release.
    asked: Option<i64>,
    told: Result<(), i64>,
}

const LIMIT: i64 = 5;

/// A ledger with one limit: what a call must be told, and what it leaves.
fn apply(state: &BTreeMap<u64, i64>, event: &Event) -> Option<BTreeMap<u64, i64>> {
    let mut next = state.clone();
    let Some(asked) = event.asked else {
        next.remove(&event.uid);
        return event.told.is_ok().then_some(next);
    };
    let own = state.get(&event.uid).copied().unwrap_or(0);
    let free = LIMIT - state.values().sum::<i64>();
    let fits = asked <= own || asked - own <= free;
    match event.told {
        Ok(()) if fits => {
            next.insert(event.uid, asked);
            Some(next)
        }
        Err(told) if !fits && told == free => Some(next),
        _ => None,
    }
}

/// Whether there is an order of these events, true to time, in which each was told what the model says.
fn is_linear(events: &[Event]) -> bool {
    type Visited = BTreeSet<(u64, Vec<(u64, i64)>)>;
    fn search(events: &[Event], done: u64, state: &BTreeMap<u64, i64>, visited: &mut Visited) -> bool {
        if done.count_ones() as usize == events.len() {
            return true;
        }
        if !visited.insert((done, state.iter().map(|(k, v)| (*k, *v)).collect())) {
            return false;
        }
        let open = || events.iter().enumerate().filter(|(index, _)| done & (1 << index) == 0);
        let first_end = open().map(|(_, event)| event.ended).min().unwrap();
        // Only what began before anything else ended can come next.
        open().filter(|(_, event)| event.began <= first_end).any(|(index, event)| {
            apply(state, event).is_some_and(|next| search(events, done | (1 << index), &next, visited))
        })
    }
    search(events, 0, &BTreeMap::new(), &mut Visited::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_history_of_calls_is_one_that_a_single_clerk_could_have_written() {
    let world = Arc::new(World::with_tenants().await);
    for seed in 1..=40_u64 {
        let name: &'static str = format!("t{seed}").leak();
        let record = tenant(name, Some("kingdom"), json!({"instances": LIMIT}));
        world.operator().put(&format!("/v1/tenants/{name}"), &record).await.ok::<Value>();
        let callers: Vec<_> = (0..6_u64)
            .map(|caller| {
                let world = world.clone();
                tokio::spawn(async move {
                    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (caller << 32 | 7));
                    let mut events = Vec::new();
                    for _ in 0..8 {
                        events.push(one_call(&world, name, &mut dice).await);
                    }
                    events
                })
            })
            .collect();
        let mut events = Vec::new();
        for caller in callers {
            events.extend(caller.await.unwrap());
        }
        assert!(is_linear(&events), "seed {seed}: {events:#?}");
    }
    assert!(world.wrong_sums().await.is_empty());
}

async fn one_call(world: &World, tenant: &str, dice: &mut Dice) -> Event {
    let uid = dice.below(4);
    let path = format!("/v1/reservations/{tenant}-{uid}");
    let asked = (dice.below(3) > 0).then(|| 1 + i64::try_from(dice.below(3)).unwrap());
    let began = Instant::now();
    let told = match asked {
        None => {
            world.operator().delete(&path).await.gone();
            Ok(())
        }
        Some(asked) => {
            let answer = world.operator().put(&path, &order(tenant, &format!("db-{uid}"), asked, 0)).await;
            if answer.status == 200 {
                Ok(())
            } else {
                Err(answer.refused(409, "quota-exceeded").shortfall.unwrap().free)
            }
        }
    };
    Event { began, ended: Instant::now(), uid, asked, told }
}

#[test]
fn the_check_of_histories_finds_what_no_clerk_could_have_written() {
    let start = Instant::now();
    let at = |ms: u64| start + std::time::Duration::from_millis(ms);
    let event =
        |began, ended, uid, asked, told| Event { began: at(began), ended: at(ended), uid, asked, told };
    let held = event(0, 1, 1, Some(3), Ok(()));
    // One after the other, more than the limit.
    assert!(!is_linear(&[held.clone(), event(2, 3, 2, Some(3), Ok(()))]));
    assert!(is_linear(&[held.clone(), event(2, 3, 2, Some(3), Err(2))]));
    // Refused with a number that was never true.
    assert!(!is_linear(&[held.clone(), event(2, 3, 2, Some(3), Err(5))]));
    // At once with a release, either is possible.
    assert!(is_linear(&[held, event(2, 9, 1, None, Ok(())), event(3, 8, 2, Some(5), Ok(()))]));
}

//! Availability: what the readiness probe finds, as the ledger is told. Only what changes is told, with how long ago it was seen
//! to change, by a clock that nobody sets; at a checkpoint the ledger is told that this is all. What could not be told waits.

use crate::context::Context;
use crate::counters::about_a_row;
use crate::halves::Halves;
use crate::ledger::Ledger;
use siyada_model::availability::State;
use siyada_model::id::{OrderUid, TenantName};
use siyada_model::wire::{AvailabilityBatch, AvailabilityChange, MOST_FACTS, code};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Changes that come within this time are told together.
const TOGETHER: Duration = Duration::from_secs(2);
/// Most changes of an order that wait for the ledger; of more, the time in between is told as seen by nobody.
const MOST_WAITING: usize = 32;

/// What the probe finds of every instance.
#[derive(Debug)]
pub struct Availability {
    /// Where this process's own clock begins.
    began: Instant,
    orders: Mutex<BTreeMap<String, Track>>,
    changed: Notify,
}

/// What is known of an order.
#[derive(Debug)]
struct Track {
    tenant: TenantName,
    /// What was seen last, and since when.
    last: (State, Instant),
    /// What the ledger does not know, the first first.
    waiting: Vec<(State, Instant)>,
}

impl Track {
    /// Keeps what is to be told.
    fn take(&mut self, state: State, at: Instant) {
        self.last = (state, at);
        if self.waiting.len() >= MOST_WAITING {
            self.waiting.truncate(MOST_WAITING - 1);
            if let Some(last) = self.waiting.last_mut() {
                last.0 = State::Unobserved;
            }
        }
        self.waiting.push((state, at));
    }
}

impl Default for Availability {
    fn default() -> Self {
        Self { began: Instant::now(), orders: Mutex::default(), changed: Notify::new() }
    }
}

impl Availability {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Track>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clock_ms(&self, at: Instant) -> i64 {
        i64::try_from(at.saturating_duration_since(self.began).as_millis()).unwrap_or(i64::MAX)
    }

    /// Takes in that an instance is up, or down, since `at`; what is known says nothing.
    pub fn saw(&self, uid: &str, tenant: &TenantName, up: bool, at: Instant) {
        let state = if up { State::Up } else { State::Down };
        let mut orders = self.lock();
        match orders.get_mut(uid) {
            Some(track) if track.last.0 == state => return,
            Some(track) => track.take(state, at),
            None => {
                let track = Track { tenant: tenant.clone(), last: (state, at), waiting: vec![(state, at)] };
                orders.insert(uid.to_owned(), track);
            }
        }
        drop(orders);
        self.changed.notify_one();
    }

    /// Takes in that nobody looks at an instance any more.
    pub fn ended(&self, uid: &str, at: Instant) {
        let mut orders = self.lock();
        if let Some(track) = orders.get_mut(uid).filter(|track| track.last.0 != State::Unobserved) {
            track.take(State::Unobserved, at);
            drop(orders);
            self.changed.notify_one();
        }
    }

    /// What the ledger does not know.
    fn untold(&self) -> Vec<AvailabilityChange> {
        let orders = self.lock();
        let of = |(uid, track): (&String, &Track)| {
            let order_uid: OrderUid = uid.parse().ok()?;
            let change = |(state, at): &(State, Instant)| AvailabilityChange {
                order_uid: order_uid.clone(),
                tenant: track.tenant.clone(),
                state: *state,
                clock_ms: self.clock_ms(*at),
            };
            Some(track.waiting.iter().map(change).collect::<Vec<_>>())
        };
        orders.iter().filter_map(of).flatten().collect()
    }

    /// The ledger knows these.
    fn told(&self, changes: &[AvailabilityChange]) {
        let mut orders = self.lock();
        for change in changes {
            let uid = change.order_uid.as_str();
            let Some(track) = orders.get_mut(uid) else { continue };
            track.waiting.retain(|(_, at)| self.clock_ms(*at) > change.clock_ms);
            if track.waiting.is_empty() && track.last.0 == State::Unobserved {
                orders.remove(uid);
            }
        }
    }

    /// Tells how everything is once more: another incarnation of the ledger answers, which may have lost it.
    pub fn tell_again(&self) {
        for track in self.lock().values_mut().filter(|track| track.waiting.is_empty()) {
            track.waiting.push(track.last);
        }
        self.changed.notify_one();
    }
}

/// Tells the ledger what changes, soon after it is seen, until the process ends.
pub async fn run(context: Arc<Context>) {
    loop {
        context.availability.changed.notified().await;
        tokio::time::sleep(TOGETHER).await;
        tell(&context, false).await;
    }
}

/// Tells the ledger what it does not know; with `complete`, that this is all until now. What is not taken waits for the next
/// checkpoint.
pub async fn tell(context: &Context, complete: bool) {
    let now = Instant::now();
    let mut waiting = Halves::new(context.availability.untold(), MOST_FACTS);
    while let Some(changes) = waiting.take() {
        match context.ledger.availability(&batch(context, Instant::now(), changes.clone(), false)).await {
            Ok(_) => context.availability.told(&changes),
            Err(Ledger::Refused(problem)) if about_a_row(&problem.code) => {
                if let Some(change) = waiting.split(changes) {
                    tracing::warn!(error = problem.detail, "what was seen of an instance is left out");
                    context.availability.told(&[change]);
                }
            }
            Err(error) => return put_off(&error),
        }
    }
    if complete && let Err(error) = context.ledger.availability(&batch(context, now, vec![], true)).await {
        put_off(&error);
    }
}

fn put_off(error: &Ledger) {
    // The ledger of the landing before has no such route, until it is upgraded too.
    if error.code() == Some(code::NOT_FOUND) {
        tracing::debug!(error = %error, "the ledger takes no availability yet");
    } else {
        tracing::warn!(error = %error, "availability waits for the next checkpoint");
    }
}

fn batch(
    context: &Context,
    now: Instant,
    changes: Vec<AvailabilityChange>,
    complete: bool,
) -> AvailabilityBatch {
    AvailabilityBatch {
        collector: context.collector.clone(),
        epoch: context.epoch,
        clock_ms: context.availability.clock_ms(now),
        changes,
        complete,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> TenantName {
        "t".parse().unwrap()
    }

    fn untold(all: &Availability) -> Vec<(State, i64)> {
        all.untold().iter().map(|change| (change.state, change.clock_ms)).collect()
    }

    #[tokio::test]
    async fn what_changes_waits_until_it_is_told_and_nothing_else_does() {
        let all = Availability::default();
        let at = |ms| all.began + Duration::from_millis(ms);
        all.saw("u", &tenant(), true, at(5));
        all.saw("u", &tenant(), true, at(6));
        assert_eq!(untold(&all), [(State::Up, 5)]);
        let first = all.untold();
        all.saw("u", &tenant(), false, at(9));
        all.told(&first);
        assert_eq!(untold(&all), [(State::Down, 9)], "what was seen meanwhile is told too");
        all.told(&all.untold());
        assert_eq!(untold(&all), []);
        all.tell_again();
        assert_eq!(untold(&all), [(State::Down, 9)], "as it was told before");
        all.ended("u", at(12));
        all.ended("u", at(13));
        all.ended("other", at(13));
        assert_eq!(untold(&all), [(State::Down, 9), (State::Unobserved, 12)]);
        all.told(&all.untold());
        all.tell_again();
        assert_eq!(untold(&all), [], "nobody looks at it, and the ledger knows");
    }

    #[tokio::test]
    async fn of_more_than_can_wait_the_middle_is_seen_by_nobody() {
        let all = Availability::default();
        let most = u64::try_from(MOST_WAITING).unwrap();
        for ms in 0..most + 7 {
            all.saw("u", &tenant(), ms % 2 == 0, all.began + Duration::from_millis(ms));
        }
        let found = untold(&all);
        assert_eq!(found.len(), MOST_WAITING);
        let last = i64::try_from(most + 6).unwrap();
        let middle = i64::try_from(most - 2).unwrap();
        assert_eq!(found[MOST_WAITING - 2..], [(State::Unobserved, middle), (State::Up, last)]);
        assert!(found[..MOST_WAITING - 2].iter().all(|(state, _)| *state != State::Unobserved));
    }
}

//! When a backup is restored to prove that it can be, and what comes next in such a drill. Pure: from what was told and seen.

use crate::backup::{self, Backups, Schedule};
use crate::condition::reason;
use jiff::{SignedDuration, Timestamp};
use siyada_crds::order::{DrillResult, DrillStatus};

/// A drill that is not over by then failed. A restore that takes longer is none that anybody can wait for.
pub const DEADLINE: SignedDuration = SignedDuration::from_hours(2);

/// What is known of an order and its drill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether the order is there and not going.
    pub there: bool,
    /// When drills are wanted, if they are.
    pub wanted: Option<Schedule>,
    /// When the newest whole backup was finished.
    pub newest: Option<Timestamp>,
    /// When the drill began whose result the order was told last.
    pub told: Option<Timestamp>,
    /// When the drill began whose result this process knows.
    pub known: Option<Timestamp>,
    /// The throw-away cluster, as the API server has it.
    pub found: Option<Found>,
}

/// A throw-away cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// When its drill began, as it says itself.
    pub began: Option<Timestamp>,
    /// Whether the engine reports a running database.
    pub runs: bool,
    /// Whether it is being removed.
    pub going: bool,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing is due.
    Rest,
    /// One is due since then: make the throw-away cluster, when it is its turn.
    Begin(Timestamp),
    /// Something else must happen first, and will.
    Wait,
    /// Log in and read.
    Check,
    /// Its time is over: it failed.
    GiveUp,
    /// Remove it: its result is told, or nobody is left to be told.
    Remove,
}

/// The next step. The cluster itself says how far a drill is, so that whoever comes next goes on from there; it is removed
/// last, once its result can be read at the order.
pub fn next(facts: &Facts, now: Timestamp) -> Step {
    let Some(found) = &facts.found else {
        return due(facts, now).map_or(Step::Rest, Step::Begin);
    };
    let of_this = |time: Option<Timestamp>| time.is_some_and(|time| Some(time) >= found.began);
    match found.began {
        _ if found.going => Step::Wait,
        _ if !facts.there => Step::Remove,
        // Somebody took away what it says of itself: nothing can be proven with it.
        None => Step::Remove,
        _ if of_this(facts.told) => Step::Remove,
        _ if of_this(facts.known) => Step::Wait,
        Some(began) if now.duration_since(began) >= DEADLINE => Step::GiveUp,
        _ if found.runs => Step::Check,
        _ => Step::Wait,
    }
}

/// Since when a drill is due, if one is: the schedule named a moment since the last one. Before the first, since the newest
/// backup was finished.
fn due(facts: &Facts, now: Timestamp) -> Option<Timestamp> {
    let newest = facts.newest.filter(|_| facts.there)?;
    let moment = facts.wanted.as_ref()?.last(now)?;
    // A result may be known and not be told yet.
    let before = facts.told.max(facts.known).unwrap_or(newest);
    (moment > before).then_some(moment)
}

/// Who begins: those that wait longest, as many as there is room for.
pub fn chosen<T: Ord>(mut due: Vec<(Timestamp, T)>, running: usize, most: usize) -> Vec<T> {
    due.sort();
    due.into_iter().map(|(_, who)| who).take(most.saturating_sub(running)).collect()
}

/// The result of a drill that ends now.
pub fn result(
    began: Timestamp,
    backup: &str,
    result: DrillResult,
    message: String,
    now: Timestamp,
) -> DrillStatus {
    DrillStatus {
        last: began.to_string(),
        backup: backup.to_owned(),
        duration_seconds: now.duration_since(began).as_secs().max(0),
        result,
        message,
    }
}

/// What is said of the proof of an order's backups; nothing where there are none, as `BackupHealthy` says that.
pub fn verdict(backups: &Backups, told: Option<&DrillStatus>) -> Option<backup::Verdict> {
    let policy = backups.policy()?;
    let Some(told) = told else {
        let message = match &policy.drill {
            Some(_) => "no backup was restored yet to prove that it can be: it is, on the plan's schedule",
            None => {
                "the plan restores no backups to prove that they can be: restore one with restoreFrom, or choose another plan"
            }
        };
        return Some((Some(false), reason::NEVER_PROVEN, message.to_owned()));
    };
    let DrillStatus { last, backup, duration_seconds, message, .. } = told;
    Some(match told.result {
        DrillResult::Proven => {
            let message = format!("{backup} was restored on {last} within {duration_seconds} s: {message}");
            (Some(true), reason::PROVEN, message)
        }
        DrillResult::Failed => {
            let message = format!(
                "{backup} could not be restored on {last}: {message}; make a ServiceBackup, and tell the platform if the \
                 next drill fails too"
            );
            (Some(false), reason::DRILL_FAILED, message)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn every(minutes: &str) -> Option<Schedule> {
        Some(Schedule::parse(&format!("{minutes} * * * *")).unwrap())
    }

    proptest! {
        #[test]
        fn who_waits_longest_begins_and_never_too_many(
            due in proptest::collection::vec(0_i64..1000, 0..20), running in 0_usize..6, most in 0_usize..6,
        ) {
            let all: Vec<(Timestamp, usize)> = due.iter().enumerate().map(|(i, t)| (at(*t), i)).collect();
            let begun = chosen(all, running, most);
            prop_assert!(begun.is_empty() || begun.len() + running <= most);
            let latest = begun.iter().map(|i| due[*i]).max();
            let left = due.iter().enumerate().filter(|(i, _)| !begun.contains(i)).map(|(_, t)| *t).min();
            if let (Some(latest), Some(left)) = (latest, left) {
                prop_assert!(latest <= left);
            }
        }

        #[test]
        fn an_order_that_goes_begins_nothing_and_keeps_nothing(
            newest in proptest::option::of(0_i64..10_000), told in proptest::option::of(0_i64..10_000),
            began in proptest::option::of(0_i64..10_000), there: bool, runs: bool, now in 10_000_i64..20_000,
        ) {
            let found = there.then_some(Found { began: began.map(at), runs, going: false });
            let facts = Facts {
                there: false, wanted: every("*"), newest: newest.map(at), told: told.map(at), known: None, found,
            };
            prop_assert_eq!(next(&facts, at(now)), if there { Step::Remove } else { Step::Rest });
        }

        /// An operator that may be killed at every step, and an engine that may or may not make it: each drill that began is
        /// told exactly once, no two run at once, and none outlives its deadline.
        #[test]
        fn a_drill_ends_told_whoever_is_killed_when(
            steps in proptest::collection::vec((0_i64..1500, any::<bool>(), any::<bool>(), any::<bool>()), 1..200),
        ) {
            let mut facts = Facts { there: true, wanted: every("*/30"), newest: Some(at(0)), ..Facts::default() };
            let (mut now, mut begun, mut told) = (0, Vec::new(), Vec::new());
            for (wait, killed, runs, written) in steps {
                now += wait;
                if killed {
                    // What only a process knows is lost; what the API server has is not.
                    facts.known = None;
                }
                if let Some(found) = &mut facts.found {
                    found.runs |= runs;
                }
                match next(&facts, at(now)) {
                    Step::Begin(since) => {
                        prop_assert!(facts.found.is_none() && since <= at(now));
                        if written {
                            facts.found = Some(Found { began: Some(at(now)), runs: false, going: false });
                            begun.push(at(now));
                        }
                    }
                    Step::Check | Step::GiveUp => facts.known = facts.found.as_ref().unwrap().began,
                    Step::Remove => {
                        prop_assert_eq!(facts.told, facts.found.as_ref().unwrap().began);
                        if written {
                            facts.found = None;
                        }
                    }
                    // The order's own pass writes what is known into its status.
                    Step::Wait | Step::Rest => {
                        if written && facts.known.is_some() && facts.known != facts.told {
                            facts.told = facts.known;
                            told.extend(facts.known);
                        }
                    }
                }
            }
            let open = usize::from(facts.found.is_some() && facts.told < facts.found.as_ref().unwrap().began);
            prop_assert_eq!(&begun[..begun.len() - open], &told[..]);
            if let Some(found) = &facts.found {
                let late = at(now).duration_since(found.began.unwrap()) >= DEADLINE;
                let step = next(&facts, at(now));
                prop_assert!(!late || facts.known.is_some() || matches!(step, Step::GiveUp | Step::Remove));
            }
        }
    }

    #[test]
    fn an_instance_says_whether_it_was_ever_proven() {
        let none = verdict(&Backups::PlanWithout, None);
        assert_eq!(none, None);
        let store = serde_json::from_value(serde_json::json!({
            "endpoint": "https://s3", "bucketPrefix": "siyada", "credentialsSecret": "s",
        }));
        let policy = backup::Policy {
            store: store.unwrap(),
            schedule: Schedule::parse("0 1 * * *").unwrap(),
            retention_days: 7,
            point_in_time: true,
            recovery_point_minutes: 5,
            drill: None,
        };
        let on = Backups::On(Box::new(policy));
        let check = |told: Option<DrillResult>, expect: (Option<bool>, &str)| {
            let told = told.map(|r| result(at(0), "b", r, "1 rows of 1 tables were read".into(), at(60)));
            let (status, reason, message) = verdict(&on, told.as_ref()).unwrap();
            assert_eq!((status, reason), expect);
            assert!(told.is_none() || message.contains("1970-01-01T00:00:00Z"), "{message}");
        };
        check(None, (Some(false), reason::NEVER_PROVEN));
        check(Some(DrillResult::Proven), (Some(true), reason::PROVEN));
        check(Some(DrillResult::Failed), (Some(false), reason::DRILL_FAILED));
    }
}

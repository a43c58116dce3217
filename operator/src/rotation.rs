//! Two logins in turn: where a rotation stands and what comes next. Pure; the state lies on the engine's cluster, so that a
//! crash between any two writes leaves a place to go on from.
//!
//! Logins are numbered. Odd numbers are the role `app_a`, even ones `app_b`; each number has a Secret of its own that is
//! never overwritten.

use crate::names;
use crate::seen::metadata;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;

/// How far a rotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// There is one login, and no rotation.
    Steady,
    /// The next login is made and tried; clients are given the one before.
    Making,
    /// The next login works: the binding is brought to it.
    Switching,
    /// The binding holds the new login, and the one before is accepted until the grace period ends.
    Grace,
    /// The one before gets a password that nobody was ever given, and its sessions are ended.
    Closing,
}

/// Where the logins of an order stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// Number of the newest login.
    pub number: u32,
    /// How far its rotation is.
    pub phase: Phase,
    /// When the phase began.
    pub since: Timestamp,
    /// When the rotation that made the newest login began; absent for the first login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// Until when the login before is accepted, in [`Phase::Grace`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The order's `rotationTrigger` that was acted on last.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trigger: String,
}

/// What is known beside the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The order's `rotationTrigger`; empty: none.
    pub trigger: String,
    /// A login is renewed when it is so old.
    pub rotation_days: Option<i64>,
    /// How long the login before is accepted.
    pub grace_seconds: i64,
    /// The operator logs in with the binding.
    pub bound_works: bool,
    /// The operator has logged in with the newest login.
    pub newest_works: bool,
    /// The binding holds the newest login.
    pub newest_is_bound: bool,
    /// The login before has the password that nobody was given, and no session.
    pub closed: bool,
}

impl Rotation {
    /// The first login of a database.
    pub fn first(since: Timestamp, trigger: &str) -> Self {
        let trigger = trigger.to_owned();
        Self { number: 1, phase: Phase::Steady, since, started: None, until: None, trigger }
    }

    /// Where the logins of a cluster stand; one without a record has its first. Nothing when the record cannot be read.
    pub fn of(cluster: &Value) -> Option<Self> {
        match metadata(cluster, "annotations", names::ROTATION) {
            Some(record) => serde_json::from_str(record).ok(),
            None => {
                let created = cluster.pointer("/metadata/creationTimestamp").and_then(Value::as_str);
                let since = created.and_then(|t| t.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH);
                Some(Self::first(since, ""))
            }
        }
    }

    /// Number of the login that clients are given.
    pub fn active(&self) -> u32 {
        if self.phase == Phase::Making { self.before() } else { self.number }
    }

    /// Number of the login before the newest.
    pub fn before(&self) -> u32 {
        self.number.saturating_sub(1)
    }

    /// The lowest number that is still needed.
    pub fn lowest(&self) -> u32 {
        if self.phase == Phase::Steady { self.number } else { self.before() }
    }

    /// Numbers of the logins whose loss would lock somebody out who was promised to be let in.
    pub fn promised(&self) -> Vec<u32> {
        match self.phase {
            Phase::Steady | Phase::Closing => vec![self.number],
            Phase::Making => vec![self.before()],
            Phase::Switching | Phase::Grace => vec![self.before(), self.number],
        }
    }

    /// The next state, when there is something to go on to.
    pub fn next(&self, facts: &Facts, now: Timestamp) -> Option<Self> {
        let to = |phase| Some(Self { phase, since: now, until: None, ..self.clone() });
        match self.phase {
            Phase::Steady => self.begin(facts, now),
            Phase::Making if facts.newest_works => to(Phase::Switching),
            Phase::Switching if facts.newest_is_bound => {
                let until = after(now, facts.grace_seconds);
                Some(Self { phase: Phase::Grace, since: now, until: Some(until), ..self.clone() })
            }
            Phase::Grace if self.until.is_none_or(|until| until <= now) && facts.bound_works => {
                to(Phase::Closing)
            }
            Phase::Closing if facts.closed => to(Phase::Steady),
            _ => None,
        }
    }

    fn begin(&self, facts: &Facts, now: Timestamp) -> Option<Self> {
        let asked = !facts.trigger.is_empty() && facts.trigger != self.trigger;
        let due = self.due(facts.rotation_days).is_some_and(|due| due <= now);
        // A database that takes nobody is mended first: a rotation would only add to what is wrong.
        if (asked || due) && facts.bound_works {
            return Some(Self {
                number: self.number.saturating_add(1),
                phase: Phase::Making,
                since: now,
                started: Some(now),
                until: None,
                trigger: facts.trigger.clone(),
            });
        }
        // Taken away is no wish, but the same text again is one.
        let forgotten = facts.trigger.is_empty() && !self.trigger.is_empty();
        forgotten.then(|| Self { trigger: String::new(), ..self.clone() })
    }

    /// When the schedule asks for the next login.
    fn due(&self, rotation_days: Option<i64>) -> Option<Timestamp> {
        rotation_days.map(|days| after(self.since, days.saturating_mul(DAY_SECONDS)))
    }

    /// When time alone changes something.
    pub fn wakes(&self, rotation_days: Option<i64>) -> Option<Timestamp> {
        match self.phase {
            Phase::Steady => self.due(rotation_days),
            Phase::Grace => self.until,
            _ => None,
        }
    }
}

/// `seconds` after an instant, or the end of time.
fn after(instant: Timestamp, seconds: i64) -> Timestamp {
    instant.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// The role of a login.
pub fn role(number: u32) -> &'static str {
    if number % 2 == 1 { names::LOGIN_ROLE } else { names::SECOND_LOGIN_ROLE }
}

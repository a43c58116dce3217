//! The last backup of an order that is deleted with its data: whether one is made, when the deletion goes on, and why it does not.
//! Pure: from the order, its engine object and the engine's backups.

use crate::backup::{self, AGAIN};
use crate::check::Refusal;
use crate::condition::reason;
use crate::names::{HIBERNATION, LAST_BACKUP};
use crate::object::ChildKind;
use crate::order::Order;
use crate::retained::Record;
use crate::seen::{Seen, metadata};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// A last backup is kept for so many days, unless its offering says otherwise.
pub const USUAL_DAYS: i32 = 30;
/// After that the order says that its last backup is not finished; it is waited for on. 100 GB take about as long.
pub const DEADLINE: SignedDuration = SignedDuration::from_mins(15);

/// What an order that is being deleted says of its backups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether its plan and its site have backups.
    pub wanted: bool,
    /// Whether it says that no last backup is to be made.
    pub declined: bool,
    /// Whether a database ever ran in it: before, there is nothing to back up.
    pub ran: bool,
    /// Whether it runs nothing now.
    pub sleeps: bool,
    /// Whether the engine knows where to archive: the store gave a login.
    pub login: bool,
    /// Whether changes reach the store, as the engine said last.
    pub archiving: bool,
    /// When its newest whole backup was finished.
    pub newest: Option<Timestamp>,
    /// The last backups that were begun, oldest first.
    pub tries: Vec<Try>,
}

/// A last backup that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    /// Which one; the first is 1.
    pub number: u32,
    /// The engine's object.
    pub object: String,
    /// When it was asked for, by the API server's stamp.
    pub asked: Option<Timestamp>,
    /// How it is, in the words of [`backup::Made`].
    pub phase: &'static str,
    /// When it was finished, or failed.
    pub ended: Option<Timestamp>,
    /// What went wrong.
    pub error: Option<String>,
}

/// What becomes of what an order has in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It never had anything there.
    Nothing,
    /// It goes with the order.
    Goes,
    /// It is kept; the last backup was finished then.
    Stays(Option<Timestamp>),
}

impl Fate {
    /// The same, and where it has nothing: what is there after all goes with it.
    pub fn or_goes(self, has_some: bool) -> Self {
        match self {
            Self::Nothing if has_some => Self::Goes,
            fate => fate,
        }
    }
}

/// What is next for an order that is being deleted with its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its engine object may go.
    Go(Fate),
    /// A last backup is begun, of this number; and what is told meanwhile.
    Begin(u32, Option<Refusal>),
    /// It is waited for; and what is told meanwhile.
    Wait(Option<Refusal>),
}

impl Facts {
    /// Reads them from the order and from what was seen of its engine object.
    pub fn of(order: &Order, record: &Record, seen: &Seen, cluster: &Value) -> Self {
        let primary = cluster.pointer("/status/currentPrimary").and_then(Value::as_str);
        let ready = cluster.pointer("/status/readyInstances").and_then(Value::as_i64).unwrap_or(0);
        let login = cluster.pointer("/spec/backup/barmanObjectStore").is_some();
        let told = backup::facts(seen, login, Some(cluster));
        Self {
            wanted: record.site.is_some() || login,
            declined: declined(order),
            ran: ready > 0 || primary.is_some_and(|name| !name.is_empty()),
            sleeps: metadata(cluster, "annotations", HIBERNATION) == Some("on"),
            login,
            archiving: told.archiving.is_some_and(|(works, ..)| works),
            newest: told.completed.last().copied(),
            tries: tries(seen),
        }
    }
}

/// Whether an order wants no last backup.
pub fn declined(order: &Order) -> bool {
    order.spec.backup.as_ref().and_then(|backup| backup.last_backup) == Some(false)
}

fn tries(seen: &Seen) -> Vec<Try> {
    let made = backup::made(seen).into_iter().filter_map(|made| {
        let mut backups = seen.children.iter().filter(|(key, _)| key.kind == ChildKind::Backup);
        let (_, object) = backups.find(|(key, _)| key.name == made.name)?;
        let time = |text: &str| text.parse::<Timestamp>().ok();
        Some(Try {
            number: metadata(object, "annotations", LAST_BACKUP)?.parse().ok()?,
            asked: object.pointer("/metadata/creationTimestamp").and_then(Value::as_str).and_then(time),
            object: made.name,
            phase: made.phase,
            ended: made.stopped,
            error: made.error,
        })
    });
    let mut all: Vec<Try> = made.collect();
    all.sort_by_key(|one| one.number);
    all
}

/// What is next. Nothing of the data may go before this says [`Step::Go`].
pub fn next(facts: &Facts, now: Timestamp) -> Step {
    if !facts.wanted {
        return Step::Go(Fate::Nothing);
    }
    let made = facts.tries.iter().rev().find(|one| one.phase == "Completed");
    match made {
        _ if facts.declined || !facts.ran => Step::Go(Fate::Goes),
        Some(made) => Step::Go(Fate::Stays(made.ended)),
        None if facts.sleeps => asleep(facts),
        None if !facts.login => Step::Wait(Some(failed("the object store never gave it a login"))),
        None => begun(facts.tries.last(), now),
    }
}

/// A suspended instance is not woken, as nothing is held for its compute: it was stopped in order, which archives its last change,
/// so its newest backup and its archive are the last there is.
fn asleep(facts: &Facts) -> Step {
    match facts.newest {
        Some(newest) if facts.archiving => Step::Go(Fate::Stays(Some(newest))),
        Some(_) => {
            Step::Wait(Some(failed("it is suspended, and its last changes did not reach the object store")))
        }
        None => Step::Wait(Some(failed("it is suspended, and was never backed up"))),
    }
}

fn begun(last: Option<&Try>, now: Timestamp) -> Step {
    let Some(last) = last else { return Step::Begin(1, None) };
    let since = |time: Option<Timestamp>| time.map(|time| now.duration_since(time)).unwrap_or_default();
    if last.phase == "Failed" {
        let cause = backup::cause(last.error.as_deref());
        let why = Some(failed(&format!("Backup {}: {cause}", last.object)));
        let over = since(last.ended.or(last.asked)) >= AGAIN;
        return if over { Step::Begin(last.number.saturating_add(1), why) } else { Step::Wait(why) };
    }
    let late = since(last.asked) >= DEADLINE;
    Step::Wait(late.then(|| Refusal {
        reason: reason::LAST_BACKUP_LATE,
        message: format!(
            "the last backup (Backup {}) is {} since {}: {WAYS_OUT}",
            last.object,
            last.phase,
            shown(last.asked)
        ),
    }))
}

fn shown(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "it was asked for".to_owned(), |time| time.to_string())
}

/// What can be done about a last backup that does not come.
const WAYS_OUT: &str = "the data is there, and it is tried again by itself; set spec.backup.lastBackup to false to go on without \
                        one, or spec.onDeletion to Retain to keep the volume";

fn failed(cause: &str) -> Refusal {
    Refusal {
        reason: reason::LAST_BACKUP_FAILED,
        message: format!("the last backup cannot be made: {cause}; {WAYS_OUT}"),
    }
}

/// What becomes of the store's part of an order whose engine object is gone before anything was decided: somebody removed it by
/// hand, or it never was.
pub fn without_engine(order: &Order) -> Fate {
    let newest = order.status.backup.as_ref().and_then(|told| told.last.as_deref()?.parse().ok());
    match newest {
        Some(newest) if order.retains_data() || !declined(order) => Fate::Stays(Some(newest)),
        _ => Fate::Goes,
    }
}

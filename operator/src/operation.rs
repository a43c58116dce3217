//! What is being done to an instance, or was done last: from what its order was told, what it asks for and what was seen. Pure.

use crate::check::{Refusal, Valid};
use crate::condition::{kind, reason, whole_second};
use crate::hold;
use crate::major::Phase;
use crate::names::Names;
use crate::pods::Pod;
use crate::seen::Seen;
use crate::status::{self, Admission, Picture};
use jiff::{SignedDuration, Timestamp};
use siyada_crds::OrderStatus;
use siyada_crds::order::{LastOperation, Operation, OperationPhase, OperationState, Work};
use siyada_model::quantity::{bytes, show_bytes};
use std::collections::BTreeMap;

/// What the engine says when nothing is left to do.
pub(crate) const HEALTHY: &str = "Cluster in healthy state";
/// No pod shows a parameter: so long the engine may take to begin with one.
pub const SETTLE: SignedDuration = SignedDuration::from_secs(15);

/// All kinds of operations and states, with their meaning: `docs/reference/operations.md` lists them, a test compares.
pub const ALL: &[(&str, &str)] = &[
    ("Create", "The instance is made, until somebody can log in."),
    ("Restore", "The instance is made from a backup, another order or kept data."),
    ("ChangePlan", "Its instances get other CPU and memory: each is restarted, standbys first."),
    ("ChangeStorage", "Its volumes grow; nothing is restarted."),
    ("ChangeVersion", "Its instances get another image: each is restarted, standbys first."),
    (
        "UpgradeMajorVersion",
        "A backup is made, then the data is rewritten for another major version, then a backup is made in an archive of its own.",
    ),
    ("ChangeInstances", "Standbys are added or removed; the primary runs on."),
    ("ChangeParameters", "Settings of the engine change; some need a restart, which the engine does."),
    ("Suspend", "Compute stops."),
    ("Resume", "Compute runs again."),
    ("RotateCredentials", "The login is replaced."),
    ("Other", "A later version of the platform did it."),
    (
        "Pending",
        "It is asked for and not begun: `error` says what is waited for. What runs runs on as it was.",
    ),
    ("InProgress", "It is being done; with `error` something hinders it."),
    ("Succeeded", "It is as asked."),
    ("Failed", "It cannot be as it is asked: change the order. What runs runs on as it was."),
    ("Cancelled", "The wish was taken back before anything was done."),
];

/// What an order asks for that it was not told to have.
type Asked = (Work, String);

/// The operation to tell. `ready` says whether somebody can log in; `turned` is the rotation that is under way or was the last.
pub fn operation(
    picture: &Picture<'_>,
    ready: bool,
    turned: Option<&LastOperation>,
    now: Timestamp,
) -> Option<Operation> {
    let own = own(picture, ready, now);
    let turned = turned.map(|turned| of_rotation(turned, picture));
    match (own, turned) {
        (Some(own), Some(turned)) => {
            // What is under way before what is over, and then the later one.
            let over = |o: &Operation| o.finished.is_some();
            let rank = |o: &Operation| (!over(o), o.started.parse::<Timestamp>().ok());
            Some(if over(&own) && rank(&turned) > rank(&own) { turned } else { own })
        }
        (own, turned) => own.or(turned),
    }
}

/// Whether nothing but time shows that an operation is over.
pub fn needs_a_look(told: &OrderStatus) -> bool {
    let by_time = |o: &Operation| o.state == OperationPhase::InProgress && o.type_ == Work::ChangeParameters;
    told.operation.as_ref().is_some_and(by_time)
}

/// Whether the instance was made, and nothing is under way that stops or starts it.
pub fn was_made(told: &OrderStatus) -> bool {
    let made = |o: &Operation| o.state == OperationPhase::Succeeded && o.type_ != Work::Suspend;
    told.operation.as_ref().is_some_and(made)
}

fn of_rotation(turned: &LastOperation, picture: &Picture<'_>) -> Operation {
    let done = turned.state == OperationState::Succeeded;
    let ended = status::rotation(picture).map(|rotation| rotation.since.to_string());
    Operation {
        type_: Work::RotateCredentials,
        state: if done { OperationPhase::Succeeded } else { OperationPhase::InProgress },
        change: None,
        message: turned.progress.clone(),
        started: turned.started.clone(),
        finished: done.then(|| ended.unwrap_or_else(|| turned.started.clone())),
        retries: turned.error.as_ref().map(|_| true),
        error: turned.error.clone(),
    }
}

fn stamp(now: Timestamp) -> String {
    whole_second(now).to_string()
}

/// The change of major version that is under way, or that ends with this pass.
fn of_major(picture: &Picture<'_>, ready: bool, now: Timestamp) -> Option<Operation> {
    let stage = picture.seen.major.as_ref().filter(|_| picture.admission == Admission::Held)?;
    let upgrade = stage.upgrade.as_ref()?;
    let (started, told) = (upgrade.since.to_string(), picture.order.status.operation.as_ref());
    // What is over is told once; what was never told as begun is of long ago.
    let ends = told.is_some_and(|told| {
        told.type_ == Work::UpgradeMajorVersion && told.finished.is_none() && told.started == started
    });
    if !upgrade.is_open() && !ends {
        return None;
    }
    let mut operation = Operation {
        type_: Work::UpgradeMajorVersion,
        state: OperationPhase::InProgress,
        change: Some(format!("version {} to {}", upgrade.from, upgrade.to)),
        message: stage.progress.clone(),
        started,
        finished: None,
        error: stage.hindrance.as_ref().map(|hindrance| hindrance.why.clone()),
        retries: stage.hindrance.as_ref().map(|hindrance| hindrance.retries),
    };
    if let Some(problem) = &picture.problem {
        (operation.error, operation.retries) = (Some(problem.message.clone()), Some(by_itself(problem)));
    }
    let message =
        |text: &str| if stage.progress.is_empty() { text.to_owned() } else { stage.progress.clone() };
    match upgrade.phase {
        Phase::Backup if operation.error.is_none() && postponed(picture).is_some() => {
            (operation.state, operation.error) = (OperationPhase::Pending, postponed(picture));
            operation.retries = Some(true);
        }
        Phase::Failed => operation.state = OperationPhase::Failed,
        Phase::Done if ready => {
            let runs = format!(
                "version {} runs; the backup before, {}, is kept for its days",
                upgrade.to,
                upgrade.backup.as_deref().unwrap_or_default()
            );
            return Some(over(&operation, OperationPhase::Succeeded, message(&runs), now));
        }
        Phase::Back if ready => {
            let runs = match upgrade.begun {
                Some(_) => format!(
                    "it was taken back: version {} runs again, on its data and in its archive",
                    upgrade.from
                ),
                None => "the wish was taken back before anything was done but a backup".to_owned(),
            };
            return Some(over(&operation, OperationPhase::Cancelled, runs, now));
        }
        Phase::Back => {
            operation.message = message("it was taken back, and the version before is beginning again")
        }
        _ => operation.message = message("it is being looked at"),
    }
    Some(operation)
}

/// Whether what hinders ends by itself.
pub fn by_itself(why: &Refusal) -> bool {
    [reason::WRITE_FAILED, reason::BACKUP_STORE_UNAVAILABLE, reason::RESTORE_PENDING].contains(&why.reason)
}

/// The operation that the order's own text is about.
fn own(picture: &Picture<'_>, ready: bool, now: Timestamp) -> Option<Operation> {
    if let Some(major) = of_major(picture, ready, now) {
        return Some(major);
    }
    let old = picture.order.status.operation.as_ref().filter(|o| o.type_ != Work::RotateCredentials);
    let Some((type_, change)) = asked(picture) else {
        let old = old?;
        return Some(match old.state {
            OperationPhase::Pending | OperationPhase::Failed => over(
                old,
                OperationPhase::Cancelled,
                "the wish was taken back before anything was done".to_owned(),
                now,
            ),
            OperationPhase::InProgress => goes_on(picture, old, ready, now),
            _ => old.clone(),
        });
    };
    let same = |o: &&Operation| {
        o.finished.is_none() && o.type_ == type_ && o.change.as_deref() == Some(change.as_str())
    };
    let started = old.filter(same).map_or_else(|| stamp(now), |o| o.started.clone());
    let begun = Operation {
        type_,
        state: OperationPhase::InProgress,
        message: progress(picture, type_),
        change: Some(change),
        started,
        finished: None,
        error: None,
        retries: None,
    };
    Some(match &picture.admission {
        Admission::Held => match postponed(picture) {
            Some(until) => waits(begun, OperationPhase::Pending, until),
            None => hindered(picture, begun),
        },
        // What the catalogue refuses stays refused until somebody changes something.
        Admission::Refused(why) if picture.valid.is_none() => {
            waits(begun, OperationPhase::Failed, why.message.clone())
        }
        Admission::Refused(why) | Admission::Pending(why) | Admission::Waiting(why) => {
            waits(begun, OperationPhase::Pending, why.message.clone())
        }
    })
}

/// What an order is told while its own change waits for its window, as it asked.
fn postponed(picture: &Picture<'_>) -> Option<String> {
    let waiting = picture.seen.waiting.iter().find(|waiting| waiting.own)?;
    Some(hold::sentence(waiting, &picture.valid?.maintenance))
}

fn waits(begun: Operation, state: OperationPhase, why: String) -> Operation {
    Operation {
        message: "nothing was done yet".to_owned(),
        error: Some(why),
        retries: Some(state == OperationPhase::Pending),
        state,
        ..begun
    }
}

fn over(old: &Operation, state: OperationPhase, message: String, now: Timestamp) -> Operation {
    Operation { state, message, finished: Some(stamp(now)), error: None, retries: None, ..old.clone() }
}

fn goes_on(picture: &Picture<'_>, old: &Operation, ready: bool, now: Timestamp) -> Operation {
    if picture.problem.is_none() && settled(picture, old, ready, now) {
        let message = if picture.order.spec.suspend && old.type_ != Work::Suspend {
            "it is so when the order is resumed"
        } else {
            "it is as asked"
        };
        return over(old, OperationPhase::Succeeded, message.to_owned(), now);
    }
    let same = Operation { error: None, retries: None, message: progress(picture, old.type_), ..old.clone() };
    hindered(picture, same)
}

/// What hinders an operation: something that was not written, or a pod that does not run.
fn hindered(picture: &Picture<'_>, operation: Operation) -> Operation {
    let pod = picture.seen.hindrance().filter(|_| !picture.order.spec.suspend);
    let (error, retries) = match (&picture.problem, pod) {
        (Some(problem), _) => (Some(problem.message.clone()), Some(by_itself(problem))),
        (None, Some(pod)) => (Some(pod.to_owned()), Some(true)),
        (None, None) => (None, None),
    };
    Operation { error, retries, ..operation }
}

/// Whether an order was told that it stands still.
fn told_suspended(status: &OrderStatus) -> bool {
    status.conditions.iter().any(|c| c.type_ == kind::READY && c.reason == reason::SUSPENDED)
}

/// What is asked for and was not told yet, named by what disturbs most. What a platform that knew less told of an order says
/// nothing of its instances and parameters.
fn asked(picture: &Picture<'_>) -> Option<Asked> {
    let (spec, was) = (&picture.order.spec, &picture.order.status);
    if was.engine_ref.is_none() {
        let work = if spec.restore_from.is_some() { Work::Restore } else { Work::Create };
        return Some((work, format!("plan {}, version {}", spec.plan, spec.version)));
    }
    let mut all: Vec<Asked> = Vec::new();
    let made = |o: &Operation| o.finished.is_none() && [Work::Create, Work::Restore].contains(&o.type_);
    let being_made = was.operation.as_ref().is_some_and(made);
    // An operator that died between stopping it and telling so left no word of it.
    let sleeps = picture.names.as_ref().is_some_and(|names| picture.seen.sleeps(names));
    match (told_suspended(was), spec.suspend) {
        (false, true) if !being_made => all.push((Work::Suspend, "compute stops".to_owned())),
        (told, false) if told || sleeps => all.push((Work::Resume, "compute runs again".to_owned())),
        _ => {}
    }
    let differs = |what: &str, was: &Option<String>, is: &str| {
        let was = was.as_deref().filter(|was| *was != is)?;
        Some(format!("{what} {was} to {is}"))
    };
    all.extend(differs("version", &was.version, &spec.version).map(|text| (Work::ChangeVersion, text)));
    all.extend(differs("plan", &was.plan, &spec.plan).map(|text| (Work::ChangePlan, text)));
    all.extend(instances(picture.valid, was).map(|text| (Work::ChangeInstances, text)));
    all.extend(storage(picture, was).map(|text| (Work::ChangeStorage, text)));
    all.extend(parameters(picture, was).map(|text| (Work::ChangeParameters, text)));
    let work = all.first()?.0;
    let changes: Vec<String> = all.into_iter().map(|(_, change)| change).collect();
    Some((work, changes.join("; ")))
}

fn instances(valid: Option<&Valid>, was: &OrderStatus) -> Option<String> {
    let (was, is) = (was.instances?, valid?.instances);
    (was != is).then(|| format!("instances {was} to {is}"))
}

fn storage(picture: &Picture<'_>, was: &OrderStatus) -> Option<String> {
    let was = bytes(was.storage.as_deref()?).ok()?;
    let is = match picture.valid {
        Some(valid) => valid.storage_bytes,
        None => bytes(picture.order.spec.storage.as_deref()?).ok()?,
    };
    (was != is).then(|| format!("storage {} to {}", show_bytes(was), show_bytes(is)))
}

fn parameters(picture: &Picture<'_>, was: &OrderStatus) -> Option<String> {
    was.instances?;
    let map = |list: &[siyada_crds::order::Parameter]| -> BTreeMap<String, String> {
        list.iter().map(|p| (p.name.clone(), p.value.clone())).collect()
    };
    let (was, is) = (map(&was.parameters), map(&picture.order.spec.parameters));
    let mut names: Vec<&str> =
        was.keys().chain(is.keys()).filter(|n| was.get(*n) != is.get(*n)).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| format!("parameters {}", names.join(", ")))
}

/// Whether what was seen is what is asked.
fn settled(picture: &Picture<'_>, operation: &Operation, ready: bool, now: Timestamp) -> bool {
    let (Some(valid), Some(names)) = (picture.valid, &picture.names) else { return false };
    let seen = picture.seen;
    let stands_still = seen.sleeps(names) && seen.pods.iter().all(|pod| !pod.database);
    if picture.order.spec.suspend {
        return stands_still;
    }
    match operation.type_ {
        Work::Create | Work::Restore | Work::Resume => ready,
        Work::ChangeParameters => {
            let since = operation.started.parse::<Timestamp>().map(|started| now.duration_since(started));
            ready && in_form(valid, names, seen, false) && since.is_ok_and(|since| since >= SETTLE)
        }
        work => ready && in_form(valid, names, seen, work == Work::ChangeVersion),
    }
}

/// Whether every instance runs in the form that is asked, on volumes of the size that is asked, and the engine has nothing
/// left to do.
fn in_form(valid: &Valid, names: &Names, seen: &Seen, image: bool) -> bool {
    let databases: Vec<_> = seen.pods.iter().filter(|pod| pod.database).collect();
    let as_asked =
        databases.iter().all(|pod| runs_as_asked(pod, valid) && (!image || pod.image == valid.image));
    let count = i64::try_from(databases.len()).unwrap_or(i64::MAX);
    let volumes = seen.volumes();
    as_asked
        && count == valid.instances
        && !volumes.is_empty()
        && volumes.iter().all(|volume| volume.held_bytes >= valid.storage_bytes)
        && seen.engine_phase(names) == Some(HEALTHY)
}

/// Whether a pod takes clients, with the CPU and memory that are asked.
fn runs_as_asked(pod: &Pod, valid: &Valid) -> bool {
    pod.ready && !pod.ending && (pod.cpu_milli, pod.memory_bytes) == (valid.cpu_milli, valid.memory_bytes)
}

/// How far it is, in a sentence.
fn progress(picture: &Picture<'_>, work: Work) -> String {
    let (Some(valid), Some(names)) = (picture.valid, &picture.names) else {
        return "it is being looked at".to_owned();
    };
    if picture.order.spec.suspend {
        return "compute is being stopped".to_owned();
    }
    let Some(phase) = picture.seen.engine_phase(names) else {
        return "the parts are being written".to_owned();
    };
    // What is made changes its status often enough: the engine's own words are all that is written then.
    if [Work::Create, Work::Restore, Work::Resume].contains(&work) {
        return format!("the engine reports: {phase}");
    }
    let as_asked = |pod: &&Pod| pod.database && runs_as_asked(pod, valid);
    let ready = picture.seen.pods.iter().filter(as_asked).count();
    format!("{ready} of {} instances run as asked; the engine reports: {phase}", valid.instances)
}

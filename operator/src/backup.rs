//! How an instance is backed up, and whether that works. Pure: from the order, the catalogue and what the engine reports.

use crate::check::Refusal;
use crate::condition::{reason, whole_second};
use crate::names::{HIBERNATION, MAJOR_BACKUP};
use crate::object::ChildKind;
use crate::seen::{Seen, metadata};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use siyada_crds::catalogue::{ObjectStorage, Plan};
use siyada_crds::order::{BackupSpec, BackupStatus};
use siyada_model::id::OrderUid;
use std::time::Duration;

/// Folder of what an instance archives, until its major version is changed: each has its own. A restore reads another instance's
/// bucket and never writes into it.
pub const GENERATION: &str = "g1";
/// Name of a backup's own object, on the engine's object that makes it.
pub const SERVICE_BACKUP: &str = "siyada.cloud/service-backup";
/// The engine's label on backups that it made by the schedule.
pub const SCHEDULED: &str = "cnpg.io/scheduled-backup";
/// On a backup that is another try of one of the schedule: that one's name.
pub const INSTEAD_OF: &str = "siyada.cloud/instead-of";
/// A backup that failed is tried again so late, and one of the schedule each time twice as late: what was away may be back.
pub const AGAIN: SignedDuration = SignedDuration::from_mins(5);
/// So often at most, which takes two and a half hours; then the schedule's next is waited for.
pub const TRIES: u32 = 5;

/// Whether an instance is backed up, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backups {
    /// It is.
    On(Box<Policy>),
    /// Its site has no object storage.
    SiteWithout,
    /// Its plan offers no backups.
    PlanWithout,
}

impl Backups {
    /// How, if it is.
    pub fn policy(&self) -> Option<&Policy> {
        match self {
            Self::On(policy) => Some(policy),
            Self::SiteWithout | Self::PlanWithout => None,
        }
    }
}

/// How an instance is backed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The site's store.
    pub store: ObjectStorage,
    /// When, in UTC.
    pub schedule: Schedule,
    /// Days for which backups are kept.
    pub retention_days: i32,
    /// Whether every moment can be restored.
    pub point_in_time: bool,
    /// What may be lost at most, in minutes, with point-in-time recovery.
    pub recovery_point_minutes: i32,
    /// How its backups are proven.
    pub drill: Option<Drill>,
}

/// How backups are proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drill {
    /// When, in UTC.
    pub schedule: Schedule,
    /// What must answer; nothing: the rows of every table are counted.
    pub check_query: Option<String>,
}

/// The bucket of an order.
pub fn bucket(store: &ObjectStorage, uid: &OrderUid) -> String {
    format!("{}-{uid}", store.bucket_prefix)
}

/// How an order is backed up: what it asks for, else what its plan has.
///
/// # Errors
/// A [`Refusal`] for a schedule that cannot be read or for what the plan does not have.
pub fn backups(
    plan: &Plan,
    asked: Option<&BackupSpec>,
    store: Option<&ObjectStorage>,
) -> Result<Backups, Refusal> {
    let refuse = |message: String| Err(Refusal { reason: reason::BACKUP_NOT_OFFERED, message });
    let Some(usual) = &plan.backup else {
        if asked.is_some() {
            return refuse(format!(
                "plan {} offers no backups: leave spec.backup out, or choose another plan",
                plan.name
            ));
        }
        return Ok(Backups::PlanWithout);
    };
    let none = BackupSpec::default();
    let asked = asked.unwrap_or(&none);
    let read = |what: &str, text: &str| {
        let invalid =
            |why| Refusal { reason: reason::INVALID, message: format!("{what} schedule {text:?}: {why}") };
        Schedule::parse(text).map_err(invalid)
    };
    let schedule = read("backup", asked.schedule.as_deref().unwrap_or(&usual.schedule))?;
    let drill = match &usual.drill {
        Some(drill) => {
            Some(Drill { schedule: read("drill", &drill.schedule)?, check_query: drill.check_query.clone() })
        }
        None => None,
    };
    let point_in_time = asked.point_in_time_recovery.unwrap_or(usual.point_in_time_recovery);
    if point_in_time && !usual.point_in_time_recovery {
        return refuse(format!("plan {} has no point-in-time recovery: choose another plan", plan.name));
    }
    let Some(store) = store else { return Ok(Backups::SiteWithout) };
    Ok(Backups::On(Box::new(Policy {
        store: store.clone(),
        schedule,
        retention_days: asked.retention_days.unwrap_or(usual.retention_days),
        point_in_time,
        recovery_point_minutes: usual.recovery_point_minutes,
        drill,
    })))
}

/// A schedule of five fields, as cron has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(String);

/// A 29 February may be eight years away.
const FARTHEST_DAYS: u32 = 8 * 366;
/// Names and bounds of the fields.
const FIELDS: [(&str, u32, u32); 5] = [
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 6),
];

impl Schedule {
    /// Reads it: `*`, `*/n`, numbers, ranges and lists of them.
    ///
    /// # Errors
    /// A sentence that names the field.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() != FIELDS.len() {
            return Err(
                "it has five fields: minute, hour, day of the month, month, day of the week, like 30 1 * * *"
                    .into(),
            );
        }
        for (field, (name, least, most)) in fields.iter().zip(FIELDS) {
            if !field.split(',').all(|part| is_part(part, least, most)) {
                return Err(format!(
                    "{field:?} is no {name}: use *, */n, a-b or numbers from {least} to {most}"
                ));
            }
        }
        Ok(Self(fields.join(" ")))
    }

    /// As the engine wants it, with seconds first.
    pub fn with_seconds(&self) -> String {
        format!("0 {}", self.0)
    }

    /// The last moment that it names, up to now; nothing for one that never comes, like 31 February.
    pub fn last(&self, now: Timestamp) -> Option<Timestamp> {
        let fields: Vec<&str> = self.0.split(' ').collect();
        let masks: Vec<u64> =
            fields.iter().zip(FIELDS).map(|(field, (_, least, most))| mask(field, least, most)).collect();
        let [minutes, hours, days, months, weekdays] = <[u64; 5]>::try_from(masks).ok()?;
        let is_in = |mask: u64, number: i16| u32::try_from(number).is_ok_and(|n| mask >> n & 1 == 1);
        // Cron takes a day that both say as either.
        let either = fields.get(2) != Some(&"*") && fields.get(4) != Some(&"*");
        let now = now.to_zoned(TimeZone::UTC).datetime();
        let mut date = now.date();
        for _ in 0..=FARTHEST_DAYS {
            let day = is_in(days, date.day().into());
            let weekday = is_in(weekdays, date.weekday().to_sunday_zero_offset().into());
            let fits = if either { day || weekday } else { day && weekday };
            if fits && is_in(months, date.month().into()) {
                let today = i16::from(now.hour()) * 60 + i16::from(now.minute());
                let latest = if date == now.date() { today } else { 1439 };
                let minute = (0..=latest).rev().find(|m| is_in(minutes, m % 60) && is_in(hours, m / 60));
                if let Some(minute) = minute {
                    let (hour, minute) = (i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?);
                    return Some(date.at(hour, minute, 0, 0).to_zoned(TimeZone::UTC).ok()?.timestamp());
                }
            }
            date = date.yesterday().ok()?;
        }
        None
    }

    /// No two backups of it lie further apart than this many hours.
    pub fn longest_gap_hours(&self) -> i64 {
        let fields: Vec<&str> = self.0.split(' ').collect();
        let every = |index: usize| fields.get(index).is_none_or(|field| *field == "*");
        match (every(2), every(3), every(4)) {
            // A 29 February may be eight years away; cron takes a day that both say as either.
            (_, false, _) => 8 * 366 * 24,
            (false, true, _) => 62 * 24,
            (true, true, false) => 7 * 24,
            (true, true, true) => 24,
        }
    }
}

/// The numbers of a field, one bit each.
fn mask(field: &str, least: u32, most: u32) -> u64 {
    let number = |text: &str| text.parse::<u32>().unwrap_or(least);
    let numbers = |part: &str| match (part.split_once('/'), part.split_once('-')) {
        (Some((_, step)), _) => (least, most, number(step).max(1)),
        (_, Some((from, to))) => (number(from), number(to), 1),
        _ if part == "*" => (least, most, 1),
        _ => (number(part), number(part), 1),
    };
    let bits = |(from, to, step): (u32, u32, u32)| {
        (from..=to.min(63)).filter(move |n| (n - from).is_multiple_of(step)).fold(0, |mask, n| mask | 1 << n)
    };
    field.split(',').fold(0, |mask, part| mask | bits(numbers(part)))
}

fn is_part(part: &str, least: u32, most: u32) -> bool {
    let number = |text: &str| text.parse::<u32>().ok().filter(|n| (least..=most).contains(n));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match (part, part.split_once('/'), part.split_once('-')) {
        ("*", ..) => true,
        (_, Some(("*", step)), _) => digits(step) && step.parse::<u32>().is_ok_and(|n| n >= 1 && n <= most),
        (_, None, Some((from, to))) => {
            digits(from) && digits(to) && number(from).zip(number(to)).is_some_and(|(from, to)| from <= to)
        }
        (_, None, None) => digits(part) && number(part).is_some(),
        _ => false,
    }
}

/// Where the first data of an instance comes from. It is kept on the engine's object, as the source may go later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Uid of the order that archived it.
    pub order_uid: OrderUid,
    /// Its bucket.
    pub bucket: String,
    /// The archive in it; absent: [`GENERATION`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// The one backup to take; absent: the last before the moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_id: Option<String>,
    /// The moment; absent: the end of that backup, or the last moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// The log ended before the moment, and all of it is taken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

impl Source {
    /// Its archive.
    pub fn archive(&self) -> &str {
        self.archive.as_deref().unwrap_or(GENERATION)
    }

    /// The moment at which recovery ends; nothing where it ends with a backup or with the log.
    pub fn moment(&self) -> Option<Timestamp> {
        self.time.filter(|_| self.backup_id.is_none() && !self.all)
    }
}

/// A backup as the engine reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The engine's name for the object.
    pub name: String,
    /// Name of the [`siyada_crds::ServiceBackup`]: of its own, or of whoever asked for it.
    pub listed_as: String,
    /// Whether the schedule made it, or it is another try of one that the schedule made.
    pub scheduled: bool,
    /// The backup of the schedule that it is another try of.
    pub instead_of: Option<String>,
    /// For which change of major version it was made; the platform lists such a one.
    pub mark: Option<String>,
    /// The archive that it lies in, once it has begun.
    pub archive: Option<String>,
    /// Major version of its data, once it has begun.
    pub major: Option<u32>,
    /// When it was asked for, by the API server's stamp.
    pub asked: Option<Timestamp>,
    /// Pending, Running, Completed or Failed.
    pub phase: &'static str,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it was finished.
    pub stopped: Option<Timestamp>,
    /// Its name in the store.
    pub backup_id: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
}

impl Made {
    /// The backup that it is another try of, or it.
    fn first(&self) -> &str {
        self.instead_of.as_ref().unwrap_or(&self.name)
    }

    /// When it ended, as far as the engine says.
    pub fn ended(&self) -> Option<Timestamp> {
        self.stopped.or(self.started).or(self.asked)
    }

    /// Whether it can be restored.
    pub fn is_whole(&self) -> bool {
        self.phase == "Completed" && self.backup_id.is_some()
    }

    /// The archive that it lies in; an engine that does not say so knows one.
    pub fn archive(&self) -> &str {
        self.archive.as_deref().unwrap_or(GENERATION)
    }

    /// Whether it lies in an archive, or would.
    pub fn lies_in(&self, archive: &str) -> bool {
        match &self.archive {
            Some(own) => own == archive,
            None => self.phase != "Completed" || archive == GENERATION,
        }
    }
}

/// The failures whose days are over: nothing of them lies in the store, and the engine would keep their objects for ever. The
/// newest backup and its other tries stay, as what is said and when it is tried again follow from them; so do those of a
/// change of major version, which are few. `made` is [`made`]'s.
pub fn outlived<'a>(
    made: &'a [Made],
    policy: &'a Policy,
    now: Timestamp,
) -> impl Iterator<Item = &'a Made> + use<'a> {
    let newest = made.last().map(Made::first);
    made.iter().filter(move |made| {
        let ended = made.ended().filter(|_| made.phase == "Failed" && made.mark.is_none());
        Some(made.first()) != newest && ended.is_some_and(|ended| expires(policy, ended) < now)
    })
}

/// The archive that an engine object writes to.
pub fn archive_of(cluster: Option<&Value>) -> &str {
    let named = cluster.and_then(|c| c.pointer("/spec/backup/barmanObjectStore/serverName"));
    named.and_then(Value::as_str).unwrap_or(GENERATION)
}

/// The backups of an order, as the engine reports them, oldest first.
pub fn made(seen: &Seen) -> Vec<Made> {
    let backups = seen.children.iter().filter(|(key, _)| key.kind == ChildKind::Backup);
    let mut all: Vec<Made> = backups.map(|(key, object)| one(&key.name, object)).collect();
    all.sort_by_key(|made| (made.started.or(made.asked), made.name.clone()));
    all
}

/// Another try of a backup of the schedule that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    /// The engine's name of that backup.
    pub instead_of: String,
    /// Which try it is; the first is 1.
    pub number: u32,
    /// From when on.
    pub from: Timestamp,
}

/// Why a backup failed, in the engine's words, as far as people are told.
pub fn cause(error: Option<&str>) -> String {
    error.unwrap_or("the engine gives no reason").chars().take(300).collect()
}

/// The next try, where the newest backup of the schedule failed and none is whole since or under way. `made` is [`made`]'s.
pub fn again(made: &[Made]) -> Option<Again> {
    let is_over = |made: &&Made| matches!(made.phase, "Completed" | "Failed");
    let since = made.iter().rposition(|made| made.phase == "Completed").map_or(0, |last| last + 1);
    let last = made.iter().skip(since).rfind(|made| made.scheduled)?;
    if !made.iter().all(|made| is_over(&made)) {
        return None;
    }
    let first = last.first();
    let tried = made.iter().filter(|made| made.instead_of.as_deref() == Some(first)).count();
    let tried = u32::try_from(tried).ok().filter(|tried| *tried < TRIES)?;
    let wait = AGAIN.checked_mul(1 << tried)?;
    let from = last.ended()?.checked_add(wait).ok()?;
    Some(Again { instead_of: first.to_owned(), number: tried + 1, from })
}

fn one(name: &str, object: &Value) -> Made {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty());
    let time = |path: &str| text(path).and_then(|text| text.parse().ok());
    let instead_of = metadata(object, "annotations", INSTEAD_OF);
    Made {
        name: name.to_owned(),
        listed_as: metadata(object, "annotations", SERVICE_BACKUP).unwrap_or(name).to_owned(),
        scheduled: metadata(object, "labels", SCHEDULED).is_some() || instead_of.is_some(),
        instead_of: instead_of.map(str::to_owned),
        mark: metadata(object, "annotations", MAJOR_BACKUP).map(str::to_owned),
        archive: text("/status/serverName").map(str::to_owned),
        major: object.pointer("/status/majorVersion").and_then(Value::as_u64).and_then(|n| n.try_into().ok()),
        asked: time("/metadata/creationTimestamp"),
        phase: match text("/status/phase") {
            Some("completed") => "Completed",
            Some("failed" | "walArchivingFailing") => "Failed",
            Some("started" | "running" | "finalizing") => "Running",
            _ => "Pending",
        },
        started: time("/status/startedAt"),
        stopped: time("/status/stoppedAt"),
        backup_id: text("/status/backupId").map(str::to_owned),
        error: text("/status/error").map(str::to_owned),
    }
}

/// What is known of an instance's backups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether the store gave the instance a login.
    pub login: bool,
    /// Whether the engine archives, and since when that is so or not.
    pub archiving: Option<(bool, Option<Timestamp>, String)>,
    /// When whole backups were finished, oldest first.
    pub completed: Vec<Timestamp>,
    /// Since when the instance is there.
    pub since: Option<Timestamp>,
    /// The last backup that was tried and failed, if none was finished since.
    pub failed: Option<String>,
    /// When it is tried again.
    pub again: Option<Timestamp>,
    /// Whether it is suspended: nothing changes, and nothing is backed up.
    pub sleeps: bool,
}

/// Reads them from what was seen. `login` says whether the store's Secret is there, `cluster` is the engine's object.
pub fn facts(seen: &Seen, login: bool, cluster: Option<&Value>) -> Facts {
    let conditions = cluster.and_then(|c| c.pointer("/status/conditions")).and_then(Value::as_array);
    let archiving = conditions.into_iter().flatten().find(|c| c["type"] == "ContinuousArchiving").map(|c| {
        let since = c["lastTransitionTime"].as_str().and_then(|t| t.parse().ok());
        (c["status"] == "True", since, c["message"].as_str().unwrap_or_default().to_owned())
    });
    let archiving = match (archiving, seen.late) {
        (Some((true, ..)), Some(late)) => Some((
            false,
            Some(late),
            format!("nothing has come since {}, although some waits", whole_second(late)),
        )),
        (as_told, _) => as_told,
    };
    // What lies in the archive of an earlier major version is no backup of what runs.
    let current = archive_of(cluster);
    let made: Vec<Made> = made(seen).into_iter().filter(|made| made.lies_in(current)).collect();
    let ended = made.iter().rev().find(|m| matches!(m.phase, "Completed" | "Failed"));
    let failed = ended.filter(|m| m.phase == "Failed");
    let created = cluster.and_then(|c| c.pointer("/metadata/creationTimestamp")).and_then(Value::as_str);
    let mut completed: Vec<Timestamp> =
        made.iter().filter(|m| m.phase == "Completed").filter_map(|m| m.stopped).collect();
    completed.sort_unstable();
    Facts {
        login,
        archiving,
        completed,
        since: created.and_then(|t| t.parse().ok()),
        failed: failed.map(|m| m.error.clone().unwrap_or_else(|| "no reason given".to_owned())),
        again: again(&made).map(|again| whole_second(again.from)),
        sleeps: cluster.is_some_and(|c| metadata(c, "annotations", HIBERNATION) == Some("on")),
    }
}

/// What is said of backups: status, reason, sentence.
pub type Verdict = (Option<bool>, &'static str, String);

/// Whether backups work.
pub fn health(backups: &Backups, facts: &Facts, now: Timestamp) -> Verdict {
    let no = |reason, message: String| (Some(false), reason, message);
    let policy = match backups {
        Backups::On(policy) => policy,
        Backups::SiteWithout => {
            return no(
                reason::BACKUP_NOT_CONFIGURED,
                "the site has no object storage, so nothing is backed up: ask the platform to set spec.objectStorage of the \
                 Site, or order on another site"
                    .to_owned(),
            );
        }
        Backups::PlanWithout => {
            return no(
                reason::BACKUP_NOT_CONFIGURED,
                "the plan offers no backups, so nothing is backed up: choose a plan that does".to_owned(),
            );
        }
    };
    if !facts.login {
        let message = "the object store gave the instance no login yet; it is asked again by itself";
        return no(reason::BACKUP_STORE_UNAVAILABLE, message.to_owned());
    }
    match &facts.archiving {
        Some((false, _, why)) => {
            let why = cause(Some(why));
            let message = format!(
                "changes do not reach the object store; what runs runs on, and it is tried again by itself: {why}"
            );
            return no(reason::ARCHIVING_FAILED, message);
        }
        Some((true, ..)) => {}
        None => return (None, reason::BACKUP_PENDING, "nothing was archived yet".to_owned()),
    }
    let Some(last) = facts.completed.last() else {
        return match &facts.failed {
            Some(why) => {
                let again = match facts.again {
                    Some(from) => format!("it is tried again by itself at {from}"),
                    None => "it is tried again at its next time by the schedule".to_owned(),
                };
                let why = cause(Some(why));
                let message =
                    format!("the first backup failed: {why}; {again}; a ServiceBackup tries it now");
                no(reason::BACKUP_FAILED, message)
            }
            None => (None, reason::BACKUP_PENDING, "the first backup is being made".to_owned()),
        };
    };
    if facts.sleeps {
        let message = format!(
            "nothing runs, so nothing changes and nothing is backed up; the last backup is of {last}"
        );
        return (Some(true), reason::SUSPENDED, message);
    }
    if now > limit(policy, *last) {
        let message = format!(
            "the last backup is of {last}, and the schedule wanted another since: make a ServiceBackup"
        );
        return no(reason::BACKUP_OVERDUE, message);
    }
    (Some(true), reason::BACKUP_RECENT, "changes are archived and a whole backup is recent".to_owned())
}

/// So long what was written may wait for the archive: the engine ends a segment after half of the recovery point. Less than a minute is
/// nothing to tell of.
pub fn archive_within(policy: &Policy) -> Option<Duration> {
    let half = u64::from(policy.recovery_point_minutes.unsigned_abs()) * 30;
    policy.point_in_time.then(|| Duration::from_secs(half.max(60)))
}

/// By then the next backup must have been finished: the longest gap of the schedule and an hour to make it.
pub fn limit(policy: &Policy, last: Timestamp) -> Timestamp {
    let hours = SignedDuration::from_hours(policy.schedule.longest_gap_hours() + 1);
    last.checked_add(hours).unwrap_or(Timestamp::MAX)
}

/// Until when a backup is kept at least.
pub fn expires(policy: &Policy, stopped: Timestamp) -> Timestamp {
    let hours = SignedDuration::from_hours(i64::from(policy.retention_days) * 24);
    stopped.checked_add(hours).unwrap_or(Timestamp::MAX)
}

/// What could be restored. The last moment moves by itself, so it is written at most once an hour.
pub fn recoverable(
    backups: &Backups,
    facts: &Facts,
    old: Option<&BackupStatus>,
    now: Timestamp,
) -> Option<BackupStatus> {
    let policy = backups.policy()?;
    let (first, last) = (facts.completed.first()?, facts.completed.last()?);
    // What was written within the recovery point may not be there yet.
    let point = SignedDuration::from_mins(i64::from(policy.recovery_point_minutes));
    let within = |end: Timestamp| end.checked_sub(point).map_or(*last, |end| end.max(*last));
    let end = match &facts.archiving {
        _ if !policy.point_in_time => *last,
        Some((true, ..)) => within(now),
        Some((false, since, _)) => since.map_or(*last, within),
        None => *last,
    };
    let before: Option<Timestamp> =
        old.and_then(|o| o.last_recoverable.as_deref()).and_then(|text| text.parse().ok());
    let failing = matches!(facts.archiving, Some((false, ..)));
    let recent = |before: &Timestamp| {
        *before >= *last && *before <= end && end.duration_since(*before) < SignedDuration::from_hours(1)
    };
    let end = before.filter(|before| !failing && policy.point_in_time && recent(before)).unwrap_or(end);
    Some(BackupStatus {
        last: Some(whole_second(*last).to_string()),
        first_recoverable: Some(whole_second(*first).to_string()),
        last_recoverable: Some(whole_second(end).to_string()),
        drill: old.and_then(|old| old.drill.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(schedule: &str, days: i32) -> Policy {
        let store = serde_json::from_value(serde_json::json!({
            "endpoint": "https://s3", "bucketPrefix": "siyada", "credentialsSecret": "s",
        }));
        Policy {
            store: store.unwrap(),
            schedule: Schedule::parse(schedule).unwrap(),
            retention_days: days,
            point_in_time: true,
            recovery_point_minutes: 5,
            drill: None,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn schedules_are_read_or_refused_by_field() {
        for good in ["30 1 * * *", "*/5 * * * *", "0 0 1,15 * *", "0 9-17 * 1-6 0"] {
            assert!(Schedule::parse(good).is_ok(), "{good}");
        }
        for (bad, field) in [
            ("60 1 * * *", "minute"),
            ("0 24 * * *", "hour"),
            ("0 0 0 * *", "day of the month"),
            ("0 0 * 13 *", "month"),
            ("0 0 * * 7", "day of the week"),
            ("0 5-2 * * *", "hour"),
            ("+1 * * * *", "minute"),
            ("*/0 * * * *", "minute"),
            ("0 0 * *", "five fields"),
        ] {
            assert!(Schedule::parse(bad).unwrap_err().contains(field), "{bad}");
        }
    }

    fn tried(name: &str, instead_of: Option<&str>, phase: &'static str, minute: i64) -> Made {
        Made {
            name: name.to_owned(),
            listed_as: name.to_owned(),
            scheduled: true,
            instead_of: instead_of.map(str::to_owned),
            mark: None,
            archive: None,
            major: None,
            asked: Some(at(minute * 60)),
            phase,
            started: None,
            stopped: None,
            backup_id: None,
            error: None,
        }
    }

    #[test]
    fn a_scheduled_backup_that_failed_is_tried_again_later_and_later_and_then_no_more() {
        let mut made = vec![tried("whole", None, "Completed", 0), tried("night", None, "Failed", 100)];
        let mut waits = Vec::new();
        while let Some(next) = again(&made) {
            assert_eq!(
                (next.instead_of.as_str(), usize::try_from(next.number)),
                ("night", Ok(made.len() - 1))
            );
            let minute = next.from.as_second() / 60;
            waits.push(minute - made.last().unwrap().asked.unwrap().as_second() / 60);
            made.push(tried(&format!("night-{}", next.number), Some("night"), "Running", minute));
            assert_eq!(again(&made), None, "one is under way");
            made.last_mut().unwrap().phase = "Failed";
        }
        assert_eq!(waits, [5, 10, 20, 40, 80]);
        // The next night begins anew.
        made.push(tried("next", None, "Failed", 2000));
        let next = again(&made).unwrap();
        assert_eq!((next.instead_of.as_str(), next.number, next.from), ("next", 1, at(2005 * 60)));
        made.push(Made { scheduled: false, ..tried("by-hand", None, "Completed", 2001) });
        assert_eq!(again(&made), None, "somebody made one");
        made.push(Made { scheduled: false, ..tried("by-hand", None, "Failed", 2002) });
        assert_eq!(again(&made), None, "who asked for one asks again");
    }

    #[test]
    fn failures_go_when_their_days_are_over_but_for_the_newest_and_its_tries() {
        let night = tried("night", None, "Failed", 0);
        let second = tried("night-1", Some("night"), "Failed", 5);
        let whole = tried("whole", None, "Completed", 6);
        let changing = Made { mark: Some("17".to_owned()), ..tried("major", None, "Failed", 7) };
        let next = tried("next", None, "Failed", 100);
        let third = tried("next-1", Some("next"), "Failed", 105);
        let made = [night, second, whole, changing, next, third];
        let gone = |days: i64| {
            let week = policy("30 1 * * *", 7);
            outlived(&made, &week, at(days * 86_400)).map(|made| made.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(gone(7), <[&str; 0]>::default());
        assert_eq!(gone(8), ["night", "night-1"]);
    }

    #[test]
    fn the_last_moment_of_a_schedule_is_cron_s() {
        let check = |schedule: &str, expect: Option<&str>| {
            // A Wednesday.
            let now = "2026-11-25T13:30:20Z".parse().unwrap();
            let last = Schedule::parse(schedule).unwrap().last(now);
            assert_eq!(last.map(|t| t.to_string()).as_deref(), expect, "{schedule}");
        };
        check("* * * * *", Some("2026-11-25T13:30:00Z"));
        check("*/7 * * * *", Some("2026-11-25T13:28:00Z"));
        check("31 13 * * *", Some("2026-11-24T13:31:00Z"));
        check("0 3 * * 0", Some("2026-11-22T03:00:00Z"));
        check("0 3 1 * *", Some("2026-11-01T03:00:00Z"));
        check("0 3 1 * 2", Some("2026-11-24T03:00:00Z"));
        check("0 9-17 * * *", Some("2026-11-25T13:00:00Z"));
        check("0 0 29 2 *", Some("2024-02-29T00:00:00Z"));
        check("0 0 31 2 *", None);
    }

    proptest! {
        #[test]
        fn the_last_moment_is_past_and_stays_until_the_next(
            minute in 0_u32..60, step in 1_u32..24, second in 0_i64..4_000_000_000,
        ) {
            let schedule = Schedule::parse(&format!("{minute} */{} * * *", step.min(23))).unwrap();
            let last = schedule.last(at(second)).unwrap();
            prop_assert!(last <= at(second));
            prop_assert_eq!(schedule.last(last), Some(last));
            prop_assert!(second - last.as_second() < 24 * 3600);
        }

        #[test]
        fn reading_a_schedule_never_panics_and_its_own_text_is_read_again(text in "[-0-9*/, ]{0,20}") {
            if let Ok(schedule) = Schedule::parse(&text) {
                prop_assert_eq!(Schedule::parse(&schedule.0), Ok(schedule));
            }
        }

        #[test]
        fn backups_that_fail_for_any_reason_are_never_called_healthy(
            login: bool, archiving in proptest::option::of(any::<bool>()), age in 0_i64..200_000, made: bool, sleeps: bool,
        ) {
            let now = at(10_000_000);
            let facts = Facts {
                login,
                archiving: archiving.map(|works| (works, None, String::new())),
                completed: if made { vec![at(10_000_000 - age)] } else { Vec::new() },
                sleeps,
                ..Facts::default()
            };
            let on = Backups::On(Box::new(policy("30 1 * * *", 7)));
            let (status, ..) = health(&on, &facts, now);
            // Of what stands still no backup is ever too old: nothing changes.
            let well = login && archiving == Some(true) && made && (sleeps || age <= 25 * 3600);
            prop_assert_eq!(status == Some(true), well);
            if archiving == Some(false) {
                prop_assert_eq!(status, Some(false));
            }
        }

        #[test]
        fn what_is_recoverable_lies_between_the_first_backup_and_now(
            first in 0_i64..1_000_000, gap in 0_i64..1_000_000, after in 0_i64..1_000_000, works: bool, old in 0_i64..3_000_000,
        ) {
            let (first, last, now) = (at(first), at(first + gap), at(first + gap + after));
            let facts = Facts {
                login: true,
                archiving: Some((works, Some(now), String::new())),
                completed: vec![first, last],
                ..Facts::default()
            };
            let before = BackupStatus { last_recoverable: Some(at(old).to_string()), ..BackupStatus::default() };
            let on = Backups::On(Box::new(policy("30 1 * * *", 7)));
            let told = recoverable(&on, &facts, Some(&before), now).unwrap();
            let end: Timestamp = told.last_recoverable.unwrap().parse().unwrap();
            prop_assert!(last <= end && end <= now);
            prop_assert_eq!(told.first_recoverable.unwrap(), first.to_string());
        }

        #[test]
        fn a_backup_is_kept_for_the_days_that_were_asked(days in 1_i32..3650, stopped in 0_i64..4_000_000_000) {
            let until = expires(&policy("30 1 * * *", days), at(stopped));
            prop_assert_eq!(until.as_second() - stopped, i64::from(days) * 86_400);
        }
    }
}

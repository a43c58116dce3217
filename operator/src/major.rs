//! A change of the major version: a backup first, then the engine rewrites the data, then a backup in an archive of its own. Pure:
//! from what the order asks for, what the engine's object records and reports, its backups and the pod that rewrites.
//!
//! The record is an annotation of the engine's `Cluster` and is written together with the image and the archive that it speaks of, so
//! that whoever comes next goes on from there. Nothing is rewritten before a backup is whole. Nothing is taken back once the data may
//! have been touched: the way back is then that backup, in a new order.

use crate::backup::{self, AGAIN, GENERATION, Made, Policy};
use crate::check::{Refusal, Valid};
use crate::condition::{reason, whole_second};
use crate::hold;
use crate::last_backup::DEADLINE;
use crate::names::{MAJOR, Names};
use crate::object::ChildKind;
use crate::operation::HEALTHY;
use crate::plan::{major, major_of};
use crate::pods::Rewriting;
use crate::seen::{Seen, metadata};
use crate::window;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A backup that was finished longer ago, when the data could be rewritten, is not the one to go back to: another is made. The backups
/// of a daily schedule are young enough, so an order that waits for its window does not wait for a backup then.
pub const FRESH: SignedDuration = SignedDuration::from_hours(26);
/// The engine has begun nothing for so long: somebody should look.
const LATE: SignedDuration = SignedDuration::from_mins(15);

/// How far a change of the major version is.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The version before runs; a backup of it is made or waited for.
    Backup,
    /// The engine was told to rewrite the data.
    Running,
    /// It failed to.
    Failed,
    /// The data is rewritten; the first backup of it is made or waited for.
    Securing,
    /// It is over.
    Done,
    /// It was taken back: the version before runs on, in its own archive.
    Back,
}

/// Why the data was not rewritten.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The engine's job.
    pub job: String,
    /// The pod that failed.
    pub pod: String,
    /// Whether the version before can still begin on its data; nothing is known of it when the log cannot be read.
    pub untouched: Option<bool>,
    /// What it said last.
    pub why: String,
}

/// The archive of a version that ended.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Past {
    /// Its name in the bucket.
    pub archive: String,
    /// The version whose data it holds.
    pub version: String,
    /// The major version of that.
    pub major: u32,
    /// Until when.
    pub until: Timestamp,
}

/// The last change of the major version, as the engine's object records it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Upgrade {
    /// The how manieth of this instance: its archive and its backups are named by it.
    pub number: u32,
    /// From which version.
    pub from: String,
    /// The major version of that.
    pub from_major: u32,
    /// To which version.
    pub to: String,
    /// The major version of that.
    pub to_major: u32,
    /// The archive before.
    pub from_archive: String,
    /// The archive of the new version.
    pub archive: String,
    /// How far it is.
    pub phase: Phase,
    /// Since when it is wanted.
    pub since: Timestamp,
    /// The backup to go back to, as it is listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// Since when the order lets it begin, while the backup for it is made: that turn is not lost by the making.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Timestamp>,
    /// When the engine was told to begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<Timestamp>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Archives of versions that ended and that are kept for their days, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past: Vec<Past>,
}

impl Upgrade {
    /// Whether it is not over.
    pub fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Done | Phase::Back)
    }

    /// Whether the image and the archive are those of the new version.
    pub fn is_given(&self) -> bool {
        !matches!(self.phase, Phase::Backup | Phase::Back)
    }

    /// Whether the data is of the new version.
    pub fn is_rewritten(&self) -> bool {
        matches!(self.phase, Phase::Securing | Phase::Done)
    }

    /// The archive that is written to.
    pub fn archive(&self) -> &str {
        if self.is_given() { &self.archive } else { &self.from_archive }
    }

    /// The archive that holds whole backups, and the major version of its data.
    pub fn restorable(&self) -> (&str, u32) {
        match self.phase {
            Phase::Done => (&self.archive, self.to_major),
            _ => (&self.from_archive, self.from_major),
        }
    }

    /// The version whose data is there.
    pub fn version(&self) -> &str {
        if self.is_rewritten() { &self.to } else { &self.from }
    }

    /// Whether data of a major version may be given an image of another one, as this says.
    pub fn permits(&self, has: u32, wanted: u32) -> bool {
        let both = [self.from_major, self.to_major];
        let to = if self.is_given() { self.to_major } else { self.from_major };
        wanted == to && both.contains(&has)
    }

    /// How its backups are marked: before or after, and which try.
    fn mark(&self, which: Which, k: usize) -> String {
        format!("{}/{}/{k}", self.number, if which == Which::Before { "before" } else { "after" })
    }
}

/// Which backup of a change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Before,
    After,
}

/// What is told of a change beside how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hindrance {
    /// In a sentence.
    pub why: String,
    /// Whether it goes on by itself.
    pub retries: bool,
}

/// What follows for an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The record as it is to be from the next write on.
    pub upgrade: Option<Upgrade>,
    /// The version that is to run, where the change decides it; else the one that the order is to have now.
    pub version: Option<String>,
    /// The mark of a backup that is to be made.
    pub backup: Option<String>,
    /// What is being done, in a sentence.
    pub progress: String,
    /// What hinders it.
    pub hindrance: Option<Hindrance>,
    /// What a person must decide or mend.
    pub problem: Option<Refusal>,
}

/// What is known of an instance whose order may ask for another major version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The version that is asked for.
    pub wanted: String,
    /// Its major version.
    pub wanted_major: u32,
    /// The version that was given last.
    pub has: String,
    /// The major version of its image.
    pub has_major: u32,
    /// The major version that wrote the data, as the engine says.
    pub data_major: Option<u32>,
    /// Whether the engine says that all is well.
    pub healthy: bool,
    /// What the engine says of itself.
    pub engine: String,
    /// The archive that is written to.
    pub archive: String,
    /// The record.
    pub record: Option<Upgrade>,
    /// The backups of the engine, oldest first.
    pub made: Vec<Made>,
    /// The pod that rewrites the data.
    pub job: Option<Job>,
    /// Whether the order lets it be interrupted now.
    pub may_begin: bool,
    /// For how many days backups are kept.
    pub retention_days: i32,
}

/// The pod that rewrites the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its name.
    pub pod: String,
    /// How it is.
    pub state: Rewriting,
    /// Why it does not begin.
    pub hindrance: Option<String>,
    /// Why it failed, once its log was read.
    pub failure: Option<Failure>,
}

/// What the engine's object records.
pub fn recorded(cluster: &Value) -> Option<Upgrade> {
    serde_json::from_str(metadata(cluster, "annotations", MAJOR)?).ok()
}

/// The record: as it is to be from the next write on, else as it is.
pub fn upgrade(seen: &Seen, names: &Names) -> Option<Upgrade> {
    match &seen.major {
        Some(stage) => stage.upgrade.clone(),
        None => seen.cluster(names).and_then(recorded),
    }
}

/// Whether what is written next takes a change back for which the database was stopped: it has to start, whatever the engine and the
/// last login said of it.
pub fn is_taken_back(seen: &Seen, names: &Names) -> bool {
    let stopped = seen.cluster(names).and_then(recorded).is_some_and(|recorded| recorded.is_given());
    let next = seen.major.as_ref().and_then(|stage| stage.upgrade.as_ref());
    stopped && next.is_some_and(|next| next.phase == Phase::Back)
}

/// The archive that an instance writes to from the next write on. Should the record be lost, it goes on where it is.
pub fn archive(seen: &Seen, names: &Names) -> String {
    let recorded = upgrade(seen, names).map(|upgrade| upgrade.archive().to_owned());
    recorded.unwrap_or_else(|| backup::archive_of(seen.cluster(names)).to_owned())
}

impl Facts {
    /// Reads them from what was seen; nothing where nothing runs, or where no versions can be compared.
    pub fn of(valid: &Valid, names: &Names, seen: &Seen, may_begin: bool) -> Option<Self> {
        let cluster = seen.cluster(names)?;
        let data_major = cluster.pointer("/status/pgDataImageInfo/majorVersion").and_then(Value::as_u64);
        let pods = seen.pods.iter().filter(|pod| !pod.ending);
        let job = pods.filter_map(|pod| {
            let rewrites = pod.rewrites.as_ref()?;
            let failure = seen.failure.clone().filter(|failure| failure.pod == pod.name);
            let (pod, state, hindrance) = (pod.name.clone(), rewrites.state, pod.hindrance.clone());
            Some(Job { pod, state, hindrance, failure })
        });
        let told = valid.order.status.version.clone();
        Some(Self {
            wanted: valid.order.spec.version.clone(),
            wanted_major: major(&valid.image)?,
            has: hold::version_given(cluster).or(told).unwrap_or_else(|| valid.order.spec.version.clone()),
            has_major: major_of(cluster)?,
            data_major: data_major.and_then(|number| u32::try_from(number).ok()),
            healthy: seen.engine_phase(names) == Some(HEALTHY) && seen.engine_runs(names, false),
            engine: seen.engine_phase(names).unwrap_or("nothing").to_owned(),
            archive: backup::archive_of(Some(cluster)).to_owned(),
            record: recorded(cluster),
            made: backup::made(seen),
            // Should there be two, the one that may touch the data counts.
            job: job.max_by_key(|job| job.state),
            may_begin,
            retention_days: valid.backups.policy().map_or(i32::MAX, |policy| policy.retention_days),
        })
    }

    /// The tries of a backup of a change.
    fn tries(&self, upgrade: &Upgrade, which: Which) -> Vec<&Made> {
        let marked = |k: usize| {
            let mark = upgrade.mark(which, k);
            self.made.iter().find(|made| made.mark.as_deref() == Some(mark.as_str()))
        };
        (1..).map_while(marked).collect()
    }
}

/// What follows. The same answer for the same facts, and once what it says is written, the next.
pub fn next(facts: &Facts, now: Timestamp) -> Stage {
    let mut upgrade = facts.record.clone();
    if let Some(upgrade) = &mut upgrade {
        upgrade.past.retain(|past| !is_forgotten(facts, past, now));
    }
    match upgrade {
        Some(upgrade) if upgrade.phase == Phase::Backup => backing_up(facts, upgrade, now),
        Some(upgrade) if matches!(upgrade.phase, Phase::Running | Phase::Failed) => {
            running(facts, upgrade, now)
        }
        Some(upgrade) if upgrade.phase == Phase::Securing => securing(facts, upgrade, now),
        over => begin(facts, over, now),
    }
}

/// Whether an archive of a version that ended is over, and nothing of it is there any more.
fn is_forgotten(facts: &Facts, past: &Past, now: Timestamp) -> bool {
    let there = facts.made.iter().any(|made| made.archive.as_deref() == Some(past.archive.as_str()));
    is_expired(past, facts.retention_days, now) && !there
}

fn is_expired(past: &Past, days: i32, now: Timestamp) -> bool {
    let kept = SignedDuration::from_hours(24).checked_mul(days);
    kept.and_then(|kept| past.until.checked_add(kept).ok()).is_some_and(|end| end < now)
}

/// The archives whose days are over, which nobody else empties: the engine's own expiry looks at the one that it writes to. Only
/// where backups of the new version are whole.
pub fn expired<'a>(upgrade: &'a Upgrade, policy: &Policy, made: &[Made], now: Timestamp) -> Vec<&'a Past> {
    let whole = made.iter().any(|made| made.is_whole() && made.lies_in(&upgrade.archive));
    let over = |past: &&Past| past.archive != upgrade.archive && is_expired(past, policy.retention_days, now);
    let safe = upgrade.phase == Phase::Done && whole;
    upgrade.past.iter().filter(over).filter(|_| safe).collect()
}

fn stage(upgrade: Option<Upgrade>, version: Option<&str>) -> Stage {
    Stage {
        upgrade,
        version: version.map(str::to_owned),
        backup: None,
        progress: String::new(),
        hindrance: None,
        problem: None,
    }
}

/// No change is under way: the one before, if there was one, is over.
fn begin(facts: &Facts, over: Option<Upgrade>, now: Timestamp) -> Stage {
    // An image of another major version under the name of the same one is the catalogue's mistake, which the plan refuses.
    if facts.wanted_major == facts.has_major || facts.wanted == facts.has {
        return stage(over, None);
    }
    if facts.wanted_major < facts.has_major {
        let problem = no_way_back(facts, over.as_ref());
        return Stage { problem: Some(problem), ..stage(over, Some(&facts.has)) };
    }
    let number = over.as_ref().map_or(0, |over| over.number).saturating_add(1);
    let upgrade = Upgrade {
        number,
        from: facts.has.clone(),
        from_major: facts.has_major,
        to: facts.wanted.clone(),
        to_major: facts.wanted_major,
        from_archive: facts.archive.clone(),
        archive: format!("g{}", number.saturating_add(1)),
        phase: Phase::Backup,
        since: whole_second(now),
        backup: None,
        allowed: None,
        begun: None,
        failure: None,
        past: over.map(|over| over.past).unwrap_or_default(),
    };
    backing_up(facts, upgrade, now)
}

/// The version before runs. A backup is made; when it is whole and the order may be interrupted, the engine is told to begin.
fn backing_up(facts: &Facts, upgrade: Upgrade, now: Timestamp) -> Stage {
    if facts.wanted != upgrade.to {
        let back = Upgrade { phase: Phase::Back, ..upgrade };
        // Another one is begun anew, with a backup of its own.
        return begin(facts, Some(back), now);
    }
    let allowed = upgrade.allowed.filter(|_| facts.may_begin).or(facts.may_begin.then(|| whole_second(now)));
    let upgrade = Upgrade { allowed, ..upgrade };
    let tries = facts.tries(&upgrade, Which::Before);
    let from = upgrade.from.clone();
    let waits = |upgrade: Upgrade, progress: String, hindrance: Option<Hindrance>| Stage {
        progress,
        hindrance,
        ..stage(Some(upgrade), Some(&from))
    };
    let Some(whole) = whole_since(facts, &tries, &upgrade.from_archive) else {
        let made = try_again(&upgrade, Which::Before, &tries, now);
        let progress = format!("a backup of version {from} is being made; nothing else was done yet");
        return Stage { backup: made.0, ..waits(upgrade, progress, made.1) };
    };
    let age = whole.stopped.map(|stopped| now.duration_since(stopped));
    if facts.may_begin && age.is_none_or(|age| age > FRESH) {
        let (mark, hindrance) = match tries.last() {
            Some(last) if last.is_whole() => {
                (Some(upgrade.mark(Which::Before, tries.len().saturating_add(1))), None)
            }
            _ => try_again(&upgrade, Which::Before, &tries, now),
        };
        let progress =
            format!("another backup of version {from} is being made, as the one before is a day old");
        return Stage { backup: mark, ..waits(upgrade, progress, hindrance) };
    }
    if !facts.may_begin {
        let progress =
            format!("backup {} of version {from} is whole; nothing else was done yet", whole.listed_as);
        return waits(upgrade, progress, None);
    }
    if !facts.healthy || facts.data_major != Some(upgrade.from_major) {
        let why = format!(
            "it begins when the database runs well, with data of {}; the engine reports: {}",
            upgrade.from_major, facts.engine
        );
        let progress =
            format!("backup {} of version {from} is whole; nothing else was done yet", whole.listed_as);
        return waits(upgrade, progress, Some(Hindrance { why, retries: true }));
    }
    let to = upgrade.to.clone();
    let (backup, begun) = (Some(whole.listed_as.clone()), Some(whole_second(now)));
    let begun = Upgrade { phase: Phase::Running, backup, allowed: None, begun, failure: None, ..upgrade };
    Stage { progress: rewriting(&begun), ..stage(Some(begun), Some(&to)) }
}

/// The newest whole backup that began no earlier than the first that was made for this change.
fn whole_since<'a>(facts: &'a Facts, tries: &[&'a Made], archive: &str) -> Option<&'a Made> {
    let first =
        tries.iter().filter(|made| made.is_whole() && made.lies_in(archive)).min_by_key(|m| m.started)?;
    let later = facts.made.iter().filter(|made| made.is_whole() && made.lies_in(archive));
    later.filter(|made| made.started >= first.started).max_by_key(|made| made.stopped)
}

/// The mark of the next try of a backup that is not whole, and what hinders it: one that failed is tried again.
fn try_again(
    upgrade: &Upgrade,
    which: Which,
    tries: &[&Made],
    now: Timestamp,
) -> (Option<String>, Option<Hindrance>) {
    let Some(last) = tries.last() else { return (Some(upgrade.mark(which, 1)), None) };
    let same = Some(upgrade.mark(which, tries.len()));
    let since = |time: Option<Timestamp>| time.map(|time| now.duration_since(time)).unwrap_or_default();
    if last.phase == "Failed" {
        let cause = backup::cause(last.error.as_deref());
        let why = format!(
            "the backup (ServiceBackup {}) failed: {cause}; it is tried again by itself, and nothing else is done before one is whole",
            last.listed_as
        );
        let over = since(last.stopped.or(last.asked)) >= AGAIN;
        let mark = if over { Some(upgrade.mark(which, tries.len().saturating_add(1))) } else { same };
        return (mark, Some(Hindrance { why, retries: true }));
    }
    let late = since(last.asked) >= DEADLINE;
    let why = format!("the backup (ServiceBackup {}) is {} for a long time", last.listed_as, last.phase);
    (same, late.then_some(Hindrance { why, retries: true }))
}

fn rewriting(upgrade: &Upgrade) -> String {
    format!(
        "the engine rewrites the data for version {}; the database is away meanwhile; backup {} of version {} is whole",
        upgrade.to,
        upgrade.backup.as_deref().unwrap_or_default(),
        upgrade.from
    )
}

/// The engine was told to rewrite the data. Whether it has is what it says itself; whether it failed is what its pod and log say.
fn running(facts: &Facts, upgrade: Upgrade, now: Timestamp) -> Stage {
    let to = upgrade.to.clone();
    if facts.data_major.is_some_and(|data| data >= upgrade.to_major) {
        let past = Past {
            archive: upgrade.from_archive.clone(),
            version: upgrade.from.clone(),
            major: upgrade.from_major,
            until: upgrade.begun.unwrap_or(now),
        };
        let past = upgrade.past.iter().cloned().chain([past]).collect();
        return securing(facts, Upgrade { phase: Phase::Securing, failure: None, past, ..upgrade }, now);
    }
    let back = facts.wanted_major == upgrade.from_major;
    let goes_back = |upgrade: Upgrade| {
        let progress =
            format!("it is taken back: version {} begins again on its data and in its archive", upgrade.from);
        let back = Upgrade { phase: Phase::Back, ..upgrade };
        Stage { progress, ..stage(Some(back), Some(&facts.wanted)) }
    };
    let known = upgrade.failure.clone();
    let failure = match &facts.job {
        Some(Job { state: Rewriting::Failed, failure, pod, .. }) => {
            failure.clone().or(known.filter(|known| known.pod == *pod))
        }
        None => known,
        Some(_) => None,
    };
    if let Some(failure) = failure {
        if back && failure.untouched == Some(true) {
            return goes_back(Upgrade { failure: Some(failure), ..upgrade });
        }
        let problem = failed(&upgrade, &failure);
        let progress = format!("job {} failed", failure.job);
        let upgrade = Upgrade { phase: Phase::Failed, failure: Some(failure), ..upgrade };
        return Stage { progress, problem: Some(problem), ..stage(Some(upgrade), Some(&to)) };
    }
    let upgrade = Upgrade { phase: Phase::Running, failure: None, ..upgrade };
    let stuck = facts
        .job
        .as_ref()
        .filter(|job| job.state == Rewriting::Pending)
        .and_then(|job| job.hindrance.clone());
    if let Some(why) = stuck {
        if back {
            return goes_back(upgrade);
        }
        let why =
            format!("{why}; nothing was rewritten yet: set spec.version to {} to take it back", upgrade.from);
        let hindrance = Some(Hindrance { why, retries: true });
        return Stage { progress: rewriting(&upgrade), hindrance, ..stage(Some(upgrade), Some(&to)) };
    }
    let waited = upgrade.begun.map(|begun| now.duration_since(begun)).unwrap_or_default();
    let late = facts.job.is_none() && waited >= LATE;
    let why =
        format!("nothing rewrites the data yet; the engine reports: {}; ask the platform", facts.engine);
    let hindrance = late.then_some(Hindrance { why, retries: true });
    let problem = (facts.wanted != upgrade.to).then(|| Refusal {
        reason: reason::MAJOR_VERSION_CHANGE,
        message: format!(
            "the data is being rewritten for version {to}, which cannot be stopped: set spec.version to {to}; should it fail, what \
             can be done is told then"
        ),
    });
    Stage { progress: rewriting(&upgrade), hindrance, problem, ..stage(Some(upgrade), Some(&to)) }
}

/// What an order is told when its data was not rewritten, and what to do.
fn failed(upgrade: &Upgrade, failure: &Failure) -> Refusal {
    let Upgrade { from, to, .. } = upgrade;
    let backup = upgrade.backup.as_deref().unwrap_or_default();
    let way_out = match failure.untouched {
        Some(true) => format!(
            "nothing of the data was changed: set spec.version back to {from}, and it runs again as it was; mend the cause before \
             another try"
        ),
        Some(false) => format!(
            "it ended when the data was being taken over, so version {from} does not begin on it again: order a new instance with \
             version {from} and restoreFrom.backup {backup}, or ask the platform"
        ),
        None => format!(
            "nobody could read how far it came, so it is not taken back: order a new instance with version {from} and \
             restoreFrom.backup {backup}, or ask the platform"
        ),
    };
    let why = if failure.why.is_empty() { "it gives no reason" } else { &failure.why };
    Refusal {
        reason: reason::MAJOR_UPGRADE_FAILED,
        message: format!(
            "job {} could not rewrite the data for version {to} ({why}); {way_out}",
            failure.job
        ),
    }
}

/// Why data that was rewritten stays so, and the way to what it was.
fn no_way_back(facts: &Facts, over: Option<&Upgrade>) -> Refusal {
    let Facts { wanted, has, .. } = facts;
    let backup = over
        .filter(|over| over.from == *wanted && over.is_rewritten())
        .and_then(|over| over.backup.as_deref());
    Refusal { reason: reason::MAJOR_VERSION_CHANGE, message: never_back(wanted, has, backup) }
}

/// What is announced to who asks for another major version.
pub fn announcement(from: &str, to: &str) -> String {
    format!(
        "version {from} becomes {to} in place: first a backup is made, and nothing begins before it is whole; then the database is away \
         for some minutes, and longer with many tables; should it fail, set spec.version back to {from}; once it succeeded there is no \
         way back but a new order with version {from} and that backup, without what was written since; until the first backup with \
         {to} is whole, no moment of {to} can be restored"
    )
}

/// That data of a version does not go back to an earlier one, and what can be done.
pub fn never_back(wanted: &str, has: &str, backup: Option<&str>) -> String {
    let restore = backup.map_or_else(String::new, |backup| {
        format!("; to have what it was with {wanted}, order a new instance with version {wanted} and restoreFrom.backup {backup}")
    });
    format!(
        "version {wanted} is older than {has}, which it has: data never goes back, so ask for {has} or newer{restore}"
    )
}

/// The data is rewritten and runs. When a backup of it is whole, every moment since can be restored.
fn securing(facts: &Facts, upgrade: Upgrade, now: Timestamp) -> Stage {
    let to = upgrade.to.clone();
    let tries = facts.tries(&upgrade, Which::After);
    let whole = facts.made.iter().find(|made| made.is_whole() && made.lies_in(&upgrade.archive));
    let problem = (facts.wanted_major < upgrade.to_major).then(|| {
        let has = Facts { has: to.clone(), ..facts.clone() };
        no_way_back(&has, Some(&upgrade))
    });
    if let Some(whole) = whole {
        let progress = format!(
            "version {to} runs, and backup {} of it is whole; backup {} of version {} is kept for its days",
            whole.listed_as,
            upgrade.backup.as_deref().unwrap_or_default(),
            upgrade.from
        );
        let done = Upgrade { phase: Phase::Done, ..upgrade };
        return Stage { progress, problem, ..stage(Some(done), Some(&to)) };
    }
    let progress = format!(
        "version {to} has the data; its first backup is being made, before which none of its moments can be restored"
    );
    if !facts.healthy {
        return Stage { progress, problem, ..stage(Some(upgrade), Some(&to)) };
    }
    let (backup, hindrance) = try_again(&upgrade, Which::After, &tries, now);
    Stage { progress, backup, hindrance, problem, ..stage(Some(upgrade), Some(&to)) }
}

/// Whether an order is in the middle of it: what it asks for now is not put off to a window, or to another one.
pub fn is_under_way(seen: &Seen, names: &Names, now: Timestamp) -> bool {
    let turn = |since: Timestamp| now.duration_since(since) < window::LENGTH;
    let record = seen.cluster(names).and_then(recorded).filter(Upgrade::is_open);
    record.is_some_and(|record| record.is_given() || record.allowed.is_some_and(turn))
}

/// The pod that failed to rewrite the data, where its log must be read to know how far it came.
pub fn unread(seen: &Seen, names: &Names) -> Option<(String, String)> {
    let record =
        seen.cluster(names).and_then(recorded).filter(|record| record.is_open() && record.is_given())?;
    let failed = seen.pods.iter().filter(|pod| !pod.ending).find_map(|pod| {
        let rewrites = pod.rewrites.as_ref().filter(|r| r.state == Rewriting::Failed)?;
        Some((pod.name.clone(), rewrites.job.clone()))
    })?;
    let known = record.failure.filter(|known| known.pod == failed.0 && known.untouched.is_some());
    known.is_none().then_some(failed)
}

/// What the engine's program writes right before the files of the data are taken over (`pg_upgrade --link`), and from then on.
const TOUCHED: [&str; 5] = ["suffix to old", "pg_control.old", "Linking", "Moving the old", "Moving the new"];
/// What is in a line that says why it ends.
const ENDS: [&str; 4] = ["failed check", "checks failed", "*failure*", "Failure, exiting"];
/// So many lines say why.
const SAID: usize = 3;
/// What it writes first: a log without it is not whole.
const FIRST: &str = "Searching for failed upgrades";

/// How far a job came, and why it ended, by its log: lines of JSON with a `msg`.
pub fn failure(job: &str, pod: &str, log: Option<&str>) -> Failure {
    let messages = |log: &str| -> Vec<String> {
        let message =
            |line: &str| serde_json::from_str::<Value>(line).ok()?["msg"].as_str().map(str::to_owned);
        log.lines().map(|line| message(line).unwrap_or_else(|| line.to_owned())).collect()
    };
    let lines = log.map(messages).unwrap_or_default();
    let touched = lines.iter().any(|line| TOUCHED.iter().any(|mark| line.contains(mark)));
    let whole = lines.iter().any(|line| line.contains(FIRST));
    let untouched = if touched { Some(false) } else { whole.then_some(true) };
    let ends =
        |line: &String| line.trim_end().ends_with("fatal") || ENDS.iter().any(|mark| line.contains(mark));
    let at = lines.iter().position(ends);
    let from = lines.iter().skip(at.unwrap_or(lines.len()));
    let words = |line: &String| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let said: Vec<String> = from.map(words).filter(|line| !line.is_empty()).take(SAID).collect();
    let why = said.join(" ").chars().filter(|c| !c.is_control()).take(300).collect();
    Failure { job: job.to_owned(), pod: pod.to_owned(), untouched, why }
}

/// Which archive of an instance holds a moment, and the major version of its data; without a moment, the last one with whole backups.
///
/// # Errors
/// A sentence, where no archive does.
pub fn archive_at(
    upgrade: &Upgrade,
    made: &[Made],
    time: Option<Timestamp>,
) -> Result<(String, u32), String> {
    let Some(time) = time else {
        let (archive, major) = upgrade.restorable();
        return Ok((archive.to_owned(), major));
    };
    let past = upgrade.past.iter().find(|past| time <= past.until);
    let (archive, major, until) = match past {
        Some(past) => (past.archive.as_str(), past.major, Some(past.until)),
        None if upgrade.is_rewritten() => (upgrade.archive.as_str(), upgrade.to_major, None),
        None => {
            (upgrade.from_archive.as_str(), upgrade.from_major, upgrade.begun.filter(|_| upgrade.is_given()))
        }
    };
    let first =
        made.iter().filter(|made| made.is_whole() && made.lies_in(archive)).filter_map(|m| m.stopped).min();
    match first {
        Some(first) if first <= time && until.is_none_or(|until| time <= until) => {
            Ok((archive.to_owned(), major))
        }
        Some(first) => Err(format!(
            "moments of version {major} can be restored from {first} on{}: choose another time",
            until.map(|until| format!(" until {until}")).unwrap_or_default()
        )),
        None => {
            Err(format!("no backup of version {major} is whole: choose a time before the change of version"))
        }
    }
}

/// The number of archives that an instance may have in its bucket: `g1` and those of its changes.
pub fn archives(upgrade: Option<&Upgrade>) -> Vec<String> {
    let all = upgrade.into_iter().flat_map(|u| {
        u.past.iter().map(|past| past.archive.clone()).chain([u.from_archive.clone(), u.archive.clone()])
    });
    let mut all: Vec<String> = all.chain([GENERATION.to_owned()]).collect();
    all.sort();
    all.dedup();
    all
}

/// The engine's objects of backups that lie in an archive.
pub fn backups_in<'a>(
    seen: &'a Seen,
    archive: &'a str,
) -> impl Iterator<Item = (&'a crate::object::Key, Option<&'a str>)> {
    let backups = seen.children.iter().filter(|(key, _)| key.kind == ChildKind::Backup);
    let inside =
        move |object: &Value| object.pointer("/status/serverName").and_then(Value::as_str) == Some(archive);
    backups
        .filter(move |(_, object)| inside(object))
        .map(|(key, object)| (key, object.pointer("/metadata/uid").and_then(Value::as_str)))
}

//! Whether an archive reaches the moment to which an order is to be restored.
//!
//! PostgreSQL stops a recovery at the first transaction that ended after the moment, and since version 13 fails where the log ends
//! before there was one (release notes of 13, E.23.3.4). Nothing of a database to which nobody writes ever comes: so one that
//! runs is given a transaction, which changes nothing, and the restore waits until the archive holds it. From one that does not
//! run nothing more comes: where a recovery fails for this, all of its log is what it had at that moment.

use crate::backup::{self, Policy, Source, archive_of};
use crate::check::{Refusal, Valid};
use crate::condition::reason;
use crate::context::Context;
use crate::deletion::cluster_key;
use crate::majors;
use crate::names::Names;
use crate::object_store::{Store, StoreError};
use crate::operation;
use crate::order::Order;
use crate::seen::Seen;
use jiff::{SignedDuration, Timestamp};
use kube::api::LogParams;

/// What a database says of its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Its clock, in whole seconds, before the transaction that it was given.
    pub clock: Timestamp,
    /// The segment in which the log stands: 24 hexadecimal digits.
    pub segment: String,
    /// The last segment that is whole.
    pub complete: String,
    /// The segment that was archived last, if it says so.
    pub archived: Option<String>,
}

/// A transaction that a database was given, so that its log goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The database's clock before it.
    pub clock: Timestamp,
    /// A segment that holds it, or one after that.
    pub segment: String,
    /// Our clock after it.
    pub made: Timestamp,
}

/// What comes of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Its database runs and was given a transaction; the segment that was archived last.
    Runs(Mark, Option<String>),
    /// It runs, and nobody is let in now.
    Silent,
    /// It does not run.
    Stands,
    /// It runs, and its changes do not reach the archive; when the last segment came.
    Failing(Option<Timestamp>),
}

/// How a moment is to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Recovery ends at it.
    Reached,
    /// Not yet.
    NotYet,
    /// Not at all: what was written then is not there, only what was written until here.
    Lost(Option<Timestamp>),
}

/// Judges. `patience` is how long a transaction may take to reach the archive.
pub fn judge(time: Timestamp, origin: &Origin, patience: SignedDuration, now: Timestamp) -> Verdict {
    match origin {
        Origin::Failing(newest) if newest.is_none_or(|newest| newest < time) => Verdict::Lost(*newest),
        Origin::Stands | Origin::Failing(_) => Verdict::Reached,
        Origin::Silent => Verdict::NotYet,
        Origin::Runs(mark, _) if mark.clock <= time => Verdict::NotYet,
        Origin::Runs(mark, archived) => {
            let there = archived.as_ref().is_some_and(|archived| *archived >= mark.segment);
            // What the database archived last may be a file beside the log, and a crash makes it forget.
            match there || now.duration_since(mark.made) > patience {
                true => Verdict::Reached,
                false => Verdict::NotYet,
            }
        }
    }
}

/// Whether the engine may begin to read the source; the order waits otherwise.
///
/// # Errors
/// A [`Refusal`]: that it waits, or what cannot be had.
pub async fn settle(
    valid: &Valid,
    policy: &Policy,
    source: &Source,
    context: &Context,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Some(time) = source.moment() else { return Ok(()) };
    let orders = context.orders.all();
    let live = orders.iter().find(|order| order.uid == source.order_uid);
    let seen = context.seen(source.order_uid.as_str());
    let cluster = cluster_key(&seen).and_then(|key| seen.children.get(&key).cloned());
    let current = archive_of(cluster.as_deref()) == source.archive();
    let archiving = backup::facts(&seen, true, cluster.as_deref()).archiving.filter(|_| current);
    let origin = match live.filter(|live| current && runs(live, &seen)) {
        Some(_) if matches!(archiving, Some((false, ..))) => {
            Origin::Failing(newest(policy, source, context).await?)
        }
        Some(live) => running(valid, live, time, context, now).await,
        None => Origin::Stands,
    };
    // The engine sends a segment within half of the recovery point.
    let patience = SignedDuration::from_mins(i64::from(policy.recovery_point_minutes) + 1);
    let name = live.map_or_else(|| source.order_uid.to_string(), |live| live.at.name.clone());
    let (reason, message) = match judge(time, &origin, patience, now) {
        Verdict::Reached => {
            context.memory.lock().marks.remove(valid.order.uid.as_str());
            return Ok(());
        }
        Verdict::NotYet => (
            reason::RESTORE_PENDING,
            format!(
                "the archive of {name} does not hold that moment yet: it does within minutes, and the restore begins by itself"
            ),
        ),
        Verdict::Lost(newest) => {
            let until = newest.map(|newest| format!(" since {newest}")).unwrap_or_default();
            let message = format!(
                "changes of {name} do not reach the object store{until}: choose an earlier time, or wait until its BackupHealthy is True"
            );
            (reason::RESTORE_IMPOSSIBLE, message)
        }
    };
    Err(Refusal { reason, message })
}

/// Whether more may come of an order's database: it runs, or has not stopped yet.
fn runs(live: &Order, seen: &Seen) -> bool {
    if live.spec.suspend {
        return !seen.pods.is_empty();
    }
    let names = live.status.engine_ref.as_ref();
    let names = names.map(|at| Names { engine: at.namespace.clone(), cluster: at.name.clone() });
    names.is_some_and(|names| seen.engine_runs(&names, false))
}

/// Gives the database a transaction, unless that was done.
async fn running(valid: &Valid, live: &Order, time: Timestamp, context: &Context, now: Timestamp) -> Origin {
    let uid = valid.order.uid.as_str();
    let known = context.memory.lock().marks.get(uid).filter(|mark| mark.clock > time).cloned();
    let Some(log) = context.prober.log(live.uid.as_str(), known.is_none()).await else {
        return Origin::Silent;
    };
    let mark = known.unwrap_or(Mark { clock: log.clock, segment: log.segment, made: now });
    context.memory.lock().marks.insert(uid.to_owned(), mark.clone());
    Origin::Runs(mark, log.archived)
}

/// When the last segment came to the archive.
async fn newest(policy: &Policy, source: &Source, context: &Context) -> Result<Option<Timestamp>, Refusal> {
    let asked = async {
        let store = Store::of(&context.client, &context.config.namespace, &policy.store).await?;
        store.newest(&source.bucket, &format!("{}/wals/", source.archive())).await
    };
    asked.await.map_err(|error: StoreError| {
        tracing::warn!(order.uid = %source.order_uid, error = %error, "the archive of an order that is restored was not looked at");
        Refusal {
            reason: reason::BACKUP_STORE_UNAVAILABLE,
            message: "the object store does not say what the archive holds: it is asked again by itself".to_owned(),
        }
    })
}

/// What PostgreSQL says where the log ended before the moment.
const FELL_SHORT: &str = "recovery ended before configured recovery target was reached";
/// So many lines of a recovery's log are read, from its end: each segment that it took has some.
const LAST_LINES: i64 = 200;

/// The source of an order whose recovery failed as the log ended before the moment, where nothing more can come: all of it. Nothing
/// where that is not so, or cannot be known now.
pub async fn all_of(order: &Order, names: &Names, seen: &Seen, context: &Context) -> Option<Source> {
    let source = seen.source.as_ref().filter(|source| source.moment().is_some())?;
    let failed = seen.pods.iter().rfind(|pod| pod.recovery_failed)?;
    let origin = context.seen(source.order_uid.as_str());
    let orders = context.orders.all();
    let live = orders.iter().find(|order| order.uid == source.order_uid);
    if operation::was_made(&order.status) || live.is_some_and(|live| runs(live, &origin)) {
        return None;
    }
    let end = LogParams { tail_lines: Some(LAST_LINES), ..LogParams::default() };
    let log = majors::log_of(names, &failed.name, &end, context).await?;
    log.contains(FELL_SHORT).then(|| Source { all: true, ..source.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn runs(clock: i64, made: i64, archived: Option<&str>) -> Origin {
        let mark = Mark { clock: at(clock), segment: "000000020000000000000007".into(), made: at(made) };
        Origin::Runs(mark, archived.map(str::to_owned))
    }

    #[test]
    fn a_moment_is_had_when_the_archive_holds_what_came_after_it() {
        let minutes = SignedDuration::from_mins(6);
        let check = |origin: &Origin, now: i64, expect: Verdict| {
            assert_eq!(judge(at(1_000), origin, minutes, at(now)), expect, "{origin:?} {now}");
        };
        let (before, same, later) =
            ("000000020000000000000006", "000000020000000000000007", "000000030000000000000001");
        check(&runs(1_001, 1_001, None), 1_002, Verdict::NotYet);
        check(&runs(1_001, 1_001, Some(before)), 1_361, Verdict::NotYet);
        check(&runs(1_001, 1_001, Some(before)), 1_362, Verdict::Reached);
        check(&runs(1_001, 1_001, Some(same)), 1_002, Verdict::Reached);
        check(&runs(1_001, 1_001, Some(later)), 1_002, Verdict::Reached);
        // Its clock is behind ours: the transaction may have ended at that moment or before.
        check(&runs(1_000, 1_001, Some(later)), 9_999, Verdict::NotYet);
        check(&Origin::Silent, 9_999, Verdict::NotYet);
        check(&Origin::Stands, 1_002, Verdict::Reached);
        // What is not archived is lost; what came before is there.
        check(&Origin::Failing(None), 1_002, Verdict::Lost(None));
        check(&Origin::Failing(Some(at(999))), 1_002, Verdict::Lost(Some(at(999))));
        check(&Origin::Failing(Some(at(1_000))), 1_002, Verdict::Reached);
    }

    proptest! {
        #[test]
        fn recovery_of_what_runs_is_never_told_to_stop_where_the_log_may_end_before(
            time in 0_i64..100, clock in 0_i64..100, waited in 0_i64..400,
        ) {
            let verdict = judge(at(time), &runs(clock, 100, None), SignedDuration::from_mins(5), at(100 + waited));
            prop_assert_eq!(verdict == Verdict::Reached, clock > time && waited > 300);
        }
    }
}

//! Kept data as its ministry sees it: one `RetainedInstance` for each, in a namespace of the tenant.
//!
//! It is a mirror. The truth is on the engine's object; a listing that is gone is made again, and what it asks for is done only
//! after the API server itself was asked (`retained`).

use crate::apply;
use crate::archive::{self, Archive};
use crate::check::{Refusal, mib};
use crate::condition::{Say, kind, merge, reason};
use crate::context::Context;
use crate::deletion::{
    ENGINE_DEADLINE, VOLUME_DEADLINE, cluster_key, is_going, record, stays, told_to_go, volume_stays,
};
use crate::names::{Names, RETAINED, RETAINED_SINCE};
use crate::namespaces::Bound;
use crate::object::{ChildKind, Key};
use crate::order::Kind;
use crate::reconcile::Pass;
use crate::retained::Record;
use crate::seen::{Seen, metadata};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use siyada_crds::backup::BackedUp;
use siyada_crds::order::Cost;
use siyada_crds::{RetainedInstance, RetainedInstanceSpec, RetainedInstanceStatus};
use siyada_model::quantity::{MIB, show_bytes};
use std::collections::{BTreeMap, BTreeSet};

/// So many days before its end kept data is warned about: two weeks to decide, one to act, and the last call.
pub const WARNINGS: [i32; 3] = [14, 7, 1];
/// It must have been warned about for so long, whenever its end is: an operator that was away told nobody.
const WARNED: SignedDuration = SignedDuration::from_hours(24);

/// What is kept of one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Whose it was.
    pub record: Record,
    /// The engine's object: its name is that of the listing too.
    pub cluster: Key,
    /// Since when it is kept.
    pub since: Option<Timestamp>,
    /// Bytes of its volumes.
    pub bytes: i64,
    /// Whether an order can begin from its backups.
    pub archived: bool,
    /// Bytes of its bucket, as far as they were measured.
    pub backup_bytes: i64,
    /// What it has in the object store, where its engine object is gone or going.
    pub archive: Option<Archive>,
    /// What keeps it from being removed.
    pub trouble: Option<Refusal>,
    /// What it costs, as the ledger said.
    pub cost: Option<Cost>,
    /// Since when it is going, and what holds it.
    pub going: Option<(Timestamp, Refusal)>,
    /// Names of the databases that still run.
    pub runs: Vec<String>,
}

impl Kept {
    /// Reads it from what was seen; nothing where no data is kept.
    pub fn of(seen: &Seen, cost: Option<Cost>) -> Option<Self> {
        let bytes = seen.volume_bytes();
        let noted = archive::note(seen);
        let Some(cluster) = cluster_key(seen) else {
            let (names, note) = noted?;
            return Some(Self {
                record: note.record,
                cluster: Key::new(ChildKind::Cluster, &names.engine, names.cluster),
                since: Some(note.since),
                bytes,
                archived: note.archive.restorable(),
                backup_bytes: note.archive.bytes,
                archive: Some(note.archive),
                trouble: None,
                going: None,
                runs: Vec::new(),
                cost,
            });
        };
        let object = seen.children.get(&cluster)?;
        metadata(object, "labels", RETAINED)?;
        let going = is_going(object);
        let archive = noted.map(|(_, note)| note.archive).filter(|_| going);
        let names = Names::at(&cluster);
        let has_login = seen.get(ChildKind::Secret, &names.engine, &names.store_secret()).is_some();
        let measured = archive::measured(object);
        Some(Self {
            record: record(seen, &cluster)?,
            since: metadata(object, "annotations", RETAINED_SINCE).and_then(|text| text.parse().ok()),
            bytes,
            archived: has_login && archive.is_none(),
            backup_bytes: measured.unwrap_or(0),
            archive,
            trouble: None,
            going: told_to_go(object)
                .map(|since| (since, stays(reason::ENGINE_OBJECT_STAYS, &cluster, object, since))),
            runs: seen.pods.iter().filter(|pod| pod.database).map(|pod| pod.name.clone()).collect(),
            cluster,
            cost,
        })
    }

    /// When it is removed by itself, if ever.
    pub fn expires(&self) -> Option<Timestamp> {
        let goes = self.archive.as_ref().is_some_and(|archive| !archive.keep);
        expires(self.since, self.record.retained_days).filter(|_| !goes)
    }

    /// Whether it is being removed, in parts or all of it.
    fn is_going(&self) -> bool {
        self.archive.as_ref().is_some_and(|archive| !archive.restorable())
    }

    /// What of it is there, in words.
    fn words(&self) -> &'static str {
        match &self.archive {
            Some(_) if self.is_going() && self.bytes > 0 => "volume and backups, which are being removed",
            Some(_) if self.is_going() => "backups, which are being removed",
            Some(archive) if archive.last_backup.is_some() => "last backup",
            Some(_) => "backups",
            None if self.archived => "volume and backups",
            None => "volume",
        }
    }
}

/// The end of what is kept since a moment for so many days.
pub fn expires(since: Option<Timestamp>, days: Option<i32>) -> Option<Timestamp> {
    since?.checked_add(SignedDuration::from_hours(24).checked_mul(days?)?).ok()
}

/// Whether kept data may go by itself: its end is past, and its listing has warned about it for a day.
pub fn may_expire(expires: Option<Timestamp>, told: &RetainedInstanceStatus, now: Timestamp) -> bool {
    let warned = told.conditions.iter().find(|c| c.type_ == kind::EXPIRES_SOON && c.status == "True");
    let warned = warned.is_some_and(|c| now.duration_since(c.last_transition_time.0) >= WARNED);
    warned && expires.is_some_and(|end| end <= now)
}

/// The warning that is due: the smallest number of days that was reached.
pub fn due(expires: Option<Timestamp>, now: Timestamp) -> Option<i32> {
    let left = expires?.duration_since(now);
    let reached = |days: &i32| left <= SignedDuration::from_hours(24 * i64::from(*days));
    WARNINGS.into_iter().filter(reached).min()
}

/// Where kept data is listed: where it was ordered, else in the first other namespace of its tenant that stays.
pub fn home(record: &Record, bound: &BTreeMap<String, Bound>) -> Option<String> {
    let fits = |b: &Bound| b.tenant == record.tenant.as_str() && !b.engine && !b.terminating;
    if bound.get(&record.namespace).is_some_and(fits) {
        return Some(record.namespace.clone());
    }
    bound.iter().find(|(_, b)| fits(b)).map(|(name, _)| name.clone())
}

/// The listing of kept data; nothing where the kind cannot be read.
pub fn listing(kept: &Kept, namespace: &str) -> Option<RetainedInstance> {
    let record = &kept.record;
    let instance = BackedUp { kind: Kind::parse(&record.kind)?.backed_up(), name: record.name.clone() };
    let order_uid = record.uid.to_string();
    let spec =
        RetainedInstanceSpec { order_uid, instance, namespace: record.namespace.clone(), discard: None };
    let mut listing = RetainedInstance::new(&kept.cluster.name, spec);
    listing.metadata.namespace = Some(namespace.to_owned());
    Some(listing)
}

/// What should have stopped or gone by now and has not.
pub fn hangs(kept: &Kept, now: Timestamp) -> Option<Refusal> {
    let is_late = |since: Timestamp| now.duration_since(since) >= ENGINE_DEADLINE;
    if let Some((since, stays)) = &kept.going {
        return is_late(*since).then(|| stays.clone());
    }
    let since = kept.since.filter(|since| !kept.runs.is_empty() && is_late(*since))?;
    let (by, engine) = (since.checked_add(ENGINE_DEADLINE).unwrap_or(since), &kept.cluster.namespace);
    let message = format!(
        "compute should have stopped by {by} and Pod {engine}/{} still runs, which is not billed: ask the platform to look at {}",
        kept.runs.join(", "),
        kept.cluster
    );
    Some(Refusal { reason: reason::ENGINE_RUNS_ON, message })
}

/// What a listing tells whose engine's object is gone, while volumes of it are there.
pub fn remainder(
    old: &RetainedInstanceStatus,
    seen: &Seen,
    generation: i64,
    now: Timestamp,
) -> RetainedInstanceStatus {
    let told = old.conditions.iter().find(|c| c.type_ == kind::DELETION_BLOCKED);
    let since = told.map(|c| c.last_transition_time.0);
    // What was late once is not early again.
    let late = told.filter(|c| c.status == "True").and_then(|_| now.checked_sub(VOLUME_DEADLINE).ok());
    let blocked = volume_stays(seen, late.or(since), now);
    let (status, reason, message) = match blocked {
        Some(blocked) => (true, blocked.reason, blocked.message),
        None => (false, reason::BEING_DELETED, "its volumes are being removed".to_owned()),
    };
    let gone = "its data is being removed".to_owned();
    let says = vec![
        Say { kind: kind::RESTORABLE, status: Some(false), reason: reason::BEING_DELETED, message: gone },
        Say { kind: kind::DELETION_BLOCKED, status: Some(status), reason, message },
    ];
    RetainedInstanceStatus {
        observed_generation: Some(generation),
        conditions: merge(&old.conditions, says, generation, now),
        ..old.clone()
    }
}

/// What a listing tells.
pub fn status(
    kept: &Kept,
    old: &RetainedInstanceStatus,
    generation: i64,
    now: Timestamp,
) -> RetainedInstanceStatus {
    let (name, expires) = (&kept.cluster.name, kept.expires());
    let due = due(expires, now);
    let soon = match expires {
        _ if kept.is_going() => {
            (true, reason::BEING_DELETED, "the data is being removed for ever".to_owned())
        }
        Some(end) if due.is_some() => (
            true,
            reason::EXPIRING,
            format!(
                "the data is removed for ever after {end}: restore it into a new order before, or ask the platform"
            ),
        ),
        Some(end) => (false, reason::KEPT, format!("the data is kept until {end}")),
        None => (false, reason::KEPT, "the data is kept until somebody discards it".to_owned()),
    };
    let restore = if kept.is_going() {
        (false, reason::BEING_DELETED, "its backups are being removed".to_owned())
    } else if kept.archived {
        (true, reason::KEPT, format!("order with spec.restoreFrom: {{retainedInstance: {name}}}"))
    } else {
        let message = "it was never backed up, so only the platform can bring its volume back";
        (false, reason::NEVER_BACKED_UP, message.to_owned())
    };
    let said = [(kind::EXPIRES_SOON, &soon), (kind::RESTORABLE, &restore)];
    let says = said.map(|(kind, (status, reason, message))| Say {
        kind,
        status: Some(*status),
        reason,
        message: message.clone(),
    });
    let blocked = hangs(kept, now).or_else(|| kept.trouble.clone()).map(|why| Say {
        kind: kind::DELETION_BLOCKED,
        status: Some(true),
        reason: why.reason,
        message: why.message,
    });
    let says: Vec<Say> = says.into_iter().chain(blocked).collect();
    let text = |time: Option<Timestamp>| time.map(|t| t.to_string());
    let last_backup = kept.archive.as_ref().and_then(|archive| archive.last_backup);
    RetainedInstanceStatus {
        observed_generation: Some(generation),
        data: Some(kept.words().to_owned()),
        storage: (kept.bytes > 0 || kept.archive.is_none()).then(|| show_bytes(kept.bytes)),
        backups: (kept.backup_bytes > 0).then(|| show_bytes(mib(kept.backup_bytes).saturating_mul(MIB))),
        last_backup: text(last_backup),
        kept_since: text(kept.since),
        expires: text(expires),
        cost: kept.cost.clone().or_else(|| old.cost.clone()),
        restore: Some(restore.2.clone()),
        discard: Some(format!("set spec.discard to {}: its data is removed for ever", kept.record.name)),
        warned_days: due,
        conditions: merge(&old.conditions, says, generation, now),
    }
}

/// Whether a listing asks for the removal of this data.
pub fn discards(listing: &RetainedInstance, record: &Record) -> bool {
    let spec = &listing.spec;
    spec.discard.as_deref() == Some(record.name.as_str()) && spec.order_uid == record.uid.as_str()
}

/// Brings the listings up to date, and takes off those whose data is gone. Reads caches only. True while something is stopping or
/// going: only time shows that it hangs.
///
/// # Errors
/// [`Pass`], after every other listing was tried.
pub async fn tell(context: &Context, uids: &BTreeSet<String>, now: Timestamp) -> Result<bool, Pass> {
    let bound = context.catalogue.namespaces.bound();
    let (mut wanted, mut outcome, mut unfinished) = (BTreeSet::new(), Ok(()), false);
    for uid in uids {
        let (cost, trouble) = {
            let memory = context.memory.lock();
            (memory.kept.get(uid).cloned(), memory.archives.get(uid).and_then(|(_, why)| why.clone()))
        };
        let Some(kept) = Kept::of(&context.seen(uid), cost) else { continue };
        unfinished |= kept.going.is_some() || !kept.runs.is_empty();
        let kept = Kept { trouble, ..kept };
        let Some(namespace) = home(&kept.record, &bound) else {
            tracing::debug!(
                order.uid = uid,
                "no namespace of tenant {} lists what it keeps",
                kept.record.tenant
            );
            continue;
        };
        wanted.insert((namespace.clone(), kept.cluster.name.clone()));
        if let Err(error) = one(context, &kept, &namespace, now).await {
            outcome = Err(error);
        }
    }
    for listing in context.orders.retained.state() {
        if wanted.contains(&(listing.namespace().unwrap_or_default(), listing.name_any())) {
            continue;
        }
        let seen = context.seen(&listing.spec.order_uid);
        let goes = uids.contains(&listing.spec.order_uid) && cluster_key(&seen).is_none();
        if !goes || seen.claim_names().is_empty() {
            apply::listings::unlist(&context.client, &*listing).await?;
            continue;
        }
        unfinished = true;
        let old = listing.status.clone().unwrap_or_default();
        let told = remainder(&old, &seen, listing.metadata.generation.unwrap_or(1), now);
        if told != old {
            let (namespace, name) = (listing.namespace().unwrap_or_default(), listing.name_any());
            let of = (namespace.as_str(), name.as_str(), listing.metadata.uid.as_deref());
            apply::listings::status::<RetainedInstance>(&context.client, of, &told).await?;
        }
    }
    outcome.map(|()| unfinished)
}

async fn one(context: &Context, kept: &Kept, namespace: &str, now: Timestamp) -> Result<(), Pass> {
    let key = ObjectRef::<RetainedInstance>::new(&kept.cluster.name).within(namespace);
    let Some(known) = context.orders.retained.get(&key) else {
        let Some(fresh) = listing(kept, namespace) else { return Ok(()) };
        // Its event brings the next look, which tells the rest.
        return Ok(apply::listings::list(&context.client, &fresh).await?);
    };
    let old = known.status.clone().unwrap_or_default();
    let told = status(kept, &old, known.metadata.generation.unwrap_or(1), now);
    if told == old {
        return Ok(());
    }
    let of = (namespace, kept.cluster.name.as_str(), known.metadata.uid.as_deref());
    apply::listings::status::<RetainedInstance>(&context.client, of, &told).await?;
    let earlier = old.warned_days.unwrap_or(i32::MAX);
    if let (Some(days), Some(end)) = (told.warned_days, &told.expires)
        && days < earlier
    {
        let name = &kept.record.name;
        let note =
            format!("the data of {name} is removed for ever after {end}: restore it into a new order before");
        apply::listings::warn(&context.recorder, &known, reason::EXPIRING, &note).await;
    }
    Ok(())
}

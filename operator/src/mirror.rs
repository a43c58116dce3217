//! Kept data as its ministry sees it: one `RetainedInstance` for each, in a namespace of the tenant.
//!
//! It is a mirror. The truth is on the engine's object; a listing that is gone is made again, and what it asks for is done only
//! after the API server itself was asked (`retained`).

use crate::apply;
use crate::condition::{Say, kind, merge, reason};
use crate::context::Context;
use crate::deletion::{cluster_key, record};
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
use siyada_model::quantity::show_bytes;
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
    /// Whether it was ever backed up.
    pub archived: bool,
    /// What it costs, as the ledger said.
    pub cost: Option<Cost>,
}

impl Kept {
    /// Reads it from what was seen; nothing where no data is kept.
    pub fn of(seen: &Seen, cost: Option<Cost>) -> Option<Self> {
        let cluster = cluster_key(seen)?;
        let object = seen.children.get(&cluster)?;
        metadata(object, "labels", RETAINED)?;
        let names = Names { engine: cluster.namespace.clone(), cluster: cluster.name.clone() };
        Some(Self {
            record: record(seen, &cluster)?,
            since: metadata(object, "annotations", RETAINED_SINCE).and_then(|text| text.parse().ok()),
            bytes: seen.volumes().iter().map(|v| v.held_bytes.max(v.asked_bytes)).sum(),
            archived: seen.get(ChildKind::Secret, &names.engine, &names.store_secret()).is_some(),
            cluster,
            cost,
        })
    }

    /// When it is removed by itself, if ever.
    pub fn expires(&self) -> Option<Timestamp> {
        expires(self.since, self.record.retained_days)
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
    let restore = if kept.archived {
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
    let text = |time: Option<Timestamp>| time.map(|t| t.to_string());
    let data = if kept.archived { "volume and backups" } else { "volume" };
    RetainedInstanceStatus {
        observed_generation: Some(generation),
        data: Some(data.to_owned()),
        storage: Some(show_bytes(kept.bytes)),
        kept_since: text(kept.since),
        expires: text(expires),
        cost: kept.cost.clone().or_else(|| old.cost.clone()),
        restore: Some(restore.2.clone()),
        discard: Some(format!("set spec.discard to {}: its data is removed for ever", kept.record.name)),
        warned_days: due,
        conditions: merge(&old.conditions, says.to_vec(), generation, now),
    }
}

/// Whether a listing asks for the removal of this data.
pub fn discards(listing: &RetainedInstance, record: &Record) -> bool {
    let spec = &listing.spec;
    spec.discard.as_deref() == Some(record.name.as_str()) && spec.order_uid == record.uid.as_str()
}

/// Brings the listings up to date, and takes off those whose data is gone. Reads caches only.
///
/// # Errors
/// [`Pass`], after every other listing was tried.
pub async fn tell(context: &Context, uids: &BTreeSet<String>, now: Timestamp) -> Result<(), Pass> {
    let bound = context.catalogue.namespaces.bound();
    let (mut wanted, mut outcome) = (BTreeSet::new(), Ok(()));
    for uid in uids {
        let cost = context.memory.lock().kept.get(uid).cloned();
        let Some(kept) = Kept::of(&context.seen(uid), cost) else { continue };
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
        if !wanted.contains(&(listing.namespace().unwrap_or_default(), listing.name_any())) {
            apply::listings::unlist(&context.client, &*listing).await?;
        }
    }
    outcome
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

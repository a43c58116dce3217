//! Force: a deletion that is blocked is finished by somebody of the platform, whatever it leaves.
//!
//! Nothing is removed by it. The account is closed, the quota given back, what is left is noted and told to the ledger's audit
//! trail with who wanted it and why, and the order goes. It waits for the ledger: what it does not know is neither billed on nor
//! lost. The notes are in a ConfigMap of the platform, one for each order, written before anything else is done: a crash changes
//! neither the moment nor the list, and the sweep knows by them what is not kept data.

use crate::apply;
use crate::breaker::{self, Verdict};
use crate::condition::{kind, reason, whole_second};
use crate::context::Context;
use crate::deletion::{self, is_going};
use crate::ledger::Ledger;
use crate::metering::{METERS, stopped};
use crate::names;
use crate::object::{ChildKind, Key};
use crate::order::{Order, OrderResource};
use crate::reconcile::{Pass, report};
use crate::retained;
use crate::seen::Seen;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, ListParams};
use kube::runtime::controller::Action;
use serde_json::Value;
use siyada_model::act::{
    ForcedDeletion, LONGEST_NAME, LONGEST_REASON, LeftObject, MOST_FINALIZERS, MOST_LEFT, PlatformAct,
    fitting,
};
use siyada_model::id::TenantName;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Annotation on an order that is being deleted: its uid, as somebody of the platform repeats it. A policy holds who may.
pub const FORCE: &str = "siyada.cloud/force-delete";
/// Annotation beside it: why, in a sentence.
pub const REASON: &str = "siyada.cloud/force-delete-reason";
/// The ConfigMap of the notes, in the platform's namespace: a key for each order.
pub const NAME: &str = "siyada-forced-deletions";
/// What the engine holds data or runs with comes first among what is left.
const KINDS: [ChildKind; 9] = [
    ChildKind::Cluster,
    ChildKind::PersistentVolumeClaim,
    ChildKind::Pod,
    ChildKind::Deployment,
    ChildKind::ScheduledBackup,
    ChildKind::Backup,
    ChildKind::Service,
    ChildKind::NetworkPolicy,
    ChildKind::Secret,
];
/// While the order that was read is not the one that is there.
const SOON: Duration = Duration::from_secs(2);

/// That somebody of the platform wants an order to go, whatever it leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Who, as the API server stamped it.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Wish {
    /// The wish on an object: only with its own uid, with somebody who wishes it, and with a reason.
    pub fn of(meta: &ObjectMeta) -> Option<Self> {
        let annotations = meta.annotations.as_ref()?;
        let text = |key: &str| annotations.get(key).map(|text| text.trim()).filter(|text| !text.is_empty());
        if text(FORCE) != meta.uid.as_deref() {
            return None;
        }
        let (by, reason) = (text(names::DECIDED_BY)?, text(REASON)?);
        Some(Self { by: fitting(by, LONGEST_NAME), reason: fitting(reason, LONGEST_REASON) })
    }
}

/// What force may finish: a write or an object that hangs. Deletions that were stopped are confirmed, and an account that is not
/// closed is waited for.
const FORCEABLE: [&str; 3] = [reason::ENGINE_OBJECT_STAYS, reason::VOLUME_STAYS, reason::WRITE_FAILED];

/// What holds up the deletion of an order that force may finish, as the order was told; nothing where force does nothing.
pub fn due(order: &Order) -> Option<(&Wish, &Condition)> {
    let blocked = order.status.conditions.iter().find(|c| {
        c.type_ == kind::DELETION_BLOCKED && c.status == "True" && FORCEABLE.contains(&c.reason.as_str())
    });
    let (wish, blocked) = (order.force.as_ref()?, blocked?);
    (order.finalized && order.deletion.is_some()).then_some((wish, blocked))
}

/// What becomes of an order that is forced, noted before it is done. `retains` says whether its data was to be kept.
pub fn note(
    order: &Order,
    tenant: Option<TenantName>,
    retains: bool,
    found: Vec<LeftObject>,
    now: Timestamp,
) -> Option<ForcedDeletion> {
    let (wish, blocked) = due(order)?;
    // Data that nothing manages any more cannot be kept for anybody.
    let is_managed = found.iter().any(|object| object.kind == ChildKind::Cluster.to_string());
    let more_left = u32::try_from(found.len().saturating_sub(MOST_LEFT)).unwrap_or(u32::MAX);
    Some(ForcedDeletion {
        order_uid: order.uid.clone(),
        kind: order.at.kind.to_string(),
        namespace: order.at.namespace.clone(),
        name: order.at.name.clone(),
        tenant,
        by: wish.by.clone(),
        reason: wish.reason.clone(),
        at: whole_second(now),
        blocked: blocked.message.clone(),
        data_kept: retains && is_managed,
        left: found.into_iter().take(MOST_LEFT).collect(),
        more_left,
    })
}

/// An object as it is named among what is left.
pub fn left_object(kind: ChildKind, object: &DynamicObject) -> LeftObject {
    LeftObject {
        kind: kind.to_string(),
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        finalizers: object.finalizers().iter().take(MOST_FINALIZERS).cloned().collect(),
    }
}

/// What people are told of it, with the objects that hold anything.
pub fn sentence(note: &ForcedDeletion) -> String {
    let held = note.left.iter().filter(|object| !object.finalizers.is_empty()).take(3);
    let held: Vec<String> = held
        .map(|o| format!("{} {}/{} ({})", o.kind, o.namespace, o.name, o.finalizers.join(", ")))
        .collect();
    let count = u32::try_from(note.left.len()).unwrap_or(u32::MAX).saturating_add(note.more_left);
    let billed = if note.data_kept { "is kept and billed as kept data" } else { "is not billed any more" };
    let which = if held.is_empty() { String::new() } else { format!(", held: {}", held.join("; ")) };
    format!(
        "forced by {}: {}; {count} objects are left and what is left {billed}{which}",
        note.by, note.reason
    )
}

/// Finishes a deletion that is blocked and forced. Any number of times.
///
/// # Errors
/// [`Pass`]; the order stays then.
pub async fn carry_out<K: OrderResource>(order: &Order, context: &Context) -> Result<Action, Pass> {
    let api: Api<K> = Api::namespaced(context.client.clone(), &order.at.namespace);
    let live = api.get_opt(&order.at.name).await.map_err(|e| Pass::Look("the order", Box::new(e)))?;
    let live = live.as_ref().and_then(|object| Order::of(object).ok());
    let Some(live) = live.filter(|live| live.uid == order.uid && due(live).is_some()) else {
        return Ok(Action::requeue(SOON));
    };
    let tenant = deletion::tenant_of(&live, context);
    let note = match read(context).await?.0.remove(live.uid.as_str()) {
        Some(note) => note,
        None => {
            let retains = live.retains_data() || deletion::definition_is_going::<K>(context).await?;
            let found = look(context, &live, tenant.as_ref()).await?;
            let Some(note) = note(&live, tenant.clone(), retains, found, Timestamp::now()) else {
                return Ok(Action::requeue(SOON));
            };
            write(context, &note).await?;
            note
        }
    };
    if let Err(error) = close(&live, tenant.as_ref(), &note, context).await {
        if let Pass::Ledger(ledger) = &error {
            wait_for_the_ledger::<K>(&live, &note, ledger, context).await?;
        }
        return Err(error);
    }
    let told = sentence(&note);
    tracing::warn!(order.uid = %live.uid, "the deletion of order {} was {told}", live.at.name);
    apply::event::<K>(&context.recorder, &live, true, "DeletionForced", &told).await;
    deletion::forget(&live, context);
    apply::finalizer::<K>(&context.client, &live, false).await?;
    Ok(Action::await_change())
}

/// What an order that is forced says while the ledger is away: what held it up, that it is forced, and what it waits for.
pub fn waiting(order: &Order, note: &ForcedDeletion, error: &Ledger) -> Option<crate::check::Refusal> {
    let (_, blocked) = due(order)?;
    let reason = FORCEABLE.into_iter().find(|reason| *reason == blocked.reason)?;
    let message = format!(
        "{}; {} forced it, and it goes once the ledger has closed its account: {error}",
        note.blocked, note.by
    );
    Some(crate::check::Refusal { reason, message })
}

async fn wait_for_the_ledger<K: OrderResource>(
    order: &Order,
    note: &ForcedDeletion,
    error: &Ledger,
    context: &Context,
) -> Result<(), Pass> {
    match waiting(order, note, error) {
        Some(blocked) => deletion::tell::<K>(order, Some(blocked), context).await,
        None => Ok(()),
    }
}

/// What the API server has of an order, in the engine namespace of its tenant.
async fn look(
    context: &Context,
    order: &Order,
    tenant: Option<&TenantName>,
) -> Result<Vec<LeftObject>, Pass> {
    let from_status = order.status.engine_ref.as_ref().map(|engine| engine.namespace.clone());
    let Some(engine) = from_status.or_else(|| tenant.map(names::engine_namespace)) else {
        return Ok(Vec::new());
    };
    let selector = ListParams::default().labels(&format!("{}={}", names::ORDER_UID, order.uid));
    let mut all = Vec::new();
    for kind in KINDS {
        let api: Api<DynamicObject> =
            Api::namespaced_with(context.client.clone(), &engine, &kind.api_resource());
        let found = api.list(&selector).await.map_err(|e| Pass::Look("what an order leaves", Box::new(e)))?;
        all.extend(found.items.iter().map(|object| left_object(kind, object)));
    }
    Ok(all)
}

/// Closes the account of an order that is there, and puts on record that it was forced.
async fn close(
    order: &Order,
    tenant: Option<&TenantName>,
    note: &ForcedDeletion,
    context: &Context,
) -> Result<(), Pass> {
    if let Some(tenant) = tenant {
        deletion::close_running(order, tenant, context).await?;
    }
    if note.data_kept {
        let seen = context.seen(order.uid.as_str());
        retained::account(context, &seen).await?;
        context.ledger.tell(&PlatformAct::ForceDelete(note.clone())).await?;
        return Ok(());
    }
    account(note, context).await?;
    Ok(())
}

/// Nothing of what was forced is billed or held, and the trail says who did it. Told again it changes nothing.
async fn account(note: &ForcedDeletion, context: &Context) -> Result<(), Ledger> {
    if let Some(tenant) = &note.tenant {
        let ended = |meter| stopped(&note.order_uid, tenant, meter, None, "Forced");
        report(context, METERS.map(ended).to_vec()).await?;
    }
    context.ledger.release(&note.order_uid).await?;
    if let Some(tenant) = &note.tenant {
        context.figures.touch(tenant.as_str());
    }
    context.ledger.tell(&PlatformAct::ForceDelete(note.clone())).await
}

/// What the ConfigMap holds: the notes by uid of their order, and its version where it is there. One that cannot be read counts
/// for nothing: its order is not let go by it, and what is left is kept data.
async fn read(context: &Context) -> Result<(BTreeMap<String, ForcedDeletion>, Option<String>), Pass> {
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &context.config.namespace);
    let look = |e| Pass::Look("the notes of forced deletions", Box::new(e));
    let Some(there) = api.get_opt(NAME).await.map_err(look)? else { return Ok((BTreeMap::new(), None)) };
    let version = there.resource_version();
    Ok((notes(there.data.unwrap_or_default()), version))
}

/// The notes that can be read and are about the order of their key.
pub fn notes(data: BTreeMap<String, String>) -> BTreeMap<String, ForcedDeletion> {
    let read = |(uid, text): (String, String)| {
        let note: ForcedDeletion = serde_json::from_str(&text).ok()?;
        (note.order_uid.as_str() == uid).then_some((uid, note))
    };
    data.into_iter().filter_map(read).collect()
}

/// The notes of orders of which nothing is left: they need not be kept.
pub fn outdated<'a>(
    notes: &'a BTreeMap<String, ForcedDeletion>,
    there: &BTreeSet<String>,
) -> impl Iterator<Item = &'a String> {
    notes.keys().filter(|uid| !there.contains(*uid))
}

/// Notes what is forced, and takes off what is done with.
async fn write(context: &Context, note: &ForcedDeletion) -> Result<(), Pass> {
    let (notes, version) = read(context).await?;
    let living = context.orders.all().into_iter().map(|order| order.uid.to_string());
    let there = context.cache.orders().into_iter().map(|(uid, _)| uid).chain(living).collect();
    let mut data: BTreeMap<&str, Value> =
        outdated(&notes, &there).map(|uid| (uid.as_str(), Value::Null)).collect();
    let text = serde_json::to_string(note).unwrap_or_default();
    data.insert(note.order_uid.as_str(), text.into());
    let data = serde_json::json!(data);
    apply::deletions::note(&context.client, &context.config.namespace, (NAME, &data), version).await?;
    Ok(())
}

/// The notes of what was forced and is not kept data; the API server is asked only where something has no order.
///
/// # Errors
/// [`Pass::Look`] when it does not answer.
pub async fn abandoned(
    context: &Context,
    living: &BTreeSet<String>,
) -> Result<BTreeMap<String, ForcedDeletion>, Pass> {
    if context.cache.orders().iter().all(|(uid, _)| living.contains(uid)) {
        return Ok(BTreeMap::new());
    }
    let mut notes = read(context).await?.0;
    notes.retain(|_, note| !note.data_kept);
    Ok(notes)
}

/// Deals with what a forced order left: it is not billed, and goes when what held it lets it.
///
/// # Errors
/// [`Pass`], after what could be done.
pub async fn leftover(context: &Context, note: &ForcedDeletion) -> Result<(), Pass> {
    let uid = note.order_uid.as_str();
    let seen = context.seen(uid);
    let rest: Vec<String> = seen.children.keys().map(ToString::to_string).collect();
    tracing::warn!(
        order.uid = uid,
        "{} {}/{} was let go by {} at {} and leaves, billed to nobody: {}",
        note.kind,
        note.namespace,
        note.name,
        note.by,
        note.at,
        rest.join(", ")
    );
    // A ledger that was restored since may know of none of it.
    if !context.memory.lock().forced.contains(uid) {
        account(note, context).await?;
        context.memory.lock().forced.insert(uid.to_owned());
    }
    for (key, object_uid) in removable(&seen, note) {
        let is_data = key.kind == ChildKind::Cluster;
        if is_data && breaker::judge(context, uid, Timestamp::now()).await? != Verdict::Through {
            continue;
        }
        if let Err(error) = apply::remove(&context.client, &key, Some(&object_uid)).await {
            tracing::warn!(order.uid = uid, error = %error, "{key} is not removed yet");
        }
    }
    Ok(())
}

/// What a forced order left and nobody told to go: the engine's object if it is the very one that was noted, and the rest once
/// it and the volumes are gone.
pub fn removable(seen: &Seen, note: &ForcedDeletion) -> Vec<(Key, String)> {
    let untold = |(key, object): (&Key, &std::sync::Arc<Value>)| {
        let uid = object.pointer("/metadata/uid")?.as_str()?.to_owned();
        (!is_going(object)).then(|| (key.clone(), uid))
    };
    let noted = |uid: &str| note.left.iter().any(|left| left.uid == uid);
    match deletion::cluster_key(seen) {
        Some(cluster) => {
            let found = seen.children.get_key_value(&cluster).and_then(untold);
            found.into_iter().filter(|(_, uid)| noted(uid)).collect()
        }
        None if !seen.claim_names().is_empty() => Vec::new(),
        None => seen.children.iter().filter_map(untold).collect(),
    }
}

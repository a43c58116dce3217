//! The end of an order: usage closed, data kept or removed, quota given back, each step provable and repeatable.

use crate::apply;
use crate::archive::Archive;
use crate::archives::{self, Before};
use crate::breaker::{self, Verdict};
use crate::check::Refusal;
use crate::condition::reason;
use crate::context::Context;
use crate::force;
use crate::ledger::Ledger;
use crate::metering::{RUNNING, stopped};
use crate::names::ORDER_RECORD;
use crate::object::{ChildKind, Key};
use crate::order::{Order, OrderResource};
use crate::reconcile::{Pass, report};
use crate::retained::{self, Record};
use crate::seen::{Seen, metadata};
use crate::status;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::runtime::controller::Action;
use serde_json::Value;
use siyada_model::id::TenantName;
use siyada_model::usage::Meter;
use std::time::Duration;

/// While the engine removes its objects; its events come sooner.
const AGAIN: Duration = Duration::from_secs(15);

/// The engine may take so long to remove its object: it ends connections first, and a node may have to be waited for.
pub const ENGINE_DEADLINE: SignedDuration = SignedDuration::from_mins(5);
/// A volume may take so long after it was told to go: the kubelet and the storage driver each have a part in it.
pub const VOLUME_DEADLINE: SignedDuration = SignedDuration::from_mins(5);
/// The ledger may be away for so long before the order says so.
pub const LEDGER_DEADLINE: SignedDuration = SignedDuration::from_mins(2);

/// One pass over an order that is being deleted.
///
/// # Errors
/// [`Pass`]; the controller tries again with back-off.
pub async fn pass<K: OrderResource>(order: &Order, context: &Context) -> Result<Action, Pass> {
    if force::due(order).is_some() {
        return force::carry_out::<K>(order, context).await;
    }
    let outcome = steps::<K>(order, context).await;
    let blocked = match &outcome {
        Err(Pass::Ledger(error)) => ledger_blocks(order, error, Timestamp::now()),
        Err(Pass::Write(error)) => write_blocks(order, error, Timestamp::now()),
        _ => None,
    };
    if let Some(blocked) = blocked {
        tell::<K>(order, Some(blocked), context).await?;
    }
    outcome
}

/// What the order says when something has refused to be stopped or removed for as long as the engine may take.
pub fn write_blocks(order: &Order, error: &apply::Apply, now: Timestamp) -> Option<Refusal> {
    let late = now.duration_since(order.deletion?) >= ENGINE_DEADLINE;
    late.then(|| Refusal {
        reason: reason::WRITE_FAILED,
        message: format!("{error}; it is tried again by itself: ask the platform to look at it"),
    })
}

/// What the order says when the ledger has not closed its account in time. Its data and its finalizer stay meanwhile.
pub fn ledger_blocks(order: &Order, error: &Ledger, now: Timestamp) -> Option<Refusal> {
    let late = now.duration_since(order.deletion?) >= LEDGER_DEADLINE;
    late.then(|| Refusal {
        reason: reason::LEDGER_UNAVAILABLE,
        message: format!("its account is not closed: {error}; it is tried again by itself"),
    })
}

/// What has not gone in time and what holds it, by the API server's own stamps. Nothing while every step is within its
/// deadline.
pub fn blocked(order: &Order, seen: &Seen, now: Timestamp) -> Option<Refusal> {
    if let Some(cluster) = cluster_key(seen) {
        let object = seen.children.get(&cluster)?;
        // Removed by our own call: until it is stamped, that call is what fails, and says so itself.
        let since = told_to_go(object)?;
        let late = now.duration_since(since) >= ENGINE_DEADLINE;
        return late.then(|| stays(reason::ENGINE_OBJECT_STAYS, &cluster, object, since));
    }
    volume_stays(seen, order.deletion, now)
}

/// The first volume that has not gone in time; one that was not told to go counts from `untold`.
pub fn volume_stays(seen: &Seen, untold: Option<Timestamp>, now: Timestamp) -> Option<Refusal> {
    let mut claims = seen.children.iter().filter(|(key, _)| key.kind == ChildKind::PersistentVolumeClaim);
    claims.find_map(|(key, claim)| {
        let since = told_to_go(claim).or(untold)?;
        let late = now.duration_since(since) >= VOLUME_DEADLINE;
        late.then(|| stays(reason::VOLUME_STAYS, key, claim, since))
    })
}

/// Whether an object was told to go.
pub fn is_going(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

/// When an object was told to go, by the API server's stamp.
pub fn told_to_go(object: &Value) -> Option<Timestamp> {
    object.pointer("/metadata/deletionTimestamp").and_then(Value::as_str)?.parse().ok()
}

/// What an object that stays says of itself.
pub(crate) fn stays(reason: &'static str, key: &Key, object: &Value, since: Timestamp) -> Refusal {
    let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    let names: Vec<&str> = finalizers.into_iter().flatten().filter_map(Value::as_str).collect();
    let told = is_going(object);
    let why = match (names.is_empty(), told) {
        (false, true) => {
            format!("was told to go at {since} and is held by its finalizers {}", names.join(", "))
        }
        (true, true) => format!("was told to go at {since} and is still there"),
        (_, false) => "was not told to go by the engine".to_owned(),
    };
    Refusal { reason, message: format!("{key} {why}: ask the platform to look at it") }
}

async fn steps<K: OrderResource>(order: &Order, context: &Context) -> Result<Action, Pass> {
    context.prober.forget(order.uid.as_str());
    crate::rotate::forget(context, order.uid.as_str());
    let uid = order.uid.as_str();
    context.further.keep_only(|login| crate::rotate::order_of(login) != Some(uid));
    if !order.finalized {
        context.sweep.notify_one();
        return Ok(Action::await_change());
    }
    let seen = context.seen(order.uid.as_str());
    let Some(cluster) = cluster_key(&seen) else {
        return finish_without_engine::<K>(order, &seen, context).await;
    };
    let record = record(&seen, &cluster);
    let retain = order.retains_data() || definition_is_going::<K>(context).await?;
    if let Some(record) = &record {
        close_running(order, &record.tenant, context).await?;
    }
    if retain {
        retained::settle(context, &cluster, &seen).await?;
        tracing::info!(order.uid = %order.uid, "kept the data of deleted order {}", order.at.name);
        forget(order, context);
        apply::finalizer::<K>(&context.client, order, false).await?;
        return Ok(Action::await_change());
    }
    let uid = seen.children.get(&cluster).and_then(|v| v.pointer("/metadata/uid")).and_then(Value::as_str);
    let going = seen.children.get(&cluster).is_some_and(|object| is_going(object));
    if !going {
        // Its spec may have changed since: the event of that brings the next pass.
        let Some(live) = live::<K>(order, context).await?.filter(|live| !live.retains_data()) else {
            return Ok(Action::requeue(AGAIN));
        };
        if let Before::Wait(why) =
            archives::before_removal(context, &live, (&cluster, &seen), Timestamp::now()).await?
        {
            tell::<K>(order, why, context).await?;
            return Ok(Action::requeue(AGAIN));
        }
        if let Verdict::Stopped(since) = breaker::judge(context, order.uid.as_str(), Timestamp::now()).await?
        {
            let message =
                breaker::sentence(context.config.deletions_at_most, since, &context.config.namespace);
            let stopped = Refusal { reason: reason::TOO_MANY_DELETIONS, message };
            tell::<K>(order, Some(stopped), context).await?;
            return Ok(Action::requeue(AGAIN));
        }
    }
    apply::remove(&context.client, &cluster, uid).await?;
    tell::<K>(order, blocked(order, &seen, Timestamp::now()), context).await?;
    Ok(Action::requeue(AGAIN))
}

/// The engine cluster of an order that is still there.
pub fn cluster_key(seen: &Seen) -> Option<Key> {
    seen.children.keys().find(|key| key.kind == ChildKind::Cluster).cloned()
}

/// What the engine object says of its order.
pub fn record(seen: &Seen, cluster: &Key) -> Option<Record> {
    let object = seen.children.get(cluster)?;
    serde_json::from_str(metadata(object, "annotations", ORDER_RECORD)?).ok()
}

/// What runs ends at the API server's stamp of the deletion; should it have begun later than that, then now. Without high
/// availability there are no standbys that could have an end of their own on record.
pub(crate) async fn close_running(order: &Order, tenant: &TenantName, context: &Context) -> Result<(), Pass> {
    let stamped = |meter: &Meter| *meter == Meter::COMPUTE || order.spec.high_availability;
    let end = |meter, at| stopped(&order.uid, tenant, meter, at, "Deleted");
    let stamped = RUNNING.into_iter().filter(stamped).map(|meter| end(meter, order.deletion));
    report(context, stamped.chain(RUNNING.map(|meter| end(meter, None))).collect()).await?;
    Ok(())
}

/// The order as the API server itself has it, while it is being deleted: nothing is removed on the word of a cache.
async fn live<K: OrderResource>(order: &Order, context: &Context) -> Result<Option<Order>, Pass> {
    let api: Api<K> = Api::namespaced(context.client.clone(), &order.at.namespace);
    let live = api.get_opt(&order.at.name).await.map_err(|e| Pass::Look("the order", Box::new(e)))?;
    let live = live.as_ref().and_then(|object| Order::of(object).ok());
    Ok(live.filter(|live| live.uid == order.uid && live.deletion.is_some()))
}

/// When the kind's definition itself is being removed, nobody asked for the data to go: it is kept.
pub(crate) async fn definition_is_going<K: OrderResource>(context: &Context) -> Result<bool, Pass> {
    let name = format!("{}.{}", K::plural(&()), K::group(&()));
    let api: Api<CustomResourceDefinition> = Api::all(context.client.clone());
    let found =
        api.get_opt(&name).await.map_err(|e| Pass::Look("the definition of the kind", Box::new(e)))?;
    Ok(found.is_none_or(|crd| crd.metadata.deletion_timestamp.is_some()))
}

/// The cluster is gone, or never was: wait for volumes, close everything, give the quota back, let the order go.
async fn finish_without_engine<K: OrderResource>(
    order: &Order,
    seen: &Seen,
    context: &Context,
) -> Result<Action, Pass> {
    let claims = seen.claim_names();
    if !claims.is_empty() {
        tell::<K>(order, blocked(order, seen, Timestamp::now()), context).await?;
        return Ok(Action::requeue(AGAIN));
    }
    let Some(live) = live::<K>(order, context).await? else { return Ok(Action::await_change()) };
    let left = archives::left(context, &live, seen, Timestamp::now()).await?;
    if let Some(tenant) = tenant_of(order, context) {
        close_running(order, &tenant, context).await?;
        let ended = if left.is_some() { &[Meter::STORAGE][..] } else { &[Meter::STORAGE, Meter::BACKUP] };
        let removed = ended.iter().map(|meter| stopped(&order.uid, &tenant, *meter, None, "Removed"));
        report(context, removed.collect()).await?;
    }
    match &left {
        // The sweep goes on with it.
        Some(note) => archives::settle(context, note).await?,
        None => context.ledger.release(&order.uid).await?,
    }
    if let Some(tenant) = tenant_of(order, context) {
        context.figures.touch(tenant.as_str());
    }
    for (key, object) in seen.children.iter().filter(|(_, object)| Archive::read(object).is_none()) {
        let uid = object.pointer("/metadata/uid").and_then(Value::as_str);
        apply::remove(&context.client, key, uid).await?;
    }
    let rest = if left.is_some() { "but for what is in the object store" } else { "with everything it had" };
    tracing::info!(order.uid = %order.uid, "order {} is gone, {rest}", order.at.name);
    forget(order, context);
    apply::finalizer::<K>(&context.client, order, false).await?;
    Ok(Action::await_change())
}

pub(crate) fn tenant_of(order: &Order, context: &Context) -> Option<TenantName> {
    let from_status = order.status.engine_ref.as_ref().and_then(|e| crate::names::tenant_of(&e.namespace));
    from_status.or_else(|| {
        let catalogue = context.catalogue.catalogue();
        crate::catalogue::tenant_name(catalogue.tenant_of(&order.at.namespace)?).ok()
    })
}

pub(crate) fn forget(order: &Order, context: &Context) {
    let mut memory = context.memory.lock();
    memory.forget(order.uid.as_str());
    // The mark of the namespace is reckoned anew at the next order's pass, or by the sweep.
    memory.protected.remove(&order.at.namespace);
    drop(memory);
    context.sweep.notify_one();
}

pub(crate) async fn tell<K: OrderResource>(
    order: &Order,
    blocked: Option<Refusal>,
    context: &Context,
) -> Result<(), Pass> {
    let told = status::deleting(order, blocked, Timestamp::now());
    apply::status::<K>(&context.client, order, &told).await?;
    Ok(())
}

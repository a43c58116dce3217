//! Compares what the ledger holds with the orders there are, and repairs both directions: at the start, which is every
//! new leader's too, every hour, and when the ledger was restored. It asks the API server only about what does not fit.

use crate::archives::namespace_is_there;
use crate::context::Context;
use crate::ledger::Ledger;
use crate::metering::{METERS, stopped};
use crate::names::{ARCHIVE, ORDER_UID, engine_namespace};
use crate::object::ChildKind;
use crate::order::{Kind, Order, OrderRef};
use crate::reconcile::{Pass, report};
use crate::retained::order_is_there;
use kube::api::{Api, DynamicObject, ListParams};
use siyada_model::wire::Reservation;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Between two sweeps.
const HOURLY: Duration = Duration::from_secs(3600);
/// After the start: the orders hold what they need first.
const SETTLE: Duration = Duration::from_secs(30);
/// After a fault.
const AGAIN: Duration = Duration::from_secs(60);

/// Sweeps until the process ends.
pub async fn run(context: Arc<Context>) {
    let mut wait = SETTLE;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            // The orders hold what they need first.
            () = context.compare.notified() => tokio::time::sleep(SETTLE).await,
        }
        wait = match sweep(&context).await {
            Ok(()) => HOURLY,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "reservations and orders cannot be compared; tried again soon"
                );
                AGAIN
            }
        };
    }
}

async fn sweep(context: &Context) -> Result<(), Pass> {
    // Before the ledger is read: what is held later than that is not missed, but what is new is.
    let held_before: BTreeSet<String> = context.memory.lock().held.keys().cloned().collect();
    let reservations = read(context).await?;
    let orders: BTreeMap<String, Order> =
        context.orders.all().into_iter().map(|order| (order.uid.to_string(), order)).collect();
    let children: BTreeSet<String> = context.cache.orders().into_iter().map(|(uid, _)| uid).collect();
    let mut released = 0_u64;
    for reservation in &reservations {
        let uid = reservation.order_uid.as_str();
        if orders.contains_key(uid) || children.contains(uid) || exists(context, reservation).await? {
            continue;
        }
        match release(context, reservation).await {
            Ok(()) => released += 1,
            // One that the ledger keeps must not keep the others.
            Err(error @ Ledger::Refused(_)) => {
                tracing::warn!(order.uid = uid, error = %error, "not released")
            }
            Err(error) => return Err(error.into()),
        }
    }
    let known: BTreeSet<&str> = reservations.iter().map(|r| r.order_uid.as_str()).collect();
    let missing = held_before.iter().filter(|uid| !known.contains(uid.as_str()));
    let mut again = 0_u64;
    for order in missing.filter_map(|uid| orders.get(uid)) {
        let uid = order.uid.as_str();
        tracing::warn!(
            order.uid = uid,
            "the ledger held nothing for order {}: it is held again",
            order.at.name
        );
        context.memory.lock().held.remove(uid);
        context.triggers.look_at(order.at.clone());
        again += 1;
    }
    context.metrics.repairs.get_or_create(&[("what", "held")]).inc_by(again);
    context.metrics.repairs.get_or_create(&[("what", "released")]).inc_by(released);
    tracing::info!(
        held = again,
        released,
        "compared {} reservations with {} orders: {again} held again, {released} released",
        reservations.len(),
        orders.len()
    );
    Ok(())
}

async fn read(context: &Context) -> Result<Vec<Reservation>, Pass> {
    let (mut all, mut token) = (Vec::new(), None);
    loop {
        let page = context.ledger.reservations(token.as_deref()).await?;
        all.extend(page.items);
        match page.next_page_token {
            Some(next) => token = Some(next),
            None => return Ok(all),
        }
    }
}

/// Whether the API server knows the order of a reservation, or an engine object, a volume or backups of it. Caches may be behind.
async fn exists(context: &Context, reservation: &Reservation) -> Result<bool, Pass> {
    let request = &reservation.request;
    let uid = reservation.order_uid.as_str();
    if let Some(kind) = Kind::parse(&request.kind) {
        let at = OrderRef { kind, namespace: request.namespace.clone(), name: request.name.clone() };
        if order_is_there(context, &at, uid).await? {
            return Ok(true);
        }
    }
    let engine = engine_namespace(&request.tenant);
    let selector = format!("{ORDER_UID}={uid}");
    for kind in [ChildKind::Cluster, ChildKind::PersistentVolumeClaim] {
        let api: Api<DynamicObject> =
            Api::namespaced_with(context.client.clone(), &engine, &kind.api_resource());
        let found = api.list(&ListParams::default().labels(&selector).limit(1)).await;
        if !found.map_err(|e| Pass::Look("what an order left", Box::new(e)))?.items.is_empty() {
            return Ok(true);
        }
    }
    has_archive(context, &engine, uid).await
}

/// Whether something of an order is noted to be in an object store. In a namespace that is gone nothing is, and nobody may ask.
async fn has_archive(context: &Context, engine: &str, uid: &str) -> Result<bool, Pass> {
    if !namespace_is_there(context, engine).await? {
        return Ok(false);
    }
    let notes: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), engine, &ChildKind::Secret.api_resource());
    let selector = format!("{ORDER_UID}={uid},{ARCHIVE}");
    let found = notes.list(&ListParams::default().labels(&selector).limit(1)).await;
    let found = found.map_err(|e| Pass::Look("what an order left", Box::new(e)))?;
    Ok(!found.items.is_empty())
}

/// Closes what may still be billed, as nothing is left that could be, and gives the quota back.
async fn release(context: &Context, reservation: &Reservation) -> Result<(), Ledger> {
    let request = &reservation.request;
    let ended = |meter| stopped(&reservation.order_uid, &request.tenant, meter, None, "Removed");
    tracing::warn!(
        order.uid = %reservation.order_uid,
        "the ledger held {} for {} {}/{} of tenant {}, which is gone with all it had: it is released",
        reservation.commitment.monthly_cost,
        request.kind,
        request.namespace,
        request.name,
        request.tenant
    );
    report(context, METERS.map(ended).to_vec()).await?;
    context.ledger.release(&reservation.order_uid).await?;
    context.memory.lock().held.remove(reservation.order_uid.as_str());
    context.figures.touch(request.tenant.as_str());
    Ok(())
}

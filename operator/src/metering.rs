//! What is billed, as facts about state. Pure; the reconciler sends what the ledger has not acknowledged yet.

use crate::check::{Valid, mib};
use crate::order::Order;
use crate::seen::Seen;
use jiff::Timestamp;
use siyada_model::id::{OrderUid, Sku, TenantName};
use siyada_model::usage::{Level, Meter};
use siyada_model::wire::UsageFact;

/// The facts of an order that is not being deleted.
///
/// Compute counts from the first login that worked; an outage does not stop it (that is the offering's to say), a
/// suspension does. Storage counts from the creation of the volumes.
pub fn facts(valid: &Valid, seen: &Seen, compute_is_open: bool) -> Vec<UsageFact> {
    let order = &valid.order;
    let mut facts = Vec::new();
    if order.spec.suspend {
        facts.push(stopped(&order.uid, &valid.tenant, Meter::COMPUTE, None, "Suspended"));
    } else if compute_is_open || seen.login == Some(Ok(())) {
        let level = Level { sku: valid.compute_sku.clone(), quantity: valid.instances };
        facts.push(fact(order, valid, Meter::COMPUTE, level, None, "Ready"));
    }
    facts.extend(storage(&order.uid, &valid.tenant, &valid.storage_sku, seen));
    facts
}

/// The storage of an order, from the volumes that are there; none while there are none.
pub fn storage(uid: &OrderUid, tenant: &TenantName, sku: &Sku, seen: &Seen) -> Option<UsageFact> {
    let volumes = seen.volumes();
    let bytes: i64 =
        volumes.iter().map(|v| if v.held_bytes > 0 { v.held_bytes } else { v.asked_bytes }).sum();
    let level = Level { sku: sku.clone(), quantity: mib(bytes) };
    (bytes > 0).then(|| UsageFact {
        order_uid: uid.clone(),
        tenant: tenant.clone(),
        meter: Meter::STORAGE,
        level: Some(level),
        at: None,
        since: volumes.first().and_then(|v| v.created),
        reason: "Volume".to_owned(),
    })
}

/// A meter that stopped: at a stamp of the API server, or now.
pub fn stopped(
    uid: &OrderUid,
    tenant: &TenantName,
    meter: Meter,
    at: Option<Timestamp>,
    reason: &str,
) -> UsageFact {
    UsageFact {
        order_uid: uid.clone(),
        tenant: tenant.clone(),
        meter,
        level: None,
        at,
        since: None,
        reason: reason.to_owned(),
    }
}

fn fact(
    order: &Order,
    valid: &Valid,
    meter: Meter,
    level: Level,
    since: Option<Timestamp>,
    reason: &str,
) -> UsageFact {
    UsageFact {
        order_uid: order.uid.clone(),
        tenant: valid.tenant.clone(),
        meter,
        level: Some(level),
        at: None,
        since,
        reason: reason.to_owned(),
    }
}

//! What is billed, as facts about state. Pure; the reconciler sends what the ledger has not acknowledged yet.

use crate::check::{Valid, mib};
use crate::condition::{is_true, kind};
use crate::retained::Record;
use crate::seen::Seen;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use siyada_model::id::{OrderUid, Sku, TenantName};
use siyada_model::usage::{Level, Meter};
use siyada_model::wire::UsageFact;

/// What ends when instances end.
pub const RUNNING: [Meter; 2] = [Meter::COMPUTE, Meter::STANDBY];
/// Every meter whose source is here.
pub const METERS: [Meter; 4] = [Meter::COMPUTE, Meter::STANDBY, Meter::STORAGE, Meter::BACKUP];

/// The facts of an order that is not being deleted.
///
/// Compute and standbys count from the first login that worked; an outage does not stop them (that is the offering's to
/// say), a suspension does. Storage counts from the creation of the volumes, and backups by the bytes that they were measured
/// to take in the store.
pub fn facts(valid: &Valid, seen: &Seen, backup_bytes: i64, compute_is_open: bool) -> Vec<UsageFact> {
    let order = &valid.order;
    let mut facts = Vec::new();
    if order.spec.suspend {
        facts.extend(RUNNING.map(|meter| stopped(&order.uid, &valid.tenant, meter, None, "Suspended")));
    } else if compute_is_open || seen.login == Some(Ok(())) {
        // A meter that is not in the plan any more is said to be stopped: who began before this operator knows.
        facts.extend(RUNNING.map(|meter| match valid.running.iter().find(|(of, _)| *of == meter) {
            Some((_, level)) => ready(valid, meter, level.clone()),
            None => stopped(&order.uid, &valid.tenant, meter, None, "NotInPlan"),
        }));
    }
    facts.extend(storage(&order.uid, &valid.tenant, &valid.storage_sku, seen));
    facts.push(backups(valid, backup_bytes));
    facts
}

/// What the backups take, where the plan has a price for it; a suspension does not end them. Also said where there are none:
/// who had some before this operator knows.
fn backups(valid: &Valid, bytes: i64) -> UsageFact {
    match &valid.backup_sku {
        Some(sku) if bytes > 0 => {
            let level = Level { sku: sku.clone(), quantity: mib(bytes) };
            UsageFact { reason: "Backups".to_owned(), ..ready(valid, Meter::BACKUP, level) }
        }
        Some(_) => stopped(&valid.order.uid, &valid.tenant, Meter::BACKUP, None, "NoBackups"),
        None => stopped(&valid.order.uid, &valid.tenant, Meter::BACKUP, None, "NotInPlan"),
    }
}

/// What the backups of an order that is gone take, where they are billed and were measured.
pub fn kept_backups(record: &Record, bytes: i64) -> Option<UsageFact> {
    let sku = record.backup_sku.clone().filter(|_| bytes > 0)?;
    Some(UsageFact {
        level: Some(Level { sku, quantity: mib(bytes) }),
        ..stopped(&record.uid, &record.tenant, Meter::BACKUP, None, "Backups")
    })
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
        metered_since: None,
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
        metered_since: None,
        reason: reason.to_owned(),
    }
}

/// Since when an order that is ready was metered, as its status says: what a restored ledger may have lost.
fn metered_since(conditions: &[Condition]) -> Option<Timestamp> {
    let since = conditions.iter().find(|c| c.type_ == kind::METERING_ACTIVE && c.status == "True")?;
    is_true(conditions, kind::READY).then_some(since.last_transition_time.0)
}

fn ready(valid: &Valid, meter: Meter, level: Level) -> UsageFact {
    UsageFact {
        order_uid: valid.order.uid.clone(),
        tenant: valid.tenant.clone(),
        meter,
        level: Some(level),
        at: None,
        since: None,
        metered_since: metered_since(&valid.order.status.conditions),
        reason: "Ready".to_owned(),
    }
}

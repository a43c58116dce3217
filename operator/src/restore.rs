//! Where the first data of an order comes from: which archive, from when, and whether that may be.

use crate::archive;
use crate::backup::{self, Backups, GENERATION, Source, bucket};
use crate::check::{Refusal, Valid};
use crate::condition::reason;
use crate::context::Context;
use crate::deletion::cluster_key;
use crate::major::{archive_at, recorded as recorded_change};
use crate::mirror::Kept;
use crate::names::Names;
use crate::order::{Kind, Order};
use crate::plan::backup::recorded;
use crate::plan::{major, major_of};
use crate::seen::Seen;
use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use siyada_crds::order::RestoreFrom;
use siyada_crds::{RetainedInstance, ServiceBackup};
use siyada_model::classification::Classification;
use siyada_model::id::OrderUid;
use siyada_model::quantity::{bytes, show_bytes};

fn impossible<T>(message: String) -> Result<T, Refusal> {
    Err(Refusal { reason: reason::RESTORE_IMPOSSIBLE, message })
}

/// The source of an order: as its engine object says, else as the order names it.
///
/// # Errors
/// A [`Refusal`] when there is no such archive, or this order may not have it.
pub fn source(valid: &Valid, seen: &Seen, context: &Context) -> Result<Option<Source>, Refusal> {
    let order = &valid.order;
    let names = Names::of(order, &valid.tenant);
    // What was restored once does not look for its source again, which may be gone.
    if let Some(cluster) = seen.cluster(&names) {
        return Ok(recorded(cluster));
    }
    let Some(from) = &order.spec.restore_from else { return Ok(None) };
    let Backups::On(policy) = &valid.backups else { return Ok(None) };
    let time: Option<Timestamp> = from.time.as_deref().and_then(|text| text.parse().ok());
    let Named { order_uid, backup_id, archive } = named(valid, from, time, context)?;
    if order_uid == order.uid {
        return impossible("an order cannot be restored from itself".to_owned());
    }
    // The first archive needs no name.
    let archive = archive.filter(|archive| archive != GENERATION);
    Ok(Some(Source {
        bucket: bucket(&policy.store, &order_uid),
        order_uid,
        archive,
        backup_id,
        time,
        all: false,
    }))
}

/// What an order names: whose archive, which one of it, and which backup.
struct Named {
    order_uid: OrderUid,
    archive: Option<String>,
    backup_id: Option<String>,
}

/// The engine reads data of its own major version only.
fn same_major(valid: &Valid, what: &str, has: Option<u32>) -> Result<(), Refusal> {
    match has.zip(major(&valid.image)) {
        Some((has, wanted)) if has != wanted => impossible(format!(
            "{what} holds data of major version {has}, and version {} is ordered: order with version {has}, and change the version \
             then",
            valid.order.spec.version
        )),
        _ => Ok(()),
    }
}

fn named(
    valid: &Valid,
    from: &RestoreFrom,
    time: Option<Timestamp>,
    context: &Context,
) -> Result<Named, Refusal> {
    match (&from.backup, &from.instance, &from.retained_instance) {
        (Some(name), ..) => of_backup(valid, name, context),
        (_, Some(name), _) => of_instance(valid, name, time, context),
        (.., Some(uid)) => of_retained(valid, uid, context),
        _ => impossible(
            "restoreFrom names nothing: name a backup, an instance or a retained instance".to_owned(),
        ),
    }
}

fn of_backup(valid: &Valid, name: &str, context: &Context) -> Result<Named, Refusal> {
    let order = &valid.order;
    let key = ObjectRef::<ServiceBackup>::new(name).within(&order.at.namespace);
    let Some(found) = context.orders.backups.get(&key) else {
        return impossible(format!(
            "there is no ServiceBackup {name} in {}: kubectl get sbk lists them",
            order.at.namespace
        ));
    };
    let kind = Kind::from(found.spec.instance.kind);
    if kind != order.at.kind {
        return impossible(format!("ServiceBackup {name} is of a {kind}: order that kind"));
    }
    let status = found.status.clone().unwrap_or_default();
    let phase = status.phase.as_deref().unwrap_or("Pending");
    let uid: Option<OrderUid> = status.order_uid.as_deref().and_then(|text| text.parse().ok());
    let (Some(uid), Some(id), "Completed") = (uid, status.backup_id, phase) else {
        return impossible(format!("ServiceBackup {name} is {phase}: wait for it, or choose another"));
    };
    if archive::note(&context.seen(uid.as_str())).is_some_and(|(_, note)| !note.archive.restorable()) {
        return impossible(format!("what the order of ServiceBackup {name} left is being removed"));
    }
    // Where the order is still there, its rules hold.
    let orders = context.orders.all();
    if let Some(origin) = orders.iter().find(|o| o.uid == uid) {
        fits(valid, origin)?;
    }
    same_major(
        valid,
        &format!("ServiceBackup {name}"),
        status.major_version.and_then(|n| n.try_into().ok()),
    )?;
    Ok(Named { order_uid: uid, archive: status.archive, backup_id: Some(id) })
}

fn of_instance(
    valid: &Valid,
    name: &str,
    time: Option<Timestamp>,
    context: &Context,
) -> Result<Named, Refusal> {
    let at = &valid.order.at;
    let same = |o: &Order| o.at.kind == at.kind && o.at.namespace == at.namespace && o.at.name == name;
    let Some(origin) = context.orders.all().into_iter().find(same) else {
        return impossible(format!("there is no {} {name} in {}", at.kind, at.namespace));
    };
    fits(valid, &origin)?;
    let seen = context.seen(origin.uid.as_str());
    let cluster = cluster_key(&seen).and_then(|key| seen.children.get(&key).cloned());
    if let Some(upgrade) = cluster.as_deref().and_then(recorded_change) {
        let found = archive_at(&upgrade, &backup::made(&seen), time);
        let (archive, major) = found.or_else(|why| impossible(format!("{name}: {why}")))?;
        same_major(valid, &format!("what {name} had at that moment"), Some(major))?;
        return Ok(Named { order_uid: origin.uid, archive: Some(archive), backup_id: None });
    }
    same_major(valid, name, cluster.as_deref().and_then(major_of))?;
    let first: Option<Timestamp> =
        origin.status.backup.as_ref().and_then(|b| b.first_recoverable.as_deref()?.parse().ok());
    let Some(first) = first else {
        return impossible(format!("{name} has no whole backup yet: its BackupHealthy says why"));
    };
    if time.is_some_and(|time| time < first) {
        return impossible(format!("{name} can be restored from {first} on: choose a later time"));
    }
    Ok(Named { order_uid: origin.uid, archive: None, backup_id: None })
}

fn of_retained(valid: &Valid, named: &str, context: &Context) -> Result<Named, Refusal> {
    let key = ObjectRef::<RetainedInstance>::new(named).within(&valid.order.at.namespace);
    let listed = context.orders.retained.get(&key).map(|listing| listing.spec.order_uid.clone());
    let uid = listed.as_deref().unwrap_or(named);
    let names = Names::of(&valid.order, &valid.tenant);
    let seen = context.seen(uid);
    let kept = Kept::of(&seen, None).filter(|kept| kept.cluster.namespace == names.engine);
    // Data of another tenant answers as absence does.
    let Some(kept) = kept.filter(|kept| kept.record.tenant == valid.tenant) else {
        return impossible(format!(
            "no data of a deleted order {uid} is kept for this tenant: kubectl get rti lists what is"
        ));
    };
    let record = &kept.record;
    if record.kind != valid.order.at.kind.as_str() {
        return impossible(format!("what is kept of {uid} is a {}: order that kind", record.kind));
    }
    if let Some(site) = record.site.as_ref().filter(|site| **site != valid.site) {
        return impossible(format!("what is kept of {uid} is archived at site {site}: order there"));
    }
    if kept.archive.is_some() && !kept.archived {
        return impossible(format!("what was kept of {uid} is being removed"));
    }
    if !kept.archived {
        return impossible(format!(
            "{uid} was never backed up, so only the platform can bring its volume back"
        ));
    }
    let cluster = seen.children.get(&kept.cluster);
    same_major(
        valid,
        &format!("what is kept of {uid}"),
        record.major.or_else(|| cluster.and_then(|cluster| major_of(cluster))),
    )?;
    Ok(Named { order_uid: record.uid.clone(), archive: record.archive.clone(), backup_id: None })
}

/// Whether an order may hold what another one holds: not less protected, not too small, and where its archive is.
fn fits(valid: &Valid, origin: &Order) -> Result<(), Refusal> {
    let name = &origin.at.name;
    let class = |order: &Order| Classification::from(order.spec.data_classification);
    if class(&valid.order) < class(origin) {
        return impossible(format!(
            "{name} holds data of class {}: order at least that class",
            class(origin)
        ));
    }
    if origin.status.site.as_deref().is_some_and(|site| site != valid.site) {
        return impossible(format!(
            "{name} is archived at site {}: order there",
            origin.status.site.as_deref().unwrap_or_default()
        ));
    }
    let held = origin.status.storage.as_deref().and_then(|text| bytes(text).ok()).unwrap_or(0);
    if valid.storage_bytes < held {
        return impossible(format!("{name} has {0}: order at least {0} of storage", show_bytes(held)));
    }
    Ok(())
}

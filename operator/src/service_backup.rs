//! Backups as people see them: what they asked for, and what the engine made, listed beside the order.

use crate::apply;
use crate::backup::{self, Made, Policy};
use crate::check::Valid;
use crate::condition::{Say, merge, reason};
use crate::context::Context;
use crate::major;
use crate::names::Names;
use crate::object::{ChildKind, Key};
use crate::object_store::{Store, StoreError};
use crate::order::Order;
use crate::reconcile::Pass;
use crate::seen::{Asked, Seen};
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::Value;
use siyada_crds::backup::{BackedUp, ServiceBackupSpec};
use siyada_crds::{ServiceBackup, ServiceBackupStatus};
use siyada_model::id::OrderUid;
use siyada_model::quantity::{self, MIB, show_bytes};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Label of a listed backup that the schedule made.
pub const LISTED: &str = "siyada.cloud/scheduled";

/// The listed backups of an order's name.
fn listed(order: &Order, context: &Context) -> Vec<Arc<ServiceBackup>> {
    let own = |b: &Arc<ServiceBackup>| {
        b.namespace().as_deref() == Some(&order.at.namespace)
            && b.spec.instance.name == order.at.name
            && b.spec.instance.kind == order.at.kind.backed_up()
    };
    context.orders.backups.state().into_iter().filter(own).collect()
}

fn phase(backup: &ServiceBackup) -> &str {
    backup.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

fn is_over(backup: &ServiceBackup) -> bool {
    matches!(phase(backup), "Completed" | "Failed" | "Skipped" | "Expired")
}

/// What people asked for and is not over yet.
pub fn asked(order: &Order, context: &Context) -> Vec<Asked> {
    if order.spec.suspend {
        return Vec::new();
    }
    let open = |b: &Arc<ServiceBackup>| {
        !is_over(b) && b.labels().get(LISTED).is_none() && b.metadata.deletion_timestamp.is_none()
    };
    let all = listed(order, context).into_iter().filter(open);
    all.filter_map(|b| Some(Asked { name: b.name_any(), uid: b.uid()? })).collect()
}

/// What the listed backups of an order take in the store, with the archive of changes as it was when the newest of them was
/// measured. One that was not measured yet counts from when it is.
pub fn bytes(uid: &OrderUid, context: &Context) -> i64 {
    let all = context.orders.backups.state();
    bytes_of(uid, all.iter().filter_map(|backup| backup.status.as_ref()))
}

/// The same, of listings.
pub fn bytes_of<'a>(uid: &OrderUid, all: impl Iterator<Item = &'a ServiceBackupStatus>) -> i64 {
    let whole = |status: &&ServiceBackupStatus| {
        status.order_uid.as_deref() == Some(uid.as_str()) && status.phase.as_deref() == Some("Completed")
    };
    let time = |text: &String| text.parse::<Timestamp>().ok();
    let (mut sum, mut newest) = (0_i64, (None, 0));
    for status in all.filter(whole) {
        let Some(size) = status.size.as_deref().and_then(|size| quantity::bytes(size).ok()) else { continue };
        sum = sum.saturating_add(size);
        let done = status.completed_at.as_ref().and_then(time);
        if let Some(archive) = status.archive_bytes.filter(|_| done >= newest.0) {
            newest = (done, archive);
        }
    }
    sum.saturating_add(newest.1)
}

/// The bucket of an order that is gone was removed: nothing that is listed of it can be restored any more.
///
/// # Errors
/// [`Pass`], after which it is done again.
pub async fn ended(context: &Context, uid: &str, now: Timestamp) -> Result<(), Pass> {
    let of = |b: &&Arc<ServiceBackup>| b.status.as_ref().and_then(|s| s.order_uid.as_deref()) == Some(uid);
    for backup in context.orders.backups.state().iter().filter(of) {
        if backup.labels().get(LISTED).is_some() {
            apply::listings::unlist(&context.client, &**backup).await?;
            continue;
        }
        let old = backup.status.clone().unwrap_or_default();
        let message = "its order is gone, and what it had in the object store was removed";
        let said = (Some(false), reason::BACKUP_EXPIRED, message.to_owned());
        let told = ServiceBackupStatus { phase: Some("Expired".to_owned()), ..old.clone() };
        let (namespace, generation) = (backup.namespace().unwrap_or_default(), backup.metadata.generation);
        tell(&namespace, &backup.name_any(), (&old, told), said, generation.unwrap_or(1), context, now)
            .await?;
    }
    Ok(())
}

/// Lists what the engine made, tells what became of what was asked, and takes off what has expired.
///
/// # Errors
/// [`Pass`]; what was told stays told.
pub async fn list(
    order: &Order,
    valid: &Valid,
    seen: &Seen,
    context: &Context,
    now: Timestamp,
) -> Result<(), Pass> {
    let known: BTreeMap<String, Arc<ServiceBackup>> =
        listed(order, context).into_iter().map(|b| (b.name_any(), b)).collect();
    let made = backup::made(seen);
    if let Some(policy) = valid.backups.policy() {
        let names = Names::of(order, &valid.tenant);
        let upgrade = major::upgrade(seen, &names);
        let archives = major::archives(upgrade.as_ref());
        for made in &made {
            one(order, policy, (made, &archives), known.get(&made.listed_as), context, now).await?;
        }
        for made in backup::outlived(&made, policy, now) {
            let key = Key::new(ChildKind::Backup, &names.engine, &made.name);
            if let Some(object) = seen.children.get(&key) {
                let uid = object.pointer("/metadata/uid").and_then(Value::as_str);
                apply::remove(&context.client, &key, uid).await?;
            }
        }
    }
    for (name, listed) in &known {
        let is_made = made.iter().any(|made| made.listed_as == *name);
        if is_made || listed.metadata.deletion_timestamp.is_some() {
            continue;
        }
        left(order, valid, listed, context, now).await?;
    }
    Ok(())
}

/// A backup that the engine has.
async fn one(
    order: &Order,
    policy: &Policy,
    (made, archives): (&Made, &[String]),
    known: Option<&Arc<ServiceBackup>>,
    context: &Context,
    now: Timestamp,
) -> Result<(), Pass> {
    let old = known.and_then(|b| b.status.clone()).unwrap_or_default();
    if known.is_none() {
        // Somebody removed what he had asked for: the backup stays for its time, and nobody lists it again.
        if !made.scheduled && made.mark.is_none() {
            return Ok(());
        }
        let instance = BackedUp { kind: order.at.kind.backed_up(), name: order.at.name.clone() };
        let mut fresh = ServiceBackup::new(&made.listed_as, ServiceBackupSpec { instance });
        fresh.metadata.namespace = Some(order.at.namespace.clone());
        fresh.labels_mut().insert(LISTED.to_owned(), "true".to_owned());
        apply::listings::list(&context.client, &fresh).await?;
    }
    let (size, archive_bytes) = match (&old.size, &made.backup_id) {
        (None, Some(id)) if made.phase == "Completed" => {
            measure(order, policy, (made.archive(), id), archives, context).await.unzip()
        }
        (known, _) => (known.clone(), old.archive_bytes),
    };
    let text = |time: Option<Timestamp>| time.map(|t| t.to_string());
    let done = made.stopped.filter(|_| made.phase == "Completed");
    let ended = if made.phase == "Failed" { made.ended() } else { done };
    let said = match made.phase {
        "Completed" => (Some(true), reason::BACKUP_RECENT, "the backup is whole".to_owned()),
        "Failed" => {
            let why = backup::cause(made.error.as_deref());
            let next = match made.scheduled || made.mark.is_some() {
                true => "it is tried again by itself; a ServiceBackup tries it now",
                false => "make another ServiceBackup to try again",
            };
            (Some(false), reason::BACKUP_FAILED, format!("{why}; {next}"))
        }
        _ => (None, reason::BACKUP_PENDING, "the backup is being made".to_owned()),
    };
    let told = ServiceBackupStatus {
        phase: Some(made.phase.to_owned()),
        started_at: text(made.started),
        completed_at: text(done),
        size,
        archive_bytes,
        expires: text(ended.map(|ended| backup::expires(policy, ended))),
        order_uid: Some(order.uid.to_string()),
        backup_id: made.backup_id.clone(),
        major_version: made.major.and_then(|major| major.try_into().ok()).or(old.major_version),
        archive: made.archive.clone().or_else(|| old.archive.clone()),
        ..old.clone()
    };
    let generation = known.and_then(|b| b.metadata.generation).unwrap_or(1);
    tell(&order.at.namespace, &made.listed_as, (&old, told), said, generation, context, now).await
}

/// A listed backup that the engine does not have, or not yet.
async fn left(
    order: &Order,
    valid: &Valid,
    listed: &ServiceBackup,
    context: &Context,
    now: Timestamp,
) -> Result<(), Pass> {
    let old = listed.status.clone().unwrap_or_default();
    let expired = old.expires.as_deref().and_then(|t| t.parse::<Timestamp>().ok()).is_some_and(|t| t < now);
    if is_over(listed) {
        // Of an earlier order of this name nothing is known here.
        let own = old.order_uid.as_deref() == Some(order.uid.as_str());
        let is_listing = listed.labels().get(LISTED).is_some();
        match phase(listed) {
            "Completed" | "Failed" if own && expired && is_listing => {
                return Ok(apply::listings::unlist(&context.client, listed).await?);
            }
            "Completed" if own && expired => {}
            // A failure never was in the store, and tells whoever asked for it why.
            _ => return Ok(()),
        }
    }
    let (phase, said) = if expired {
        let message = "the engine has removed it from the store, as its days are over";
        ("Expired", (Some(false), reason::BACKUP_EXPIRED, message.to_owned()))
    } else if valid.backups.policy().is_none() {
        let (status, why, message) = backup::health(&valid.backups, &backup::Facts::default(), now);
        ("Failed", (status, why, message))
    } else if order.spec.suspend {
        let message = "the instance is suspended: set spec.suspend to false and make another ServiceBackup";
        ("Skipped", (Some(false), reason::SUSPENDED, message.to_owned()))
    } else {
        ("Pending", (None, reason::BACKUP_PENDING, "the backup was asked for".to_owned()))
    };
    let told = ServiceBackupStatus { phase: Some(phase.to_owned()), ..old.clone() };
    let generation = listed.metadata.generation.unwrap_or(1);
    tell(&order.at.namespace, &listed.name_any(), (&old, told), said, generation, context, now).await
}

/// Writes a status, if it differs.
async fn tell(
    namespace: &str,
    name: &str,
    (old, mut told): (&ServiceBackupStatus, ServiceBackupStatus),
    (status, reason, message): backup::Verdict,
    generation: i64,
    context: &Context,
    now: Timestamp,
) -> Result<(), Pass> {
    let say = Say { kind: crate::condition::kind::READY, status, reason, message };
    told.conditions = merge(&old.conditions, vec![say], generation, now);
    told.observed_generation = Some(generation);
    if told != *old {
        apply::listings::status::<ServiceBackup>(&context.client, (namespace, name, None), &told).await?;
    }
    Ok(())
}

/// What a backup takes, and the archive of changes beside it; nothing when the store does not say so now: the next pass asks again.
async fn measure(
    order: &Order,
    policy: &Policy,
    (archive, id): (&str, &str),
    archives: &[String],
    context: &Context,
) -> Option<(String, i64)> {
    let asked = async {
        let store = Store::of(&context.client, &context.config.namespace, &policy.store).await?;
        Ok::<_, StoreError>((
            store.size(&order.uid, archive, id).await?,
            store.archive_size(&order.uid, archives).await?,
        ))
    };
    match asked.await {
        Ok((bytes, archive)) => Some((show_bytes(crate::check::mib(bytes).saturating_mul(MIB)), archive)),
        Err(error) => {
            tracing::warn!(order.uid = %order.uid, error = %error, "a backup of order {} was not measured", order.at.name);
            None
        }
    }
}

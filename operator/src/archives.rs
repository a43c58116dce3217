//! Makes last backups, and keeps, measures and removes what deleted orders have in the object store.
//!
//! What is decided is in `last_backup` and `archive`. The note in the engine namespace comes before the engine object goes, so that
//! nothing in a store is ever without somebody who pays for it and sees it. Before a bucket goes the API server itself is asked.

use crate::apply;
use crate::archive::{self, Archive, MARKED, Note, asks, bucket_of, reads};
use crate::backup::{self, bucket};
use crate::breaker::{self, Verdict};
use crate::check::{Refusal, check};
use crate::condition::{reason, whole_second};
use crate::context::Context;
use crate::deletion::record;
use crate::last_backup::{self, Facts, Fate, Step, USUAL_DAYS};
use crate::names::{BACKUP_BYTES, DRILL, LAST_BACKUP, MANAGED, Names, ORDER_RECORD, ORDER_UID};
use crate::object::{ChildKind, Key, Mode, Planned};
use crate::object_store::{Store, StoreError};
use crate::order::{Kind, Order};
use crate::plan::major_of;
use crate::reconcile::Pass;
use crate::retained::{self, REMOVE, Record, order_is_there};
use crate::seen::{Seen, metadata};
use crate::service_backup;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, ListParams};
use serde_json::{Value, json};
use siyada_crds::catalogue::ObjectStorage;
use siyada_crds::{DocumentStoreInstance, PostgresInstance, ServiceBackup};
use siyada_model::id::{OrderUid, TenantName};
use std::time::Duration;

/// A bucket that has more in it than is removed at once is gone on with so soon.
const MORE: Duration = Duration::from_secs(1);

/// What is next for an engine object that is to go with its data.
pub enum Before {
    /// It may.
    Go,
    /// Not yet; and what the order is told meanwhile.
    Wait(Option<Refusal>),
}

/// Takes the next step towards a last backup, and notes what the order has in the store before its engine object may go. `order` is
/// as the API server has it.
///
/// # Errors
/// [`Pass`]; the engine object stays then.
pub async fn before_removal(
    context: &Context,
    order: &Order,
    (key, seen): (&Key, &Seen),
    now: Timestamp,
) -> Result<Before, Pass> {
    let clusters = clusters(context, Some(&key.namespace));
    let live = clusters.get_opt(&key.name).await.map_err(|e| Pass::Look("the engine object", Box::new(e)))?;
    // One that is going was decided upon before.
    let stays = live.filter(|live| live.metadata.deletion_timestamp.is_none());
    let Some(cluster) = stays.and_then(|live| serde_json::to_value(live).ok()) else {
        return Ok(Before::Go);
    };
    let catalogue = context.catalogue.catalogue();
    let anew = || check(order, &catalogue, now).ok().map(|valid| Record::of(&valid));
    let Some(record) = record(seen, key).or_else(anew) else {
        return Ok(match bucket_of(&cluster) {
            None => Before::Go,
            Some(_) => Before::Wait(Some(Refusal {
                reason: reason::LAST_BACKUP_FAILED,
                message: format!(
                    "{key} does not say whose it is, so nobody could pay for its backups: ask the platform"
                ),
            })),
        });
    };
    let names = Names::at(key);
    let next = last_backup::next(&Facts::of(order, &record, seen, &cluster), now);
    let has_login = seen.get(ChildKind::Secret, &names.engine, &names.store_secret()).is_some();
    let record = with_site(record, order, has_login).with_newest(&backup::made(seen), &cluster);
    match next {
        Step::Wait(told) => Ok(Before::Wait(told)),
        Step::Begin(number, told) => {
            begin(context, order, (&names, &record.tenant), (number, seen)).await?;
            Ok(Before::Wait(told))
        }
        // It was backed up once, and is no more: what is left of that goes with it.
        Step::Go(fate) => match note_of(context, &record, Some(&cluster), fate.or_goes(has_login), now) {
            None => Ok(Before::Go),
            Some(note) if apply::archives::note(&context.client, &names, &note).await? => Ok(Before::Go),
            Some(_) => Ok(Before::Wait(None)),
        },
    }
}

/// Asks the engine for a last backup; the tries before the last one are taken off.
async fn begin(
    context: &Context,
    order: &Order,
    (names, tenant): (&Names, &TenantName),
    (number, seen): (u32, &Seen),
) -> Result<(), Pass> {
    let name = names.last_backup(&order.uid, number);
    let mut labels = crate::names::labels(&order.at, &order.uid, tenant);
    labels.insert(MANAGED, "true".to_owned());
    let body = json!({
        "apiVersion": "postgresql.cnpg.io/v1", "kind": "Backup",
        "metadata": {
            "namespace": names.engine, "name": name, "labels": labels, "annotations": {LAST_BACKUP: number.to_string()},
        },
        "spec": {"cluster": {"name": names.cluster}, "method": "barmanObjectStore"},
    });
    let key = Key::new(ChildKind::Backup, &names.engine, name);
    apply::make(&context.client, &Planned { key, mode: Mode::CreateOnly, body }).await?;
    tracing::info!(order.uid = %order.uid, "a last backup of deleted order {} is begun, try {number}", order.at.name);
    let number_of = |object: &Value| metadata(object, "annotations", LAST_BACKUP)?.parse::<u32>().ok();
    for (key, object) in seen.children.iter().filter(|(key, _)| key.kind == ChildKind::Backup) {
        if number_of(object).is_some_and(|of| of.saturating_add(1) < number) {
            apply::remove(&context.client, key, object.pointer("/metadata/uid").and_then(Value::as_str))
                .await?;
        }
    }
    Ok(())
}

/// A record with the site of its store, where it has a login from a time when it was backed up.
fn with_site(record: Record, order: &Order, has_login: bool) -> Record {
    let site = record.site.clone().or_else(|| order.status.site.clone().filter(|_| has_login));
    Record { site, ..record }
}

/// What is to be noted of an order's part of the store; nothing where none is known.
fn note_of(
    context: &Context,
    record: &Record,
    cluster: Option<&Value>,
    fate: Fate,
    now: Timestamp,
) -> Option<Note> {
    let known = cluster.and_then(bucket_of);
    let sites = context.catalogue.sites.state();
    let found = match (&record.site, &known) {
        (Some(name), _) => sites.iter().find(|site| site.name_any() == *name),
        // What an earlier version kept says only where its store is.
        (None, Some((_, endpoint))) => {
            let there = |store: &ObjectStorage| store.endpoint == *endpoint;
            sites.iter().find(|site| site.spec.object_storage.as_ref().is_some_and(there))
        }
        (None, None) => return None,
    };
    let store = found.and_then(|site| site.spec.object_storage.as_ref());
    let bucket = known.map(|(bucket, _)| bucket).or_else(|| Some(bucket(store?, &record.uid)))?;
    let site = record.site.clone().or_else(|| Some(found?.name_any())).unwrap_or_default();
    let bytes = service_backup::bytes(&record.uid, context);
    let archive = Archive::of(fate, &site, &bucket, bytes)?;
    let days = record.last_backup_days.unwrap_or(USUAL_DAYS);
    let major = record.major.or_else(|| cluster.and_then(major_of));
    let record = Record { retained_days: Some(days), site: Some(site), major, ..record.clone() };
    Some(Note { record, since: whole_second(now), archive })
}

/// Notes that what kept data has in the store goes with it. False: look again before the engine object goes.
///
/// # Errors
/// [`Pass`].
pub async fn discard(context: &Context, key: &Key, cluster: &Value, now: Timestamp) -> Result<bool, Pass> {
    let names = Names::at(key);
    let Some(record) =
        metadata(cluster, "annotations", ORDER_RECORD).and_then(|text| serde_json::from_str(text).ok())
    else {
        return Ok(true);
    };
    let Some(note) = note_of(context, &record, Some(cluster), Fate::Goes, now) else { return Ok(true) };
    Ok(apply::archives::note(&context.client, &names, &note).await?)
}

/// Takes off the note of an engine object that stays after all, as the API server has it: somebody chose to keep everything while
/// its order was being deleted.
///
/// # Errors
/// [`Pass`].
pub async fn keep_after_all(context: &Context, key: &Key) -> Result<(), Pass> {
    let names = Names::at(key);
    let live = clusters(context, Some(&key.namespace)).get_opt(&key.name).await;
    let live = live.map_err(|e| Pass::Look("the engine object", Box::new(e)))?;
    if live.is_some_and(|cluster| cluster.metadata.deletion_timestamp.is_none()) {
        let note = Key::new(ChildKind::Secret, &names.engine, names.archive());
        apply::remove(&context.client, &note, None).await?;
    }
    Ok(())
}

/// What an order whose engine object is gone has in the store, as the API server has it noted; it is noted now, if nobody did.
///
/// # Errors
/// [`Pass`]; the order stays then.
pub async fn left(
    context: &Context,
    order: &Order,
    seen: &Seen,
    now: Timestamp,
) -> Result<Option<Note>, Pass> {
    let valid = check(order, &context.catalogue.catalogue(), now).ok();
    let engine = order.status.engine_ref.as_ref();
    let names = engine.map(|engine| Names { engine: engine.namespace.clone(), cluster: engine.name.clone() });
    let names = names.or_else(|| valid.as_ref().map(|valid| Names::of(order, &valid.tenant)));
    let Some(names) = names else { return Ok(None) };
    let has_login = seen.get(ChildKind::Secret, &names.engine, &names.store_secret()).is_some();
    // What never had a part in the engine's namespace has none in the store; and in one that is gone nobody may look.
    let had_parts = has_login || engine.is_some();
    if !had_parts || !namespace_is_there(context, &names.engine).await? {
        return Ok(None);
    }
    if let Some(note) = noted(context, &names).await? {
        return Ok(Some(note));
    }
    let record = valid.as_ref().map(Record::of).map(|record| with_site(record, order, has_login));
    let Some(record) = record.filter(|record| record.site.is_some()) else {
        if has_login {
            tracing::warn!(
                order.uid = %order.uid,
                "nobody knows who pays for what order {} has in the object store: its bucket ends with its uid and stays",
                order.at.name
            );
        }
        return Ok(None);
    };
    let Some(note) = note_of(context, &record, None, last_backup::without_engine(order), now) else {
        return Ok(None);
    };
    apply::archives::note(&context.client, &names, &note).await?;
    noted(context, &names).await
}

/// Whether a namespace is there, as the API server has it.
///
/// # Errors
/// [`Pass::Look`] when it does not answer.
pub async fn namespace_is_there(context: &Context, name: &str) -> Result<bool, Pass> {
    let namespaces: Api<Namespace> = Api::all(context.client.clone());
    let found = namespaces.get_opt(name).await.map_err(|e| Pass::Look("a namespace", Box::new(e)))?;
    Ok(found.is_some())
}

/// The note, as the API server has it.
async fn noted(context: &Context, names: &Names) -> Result<Option<Note>, Pass> {
    Ok(live_note(context, names).await?.as_ref().and_then(Note::read))
}

async fn live_note(context: &Context, names: &Names) -> Result<Option<Value>, Pass> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &names.engine, &ChildKind::Secret.api_resource());
    let live = api
        .get_opt(&names.archive())
        .await
        .map_err(|e| Pass::Look("what is kept in the store", Box::new(e)))?;
    Ok(live.and_then(|live| serde_json::to_value(live).ok()))
}

/// What became of a look at an archive.
enum Progress {
    /// It stays as it is.
    Kept,
    /// It is looked at again after a while; and what its listing tells meanwhile.
    Later(Duration, Option<Refusal>),
    /// The store does not do it now.
    Failed(StoreError),
    /// Nothing of it is left.
    Gone,
}

/// Deals with what an order that is gone has in the store. True while it stays.
///
/// # Errors
/// [`Pass`]; what is left is looked at again.
pub async fn look(context: &Context, uid: &str, seen: &Seen, now: Timestamp) -> Result<bool, Pass> {
    let Some((names, note)) = archive::note(seen) else { return Ok(false) };
    settle(context, &note).await?;
    if context.memory.lock().archives.get(uid).is_some_and(|(until, _)| *until > now) {
        return Ok(true);
    }
    let backoff = format!("archive/{uid}");
    let (wait, told) = match step(context, &names, &note, now).await? {
        Progress::Kept => {
            context.backoff.clear(&backoff);
            context.memory.lock().archives.remove(uid);
            return Ok(true);
        }
        Progress::Gone => {
            context.backoff.clear(&backoff);
            context.memory.lock().archives.remove(uid);
            tracing::warn!(order.uid = uid, "bucket {} is gone, with its users", note.archive.bucket);
            service_backup::ended(context, uid, now).await?;
            retained::remove_rest(context, uid, seen).await?;
            return Ok(false);
        }
        Progress::Later(wait, None) => (wait, None),
        Progress::Later(_, told) => (context.backoff.failed(&backoff), told),
        Progress::Failed(error) => {
            tracing::warn!(order.uid = uid, error = %error, "bucket {} is not dealt with; it is tried again", note.archive.bucket);
            let going = !note.archive.keep || note.archive.removing.is_some();
            (context.backoff.failed(&backoff), going.then(|| away(&error)))
        }
    };
    let until = now.checked_add(wait).unwrap_or(Timestamp::MAX);
    context.memory.lock().archives.insert(uid.to_owned(), (until, told));
    sweep_after(context, wait);
    Ok(true)
}

fn away(error: &StoreError) -> Refusal {
    Refusal {
        reason: reason::BACKUP_STORE_UNAVAILABLE,
        message: format!(
            "the object store does not let its backups be removed: {error}; it is tried again by itself"
        ),
    }
}

fn sweep_after(context: &Context, wait: Duration) {
    let sweep = std::sync::Arc::clone(&context.sweep);
    tokio::spawn(async move {
        // A little more: the look must not come before its time.
        tokio::time::sleep(wait + Duration::from_millis(100)).await;
        sweep.notify_one();
    });
}

/// Bills and holds what it takes. Its compute and its volumes are gone.
///
/// # Errors
/// [`Pass`].
pub async fn settle(context: &Context, note: &Note) -> Result<(), Pass> {
    retained::settle_backups(context, &note.record, note.archive.bytes).await
}

async fn step(context: &Context, names: &Names, note: &Note, now: Timestamp) -> Result<Progress, Pass> {
    match note.archive.removing {
        Some(since) => {
            let rest = MARKED.checked_sub(now.duration_since(since)).unwrap_or_default();
            match Duration::try_from(rest) {
                Ok(rest) if !rest.is_zero() => Ok(Progress::Later(rest, None)),
                _ => remove(context, names, now).await,
            }
        }
        None if seems_unwanted(context, note, now) => mark(context, names, now).await,
        None if note.archive.keep && !note.archive.measured => measure(context, names, note).await,
        None => Ok(Progress::Kept),
    }
}

/// Whether the caches say that it should go. Only a hint; a mark of the platform is seen by whoever asks the API server.
fn seems_unwanted(context: &Context, note: &Note, now: Timestamp) -> bool {
    let expired =
        || crate::mirror::expires(Some(note.since), note.record.retained_days).is_some_and(|end| end <= now);
    let discarded =
        || context.orders.retained.state().iter().any(|l| crate::mirror::discards(l, &note.record));
    let uid = note.record.uid.as_str();
    let marked = |object: &Value| metadata(object, "annotations", REMOVE) == Some(uid);
    let asked = || context.seen(uid).children.values().any(|object| marked(object));
    !note.archive.keep || expired() || discarded() || asked()
}

/// Ends the users of what is kept, as nobody writes any more and a restore has a login of its own, and measures the whole bucket.
async fn measure(context: &Context, names: &Names, note: &Note) -> Result<Progress, Pass> {
    let asked = async {
        let site = store_of(context, &note.archive.site)?;
        let store = Store::of(&context.client, &context.config.namespace, &site).await?;
        store.end_users(&note.record.uid).await?;
        store.bytes(&note.archive.bucket, "").await
    };
    match asked.await {
        Err(error) => Ok(Progress::Failed(error)),
        Ok(bytes) => {
            let archive = Archive { bytes, measured: true, ..note.archive.clone() };
            let measured = Note { archive, ..note.clone() };
            let noted = apply::archives::note(&context.client, names, &measured).await?;
            // Its event brings the next look.
            Ok(if noted { Progress::Kept } else { Progress::Later(MORE, None) })
        }
    }
}

fn store_of(context: &Context, site: &str) -> Result<ObjectStorage, StoreError> {
    let sites = context.catalogue.sites.state();
    let found = sites.iter().find(|found| found.name_any() == site);
    found.and_then(|site| site.spec.object_storage.clone()).ok_or_else(|| {
        StoreError::Login(format!("Site {site:?} is not in the catalogue any more, or has no objectStorage"))
    })
}

/// Marks an archive as going, if the API server itself says that it should, and that nobody is being restored from it.
async fn mark(context: &Context, names: &Names, now: Timestamp) -> Result<Progress, Pass> {
    let Some(note) = confirmed(context, names, now).await? else { return Ok(Progress::Kept) };
    if let Some(who) = reader(context, names, &note, true).await? {
        return Ok(Progress::Later(MORE, Some(is_read(&who))));
    }
    let archive = Archive { removing: Some(whole_second(now)), ..note.archive.clone() };
    tracing::warn!(order.uid = %note.record.uid, "bucket {} is removed for ever", archive.bucket);
    let noted = apply::archives::note(&context.client, names, &Note { archive, ..note }).await?;
    let wait = Duration::try_from(MARKED).unwrap_or(MORE);
    Ok(Progress::Later(if noted { wait } else { MORE }, None))
}

fn is_read(who: &str) -> Refusal {
    Refusal {
        reason: reason::READ_BY_RESTORE,
        message: format!("{who} is being restored from it: it goes when that is done, or that order is gone"),
    }
}

/// The note as the API server has it, where it should go: it says so itself, or the platform, its listing or its end does; and no
/// order of its uid is there.
async fn confirmed(context: &Context, names: &Names, now: Timestamp) -> Result<Option<Note>, Pass> {
    let Some(live) = live_note(context, names).await? else { return Ok(None) };
    let Some(note) = Note::read(&live) else { return Ok(None) };
    let uid = note.record.uid.as_str();
    let Some(at) = note.record.at().filter(|_| metadata(&live, "labels", ORDER_UID) == Some(uid)) else {
        return Ok(None);
    };
    if order_is_there(context, &at, uid).await? {
        tracing::error!(order.uid = uid, "bucket {} is not removed: its order is there", note.archive.bucket);
        return Ok(None);
    }
    let own = !note.archive.keep || note.archive.removing.is_some();
    if own || metadata(&live, "annotations", REMOVE) == Some(uid) {
        return Ok(Some(note));
    }
    let key = Key::new(ChildKind::Cluster, &names.engine, &names.cluster);
    let Some(listing) = retained::listed(context, &note.record, &key).await? else { return Ok(None) };
    Ok(retained::unwanted(&note.record, Some(note.since), &listing, now).map(|_| note))
}

/// Who still needs the bucket, as the API server says: its own engine object, a drill, an engine object that is being made from it,
/// and, where `pending` orders count, one that asks to be and has none yet.
async fn reader(
    context: &Context,
    names: &Names,
    note: &Note,
    pending: bool,
) -> Result<Option<String>, Pass> {
    let all = clusters(context, None).list(&ListParams::default()).await;
    let all = all.map_err(|e| Pass::Look("engine objects", Box::new(e)))?;
    let uid = note.record.uid.as_str();
    let is =
        |object: &DynamicObject, label: &str| object.labels().get(label).map(String::as_str) == Some(uid);
    let mut made = std::collections::BTreeSet::new();
    for object in &all.items {
        made.extend(object.labels().get(ORDER_UID).cloned());
        let value = serde_json::to_value(object).unwrap_or(Value::Null);
        if is(object, ORDER_UID) || is(object, DRILL) || reads(&value, &note.archive.bucket) {
            return Ok(Some(format!(
                "Cluster {}/{}",
                object.namespace().unwrap_or_default(),
                object.name_any()
            )));
        }
    }
    let orders = if pending { pending_of(context, &note.record).await? } else { Vec::new() };
    for order in
        orders.iter().filter(|order| order.spec.restore_from.is_some() && !made.contains(order.uid.as_str()))
    {
        let of = whose_backup(context, order).await?;
        if asks(order, &note.record, &names.cluster, of.as_deref()) {
            return Ok(Some(format!("{} {}/{}", order.at.kind, order.at.namespace, order.at.name)));
        }
    }
    Ok(None)
}

/// Every order of the archive's kind: only such a one can be restored from it.
async fn pending_of(context: &Context, record: &Record) -> Result<Vec<Order>, Pass> {
    let look = |e| Pass::Look("the orders", Box::new(e));
    let (client, all) = (context.client.clone(), ListParams::default());
    Ok(match Kind::parse(&record.kind) {
        Some(Kind::Postgres) => {
            let found = Api::<PostgresInstance>::all(client).list(&all).await.map_err(look)?;
            found.iter().filter_map(|order| Order::of(order).ok()).collect()
        }
        Some(Kind::Documents) => {
            let found = Api::<DocumentStoreInstance>::all(client).list(&all).await.map_err(look)?;
            found.iter().filter_map(|order| Order::of(order).ok()).collect()
        }
        None => Vec::new(),
    })
}

/// The uid of the order whose backup an order is to be restored from.
async fn whose_backup(context: &Context, order: &Order) -> Result<Option<String>, Pass> {
    let Some(name) = order.spec.restore_from.as_ref().and_then(|from| from.backup.as_deref()) else {
        return Ok(None);
    };
    let backups: Api<ServiceBackup> = Api::namespaced(context.client.clone(), &order.at.namespace);
    let found = backups.get_opt(name).await.map_err(|e| Pass::Look("a backup", Box::new(e)))?;
    Ok(found.and_then(|backup| backup.status?.order_uid))
}

/// Removes what was marked, if nobody needs it by what the API server says, and not too much goes at once.
async fn remove(context: &Context, names: &Names, now: Timestamp) -> Result<Progress, Pass> {
    let Some(note) = confirmed(context, names, now).await?.filter(|note| note.archive.removing.is_some())
    else {
        return Ok(Progress::Later(MORE, None));
    };
    if let Some(who) = reader(context, names, &note, false).await? {
        return Ok(Progress::Later(MORE, Some(is_read(&who))));
    }
    let uid: &OrderUid = &note.record.uid;
    // What goes with its order or its volume was counted with it.
    let verdict = match note.archive.keep {
        true => breaker::judge(context, uid.as_str(), now).await?,
        false => breaker::look(context, now).await?,
    };
    if let Verdict::Stopped(since) = verdict {
        let message = breaker::sentence(context.config.deletions_at_most, since, &context.config.namespace);
        return Ok(Progress::Later(MORE, Some(Refusal { reason: reason::TOO_MANY_DELETIONS, message })));
    }
    let asked = async {
        let site = store_of(context, &note.archive.site)?;
        let store = Store::of(&context.client, &context.config.namespace, &site).await?;
        store.remove(uid, &note.archive.bucket).await
    };
    Ok(match asked.await {
        Ok(true) => Progress::Gone,
        Ok(false) => Progress::Later(MORE, None),
        Err(error) => Progress::Failed(error),
    })
}

/// Measures what an instance that was stopped for good has in the store, once, after its pods have ended: what they archived last
/// is there then.
///
/// # Errors
/// [`Pass`].
pub async fn measure_kept(context: &Context, key: &Key, seen: &Seen, now: Timestamp) -> Result<(), Pass> {
    let Some(cluster) = seen.children.get(key).filter(|_| seen.pods.is_empty()) else { return Ok(()) };
    let known = metadata(cluster, "annotations", BACKUP_BYTES).is_some();
    let Some(record) = record(seen, key).filter(|_| !known) else { return Ok(()) };
    let Some(note) = note_of(context, &record, Some(cluster), Fate::Stays(None), now) else { return Ok(()) };
    let uid = record.uid.as_str();
    if context.memory.lock().archives.get(uid).is_some_and(|(until, _)| *until > now) {
        return Ok(());
    }
    let asked = async {
        let site = store_of(context, &note.archive.site)?;
        let store = Store::of(&context.client, &context.config.namespace, &site).await?;
        store.bytes(&note.archive.bucket, "").await
    };
    match asked.await {
        Ok(bytes) => {
            context.backoff.clear(&format!("archive/{uid}"));
            context.memory.lock().archives.remove(uid);
            apply::archives::measured(&context.client, key, bytes).await?;
        }
        Err(error) => {
            tracing::warn!(order.uid = uid, error = %error, "the backups of {key} are not measured; it is tried again");
            let wait = context.backoff.failed(&format!("archive/{uid}"));
            let until = now.checked_add(wait).unwrap_or(Timestamp::MAX);
            context.memory.lock().archives.insert(uid.to_owned(), (until, None));
            sweep_after(context, wait);
        }
    }
    Ok(())
}

fn clusters(context: &Context, namespace: Option<&str>) -> Api<DynamicObject> {
    let (client, resource) = (context.client.clone(), ChildKind::Cluster.api_resource());
    match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    }
}

//! Data without an order: stopped, kept, billed and reported, until somebody removes it by name.
//!
//! The sweep reads caches only. It runs after the caches filled, when an order goes, when an engine object or a listing of kept
//! data changes, and every hour, as time alone brings an end near. Before data is removed the API server itself is asked.

use crate::apply;
use crate::archive::Archive;
use crate::backup::{GENERATION, Made, archive_of};
use crate::breaker::{self, Verdict};
use crate::check::{Valid, mib};
use crate::condition::whole_second;
use crate::context::Context;
use crate::deletion::{cluster_key, is_going, record};
use crate::force;
use crate::instances;
use crate::ledger::Ledger;
use crate::major::Upgrade;
use crate::metering::{self, stopped};
use crate::mirror;
use crate::names::{ARCHIVE, ENGINE, HIBERNATION, ORDER_RECORD, ORDER_UID, RETAINED, RETAINED_SINCE, TENANT};
use crate::object::{ChildKind, Key};
use crate::order::{Kind, OrderRef};
use crate::reconcile::{Pass, fingerprint, report};
use crate::seen::{Seen, metadata};
use crate::{archive, archives, service_backup, unwell};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use siyada_crds::RetainedInstance;
use siyada_crds::order::Cost;
use siyada_model::id::{OrderUid, Sku, TenantName};
use siyada_model::price::{Item, in_force};
use siyada_model::quantity::{MIB, show_bytes};
use siyada_model::resources::Resources;
use siyada_model::usage::Meter;
use siyada_model::wire::{Billing, ReservationRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Annotation that asks for the removal of kept data; its value is the order's uid.
pub const REMOVE: &str = "siyada.cloud/remove-data";
/// Label of the engine objects that are retained, as a selector.
const SELECTOR: &str = "siyada.cloud/retained=true";
/// After a fault.
const AGAIN: Duration = Duration::from_secs(30);
/// While something is stopping or going: only time shows that it hangs.
const UNFINISHED: Duration = Duration::from_secs(60);
/// An end that comes near is noticed so late at most.
const EVERY: Duration = Duration::from_secs(3600);

/// What an engine object says of its order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Kind of the order.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: OrderUid,
    /// Who pays.
    pub tenant: TenantName,
    /// Its plan.
    pub plan: String,
    /// Price key of its storage.
    pub storage_sku: Sku,
    /// Where it is booked.
    pub billing: Billing,
    /// Who ordered.
    pub requester: Option<String>,
    /// It is kept for so many days; absent: until somebody discards it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retained_days: Option<i32>,
    /// The site in whose store it is backed up; absent: it is not, or an earlier version wrote this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Price key of its backups, where they are billed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_sku: Option<Sku>,
    /// Its last backup is kept for so many days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_backup_days: Option<i32>,
    /// The archive with its whole backups; absent: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// Major version of the data in it; absent: nobody noted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major: Option<u32>,
}

impl Record {
    /// What the engine object of a valid order says. What says nothing new is left out, so that the objects of the landing before
    /// stay as they are.
    pub fn of(valid: &Valid) -> Self {
        let at = &valid.order.at;
        let backed_up = valid.backups.policy().is_some();
        Self {
            kind: at.kind.to_string(),
            namespace: at.namespace.clone(),
            name: at.name.clone(),
            uid: valid.order.uid.clone(),
            tenant: valid.tenant.clone(),
            plan: valid.plan.clone(),
            storage_sku: valid.storage_sku.clone(),
            billing: valid.billing.clone(),
            requester: valid.order.requester.clone(),
            retained_days: valid.retained_days,
            site: backed_up.then(|| valid.site.clone()),
            backup_sku: valid.backup_sku.clone().filter(|_| backed_up),
            last_backup_days: backed_up.then_some(valid.last_backup_days),
            archive: None,
            major: None,
        }
    }

    /// The same of an instance whose major version was changed, or is being changed.
    pub fn with(self, upgrade: Option<&Upgrade>) -> Self {
        let Some((archive, major)) = upgrade.map(Upgrade::restorable) else { return self };
        Self { archive: Some(archive.to_owned()), major: Some(major), ..self }
    }

    /// The same of an instance whose newest whole backup lies in another archive than the first: what is restored is that.
    pub fn with_newest(self, made: &[Made], cluster: &Value) -> Self {
        let archive = archive_of(Some(cluster));
        let whole = |made: &&Made| made.is_whole() && made.lies_in(archive) && archive != GENERATION;
        match made.iter().rfind(whole) {
            Some(newest) => {
                Self { archive: Some(archive.to_owned()), major: newest.major.or(self.major), ..self }
            }
            None => self,
        }
    }

    /// Where its order is, or was.
    pub fn at(&self) -> Option<OrderRef> {
        let kind = Kind::parse(&self.kind)?;
        Some(OrderRef { kind, namespace: self.namespace.clone(), name: self.name.clone() })
    }
}

/// Why kept data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The platform asked for it by name.
    Asked,
    /// Its ministry discarded it by name.
    Discarded,
    /// Its days are over, and that was told in time.
    Expired,
}

/// Stops an engine object, keeps its data, and shrinks its reservation to storage. Any number of times.
///
/// # Errors
/// [`Pass`].
pub async fn settle(context: &Context, cluster: &Key, seen: &Seen) -> Result<(), Pass> {
    let Some(object) = seen.children.get(cluster) else { return Ok(()) };
    let since: Option<Timestamp> =
        metadata(object, "annotations", RETAINED_SINCE).and_then(|text| text.parse().ok());
    if since.is_none()
        || metadata(object, "labels", RETAINED).is_none()
        || metadata(object, "annotations", HIBERNATION) != Some("on")
    {
        let now = Timestamp::now();
        apply::retain(&context.client, cluster, since.unwrap_or(whole_second(now))).await?;
    }
    for (key, schedule) in seen.children.iter().filter(|(key, _)| key.kind == ChildKind::ScheduledBackup) {
        let uid = schedule.pointer("/metadata/uid").and_then(Value::as_str);
        apply::remove(&context.client, key, uid).await?;
    }
    for (key, gateway) in seen.children.iter().filter(|(key, _)| key.kind == ChildKind::Deployment) {
        if gateway.pointer("/spec/replicas").and_then(Value::as_i64) != Some(0) {
            apply::scale_to_zero(&context.client, key).await?;
        }
    }
    account(context, seen).await
}

/// The account of kept data: its storage is billed and held, and nothing else is. Any number of times.
///
/// # Errors
/// [`Pass`].
pub async fn account(context: &Context, seen: &Seen) -> Result<(), Pass> {
    let Some(cluster) = cluster_key(seen) else { return Ok(()) };
    let Some(object) = seen.children.get(&cluster) else { return Ok(()) };
    let Some(record) = record(seen, &cluster) else {
        tracing::error!("engine object {cluster} does not say whose it was: its storage cannot be billed");
        return Ok(());
    };
    let going = is_going(object);
    if !going && archive::note(seen).is_some() {
        archives::keep_after_all(context, &cluster).await?;
    }
    let stop = |meter| stopped(&record.uid, &record.tenant, meter, None, "Retained");
    let mut facts = metering::RUNNING.map(stop).to_vec();
    facts.extend(metering::storage(&record.uid, &record.tenant, &record.storage_sku, seen));
    let measured = archive::measured(object);
    let backup_bytes = measured.unwrap_or_else(|| service_backup::bytes(&record.uid, context));
    facts.extend(metering::kept_backups(&record, backup_bytes));
    report(context, facts).await?;
    let bytes = seen.volume_bytes();
    hold_kept(context, &record, bytes, backup_bytes).await
}

/// Bills and holds what an order has in the object store; its instances and volumes are gone.
///
/// # Errors
/// [`Pass`].
pub async fn settle_backups(context: &Context, record: &Record, bytes: i64) -> Result<(), Pass> {
    let stop = |meter| stopped(&record.uid, &record.tenant, meter, None, "Removed");
    let mut facts: Vec<_> = metering::RUNNING.into_iter().chain([Meter::STORAGE]).map(stop).collect();
    facts.extend(metering::kept_backups(record, bytes));
    report(context, facts).await?;
    hold_kept(context, record, 0, bytes).await
}

/// What kept data is priced by: its volumes and its backups. One price key is one item, as two would be rounded apart.
pub fn kept_items(record: &Record, storage_bytes: i64, backup_bytes: i64) -> Vec<Item> {
    let item = |sku: &Sku, bytes: i64| Item { sku: sku.clone(), quantity: mib(bytes) };
    let storage = (storage_bytes > 0).then(|| item(&record.storage_sku, storage_bytes));
    let backups = record.backup_sku.as_ref().filter(|_| backup_bytes > 0).map(|sku| item(sku, backup_bytes));
    match (storage, backups) {
        (Some(one), Some(other)) if one.sku == other.sku => {
            vec![Item { quantity: one.quantity.saturating_add(other.quantity), ..one }]
        }
        (one, other) => one.into_iter().chain(other).collect(),
    }
}

async fn hold_kept(context: &Context, record: &Record, bytes: i64, backup_bytes: i64) -> Result<(), Pass> {
    let request = ReservationRequest {
        // Later than any generation that the order had.
        generation: i64::from(i32::MAX),
        tenant: record.tenant.clone(),
        namespace: record.namespace.clone(),
        name: record.name.clone(),
        kind: record.kind.clone(),
        plan: record.plan.clone(),
        requester: record.requester.clone(),
        billing: record.billing.clone(),
        resources: Resources { storage_bytes: bytes, ..Resources::default() },
        items: kept_items(record, bytes, backup_bytes),
        retained: true,
    };
    let hash = fingerprint(&request);
    if context.memory.lock().held.get(record.uid.as_str()) == Some(&hash) {
        return Ok(());
    }
    let cost = match context.ledger.hold(&record.uid, &request).await {
        Ok(held) => Some((held.commitment.monthly_cost, held.price_list)),
        // No money is free for the backups, say. They are there and billed all the same, as they are while an order lives,
        // whose reservation does not hold them either.
        Err(Ledger::Refused(_)) if backup_bytes > 0 => {
            let volumes = ReservationRequest { items: kept_items(record, bytes, 0), ..request.clone() };
            context.ledger.hold(&record.uid, &volumes).await?;
            let lists = context.catalogue.catalogue().price_lists;
            let list = in_force(&lists, Timestamp::now());
            list.and_then(|list| Some((list.monthly_maximum(&request.items).ok()?, list.name.clone())))
        }
        Err(error) => return Err(error.into()),
    };
    context.figures.touch(record.tenant.as_str());
    let mut memory = context.memory.lock();
    memory.held.insert(record.uid.to_string(), hash);
    if let Some((cost, list)) = cost {
        let (currency, maximum_monthly) = (cost.currency.to_string(), cost.decimal());
        let cost = Cost { currency, maximum_monthly, price_list: list.to_string() };
        memory.kept.insert(record.uid.to_string(), cost);
    }
    Ok(())
}

/// Runs until it is dropped: a sweep whenever something asks for one, and every hour.
pub async fn run(context: Arc<Context>) {
    let mut wait = EVERY;
    loop {
        let _ = tokio::time::timeout(wait, context.sweep.notified()).await;
        // Events come in bursts; one sweep serves them all.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let swept = sweep(&context).await;
        wait = if matches!(swept, Ok(true)) { UNFINISHED } else { EVERY };
        if let Err(error) = swept {
            tracing::warn!(error = &error as &dyn std::error::Error, "a sweep failed and is tried again");
            let context = Arc::clone(&context);
            tokio::spawn(async move {
                tokio::time::sleep(AGAIN).await;
                context.sweep.notify_one();
            });
        }
    }
}

/// True while something is stopping or going.
async fn sweep(context: &Context) -> Result<bool, Pass> {
    let orders = context.orders.all();
    let living: BTreeSet<String> = orders.iter().map(|o| o.uid.to_string()).collect();
    let (mut kept, mut failed) = (BTreeSet::new(), None);
    let forced = force::abandoned(context, &living).await?;
    let mut abandoned = BTreeSet::new();
    for (uid, at) in context.cache.orders() {
        if living.contains(&uid) || is_there(context, &at, &uid).await? {
            continue;
        }
        if let Some(note) = forced.get(&uid) {
            abandoned.insert(uid);
            failed = force::leftover(context, note).await.err().or(failed);
            continue;
        }
        // What one order left must not hide what another did.
        match leftover(context, &uid).await {
            Ok(false) => {}
            Ok(true) => drop(kept.insert(uid)),
            Err(error) => {
                kept.insert(uid);
                failed = Some(error);
            }
        }
    }
    let unfinished = mirror::tell(context, &kept, Timestamp::now()).await?;
    context.metrics.retained.set(i64::try_from(kept.len()).unwrap_or(i64::MAX));
    context.metrics.abandoned.set(i64::try_from(abandoned.len()).unwrap_or(i64::MAX));
    context.cache.set_leftovers(kept.into_iter().chain(abandoned).collect());
    context.metrics.cached.set(i64::try_from(context.cache.len()).unwrap_or(i64::MAX));
    unwell::count(context);
    instances::count(context);
    context.prober.keep_only(|uid| living.contains(uid));
    for prober in [&context.turner, &context.further] {
        prober.keep_only(|turn| crate::rotate::order_of(turn).is_some_and(|uid| living.contains(uid)));
    }
    let catalogue = context.catalogue_uids();
    context.backoff.keep_only(|uid| living.contains(uid) || catalogue.contains(uid));
    unprotect(context).await?;
    failed.map_or(Ok(unfinished), Err)
}

/// A cache may be behind: before anything is stopped, the server itself is asked, once.
async fn is_there(context: &Context, at: &OrderRef, uid: &str) -> Result<bool, Pass> {
    let marked = |object: &Arc<Value>| metadata(object, "labels", RETAINED).is_some();
    let seen = context.seen(uid);
    let in_store = cluster_key(&seen).is_none() && archive::note(&seen).is_some();
    let kept = in_store || seen.children.values().any(marked);
    if kept && context.memory.lock().held.contains_key(uid) {
        return Ok(false);
    }
    order_is_there(context, at, uid).await
}

/// Whether the API server itself knows the order.
///
/// # Errors
/// [`Pass::Look`] when it does not answer.
pub async fn order_is_there(context: &Context, at: &OrderRef, uid: &str) -> Result<bool, Pass> {
    let gvk = GroupVersionKind::gvk(siyada_crds::GROUP, siyada_crds::VERSION, at.kind.as_str());
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &at.namespace, &ApiResource::from_gvk(&gvk));
    let found = api.get_opt(&at.name).await.map_err(|e| Pass::Look("an order", Box::new(e)))?;
    Ok(found.is_some_and(|o| o.uid().as_deref() == Some(uid)))
}

/// Deals with what an order left. True when data is kept.
async fn leftover(context: &Context, uid: &str) -> Result<bool, Pass> {
    let seen = context.seen(uid);
    let now = Timestamp::now();
    let Some(cluster) = cluster_key(&seen) else {
        if seen.claim_names().is_empty() && archive::note(&seen).is_some() {
            return archives::look(context, uid, &seen, now).await;
        }
        remove_rest(context, uid, &seen).await?;
        return Ok(!seen.claim_names().is_empty());
    };
    if seems_unwanted(context, uid, &cluster, &seen, now)
        && let Some((why, object_uid, live)) = confirmed(context, uid, &cluster, now).await?
    {
        if let Verdict::Stopped(since) = breaker::judge(context, uid, now).await? {
            tracing::warn!(
                order.uid = uid,
                "the kept data of {cluster} stays: deletions are stopped since {since}"
            );
        } else if !archives::discard(context, &cluster, &live, now).await? {
            // Its backups would be nobody's.
            context.sweep.notify_one();
            return Ok(true);
        } else {
            tracing::warn!(order.uid = uid, "removing the kept data of {cluster} for ever: {why:?}");
            apply::remove(&context.client, &cluster, Some(&object_uid)).await?;
            return Ok(true);
        }
    }
    settle(context, &cluster, &seen).await?;
    archives::measure_kept(context, &cluster, &seen, now).await?;
    tracing::info!(
        order.uid = uid,
        "data of {cluster} is kept without an order; `siyada-operator retained list` shows it"
    );
    Ok(true)
}

/// Whether the caches say that kept data should go. Only a hint.
fn seems_unwanted(context: &Context, uid: &str, cluster: &Key, seen: &Seen, now: Timestamp) -> bool {
    let Some(object) = seen.children.get(cluster) else { return false };
    let going = is_going(object);
    let asked = metadata(object, "annotations", REMOVE) == Some(uid);
    let Some(kept) = mirror::Kept::of(seen, None) else { return asked && !going };
    let expired = kept.expires().is_some_and(|end| end <= now);
    let discarded = || context.orders.retained.state().iter().any(|l| mirror::discards(l, &kept.record));
    !going && (asked || expired || discarded())
}

/// Why kept data may go now, and the uid of the engine's object that holds it, as the API server itself says: nothing is
/// removed on the word of a cache, nor while there is an order of that uid.
async fn confirmed(
    context: &Context,
    uid: &str,
    cluster: &Key,
    now: Timestamp,
) -> Result<Option<(Why, String, Value)>, Pass> {
    let look = |e| Pass::Look("kept data", Box::new(e));
    let resource = ChildKind::Cluster.api_resource();
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), &cluster.namespace, &resource);
    let Some(live) = api.get_opt(&cluster.name).await.map_err(look)? else { return Ok(None) };
    let is_kept =
        live.labels().get(ORDER_UID).map(String::as_str) == Some(uid) && live.labels().contains_key(RETAINED);
    let record: Option<Record> =
        live.annotations().get(ORDER_RECORD).and_then(|text| serde_json::from_str(text).ok());
    let (true, Some(record), Some(object_uid)) = (is_kept, record, live.uid()) else { return Ok(None) };
    let Some(at) = record.at() else { return Ok(None) };
    if record.uid.as_str() != uid || order_is_there(context, &at, uid).await? {
        tracing::error!(order.uid = uid, "the data of {cluster} is not removed: its order is there");
        return Ok(None);
    }
    let object = serde_json::to_value(&live).unwrap_or(Value::Null);
    if live.annotations().get(REMOVE).map(String::as_str) == Some(uid) {
        return Ok(Some((Why::Asked, object_uid, object)));
    }
    let Some(listing) = listed(context, &record, cluster).await? else { return Ok(None) };
    let since = live.annotations().get(RETAINED_SINCE).and_then(|text| text.parse().ok());
    let why = unwanted(&record, since, &listing, now);
    Ok(why.map(|why| (why, object_uid, object)))
}

/// Why data that is listed should go, if it should.
pub fn unwanted(
    record: &Record,
    since: Option<Timestamp>,
    listing: &RetainedInstance,
    now: Timestamp,
) -> Option<Why> {
    if mirror::discards(listing, record) {
        return Some(Why::Discarded);
    }
    let told = listing.status.clone().unwrap_or_default();
    let end = mirror::expires(since, record.retained_days);
    mirror::may_expire(end, &told, now).then_some(Why::Expired)
}

/// The listing of kept data, where the API server has it, in a namespace that is its tenant's now.
///
/// # Errors
/// [`Pass::Look`] when the API server does not answer.
pub async fn listed(
    context: &Context,
    record: &Record,
    cluster: &Key,
) -> Result<Option<RetainedInstance>, Pass> {
    let look = |e| Pass::Look("the listing of kept data", Box::new(e));
    let Some(home) = mirror::home(record, &context.catalogue.namespaces.bound()) else { return Ok(None) };
    let namespaces: Api<Namespace> = Api::all(context.client.clone());
    let namespace = namespaces.get_opt(&home).await.map_err(look)?;
    let is_theirs =
        |n: &Namespace| n.labels().get(TENANT).map(String::as_str) == Some(record.tenant.as_str());
    if !namespace.is_some_and(|n| is_theirs(&n)) {
        return Ok(None);
    }
    let listings: Api<RetainedInstance> = Api::namespaced(context.client.clone(), &home);
    listings.get_opt(&cluster.name).await.map_err(look)
}

/// The engine object is gone: when its volumes are proven to be gone too, the account is closed and the rest removed.
///
/// # Errors
/// [`Pass`].
pub async fn remove_rest(context: &Context, uid: &str, seen: &Seen) -> Result<(), Pass> {
    if !seen.claim_names().is_empty() {
        tracing::warn!(
            order.uid = uid,
            "volumes {} have neither order nor engine object: they are kept and billed",
            seen.claim_names().join(", ")
        );
        return Ok(());
    }
    let tenant = seen
        .children
        .values()
        .find_map(|o| metadata(o, "labels", crate::names::TENANT)?.parse::<TenantName>().ok());
    let (Some(tenant), Ok(order_uid)) = (tenant, uid.parse::<OrderUid>()) else { return Ok(()) };
    let removed = |meter| stopped(&order_uid, &tenant, meter, None, "Removed");
    report(context, metering::METERS.map(removed).to_vec()).await?;
    context.ledger.release(&order_uid).await?;
    context.figures.touch(tenant.as_str());
    for (key, object) in &seen.children {
        apply::remove(&context.client, key, object.pointer("/metadata/uid").and_then(Value::as_str)).await?;
    }
    context.memory.lock().forget(uid);
    Ok(())
}

/// Takes the mark off namespaces whose last protected order went.
async fn unprotect(context: &Context) -> Result<(), Pass> {
    let bound = context.catalogue.namespaces.bound();
    for (namespace, _) in bound.iter().filter(|(_, b)| !b.engine) {
        let known = context.memory.lock().protected.get(namespace) == Some(&false);
        if known || context.orders.protects(namespace) {
            continue;
        }
        apply::protect_namespace(&context.client, namespace, false).await?;
        context.memory.lock().protected.insert(namespace.clone(), false);
    }
    Ok(())
}

fn clusters(client: &Client) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &ChildKind::Cluster.api_resource())
}

/// Everything that is kept without an order, as the API server has it: engine objects, and what is in object stores alone.
async fn everything(client: &Client) -> anyhow::Result<Vec<(Key, DynamicObject)>> {
    let mut all: Vec<DynamicObject> =
        clusters(client).list(&ListParams::default().labels(SELECTOR)).await?.items;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    for namespace in namespaces.list(&ListParams::default().labels(ENGINE)).await? {
        let resource = ChildKind::Secret.api_resource();
        let notes: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), &namespace.name_any(), &resource);
        all.extend(notes.list(&ListParams::default().labels(ARCHIVE)).await?);
    }
    let key = |object: &DynamicObject| {
        let note = object.labels().contains_key(ARCHIVE);
        let kind = if note { ChildKind::Secret } else { ChildKind::Cluster };
        Key::new(kind, &object.namespace().unwrap_or_default(), object.name_any())
    };
    let mut keyed: BTreeMap<String, (Key, DynamicObject)> = BTreeMap::new();
    for object in all {
        let uid = object.labels().get(crate::names::ORDER_UID).cloned().unwrap_or_else(|| object.name_any());
        // The engine's object comes first: what is in the store goes with it.
        keyed.entry(uid).or_insert_with(|| (key(&object), object));
    }
    Ok(keyed.into_values().collect())
}

/// How much it is, in words.
fn size_of(object: &DynamicObject) -> String {
    let note = serde_json::to_value(object).ok().and_then(|object| Archive::read(&object));
    match note {
        Some(archive) => format!("backups {}", show_bytes(mib(archive.bytes).saturating_mul(MIB))),
        None => object.data.pointer("/spec/storage/size").and_then(Value::as_str).unwrap_or("?").to_owned(),
    }
}

/// `siyada-operator retained list`.
///
/// # Errors
/// When the cluster cannot be read.
pub async fn list(client: &Client) -> anyhow::Result<()> {
    let found = everything(client).await?;
    if found.is_empty() {
        println!("no data is kept without an order");
        return Ok(());
    }
    println!("{:<38} {:<20} {:<24} {:<30} STORAGE", "UID", "TENANT", "KIND", "ORDER");
    for (_, object) in found {
        let text = object.annotations().get(ORDER_RECORD).cloned().unwrap_or_default();
        let Ok(record) = serde_json::from_str::<Record>(&text) else {
            println!("{:<38} {} does not say whose it was", "?", object.name_any());
            continue;
        };
        let (order, size) = (format!("{}/{}", record.namespace, record.name), size_of(&object));
        println!("{:<38} {:<20} {:<24} {order:<30} {size}", record.uid, record.tenant, record.kind);
    }
    println!("\nremove one for ever: siyada-operator retained remove UID --confirm NAME");
    Ok(())
}

/// `siyada-operator retained remove`: asks the running operator to do it, so that the account is closed too.
///
/// # Errors
/// When there is no such data, or the name is not its order's.
pub async fn remove(client: &Client, uid: &str, confirm: &str) -> anyhow::Result<()> {
    let ours = |object: &DynamicObject| object.labels().get(ORDER_UID).map(String::as_str) == Some(uid);
    let Some((key, object)) = everything(client).await?.into_iter().find(|(_, object)| ours(object)) else {
        anyhow::bail!("no data of an order {uid:?} is kept: `siyada-operator retained list` shows what is");
    };
    let name = object.labels().get(crate::names::ORDER_NAME).cloned().unwrap_or_default();
    anyhow::ensure!(
        name == confirm,
        "the order was named {name:?}: give --confirm {name} to remove its data for ever"
    );
    apply::ask_removal(client, &key, uid).await?;
    println!("the operator removes the data of {name} ({uid}) now; what it takes is billed until it is gone");
    Ok(())
}

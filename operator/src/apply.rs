//! The only file that writes to the cluster, with its parts for tenants, deletions, and what lies beside orders in `apply/`.

pub mod archives;
pub mod credentials;
pub mod deletions;
pub mod listings;
pub mod tenants;

use crate::names::{
    APPLIED, CREATING_MANAGER, FIELD_MANAGER, FINALIZER, HIBERNATION, ORDER_UID, PROTECTED_ORDERS, RETAINED,
    RETAINED_SINCE,
};
use crate::object::{ChildKind, Key, Mode, Planned, is_so};
use crate::order::{Order, OrderResource};
use crate::retained::REMOVE;
use crate::seen::{Seen, metadata};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use siyada_crds::OrderStatus;
use std::fmt::Debug;

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Apply {
    /// Reading what has the name of a child that is not ours yet.
    #[error("failed to look at {0}")]
    Look(Key, #[source] Box<kube::Error>),
    /// Writing a child.
    #[error("failed to write {0}")]
    Write(Key, #[source] Box<kube::Error>),
    /// Removing a child.
    #[error("failed to remove {0}")]
    Remove(Key, #[source] Box<kube::Error>),
    /// Writing to the order or another object of ours.
    #[error("failed to write {0} of {1}")]
    Object(&'static str, String, #[source] Box<kube::Error>),
}

/// What became of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Everything is as planned; this many writes were needed.
    Done(usize),
    /// The caches are behind what is there: look again soon.
    Behind,
    /// Somebody else's object has the name of a child. It is left alone.
    Foreign(Key),
    /// The API server refuses a child's content.
    Refused(Key, String),
}

fn api(client: &Client, kind: ChildKind, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &kind.api_resource())
}

fn ours(object: &DynamicObject, planned: &Planned) -> bool {
    let wanted = planned.body.pointer("/metadata/labels/siyada.cloud~1order-uid").and_then(Value::as_str);
    object.labels().get(ORDER_UID).map(String::as_str) == wanted
}

/// Brings the objects of a plan about, in order, and removes the surplus. Writes nothing that is already so.
///
/// # Errors
/// [`Apply`] for what may go better at the next try.
pub async fn objects(
    client: &Client,
    seen: &Seen,
    planned: &[Planned],
    surplus: &[Key],
) -> Result<Applied, Apply> {
    let mut writes = 0;
    for object in planned {
        let live = seen.children.get(&object.key);
        let same_hash = |live: &Value| {
            metadata(live, "annotations", APPLIED) == metadata(&object.body, "annotations", APPLIED)
        };
        if live.is_some_and(|live| {
            object.mode == Mode::CreateOnly || same_hash(live) && is_so(&object.body, live)
        }) {
            continue;
        }
        match one(client, object, live.map(|live| &**live)).await? {
            Applied::Done(count) => writes += count,
            other => return Ok(other),
        }
    }
    for key in surplus {
        let found = seen.children.get(key).and_then(|v| v.pointer("/metadata/uid")).and_then(Value::as_str);
        remove(client, key, found).await?;
        writes += 1;
    }
    Ok(Applied::Done(writes))
}

async fn one(client: &Client, object: &Planned, live: Option<&Value>) -> Result<Applied, Apply> {
    let key = &object.key;
    let api = api(client, key.kind, &key.namespace);
    let Some(live) = live else { return create(&api, object).await };
    if is_as_created(live) && !take_over(&api, key).await? {
        return Ok(Applied::Behind);
    }
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let mut body = object.body.clone();
    if matches!(key.kind, ChildKind::Cluster | ChildKind::Secret) {
        // Which login clients are given follows from what was read: a view of the past must not bring the past back.
        body["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
    }
    match api.patch(&key.name, &parameters, &Patch::Apply(&body)).await {
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(Applied::Behind),
        other => written(key, other),
    }
}

fn written(key: &Key, outcome: kube::Result<DynamicObject>) -> Result<Applied, Apply> {
    match outcome {
        Ok(_) => Ok(Applied::Done(1)),
        Err(kube::Error::Api(status)) if status.is_invalid() => {
            Ok(Applied::Refused(key.clone(), status.message))
        }
        Err(error) => Err(Apply::Write(key.clone(), Box::new(error))),
    }
}

/// Creates an object that no cache follows; one of ours that is there stays as it is.
///
/// # Errors
/// [`Apply`] for what may go better at the next try.
pub async fn make(client: &Client, object: &Planned) -> Result<Applied, Apply> {
    create(&api(client, object.key.kind, &object.key.namespace), object).await
}

/// Creates what no cache shows. Unlike an apply it can never take over somebody else's object, and it needs no look
/// beforehand: half the requests of an order, and each of them cheaper.
async fn create(api: &Api<DynamicObject>, object: &Planned) -> Result<Applied, Apply> {
    let key = &object.key;
    let manager = match object.mode {
        Mode::CreateOnly => FIELD_MANAGER,
        Mode::Apply => CREATING_MANAGER,
    };
    let parameters = created(manager);
    let body = serde_json::from_value(object.body.clone()).map_err(kube::Error::SerdeError);
    let outcome = match body {
        Ok(body) => api.create(&parameters, &body).await,
        Err(error) => Err(error),
    };
    match outcome {
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            let there = api.get_opt(&key.name).await.map_err(|e| Apply::Look(key.clone(), Box::new(e)))?;
            let foreign = there.is_some_and(|there| !ours(&there, object));
            Ok(if foreign { Applied::Foreign(key.clone()) } else { Applied::Behind })
        }
        other => written(key, other),
    }
}

/// Whether the fields of an object are still those of its creation, and not of an apply.
fn is_as_created(live: &Value) -> bool {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    entries.is_some_and(|entries| entries.iter().any(|entry| entry["manager"] == CREATING_MANAGER))
}

/// Makes the fields of a creation those of our applies, so that one which leaves the plan leaves the object too. Once
/// in the life of an object, before its first apply. False when it changed meanwhile: look again.
async fn take_over(api: &Api<DynamicObject>, key: &Key) -> Result<bool, Apply> {
    let failed = |e| Apply::Write(key.clone(), Box::new(e));
    let Some(there) = api.get_opt(&key.name).await.map_err(failed)? else { return Ok(false) };
    let created = |entry: &ManagedFieldsEntry| entry.manager.as_deref() == Some(CREATING_MANAGER);
    let Some(index) = there.managed_fields().iter().position(created) else { return Ok(true) };
    let entry = format!("/metadata/managedFields/{index}");
    let operations = json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": there.resource_version()},
        {"op": "replace", "path": format!("{entry}/manager"), "value": FIELD_MANAGER},
        {"op": "replace", "path": format!("{entry}/operation"), "value": "Apply"},
    ]);
    let patch = serde_json::from_value(operations).map_err(kube::Error::SerdeError).map_err(failed)?;
    match api.patch(&key.name, &PatchParams::default(), &Patch::<()>::Json(patch)).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(s)) if s.is_conflict() || s.is_invalid() || s.is_not_found() => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

/// Removes a child, if it is still the one that was seen. Absence is fine.
///
/// # Errors
/// [`Apply::Remove`] when the API server does not do it.
pub async fn remove(client: &Client, key: &Key, uid: Option<&str>) -> Result<(), Apply> {
    let preconditions = uid.map(|uid| Preconditions { uid: Some(uid.to_owned()), resource_version: None });
    let parameters = DeleteParams { preconditions, ..DeleteParams::background() };
    match api(client, key.kind, &key.namespace).delete(&key.name, &parameters).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(error) => Err(Apply::Remove(key.clone(), Box::new(error))),
    }
}

/// Stops an engine cluster and marks its data as kept since a moment. Its order is gone or going.
///
/// # Errors
/// [`Apply::Write`] when the API server does not do it.
pub async fn retain(client: &Client, key: &Key, since: Timestamp) -> Result<(), Apply> {
    let body = json!({"metadata": {
        "labels": {RETAINED: "true"},
        "annotations": {HIBERNATION: "on", RETAINED_SINCE: since.to_string()},
    }});
    merge(client, key, &body).await
}

/// Asks the storage for a larger volume.
///
/// # Errors
/// [`Apply::Write`] when the API server does not do it: the storage class may not let volumes grow.
pub async fn grow(client: &Client, claim: &Key, size: &str) -> Result<(), Apply> {
    merge(client, claim, &json!({"spec": {"resources": {"requests": {"storage": size}}}})).await
}

/// Ends a Deployment's pods: the gateway of an order whose data is kept.
///
/// # Errors
/// [`Apply::Write`] when the API server does not do it.
pub async fn scale_to_zero(client: &Client, key: &Key) -> Result<(), Apply> {
    merge(client, key, &json!({"spec": {"replicas": 0}})).await
}

async fn merge(client: &Client, key: &Key, body: &Value) -> Result<(), Apply> {
    match api(client, key.kind, &key.namespace).patch(&key.name, &changed(), &Patch::Merge(body)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(Apply::Write(key.clone(), Box::new(error))),
    }
}

/// Who creates something.
fn created(manager: &str) -> PostParams {
    PostParams { field_manager: Some(manager.to_owned()), ..PostParams::default() }
}

/// Who changes something in place.
fn changed() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// Writes a status, or the manager's part of it. False when the object is gone, or another one than the uid says by now.
async fn write_status<K>(
    api: &Api<K>,
    manager: &str,
    (name, uid): (&str, Option<&str>),
    status: &impl Serialize,
) -> kube::Result<bool>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let mut metadata = json!({"name": name});
    if let Some(uid) = uid {
        metadata["uid"] = json!(uid);
    }
    let body = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": metadata, "status": status,
    });
    match api.patch_status(name, &PatchParams::apply(manager).force(), &Patch::Apply(&body)).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(s)) if s.is_not_found() => Ok(false),
        // The name is another object's by now; or somebody wrote in the same moment, and nothing else may ever bring it up again.
        Err(kube::Error::Api(s)) if s.is_conflict() => {
            let is_it = |there: K| uid.is_none_or(|uid| there.uid().as_deref() == Some(uid));
            match api.get_opt(name).await?.is_some_and(is_it) {
                true => Err(kube::Error::Api(s)),
                false => Ok(false),
            }
        }
        Err(error) => Err(error),
    }
}

/// An event; its note has at most 1 kB.
fn event_of(type_: EventType, reason: &str, note: &str, action: &str) -> Event {
    let note = Some(note.chars().take(500).collect());
    Event { type_, reason: reason.to_owned(), note, action: action.to_owned(), secondary: None }
}

fn orders<K: OrderResource>(client: &Client, order: &Order) -> Api<K> {
    Api::namespaced(client.clone(), &order.at.namespace)
}

fn failed(what: &'static str, name: &str) -> impl FnOnce(kube::Error) -> Apply {
    let name = name.to_owned();
    move |error| Apply::Object(what, name, Box::new(error))
}

/// Writes an order's status, if it differs from what is there.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn status<K: OrderResource>(
    client: &Client,
    order: &Order,
    status: &OrderStatus,
) -> Result<bool, Apply> {
    if *status == order.status {
        return Ok(false);
    }
    let of = (order.at.name.as_str(), Some(order.uid.as_str()));
    let written = write_status(&orders::<K>(client, order), FIELD_MANAGER, of, status).await;
    written.map_err(failed("the status", &order.at.name))
}

/// Adds or removes our finalizer on an order, if it is still the version that was read.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn finalizer<K: OrderResource>(client: &Client, order: &Order, present: bool) -> Result<(), Apply> {
    let mut finalizers = order.finalizers.clone();
    finalizers.retain(|f| f != FINALIZER);
    if present {
        finalizers.push(FINALIZER.to_owned());
    }
    let body = json!({"metadata": {
        "finalizers": finalizers, "uid": order.uid, "resourceVersion": order.resource_version,
    }});
    match orders::<K>(client, order)
        .patch(&order.at.name, &PatchParams::default(), &Patch::Merge(&body))
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(s)) if s.is_not_found() => Ok(()),
        Err(error) => Err(failed("the finalizer", &order.at.name)(error)),
    }
}

/// Sets a list of finalizers on a cluster-scoped object.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn set_finalizer<K>(client: &Client, object: &K, name: &str, present: bool) -> Result<(), Apply>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let mut finalizers = object.finalizers().to_vec();
    if finalizers.iter().any(|f| f == name) == present {
        return Ok(());
    }
    finalizers.retain(|f| f != name);
    if present {
        finalizers.push(name.to_owned());
    }
    let body = json!({"metadata": {"finalizers": finalizers, "resourceVersion": object.resource_version()}});
    let api: Api<K> = Api::all(client.clone());
    match api.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(&body)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(s)) if s.is_not_found() => Ok(()),
        Err(error) => Err(failed("the finalizer", &object.name_any())(error)),
    }
}

/// Writes the status of a cluster-scoped object.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn simple_status<K>(client: &Client, name: &str, status: &Value) -> Result<(), Apply>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let written = write_status(&Api::<K>::all(client.clone()), FIELD_MANAGER, (name, None), status).await;
    written.map(drop).map_err(failed("the status", name))
}

/// Applies a whole object of the platform itself.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn platform_object(
    client: &Client,
    resource: &kube::core::ApiResource,
    namespace: Option<&str>,
    name: &str,
    body: &Value,
) -> Result<(), Apply> {
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    };
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    api.patch(name, &parameters, &Patch::Apply(body)).await.map_err(failed("a part", name))?;
    Ok(())
}

/// Marks a namespace as holding protected orders, or not.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn protect_namespace(client: &Client, namespace: &str, protected: bool) -> Result<(), Apply> {
    let value = if protected { json!("true") } else { Value::Null };
    let body = json!({"metadata": {"labels": {PROTECTED_ORDERS: value}}});
    let api: Api<Namespace> = Api::all(client.clone());
    match api.patch(namespace, &PatchParams::default(), &Patch::Merge(&body)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(s)) if s.is_not_found() => Ok(()),
        Err(error) => Err(failed("the label", namespace)(error)),
    }
}

/// Writes an annotation of a lease, if it is still the version that was read. False when it is not.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn mark_lease(leases: &Api<Lease>, read: &Lease, key: &str, value: &str) -> Result<bool, Apply> {
    let name = read.name_any();
    let body = json!({"metadata": {"resourceVersion": read.resource_version(), "annotations": {key: value}}});
    match leases.patch(&name, &PatchParams::default(), &Patch::Merge(body)).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(s)) if s.is_conflict() => Ok(false),
        Err(error) => Err(failed("the epoch", &name)(error)),
    }
}

/// Gives the API server the authority that signed the webhook's certificate. `webhooks` is how many there are.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn trust_webhooks(
    client: &Client,
    configuration: &str,
    webhooks: usize,
    bundle: &ByteString,
) -> Result<(), Apply> {
    let path = |index| format!("/webhooks/{index}/clientConfig/caBundle");
    let operations: Vec<Value> =
        (0..webhooks).map(|index| json!({"op": "add", "path": path(index), "value": bundle})).collect();
    let what = "the authority";
    let patch = serde_json::from_value(json!(operations)).map_err(kube::Error::SerdeError);
    let patch = Patch::<()>::Json(patch.map_err(failed(what, configuration))?);
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    api.patch(configuration, &PatchParams::default(), &patch).await.map_err(failed(what, configuration))?;
    Ok(())
}

/// Asks the running operator to remove kept data: marks its engine cluster with the order's uid.
///
/// # Errors
/// [`Apply::Write`] when the API server does not do it.
pub async fn ask_removal(client: &Client, cluster: &Key, uid: &str) -> Result<(), Apply> {
    merge(client, cluster, &json!({"metadata": {"annotations": {REMOVE: uid}}})).await
}

/// Creates a Secret of the platform itself, once; what is there is never overwritten. True when it was made.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn create_secret(
    client: &Client,
    namespace: &str,
    name: &str,
    body: &Value,
) -> Result<bool, Apply> {
    let object = serde_json::from_value(body.clone())
        .map_err(kube::Error::SerdeError)
        .map_err(failed("a Secret", name))?;
    let parameters = created(FIELD_MANAGER);
    match api(client, ChildKind::Secret, namespace).create(&parameters, &object).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(s)) if s.is_already_exists() => Ok(false),
        Err(error) => Err(failed("a Secret", name)(error)),
    }
}

/// Tells people of a turn in an order's life, where `kubectl describe` shows it. A failure is logged and no more.
pub async fn event<K: OrderResource>(
    recorder: &Recorder,
    order: &Order,
    warning: bool,
    reason: &str,
    note: &str,
) {
    let about = ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        namespace: Some(order.at.namespace.clone()),
        name: Some(order.at.name.clone()),
        uid: Some(order.uid.to_string()),
        ..ObjectReference::default()
    };
    let kind = if warning { EventType::Warning } else { EventType::Normal };
    let event = event_of(kind, reason, note, "Reconcile");
    if let Err(error) = recorder.publish(&event, &about).await {
        tracing::warn!(order.uid = %order.uid, error = %error, "no event for order {}", order.at.name);
    }
}

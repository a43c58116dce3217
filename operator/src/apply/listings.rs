//! Writes to the objects that stand beside orders: backups, further logins and kept data, whatever their kind.

use super::{Apply, created, event_of, failed, write_status};
use crate::names::FIELD_MANAGER;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, DeleteParams, Preconditions};
use kube::runtime::events::{EventType, Recorder};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use siyada_crds::RetainedInstance;
use std::fmt::Debug;

/// A kind that lies beside orders.
pub trait Beside:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize
{
}

impl<K> Beside for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
{
}

fn api<K: Beside>(client: &Client, object: &K) -> Api<K> {
    Api::namespaced(client.clone(), &object.namespace().unwrap_or_default())
}

/// Lists something, unless it is listed already.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn list<K: Beside>(client: &Client, listing: &K) -> Result<(), Apply> {
    match api(client, listing).create(&created(FIELD_MANAGER), listing).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(s)) if s.is_already_exists() => Ok(()),
        Err(error) => Err(failed("the listing", &listing.name_any())(error)),
    }
}

/// Tells what became of an object; of the one that was read, where its uid is given.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn status<K: Beside>(
    client: &Client,
    (namespace, name, uid): (&str, &str, Option<&str>),
    status: &impl Serialize,
) -> Result<(), Apply> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let written = write_status(&api, FIELD_MANAGER, (name, uid), status).await;
    written.map(drop).map_err(failed("the status", name))
}

/// Takes a listing off, if it is still the one that was read. Absence is fine.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn unlist<K: Beside>(client: &Client, listing: &K) -> Result<(), Apply> {
    let preconditions = Some(Preconditions { uid: listing.uid(), resource_version: None });
    let parameters = DeleteParams { preconditions, ..DeleteParams::default() };
    match api(client, listing).delete(&listing.name_any(), &parameters).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(s)) if s.is_not_found() || s.is_conflict() => Ok(()),
        Err(error) => Err(failed("the listing", &listing.name_any())(error)),
    }
}

/// Warns about kept data, where `kubectl describe` shows it. A failure is logged and no more.
pub async fn warn(recorder: &Recorder, listing: &RetainedInstance, reason: &str, note: &str) {
    let event = event_of(EventType::Warning, reason, note, "Keep");
    if let Err(error) = recorder.publish(&event, &listing.object_ref(&())).await {
        tracing::warn!(order.uid = listing.spec.order_uid, error = %error, "no event for {}", listing.name_any());
    }
}

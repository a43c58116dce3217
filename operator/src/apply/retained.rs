//! Writes to the objects that list kept data.

use super::{Apply, failed};
use crate::names::FIELD_MANAGER;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;
use siyada_crds::{RetainedInstance, RetainedInstanceStatus};

fn api(client: &Client, listing: &RetainedInstance) -> Api<RetainedInstance> {
    Api::namespaced(client.clone(), &listing.namespace().unwrap_or_default())
}

/// Lists kept data, unless it is listed already.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn list(client: &Client, listing: &RetainedInstance) -> Result<(), Apply> {
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match api(client, listing).create(&parameters, listing).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(s)) if s.is_already_exists() => Ok(()),
        Err(error) => Err(failed("the listing", &listing.name_any())(error)),
    }
}

/// Tells what is kept.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn status(
    client: &Client,
    listing: &RetainedInstance,
    status: &RetainedInstanceStatus,
) -> Result<(), Apply> {
    let name = listing.name_any();
    let version = format!("{}/{}", siyada_crds::GROUP, siyada_crds::VERSION);
    let metadata = json!({"name": name, "uid": listing.uid()});
    let body =
        json!({"apiVersion": version, "kind": "RetainedInstance", "metadata": metadata, "status": status});
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    match api(client, listing).patch_status(&name, &parameters, &Patch::Apply(&body)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(s)) if s.is_not_found() || s.is_conflict() => Ok(()),
        Err(error) => Err(failed("the status", &name)(error)),
    }
}

/// Takes a listing off: its data is gone, or listed elsewhere.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn unlist(client: &Client, listing: &RetainedInstance) -> Result<(), Apply> {
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
    let event = Event {
        type_: EventType::Warning,
        reason: reason.to_owned(),
        note: Some(note.chars().take(500).collect()),
        action: "Keep".to_owned(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, &listing.object_ref(&())).await {
        tracing::warn!(order.uid = listing.spec.order_uid, error = %error, "no event for {}", listing.name_any());
    }
}

//! Writes to the objects that list backups beside their orders.

use super::{Apply, failed};
use crate::names::FIELD_MANAGER;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, ResourceExt};
use serde_json::json;
use siyada_crds::{ServiceBackup, ServiceBackupStatus};

/// Lists a backup, unless it is listed already.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn list(client: &Client, backup: &ServiceBackup) -> Result<(), Apply> {
    let api: Api<ServiceBackup> = Api::namespaced(client.clone(), &backup.namespace().unwrap_or_default());
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match api.create(&parameters, backup).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(s)) if s.is_already_exists() => Ok(()),
        Err(error) => Err(failed("the listing", &backup.name_any())(error)),
    }
}

/// Tells what became of a backup.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn status(
    client: &Client,
    namespace: &str,
    name: &str,
    status: &ServiceBackupStatus,
) -> Result<(), Apply> {
    let api: Api<ServiceBackup> = Api::namespaced(client.clone(), namespace);
    let version = format!("{}/{}", siyada_crds::GROUP, siyada_crds::VERSION);
    let body =
        json!({"apiVersion": version, "kind": "ServiceBackup", "metadata": {"name": name}, "status": status});
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    match api.patch_status(name, &parameters, &Patch::Apply(&body)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(s)) if s.is_not_found() => Ok(()),
        Err(error) => Err(failed("the status", name)(error)),
    }
}

/// Takes a backup of the schedule off the list: the engine has removed it from the store.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn unlist(client: &Client, backup: &ServiceBackup) -> Result<(), Apply> {
    let api: Api<ServiceBackup> = Api::namespaced(client.clone(), &backup.namespace().unwrap_or_default());
    let preconditions = Some(Preconditions { uid: backup.uid(), resource_version: None });
    match api.delete(&backup.name_any(), &DeleteParams { preconditions, ..DeleteParams::default() }).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(s)) if s.is_not_found() || s.is_conflict() => Ok(()),
        Err(error) => Err(failed("the listing", &backup.name_any())(error)),
    }
}

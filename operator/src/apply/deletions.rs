//! Writes to the notes of which data was let go, and of what was forced.

use super::{Apply, changed, created, failed};
use crate::names::FIELD_MANAGER;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, Patch};
use serde_json::{Value, json};

/// Writes keys of the notes in a ConfigMap, if they are still those that were read: `version` is theirs, nothing where there were
/// none. A key whose value is null goes.
///
/// # Errors
/// [`Apply::Object`] also when somebody else wrote meanwhile: what follows from the notes must be judged anew.
pub async fn note(
    client: &Client,
    namespace: &str,
    (name, data): (&str, &Value),
    version: Option<String>,
) -> Result<(), Apply> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let outcome = match version {
        Some(version) => {
            let body = json!({"metadata": {"resourceVersion": version}, "data": data});
            api.patch(name, &changed(), &Patch::Merge(&body)).await
        }
        None => {
            let body = json!({"metadata": {"name": name}, "data": data});
            match serde_json::from_value(body).map_err(kube::Error::SerdeError) {
                Ok(body) => api.create(&created(FIELD_MANAGER), &body).await,
                Err(error) => Err(error),
            }
        }
    };
    outcome.map(drop).map_err(failed("the notes of deletions", name))
}

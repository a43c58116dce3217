//! The finalizer of the objects that ask for further logins.

use super::{Apply, failed};
use crate::names::CREDENTIAL_FINALIZER;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use siyada_crds::ServiceCredential;

/// Adds or removes our finalizer, if it is still the version that was read.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn finalizer(client: &Client, credential: &ServiceCredential, present: bool) -> Result<(), Apply> {
    let mut finalizers = credential.finalizers().to_vec();
    finalizers.retain(|f| f != CREDENTIAL_FINALIZER);
    if present {
        finalizers.push(CREDENTIAL_FINALIZER.to_owned());
    }
    let body = json!({"metadata": {
        "finalizers": finalizers, "uid": credential.uid(), "resourceVersion": credential.resource_version(),
    }});
    let name = credential.name_any();
    let api: Api<ServiceCredential> =
        Api::namespaced(client.clone(), &credential.namespace().unwrap_or_default());
    match api.patch(&name, &PatchParams::default(), &Patch::Merge(&body)).await {
        Ok(_) => Ok(()),
        // What changed meanwhile comes as an event, and is looked at again.
        Err(kube::Error::Api(s)) if s.is_not_found() || s.is_conflict() => Ok(()),
        Err(error) => Err(failed("the finalizer", &name)(error)),
    }
}

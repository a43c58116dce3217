//! Writes for tenants: namespaces, what is set up in them, roles, statuses, events.

use super::{Apply, changed, created, event_of, failed, write_status};
use crate::names::{FIELD_MANAGER, TENANT};
use k8s_openapi::api::core::v1::{Namespace, ObjectReference};
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::events::{EventType, Recorder};
use kube::{Client, Resource, ResourceExt};
use serde_json::{Value, json};
use siyada_crds::Tenant;
use std::collections::BTreeMap;

/// Field manager of the figures in a tenant's status: they have a pace of their own.
const FIGURES_MANAGER: &str = "siyada-operator-figures";

/// Kinds of objects that the operator sets up for tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartKind {
    /// Who may do what in a namespace.
    RoleBinding,
    /// Who may connect.
    NetworkPolicy,
    /// What the tenant's own workloads may take together.
    ResourceQuota,
    /// What each container may take.
    LimitRange,
    /// Rights on tenants.
    ClusterRole,
    /// Who has them.
    ClusterRoleBinding,
}

impl PartKind {
    /// What to call it, and where.
    pub fn resource(self) -> ApiResource {
        let (group, kind, plural) = match self {
            Self::RoleBinding => ("rbac.authorization.k8s.io", "RoleBinding", "rolebindings"),
            Self::NetworkPolicy => ("networking.k8s.io", "NetworkPolicy", "networkpolicies"),
            Self::ResourceQuota => ("", "ResourceQuota", "resourcequotas"),
            Self::LimitRange => ("", "LimitRange", "limitranges"),
            Self::ClusterRole => ("rbac.authorization.k8s.io", "ClusterRole", "clusterroles"),
            Self::ClusterRoleBinding => {
                ("rbac.authorization.k8s.io", "ClusterRoleBinding", "clusterrolebindings")
            }
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural)
    }

    /// The client for it, in a namespace or in the cluster.
    pub fn api(self, client: &Client, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &self.resource()),
            None => Api::all_with(client.clone(), &self.resource()),
        }
    }
}

/// Creates a namespace; nothing when the name is taken, whoever has it.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn create_namespace(
    client: &Client,
    name: &str,
    labels: &BTreeMap<String, String>,
) -> Result<Option<Namespace>, Apply> {
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
    let object = serde_json::from_value(body).map_err(kube::Error::SerdeError);
    let object: Namespace = object.map_err(failed("a namespace", name))?;
    match Api::all(client.clone()).create(&created(FIELD_MANAGER), &object).await {
        Ok(made) => Ok(Some(made)),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(None),
        Err(error) => Err(failed("a namespace", name)(error)),
    }
}

/// Sets labels of a namespace, if it still has this uid; a label without value is removed. False when it is another one
/// by now.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn label_namespace(
    client: &Client,
    name: &str,
    uid: &str,
    labels: &BTreeMap<String, Option<String>>,
) -> Result<bool, Apply> {
    let body = json!({"metadata": {"uid": uid, "labels": labels}});
    let api: Api<Namespace> = Api::all(client.clone());
    match api.patch(name, &changed(), &Patch::Merge(&body)).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(false),
        Err(error) => Err(failed("the labels", name)(error)),
    }
}

/// Applies an object that belongs to a tenant.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn part(client: &Client, kind: PartKind, body: &Value) -> Result<(), Apply> {
    let text = |path: &str| body.pointer(path).and_then(Value::as_str);
    let name = text("/metadata/name").unwrap_or_default();
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let api = kind.api(client, text("/metadata/namespace"));
    api.patch(name, &parameters, &Patch::Apply(body)).await.map_err(failed("a part", name))?;
    Ok(())
}

/// Removes an object that belonged to a tenant, if it is still the one that was seen. Absence is fine.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn remove_part(client: &Client, kind: PartKind, seen: &DynamicObject) -> Result<(), Apply> {
    let name = seen.name_any();
    let preconditions = seen.uid().map(|uid| Preconditions { uid: Some(uid), resource_version: None });
    let parameters = DeleteParams { preconditions, ..DeleteParams::background() };
    match kind.api(client, seen.namespace().as_deref()).delete(&name, &parameters).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(error) => Err(failed("a part", &name)(error)),
    }
}

/// The label that marks what belongs to a tenant.
pub fn of_tenant(name: &str) -> String {
    format!("{TENANT}={name}")
}

/// Writes the figures into a tenant's status; what else is in it stays.
///
/// # Errors
/// [`Apply::Object`] when the API server does not do it.
pub async fn figures(client: &Client, name: &str, uid: &str, status: &Value) -> Result<(), Apply> {
    let api: Api<Tenant> = Api::all(client.clone());
    let written = write_status(&api, FIGURES_MANAGER, (name, Some(uid)), status).await;
    written.map(drop).map_err(failed("the figures", name))
}

/// Tells people of a tenant's turn, where `kubectl describe` shows it. A failure is logged and no more.
pub async fn event(recorder: &Recorder, tenant: &Tenant, reason: &str, note: &str) {
    let about = ObjectReference {
        api_version: Some(Tenant::api_version(&()).into_owned()),
        kind: Some(Tenant::kind(&()).into_owned()),
        name: tenant.metadata.name.clone(),
        uid: tenant.metadata.uid.clone(),
        ..ObjectReference::default()
    };
    let event = event_of(EventType::Warning, reason, note, "WatchQuota");
    if let Err(error) = recorder.publish(&event, &about).await {
        tracing::warn!(error = %error, "no event for tenant {}", tenant.name_any());
    }
}

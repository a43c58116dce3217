//! Tenants: their namespaces, the operator's rights there, and what the ledger knows of them.

use crate::apply;
use crate::cache::Source;
use crate::catalogue::{tenant_name, tenant_record};
use crate::context::Context;
use crate::ledger::Ledger;
use crate::names::{LEDGER_FINALIZER, TENANT, engine_namespace};
use crate::object::ChildKind;
use crate::reconcile::{Pass, fingerprint};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::controller::Action;
use serde_json::json;
use siyada_crds::shared::SimpleStatus;
use siyada_crds::{PriceList, Tenant};
use siyada_model::id::TenantName;
use std::sync::Arc;
use std::time::Duration;

/// The ClusterRole that the operator has in a tenant's engine namespace.
pub const ENGINE_ROLE: &str = "siyada-operator-engine";
/// The ClusterRole that the operator has in a tenant's own namespaces.
pub const BINDING_ROLE: &str = "siyada-operator-binding";
/// Label of engine namespaces.
const ENGINE: &str = "siyada.cloud/engine";
/// After a refusal of the ledger, such as a parent that is not there yet.
const AGAIN: Duration = Duration::from_secs(10);

/// One pass over a tenant.
///
/// # Errors
/// [`Pass`]; the controller tries again with back-off.
pub async fn reconcile(tenant: Arc<Tenant>, context: Arc<Context>) -> Result<Action, Pass> {
    let name = match tenant_name(&tenant) {
        Ok(name) => name,
        Err(error) => {
            return told(&tenant, &context, Err(("Invalid", error.to_string())), Action::await_change())
                .await;
        }
    };
    if tenant.metadata.deletion_timestamp.is_some() {
        return remove(&tenant, &name, &context).await;
    }
    apply::set_finalizer(&context.client, &*tenant, LEDGER_FINALIZER, true).await?;
    let record = match tenant_record(&tenant) {
        Ok(record) => record,
        Err(error) => {
            return told(&tenant, &context, Err(("Invalid", error.to_string())), Action::await_change())
                .await;
        }
    };
    if let Some(taken) = taken(&tenant, &context) {
        let message =
            format!("namespace {taken} belongs to another tenant already: remove it from one of the two");
        return told(&tenant, &context, Err(("NamespaceTaken", message)), Action::requeue(AGAIN)).await;
    }
    set_up(&tenant, &name, &context).await?;
    let hash = fingerprint(&record);
    let uid = tenant.uid().unwrap_or_default();
    if context.memory.lock().tenants.get(&format!("ledger/{uid}")) != Some(&hash) {
        match context.ledger.put_tenant(&name, &record).await {
            Ok(()) => context.memory.lock().tenants.insert(format!("ledger/{uid}"), hash),
            Err(Ledger::Refused(problem)) => {
                return told(
                    &tenant,
                    &context,
                    Err(("LedgerRefused", problem.detail.clone())),
                    Action::requeue(AGAIN),
                )
                .await;
            }
            Err(error) => return Err(error.into()),
        };
    }
    context.backoff.clear(&uid);
    told(
        &tenant,
        &context,
        Ok("its namespaces are set up and the ledger knows its quota"),
        Action::await_change(),
    )
    .await
}

fn taken(tenant: &Tenant, context: &Context) -> Option<String> {
    let catalogue = context.catalogue.catalogue();
    let other = |namespace: &&siyada_crds::tenant::Namespace| {
        catalogue.tenant_of(&namespace.0).is_some_and(|t| t.metadata.name != tenant.metadata.name)
    };
    tenant.spec.namespaces.iter().find(other).map(|n| n.0.clone())
}

/// Namespaces and rights, then the watches that need them.
async fn set_up(tenant: &Tenant, name: &TenantName, context: &Context) -> Result<(), Pass> {
    let engine = engine_namespace(name);
    let uid = tenant.uid().unwrap_or_default();
    let hash = fingerprint(&(&engine, &tenant.spec.namespaces));
    if context.memory.lock().tenants.get(&uid) != Some(&hash) {
        namespace(
            context,
            &engine,
            json!({
                TENANT: name, ENGINE: "true",
                "pod-security.kubernetes.io/enforce": "restricted",
            }),
        )
        .await?;
        role_binding(context, &engine, ENGINE_ROLE).await?;
        for own in &tenant.spec.namespaces {
            namespace(context, &own.0, json!({TENANT: name})).await?;
            role_binding(context, &own.0, BINDING_ROLE).await?;
        }
        context.memory.lock().tenants.insert(uid, hash);
    }
    let own = tenant.spec.namespaces.iter().map(|n| n.0.clone());
    for namespace in own.chain([engine]) {
        context.watches.start(context, Source { kind: ChildKind::Secret, namespace: Some(namespace) });
    }
    Ok(())
}

fn resource(group: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural)
}

async fn namespace(context: &Context, name: &str, labels: serde_json::Value) -> Result<(), Pass> {
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
    apply::platform_object(&context.client, &resource("", "Namespace", "namespaces"), None, name, &body)
        .await?;
    Ok(())
}

async fn role_binding(context: &Context, namespace: &str, role: &str) -> Result<(), Pass> {
    let body = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"namespace": namespace, "name": role},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "siyada-operator", "namespace": context.config.namespace}],
    });
    let resource = resource("rbac.authorization.k8s.io", "RoleBinding", "rolebindings");
    apply::platform_object(&context.client, &resource, Some(namespace), role, &body).await?;
    Ok(())
}

async fn remove(tenant: &Tenant, name: &TenantName, context: &Context) -> Result<Action, Pass> {
    match context.ledger.delete_tenant(name).await {
        Ok(()) => {}
        Err(Ledger::Refused(problem)) => {
            return told(tenant, context, Err(("InUse", problem.detail.clone())), Action::requeue(AGAIN))
                .await;
        }
        Err(error) => return Err(error.into()),
    }
    for own in &tenant.spec.namespaces {
        context.watches.stop(context, &Source { kind: ChildKind::Secret, namespace: Some(own.0.clone()) });
    }
    context
        .watches
        .stop(context, &Source { kind: ChildKind::Secret, namespace: Some(engine_namespace(name)) });
    apply::set_finalizer(&context.client, tenant, LEDGER_FINALIZER, false).await?;
    tracing::info!(
        "tenant {name} is gone from the ledger; its namespaces are left for the platform to remove"
    );
    Ok(Action::await_change())
}

async fn told(
    tenant: &Tenant,
    context: &Context,
    outcome: Result<&str, (&str, String)>,
    next: Action,
) -> Result<Action, Pass> {
    let status = simple(tenant.status.as_ref(), tenant.metadata.generation, outcome);
    if tenant.status.as_ref() != Some(&status) {
        apply::simple_status::<Tenant>(&context.client, &tenant.name_any(), &json!(status)).await?;
    }
    Ok(next)
}

/// A status with one condition, Ready.
pub fn simple(
    old: Option<&SimpleStatus>,
    generation: Option<i64>,
    outcome: Result<&str, (&str, String)>,
) -> SimpleStatus {
    let (status, reason, message) = match outcome {
        Ok(message) => ("True", "Accepted", message.to_owned()),
        Err((reason, message)) => ("False", reason, message),
    };
    let before =
        old.into_iter().flat_map(|s| &s.conditions).find(|c| c.type_ == "Ready" && c.status == status);
    let second = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH);
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(second);
    let condition = Condition {
        type_: "Ready".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: before.map_or(now, |c| c.last_transition_time.clone()),
    };
    SimpleStatus { observed_generation: generation, conditions: vec![condition] }
}

/// Writes the status of a price list.
///
/// # Errors
/// [`Pass`].
pub async fn tell_price_list(
    list: &PriceList,
    context: &Context,
    outcome: Result<&str, (&str, String)>,
) -> Result<(), Pass> {
    let status = simple(list.status.as_ref(), list.metadata.generation, outcome);
    if list.status.as_ref() != Some(&status) {
        apply::simple_status::<PriceList>(&context.client, &list.name_any(), &json!(status)).await?;
    }
    Ok(())
}

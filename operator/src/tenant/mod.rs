//! Tenants: their namespaces, the operator's rights there, and what the ledger knows of them.

pub mod delegation;
pub mod figures;
pub mod parts;
mod set_up;

use crate::apply;
use crate::cache::Source;
use crate::catalogue::{classification, tenant_name, tenant_record};
use crate::condition::{merge_one, whole_second};
use crate::context::Context;
use crate::ledger::Ledger;
use crate::names::{LEDGER_FINALIZER, engine_namespace};
use crate::object::ChildKind;
use crate::reconcile::{Pass, fingerprint};
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use serde_json::json;
use set_up::{Outcome, Problem};
use siyada_crds::shared::SimpleStatus;
use siyada_crds::tenant::{ExistingNamespace, TenantStatus};
use siyada_crds::{PriceList, Tenant};
use siyada_model::id::TenantName;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// After a refusal of the ledger, such as a parent that is not there yet.
const AGAIN: Duration = Duration::from_secs(10);
/// While a namespace is somebody else's. It is not watched, because it has no label of ours.
const FOREIGN: Duration = Duration::from_secs(60);
/// While a namespace ends before it can be made again.
const SOON: Duration = Duration::from_secs(2);
/// Most sub-tenants named in a status.
const MOST_NAMED: usize = 10;

/// One pass over a tenant.
///
/// # Errors
/// [`Pass`]; the controller tries again with back-off.
pub async fn reconcile(tenant: Arc<Tenant>, context: Arc<Context>) -> Result<Action, Pass> {
    context.delegation.look();
    let name = match tenant_name(&tenant) {
        Ok(name) => name,
        Err(error) => {
            let problem = ("Invalid", error.to_string());
            return told(&tenant, &context, Err(problem), None, Action::await_change()).await;
        }
    };
    if tenant.metadata.deletion_timestamp.is_some() {
        return remove(&tenant, &name, &context).await;
    }
    apply::set_finalizer(&context.client, &*tenant, LEDGER_FINALIZER, true).await?;
    let chain = chain(&tenant, &context);
    let set_up = set_up(&tenant, &name, &chain, &context).await?;
    let namespaces = Some(set_up.namespaces);
    let mut record = match tenant_record(&tenant) {
        Ok(record) => record,
        Err(error) => {
            let problem = ("Invalid", error.to_string());
            return told(&tenant, &context, Err(problem), namespaces, Action::await_change()).await;
        }
    };
    record.namespaces.retain(|n| !set_up.missing.contains(n));
    let hash = fingerprint(&record);
    let (uid, key) =
        (tenant.uid().unwrap_or_default(), format!("ledger/{}", tenant.uid().unwrap_or_default()));
    if context.memory.lock().tenants.get(&key) != Some(&hash) {
        match context.ledger.put_tenant(&name, &record).await {
            Ok(()) => context.memory.lock().tenants.insert(key, hash),
            Err(Ledger::Refused(problem)) => {
                let problem = ("LedgerRefused", problem.detail.clone());
                return told(&tenant, &context, Err(problem), namespaces, Action::requeue(AGAIN)).await;
            }
            Err(error) => return Err(error.into()),
        };
        context.figures.placed(name.as_str(), tenant.spec.parent.as_deref());
    }
    context.backoff.clear(&uid);
    let next = if set_up.later { Action::requeue(SOON) } else { Action::await_change() };
    let again = if set_up.problem.is_some() { FOREIGN } else { AGAIN };
    if let Some(problem) = set_up.problem.or_else(|| above_parent(&chain)) {
        let next = if set_up.later { next } else { Action::requeue(again) };
        return told(&tenant, &context, Err(problem), namespaces, next).await;
    }
    told(&tenant, &context, Ok(good_news(&chain)), namespaces, next).await
}

/// A tenant and those above it, nearest first.
fn chain(tenant: &Arc<Tenant>, context: &Context) -> Vec<Arc<Tenant>> {
    let mut chain = vec![Arc::clone(tenant)];
    while let Some(parent) = chain.last().and_then(|t| t.spec.parent.as_deref())
        && chain.len() <= crate::catalogue::DEEPEST
        && let Some(parent) = context.catalogue.tenants.get(&ObjectRef::new(parent))
    {
        chain.push(parent);
    }
    chain
}

/// The reason and the sentence of a tenant that is as it should be.
fn good_news(chain: &[Arc<Tenant>]) -> (&'static str, String) {
    match chain.iter().position(|tenant| tenant.spec.suspend) {
        None => ("Accepted", "its namespaces are set up and the ledger knows its quota".to_owned()),
        Some(0) => (
            "Suspended",
            "suspended: no new orders and no growth, here and below; what runs runs on; set spec.suspend to false to go on"
                .to_owned(),
        ),
        Some(above) => (
            "Suspended",
            format!(
                "tenant {} above is suspended: no new orders and no growth; what runs runs on",
                chain[above].name_any()
            ),
        ),
    }
}

/// A tenant may not hold data that is more sensitive than those above it may.
fn above_parent(chain: &[Arc<Tenant>]) -> Option<Problem> {
    let own = classification(chain.first()?);
    let stricter = chain.iter().skip(1).find(|above| classification(above) < own)?;
    let (parent, highest) = (stricter.name_any(), classification(stricter));
    let message = format!(
        "dataClassification {own} is above {highest} of tenant {parent}: orders are held to {highest}; lower it here, or \
         ask for it to be raised there"
    );
    Some(("ClassificationAboveParent", message))
}

/// What became of a tenant's namespaces.
struct SetUp {
    namespaces: Vec<ExistingNamespace>,
    missing: BTreeSet<String>,
    problem: Option<Problem>,
    later: bool,
}

/// Namespaces and rights, then the watches that need them. Nothing is asked of the API server when all was done already.
async fn set_up(
    tenant: &Tenant,
    name: &TenantName,
    chain: &[Arc<Tenant>],
    context: &Context,
) -> Result<SetUp, Pass> {
    let engine = engine_namespace(name);
    let above: Vec<&Tenant> = chain.iter().map(|t| &**t).collect();
    let wanted = parts::namespaces(name.as_str(), &engine, &above, &context.config.namespace);
    let bound = context.catalogue.namespaces.bound();
    let surplus: Vec<(String, String)> = bound
        .iter()
        .filter(|(ns, b)| b.tenant == name.as_str() && !b.engine && !wanted.iter().any(|w| w.name == **ns))
        .map(|(ns, b)| (ns.clone(), b.uid.clone()))
        .collect();
    let hash = fingerprint(&(&wanted, &surplus));
    let key = tenant.uid().unwrap_or_default();
    let known = {
        let memory = context.memory.lock();
        memory.namespaces.get(&key).filter(|_| memory.tenants.get(&key) == Some(&hash)).cloned()
    };
    if let Some(namespaces) = known {
        start_watches(&engine, &namespaces, context);
        return Ok(SetUp { namespaces, missing: BTreeSet::new(), problem: None, later: false });
    }
    // What was set up for workloads once may have to go.
    let workloads = !tenant.spec.workloads.is_empty() || tenant.metadata.generation > Some(1);
    let mut done = SetUp { namespaces: Vec::new(), missing: BTreeSet::new(), problem: None, later: false };
    for namespace in &wanted {
        match set_up::namespace(context, name.as_str(), namespace, workloads).await? {
            Outcome::Done(_) if namespace.name == engine => {}
            Outcome::Done(uid) => {
                done.namespaces.push(ExistingNamespace { name: namespace.name.clone(), uid });
            }
            Outcome::Later => done.later = true,
            Outcome::Not(problem) => {
                done.missing.insert(namespace.name.clone());
                done.problem.get_or_insert(problem);
            }
        }
    }
    for (namespace, uid) in &surplus {
        let orders = context.orders.count_in(namespace);
        if orders == 0 {
            context.watches.stop(context, &secrets(namespace));
            set_up::release(context, name.as_str(), namespace, uid).await?;
            continue;
        }
        let message = format!(
            "namespace {namespace} is no longer listed but holds {orders} orders (kubectl get pgi,dsi -n {namespace}): it \
             stays this tenant's until they are gone"
        );
        done.problem.get_or_insert(("NamespaceInUse", message));
        done.namespaces.push(ExistingNamespace { name: namespace.clone(), uid: uid.clone() });
    }
    done.namespaces.sort_by(|a, b| a.name.cmp(&b.name));
    if done.problem.is_none() && !done.later {
        let mut memory = context.memory.lock();
        memory.namespaces.insert(key.clone(), done.namespaces.clone());
        memory.tenants.insert(key, hash);
    }
    start_watches(&engine, &done.namespaces, context);
    Ok(done)
}

fn secrets(namespace: &str) -> Source {
    Source { kind: ChildKind::Secret, namespace: Some(namespace.to_owned()) }
}

fn pods(namespace: &str) -> Source {
    Source { kind: ChildKind::Pod, namespace: Some(namespace.to_owned()) }
}

fn start_watches(engine: &str, own: &[ExistingNamespace], context: &Context) {
    for namespace in own.iter().map(|n| n.name.as_str()).chain([engine]) {
        context.watches.start(context, secrets(namespace));
    }
    context.watches.start(context, pods(engine));
}

async fn remove(tenant: &Tenant, name: &TenantName, context: &Context) -> Result<Action, Pass> {
    match context.ledger.delete_tenant(name).await {
        Ok(()) => {}
        Err(Ledger::Refused(problem)) => {
            let problem = ("InUse", problem.detail.clone());
            return told(tenant, context, Err(problem), None, Action::requeue(AGAIN)).await;
        }
        Err(error) => return Err(error.into()),
    }
    // When the kind itself is being removed, nobody asked for the tenants to go: they find their namespaces again.
    let released = !definition_is_going(context).await?;
    let bound = context.catalogue.namespaces.bound();
    for (namespace, of) in bound.iter().filter(|(_, b)| b.tenant == name.as_str()) {
        context.watches.stop(context, &secrets(namespace));
        context.watches.stop(context, &pods(namespace));
        if released && !of.engine {
            set_up::release(context, name.as_str(), namespace, &of.uid).await?;
        }
    }
    apply::set_finalizer(&context.client, tenant, LEDGER_FINALIZER, false).await?;
    if let Some(parent) = &tenant.spec.parent {
        context.figures.touch(parent);
    }
    let uid = tenant.uid().unwrap_or_default();
    let mut memory = context.memory.lock();
    memory.namespaces.remove(&uid);
    memory.tenants.retain(|key, _| !key.ends_with(&uid));
    drop(memory);
    tracing::info!(
        "tenant {name} is gone from the ledger; its namespaces are left for the platform to remove"
    );
    Ok(Action::await_change())
}

async fn definition_is_going(context: &Context) -> Result<bool, Pass> {
    let api: Api<CustomResourceDefinition> = Api::all(context.client.clone());
    let found = api.get_opt("tenants.siyada.cloud").await;
    let found = found.map_err(|e| Pass::Look("the definition of tenants", Box::new(e)))?;
    Ok(found.is_none_or(|crd| crd.metadata.deletion_timestamp.is_some()))
}

/// Writes a tenant's status, if it differs. The figures in it are written by whoever reads them from the ledger.
async fn told(
    tenant: &Tenant,
    context: &Context,
    outcome: Result<(&'static str, String), Problem>,
    namespaces: Option<Vec<ExistingNamespace>>,
    next: Action,
) -> Result<Action, Pass> {
    let old = tenant.status.clone().unwrap_or_default();
    let generation = tenant.metadata.generation;
    let (status, (reason, message)) = match outcome {
        Ok(news) => (true, news),
        Err(problem) => (false, problem),
    };
    let ready = merge_one(&old.conditions, "Ready", (status, reason, message), generation, Timestamp::now());
    let (child_count, children) = children(tenant, context);
    let wanted = TenantStatus {
        observed_generation: generation,
        conditions: vec![ready],
        namespaces: namespaces.unwrap_or_else(|| old.namespaces.clone()),
        child_count: Some(child_count),
        children,
        ..TenantStatus::default()
    };
    let there = TenantStatus {
        observed_generation: old.observed_generation,
        conditions: old.conditions.into_iter().filter(|c| c.type_ == "Ready").collect(),
        namespaces: old.namespaces,
        child_count: old.child_count,
        children: old.children,
        ..TenantStatus::default()
    };
    if there != wanted {
        apply::simple_status::<Tenant>(&context.client, &tenant.name_any(), &json!(wanted)).await?;
    }
    Ok(next)
}

/// The tenants directly below: how many, and the first of them.
fn children(tenant: &Tenant, context: &Context) -> (i32, Vec<String>) {
    let name = tenant.name_any();
    let mut children: Vec<String> = context
        .catalogue
        .tenants
        .state()
        .iter()
        .filter(|t| t.spec.parent.as_deref() == Some(&name))
        .map(|t| t.name_any())
        .collect();
    let count = i32::try_from(children.len()).unwrap_or(i32::MAX);
    children.sort_unstable();
    children.truncate(MOST_NAMED);
    (count, children)
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
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(whole_second(Timestamp::now()));
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

//! Brings a tenant's namespaces about: creates or binds them, sets up what is in them, lets go of those that are no
//! longer listed. A namespace of somebody else is never taken over.

use super::parts::{Part, WantedNamespace};
use crate::apply::tenants::{self as apply, PartKind};
use crate::context::Context;
use crate::names::{ENGINE, TENANT};
use crate::namespaces::Bound;
use crate::reconcile::Pass;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, ListParams};
use std::collections::BTreeMap;

/// Why a tenant is not as it should be: a reason and a sentence with a way out.
pub type Problem = (&'static str, String);

/// The kinds that are set up only if asked for.
const WORKLOADS: [PartKind; 3] = [PartKind::NetworkPolicy, PartKind::ResourceQuota, PartKind::LimitRange];

/// Whether a namespace can be set up.
enum Standing {
    /// It is the tenant's: its uid.
    Own(String),
    /// Not yet.
    Later,
    /// It never will be, unless somebody acts.
    Not(Problem),
}

/// What became of a namespace.
pub enum Outcome {
    /// It is set up: its uid.
    Done(String),
    /// Not yet.
    Later,
    /// Somebody must act.
    Not(Problem),
}

/// Creates or binds a namespace and sets up what is in it. `workloads` says whether anything for workloads may be there.
///
/// # Errors
/// [`Pass`].
pub async fn namespace(
    context: &Context,
    tenant: &str,
    wanted: &WantedNamespace,
    workloads: bool,
) -> Result<Outcome, Pass> {
    let uid = match stand(context, tenant, wanted).await? {
        Standing::Own(uid) => uid,
        Standing::Later => return Ok(Outcome::Later),
        Standing::Not(problem) => return Ok(Outcome::Not(problem)),
    };
    if let Some(problem) = parts(context, tenant, wanted, workloads).await? {
        return Ok(Outcome::Not(problem));
    }
    Ok(Outcome::Done(uid))
}

async fn stand(context: &Context, tenant: &str, wanted: &WantedNamespace) -> Result<Standing, Pass> {
    let name = wanted.name.as_str();
    if [&context.config.namespace, &context.config.engine_namespace].contains(&&wanted.name) {
        let message = format!("namespace {name} is the platform's own and belongs to no tenant");
        return Ok(Standing::Not(("NamespaceTaken", message)));
    }
    if let Some(bound) = context.catalogue.namespaces.bound().get(name) {
        return label(context, tenant, wanted, bound).await;
    }
    if wanted.uid.is_none()
        && let Some(made) = apply::create_namespace(&context.client, name, &wanted.labels).await?
    {
        tracing::info!("made namespace {name} of tenant {tenant}");
        return Ok(Standing::Own(made.uid().unwrap_or_default()));
    }
    let api: Api<Namespace> = Api::all(context.client.clone());
    let found = api.get_opt(name).await.map_err(|e| Pass::Look("a namespace", Box::new(e)))?;
    let Some(found) = found else {
        let Some(uid) = &wanted.uid else { return Ok(Standing::Later) };
        let message = format!(
            "there is no namespace {name} with uid {uid} to bind: name it in spec.namespaces and it is made"
        );
        return Ok(Standing::Not(("NamespaceNotFound", message)));
    };
    let labels = found.labels();
    let there = Bound {
        uid: found.uid().unwrap_or_default(),
        tenant: labels.get(TENANT).cloned().unwrap_or_default(),
        engine: labels.contains_key(ENGINE),
        terminating: found.metadata.deletion_timestamp.is_some(),
        labels: labels.clone(),
    };
    label(context, tenant, wanted, &there).await
}

/// Judges a namespace that exists, and labels it when it is the tenant's or may become so.
async fn label(
    context: &Context,
    tenant: &str,
    wanted: &WantedNamespace,
    there: &Bound,
) -> Result<Standing, Pass> {
    let own = there.tenant == tenant && there.engine == wanted.labels.contains_key(ENGINE);
    if let Some(problem) = taken(tenant, wanted, there, own) {
        return Ok(Standing::Not(("NamespaceTaken", problem)));
    }
    if there.terminating {
        return Ok(Standing::Later);
    }
    let right = |(key, value): (&String, &String)| there.labels.get(key) == Some(value);
    if !wanted.labels.iter().all(right) {
        let labels = wanted.labels.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect();
        if !apply::label_namespace(&context.client, &wanted.name, &there.uid, &labels).await? {
            return Ok(Standing::Later);
        }
    }
    Ok(Standing::Own(there.uid.clone()))
}

/// Why a namespace that exists cannot be this tenant's.
fn taken(tenant: &str, wanted: &WantedNamespace, there: &Bound, own: bool) -> Option<String> {
    let name = &wanted.name;
    if !there.tenant.is_empty() && !own {
        return Some(format!(
            "namespace {name} is bound to tenant {}: remove it from one of the two",
            if there.tenant == tenant { "this and holds its engine objects" } else { &there.tenant }
        ));
    }
    match &wanted.uid {
        Some(uid) if *uid != there.uid => Some(format!(
            "namespace {name} has uid {}, not {uid}: it was made again since; look whose it is now, then correct \
             spec.existingNamespaces",
            there.uid
        )),
        Some(_) => None,
        None if own => None,
        None => Some(format!(
            "namespace {name} exists already and is not this tenant's, so it is not taken over: choose another name, or \
             let the platform bind it by spec.existingNamespaces: [{{name: {name}, uid: {}}}]",
            there.uid
        )),
    }
}

/// Brings about what is in a namespace and removes the surplus of ours.
async fn parts(
    context: &Context,
    tenant: &str,
    wanted: &WantedNamespace,
    workloads: bool,
) -> Result<Option<Problem>, Pass> {
    // Our own rights first: the others need them.
    let mut kinds = vec![PartKind::RoleBinding];
    if workloads && !wanted.labels.contains_key(ENGINE) {
        kinds.extend(WORKLOADS);
    }
    for kind in kinds {
        let api = kind.api(&context.client, Some(&wanted.name));
        let there = api.list(&ListParams::default()).await;
        let there = there.map_err(|e| Pass::Look("what is set up in a namespace", Box::new(e)))?.items;
        let wanted: Vec<&Part> = wanted.parts.iter().filter(|part| part.kind == kind).collect();
        for part in &wanted {
            let found = there.iter().find(|object| object.name_any() == part.name());
            if let Some(found) = found.filter(|found| other_role(part, found)) {
                if !ours(found, tenant) {
                    return Ok(Some(foreign(found, kind)));
                }
                // The role of a binding cannot be changed.
                apply::remove_part(&context.client, kind, found).await?;
            }
            if found.is_none_or(|found| !is_so(part, found)) {
                apply::part(&context.client, kind, &part.body).await?;
            }
        }
        for surplus in there.iter().filter(|object| ours(object, tenant)) {
            if !wanted.iter().any(|part| part.name() == surplus.name_any()) {
                apply::remove_part(&context.client, kind, surplus).await?;
            }
        }
    }
    Ok(None)
}

fn ours(object: &DynamicObject, tenant: &str) -> bool {
    object.labels().get(TENANT).map(String::as_str) == Some(tenant)
        && object.name_any().starts_with("siyada-")
}

/// A binding of another role under the name of ours. One of an earlier version carries no label but binds the same role.
fn other_role(part: &Part, found: &DynamicObject) -> bool {
    part.kind == PartKind::RoleBinding
        && !found.data.get("roleRef").is_some_and(|role| crate::object::is_so(&part.body["roleRef"], role))
}

fn foreign(found: &DynamicObject, kind: PartKind) -> Problem {
    let (namespace, name) = (found.namespace().unwrap_or_default(), found.name_any());
    let what = kind.resource().kind;
    let message = format!("{what} {namespace}/{name} is not the operator's and is left alone: rename it");
    ("NameConflict", message)
}

/// Whether an object says what its part wants. What a list brings does not say its kind.
pub fn is_so(part: &Part, found: &DynamicObject) -> bool {
    let (Ok(found), Some(wanted)) = (serde_json::to_value(found), part.body.as_object()) else {
        return false;
    };
    let telling = wanted.iter().filter(|(field, _)| !["apiVersion", "kind"].contains(&field.as_str()));
    telling.into_iter().all(|(field, value)| {
        found.get(field).map_or(crate::object::is_nothing(value), |found| crate::object::is_so(value, found))
    })
}

/// Lets go of a namespace: removes what was set up in it, our own rights last, then the label. Its content stays.
///
/// # Errors
/// [`Pass`].
pub async fn release(context: &Context, tenant: &str, name: &str, uid: &str) -> Result<(), Pass> {
    for kind in WORKLOADS.into_iter().chain([PartKind::RoleBinding]) {
        let api = kind.api(&context.client, Some(name));
        let there = match api.list(&ListParams::default().labels(&apply::of_tenant(tenant))).await {
            Ok(list) => list.items,
            // Our rights were removed already: an earlier try came so far.
            Err(kube::Error::Api(status)) if status.is_forbidden() || status.is_not_found() => Vec::new(),
            Err(error) => return Err(Pass::Look("what is set up in a namespace", Box::new(error))),
        };
        for object in there.iter().filter(|object| ours(object, tenant)) {
            apply::remove_part(&context.client, kind, object).await?;
        }
    }
    let labels = BTreeMap::from([(TENANT.to_owned(), None)]);
    apply::label_namespace(&context.client, name, uid, &labels).await?;
    tracing::info!("namespace {name} is no longer bound to tenant {tenant}; what is in it stays");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(uid: Option<&str>) -> WantedNamespace {
        let labels = BTreeMap::from([(TENANT.to_owned(), "t".to_owned())]);
        WantedNamespace { name: "apps".into(), uid: uid.map(str::to_owned), labels, parts: Vec::new() }
    }

    #[test]
    fn a_namespace_is_taken_by_label_of_ours_or_by_uid_and_never_by_name() {
        let check = |uid: Option<&str>, tenant: &str, expect: Option<&str>| {
            let there = Bound { uid: "1".into(), tenant: tenant.into(), ..Bound::default() };
            let why = taken("t", &wanted(uid), &there, tenant == "t");
            match expect {
                None => assert_eq!(why, None),
                Some(text) => assert!(why.as_ref().is_some_and(|w| w.contains(text)), "{why:?}"),
            }
        };
        check(None, "t", None);
        check(None, "", Some("uid: 1}]"));
        check(None, "other", Some("bound to tenant other"));
        check(Some("1"), "", None);
        check(Some("1"), "t", None);
        check(Some("2"), "", Some("has uid 1, not 2"));
        check(Some("2"), "t", Some("has uid 1, not 2"));
        check(Some("1"), "other", Some("bound to tenant other"));
    }
}

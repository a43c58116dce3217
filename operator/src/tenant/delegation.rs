//! Rights of tenant admins: for each role in a tenant's access a ClusterRole over the tenants of its subtree, where an
//! admin is there to use it. A policy bounds what these may say, and another what may be done with them.

use super::parts::{Part, ROLES, groups, subjects, word};
use super::set_up::is_so;
use crate::apply::tenants::{self as apply, PartKind};
use crate::context::Context;
use crate::names::TENANT;
use crate::reconcile::Pass;
use kube::ResourceExt;
use kube::api::{DynamicObject, ListParams};
use serde_json::{Value, json};
use siyada_crds::Tenant;
use siyada_crds::tenant::RoleName;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Tenants come in bursts; one look serves them all.
const BURST: Duration = Duration::from_millis(300);
/// After a fault.
const AGAIN: Duration = Duration::from_secs(10);

/// Makes the roles be looked at. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Delegation {
    wake: Arc<Notify>,
}

impl Delegation {
    /// Looks at the roles soon.
    pub fn look(&self) {
        self.wake.notify_one();
    }
}

/// The tenants below each tenant, itself first.
struct Tree<'a> {
    children: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Tree<'a> {
    fn of(tenants: &'a [Arc<Tenant>]) -> Self {
        let mut children: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for tenant in tenants {
            if let (Some(parent), Some(name)) = (&tenant.spec.parent, &tenant.metadata.name) {
                children.entry(parent).or_default().push(name);
            }
        }
        Self { children }
    }

    fn subtree(&self, top: &'a str) -> BTreeSet<&'a str> {
        let (mut found, mut open) = (BTreeSet::new(), vec![top]);
        while let Some(next) = open.pop() {
            // A circle ends where it began.
            if found.insert(next) {
                open.extend(self.children.get(next).into_iter().flatten());
            }
        }
        found
    }
}

/// The roles and bindings that should be, by name. Pure.
pub fn wanted(tenants: &[Arc<Tenant>]) -> Vec<Part> {
    let tree = Tree::of(tenants);
    let admins: BTreeSet<&str> = tenants
        .iter()
        .filter(|t| !groups(t, RoleName::Admin).is_empty())
        .flat_map(|t| tree.subtree(t.metadata.name.as_deref().unwrap_or_default()))
        .collect();
    let mut parts = Vec::new();
    for tenant in tenants {
        let Some(name) = tenant.metadata.name.as_deref().filter(|name| admins.contains(name)) else {
            continue;
        };
        for role in ROLES {
            let groups = groups(tenant, role);
            if !groups.is_empty() {
                parts.extend(role_and_binding(name, role, &tree.subtree(name), &groups));
            }
        }
    }
    parts
}

fn role_and_binding(
    tenant: &str,
    role: RoleName,
    subtree: &BTreeSet<&str>,
    groups: &BTreeSet<String>,
) -> [Part; 2] {
    let name = format!("siyada-tenant-{}-{tenant}", word(role));
    let metadata = json!({"name": name, "labels": {TENANT: tenant}});
    let rule = |resource: &str, names: &BTreeSet<&str>, verbs: &[&str]| json!({"apiGroups": ["siyada.cloud"], "resources": [resource], "resourceNames": names, "verbs": verbs});
    let below: BTreeSet<&str> = subtree.iter().copied().filter(|name| *name != tenant).collect();
    let mut rules = vec![rule(&format!("tenants/{}", word(role)), subtree, &["grant"])];
    if role == RoleName::Admin {
        rules.push(rule("tenants", subtree, &["delegate", "get"]));
        rules.push(json!({"apiGroups": ["siyada.cloud"], "resources": ["tenants"], "verbs": ["create"]}));
        // Without names a rule would mean every tenant there is.
        if !below.is_empty() {
            rules.push(rule("tenants", &below, &["delete", "patch", "update"]));
        }
    } else {
        rules.push(rule("tenants", subtree, &["get"]));
    }
    let version = "rbac.authorization.k8s.io/v1";
    let cluster_role =
        json!({"apiVersion": version, "kind": "ClusterRole", "metadata": metadata, "rules": rules});
    let binding = json!({
        "apiVersion": version, "kind": "ClusterRoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": subjects(groups),
    });
    [
        Part { kind: PartKind::ClusterRole, body: cluster_role },
        Part { kind: PartKind::ClusterRoleBinding, body: binding },
    ]
}

type Known = BTreeMap<(PartKind, String), DynamicObject>;

/// Keeps the roles as they should be, until the process ends. What is there is read once, at the start.
pub async fn run(context: Arc<Context>) {
    let mut known: Option<Known> = None;
    loop {
        context.delegation.wake.notified().await;
        tokio::time::sleep(BURST).await;
        if let Err(error) = keep(&context, &mut known).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the roles of tenant admins are tried again"
            );
            known = None;
            let delegation = context.delegation.clone();
            tokio::spawn(async move {
                tokio::time::sleep(AGAIN).await;
                delegation.look();
            });
        }
    }
}

async fn keep(context: &Context, known: &mut Option<Known>) -> Result<(), Pass> {
    let wanted = wanted(&context.catalogue.tenants.state());
    let mut there = match known.take() {
        Some(known) => known,
        None => read(context).await?,
    };
    for part in &wanted {
        let key = (part.kind, part.name().to_owned());
        if there.get(&key).is_some_and(|found| is_so(part, found) && same_rules(part, found)) {
            continue;
        }
        apply::part(&context.client, part.kind, &part.body).await?;
        let written = serde_json::from_value(part.body.clone()).map_err(kube::Error::SerdeError);
        there.insert(key, written.map_err(|e| Pass::Look("a role", Box::new(e)))?);
    }
    let names: BTreeSet<(PartKind, &str)> = wanted.iter().map(|part| (part.kind, part.name())).collect();
    let surplus: Vec<_> =
        there.keys().filter(|(kind, name)| !names.contains(&(*kind, name.as_str()))).cloned().collect();
    // Bindings sort after roles and go first: no right outlives its reason.
    for key in surplus.into_iter().rev() {
        if let Some(object) = there.get(&key) {
            apply::remove_part(&context.client, key.0, object).await?;
        }
        there.remove(&key);
    }
    *known = Some(there);
    Ok(())
}

/// Rules are a list of maps: one that lost a name must not count as the same.
fn same_rules(part: &Part, found: &DynamicObject) -> bool {
    part.body.get("rules").unwrap_or(&Value::Null) == found.data.get("rules").unwrap_or(&Value::Null)
}

async fn read(context: &Context) -> Result<Known, Pass> {
    let mut known = Known::new();
    for kind in [PartKind::ClusterRole, PartKind::ClusterRoleBinding] {
        let list = kind.api(&context.client, None).list(&ListParams::default().labels(TENANT)).await;
        let list = list.map_err(|e| Pass::Look("the roles of tenant admins", Box::new(e)))?;
        let ours = list.items.into_iter().filter(|object| object.name_any().starts_with("siyada-tenant-"));
        known.extend(ours.map(|object| ((kind, object.name_any()), object)));
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str, parent: Option<&str>, access: Value) -> Arc<Tenant> {
        let value = json!({
            "apiVersion": "siyada.cloud/v1alpha1", "kind": "Tenant", "metadata": {"name": name},
            "spec": {"kind": "Agency", "parent": parent, "dataClassification": "Internal", "access": access},
        });
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn names_for(part: &Part, verb: &str) -> Vec<String> {
        let rules = part.body["rules"].as_array().unwrap();
        let rules = rules.iter().filter(|r| {
            r["resources"] == json!(["tenants"]) && r["verbs"].as_array().unwrap().contains(&json!(verb))
        });
        rules
            .flat_map(|r| r["resourceNames"].as_array().cloned().unwrap_or_default())
            .map(|v| v.as_str().unwrap_or_default().to_owned())
            .collect()
    }

    #[test]
    fn an_admin_writes_below_his_tenant_and_nowhere_else() {
        let tenants = [
            tenant("m", None, json!([{"role": "admin", "groups": ["m-admins"]}])),
            tenant("m-a", Some("m"), json!([{"role": "finance", "groups": ["payers"]}])),
            tenant("m-a-p", Some("m-a"), json!([])),
            tenant("other", None, json!([{"role": "finance", "groups": ["others"]}])),
        ];
        let parts = wanted(&tenants);
        let names: Vec<&str> = parts.iter().map(Part::name).collect();
        assert_eq!(
            names,
            [
                "siyada-tenant-admin-m",
                "siyada-tenant-admin-m",
                "siyada-tenant-finance-m-a",
                "siyada-tenant-finance-m-a"
            ]
        );
        assert_eq!(names_for(&parts[0], "update"), ["m-a", "m-a-p"]);
        assert_eq!(names_for(&parts[0], "delegate"), ["m", "m-a", "m-a-p"]);
        assert_eq!(names_for(&parts[2], "update"), [""; 0]);
    }

    #[test]
    fn no_rule_but_creation_goes_without_names_and_circles_end() {
        let admin = json!([{"role": "admin", "groups": ["g"]}]);
        let tenants = [
            tenant("a", Some("b"), admin.clone()),
            tenant("b", Some("a"), json!([])),
            tenant("c", None, admin),
        ];
        for part in wanted(&tenants).iter().filter(|p| p.kind == PartKind::ClusterRole) {
            for rule in part.body["rules"].as_array().unwrap() {
                let named = rule["resourceNames"].as_array().is_some_and(|names| !names.is_empty());
                assert!(named || rule["verbs"] == json!(["create"]), "{rule}");
            }
        }
    }
}

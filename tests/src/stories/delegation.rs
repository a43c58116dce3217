//! What a tenant's admin may do below his tenant, and nowhere else.

use super::tenancy::{cleared, made, tenant};
use crate::kubectl::Kubectl;
use crate::platform::ready;
use crate::wait::{eventually, seconds};
use anyhow::Result;

const TOP: &str = "story-min";
const CHILD: &str = "story-min-water";
const GRANDCHILD: &str = "story-min-water-maps";
const OTHER: &str = "story-oth";
const GROUP: &str = "story-min-admins";

/// A tenant below, without access of its own.
fn below(name: &str, parent: &str, more: &str) -> String {
    tenant(name, Some(parent), &format!("access: [], {more}"))
}

/// A tenant admin makes, sizes and removes tenants in his tree, with no right of the platform's.
pub async fn delegation() -> Result<()> {
    let access =
        format!("access: [{{role: admin, groups: [{GROUP}]}}, {{role: requester, groups: [{GROUP}]}}], ");
    made(TOP, None, &format!("{access}quota: {{instances: 4}}")).await?;
    made(OTHER, None, "quota: {instances: 4}").await?;
    let amina = Kubectl::person("story-amina", GROUP);
    let lived = live(&amina).await;
    // Whatever happened, the policies below are tried with more rights than the operator gives.
    let held = held_by_policy().await;
    cleared(&[], &[OTHER, GRANDCHILD, CHILD, TOP]).await?;
    lived.and(held)
}

async fn live(amina: &Kubectl) -> Result<()> {
    let admin = Kubectl::admin();
    let create = |yaml: String| async move {
        // The operator gives the rights some moments after the tenant is there.
        let make = || async {
            let printed = amina.try_with(&["create", "-f", "-"], &yaml).await?;
            anyhow::ensure!(printed.ok, "{}", printed.err.trim());
            Ok(())
        };
        eventually(seconds(20), "the admin to make a tenant", make).await
    };
    let grants = "access: [{role: requester, groups: [story-water-it]}], ";
    create(tenant(CHILD, Some(TOP), &format!("{grants}quota: {{instances: 9}}"))).await?;
    ready(&admin, "tenant", "default", CHILD, 60).await?;
    create(below(GRANDCHILD, CHILD, "quota: {instances: 1}")).await?;
    ready(&admin, "tenant", "default", GRANDCHILD, 60).await?;
    let size = r#"{"spec":{"quota":{"instances":2}}}"#;
    let resize = || async { amina.run(&["patch", "tenant", GRANDCHILD, "--type=merge", "-p", size]).await };
    eventually(seconds(20), "the admin to size a tenant", resize).await?;
    amina.run(&["get", "tn", TOP, CHILD, GRANDCHILD]).await?;
    // Rights end where his tree ends, and at his own tenant.
    for (arguments, text) in [
        (vec!["patch", "tenant", TOP, "--type=merge", "-p", size], "cannot patch"),
        (vec!["patch", "tenant", OTHER, "--type=merge", "-p", size], "cannot"),
        (vec!["delete", "tenant", OTHER], "cannot delete"),
        (vec!["delete", "tenant", TOP], "cannot delete"),
        (vec!["get", "tn", OTHER], "cannot get"),
        (vec!["get", "tn"], "cannot list"),
    ] {
        amina.fails(&arguments, "", &[text]).await?;
    }
    let new = |name: &str, parent: &str, more: &str| below(name, parent, more);
    let existing = "existingNamespaces: [{name: interior-apps, uid: x}]";
    let finance = tenant("story-min-b", Some(TOP), "access: [{role: finance, groups: [story-friends]}], ");
    for (yaml, text) in [
        (
            new("story-min-b", TOP, "").replace(&format!("parent: {TOP}, "), ""),
            "only the platform has tenants without a parent",
        ),
        (new("story-oth-b", OTHER, ""), "you are not an admin of tenant story-oth"),
        (new("story-min-b", TOP, existing), "only the platform binds namespaces"),
        (new("cert-manager", TOP, ""), "must have a name that begins with story-min-"),
        (
            new("story-min-b", TOP, "").replace("[story-min-b-apps]", "[monitoring]"),
            "must be named story-min-b or begin with",
        ),
        (finance, "you do not have the role finance in tenant story-min"),
    ] {
        amina.fails(&["create", "-f", "-"], &yaml, &[text]).await?;
    }
    for (patch, text) in [
        (r#"{"spec":{"parent":"story-oth"}}"#, "you are not an admin of tenant story-oth"),
        (r#"{"spec":{"parent":null}}"#, "only the platform has tenants without a parent"),
        (r#"{"metadata":{"finalizers":null}}"#, "finalizers of siyada.cloud are the operator's"),
    ] {
        amina.fails(&["patch", "tenant", CHILD, "--type=merge", "-p", patch], "", &[text]).await?;
    }
    amina.fails(&["delete", "tenant", CHILD], "", &["has 1 tenants below it", GRANDCHILD]).await
}

/// The same refusals for somebody whom RBAC alone would not hold.
async fn held_by_policy() -> Result<()> {
    let admin = Kubectl::admin();
    let wide = Kubectl::person("story-wide", "story-min-wide");
    let verbs = "--verb=get,list,create,update,patch,delete";
    admin.run(&["create", "clusterrole", "story-min-wide", verbs, "--resource=tenants.siyada.cloud"]).await?;
    let bind = [
        "create",
        "clusterrolebinding",
        "story-min-wide",
        "--clusterrole=story-min-wide",
        "--group=story-min-wide",
    ];
    admin.run(&bind).await?;
    let held = async {
        let size = r#"{"spec":{"quota":{"instances":99}}}"#;
        let text = "is not below one whose admin you are";
        wide.fails(&["patch", "tenant", CHILD, "--type=merge", "-p", size], "", &[text]).await?;
        wide.fails(&["patch", "tenant", TOP, "--type=merge", "-p", size], "", &[text]).await?;
        wide.fails(&["delete", "tenant", OTHER], "", &[text]).await?;
        let root = tenant("story-min-root", None, "");
        wide.fails(&["create", "-f", "-"], &root, &["only the platform has tenants without a parent"]).await
    }
    .await;
    admin.run(&["delete", "clusterrolebinding,clusterrole", "story-min-wide"]).await?;
    held
}

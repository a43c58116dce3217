//! Tenants: how they come to be, what they hold, how they move. Each story has tenants of its own.

use super::{DISPOSABLE, advice, postgres};
use crate::kubectl::{Kubectl, condition};
use crate::platform::{self, Api, SYSTEM, gone, ready, wait_for};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, ensure};
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

/// A tenant with one namespace, `NAME-apps`, whose service accounts order and read its figures.
pub fn tenant(name: &str, parent: Option<&str>, more: &str) -> String {
    let parent = parent.map(|p| format!("parent: {p}, ")).unwrap_or_default();
    let access = if more.contains("access:") {
        String::new()
    } else {
        format!(
            "access: [{{role: requester, groups: ['system:serviceaccounts:{name}-apps']}}, {{role: finance, groups: \
             ['system:serviceaccounts:{name}-apps']}}], "
        )
    };
    format!(
        "apiVersion: siyada.cloud/v1alpha1\nkind: Tenant\nmetadata: {{name: {name}}}\nspec: {{{parent}kind: Project, \
         namespaces: [{name}-apps], dataClassification: Internal, {access}{more}}}\n"
    )
}

/// A site that no pod can run on.
const NOWHERE: &str = "apiVersion: siyada.cloud/v1alpha1
kind: Site
metadata: {name: story-nowhere}
spec: {country: MA, operatingBody: Nobody, qualification: no node is here, dataClassification: Internal, storageClass: siyada-local,
  nodeSelector: {siyada.cloud/story: nowhere}}
";

/// Makes the site of [`parked`] orders. It stays: nobody runs there.
///
/// # Errors
/// When the API server does not take it.
pub async fn nowhere() -> Result<()> {
    let admin = Kubectl::admin();
    // Stories are lived side by side: whoever makes it a moment later is told that it exists already.
    eventually(seconds(20), "the site without nodes", || async { admin.apply(NOWHERE).await.map(|_| ()) })
        .await
}

/// Applies a tenant, and the site of [`parked`] orders, and waits until it is set up.
///
/// # Errors
/// Says what it is instead.
pub async fn made(name: &str, parent: Option<&str>, more: &str) -> Result<()> {
    let admin = Kubectl::admin();
    nowhere().await?;
    admin.apply(&tenant(name, parent, more)).await?;
    ready(&admin, "tenant", "default", name, 60).await.map(|_| ())
}

/// An order that holds its whole part of the quota, as one that runs, and runs nothing: no node is at its site.
pub fn parked(namespace: &str, name: &str) -> String {
    postgres(namespace, name, &format!("site: story-nowhere, {DISPOSABLE}"))
}

/// Removes orders, then tenants, the lowest first, and waits until they are gone.
///
/// # Errors
/// Says what is still there.
pub async fn cleared(orders: &[(&str, &str)], tenants: &[&str]) -> Result<()> {
    let admin = Kubectl::admin();
    let removed = orders.iter().map(|(namespace, name)| {
        let admin = &admin;
        async move {
            admin
                .run(&["-n", namespace, "delete", "pgi", name, "--wait=false", "--ignore-not-found"])
                .await?;
            gone("pgi", namespace, name, 180).await
        }
    });
    futures::future::try_join_all(removed).await?;
    for name in tenants {
        // Its figures follow within seconds.
        let delete = || async { admin.run(&["delete", "tenant", name, "--wait=false"]).await };
        eventually(seconds(60), &format!("tenant {name} to be deleted"), delete).await?;
        gone("tenant", "default", name, 60).await?;
        admin.run(&["delete", "namespace", &format!("{name}-apps"), "--wait=false"]).await?;
    }
    Ok(())
}

async fn admitted(namespace: &str, name: &str) -> Result<Value> {
    wait_for(&Kubectl::admin(), "pgi", namespace, name, "Admitted", "True", None, 60).await
}

/// Waits until a field of a tenant's status has a value.
///
/// # Errors
/// Says what it is instead.
pub async fn says(name: &str, path: &str, expect: &Value) -> Result<()> {
    let admin = Kubectl::admin();
    eventually(seconds(30), &format!("tenant {name} to have {path}={expect}"), || async {
        let tenant = admin.get("tenant", "default", name).await?.context("no tenant")?;
        let found = tenant.pointer(path).cloned().unwrap_or(Value::Null);
        ensure!(found == *expect, "it is {found}");
        Ok(())
    })
    .await
}

/// One file makes a tenant: namespace, roles that work for members of its groups, what its workloads may take.
pub async fn onboarding() -> Result<()> {
    let admin = Kubectl::admin();
    let (orderer, court, stranger) = (
        Kubectl::person("story-amina", "story-on-it"),
        Kubectl::person("story-judge", "story-on-court"),
        Kubectl::person("story-nobody", "story-strangers"),
    );
    let access = |auditor: &str| {
        format!("access: [{{role: requester, groups: [story-on-it]}}{auditor}], quota: {{instances: 2}}, ")
    };
    let auditor = ", {role: auditor, groups: [story-on-court]}";
    let workloads =
        "workloads: {networkPolicies: true, resourceQuota: {pods: '9'}, limitRange: {default: {cpu: 500m}}}";
    let namespace = "story-on-apps";
    made("story-on", None, &format!("{}{workloads}", access(auditor))).await?;
    for (kind, name) in [
        ("networkpolicy", "siyada-default-deny"),
        ("networkpolicy", "siyada-allow-within"),
        ("resourcequota", "siyada-workloads"),
        ("limitrange", "siyada-workloads"),
    ] {
        ensure!(admin.get(kind, namespace, name).await?.is_some(), "there is no {kind} {name}");
    }
    let order = parked(namespace, "first");
    orderer.apply(&order).await?;
    orderer.run(&["-n", namespace, "get", "pgi,secrets"]).await?;
    court.run(&["-n", namespace, "get", "pgi"]).await?;
    court.fails(&["apply", "-f", "-"], &parked(namespace, "courtly"), &["cannot create"]).await?;
    court.fails(&["-n", namespace, "get", "secrets"], "", &["cannot list"]).await?;
    stranger.fails(&["-n", namespace, "get", "pgi"], "", &["cannot list"]).await?;
    admitted(namespace, "first").await?;
    says("story-on", "/status/quota/instances/summary", &json!("1/2")).await?;
    let columns = admin.run(&["get", "tn", "story-on"]).await?;
    ensure!(columns.contains("1/2") && columns.contains("150.19 MAD"), "{columns}");
    // Whoever loses a role loses his rights, and what is no longer asked for goes.
    admin.apply(&tenant("story-on", None, &access(""))).await?;
    eventually(seconds(30), "the auditor's binding and the policies to go", || async {
        let left = admin.get("rolebinding", namespace, "siyada-auditor").await?;
        let policy = admin.get("networkpolicy", namespace, "siyada-default-deny").await?;
        ensure!(left.is_none() && policy.is_none(), "they are still there");
        Ok(())
    })
    .await?;
    court.fails(&["-n", namespace, "get", "pgi"], "", &["cannot list"]).await?;
    let who = Kubectl::person("story-platform", "story-platform");
    grant("story-on", "siyada-platform", "story-platform").await?;
    let refused = who.fails(&["delete", "tenant", "story-on"], "", &["still holds 1", "first"]).await;
    revoke("story-on").await?;
    refused?;
    cleared(&[(namespace, "first")], &["story-on"]).await
}

/// Gives a group a ClusterRole for the time of a story.
pub(super) async fn grant(name: &str, role: &str, group: &str) -> Result<()> {
    let (role, group) = (format!("--clusterrole={role}"), format!("--group={group}"));
    Kubectl::admin().run(&["create", "clusterrolebinding", name, &role, &group]).await.map(|_| ())
}

/// Takes it away again.
pub(super) async fn revoke(name: &str) -> Result<()> {
    Kubectl::admin().run(&["delete", "clusterrolebinding", name]).await.map(|_| ())
}

/// A namespace of somebody else is never taken over by its name, and one made again inherits nothing.
pub async fn namespace_taken() -> Result<()> {
    let (admin, namespace) = (Kubectl::admin(), "story-taken-apps");
    admin.run(&["create", "namespace", namespace]).await?;
    admin.apply(&tenant("story-taken", None, "")).await?;
    let reason = Some("NamespaceTaken");
    let told = wait_for(&admin, "tenant", "default", "story-taken", "Ready", "False", reason, 30).await?;
    let (_, _, message) = condition(&told, "Ready").context("no condition")?;
    let uid = async || platform::uid(&admin.get("namespace", "default", namespace).await?.context("gone")?);
    let first = uid().await?;
    ensure!(message.contains("existingNamespaces") && message.contains(&first), "{message}");
    let there = admin.get("namespace", "default", namespace).await?.context("gone")?;
    ensure!(there.pointer("/metadata/labels/siyada.cloud~1tenant").is_none(), "it was taken over");
    ensure!(
        admin.list("rolebindings", namespace, "siyada.cloud/tenant").await?.is_empty(),
        "rights were given"
    );
    advice::refused(&admin, &parked(namespace, "stray"), &["belongs to no tenant"]).await?;

    let bound = |uid: &str| {
        tenant("story-taken", None, "").replace(
            &format!("namespaces: [{namespace}]"),
            &format!("existingNamespaces: [{{name: {namespace}, uid: {uid}}}]"),
        )
    };
    admin.apply(&bound("somebody-elses")).await?;
    wait_for(&admin, "tenant", "default", "story-taken", "Ready", "False", reason, 30).await?;
    admin.apply(&bound(&first)).await?;
    ready(&admin, "tenant", "default", "story-taken", 60).await?;
    let system = bound("x").replace(&format!("name: {namespace}"), "name: kube-system");
    admin.refused(&system, &["platform's own namespaces"]).await?;

    // Made again by somebody else, by the same name: nothing is inherited.
    admin.run(&["delete", "namespace", namespace, "--timeout=60s"]).await?;
    admin.run(&["create", "namespace", namespace]).await?;
    wait_for(&admin, "tenant", "default", "story-taken", "Ready", "False", reason, 60).await?;
    let there = admin.get("namespace", "default", namespace).await?.context("gone")?;
    ensure!(there.pointer("/metadata/labels/siyada.cloud~1tenant").is_none(), "it inherited the tenant");
    advice::refused(&admin, &parked(namespace, "stray"), &["belongs to no tenant"]).await?;
    cleared(&[], &["story-taken"]).await
}

/// 64 orders applied at once in two sibling tenants race for three places: exactly three are held, at every ancestor.
pub async fn race() -> Result<()> {
    racing("story-race", 64).await
}

/// The same, of fewer, with nobody to advise.
pub async fn race_without_webhook() -> Result<()> {
    platform::remove_webhook().await?;
    let raced = racing("story-blind", 16).await;
    super::restore_webhook().await?;
    raced
}

/// Orders race for three places at `top`, below which two siblings have two places and ten: three are held, at most two of
/// them by the smaller one.
///
/// # Errors
/// Says what else came of it.
pub async fn racing(top: &str, callers: usize) -> Result<()> {
    let (small, large, admin) = (format!("{top}-below"), format!("{top}-beside"), Kubectl::admin());
    made(top, None, "quota: {instances: 3}").await?;
    made(&small, Some(top), "quota: {instances: 2}").await?;
    made(&large, Some(top), "quota: {instances: 10}").await?;
    let spaces = [format!("{small}-apps"), format!("{large}-apps")];
    let all: Vec<(&str, String)> =
        (0..callers).map(|n| (spaces[n % 2].as_str(), format!("runner-{n}"))).collect();
    let applied = all.iter().map(|(namespace, name)| {
        let (admin, order) = (admin.clone(), parked(namespace, name));
        async move { admin.try_with(&["apply", "-f", "-"], &order).await }
    });
    let mut made_it = 0;
    for printed in futures::future::join_all(applied).await {
        let printed = printed?;
        made_it += usize::from(printed.ok);
        let refused = [top, &small].iter().any(|t| printed.err.contains(&format!("instances of tenant {t}")));
        ensure!(printed.ok || refused, "{}", printed.err);
    }
    ensure!(made_it >= 3, "only {made_it} orders were accepted");
    let held = [judged(&spaces[0]).await?, judged(&spaces[1]).await?];
    ensure!(held[0] <= 2 && held[0] + held[1] == 3, "held below and beside: {held:?}");
    says(top, "/status/quota/instances/summary", &json!("3/3")).await?;
    says(&small, "/status/quota/instances/summary", &json!(format!("{}/2", held[0]))).await?;
    says(&large, "/status/quota/instances/summary", &json!(format!("{}/10", held[1]))).await?;
    let fuller = &spaces[usize::from(held[1] > held[0])];
    let outcome = inherits_nothing(fuller, &orders(fuller).await?).await;
    let pairs: Vec<(&str, &str)> = all.iter().map(|(namespace, name)| (*namespace, name.as_str())).collect();
    cleared(&pairs, &[&small, &large, top]).await?;
    outcome
}

async fn orders(namespace: &str) -> Result<Vec<Value>> {
    let printed = Kubectl::admin().run(&["-n", namespace, "get", "pgi", "-o", "json"]).await?;
    let list: Value = serde_json::from_str(&printed)?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// How many orders of a namespace are held once every one of them is judged; the others lack a free instance.
async fn judged(namespace: &str) -> Result<usize> {
    eventually(seconds(90), "every order to be judged", || async {
        let mut held = 0;
        for order in orders(namespace).await? {
            let (status, reason, message) = condition(&order, "Admitted").context("not judged yet")?;
            match (status.as_str(), reason.as_str()) {
                ("True", _) => held += 1,
                ("False", "QuotaExceeded") => {
                    ensure!(message.contains("asked 1, free 0"), "{message}");
                }
                _ => anyhow::bail!("{status} {reason}: {message}"),
            }
        }
        Ok(held)
    })
    .await
}

/// A held order, removed and ordered again under its name, has a reservation of its own and not the old one.
async fn inherits_nothing(namespace: &str, orders: &[Value]) -> Result<()> {
    let admin = Kubectl::admin();
    let is_held = |order: &&Value| condition(order, "Admitted").is_some_and(|c| c.0 == "True");
    let order = orders.iter().find(is_held).context("none is held")?;
    let name = order.pointer("/metadata/name").and_then(Value::as_str).context("no name")?;
    let uid = platform::uid(order)?;
    let before = reservations(namespace).await?;
    ensure!(before.contains(&uid), "{before:?} lacks {uid}");
    admin.run(&["-n", namespace, "delete", "pgi", name, "--wait=false"]).await?;
    gone("pgi", namespace, name, 180).await?;
    eventually(seconds(30), "the old reservation to go", || async {
        ensure!(!reservations(namespace).await?.contains(&uid), "it is still there");
        Ok(())
    })
    .await
}

/// Uids of what the ledger holds for the tenant of a namespace `TENANT-apps`.
async fn reservations(namespace: &str) -> Result<Vec<String>> {
    let tenant = namespace.strip_suffix("-apps").unwrap_or(namespace);
    let page = Api::service_account(namespace, "default")
        .await?
        .read(&format!("/v1/tenants/{tenant}/reservations?pageSize=500"))
        .await?;
    let items = page["items"].as_array().cloned().unwrap_or_default();
    Ok(items.iter().filter_map(|r| r["orderUid"].as_str().map(str::to_owned)).collect())
}

/// A limit lowered below use blocks growth only and says so; a tenant that moves takes its sums along, or stays.
pub async fn lowered_and_moved() -> Result<()> {
    let (admin, child) = (Kubectl::admin(), "story-old-child");
    let namespace = "story-old-child-apps";
    made("story-old", None, "quota: {instances: 5}").await?;
    made("story-new", None, "quota: {instances: 1}").await?;
    made(child, Some("story-old"), "quota: {instances: 2}").await?;
    for name in ["one", "two"] {
        admin.apply(&parked(namespace, name)).await?;
        admitted(namespace, name).await?;
    }
    admin.apply(&tenant(child, Some("story-old"), "quota: {instances: 1}")).await?;
    let why = Some("LimitBelowUse");
    let told = wait_for(&admin, "tenant", "default", child, "WithinQuota", "False", why, 30).await?;
    let (_, _, message) = condition(&told, "WithinQuota").context("no condition")?;
    ensure!(message.contains("instances (2 of 1)") && message.contains("growth is blocked"), "{message}");
    admitted(namespace, "one").await?;
    let texts = ["instances of tenant story-old-child", "free 0"];
    advice::refused(&admin, &parked(namespace, "three"), &texts).await?;

    // The new parent has one place, two are held: the move is refused and nothing changed.
    admin.apply(&tenant(child, Some("story-new"), "quota: {instances: 2}")).await?;
    wait_for(&admin, "tenant", "default", child, "Ready", "False", Some("LedgerRefused"), 30).await?;
    says("story-old", "/status/quota/instances/held", &json!("2")).await?;
    admin.apply(&tenant("story-new", None, "quota: {instances: 2}")).await?;
    ready(&admin, "tenant", "default", child, 60).await?;
    says("story-new", "/status/quota/instances/summary", &json!("2/2")).await?;
    says("story-old", "/status/quota/instances/summary", &json!("0/5")).await?;
    says("story-new", "/status/childCount", &json!(1)).await?;
    admin.fails(&["delete", "tenant", "story-new"], "", &["has 1 tenants below it", child]).await?;
    // A circle is refused with a sentence.
    admin.apply(&tenant("story-new", Some(child), "quota: {instances: 2}")).await?;
    wait_for(&admin, "tenant", "default", "story-new", "Ready", "False", Some("LedgerRefused"), 30).await?;
    admin
        .apply(
            &tenant("story-new", None, "quota: {instances: 2}").replace("spec: {", "spec: {parent: null, "),
        )
        .await?;
    ready(&admin, "tenant", "default", "story-new", 60).await?;
    cleared(&[(namespace, "one"), (namespace, "two")], &[child, "story-new", "story-old"]).await
}

/// Nobody changes his tenant by what he writes on objects of his.
pub async fn spoofing() -> Result<()> {
    let (admin, namespace) = (Kubectl::admin(), "story-spoof-apps");
    made("story-spoof", None, "quota: {instances: 2}").await?;
    let ministry = Kubectl::service_account(namespace, "default").await?;
    ministry.apply(&parked(namespace, "mine")).await?;
    admitted(namespace, "mine").await?;
    let status = json!({"status": {"reservation": "none", "phase": "Ready"}}).to_string();
    let patch =
        ["-n", namespace, "patch", "pgi", "mine", "--type=merge", "--subresource=status", "-p", &status];
    ministry.fails(&patch, "", &["postgresinstances/status", "cannot"]).await?;
    ministry.fails(&["get", "tn", "story-spoof"], "", &["cannot get"]).await?;
    ministry.fails(&["get", "pgi", "-A"], "", &["cannot list"]).await?;
    ministry
        .fails(&["--as=system:admin", "get", "pgi", "-n", namespace], "", &["cannot impersonate"])
        .await?;
    // Full rights in the cluster's RBAC, yet neither the operator nor break-glass: the policies hold.
    let strong = Kubectl::person("story-strong", "story-strong");
    grant("story-spoof", "cluster-admin", "story-strong").await?;
    let held = async {
        let label = ["label", "namespace", namespace, "siyada.cloud/tenant=health", "--overwrite"];
        strong.fails(&label, "", &["labels of siyada.cloud on a namespace are the operator's"]).await?;
        strong.fails(&patch, "", &["the status of an order is the operator's"]).await?;
        let finalizers = r#"{"metadata":{"finalizers":null}}"#;
        for (kind, name) in [("pgi", "mine"), ("tenant", "story-spoof")] {
            let strip = ["-n", namespace, "patch", kind, name, "--type=merge", "-p", finalizers];
            strong.fails(&strip, "", &["finalizers of siyada.cloud are the operator's"]).await?;
        }
        let figures = r#"{"status":{"reservations":0}}"#;
        let figures = ["patch", "tenant", "story-spoof", "--type=merge", "--subresource=status", "-p", figures];
        strong.fails(&figures, "", &["the status is the operator's"]).await?;
        let mine = "apiVersion: v1\nkind: Namespace\nmetadata: {name: story-spoof-2, labels: {siyada.cloud/tenant: health}}\n";
        strong.refused(mine, &["labels of siyada.cloud"]).await?;
        let engine = "apiVersion: v1\nkind: Namespace\nmetadata: {name: siyada-t-story}\n";
        strong.refused(engine, &["made by the operator only"]).await
    }
    .await;
    revoke("story-spoof").await?;
    held?;
    let group = tenant("story-wide", None, "access: [{role: requester, groups: ['system:authenticated']}]");
    admin.refused(&group, &["only the service accounts of the tenant's own namespaces"]).await?;
    cleared(&[(namespace, "mine")], &["story-spoof"]).await
}

/// Bad input gets a sentence.
pub async fn bad_input() -> Result<()> {
    let admin = Kubectl::admin();
    let wrong = |more: &str| tenant("story-bad", None, more);
    for (more, text) in [
        ("quota: {instances: -1}", "greater than or equal to 0"),
        ("quota: {monthlyCost: {amount: '1e9', currency: MAD}}", "amount"),
        ("quota: {monthlyCost: {amount: '5', currency: BTC}}", "currency must be one of"),
        ("softLimitPercent: 0", "softLimitPercent"),
        ("alerts: {percent: [500]}", "1 to 200 percent"),
        ("parent: story-bad", "its own parent"),
    ] {
        admin.refused(&wrong(more), &[text]).await?;
    }
    for (more, text) in [
        ("quota: {cpu: '-3'}", "-3"),
        ("quota: {memory: 10GB}", "10GB"),
        ("quota: {storage: '0.1.2'}", "0.1.2"),
    ] {
        admin.apply(&wrong(more)).await?;
        eventually(seconds(30), &format!("a sentence about {text}"), || async {
            let told = admin.get("tenant", "default", "story-bad").await?.context("no tenant")?;
            let (status, reason, message) = condition(&told, "Ready").context("no condition")?;
            ensure!(
                status == "False" && reason == "Invalid" && message.contains(text),
                "{reason}: {message}"
            );
            Ok(())
        })
        .await?;
    }
    admin.apply(&tenant("story-orphan", Some("story-nobody"), "")).await?;
    wait_for(&admin, "tenant", "default", "story-orphan", "Ready", "False", Some("LedgerRefused"), 30)
        .await?;
    let named = "displayName: {ar: وكالة الماء, zgh: ⵜⴰⵎⵙⵙⵓⵖⵜ ⵏ ⵡⴰⵎⴰⵏ, fr: Agence de l'eau}";
    made("story-bad", None, named).await?;
    cleared(&[], &["story-orphan", "story-bad"]).await
}

/// What the ledger holds for nobody is released when the operator starts; what is real stays.
pub async fn swept() -> Result<()> {
    let (admin, namespace) = (Kubectl::admin(), "story-sweep-apps");
    made("story-sweep", None, "quota: {instances: 3}").await?;
    admin.apply(&parked(namespace, "real")).await?;
    let uid = platform::uid(&admitted(namespace, "real").await?)?;
    let operator = Api::service_account(SYSTEM, "siyada-operator").await?;
    let page = operator.read("/v1/tenants/story-sweep/reservations?pageSize=500").await?;
    let mut request = page.pointer("/items/0/request").cloned().context("nothing is held")?;
    request["name"] = json!("ghost");
    let ghost = "/v1/reservations/00000000-0000-4000-8000-00000000dead";
    let (status, body) = operator.send(reqwest::Method::PUT, ghost, &request).await?;
    ensure!(status < 300, "{status} {body}");
    ensure!(reservations(namespace).await?.len() == 2, "the ghost holds nothing");
    admin.run(&["-n", SYSTEM, "delete", "pod", "-l", "app.kubernetes.io/name=siyada-operator"]).await?;
    platform::wait_until_it_works().await?;
    eventually(seconds(120), "the ledger to hold what there is, and no more", || async {
        let held = reservations(namespace).await?;
        ensure!(held == [uid.clone()], "it holds {held:?}");
        Ok(())
    })
    .await?;
    says("story-sweep", "/status/quota/instances/summary", &json!("1/3")).await?;
    cleared(&[(namespace, "real")], &["story-sweep"]).await
}

/// A price list never changes, none begins with another, and none leaves what stands without a price; each says so.
pub async fn price_lists() -> Result<()> {
    let (admin, namespace) = (Kubectl::admin(), "story-prices-apps");
    let now = platform::file("examples/platform/20-prices.yaml")?;
    admin.refused(&now.replace("\"0.20\"", "\"0.10\""), &["a price list never changes"]).await?;
    made("story-prices", None, "quota: {instances: 3}").await?;
    admin.apply(&parked(namespace, "priced")).await?;
    admitted(namespace, "priced").await?;
    let second = now.replace("name: tarif-2026-07", "name: story-tarif");
    let line = "    - {sku: postgresql-dev, unit: Hour, price: \"0.20\"}\n";
    ensure!(second.contains(line), "the example has another price of postgresql-dev");
    let gap = list_from(&second.replace(line, ""), "story-tarif", Timestamp::now() + 3_600.seconds());
    for (list, reason, text) in
        [(&second, "Overlaps", "tarif-2026-07"), (&gap, "LeavesGap", "postgresql-dev")]
    {
        admin.apply(list).await?;
        let told =
            wait_for(&admin, "pricelist", "default", "story-tarif", "Ready", "False", None, 30).await?;
        let (_, found, message) = condition(&told, "Ready").context("no condition")?;
        ensure!(found == reason && message.contains(text), "{found}: {message}");
        admin.run(&["delete", "pricelist", "story-tarif", "--wait=false"]).await?;
        gone("pricelist", "default", "story-tarif", 60).await?;
    }
    cleared(&[(namespace, "priced")], &["story-prices"]).await
}

/// A price list of another name and beginning.
fn list_from(list: &str, name: &str, from: Timestamp) -> String {
    list.replace("name: tarif-2026-07", &format!("name: {name}"))
        .replace("2026-07-01T00:00:00+01:00", &from.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// What an order and what is above it hold of money a month, in minor units.
async fn held_minor(tenant: &str) -> Result<i64> {
    let quota = Api::service_account(SYSTEM, "siyada-operator").await?;
    let view = quota.read(&format!("/v1/tenants/{tenant}/quota")).await?;
    view.pointer("/held/monthlyCost/minor").and_then(Value::as_i64).context("no money is held")
}

/// Prices rise under an order: it runs on and is valued anew, its tenant may be over its limit, its own most holds at the
/// next edit; and a list in use stays. Ends with the prices of before, under another name.
pub async fn prices_rise() -> Result<()> {
    let (admin, namespace) = (Kubectl::admin(), "story-rise-apps");
    made("story-rise", None, "quota: {monthlyCost: {amount: '200', currency: MAD}}").await?;
    let order = |more: &str, most: &str| {
        postgres(
            namespace,
            "rising",
            &format!(
                "site: story-nowhere, {DISPOSABLE}, {more}maxMonthlyCost: {{amount: '{most}', currency: MAD}}"
            ),
        )
    };
    admin.apply(&order("", "160")).await?;
    admitted(namespace, "rising").await?;
    let before = held_minor("story-rise").await?;
    let example = platform::file("examples/platform/20-prices.yaml")?;
    let (stamp, from) = (Timestamp::now().as_second(), Timestamp::now() + 5.seconds());
    let risen = format!("story-risen-{stamp}");
    admin.apply(&list_from(&example, &risen, from).replace("\"0.20\"", "\"0.40\"")).await?;
    ready(&admin, "pricelist", "default", &risen, 30).await?;
    eventually(seconds(60), "what is held to be valued by the new prices", || async {
        let held = held_minor("story-rise").await?;
        ensure!(held > before + before / 2, "{held} after {before}");
        Ok(())
    })
    .await?;
    let (over, why) = ("WithinQuota", Some("LimitBelowUse"));
    wait_for(&admin, "tenant", "default", "story-rise", over, "False", why, 60).await?;
    let standing = admitted(namespace, "rising").await?;
    ensure!(condition(&standing, "Stalled").is_none(), "an order that stood was stopped by a price");
    advice::edit_refused(&admin, &order("storage: 2Gi, ", "160"), &["above maxMonthlyCost", "160.00 MAD"])
        .await?;
    // More than the tenant's limit is held already: nothing grows, whatever the order would pay.
    advice::edit_refused(&admin, &order("storage: 2Gi, ", "900"), &["monthlyCost of tenant story-rise"])
        .await?;
    admin.run(&["delete", "pricelist", &risen, "--wait=false"]).await?;
    let told = wait_for(&admin, "pricelist", "default", &risen, "Ready", "False", Some("InUse"), 30).await?;
    let (_, _, message) = condition(&told, "Ready").context("no condition")?;
    ensure!(message.contains(&risen), "{message}");
    let again = format!("story-again-{stamp}");
    admin.apply(&list_from(&example, &again, Timestamp::now() + 5.seconds())).await?;
    eventually(seconds(60), "what is held to be valued as before", || async {
        let held = held_minor("story-rise").await?;
        ensure!(held == before, "{held} after {before}");
        Ok(())
    })
    .await?;
    cleared(&[(namespace, "rising")], &["story-rise"]).await
}

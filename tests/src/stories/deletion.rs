//! The end of orders.

use super::{DISPOSABLE, HOME, backup, postgres};
use crate::clients::{self, Binding};
use crate::kubectl::{Kubectl, condition};
use crate::platform::{Api, SYSTEM, engine, gone, ready, uid, wait_for, wait_until_it_works};
use crate::wait::{eventually, hours_ago, seconds};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Every kind of which an order has objects, of its plan or of its engine.
const KINDS: &str = "secrets,networkpolicies,clusters.postgresql.cnpg.io,services,deployments,persistentvolumeclaims,\
                     scheduledbackups.postgresql.cnpg.io,backups.postgresql.cnpg.io,pods,jobs,configmaps,serviceaccounts,\
                     roles.rbac.authorization.k8s.io,rolebindings.rbac.authorization.k8s.io,poddisruptionbudgets";
/// What every order has.
const ALWAYS: [&str; 6] = ["Secret", "NetworkPolicy", "Cluster", "Service", "PersistentVolumeClaim", "Pod"];

/// What an order has in the cluster: everything with its label, in any namespace, and the volumes that its claims are bound to.
pub(super) struct Parts {
    selector: String,
    volumes: BTreeSet<String>,
}

impl Parts {
    /// Looks at an order that runs; there must be something of each kind that every order has, and of these.
    pub(super) async fn of(order: &Value, more: &[&str]) -> Result<Self> {
        let selector = format!("siyada.cloud/order-uid={}", uid(order)?);
        eventually(seconds(60), "the order to have everything", || async {
            let all = labelled(&selector).await?;
            let is_there = |kind: &&&str| all.iter().any(|object| object.starts_with(&format!("{kind} ")));
            let missing: Vec<_> = ALWAYS.iter().chain(more).filter(|kind| !is_there(kind)).collect();
            ensure!(missing.is_empty(), "there is no {missing:?} among {all:?}");
            Ok(())
        })
        .await?;
        let bound = ["get", "pvc", "-A", "-l", &selector, "-o", "jsonpath={.items[*].spec.volumeName}"];
        let volumes = words(&Kubectl::admin().run(&bound).await?);
        ensure!(!volumes.is_empty(), "its claims are bound to no volume");
        Ok(Self { selector, volumes })
    }

    /// Waits until nothing of it is left.
    pub(super) async fn are_gone(&self) -> Result<()> {
        eventually(seconds(60), "everything of the order to go", || async {
            let left = labelled(&self.selector).await?;
            ensure!(left.is_empty(), "there are {left:?}");
            let all =
                Kubectl::admin().run(&["get", "pv", "-o", "jsonpath={.items[*].metadata.name}"]).await?;
            let left: Vec<String> = self.volumes.intersection(&words(&all)).cloned().collect();
            ensure!(left.is_empty(), "there are the volumes {left:?}");
            Ok(())
        })
        .await
    }
}

fn words(text: &str) -> BTreeSet<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Kind, namespace and name of everything with a label.
async fn labelled(selector: &str) -> Result<Vec<String>> {
    let columns = r#"jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{"\n"}{end}"#;
    let said = Kubectl::admin().run(&["get", KINDS, "-A", "-l", selector, "-o", columns]).await?;
    Ok(said.lines().map(str::to_owned).collect())
}

/// Protection, then deletion with the data.
pub async fn delete() -> Result<()> {
    let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(HOME, "ministry-it").await?);
    ministry.apply(&postgres(HOME, "dying", "")).await?;
    let order = ready(&ministry, "pgi", HOME, "dying", 240).await?;
    let (uid, parts) = (uid(&order)?, Parts::of(&order, &[]).await?);
    for who in [&ministry, &admin] {
        let refused = who
            .run(&["-n", HOME, "delete", "pgi", "dying"])
            .await
            .err()
            .context("a protected order was deleted")?;
        ensure!(refused.to_string().contains("set spec.deletionProtection to false first"), "{refused}");
    }
    let refused =
        admin.run(&["delete", "namespace", HOME]).await.err().context("its namespace was deleted")?;
    ensure!(refused.to_string().contains("holds protected orders"), "{refused}");
    let free = json!({"spec": {"deletionProtection": false, "onDeletion": "Delete"}});
    ministry.patch("pgi", HOME, "dying", &free).await?;
    ministry.run(&["-n", HOME, "delete", "pgi", "dying", "--wait=false"]).await?;
    gone("pgi", HOME, "dying", 180).await?;
    parts.are_gone().await?;
    let api = Api::service_account(HOME, "ministry-it").await?;
    ensure!(reservation(&api, "interior", &uid).await?.is_none(), "the quota is still held");
    ensure!(open_intervals(&api, "interior", &uid).await? == 0, "usage is still open");
    ensure!(!all_intervals(&api, &uid).await?.is_empty(), "usage was never recorded");
    Ok(())
}

/// What the ledger holds for an order of a tenant.
///
/// # Errors
/// When the api does not answer.
pub async fn reservation(api: &Api, tenant: &str, uid: &str) -> Result<Option<Value>> {
    let page = api.read(&format!("/v1/tenants/{tenant}/reservations?pageSize=500")).await?;
    let all = page["items"].as_array().cloned().unwrap_or_default();
    Ok(all.into_iter().find(|r| r["orderUid"] == uid))
}

/// The intervals of an order.
///
/// # Errors
/// When the api does not answer.
pub async fn all_intervals(api: &Api, uid: &str) -> Result<Vec<Value>> {
    intervals_of(api, "interior", uid).await
}

pub(super) async fn intervals_of(api: &Api, tenant: &str, uid: &str) -> Result<Vec<Value>> {
    let page = api.read(&format!("/v1/tenants/{tenant}/intervals?pageSize=500")).await?;
    let all = page["items"].as_array().cloned().unwrap_or_default();
    Ok(all.into_iter().filter(|i| i["orderUid"] == uid).collect())
}

/// Count of the intervals of an order that are billed on.
///
/// # Errors
/// When the api does not answer.
pub async fn open_intervals(api: &Api, tenant: &str, uid: &str) -> Result<usize> {
    Ok(intervals_of(api, tenant, uid)
        .await?
        .iter()
        .filter(|i| i.get("end").is_none_or(Value::is_null))
        .count())
}

async fn retained_list() -> Result<String> {
    Kubectl::admin().in_platform("siyada-operator", &["retained", "list"]).await
}

/// The service account that reads a tenant's figures.
async fn api_of(tenant: &str) -> Result<Api> {
    Api::service_account(&format!("{tenant}-apps"), "ministry-it").await
}

/// Removes kept data by its name, and waits until it is gone from the cluster and from the accounts.
///
/// # Errors
/// Says what is left.
pub async fn remove_retained(tenant: &str, uid: &str, name: &str) -> Result<()> {
    let admin = Kubectl::admin();
    let remove = async |name| {
        admin.in_platform("siyada-operator", &["retained", "remove", uid, "--confirm", name]).await
    };
    ensure!(remove("another").await.is_err(), "data was removed under a wrong name");
    remove(name).await?;
    let api = api_of(tenant).await?;
    eventually(seconds(120), "the kept data to go", || async {
        ensure!(!retained_list().await?.contains(uid), "it is still listed");
        ensure!(reservation(&api, tenant, uid).await?.is_none(), "its quota is still held");
        ensure!(open_intervals(&api, tenant, uid).await? == 0, "its storage is still billed");
        Ok(())
    })
    .await
}

/// Data is kept; the name is ordered again; the data is removed by name.
pub async fn retain() -> Result<()> {
    let ministry = Kubectl::service_account(HOME, "ministry-it").await?;
    ministry.apply(&postgres(HOME, "kept", "deletionProtection: false")).await?;
    let order = ready(&ministry, "pgi", HOME, "kept", 240).await?;
    let (old, (_, old_cluster)) = (uid(&order)?, engine(&order)?);
    let client = clients::postgres(&Binding::read(&ministry, HOME, "kept-postgresql").await?).await?;
    client.batch_execute("create table memory (id int)").await?;
    drop(client);
    ministry.run(&["-n", HOME, "delete", "pgi", "kept", "--wait=false"]).await?;
    gone("pgi", HOME, "kept", 60).await?;
    is_kept("interior", &old, &engine(&order)?).await?;

    ministry.apply(&postgres(HOME, "kept", DISPOSABLE)).await?;
    let again = ready(&ministry, "pgi", HOME, "kept", 240).await?;
    ensure!(uid(&again)? != old && engine(&again)?.1 != old_cluster, "the name was inherited");
    let client = clients::postgres(&Binding::read(&ministry, HOME, "kept-postgresql").await?).await?;
    ensure!(client.execute("select * from memory", &[]).await.is_err(), "the data was inherited");
    drop(client);
    remove_retained("interior", &old, "kept").await?;
    ministry.run(&["-n", HOME, "delete", "pgi", "kept", "--wait=false"]).await?;
    gone("pgi", HOME, "kept", 180).await
}

/// Kept data: stopped, listed, its storage held and billed, its compute closed.
///
/// # Errors
/// Says what is not as it should be.
pub async fn is_kept(tenant: &str, uid: &str, (namespace, cluster): &(String, String)) -> Result<()> {
    let admin = Kubectl::admin();
    let api = api_of(tenant).await?;
    eventually(seconds(120), "the data to be kept", || async {
        let object = admin
            .get("clusters.postgresql.cnpg.io", namespace, cluster)
            .await?
            .context("the engine object is gone")?;
        let annotation = object.pointer("/metadata/annotations/cnpg.io~1hibernation").and_then(Value::as_str);
        ensure!(annotation == Some("on"), "compute is not stopped");
        let pods = admin
            .list("pods", namespace, &format!("cnpg.io/cluster={cluster},cnpg.io/podRole=instance"))
            .await?;
        ensure!(pods.is_empty(), "{} pods run", pods.len());
        let volumes = admin.list("pvc", namespace, &format!("siyada.cloud/order-uid={uid}")).await?;
        ensure!(!volumes.is_empty(), "the volume is gone");
        ensure!(retained_list().await?.contains(uid), "it is not listed");
        let held = reservation(&api, tenant, uid).await?.context("nothing is held for it")?;
        let resources = &held["commitment"]["resources"];
        ensure!(
            resources["instances"] == 0 && resources["storageBytes"].as_i64() > Some(0),
            "held: {resources}"
        );
        let open: Vec<Value> = intervals_of(&api, tenant, uid)
            .await?
            .into_iter()
            .filter(|i| i.get("end").is_none_or(Value::is_null))
            .collect();
        // What it left in the object store is kept and billed too.
        let (backups, rest): (Vec<Value>, Vec<Value>) =
            open.into_iter().partition(|i| i["meter"] == "backup");
        ensure!(rest.len() == 1 && rest[0]["meter"] == "storage", "open: {rest:?}, {backups:?}");
        Ok(())
    })
    .await
}

/// Finalizers stripped by force.
pub async fn torn_out() -> Result<()> {
    let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(HOME, "ministry-it").await?);
    ministry.apply(&postgres(HOME, "torn", "deletionProtection: false")).await?;
    let order = ready(&ministry, "pgi", HOME, "torn", 240).await?;
    // Away with the operator, so that it sees neither the deletion nor the order again.
    let name = uid(&order)?;
    admin.patch("pgi", HOME, "torn", &json!({"metadata": {"finalizers": null}})).await?;
    ministry.run(&["-n", HOME, "delete", "pgi", "torn", "--wait=false"]).await?;
    eventually(seconds(60), "the order to go", || async {
        let found = admin.get("pgi", HOME, "torn").await?;
        if found.is_some() {
            // The operator may have put its finalizer back in between.
            admin.patch("pgi", HOME, "torn", &json!({"metadata": {"finalizers": null}})).await.ok();
        }
        ensure!(found.is_none(), "it is still there");
        Ok(())
    })
    .await?;
    is_kept("interior", &name, &engine(&order)?).await?;
    remove_retained("interior", &name, "torn").await
}

/// What a deleted order left is listed beside it, restored under the same name with its rows, and discarded by its name.
pub async fn listed() -> Result<()> {
    backup::set_up().await?;
    let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(HOME, "ministry-it").await?);
    let kept = backup::order("archive", "").replace("onDeletion: Delete", "onDeletion: Retain");
    ministry.apply(&kept).await?;
    let order = ready(&ministry, "pgi", HOME, "archive", 240).await?;
    let (old, cluster) = (uid(&order)?, engine(&order)?);
    let (db, _) = backup::client(&ministry, "archive").await?;
    db.batch_execute("create table citizens (id int primary key, name text)").await?;
    backup::add(&db, 1, 777).await?;
    let before = backup::content(&db).await?;
    ministry.apply(&backup::on_demand("of-archive", "PostgresInstance", "archive")).await?;
    backup::completed(&ministry, "of-archive").await?;
    backup::archived(&db).await?;
    drop(db);
    ministry.run(&["-n", HOME, "delete", "pgi", "archive", "--wait=false"]).await?;
    gone("pgi", HOME, "archive", 60).await?;
    is_kept("interior", &old, &cluster).await?;
    let name = cluster.1.as_str();
    let listing = eventually(seconds(60), "the kept data to be listed", || async {
        let listing = ministry.get("rti", HOME, name).await?.context("it is not listed")?;
        let status = &listing["status"];
        ensure!(status["cost"]["maximumMonthly"].is_string(), "it has no price: {status}");
        ensure!(status["storage"].is_string() && status["keptSince"].is_string(), "{status}");
        ensure!(status.get("expires").is_none(), "nobody set an end: {status}");
        Ok(listing)
    })
    .await?;
    ensure!(listing["spec"]["orderUid"] == old.as_str(), "it lists another order: {}", listing["spec"]);
    only_discarded(&admin, &ministry, &listing).await?;

    let from = format!(", restoreFrom: {{retainedInstance: {name}}}");
    ministry.apply(&backup::order("archive", &from)).await?;
    ready(&ministry, "pgi", HOME, "archive", 300).await?;
    let (db, _) = backup::client(&ministry, "archive").await?;
    let after = backup::content(&db).await?;
    ensure!(after == before, "kept were {before:?}, restored are {after:?}");
    drop(db);

    ministry.patch("rti", HOME, name, &json!({"spec": {"discard": "archive"}})).await?;
    gone("rti", HOME, name, 300).await?;
    let api = api_of("interior").await?;
    eventually(seconds(120), "the discarded data to go", || async {
        let volumes = admin.list("pvc", &cluster.0, &format!("siyada.cloud/order-uid={old}")).await?;
        ensure!(volumes.is_empty(), "{} volumes are left", volumes.len());
        ensure!(reservation(&api, "interior", &old).await?.is_none(), "its quota is still held");
        ensure!(open_intervals(&api, "interior", &old).await? == 0, "its storage is still billed");
        Ok(())
    })
    .await?;
    let (db, _) = backup::client(&ministry, "archive").await?;
    ensure!(backup::content(&db).await? == before, "the restored data went with what was discarded");
    drop(db);
    let free = json!({"spec": {"deletionProtection": false, "onDeletion": "Delete"}});
    ministry.patch("pgi", HOME, "archive", &free).await?;
    ministry.run(&["-n", HOME, "delete", "pgi", "archive", "--wait=false"]).await?;
    gone("pgi", HOME, "archive", 180).await
}

/// Kept data with an end, whose days are set back instead of waited for: it is warned about, stays for a day after the warning
/// whatever its end, and goes with its volume, its place in the quota and its price.
pub async fn expired() -> Result<()> {
    const OFFERING: &str = "story-ends";
    let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(HOME, "ministry-it").await?);
    let usual = admin.get("serviceoffering", "default", "postgresql").await?.context("no offering")?;
    let mut spec = usual["spec"].clone();
    (spec["default"], spec["retainedDays"]) = (json!(false), json!(15));
    let offering = json!({
        "apiVersion": usual["apiVersion"], "kind": usual["kind"], "metadata": {"name": OFFERING}, "spec": spec,
    });
    admin.apply(&offering.to_string()).await?;
    let order = format!("offering: {OFFERING}, deletionProtection: false, onDeletion: Retain");
    ministry.apply(&postgres(HOME, "ending", &order)).await?;
    let order = ready(&ministry, "pgi", HOME, "ending", 240).await?;
    let (old, (namespace, name)) = (uid(&order)?, engine(&order)?);
    ministry.run(&["-n", HOME, "delete", "pgi", "ending", "--wait=false"]).await?;
    gone("pgi", HOME, "ending", 60).await?;
    is_kept("interior", &old, &(namespace.clone(), name.clone())).await?;
    let soon = |listing: &Value| condition(listing, "ExpiresSoon").unwrap_or_default();
    let listing = ministry.get("rti", HOME, &name).await?.context("it is not listed")?;
    ensure!(soon(&listing).0 != "True", "it has 15 days, and says {:?}", soon(&listing));

    kept_for(&namespace, &name, 14 * 24 + 12).await?;
    let ends = wait_for(&ministry, "rti", HOME, &name, "ExpiresSoon", "True", None, 120).await?;
    println!("  warned: {:?}, {}", soon(&ends), ends["status"]["expires"]);
    // Its end is past; nobody was warned a day before.
    kept_for(&namespace, &name, 20 * 24).await?;
    let past = |listing: &Value| listing["status"]["expires"] != ends["status"]["expires"];
    eventually(seconds(120), "the end to be told", || async {
        let listing = ministry.get("rti", HOME, &name).await?.context("it went without a warning")?;
        ensure!(past(&listing), "it says {}", listing["status"]);
        Ok(())
    })
    .await?;
    let volumes = || async { admin.list("pvc", &namespace, &format!("siyada.cloud/order-uid={old}")).await };
    ensure!(!volumes().await?.is_empty(), "its volume went a day too early");

    let mut listing = ministry.get("rti", HOME, &name).await?.context("it went without a warning")?;
    let conditions = listing["status"]["conditions"].as_array_mut().context("no conditions")?;
    let day_before = hours_ago(2 * 24)?;
    conditions.iter_mut().for_each(|c| c["lastTransitionTime"] = json!(day_before));
    let status = json!({"status": {"conditions": conditions}}).to_string();
    let patch = ["-n", HOME, "patch", "rti", &name, "--subresource=status", "--type", "merge", "-p", &status];
    admin.run(&patch).await?;
    gone("rti", HOME, &name, 180).await?;
    let api = api_of("interior").await?;
    eventually(seconds(120), "what has expired to be gone", || async {
        ensure!(volumes().await?.is_empty(), "a volume is left");
        ensure!(reservation(&api, "interior", &old).await?.is_none(), "its quota is still held");
        ensure!(open_intervals(&api, "interior", &old).await? == 0, "its storage is still billed");
        Ok(())
    })
    .await?;
    admin.run(&["delete", "serviceoffering", OFFERING]).await.map(|_| ())
}

/// Makes it that kept data has been kept for so many hours.
async fn kept_for(namespace: &str, cluster: &str, hours: i64) -> Result<()> {
    let since = json!({"metadata": {"annotations": {"siyada.cloud/retained-since": hours_ago(hours)?}}});
    Kubectl::admin().patch("clusters.postgresql.cnpg.io", namespace, cluster, &since).await
}

/// A listing is neither made, deleted nor changed by its ministry; only the name of its instance discards it. One that is torn
/// out comes back, and the data is not touched.
async fn only_discarded(admin: &Kubectl, ministry: &Kubectl, listing: &Value) -> Result<()> {
    let name = listing.pointer("/metadata/name").and_then(Value::as_str).context("no name")?;
    ensure!(ministry.run(&["-n", HOME, "delete", "rti", name]).await.is_err(), "its ministry deleted it");
    for (what, patch) in [
        ("another name", json!({"spec": {"discard": "another"}})),
        ("another order", json!({"spec": {"orderUid": "forged"}})),
    ] {
        ensure!(ministry.patch("rti", HOME, name, &patch).await.is_err(), "{what} was accepted");
    }
    let mut forged = listing.clone();
    forged["metadata"] = json!({"name": "forged", "namespace": HOME});
    ministry.fails(&["create", "-f", "-"], &forged.to_string(), &["forbidden"]).await?;
    let old = uid(listing)?;
    admin.run(&["-n", HOME, "delete", "rti", name, "--wait=false"]).await?;
    eventually(seconds(60), "the listing that was torn out to come back", || async {
        let listing = ministry.get("rti", HOME, name).await?.context("it is not there")?;
        ensure!(uid(&listing)? != old, "it is still the one before");
        ensure!(listing["status"]["storage"].is_string(), "nothing is told yet");
        Ok(())
    })
    .await
}

/// The notes of deletions; beside the platform nobody writes them.
const NOTES: [&str; 4] = ["-n", SYSTEM, "configmap", "siyada-deletions"];

async fn at_most(deletions: &str) -> Result<()> {
    let admin = Kubectl::admin();
    let setting = format!("SIYADA_DELETIONS_AT_MOST={deletions}");
    admin.run(&["-n", SYSTEM, "set", "env", "deploy/siyada-operator", &setting]).await?;
    let [flag, namespace, kind, name] = NOTES;
    admin.run(&[flag, namespace, "delete", kind, name, "--ignore-not-found"]).await?;
    wait_until_it_works().await
}

/// With one deletion in ten minutes the second waits with its data, through a restart and a wrong word, until it is confirmed.
pub async fn too_many() -> Result<()> {
    let outcome = stopped_and_confirmed().await;
    // Whatever became of it, the stories after this one delete as before.
    at_most("10000").await.and(outcome)
}

async fn stopped_and_confirmed() -> Result<()> {
    let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(HOME, "ministry-it").await?);
    for name in ["first-to-go", "second-to-go"] {
        ministry.apply(&postgres(HOME, name, DISPOSABLE)).await?;
    }
    ready(&ministry, "pgi", HOME, "first-to-go", 240).await?;
    let second = ready(&ministry, "pgi", HOME, "second-to-go", 240).await?;
    at_most("1").await?;
    ministry.run(&["-n", HOME, "delete", "pgi", "first-to-go", "--wait=false"]).await?;
    gone("pgi", HOME, "first-to-go", 180).await?;
    ministry.run(&["-n", HOME, "delete", "pgi", "second-to-go", "--wait=false"]).await?;
    let waits = || async {
        let why = Some("TooManyDeletions");
        wait_for(&admin, "pgi", HOME, "second-to-go", "DeletionBlocked", "True", why, 90).await
    };
    waits().await?;
    let pods = ["-n", SYSTEM, "delete", "pod", "-l", "app.kubernetes.io/name=siyada-operator"];
    admin.run(&pods).await?;
    wait_until_it_works().await?;
    let [flag, namespace, kind, name] = NOTES;
    let confirm = |moment: String| async move {
        let word = format!("siyada.cloud/confirm-deletions={moment}");
        Kubectl::admin().run(&[flag, namespace, "annotate", kind, name, &word, "--overwrite"]).await
    };
    confirm("2026-01-01T00:00:00Z".to_owned()).await?;
    // Two of its passes at least must have gone by: they come every 15 s.
    let (engine_namespace, cluster) = engine(&second)?;
    let watched = tokio::time::Instant::now();
    eventually(seconds(90), "the order to wait through the restart and the wrong word", || async {
        let object = admin.get("clusters.postgresql.cnpg.io", &engine_namespace, &cluster).await?;
        let object = object.context("the data went without a confirmation")?;
        ensure!(object.pointer("/metadata/deletionTimestamp").is_none(), "the data is going");
        ensure!(watched.elapsed() > seconds(40), "not for long enough yet");
        Ok(())
    })
    .await?;
    waits().await?;
    let notes = admin.get(kind, namespace, name).await?.context("there are no notes")?;
    let notes: Value = serde_json::from_str(notes["data"]["notes"].as_str().context("the notes are empty")?)?;
    let stopped = notes["stopped"].as_str().context("nothing is stopped")?.to_owned();
    confirm(stopped.clone()).await?;
    gone("pgi", HOME, "second-to-go", 180).await?;
    confirmation_is_on_record(&stopped).await
}

/// The trail names who confirmed that very stop, as the API server knows him. The one of the wrong word confirmed nothing.
async fn confirmation_is_on_record(stopped: &str) -> Result<()> {
    let who = Kubectl::admin().run(&["auth", "whoami", "-o", "json"]).await?;
    let who: Value = serde_json::from_str(&who)?;
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: national-finance, namespace: siyada-finance}\n";
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: siyada-finance}\n";
    Kubectl::admin().apply(&format!("{namespace}---\n{account}")).await?;
    let finance = Api::service_account("siyada-finance", "national-finance").await?;
    let (mut after, mut found) = (String::from("0"), Vec::new());
    loop {
        let page = finance.read(&format!("/v1/audit?pageSize=500&after={after}")).await?;
        let events = page["items"].as_array().cloned().unwrap_or_default();
        found.extend(events.into_iter().filter(|event| event["action"] == "deletions.confirm"));
        let Some(next) = page["nextPageToken"].as_str() else { break };
        after = next.to_owned();
    }
    let of: Vec<&Value> = found.iter().filter(|event| event["detail"]["stopped"] == stopped).collect();
    ensure!(of.len() == 1, "{} events tell of the stop of {stopped}: {found:?}", of.len());
    ensure!(of[0]["actor"] == who["status"]["userInfo"]["username"], "it names {}", of[0]["actor"]);
    let through = of[0]["detail"]["letThrough"].as_array().context("it names no order")?;
    ensure!(through.len() == 1, "it names {through:?}");
    Ok(())
}

//! Deletions that hang, and the platform that forces them.

use super::tenancy::{cleared, grant, made, revoke};
use super::{DISPOSABLE, deletion, postgres};
use crate::kubectl::Kubectl;
use crate::platform::{Api, SYSTEM, engine, figure, gone, ready, uid, wait_for};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// The tenant of the story; its people are two groups.
const TENANT: &str = "story-force";
const HOME: &str = "story-force-apps";
const ADMINS: &str = "story-force-admins";
const PLATFORM: &str = "story-force-platform";
/// What nobody takes off: the finalizer of a tool that is not there.
const HOLD: &str = "example.org/hold";
const CLUSTERS: &str = "clusters.postgresql.cnpg.io";

/// The engine's object of a deleted order hangs. Its tenant's admins cannot force it, the platform can, once it is blocked, with a
/// reason; nothing is billed or held any more, who did it is on record for ever, and what was left goes when it can.
pub async fn forced() -> Result<()> {
    let access = format!(
        "access: [{{role: admin, groups: [{ADMINS}, 'system:serviceaccounts:{HOME}']}}, {{role: finance, groups: \
         ['system:serviceaccounts:{HOME}']}}]"
    );
    made(TENANT, None, &access).await?;
    grant(TENANT, "siyada-platform", PLATFORM).await?;
    let lived = live().await;
    let left = async {
        revoke(TENANT).await?;
        cleared(&[], &[TENANT]).await
    };
    let left = left.await;
    lived.and(left)
}

async fn live() -> Result<()> {
    let (admin, chief) = (Kubectl::admin(), Kubectl::person("story-force-chief", ADMINS));
    let platform = Kubectl::person("story-force-operator", PLATFORM);
    chief.apply(&postgres(HOME, "hanging", DISPOSABLE)).await?;
    let order = ready(&chief, "pgi", HOME, "hanging", 300).await?;
    let (order_uid, (namespace, cluster)) = (uid(&order)?, engine(&order)?);
    let reason = "the tool that holds it was removed";
    let force = |uid: &str| format!("siyada.cloud/force-delete={uid}");
    let why = format!("siyada.cloud/force-delete-reason={reason}");
    let annotate = ["-n", HOME, "annotate", "--overwrite", "pgi", "hanging"];
    let forced =
        |more: Vec<String>| annotate.into_iter().map(ToOwned::to_owned).chain(more).collect::<Vec<_>>();
    let refused = async |who: &Kubectl, more: Vec<String>, text: &str| {
        let all = forced(more);
        who.fails(&all.iter().map(String::as_str).collect::<Vec<_>>(), "", &[text]).await
    };
    let whole = || vec![force(&order_uid), why.clone()];
    refused(&platform, whole(), "only an order that is being deleted is forced").await?;

    hold(&admin, &namespace, &cluster, true).await?;
    chief.run(&["-n", HOME, "delete", "pgi", "hanging", "--wait=false"]).await?;
    eventually(seconds(60), "the engine's object to be told to go", || async {
        let object = admin.get(CLUSTERS, &namespace, &cluster).await?.context("it is gone")?;
        ensure!(object.pointer("/metadata/deletionTimestamp").is_some(), "nobody told it");
        Ok(())
    })
    .await?;
    refused(&platform, whole(), "is not blocked").await?;
    // The deadline of the engine's object are five minutes.
    let stays = Some("EngineObjectStays");
    let blocked = wait_for(&admin, "pgi", HOME, "hanging", "DeletionBlocked", "True", stays, 420).await?;
    ensure!(blocked.to_string().contains(HOLD), "it does not say what holds it: {}", blocked["status"]);

    refused(&chief, whole(), "only the platform forces the deletion").await?;
    let forged = "siyada.cloud/decided-by=somebody-else".to_owned();
    refused(&chief, vec![forged.clone()], "stamped by the API server").await?;
    refused(&platform, vec![force("another-uid"), why.clone()], "metadata.uid").await?;
    refused(&platform, vec![force(&order_uid)], "say why").await?;
    refused(&platform, vec!["story=else".to_owned()], "change nothing else").await?;
    let spec = json!({"spec": {"onDeletion": "Retain"}}).to_string();
    let patch = ["-n", HOME, "patch", "pgi", "hanging", "--type", "merge", "-p", &spec];
    platform.fails(&patch, "", &["change nothing else"]).await?;
    let all = forced([whole(), vec![forged]].concat());
    platform.run(&all.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    gone("pgi", HOME, "hanging", 120).await?;

    on_record(&order_uid, reason).await?;
    let object =
        admin.get(CLUSTERS, &namespace, &cluster).await?.context("force removed the engine's object")?;
    ensure!(
        object.pointer("/metadata/labels/siyada.cloud~1retained").is_none(),
        "it was taken for kept data"
    );
    nobody_pays(&admin, &cluster, &order_uid).await?;
    hold(&admin, &namespace, &cluster, false).await?;
    let selector = format!("siyada.cloud/order-uid={order_uid}");
    for kind in [CLUSTERS, "pvc", "pods", "secrets", "networkpolicies"] {
        eventually(seconds(180), &format!("every one of {kind} to go by itself"), || async {
            let left = admin.list(kind, &namespace, &selector).await?;
            ensure!(left.is_empty(), "{} left", left.len());
            Ok(())
        })
        .await?;
    }
    nothing_open(&order_uid).await
}

/// Puts the finalizer of somebody else on the engine's object, beside those that it has, or takes it off.
async fn hold(admin: &Kubectl, namespace: &str, cluster: &str, on: bool) -> Result<()> {
    let object = admin.get(CLUSTERS, namespace, cluster).await?.context("no engine object")?;
    let there = object.pointer("/metadata/finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut finalizers: Vec<Value> = there.into_iter().filter(|name| name != HOLD).collect();
    finalizers.extend(on.then(|| json!(HOLD)));
    admin.patch(CLUSTERS, namespace, cluster, &json!({"metadata": {"finalizers": finalizers}})).await
}

async fn api() -> Result<Api> {
    Api::service_account(HOME, "default").await
}

/// Nothing of the order is held or metered, and something was.
async fn nothing_open(order_uid: &str) -> Result<()> {
    let api = api().await?;
    ensure!(deletion::reservation(&api, TENANT, order_uid).await?.is_none(), "its quota is still held");
    let intervals = deletion::intervals_of(&api, TENANT, order_uid).await?;
    ensure!(!intervals.is_empty(), "usage was never recorded");
    let open = intervals.iter().filter(|i| i.get("end").is_none_or(Value::is_null)).count();
    ensure!(open == 0, "{open} intervals are open");
    Ok(())
}

/// The trail of the tenant names who forced, why, and the object with what held it; so do the operator's notes.
async fn on_record(order_uid: &str, reason: &str) -> Result<()> {
    let trail = api().await?.read(&format!("/v1/tenants/{TENANT}/audit?pageSize=500")).await?;
    let events = trail["items"].as_array().context("no trail")?;
    let of: Vec<&Value> = events.iter().filter(|event| event["action"] == "order.forceDelete").collect();
    ensure!(of.len() == 1, "{} events tell of it", of.len());
    let (event, detail) = (of[0], &of[0]["detail"]);
    ensure!(event["actor"] == "story-force-operator", "it names {}", event["actor"]);
    ensure!(event["object"] == format!("order/{order_uid}"), "it is about {}", event["object"]);
    ensure!(detail["reason"] == reason && detail["dataKept"] == false, "{detail}");
    let left = detail["left"].as_array().context("nothing is listed")?;
    let held =
        left.iter().find(|object| object["kind"] == "Cluster").context("no engine object is listed")?;
    let finalizers = held["finalizers"].as_array().context("no finalizers are listed")?;
    ensure!(finalizers.contains(&json!(HOLD)), "{held}");
    ensure!(
        left.iter().any(|object| object["kind"] == "PersistentVolumeClaim"),
        "no volume is listed: {detail}"
    );
    let notes =
        Kubectl::admin().get("configmap", SYSTEM, "siyada-forced-deletions").await?.context("no notes")?;
    let note: Value = serde_json::from_str(notes["data"][order_uid].as_str().context("no note of it")?)?;
    ensure!(note["left"] == detail["left"] && note["at"] == detail["at"], "the notes say {note}");
    let told = Kubectl::admin().run(&["-n", HOME, "get", "events", "-o", "json"]).await?;
    let told: Value = serde_json::from_str(&told)?;
    let of_force = |event: &&Value| event["reason"] == "DeletionForced" && event.to_string().contains(reason);
    let events = told["items"].as_array().context("no events")?;
    ensure!(events.iter().any(|event| of_force(&event)), "no event tells of it");
    Ok(())
}

/// The sweep has seen what was left: it is counted for the platform, listed and billed for nobody.
async fn nobody_pays(admin: &Kubectl, cluster: &str, order_uid: &str) -> Result<()> {
    eventually(seconds(60), "the platform to be told what was left", || async {
        let count = figure("", "siyada_operator_abandoned_instances ", "").await?;
        ensure!(count > 0.0, "nothing is counted");
        Ok(())
    })
    .await?;
    nothing_open(order_uid).await?;
    ensure!(admin.get("rti", HOME, cluster).await?.is_none(), "it is listed as kept data");
    Ok(())
}

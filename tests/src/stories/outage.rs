//! Parts of the platform that are away.

use super::deletion::{is_kept, remove_retained};
use super::{DISPOSABLE, HOME, postgres, restore_webhook};
use crate::clients::{self, Binding};
use crate::kubectl::Kubectl;
use crate::platform::{self, Api, SYSTEM, engine, gone, ready, uid, wait_for};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// The webhook only advises: without it the reservation says the same.
pub async fn no_webhook() -> Result<()> {
    let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(HOME, "ministry-it").await?);
    platform::remove_webhook().await?;
    let large =
        postgres(HOME, "beyond", "storage: 5Gi").replace("plan: dev", "plan: large").replace("5Gi", "500Gi");
    // What is wrong with each, and the reason that its condition must have.
    let wrong = [
        ("plan: huge, version: '15', dataClassification: Internal", "PlanUnknown"),
        ("plan: dev, version: '9.6', dataClassification: Internal", "VersionUnknown"),
        ("plan: small, version: '15', storage: 1Gi, dataClassification: Internal", "StorageOutOfRange"),
        ("plan: dev, version: '15', dataClassification: Restricted", "ClassificationNotAllowed"),
        ("plan: dev, version: '15', dataClassification: Internal, site: atlantis", "SiteUnknown"),
        (
            "plan: dev, version: '15', dataClassification: Internal, highAvailability: true",
            "HighAvailabilityNotOffered",
        ),
        (
            "plan: dev, version: '15', dataClassification: Internal, parameters: [{name: fsync, value: 'off'}]",
            "ParameterNotAllowed",
        ),
        (
            "plan: dev, version: '15', dataClassification: Internal, maxMonthlyCost: {amount: '10', currency: MAD}",
            "CostAboveMaximum",
        ),
    ];
    let name = |index: usize| format!("wrong-{index}");
    let told = async {
        ministry.apply(&large).await?;
        for (index, (spec, _)) in wrong.iter().enumerate() {
            ministry.apply(&unprotected(&name(index), spec)).await?;
        }
        for (index, (_, reason)) in wrong.iter().enumerate() {
            wait_for(&ministry, "pgi", HOME, &name(index), "Admitted", "False", Some(reason), 60).await?;
            wait_for(&ministry, "pgi", HOME, &name(index), "Stalled", "True", Some(reason), 10).await?;
        }
        wait_for(&ministry, "pgi", HOME, "beyond", "Admitted", "False", None, 60).await
    }
    .await;
    restore_webhook().await?;
    let order = told?;
    let (_, reason, message) = crate::kubectl::condition(&order, "Admitted").context("no condition")?;
    ensure!(
        reason == "BudgetExceeded" && message.contains("interior") && message.contains("asked"),
        "{reason}: {message}"
    );
    ensure!(order.pointer("/status/engineRef").is_none(), "something was started");
    admin.patch("pgi", HOME, "beyond", &serde_json::json!({"spec": {"deletionProtection": false}})).await?;
    for name in (0..wrong.len()).map(name).chain(["beyond".to_owned()]) {
        admin.run(&["-n", HOME, "delete", "pgi", &name, "--wait=false"]).await?;
        gone("pgi", HOME, &name, 60).await?;
    }
    Ok(())
}

fn unprotected(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: siyada.cloud/v1alpha1\nkind: PostgresInstance\nmetadata: {{name: {name}, namespace: {HOME}}}\nspec: \
         {{deletionProtection: false, {spec}}}\n"
    )
}

/// Without the api orders wait with a sentence.
pub async fn no_api() -> Result<()> {
    let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(HOME, "ministry-it").await?);
    ministry.apply(&postgres(HOME, "steady", DISPOSABLE)).await?;
    let steady = ready(&ministry, "pgi", HOME, "steady", 240).await?;
    let api = Api::service_account(HOME, "ministry-it").await?;
    let before = super::deletion::all_intervals(&api, &uid(&steady)?).await?;
    admin.run(&["-n", SYSTEM, "scale", "deployment/siyada-api", "--replicas=0"]).await?;
    admin
        .run(&[
            "-n",
            SYSTEM,
            "wait",
            "--for=delete",
            "pod",
            "-l",
            "app.kubernetes.io/name=siyada-api",
            "--timeout=60s",
        ])
        .await?;
    let waited = async {
        ministry.apply(&postgres(HOME, "patient", DISPOSABLE)).await?;
        let order =
            wait_for(&ministry, "pgi", HOME, "patient", "Admitted", "Unknown", Some("LedgerUnavailable"), 60)
                .await?;
        ensure!(order.pointer("/status/engineRef").is_none(), "something was started without a reservation");
        let client = clients::postgres(&Binding::read(&ministry, HOME, "steady-postgresql").await?).await?;
        client.simple_query("select 1").await?;
        ready(&ministry, "pgi", HOME, "steady", 5).await
    }
    .await;
    admin.run(&["-n", SYSTEM, "scale", "deployment/siyada-api", "--replicas=1"]).await?;
    platform::wait_until_it_works().await?;
    waited?;
    ready(&ministry, "pgi", HOME, "patient", 300).await?;
    let after = super::deletion::all_intervals(&api, &uid(&steady)?).await?;
    ensure!(before == after && !after.is_empty(), "{before:?} became {after:?}");
    ministry.run(&["-n", HOME, "delete", "pgi", "patient", "steady", "--wait=false"]).await?;
    gone("pgi", HOME, "patient", 180).await?;
    gone("pgi", HOME, "steady", 180).await
}

/// `helm uninstall`, then everything again.
pub async fn reinstall() -> Result<()> {
    let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(HOME, "ministry-it").await?);
    ministry.apply(&postgres(HOME, "resident", "")).await?;
    let order = ready(&ministry, "pgi", HOME, "resident", 240).await?;
    let (namespace, cluster) = engine(&order)?;
    let binding = Binding::read(&ministry, HOME, "resident-postgresql").await?;
    clients::postgres(&binding)
        .await?
        .batch_execute("create table if not exists deeds (id int); insert into deeds values (1)")
        .await?;
    let pod = async || {
        let pod = admin.get("pod", &namespace, &format!("{cluster}-1")).await?.context("no pod")?;
        let restarts = pod.pointer("/status/containerStatuses/0/restartCount").cloned().unwrap_or_default();
        anyhow::Ok((uid(&pod)?, restarts))
    };
    let api = Api::service_account(HOME, "ministry-it").await?;
    let (pod_before, before) = (pod().await?, super::deletion::all_intervals(&api, &uid(&order)?).await?);
    platform::helm(&["-n", SYSTEM, "uninstall", "siyada", "--wait"]).await?;
    let rows: i64 =
        clients::postgres(&binding).await?.query_one("select count(*) from deeds", &[]).await?.get(0);
    ensure!(rows >= 1, "the rows are gone");
    platform::install().await?;
    platform::wait_until_it_works().await?;
    ready(&ministry, "pgi", HOME, "resident", 120).await?;
    // Neither an upgrade that changes nothing nor the way back may take the price out of the answers.
    platform::install().await?;
    platform::roll_back().await?;
    super::advised(&ministry).await?;
    let api = Api::service_account(HOME, "ministry-it").await?;
    // The Service has another address now; names are cached for some seconds.
    let order_uid = uid(&order)?;
    let read = || super::deletion::all_intervals(&api, &order_uid);
    let after: Vec<Value> = eventually(seconds(90), "the api to answer", read).await?;
    ensure!(pod().await? == pod_before, "the database was restarted");
    ensure!(before == after && !after.is_empty(), "{before:?} became {after:?}");
    Ok(())
}

/// A namespace is removed by force while the operator is away: its orders end like kept ones.
pub async fn namespace_removed() -> Result<()> {
    const NAMESPACE: &str = "health-apps";
    let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(NAMESPACE, "ministry-it").await?);
    ministry.apply(&postgres(NAMESPACE, "stranded", "")).await?;
    let order = ready(&ministry, "pgi", NAMESPACE, "stranded", 240).await?;
    admin.run(&["-n", SYSTEM, "scale", "deployment/siyada-operator", "--replicas=0"]).await?;
    let away = [
        "-n",
        SYSTEM,
        "wait",
        "--for=delete",
        "pod",
        "-l",
        "app.kubernetes.io/name=siyada-operator",
        "--timeout=60s",
    ];
    let removed = async {
        admin.run(&away).await?;
        // Break-glass takes the protection off the namespace; nobody else can.
        admin.run(&["label", "namespace", NAMESPACE, "siyada.cloud/protected-orders-"]).await?;
        admin.run(&["delete", "namespace", NAMESPACE, "--wait=false"]).await
    }
    .await;
    admin.run(&["-n", SYSTEM, "scale", "deployment/siyada-operator", "--replicas=1"]).await?;
    removed?;
    platform::wait_until_it_works().await?;
    gone("pgi", NAMESPACE, "stranded", 120).await?;
    // The tenant still lists it: the operator makes it again.
    let again = || async { admin.apply(&platform::file("examples/platform/40-access.yaml")?).await };
    eventually(seconds(180), "the namespace to come back", again).await?;
    is_kept("health", &uid(&order)?, &engine(&order)?).await?;
    remove_retained("health", &uid(&order)?, "stranded").await
}

/// The definition of a kind is deleted, and with it every order: even one that says `Delete` is kept then.
pub async fn definitions_removed() -> Result<()> {
    let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(HOME, "ministry-it").await?);
    ministry.apply(&postgres(HOME, "erased", DISPOSABLE)).await?;
    let order = ready(&ministry, "pgi", HOME, "erased", 240).await?;
    let others = admin.list("pgi", HOME, "").await?;
    admin.run(&["delete", "crd", "postgresinstances.siyada.cloud", "--timeout=120s"]).await?;
    is_kept("interior", &uid(&order)?, &engine(&order)?).await?;
    platform::install().await?;
    let fresh = || async { ministry.apply(&postgres(HOME, "afterwards", DISPOSABLE)).await };
    eventually(seconds(60), "orders to be possible again", fresh).await?;
    ready(&ministry, "pgi", HOME, "afterwards", 300).await?;
    for other in others {
        let name = other.pointer("/metadata/name").and_then(Value::as_str).context("no name")?;
        remove_retained("interior", &uid(&other)?, name).await?;
    }
    ministry.run(&["-n", HOME, "delete", "pgi", "afterwards", "--wait=false"]).await?;
    gone("pgi", HOME, "afterwards", 180).await
}

//! Hands and crashes.

use super::{DISPOSABLE, HOME, postgres};
use crate::kubectl::Kubectl;
use crate::platform::{SYSTEM, engine, gone, ready, wait_for};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// A changed engine object, a deleted binding, a foreign Secret.
pub async fn by_hand() -> Result<()> {
    let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(HOME, "ministry-it").await?);
    let foreign = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: taken-postgresql, namespace: {HOME}}}\nstringData: {{mine: yes}}\n")
        .replace("mine: yes", "mine: 'yes'");
    admin.apply(&foreign).await?;
    ministry.apply(&postgres(HOME, "taken", DISPOSABLE)).await?;
    ministry.apply(&postgres(HOME, "handled", DISPOSABLE)).await?;
    wait_for(&ministry, "pgi", HOME, "taken", "Stalled", "True", Some("NameConflict"), 60).await?;
    let secret =
        admin.get("secret", HOME, "taken-postgresql").await?.context("the foreign Secret is gone")?;
    ensure!(
        secret["data"].get("password").is_none() && secret["data"].get("mine").is_some(),
        "it was adopted"
    );

    let order = ready(&ministry, "pgi", HOME, "handled", 240).await?;
    let (namespace, cluster) = engine(&order)?;
    admin
        .patch(
            "clusters.postgresql.cnpg.io",
            &namespace,
            &cluster,
            &json!({"spec": {"enableSuperuserAccess": true}}),
        )
        .await?;
    eventually(seconds(30), "the change by hand to be reverted", || async {
        let object = admin.get("clusters.postgresql.cnpg.io", &namespace, &cluster).await?.context("gone")?;
        ensure!(object["spec"]["enableSuperuserAccess"] == false, "it is still there");
        Ok(())
    })
    .await?;
    let before = admin.get("secret", HOME, "handled-postgresql").await?.context("no binding")?;
    admin.run(&["-n", HOME, "delete", "secret", "handled-postgresql"]).await?;
    eventually(seconds(30), "the binding to come back", || async {
        let after = admin.get("secret", HOME, "handled-postgresql").await?.context("not yet")?;
        ensure!(after["data"] == before["data"], "it is another one");
        Ok(())
    })
    .await?;
    for name in ["taken", "handled"] {
        ministry.run(&["-n", HOME, "delete", "pgi", name, "--wait=false"]).await?;
    }
    for name in ["taken", "handled"] {
        gone("pgi", HOME, name, 180).await?;
    }
    let secret = admin.get("secret", HOME, "taken-postgresql").await?;
    ensure!(secret.is_some(), "the foreign Secret went with the order");
    admin.run(&["-n", HOME, "delete", "secret", "taken-postgresql"]).await.map(|_| ())
}

/// Kill -9 of the operator at moments of a database's making.
pub async fn operator_killed() -> Result<()> {
    let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(HOME, "ministry-it").await?);
    ministry.apply(&postgres(HOME, "survivor", DISPOSABLE)).await?;
    eventually(seconds(60), "the engine object", || async {
        let order = admin.get("pgi", HOME, "survivor").await?.context("no order")?;
        engine(&order).map(|_| ())
    })
    .await?;
    let pods = [
        "-n",
        SYSTEM,
        "delete",
        "pod",
        "-l",
        "app.kubernetes.io/name=siyada-operator",
        "--grace-period=0",
        "--force",
    ];
    admin.run(&pods).await?;
    let order = ready(&ministry, "pgi", HOME, "survivor", 300).await?;
    let (namespace, _) = engine(&order)?;
    let uid = crate::platform::uid(&order)?;
    let clusters = admin
        .list("clusters.postgresql.cnpg.io", &namespace, &format!("siyada.cloud/order-uid={uid}"))
        .await?;
    ensure!(clusters.len() == 1, "{} engine objects for one order", clusters.len());
    let api = crate::platform::Api::service_account(HOME, "ministry-it").await?;
    let before = super::deletion::all_intervals(&api, &uid).await?;
    admin.run(&pods).await?;
    crate::platform::wait_until_it_works().await?;
    ready(&ministry, "pgi", HOME, "survivor", 120).await?;
    let after = super::deletion::all_intervals(&api, &uid).await?;
    let compute = |all: &[Value]| all.iter().filter(|i| i["meter"] == "compute").cloned().collect::<Vec<_>>();
    ensure!(compute(&before) == compute(&after) && !after.is_empty(), "{before:?} became {after:?}");
    ministry.run(&["-n", HOME, "delete", "pgi", "survivor", "--wait=false"]).await?;
    gone("pgi", HOME, "survivor", 180).await
}

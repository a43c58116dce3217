//! Soft limits, alerts and approvals.

use super::tenancy::{cleared, made, nowhere, parked, says, tenant};
use super::{DISPOSABLE, advice, postgres};
use crate::kubectl::{Kubectl, condition};
use crate::platform::{Api, uid, wait_for};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

/// Near a soft limit there is a warning, at a threshold an Event on the tenant, once.
pub async fn soft_limit_and_alerts() -> Result<()> {
    let (admin, namespace) = (Kubectl::admin(), "story-soft-apps");
    made("story-soft", None, "softLimitPercent: 50, alerts: {percent: [75]}, quota: {instances: 4}").await?;
    let apply = async |name: &str, flag: &str| {
        let printed = admin.try_with(&["apply", flag, "-f", "-"], &parked(namespace, name)).await?;
        ensure!(printed.ok, "{}", printed.err);
        anyhow::Ok(printed.err)
    };
    let said = apply("one", "--dry-run=none").await?;
    let advised = advice::given("the warning near a soft limit");
    ensure!(!advised || said.contains("at most") && !said.contains("soft limit"), "{said}");
    wait_for(&admin, "pgi", namespace, "one", "Admitted", "True", None, 60).await?;
    for flag in ["--dry-run=server", "--dry-run=none"] {
        let said = apply("two", flag).await?;
        let warned = said.contains("2 of 4 would be held, past the soft limit of 50 %");
        ensure!(!advised || warned, "{said}");
    }
    wait_for(&admin, "pgi", namespace, "two", "Admitted", "True", None, 60).await?;
    apply("three", "--dry-run=none").await?;
    let events = || async {
        let out = admin
            .run(&[
                "-n",
                "default",
                "get",
                "events",
                "--field-selector",
                "involvedObject.name=story-soft",
                "-o",
                "json",
            ])
            .await?;
        let list: Value = serde_json::from_str(&out)?;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        anyhow::Ok(items.into_iter().filter(|e| e["reason"] == "QuotaThresholdReached").collect::<Vec<_>>())
    };
    eventually(seconds(30), "an event on the tenant", || async {
        let events = events().await?;
        let note = events.first().and_then(|e| e["message"].as_str()).unwrap_or_default();
        ensure!(note.contains("instances reached 75 %: 3 of 4 held"), "{note:?}");
        Ok(())
    })
    .await?;
    // What follows a restart is not told again.
    admin
        .run(&["-n", "siyada-system", "delete", "pod", "-l", "app.kubernetes.io/name=siyada-operator"])
        .await?;
    crate::platform::wait_until_it_works().await?;
    admin
        .apply(&tenant(
            "story-soft",
            None,
            "softLimitPercent: 50, alerts: {percent: [75]}, quota: {instances: 5}",
        ))
        .await?;
    says("story-soft", "/status/quota/instances/summary", &json!("3/5")).await?;
    let events = events().await?;
    ensure!(events.len() == 1, "{} events", events.len());
    let times =
        events[0]["count"].as_i64().or_else(|| events[0].pointer("/series/count").and_then(Value::as_i64));
    ensure!(times.unwrap_or(1) == 1, "it was told {times:?} times");
    let orders = [(namespace, "one"), (namespace, "two"), (namespace, "three")];
    cleared(&orders, &["story-soft"]).await
}

/// Above a threshold an order waits, starts nothing, and goes on when a second person approved.
pub async fn approval() -> Result<()> {
    let (admin, namespace) = (Kubectl::admin(), "story-appr-apps");
    let yaml = "approvalAbove: {amount: '100.00', currency: MAD}, access: [{role: requester, groups: \
                ['system:serviceaccounts:story-appr-apps']}, {role: approver, groups: \
                ['system:serviceaccounts:story-appr-apps', 'system:serviceaccounts:story-appr-chiefs']}], ";
    let spec =
        tenant("story-appr", None, yaml).replace("[story-appr-apps]", "[story-appr-apps, story-appr-chiefs]");
    nowhere().await?;
    admin.apply(&spec).await?;
    crate::platform::ready(&admin, "tenant", "default", "story-appr", 60).await?;
    let ministry = Kubectl::service_account(namespace, "default").await?;
    let order = parked(namespace, "dear");
    let said = ministry.apply(&order).await?.err;
    let advised = advice::given("the warning that an order needs an approval");
    ensure!(!advised || said.contains("approver"), "no warning of the approval: {said}");
    let reason = Some("ApprovalPending");
    let told = wait_for(&ministry, "pgi", namespace, "dear", "Admitted", "False", reason, 60).await?;
    let uid = uid(&told)?;
    let path = format!("/v1/tenants/story-appr/approvals/{uid}");
    let (_, _, message) = condition(&told, "Admitted").context("no condition")?;
    ensure!(
        message.contains("above 100.00 MAD/month of tenant story-appr") && message.contains(&path),
        "{message}"
    );
    ensure!(told.pointer("/status/engineRef").is_none(), "something was started");
    says("story-appr", "/status/waiting", &json!("1 (150.19 MAD)")).await?;

    let requester = Api::service_account(namespace, "default").await?;
    let (status, body) = requester.send(Method::POST, &path, &json!({})).await?;
    ensure!(status == 403, "who ordered approved it himself: {status} {body}");
    let chief = Api::service_account("story-appr-chiefs", "default").await?;
    let (status, body) = chief.send(Method::POST, &path, &json!({"comment": "budget 2026"})).await?;
    ensure!(status < 300, "{status} {body}");
    wait_for(&ministry, "pgi", namespace, "dear", "Admitted", "True", None, 60).await?;

    // It lapses when the order grows.
    let grown = postgres(namespace, "dear", &format!("site: story-nowhere, storage: 3Gi, {DISPOSABLE}"));
    ministry.apply(&grown).await?;
    wait_for(&ministry, "pgi", namespace, "dear", "Admitted", "False", reason, 60).await?;
    admin.run(&["delete", "namespace", "story-appr-chiefs", "--wait=false"]).await.ok();
    cleared(&[(namespace, "dear")], &["story-appr"]).await
}

//! Maintenance windows: what the platform changes waits for them, and what of it the people notice who use the database.

use super::changes::{over, pods, under_a_writer};
use super::{DISPOSABLE, HOME, advice, postgres};
use crate::clients::{self, Binding};
use crate::kubectl::Kubectl;
use crate::platform::{gone, ready};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, ensure};
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const NAME: &str = "unhurried";

/// An offering whose plan has so much memory, and that sets so many connections where an order does not.
fn offering(memory: &str, connections: u32) -> String {
    format!(
        "apiVersion: siyada.cloud/v1alpha1
kind: ServiceOffering
metadata: {{name: story-maintenance}}
spec:
  engine: PostgreSQL
  versions: [{{version: '15', image: 'localhost/postgresql:15'}}]
  parameters: [{{name: statement_timeout}}, {{name: max_connections, default: '{connections}'}}]
  maintenance: {{dayOfWeek: Sunday, startTime: '02:00', timeZone: Africa/Casablanca}}
  plans:
    - {{name: less, cpu: 100m, memory: {memory}, storage: 1Gi, maximumStorage: 4Gi, computeSku: postgresql-dev, storageSku: volume}}
    - {{name: more, cpu: 150m, memory: 384Mi, storage: 1Gi, maximumStorage: 4Gi, computeSku: postgresql-small, storageSku: volume}}
"
    )
}

/// `spec.maintenance` with a window that begins so many minutes from now.
fn window(minutes: i64, apply: &str) -> Result<String> {
    let begin = Timestamp::now().checked_add(minutes.minutes())?.to_zoned(TimeZone::UTC);
    let (day, start) = (begin.strftime("%A"), begin.strftime("%H:%M"));
    Ok(format!("maintenance: {{dayOfWeek: {day}, startTime: '{start}', timeZone: UTC, apply: {apply}}}, "))
}

/// In three days.
const FAR: i64 = 3 * 24 * 60;

fn order(plan: &str, maintenance: &str, timeout: u32) -> String {
    let parameters = format!("parameters: [{{name: statement_timeout, value: '{timeout}'}}], ");
    postgres(HOME, NAME, &format!("offering: story-maintenance, {maintenance}{parameters}{DISPOSABLE}"))
        .replace("plan: dev", &format!("plan: {plan}"))
}

/// What a restart would change: the pods, and when the database began.
async fn life(admin: &Kubectl, order: &Value, bound: &Binding) -> Result<(BTreeSet<String>, String)> {
    let pods = pods(admin, order).await?;
    let uids = pods.iter().filter_map(|pod| pod["metadata"]["uid"].as_str()).map(str::to_owned).collect();
    let client = clients::postgres(bound).await?;
    let began = client.query_one("select pg_postmaster_start_time()::text", &[]).await?.get(0);
    Ok((uids, began))
}

async fn setting(bound: &Binding, name: &str) -> Result<String> {
    let client = clients::postgres(bound).await?;
    Ok(client.query_one(&format!("show {name}"), &[]).await?.get(0))
}

async fn told(who: &Kubectl) -> Result<Value> {
    who.get("pgi", HOME, NAME).await?.context("no order")
}

/// Waits until the order is told what waits.
async fn pending(who: &Kubectl, what: &str) -> Result<Value> {
    eventually(seconds(60), &format!("the order to be told that it waits: {what}"), || async {
        let order = told(who).await?;
        let told = &order["status"]["pendingMaintenance"];
        ensure!(told["what"] == what, "it says {told}");
        let from: Timestamp = told["from"].as_str().context("no moment")?.parse()?;
        ensure!(from > Timestamp::now(), "{from} is past");
        let sentence = told["message"].as_str().unwrap_or_default();
        ensure!(sentence.contains("maintenance window"), "{sentence}");
        Ok(order)
    })
    .await
}

/// An offering that becomes another one restarts nothing outside of the window, and all of it in the window, under a client that
/// writes; what the order itself asks for happens at once, unless it asks to wait.
pub async fn waits() -> Result<()> {
    let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(HOME, "ministry-it").await?);
    admin.apply(&offering("256Mi", 60)).await?;
    let far = window(FAR, "Immediately")?;
    ministry.apply(&order("less", &far, 60_000)).await?;
    ready(&ministry, "pgi", HOME, NAME, 420).await?;
    let made = over(&ministry, NAME, "Create", 60).await?;
    ensure!(made["status"].get("pendingMaintenance").is_none(), "{}", made["status"]);
    let bound = Binding::read(&ministry, HOME, &format!("{NAME}-postgresql")).await?;
    ensure!(setting(&bound, "max_connections").await? == "60", "the offering's default is not set");
    let before = life(&admin, &made, &bound).await?;

    admin.apply(&offering("320Mi", 70)).await?;
    let what = "other CPU and memory; parameters max_connections";
    let since = pending(&ministry, what).await?["status"]["pendingMaintenance"]["since"].clone();
    noted(&admin, "MaintenancePending").await?;
    // What the order asks for itself is not held up by it.
    ministry.apply(&order("less", &far, 30_000)).await?;
    over(&ministry, NAME, "ChangeParameters", 120).await?;
    ensure!(setting(&bound, "statement_timeout").await? == "30s", "the order's own parameter is not set");
    let waits = pending(&ministry, what).await?;
    ensure!(waits["status"]["pendingMaintenance"]["since"] == since, "it does not wait since {since}");
    ensure!(
        life(&admin, &waits, &bound).await? == before,
        "the database was restarted outside of its window"
    );
    ensure!(setting(&bound, "max_connections").await? == "60", "the default was set outside of the window");

    Box::pin(in_the_window(&admin, &ministry, &bound, &before.0)).await?;
    own_change(&admin, &ministry, &bound).await?;
    ministry.run(&["-n", HOME, "delete", "pgi", NAME, "--wait=false"]).await?;
    gone("pgi", HOME, NAME, 240).await?;
    admin.run(&["delete", "serviceoffering/story-maintenance"]).await.map(|_| ())
}

/// The window is moved so that its last turn is at most two minutes from now.
async fn in_the_window(
    admin: &Kubectl,
    ministry: &Kubectl,
    bound: &Binding,
    before: &BTreeSet<String>,
) -> Result<()> {
    let moved = async {
        ministry.apply(&order("less", &window(-88, "Immediately")?, 30_000)).await?;
        eventually(seconds(540), "the maintenance to be done", || async {
            let order = told(ministry).await?;
            ensure!(order["status"].get("pendingMaintenance").is_none(), "{}", order["status"]);
            let running = pods(admin, &order).await?;
            ensure!(running.len() == 1, "{} pods run", running.len());
            let limits = &running[0]["spec"]["containers"][0]["resources"]["limits"];
            ensure!(limits["memory"] == "320Mi", "the pod has {limits}");
            ensure!(setting(bound, "max_connections").await? == "70", "the default is not set");
            Ok(())
        })
        .await?;
        ready(ministry, "pgi", HOME, NAME, 240).await.map(|_| ())
    };
    let seen = Box::pin(under_a_writer(NAME, moved)).await?;
    println!(
        "  maintenance: no write for {} ms at most, {} rows over {} connections",
        seen.longest.as_millis(),
        seen.acknowledged.len(),
        seen.connections
    );
    noted(admin, "MaintenanceBegan").await?;
    let (after, _) = life(admin, &told(ministry).await?, bound).await?;
    ensure!(after.is_disjoint(before), "the pod is the same, which a change of memory cannot leave");
    Ok(())
}

/// A change that asks to wait waits, is not billed, and happens when it asks no longer.
async fn own_change(admin: &Kubectl, ministry: &Kubectl, bound: &Binding) -> Result<()> {
    let before = life(admin, &told(ministry).await?, bound).await?;
    let said = ministry.apply(&order("more", &window(FAR, "Window")?, 30_000)).await?.err;
    let advised = advice::given("that a change waits");
    ensure!(!advised || said.contains("it waits for the maintenance window"), "{said}");
    let waits = pending(ministry, "as ordered: plan less to more").await?;
    let operation = &waits["status"]["operation"];
    ensure!(operation["type"] == "ChangePlan" && operation["state"] == "Pending", "{operation}");
    ensure!(waits["status"]["plan"] == "less", "{}", waits["status"]["plan"]);
    ensure!(
        life(admin, &waits, bound).await? == before,
        "the database was restarted although its order waits"
    );
    let spec = json!({"spec": {"maintenance": {"apply": "Immediately"}}});
    ministry.patch("pgi", HOME, NAME, &spec).await?;
    let done = over(ministry, NAME, "ChangePlan", 420).await?;
    ensure!(done["status"]["plan"] == "more", "{}", done["status"]["plan"]);
    ensure!(done["status"].get("pendingMaintenance").is_none(), "{}", done["status"]);
    let zone = order("more", "maintenance: {timeZone: Africa/Rabat}, ", 30_000);
    if advice::given("a time zone that is none") {
        ministry.refused(&zone, &["\"Africa/Rabat\" is no time zone", "Africa/Casablanca"]).await?;
    }
    Ok(())
}

/// Waits until people were told of something about the order.
async fn noted(admin: &Kubectl, reason: &str) -> Result<()> {
    let selector = format!("involvedObject.name={NAME},reason={reason}");
    eventually(seconds(60), &format!("an event {reason}"), || async {
        let found =
            admin.run(&["-n", HOME, "get", "events", "--field-selector", &selector, "-o", "name"]).await?;
        ensure!(!found.trim().is_empty(), "there is none");
        Ok(())
    })
    .await
}

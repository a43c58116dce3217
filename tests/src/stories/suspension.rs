//! Orders that stand still: what they give back, and what it takes to run again.

use super::tenancy::{cleared, made, nowhere, parked, says, tenant};
use super::{DISPOSABLE, HOME, advice, backup, deletion, postgres};
use crate::clients::{self, Binding};
use crate::kubectl::{Kubectl, condition};
use crate::platform::{self, Api, engine, gone, ready, wait_for};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

/// The tenant of the story of room.
const TOP: &str = "story-rest";
/// Its namespace.
const SPACE: &str = "story-rest-apps";
/// The tenant of the story of approvals.
const DEAR: &str = "story-rise-again";

fn suspended(on: bool) -> Value {
    json!({"spec": {"suspend": on}})
}

/// The only place of a tenant is given back by an order that is suspended and taken by a sibling; resuming is refused with a
/// sentence, and comes about by itself when the sibling is gone. No row is lost over it.
pub async fn room() -> Result<()> {
    let admin = Kubectl::admin();
    made(TOP, None, "quota: {instances: 1}").await?;
    let lived = taken_and_given_back(&admin).await;
    // The webhook is taken away in the middle.
    super::restore_webhook().await?;
    lived?;
    cleared(&[(SPACE, "first"), (SPACE, "second")], &[TOP]).await
}

async fn taken_and_given_back(admin: &Kubectl) -> Result<()> {
    let first = |more: &str| postgres(SPACE, "first", &format!("{more}{DISPOSABLE}"));
    admin.apply(&first("")).await?;
    let order = ready(admin, "pgi", SPACE, "first", 240).await?;
    let bound = Binding::read(admin, SPACE, "first-postgresql").await?;
    let client = clients::postgres(&bound).await?;
    client.batch_execute("create table acts as select generate_series(1, 1000) as id").await?;
    drop(client);
    let uid = platform::uid(&order)?;
    metered(&uid, 1, true).await?;
    says(TOP, "/status/quota/instances/summary", &json!("1/1")).await?;
    advice::refused(admin, &parked(SPACE, "second"), &["instances of tenant story-rest", "free 0"]).await?;

    let said = admin.apply(&first("suspend: true, ")).await?.err;
    let advised = advice::given("the price of a suspended order");
    ensure!(!advised || said.contains("while it is suspended"), "{said}");
    wait_for(admin, "pgi", SPACE, "first", "Ready", "False", Some("Suspended"), 60).await?;
    says(TOP, "/status/quota/instances/summary", &json!("0/1")).await?;
    metered(&uid, 1, false).await?;
    let quota =
        Api::service_account(SPACE, "default").await?.read(&format!("/v1/tenants/{TOP}/quota")).await?;
    let held = &quota["held"]["resources"];
    ensure!(
        held["cpuMilli"] == 0 && held["memoryBytes"] == 0 && held["storageBytes"] == 1_i64 << 30,
        "{held}"
    );

    admin.apply(&parked(SPACE, "second")).await?;
    wait_for(admin, "pgi", SPACE, "second", "Admitted", "True", None, 60).await?;
    says(TOP, "/status/quota/instances/summary", &json!("1/1")).await?;
    advice::edit_refused(
        admin,
        &first("suspend: false, "),
        &["stays suspended", "instances of tenant story-rest"],
    )
    .await?;
    // Whoever is not advised is told by the order itself.
    platform::remove_webhook().await?;
    admin.patch("pgi", SPACE, "first", &suspended(false)).await?;
    let why = Some("QuotaExceeded");
    let told = wait_for(admin, "pgi", SPACE, "first", "Admitted", "False", why, 60).await?;
    let (_, _, message) = condition(&told, "Admitted").context("no condition")?;
    ensure!(
        message.contains("asked 1, free 0 of 1") && message.contains("spec.suspend to true again"),
        "{message}"
    );
    ensure!(told.pointer("/status/phase") == Some(&json!("Suspended")), "{}", told["status"]["phase"]);
    stands_still(admin, &order).await?;
    // The wish to run is no compute.
    metered(&uid, 1, false).await?;

    admin.run(&["-n", SPACE, "delete", "pgi", "second", "--wait=false"]).await?;
    gone("pgi", SPACE, "second", 180).await?;
    ready(admin, "pgi", SPACE, "first", 300).await?;
    metered(&uid, 2, true).await?;
    says(TOP, "/status/quota/instances/summary", &json!("1/1")).await?;
    let row = clients::postgres(&bound).await?.query_one("select count(*), sum(id) from acts", &[]).await?;
    let (count, sum): (i64, i64) = (row.get(0), row.get(1));
    ensure!((count, sum) == (1000, 500_500), "{count} rows with the sum {sum} came back");
    Ok(())
}

/// Waits until so many times of compute of the first order are on record, the last of which is billed on or ended as well.
/// Storage is billed all the time.
async fn metered(uid: &str, times: usize, runs: bool) -> Result<()> {
    let api = Api::service_account(SPACE, "default").await?;
    let what = format!("{times} times of compute, the last open: {runs}");
    eventually(seconds(60), &what, || async {
        let all = deletion::intervals_of(&api, TOP, uid).await?;
        let of = |meter: &str| all.iter().filter(|i| i["meter"] == meter).collect::<Vec<_>>();
        let open = |of: &[&Value]| of.iter().filter(|i| i["end"].is_null()).count();
        let (compute, storage) = (of("compute"), of("storage"));
        ensure!(compute.len() == times && open(&compute) == usize::from(runs), "there are {compute:?}");
        ensure!(open(&storage) == 1, "its storage is {storage:?}");
        Ok(())
    })
    .await
}

/// No pod of it runs, and its volume is there.
async fn stands_still(admin: &Kubectl, order: &Value) -> Result<()> {
    let (namespace, cluster) = engine(order)?;
    let selector = format!("cnpg.io/cluster={cluster}");
    eventually(seconds(120), "the pods of what stands still to go", || async {
        let pods = admin.list("pod", &namespace, &selector).await?;
        ensure!(pods.is_empty(), "{} pods are left", pods.len());
        Ok(())
    })
    .await?;
    let volumes = admin.list("pvc", &namespace, &selector).await?;
    ensure!(volumes.len() == 1, "{} volumes are left", volumes.len());
    Ok(())
}

/// A suspended order below the threshold resumes above it only with somebody's approval.
pub async fn approved() -> Result<()> {
    let (admin, namespace, chiefs) = (Kubectl::admin(), format!("{DEAR}-apps"), format!("{DEAR}-chiefs"));
    let group = |space: &str| format!("groups: ['system:serviceaccounts:{space}']");
    let more = format!(
        "approvalAbove: {{amount: '100.00', currency: MAD}}, access: [{{role: requester, {}}}, {{role: approver, {}}}], ",
        group(&namespace),
        group(&chiefs)
    );
    let spec =
        tenant(DEAR, None, &more).replace(&format!("[{namespace}]"), &format!("[{namespace}, {chiefs}]"));
    nowhere().await?;
    admin.apply(&spec).await?;
    ready(&admin, "tenant", "default", DEAR, 60).await?;
    let ministry = Kubectl::service_account(&namespace, "default").await?;
    let order =
        |more: &str| postgres(&namespace, "dear", &format!("{more}site: story-nowhere, {DISPOSABLE}"));
    ministry.apply(&order("suspend: true, ")).await?;
    wait_for(&ministry, "pgi", &namespace, "dear", "Admitted", "True", None, 60).await?;
    ministry.apply(&order("suspend: false, ")).await?;
    let why = Some("ApprovalPending");
    let told = wait_for(&ministry, "pgi", &namespace, "dear", "Admitted", "False", why, 60).await?;
    let (_, _, message) = condition(&told, "Admitted").context("no condition")?;
    ensure!(message.contains("above 100.00 MAD/month") && message.contains("stays suspended"), "{message}");
    let path = format!("/v1/tenants/{DEAR}/approvals/{}", platform::uid(&told)?);
    let chief = Api::service_account(&chiefs, "default").await?;
    let (status, body) = chief.send(Method::POST, &path, &json!({"comment": "again"})).await?;
    ensure!(status < 300, "{status} {body}");
    wait_for(&ministry, "pgi", &namespace, "dear", "Admitted", "True", None, 60).await?;
    admin.run(&["delete", "namespace", &chiefs, "--wait=false"]).await?;
    cleared(&[(&namespace, "dear")], &[DEAR]).await
}

/// A backup that is asked for while its instance is suspended is not made, and says why and what to do.
pub async fn skipped() -> Result<()> {
    backup::set_up().await?;
    let ministry = Kubectl::service_account(HOME, "ministry-it").await?;
    ministry.apply(&backup::order("asleep", ", suspend: true")).await?;
    wait_for(&ministry, "pgi", HOME, "asleep", "Ready", "False", Some("Suspended"), 120).await?;
    ministry.apply(&backup::on_demand("of-asleep", "PostgresInstance", "asleep")).await?;
    let why = Some("Suspended");
    let told = wait_for(&ministry, "sbk", HOME, "of-asleep", "Ready", "False", why, 60).await?;
    ensure!(told["status"]["phase"] == "Skipped", "it is {}", told["status"]);
    let (_, _, message) = condition(&told, "Ready").context("no condition")?;
    ensure!(message.contains("suspended") && message.contains("set spec.suspend to false"), "{message}");
    for name in ["startedAt", "completedAt", "size", "backupId"] {
        ensure!(told["status"].get(name).is_none_or(Value::is_null), "it has {name}: {}", told["status"]);
    }
    ministry.run(&["-n", HOME, "delete", "sbk", "of-asleep"]).await?;
    ministry.run(&["-n", HOME, "delete", "pgi", "asleep", "--wait=false"]).await?;
    gone("pgi", HOME, "asleep", 180).await
}

//! Changes of what runs: another plan, more storage, standbys, and what of it the people notice who use it.

use super::tenancy::nowhere;
use super::{DISPOSABLE, HOME, advice, postgres};
use crate::clients::{self, Binding};
use crate::kubectl::{Kubectl, condition};
use crate::platform::{engine, gone, ready, wait_for};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio_postgres::error::SqlState;

/// Two plans that both have standbys and fit on a small node.
const OFFERING: &str = "apiVersion: siyada.cloud/v1alpha1
kind: ServiceOffering
metadata: {name: story-changes}
spec:
  engine: PostgreSQL
  versions: [{version: '15', image: 'localhost/postgresql:15'}]
  parameters: [{name: statement_timeout}]
  plans:
    - {name: less, cpu: 100m, memory: 256Mi, storage: 1Gi, maximumStorage: 4Gi, highAvailabilityInstances: 2,
       computeSku: postgresql-dev, storageSku: volume}
    - {name: more, cpu: 150m, memory: 320Mi, storage: 1Gi, maximumStorage: 4Gi, highAvailabilityInstances: 2,
       computeSku: postgresql-small, storageSku: volume}
";
/// Between two writes of a client.
const PAUSE: Duration = Duration::from_millis(50);
/// A client gives up on one try after so long.
const PATIENCE: Duration = seconds(5);

fn order(name: &str, plan: &str, more: &str) -> String {
    postgres(HOME, name, &format!("offering: story-changes, {more}{DISPOSABLE}"))
        .replace("plan: dev", &format!("plan: {plan}"))
}

/// Waits until the order is told that an operation is over, and gives it.
pub(super) async fn over(who: &Kubectl, name: &str, type_: &str, limit: u64) -> Result<Value> {
    let what = format!("{type_} of {name} to be told as done");
    eventually(seconds(limit), &what, || async {
        let order = who.get("pgi", HOME, name).await?.context("no order")?;
        let told = &order["status"]["operation"];
        ensure!(told["type"] == type_ && told["state"] == "Succeeded", "it says {told}");
        ensure!(told.get("finished").is_some() && told.get("error").is_none(), "it says {told}");
        Ok(order)
    })
    .await
}

/// What a client saw that writes all the time and connects again when it must.
pub(super) struct Seen {
    pub(super) acknowledged: BTreeSet<i64>,
    pub(super) longest: Duration,
    pub(super) connections: i64,
}

/// Writes until it is told to stop. Every row that was acknowledged is known by its number; the longest time
/// without one is measured.
async fn write(bound: &Binding, stop: &AtomicBool) -> Result<Seen> {
    let mut seen = Seen { acknowledged: BTreeSet::new(), longest: Duration::ZERO, connections: 0 };
    let mut id = 0_i64;
    let mut last = Instant::now();
    let mut client = None;
    while !stop.load(SeqCst) {
        if client.is_none() {
            client = tokio::time::timeout(PATIENCE, clients::postgres(bound)).await.ok().and_then(Result::ok);
            seen.connections += i64::from(client.is_some());
        }
        if let Some(open) = &client {
            // Whatever became of the one before: its number is not tried again.
            id += 1;
            let wrote = async { open.execute("insert into acts values ($1)", &[&id]).await };
            if let Ok(Ok(1)) = tokio::time::timeout(PATIENCE, wrote).await {
                seen.acknowledged.insert(id);
                seen.longest = seen.longest.max(last.elapsed());
                last = Instant::now();
            } else {
                client = None;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(seen)
}

/// Lives a change under a writing client and compares what it was acknowledged with what is there.
pub(super) async fn under_a_writer(name: &str, change: impl Future<Output = Result<()>>) -> Result<Seen> {
    let bound = Binding::read(&Kubectl::admin(), HOME, &format!("{name}-postgresql")).await?;
    let client = clients::postgres(&bound).await?;
    client.batch_execute("create table if not exists acts (id bigint primary key); truncate acts").await?;
    drop(client);
    let stop = AtomicBool::new(false);
    let changed = async {
        let lived = change.await;
        stop.store(true, SeqCst);
        lived
    };
    let (seen, lived) = tokio::join!(write(&bound, &stop), changed);
    lived?;
    let seen = seen?;
    let there = clients::ids(&clients::postgres(&bound).await?, "acts").await?;
    clients::nothing_lost(&seen.acknowledged, &there)?;
    Ok(seen)
}

/// The pods that are a database of an order.
pub(super) async fn pods(admin: &Kubectl, order: &Value) -> Result<Vec<Value>> {
    let (namespace, cluster) = engine(order)?;
    admin.list("pod", &namespace, &format!("cnpg.io/cluster={cluster},!cnpg.io/jobRole")).await
}

/// Another plan, up with one instance and down with two.
pub async fn plan() -> Result<()> {
    for available in [false, true] {
        another_plan(available).await?;
    }
    Ok(())
}

/// Another plan, up with one instance or down with two: no acknowledged row is lost, and the answer to the change said what
/// it costs more or less. Returns the longest time in which nothing was written.
///
/// # Errors
/// Says what was otherwise.
pub async fn another_plan(available: bool) -> Result<Duration> {
    let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(HOME, "ministry-it").await?);
    admin.apply(OFFERING).await?;
    let (name, from, to, difference) = match available {
        false => ("one-change", "less", "more", "/month more than the "),
        true => ("two-change", "more", "less", "/month less than the "),
    };
    let with = |plan: &str| order(name, plan, &format!("highAvailability: {available}, "));
    ministry.apply(&with(from)).await?;
    ready(&ministry, "pgi", HOME, name, 420).await?;
    over(&ministry, name, "Create", 60).await?;
    let mut said = String::new();
    let seen = under_a_writer(name, async {
        said = ministry.apply(&with(to)).await?.err;
        over(&ministry, name, "ChangePlan", 420).await.map(|_| ())
    })
    .await?;
    let advised = advice::given("the difference of the price");
    ensure!(!advised || said.contains(difference) && said.contains("connections end"), "{said}");
    println!(
        "  plan {from} to {to}, standbys {available}: no write for {} ms at most, {} rows over {} connections",
        seen.longest.as_millis(),
        seen.acknowledged.len(),
        seen.connections
    );
    let limit = if available { 90 } else { 180 };
    ensure!(seen.longest < seconds(limit), "nobody could write for {:?}", seen.longest);
    let told = ministry.get("pgi", HOME, name).await?.context("no order")?;
    ensure!(told["status"]["plan"] == to, "{}", told["status"]["plan"]);
    let memory = if to == "more" { "320Mi" } else { "256Mi" };
    for pod in pods(&admin, &told).await? {
        let limits = &pod["spec"]["containers"][0]["resources"]["limits"];
        ensure!(limits["memory"] == memory, "a pod has {limits}");
    }
    ministry.run(&["-n", HOME, "delete", "pgi", name, "--wait=false"]).await?;
    gone("pgi", HOME, name, 240).await?;
    Ok(seen.longest)
}

/// More storage, standbys and back: the one connection of a client outlives all of it.
pub async fn under_one_connection() -> Result<()> {
    let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(HOME, "ministry-it").await?);
    admin.apply(OFFERING).await?;
    let with = |more: &str| order("growing", "less", more);
    ministry.apply(&with("storage: 1Gi, ")).await?;
    ready(&ministry, "pgi", HOME, "growing", 240).await?;
    let seen = under_a_writer("growing", async {
        let steps = [
            ("storage: 2Gi, ", "ChangeStorage", 1, "/month more than the "),
            ("storage: 2Gi, highAvailability: true, ", "ChangeInstances", 2, "/month more than the "),
            ("storage: 2Gi, ", "ChangeInstances", 1, "/month less than the "),
        ];
        let advised = advice::given("the difference of the price");
        for (more, type_, count, difference) in steps {
            let from = Instant::now();
            let said = ministry.apply(&with(more)).await?.err;
            ensure!(!advised || said.contains(difference), "{type_} to {count}: {said}");
            eventually(seconds(30), "the change to be seen", || async {
                let order = ministry.get("pgi", HOME, "growing").await?.context("no order")?;
                let seen = order["status"]["observedGeneration"] == order["metadata"]["generation"];
                ensure!(seen, "{}", order["status"]);
                Ok(())
            })
            .await?;
            let order = over(&ministry, "growing", type_, 420).await?;
            println!("  {type_} to {count} instances took {} s", from.elapsed().as_secs());
            ensure!(order["status"]["instances"] == count, "{}", order["status"]["instances"]);
            let running = pods(&admin, &order).await?.len();
            ensure!(running == count, "{running} pods run");
            let (namespace, cluster) = engine(&order)?;
            let volumes = admin.list("pvc", &namespace, &format!("cnpg.io/cluster={cluster}")).await?;
            let sizes: Vec<_> = volumes.iter().map(|v| v["status"]["capacity"]["storage"].clone()).collect();
            ensure!(sizes.len() == count && sizes.iter().all(|size| *size == "2Gi"), "volumes are {sizes:?}");
        }
        Ok(())
    })
    .await?;
    ensure!(seen.connections == 1, "the client had to connect {} times", seen.connections);
    ministry.refused(&with("storage: 1Gi, "), &["storage can grow but never shrink"]).await?;
    ministry.run(&["-n", HOME, "delete", "pgi", "growing", "--wait=false"]).await?;
    gone("pgi", HOME, "growing", 240).await
}

/// A database that no node has room for says so in the scheduler's words; nothing else of it is an error.
pub async fn no_room() -> Result<()> {
    let ministry = Kubectl::service_account(HOME, "ministry-it").await?;
    nowhere().await?;
    ministry.apply(&postgres(HOME, "roomless", &format!("site: story-nowhere, {DISPOSABLE}"))).await?;
    let why = Some("EngineNotReady");
    wait_for(&ministry, "pgi", HOME, "roomless", "Ready", "False", why, 90).await?;
    eventually(seconds(90), "the scheduler's reason to be told", || async {
        let order = ministry.get("pgi", HOME, "roomless").await?.context("no order")?;
        let (_, _, message) = condition(&order, "Ready").context("no condition")?;
        ensure!(
            message.contains("no node takes pod") && message.contains("nodes are available"),
            "{message}"
        );
        let told = &order["status"]["operation"];
        ensure!(
            told["type"] == "Create" && told["state"] == "InProgress" && told["retries"] == true,
            "{told}"
        );
        Ok(())
    })
    .await?;
    ministry.run(&["-n", HOME, "delete", "pgi", "roomless", "--wait=false"]).await?;
    gone("pgi", HOME, "roomless", 180).await
}

/// A page of a quarter of a mebibyte that is made of its number: what is read can be compared whole with what was written.
const PAGE: &str = "repeat(lpad(id::text, 32, '0'), 8000)";
/// Pages that are written at once.
const AT_ONCE: i64 = 50;
/// So many pages are three times what the volume holds.
const MOST: i64 = 12_000;
/// What the operator's own question counts at least, in MiB.
const USED: &str = "
    with log as (
        select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') as written,
            pg_wal_lsn_diff((select redo_lsn from pg_control_checkpoint()), '0/0') as redo
    )
    select ((pg_tablespace_size('pg_default') + pg_size_bytes(current_setting('wal_segment_size')) + greatest(
        least(written, pg_size_bytes(current_setting('wal_keep_size'))), written - redo)) / 1048576)::bigint from log";

/// Writes the next pages, all or none; the answer is why there is no room for them.
async fn fill(
    client: &tokio_postgres::Client,
    acknowledged: &mut i64,
) -> Result<Option<tokio_postgres::Error>> {
    let sql = format!("insert into papers select id, {PAGE} from generate_series($1::bigint, $2::bigint) id");
    let (first, last) = (*acknowledged + 1, *acknowledged + AT_ONCE);
    let wrote = tokio::time::timeout(seconds(120), client.execute(&sql, &[&first, &last])).await;
    match wrote.context("a write had no answer for two minutes")? {
        Ok(rows) => {
            ensure!(rows == u64::try_from(AT_ONCE)?, "{rows} pages were written of {AT_ONCE}");
            *acknowledged = last;
            Ok(None)
        }
        Err(error) => Ok(Some(error)),
    }
}

/// Fills the disk to more than 80 % of a size that it is then grown to, which is little more: the operator looks at a disk every
/// five minutes, in which this one would be full, but at one that grew with its next login.
async fn nearly_full(
    ministry: &Kubectl,
    client: &tokio_postgres::Client,
    acknowledged: &mut i64,
) -> Result<()> {
    let mut used = 0_i64;
    // 80 % of 1040 MiB are 832. The file system has room for some 920 of 1024.
    while used < 840 {
        let refused = fill(client, acknowledged).await?;
        ensure!(refused.is_none(), "it refused with {used} MiB used: {refused:?}");
        used = client.query_one(USED, &[]).await?.get(0);
    }
    ministry.apply(&order("filling", "less", "storage: 1040Mi, ")).await?;
    let why = Some("DiskNearlyFull");
    let told = wait_for(ministry, "pgi", HOME, "filling", "StorageHealthy", "False", why, 360).await?;
    let (_, _, message) = condition(&told, "StorageHealthy").context("no condition")?;
    println!("  {used} MiB used by {acknowledged} pages: {message}");
    let ready = condition(&told, "Ready").map(|(status, ..)| status);
    ensure!(ready.as_deref() == Some("True"), "Ready is {ready:?}");
    Ok(())
}

/// Writes on until the database refuses, for want of room and nothing else.
async fn refused(client: &tokio_postgres::Client, acknowledged: &mut i64) -> Result<()> {
    while *acknowledged < MOST {
        let Some(error) = fill(client, acknowledged).await? else { continue };
        println!("  {acknowledged} pages fitted: {error}, {:?}", error.as_db_error());
        // It refuses the write, or ends as a whole over its log, and every session with it.
        let for_room = |code: &SqlState| *code == SqlState::DISK_FULL || code.code().starts_with("57P");
        ensure!(error.code().is_none_or(for_room), "it refused for another reason: {error:?}");
        return Ok(());
    }
    bail!(
        "{acknowledged} pages were taken and none refused: its storage class does not hold a volume to its size"
    )
}

/// A database that ended for want of room is told as full. One that only refuses to write may be told as nearly full: it is looked
/// at every five minutes, and of a volume this small the file system keeps more than 5 % for itself.
async fn told_as_full(ministry: &Kubectl, bound: &Binding) -> Result<()> {
    eventually(seconds(300), "the full disk to be told", || async {
        let order = ministry.get("pgi", HOME, "filling").await?.context("no order")?;
        let (status, reason, message) = condition(&order, "StorageHealthy").context("no condition")?;
        let serves = match clients::postgres(bound).await {
            Ok(client) => client.simple_query("select 1").await.is_ok(),
            Err(_) => false,
        };
        let says = reason == "DiskFull" || reason == "DiskNearlyFull" && serves;
        ensure!(status == "False" && says, "it serves: {serves}; {status}, {reason}: {message}");
        println!("  it serves: {serves}; {reason}: {message}");
        Ok(())
    })
    .await
}

/// A disk that fills is told before it is full. Full, the database refuses, the order says so, and it is grown out of with every
/// acknowledged page as it was written.
pub async fn full_disk() -> Result<()> {
    let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(HOME, "ministry-it").await?);
    admin.apply(OFFERING).await?;
    ministry.apply(&order("filling", "less", "storage: 1Gi, ")).await?;
    ready(&ministry, "pgi", HOME, "filling", 240).await?;
    let bound = Binding::read(&ministry, HOME, "filling-postgresql").await?;
    let client = clients::postgres(&bound).await?;
    client.batch_execute("create table papers (id bigint primary key, page text)").await?;
    // Nothing is compressed.
    client.batch_execute("alter table papers alter column page set storage external").await?;
    let mut acknowledged = 0_i64;
    nearly_full(&ministry, &client, &mut acknowledged).await?;
    refused(&client, &mut acknowledged).await?;
    drop(client);
    told_as_full(&ministry, &bound).await?;
    ministry.apply(&order("filling", "less", "storage: 4Gi, ")).await?;
    // What stopped on a full disk may still be told as Ready for a moment: somebody must really read.
    let whole = format!("select count(*) from papers where id <= $1 and page = {PAGE}");
    let there: i64 = eventually(seconds(420), "the pages to be read again", || async {
        let client = clients::postgres(&bound).await?;
        Ok(client.query_one(&whole, &[&acknowledged]).await?.get(0))
    })
    .await?;
    ensure!(
        there == acknowledged,
        "{acknowledged} pages were acknowledged and {there} are there as they were"
    );
    ready(&ministry, "pgi", HOME, "filling", 420).await?;
    wait_for(&ministry, "pgi", HOME, "filling", "StorageHealthy", "True", Some("Bound"), 120).await?;
    let grown = over(&ministry, "filling", "ChangeStorage", 420).await?;
    ensure!(grown["status"]["storage"] == "4Gi", "{}", grown["status"]["storage"]);
    ministry.run(&["-n", HOME, "delete", "pgi", "filling", "--wait=false"]).await?;
    gone("pgi", HOME, "filling", 240).await
}

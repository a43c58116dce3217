//! Another major version: a backup first, then the data as it was, an archive of its own, and the ways back.

use super::backup::{add, client, completed, content, on_demand, order, set_up};
use super::{HOME, advice};
use crate::kubectl::{Kubectl, condition};
use crate::platform::{gone, ready, wait_for};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The whole change, with both backups, may take so long on a busy node.
const LIMIT: u64 = 600;

/// An order on the site with a store, of a version.
fn of(name: &str, version: u32, more: &str) -> String {
    order(name, more).replace("version: \"15\"", &format!("version: \"{version}\""))
}

async fn server_version(db: &tokio_postgres::Client) -> Result<String> {
    Ok(db.query_one("show server_version", &[]).await?.get(0))
}

async fn moment(db: &tokio_postgres::Client) -> Result<String> {
    let ask = "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    Ok(db.query_one(ask, &[]).await?.get(0))
}

/// Waits until the change of major version is so, and answers with the order. Each step that is told is printed once.
async fn changed(ministry: &Kubectl, name: &str, state: &str) -> Result<Value> {
    let (started, told) = (Instant::now(), &Mutex::new(String::new()));
    eventually(seconds(LIMIT), &format!("the major version of {name}: {state}"), || async move {
        let order = ministry.get("pgi", HOME, name).await?.context("no order")?;
        let operation = order["status"]["operation"].clone();
        let said = format!("{} {} {}", operation["state"], operation["message"], operation["error"]);
        let mut last = told.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != said {
            last.clone_from(&said);
            println!("  {name}, {} s: {said}", started.elapsed().as_secs());
        }
        drop(last);
        ensure!(
            operation["type"] == "UpgradeMajorVersion" && operation["state"] == state,
            "it is {operation}"
        );
        Ok(order)
    })
    .await
}

/// Asks for another version; whoever asks is told at once what that means.
async fn ask(ministry: &Kubectl, order: &str, texts: &[&str]) -> Result<()> {
    let said = ministry.try_with(&["apply", "-f", "-"], order).await?;
    ensure!(said.ok, "refused: {}", said.err);
    if advice::given("the announcement of a change of major version") {
        let missing: Vec<_> = texts.iter().filter(|text| !said.err.contains(**text)).collect();
        ensure!(missing.is_empty(), "it must be announced with {missing:?}: {}", said.err);
    }
    Ok(())
}

/// Waits for a backup that is made now: all that was written reaches the archive with it. PostgreSQL itself may let up to five minutes go
/// by after a start that recovers (`checkpoint_timeout`), whatever `archive_timeout` says.
async fn saved(ministry: &Kubectl, name: &str, instance: &str) -> Result<()> {
    ministry.apply(&on_demand(name, "PostgresInstance", instance)).await?;
    completed(ministry, name).await.map(|_| ())
}

/// An archived order becomes the next major version with every row, and can be restored on both sides of it.
pub async fn forward() -> Result<()> {
    set_up().await?;
    let ministry = &Kubectl::service_account(HOME, "ministry-it").await?;
    ministry.apply(&of("elder", 15, "")).await?;
    ready(ministry, "pgi", HOME, "elder", 240).await?;
    let (db, _) = client(ministry, "elder").await?;
    ensure!(server_version(&db).await?.starts_with("15."), "it is {}", server_version(&db).await?);
    db.batch_execute("create table citizens (id int primary key, name text)").await?;
    add(&db, 1, 1000).await?;
    let before = content(&db).await?;
    drop(db);
    ask(ministry, &of("elder", 17, ""), &["first a backup is made", "set spec.version back to 15"]).await?;
    let told = changed(ministry, "elder", "Succeeded").await?;
    let from = told["status"]["upgradedFrom"].clone();
    println!("  {from}");
    ensure!(from["version"] == "15" && told["status"]["version"] == "17", "it has {}", told["status"]);
    let backup = from["backup"].as_str().context("no backup before")?.to_owned();
    let listed = completed(ministry, &backup).await?;
    ensure!(listed["status"]["majorVersion"] == 15, "the backup is of {}", listed["status"]);
    ready(ministry, "pgi", HOME, "elder", 120).await?;
    let (db, _) = client(ministry, "elder").await?;
    ensure!(server_version(&db).await?.starts_with("17."), "it is {}", server_version(&db).await?);
    ensure!(content(&db).await? == before, "{:?} is left of {before:?}", content(&db).await?);
    add(&db, 1001, 1500).await?;
    let between = content(&db).await?;
    let time = moment(&db).await?;
    add(&db, 1501, 2000).await?;
    saved(ministry, "elder-now", "elder").await?;
    let told = wait_for(ministry, "pgi", HOME, "elder", "BackupHealthy", "True", None, 120).await?;
    let status = &told["status"];
    let first = status["backup"]["firstRecoverable"].as_str().unwrap_or_default();
    ensure!(first > from["until"].as_str().unwrap_or_default(), "it claims what is in no archive: {status}");
    never_back(ministry, &backup).await?;
    cannot_be_restored(ministry, &backup).await?;

    ministry
        .apply(&of("elder-moment", 17, &format!(", restoreFrom: {{instance: elder, time: '{time}'}}")))
        .await?;
    ready(ministry, "pgi", HOME, "elder-moment", 300).await?;
    let (there, _) = client(ministry, "elder-moment").await?;
    ensure!(content(&there).await? == between, "{:?} came back of {between:?}", content(&there).await?);
    drop(there);
    delete(ministry, "elder-moment").await?;
    ministry.apply(&of("elder-before", 15, &format!(", restoreFrom: {{backup: {backup}}}"))).await?;
    ready(ministry, "pgi", HOME, "elder-before", 300).await?;
    let (there, _) = client(ministry, "elder-before").await?;
    ensure!(content(&there).await? == before, "{:?} came back of {before:?}", content(&there).await?);
    ensure!(server_version(&there).await?.starts_with("15."), "it is {}", server_version(&there).await?);
    ensure!(content(&db).await?.0 == 2000, "the origin changed");
    drop((db, there));
    delete(ministry, "elder-before").await?;
    delete(ministry, "elder").await
}

/// Once the data is rewritten, the version before is a restore, and who asks for it is told of which backup.
async fn never_back(ministry: &Kubectl, backup: &str) -> Result<()> {
    let stored =
        advice::edit_refused(ministry, &of("elder", 15, ""), &["data never goes back", backup]).await?;
    if stored {
        ministry.apply(&of("elder", 17, "")).await?;
        wait_for(ministry, "pgi", HOME, "elder", "Admitted", "True", None, 60).await?;
    }
    Ok(())
}

/// Data of one major version is read by no other.
async fn cannot_be_restored(ministry: &Kubectl, backup: &str) -> Result<()> {
    ministry.apply(&of("never", 17, &format!(", restoreFrom: {{backup: {backup}}}"))).await?;
    let why = Some("RestoreImpossible");
    let told = wait_for(ministry, "pgi", HOME, "never", "Ready", "False", why, 60).await?;
    let (_, _, message) = condition(&told, "Ready").context("no condition")?;
    ensure!(message.contains("major version 15"), "{message}");
    delete(ministry, "never").await
}

/// Data that cannot be rewritten: the order says why and what to do, and is as it was once that is done.
pub async fn back() -> Result<()> {
    set_up().await?;
    let ministry = &Kubectl::service_account(HOME, "ministry-it").await?;
    ministry.apply(&of("stubborn", 15, "")).await?;
    ready(ministry, "pgi", HOME, "stubborn", 240).await?;
    let (db, _) = client(ministry, "stubborn").await?;
    let tables = "create table citizens (id int primary key, name text); create table calls (id int primary key, f regproc)";
    db.batch_execute(tables).await?;
    add(&db, 1, 700).await?;
    let before = content(&db).await?;
    drop(db);
    ask(ministry, &of("stubborn", 17, ""), &["first a backup is made"]).await?;
    let why = Some("MajorUpgradeFailed");
    let told = wait_for(ministry, "pgi", HOME, "stubborn", "Ready", "False", why, LIMIT).await?;
    let (_, _, message) = condition(&told, "Ready").context("no condition")?;
    println!("  {message}");
    ensure!(
        message.contains("set spec.version back to 15") && message.contains("major-upgrade"),
        "{message}"
    );
    let operation = &told["status"]["operation"];
    ensure!(operation["state"] == "Failed" && operation["retries"] == false, "it says {operation}");
    let started = Instant::now();
    ask(ministry, &of("stubborn", 15, ""), &["taken back"]).await?;
    changed(ministry, "stubborn", "Cancelled").await?;
    ready(ministry, "pgi", HOME, "stubborn", 240).await?;
    println!("  taken back in {} s", started.elapsed().as_secs());
    let (db, _) = client(ministry, "stubborn").await?;
    ensure!(server_version(&db).await?.starts_with("15."), "it is {}", server_version(&db).await?);
    ensure!(content(&db).await? == before, "{:?} is left of {before:?}", content(&db).await?);
    add(&db, 701, 800).await?;
    saved(ministry, "stubborn-now", "stubborn").await?;
    drop(db);
    wait_for(ministry, "pgi", HOME, "stubborn", "BackupHealthy", "True", None, 120).await?;
    delete(ministry, "stubborn").await
}

async fn delete(ministry: &Kubectl, name: &str) -> Result<()> {
    ministry.run(&["-n", HOME, "delete", "pgi", name, "--wait=false"]).await?;
    gone("pgi", HOME, name, 180).await
}

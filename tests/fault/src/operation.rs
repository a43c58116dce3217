//! What people do to an order, how it shows that it is done, and how everything is taken away again.

use crate::cluster::text;
use crate::snapshot::{ENGINE, ORDERS};
use crate::stage::{ARCHIVE, Stage, ready, until};
use anyhow::{Context as _, Result, ensure};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The order.
const NAME: &str = "registry";
/// The order that others are restored from.
const ORIGIN: &str = "origin";
/// The plan that it is changed to, and its memory.
pub(crate) const LARGER: (&str, &str) = ("more", "512Mi");
/// A backup of it.
const BACKUP: &str = "before";
/// What is in it.
const ROWS: i64 = 1000;
/// Nothing is written for so long: what was done is over. What comes later still counts, with what is done next.
pub const SHORT: Duration = Duration::from_millis(600);

/// What is done to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// It is ordered.
    Create,
    /// It is suspended, and goes on.
    Suspend,
    /// Its login is replaced.
    Rotate,
    /// It gets a larger plan.
    Plan,
    /// It gets more storage.
    Storage,
    /// It is deleted, and its data kept.
    Retain,
    /// It is deleted with its data.
    Delete,
    /// It is ordered as a copy of a backup of another one.
    Restore,
}

use Operation::{Create, Delete, Plan, Restore, Retain, Rotate, Storage, Suspend};

/// All of them.
pub const OPERATIONS: [Operation; 8] = [Create, Suspend, Rotate, Plan, Storage, Retain, Delete, Restore];
/// The lives that orders live: each operation begins where the one before it ends.
pub const LIVES: [&[Operation]; 3] =
    [&[Create, Suspend, Rotate, Plan, Storage, Delete], &[Create, Retain], &[Restore]];

impl Operation {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Create => "create",
            Suspend => "suspend",
            Rotate => "rotate",
            Plan => "plan",
            Storage => "storage",
            Retain => "retain",
            Delete => "delete",
            Restore => "restore",
        }
    }
}

fn orders() -> String {
    format!("/apis/siyada.cloud/v1alpha1/namespaces/{ORDERS}/postgresinstances")
}

fn order() -> String {
    format!("{}/{NAME}", orders())
}

/// The engine's cluster of the order.
pub(crate) async fn engine(stage: &Stage) -> Result<Option<Value>> {
    engine_of(stage, NAME).await
}

/// Whether something was made for the order of this name.
fn is_of(object: &Value, order: &str) -> bool {
    text(object, "/metadata/labels/siyada.cloud~1order-name") == order
}

async fn engine_of(stage: &Stage, order: &str) -> Result<Option<Value>> {
    let path = format!("/apis/postgresql.cnpg.io/v1/namespaces/{ENGINE}/clusters");
    let all = stage.admin.list(&path).await?;
    Ok(all.into_iter().find(|cluster| is_of(cluster, order)))
}

async fn make(stage: &Stage, name: &str, more: Value) -> Result<()> {
    let mut object = json!({
        "apiVersion": "siyada.cloud/v1alpha1", "kind": "PostgresInstance",
        "metadata": {"name": name, "namespace": ORDERS},
        "spec": {"plan": "dev", "version": "15", "storage": "2Gi", "dataClassification": "Confidential",
            "parameters": [{"name": "statement_timeout", "value": "60000"}]},
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    stage.admin.create(&orders(), &object).await
}

/// Brings the order about that others are restored from: it is archived, has rows, and was backed up. It stays; a second
/// time changes nothing.
///
/// # Errors
/// When it cannot be had.
pub async fn origin(stage: &mut Stage) -> Result<()> {
    stage.proxy.arm(None, None);
    make(stage, ORIGIN, json!({"site": ARCHIVE})).await?;
    let at = format!("{}/{ORIGIN}", orders());
    alive(stage, "the origin", async |stage| {
        Ok(stage.admin.get(&at).await?.is_some_and(|order| ready(&order)))
    })
    .await?;
    let cluster = engine_of(stage, ORIGIN).await?.context("the origin has no cluster")?;
    let client = stage.enter(&cluster).await?;
    client
        .batch_execute(&format!("create table if not exists acts as select generate_series(1, {ROWS}) as id"))
        .await?;
    let listings = format!("/apis/siyada.cloud/v1alpha1/namespaces/{ORDERS}/servicebackups");
    let backup = json!({
        "apiVersion": "siyada.cloud/v1alpha1", "kind": "ServiceBackup", "metadata": {"name": BACKUP, "namespace": ORDERS},
        "spec": {"instance": {"kind": "PostgresInstance", "name": ORIGIN}},
    });
    stage.admin.create(&listings, &backup).await?;
    alive(stage, "a backup of the origin", async |stage| {
        let found = stage.admin.get(&format!("{listings}/{BACKUP}")).await?;
        Ok(found.is_some_and(|backup| text(&backup, "/status/phase") == "Completed"))
    })
    .await?;
    quiet(stage, SHORT).await
}

/// What is in the order's database is not what it must hold; nothing when it is.
///
/// # Errors
/// When it cannot be asked.
pub async fn rows(stage: &Stage) -> Result<Option<String>> {
    let cluster = engine(stage).await?.context("there is no cluster to read")?;
    let found = stage.enter(&cluster).await?.query_one("select count(*) from acts", &[]).await?;
    let count: i64 = found.try_get(0)?;
    Ok((count != ROWS).then(|| format!("rows: expected {ROWS}, found {count}")))
}

pub(crate) async fn change(stage: &Stage, spec: Value) -> Result<()> {
    ensure!(stage.admin.patch(&order(), &json!({"spec": spec})).await?, "there is no order to change");
    Ok(())
}

/// Whether the order is Ready, so that the operator logged in, and has volumes of this size.
pub(crate) async fn runs(stage: &Stage, size: &str) -> Result<bool> {
    let Some(cluster) = engine(stage).await? else { return Ok(false) };
    let claim =
        format!("/api/v1/namespaces/{ENGINE}/persistentvolumeclaims/{}-1", text(&cluster, "/metadata/name"));
    let claim = stage.admin.get(&claim).await?.unwrap_or_default();
    let order = stage.admin.get(&order()).await?.unwrap_or_default();
    Ok(text(&cluster, "/spec/storage/size") == size
        && text(&claim, "/status/capacity/storage") == size
        && text(&cluster, "/metadata/annotations/cnpg.io~1hibernation") == "off"
        && cluster.pointer("/status/readyInstances") == Some(&json!(1))
        && order.pointer("/status/observedGeneration") == order.pointer("/metadata/generation")
        && ready(&order))
}

pub(crate) async fn sleeps(stage: &Stage) -> Result<bool> {
    let Some(cluster) = engine(stage).await? else { return Ok(false) };
    Ok(text(&cluster, "/metadata/annotations/cnpg.io~1hibernation") == "on"
        && cluster.pointer("/status/readyInstances").and_then(Value::as_i64).unwrap_or(0) == 0)
}

/// Whether the second login is there alone: clients have it, and the first is ended.
async fn turned(stage: &Stage) -> Result<bool> {
    let Some(cluster) = engine(stage).await? else { return Ok(false) };
    let record = text(&cluster, "/metadata/annotations/siyada.cloud~1rotation");
    let record: Value = serde_json::from_str(&record).unwrap_or_default();
    Ok(record["number"] == 2 && record["phase"] == "Steady")
}

/// Whether the engine was given the larger plan, and the order says that it is had: a real engine restarts for it, and reports a
/// running database until it does. What is played has no pods, which the order would look at.
async fn has_plan(stage: &Stage) -> Result<bool> {
    let Some(cluster) = engine(stage).await? else { return Ok(false) };
    let order = stage.admin.get(&order()).await?.unwrap_or_default();
    let over = stage.plays() || text(&order, "/status/operation/state") == "Succeeded";
    Ok(over
        && (text(&order, "/status/plan").as_str(), text(&cluster, "/spec/resources/limits/memory").as_str())
            == LARGER)
}

async fn retained(stage: &Stage) -> Result<Vec<Value>> {
    stage.admin.list(&format!("/apis/siyada.cloud/v1alpha1/namespaces/{ORDERS}/retainedinstances")).await
}

/// Nothing of the order is left: not in the cluster, and not listed.
async fn nothing(stage: &Stage) -> Result<bool> {
    for kind in [
        "/api/v1/namespaces/{}/persistentvolumeclaims",
        "/api/v1/namespaces/{}/secrets",
        "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    ] {
        let all = stage.admin.list(&kind.replace("{}", ENGINE)).await?;
        if all.iter().any(|object| is_of(object, NAME)) {
            return Ok(false);
        }
    }
    Ok(stage.admin.get(&order()).await?.is_none()
        && engine(stage).await?.is_none()
        && retained(stage).await?.is_empty())
}

impl Operation {
    /// Does it as a person would, and waits for what shows between its parts.
    ///
    /// # Errors
    /// When it cannot be done.
    pub async fn act(self, stage: &mut Stage) -> Result<()> {
        match self {
            Create => make(stage, NAME, json!({})).await,
            Restore => {
                let copy = json!({
                    "site": ARCHIVE, "restoreFrom": {"backup": BACKUP}, "backup": {"lastBackup": false},
                });
                make(stage, NAME, copy).await
            }
            Plan => change(stage, json!({"plan": LARGER.0})).await,
            Storage => change(stage, json!({"storage": "3Gi"})).await,
            Rotate => change(stage, json!({"rotationTrigger": "now"})).await,
            Suspend => {
                change(stage, json!({"suspend": true})).await?;
                alive(stage, "the suspension", async |stage| sleeps(stage).await).await?;
                change(stage, json!({"suspend": false})).await
            }
            Retain => {
                change(stage, json!({"deletionProtection": false})).await?;
                stage.admin.delete(&order()).await
            }
            Delete => {
                change(stage, json!({"deletionProtection": false, "onDeletion": "Delete"})).await?;
                stage.admin.delete(&order()).await
            }
        }
    }

    /// Whether it shows that it is done.
    ///
    /// # Errors
    /// When that cannot be seen.
    pub async fn done(self, stage: &Stage) -> Result<bool> {
        match self {
            Create | Suspend | Restore => runs(stage, "2Gi").await,
            Rotate => Ok(turned(stage).await? && runs(stage, "2Gi").await?),
            Plan => Ok(has_plan(stage).await? && runs(stage, "2Gi").await?),
            Storage => runs(stage, "3Gi").await,
            Retain => Ok(stage.admin.get(&order()).await?.is_none()
                && sleeps(stage).await?
                && retained(stage).await?.len() == 1),
            Delete => nothing(stage).await,
        }
    }
}

/// Waits for something, and starts the operator again whenever it has died meanwhile.
///
/// # Errors
/// What was waited for.
pub async fn alive(
    stage: &mut Stage,
    what: &str,
    mut look: impl AsyncFnMut(&Stage) -> Result<bool>,
) -> Result<()> {
    until(stage.limit, what, async || {
        stage.revive().await?;
        look(stage).await
    })
    .await
}

/// Waits until nothing was written for a while.
///
/// # Errors
/// When it goes on.
pub async fn quiet(stage: &mut Stage, time: Duration) -> Result<()> {
    let mut last = (stage.proxy.asked(), Instant::now());
    alive(stage, "no more writes", async |stage| {
        let now = stage.proxy.asked();
        if now != last.0 {
            last = (now, Instant::now());
        }
        Ok(last.1.elapsed() >= time)
    })
    .await
}

/// Takes away whatever is left of the order, undisturbed.
///
/// # Errors
/// When something stays.
pub async fn clear(stage: &mut Stage) -> Result<()> {
    stage.proxy.arm(None, None);
    if let Some(found) = stage.admin.get(&order()).await? {
        if found.pointer("/metadata/deletionTimestamp").is_none() {
            Delete.act(stage).await?;
        }
        alive(stage, "the order to go", async |stage| Ok(stage.admin.get(&order()).await?.is_none())).await?;
    }
    for one in retained(stage).await? {
        let uid = one.pointer("/spec/orderUid").and_then(Value::as_str);
        stage.discard(uid.context("kept data without a uid")?, NAME).await?;
    }
    forget_archives(stage).await?;
    alive(stage, "the cluster to be empty", async |stage| nothing(stage).await).await?;
    quiet(stage, SHORT).await
}

/// The notes of what the order has in the object store.
async fn notes(stage: &Stage) -> Result<Vec<Value>> {
    let all = stage.admin.list(&format!("/api/v1/namespaces/{ENGINE}/secrets")).await?;
    Ok(all.into_iter().filter(|object| is_of(object, NAME) && archive(object).is_some()).collect())
}

/// What a note says.
fn archive(note: &Value) -> Option<Value> {
    serde_json::from_str(note.pointer("/metadata/annotations/siyada.cloud~1archive")?.as_str()?).ok()
}

/// A bucket goes a minute and a half after it was marked, when no pass can be under way that reads it (ADR 28): longer than all
/// else of a life. So the mark is set back, and the operator, which remembers until when it waits, is started anew.
async fn forget_archives(stage: &mut Stage) -> Result<()> {
    let is_marked = |note: &Value| archive(note).is_some_and(|archive| archive.get("removing").is_some());
    alive(stage, "what is in the store to be marked", async |stage| {
        Ok(notes(stage).await?.iter().all(is_marked))
    })
    .await?;
    let marked = notes(stage).await?;
    if marked.is_empty() {
        return Ok(());
    }
    for note in marked {
        let mut archive = archive(&note).context("no archive")?;
        archive["removing"] = json!("2026-01-01T00:00:00Z");
        let path = format!("/api/v1/namespaces/{ENGINE}/secrets/{}", text(&note, "/metadata/name"));
        let back = json!({"metadata": {"annotations": {"siyada.cloud/archive": archive.to_string()}}});
        stage.admin.patch(&path, &back).await?;
    }
    Ok(kill_process(stage.operator()?, Signal::KILL)?)
}

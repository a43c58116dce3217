//! Every write of every operation, with every fault: each must end where the undisturbed run ends.

use crate::plan::{Fault, Plan, Refusal, created, deleted};
use crate::snapshot::{self, ENGINE, ORDERS, differences};
use crate::stage::{PAUSE, Stage, until};
use crate::write::Write;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// An operation may take so long, with a fault in it.
const LIMIT: Duration = Duration::from_secs(90);
/// Nothing is written for so long: the undisturbed run is over.
const LONG: Duration = Duration::from_secs(4);
/// The same, where the end is known already.
const SHORT: Duration = Duration::from_millis(1500);
/// The order.
const NAME: &str = "registry";

/// What is done to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is ordered.
    Create,
    /// It gets more storage.
    Storage,
    /// It is suspended, and goes on.
    Suspend,
    /// It is deleted, and its data kept.
    Retain,
    /// It is deleted with its data.
    Delete,
}

/// All of them, in the order in which they are run.
pub const OPERATIONS: [Operation; 5] =
    [Operation::Create, Operation::Storage, Operation::Suspend, Operation::Retain, Operation::Delete];

/// Every fault, with the name that it has on the command line.
pub const FAULTS: [(&str, Fault); 9] = [
    ("kill-before", Fault::KillBefore),
    ("kill-after", Fault::KillAfter),
    ("delay", Fault::Delay(Duration::from_secs(1))),
    ("drop", Fault::Drop),
    ("duplicate", Fault::Duplicate),
    ("conflict", Fault::Answer(Refusal::Conflict)),
    ("too-many", Fault::Answer(Refusal::TooMany)),
    ("internal", Fault::Answer(Refusal::Internal)),
    ("cut-watches", Fault::CutWatches),
];

impl Operation {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Storage => "storage",
            Self::Suspend => "suspend",
            Self::Retain => "retain",
            Self::Delete => "delete",
        }
    }
}

/// What an undisturbed run wrote and where it ended.
#[derive(Clone, Debug)]
pub struct Reference {
    /// Each write, in its order.
    pub writes: Vec<Write>,
    /// The objects that it made, by resource.
    pub created: BTreeMap<String, usize>,
    /// The objects that it removed, by resource.
    pub deleted: BTreeMap<String, usize>,
    end: Value,
}

/// What became of one cell.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The write that was hit; nothing when this run had fewer writes than the undisturbed one.
    pub hit: Option<Write>,
    /// What is not as in the undisturbed run; empty when all is.
    pub wrong: Vec<String>,
    /// How long the operation took.
    pub took: Duration,
}

fn orders() -> String {
    format!("/apis/siyada.cloud/v1alpha1/namespaces/{ORDERS}/postgresinstances")
}

fn order() -> String {
    format!("{}/{NAME}", orders())
}

/// The engine's cluster of the order; there is one at a time.
async fn engine(stage: &Stage) -> Result<Option<Value>> {
    let path = format!("/apis/postgresql.cnpg.io/v1/namespaces/{ENGINE}/clusters");
    Ok(stage.admin.list(&path).await?.pop())
}

fn says(object: &Value, path: &str, expected: &str) -> bool {
    object.pointer(path).and_then(Value::as_str) == Some(expected)
}

async fn make(stage: &Stage) -> Result<()> {
    let object = json!({
        "apiVersion": "siyada.cloud/v1alpha1", "kind": "PostgresInstance",
        "metadata": {"name": NAME, "namespace": ORDERS},
        "spec": {"plan": "dev", "version": "15", "storage": "2Gi", "dataClassification": "Confidential",
            "parameters": [{"name": "statement_timeout", "value": "60000"}]},
    });
    stage.admin.create(&orders(), &object).await
}

async fn change(stage: &Stage, spec: Value) -> Result<()> {
    ensure!(stage.admin.patch(&order(), &json!({"spec": spec})).await?, "there is no order to change");
    Ok(())
}

/// Whether the engine runs the order, with a volume of this size, and the binding is there.
async fn runs(stage: &Stage, size: &str) -> Result<bool> {
    let Some(cluster) = engine(stage).await? else { return Ok(false) };
    let name = cluster.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let claim = format!("/api/v1/namespaces/{ENGINE}/persistentvolumeclaims/{name}-1");
    let claim = stage.admin.get(&claim).await?.unwrap_or_default();
    let bound = format!("/api/v1/namespaces/{ORDERS}/secrets/{NAME}-postgresql");
    Ok(says(&cluster, "/spec/storage/size", size)
        && says(&claim, "/status/capacity/storage", size)
        && says(&cluster, "/metadata/annotations/cnpg.io~1hibernation", "off")
        && cluster.pointer("/status/readyInstances") == Some(&json!(1))
        && stage.admin.get(&bound).await?.is_some())
}

async fn sleeps(stage: &Stage) -> Result<bool> {
    let Some(cluster) = engine(stage).await? else { return Ok(false) };
    Ok(says(&cluster, "/metadata/annotations/cnpg.io~1hibernation", "on")
        && cluster.pointer("/status/readyInstances") == Some(&json!(0)))
}

async fn retained(stage: &Stage) -> Result<Vec<Value>> {
    stage.admin.list(&format!("/apis/siyada.cloud/v1alpha1/namespaces/{ORDERS}/retainedinstances")).await
}

/// Nothing of the order is left: not in the cluster, not listed, not in the ledger's quota.
async fn nothing(stage: &Stage) -> Result<bool> {
    let claims = format!("/api/v1/namespaces/{ENGINE}/persistentvolumeclaims");
    Ok(stage.admin.get(&order()).await?.is_none()
        && engine(stage).await?.is_none()
        && stage.admin.list(&claims).await?.is_empty()
        && retained(stage).await?.is_empty())
}

impl Operation {
    /// Does it as a person would, and waits for what shows between its parts.
    async fn act(self, stage: &mut Stage) -> Result<()> {
        match self {
            Self::Create => make(stage).await,
            Self::Storage => change(stage, json!({"storage": "3Gi"})).await,
            Self::Suspend => {
                change(stage, json!({"suspend": true})).await?;
                alive(stage, LIMIT, "the suspension", async |stage| sleeps(stage).await).await?;
                change(stage, json!({"suspend": false})).await
            }
            Self::Retain => {
                change(stage, json!({"deletionProtection": false})).await?;
                stage.admin.delete(&order()).await
            }
            Self::Delete => {
                change(stage, json!({"deletionProtection": false, "onDeletion": "Delete"})).await?;
                stage.admin.delete(&order()).await
            }
        }
    }

    async fn done(self, stage: &Stage) -> Result<bool> {
        match self {
            Self::Create | Self::Suspend => runs(stage, "2Gi").await,
            Self::Storage => runs(stage, "3Gi").await,
            Self::Retain => Ok(stage.admin.get(&order()).await?.is_none()
                && sleeps(stage).await?
                && retained(stage).await?.len() == 1),
            Self::Delete => nothing(stage).await,
        }
    }
}

/// Waits for something, and starts the operator again whenever it has died meanwhile.
async fn alive(
    stage: &mut Stage,
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut(&Stage) -> Result<bool>,
) -> Result<()> {
    until(limit, what, async || {
        stage.revive().await?;
        look(stage).await
    })
    .await
}

/// Waits until nothing was written for a while.
async fn quiet(stage: &mut Stage, time: Duration) -> Result<()> {
    let mut last = (stage.proxy.asked(), Instant::now());
    alive(stage, LIMIT, "no more writes", async |stage| {
        let now = stage.proxy.asked();
        if now != last.0 {
            last = (now, Instant::now());
        }
        Ok(last.1.elapsed() >= time)
    })
    .await
}

/// Takes away whatever is left of the order.
async fn clear(stage: &mut Stage) -> Result<()> {
    if let Some(found) = stage.admin.get(&order()).await? {
        if found.pointer("/metadata/deletionTimestamp").is_none() {
            Operation::Delete.act(stage).await?;
        }
        alive(stage, LIMIT, "the order to go", async |stage| Ok(stage.admin.get(&order()).await?.is_none()))
            .await?;
    }
    for one in retained(stage).await? {
        let uid = one.pointer("/spec/orderUid").and_then(Value::as_str);
        stage.discard(uid.context("kept data without a uid")?, NAME).await?;
    }
    alive(stage, LIMIT, "the cluster to be empty", async |stage| nothing(stage).await).await?;
    quiet(stage, SHORT).await
}

/// Brings the order to where an operation begins.
async fn prepare(stage: &mut Stage, operation: Operation) -> Result<()> {
    stage.proxy.arm(None, None);
    clear(stage).await?;
    if operation != Operation::Create {
        make(stage).await?;
        alive(stage, LIMIT, "the order to run", async |stage| runs(stage, "2Gi").await).await?;
        quiet(stage, SHORT).await?;
    }
    Ok(())
}

/// Runs an operation undisturbed.
///
/// # Errors
/// When it does not end.
pub async fn undisturbed(stage: &mut Stage, operation: Operation) -> Result<Reference> {
    prepare(stage, operation).await?;
    stage.proxy.arm(None, None);
    operation.act(stage).await?;
    alive(stage, LIMIT, operation.name(), async |stage| operation.done(stage).await).await?;
    quiet(stage, LONG).await?;
    let seen = stage.proxy.seen();
    let end = snapshot::take(&stage.admin, &stage.ledger).await?;
    let writes = seen.iter().map(|one| one.write.clone()).collect();
    Ok(Reference { writes, created: created(&seen), deleted: deleted(&seen), end })
}

/// What another undisturbed run did otherwise: nothing, or what is compared is not the operator's doing.
pub fn unlike(one: &Reference, other: &Reference) -> Vec<String> {
    let mut all = differences(&one.end, &other.end);
    all.extend(counts(one, &other.created, &other.deleted));
    all
}

fn counts(
    reference: &Reference,
    created: &BTreeMap<String, usize>,
    deleted: &BTreeMap<String, usize>,
) -> Vec<String> {
    let pairs = [("created", &reference.created, created), ("deleted", &reference.deleted, deleted)];
    let differ = pairs.into_iter().filter(|(_, expected, found)| expected != found);
    differ.map(|(what, expected, found)| format!("{what}: expected {expected:?}, found {found:?}")).collect()
}

/// Runs an operation with a fault at one of its writes.
///
/// # Errors
/// When the cell could not be run; what it found wrong is no error.
pub async fn cell(
    stage: &mut Stage,
    operation: Operation,
    plan: Plan,
    expected: &Reference,
) -> Result<Outcome> {
    prepare(stage, operation).await?;
    let victim = stage.operator()?;
    stage.proxy.arm(Some(plan), Some(victim));
    let started = Instant::now();
    let mut wrong = Vec::new();
    if let Err(error) = operation.act(stage).await {
        wrong.push(format!("{error:#}"));
    }
    let (differ, took) = loop {
        stage.revive().await?;
        let mut differ = match snapshot::take(&stage.admin, &stage.ledger).await {
            Ok(end) => differences(&expected.end, &end),
            Err(error) => vec![format!("{error:#}")],
        };
        if differ.is_empty() {
            quiet(stage, SHORT).await?;
            // What came after the look counts too.
            let end = snapshot::take(&stage.admin, &stage.ledger).await?;
            differ = differences(&expected.end, &end);
        }
        if differ.is_empty() || started.elapsed() > LIMIT {
            break (differ, started.elapsed());
        }
        tokio::time::sleep(PAUSE).await;
    };
    wrong.extend(differ);
    let seen = stage.proxy.seen();
    wrong.extend(counts(expected, &created(&seen), &deleted(&seen)));
    Ok(Outcome { hit: stage.proxy.struck_at(), wrong, took })
}

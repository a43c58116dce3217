//! Records what the real engine says of a cluster, for the player.

use crate::cluster::text;
use crate::operation::{Operation, alive, change, clear, engine, quiet, runs, sleeps};
use crate::recording::{Act, own, reduced};
use crate::snapshot::ENGINE;
use crate::stage::Stage;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// Nothing is written for so long: an act is over. The engine looks at a cluster that is well less often, and says the same.
const LONG: Duration = Duration::from_secs(10);

/// Everything that is said of the clusters of a namespace, from a watch: each write is there, none is looked past.
struct Watch {
    said: Arc<Mutex<Vec<Value>>>,
    reading: JoinHandle<()>,
    _kubectl: Child,
}

impl Watch {
    fn start() -> Result<Self> {
        let words = ["-n", ENGINE, "get", "clusters.postgresql.cnpg.io", "--watch", "-o", "json"];
        let mut kubectl = Command::new("kubectl")
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("failed to run kubectl: run this through `harness trial`")?;
        let mut output = kubectl.stdout.take().context("no output")?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        let reading = tokio::spawn(async move {
            let mut unread = Vec::new();
            while output.read_buf(&mut unread).await.is_ok_and(|count| count > 0) {
                let whole = whole(&mut unread);
                heard.lock().unwrap_or_else(PoisonError::into_inner).extend(whole);
            }
        });
        Ok(Self { said, reading, _kubectl: kubectl })
    }

    /// What was said since this was asked last.
    fn take(&self) -> Result<Vec<Value>> {
        ensure!(!self.reading.is_finished(), "the watch ended");
        Ok(std::mem::take(&mut *self.said.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Takes the whole objects off the beginning of a text.
fn whole(unread: &mut Vec<u8>) -> Vec<Value> {
    let mut all = Vec::new();
    let mut objects = serde_json::Deserializer::from_slice(unread).into_iter::<Value>();
    let mut read = 0;
    while let Some(Ok(object)) = objects.next() {
        all.push(object);
        read = objects.byte_offset();
    }
    unread.drain(..read);
    all
}

/// What is new in it for the operator: a status that says what the one before it said is left out.
fn news(objects: &[Value], last: &mut Value) -> Vec<Value> {
    let mut all = Vec::new();
    for status in objects.iter().map(reduced) {
        let empty = status.as_object().is_none_or(Map::is_empty);
        if !empty && status != *last {
            *last = status.clone();
            all.push(status);
        }
    }
    all
}

/// Lives a life with the real engine; the recording as it is committed.
///
/// # Errors
/// When an act does not end.
pub async fn record(stage: &mut Stage) -> Result<String> {
    clear(stage).await?;
    let watch = Watch::start()?;
    let (mut recording, mut last) = (Map::new(), Value::Null);
    let version = engine_version(stage).await?;
    recording.insert("engine".to_owned(), json!(version));
    let mut note = |recording: &mut Map<String, Value>, name: &str| -> Result<()> {
        let said = news(&watch.take()?, &mut last);
        println!("{name}: {} statuses", said.len());
        recording.insert(name.to_owned(), json!(said));
        Ok(())
    };
    stage.proxy.arm(None, None);
    ends(stage, Operation::Create).await?;
    note(&mut recording, Act::Create.name())?;
    recording.insert("owned".to_owned(), owned(stage).await?);
    change(stage, json!({"suspend": true})).await?;
    alive(stage, "the suspension", async |stage| sleeps(stage).await).await?;
    quiet(stage, LONG).await?;
    note(&mut recording, Act::Suspend.name())?;
    change(stage, json!({"suspend": false})).await?;
    alive(stage, "the order to go on", async |stage| runs(stage, "2Gi").await).await?;
    quiet(stage, LONG).await?;
    note(&mut recording, Act::Resume.name())?;
    ends(stage, Operation::Rotate).await?;
    note(&mut recording, "rotate")?;
    ends(stage, Operation::Plan).await?;
    note(&mut recording, Act::Plan.name())?;
    ends(stage, Operation::Storage).await?;
    note(&mut recording, Act::Storage.name())?;
    ends(stage, Operation::Delete).await?;
    note(&mut recording, "delete")?;
    Ok(format!("{}\n", serde_json::to_string_pretty(&recording)?))
}

async fn ends(stage: &mut Stage, operation: Operation) -> Result<()> {
    operation.act(stage).await?;
    alive(stage, operation.name(), async |stage| operation.done(stage).await).await?;
    quiet(stage, LONG).await
}

/// The image of the engine's operator, with its version.
async fn engine_version(stage: &Stage) -> Result<String> {
    let all = stage.admin.list("/apis/apps/v1/namespaces/cnpg-system/deployments").await?;
    let image = all.first().map(|one| text(one, "/spec/template/spec/containers/0/image"));
    image.context("no engine runs here")
}

/// What the engine writes on what it makes of a cluster: its own labels on the claim and the service.
async fn owned(stage: &Stage) -> Result<Value> {
    let cluster = engine(stage).await?.context("no cluster")?;
    let name = text(&cluster, "/metadata/name");
    let core = |kind: &str, end: &str| format!("/api/v1/namespaces/{ENGINE}/{kind}/{name}{end}");
    let claim = stage.admin.get(&core("persistentvolumeclaims", "-1")).await?.context("no claim")?;
    let service = stage.admin.get(&core("services", "-rw")).await?.context("no service")?;
    Ok(json!({"claim": own(&claim, &name), "service": own(&service, &name)}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_read_from_a_stream_that_comes_in_pieces() {
        let mut unread = b"{\"a\": 1}\n{\"b\"".to_vec();
        assert_eq!(whole(&mut unread), [json!({"a": 1})]);
        unread.extend(b": 2}\n{");
        assert_eq!(whole(&mut unread), [json!({"b": 2})]);
        assert_eq!(whole(&mut unread), [Value::Null; 0]);
    }

    #[test]
    fn what_says_nothing_new_to_the_operator_is_left_out() {
        let said = |phase: &str, pods: i64| json!({"metadata": {"name": "n"}, "status": {"phase": phase, "pods": pods}});
        let mut last = Value::Null;
        let all =
            [json!({"metadata": {"name": "n"}}), said("a", 1), said("a", 2), said("b", 3), said("a", 3)];
        let phases: Vec<String> = news(&all, &mut last).iter().map(|status| text(status, "/phase")).collect();
        assert_eq!(phases, ["a", "b", "a"]);
        assert!(news(&[said("a", 9)], &mut last).is_empty(), "and after what was taken before");
    }
}

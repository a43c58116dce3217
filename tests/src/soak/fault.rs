//! Making things go wrong, and putting back what does not come back by itself.

use super::process::{self, Process};
use super::server::{Answer, Server, path};
use super::step::{Component, Fault};
use super::{ENGINE, world::World};
use crate::platform::SYSTEM;
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::process::Command;

/// Namespace of the engine's operator.
const ENGINE_SYSTEM: &str = "cnpg-system";
/// Restoring something while the API server may be starting.
const RESTORE: Duration = seconds(180);

/// Pods of a part of the platform: namespace and labels.
fn pods(component: Component) -> Vec<(&'static str, &'static str)> {
    let operator = (SYSTEM, "app.kubernetes.io/name=siyada-operator");
    let api = (SYSTEM, "app.kubernetes.io/name=siyada-api");
    match component {
        Component::Operator => vec![operator],
        Component::Api => vec![api],
        Component::Both => vec![operator, api],
        Component::Engine => vec![(ENGINE_SYSTEM, "app.kubernetes.io/name=cloudnative-pg")],
    }
}

/// The processes that a fault kills, as they run now; none of one that is down already.
async fn processes(server: &Server, fault: &Fault, world: &World) -> Vec<Process> {
    let mut found = Vec::new();
    let mut add = async |namespace: &str, selector: &str| {
        if let Ok(process) = process::of_pod(server, namespace, selector).await {
            found.push(process);
        }
    };
    match fault {
        Fault::Kill(component) => {
            for (namespace, selector) in pods(*component) {
                add(namespace, selector).await;
            }
        }
        Fault::Ledger => add(SYSTEM, "cnpg.io/cluster=siyada-ledger,cnpg.io/podRole=instance").await,
        Fault::Database(name) => {
            let uid = world.living.get(name).map(|order| order.uid.as_str()).unwrap_or_default();
            add(ENGINE, &format!("siyada.cloud/order-uid={uid},cnpg.io/podRole=instance")).await;
        }
        _ => {}
    }
    found
}

/// A fault that was aimed beforehand, so that it strikes at its moment and not some requests later.
#[derive(Clone, Debug)]
pub struct Aimed {
    fault: Fault,
    processes: Vec<Process>,
}

impl Aimed {
    /// How many processes it will kill.
    pub fn count(&self) -> u64 {
        u64::try_from(self.processes.len()).unwrap_or(u64::MAX)
    }
}

/// Finds what a fault will hit.
pub async fn aim(server: &Server, fault: &Fault, world: &World) -> Aimed {
    Aimed { fault: fault.clone(), processes: processes(server, fault, world).await }
}

/// Strikes, and restores what must be restored. Answers with how many processes or objects were hit.
///
/// # Errors
/// When something cannot be restored: then nothing that follows means anything.
pub async fn strike(server: &Server, aimed: Aimed, world: &World) -> Result<u64> {
    match &aimed.fault {
        Fault::Kill(_) | Fault::Ledger | Fault::Database(_) => kill(server, &aimed, world).await,
        Fault::Replace(component) => replace(server, *component).await,
        Fault::Server => restart("kube-apiserver").await,
        Fault::Etcd => restart("etcd").await,
        Fault::ApiAway(length) => api_away(server, *length).await,
        Fault::WebhookAway(length) => webhook_away(server, *length).await,
    }
}

async fn kill(server: &Server, aimed: &Aimed, world: &World) -> Result<u64> {
    let mut hit = 0;
    for process in &aimed.processes {
        hit += u64::from(process.kill()?);
    }
    if hit == 0 {
        // Another fault replaced it in the meantime.
        for process in processes(server, &aimed.fault, world).await {
            hit += u64::from(process.kill()?);
        }
    }
    Ok(hit)
}

/// Deletes pods without grace. Only of what holds no data: a forced deletion lets two of a name run for a moment.
async fn replace(server: &Server, component: Component) -> Result<u64> {
    let mut hit = 0;
    for (namespace, selector) in pods(component) {
        let found = server.list(&format!("{}?labelSelector={selector}", path::pods(namespace))).await;
        for pod in found.unwrap_or_default() {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let answer = server.delete(&format!("{}/{name}", path::pods(namespace)), None, Some(0)).await;
            hit += u64::from(matches!(answer, Ok(Answer::Done(_))));
        }
    }
    Ok(hit)
}

/// Kills a component of the cluster itself and starts it again, by the harness that made the cluster.
async fn restart(component: &str) -> Result<u64> {
    let variable = |name: &str| {
        std::env::var(name).with_context(|| format!("{name} is not set: run this through `harness exec`"))
    };
    let (harness, cluster) = (variable("SIYADA_HARNESS")?, variable("SIYADA_CLUSTER")?);
    let arguments = ["restart", "--name", &cluster, component];
    let output = Command::new(harness).args(arguments).kill_on_drop(true).output().await?;
    ensure!(
        output.status.success(),
        "harness restart {component}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(1)
}

async fn scale(server: &Server, namespace: &str, name: &str, replicas: u32) -> Result<()> {
    let path = path::deployment(namespace, name);
    eventually(RESTORE, &format!("{name} to be scaled"), || async {
        match server.merge(&path, &json!({"spec": {"replicas": replicas}})).await? {
            Answer::Done(_) => Ok(()),
            other => bail!("{other:?}"),
        }
    })
    .await
}

async fn api_away(server: &Server, length: u64) -> Result<u64> {
    scale(server, SYSTEM, "siyada-api", 0).await?;
    tokio::time::sleep(seconds(length)).await;
    scale(server, SYSTEM, "siyada-api", 1).await?;
    Ok(1)
}

async fn webhook_away(server: &Server, length: u64) -> Result<u64> {
    let get = || async { server.get(path::WEBHOOK).await };
    let Some(mut webhook) = eventually(RESTORE, "the webhook's configuration", get).await? else {
        // Two such faults at once: the other one restores it.
        return Ok(0);
    };
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
        webhook["metadata"].as_object_mut().map(|metadata| metadata.remove(field));
    }
    let delete = || async { server.delete(path::WEBHOOK, None, None).await };
    eventually(RESTORE, "the webhook's configuration to be deleted", delete).await?;
    tokio::time::sleep(seconds(length)).await;
    let (list, _) = path::WEBHOOK.rsplit_once('/').context("no list of webhooks")?;
    eventually(RESTORE, "the webhook's configuration to be restored", || async {
        match server.create(list, &webhook).await? {
            Answer::Refused(why) if !why.contains("already exists") => bail!(why),
            _ => Ok(1),
        }
    })
    .await
}

/// A container that was killed often is kept down for minutes by the kubelet: its pod is replaced, so that the soak tests
/// the platform and not the kubelet's patience.
///
/// # Errors
/// When the API server does not answer.
pub async fn end_back_off(server: &Server) -> Result<()> {
    for namespace in [SYSTEM, ENGINE_SYSTEM, ENGINE] {
        for pod in server.list(&path::pods(namespace)).await? {
            let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
            // The engine's operator also ends itself when it lost the API server. Ours is helped only when it was killed.
            let ended = |code: Option<i64>| code == Some(137) || namespace == ENGINE_SYSTEM;
            let waits = |status: &Value| {
                status.pointer("/state/waiting/reason").and_then(Value::as_str) == Some("CrashLoopBackOff")
                    && ended(status.pointer("/lastState/terminated/exitCode").and_then(Value::as_i64))
            };
            if statuses.is_some_and(|all| all.iter().any(waits)) {
                let (name, uid) = (&pod["metadata"]["name"], pod["metadata"]["uid"].as_str());
                let path = format!("{}/{}", path::pods(namespace), name.as_str().unwrap_or_default());
                server.delete(&path, uid, None).await?;
            }
        }
    }
    Ok(())
}

/// What of the platform does not work at present.
///
/// # Errors
/// When the API server does not answer.
pub async fn not_working(server: &Server) -> Result<Vec<String>> {
    let mut down = Vec::new();
    for (namespace, name) in
        [(SYSTEM, "siyada-operator"), (SYSTEM, "siyada-api"), (ENGINE_SYSTEM, "cnpg-controller-manager")]
    {
        let found = server.get(&path::deployment(namespace, name)).await?.unwrap_or_default();
        let number = |pointer: &str| found.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
        if number("/spec/replicas") < 1 || number("/status/readyReplicas") < number("/spec/replicas") {
            down.push(format!("{name} is not ready"));
        }
    }
    if server.get(path::WEBHOOK).await?.is_none() {
        down.push("the webhook's configuration is absent".to_owned());
    }
    Ok(down)
}

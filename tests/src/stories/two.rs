//! Two operators, each of which takes itself for the one that works.

use super::tenancy::racing;
use crate::kubectl::Kubectl;
use crate::platform::{self, SYSTEM, ready};
use crate::soak::process::{self, Process};
use crate::soak::server::{Server, path};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Label of the operator's pods.
const OPERATOR: &str = "app.kubernetes.io/name=siyada-operator";
/// The tenant at the top of the race.
const TOP: &str = "story-two";

/// The leader is stopped in the middle of a race, as a machine that hangs would stop it, and wakes when the other has begun:
/// it still takes itself for the leader then. Exactly what fits is held, and it gives way.
pub async fn two_operators() -> Result<()> {
    let server = Server::named(TOP).await?;
    scale(2).await?;
    eventually(seconds(90), "two operators to run", || async {
        let pods = operators(&server).await?;
        ensure!(pods.len() == 2 && pods.iter().all(|pod| process_of(pod).is_some()), "{} pods", pods.len());
        Ok(())
    })
    .await?;
    platform::wait_until_it_works().await?;
    let (raced, changed) = tokio::join!(racing(TOP, 16), change_leaders(&server));
    scale(1).await?;
    server.remove().await?;
    platform::wait_until_it_works().await?;
    changed?;
    raced
}

async fn scale(replicas: u32) -> Result<()> {
    let replicas = format!("--replicas={replicas}");
    Kubectl::admin().run(&["-n", SYSTEM, "scale", "deployment/siyada-operator", &replicas]).await.map(|_| ())
}

async fn operators(server: &Server) -> Result<Vec<Value>> {
    server.list(&format!("{}?labelSelector={OPERATOR}", path::pods(SYSTEM))).await
}

fn process_of(pod: &Value) -> Option<Process> {
    process::first_of(std::slice::from_ref(pod))
}

async fn holder(server: &Server) -> Result<String> {
    let lease = format!("/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/siyada-operator");
    let lease = server.get(&lease).await?.context("there is no lease")?;
    Ok(lease.pointer("/spec/holderIdentity").and_then(Value::as_str).unwrap_or_default().to_owned())
}

/// Stops the leader as the race begins, and lets it go on when the other leads.
async fn change_leaders(server: &Server) -> Result<()> {
    ready(&Kubectl::admin(), "tenant", "default", &format!("{TOP}-below"), 90).await?;
    let first = holder(server).await?;
    let is_leader = |pod: &&Value| {
        let name = pod.pointer("/metadata/name").and_then(Value::as_str);
        name.is_some_and(|name| first.starts_with(name))
    };
    let pods = operators(server).await?;
    let leader = pods.iter().find(is_leader).and_then(process_of);
    let leader = leader.with_context(|| format!("no operator runs that is {first:?}"))?;
    ensure!(leader.stop()?, "the leader was gone");
    let changed = eventually(seconds(60), "the other operator to lead", || async {
        let now = holder(server).await?;
        ensure!(!now.is_empty() && now != first, "{now:?} leads");
        Ok(())
    })
    .await;
    // Whatever became of it, nobody is left stopped.
    leader.go_on()?;
    changed?;
    eventually(seconds(60), "the operator that was stopped to give way", || async {
        ensure!(!leader.alive(), "it still runs");
        Ok(())
    })
    .await
}

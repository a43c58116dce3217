//! Two operators, each of which takes itself for the one that works, and two apis, one of which hangs.

use super::HOME;
use super::tenancy::racing;
use crate::kubectl::Kubectl;
use crate::platform::{self, Api, SYSTEM, ready};
use crate::soak::process::{self, Process};
use crate::soak::server::{Server, path};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// The two programs, by their names.
const OPERATOR: &str = "siyada-operator";
const API: &str = "siyada-api";
/// The tenant at the top of the race.
const TOP: &str = "story-two";

/// The leader is stopped in the middle of a race, as a machine that hangs would stop it, and wakes when the other has begun:
/// it still takes itself for the leader then. One of two apis hangs meanwhile, and the other answers for both. Exactly what fits is held,
/// and the operator that was stopped gives way.
pub async fn two_of_each() -> Result<()> {
    let server = Server::named(TOP).await?;
    for program in [OPERATOR, API] {
        scale(program, 2).await?;
        eventually(seconds(90), "two to run", || async {
            let pods = pods_of(&server, program).await?;
            let all = pods.len() == 2 && pods.iter().all(|pod| process_of(pod).is_some());
            ensure!(all, "{} pods of {program}", pods.len());
            Ok(())
        })
        .await?;
    }
    platform::wait_until_it_works().await?;
    let (raced, changed, hung) =
        tokio::join!(racing(TOP, 16), change_leaders(&server), hang_one_api(&server));
    for program in [OPERATOR, API] {
        scale(program, 1).await?;
    }
    server.remove().await?;
    platform::wait_until_it_works().await?;
    changed?;
    hung?;
    raced
}

async fn scale(program: &str, replicas: u32) -> Result<()> {
    let (deployment, replicas) = (format!("deployment/{program}"), format!("--replicas={replicas}"));
    Kubectl::admin().run(&["-n", SYSTEM, "scale", &deployment, &replicas]).await.map(|_| ())
}

async fn pods_of(server: &Server, program: &str) -> Result<Vec<Value>> {
    server.list(&format!("{}?labelSelector=app.kubernetes.io/name={program}", path::pods(SYSTEM))).await
}

/// Stops one api as the race begins. Within a minute the other one alone answers, again and again.
async fn hang_one_api(server: &Server) -> Result<()> {
    ready(&Kubectl::admin(), "tenant", "default", &format!("{TOP}-below"), 90).await?;
    let api = Api::service_account(HOME, "ministry-it").await?;
    let pods = pods_of(server, API).await?;
    let one = pods.first().and_then(process_of).context("no api runs")?;
    ensure!(one.stop()?, "the api was gone");
    let answered = eventually(seconds(90), "the other api to answer ten times in a row", || async {
        for _ in 0..10 {
            api.read("/v1/tenants/interior/quota").await?;
        }
        Ok(())
    })
    .await;
    ensure!(one.go_on()?, "the api that hung was started anew before the other one answered alone");
    answered
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
    let pods = pods_of(server, OPERATOR).await?;
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

//! Parts of the platform that are away for minutes, under a client that writes: what serves on, what is told, and that
//! nothing is lost or deleted.

use crate::clients::{self, Binding};
use crate::kubectl::{Kubectl, condition, expect_condition};
use crate::platform::{SYSTEM, engine, gone, ready, wait_for};
use crate::processes;
use crate::stories::{DISPOSABLE, HOME, backup, postgres};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::task::JoinHandle;

/// Between two rows of the client that writes.
const PACE: Duration = Duration::from_millis(200);
/// So long everything may take to be as before.
const CONVERGE: u64 = 600;
/// What nobody may delete while something is away.
const KEPT: &str = "clusters.postgresql.cnpg.io,persistentvolumeclaims,secrets,services,pgi,dsi,sbk";

/// Whether new logins are expected to work while it is away, and what the order must say.
#[derive(Clone, Copy, Debug)]
struct Expected {
    /// The client that was connected writes on.
    serves: bool,
    /// People can ask the API server meanwhile.
    answers: bool,
    /// What a new order is told in the end, which becomes Ready only afterwards: condition, status and reason. Empty where it
    /// need not wait.
    waits: &'static [(&'static str, &'static str, &'static str)],
    /// Condition and status that the order comes to have.
    told: Option<(&'static str, &'static str)>,
}

/// A part that goes away and comes back.
pub struct Outage {
    /// What goes.
    pub name: &'static str,
    expected: Expected,
    away: fn(Victim) -> BoxFuture<'static, Result<()>>,
    back: fn() -> BoxFuture<'static, Result<()>>,
}

/// The order under which things go away.
#[derive(Clone, Debug)]
struct Victim {
    namespace: String,
    cluster: String,
}

/// What was seen of an outage.
#[derive(Clone, Debug)]
pub struct Seen {
    /// How long the part was away.
    pub away_seconds: u64,
    /// Rows that were acknowledged, all of which are there.
    pub rows: usize,
    /// Longest time without an acknowledged row, while the part was away.
    pub longest_pause_ms: u128,
    /// What the order said meanwhile.
    pub told: String,
    /// From its return until everything was as before.
    pub converged_seconds: u64,
}

/// Every outage, in the order in which they are lived.
pub fn all() -> Vec<Outage> {
    let serves = Expected { serves: true, answers: true, waits: &[], told: None };
    vec![
        Outage {
            name: "the object store",
            expected: Expected { told: Some(("BackupHealthy", "False")), ..serves },
            away: |_| refuse(backup::STORE_PORT).boxed(),
            back: || accept().boxed(),
        },
        Outage {
            name: "the ledger's PostgreSQL",
            expected: Expected {
                waits: &[
                    ("Ready", "False", "LedgerUnavailable"),
                    ("Admitted", "Unknown", "LedgerUnavailable"),
                ],
                ..serves
            },
            away: |_| hibernate("on").boxed(),
            back: || hibernate("off").boxed(),
        },
        Outage {
            name: "the engine's operator",
            // The engine's own admission is away with it.
            expected: Expected {
                waits: &[("Ready", "False", "WriteFailed"), ("Admitted", "True", "Admitted")],
                ..serves
            },
            away: |_| engine_operator("0").boxed(),
            back: || engine_operator("1").boxed(),
        },
        Outage {
            name: "the API server",
            expected: Expected { answers: false, ..serves },
            away: |_| async { refuse(api_port().await?).await }.boxed(),
            back: || accept().boxed(),
        },
        Outage {
            name: "the database's pod",
            expected: Expected {
                serves: false,
                waits: &[("Ready", "False", "EngineNotReady"), ("Admitted", "True", "Admitted")],
                told: Some(("Ready", "False")),
                ..serves
            },
            away: |victim| async move { pod_away(&victim.namespace, &victim.cluster).await }.boxed(),
            back: || pod_back().boxed(),
        },
        Outage {
            name: "the node's kubelet",
            // Its pods count as not ready after a minute, so that no Service leads to them.
            expected: Expected {
                waits: &[("Ready", "False", "EngineNotReady"), ("Admitted", "True", "Admitted")],
                told: Some(("Ready", "False")),
                ..serves
            },
            away: |_| async { processes::one("kubelet")?.signal(Signal::STOP) }.boxed(),
            back: || async { processes::one("kubelet")?.signal(Signal::CONT) }.boxed(),
        },
    ]
}

/// Refuses every connection to a port of this cluster's network namespace.
///
/// # Errors
/// When the rule cannot be made.
pub async fn refuse(port: u16) -> Result<()> {
    answer(port, "reject with tcp reset").await
}

/// Lets everything to a port of this cluster's network namespace go unanswered.
///
/// # Errors
/// When the rule cannot be made.
pub async fn silence(port: u16) -> Result<()> {
    answer(port, "drop").await
}

async fn answer(port: u16, with: &str) -> Result<()> {
    nft(&format!(
        "add table ip siyada_outage; add chain ip siyada_outage input {{ type filter hook input priority 0; }}; \
         add rule ip siyada_outage input tcp dport {port} {with}"
    ))
    .await
}

/// Ends what [`refuse`] or [`silence`] began.
///
/// # Errors
/// When there is no such rule.
pub async fn accept() -> Result<()> {
    nft("delete table ip siyada_outage").await
}

async fn nft(rules: &str) -> Result<()> {
    let done = Command::new("nft").arg(rules).output().await.context("failed to run nft")?;
    ensure!(done.status.success(), "nft: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

async fn api_port() -> Result<u16> {
    let (_, address) = Kubectl::admin().api_server().await?;
    reqwest::Url::parse(&address)?.port_or_known_default().context("no port")
}

async fn hibernate(value: &str) -> Result<()> {
    let annotation = format!("cnpg.io/hibernation={value}");
    let line = ["-n", SYSTEM, "annotate", "--overwrite", "clusters.postgresql.cnpg.io", "siyada-ledger"];
    Kubectl::admin().run(&[&line[..], &[annotation.as_str()]].concat()).await?;
    if value == "on" { no_pods(SYSTEM, "cnpg.io/cluster=siyada-ledger").await } else { Ok(()) }
}

/// Waits until the last pod is gone: only then the outage begins.
async fn no_pods(namespace: &str, selector: &str) -> Result<()> {
    // The engine waits for clients to leave by themselves for three minutes.
    eventually(seconds(300), "the last pod to be gone", || async {
        let pods = Kubectl::admin().list("pods", namespace, selector).await?;
        ensure!(pods.is_empty(), "{} are there", pods.len());
        Ok(())
    })
    .await
}

async fn engine_operator(replicas: &str) -> Result<()> {
    let scale = format!("--replicas={replicas}");
    Kubectl::admin()
        .run(&["-n", "cnpg-system", "scale", "deployment/cnpg-controller-manager", &scale])
        .await?;
    if replicas == "0" {
        no_pods("cnpg-system", "app.kubernetes.io/name=cloudnative-pg").await
    } else {
        Ok(())
    }
}

async fn node(verb: &str) -> Result<()> {
    let admin = Kubectl::admin();
    for name in admin.run(&["get", "nodes", "-o", "name"]).await?.split_whitespace() {
        admin.run(&[verb, name]).await?;
    }
    Ok(())
}

/// Takes the pod of a database of one instance away. No node takes it back while they are all cordoned.
///
/// # Errors
/// When the cluster refuses.
pub async fn pod_away(namespace: &str, cluster: &str) -> Result<()> {
    node("cordon").await?;
    let pod = format!("{cluster}-1");
    Kubectl::admin().run(&["-n", namespace, "delete", "pod", &pod, "--wait=false"]).await.map(drop)
}

/// Ends what [`pod_away`] began.
///
/// # Errors
/// When the cluster refuses.
pub async fn pod_back() -> Result<()> {
    node("uncordon").await
}

/// What the client that writes knows.
#[derive(Clone, Debug, Default)]
struct Written {
    acknowledged: BTreeSet<i64>,
    longest_pause: Duration,
}

/// Writes a row every moment over a connection that it makes anew when it breaks, until it is told to stop.
fn write(binding: Binding, first: i64, stop: Arc<AtomicBool>) -> JoinHandle<Written> {
    tokio::spawn(async move {
        let (mut written, mut client, mut last) = (Written::default(), None, Instant::now());
        for id in first.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            if client.is_none() {
                client = clients::postgres(&binding).await.ok();
            }
            let done = match &client {
                Some(client) => insert(client, id).await,
                None => false,
            };
            if done {
                written.acknowledged.insert(id);
                written.longest_pause = written.longest_pause.max(last.elapsed());
                last = Instant::now();
            } else {
                client = None;
            }
            tokio::time::sleep(PACE).await;
        }
        written.longest_pause = written.longest_pause.max(last.elapsed());
        written
    })
}

/// Whether the row was acknowledged in time.
async fn insert(client: &tokio_postgres::Client, id: i64) -> bool {
    let row = async { client.execute("insert into ticks values ($1)", &[&id]).await };
    matches!(tokio::time::timeout(seconds(10), row).await, Ok(Ok(1)))
}

/// Uids of everything that must stay.
async fn kept(admin: &Kubectl, namespace: &str) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for namespace in [HOME, namespace] {
        let columns = "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.uid}{\"\\n\"}{end}";
        let said = admin.run(&["-n", namespace, "get", KEPT, "-o", columns]).await?;
        all.extend(said.lines().map(|line| format!("{namespace}/{line}")));
    }
    Ok(all)
}

impl Outage {
    /// Lives it: the part is away for so long.
    ///
    /// # Errors
    /// Says what was lost, not told, or not as before afterwards. The part is back all the same.
    pub async fn live(&self, length: Duration) -> Result<Seen> {
        backup::set_up().await?;
        let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(HOME, "ministry-it").await?);
        ministry.apply(&backup::order("lasting", "")).await?;
        let order = ready(&ministry, "pgi", HOME, "lasting", 300).await?;
        wait_for(&ministry, "pgi", HOME, "lasting", "BackupHealthy", "True", None, 300).await?;
        let (namespace, cluster) = engine(&order)?;
        let binding = Binding::read(&ministry, HOME, "lasting-postgresql").await?;
        let table = "create table if not exists ticks (id bigint primary key)";
        clients::postgres(&binding).await?.batch_execute(table).await?;
        let before = kept(&admin, &namespace).await?;

        let (stop, stop_after) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let writer = write(binding.clone(), 1, Arc::clone(&stop));
        (self.away)(Victim { namespace: namespace.clone(), cluster }).await?;
        let told = self.meanwhile(&ministry, length).await;
        stop.store(true, Ordering::Relaxed);
        let mut written = writer.await?;
        let afterwards = write(binding.clone(), 1_000_000, Arc::clone(&stop_after));
        let returned = Instant::now();
        (self.back)().await?;
        let told = told?;
        self.as_before(&ministry).await?;
        let converged_seconds = returned.elapsed().as_secs();
        stop_after.store(true, Ordering::Relaxed);
        let longest_pause_ms = written.longest_pause.as_millis();
        written.acknowledged.extend(afterwards.await?.acknowledged);

        let after = kept(&admin, &namespace).await?;
        let lost: Vec<&String> = before.difference(&after).collect();
        ensure!(lost.is_empty(), "gone after it: {lost:?}");
        let there = clients::ids(&clients::postgres(&binding).await?, "ticks").await?;
        clients::nothing_lost(&written.acknowledged, &there)?;
        ensure!(
            !self.expected.serves || longest_pause_ms < 15_000,
            "nothing was written for {longest_pause_ms} ms"
        );
        for name in ["lasting", "meanwhile"] {
            ministry.run(&["-n", HOME, "delete", "pgi", name, "--wait=false", "--ignore-not-found"]).await?;
            gone("pgi", HOME, name, 300).await?;
        }
        let away_seconds = length.as_secs();
        Ok(Seen { away_seconds, rows: there.len(), longest_pause_ms, told, converged_seconds })
    }

    /// While it is away: what the order is told, and a new order that waits.
    async fn meanwhile(&self, ministry: &Kubectl, length: Duration) -> Result<String> {
        let until = tokio::time::Instant::now() + length;
        let mut told = "nothing".to_owned();
        if self.expected.answers {
            let new = || async { ministry.apply(&postgres(HOME, "meanwhile", DISPOSABLE)).await };
            // Advice and the engine's own checks may be what is away.
            let applied = eventually(length, "a new order to be taken", new).await;
            if let Some((kind, status)) = self.expected.told {
                let limit = length.as_secs();
                let order = wait_for(ministry, "pgi", HOME, "lasting", kind, status, None, limit).await?;
                let (status, reason, message) = condition(&order, kind).context("no condition")?;
                told = format!("{kind} {status}, {reason}: {message}");
            }
            applied?;
            tokio::time::sleep_until(until).await;
            let new = ministry.get("pgi", HOME, "meanwhile").await?.context("the new order is gone")?;
            for (kind, status, reason) in self.expected.waits {
                expect_condition(&new, kind, status, Some(reason)).context("a new order")?;
            }
            for kind in ["Ready", "Admitted"] {
                let (status, reason, message) = condition(&new, kind).unwrap_or_default();
                told = format!("{told}; a new order: {kind} {status}, {reason}: {message}");
            }
        }
        tokio::time::sleep_until(until).await;
        Ok(told)
    }

    async fn as_before(&self, ministry: &Kubectl) -> Result<()> {
        ready(ministry, "pgi", HOME, "lasting", CONVERGE).await?;
        wait_for(ministry, "pgi", HOME, "lasting", "BackupHealthy", "True", None, CONVERGE).await?;
        if self.expected.answers {
            ready(ministry, "pgi", HOME, "meanwhile", CONVERGE).await?;
        }
        eventually(seconds(CONVERGE), "the platform to work", || async {
            crate::platform::wait_until_it_works().await
        })
        .await
    }
}

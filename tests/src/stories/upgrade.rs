//! From the previous landing to this one, back, and forth again, with live orders.

use super::{DISPOSABLE, HOME, advised, documents, postgres};
use crate::clients::{self, Binding};
use crate::kubectl::{Kubectl, condition, expect_condition};
use crate::platform::{self, Api, Landing, SYSTEM, gone, ready, uid};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, bail, ensure};
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The orders that live through it: kind, name and binding.
const DEEDS: (&str, &str, &str) = ("pgi", "deeds", "deeds-postgresql");
const LETTERS: (&str, &str, &str) = ("dsi", "letters", "letters-mongodb");
const ORDERS: [(&str, &str, &str); 2] = [DEEDS, LETTERS];
/// Where their databases are.
const ENGINE: &str = "siyada-t-interior";
/// Between two tries of a client.
const PAUSE: Duration = Duration::from_millis(200);
/// A client that waits longer for one answer was failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// A new operator takes over and logs in for the first time; until then it may not say Ready.
const LONGEST_UNREADY: Duration = Duration::from_secs(10);
/// Everything that holds who may write what.
const POLICIES: &str = "validatingadmissionpolicies,validatingadmissionpolicybindings,mutatingadmissionpolicies,\
                        mutatingadmissionpolicybindings";

/// Installs the previous landing, orders, upgrades, rolls back and upgrades again, while clients work.
pub async fn from_previous() -> Result<()> {
    let (previous, this) = (Landing::previous()?, Landing::this());
    previous.install().await?;
    works(&previous).await?;
    // A release that is upgraded has mostly been upgraded before.
    previous.install().await?;
    previous.set_up().await?;
    let ministry = Kubectl::service_account(HOME, "ministry-it").await?;
    ministry.apply(&postgres(HOME, DEEDS.1, "")).await?;
    ministry.apply(&documents(HOME, LETTERS.1, "")).await?;
    serves(&ministry).await?;
    let clients = Clients::log_in(&ministry).await?;
    let before = Picture::take(&ministry).await?;

    let moves = async {
        this.install().await?;
        works(&this).await?;
        serves(&ministry).await?;
        new_order(&ministry).await?;
        before.is_still(&ministry).await?;
        edit(&ministry).await?;
        let edited = Picture::take(&ministry).await?;
        ensure!(before.pods == edited.pods, "the edit restarted something");
        platform::helm(&["-n", SYSTEM, "rollback", "siyada"]).await?;
        works(&previous).await?;
        serves(&ministry).await?;
        edited.is_still(&ministry).await?;
        this.install().await?;
        works(&this).await?;
        serves(&ministry).await?;
        edited.is_still(&ministry).await
    };
    Box::pin(clients.work_during(&ministry, moves)).await?;
    protected(&ministry).await?;
    remove(&ministry).await
}

/// Waits until the programs of a landing are the ones that work. Those before may still be ending.
async fn works(landing: &Landing) -> Result<()> {
    platform::wait_until_it_works().await?;
    let admin = Kubectl::admin();
    eventually(seconds(90), "the programs of the landing to work", || async {
        let lease = admin.get("lease", SYSTEM, "siyada-operator").await?.context("nobody ever led")?;
        let leader = lease.pointer("/spec/holderIdentity").and_then(Value::as_str).unwrap_or_default();
        for program in ["siyada-operator", "siyada-api"] {
            let pods = admin.list("pods", SYSTEM, &format!("app.kubernetes.io/name={program}")).await?;
            let mut staying = pods.iter().filter(|pod| pod["metadata"].get("deletionTimestamp").is_none());
            let pod = staying.next().with_context(|| format!("{program} does not run"))?;
            ensure!(staying.next().is_none(), "{program} runs twice");
            let text = |path: &str| pod.pointer(path).and_then(Value::as_str).unwrap_or_default();
            let (name, image) = (text("/metadata/name"), text("/spec/containers/0/image"));
            ensure!(image == landing.image(program)?, "{name} runs {image}");
            ensure!(program == "siyada-api" || leader.starts_with(name), "{leader:?} leads, not {name}");
        }
        Ok(())
    })
    .await
}

/// Every order is Ready, and whoever orders is told the price.
async fn serves(ministry: &Kubectl) -> Result<()> {
    for (kind, name, _) in ORDERS {
        ready(ministry, kind, HOME, name, 240).await?;
    }
    advised(ministry).await
}

/// Everything that an upgrade must leave as it is.
struct Picture {
    /// Uid and restarts of each pod that runs a database or a gateway, the ledger's too.
    pods: BTreeMap<String, (String, i64)>,
    /// What clients connect with. Never printed.
    bindings: Vec<Value>,
    intervals: Vec<Value>,
    reservations: Vec<Value>,
    quota: Value,
    policies: BTreeSet<String>,
}

impl Picture {
    async fn take(ministry: &Kubectl) -> Result<Self> {
        let admin = Kubectl::admin();
        let api = Api::service_account(HOME, "ministry-it").await?;
        let mut pods = BTreeMap::new();
        for (namespace, selector) in [(ENGINE, ""), (SYSTEM, "cnpg.io/cluster=siyada-ledger")] {
            let running = admin.list("pods", namespace, selector).await?;
            pods.extend(running.iter().filter(|pod| pod["status"]["phase"] == "Running").map(pod_life));
        }
        ensure!(pods.len() == 4, "two databases, a gateway and the ledger must run, not {pods:?}");
        let mut bindings = Vec::new();
        let mut uids = Vec::new();
        for (kind, name, binding) in ORDERS {
            uids.push(uid(&ministry.get(kind, HOME, name).await?.context("no order")?)?);
            let secret = ministry.get("secret", HOME, binding).await?.context("no binding")?;
            bindings.push(secret["data"].clone());
        }
        let of_orders = async |list: &str| {
            let page = api.read(&format!("/v1/tenants/interior/{list}?pageSize=500")).await?;
            let all = page["items"].as_array().cloned().unwrap_or_default();
            anyhow::Ok(
                all.into_iter().filter(|i| uids.iter().any(|u| i["orderUid"] == *u)).collect::<Vec<_>>(),
            )
        };
        Ok(Self {
            pods,
            bindings,
            intervals: of_orders("intervals").await?,
            reservations: of_orders("reservations").await?,
            quota: api.read("/v1/tenants/interior/quota").await?,
            policies: policies().await?,
        })
    }

    /// Fails unless everything is as it was.
    async fn is_still(&self, ministry: &Kubectl) -> Result<()> {
        let now = Self::take(ministry).await?;
        ensure!(self.pods == now.pods, "pods were {:?} and are {:?}", self.pods, now.pods);
        ensure!(self.bindings == now.bindings, "what clients connect with has changed");
        let open = now.intervals.iter().filter(|i| i.get("end").is_none_or(Value::is_null)).count();
        ensure!(open == 4, "compute and storage of two orders must be metered: {:?}", now.intervals);
        for (what, was, is) in [
            ("intervals", &self.intervals, &now.intervals),
            ("reservations", &self.reservations, &now.reservations),
        ] {
            ensure!(was == is, "{what} were {was:?} and are {is:?}");
        }
        ensure!(self.quota == now.quota, "the quota was {} and is {}", self.quota, now.quota);
        let lost: Vec<&String> = self.policies.difference(&now.policies).collect();
        ensure!(lost.is_empty(), "policies are gone: {lost:?}");
        Ok(())
    }
}

fn pod_life(pod: &Value) -> (String, (String, i64)) {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
    let lists = ["containerStatuses", "initContainerStatuses"].map(|list| &pod["status"][list]);
    let containers = lists.into_iter().filter_map(Value::as_array).flatten();
    let restarts = containers.filter_map(|container| container["restartCount"].as_i64()).sum();
    (text("name"), (text("uid"), restarts))
}

/// The admission policies of the platform and their bindings.
async fn policies() -> Result<BTreeSet<String>> {
    let names = Kubectl::admin().run(&["get", POLICIES, "-o", "name"]).await?;
    let ours: BTreeSet<String> =
        names.lines().filter(|n| n.contains("/siyada-")).map(str::to_owned).collect();
    ensure!(!ours.is_empty(), "there are no policies");
    Ok(ours)
}

/// An order made by the upgraded platform, gone with its data afterwards.
async fn new_order(ministry: &Kubectl) -> Result<()> {
    ministry.apply(&postgres(HOME, "fresh", DISPOSABLE)).await?;
    ready(ministry, "pgi", HOME, "fresh", 240).await?;
    ministry.run(&["-n", HOME, "delete", "pgi", "fresh", "--wait=false"]).await?;
    gone("pgi", HOME, "fresh", 180).await
}

/// More storage and another parameter, both without a restart.
async fn edit(ministry: &Kubectl) -> Result<()> {
    let (kind, name, binding) = DEEDS;
    let binding = Binding::read(ministry, HOME, binding).await?;
    let spec = json!({"storage": "2Gi", "parameters": [{"name": "statement_timeout", "value": "45000"}]});
    ministry.patch(kind, HOME, name, &json!({"spec": spec})).await?;
    eventually(seconds(120), "the edit to reach the database", || async {
        let order = ministry.get(kind, HOME, name).await?.context("no order")?;
        expect_condition(&order, "Ready", "True", None)?;
        expect_condition(&order, "StorageHealthy", "True", None)?;
        let (_, _, volume) = condition(&order, "StorageHealthy").context("no condition")?;
        ensure!(volume.contains("2Gi"), "{volume}");
        let client = clients::postgres(&binding).await?;
        let limit: String = client.query_one("show statement_timeout", &[]).await?.get(0);
        ensure!(limit == "45s", "statement_timeout is {limit}");
        Ok(())
    })
    .await
}

/// A protected order, its namespace and the one of its data cannot be deleted, by nobody.
async fn protected(ministry: &Kubectl) -> Result<()> {
    let (kind, name, _) = DEEDS;
    for who in [ministry, &Kubectl::admin()] {
        let order = who.try_with(&["-n", HOME, "delete", kind, name], "").await?;
        ensure!(!order.ok && order.err.contains("is protected"), "{}{}", order.out, order.err);
    }
    for (namespace, why) in [(HOME, "holds protected orders"), (ENGINE, "holds the data of a tenant")] {
        let said = Kubectl::admin().try_with(&["delete", "namespace", namespace], "").await?;
        ensure!(!said.ok && said.err.contains(why), "{}{}", said.out, said.err);
    }
    Ok(())
}

async fn remove(ministry: &Kubectl) -> Result<()> {
    for (kind, name, _) in ORDERS {
        let free = json!({"spec": {"deletionProtection": false, "onDeletion": "Delete"}});
        ministry.patch(kind, HOME, name, &free).await?;
        ministry.run(&["-n", HOME, "delete", kind, name, "--wait=false"]).await?;
    }
    for (kind, name, _) in ORDERS {
        gone(kind, HOME, name, 180).await?;
    }
    Ok(())
}

/// When it was said, and whether it was Ready.
type Turn = (Instant, bool);

/// People who work while the platform is changed under them.
struct Clients {
    binding: Binding,
    rows: tokio_postgres::Client,
    documents: mongodb::Collection<Document>,
    written: AtomicI64,
    filed: AtomicU64,
    turns: [Mutex<Vec<Turn>>; 2],
}

impl Clients {
    async fn log_in(ministry: &Kubectl) -> Result<Self> {
        let binding = Binding::read(ministry, HOME, DEEDS.2).await?;
        let rows = clients::postgres(&binding).await?;
        rows.batch_execute("create table deeds (id bigint generated always as identity)").await?;
        let letters = Binding::read(ministry, HOME, LETTERS.2).await?;
        let documents = clients::documents(&letters).await?.database(&letters.database).collection("letters");
        Ok(Self {
            binding,
            rows,
            documents,
            written: AtomicI64::default(),
            filed: AtomicU64::default(),
            turns: Default::default(),
        })
    }

    /// Works as long as `moves` does; the first failure of anybody ends both. Fails too when a row is lost or an order
    /// was not Ready for long.
    async fn work_during(self, ministry: &Kubectl, moves: impl Future<Output = Result<()>>) -> Result<()> {
        let work = async {
            tokio::try_join!(
                self.write_rows(),
                self.log_in_again(),
                self.file_documents(),
                try_to_delete(ministry),
                self.watch(ministry, 0),
                self.watch(ministry, 1),
            )
        };
        let started = Instant::now();
        tokio::select! {
            moved = moves => moved?,
            failed = work => match failed {
                Ok((never, ..)) => match never {},
                Err(error) => return Err(error.context("somebody was disturbed")),
            },
        }
        self.nothing_lost(started).await
    }

    async fn nothing_lost(&self, started: Instant) -> Result<()> {
        let took = started.elapsed().as_secs();
        let count: i64 = self.rows.query_one("select count(*) from deeds", &[]).await?.get(0);
        // The last one may have arrived without an answer.
        let written = self.written.load(SeqCst);
        ensure!(count >= written, "{written} rows were written, {count} are there");
        let (filed, there) = (self.filed.load(SeqCst), self.documents.count_documents(doc! {}).await?);
        ensure!(there >= filed, "{filed} documents were written, {there} are there");
        ensure!(written > 0 && filed > 0, "nobody worked");
        let unready = self.turns.each_ref().map(|turns| longest_unready(&lock(turns), Instant::now()));
        println!(
            "        to this landing, back and forth in {took} s: {written} rows and {filed} documents written, not \
             Ready for at most {:.1} s and {:.1} s",
            unready[0].as_secs_f64(),
            unready[1].as_secs_f64()
        );
        for (longest, (kind, name, _)) in unready.into_iter().zip(ORDERS) {
            ensure!(
                longest <= LONGEST_UNREADY,
                "{kind} {name} was not Ready for {} s",
                longest.as_secs_f64()
            );
        }
        Ok(())
    }

    /// One connection that is never renewed.
    async fn write_rows(&self) -> Result<Infallible> {
        loop {
            answered("a row", self.rows.execute("insert into deeds default values", &[])).await?;
            self.written.fetch_add(1, SeqCst);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A new connection each time.
    async fn log_in_again(&self) -> Result<Infallible> {
        loop {
            let client = answered("a login", clients::postgres(&self.binding)).await?;
            answered("a question", client.simple_query("select 1")).await?;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn file_documents(&self) -> Result<Infallible> {
        loop {
            answered("a document", self.documents.insert_one(doc! {"pages": 1})).await?;
            self.filed.fetch_add(1, SeqCst);
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn watch(&self, ministry: &Kubectl, order: usize) -> Result<Infallible> {
        let (kind, name, _) = ORDERS[order];
        let shown = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}{"\n"}"#;
        let watch = ["-n", HOME, "get", kind, name, "--watch", "-o", shown];
        let turns = &self.turns[order];
        ministry.follow(&watch, |line| lock(turns).push((Instant::now(), line.trim() == "True"))).await
    }
}

/// What somebody got within a patient time.
async fn answered<T, E>(what: &str, asked: impl IntoFuture<Output = Result<T, E>>) -> Result<T>
where
    E: Into<anyhow::Error>,
{
    match tokio::time::timeout(PATIENCE, asked.into_future()).await {
        Ok(answer) => answer.map_err(Into::into).with_context(|| format!("{what} failed")),
        Err(_) => bail!("{what} had no answer for {} s", PATIENCE.as_secs()),
    }
}

/// At no moment may the protection be away. The API server only says what it would do.
async fn try_to_delete(who: &Kubectl) -> Result<Infallible> {
    let (kind, name, _) = DEEDS;
    let all = policies().await?;
    loop {
        let said = who.try_with(&["-n", HOME, "delete", kind, name, "--dry-run=server"], "").await?;
        ensure!(
            !said.ok && said.err.contains("is protected"),
            "deletion was not refused: {}{}",
            said.out,
            said.err
        );
        let now = policies().await?;
        ensure!(all.is_subset(&now), "policies were away: {:?}", all.difference(&now).collect::<Vec<_>>());
        tokio::time::sleep(PAUSE * 4).await;
    }
}

fn lock(turns: &Mutex<Vec<Turn>>) -> MutexGuard<'_, Vec<Turn>> {
    turns.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The longest time without Ready; what was said last holds until `end`.
fn longest_unready(turns: &[Turn], end: Instant) -> Duration {
    let (mut longest, mut since) = (Duration::ZERO, None);
    for (at, ready) in turns {
        if *ready {
            longest = longest.max(since.take().map_or(Duration::ZERO, |began| *at - began));
        } else {
            since.get_or_insert(*at);
        }
    }
    longest.max(since.map_or(Duration::ZERO, |began| end - began))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_time_without_ready_is_found() {
        let start = Instant::now();
        let check = |turns: &[(u64, bool)], expect: u64| {
            let turns: Vec<Turn> = turns.iter().map(|(at, ready)| (start + seconds(*at), *ready)).collect();
            assert_eq!(longest_unready(&turns, start + seconds(100)), seconds(expect), "{turns:?}");
        };
        check(&[], 0);
        check(&[(0, true), (50, true)], 0);
        check(&[(0, true), (10, false), (12, false), (15, true), (20, false), (22, true)], 5);
        check(&[(0, true), (90, false)], 10);
    }

    #[test]
    fn a_pod_that_restarted_lives_another_life() {
        let pod = |restarts: i64| {
            json!({"metadata": {"name": "a-1", "uid": "u"}, "status": {
                "containerStatuses": [{"restartCount": restarts}], "initContainerStatuses": [{"restartCount": 0}],
            }})
        };
        assert_eq!(pod_life(&pod(0)), ("a-1".to_owned(), ("u".to_owned(), 0)));
        assert_ne!(pod_life(&pod(0)), pod_life(&pod(1)));
    }
}

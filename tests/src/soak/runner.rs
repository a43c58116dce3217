//! Does what a step says, strikes, and waits until the world is as it should be.

use super::fault::{self, aim, strike};
use super::judge::{self, Memory, judge};
use super::server::{Answer, Server, path};
use super::snapshot::{Snapshot, look};
use super::step::{Fault, Step};
use super::world::{Action, Kind, Spec, World};
use super::{ABOVE_HOME, HOME, NOWHERE, process, secrets};
use crate::clients::{self, Binding};
use crate::kubectl::{Kubectl, condition};
use crate::platform::{Api, SYSTEM};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, bail, ensure};
use futures::future::try_join_all;
use jiff::Timestamp;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A request is made again so long, while the API server may be away.
const INSIST: Duration = seconds(180);
/// So long everything may take to be as it should be: far more than ever seen, so that a failure means a defect.
pub const CONVERGE: Duration = seconds(600);
/// A client of the api is made anew after so long.
const TOKEN: Duration = seconds(1_800);
/// What is waited for is told so often.
const TELL: Duration = seconds(30);
/// Complaints shown of many.
const SHOWN: usize = 6;
/// Rows of one `Write`.
const ROWS: i64 = 5;

/// What became of an action.
#[derive(Clone, Debug)]
struct Deed {
    action: Action,
    uid: String,
    asked: Timestamp,
    answered: Timestamp,
    acknowledged: BTreeSet<i64>,
}

/// Rows of an order's database.
#[derive(Clone, Debug, Default)]
struct Rows {
    acknowledged: BTreeSet<i64>,
    tried: BTreeSet<i64>,
}

/// A world, the cluster it should be in, and what was seen so far.
pub struct Runner {
    /// The API server.
    pub server: Server,
    /// What should be.
    pub world: World,
    /// What was seen.
    pub memory: Memory,
    /// What was done and what struck, by words.
    pub counts: BTreeMap<String, u64>,
    /// Steps of the walk under way that held.
    pub walked: usize,
    api: Option<(Instant, Api)>,
    rows: BTreeMap<String, Rows>,
    secrets: BTreeSet<String>,
    last_row: i64,
}

impl Runner {
    /// An empty world.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn new(server: Server) -> Result<Self> {
        Ok(Self {
            server,
            world: World::default(),
            memory: Memory::default(),
            counts: BTreeMap::new(),
            walked: 0,
            api: None,
            rows: BTreeMap::new(),
            secrets: BTreeSet::new(),
            last_row: 0,
        })
    }

    /// Counts something.
    pub fn count(&mut self, what: &str, more: u64) {
        *self.counts.entry(what.to_owned()).or_insert(0) += more;
    }

    /// The ledger's api, with a token that is still good.
    ///
    /// # Errors
    /// When there is no token to be had.
    pub async fn api(&mut self) -> Result<Api> {
        if self.api.as_ref().is_none_or(|(made, _)| made.elapsed() > TOKEN) {
            self.api = Some((Instant::now(), Api::service_account(ABOVE_HOME, "reader").await?));
        }
        Ok(self.api.as_ref().context("no client of the api")?.1.clone())
    }

    /// Does a step, strikes meanwhile, and waits until everything is as it should be.
    ///
    /// # Errors
    /// Says what is not.
    pub async fn step(&mut self, step: &Step) -> Result<()> {
        let mut aimed = Vec::new();
        for blow in &step.blows {
            aimed.push((blow.after_ms, aim(&self.server, &blow.fault, &self.world).await));
        }
        self.begin(step);
        let (server, world) = (&self.server, &self.world);
        let blows = try_join_all(aimed.into_iter().map(|(after_ms, aimed)| async move {
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            strike(server, aimed, world).await
        }));
        let first_row = self.last_row + 1;
        let acts = try_join_all((0..).zip(&step.actions).map(|(index, action)| {
            let row = first_row + index * ROWS;
            async move { act(server, world, action, row).await.with_context(|| format!("{action:?}")) }
        }));
        let (deeds, hits) = tokio::join!(acts, blows);
        for (blow, hit) in step.blows.iter().zip(hits.context("a fault could not be made")?) {
            self.count(&blow.fault.words(), hit);
            if let (Fault::Database(name), true) = (&blow.fault, hit > 0) {
                self.memory.killed.insert(name.clone());
            }
        }
        for deed in deeds? {
            self.note(deed);
        }
        self.last_row += ROWS * 3;
        self.converge(CONVERGE).await
    }

    /// What the look must allow while a step is under way.
    pub fn begin(&mut self, step: &Step) {
        self.memory.step = Some(Timestamp::now());
        self.memory.killed.clear();
        let mut allowed: BTreeSet<String> = BTreeSet::new();
        for action in &step.actions {
            if let Action::Edit(name, change) = action
                && change.restarts()
            {
                allowed.insert(name.clone());
            }
        }
        let mut all = false;
        for blow in &step.blows {
            match &blow.fault {
                Fault::Database(name) => {
                    allowed.insert(name.clone());
                }
                // An instance that does not reach the API server ends itself after a while, as the engine wants it.
                Fault::Server | Fault::Etcd => all = true,
                _ => {}
            }
        }
        self.memory.restarts = (!all).then_some(allowed);
    }

    fn note(&mut self, deed: Deed) {
        self.count(deed.action.word(), 1);
        let before = self.world.living.get(deed.action.name()).cloned();
        self.world.apply(&deed.action);
        match &deed.action {
            Action::Order(name, _) => {
                if let Some(order) = self.world.living.get_mut(name) {
                    order.uid.clone_from(&deed.uid);
                }
            }
            Action::Fleeting(..) => {
                self.memory.fleeting.insert(deed.uid.clone());
                self.memory.deleted.insert(deed.uid, (deed.asked, deed.answered));
            }
            Action::Delete(_) => {
                self.memory.deleted.insert(deed.uid, (deed.asked, deed.answered));
            }
            Action::Write(_) => {
                let uid = before.map(|order| order.uid).unwrap_or_default();
                let rows = self.rows.entry(uid).or_default();
                rows.tried.extend(deed.acknowledged.iter().copied());
                rows.acknowledged.extend(deed.acknowledged);
            }
            Action::Edit(..) | Action::Greedy(_) | Action::Remove(_) => {}
        }
    }

    /// Does one action outside of a step, as the matrix does, without waiting for anything.
    ///
    /// # Errors
    /// When it is not done.
    pub async fn act(&mut self, action: &Action) -> Result<()> {
        let deed = act(&self.server, &self.world, action, self.last_row + 1)
            .await
            .with_context(|| format!("{action:?}"))?;
        self.last_row += ROWS;
        self.note(deed);
        Ok(())
    }

    async fn seen(&mut self) -> Result<(Snapshot, Vec<String>)> {
        let api = self.api().await?;
        let down = fault::not_working(&self.server).await?;
        Ok((look(&self.server, &api).await?, down))
    }

    /// Waits until everything is as it should be, and judges it.
    ///
    /// # Errors
    /// At once for what is wrong for ever; at the limit for what is not so yet.
    pub async fn converge(&mut self, limit: Duration) -> Result<()> {
        let started = Instant::now();
        let mut told = started;
        loop {
            let waiting = match self.seen().await {
                Ok((look, down)) => self.judged(&look, down).await?,
                Err(error) => vec![format!("{error:#}")],
            };
            if waiting.is_empty() {
                break;
            }
            if started.elapsed() > limit {
                bail!("after {} s it is not as it should be: {}", limit.as_secs(), show(&waiting));
            }
            if told.elapsed() > TELL {
                told = Instant::now();
                println!("  still waited for after {} s: {}", started.elapsed().as_secs(), show(&waiting));
            }
            // It may be the API server that is away.
            let _ = fault::end_back_off(&self.server).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        self.count("looks in which all was as it should be", 1);
        eventually(INSIST, "the ledger to be counted", recount)
            .await?
            .map_or(Ok(()), |wrong| bail!(wrong))?;
        let search = || async { secrets::search(&self.server, &self.secrets).await };
        search().await
    }

    /// What is waited for; nothing when all is well.
    async fn judged(&mut self, look: &Snapshot, down: Vec<String>) -> Result<Vec<String>> {
        self.secrets.extend(secrets::of(look));
        let verdict = judge(&self.world, &self.memory, look);
        self.memory.note(&self.world, look);
        ensure!(verdict.wrong.is_empty(), "this must never be: {}", show(&verdict.wrong));
        let mut waiting = verdict.waiting;
        waiting.extend(down);
        waiting.extend(self.untold(look));
        if waiting.is_empty() {
            for (name, order) in &self.world.living {
                let Some(rows) = self.rows.get(&order.uid).filter(|_| order.spec.runs()) else { continue };
                match read(&self.server, name, order.spec.kind).await {
                    Ok(found) => {
                        let lost: Vec<_> = rows.acknowledged.difference(&found).collect();
                        ensure!(
                            lost.is_empty(),
                            "rows {lost:?} of {name} {} were acknowledged and are gone",
                            order.uid
                        );
                        let strange: Vec<_> = found.difference(&rows.tried).collect();
                        ensure!(
                            strange.is_empty(),
                            "rows {strange:?} of {name} {} were never written",
                            order.uid
                        );
                    }
                    Err(error) => waiting.push(format!("rows of {name}: {error:#}")),
                }
            }
        }
        if waiting.is_empty() {
            self.memory.settle(&self.world, look);
        }
        Ok(waiting)
    }

    /// Databases whose container is gone although the look has it running: the kubelet tells of it later, and what was seen
    /// of its restarts is past.
    fn untold(&self, look: &Snapshot) -> Vec<String> {
        let living = self.world.living.iter().filter(|(_, order)| order.spec.runs());
        let gone = living.filter(|(_, order)| process::first_of(&judge::pods_of(look, &order.uid)).is_none());
        gone.map(|(name, order)| format!("no container of {name} {} runs", order.uid)).collect()
    }

    /// Ends everything: every order goes with its data, and nothing may be left of it.
    ///
    /// # Errors
    /// Says what is left.
    pub async fn end(&mut self) -> Result<()> {
        let names: Vec<String> = self.world.living.keys().cloned().collect();
        let mut step = Step { actions: Vec::new(), blows: Vec::new() };
        for name in names {
            if self.world.living.get(&name).is_some_and(|order| order.spec.retain) {
                let change = super::world::Change::Retain(false);
                self.act(&Action::Edit(name.clone(), change)).await?;
            }
            step.actions.push(Action::Delete(name));
        }
        self.step(&step).await?;
        while let Some(kept) = self.world.kept.first().cloned() {
            self.act(&Action::Remove(kept.name)).await?;
        }
        self.converge(CONVERGE).await?;
        self.rows.clear();
        Ok(())
    }
}

fn show(complaints: &[String]) -> String {
    let more = complaints.len().saturating_sub(SHOWN);
    let shown = complaints.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    if more > 0 { format!("{shown}; and {more} more") } else { shown }
}

fn done(answer: Answer) -> Result<Value> {
    match answer {
        Answer::Done(value) => Ok(value),
        Answer::Absent => bail!("there is no such thing"),
        Answer::Refused(why) => bail!("refused: {why}"),
    }
}

async fn act(server: &Server, world: &World, action: &Action, row: i64) -> Result<Deed> {
    let asked = Timestamp::now();
    let living =
        |name: &str| world.living.get(name).with_context(|| format!("there should be no order {name}"));
    let mut deed = Deed {
        action: action.clone(),
        uid: String::new(),
        asked,
        answered: asked,
        acknowledged: BTreeSet::new(),
    };
    match action {
        Action::Order(name, spec) => deed.uid = apply(server, name, spec).await?,
        Action::Edit(name, change) => {
            apply(server, name, &change.of(&living(name)?.spec)).await?;
        }
        Action::Delete(name) => {
            let order = living(name)?;
            deed.uid.clone_from(&order.uid);
            deed.asked = delete(server, name, &order.spec, &order.uid).await?;
        }
        Action::Fleeting(name, spec, after_ms) => {
            deed.uid = apply(server, name, spec).await?;
            tokio::time::sleep(Duration::from_millis(*after_ms)).await;
            deed.asked = delete(server, name, spec, &deed.uid).await?;
        }
        Action::Greedy(name) => greedy(server, name).await?,
        Action::Remove(name) => {
            let kept = world.kept.iter().find(|kept| kept.name == *name).context("nothing is kept")?;
            remove(&kept.uid, name).await?;
        }
        Action::Write(name) => deed.acknowledged = write(server, name, living(name)?.spec.kind, row).await?,
    }
    deed.answered = Timestamp::now();
    Ok(deed)
}

/// Applies an order; its uid.
async fn apply(server: &Server, name: &str, spec: &Spec) -> Result<String> {
    let (path, body) = (path::order(spec.kind, name), spec.body(name));
    let applied = || async { done(server.apply(&path, &body).await?) };
    let order = eventually(INSIST, &format!("order {name} to be accepted"), applied).await?;
    crate::platform::uid(&order)
}

/// Deletes an order of that uid; when that was first asked. A protected one must be refused before.
async fn delete(server: &Server, name: &str, spec: &Spec, uid: &str) -> Result<Timestamp> {
    let path = path::order(spec.kind, name);
    if spec.protected {
        eventually(INSIST, &format!("the deletion of protected order {name} to be refused"), || async {
            match server.delete(&path, Some(uid), None).await? {
                Answer::Refused(why) if why.contains("set spec.deletionProtection to false first") => Ok(()),
                other => bail!("{other:?}"),
            }
        })
        .await?;
        apply(server, name, &Spec { protected: false, ..spec.clone() }).await?;
    }
    let asked = Timestamp::now();
    eventually(INSIST, &format!("order {name} to be deleted"), || async {
        match server.delete(&path, Some(uid), None).await? {
            // Gone at the second try: the first one's answer was lost.
            Answer::Done(_) | Answer::Absent => Ok(()),
            Answer::Refused(why) => bail!("refused: {why}"),
        }
    })
    .await?;
    Ok(asked)
}

/// An order beyond the tenant's means: refused at once, or, while nobody advises, by its conditions. It never gets anything.
async fn greedy(server: &Server, name: &str) -> Result<()> {
    let path = path::order(Kind::Postgres, name);
    let mut body = Spec::small(Kind::Postgres).body(name);
    body["spec"]["plan"] = json!("large");
    body["spec"]["storage"] = json!("500Gi");
    body["spec"]["site"] = json!(NOWHERE);
    let applied = || async { server.apply(&path, &body).await };
    let answer = eventually(INSIST, "an order beyond the quota to be answered", applied).await?;
    let order = match answer {
        Answer::Refused(why) if why.contains("monthlyCost of tenant") => return Ok(()),
        other => done(other)?,
    };
    let uid = crate::platform::uid(&order)?;
    eventually(CONVERGE, &format!("order {name} to be refused by its conditions"), || async {
        let order = server.get(&path).await?.context("it is gone")?;
        let (status, reason, message) = condition(&order, "Admitted").context("no condition")?;
        ensure!(
            (status.as_str(), reason.as_str()) == ("False", "BudgetExceeded"),
            "{status} {reason}: {message}"
        );
        ensure!(order.pointer("/status/engineRef").is_none(), "something was started");
        Ok(())
    })
    .await?;
    delete(server, name, &Spec::small(Kind::Postgres), &uid).await?;
    Ok(())
}

/// Has kept data removed, by the command that the platform's people use.
async fn remove(uid: &str, name: &str) -> Result<()> {
    let words = ["retained", "remove", uid, "--confirm", name];
    let tries = std::cell::Cell::new(0);
    eventually(INSIST, &format!("kept data of {name} to be removed"), || async {
        tries.set(tries.get() + 1);
        match Kubectl::admin().in_platform("siyada-operator", &words).await {
            Err(error) if tries.get() > 1 && error.to_string().contains("no data of an order") => Ok(()),
            other => other.map(|_| ()),
        }
    })
    .await
}

async fn binding(server: &Server, name: &str, kind: Kind) -> Result<Binding> {
    let path = format!("/api/v1/namespaces/{HOME}/secrets/{name}-{}", kind.binding());
    Binding::of(&server.get(&path).await?.context("there is no binding")?)
}

/// Writes rows with nothing but the binding; those that were acknowledged. One that was not is tried again: it is the same
/// row then.
async fn write(server: &Server, name: &str, kind: Kind, first: i64) -> Result<BTreeSet<i64>> {
    let rows: BTreeSet<i64> = (first..first + ROWS).collect();
    eventually(CONVERGE, &format!("rows to be written to {name}"), || async {
        let binding = binding(server, name, kind).await?;
        match kind {
            Kind::Postgres => {
                let client = clients::postgres(&binding).await?;
                client.batch_execute("create table if not exists soak (id bigint primary key)").await?;
                for row in &rows {
                    client.execute("insert into soak values ($1) on conflict do nothing", &[row]).await?;
                }
            }
            Kind::Documents => {
                let client = clients::documents(&binding).await?;
                let collection = client.database(&binding.database).collection::<Document>("soak");
                let outcome = async {
                    for row in &rows {
                        if collection.find_one(doc! {"_id": *row}).await?.is_none() {
                            collection.insert_one(doc! {"_id": *row}).await?;
                        }
                    }
                    anyhow::Ok(())
                }
                .await;
                client.shutdown().immediate(true).await;
                outcome?;
            }
        }
        Ok(())
    })
    .await?;
    Ok(rows)
}

/// The rows that are there, read with nothing but the binding.
async fn read(server: &Server, name: &str, kind: Kind) -> Result<BTreeSet<i64>> {
    use futures::TryStreamExt as _;
    let binding = binding(server, name, kind).await?;
    match kind {
        Kind::Postgres => {
            let client = clients::postgres(&binding).await?;
            let rows = client.query("select id from soak", &[]).await?;
            Ok(rows.iter().map(|row| row.get(0)).collect())
        }
        Kind::Documents => {
            let client = clients::documents(&binding).await?;
            let collection = client.database(&binding.database).collection::<Document>("soak");
            let found =
                async { anyhow::Ok(collection.find(doc! {}).await?.try_collect::<Vec<_>>().await?) }.await;
            client.shutdown().immediate(true).await;
            let ids = found?.into_iter().map(|d| d.get_i64("_id").map_err(anyhow::Error::from));
            ids.collect()
        }
    }
}

/// Counts the ledger's sums afresh, in one statement; a sentence when they differ.
async fn recount() -> Result<Option<String>> {
    let admin = Kubectl::admin();
    let selector = "cnpg.io/cluster=siyada-ledger,cnpg.io/podRole=instance";
    let pods = admin.list("pods", SYSTEM, selector).await?;
    let pod = pods.first().and_then(|p| p["metadata"]["name"].as_str()).context("the ledger has no pod")?;
    let sql = "select count(*), count(*) filter (where (c.instances, c.cpu_milli, c.memory_bytes, c.storage_bytes, c.money_minor)
        is distinct from (q.held_instances, q.held_cpu_milli, q.held_memory_bytes, q.held_storage_bytes, q.held_money_minor))
        from quota_recount c left join tenant_quota q using (tenant_id)";
    let told = admin.in_postgres(SYSTEM, pod, &["psql", "-d", "ledger", "-AtF,", "-c", sql]).await?;
    let (tenants, differing) = told.trim().split_once(',').context("psql says nothing")?;
    ensure!(tenants.parse::<u64>()? > 0, "the ledger knows no tenant");
    Ok((differing != "0")
        .then(|| format!("{differing} of {tenants} tenants hold another sum than their reservations")))
}

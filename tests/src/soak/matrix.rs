//! The kill matrix: each component killed at each moment of an order's life. The cluster is watched for the moment's
//! evidence, and the process is killed right then.

use super::dice::Dice;
use super::fault::{Aimed, aim, end_back_off, strike};
use super::runner::{CONVERGE, Runner};
use super::server::{Server, path};
use super::snapshot;
use super::step::{Component, Fault, Step};
use super::world::{Action, Change, Kind, Plan, Spec, World};
use super::{ENGINE, HOME};
use crate::kubectl::condition;
use crate::platform::Api;
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// The order that lives through the matrix.
const NAME: &str = "matrix";
/// How long the evidence of a moment is waited for.
const EVIDENCE: Duration = seconds(300);
/// The ledger is asked so often whether it holds a reservation.
const POLL: Duration = Duration::from_millis(20);

/// A moment of an order's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The order was accepted.
    Applied,
    /// It has its finalizer.
    Finalized,
    /// Its part of the quota is held.
    Reserved,
    /// Its n-th part was made, counted from one.
    Child(usize),
    /// It became Ready.
    Ready,
    /// It was changed.
    Edit,
    /// It was suspended.
    Suspend,
    /// It was deleted with its data.
    Delete,
    /// Its volumes are being removed.
    Volumes,
    /// It was deleted and its data kept.
    Retain,
    /// Its kept data is being removed.
    Remove,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Child(number) => write!(f, "child {number}"),
            other => f.write_str(&format!("{other:?}").to_lowercase()),
        }
    }
}

/// The parts of an order in the order in which they are written: the path of their list, and the end of their name.
fn children(kind: Kind) -> Vec<(String, &'static str)> {
    let core = |namespace: &str, list: &str| format!("/api/v1/namespaces/{namespace}/{list}");
    let policies = format!("/apis/networking.k8s.io/v1/namespaces/{ENGINE}/networkpolicies");
    let clusters = format!("/apis/postgresql.cnpg.io/v1/namespaces/{ENGINE}/clusters");
    let mut all = vec![
        (core(ENGINE, "secrets"), "-owner"),
        (core(ENGINE, "secrets"), "-login-a"),
        (core(ENGINE, "secrets"), "-serverca"),
        (core(ENGINE, "secrets"), "-server"),
        (core(HOME, "secrets"), kind.binding()),
        (policies.clone(), ""),
    ];
    match kind {
        Kind::Postgres => all.push((clusters, "")),
        Kind::Documents => all.extend([
            (policies, "-docs"),
            (clusters, ""),
            (core(ENGINE, "services"), "-docs"),
            (format!("/apis/apps/v1/namespaces/{ENGINE}/deployments"), "-docs"),
        ]),
    }
    all
}

/// One life of one order, with one kill while it is made and perhaps another later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Who is killed.
    pub component: Component,
    /// What is ordered.
    pub kind: Kind,
    /// When, while it is made.
    pub early: Phase,
    /// When, afterwards.
    pub late: Option<Phase>,
}

impl Life {
    /// Its name, which says all of it.
    pub fn name(&self) -> String {
        let kind = if self.kind == Kind::Postgres { "postgresql" } else { "documents" };
        let late = self.late.map(|phase| format!(" and {phase}")).unwrap_or_default();
        format!("{} killed at {}{late} of {kind}", self.component.as_str(), self.early)
    }

    /// How many cells of the matrix it is.
    pub fn cells(&self) -> u64 {
        1 + u64::from(self.late.is_some())
    }
}

/// Every life: all moments of PostgreSQL, and of documents those that differ.
pub fn lives() -> Vec<Life> {
    let late = [Phase::Edit, Phase::Suspend, Phase::Delete, Phase::Volumes, Phase::Retain, Phase::Remove];
    let early = |kind: Kind, from: usize| (from..=children(kind).len()).map(Phase::Child);
    let first = [Phase::Applied, Phase::Finalized, Phase::Reserved];
    let of_postgres: Vec<Phase> =
        first.into_iter().chain(early(Kind::Postgres, 1)).chain([Phase::Ready]).collect();
    let of_documents: Vec<Phase> = early(Kind::Documents, 7).chain([Phase::Ready]).collect();
    let mut all = Vec::new();
    for component in Component::ALL {
        for (kind, phases) in [(Kind::Postgres, &of_postgres), (Kind::Documents, &of_documents)] {
            for (index, phase) in phases.iter().enumerate() {
                all.push(Life { component, kind, early: *phase, late: late.get(index).copied() });
            }
        }
    }
    all
}

/// Waits for the evidence of a moment, lets some milliseconds pass, and strikes.
async fn strike_at(
    server: &Server,
    api: &Api,
    (kind, phase): (Kind, Phase),
    aimed: Aimed,
    delay: Duration,
) -> Result<u64> {
    let named = |object: &Value| object["metadata"]["name"] == NAME;
    match phase {
        Phase::Finalized => {
            let has = |_: &str, o: &Value| named(o) && o.pointer("/metadata/finalizers/0").is_some();
            server.watch(&path::orders(kind), EVIDENCE, has).await?;
        }
        Phase::Ready => {
            let is = |_: &str, o: &Value| named(o) && condition(o, "Ready").is_some_and(|c| c.0 == "True");
            server.watch(&path::orders(kind), EVIDENCE, is).await?;
        }
        Phase::Child(number) => {
            let all = children(kind);
            let (list, end) = all.get(number.wrapping_sub(1)).context("there is no such part")?;
            let is = |_: &str, o: &Value| {
                let name = o["metadata"]["name"].as_str().unwrap_or_default();
                of_the_order(o) && name.ends_with(end) && (!end.is_empty() || !name.ends_with("-docs"))
            };
            server.watch(list, EVIDENCE, is).await?;
        }
        Phase::Volumes | Phase::Remove => {
            let goes = |event: &str, o: &Value| {
                of_the_order(o) && (event == "DELETED" || o.pointer("/metadata/deletionTimestamp").is_some())
            };
            let list = format!("/api/v1/namespaces/{ENGINE}/persistentvolumeclaims");
            server.watch(&list, EVIDENCE, goes).await?;
        }
        Phase::Reserved => reserved(api).await?,
        Phase::Applied | Phase::Edit | Phase::Suspend | Phase::Delete | Phase::Retain => {}
    }
    tokio::time::sleep(delay).await;
    strike(server, aimed, &World::default()).await
}

fn of_the_order(object: &Value) -> bool {
    object.pointer("/metadata/labels/siyada.cloud~1order-name").and_then(Value::as_str) == Some(NAME)
}

async fn reserved(api: &Api) -> Result<()> {
    let held = async {
        loop {
            let page = api.read(&format!("/v1/tenants/{}/reservations?pageSize=500", super::TENANT)).await;
            let all = page.ok().and_then(|page| page["items"].as_array().cloned()).unwrap_or_default();
            if all.iter().any(|held| held.pointer("/request/name").and_then(Value::as_str) == Some(NAME)) {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(EVIDENCE, held).await.context("no reservation was held")
}

/// Whether a moment is right after a request: then the request comes first.
fn follows_request(phase: Phase) -> bool {
    matches!(phase, Phase::Applied | Phase::Edit | Phase::Suspend | Phase::Delete | Phase::Retain)
}

impl Runner {
    /// Does an action and kills at a moment that it leads to; then everything must be as without the kill.
    async fn killed(&mut self, life: &Life, phase: Phase, action: Action, dice: &mut Dice) -> Result<()> {
        let expected = if life.component == Component::Both { 2 } else { 1 };
        let aimed = self.aimed(&Fault::Kill(life.component), expected).await?;
        // Between two writes there are some milliseconds; between a request and the operator's last write some hundred.
        let delay = Duration::from_millis(dice.below(if follows_request(phase) { 400 } else { 40 }));
        self.begin(&Step { actions: vec![action.clone()], blows: Vec::new() });
        let (server, api) = (self.server.clone(), self.api().await?);
        let moment = (life.kind, phase);
        let hit = if follows_request(phase) {
            self.act(&action).await?;
            strike_at(&server, &api, moment, aimed, delay).await?
        } else {
            let (acted, hit) =
                tokio::join!(self.act(&action), strike_at(&server, &api, moment, aimed, delay));
            acted?;
            hit?
        };
        ensure!(hit == expected, "{hit} of {expected} processes were killed at {phase}");
        self.count(&Fault::Kill(life.component).words(), hit);
        self.converge(CONVERGE).await.with_context(|| format!("after the kill at {phase}"))
    }

    /// Aims once everybody who is to be killed runs again: an order that was Ready already does not tell when that is.
    async fn aimed(&self, fault: &Fault, expected: u64) -> Result<Aimed> {
        eventually(EVIDENCE, "everybody who is to be killed to run", || async {
            end_back_off(&self.server).await?;
            let aimed = aim(&self.server, fault, &self.world).await;
            ensure!(aimed.count() == expected, "{} of {expected} run", aimed.count());
            Ok(aimed)
        })
        .await
    }

    /// Does an action without any kill.
    async fn undisturbed(&mut self, action: Action) -> Result<()> {
        self.begin(&Step { actions: vec![action.clone()], blows: Vec::new() });
        self.act(&action).await?;
        self.converge(CONVERGE).await
    }

    /// Lives one life, from an empty world to an empty world.
    ///
    /// # Errors
    /// Says what was not as without the kills.
    pub async fn live(&mut self, life: &Life, seed: u64) -> Result<()> {
        let mut dice = Dice::for_part(seed, &life.name());
        let name = NAME.to_owned();
        let keep = matches!(life.late, Some(Phase::Retain | Phase::Remove));
        let spec = Spec { retain: keep, ..Spec::small(life.kind) };
        self.killed(life, life.early, Action::Order(name.clone(), spec), &mut dice).await?;
        self.undisturbed(Action::Write(name.clone())).await?;
        let edit = |change| Action::Edit(name.clone(), change);
        match life.late {
            Some(Phase::Edit) => {
                self.killed(life, Phase::Edit, edit(Change::Plan(Plan::Small)), &mut dice).await?
            }
            Some(Phase::Suspend) => {
                self.killed(life, Phase::Suspend, edit(Change::Suspend(true)), &mut dice).await?;
                self.undisturbed(edit(Change::Suspend(false))).await?;
            }
            _ => {}
        }
        let delete = Action::Delete(name.clone());
        match life.late {
            Some(phase @ (Phase::Delete | Phase::Volumes | Phase::Retain)) => {
                self.killed(life, phase, delete, &mut dice).await?;
            }
            _ => self.undisturbed(delete).await?,
        }
        if life.late == Some(Phase::Remove) {
            self.killed(life, Phase::Remove, Action::Remove(name.clone()), &mut dice).await?;
        } else if keep {
            self.undisturbed(Action::Remove(name)).await?;
        }
        self.nothing_is_left().await
    }

    async fn nothing_is_left(&mut self) -> Result<()> {
        ensure!(self.world.is_empty(), "the world is not empty");
        let open: Vec<String> = snapshot::intervals(&self.api().await?)
            .await?
            .iter()
            .filter(|i| i.end.is_none())
            .map(super::usage::show)
            .collect();
        if !open.is_empty() {
            bail!("still billed: {}", open.join("; "));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_component_meets_every_moment() {
        let lives = lives();
        for component in Component::ALL {
            let of = lives.iter().filter(|l| l.component == component);
            let met: BTreeSet<Phase> = of.flat_map(|l| [Some(l.early), l.late]).flatten().collect();
            for phase in
                [Phase::Applied, Phase::Finalized, Phase::Reserved, Phase::Ready, Phase::Edit, Phase::Suspend]
            {
                assert!(met.contains(&phase), "{component:?} {phase}");
            }
            for phase in [Phase::Delete, Phase::Volumes, Phase::Retain, Phase::Remove] {
                assert!(met.contains(&phase), "{component:?} {phase}");
            }
            assert!((1..=10).all(|number| met.contains(&Phase::Child(number))), "{component:?}");
        }
        let names: BTreeSet<String> = lives.iter().map(Life::name).collect();
        assert_eq!(names.len(), lives.len());
    }
}

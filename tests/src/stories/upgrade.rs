//! From the previous landing to this one, back, and forth again, with live orders.

use super::meanwhile::Clients;
use super::{DISPOSABLE, HOME, advised, documents, postgres};
use crate::clients::{self, Binding};
use crate::kubectl::{Kubectl, condition, expect_condition};
use crate::platform::{self, Api, Landing, SYSTEM, gone, ready, uid};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The orders that live through it: kind, name and binding.
pub(super) const DEEDS: (&str, &str, &str) = ("pgi", "deeds", "deeds-postgresql");
pub(super) const LETTERS: (&str, &str, &str) = ("dsi", "letters", "letters-mongodb");
pub(super) const ORDERS: [(&str, &str, &str); 2] = [DEEDS, LETTERS];
/// Where their databases are.
const ENGINE: &str = "siyada-t-interior";
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
        before.is_still(&ministry, &before.policies).await?;
        edit(&ministry).await?;
        let edited = Picture::take(&ministry).await?;
        ensure!(before.pods == edited.pods, "the edit restarted something");
        platform::roll_back().await?;
        works(&previous).await?;
        serves(&ministry).await?;
        // Those that this landing brought go with it.
        edited.is_still(&ministry, &before.policies).await?;
        this.install().await?;
        works(&this).await?;
        serves(&ministry).await?;
        edited.is_still(&ministry, &edited.policies).await
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

    /// Fails unless everything is as it was, and these policies are there.
    async fn is_still(&self, ministry: &Kubectl, policies: &BTreeSet<String>) -> Result<()> {
        let now = Self::take(ministry).await?;
        ensure!(self.pods == now.pods, "pods were {:?} and are {:?}", self.pods, now.pods);
        ensure!(self.bindings == now.bindings, "what clients connect with has changed");
        let open = now.intervals.iter().filter(|i| i.get("end").is_none_or(Value::is_null)).count();
        ensure!(open == 4, "compute and storage of two orders must be metered: {:?}", now.intervals);
        for (what, was, is) in [
            ("intervals", &self.intervals, &now.intervals),
            ("reservations", &self.reservations, &now.reservations),
        ] {
            let same = was.len() == is.len() && was.iter().zip(is).all(|(was, is)| agree(was, is));
            ensure!(same, "{what} were {was:?} and are {is:?}");
        }
        ensure!(agree(&self.quota, &now.quota), "the quota was {} and is {}", self.quota, now.quota);
        let lost: Vec<&String> = policies.difference(&now.policies).collect();
        ensure!(lost.is_empty(), "policies are gone: {lost:?}");
        Ok(())
    }
}

/// Whether answers of two versions, whichever is the newer, say the same.
fn agree(one: &Value, other: &Value) -> bool {
    still_says(one, other) || still_says(other, one)
}

/// Whether an answer of a newer version says everything that an older one said. It may say more.
fn still_says(was: &Value, is: &Value) -> bool {
    match (was, is) {
        (Value::Object(was), Value::Object(is)) => {
            was.iter().all(|(key, value)| is.get(key).is_some_and(|newer| still_says(value, newer)))
        }
        (Value::Array(was), Value::Array(is)) => {
            was.len() == is.len() && was.iter().zip(is).all(|(was, is)| still_says(was, is))
        }
        _ => was == is,
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
pub(super) async fn policies() -> Result<BTreeSet<String>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_may_say_more_but_nothing_else() {
        let check =
            |was: Value, is: Value, expect: bool| assert_eq!(still_says(&was, &is), expect, "{was} {is}");
        check(json!({"a": {"b": 1}}), json!({"a": {"b": 1, "c": 2}, "d": 3}), true);
        check(json!({"a": 1}), json!({"a": 2}), false);
        check(json!({"a": 1}), json!({"b": 1}), false);
        check(json!([{"a": 1}]), json!([{"a": 1, "b": 2}]), true);
        check(json!([1]), json!([1, 2]), false);
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

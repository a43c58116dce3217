//! Runs restore drills: looks at what there is, takes the step that is next for each, and remembers what was found until the
//! order's own pass has told it.

use crate::apply::{self, Applied};
use crate::backup::{self, Policy};
use crate::catalogue::Catalogue;
use crate::check::{Valid, check};
use crate::condition::whole_second;
use crate::context::Context;
use crate::drill::{self, Facts, Found, Step, chosen};
use crate::names::{DRILL, DRILL_BACKUP, DRILL_BEGAN, DRILL_SITE, Names, tenant_of};
use crate::object::{ChildKind, Key};
use crate::object_store::{Store, StoreError};
use crate::order::{Kind, Order};
use crate::plan::drill::{Drilled, plan, secrets_of};
use crate::plan::{Fresh, image_of};
use crate::probe::{Read, Target, read};
use crate::reconcile::{Pass, password};
use crate::seen::metadata;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, ListParams};
use serde_json::Value;
use siyada_crds::order::{DrillResult, DrillStatus};
use siyada_model::id::OrderUid;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(15);
/// Reading a restored database may take so long.
const READING: Duration = Duration::from_secs(300);

/// A throw-away cluster, as the API server has it.
struct Throwaway {
    uid: OrderUid,
    names: Names,
    object: Value,
}

impl Throwaway {
    fn annotation(&self, key: &str) -> Option<&str> {
        metadata(&self.object, "annotations", key)
    }

    fn began(&self) -> Option<Timestamp> {
        self.annotation(DRILL_BEGAN)?.parse().ok()
    }

    fn found(&self) -> Found {
        let ready = self.object.pointer("/status/readyInstances").and_then(Value::as_i64).unwrap_or(0);
        Found { began: self.began(), runs: ready > 0, going: crate::deletion::is_going(&self.object) }
    }
}

/// An order with what is known of its drill.
struct Case {
    order: Order,
    valid: Option<Valid>,
    facts: Facts,
}

impl Case {
    fn policy(&self) -> Option<&Policy> {
        self.valid.as_ref().and_then(|valid| valid.backups.policy())
    }
}

/// Runs until the process ends.
pub async fn run(context: Arc<Context>) {
    // Served from the start: else the first failure would be no increase.
    for label in ["proven", "failed"] {
        drop(context.metrics.drills.get_or_create(&[("result", label)]));
    }
    // Another operator may have left some.
    let mut any = true;
    loop {
        tokio::time::sleep(PERIOD).await;
        match round(&context, any).await {
            Ok(left) => any = left,
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "restore drills cannot be looked at; tried again soon"
            ),
        }
    }
}

/// One look at all orders, in memory; the server is asked only where there may be a drill, or one is about to begin. Says
/// whether there may be one afterwards.
async fn round(context: &Context, any: bool) -> Result<bool, Pass> {
    let now = whole_second(Timestamp::now());
    let catalogue = context.catalogue.catalogue();
    let mut found = if any { look(context).await? } else { BTreeMap::new() };
    let mut cases = all_cases(context, &found, &catalogue, now);
    let begins = |case: &Case| matches!(drill::next(&case.facts, now), Step::Begin(_));
    if !any && cases.values().any(begins) {
        found = look(context).await?;
        cases = all_cases(context, &found, &catalogue, now);
    }
    let running = found.len();
    measure(context, &cases, now);
    let (mut due, mut steps) = (Vec::new(), Vec::new());
    for (uid, case) in &cases {
        match drill::next(&case.facts, now) {
            Step::Begin(since) => due.push((since, uid.clone())),
            step => steps.extend(found.remove(uid).map(|throwaway| (Some(case), throwaway, step))),
        }
        if case.facts.known > case.facts.told {
            context.triggers.look_at(case.order.at.clone());
        }
    }
    steps.extend(found.into_values().map(|throwaway| (None, throwaway, Step::Remove)));
    let begun = chosen(due, running, usize::from(context.config.drills_at_once));
    let left = running > 0 || !begun.is_empty();
    let begins = begun.iter().filter_map(|uid| cases.get(uid)).map(|case| begin(context, case, now));
    let goes = steps.iter().map(|(case, throwaway, step)| one(context, *case, throwaway, *step, now));
    let (begun, gone) =
        futures::future::join(futures::future::join_all(begins), futures::future::join_all(goes)).await;
    // One that fails must not keep the others.
    for error in begun.into_iter().chain(gone).filter_map(Result::err) {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "a step of a restore drill failed and is tried again"
        );
    }
    Ok(left)
}

/// The throw-away clusters, by the order's uid. The server itself is asked: no cache decides whether there is one.
async fn look(context: &Context) -> Result<BTreeMap<String, Throwaway>, Pass> {
    let api: Api<DynamicObject> = Api::all_with(context.client.clone(), &ChildKind::Cluster.api_resource());
    let all = api.list(&ListParams::default().labels(DRILL)).await;
    let all = all.map_err(|e| Pass::Look("the clusters of drills", Box::new(e)))?;
    let read = |object: DynamicObject| {
        let uid = object.labels().get(DRILL)?.clone();
        let order: OrderUid = uid.parse().ok()?;
        // In other namespaces somebody else may write what he likes.
        let names = Names::of_drill(&order, &tenant_of(&object.namespace()?)?);
        let own = names.cluster == object.name_any();
        let object = serde_json::to_value(&object).ok()?;
        own.then_some((uid, Throwaway { uid: order, names, object }))
    };
    Ok(all.items.into_iter().filter_map(read).collect())
}

fn all_cases(
    context: &Context,
    found: &BTreeMap<String, Throwaway>,
    catalogue: &Catalogue,
    now: Timestamp,
) -> BTreeMap<String, Case> {
    let orders = context.orders.all().into_iter();
    let concerned = |order: &Order| found.contains_key(order.uid.as_str()) || order.status.backup.is_some();
    orders
        .filter(concerned)
        .map(|order| {
            let uid = order.uid.to_string();
            let case = case(context, order, found.get(&uid), catalogue, now);
            (uid, case)
        })
        .collect()
}

fn case(
    context: &Context,
    order: Order,
    found: Option<&Throwaway>,
    catalogue: &Catalogue,
    now: Timestamp,
) -> Case {
    let valid = check(&order, catalogue, now).ok();
    let time = |text: &str| text.parse::<Timestamp>().ok();
    let began = |told: &DrillStatus| time(&told.last);
    let told = order.status.backup.as_ref();
    let wanted = valid.as_ref().and_then(|valid| valid.backups.policy()?.drill.as_ref());
    let facts = Facts {
        there: order.deletion.is_none(),
        wanted: wanted.filter(|_| !order.spec.suspend).map(|drill| drill.schedule.clone()),
        newest: told.and_then(|backup| time(backup.last.as_deref()?)),
        told: told.and_then(|backup| began(backup.drill.as_ref()?)),
        known: context.memory.lock().drills.get(order.uid.as_str()).and_then(began),
        found: found.map(Throwaway::found),
    };
    Case { order, valid, facts }
}

/// Brings the figures of the offerings up to date.
fn measure(context: &Context, cases: &BTreeMap<String, Case>, now: Timestamp) {
    let mut offerings: BTreeMap<&str, (i64, i64, i64)> = BTreeMap::new();
    for case in cases.values().filter(|case| case.facts.wanted.is_some()) {
        let Some(valid) = &case.valid else { continue };
        let (age, duration, unproven) = offerings.entry(&valid.offering).or_default();
        let told = case.order.status.backup.as_ref().and_then(|backup| backup.drill.as_ref());
        if let (Some(told), Some(began)) = (told, case.facts.told) {
            *age = (*age).max(now.duration_since(began).as_secs());
            *duration = (*duration).max(told.duration_seconds);
        }
        *unproven += i64::from(told.is_none_or(|told| told.result != DrillResult::Proven));
    }
    let metrics = &context.metrics;
    metrics.drill_age_seconds.clear();
    metrics.drill_seconds.clear();
    metrics.unproven.clear();
    for (offering, (age, duration, unproven)) in offerings {
        let label = [("offering", offering.to_owned())];
        metrics.drill_age_seconds.get_or_create(&label).set(age);
        metrics.drill_seconds.get_or_create(&label).set(duration);
        metrics.unproven.get_or_create(&label).set(unproven);
    }
    let known = |uid: &String| cases.contains_key(uid);
    context.memory.lock().drills.retain(|uid, _| known(uid));
}

/// Begins a drill. What an operator that was killed left of an earlier begin is replaced, as there is no cluster that uses it.
async fn begin(context: &Context, case: &Case, now: Timestamp) -> Result<(), Pass> {
    let (Some(valid), Some(policy)) = (&case.valid, case.policy()) else { return Ok(()) };
    let uid = &case.order.uid;
    let seen = context.seen(uid.as_str());
    let cluster = seen.cluster(&Names::of(&case.order, &valid.tenant));
    // In the archive of what runs, and with the image that runs: an order may ask for another major version than it has.
    let archive = backup::archive_of(cluster).to_owned();
    let mut valid = valid.clone();
    if let Some(image) = cluster.and_then(image_of) {
        image.clone_into(&mut valid.image);
    }
    let newest = backup::made(&seen).into_iter().rev().find(|made| made.is_whole() && made.lies_in(&archive));
    let Some((backup, backup_id)) = newest.and_then(|made| Some((made.listed_as, made.backup_id?))) else {
        return Ok(());
    };
    let names = Names::of_drill(uid, &valid.tenant);
    let claims: Api<DynamicObject> = Api::namespaced_with(
        context.client.clone(),
        &names.engine,
        &ChildKind::PersistentVolumeClaim.api_resource(),
    );
    let left = claims.list(&ListParams::default().labels(&format!("{DRILL}={uid}")).limit(1)).await;
    if !left.map_err(|e| Pass::Look("the volume of a drill", Box::new(e)))?.items.is_empty() {
        return Ok(());
    }
    for key in secrets_of(&names) {
        apply::remove(&context.client, &key, None).await?;
    }
    let key = async {
        Store::of(&context.client, &context.config.namespace, &policy.store).await?.let_drill(uid).await
    };
    let key = match key.await {
        Ok(key) => key,
        Err(error) => {
            tracing::warn!(order.uid = %uid, error = %error, "the drill of order {} has no login of the object store yet", case.order.at.name);
            return Ok(());
        }
    };
    let fresh = Fresh {
        owner_password: password(),
        login_password: password(),
        further_seed: password(),
        rotation: None,
        certificate: Some(context.authority.issue(&names.certificate_names(), now)?),
        store_key: Some(key),
    };
    let drilled = Drilled { backup, backup_id, archive, began: now };
    for object in plan(&valid, &names, &drilled, &fresh, &context.platform).unwrap_or_default() {
        match apply::make(&context.client, &object).await? {
            Applied::Done(_) | Applied::Behind => {}
            Applied::Refused(key, why) => {
                let message = format!("the API server refuses {key}: {why}");
                return settle(context, case, (now, &drilled.backup), DrillResult::Failed, message, now);
            }
            Applied::Foreign(key) => {
                let message = format!("{key} exists and is not of this drill");
                return settle(context, case, (now, &drilled.backup), DrillResult::Failed, message, now);
            }
        }
    }
    tracing::info!(order.uid = %uid, "a drill restores backup {} of order {}", drilled.backup, case.order.at.name);
    Ok(())
}

async fn one(
    context: &Context,
    case: Option<&Case>,
    throwaway: &Throwaway,
    step: Step,
    now: Timestamp,
) -> Result<(), Pass> {
    let drilled = (throwaway.began().unwrap_or(now), throwaway.annotation(DRILL_BACKUP).unwrap_or("?"));
    match (step, case) {
        (Step::Remove, _) | (_, None) => remove(context, throwaway, now).await,
        (Step::Check, Some(case)) => {
            let (result, message) = match try_reading(context, case, throwaway).await? {
                Read::NotYet(why) => {
                    tracing::debug!(order.uid = %throwaway.uid, "a drill is not read yet: {why}");
                    return Ok(());
                }
                Read::Well(sentence) => (DrillResult::Proven, sentence),
                Read::Badly(sentence) => (DrillResult::Failed, sentence),
            };
            settle(context, case, drilled, result, message, Timestamp::now())
        }
        (Step::GiveUp, Some(case)) => {
            let phase = throwaway.object.pointer("/status/phase").and_then(Value::as_str);
            let phase = phase.unwrap_or("nothing");
            let message =
                format!("no login within {} h; the engine reports: {phase}", drill::DEADLINE.as_hours());
            settle(context, case, drilled, DrillResult::Failed, message, now)
        }
        (Step::Rest | Step::Begin(_) | Step::Wait, Some(_)) => Ok(()),
    }
}

/// Remembers a result and has the order told. What is not told when this process ends is found again by the next.
fn settle(
    context: &Context,
    case: &Case,
    (began, backup): (Timestamp, &str),
    result: DrillResult,
    message: String,
    now: Timestamp,
) -> Result<(), Pass> {
    let label = if result == DrillResult::Proven { "proven" } else { "failed" };
    context.metrics.drills.get_or_create(&[("result", label)]).inc();
    let told = drill::result(began, backup, result, message, now);
    let (name, seconds, message) = (&case.order.at.name, told.duration_seconds, &told.message);
    match result {
        DrillResult::Proven => {
            tracing::info!(order.uid = %case.order.uid, "backup {backup} of order {name} is proven after {seconds} s: {message}");
        }
        DrillResult::Failed => {
            tracing::warn!(order.uid = %case.order.uid, "the drill of backup {backup} of order {name} failed after {seconds} s: {message}");
        }
    }
    context.memory.lock().drills.insert(case.order.uid.to_string(), told);
    context.triggers.look_at(case.order.at.clone());
    Ok(())
}

/// Logs in with the Secret that nobody was given, and reads.
async fn try_reading(context: &Context, case: &Case, throwaway: &Throwaway) -> Result<Read, Pass> {
    let names = &throwaway.names;
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &names.engine);
    let secret = secrets.get_opt(&names.login_secret(1)).await;
    let secret = secret.map_err(|e| Pass::Look("the login of a drill", Box::new(e)))?;
    let secret = secret.and_then(|secret| serde_json::to_value(&secret).ok());
    let authority = &context.platform.authority_pem;
    // A document store keeps everything in PostgreSQL, and that is what was backed up.
    let target = secret.and_then(|s| Target::from_source(Kind::Postgres, names, &s, authority, false));
    let Some(target) = target else {
        return Ok(Read::NotYet("there is no login"));
    };
    let query = case.policy().and_then(|policy| policy.drill.as_ref()?.check_query.as_deref());
    Ok(read(&target, query, READING).await)
}

/// Removes a drill: first its login of the store, the cluster last, so that a removal that was cut off goes on.
async fn remove(context: &Context, throwaway: &Throwaway, now: Timestamp) -> Result<(), Pass> {
    let (uid, names) = (&throwaway.uid, &throwaway.names);
    if let Err(error) = end_login(context, throwaway).await {
        tracing::warn!(order.uid = %uid, error = %error, "the store's login of drill {} is not ended", names.cluster);
        let late = throwaway.began().is_none_or(|began| now.duration_since(began) >= drill::DEADLINE);
        // A store that is away must not keep what nobody needs for ever; nobody has the login once its Secret is gone.
        if !late {
            return Ok(());
        }
    }
    for key in secrets_of(names) {
        apply::remove(&context.client, &key, None).await?;
    }
    let own = throwaway.object.pointer("/metadata/uid").and_then(Value::as_str);
    let key = |kind| Key::new(kind, &names.engine, &names.cluster);
    apply::remove(&context.client, &key(ChildKind::NetworkPolicy), None).await?;
    apply::remove(&context.client, &key(ChildKind::Cluster), own).await?;
    tracing::info!(order.uid = %uid, "the drill {} is removed", names.cluster);
    Ok(())
}

async fn end_login(context: &Context, throwaway: &Throwaway) -> Result<(), StoreError> {
    let site = throwaway.annotation(DRILL_SITE).unwrap_or_default();
    let sites = context.catalogue.sites.state();
    let site = sites.iter().find(|s| s.name_any() == site);
    let Some(store) = site.and_then(|site| site.spec.object_storage.as_ref()) else {
        return Err(StoreError::Login("the Site of the drill has no object storage any more".to_owned()));
    };
    Store::of(&context.client, &context.config.namespace, store).await?.end_drill(&throwaway.uid).await
}

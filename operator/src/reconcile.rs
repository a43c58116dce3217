//! The way of an order: observe, check, reserve, plan, apply, status.

use crate::apply::{self, Applied};
use crate::backup::{self, Again, Source};
use crate::catalogue::Catalogue;
use crate::check::{Refusal, Valid, check};
use crate::condition::{is_true, kind, reason};
use crate::context::Context;
use crate::ledger::Ledger;
use crate::major::Upgrade;
use crate::names::{Names, binding};
use crate::object::ChildKind;
use crate::object_store::{Store, StoreError};
use crate::order::{Kind, Order, OrderResource, ReadOrder};
use crate::plan::backup::{StoreKey, needs_store_key};
use crate::plan::{Fresh, growth, needs_certificate, plan};
use crate::probe::Target;
use crate::seen::Seen;
use crate::status::{self, Admission, Picture};
use crate::window::{Wait, When};
use crate::{
    credentials, deletion, hold, major, majors, metering, moment, operation, restore, rotate, service_backup,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::runtime::controller::Action;
use siyada_crds::order::{Operation, OperationPhase, Work};
use siyada_model::quantity::{bytes, show_bytes};
use siyada_model::quota::Dimension;
use siyada_model::usage::Meter;
use siyada_model::wire::{Reservation, ReservationRequest, UsageBatch, UsageFact, code};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// A whole pass may take so long.
pub const PASS: Duration = Duration::from_secs(60);
/// A refused order is offered to the ledger again so often: quota may have become free.
const REFUSED_AGAIN: Duration = Duration::from_secs(60);
/// An order that waits for an approval is offered again so often.
const PENDING_AGAIN: Duration = Duration::from_secs(15);
/// An order that waits for a moment to be archived looks so often whether it is.
const ARCHIVED_AGAIN: Duration = Duration::from_secs(5);
/// An operation that only time shows to be over is looked at again so soon.
const SETTLE: Duration = Duration::from_secs(operation::SETTLE.as_secs().unsigned_abs() + 1);
/// An order that waits for a cache or a tenant.
const SOON: Duration = Duration::from_secs(2);
/// Whether backups came in time is looked at so often, from caches.
const HOURLY: Duration = Duration::from_secs(3_600);
/// Certificates and the like are looked at so often, from caches.
const DAILY: Duration = Duration::from_secs(86_400);

/// Why a pass failed: somebody must look, or a later try may do.
#[derive(Debug, thiserror::Error)]
pub enum Pass {
    /// The object cannot be read as an order.
    #[error("failed to read the order")]
    Read(#[from] ReadOrder),
    /// A write failed.
    #[error("failed to write")]
    Write(#[from] apply::Apply),
    /// The ledger failed.
    #[error("failed to use the ledger")]
    Ledger(#[from] Ledger),
    /// No certificate.
    #[error("failed to make a certificate")]
    Certificate(#[from] crate::authority::Authority),
    /// Reading something that no cache holds.
    #[error("failed to look at {0}")]
    Look(&'static str, #[source] Box<kube::Error>),
    /// The pass took too long.
    #[error("failed to finish a pass within {} s", PASS.as_secs())]
    Slow,
}

/// One pass over an order: the same from wherever it starts, any number of times.
///
/// # Errors
/// [`Pass`]; the controller tries again with back-off.
pub async fn reconcile<K: OrderResource>(object: Arc<K>, context: Arc<Context>) -> Result<Action, Pass> {
    let started = std::time::Instant::now();
    let order = Order::of(&*object)?;
    let outcome = match tokio::time::timeout(PASS, pass::<K>(&order, &context)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Pass::Slow),
    };
    context.metrics.pass_seconds.observe(started.elapsed().as_secs_f64());
    let label = if outcome.is_ok() { "ok" } else { "failed" };
    context.metrics.passes.get_or_create(&[("kind", K::KIND.as_str()), ("outcome", label)]).inc();
    if outcome.is_ok() {
        context.backoff.clear(order.uid.as_str());
    }
    outcome
}

async fn pass<K: OrderResource>(order: &Order, context: &Context) -> Result<Action, Pass> {
    if order.deletion.is_some() {
        return deletion::pass::<K>(order, context).await;
    }
    let now = Timestamp::now();
    if !order.finalized {
        apply::finalizer::<K>(&context.client, order, true).await?;
        // Before anything that takes time: a tool that waits must never take a bare order for a finished one.
        if order.status.conditions.is_empty() {
            apply::status::<K>(&context.client, order, &status::received(order, now)).await?;
        }
        // The writes come back as events, with the version that later writes must name.
        return Ok(Action::requeue(SOON));
    }
    protect_namespace(order, context).await?;
    let catalogue = context.catalogue.catalogue();
    let valid = check(order, &catalogue, now);
    let names = names_of(order, valid.as_ref().ok(), context);
    let seen = match &names {
        Some(names) => context.observe(order, names),
        None => Some(Seen::default()),
    };
    let Some(mut seen) = seen else {
        return wait_for_tenant::<K>(order, valid.ok().as_ref(), context, now).await;
    };
    keep_probing(order, names.as_ref(), &seen, context);
    seen.failure = majors::look(names.as_ref(), &seen, context).await;
    let valid = valid.and_then(|valid| as_it_may_be(valid, names.as_ref(), &mut seen, &catalogue, now));
    doubt_logins(order, names.as_ref(), &mut seen, context);
    let stopping = valid.as_ref().ok().zip(names.as_ref()).is_some_and(|(v, names)| stops(v, names, &seen));
    let (admission, mut next) = match &valid {
        Ok(_) if stopping => (Admission::Held, Action::requeue(SOON)),
        Ok(valid) => reserve(valid, context).await,
        Err(refusal) => (Admission::Refused(refusal.clone()), until_its_time(&seen, now)),
    };
    let (mut problem, mut fault) = (None, None);
    if let Some(held) = valid.as_ref().ok().and_then(|valid| Held::of(valid, &admission)) {
        match build(held, &mut seen, context, now).await {
            Ok(Built::Behind) => return Ok(Action::requeue(SOON)),
            Ok(Built::Done(wait)) => {
                let look = after_build(held.0, &seen, context, now).await?.unwrap_or(DAILY);
                let soonest = if stopping { SOON } else { DAILY };
                next = Action::requeue(wait.unwrap_or(DAILY).min(look).min(soonest));
            }
            Ok(Built::Stopped(refusal)) => {
                next = Action::requeue(stopped_again(&refusal));
                problem = Some(refusal);
            }
            // Told first, then tried again: else the order would go on saying what was so before.
            Err(Pass::Write(error)) => {
                problem = Some(not_written(&error));
                fault = Some(error);
            }
            Err(other) => return Err(other),
        }
    }
    let metered = match &valid {
        Ok(valid) if admission == Admission::Held && fault.is_none() => meter(valid, &seen, context).await?,
        _ => is_true(&order.status.conditions, kind::METERING_ACTIVE),
    };
    forget_logins(order, &mut seen, context);
    let valid = valid.ok().zip(names.as_ref()).map(|(valid, names)| hold::as_it_runs(valid, names, &seen));
    let problem =
        problem.or_else(|| seen.major.as_ref().filter(|_| admission == Admission::Held)?.problem.clone());
    let picture = Picture { order, valid: valid.as_ref(), admission, seen: &seen, names, problem, metered };
    let told = status::status(&picture, now);
    tell::<K>(order, valid.as_ref(), &told, context).await?;
    match fault {
        Some(error) => Err(error.into()),
        None if operation::needs_a_look(&told) => Ok(Action::requeue(SETTLE)),
        None => Ok(next),
    }
}

/// When what could not be built is looked at again.
fn stopped_again(refusal: &Refusal) -> Duration {
    if refusal.reason == reason::RESTORE_PENDING { ARCHIVED_AGAIN } else { REFUSED_AGAIN }
}

/// What starts anew has to prove that somebody can log in.
fn doubt_logins(order: &Order, names: Option<&Names>, seen: &mut Seen, context: &Context) {
    if names.is_some_and(|names| major::is_taken_back(seen, names)) {
        context.prober.doubt(order.uid.as_str());
        seen.login = None;
    }
}

/// Nobody logs in to what stands still.
fn forget_logins(order: &Order, seen: &mut Seen, context: &Context) {
    if order.spec.suspend {
        context.prober.forget(order.uid.as_str());
        rotate::forget(context, order.uid.as_str());
        seen.login = None;
    }
}

/// Writes what an order is told, if it says anything new, and tells people what that means.
async fn tell<K: OrderResource>(
    order: &Order,
    valid: Option<&Valid>,
    told: &siyada_crds::OrderStatus,
    context: &Context,
) -> Result<(), Pass> {
    if apply::status::<K>(&context.client, order, told).await? {
        context.turned.notify_one();
        tell_turn::<K>(order, told, context).await;
        tell_operation::<K>(order, told, context).await;
        tell_maintenance::<K>(order, valid, told, context).await;
    }
    Ok(())
}

/// A refused order waits for a change, or for the window in which it may be another.
fn until_its_time(seen: &Seen, now: Timestamp) -> Action {
    hold::wake(seen, now).map_or_else(Action::await_change, Action::requeue)
}

/// The order as it is to be had now: what it asks for may wait for its window, and another major version for a backup.
///
/// # Errors
/// The [`Refusal`] of what it has, when the catalogue has no such thing any more.
pub fn as_it_may_be(
    valid: Valid,
    names: Option<&Names>,
    seen: &mut Seen,
    catalogue: &Catalogue,
    now: Timestamp,
) -> Result<Valid, Refusal> {
    let asked = valid.clone();
    let valid = until_its_window(valid, names, seen, catalogue, now)?;
    match names {
        Some(names) => majors::stage(&asked, valid, names, seen, catalogue, now),
        None => Ok(valid),
    }
}

/// The same without a change of the major version.
fn until_its_window(
    valid: Valid,
    names: Option<&Names>,
    seen: &mut Seen,
    catalogue: &Catalogue,
    now: Timestamp,
) -> Result<Valid, Refusal> {
    // What is in the middle of a change of major version goes on, or back, at once.
    let names = names.filter(|names| !major::is_under_way(seen, names, now));
    let Some(postponed) = names.and_then(|names| hold::own(&valid, names, seen, now)) else {
        return Ok(valid);
    };
    seen.waiting.push(postponed.waiting);
    let [better, other] = postponed.orders;
    check(&better, catalogue, now).or_else(|_| check(&other, catalogue, now))
}

/// What an order is told of a write that failed and is tried again. The cause is the platform's to read, in the log.
fn not_written(error: &apply::Apply) -> Refusal {
    Refusal {
        reason: reason::WRITE_FAILED,
        message: format!(
            "{error}: the cluster or the engine does not take it now; it is tried again by itself"
        ),
    }
}

/// The names of an order's children: from its tenant now, or from where they were made when it is refused.
fn names_of(order: &Order, valid: Option<&Valid>, context: &Context) -> Option<Names> {
    if let Some(valid) = valid {
        return Some(Names::of(order, &valid.tenant));
    }
    if let Some(engine) = &order.status.engine_ref {
        return Some(Names { engine: engine.namespace.clone(), cluster: engine.name.clone() });
    }
    let catalogue = context.catalogue.catalogue();
    let tenant = catalogue.tenant_of(&order.at.namespace)?;
    Some(Names::of(order, &crate::catalogue::tenant_name(tenant).ok()?))
}

async fn wait_for_tenant<K: OrderResource>(
    order: &Order,
    valid: Option<&Valid>,
    context: &Context,
    now: Timestamp,
) -> Result<Action, Pass> {
    // A running order keeps what it was told while the caches fill after a restart.
    if order.status.engine_ref.is_none() {
        let why = Refusal {
            reason: reason::TENANT_NOT_READY,
            message: "the tenant's namespaces are being set up; this takes some seconds".to_owned(),
        };
        let seen = Seen::default();
        let picture = Picture {
            order,
            valid,
            admission: Admission::Waiting(why),
            seen: &seen,
            names: None,
            problem: None,
            metered: false,
        };
        apply::status::<K>(&context.client, order, &status::status(&picture, now)).await?;
    }
    Ok(Action::requeue(SOON))
}

/// Marks the namespace while it holds a protected order; a policy then refuses to delete it.
async fn protect_namespace(order: &Order, context: &Context) -> Result<(), Pass> {
    let namespace = &order.at.namespace;
    let marked = context.memory.lock().protected.get(namespace).copied();
    // The other orders matter only where a mark may have to go, or nothing is known of it.
    let protected = order.deletion.is_none() && order.spec.deletion_protection
        || marked != Some(false) && context.orders.protects(namespace);
    if marked == Some(protected) {
        return Ok(());
    }
    apply::protect_namespace(&context.client, namespace, protected).await?;
    context.memory.lock().protected.insert(namespace.clone(), protected);
    Ok(())
}

/// Keeps logging in with the Secret that clients use, as long as there is one.
fn keep_probing(order: &Order, names: Option<&Names>, seen: &Seen, context: &Context) {
    let secret = seen.get(ChildKind::Secret, &order.at.namespace, &binding(&order.at));
    let (Some(names), Some(secret)) = (names, secret) else { return };
    let runs = seen.engine_runs(names, order.at.kind == Kind::Documents);
    // A database that once worked is tried even when the engine says nothing good of it, by an operator that just began too:
    // else an outage of both would be seen by nobody.
    let stopped = order.spec.suspend || seen.sleeps(names);
    let was_made = operation::was_made(&order.status);
    if stopped || !(runs || was_made || seen.login == Some(Ok(()))) {
        return;
    }
    let target = Target::from_binding(order.at.kind, secret, names.host(&names.rw_service()));
    if let (Some(target), Some(tenant)) = (target, crate::names::tenant_of(&names.engine)) {
        context.prober.watch(order.uid.as_str(), &order.at, &tenant, target);
        let smallest = seen.volumes().iter().map(|v| v.held_bytes).min().unwrap_or(0);
        context.prober.measure(order.uid.as_str(), smallest);
    }
}

/// The request for an order's part of the quota.
pub fn request(valid: &Valid) -> ReservationRequest {
    let order = &valid.order;
    ReservationRequest {
        generation: order.generation,
        tenant: valid.tenant.clone(),
        namespace: order.at.namespace.clone(),
        name: order.at.name.clone(),
        kind: order.at.kind.to_string(),
        plan: valid.plan.clone(),
        requester: order.requester.clone(),
        billing: valid.billing.clone(),
        resources: valid.resources,
        items: valid.items.clone(),
        retained: false,
    }
}

/// A number that changes with a request.
pub fn fingerprint(request: &impl std::fmt::Debug) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{request:?}").hash(&mut hasher);
    hasher.finish()
}

/// Whether an order that asks for no compute has some yet and changes in nothing else that is counted. It is stopped before the
/// ledger is asked, and its part of the quota given back then: a sibling that takes it must not find it in use, and a write
/// that fails leaves something that runs and is held.
pub fn stops(valid: &Valid, names: &Names, seen: &Seen) -> bool {
    let Some(cluster) = seen.cluster(names).filter(|_| valid.order.spec.suspend) else { return false };
    let text = |path: &str| cluster.pointer(path).and_then(serde_json::Value::as_str);
    let same_storage =
        text("/spec/storage/size").and_then(|size| bytes(size).ok()) == Some(valid.storage_bytes);
    let same_count =
        cluster.pointer("/spec/instances").and_then(serde_json::Value::as_i64) == Some(valid.instances);
    !seen.sleeps(names) && same_storage && same_count
}

/// An order whose part of the quota is held. Nothing is built for any other.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a>(&'a Valid);

impl<'a> Held<'a> {
    /// The order, if its admission says so.
    pub fn of(valid: &'a Valid, admission: &Admission) -> Option<Self> {
        (*admission == Admission::Held).then_some(Self(valid))
    }
}

/// What an answer of the ledger means for an order: only a reservation that it holds lets the order be.
pub fn admission(valid: &Valid, answer: &Result<Reservation, Ledger>) -> Admission {
    match answer {
        Ok(_) => Admission::Held,
        Err(Ledger::Refused(problem)) if problem.code == code::APPROVAL_PENDING => {
            Admission::Pending(pending(valid, problem))
        }
        Err(Ledger::Refused(problem)) => {
            Admission::Refused(Refusal { reason: refused_because(problem), message: problem.detail.clone() })
        }
        Err(Ledger::Unavailable(_)) => Admission::Waiting(Refusal {
            reason: reason::LEDGER_UNAVAILABLE,
            message:
                "the ledger does not answer: nothing new is started, what runs runs on; it is tried again \
                      by itself"
                    .to_owned(),
        }),
    }
}

/// Holds the order's part of the quota. The ledger decides; what it has acknowledged is not asked again.
async fn reserve(valid: &Valid, context: &Context) -> (Admission, Action) {
    let request = request(valid);
    let (uid, hash) = (&valid.order.uid, fingerprint(&request));
    if context.memory.lock().held.get(uid.as_str()) == Some(&hash) {
        return (Admission::Held, Action::requeue(DAILY));
    }
    let answer = context.ledger.hold(uid, &request).await;
    let admission = admission(valid, &answer);
    let again = match answer {
        Ok(_) => {
            context.memory.lock().held.insert(uid.to_string(), hash);
            context.figures.touch(valid.tenant.as_str());
            context.backoff.clear(&format!("ledger/{uid}"));
            DAILY
        }
        Err(Ledger::Refused(problem)) if problem.code == code::APPROVAL_PENDING => {
            context.figures.touch(valid.tenant.as_str());
            PENDING_AGAIN
        }
        Err(Ledger::Refused(_)) => REFUSED_AGAIN,
        Err(error @ Ledger::Unavailable(_)) => {
            tracing::warn!(order.uid = %uid, error = %error, "the ledger does not answer; order {} waits", valid.order.at.name);
            context.backoff.failed(&format!("ledger/{uid}")).min(REFUSED_AGAIN)
        }
    };
    (admission, Action::requeue(again))
}

/// What an order is told while somebody has to approve it.
fn pending(valid: &Valid, problem: &siyada_model::wire::Problem) -> Refusal {
    let (tenant, uid) = (&valid.tenant, &valid.order.uid);
    let (above, who) = problem.approval.as_ref().map_or_else(
        || (String::new(), tenant.to_string()),
        |needed| {
            (
                format!(" is above {}/month of tenant {}", needed.above, needed.tenant),
                needed.tenant.to_string(),
            )
        },
    );
    let message = format!(
        "at most {}/month{above}: nothing starts until somebody with the role approver in {who} or above, who did not order \
         it, approves: POST /v1/tenants/{tenant}/approvals/{uid} of the api",
        valid.monthly_maximum
    );
    Refusal { reason: reason::APPROVAL_PENDING, message }
}

/// The condition's reason for a refusal of the ledger.
fn refused_because(problem: &siyada_model::wire::Problem) -> &'static str {
    match problem.code.as_str() {
        code::QUOTA_EXCEEDED => match problem.shortfall.as_ref().map(|s| s.dimension) {
            Some(Dimension::MonthlyCost) => reason::BUDGET_EXCEEDED,
            _ => reason::QUOTA_EXCEEDED,
        },
        code::APPROVAL_REJECTED => reason::APPROVAL_REJECTED,
        code::TENANT_SUSPENDED => reason::TENANT_SUSPENDED,
        code::TENANT_UNKNOWN => reason::TENANT_NOT_READY,
        code::PRICE_UNKNOWN => reason::PRICE_UNKNOWN,
        _ => reason::INVALID,
    }
}

/// What became of an order's plan.
enum Built {
    /// Everything is as planned; so long until time alone changes something.
    Done(Option<Duration>),
    /// The caches do not show yet what an earlier pass wrote: a status made of them would say what is past.
    Behind,
    /// A person must mend this first.
    Stopped(Refusal),
}

/// Plans and applies. What was written counts as seen from then on: the status need not wait for the caches, and is written
/// once instead of twice.
async fn build(
    Held(valid): Held<'_>,
    seen: &mut Seen,
    context: &Context,
    now: Timestamp,
) -> Result<Built, Pass> {
    seen.asked = service_backup::asked(&valid.order, context);
    seen.again = backup_again(valid, seen).filter(|again| again.from <= now);
    seen.further = credentials::further(&valid.order, context);
    seen.source = match restore::source(valid, seen, context) {
        Ok(source) => source,
        Err(refusal) => return Ok(Built::Stopped(refusal)),
    };
    let names = Names::of(&valid.order, &valid.tenant);
    let certificate = if needs_certificate(valid, seen, &context.platform, now) {
        Some(context.authority.issue(&names.certificate_names(), now)?)
    } else {
        None
    };
    let store_key = match store_login(valid, seen, context).await? {
        Login::Behind => return Ok(Built::Behind),
        Login::New(key) => Some(key),
        Login::None => None,
        Login::Refused(refusal) => return Ok(Built::Stopped(refusal)),
    };
    if let Some((policy, source)) = valid.backups.policy().zip(begins(seen, &names))
        && let Err(refusal) = moment::settle(valid, policy, source, context, now).await
    {
        return Ok(Built::Stopped(refusal));
    }
    if let Some(all) = moment::all_of(&valid.order, &names, seen, context).await {
        tracing::info!(order.uid = %valid.order.uid, "order {} takes all of a log that ends before its moment", valid.order.at.name);
        seen.source = Some(all);
    }
    let rotation = rotate::next(valid, &names, seen, context, now);
    let fresh = Fresh {
        owner_password: password(),
        login_password: password(),
        further_seed: password(),
        rotation,
        certificate,
        store_key,
    };
    let mut plan = plan(valid, seen, &fresh, &context.platform);
    if let Some(problem) = plan.problem {
        return Ok(Built::Stopped(problem));
    }
    seen.waiting.extend(hold::hold(valid, &names, seen, &mut plan.objects, now));
    let refused = match apply::objects(&context.client, seen, &plan.objects, &plan.surplus).await? {
        Applied::Done(writes) => {
            for claim in growth(valid, seen) {
                apply::grow(&context.client, &claim, &show_bytes(valid.storage_bytes)).await?;
            }
            context.metrics.child_writes.inc_by(u64::try_from(writes).unwrap_or(0));
            let waits = [rotate::wait(valid, &names, seen, now), hold::wake(seen, now)];
            seen.add(plan.objects);
            return Ok(Built::Done(waits.into_iter().flatten().min()));
        }
        Applied::Behind => return Ok(Built::Behind),
        Applied::Foreign(key) => Refusal {
            reason: reason::NAME_CONFLICT,
            message: format!(
                "{key} exists and is not this order's: it is left alone; rename it or order under another name"
            ),
        },
        Applied::Refused(key, message) => Refusal {
            reason: reason::WRITE_REFUSED,
            message: format!("the API server refuses {key}: {message}"),
        },
    };
    Ok(Built::Stopped(refused))
}

/// What an order is restored from whose engine object is still to be made.
fn begins<'a>(seen: &'a Seen, names: &Names) -> Option<&'a Source> {
    seen.source.as_ref().filter(|_| seen.cluster(names).is_none())
}

/// A login of the object store for an order.
enum Login {
    /// A new one.
    New(StoreKey),
    /// None is needed, or the store gives none now.
    None,
    /// There is one that the caches do not show yet.
    Behind,
    /// The archive that the order begins from cannot be read now.
    Refused(Refusal),
}

/// Asks the store for a login where there is none, and for the right to read what the order is restored from.
async fn store_login(valid: &Valid, seen: &Seen, context: &Context) -> Result<Login, Pass> {
    let names = Names::of(&valid.order, &valid.tenant);
    let begins_restored = begins(seen, &names);
    let new = needs_store_key(valid, seen);
    let Some(policy) = valid.backups.policy().filter(|_| new || begins_restored.is_some()) else {
        return Ok(Login::None);
    };
    if new {
        // A new login ends the others: a cache that is behind must not cut off an instance.
        let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &names.engine);
        let there = secrets.get_opt(&names.store_secret()).await;
        if there.map_err(|e| Pass::Look("the store's Secret", Box::new(e)))?.is_some() {
            return Ok(Login::Behind);
        }
    }
    let uid = &valid.order.uid;
    let asked = async {
        let store = Store::of(&context.client, &context.config.namespace, &policy.store).await?;
        let key = if new { Some(store.set_up(uid).await?) } else { None };
        if let Some(source) = begins_restored {
            store.let_read(uid, &source.bucket).await?;
        }
        Ok::<_, StoreError>(key)
    };
    match asked.await {
        Ok(key) => Ok(key.map_or(Login::None, Login::New)),
        Err(error) => {
            tracing::warn!(order.uid = %uid, error = %error, "order {} has no login of the object store; it is asked again", valid.order.at.name);
            if begins_restored.is_none() {
                return Ok(Login::None);
            }
            let message =
                "the object store does not let the archive be read yet: it is asked again by itself";
            Ok(Login::Refused(Refusal {
                reason: reason::BACKUP_STORE_UNAVAILABLE,
                message: message.to_owned(),
            }))
        }
    }
}

/// Lists backups, tells further logins what became of them, and ends a right that is not needed any more. Says when to look again, if sooner than otherwise.
async fn after_build(
    valid: &Valid,
    seen: &Seen,
    context: &Context,
    now: Timestamp,
) -> Result<Option<Duration>, Pass> {
    service_backup::list(&valid.order, valid, seen, context, now).await?;
    credentials::list(valid, seen, context, now).await?;
    let policy = valid.backups.policy();
    context.prober.archive_within(valid.order.uid.as_str(), policy.and_then(backup::archive_within));
    let Some(policy) = policy else { return Ok(None) };
    majors::empty(valid, policy, &Names::of(&valid.order, &valid.tenant), seen, context, now).await?;
    let uid = &valid.order.uid;
    let known = context.memory.lock().restored.contains(uid.as_str());
    if seen.source.is_some() && seen.login == Some(Ok(())) && !known {
        let ended = async {
            Store::of(&context.client, &context.config.namespace, &policy.store).await?.end_read(uid).await
        };
        match ended.await {
            Ok(()) => drop(context.memory.lock().restored.insert(uid.to_string())),
            Err(error) => {
                tracing::warn!(order.uid = %uid, error = %error, "order {} may still read its origin; it is ended later", valid.order.at.name);
            }
        }
    }
    let changes = seen.major.as_ref().and_then(|stage| stage.upgrade.as_ref()).is_some_and(Upgrade::is_open);
    let wait = if needs_store_key(valid, seen) || changes { REFUSED_AGAIN } else { HOURLY };
    let again = backup_again(valid, seen).map(|again| hold::left(again.from, now));
    Ok(Some(again.unwrap_or(wait).min(wait)))
}

/// The next try of a backup of the schedule that failed. There is none while nothing runs or nothing reaches the store: when that is
/// over its time has come.
fn backup_again(valid: &Valid, seen: &Seen) -> Option<Again> {
    let names = Names::of(&valid.order, &valid.tenant);
    let cluster = seen.cluster(&names).filter(|_| !valid.order.spec.suspend && !seen.sleeps(&names))?;
    // A change of major version makes its own.
    if major::upgrade(seen, &names).is_some_and(|upgrade| upgrade.is_open()) {
        return None;
    }
    let works = matches!(backup::facts(seen, true, Some(cluster)).archiving, Some((true, ..)));
    backup::again(&backup::made(seen)).filter(|_| works && valid.backups.policy().is_some())
}

/// 32 characters that need no escaping anywhere: 190 bits of the operating system's randomness.
pub fn password() -> String {
    use rand::distr::{Alphanumeric, SampleString};
    Alphanumeric.sample_string(&mut rand::rng(), 32)
}

/// Reports what is billed and not acknowledged yet. True when the ledger knows something of this order.
async fn meter(valid: &Valid, seen: &Seen, context: &Context) -> Result<bool, Pass> {
    let uid = valid.order.uid.to_string();
    let open = |m| context.memory.lock().metered.get(&(uid.clone(), m)).is_some_and(Option::is_some);
    let backups = service_backup::bytes(&valid.order.uid, context);
    let facts = metering::facts(valid, seen, backups, open(Meter::COMPUTE));
    match report(context, facts).await {
        Ok(()) => {
            context.backoff.clear(&format!("usage/{uid}"));
            Ok(open(Meter::COMPUTE)
                || open(Meter::STORAGE)
                || is_true(&valid.order.status.conditions, kind::METERING_ACTIVE))
        }
        // Proven state continues: it is reported when the ledger is back.
        Err(Ledger::Unavailable(error)) => {
            tracing::warn!(order.uid = %uid, error, "the ledger does not answer; usage of order {} waits", valid.order.at.name);
            context.triggers_later(&valid.order);
            Ok(is_true(&valid.order.status.conditions, kind::METERING_ACTIVE))
        }
        Err(error) => Err(error.into()),
    }
}

/// Sends facts that the ledger has not acknowledged.
///
/// # Errors
/// [`Ledger`]; nothing is remembered then, and the same facts are sent again.
pub async fn report(context: &Context, facts: Vec<UsageFact>) -> Result<(), Ledger> {
    let news: Vec<UsageFact> = {
        let memory = context.memory.lock();
        let known = |f: &UsageFact| memory.metered.get(&(f.order_uid.to_string(), f.meter)) == Some(&f.level);
        facts.into_iter().filter(|f| !known(f)).collect()
    };
    if news.is_empty() {
        return Ok(());
    }
    let batch = UsageBatch { collector: context.collector.clone(), epoch: context.epoch, facts: news };
    context.ledger.report(&batch).await?;
    for fact in &batch.facts {
        context.figures.touch(fact.tenant.as_str());
    }
    let mut memory = context.memory.lock();
    let levels = batch.facts.iter().filter(|fact| fact.level.is_some());
    memory.confirm(levels.map(|fact| fact.order_uid.to_string()), Timestamp::now());
    for fact in batch.facts {
        memory.metered.insert((fact.order_uid.to_string(), fact.meter), fact.level);
    }
    Ok(())
}

impl Context {
    /// Looks at an order again after a while, without holding a slot.
    pub fn triggers_later(&self, order: &Order) {
        let (triggers, at) = (self.triggers.clone(), order.at.clone());
        let wait = self.backoff.failed(&format!("usage/{}", order.uid));
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            triggers.look_at(at);
        });
    }
}

/// Logs and tells people that an operation began or ended. How an order is made they are told by its turns.
async fn tell_operation<K: OrderResource>(order: &Order, told: &siyada_crds::OrderStatus, context: &Context) {
    let Some(now) = &told.operation else { return };
    let before = order.status.operation.as_ref();
    let same = |before: &Operation| {
        (before.type_, &before.started, before.state) == (now.type_, &now.started, now.state)
    };
    if before.is_some_and(same) || [Work::Create, Work::Restore].contains(&now.type_) {
        return;
    }
    let what = format!("{:?}{:?}", now.type_, now.state);
    tracing::info!(order.uid = %order.uid, order.namespace = order.at.namespace, "{what} of order {}", order.at.name);
    let change = now.change.as_ref().map(|change| format!("{change}: ")).unwrap_or_default();
    let sentence = format!("{change}{}", now.error.as_ref().unwrap_or(&now.message));
    let warning = now.state == OperationPhase::Failed;
    apply::event::<K>(&context.recorder, order, warning, &what, &sentence).await;
}

/// Tells people that something waits for the window, from when on it waits for none, and that it began.
async fn tell_maintenance<K: OrderResource>(
    order: &Order,
    valid: Option<&Valid>,
    told: &siyada_crds::OrderStatus,
    context: &Context,
) {
    let (before, now) = (&order.status.pending_maintenance, &told.pending_maintenance);
    let at = Timestamp::now();
    let may = |since| {
        let wait = Wait { uid: order.uid.as_str(), since, own: false };
        valid.is_some_and(|valid| valid.maintenance.when(wait, at) == When::Now)
    };
    let Some((warning, what, sentence)) = hold::news(before.as_ref(), now.as_ref(), may, at) else {
        return;
    };
    tracing::info!(order.uid = %order.uid, order.namespace = order.at.namespace, "{what} of order {}: {sentence}", order.at.name);
    apply::event::<K>(&context.recorder, order, warning, what, &sentence).await;
}

/// Logs a turn in an order's life, and tells people of those that matter to them: it became ready, it stopped being so,
/// or somebody must act.
async fn tell_turn<K: OrderResource>(order: &Order, told: &siyada_crds::OrderStatus, context: &Context) {
    let find = |all: &[Condition], k: &str| all.iter().find(|c| c.type_ == k).cloned();
    let (before, now) = (&order.status.conditions, &told.conditions);
    let (was, Some(ready)) = (find(before, kind::READY), find(now, kind::READY)) else { return };
    if was.as_ref().is_none_or(|w| (&w.status, &w.reason) != (&ready.status, &ready.reason)) {
        tracing::info!(
            order.uid = %order.uid, order.namespace = order.at.namespace, reason = ready.reason,
            "order {} is {}: {}", order.at.name, if ready.status == "True" { "ready" } else { "not ready" }, ready.message
        );
    }
    let stalled =
        find(now, kind::STALLED).filter(|s| find(before, kind::STALLED).is_none_or(|b| b.reason != s.reason));
    let was_ready = was.is_some_and(|w| w.status == "True");
    let turn = match (stalled, ready.status == "True") {
        (Some(stalled), _) => Some((true, stalled)),
        (None, true) if !was_ready => Some((false, ready)),
        (None, false) if was_ready => Some((ready.reason != reason::SUSPENDED, ready)),
        _ => None,
    };
    if let Some((warning, condition)) = turn {
        apply::event::<K>(&context.recorder, order, warning, &condition.reason, &condition.message).await;
    }
}

//! What an order is told. Pure: from what was decided and seen to conditions with reasons and ways out.

use crate::check::{Refusal, Valid};
use crate::condition::{Say, kind, merge, reason};
use crate::disk::Fullness;
use crate::major::Upgrade;
use crate::names::{self, Names};
use crate::object::ChildKind;
use crate::order::{Kind, Order};
use crate::rotation::{Phase, Rotation, role};
use crate::seen::Seen;
use crate::{backup, drill, hold, operation};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use siyada_crds::OrderStatus;
use siyada_crds::order::{
    BackupStatus, Binding, Cost, DrillStatus, Endpoint, EngineRef, LastOperation, OperationState,
    OperationType, Parameter, PendingMaintenance, UpgradedFrom,
};
use siyada_model::quantity::show_bytes;

/// May the order be?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Its part of the quota is held.
    Held,
    /// No, until somebody changes something.
    Refused(Refusal),
    /// No, until somebody approves it.
    Pending(Refusal),
    /// Not known yet: the reason says what is waited for.
    Waiting(Refusal),
}

/// Everything a status is made of.
#[derive(Clone, Debug)]
pub struct Picture<'a> {
    /// The order.
    pub order: &'a Order,
    /// What it means, when it is valid.
    pub valid: Option<&'a Valid>,
    /// May it be?
    pub admission: Admission,
    /// What was seen of its children.
    pub seen: &'a Seen,
    /// Names of its children, when its tenant is known.
    pub names: Option<Names>,
    /// Something a person must mend.
    pub problem: Option<Refusal>,
    /// Whether the ledger has acknowledged what is billed.
    pub metered: bool,
}

type Verdict = (Option<bool>, &'static str, String);

fn yes(reason: &'static str, message: impl Into<String>) -> Verdict {
    (Some(true), reason, message.into())
}
fn no(reason: &'static str, message: impl Into<String>) -> Verdict {
    (Some(false), reason, message.into())
}
fn say(kind: &'static str, (status, reason, message): Verdict) -> Say {
    Say { kind, status, reason, message }
}

/// The status of an order that is not being deleted.
pub fn status(picture: &Picture<'_>, now: Timestamp) -> OrderStatus {
    let order = picture.order;
    let ready = ready(picture);
    let mut says = vec![
        say(kind::READY, ready.clone()),
        say(kind::ADMITTED, admitted(picture)),
        say(kind::PROVISIONED, provisioned(picture)),
        say(kind::CREDENTIALS_READY, credentials(picture)),
        say(kind::STORAGE_HEALTHY, storage(picture)),
        say(kind::METERING_ACTIVE, metering(picture)),
    ];
    let backup = backup_facts(picture);
    if let (Some(valid), Some(facts)) = (picture.valid, &backup) {
        let health = backup::health(&valid.backups, facts, now);
        says.push(say(kind::BACKUP_HEALTHY, in_between(picture).unwrap_or(health)));
        let told = drilled(picture);
        says.extend(drill::verdict(&valid.backups, told).map(|verdict| say(kind::BACKUP_PROVEN, verdict)));
    }
    let stalled = match &picture.admission {
        Admission::Refused(refusal) => Some(refusal),
        _ => picture.problem.as_ref().filter(|problem| !operation::by_itself(problem)),
    };
    if let Some(refusal) = stalled {
        says.push(say(kind::STALLED, yes(refusal.reason, with_way_back(picture, refusal))));
    } else if let Some(fault) = &picture.problem {
        says.push(say(kind::RECONCILING, yes(fault.reason, fault.message.clone())));
    } else if ready.0 != Some(true) && (ready.1 != reason::SUSPENDED || stays_suspended(picture).is_some()) {
        says.push(say(kind::RECONCILING, yes(ready.1, ready.2.clone())));
    }
    let held = picture.valid.filter(|_| picture.admission == Admission::Held);
    let old = &order.status;
    let turned = last_operation(picture).or_else(|| old.last_operation.clone());
    OrderStatus {
        observed_generation: Some(order.generation),
        phase: Some(phase(&ready, stalled.is_some(), picture).to_owned()),
        conditions: merge(&old.conditions, says, order.generation, now),
        operation: operation::operation(picture, ready.0 == Some(true), turned.as_ref(), now),
        last_operation: turned,
        pending_maintenance: pending(picture),
        binding: held.map(|_| Binding { name: names::binding(&order.at) }).or_else(|| old.binding.clone()),
        endpoints: held.map(|_| endpoints(picture)).unwrap_or_else(|| old.endpoints.clone()),
        version: held.map(|v| version(picture, v)).or_else(|| old.version.clone()),
        upgraded_from: held
            .and(upgrade(picture))
            .and_then(upgraded_from)
            .or_else(|| old.upgraded_from.clone()),
        plan: held.map(|v| v.plan.clone()).or_else(|| old.plan.clone()),
        site: held.map(|v| v.site.clone()).or_else(|| old.site.clone()),
        storage: held.map(|v| show_bytes(v.storage_bytes)).or_else(|| old.storage.clone()),
        instances: held.map(|v| v.instances).or(old.instances),
        parameters: held.map(parameters).unwrap_or_else(|| old.parameters.clone()),
        cost: picture.valid.map(cost).or_else(|| old.cost.clone()),
        backup: picture
            .valid
            .zip(backup)
            .and_then(|(valid, facts)| backup::recoverable(&valid.backups, &facts, old.backup.as_ref(), now))
            .or_else(|| old.backup.clone())
            .map(|told| BackupStatus { drill: drilled(picture).cloned(), ..told }),
        engine_ref: held.and(picture.names.as_ref()).map(engine_ref).or_else(|| old.engine_ref.clone()),
    }
}

/// The change of major version of an order, as it stands from this pass on.
fn upgrade<'a>(picture: &'a Picture<'_>) -> Option<&'a Upgrade> {
    picture.seen.major.as_ref()?.upgrade.as_ref()
}

/// The version whose data there is: another major version only once the data was rewritten.
fn version(picture: &Picture<'_>, valid: &Valid) -> String {
    let open = upgrade(picture).filter(|upgrade| upgrade.is_open());
    open.map_or(&*valid.order.spec.version, Upgrade::version).to_owned()
}

fn upgraded_from(upgrade: &Upgrade) -> Option<UpgradedFrom> {
    let (backup, until) = upgrade.backup.clone().zip(upgrade.begun).filter(|_| upgrade.is_rewritten())?;
    Some(UpgradedFrom { version: upgrade.from.clone(), backup, until: until.to_string() })
}

/// What is said of backups while no database writes into an archive.
fn in_between(picture: &Picture<'_>) -> Option<Verdict> {
    let upgrade = upgrade(picture).filter(|upgrade| upgrade.is_open() && upgrade.is_given())?;
    let message = match upgrade.is_rewritten() {
        true => format!(
            "the first backup of version {} is being made; those of {} are kept",
            upgrade.to, upgrade.from
        ),
        false => format!(
            "the backups of version {} are kept; nothing is written before the database runs",
            upgrade.from
        ),
    };
    Some((None, reason::BACKUP_PENDING, message))
}

/// What waits for the window. Where nothing was planned, what was told before may wait still.
fn pending(picture: &Picture<'_>) -> Option<PendingMaintenance> {
    let waits = picture.valid.and_then(|valid| hold::told(&picture.seen.waiting, &valid.maintenance));
    let planned = picture.admission == Admission::Held && picture.problem.is_none();
    if planned { waits } else { picture.order.status.pending_maintenance.clone().or(waits) }
}

/// The very first status: the order was seen, and nothing is known of it yet.
pub fn received(order: &Order, now: Timestamp) -> OrderStatus {
    let message = "the order was received and is being checked";
    let says = vec![
        say(kind::READY, (None, reason::RECEIVED, message.to_owned())),
        say(kind::RECONCILING, yes(reason::RECEIVED, message)),
    ];
    OrderStatus {
        observed_generation: Some(order.generation),
        phase: Some("Pending".to_owned()),
        conditions: merge(&order.status.conditions, says, order.generation, now),
        ..order.status.clone()
    }
}

/// The status of an order that is being deleted: what is waited for.
pub fn deleting(order: &Order, blocked: Option<Refusal>, now: Timestamp) -> OrderStatus {
    let fate = if order.retains_data() { "its data is kept" } else { "its data is removed" };
    let message = format!("the order is being deleted; {fate}");
    let mut says = vec![say(kind::READY, no(reason::BEING_DELETED, message.clone()))];
    if let Some(blocked) = blocked {
        says.push(say(kind::DELETION_BLOCKED, yes(blocked.reason, blocked.message)));
    }
    says.push(say(kind::RECONCILING, yes(reason::BEING_DELETED, message)));
    OrderStatus {
        observed_generation: Some(order.generation),
        phase: Some("Terminating".to_owned()),
        conditions: merge(&order.status.conditions, says, order.generation, now),
        ..order.status.clone()
    }
}

/// The last drill: of this process, else as the order was told before.
fn drilled<'a>(picture: &'a Picture<'_>) -> Option<&'a DrillStatus> {
    let old = picture.order.status.backup.as_ref().and_then(|backup| backup.drill.as_ref());
    picture.seen.drill.as_ref().or(old)
}

fn admitted(picture: &Picture<'_>) -> Verdict {
    match (&picture.admission, picture.valid) {
        (Admission::Held, Some(valid)) => yes(reason::ADMITTED, valid.price_sentence()),
        (Admission::Held, None) => yes(reason::ADMITTED, ""),
        (Admission::Refused(refusal) | Admission::Pending(refusal), _) => {
            no(refusal.reason, with_way_back(picture, refusal))
        }
        (Admission::Waiting(why), _) => (None, why.reason, why.message.clone()),
    }
}

/// Why an order that should run again does not: nothing is started before its part of the quota is held, and what stood
/// still goes on standing still.
fn stays_suspended<'a>(picture: &'a Picture<'_>) -> Option<&'a Refusal> {
    let sleeps = picture.names.as_ref().is_some_and(|names| picture.seen.sleeps(names));
    match &picture.admission {
        _ if picture.order.spec.suspend || !sleeps => None,
        Admission::Held => None,
        Admission::Refused(why) | Admission::Pending(why) | Admission::Waiting(why) => Some(why),
    }
}

/// A refusal, and for an order that was to be resumed the ways out of it.
fn with_way_back(picture: &Picture<'_>, refusal: &Refusal) -> String {
    let message = &refusal.message;
    match (stays_suspended(picture), &picture.admission) {
        (None, _) => message.clone(),
        (Some(_), Admission::Pending(_)) => format!(
            "{message}; it stays suspended until then: set spec.suspend to true again to take the wish back"
        ),
        (Some(_), _) => format!(
            "{message}; it stays suspended, keeps its data and is tried again by itself: make room, ask for more, or set \
             spec.suspend to true again to take the wish back"
        ),
    }
}

fn exists(picture: &Picture<'_>) -> bool {
    picture.names.as_ref().is_some_and(|names| picture.seen.cluster(names).is_some())
}

fn runs(picture: &Picture<'_>) -> bool {
    let with_gateway = picture.order.at.kind == Kind::Documents;
    picture.names.as_ref().is_some_and(|names| picture.seen.engine_runs(names, with_gateway))
}

fn provisioned(picture: &Picture<'_>) -> Verdict {
    if let Some(problem) = &picture.problem {
        return no(problem.reason, problem.message.clone());
    }
    if !exists(picture) {
        return match &picture.admission {
            Admission::Refused(r) | Admission::Pending(r) | Admission::Waiting(r) => {
                no(r.reason, "nothing was started")
            }
            Admission::Held => no(reason::APPLYING, "the parts are being written"),
        };
    }
    if picture.order.spec.suspend {
        return yes(
            reason::SUSPENDED,
            "compute is stopped, the data is kept; set spec.suspend to false to go on",
        );
    }
    if stays_suspended(picture).is_some() {
        return yes(
            reason::SUSPENDED,
            "compute stays stopped, the data is kept; Admitted says what is missing",
        );
    }
    // Beside a database that runs it is a standby that waits, or a change under way.
    let hindrance = picture.seen.hindrance().map(|why| format!("; {why}")).unwrap_or_default();
    if runs(picture) {
        return yes(reason::RUNNING, format!("the engine reports a running database{hindrance}"));
    }
    let phase = picture.names.as_ref().and_then(|n| picture.seen.engine_phase(n)).unwrap_or("starting");
    no(reason::ENGINE_NOT_READY, format!("the engine reports: {phase}{hindrance}"))
}

fn credentials(picture: &Picture<'_>) -> Verdict {
    let at = &picture.order.at;
    let binding = names::binding(at);
    if picture.seen.get(ChildKind::Secret, &at.namespace, &binding).is_some() {
        if let Some(rotation) = rotation(picture).filter(|r| r.phase != Phase::Steady) {
            return yes(reason::ROTATING, format!("Secret {binding} is accepted; {}", progress(&rotation)));
        }
        yes(reason::BINDING_READY, format!("Secret {binding} holds what a client connects with"))
    } else {
        no(reason::PROVISIONING, format!("Secret {binding} does not exist yet"))
    }
}

/// Where the logins of an order stand.
pub(crate) fn rotation(picture: &Picture<'_>) -> Option<Rotation> {
    picture.seen.cluster(picture.names.as_ref()?).and_then(Rotation::of)
}

/// How far a rotation is, in a sentence.
fn progress(rotation: &Rotation) -> String {
    let (newest, before) = (role(rotation.number), role(rotation.before()));
    match rotation.phase {
        Phase::Steady => {
            format!("login {newest} replaced {before}, which is refused; its sessions were ended")
        }
        Phase::Making => format!("login {newest} is being made and tried"),
        Phase::Switching => format!("login {newest} works and is being put into the binding"),
        Phase::Grace => {
            let until = rotation.until.unwrap_or(rotation.since);
            format!(
                "the binding holds {newest}; {before} is accepted until {until}: read the Secret again before"
            )
        }
        Phase::Closing => {
            format!("the binding holds {newest}; {before} is being refused and its sessions ended")
        }
    }
}

/// The rotation that is under way or was the last.
fn last_operation(picture: &Picture<'_>) -> Option<LastOperation> {
    let rotation = rotation(picture)?;
    let started = rotation.started?.to_string();
    let done = rotation.phase == Phase::Steady;
    let tried = picture.seen.turning.and_then(Result::err);
    let suspended = picture.order.spec.suspend || stays_suspended(picture).is_some();
    let hindered = match suspended {
        true => Some("the order is suspended: it goes on when it is resumed".to_owned()),
        false => tried.map(|why| format!("not yet: {why}; it is tried again by itself")),
    };
    Some(LastOperation {
        type_: OperationType::RotateCredentials,
        state: if done { OperationState::Succeeded } else { OperationState::InProgress },
        progress: progress(&rotation),
        started,
        error: hindered.filter(|_| !done),
    })
}

fn storage(picture: &Picture<'_>) -> Verdict {
    let volumes = picture.seen.volumes();
    let wanted = picture.valid.map(|v| v.storage_bytes);
    let Some(smallest) = volumes.iter().map(|v| v.held_bytes).min().filter(|held| *held > 0) else {
        return no(reason::VOLUME_PENDING, "the volume does not exist yet");
    };
    let size = show_bytes(smallest);
    if let Some(wanted) = wanted.filter(|wanted| smallest < *wanted) {
        let asked = volumes.iter().all(|volume| volume.asked_bytes >= wanted);
        let how = match asked {
            true => "it is growing",
            false => {
                "nobody asked the storage for more yet; if it stays so, the storage class of its site lets no volume grow: ask \
                 the platform"
            }
        };
        return no(reason::RESIZE_PENDING, format!("the volume has {size} of {}: {how}", show_bytes(wanted)));
    }
    match picture.seen.fullness() {
        Fullness::Full => no(
            reason::DISK_FULL,
            format!(
                "the volume of {size} is full, and the database takes no more or has stopped: set spec.storage to more; it \
                 grows while the database is down too, and nothing is lost"
            ),
        ),
        Fullness::NearlyFull => no(
            reason::DISK_NEARLY_FULL,
            format!(
                "80 % or more of {size} is used: set spec.storage to more, which interrupts nothing, or remove data"
            ),
        ),
        Fullness::Roomy => yes(reason::BOUND, format!("{} volume(s) of {size}", volumes.len())),
    }
}

/// What is known of backups, once there is something to back up.
fn backup_facts(picture: &Picture<'_>) -> Option<backup::Facts> {
    let names = picture.names.as_ref()?;
    let cluster = picture.seen.cluster(names)?;
    let login = picture.seen.get(ChildKind::Secret, &names.engine, &names.store_secret()).is_some();
    Some(backup::facts(picture.seen, login, Some(cluster)))
}

fn metering(picture: &Picture<'_>) -> Verdict {
    if picture.metered {
        yes(reason::METERING, "the ledger has acknowledged what is billed")
    } else {
        no(reason::NOT_METERED, "nothing is billed yet")
    }
}

fn ready(picture: &Picture<'_>) -> Verdict {
    if !exists(picture) {
        return match (&picture.admission, &picture.problem) {
            (_, Some(problem)) => no(problem.reason, problem.message.clone()),
            (Admission::Refused(r) | Admission::Pending(r) | Admission::Waiting(r), _) => {
                no(r.reason, r.message.clone())
            }
            (Admission::Held, _) => no(reason::PROVISIONING, "the database is being made"),
        };
    }
    if picture.order.spec.suspend {
        return no(reason::SUSPENDED, "compute is stopped as spec.suspend asks; the data is kept");
    }
    if let Some(why) = stays_suspended(picture) {
        let message = format!("compute stays stopped, the data is kept: {}", why.message);
        return no(reason::SUSPENDED, message);
    }
    if let Some(failed) = picture.problem.as_ref().filter(|why| why.reason == reason::MAJOR_UPGRADE_FAILED) {
        return no(failed.reason, failed.message.clone());
    }
    match &picture.seen.login {
        Some(Ok(())) => {
            yes(reason::LOGIN_SUCCEEDED, "the operator logged in with the bound Secret over verified TLS")
        }
        Some(Err(why)) if runs(picture) => no(reason::LOGIN_FAILED, format!("nobody can log in: {why}")),
        // Another operator logged in before this one began; its own first login confirms or denies it within seconds.
        None if runs(picture) && said_ready(picture.order) => {
            yes(reason::LOGIN_SUCCEEDED, "the operator logged in with the bound Secret over verified TLS")
        }
        _ if runs(picture) => no(reason::VERIFYING, "the database runs; the first login is being tried"),
        _ => {
            let (_, why, message) = provisioned(picture);
            no(why, message)
        }
    }
}

/// Whether the order was told that somebody can log in.
fn said_ready(order: &Order) -> bool {
    let told =
        |c: &Condition| c.type_ == kind::READY && c.status == "True" && c.reason == reason::LOGIN_SUCCEEDED;
    order.status.conditions.iter().any(told)
}

fn phase(ready: &Verdict, stalled: bool, picture: &Picture<'_>) -> &'static str {
    match ready {
        (Some(true), ..) => "Ready",
        (_, reason::SUSPENDED, _) => "Suspended",
        _ if stalled => "Failed",
        _ if exists(picture) => "Provisioning",
        _ => "Pending",
    }
}

fn endpoints(picture: &Picture<'_>) -> Vec<Endpoint> {
    let Some(names) = &picture.names else { return Vec::new() };
    let at = &picture.order.at;
    let service = if at.kind == Kind::Documents { names.gateway() } else { names.rw_service() };
    vec![Endpoint { role: "rw".to_owned(), host: names.host(&service), port: at.kind.port() }]
}

fn parameters(valid: &Valid) -> Vec<Parameter> {
    let one = |(name, value): (&String, &String)| Parameter { name: name.clone(), value: value.clone() };
    valid.parameters.iter().map(one).collect()
}

fn cost(valid: &Valid) -> Cost {
    Cost {
        currency: valid.monthly_maximum.currency.to_string(),
        maximum_monthly: valid.monthly_maximum.decimal(),
        price_list: valid.price_list.to_string(),
    }
}

fn engine_ref(names: &Names) -> EngineRef {
    EngineRef { namespace: names.engine.clone(), name: names.cluster.clone() }
}

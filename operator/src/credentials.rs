//! Further logins, the part that looks: which there are of an order, whether they work, and what their objects are told.

use crate::apply;
use crate::check::Valid;
use crate::condition::{Say, kind, merge, reason};
use crate::context::Context;
use crate::credential::{Wanted, accepted, binding, is_over, slots, source};
use crate::names::{CREDENTIAL_FINALIZER, Names};
use crate::object::ChildKind;
use crate::order::{Kind, Order};
use crate::probe::{Outcome, Target};
use crate::reconcile::Pass;
use crate::seen::Seen;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use siyada_crds::credential::CredentialRole;
use siyada_crds::order::Binding;
use siyada_crds::{ServiceCredential, ServiceCredentialStatus};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The sessions of a login that ends are waited for so long: then it goes all the same, and its role is dropped.
const LONGEST_END: SignedDuration = SignedDuration::from_secs(300);
/// Between two looks, in memory, at credentials whose orders look at nothing.
const AGAIN: Duration = Duration::from_secs(15);

type Verdict = (Option<bool>, &'static str, String);

fn is_of(credential: &ServiceCredential, order: &Order) -> bool {
    credential.namespace().as_deref() == Some(&order.at.namespace)
        && credential.spec.instance.name == order.at.name
        && Kind::from(credential.spec.instance.kind) == order.at.kind
}

fn is_finalized(credential: &ServiceCredential) -> bool {
    credential.finalizers().iter().any(|f| f == CREDENTIAL_FINALIZER)
}

/// The credentials of an order, oldest first.
fn of(order: &Order, context: &Context) -> Vec<Arc<ServiceCredential>> {
    let mut all = context.orders.credentials.state();
    all.retain(|credential| is_of(credential, order));
    all.sort_by_key(|c| (c.creation_timestamp().map(|t| t.0), c.uid()));
    all
}

/// What the plan is told of. One without our finalizer could go without its login.
pub fn further(order: &Order, context: &Context) -> Vec<Wanted> {
    let wanted = |credential: &Arc<ServiceCredential>| {
        Some(Wanted {
            name: credential.name_any(),
            uid: credential.uid()?,
            reads_only: credential.spec.role == CredentialRole::ReadOnly,
            trigger: credential.spec.rotation_trigger.clone().unwrap_or_default(),
            ends: credential.metadata.deletion_timestamp.is_some(),
        })
    };
    if order.at.kind == Kind::Documents {
        return Vec::new();
    }
    of(order, context).iter().filter(|c| is_finalized(c)).filter_map(wanted).collect()
}

/// Tries every login, and tells each credential of an order what became of it.
///
/// # Errors
/// [`Pass`]; what was told stays told.
pub async fn list(valid: &Valid, seen: &Seen, context: &Context, now: Timestamp) -> Result<(), Pass> {
    let (order, names) = (&valid.order, Names::of(&valid.order, &valid.tenant));
    let mut tried = BTreeSet::new();
    for credential in of(order, context) {
        if !is_finalized(&credential) {
            if credential.metadata.deletion_timestamp.is_none() {
                apply::credentials::finalizer(&context.client, &credential, true).await?;
            }
            continue;
        }
        let found = seen.further.iter().find(|w| Some(&w.uid) == credential.uid().as_ref());
        if found.is_none() && credential.metadata.deletion_timestamp.is_some() {
            apply::credentials::finalizer(&context.client, &credential, false).await?;
            continue;
        }
        let outcome = found.and_then(|wanted| try_login(valid, &names, wanted, seen, context, &mut tried));
        match found.filter(|wanted| wanted.ends) {
            None => {
                let verdict = judge(valid, &names, found, seen, outcome);
                tell(&credential, verdict, context, now).await?;
            }
            Some(wanted) if has_ended(&names, wanted, seen, outcome) || is_late(&credential, now) => {
                apply::credentials::finalizer(&context.client, &credential, false).await?;
            }
            Some(_) => {
                let message = "its sessions are being ended, and its password is refused".to_owned();
                tell(&credential, (Some(false), reason::BEING_DELETED, message), context, now).await?;
            }
        }
    }
    let uid = order.uid.as_str();
    context.further.keep_only(|login| crate::rotate::order_of(login) != Some(uid) || tried.contains(login));
    Ok(())
}

/// Nobody is let in as a login that ends: the engine never was told of it, nothing runs, or the operator came in with a
/// password that nobody was given and saw no session but its own.
fn has_ended(names: &Names, wanted: &Wanted, seen: &Seen, outcome: Option<Outcome>) -> bool {
    is_over(seen, names, &wanted.uid) || seen.sleeps(names) || outcome == Some(Ok(()))
}

fn is_late(credential: &ServiceCredential, now: Timestamp) -> bool {
    let since = credential.metadata.deletion_timestamp.as_ref();
    since.is_some_and(|since| now.duration_since(since.0) > LONGEST_END)
}

/// What the last login found. Only a password that the engine was told of is tried.
fn try_login(
    valid: &Valid,
    names: &Names,
    wanted: &Wanted,
    seen: &Seen,
    context: &Context,
    tried: &mut BTreeSet<String>,
) -> Option<Outcome> {
    let order = &valid.order;
    let slot = *slots(seen, names).get(&wanted.uid)?;
    let secret = source(names, slot, wanted);
    let stopped = order.spec.suspend || seen.sleeps(names);
    if stopped || !seen.engine_runs(names, false) || accepted(seen, names, slot) != Some(secret.as_str()) {
        return None;
    }
    let source = seen.get(ChildKind::Secret, &names.engine, &secret)?;
    let authority = &context.platform.authority_pem;
    let target = Target::from_source(Kind::Postgres, names, source, authority, wanted.ends)?;
    let login = format!("{}/{}", order.uid, target.digest());
    context.further.watch(&login, &order.at, &valid.tenant, target);
    let outcome = context.further.outcome(&login);
    tried.insert(login);
    outcome
}

/// Whether somebody can log in.
fn judge(
    valid: &Valid,
    names: &Names,
    found: Option<&Wanted>,
    seen: &Seen,
    outcome: Option<Outcome>,
) -> Verdict {
    let no = |reason, message: &str| (Some(false), reason, message.to_owned());
    if valid.order.at.kind == Kind::Documents {
        return no(reason::CREDENTIAL_NOT_OFFERED, DOCUMENTS);
    }
    let Some(wanted) = found else {
        return (None, reason::PROVISIONING, "the login is being made".to_owned());
    };
    if !slots(seen, names).contains_key(&wanted.uid) {
        let message = format!(
            "an instance has at most {} further logins: delete one that nobody uses",
            crate::credential::MOST
        );
        return (Some(false), reason::CREDENTIAL_NOT_OFFERED, message);
    }
    if valid.order.spec.suspend {
        return no(reason::SUSPENDED, "the instance is suspended: set its spec.suspend to false to go on");
    }
    let bound = seen.get(ChildKind::Secret, &valid.order.at.namespace, &binding(&wanted.name)).is_some();
    match outcome {
        Some(Ok(())) if bound => {
            (Some(true), reason::LOGIN_SUCCEEDED, "the operator logged in over verified TLS".to_owned())
        }
        Some(Err(why)) => (Some(false), reason::LOGIN_FAILED, format!("nobody can log in: {why}")),
        _ => (None, reason::PROVISIONING, "the login is being made and tried".to_owned()),
    }
}

/// Why a document store has none.
const DOCUMENTS: &str = "a document store has one login, which spec.rotationTrigger of its order replaces: its gateway keeps its \
                         connections by password and cannot end one login alone, nor keep one from writing";

async fn tell(
    credential: &ServiceCredential,
    (status, reason, message): Verdict,
    context: &Context,
    now: Timestamp,
) -> Result<(), Pass> {
    let old = credential.status.clone().unwrap_or_default();
    let generation = credential.metadata.generation.unwrap_or(1);
    let offered = reason != reason::CREDENTIAL_NOT_OFFERED && reason != reason::INSTANCE_UNKNOWN;
    let told = ServiceCredentialStatus {
        observed_generation: Some(generation),
        binding: offered.then(|| Binding { name: binding(&credential.name_any()) }),
        conditions: merge(
            &old.conditions,
            vec![Say { kind: kind::READY, status, reason, message }],
            generation,
            now,
        ),
    };
    if told != old {
        let (namespace, name) = (credential.namespace().unwrap_or_default(), credential.name_any());
        let of = (namespace.as_str(), name.as_str(), credential.metadata.uid.as_deref());
        apply::listings::status::<ServiceCredential>(&context.client, of, &told).await?;
    }
    Ok(())
}

/// Runs until it is dropped: lets go those whose order lets nobody in any more, and tells those without an order so.
pub async fn run(context: Arc<Context>) {
    loop {
        tokio::time::sleep(AGAIN).await;
        let orders = context.orders.all();
        for credential in context.orders.credentials.state() {
            if let Err(error) = without_order(&credential, &orders, &context).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "credential {} is looked at again",
                    credential.name_any()
                );
            }
        }
    }
}

async fn without_order(
    credential: &ServiceCredential,
    orders: &[Order],
    context: &Context,
) -> Result<(), Pass> {
    let now = Timestamp::now();
    let order = orders.iter().find(|order| is_of(credential, order));
    let lives = order.is_some_and(|order| order.deletion.is_none());
    if credential.metadata.deletion_timestamp.is_some() {
        if is_finalized(credential) && (!lives || is_late(credential, now)) {
            apply::credentials::finalizer(&context.client, credential, false).await?;
        }
        return Ok(());
    }
    if lives {
        return Ok(());
    }
    let (kind, name) = (Kind::from(credential.spec.instance.kind), &credential.spec.instance.name);
    let message = format!("there is no {kind} {name} here: order it, or delete this credential");
    tell(credential, (Some(false), reason::INSTANCE_UNKNOWN, message), context, now).await
}

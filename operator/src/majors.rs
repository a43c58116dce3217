//! Changes of the major version: the part that looks at what no cache holds, and empties archives whose days are over.

use crate::apply;
use crate::backup::{self, Policy};
use crate::catalogue::Catalogue;
use crate::check::{Refusal, Valid, check};
use crate::context::Context;
use crate::major::{self, Facts, Failure};
use crate::names::Names;
use crate::object_store::Store;
use crate::order::Order;
use crate::reconcile::Pass;
use crate::seen::Seen;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;

/// Longest log that is read: the engine's program writes some kilobytes.
const LONGEST_LOG: usize = 1024 * 1024;

/// How the job that rewrites an instance's data failed, where it did and nobody knows yet how far it came. A log that cannot be read
/// is asked for again by the next pass.
pub async fn look(names: Option<&Names>, seen: &Seen, context: &Context) -> Option<Failure> {
    let names = names?;
    let (pod, job) = major::unread(seen, names)?;
    let whole = LogParams { limit_bytes: i64::try_from(LONGEST_LOG).ok(), ..LogParams::default() };
    // One that is cut off does not say how far it came.
    let log = log_of(names, &pod, &whole, context).await.filter(|log| log.len() < LONGEST_LOG);
    let failure = major::failure(&job, &pod, log.as_deref());
    tracing::warn!("job {job} in {} failed: {failure:?}", names.engine);
    Some(failure)
}

/// The log of a pod of the engine, or a part of it; nothing where it cannot be read.
pub async fn log_of(names: &Names, pod: &str, part: &LogParams, context: &Context) -> Option<String> {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &names.engine);
    let unread = |error: &kube::Error| {
        tracing::warn!(error = %error, "the log of pod {pod} in {} cannot be read", names.engine);
    };
    pods.logs(pod, part).await.inspect_err(unread).ok()
}

/// The order as it is to be had now: another major version comes only when its backup is whole, and one that cannot be taken back
/// stays. `asked` is what the order asks for, `valid` is that or, while its own change waits for a window, what it has. Notes in
/// `seen` what follows. Pure.
///
/// # Errors
/// The [`Refusal`] of the version that is to run, when the catalogue has no such thing any more.
pub fn stage(
    asked: &Valid,
    valid: Valid,
    names: &Names,
    seen: &mut Seen,
    catalogue: &Catalogue,
    now: Timestamp,
) -> Result<Valid, Refusal> {
    let may_begin = !seen.waiting.iter().any(|waiting| waiting.own);
    let Some(facts) = Facts::of(asked, names, seen, may_begin) else { return Ok(valid) };
    let stage = major::next(&facts, now);
    let version = stage.version.clone();
    let concerned = stage.upgrade.is_some() || stage.problem.is_some();
    seen.major = concerned.then_some(stage);
    let Some(version) = version.filter(|version| *version != valid.order.spec.version) else {
        return Ok(valid);
    };
    let mut order: Order = valid.order.clone();
    order.spec.version.clone_from(&version);
    // It was asked whether that may be when it was begun.
    order.status.version = Some(version);
    let mut valid = check(&order, catalogue, now)?;
    valid.order.status = asked.order.status.clone();
    Ok(valid)
}

/// Empties the archives of versions that ended, when their days are over; the engine's objects of their backups go last, and say
/// until then that there is something.
///
/// # Errors
/// [`Pass`]; the next pass goes on.
pub async fn empty(
    valid: &Valid,
    policy: &Policy,
    names: &Names,
    seen: &Seen,
    context: &Context,
    now: Timestamp,
) -> Result<(), Pass> {
    let Some(upgrade) = major::upgrade(seen, names) else { return Ok(()) };
    let uid = &valid.order.uid;
    for past in major::expired(&upgrade, policy, &backup::made(seen), now) {
        let emptied = async {
            let store = Store::of(&context.client, &context.config.namespace, &policy.store).await?;
            store.empty_archive(uid, &past.archive).await
        };
        match emptied.await {
            Ok(true) => {
                for (key, uid) in major::backups_in(seen, &past.archive) {
                    apply::remove(&context.client, key, uid).await?;
                }
                tracing::info!(order.uid = %uid, "archive {} of order {} is over and was removed", past.archive, valid.order.at.name);
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(order.uid = %uid, error = %error, "archive {} of order {} is not removed yet", past.archive, valid.order.at.name);
            }
        }
    }
    Ok(())
}

//! Too many deletions of data at once are stopped until somebody of the platform confirms them.
//!
//! What was let through is noted in a ConfigMap of the platform before anything is removed, and read from the API server each
//! time: neither a restart nor a second operator counts anew.

use crate::apply;
use crate::condition::whole_second;
use crate::context::Context;
use crate::names::DECIDED_BY;
use crate::reconcile::Pass;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::json;
use siyada_model::act::{ConfirmedDeletions, LONGEST_NAME, MOST_LEFT, PlatformAct, fitting};
use std::collections::BTreeMap;

/// The ConfigMap, in the platform's namespace.
pub const NAME: &str = "siyada-deletions";
/// Annotation on it: a person of the platform repeats the moment of the stop, and deletions go on.
pub const CONFIRM: &str = "siyada.cloud/confirm-deletions";
/// Key of the notes.
const NOTES: &str = "notes";
/// Who confirmed a stop before the policy that stamps it was there.
const NOT_STAMPED: &str = "not recorded";
/// Deletions that lie closer together than this are counted together.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// What was let through, and whether deletions are stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// Uids of orders whose data was let go, with the moment.
    #[serde(default)]
    pub let_through: BTreeMap<String, Timestamp>,
    /// Since when deletions are stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Timestamp>,
}

/// Whether the data of an order may go now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Through,
    /// Deletions are stopped since then.
    Stopped(Timestamp),
}

impl Notes {
    /// Judges one deletion: what the notes are afterwards, and whether it may be. At most `most` go through in a window; a
    /// confirmation is good for one stop, and the count begins anew.
    pub fn judge(
        mut self,
        uid: &str,
        confirmed: Option<&str>,
        most: usize,
        now: Timestamp,
    ) -> (Self, Verdict) {
        let second = whole_second(now);
        self.let_through.retain(|_, at| second.duration_since(*at) < WINDOW);
        if let Some(stopped) = self.stopped {
            if confirmed != Some(stopped.to_string().as_str()) {
                return (self, Verdict::Stopped(stopped));
            }
            self = Self::default();
        }
        if !self.let_through.contains_key(uid) && self.let_through.len() >= most {
            self.stopped = Some(second);
            return (self, Verdict::Stopped(second));
        }
        // One that comes again was not begun the first time: it counts from now.
        self.let_through.insert(uid.to_owned(), second);
        (self, Verdict::Through)
    }
}

/// Reads the notes; true when they cannot be read and must be written anew. They may have said that deletions are stopped.
pub fn read(text: Option<&str>, now: Timestamp) -> (Notes, bool) {
    let second = whole_second(now);
    match text.map(serde_json::from_str) {
        None => (Notes::default(), false),
        Some(Ok(notes)) => (notes, false),
        Some(Err(_)) => (Notes { stopped: Some(second), ..Notes::default() }, true),
    }
}

/// The sentence for what waits.
pub fn sentence(most: u16, since: Timestamp, namespace: &str) -> String {
    format!(
        "more than {most} deletions of data came within ten minutes, so none goes on since {since}: the data is there until the \
         platform confirms (kubectl -n {namespace} annotate configmap {NAME} {CONFIRM}={since} --overwrite)"
    )
}

/// What the audit trail says of a stop that was confirmed.
pub fn confirmed_by(
    notes: &Notes,
    stopped: Timestamp,
    by: Option<&str>,
    cluster: &str,
) -> ConfirmedDeletions {
    let uids = notes.let_through.keys().filter_map(|uid| uid.parse().ok());
    ConfirmedDeletions {
        cluster: cluster.to_owned(),
        by: fitting(by.unwrap_or(NOT_STAMPED), LONGEST_NAME),
        stopped,
        let_through: uids.take(MOST_LEFT).collect(),
    }
}

/// Whether deletions are stopped, for what was counted already: nothing is noted.
///
/// # Errors
/// [`Pass`]; nothing may be removed then.
pub async fn look(context: &Context, now: Timestamp) -> Result<Verdict, Pass> {
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &context.config.namespace);
    let there = api.get_opt(NAME).await.map_err(|e| Pass::Look("the notes of deletions", Box::new(e)))?;
    let text = there.as_ref().and_then(|map| map.data.as_ref()?.get(NOTES));
    let (notes, _) = read(text.map(String::as_str), now);
    let confirmed = there.as_ref().and_then(|map| map.annotations().get(CONFIRM));
    let is_confirmed = |since: &Timestamp| confirmed.is_some_and(|moment| *moment == since.to_string());
    Ok(match notes.stopped {
        Some(since) if !is_confirmed(&since) => Verdict::Stopped(since),
        _ => Verdict::Through,
    })
}

/// Asks whether the data of an order may go now, and notes that it does.
///
/// # Errors
/// [`Pass`]; nothing may be removed then.
pub async fn judge(context: &Context, uid: &str, now: Timestamp) -> Result<Verdict, Pass> {
    let look = |e| Pass::Look("the notes of deletions", Box::new(e));
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &context.config.namespace);
    let there = api.get_opt(NAME).await.map_err(look)?;
    let text = there.as_ref().and_then(|map| map.data.as_ref()?.get(NOTES));
    let (notes, unread) = read(text.map(String::as_str), now);
    let confirmed = there.as_ref().and_then(|map| map.annotations().get(CONFIRM)).map(String::as_str);
    let most = usize::from(context.config.deletions_at_most);
    let (after, verdict) = notes.clone().judge(uid, confirmed, most, now);
    if unread || after != notes {
        let version = there.as_ref().and_then(ResourceExt::resource_version);
        let data = json!({NOTES: serde_json::to_string(&after).unwrap_or_default()});
        if let (Some(stopped), None) = (notes.stopped, after.stopped) {
            // First: what the ledger does not know of does not go on.
            let by = there.as_ref().and_then(|map| map.annotations().get(DECIDED_BY)).map(String::as_str);
            let act = confirmed_by(&notes, stopped, by, &context.collector);
            context.ledger.tell(&PlatformAct::ConfirmDeletions(act)).await?;
        }
        apply::deletions::note(&context.client, &context.config.namespace, (NAME, &data), version).await?;
        match (notes.stopped, after.stopped) {
            (None, Some(_)) => {
                tracing::error!("too many deletions of data: they are stopped until the platform confirms")
            }
            (Some(since), None) => {
                tracing::warn!("deletions of data go on: the stop of {since} was confirmed")
            }
            _ => {}
        }
    }
    context.metrics.deletions_stopped.set(i64::from(after.stopped.is_some()));
    Ok(verdict)
}

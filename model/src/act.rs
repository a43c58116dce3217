//! What people of the platform did on a cluster, as its operator puts it on record in the audit trail.

use crate::id::{OrderUid, TenantName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most objects that are named one by one.
pub const MOST_LEFT: usize = 100;
/// Most finalizers of one object.
pub const MOST_FINALIZERS: usize = 20;
/// Longest name of anything, in characters.
pub const LONGEST_NAME: usize = 253;
/// Longest name of a finalizer, as Kubernetes has it: a domain, a slash and a word.
pub const LONGEST_FINALIZER: usize = 317;
/// Longest text that people write, in characters.
pub const LONGEST_REASON: usize = 500;

/// An object that a forced deletion left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeftObject {
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// What holds it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
}

/// An order was let go although not everything of it had gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForcedDeletion {
    /// The order.
    pub order_uid: OrderUid,
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its tenant, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantName>,
    /// Who forced it, as the API server of the cluster names him.
    pub by: String,
    /// Why, in his words.
    pub reason: String,
    /// When the operator let it go.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// What held it up.
    pub blocked: String,
    /// Whether its data is kept and billed as such; else nothing of it is billed any more.
    pub data_kept: bool,
    /// What was there when it was let go, what holds data first; at most [`MOST_LEFT`].
    pub left: Vec<LeftObject>,
    /// How many more there were.
    #[serde(default)]
    pub more_left: u32,
}

/// Too many deletions of data had been stopped, and go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfirmedDeletions {
    /// Uid of the cluster: the collector's name.
    pub cluster: String,
    /// Who confirmed, as the API server of the cluster names him.
    pub by: String,
    /// When they had been stopped: what was confirmed.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub stopped: Timestamp,
    /// Orders whose data had been let go before the stop, at most [`MOST_LEFT`].
    pub let_through: Vec<OrderUid>,
}

/// What somebody of the platform did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "action")]
pub enum PlatformAct {
    /// A deletion that was blocked was forced.
    #[serde(rename = "order.forceDelete")]
    ForceDelete(ForcedDeletion),
    /// A stop of deletions was confirmed.
    #[serde(rename = "deletions.confirm")]
    ConfirmDeletions(ConfirmedDeletions),
}

/// A text as it can be put on record: without what controls anything, and not longer than that.
pub fn fitting(text: &str, longest: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(longest).collect()
}

impl PlatformAct {
    /// The action of the event.
    pub fn action(&self) -> &'static str {
        match self {
            Self::ForceDelete(_) => "order.forceDelete",
            Self::ConfirmDeletions(_) => "deletions.confirm",
        }
    }

    /// Who did it.
    pub fn by(&self) -> &str {
        match self {
            Self::ForceDelete(act) => &act.by,
            Self::ConfirmDeletions(act) => &act.by,
        }
    }

    /// What it was done to: with the action it names the act, which is on record once.
    pub fn object(&self) -> String {
        match self {
            Self::ForceDelete(act) => format!("order/{}", act.order_uid),
            Self::ConfirmDeletions(act) => format!("deletions/{}/{}", act.cluster, act.stopped),
        }
    }

    /// The tenant it concerns.
    pub fn tenant(&self) -> Option<&TenantName> {
        match self {
            Self::ForceDelete(act) => act.tenant.as_ref(),
            Self::ConfirmDeletions(_) => None,
        }
    }

    /// The detail of the event: everything but what the event says itself, and which operator tells.
    pub fn detail(&self, told_by: &str) -> Value {
        let mut detail = serde_json::to_value(self).unwrap_or_default();
        if let Some(members) = detail.as_object_mut() {
            members.remove("action");
            members.remove("by");
            members.insert("toldBy".to_owned(), told_by.into());
        }
        detail
    }

    /// Whether it can be put on record.
    ///
    /// # Errors
    /// A sentence with the bound that a part is beyond.
    pub fn check(&self) -> Result<(), String> {
        is_name("by", self.by())?;
        match self {
            Self::ForceDelete(act) => act.check(),
            Self::ConfirmDeletions(act) => {
                is_name("cluster", &act.cluster)?;
                at_most("letThrough", act.let_through.len(), MOST_LEFT)
            }
        }
    }
}

impl ForcedDeletion {
    fn check(&self) -> Result<(), String> {
        for (what, text) in [("kind", &self.kind), ("namespace", &self.namespace), ("name", &self.name)] {
            is_name(what, text)?;
        }
        is_text("reason", &self.reason, LONGEST_REASON)?;
        at_most("left", self.left.len(), MOST_LEFT)?;
        for object in &self.left {
            for text in [&object.kind, &object.namespace, &object.name, &object.uid] {
                is_name("a part of left", text)?;
            }
            at_most("finalizers", object.finalizers.len(), MOST_FINALIZERS)?;
            object.finalizers.iter().try_for_each(|name| is_text("a finalizer", name, LONGEST_FINALIZER))?;
        }
        Ok(())
    }
}

fn is_name(what: &str, text: &str) -> Result<(), String> {
    is_text(what, text, LONGEST_NAME)
}

fn is_text(what: &str, text: &str, longest: usize) -> Result<(), String> {
    let length = text.chars().count();
    if (1..=longest).contains(&length) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(format!("{what} has 1 to {longest} characters, and none of them controls anything"))
}

fn at_most(what: &str, count: usize, most: usize) -> Result<(), String> {
    if count <= most { Ok(()) } else { Err(format!("{what} has at most {most} entries")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn forced() -> Value {
        json!({
            "action": "order.forceDelete", "orderUid": "u-1", "kind": "PostgresInstance", "namespace": "interior-apps",
            "name": "registry", "tenant": "interior", "by": "amina", "reason": "the storage driver is gone",
            "at": "2026-11-30T08:00:00Z", "blocked": "Cluster a/b is held", "dataKept": false,
            "left": [{"kind": "Cluster", "namespace": "a", "name": "b", "uid": "c", "finalizers": ["d"]}],
        })
    }

    #[test]
    fn an_act_is_named_by_what_was_done_to_what_and_its_event_repeats_nothing() {
        let act: PlatformAct = serde_json::from_value(forced()).unwrap();
        assert_eq!(
            (act.action(), act.by(), act.object().as_str()),
            ("order.forceDelete", "amina", "order/u-1")
        );
        let detail = act.detail("operator");
        assert_eq!(detail["left"][0]["finalizers"], json!(["d"]));
        assert_eq!(detail["toldBy"], "operator");
        assert!(detail.get("action").is_none() && detail.get("by").is_none(), "{detail}");
        let confirmed = json!({
            "action": "deletions.confirm", "cluster": "c-1", "by": "amina", "stopped": "2026-11-30T08:00:00Z",
            "letThrough": ["u-1"],
        });
        let act: PlatformAct = serde_json::from_value(confirmed).unwrap();
        assert_eq!(act.object(), "deletions/c-1/2026-11-30T08:00:00Z");
        assert_eq!(act.tenant(), None);
    }

    #[test]
    fn a_text_that_was_made_fitting_is_taken() {
        for text in ["a\nb\u{7f}", &"é".repeat(600), "amina"] {
            let mut act = forced();
            act["by"] = json!(fitting(text, LONGEST_NAME));
            act["reason"] = json!(fitting(text, LONGEST_REASON));
            serde_json::from_value::<PlatformAct>(act).unwrap().check().unwrap();
        }
    }

    #[test]
    fn what_is_beyond_a_bound_or_unknown_is_refused() {
        let check = |change: fn(&mut Value), expect: &str| {
            let mut act = forced();
            change(&mut act);
            let read = serde_json::from_value::<PlatformAct>(act).map_err(|cause| cause.to_string());
            match read.and_then(|act| act.check()) {
                Ok(()) => assert_eq!(expect, ""),
                Err(said) => assert!(!expect.is_empty() && said.contains(expect), "{said}"),
            }
        };
        check(|_| {}, "");
        check(|act| act["by"] = json!(""), "by has 1 to 253");
        check(|act| act["reason"] = json!("a\nb"), "reason has 1 to 500");
        check(|act| act["reason"] = json!("a".repeat(501)), "reason has 1 to 500");
        check(|act| act["left"] = vec![act["left"][0].clone(); 101].into(), "left has at most 100");
        check(|act| act["left"][0]["finalizers"] = vec!["a"; 21].into(), "finalizers has at most 20");
        check(|act| act["more"] = json!(1), "unknown field");
        check(|act| act["action"] = json!("order.delete"), "unknown variant");
    }
}

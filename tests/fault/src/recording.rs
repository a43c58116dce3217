//! What the real engine said of a cluster while it was made, stopped, started and grown: the fields that the operator reads,
//! in the order in which they came. `faults record` writes it.

use crate::cluster::text;
use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

/// What stands for the name of the cluster.
const NAME: &str = "NAME";
/// When a condition of the recording turned: the operator reads it of none of them but archiving.
const TURNED: &str = "2026-01-01T00:00:00Z";

/// What the engine does that it tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// It makes a cluster.
    Create,
    /// It stops one and keeps its volume.
    Suspend,
    /// It starts one again.
    Resume,
    /// It takes one to another plan.
    Plan,
    /// It takes one to a larger volume.
    Storage,
}

/// All of them.
pub const ACTS: [Act; 5] = [Act::Create, Act::Suspend, Act::Resume, Act::Plan, Act::Storage];

impl Act {
    /// Its name in the recording.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Plan => "plan",
            Self::Storage => "storage",
        }
    }
}

/// The recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording(Value);

impl Recording {
    /// The one that is committed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read() -> Result<Self> {
        let all = serde_json::from_str(include_str!("../recording.json"));
        all.map(Self).context("failed to read recording.json")
    }

    /// What the engine's own labels on a claim or a service are.
    pub fn owned(&self, what: &str) -> &Value {
        &self.0["owned"][what]
    }

    /// What was said during an act.
    pub fn of(&self, act: Act) -> &[Value] {
        self.0[act.name()].as_array().map(Vec::as_slice).unwrap_or_default()
    }
}

/// What the operator reads of a cluster's status, without what differs between any two clusters.
pub fn reduced(cluster: &Value) -> Value {
    let name = text(cluster, "/metadata/name");
    let status = &cluster["status"];
    let mut fields = Map::new();
    for field in ["phase", "readyInstances"] {
        if let Some(value) = status.get(field).filter(|value| !value.is_null()) {
            fields.insert(field.to_owned(), value.clone());
        }
    }
    let condition = |condition: &Value| {
        let plain = ["type", "status", "reason", "message"].map(|field| {
            let value = condition[field].as_str().unwrap_or_default();
            (
                field.to_owned(),
                json!(if name.is_empty() { value.to_owned() } else { value.replace(&name, NAME) }),
            )
        });
        Value::Object(plain.into_iter().collect())
    };
    let mut conditions: Vec<Value> =
        status["conditions"].as_array().into_iter().flatten().map(condition).collect();
    conditions.sort_by_key(|condition| text(condition, "/type"));
    if !conditions.is_empty() {
        fields.insert("conditions".to_owned(), json!(conditions));
    }
    Value::Object(fields)
}

/// The engine's own labels and annotations on what it made of a cluster.
pub fn own(object: &Value, name: &str) -> Value {
    let of = |field: &str| {
        let all = object.pointer(field).and_then(Value::as_object).into_iter().flatten();
        let engine = all.filter(|(key, _)| key.starts_with("cnpg.io/"));
        let plain = engine
            .map(|(key, value)| (key.clone(), json!(value.as_str().unwrap_or_default().replace(name, NAME))));
        plain.collect::<Map<String, Value>>()
    };
    json!({"labels": of("/metadata/labels"), "annotations": of("/metadata/annotations"), "selector": of("/spec/selector")})
}

/// Recorded labels of a cluster of this name.
pub fn named(labels: &Value, name: &str) -> Map<String, Value> {
    let all = labels.as_object().into_iter().flatten();
    all.map(|(key, value)| (key.clone(), json!(value.as_str().unwrap_or_default().replace(NAME, name))))
        .collect()
}

/// A recorded status as the status of a cluster of this name; what is not in it is taken away.
pub fn played(recorded: &Value, name: &str) -> Value {
    let mut status = recorded.clone();
    for field in ["phase", "readyInstances", "conditions"] {
        if status.get(field).is_none() {
            status[field] = Value::Null;
        }
    }
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        condition["message"] = json!(text(condition, "/message").replace(NAME, name));
        condition["lastTransitionTime"] = json!(TURNED);
    }
    // What the engine's schema or people want beside; the operator reads nothing of it.
    status["instances"] = json!(1);
    status["currentPrimary"] = json!(format!("{name}-1"));
    status["targetPrimary"] = status["currentPrimary"].clone();
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_played_is_what_was_recorded() {
        let recording = Recording::read().unwrap();
        for act in ACTS {
            for said in recording.of(act) {
                let cluster =
                    json!({"metadata": {"name": "db-0123456789"}, "status": played(said, "db-0123456789")});
                assert_eq!(reduced(&cluster), *said, "{}", act.name());
            }
        }
        let ready = |act| recording.of(act).last().and_then(|said| said["readyInstances"].as_i64());
        let claim = &recording.owned("claim")["labels"];
        assert_eq!(claim["cnpg.io/cluster"], NAME, "the operator finds volumes by it: {claim}");
        // What is deleted says nothing more, and a login that is replaced nothing new: nothing is played of them.
        assert_eq!((&recording.0["delete"], &recording.0["rotate"]), (&json!([]), &json!([])));
        assert_eq!(ready(Act::Create), Some(1), "a recording ends where its act does");
        assert_eq!(ready(Act::Suspend).unwrap_or(0), 0);
        assert_eq!(ready(Act::Resume), Some(1));
        assert_eq!(ready(Act::Plan), Some(1));
    }
}

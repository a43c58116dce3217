//! Pods of instances: of each only why it does not run, and in which form it does. Pure.

use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::{Value, json};
use siyada_model::quantity::{bytes, cpu_milli};

/// The engine's label with its cluster, also on pods that carry none of ours.
pub const CLUSTER: &str = "cnpg.io/cluster";
/// The engine's label on pods that prepare an instance and end.
const JOB: &str = "cnpg.io/jobRole";
/// What that label says of one that rewrites the data for another major version.
const REWRITES: &str = "major-upgrade";
/// What that label says of one that restores an archive.
const RESTORES: &str = "full-recovery";
/// The label with the name of a pod's job.
const JOB_NAME: &str = "batch.kubernetes.io/job-name";
/// The engine's container.
const DATABASE: &str = "postgres";
/// With this code the engine's program ends, and does not begin again, when its disk is full.
const NO_SPACE: i64 = 4;
/// Longest text of others that is passed on.
const LONGEST: usize = 240;

/// A pod of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Whether it is a database; else it prepares one, or is a gateway.
    pub database: bool,
    /// Whether it takes clients.
    pub ready: bool,
    /// Whether it is being removed.
    pub ending: bool,
    /// Image of the database.
    pub image: String,
    /// CPU that the database may use, in millicores.
    pub cpu_milli: i64,
    /// Memory that the database may use, in bytes.
    pub memory_bytes: i64,
    /// Whether it ended as its disk was full.
    pub disk_full: bool,
    /// Why it does not run, in a sentence that stays the same while the cause does.
    pub hindrance: Option<String>,
    /// How far it is, for one that rewrites the data for another major version.
    pub rewrites: Option<Rewrites>,
    /// Whether it was to restore an archive, and failed.
    pub recovery_failed: bool,
}

/// A pod that rewrites the data for another major version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrites {
    /// The engine's job.
    pub job: String,
    /// How far it is.
    pub state: Rewriting,
}

/// How far the rewriting of data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rewriting {
    /// It failed.
    Failed,
    /// It has not begun: nothing of the data was touched.
    Pending,
    /// It is over, whether the engine has noticed or not.
    Succeeded,
    /// It runs, or nobody knows.
    Running,
}

/// What is kept of a pod: some hundred bytes, which change when what is told of it changes and not otherwise.
pub fn compact(pod: &DynamicObject) -> Value {
    let (spec, status) = (&pod.data["spec"], &pod.data["status"]);
    let label = |name: &str| pod.labels().get(name);
    let containers = spec["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let main = containers.iter().find(|c| c["name"] == DATABASE).or(containers.first());
    let main = main.unwrap_or(&Value::Null);
    let name = main["name"].as_str().unwrap_or_default();
    let statuses = ["containerStatuses", "initContainerStatuses"].map(|list| status[list].as_array());
    let mut statuses: Vec<&Value> = statuses.into_iter().flatten().flatten().collect();
    statuses.sort_by_key(|s| s["name"] != name);
    let rewrites = label(JOB).is_some_and(|job| job == REWRITES);
    let mut kept = json!({
        "name": pod.name_any(),
        "database": name == DATABASE && label(JOB).is_none(),
        "ready": condition(status, "Ready").is_some_and(|c| c["status"] == "True"),
        "ending": pod.metadata.deletion_timestamp.is_some(),
        "image": main["image"],
        "cpu": main["resources"]["limits"]["cpu"],
        "memory": main["resources"]["limits"]["memory"],
        "diskFull": statuses.first().is_some_and(|s| is_out_of_space(s)),
        "hindrance": hindrance(&pod.name_any(), status, &statuses),
    });
    if label(JOB).is_some_and(|job| job == RESTORES) {
        kept["recoveryFailed"] = json!(status["phase"] == "Failed");
    }
    if rewrites {
        // One whose preparation failed never began.
        let main = statuses.first().filter(|s| s["name"] == name);
        let waits = main.is_some_and(|s| {
            s["state"].get("waiting").is_some() && s["lastState"].get("terminated").is_none()
        });
        let phase = status["phase"].as_str().unwrap_or_default();
        if phase == "Failed" && waits {
            kept["hindrance"] =
                json!(format!("pod {} could not be prepared: ask the platform", pod.name_any()));
        }
        kept["rewrites"] = json!({
            "job": label(JOB_NAME).cloned().unwrap_or_else(|| pod.name_any()),
            "phase": if waits && phase == "Failed" { "Pending" } else { phase },
        });
    }
    kept
}

/// A pod from what was kept of it.
pub fn read(kept: &Value) -> Pod {
    let text = |field: &str| kept[field].as_str().unwrap_or_default();
    let is = |field: &str| kept[field] == true;
    Pod {
        name: text("name").to_owned(),
        database: is("database"),
        ready: is("ready"),
        ending: is("ending"),
        image: text("image").to_owned(),
        cpu_milli: cpu_milli(text("cpu")).unwrap_or(0),
        memory_bytes: bytes(text("memory")).unwrap_or(0),
        disk_full: is("diskFull"),
        hindrance: kept["hindrance"].as_str().map(str::to_owned),
        rewrites: kept["rewrites"]["job"].as_str().map(|job| Rewrites {
            job: job.to_owned(),
            state: match kept["rewrites"]["phase"].as_str() {
                Some("Pending") => Rewriting::Pending,
                Some("Succeeded") => Rewriting::Succeeded,
                Some("Failed") => Rewriting::Failed,
                _ => Rewriting::Running,
            },
        }),
        recovery_failed: is("recoveryFailed"),
    }
}

fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|c| c["type"] == kind)
}

fn is_out_of_space(container: &Value) -> bool {
    let code = |state: &str| container[state]["terminated"]["exitCode"].as_i64();
    let ended_before = container["ready"] != true && code("lastState") == Some(NO_SPACE);
    code("state") == Some(NO_SPACE) || ended_before
}

fn hindrance(name: &str, status: &Value, statuses: &[&Value]) -> Option<String> {
    let unscheduled = condition(status, "PodScheduled").filter(|c| c["status"] == "False");
    if let Some(why) = unscheduled.and_then(|c| c["message"].as_str()) {
        // What would have to be removed to make room is nobody's to know here, and changes by itself.
        let beside = [" no new claims to deallocate", " preemption:"];
        let why = beside.iter().fold(why, |why, more| why.split(more).next().unwrap_or(why));
        let way_out = "it waits for room: choose a smaller plan, or ask the platform";
        return Some(format!("no node takes pod {name} ({}); {way_out}", short(why)));
    }
    let waiting = statuses.iter().find_map(|s| {
        let why = s["state"]["waiting"]["reason"].as_str()?;
        // These are the way of every pod.
        (!["ContainerCreating", "PodInitializing"].contains(&why)).then_some((why, *s))
    });
    let (why, container) = waiting?;
    if is_out_of_space(container) {
        return Some(format!("pod {name} found no space left on its disk"));
    }
    let code = container["lastState"]["terminated"]["exitCode"].as_i64();
    Some(match (why, code) {
        ("CrashLoopBackOff", Some(code)) => {
            format!("pod {name} ends again and again, with exit code {code}: ask the platform")
        }
        _ => format!("pod {name} cannot be started ({}): ask the platform", short(why)),
    })
}

/// One line, not too long.
fn short(text: &str) -> String {
    let line = text.split(['\n', '\r']).next().unwrap_or_default().trim_end_matches(['.', ' ']);
    line.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(labels: Value, containers: Value, status: Value) -> Pod {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "n", "name": "db-1", "labels": labels, "resourceVersion": "7"},
            "spec": {"containers": containers}, "status": status,
        });
        read(&compact(&serde_json::from_value(pod).unwrap()))
    }

    fn database() -> Value {
        json!([{"name": "postgres", "image": "pg:15", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}}])
    }

    #[test]
    fn a_database_that_runs_has_its_form_and_nothing_in_its_way() {
        let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        let found = pod(json!({CLUSTER: "db"}), database(), status);
        let expect = Pod {
            name: "db-1".into(),
            database: true,
            ready: true,
            image: "pg:15".into(),
            cpu_milli: 500,
            memory_bytes: 1 << 30,
            ..Pod::default()
        };
        assert_eq!(found, expect);
    }

    #[test]
    fn what_keeps_a_pod_from_running_is_told_in_words_that_stay() {
        let check = |status: Value, expect: Option<&str>| {
            let found = pod(json!({CLUSTER: "db", JOB: "initdb"}), database(), status);
            assert!(!found.database);
            match expect {
                Some(text) => {
                    assert!(found.hindrance.as_ref().is_some_and(|h| h.contains(text)), "{found:?}")
                }
                None => assert_eq!(found.hindrance, None),
            }
        };
        let full = "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims.";
        let unscheduled = |message: &str| json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": message}]});
        check(
            unscheduled(full),
            Some("no node takes pod db-1 (0/1 nodes are available: 1 Insufficient cpu);"),
        );
        check(unscheduled(&"x".repeat(5_000)), Some("xxx);"));
        let waiting = |reason: &str, code: i64| {
            json!({"containerStatuses": [{"name": "postgres", "state": {"waiting": {"reason": reason}},
                "lastState": {"terminated": {"exitCode": code}}}]})
        };
        check(waiting("ContainerCreating", 0), None);
        check(waiting("ImagePullBackOff", 0), Some("cannot be started (ImagePullBackOff)"));
        check(waiting("CrashLoopBackOff", 137), Some("exit code 137"));
        check(waiting("CrashLoopBackOff", NO_SPACE), Some("no space left on its disk"));
        check(json!({}), None);
    }

    #[test]
    fn a_recovery_that_failed_is_known() {
        let failed = |job: &str, phase: &str| {
            pod(json!({JOB: job}), database(), json!({"phase": phase})).recovery_failed
        };
        assert!(failed(RESTORES, "Failed"));
        assert!(
            !failed(RESTORES, "Running") && !failed(RESTORES, "Succeeded") && !failed(REWRITES, "Failed")
        );
    }

    #[test]
    fn a_full_disk_is_known_while_it_ends_and_forgotten_when_it_runs() {
        let told = |ready: bool, state: Value| {
            let last = json!({"terminated": {"exitCode": NO_SPACE}});
            let status = json!({"containerStatuses": [{"name": "postgres", "ready": ready, "state": state, "lastState": last}]});
            pod(json!({}), database(), status).disk_full
        };
        assert!(told(false, json!({"terminated": {"exitCode": NO_SPACE}})));
        assert!(told(false, json!({"waiting": {"reason": "CrashLoopBackOff"}})));
        assert!(!told(true, json!({"running": {}})));
    }
}

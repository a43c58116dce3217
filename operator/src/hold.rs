//! What would interrupt an instance and was not asked by its order now: it is held back until its window. Pure.
//!
//! What runs carries the form in which it was given last and what its order asked for then. Where the form that is planned
//! differs and the order asks for the same, the platform is the cause, and the form stays as it was.

use crate::check::Valid;
use crate::condition::whole_second;
use crate::names::{GIVEN, Names};
use crate::object::{ChildKind, Planned, is_nothing, is_so};
use crate::order::Order;
use crate::plan::{major, stamp, strip};
use crate::seen::{Seen, metadata};
use crate::window::{Maintenance, Wait, When};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use siyada_crds::order::{Apply, Parameter, PendingMaintenance};
use siyada_model::quantity::{bytes, cpu_milli};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A field, by the names on the way to it.
type Path = &'static [&'static str];

/// What of an engine's `Cluster` interrupts nothing, whatever it becomes. All else is its form: also what a later platform adds.
const QUIET_OF_CLUSTER: &[Path] = &[
    &["instances"],
    &["storage"],
    &["managed"],
    &["backup"],
    &["enablePDB"],
    &["inheritedMetadata"],
    &["bootstrap"],
    &["externalClusters"],
    &["postgresql", "parameters", ARCHIVE_TIMEOUT],
];
/// How soon is archived; the engine reads it anew without a restart.
const ARCHIVE_TIMEOUT: &str = "archive_timeout";
/// What of a gateway's `Deployment` goes through: how many, and which Secrets it has read. A login that ended must be refused.
const QUIET_OF_GATEWAY: &[Path] = &[&["replicas"], &["template", "metadata", "annotations"]];
/// Where the parameters are.
const PARAMETERS: &str = "/postgresql/parameters";

/// What an order asks for that may interrupt it, and what is asked in one breath with it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    version: String,
    plan: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    storage: Option<String>,
    #[serde(default)]
    high_availability: bool,
    #[serde(default)]
    parameters: BTreeMap<String, String>,
}

/// What was written last of an object: what was asked for, and in which form it was given.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Given {
    asked: Asked,
    form: Value,
}

/// Something that waits for the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What, for people.
    pub what: String,
    /// Whether the order itself asks for it, and to wait; else it is the platform's.
    pub own: bool,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub from: Timestamp,
    /// The end of the window that begins before; absent where none is waited for.
    pub until: Option<Timestamp>,
}

impl Waiting {
    fn begin(
        what: String,
        own: bool,
        order: &Order,
        maintenance: &Maintenance,
        now: Timestamp,
    ) -> Option<Self> {
        let told = order.status.pending_maintenance.as_ref().and_then(|told| told.since.parse().ok());
        let since = told.unwrap_or(whole_second(now));
        match maintenance.when(Wait { uid: order.uid.as_str(), since, own }, now) {
            When::Now => None,
            When::Later { from, until } => Some(Self { what, own, since, from, until }),
        }
    }
}

fn map(list: &[Parameter]) -> BTreeMap<String, String> {
    list.iter().map(|p| (p.name.clone(), p.value.clone())).collect()
}

impl Asked {
    fn of(order: &Order) -> Self {
        let spec = &order.spec;
        Self {
            version: spec.version.clone(),
            plan: spec.plan.clone(),
            storage: spec.storage.clone(),
            high_availability: spec.high_availability,
            parameters: map(&spec.parameters),
        }
    }

    /// As the order was told by a platform that wrote no record; what it was not told counts as asked before.
    fn told(order: &Order) -> Self {
        let (now, told) = (Self::of(order), &order.status);
        Self {
            version: told.version.clone().unwrap_or(now.version),
            plan: told.plan.clone().unwrap_or(now.plan),
            storage: told.storage.clone().or(now.storage),
            high_availability: told.instances.map_or(now.high_availability, |count| count > 1),
            parameters: if told.instances.is_some() { map(&told.parameters) } else { now.parameters },
        }
    }

    /// The names of parameters that are another's here.
    fn parameters_that_differ(&self, other: &Self) -> BTreeSet<String> {
        differing(&self.parameters, &other.parameters)
    }

    /// What interrupts an instance on the way from here to there, for people.
    fn steps(&self, to: &Self) -> Vec<String> {
        let step = |what: &str, from: &str, to: &str| (from != to).then(|| format!("{what} {from} to {to}"));
        let parameters: Vec<String> = self.parameters_that_differ(to).into_iter().collect();
        let parameters = (!parameters.is_empty()).then(|| format!("parameters {}", parameters.join(", ")));
        let steps =
            [step("version", &self.version, &to.version), step("plan", &self.plan, &to.plan), parameters];
        steps.into_iter().flatten().collect()
    }

    /// The order as it would be had it not asked for more.
    fn instead_of(&self, order: &Order, all: bool) -> Order {
        let mut order = order.clone();
        let spec = &mut order.spec;
        (spec.version, spec.plan) = (self.version.clone(), self.plan.clone());
        let parameter =
            |(name, value): (&String, &String)| Parameter { name: name.clone(), value: value.clone() };
        spec.parameters = self.parameters.iter().map(parameter).collect();
        // What it has was admitted; the most that it may cost is about what it asks for.
        spec.max_monthly_cost = None;
        if all {
            (spec.storage, spec.high_availability) = (self.storage.clone(), self.high_availability);
        }
        order
    }
}

fn differing<V: PartialEq>(one: &BTreeMap<String, V>, other: &BTreeMap<String, V>) -> BTreeSet<String> {
    one.keys().chain(other.keys()).filter(|name| one.get(*name) != other.get(*name)).cloned().collect()
}

/// An order whose own change waits, as it is to be had until then: with the storage and standbys that it asks for, and without,
/// should they not go with its plan of now.
#[derive(Clone, Debug)]
pub struct Postponed {
    /// Both, the better first.
    pub orders: [Order; 2],
    /// What waits.
    pub waiting: Waiting,
}

/// Whether what an order asks for itself waits for its window, as the order says. Nothing waits where nothing runs.
pub fn own(valid: &Valid, names: &Names, seen: &Seen, now: Timestamp) -> Option<Postponed> {
    let (order, maintenance) = (&valid.order, &valid.maintenance);
    let cluster = running(valid, names, seen).filter(|_| maintenance.apply == Apply::Window)?;
    let given = Given::read(cluster).map_or_else(|| Asked::told(order), |given| given.asked);
    let steps = given.steps(&Asked::of(order));
    if steps.is_empty() {
        return None;
    }
    let waiting = Waiting::begin(steps.join("; "), true, order, maintenance, now)?;
    Some(Postponed { orders: [given.instead_of(order, false), given.instead_of(order, true)], waiting })
}

/// The engine's cluster, where there is something that can be interrupted.
fn running<'a>(valid: &Valid, names: &Names, seen: &'a Seen) -> Option<&'a Value> {
    seen.cluster(names).filter(|_| !valid.order.spec.suspend && !seen.sleeps(names))
}

/// Holds back, in a plan, what would interrupt an instance and was not asked by its order now. What interrupts nothing, and what
/// the order asks for, stays in the plan; where the order asks for something that restarts it anyway, all goes along.
pub fn hold(
    valid: &Valid,
    names: &Names,
    seen: &Seen,
    objects: &mut [Planned],
    now: Timestamp,
) -> Option<Waiting> {
    running(valid, names, seen)?;
    let (mut held, mut what) = (Vec::new(), Vec::new());
    for object in objects {
        let Some((live, wanted)) = seen.children.get(&object.key).zip(Given::read(&object.body)) else {
            continue;
        };
        let kind = object.key.kind;
        let given = Given::read(live).unwrap_or_else(|| wanted.as_found(kind, &valid.order, live));
        if restarts_anyway(kind, &given, &wanted, &object.body, live) {
            continue;
        }
        let form = kept(&given, &wanted);
        if form != wanted.form {
            what.extend(differences(kind, &form, &wanted.form));
            held.push((object, Given { form, ..wanted }));
        }
    }
    if held.is_empty() {
        return None;
    }
    let waiting = Waiting::begin(what.join("; "), false, &valid.order, &valid.maintenance, now)?;
    for (object, given) in held {
        given.put(object);
    }
    Some(waiting)
}

/// The version that an object was given last, as its order asked for it.
pub fn version_given(object: &Value) -> Option<String> {
    Given::read(object).map(|given| given.asked.version)
}

/// Writes into a planned object what its order asks for and its form, by which the next plan is judged.
pub fn record(valid: &Valid, object: &mut Planned) {
    if let Some(form) = form(object.key.kind, &object.body["spec"]) {
        Given { asked: Asked::of(&valid.order), form }.write(&mut object.body);
    }
}

/// What is planned, in the form in which it runs: by that, and by nothing that waits, is judged whether a change is over.
pub fn as_it_runs(mut valid: Valid, names: &Names, seen: &Seen) -> Valid {
    let held = seen.waiting.iter().any(|waiting| !waiting.own);
    let Some(spec) = seen.cluster(names).filter(|_| held).map(|cluster| &cluster["spec"]) else {
        return valid;
    };
    let limit = |name: &str| spec["resources"]["limits"][name].as_str();
    if let Some(image) = spec["imageName"].as_str().filter(|image| major(image) == major(&valid.image)) {
        image.clone_into(&mut valid.image);
    }
    valid.cpu_milli = limit("cpu").and_then(|text| cpu_milli(text).ok()).unwrap_or(valid.cpu_milli);
    valid.memory_bytes = limit("memory").and_then(|text| bytes(text).ok()).unwrap_or(valid.memory_bytes);
    valid
}

/// How long until the first of what waits begins.
pub fn wake(seen: &Seen, now: Timestamp) -> Option<Duration> {
    let first = seen.waiting.iter().map(|waiting| waiting.from).min()?;
    Some(left(first, now))
}

/// How long until a moment is over: a look must not come before it.
pub fn left(until: Timestamp, now: Timestamp) -> Duration {
    Duration::from_secs(until.duration_since(now).as_secs().max(0).unsigned_abs() + 1)
}

/// What an order is told of what waits.
pub fn told(waiting: &[Waiting], maintenance: &Maintenance) -> Option<PendingMaintenance> {
    let first = waiting.iter().min_by_key(|waiting| waiting.from)?;
    let what = waiting.iter().map(|w| if w.own { format!("as ordered: {}", w.what) } else { w.what.clone() });
    Some(PendingMaintenance {
        what: what.collect::<Vec<_>>().join("; "),
        message: sentence(first, maintenance),
        since: first.since.to_string(),
        from: first.from.to_string(),
        until: first.until.map(|until| until.to_string()),
    })
}

/// What is waited for and what comes then.
pub fn sentence(waiting: &Waiting, maintenance: &Maintenance) -> String {
    let from = waiting.from;
    match waiting.until {
        Some(until) => format!(
            "it waits for the maintenance window, {maintenance}: it begins at {from}, or until {until}, and connections end once"
        ),
        None => format!(
            "it is urgent or waited too long, so it waits for no window any more: it begins at {from}, and connections end once"
        ),
    }
}

/// What people are told when that changes: whether it is a warning, in a word and in a sentence. By `may`, the window may have been
/// moved so that what waited for later began at once.
pub fn news(
    before: Option<&PendingMaintenance>,
    now: Option<&PendingMaintenance>,
    may: impl FnOnce(Timestamp) -> bool,
    at: Timestamp,
) -> Option<(bool, &'static str, String)> {
    match (before, now) {
        (before, Some(now)) => {
            let same =
                before.is_some_and(|b| (&b.what, &b.from, &b.until) == (&now.what, &now.from, &now.until));
            let word = if now.until.is_some() { "MaintenancePending" } else { "MaintenanceOutsideWindow" };
            (!same).then(|| (now.until.is_none(), word, format!("{}: {}", now.what, now.message)))
        }
        (Some(before), None) => {
            let moment = |text: &str| text.parse::<Timestamp>().ok();
            let begun =
                moment(&before.from).is_some_and(|from| from <= at) || moment(&before.since).is_some_and(may);
            let (word, how) = match begun {
                true => ("MaintenanceBegan", "it is being done"),
                false => (
                    "MaintenanceOver",
                    "it waits no more: it went along with another change, or is not wanted any more",
                ),
            };
            Some((false, word, format!("{}: {how}", before.what)))
        }
        (None, None) => None,
    }
}

impl Given {
    fn read(object: &Value) -> Option<Self> {
        serde_json::from_str(metadata(object, "annotations", GIVEN)?).ok()
    }

    fn write(&self, body: &mut Value) {
        body["metadata"]["annotations"][GIVEN] = json!(json!(self).to_string());
    }

    /// What was there before anybody wrote a record: of every field that is planned now, the value that it has. A field that left
    /// the plan with the very version that began to write records is not known here.
    fn as_found(&self, kind: ChildKind, order: &Order, live: &Value) -> Self {
        let found = live.get("spec").and_then(|spec| form(kind, spec)).unwrap_or_default();
        Self { asked: Asked::told(order), form: shape(&self.form, &found).unwrap_or_default() }
    }

    /// Puts the form into a planned object. What is no part of a form stays as it is planned.
    fn put(self, object: &mut Planned) {
        let mut spec = self.form.clone();
        for path in quiet(object.key.kind).unwrap_or_default() {
            if let Some(value) = at(&object.body["spec"], path) {
                set(&mut spec, path, value.clone());
            }
        }
        object.body["spec"] = spec;
        self.write(&mut object.body);
        stamp(&mut object.body);
    }
}

fn quiet(kind: ChildKind) -> Option<&'static [Path]> {
    match kind {
        ChildKind::Cluster => Some(QUIET_OF_CLUSTER),
        ChildKind::Deployment => Some(QUIET_OF_GATEWAY),
        _ => None,
    }
}

/// The part of a spec that interrupts an instance when it changes.
fn form(kind: ChildKind, spec: &Value) -> Option<Value> {
    let mut form = spec.clone();
    for path in quiet(kind)? {
        remove(&mut form, path);
    }
    strip(&mut form);
    Some(form)
}

/// Whether what runs is restarted by what its order asks for. Another major version is never the platform's doing.
fn restarts_anyway(kind: ChildKind, given: &Given, wanted: &Given, planned: &Value, live: &Value) -> bool {
    let (was, is) = (&given.asked, &wanted.asked);
    let version = was.version != is.version;
    if kind == ChildKind::Cluster {
        let major = |form: &Value| major(form["imageName"].as_str()?);
        return version || was.plan != is.plan || major(&given.form) != major(&wanted.form);
    }
    let secrets = |object: &Value| object.pointer("/spec/template/metadata/annotations").cloned();
    let (reads, none) = (secrets(live), live.pointer("/spec/replicas").and_then(Value::as_i64) == Some(0));
    let reads_others =
        secrets(planned).is_some_and(|wanted| !reads.is_some_and(|reads| is_so(&wanted, &reads)));
    version || none || reads_others
}

/// The form as it was given, with the parameters that the order asks for otherwise than before.
fn kept(given: &Given, wanted: &Given) -> Value {
    let mut form = given.form.clone();
    for name in given.asked.parameters_that_differ(&wanted.asked) {
        let path = ["postgresql", "parameters", name.as_str()];
        match wanted.form.pointer(PARAMETERS).and_then(|all| all.get(&name)) {
            Some(value) => set(&mut form, &path, value.clone()),
            None => remove(&mut form, &path),
        }
    }
    strip(&mut form);
    form
}

/// What is another in two forms, for people.
fn differences(kind: ChildKind, from: &Value, to: &Value) -> Vec<String> {
    if kind == ChildKind::Deployment {
        return vec!["the gateway".to_owned()];
    }
    let differs = |field: &str| from.get(field) != to.get(field);
    let known =
        [("imageName", "another image"), ("resources", "other CPU and memory"), ("affinity", "other nodes")];
    let mut all: Vec<String> =
        known.iter().filter(|(field, _)| differs(field)).map(|(_, what)| (*what).to_owned()).collect();
    let parameters = |form: &Value| -> BTreeMap<String, Value> {
        let map = form.pointer(PARAMETERS).and_then(Value::as_object).cloned().unwrap_or_default();
        map.into_iter().collect()
    };
    let names: Vec<String> = differing(&parameters(from), &parameters(to)).into_iter().collect();
    if !names.is_empty() {
        all.push(format!("parameters {}", names.join(", ")));
    }
    let rest = |form: &Value| {
        let mut form = form.clone();
        known.iter().for_each(|(field, _)| remove(&mut form, &[*field]));
        remove(&mut form, &["postgresql", "parameters"]);
        strip(&mut form);
        form
    };
    if rest(from) != rest(to) {
        all.push("how its instances run".to_owned());
    }
    all
}

/// Of what is there, the fields that `wanted` has.
fn shape(wanted: &Value, there: &Value) -> Option<Value> {
    let (Value::Object(fields), Value::Object(found)) = (wanted, there) else {
        return Some(if is_so(wanted, there) { wanted.clone() } else { there.clone() });
    };
    let mut kept = Map::new();
    for (name, field) in fields {
        if let Some(value) = found.get(name).and_then(|found| shape(field, found)) {
            kept.insert(name.clone(), value);
        }
    }
    let kept = Value::Object(kept);
    (!is_nothing(&kept)).then_some(kept)
}

fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

fn set(value: &mut Value, path: &[&str], to: Value) {
    let mut place = value;
    for name in path {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[*name];
    }
    *place = to;
}

fn remove(value: &mut Value, path: &[&str]) {
    if let [name] = path {
        if let Some(map) = value.as_object_mut() {
            map.remove(*name);
        }
    } else if let Some((name, rest)) = path.split_first()
        && let Some(inner) = value.get_mut(*name)
    {
        remove(inner, rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(form: Value) -> Given {
        let asked = Asked {
            version: "15".into(),
            plan: "small".into(),
            storage: None,
            high_availability: false,
            parameters: BTreeMap::new(),
        };
        Given { asked, form }
    }

    #[test]
    fn what_is_no_part_of_a_form_is_known_by_its_path_and_all_else_is_the_form() {
        let spec = json!({
            "instances": 2, "imageName": "pg:15", "storage": {"size": "1Gi"}, "backup": {"a": 1}, "stopDelay": 90,
            "postgresql": {"parameters": {"archive_timeout": "150s"}, "pg_hba": ["x"]}, "later": {"field": true},
        });
        let expect = json!({
            "imageName": "pg:15", "stopDelay": 90, "postgresql": {"pg_hba": ["x"]}, "later": {"field": true},
        });
        assert_eq!(form(ChildKind::Cluster, &spec), Some(expect));
        assert_eq!(form(ChildKind::Secret, &spec), None);
    }

    #[test]
    fn another_form_of_a_newer_operator_is_named_and_a_login_that_ended_restarts_a_gateway() {
        let (older, newer) =
            (json!({"stopDelay": 60, "imageName": "pg:15"}), json!({"stopDelay": 90, "imageName": "pg:15"}));
        assert_eq!(differences(ChildKind::Cluster, &older, &newer), ["how its instances run"]);
        let deployment = |secrets: &str| json!({"spec": {"replicas": 1, "template": {"metadata": {"annotations": {"s": secrets}}}}});
        let restarts = |planned: &str| {
            let (same, planned) = (given(older.clone()), deployment(planned));
            restarts_anyway(ChildKind::Deployment, &same, &same, &planned, &deployment("one"))
        };
        assert!(!restarts("one"));
        assert!(restarts("two"));
    }

    #[test]
    fn another_major_version_is_never_the_platforms_doing() {
        let restarts = |from: &str, to: &str| {
            let of = |image: &str| given(json!({"imageName": image}));
            restarts_anyway(ChildKind::Cluster, &of(from), &of(to), &Value::Null, &Value::Null)
        };
        assert!(!restarts("pg:15.1", "pg:15.2"));
        assert!(restarts("pg:15.1", "pg:16.1"));
    }

    #[test]
    fn only_the_parameters_that_the_order_asks_for_otherwise_go_through() {
        let mut wanted = given(json!({"postgresql": {"parameters": {"a": "2", "b": "2", "d": "2"}}}));
        let mut before = given(json!({"postgresql": {"parameters": {"a": "1", "b": "1", "c": "1"}}}));
        wanted.asked.parameters = BTreeMap::from([("a".into(), "2".into())]);
        before.asked.parameters = BTreeMap::from([("a".into(), "1".into()), ("c".into(), "1".into())]);
        let form = kept(&before, &wanted);
        assert_eq!(form, json!({"postgresql": {"parameters": {"a": "2", "b": "1"}}}));
        assert_eq!(differences(ChildKind::Cluster, &form, &wanted.form), ["parameters b, d"]);
    }
}

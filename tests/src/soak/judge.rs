//! What should be, compared with what is. Pure: what is wrong for ever, and what is not so yet.

use super::snapshot::{Object, Snapshot};
use super::usage::{self, Levels};
use super::world::{GIB, Kind, Order, Spec, World};
use super::{ENGINE, HOME};
use crate::kubectl::condition;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use siyada_model::quantity::{MIB, bytes, show_cpu};
use siyada_model::resources::Resources;
use siyada_model::usage::{Interval, Meter};
use std::collections::{BTreeMap, BTreeSet};

/// Stamps of the API server are cut to the second; all clocks are this machine's.
const CUT: SignedDuration = SignedDuration::from_secs(2);

/// The complaints about one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Never acceptable.
    pub wrong: Vec<String>,
    /// Acceptable while things are under way.
    pub waiting: Vec<String>,
}

/// What must be remembered between looks.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Intervals as last reported.
    pub intervals: Vec<Interval>,
    /// What each order's compute has come to, by uid.
    pub levels: BTreeMap<String, Levels>,
    /// Orders that were deleted while they were made: whether they ran is chance.
    pub fleeting: BTreeSet<String>,
    /// When an order was last seen that had never been Ready before.
    pub not_ready: BTreeMap<String, Timestamp>,
    /// Orders that were seen Ready at some time.
    pub was_ready: BTreeSet<String>,
    /// Between which instants the deletion of an order was asked.
    pub deleted: BTreeMap<String, (Timestamp, Timestamp)>,
    /// The database's pod and its restarts, by the order's uid.
    pub pods: BTreeMap<String, (String, i64)>,
    /// When the step under way began.
    pub step: Option<Timestamp>,
    /// Names whose database this step may restart; nothing: all of them.
    pub restarts: Option<BTreeSet<String>>,
    /// Names whose database this step killed: the kubelet tells of it some time after.
    pub killed: BTreeSet<String>,
}

impl Memory {
    /// What each order's compute should come to in this world.
    pub fn expected(&self, world: &World) -> BTreeMap<String, Levels> {
        let mut expected: BTreeMap<String, Levels> =
            self.levels.iter().map(|(uid, levels)| (uid.clone(), levels.then(None))).collect();
        for order in world.living.values() {
            let sku = order.spec.compute_sku();
            let before = self.levels.get(&order.uid).cloned().unwrap_or_default();
            expected.insert(order.uid.clone(), before.then(order.spec.runs().then_some(sku.as_str())));
        }
        expected
    }

    /// Remembers what every look must be compared with, whatever its verdict.
    pub fn note(&mut self, world: &World, look: &Snapshot) {
        self.intervals.clone_from(&look.intervals);
        for order in world.living.values() {
            let found = find(look, &order.uid);
            let ready = found.and_then(|o| condition(o, "Ready")).is_some_and(|c| c.0 == "True");
            if ready {
                self.was_ready.insert(order.uid.clone());
            } else if !self.was_ready.contains(&order.uid) {
                self.not_ready.insert(order.uid.clone(), look.at);
            }
        }
    }

    /// Remembers a look at which everything was as it should be.
    pub fn settle(&mut self, world: &World, look: &Snapshot) {
        self.levels = self.expected(world);
        self.pods = world
            .living
            .values()
            .filter_map(|order| Some((order.uid.clone(), pod(look, &order.uid)?)))
            .collect();
    }
}

fn find<'a>(look: &'a Snapshot, uid: &str) -> Option<&'a Value> {
    look.orders.iter().find(|o| o.pointer("/metadata/uid").and_then(Value::as_str) == Some(uid))
}

fn of<'a>(look: &'a Snapshot, kind: &'a str, uid: &'a str) -> impl Iterator<Item = &'a Object> {
    look.objects.iter().filter(move |o| o.kind == kind && o.label("siyada.cloud/order-uid") == uid)
}

fn instances<'a>(look: &'a Snapshot, uid: &'a str) -> impl Iterator<Item = &'a Object> {
    of(look, "Pod", uid).filter(|pod| pod.label("cnpg.io/podRole") == "instance")
}

/// The pods of an order's database, as they were looked at.
pub fn pods_of(look: &Snapshot, uid: &str) -> Vec<Value> {
    instances(look, uid).map(|pod| pod.body.clone()).collect()
}

/// Uid and restarts of an order's database.
fn pod(look: &Snapshot, uid: &str) -> Option<(String, i64)> {
    let pod = instances(look, uid).next()?;
    let restarts = pod.body.pointer("/status/containerStatuses/0/restartCount").and_then(Value::as_i64);
    Some((pod.text("/metadata/uid").to_owned(), restarts.unwrap_or(0)))
}

/// The volumes of an order, in bytes: what is there, or else what was asked.
fn volumes(look: &Snapshot, uid: &str) -> i64 {
    let size = |o: &Object, pointer: &str| bytes(o.text(pointer)).unwrap_or(0);
    let one = |o: &Object| match size(o, "/status/capacity/storage") {
        0 => size(o, "/spec/resources/requests/storage"),
        held => held,
    };
    of(look, "PersistentVolumeClaim", uid).map(one).sum()
}

/// Judges one look.
pub fn judge(world: &World, memory: &Memory, look: &Snapshot) -> Verdict {
    let mut verdict = Verdict::default();
    orders(world, look, &mut verdict);
    engines(world, look, &mut verdict);
    leftovers(world, look, &mut verdict);
    reservations(world, look, &mut verdict);
    intervals(world, memory, look, &mut verdict);
    restarts(world, memory, look, &mut verdict);
    verdict
}

fn orders(world: &World, look: &Snapshot, verdict: &mut Verdict) {
    for found in &look.orders {
        let uid = found.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
        if !world.living.values().any(|order| order.uid == uid) {
            verdict.waiting.push(format!("order {} {uid} should be gone", found["metadata"]["name"]));
        }
    }
    for (name, order) in &world.living {
        let Some(found) = find(look, &order.uid) else {
            verdict.wrong.push(format!("order {name} {} is gone", order.uid));
            continue;
        };
        if let Some(why) = order_differs(&order.spec, found) {
            verdict.waiting.push(format!("order {name} {}: {why}", order.uid));
        }
    }
}

fn order_differs(spec: &Spec, found: &Value) -> Option<String> {
    let status = &found["status"];
    if status["observedGeneration"] != found["metadata"]["generation"] {
        return Some("its status is of an older generation".to_owned());
    }
    let (ready, reason, message) = condition(found, "Ready")?;
    let wanted = match (spec.suspend, spec.nowhere) {
        (true, _) => ("False", "Suspended"),
        (false, true) => ("False", "EngineNotReady"),
        (false, false) => ("True", "LoginSucceeded"),
    };
    if (ready.as_str(), reason.as_str()) != wanted {
        return Some(format!("Ready is {ready} {reason} ({message}) and should be {wanted:?}"));
    }
    for (kind, wanted) in [("Admitted", "True"), ("Stalled", "")] {
        let status = condition(found, kind).map(|c| c.0).unwrap_or_default();
        if status != wanted {
            return Some(format!("{kind} is {status:?} and should be {wanted:?}"));
        }
    }
    let metering = condition(found, "MeteringActive").map(|c| c.0).unwrap_or_default();
    if metering != "True" {
        return Some(format!("MeteringActive is {metering:?}"));
    }
    (status["plan"] != spec.plan.as_str()).then(|| format!("plan {} is told", status["plan"]))
}

/// One engine cluster for each order and each kept one, as it was ordered; pods only where something runs.
fn engines(world: &World, look: &Snapshot, verdict: &mut Verdict) {
    for (name, order) in &world.living {
        engine(name, &order.uid, Some(order), look, verdict);
    }
    for kept in &world.kept {
        engine(&kept.name, &kept.uid, None, look, verdict);
    }
}

fn engine(name: &str, uid: &str, order: Option<&Order>, look: &Snapshot, verdict: &mut Verdict) {
    let clusters: Vec<&Object> = of(look, "Cluster", uid).collect();
    let [cluster] = clusters[..] else {
        let told = format!("{} engine clusters for {name} {uid}", clusters.len());
        let list = if clusters.len() > 1 { &mut verdict.wrong } else { &mut verdict.waiting };
        list.push(told);
        return;
    };
    let hibernated = cluster.text("/metadata/annotations/cnpg.io~1hibernation") == "on";
    let pods: Vec<&Object> = instances(look, uid).collect();
    let mut waiting = |why: String| verdict.waiting.push(format!("engine of {name} {uid}: {why}"));
    let stopped = order.is_none_or(|order| order.spec.suspend);
    if hibernated != stopped {
        waiting(format!("hibernation is {hibernated}"));
    }
    let Some(order) = order else {
        if cluster.label("siyada.cloud/retained") != "true" {
            waiting("it is not marked as kept".to_owned());
        }
        if pods.iter().any(|pod| !pod.text("/spec/nodeName").is_empty()) {
            waiting(format!("{} pods run for kept data", pods.len()));
        }
        return;
    };
    if order.spec.suspend && pods.iter().any(|pod| !pod.text("/spec/nodeName").is_empty()) {
        waiting(format!("{} pods run while it is suspended", pods.len()));
    }
    if order.spec.runs() {
        match pods[..] {
            [pod] => pod_differs(&order.spec, pod).into_iter().for_each(&mut waiting),
            _ => waiting(format!("{} pods", pods.len())),
        }
    }
    engine_spec(&order.spec, cluster).into_iter().for_each(&mut waiting);
    let volume = volumes(look, uid);
    if order.spec.runs() && volume != i64::from(order.spec.storage_gib) * GIB || volume == 0 {
        waiting(format!("its volumes have {volume} bytes"));
    }
}

/// The engine replaces the pod some time after its cluster was changed: until then the plan is only asked for.
fn pod_differs(spec: &Spec, pod: &Object) -> Option<String> {
    if !pod.text("/metadata/deletionTimestamp").is_empty() {
        return Some("its pod is going".to_owned());
    }
    let containers = pod.body.pointer("/spec/containers").and_then(Value::as_array);
    let database = containers.into_iter().flatten().find(|c| c["name"] == "postgres");
    let cpu = database.and_then(|c| c.pointer("/resources/limits/cpu")).and_then(Value::as_str);
    let wanted = show_cpu(spec.plan.size().0);
    (cpu != Some(wanted.as_str())).then(|| format!("its pod has cpu {cpu:?} and should have {wanted}"))
}

fn engine_spec(spec: &Spec, cluster: &Object) -> Vec<String> {
    let (cpu_milli, memory_mib) = spec.plan.size();
    let cpu = cluster.text("/spec/resources/limits/cpu");
    let memory = cluster.text("/spec/resources/limits/memory");
    let size = cluster.text("/spec/storage/size");
    let work_mem = cluster.text("/spec/postgresql/parameters/work_mem");
    let wanted_mem = spec.work_mem_mb.map(|mb| format!("{mb}MB")).unwrap_or_default();
    let mut differs = Vec::new();
    if cpu != show_cpu(cpu_milli) || bytes(memory).ok() != Some(memory_mib * MIB) {
        differs.push(format!("cpu {cpu}, memory {memory}"));
    }
    if bytes(size).ok() != Some(i64::from(spec.storage_gib) * GIB) {
        differs.push(format!("storage {size}"));
    }
    if work_mem != wanted_mem {
        differs.push(format!("work_mem {work_mem:?} and should be {wanted_mem:?}"));
    }
    differs
}

/// What the operator makes of an order: counts by kind. A kept one has lost its binding, which went with the order.
fn parts(kind: Kind, lives: bool) -> [(&'static str, usize); 5] {
    let documents = usize::from(kind == Kind::Documents);
    [
        ("Cluster", 1),
        ("Secret", if lives { 5 } else { 4 }),
        ("NetworkPolicy", 1 + documents),
        ("Service", documents),
        ("Deployment", documents),
    ]
}

/// Nothing is there of an order that is gone, and no part of one that lives is missing or there twice.
fn leftovers(world: &World, look: &Snapshot, verdict: &mut Verdict) {
    let mut expected = BTreeMap::new();
    for (name, order) in &world.living {
        expected.insert(order.uid.as_str(), (name.as_str(), order.spec.kind, true));
    }
    for kept in &world.kept {
        expected.insert(kept.uid.as_str(), (kept.name.as_str(), kept.spec.kind, false));
    }
    let of_cluster: BTreeMap<&str, &str> = look
        .objects
        .iter()
        .filter(|o| o.kind == "Cluster")
        .map(|o| (o.name(), o.label("siyada.cloud/order-uid")))
        .collect();
    for object in &look.objects {
        let label = object.label("siyada.cloud/order-uid");
        // The engine's own certificates carry no label, but say whose they are.
        let owner = object.text("/metadata/ownerReferences/0/name");
        let by_engine = of_cluster.get(owner).copied().unwrap_or_default();
        let uid = if label.is_empty() { by_engine } else { label };
        if !expected.contains_key(uid) {
            let (namespace, name) = (object.namespace(), object.name());
            verdict.waiting.push(format!("{} {namespace}/{name} is of no order: {uid:?}", object.kind));
        } else if ![ENGINE, HOME].contains(&object.namespace()) {
            verdict.wrong.push(format!("{} {} lies in {}", object.kind, object.name(), object.namespace()));
        }
    }
    for (uid, (name, kind, lives)) in expected {
        for (part, count) in parts(kind, lives) {
            let found = of(look, part, uid).filter(|o| o.label("siyada.cloud/managed") == "true").count();
            if found != count {
                verdict.waiting.push(format!("{name} {uid} has {found} of {count} {part}"));
            }
        }
    }
}

/// Exactly what lives and what is kept is held, with its own amounts, and the sums are right at both tenants.
fn reservations(world: &World, look: &Snapshot, verdict: &mut Verdict) {
    let mut expected = BTreeMap::new();
    for (name, order) in &world.living {
        expected.insert(order.uid.as_str(), (name, false, order.spec.resources()));
    }
    for kept in &world.kept {
        let resources = Resources { storage_bytes: volumes(look, &kept.uid), ..Resources::default() };
        expected.insert(kept.uid.as_str(), (&kept.name, true, resources));
    }
    for held in &look.reservations {
        match expected.remove(held.order_uid.as_str()) {
            None => {
                verdict.waiting.push(format!("quota is held for {} {}", held.request.name, held.order_uid))
            }
            Some((name, retained, resources))
                if held.request.retained != retained || held.commitment.resources != resources =>
            {
                let found = held.commitment.resources;
                verdict.waiting.push(format!(
                    "{name} holds {found:?} (kept: {}) instead of {resources:?}",
                    held.request.retained
                ));
            }
            Some(_) => {}
        }
    }
    for (uid, (name, ..)) in expected {
        verdict.waiting.push(format!("no quota is held for {name} {uid}"));
    }
    let sum = look.reservations.iter().try_fold((Resources::default(), 0_i64), |(resources, minor), held| {
        let c = &held.commitment;
        Some((resources.checked_add(c.resources)?, minor.checked_add(c.monthly_cost.minor)?))
    });
    let count = i64::try_from(look.reservations.len()).unwrap_or(-1);
    for quota in &look.quotas {
        let held = (quota.held.resources, quota.held.monthly_cost.minor);
        if Some(held) != sum || quota.reservations != count {
            verdict.waiting.push(format!(
                "tenant {} holds {held:?} in {} reservations; one by one that is {sum:?} in {count}",
                quota.tenant, quota.reservations
            ));
        }
    }
}

fn intervals(world: &World, memory: &Memory, look: &Snapshot, verdict: &mut Verdict) {
    verdict.wrong.extend(usage::well_formed(&look.intervals));
    verdict.wrong.extend(usage::kept(&memory.intervals, &look.intervals));
    verdict.wrong.extend(closed_before(memory, look));
    for (uid, levels) in memory.expected(world) {
        if !memory.fleeting.contains(&uid) {
            verdict.waiting.extend(usage::compute(&uid, &look.intervals, &levels));
        }
    }
    let there: BTreeSet<&str> = world
        .living
        .values()
        .map(|order| order.uid.as_str())
        .chain(world.kept.iter().map(|kept| kept.uid.as_str()))
        .collect();
    for interval in look.intervals.iter().filter(|i| i.end.is_none()) {
        if !there.contains(interval.order_uid.as_str()) {
            verdict.waiting.push(format!("billed and gone: {}", usage::show(interval)));
        }
    }
    for uid in &there {
        let mib = volumes(look, uid) / MIB;
        let open = usage::open(uid, Meter::STORAGE, &look.intervals).unwrap_or(0);
        if open != mib {
            verdict.waiting.push(format!("storage of {uid} is billed as {open} MiB and has {mib} MiB"));
        }
        verdict.wrong.extend(volume_start(uid, look));
    }
    for (uid, asked) in &memory.deleted {
        verdict.wrong.extend(end_of_life(uid, *asked, look, memory.fleeting.contains(uid)));
    }
    for order in world.living.values() {
        verdict.wrong.extend(first_login(&order.uid, memory, look));
    }
}

/// What is closed in a step ends in it: all was as it should be before, so nothing can have ended earlier.
fn closed_before(memory: &Memory, look: &Snapshot) -> Vec<String> {
    let Some(began) = memory.step else { return Vec::new() };
    let known = |i: &Interval| {
        let same = |k: &&Interval| (&k.order_uid, k.meter, k.start) == (&i.order_uid, i.meter, i.start);
        memory.intervals.iter().find(same).is_some_and(|k| k.end.is_some())
    };
    let early = |i: &&Interval| i.end.is_some_and(|end| end < began - CUT) && !known(i);
    let told = |i| format!("it was closed back before {began}, when all was well: {}", usage::show(i));
    look.intervals.iter().filter(early).map(told).collect()
}

/// Storage is billed from the API server's stamp of the volume, whatever was away when it was made.
fn volume_start(uid: &str, look: &Snapshot) -> Option<String> {
    let stamps = of(look, "PersistentVolumeClaim", uid)
        .filter_map(|claim| claim.text("/metadata/creationTimestamp").parse::<Timestamp>().ok());
    let (first, oldest) = (usage::first(uid, Meter::STORAGE, &look.intervals)?, stamps.min()?);
    (first != oldest).then(|| format!("storage of {uid} is billed from {first}; its volume is of {oldest}"))
}

/// Compute is not billed from before the first login: the walk saw it not Ready after that.
fn first_login(uid: &str, memory: &Memory, look: &Snapshot) -> Option<String> {
    let (start, before) = (usage::first(uid, Meter::COMPUTE, &look.intervals)?, *memory.not_ready.get(uid)?);
    // The api is read after the cluster: an order may have become Ready in between.
    let early = start < before - CUT;
    early.then(|| format!("compute of {uid} is billed from {start} and was not Ready at {before}"))
}

/// After its deletion nothing but storage is billed, and compute to the stamp of the deletion.
fn end_of_life(
    uid: &str,
    (asked, answered): (Timestamp, Timestamp),
    look: &Snapshot,
    fleeting: bool,
) -> Option<String> {
    let compute = usage::last_end(uid, Meter::COMPUTE, &look.intervals);
    let storage = usage::last_end(uid, Meter::STORAGE, &look.intervals);
    if let Some(end) = storage.filter(|end| *end < asked - CUT) {
        let reopened = usage::open(uid, Meter::STORAGE, &look.intervals).is_some();
        if !reopened {
            return Some(format!("storage of {uid} ends at {end}, before its deletion at {asked}"));
        }
    }
    let late = compute.filter(|end| *end > answered + CUT && !fleeting);
    late.map(|end| format!("compute of {uid} ends at {end}; it was deleted between {asked} and {answered}"))
}

/// No database is restarted but by what restarts it.
fn restarts(world: &World, memory: &Memory, look: &Snapshot, verdict: &mut Verdict) {
    for (name, order) in &world.living {
        let (before, now) = (memory.pods.get(&order.uid), pod(look, &order.uid));
        let Some(before) = before else { continue };
        let same = now.as_ref() == Some(before);
        if memory.killed.contains(name) && order.spec.runs() && same {
            verdict
                .waiting
                .push(format!("the database of {name} {} was killed, which is not told yet", order.uid));
        }
        if memory.restarts.as_ref().is_some_and(|allowed| !allowed.contains(name)) && !same {
            verdict
                .wrong
                .push(format!("the database of {name} {} was restarted: {before:?} -> {now:?}", order.uid));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use siyada_model::usage::Level;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn object(kind: &'static str, name: &str, uid: &str, more: Value) -> Object {
        let mut body = json!({"metadata": {
            "namespace": ENGINE, "name": name, "creationTimestamp": "1970-01-01T00:01:40Z",
            "labels": {"siyada.cloud/order-uid": uid, "siyada.cloud/managed": "true"},
        }});
        for (key, value) in more.as_object().cloned().unwrap_or_default() {
            body[key] = value;
        }
        Object { kind, body }
    }

    fn interval(uid: &str, meter: Meter, sku: &str, quantity: i64, start: i64, end: Option<i64>) -> Interval {
        Interval {
            order_uid: uid.parse().unwrap(),
            meter,
            level: Level { sku: sku.parse().unwrap(), quantity },
            start: at(start),
            end: end.map(at),
        }
    }

    /// One order that is Ready, as it should be in every way.
    fn good() -> (World, Memory, Snapshot) {
        let mut world = World::default();
        let order = Order { spec: Spec::small(Kind::Postgres), uid: "u".into() };
        world.living.insert("a".into(), order);
        let status = |kind: &str, reason: &str| json!({"type": kind, "status": "True", "reason": reason, "message": ""});
        let found = json!({
            "metadata": {"name": "a", "uid": "u", "generation": 1},
            "status": {"observedGeneration": 1, "plan": "dev", "conditions": [
                status("Ready", "LoginSucceeded"), status("Admitted", "Admitted"), status("MeteringActive", "Metering"),
            ]},
        });
        let limits = json!({"limits": {"cpu": "200m", "memory": "384Mi"}});
        let mut objects = vec![
            object("Cluster", "a-1", "u", json!({"spec": {"resources": limits, "storage": {"size": "1Gi"}}})),
            object("NetworkPolicy", "a-1", "u", json!({})),
            object(
                "PersistentVolumeClaim",
                "a-1-1",
                "u",
                json!({"status": {"capacity": {"storage": "1Gi"}}}),
            ),
            object(
                "Pod",
                "a-1-1",
                "u",
                json!({"spec": {"containers": [{"name": "postgres", "resources": {"limits": {"cpu": "200m"}}}]}}),
            ),
        ];
        objects[3].body["metadata"]["labels"]["cnpg.io/podRole"] = json!("instance");
        objects.extend((0..5).map(|i| object("Secret", &format!("s{i}"), "u", json!({}))));
        let reservation = json!({
            "orderUid": "u", "priceList": "p", "heldSince": "1970-01-01T00:00:00Z",
            "request": {
                "generation": 1, "tenant": "soak-agency", "namespace": HOME, "name": "a", "kind": "PostgresInstance",
                "plan": "dev", "resources": {"instances": 1, "cpuMilli": 200, "memoryBytes": 402_653_184, "storageBytes": GIB}, "items": [],
            },
            "commitment": {
                "resources": {"instances": 1, "cpuMilli": 200, "memoryBytes": 402_653_184, "storageBytes": GIB},
                "monthlyCost": {"minor": 100, "currency": "MAD"},
            },
        });
        let quota =
            json!({"tenant": "soak", "limit": {}, "held": reservation["commitment"], "reservations": 1});
        let intervals = vec![
            interval("u", Meter::COMPUTE, "postgresql-dev", 1, 120, None),
            interval("u", Meter::STORAGE, "volume", 1_024, 100, None),
        ];
        let look = Snapshot {
            at: at(130),
            orders: vec![found],
            objects,
            reservations: vec![serde_json::from_value(reservation).unwrap()],
            quotas: vec![serde_json::from_value(quota).unwrap()],
            intervals,
        };
        let memory = Memory { restarts: Some(BTreeSet::new()), ..Memory::default() };
        (world, memory, look)
    }

    fn check(change: impl FnOnce(&mut World, &mut Memory, &mut Snapshot), wrong: &[&str], waiting: &[&str]) {
        let (mut world, mut memory, mut look) = good();
        change(&mut world, &mut memory, &mut look);
        let verdict = judge(&world, &memory, &look);
        for (found, expected) in [(&verdict.wrong, wrong), (&verdict.waiting, waiting)] {
            assert!(found.is_empty() == expected.is_empty(), "{verdict:#?}");
            for text in expected {
                assert!(found.iter().any(|f| f.contains(text)), "{text:?} in {verdict:#?}");
            }
        }
    }

    #[test]
    fn what_is_as_it_should_be_is_not_blamed() {
        check(|_, _, _| {}, &[], &[]);
    }

    #[test]
    fn each_way_to_be_otherwise_is_blamed() {
        check(|_, _, look| look.orders.clear(), &["order a u is gone"], &[]);
        check(
            |_, _, look| look.orders[0]["status"]["conditions"][0]["status"] = json!("False"),
            &[],
            &["Ready is False"],
        );
        check(
            |_, _, look| look.objects.push(object("Cluster", "a-2", "u", json!({}))),
            &["2 engine clusters"],
            &["has 2 of 1 Cluster"],
        );
        check(
            |_, _, look| look.objects.push(object("Secret", "x", "other", json!({}))),
            &[],
            &["is of no order"],
        );
        check(
            |_, _, look| {
                look.objects[3].body["spec"]["containers"][0]["resources"]["limits"]["cpu"] = json!("500m")
            },
            &[],
            &["should have 200m"],
        );
        check(|_, _, look| look.reservations.clear(), &[], &["no quota is held", "one by one"]);
        check(|_, _, look| look.quotas[0].held.monthly_cost.minor = 101, &[], &["one by one"]);
        check(|_, _, look| look.intervals[1].level.quantity = 2, &[], &["billed as 2 MiB"]);
        check(|_, _, look| look.intervals[1].start = at(99), &["its volume is of"], &[]);
        check(|_, _, look| look.intervals[0].end = Some(at(125)), &[], &["compute of u should be"]);
        check(
            |world, _, _| drop(world.living.remove("a")),
            &[],
            &["should be gone", "billed and gone", "quota is held for a"],
        );
    }

    #[test]
    fn what_was_remembered_binds() {
        let compute = |end| interval("u", Meter::COMPUTE, "postgresql-dev", 1, 110, end);
        check(|_, memory, _| memory.intervals = vec![compute(None)], &["was reported and is gone"], &[]);
        check(
            |_, memory, _| {
                memory.not_ready.insert("u".into(), at(125));
            },
            &["was not Ready at"],
            &[],
        );
        check(
            |_, memory, look| {
                memory.intervals.clone_from(&look.intervals);
                memory.step = Some(at(200));
                look.intervals[0].end = Some(at(150));
            },
            &["closed back before"],
            &["compute of u should be"],
        );
        check(|_, memory, _| drop(memory.pods.insert("u".into(), ("p".into(), 0))), &["was restarted"], &[]);
        check(
            |_, memory, _| {
                memory.pods.insert("u".into(), (String::new(), 0));
                memory.killed.insert("a".into());
            },
            &[],
            &["not told yet"],
        );
        check(
            |world, memory, look| {
                world.living.clear();
                memory.deleted.insert("u".into(), (at(140), at(141)));
                look.orders.clear();
                look.objects.clear();
                look.reservations.clear();
                look.quotas.clear();
                look.intervals[0].end = Some(at(150));
                look.intervals[1].end = Some(at(150));
                memory.levels.insert("u".into(), Levels { skus: vec!["postgresql-dev".into()], open: true });
            },
            &["compute of u ends at"],
            &[],
        );
    }
}

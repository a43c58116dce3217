//! What the watches brought: children of orders, kept as compact text so that thousands stay small.

use crate::names::{CREATING_MANAGER, ORDER_KIND, ORDER_NAME, ORDER_NAMESPACE, ORDER_UID};
use crate::object::{ChildKind, Key};
use crate::order::{Kind, OrderRef};
use crate::pods::{self, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::DynamicObject;
use kube::{ResourceExt, runtime::watcher::Event};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A watch that feeds the cache: a kind in all namespaces, or in one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// What is watched.
    pub kind: ChildKind,
    /// Where; none is everywhere.
    pub namespace: Option<String>,
}

#[derive(Debug)]
struct Child {
    uid: String,
    order: OrderRef,
    text: Box<str>,
}

#[derive(Debug, Default)]
struct Inner {
    children: BTreeMap<Key, Child>,
    by_order: BTreeMap<String, BTreeSet<Key>>,
    /// Sources whose first list is complete.
    synced: BTreeSet<Source>,
    /// Orders that are gone and left something, as the last sweep found.
    leftovers: BTreeSet<String>,
    /// Keys listed so far by a source that is listing again.
    listing: BTreeMap<Source, BTreeSet<Key>>,
}

/// The cache. Cheap to clone; every clone is the same cache.
#[derive(Clone, Debug, Default)]
pub struct ChildCache {
    inner: Arc<Mutex<Inner>>,
}

impl ChildCache {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in an event; answers with the orders to look at.
    pub fn take(&self, source: &Source, event: Event<DynamicObject>) -> Vec<OrderRef> {
        let mut inner = self.lock();
        match event {
            Event::Apply(object) => inner.put(source.kind, object).into_iter().collect(),
            Event::Delete(object) => inner.drop_key(&key_of(source.kind, &object)).into_iter().collect(),
            Event::Init => {
                inner.listing.insert(source.clone(), BTreeSet::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                let key = key_of(source.kind, &object);
                if let Some(listed) = inner.listing.get_mut(source) {
                    listed.insert(key);
                }
                inner.put(source.kind, object).into_iter().collect()
            }
            Event::InitDone => inner.finish(source),
        }
    }

    /// Remembers the orders that are gone and left something.
    pub fn set_leftovers(&self, uids: BTreeSet<String>) {
        self.lock().leftovers = uids;
    }

    /// Whether an event is about what an order left that is gone.
    pub fn is_of_leftover(&self, event: &Event<DynamicObject>) -> bool {
        let (Event::Apply(object) | Event::Delete(object)) = event else { return false };
        object.labels().get(ORDER_UID).is_some_and(|uid| self.lock().leftovers.contains(uid))
    }

    /// Whether a source has listed everything once.
    pub fn is_synced(&self, source: &Source) -> bool {
        self.lock().synced.contains(source)
    }

    /// Forgets a source whose watch was stopped, with everything it brought.
    pub fn forget(&self, source: &Source) {
        let mut inner = self.lock();
        inner.listing.insert(source.clone(), BTreeSet::new());
        inner.finish(source);
        inner.synced.remove(source);
    }

    /// The children of an order.
    pub fn children(&self, uid: &str) -> BTreeMap<Key, Arc<Value>> {
        let inner = self.lock();
        let keys = inner.by_order.get(uid).into_iter().flatten().filter(|key| key.kind != ChildKind::Pod);
        keys.filter_map(|key| {
            let child = inner.children.get(key)?;
            Some((key.clone(), Arc::new(serde_json::from_str(&child.text).ok()?)))
        })
        .collect()
    }

    /// One child.
    pub fn child(&self, key: &Key) -> Option<Value> {
        serde_json::from_str(&self.lock().children.get(key)?.text).ok()
    }

    /// The pods of an order, by name.
    pub fn pods(&self, uid: &str) -> Vec<Pod> {
        let inner = self.lock();
        let keys = inner.by_order.get(uid).into_iter().flatten().filter(|key| key.kind == ChildKind::Pod);
        let kept = keys.filter_map(|key| serde_json::from_str(&inner.children.get(key)?.text).ok());
        kept.map(|kept: Value| pods::read(&kept)).collect()
    }

    /// Every order that has children here, pods aside: its uid and where it is or was.
    pub fn orders(&self) -> Vec<(String, OrderRef)> {
        let inner = self.lock();
        let first = |keys: &BTreeSet<Key>| {
            let key = keys.iter().find(|key| key.kind != ChildKind::Pod)?;
            inner.children.get(key).map(|child| child.order.clone())
        };
        inner.by_order.iter().filter_map(|(uid, keys)| Some((uid.clone(), first(keys)?))).collect()
    }

    /// Count of objects held.
    pub fn len(&self) -> usize {
        self.lock().children.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn key_of(kind: ChildKind, object: &DynamicObject) -> Key {
    Key::new(kind, &object.namespace().unwrap_or_default(), object.name_any())
}

fn order_of(object: &DynamicObject) -> Option<(OrderRef, String)> {
    let label = |name: &str| object.labels().get(name).cloned();
    let at = OrderRef {
        kind: Kind::parse(&label(ORDER_KIND)?)?,
        namespace: label(ORDER_NAMESPACE)?,
        name: label(ORDER_NAME)?,
    };
    Some((at, label(ORDER_UID)?))
}

impl Inner {
    fn put(&mut self, kind: ChildKind, mut object: DynamicObject) -> Option<OrderRef> {
        let key = key_of(kind, &object);
        let of = if kind == ChildKind::Pod { self.order_of_pod(&object) } else { order_of(&object) };
        let Some((order, uid)) = of else {
            return self.drop_key(&key);
        };
        if kind == ChildKind::Pod {
            let text = pods::compact(&object).to_string().into_boxed_str();
            // A pod says much that changes nothing here, and nobody need look then.
            let same = self.children.get(&key).is_some_and(|old| old.uid == uid && old.text == text);
            self.keep(key, Child { uid, order: order.clone(), text });
            return (!same).then_some(order);
        }
        object.metadata.managed_fields = creation(&object);
        if let (ChildKind::Cluster, Some(status)) = (kind, object.data.get_mut("status")) {
            *status = engine_status(status);
        }
        let text = serde_json::to_string(&object).ok()?.into_boxed_str();
        self.keep(key, Child { uid, order: order.clone(), text });
        Some(order)
    }

    fn keep(&mut self, key: Key, child: Child) {
        if let Some(old) = self.children.get(&key).filter(|old| old.uid != child.uid) {
            let old = old.uid.clone();
            self.unlink(&old, &key);
        }
        self.by_order.entry(child.uid.clone()).or_default().insert(key.clone());
        self.children.insert(key, child);
    }

    /// Whose pod it is: what prepares a database carries no label but the engine's, with the name of its cluster.
    fn order_of_pod(&self, pod: &DynamicObject) -> Option<(OrderRef, String)> {
        let Some(cluster) = pod.labels().get(pods::CLUSTER) else { return order_of(pod) };
        let key = Key::new(ChildKind::Cluster, &pod.namespace()?, cluster);
        self.children.get(&key).map(|child| (child.order.clone(), child.uid.clone()))
    }

    fn drop_key(&mut self, key: &Key) -> Option<OrderRef> {
        let child = self.children.remove(key)?;
        self.unlink(&child.uid, key);
        Some(child.order)
    }

    fn unlink(&mut self, uid: &str, key: &Key) {
        if let Some(keys) = self.by_order.get_mut(uid) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_order.remove(uid);
            }
        }
    }

    /// Ends a listing: what the source did not list is gone.
    fn finish(&mut self, source: &Source) -> Vec<OrderRef> {
        let listed = self.listing.remove(source).unwrap_or_default();
        let covered = |key: &Key| {
            key.kind == source.kind && source.namespace.as_ref().is_none_or(|ns| *ns == key.namespace)
        };
        let gone: Vec<Key> =
            self.children.keys().filter(|key| covered(key) && !listed.contains(key)).cloned().collect();
        self.synced.insert(source.clone());
        gone.iter().filter_map(|key| self.drop_key(key)).collect()
    }
}

/// Of who manages which field, only whether the fields are still those of the creation: the rest is large, and says
/// nothing to us.
fn creation(object: &DynamicObject) -> Option<Vec<ManagedFieldsEntry>> {
    let entries = object.metadata.managed_fields.as_ref()?;
    let created = entries.iter().any(|entry| entry.manager.as_deref() == Some(CREATING_MANAGER));
    let stub =
        ManagedFieldsEntry { manager: Some(CREATING_MANAGER.to_owned()), ..ManagedFieldsEntry::default() };
    created.then(|| vec![stub])
}

/// The part of the engine's status that is read; the rest changes often and says nothing to us.
fn engine_status(status: &Value) -> Value {
    let mut kept = serde_json::Map::new();
    for field in ["phase", "phaseReason", "readyInstances", "instances", "currentPrimary"] {
        if let Some(value) = status.get(field) {
            kept.insert(field.to_owned(), value.clone());
        }
    }
    // Which major version wrote the data.
    if let Some(major) = status.pointer("/pgDataImageInfo/majorVersion") {
        kept.insert("pgDataImageInfo".to_owned(), serde_json::json!({"majorVersion": major}));
    }
    // Of its conditions only what backups are judged by.
    let conditions = status.get("conditions").and_then(Value::as_array);
    if let Some(archiving) = conditions.into_iter().flatten().find(|c| c["type"] == "ContinuousArchiving") {
        kept.insert("conditions".to_owned(), Value::Array(vec![archiving.clone()]));
    }
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(name: &str, uid: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": "n", "name": name, "labels": {
                ORDER_UID: uid, ORDER_KIND: "PostgresInstance", ORDER_NAMESPACE: "apps", ORDER_NAME: "db",
            }},
        }))
        .unwrap()
    }

    #[test]
    fn a_new_listing_drops_what_is_gone_and_names_its_order() {
        let cache = ChildCache::default();
        let source = Source { kind: ChildKind::Service, namespace: None };
        for event in [
            Event::Init,
            Event::InitApply(object("a", "u")),
            Event::InitApply(object("b", "u")),
            Event::InitDone,
        ] {
            cache.take(&source, event);
        }
        assert!(cache.is_synced(&source));
        assert_eq!(cache.children("u").len(), 2);
        cache.take(&source, Event::Init);
        cache.take(&source, Event::InitApply(object("b", "u")));
        assert_eq!(cache.children("u").len(), 2, "a listing that is under way drops nothing");
        let touched = cache.take(&source, Event::InitDone);
        assert_eq!(touched.len(), 1);
        assert_eq!(cache.children("u").len(), 1);
    }

    fn pod(name: &str, cluster: &str, more: Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "postgres"}]}, "status": more,
            "metadata": {"namespace": "n", "name": name, "labels": {"cnpg.io/cluster": cluster}},
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_is_its_clusters_orders_and_wakes_nobody_by_what_says_nothing() {
        let cache = ChildCache::default();
        let pods = Source { kind: ChildKind::Pod, namespace: Some("n".into()) };
        let clusters = Source { kind: ChildKind::Cluster, namespace: None };
        let take = |pod| cache.take(&pods, Event::Apply(pod)).len();
        assert_eq!(take(pod("a-1-initdb", "a", json!({}))), 0, "it is nobody's that we know");
        assert!(cache.is_empty());
        cache.take(&clusters, Event::Apply(object("a", "u")));
        assert_eq!(take(pod("a-1-initdb", "a", json!({}))), 1);
        assert_eq!(take(pod("a-1-initdb", "a", json!({"podIP": "10.0.0.1"}))), 0);
        let full = json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "Insufficient cpu"}]});
        assert_eq!(take(pod("a-1-initdb", "a", full)), 1);
        assert!(cache.pods("u")[0].hindrance.as_ref().unwrap().contains("Insufficient cpu"));
        assert_eq!(take(pod("b-1", "of-somebody", json!({}))), 0);
        assert_eq!(cache.pods("u").len(), 1);
        assert_eq!(cache.children("u").len(), 1, "a pod is nothing that an order leaves");
        cache.take(&clusters, Event::Delete(object("a", "u")));
        assert!(cache.orders().is_empty());
        cache.forget(&pods);
        assert!(cache.is_empty());
    }

    #[test]
    fn memory_does_not_keep_orders_that_are_gone() {
        let cache = ChildCache::default();
        let source = Source { kind: ChildKind::Service, namespace: None };
        cache.take(&source, Event::Apply(object("a", "u1")));
        cache.take(&source, Event::Apply(object("a", "u2")));
        assert!(cache.children("u1").is_empty());
        cache.take(&source, Event::Delete(object("a", "u2")));
        assert!(cache.is_empty() && cache.lock().by_order.is_empty());
    }
}

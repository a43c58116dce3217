//! Which namespace is bound to which tenant: what a watch of our label brought. Only the operator may write that label.

use crate::names::{ENGINE, TENANT};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, watch};

/// A namespace that carries our label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// Its uid: one made again by the same name has another one.
    pub uid: String,
    /// The tenant it is bound to.
    pub tenant: String,
    /// Whether it holds the tenant's engine objects.
    pub engine: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Its labels that we know of.
    pub labels: BTreeMap<String, String>,
}

/// What happened to a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It is bound to a tenant now.
    Bound(String),
    /// It is gone, or no longer bound.
    Gone(String),
}

/// The namespaces that are bound. Cheap to clone; every clone is the same book.
#[derive(Clone, Debug)]
pub struct NamespaceBook {
    pages: Arc<Mutex<Arc<BTreeMap<String, Bound>>>>,
    listed: Arc<watch::Sender<bool>>,
}

impl Default for NamespaceBook {
    fn default() -> Self {
        Self { pages: Arc::default(), listed: Arc::new(watch::Sender::new(false)) }
    }
}

impl NamespaceBook {
    /// All of them, as they are now.
    pub fn bound(&self) -> Arc<BTreeMap<String, Bound>> {
        Arc::clone(&self.pages.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until every namespace was listed once.
    pub async fn wait_until_ready(&self) {
        // The sender lives as long as we do.
        let _ = self.listed.subscribe().wait_for(|listed| *listed).await;
    }

    /// Writes one in; true when its tenant or uid is new.
    fn put(&self, namespace: &PartialObjectMeta<Namespace>) -> bool {
        let labels: BTreeMap<String, String> = namespace
            .labels()
            .iter()
            .filter(|(k, _)| known(k))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        let bound = Bound {
            uid: namespace.uid().unwrap_or_default(),
            tenant: labels.get(TENANT).cloned().unwrap_or_default(),
            engine: labels.contains_key(ENGINE),
            terminating: namespace.metadata.deletion_timestamp.is_some(),
            labels,
        };
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let new = pages
            .get(&namespace.name_any())
            .is_none_or(|old| (&old.uid, &old.tenant) != (&bound.uid, &bound.tenant));
        Arc::make_mut(&mut pages).insert(namespace.name_any(), bound);
        new
    }

    fn strike(&self, name: &str) -> bool {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut pages).remove(name).is_some()
    }

    /// Takes in an event; answers with what is new.
    fn take(&self, event: Event<PartialObjectMeta<Namespace>>, listing: &mut Vec<String>) -> Vec<News> {
        match event {
            Event::Apply(namespace) => {
                let name = namespace.name_any();
                if self.put(&namespace) { vec![News::Bound(name)] } else { Vec::new() }
            }
            Event::Delete(namespace) => {
                let name = namespace.name_any();
                if self.strike(&name) { vec![News::Gone(name)] } else { Vec::new() }
            }
            Event::Init => {
                listing.clear();
                Vec::new()
            }
            Event::InitApply(namespace) => {
                let name = namespace.name_any();
                listing.push(name.clone());
                if self.put(&namespace) { vec![News::Bound(name)] } else { Vec::new() }
            }
            Event::InitDone => {
                listing.sort_unstable();
                let bound = self.bound();
                let gone = bound.keys().filter(|name| listing.binary_search(name).is_err());
                let news = gone.filter(|name| self.strike(name)).cloned().map(News::Gone).collect();
                listing.clear();
                self.listed.send_replace(true);
                news
            }
        }
    }
}

fn known(label: &str) -> bool {
    label.starts_with("siyada.cloud/") || label.starts_with("pod-security.kubernetes.io/")
}

/// Watches the namespaces that carry our label into the book, until the process ends.
pub async fn keep(client: Client, book: NamespaceBook, news: mpsc::UnboundedSender<News>) {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(client);
    let mut events = watcher(api, watcher::Config::default().labels(TENANT)).default_backoff().boxed();
    let mut listing = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                for item in book.take(event, &mut listing) {
                    let _ = news.send(item);
                }
            }
            Err(error) => {
                tracing::warn!(error = %error, "the watch of namespaces stumbled and is started again")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn namespace(name: &str, uid: &str, tenant: &str) -> PartialObjectMeta<Namespace> {
        let labels = json!({TENANT: tenant, "team": "blue"});
        serde_json::from_value(json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"name": name, "uid": uid, "labels": labels},
        }))
        .unwrap()
    }

    #[test]
    fn a_namespace_made_again_is_news_and_one_that_is_not_listed_is_gone() {
        let (book, mut listing) = (NamespaceBook::default(), Vec::new());
        let mut take = |event| book.take(event, &mut listing);
        assert_eq!(take(Event::Apply(namespace("a", "1", "t"))), [News::Bound("a".into())]);
        assert_eq!(take(Event::Apply(namespace("a", "1", "t"))), []);
        assert_eq!(take(Event::Apply(namespace("a", "2", "t"))), [News::Bound("a".into())]);
        assert_eq!(take(Event::Init), []);
        assert_eq!(take(Event::InitApply(namespace("b", "3", "t"))), [News::Bound("b".into())]);
        assert_eq!(take(Event::InitDone), [News::Gone("a".into())]);
        assert_eq!(book.bound().keys().collect::<Vec<_>>(), ["b"]);
        assert!(!book.bound()["b"].labels.contains_key("team"), "labels of others are not kept");
    }
}

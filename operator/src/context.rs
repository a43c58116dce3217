//! What every pass shares: clients, caches, memory of what was acknowledged.

use crate::authority::CertificateAuthority;
use crate::availability::Availability;
use crate::backoff::Backoff;
use crate::cache::{ChildCache, Source};
use crate::catalogue::{self, Catalogue};
use crate::check::Refusal;
use crate::config::Config;
use crate::ledger::LedgerClient;
use crate::metrics::Metrics;
use crate::moment::Mark;
use crate::names::Names;
use crate::namespaces::NamespaceBook;
use crate::object::ChildKind;
use crate::order::{Kind, Order, OrderRef, OrderResource};
use crate::plan::Platform;
use crate::probe::Prober;
use crate::seen::Seen;
use crate::tenant::delegation::Delegation;
use crate::tenant::figures::Figures;
use jiff::Timestamp;
use kube::runtime::reflector::Store;
use kube::{Client, ResourceExt};
use siyada_crds::order::{Cost, DrillStatus};
use siyada_crds::tenant::ExistingNamespace;
use siyada_crds::{
    DocumentStoreInstance, PostgresInstance, PriceList, RetainedInstance, ServiceBackup, ServiceCredential,
    ServiceOffering, Site, Tenant,
};
use siyada_model::usage::{Level, Meter};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, mpsc};

/// The catalogue as the watches bring it.
#[derive(Clone)]
pub struct CatalogueStores {
    /// Tenants.
    pub tenants: Store<Tenant>,
    /// Sites.
    pub sites: Store<Site>,
    /// Offerings.
    pub offerings: Store<ServiceOffering>,
    /// Price lists.
    pub price_lists: Store<PriceList>,
    /// The namespaces that are bound to tenants.
    pub namespaces: NamespaceBook,
}

impl CatalogueStores {
    /// The catalogue now. A price list that cannot be read is left out; its own status says so.
    pub fn catalogue(&self) -> Catalogue {
        let lists = self.price_lists.state();
        let live = lists.iter().filter(|l| l.metadata.deletion_timestamp.is_none());
        Catalogue {
            tenants: self.tenants.state(),
            sites: self.sites.state(),
            offerings: self.offerings.state(),
            price_lists: live.filter_map(|l| catalogue::price_list(l).ok()).collect(),
            bound: Some(self.namespaces.bound()),
        }
    }
}

/// The orders as the controllers' watches bring them.
#[derive(Clone)]
pub struct OrderStores {
    /// `PostgresInstance`s.
    pub postgres: Store<PostgresInstance>,
    /// `DocumentStoreInstance`s.
    pub documents: Store<DocumentStoreInstance>,
    /// `ServiceBackup`s of both.
    pub backups: Store<ServiceBackup>,
    /// `ServiceCredential`s of both.
    pub credentials: Store<ServiceCredential>,
    /// The listings of what deleted orders left.
    pub retained: Store<RetainedInstance>,
}

impl OrderStores {
    /// Every order that can be read.
    pub fn all(&self) -> Vec<Order> {
        let postgres = self.postgres.state();
        let documents = self.documents.state();
        let postgres = postgres.iter().filter_map(|o| Order::of(&**o).ok());
        postgres.chain(documents.iter().filter_map(|o| Order::of(&**o).ok())).collect()
    }

    /// Count of the orders in a namespace.
    pub fn count_in(&self, namespace: &str) -> usize {
        fn count<K: OrderResource>(store: &Store<K>, namespace: &str) -> usize {
            let inside = |order: &&Arc<K>| order.meta().namespace.as_deref() == Some(namespace);
            store.state().iter().filter(inside).count()
        }
        count(&self.postgres, namespace) + count(&self.documents, namespace)
    }

    /// Whether a namespace holds a protected order that is not being deleted.
    pub fn protects(&self, namespace: &str) -> bool {
        fn any<K: OrderResource>(store: &Store<K>, namespace: &str) -> bool {
            let found = store.find(|order| {
                order.meta().namespace.as_deref() == Some(namespace)
                    && order.meta().deletion_timestamp.is_none()
                    && order.order_spec().deletion_protection
            });
            found.is_some()
        }
        any(&self.postgres, namespace) || any(&self.documents, namespace)
    }
}

/// What the ledger acknowledged and what was written, so that nothing is said twice. Lost at a restart, when everything
/// is said once again; each of it is idempotent.
#[derive(Debug, Default)]
pub struct Memory {
    inner: Mutex<Remembered>,
}

/// The content of [`Memory`].
#[derive(Debug, Default)]
pub struct Remembered {
    /// Hash of the reservation that is held, by order uid.
    pub held: BTreeMap<String, u64>,
    /// Level that was acknowledged, by order uid and meter.
    pub metered: BTreeMap<(String, Meter), Option<Level>>,
    /// Orders whose right to read the archive they were restored from is known to be gone, by uid.
    pub restored: BTreeSet<String>,
    /// What the origins of orders that are to be restored to a moment were given, by the uid of the order that waits.
    pub marks: BTreeMap<String, Mark>,
    /// What drills found since this process began, by order uid.
    pub drills: BTreeMap<String, DrillStatus>,
    /// When the ledger last confirmed that an order is metered, by order uid.
    pub confirmed: BTreeMap<String, Timestamp>,
    /// Until when what a gone order has in the object store is not looked at again, and why, by its uid.
    pub archives: BTreeMap<String, (Timestamp, Option<Refusal>)>,
    /// What kept data costs, as the ledger said when it was held, by order uid.
    pub kept: BTreeMap<String, Cost>,
    /// Forced orders of which the ledger knows, and which left something, by uid.
    pub forced: BTreeSet<String>,
    /// Whether a namespace is marked as holding protected orders.
    pub protected: BTreeMap<String, bool>,
    /// Hash of what was set up for a tenant, by its uid.
    pub tenants: BTreeMap<String, u64>,
    /// The namespaces that were set up for a tenant, by its uid.
    pub namespaces: BTreeMap<String, Vec<ExistingNamespace>>,
}

impl Remembered {
    /// Remembers that the ledger confirmed these orders.
    pub fn confirm(&mut self, uids: impl Iterator<Item = String>, now: Timestamp) {
        self.confirmed.extend(uids.map(|uid| (uid, now)));
    }

    /// Remembers nothing of what the ledger acknowledged.
    pub fn forget_ledger(&mut self) {
        self.held.clear();
        self.metered.clear();
        self.forced.clear();
        // What was set up in the cluster has a uid alone for a key.
        self.tenants.retain(|key, _| !key.contains('/'));
    }

    /// Remembers nothing more of an order that is gone.
    pub fn forget(&mut self, uid: &str) {
        self.held.remove(uid);
        self.metered.retain(|(of, _), _| of != uid);
        self.restored.remove(uid);
        self.marks.remove(uid);
        self.confirmed.remove(uid);
        self.kept.remove(uid);
        self.forced.remove(uid);
        self.archives.remove(uid);
    }
}

impl Memory {
    /// The content. Never held over an await.
    pub fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Senders that make a controller look at an order again.
#[derive(Clone, Debug)]
pub struct Triggers {
    /// For `PostgresInstance`s.
    pub postgres: mpsc::UnboundedSender<OrderRef>,
    /// For `DocumentStoreInstance`s.
    pub documents: mpsc::UnboundedSender<OrderRef>,
}

impl Triggers {
    /// Looks at an order again.
    pub fn look_at(&self, order: OrderRef) {
        let sender = match order.kind {
            Kind::Postgres => &self.postgres,
            Kind::Documents => &self.documents,
        };
        // A closed channel means that the process is ending.
        let _ = sender.send(order);
    }
}

/// What every pass shares.
pub struct Context {
    /// Kubernetes.
    pub client: Client,
    /// Settings.
    pub config: Config,
    /// The certificate authority.
    pub authority: CertificateAuthority,
    /// Where the platform lives.
    pub platform: Platform,
    /// The ledger.
    pub ledger: LedgerClient,
    /// Logs in to instances.
    pub prober: Arc<Prober>,
    /// What the prober finds, as the ledger is told.
    pub availability: Arc<Availability>,
    /// Logs in with what is being made or ended, in the middle of a rotation.
    pub turner: Arc<Prober>,
    /// Logs in with further logins.
    pub further: Arc<Prober>,
    /// Children of orders.
    pub cache: ChildCache,
    /// Watches that run, by what they watch.
    pub watches: crate::run::Watches,
    /// The catalogue.
    pub catalogue: CatalogueStores,
    /// The orders.
    pub orders: OrderStores,
    /// What was acknowledged.
    pub memory: Memory,
    /// Failures in a row.
    pub backoff: Backoff,
    /// Counters.
    pub metrics: Metrics,
    /// Tells people of turns in an order's life. One for all: it counts repeats together.
    pub recorder: kube::runtime::events::Recorder,
    /// Makes the sweep look for engine objects without an order.
    pub sweep: Arc<Notify>,
    /// An order was told something new: its figures are brought up to date.
    pub turned: Notify,
    /// Makes reservations be compared with orders at once.
    pub compare: Arc<Notify>,
    /// Makes a controller look again.
    pub triggers: Triggers,
    /// Brings the tenants' figures up to date.
    pub figures: Figures,
    /// Brings the rights of tenant admins up to date.
    pub delegation: Delegation,
    /// Uid of the cluster: the collector's name in the ledger.
    pub collector: String,
    /// Epoch of the lease: a lower one is fenced by the ledger.
    pub epoch: i64,
    /// When this replica began to lead.
    pub began: Timestamp,
}

impl Context {
    /// Tells the ledger everything again, because another incarnation of it answers: what was acknowledged by the one before
    /// may be lost.
    pub fn prove_again(&self) {
        self.memory.lock().forget_ledger();
        self.availability.tell_again();
        self.orders.all().into_iter().for_each(|order| self.triggers.look_at(order.at));
        self.sweep.notify_one();
        self.compare.notify_one();
    }

    /// What the caches hold of an order; nothing while a namespace of it is not watched yet.
    pub fn observe(&self, order: &Order, names: &Names) -> Option<Seen> {
        let watched = |namespace: &str| {
            self.cache.is_synced(&Source { kind: ChildKind::Secret, namespace: Some(namespace.to_owned()) })
        };
        (watched(&names.engine) && watched(&order.at.namespace)).then(|| self.seen(order.uid.as_str()))
    }

    /// The uids of what else has passes of its own: tenants and price lists.
    pub fn catalogue_uids(&self) -> BTreeSet<String> {
        let tenants = self.catalogue.tenants.state();
        let lists = self.catalogue.price_lists.state();
        tenants.iter().filter_map(|t| t.uid()).chain(lists.iter().filter_map(|l| l.uid())).collect()
    }

    /// What the caches hold of an order, without asking whether they are complete.
    pub fn seen(&self, uid: &str) -> Seen {
        let (children, login) = (self.cache.children(uid), self.prober.outcome(uid));
        let drill = self.memory.lock().drills.get(uid).cloned();
        let (pods, disk) = (self.cache.pods(uid), self.prober.fullness(uid));
        Seen { children, pods, login, disk, late: self.prober.late(uid), drill, ..Seen::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_ledger_is_told_all_that_it_is_told_and_what_was_set_up_in_the_cluster_stays() {
        let mut memory = Remembered::default();
        memory.held.insert("order".to_owned(), 1);
        memory.metered.insert(("order".to_owned(), Meter::COMPUTE), None);
        for key in ["uid", "ledger/uid", "prices/uid"] {
            memory.tenants.insert(key.to_owned(), 1);
        }
        memory.protected.insert("namespace".to_owned(), true);
        memory.forget_ledger();
        assert!(memory.held.is_empty() && memory.metered.is_empty());
        assert_eq!(memory.tenants.keys().collect::<Vec<_>>(), ["uid"]);
        assert!(memory.protected["namespace"]);
    }
}

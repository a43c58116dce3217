//! Starts everything in order, and ends it.

use crate::admission::{self, Adviser};
use crate::authority::CertificateAuthority;
use crate::availability::{self, Availability};
use crate::backoff::Backoff;
use crate::cache::{ChildCache, Source};
use crate::certificate::{self, Service};
use crate::config::Config;
use crate::context::{CatalogueStores, Context, Memory, OrderStores, Triggers};
use crate::health::{self, Health};
use crate::ledger::LedgerClient;
use crate::metrics::Metrics;
use crate::names::{MANAGED, ORDER_UID};
use crate::namespaces::{self, NamespaceBook, News};
use crate::object::ChildKind;
use crate::order::{OrderRef, OrderResource};
use crate::plan::{Certificate, Platform};
use crate::probe::Prober;
use crate::reconcile::{Pass, reconcile};
use crate::{credentials, drills, instances, lease, price_list, retained, sweeper, tenant, unwell};
use anyhow::{Context as _, Result};
use futures::{Stream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams};
use kube::runtime::controller::{Action, Config as ControllerConfig, Controller, Error as ControllerError};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource, ResourceExt};
use siyada_crds::backup::BackedUp;
use siyada_crds::{
    DocumentStoreInstance, PostgresInstance, PriceList, RetainedInstance, ServiceBackup, ServiceCredential,
    ServiceOffering, Site, Tenant,
};
use siyada_model::wire::{Checkpoint, MOST_FACTS};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Events of one order that come within this time are one pass: its children come in a burst.
const BURST: Duration = Duration::from_millis(50);
/// What kubectl remembers of an apply.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// News of namespaces taken at once.
const MOST_NEWS: usize = 1024;
/// While something that is needed at the start is missing.
const AGAIN: Duration = Duration::from_secs(3);

/// The watches of children that run, each in its own task.
#[derive(Default)]
pub struct Watches {
    tasks: Mutex<BTreeMap<Source, JoinHandle<()>>>,
}

impl Watches {
    /// Starts to watch a source, once.
    pub fn start(&self, context: &Context, source: Source) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.get(&source).is_some_and(|task| !task.is_finished()) {
            return;
        }
        let task = tokio::spawn(watch_children(
            context.client.clone(),
            source.clone(),
            context.cache.clone(),
            context.triggers.clone(),
            Arc::clone(&context.sweep),
        ));
        tasks.insert(source, task);
    }

    /// Stops to watch a source and forgets what it brought.
    pub fn stop(&self, context: &Context, source: &Source) {
        if let Some(task) = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).remove(source) {
            task.abort();
        }
        context.cache.forget(source);
    }
}

async fn watch_children(
    client: Client,
    source: Source,
    cache: ChildCache,
    triggers: Triggers,
    sweep: Arc<Notify>,
) {
    let resource = source.kind.api_resource();
    let api = match &source.namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    // The engine's volumes and backups carry the order's uid; everything else that counts was planned by us.
    let wanted = match source.kind {
        ChildKind::PersistentVolumeClaim | ChildKind::Backup => watcher::Config::default().labels(ORDER_UID),
        // Only in engine namespaces, where nobody else has any.
        ChildKind::Pod => watcher::Config::default(),
        _ => watcher::Config::default().labels(MANAGED),
    };
    let mut events = watcher(api, wanted).default_backoff().boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                // Where the name was ordered again, no order's pass would look at what the old one left.
                if cache.is_of_leftover(&event) {
                    sweep.notify_one();
                }
                cache.take(&source, event).into_iter().for_each(|order| triggers.look_at(order));
            }
            Err(error) => {
                tracing::warn!(error = %error, "the watch of {} stumbled and is started again", source.kind)
            }
        }
    }
}

/// A kind that can be kept in a store.
trait Watched:
    Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// Watches a kind of the catalogue into a store; tells `changed` when a spec changed.
fn reflect<K: Watched>(client: &Client, changed: mpsc::UnboundedSender<()>) -> Store<K> {
    let (reader, writer) = reflector::store();
    let events = watcher(Api::<K>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer);
    tokio::spawn(async move {
        let mut generations: BTreeMap<String, Option<i64>> = BTreeMap::new();
        let mut events = events.boxed();
        while let Some(event) = events.next().await {
            let news = match event {
                Ok(Event::Apply(o) | Event::InitApply(o)) => {
                    let generation = o.meta().generation;
                    generations.insert(o.name_any(), generation) != Some(generation)
                }
                Ok(Event::Delete(o)) => generations.remove(&o.name_any()).is_some(),
                Ok(Event::InitDone) => true,
                Ok(Event::Init) => false,
                Err(error) => {
                    tracing::warn!(error = %error, "the watch of {} stumbled and is started again", K::kind(&()));
                    false
                }
            };
            if news {
                let _ = changed.send(());
            }
        }
    });
    reader
}

/// Watches a kind that lies beside orders into a store; the orders that `of` names are looked at.
fn reflect_beside<K: Watched>(client: &Client, triggers: &Triggers, of: fn(&K) -> &BackedUp) -> Store<K> {
    let triggers = triggers.clone();
    reflect_each(client, move |object: &K| {
        let order = of(object);
        let namespace = object.namespace().unwrap_or_default();
        triggers.look_at(OrderRef { kind: order.kind.into(), namespace, name: order.name.clone() });
    })
}

/// Watches a kind into a store, and does something about every object that changed.
fn reflect_each<K: Watched>(client: &Client, touched: impl Fn(&K) + Send + 'static) -> Store<K> {
    let (reader, writer) = reflector::store();
    let events = watcher(Api::<K>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer)
        .touched_objects();
    tokio::spawn(async move {
        let mut events = events.boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(object) => touched(&object),
                Err(error) => {
                    tracing::warn!(error = %error, "the watch of {} stumbled and is started again", K::kind(&()));
                }
            }
        }
    });
    reader
}

fn stream<T: Send + 'static>(
    mut receiver: mpsc::UnboundedReceiver<T>,
) -> impl Stream<Item = T> + Send + 'static {
    futures::stream::poll_fn(move |task| receiver.poll_recv(task))
}

/// Runs until it is told to stop or loses the lease.
///
/// # Errors
/// When something that is needed cannot be had at all.
pub async fn run(config: Config) -> Result<()> {
    let client = Client::try_default().await.context("failed to find the cluster: is KUBECONFIG set?")?;
    let (health, metrics, stop) = (Health::default(), Metrics::default(), CancellationToken::new());
    for what in ["the custom resources", "the admission policies", "the catalogue"] {
        health.wait_for(what);
    }
    stop_on_signal(stop.clone());
    let serving = health::serve(config.listen_health, health.clone(), metrics.clone());
    let serving = tokio::spawn(serving);
    tokio::select! {
        outcome = work(client, config, health, metrics, stop.clone()) => outcome,
        outcome = serving => outcome.map_err(anyhow::Error::from).and_then(|o| Ok(o?)).context("health is not served"),
        // What is under way is finished, and the lease given back; whoever never led has nothing to finish.
        () = long_after(&stop) => Ok(()),
    }
}

/// Ends so long after the order to stop that what was under way must have ended: the kubelet waits for 30 s.
async fn long_after(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(Duration::from_secs(20)).await;
}

fn stop_on_signal(stop: CancellationToken) {
    tokio::spawn(async move {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            return;
        };
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        tracing::info!("told to stop: finishing what is under way");
        stop.cancel();
    });
}

async fn work(
    client: Client,
    config: Config,
    health: Health,
    metrics: Metrics,
    stop: CancellationToken,
) -> Result<()> {
    wait_for_definitions(&client, &health).await;
    wait_for_policies(&client, &config, &health).await;
    let authority = CertificateAuthority::load(&client, &config.namespace).await?;
    keep_certificates(&client, &config, &authority, &metrics);
    tokio::spawn(admission::keep_trusted(
        client.clone(),
        config.webhook_configuration.clone(),
        authority.clone(),
    ));
    let ledger = LedgerClient::new(&config.ledger_url, config.ledger_token_file.clone(), authority.pem())?;
    let (changed, news) = mpsc::unbounded_channel();
    let catalogue = CatalogueStores {
        tenants: reflect::<Tenant>(&client, changed.clone()),
        sites: reflect::<Site>(&client, changed.clone()),
        offerings: reflect::<ServiceOffering>(&client, changed.clone()),
        price_lists: reflect::<PriceList>(&client, changed.clone()),
        namespaces: NamespaceBook::default(),
    };
    let (namespace_sender, namespace_news) = mpsc::unbounded_channel();
    tokio::spawn(namespaces::keep(client.clone(), catalogue.namespaces.clone(), namespace_sender));
    catalogue.namespaces.wait_until_ready().await;
    catalogue.tenants.wait_until_ready().await?;
    catalogue.sites.wait_until_ready().await?;
    catalogue.offerings.wait_until_ready().await?;
    catalogue.price_lists.wait_until_ready().await?;
    health.done("the catalogue");
    let adviser = Adviser { catalogue: catalogue.clone(), ledger: ledger.clone(), metrics: metrics.clone() };
    serve_webhook(client.clone(), &config, authority.clone(), adviser);

    let mut leadership = tokio::select! {
        leadership = lease::lead(&client, &config.namespace, &config.identity) => leadership?,
        () = stop.cancelled() => return Ok(()),
    };
    tracing::info!(epoch = leadership.epoch, "this replica leads");
    metrics.leader.set(1);
    let shared =
        Shared { client, config, authority, ledger, catalogue, metrics, epoch: leadership.epoch, changed };
    let ended = tokio::select! {
        outcome = operate(shared, news, namespace_news, stop.clone()) => outcome,
        () = leadership.lost() => Err(anyhow::anyhow!("the lease is lost: another replica leads; this process ends")),
    };
    leadership.release().await;
    ended
}

struct Shared {
    client: Client,
    config: Config,
    authority: CertificateAuthority,
    ledger: LedgerClient,
    catalogue: CatalogueStores,
    metrics: Metrics,
    epoch: i64,
    changed: mpsc::UnboundedSender<()>,
}

/// What only the leader does.
async fn operate(
    shared: Shared,
    news: mpsc::UnboundedReceiver<()>,
    namespace_news: mpsc::UnboundedReceiver<News>,
    stop: CancellationToken,
) -> Result<()> {
    let Shared { client, config, authority, ledger, catalogue, metrics, epoch, changed } = shared;
    let collector = cluster_uid(&client).await?;
    let authority_file = config.work_dir.join("authority.pem");
    let written = tokio::fs::write(&authority_file, authority.pem()).await;
    written.context("failed to write into the work folder")?;
    let (postgres_sender, postgres_news) = mpsc::unbounded_channel();
    let (documents_sender, documents_news) = mpsc::unbounded_channel();
    let triggers = Triggers { postgres: postgres_sender, documents: documents_sender };
    let sweep = Arc::<Notify>::default();
    let (probe_sender, probe_news) = mpsc::unbounded_channel::<OrderRef>();
    let settings = ControllerConfig::default().concurrency(config.concurrency).debounce(BURST);
    let (postgres, postgres_store, postgres_listed) = controller::<PostgresInstance>(&client);
    let (documents, documents_store, documents_listed) = controller::<DocumentStoreInstance>(&client);
    let watched = Arc::<Availability>::default();
    let context = Arc::new(Context {
        platform: Platform {
            namespace: config.namespace.clone(),
            engine_namespace: config.engine_namespace.clone(),
            authority_pem: authority.pem().to_owned(),
        },
        turner: Arc::new(Prober::new(probe_sender.clone(), authority_file.clone())),
        further: Arc::new(Prober::new(probe_sender.clone(), authority_file.clone())),
        prober: Arc::new(Prober::new(probe_sender, authority_file).telling(Arc::clone(&watched))),
        availability: watched,
        cache: ChildCache::default(),
        watches: Watches::default(),
        orders: order_stores(&client, (postgres_store, documents_store), &triggers, &sweep),
        memory: Memory::default(),
        backoff: Backoff::default(),
        sweep,
        turned: Notify::new(),
        compare: Arc::default(),
        recorder: recorder(&client, &config),
        client: client.clone(),
        config,
        authority,
        ledger,
        catalogue,
        metrics,
        triggers: triggers.clone(),
        figures: tenant::figures::Figures::default(),
        delegation: tenant::delegation::Delegation::default(),
        collector,
        epoch,
        began: Timestamp::now(),
    });
    tokio::spawn(forward(probe_news, triggers));
    start_watches(&context).await;
    wait_for_listings(&context.orders).await?;
    let [tick_postgres, tick_documents, tick_tenants, tick_lists] = split(news);
    start_tasks(&context, [postgres_listed, documents_listed]);
    tokio::spawn(follow_namespaces(Arc::clone(&context), namespace_news, changed.clone()));
    tokio::spawn(follow_ledger(Arc::clone(&context), changed));
    let tenants = Controller::new(Api::<Tenant>::all(client.clone()), watcher::Config::default())
        .with_config(settings.clone())
        .reconcile_all_on(tick_tenants)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(
            tenant::reconcile,
            |t, e, c| failed(&t.uid().unwrap_or_default(), &t.name_any(), e, &c),
            Arc::clone(&context),
        )
        .for_each(|outcome| note(outcome, None));
    let lists = price_lists(&settings, tick_lists, &stop, &context);
    let postgres = orders(postgres, &settings, postgres_news, tick_postgres, &stop, &context);
    let documents = orders(documents, &settings, documents_news, tick_documents, &stop, &context);
    futures::future::join4(tenants, lists, postgres, documents).await;
    Ok(())
}

fn order_stores(
    client: &Client,
    (postgres, documents): (Store<PostgresInstance>, Store<DocumentStoreInstance>),
    triggers: &Triggers,
    sweep: &Arc<Notify>,
) -> OrderStores {
    let backups = reflect_beside(client, triggers, |b: &ServiceBackup| &b.spec.instance);
    let credentials = reflect_beside(client, triggers, |c: &ServiceCredential| &c.spec.instance);
    let sweep = Arc::clone(sweep);
    // A sweep looks at each change of a listing: it may ask for a removal.
    let retained = reflect_each(client, move |_: &RetainedInstance| sweep.notify_one());
    OrderStores { postgres, documents, backups, credentials, retained }
}

/// Before, an order would look as if it had no backups and no further logins: the one would end in the bill, the other in the
/// database.
async fn wait_for_listings(orders: &OrderStores) -> Result<()> {
    orders.backups.wait_until_ready().await.context("the watch of ServiceBackup ended")?;
    orders.credentials.wait_until_ready().await.context("the watch of ServiceCredential ended")?;
    orders.retained.wait_until_ready().await.context("the watch of RetainedInstance ended")
}

fn recorder(client: &Client, config: &Config) -> Recorder {
    let controller = "siyada.cloud/operator".to_owned();
    Recorder::new(client.clone(), Reporter { controller, instance: Some(config.identity.clone()) })
}

/// Turns true once everything was listed. A store's own `wait_until_ready` wakes only the last of several that wait for it
/// (kube 5.0), and the controller is one already.
type Listed = watch::Receiver<bool>;

/// A controller of orders, and the store that it fills. What is large and read by nobody is not kept.
fn controller<K: OrderResource>(client: &Client) -> (Controller<K>, Store<K>, Listed) {
    let (reader, writer) = reflector::store();
    let (sender, listed) = watch::channel(false);
    let events = watcher(Api::<K>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .modify(|order| {
            order.managed_fields_mut().clear();
            order.annotations_mut().remove(LAST_APPLIED);
        })
        .reflect(writer)
        .inspect_ok(move |event| {
            if matches!(event, Event::InitDone) {
                sender.send_replace(true);
            }
        })
        .touched_objects();
    (Controller::for_stream(events, reader.clone()), reader, listed)
}

async fn price_lists(
    settings: &ControllerConfig,
    ticks: impl Stream<Item = ()> + Send + 'static,
    stop: &CancellationToken,
    context: &Arc<Context>,
) {
    Controller::new(Api::<PriceList>::all(context.client.clone()), watcher::Config::default())
        .with_config(settings.clone())
        .reconcile_all_on(ticks)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(
            price_list::reconcile,
            |l, e, c| failed(&l.uid().unwrap_or_default(), &l.name_any(), e, &c),
            Arc::clone(context),
        )
        .for_each(|outcome| note(outcome, None))
        .await;
}

async fn orders<K: OrderResource>(
    controller: Controller<K>,
    settings: &ControllerConfig,
    news: mpsc::UnboundedReceiver<OrderRef>,
    ticks: impl Stream<Item = ()> + Send + 'static,
    stop: &CancellationToken,
    context: &Arc<Context>,
) {
    controller
        .with_config(settings.clone())
        .reconcile_on(stream(news).map(|order| order.object_ref::<K>()))
        .reconcile_all_on(ticks)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(
            reconcile::<K>,
            |o, e, c| failed(&o.uid().unwrap_or_default(), &crate::order::display_name(&*o), e, &c),
            Arc::clone(context),
        )
        .for_each(|outcome| note(outcome, Some(context)))
        .await;
}

/// The one place where a failed pass is logged and its delay decided.
fn failed(uid: &str, name: &str, error: &Pass, context: &Context) -> Action {
    let wait = context.backoff.failed(uid);
    let chain = chain(error);
    tracing::warn!(
        order.uid = uid,
        error = chain,
        "a pass over {name} failed and is tried again in {} s",
        wait.as_secs()
    );
    Action::requeue(wait)
}

/// An error with its sources, one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

async fn note<K: Resource<DynamicType = ()>>(
    outcome: Result<(ObjectRef<K>, Action), ControllerError<Pass, watcher::Error>>,
    context: Option<&Arc<Context>>,
) {
    match outcome {
        // Gone before its turn: the sweep looks at what it left.
        Err(ControllerError::ObjectNotFound(_)) => {
            if let Some(context) = context {
                context.sweep.notify_one();
            }
        }
        Err(ControllerError::QueueError(error)) => {
            tracing::warn!(
                error = chain(&error),
                "a watch of {} stumbled and is started again",
                K::kind(&())
            );
        }
        Ok(_) | Err(_) => {}
    }
}

async fn forward(mut probes: mpsc::UnboundedReceiver<OrderRef>, triggers: Triggers) {
    while let Some(order) = probes.recv().await {
        triggers.look_at(order);
    }
}

/// One stream of news for each of four listeners.
fn split(mut news: mpsc::UnboundedReceiver<()>) -> [impl Stream<Item = ()> + Send + 'static; 4] {
    let channels: [_; 4] = std::array::from_fn(|_| mpsc::unbounded_channel());
    let senders = channels.each_ref().map(|(sender, _)| sender.clone());
    tokio::spawn(async move {
        while news.recv().await.is_some() {
            for sender in &senders {
                let _ = sender.send(());
            }
        }
    });
    channels.map(|(_, receiver)| stream(receiver))
}

/// A namespace of a tenant that is gone is made again: what was set up in it is forgotten, and every tenant looked at.
/// Where one is bound, the orders in it are looked at.
async fn follow_namespaces(
    context: Arc<Context>,
    mut news: mpsc::UnboundedReceiver<News>,
    changed: mpsc::UnboundedSender<()>,
) {
    let mut items = Vec::new();
    while news.recv_many(&mut items, MOST_NEWS).await > 0 {
        let (mut bound, mut gone) = (BTreeSet::new(), BTreeSet::new());
        for item in items.drain(..) {
            match item {
                News::Bound(namespace) => bound.insert(namespace),
                News::Gone(namespace) => gone.insert(namespace),
            };
        }
        let orders = context.orders.all();
        let inside = orders.into_iter().filter(|order| bound.contains(&order.at.namespace));
        inside.for_each(|order| context.triggers.look_at(order.at));
        for namespace in &gone {
            tracing::info!(
                "namespace {namespace} is gone or no longer bound: it is made again while a Tenant lists it"
            );
            for kind in [ChildKind::Secret, ChildKind::Pod] {
                context.watches.stop(&context, &Source { kind, namespace: Some(namespace.clone()) });
            }
            context.memory.lock().protected.remove(namespace);
        }
        if !gone.is_empty() {
            context.memory.lock().tenants.retain(|key, _| key.contains('/'));
            let _ = changed.send(());
        }
    }
}

/// Tells everything again whenever another incarnation of the ledger answers.
async fn follow_ledger(context: Arc<Context>, changed: mpsc::UnboundedSender<()>) {
    loop {
        context.ledger.another_incarnation().await;
        tracing::warn!("another incarnation of the ledger answers: reservations and levels are told again");
        context.prove_again();
        // Tenants and price lists too.
        let _ = changed.send(());
    }
}

/// What runs beside the controllers, until the process ends.
fn start_tasks(context: &Arc<Context>, listed: [Listed; 2]) {
    tokio::spawn(Arc::clone(&context.prober).run());
    tokio::spawn(Arc::clone(&context.turner).run());
    tokio::spawn(Arc::clone(&context.further).run());
    tokio::spawn(credentials::run(Arc::clone(context)));
    tokio::spawn(checkpoints(Arc::clone(context)));
    tokio::spawn(unwell::keep(Arc::clone(context)));
    tokio::spawn(availability::run(Arc::clone(context)));
    // Before, every order would look as if it were gone.
    tokio::spawn(once_listed(listed.clone(), retained::run(Arc::clone(context))));
    tokio::spawn(once_listed(listed.clone(), first_sweep(Arc::clone(context))));
    tokio::spawn(once_listed(listed, drills::run(Arc::clone(context))));
    tokio::spawn(tenant::figures::run(Arc::clone(context)));
    tokio::spawn(tenant::delegation::run(Arc::clone(context)));
    tokio::spawn(sweeper::run(Arc::clone(context)));
}

async fn start_watches(context: &Arc<Context>) {
    let sources = ChildKind::WATCHED.map(|kind| Source { kind, namespace: None });
    for source in &sources {
        context.watches.start(context, source.clone());
    }
    while !sources.iter().all(|s| context.cache.is_synced(s)) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn once_listed(listed: [Listed; 2], then: impl Future<Output = ()> + Send) {
    for mut listed in listed {
        // Without its sender the process is ending.
        if listed.wait_for(|listed| *listed).await.is_err() {
            return;
        }
    }
    then.await;
}

/// Looks for engine objects without an order.
async fn first_sweep(context: Arc<Context>) {
    // The Secrets' watches start with the tenants; the ledger may need a moment too.
    tokio::time::sleep(Duration::from_secs(5)).await;
    context.sweep.notify_one();
}

/// Tells the ledger at intervals which orders are still as reported. Reads memory only.
async fn checkpoints(context: Arc<Context>) {
    // By a clock that nobody sets: by it the ledger tells time that went by from a clock that jumped.
    let mut taken: Option<Instant> = None;
    loop {
        tokio::time::sleep(Duration::from_secs(context.config.checkpoint_seconds.into())).await;
        let seen: Vec<_> = {
            let memory = context.memory.lock();
            let mut uids: Vec<_> =
                memory.metered.iter().filter(|(_, l)| l.is_some()).map(|((uid, _), _)| uid.clone()).collect();
            uids.dedup();
            uids.into_iter().filter_map(|uid| uid.parse().ok()).collect()
        };
        let pages = seen.chunks(MOST_FACTS).map(<[_]>::to_vec).collect::<Vec<_>>();
        let pages = if pages.is_empty() { vec![Vec::new()] } else { pages };
        context.figures.look();
        unwell::count(&context);
        crate::counters::tell(&context).await;
        // Before the checkpoint: a month that it lets close has all that was seen in it.
        availability::tell(&context, true).await;
        let last = pages.len() - 1;
        for (index, seen) in pages.into_iter().enumerate() {
            let complete = index == last;
            let asked = Instant::now();
            let elapsed = taken.filter(|_| complete).map(|taken| asked.duration_since(taken).as_millis());
            let checkpoint = Checkpoint {
                collector: context.collector.clone(),
                epoch: context.epoch,
                seen,
                complete,
                elapsed_ms: elapsed.and_then(|elapsed| i64::try_from(elapsed).ok()),
            };
            let answer = context.ledger.checkpoint(&checkpoint).await;
            if answer.is_ok() {
                context
                    .memory
                    .lock()
                    .confirm(checkpoint.seen.iter().map(ToString::to_string), Timestamp::now());
            }
            match answer {
                Ok(()) if complete => taken = Some(asked),
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(error = %error, "no checkpoint this time; the next one covers it");
                    break;
                }
            }
        }
        instances::count(&context);
    }
}

async fn cluster_uid(client: &Client) -> Result<String> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let system = namespaces.get("kube-system").await.context("failed to read the cluster's identity")?;
    Ok(system.uid().unwrap_or_default())
}

async fn wait_for_definitions(client: &Client, health: &Health) {
    let one = ListParams::default().limit(1);
    loop {
        let found = tokio::try_join!(
            async { Api::<Tenant>::all(client.clone()).list(&one).await.map(|_| ()) },
            async { Api::<Site>::all(client.clone()).list(&one).await.map(|_| ()) },
            async { Api::<ServiceOffering>::all(client.clone()).list(&one).await.map(|_| ()) },
            async { Api::<PriceList>::all(client.clone()).list(&one).await.map(|_| ()) },
            async { Api::<PostgresInstance>::all(client.clone()).list(&one).await.map(|_| ()) },
            async { Api::<DocumentStoreInstance>::all(client.clone()).list(&one).await.map(|_| ()) },
            async { Api::<ServiceBackup>::all(client.clone()).list(&one).await.map(|_| ()) },
            async { Api::<ServiceCredential>::all(client.clone()).list(&one).await.map(|_| ()) },
            async { Api::<RetainedInstance>::all(client.clone()).list(&one).await.map(|_| ()) },
        );
        match found {
            Ok(_) => break,
            Err(error) => {
                tracing::warn!(error = %error, "the custom resources cannot be read: is chart siyada-crds installed?")
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
    health.done("the custom resources");
}

/// What protects must be there before anything runs.
async fn wait_for_policies(client: &Client, config: &Config, health: &Health) {
    loop {
        let mut missing = Vec::new();
        for name in config.required_policies.iter().filter(|n| !n.is_empty()) {
            // A policy that is not bound holds nobody.
            let validating = there::<ValidatingAdmissionPolicy>(client, name).await
                && there::<ValidatingAdmissionPolicyBinding>(client, name).await;
            let mutating = there::<MutatingAdmissionPolicy>(client, name).await
                && there::<MutatingAdmissionPolicyBinding>(client, name).await;
            if !validating && !mutating {
                missing.push(name.as_str());
            }
        }
        if missing.is_empty() {
            break;
        }
        tracing::warn!(
            "nothing runs without the admission policies {}: install chart siyada again",
            missing.join(", ")
        );
        tokio::time::sleep(AGAIN).await;
    }
    health.done("the admission policies");
}

async fn there<K>(client: &Client, name: &str) -> bool
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    matches!(Api::<K>::all(client.clone()).get_opt(name).await, Ok(Some(_)))
}

fn keep_certificates(client: &Client, config: &Config, authority: &CertificateAuthority, metrics: &Metrics) {
    metrics.certificate("authority", certificate::not_after(authority.pem()));
    let service = Service { namespace: config.namespace.clone(), name: config.api_service.clone() };
    let metrics = metrics.clone();
    let take = async move |kept: Certificate| {
        metrics.certificate("api", certificate::not_after(&kept.certificate_pem));
    };
    tokio::spawn(certificate::keep(client.clone(), authority.clone(), service, take));
}

fn serve_webhook(client: Client, config: &Config, authority: CertificateAuthority, adviser: Adviser) {
    let service = Service { namespace: config.namespace.clone(), name: config.webhook_service.clone() };
    let address = config.listen_webhook;
    tokio::spawn(async move {
        if let Err(error) = admission::serve(address, client, service, authority, adviser).await {
            tracing::error!(error = %error, "the webhook does not serve: orders get no advice at kubectl apply");
        }
    });
}

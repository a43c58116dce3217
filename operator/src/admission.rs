//! The webhook: **advice only**. It refuses at once what cannot be, and warns with the price. When it is down nothing is
//! lost: the reservation decides.

use crate::apply;
use crate::authority::CertificateAuthority;
use crate::certificate::{self, Service, hosts, not_after};
use crate::check::{Refusal, Valid, check};
use crate::condition::reason;
use crate::context::CatalogueStores;
use crate::ledger::{Ledger, LedgerClient};
use crate::major::announcement;
use crate::metrics::Metrics;
use crate::order::{Order, OrderResource};
use crate::plan::major;
use axum::{Json, Router, extract::State, routing::post};
use axum_server::tls_rustls::RustlsConfig;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::Client;
use kube::api::{Api, DynamicObject};
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview};
use kube::runtime::watcher::{self, Event, watcher};
use siyada_crds::order::{Apply, OperationPhase};
use siyada_crds::{DocumentStoreInstance, OrderSpec, PostgresInstance};
use siyada_model::money::Money;
use siyada_model::wire::{Quote, QuoteRequest};
use std::net::SocketAddr;
use std::time::Duration;

/// The ledger may take so long while somebody waits at kubectl.
const PATIENCE: Duration = Duration::from_secs(2);

/// After a fault of the watch of the webhook's configuration.
const AGAIN: Duration = Duration::from_secs(5);

/// What the webhook needs.
#[derive(Clone)]
pub struct Adviser {
    /// The catalogue.
    pub catalogue: CatalogueStores,
    /// The ledger.
    pub ledger: LedgerClient,
    /// Counters.
    pub metrics: Metrics,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A new order.
    Order,
    /// A change of one that is there.
    Change,
    /// Compute again for one that is suspended.
    Resume,
}

impl Wish {
    fn of(before: Option<&OrderSpec>, after: &OrderSpec) -> Self {
        match before {
            None => Self::Order,
            Some(before) if before.suspend && !after.suspend => Self::Resume,
            Some(_) => Self::Change,
        }
    }

    /// The subject of a refusal.
    fn words(self) -> &'static str {
        match self {
            Self::Order => "the order",
            Self::Change => "the change",
            Self::Resume => "it stays suspended, as resuming it",
        }
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advice {
    /// It may be; these warnings are shown.
    Allow(Vec<String>),
    /// It cannot be.
    Deny(Refusal),
}

/// The advice for an order, from what was found out beforehand. Pure. `quote` is absent when the ledger was silent, `before`
/// where the order is new or was not possible as it was.
pub fn advise(
    valid: Result<&Valid, &Refusal>,
    before: Option<&Valid>,
    quote: Option<&Quote>,
    wish: Wish,
) -> Advice {
    let valid = match valid {
        Ok(valid) => valid,
        Err(refusal) => return Advice::Deny(refusal.clone()),
    };
    let mut warnings = vec![price_warning(valid, before, quote)];
    warnings.extend(before.and_then(|before| disturbance(before, valid)));
    if valid.deprecated {
        warnings
            .push(format!("version {} is deprecated: plan to move to a newer one", valid.order.spec.version));
    }
    warnings.extend(quote.into_iter().flat_map(|q| &q.soft_limits).map(ToString::to_string));
    if let Some(needed) = quote.and_then(|q| q.approval_needed.as_ref()) {
        warnings.push(format!(
            "above {}/month of tenant {}: it waits, and starts nothing, until somebody with the role approver who did not \
             order it approves",
            needed.above, needed.tenant
        ));
    }
    if let Some(short) = quote.and_then(|q| q.shortfall.as_ref()) {
        let reason = if short.dimension == siyada_model::quota::Dimension::MonthlyCost {
            reason::BUDGET_EXCEEDED
        } else {
            reason::QUOTA_EXCEEDED
        };
        let what = wish.words();
        let freeable = short.freeable_words().map(|words| format!("; {words}")).unwrap_or_default();
        let message = format!(
            "{what} does not fit the {short}: choose a smaller plan, remove something, or ask for a larger quota (it \
             would cost at most {}/month){freeable}",
            valid.monthly_maximum
        );
        return Advice::Deny(Refusal { reason, message });
    }
    Advice::Allow(warnings)
}

fn price_warning(valid: &Valid, before: Option<&Valid>, quote: Option<&Quote>) -> String {
    let difference = before.and_then(|before| difference(before.monthly_maximum, valid.monthly_maximum));
    let price = format!("{}{}", valid.price_sentence(), difference.unwrap_or_default());
    match quote {
        Some(Quote { committed_after, limit: Some(limit), .. }) => {
            format!("{price}; committed {committed_after} of {limit}")
        }
        Some(quote) => format!("{price}; committed {}", quote.committed_after),
        None => format!("{price}; the quota cannot be looked at now and is checked before anything starts"),
    }
}

/// What a change makes of the price of a month, both at the prices of today.
fn difference(before: Money, after: Money) -> Option<String> {
    let minor = after.minor.checked_sub(before.minor).filter(|_| before.currency == after.currency)?;
    let by = Money { minor: minor.checked_abs()?, currency: after.currency };
    Some(match minor {
        0 => format!("; as much as before ({before}/month)"),
        1.. => format!("; {by}/month more than the {before}/month before"),
        _ => format!("; {by}/month less than the {before}/month before"),
    })
}

/// What a change does to clients that are connected and when, in a sentence; nothing where it does nothing.
fn disturbance(before: &Valid, after: &Valid) -> Option<String> {
    if before.order.spec.suspend || after.order.spec.suspend {
        return None;
    }
    let window = &after.maintenance;
    let back = major(&before.image) > major(&after.image);
    let waits = window.apply == Apply::Window && !back;
    let status = &after.order.status;
    let others = status.pending_maintenance.as_ref();
    let Some((sentence, restarts)) = interruption(before, after) else {
        let begins = before.maintenance.apply == Apply::Window && !waits;
        let pending = status.operation.as_ref().is_some_and(|o| o.state == OperationPhase::Pending);
        if begins
            && pending
            && let Some(what) = others
        {
            return Some(format!("what waited is done at once, and connections end once: {}", what.what));
        }
        let lonely = after.instances == 1 && before.instances > 1;
        return lonely.then(|| {
            "without standbys the database is away while its node is, and while its plan or version changes".to_owned()
        });
    };
    Some(match others {
        _ if waits => {
            format!("it waits for the maintenance window, {window}, or for the next one; then {sentence}")
        }
        Some(others) if restarts => {
            format!("{sentence}; what waits for the maintenance window goes along: {}", others.what)
        }
        _ => sentence,
    })
}

/// What of a change ends connections, and whether it surely restarts the database.
fn interruption(before: &Valid, after: &Valid) -> Option<(String, bool)> {
    if major(&before.image) > major(&after.image) {
        let sentence = "the change of major version is taken back, if nothing of the data was changed yet";
        return Some((sentence.to_owned(), true));
    }
    if major(&before.image) != major(&after.image) {
        return Some((announcement(&before.order.spec.version, &after.order.spec.version), true));
    }
    let form = |v: &Valid| (v.cpu_milli, v.memory_bytes, v.image.clone());
    if form(before) != form(after) {
        let sentence = match before.instances {
            1 => "the database is restarted once: connections end, and new ones are taken when it runs again",
            _ => {
                "instances are restarted one after the other: connections end once, when a standby takes over"
            }
        };
        return Some((sentence.to_owned(), true));
    }
    (before.parameters != after.parameters).then(|| {
        let sentence =
            "some parameters need a restart of the database, which the engine does: connections end once";
        (sentence.to_owned(), false)
    })
}

async fn validate(
    State(adviser): State<Adviser>,
    Json(review): Json<AdmissionReview<DynamicObject>>,
) -> Json<AdmissionReview<DynamicObject>> {
    let request: AdmissionRequest<DynamicObject> = match review.try_into() {
        Ok(request) => request,
        Err(error) => return Json(AdmissionResponse::invalid(error).into_review()),
    };
    let response = AdmissionResponse::from(&request);
    let kind = request.kind.kind.clone();
    let advice = match kind.as_str() {
        "PostgresInstance" => review_order::<PostgresInstance>(&request, &adviser).await,
        "DocumentStoreInstance" => review_order::<DocumentStoreInstance>(&request, &adviser).await,
        _ => Advice::Allow(Vec::new()),
    };
    let verdict = if matches!(advice, Advice::Allow(_)) { "allowed" } else { "denied" };
    adviser.metrics.reviews.get_or_create(&[("verdict", verdict)]).inc();
    Json(answer(response, advice).into_review())
}

fn answer(mut response: AdmissionResponse, advice: Advice) -> AdmissionResponse {
    match advice {
        Advice::Allow(warnings) => {
            response.warnings = (!warnings.is_empty()).then_some(warnings);
            response
        }
        Advice::Deny(refusal) => {
            let mut response = response.deny(refusal.message);
            response.result.code = 403;
            response.result.reason = refusal.reason.to_owned();
            response
        }
    }
}

async fn review_order<K: OrderResource>(
    request: &AdmissionRequest<DynamicObject>,
    adviser: &Adviser,
) -> Advice {
    let Some(object) = &request.object else { return Advice::Allow(Vec::new()) };
    if object.metadata.deletion_timestamp.is_some() {
        return Advice::Allow(Vec::new());
    }
    let read = |object: &DynamicObject| serde_json::to_value(object).and_then(serde_json::from_value::<K>);
    let order = match read(object) {
        Ok(mut order) => {
            // On creation the API server has not given a uid yet; the judgement does not depend on it.
            let meta = order.meta_mut();
            meta.uid.get_or_insert_with(|| "not-yet".to_owned());
            meta.namespace = meta.namespace.take().or_else(|| request.namespace.clone());
            let generated = meta.generate_name.clone().map(|g| format!("{g}x"));
            meta.name = meta.name.take().or(generated);
            Order::of(&order)
        }
        Err(error) => {
            let message = format!("the order cannot be read: {error}");
            return Advice::Deny(Refusal { reason: reason::INVALID, message });
        }
    };
    let Ok(mut order) = order else { return Advice::Allow(Vec::new()) };
    let before = request.old_object.as_ref().and_then(|o| read(o).ok());
    if before.as_ref().is_some_and(|b| *b.order_spec() == order.spec) {
        return Advice::Allow(Vec::new());
    }
    let wish = Wish::of(before.as_ref().map(OrderResource::order_spec), &order.spec);
    let (catalogue, now) = (adviser.catalogue.catalogue(), Timestamp::now());
    // An edit is held to the price of today, whatever the order was admitted with.
    order.status.conditions.clear();
    let valid = check(&order, &catalogue, now);
    let mut old = None;
    if let Some(mut before) = before.and_then(|b| Order::of(&b).ok()) {
        before.status.conditions.clear();
        let judged = check(&before, &catalogue, now);
        if let Some(advice) = unchanged(&judged, &valid, gives_up(&before.spec, &order.spec)) {
            return advice;
        }
        old = judged.ok();
    }
    let quote = match &valid {
        Ok(valid) => quote(valid, wish != Wish::Order, adviser).await,
        Err(_) => None,
    };
    advise(valid.as_ref(), old.as_ref(), quote.as_ref(), wish)
}

/// The advice for an edit that takes nothing more and breaks nothing anew, such as giving up the protection of an order
/// that was refused: it is never in the way. An order that has become too dear may only be given up.
fn unchanged(
    before: &Result<Valid, Refusal>,
    after: &Result<Valid, Refusal>,
    gives_up: bool,
) -> Option<Advice> {
    match (before, after) {
        (Ok(b), Ok(a)) if b.resources == a.resources && b.items == a.items => {
            Some(Advice::Allow(disturbance(b, a).into_iter().collect()))
        }
        (Err(_), Err(a)) if a.reason == reason::COST_ABOVE_MAXIMUM && !gives_up => None,
        (Err(b), Err(a)) if b == a => Some(Advice::Allow(vec![a.message.clone()])),
        _ => None,
    }
}

/// Whether an edit does no more than to suspend an order or to prepare its deletion.
fn gives_up(before: &OrderSpec, after: &OrderSpec) -> bool {
    let same = OrderSpec {
        deletion_protection: after.deletion_protection,
        on_deletion: after.on_deletion,
        suspend: before.suspend || after.suspend,
        ..before.clone()
    };
    same == *after
}

async fn quote(valid: &Valid, running: bool, adviser: &Adviser) -> Option<Quote> {
    let request = QuoteRequest {
        tenant: valid.tenant.clone(),
        order_uid: running.then(|| valid.order.uid.clone()),
        resources: valid.resources,
        items: valid.items.clone(),
    };
    match tokio::time::timeout(PATIENCE, adviser.ledger.quote(&request)).await {
        Ok(Ok(quote)) => Some(quote),
        Ok(Err(error @ Ledger::Refused(_))) => {
            tracing::info!(error = %error, "no quote for order {}", valid.order.at.name);
            None
        }
        _ => None,
    }
}

/// Serves the webhook: with a certificate made for this process, until the one that is kept for all replicas is there, and then
/// with each that replaces it. Connections that are open go on.
///
/// # Errors
/// When the certificate cannot be made or the address not be listened on.
pub async fn serve(
    address: SocketAddr,
    client: Client,
    service: Service,
    authority: CertificateAuthority,
    adviser: Adviser,
) -> anyhow::Result<()> {
    let first = authority.issue(&hosts(&service.name, &service.namespace), Timestamp::now())?;
    adviser.metrics.certificate("webhook", not_after(&first.certificate_pem));
    let (pem, key) = (first.certificate_pem.into_bytes(), first.key_pem.into_bytes());
    let tls = RustlsConfig::from_pem(pem, key).await?;
    let (reloaded, metrics) = (tls.clone(), adviser.metrics.clone());
    tokio::spawn(certificate::keep(client, authority, service, async move |kept| {
        let end = not_after(&kept.certificate_pem);
        let (pem, key) = (kept.certificate_pem.into_bytes(), kept.key_pem.into_bytes());
        match reloaded.reload_from_pem(pem, key).await {
            Ok(()) => metrics.certificate("webhook", end),
            Err(error) => tracing::error!(error = %error, "the webhook goes on with the certificate before"),
        }
    }));
    let app = Router::new()
        .route("/validate", post(validate))
        .layer(axum::extract::DefaultBodyLimit::max(3 * 1024 * 1024))
        .with_state(adviser);
    axum_server::bind_rustls(address, tls).serve(app.into_make_service()).await?;
    Ok(())
}

/// Keeps the API server trusting the authority that signed the webhook's certificate, however often somebody applies the
/// webhook's configuration again. Ends with the process.
pub async fn keep_trusted(client: Client, configuration: String, authority: CertificateAuthority) {
    loop {
        if let Err(error) = follow(&client, &configuration, &authority).await {
            let error = &*error as &dyn std::error::Error;
            tracing::warn!(error, "the webhook's configuration is not looked after; tried again soon");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Watches the webhook's configuration until something goes wrong: a new watch begins with all there is.
async fn follow(
    client: &Client,
    configuration: &str,
    authority: &CertificateAuthority,
) -> anyhow::Result<()> {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let only = watcher::Config::default().fields(&format!("metadata.name={configuration}"));
    let mut events = watcher(api, only).boxed();
    let mut found = false;
    while let Some(event) = events.try_next().await? {
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                found = true;
                trust(client, configuration, authority, object).await?;
            }
            Event::InitDone if !found => tracing::warn!(
                "there is no webhook configuration {configuration}: orders get no advice at kubectl apply"
            ),
            Event::Init => found = false,
            Event::InitDone | Event::Delete(_) => {}
        }
    }
    Ok(())
}

async fn trust(
    client: &Client,
    configuration: &str,
    authority: &CertificateAuthority,
    found: ValidatingWebhookConfiguration,
) -> anyhow::Result<()> {
    let bundle = ByteString(authority.pem().as_bytes().to_vec());
    let webhooks = found.webhooks.unwrap_or_default();
    if webhooks.iter().all(|w| w.client_config.ca_bundle.as_ref() == Some(&bundle)) {
        return Ok(());
    }
    apply::trust_webhooks(client, configuration, webhooks.len(), &bundle).await?;
    tracing::info!("the API server trusts the webhook now");
    Ok(())
}

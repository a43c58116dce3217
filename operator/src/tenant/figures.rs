//! The figures in a tenant's status and its alerts: from the ledger, some seconds after something of it changed.

use crate::apply::tenants as apply;
use crate::condition::merge_one;
use crate::context::Context;
use crate::ledger::Ledger;
use crate::reconcile::Pass;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use serde_json::{Value, json};
use siyada_crds::Tenant;
use siyada_crds::tenant::{DimensionStatus, LargeCommitment, QuotaStatus};
use siyada_model::money::{Currency, Money};
use siyada_model::quantity::{show_bytes, show_cpu};
use siyada_model::quota::{Dimension, DimensionView};
use siyada_model::wire::{Alert, QuotaView, code};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Reservations come in bursts; one look serves them all.
const BURST: Duration = Duration::from_secs(2);
/// After a fault.
const AGAIN: Duration = Duration::from_secs(15);
/// Tenants asked for at once.
const AT_ONCE: usize = 8;
/// Thresholds that have a label of their own in the metric; there are no more labels than these.
const LABELS: [(u8, &str); 4] = [(70, "70"), (85, "85"), (95, "95"), (100, "100")];

/// Which tenants' figures are out of date. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    wake: Arc<Notify>,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    touched: BTreeSet<String>,
    /// The parent that the ledger knows of a tenant.
    parents: BTreeMap<String, Option<String>>,
    /// The last alert that was told, by tenant.
    told: BTreeMap<String, i64>,
    /// The last alert that was read.
    read: Option<i64>,
}

impl Figures {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something that a tenant holds has changed, and so what those above it hold.
    pub fn touch(&self, tenant: &str) {
        self.lock().touched.insert(tenant.to_owned());
        self.wake.notify_one();
    }

    /// The ledger knows a tenant below this parent now.
    pub fn placed(&self, tenant: &str, parent: Option<&str>) {
        let mut inner = self.lock();
        let before = inner.parents.insert(tenant.to_owned(), parent.map(str::to_owned)).flatten();
        // Where it was before, sums became smaller.
        inner.touched.extend(before.filter(|before| Some(before.as_str()) != parent));
        drop(inner);
        self.touch(tenant);
    }

    /// Looks for alerts.
    pub fn look(&self) {
        self.wake.notify_one();
    }
}

/// Keeps the figures up to date, until the process ends. At rest it asks nobody.
pub async fn run(context: Arc<Context>) {
    loop {
        context.figures.wake.notified().await;
        tokio::time::sleep(BURST).await;
        if let Err(error) = alerts(&context).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "alerts cannot be read; they are at the next change");
        }
        let touched = std::mem::take(&mut context.figures.lock().touched);
        let tenants = with_those_above(&context, touched);
        let failed: Vec<String> = futures::stream::iter(tenants)
            .map(|name| one(&context, name))
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        if !failed.is_empty() {
            context.figures.lock().touched.extend(failed);
            let figures = context.figures.clone();
            tokio::spawn(async move {
                tokio::time::sleep(AGAIN).await;
                figures.look();
            });
        }
    }
}

fn find(context: &Context, name: &str) -> Option<Arc<Tenant>> {
    context.catalogue.tenants.get(&ObjectRef::new(name))
}

fn with_those_above(context: &Context, touched: BTreeSet<String>) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for name in touched {
        let mut next = Some(name);
        // One that is known brings nobody new.
        while let Some(name) = next.filter(|name| !all.contains(name)) {
            next = find(context, &name).and_then(|tenant| tenant.spec.parent.clone());
            all.insert(name);
        }
    }
    all
}

/// Brings one tenant up to date; its name when that must be tried again.
async fn one(context: &Context, name: String) -> Option<String> {
    let tenant = find(context, &name)?;
    match refresh(context, &tenant).await {
        Ok(()) => None,
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the figures of tenant {name} wait");
            Some(name)
        }
    }
}

async fn refresh(context: &Context, tenant: &Tenant) -> Result<(), Pass> {
    let name = crate::catalogue::tenant_name(tenant).ok();
    let Some(name) = name.filter(|_| tenant.metadata.deletion_timestamp.is_none()) else { return Ok(()) };
    let view = match context.ledger.quota(&name).await {
        Ok(view) => view,
        // It is not known there yet; telling the ledger of it touches it again.
        Err(Ledger::Refused(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let told = context.figures.lock().told.get(name.as_str()).copied();
    let old = tenant.status.clone().unwrap_or_default();
    let last_alert = told.max(old.last_alert);
    let wanted = status(&view, &old.conditions, tenant.metadata.generation, last_alert, Timestamp::now());
    let there = said(json!({
        "conditions": old.conditions.iter().filter(|c| c.type_ == WITHIN).collect::<Vec<_>>(),
        "quota": old.quota, "reservations": old.reservations, "waiting": old.waiting,
        "largest": old.largest, "lastAlert": old.last_alert,
    }));
    if there != wanted {
        let uid = tenant.uid().unwrap_or_default();
        apply::figures(&context.client, name.as_str(), &uid, &wanted).await?;
    }
    Ok(())
}

/// The condition that says whether what is held is within the limits.
const WITHIN: &str = "WithinQuota";

/// What the status says of a tenant's figures. Pure.
fn status(
    view: &QuotaView,
    old: &[Condition],
    generation: Option<i64>,
    last_alert: Option<i64>,
    now: Timestamp,
) -> Value {
    let currency = view.held.monthly_cost.currency;
    let large = |held: &siyada_model::wire::HeldOrder| LargeCommitment {
        order: format!("{} {}/{}", held.kind, held.namespace, held.name),
        tenant: held.tenant.to_string(),
        monthly_cost: format!("{} {currency}", held.commitment.monthly_cost.decimal()),
        storage: show_bytes(held.commitment.resources.storage_bytes),
    };
    let waiting = view.pending.filter(|p| p.count > 0).map(|p| format!("{} ({})", p.count, p.monthly_cost));
    said(json!({
        "conditions": [merge_one(old, WITHIN, within(view, currency), generation, now)],
        "quota": quota(view, currency),
        "reservations": view.reservations,
        "waiting": waiting,
        "largest": view.largest.iter().map(large).collect::<Vec<_>>(),
        "lastAlert": last_alert,
    }))
}

/// Without what there is nothing to say of.
fn said(mut status: Value) -> Value {
    if let Some(fields) = status.as_object_mut() {
        fields.retain(|_, value| !crate::object::is_nothing(value));
    }
    status
}

fn show(dimension: Dimension, currency: Currency, value: i64) -> String {
    match dimension {
        Dimension::Instances => value.to_string(),
        Dimension::Cpu => show_cpu(value),
        Dimension::Memory | Dimension::Storage => show_bytes(value),
        Dimension::MonthlyCost => Money { minor: value, currency }.decimal(),
    }
}

fn quota(view: &QuotaView, currency: Currency) -> QuotaStatus {
    let dimension = |wanted: Dimension| {
        let found = view.dimensions.iter().find(|d| d.dimension == wanted);
        found.map(|found| one_dimension(found, currency)).unwrap_or_default()
    };
    QuotaStatus {
        instances: dimension(Dimension::Instances),
        cpu: dimension(Dimension::Cpu),
        memory: dimension(Dimension::Memory),
        storage: dimension(Dimension::Storage),
        monthly_cost: dimension(Dimension::MonthlyCost),
    }
}

fn one_dimension(view: &DimensionView, currency: Currency) -> DimensionStatus {
    let plain = |value| show(view.dimension, currency, value);
    let unit = if view.dimension == Dimension::MonthlyCost { format!(" {currency}") } else { String::new() };
    let with_unit = |value| format!("{}{unit}", plain(value));
    let summary = match view.limit {
        Some(limit) => format!("{}/{}", plain(view.held), with_unit(limit)),
        None => with_unit(view.held),
    };
    DimensionStatus {
        summary,
        held: with_unit(view.held),
        used: Some(with_unit(view.used)),
        limit: view.limit.map(with_unit),
        free: view.free.map(with_unit),
        over: (view.over > 0).then(|| with_unit(view.over)),
    }
}

fn within(view: &QuotaView, currency: Currency) -> (bool, &'static str, String) {
    let over: Vec<String> = view
        .dimensions
        .iter()
        .filter(|d| d.over > 0)
        .map(|d| {
            let limit = d.limit.map(|limit| show(d.dimension, currency, limit)).unwrap_or_default();
            format!("{} ({} of {limit})", d.dimension, show(d.dimension, currency, d.held))
        })
        .collect();
    if over.is_empty() {
        return (true, "WithinLimits", "what is held is within the limits".to_owned());
    }
    let message = format!(
        "limit lowered below use, or prices rose: {}; growth is blocked until it fits again, what runs runs on: raise the \
         limit or remove something",
        over.join(", ")
    );
    (false, "LimitBelowUse", message)
}

/// Tells of the alerts that nobody was told of, each once, as an Event on its tenant.
async fn alerts(context: &Context) -> Result<(), Ledger> {
    let mut after = context.figures.lock().read.unwrap_or_else(|| last_told(context));
    loop {
        let page = match context.ledger.alerts(after).await {
            // An api of the version before knows none.
            Err(error) if error.code() == Some(code::NOT_FOUND) => return Ok(()),
            page => page?,
        };
        for alert in &page.items {
            tell(context, alert).await;
            after = after.max(alert.id);
        }
        context.figures.lock().read = Some(after);
        match page.next_page_token.and_then(|token| token.parse::<i64>().ok()) {
            Some(next) if !page.items.is_empty() => after = after.max(next),
            _ => return Ok(()),
        }
    }
}

fn last_told(context: &Context) -> i64 {
    let tenants = context.catalogue.tenants.state();
    tenants.iter().filter_map(|t| t.status.as_ref()?.last_alert).max().unwrap_or(0)
}

async fn tell(context: &Context, alert: &Alert) {
    let name = alert.tenant.as_str();
    let Some(tenant) = find(context, name) else { return };
    let told = tenant.status.as_ref().and_then(|s| s.last_alert).unwrap_or(0);
    if told >= alert.id {
        return;
    }
    let label = LABELS.iter().find(|(percent, _)| *percent == alert.percent).map_or("other", |(_, l)| *l);
    let labels = [("dimension", alert.dimension.as_str()), ("percent", label)];
    context.metrics.alerts.get_or_create(&labels).inc();
    apply::event(&context.recorder, &tenant, "QuotaThresholdReached", &sentence(alert)).await;
    tracing::info!("tenant {name}: {}", sentence(alert));
    let mut inner = context.figures.lock();
    inner.told.insert(name.to_owned(), alert.id);
    inner.touched.insert(name.to_owned());
}

fn sentence(alert: &Alert) -> String {
    let currency = alert.currency.unwrap_or(Currency::MAD);
    let value = |value| match alert.dimension {
        Dimension::MonthlyCost => Money { minor: value, currency }.to_string(),
        dimension => show(dimension, currency, value),
    };
    format!(
        "{} reached {} %: {} of {} held; free something or ask for a larger quota before orders are refused",
        alert.dimension,
        alert.percent,
        value(alert.held),
        value(alert.limit)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use siyada_model::quota::{Commitment, Quota};
    use siyada_model::resources::Resources;

    fn view(limit: i64) -> QuotaView {
        let money = |minor| Money { minor, currency: Currency::MAD };
        let held = Commitment {
            resources: Resources { instances: 3, cpu_milli: 1_500, memory_bytes: 3 << 30, storage_bytes: 0 },
            monthly_cost: money(33_137),
        };
        let resources = Resources { instances: 2, cpu_milli: 1_000, ..Resources::default() };
        let used = Commitment { resources, monthly_cost: money(20_000) };
        let limits = Quota { instances: Some(10), monthly_cost: Some(money(limit)), ..Quota::default() };
        QuotaView {
            tenant: "interior".parse().unwrap(),
            limit: limits,
            held,
            reservations: 3,
            dimensions: siyada_model::quota::view(&limits, &held, &used),
            largest: Vec::new(),
            pending: None,
        }
    }

    #[test]
    fn the_columns_are_short_and_exact() {
        let quota = quota(&view(500_000), Currency::MAD);
        assert_eq!(quota.instances.summary, "3/10");
        assert_eq!(quota.cpu.summary, "1500m");
        assert_eq!(quota.memory.summary, "3Gi");
        assert_eq!(quota.monthly_cost.summary, "331.37/5000.00 MAD");
        assert_eq!(quota.monthly_cost.free.as_deref(), Some("4668.63 MAD"));
        assert_eq!(quota.monthly_cost.used.as_deref(), Some("200.00 MAD"));
        assert_eq!(quota.cpu.used.as_deref(), Some("1"));
    }

    #[test]
    fn a_limit_below_use_is_said_and_time_alone_changes_nothing() {
        let (now, later) = (Timestamp::from_second(10).unwrap(), Timestamp::from_second(99).unwrap());
        let (ok, reason, message) = within(&view(30_000), Currency::MAD);
        assert_eq!((ok, reason), (false, "LimitBelowUse"));
        assert!(message.contains("monthlyCost (331.37 of 300.00)") && message.contains("growth is blocked"));
        let first = status(&view(30_000), &[], Some(1), None, now);
        let condition: Vec<Condition> = serde_json::from_value(first["conditions"].clone()).unwrap();
        assert_eq!(first, status(&view(30_000), &condition, Some(1), None, later));
    }

    #[test]
    fn a_move_touches_where_it_was_and_where_it_is() {
        let figures = Figures::default();
        figures.placed("a", Some("m"));
        figures.lock().touched.clear();
        figures.placed("a", Some("n"));
        assert_eq!(figures.lock().touched, BTreeSet::from(["a".to_owned(), "m".to_owned()]));
    }
}

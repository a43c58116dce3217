//! Metrics of bounded cardinality: labels are constants, never names of objects. What is told of each instance is apart.

use crate::instances;
use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::sync::{Arc, Mutex, PoisonError};

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// The name of an offering, of which the platform has few.
pub type OfOffering = [(&'static str, String); 1];

/// Every metric of the operator. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// Passes, by kind and outcome.
    pub passes: Family<Labels<2>, Counter>,
    /// Seconds of a pass.
    pub pass_seconds: Histogram,
    /// Writes to children.
    pub child_writes: Counter,
    /// Orders by kind.
    pub orders: Family<Labels<1>, Gauge>,
    /// Orders that are ready, by kind.
    pub orders_ready: Family<Labels<1>, Gauge>,
    /// Orders that run and of which a condition is False, by condition.
    pub conditions_false: Family<Labels<1>, Gauge>,
    /// Instances whose order is gone and whose data is kept.
    pub retained: Gauge,
    /// Instances whose order was let go by force and of which something is left, billed to nobody.
    pub abandoned: Gauge,
    /// Objects in the cache of children.
    pub cached: Gauge,
    /// Calls of the webhook, by verdict.
    pub reviews: Family<Labels<1>, Counter>,
    /// Thresholds of a tenant's quota that were reached, by dimension and percent.
    pub alerts: Family<Labels<2>, Counter>,
    /// What the comparison of reservations and orders repaired.
    pub repairs: Family<Labels<1>, Counter>,
    /// Results of restore drills.
    pub drills: Family<Labels<1>, Counter>,
    /// Seconds since the drill of an offering's instance that lies back furthest began.
    pub drill_age_seconds: Family<OfOffering, Gauge>,
    /// Seconds that the longest last drill of an offering's instances took.
    pub drill_seconds: Family<OfOffering, Gauge>,
    /// Instances of an offering with drills whose backups are not proven, by offering.
    pub unproven: Family<OfOffering, Gauge>,
    /// 1 while deletions of data are stopped.
    pub deletions_stopped: Gauge,
    /// Until when certificates of the platform itself are valid, in Unix seconds, by certificate.
    certificates: Family<Labels<1>, Gauge>,
    /// Figures of each instance, as text.
    instances: Arc<Mutex<String>>,
    /// 1 on the leader.
    pub leader: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("siyada_operator");
        let metrics = Self {
            registry: Arc::default(),
            passes: Family::default(),
            pass_seconds: Histogram::new(exponential_buckets(0.001, 4.0, 8)),
            child_writes: Counter::default(),
            orders: Family::default(),
            orders_ready: Family::default(),
            conditions_false: Family::default(),
            retained: Gauge::default(),
            abandoned: Gauge::default(),
            cached: Gauge::default(),
            reviews: Family::default(),
            alerts: Family::default(),
            repairs: Family::default(),
            drills: Family::default(),
            drill_age_seconds: Family::default(),
            drill_seconds: Family::default(),
            unproven: Family::default(),
            deletions_stopped: Gauge::default(),
            certificates: Family::default(),
            instances: Arc::new(Mutex::new(instances::text(&[]))),
            leader: Gauge::default(),
        };
        registry.register("passes", "Passes over an order, by kind and outcome", metrics.passes.clone());
        registry.register("pass_seconds", "Seconds of a pass", metrics.pass_seconds.clone());
        registry.register("child_writes", "Writes to children of orders", metrics.child_writes.clone());
        registry.register("orders", "Orders, by kind", metrics.orders.clone());
        registry.register("orders_ready", "Orders that are ready, by kind", metrics.orders_ready.clone());
        let what = "Orders that run and of which a condition is False, by condition";
        registry.register("conditions_false", what, metrics.conditions_false.clone());
        registry.register(
            "retained_instances",
            "Instances without an order whose data is kept",
            metrics.retained.clone(),
        );
        let what = "Instances whose order was let go by force and of which something is left";
        registry.register("abandoned_instances", what, metrics.abandoned.clone());
        registry.register("cached_children", "Children of orders in memory", metrics.cached.clone());
        registry.register("reviews", "Orders judged at kubectl apply, by verdict", metrics.reviews.clone());
        let what = "Thresholds of a tenant's quota that were reached, by dimension and percent";
        registry.register("quota_thresholds_reached", what, metrics.alerts.clone());
        let what = "Reservations held again or released because they did not fit the orders";
        registry.register("reservation_repairs", what, metrics.repairs.clone());
        registry.register("drills", "Restore drills that ended, by result", metrics.drills.clone());
        let what = "Seconds since the drill that lies back furthest began, by offering";
        registry.register("drill_age_seconds", what, metrics.drill_age_seconds.clone());
        let what = "Seconds that the longest of the last drills took, by offering";
        registry.register("drill_duration_seconds", what, metrics.drill_seconds.clone());
        let what = "Instances with drills whose backups are not proven, by offering";
        registry.register("backups_unproven", what, metrics.unproven.clone());
        let what = "1 while deletions of data are stopped until the platform confirms";
        registry.register("deletions_stopped", what, metrics.deletions_stopped.clone());
        let what = "Until when a certificate of the platform is valid, in Unix seconds, by certificate";
        registry.register("certificate_not_after_seconds", what, metrics.certificates.clone());
        registry.register("leader", "1 on the replica that works", metrics.leader.clone());
        Self { registry: Arc::new(registry), ..metrics }
    }
}

impl Metrics {
    /// Until when a certificate of the platform is valid; one that cannot be read ended long ago.
    pub fn certificate(&self, which: &'static str, not_after: Option<Timestamp>) {
        let end = not_after.map_or(0, Timestamp::as_second);
        self.certificates.get_or_create(&[("certificate", which)]).set(end);
    }

    /// Replaces the figures of all instances at once.
    pub fn set_instances(&self, text: String) {
        *self.instances.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// The figures of each instance in the OpenMetrics text format: as many rows as there are instances, so they are apart.
    pub fn of_instances(&self) -> String {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The metrics in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail; an empty answer would be noticed at once.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

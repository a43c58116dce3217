//! What is counted, and how it is shown on the port for metrics. Labels are constants: names of objects never are.

use crate::checks::Checks;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use siyada_model::wire::{Problem, UsageAccepted};
use sqlx::PgPool;
use std::time::Instant;

/// What a request is counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReservationLabels {
    outcome: &'static str,
    dimension: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// The metrics of one api.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram, fn() -> Histogram>,
    reservations: Family<ReservationLabels, Counter>,
    facts: Family<OutcomeLabels, Counter>,
    deliveries: Family<OutcomeLabels, Counter>,
    /// What the checks of the page of health found last.
    pub checks: Checks,
}

/// From 1 ms to 16 s.
fn duration_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

impl Metrics {
    /// Metrics that show the state of `pool` as well.
    pub fn new(pool: PgPool) -> Self {
        let mut registry = Registry::with_prefix("siyada_api");
        let requests = Family::default();
        let durations: Family<RouteLabels, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(duration_histogram);
        let (reservations, facts) = (Family::default(), Family::default());
        registry.register("requests", "Requests answered", requests.clone());
        registry.register("request_duration_seconds", "Time to answer a request", durations.clone());
        registry.register(
            "reservations",
            "Reservations decided, and the dimension that refused",
            reservations.clone(),
        );
        registry.register(
            "usage_facts",
            "Usage facts accepted: new, known already, or after a gap",
            facts.clone(),
        );
        registry.register_collector(Box::new(PoolCollector(pool)));
        registry.register_collector(Box::new(AlertCollector));
        let checks = Checks::default();
        registry.register_collector(Box::new(checks.clone()));
        let deliveries = Family::default();
        registry.register(
            "alert_deliveries",
            "Alerts sent to webhooks, by what came of it",
            deliveries.clone(),
        );
        Self { registry, requests, durations, reservations, facts, deliveries, checks }
    }

    /// Counts a decision about a reservation.
    pub fn reservation(&self, refusal: Option<&Problem>) {
        let labels = match refusal {
            None => ReservationLabels { outcome: "granted", dimension: "none" },
            Some(problem) => {
                let dimension = problem.shortfall.as_ref().map_or("none", |s| s.dimension.as_str());
                ReservationLabels { outcome: "refused", dimension }
            }
        };
        self.reservations.get_or_create(&labels).inc();
    }

    /// Counts the facts of a batch.
    pub fn usage(&self, accepted: &UsageAccepted) {
        self.facts.get_or_create(&OutcomeLabels { outcome: "recorded" }).inc_by(accepted.recorded);
        self.facts.get_or_create(&OutcomeLabels { outcome: "known" }).inc_by(accepted.known);
        self.facts.get_or_create(&OutcomeLabels { outcome: "gap" }).inc_by(accepted.gaps);
    }

    /// Counts a try to deliver an alert: `delivered`, `again`, `gaveUp`.
    pub fn delivery(&self, outcome: &'static str) {
        self.deliveries.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Everything in the text format.
    ///
    /// # Errors
    /// Never in practice: a text grows.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

#[derive(Debug)]
struct PoolCollector(PgPool);

impl Collector for PoolCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let idle = i64::try_from(self.0.num_idle()).unwrap_or(i64::MAX);
        let open = i64::from(self.0.size());
        let values = [
            ("database_connections_open", "Connections to the database", open),
            ("database_connections_idle", "Connections that nobody uses", idle),
        ];
        for (name, help, value) in values {
            let gauge = ConstGauge::<i64>::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// How many alerts were written, by dimension.
#[derive(Debug)]
struct AlertCollector;

impl Collector for AlertCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let help = "Crossings of a threshold of a quota, as written by this process";
        let mut family = encoder.encode_descriptor(
            "alerts",
            help,
            None,
            prometheus_client::metrics::MetricType::Counter,
        )?;
        for (dimension, count) in crate::store::alerts::recorded() {
            let labels = [("dimension", dimension.as_str())];
            ConstCounter::<u64>::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn method(request: &Request) -> &'static str {
    match request.method().as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

fn status_class(response: &Response) -> &'static str {
    match response.status().as_u16() {
        ..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

/// Counts and times every request by the template of its route.
pub async fn count(State(app): State<crate::App>, request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |p| p.as_str().to_owned());
    let method = method(&request);
    let began = Instant::now();
    let response = next.run(request).await;
    let metrics = &app.metrics;
    let labels = RequestLabels { route: route.clone(), method, status: status_class(&response) };
    metrics.requests.get_or_create(&labels).inc();
    metrics.durations.get_or_create(&RouteLabels { route }).observe(began.elapsed().as_secs_f64());
    response
}

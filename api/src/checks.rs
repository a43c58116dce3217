//! What the page of health finds, as metrics: looked up when somebody scrapes, at most once in a while, so that scrapes cost
//! the database little however many there are.

use crate::state::App;
use crate::store::health;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use siyada_model::health::Check;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long what was found counts.
const FRESH: Duration = Duration::from_secs(30);
/// How long a scrape waits for the checks: a scraper gives up after ten seconds.
const LONGEST: Duration = Duration::from_secs(6);

/// How many each check found.
type Counts = Vec<(Check, i64)>;

/// What the checks found last.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    /// When they were looked up; whoever does it holds this, and others wait for what he finds.
    looked: Arc<tokio::sync::Mutex<Option<Instant>>>,
    /// What was found; nothing when it could not be.
    found: Arc<Mutex<Option<Counts>>>,
}

impl Checks {
    fn keep(&self, found: Option<Counts>) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    fn found(&self) -> Option<Counts> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Looks what the checks find, unless that was done a moment before `now`.
pub async fn look(app: &App, now: Instant) {
    let checks = &app.metrics.checks;
    let mut looked = checks.looked.lock().await;
    if looked.is_some_and(|at| now.saturating_duration_since(at) < FRESH) {
        return;
    }
    *looked = Some(now);
    let found = if app.is_migrated() {
        match tokio::time::timeout(LONGEST, health::metering(&app.pool)).await {
            Ok(Ok(page)) => Some(page.checks.iter().map(|finding| (finding.check, finding.count)).collect()),
            Ok(Err(cause)) => {
                tracing::warn!(?cause, "failed to check the health of metering");
                None
            }
            Err(_) => {
                tracing::warn!("the health of metering took too long to check");
                None
            }
        }
    } else {
        None
    };
    checks.keep(found);
}

impl Collector for Checks {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let found = self.found();
        let up = ConstGauge::<i64>::new(i64::from(found.is_some()));
        let help = "1 if the health of metering could be checked";
        up.encode(encoder.encode_descriptor("metering_checks_up", help, None, up.metric_type())?)?;
        let help = "What is wrong with metering, by check: GET /v1/health/metering says more";
        let mut family = encoder.encode_descriptor("metering_findings", help, None, MetricType::Gauge)?;
        for (check, count) in found.unwrap_or_default() {
            let labels = [("check", check.as_str())];
            ConstGauge::<i64>::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

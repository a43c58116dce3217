//! For how long a database was up and down, as the ledger says it.

use super::{DISPOSABLE, HOME, postgres};
use crate::kubectl::Kubectl;
use crate::outages::{pod_away, pod_back};
use crate::platform::{Api, engine, gone, ready, uid, wait_for};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, ensure};
use siyada_model::availability::Availability;
use siyada_model::wire::AvailabilityReport;
use std::time::{Duration, Instant};

/// By how much a figure may differ from the clock of the test: what is told takes a request and a burst of changes.
const TOLERANCE: Duration = Duration::from_secs(5);

/// A database's pod is away until a checkpoint has proven the outage: the month's figure has the time that it was down, what was
/// seen and what was not sum to the time for which it should have run, and its billing goes on.
pub async fn down() -> Result<()> {
    let ministry = Kubectl::service_account(HOME, "ministry-it").await?;
    ministry.apply(&postgres(HOME, "missed", DISPOSABLE)).await?;
    let order = ready(&ministry, "pgi", HOME, "missed", 240).await?;
    let ((namespace, cluster), uid) = (engine(&order)?, uid(&order)?);
    let api = Api::service_account(HOME, "ministry-it").await?;
    let first = eventually(seconds(60), "the instance to be listed", || figures(&api, &uid)).await?;
    ensure!(first.down_ms == 0, "{first:?}");

    let went = Instant::now();
    let held = async {
        pod_away(&namespace, &cluster).await?;
        wait_for(&ministry, "pgi", HOME, "missed", "Ready", "False", None, 120).await?;
        let told = Instant::now();
        let proven = eventually(seconds(120), "a checkpoint to prove the outage", || async {
            let found = figures(&api, &uid).await?;
            ensure!(found.down_ms > 0, "{found:?}");
            Ok(found)
        })
        .await?;
        ensure!(proven.up_ms > 0 && proven.percent.as_deref() != Some("100.00"), "{proven:?}");
        anyhow::Ok(told)
    }
    .await;
    let returns = Instant::now();
    pod_back().await?;
    let told = held?;
    ready(&ministry, "pgi", HOME, "missed", 300).await?;
    let back = Instant::now();

    // The first login that works ends it, and is told within seconds; until the next checkpoint nothing later is proven.
    let least = returns.duration_since(told).saturating_sub(TOLERANCE);
    let most = back.duration_since(went) + TOLERANCE;
    let last = eventually(seconds(30), "the end of the outage to be told", || async {
        let found = figures(&api, &uid).await?;
        ensure!(
            time_down(&found) >= least,
            "down for {:?} of at least {least:?}: {found:?}",
            time_down(&found)
        );
        Ok(found)
    })
    .await?;
    ensure!(time_down(&last) <= most, "down for {:?} of at most {most:?}: {last:?}", time_down(&last));
    let intervals = super::deletion::all_intervals(&api, &uid).await?;
    let compute = intervals.iter().filter(|interval| interval["meter"] == "compute");
    ensure!(compute.count() == 1, "an outage stopped its billing: {intervals:?}");
    ministry.run(&["-n", HOME, "delete", "pgi", "missed", "--wait=false"]).await?;
    gone("pgi", HOME, "missed", 180).await
}

fn time_down(figures: &Availability) -> Duration {
    Duration::from_millis(figures.down_ms.unsigned_abs())
}

/// The figures of this month until now, which add up whenever they are read.
async fn figures(api: &Api, uid: &str) -> Result<Availability> {
    let report: AvailabilityReport =
        serde_json::from_value(api.read("/v1/tenants/interior/availability").await?)?;
    let all = report.instances.iter().map(|one| &one.figures).chain([&report.total]);
    for one in all {
        let Availability { should_run_ms, up_ms, down_ms, unobserved_ms, .. } = one;
        ensure!(
            up_ms + down_ms + unobserved_ms == *should_run_ms && *unobserved_ms >= 0,
            "these do not add up: {one:?}"
        );
    }
    let found = report.instances.into_iter().find(|one| one.order.uid.as_str() == uid);
    Ok(found.context("the instance is not listed")?.figures)
}

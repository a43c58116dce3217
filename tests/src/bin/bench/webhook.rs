//! What the webhook adds to an apply.

use crate::bare::{Bare, ORDERS, order};
use crate::{percentiles, row};
use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use siyada_tests::wait::{eventually, seconds};
use std::time::{Duration, Instant};

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const NAME: &str = "siyada-orders";
/// Turns with it and without it, one after the other, so that both see the same machine.
const TURNS: usize = 10;
/// Creations of a turn.
const EACH: usize = 30;

/// Times of creations that are not kept (`dryRun=All`), with the webhook and without.
pub async fn cost(bare: &Bare) -> Result<Value> {
    let path = format!("{CONFIGURATIONS}/{NAME}");
    let mut kept = bare.read(&path).await?;
    let metadata = kept["metadata"].as_object_mut().context("no metadata")?;
    metadata.retain(|key, _| ["name", "labels", "annotations"].contains(&key.as_str()));
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        with.extend(turn(bare, true).await?);
        bare.delete(&path).await?;
        without.extend(turn(bare, false).await?);
        bare.create(CONFIGURATIONS, &kept).await?;
    }
    advised(bare, true).await?;
    let count = with.len();
    let (with, without) = (percentiles(with), percentiles(without));
    let shown = |[p50, p99]: [f64; 2]| format!("{p50:.1} / {p99:.1} ms");
    let of = format!("{count} creations of an order as a dry run");
    row(&format!("{of} with the webhook, p50 / p99"), &shown(with));
    row(&format!("{of} without, p50 / p99"), &shown(without));
    row("the webhook adds, p50 / p99", &shown([with[0] - without[0], with[1] - without[1]]));
    Ok(json!({"withP50P99Ms": with, "withoutP50P99Ms": without}))
}

async fn turn(bare: &Bare, webhook: bool) -> Result<Vec<Duration>> {
    advised(bare, webhook).await?;
    let mut times = Vec::new();
    for _ in 0..EACH {
        let (took, warned) = dry_run(bare).await?;
        ensure!(warned == webhook, "the webhook was asked: {warned}, where it should be {webhook}");
        times.push(took);
    }
    Ok(times)
}

/// Waits until the API server asks the webhook, or no longer does.
async fn advised(bare: &Bare, webhook: bool) -> Result<()> {
    let what = if webhook { "the webhook to be asked" } else { "the webhook to be left alone" };
    eventually(seconds(60), what, || async {
        let (_, warned) = dry_run(bare).await?;
        ensure!(warned == webhook, "it is not so yet");
        Ok(())
    })
    .await
}

/// How long the server took, and whether it warned of the price, which is how one sees that the webhook was asked.
async fn dry_run(bare: &Bare) -> Result<(Duration, bool)> {
    let request = bare.request(Method::POST, &format!("{ORDERS}?dryRun=All")).json(&order("dry"));
    let start = Instant::now();
    let answer = request.send().await?;
    let warned = answer.headers().contains_key("warning");
    let status = answer.status();
    let text = answer.text().await?;
    ensure!(status.is_success(), "a dry run was answered {status}: {text}");
    Ok((start.elapsed(), warned))
}

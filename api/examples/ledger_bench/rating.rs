//! Points rated a second, beside CloudKitty's HashMap on the same points: hours of orders, each of one of twenty plans.

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use siyada_model::period::Period;
use siyada_model::price::PriceList;
use siyada_model::usage::{Interval, Level, Meter, rate};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const SCRIPT: &str = include_str!("hashmap.py");
/// Hours of an order, as in the script.
const HOURS: usize = 720;
/// Plans, as in the script.
const SKUS: usize = 20;
const HOUR_MS: i64 = 3_600_000;

/// What the script prints.
#[derive(Deserialize)]
struct Rated {
    seconds: f64,
    minor: i64,
}

/// Points a second of one round.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Round {
    cloudkitty_per_second: f64,
    rated_per_second: f64,
    ratio: f64,
}

/// Rates the same points by both, in turns, compares the sums, and prints a table.
pub fn measure(python: &Path, points: usize, rounds: usize) -> anyhow::Result<Vec<Round>> {
    let lists = [list()?];
    let period = Period::first("2025-01".parse()?, "UTC")?;
    let intervals = hours(points, period.start.as_millisecond())?;
    println!("\n| points | CloudKitty HashMap/s | rated/s | ratio; goal 5 |\n|---|---|---|---|");
    let mut all = Vec::new();
    for _ in 0..rounds {
        let output = Command::new(python).args(["-c", SCRIPT, &points.to_string()]).output();
        let output = output.with_context(|| format!("failed to run {}", python.display()))?;
        ensure!(output.status.success(), "CloudKitty failed: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        let theirs: Rated = serde_json::from_str(text.lines().last().context("CloudKitty said nothing")?)?;
        let began = Instant::now();
        let lines = rate(&intervals, &lists, period.start, period.end)?;
        let seconds = began.elapsed().as_secs_f64();
        let minor: i64 = lines.iter().map(|line| line.amount.minor).sum();
        ensure!(minor == theirs.minor, "the sums differ: {minor} and {}", theirs.minor);
        let cloudkitty_per_second = points as f64 / theirs.seconds;
        let rated_per_second = points as f64 / seconds;
        let ratio = rated_per_second / cloudkitty_per_second;
        println!("| {points} | {cloudkitty_per_second:.0} | {rated_per_second:.0} | {ratio:.1} |");
        all.push(Round { cloudkitty_per_second, rated_per_second, ratio });
    }
    Ok(all)
}

fn list() -> anyhow::Result<PriceList> {
    let skus: Vec<_> = (0..SKUS)
        .map(|sku| {
            let (whole, hundredths) = ((100 + sku) / 100, (100 + sku) % 100);
            serde_json::json!({"sku": format!("plan-{sku}"), "unit": "Hour", "price": format!("{whole}.{hundredths:02}")})
        })
        .collect();
    let list = serde_json::json!({
        "name": "bench", "currency": "MAD", "validFrom": "2024-01-01T00:00:00Z", "skus": skus
    });
    Ok(serde_json::from_value(list)?)
}

/// An interval for each hour, as a system that samples has a point for each hour.
fn hours(points: usize, start_ms: i64) -> anyhow::Result<Vec<Interval>> {
    let hour = |point: usize| {
        let order = point / HOURS;
        let start = start_ms + i64::try_from(point % HOURS)? * HOUR_MS;
        anyhow::Ok(Interval {
            order_uid: format!("order-{order}").parse()?,
            meter: Meter::COMPUTE,
            level: Level { sku: format!("plan-{}", order % SKUS).parse()?, quantity: 1 },
            start: jiff::Timestamp::from_millisecond(start)?,
            end: Some(jiff::Timestamp::from_millisecond(start + HOUR_MS)?),
        })
    };
    (0..points).map(hour).collect()
}

//! What an owner waits for, and then how close the operator comes to what the API server can do, in one run, as ratios. For the
//! second the engine is put to sleep: what is measured is our own work, and thousands of orders need no databases.

mod bare;
mod latency;
mod owner;
mod strangers;
mod webhook;

use anyhow::Result;
use bare::Bare;
use clap::Parser;
use serde_json::{Value, json};
use siyada_tests::kubectl::Kubectl;
use siyada_tests::{audit, platform, processes};
use std::time::{Duration, Instant};

const NAMESPACE: &str = "bench-apps";
/// Requests in flight, of the bare client and of whoever orders.
const IN_FLIGHT: usize = 32;
/// Objects of the bare client.
const RAW: usize = 3_000;
/// Orders that stand when single ones are measured first.
const FEW: usize = 100;
/// Orders of the burst.
const BURST: usize = 500;

/// Measures the operator.
#[derive(Parser)]
struct Args {
    /// Orders that stand when memory and single orders are measured last.
    #[arg(long, env = "SIYADA_BENCH_STANDING", default_value_t = 2_000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1_000..))]
    standing: usize,
    /// Only what an owner waits for.
    #[arg(long)]
    owner: bool,
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are small")]
fn rate(count: usize, started: Instant) -> f64 {
    count as f64 / started.elapsed().as_secs_f64()
}

/// Half of the times, and all but one in a hundred, are at most this many milliseconds.
fn percentiles(mut times: Vec<Duration>) -> [f64; 2] {
    times.sort();
    [50, 99].map(|percent| {
        let index = (times.len() * percent).div_ceil(100).saturating_sub(1);
        times.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0)
    })
}

fn row(what: &str, found: &str) {
    println!("| {what} | {found} |");
}

/// Resident memory of the operator's process, in MiB.
fn operator_mib() -> Result<u64> {
    processes::one("siyada-operator")?.resident_mib()
}

async fn prepare() -> Result<()> {
    let admin = Kubectl::admin();
    platform::install().await?;
    platform::wait_until_it_works().await?;
    platform::set_up().await?;
    admin.apply(&format!(
        "apiVersion: siyada.cloud/v1alpha1\nkind: Tenant\nmetadata: {{name: bench}}\nspec: {{kind: Project, namespaces: [{NAMESPACE}], dataClassification: Internal}}\n"
    )).await?;
    platform::ready(&admin, "tenant", "default", "bench", 60).await?;
    Ok(())
}

async fn put_the_engine_to_sleep() -> Result<()> {
    let admin = Kubectl::admin();
    // The engine sleeps, and its webhooks with it: only our own writes are measured.
    admin.run(&["-n", "cnpg-system", "scale", "deployment/cnpg-controller-manager", "--replicas=0"]).await?;
    for kind in ["validatingwebhookconfiguration", "mutatingwebhookconfiguration"] {
        let name = if kind.starts_with('v') {
            "cnpg-validating-webhook-configuration"
        } else {
            "cnpg-mutating-webhook-configuration"
        };
        admin.run(&["delete", kind, name]).await?;
    }
    Ok(())
}

/// The burst of orders beside what the bare client can do just before and after it.
async fn burst(bare: &Bare, raw_before: f64) -> Result<Value> {
    let log = audit::log_length()?;
    let standing = FEW + latency::ORDERS;
    let (started, ticks) = (Instant::now(), processes::cpu_ticks()?);
    bare.order(FEW, FEW + BURST).await?;
    bare.settled(standing + BURST).await?;
    let (orders_rate, took) = (rate(BURST, started), started.elapsed().as_secs_f64());
    let used = processes::used(&ticks, &processes::cpu_ticks()?);
    let writes = audit::writes_since(log)?;
    let raw_after = bare.raw_rate().await?;
    let per_order =
        f64::from(u32::try_from(writes.values().sum::<usize>())?) / f64::from(u32::try_from(BURST)?);
    let ceiling = f64::midpoint(raw_before, raw_after) / per_order;
    let ratio = orders_rate / ceiling;
    row("bare server-side applies per second, before / after", &format!("{raw_before:.0} / {raw_after:.0}"));
    row(
        &format!("{BURST} orders beside {standing} that stand, apply to last child and status"),
        &format!("{took:.1} s"),
    );
    row("orders per second", &format!("{orders_rate:.1}"));
    row("writes per order", &format!("{per_order:.2}"));
    row("ratio to (bare rate / writes per order); goal 0.6", &format!("{ratio:.2}"));
    let used: Vec<String> = used.iter().take(8).map(|(name, seconds)| format!("{name} {seconds}")).collect();
    let shown: Vec<String> = writes.iter().map(|(what, count)| format!("{what} {count}")).collect();
    row("writes of the operator in the burst", &shown.join(", "));
    row("seconds of a processor in the burst, by process", &used.join(", "));
    Ok(json!({
        "rawPerSecond": [raw_before, raw_after], "ordersPerSecond": orders_rate, "writesPerOrder": per_order,
        "ratio": ratio,
    }))
}

#[tokio::main]
async fn main() -> Result<()> {
    let Args { standing, owner } = Args::parse();
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("two TLS providers"))?;
    prepare().await?;
    println!("| measured | |\n|---|---|");
    let waits = owner::waits().await?;
    if owner {
        println!("\n{waits}");
        return Ok(());
    }
    put_the_engine_to_sleep().await?;
    let bare = Bare::new().await?;
    let idle_mib = operator_mib()?;
    let raw_before = bare.raw_rate().await?;
    let webhook = webhook::cost(&bare).await?;
    bare.order(0, FEW).await?;
    bare.settled(FEW).await?;
    let few = latency::single_orders(&bare, FEW).await?;
    let burst = burst(&bare, raw_before).await?;
    let (after_burst, burst_mib) = (FEW + latency::ORDERS + BURST, operator_mib()?);
    // What is not a single order has a number; the single ones stand beside them.
    bare.order(FEW + BURST, standing - latency::ORDERS).await?;
    bare.settled(standing).await?;
    let full_mib = operator_mib()?;
    row(
        &format!("operator memory, MiB, at 0 / {after_burst} / {standing} orders; goal 25 + 15 per 1,000"),
        &format!("{idle_mib} / {burst_mib} / {full_mib}"),
    );
    let many = latency::single_orders(&bare, standing).await?;
    row("p99 of single orders, many standing to few; goal 2", &format!("{:.2}", many.p99_ms / few.p99_ms));
    let strangers = strangers::memory(&bare).await?;
    let json = json!({
        "burst": burst, "webhook": webhook, "singleOrders": [few.json(), many.json()],
        "operatorMib": [[0, idle_mib], [after_burst, burst_mib], [standing, full_mib]],
        "operatorMibBesideStrangers": strangers, "owner": waits,
    });
    println!("\n{json}");
    Ok(())
}

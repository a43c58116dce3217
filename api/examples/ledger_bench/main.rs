//! How fast the ledger is. Reservations a second: 1, 32 and 256 callers, on one hot tenant and on fifty, in the process
//! and over HTTPS, beside the rate at which `pgbench` raises one guarded sum by one statement on the same server in the
//! same run. Reservations beside changes that are told to the audit trail. Rows of usage a second, beside a raw COPY of
//! the same rows. Months that close, beside one SQL that computes the same. And points rated, beside CloudKitty.
//!
//! `cargo run --release -p siyada-api --example ledger_bench` prints tables, and JSON after them.

mod audit;
mod finance;
mod https;
mod pgbench;
mod rates;
mod rating;
mod reservations;
mod usage;
mod world;

use clap::Parser;
use https::Served;
use serde_json::json;
use siyada_api::embedded::{Embedded, Options};
use siyada_api::store;
use sqlx::PgPool;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Measures the ledger.
#[derive(Parser)]
struct Args {
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Where the database lives meanwhile.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Only usage.
    #[arg(long)]
    usage: bool,
    /// Only reservations beside the audit trail.
    #[arg(long, conflicts_with = "usage")]
    audit: bool,
    /// Only months that close, exports and statements.
    #[arg(long, conflicts_with_all = ["usage", "audit"])]
    finance: bool,
    #[command(flatten)]
    size: finance::Size,
    /// Only points that are rated, beside CloudKitty: a python that has it (`pip install cloudkitty==25.0.0`).
    #[arg(long, env = "SIYADA_BENCH_CLOUDKITTY")]
    cloudkitty: Option<PathBuf>,
    /// Points that are rated.
    #[arg(long, env = "SIYADA_BENCH_POINTS", default_value_t = 72_000)]
    points: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    siyada_api::install_tls_provider();
    let args = Args::parse();
    if let Some(python) = &args.cloudkitty {
        let rated = rating::measure(python, args.points, 7)?;
        println!("\n{}", serde_json::to_string_pretty(&json!({"rating": rated}))?);
        return Ok(());
    }
    let directory = args
        .directory
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(format!("siyada-bench-{}", std::process::id())));
    let embedded = Embedded::start(&directory, Options::default()).await?;
    store::migrate(&embedded.connect_options("siyada")).await?;
    let pool = store::pool(embedded.connect_options("siyada"));
    let done = Box::pin(measure(&args, &directory, &embedded, &pool)).await;
    pool.close().await;
    embedded.stop().await?;
    if args.directory.is_none() {
        std::fs::remove_dir_all(&directory)?;
    }
    done
}

async fn measure(args: &Args, directory: &Path, embedded: &Embedded, pool: &PgPool) -> anyhow::Result<()> {
    if args.finance {
        let database = embedded.connect_options("siyada");
        let finance = finance::measure(pool, directory, &database, args.size).await?;
        println!("\n{}", serde_json::to_string_pretty(&json!({"finance": finance}))?);
        return Ok(());
    }
    world::prepare(pool).await?;
    let served = Served::start(directory, &embedded.connect_options("siyada")).await?;
    let mut report = json!({"seconds": args.seconds});
    if !args.usage {
        report["audit"] = json!(audit::measure(pool, Duration::from_secs(args.seconds)).await?);
    }
    if args.audit {
        println!("\n{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    if !args.usage {
        report["rates"] = json!(reservations::measure(embedded, pool, &served, args.seconds).await?);
        let burst = reservations::burst(pool).await?;
        let view = reservations::quota_view(pool).await?;
        println!("\n10 000 callers at once on one tenant with a limit of 5 000: {burst:.0}/s, none over it");
        println!("quota view at 10 000 orders and 1 000 tenants: p50 {:.1} ms, p99 {:.1} ms", view.0, view.1);
        report["burstOf10000PerSecond"] = json!(burst);
        report["quotaView"] = json!({"p50Ms": view.0, "p99Ms": view.1});
    }
    let time = Duration::from_secs(args.seconds);
    report["usage"] = json!(usage::measure(pool, &served, time).await?);
    report["singles"] = json!(usage::singles(pool, &served, time).await?);
    println!("\n{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}

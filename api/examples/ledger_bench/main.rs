//! How many reservations a second: 1, 32 and 256 callers, on one hot tenant and on fifty, beside the rate at which
//! `pgbench` raises one guarded sum by one statement on the same server in the same run.
//!
//! `cargo run --release -p siyada-api --example reservations_bench` prints a table, and JSON after it.

use anyhow::{Context, bail};
use clap::Parser;
use serde::Serialize;
use serde_json::json;
use siyada_api::embedded::{Embedded, Options};
use siyada_api::group::Group;
use siyada_api::store::{self, prices, reservations, tenants};
use siyada_model::id::TenantName;
use siyada_model::money::Currency;
use siyada_model::wire::{PriceListRecord, ReservationRequest, TenantRecord};
use sqlx::PgPool;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Measures reservations a second.
#[derive(Parser)]
struct Args {
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Where the database lives meanwhile.
    #[arg(long)]
    directory: Option<PathBuf>,
}

/// Clients of pgbench: the server of a laptop has a hundred connections.
const MOST_CLIENTS: usize = 64;
const TENANTS: usize = 50;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    tenants: usize,
    callers: usize,
    grouped: Rate,
    one_by_one: Rate,
    pgbench_per_second: f64,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rate {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    siyada_api::install_tls_provider();
    let args = Args::parse();
    let directory = args
        .directory
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(format!("siyada-bench-{}", std::process::id())));
    let embedded = Embedded::start(&directory, Options::default()).await?;
    store::migrate(&embedded.connect_options("siyada")).await?;
    let pool = store::pool(embedded.connect_options("siyada"));
    let done = measure(&args, &embedded, &pool).await;
    pool.close().await;
    embedded.stop().await?;
    if args.directory.is_none() {
        std::fs::remove_dir_all(&directory)?;
    }
    done
}

async fn measure(args: &Args, embedded: &Embedded, pool: &PgPool) -> anyhow::Result<()> {
    let time = Duration::from_secs(args.seconds);
    prepare(pool).await?;
    println!(
        "| tenants | callers | grouped/s | p50 ms | p99 ms | one by one/s | pgbench/s | grouped : pgbench |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut all = Vec::new();
    for tenants in [1, TENANTS] {
        for callers in [1, 32, 256] {
            let one_by_one = rate(pool, None, tenants, callers, time).await?;
            let grouped = rate(pool, Some(Group::new(pool)), tenants, callers, time).await?;
            let ceiling = pgbench(embedded, tenants, callers, args.seconds)?;
            println!(
                "| {tenants} | {callers} | {:.0} | {:.1} | {:.1} | {:.0} | {ceiling:.0} | {:.1} |",
                grouped.per_second,
                grouped.p50_ms,
                grouped.p99_ms,
                one_by_one.per_second,
                grouped.per_second / ceiling
            );
            all.push(Measured { tenants, callers, grouped, one_by_one, pgbench_per_second: ceiling });
        }
    }
    let burst = burst(pool).await?;
    let view = quota_view(pool).await?;
    println!("\n10 000 callers at once on one tenant with a limit of 5 000: {:.0}/s, none over it", burst);
    println!("quota view at 10 000 orders and 1 000 tenants: p50 {:.1} ms, p99 {:.1} ms\n", view.0, view.1);
    let report = json!({
        "seconds": args.seconds, "rates": all, "burstOf10000PerSecond": burst,
        "quotaView": {"p50Ms": view.0, "p99Ms": view.1}
    });
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}

fn record(parent: Option<&str>, quota: serde_json::Value) -> anyhow::Result<TenantRecord> {
    let record = json!({
        "uid": "u", "generation": 1, "parent": parent, "quota": quota, "dataClassification": "Internal",
        "access": [{"role": "requester", "groups": ["people"]}], "alerts": {"percent": []}
    });
    Ok(serde_json::from_value(record)?)
}

/// Prices, a root, a ministry and fifty tenants below it; and the one row that pgbench raises.
async fn prepare(pool: &PgPool) -> anyhow::Result<()> {
    let list: PriceListRecord = serde_json::from_value(siyada_api::openapi::examples::price_list())?;
    prices::put(pool, &list.prices.name, &list).await.map_err(failed)?;
    let limit = json!({"instances": 1_i64 << 50, "monthlyCost": {"minor": 1_i64 << 60, "currency": "MAD"}});
    put(pool, "kingdom", None, limit.clone()).await?;
    put(pool, "interior", Some("kingdom"), limit.clone()).await?;
    for index in 0..TENANTS {
        put(pool, &format!("t{index}"), Some("interior"), limit.clone()).await?;
    }
    for sql in [
        "create table ceiling (id bigint primary key, held bigint not null, most bigint not null) with (fillfactor = 50)",
        "insert into ceiling select n, 0, 1::bigint << 50 from generate_series(1, 50) n",
    ] {
        sqlx::query(sql).execute(pool).await?;
    }
    Ok(())
}

async fn put(
    pool: &PgPool,
    name: &str,
    parent: Option<&str>,
    quota: serde_json::Value,
) -> anyhow::Result<()> {
    let name: TenantName = name.parse()?;
    tenants::put(pool, &name, &record(parent, quota)?).await.map_err(failed)?;
    Ok(())
}

fn failed(error: siyada_api::error::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:?}")
}

fn request(tenant: &str, name: &str) -> anyhow::Result<ReservationRequest> {
    Ok(serde_json::from_value(json!({
        "generation": 1, "tenant": tenant, "namespace": tenant, "name": name, "kind": "PostgresInstance",
        "plan": "small", "billing": {"costCentre": "DSI"}, "requester": "oidc:amina",
        "resources": {"instances": 1, "cpuMilli": 1_000, "memoryBytes": 2_i64 << 30, "storageBytes": 10_i64 << 30},
        "items": [{"sku": "postgres-small", "quantity": 1}, {"sku": "block-storage", "quantity": 10_240}]
    }))?)
}

/// Every caller reserves again and again, each time for another order, until the time is over.
async fn rate(
    pool: &PgPool,
    group: Option<Group>,
    tenants: usize,
    callers: usize,
    time: Duration,
) -> anyhow::Result<Rate> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let began = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let (pool, group) = (pool.clone(), group.clone());
            tokio::spawn(async move {
                let tenant = format!("t{}", caller % tenants);
                let mut took = Vec::new();
                while began.elapsed() < time {
                    let number = NEXT.fetch_add(1, Ordering::Relaxed);
                    let (uid, asked) =
                        (format!("u-{number}").parse()?, request(&tenant, &format!("db-{number}"))?);
                    let start = Instant::now();
                    match &group {
                        Some(group) => group.hold(uid, asked).await.map_err(failed)?,
                        None => reservations::hold(&pool, &uid, &asked).await.map_err(failed)?,
                    };
                    took.push(start.elapsed());
                }
                anyhow::Ok(took)
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await??);
    }
    let seconds = began.elapsed().as_secs_f64();
    took.sort();
    Ok(Rate { per_second: took.len() as f64 / seconds, p50_ms: at(&took, 50), p99_ms: at(&took, 99) })
}

/// The percentile of sorted times, in milliseconds.
fn at(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
}

/// Transactions a second of one guarded update, as pgbench counts them.
fn pgbench(embedded: &Embedded, rows: usize, callers: usize, seconds: u64) -> anyhow::Result<f64> {
    let options = embedded.connect_options("siyada");
    let script = std::env::temp_dir().join(format!("siyada-bench-{}.sql", std::process::id()));
    let text = format!(
        "\\set id random(1, {rows})\nupdate ceiling set held = held + 1 where id = :id and held + 1 <= most;\n"
    );
    std::fs::write(&script, text)?;
    let clients = callers.min(MOST_CLIENTS).to_string();
    let output = Command::new("pgbench")
        .args(["-n", "-M", "prepared", "-U", options.get_username(), "-h", options.get_host(), "-p", "5432"])
        .args(["-c", &clients, "-j", "1", "-T", &seconds.to_string()])
        .arg("-f")
        .arg(&script)
        .arg("siyada")
        .output()
        .context("failed to run pgbench; install it (Debian: postgresql-contrib)")?;
    std::fs::remove_file(&script)?;
    if !output.status.success() {
        bail!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("tps = ")).context("pgbench said no rate")?;
    let word = line.split_whitespace().nth(2).context("pgbench said no rate")?;
    Ok(word.parse()?)
}

/// Ten thousand callers at once on one tenant that has room for half of them.
async fn burst(pool: &PgPool) -> anyhow::Result<f64> {
    put(pool, "burst", Some("interior"), json!({"instances": 5_000})).await?;
    let group = Group::new(pool);
    let began = Instant::now();
    let tasks: Vec<_> = (0..10_000)
        .map(|number| {
            let group = group.clone();
            tokio::spawn(async move {
                let uid = format!("burst-{number}").parse()?;
                anyhow::Ok(group.hold(uid, request("burst", &format!("burst-{number}"))?).await.is_ok())
            })
        })
        .collect();
    let mut granted = 0;
    for task in tasks {
        granted += i64::from(task.await??);
    }
    let seconds = began.elapsed().as_secs_f64();
    let sql = "select q.held_instances from tenant_quota q join tenant t on t.id = q.tenant_id where t.name = 'burst'";
    let held: i64 = sqlx::query_scalar(sql).fetch_one(pool).await?;
    if (granted, held) != (5_000, 5_000) {
        bail!("{granted} were granted and {held} are held of 5000");
    }
    Ok(10_000.0 / seconds)
}

/// Times of the view of a ministry with a thousand tenants of ten orders each.
async fn quota_view(pool: &PgPool) -> anyhow::Result<(f64, f64)> {
    put(pool, "large", None, json!({"instances": 100_000})).await?;
    let group = Group::new(pool);
    for index in 0..1_000 {
        put(pool, &format!("large-{index}"), Some("large"), json!({})).await?;
    }
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..10_000 {
        let group = group.clone();
        tasks.spawn(async move {
            let uid = format!("large-{number}").parse()?;
            let asked = request(&format!("large-{}", number % 1_000), &format!("db-{number}"))?;
            group.hold(uid, asked).await.map_err(failed)
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    sqlx::query("analyze").execute(pool).await?;
    let name: TenantName = "large".parse()?;
    let tenant = Arc::new(tenants::find(pool, &name).await.map_err(failed)?.context("no tenant")?);
    let mut took = Vec::new();
    for _ in 0..300 {
        let start = Instant::now();
        let found = tenants::holdings(pool, &tenant, Currency::MAD).await.map_err(failed)?;
        took.push(start.elapsed());
        if found.reservations != 10_000 {
            bail!("the view counts {} reservations", found.reservations);
        }
    }
    took.sort();
    Ok((at(&took, 50), at(&took, 99)))
}

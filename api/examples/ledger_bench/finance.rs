//! Months of a year that close one after the other, for many tenants: each beside the one SQL that computes the same
//! totals. And what the year takes: bytes for each interval beside hourly samples, an export, a statement read again.

use crate::https::Served;
use crate::rates::at;
use crate::world::failed;
use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::json;
use siyada_api::export::export;
use siyada_api::openapi::examples;
use siyada_api::store::{closing, finance, periods, prices, statements, tenants, usage};
use siyada_api::verify::verify;
use siyada_model::period::Month;
use siyada_model::wire::{PriceListRecord, TenantRecord};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use std::path::Path;
use std::time::{Duration, Instant};

/// How large the year is.
#[derive(Clone, Copy, clap::Args)]
pub struct Size {
    /// Tenants that are billed.
    #[arg(long, env = "SIYADA_BENCH_TENANTS", default_value_t = 1_000)]
    tenants: i64,
    /// Instances of all of them.
    #[arg(long, env = "SIYADA_BENCH_INSTANCES", default_value_t = 10_000)]
    instances: i64,
    /// Months that are closed, at most twelve.
    #[arg(long, env = "SIYADA_BENCH_MONTHS", default_value_t = 12, value_parser = clap::value_parser!(i64).range(1..=12))]
    months: i64,
}

/// One month.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Closed {
    month: String,
    sql_seconds: f64,
    closing_seconds: f64,
    ratio: f64,
}

/// Measures the year and prints tables.
pub async fn measure(
    pool: &PgPool,
    directory: &Path,
    database: &PgConnectOptions,
    size: Size,
) -> anyhow::Result<serde_json::Value> {
    prepare(pool, size).await?;
    let closed = close_all(pool, size).await?;
    let storage = storage(pool, size).await?;
    let reading = reading(pool).await?;
    let exported = exported(pool, directory).await?;
    let served = Served::start(directory, database).await?;
    let national = national(&served, size).await?;
    Ok(json!({
        "closed": closed, "storage": storage, "reading": reading, "export": exported, "nationalExport": national
    }))
}

/// Tenants with an account each, their orders with a budget line, and a year of changes: every order has its levels from
/// the third of January 2025 on, and another one of each meter in every month. A tenth of them have a gap in each month that
/// is billed and was proven after all, which changes no sum.
async fn prepare(pool: &PgPool, size: Size) -> anyhow::Result<()> {
    let mut list = examples::price_list();
    list["prices"]["name"] = json!("bench");
    list["prices"]["validFrom"] = json!("2024-01-01T00:00:00Z");
    let list: PriceListRecord = serde_json::from_value(list)?;
    prices::put(pool, &list.prices.name, &list, "bench").await.map_err(failed)?;
    put(pool, "kingdom", None).await?;
    for number in 0..size.tenants {
        put(pool, &format!("billed-{number}"), Some("kingdom")).await?;
    }
    let mut tx = pool.begin_with("begin; set local statement_timeout = 0").await?;
    let sql = r#"insert into orders (uid, tenant_id, namespace, name, kind, plan, billing, requester)
                 select 'billed-' || n, t.id, t.name, 'db-' || n, 'PostgresInstance', 'small',
                     '{"costCentre": "DSI", "budgetLine": "2025-30-10"}', 'oidc:requester-' || n % 100
                 from generate_series(0, $2 - 1) n join tenant t on t.name = 'billed-' || n % $1"#;
    sqlx::query(sql).bind(size.tenants).bind(size.instances).execute(&mut *tx).await?;
    let sql = "insert into usage_change (order_uid, meter, at_ms, sku, quantity, reason, collector, epoch, recorded_ms)
               select 'billed-' || n, m.meter,
                   (extract(epoch from timestamptz '2025-01-03 00:00:00Z' + month * interval '1 month') * 1000)::bigint
                       + n * 7919 % 1900000000,
                   m.sku, m.least + month % 2, 'Bench', 'bench', 1, ledger_now_ms()
               from generate_series(0, $2 - 1) month, generate_series(0, $1 - 1) n,
                   (values ('compute', 'postgres-small', 1), ('storage', 'block-storage', 10240)) m (meter, sku, least)";
    sqlx::query(sql).bind(size.instances).bind(size.months).execute(&mut *tx).await?;
    let sql = "with gap as (
                   insert into meter_gap (order_uid, meter, start_ms, end_ms, sku, quantity, reason, collector, epoch,
                       recorded_ms)
                   select order_uid, meter, at_ms + 600000, at_ms + 4200000, sku, quantity, 'notSeen', collector, epoch,
                       recorded_ms
                   from usage_change where meter = 'compute' and order_uid like '%7'
                   returning id
               )
               insert into gap_decision (gap_id, billed, evidence, decided_by, decided_ms)
               select id, true, 'The host was up', 'oidc:certifier', ledger_now_ms() from gap";
    sqlx::query(sql).execute(&mut *tx).await?;
    tx.commit().await?;
    sqlx::query("analyze").execute(pool).await?;
    finance::put_issuer(pool, &serde_json::from_value(examples::issuer())?, "bench").await.map_err(failed)?;
    let seen = json!({"collector": "bench", "epoch": 1, "seen": [], "complete": true});
    usage::checkpoint(pool, &serde_json::from_value(seen)?).await.map_err(failed)?;
    Ok(())
}

async fn put(pool: &PgPool, name: &str, parent: Option<&str>) -> anyhow::Result<()> {
    let record: TenantRecord = serde_json::from_value(json!({
        "uid": "u", "generation": 1, "parent": parent, "quota": {}, "dataClassification": "Internal",
        "access": [{"role": "requester", "groups": ["people"]}], "alerts": {"percent": []},
        "billing": {"account": name}
    }))?;
    tenants::put(pool, &name.parse()?, &record, "bench").await.map_err(failed)?;
    Ok(())
}

/// Closes month after month, each right after the SQL that computes its totals, which must be the same.
async fn close_all(pool: &PgPool, size: Size) -> anyhow::Result<Vec<Closed>> {
    println!(
        "\n{} tenants, {} instances, in seconds:\n\n| month | one SQL with the same totals | closing | ratio; goal 3 |\n|---|---|---|---|",
        size.tenants, size.instances
    );
    let mut all = Vec::new();
    for number in 1..=size.months {
        let month: Month = format!("2025-{number:02}").parse()?;
        let (net, sql_seconds) = totals(pool, month).await?;
        let began = Instant::now();
        let done = closing::close(pool, month, "bench", None).await.map_err(failed)?;
        let closing_seconds = began.elapsed().as_secs_f64();
        ensure!(done.closed, "{month} did not close: {:?}", done.blockers);
        let found = done.net.context("a closing without a sum")?.minor;
        ensure!(found == net, "{month} closed with {found}, and SQL says {net}");
        let ratio = closing_seconds / sql_seconds;
        println!("| {month} | {sql_seconds:.2} | {closing_seconds:.2} | {ratio:.1} |");
        all.push(Closed { month: month.to_string(), sql_seconds, closing_seconds, ratio });
    }
    let mut ratios: Vec<f64> = all.iter().map(|one| one.ratio).collect();
    ratios.sort_by(f64::total_cmp);
    if let (Some(least), Some(middle), Some(most)) =
        (ratios.first(), ratios.get(ratios.len() / 2), ratios.last())
    {
        println!(
            "\nratio: median {middle:.1}, from {least:.1} to {most:.1}; peak memory {} MiB",
            peak_mib()?
        );
    }
    Ok(all)
}

/// The net sum of a month by one statement: each line rounded once, as a closing does. And how long it took.
async fn totals(pool: &PgPool, month: Month) -> anyhow::Result<(i64, f64)> {
    let mut tx = pool.begin_with("begin; set local statement_timeout = 0").await?;
    let state = periods::find(&mut tx, month).await.map_err(failed)?.context("a month that is not open")?;
    let sql = "with span as (
                   select c.order_uid, c.meter, c.sku, c.quantity, greatest(c.at_ms, $1) as start_ms,
                       least(coalesce(lead(c.at_ms) over (partition by c.order_uid, c.meter order by c.at_ms), $2), $2)
                           as end_ms
                   from usage_change c where c.at_ms < $2
               ), line as (
                   select o.tenant_id, sum((s.end_ms - s.start_ms)::numeric * s.quantity) as quantity_ms, s.sku
                   from span s join orders o on o.uid = s.order_uid
                   where s.sku is not null and s.end_ms > s.start_ms
                   group by o.tenant_id, s.order_uid, s.meter, s.sku
               ), payer as (
                   select tenant_id, sum(round(case sku when 'postgres-small' then quantity_ms * 125 / 3600000
                       else quantity_ms * 21 / (100 * 3600000::bigint * 1024) end)) as minor
                   from line group by tenant_id
               )
               select sum(minor)::bigint from payer";
    let began = Instant::now();
    let net: i64 = sqlx::query_scalar(sql)
        .bind(state.period.start.as_millisecond())
        .bind(state.period.end.as_millisecond())
        .fetch_one(&mut *tx)
        .await?;
    Ok((net, began.elapsed().as_secs_f64()))
}

/// Bytes with indexes of what a month of one meter of an order takes, beside a sample for each hour with the same columns.
async fn storage(pool: &PgPool, size: Size) -> anyhow::Result<serde_json::Value> {
    const HOURS: i64 = 730;
    for sql in [
        "create table sample (like usage_change including all)",
        "insert into sample (order_uid, meter, at_ms, sku, quantity, reason, collector, epoch, recorded_ms)
         select order_uid, meter, at_ms + hour::bigint * 3600000, sku, quantity, reason, collector, epoch, recorded_ms
         from (select * from usage_change order by order_uid, meter, at_ms limit 100) c, generate_series(0, 729) hour
         on conflict do nothing",
    ] {
        sqlx::query(sql).execute(pool).await?;
    }
    let of = async |table: &str| -> anyhow::Result<(i64, i64)> {
        let sql = format!("select pg_total_relation_size('{table}'), (select count(*) from {table})");
        Ok(sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_one(pool).await?)
    };
    let ((bytes, rows), (sampled, samples)) = (of("usage_change").await?, of("sample").await?);
    let month = bytes as f64 / (size.instances * 2 * size.months) as f64;
    let sampled_month = sampled as f64 / samples as f64 * HOURS as f64;
    let each = bytes as f64 / rows as f64;
    println!(
        "\nbytes with indexes: {each:.0} for a change of level; a resource-month {month:.0}, sampled each hour {sampled_month:.0}: 1/{:.0}; goal 1/50",
        sampled_month / month
    );
    Ok(json!({"bytesPerChange": each, "bytesPerMonth": month, "bytesPerSampledMonth": sampled_month}))
}

/// Times to read what one tenant used in a month, and a document of it, as JSON.
async fn reading(pool: &PgPool) -> anyhow::Result<serde_json::Value> {
    let tenant = tenants::find(pool, &"billed-0".parse()?).await.map_err(failed)?.context("no tenant")?;
    let (mut used, mut document, mut drawn) = (Vec::new(), Vec::new(), Vec::new());
    let listed = statements::list(pool, tenant.id, 0, 12).await.map_err(failed)?;
    for _ in 0..10 {
        for entry in &listed {
            let began = Instant::now();
            let mut tx = siyada_api::store::snapshot(pool).await.map_err(failed)?;
            let state = periods::find(&mut tx, entry.month).await.map_err(failed)?.context("no month")?;
            let (from, to) = (state.period.start, state.period.end);
            let found = usage::in_period(&mut tx, tenant.id, from, to).await.map_err(failed)?;
            let lists = prices::before(&mut tx, to).await.map_err(failed)?;
            ensure!(!siyada_model::usage::rate(&found, &lists, from, to)?.is_empty(), "nothing was used");
            used.push(began.elapsed());
            let began = Instant::now();
            let text = statements::text(pool, tenant.id, &entry.number).await.map_err(failed)?;
            document.push(began.elapsed());
            let began = Instant::now();
            siyada_documents::pdf(&serde_json::from_str(&text)?, siyada_documents::Language::French)?;
            drawn.push(began.elapsed());
        }
    }
    let (first, last) = listed.first().zip(listed.last()).context("no documents")?;
    let year = year(pool, tenant.id, (first.month, last.month)).await?;
    println!("\n| one tenant's month, of {} | p50 ms | p99 ms |\n|---|---|---|", listed.len());
    let mut all = serde_json::Map::new();
    for (what, mut took) in [
        ("rated anew", used),
        ("closed, JSON", document),
        ("drawn as PDF", drawn),
        ("all of these months rated anew", year),
    ] {
        took.sort();
        println!("| {what} | {:.1} | {:.1} |", at(&took, 50), at(&took, 99));
        all.insert(what.to_owned(), json!({"p50Ms": at(&took, 50), "p99Ms": at(&took, 99)}));
    }
    Ok(all.into())
}

/// Times to rate all months of a tenant anew, as one.
async fn year(pool: &PgPool, tenant: i64, (first, last): (Month, Month)) -> anyhow::Result<Vec<Duration>> {
    let mut took = Vec::new();
    for _ in 0..50 {
        let began = Instant::now();
        let mut tx = siyada_api::store::snapshot(pool).await.map_err(failed)?;
        let from = periods::find(&mut tx, first).await.map_err(failed)?.context("no month")?.period.start;
        let to = periods::find(&mut tx, last).await.map_err(failed)?.context("no month")?.period.end;
        let found = usage::in_period(&mut tx, tenant, from, to).await.map_err(failed)?;
        let lists = prices::before(&mut tx, to).await.map_err(failed)?;
        ensure!(!siyada_model::usage::rate(&found, &lists, from, to)?.is_empty(), "nothing was used");
        took.push(began.elapsed());
    }
    Ok(took)
}

/// The last closed month of all tenants as CSV over HTTPS, with the memory of this process, which is server and client.
async fn national(served: &Served, size: Size) -> anyhow::Result<serde_json::Value> {
    std::fs::write("/proc/self/clear_refs", "5")?;
    let before = peak_mib()?;
    let began = Instant::now();
    let path = format!("/v1/usage/export?period=2025-{:02}&format=csv", size.months);
    let Some(bytes) = served.read(&path).await? else {
        println!("\nthe national export was not measured: this api has no GET /v1/usage/export");
        return Ok(serde_json::Value::Null);
    };
    let (seconds, more) = (began.elapsed().as_secs_f64(), peak_mib()?.saturating_sub(before));
    println!(
        "\n{} tenants as CSV: {bytes} bytes in {seconds:.2} s (goal 30), {more} MiB more than before (goal: constant)",
        size.tenants
    );
    Ok(json!({"bytes": bytes, "seconds": seconds, "moreMib": more}))
}

/// The export of everything and its check, with the memory of this process before and at most.
async fn exported(pool: &PgPool, directory: &Path) -> anyhow::Result<serde_json::Value> {
    let to = directory.join("export");
    // The kernel counts the most anew from here on.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let before = peak_mib()?;
    let began = Instant::now();
    export(pool, &to).await?;
    let (seconds, peak) = (began.elapsed().as_secs_f64(), peak_mib()?);
    let began = Instant::now();
    let verified = verify(&to, None)?;
    let verify_seconds = began.elapsed().as_secs_f64();
    println!(
        "\nexport of {} documents and {} changes: {seconds:.1} s, {} MiB more than before (goal 64); verify: {verify_seconds:.1} s",
        verified.documents,
        verified.records,
        peak.saturating_sub(before)
    );
    Ok(json!({"seconds": seconds, "moreMib": peak.saturating_sub(before), "verifySeconds": verify_seconds}))
}

/// The most memory that this process had.
fn peak_mib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1_024)
}

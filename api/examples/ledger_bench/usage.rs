//! Rows of usage a second, beside a raw COPY of the same rows.

use crate::https::Served;
use crate::rates::{Rate, rate};
use crate::world::{TENANTS, failed, request};
use anyhow::ensure;
use axum::extract::State;
use serde::Serialize;
use siyada_api::App;
use siyada_api::access::Platform;
use siyada_api::auth::Verifier;
use siyada_api::extract::Body;
use siyada_api::group::Group;
use siyada_api::routes::usage::ingest;
use siyada_model::usage::{Level, Meter};
use siyada_model::wire::{MOST_FACTS, UsageAccepted, UsageBatch, UsageFact};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// Orders that have usage; each has both meters.
const ORDERS: usize = 10_000;

/// Rows a second in batches of one size, the COPY in batches of the same size.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ingested {
    batch: usize,
    ingested_per_second: f64,
    https_per_second: f64,
    /// Into a table of the same columns and nothing else.
    plain_copy_per_second: f64,
    /// Into a table that has the key, the checks and the reference as well.
    keyed_copy_per_second: f64,
}

/// Measures every size of batch and prints a table.
pub async fn measure(pool: &PgPool, served: &Served, time: Duration) -> anyhow::Result<Vec<Ingested>> {
    prepare(pool).await?;
    let app = App::new(pool.clone(), Verifier::new(Vec::new()), Platform::default());
    println!(
        "\n| rows in a batch | ingested/s | over HTTPS/s | plain COPY/s | COPY with key and reference/s | ingested : plain COPY | ingested : COPY with key and reference |"
    );
    println!("|---|---|---|---|---|---|---|");
    let (mut facts, mut all) = (Facts::default(), Vec::new());
    for batch in [1, 100, 1_000, MOST_FACTS] {
        let collector = format!("bench-{batch}");
        let call = async |batch| Ok(ingest(State(app.clone()), Body(batch)).await.map_err(failed)?.0);
        let ingested_per_second = rows(&mut facts, batch, &collector, time, call).await?;
        let plain_copy_per_second = copy(pool, "usage_plain", batch, &collector).await?;
        let keyed_copy_per_second = copy(pool, "usage_keyed", batch, &collector).await?;
        let call = async |batch| served.send(reqwest::Method::POST, "/v1/usage", &batch).await;
        let https_per_second = rows(&mut facts, batch, &format!("https-{batch}"), time, call).await?;
        let done = Ingested {
            batch,
            ingested_per_second,
            https_per_second,
            plain_copy_per_second,
            keyed_copy_per_second,
        };
        println!(
            "| {batch} | {ingested_per_second:.0} | {https_per_second:.0} | {plain_copy_per_second:.0} | {keyed_copy_per_second:.0} | {:.2} | {:.2} |",
            ingested_per_second / plain_copy_per_second,
            ingested_per_second / keyed_copy_per_second
        );
        all.push(done);
    }
    Ok(all)
}

/// Batches of one row from [`CLIENTS`] at once, each of a collector of its own, and single rows that as many connections
/// insert into the table that has the key, the checks and the reference.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Singles {
    https: Rate,
    inserted: Rate,
}

/// Clients that send single rows.
const CLIENTS: usize = 64;

/// Measures single durable posts and prints a line; [`measure`] came before it and made what it needs.
pub async fn singles(pool: &PgPool, served: &Served, time: Duration) -> anyhow::Result<Singles> {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    let served = served.clone();
    let https = rate(CLIENTS, time, move |client| {
        let served = served.clone();
        async move {
            let mut fact = Facts { next: client * 2 }.fact()?;
            if let Some(level) = &mut fact.level {
                level.quantity = NEXT.fetch_add(1, Ordering::Relaxed) + 10;
            }
            let batch = UsageBatch { collector: format!("single-{client}"), epoch: 1, facts: vec![fact] };
            let accepted: UsageAccepted = served.send(reqwest::Method::POST, "/v1/usage", &batch).await?;
            ensure!(accepted.recorded == 1, "{accepted:?} of one");
            Ok(())
        }
    })
    .await?;
    let most = u32::try_from(CLIENTS)?;
    let many =
        PgPoolOptions::new().max_connections(most).connect_with((*pool.connect_options()).clone()).await?;
    let into = many.clone();
    let inserted = rate(CLIENTS, time, move |client| {
        let into = into.clone();
        async move {
            let sql = "insert into usage_keyed (order_uid, meter, at_ms, sku, quantity, reason, collector, epoch, recorded_ms)
                       values ($1, 'compute', $2, 'postgres-small', 1, 'Bench', 'single', 1, 1)";
            let at = NEXT.fetch_add(1, Ordering::Relaxed);
            sqlx::query(sql).bind(uid(client)).bind(at).execute(&into).await?;
            Ok(())
        }
    })
    .await?;
    many.close().await;
    println!(
        "\n{CLIENTS} clients, a row each time: over HTTPS {:.0}/s (p50 {:.1} ms, p99 {:.1} ms); inserted {:.0}/s; ratio {:.2}",
        https.per_second,
        https.p50_ms,
        https.p99_ms,
        inserted.per_second,
        https.per_second / inserted.per_second
    );
    Ok(Singles { https, inserted })
}

/// Orders that hold their reservation, as every order with usage does; and the tables for COPY.
async fn prepare(pool: &PgPool) -> anyhow::Result<()> {
    let group = Group::new(pool);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..ORDERS {
        let group = group.clone();
        tasks.spawn(async move {
            let asked = request(&tenant(number), &uid(number))?;
            group.hold(uid(number).parse()?, asked).await.map_err(failed)
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    for sql in [
        "create table usage_plain as select * from usage_change with no data",
        "create table usage_keyed (like usage_change including all, foreign key (order_uid) references orders (uid))",
        "analyze",
    ] {
        sqlx::query(sql).execute(pool).await?;
    }
    Ok(())
}

fn uid(order: usize) -> String {
    format!("metered-{order}")
}

fn tenant(order: usize) -> String {
    format!("t{}", order % TENANTS)
}

/// Changes of level: order after order, both meters of each, and each time another quantity, so that every fact adds a row.
#[derive(Default)]
struct Facts {
    next: usize,
}

impl Facts {
    fn batch(&mut self, size: usize, collector: &str) -> anyhow::Result<UsageBatch> {
        let facts = (0..size).map(|_| self.fact()).collect::<anyhow::Result<_>>()?;
        Ok(UsageBatch { collector: collector.to_owned(), epoch: 1, facts })
    }

    fn fact(&mut self) -> anyhow::Result<UsageFact> {
        let number = self.next;
        self.next += 1;
        let (order, round) = (number / 2 % ORDERS, number / 2 / ORDERS);
        let (meter, sku, least) = if number.is_multiple_of(2) {
            (Meter::COMPUTE, "postgres-small", 1)
        } else {
            (Meter::STORAGE, "block-storage", 10_240)
        };
        let quantity = least + i64::try_from(round % 2)?;
        Ok(UsageFact {
            order_uid: uid(order).parse()?,
            tenant: tenant(order).parse()?,
            meter,
            level: Some(Level { sku: sku.parse()?, quantity }),
            at: None,
            since: None,
            metered_since: None,
            reason: "Bench".to_owned(),
        })
    }
}

/// Rows a second of one collector, which sends a batch when the one before is answered, as an operator does.
async fn rows(
    facts: &mut Facts,
    size: usize,
    collector: &str,
    time: Duration,
    call: impl AsyncFn(UsageBatch) -> anyhow::Result<UsageAccepted>,
) -> anyhow::Result<f64> {
    let (mut spent, mut rows) = (Duration::ZERO, 0_usize);
    while spent < time {
        let batch = facts.batch(size, collector)?;
        let start = Instant::now();
        let accepted = call(batch).await?;
        spent += start.elapsed();
        ensure!(accepted.recorded == u64::try_from(size)?, "{accepted:?} of {size}");
        rows += size;
    }
    Ok(rows as f64 / spent.as_secs_f64())
}

/// Rows a second of a COPY of what a collector reported, in batches of that size, each a transaction.
async fn copy(pool: &PgPool, table: &str, size: usize, collector: &str) -> anyhow::Result<f64> {
    let sql = r"select concat_ws(E'\t', order_uid, meter, at_ms, sku, quantity, reason, collector, epoch, recorded_ms)
                from usage_change where collector = $1 order by recorded_ms, order_uid, meter";
    let rows: Vec<String> = sqlx::query_scalar(sql).bind(collector).fetch_all(pool).await?;
    let texts: Vec<String> = rows.chunks(size).map(|chunk| chunk.join("\n") + "\n").collect();
    let statement = format!(
        "copy {table} (order_uid, meter, at_ms, sku, quantity, reason, collector, epoch, recorded_ms) from stdin"
    );
    let mut connection = pool.acquire().await?;
    let (start, mut copied) = (Instant::now(), 0);
    for text in &texts {
        let mut into = connection.copy_in_raw(&statement).await?;
        into.send(text.as_bytes()).await?;
        copied += into.finish().await?;
    }
    let spent = start.elapsed();
    ensure!(copied == u64::try_from(rows.len())?, "{copied} of {} were copied", rows.len());
    Ok(rows.len() as f64 / spent.as_secs_f64())
}

//! Reservations a second, and the view of a quota.

use crate::https::Served;
use crate::pgbench::pgbench;
use crate::rates::{Rate, at, rate};
use crate::world::{TENANTS, failed, next_order, put, request};
use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::json;
use siyada_api::embedded::Embedded;
use siyada_api::group::Group;
use siyada_api::store::{reservations, tenants};
use siyada_model::id::TenantName;
use siyada_model::money::Currency;
use siyada_model::wire::Reservation;
use sqlx::PgPool;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many tenants and callers in one way after the other.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    tenants: usize,
    callers: usize,
    grouped: Rate,
    one_by_one: Rate,
    https: Rate,
    pgbench_per_second: f64,
}

/// Measures every number of tenants and callers and prints a table.
pub async fn measure(
    embedded: &Embedded,
    pool: &PgPool,
    served: &Served,
    seconds: u64,
) -> anyhow::Result<Vec<Measured>> {
    let time = Duration::from_secs(seconds);
    println!(
        "| tenants | callers | grouped/s | p50 ms | p99 ms | one by one/s | over HTTPS/s | p50 ms | p99 ms | pgbench/s | grouped : pgbench | HTTPS : grouped |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut all = Vec::new();
    for tenants in [1, TENANTS] {
        for callers in [1, 32, 256] {
            let one_by_one = one_by_one(pool, tenants, callers, time).await?;
            let grouped = grouped(pool, tenants, callers, time).await?;
            let https = over_https(served, tenants, callers, time).await?;
            let ceiling = pgbench(embedded, tenants, callers, seconds)?;
            println!(
                "| {tenants} | {callers} | {:.0} | {:.1} | {:.1} | {:.0} | {:.0} | {:.1} | {:.1} | {ceiling:.0} | {:.1} | {:.2} |",
                grouped.per_second,
                grouped.p50_ms,
                grouped.p99_ms,
                one_by_one.per_second,
                https.per_second,
                https.p50_ms,
                https.p99_ms,
                grouped.per_second / ceiling,
                https.per_second / grouped.per_second
            );
            all.push(Measured { tenants, callers, grouped, one_by_one, https, pgbench_per_second: ceiling });
        }
    }
    Ok(all)
}

/// Through group commit, as the api does, in this process.
pub async fn grouped(pool: &PgPool, tenants: usize, callers: usize, time: Duration) -> anyhow::Result<Rate> {
    let group = Group::new(pool);
    let call = move |caller: usize| {
        let group = group.clone();
        async move {
            let (uid, asked) = next_order(&format!("t{}", caller % tenants))?;
            group.hold(uid.parse()?, asked).await.map_err(failed).map(|_| ())
        }
    };
    rate(callers, time, call).await
}

/// A transaction for each.
async fn one_by_one(pool: &PgPool, tenants: usize, callers: usize, time: Duration) -> anyhow::Result<Rate> {
    let pool = pool.clone();
    let call = move |caller: usize| {
        let pool = pool.clone();
        async move {
            let (uid, asked) = next_order(&format!("t{}", caller % tenants))?;
            reservations::hold(&pool, &uid.parse()?, &asked).await.map_err(failed).map(|_| ())
        }
    };
    rate(callers, time, call).await
}

/// Through the api as it is served.
async fn over_https(served: &Served, tenants: usize, callers: usize, time: Duration) -> anyhow::Result<Rate> {
    let served = served.clone();
    let call = move |caller: usize| {
        let served = served.clone();
        async move {
            let (uid, asked) = next_order(&format!("t{}", caller % tenants))?;
            let path = format!("/v1/reservations/{uid}");
            served.send::<Reservation>(reqwest::Method::PUT, &path, &asked).await.map(|_| ())
        }
    };
    rate(callers, time, call).await
}

/// Ten thousand callers at once on one tenant that has room for half of them.
pub async fn burst(pool: &PgPool) -> anyhow::Result<f64> {
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
pub async fn quota_view(pool: &PgPool) -> anyhow::Result<(f64, f64)> {
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

//! What the measurements share: prices, tenants without a limit that matters, and orders of them.

use serde_json::json;
use siyada_api::store::{prices, tenants};
use siyada_model::id::TenantName;
use siyada_model::wire::{PriceListRecord, ReservationRequest, TenantRecord};
use sqlx::PgPool;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tenants below one ministry.
pub const TENANTS: usize = 50;

/// Prices, a root, a ministry and fifty tenants below it; and the rows that pgbench raises.
pub async fn prepare(pool: &PgPool) -> anyhow::Result<()> {
    let list: PriceListRecord = serde_json::from_value(siyada_api::openapi::examples::price_list())?;
    prices::put(pool, &list.prices.name, &list, "bench").await.map_err(failed)?;
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

fn record(parent: Option<&str>, quota: serde_json::Value) -> anyhow::Result<TenantRecord> {
    let record = json!({
        "uid": "u", "generation": 1, "parent": parent, "quota": quota, "dataClassification": "Internal",
        "access": [{"role": "requester", "groups": ["people"]}], "alerts": {"percent": []}
    });
    Ok(serde_json::from_value(record)?)
}

/// Puts a tenant on record.
pub async fn put(
    pool: &PgPool,
    name: &str,
    parent: Option<&str>,
    quota: serde_json::Value,
) -> anyhow::Result<()> {
    let name: TenantName = name.parse()?;
    tenants::put(pool, &name, &record(parent, quota)?, "bench").await.map_err(failed)?;
    Ok(())
}

/// What the api answers when it does not do it.
pub fn failed(error: siyada_api::error::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:?}")
}

/// What an order of a tenant asks.
pub fn request(tenant: &str, name: &str) -> anyhow::Result<ReservationRequest> {
    Ok(serde_json::from_value(json!({
        "generation": 1, "tenant": tenant, "namespace": tenant, "name": name, "kind": "PostgresInstance",
        "plan": "small", "billing": {"costCentre": "DSI"}, "requester": "oidc:amina",
        "resources": {"instances": 1, "cpuMilli": 1_000, "memoryBytes": 2_i64 << 30, "storageBytes": 10_i64 << 30},
        "items": [{"sku": "postgres-small", "quantity": 1}, {"sku": "block-storage", "quantity": 10_240}]
    }))?)
}

/// The uid of an order that was not there before, and what it asks.
pub fn next_order(tenant: &str) -> anyhow::Result<(String, ReservationRequest)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Ok((format!("u-{number}"), request(tenant, &format!("db-{number}"))?))
}

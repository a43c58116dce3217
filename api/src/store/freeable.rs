//! What could be freed: named after a refusal, outside of every lock.

use super::batch::{Answer, Call};
use crate::error::Error;
use siyada_model::id::TenantName;
use siyada_model::quota::{Dimension, Freeable, MOST_FREEABLE};
use sqlx::PgPool;
use std::collections::BTreeMap;

#[derive(Clone, Debug, sqlx::FromRow)]
struct Row {
    order_uid: String,
    kind: String,
    namespace: String,
    name: String,
    amount: i64,
}

/// The largest reservations of a tenant and below it in one dimension. Never those of others: whichever tenant's limit
/// stops an order, its people only read of orders that they may see.
async fn largest(pool: &PgPool, tenant: &TenantName, dimension: Dimension) -> Result<Vec<Row>, Error> {
    let sql = "select o.uid as order_uid, o.kind, o.namespace, o.name, r.amount
               from (select r.order_uid, case $2 when 'instances' then r.instances when 'cpu' then r.cpu_milli
                         when 'memory' then r.memory_bytes when 'storage' then r.storage_bytes
                         else r.money_minor end as amount
                     from reservation r
                     where r.tenant_id in (select below.id from tenant t join tenant below on below.path @> array[t.id]
                                           where t.name = $1 and t.deleted_ms is null)) r
               join orders o on o.uid = r.order_uid
               where r.amount > 0 order by r.amount desc, o.namespace, o.name limit $3";
    // One more than are named: the order that asks is not one of them.
    let most = i64::try_from(MOST_FREEABLE).unwrap_or(i64::MAX).saturating_add(1);
    Ok(sqlx::query_as(sql).bind(tenant.as_str()).bind(dimension.as_str()).bind(most).fetch_all(pool).await?)
}

/// Names in every refusal for want of quota what could be freed. Without it, the refusal is as true.
pub async fn name(pool: &PgPool, calls: &[Call], answers: &mut [Answer]) {
    let mut known: BTreeMap<(TenantName, Dimension), Vec<Row>> = BTreeMap::new();
    for (call, answer) in calls.iter().zip(answers) {
        let (Call::Hold(uid, request), Err(Error::Refused(problem))) = (call, &*answer) else { continue };
        let Some(shortfall) = problem.shortfall.clone() else { continue };
        let key = (request.tenant.clone(), shortfall.dimension);
        if !known.contains_key(&key) {
            let rows = largest(pool, &request.tenant, shortfall.dimension).await.unwrap_or_else(|cause| {
                tracing::warn!(?cause, "failed to look for what could be freed");
                Vec::new()
            });
            known.insert(key.clone(), rows);
        }
        let rows = known.get(&key).into_iter().flatten().filter(|row| row.order_uid != uid.as_str());
        let freeable = rows.take(MOST_FREEABLE).cloned().map(Into::into).collect();
        *answer = Err(Error::quota_exceeded(siyada_model::quota::Shortfall { freeable, ..shortfall }));
    }
}

/// The same for a quote.
///
/// # Errors
/// When the database does not answer.
pub async fn of(pool: &PgPool, tenant: &TenantName, dimension: Dimension) -> Result<Vec<Freeable>, Error> {
    Ok(largest(pool, tenant, dimension).await?.into_iter().take(MOST_FREEABLE).map(Into::into).collect())
}

impl From<Row> for Freeable {
    fn from(row: Row) -> Self {
        Self { kind: row.kind, namespace: row.namespace, name: row.name, amount: row.amount }
    }
}

//! Orders: what is known of them, which outlives their reservations.

use super::id;
use crate::error::Error;
use siyada_model::id::{OrderUid, TenantName};
use siyada_model::wire::{Billing, ReservationRequest};
use sqlx::PgConnection;
use sqlx::types::Json;
use std::collections::BTreeMap;

/// What a report says of an order.
#[derive(Clone, Debug)]
pub struct Order {
    /// The tenant that pays.
    pub tenant: TenantName,
    /// Its namespace; empty when only its usage is known.
    pub namespace: String,
    /// Its name; its uid when only its usage is known.
    pub name: String,
    /// Its kind; empty when only its usage is known.
    pub kind: String,
    /// Its plan; empty when only its usage is known.
    pub plan: String,
    /// Where it is booked.
    pub billing: Billing,
}

#[derive(sqlx::FromRow)]
struct Row {
    uid: String,
    tenant: String,
    namespace: String,
    name: String,
    kind: String,
    plan: String,
    billing: Json<Billing>,
}

/// These orders, by uid.
///
/// # Errors
/// When the database does not answer.
pub async fn find(connection: &mut PgConnection, uids: &[&str]) -> Result<BTreeMap<OrderUid, Order>, Error> {
    let sql = "select o.uid, t.name as tenant, o.namespace, o.name, o.kind, o.plan, o.billing
               from orders o join tenant t on t.id = o.tenant_id where o.uid = any($1)";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(uids).fetch_all(connection).await?;
    rows.into_iter()
        .map(|row| {
            let order = Order {
                tenant: id(row.tenant)?,
                namespace: row.namespace,
                name: row.name,
                kind: row.kind,
                plan: row.plan,
                billing: row.billing.0,
            };
            Ok((id(row.uid)?, order))
        })
        .collect()
}

/// The tenant and the name of an order that was locked.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Locked {
    /// Key of the tenant that pays.
    pub tenant_id: i64,
    /// Its namespace; empty when only its usage is known.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
}

/// Locks the order; it is made known first if it is not.
///
/// # Errors
/// When the database does not answer.
pub async fn lock_or_insert(
    tx: &mut PgConnection,
    uid: &OrderUid,
    tenant_id: i64,
    request: &ReservationRequest,
) -> Result<Locked, Error> {
    let sql = "insert into orders (uid, tenant_id, namespace, name, kind, plan, billing)
               values ($1, $2, $3, $4, $5, $6, $7) on conflict (uid) do nothing";
    sqlx::query(sql)
        .bind(uid.as_str())
        .bind(tenant_id)
        .bind(&request.namespace)
        .bind(&request.name)
        .bind(&request.kind)
        .bind(&request.plan)
        .bind(Json(&request.billing))
        .execute(&mut *tx)
        .await?;
    let sql = "select tenant_id, namespace, name, kind from orders where uid = $1 for no key update";
    Ok(sqlx::query_as(sql).bind(uid.as_str()).fetch_one(tx).await?)
}

/// Stores what a newer request says of the order.
///
/// # Errors
/// When the database does not answer.
pub async fn describe(
    tx: &mut PgConnection,
    uid: &OrderUid,
    request: &ReservationRequest,
) -> Result<(), Error> {
    let sql = "update orders set namespace = $2, name = $3, kind = $4, plan = $5, billing = $6
               where uid = $1 and (namespace, name, kind, plan, billing) is distinct from ($2, $3, $4, $5, $6)";
    sqlx::query(sql)
        .bind(uid.as_str())
        .bind(&request.namespace)
        .bind(&request.name)
        .bind(&request.kind)
        .bind(&request.plan)
        .bind(Json(&request.billing))
        .execute(tx)
        .await?;
    Ok(())
}

/// Locks the order if it is known, so that no usage of it arrives until the transaction ends.
///
/// # Errors
/// When the database does not answer.
pub async fn lock(tx: &mut PgConnection, uid: &OrderUid) -> Result<(), Error> {
    sqlx::query("select 1 from orders where uid = $1 for no key update")
        .bind(uid.as_str())
        .execute(tx)
        .await?;
    Ok(())
}

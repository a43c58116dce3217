//! Orders: what is known of them, which outlives their reservations.

use super::id;
use crate::error::Error;
use crate::fail::point;
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
    /// Its uid.
    pub uid: String,
    /// Key of the tenant that pays.
    pub tenant_id: i64,
    /// Its namespace; empty when only its usage is known.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
}

/// What is said of many orders, column by column, as `unnest` wants it.
struct Columns<'a> {
    uids: Vec<&'a str>,
    namespaces: Vec<&'a str>,
    names: Vec<&'a str>,
    kinds: Vec<&'a str>,
    plans: Vec<&'a str>,
    billings: Vec<Json<&'a Billing>>,
    requesters: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    fn of(said: &[(&'a OrderUid, &'a ReservationRequest)]) -> Self {
        let texts = |text: fn(&ReservationRequest) -> &str| said.iter().map(|(_, r)| text(r)).collect();
        Self {
            uids: said.iter().map(|(uid, _)| uid.as_str()).collect(),
            namespaces: texts(|r| &r.namespace),
            names: texts(|r| &r.name),
            kinds: texts(|r| &r.kind),
            plans: texts(|r| &r.plan),
            billings: said.iter().map(|(_, r)| Json(&r.billing)).collect(),
            requesters: said.iter().map(|(_, r)| r.requester.as_deref()).collect(),
        }
    }
}

/// Makes those of these orders known that are not, in the order of their uids, and answers which these are. The others
/// are waited for, as long as somebody else is making them known.
///
/// # Errors
/// When the database does not answer.
pub async fn insert(
    tx: &mut PgConnection,
    said: &[(&OrderUid, &ReservationRequest)],
    tenants: &[i64],
) -> Result<Vec<String>, Error> {
    let of = Columns::of(said);
    let sql = "insert into orders (uid, tenant_id, namespace, name, kind, plan, billing, requester)
               select o.uid, o.tenant_id, o.namespace, o.name, o.kind, o.plan, o.billing, o.requester
               from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::jsonb[],
                           $8::text[])
                    as o (uid, tenant_id, namespace, name, kind, plan, billing, requester)
               order by o.uid on conflict (uid) do nothing returning uid";
    point("insert-orders");
    let made = sqlx::query_scalar(sql)
        .bind(of.uids)
        .bind(tenants)
        .bind(of.namespaces)
        .bind(of.names)
        .bind(of.kinds)
        .bind(of.plans)
        .bind(of.billings)
        .bind(of.requesters)
        .fetch_all(tx)
        .await?;
    Ok(made)
}

/// Takes back what [`insert`] made known in this transaction.
///
/// # Errors
/// When the database does not answer.
pub async fn drop_new(tx: &mut PgConnection, uids: &[&str]) -> Result<(), Error> {
    point("drop-orders");
    sqlx::query("delete from orders where uid = any($1)").bind(uids).execute(tx).await?;
    Ok(())
}

/// Stores what newer requests say of their orders.
///
/// # Errors
/// When the database does not answer.
pub async fn describe(tx: &mut PgConnection, said: &[(&OrderUid, &ReservationRequest)]) -> Result<(), Error> {
    let of = Columns::of(said);
    let sql = "update orders o set namespace = n.namespace, name = n.name, kind = n.kind, plan = n.plan,
                   billing = n.billing, requester = coalesce(n.requester, o.requester)
               from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::text[])
                    as n (uid, namespace, name, kind, plan, billing, requester)
               where o.uid = n.uid and (o.namespace, o.name, o.kind, o.plan, o.billing, o.requester)
                   is distinct from (n.namespace, n.name, n.kind, n.plan, n.billing,
                                     coalesce(n.requester, o.requester))";
    point("describe-orders");
    sqlx::query(sql)
        .bind(of.uids)
        .bind(of.namespaces)
        .bind(of.names)
        .bind(of.kinds)
        .bind(of.plans)
        .bind(of.billings)
        .bind(of.requesters)
        .execute(tx)
        .await?;
    Ok(())
}

/// Locks these orders in the order of their uids, so that no usage of them arrives until the transaction ends.
///
/// # Errors
/// When the database does not answer.
pub async fn lock_all(tx: &mut PgConnection, uids: &[&str]) -> Result<Vec<Locked>, Error> {
    let sql = "select uid, tenant_id, namespace, name, kind from orders
               where uid = any($1) order by uid for no key update";
    Ok(sqlx::query_as(sql).bind(uids).fetch_all(tx).await?)
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

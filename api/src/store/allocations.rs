//! Where orders are booked: entries from an instant on, never altered.

use super::audit::{self, Act};
use super::{id, orders, periods, timestamp};
use crate::error::Error;
use jiff::Timestamp;
use serde_json::json;
use siyada_model::allocation::{Allocation, Shares};
use siyada_model::id::OrderUid;
use siyada_model::wire::code;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;

/// The entries of these orders by the records up to `as_of` alone, in time order.
///
/// # Errors
/// When the database does not answer.
pub async fn of(
    tx: &mut PgConnection,
    uids: &[&str],
    as_of: i64,
) -> Result<BTreeMap<OrderUid, Vec<Allocation>>, Error> {
    let sql = "select order_uid, at_ms, shares from allocation_change
               where order_uid = any($1) and seq <= $2 order by order_uid, at_ms";
    let rows: Vec<(String, i64, Json<Shares>)> =
        sqlx::query_as(sql).bind(uids).bind(as_of).fetch_all(tx).await?;
    let mut found: BTreeMap<OrderUid, Vec<Allocation>> = BTreeMap::new();
    for (uid, at, shares) in rows {
        found.entry(id(uid)?).or_default().push(Allocation { at: timestamp(at)?, shares: shares.0 });
    }
    Ok(found)
}

/// Books an order's cost elsewhere from an instant on, until the next entry.
///
/// # Errors
/// `not-found` for an order that is not known or not one of the tenant's, `conflict` for other shares at that instant,
/// `period-closed`.
pub async fn put(
    pool: &PgPool,
    tenant_id: i64,
    uid: &OrderUid,
    (at, shares): (Option<Timestamp>, &Shares),
    by: &str,
) -> Result<Allocation, Error> {
    let mut tx = pool.begin().await?;
    periods::lock(&mut tx).await?;
    orders::lock(&mut tx, uid).await?;
    let sql = "select o.tenant_id from orders o join tenant t on t.id = o.tenant_id
               where o.uid = $1 and t.path @> array[$2]";
    let payer: Option<i64> =
        sqlx::query_scalar(sql).bind(uid.as_str()).bind(tenant_id).fetch_optional(&mut *tx).await?;
    let payer = payer.ok_or_else(Error::not_found)?;
    let at = match at {
        Some(at) => at,
        None => super::now(&mut tx).await?,
    };
    let asked = Allocation { at: timestamp(at.as_millisecond())?, shares: shares.clone() };
    if let Some(same) = before(&mut tx, uid, &asked).await? {
        return Ok(same);
    }
    refuse_closed(&mut tx, &asked).await?;
    let sql = "insert into allocation_change (order_uid, at_ms, shares, put_by, recorded_ms)
               values ($1, $2, $3, $4, ledger_now_ms())";
    sqlx::query(sql)
        .bind(uid.as_str())
        .bind(asked.at.as_millisecond())
        .bind(Json(&asked.shares))
        .bind(by)
        .execute(&mut *tx)
        .await?;
    let object = format!("order/{uid}");
    let detail = json!({"allocation": asked});
    let act = Act { actor: by, action: "order.allocate", tenant_id: Some(payer), object, detail };
    audit::record(&mut tx, act).await?;
    tx.commit().await?;
    Ok(asked)
}

/// The entry in force at that instant if it says the same.
async fn before(
    tx: &mut PgConnection,
    uid: &OrderUid,
    asked: &Allocation,
) -> Result<Option<Allocation>, Error> {
    let sql = "select at_ms, shares from allocation_change
               where order_uid = $1 and at_ms <= $2 order by at_ms desc limit 1";
    let row: Option<(i64, Json<Shares>)> =
        sqlx::query_as(sql).bind(uid.as_str()).bind(asked.at.as_millisecond()).fetch_optional(tx).await?;
    let Some((since, shares)) = row else { return Ok(None) };
    let known = Allocation { at: timestamp(since)?, shares: shares.0 };
    if known.shares == asked.shares {
        return Ok(Some(known));
    }
    if known.at == asked.at {
        let detail = format!(
            "the order is booked otherwise from {} on; entries are never altered, choose another instant",
            asked.at
        );
        return Err(Error::refuse(code::CONFLICT, detail));
    }
    Ok(None)
}

async fn refuse_closed(tx: &mut PgConnection, asked: &Allocation) -> Result<(), Error> {
    let sql =
        "select month from period where closed_ms is not null and end_ms > $1 order by start_ms limit 1";
    let closed: Option<String> =
        sqlx::query_scalar(sql).bind(asked.at.as_millisecond()).fetch_optional(tx).await?;
    match closed {
        Some(month) => {
            Err(Error::refuse(code::PERIOD_CLOSED, format!("{month} is closed; choose an instant after it")))
        }
        None => Ok(()),
    }
}

//! Price lists: what they were when they were published, for ever.

use crate::error::Error;
use jiff::Timestamp;
use siyada_model::id::PriceListName;
use siyada_model::money::Currency;
use siyada_model::price::{MOST_PRICE_DECIMALS, PriceList};
use siyada_model::wire::{PriceListRecord, code};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeSet;

/// Most prices in a list.
const MOST_PRICES: usize = 2_000;

/// Publishes a price list; the same once more changes nothing.
///
/// # Errors
/// `conflict` for other content under the same name, the same first instant or another currency; `invalid` for what
/// cannot be a price list.
pub async fn put(
    pool: &PgPool,
    name: &PriceListName,
    record: &PriceListRecord,
) -> Result<PriceListRecord, Error> {
    check(name, &record.prices)?;
    let mut tx = pool.begin().await?;
    lock(&mut tx).await?;
    if let Some(known) = find(&mut tx, name).await? {
        if known.prices == record.prices && known.legal_basis == record.legal_basis {
            return Ok(known);
        }
        return Err(Error::refuse(
            code::CONFLICT,
            format!(
                "price list {name} is published and never changes; publish a new one with its own validFrom"
            ),
        ));
    }
    if let Some(currency) = currency(&mut tx).await?.filter(|c| *c != record.prices.currency) {
        return Err(Error::refuse(
            code::CONFLICT,
            format!("prices of this ledger are in {currency}; give price list {name} in {currency}"),
        ));
    }
    sqlx::query("insert into price_list (name, currency, valid_from_ms, record) values ($1, $2, $3, $4)")
        .bind(name.as_str())
        .bind(record.prices.currency.as_str())
        .bind(record.prices.valid_from.as_millisecond())
        .bind(Json(record))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(record.clone())
}

fn check(name: &PriceListName, list: &PriceList) -> Result<(), Error> {
    if list.name != *name {
        return Err(Error::invalid(format!("the body is price list {}, the path says {name}", list.name)));
    }
    if list.skus.is_empty() || list.skus.len() > MOST_PRICES {
        return Err(Error::invalid(format!("a price list has 1 to {MOST_PRICES} prices")));
    }
    let mut seen = BTreeSet::new();
    for price in &list.skus {
        if !seen.insert(&price.sku) {
            return Err(Error::invalid(format!("{} has two prices; keep one", price.sku)));
        }
        if price.price.is_sign_negative() || price.price.normalize().scale() > MOST_PRICE_DECIMALS {
            return Err(Error::invalid(format!(
                "the price of {} must not be negative and have at most {MOST_PRICE_DECIMALS} decimals",
                price.sku
            )));
        }
    }
    if list.valid_from.as_nanosecond() % 1_000_000 != 0 {
        return Err(Error::invalid("validFrom must be a whole millisecond"));
    }
    Ok(())
}

/// Withdraws a list that nothing was priced with. Once more is no error.
///
/// # Errors
/// `in-use` when a reservation was priced with it or usage falls in its time.
pub async fn delete(pool: &PgPool, name: &PriceListName) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    lock(&mut tx).await?;
    let Some(known) = find(&mut tx, name).await? else { return Ok(()) };
    let sql = "select count(*) from reservation where price_list = $1";
    let reservations: i64 = sqlx::query_scalar(sql).bind(name.as_str()).fetch_one(&mut *tx).await?;
    if reservations > 0 {
        return Err(Error::refuse(
            code::IN_USE,
            format!("{reservations} reservations were priced with price list {name}; it stays"),
        ));
    }
    if is_rated(&mut tx, known.prices.valid_from).await? {
        return Err(Error::refuse(
            code::IN_USE,
            format!("usage is priced with price list {name}; it stays, publish a newer one instead"),
        ));
    }
    sqlx::query("delete from price_list where name = $1").bind(name.as_str()).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

/// Whether any usage falls in the time of the list that begins at `valid_from`.
async fn is_rated(tx: &mut PgConnection, valid_from: Timestamp) -> Result<bool, Error> {
    let sql = "with next as (select min(valid_from_ms) as ms from price_list where valid_from_ms > $1)
               select $1 <= ledger_now_ms() and (
                   exists (select 1 from usage_change c, next
                           where c.sku is not null and c.at_ms >= $1 and (next.ms is null or c.at_ms < next.ms))
                   or exists (select 1 from (
                           select distinct on (order_uid, meter) sku from usage_change
                           where at_ms < $1 order by order_uid, meter, at_ms desc
                       ) last where last.sku is not null)
               )";
    Ok(sqlx::query_scalar(sql).bind(valid_from.as_millisecond()).fetch_one(tx).await?)
}

/// Writers take turns; readers do not wait.
async fn lock(tx: &mut PgConnection) -> Result<(), Error> {
    sqlx::query("lock table price_list in share row exclusive mode").execute(tx).await?;
    Ok(())
}

async fn find(tx: &mut PgConnection, name: &PriceListName) -> Result<Option<PriceListRecord>, Error> {
    let sql = "select record from price_list where name = $1";
    let row: Option<Json<PriceListRecord>> =
        sqlx::query_scalar(sql).bind(name.as_str()).fetch_optional(tx).await?;
    Ok(row.map(|json| json.0))
}

/// The list of that name.
///
/// # Errors
/// A fault when there is none: what was priced with it keeps it.
pub async fn named(tx: &mut PgConnection, name: &PriceListName) -> Result<PriceList, Error> {
    let found = find(tx, name).await?;
    found.map(|r| r.prices).ok_or_else(|| Error::Fault(format!("failed to find price list {name}")))
}

/// The currency of all lists, if there is any list.
///
/// # Errors
/// When the database does not answer.
pub async fn currency(connection: &mut PgConnection) -> Result<Option<Currency>, Error> {
    let found: Option<String> =
        sqlx::query_scalar("select currency from price_list limit 1").fetch_optional(connection).await?;
    Ok(found.map(|text| text.parse()).transpose()?)
}

/// The list in force now.
///
/// # Errors
/// `price-unknown` when there is none.
pub async fn in_force(connection: &mut PgConnection) -> Result<PriceList, Error> {
    let sql = "select record from price_list where valid_from_ms <= ledger_now_ms()
               order by valid_from_ms desc limit 1";
    let row: Option<Json<PriceListRecord>> = sqlx::query_scalar(sql).fetch_optional(connection).await?;
    row.map(|json| json.0.prices)
        .ok_or_else(|| Error::refuse(code::PRICE_UNKNOWN, "no price list is in force; publish one"))
}

/// Every list that was in force at some instant before `to`.
///
/// # Errors
/// When the database does not answer.
pub async fn before(connection: &mut PgConnection, to: Timestamp) -> Result<Vec<PriceList>, Error> {
    let sql = "select record from price_list where valid_from_ms < $1 order by valid_from_ms";
    let rows: Vec<Json<PriceListRecord>> =
        sqlx::query_scalar(sql).bind(to.as_millisecond()).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|json| json.0.prices).collect())
}

/// Lists after `after`, by name.
///
/// # Errors
/// When the database does not answer.
pub async fn list(pool: &PgPool, after: &str, limit: i64) -> Result<Vec<PriceListRecord>, Error> {
    let sql =
        r#"select record from price_list where name collate "C" > $1 order by name collate "C" limit $2"#;
    let rows: Vec<Json<PriceListRecord>> =
        sqlx::query_scalar(sql).bind(after).bind(limit).fetch_all(pool).await?;
    Ok(rows.into_iter().map(|json| json.0).collect())
}

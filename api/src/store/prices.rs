//! Price lists: what they were when they were published, for ever.

use super::audit::{self, Act};
use crate::error::Error;
use jiff::Timestamp;
use serde_json::json;
use siyada_model::id::PriceListName;
use siyada_model::money::Currency;
use siyada_model::price::{MOST_PRICE_DECIMALS, PriceList};
use siyada_model::wire::{PriceListRecord, code};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeSet;

/// Most prices in a list.
const MOST_PRICES: usize = 2_000;
/// Most SKUs named in a refusal.
const MOST_NAMED: i64 = 10;
/// How late a list may arrive: its way through the cluster takes a moment. Later, it would change prices of the past.
const LATE_MS: i64 = 10 * 60 * 1_000;
/// The channel on which a change of the lists is announced.
pub const CHANNEL: &str = "siyada_price_list";

/// Publishes a price list; the same once more changes nothing.
///
/// # Errors
/// `conflict` for other content under the same name, the same first instant, another currency or time that is priced
/// already; `price-unknown` for a gap: something that stands or was used would have no price; `invalid` for what cannot
/// be a price list.
pub async fn put(
    pool: &PgPool,
    name: &PriceListName,
    record: &PriceListRecord,
    actor: &str,
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
    refuse_overlap(&mut tx, &record.prices).await?;
    refuse_gap(&mut tx, &record.prices).await?;
    sqlx::query("insert into price_list (name, currency, valid_from_ms, record) values ($1, $2, $3, $4)")
        .bind(name.as_str())
        .bind(record.prices.currency.as_str())
        .bind(record.prices.valid_from.as_millisecond())
        .bind(Json(record))
        .execute(&mut *tx)
        .await?;
    announce(&mut tx).await?;
    audit::record(&mut tx, act(actor, "priceList.put", record)).await?;
    tx.commit().await?;
    Ok(record.clone())
}

/// All of the list is told: what is withdrawn is nowhere else any more.
fn act<'a>(actor: &'a str, action: &'static str, record: &PriceListRecord) -> Act<'a> {
    let object = format!("priceList/{}", record.prices.name);
    Act { actor, action, tenant_id: None, object, detail: json!({"record": record}) }
}

/// Whoever waits for the next list to come into force looks again.
async fn announce(tx: &mut PgConnection) -> Result<(), Error> {
    sqlx::query("select pg_notify($1, '')").bind(CHANNEL).execute(tx).await?;
    Ok(())
}

/// Two lists for the same time: the same first instant, or a past in which another one has priced usage.
async fn refuse_overlap(tx: &mut PgConnection, list: &PriceList) -> Result<(), Error> {
    let sql = "select l.name, l.valid_from_ms = $1, $1 + $2 < ledger_now_ms() from price_list l
               where l.valid_from_ms <= $1 order by l.valid_from_ms desc limit 1";
    let from = list.valid_from.as_millisecond();
    let before: Option<(String, bool, bool)> =
        sqlx::query_as(sql).bind(from).bind(LATE_MS).fetch_optional(&mut *tx).await?;
    let Some((name, same, late)) = before else { return Ok(()) };
    if same {
        return Err(Error::refuse(
            code::CONFLICT,
            format!("price list {name} is in force from the same instant; choose another validFrom"),
        ));
    }
    if late && is_rated(tx, list.valid_from).await? {
        return Err(Error::refuse(
            code::CONFLICT,
            format!(
                "usage after {} is priced with price list {name} already; prices of the past never change, choose a \
                 validFrom that is not over",
                list.valid_from
            ),
        ));
    }
    Ok(())
}

/// Time without a price: what stands or is used while the list is in force is not in it, or usage is older than the
/// first list.
async fn refuse_gap(tx: &mut PgConnection, list: &PriceList) -> Result<(), Error> {
    let from = list.valid_from.as_millisecond();
    let sql = "select min(at_ms) from usage_change
               where sku is not null and not exists (select 1 from price_list where valid_from_ms < $1)";
    let earliest: Option<i64> = sqlx::query_scalar(sql).bind(from).fetch_one(&mut *tx).await?;
    if let Some(earliest) = earliest.filter(|at| *at < from) {
        return Err(Error::refuse(
            code::PRICE_UNKNOWN,
            format!(
                "usage since {} would have no price before {}; let the first price list begin not later than that",
                super::timestamp(earliest)?,
                list.valid_from
            ),
        ));
    }
    let missing = missing(tx, list).await?;
    if missing.is_empty() {
        return Ok(());
    }
    let named = |(sku, who, count): &(String, String, i64)| match count {
        1 => format!("{sku} (of {who})"),
        count => format!("{sku} (of {who} and {} more)", count.saturating_sub(1)),
    };
    Err(Error::refuse(
        code::PRICE_UNKNOWN,
        format!(
            "price list {} would leave without a price what stands or is used: {}; add these prices, or remove the orders",
            list.name,
            missing.iter().map(named).collect::<Vec<_>>().join(", ")
        ),
    ))
}

/// SKUs that are needed while `list` is in force and are not in it, with one order that needs each and how many do.
async fn missing(tx: &mut PgConnection, list: &PriceList) -> Result<Vec<(String, String, i64)>, Error> {
    let sql = "with next as (select min(valid_from_ms) as ms from price_list where valid_from_ms > $1),
               -- What goes on matters to a list that is or will be in force; what was matters to one of the past.
               needed as (
                   select i.value ->> 'sku' as sku, r.order_uid
                   from reservation r, next, jsonb_array_elements(r.request -> 'items') i
                   where not r.retained and (next.ms is null or next.ms > ledger_now_ms())
                   union
                   select last.sku, last.order_uid from next, (
                       select distinct on (order_uid, meter) order_uid, sku from usage_change
                       order by order_uid, meter, at_ms desc
                   ) last where last.sku is not null and (next.ms is null or next.ms > ledger_now_ms())
                   union
                   select c.sku, c.order_uid from usage_change c, next
                   where c.sku is not null and c.at_ms >= $1 and (next.ms is null or c.at_ms < next.ms)
               )
               select n.sku, min(case when o.namespace = '' then 'order ' || o.uid
                                      else o.kind || ' ' || o.namespace || '/' || o.name end), count(distinct o.uid)
               from needed n join orders o on o.uid = n.order_uid
               where n.sku <> all($2) group by n.sku order by n.sku limit $3";
    let skus: Vec<&str> = list.skus.iter().map(|price| price.sku.as_str()).collect();
    let found = sqlx::query_as(sql)
        .bind(list.valid_from.as_millisecond())
        .bind(skus)
        .bind(MOST_NAMED)
        .fetch_all(tx)
        .await?;
    Ok(found)
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
pub async fn delete(pool: &PgPool, name: &PriceListName, actor: &str) -> Result<(), Error> {
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
    announce(&mut tx).await?;
    audit::record(&mut tx, act(actor, "priceList.delete", &known)).await?;
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

/// Writers take turns, and wait for whoever is pricing something: what he writes is seen here, and who comes later sees
/// what is written here. Readers do not wait.
async fn lock(tx: &mut PgConnection) -> Result<(), Error> {
    wait_for_pricing(tx).await?;
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

/// The currency of all lists; dirhams before there is any list.
///
/// # Errors
/// When the database does not answer.
pub async fn billing_currency(connection: &mut PgConnection) -> Result<Currency, Error> {
    Ok(currency(connection).await?.unwrap_or(Currency::MAD))
}

/// Waits until nobody prices anything any more, and holds off those who want to, until the transaction ends.
///
/// # Errors
/// When the database does not answer.
pub async fn wait_for_pricing(tx: &mut PgConnection) -> Result<(), Error> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('siyada price lists', 0))")
        .execute(tx)
        .await?;
    Ok(())
}

/// The lists that matter to what is held from now on.
#[derive(Clone, Debug, Default)]
pub struct Prices {
    /// The one in force.
    pub in_force: Option<PriceList>,
    /// Those that follow, by their first instant.
    pub upcoming: Vec<PriceList>,
}

impl Prices {
    /// The list in force.
    ///
    /// # Errors
    /// `price-unknown` when there is none.
    pub fn now(&self) -> Result<&PriceList, Error> {
        self.in_force
            .as_ref()
            .ok_or_else(|| Error::refuse(code::PRICE_UNKNOWN, "no price list is in force; publish one"))
    }
}

/// The lists from now on. Until the transaction ends, none is published and none withdrawn.
///
/// # Errors
/// When the database does not answer.
pub async fn from_now(connection: &mut PgConnection) -> Result<Prices, Error> {
    let sql = "select record, in_force from price_lists_from_now()";
    let rows: Vec<(Json<PriceListRecord>, Option<bool>)> = sqlx::query_as(sql).fetch_all(connection).await?;
    let mut prices = Prices::default();
    for (record, in_force) in rows {
        if in_force == Some(true) {
            prices.in_force = Some(record.0.prices);
        } else {
            prices.upcoming.push(record.0.prices);
        }
    }
    Ok(prices)
}

/// Milliseconds until the next list comes into force, if one is published.
///
/// # Errors
/// When the database does not answer.
pub async fn next_begins_in_ms(connection: &mut PgConnection) -> Result<Option<i64>, Error> {
    let sql =
        "select min(valid_from_ms) - ledger_now_ms() from price_list where valid_from_ms > ledger_now_ms()";
    Ok(sqlx::query_scalar(sql).fetch_one(connection).await?)
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

//! Reservations: the part of a quota that an order holds.

use super::batch::{self, Call, Done};
use super::quota::Amounts;
use super::{freeable, id, prices, timestamp};
use crate::error::Error;
use crate::fail::point;
use siyada_model::id::{OrderUid, PriceListName, TenantName};
use siyada_model::money::{Currency, Money};
use siyada_model::price::{PriceList, Unit};
use siyada_model::quota::Commitment;
use siyada_model::resources::Resources;
use siyada_model::wire::{HeldOrder, Reservation, ReservationRequest, code};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};

#[derive(sqlx::FromRow)]
struct Row {
    order_uid: String,
    request: Json<ReservationRequest>,
    instances: i64,
    cpu_milli: i64,
    memory_bytes: i64,
    storage_bytes: i64,
    money_minor: i64,
    price_list: String,
    currency: String,
    held_since_ms: i64,
}

impl TryFrom<Row> for Reservation {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self, Error> {
        let amounts = Amounts {
            resources: Resources {
                instances: row.instances,
                cpu_milli: row.cpu_milli,
                memory_bytes: row.memory_bytes,
                storage_bytes: row.storage_bytes,
            },
            money_minor: row.money_minor,
        };
        Ok(Self {
            order_uid: id(row.order_uid)?,
            request: row.request.0,
            commitment: amounts.in_currency(row.currency.parse()?),
            price_list: id(row.price_list)?,
            held_since: timestamp(row.held_since_ms)?,
        })
    }
}

/// The reservations of these orders.
///
/// # Errors
/// When the database does not answer.
pub async fn of_orders(connection: &mut PgConnection, uids: &[&str]) -> Result<Vec<Reservation>, Error> {
    let sql = "select r.*, l.currency from reservation r join price_list l on l.name = r.price_list
               where r.order_uid = any($1)";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(uids).fetch_all(connection).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// The reservation of an order.
///
/// # Errors
/// When the database does not answer.
pub async fn find(connection: &mut PgConnection, uid: &OrderUid) -> Result<Option<Reservation>, Error> {
    let sql = "select r.*, l.currency from reservation r join price_list l on l.name = r.price_list
               where r.order_uid = $1";
    let row: Option<Row> = sqlx::query_as(sql).bind(uid.as_str()).fetch_optional(connection).await?;
    row.map(TryInto::try_into).transpose()
}

/// What a request comes to, given what is on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is held already.
    AsItIs,
    /// Other words about the same amounts: the price stays.
    Describe,
    /// Other amounts: priced anew.
    Price,
}

/// Decides what `request` changes.
///
/// # Errors
/// `stale` when a newer generation is on record.
pub(super) fn decide(known: Option<&Reservation>, request: &ReservationRequest) -> Result<Decision, Error> {
    let Some(known) = known else { return Ok(Decision::Price) };
    let on_record = known.request.generation;
    if on_record > request.generation {
        return Err(Error::refuse(
            code::STALE,
            format!("generation {on_record} of this order is on record; read the order again"),
        ));
    }
    if known.request == *request {
        return Ok(Decision::AsItIs);
    }
    let same = known.request.resources == request.resources
        && known.request.items == request.items
        && known.request.retained == request.retained;
    Ok(if same { Decision::Describe } else { Decision::Price })
}

/// What a request is for: all of it, or only the storage that a deleted order left.
fn billable(request: &ReservationRequest, list: &PriceList) -> (Resources, Vec<siyada_model::price::Item>) {
    if !request.retained {
        return (request.resources, request.items.clone());
    }
    let kept = |sku| list.price_of(sku).is_none_or(|price| price.unit == Unit::GibHour);
    let resources = Resources { storage_bytes: request.resources.storage_bytes, ..Resources::default() };
    (resources, request.items.iter().filter(|item| kept(&item.sku)).cloned().collect())
}

/// Amounts and money of a request with the prices of `list`.
///
/// # Errors
/// `price-unknown` names what has no price.
pub fn price(request: &ReservationRequest, list: &PriceList) -> Result<(Amounts, Currency), Error> {
    let (resources, items) = billable(request, list);
    let Money { minor, currency } = list.monthly_maximum(&items)?;
    Ok((Amounts { resources, money_minor: minor }, currency))
}

/// Holds what `request` asks along the whole chain of its tenant, or nothing.
///
/// # Errors
/// `quota-exceeded`, `approval-pending`, `approval-rejected`, `tenant-suspended`, `tenant-unknown`, `price-unknown`,
/// `stale`, `conflict`.
pub async fn hold(pool: &PgPool, uid: &OrderUid, request: &ReservationRequest) -> Result<Reservation, Error> {
    match alone(pool, Call::Hold(uid.clone(), Box::new(request.clone()))).await? {
        Done::Held(held) => Ok(*held),
        Done::Released => Err(Error::Fault("a reservation was answered as a release".to_owned())),
    }
}

/// Gives back what an order holds. Once more is no error.
///
/// # Errors
/// `in-use` while usage of the order is open.
pub async fn release(pool: &PgPool, uid: &OrderUid) -> Result<(), Error> {
    alone(pool, Call::Release(uid.clone())).await.map(|_| ())
}

/// One call in a transaction of its own.
async fn alone(pool: &PgPool, call: Call) -> Result<Done, Error> {
    let calls = [call];
    let mut answers = batch::run(pool, &calls).await?;
    freeable::name(pool, &calls, &mut answers).await;
    answers.pop().unwrap_or_else(|| Err(Error::Fault("a call was not answered".to_owned())))
}

/// Stores other values of reservations that are locked.
///
/// # Errors
/// When the database does not answer.
pub async fn write_values(tx: &mut PgConnection, valued: &[Reservation]) -> Result<(), Error> {
    let sql = "update reservation r set money_minor = v.money_minor, price_list = v.price_list
               from unnest($1::text[], $2::bigint[], $3::text[]) as v (order_uid, money_minor, price_list)
               where r.order_uid = v.order_uid";
    point("write-reservations");
    sqlx::query(sql)
        .bind(valued.iter().map(|held| held.order_uid.as_str()).collect::<Vec<_>>())
        .bind(valued.iter().map(|held| held.commitment.monthly_cost.minor).collect::<Vec<_>>())
        .bind(valued.iter().map(|held| held.price_list.as_str()).collect::<Vec<_>>())
        .execute(tx)
        .await?;
    Ok(())
}

/// Which reservations are listed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    /// Only those of this tenant and below it.
    pub below: Option<i64>,
    /// Only those that are retained, or only those that are not.
    pub retained: Option<bool>,
}

/// Reservations after `after`, by uid.
///
/// # Errors
/// When the database does not answer.
pub async fn list<'c>(
    executor: impl sqlx::PgExecutor<'c>,
    filter: Filter,
    after: &str,
    limit: i64,
) -> Result<Vec<Reservation>, Error> {
    let sql = r#"select r.*, l.currency from reservation r join price_list l on l.name = r.price_list
                 where r.order_uid collate "C" > $1
                   and ($2::bigint is null or r.tenant_id in (select id from tenant where path @> array[$2]))
                   and ($3::boolean is null or r.retained = $3)
                 order by r.order_uid collate "C" limit $4"#;
    let rows: Vec<Row> = sqlx::query_as(sql)
        .bind(after)
        .bind(filter.below)
        .bind(filter.retained)
        .bind(limit)
        .fetch_all(executor)
        .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// The largest reservations of a tenant and below it, by money and then by storage.
///
/// # Errors
/// When the database does not answer.
pub async fn largest(
    connection: &mut PgConnection,
    tenant_id: i64,
    most: i64,
) -> Result<Vec<HeldOrder>, Error> {
    let sql = "select r.*, l.currency from (
                   select * from reservation
                   where tenant_id in (select id from tenant where path @> array[$1])
                   order by money_minor desc, storage_bytes desc, order_uid limit $2
               ) r join price_list l on l.name = r.price_list
               order by r.money_minor desc, r.storage_bytes desc, r.order_uid";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(tenant_id).bind(most).fetch_all(connection).await?;
    rows.into_iter().map(|row| Reservation::try_from(row).map(held_order)).collect()
}

/// A reservation without what was asked.
pub fn held_order(held: Reservation) -> HeldOrder {
    HeldOrder {
        order_uid: held.order_uid,
        tenant: held.request.tenant,
        kind: held.request.kind,
        namespace: held.request.namespace,
        name: held.request.name,
        commitment: held.commitment,
    }
}

/// What `request` would change: the difference in amounts, all of it, and the list.
///
/// # Errors
/// `price-unknown` when something has no price.
pub async fn quote(
    connection: &mut PgConnection,
    request: &ReservationRequest,
    known: Option<&Reservation>,
) -> Result<(Amounts, Commitment, PriceListName), Error> {
    let list = prices::in_force(connection).await?;
    let (amounts, currency) = price(request, &list)?;
    let before = known.map(|k| Amounts::of(&k.commitment)).unwrap_or_default();
    Ok((amounts.minus(&before)?, amounts.in_currency(currency), list.name))
}

/// The reservation of an order, if it is one of this tenant: of others' nothing is said.
///
/// # Errors
/// When the database does not answer.
pub async fn of_tenant(
    connection: &mut PgConnection,
    uid: &OrderUid,
    tenant: &TenantName,
) -> Result<Option<Reservation>, Error> {
    Ok(find(connection, uid).await?.filter(|known| known.request.tenant == *tenant))
}

#[cfg(test)]
mod tests {
    use super::*;
    use siyada_model::price::{Item, SkuPrice};

    fn request(generation: i64) -> ReservationRequest {
        ReservationRequest {
            generation,
            tenant: "interior".parse().unwrap(),
            namespace: "interior-apps".to_owned(),
            name: "db".to_owned(),
            kind: "PostgresInstance".to_owned(),
            plan: "small".to_owned(),
            requester: None,
            billing: siyada_model::wire::Billing::default(),
            resources: Resources {
                instances: 1,
                cpu_milli: 500,
                memory_bytes: 1 << 30,
                storage_bytes: 1 << 30,
            },
            items: vec![
                Item { sku: "postgres-small".parse().unwrap(), quantity: 1 },
                Item { sku: "block-storage".parse().unwrap(), quantity: 1_024 },
            ],
            retained: false,
        }
    }
    fn list() -> PriceList {
        let price = |sku: &str, unit, price: &str| SkuPrice {
            sku: sku.parse().unwrap(),
            unit,
            price: price.parse().unwrap(),
        };
        PriceList {
            name: "l".parse().unwrap(),
            currency: Currency::MAD,
            valid_from: jiff::Timestamp::UNIX_EPOCH,
            skus: vec![
                price("postgres-small", Unit::Hour, "1.00"),
                price("block-storage", Unit::GibHour, "0.01"),
            ],
        }
    }
    fn reservation(request: ReservationRequest) -> Reservation {
        let (amounts, currency) = price(&request, &list()).unwrap();
        Reservation {
            order_uid: "u".parse().unwrap(),
            commitment: amounts.in_currency(currency),
            price_list: list().name,
            held_since: jiff::Timestamp::UNIX_EPOCH,
            request,
        }
    }

    #[test]
    fn only_other_amounts_are_priced_anew() {
        let known = reservation(request(2));
        let check = |request: &ReservationRequest, expect: Option<Decision>| {
            assert_eq!(decide(Some(&known), request).ok(), expect);
        };
        check(&request(2), Some(Decision::AsItIs));
        check(&request(1), None);
        check(&request(3), Some(Decision::Describe));
        check(&ReservationRequest { plan: "large".to_owned(), ..request(2) }, Some(Decision::Describe));
        check(&ReservationRequest { items: vec![], ..request(2) }, Some(Decision::Price));
        check(&ReservationRequest { retained: true, ..request(3) }, Some(Decision::Price));
        assert_eq!(decide(None, &request(1)).ok(), Some(Decision::Price));
    }

    #[test]
    fn what_is_retained_is_only_its_storage() {
        let (amounts, currency) =
            price(&ReservationRequest { retained: true, ..request(1) }, &list()).unwrap();
        assert_eq!(amounts.resources, Resources { storage_bytes: 1 << 30, ..Resources::default() });
        assert_eq!((amounts.money_minor, currency), (745, Currency::MAD));
        assert_eq!(price(&request(1), &list()).unwrap().0.money_minor, 74_500 + 745);
    }
}

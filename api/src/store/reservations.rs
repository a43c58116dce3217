//! Reservations: the part of a quota that an order holds.

use super::quota::{self, Amounts, Shift};
use super::tenants::{self, Tenant};
use super::{id, orders, prices, timestamp};
use crate::error::Error;
use siyada_model::id::{OrderUid, PriceListName, TenantName};
use siyada_model::money::{Currency, Money};
use siyada_model::price::{PriceList, Unit};
use siyada_model::resources::Resources;
use siyada_model::wire::{Reservation, ReservationRequest, code};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;

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
enum Decision {
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
fn decide(known: Option<&Reservation>, request: &ReservationRequest) -> Result<Decision, Error> {
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
/// `quota-exceeded`, `tenant-suspended`, `tenant-unknown`, `price-unknown`, `stale`, `conflict`.
pub async fn hold(pool: &PgPool, uid: &OrderUid, request: &ReservationRequest) -> Result<Reservation, Error> {
    let mut tx = pool.begin().await?;
    let tenant = tenants::hold_still(&mut tx, &request.tenant).await?;
    let order = orders::lock_or_insert(&mut tx, uid, tenant.id, request).await?;
    same_order(&order, tenant.id, request)?;
    let known = find(&mut tx, uid).await?;
    let decision = decide(known.as_ref(), request)?;
    let held = match (decision, known) {
        (Decision::AsItIs, Some(known)) => return Ok(known),
        (Decision::Describe, Some(known)) => {
            let held = Reservation { request: request.clone(), ..known };
            write(&mut tx, &held, tenant.id).await?;
            held
        }
        (_, known) => priced(&mut tx, uid, request, known, &tenant).await?,
    };
    orders::describe(&mut tx, uid, request).await?;
    tx.commit().await?;
    Ok(held)
}

/// An order is one object of one tenant for ever: what it used is billed to that tenant.
fn same_order(order: &orders::Locked, tenant_id: i64, request: &ReservationRequest) -> Result<(), Error> {
    if order.tenant_id != tenant_id {
        return Err(Error::refuse(
            code::CONFLICT,
            "this order belongs to another tenant; an order never moves, order it anew in the other tenant",
        ));
    }
    let named = !order.namespace.is_empty();
    let same =
        order.namespace == request.namespace && order.name == request.name && order.kind == request.kind;
    if named && !same {
        return Err(Error::refuse(
            code::CONFLICT,
            format!("this uid is on record as {} {}/{}", order.kind, order.namespace, order.name),
        ));
    }
    Ok(())
}

async fn priced(
    tx: &mut PgConnection,
    uid: &OrderUid,
    request: &ReservationRequest,
    known: Option<Reservation>,
    tenant: &Tenant,
) -> Result<Reservation, Error> {
    let list = list_for(tx, request, known.as_ref()).await?;
    let (amounts, currency) = price(request, &list)?;
    let before = known.as_ref().map(|k| Amounts::of(&k.commitment)).unwrap_or_default();
    let difference = amounts.minus(&before)?;
    if known.is_none() || difference.grows() {
        may_grow(tx, tenant, request, currency).await?;
    }
    let held_since = match &known {
        Some(known) => known.held_since,
        None => super::now(tx).await?,
    };
    let held = Reservation {
        order_uid: uid.clone(),
        request: request.clone(),
        commitment: amounts.in_currency(currency),
        price_list: list.name,
        held_since,
    };
    write(tx, &held, tenant.id).await?;
    // Last, so that the busiest rows of the ledger are locked for the shortest time.
    let shifts: BTreeMap<i64, Shift> = tenant.path.iter().map(|id| (*id, difference)).collect();
    quota::shift(tx, &shifts, &tenant.path).await?;
    Ok(held)
}

/// The list to price with: the one in force, except that what is retained keeps its price as long as it can, so that
/// it only ever shrinks.
async fn list_for(
    tx: &mut PgConnection,
    request: &ReservationRequest,
    known: Option<&Reservation>,
) -> Result<PriceList, Error> {
    if let Some(known) = known.filter(|_| request.retained) {
        let list = prices::named(tx, &known.price_list).await?;
        if request.items.iter().all(|item| list.price_of(&item.sku).is_some()) {
            return Ok(list);
        }
    }
    prices::in_force(tx).await
}

/// Whether the chain takes growth at all.
async fn may_grow(
    tx: &mut PgConnection,
    tenant: &Tenant,
    request: &ReservationRequest,
    prices: Currency,
) -> Result<(), Error> {
    let chain = tenants::chain(tx, &tenant.path).await?;
    if let Some(suspended) = chain.iter().find(|link| link.suspended && !request.retained) {
        return Err(Error::refuse(
            code::TENANT_SUSPENDED,
            format!("tenant {} is suspended and takes no new orders; ask who suspended it", suspended.name),
        ));
    }
    quota::same_currency(&quota::read(tx, &tenant.path).await?, prices)
}

async fn write(tx: &mut PgConnection, held: &Reservation, tenant_id: i64) -> Result<(), Error> {
    let sql =
        "insert into reservation (order_uid, tenant_id, generation, retained, request, instances, cpu_milli,
                   memory_bytes, storage_bytes, money_minor, price_list, held_since_ms)
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
               on conflict (order_uid) do update set generation = excluded.generation,
                   retained = excluded.retained, request = excluded.request, instances = excluded.instances,
                   cpu_milli = excluded.cpu_milli, memory_bytes = excluded.memory_bytes,
                   storage_bytes = excluded.storage_bytes, money_minor = excluded.money_minor,
                   price_list = excluded.price_list";
    let resources = &held.commitment.resources;
    sqlx::query(sql)
        .bind(held.order_uid.as_str())
        .bind(tenant_id)
        .bind(held.request.generation)
        .bind(held.request.retained)
        .bind(Json(&held.request))
        .bind(resources.instances)
        .bind(resources.cpu_milli)
        .bind(resources.memory_bytes)
        .bind(resources.storage_bytes)
        .bind(held.commitment.monthly_cost.minor)
        .bind(held.price_list.as_str())
        .bind(held.held_since.as_millisecond())
        .execute(tx)
        .await?;
    Ok(())
}

/// Gives back what an order holds. Once more is no error.
///
/// # Errors
/// `in-use` while usage of the order is open.
pub async fn release(pool: &PgPool, uid: &OrderUid) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    let Some(known) = find(&mut tx, uid).await? else { return Ok(()) };
    // The same order of locks as `hold`: the tenant, the order, the sums.
    let tenant = tenants::hold_still(&mut tx, &known.request.tenant).await?;
    orders::lock(&mut tx, uid).await?;
    let Some(known) = find(&mut tx, uid).await? else { return Ok(()) };
    let sql = "select meter from (
                   select distinct on (meter) meter, sku from usage_change
                   where order_uid = $1 order by meter, at_ms desc
               ) last where sku is not null order by meter";
    let open: Vec<String> = sqlx::query_scalar(sql).bind(uid.as_str()).fetch_all(&mut *tx).await?;
    if !open.is_empty() {
        let meters = open.join(" and ");
        return Err(Error::refuse(
            code::IN_USE,
            format!("usage of {meters} of this order is still open; report its end first"),
        ));
    }
    sqlx::query("delete from reservation where order_uid = $1").bind(uid.as_str()).execute(&mut *tx).await?;
    let difference = Amounts::of(&known.commitment).negated()?;
    let shifts: BTreeMap<i64, Shift> = tenant.path.iter().map(|id| (*id, difference)).collect();
    quota::shift(&mut tx, &shifts, &tenant.path).await?;
    tx.commit().await?;
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
pub async fn list(pool: &PgPool, filter: Filter, after: &str, limit: i64) -> Result<Vec<Reservation>, Error> {
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
        .fetch_all(pool)
        .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// What `request` would change: the difference in amounts, the money of all of it, and the list.
///
/// # Errors
/// `price-unknown` when something has no price.
pub async fn quote(
    connection: &mut PgConnection,
    request: &ReservationRequest,
    known: Option<&Reservation>,
) -> Result<(Amounts, Money, PriceListName), Error> {
    let list = prices::in_force(connection).await?;
    let (amounts, currency) = price(request, &list)?;
    let before = known.map(|k| Amounts::of(&k.commitment)).unwrap_or_default();
    Ok((amounts.minus(&before)?, Money { minor: amounts.money_minor, currency }, list.name))
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

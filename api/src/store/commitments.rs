//! Commitments as finance reads them, and where they lead.

use super::prices;
use super::quota::Amounts;
use super::reservations::{self, held_order};
use super::tenants::Tenant;
use super::usage::in_period;
use crate::error::Error;
use jiff::Timestamp;
use siyada_model::id::{OrderUid, Sku};
use siyada_model::money::{Currency, Money};
use siyada_model::price::{PriceList, Unit};
use siyada_model::quota::Commitment;
use siyada_model::usage::{Interval, Level, Meter, rate};
use siyada_model::wire::{Billing, CommittedOrder, ForecastPeriod, Reservation};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;

/// Most reservations in one forecast or one file.
pub const MOST_ROWS: i64 = 100_000;

/// Commitments of a tenant and below it after `after`, by order uid.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    pool: &PgPool,
    tenant: &Tenant,
    after: &str,
    limit: i64,
) -> Result<Vec<CommittedOrder>, Error> {
    let filter = reservations::Filter { below: Some(tenant.id), retained: None };
    let rows = reservations::list(pool, filter, after, limit).await?;
    let sql = "select name, record -> 'billing' from tenant where path @> array[$1] and deleted_ms is null";
    let billings: Vec<(String, Option<Json<Billing>>)> =
        sqlx::query_as(sql).bind(tenant.id).fetch_all(pool).await?;
    let billings: BTreeMap<String, Billing> =
        billings.into_iter().map(|(name, json)| (name, json.map(|j| j.0).unwrap_or_default())).collect();
    Ok(rows.into_iter().map(|held| committed(held, &billings)).collect())
}

/// A reservation with where it is booked: its own words, else its tenant's.
fn committed(held: Reservation, billings: &BTreeMap<String, Billing>) -> CommittedOrder {
    let of_tenant = billings.get(held.request.tenant.as_str()).cloned().unwrap_or_default();
    let own = held.request.billing.clone();
    let billing = Billing {
        account: own.account.or(of_tenant.account),
        cost_centre: own.cost_centre.or(of_tenant.cost_centre),
        budget_line: own.budget_line.or(of_tenant.budget_line),
        reference: own.reference,
    };
    CommittedOrder {
        plan: held.request.plan.clone(),
        requester: held.request.requester.clone(),
        price_list: held.price_list.clone(),
        billing,
        retained: held.request.retained,
        held_since: held.held_since,
        order: held_order(held),
    }
}

/// Count and sum of what a tenant and everything below it has reserved.
///
/// # Errors
/// When the database does not answer.
pub async fn total(
    connection: &mut PgConnection,
    tenant: &Tenant,
    currency: Currency,
) -> Result<(i64, Commitment), Error> {
    let sql = "select count(*), coalesce(sum(instances), 0)::bigint, coalesce(sum(cpu_milli), 0)::bigint,
                   coalesce(sum(memory_bytes), 0)::bigint, coalesce(sum(storage_bytes), 0)::bigint,
                   coalesce(sum(money_minor), 0)::bigint
               from reservation where tenant_id in (select id from tenant where path @> array[$1])";
    let (count, instances, cpu_milli, memory_bytes, storage_bytes, money_minor) =
        sqlx::query_as(sql).bind(tenant.id).fetch_one(connection).await?;
    let resources = siyada_model::resources::Resources { instances, cpu_milli, memory_bytes, storage_bytes };
    Ok((count, Amounts { resources, money_minor }.in_currency(currency)))
}

/// What is known once for every period of a forecast.
pub struct Basis {
    now: Timestamp,
    reserved: Vec<Reservation>,
    lists: Vec<PriceList>,
    currency: Currency,
}

impl Basis {
    /// Reads what is reserved and every list that is published until `to`.
    ///
    /// # Errors
    /// `too-large` for more reservations than a forecast takes.
    pub async fn read(
        tx: &mut PgConnection,
        tenant: &Tenant,
        (now, to): (Timestamp, Timestamp),
        currency: Currency,
    ) -> Result<Self, Error> {
        let filter = reservations::Filter { below: Some(tenant.id), retained: None };
        let reserved = reservations::list(&mut *tx, filter, "", MOST_ROWS.saturating_add(1)).await?;
        if i64::try_from(reserved.len()).unwrap_or(i64::MAX) > MOST_ROWS {
            return Err(Error::refuse(
                siyada_model::wire::code::TOO_LARGE,
                format!(
                    "a forecast takes at most {MOST_ROWS} reservations; ask for the tenants below one by one"
                ),
            ));
        }
        Ok(Self { now, reserved, lists: prices::before(tx, to).await?, currency })
    }

    /// What `from` until `to` comes to: what was used until now, and what is reserved from now on.
    ///
    /// # Errors
    /// `price-unknown` for time without a price.
    pub async fn forecast(
        &self,
        tx: &mut PgConnection,
        tenant: &Tenant,
        (from, to): (Timestamp, Timestamp),
    ) -> Result<ForecastPeriod, Error> {
        let (used, all) = self.intervals(tx, tenant, (from, to)).await?;
        let used = self.sum(&used, from, self.now)?;
        Ok(ForecastPeriod { from, to, used, total: self.sum(&all, from, to)? })
    }

    /// What was used from `from` until now, and the same with what is reserved running on from now until `to`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn intervals(
        &self,
        tx: &mut PgConnection,
        tenant: &Tenant,
        (from, to): (Timestamp, Timestamp),
    ) -> Result<(Vec<Interval>, Vec<Interval>), Error> {
        let mut used = in_period(tx, tenant.id, from, self.now).await?;
        for interval in &mut used {
            // What is open runs until now; from now on the reservation says what there may be.
            interval.end = Some(interval.end.map_or(self.now, |end| end.min(self.now)));
        }
        let mut all = used.clone();
        // What goes on is one line with what was used, and rounded once with it.
        let meters: Used =
            used.iter().map(|i| ((i.order_uid.clone(), i.level.sku.clone()), i.meter)).collect();
        for held in &self.reserved {
            all.extend(runs_on(held, &meters, &self.lists, (self.now, to)));
        }
        Ok((used, all))
    }

    /// Every list that is published until the end.
    pub fn lists(&self) -> &[PriceList] {
        &self.lists
    }

    fn sum(&self, intervals: &[Interval], from: Timestamp, to: Timestamp) -> Result<Money, Error> {
        let lines = rate(intervals, &self.lists, from, to)?;
        Ok(lines.iter().try_fold(Money::zero(self.currency), |sum, line| sum.add(line.amount))?)
    }
}

/// By which meter an order was billed for a SKU.
type Used = BTreeMap<(OrderUid, Sku), Meter>;

/// A reservation as the usage that it allows from `now` until `to`.
fn runs_on(
    held: &Reservation,
    used: &Used,
    lists: &[PriceList],
    (now, to): (Timestamp, Timestamp),
) -> Vec<Interval> {
    let unit = |sku| lists.iter().rev().find_map(|list| list.price_of(sku)).map(|price| price.unit);
    let items = held.request.items.iter().filter(|item| item.quantity > 0);
    items
        .filter_map(|item| {
            let stored = unit(&item.sku) == Some(Unit::GibHour);
            let usual = if stored { Meter::STORAGE } else { Meter::COMPUTE };
            let counts = !held.request.retained || stored;
            counts.then(|| Interval {
                order_uid: held.order_uid.clone(),
                meter: used.get(&(held.order_uid.clone(), item.sku.clone())).copied().unwrap_or(usual),
                level: Level { sku: item.sku.clone(), quantity: item.quantity },
                start: now,
                end: Some(to),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use siyada_model::price::{Item, SkuPrice};

    #[test]
    fn what_goes_on_goes_on_by_the_meter_that_it_was_billed_by() {
        let mut held: Reservation =
            serde_json::from_value(crate::openapi::examples::reservation()).expect("an example");
        let item = |sku: &str| Item { sku: sku.parse().expect("a SKU"), quantity: 2 };
        held.request.items = vec![item("primary"), item("standby"), item("volume"), item("images")];
        let at = |ms| Timestamp::from_millisecond(ms).expect("an instant");
        let price = |sku: &str, unit| SkuPrice { sku: sku.parse().expect("a SKU"), unit, price: 1.into() };
        let stored = ["volume", "images"].map(|sku| price(sku, Unit::GibHour));
        let runs = ["primary", "standby"].map(|sku| price(sku, Unit::Hour));
        let list = PriceList {
            name: held.price_list.clone(),
            currency: Currency::MAD,
            valid_from: at(0),
            skus: stored.into_iter().chain(runs).collect(),
        };
        let used = [("standby", Meter::STANDBY), ("images", Meter::BACKUP)]
            .map(|(sku, meter)| ((held.order_uid.clone(), sku.parse().expect("a SKU")), meter))
            .into();
        let check = |held: &Reservation, expect: &[(&str, Meter)]| {
            let found = runs_on(held, &used, std::slice::from_ref(&list), (at(5), at(9)));
            let found: Vec<_> = found.iter().map(|i| (i.level.sku.as_str(), i.meter)).collect();
            assert_eq!(found, expect);
        };
        let stored = [("volume", Meter::STORAGE), ("images", Meter::BACKUP)];
        let runs = [("primary", Meter::COMPUTE), ("standby", Meter::STANDBY)];
        check(&held, &[runs, stored].concat());
        held.request.retained = true;
        check(&held, &stored);
    }
}

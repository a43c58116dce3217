//! A new price list comes into force: what stands is valued by it.
//!
//! A row says which list it is valued by, so that it does not matter who does this, how often, or when it was broken
//! off. What is retained keeps its price.

use super::quota::{self, Amounts, Shift};
use super::reservations::{self, price};
use super::{orders, prices, tenants};
use crate::error::Error;
use siyada_model::price::PriceList;
use siyada_model::wire::Reservation;
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;

/// Reservations of one transaction: their tenants' sums are locked for some milliseconds.
const MOST_AT_ONCE: i64 = 200;

/// What came of looking once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Valued {
    /// Reservations that got another value or another list.
    pub reservations: usize,
    /// Milliseconds until the next list comes into force, if one is published.
    pub next_in_ms: Option<i64>,
}

/// Values everything that stands by the list in force.
///
/// # Errors
/// When the database does not answer. What was done until then stays done.
pub async fn run(pool: &PgPool) -> Result<Valued, Error> {
    let mut valued = Valued::default();
    let mut tx = pool.begin().await?;
    // Whoever still prices with the list before has finished when we look.
    prices::wait_for_pricing(&mut tx).await?;
    let next_in_ms = prices::next_begins_in_ms(&mut tx).await?;
    let list = prices::from_now(&mut tx).await?.in_force;
    tx.commit().await?;
    valued.next_in_ms = next_in_ms;
    let Some(list) = list else { return Ok(valued) };
    let mut after = String::new();
    loop {
        let mut tx = pool.begin().await?;
        // Replicas of the api take turns; the second finds nothing left to do.
        sqlx::query("select pg_advisory_xact_lock(hashtextextended('siyada revaluation', 0))")
            .execute(&mut *tx)
            .await?;
        let (last, changed) = step(&mut tx, &list, &after).await?;
        tx.commit().await?;
        valued.reservations = valued.reservations.saturating_add(changed);
        match last {
            Some(last) => after = last,
            None => return Ok(valued),
        }
    }
}

/// Values the next reservations after an order uid; answers the last one looked at, if more may follow.
async fn step(
    tx: &mut PgConnection,
    list: &PriceList,
    after: &str,
) -> Result<(Option<String>, usize), Error> {
    let sql = r#"select order_uid from reservation
                 where not retained and price_list <> $1 and order_uid collate "C" > $2
                 order by order_uid collate "C" limit $3"#;
    let uids: Vec<String> = sqlx::query_scalar(sql)
        .bind(list.name.as_str())
        .bind(after)
        .bind(MOST_AT_ONCE)
        .fetch_all(&mut *tx)
        .await?;
    let Some(last) = uids.last().cloned() else { return Ok((None, 0)) };
    let uids: Vec<&str> = uids.iter().map(String::as_str).collect();
    // The same order of locks as whoever reserves.
    let names = tenants::of_reservations(tx, &uids).await?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let chains: BTreeMap<_, _> =
        tenants::hold_all_still(tx, &names).await?.into_iter().map(|t| (t.name.clone(), t.path)).collect();
    orders::lock_all(tx, &uids).await?;
    let mut shifts: BTreeMap<i64, Shift> = BTreeMap::new();
    let mut valued = Vec::new();
    for known in reservations::of_orders(tx, &uids).await? {
        let Some((held, difference)) = value(&known, list)? else { continue };
        for id in chains.get(&known.request.tenant).into_iter().flatten() {
            shifts.entry(*id).or_default().add(&difference)?;
        }
        valued.push(held);
    }
    reservations::write_values(tx, &valued).await?;
    quota::revalue(tx, &shifts).await?;
    Ok((Some(last), valued.len()))
}

/// The reservation at the prices of `list` and what that adds; nothing when it is valued by it or keeps its price.
fn value(known: &Reservation, list: &PriceList) -> Result<Option<(Reservation, Shift)>, Error> {
    if known.request.retained || known.price_list == list.name {
        return Ok(None);
    }
    let (amounts, currency) = match price(&known.request, list) {
        Ok(priced) => priced,
        Err(cause) => {
            // A list that lacks something is refused; one from before that rule leaves the order at its old price.
            tracing::error!(order.uid = %known.order_uid, ?cause, "failed to value order {} anew", known.order_uid);
            return Ok(None);
        }
    };
    let difference = amounts.minus(&Amounts::of(&known.commitment))?;
    let commitment = amounts.in_currency(currency);
    Ok(Some((Reservation { commitment, price_list: list.name.clone(), ..known.clone() }, difference)))
}

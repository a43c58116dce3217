//! Many reservations and releases in one transaction: read under locks, decide in order, write by sets.
//!
//! A refusal of one is an answer, not an error, and leaves the others alone. An error is one of the whole transaction:
//! nothing of it is written then, and whoever called runs its calls one by one.

use super::alerts::{self, NewAlert};
use super::approvals::{self, Asked};
use super::prices::{self, Prices};
use super::quota::{self, Amounts, QuotaRow, Shift};
use super::reservations::{self, Decision, decide, price};
use super::tenants::{self, Tenant};
use super::{now, orders};
use crate::error::Error;
use crate::fail::point;
use jiff::Timestamp;
use siyada_model::id::{OrderUid, PriceListName, TenantName};
use siyada_model::price::{PriceError, PriceList};
use siyada_model::quota::Commitment;
use siyada_model::wire::{ApprovalDecision, ApprovalNeeded, Reservation, ReservationRequest, code};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use std::collections::{BTreeMap, BTreeSet};

/// Longest wait for a lock while others wait for us: alone, each of them may wait longer.
const BEGIN_MANY: &str = "begin; set local lock_timeout = '2s'";

/// What is asked.
#[derive(Clone, Debug)]
pub enum Call {
    /// Hold this for this order, or refuse.
    Hold(OrderUid, Box<ReservationRequest>),
    /// Give back what this order holds.
    Release(OrderUid),
}

impl Call {
    /// The order.
    pub fn uid(&self) -> &OrderUid {
        match self {
            Self::Hold(uid, _) | Self::Release(uid) => uid,
        }
    }
}

/// What was done.
#[derive(Clone, Debug)]
pub enum Done {
    /// It is held.
    Held(Box<Reservation>),
    /// It holds nothing any more.
    Released,
}

/// What one caller is told.
pub type Answer = Result<Done, Error>;

/// Decides these calls, each of another order, in their order and in one transaction.
///
/// # Errors
/// When the transaction as a whole failed: nothing was written, or nobody knows (the connection broke while
/// committing). Each call may be sent again.
pub async fn run(pool: &PgPool, calls: &[Call]) -> Result<Vec<Answer>, Error> {
    let mut tx = if calls.len() > 1 { pool.begin_with(BEGIN_MANY).await? } else { pool.begin().await? };
    let mut seen = Seen::read(&mut tx, calls).await?;
    let mut changes = Changes::default();
    let answers: Vec<Answer> = calls.iter().map(|call| seen.answer(call, &mut changes)).collect();
    for (call, answer) in calls.iter().zip(&answers) {
        let uid = call.uid();
        if answer.is_err() && seen.made.contains(uid.as_str()) && !changes.asked.contains_key(uid) {
            changes.dropped.push(uid.clone());
        }
    }
    changes.write(&mut tx, &seen).await?;
    point("before-commit");
    tx.commit().await?;
    point("after-commit");
    Ok(answers)
}

/// Everything that the decisions depend on, as it is under the locks that are held.
#[derive(Default)]
struct Seen {
    tenants: BTreeMap<TenantName, Tenant>,
    orders: BTreeMap<OrderUid, orders::Locked>,
    /// Orders that this transaction made known.
    made: BTreeSet<String>,
    known: BTreeMap<OrderUid, Reservation>,
    /// Meters of orders to be released that still run.
    open: BTreeMap<OrderUid, Vec<String>>,
    prices: Prices,
    /// Lists that something retained is priced with.
    kept: BTreeMap<PriceListName, PriceList>,
    decisions: BTreeMap<OrderUid, ApprovalDecision>,
    sums: BTreeMap<i64, QuotaRow>,
    now: Timestamp,
}

impl Seen {
    /// Locks in the one order in which everybody does: tenants, orders, price lists, sums.
    async fn read(tx: &mut PgConnection, calls: &[Call]) -> Result<Self, Error> {
        let mut seen = Self::default();
        let releases: Vec<&str> = calls.iter().filter_map(released).map(OrderUid::as_str).collect();
        let mut names: BTreeSet<String> =
            calls.iter().filter_map(asked).map(|(_, r)| r.tenant.to_string()).collect();
        if !releases.is_empty() {
            names.extend(tenants::of_reservations(tx, &releases).await?);
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for tenant in tenants::hold_all_still(tx, &names).await? {
            seen.tenants.insert(tenant.name.clone(), tenant);
        }
        seen.read_orders(tx, calls, &releases).await?;
        let holds = calls.iter().any(|call| asked(call).is_some_and(|(uid, r)| seen.prices_needed(uid, r)));
        if holds {
            seen.prices = prices::from_now(tx).await?;
            seen.now = now(tx).await?;
            seen.read_kept(tx, calls).await?;
        }
        seen.read_sums(tx, calls).await?;
        seen.read_decisions(tx, calls).await?;
        Ok(seen)
    }

    async fn read_orders(
        &mut self,
        tx: &mut PgConnection,
        calls: &[Call],
        releases: &[&str],
    ) -> Result<(), Error> {
        let mut said: Vec<(&OrderUid, &ReservationRequest)> = Vec::new();
        let mut of_tenants = Vec::new();
        for (uid, request) in calls.iter().filter_map(asked) {
            if let Some(tenant) = self.tenants.get(&request.tenant) {
                said.push((uid, request));
                of_tenants.push(tenant.id);
            }
        }
        if !said.is_empty() {
            self.made = orders::insert(tx, &said, &of_tenants).await?.into_iter().collect();
        }
        for ((uid, request), tenant_id) in said.iter().zip(of_tenants) {
            if self.made.contains(uid.as_str()) {
                let order = orders::Locked {
                    uid: uid.to_string(),
                    tenant_id,
                    namespace: request.namespace.clone(),
                    name: request.name.clone(),
                    kind: request.kind.clone(),
                };
                self.orders.insert((*uid).clone(), order);
            }
        }
        // What was made known just now can hold nothing.
        let asked = said.iter().map(|(uid, _)| uid.as_str()).filter(|uid| !self.made.contains(*uid));
        let others: Vec<&str> = asked.chain(releases.iter().copied()).collect();
        if others.is_empty() {
            return Ok(());
        }
        for order in orders::lock_all(tx, &others).await? {
            self.orders.insert(super::id(order.uid.clone())?, order);
        }
        for reservation in reservations::of_orders(tx, &others).await? {
            self.known.insert(reservation.order_uid.clone(), reservation);
        }
        for (uid, meter) in open_meters(tx, releases).await? {
            self.open.entry(super::id(uid)?).or_default().push(meter);
        }
        Ok(())
    }

    /// Whether an answer can depend on prices: not when it is held as it is asked.
    fn prices_needed(&self, uid: &OrderUid, request: &ReservationRequest) -> bool {
        matches!(decide(self.known.get(uid), request), Ok(Decision::Price))
    }

    async fn read_kept(&mut self, tx: &mut PgConnection, calls: &[Call]) -> Result<(), Error> {
        for (uid, request) in calls.iter().filter_map(asked).filter(|(_, r)| r.retained) {
            let Some(known) = self.known.get(uid) else { continue };
            if self.prices_needed(uid, request) && !self.kept.contains_key(&known.price_list) {
                let name = known.price_list.clone();
                let list = prices::named(tx, &name).await?;
                self.kept.insert(name, list);
            }
        }
        Ok(())
    }

    /// Locks the sums that may change, last, so that the busiest rows of the ledger are locked for the shortest time.
    async fn read_sums(&mut self, tx: &mut PgConnection, calls: &[Call]) -> Result<(), Error> {
        let mut ids: BTreeSet<i64> = BTreeSet::new();
        for call in calls {
            let tenant = match call {
                Call::Hold(uid, request) if self.prices_needed(uid, request) => Some(&request.tenant),
                Call::Hold(..) => None,
                Call::Release(uid) => self.known.get(uid).map(|known| &known.request.tenant),
            };
            ids.extend(tenant.and_then(|name| self.tenants.get(name)).into_iter().flat_map(|t| &t.path));
        }
        if ids.is_empty() {
            return Ok(());
        }
        let rows = quota::lock(tx, &ids.into_iter().collect::<Vec<_>>()).await?;
        self.sums = rows.into_iter().map(|row| (row.tenant_id, row)).collect();
        Ok(())
    }

    /// Decisions of approvers, if any tenant asks for them. An order that was made known just now has none.
    async fn read_decisions(&mut self, tx: &mut PgConnection, calls: &[Call]) -> Result<(), Error> {
        if self.sums.values().all(|row| row.approval_above.is_none()) {
            return Ok(());
        }
        let uids: Vec<&str> = calls
            .iter()
            .filter_map(asked)
            .map(|(uid, _)| uid.as_str())
            .filter(|uid| !self.made.contains(*uid))
            .collect();
        if !uids.is_empty() {
            self.decisions = approvals::latest(tx, &uids).await?;
        }
        Ok(())
    }

    fn answer(&mut self, call: &Call, changes: &mut Changes) -> Answer {
        match call {
            Call::Hold(uid, request) => {
                self.hold(uid, request, changes).map(|held| Done::Held(Box::new(held)))
            }
            Call::Release(uid) => self.release(uid, changes).map(|()| Done::Released),
        }
    }

    fn hold(
        &mut self,
        uid: &OrderUid,
        request: &ReservationRequest,
        changes: &mut Changes,
    ) -> Result<Reservation, Error> {
        let unknown = || Error::tenant_unknown(request.tenant.as_str());
        let tenant = self.tenants.get(&request.tenant).ok_or_else(unknown)?;
        let order =
            self.orders.get(uid).ok_or_else(|| Error::Fault(format!("failed to lock order {uid}")))?;
        same_order(order, tenant.id, request)?;
        let known = self.known.get(uid);
        let held = match (decide(known, request)?, known) {
            (Decision::AsItIs, Some(known)) => return Ok(known.clone()),
            (Decision::Describe, Some(known)) => Reservation { request: request.clone(), ..known.clone() },
            _ => {
                let (tenant_id, path) = (tenant.id, tenant.path.clone());
                let (held, difference) = self.priced(uid, request, (tenant_id, &path), changes)?;
                self.shift(&path, difference, changes)?;
                if !self.made.contains(uid.as_str()) {
                    changes.settled.push(uid.clone());
                }
                held
            }
        };
        let tenant_id = self.orders.get(uid).map(|order| order.tenant_id).unwrap_or_default();
        changes.held.insert(uid.clone(), (held.clone(), tenant_id));
        Ok(held)
    }

    /// What the order would hold and what that adds, or why it may not.
    fn priced(
        &self,
        uid: &OrderUid,
        request: &ReservationRequest,
        (tenant_id, path): (i64, &[i64]),
        changes: &mut Changes,
    ) -> Result<(Reservation, Shift), Error> {
        let known = self.known.get(uid);
        let list = self.list_for(request, known)?;
        let (amounts, currency) = price(request, list)?;
        let before = known.map(|k| Amounts::of(&k.commitment)).unwrap_or_default();
        let difference = amounts.minus(&before)?;
        let held = Reservation {
            order_uid: uid.clone(),
            request: request.clone(),
            commitment: amounts.in_currency(currency),
            price_list: list.name.clone(),
            held_since: known.map_or(self.now, |k| k.held_since),
        };
        let grows = known.is_none() || difference.grows();
        if grows {
            may_grow(self.chain(path)?, request, currency)?;
            in_every_list(request, &self.prices.upcoming)?;
        }
        for row in self.chain(path)? {
            quota::check(row, &difference)?;
        }
        if grows && !request.retained {
            self.approved(uid, request, tenant_id, path, &held.commitment).map_err(|refused| {
                let (error, asked) = *refused;
                if let Some(asked) = asked {
                    changes.asked.insert(uid.clone(), asked);
                }
                error
            })?;
        }
        Ok((held, difference))
    }

    /// The list to price with: the one in force, except that what is retained keeps its price as long as it can, so
    /// that it only ever shrinks.
    fn list_for(
        &self,
        request: &ReservationRequest,
        known: Option<&Reservation>,
    ) -> Result<&PriceList, Error> {
        let kept = known.filter(|_| request.retained).and_then(|known| self.kept.get(&known.price_list));
        match kept.filter(|list| request.items.iter().all(|item| list.price_of(&item.sku).is_some())) {
            Some(list) => Ok(list),
            None => self.prices.now(),
        }
    }

    /// The sums of a chain, from the nearest tenant to the root.
    fn chain(&self, path: &[i64]) -> Result<Vec<&QuotaRow>, Error> {
        let row =
            |id| self.sums.get(id).ok_or_else(|| Error::Fault(format!("failed to lock the sums of {id}")));
        path.iter().rev().map(row).collect()
    }

    /// Whether somebody who may has approved what is asked, if anybody must.
    fn approved(
        &self,
        uid: &OrderUid,
        request: &ReservationRequest,
        tenant_id: i64,
        path: &[i64],
        asked: &Commitment,
    ) -> Result<(), Box<(Error, Option<Asked>)>> {
        let chain = self.chain(path).map_err(|error| Box::new((error, None)))?;
        let decision = self.decisions.get(uid);
        let Some(needed) = approval_needed(chain, asked, decision) else { return Ok(()) };
        if decision.is_some_and(|d| !d.approved && d.up_to == *asked) {
            let detail = format!(
                "an approver of tenant {} rejected this order at {}/month; change it, or delete it",
                needed.tenant, needed.asked
            );
            return Err(Box::new((Error::approval(code::APPROVAL_REJECTED, detail, needed), None)));
        }
        let detail = format!(
            "at most {}/month is above {}/month: it waits until an approver of tenant {} approves it",
            needed.asked, needed.above, needed.tenant
        );
        let waits = Asked {
            order_uid: uid.clone(),
            tenant_id,
            generation: request.generation,
            requester: request.requester.clone(),
            plan: request.plan.clone(),
            needed: needed.clone(),
            asked: *asked,
        };
        Err(Box::new((Error::approval(code::APPROVAL_PENDING, detail, needed), Some(waits))))
    }

    fn release(&mut self, uid: &OrderUid, changes: &mut Changes) -> Result<(), Error> {
        let Some(known) = self.known.get(uid) else {
            // What waited for an approval waits no longer.
            changes.gone.push(uid.clone());
            return Ok(());
        };
        if let Some(open) = self.open.get(uid) {
            let meters = open.join(" and ");
            return Err(Error::refuse(
                code::IN_USE,
                format!("usage of {meters} of this order is still open; report its end first"),
            ));
        }
        let name = &known.request.tenant;
        let tenant = self.tenants.get(name).ok_or_else(|| Error::tenant_unknown(name.as_str()))?;
        let (path, difference) = (tenant.path.clone(), Amounts::of(&known.commitment).negated()?);
        self.shift(&path, difference, changes)?;
        changes.released.push(uid.clone());
        changes.gone.push(uid.clone());
        Ok(())
    }

    /// Adds to the sums of a chain as they are seen here, for the calls that follow, and to what will be written.
    fn shift(&mut self, path: &[i64], difference: Shift, changes: &mut Changes) -> Result<(), Error> {
        for tenant_id in path {
            let row = self.sums.get_mut(tenant_id);
            let row = row.ok_or_else(|| Error::Fault(format!("failed to lock the sums of {tenant_id}")))?;
            changes.alerts.extend(row.add(&difference)?);
            changes.shifts.entry(*tenant_id).or_default().add(&difference)?;
        }
        Ok(())
    }
}

/// The threshold that `asked` passes, of the tenant nearest to the root, unless a decision covers it. A threshold above
/// holds below, and so nobody below can wave through what somebody above wants to see.
pub fn approval_needed<'a>(
    chain: impl IntoIterator<Item = &'a QuotaRow>,
    asked: &Commitment,
    decision: Option<&ApprovalDecision>,
) -> Option<ApprovalNeeded> {
    let passed = |row: &&QuotaRow| row.approval_above.is_some_and(|t| asked.monthly_cost.minor > t.minor);
    let row = chain.into_iter().filter(passed).last()?;
    if decision.is_some_and(|d| d.approved && d.up_to.covers(asked)) {
        return None;
    }
    Some(ApprovalNeeded { tenant: row.tenant.clone(), above: row.approval_above?, asked: asked.monthly_cost })
}

fn asked(call: &Call) -> Option<(&OrderUid, &ReservationRequest)> {
    match call {
        Call::Hold(uid, request) => Some((uid, request)),
        Call::Release(_) => None,
    }
}

fn released(call: &Call) -> Option<&OrderUid> {
    match call {
        Call::Hold(..) => None,
        Call::Release(uid) => Some(uid),
    }
}

async fn open_meters(tx: &mut PgConnection, uids: &[&str]) -> Result<Vec<(String, String)>, Error> {
    if uids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "select order_uid, meter from (
                   select distinct on (order_uid, meter) order_uid, meter, sku from usage_change
                   where order_uid = any($1) order by order_uid, meter, at_ms desc
               ) last where sku is not null order by order_uid, meter";
    Ok(sqlx::query_as(sql).bind(uids).fetch_all(tx).await?)
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

/// Whether the chain takes growth at all.
fn may_grow(
    chain: Vec<&QuotaRow>,
    request: &ReservationRequest,
    prices: siyada_model::money::Currency,
) -> Result<(), Error> {
    if let Some(suspended) = chain.iter().find(|row| row.suspended && !request.retained) {
        return Err(Error::refuse(
            code::TENANT_SUSPENDED,
            format!("tenant {} is suspended and takes no new orders; ask who suspended it", suspended.tenant),
        ));
    }
    quota::same_currency(chain, prices)
}

/// Refuses what would have no price from a date that is published.
fn in_every_list(request: &ReservationRequest, upcoming: &[PriceList]) -> Result<(), Error> {
    for list in upcoming {
        if let Some(item) = request.items.iter().find(|item| list.price_of(&item.sku).is_none()) {
            let unknown = PriceError::Unknown { sku: item.sku.clone(), list: Some(list.name.clone()) };
            return Err(Error::refuse(
                code::PRICE_UNKNOWN,
                format!(
                    "{unknown}, which is in force from {}; choose what is still offered then",
                    list.valid_from
                ),
            ));
        }
    }
    Ok(())
}

/// What will be written.
#[derive(Default)]
struct Changes {
    held: BTreeMap<OrderUid, (Reservation, i64)>,
    released: Vec<OrderUid>,
    shifts: BTreeMap<i64, Shift>,
    alerts: Vec<NewAlert>,
    asked: BTreeMap<OrderUid, Asked>,
    /// Orders that hold what they ask, and so wait for nobody.
    settled: Vec<OrderUid>,
    /// Orders that hold nothing any more.
    gone: Vec<OrderUid>,
    /// Orders that were made known in vain.
    dropped: Vec<OrderUid>,
}

impl Changes {
    async fn write(&self, tx: &mut PgConnection, seen: &Seen) -> Result<(), Error> {
        let texts = |uids: &[OrderUid]| uids.iter().map(|uid| uid.to_string()).collect::<Vec<_>>();
        if !self.dropped.is_empty() {
            orders::drop_new(tx, &self.dropped.iter().map(OrderUid::as_str).collect::<Vec<_>>()).await?;
        }
        let said: Vec<(&OrderUid, &ReservationRequest)> = self
            .held
            .iter()
            .filter(|(uid, _)| !seen.made.contains(uid.as_str()))
            .map(|(uid, (held, _))| (uid, &held.request))
            .collect();
        if !said.is_empty() {
            orders::describe(tx, &said).await?;
        }
        if !self.settled.is_empty() || !self.gone.is_empty() {
            settle(tx, &texts(&self.settled), &texts(&self.gone)).await?;
        }
        if !self.asked.is_empty() {
            write_asked(tx, &self.asked.values().collect::<Vec<_>>()).await?;
        }
        if !self.held.is_empty() {
            write_held(tx, &self.held.values().collect::<Vec<_>>()).await?;
        }
        if !self.released.is_empty() {
            point("delete-reservations");
            sqlx::query("delete from reservation where order_uid = any($1)")
                .bind(texts(&self.released))
                .execute(&mut *tx)
                .await?;
        }
        quota::raise(tx, &self.shifts).await?;
        alerts::record(tx, &self.alerts).await
    }
}

async fn write_held(tx: &mut PgConnection, held: &[&(Reservation, i64)]) -> Result<(), Error> {
    let sql =
        "insert into reservation (order_uid, tenant_id, generation, retained, request, instances, cpu_milli,
                   memory_bytes, storage_bytes, money_minor, price_list, held_since_ms)
               select * from unnest($1::text[], $2::bigint[], $3::bigint[], $4::boolean[], $5::jsonb[], $6::bigint[],
                   $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[], $12::bigint[])
               on conflict (order_uid) do update set generation = excluded.generation,
                   retained = excluded.retained, request = excluded.request, instances = excluded.instances,
                   cpu_milli = excluded.cpu_milli, memory_bytes = excluded.memory_bytes,
                   storage_bytes = excluded.storage_bytes, money_minor = excluded.money_minor,
                   price_list = excluded.price_list";
    let column =
        |value: fn(&Reservation) -> i64| held.iter().map(|(held, _)| value(held)).collect::<Vec<i64>>();
    point("write-reservations");
    sqlx::query(sql)
        .bind(held.iter().map(|(held, _)| held.order_uid.as_str()).collect::<Vec<_>>())
        .bind(held.iter().map(|(_, tenant_id)| *tenant_id).collect::<Vec<_>>())
        .bind(column(|h| h.request.generation))
        .bind(held.iter().map(|(held, _)| held.request.retained).collect::<Vec<_>>())
        .bind(held.iter().map(|(held, _)| Json(&held.request)).collect::<Vec<_>>())
        .bind(column(|h| h.commitment.resources.instances))
        .bind(column(|h| h.commitment.resources.cpu_milli))
        .bind(column(|h| h.commitment.resources.memory_bytes))
        .bind(column(|h| h.commitment.resources.storage_bytes))
        .bind(column(|h| h.commitment.monthly_cost.minor))
        .bind(held.iter().map(|(held, _)| held.price_list.as_str()).collect::<Vec<_>>())
        .bind(column(|h| h.held_since.as_millisecond()))
        .execute(tx)
        .await?;
    Ok(())
}

/// Puts on record what waits for an approver. What is asked once more keeps its time and the decision about it.
async fn write_asked(tx: &mut PgConnection, asked: &[&Asked]) -> Result<(), Error> {
    let sql = "insert into approval_request as a (order_uid, tenant_id, generation, requester, plan, needed, currency,
                   instances, cpu_milli, memory_bytes, storage_bytes, money_minor, asked_ms)
               select n.*, ledger_now_ms() from unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[],
                   $6::jsonb[], $7::text[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[]) n
               on conflict (order_uid) do update set generation = excluded.generation,
                   requester = excluded.requester, plan = excluded.plan, needed = excluded.needed,
                   currency = excluded.currency, instances = excluded.instances, cpu_milli = excluded.cpu_milli,
                   memory_bytes = excluded.memory_bytes, storage_bytes = excluded.storage_bytes,
                   money_minor = excluded.money_minor, asked_ms = excluded.asked_ms, decision_id = null
               where a.decision_id is not null
                  or (a.instances, a.cpu_milli, a.memory_bytes, a.storage_bytes, a.money_minor, a.needed)
                     is distinct from (excluded.instances, excluded.cpu_milli, excluded.memory_bytes,
                                       excluded.storage_bytes, excluded.money_minor, excluded.needed)";
    let column = |value: fn(&Commitment) -> i64| asked.iter().map(|a| value(&a.asked)).collect::<Vec<i64>>();
    point("write-approval-requests");
    sqlx::query(sql)
        .bind(asked.iter().map(|a| a.order_uid.as_str()).collect::<Vec<_>>())
        .bind(asked.iter().map(|a| a.tenant_id).collect::<Vec<_>>())
        .bind(asked.iter().map(|a| a.generation).collect::<Vec<_>>())
        .bind(asked.iter().map(|a| a.requester.as_deref()).collect::<Vec<_>>())
        .bind(asked.iter().map(|a| a.plan.as_str()).collect::<Vec<_>>())
        .bind(asked.iter().map(|a| Json(&a.needed)).collect::<Vec<_>>())
        .bind(asked.iter().map(|a| a.asked.monthly_cost.currency.as_str()).collect::<Vec<_>>())
        .bind(column(|c| c.resources.instances))
        .bind(column(|c| c.resources.cpu_milli))
        .bind(column(|c| c.resources.memory_bytes))
        .bind(column(|c| c.resources.storage_bytes))
        .bind(column(|c| c.monthly_cost.minor))
        .execute(tx)
        .await?;
    Ok(())
}

/// Removes what needs no decision any more; what was approved stays listed until its order is gone.
async fn settle(tx: &mut PgConnection, held: &[String], gone: &[String]) -> Result<(), Error> {
    let sql = "delete from approval_request a where a.order_uid = any($2) or a.order_uid = any($1)
               and not exists (select 1 from approval_decision d where d.id = a.decision_id and d.approved)";
    point("delete-approval-requests");
    sqlx::query(sql).bind(held).bind(gone).execute(tx).await?;
    Ok(())
}

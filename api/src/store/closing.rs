//! Closing a month: what is on record is read, the model makes the documents, and one transaction numbers, chains and
//! stores them. Nothing that is recorded later can change what was closed.

use super::audit::{self, Act};
use super::finance::{self, no_issuer};
use super::gaps::{self, Scope};
use super::statements::{self, Issued};
use super::{allocations, availability, id, incarnation, periods, prices, timestamp};
use crate::error::Error;
use crate::fail::point;
use crate::signing::Signer;
use jiff::Timestamp;
use serde_json::json;
use siyada_model::id::{OrderUid, TenantName};
use siyada_model::money::{Currency, Money};
use siyada_model::party::{IssuerRecord, Party, TaxRegime};
use siyada_model::period::{Month, Period, zone};
use siyada_model::statement::chain::{number, series, series_after};
use siyada_model::statement::closing::{Books, Draft, closed_as_of, drafts, touched};
use siyada_model::statement::{Billed, Buyer, FORMAT, Statement, StatementKind};
use siyada_model::wire::{Blocker, Closing, PeriodState, TenantRecord};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use std::collections::{BTreeMap, BTreeSet};

/// What a closing would come to, with nothing written.
///
/// # Errors
/// `not-found` for a month that was never opened, `issuer-unknown`.
pub async fn preview(pool: &PgPool, month: Month) -> Result<Closing, Error> {
    let mut tx = super::snapshot(pool).await?;
    let (state, all) = month_of(&mut tx, month).await?;
    if state.closed_at.is_some() {
        return done(&mut tx, &state).await;
    }
    let issuer = finance::issuer(&mut tx).await?.ok_or_else(no_issuer)?;
    // All that the snapshot has; what is being written meanwhile is seen by the closing, which waits for it.
    let found = decide(&mut tx, &issuer, &state, &all, i64::MAX).await?;
    let currency = prices::billing_currency(&mut tx).await?;
    outcome(month, currency, found.as_deref().map_err(|blockers| blockers.clone()))
}

/// Closes a month, once: asked again, it says what was closed.
///
/// # Errors
/// `not-found` for a month that was never opened, `issuer-unknown`. What blocks it is an answer, not an error.
pub async fn close(pool: &PgPool, month: Month, by: &str, signer: Option<&Signer>) -> Result<Closing, Error> {
    let as_of = settled(pool).await?;
    let mut tx = pool.begin_with("begin; set local statement_timeout = '120s'").await?;
    periods::lock(&mut tx).await?;
    periods::open_due(&mut tx).await?;
    let (state, all) = month_of(&mut tx, month).await?;
    if state.closed_at.is_some() {
        return done(&mut tx, &state).await;
    }
    let issuer = finance::issuer(&mut tx).await?.ok_or_else(no_issuer)?;
    let currency = prices::billing_currency(&mut tx).await?;
    let drafts = match decide(&mut tx, &issuer, &state, &all, as_of).await? {
        Ok(drafts) => drafts,
        Err(blockers) => return outcome(month, currency, Err(blockers)),
    };
    let closing = outcome(month, currency, Ok(&drafts))?;
    let now = super::now(&mut tx).await?;
    let context = Context { issuer: &issuer, period: &state.period, currency, now, as_of };
    issue(&mut tx, &context, drafts, by, signer).await?;
    point("closing-issued");
    let sql = "update period set closed_ms = $2, closed_by = $3, as_of = $4 where month = $1";
    sqlx::query(sql)
        .bind(month.to_string())
        .bind(now.as_millisecond())
        .bind(by)
        .bind(as_of)
        .execute(&mut *tx)
        .await?;
    let detail = json!({
        "asOf": as_of, "statements": closing.statements, "net": closing.net, "gross": closing.gross
    });
    let object = format!("period/{month}");
    let act = Act { actor: by, action: "period.close", tenant_id: None, object, detail };
    audit::record(&mut tx, act).await?;
    point("closing-before-commit");
    tx.commit().await?;
    point("closing-after-commit");
    Ok(Closing { closed: true, ..closing })
}

/// Waits for everybody who is adding to the record, and answers its last number: nothing up to it is still to come.
async fn settled(pool: &PgPool) -> Result<i64, Error> {
    let mut tx = pool.begin().await?;
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('siyada record', 0))")
        .execute(&mut *tx)
        .await?;
    let last = sqlx::query_scalar("select case when is_called then last_value else 0 end from record_seq")
        .fetch_one(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(last)
}

/// A month and all months.
async fn month_of(tx: &mut PgConnection, month: Month) -> Result<(PeriodState, Vec<PeriodState>), Error> {
    let all = periods::all(tx).await?;
    let state = all.iter().find(|state| state.period.month == month).cloned();
    Ok((state.ok_or_else(Error::not_found)?, all))
}

/// What a month that is closed came to.
async fn done(tx: &mut PgConnection, state: &PeriodState) -> Result<Closing, Error> {
    let sql = "select count(*), coalesce(sum(net_minor), 0)::bigint, coalesce(sum(gross_minor), 0)::bigint, max(currency)
               from statement where month = $1 and kind = 'statement'";
    let month = state.period.month;
    let (statements, net, gross, currency): (i64, i64, i64, Option<String>) =
        sqlx::query_as(sql).bind(month.to_string()).fetch_one(&mut *tx).await?;
    let currency = match currency {
        Some(currency) => {
            currency.parse().map_err(|_| Error::Fault("failed to read a currency".to_owned()))?
        }
        None => prices::billing_currency(tx).await?,
    };
    let money = |minor| Some(Money { minor, currency });
    Ok(Closing { month, closed: true, blockers: vec![], statements, net: money(net), gross: money(gross) })
}

fn outcome(
    month: Month,
    currency: Currency,
    found: Result<&[Draft], Vec<Blocker>>,
) -> Result<Closing, Error> {
    let drafts = match found {
        Ok(drafts) => drafts,
        Err(blockers) => {
            return Ok(Closing { month, closed: false, blockers, statements: 0, net: None, gross: None });
        }
    };
    let sum = |figure: fn(&Draft) -> i64| {
        let minor = drafts.iter().map(figure).try_fold(0_i64, i64::checked_add);
        minor.map(|minor| Money { minor, currency }).ok_or_else(|| Error::invalid("the sum is too large"))
    };
    Ok(Closing {
        month,
        closed: false,
        blockers: vec![],
        statements: i64::try_from(drafts.len()).unwrap_or(i64::MAX),
        net: Some(sum(|d| d.totals.net_minor)?),
        gross: Some(sum(|d| d.totals.gross_minor)?),
    })
}

/// The drafts of a month, or every reason why it does not close.
async fn decide(
    tx: &mut PgConnection,
    issuer: &IssuerRecord,
    state: &PeriodState,
    all: &[PeriodState],
    as_of: i64,
) -> Result<Result<Vec<Draft>, Vec<Blocker>>, Error> {
    let mut blockers = not_yet(tx, &state.period, all).await?;
    let books = books(tx, issuer, state, all, as_of).await?;
    match drafts(&books) {
        Ok(drafts) if blockers.is_empty() => Ok(Ok(drafts)),
        Ok(_) => Ok(Err(blockers)),
        Err(more) => {
            blockers.extend(more);
            Ok(Err(blockers))
        }
    }
}

/// What has nothing to do with figures: the month is not over, another is open before it, a collector is behind.
async fn not_yet(tx: &mut PgConnection, period: &Period, all: &[PeriodState]) -> Result<Vec<Blocker>, Error> {
    let mut found = Vec::new();
    let blocker = |reason: &str, detail: String| Blocker {
        reason: reason.to_owned(),
        tenant: None,
        order_uid: None,
        detail,
    };
    let now = super::now(tx).await?;
    if now < period.end {
        found.push(blocker("notOver", format!("{} ends at {}", period.month, period.end)));
    }
    let earlier = all.iter().find(|other| other.period.start < period.start && other.closed_at.is_none());
    if let Some(earlier) = earlier {
        found.push(blocker("earlierOpen", format!("{} is open; close it first", earlier.period.month)));
    }
    let sql = "select id, watermark_ms from collector where coalesce(watermark_ms, 0) < $1 order by id";
    let behind: Vec<(String, Option<i64>)> =
        sqlx::query_as(sql).bind(period.end.as_millisecond()).fetch_all(&mut *tx).await?;
    for (collector, watermark) in behind {
        let until = match watermark {
            Some(at) => format!("has reported until {}", timestamp(at)?),
            None => "has not finished a first report".to_owned(),
        };
        let detail = format!(
            "collector {collector} {until}; wait until its operator has reported past {}, or look why it does not",
            period.end
        );
        found.push(blocker("collectorBehind", detail));
    }
    let sql = "select count(*) from lost_span where since_ms < $1";
    let lost: i64 = sqlx::query_scalar(sql).bind(period.end.as_millisecond()).fetch_one(&mut *tx).await?;
    if lost > 0 {
        let detail = format!(
            "the ledger was restored, and {lost} streams of usage were not seen again yet; their operator reports them by \
             itself, and a quarter of an hour later those it does not see are gaps"
        );
        found.push(blocker("notSeenAgain", detail));
    }
    Ok(found)
}

/// Everything that the documents of a month are computed from.
async fn books<'a>(
    tx: &mut PgConnection,
    issuer: &IssuerRecord,
    state: &'a PeriodState,
    all: &[PeriodState],
    as_of: i64,
) -> Result<Books<'a>, Error> {
    let period = &state.period;
    let intervals = super::usage::recorded(tx, (period.start, period.end), as_of, None).await?;
    let (late_orders, months) = late(tx, period, all, as_of).await?;
    let uids: Vec<&str> = late_orders.iter().map(OrderUid::as_str).collect();
    let mut late = Vec::new();
    for earlier in &months {
        let found = super::usage::recorded(tx, (earlier.start, earlier.end), as_of, Some(&uids)).await?;
        late.push((earlier.clone(), found));
    }
    let since = months.first().map(|period| period.month);
    let billed = match since {
        Some(month) => statements::since(tx, month).await?,
        None => vec![],
    };
    let known = closed_as_of(all, period);
    let time = (period.start, period.end);
    let gaps = gaps::within(tx, &Scope { time, as_of, late: known, tenant: None, only: None }).await?;
    let observed = availability::within(tx, time, as_of, None).await?;
    let used: BTreeSet<&OrderUid> = intervals
        .iter()
        .chain(late.iter().flat_map(|(_, found)| found))
        .map(|interval| &interval.order_uid)
        .chain(gaps.iter().map(|gap| &gap.record.order.uid))
        .collect();
    let used: Vec<&str> = used.into_iter().chain(&late_orders).map(OrderUid::as_str).collect();
    let payers = Payers::read(tx, issuer).await?;
    Ok(Books {
        period,
        lists: prices::before(tx, period.end).await?,
        allocations: allocations::of(tx, &used, as_of).await?,
        orders: payers.orders(tx, &used).await?,
        buyers: payers.buyers,
        intervals,
        gaps,
        observed,
        known,
        late,
        late_orders,
        billed,
        require_budget_line: issuer.require_budget_line,
    })
}

/// Orders about whose closed months something was recorded since the last closing, and the months from then on.
async fn late(
    tx: &mut PgConnection,
    period: &Period,
    all: &[PeriodState],
    as_of: i64,
) -> Result<(BTreeSet<OrderUid>, Vec<Period>), Error> {
    let Some(known) = closed_as_of(all, period) else { return Ok((BTreeSet::new(), vec![])) };
    let sql = "select order_uid, min(at_ms) from (
                   select order_uid, at_ms from usage_change where seq > $1 and seq <= $2 and at_ms < $3
                   union all
                   select g.order_uid, g.start_ms from gap_decision d join meter_gap g on g.id = d.gap_id
                   where d.seq > $1 and d.seq <= $2 and g.start_ms < $3
               ) fact group by order_uid";
    let rows: Vec<(String, i64)> =
        sqlx::query_as(sql).bind(known).bind(as_of).bind(period.start.as_millisecond()).fetch_all(tx).await?;
    let earliest = rows.iter().map(|row| row.1).min().map(timestamp).transpose()?;
    let orders = rows.into_iter().map(|(uid, _)| id(uid)).collect::<Result<_, Error>>()?;
    Ok((orders, touched(all, period, earliest)))
}

/// Who pays for whom: the nearest tenant with an account, at or above the one that ordered; else the one at the root.
pub(super) struct Payers {
    of_tenant: BTreeMap<i64, TenantName>,
    buyers: BTreeMap<TenantName, (Buyer, TaxRegime)>,
}

#[derive(sqlx::FromRow)]
struct TenantRow {
    id: i64,
    name: String,
    path: Vec<i64>,
    record: Json<TenantRecord>,
}

impl Payers {
    pub(super) async fn read(tx: &mut PgConnection, issuer: &IssuerRecord) -> Result<Self, Error> {
        let sql = "select id, name, path, record from tenant";
        let rows: Vec<TenantRow> = sqlx::query_as(sql).fetch_all(&mut *tx).await?;
        let accounts = finance::all_accounts(tx).await?;
        let by_id: BTreeMap<i64, &TenantRow> = rows.iter().map(|row| (row.id, row)).collect();
        let mut found = Self { of_tenant: BTreeMap::new(), buyers: BTreeMap::new() };
        for row in &rows {
            let chain = || row.path.iter().rev().filter_map(|id| by_id.get(id));
            let has_account = |row: &&&TenantRow| row.record.0.billing.account.is_some();
            let Some(payer) = chain().find(has_account).or_else(|| by_id.get(row.path.first()?)) else {
                continue;
            };
            let name: TenantName = id(payer.name.clone())?;
            let account = payer.record.0.billing.account.clone().unwrap_or_else(|| payer.name.clone());
            let known = accounts.get(&account);
            let mut party = known.map(|known| known.party.clone()).unwrap_or_default();
            if party.display_name == Party::default().display_name {
                party.display_name = payer.record.0.display_name.clone();
            }
            let tax = known.and_then(|known| known.tax.clone()).unwrap_or_else(|| issuer.tax.clone());
            found.buyers.insert(name.clone(), (Buyer { tenant: name.clone(), account, party }, tax));
            found.of_tenant.insert(row.id, name);
        }
        Ok(found)
    }

    /// The tax on what a tenant pays for.
    pub(super) fn tax(&self, payer: &TenantName) -> Result<&TaxRegime, Error> {
        let found = self.buyers.get(payer).map(|(_, tax)| tax);
        found.ok_or_else(|| Error::Fault(format!("failed to find tenant {payer}")))
    }

    pub(super) async fn orders(
        &self,
        tx: &mut PgConnection,
        uids: &[&str],
    ) -> Result<BTreeMap<OrderUid, (Billed, TenantName)>, Error> {
        let sql = "select o.uid, o.tenant_id, t.name, o.namespace, o.name, o.kind
                   from orders o join tenant t on t.id = o.tenant_id where o.uid = any($1)";
        let rows: Vec<(String, i64, String, String, String, String)> =
            sqlx::query_as(sql).bind(uids).fetch_all(tx).await?;
        let mut found = BTreeMap::new();
        for (uid, tenant_id, tenant, namespace, name, kind) in rows {
            let payer = self.of_tenant.get(&tenant_id).cloned();
            let payer =
                payer.ok_or_else(|| Error::Fault(format!("failed to find who pays for order {uid}")))?;
            let uid: OrderUid = id(uid)?;
            found.insert(uid.clone(), (Billed { tenant: id(tenant)?, namespace, name, uid, kind }, payer));
        }
        Ok(found)
    }
}

/// What every document of a closing shares.
struct Context<'a> {
    issuer: &'a IssuerRecord,
    period: &'a Period,
    currency: Currency,
    now: Timestamp,
    as_of: i64,
}

/// Numbers, chains, signs and stores the drafts, in the order of their tenants.
async fn issue(
    tx: &mut PgConnection,
    context: &Context<'_>,
    drafts: Vec<Draft>,
    by: &str,
    signer: Option<&Signer>,
) -> Result<(), Error> {
    let mut head = statements::Head::lock(tx).await?;
    let series = series_now(tx, context.issuer, StatementKind::Statement, context.now).await?;
    let mut sequence = statements::last_of(tx, &series).await?;
    let mut issued = Vec::with_capacity(drafts.len());
    for draft in drafts {
        sequence = sequence.saturating_add(1);
        let document = Statement {
            format: FORMAT.to_owned(),
            kind: StatementKind::Statement,
            number: number(&series, sequence),
            issued_at: context.now,
            issuer: context.issuer.party.clone(),
            buyer: draft.buyer,
            period: context.period.clone(),
            currency: context.currency,
            tax: draft.tax,
            credits: None,
            reason: None,
            lines: draft.lines,
            corrections: draft.corrections,
            gaps: draft.gaps,
            availability: draft.availability,
            totals: draft.totals,
            as_of: context.as_of,
            position: head.position.saturating_add(1),
            previous_chain: head.chain.clone(),
        };
        let one = Issued::seal(document, series.clone(), sequence, signer)?;
        head = one.head();
        issued.push(one);
    }
    statements::insert(tx, &issued, by, None).await
}

/// The series of the fiscal year in which `now` lies. In one in which the ledger was restored, or that was over by then, a
/// lost ledger may have issued: what follows is in a series of its own.
pub(super) async fn series_now(
    tx: &mut PgConnection,
    issuer: &IssuerRecord,
    kind: StatementKind,
    now: Timestamp,
) -> Result<String, Error> {
    let zone = zone(&issuer.time_zone).map_err(|cause| Error::Fault(cause.to_string()))?;
    let year = |at| Month::holding(at, &zone).fiscal_year(issuer.fiscal_year_start_month);
    let series = series(&issuer.number_prefix, kind, year(now));
    Ok(match incarnation::restored(tx).await? {
        Some((restored, _)) if year(now) <= year(restored) => series_after(&series, restored),
        _ => series,
    })
}

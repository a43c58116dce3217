//! What is read across all tenants: every line of a month, a part at a time, and the documents of a settlement.

use super::budget::FiscalYear;
use super::closing::Payers;
use super::finance::{self, no_issuer};
use super::{allocations, breakdown, id, prices, statements, usage};
use crate::error::Error;
use jiff::Timestamp;
use serde::Deserialize;
use siyada_model::id::{OrderUid, TenantName};
use siyada_model::money::{Currency, Money};
use siyada_model::national::{Movement, SettlementAnnex, Side};
use siyada_model::party::{IssuerRecord, Party, TaxRegime};
use siyada_model::period::{Month, Period};
use siyada_model::price::PriceList;
use siyada_model::statement::rating::{Basis, lines};
use siyada_model::statement::{Billed, BookedTotal, Buyer, StatementKind, StatementLine, Totals};
use siyada_model::usage::Interval;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool, PgTransaction};
use std::collections::{BTreeMap, BTreeSet};

/// Documents read at a time.
const DOCUMENTS: i64 = 8;
/// Orders rated at a time.
const ORDERS: i64 = 500;
/// Documents of a settlement read at a time.
const SETTLED: i64 = 100;
/// Most movements of one settlement annex.
const MOST_MOVEMENTS: usize = 100_000;

/// What one tenant pays for.
pub struct Share {
    /// Number of its statement, once there is one.
    pub statement: Option<String>,
    /// Who pays.
    pub payer: TenantName,
    /// The currency.
    pub currency: Currency,
    /// The lines.
    pub lines: Vec<StatementLine>,
    /// Differences to earlier months.
    pub corrections: Vec<StatementLine>,
}

/// Where the lines of a month come from.
pub enum Source {
    /// The statements of a closed month, which never change: after this place in the chain.
    Closed(PgPool, Month, i64),
    /// What was used so far, in one snapshot.
    Open(Box<Open>),
}

/// An open month, rated some orders at a time; a line is of one order, so where it is cut changes nothing.
pub struct Open {
    tx: PgTransaction<'static>,
    period: Period,
    payers: Payers,
    lists: Vec<PriceList>,
    currency: Currency,
    /// Key of the tenant and uid of the last order.
    after: (i64, String),
}

impl Source {
    /// The beginning of a month, which is closed or not, and its currency.
    ///
    /// # Errors
    /// `issuer-unknown`, and `invalid` for a month that has not begun.
    pub async fn begin(pool: PgPool, month: Month) -> Result<(Self, Currency), Error> {
        let mut tx = super::snapshot(&pool).await?;
        let now = super::now(&mut tx).await?;
        let state = breakdown::period(&mut tx, Some(month), now).await?;
        let currency = prices::billing_currency(&mut tx).await?;
        if state.closed_at.is_some() {
            return Ok((Self::Closed(pool, month, 0), currency));
        }
        let issuer = finance::issuer(&mut tx).await?.ok_or_else(no_issuer)?;
        let period = Period { end: state.period.end.min(now), ..state.period };
        let payers = Payers::read(&mut tx, &issuer).await?;
        let lists = prices::before(&mut tx, period.end).await?;
        let after = (0, String::new());
        Ok((Self::Open(Box::new(Open { tx, period, payers, lists, currency, after })), currency))
    }

    /// The next lines, and where those after them are; nothing at the end. There may be none for a while.
    ///
    /// # Errors
    /// `price-unknown` for time without a price.
    pub async fn next(self) -> Result<Option<(Vec<Share>, Self)>, Error> {
        match self {
            Self::Closed(pool, month, after) => {
                let mut connection = pool.acquire().await?;
                let (documents, last) =
                    statements::of_month(&mut connection, month, after, DOCUMENTS).await?;
                drop(connection);
                let Some(last) = last else { return Ok(None) };
                let share = |document: siyada_model::statement::Statement| Share {
                    statement: Some(document.number),
                    payer: document.buyer.tenant,
                    currency: document.currency,
                    lines: document.lines,
                    corrections: document.corrections,
                };
                Ok(Some((documents.into_iter().map(share).collect(), Self::Closed(pool, month, last))))
            }
            Self::Open(mut open) => {
                let shares = open.next().await?;
                Ok(shares.map(|shares| (shares, Self::Open(open))))
            }
        }
    }
}

impl Open {
    async fn next(&mut self) -> Result<Option<Vec<Share>>, Error> {
        let sql = r#"select tenant_id, uid from orders
                     where (tenant_id, uid collate "C") > ($1, $2) order by tenant_id, uid collate "C" limit $3"#;
        let found: Vec<(i64, String)> = sqlx::query_as(sql)
            .bind(self.after.0)
            .bind(&self.after.1)
            .bind(ORDERS)
            .fetch_all(&mut *self.tx)
            .await?;
        let Some(last) = found.last() else { return Ok(None) };
        self.after = last.clone();
        let uids: Vec<&str> = found.iter().map(|(_, uid)| uid.as_str()).collect();
        let borders = (self.period.start, self.period.end);
        let intervals = usage::recorded(&mut self.tx, borders, i64::MAX, Some(&uids)).await?;
        let used: BTreeSet<&str> = intervals.iter().map(|interval| interval.order_uid.as_str()).collect();
        let used: Vec<&str> = used.into_iter().collect();
        let allocations = allocations::of(&mut self.tx, &used, i64::MAX).await?;
        let known = self.payers.orders(&mut self.tx, &used).await?;
        let mut by_payer: BTreeMap<TenantName, Vec<Interval>> = BTreeMap::new();
        for interval in intervals {
            let order = known.get(&interval.order_uid);
            let (_, payer) = order.ok_or_else(|| Error::Fault("failed to find an order".to_owned()))?;
            by_payer.entry(payer.clone()).or_default().push(interval);
        }
        let orders: BTreeMap<OrderUid, Billed> =
            known.into_iter().map(|(uid, (order, _))| (uid, order)).collect();
        let mut shares = Vec::with_capacity(by_payer.len());
        for (payer, intervals) in by_payer {
            let tax = self.payers.tax(&payer)?;
            let (period, intervals, lists) = (&self.period, &intervals[..], &self.lists[..]);
            let basis = Basis { period, intervals, lists, allocations: &allocations, orders: &orders, tax };
            let lines = lines(&basis).map_err(breakdown::unrated)?;
            let (statement, corrections) = (None, vec![]);
            shares.push(Share { statement, payer, currency: self.currency, lines, corrections });
        }
        Ok(Some(shares))
    }
}

/// What a settlement takes of a document.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    number: String,
    kind: StatementKind,
    issued_at: Timestamp,
    issuer: Party,
    buyer: Buyer,
    period: Period,
    currency: Currency,
    tax: TaxRegime,
    reason: Option<String>,
    lines: Vec<Priced>,
    corrections: Vec<Priced>,
    totals: Totals,
}

/// Where the price of a line comes from.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Priced {
    price_list: String,
}

/// What is known once for all documents.
struct Texts {
    /// Legal basis by price list.
    legal_bases: BTreeMap<String, String>,
    /// The issuer as it was put, and when.
    issuers: Vec<(IssuerRecord, i64)>,
}

impl Texts {
    async fn read(tx: &mut PgConnection) -> Result<Self, Error> {
        let sql = "select name, coalesce(record ->> 'legalBasis', '') from price_list";
        let legal_bases: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(&mut *tx).await?;
        let sql = "select record, put_ms from issuer_version order by id";
        let issuers: Vec<(Json<IssuerRecord>, i64)> = sqlx::query_as(sql).fetch_all(tx).await?;
        Ok(Self {
            legal_bases: legal_bases.into_iter().collect(),
            issuers: issuers.into_iter().map(|(record, at)| (record.0, at)).collect(),
        })
    }

    /// The line of the issuer's budget when a document was issued.
    fn revenue_line(&self, issued_at: Timestamp) -> Option<String> {
        let then = self.issuers.iter().rev().find(|(_, put_ms)| *put_ms <= issued_at.as_millisecond());
        then.and_then(|(issuer, _)| issuer.revenue_line.clone())
    }

    fn movements(&self, document: Document) -> impl Iterator<Item = Movement> {
        let lists: BTreeSet<String> =
            document.lines.into_iter().chain(document.corrections).map(|line| line.price_list).collect();
        let known =
            lists.iter().filter_map(|list| self.legal_bases.get(list)).filter(|text| !text.is_empty());
        let legal_basis: BTreeSet<String> = known.cloned().collect();
        let to = Side { party: document.issuer, budget_line: self.revenue_line(document.issued_at) };
        let money = move |minor| Money { minor, currency: document.currency };
        document.totals.booked.into_iter().map(move |booked| {
            let BookedTotal { booking, net_minor, tax_minor, gross_minor } = booked;
            Movement {
                month: document.period.month,
                number: document.number.clone(),
                kind: document.kind,
                tenant: document.buyer.tenant.clone(),
                account: document.buyer.account.clone(),
                from: Side { party: document.buyer.party.clone(), budget_line: booking.budget_line },
                cost_centre: booking.cost_centre,
                reference: booking.reference,
                to: to.clone(),
                net: money(net_minor),
                tax: money(tax_minor),
                gross: money(gross_minor),
                legal_basis: legal_basis.iter().cloned().collect(),
                tax_legal_basis: document.tax.legal_basis().to_owned(),
                reason: document.reason.clone(),
            }
        })
    }
}

/// The settlement of the months from `from` to `to`, from closed documents alone; the ledger must say the same.
///
/// # Errors
/// `too-large`; a fault when the documents and the ledger differ.
pub async fn annex(pool: &PgPool, (from, to): (Month, Month)) -> Result<SettlementAnnex, Error> {
    let mut tx = super::snapshot(pool).await?;
    let texts = Texts::read(&mut tx).await?;
    let sql = "select position, document from statement
               where month >= $1 and month <= $2 and position > $3 order by position limit $4";
    let (mut movements, mut after) = (Vec::new(), 0_i64);
    loop {
        let rows: Vec<(i64, String)> = sqlx::query_as(sql)
            .bind(from.to_string())
            .bind(to.to_string())
            .bind(after)
            .bind(SETTLED)
            .fetch_all(&mut *tx)
            .await?;
        let Some((last, _)) = rows.last() else { break };
        after = *last;
        for (_, text) in &rows {
            let document: Document = serde_json::from_str(text)
                .map_err(|cause| Error::Fault(format!("failed to read a document: {cause}")))?;
            movements.extend(texts.movements(document));
        }
        if movements.len() > MOST_MOVEMENTS {
            let detail = format!("an annex has at most {MOST_MOVEMENTS} movements; ask for a month");
            return Err(Error::refuse(siyada_model::wire::code::TOO_LARGE, detail));
        }
    }
    let currency = movements.first().map(|movement| movement.gross.currency);
    let currency = match currency {
        Some(currency) => currency,
        None => prices::billing_currency(&mut tx).await?,
    };
    let ledger = Money { minor: receivable(&mut tx, (from, to)).await?, currency };
    let annex = SettlementAnnex::new((from, to), movements, ledger)?;
    if annex.gross != annex.ledger_gross {
        let (documents, ledger) = (annex.gross, annex.ledger_gross);
        return Err(Error::Fault(format!(
            "failed to settle {from} to {to}: documents say {documents}, the ledger {ledger}"
        )));
    }
    Ok(annex)
}

/// What the ledger says that documents about these months made their buyers owe.
async fn receivable(tx: &mut PgConnection, (from, to): (Month, Month)) -> Result<i64, Error> {
    let sql = "select coalesce(sum(e.minor), 0)::bigint
               from ledger_transaction t join ledger_entry e on e.transaction_id = t.id
               where t.kind in ('statement', 'creditNote') and e.account like 'receivable:%'
                   and to_char(t.effective_date, 'YYYY-MM') between $1 and $2";
    Ok(sqlx::query_scalar(sql).bind(from.to_string()).bind(to.to_string()).fetch_one(tx).await?)
}

/// The months of a fiscal year: the first and the last.
///
/// # Errors
/// `invalid` at the end of time.
pub fn months_of(year: FiscalYear) -> Result<(Month, Month), Error> {
    let wrong = || Error::invalid("fiscalYear is 2000 to 9998");
    let (from, _) = year.borders();
    let from: Month = id(from).map_err(|_| wrong())?;
    let mut last = from;
    for _ in 0..11 {
        last = last.next().map_err(|_| wrong())?;
    }
    Ok((from, last))
}

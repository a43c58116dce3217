//! The double-entry ledger: transactions are only ever added.

use super::timestamp;
use crate::error::Error;
use jiff::Timestamp;
use jiff::civil::Date;
use siyada_model::ledger::{Account, Entry, InvalidTransaction, Transaction, TransactionKind};
use siyada_model::money::Money;
use siyada_model::period::Month;
use siyada_model::wire::code;
use sqlx::{PgConnection, PgPool};
use std::collections::{BTreeMap, BTreeSet};

/// Whoever posts takes turns until his transaction ends: the sequence is then in the order of the commits.
///
/// # Errors
/// When the database does not answer.
pub async fn lock(tx: &mut PgConnection) -> Result<(), Error> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('siyada ledger', 0))").execute(tx).await?;
    Ok(())
}

/// Posts transactions, all of them or none. One that is on record with the same content changes nothing.
///
/// # Errors
/// `conflict` for an id that is on record, or given twice, with another content.
pub async fn post(tx: &mut PgConnection, transactions: &[Transaction]) -> Result<(), Error> {
    if transactions.is_empty() {
        return Ok(());
    }
    lock(tx).await?;
    let ids: Vec<&str> = transactions.iter().map(Transaction::id).collect();
    let sql = "select id, content_sha256 from ledger_transaction where id = any($1)";
    let known: Vec<(String, String)> = sqlx::query_as(sql).bind(&ids).fetch_all(&mut *tx).await?;
    let mut contents: BTreeMap<String, String> = known.into_iter().collect();
    let mut new: Vec<(&Transaction, String)> = Vec::new();
    for transaction in transactions {
        let sha256 = transaction.sha256().map_err(InvalidTransaction::from)?;
        match contents.get(transaction.id()) {
            Some(same) if *same == sha256 => {}
            Some(_) => {
                return Err(Error::refuse(
                    code::CONFLICT,
                    format!(
                        "transaction {} is on record with another content; what is posted never changes, post a \
                         correction under an id of its own",
                        transaction.id()
                    ),
                ));
            }
            None => {
                contents.insert(transaction.id().to_owned(), sha256.clone());
                new.push((transaction, sha256));
            }
        }
    }
    insert_accounts(tx, &new).await?;
    insert_transactions(tx, &new).await?;
    insert_entries(tx, &new).await
}

/// Accounts that are not there yet.
async fn insert_accounts(tx: &mut PgConnection, new: &[(&Transaction, String)]) -> Result<(), Error> {
    let names: BTreeSet<&str> =
        new.iter().flat_map(|(t, _)| t.entries()).map(|entry| entry.account.as_str()).collect();
    let sql = "insert into ledger_account (name, kind)
               select a.name, split_part(a.name, ':', 1) from unnest($1::text[]) as a (name)
               where not exists (select from ledger_account known where known.name = a.name)";
    sqlx::query(sql).bind(names.into_iter().collect::<Vec<_>>()).execute(tx).await?;
    Ok(())
}

async fn insert_transactions(tx: &mut PgConnection, new: &[(&Transaction, String)]) -> Result<(), Error> {
    let sql = "with last as materialized (
                   select coalesce(max(sequence), 0) as sequence,
                          greatest(ledger_now_ms(), (select recorded_ms from ledger_transaction
                                                     order by sequence desc limit 1)) as recorded_ms
                   from ledger_transaction
               )
               insert into ledger_transaction (id, sequence, kind, effective_ms, effective_date, recorded_ms, entries,
                   content_sha256)
               select t.id, last.sequence + t.ordinal, t.kind, t.effective_ms, t.date::date, last.recorded_ms, t.entries,
                      t.sha256
               from last, unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::int[], $6::text[])
                   with ordinality as t (id, kind, effective_ms, date, entries, sha256, ordinal)
               order by t.ordinal";
    sqlx::query(sql)
        .bind(new.iter().map(|(t, _)| t.id()).collect::<Vec<_>>())
        .bind(new.iter().map(|(t, _)| t.kind().as_str()).collect::<Vec<_>>())
        .bind(new.iter().map(|(t, _)| t.effective().as_millisecond()).collect::<Vec<_>>())
        .bind(new.iter().map(|(t, _)| t.date().to_string()).collect::<Vec<_>>())
        .bind(new.iter().map(|(t, _)| count(t.entries().len())).collect::<Vec<_>>())
        .bind(new.iter().map(|(_, sha256)| sha256.as_str()).collect::<Vec<_>>())
        .execute(tx)
        .await?;
    Ok(())
}

async fn insert_entries(tx: &mut PgConnection, new: &[(&Transaction, String)]) -> Result<(), Error> {
    let entries: Vec<(&Transaction, usize, &Entry)> = new
        .iter()
        .flat_map(|(t, _)| t.entries().iter().enumerate().map(move |(index, entry)| (*t, index, entry)))
        .collect();
    let sql = "insert into ledger_entry (transaction_id, seq, entries, account, minor, currency)
               select * from unnest($1::text[], $2::int[], $3::int[], $4::text[], $5::bigint[], $6::text[])";
    sqlx::query(sql)
        .bind(entries.iter().map(|(t, ..)| t.id()).collect::<Vec<_>>())
        .bind(entries.iter().map(|(_, index, _)| count(index.saturating_add(1))).collect::<Vec<_>>())
        .bind(entries.iter().map(|(t, ..)| count(t.entries().len())).collect::<Vec<_>>())
        .bind(entries.iter().map(|(.., entry)| entry.account.as_str()).collect::<Vec<_>>())
        .bind(entries.iter().map(|(.., entry)| entry.amount.minor).collect::<Vec<_>>())
        .bind(entries.iter().map(|(.., entry)| entry.amount.currency.as_str()).collect::<Vec<_>>())
        .execute(tx)
        .await?;
    Ok(())
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A transaction on record.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its place in the ledger.
    pub sequence: i64,
    /// When it was put there.
    pub at: Timestamp,
    /// Hash of its content.
    pub sha256: String,
    /// The transaction.
    pub transaction: Transaction,
}

#[derive(sqlx::FromRow)]
struct Row {
    sequence: i64,
    id: String,
    kind: String,
    effective_ms: i64,
    date: String,
    recorded_ms: i64,
    content_sha256: String,
    accounts: Vec<String>,
    minors: Vec<i64>,
    currencies: Vec<String>,
}

impl TryFrom<Row> for Recorded {
    type Error = Error;
    /// Reads a transaction by the function that made it: what would not sum to zero, or is not what was hashed, is a
    /// fault.
    fn try_from(row: Row) -> Result<Self, Error> {
        let fault = |what: &str| Error::Fault(format!("failed to read {what} of transaction {}", row.id));
        let kind = TransactionKind::ALL.into_iter().find(|kind| kind.as_str() == row.kind);
        let kind = kind.ok_or_else(|| fault("the kind"))?;
        let date: Date = row.date.parse().map_err(|_| fault("the date"))?;
        let mut entries = Vec::with_capacity(row.accounts.len());
        for ((account, minor), currency) in row.accounts.into_iter().zip(row.minors).zip(row.currencies) {
            let amount = Money { minor, currency: currency.parse()? };
            entries.push(Entry::add(Account::recorded(account), amount));
        }
        let effective = timestamp(row.effective_ms)?;
        let transaction = Transaction::new(row.id.clone(), kind, (effective, date), entries)?;
        let sha256 = transaction.sha256().map_err(InvalidTransaction::from)?;
        if sha256 != row.content_sha256 {
            return Err(Error::Fault(format!("transaction {} is not what was hashed", row.id)));
        }
        Ok(Self { sequence: row.sequence, at: timestamp(row.recorded_ms)?, sha256, transaction })
    }
}

/// Place of the last transaction; zero before the first.
///
/// # Errors
/// When the database does not answer.
pub async fn last(pool: &PgPool) -> Result<i64, Error> {
    let sql = "select coalesce(max(sequence), 0) from ledger_transaction";
    Ok(sqlx::query_scalar(sql).fetch_one(pool).await?)
}

/// Transactions after `after` up to `until`, in their order; only those of `month` if it is given.
///
/// # Errors
/// When the database does not answer, or what it has is not what was posted.
pub async fn list(
    pool: &PgPool,
    (after, until): (i64, i64),
    month: Option<Month>,
    limit: i64,
) -> Result<Vec<Recorded>, Error> {
    let sql = "select t.sequence, t.id, t.kind, t.effective_ms, to_char(t.effective_date, 'YYYY-MM-DD') as date,
                   t.recorded_ms, t.content_sha256,
                   array(select account from ledger_entry where transaction_id = t.id order by seq) as accounts,
                   array(select minor from ledger_entry where transaction_id = t.id order by seq) as minors,
                   array(select currency from ledger_entry where transaction_id = t.id order by seq) as currencies
               from ledger_transaction t
               where t.sequence > $1 and t.sequence <= $2 and ($3::text is null or (
                   t.effective_date >= ($3 || '-01')::date
                   and t.effective_date < (($3 || '-01')::date + interval '1 month')::date))
               order by t.sequence limit $4";
    let rows: Vec<Row> = sqlx::query_as(sql)
        .bind(after)
        .bind(until)
        .bind(month.map(|month| month.to_string()))
        .bind(limit)
        .fetch_all(pool)
        .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Names of accounts after `after`.
///
/// # Errors
/// When the database does not answer.
pub async fn accounts(pool: &PgPool, after: &str, limit: i64) -> Result<Vec<String>, Error> {
    let sql =
        r#"select name from ledger_account where name collate "C" > $1 order by name collate "C" limit $2"#;
    Ok(sqlx::query_scalar(sql).bind(after).bind(limit).fetch_all(pool).await?)
}

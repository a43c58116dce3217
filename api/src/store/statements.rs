//! Documents: sealed, stored as their canonical bytes, found again.

use super::audit::{self, Act};
use super::{finance, id, ledger, periods, timestamp};
use crate::error::Error;
use crate::fail::point;
use crate::signing::Signer;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use siyada_model::canonical::sha256;
use siyada_model::ledger::{Transaction, post_statement};
use siyada_model::money::Money;
use siyada_model::period::Month;
use siyada_model::statement::chain::{BEGINNING, extend, number};
use siyada_model::statement::credit::{Ask, credit};
use siyada_model::statement::{Statement, StatementKind};
use siyada_model::wire::{ChainLink, CreditRequest, StatementEntry, code};
use sqlx::{PgConnection, PgPool};

/// The end of the chain.
#[derive(Clone, Debug)]
pub struct Head {
    /// Number of documents.
    pub position: i64,
    /// The chain up to here.
    pub chain: String,
}

impl Head {
    /// The end of the chain, which nobody else moves until the transaction ends.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn lock(tx: &mut PgConnection) -> Result<Self, Error> {
        sqlx::query("select pg_advisory_xact_lock(hashtextextended('siyada statements', 0))")
            .execute(&mut *tx)
            .await?;
        let sql = "select position, chain from statement order by position desc limit 1";
        let row: Option<(i64, String)> = sqlx::query_as(sql).fetch_optional(tx).await?;
        let (position, chain) = row.unwrap_or_else(|| (0, BEGINNING.to_owned()));
        Ok(Self { position, chain })
    }
}

/// The last number of a series; 0 for a new one.
///
/// # Errors
/// When the database does not answer.
pub async fn last_of(tx: &mut PgConnection, series: &str) -> Result<i64, Error> {
    let sql = "select coalesce(max(sequence), 0) from statement where series = $1";
    Ok(sqlx::query_scalar(sql).bind(series).fetch_one(tx).await?)
}

/// A document with its bytes, hash and signature.
pub struct Issued {
    document: Statement,
    text: String,
    series: String,
    sequence: i64,
    sha256: String,
    chain: String,
    signature: Option<(Vec<u8>, String)>,
}

impl Issued {
    /// Seals a document that has its number and place.
    ///
    /// # Errors
    /// `invalid` for an amount that has no canonical form.
    pub fn seal(
        document: Statement,
        series: String,
        sequence: i64,
        signer: Option<&Signer>,
    ) -> Result<Self, Error> {
        let bytes =
            document.bytes().map_err(|cause| Error::invalid(format!("{}: {cause}", document.number)))?;
        let sha256 = sha256(&bytes);
        let chain = extend(&document.previous_chain, &sha256);
        let signature = signer.map(|signer| (signer.sign(&bytes), signer.id().to_owned()));
        let text = String::from_utf8(bytes).map_err(|cause| Error::Fault(cause.to_string()))?;
        Ok(Self { document, text, series, sequence, sha256, chain, signature })
    }

    /// The end of the chain after it.
    pub fn head(&self) -> Head {
        Head { position: self.document.position, chain: self.chain.clone() }
    }
}

/// Stores documents, in their order, and posts what each moves to the ledger.
///
/// # Errors
/// When the database refuses: a number that is not the next, a chain that is broken, a second statement of a month.
pub async fn insert(
    tx: &mut PgConnection,
    issued: &[Issued],
    by: &str,
    key: Option<&str>,
) -> Result<(), Error> {
    let sql = "insert into statement (position, number, series, sequence, kind, tenant_id, month, credits, request_key,
                   issued_ms, issued_by, net_minor, gross_minor, currency, document, sha256, chain, signature, key_id)
               select n.position, n.number, n.series, n.sequence, n.kind, t.id, n.month, n.credits, $19, n.issued_ms, $18,
                   n.net_minor, n.gross_minor, n.currency, n.document, n.sha256, n.chain, n.signature, n.key_id
               from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[],
                   $8::text[], $9::bigint[], $10::bigint[], $11::bigint[], $12::text[], $13::text[], $14::text[],
                   $15::text[], $16::bytea[], $17::text[])
                   as n (position, number, series, sequence, kind, tenant, month, credits, issued_ms, net_minor,
                         gross_minor, currency, document, sha256, chain, signature, key_id)
               left join (select distinct on (name) name, id from tenant order by name, deleted_ms nulls first) t
                   on t.name = n.tenant
               order by n.position";
    point("insert-statements");
    let of = |text: fn(&Issued) -> &str| issued.iter().map(text).collect::<Vec<_>>();
    let count = |number: fn(&Issued) -> i64| issued.iter().map(number).collect::<Vec<_>>();
    sqlx::query(sql)
        .bind(count(|i| i.document.position))
        .bind(of(|i| &i.document.number))
        .bind(of(|i| &i.series))
        .bind(count(|i| i.sequence))
        .bind(of(|i| i.document.kind.as_str()))
        .bind(of(|i| i.document.buyer.tenant.as_str()))
        .bind(issued.iter().map(|i| i.document.period.month.to_string()).collect::<Vec<_>>())
        .bind(issued.iter().map(|i| i.document.credits.clone()).collect::<Vec<_>>())
        .bind(count(|i| i.document.issued_at.as_millisecond()))
        .bind(count(|i| i.document.totals.net_minor))
        .bind(count(|i| i.document.totals.gross_minor))
        .bind(of(|i| i.document.currency.as_str()))
        .bind(of(|i| &i.text))
        .bind(of(|i| &i.sha256))
        .bind(of(|i| &i.chain))
        .bind(issued.iter().map(|i| i.signature.clone().map(|s| s.0)).collect::<Vec<_>>())
        .bind(issued.iter().map(|i| i.signature.clone().map(|s| s.1)).collect::<Vec<_>>())
        .bind(by)
        .bind(key)
        .execute(&mut *tx)
        .await?;
    let posted: Vec<Transaction> =
        issued.iter().map(|issued| post_statement(&issued.document)).collect::<Result<_, _>>()?;
    ledger::post(tx, &posted).await
}

#[derive(sqlx::FromRow)]
struct Row {
    number: String,
    kind: String,
    tenant: String,
    month: String,
    credits: Option<String>,
    issued_ms: i64,
    net_minor: i64,
    gross_minor: i64,
    currency: String,
    position: i64,
    sha256: String,
    chain: String,
    signature: Option<Vec<u8>>,
    key_id: Option<String>,
}

impl Row {
    fn entry(self) -> Result<StatementEntry, Error> {
        let fault = |what: &str| Error::Fault(format!("failed to read the {what} of a document"));
        let currency = self.currency.parse().map_err(|_| fault("currency"))?;
        Ok(StatementEntry {
            kind: if self.kind == "statement" { StatementKind::Statement } else { StatementKind::CreditNote },
            tenant: id(self.tenant)?,
            month: self.month.parse().map_err(|_| fault("month"))?,
            issued_at: timestamp(self.issued_ms)?,
            net: Money { minor: self.net_minor, currency },
            gross: Money { minor: self.gross_minor, currency },
            signature: self.signature.map(|bytes| STANDARD.encode(bytes)),
            number: self.number,
            credits: self.credits,
            position: self.position,
            sha256: self.sha256,
            chain: self.chain,
            key_id: self.key_id,
        })
    }
}

/// Documents of a tenant and everything below it after the place `after`, at most `limit`, the first first.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    pool: &PgPool,
    tenant_id: i64,
    after: i64,
    limit: i64,
) -> Result<Vec<StatementEntry>, Error> {
    let sql = "select s.number, s.kind, t.name as tenant, s.month, s.credits, s.issued_ms, s.net_minor, s.gross_minor,
                   s.currency, s.position, s.sha256, s.chain, s.signature, s.key_id
               from statement s join tenant t on t.id = s.tenant_id
               where t.path @> array[$1] and s.position > $2 order by s.position limit $3";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(tenant_id).bind(after).bind(limit).fetch_all(pool).await?;
    rows.into_iter().map(Row::entry).collect()
}

/// The canonical bytes of a document of a tenant or below it.
///
/// # Errors
/// `not-found` for one that is not there or not there for this tenant.
pub async fn text(pool: &PgPool, tenant_id: i64, number: &str) -> Result<String, Error> {
    let sql = "select s.document from statement s join tenant t on t.id = s.tenant_id
               where s.number = $1 and t.path @> array[$2]";
    let found: Option<String> =
        sqlx::query_scalar(sql).bind(number).bind(tenant_id).fetch_optional(pool).await?;
    found.ok_or_else(Error::not_found)
}

/// Every document about `month` or a later one, in the order of the chain.
///
/// # Errors
/// When the database does not answer.
pub async fn since(tx: &mut PgConnection, month: Month) -> Result<Vec<Statement>, Error> {
    let sql = "select document from statement where month >= $1 order by position";
    let rows: Vec<String> = sqlx::query_scalar(sql).bind(month.to_string()).fetch_all(tx).await?;
    rows.iter().map(|text| read(text)).collect()
}

/// The statements of a month after the place `after`, at most `limit`, and the place of the last one. Credit notes are
/// not among them.
///
/// # Errors
/// When the database does not answer.
pub async fn of_month(
    connection: &mut PgConnection,
    month: Month,
    after: i64,
    limit: i64,
) -> Result<(Vec<Statement>, Option<i64>), Error> {
    let sql = "select position, document from statement
               where month = $1 and kind = 'statement' and position > $2 order by position limit $3";
    let rows: Vec<(i64, String)> =
        sqlx::query_as(sql).bind(month.to_string()).bind(after).bind(limit).fetch_all(connection).await?;
    let last = rows.last().map(|row| row.0);
    Ok((rows.iter().map(|(_, text)| read(text)).collect::<Result<_, _>>()?, last))
}

fn read(text: &str) -> Result<Statement, Error> {
    serde_json::from_str(text).map_err(|cause| Error::Fault(format!("failed to read a document: {cause}")))
}

/// The chain after the place `after`.
///
/// # Errors
/// When the database does not answer.
pub async fn chain(pool: &PgPool, after: i64, limit: i64) -> Result<Vec<ChainLink>, Error> {
    let sql = "select position, number, sha256, chain from statement where position > $1 order by position limit $2";
    let rows: Vec<(i64, String, String, String)> =
        sqlx::query_as(sql).bind(after).bind(limit).fetch_all(pool).await?;
    let link = |(position, number, sha256, chain)| ChainLink { position, number, sha256, chain };
    Ok(rows.into_iter().map(link).collect())
}

/// Issues a credit note for a document of this tenant, once for each key.
///
/// # Errors
/// `not-found`, `invalid` for lines that are not there or of which less is left, `conflict` when nothing is left or the
/// key was used for another request.
pub async fn take_back(
    pool: &PgPool,
    tenant_id: i64,
    original: &str,
    request: &CreditRequest,
    by: &str,
    signer: Option<&Signer>,
) -> Result<String, Error> {
    let mut tx = pool.begin().await?;
    periods::lock(&mut tx).await?;
    let head = Head::lock(&mut tx).await?;
    let sql = "select s.tenant_id, s.document from statement s join tenant t on t.id = s.tenant_id
               where s.number = $1 and s.kind = 'statement' and t.path @> array[$2]";
    let found: Option<(i64, String)> =
        sqlx::query_as(sql).bind(original).bind(tenant_id).fetch_optional(&mut *tx).await?;
    let (payer, text) = found.ok_or_else(Error::not_found)?;
    let document = read(&text)?;
    let sql = "select request_key, document from statement where credits = $1 order by position";
    let notes: Vec<(Option<String>, String)> = sqlx::query_as(sql).bind(original).fetch_all(&mut *tx).await?;
    let earlier = notes.iter().map(|(_, text)| read(text)).collect::<Result<Vec<_>, Error>>()?;
    let ask = match &request.lines {
        None => Ask::Rest,
        Some(lines) => Ask::Lines(lines.iter().map(|line| (line.line, line.minor)).collect()),
    };
    let credited = |earlier: &[Statement]| credit(&document, &earlier.iter().collect::<Vec<_>>(), &ask);
    let known = notes.iter().position(|(key, _)| key.as_deref() == Some(&request.key));
    if let Some((index, (note, (_, text)))) = known.and_then(|i| Some((i, earlier.get(i).zip(notes.get(i))?)))
    {
        // The same request, asked when this note was made, makes this note.
        let again = credited(earlier.get(..index).unwrap_or_default());
        let is_same = again.is_ok_and(|(lines, totals)| (&lines, &totals) == (&note.lines, &note.totals));
        if is_same && note.reason.as_deref() == Some(&request.reason) {
            return Ok(text.clone());
        }
        let detail = format!(
            "key {:?} made credit note {} already, for another reason or other lines; choose another key",
            request.key, note.number
        );
        return Err(Error::refuse(code::CONFLICT, detail));
    }
    let issuer = finance::issuer(&mut tx).await?.ok_or_else(finance::no_issuer)?;
    let (lines, totals) =
        credited(&earlier).map_err(|cause| Error::invalid(format!("{original}: {cause}")))?;
    let now = super::now(&mut tx).await?;
    let series = super::closing::series_now(&mut tx, &issuer, StatementKind::CreditNote, now).await?;
    let sequence = last_of(&mut tx, &series).await?.saturating_add(1);
    let note = Statement {
        kind: StatementKind::CreditNote,
        number: number(&series, sequence),
        issued_at: now,
        issuer: issuer.party,
        credits: Some(original.to_owned()),
        reason: Some(request.reason.clone()),
        lines,
        corrections: vec![],
        gaps: vec![],
        availability: vec![],
        totals,
        position: head.position.saturating_add(1),
        previous_chain: head.chain,
        ..document
    };
    let issued = Issued::seal(note, series, sequence, signer)?;
    let text = issued.text.clone();
    let detail = json!({
        "note": issued.document.number, "key": request.key, "reason": request.reason, "sha256": issued.sha256,
        "grossMinor": issued.document.totals.gross_minor
    });
    insert(&mut tx, &[issued], by, Some(&request.key)).await?;
    let object = format!("statement/{original}");
    let act = Act { actor: by, action: "statement.credit", tenant_id: Some(payer), object, detail };
    audit::record(&mut tx, act).await?;
    point("credit-before-commit");
    tx.commit().await?;
    point("credit-after-commit");
    Ok(text)
}

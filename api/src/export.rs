//! The export for auditors: everything that statements are computed from, as plain files with their hashes.
//!
//! | file | holds, one JSON a line |
//! |---|---|
//! | `documents.ndjson` | every document: number, its canonical bytes as a text, SHA-256, chain, signature |
//! | `periods.ndjson` | months with their borders, and up to which record they were closed |
//! | `usage.ndjson` | changes of level, in the order in which they were recorded |
//! | `gaps.ndjson` | gaps of measurement, in the order in which they were recorded |
//! | `gap-decisions.ndjson` | whether they are billed, and who decided so |
//! | `availability.ndjson` | whether somebody could log in, when that changed, in the order in which it was recorded |
//! | `availability-proofs.ndjson` | until when whoever told so was at work |
//! | `allocations.ndjson` | where orders are booked, in the order in which it was recorded |
//! | `orders.ndjson` | orders |
//! | `price-lists.ndjson` | price lists |
//! | `manifest.json` | the SHA-256 of each file, the end of the chain, and the public key |

use crate::error::Error;
use crate::store::{self, id, now, periods, prices, snapshot, timestamp};
use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use siyada_model::allocation::Shares;
use siyada_model::availability::{Seen, State, Watcher};
use siyada_model::canonical::hex;
use siyada_model::id::OrderUid;
use siyada_model::statement::Billed;
use siyada_model::usage::{Level, Meter};
use siyada_model::wire::GapDecision;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::pin::pin;

/// What [`Manifest::format`] says.
pub const FORMAT: &str = "siyada.cloud/export/v1";
/// Files of an export beside its manifest.
pub const FILES: [&str; 10] = [
    "documents.ndjson",
    "periods.ndjson",
    "usage.ndjson",
    "allocations.ndjson",
    "orders.ndjson",
    "price-lists.ndjson",
    "gaps.ndjson",
    "gap-decisions.ndjson",
    "availability.ndjson",
    "availability-proofs.ndjson",
];
/// Those that an export of an earlier version has not.
pub const LATER: [&str; 4] =
    ["gaps.ndjson", "gap-decisions.ndjson", "availability.ndjson", "availability-proofs.ndjson"];

/// A document with what seals it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sealed {
    /// Its number.
    pub number: String,
    /// Its canonical bytes.
    pub document: String,
    /// Their SHA-256.
    pub sha256: String,
    /// The chain up to and with it.
    pub chain: String,
    /// Ed25519 signature of the bytes, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// Id of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
}

/// A change of level as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// Its number in the record.
    pub seq: i64,
    /// The order.
    pub order_uid: OrderUid,
    /// The meter.
    pub meter: Meter,
    /// The instant.
    pub at: Timestamp,
    /// The level from then on; none means stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Why.
    pub reason: String,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// A gap of measurement as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedGap {
    /// Its number in the record.
    pub seq: i64,
    /// Its id.
    pub id: i64,
    /// The order.
    pub order_uid: OrderUid,
    /// The meter.
    pub meter: Meter,
    /// The level before it.
    pub level: Level,
    /// First instant.
    pub start: Timestamp,
    /// First instant after it.
    pub end: Timestamp,
    /// Why it is not proven.
    pub reason: String,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// What was decided of a gap, as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedDecision {
    /// Its number in the record.
    pub seq: i64,
    /// The id of the gap.
    pub gap: i64,
    /// What was decided.
    #[serde(flatten)]
    pub decision: GapDecision,
}

/// Whether somebody could log in to an instance, as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedState {
    /// Its number in the record.
    pub seq: i64,
    /// The order.
    pub order_uid: OrderUid,
    /// From when on.
    pub at: Timestamp,
    /// What was found.
    pub state: State,
    /// The same instant by the collector's own clock, in milliseconds.
    pub clock_ms: i64,
    /// Which collector.
    pub collector: String,
    /// The epoch of its lease.
    pub epoch: i64,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

impl RecordedState {
    /// What the model computes with.
    pub fn seen(&self) -> Seen {
        let by = Watcher { collector: self.collector.clone(), epoch: self.epoch };
        Seen { at: self.at, state: self.state, by, clock_ms: self.clock_ms }
    }
}

/// That a collector was at work, and had told all that it found, as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedProof {
    /// Its number in the record.
    pub seq: i64,
    /// Which collector.
    pub collector: String,
    /// The epoch of its lease.
    pub epoch: i64,
    /// Until when.
    pub until: Timestamp,
}

/// Where an order is booked, as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Booked {
    /// Its number in the record.
    pub seq: i64,
    /// The order.
    pub order_uid: OrderUid,
    /// From when on.
    pub at: Timestamp,
    /// Where.
    pub shares: Shares,
    /// Who said so.
    pub by: String,
}

/// What an export is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// When it was made, by the ledger's clock.
    pub made_at: Timestamp,
    /// Number of documents.
    pub documents: i64,
    /// The chain up to the last of them; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// SHA-256 of each file.
    pub files: BTreeMap<String, String>,
}

/// The files that are written, with their hashes.
struct Files<'a> {
    directory: &'a Path,
    hashes: BTreeMap<String, String>,
}

impl Files<'_> {
    /// Writes a file, row by row, and answers how many there were and the last one.
    async fn write<T: Serialize>(
        &mut self,
        name: &str,
        rows: impl Stream<Item = anyhow::Result<T>>,
    ) -> anyhow::Result<(i64, Option<T>)> {
        let path = self.directory.join(name);
        let file = File::create_new(&path).with_context(|| format!("failed to make {}", path.display()))?;
        let (mut file, mut hash, mut rows) = (BufWriter::new(file), Sha256::new(), pin!(rows));
        let (mut count, mut last) = (0_i64, None);
        while let Some(row) = rows.try_next().await? {
            let mut line = serde_json::to_vec(&row)?;
            line.push(b'\n');
            hash.update(&line);
            file.write_all(&line)?;
            count = count.saturating_add(1);
            last = Some(row);
        }
        file.flush()?;
        self.hashes.insert(name.to_owned(), hex(&hash.finalize()));
        Ok((count, last))
    }
}

/// Writes an export into a new directory, in constant memory, from one snapshot of the ledger.
///
/// # Errors
/// When the directory exists, cannot be written, or the database does not answer.
pub async fn export(pool: &PgPool, directory: &Path) -> anyhow::Result<Manifest> {
    std::fs::create_dir(directory).with_context(|| {
        format!("failed to make {}; name a directory that is not there", directory.display())
    })?;
    let mut tx = snapshot(pool).await.map_err(told)?;
    sqlx::query("set local statement_timeout = 0").execute(&mut *tx).await?;
    let mut files = Files { directory, hashes: BTreeMap::new() };
    let (count, last) = files.write("documents.ndjson", documents(&mut tx)).await?;
    files.write("usage.ndjson", usage(&mut tx)).await?;
    files.write("gaps.ndjson", gaps(&mut tx)).await?;
    files.write("gap-decisions.ndjson", decisions(&mut tx)).await?;
    files.write("availability.ndjson", availability(&mut tx)).await?;
    files.write("availability-proofs.ndjson", proofs(&mut tx)).await?;
    files.write("allocations.ndjson", allocations(&mut tx)).await?;
    files.write("orders.ndjson", orders(&mut tx)).await?;
    let months = periods::all(&mut tx).await.map_err(told)?;
    files.write("periods.ndjson", stream::iter(months.into_iter().map(Ok))).await?;
    let lists = prices::before(&mut tx, Timestamp::MAX).await.map_err(told)?;
    files.write("price-lists.ndjson", stream::iter(lists.into_iter().map(Ok))).await?;
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        made_at: now(&mut tx).await.map_err(told)?,
        documents: count,
        chain: last.map(|sealed| sealed.chain),
        files: files.hashes,
    };
    // Last: a directory without a manifest is no export.
    std::fs::write(directory.join("manifest.json"), serde_json::to_vec_pretty(&manifest)?)?;
    Ok(manifest)
}

fn told(cause: Error) -> anyhow::Error {
    anyhow::anyhow!("failed to read the ledger: {cause:?}")
}

/// Rows of `sql`, each as `read` has it.
fn rows<'a, R, T>(
    tx: &'a mut PgConnection,
    sql: &'static str,
    read: impl Fn(R) -> Result<T, Error> + 'a,
) -> impl Stream<Item = anyhow::Result<T>> + 'a
where
    R: for<'r> sqlx::FromRow<'r, PgRow> + Send + Unpin + 'a,
    T: 'a,
{
    sqlx::query_as::<_, R>(sql).fetch(tx).map(move |row| read(row?).map_err(told))
}

fn documents(tx: &mut PgConnection) -> impl Stream<Item = anyhow::Result<Sealed>> {
    type Row = (String, String, String, String, Option<Vec<u8>>, Option<String>);
    let sql = "select number, document, sha256, chain, signature, key_id from statement order by position";
    rows(tx, sql, |(number, document, sha256, chain, signature, key_id): Row| {
        let signature = signature.map(|bytes| STANDARD.encode(bytes));
        Ok(Sealed { number, document, sha256, chain, signature, key_id })
    })
}

fn usage(tx: &mut PgConnection) -> impl Stream<Item = anyhow::Result<Recorded>> {
    type Row = (i64, String, String, i64, Option<String>, Option<i64>, String, i64);
    let sql = "select seq, order_uid, meter, at_ms, sku, quantity, reason, recorded_ms
               from usage_change order by seq";
    rows(tx, sql, |(seq, uid, meter, at, sku, quantity, reason, recorded): Row| {
        let level = match (sku, quantity) {
            (Some(sku), Some(quantity)) => Some(Level { sku: id(sku)?, quantity }),
            _ => None,
        };
        Ok(Recorded {
            seq,
            order_uid: id(uid)?,
            meter: store::usage::meter(&meter)?,
            at: timestamp(at)?,
            level,
            reason,
            recorded_at: timestamp(recorded)?,
        })
    })
}

fn gaps(tx: &mut PgConnection) -> impl Stream<Item = anyhow::Result<RecordedGap>> {
    type Row = (i64, i64, String, String, i64, i64, String, i64, String, i64);
    let sql = "select seq, id, order_uid, meter, start_ms, end_ms, sku, quantity, reason, recorded_ms
               from meter_gap order by seq";
    rows(tx, sql, |(seq, id_of, uid, meter, start, end, sku, quantity, reason, recorded): Row| {
        Ok(RecordedGap {
            seq,
            id: id_of,
            order_uid: id(uid)?,
            meter: store::usage::meter(&meter)?,
            level: Level { sku: id(sku)?, quantity },
            start: timestamp(start)?,
            end: timestamp(end)?,
            reason,
            recorded_at: timestamp(recorded)?,
        })
    })
}

fn decisions(tx: &mut PgConnection) -> impl Stream<Item = anyhow::Result<RecordedDecision>> {
    type Row = (i64, i64, bool, String, String, i64);
    let sql = "select seq, gap_id, billed, evidence, decided_by, decided_ms from gap_decision order by seq";
    rows(tx, sql, |(seq, gap, billed, evidence, by, at): Row| {
        let decision = GapDecision { billed, evidence, by, at: timestamp(at)? };
        Ok(RecordedDecision { seq, gap, decision })
    })
}

fn availability(tx: &mut PgConnection) -> impl Stream<Item = anyhow::Result<RecordedState>> {
    type Row = (i64, String, i64, String, i64, String, i64, i64);
    let sql = "select seq, order_uid, at_ms, state, clock_ms, collector, epoch, recorded_ms
               from availability_change order by seq";
    rows(tx, sql, |(seq, uid, at, state, clock_ms, collector, epoch, recorded): Row| {
        Ok(RecordedState {
            seq,
            order_uid: id(uid)?,
            at: timestamp(at)?,
            state: store::availability::state(&state)?,
            clock_ms,
            collector,
            epoch,
            recorded_at: timestamp(recorded)?,
        })
    })
}

fn proofs(tx: &mut PgConnection) -> impl Stream<Item = anyhow::Result<RecordedProof>> {
    let sql = "select seq, collector, epoch, until_ms from availability_proof order by seq";
    rows(tx, sql, |(seq, collector, epoch, until): (i64, String, i64, i64)| {
        Ok(RecordedProof { seq, collector, epoch, until: timestamp(until)? })
    })
}

fn allocations(tx: &mut PgConnection) -> impl Stream<Item = anyhow::Result<Booked>> {
    type Row = (i64, String, i64, Json<Shares>, String);
    let sql = "select seq, order_uid, at_ms, shares, put_by from allocation_change order by seq";
    rows(tx, sql, |(seq, uid, at, shares, by): Row| {
        Ok(Booked { seq, order_uid: id(uid)?, at: timestamp(at)?, shares: shares.0, by })
    })
}

fn orders(tx: &mut PgConnection) -> impl Stream<Item = anyhow::Result<Billed>> {
    type Row = (String, String, String, String, String);
    let sql =
        "select o.uid, t.name, o.namespace, o.name, o.kind from orders o join tenant t on t.id = o.tenant_id
               where exists (select from usage_change c where c.order_uid = o.uid) order by o.uid";
    rows(tx, sql, |(uid, tenant, namespace, name, kind): Row| {
        Ok(Billed { tenant: id(tenant)?, namespace, name, uid: id(uid)?, kind })
    })
}

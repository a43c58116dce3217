//! The export for auditors: everything that statements are computed from, as plain files with their hashes.
//!
//! | file | holds, one JSON a line |
//! |---|---|
//! | `documents.ndjson` | every document: number, its canonical bytes as a text, SHA-256, chain, signature |
//! | `periods.ndjson` | months with their borders, and up to which record they were closed |
//! | `usage.ndjson` | changes of level, in the order in which they were recorded |
//! | `allocations.ndjson` | where orders are booked, in the order in which it was recorded |
//! | `orders.ndjson` | orders |
//! | `price-lists.ndjson` | price lists |
//! | `manifest.json` | the SHA-256 of each file, the end of the chain, and the public key |

use crate::error::Error;
use crate::store::{id, periods, prices, timestamp};
use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::TryStreamExt as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use siyada_model::allocation::Shares;
use siyada_model::id::OrderUid;
use siyada_model::statement::Billed;
use siyada_model::usage::{Level, Meter};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

/// What [`Manifest::format`] says.
pub const FORMAT: &str = "siyada.cloud/export/v1";
/// Files of an export beside its manifest.
pub const FILES: [&str; 6] = [
    "documents.ndjson",
    "periods.ndjson",
    "usage.ndjson",
    "allocations.ndjson",
    "orders.ndjson",
    "price-lists.ndjson",
];

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

/// A file that knows its hash when it is done.
struct Hashed {
    file: BufWriter<File>,
    hash: Sha256,
    rows: i64,
}

impl Hashed {
    fn create(directory: &Path, name: &str) -> anyhow::Result<Self> {
        let path = directory.join(name);
        let file = File::create_new(&path).with_context(|| format!("failed to make {}", path.display()))?;
        Ok(Self { file: BufWriter::new(file), hash: Sha256::new(), rows: 0 })
    }

    fn line(&mut self, row: &impl Serialize) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(row)?;
        line.push(b'\n');
        self.hash.update(&line);
        self.file.write_all(&line)?;
        self.rows = self.rows.saturating_add(1);
        Ok(())
    }

    fn done(mut self) -> anyhow::Result<(String, i64)> {
        self.file.flush()?;
        let hash =
            self.hash.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        Ok((hash, self.rows))
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
    let mut tx = pool
        .begin_with("begin isolation level repeatable read read only; set local statement_timeout = 0")
        .await?;
    let mut files = BTreeMap::new();
    let (chain, documents) = documents(&mut tx, directory, &mut files).await?;
    usage(&mut tx, directory, &mut files).await?;
    allocations(&mut tx, directory, &mut files).await?;
    orders(&mut tx, directory, &mut files).await?;
    let mut out = Hashed::create(directory, "periods.ndjson")?;
    for state in periods::all(&mut tx).await.map_err(told)? {
        out.line(&state)?;
    }
    files.insert("periods.ndjson".to_owned(), out.done()?.0);
    let mut out = Hashed::create(directory, "price-lists.ndjson")?;
    for list in prices::before(&mut tx, Timestamp::MAX).await.map_err(told)? {
        out.line(&list)?;
    }
    files.insert("price-lists.ndjson".to_owned(), out.done()?.0);
    let made_at = crate::store::now(&mut tx).await.map_err(told)?;
    let manifest = Manifest { format: FORMAT.to_owned(), made_at, documents, chain, files };
    // Last: a directory without a manifest is no export.
    std::fs::write(directory.join("manifest.json"), serde_json::to_vec_pretty(&manifest)?)?;
    Ok(manifest)
}

fn told(cause: Error) -> anyhow::Error {
    anyhow::anyhow!("failed to read the ledger: {cause:?}")
}

async fn documents(
    tx: &mut PgConnection,
    directory: &Path,
    files: &mut BTreeMap<String, String>,
) -> anyhow::Result<(Option<String>, i64)> {
    let sql = "select number, document, sha256, chain, signature, key_id from statement order by position";
    type Row = (String, String, String, String, Option<Vec<u8>>, Option<String>);
    let mut rows = sqlx::query_as::<_, Row>(sql).fetch(tx);
    let mut out = Hashed::create(directory, "documents.ndjson")?;
    let mut head = None;
    while let Some((number, document, sha256, chain, signature, key_id)) = rows.try_next().await? {
        let signature = signature.map(|bytes| STANDARD.encode(bytes));
        out.line(&Sealed { number, document, sha256, chain: chain.clone(), signature, key_id })?;
        head = Some(chain);
    }
    let (hash, count) = out.done()?;
    files.insert("documents.ndjson".to_owned(), hash);
    Ok((head, count))
}

async fn usage(
    tx: &mut PgConnection,
    directory: &Path,
    files: &mut BTreeMap<String, String>,
) -> anyhow::Result<()> {
    let sql = "select seq, order_uid, meter, at_ms, sku, quantity, reason, recorded_ms from usage_change order by seq";
    type Row = (i64, String, String, i64, Option<String>, Option<i64>, String, i64);
    let mut rows = sqlx::query_as::<_, Row>(sql).fetch(tx);
    let mut out = Hashed::create(directory, "usage.ndjson")?;
    while let Some((seq, uid, meter, at, sku, quantity, reason, recorded)) = rows.try_next().await? {
        let level = match (sku, quantity) {
            (Some(sku), Some(quantity)) => Some(Level { sku: id(sku).map_err(told)?, quantity }),
            _ => None,
        };
        let meter =
            Meter::ALL.into_iter().find(|known| known.as_str() == meter).context("an unknown meter")?;
        let (at, recorded_at) = (timestamp(at).map_err(told)?, timestamp(recorded).map_err(told)?);
        let order_uid = id(uid).map_err(told)?;
        out.line(&Recorded { seq, order_uid, meter, at, level, reason, recorded_at })?;
    }
    files.insert("usage.ndjson".to_owned(), out.done()?.0);
    Ok(())
}

async fn allocations(
    tx: &mut PgConnection,
    directory: &Path,
    files: &mut BTreeMap<String, String>,
) -> anyhow::Result<()> {
    let sql = "select seq, order_uid, at_ms, shares, put_by from allocation_change order by seq";
    let mut rows = sqlx::query_as::<_, (i64, String, i64, Json<Shares>, String)>(sql).fetch(tx);
    let mut out = Hashed::create(directory, "allocations.ndjson")?;
    while let Some((seq, uid, at, shares, by)) = rows.try_next().await? {
        let (order_uid, at) = (id(uid).map_err(told)?, timestamp(at).map_err(told)?);
        out.line(&Booked { seq, order_uid, at, shares: shares.0, by })?;
    }
    files.insert("allocations.ndjson".to_owned(), out.done()?.0);
    Ok(())
}

async fn orders(
    tx: &mut PgConnection,
    directory: &Path,
    files: &mut BTreeMap<String, String>,
) -> anyhow::Result<()> {
    let sql =
        "select o.uid, t.name, o.namespace, o.name, o.kind from orders o join tenant t on t.id = o.tenant_id
               where exists (select from usage_change c where c.order_uid = o.uid) order by o.uid";
    let mut rows = sqlx::query_as::<_, (String, String, String, String, String)>(sql).fetch(tx);
    let mut out = Hashed::create(directory, "orders.ndjson")?;
    while let Some((uid, tenant, namespace, name, kind)) = rows.try_next().await? {
        let (tenant, uid) = (id(tenant).map_err(told)?, id(uid).map_err(told)?);
        out.line(&Billed { tenant, namespace, name, uid, kind })?;
    }
    files.insert("orders.ndjson".to_owned(), out.done()?.0);
    Ok(())
}

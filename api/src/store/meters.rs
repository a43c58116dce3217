//! Meters: what may be measured is data.

use super::id;
use crate::error::Error;
use siyada_model::usage::Meter;
use siyada_model::wire::{DisplayName, MeterKind, MeterRecord};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeSet;

#[derive(sqlx::FromRow)]
struct Row {
    name: String,
    base_unit: String,
    kind: String,
    display_name: Json<DisplayName>,
}

fn as_str(kind: MeterKind) -> &'static str {
    match kind {
        MeterKind::Level => "level",
        MeterKind::Counter => "counter",
    }
}

/// Meters after `after`, by name.
///
/// # Errors
/// When the database does not answer.
pub async fn list(pool: &PgPool, after: &str, limit: i64) -> Result<Vec<MeterRecord>, Error> {
    let sql = r#"select name, base_unit, kind, display_name from meter where name collate "C" > $1
                 order by name collate "C" limit $2"#;
    let rows: Vec<Row> = sqlx::query_as(sql).bind(after).bind(limit).fetch_all(pool).await?;
    rows.into_iter()
        .map(|row| {
            let kinds = [MeterKind::Level, MeterKind::Counter];
            let kind = kinds.into_iter().find(|kind| as_str(*kind) == row.kind);
            Ok(MeterRecord {
                name: id(row.name)?,
                base_unit: row.base_unit,
                kind: kind.ok_or_else(|| Error::Fault(format!("failed to read kind {}", row.kind)))?,
                display_name: row.display_name.0,
            })
        })
        .collect()
}

/// Whether these meters measure as `kind`; those that every ledger knows need no look at it.
///
/// # Errors
/// `invalid` names the first that does not, and those that do.
pub async fn check(
    tx: &mut PgConnection,
    meters: impl Iterator<Item = Meter>,
    kind: MeterKind,
) -> Result<(), Error> {
    let known = |meter: &Meter| kind == MeterKind::Level && Meter::LEVELS.contains(meter);
    let asked: BTreeSet<Meter> = meters.filter(|meter| !known(meter)).collect();
    if asked.is_empty() {
        return Ok(());
    }
    let sql = r#"select name from meter where kind = $1 order by name collate "C""#;
    let names: Vec<String> = sqlx::query_scalar(sql).bind(as_str(kind)).fetch_all(tx).await?;
    match asked.iter().find(|meter| !names.iter().any(|name| name == meter.as_str())) {
        None => Ok(()),
        Some(meter) => Err(Error::invalid(format!(
            "there is no {} {meter}: use one of {}; GET /v1/meters lists every meter",
            if kind == MeterKind::Level { "meter of levels" } else { "counter" },
            names.join(", ")
        ))),
    }
}

//! What the ledger does by itself: every version that national finance put on record, of which the last one counts.

use super::audit::{self, Act};
use crate::error::Error;
use serde_json::json;
use siyada_model::schedule::{ClosingSchedule, Settings};
use sqlx::{PgConnection, PgPool};

#[derive(sqlx::FromRow)]
struct Row {
    closing_day: Option<i16>,
    closing_hour: Option<i16>,
    audit_years: i16,
}

impl Row {
    fn settings(&self) -> Result<Settings, Error> {
        let small = |value: i16| {
            i8::try_from(value).map_err(|cause| Error::Fault(format!("failed to read a setting: {cause}")))
        };
        let closing = match (self.closing_day, self.closing_hour) {
            (Some(day), Some(hour)) => {
                Some(ClosingSchedule { day_of_month: small(day)?, hour: small(hour)? })
            }
            _ => None,
        };
        Ok(Settings { closing, audit_retention_years: self.audit_years })
    }
}

/// What counts now.
///
/// # Errors
/// When the database does not answer.
pub async fn settings(connection: &mut PgConnection) -> Result<Settings, Error> {
    let sql = "select closing_day, closing_hour, audit_years from setting_version order by id desc limit 1";
    let row: Option<Row> = sqlx::query_as(sql).fetch_optional(connection).await?;
    row.map_or_else(|| Ok(Settings::default()), |row| row.settings())
}

/// Puts settings on record; the same once more changes nothing.
///
/// # Errors
/// `invalid` for what cannot be set.
pub async fn put(pool: &PgPool, new: &Settings, by: &str) -> Result<Settings, Error> {
    new.check().map_err(|cause| Error::invalid(cause.to_string()))?;
    let mut tx = pool.begin().await?;
    // Two who put at once take turns, so that each event tells what was before.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('siyada settings', 0))")
        .execute(&mut *tx)
        .await?;
    let before = settings(&mut tx).await?;
    if before == *new {
        return Ok(before);
    }
    let sql = "insert into setting_version (closing_day, closing_hour, audit_years, put_by, put_ms)
               values ($1, $2, $3, $4, ledger_now_ms())";
    sqlx::query(sql)
        .bind(new.closing.map(|closing| i16::from(closing.day_of_month)))
        .bind(new.closing.map(|closing| i16::from(closing.hour)))
        .bind(new.audit_retention_years)
        .bind(by)
        .execute(&mut *tx)
        .await?;
    let detail = json!({"before": before, "after": new});
    let act =
        Act { actor: by, action: "settings.put", tenant_id: None, object: "settings".to_owned(), detail };
    audit::record(&mut tx, act).await?;
    tx.commit().await?;
    Ok(*new)
}

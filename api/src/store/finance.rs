//! Who bills and who is billed: every version that finance put on record, of which the last one counts.

use super::audit::{self, Act};
use crate::error::Error;
use serde_json::json;
use siyada_model::party::{AccountRecord, IssuerRecord};
use siyada_model::wire::{AccountEntry, code};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;

/// The issuer, once finance has put it on record.
///
/// # Errors
/// When the database does not answer.
pub async fn issuer(connection: &mut PgConnection) -> Result<Option<IssuerRecord>, Error> {
    let sql = "select record from issuer_version order by id desc limit 1";
    let row: Option<Json<IssuerRecord>> = sqlx::query_scalar(sql).fetch_optional(connection).await?;
    Ok(row.map(|json| json.0))
}

/// Puts the issuer on record; the same once more changes nothing. Months are open from then on.
///
/// # Errors
/// `invalid` for what cannot be an issuer.
pub async fn put_issuer(pool: &PgPool, record: &IssuerRecord, by: &str) -> Result<IssuerRecord, Error> {
    record.check().map_err(|cause| Error::invalid(cause.to_string()))?;
    let mut tx = pool.begin().await?;
    super::periods::lock(&mut tx).await?;
    let mut told = None;
    if issuer(&mut tx).await?.as_ref() != Some(record) {
        sqlx::query("insert into issuer_version (record, put_by, put_ms) values ($1, $2, ledger_now_ms())")
            .bind(Json(record))
            .bind(by)
            .execute(&mut *tx)
            .await?;
        let detail = json!({"record": record});
        let act =
            Act { actor: by, action: "issuer.put", tenant_id: None, object: "issuer".to_owned(), detail };
        told = Some(act);
    }
    super::periods::open_due(&mut tx).await?;
    if let Some(act) = told {
        audit::record(&mut tx, act).await?;
    }
    tx.commit().await?;
    Ok(record.clone())
}

/// Every account by name, as it counts now.
///
/// # Errors
/// When the database does not answer.
pub async fn all_accounts(connection: &mut PgConnection) -> Result<BTreeMap<String, AccountRecord>, Error> {
    let sql = "select distinct on (account) account, record from account_version order by account, id desc";
    let rows: Vec<(String, Json<AccountRecord>)> = sqlx::query_as(sql).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(account, json)| (account, json.0)).collect())
}

/// Accounts after `after`, by name.
///
/// # Errors
/// When the database does not answer.
pub async fn accounts(pool: &PgPool, after: &str, limit: i64) -> Result<Vec<AccountEntry>, Error> {
    let sql = r#"select account, record from (
                     select distinct on (account) account, record from account_version order by account, id desc
                 ) a where account collate "C" > $1 order by account collate "C" limit $2"#;
    let rows: Vec<(String, Json<AccountRecord>)> =
        sqlx::query_as(sql).bind(after).bind(limit).fetch_all(pool).await?;
    Ok(rows.into_iter().map(|(account, json)| AccountEntry { account, record: json.0 }).collect())
}

/// Puts an account on record; the same once more changes nothing.
///
/// # Errors
/// `invalid` for what cannot be an account.
pub async fn put_account(
    pool: &PgPool,
    name: &str,
    record: &AccountRecord,
    by: &str,
) -> Result<AccountEntry, Error> {
    record.check().map_err(|cause| Error::invalid(cause.to_string()))?;
    let sql = "insert into account_version (account, record, put_by, put_ms)
               select $1, $2, $3, ledger_now_ms()
               where $2 is distinct from (select record from account_version where account = $1 order by id desc limit 1)";
    let mut tx = pool.begin().await?;
    let done = sqlx::query(sql).bind(name).bind(Json(record)).bind(by).execute(&mut *tx).await?;
    if done.rows_affected() > 0 {
        let (object, detail) = (format!("account/{name}"), json!({"record": record}));
        let act = Act { actor: by, action: "account.put", tenant_id: None, object, detail };
        audit::record(&mut tx, act).await?;
    }
    tx.commit().await?;
    Ok(AccountEntry { account: name.to_owned(), record: record.clone() })
}

/// Refuses what needs an issuer while there is none.
pub fn no_issuer() -> Error {
    Error::refuse(
        code::ISSUER_UNKNOWN,
        "nobody is on record who bills; national finance puts the issuer on record with PUT /v1/issuer",
    )
}

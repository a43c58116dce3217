//! The double-entry ledger as a journal that other programs read.

use crate::error::Error;
use crate::extract::Query;
use crate::file::attachment;
use crate::state::App;
use crate::store::ledger;
use crate::stream;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use siyada_model::ledger::{journal_entry, journal_head};
use siyada_model::period::Month;
use siyada_model::wire::Problem;
use sqlx::PgPool;
use std::fmt::Write as _;
use utoipa::IntoParams;

/// Accounts or transactions read at a time.
const PART: i64 = 500;

/// What the journal holds.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only what counts for this month, like `2026-10`; everything when absent.
    #[param(value_type = Option<String>)]
    pub period: Option<Month>,
}

/// Every transaction of the ledger in its order, as a plain-text journal of hledger and Ledger: `hledger check` proves
/// that it balances, `hledger balance` adds it up without us.
#[utoipa::path(get, path = "/v1/ledger/journal", tag = "ledger", params(Which),
    responses(
        (status = 200, description = "The journal, streamed", body = String, content_type = "text/plain", example = json!(crate::openapi::examples::JOURNAL)),
        (status = 403, description = "Only for the platform", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`: no such month", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn journal(State(app): State<App>, Query(which): Query<Which>) -> Result<Response, Error> {
    let until = ledger::last(&app.pool).await?;
    let begin = Cursor { pool: app.pool, month: which.period, until, at: At::Head };
    let name = which.period.map_or_else(|| "ledger".to_owned(), |month| format!("ledger-{month}"));
    let body = stream::body(begin, part);
    Ok(attachment("text/plain; charset=utf-8", &format!("{name}.journal"), body))
}

struct Cursor {
    pool: PgPool,
    month: Option<Month>,
    until: i64,
    at: At,
}

enum At {
    Head,
    Accounts(String),
    Transactions(i64),
}

/// The part of the journal at the cursor, and where the next one is.
async fn part(cursor: Cursor) -> Result<Option<(String, Cursor)>, Error> {
    let mut text = String::new();
    let at = match cursor.at {
        At::Head => {
            text = journal_head();
            At::Accounts(String::new())
        }
        At::Accounts(after) => {
            let mut names = ledger::accounts(&cursor.pool, &after, PART).await?;
            for name in &names {
                let _ = writeln!(text, "account {name}");
            }
            text.push('\n');
            names.pop().map_or(At::Transactions(0), At::Accounts)
        }
        At::Transactions(after) => {
            let rows = ledger::list(&cursor.pool, (after, cursor.until), cursor.month, PART).await?;
            let Some(last) = rows.last().map(|row| row.sequence) else { return Ok(None) };
            for row in &rows {
                text.push_str(&journal_entry(&row.transaction, row.at, &row.sha256));
            }
            At::Transactions(last)
        }
    };
    Ok(Some((text, Cursor { at, ..cursor })))
}

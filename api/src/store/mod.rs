//! All SQL. The database states the rules as named constraints; the code decides with the model and translates names.

pub mod alerts;
pub mod allocations;
pub mod approvals;
pub mod audit;
pub mod availability;
pub mod batch;
pub mod breakdown;
pub mod budget;
pub mod closing;
pub mod commitments;
pub mod costs;
pub mod counters;
pub mod finance;
pub mod freeable;
pub mod gaps;
pub mod health;
pub mod incarnation;
pub mod ledger;
pub mod meters;
pub mod national;
pub mod orders;
pub mod periods;
pub mod prices;
pub mod quota;
pub mod reservations;
pub mod revaluation;
pub mod scheduled;
pub mod settings;
pub mod settlement;
pub mod statements;
pub mod tenants;
pub mod usage;

use crate::error::Error;
use incarnation::Standing;
use jiff::Timestamp;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool, PgTransaction};
use std::sync::Arc;
use std::time::Duration;

/// Connections of one api: enough for the work of a few cores, few enough for three replicas on a small server.
const MOST_CONNECTIONS: u32 = 20;
/// How long a request waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

static MIGRATOR: sqlx::migrate::Migrator = {
    let mut migrator = sqlx::migrate!("./migrations");
    // An older api runs on a newer schema during a rolling update.
    migrator.ignore_missing = true;
    migrator
};

/// A pool that connects when it is first needed. A statement that takes longer than a request may is stopped.
pub fn pool(options: PgConnectOptions) -> PgPool {
    pool_options().connect_lazy_with(bounded(options))
}

fn bounded(options: PgConnectOptions) -> PgConnectOptions {
    options.application_name("siyada-api").options([
        ("statement_timeout", "14s"),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "30s"),
    ])
}

/// The same, and each connection is to the server that is on record, or is refused.
pub fn guarded_pool(options: PgConnectOptions, standing: &Arc<Standing>) -> PgPool {
    let standing = Arc::clone(standing);
    let options = bounded(options);
    pool_options()
        .after_connect(move |connection, _| {
            let standing = Arc::clone(&standing);
            Box::pin(async move { incarnation::stand(connection, &standing).await })
        })
        .connect_lazy_with(options)
}

fn pool_options() -> PgPoolOptions {
    PgPoolOptions::new().max_connections(MOST_CONNECTIONS).acquire_timeout(ACQUIRE_TIMEOUT)
}

/// Brings the schema up to date; two at once wait for each other.
///
/// # Errors
/// When the database does not answer or a migration fails.
pub async fn migrate(options: &PgConnectOptions) -> Result<(), sqlx::migrate::MigrateError> {
    let mut connection = sqlx::ConnectOptions::connect(options).await?;
    let migrated = MIGRATOR.run_direct(None, &mut connection, false).await;
    connection.close().await?;
    migrated
}

/// A transaction that reads one state of the ledger, whatever others do meanwhile.
///
/// # Errors
/// When the database does not answer.
pub async fn snapshot(pool: &PgPool) -> Result<PgTransaction<'static>, Error> {
    Ok(pool.begin_with("begin isolation level repeatable read read only").await?)
}

/// The database's clock, to the millisecond.
///
/// # Errors
/// When the database does not answer.
pub async fn now(connection: &mut PgConnection) -> Result<Timestamp, Error> {
    timestamp(sqlx::query_scalar("select ledger_now_ms()").fetch_one(connection).await?)
}

/// Whether the database answers.
///
/// # Errors
/// When it does not.
pub async fn ping(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::query("select 1").execute(pool).await.map(|_| ())
}

/// An instant of the database as a timestamp.
pub(crate) fn timestamp(ms: i64) -> Result<Timestamp, Error> {
    Timestamp::from_millisecond(ms)
        .map_err(|cause| Error::Fault(format!("failed to read instant {ms}: {cause}")))
}

/// An identifier of the database as its type.
pub(crate) fn id<T>(text: String) -> Result<T, Error>
where
    T: TryFrom<String>,
    T::Error: std::fmt::Display,
{
    text.try_into().map_err(|cause: T::Error| Error::Fault(format!("failed to read an identifier: {cause}")))
}

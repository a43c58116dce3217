//! Counters: where they stand in a database, and how the ledger is told. What a database counts is read with the login of the
//! readiness probe, and told with the next checkpoint; a reading that is lost is made up for by the next one.

use crate::context::Context;
use crate::halves::Halves;
use crate::ledger::Ledger;
use crate::probe::first_row;
use jiff::Timestamp;
use siyada_model::id::{OrderUid, TenantName};
use siyada_model::usage::Meter;
use siyada_model::wire::{CounterBatch, CounterReading, MOST_FACTS};
use tokio_postgres::Client;

/// Reads the transactions of this database since its statistics began. They begin again after a crash, when somebody resets
/// them, and on another server: after a crash nothing of the database itself says so, but the statistics of the background
/// writer do, which begin with the server's and survive an orderly restart as these do.
const TRANSACTIONS: &str =
    "select d.xact_commit + d.xact_rollback, floor(extract(epoch from clock_timestamp()) * 1000),
        concat_ws('/', to_char(b.stats_reset at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),
                       to_char(d.stats_reset at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'))
    from pg_stat_database d, pg_stat_bgwriter b where d.datname = current_database()";

/// Where the transactions of a database stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transactions {
    /// How many there were.
    pub value: i64,
    /// Since which reset they are counted.
    pub reset_id: String,
    /// When, by the clock of the database.
    pub at: Timestamp,
}

impl Transactions {
    /// As the ledger is told.
    pub fn reading(&self, order_uid: OrderUid, tenant: TenantName) -> CounterReading {
        CounterReading {
            order_uid,
            tenant,
            meter: Meter::TRANSACTIONS,
            window_end: self.at,
            reset_id: self.reset_id.clone(),
            value: self.value,
        }
    }
}

/// Reads where the transactions of the database stand that `client` is connected to. Any login may.
pub async fn transactions(client: &Client) -> Option<Transactions> {
    let answer = client.simple_query(TRANSACTIONS).await.ok()?;
    let row = first_row(&answer)?;
    Some(Transactions {
        value: row.get(0)?.parse().ok()?,
        reset_id: row.get(2).filter(|id| !id.is_empty())?.to_owned(),
        at: Timestamp::from_millisecond(row.get(1)?.parse().ok()?).ok()?,
    })
}

/// Tells the ledger where counters stood that it does not know yet.
pub async fn tell(context: &Context) {
    let mut waiting = Halves::new(context.prober.untold(), MOST_FACTS);
    while let Some(readings) = waiting.take() {
        let batch = CounterBatch { collector: context.collector.clone(), epoch: context.epoch, readings };
        match context.ledger.count(&batch).await {
            Ok(_) => context.prober.told(&batch.readings),
            Err(Ledger::Refused(problem)) if !about_a_row(&problem.code) => {
                tracing::warn!(
                    error = problem.detail,
                    "counters are not taken; the next checkpoint tries again"
                );
                return;
            }
            Err(Ledger::Refused(problem)) => {
                if let Some(reading) = waiting.split(batch.readings) {
                    tracing::warn!(error = problem.detail, "a reading of a counter is left out");
                    context.prober.told(&[reading]);
                }
            }
            Err(Ledger::Unavailable(error)) => {
                tracing::debug!(error, "counters wait for the next checkpoint");
                return;
            }
        }
    }
}

/// Whether a refusal is about one of the rows that were sent, not about who sends them or where to.
pub fn about_a_row(code: &str) -> bool {
    use siyada_model::wire::code::{CONFLICT, INVALID, TENANT_UNKNOWN};
    [CONFLICT, INVALID, TENANT_UNKNOWN].contains(&code)
}

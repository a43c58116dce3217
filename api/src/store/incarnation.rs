//! On which server the ledger lives. A database that was restored to a moment says another server than it runs on: nobody
//! works on it until a person has declared what it is. Then everything of which it may have lost something waits to be
//! seen again, and numbers are given out in a series that nobody can have used.

use super::audit::{self, Act};
use super::timestamp;
use crate::error::Error;
use crate::fail::point;
use jiff::Timestamp;
use serde_json::json;
use siyada_model::wire::code;
use sqlx::{Connection, PgConnection, PgTransaction};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// What a caller is told while nobody has declared what a restored ledger is.
pub const UNDECLARED: &str = "the ledger's database is not the server that it was: it was restored, or another one took over. Nothing is \
     written or read until `siyada-api recover` has declared what was lost";

/// Who acts when a recovery is declared. No token has this subject.
const RECOVERY: &str = "system:recovery";
/// How far ids that people may have noted move on: further than what a lost ledger can have given out.
const IDS_AHEAD: i64 = 1_000_000;

/// On which server this process last found the ledger.
#[derive(Debug, Default)]
pub struct Standing {
    /// Whether another server of the same cluster is taken for the same ledger.
    accept_failover: bool,
    began_ms: AtomicI64,
    undeclared: AtomicBool,
}

impl Standing {
    /// Nothing is known yet.
    pub fn new(accept_failover: bool) -> Self {
        Self { accept_failover, ..Self::default() }
    }

    /// The name of the incarnation; none before the database was asked.
    pub fn incarnation(&self) -> Option<i64> {
        Some(self.began_ms.load(Ordering::Acquire)).filter(|began| *began > 0)
    }

    /// Whether the server that was asked last is one that nobody has declared.
    pub fn is_undeclared(&self) -> bool {
        self.undeclared.load(Ordering::Acquire)
    }
}

/// A server of PostgreSQL, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
struct Server {
    system: String,
    cluster: String,
    timeline: String,
}

#[derive(Clone, Debug, sqlx::FromRow)]
struct Incarnation {
    began_ms: i64,
    #[sqlx(flatten)]
    server: Server,
}

/// What a server is to the ledger that is on it.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The one on record.
    Same,
    /// The first one, or a standby that took over: it is put on record.
    Begins(&'static str),
    /// A person must say what it is.
    Undeclared,
}

fn judge(on_record: Option<&Server>, server: &Server, accept_failover: bool) -> Verdict {
    let Some(last) = on_record else { return Verdict::Begins("first") };
    let one_cluster = (&last.system, &last.cluster) == (&server.system, &server.cluster);
    match (one_cluster, last.timeline == server.timeline) {
        (true, true) => Verdict::Same,
        (true, false) if accept_failover => Verdict::Begins("failover"),
        _ => Verdict::Undeclared,
    }
}

/// Refuses a connection to a server that nobody has declared. A schema of a landing before knows of none.
///
/// # Errors
/// When it is such a server, or does not answer.
pub async fn stand(connection: &mut PgConnection, standing: &Standing) -> Result<(), sqlx::Error> {
    let known: bool = sqlx::query_scalar("select to_regclass('incarnation') is not null")
        .fetch_one(&mut *connection)
        .await?;
    if !known {
        return Ok(());
    }
    let found = look(connection).await?;
    let last = match verdict(&found, standing) {
        Verdict::Same => found.0,
        _ => begin(connection, standing).await?,
    };
    standing.undeclared.store(last.is_none(), Ordering::Release);
    let Some(last) = last else { return Err(sqlx::Error::Configuration(UNDECLARED.into())) };
    standing.began_ms.store(last.began_ms, Ordering::Release);
    Ok(())
}

fn verdict((last, server): &(Option<Incarnation>, Server), standing: &Standing) -> Verdict {
    judge(last.as_ref().map(|last| &last.server), server, standing.accept_failover)
}

/// What is on record, and what is so.
async fn look(connection: &mut PgConnection) -> Result<(Option<Incarnation>, Server), sqlx::Error> {
    let sql = "select began_ms, system, cluster, timeline from incarnation order by began_ms desc limit 1";
    let last = sqlx::query_as(sql).fetch_optional(&mut *connection).await?;
    let server = sqlx::query_as("select * from ledger_server()").fetch_one(connection).await?;
    Ok((last, server))
}

/// Looks again under the lock, and puts on record what may be. Nothing for a server that must be declared.
async fn begin(
    connection: &mut PgConnection,
    standing: &Standing,
) -> Result<Option<Incarnation>, sqlx::Error> {
    let mut tx = connection.begin().await?;
    lock(&mut tx).await?;
    let found = look(&mut tx).await?;
    let began = match verdict(&found, standing) {
        Verdict::Same => found.0,
        Verdict::Undeclared => None,
        Verdict::Begins(kind) => {
            tracing::info!(kind, server = ?found.1, "the ledger is on another server than before, and nothing is lost");
            let began_ms = insert(&mut tx, kind, None, None).await?;
            Some(Incarnation { began_ms, server: found.1 })
        }
    };
    tx.commit().await?;
    Ok(began)
}

async fn lock(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    let sql = "select pg_advisory_xact_lock(hashtextextended('siyada incarnation', 0))";
    sqlx::query(sql).execute(tx).await.map(|_| ())
}

async fn insert(
    tx: &mut PgConnection,
    kind: &str,
    last_known_ms: Option<i64>,
    by: Option<&str>,
) -> Result<i64, sqlx::Error> {
    let sql = "insert into incarnation (began_ms, kind, system, cluster, timeline, last_known_ms, declared_by)
               select greatest(ledger_now_ms(), (select max(began_ms) + 1 from incarnation)), $1, s.system, s.cluster,
                      s.timeline, $2, $3
               from ledger_server() s returning began_ms";
    sqlx::query_scalar(sql).bind(kind).bind(last_known_ms).bind(by).fetch_one(tx).await
}

/// What a person says of a database that is not where it was.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// Who says it.
    pub by: String,
    /// Why it was restored.
    pub reason: String,
    /// It is a whole copy: it was moved, not restored to a moment.
    pub nothing_lost: bool,
    /// It is a copy on the same server and timeline, which nobody can see.
    pub unnoticed: bool,
    /// Numbers that were given out and are lost: they are void, and on record as such.
    pub void: Vec<String>,
}

/// What came of a recovery.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// When, by the database's clock; the name of the incarnation.
    pub began: Timestamp,
    /// The last instant of which anything is on record.
    pub last_known: Timestamp,
    /// Streams of usage that wait to be seen again.
    pub spans: u64,
}

/// Declares what the database is, once: from then on the ledger is served again. Whoever is connected as an api is
/// disconnected, so that each learns it.
///
/// # Errors
/// `conflict` when there is nothing to declare, or a number that is called void is on record.
pub async fn recover(connection: &mut PgConnection, declaration: &Declaration) -> Result<Recovered, Error> {
    let mut tx: PgTransaction<'_> = connection.begin().await?;
    sqlx::query("set local statement_timeout = 0").execute(&mut *tx).await?;
    lock(&mut tx).await?;
    sqlx::query("lock table usage_change, reservation, collector in exclusive mode")
        .execute(&mut *tx)
        .await?;
    let (last, server) = look(&mut tx).await?;
    let on_record = last.as_ref().map(|last| &last.server);
    if !declaration.unnoticed && judge(on_record, &server, false) == Verdict::Same {
        return Err(Error::refuse(
            code::CONFLICT,
            "the ledger is on the server that is on record: there is nothing to declare. Only after a copy of files or volumes \
             that PostgreSQL does not know of, say --unnoticed",
        ));
    }
    not_issued(&mut tx, &declaration.void).await?;
    let last_known_ms = last_known(&mut tx).await?;
    let (kind, known) = match declaration.nothing_lost {
        true => ("moved", None),
        false => ("restored", Some(last_known_ms)),
    };
    let began_ms = insert(&mut tx, kind, known, Some(&declaration.by)).await?;
    point("recover-declared");
    let spans = if declaration.nothing_lost { 0 } else { lose(&mut tx, began_ms).await? };
    point("recover-spans");
    let (began, last_known) = (timestamp(began_ms)?, timestamp(last_known_ms)?);
    let detail = json!({
        "by": declaration.by, "reason": declaration.reason, "kind": kind, "lastKnown": last_known.to_string(),
        "spans": spans, "void": declaration.void
    });
    let object = format!("incarnation/{began_ms}");
    audit::record(
        &mut tx,
        Act { actor: RECOVERY, action: "ledger.recover", tenant_id: None, object, detail },
    )
    .await?;
    point("recover-before-commit");
    tx.commit().await?;
    point("recover-after-commit");
    let sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity
               where application_name = 'siyada-api' and datname = current_database() and pid <> pg_backend_pid()";
    sqlx::query(sql).execute(connection).await?;
    Ok(Recovered { began, last_known, spans })
}

/// Refuses to call a number void that is on record.
async fn not_issued(tx: &mut PgConnection, void: &[String]) -> Result<(), Error> {
    let sql = "select min(number) from statement where number = any($1)";
    let there: Option<String> = sqlx::query_scalar(sql).bind(void).fetch_one(tx).await?;
    match there {
        None => Ok(()),
        Some(number) => Err(Error::refuse(
            code::CONFLICT,
            format!("{number} is on record: it is not lost, and is not void"),
        )),
    }
}

/// The last instant of which anything is on record.
async fn last_known(tx: &mut PgConnection) -> Result<i64, Error> {
    let sql = "select greatest((select max(last_seen_ms) from collector), (select max(recorded_ms) from usage_change),
                   (select max(last_seen_ms) from orders), (select max(at_ms) from audit_event),
                   (select max(recorded_ms) from ledger_transaction), 0)";
    Ok(sqlx::query_scalar(sql).fetch_one(tx).await?)
}

/// Ends every stream where it was proven last, and waits for each, and for those that were stopped of orders that are held,
/// to be seen again. Ids move on, and watermarks: what is not proven is on record by itself from now on.
async fn lose(tx: &mut PgConnection, began_ms: i64) -> Result<u64, Error> {
    let sql = "with latest as (
                   select distinct on (c.order_uid, c.meter) c.* from usage_change c
                   order by c.order_uid, c.meter, c.at_ms desc
               )
               insert into lost_span (order_uid, meter, since_ms, sku, quantity, collector, began_ms)
               select l.order_uid, l.meter, greatest(l.at_ms + 1, l.recorded_ms, o.last_seen_ms), l.sku, l.quantity,
                      l.collector, $1
               from latest l join orders o on o.uid = l.order_uid
               where l.sku is not null or exists (select from reservation r where r.order_uid = l.order_uid)
               on conflict on constraint lost_span_key do nothing";
    let spans = sqlx::query(sql).bind(began_ms).execute(&mut *tx).await?.rows_affected();
    let sql = "insert into usage_change (order_uid, meter, at_ms, sku, quantity, reason, collector, epoch, recorded_ms)
               select s.order_uid, s.meter, s.since_ms, null, null, 'Restored', s.collector,
                      coalesce((select k.epoch from collector k where k.id = s.collector), 0), $1
               from lost_span s where s.began_ms = $1 and s.sku is not null order by 1, 2";
    sqlx::query(sql).bind(began_ms).execute(&mut *tx).await?;
    let sql = "update collector set watermark_ms = greatest(watermark_ms, $1), ran_ms = 0 where watermark_ms is not null";
    sqlx::query(sql).bind(began_ms).execute(&mut *tx).await?;
    let sql = "select setval(pg_get_serial_sequence(t.name, 'id'), nextval(pg_get_serial_sequence(t.name, 'id')) + $1)
               from unnest(array['alert', 'meter_gap', 'approval_decision']) as t (name)";
    sqlx::query(sql).bind(IDS_AHEAD).execute(&mut *tx).await?;
    Ok(spans)
}

/// When the ledger was last restored, and the last instant that it knew of then.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn restored(connection: &mut PgConnection) -> Result<Option<(Timestamp, Timestamp)>, Error> {
    let sql = "select began_ms, last_known_ms from incarnation where kind = 'restored'
               order by began_ms desc limit 1";
    let row: Option<(i64, i64)> = sqlx::query_as(sql).fetch_optional(connection).await?;
    row.map(|(began, known)| Ok((timestamp(began)?, timestamp(known)?))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_standby_of_the_same_cluster_may_take_over_and_only_where_that_is_accepted() {
        let server = |system: &str, cluster: &str, timeline: &str| Server {
            system: system.to_owned(),
            cluster: cluster.to_owned(),
            timeline: timeline.to_owned(),
        };
        let last = server("7", "siyada-ledger", "00000001");
        assert_eq!(judge(None, &last, false), Verdict::Begins("first"));
        for (now, accepted, expect) in [
            (last.clone(), false, Verdict::Same),
            (server("7", "siyada-ledger", "00000002"), true, Verdict::Begins("failover")),
            (server("7", "siyada-ledger", "00000002"), false, Verdict::Undeclared),
            (server("7", "siyada-ledger-2", "00000002"), true, Verdict::Undeclared),
            (server("7", "siyada-ledger-2", "00000001"), true, Verdict::Undeclared),
            (server("8", "siyada-ledger", "00000001"), true, Verdict::Undeclared),
        ] {
            assert_eq!(judge(Some(&last), &now, accepted), expect, "{now:?} {accepted}");
        }
    }
}

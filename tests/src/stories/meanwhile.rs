//! People who work while the platform is changed under them.

use super::HOME;
use super::upgrade::{DEEDS, LETTERS, ORDERS, policies};
use crate::clients::{self, Binding};
use crate::kubectl::Kubectl;
use anyhow::{Context as _, Result, bail, ensure};
use mongodb::bson::{Document, doc};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between two tries of a client.
const PAUSE: Duration = Duration::from_millis(200);
/// A client that waits longer for one answer was failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// A new operator takes over and logs in for the first time, in seconds; this is the bound that holds on any machine.
const LONGEST_UNREADY: Duration = Duration::from_secs(60);

/// When it was said, and whether it was Ready.
type Turn = (Instant, bool);

/// A writer that keeps its connection, one that logs in again each time, one that files documents, and one that tries
/// what is forbidden.
pub(super) struct Clients {
    binding: Binding,
    rows: tokio_postgres::Client,
    documents: mongodb::Collection<Document>,
    written: Mutex<BTreeSet<i64>>,
    filed: Mutex<BTreeSet<i64>>,
    turns: [Mutex<Vec<Turn>>; 2],
}

impl Clients {
    pub(super) async fn log_in(ministry: &Kubectl) -> Result<Self> {
        let binding = Binding::read(ministry, HOME, DEEDS.2).await?;
        let rows = clients::postgres(&binding).await?;
        rows.batch_execute("create table deeds (id bigint primary key)").await?;
        let letters = Binding::read(ministry, HOME, LETTERS.2).await?;
        let documents = clients::documents(&letters).await?.database(&letters.database).collection("letters");
        Ok(Self {
            binding,
            rows,
            documents,
            written: Mutex::default(),
            filed: Mutex::default(),
            turns: Default::default(),
        })
    }

    /// Works as long as `moves` does; the first failure of anybody ends both. Fails too when a row is lost or an order
    /// was not Ready for long.
    pub(super) async fn work_during(
        self,
        ministry: &Kubectl,
        moves: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let work = async {
            tokio::try_join!(
                self.write_rows(),
                self.log_in_again(),
                self.file_documents(),
                try_to_delete(ministry),
                self.watch(ministry, 0),
                self.watch(ministry, 1),
            )
        };
        let started = Instant::now();
        tokio::select! {
            moved = moves => moved?,
            failed = work => match failed {
                Ok((never, ..)) => match never {},
                Err(error) => return Err(error.context("somebody was disturbed")),
            },
        }
        self.nothing_lost(started).await
    }

    async fn nothing_lost(&self, started: Instant) -> Result<()> {
        let took = started.elapsed().as_secs();
        let (rows, documents) =
            (clients::ids(&self.rows, "deeds").await?, clients::numbers(&self.documents).await?);
        clients::nothing_lost(&lock(&self.written), &rows).context("rows")?;
        clients::nothing_lost(&lock(&self.filed), &documents).context("documents")?;
        let unready = self.turns.each_ref().map(|turns| longest_unready(&lock(turns), Instant::now()));
        println!(
            "        to this landing, back and forth in {took} s: {} rows and {} documents written, not Ready for at \
             most {:.1} s and {:.1} s",
            lock(&self.written).len(),
            lock(&self.filed).len(),
            unready[0].as_secs_f64(),
            unready[1].as_secs_f64()
        );
        for (longest, (kind, name, _)) in unready.into_iter().zip(ORDERS) {
            ensure!(
                longest <= LONGEST_UNREADY,
                "{kind} {name} was not Ready for {} s",
                longest.as_secs_f64()
            );
        }
        Ok(())
    }

    /// One connection that is never renewed.
    async fn write_rows(&self) -> Result<Infallible> {
        let mut id = 1_i64;
        loop {
            answered("a row", self.rows.execute("insert into deeds values ($1)", &[&id])).await?;
            lock(&self.written).insert(id);
            id += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A new connection each time.
    async fn log_in_again(&self) -> Result<Infallible> {
        loop {
            let client = answered("a login", clients::postgres(&self.binding)).await?;
            answered("a question", client.simple_query("select 1")).await?;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn file_documents(&self) -> Result<Infallible> {
        let mut id = 1_i64;
        loop {
            answered("a document", self.documents.insert_one(doc! {"_id": id, "pages": 1})).await?;
            lock(&self.filed).insert(id);
            id += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn watch(&self, ministry: &Kubectl, order: usize) -> Result<Infallible> {
        let (kind, name, _) = ORDERS[order];
        let shown = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}{"\n"}"#;
        let watch = ["-n", HOME, "get", kind, name, "--watch", "-o", shown];
        let turns = &self.turns[order];
        ministry.follow(&watch, |line| lock(turns).push((Instant::now(), line.trim() == "True"))).await
    }
}

/// What somebody got within a patient time.
async fn answered<T, E>(what: &str, asked: impl IntoFuture<Output = Result<T, E>>) -> Result<T>
where
    E: Into<anyhow::Error>,
{
    match tokio::time::timeout(PATIENCE, asked.into_future()).await {
        Ok(answer) => answer.map_err(Into::into).with_context(|| format!("{what} failed")),
        Err(_) => bail!("{what} had no answer for {} s", PATIENCE.as_secs()),
    }
}

/// At no moment may the protection be away. The API server only says what it would do.
async fn try_to_delete(who: &Kubectl) -> Result<Infallible> {
    let (kind, name, _) = DEEDS;
    let all = policies().await?;
    loop {
        let said = who.try_with(&["-n", HOME, "delete", kind, name, "--dry-run=server"], "").await?;
        ensure!(
            !said.ok && said.err.contains("is protected"),
            "deletion was not refused: {}{}",
            said.out,
            said.err
        );
        let now = policies().await?;
        ensure!(all.is_subset(&now), "policies were away: {:?}", all.difference(&now).collect::<Vec<_>>());
        tokio::time::sleep(PAUSE * 4).await;
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The longest time without Ready; what was said last holds until `end`.
fn longest_unready(turns: &[Turn], end: Instant) -> Duration {
    let (mut longest, mut since) = (Duration::ZERO, None);
    for (at, ready) in turns {
        if *ready {
            longest = longest.max(since.take().map_or(Duration::ZERO, |began| *at - began));
        } else {
            since.get_or_insert(*at);
        }
    }
    longest.max(since.map_or(Duration::ZERO, |began| end - began))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::seconds;

    #[test]
    fn the_longest_time_without_ready_is_found() {
        let start = Instant::now();
        let check = |turns: &[(u64, bool)], expect: u64| {
            let turns: Vec<Turn> = turns.iter().map(|(at, ready)| (start + seconds(*at), *ready)).collect();
            assert_eq!(longest_unready(&turns, start + seconds(100)), seconds(expect), "{turns:?}");
        };
        check(&[], 0);
        check(&[(0, true), (50, true)], 0);
        check(&[(0, true), (10, false), (12, false), (15, true), (20, false), (22, true)], 5);
        check(&[(0, true), (90, false)], 10);
    }
}

//! Group commit: reservations and releases that arrive while others are being decided are decided together.
//!
//! The first call runs at once. Those that come meanwhile form the next batch: one transaction, decided in order, each
//! with an answer of its own. The database's rule is the same for a batch as for one.

use crate::error::Error;
use crate::store::batch::{self, Answer, Call, Done};
use crate::store::freeable;
use siyada_model::id::OrderUid;
use siyada_model::wire::{Reservation, ReservationRequest};
use sqlx::PgPool;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Batches in the making at once. An order is always of the same lane. A second one prepares what the first one still
/// commits; more would only wait for the same rows.
const LANES: usize = 2;
/// Most calls of one transaction: its locks last some milliseconds.
pub const MOST_AT_ONCE: usize = 256;
/// Most calls that wait in a lane; who comes then waits for his place.
const MOST_WAITING: usize = 1_024;
/// Calls run one by one, at once, after their batch failed.
const ALONE_AT_ONCE: usize = 8;

struct Waiting {
    call: Call,
    answer: oneshot::Sender<Answer>,
}

/// Where calls are collected; cheap to clone. Its tasks end with the last clone.
#[derive(Clone)]
pub struct Group {
    lanes: Vec<mpsc::Sender<Waiting>>,
}

impl Group {
    /// A group over this database. To be called inside of a runtime.
    pub fn new(pool: &PgPool) -> Self {
        let lane = |_| {
            let (sender, queue) = mpsc::channel(MOST_WAITING);
            tokio::spawn(lane(pool.clone(), queue));
            sender
        };
        Self { lanes: (0..LANES).map(lane).collect() }
    }

    /// As [`crate::store::reservations::hold`].
    ///
    /// # Errors
    /// The same.
    pub async fn hold(&self, uid: OrderUid, request: ReservationRequest) -> Result<Reservation, Error> {
        match self.call(Call::Hold(uid, Box::new(request))).await? {
            Done::Held(held) => Ok(*held),
            Done::Released => Err(Error::Fault("a reservation was answered as a release".to_owned())),
        }
    }

    /// As [`crate::store::reservations::release`].
    ///
    /// # Errors
    /// The same.
    pub async fn release(&self, uid: OrderUid) -> Result<(), Error> {
        self.call(Call::Release(uid)).await.map(|_| ())
    }

    async fn call(&self, call: Call) -> Answer {
        let stopped = || Error::unavailable("the ledger is stopping; try again");
        let mut hasher = DefaultHasher::new();
        call.uid().hash(&mut hasher);
        let count = u64::try_from(self.lanes.len()).unwrap_or(1).max(1);
        let index = usize::try_from(hasher.finish() % count).unwrap_or(0);
        let (answer, answered) = oneshot::channel();
        let lane = self.lanes.get(index).ok_or_else(stopped)?;
        lane.send(Waiting { call, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

async fn lane(pool: PgPool, mut queue: mpsc::Receiver<Waiting>) {
    let mut left = VecDeque::new();
    loop {
        let first = match left.pop_front() {
            Some(first) => first,
            None => match queue.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let mut next: VecDeque<Waiting> = VecDeque::from([first]);
        next.append(&mut left);
        while next.len() < MOST_AT_ONCE {
            match queue.try_recv() {
                Ok(waiting) => next.push_back(waiting),
                Err(_) => break,
            }
        }
        let turn;
        (turn, left) = split(next);
        if !turn.is_empty() {
            answer_all(&pool, turn).await;
        }
    }
}

/// The calls of one turn, each of another order, in their order; what comes twice is left for the next turn, so that
/// the second call of an order finds what the first one left. Who waits no longer is not served.
fn split(waiting: VecDeque<Waiting>) -> (Vec<Waiting>, VecDeque<Waiting>) {
    let (mut turn, mut left, mut taken) = (Vec::new(), VecDeque::new(), BTreeSet::new());
    for waiting in waiting {
        if waiting.answer.is_closed() {
            continue;
        }
        if turn.len() < MOST_AT_ONCE && taken.insert(waiting.call.uid().clone()) {
            turn.push(waiting);
        } else {
            taken.insert(waiting.call.uid().clone());
            left.push_back(waiting);
        }
    }
    (turn, left)
}

async fn answer_all(pool: &PgPool, turn: Vec<Waiting>) {
    let (calls, senders): (Vec<Call>, Vec<_>) = turn.into_iter().map(|w| (w.call, w.answer)).unzip();
    let calls = Arc::new(calls);
    let task = tokio::spawn({
        let (pool, calls) = (pool.clone(), calls.clone());
        async move { run(&pool, &calls).await }
    });
    let answers = match task.await {
        Ok(Ok(answers)) => answers,
        Ok(Err(cause)) => after_failure(pool, &calls, cause).await,
        Err(panic) => {
            tracing::error!(cause = %panic, "failed to decide a batch");
            calls.iter().map(|_| Err(Error::Fault("a batch ended without an answer".to_owned()))).collect()
        }
    };
    // Naming what could be freed takes no lock; the next batch does not wait for it.
    let pool = pool.clone();
    tokio::spawn(async move {
        let mut answers = answers;
        freeable::name(&pool, &calls, &mut answers).await;
        for (sender, answer) in senders.into_iter().zip(answers) {
            // Who waits no longer asks again.
            let _ = sender.send(answer);
        }
    });
}

/// One batch. Callers wait longer than the pool does for a connection, so that once is not enough to send all away.
async fn run(pool: &PgPool, calls: &[Call]) -> Result<Vec<Answer>, Error> {
    match batch::run(pool, calls).await {
        Err(Error::Database(sqlx::Error::PoolTimedOut)) => batch::run(pool, calls).await,
        done => done,
    }
}

/// What each caller is told after his batch failed as a whole.
async fn after_failure(pool: &PgPool, calls: &Arc<Vec<Call>>, cause: Error) -> Vec<Answer> {
    if calls.len() == 1 {
        return vec![Err(cause)];
    }
    tracing::warn!(?cause, "failed to decide {} calls together; deciding each alone", calls.len());
    if matches!(
        cause,
        Error::Database(
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed
        )
    ) {
        let away = || Err(Error::unavailable("the database does not answer now; try again"));
        return calls.iter().map(|_| away()).collect();
    }
    let mut answers: Vec<Answer> =
        calls.iter().map(|_| Err(Error::Fault("a call ended without an answer".to_owned()))).collect();
    let (mut running, mut next) = (JoinSet::new(), 0..calls.len());
    loop {
        while running.len() < ALONE_AT_ONCE
            && let Some(index) = next.next()
        {
            let (pool, calls) = (pool.clone(), calls.clone());
            running.spawn(async move { (index, batch::run(&pool, &calls[index..=index]).await) });
        }
        let Some(done) = running.join_next().await else { return answers };
        if let Ok((index, done)) = done
            && let Some(answer) = answers.get_mut(index)
        {
            let missing = || Err(Error::Fault("a call was not answered".to_owned()));
            *answer = done.and_then(|mut one| one.pop().unwrap_or_else(missing));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(uid: &str) -> (Waiting, oneshot::Receiver<Answer>) {
        let (answer, receiver) = oneshot::channel();
        (Waiting { call: Call::Release(uid.parse().unwrap()), answer }, receiver)
    }

    #[test]
    fn a_turn_has_each_order_once_and_keeps_the_order_of_its_calls() {
        let (all, mut receivers): (VecDeque<_>, Vec<_>) =
            ["a", "b", "a", "c", "a", "b"].into_iter().map(waiting).unzip();
        // The first call of b gave up.
        drop(receivers.remove(1));
        let uids = |of: Vec<&Waiting>| of.iter().map(|w| w.call.uid().to_string()).collect::<Vec<_>>();
        let (turn, left) = split(all);
        assert_eq!(uids(turn.iter().collect()), ["a", "c", "b"]);
        assert_eq!(uids(left.iter().collect()), ["a", "a"]);
        let (turn, left) = split(left);
        assert_eq!((turn.len(), left.len()), (1, 1));
    }
}

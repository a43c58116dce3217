//! What happens in a storm, turn by turn: calls are under way, something dies, and what was not answered is sent again.

use crate::crash::{Address, Program, calls, keys};
use crate::random::Dice;
use crate::storm::plan::{COLLECTORS, Plan, Told};
use crate::storm::world::{self, Server};
use crate::support::{OPERATOR, World, account, until};
use futures::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use siyada_api::fail::{CLOSING, CREDIT, POINTS, USAGE};
use siyada_api::store;
use siyada_model::wire::{Closing, Problem, UsageAccepted, code};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The longest that a kill at random lets calls go on.
const MOST_MS: u64 = 60;

/// What dies.
#[derive(Clone, Copy, Debug)]
enum Kill {
    /// The api, by itself, when it passes this point.
    Point(&'static str),
    /// The api.
    Api,
    /// PostgreSQL.
    Server,
    /// A process of PostgreSQL that serves a connection.
    Backend,
}

/// A call of an operator.
#[derive(Clone, Debug)]
enum Deed {
    /// Facts; those that were not acknowledged before are owed.
    Batch { epoch: i64, told: Vec<Told>, owed: bool },
    /// A round that saw everything.
    Round { collector: usize, epoch: i64 },
    /// What an operator that was replaced says, which is not so.
    False { epoch: i64, told: Told },
}

type Answer = Option<(u16, Vec<u8>)>;

impl Deed {
    fn request(&self) -> (&'static str, Value) {
        let batch = |collector: usize, epoch: i64, facts: Vec<&Value>| {
            ("/v1/usage", json!({"collector": COLLECTORS[collector], "epoch": epoch, "facts": facts}))
        };
        match self {
            Self::Batch { epoch, told, .. } => {
                batch(told[0].collector, *epoch, told.iter().map(|t| &t.fact).collect())
            }
            Self::False { epoch, told } => batch(told.collector, *epoch, vec![&told.fact]),
            Self::Round { collector, epoch } => {
                let round = json!({"collector": COLLECTORS[*collector], "epoch": epoch, "seen": [], "complete": true});
                ("/v1/usage/checkpoints", round)
            }
        }
    }

    async fn send(&self, program: &Address) -> Answer {
        let (path, body) = self.request();
        program.ask(OPERATOR, "POST", path, Some(&body)).await.ok()
    }
}

pub struct Storm<'a> {
    plan: &'a Plan,
    dice: Dice,
    pub server: Server,
    database: PgConnectOptions,
    pub world: World,
    keys: String,
    program: Option<Program>,
    /// The epoch of the operator that leads now, and the highest that was acknowledged, of each collector.
    epochs: [i64; 2],
    acknowledged: [i64; 2],
    /// What must be told still, and what was acknowledged.
    owed: Vec<Vec<Told>>,
    told: Vec<Told>,
    /// Every fact that may be on record.
    known: BTreeSet<String>,
    kills: Vec<Kill>,
    turns: usize,
    pub counts: BTreeMap<String, u64>,
}

/// A fact as a text: what it is about, when, and the level.
fn shown(order: &str, meter: &str, at_ms: i64, sku: Option<&str>, quantity: Option<i64>) -> String {
    format!("{order} {meter} {at_ms} {} {}", sku.unwrap_or("stopped"), quantity.unwrap_or(0))
}

fn shown_fact(fact: &Value) -> String {
    let at: jiff::Timestamp = fact["at"].as_str().unwrap().parse().unwrap();
    let (order, meter) = (fact["orderUid"].as_str().unwrap(), fact["meter"].as_str().unwrap());
    let level = &fact["level"];
    shown(order, meter, at.as_millisecond(), level["sku"].as_str(), level["quantity"].as_i64())
}

/// Ends a process as `kill -9` does, and says whether it was there still.
fn kill(pid: u32) -> bool {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).is_ok()
}

impl<'a> Storm<'a> {
    pub async fn begin(seed: u64, plan: &'a Plan) -> Self {
        let server = Server::start().await;
        let database = server.database();
        let world = world::world(store::pool(database.clone())).await;
        let known = world.facts_on_record().await.into_iter().map(|row| row.0).collect();
        Self {
            plan,
            dice: Dice(seed.rotate_left(17) | 1),
            server,
            database,
            world,
            keys: keys().await,
            program: None,
            epochs: [1, 1],
            acknowledged: [1, 1],
            owed: vec![],
            told: vec![],
            known,
            kills: vec![],
            turns: 0,
            counts: BTreeMap::new(),
        }
    }

    fn below(&mut self, sides: usize) -> usize {
        usize::try_from(self.dice.below(u64::try_from(sides).unwrap())).unwrap()
    }

    pub fn count(&mut self, what: &str, more: usize) {
        *self.counts.entry(what.to_owned()).or_default() += u64::try_from(more).unwrap();
    }

    fn count_kill(&mut self, kill: Kill) {
        self.count("kills", 1);
        match kill {
            Kill::Point(point) => self.count(&format!("kills of the api at {point}"), 1),
            Kill::Api => self.count("kills of the api at random", 1),
            Kill::Server => self.count("kills of PostgreSQL", 1),
            Kill::Backend => self.count("kills of a process of PostgreSQL", 1),
        }
    }

    /// What dies next: each once before any dies again, in an order that is drawn.
    fn next_kill(&mut self) -> Kill {
        if self.kills.is_empty() {
            let points = USAGE.iter().chain(USAGE).chain(POINTS).map(|point| Kill::Point(point));
            let random = [Kill::Api, Kill::Api, Kill::Api, Kill::Server, Kill::Backend];
            self.kills = points.chain(random).chain(random).collect();
            for last in (1..self.kills.len()).rev() {
                let other = self.below(last + 1);
                self.kills.swap(last, other);
            }
        }
        self.kills.pop().unwrap()
    }

    /// The program that runs, or a new one; with a point it is a new one that dies there.
    async fn program(&mut self, fail_at: &str) -> Program {
        match self.program.take().filter(|_| fail_at.is_empty()) {
            Some(program) => program,
            None => Program::start(&self.database, &self.keys, fail_at).await,
        }
    }

    /// Facts that were acknowledged, once more: of several batches, in another order.
    fn again(&mut self) -> Option<Deed> {
        let count = self.told.len().max(1);
        let mut told = vec![{
            let which = self.below(count);
            self.told.get(which).cloned()?
        }];
        for _ in 0..self.below(4) {
            let which = self.below(count);
            told.extend(self.told.get(which).filter(|t| t.collector == told[0].collector).cloned());
        }
        Some(Deed::Batch { epoch: self.epochs[told[0].collector], told, owed: false })
    }

    /// What an operator says that was replaced, if there is one.
    fn false_fact(&mut self, collector: usize) -> Option<Deed> {
        let plan = self.plan;
        let all: Vec<&Told> = plan.false_facts.iter().filter(|t| t.collector == collector).collect();
        let told = all[self.below(all.len())].clone();
        let epoch = self.acknowledged[collector] - 1;
        (epoch > 0).then_some(Deed::False { epoch, told })
    }

    /// The calls of a turn. With `calm`, everybody has the epoch that is in force, so that each call passes all points.
    fn deeds(&mut self, turns_left: usize, calm: bool) -> Vec<Deed> {
        let before = self.epochs;
        if !calm && self.below(3) == 0 {
            let collector = self.below(COLLECTORS.len());
            self.epochs[collector] += 1;
            self.count("operators replaced", 1);
        }
        let mut deeds = Vec::new();
        for _ in 0..self.owed.len().div_ceil(turns_left) {
            let which = self.below(self.owed.len());
            let mut told = self.owed.swap_remove(which);
            if self.below(2) == 0 {
                told.reverse();
            }
            let collector = told[0].collector;
            let epoch = [self.epochs, before][self.below(2)][collector];
            deeds.push(Deed::Batch { epoch, told, owed: true });
        }
        for _ in 0..3 {
            deeds.extend(self.again());
        }
        for collector in 0..COLLECTORS.len() {
            deeds.push(Deed::Round { collector, epoch: self.epochs[collector] });
            if self.below(2) == 0 {
                deeds.extend(self.false_fact(collector));
            }
        }
        deeds
    }

    /// What became of the calls: what was acknowledged must stand, what was not is owed still.
    fn settle(&mut self, deeds: Vec<Deed>, answers: Vec<Answer>) {
        for (deed, answer) in deeds.into_iter().zip(answers) {
            let answer = answer.filter(|(status, _)| *status < 500);
            let refused = |body: &[u8]| serde_json::from_slice::<Problem>(body).unwrap().code;
            match (deed, answer) {
                (Deed::Batch { told, owed, epoch }, Some((200, body))) => {
                    let accepted: UsageAccepted = serde_json::from_slice(&body).unwrap();
                    assert_eq!(accepted.recorded + accepted.known, u64::try_from(told.len()).unwrap());
                    assert!(
                        owed || accepted.recorded == 0,
                        "{told:?} was acknowledged, and is recorded anew"
                    );
                    self.count(if owed { "batches acknowledged" } else { "batches sent again" }, 1);
                    if owed && accepted.known > 0 {
                        self.count("batches that were stored without an answer", 1);
                    }
                    let collector = told[0].collector;
                    self.acknowledged[collector] = self.acknowledged[collector].max(epoch);
                    self.told.extend(told.into_iter().filter(|_| owed));
                }
                (Deed::Round { collector, epoch }, Some((200, _))) => {
                    self.acknowledged[collector] = self.acknowledged[collector].max(epoch);
                }
                (Deed::Batch { told, owed, epoch }, Some((409, body))) => {
                    assert_eq!(refused(&body), code::FENCED);
                    assert!(epoch < self.epochs[told[0].collector], "the operator that leads is fenced out");
                    self.count("batches of an operator that was just replaced, refused", 1);
                    self.owed.extend(owed.then_some(told));
                }
                (Deed::False { .. }, Some((409, body))) => {
                    assert_eq!(refused(&body), code::FENCED);
                    self.count("false facts of an operator that was replaced, refused", 1);
                }
                (Deed::Batch { told, owed, .. }, None) => {
                    self.count("batches without an answer", 1);
                    self.owed.extend(owed.then_some(told));
                }
                (_, None) => {}
                (deed, Some((status, body))) => {
                    panic!("{deed:?}: {status} {}", String::from_utf8_lossy(&body));
                }
            }
        }
    }

    /// A process of PostgreSQL that serves a connection, whosever it is.
    async fn backend(&mut self) -> u32 {
        let sql =
            "select pid from pg_stat_activity where backend_type = 'client backend' order by backend_start";
        let all: Vec<i32> = sqlx::query_scalar(sql).fetch_all(&self.world.pool).await.unwrap();
        u32::try_from(all[self.below(all.len())]).unwrap()
    }

    /// A connection that does nothing, and the process that serves it.
    async fn witness(&self) -> (PgConnection, i32) {
        let mut connection = self.database.connect().await.unwrap();
        let process = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
        (connection, process)
    }

    /// Lets something die while `calls` are under way; answers what became of them.
    async fn strike<T>(&mut self, what: Kill, program: &mut Program, calls: impl Future<Output = T>) -> T {
        let wait = Duration::from_millis(self.dice.below(MOST_MS));
        let victim = match what {
            Kill::Point(_) => None,
            Kill::Api => Some(program.id()),
            Kill::Server => Some(self.server.pid().unwrap()),
            Kill::Backend => Some(self.backend().await),
        };
        let witness = self.witness().await;
        let blow = async {
            let Some(victim) = victim else { return false };
            tokio::time::sleep(wait).await;
            kill(victim)
        };
        let (answers, hit) = tokio::join!(calls, blow);
        match what {
            Kill::Point(_) | Kill::Api => program.dead().await,
            // PostgreSQL cuts off everybody when one of its processes dies, but a moment later: until then it answers.
            Kill::Server | Kill::Backend if hit => {
                let process = format!("/proc/{}/exe", witness.1);
                let there = || std::fs::read_link(&process).is_ok();
                until("PostgreSQL has cut off everybody", 60, async || !there()).await;
            }
            Kill::Server | Kill::Backend => {}
        }
        drop(witness);
        // What was open is undone by the database, which may have to start again first.
        let pool = &self.world.pool;
        until("the database answers", 60, async || sqlx::query("select 1").execute(pool).await.is_ok()).await;
        self.count_kill(what);
        self.turns += 1;
        answers
    }

    /// After a strike the same program goes on, if it lives.
    async fn keep(&mut self, program: Program, what: Kill) {
        if matches!(what, Kill::Server | Kill::Backend) {
            until("the api has found its database again", 30, async || {
                program.ask(OPERATOR, "GET", "/readyz", None).await.is_ok_and(|(status, _)| status == 200)
            })
            .await;
            self.program = Some(program);
        }
    }

    async fn turn(&mut self, what: Kill, turns_left: usize) {
        let point = if let Kill::Point(point) = what { point } else { "" };
        let deeds = self.deeds(turns_left, USAGE.contains(&point));
        let reserves = POINTS.contains(&point);
        let passes = if reserves || self.told.is_empty() { 1 } else { 1 + self.below(2) };
        let fail_at = if point.is_empty() { String::new() } else { format!("{point}:{passes}") };
        let mut cases = if reserves { calls(point) } else { vec![] };
        let case = if cases.is_empty() { None } else { Some(cases.swap_remove(self.below(cases.len()))) };
        let path = format!("/v1/reservations/k-{}", self.turns);
        for (_, request) in case.iter().flat_map(|case| &case.0) {
            self.world.operator().put(&path, request).await.ok::<Value>();
        }
        let mut program = self.program(&fail_at).await;
        let answers = {
            let base = program.address();
            let sent = deeds.clone();
            let case = case.clone();
            let path = path.clone();
            let all = async move {
                let call = async {
                    match &case {
                        Some((_, method, body, _)) => {
                            base.ask(OPERATOR, method, &path, body.as_ref()).await.ok()
                        }
                        None => None,
                    }
                };
                tokio::join!(join_all(sent.iter().map(|deed| deed.send(&base))), call)
            };
            self.strike(what, &mut program, all).await
        };
        assert!(answers.1.is_none(), "{point} was not passed: {:?}", answers.1);
        self.keep(program, what).await;
        self.settle(deeds, answers.0);
        if let Some((_, method, body, status)) = case {
            let program = self.program("").await;
            for _ in 0..2 {
                let answer = program.ask(OPERATOR, method, &path, body.as_ref()).await.unwrap();
                assert_eq!(answer.0, status, "{point} {method}");
            }
            assert_eq!(program.ask(OPERATOR, "DELETE", &path, None).await.unwrap().0, 204);
            self.program = Some(program);
        }
        self.nothing_is_lost_or_doubled().await;
    }

    /// Everything that is owed is told, and every collector has seen everything.
    async fn calm(&mut self) {
        let program = self.program("").await;
        let address = program.address();
        for _ in 0..10 {
            let mut deeds: Vec<Deed> = std::mem::take(&mut self.owed)
                .into_iter()
                .map(|told| Deed::Batch { epoch: self.epochs[told[0].collector], told, owed: true })
                .collect();
            deeds.extend((0..2).map(|collector| Deed::Round { collector, epoch: self.epochs[collector] }));
            let answers = join_all(deeds.iter().map(|deed| deed.send(&address))).await;
            self.settle(deeds, answers);
            if self.owed.is_empty() && self.acknowledged == self.epochs {
                let deeds: Vec<Deed> = (0..2).filter_map(|collector| self.false_fact(collector)).collect();
                let answers = join_all(deeds.iter().map(|deed| deed.send(&address))).await;
                assert!(answers.iter().all(Option::is_some), "nothing dies, and somebody has no answer");
                self.settle(deeds, answers);
                self.program = Some(program);
                return;
            }
        }
        panic!("{} batches are not acknowledged although nothing dies", self.owed.len());
    }

    /// A month: facts come while things die, then it closes while things die, then a document is taken back.
    pub async fn month(&mut self, number: usize, kills: usize) {
        let plan = self.plan;
        let month = &plan.months[number];
        self.owed.clone_from(&month.batches);
        self.known.extend(month.batches.iter().flatten().map(|told| shown_fact(&told.fact)));
        // Each month another operator takes over, whatever else is drawn.
        self.epochs[number % COLLECTORS.len()] += 1;
        self.count("operators replaced", 1);
        let at_the_end = CLOSING.len() + 2 + CREDIT.len();
        let turns = kills.checked_sub(at_the_end).expect("a month has a kill for each point of its closing");
        for left in (1..=turns).rev() {
            let kill = self.next_kill();
            self.turn(kill, left).await;
        }
        self.calm().await;
        self.closing(&month.label).await;
        self.credit(&month.label, number).await;
        self.nothing_is_lost_or_doubled().await;
        crate::closing::documents(&self.world).await;
    }

    async fn is_closed(&self, label: &str) -> bool {
        let sql = "select closed_ms is not null from period where month = $1";
        sqlx::query_scalar(sql).bind(label).fetch_optional(&self.world.pool).await.unwrap().unwrap_or(false)
    }

    async fn closing(&mut self, label: &str) {
        let (path, subject) = (format!("/v1/periods/{label}/closing"), account("finance"));
        let (last, first) = CLOSING.split_last().unwrap();
        let points = first.iter().map(|point| Kill::Point(point));
        for what in points.chain([Kill::Api, Kill::Server, Kill::Point(last)]) {
            // One that meets the closing after its end closes it, and nothing passes a point any more.
            let closed = self.is_closed(label).await;
            let what = if closed { Kill::Api } else { what };
            let fail_at = if let Kill::Point(point) = what { point } else { "" };
            let deeds: Vec<Deed> = (0..3).filter_map(|_| self.again()).collect();
            let mut program = self.program(fail_at).await;
            let (base, sent, subject, path) =
                (program.address(), deeds.clone(), subject.clone(), path.clone());
            let all = async move {
                let close = async { base.ask(&subject, "POST", &path, None).await.ok() };
                tokio::join!(join_all(sent.iter().map(|deed| deed.send(&base))), close)
            };
            let (answers, answer) = self.strike(what, &mut program, all).await;
            assert!(fail_at.is_empty() || answer.is_none(), "{fail_at} was not passed: {answer:?}");
            self.keep(program, what).await;
            self.settle(deeds, answers);
            let sql = "select count(*) from statement where kind = 'statement' and month = $1";
            let count: i64 = sqlx::query_scalar(sql).bind(label).fetch_one(&self.world.pool).await.unwrap();
            assert_eq!(count > 0, self.is_closed(label).await, "{label} is closed by half");
            if let Some((status, body)) = answer.filter(|(status, _)| *status < 500) {
                let closing: Closing = serde_json::from_slice(&body).unwrap();
                assert!(status == 200 && closing.closed, "{closing:?}");
                assert!(count > 0, "{label} was said to be closed, and is not");
            }
        }
        let program = self.program("").await;
        let first = program.ask(&subject, "POST", &path, None).await.unwrap();
        let closing: Closing = serde_json::from_slice(&first.1).unwrap();
        assert!(first.0 == 200 && closing.closed, "{closing:?}");
        assert_eq!(program.ask(&subject, "POST", &path, None).await.unwrap(), first);
        self.program = Some(program);
    }

    async fn credit(&mut self, label: &str, number: usize) {
        let (path, ask) = world::note(&self.world, label, number).await;
        let subject = account("finance");
        for point in CREDIT {
            let what = Kill::Point(point);
            let mut program = self.program(point).await;
            let (base, subject, path, ask) = (program.address(), subject.clone(), path.clone(), ask.clone());
            let all = async move { base.ask(&subject, "POST", &path, Some(&ask)).await.ok() };
            let answer = self.strike(what, &mut program, all).await;
            assert!(answer.is_none(), "{point} was not passed: {answer:?}");
        }
        let program = self.program("").await;
        let first = program.ask(&subject, "POST", &path, Some(&ask)).await.unwrap();
        assert_eq!(first.0, 200, "{}", String::from_utf8_lossy(&first.1));
        assert_eq!(program.ask(&subject, "POST", &path, Some(&ask)).await.unwrap(), first);
        self.count("credit notes", 1);
        self.program = Some(program);
    }

    /// What was acknowledged is on record, as it was told and once; nothing else is; and whoever was replaced has added
    /// nothing after that.
    pub async fn nothing_is_lost_or_doubled(&self) {
        let rows = self.world.facts_on_record().await;
        let found: BTreeSet<&String> = rows.iter().map(|row| &row.0).collect();
        assert_eq!(found.len(), rows.len(), "a fact is on record twice");
        for told in &self.told {
            assert!(
                found.contains(&shown_fact(&told.fact)),
                "{told:?} was acknowledged, and is not on record"
            );
        }
        for row in &found {
            assert!(self.known.contains(*row), "{row} is on record, and nobody who leads told it");
        }
        let mut last: BTreeMap<&str, i64> = BTreeMap::new();
        for (fact, collector, epoch) in &rows {
            let before = last.insert(collector, *epoch).unwrap_or(0);
            assert!(before <= *epoch, "{fact} was added in epoch {epoch} of {collector}, after {before}");
        }
    }
}

impl World {
    /// Every fact on record with its collector and epoch, in the order in which they were added.
    async fn facts_on_record(&self) -> Vec<(String, String, i64)> {
        type Row = (String, String, i64, Option<String>, Option<i64>, String, i64);
        let sql =
            "select order_uid, meter, at_ms, sku, quantity, collector, epoch from usage_change order by seq";
        let rows: Vec<Row> = sqlx::query_as(sql).fetch_all(&self.pool).await.unwrap();
        let fact = |row: Row| (shown(&row.0, &row.1, row.2, row.3.as_deref(), row.4), row.5, row.6);
        rows.into_iter().map(fact).collect()
    }
}

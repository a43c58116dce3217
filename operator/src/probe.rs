//! The readiness probe: logs in with the bound Secret, over TLS that it verifies. It is what turns Ready to False.

use crate::availability::Availability;
use crate::backlog::Backlog;
use crate::counters::{Transactions, transactions};
use crate::disk::{self, Fullness};
use crate::moment::Log;
use crate::names::Names;
use crate::order::{Kind, OrderRef};
use crate::seen::secret_value;
use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::Value;
use siyada_model::id::TenantName;
use siyada_model::wire::CounterReading;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

/// Between two logins that work, plus up to a fifth of chance.
const PERIOD: Duration = Duration::from_secs(20);
/// After a login that failed.
const RETRY: Duration = Duration::from_secs(3);
/// A database that has not worked for so long is tried at the normal period.
const PATIENCE: Duration = Duration::from_secs(600);
/// One login may take so long.
const TIMEOUT: Duration = Duration::from_secs(8);
/// Failures in a row that turn a database which worked to not Ready: with the times above, within 60 s.
const FAILURES: u32 = 2;
/// Failures in a row before the first login ever is told as failing: an engine says that it runs some seconds before
/// it, and the gateway before it, take clients.
const FIRST_FAILURES: u32 = 4;
/// Between two readings of what a database counts, at least.
const COUNT: Duration = Duration::from_secs(3600);
/// Between two looks at how full a disk is.
const MEASURE: Duration = Duration::from_secs(300);
/// One reading may take so long, within the login's time.
const COUNT_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two looks whether the sessions of a login that ends are gone.
const SESSIONS_PAUSE: Duration = Duration::from_millis(200);
/// How many others of the asking login's sessions there are; each is told to end.
const END_SESSIONS: &str = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                            where usename = session_user and pid <> pg_backend_pid()";
/// Logins at once.
const AT_ONCE: usize = 16;

/// What a login found: fine, or a sentence without secrets that stays the same while the fault does.
pub type Outcome = Result<(), &'static str>;

/// What to log in to.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    kind: Kind,
    host: String,
    database_host: String,
    user: String,
    password: String,
    database: String,
    authority_pem: String,
    /// Ends every other session of the login: it is closing.
    closing: bool,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target({})", self.host)
    }
}

impl Target {
    /// Reads the bound Secret as a client would. For documents, `database_host` is the PostgreSQL behind the gateway.
    pub fn from_binding(kind: Kind, binding: &Value, database_host: String) -> Option<Self> {
        let value = |key| secret_value(binding, key);
        let host = value("host")?;
        Some(Self {
            kind,
            database_host: if kind == Kind::Postgres { host.clone() } else { database_host },
            host,
            user: value("username")?,
            password: value("password")?,
            database: value("database")?,
            authority_pem: value("ca.crt")?,
            closing: false,
        })
    }

    /// A login that no binding holds, with its source: as a client would use it, or to end it.
    pub fn from_source(
        kind: Kind,
        names: &Names,
        source: &Value,
        authority_pem: &str,
        closing: bool,
    ) -> Option<Self> {
        let database_host = names.host(&names.rw_service());
        let host = match kind {
            Kind::Documents => names.host(&names.gateway()),
            Kind::Postgres => database_host.clone(),
        };
        Some(Self {
            // A login ends where its password is, whatever stands in front.
            kind: if closing { Kind::Postgres } else { kind },
            host,
            database_host,
            user: secret_value(source, "username")?,
            password: secret_value(source, "password")?,
            database: crate::names::DATABASE.to_owned(),
            authority_pem: authority_pem.to_owned(),
            closing,
        })
    }

    /// Text that changes with what is logged in to and how, and says nothing of it.
    pub fn digest(&self) -> String {
        let Self { kind, host, database_host, user, password, database, authority_pem, closing } = self;
        crate::names::short_hash(&format!(
            "{kind}\n{host}\n{database_host}\n{user}\n{password}\n{database}\n{authority_pem}\n{closing}"
        ))
    }
}

struct Entry {
    order: OrderRef,
    target: Arc<Target>,
    tenant: TenantName,
    outcome: Option<Outcome>,
    failures: u32,
    failing_since: Option<Instant>,
    due: Instant,
    running: bool,
    counted: Counted,
    disk: Disk,
    backlog: Backlog,
}

/// What is known of a database's disk.
#[derive(Clone, Copy, Default)]
struct Disk {
    /// Size of its volume in bytes; zero: nobody wants to know.
    capacity: i64,
    /// When it was last looked at.
    at: Option<Instant>,
    fullness: Fullness,
}

impl Disk {
    fn is_due(&self, now: Instant) -> bool {
        self.capacity > 0 && self.at.is_none_or(|at| now.duration_since(at) >= MEASURE)
    }

    /// Takes in what is used; true when that changes what is said.
    fn take(&mut self, used: i64, now: Instant) -> bool {
        self.at = Some(now);
        let before = self.fullness;
        self.fullness = Fullness::of(before, used, self.capacity);
        self.fullness != before
    }
}

/// What to read beside a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    counts: bool,
    disk: bool,
    log: bool,
}

/// What was read beside a login.
#[derive(Default)]
struct Found {
    transactions: Option<Transactions>,
    used: Option<i64>,
    log: Option<Log>,
}

/// What is known of a database's transactions.
#[derive(Clone, Default)]
struct Counted {
    /// When they were last read.
    at: Option<Instant>,
    /// Where they stood then, and whether the ledger knows.
    last: Option<(Transactions, bool)>,
}

impl Counted {
    fn is_due(&self, now: Instant) -> bool {
        self.at.is_none_or(|at| now.duration_since(at) >= COUNT)
    }

    /// Takes in a reading; one that says nothing new is not told.
    fn take(&mut self, read: Transactions, now: Instant) {
        self.at = Some(now);
        let same =
            |last: &(Transactions, bool)| (last.0.value, &last.0.reset_id) == (read.value, &read.reset_id);
        if !self.last.as_ref().is_some_and(same) {
            self.last = Some((read, false));
        }
    }
}

/// What to log in to now, by the order's uid, and what to read there.
type Due = (String, Arc<Target>, Wanted);

/// Logs in to every running instance, each at its own time.
pub struct Prober {
    entries: Mutex<BTreeMap<String, Entry>>,
    wake: Notify,
    permits: Semaphore,
    changed: mpsc::UnboundedSender<OrderRef>,
    authority_file: PathBuf,
    /// What is told of instances; none where logins are tried that no binding holds.
    availability: Option<Arc<Availability>>,
}

impl Prober {
    /// A prober that tells `changed` when an outcome changes. `authority_file` holds the authority's certificate, as
    /// the MongoDB driver wants a file.
    pub fn new(changed: mpsc::UnboundedSender<OrderRef>, authority_file: PathBuf) -> Self {
        Self {
            entries: Mutex::default(),
            wake: Notify::new(),
            permits: Semaphore::new(AT_ONCE),
            changed,
            authority_file,
            availability: None,
        }
    }

    /// The same, which also tells for how long instances are up.
    #[must_use]
    pub fn telling(self, availability: Arc<Availability>) -> Self {
        Self { availability: Some(availability), ..self }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps logging in to an instance, from now on with this target.
    pub fn watch(&self, uid: &str, order: &OrderRef, tenant: &TenantName, target: Target) {
        let mut entries = self.lock();
        let before = entries.get(uid);
        if before.is_some_and(|e| *e.target == target) {
            return;
        }
        let outcome = before.and_then(|e| e.outcome);
        let counted = before.map(|e| e.counted.clone()).unwrap_or_default();
        let disk = before.map(|e| e.disk).unwrap_or_default();
        let backlog = before.map(|e| e.backlog.clone()).unwrap_or_default();
        let entry = Entry {
            tenant: tenant.clone(),
            counted,
            disk,
            backlog,
            order: order.clone(),
            target: Arc::new(target),
            outcome,
            failures: 0,
            failing_since: None,
            due: Instant::now(),
            running: false,
        };
        entries.insert(uid.to_owned(), entry);
        drop(entries);
        self.wake.notify_one();
    }

    /// Measures the disk of an instance that is logged in to, against the size of its volume.
    pub fn measure(&self, uid: &str, capacity: i64) {
        if let Some(entry) = self.lock().get_mut(uid).filter(|e| e.disk.capacity != capacity) {
            // A volume that grew is looked at with the next login.
            entry.disk = Disk { capacity, at: None, ..entry.disk };
        }
    }

    /// Watches whether what an instance writes reaches its archive within a limit; without one it is not watched.
    pub fn archive_within(&self, uid: &str, limit: Option<Duration>) {
        if let Some(entry) = self.lock().get_mut(uid) {
            entry.backlog.limit = limit;
        }
    }

    /// Since when nothing of an instance came to its archive although something waits, where that is too long.
    pub fn late(&self, uid: &str) -> Option<Timestamp> {
        self.lock().get(uid).and_then(|e| e.backlog.late())
    }

    /// How full the disk of an instance is, as far as that is known.
    pub fn fullness(&self, uid: &str) -> Fullness {
        self.lock().get(uid).map(|e| e.disk.fullness).unwrap_or_default()
    }

    /// Takes nothing for true any more that a login found before now: the instance is started anew.
    pub fn doubt(&self, uid: &str) {
        if let Some(entry) = self.lock().get_mut(uid) {
            // A login that is under way answers for what it was told before.
            entry.target = Arc::new(Target::clone(&entry.target));
            entry.outcome = None;
            (entry.failures, entry.failing_since, entry.running) = (0, None, false);
            entry.due = Instant::now();
        }
        self.wake.notify_one();
    }

    /// Stops logging in to an instance.
    pub fn forget(&self, uid: &str) {
        if self.lock().remove(uid).is_some() {
            self.end(uid);
        }
    }

    fn end(&self, uid: &str) {
        if let Some(availability) = &self.availability {
            availability.ended(uid, Instant::now());
        }
    }

    /// What the last login found.
    pub fn outcome(&self, uid: &str) -> Option<Outcome> {
        self.lock().get(uid).and_then(|e| e.outcome)
    }

    /// Where the log of a database stands that somebody can log in to; with `mark` it is given a transaction first, which changes nothing.
    pub async fn log(&self, uid: &str, mark: bool) -> Option<Log> {
        let target = {
            let entries = self.lock();
            let entry = entries.get(uid).filter(|entry| entry.outcome == Some(Ok(())))?;
            Arc::clone(&entry.target)
        };
        tokio::time::timeout(TIMEOUT, ask_log(&target, mark)).await.ok().flatten()
    }

    /// Readings of counters that the ledger does not know.
    pub fn untold(&self) -> Vec<CounterReading> {
        let entries = self.lock();
        let untold = entries.iter().filter_map(|(uid, entry)| {
            let (read, _) = entry.counted.last.as_ref().filter(|(_, told)| !told)?;
            Some(read.reading(uid.parse().ok()?, entry.tenant.clone()))
        });
        untold.collect()
    }

    /// The ledger knows these readings.
    pub fn told(&self, readings: &[CounterReading]) {
        let mut entries = self.lock();
        for reading in readings {
            let last =
                entries.get_mut(reading.order_uid.as_str()).and_then(|entry| entry.counted.last.as_mut());
            if let Some((_, told)) = last.filter(|(read, _)| read.at == reading.window_end) {
                *told = true;
            }
        }
    }

    /// Forgets every instance that is not wanted any more.
    pub fn keep_only(&self, wanted: impl Fn(&str) -> bool) {
        let gone: Vec<String> =
            self.lock().extract_if(.., |uid, _| !wanted(uid)).map(|(uid, _)| uid).collect();
        gone.iter().for_each(|uid| self.end(uid));
    }

    /// Runs until it is dropped.
    pub async fn run(self: Arc<Self>) {
        loop {
            let (due, next) = self.take_due();
            for (uid, target, wanted) in due {
                let prober = Arc::clone(&self);
                tokio::spawn(async move { prober.one(uid, target, wanted).await });
            }
            let wait = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                () = tokio::time::sleep_until(wait) => {}
                () = self.wake.notified() => {}
            }
        }
    }

    /// What is due, and when to look again.
    fn take_due(&self) -> (Vec<Due>, Option<Instant>) {
        let now = Instant::now();
        let mut due = Vec::new();
        let mut entries = self.lock();
        for (uid, entry) in entries.iter_mut().filter(|(_, e)| !e.running && e.due <= now) {
            entry.running = true;
            let wanted = Wanted {
                counts: entry.counted.is_due(now),
                disk: entry.disk.is_due(now),
                log: entry.backlog.limit.is_some(),
            };
            due.push((uid.clone(), Arc::clone(&entry.target), wanted));
        }
        let next = entries.values().filter(|e| !e.running).map(|e| e.due).min();
        (due, next)
    }

    async fn one(&self, uid: String, target: Arc<Target>, wanted: Wanted) {
        let Ok(_permit) = self.permits.acquire().await else { return };
        let found = match tokio::time::timeout(TIMEOUT, log_in(&target, &self.authority_file, wanted)).await {
            Ok(found) => found,
            Err(_) => Err("it does not answer in time"),
        };
        let changed = {
            let mut entries = self.lock();
            // A newer target is already waiting for its own turn.
            let Some(entry) = entries.get_mut(&uid).filter(|e| Arc::ptr_eq(&e.target, &target)) else {
                return;
            };
            let now = Instant::now();
            let mut fuller = false;
            if let Ok(Found { transactions, used, log }) = &found {
                transactions.iter().for_each(|read| entry.counted.take(read.clone(), now));
                fuller = used.is_some_and(|used| entry.disk.take(used, now));
                fuller |= log.as_ref().is_some_and(|log| entry.backlog.take(log, now, Timestamp::now()));
            }
            let turned = entry.settle(found.map(|_| ()));
            if let Some((availability, (up, at))) = self.availability.as_ref().zip(entry.verdict(now)) {
                availability.saw(&uid, &entry.tenant, up, at);
            }
            turned.or_else(|| fuller.then(|| entry.order.clone()))
        };
        if let Some(order) = changed {
            let _ = self.changed.send(order);
        }
        self.wake.notify_one();
    }
}

impl Entry {
    /// Takes in what a login found; the order, when that changes what is said of it.
    fn settle(&mut self, found: Outcome) -> Option<OrderRef> {
        let now = Instant::now();
        self.running = false;
        let before = self.outcome;
        if found.is_ok() {
            self.failures = 0;
            self.failing_since = None;
            self.outcome = Some(Ok(()));
        } else {
            self.failures = self.failures.saturating_add(1);
            self.failing_since.get_or_insert(now);
            let enough = match before {
                None => FIRST_FAILURES,
                Some(Ok(())) => FAILURES,
                Some(Err(_)) => 1,
            };
            if self.failures >= enough {
                self.outcome = Some(found);
            }
        }
        let patient = self.failing_since.is_some_and(|since| now.duration_since(since) < PATIENCE);
        let wait = if patient { RETRY } else { PERIOD };
        self.due = now + wait + wait.mul_f32(rand::random_range(0.0..0.2));
        (self.outcome != before).then(|| self.order.clone())
    }
}

impl Entry {
    /// Whether somebody can log in, and since when that is known: an outage begins with its first login that failed. `now` is
    /// when the last login ended.
    fn verdict(&self, now: Instant) -> Option<(bool, Instant)> {
        match self.outcome? {
            Ok(()) => Some((true, now)),
            Err(_) => Some((false, self.failing_since.unwrap_or(now))),
        }
    }
}

/// Logs in, as a client with the bound Secret would, and reads what is wanted beside.
async fn log_in(
    target: &Target,
    authority_file: &std::path::Path,
    wanted: Wanted,
) -> Result<Found, &'static str> {
    if target.kind == Kind::Documents {
        documents(target, authority_file).await?;
    }
    postgres(target, wanted).await
}

/// A session with the database, over TLS that is verified, and the task that serves it.
async fn connect(
    target: &Target,
) -> Result<(tokio_postgres::Client, tokio::task::JoinHandle<()>), &'static str> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(target.authority_pem.as_bytes()) {
        let certificate = certificate.map_err(|_| "ca.crt of the bound Secret cannot be read")?;
        roots.add(certificate).map_err(|_| "ca.crt of the bound Secret cannot be read")?;
    }
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let mut config = tokio_postgres::Config::new();
    config
        .host(&target.database_host)
        .user(&target.user)
        .password(&target.password)
        .dbname(&target.database)
        .ssl_mode(tokio_postgres::config::SslMode::Require)
        .application_name("siyada-probe")
        .connect_timeout(TIMEOUT);
    let connector = tokio_postgres_rustls::MakeRustlsConnect::new(tls);
    let (client, connection) = config.connect(connector).await.map_err(|e| why(&e))?;
    // How a session ends is told by its queries.
    Ok((client, tokio::spawn(async move { drop(connection.await) })))
}

async fn postgres(target: &Target, wanted: Wanted) -> Result<Found, &'static str> {
    let (client, served) = connect(target).await?;
    if target.closing {
        let ended = end_sessions(&client).await;
        drop(client);
        served.abort();
        return ended.map(|()| Found::default());
    }
    let answer = client.simple_query("select 1").await;
    // A database that serves is ready, whether it tells what it counts or not.
    let mut found = Found::default();
    if answer.is_ok() && wanted.counts {
        found.transactions = tokio::time::timeout(COUNT_TIMEOUT, transactions(&client)).await.ok().flatten();
    }
    if answer.is_ok() && wanted.disk {
        found.used = tokio::time::timeout(COUNT_TIMEOUT, disk::used(&client)).await.ok().flatten();
    }
    if answer.is_ok() && wanted.log {
        found.log = tokio::time::timeout(COUNT_TIMEOUT, log(&client, false)).await.ok().flatten();
    }
    drop(client);
    served.abort();
    answer.map(|_| found).map_err(|e| why(&e))
}

/// The clock and an own transaction, which leaves a record in the log and nothing else. Any login may ask all of this.
const MARK: &str = "select floor(extract(epoch from now())) from pg_current_xact_id()";
/// The same without a transaction of its own.
const CLOCK: &str = "select floor(extract(epoch from now()))";
/// The segment in which the log stands, the one before it, and the last one that was archived, unless that was a file beside the log.
const SEGMENTS: &str = "select pg_walfile_name(lsn), pg_walfile_name(lsn - pg_size_bytes(current_setting('wal_segment_size'))), \
                        substring(last_archived_wal from '^[0-9A-F]{24}$') from pg_stat_archiver, pg_current_wal_insert_lsn() as lsn";

async fn ask_log(target: &Target, mark: bool) -> Option<Log> {
    let (client, served) = connect(target).await.ok()?;
    let log = log(&client, mark).await;
    drop(client);
    served.abort();
    log
}

/// Asks a session where the log stands.
async fn log(client: &tokio_postgres::Client, mark: bool) -> Option<Log> {
    let clock = client.simple_query(if mark { MARK } else { CLOCK }).await.ok()?;
    let segments = client.simple_query(SEGMENTS).await.ok()?;
    let (clock, segments) = first_row(&clock).zip(first_row(&segments))?;
    Some(Log {
        clock: Timestamp::from_second(clock.get(0)?.parse().ok()?).ok()?,
        segment: segments.get(0)?.to_owned(),
        complete: segments.get(1)?.to_owned(),
        archived: segments.get(2).map(str::to_owned),
    })
}

/// The first row of an answer.
pub fn first_row(answer: &[SimpleQueryMessage]) -> Option<&SimpleQueryRow> {
    answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })
}

/// What reading a restored database found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Nobody is let in yet: a sentence says why.
    NotYet(&'static str),
    /// It answered: what, in a sentence that holds none of its data.
    Well(String),
    /// It let us in and did not answer as it must.
    Badly(String),
}

/// Logs in to a restored database and reads it: by a query, or every row of every table. Nothing can be written.
pub async fn read(target: &Target, query: Option<&str>, limit: Duration) -> Read {
    let (client, served) = match tokio::time::timeout(TIMEOUT, connect(target)).await {
        Ok(Ok(session)) => session,
        Ok(Err(why)) => return Read::NotYet(why),
        Err(_) => return Read::NotYet("it does not answer in time"),
    };
    let answer = tokio::time::timeout(limit, answer(&client, query)).await;
    drop(client);
    served.abort();
    match answer {
        Ok(Ok(Ok(sentence))) => Read::Well(sentence),
        Ok(Ok(Err(sentence))) => Read::Badly(sentence),
        // The text of an error may hold what is in a row; its code does not.
        Ok(Err(error)) => match error.code() {
            Some(code) => Read::Badly(format!("the check query failed with SQLSTATE {}", code.code())),
            None => Read::NotYet("the session ended"),
        },
        Err(_) => Read::Badly(format!("the check query took longer than {} s", limit.as_secs())),
    }
}

/// Tables of people, not of the engine.
const TABLES: &str = "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace \
                      where c.relkind = 'r' and c.relpersistence = 'p' and n.nspname <> 'information_schema' \
                      and n.nspname not like 'pg\\_%' order by 1";

async fn answer(
    client: &tokio_postgres::Client,
    query: Option<&str>,
) -> Result<Result<String, String>, tokio_postgres::Error> {
    client.batch_execute("set default_transaction_read_only = on").await?;
    let Some(query) = query else {
        let (mut rows, tables) = (0_i64, client.query(TABLES, &[]).await?);
        for table in &tables {
            let name: String = table.try_get(0)?;
            let count: i64 =
                client.query_one(&format!("select count(*) from {name}"), &[]).await?.try_get(0)?;
            rows = rows.saturating_add(count);
        }
        return Ok(Ok(format!("{rows} rows of {} tables were read", tables.len())));
    };
    let found = client.simple_query(query).await?;
    Ok(match first_row(&found).map(|row| row.get(0)) {
        None => Err("the check query found no row".to_owned()),
        Some(None | Some("f")) => Err("the check query says that the data is not as it must be".to_owned()),
        Some(Some(_)) => Ok("the check query was answered".to_owned()),
    })
}

/// Ends every other session of the login that asks, and sees them gone.
async fn end_sessions(client: &tokio_postgres::Client) -> Outcome {
    // A login may end its own sessions, but acts as the owner, who may not.
    client.batch_execute("set role none").await.map_err(|e| why(&e))?;
    let mut pause = tokio::time::interval(SESSIONS_PAUSE);
    loop {
        pause.tick().await;
        let row = client.query_one(END_SESSIONS, &[]).await.map_err(|e| why(&e))?;
        match row.try_get::<_, i64>(0) {
            Ok(0) => return Ok(()),
            // The login's own time is the limit.
            Ok(_) => {}
            Err(error) => return Err(why(&error)),
        }
    }
}

/// A sentence for a fault, always the same for the same fault.
fn why(error: &tokio_postgres::Error) -> &'static str {
    match error.as_db_error().map(|e| e.code().code()) {
        Some("28P01" | "28000") => "the database refuses the password",
        Some("57P03" | "57P01" | "57P02") => "the database is starting or stopping",
        Some("53300") => "the database has no connection left",
        Some("3D000") => "the database does not exist",
        Some(_) => "the database refuses the login",
        None if error.to_string().contains("TLS") => "its certificate is not the one that the binding names",
        None => "no connection can be made",
    }
}

async fn documents(target: &Target, authority_file: &std::path::Path) -> Outcome {
    use mongodb::options::{AuthMechanism, ClientOptions, Credential, ServerAddress, Tls, TlsOptions};
    let credential = Credential::builder()
        .username(target.user.clone())
        .password(target.password.clone())
        .mechanism(AuthMechanism::Plain)
        .source(target.database.clone())
        .build();
    let tls = TlsOptions::builder().ca_file_path(authority_file.to_path_buf()).build();
    let options = ClientOptions::builder()
        .hosts(vec![ServerAddress::Tcp { host: target.host.clone(), port: Some(27017) }])
        .credential(credential)
        .tls(Tls::Enabled(tls))
        .direct_connection(true)
        .max_pool_size(1)
        .server_selection_timeout(Duration::from_secs(5))
        .connect_timeout(Duration::from_secs(5))
        .app_name("siyada-probe".to_owned())
        .build();
    let client = mongodb::Client::with_options(options).map_err(|_| "the binding cannot be used")?;
    // `ping` may never reach PostgreSQL; this does.
    let answer = client.database(&target.database).list_collection_names().await;
    client.shutdown().immediate(true).await;
    answer.map(|_| ()).map_err(|error| {
        let text = error.to_string();
        if text.contains("uthentication") {
            "the gateway refuses the password"
        } else {
            "the gateway does not answer"
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn entry() -> Entry {
        let target = Target {
            kind: Kind::Postgres,
            host: "h".into(),
            database_host: "h".into(),
            user: "u".into(),
            password: "secret".into(),
            database: "d".into(),
            authority_pem: String::new(),
            closing: false,
        };
        Entry {
            order: OrderRef { kind: Kind::Postgres, namespace: "n".into(), name: "db".into() },
            target: Arc::new(target),
            tenant: "t".parse().unwrap(),
            outcome: None,
            failures: 0,
            failing_since: None,
            due: Instant::now(),
            running: true,
            counted: Counted::default(),
            disk: Disk::default(),
            backlog: Backlog::default(),
        }
    }

    #[tokio::test]
    async fn a_disk_is_measured_every_five_minutes_and_told_when_that_says_something_new() {
        let mut disk = Disk::default();
        let now = Instant::now();
        assert!(!disk.is_due(now), "without a volume there is nothing to measure");
        disk.capacity = 1000;
        assert!(disk.is_due(now));
        assert!(!disk.take(500, now) && !disk.is_due(now + MEASURE / 2) && disk.is_due(now + MEASURE));
        assert!(disk.take(810, now) && !disk.take(830, now));
        let (changed, _turns) = mpsc::unbounded_channel();
        let prober = Prober::new(changed, PathBuf::new());
        prober.lock().insert("u".to_owned(), Entry { disk, ..entry() });
        prober.measure("u", 1000);
        assert!(!prober.lock()["u"].disk.is_due(now));
        prober.measure("u", 2000);
        assert!(prober.lock()["u"].disk.is_due(now), "a volume that grew is looked at again");
        assert_eq!(prober.fullness("u"), Fullness::NearlyFull, "and is as full as before until then");
        assert!(prober.lock().get_mut("u").unwrap().disk.take(830, now));
        assert_eq!(prober.fullness("u"), Fullness::Roomy);
    }

    #[tokio::test]
    async fn a_counter_is_told_once_and_only_when_it_says_something_new() {
        let (changed, _turns) = mpsc::unbounded_channel();
        let prober = Prober::new(changed, PathBuf::new());
        prober.lock().insert("u".to_owned(), entry());
        let now = Instant::now();
        let read =
            |value, at| Transactions { value, reset_id: "r".into(), at: Timestamp::from_second(at).unwrap() };
        let take = |value, at| prober.lock().get_mut("u").unwrap().counted.take(read(value, at), now);
        assert!(prober.untold().is_empty());
        take(5, 1);
        let first = prober.untold();
        assert_eq!((first.len(), first[0].value, first[0].tenant.as_str()), (1, 5, "t"));
        take(6, 2);
        prober.told(&first);
        assert_eq!(prober.untold()[0].value, 6, "what was read meanwhile is told too");
        prober.told(&prober.untold());
        take(6, 3);
        assert!(prober.untold().is_empty(), "the same value is not told again");
        let is_due = |at| prober.lock()["u"].counted.is_due(at);
        assert!(!is_due(now + COUNT / 2) && is_due(now + COUNT));
    }

    #[tokio::test]
    async fn what_was_found_before_an_instance_was_started_anew_is_not_taken_for_true() {
        let (changed, _turns) = mpsc::unbounded_channel();
        let prober = Prober::new(changed, PathBuf::new());
        prober.lock().insert("u".to_owned(), Entry { outcome: Some(Ok(())), running: false, ..entry() });
        let (due, _) = prober.take_due();
        prober.doubt("u");
        assert_eq!(prober.outcome("u"), None);
        // The login that was under way says nothing of it any more.
        assert!(due.iter().all(|(_, target, _)| !Arc::ptr_eq(target, &prober.lock()["u"].target)));
        assert!(prober.take_due().0.len() == 1 && due.len() == 1, "and another one begins at once");
    }

    #[tokio::test]
    async fn one_failure_is_tried_again_before_it_counts() {
        let mut entry = entry();
        assert!(entry.settle(Ok(())).is_some());
        assert!(entry.settle(Err("a")).is_none(), "the first failure is not told");
        assert_eq!(entry.outcome, Some(Ok(())));
        assert!(entry.due <= Instant::now() + RETRY * 2, "and is tried again soon");
        assert!(entry.settle(Err("a")).is_some());
        assert!(entry.settle(Err("a")).is_none(), "the same fault is told once");
        assert!(entry.settle(Ok(())).is_some());
        assert!(entry.settle(Ok(())).is_none());
    }

    #[tokio::test]
    async fn an_outage_begins_with_its_first_failure_and_one_failure_is_none() {
        let mut entry = entry();
        let now = Instant::now();
        assert_eq!(entry.verdict(now), None);
        entry.settle(Ok(()));
        assert_eq!(entry.verdict(now), Some((true, now)));
        entry.settle(Err("a"));
        let first = entry.failing_since.unwrap();
        assert_eq!(entry.verdict(now), Some((true, now)));
        entry.settle(Err("b"));
        assert_eq!(entry.verdict(now + PERIOD), Some((false, first)));
        entry.settle(Ok(()));
        assert_eq!(entry.verdict(now + PERIOD), Some((true, now + PERIOD)));
    }

    #[tokio::test]
    async fn a_first_login_that_fails_for_some_seconds_is_not_told() {
        let mut entry = entry();
        for _ in 1..FIRST_FAILURES {
            assert!(entry.settle(Err("a")).is_none());
            assert_eq!(entry.outcome, None);
        }
        assert!(entry.settle(Err("a")).is_some());
        assert!(entry.settle(Err("b")).is_some(), "another fault is told at once");
        assert!(entry.settle(Ok(())).is_some());
    }

    #[test]
    fn not_ready_is_known_within_sixty_seconds() {
        let worst = PERIOD + PERIOD / 5 + TIMEOUT + RETRY + RETRY / 5 + TIMEOUT;
        assert!(worst < Duration::from_secs(60), "{worst:?}");
    }

    #[test]
    fn a_target_never_prints_its_password() {
        assert!(!format!("{:?}", entry().target).contains("secret"));
    }
}

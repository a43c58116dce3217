//! The ledger's database is restored to a moment, by PostgreSQL itself from a base backup and its archive: nobody works on it
//! until that is declared; then what was lost is proved again or is a gap, and no number is given out twice.

use crate::closing::{FEBRUARY, MARCH, close, documents, finance, ready, send as tell};
use crate::crash::{Program, keys};
use crate::export::Place;
use crate::support::{OPERATOR, World, fresh_database, order, url_of};
use jiff::Timestamp;
use serde_json::{Value, json};
use siyada_api::embedded::{Embedded, Options};
use siyada_api::export::export;
use siyada_api::fail::RECOVERY;
use siyada_api::openapi::examples;
use siyada_api::store;
use siyada_api::store::incarnation::{Declaration, Standing, recover, stand};
use siyada_api::verify::verify;
use siyada_model::audit::{AuditEvent, Extent, verify as verify_trail};
use siyada_model::wire::{Closing, GapRecord, INCARNATION, Page};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, PgPool};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A PostgreSQL of its own, gone with its files when it is dropped.
struct Server {
    embedded: Option<Embedded>,
    directory: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = self.embedded.as_ref().and_then(Embedded::pid) {
            let script = "kill -QUIT $0; while kill -0 $0 2>/dev/null; do sleep 0.05; done";
            let _ = Command::new("sh").args(["-c", script, &pid.to_string()]).status();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Server {
    async fn start(directory: PathBuf) -> Self {
        let options = Options { unsafe_no_fsync: true };
        let embedded = Embedded::start(&directory, options).await.unwrap();
        Self { embedded: Some(embedded), directory }
    }

    fn database(&self) -> PgConnectOptions {
        self.embedded.as_ref().unwrap().connect_options("siyada")
    }

    async fn connect(&self) -> PgConnection {
        self.database().connect().await.unwrap()
    }

    async fn again(&mut self) {
        self.embedded.take().unwrap().stop().await.unwrap();
        self.embedded =
            Some(Embedded::start(&self.directory, Options { unsafe_no_fsync: true }).await.unwrap());
    }
}

async fn run(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
}

async fn text(connection: &mut PgConnection, sql: &str) -> String {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(connection).await.unwrap()
}

/// Gives everything below to the owner of `like`: PostgreSQL runs as nobody that tests run as, if they run as root.
fn give(path: &Path, like: &Path) {
    let owner = std::fs::metadata(like).unwrap();
    if rustix::process::geteuid().is_root() {
        chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().unwrap().is_dir() {
            give(&entry.path(), like);
        } else if rustix::process::geteuid().is_root() {
            chown(entry.path(), Some(owner.uid()), Some(owner.gid())).unwrap();
        }
    }
}

fn place(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("siyada-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    path
}

/// A server that archives what it writes.
async fn archived() -> (Server, PathBuf) {
    let mut server = Server::start(place("before")).await;
    let archive = server.directory.join("archive");
    std::fs::create_dir(&archive).unwrap();
    give(&archive, &server.directory.join("data"));
    let mut connection = server.connect().await;
    run(&mut connection, "alter system set archive_mode = on").await;
    let copy = format!("alter system set archive_command = 'cp %p {}/%f'", archive.display());
    run(&mut connection, &copy).await;
    drop(connection);
    server.again().await;
    store::migrate(&server.database()).await.unwrap();
    (server, archive)
}

/// A base backup of a server that works, as PostgreSQL makes it.
async fn base_backup(server: &Server, to: &Path) {
    let mut connection = server.connect().await;
    let binaries = text(&mut connection, "select setting from pg_config where name = 'BINDIR'").await;
    let done = Command::new(format!("{binaries}/pg_basebackup"))
        .args(["--checkpoint=fast", "--wal-method=none", "--no-sync", "-U", "siyada", "-h"])
        .arg(server.directory.join("run"))
        .arg("-D")
        .arg(to.join("data"))
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Everything that the server wrote is in the archive.
async fn archive_all(server: &Server) {
    let mut connection = server.connect().await;
    let last = text(&mut connection, "select pg_walfile_name(pg_switch_wal())").await;
    let archived =
        format!("select coalesce(last_archived_wal >= '{last}', false)::text from pg_stat_archiver");
    crate::support::until("the archive has everything", 30, async || {
        text(&mut server.connect().await, &archived).await == "true"
    })
    .await;
}

/// The server as it was at a moment: a base backup and the archive, replayed until then.
async fn restored(directory: PathBuf, archive: &Path, moment: &str, like: &Path) -> Server {
    let data = directory.join("data");
    let settings = format!(
        "archive_mode = off\nrestore_command = 'cp {}/%f %p'\nrecovery_target_time = '{moment}'\n\
         recovery_target_action = promote\n",
        archive.display()
    );
    let file = data.join("postgresql.auto.conf");
    let before = std::fs::read_to_string(&file).unwrap();
    let kept: Vec<&str> = before.lines().filter(|line| !line.starts_with("archive_")).collect();
    std::fs::write(&file, format!("{}\n{settings}", kept.join("\n"))).unwrap();
    std::fs::write(data.join("recovery.signal"), "").unwrap();
    give(&directory, like);
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
    let server = Server::start(directory).await;
    crate::support::until("the server is promoted", 60, async || {
        text(&mut server.connect().await, "select pg_is_in_recovery()::text").await == "false"
    })
    .await;
    server
}

fn now(uid: &str, meter: &str, level: Option<(&str, i64)>) -> Value {
    let level = level.map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity}));
    json!({"orderUid": uid, "tenant": "police", "meter": meter, "level": level, "reason": "Seen"})
}

const ONE: Option<(&str, i64)> = Some(("postgres-small", 1));
const TWO: Option<(&str, i64)> = Some(("postgres-small", 2));
const GIB: Option<(&str, i64)> = Some(("block-storage", 10_240));

async fn hold(world: &World, uid: &str, instances: i64) {
    let path = format!("/v1/reservations/{uid}");
    world.operator().put(&path, &order("police", uid, instances, 10)).await.ok::<Value>();
}

async fn gaps(world: &World) -> Vec<GapRecord> {
    let page: Page<GapRecord> = finance(world).get("/v1/tenants/kingdom/gaps").await.ok();
    page.items
}

/// What of each stream is billed and what is a gap, by its beginning: nothing overlaps, and nothing is missing between.
async fn is_whole(world: &World) {
    let path = "/v1/tenants/police/intervals?from=2025-01-01T00:00:00Z&to=2040-01-01T00:00:00Z";
    let page: Value = finance(world).get(path).await.ok();
    let mut spans: BTreeMap<(String, String), Vec<(Timestamp, Timestamp)>> = BTreeMap::new();
    let at = |value: &Value| value.as_str().map_or(Timestamp::MAX, |text| text.parse().unwrap());
    for row in page["items"].as_array().unwrap() {
        let stream =
            (row["orderUid"].as_str().unwrap().to_owned(), row["meter"].as_str().unwrap().to_owned());
        spans.entry(stream).or_default().push((at(&row["start"]), at(&row["end"])));
    }
    for gap in gaps(world).await {
        let stream = (gap.order.uid.to_string(), gap.meter.to_string());
        spans.entry(stream).or_default().push((gap.start, gap.end));
    }
    for ((uid, meter), mut spans) in spans {
        spans.sort();
        for pair in spans.windows(2) {
            // What was suspended at the moment has a hole where it was, and it alone.
            let suspended = uid == "resumed" && pair[0].1 < pair[1].0;
            assert!(pair[0].1 == pair[1].0 || suspended, "{uid} {meter}: {spans:?}");
        }
    }
}

/// `siyada-api recover`, which dies at a fail point if one is named.
fn declare(database: &PgConnectOptions, fail_at: &str, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_siyada-api"))
        .args(["recover", "--by=Amina", "--reason=the volume was lost"])
        .args(more)
        .env("SIYADA_DATABASE_URL", url_of(database))
        .env("SIYADA_FAIL_AT", fail_at)
        .output()
        .unwrap()
}

/// What is there at the moment: two closed orders of 2024 with February closed, and four orders that run now.
async fn before_the_moment(pool: PgPool) -> World {
    let world = ready(pool).await;
    close(&world, FEBRUARY).await;
    for uid in ["same", "grown", "resumed", "removed"] {
        hold(&world, uid, 1).await;
        tell(&world, &[now(uid, "compute", ONE), now(uid, "storage", GIB)]).await;
    }
    tell(&world, &[now("resumed", "compute", None)]).await;
    let seen = json!({"collector": "cluster-a", "epoch": 1, "complete": true,
        "seen": ["same", "grown", "resumed", "removed"]});
    world.operator().post("/v1/usage/checkpoints", &seen).await.ok::<Value>();
    world
}

/// What is acknowledged after it, and lost: the numbers that were given out.
async fn after_the_moment(world: &World) -> BTreeSet<String> {
    let known: BTreeSet<String> = documents(world).await.into_iter().map(|d| d.number).collect();
    hold(world, "made", 1).await;
    tell(world, &[now("made", "compute", ONE), now("made", "storage", GIB)]).await;
    hold(world, "grown", 2).await;
    tell(world, &[now("grown", "compute", TWO), now("resumed", "compute", ONE)]).await;
    tell(world, &[now("removed", "compute", None), now("removed", "storage", None)]).await;
    world.operator().delete("/v1/reservations/removed").await.gone();
    assert!(close(world, MARCH).await.closed);
    let first = documents(world).await.remove(0).number;
    let path = format!("/v1/tenants/kingdom/statements/{first}/credit-notes");
    finance(world).post(&path, &json!({"key": "1", "reason": "Panne"})).await.ok::<Value>();
    let all: BTreeSet<String> = documents(world).await.into_iter().map(|d| d.number).collect();
    let lost: BTreeSet<String> = all.difference(&known).cloned().collect();
    assert!(lost.len() >= 3, "{lost:?}");
    lost
}

/// What the operator tells a ledger that it has not told anything yet: what runs, and since when by the orders' status.
fn proofs(metered_since: Timestamp) -> Vec<Value> {
    let mut made = now("made", "compute", ONE);
    made["meteredSince"] = json!(metered_since);
    let mut volume = now("made", "storage", GIB);
    volume["since"] = json!(metered_since);
    vec![
        now("same", "compute", ONE),
        now("same", "storage", GIB),
        now("grown", "compute", TWO),
        now("grown", "storage", GIB),
        now("resumed", "compute", ONE),
        now("resumed", "storage", GIB),
        now("removed", "compute", None),
        now("removed", "storage", None),
        made,
        volume,
    ]
}

/// Nobody works on it: not ready, every call refused, nothing written. And whoever dies declaring it has declared nothing.
async fn waits_for_a_declaration(server: &Server, program: &Program, void: &[String]) {
    let body = order("police", "early", 1, 10);
    for (method, path, body) in [
        ("GET", "/readyz", None),
        ("PUT", "/v1/reservations/early", Some(&body)),
        ("GET", "/v1/tenants", None),
    ] {
        let (status, bytes) = program.ask(OPERATOR, method, path, body).await.unwrap();
        assert_eq!(status, 503, "{method} {path}: {}", String::from_utf8_lossy(&bytes));
    }
    let mut connection = server.connect().await;
    let declared = "select count(*)::text from incarnation where kind = 'restored'";
    let void: Vec<String> = void.iter().map(|number| format!("--void={number}")).collect();
    let void: Vec<&str> = void.iter().map(String::as_str).collect();
    for point in RECOVERY {
        assert_eq!(text(&mut connection, declared).await, "0", "{point}");
        assert_eq!(text(&mut connection, "select count(*)::text from lost_span").await, "0", "{point}");
        assert!(!declare(&server.database(), point, &void).status.success(), "{point}");
    }
    assert_eq!(text(&mut connection, declared).await, "1");
    let again = declare(&server.database(), "", &[]);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && said.contains("there is nothing to declare"), "{said}");
}

/// Tells a batch through programs that die at each point of it, and then through one that does not.
async fn prove(database: &PgConnectOptions, keys: &str, facts: &[Value]) {
    let batch = json!({"collector": "cluster-a", "epoch": 1, "facts": facts});
    for point in ["insert-usage", "usage-before-commit", "usage-after-commit"] {
        let mut program = Program::start(database, keys, point).await;
        program.ask(OPERATOR, "POST", "/v1/usage", Some(&batch)).await.unwrap_err();
        program.dead().await;
    }
    let program = Program::start(database, keys, "").await;
    let (status, bytes) = program.ask(OPERATOR, "POST", "/v1/usage", Some(&batch)).await.unwrap();
    let said = String::from_utf8_lossy(&bytes);
    assert_eq!((status, said.contains("\"gaps\":0")), (200, true), "{said}");
}

async fn incarnation(program: &Program) -> String {
    let answer = program.address().response(OPERATOR, "GET", "/v1/whoami", None).await.unwrap();
    answer.headers()[INCARNATION].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn i13_restored_to_a_moment_no_number_is_given_out_twice_and_what_was_lost_is_proved_again_or_a_gap() {
    siyada_api::install_tls_provider();
    let keys = keys().await;
    let (before, archive) = archived().await;
    let program = Program::start(&before.database(), &keys, "").await;
    let first = incarnation(&program).await;
    let world = before_the_moment(store::pool(before.database())).await;
    let directory = place("after");
    std::fs::create_dir(&directory).unwrap();
    base_backup(&before, &directory).await;
    let moment = text(&mut before.connect().await, "select clock_timestamp()::text").await;
    let last_proof = Timestamp::now();
    let lost = after_the_moment(&world).await;
    archive_all(&before).await;
    drop((program, world));
    let like = before.directory.join("data");
    let after = restored(directory, &archive, &moment, &like).await;
    drop(before);

    let program = Program::spawn(&after.database(), &keys, "").await;
    let lost: Vec<String> = lost.into_iter().collect();
    waits_for_a_declaration(&after, &program, &lost).await;
    crate::support::until("the declared ledger is served", 30, async || {
        program.ask(OPERATOR, "GET", "/readyz", None).await.is_ok_and(|answer| answer.0 == 200)
    })
    .await;
    assert_ne!(incarnation(&program).await, first);
    drop(program);

    let world = World::on(store::pool(after.database()));
    assert_eq!(documents(&world).await.len(), 2, "only what was closed before the moment");
    for (uid, instances) in [("same", 1), ("grown", 2), ("resumed", 1), ("made", 1)] {
        hold(&world, uid, instances).await;
    }
    prove(&after.database(), &keys, &proofs(last_proof)).await;
    world.operator().delete("/v1/reservations/removed").await.gone();
    assert!(world.wrong_sums().await.is_empty());
    gaps_are_right(&world, last_proof).await;
    numbers_are_new(&world, &lost).await;
}

/// Every span that was lost is a gap, from its last proof until it was proved again, with the level before it.
async fn gaps_are_right(world: &World, moment: Timestamp) {
    let found = gaps(world).await;
    let shown: BTreeSet<(String, String, i64)> = found
        .iter()
        .map(|gap| (gap.order.uid.to_string(), gap.meter.to_string(), gap.level.quantity))
        .collect();
    let expect = [
        ("grown", "compute", 1),
        ("grown", "storage", 10_240),
        ("made", "compute", 1),
        ("removed", "compute", 1),
        ("removed", "storage", 10_240),
        ("resumed", "compute", 1),
        ("resumed", "storage", 10_240),
        ("same", "compute", 1),
        ("same", "storage", 10_240),
    ];
    assert_eq!(shown, expect.map(|(uid, meter, level)| (uid.to_owned(), meter.to_owned(), level)).into());
    assert_eq!(found.len(), expect.len());
    for gap in &found {
        assert_eq!(gap.reason, "ledgerRestored");
        assert!(gap.id > 1_000_000, "an id that may have been noted is not given out again");
        assert!(gap.end > moment && (gap.start <= moment || gap.order.uid.as_str() == "made"), "{gap:?}");
    }
    is_whole(world).await;
}

/// The month is closed again under new numbers; chains and the export verify.
async fn numbers_are_new(world: &World, lost: &[String]) {
    let seen = json!({"collector": "cluster-a", "epoch": 1, "complete": true, "elapsedMs": 300_000,
        "seen": ["same", "grown", "resumed", "made"]});
    world.operator().post("/v1/usage/checkpoints", &seen).await.ok::<Value>();
    assert_eq!(gaps(world).await.len(), 9, "a report of a collector that ran on finds no clock that jumped");
    assert!(close(world, MARCH).await.closed);
    let known = documents(world).await;
    let first = known[0].number.clone();
    let path = format!("/v1/tenants/kingdom/statements/{first}/credit-notes");
    finance(world).post(&path, &json!({"key": "1", "reason": "Panne"})).await.ok::<Value>();
    let all = documents(world).await;
    assert_eq!(all.len(), 2 + lost.len());
    for document in &all[2..] {
        assert!(document.number.contains("-R"), "{}", document.number);
        assert!(!lost.contains(&document.number), "{} was given out before", document.number);
    }
    let trail = world.member("audit").get("/v1/audit?format=lines").await.text();
    verify_trail(trail.lines().map(str::as_bytes), Extent::Whole).unwrap().unwrap();
    let events = trail.lines().map(|line| serde_json::from_str::<AuditEvent>(line).unwrap());
    let declared: Vec<AuditEvent> = events.filter(|event| event.action == "ledger.recover").collect();
    assert_eq!(declared.len(), 1);
    assert_eq!((&declared[0].detail["by"], &declared[0].detail["void"]), (&json!("Amina"), &json!(lost)));
    let place = Place::new("recovered");
    export(&world.pool, &place.0).await.unwrap();
    let found = verify(&place.0, None).unwrap();
    assert_eq!((found.documents, found.months), (all.len(), 2));
}

/// A ledger of which a copy was put back that PostgreSQL does not know of, with one order that runs.
async fn put_back() -> (World, PgConnectOptions) {
    let database = fresh_database().await;
    let world = World::with_tenants_on(store::pool(database.clone())).await;
    hold(&world, "same", 1).await;
    tell(&world, &[now("same", "compute", ONE)]).await;
    let seen = json!({"collector": "cluster-a", "epoch": 1, "seen": ["same"], "complete": true});
    world.operator().post("/v1/usage/checkpoints", &seen).await.ok::<Value>();
    let mut connection = database.connect().await.unwrap();
    stand(&mut connection, &Standing::default()).await.unwrap();
    let mut declaration = Declaration {
        by: "Amina".to_owned(),
        reason: "a copy of the volume".to_owned(),
        nothing_lost: false,
        unnoticed: false,
        void: vec![],
    };
    assert!(recover(&mut connection, &declaration).await.is_err(), "nobody declares what is as it was");
    declaration.unnoticed = true;
    recover(&mut connection, &declaration).await.unwrap();
    (world, database)
}

#[tokio::test]
async fn what_nobody_sees_again_is_a_gap_after_a_quarter_of_an_hour_and_its_month_waits_until_then() {
    let (world, _) = put_back().await;
    let ahead = |minutes: i64| {
        let sql = format!(
            "create or replace function ledger_now_ms() returns bigint language sql volatile
             return floor(extract(epoch from clock_timestamp()) * 1000)::bigint + {}",
            minutes * 60_000
        );
        let pool = world.pool.clone();
        async move { sqlx::query(AssertSqlSafe(sql)).execute(&pool).await.unwrap() }
    };
    let checkpoint =
        json!({"collector": "cluster-a", "epoch": 1, "seen": [], "complete": true, "elapsedMs": 600_000});
    let report = async || world.operator().post("/v1/usage/checkpoints", &checkpoint).await.ok::<Value>();
    let health = async || {
        let page: Value = finance(&world).get("/v1/health/metering").await.ok();
        let of = |check: &Value| check["check"] == "notProven" && check["count"] == 1;
        page["checks"].as_array().unwrap().iter().any(of)
    };
    finance(&world).put("/v1/issuer", &examples::issuer()).await.ok::<Value>();
    siyada_api::store::periods::keep_open(&world.pool).await.unwrap();
    let periods: Value = finance(&world).get("/v1/periods").await.ok();
    let month = periods["items"][0]["month"].as_str().unwrap().to_owned();
    let waits = async || {
        let preview: Closing = finance(&world).get(&format!("/v1/periods/{month}/closing")).await.ok();
        preview.blockers.iter().any(|blocker| blocker.reason == "notSeenAgain")
    };
    for minutes in [9, 18] {
        ahead(minutes).await;
        report().await;
        assert!(health().await && waits().await && gaps(&world).await.is_empty(), "{minutes}");
    }
    ahead(27).await;
    report().await;
    assert!(!waits().await);
    let found = gaps(&world).await;
    assert_eq!((found.len(), found[0].reason.as_str()), (1, "ledgerRestored"));
    assert!(!health().await);
    // Seen after all, it goes on from then.
    tell(&world, &[now("same", "compute", ONE)]).await;
    assert_eq!(gaps(&world).await, found);
}

#[tokio::test]
async fn two_that_find_a_first_server_agree_and_one_that_moved_must_be_declared() {
    let database = fresh_database().await;
    let (a, b) = (Standing::default(), Standing::default());
    let (mut one, mut other) = (database.connect().await.unwrap(), database.connect().await.unwrap());
    let (first, second) = tokio::join!(stand(&mut one, &a), stand(&mut other, &b));
    first.unwrap();
    second.unwrap();
    assert!(a.incarnation().is_some() && a.incarnation() == b.incarnation());
    // As a standby that took over, and as a cluster that was restored under another name.
    for (server, accepted, expect) in [
        ("'7', '', '00000002'", false, false),
        ("'7', '', '00000002'", true, true),
        ("'7', 'other', '00000002'", true, false),
    ] {
        let sql = format!(
            "create or replace function ledger_server() returns table (system text, cluster text, timeline text)
             language sql volatile as $$ select {server} $$"
        );
        run(&mut one, &sql.replace("'7'", "(pg_control_system()).system_identifier::text")).await;
        let standing = Standing::new(accepted);
        assert_eq!(stand(&mut one, &standing).await.is_ok(), expect, "{server} {accepted}");
        assert_eq!(standing.is_undeclared(), !expect);
        assert!(!expect || standing.incarnation() > a.incarnation());
    }
}

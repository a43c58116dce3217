//! What the ledger holds through an upgrade: the program of the previous landing fills it and closes a month, this one
//! takes it over while that one still serves, the previous one comes back, and this one again. Every row and every answer
//! stays as it was, and the chain grows by one document after another, whoever of the two closes.

use crate::audit::verified;
use crate::closing::{FEBRUARY, MARCH, close, documents, fact, finance, make_ready, send};
use crate::counters::{batch, march};
use crate::crash::{Program, keys};
use crate::export::Place;
use crate::gaps::{RUNNING, checkpoint, now, report, show, stop_clock};
use crate::storm::sums_are_right;
use crate::support::{World, account, bare_database, but, order, tamper, tenant, url_of};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use siyada_api::openapi::examples;
use siyada_model::statement::{Statement, StatementKind};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, PgPool};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const APRIL: &str = "/v1/periods/2024-04/closing";
const MAY: &str = "/v1/periods/2024-05/closing";
const JUNE: &str = "/v1/periods/2024-06/closing";
const CREDITS: &str = "/v1/tenants/interior/budget-lines/2024-30-10";
/// How each document is read, to the byte.
const FORMS: [&str; 4] = ["json", "csv", "focus-1.2", "focus-1.4"];
/// What must stay to the byte, beside the documents.
const SEALED: [&str; 5] = [
    "/v1/audit?format=lines",
    "/v1/chain?pageSize=500",
    "/v1/ledger/journal",
    "/v1/signing-key",
    "/v1/tenants/kingdom/statements?pageSize=500",
];
/// What a later landing may say more of.
const TOLD: [&str; 21] = [
    "/v1/accounts",
    "/v1/approvals",
    "/v1/collectors/cluster-a",
    "/v1/cost-coverage?fiscalYear=2024",
    "/v1/costs?fiscalYear=2024",
    "/v1/gaps",
    "/v1/issuer",
    "/v1/meters",
    "/v1/periods",
    "/v1/price-lists",
    "/v1/reservations",
    "/v1/settings",
    "/v1/settlement-annex?period=2024-02",
    "/v1/tenants",
    "/v1/tenants/interior/budget-lines/2024-30-10?fiscalYear=2024",
    "/v1/tenants/interior/quota",
    "/v1/tenants/kingdom/intervals?from=2020-01-01T00:00:00Z&to=2030-01-01T00:00:00Z",
    "/v1/tenants/kingdom/reservations",
    "/v1/tenants/kingdom/usage?from=2024-02-01T00:00:00Z&to=2024-03-01T00:00:00Z",
    "/v1/tenants/kingdom/usage/grouped?period=2024-02&by=day,service,tenant",
    "/v1/tenants/police/counters?from=2024-03-01T00:00:00Z&to=2024-04-01T00:00:00Z",
];

/// The columns of each table, and its rows by these columns as PostgreSQL writes them.
#[derive(Debug)]
struct Picture {
    columns: BTreeMap<String, String>,
    rows: BTreeMap<String, Vec<String>>,
    sealed: BTreeMap<String, Vec<u8>>,
    told: BTreeMap<String, Value>,
}

async fn columns(pool: &PgPool) -> BTreeMap<String, String> {
    let sql = "select table_name::text, string_agg(quote_ident(column_name), ', ' order by ordinal_position)
               from information_schema.columns join information_schema.tables using (table_schema, table_name)
               where table_schema = 'public' and table_type = 'BASE TABLE' and table_name <> '_sqlx_migrations'
               group by table_name";
    let found: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(pool).await.unwrap();
    found.into_iter().collect()
}

impl Picture {
    async fn take(world: &World) -> Self {
        Self::with(world, columns(&world.pool).await).await
    }

    async fn with(world: &World, columns: BTreeMap<String, String>) -> Self {
        let mut rows = BTreeMap::new();
        for (table, columns) in &columns {
            let sql = format!("select r::text from (select {columns} from {table}) r order by 1");
            let found = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&world.pool).await;
            rows.insert(table.clone(), found.unwrap_or_else(|cause| vec![cause.to_string()]));
        }
        let (auditor, mut sealed, mut told) = (world.member("audit"), BTreeMap::new(), BTreeMap::new());
        let documents = documents(world).await.into_iter().flat_map(|document| {
            FORMS.map(|form| format!("/v1/tenants/kingdom/statements/{}?format={form}", document.number))
        });
        for path in SEALED.map(str::to_owned).into_iter().chain(documents) {
            let answer = auditor.get(&path).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            sealed.insert(path, answer.bytes);
        }
        for path in TOLD {
            let answer = auditor.get(path).await;
            // Of what an older landing does not know it says nothing.
            if answer.status != 404 {
                told.insert(path.to_owned(), answer.ok());
            }
        }
        Self { columns, rows, sealed, told }
    }

    /// What is no longer as it was.
    async fn changed(&self, world: &World) -> Vec<String> {
        let now = Self::with(world, self.columns.clone()).await;
        let mut found = Vec::new();
        for (table, was) in &self.rows {
            let difference = other_rows(was, &now.rows[table]);
            found.extend(difference.map(|difference| format!("table {table}: {difference}")));
        }
        for (path, was) in &self.sealed {
            match now.sealed.get(path) {
                Some(is) if is == was => {}
                Some(is) => found.push(format!("{path}: {}", first_difference(was, is))),
                None => found.push(format!("{path} is gone")),
            }
        }
        for (path, was) in &self.told {
            let Some(is) = now.told.get(path) else { continue };
            if !says(was, is) && !says(is, was) {
                found.push(format!("{path}: {was} became {is}"));
            }
        }
        found
    }

    /// Fails unless all is as it was.
    async fn is_still(&self, world: &World, when: &str) {
        let changed = self.changed(world).await;
        assert!(changed.is_empty(), "{when}: {changed:#?}");
    }
}

fn other_rows(was: &[String], is: &[String]) -> Option<String> {
    let gone = was.iter().find(|row| !is.contains(row));
    let new = is.iter().find(|row| !was.contains(row));
    match (gone, new) {
        (Some(gone), Some(new)) => Some(first_difference(gone.as_bytes(), new.as_bytes())),
        (Some(row), None) => Some(format!("{row} is gone")),
        (None, Some(row)) => Some(format!("{row} is new")),
        (None, None) => (was != is).then(|| "a row is there more or less often".to_owned()),
    }
}

fn first_difference(was: &[u8], is: &[u8]) -> String {
    let at = was.iter().zip(is).take_while(|(was, is)| was == is).count();
    let around = |bytes: &[u8]| {
        String::from_utf8_lossy(&bytes[at.saturating_sub(40).min(bytes.len())..(at + 40).min(bytes.len())])
            .into_owned()
    };
    format!("byte {at}: {:?} became {:?}", around(was), around(is))
}

/// Whether one answer says everything that the other says. It may say more.
fn says(less: &Value, more: &Value) -> bool {
    match (less, more) {
        (Value::Object(less), Value::Object(more)) => {
            less.iter().all(|(key, value)| more.get(key).is_some_and(|other| says(value, other)))
        }
        (Value::Array(less), Value::Array(more)) => {
            less.len() == more.len() && less.iter().zip(more).all(|(less, more)| says(less, more))
        }
        _ => less == more,
    }
}

/// Some of everything: orders, facts, a gap that is decided, counters, credits, stages, approvals, February closed and a
/// part of it taken back, and a late fact which the next month corrects.
async fn live(world: &World) {
    world.set_up().await;
    gap(world).await;
    make_ready(world).await;
    let treasury = || world.member("treasury");
    let access = |role: &str, group: &str| json!({"role": role, "groups": [format!("system:serviceaccounts:{group}")]});
    let interior = but(
        &tenant("interior", Some("kingdom"), json!({})),
        json!({"generation": 3, "billing": {"account": "1.2.10"}, "access": [
            access("finance", "treasury"), access("certifier", "certifiers"), access("approver", "chiefs")
        ], "approvalAbove": {"minor": 90_000, "currency": "MAD"}}),
    );
    world.operator().put("/v1/tenants/interior", &interior).await.ok::<Value>();
    let decision = json!({"gaps": [1], "billed": true, "evidence": "Journal du centre de données"});
    world.member("certifiers").post("/v1/tenants/police/gaps/decisions", &decision).await.ok::<Value>();
    let credits = json!({"fiscalYear": 2024, "opened": {"minor": 10_000_000, "currency": "MAD"}});
    treasury().put(CREDITS, &credits).await.ok::<Value>();
    for (uid, approved) in [("u-7", true), ("u-8", false)] {
        let wanted = but(&order("police", uid, 1, 10), json!({"requester": account("police")}));
        let path = format!("/v1/reservations/{uid}");
        world.operator().put(&path, &wanted).await.refused(409, "approval-pending");
        if approved {
            let path = format!("/v1/tenants/police/approvals/{uid}");
            world.member("chiefs").post(&path, &json!({"comment": "=oui"})).await.ok::<Value>();
            world.operator().put(&format!("/v1/reservations/{uid}"), &wanted).await.ok::<Value>();
        }
    }
    world.operator().post("/v1/usage/counters", &batch(1, &march())).await.ok::<Value>();
    finance(world).put("/v1/costs/2024/energy", &examples::cost_record()).await.ok::<Value>();
    finance(world).put("/v1/settings", &json!({"auditRetentionYears": 12})).await.ok::<Value>();
    let closed = close(world, FEBRUARY).await;
    assert!(closed.closed, "{closed:?}");
    let bill = documents(world).await.into_iter().find(|d| d.buyer.tenant.as_str() == "interior").unwrap();
    let path = format!("/v1/tenants/interior/statements/{}", bill.number);
    let certified = json!({"stage": "certified", "reference": "SF-1"});
    world.member("certifiers").post(&format!("{path}/stages"), &certified).await.ok::<Value>();
    let part = json!({"key": "1", "reason": "Panne", "lines": [{"line": 0, "minor": 1_001}]});
    finance(world).post(&format!("{path}/credit-notes"), &part).await.ok::<Value>();
    late(world, "2024-02-29T13:00:00Z").await;
}

/// An order that nobody saw for ten hours of February: the first gap.
async fn gap(world: &World) {
    let booked = but(&order("police", "u-4", 1, 10), json!({"billing": {"budgetLine": "2024-30-10"}}));
    world.operator().put("/v1/reservations/u-4", &booked).await.ok::<Value>();
    stop_clock(world, "2024-02-20T08:00:00Z").await;
    report(world, &[now("u-4", "compute", Some(("postgres-small", 2)))]).await;
    stop_clock(world, "2024-02-20T10:00:00Z").await;
    checkpoint(world, &["u-4"], None).await;
    stop_clock(world, "2024-02-20T20:00:00Z").await;
    report(world, &[now("u-4", "compute", None)]).await;
    show(world, RUNNING.to_owned()).await;
    checkpoint(world, &[], None).await;
}

/// Somebody says after a month was closed that an hour of it was not used.
async fn late(world: &World, at: &str) {
    let from: jiff::Timestamp = at.parse().unwrap();
    let again = (from + jiff::SignedDuration::from_hours(1)).to_string();
    send(
        world,
        &[
            fact("u-1", "police", "storage", at, None),
            fact("u-1", "police", "storage", &again, Some(("block-storage", 10_240))),
        ],
    )
    .await;
}

/// Closes a month: its documents follow those before it, and the month before it is corrected in them.
async fn next(world: &World, month: &str) {
    let before = documents(world).await;
    let closed = close(world, month).await;
    assert!(closed.closed, "{closed:?}");
    let all = documents(world).await;
    assert_eq!(all[..before.len()], before[..]);
    let new: Vec<&Statement> = all[before.len()..].iter().collect();
    assert!(
        new.iter().any(|d| !d.lines.is_empty()) && new.iter().any(|d| !d.corrections.is_empty()),
        "{new:?}"
    );
    let last = before.iter().rfind(|d| d.kind == StatementKind::Statement).unwrap();
    let number = |document: &Statement| document.number.rsplit_once('-').unwrap().1.parse::<u64>().unwrap();
    assert_eq!(number(new[0]), number(last) + 1);
    sums_are_right(world).await;
}

/// A program of a landing on a database.
struct Landing {
    program: PathBuf,
    place: PathBuf,
    database: PgConnectOptions,
    keys: String,
}

impl Landing {
    async fn serve(&self) -> (Program, World) {
        let mut command = Command::new(&self.program);
        command.env("SIYADA_SIGNING_KEY", self.place.join("key.pem"));
        let program = Program::serve(command, &self.database, &self.keys).await;
        program.ready().await;
        let world = program.world(&self.database);
        world.state.set_migrated();
        (program, world)
    }

    /// Runs a command of it, and returns what it says.
    fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(&self.place);
        if arguments[0] != "verify" {
            command.env("SIYADA_DATABASE_URL", url_of(&self.database));
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Checks an export, every signature of it.
    async fn verifies(&self, export: &str, world: &World) {
        let key: Value = finance(world).get("/v1/signing-key").await.ok();
        let said =
            self.run(&["verify", "--export", export, "--public-key", key["publicKey"].as_str().unwrap()]);
        assert!(said.contains("compute") && !said.starts_with("0 "), "{said}");
    }
}

/// The program that `make upgrade` brings.
fn previous() -> PathBuf {
    let folder = std::env::var_os("SIYADA_PREVIOUS");
    let folder = folder
        .expect("this needs the program of the previous landing; run `make upgrade`, which compiles it");
    let program = Path::new(&folder).join("bin/siyada-api");
    assert!(program.is_file(), "there is no {}; run `make upgrade`", program.display());
    program
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the program of the previous landing: make upgrade"]
async fn what_was_recorded_and_closed_is_kept_through_an_upgrade_and_back() {
    siyada_api::install_tls_provider();
    let place = Place::new("upgrade");
    std::fs::create_dir_all(&place.0).unwrap();
    let pair = ring::signature::Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(pair.as_ref())
    );
    std::fs::write(place.0.join("key.pem"), pem).unwrap();
    let (database, keys) = (bare_database("upgrade").await, keys().await);
    let landing = |program: PathBuf| Landing {
        program,
        place: place.0.clone(),
        database: database.clone(),
        keys: keys.clone(),
    };
    let (previous, this) = (landing(previous()), landing(env!("CARGO_BIN_EXE_siyada-api").into()));

    let (old, world) = previous.serve().await;
    live(&world).await;
    let february = Picture::take(&world).await;
    assert!(february.rows["statement"].len() == 3 && february.sealed.len() == SEALED.len() + 3 * FORMS.len());
    previous.run(&["export", "--dir", "before"]);
    // The schema is the new one at once; the pods of both landings run for a while.
    this.run(&["migrate"]);
    february.is_still(&world, "the previous one, on the new schema").await;
    let (new, renewed) = this.serve().await;
    february.is_still(&renewed, "upgraded").await;
    february.is_still(&world, "the previous one, which still runs").await;
    old.stop().await;
    this.verifies("before", &renewed).await;
    this.run(&["export", "--dir", "after"]);
    this.verifies("after", &renewed).await;
    let exported = |export: &str| std::fs::read(place.0.join(export).join("documents.ndjson")).unwrap();
    assert_eq!(exported("after"), exported("before"));
    next(&renewed, MARCH).await;
    late(&renewed, "2024-03-31T13:00:00Z").await;
    let march = Picture::take(&renewed).await;
    assert_eq!(march.told.len(), TOLD.len(), "this landing knows {:?}", march.told.keys());
    new.stop().await;

    let (old, world) = previous.serve().await;
    march.is_still(&world, "the previous one again").await;
    previous.run(&["export", "--dir", "back"]);
    previous.verifies("back", &world).await;
    next(&world, APRIL).await;
    late(&world, "2024-04-30T13:00:00Z").await;
    let april = Picture::take(&world).await;
    old.stop().await;

    let (new, world) = this.serve().await;
    april.is_still(&world, "upgraded again").await;
    next(&world, MAY).await;
    // Asked of both at once, a month closes once.
    let (old, other) = previous.serve().await;
    let before = documents(&world).await.len();
    let (one, another) = tokio::join!(close(&world, JUNE), close(&other, JUNE));
    assert!(one.closed && one == another, "{one:?} {another:?}");
    let written = i64::try_from(documents(&other).await.len() - before).unwrap();
    assert_eq!((written, documents(&world).await), (one.statements, documents(&other).await));
    old.stop().await;
    verified(&world).await;
    this.run(&["export", "--dir", "whole"]);
    this.verifies("whole", &world).await;
    new.stop().await;
}

#[tokio::test]
async fn whatever_an_upgrade_changed_would_be_named() {
    let world = World::on(siyada_api::store::pool(crate::support::fresh_database().await));
    let pair = ring::signature::Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
    let mut state = world.state.clone();
    state.signer = Some(std::sync::Arc::new(siyada_api::signing::Signer::new(pair.as_ref()).unwrap()));
    let world = World { app: siyada_api::app(state), ..world };
    live(&world).await;
    let before = Picture::take(&world).await;
    assert_eq!(before.told.len(), TOLD.len(), "{:?}", before.told.keys());
    before.is_still(&world, "nothing happened").await;
    let more = "alter table statement add column note text not null default ''";
    sqlx::query(more).execute(&world.pool).await.unwrap();
    before.is_still(&world, "a column more").await;
    for (table, change, back) in [
        ("usage_change", "quantity = quantity + 1", "quantity = quantity - 1"),
        ("reservation", "generation = generation + 1", "generation = generation - 1"),
        ("audit_event", "actor = actor || '.'", "actor = left(actor, -1)"),
        ("meter_gap", "end_ms = end_ms + 1", "end_ms = end_ms - 1"),
        ("statement", "issued_ms = issued_ms + 1", "issued_ms = issued_ms - 1"),
    ] {
        tamper(&world.pool, table, &format!("update {table} set {change}")).await;
        let found = before.changed(&world).await;
        assert!(found.iter().any(|text| text.starts_with(&format!("table {table}: "))), "{table}: {found:?}");
        tamper(&world.pool, table, &format!("update {table} set {back}")).await;
        before.is_still(&world, table).await;
    }
    tamper(&world.pool, "statement", "alter table statement drop column issued_by cascade").await;
    let found = Picture::with(&world, before.columns.clone()).await;
    assert!(found.rows["statement"][0].contains("issued_by"), "{:?}", found.rows["statement"]);
}

/// A filter that finds nothing passes: the name in the Makefile must be that of the test.
#[test]
fn make_test_runs_the_upgrade() {
    fn name<T>(_: T) -> &'static str {
        std::any::type_name::<T>().split_once("::").unwrap().1
    }
    let name = name(what_was_recorded_and_closed_is_kept_through_an_upgrade_and_back);
    let makefile = include_str!("../../../Makefile");
    assert!(makefile.contains(&format!("--test it {name} -- --ignored")), "the Makefile does not run {name}");
    assert!(
        makefile.lines().any(|l| l.starts_with("test:") && l.contains(" upgrade")),
        "make test has no upgrade"
    );
}

//! A PostgreSQL of its own, which is killed as well, with the ledger that a storm is about.

use crate::closing::{close, documents, fact, finance, send};
use crate::storm::plan::{COLLECTORS, ORDERS, Plan, tenant_of, uid};
use crate::support::{World, but, order, prices_of_2024, tenant};
use jiff::Timestamp;
use serde_json::{Value, json};
use siyada_api::embedded::{Embedded, Options};
use siyada_api::openapi::examples;
use siyada_api::store;
use siyada_model::statement::Statement;
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A server that is started again whenever it dies. A shell waits for our end and removes it.
pub struct Server {
    embedded: Embedded,
    directory: PathBuf,
    _undertaker: Child,
}

impl Server {
    pub async fn start() -> Self {
        let directory = std::env::temp_dir().join(format!("siyada-storm-{}", std::process::id()));
        let embedded = Embedded::start(&directory, Options::default()).await.unwrap();
        let undertaker = Command::new("sh")
            .args([
                "-c",
                "read _; pid=$(head -n 1 \"$1/data/postmaster.pid\"); kill -QUIT $pid
                 while kill -0 $pid 2>/dev/null; do sleep 0.1; done; rm -rf \"$1\"",
                "undertaker",
            ])
            .arg(&directory)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        store::migrate(&embedded.connect_options("siyada")).await.unwrap();
        Self { embedded, directory, _undertaker: undertaker }
    }

    pub fn database(&self) -> PgConnectOptions {
        self.embedded.connect_options("siyada")
    }

    /// The process of the server, if it runs.
    pub fn pid(&self) -> Option<u32> {
        self.embedded.pid()
    }

    /// A place for files of this run, gone with it.
    pub fn place(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// A ledger with orders that are reserved and booked, an issuer, and the first fact: February 2024 is its first month.
pub async fn world(pool: PgPool) -> World {
    let world = World::with_tenants_on(pool).await;
    let operator = world.operator();
    prices_of_2024(&world).await;
    let interior = json!({"generation": 2, "billing": {"account": "1.2.10"}});
    let interior = but(&tenant("interior", Some("kingdom"), json!({})), interior);
    operator.put("/v1/tenants/interior", &interior).await.ok::<Value>();
    // What the calls of `crash::calls` need: 99 instances are too many, and every order of guarded waits.
    let limit = but(&tenant("police", Some("interior"), json!({"instances": 100})), json!({"generation": 2}));
    operator.put("/v1/tenants/police", &limit).await.ok::<Value>();
    let approved = json!({"approvalAbove": {"minor": 0, "currency": "MAD"}});
    let guarded = but(&tenant("guarded", Some("kingdom"), json!({})), approved);
    operator.put("/v1/tenants/guarded", &guarded).await.ok::<Value>();
    for number in 0..ORDERS {
        let uid = uid(number);
        let booked = json!({"billing": {"costCentre": "DSI", "budgetLine": format!("30-{}", number % 5)}});
        let order = but(&order(tenant_of(number), &uid, 1, 10), booked);
        operator.put(&format!("/v1/reservations/{uid}"), &order).await.ok::<Value>();
    }
    let first = fact(&uid(0), tenant_of(0), "compute", "2024-01-31T23:00:00Z", Some(("postgres-small", 1)));
    send(&world, &[first]).await;
    finance(&world).put("/v1/issuer", &examples::issuer()).await.ok::<Value>();
    finance(&world).put("/v1/accounts/1.2.10", &examples::account_record()).await.ok::<Value>();
    world
}

/// The sums of quotas are those of a recount and within their limits, and the ledger comes to nothing.
pub async fn sums_are_right(world: &World) {
    assert_eq!(world.wrong_sums().await, Vec::<String>::new());
    let over: Vec<String> = sqlx::query_scalar(
        "select t.name from tenant_quota q join tenant t on t.id = q.tenant_id
         where held_instances > limit_instances or held_cpu_milli > limit_cpu_milli
            or held_memory_bytes > limit_memory_bytes or held_storage_bytes > limit_storage_bytes
            or held_money_minor > limit_money_minor",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    assert_eq!(over, Vec::<String>::new(), "these hold more than their limit");
    let (entries, left): (i64, i64) =
        sqlx::query_as("select count(*), coalesce(sum(minor), 0)::bigint from ledger_entry")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert!(entries > 0 && left == 0, "{entries} entries of the ledger come to {left}");
}

/// The credit note of a month: its document, and what is asked. Of some all is taken back, of others a part.
pub async fn note(world: &World, label: &str, number: usize) -> (String, Value) {
    let all = documents(world).await;
    let document = all.iter().find(|d| d.credits.is_none() && d.period.month.to_string() == label).unwrap();
    let path = format!("/v1/tenants/kingdom/statements/{}/credit-notes", document.number);
    let mut ask = json!({"key": format!("note-{label}"), "reason": "Panne"});
    if let Some(line) = document.lines.iter().position(|l| l.minor > 1).filter(|_| number.is_multiple_of(2)) {
        ask["lines"] = json!([{"line": line, "minor": document.lines[line].minor / 2}]);
    }
    (path, ask)
}

/// What the same plan gives when nothing dies, nothing is sent twice and everything comes in its order.
pub async fn undisturbed(pool: PgPool, plan: &Plan) -> Vec<Statement> {
    let world = world(pool).await;
    for (number, month) in plan.months.iter().enumerate() {
        for batch in &month.batches {
            let facts: Vec<&Value> = batch.iter().map(|told| &told.fact).collect();
            let batch = json!({"collector": COLLECTORS[batch[0].collector], "epoch": 1, "facts": facts});
            world.operator().post("/v1/usage", &batch).await.ok::<Value>();
        }
        for collector in COLLECTORS {
            let round = json!({"collector": collector, "epoch": 1, "seen": [], "complete": true});
            world.operator().post("/v1/usage/checkpoints", &round).await.ok::<Value>();
        }
        let closed = close(&world, &format!("/v1/periods/{}/closing", month.label)).await;
        assert!(closed.closed, "{closed:?}");
        let (path, ask) = note(&world, &month.label, number).await;
        finance(&world).post(&path, &ask).await.ok::<Value>();
    }
    documents(&world).await
}

/// The canonical bytes of a document without what the clock and the numbering of records say: when it was issued, up to
/// which record it counts, and so the chain before it.
pub fn bytes(document: &Statement) -> String {
    let plain = Statement {
        issued_at: Timestamp::UNIX_EPOCH,
        as_of: 0,
        previous_chain: String::new(),
        ..document.clone()
    };
    String::from_utf8(plain.bytes().unwrap()).unwrap()
}

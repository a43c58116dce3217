//! What the owner of a database waits for, with the engine awake: until it is there, a gigabyte restored, another login, standing
//! still and going on, and another plan. Beside the restore stands what it takes to load the same rows by COPY.

use crate::row;
use anyhow::{Context as _, Result, ensure};
use futures::SinkExt as _;
use serde_json::{Value, json};
use siyada_tests::clients::{self, Binding};
use siyada_tests::kubectl::Kubectl;
use siyada_tests::platform::{engine, gone, ready, wait_for};
use siyada_tests::stories::{HOME, backup, changes};
use siyada_tests::wait::{eventually, seconds};
use std::fmt::Write as _;
use std::io::Cursor;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// Rows of the database; with the size of one, a gibibyte.
const ROWS: u64 = 1 << 20;
/// Characters of a row, as random as 64 of them can be.
const WIDTH: usize = 1 << 10;
/// Rows in a message of COPY.
const MESSAGE: u64 = 64;
/// A gigabyte may take so long, in each direction.
const LONG: Duration = seconds(1_800);

/// Text that compresses to three quarters at best, the same in each run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn add_to(&mut self, text: &mut String) {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        for _ in 0..WIDTH / 8 {
            let bits = self.next().to_be_bytes();
            text.extend(bits.map(|byte| char::from(LETTERS[usize::from(byte & 63)])));
        }
    }
}

async fn load(client: &Client) -> Result<()> {
    client.batch_execute("create table citizens (id bigint primary key, name text not null)").await?;
    let sink = client.copy_in::<_, Cursor<Vec<u8>>>("copy citizens from stdin").await?;
    let mut sink = std::pin::pin!(sink);
    let mut noise = Noise(6);
    for first in (0..ROWS).step_by(usize::try_from(MESSAGE)?) {
        let mut lines = String::new();
        for id in first..first + MESSAGE {
            write!(lines, "{id}\t")?;
            noise.add_to(&mut lines);
            lines.push('\n');
        }
        sink.send(Cursor::new(lines.into_bytes())).await?;
    }
    let rows = sink.finish().await?;
    ensure!(rows == ROWS, "{rows} rows were taken");
    Ok(())
}

async fn content(client: &Client) -> Result<(i64, String)> {
    let all = "select count(*), coalesce(sum(hashtextextended(name, id)::numeric), 0)::text from citizens";
    let row = client.query_one(all, &[]).await?;
    Ok((row.get(0), row.get(1)))
}

/// Measures, and leaves nothing.
pub async fn waits() -> Result<Value> {
    backup::set_up().await?;
    enlarge().await?;
    let ministry = Kubectl::service_account(HOME, "ministry-it").await?;
    let started = Instant::now();
    ministry.apply(&backup::order("owned", ", storage: 5Gi")).await?;
    ready(&ministry, "pgi", HOME, "owned", 300).await?;
    let first = told("an order until somebody can log in", started);
    let (client, binding) = backup::client(&ministry, "owned").await?;

    let started = Instant::now();
    load(&client).await?;
    let copy = told("1 GiB loaded by COPY", started);
    let before = content(&client).await?;
    let size: String =
        client.query_one("select pg_size_pretty(pg_database_size(current_database()))", &[]).await?.get(0);
    drop(client);

    let started = Instant::now();
    ministry.apply(&backup::on_demand("owned", "PostgresInstance", "owned")).await?;
    let whole = eventually(LONG, "the backup to be whole", || async {
        let backup = ministry.get("sbk", HOME, "owned").await?.context("it is not listed")?;
        ensure!(backup["status"]["phase"] == "Completed", "it is {}", backup["status"]);
        Ok(backup)
    })
    .await?;
    let saved = told(&format!("its backup ({size} in the database)"), started);
    println!(
        "| the backup, in the store | {} |",
        whole["status"]["size"].as_str().unwrap_or("not measured yet")
    );

    let started = Instant::now();
    ministry.apply(&backup::order("again", ", storage: 5Gi, restoreFrom: {backup: owned}")).await?;
    ready(&ministry, "pgi", HOME, "again", LONG.as_secs()).await?;
    let restored = told("restored into a new order, until somebody can log in", started);
    let (client, _) = backup::client(&ministry, "again").await?;
    let after = content(&client).await?;
    ensure!(after == before, "{after:?} came back of {before:?}");
    drop(client);
    let ratio = restored.as_secs_f64() / copy.as_secs_f64();
    row("ratio of the restore to COPY of the same rows", &format!("{ratio:.2}"));

    let rotated = rotate(&ministry, &binding).await?;
    let (stopped, resumed) = rest(&ministry).await?;
    for name in ["owned", "again"] {
        ministry.run(&["-n", HOME, "delete", "pgi", name, "--wait=false"]).await?;
    }
    for name in ["owned", "again"] {
        gone("pgi", HOME, name, 300).await?;
    }
    let [one, two] = [changes::another_plan(false).await?, changes::another_plan(true).await?];
    for (instances, took) in [("one instance", one), ("two instances", two)] {
        let what = format!(
            "another plan with {instances}: the longest time without a write of a client that connects again"
        );
        row(&what, &format!("{:.1} s", took.as_secs_f64()));
    }
    let all =
        [first, copy, saved, restored, rotated, stopped, resumed, one, two].map(|took| took.as_secs_f64());
    let [first, copy, saved, restored, rotated, stopped, resumed, one, two] = all;
    Ok(json!({
        "readySeconds": first, "copySeconds": copy, "backupSeconds": saved, "restoreSeconds": restored,
        "restoreToCopy": ratio, "rotateSeconds": rotated, "suspendSeconds": stopped, "resumeSeconds": resumed,
        "planPauseSeconds": {"oneInstance": one, "twoInstances": two},
    }))
}

/// The smallest plan is made one of two thirds of a processor, so that two have room on a node with two, and a gibibyte: the stories' own, with less than half of either, measures little but that.
async fn enlarge() -> Result<()> {
    let admin = Kubectl::admin();
    let mut offering =
        admin.get("serviceoffering", "default", backup::OFFERING).await?.context("no offering")?;
    for plan in offering["spec"]["plans"].as_array_mut().context("no plans")? {
        plan["cpu"] = json!("650m");
        plan["memory"] = json!("1Gi");
    }
    let whole = json!({
        "apiVersion": offering["apiVersion"], "kind": offering["kind"],
        "metadata": {"name": backup::OFFERING}, "spec": offering["spec"],
    });
    admin.apply(&whole.to_string()).await.map(|_| ())
}

/// Until the binding holds another login, and that works.
async fn rotate(ministry: &Kubectl, before: &Binding) -> Result<Duration> {
    let started = Instant::now();
    ministry.patch("pgi", HOME, "owned", &json!({"spec": {"rotationTrigger": "bench"}})).await?;
    let after = eventually(seconds(180), "the binding to hold another login", || async {
        let now = Binding::read(ministry, HOME, "owned-postgresql").await?;
        ensure!(now.username != before.username, "it is the same");
        Ok(now)
    })
    .await?;
    clients::postgres(&after).await.context("the new login is refused")?;
    Ok(told("another login, until it is in the binding and works", started))
}

/// Until it stands still, and until somebody can log in again.
async fn rest(ministry: &Kubectl) -> Result<(Duration, Duration)> {
    let started = Instant::now();
    ministry.patch("pgi", HOME, "again", &json!({"spec": {"suspend": true}})).await?;
    let order = ministry.get("pgi", HOME, "again").await?.context("no order")?;
    let (namespace, cluster) = engine(&order)?;
    let selector = format!("cnpg.io/cluster={cluster}");
    let pods = ["-n", &namespace, "get", "pods", "-o", "name", "-l", &selector];
    let admin = Kubectl::admin();
    eventually(seconds(300), "its pods to be gone", || async {
        let left = admin.run(&pods).await?;
        ensure!(left.trim().is_empty(), "{left} is there");
        Ok(())
    })
    .await?;
    let stopped = told("suspended, until no process of it runs", started);
    let started = Instant::now();
    ministry.patch("pgi", HOME, "again", &json!({"spec": {"suspend": false}})).await?;
    wait_for(ministry, "pgi", HOME, "again", "Ready", "True", None, 300).await?;
    let (client, _) = backup::client(ministry, "again").await?;
    client.simple_query("select 1").await?;
    Ok((stopped, told("resumed, until somebody can log in", started)))
}

fn told(what: &str, started: Instant) -> Duration {
    let took = started.elapsed();
    row(what, &format!("{:.1} s", took.as_secs_f64()));
    took
}

//! Backups and restores, on a site that has a real object store.

use super::{DISPOSABLE, HOME};
use crate::clients::{self, Binding};
use crate::kubectl::{Kubectl, condition, secret_value};
use crate::outages;
use crate::platform::{Api, SYSTEM, engine, figure, gone, object_store, ready, uid, wait_for};
use crate::wait::{eventually, hours_ago, seconds};
use anyhow::{Context as _, Result, ensure};
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use std::time::Instant;

/// Where the harness's object store listens.
pub const STORE_PORT: u16 = 9443;
/// The site of these stories.
const SITE: &str = "story-store";
/// The offering whose plans are backed up there.
pub const OFFERING: &str = "story-backups";

/// The harness's store as a site, and an offering that may lose a minute at most.
///
/// # Errors
/// When it cannot be applied.
pub async fn set_up() -> Result<()> {
    offer("postgresql", OFFERING, Value::Null).await
}

/// The same for an engine of the catalogue, with drills as they are given. One story at a time: of two `kubectl apply` that
/// both find nothing, one fails.
async fn offer(engine: &str, offering: &str, drill: Value) -> Result<()> {
    static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _one = ONE.lock().await;
    let admin = Kubectl::admin();
    let store = object_store()?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "siyada-object-storage", "namespace": SYSTEM},
        "stringData": {"accessKeyId": store["accessKeyId"], "secretAccessKey": store["secretAccessKey"]},
    });
    let storage = json!({
        "endpoint": store["endpoint"], "ca": store["ca"], "bucketPrefix": "siyada",
        "credentialsSecret": "siyada-object-storage",
    });
    let site = json!({
        "apiVersion": "siyada.cloud/v1alpha1", "kind": "Site", "metadata": {"name": SITE},
        "spec": {
            "country": "MA", "operatingBody": "Stories", "dataClassification": "Confidential",
            "storageClass": "siyada-local", "objectStorage": storage,
        },
    });
    let usual = admin.get("serviceoffering", "default", engine).await?.context("no offering")?;
    let mut spec = usual["spec"].clone();
    spec["default"] = json!(false);
    for plan in spec["plans"].as_array_mut().context("no plans")? {
        // With a fifth of a processor the engine's tools would take minutes; three instances must fit on a node with two.
        plan["cpu"] = json!("450m");
        plan["backup"] = json!({
            "schedule": "30 1 * * *", "retentionDays": 7, "pointInTimeRecovery": true, "recoveryPointMinutes": 1,
        });
        // Their price is the volumes': the examples' list has no other for GiB.
        plan["backupSku"] = json!("volume");
        if !drill.is_null() {
            plan["backup"]["drill"] = drill.clone();
        }
    }
    let offering = json!({
        "apiVersion": "siyada.cloud/v1alpha1", "kind": "ServiceOffering", "metadata": {"name": offering}, "spec": spec,
    });
    for object in [secret, site, offering] {
        admin.apply(&object.to_string()).await?;
    }
    Ok(())
}

/// An order that is backed up there, and wants no last backup.
pub fn order(name: &str, more: &str) -> String {
    let spec =
        format!("{DISPOSABLE}, site: {SITE}, offering: {OFFERING}, backup: {{lastBackup: false}}{more}");
    super::postgres(HOME, name, &spec)
}

/// A client with the Secret of an order.
///
/// # Errors
/// When it cannot be done.
pub async fn client(ministry: &Kubectl, name: &str) -> Result<(tokio_postgres::Client, Binding)> {
    let binding = Binding::read(ministry, HOME, &format!("{name}-postgresql")).await?;
    Ok((clients::postgres(&binding).await?, binding))
}

/// Rows and a checksum over all of them.
///
/// # Errors
/// When it cannot be done.
pub async fn content(client: &tokio_postgres::Client) -> Result<(i64, String)> {
    let all =
        "select count(*), coalesce(md5(string_agg(id || ':' || name, ',' order by id)), '') from citizens";
    let row = client.query_one(all, &[]).await?;
    Ok((row.get(0), row.get(1)))
}

/// Adds rows.
///
/// # Errors
/// When it cannot be done.
pub async fn add(client: &tokio_postgres::Client, from: i32, to: i32) -> Result<()> {
    let insert = "insert into citizens select i, md5(i::text) from generate_series($1::int, $2::int) i";
    client.execute(insert, &[&from, &to]).await?;
    Ok(())
}

/// Waits until what was written so far is in the store.
///
/// # Errors
/// When it cannot be done.
pub async fn archived(client: &tokio_postgres::Client) -> Result<()> {
    let now: String = client.query_one("select pg_walfile_name(pg_current_wal_lsn())", &[]).await?.get(0);
    eventually(seconds(150), "the last change to be archived", || async {
        let row =
            client.query_one("select coalesce(last_archived_wal, '') from pg_stat_archiver", &[]).await?;
        let last: String = row.get(0);
        ensure!(last.get(..24).unwrap_or_default() >= now.as_str(), "archived up to {last:?}, wanted {now}");
        Ok(())
    })
    .await
}

/// Waits until a backup is whole.
///
/// # Errors
/// When it cannot be done.
pub async fn completed(ministry: &Kubectl, name: &str) -> Result<Value> {
    eventually(seconds(180), "the backup to be whole", || async {
        let backup = ministry.get("sbk", HOME, name).await?.context("it is not listed")?;
        ensure!(backup["status"]["phase"] == "Completed", "it is {}", backup["status"]);
        ensure!(backup["status"]["size"].is_string(), "it has no size: {}", backup["status"]);
        Ok(backup)
    })
    .await
}

/// A backup that somebody asks for.
pub fn on_demand(name: &str, kind: &str, of: &str) -> String {
    json!({
        "apiVersion": "siyada.cloud/v1alpha1", "kind": "ServiceBackup", "metadata": {"name": name, "namespace": HOME},
        "spec": {"instance": {"kind": kind, "name": of}},
    })
    .to_string()
}

/// A backup on demand and a moment are restored into new orders, row by row; old passwords and foreign buckets are refused.
pub async fn restored() -> Result<()> {
    set_up().await?;
    let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(HOME, "ministry-it").await?);
    ministry.apply(&order("origin", "")).await?;
    let origin = ready(&ministry, "pgi", HOME, "origin", 240).await?;
    let (db, old) = client(&ministry, "origin").await?;
    db.batch_execute("create table citizens (id int primary key, name text)").await?;
    add(&db, 1, 1000).await?;
    let first = content(&db).await?;
    ministry.apply(&on_demand("first", "PostgresInstance", "origin")).await?;
    let backup = completed(&ministry, "first").await?;
    println!("  backup on demand: {}", backup["status"]);
    ensure!(backup["status"]["expires"].is_string(), "it has no expiry");
    billed(&uid(&origin)?).await?;
    wait_for(&ministry, "pgi", HOME, "origin", "BackupHealthy", "True", None, 120).await?;
    let selector = "siyada.cloud/scheduled=true";
    let uids = ["-n", HOME, "get", "sbk", "-l", selector, "-o", "jsonpath={.items[*].status.orderUid}"];
    let listed = admin.run(&uids).await?;
    let own = uid(&origin)?;
    let count = listed.split_whitespace().filter(|of| *of == own).count();
    ensure!(count == 1, "the schedule's own first backup is not listed: {listed:?}");
    let of_schedule = admin.list("sbk", HOME, selector).await?;
    let of_schedule = of_schedule.iter().find(|backup| backup["status"]["orderUid"] == own.as_str());
    let status = &of_schedule.context("it is listed no more")?["status"];
    let tells = ["size", "completedAt", "expires"].iter().all(|field| status[*field].is_string());
    ensure!(tells && status["phase"] == "Completed", "the schedule's own backup says {status}");

    add(&db, 1001, 1500).await?;
    let before = content(&db).await?;
    let moment = clock(&db).await?;
    add(&db, 1501, 2000).await?;
    archived(&db).await?;
    let started = Instant::now();
    ministry
        .apply(&order("moment", &format!(", restoreFrom: {{instance: origin, time: '{moment}'}}")))
        .await?;
    ministry.apply(&order("whole", ", restoreFrom: {backup: first}")).await?;
    let restored = ready(&ministry, "pgi", HOME, "moment", 300).await?;
    println!("  restored to a moment in {} s", started.elapsed().as_secs());
    let (there, new) = client(&ministry, "moment").await?;
    ensure!(content(&there).await? == before, "{:?} came back of {before:?}", content(&there).await?);
    let refused = clients::postgres(&new.with_password(&old.password)).await.err();
    let refused = format!("{:?}", refused.context("the restored database accepts the old password")?);
    ensure!(refused.contains("28P01"), "the old password: {refused}");
    add(&there, 3001, 3001).await?;
    ready(&ministry, "pgi", HOME, "whole", 300).await?;
    let (there, _) = client(&ministry, "whole").await?;
    ensure!(content(&there).await? == first, "{:?} came back of {first:?}", content(&there).await?);
    ensure!(content(&db).await?.0 == 2000, "the origin changed");
    confined(&admin, &origin, &restored).await?;
    cannot_be(&ministry).await?;
    drop((db, there));
    for name in ["origin", "moment", "whole"] {
        ministry.run(&["-n", HOME, "delete", "pgi", name, "--wait=false"]).await?;
        gone("pgi", HOME, name, 180).await?;
    }
    Ok(())
}

/// The moment that a database's clock shows.
async fn clock(client: &tokio_postgres::Client) -> Result<String> {
    let text = "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    Ok(client.query_one(text, &[]).await?.get(0))
}

/// Of a database to which nobody writes any more: the last moment that its order is told, one while it runs, and two when it was
/// suspended. Nothing is ever written after any of them.
pub async fn quiet() -> Result<()> {
    set_up().await?;
    let ministry = Kubectl::service_account(HOME, "ministry-it").await?;
    ministry.apply(&order("quiet", "")).await?;
    ready(&ministry, "pgi", HOME, "quiet", 240).await?;
    let (db, _) = client(&ministry, "quiet").await?;
    db.batch_execute("create table citizens (id int primary key, name text)").await?;
    add(&db, 1, 100).await?;
    let before = content(&db).await?;
    ministry.apply(&on_demand("quiet", "PostgresInstance", "quiet")).await?;
    completed(&ministry, "quiet").await?;
    let told = wait_for(&ministry, "pgi", HOME, "quiet", "BackupHealthy", "True", None, 120).await?;
    let told =
        told["status"]["backup"]["lastRecoverable"].as_str().context("no last moment is told")?.to_owned();
    let same = |name: &'static str| async move {
        let ministry = Kubectl::service_account(HOME, "ministry-it").await?;
        let order = ready(&ministry, "pgi", HOME, name, 300).await?;
        let (db, _) = client(&ministry, name).await?;
        Ok::<_, anyhow::Error>((content(&db).await?, order["status"]["operation"].to_string()))
    };
    let restore = |name: &'static str, time: String| {
        order(name, &format!(", restoreFrom: {{instance: quiet, time: '{time}'}}"))
    };
    let now = clock(&db).await?;
    for (name, time) in [("quiet-told", told), ("quiet-now", now)] {
        ministry.apply(&restore(name, time)).await?;
    }
    for name in ["quiet-told", "quiet-now"] {
        let (there, operation) = same(name).await?;
        ensure!(there == before, "{name}: {there:?} came back of {before:?}; {operation}");
        ministry.run(&["-n", HOME, "delete", "pgi", name, "--wait=false"]).await?;
    }
    let still_running = clock(&db).await?;
    drop(db);
    ministry.patch("pgi", HOME, "quiet", &json!({"spec": {"suspend": true}})).await?;
    let suspended = Some("Suspended");
    wait_for(&ministry, "pgi", HOME, "quiet", "Ready", "False", suspended, 120).await?;
    // Nothing runs, so nothing is overdue.
    wait_for(&ministry, "pgi", HOME, "quiet", "BackupHealthy", "True", suspended, 60).await?;
    let asleep = hours_ago(0)?;
    for (name, time) in [("quiet-before", still_running), ("quiet-asleep", asleep)] {
        ministry.apply(&restore(name, time)).await?;
    }
    for name in ["quiet-before", "quiet-asleep"] {
        let (there, operation) = same(name).await?;
        ensure!(there == before, "{name}: {there:?} came back of {before:?}; {operation}");
    }
    for name in ["quiet", "quiet-before", "quiet-asleep"] {
        ministry.run(&["-n", HOME, "delete", "pgi", name, "--wait=false"]).await?;
    }
    for name in ["quiet", "quiet-told", "quiet-now", "quiet-before", "quiet-asleep"] {
        gone("pgi", HOME, name, 180).await?;
    }
    Ok(())
}

/// What the backups take is on the bill.
async fn billed(order: &str) -> Result<()> {
    let api = Api::service_account(HOME, "ministry-it").await?;
    eventually(seconds(60), "the backup to be metered", || async {
        let all = super::deletion::all_intervals(&api, order).await?;
        let open = |i: &&Value| i["meter"] == "backup" && i["end"].is_null();
        let interval = all.iter().find(open).with_context(|| format!("no open interval in {all:?}"))?;
        println!("  metered: {interval}");
        ensure!(
            interval["level"]["sku"] == "volume" || interval["sku"] == "volume",
            "another price: {interval}"
        );
        Ok(())
    })
    .await
}

/// What each login may do, tried with the engine's own library from the instance's own pod.
const TRY: &str = r#"
import boto3, os, sys
from botocore.config import Config
from botocore.exceptions import ClientError
endpoint, key, secret, own, other = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=endpoint, verify=False, aws_access_key_id=key, aws_secret_access_key=secret,
    region_name="us-east-1", config=Config(s3={"addressing_style": "path"}))
s3.list_objects_v2(Bucket=own)
s3.put_object(Bucket=own, Key="probe", Body=b"1")
s3.delete_object(Bucket=own, Key="probe")
for name, call in {
    "list": lambda: s3.list_objects_v2(Bucket=other), "head": lambda: s3.head_bucket(Bucket=other),
    "put": lambda: s3.put_object(Bucket=other, Key="g1/probe", Body=b"1"),
    "get": lambda: s3.get_object(Bucket=other, Key="g1/probe"),
    "delete": lambda: s3.delete_object(Bucket=other, Key="g1/probe"),
    "copy": lambda: s3.copy_object(Bucket=own, Key="stolen", CopySource={"Bucket": other, "Key": "g1/probe"}),
    "make a bucket": lambda: s3.create_bucket(Bucket="siyada-of-nobody"),
}.items():
    try:
        call()
        sys.exit(f"{name}: allowed")
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 403:
            sys.exit(f"{name}: {error}")
print("confined")
"#;

/// Neither instance reaches the other's bucket; the restored one not even that which it was restored from.
async fn confined(admin: &Kubectl, one: &Value, two: &Value) -> Result<()> {
    let bucket = |order: &Value| Ok::<_, anyhow::Error>(format!("siyada-{}", uid(order)?));
    for (own, other) in [(one, two), (two, one)] {
        let (namespace, cluster) = engine(own)?;
        let store = object_store()?;
        let secret =
            admin.get("secret", &namespace, &format!("{cluster}-store")).await?.context("no login")?;
        let (id, key) =
            (secret_value(&secret, "ACCESS_KEY_ID")?, secret_value(&secret, "ACCESS_SECRET_KEY")?);
        let (pod, endpoint) = (format!("{cluster}-1"), store["endpoint"].as_str().unwrap_or_default());
        let (own, other) = (bucket(own)?, bucket(other)?);
        eventually(seconds(60), "the store to refuse everything outside", || async {
            let words = ["python3", "-W", "ignore", "-c", TRY, endpoint, &id, &key, &own, &other];
            let said = admin.in_postgres(&namespace, &pod, &words).await?;
            ensure!(said.contains("confined"), "it says {said:?}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Restores that are refused, each with a sentence.
async fn cannot_be(ministry: &Kubectl) -> Result<()> {
    let wrong = [
        ("{backup: nothing}", "there is no ServiceBackup nothing"),
        ("{instance: origin, time: '2001-01-01T00:00:00Z'}", "can be restored from"),
        ("{retainedInstance: not-mine}", "no data of a deleted order"),
    ];
    for (from, sentence) in wrong {
        ministry.apply(&order("never", &format!(", restoreFrom: {from}"))).await?;
        let told =
            wait_for(ministry, "pgi", HOME, "never", "Ready", "False", Some("RestoreImpossible"), 60).await?;
        let (_, _, message) = condition(&told, "Ready").context("no condition")?;
        ensure!(message.contains(sentence), "{from}: {message}");
        ministry.run(&["-n", HOME, "delete", "pgi", "never", "--wait=false"]).await?;
        gone("pgi", HOME, "never", 60).await?;
    }
    let two = order("never", ", restoreFrom: {backup: a, instance: b}");
    let refused = ministry.try_with(&["apply", "-f", "-"], &two).await?;
    ensure!(!refused.ok && refused.err.contains("names one of"), "two sources: {}", refused.err);
    Ok(())
}

/// The store refuses everything, and then it answers nothing: the order says so and serves on, and says when it is back.
pub async fn store_away() -> Result<()> {
    set_up().await?;
    let ministry = Kubectl::service_account(HOME, "ministry-it").await?;
    ministry.apply(&order("archive", "")).await?;
    ready(&ministry, "pgi", HOME, "archive", 240).await?;
    wait_for(&ministry, "pgi", HOME, "archive", "BackupHealthy", "True", None, 180).await?;
    let (db, _) = client(&ministry, "archive").await?;
    db.batch_execute("create table citizens (id int primary key, name text)").await?;
    archived(&db).await?;
    outages::refuse(STORE_PORT).await?;
    let refused = noticed(&ministry, &db, 1).await;
    outages::accept().await?;
    let (written, _) = refused?;
    recovered(&ministry, &db, &written).await?;

    // The engine's own tools would say so after some five minutes.
    outages::silence(STORE_PORT).await?;
    let silent = noticed(&ministry, &db, 101).await;
    outages::accept().await?;
    let (written, message) = silent?;
    ensure!(message.contains("nothing has come since"), "it says {message:?}");
    recovered(&ministry, &db, &written).await?;
    drop(db);
    ministry.run(&["-n", HOME, "delete", "pgi", "archive", "--wait=false"]).await?;
    gone("pgi", HOME, "archive", 180).await
}

/// Adds a hundred rows while the store is away, and waits until the order says so: what was written, and what is said.
async fn noticed(
    ministry: &Kubectl,
    db: &tokio_postgres::Client,
    from: i32,
) -> Result<((i64, String), String)> {
    let started = Instant::now();
    add(db, from, from + 99).await?;
    let why = Some("ArchivingFailed");
    let order = wait_for(ministry, "pgi", HOME, "archive", "BackupHealthy", "False", why, 240).await?;
    println!("  without the store: BackupHealthy False after {} s", started.elapsed().as_secs());
    let ready = condition(&order, "Ready").map(|(status, ..)| status);
    ensure!(ready.as_deref() == Some("True"), "Ready is {ready:?}");
    let written = content(db).await?;
    ensure!(written.0 == i64::from(from) + 99, "the database serves no more");
    let said = condition(&order, "BackupHealthy").map(|(.., message)| message);
    eventually(seconds(90), "an alert to know since when", || async {
        let begins = "siyada_operator_instance_backup_unhealthy_since_seconds{";
        figure("/instances", begins, "siyada_cloud_order_name=\"archive\"").await
    })
    .await?;
    Ok((written, said.unwrap_or_default()))
}

/// Waits until the store, which is back, has everything and the order says so.
async fn recovered(ministry: &Kubectl, db: &tokio_postgres::Client, written: &(i64, String)) -> Result<()> {
    let started = Instant::now();
    wait_for(ministry, "pgi", HOME, "archive", "BackupHealthy", "True", None, 240).await?;
    println!("  with the store: BackupHealthy True after {} s", started.elapsed().as_secs());
    archived(db).await?;
    let there = content(db).await?;
    ensure!(there == *written, "{written:?} was written without the store, {there:?} is there");
    Ok(())
}

/// The offering whose backups are proven every minute.
const DRILLED: &str = "story-drills";

/// The newest backup is restored beside its instance and read, the order says so, and nothing of it is left; a check that
/// finds the data wrong says that too. The archive is read and not written.
pub async fn proven() -> Result<()> {
    let query = |rows: u32| json!({"schedule": "* * * * *", "checkQuery": format!("select count(*) = {rows} from citizens")});
    let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(HOME, "ministry-it").await?);
    // Without drills until there is something to prove.
    offer("postgresql", DRILLED, Value::Null).await?;
    let spec = format!("{DISPOSABLE}, site: {SITE}, offering: {DRILLED}, backup: {{lastBackup: false}}");
    ministry.apply(&super::postgres(HOME, "proven", &spec)).await?;
    let there = ready(&ministry, "pgi", HOME, "proven", 240).await?;
    wait_for(&ministry, "pgi", HOME, "proven", "BackupProven", "False", Some("NeverProven"), 180).await?;
    let (db, _) = client(&ministry, "proven").await?;
    db.batch_execute("create table citizens (id int primary key, name text)").await?;
    add(&db, 1, 1000).await?;
    ministry.apply(&on_demand("to-prove", "PostgresInstance", "proven")).await?;
    completed(&ministry, "to-prove").await?;
    offer("postgresql", DRILLED, query(1000)).await?;
    let told =
        wait_for(&ministry, "pgi", HOME, "proven", "BackupProven", "True", Some("Proven"), 420).await?;
    let drill = &told["status"]["backup"]["drill"];
    println!("  drill: {drill}");
    ensure!(drill["backup"] == "to-prove", "another backup was proven: {drill}");
    ensure!(drill["durationSeconds"].as_i64().is_some_and(|s| s > 0), "it took no time: {drill}");
    eventually(seconds(90), "the duration of the drill to be among the figures", || async {
        let took = figure("", "siyada_operator_drill_duration_seconds{", DRILLED).await?;
        ensure!(took > 0.0, "it took {took} s");
        Ok(())
    })
    .await?;
    // The same backup does not hold what is asked now.
    offer("postgresql", DRILLED, query(1001)).await?;
    let why = Some("DrillFailed");
    let told = wait_for(&ministry, "pgi", HOME, "proven", "BackupProven", "False", why, 420).await?;
    ensure!(
        condition(&told, "Ready").is_some_and(|(status, ..)| status == "True"),
        "the instance is not Ready"
    );
    offer("postgresql", DRILLED, Value::Null).await?;
    nothing_left(&admin, &there).await?;
    ensure!(content(&db).await?.0 == 1000, "the instance changed");
    drop(db);
    ministry.run(&["-n", HOME, "delete", "pgi", "proven", "--wait=false"]).await?;
    gone("pgi", HOME, "proven", 180).await
}

/// Nothing carries the label of an order's drill any more.
async fn nothing_left(admin: &Kubectl, order: &Value) -> Result<()> {
    let (namespace, _) = engine(order)?;
    let selector = format!("siyada.cloud/drill={}", uid(order)?);
    let kinds = "clusters.postgresql.cnpg.io,secrets,networkpolicies,persistentvolumeclaims,pods";
    eventually(seconds(180), "the drill to be removed", || async {
        let left = admin.run(&["-n", &namespace, "get", kinds, "-l", &selector, "-o", "name"]).await?;
        ensure!(left.trim().is_empty(), "there are {left}");
        Ok(())
    })
    .await
}

/// Documents and a checksum over all of them, in the order of their numbers.
async fn papers(client: &mongodb::Client, database: &str) -> Result<(i32, String)> {
    use sha2::{Digest, Sha256};
    let all = client.database(database).collection::<Document>("papers");
    let mut cursor = all.find(doc! {}).sort(doc! {"number": 1}).await?;
    let (mut count, mut sum) = (0, Sha256::new());
    while cursor.advance().await? {
        let paper = cursor.deserialize_current()?;
        sum.update(format!("{}:{};", paper.get_i32("number")?, paper.get_str("text")?));
        count += 1;
    }
    Ok((count, hex::encode(sum.finalize())))
}

/// A backup of a document store, a moment of it and what was kept of a deleted one are restored, document by document, through the
/// gateway.
pub async fn documents() -> Result<()> {
    const OFFERED: &str = "story-document-backups";
    offer("documents", OFFERED, Value::Null).await?;
    let ministry = Kubectl::service_account(HOME, "ministry-it").await?;
    let order = |name: &str, more: &str| {
        let spec =
            format!("{DISPOSABLE}, site: {SITE}, offering: {OFFERED}, backup: {{lastBackup: false}}{more}");
        super::documents(HOME, name, &spec)
    };
    ministry.apply(&order("archive-docs", "")).await?;
    ready(&ministry, "dsi", HOME, "archive-docs", 240).await?;
    let old = Binding::read(&ministry, HOME, "archive-docs-mongodb").await?;
    let origin = clients::documents(&old).await?;
    let file = |from: i32, to: i32| (from..=to).map(|i| doc! {"number": i, "text": format!("وثيقة {i}")});
    let all = origin.database(&old.database).collection::<Document>("papers");
    all.insert_many(file(1, 500)).await?;
    let before = papers(&origin, &old.database).await?;
    ensure!(before.0 == 500, "{} documents were written", before.0);
    ministry.apply(&on_demand("docs", "DocumentStoreInstance", "archive-docs")).await?;
    completed(&ministry, "docs").await?;
    all.insert_many(file(501, 600)).await?;
    let started = Instant::now();
    ministry.apply(&order("docs-again", ", restoreFrom: {backup: docs}")).await?;
    ready(&ministry, "dsi", HOME, "docs-again", 300).await?;
    println!("  500 documents restored in {} s", started.elapsed().as_secs());
    let new = Binding::read(&ministry, HOME, "docs-again-mongodb").await?;
    let restored = clients::documents(&new).await?;
    let after = papers(&restored, &new.database).await?;
    ensure!(after == before, "{after:?} came back of {before:?}");
    let refused = clients::documents(&new.with_password(&old.password)).await?;
    let answer = refused.database(&new.database).list_collection_names().await;
    ensure!(answer.is_err(), "the restored store accepts the old password");
    restored.database(&new.database).collection("papers").insert_many(file(501, 501)).await?;
    ensure!(papers(&origin, &old.database).await?.0 == 600, "the origin changed");
    for client in [restored, refused] {
        client.shutdown().immediate(true).await;
    }
    let full = papers(&origin, &old.database).await?;
    let moment = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    all.delete_many(doc! {}).await?;
    ministry.run(&["-n", HOME, "delete", "dsi", "docs-again", "--wait=false"]).await?;
    let from = format!(", restoreFrom: {{instance: archive-docs, time: '{moment}'}}");
    ministry.apply(&order("docs-then", &from)).await?;
    ready(&ministry, "dsi", HOME, "docs-then", 300).await?;
    holds(&ministry, "docs-then", &full).await?;
    ensure!(papers(&origin, &old.database).await?.0 == 0, "what was deleted is back in the origin");
    origin.shutdown().immediate(true).await;

    wait_for(&ministry, "dsi", HOME, "docs-then", "BackupHealthy", "True", None, 240).await?;
    ministry.patch("dsi", HOME, "docs-then", &json!({"spec": {"onDeletion": "Retain"}})).await?;
    let kept = engine(&ministry.get("dsi", HOME, "docs-then").await?.context("no order")?)?.1;
    ministry.run(&["-n", HOME, "delete", "dsi", "docs-then", "--wait=false"]).await?;
    gone("dsi", HOME, "docs-then", 120).await?;
    eventually(seconds(60), "the kept documents to be listed", || async {
        ministry.get("rti", HOME, &kept).await?.context("they are not listed")
    })
    .await?;
    ministry.apply(&order("docs-then", &format!(", restoreFrom: {{retainedInstance: {kept}}}"))).await?;
    ready(&ministry, "dsi", HOME, "docs-then", 300).await?;
    holds(&ministry, "docs-then", &full).await?;
    ministry.patch("rti", HOME, &kept, &json!({"spec": {"discard": "docs-then"}})).await?;
    gone("rti", HOME, &kept, 300).await?;
    for name in ["archive-docs", "docs-then"] {
        ministry.run(&["-n", HOME, "delete", "dsi", name, "--wait=false"]).await?;
    }
    for name in ["archive-docs", "docs-again", "docs-then"] {
        gone("dsi", HOME, name, 180).await?;
    }
    Ok(())
}

/// Whether a restored store has these documents, read through its gateway with its own Secret.
async fn holds(ministry: &Kubectl, name: &str, wanted: &(i32, String)) -> Result<()> {
    let binding = Binding::read(ministry, HOME, &format!("{name}-mongodb")).await?;
    let client = clients::documents(&binding).await?;
    let there = papers(&client, &binding.database).await?;
    client.shutdown().immediate(true).await;
    ensure!(there == *wanted, "{name}: {there:?} came back of {wanted:?}");
    Ok(())
}

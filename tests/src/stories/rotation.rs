//! Logins that are replaced under the people who use them.

use super::{DISPOSABLE, HOME};
use crate::clients::{self, Binding};
use crate::kubectl::{Kubectl, condition};
use crate::platform::{SYSTEM, engine, gone, ready, wait_for, wait_until_it_works};
use crate::wait::{eventually, hours_ago, seconds};
use anyhow::{Context as _, Result, bail, ensure};
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Grace period that the stories give their catalogue.
const GRACE: Duration = seconds(40);
/// So late the switch of a login may be seen.
const SEEN: Duration = seconds(5);
/// Between two writes of a client.
const PAUSE: Duration = Duration::from_millis(50);

/// A writer keeps one connection and never stops, and another logs in with the first password again and again.
pub async fn postgres() -> Result<()> {
    let (admin, ministry) = people("postgresql").await?;
    ministry.apply(&super::postgres(HOME, "turning", DISPOSABLE)).await?;
    let order = ready(&ministry, "pgi", HOME, "turning", 240).await?;
    let before = Binding::read(&ministry, HOME, "turning-postgresql").await?;
    let writer = clients::postgres(&before).await?;
    writer.batch_execute("create table acts (id bigint primary key)").await?;
    let started = Instant::now();
    let moves = async {
        rotate(&ministry, "pgi", "turning", "first").await?;
        let after = switched(&ministry, "turning-postgresql", &before).await?;
        let switched_at = Instant::now();
        clients::postgres(&after).await.context("the new login is refused")?;
        clients::postgres(&before).await.context("the login before is refused in its grace period")?;
        Ok::<_, anyhow::Error>((after, switched_at))
    };
    let works = async {
        let mut written = BTreeSet::new();
        let mut id = 1_i64;
        loop {
            if let Err(error) = writer.execute("insert into acts values ($1)", &[&id]).await {
                return (error, Instant::now(), written);
            }
            written.insert(id);
            id += 1;
            tokio::time::sleep(PAUSE).await;
        }
    };
    let ((after, switched_at), (error, cut_at, written)) =
        tokio::time::timeout(seconds(240), async { tokio::try_join!(moves, async { Ok(works.await) }) })
            .await
            .context("the session of the login before never ended")??;
    ensure!(
        cut_at.duration_since(switched_at) >= GRACE - SEEN,
        "the writer was cut off {} s after the switch: {error}",
        cut_at.duration_since(switched_at).as_secs()
    );
    let done = succeeded(&ministry, "pgi", "turning").await?;
    let refused = clients::postgres(&before).await.err().context("the old password is accepted")?;
    ensure!(format!("{refused:?}").contains("28"), "refused otherwise: {refused:?}");
    let reader = clients::postgres(&after).await?;
    let there = clients::ids(&reader, "acts").await?;
    clients::nothing_lost(&written, &there)?;
    let old: i64 = reader
        .query_one("select count(*) from pg_stat_activity where usename = $1", &[&before.username])
        .await?
        .get(0);
    ensure!(old == 0, "{old} sessions of {} are left", before.username);
    reader.execute("insert into acts values (0)", &[]).await.context("the new login cannot write")?;
    nothing_secret(&done, &[&before, &after])?;
    restarted_never(&admin, &order).await?;
    println!(
        "        {} rows acknowledged, {} there; cut off {} s after the switch, all done in {} s",
        written.len(),
        there.len(),
        cut_at.duration_since(switched_at).as_secs(),
        started.elapsed().as_secs()
    );
    ministry.run(&["-n", HOME, "delete", "pgi", "turning", "--wait=false"]).await?;
    gone("pgi", HOME, "turning", 180).await
}

/// The same through the document gateway.
pub async fn documents() -> Result<()> {
    let (_, ministry) = people("documents").await?;
    ministry.apply(&super::documents(HOME, "folders", DISPOSABLE)).await?;
    ready(&ministry, "dsi", HOME, "folders", 240).await?;
    let before = Binding::read(&ministry, HOME, "folders-mongodb").await?;
    let old = clients::documents(&before).await?;
    let acts = old.database(&before.database).collection::<Document>("acts");
    let mut filed = BTreeSet::new();
    let mut id = 1_i64;
    rotate(&ministry, "dsi", "folders", "first").await?;
    let mut switched_at = None;
    let deadline = Instant::now() + seconds(240);
    let error = loop {
        ensure!(Instant::now() < deadline, "the old password is accepted for ever");
        if switched_at.is_none() {
            let now = Binding::read(&ministry, HOME, "folders-mongodb").await?;
            switched_at = (now.password != before.password).then(Instant::now);
        }
        if let Err(error) = acts.insert_one(doc! {"_id": id, "pages": 1}).await {
            break error;
        }
        filed.insert(id);
        id += 1;
        tokio::time::sleep(PAUSE).await;
    };
    let Some(switched_at) = switched_at else { bail!("cut off before the switch: {error}") };
    let cut_after = switched_at.elapsed();
    ensure!(cut_after >= GRACE - SEEN, "cut off {} s after the switch: {error}", cut_after.as_secs());
    let done = succeeded(&ministry, "dsi", "folders").await?;
    ready(&ministry, "dsi", HOME, "folders", 120).await?;
    let after = Binding::read(&ministry, HOME, "folders-mongodb").await?;
    let new = clients::documents(&after).await?;
    let there = eventually(seconds(60), "the new login to be served", || async {
        clients::numbers(&new.database(&after.database).collection("acts")).await
    })
    .await?;
    clients::nothing_lost(&filed, &there)?;
    let again = clients::documents(&before).await?;
    for (who, client) in [("an open client", &old), ("a new client", &again)] {
        let answer = client.database(&before.database).list_collection_names().await;
        ensure!(answer.is_err(), "the old password of {who} is accepted by the gateway");
    }
    nothing_secret(&done, &[&before, &after])?;
    println!(
        "        {} documents acknowledged, {} there; cut off {} s after the switch",
        filed.len(),
        there.len(),
        cut_after.as_secs()
    );
    for client in [old, again, new] {
        client.shutdown().immediate(true).await;
    }
    ministry.run(&["-n", HOME, "delete", "dsi", "folders", "--wait=false"]).await?;
    gone("dsi", HOME, "folders", 180).await
}

/// The operator is killed again and again while a login is replaced.
pub async fn killed() -> Result<()> {
    let (admin, ministry) = people("postgresql").await?;
    ministry.apply(&super::postgres(HOME, "stubborn", DISPOSABLE)).await?;
    let order = ready(&ministry, "pgi", HOME, "stubborn", 240).await?;
    let before = Binding::read(&ministry, HOME, "stubborn-postgresql").await?;
    rotate(&ministry, "pgi", "stubborn", "first").await?;
    let pods = ["-n", SYSTEM, "delete", "pod", "-l", "app.kubernetes.io/name=siyada-operator"];
    let kill: Vec<&str> = pods.into_iter().chain(["--grace-period=0", "--force"]).collect();
    let mut kills = 0;
    let deadline = Instant::now() + seconds(300);
    loop {
        admin.run(&kill).await?;
        kills += 1;
        wait_until_it_works().await?;
        let bound = Binding::read(&ministry, HOME, "stubborn-postgresql").await?;
        clients::postgres(&bound).await.context("what the binding holds is refused")?;
        if is_done(&ministry.get("pgi", HOME, "stubborn").await?.context("no order")?) {
            break;
        }
        ensure!(Instant::now() < deadline, "after {kills} kills it is not done");
    }
    let after = Binding::read(&ministry, HOME, "stubborn-postgresql").await?;
    ensure!(after.username != before.username, "the login is the same");
    ensure!(clients::postgres(&before).await.is_err(), "the old password is accepted");
    let (namespace, cluster) = engine(&order)?;
    let uid = crate::platform::uid(&order)?;
    eventually(seconds(60), "one source to be left", || async {
        let secrets = admin.list("secret", &namespace, &format!("siyada.cloud/order-uid={uid}")).await?;
        let name = |s: &Value| s["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let logins: Vec<String> =
            secrets.iter().map(name).filter(|n| n.contains("-login-") || n.contains("-closing-")).collect();
        ensure!(logins == [format!("{cluster}-login-2")], "there are {logins:?}");
        Ok(())
    })
    .await?;
    restarted_never(&admin, &order).await?;
    println!("        {kills} kills");
    ministry.run(&["-n", HOME, "delete", "pgi", "stubborn", "--wait=false"]).await?;
    gone("pgi", HOME, "stubborn", 180).await
}

/// Suspended in the grace period, and resumed when it is long over: nothing is done to a database that is away. Then its login grows
/// old, and is replaced by itself.
pub async fn suspended() -> Result<()> {
    let (admin, ministry) = people("postgresql").await?;
    ministry.apply(&super::postgres(HOME, "resting", DISPOSABLE)).await?;
    let order = ready(&ministry, "pgi", HOME, "resting", 240).await?;
    let before = Binding::read(&ministry, HOME, "resting-postgresql").await?;
    let client = clients::postgres(&before).await?;
    client.batch_execute("create table acts as select generate_series(1, 1000) as id").await?;
    drop(client);
    rotate(&ministry, "pgi", "resting", "first").await?;
    let after = switched(&ministry, "resting-postgresql", &before).await?;
    let switched_at = Instant::now();
    let suspend = |on: bool| json!({"spec": {"suspend": on}});
    ministry.patch("pgi", HOME, "resting", &suspend(true)).await?;
    wait_for(&ministry, "pgi", HOME, "resting", "Ready", "False", Some("Suspended"), 60).await?;
    let (namespace, cluster) = engine(&order)?;
    eventually(seconds(120), "its pods to go and its grace period to end", || async {
        let pods = admin.list("pod", &namespace, &format!("cnpg.io/cluster={cluster}")).await?;
        ensure!(pods.is_empty(), "{} pods are left", pods.len());
        ensure!(switched_at.elapsed() > GRACE + seconds(5), "{} s went by", switched_at.elapsed().as_secs());
        Ok(())
    })
    .await?;
    let waiting = ministry.get("pgi", HOME, "resting").await?.context("no order")?;
    ensure!(!is_done(&waiting), "it is told as done though nothing could be done");
    let error = waiting.pointer("/status/lastOperation/error").and_then(Value::as_str).unwrap_or_default();
    ensure!(error.contains("suspended"), "it does not say why it waits: {error:?}");
    ministry.patch("pgi", HOME, "resting", &suspend(false)).await?;
    ready(&ministry, "pgi", HOME, "resting", 180).await?;
    let done = succeeded(&ministry, "pgi", "resting").await?;
    ensure!(done.pointer("/status/lastOperation/error").is_none(), "an error stayed");
    ensure!(clients::postgres(&before).await.is_err(), "the old password is accepted");
    let sum = "select count(*), sum(id) from acts";
    let row = clients::postgres(&after).await?.query_one(sum, &[]).await?;
    let (count, sum): (i64, i64) = (row.get(0), row.get(1));
    ensure!((count, sum) == (1000, 500_500), "{count} rows with the sum {sum} came back");

    // A login that is as old as the order lets it become is replaced by itself.
    ministry.patch("pgi", HOME, "resting", &json!({"spec": {"credentialRotationDays": 30}})).await?;
    let path = "/metadata/annotations/siyada.cloud~1rotation";
    let object =
        admin.get("clusters.postgresql.cnpg.io", &namespace, &cluster).await?.context("no cluster")?;
    let text = object.pointer(path).and_then(Value::as_str).context("it has no record of its logins")?;
    let mut record: Value = serde_json::from_str(text)?;
    let month = hours_ago(24 * 31)?;
    (record["since"], record["started"]) = (json!(month), json!(month));
    let old = json!({"metadata": {"annotations": {"siyada.cloud/rotation": record.to_string()}}});
    admin.patch("clusters.postgresql.cnpg.io", &namespace, &cluster, &old).await?;
    let newest = switched(&ministry, "resting-postgresql", &after).await?;
    clients::postgres(&newest).await.context("the login that the schedule made is refused")?;
    ministry.run(&["-n", HOME, "delete", "pgi", "resting", "--wait=false"]).await?;
    gone("pgi", HOME, "resting", 180).await
}

/// Who takes part, with a catalogue whose grace period a story can wait for.
async fn people(offering: &str) -> Result<(Kubectl, Kubectl)> {
    let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(HOME, "ministry-it").await?);
    let policy = json!({"spec": {"credentials": {"gracePeriodSeconds": GRACE.as_secs()}}});
    admin.patch("serviceoffering", "default", offering, &policy).await?;
    Ok((admin, ministry))
}

async fn rotate(ministry: &Kubectl, kind: &str, name: &str, trigger: &str) -> Result<()> {
    ministry.patch(kind, HOME, name, &json!({"spec": {"rotationTrigger": trigger}})).await
}

/// The binding once it holds another login.
async fn switched(ministry: &Kubectl, secret: &str, before: &Binding) -> Result<Binding> {
    eventually(seconds(120), "the binding to hold another login", || async {
        let now = Binding::read(ministry, HOME, secret).await?;
        ensure!(now.password != before.password && now.username != before.username, "it is the same");
        Ok(now)
    })
    .await
}

fn is_done(order: &Value) -> bool {
    let operation = &order["status"]["lastOperation"];
    operation["type"] == "RotateCredentials" && operation["state"] == "Succeeded"
}

async fn succeeded(ministry: &Kubectl, kind: &str, name: &str) -> Result<Value> {
    eventually(seconds(120), "the rotation to be told as done", || async {
        let order = ministry.get(kind, HOME, name).await?.context("no order")?;
        let told = (&order["status"]["lastOperation"], condition(&order, "CredentialsReady"));
        ensure!(is_done(&order), "it says {told:?}");
        Ok(order)
    })
    .await
}

fn nothing_secret(order: &Value, bindings: &[&Binding]) -> Result<()> {
    let text = order.to_string();
    ensure!(bindings.iter().all(|b| !text.contains(&b.password)), "a password is in the order");
    Ok(())
}

/// The database's pod is the one that it was.
async fn restarted_never(admin: &Kubectl, order: &Value) -> Result<()> {
    let (namespace, cluster) = engine(order)?;
    let pod = admin.get("pod", &namespace, &format!("{cluster}-1")).await?.context("no pod")?;
    let restarts = pod.pointer("/status/containerStatuses/0/restartCount").and_then(Value::as_i64);
    ensure!(restarts == Some(0), "the database was restarted: {restarts:?}");
    Ok(())
}

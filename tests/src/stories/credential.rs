//! Further logins: what they may do, and that they end.

use super::{DISPOSABLE, HOME};
use crate::clients::{self, Binding};
use crate::kubectl::{Kubectl, condition};
use crate::platform::{engine, gone, ready, wait_for};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, ensure};
use serde_json::json;

fn credential(name: &str, kind: &str, instance: &str, role: &str) -> String {
    format!(
        "apiVersion: siyada.cloud/v1alpha1\nkind: ServiceCredential\nmetadata: {{name: {name}, namespace: {HOME}}}\nspec: \
         {{instance: {{kind: {kind}, name: {instance}}}, role: {role}}}\n"
    )
}

fn postgres(name: &str, role: &str) -> String {
    credential(name, "PostgresInstance", "shared", role)
}

async fn remove(who: &Kubectl, name: &str) -> Result<()> {
    who.run(&["-n", HOME, "delete", "scred", name, "--wait=false"]).await?;
    gone("scred", HOME, name, 120).await
}

/// A login that reads sees what others wrote, before and after it was made, and is refused to write; another one writes. Its
/// password is replaced on demand, and its deletion ends sessions, password and Secret, of an instance that is gone too.
pub async fn read_only() -> Result<()> {
    let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(HOME, "ministry-it").await?);
    ministry.apply(&super::postgres(HOME, "shared", DISPOSABLE)).await?;
    let order = ready(&ministry, "pgi", HOME, "shared", 240).await?;
    let owner = clients::postgres(&Binding::read(&ministry, HOME, "shared-postgresql").await?).await?;
    owner.batch_execute("create table acts as select generate_series(1, 1000) as id").await?;
    for (name, role) in [("reports", "ReadOnly"), ("intake", "ReadWrite")] {
        ministry.apply(&postgres(name, role)).await?;
        ready(&ministry, "scred", HOME, name, 120).await?;
    }
    let first = Binding::read(&ministry, HOME, "reports-credential").await?;
    let reader = clients::postgres(&first).await?;
    owner.batch_execute("create schema later; create table later.acts as select 7 as id").await?;
    let row = reader.query_one("select count(*), sum(id) from acts", &[]).await?;
    let (count, sum): (i64, i64) = (row.get(0), row.get(1));
    ensure!((count, sum) == (1000, 500_500), "it reads {count} rows with the sum {sum}");
    let later: i32 = reader.query_one("select id from later.acts", &[]).await?.get(0);
    ensure!(later == 7, "it reads {later} of a schema that is younger");
    writes_nothing(&reader).await?;
    let writer = clients::postgres(&Binding::read(&ministry, HOME, "intake-credential").await?).await?;
    ensure!(
        writer.execute("insert into acts values (1001)", &[]).await? == 1,
        "the other login cannot write"
    );

    let change = json!({"spec": {"role": "ReadWrite"}});
    ensure!(ministry.patch("scred", HOME, "reports", &change).await.is_err(), "a role was changed");
    ministry.patch("scred", HOME, "reports", &json!({"spec": {"rotationTrigger": "somebody left"}})).await?;
    let second = eventually(seconds(120), "another password that works", || async {
        let now = Binding::read(&ministry, HOME, "reports-credential").await?;
        ensure!(now.password != first.password, "it is the same");
        clients::postgres(&now).await?;
        Ok(now)
    })
    .await?;
    ensure!(clients::postgres(&first).await.is_err(), "the password before is accepted");
    ready(&ministry, "scred", HOME, "reports", 60).await?;
    ensure!(reader.query_one("select 1", &[]).await.is_ok(), "an open session was ended by a new password");

    remove(&ministry, "reports").await?;
    ensure!(reader.query_one("select 1", &[]).await.is_err(), "its session goes on");
    ensure!(clients::postgres(&second).await.is_err(), "its password is accepted");
    eventually(seconds(60), "its Secrets to go", || async {
        let (namespace, cluster) = engine(&order)?;
        let bound = admin.get("secret", HOME, "reports-credential").await?;
        let secrets = admin.list("secret", &namespace, "siyada.cloud/credential").await?;
        let name = |s: &serde_json::Value| s["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let left: Vec<String> = secrets.iter().map(name).filter(|n| n.starts_with(&cluster)).collect();
        ensure!(bound.is_none() && left == [format!("{cluster}-cred-2")], "there are {bound:?} and {left:?}");
        Ok(())
    })
    .await?;
    ensure!(writer.query_one("select 1", &[]).await.is_ok(), "the other login was ended with it");
    not_for_documents(&ministry).await?;

    // The instance goes first: its credential says so, and goes too.
    ministry.run(&["-n", HOME, "delete", "pgi", "shared", "--wait=false"]).await?;
    gone("pgi", HOME, "shared", 180).await?;
    wait_for(&ministry, "scred", HOME, "intake", "Ready", "False", Some("InstanceUnknown"), 60).await?;
    remove(&ministry, "intake").await
}

/// Every way to change something is refused for want of a right, and not for another reason.
async fn writes_nothing(reader: &tokio_postgres::Client) -> Result<()> {
    for write in [
        "insert into acts values (1001)",
        "update acts set id = 0",
        "delete from acts",
        "truncate acts",
        "create table mine (id int)",
        "create schema mine",
        "drop table acts",
        "set role app_owner",
        "alter role app_a login password 'guess'",
    ] {
        let refused = reader.batch_execute(write).await.err().with_context(|| format!("{write} was done"))?;
        let code = refused.code().map(|code| code.code().to_owned());
        ensure!(code.as_deref() == Some("42501"), "{write}: {refused:?}");
    }
    Ok(())
}

/// A document store says why it has no further login, and lets the wish for one go. None is made for it.
async fn not_for_documents(ministry: &Kubectl) -> Result<()> {
    ministry.apply(&super::documents(HOME, "sheets", DISPOSABLE)).await?;
    ministry.apply(&credential("clerks", "DocumentStoreInstance", "sheets", "ReadOnly")).await?;
    let why = Some("CredentialNotOffered");
    let told = wait_for(ministry, "scred", HOME, "clerks", "Ready", "False", why, 240).await?;
    let (_, _, message) = condition(&told, "Ready").context("no condition")?;
    ensure!(message.contains("rotationTrigger"), "{message}");
    remove(ministry, "clerks").await?;
    ministry.run(&["-n", HOME, "delete", "dsi", "sheets", "--wait=false"]).await?;
    gone("dsi", HOME, "sheets", 180).await
}

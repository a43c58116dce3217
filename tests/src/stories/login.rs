//! Ordering and logging in.

use super::deletion::Parts;
use super::{DISPOSABLE, HOME, advice};
use crate::clients::{self, Binding};
use crate::kubectl::Kubectl;
use crate::platform::{engine, gone, ready, wait_for};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, ensure};
use mongodb::bson::{Document, doc};

/// PostgreSQL, with TLS, with refusals, and through the loss of its pod.
pub async fn postgres() -> Result<()> {
    let ministry = Kubectl::service_account(HOME, "ministry-it").await?;
    let said = ministry.apply(&super::postgres(HOME, "login", DISPOSABLE)).await?;
    if advice::given("the price in the answer to an order") {
        let priced = said.err.contains("Warning: at most") && said.err.contains("MAD/month");
        ensure!(priced, "no price in the answer: {}", said.err);
    }
    let order = ready(&ministry, "pgi", HOME, "login", 240).await?;
    eventually(seconds(30), "the tenant's figures to tell what runs", || async {
        let tenant = Kubectl::admin().get("tenant", "default", "interior").await?.context("no tenant")?;
        let used = tenant.pointer("/status/quota/memory/used").and_then(|used| used.as_str());
        ensure!(used.is_some_and(|used| used != "0"), "used memory is {used:?}");
        Ok(())
    })
    .await?;
    let binding = Binding::read(&ministry, HOME, "login-postgresql").await?;
    let client = clients::postgres(&binding).await?;
    client.batch_execute("create table citizens (id int primary key, name text)").await?;
    client.execute("insert into citizens values (1, 'أمينة'), (2, 'Youssef')", &[]).await?;
    for password in ["wrong", ""] {
        let refused =
            clients::postgres(&binding.with_password(password)).await.err().context("it was accepted")?;
        let text = format!("{refused:?}");
        ensure!(text.contains("28P01") || text.contains("password missing"), "password {password:?}: {text}");
    }
    let refused = clients::postgres_in_the_clear(&binding)
        .await
        .err()
        .context("a connection without TLS was accepted")?;
    ensure!(format!("{refused:?}").contains("pg_hba"), "without TLS: {refused:?}");
    let superuser: String = client.query_one("select current_setting('is_superuser')", &[]).await?.get(0);
    ensure!(superuser == "off", "the tenant's login is a superuser");

    // The node takes no pod for a while: the database is away, and the order must say so.
    let admin = Kubectl::admin();
    let (namespace, cluster) = engine(&order)?;
    admin.run(&["cordon", "node1"]).await?;
    let away = async {
        admin.run(&["-n", &namespace, "delete", "pod", &format!("{cluster}-1"), "--grace-period=5"]).await?;
        wait_for(&ministry, "pgi", HOME, "login", "Ready", "False", None, 60).await
    }
    .await;
    admin.run(&["uncordon", "node1"]).await?;
    away?;
    ready(&ministry, "pgi", HOME, "login", 180).await?;
    let client = clients::postgres(&Binding::read(&ministry, HOME, "login-postgresql").await?).await?;
    let count: i64 = client.query_one("select count(*) from citizens", &[]).await?.get(0);
    ensure!(count == 2, "{count} rows came back of 2");
    drop(client);
    ministry.run(&["-n", HOME, "delete", "pgi", "login", "--wait=false"]).await?;
    gone("pgi", HOME, "login", 180).await
}

/// Documents, through the gateway.
pub async fn documents() -> Result<()> {
    let ministry = Kubectl::service_account(HOME, "ministry-it").await?;
    ministry.apply(&super::documents(HOME, "papers", DISPOSABLE)).await?;
    let order = ready(&ministry, "dsi", HOME, "papers", 240).await?;
    let parts = Parts::of(&order, &["Deployment"]).await?;
    let binding = Binding::read(&ministry, HOME, "papers-mongodb").await?;
    let client = clients::documents(&binding).await?;
    let forms = client.database(&binding.database).collection::<Document>("forms");
    forms.insert_one(doc! {"name": "تصريح", "pages": 3}).await?;
    let found = forms.find_one(doc! {"pages": 3}).await?.context("the document was not found")?;
    ensure!(found.get_str("name")? == "تصريح", "another document was found");
    let wrong = clients::documents(&binding.with_password("wrong")).await?;
    let answer = wrong.database(&binding.database).collection::<Document>("forms").find_one(doc! {}).await;
    ensure!(answer.is_err(), "a wrong password was accepted");
    let nobody = clients::documents_without_credentials(&binding).await?;
    let answer = nobody.database(&binding.database).collection::<Document>("forms").find_one(doc! {}).await;
    ensure!(answer.is_err(), "no password was accepted");
    let plain = Binding { uri: binding.uri.replace("&tls=true", "&tls=false"), ..binding.clone() };
    let mut options = mongodb::options::ClientOptions::parse(&plain.uri).await?;
    options.server_selection_timeout = Some(seconds(3));
    let clear = mongodb::Client::with_options(options)?;
    ensure!(
        clear.database("app").list_collection_names().await.is_err(),
        "a connection without TLS was accepted"
    );
    for client in [client, wrong, nobody, clear] {
        client.shutdown().immediate(true).await;
    }
    ministry.run(&["-n", HOME, "delete", "dsi", "papers", "--wait=false"]).await?;
    gone("dsi", HOME, "papers", 180).await?;
    parts.are_gone().await?;
    ensure!(ministry.get("secret", HOME, "papers-mongodb").await?.is_none(), "the binding is still there");
    Ok(())
}

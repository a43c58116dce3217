//! The demonstration: a ministry orders, logs in, is refused, and sees what it costs. Harmless when run again.

use anyhow::{Context as _, Result};
use mongodb::bson::{Document, doc};
use serde_json::Value;
use siyada_tests::clients::{self, Binding};
use siyada_tests::kubectl::{Kubectl, condition, expect_condition};
use siyada_tests::platform::{self, Api, file};
use siyada_tests::wait::{eventually, seconds};
use std::time::Instant;

const HOME: &str = "interior-apps";

#[tokio::main]
async fn main() -> Result<()> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("two TLS providers"))?;
    let started = Instant::now();
    let step =
        |number: u8, what: &str| println!("\n[{number}/8] {what}  ({} s)", started.elapsed().as_secs());
    step(
        1,
        "Installing the charts siyada-crds and siyada with Helm; the ledger's database starts (about 30 s)",
    );
    platform::install().await?;
    platform::wait_until_it_works().await?;
    step(
        2,
        "The platform applies examples/platform: a site, a catalogue, prices, two ministries and an agency",
    );
    platform::set_up().await?;
    if std::env::args().any(|argument| argument == "--platform-only") {
        println!(
            "The platform is up, with the examples' tenants and no orders: export KUBECONFIG=.siyada/kubeconfig"
        );
        return Ok(());
    }
    println!("{}", Kubectl::admin().run(&["get", "tenants,serviceofferings,pricelists"]).await?);
    let ministry = Kubectl::service_account(HOME, "ministry-it").await?;
    step(3, "The ministry orders, with its own service account: kubectl apply -f examples/ministry/");
    for name in ["postgres", "documents"] {
        let said = ministry.apply(&file(&format!("examples/ministry/{name}.yaml"))?).await?;
        print!("{}{}", said.err, said.out);
    }
    step(4, "Waiting until somebody can log in (about 25 s)");
    wait_ready(&ministry, "pgi", "registry").await?;
    wait_ready(&ministry, "dsi", "forms").await?;
    println!("{}", ministry.run(&["get", "pgi,dsi"]).await?);
    step(5, "Logging in with nothing but the bound Secrets, over TLS that is verified");
    use_postgres(&ministry).await?;
    use_documents(&ministry).await?;
    step(6, "An order beyond the ministry's means: kubectl apply -f examples/ministry/too-large.yaml");
    println!(
        "{}",
        ministry.refused(&file("examples/ministry/too-large.yaml")?, &["asked", "free"]).await?.trim()
    );
    step(7, "What the ministry holds and what it used so far, from the api");
    let api = Api::service_account(HOME, "ministry-it").await?;
    show_quota(&api.read("/v1/tenants/interior/quota").await?);
    show_usage(&api.read("/v1/tenants/interior/usage").await?);
    step(8, "It stays up. Look at it:");
    println!(
        "  export KUBECONFIG=.siyada/kubeconfig        (no kubectl here? target/debug/harness kubectl ...)\n  kubectl get tenants; kubectl get pgi,dsi -A -o wide\n  kubectl describe \
         pgi -n {HOME} registry\n  kubectl -n {HOME} get secret registry-postgresql -o yaml\n  kubectl -n siyada-system \
         port-forward service/siyada-api 8443\n\nStop it, and remove all of it:  make down"
    );
    Ok(())
}

async fn wait_ready(ministry: &Kubectl, kind: &str, name: &str) -> Result<()> {
    let told = std::cell::RefCell::new(String::new());
    eventually(
        seconds(300),
        &format!("{kind} {name} to be Ready (kubectl -n {HOME} describe {kind} {name})"),
        || async {
            let order = ministry.get(kind, HOME, name).await?.context("no order")?;
            if let Some((status, reason, message)) = condition(&order, "Ready") {
                let now = format!("  {name}: READY={status} {reason}: {message}");
                if *told.borrow() != now {
                    println!("{now}");
                    told.replace(now);
                }
            }
            expect_condition(&order, "Ready", "True", None)
        },
    )
    .await
}

async fn use_postgres(ministry: &Kubectl) -> Result<()> {
    let binding = Binding::read(ministry, HOME, "registry-postgresql").await?;
    let client = clients::postgres(&binding).await?;
    client.batch_execute("create table if not exists citizens (id int primary key, name text)").await?;
    client
        .execute("insert into citizens values (1, 'أمينة'), (2, 'Youssef') on conflict do nothing", &[])
        .await?;
    let rows = client.query("select id, name from citizens order by id", &[]).await?;
    println!("  PostgreSQL {}: {} rows", binding.host, rows.len());
    for row in rows {
        println!("    {} {}", row.get::<_, i32>(0), row.get::<_, String>(1));
    }
    let refused = clients::postgres(&binding.with_password("guess"))
        .await
        .err()
        .context("a wrong password was accepted")?;
    let refused =
        if refused.to_string().contains("28P01") { "refused".to_owned() } else { format!("{refused:#}") };
    println!("  with a wrong password: {refused}");
    Ok(())
}

async fn use_documents(ministry: &Kubectl) -> Result<()> {
    let binding = Binding::read(ministry, HOME, "forms-mongodb").await?;
    let client = clients::documents(&binding).await?;
    let forms = client.database(&binding.database).collection::<Document>("forms");
    forms.insert_one(doc! {"title": "تصريح بالولادة", "pages": 2}).await?;
    let found = forms.find_one(doc! {"pages": 2}).await?.context("nothing was found")?;
    println!("  documents {}: found {}", binding.host, found.get_str("title")?);
    let wrong = clients::documents(&binding.with_password("guess")).await?;
    let refused = wrong.database(&binding.database).list_collection_names().await.err();
    println!("  with a wrong password: {}", refused.map_or("ACCEPTED", |_| "refused"));
    client.shutdown().immediate(true).await;
    wrong.shutdown().immediate(true).await;
    Ok(())
}

fn money(value: &Value) -> String {
    serde_json::from_value::<siyada_model::money::Money>(value.clone())
        .map_or("unlimited".to_owned(), |m| m.to_string())
}

fn show_quota(view: &Value) {
    let bytes = |v: &Value| v.as_i64().map_or("unlimited".to_owned(), siyada_model::quantity::show_bytes);
    let cpu = |v: &Value| v.as_i64().map_or("unlimited".to_owned(), siyada_model::quantity::show_cpu);
    let count = |v: &Value| v.as_i64().map_or("unlimited".to_owned(), |c| c.to_string());
    let (limit, held) = (&view["limit"], &view["held"]["resources"]);
    println!("  {:<12} {:>14} {:>14}", "quota", "held", "limit");
    println!("  {:<12} {:>14} {:>14}", "instances", count(&held["instances"]), count(&limit["instances"]));
    println!("  {:<12} {:>14} {:>14}", "cpu", cpu(&held["cpuMilli"]), cpu(&limit["cpuMilli"]));
    println!("  {:<12} {:>14} {:>14}", "memory", bytes(&held["memoryBytes"]), bytes(&limit["memoryBytes"]));
    println!(
        "  {:<12} {:>14} {:>14}",
        "storage",
        bytes(&held["storageBytes"]),
        bytes(&limit["storageBytes"])
    );
    println!(
        "  {:<12} {:>14} {:>14}",
        "money/month",
        money(&view["held"]["monthlyCost"]),
        money(&limit["monthlyCost"])
    );
}

fn show_usage(report: &Value) {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    println!("  usage from {} to {}", text(&report["from"]), text(&report["to"]));
    for line in report["lines"].as_array().into_iter().flatten() {
        println!(
            "  {:<28} {:<8} {:<18} {:>14} per unit {:>12}",
            format!("{} {}", text(&line["kind"]), text(&line["name"])),
            text(&line["meter"]),
            text(&line["sku"]),
            text(&line["unitPrice"]),
            money(&line["amount"])
        );
    }
    println!("  accrued cost: {}", money(&report["total"]));
}

//! How close the operator comes to what the API server can do, in one run, as ratios. The engine is put to sleep first:
//! what is measured is our own work, and 2,000 orders need no databases.

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use siyada_tests::kubectl::Kubectl;
use siyada_tests::wait::{eventually, seconds};
use siyada_tests::{audit, platform, processes};
use std::time::Instant;

const NAMESPACE: &str = "bench-apps";
/// Requests in flight, of the bare client and of whoever orders.
const IN_FLIGHT: usize = 32;
/// Objects of the bare client.
const RAW: usize = 3_000;

/// A bare client of the API server.
#[derive(Clone)]
struct Bare {
    http: reqwest::Client,
    server: String,
    token: String,
}

impl Bare {
    async fn new() -> Result<Self> {
        let admin = Kubectl::admin();
        admin.run(&["create", "serviceaccount", "bench"]).await?;
        let grant = [
            "create",
            "clusterrolebinding",
            "bench",
            "--clusterrole=cluster-admin",
            "--serviceaccount=default:bench",
        ];
        admin.run(&grant).await?;
        let token = admin.run(&["create", "token", "bench", "--duration", "2h"]).await?.trim().to_owned();
        let view = admin.run(&["config", "view", "--raw", "--flatten", "--minify", "-o", "json"]).await?;
        let view: Value = serde_json::from_str(&view)?;
        let cluster = &view["clusters"][0]["cluster"];
        let authority: k8s_openapi::ByteString =
            serde_json::from_value(cluster["certificate-authority-data"].clone())?;
        let http = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&authority.0)?])
            .timeout(seconds(30))
            .no_proxy()
            .build()?;
        Ok(Self { http, server: cluster["server"].as_str().context("no server")?.to_owned(), token })
    }

    async fn send(&self, method: Method, path: &str, kind: &str, body: &Value) -> Result<Value> {
        let request = self.http.request(method, format!("{}{path}", self.server)).bearer_auth(&self.token);
        let answer = request.header("content-type", kind).body(body.to_string()).send().await?;
        let status = answer.status();
        let value: Value = answer.json().await?;
        ensure!(status.is_success(), "{path}: {status} {}", value["message"]);
        Ok(value)
    }

    /// Count of objects in a list, without reading them: what waits must not load what is measured.
    async fn count(&self, path: &str) -> Result<usize> {
        let page =
            self.send(Method::GET, &format!("{path}?limit=1"), "application/json", &Value::Null).await?;
        let rest = page.pointer("/metadata/remainingItemCount").and_then(Value::as_u64).unwrap_or(0);
        let first = page["items"].as_array().map_or(0, Vec::len);
        Ok(usize::try_from(rest)? + first)
    }

    /// Count of orders that were told where their engine object is.
    async fn told(&self, path: &str) -> Result<usize> {
        let list = self.send(Method::GET, path, "application/json", &Value::Null).await?;
        let told = |order: &&Value| order.pointer("/status/engineRef").is_some();
        Ok(list["items"].as_array().map_or(0, |items| items.iter().filter(told).count()))
    }

    /// Server-side applies per second of plain ConfigMaps.
    async fn raw_rate(&self) -> Result<f64> {
        let started = Instant::now();
        let one = |index: usize| async move {
            let name = format!("raw-{index}");
            let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": "x".repeat(800)}});
            let path = format!("/api/v1/namespaces/default/configmaps/{name}?fieldManager=bench&force=true");
            self.send(Method::PATCH, &path, "application/apply-patch+yaml", &body).await.map(|_| ())
        };
        all(RAW, one).await?;
        Ok(rate(RAW, started))
    }

    async fn order(&self, from: usize, to: usize) -> Result<()> {
        let one = |index: usize| async move {
            let body = json!({
                "apiVersion": "siyada.cloud/v1alpha1", "kind": "PostgresInstance",
                "metadata": {"name": format!("o-{}", from + index), "namespace": NAMESPACE},
                "spec": {"plan": "dev", "version": "15", "dataClassification": "Internal", "deletionProtection": false},
            });
            let path = format!("/apis/siyada.cloud/v1alpha1/namespaces/{NAMESPACE}/postgresinstances");
            self.send(Method::POST, &path, "application/json", &body).await.map(|_| ())
        };
        all(to - from, one).await
    }

    /// Waits until so many orders have their last child and say so.
    async fn settled(&self, count: usize) -> Result<()> {
        let orders = format!("/apis/siyada.cloud/v1alpha1/namespaces/{NAMESPACE}/postgresinstances");
        let clusters = "/apis/postgresql.cnpg.io/v1/namespaces/siyada-t-bench/clusters";
        eventually(seconds(600), &format!("{count} orders to be planned"), || async {
            let made = self.count(clusters).await?;
            ensure!(made == count, "{made} engine objects");
            let told = self.told(&orders).await?;
            ensure!(told == count, "{told} orders were told");
            Ok(())
        })
        .await
    }
}

async fn all<F: Future<Output = Result<()>>>(count: usize, one: impl Fn(usize) -> F) -> Result<()> {
    let outcomes: Vec<Result<()>> =
        futures::stream::iter(0..count).map(one).buffer_unordered(IN_FLIGHT).collect().await;
    outcomes.into_iter().collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are small")]
fn rate(count: usize, started: Instant) -> f64 {
    count as f64 / started.elapsed().as_secs_f64()
}

/// Resident memory of the operator's process, in MiB.
fn operator_mib() -> Result<u64> {
    processes::one("siyada-operator")?.resident_mib()
}

async fn prepare() -> Result<()> {
    let admin = Kubectl::admin();
    platform::install().await?;
    platform::wait_until_it_works().await?;
    platform::set_up().await?;
    admin.apply(&format!(
        "apiVersion: siyada.cloud/v1alpha1\nkind: Tenant\nmetadata: {{name: bench}}\nspec: {{kind: Project, namespaces: [{NAMESPACE}], dataClassification: Internal}}\n"
    )).await?;
    platform::ready(&admin, "tenant", "default", "bench", 60).await?;
    // The engine sleeps, and its webhooks with it: only our own writes are measured.
    admin.run(&["-n", "cnpg-system", "scale", "deployment/cnpg-controller-manager", "--replicas=0"]).await?;
    for kind in ["validatingwebhookconfiguration", "mutatingwebhookconfiguration"] {
        let name = if kind.starts_with('v') {
            "cnpg-validating-webhook-configuration"
        } else {
            "cnpg-mutating-webhook-configuration"
        };
        admin.run(&["delete", kind, name]).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("two TLS providers"))?;
    prepare().await?;
    let bare = Bare::new().await?;
    let idle_mib = operator_mib()?;
    let before = bare.raw_rate().await?;
    let log = audit::log_length()?;
    let (started, ticks) = (Instant::now(), processes::cpu_ticks()?);
    bare.order(0, 500).await?;
    bare.settled(500).await?;
    let (orders_rate, took) = (rate(500, started), started.elapsed().as_secs_f64());
    let used = processes::used(&ticks, &processes::cpu_ticks()?);
    let writes = audit::writes_since(log)?;
    let mib_500 = operator_mib()?;
    let after = bare.raw_rate().await?;
    bare.order(500, 2_000).await?;
    bare.settled(2_000).await?;
    let mib_2000 = operator_mib()?;
    let raw = f64::midpoint(before, after);
    let per_order = f64::from(u32::try_from(writes.values().sum::<usize>())?) / 500.0;
    let ceiling = raw / per_order;
    let ratio = orders_rate / ceiling;
    println!("| measured | |\n|---|---|");
    println!("| bare server-side applies per second, before / after | {before:.0} / {after:.0} |");
    println!("| 500 orders, apply to last child and status | {took:.1} s |");
    println!("| orders per second | {orders_rate:.1} |");
    println!("| writes per order | {per_order:.2} |");
    println!("| ratio to (bare rate / writes per order); goal 0.6 | {ratio:.2} |");
    println!(
        "| operator memory, MiB, at 0 / 500 / 2,000 orders; goal 25 + 15 per 1,000 | {idle_mib} / {mib_500} / {mib_2000} |"
    );
    let used: Vec<String> = used.iter().take(8).map(|(name, seconds)| format!("{name} {seconds}")).collect();
    let writes: Vec<String> = writes.iter().map(|(what, count)| format!("{what} {count}")).collect();
    println!("| writes of the operator in the burst | {} |", writes.join(", "));
    println!("| seconds of a processor in the burst, by process | {} |", used.join(", "));
    let json = json!({
        "rawPerSecond": [before, after], "ordersPerSecond": orders_rate, "writesPerOrder": per_order,
        "ratio": ratio, "operatorMib": [idle_mib, mib_500, mib_2000],
    });
    println!("{json}");
    Ok(())
}

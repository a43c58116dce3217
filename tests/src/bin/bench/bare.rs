//! A bare client of the API server: what everything else is compared with, and who orders.

use crate::{IN_FLIGHT, NAMESPACE, RAW, rate};
use anyhow::{Result, ensure};
use futures::StreamExt as _;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use siyada_tests::kubectl::Kubectl;
use siyada_tests::wait::{eventually, seconds};
use std::time::Instant;

/// Where orders are made.
pub const ORDERS: &str = "/apis/siyada.cloud/v1alpha1/namespaces/bench-apps/postgresinstances";
/// Where their engine objects are.
pub const CLUSTERS: &str = "/apis/postgresql.cnpg.io/v1/namespaces/siyada-t-bench/clusters";

/// An order of a small database.
pub fn order(name: &str) -> Value {
    json!({
        "apiVersion": "siyada.cloud/v1alpha1", "kind": "PostgresInstance",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"plan": "dev", "version": "15", "dataClassification": "Internal", "deletionProtection": false},
    })
}

/// A bare client of the API server.
#[derive(Clone)]
pub struct Bare {
    http: reqwest::Client,
    server: String,
    token: String,
}

impl Bare {
    /// With a token of an account that may do everything.
    pub async fn new() -> Result<Self> {
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
        let (client, server) = admin.api_server().await?;
        Ok(Self { http: client.timeout(seconds(30)).build()?, server, token })
    }

    /// A request that is not sent yet.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.server)).bearer_auth(&self.token)
    }

    /// Sends a body and reads the answer; anything but a success is an error.
    pub async fn send(&self, method: Method, path: &str, kind: &str, body: &Value) -> Result<Value> {
        let request = self.request(method, path).header("content-type", kind).body(body.to_string());
        let answer = request.send().await?;
        let status = answer.status();
        let value: Value = answer.json().await?;
        ensure!(status.is_success(), "{path}: {status} {}", value["message"]);
        Ok(value)
    }

    /// Creates an object.
    pub async fn create(&self, path: &str, body: &Value) -> Result<()> {
        self.send(Method::POST, path, "application/json", body).await.map(|_| ())
    }

    /// Reads an object or a list.
    pub async fn read(&self, path: &str) -> Result<Value> {
        self.send(Method::GET, path, "application/json", &Value::Null).await
    }

    /// Deletes an object.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.send(Method::DELETE, path, "application/json", &json!({})).await.map(|_| ())
    }

    /// Count of objects in a list, without reading them: what waits must not load what is measured.
    async fn count(&self, path: &str) -> Result<usize> {
        let page = self.read(&format!("{path}?limit=1")).await?;
        let rest = page.pointer("/metadata/remainingItemCount").and_then(Value::as_u64).unwrap_or(0);
        let first = page["items"].as_array().map_or(0, Vec::len);
        Ok(usize::try_from(rest)? + first)
    }

    /// Count of orders that were told where their engine object is.
    async fn told(&self, path: &str) -> Result<usize> {
        let list = self.read(path).await?;
        let told = |order: &&Value| order.pointer("/status/engineRef").is_some();
        Ok(list["items"].as_array().map_or(0, |items| items.iter().filter(told).count()))
    }

    /// Server-side applies per second of plain ConfigMaps.
    pub async fn raw_rate(&self) -> Result<f64> {
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

    /// Orders number `from` until `to`, many at once.
    pub async fn order(&self, from: usize, to: usize) -> Result<()> {
        all(
            to - from,
            |index| async move { self.create(ORDERS, &order(&format!("o-{}", from + index))).await },
        )
        .await
    }

    /// Waits until so many orders have their last child and say so.
    pub async fn settled(&self, count: usize) -> Result<()> {
        // So many more seconds as the slowest machine needs for the orders beyond a few thousand.
        let limit = seconds(600 + u64::try_from(count)? / 10);
        eventually(limit, &format!("{count} orders to be planned"), || async {
            let made = self.count(CLUSTERS).await?;
            ensure!(made == count, "{made} engine objects");
            let told = self.told(ORDERS).await?;
            ensure!(told == count, "{told} orders were told");
            Ok(())
        })
        .await
    }
}

/// Does it so many times, many at once.
pub async fn all<F: Future<Output = Result<()>>>(count: usize, one: impl Fn(usize) -> F) -> Result<()> {
    let outcomes: Vec<Result<()>> =
        futures::stream::iter(0..count).map(one).buffer_unordered(IN_FLIGHT).collect().await;
    outcomes.into_iter().collect()
}

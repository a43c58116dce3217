//! One order after the other: from apply to its last child, as watches see it.

use crate::bare::{Bare, CLUSTERS, ORDERS as PATH, order};
use crate::{percentiles, row};
use anyhow::{Context as _, Result, bail};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use siyada_tests::wait::seconds;
use std::time::{Duration, Instant};

/// Single orders of one measurement.
pub const ORDERS: usize = 100;
/// How long one order may take.
const LIMIT: Duration = seconds(60);
/// How long a watch may last: longer than everything that is measured with it.
const WATCH: Duration = seconds(1_200);

/// Times of single orders beside those that stand.
pub struct Latency {
    standing: usize,
    child_ms: [f64; 2],
    told_ms: [f64; 2],
    /// All but one in a hundred had their last child in so many milliseconds.
    pub p99_ms: f64,
}

impl Latency {
    /// The figures.
    pub fn json(&self) -> Value {
        json!({"standing": self.standing, "lastChildP50P99Ms": self.child_ms, "statusP50P99Ms": self.told_ms})
    }
}

/// Orders one by one while so many stand. The next is applied when the one before knows from its status where its engine
/// object is, so that no two meet.
pub async fn single_orders(bare: &Bare, standing: usize) -> Result<Latency> {
    let mut clusters = Watch::open(bare, CLUSTERS).await?;
    let mut orders = Watch::open(bare, PATH).await?;
    let (mut child, mut told) = (Vec::new(), Vec::new());
    for index in 0..ORDERS {
        let name = format!("s-{standing}-{index}");
        let start = Instant::now();
        bare.create(PATH, &order(&name)).await?;
        // The engine object is the last that the operator makes of such an order.
        let made = |object: &Value| object["metadata"]["labels"]["siyada.cloud/order-name"] == name;
        child.push(clusters.until(&format!("the engine object of {name}"), made).await? - start);
        let knows = |object: &Value| {
            object["metadata"]["name"] == name && object.pointer("/status/engineRef").is_some()
        };
        told.push(orders.until(&format!("the status of {name}"), knows).await? - start);
    }
    let (child_ms, told_ms) = (percentiles(child), percentiles(told));
    let shown = |[p50, p99]: [f64; 2]| format!("{p50:.0} / {p99:.0} ms");
    let of = format!("{ORDERS} single orders beside {standing} that stand");
    row(&format!("{of}, apply to last child, p50 / p99"), &shown(child_ms));
    row(&format!("{of}, apply to a status that knows it, p50 / p99"), &shown(told_ms));
    Ok(Latency { standing, child_ms, told_ms, p99_ms: child_ms[1] })
}

/// A watch of a list from now on.
struct Watch {
    answer: Response,
    read: Vec<u8>,
}

impl Watch {
    async fn open(bare: &Bare, path: &str) -> Result<Self> {
        let list = bare.read(&format!("{path}?limit=1")).await?;
        let version = list.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        let version = version.context("a list without a version")?;
        let limit = WATCH.as_secs();
        let path = format!("{path}?watch=1&resourceVersion={version}&timeoutSeconds={limit}");
        let answer = bare.request(Method::GET, &path).timeout(WATCH).send().await?;
        Ok(Self { answer: answer.error_for_status()?, read: Vec::new() })
    }

    /// When an object that fits was seen.
    async fn until(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Instant> {
        let seen = async {
            loop {
                let event = self.next().await?;
                if event["type"] == "ERROR" {
                    bail!("the watch ended: {event}");
                }
                if fits(&event["object"]) {
                    return Ok(Instant::now());
                }
            }
        };
        let limit = LIMIT.as_secs();
        tokio::time::timeout(LIMIT, seen).await.with_context(|| format!("waited {limit} s for {what}"))?
    }

    async fn next(&mut self) -> Result<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Ok(serde_json::from_slice(&line)?);
            }
            let chunk = self.answer.chunk().await?.context("the watch ended")?;
            self.read.extend_from_slice(&chunk);
        }
    }
}

//! Rates and percentiles of calls.

use serde::Serialize;
use std::time::{Duration, Instant};

/// Calls a second, and how long one took.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// Answered calls a second.
    pub per_second: f64,
    /// Half of them took at most this.
    pub p50_ms: f64,
    /// All but one in a hundred took at most this.
    pub p99_ms: f64,
}

/// Every caller calls again and again until the time is over; `call` is told which caller it is.
pub async fn rate<F>(
    callers: usize,
    time: Duration,
    call: impl Fn(usize) -> F + Clone + Send + 'static,
) -> anyhow::Result<Rate>
where
    F: Future<Output = anyhow::Result<()>> + Send,
{
    let began = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let call = call.clone();
            tokio::spawn(async move {
                let mut took = Vec::new();
                while began.elapsed() < time {
                    let start = Instant::now();
                    call(caller).await?;
                    took.push(start.elapsed());
                }
                anyhow::Ok(took)
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await??);
    }
    let seconds = began.elapsed().as_secs_f64();
    took.sort();
    Ok(Rate { per_second: took.len() as f64 / seconds, p50_ms: at(&took, 50), p99_ms: at(&took, 99) })
}

/// The percentile of sorted times, in milliseconds.
pub fn at(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(index).map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
}

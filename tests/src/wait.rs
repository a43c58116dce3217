//! Waiting for a condition, with a limit and a sentence.

use anyhow::{Result, anyhow};
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// Looks until `look` finds something, at most `limit`.
///
/// # Errors
/// Says what was waited for, how long, and what was seen last.
pub async fn eventually<T, F>(limit: Duration, what: &str, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let started = Instant::now();
    loop {
        let last = match tokio::time::timeout(limit, look()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "no answer at all".to_owned(),
        };
        if started.elapsed() > limit {
            return Err(anyhow!("waited {} s for {what}; last seen: {last}", limit.as_secs()));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Seconds as a duration.
pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

//! Waiting for a condition, with a limit and a sentence.

use anyhow::{Result, anyhow};
use std::time::{Duration, Instant};

/// Between two looks at first. Most of them start a program: a long wait looks more seldom, or the looks would take what is waited for
/// the processor.
const PAUSE: Duration = Duration::from_millis(250);
/// Between two looks at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

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
        tokio::time::sleep((started.elapsed() / 10).clamp(PAUSE, LONGEST_PAUSE)).await;
    }
}

/// Seconds as a duration.
pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The moment so many hours ago, in whole seconds, as objects hold it.
///
/// # Errors
/// When there was no such moment.
pub fn hours_ago(hours: i64) -> Result<String> {
    let moment = jiff::Timestamp::now().checked_sub(jiff::SignedDuration::from_hours(hours))?;
    Ok(moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

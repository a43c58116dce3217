//! Whether what a database has written waits too long for its archive. The engine says so when its archive command fails; one that hangs,
//! as with a store that takes connections and answers nothing, fails only after many minutes.

use crate::moment::Log;
use jiff::Timestamp;
use std::time::Duration;
use tokio::time::Instant;

/// What waits for the archive of a database.
#[derive(Clone, Debug, Default)]
pub struct Backlog {
    /// So long it may wait; nothing: nobody wants to know.
    pub limit: Option<Duration>,
    /// The last segment that was seen to be archived.
    archived: Option<String>,
    /// Since when something waits and nothing has come, by both clocks.
    waits: Option<(Instant, Timestamp)>,
    late: bool,
}

/// A segment without its timeline, which a standby that took over changes.
fn place(segment: &str) -> Option<&str> {
    segment.get(8..)
}

impl Backlog {
    /// Since when nothing has come although something waits, where that is longer than it may be.
    pub fn late(&self) -> Option<Timestamp> {
        self.waits.filter(|_| self.late).map(|(_, since)| since)
    }

    /// Takes in what a database says; true when that changes what is said. One that does not say what it archived last changes nothing.
    pub fn take(&mut self, log: &Log, now: Instant, clock: Timestamp) -> bool {
        let (Some(limit), Some(archived)) = (self.limit, log.archived.as_deref()) else { return false };
        let before = self.late();
        if self.archived.as_deref() != Some(archived) {
            self.archived = Some(archived.to_owned());
            self.waits = None;
        }
        if place(archived) >= place(&log.complete) {
            self.waits = None;
        } else {
            self.waits.get_or_insert((now, clock));
        }
        self.late = self.waits.is_some_and(|(since, _)| now.duration_since(since) >= limit);
        self.late() != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(complete: &str, archived: Option<&str>) -> Log {
        let segment = |text: &str| format!("00000001{text:0>16}");
        Log {
            clock: Timestamp::UNIX_EPOCH,
            segment: segment("FF"),
            complete: segment(complete),
            archived: archived.map(segment),
        }
    }

    #[test]
    fn what_waits_without_anything_coming_is_late_and_what_comes_slowly_is_not() {
        let mut backlog = Backlog { limit: Some(Duration::from_secs(60)), ..Backlog::default() };
        let (began, at) = (Instant::now(), |second| Timestamp::from_second(second).unwrap());
        let mut take = |second: u32, complete, archived, changes: bool, late: Option<i64>| {
            let now = began + Duration::from_secs(second.into());
            assert_eq!(backlog.take(&log(complete, archived), now, at(second.into())), changes, "{second}");
            assert_eq!(backlog.late(), late.map(at), "{second}");
        };
        take(0, "5", Some("5"), false, None);
        take(20, "6", Some("5"), false, None);
        take(79, "7", Some("5"), false, None);
        take(80, "7", Some("5"), true, Some(20));
        take(100, "7", None, false, Some(20));
        take(120, "8", Some("5"), false, Some(20));
        // It goes on, and is behind still.
        take(140, "9", Some("6"), true, None);
        take(199, "9", Some("7"), false, None);
        take(258, "9", Some("7"), false, None);
        take(259, "9", Some("7"), true, Some(199));
        take(260, "9", Some("9"), true, None);
        // An idle database has nothing that waits.
        take(9_999, "9", Some("9"), false, None);
    }

    #[test]
    fn another_timeline_is_nothing_that_waits() {
        let mut backlog = Backlog { limit: Some(Duration::ZERO), ..Backlog::default() };
        let mut promoted = log("9", Some("9"));
        promoted.complete.replace_range(..8, "00000002");
        assert!(!backlog.take(&promoted, Instant::now(), Timestamp::UNIX_EPOCH));
        assert!(backlog.take(&log("A", Some("9")), Instant::now(), Timestamp::UNIX_EPOCH));
    }
}

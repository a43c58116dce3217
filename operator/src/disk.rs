//! How full the disk of a database is, asked of the database itself with the login that clients have.

use crate::probe::first_row;
use tokio_postgres::Client;

/// Bytes that the database has on its volume: its tables, and of the write-ahead log what must be kept, for what is not archived
/// yet, for standbys that are behind, since the last checkpoint, or by setting. Log files that wait to be written again are not
/// among them: they go when room is needed. Any login may ask this; the size of the log's folder only a monitoring role may.
const USED: &str = "
    with log as (
        select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') as written, pg_size_bytes(current_setting('wal_segment_size')) as segment
    ), archived as (
        select (('x' || substr(last_archived_wal, 9, 8))::bit(32)::bigint::numeric * 4294967296)
            + ((('x' || substr(last_archived_wal, 17, 8))::bit(32)::bigint + 1) * segment) as upto
        from pg_stat_archiver, log
        where last_archived_wal ~ '^[0-9A-F]{24}' and current_setting('archive_mode') <> 'off'
    )
    select (pg_tablespace_size('pg_default') + segment + greatest(
        least(written, pg_size_bytes(current_setting('wal_keep_size'))),
        written - pg_wal_lsn_diff((select redo_lsn from pg_control_checkpoint()), '0/0'),
        written - (select upto from archived),
        (select max(written - pg_wal_lsn_diff(restart_lsn, '0/0')) from pg_replication_slots)
    ))::bigint from log";

/// How full a disk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fullness {
    /// Nothing to say.
    #[default]
    Roomy,
    /// At 80 % or more.
    NearlyFull,
    /// At 95 % or more: what is left is what the file system keeps for itself.
    Full,
}

impl Fullness {
    /// From what was said before and what is used now. What was said is taken back only 5 % below where it began, so that
    /// nothing is written back and forth.
    pub fn of(before: Self, used: i64, capacity: i64) -> Self {
        if capacity <= 0 {
            return before;
        }
        let percent = i128::from(used) * 100 / i128::from(capacity);
        let reached = |of: Self, from: i128| percent >= if before >= of { from - 5 } else { from };
        if reached(Self::Full, 95) {
            Self::Full
        } else if reached(Self::NearlyFull, 80) {
            Self::NearlyFull
        } else {
            Self::Roomy
        }
    }
}

/// Asks the database that `client` is connected to.
pub async fn used(client: &Client) -> Option<i64> {
    first_row(&client.simple_query(USED).await.ok()?)?.get(0)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eighty_percent_is_told_and_taken_back_only_below_seventy_five() {
        use Fullness::{Full, NearlyFull, Roomy};
        let check =
            |before, used, expect| assert_eq!(Fullness::of(before, used, 1000), expect, "{before:?} {used}");
        check(Roomy, 799, Roomy);
        check(Roomy, 800, NearlyFull);
        check(NearlyFull, 760, NearlyFull);
        check(NearlyFull, 749, Roomy);
        check(NearlyFull, 950, Full);
        check(Roomy, 2000, Full);
        check(Full, 910, Full);
        check(Full, 899, NearlyFull);
        check(Full, 100, Roomy);
        assert_eq!(Fullness::of(NearlyFull, 10, 0), NearlyFull, "a volume that is not there says nothing");
        assert_eq!(Fullness::of(Roomy, i64::MAX, i64::MAX), Full);
    }
}

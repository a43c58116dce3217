//! What is to happen to which write, and what was seen of every one.

use crate::write::Write;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What happens to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operator is killed, and the server never hears of the write.
    KillBefore,
    /// The server does it, and the operator is killed before it hears so.
    KillAfter,
    /// The server hears of it later.
    Delay(Duration),
    /// The server does it, and the connection breaks before the operator hears so.
    Drop,
    /// The server hears of it twice, and the operator gets the second answer.
    Duplicate,
    /// The server never hears of it, and the operator gets this answer.
    Answer(Refusal),
    /// Every watch breaks, then the server does it.
    CutWatches,
}

/// An answer that is not the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 409, as when somebody else wrote meanwhile.
    Conflict,
    /// 429 with a `Retry-After` of one second.
    TooMany,
    /// 500.
    Internal,
}

impl Refusal {
    /// Its code, and the reason that the server gives with it.
    pub fn code(self) -> (u16, &'static str) {
        match self {
            Self::Conflict => (409, "Conflict"),
            Self::TooMany => (429, "TooManyRequests"),
            Self::Internal => (500, "InternalError"),
        }
    }
}

/// A fault, and the write that it happens to, counted from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Which write.
    pub at: usize,
    /// What happens to it.
    pub fault: Fault,
}

/// A write and what the server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which of the operator's writes, counted from one; a duplicate has the number of the first.
    pub ordinal: usize,
    /// What was written.
    pub write: Write,
    /// The server's code.
    pub code: u16,
    /// The object's uid, when the answer has it.
    pub uid: Option<String>,
}

/// How many objects the writes made, by resource. An object counts once, however often it was asked for.
pub fn created(seen: &[Seen]) -> BTreeMap<String, usize> {
    count(seen, |one| one.code == 201 && !one.write.resource.contains('/'))
}

/// How many objects were asked away, by resource. A finalizer makes an operator ask again; the uid counts once.
pub fn deleted(seen: &[Seen]) -> BTreeMap<String, usize> {
    count(seen, |one| one.write.verb == "delete" && matches!(one.code, 200 | 202))
}

fn count(seen: &[Seen], counts: impl Fn(&Seen) -> bool) -> BTreeMap<String, usize> {
    let mut objects: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for one in seen.iter().filter(|one| counts(one)) {
        // Without a uid, as for a delete of a list, the name has to do.
        let object = one.uid.as_deref().unwrap_or(&one.write.name);
        objects.entry(one.write.resource.clone()).or_default().insert(object);
    }
    objects.into_iter().map(|(resource, all)| (resource, all.len())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(verb: &'static str, code: u16, uid: &str) -> Seen {
        let write = Write { verb, resource: "secrets".into(), namespace: "n".into(), name: "s".into() };
        Seen { ordinal: 1, write, code, uid: Some(uid.into()) }
    }

    #[test]
    fn an_object_counts_once_and_a_second_of_the_same_name_counts_again() {
        let all = [
            seen("create", 201, "a"),
            seen("create", 409, "a"),
            seen("delete", 200, "a"),
            seen("delete", 200, "a"),
            seen("delete", 404, "z"),
            seen("patch", 201, "b"),
            seen("patch", 200, "b"),
        ];
        assert_eq!(created(&all), BTreeMap::from([("secrets".to_owned(), 2)]));
        assert_eq!(deleted(&all), BTreeMap::from([("secrets".to_owned(), 1)]));
    }
}

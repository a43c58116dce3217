//! The audit trail: who did what, each event chained to the one before by its hash, so that none can be changed, removed
//! or slipped in unseen.
//!
//! The hash of an event is SHA-256 over its canonical bytes ([`crate::canonical`]) without the member `sha256`;
//! `previousSha256` is the hash of the event before, 64 zeros before the first.
//!
//! Events that need not be kept any longer are removed from the beginning. An [`Anchor`] names the last of them: the event
//! after it has its hash, and an event of the trail, [`REMOVED`], tells that it was removed.

use crate::canonical::{self, NotCanonical, whole};
use crate::id::TenantName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::canonical::NOTHING_BEFORE;

/// The action of the event that tells of a removal; its detail has the `seq` and the `sha256` of the anchor.
pub const REMOVED: &str = "audit.remove";

/// The last event that was removed: where a trail begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Anchor {
    /// Its place in the trail.
    pub seq: i64,
    /// When it was.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// Its hash.
    pub sha256: String,
}

/// The first line of an export of a trail that does not begin with its first event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnchorLine {
    /// Where it begins.
    pub anchor: Anchor,
}

/// `GET /v1/audit/retention`: how long events are kept, and where the trail begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// For how many years.
    pub years: i32,
    /// Events from this instant on are kept now.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub kept_since: Timestamp,
    /// The last event that was removed; absent while all are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<Anchor>,
}

/// Something that somebody did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditEvent {
    /// Its place in the ledger's trail, from 1, without holes.
    pub seq: i64,
    /// When, by the ledger's clock; never before the event before.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// Who: the subject of the token.
    pub actor: String,
    /// What, for example `priceList.put`.
    pub action: String,
    /// The tenant it concerns; absent when it concerns all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantName>,
    /// What it was done to, for example `priceList/tarif-2026`.
    pub object: String,
    /// What changed.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub detail: Value,
    /// Hash of the event before.
    pub previous_sha256: String,
    /// Hash of this event.
    pub sha256: String,
}

impl AuditEvent {
    /// What its hash must be.
    ///
    /// # Errors
    /// [`NotCanonical`] for numbers that not every reader keeps; [`exact`] writes them as texts.
    pub fn hash(&self) -> Result<String, NotCanonical> {
        let mut value = serde_json::to_value(self)?;
        if let Some(members) = value.as_object_mut() {
            members.remove("sha256");
        }
        Ok(canonical::sha256(&canonical::bytes(&value)?))
    }
}

/// `detail` with every number as a text that not every reader of JSON keeps exactly.
pub fn exact(detail: Value) -> Value {
    match detail {
        Value::Number(number) => {
            if whole(&number).is_some() {
                Value::Number(number)
            } else {
                Value::String(number.to_string())
            }
        }
        Value::Array(items) => Value::Array(items.into_iter().map(exact).collect()),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(key, value)| (key, exact(value))).collect())
        }
        other => other,
    }
}

/// How much of the trail is at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it from the first event, or from the anchor on: nothing may be missing before the last.
    Whole,
    /// What concerns somebody: events of others are left out between.
    Part,
}

/// What is wrong with an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It cannot be read, or not byte for byte as it was written.
    #[error("it is not an event in its canonical form")]
    Form,
    /// Its content is not what was hashed.
    #[error("its hash is not that of its content")]
    Hash,
    /// The event before is not the one it names.
    #[error("it does not follow the event before: one was changed, removed or slipped in")]
    Link,
    /// Its number or its time is not after that of the event before.
    #[error("its number or its time is not after that of the event before")]
    Order,
    /// No event of the trail tells that what was before the anchor was removed.
    #[error("no event of the trail tells that what was before the anchor was removed")]
    Anchor,
}

/// The first event that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event at line {line} is broken: {flaw}")]
pub struct Broken {
    /// Its line, from 1.
    pub line: usize,
    /// What is wrong.
    pub flaw: Flaw,
}

/// Checks an export line by line, each an event in its canonical bytes, and answers the last one. The first line may name
/// the anchor ([`AnchorLine`]); a whole trail must then tell of the removal. For the whole trail compare the last event with
/// what was noted elsewhere: a tail that is cut off leaves no trace in what is left.
///
/// # Errors
/// [`Broken`] names the first line that is not as it was written.
pub fn verify<'a>(
    lines: impl IntoIterator<Item = &'a [u8]>,
    extent: Extent,
) -> Result<Option<AuditEvent>, Broken> {
    let (mut before, mut begin, mut last) = (None, None, None);
    for (index, line) in lines.into_iter().enumerate() {
        let broken = |flaw| Broken { line: index.saturating_add(1), flaw };
        if let (0, Some(anchor)) = (index, anchor_of(line)) {
            before = Some(anchor.clone());
            begin = Some(anchor);
            continue;
        }
        let event = event_of(line).map_err(broken)?;
        follows(before.as_ref(), &event, extent).map_err(broken)?;
        before = Some(Anchor { seq: event.seq, at: event.at, sha256: event.sha256.clone() });
        if begin.as_ref().is_some_and(|begin| tells_of(&event, begin)) {
            begin = None;
        }
        last = Some(event);
    }
    if begin.is_some() && extent == Extent::Whole {
        return Err(Broken { line: 1, flaw: Flaw::Anchor });
    }
    Ok(last)
}

/// The anchor that a line names, if it is one in its canonical bytes.
fn anchor_of(line: &[u8]) -> Option<Anchor> {
    let found: AnchorLine = serde_json::from_slice(line).ok()?;
    (canonical::bytes(&found).ok()? == line).then_some(found.anchor)
}

/// Whether `event` tells of the removal up to `anchor`.
fn tells_of(event: &AuditEvent, anchor: &Anchor) -> bool {
    let detail = |member: &str| event.detail.get(member);
    event.action == REMOVED
        && detail("seq").and_then(Value::as_i64) == Some(anchor.seq)
        && detail("sha256").and_then(Value::as_str) == Some(anchor.sha256.as_str())
}

/// The event of a line, as it was written.
fn event_of(line: &[u8]) -> Result<AuditEvent, Flaw> {
    let event: AuditEvent = serde_json::from_slice(line).map_err(|_| Flaw::Form)?;
    if canonical::bytes(&event).map_err(|_| Flaw::Form)? != line {
        return Err(Flaw::Form);
    }
    if event.hash().map_err(|_| Flaw::Form)? == event.sha256 { Ok(event) } else { Err(Flaw::Hash) }
}

fn follows(before: Option<&Anchor>, event: &AuditEvent, extent: Extent) -> Result<(), Flaw> {
    let seq = before.map_or(0, |event| event.seq);
    if event.seq <= seq || before.is_some_and(|before| event.at < before.at) {
        return Err(Flaw::Order);
    }
    let next = event.seq == seq.saturating_add(1);
    if !next {
        return if extent == Extent::Part { Ok(()) } else { Err(Flaw::Link) };
    }
    let expected = before.map_or(NOTHING_BEFORE, |event| &event.sha256);
    if event.previous_sha256 == expected { Ok(()) } else { Err(Flaw::Link) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn trail(details: &[String]) -> Vec<AuditEvent> {
        let mut events: Vec<AuditEvent> = Vec::new();
        for (seq, detail) in (1_i64..).zip(details) {
            let mut event = AuditEvent {
                seq,
                at: Timestamp::from_second(seq).unwrap(),
                actor: "oidc:amina".to_owned(),
                action: "tenant.put".to_owned(),
                tenant: (seq % 2 == 0).then(|| "interior".parse().unwrap()),
                object: "tenant/interior".to_owned(),
                detail: json!({"why": detail, "limit": seq}),
                previous_sha256: events
                    .last()
                    .map_or(NOTHING_BEFORE.to_owned(), |event| event.sha256.clone()),
                sha256: String::new(),
            };
            event.sha256 = event.hash().unwrap();
            events.push(event);
        }
        events
    }

    fn lines(events: &[AuditEvent]) -> Vec<Vec<u8>> {
        events.iter().map(|event| canonical::bytes(event).unwrap()).collect()
    }

    fn check(lines: &[Vec<u8>], extent: Extent) -> Result<Option<AuditEvent>, Broken> {
        verify(lines.iter().map(Vec::as_slice), extent)
    }

    #[test]
    fn i14_what_is_removed_or_moved_is_found_where_it_was() {
        let all = lines(&trail(&["a".to_owned(), "b".to_owned(), "c".to_owned(), "d".to_owned()]));
        assert_eq!(check(&all, Extent::Whole).unwrap().unwrap().seq, 4);
        let without = |index: usize| {
            let mut some = all.clone();
            some.remove(index);
            some
        };
        let link = |line| Err(Broken { line, flaw: Flaw::Link });
        assert_eq!(check(&without(0), Extent::Whole), link(1));
        assert_eq!(check(&without(2), Extent::Whole), link(3));
        assert!(check(&without(2), Extent::Part).is_ok());
        let mut swapped = all.clone();
        swapped.swap(1, 2);
        assert_eq!(check(&swapped, Extent::Part), Err(Broken { line: 3, flaw: Flaw::Order }));
    }

    #[test]
    fn i14_an_event_written_anew_with_its_own_hash_breaks_the_link_after_it() {
        let mut events = trail(&["a".to_owned(), "b".to_owned(), "c".to_owned()]);
        events[1].actor = "oidc:brahim".to_owned();
        events[1].sha256 = events[1].hash().unwrap();
        for extent in [Extent::Whole, Extent::Part] {
            assert_eq!(check(&lines(&events), extent), Err(Broken { line: 3, flaw: Flaw::Link }));
        }
    }

    /// The trail from the event after `removed` on, which its last event tells of.
    fn shortened(removed: usize) -> Vec<Vec<u8>> {
        let mut events = trail(&["a".to_owned(), "b".to_owned(), "c".to_owned(), "d".to_owned()]);
        let last = events[removed - 1].clone();
        let anchor = Anchor { seq: last.seq, at: last.at, sha256: last.sha256 };
        let told = events.last_mut().unwrap();
        told.action = REMOVED.to_owned();
        told.detail = json!({"seq": anchor.seq, "sha256": anchor.sha256, "removed": removed});
        told.sha256 = told.hash().unwrap();
        let line = canonical::bytes(&AnchorLine { anchor }).unwrap();
        [vec![line], lines(&events[removed..])].concat()
    }

    #[test]
    fn i14_a_trail_verifies_from_its_anchor_and_from_no_other() {
        let all = shortened(2);
        assert_eq!(check(&all, Extent::Whole).unwrap().unwrap().seq, 4);
        assert_eq!(check(&all, Extent::Part).unwrap().unwrap().seq, 4);
        // Without the anchor the beginning is missing; one event less is a link that breaks.
        assert_eq!(check(&all[1..], Extent::Whole), Err(Broken { line: 1, flaw: Flaw::Link }));
        let fewer = [&all[..1], &all[2..]].concat();
        assert_eq!(check(&fewer, Extent::Whole), Err(Broken { line: 2, flaw: Flaw::Link }));
        // Whoever cuts off more and says so himself is not confirmed by the trail.
        let event: AuditEvent = serde_json::from_slice(&all[1]).unwrap();
        let own = AnchorLine { anchor: Anchor { seq: event.seq, at: event.at, sha256: event.sha256 } };
        let cut = [vec![canonical::bytes(&own).unwrap()], all[2..].to_vec()].concat();
        assert_eq!(check(&cut, Extent::Whole), Err(Broken { line: 1, flaw: Flaw::Anchor }));
        // An anchor is nothing but the first line.
        let late = [all.clone(), all[..1].to_vec()].concat();
        assert_eq!(check(&late, Extent::Whole), Err(Broken { line: 4, flaw: Flaw::Form }));
    }

    #[test]
    fn numbers_that_readers_would_round_become_texts() {
        let detail = json!({"a": i64::MAX, "b": 1.5, "c": [1, u64::MAX], "d": null});
        let expect =
            json!({"a": "9223372036854775807", "b": "1.5", "c": [1, "18446744073709551615"], "d": null});
        assert_eq!(exact(detail), expect);
    }

    proptest! {
        #[test]
        fn i14_any_flipped_bit_is_found_in_its_line(
            details in proptest::collection::vec(".{0,12}", 1..8), line in any::<prop::sample::Index>(),
            byte in any::<prop::sample::Index>(), bit in 0..8_u8,
        ) {
            let mut all = lines(&trail(&details));
            prop_assert!(check(&all, Extent::Whole).is_ok());
            let line = line.index(all.len());
            let byte = byte.index(all[line].len());
            all[line][byte] ^= 1 << bit;
            for extent in [Extent::Whole, Extent::Part] {
                prop_assert_eq!(check(&all, extent).unwrap_err().line, line + 1);
            }
        }
    }
}

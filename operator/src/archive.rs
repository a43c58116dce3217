//! What a deleted order has in the object store: noted before its engine object goes, kept for its days, and removed when nothing
//! needs it any more. Pure.

use crate::backup::Source;
use crate::last_backup::Fate;
use crate::names::{
    self, ARCHIVE, BACKUP_BYTES, MANAGED, Names, ORDER_RECORD, RESTORED_FROM, RETAINED_SINCE,
};
use crate::object::{ChildKind, Key, Mode, Planned};
use crate::order::Order;
use crate::reconcile;
use crate::retained::Record;
use crate::seen::{Seen, metadata};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use siyada_crds::order::RestoreFrom;

/// Between the mark that an archive is going and its removal: the pass of an order that began to be restored from it before it saw
/// the mark is over by then, and what it made is seen.
pub const MARKED: SignedDuration = SignedDuration::from_secs(reconcile::PASS.as_secs().cast_signed() + 30);

/// What is noted of an order's part of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Archive {
    /// The site whose store it is.
    pub site: String,
    /// The bucket.
    pub bucket: String,
    /// Bytes that it takes.
    pub bytes: i64,
    /// Whether the whole bucket was measured after the engine had ended; before, these are its backups as they were listed.
    #[serde(default)]
    pub measured: bool,
    /// Whether it is kept for its days; else it goes as soon as nobody reads it.
    pub keep: bool,
    /// When the last backup was finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_backup: Option<Timestamp>,
    /// Since when it is being removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removing: Option<Timestamp>,
}

impl Archive {
    /// The archive of an order, by what becomes of it; nothing where it never had one.
    pub fn of(fate: Fate, site: &str, bucket: &str, bytes: i64) -> Option<Self> {
        let (keep, last_backup) = match fate {
            Fate::Nothing => return None,
            Fate::Goes => (false, None),
            Fate::Stays(made) => (true, made),
        };
        let (site, bucket) = (site.to_owned(), bucket.to_owned());
        Some(Self { site, bucket, bytes, measured: false, keep, last_backup, removing: None })
    }

    /// Reads it from its note.
    pub fn read(note: &Value) -> Option<Self> {
        serde_json::from_str(metadata(note, "annotations", ARCHIVE)?).ok()
    }

    /// What is noted instead of `before`: what was measured, and that it is being removed, stays so.
    pub fn over(self, before: &Self) -> Self {
        let measured = !self.measured && before.measured;
        Self {
            bytes: if measured { before.bytes } else { self.bytes },
            measured: self.measured || before.measured,
            removing: self.removing.or(before.removing),
            ..self
        }
    }

    /// Whether it may be restored from.
    pub fn restorable(&self) -> bool {
        self.keep && self.removing.is_none()
    }
}

/// What a note says: whose the archive is, since when it is kept, and what it is. Its record has the days of a last backup, as what
/// is kept is only that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whose it is.
    pub record: Record,
    /// Since when it is kept.
    pub since: Timestamp,
    /// What is kept.
    pub archive: Archive,
}

impl Note {
    /// The note in an engine namespace, as it is written. Nothing in it is secret: it lies among Secrets because nobody but the
    /// platform writes them there.
    pub fn planned(&self, names: &Names) -> Option<Planned> {
        let at = self.record.at()?;
        let mut labels = names::labels(&at, &self.record.uid, &self.record.tenant);
        labels.insert(MANAGED, "true".to_owned());
        labels.insert(ARCHIVE, "true".to_owned());
        let name = names.archive();
        let body = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "siyada.cloud/archive",
            "metadata": {"namespace": names.engine, "name": name, "labels": labels, "annotations": {
                ORDER_RECORD: json!(self.record).to_string(),
                RETAINED_SINCE: self.since.to_string(),
                ARCHIVE: json!(self.archive).to_string(),
            }},
        });
        Some(Planned { key: Key::new(ChildKind::Secret, &names.engine, name), mode: Mode::CreateOnly, body })
    }

    /// Reads it from the object that holds it.
    pub fn read(note: &Value) -> Option<Self> {
        Some(Self {
            record: serde_json::from_str(metadata(note, "annotations", ORDER_RECORD)?).ok()?,
            since: metadata(note, "annotations", RETAINED_SINCE)?.parse().ok()?,
            archive: Archive::read(note)?,
        })
    }
}

/// The note of what an order has in the store, where the caches have it.
pub fn note(seen: &Seen) -> Option<(Names, Note)> {
    let noted = |key: &Key| key.kind == ChildKind::Secret && key.name.ends_with("-archive");
    let notes = seen.children.iter().filter(|(key, _)| noted(key));
    notes
        .filter_map(|(key, object)| {
            Some((Names::of_archive(&key.namespace, &key.name)?, Note::read(object)?))
        })
        .next()
}

/// The bucket that an engine object archives to, and the store's address.
pub fn bucket_of(cluster: &Value) -> Option<(String, String)> {
    let store = cluster.pointer("/spec/backup/barmanObjectStore")?;
    let path = store.get("destinationPath")?.as_str()?;
    let bucket = path.strip_prefix("s3://")?.trim_end_matches('/').to_owned();
    Some((bucket, store.get("endpointURL").and_then(Value::as_str).unwrap_or_default().to_owned()))
}

/// Bytes that an instance which was stopped for good has in the store, as they are noted on its engine object.
pub fn measured(cluster: &Value) -> Option<i64> {
    metadata(cluster, "annotations", BACKUP_BYTES)?.parse().ok()
}

/// Whether an engine object is being made from the archive of a bucket and did not run yet. What ran once reads it no more.
pub fn reads(cluster: &Value, bucket: &str) -> bool {
    let from = metadata(cluster, "annotations", RESTORED_FROM);
    let source: Option<Source> = from.and_then(|text| serde_json::from_str(text).ok());
    let primary = cluster.pointer("/status/currentPrimary").and_then(Value::as_str);
    let ran = primary.is_some_and(|name| !name.is_empty());
    source.is_some_and(|source| source.bucket == bucket) && !ran
}

/// Whether an order that has no engine object yet asks to be restored from an archive: from its listing or its uid, or from a
/// backup of it, where `backup_of` says whose a backup of that name is.
pub fn asks(order: &Order, of: &Record, listing: &str, backup_of: Option<&str>) -> bool {
    let Some(from) = &order.spec.restore_from else { return false };
    let RestoreFrom { retained_instance, .. } = from;
    let named = retained_instance.as_deref().is_some_and(|name| name == listing || name == of.uid.as_str());
    order.deletion.is_none() && (named || backup_of == Some(of.uid.as_str()))
}

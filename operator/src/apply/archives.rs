//! Writes to the notes of what deleted orders have in the object store, and to what is measured of it.

use super::{Applied, Apply, api, changed, create, merge};
use crate::archive::Note;
use crate::names::{ARCHIVE, BACKUP_BYTES, Names, ORDER_RECORD};
use crate::object::Key;
use kube::Client;
use kube::api::Patch;
use serde_json::{Value, json};

/// Notes what an order has in the store. What was measured, since when it is kept, and that it is being removed stay as they are
/// noted already. False when another write came between, or it cannot be noted: look again.
///
/// # Errors
/// [`Apply`] when the API server does not do it; nothing that the note is about may be removed then.
pub async fn note(client: &Client, names: &Names, note: &Note) -> Result<bool, Apply> {
    let Some(planned) = note.planned(names) else { return Ok(false) };
    let key = &planned.key;
    let api = api(client, key.kind, &key.namespace);
    let there = api.get_opt(&key.name).await.map_err(|e| Apply::Look(key.clone(), Box::new(e)))?;
    let Some(there) = there else {
        return Ok(matches!(create(&api, &planned).await?, Applied::Done(_)));
    };
    let object = serde_json::to_value(&there).unwrap_or(Value::Null);
    let before = Note::read(&object).filter(|before| before.record.uid == note.record.uid);
    let Some(before) = before else { return Ok(false) };
    let archive = note.archive.clone().over(&before.archive);
    if archive == before.archive && note.record == before.record {
        return Ok(true);
    }
    let body = json!({"metadata": {
        "resourceVersion": there.metadata.resource_version,
        "annotations": {ARCHIVE: json!(archive).to_string(), ORDER_RECORD: json!(note.record).to_string()},
    }});
    match api.patch(&key.name, &changed(), &Patch::Merge(&body)).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => Ok(false),
        Err(error) => Err(Apply::Write(key.clone(), Box::new(error))),
    }
}

/// Writes on an engine object that was stopped what its bucket takes.
///
/// # Errors
/// [`Apply::Write`] when the API server does not do it.
pub async fn measured(client: &Client, cluster: &Key, bytes: i64) -> Result<(), Apply> {
    merge(client, cluster, &json!({"metadata": {"annotations": {BACKUP_BYTES: bytes.to_string()}}})).await
}

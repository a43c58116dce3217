//! Gaps of measurement, the audit trail, and the key of signatures.

use crate::table::{Cell, Column, Listed, at, number, some, text};
use serde::{Deserialize, Serialize};
use siyada_model::audit::AuditEvent;
use siyada_model::wire::GapRecord;

impl Listed for GapRecord {
    const COLUMNS: &'static [Column<Self>] = &[
        number("id", |row| (&row.id).into()),
        text("tenant", |row| (&row.order.tenant).into()),
        text("namespace", |row| (&row.order.namespace).into()),
        text("name", |row| (&row.order.name).into()),
        text("meter", |row| (&row.meter).into()),
        text("sku", |row| (&row.level.sku).into()),
        number("level", |row| (&row.level.quantity).into()),
        text("start", |row| (&row.start).into()),
        text("end", |row| (&row.end).into()),
        text("reason", |row| (&row.reason).into()),
        text("decision", |row| (&decision(row)).into()),
        text("by", |row| some(row.decision.as_ref().map(|decision| &decision.by))),
        text("evidence", |row| some(row.decision.as_ref().map(|decision| &decision.evidence))),
    ];
}

fn decision(gap: &GapRecord) -> &'static str {
    match &gap.decision {
        Some(decision) if decision.billed => "billed",
        Some(_) => "waived",
        None => "undecided",
    }
}

impl Listed for AuditEvent {
    const COLUMNS: &'static [Column<Self>] = &[
        number("seq", |row| (&row.seq).into()),
        text("at", |row| at(row.at)),
        text("actor", |row| (&row.actor).into()),
        text("action", |row| (&row.action).into()),
        text("tenant", |row| some(row.tenant.as_ref())),
        text("object", |row| (&row.object).into()),
        text("detail", |row| (&row.detail).into()),
    ];
}

/// The key that signs documents now.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SigningKey {
    /// Its id, as documents name it.
    pub key_id: String,
    /// Of which kind it is.
    pub algorithm: String,
    /// The public key in base64.
    pub public_key: String,
}

impl SigningKey {
    /// What is known of it.
    pub fn facts(&self) -> Vec<(&'static str, Cell)> {
        vec![
            ("keyId", (&self.key_id).into()),
            ("algorithm", (&self.algorithm).into()),
            ("publicKey", (&self.public_key).into()),
        ]
    }
}

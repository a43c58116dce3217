//! Backups as a ministry sees and asks for them.
#![expect(
    clippy::duplicated_attributes,
    reason = "each printer column says type_ = \"string\", which the lint takes for a repetition"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A backup of an instance.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "siyada.cloud",
    version = "v1alpha1",
    kind = "ServiceBackup",
    shortname = "sbk",
    category = "siyada",
    namespaced,
    status = "ServiceBackupStatus",
    doc = "A backup of an instance: one on demand when a person makes it; those of the schedule are listed by the platform.",
    printcolumn(name = "Instance", type_ = "string", json_path = ".spec.instance.name"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Completed", type_ = "string", json_path = ".status.completedAt"),
    printcolumn(name = "Size", type_ = "string", json_path = ".status.size"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expires"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[x_kube(validation = ("self == oldSelf", "a backup cannot be changed: make another one"))]
#[serde(rename_all = "camelCase")]
pub struct ServiceBackupSpec {
    /// The order whose data it holds.
    pub instance: BackedUp,
}

/// An order of the same namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// Its kind.
    pub kind: BackedUpKind,
    /// Its name.
    #[schemars(length(min = 1, max = 30))]
    pub name: String,
}

/// Kinds that can be backed up.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackedUpKind {
    /// `PostgresInstance`.
    PostgresInstance,
    /// `DocumentStoreInstance`.
    DocumentStoreInstance,
}

/// What became of a backup.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceBackupStatus {
    /// Generation of the spec this speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word: Pending, Running, Completed, Failed or Expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it was finished; it holds the data of this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<String>,
    /// What it takes in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// What the archive of changes took beside it in the store when it was finished, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive_bytes: Option<i64>,
    /// It is kept at least until then; one that failed is listed until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Uid of the order it was made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_uid: Option<String>,
    /// What the engine calls it in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_id: Option<String>,
    /// Major version of the engine whose data it holds: only an order of that version can begin with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major_version: Option<i32>,
    /// The archive in the order's bucket that it lies in: each major version has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// The conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

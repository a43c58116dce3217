//! What deleted orders left, as a ministry sees it.
#![expect(
    clippy::duplicated_attributes,
    reason = "each printer column says type_ = \"string\", which the lint takes for a repetition"
)]

use crate::backup::BackedUp;
use crate::order::Cost;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// What a deleted order left.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "siyada.cloud",
    version = "v1alpha1",
    kind = "RetainedInstance",
    shortname = "rti",
    category = "siyada",
    namespaced,
    status = "RetainedInstanceStatus",
    doc = "The data of a deleted order, which is kept and billed. The platform lists it; the data itself lies elsewhere, and a listing that is removed comes back.",
    printcolumn(name = "Instance", type_ = "string", json_path = ".spec.instance.name"),
    printcolumn(name = "Data", type_ = "string", json_path = ".status.data"),
    printcolumn(name = "Storage", type_ = "string", json_path = ".status.storage"),
    printcolumn(name = "Backups", type_ = "string", json_path = ".status.backups"),
    printcolumn(name = "Since", type_ = "string", json_path = ".status.keptSince"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expires"),
    printcolumn(name = "Price", type_ = "string", json_path = ".status.cost.maximumMonthly"),
    printcolumn(name = "Currency", type_ = "string", json_path = ".status.cost.currency"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"ExpiresSoon\")].message",
        priority = 1
    )
)]
#[x_kube(validation = ("!has(self.discard) || self.discard == self.instance.name", "spec.discard must be the name of the instance: it removes its data for ever"))]
#[serde(rename_all = "camelCase")]
pub struct RetainedInstanceSpec {
    /// Uid of the order whose data it is.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = ("self == oldSelf", "only spec.discard can be changed: the rest says whose the data is"))]
    pub order_uid: String,
    /// What it was.
    #[x_kube(validation = ("self == oldSelf", "only spec.discard can be changed: the rest says whose the data is"))]
    pub instance: BackedUp,
    /// Where it was ordered.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = ("self == oldSelf", "only spec.discard can be changed: the rest says whose the data is"))]
    pub namespace: String,
    /// The name of the instance, as a confirmation: its data is removed for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 30))]
    pub discard: Option<String>,
}

/// What is kept.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RetainedInstanceStatus {
    /// Generation of the spec this speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What of it is there, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Size of its volumes; absent: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
    /// What its backups and its archive of changes take in the object store, as measured last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backups: Option<String>,
    /// When its last backup was finished, where that is all that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_backup: Option<String>,
    /// Since when it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_since: Option<String>,
    /// When it is removed by itself; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// What it costs at most; absent: the ledger did not say yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// How to have it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<String>,
    /// How to remove it for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discard: Option<String>,
    /// So many days before its end it was warned about last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warned_days: Option<i32>,
    /// The conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

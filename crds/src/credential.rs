//! Further logins, as a ministry asks for them.

use crate::backup::BackedUp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A further login on an instance.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "siyada.cloud",
    version = "v1alpha1",
    kind = "ServiceCredential",
    shortname = "scred",
    category = "siyada",
    namespaced,
    status = "ServiceCredentialStatus",
    doc = "A further login on an instance, with a Secret of its own.",
    validation = ("self.metadata.name.size() <= 30", "the name of a credential has at most 30 characters, so that its Secret's name stays short"),
    validation = ("has(self.spec.rotationTrigger) || !has(oldSelf.spec.rotationTrigger)", "rotationTrigger cannot be taken away: the login before would be accepted again; write another text"),
    printcolumn(name = "Instance", type_ = "string", json_path = ".spec.instance.name"),
    printcolumn(name = "Role", type_ = "string", json_path = ".spec.role"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.binding.name"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ServiceCredentialSpec {
    /// The order that it logs in to.
    #[x_kube(validation = ("self == oldSelf", "the instance of a credential cannot be changed: make another one"))]
    pub instance: BackedUp,
    /// What it may do.
    #[x_kube(validation = ("self == oldSelf", "the role of a credential cannot be changed: make another one"))]
    pub role: CredentialRole,
    /// Any new text here replaces the password at once: the one before is refused from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub rotation_trigger: Option<String>,
}

/// What a further login may do.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialRole {
    /// Reads everything and writes nothing.
    ReadOnly,
    /// What the order's own login may.
    ReadWrite,
}

/// What became of a credential.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceCredentialStatus {
    /// Generation of the spec this speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The Secret to connect with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<crate::order::Binding>,
    /// The conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

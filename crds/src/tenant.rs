//! `Tenant`: an administration, in a tree.

use crate::shared::{Amount, DataClassification, DisplayName, SimpleStatus};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An administration: a ministry, an agency, a local authority or a project.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[kube(
    group = "siyada.cloud",
    version = "v1alpha1",
    kind = "Tenant",
    shortname = "tn",
    category = "siyada",
    status = "SimpleStatus",
    doc = "An administration: a ministry, an agency, a local authority or a project. Tenants form a tree.",
    validation = ("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$')", "a tenant's name has at most 40 characters of a-z, 0-9 and '-'"),
    validation = ("!has(self.spec.parent) || self.spec.parent != self.metadata.name", "a tenant cannot be its own parent"),
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.kind"),
    printcolumn(name = "Parent", type_ = "string", json_path = ".spec.parent"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct TenantSpec {
    /// The tenant above; none for a root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Its names, for people.
    #[serde(default)]
    pub display_name: DisplayName,
    /// What it is.
    pub kind: TenantKind,
    /// Namespaces whose orders are this tenant's. A namespace belongs to one tenant at most; the platform creates it
    /// when it is absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = ("self.all(n, !n.startsWith('kube-') && !n.startsWith('siyada-') && n != 'default' && n != 'cnpg-system')", "kube-*, siyada-*, default and cnpg-system are the platform's own namespaces and belong to no tenant")
    )]
    pub namespaces: Vec<Namespace>,
    /// Who may do what here and below.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub access: Vec<AccessEntry>,
    /// What it and everything below it may hold; what is absent is not limited here.
    #[serde(default)]
    pub quota: QuotaSpec,
    /// True: no new orders and no growth, here and below. What runs, runs on.
    #[serde(default)]
    pub suspend: bool,
    /// Where its costs are booked.
    #[serde(default)]
    pub billing: BillingSpec,
    /// The most sensitive data it may hold.
    pub data_classification: DataClassification,
}

/// What a tenant is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenantKind {
    /// The State itself, as the root of the tree.
    State,
    /// A ministry.
    Ministry,
    /// An agency or establishment.
    Agency,
    /// A region, province or municipality.
    LocalAuthority,
    /// A project of one of these.
    Project,
}

/// Name of a namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Namespace(
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"), length(max = 63))] pub String,
);

/// Who has a role.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct AccessEntry {
    /// The role.
    pub role: RoleName,
    /// Groups that have it, for example `system:serviceaccounts:interior-apps`.
    #[schemars(length(min = 1, max = 32))]
    pub groups: Vec<String>,
}

/// A role in a tenant.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum RoleName {
    /// Orders services.
    Requester,
    /// Manages the sub-tenants.
    Admin,
    /// Approves orders of others.
    Approver,
    /// Reads usage and statements.
    Finance,
    /// Certifies the service done.
    Certifier,
    /// Reads everything, changes nothing.
    Auditor,
}

/// Limits of a tenant.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct QuotaSpec {
    /// Count of instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub instances: Option<i32>,
    /// CPU, like `4` or `500m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Memory, like `16Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Volumes, like `200Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
    /// Committed money a month, at the price of the longest month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly_cost: Option<Amount>,
}

/// Where costs are booked.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BillingSpec {
    /// The account that is billed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Cost centre of orders that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_centre: Option<String>,
    /// Budget line of orders that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_line: Option<String>,
}

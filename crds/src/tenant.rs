//! `Tenant`: an administration, in a tree.

use crate::shared::{Amount, DataClassification, DisplayName};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An administration: a ministry, an agency, a local authority or a project.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[kube(
    group = "siyada.cloud",
    version = "v1alpha1",
    kind = "Tenant",
    shortname = "tn",
    category = "siyada",
    status = "TenantStatus",
    doc = "An administration: a ministry, an agency, a local authority or a project. Tenants form a tree.",
    validation = ("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$')", "a tenant's name has at most 40 characters of a-z, 0-9 and '-'"),
    validation = ("!has(self.spec.parent) || self.spec.parent != self.metadata.name", "a tenant cannot be its own parent"),
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.kind"),
    printcolumn(name = "Parent", type_ = "string", json_path = ".spec.parent"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Instances", type_ = "string", json_path = ".status.quota.instances.summary"),
    printcolumn(name = "CPU", type_ = "string", json_path = ".status.quota.cpu.summary"),
    printcolumn(name = "Memory", type_ = "string", json_path = ".status.quota.memory.summary"),
    printcolumn(name = "Storage", type_ = "string", json_path = ".status.quota.storage.summary"),
    printcolumn(name = "Cost/Month", type_ = "string", json_path = ".status.quota.monthlyCost.summary"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Used instances", type_ = "string", json_path = ".status.quota.instances.used", priority = 1),
    printcolumn(name = "Used CPU", type_ = "string", json_path = ".status.quota.cpu.used", priority = 1),
    printcolumn(name = "Used memory", type_ = "string", json_path = ".status.quota.memory.used", priority = 1),
    printcolumn(name = "Used storage", type_ = "string", json_path = ".status.quota.storage.used", priority = 1),
    printcolumn(name = "Used money", type_ = "string", json_path = ".status.quota.monthlyCost.used", priority = 1),
    printcolumn(name = "Free instances", type_ = "string", json_path = ".status.quota.instances.free", priority = 1),
    printcolumn(name = "Free CPU", type_ = "string", json_path = ".status.quota.cpu.free", priority = 1),
    printcolumn(name = "Free memory", type_ = "string", json_path = ".status.quota.memory.free", priority = 1),
    printcolumn(name = "Free storage", type_ = "string", json_path = ".status.quota.storage.free", priority = 1),
    printcolumn(name = "Free money", type_ = "string", json_path = ".status.quota.monthlyCost.free", priority = 1),
    printcolumn(name = "Reservations", type_ = "integer", json_path = ".status.reservations", priority = 1),
    printcolumn(name = "Waiting", type_ = "string", json_path = ".status.waiting", priority = 1),
    printcolumn(name = "Within", type_ = "string", json_path = ".status.conditions[?(@.type==\"WithinQuota\")].status", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1)
)]
#[x_kube(validation = ("!has(self.access) || self.access.all(a, a.groups.all(g, !g.startsWith('system:') || (g.startsWith('system:serviceaccounts:') && ((has(self.namespaces) && g.substring(23) in self.namespaces) || (has(self.existingNamespaces) && self.existingNamespaces.exists(n, n.name == g.substring(23)))))))", "of the groups system:* only the service accounts of the tenant's own namespaces may have a role: system:serviceaccounts:NAMESPACE, with NAMESPACE in spec.namespaces or spec.existingNamespaces"))]
#[x_kube(validation = ("!has(self.existingNamespaces) || !has(self.namespaces) || self.existingNamespaces.all(n, !(n.name in self.namespaces))", "a namespace is either made (spec.namespaces) or bound (spec.existingNamespaces), not both"))]
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
    /// Namespaces whose orders are this tenant's. The operator creates them; one that exists already and is not this
    /// tenant's is never taken over. A namespace belongs to one tenant at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = ("self.all(n, !n.startsWith('kube-') && !n.startsWith('siyada-') && n != 'default' && n != 'cnpg-system')", "kube-*, siyada-*, default and cnpg-system are the platform's own namespaces and belong to no tenant")
    )]
    pub namespaces: Vec<Namespace>,
    /// Namespaces that exist already and become this tenant's, by name and uid; the platform only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = ("self.all(n, !n.name.startsWith('kube-') && !n.name.startsWith('siyada-') && n.name != 'default' && n.name != 'cnpg-system')", "kube-*, siyada-*, default and cnpg-system are the platform's own namespaces and belong to no tenant")
    )]
    pub existing_namespaces: Vec<ExistingNamespace>,
    /// What the operator sets up for this tenant's own workloads in each of its namespaces.
    #[serde(default, skip_serializing_if = "WorkloadsSpec::is_empty")]
    pub workloads: WorkloadsSpec,
    /// Who may do what here and below.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub access: Vec<AccessEntry>,
    /// What it and everything below it may hold; what is absent is not limited here.
    #[serde(default)]
    pub quota: QuotaSpec,
    /// An order that would fill a limit to this many percent or more is answered with a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub soft_limit_percent: Option<i32>,
    /// An order here or below that would cost more a month waits until an approver who did not order it approves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_above: Option<Amount>,
    /// When to tell somebody that a limit is nearly reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerts: Option<AlertsSpec>,
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

/// A namespace that exists already.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct ExistingNamespace {
    /// Its name.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"), length(max = 63))]
    pub name: String,
    /// Its uid, as `kubectl get namespace NAME -o jsonpath='{.metadata.uid}'` prints it: one made again by the same name
    /// is not meant.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
}

/// What is set up for a tenant's own workloads in each of its namespaces; nothing unless asked for.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadsSpec {
    /// True: pods there accept connections from namespaces of this tenant only (NetworkPolicies; your network must
    /// enforce them).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub network_policies: bool,
    /// `hard` of a `ResourceQuota`, like `{requests.cpu: "8", pods: "50"}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = ("self.size() <= 32", "a ResourceQuota has at most 32 entries here"))]
    pub resource_quota: BTreeMap<String, String>,
    /// Defaults and limits of containers that name none (a `LimitRange`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_range: Option<ContainerLimits>,
}

impl WorkloadsSpec {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The entry of type `Container` of a `LimitRange`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ContainerLimits {
    /// Limits of a container that names none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub default: BTreeMap<String, String>,
    /// Requests of a container that names none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub default_request: BTreeMap<String, String>,
    /// The most that a container may ask for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub max: BTreeMap<String, String>,
}

/// When to tell somebody that a limit is nearly reached.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AlertsSpec {
    /// Thresholds in percent of each limit; 70, 85, 95 and 100 when absent, none when empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10))]
    #[x_kube(validation = ("self.all(p, p >= 1 && p <= 200)", "a threshold is 1 to 200 percent of the limit"))]
    pub percent: Option<Vec<i32>>,
    /// Names of webhooks, as the platform's configuration of the api has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub targets: Vec<WebhookName>,
}

/// Name of a webhook in the api's configuration.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct WebhookName(#[schemars(length(min = 1, max = 63))] pub String);

/// Who has a role.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct AccessEntry {
    /// The role.
    pub role: RoleName,
    /// Groups that have it, for example `system:serviceaccounts:interior-apps`.
    #[schemars(length(min = 1, max = 32))]
    pub groups: Vec<GroupName>,
}

/// Name of a group.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupName(#[schemars(length(min = 1, max = 200))] pub String);

/// A role in a tenant.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// What the platform says about a tenant.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// Generation of the spec this speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The namespaces that are bound to it, by name and uid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub namespaces: Vec<ExistingNamespace>,
    /// Count of the tenants directly below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child_count: Option<i32>,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<String>,
    /// What it and everything below it holds, beside its limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaStatus>,
    /// Count of reservations here and below, retained data included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservations: Option<i64>,
    /// What waits for an approval, like `2 (3 600.00 MAD)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// The largest commitments here and below.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub largest: Vec<LargeCommitment>,
    /// Number of the last alert that was told as an Event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_alert: Option<i64>,
}

/// Every dimension of a quota.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct QuotaStatus {
    /// Count of instances.
    pub instances: DimensionStatus,
    /// CPU.
    pub cpu: DimensionStatus,
    /// Memory.
    pub memory: DimensionStatus,
    /// Volumes.
    pub storage: DimensionStatus,
    /// Committed money a month.
    pub monthly_cost: DimensionStatus,
}

/// One dimension of a quota, as people read it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DimensionStatus {
    /// Held and limit, like `3/10`; only what is held without a limit.
    pub summary: String,
    /// What is held: reserved, whether it runs or not.
    pub held: String,
    /// What of it is billed now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<String>,
    /// The limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// What is free below this limit; a tenant above may have less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<String>,
    /// By how much more is held than the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<String>,
}

/// A commitment that counts.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LargeCommitment {
    /// The order, as `Kind namespace/name`.
    pub order: String,
    /// Its tenant.
    pub tenant: String,
    /// What it costs at most a month.
    pub monthly_cost: String,
    /// Its storage.
    pub storage: String,
}

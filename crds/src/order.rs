//! The orders: what a ministry asks for, and what it is told.

use crate::shared::{Amount, DataClassification, WindowSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest name of an order, so that every child's name fits the engine's 50 characters.
pub const LONGEST_NAME: usize = 30;

/// What every order says.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OrderSpec {
    /// Entry of the catalogue; by default the default one of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub offering: Option<String>,
    /// Size, as named by the offering.
    #[schemars(length(min = 1, max = 63))]
    pub plan: String,
    /// Version of the engine, as named by the offering. It may become a newer one; another major version only where the offering
    /// says so (`upgradeFrom`), after a backup that is made first.
    #[schemars(length(min = 1, max = 20))]
    pub version: String,
    /// Size of the volume, like `10Gi`; by default the plan's. It may grow, never shrink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = ("isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))", "storage must be a size greater than zero, like 10Gi"))]
    #[x_kube(validation = ("!isQuantity(self) || !isQuantity(oldSelf) || quantity(self).compareTo(quantity(oldSelf)) >= 0", "storage can grow but never shrink: order a smaller instance and move the data"))]
    pub storage: Option<String>,
    /// True: standbys that take over, if the plan offers them.
    #[serde(default)]
    pub high_availability: bool,
    /// How sensitive the data is. It decides where it may run.
    #[x_kube(validation = ("self == oldSelf", "the data classification cannot be changed: order a new instance and move the data"))]
    pub data_classification: DataClassification,
    /// Where to run; by default the platform's default site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = ("self == oldSelf", "the site cannot be changed: order a new instance there and move the data"))]
    pub site: Option<String>,
    /// Who may connect, beside this namespace.
    #[serde(default)]
    pub network: NetworkSpec,
    /// True: stops the compute and keeps the data. Storage is held and billed on; instance, CPU and memory are given back to the
    /// quota, and resuming asks for them again and may be refused.
    #[serde(default)]
    pub suspend: bool,
    /// True: the API server refuses to delete the order.
    #[serde(default = "yes")]
    pub deletion_protection: bool,
    /// What becomes of the data when the order is deleted.
    #[serde(default)]
    pub on_deletion: OnDeletion,
    /// Backups, where the order wants others than its plan has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupSpec>,
    /// When the platform may interrupt it for what the order did not ask for; what is left out here is the offering's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<MaintenanceSpec>,
    /// Where the first data comes from; absent: the instance begins empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self == oldSelf", "what an order was restored from cannot be changed: order another one"))]
    pub restore_from: Option<RestoreFrom>,
    /// Where the cost is booked; by default where the tenant books.
    #[serde(default)]
    pub cost_allocation: CostAllocation,
    /// The order is refused when its price a month is above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_monthly_cost: Option<Amount>,
    /// Any new text here replaces the login; the one before is accepted until the offering's grace period ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub rotation_trigger: Option<String>,
    /// The login is replaced when it is so many days old; the offering may do so sooner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3650))]
    pub credential_rotation_days: Option<i32>,
    /// Engine parameters, of those that the offering allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub parameters: Vec<Parameter>,
}

fn yes() -> bool {
    true
}

/// Who may connect.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NetworkSpec {
    /// Namespaces whose pods may connect, beside the order's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed_namespaces: Vec<String>,
}

/// Backups as the order wants them.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BackupSpec {
    /// When, in UTC: minute, hour, day of the month, month, day of the week, like `30 1 * * *`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 9, max = 80))]
    pub schedule: Option<String>,
    /// Days for which backups are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3650))]
    pub retention_days: Option<i32>,
    /// True: every moment since the oldest backup can be restored. Only where the plan has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point_in_time_recovery: Option<bool>,
    /// Whether a last backup is made and kept when the order is deleted with its data (`onDeletion: Delete`); absent: it is. It
    /// can be declined while the order is being deleted too: then nothing is kept, and its backups go with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_backup: Option<bool>,
}

/// The maintenance window of an order: two hours of each week.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceSpec {
    /// When it is, as far as the order wants it otherwise than the offering.
    #[serde(flatten)]
    pub window: WindowSpec,
    /// When a change is made that the order itself asks for and that interrupts it (plan, version, parameters).
    #[serde(default)]
    pub apply: Apply,
}

/// When a change is made that an order asks for.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Apply {
    /// At once.
    #[default]
    Immediately,
    /// In the maintenance window. What interrupts nothing is made at once even so.
    Window,
}

/// Where the first data of an instance comes from: one of the three.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("[has(self.backup), has(self.instance), has(self.retainedInstance)].filter(x, x).size() == 1", "restoreFrom names one of: backup, instance, retainedInstance"))]
#[x_kube(validation = ("!has(self.time) || !has(self.backup)", "a backup has its own moment: name the instance to choose a time"))]
pub struct RestoreFrom {
    /// A `ServiceBackup` of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub backup: Option<String>,
    /// Another order of this namespace and kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 30))]
    pub instance: Option<String>,
    /// A `RetainedInstance` of this namespace, or the uid of a deleted order of this tenant whose data is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub retained_instance: Option<String>,
    /// The moment, RFC 3339 with its offset, like `2026-07-01T08:30:00+01:00`; absent: the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    #[x_kube(validation = ("self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})$')", "time must be a date and time with its offset, like 2026-07-01T08:30:00+01:00"))]
    pub time: Option<String>,
}

/// What becomes of the data when the order is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDeletion {
    /// Compute stops, the data is kept and its storage is billed on.
    #[default]
    Retain,
    /// The data is removed, except a last backup where the instance is backed up and `backup.lastBackup` does not decline it.
    Delete,
}

/// Where the cost is booked.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CostAllocation {
    /// Cost centre.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub cost_centre: Option<String>,
    /// Budget line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub budget_line: Option<String>,
    /// The administration's own reference, such as a commitment number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub reference: Option<String>,
}

/// An engine parameter.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in the engine.
    pub name: String,
    /// Its value, as text.
    #[schemars(length(max = 200))]
    pub value: String,
}

/// What an order is told. Never a secret, and nothing that changes by itself.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OrderStatus {
    /// Generation of the spec this speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word, for people only; programs read the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// The conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// How its login was replaced last, in the words of earlier versions; `operation` says the same and more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_operation: Option<LastOperation>,
    /// What is being done to it, or was done last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// What would interrupt it and waits for its maintenance window; absent: nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_maintenance: Option<PendingMaintenance>,
    /// The Secret that a client connects with, beside the order (servicebinding.io).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
    /// Where a client connects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    /// Version that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The major version that it had before, once that was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgraded_from: Option<UpgradedFrom>,
    /// Plan that is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Site it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Size of each volume. It only ever grows, whatever the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
    /// Count of its instances: one, and its standbys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<i64>,
    /// Engine parameters that are set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub parameters: Vec<Parameter>,
    /// What it costs at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// What could be restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupStatus>,
    /// The engine object that serves it, for the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_ref: Option<EngineRef>,
}

/// What is being done to an instance, or was done last.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// What kind of work, named by the part of it that disturbs most.
    #[serde(rename = "type")]
    pub type_: Work,
    /// How far.
    pub state: OperationPhase,
    /// What is asked, like `plan dev to small; storage 1Gi to 5Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// How far, in a sentence.
    pub message: String,
    /// When it was first seen, RFC 3339.
    pub started: String,
    /// When it was over, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    /// What hinders it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether it goes on by itself; false: somebody must do what the error says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<bool>,
}

/// The version that an instance had before its major version was changed, and the way back to its data.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct UpgradedFrom {
    /// The version.
    pub version: String,
    /// The `ServiceBackup` that was made of it before; a new order of that version can begin with it.
    pub backup: String,
    /// When that version ended, RFC 3339: no later moment of it can be restored.
    pub until: String,
}

/// What would interrupt an instance and waits.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PendingMaintenance {
    /// What, like `another image; parameters max_connections`.
    pub what: String,
    /// What is waited for and what comes then, in a sentence.
    pub message: String,
    /// Since when, RFC 3339: when the first of it was seen.
    pub since: String,
    /// When it begins, RFC 3339: each instance has its own moment in the window, so that not all begin at once.
    pub from: String,
    /// Until when it may begin, RFC 3339; absent: it waits for no window any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// What may be done to an instance. Later versions may do more, which this one reads as `Other`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// It is made.
    Create,
    /// It is made from data that was there.
    Restore,
    /// Other CPU and memory.
    ChangePlan,
    /// Larger volumes.
    ChangeStorage,
    /// Another version of the engine.
    ChangeVersion,
    /// Another major version: a backup first, then the data is rewritten.
    UpgradeMajorVersion,
    /// More or fewer instances.
    ChangeInstances,
    /// Other settings of the engine.
    ChangeParameters,
    /// Compute stops.
    Suspend,
    /// Compute runs again.
    Resume,
    /// The login is replaced.
    RotateCredentials,
    /// What a later version calls otherwise.
    #[serde(other)]
    Other,
}

/// How far an operation is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationPhase {
    /// Asked for, and not begun.
    Pending,
    /// Under way.
    InProgress,
    /// Done.
    Succeeded,
    /// It cannot be as it is asked.
    Failed,
    /// Taken back before it began.
    Cancelled,
    /// What a later version calls otherwise.
    #[serde(other)]
    Other,
}

/// How the login was replaced last. Its words cannot become more: the platform before this one reads no others.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LastOperation {
    /// What.
    #[serde(rename = "type")]
    pub type_: OperationType,
    /// How far.
    pub state: OperationState,
    /// How far, in a sentence.
    pub progress: String,
    /// When it began, RFC 3339.
    pub started: String,
    /// What hinders it; it is tried again by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What may be done to an instance.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationType {
    /// The login is replaced.
    RotateCredentials,
}

/// How far an operation is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationState {
    /// Under way.
    InProgress,
    /// Done.
    Succeeded,
}

/// The Secret that a client connects with.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Its name, in the order's namespace.
    pub name: String,
}

/// Where a client connects.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `rw`.
    pub role: String,
    /// Name to connect to; the certificate carries it.
    pub host: String,
    /// TCP port.
    pub port: i32,
}

/// What an order costs at most.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// ISO 4217 code.
    pub currency: String,
    /// Price of the longest month, 745 hours.
    pub maximum_monthly: String,
    /// The list it was priced with.
    pub price_list: String,
}

/// What could be restored of an order.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BackupStatus {
    /// When the newest whole backup was finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// The first moment that could be restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_recoverable: Option<String>,
    /// The last moment that could be restored, as it was when this was written: at most once an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_recoverable: Option<String>,
    /// The last restore drill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<DrillStatus>,
}

/// A backup that was restored, or not, to prove that it can be.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DrillStatus {
    /// When it began.
    pub last: String,
    /// The `ServiceBackup` that it was about.
    pub backup: String,
    /// From its begin until its result was known.
    pub duration_seconds: i64,
    /// What came of it.
    pub result: DrillResult,
    /// What was found, in a sentence.
    pub message: String,
}

/// What came of a drill.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrillResult {
    /// The database came back and answered.
    Proven,
    /// It did not.
    Failed,
}

/// The engine object that serves an order.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct EngineRef {
    /// Its namespace, which the platform owns.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

macro_rules! order_kind {
    ($spec:ident, $kind:literal, $short:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
        #[kube(
            group = "siyada.cloud",
            version = "v1alpha1",
            kind = $kind,
            shortname = $short,
            category = "siyada",
            namespaced,
            status = "OrderStatus",
            doc = $doc,
            validation = ("self.metadata.name.size() <= 30", "the name of an order has at most 30 characters, so that the names of its parts fit the engine's limit"),
            validation = ("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')", "the name of an order begins with a letter and has only a-z, 0-9 and '-'"),
            validation = ("has(self.spec.storage) || !has(oldSelf.spec.storage)", "storage cannot be removed once it was set: it may grow, never shrink"),
            validation = ("has(self.spec.site) == has(oldSelf.spec.site)", "the site cannot be changed: order a new instance there and move the data"),
            validation = ("has(self.spec.offering) == has(oldSelf.spec.offering) && (!has(self.spec.offering) || self.spec.offering == oldSelf.spec.offering)", "the offering cannot be changed: order a new instance and move the data"),
            validation = ("has(self.spec.restoreFrom) == has(oldSelf.spec.restoreFrom)", "what an order was restored from cannot be changed: order another one"),
            printcolumn(name = "Plan", type_ = "string", json_path = ".spec.plan"),
            printcolumn(name = "Version", type_ = "string", json_path = ".spec.version"),
            printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
            printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
            printcolumn(name = "Cost/month", type_ = "string", json_path = ".status.cost.maximumMonthly"),
            printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
            printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoints[0].host", priority = 1),
            printcolumn(name = "Site", type_ = "string", json_path = ".status.site", priority = 1),
            printcolumn(name = "Class", type_ = "string", json_path = ".spec.dataClassification", priority = 1),
            printcolumn(name = "Last backup", type_ = "string", json_path = ".status.backup.last", priority = 1),
            printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1)
        )]
        pub struct $spec {
            /// The order.
            #[serde(flatten)]
            pub order: OrderSpec,
        }
    };
}

order_kind!(PostgresInstanceSpec, "PostgresInstance", "pgi", "An order for a managed PostgreSQL database.");
order_kind!(
    DocumentStoreInstanceSpec,
    "DocumentStoreInstance",
    "dsi",
    "An order for a managed document store that MongoDB clients connect to."
);

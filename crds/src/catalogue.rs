//! What can be ordered, where it runs and what it costs.
#![expect(
    clippy::duplicated_attributes,
    reason = "each printer column says type_ = \"string\", which the lint takes for a repetition"
)]

use crate::shared::{DataClassification, DisplayName, SimpleStatus, WindowSpec};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A place where workloads may run.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[kube(
    group = "siyada.cloud",
    version = "v1alpha1",
    kind = "Site",
    category = "siyada",
    doc = "A place where workloads may run: under whose law, by whom, for which data.",
    printcolumn(name = "Country", type_ = "string", json_path = ".spec.country"),
    printcolumn(name = "Body", type_ = "string", json_path = ".spec.operatingBody"),
    printcolumn(name = "Class", type_ = "string", json_path = ".spec.dataClassification"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct SiteSpec {
    /// Country whose law holds there, ISO 3166-1 alpha-2.
    #[schemars(regex(pattern = "^[A-Z]{2}$"))]
    pub country: String,
    /// Who runs it.
    pub operating_body: String,
    /// Its security qualification, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qualification: Option<String>,
    /// The most sensitive data it may hold.
    pub data_classification: DataClassification,
    /// True: orders that name no site run here.
    #[serde(default)]
    pub default: bool,
    /// Labels of its nodes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Storage class of volumes; it must enforce their size and be able to grow them.
    pub storage_class: String,
    /// Where backups go; absent: instances of this site have none, and say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_storage: Option<ObjectStorage>,
}

/// An S3 store with the IAM API, in which every instance gets a bucket and a user of its own.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStorage {
    /// Address of the S3 API, like `https://s3.example.gov.ma`; buckets are part of the path.
    #[schemars(regex(pattern = r"^https://[a-zA-Z0-9.\[\]:-]{1,250}$"))]
    pub endpoint: String,
    /// Address of the IAM API, where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^https://[a-zA-Z0-9.\[\]:-]{1,250}$"))]
    pub iam_endpoint: Option<String>,
    /// How the name of every bucket begins; the uid of the order follows.
    #[schemars(regex(pattern = "^[a-z0-9]([-a-z0-9]{0,23}[a-z0-9])?$"))]
    pub bucket_prefix: String,
    /// Region that requests are signed for.
    #[serde(default = "default_region")]
    #[schemars(regex(pattern = "^[a-z0-9-]{1,40}$"))]
    pub region: String,
    /// Authority of the store's certificate, PEM; absent: those of the images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20000))]
    pub ca: Option<String>,
    /// Secret in the operator's namespace with `accessKeyId` and `secretAccessKey` of a login that may make and remove buckets and
    /// users whose names begin as here; the platform guide has its rights.
    #[schemars(length(min = 1, max = 63))]
    pub credentials_secret: String,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

/// What engine family an offering is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Engine {
    /// PostgreSQL, ordered by `PostgresInstance`.
    PostgreSQL,
    /// The MongoDB wire protocol over PostgreSQL, ordered by `DocumentStoreInstance`.
    Documents,
}

/// An entry of the catalogue.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[kube(
    group = "siyada.cloud",
    version = "v1alpha1",
    kind = "ServiceOffering",
    shortname = "so",
    category = "siyada",
    doc = "An entry of the catalogue: an engine with its images, versions, plans and the parameters that may be set.",
    printcolumn(name = "Engine", type_ = "string", json_path = ".spec.engine"),
    printcolumn(name = "Default", type_ = "boolean", json_path = ".spec.default"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ServiceOfferingSpec {
    /// The engine.
    pub engine: Engine,
    /// True: orders of this engine that name no offering mean this one.
    #[serde(default)]
    pub default: bool,
    /// Its names, for people.
    #[serde(default)]
    pub display_name: DisplayName,
    /// The versions, newest first.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["version".into()]))]
    pub versions: Vec<EngineVersion>,
    /// The plans, smallest first.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub plans: Vec<Plan>,
    /// Engine parameters that an order may set; nothing else is passed on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub parameters: Vec<AllowedParameter>,
    /// How logins are renewed.
    #[serde(default)]
    pub credentials: CredentialPolicy,
    /// When instances may be interrupted for what their orders did not ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<OfferingMaintenance>,
    /// What a deleted order left is removed after so many days, of which the last fourteen are warned about; absent: it is kept
    /// until somebody discards it. What is kept already keeps the days that it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 15, max = 36500))]
    pub retained_days: Option<i32>,
    /// The last backup of an order that was deleted with its data is removed after so many days, of which the last fourteen are
    /// warned about; absent: 30. What is kept already keeps the days that it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 15, max = 36500))]
    pub last_backup_days: Option<i32>,
}

/// When instances of an offering may be interrupted.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct OfferingMaintenance {
    /// The window of orders that name none; what is left out is Sunday, 02:00, Africa/Casablanca.
    #[serde(flatten)]
    pub window: WindowSpec,
    /// For an urgent fix: from this moment on, RFC 3339 with its offset like `2026-07-01T18:00:00+01:00`, what changed in the
    /// offering waits for no window any more; instances are interrupted within 90 minutes of it. One that was over for more
    /// than a day when a change is first seen is of an earlier fix and says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})$')", "urgentBy must be a date and time with its offset, like 2026-07-01T18:00:00+01:00"))]
    #[schemars(length(max = 40))]
    pub urgent_by: Option<String>,
}

/// How logins are renewed. Two take turns, so that no client is cut off.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CredentialPolicy {
    /// A login is replaced when it is so many days old; absent: only when an order asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3650))]
    pub rotation_days: Option<i32>,
    /// How long the login before is accepted after the binding holds the new one.
    #[serde(default = "one_day")]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub grace_period_seconds: i32,
}

impl Default for CredentialPolicy {
    fn default() -> Self {
        Self { rotation_days: None, grace_period_seconds: one_day() }
    }
}

fn one_day() -> i32 {
    86_400
}

/// A version of an engine.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.image.matches('^[^@ ]+:[^:@/ ]+(@sha256:[0-9a-f]{64})?$')", "image must be name:tag@sha256:digest (the digest may be left out on a laptop only)"))]
pub struct EngineVersion {
    /// What an order names, for example `15`.
    #[schemars(length(min = 1, max = 20))]
    pub version: String,
    /// Image of the database, as `name:tag@sha256:digest`.
    #[schemars(length(max = 300))]
    pub image: String,
    /// Image of the document gateway, for documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_image: Option<String>,
    /// May it be ordered?
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// Versions of this offering, of an earlier major version, that can become this one in place; absent: none. The image must be
    /// able to run the programs of theirs: it has the libraries that those need.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub upgrade_from: Vec<String>,
}

/// Where a version is in its life.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifecycle {
    /// May be ordered.
    #[default]
    Available,
    /// May be ordered, with a warning.
    Deprecated,
    /// Existing instances run on; new orders are refused.
    EndOfLife,
}

/// A size of an offering, with its price keys.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// What an order names.
    #[schemars(regex(pattern = "^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$"))]
    pub name: String,
    /// CPU of each instance, like `500m`.
    pub cpu: String,
    /// Memory of each instance, like `1Gi`.
    pub memory: String,
    /// Storage of an order that names none, and the least it may name.
    pub storage: String,
    /// The most storage an order may name.
    pub maximum_storage: String,
    /// Instances when the order wants high availability; absent: the plan does not offer it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 5))]
    pub high_availability_instances: Option<i32>,
    /// Price key of one instance for one hour.
    #[schemars(regex(pattern = "^[a-z0-9]([-a-z0-9]{0,58}[a-z0-9])?$"))]
    pub compute_sku: String,
    /// Price key of one standby for one hour; absent: standbys cost what the primary does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[a-z0-9]([-a-z0-9]{0,58}[a-z0-9])?$"))]
    pub standby_sku: Option<String>,
    /// Price key of one GiB of volume for one hour.
    #[schemars(regex(pattern = "^[a-z0-9]([-a-z0-9]{0,58}[a-z0-9])?$"))]
    pub storage_sku: String,
    /// Price key of one GiB of backups for one hour; absent: backups are not billed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[a-z0-9]([-a-z0-9]{0,58}[a-z0-9])?$"))]
    pub backup_sku: Option<String>,
    /// Backups of orders that ask for nothing else; absent: the plan offers none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<PlanBackup>,
}

/// How a plan is backed up, unless the order says otherwise.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlanBackup {
    /// When, in UTC: minute, hour, day of the month, month, day of the week, like `30 1 * * *`.
    #[schemars(length(min = 9, max = 80))]
    pub schedule: String,
    /// Days for which backups are kept.
    #[schemars(range(min = 1, max = 3650))]
    pub retention_days: i32,
    /// True: every moment since the oldest backup can be restored.
    #[serde(default)]
    pub point_in_time_recovery: bool,
    /// What may be lost at most, in minutes, while there is point-in-time recovery.
    #[serde(default = "default_recovery_point")]
    #[schemars(range(min = 1, max = 60))]
    pub recovery_point_minutes: i32,
    /// When the newest backup is restored to prove that it can be; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<PlanDrill>,
}

/// How the backups of a plan are proven: the newest is restored into a throw-away database, read and removed.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlanDrill {
    /// When, in UTC: minute, hour, day of the month, month, day of the week, like `30 3 * * 0`.
    #[schemars(length(min = 9, max = 80))]
    pub schedule: String,
    /// A query that must answer with at least one row, whose first column is neither null nor false; absent: the rows of every
    /// table of the database are counted. It can write nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2000))]
    pub check_query: Option<String>,
}

fn default_recovery_point() -> i32 {
    5
}

/// An engine parameter that may be set, and to what.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AllowedParameter {
    /// Its name in the engine.
    #[schemars(regex(pattern = "^[a-z][a-z0-9_.]{0,62}$"))]
    pub name: String,
    /// The values that may be set; empty: any whole number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub values: Vec<String>,
    /// The value in orders that set none, one of `values` where there are some; absent: the engine's own. Another one here reaches
    /// them in their maintenance window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub default: Option<String>,
}

/// Unit prices in force from a date.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[kube(
    group = "siyada.cloud",
    version = "v1alpha1",
    kind = "PriceList",
    shortname = "pl",
    category = "siyada",
    status = "SimpleStatus",
    doc = "Unit prices in force from a date until the next list's. Its spec never changes: publish the next one instead.",
    printcolumn(name = "Currency", type_ = "string", json_path = ".spec.currency"),
    printcolumn(name = "Valid from", type_ = "string", json_path = ".spec.validFrom"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[x_kube(validation = ("self == oldSelf", "a price list never changes: publish a new one with a later validFrom"))]
#[serde(rename_all = "camelCase")]
pub struct PriceListSpec {
    /// Currency of every price.
    #[x_kube(validation = ("self in ['MAD','EUR','USD','TND','XOF']", "currency must be one of MAD, EUR, USD, TND, XOF"))]
    pub currency: String,
    /// In force from this instant, RFC 3339 with its offset, like `2026-07-01T00:00:00+01:00`.
    #[x_kube(validation = ("self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})$')", "validFrom must be a date and time with its offset, like 2026-07-01T00:00:00+01:00"))]
    pub valid_from: String,
    /// The text that gives the prices their force.
    #[schemars(length(min = 1, max = 500))]
    pub legal_basis: String,
    /// The prices.
    #[schemars(length(min = 1, max = 1000))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["sku".into()]))]
    pub skus: Vec<SkuPrice>,
}

/// The price of one SKU.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
pub struct SkuPrice {
    /// The price key.
    #[schemars(regex(pattern = "^[a-z0-9]([-a-z0-9]{0,58}[a-z0-9])?$"))]
    pub sku: String,
    /// What one unit is.
    pub unit: PriceUnit,
    /// Price of one unit, a plain decimal number with at most 8 decimals.
    #[schemars(regex(pattern = r"^[0-9]{1,9}(\.[0-9]{1,8})?$"))]
    pub price: String,
}

/// What a unit price is for.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriceUnit {
    /// One instance for one hour.
    Hour,
    /// One GiB for one hour.
    GibHour,
}

//! What the operator and the api say to each other over HTTP.

use crate::allocation::Shares;
use crate::availability::{Availability, OfInstance, State};
use crate::classification::Classification;
use crate::counter::Window;
use crate::id::{OrderUid, PriceListName, TenantName};
use crate::money::{Currency, Money};
use crate::party::{AccountRecord, plain};
use crate::period::{Month, Period};
use crate::price::{Item, PriceList};
use crate::proof::Gap;
use crate::quota::{Commitment, Dimension, DimensionView, Quota, Shortfall, SoftLimit};
use crate::resources::Resources;
use crate::statement::{Billed, StatementKind};
use crate::usage::{Level, Line, Meter};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Largest batch of usage facts in one request.
pub const MOST_FACTS: usize = 5_000;
/// Largest page of any list.
pub const LARGEST_PAGE: usize = 500;

/// What somebody may do in a tenant and below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum Role {
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

impl Role {
    /// The word used in YAML and HTTP.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requester => "requester",
            Self::Admin => "admin",
            Self::Approver => "approver",
            Self::Finance => "finance",
            Self::Certifier => "certifier",
            Self::Auditor => "auditor",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A role for the whole platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum PlatformRole {
    /// The operator of the cluster: pushes what the cluster knows.
    Operator,
    /// National finance: reads everything.
    Finance,
    /// Auditor: reads everything.
    Auditor,
    /// Administrator of the platform: reads everything.
    Admin,
}

impl PlatformRole {
    /// The word used in HTTP.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Finance => "finance",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }
}

/// A role in a tenant and everything below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TenantRole {
    /// The tenant that gives it.
    pub tenant: TenantName,
    /// The role.
    pub role: Role,
}

/// `GET /v1/whoami`: who the api takes you for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct WhoAmI {
    /// The subject of the token.
    pub subject: String,
    /// Its groups.
    pub groups: BTreeSet<String>,
    /// Roles on the platform.
    pub platform_roles: BTreeSet<PlatformRole>,
    /// Roles in tenants, at most 100.
    pub tenant_roles: Vec<TenantRole>,
}

/// Who has a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// The role.
    pub role: Role,
    /// Groups that have it, for example `system:serviceaccounts:interior-apps`.
    pub groups: Vec<String>,
}

/// A name in the languages of the administration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DisplayName {
    /// French.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fr: Option<String>,
    /// Arabic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ar: Option<String>,
    /// English.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub en: Option<String>,
    /// Standard Moroccan Tamazight, in Tifinagh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zgh: Option<String>,
}

/// Where a tenant's costs are booked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Billing {
    /// The account that is billed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Cost centre of orders that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_centre: Option<String>,
    /// Budget line of orders that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_line: Option<String>,
    /// The buyer's own reference, such as a commitment number; orders name it, tenants do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// `PUT /v1/tenants/{tenant}`: a tenant as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TenantRecord {
    /// Kubernetes uid of the `Tenant`.
    pub uid: String,
    /// Generation of its spec; an older one never replaces a newer.
    pub generation: i64,
    /// The tenant above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TenantName>,
    /// Its names.
    #[serde(default)]
    pub display_name: DisplayName,
    /// Its namespaces.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Who may do what.
    #[serde(default)]
    pub access: Vec<Access>,
    /// What it may hold.
    #[serde(default)]
    pub quota: Quota,
    /// No new orders while true.
    #[serde(default)]
    pub suspended: bool,
    /// Where costs are booked.
    #[serde(default)]
    pub billing: Billing,
    /// Highest class of data it may hold.
    pub data_classification: Classification,
    /// A quote that would fill a limit to this many percent or more is answered with a warning; 1 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft_limit_percent: Option<u8>,
    /// An order of this tenant or below it that would cost more a month waits for an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_above: Option<Money>,
    /// When to tell somebody that a limit is nearly reached.
    #[serde(default)]
    pub alerts: AlertRules,
}

/// Thresholds of alerts when a tenant names none, in percent of each limit.
pub const USUAL_ALERTS: [u8; 4] = [70, 85, 95, 100];
/// Most thresholds and most targets of one tenant.
pub const MOST_ALERT_RULES: usize = 10;

fn usual_alerts() -> Vec<u8> {
    USUAL_ALERTS.to_vec()
}

/// When to tell somebody that a limit is nearly reached, and whom besides the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AlertRules {
    /// Thresholds in percent of each limit, 1 to 200, at most 10; none: no alerts.
    #[serde(default = "usual_alerts")]
    pub percent: Vec<u8>,
    /// Names of webhook targets, as the platform's configuration has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
}

impl Default for AlertRules {
    fn default() -> Self {
        Self { percent: usual_alerts(), targets: Vec::new() }
    }
}

/// `PUT /v1/price-lists/{name}`: a price list as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PriceListRecord {
    /// Kubernetes uid of the `PriceList`.
    pub uid: String,
    /// The text that gives the prices their force.
    pub legal_basis: String,
    /// The prices.
    pub prices: PriceList,
}

/// `POST /v1/quotes`: what would this cost, and does it fit?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct QuoteRequest {
    /// Who would pay.
    pub tenant: TenantName,
    /// An existing order that would be changed: only the difference must fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_uid: Option<OrderUid>,
    /// The resources.
    pub resources: Resources,
    /// What is priced.
    pub items: Vec<Item>,
}

/// The answer to a [`QuoteRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Quote {
    /// Price of the longest month.
    pub monthly_maximum: Money,
    /// The list it was priced with.
    pub price_list: PriceListName,
    /// What the tenant has committed a month, this order as it is now included.
    pub committed: Money,
    /// What it would have committed with this.
    pub committed_after: Money,
    /// The tenant's own money limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Money>,
    /// Why it does not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortfall: Option<Shortfall>,
    /// Soft limits of the chain that it would reach or pass: worth a warning each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub soft_limits: Vec<SoftLimit>,
    /// It would wait for an approval; absent when it needs none, or has one that covers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_needed: Option<ApprovalNeeded>,
}

/// Whose approval an order waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ApprovalNeeded {
    /// The tenant, nearest to the root, whose threshold is passed: an approver of it or above it decides.
    pub tenant: TenantName,
    /// Its threshold of monthly cost.
    pub above: Money,
    /// What the order would cost at most a month.
    pub asked: Money,
}

/// `PUT /v1/reservations/{uid}`: hold this part of the quota for an order, or refuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReservationRequest {
    /// Generation of the order; an older one never replaces a newer.
    pub generation: i64,
    /// Whose quota.
    pub tenant: TenantName,
    /// Namespace of the order.
    pub namespace: String,
    /// Name of the order.
    pub name: String,
    /// Kind of the order.
    pub kind: String,
    /// Plan of the order.
    pub plan: String,
    /// Who ordered, as stamped by the API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<String>,
    /// Where its cost is booked.
    #[serde(default)]
    pub billing: Billing,
    /// The resources.
    pub resources: Resources,
    /// What is priced.
    pub items: Vec<Item>,
    /// The order was deleted and its data is kept: only storage remains.
    #[serde(default)]
    pub retained: bool,
}

/// A reservation that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Reservation {
    /// The order.
    pub order_uid: OrderUid,
    /// What was asked and is now held.
    pub request: ReservationRequest,
    /// What it holds, money included.
    pub commitment: Commitment,
    /// The list it was priced with.
    pub price_list: PriceListName,
    /// First held at.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub held_since: Timestamp,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Give it as `pageToken` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// How a meter measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum MeterKind {
    /// How much there is, which holds until it changes and is billed by its time.
    Level,
    /// An absolute value that is read at times and only rises. It is shown, not billed.
    Counter,
}

/// A meter as on record: `GET /v1/meters`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct MeterRecord {
    /// Its name.
    pub name: Meter,
    /// What one of its quantity is: `instance`, `MiB`, `transaction`, ...
    pub base_unit: String,
    /// How it measures.
    pub kind: MeterKind,
    /// How it is called.
    pub display_name: DisplayName,
}

/// `POST /v1/usage`: what a collector saw. Sent again, it changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct UsageBatch {
    /// Which collector: the uid of the cluster.
    pub collector: String,
    /// The epoch of its lease; a lower one than on record is refused.
    pub epoch: i64,
    /// The facts, at most [`MOST_FACTS`].
    pub facts: Vec<UsageFact>,
}

/// Header of every answer: which incarnation of the ledger gave it. Whoever remembers what another one acknowledged tells
/// it again, because a ledger that was restored has lost it.
pub const INCARNATION: &str = "siyada-incarnation";

/// From `at` (or now) the order has this level of this meter; no level means stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct UsageFact {
    /// The order.
    pub order_uid: OrderUid,
    /// Who pays.
    pub tenant: TenantName,
    /// The meter.
    pub meter: Meter,
    /// The level from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// A stamp of the API server; absent: the database's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub at: Option<Timestamp>,
    /// With no `at`: where the very first level of this meter begins, if earlier than now. Says nothing afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub since: Option<Timestamp>,
    /// Since when, by what the order's status says, this was metered before. A ledger that was restored and knows nothing of
    /// it takes the time from then on for a gap; any other pays no heed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub metered_since: Option<Timestamp>,
    /// Why it changed, one word: `Ready`, `Suspended`, `Deleted`, ...
    pub reason: String,
}

/// The answer to a [`UsageBatch`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct UsageAccepted {
    /// Changes that were new.
    pub recorded: u64,
    /// Facts that were known already.
    pub known: u64,
    /// Gaps of measurement that were found.
    #[serde(default)]
    pub gaps: u64,
}

/// `POST /v1/usage/counters`: where counters stood when they were read. Sent again, it changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CounterBatch {
    /// Which collector: the uid of the cluster.
    pub collector: String,
    /// The epoch of its lease; a lower one than on record is refused.
    pub epoch: i64,
    /// The readings, at most [`MOST_FACTS`].
    pub readings: Vec<CounterReading>,
}

/// A counter of an order stood at `value` at the end of a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CounterReading {
    /// The order.
    pub order_uid: OrderUid,
    /// Who pays.
    pub tenant: TenantName,
    /// The meter: a counter.
    pub meter: Meter,
    /// When it was read, by the clock of what counts.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub window_end: Timestamp,
    /// Since which reset it counts: within one it never falls. 1 to 80 characters of ASCII without spaces.
    pub reset_id: String,
    /// Where it stood.
    pub value: i64,
}

/// What a counter of an order counted: `GET /v1/tenants/{tenant}/counters`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Counted {
    /// The order.
    pub order: Billed,
    /// The meter.
    pub meter: Meter,
    /// From when to when, and how many.
    #[serde(flatten)]
    pub window: Window,
}

/// `POST /v1/usage/availability`: whether somebody can log in, as a collector finds it. Sent again, it changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AvailabilityBatch {
    /// Which collector: the uid of the cluster.
    pub collector: String,
    /// The epoch of its lease: each start has another one. A lower one than on record is refused.
    pub epoch: i64,
    /// Milliseconds on the collector's own clock, which nobody sets, as this is sent; from zero or more at its start.
    pub clock_ms: i64,
    /// What changed, at most [`MOST_FACTS`]; of one order the first first.
    pub changes: Vec<AvailabilityChange>,
    /// With this batch all is told that the collector found until now: what did not change is as it was.
    pub complete: bool,
}

/// From an instant on, somebody can log in to an instance, or nobody can, or nobody looks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AvailabilityChange {
    /// The order.
    pub order_uid: OrderUid,
    /// Who pays.
    pub tenant: TenantName,
    /// What was found.
    pub state: State,
    /// When, by the collector's own clock.
    pub clock_ms: i64,
}

/// `GET /v1/tenants/{tenant}/availability`: of a tenant and everything below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AvailabilityReport {
    /// The tenant.
    pub tenant: TenantName,
    /// First instant.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub from: Timestamp,
    /// First instant after it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub to: Timestamp,
    /// Every instance that should have run for a part of it, sorted by tenant, namespace and name.
    pub instances: Vec<OfInstance>,
    /// All of them together.
    pub total: Availability,
}

/// `POST /v1/usage/checkpoints`: these orders are still as last reported, and everything up to now was reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// Which collector.
    pub collector: String,
    /// The epoch of its lease.
    pub epoch: i64,
    /// Orders that were seen, at most [`MOST_FACTS`].
    pub seen: Vec<OrderUid>,
    /// True on the last page: raises the collector's watermark to the database's clock.
    pub complete: bool,
    /// On the last page: milliseconds that went by on the collector's own clock, which nobody sets, since its last page
    /// before that was taken. Absent when it has just started. If the database's clock moved on by more, the rest is a gap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<i64>,
}

/// `GET /v1/collectors/{id}`, and the answer to a [`Checkpoint`]: a collector as on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CollectorRecord {
    /// Which collector.
    pub collector: String,
    /// The highest epoch it reported with; a lower one is refused.
    pub epoch: i64,
    /// Everything before this instant was reported; absent until the first complete checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub watermark: Option<Timestamp>,
    /// When it last reported anything.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub last_seen: Timestamp,
}

/// `GET /v1/tenants/{tenant}/quota`: what a tenant and everything below it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct QuotaView {
    /// The tenant.
    pub tenant: TenantName,
    /// Its limits.
    pub limit: Quota,
    /// What is held below them.
    pub held: Commitment,
    /// Count of reservations, retained ones included.
    pub reservations: i64,
    /// Limit, held, free and over, for every dimension. An older api answers none.
    #[serde(default)]
    pub dimensions: Vec<DimensionView>,
    /// The largest commitments by money, then by storage, at most [`MOST_LARGEST`].
    #[serde(default)]
    pub largest: Vec<HeldOrder>,
    /// What waits for an approval: asked for, but not held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
}

/// Most commitments named in a [`QuotaView`].
pub const MOST_LARGEST: usize = 10;

/// An order and what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HeldOrder {
    /// The order.
    pub order_uid: OrderUid,
    /// Its tenant.
    pub tenant: TenantName,
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it holds.
    pub commitment: Commitment,
}

/// Orders that wait for an approval, together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// How many.
    pub count: i64,
    /// What they would cost at most a month.
    pub monthly_cost: Money,
}

/// Where an approval stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum ApprovalState {
    /// The order waits.
    Pending,
    /// It may be held, up to what was approved.
    Approved,
    /// It may not be held as it was asked.
    Rejected,
}

/// `GET /v1/tenants/{tenant}/approvals`: an order that was asked for above a threshold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The order.
    pub order_uid: OrderUid,
    /// Its tenant.
    pub tenant: TenantName,
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its plan.
    pub plan: String,
    /// Who ordered, as stamped by the API server; he never decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<String>,
    /// Where it stands.
    pub state: ApprovalState,
    /// What it asks, or asked last.
    pub asked: Commitment,
    /// When it asked that first.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub asked_at: Timestamp,
    /// Whose approval it waits or waited for.
    pub needed: ApprovalNeeded,
    /// The last decision about what is asked; absent while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<ApprovalDecision>,
}

/// What somebody decided. On record for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ApprovalDecision {
    /// Rises with each decision of the ledger.
    pub id: i64,
    /// The order.
    pub order_uid: OrderUid,
    /// True: approved; false: rejected, or an approval withdrawn.
    pub approved: bool,
    /// Who decided: the subject of his token.
    pub by: String,
    /// When.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// It holds up to this; an order that asks more in any dimension waits again.
    pub up_to: Commitment,
    /// His words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// `POST /v1/tenants/{tenant}/approvals/{uid}`: approve what waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ApproveRequest {
    /// Up to which monthly cost; absent: exactly what is asked. Less than is asked is a conflict, so that nobody
    /// approves a price that he did not see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<Money>,
    /// Words for the record, at most 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// `GET /v1/tenants/{tenant}/commitments`: what is committed, by whom, where it is booked, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Commitments {
    /// The tenant; everything below it is included.
    pub tenant: TenantName,
    /// The rows of this page.
    pub items: Vec<CommittedOrder>,
    /// Give it as `pageToken` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
    /// Count of all rows.
    pub reservations: i64,
    /// Sum of all rows.
    pub total: Commitment,
    /// What the current month and fiscal year come to if nothing changes; on the first page only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
}

/// A reservation as finance reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CommittedOrder {
    /// The order and what it holds.
    #[serde(flatten)]
    pub order: HeldOrder,
    /// Its plan.
    pub plan: String,
    /// Who ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<String>,
    /// The list that it is valued by.
    pub price_list: PriceListName,
    /// Where it is booked: the order's own words, else its tenant's.
    #[serde(default)]
    pub billing: Billing,
    /// The order was deleted and its data is kept.
    pub retained: bool,
    /// First held at.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub held_since: Timestamp,
}

/// What is reserved runs on from now, at the prices that are published; computed by the function that bills.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// The current calendar month.
    pub month: ForecastPeriod,
    /// The current fiscal year.
    pub fiscal_year: ForecastPeriod,
}

/// One period of a [`Forecast`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ForecastPeriod {
    /// First instant.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub from: Timestamp,
    /// First instant after it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub to: Timestamp,
    /// What was used from `from` until now.
    pub used: Money,
    /// What the whole period comes to.
    pub total: Money,
}

/// `GET /v1/alerts?after=`: a limit was filled to a threshold. Once per crossing; again after it fell below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// Rises with each alert of the ledger; a later one is never lower.
    pub id: i64,
    /// When.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// The tenant.
    pub tenant: TenantName,
    /// The dimension.
    pub dimension: Dimension,
    /// The highest threshold that the change reached, in percent.
    pub percent: u8,
    /// What was held then, in the dimension's unit.
    pub held: i64,
    /// The limit then.
    pub limit: i64,
    /// Currency, for money only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
}

/// `GET /v1/tenants`: a tenant that the caller may see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TenantSummary {
    /// Its name.
    pub tenant: TenantName,
    /// The tenant above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TenantName>,
    /// Its names.
    pub display_name: DisplayName,
    /// Takes no new orders.
    pub suspended: bool,
}

/// `GET /v1/tenants/{tenant}/usage`: what was used and what it costs so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct UsageReport {
    /// The tenant; everything below it is included.
    pub tenant: TenantName,
    /// First instant.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub from: Timestamp,
    /// First instant after it; open intervals count until here.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub to: Timestamp,
    /// The lines.
    pub lines: Vec<ReportLine>,
    /// Sum of the lines as shown.
    pub total: Money,
}

/// A line of a report with what a reader needs to recognise it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReportLine {
    /// The tenant that pays.
    pub tenant: TenantName,
    /// Namespace of the order.
    pub namespace: String,
    /// Name of the order.
    pub name: String,
    /// Kind of the order.
    pub kind: String,
    /// Plan of the order.
    pub plan: String,
    /// Where it is booked.
    #[serde(default)]
    pub billing: Billing,
    /// The line.
    #[serde(flatten)]
    pub line: Line,
}

/// An account by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AccountEntry {
    /// Its name: what `billing.account` of a tenant says.
    pub account: String,
    /// The account.
    #[serde(flatten)]
    pub record: AccountRecord,
}

/// A month of the issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PeriodState {
    /// The month and its borders.
    #[serde(flatten)]
    pub period: Period,
    /// When it was closed; absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub closed_at: Option<Timestamp>,
    /// Who closed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<String>,
    /// Sequence of the last record that counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<i64>,
}

/// Why a month does not close yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Blocker {
    /// A word that never changes: `notOver`, `earlierOpen`, `collectorBehind`, `notSeenAgain`, `gapUndecided`, `priceUnknown`,
    /// `budgetLineMissing`.
    pub reason: String,
    /// The tenant it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantName>,
    /// The order it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_uid: Option<OrderUid>,
    /// A sentence with a way out.
    pub detail: String,
}

/// Time of an order that no observation proves: it is billed only if a named person decides so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GapRecord {
    /// Its id, from 1.
    pub id: i64,
    /// The order, and the tenant that ordered it.
    pub order: Billed,
    /// The meter.
    pub meter: Meter,
    /// The level before it, which is billed if it is decided so.
    pub level: Level,
    /// First instant.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub start: Timestamp,
    /// First instant after it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub end: Timestamp,
    /// Why it is not proven: `notSeen`, `clockJumped`, `collectorAway`, `ledgerRestored`.
    pub reason: String,
    /// When it was recorded.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub recorded_at: Timestamp,
    /// What was decided last; absent while nobody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<GapDecision>,
}

/// What was decided of a gap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GapDecision {
    /// Whether it is billed.
    pub billed: bool,
    /// On what evidence.
    pub evidence: String,
    /// Who decided.
    pub by: String,
    /// When.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
}

/// `POST /v1/tenants/{tenant}/gaps/{id}/decision`: to bill time that is not proven, or not to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GapDecisionRequest {
    /// Whether it is billed: only a certifier of the tenant may say so.
    pub billed: bool,
    /// On what evidence: a sentence, 1 to 200 characters.
    pub evidence: String,
}

impl GapDecisionRequest {
    /// Whether the evidence can be put on a document.
    ///
    /// # Errors
    /// A sentence for whoever asked.
    pub fn check(&self) -> Result<(), String> {
        plain("evidence", &self.evidence).map_err(|cause| cause.to_string())
    }
}

/// `POST /v1/tenants/{tenant}/gaps/decisions`: the same decision about several gaps, all of them or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GapDecisions {
    /// Their ids, 1 to 500.
    pub gaps: Vec<i64>,
    /// Whether they are billed.
    pub billed: bool,
    /// On what evidence.
    pub evidence: String,
}

impl GapRecord {
    /// What is billed of it all the same.
    pub fn billed(&self) -> Option<(OrderUid, Meter, Gap)> {
        let gap = Gap { level: self.level.clone(), start: self.start, end: self.end };
        let is_billed = self.decision.as_ref().is_some_and(|decision| decision.billed);
        is_billed.then(|| (self.order.uid.clone(), self.meter, gap))
    }
}

/// `POST /v1/periods/{month}/closing`: what came of it, or would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Closing {
    /// The month.
    pub month: Month,
    /// Whether it is closed.
    pub closed: bool,
    /// What still blocks it; empty when it is closed or would close. At most 100 are named.
    pub blockers: Vec<Blocker>,
    /// How many statements it has, or would have.
    pub statements: i64,
    /// Their sum without tax; absent while something blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net: Option<Money>,
    /// What is to be paid in all; absent while something blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gross: Option<Money>,
}

/// A document in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct StatementEntry {
    /// Its number.
    pub number: String,
    /// What it is.
    pub kind: StatementKind,
    /// The tenant that is billed.
    pub tenant: TenantName,
    /// The month it is about.
    pub month: Month,
    /// The number that a credit note takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credits: Option<String>,
    /// When it was issued.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub issued_at: Timestamp,
    /// Sum without tax.
    pub net: Money,
    /// What is to be paid.
    pub gross: Money,
    /// Its place in the chain of all documents.
    pub position: i64,
    /// SHA-256 of its canonical bytes.
    pub sha256: String,
    /// The chain up to and with it.
    pub chain: String,
    /// Ed25519 signature of its canonical bytes, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// Id of the key of the signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
}

/// A link of the chain: enough to compute the whole of it without reading anybody's document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ChainLink {
    /// The place, from 1.
    pub position: i64,
    /// The number of the document.
    pub number: String,
    /// SHA-256 of its canonical bytes.
    pub sha256: String,
    /// The chain up to and with it.
    pub chain: String,
}

/// `POST /v1/tenants/{tenant}/statements/{number}/credit-notes`: what is taken back, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreditRequest {
    /// A text of the caller's; the same one again answers the same note and makes no other. 1 to 64 characters.
    pub key: String,
    /// Why: printed on the note.
    pub reason: String,
    /// What of it; all that is left when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<Vec<CreditedLine>>,
}

/// So much of a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreditedLine {
    /// The line, from 0; corrections are counted after the lines.
    pub line: usize,
    /// How much of it, without tax, in minor units, with the sign of the line.
    pub minor: i64,
}

/// `PUT /v1/tenants/{tenant}/orders/{uid}/allocation`: where an order's cost is booked from an instant on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllocationRequest {
    /// From when on, until the next entry; now when absent. Not in a month that is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub at: Option<Timestamp>,
    /// The shares, which sum to 1000000 millionths.
    pub shares: Shares,
}

/// An error, as RFC 9457 `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `urn:siyada:problem:<code>`.
    #[serde(rename = "type")]
    pub type_: String,
    /// A few words that never change for a code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable code, one of [`code`].
    pub code: String,
    /// A sentence with a way out.
    pub detail: String,
    /// What does not fit, for `quota-exceeded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortfall: Option<Shortfall>,
    /// Whose approval is missing, for `approval-pending` and `approval-rejected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalNeeded>,
}

/// The stable codes of [`Problem`].
pub mod code {
    /// 401: no token, or one that is not accepted.
    pub const UNAUTHENTICATED: &str = "unauthenticated";
    /// 404: no such thing, or not for this caller.
    pub const NOT_FOUND: &str = "not-found";
    /// 403: a platform route, and the caller is not the platform.
    pub const FORBIDDEN: &str = "forbidden";
    /// 400 or 422: the request is wrong.
    pub const INVALID: &str = "invalid";
    /// 409: the quota of a tenant in the chain does not suffice.
    pub const QUOTA_EXCEEDED: &str = "quota-exceeded";
    /// 409: the tenant takes no new orders.
    pub const TENANT_SUSPENDED: &str = "tenant-suspended";
    /// 409: what it would cost is above a threshold of its tenant; it waits for an approver.
    pub const APPROVAL_PENDING: &str = "approval-pending";
    /// 409: an approver refused it as it is; ask for less, or for something else.
    pub const APPROVAL_REJECTED: &str = "approval-rejected";
    /// 409: the tenant is not known (yet).
    pub const TENANT_UNKNOWN: &str = "tenant-unknown";
    /// 409: no price for what was asked.
    pub const PRICE_UNKNOWN: &str = "price-unknown";
    /// 409: nobody is on record who bills.
    pub const ISSUER_UNKNOWN: &str = "issuer-unknown";
    /// 409: the month is closed, or not over; what is closed never changes.
    pub const PERIOD_CLOSED: &str = "period-closed";
    /// 409: a newer generation is on record.
    pub const STALE: &str = "stale";
    /// 409: the same key with another content.
    pub const CONFLICT: &str = "conflict";
    /// 409: something still depends on it.
    pub const IN_USE: &str = "in-use";
    /// 413: the body is too large.
    pub const TOO_LARGE: &str = "too-large";
    /// 409: a newer lease epoch is on record.
    pub const FENCED: &str = "fenced";
    /// 503: the database does not answer, try again.
    pub const UNAVAILABLE: &str = "unavailable";
    /// 500: a fault of ours.
    pub const INTERNAL: &str = "internal";
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Bodies of the first landing: whoever is not upgraded yet sends and reads these.
    #[test]
    fn what_the_first_landing_sends_is_understood() {
        let tenant: TenantRecord =
            serde_json::from_value(json!({"uid": "u", "generation": 1, "dataClassification": "Public"}))
                .unwrap();
        assert_eq!(tenant.alerts.percent, USUAL_ALERTS);
        assert_eq!((tenant.approval_above, tenant.soft_limit_percent), (None, None));
        let resources = json!({"instances": 0, "cpuMilli": 0, "memoryBytes": 0, "storageBytes": 0});
        let money = json!({"minor": 0, "currency": "MAD"});
        let held = json!({"resources": resources, "monthlyCost": money});
        let view = json!({"tenant": "a", "limit": {}, "held": held, "reservations": 0});
        assert!(serde_json::from_value::<QuotaView>(view).unwrap().dimensions.is_empty());
        let quote =
            json!({"monthlyMaximum": money, "priceList": "l", "committed": money, "committedAfter": money});
        assert!(serde_json::from_value::<Quote>(quote).unwrap().soft_limits.is_empty());
        let short = json!({"tenant": "a", "dimension": "cpu", "asked": 1, "free": 0, "limit": 0});
        assert!(serde_json::from_value::<Shortfall>(short).unwrap().freeable.is_empty());
    }

    #[test]
    fn what_is_not_said_is_not_sent() {
        let short = json!({"tenant": "a", "dimension": "cpu", "asked": 1, "free": 0, "limit": 0});
        let read: Shortfall = serde_json::from_value(short.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), short);
        let rules: AlertRules = serde_json::from_value(json!({})).unwrap();
        assert_eq!(serde_json::to_value(rules).unwrap(), json!({"percent": USUAL_ALERTS}));
        let none: Value = serde_json::to_value(AlertRules { percent: vec![], targets: vec![] }).unwrap();
        assert_eq!(serde_json::from_value::<AlertRules>(none).unwrap().percent, Vec::<u8>::new());
    }
}

//! What the operator and the api say to each other over HTTP.

use crate::classification::Classification;
use crate::id::{OrderUid, PriceListName, TenantName};
use crate::money::Money;
use crate::price::{Item, PriceList};
use crate::quota::{Commitment, Quota, Shortfall};
use crate::resources::Resources;
use crate::usage::{Level, Line, Meter};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

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
    /// 409: the tenant is not known (yet).
    pub const TENANT_UNKNOWN: &str = "tenant-unknown";
    /// 409: no price for what was asked.
    pub const PRICE_UNKNOWN: &str = "price-unknown";
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

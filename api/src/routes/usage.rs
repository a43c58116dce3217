//! Usage: what collectors saw, and what it costs.

use super::{tenants::currency, visible};
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{Body, Key, Query};
use crate::openapi::examples;
use crate::page::PageQuery;
use crate::state::App;
use crate::store::tenants::Tenant;
use crate::store::{self, orders::Order, periods, prices};
use axum::Json;
use axum::extract::State;
use jiff::{Timestamp, ToSpan};
use serde::Deserialize;
use siyada_model::id::{OrderUid, Sku, TenantName};
use siyada_model::money::Money;
use siyada_model::usage::{Interval, Line, Meter, rate};
use siyada_model::wire::{
    Checkpoint, CollectorRecord, MOST_FACTS, Page, Problem, ReportLine, UsageAccepted, UsageBatch,
    UsageReport, code,
};
use sqlx::PgConnection;
use std::collections::BTreeMap;
use utoipa::IntoParams;

/// Longest name of a collector.
const LONGEST_COLLECTOR: usize = 64;
/// Longest reason.
const LONGEST_REASON: usize = 40;
/// Orders looked at for one page of intervals.
const MOST_ORDERS: i64 = 200;

/// Stores what a collector saw, all or nothing. The same batch once more changes nothing.
#[utoipa::path(post, path = "/v1/usage", tag = "usage",
    request_body(content = UsageBatch, example = json!(examples::usage_batch())),
    responses(
        (status = 200, description = "On record", body = UsageAccepted, example = json!({"recorded": 1, "known": 0, "gaps": 0})),
        (status = 403, description = "Only for the operator", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`fenced`, `conflict`, `tenant-unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`too-large`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn ingest(
    State(app): State<App>,
    Body(batch): Body<UsageBatch>,
) -> Result<Json<UsageAccepted>, Error> {
    check_collector(&batch.collector, batch.facts.len())?;
    for fact in &batch.facts {
        if fact.level.as_ref().is_some_and(|level| level.quantity <= 0) {
            return Err(Error::invalid(format!(
                "the level of {} of order {} must be above zero; to stop, send no level",
                fact.meter, fact.order_uid
            )));
        }
        let word = |c: char| c.is_ascii_alphanumeric();
        if fact.reason.is_empty() || fact.reason.len() > LONGEST_REASON || !fact.reason.chars().all(word) {
            return Err(Error::invalid(format!("a reason is one word of 1 to {LONGEST_REASON} letters")));
        }
    }
    let accepted = store::usage::ingest(&app.pool, &batch).await?;
    app.metrics.usage(&accepted);
    Ok(Json(accepted))
}

pub(super) fn check_collector(collector: &str, rows: usize) -> Result<(), Error> {
    if collector.is_empty() || collector.len() > LONGEST_COLLECTOR {
        return Err(Error::invalid(format!(
            "the name of a collector has 1 to {LONGEST_COLLECTOR} characters"
        )));
    }
    if rows > MOST_FACTS {
        return Err(Error::refuse(code::TOO_LARGE, format!("send at most {MOST_FACTS} rows at once")));
    }
    Ok(())
}

/// Stores that orders are still as reported. The last page of a round raises the collector's watermark.
#[utoipa::path(post, path = "/v1/usage/checkpoints", tag = "usage",
    request_body(content = Checkpoint, example = json!(examples::checkpoint())),
    responses(
        (status = 200, description = "The collector", body = CollectorRecord, example = json!(examples::collector())),
        (status = 403, description = "Only for the operator", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`fenced`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn checkpoint(
    State(app): State<App>,
    Body(checkpoint): Body<Checkpoint>,
) -> Result<Json<CollectorRecord>, Error> {
    check_collector(&checkpoint.collector, checkpoint.seen.len())?;
    Ok(Json(store::usage::checkpoint(&app.pool, &checkpoint).await?))
}

/// A collector as on record.
#[utoipa::path(get, path = "/v1/collectors/{id}", tag = "usage",
    params(("id" = String, Path, description = "Name of the collector")),
    responses(
        (status = 200, description = "The collector", body = CollectorRecord, example = json!(examples::collector())),
        (status = 403, description = "Only for the platform", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "It never reported", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn collector(State(app): State<App>, Key(id): Key<String>) -> Result<Json<CollectorRecord>, Error> {
    let mut connection = app.pool.acquire().await?;
    let found = store::usage::find_collector(&mut connection, &id).await?;
    found.map(Json).ok_or_else(Error::not_found)
}

/// From when until when.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct Period {
    /// First instant; the start of the issuer's current month when absent.
    #[param(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
    /// First instant after it; now when absent or later than now.
    #[param(value_type = Option<String>, format = DateTime)]
    pub to: Option<Timestamp>,
}

/// The borders of a period, to the millisecond; `month` is the start of the current month.
pub(super) fn borders(
    period: &Period,
    month: Timestamp,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp), Error> {
    let whole = |at: Timestamp| {
        let ms = i64::try_from(at.as_nanosecond().div_euclid(1_000_000)).unwrap_or(i64::MAX);
        Timestamp::from_millisecond(ms).map_err(|cause| Error::invalid(cause.to_string()))
    };
    let to = whole(period.to.unwrap_or(now).min(now))?;
    // One millisecond into a month, the start of that month is still before now.
    let month = month.min(now.saturating_sub(1.millisecond()).unwrap_or(now));
    let from = whole(period.from.unwrap_or(month))?;
    if from >= to {
        return Err(Error::invalid("from must be before to, and before now"));
    }
    Ok((from, to))
}

/// What a tenant and everything below it used, and what it costs so far.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/usage", tag = "usage",
    params(("tenant" = TenantName, Path, description = "Name of the tenant"), Period),
    responses(
        (status = 200, description = "The report", body = UsageReport, example = json!(examples::report())),
        (status = 404, description = "No such tenant, or not yours", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`price-unknown` for time without a price", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn report(
    State(app): State<App>,
    caller: Caller,
    Key(name): Key<TenantName>,
    Query(period): Query<Period>,
) -> Result<Json<UsageReport>, Error> {
    let tenant = visible(&app, &caller, &name).await?;
    let currency = currency(&app, &tenant).await?;
    // One snapshot for the intervals, the prices and the names.
    let mut tx = store::snapshot(&app.pool).await?;
    let now = store::now(&mut tx).await?;
    let (month, _) = periods::month_of(&mut tx, now).await?;
    let (from, to) = borders(&period, month, now)?;
    let lines = rated(&mut tx, &tenant, from, to).await?;
    let total = lines.iter().try_fold(Money::zero(currency), |sum, l| sum.add(l.line.amount))?;
    Ok(Json(UsageReport { tenant: name, from, to, lines, total }))
}

async fn rated(
    connection: &mut PgConnection,
    tenant: &Tenant,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<ReportLine>, Error> {
    let intervals = store::usage::in_period(connection, tenant.id, from, to).await?;
    let lists = prices::before(connection, to).await?;
    let orders = store::usage::orders_of(connection, &intervals).await?;
    let lines = rate(&intervals, &lists, from, to)?;
    lines.into_iter().map(|line| named(line, &orders)).collect()
}

fn named(line: Line, orders: &BTreeMap<OrderUid, Order>) -> Result<ReportLine, Error> {
    let order = orders
        .get(&line.order_uid)
        .cloned()
        .ok_or_else(|| Error::Fault(format!("failed to find order {}", line.order_uid)))?;
    Ok(ReportLine {
        tenant: order.tenant,
        namespace: order.namespace,
        name: order.name,
        kind: order.kind,
        plan: order.plan,
        billing: order.billing,
        line,
    })
}

/// Which intervals are listed.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// First instant; the start of the issuer's current month when absent.
    #[param(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
    /// First instant after it; now when absent or later than now.
    #[param(value_type = Option<String>, format = DateTime)]
    pub to: Option<Timestamp>,
    /// Only those of this order.
    #[param(value_type = Option<String>)]
    pub order_uid: Option<OrderUid>,
    /// Only those of this meter.
    #[param(value_type = Option<String>)]
    pub meter: Option<Meter>,
    /// Only those of this price key.
    #[param(value_type = Option<String>)]
    pub sku: Option<Sku>,
    /// Most rows to answer, 1 to 500; 100 when absent.
    pub page_size: Option<usize>,
    /// `nextPageToken` of the page before.
    pub page_token: Option<String>,
}

impl Which {
    fn takes(&self, interval: &Interval) -> bool {
        self.order_uid.as_ref().is_none_or(|uid| *uid == interval.order_uid)
            && self.meter.is_none_or(|meter| meter == interval.meter)
            && self.sku.as_ref().is_none_or(|sku| *sku == interval.level.sku)
    }
}

/// The evidence of a report: the whole intervals that touch the period, by order, meter and start. A page may be
/// shorter than asked, even empty, and still have a next one.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/intervals", tag = "usage",
    params(("tenant" = TenantName, Path, description = "Name of the tenant"), Which),
    responses(
        (status = 200, description = "A page", body = Page<Interval>, example = json!({"items": [examples::interval()]})),
        (status = 404, description = "No such tenant, or not yours", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn intervals(
    State(app): State<App>,
    caller: Caller,
    Key(name): Key<TenantName>,
    Query(which): Query<Which>,
) -> Result<Json<Page<Interval>>, Error> {
    let tenant = visible(&app, &caller, &name).await?;
    let size = PageQuery { page_size: which.page_size, page_token: None }.size()?;
    let mut connection = app.pool.acquire().await?;
    let now = store::now(&mut connection).await?;
    let (month, _) = periods::month_of(&mut connection, now).await?;
    drop(connection);
    let period = borders(&Period { from: which.from, to: which.to }, month, now)?;
    let after = which.page_token.as_deref().map(Cursor::parse).transpose()?;
    let first = after.as_ref().map_or("", |cursor| cursor.order_uid.as_str());
    let (first, most) = which.order_uid.as_ref().map_or((first, MOST_ORDERS), |uid| (uid.as_str(), 1));
    let (mut rows, last) = store::usage::evidence(&app.pool, tenant.id, period, first, most).await?;
    rows.retain(|row| which.takes(row));
    let last = last.filter(|_| which.order_uid.is_none());
    Ok(Json(cut(rows, Cursor::of, size, after.as_ref(), last)))
}

/// A place in a list by order, meter and instant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cursor {
    pub(super) order_uid: OrderUid,
    meter: String,
    at_ms: i64,
}

impl Cursor {
    pub(super) fn new(order_uid: &OrderUid, meter: Meter, at: Timestamp) -> Self {
        Self { order_uid: order_uid.clone(), meter: meter.to_string(), at_ms: at.as_millisecond() }
    }

    fn of(interval: &Interval) -> Self {
        Self::new(&interval.order_uid, interval.meter, interval.start)
    }

    /// After everything of an order.
    fn after_order(order_uid: OrderUid) -> Self {
        Self { order_uid, meter: "~".to_owned(), at_ms: i64::MAX }
    }

    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || Error::invalid("pageToken is not one of this list");
        let mut parts = text.splitn(3, '/');
        let mut next = || parts.next().ok_or_else(wrong);
        Ok(Self {
            order_uid: next()?.parse().map_err(|_| wrong())?,
            meter: next()?.to_owned(),
            at_ms: next()?.parse().map_err(|_| wrong())?,
        })
    }

    fn show(&self) -> String {
        format!("{}/{}/{}", self.order_uid, self.meter, self.at_ms)
    }
}

/// The page of `rows` after `after`; `last` is the last order that was looked at, if more may follow.
pub(super) fn cut<T>(
    rows: Vec<T>,
    place: impl Fn(&T) -> Cursor,
    size: usize,
    after: Option<&Cursor>,
    last: Option<OrderUid>,
) -> Page<T> {
    let mut items: Vec<T> =
        rows.into_iter().filter(|row| after.is_none_or(|after| place(row) > *after)).collect();
    let more = items.len() > size;
    items.truncate(size);
    let next = if more { items.last().map(&place) } else { last.map(Cursor::after_order) };
    Page { items, next_page_token: next.map(|cursor| cursor.show()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use siyada_model::usage::Level;

    fn interval(uid: &str, meter: Meter, start_ms: i64) -> Interval {
        Interval {
            order_uid: uid.parse().unwrap(),
            meter,
            level: Level { sku: "s".parse().unwrap(), quantity: 1 },
            start: Timestamp::from_millisecond(start_ms).unwrap(),
            end: None,
        }
    }

    #[test]
    fn pages_of_intervals_join_without_a_gap_or_a_double() {
        let rows = vec![
            interval("a", Meter::COMPUTE, 1),
            interval("a", Meter::COMPUTE, 5),
            interval("a", Meter::STORAGE, 1),
            interval("b", Meter::COMPUTE, 2),
        ];
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = cut(rows.clone(), Cursor::of, 3, after.as_ref(), None);
            seen.extend(page.items);
            match page.next_page_token {
                Some(token) => after = Some(Cursor::parse(&token).unwrap()),
                None => break,
            }
        }
        assert_eq!(seen, rows);
    }

    #[test]
    fn a_period_has_borders_or_is_refused() {
        let now: Timestamp = "2026-11-24T08:00:00.5Z".parse().unwrap();
        let check = |from: Option<&str>, to: Option<&str>, expect: Option<(&str, &str)>| {
            let parse = |t: &str| t.parse::<Timestamp>().unwrap();
            let period = Period { from: from.map(parse), to: to.map(parse) };
            assert_eq!(
                borders(&period, parse("2026-11-01T00:00:00Z"), now).ok(),
                expect.map(|(a, b)| (parse(a), parse(b))),
                "{from:?} {to:?}"
            );
        };
        check(None, None, Some(("2026-11-01T00:00:00Z", "2026-11-24T08:00:00.5Z")));
        check(
            Some("2026-10-01T00:00:00.0009Z"),
            Some("2026-11-01T00:00:00Z"),
            Some(("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")),
        );
        check(None, Some("2027-01-01T00:00:00Z"), Some(("2026-11-01T00:00:00Z", "2026-11-24T08:00:00.5Z")));
        check(Some("2026-12-01T00:00:00Z"), None, None);
        check(Some("2026-11-02T00:00:00Z"), Some("2026-11-02T00:00:00Z"), None);
    }

    #[test]
    fn a_token_of_another_list_is_refused() {
        for text in ["", "x", "a/compute", "a/compute/x", "A/compute/1"] {
            assert!(Cursor::parse(text).is_err(), "{text}");
        }
    }
}

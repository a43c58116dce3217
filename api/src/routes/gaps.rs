//! Gaps of measurement: what could not be proven, and the decision about it.

use super::{acting, visible};
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{Body, Key, Keys, Query};
use crate::file::{CSV, attachment};
use crate::openapi::examples;
use crate::page::{PageQuery, one_more, page};
use crate::state::App;
use crate::store::gaps::{self, Decided};
use crate::stream;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde::Deserialize;
use siyada_documents::cell;
use siyada_model::id::TenantName;
use siyada_model::wire::{
    GapDecisionRequest, GapDecisions, GapRecord, LARGEST_PAGE, Page, PlatformRole, Problem, Role,
};
use sqlx::PgPool;
use utoipa::{IntoParams, ToSchema};

/// Gaps read at a time for a file.
const PART: i64 = 500;

/// Which gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum GapState {
    /// All of them.
    #[default]
    All,
    /// Those that wait for a decision.
    Undecided,
    /// Those that somebody decided.
    Decided,
}

/// How they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum GapFormat {
    /// JSON, in pages.
    #[default]
    Json,
    /// CSV (RFC 4180), all at once.
    Csv,
}

/// Which gaps, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// `undecided`, `decided`, or `all` when absent.
    #[param(inline)]
    pub state: Option<GapState>,
    /// Only those that last longer than until this instant.
    #[param(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
    /// Only those that begin before this instant.
    #[param(value_type = Option<String>, format = DateTime)]
    pub to: Option<Timestamp>,
    /// `json`; `csv` for all at once.
    #[param(inline)]
    pub format: Option<GapFormat>,
    /// Most rows to answer, 1 to 500; 100 when absent.
    pub page_size: Option<usize>,
    /// `nextPageToken` of the page before.
    pub page_token: Option<String>,
}

/// What could not be measured of a tenant and everything below it, and what was decided of it. It is billed only if a
/// certifier of the tenant decided so; a month does not close over a gap that nobody decided.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/gaps", tag = "finance",
    params(("tenant" = TenantName, Path, description = "Name of the tenant"), Which),
    responses(
        (status = 200, description = "A page, or a file", content(
            (Page<GapRecord> = "application/json", example = json!({"items": [examples::gap()]})),
            (String = "text/csv"),
        )),
        (status = 404, description = "No such tenant, or not yours", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn of_tenant(
    State(app): State<App>,
    caller: Caller,
    Key(name): Key<TenantName>,
    Query(which): Query<Which>,
) -> Result<Response, Error> {
    let tenant = visible(&app, &caller, &name).await?;
    answer(app.pool, Some(tenant.id), &which, &format!("gaps-{name}.csv")).await
}

/// What could not be measured of anything.
#[utoipa::path(get, path = "/v1/gaps", tag = "finance", params(Which),
    responses(
        (status = 200, description = "A page, or a file", content(
            (Page<GapRecord> = "application/json", example = json!({"items": [examples::gap()]})),
            (String = "text/csv"),
        )),
        (status = 403, description = "Only for the platform", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn all(State(app): State<App>, Query(which): Query<Which>) -> Result<Response, Error> {
    answer(app.pool, None, &which, "gaps.csv").await
}

async fn answer(pool: PgPool, tenant: Option<i64>, which: &Which, file: &str) -> Result<Response, Error> {
    let query = PageQuery { page_size: which.page_size, page_token: which.page_token.clone() };
    let size = query.size()?;
    let after = match query.after() {
        "" => 0,
        token => token.parse().map_err(|_| Error::invalid("pageToken is that of the page before"))?,
    };
    let cursor = Cursor {
        pool,
        tenant,
        time: (which.from.unwrap_or(Timestamp::MIN), which.to.unwrap_or(Timestamp::MAX)),
        decided: match which.state.unwrap_or_default() {
            GapState::All => Decided::Either,
            GapState::Undecided => Decided::No,
            GapState::Decided => Decided::Yes,
        },
        after: None,
    };
    if which.format == Some(GapFormat::Csv) {
        return Ok(attachment(CSV, file, stream::body(cursor, part)));
    }
    let rows = cursor.read(after, one_more(size)).await?;
    Ok(Json(page(rows, size, |gap| gap.id.to_string())).into_response())
}

/// Where a file is.
struct Cursor {
    pool: PgPool,
    tenant: Option<i64>,
    time: (Timestamp, Timestamp),
    decided: Decided,
    /// The last gap that was written; none before the head of the table.
    after: Option<i64>,
}

impl Cursor {
    async fn read(&self, after: i64, most: i64) -> Result<Vec<GapRecord>, Error> {
        let mut connection = self.pool.acquire().await?;
        gaps::list(&mut connection, self.tenant, self.time, self.decided, (after, most)).await
    }
}

async fn part(cursor: Cursor) -> Result<Option<(String, Cursor)>, Error> {
    let Some(after) = cursor.after else {
        let head = "id,tenant,kind,namespace,name,orderUid,meter,sku,quantity,start,end,reason,recordedAt,billed,\
                    evidence,decidedBy,decidedAt\r\n";
        return Ok(Some((head.to_owned(), Cursor { after: Some(0), ..cursor })));
    };
    let rows = cursor.read(after, PART).await?;
    let Some(last) = rows.last().map(|gap| gap.id) else { return Ok(None) };
    Ok(Some((rows.iter().map(line).collect(), Cursor { after: Some(last), ..cursor })))
}

fn line(gap: &GapRecord) -> String {
    let decision = gap.decision.as_ref();
    let cells = [
        gap.id.to_string(),
        gap.order.tenant.to_string(),
        cell(&gap.order.kind),
        cell(&gap.order.namespace),
        cell(&gap.order.name),
        gap.order.uid.to_string(),
        gap.meter.to_string(),
        gap.level.sku.to_string(),
        gap.level.quantity.to_string(),
        gap.start.to_string(),
        gap.end.to_string(),
        gap.reason.clone(),
        gap.recorded_at.to_string(),
        decision.map(|d| d.billed.to_string()).unwrap_or_default(),
        decision.map(|d| cell(&d.evidence)).unwrap_or_default(),
        decision.map(|d| cell(&d.by)).unwrap_or_default(),
        decision.map(|d| d.at.to_string()).unwrap_or_default(),
    ];
    cells.join(",") + "\r\n"
}

/// Decides whether a gap is billed. A certifier of the tenant, who did not order it, decides either way; national finance
/// may waive it. Another decision may follow and counts from then on: for a month that is closed it is a correction.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/gaps/{id}/decision", tag = "finance",
    params(
        ("tenant" = TenantName, Path, description = "Name of the tenant, or of one above it"),
        ("id" = i64, Path, description = "Id of the gap"),
    ),
    request_body(content = GapDecisionRequest, example = json!(examples::gap_decision())),
    responses(
        (status = 200, description = "On record", body = GapRecord, example = json!(examples::gap())),
        (status = 403, description = "You have not the role, or you ordered it", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such gap, or not yours", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn decide(
    State(app): State<App>,
    caller: Caller,
    Keys(name, gap): Keys<TenantName, i64>,
    Body(request): Body<GapDecisionRequest>,
) -> Result<Json<GapRecord>, Error> {
    let decided = put(&app, &caller, &name, &[gap], &request).await?;
    decided.into_iter().next().map(Json).ok_or_else(Error::not_found)
}

/// Decides the same about several gaps, all of them or none.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/gaps/decisions", tag = "finance",
    params(("tenant" = TenantName, Path, description = "Name of the tenant, or of one above it")),
    request_body(content = GapDecisions, example = json!(examples::gap_decisions())),
    responses(
        (status = 200, description = "On record", body = Page<GapRecord>),
        (status = 403, description = "You have not the role, or you ordered one of them", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "One of them is not there, or not yours", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn decide_all(
    State(app): State<App>,
    caller: Caller,
    Key(name): Key<TenantName>,
    Body(GapDecisions { mut gaps, billed, evidence }): Body<GapDecisions>,
) -> Result<Json<Page<GapRecord>>, Error> {
    gaps.sort_unstable();
    gaps.dedup();
    if !(1..=LARGEST_PAGE).contains(&gaps.len()) {
        return Err(Error::invalid(format!("gaps names 1 to {LARGEST_PAGE} ids")));
    }
    let items = put(&app, &caller, &name, &gaps, &GapDecisionRequest { billed, evidence }).await?;
    Ok(Json(Page { items, next_page_token: None }))
}

async fn put(
    app: &App,
    caller: &Caller,
    name: &TenantName,
    ids: &[i64],
    request: &GapDecisionRequest,
) -> Result<Vec<GapRecord>, Error> {
    let waives = !request.billed && app.platform.roles(caller).contains(&PlatformRole::Finance);
    let tenant = match waives {
        true => visible(app, caller, name).await?,
        false => acting(app, caller, name, &[Role::Certifier]).await?,
    };
    gaps::decide(&app.pool, &tenant, ids, request, &caller.subject).await
}

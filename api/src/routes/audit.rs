//! The audit trail, for the tenant it concerns and for the platform.

use super::visible;
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{Body, Key, Query};
use crate::file::{CSV, attachment};
use crate::openapi::examples;
use crate::page::{PageQuery, one_more, page};
use crate::state::App;
use crate::store::audit;
use crate::stream;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use siyada_documents::cell;
use siyada_model::act::PlatformAct;
use siyada_model::audit::{Anchor, AnchorLine, AuditEvent, Retention};
use siyada_model::canonical;
use siyada_model::id::TenantName;
use siyada_model::wire::{Page, Problem};
use sqlx::PgPool;
use utoipa::{IntoParams, ToSchema};

/// Events read at a time for a file.
const PART: i64 = 500;

/// How the trail is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum TrailFormat {
    /// JSON, in pages.
    #[default]
    Json,
    /// Each event in its canonical bytes on a line of its own, all at once: what can be verified. If events were removed,
    /// the first line is `{"anchor": {"at", "seq", "sha256"}}`, the last of them.
    Lines,
    /// CSV (RFC 4180), all at once. If events were removed, the first row is the last of them, with the action `removed`.
    Csv,
}

/// Which events, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// `json`; `lines` or `csv` for all at once.
    #[param(inline)]
    pub format: Option<TrailFormat>,
    /// Only events with a greater `seq`; all when absent.
    pub after: Option<i64>,
    /// Most rows to answer, 1 to 500; 100 when absent.
    pub page_size: Option<usize>,
}

/// Who did what to a tenant and everything below it, in the order in which it was done.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/audit", tag = "audit",
    params(("tenant" = TenantName, Path, description = "Name of the tenant"), Which),
    responses(
        (status = 200, description = "A page, whose token is the last `seq`, or a file", content(
            (Page<AuditEvent> = "application/json", example = json!({"items": [examples::audit_event()]})),
            (String = "application/x-ndjson"),
            (String = "text/csv"),
        )),
        (status = 404, description = "No such tenant, or not yours", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn of_tenant(
    State(app): State<App>,
    caller: Caller,
    Key(name): Key<TenantName>,
    Query(which): Query<Which>,
) -> Result<Response, Error> {
    let tenant = visible(&app, &caller, &name).await?;
    answer(app.pool, Some(tenant.id), &which, &format!("audit-{name}")).await
}

/// Who did what, all of it: each event names the hash of the one before.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", params(Which),
    responses(
        (status = 200, description = "A page, whose token is the last `seq`, or a file", content(
            (Page<AuditEvent> = "application/json", example = json!({"items": [examples::audit_event()]})),
            (String = "application/x-ndjson"),
            (String = "text/csv"),
        )),
        (status = 403, description = "Only for the platform", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn all(State(app): State<App>, Query(which): Query<Which>) -> Result<Response, Error> {
    answer(app.pool, None, &which, "audit").await
}

/// Puts on record what somebody of the platform did on a cluster: a forced deletion, or a stop of deletions confirmed. The
/// same act told again changes nothing. The event's actor is whom the cluster's API server names; `toldBy` of its detail is
/// the operator.
#[utoipa::path(post, path = "/v1/audit", tag = "audit",
    request_body(content = PlatformAct, example = json!(examples::platform_act())),
    responses(
        (status = 200, description = "On record", body = AuditEvent, example = json!(examples::audit_event())),
        (status = 403, description = "Only for the operator", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn tell(
    State(app): State<App>,
    caller: Caller,
    Body(act): Body<PlatformAct>,
) -> Result<Json<AuditEvent>, Error> {
    Ok(Json(audit::tell(&app.pool, &act, &caller.subject).await?))
}

/// How long events are kept, and where the trail begins if some were removed: the same for everybody.
#[utoipa::path(get, path = "/v1/audit/retention", tag = "audit", responses(
    (status = 200, description = "What is so now", body = Retention, example = json!(examples::audit_retention())),
))]
pub async fn retention(State(app): State<App>) -> Result<Json<Retention>, Error> {
    Ok(Json(audit::retention(&app.pool).await?))
}

async fn answer(pool: PgPool, below: Option<i64>, which: &Which, name: &str) -> Result<Response, Error> {
    let size = PageQuery { page_size: which.page_size, page_token: None }.size()?;
    let after = which.after.unwrap_or(0);
    let format = which.format.unwrap_or_default();
    let (kind, extension) = match format {
        TrailFormat::Json => {
            let rows = audit::list(&pool, below, after, one_more(size)).await?;
            return Ok(Json(page(rows, size, |event| event.seq.to_string())).into_response());
        }
        TrailFormat::Lines => ("application/x-ndjson", "ndjson"),
        TrailFormat::Csv => (CSV, "csv"),
    };
    let begin = Cursor { pool, below, format, begun: false, after };
    Ok(attachment(kind, &format!("{name}.{extension}"), stream::body(begin, part)))
}

/// Where a file is.
struct Cursor {
    pool: PgPool,
    below: Option<i64>,
    format: TrailFormat,
    /// Whether what stands before the events was written.
    begun: bool,
    /// The last event that was written.
    after: i64,
}

async fn part(cursor: Cursor) -> Result<Option<(String, Cursor)>, Error> {
    if !cursor.begun {
        let anchor = audit::anchor(&mut *cursor.pool.acquire().await?).await?;
        let begin = begin(cursor.format, anchor.filter(|anchor| anchor.seq >= cursor.after).as_ref())?;
        let cursor = Cursor { begun: true, ..cursor };
        if !begin.is_empty() {
            return Ok(Some((begin, cursor)));
        }
        return Box::pin(part(cursor)).await;
    }
    let events = audit::list(&cursor.pool, cursor.below, cursor.after, PART).await?;
    let Some(last) = events.last().map(|event| event.seq) else { return Ok(None) };
    let text = events.iter().map(|event| line(event, cursor.format)).collect::<Result<String, Error>>()?;
    Ok(Some((text, Cursor { after: last, ..cursor })))
}

/// What stands before the events: the head of a table, and where the trail begins if events were removed.
fn begin(format: TrailFormat, anchor: Option<&Anchor>) -> Result<String, Error> {
    if format != TrailFormat::Csv {
        let line = anchor.map(|anchor| canonical_text(&AnchorLine { anchor: anchor.clone() }));
        return Ok(line.transpose()?.map(|line| line + "\n").unwrap_or_default());
    }
    let head = "seq,at,actor,action,tenant,object,detail,previousSha256,sha256\r\n".to_owned();
    let row = anchor.map(|anchor| format!("{},{},,removed,,,,,{}\r\n", anchor.seq, anchor.at, anchor.sha256));
    Ok(head + &row.unwrap_or_default())
}

fn canonical_text(value: &impl serde::Serialize) -> Result<String, Error> {
    let bytes = canonical::bytes(value).map_err(|cause| Error::Fault(cause.to_string()))?;
    String::from_utf8(bytes).map_err(|cause| Error::Fault(cause.to_string()))
}

fn line(event: &AuditEvent, format: TrailFormat) -> Result<String, Error> {
    if format != TrailFormat::Csv {
        return Ok(canonical_text(event)? + "\n");
    }
    let cells = [
        event.seq.to_string(),
        event.at.to_string(),
        cell(&event.actor),
        cell(&event.action),
        event.tenant.as_ref().map(ToString::to_string).unwrap_or_default(),
        cell(&event.object),
        cell(&canonical_text(&event.detail)?),
        event.previous_sha256.clone(),
        event.sha256.clone(),
    ];
    Ok(cells.join(",") + "\r\n")
}

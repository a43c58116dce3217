//! Approvals: what waits above a threshold, and who decides.

use super::{alerts::After, visible};
use crate::access::may_approve;
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{Body, Key, Keys, Query};
use crate::openapi::examples;
use crate::page::{PageQuery, one_more, page};
use crate::state::App;
use crate::store::approvals::{self, Verdict};
use crate::store::tenants;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use siyada_model::id::{OrderUid, TenantName};
use siyada_model::wire::{Approval, ApprovalDecision, ApprovalState, ApproveRequest, Page, Problem};
use utoipa::IntoParams;

/// Longest comment of a decision, in characters.
const LONGEST_COMMENT: usize = 500;

/// Which approvals are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only those that stand so.
    pub state: Option<ApprovalState>,
    /// Most rows to answer, 1 to 500; 100 when absent.
    pub page_size: Option<usize>,
    /// `nextPageToken` of the page before.
    pub page_token: Option<String>,
}

/// Why somebody rejects.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Reason {
    /// Words for the record, at most 500 characters.
    pub comment: Option<String>,
}

/// Orders of a tenant and below it that were asked for above a threshold, by order uid.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/approvals", tag = "approvals",
    params(("tenant" = TenantName, Path, description = "Name of the tenant"), Which),
    responses(
        (status = 200, description = "A page", body = Page<Approval>, example = json!({"items": [examples::approval()]})),
        (status = 404, description = "No such tenant, or not yours", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Key(name): Key<TenantName>,
    Query(which): Query<Which>,
) -> Result<Json<Page<Approval>>, Error> {
    let tenant = visible(&app, &caller, &name).await?;
    let query = PageQuery { page_size: which.page_size, page_token: which.page_token };
    let size = query.size()?;
    let rows = approvals::list(&app.pool, tenant.id, which.state, query.after(), one_more(size)).await?;
    Ok(Json(page(rows, size, |approval| approval.order_uid.to_string())))
}

/// Approves an order up to a monthly cost. The order is held when it is asked for again. Once more is no error.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/approvals/{uid}", tag = "approvals",
    params(
        ("tenant" = TenantName, Path, description = "Name of the tenant, or of one above it"),
        ("uid" = OrderUid, Path, description = "uid of the order"),
    ),
    request_body(content = ApproveRequest, example = json!(examples::approve_request())),
    responses(
        (status = 200, description = "On record", body = Approval, example = json!(examples::approval())),
        (status = 403, description = "You ordered it, or you are no approver of the tenant whose threshold it is", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such order waits, or not yours", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`conflict`: it asks more than would be approved", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn approve(
    State(app): State<App>,
    caller: Caller,
    Keys(name, uid): Keys<TenantName, OrderUid>,
    Body(request): Body<ApproveRequest>,
) -> Result<Json<Approval>, Error> {
    check_comment(request.comment.as_ref())?;
    decide(&app, &caller, &name, &uid, Verdict::Approve(&request)).await.map(Json)
}

/// Rejects an order that waits, or withdraws its approval: what is held stays held and may not grow. Once more is no
/// error.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/approvals/{uid}", tag = "approvals",
    params(
        ("tenant" = TenantName, Path, description = "Name of the tenant, or of one above it"),
        ("uid" = OrderUid, Path, description = "uid of the order"),
        Reason,
    ),
    responses(
        (status = 200, description = "On record", body = Approval),
        (status = 403, description = "You ordered it, or you are no approver of the tenant whose threshold it is", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such order waits, or not yours", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn reject(
    State(app): State<App>,
    caller: Caller,
    Keys(name, uid): Keys<TenantName, OrderUid>,
    Query(reason): Query<Reason>,
) -> Result<Json<Approval>, Error> {
    check_comment(reason.comment.as_ref())?;
    decide(&app, &caller, &name, &uid, Verdict::Reject(reason.comment.as_deref())).await.map(Json)
}

fn check_comment(comment: Option<&String>) -> Result<(), Error> {
    if comment.is_some_and(|comment| comment.chars().count() > LONGEST_COMMENT) {
        return Err(Error::invalid(format!("a comment has at most {LONGEST_COMMENT} characters")));
    }
    Ok(())
}

async fn decide(
    app: &App,
    caller: &Caller,
    name: &TenantName,
    uid: &OrderUid,
    verdict: Verdict<'_>,
) -> Result<Approval, Error> {
    let tenant = visible(app, caller, name).await?;
    let mut tx = app.pool.begin().await?;
    let waiting = approvals::lock(&mut tx, &tenant, uid).await?;
    let threshold_of = &waiting.needed().tenant;
    let owner = tenants::find(&app.pool, threshold_of).await?.ok_or_else(Error::not_found)?;
    let chain = tenants::chain(&mut tx, &owner.path).await?;
    let access: Vec<_> = chain.into_iter().map(|link| link.access).collect();
    may_approve(caller, &access, waiting.requester())?;
    let approval = approvals::decide(&mut tx, waiting, &caller.subject, verdict).await?;
    tx.commit().await?;
    Ok(approval)
}

/// Every decision in the order in which it was taken: what the operator asks, to look at these orders again.
#[utoipa::path(get, path = "/v1/approvals", tag = "approvals", params(After),
    responses(
        (status = 200, description = "A page; its token is the last id", body = Page<ApprovalDecision>, example = json!({"items": [examples::decision()]})),
        (status = 403, description = "Only for the platform", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn decisions(
    State(app): State<App>,
    Query(after): Query<After>,
) -> Result<Json<Page<ApprovalDecision>>, Error> {
    let (after, size) = after.bounds()?;
    let rows = approvals::after(&app.pool, after, one_more(size)).await?;
    Ok(Json(page(rows, size, |decision| decision.id.to_string())))
}

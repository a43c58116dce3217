//! Documents: listed, read as they were signed, and taken back.

use super::visible;
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{Body, Key, Keys, Query};
use crate::openapi::examples;
use crate::page::{PageQuery, one_more, page};
use crate::state::App;
use crate::store::statements;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use siyada_model::id::TenantName;
use siyada_model::party::plain;
use siyada_model::statement::Statement;
use siyada_model::wire::{ChainLink, CreditRequest, Page, Problem, StatementEntry};
use utoipa::ToSchema;

/// Longest key of a credit note.
const LONGEST_KEY: usize = 64;

/// The place after which a page of documents begins.
fn after(query: &PageQuery) -> Result<i64, Error> {
    match query.after() {
        "" => Ok(0),
        token => token.parse().map_err(|_| Error::invalid("pageToken is not one of this list")),
    }
}

/// The statements and credit notes of a tenant and everything below it, the first first.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/statements", tag = "finance",
    params(("tenant" = TenantName, Path, description = "Name of the tenant"), PageQuery),
    responses(
        (status = 200, description = "A page", body = Page<StatementEntry>, example = json!({"items": [examples::statement_entry()]})),
        (status = 404, description = "No such tenant, or not yours", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Key(name): Key<TenantName>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<StatementEntry>>, Error> {
    let tenant = visible(&app, &caller, &name).await?;
    let size = query.size()?;
    let rows = statements::list(&app.pool, tenant.id, after(&query)?, one_more(size)).await?;
    Ok(Json(page(rows, size, |row| row.position.to_string())))
}

/// A document: exactly the bytes that were hashed and signed.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/statements/{number}", tag = "finance",
    params(
        ("tenant" = TenantName, Path, description = "Name of the tenant"),
        ("number" = String, Path, description = "Number of the document"),
    ),
    responses(
        (status = 200, description = "The document", body = Statement),
        (status = 404, description = "No such document, or not yours", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn get(
    State(app): State<App>,
    caller: Caller,
    Keys(name, number): Keys<TenantName, String>,
) -> Result<Response, Error> {
    let tenant = visible(&app, &caller, &name).await?;
    let text = statements::text(&app.pool, tenant.id, &number).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// Takes back a statement, or a part of it, by a credit note. The same key once more answers the same note.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/statements/{number}/credit-notes", tag = "finance",
    params(
        ("tenant" = TenantName, Path, description = "Name of the tenant"),
        ("number" = String, Path, description = "Number of the statement"),
    ),
    request_body(content = CreditRequest, example = json!(examples::credit())),
    responses(
        (status = 200, description = "The credit note", body = Statement),
        (status = 403, description = "Only for national finance", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such statement", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`conflict`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn take_back(
    State(app): State<App>,
    caller: Caller,
    Keys(name, number): Keys<TenantName, String>,
    Body(request): Body<CreditRequest>,
) -> Result<Response, Error> {
    let tenant = visible(&app, &caller, &name).await?;
    if request.key.is_empty() || request.key.len() > LONGEST_KEY {
        return Err(Error::invalid(format!("a key has 1 to {LONGEST_KEY} characters")));
    }
    plain("reason", &request.reason).map_err(|cause| Error::invalid(cause.to_string()))?;
    let signer = app.signer.as_deref();
    let by = caller.subject.as_str();
    let text = statements::take_back(&app.pool, tenant.id, &number, &request, by, signer).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// The chain of all documents: numbers and hashes, nothing else. With it everybody can prove that his documents are in
/// it, and that none was changed, removed or slipped in.
#[utoipa::path(get, path = "/v1/chain", tag = "finance", params(PageQuery), responses(
    (status = 200, description = "A page", body = Page<ChainLink>, example = json!({"items": [examples::chain_link()]})),
))]
pub async fn chain(
    State(app): State<App>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<ChainLink>>, Error> {
    let size = query.size()?;
    let rows = statements::chain(&app.pool, after(&query)?, one_more(size)).await?;
    Ok(Json(page(rows, size, |row| row.position.to_string())))
}

/// The key that signs documents now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SigningKey {
    /// Its id, as documents name it.
    pub key_id: String,
    /// `Ed25519`.
    pub algorithm: &'static str,
    /// The public key: 32 bytes in base64.
    pub public_key: String,
}

/// The key that signs documents now.
#[utoipa::path(get, path = "/v1/signing-key", tag = "finance", responses(
    (status = 200, description = "The public key", body = SigningKey),
    (status = 404, description = "Documents are not signed here", body = Problem, content_type = "application/problem+json"),
))]
pub async fn signing_key(State(app): State<App>) -> Result<Json<SigningKey>, Error> {
    let signer = app.signer.as_deref().ok_or_else(Error::not_found)?;
    let public_key = STANDARD.encode(signer.public_key());
    Ok(Json(SigningKey { key_id: signer.id().to_owned(), algorithm: "Ed25519", public_key }))
}

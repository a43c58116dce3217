//! Documents: listed, read as they were signed, and taken back.

use super::visible;
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{Body, Key, Keys, Query};
use crate::file::{CSV, attachment};
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
use serde::{Deserialize, Serialize};
use siyada_documents::{DocumentError, FocusVersion, Language};
use siyada_model::id::TenantName;
use siyada_model::party::plain;
use siyada_model::statement::Statement;
use siyada_model::wire::{ChainLink, CreditRequest, Page, Problem, StatementEntry};
use utoipa::{IntoParams, ToSchema};

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

/// How a document is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum FileFormat {
    /// Exactly the bytes that were hashed and signed.
    #[default]
    Json,
    /// For people: PDF/UA, in a language.
    Pdf,
    /// A workbook, in a language.
    Xlsx,
    /// CSV (RFC 4180), one row for each part of a line.
    Csv,
    /// CSV, one row for each instance: for how long it was available.
    Availability,
    /// Cost and Usage of FOCUS 1.2.
    #[serde(rename = "focus-1.2")]
    Focus12,
    /// Cost and Usage of FOCUS 1.4.
    #[serde(rename = "focus-1.4")]
    Focus14,
}

impl FileFormat {
    /// The type of the content, and how a file ends.
    fn media(self) -> (&'static str, &'static str) {
        match self {
            Self::Json => ("application/json", "json"),
            Self::Pdf => ("application/pdf", "pdf"),
            Self::Xlsx => ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
            Self::Csv => (CSV, "csv"),
            Self::Availability => (CSV, "availability.csv"),
            Self::Focus12 | Self::Focus14 => (CSV, "focus.csv"),
        }
    }

    fn write(self, text: &str, language: Language) -> Result<Vec<u8>, Error> {
        let fault = |cause: String| Error::Fault(format!("failed to read a document: {cause}"));
        let document: Statement = serde_json::from_str(text).map_err(|cause| fault(cause.to_string()))?;
        let one = std::slice::from_ref(&document);
        let written = match self {
            Self::Json => return Ok(text.as_bytes().to_vec()),
            Self::Pdf => siyada_documents::pdf(&document, language),
            Self::Xlsx => siyada_documents::xlsx(&document, language),
            Self::Csv => siyada_documents::csv(&document).map(String::into_bytes),
            Self::Availability => {
                let period = (document.period.start, document.period.end);
                let text = siyada_documents::availability_csv(period, &document.availability);
                return Ok(text.into_bytes());
            }
            Self::Focus12 => siyada_documents::focus(one, FocusVersion::V1_2).map(String::into_bytes),
            Self::Focus14 => siyada_documents::focus(one, FocusVersion::V1_4).map(String::into_bytes),
        };
        written.map_err(|cause| match cause {
            DocumentError::Digits(_) => Error::invalid(cause.to_string()),
            _ => Error::Fault(format!("failed to write {}: {cause}", document.number)),
        })
    }
}

/// How a document is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct File {
    /// `json`, `pdf`, `xlsx`, `csv`, `availability`, `focus-1.2` or `focus-1.4`.
    #[param(inline)]
    pub format: Option<FileFormat>,
    /// `fr`, `ar` or `en`, for PDF and XLSX; French when absent.
    pub language: Option<String>,
}

/// The language of a document for people, French when none is asked.
///
/// # Errors
/// `invalid` for one that documents are not written in.
pub fn language(asked: Option<&str>) -> Result<Language, Error> {
    let asked = asked.unwrap_or("fr");
    let known = Language::ALL.into_iter().find(|language| language.tag() == asked);
    known.ok_or_else(|| Error::invalid(format!("language {asked:?} is not one of fr, ar and en")))
}

/// A document: exactly the bytes that were hashed and signed, or a file that says the same.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/statements/{number}", tag = "finance",
    params(
        ("tenant" = TenantName, Path, description = "Name of the tenant"),
        ("number" = String, Path, description = "Number of the document"),
        File,
    ),
    responses(
        (status = 200, description = "The document", content(
            (Statement = "application/json"),
            (Vec<u8> = "application/pdf"),
            (Vec<u8> = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
            (String = "text/csv"),
        )),
        (status = 422, description = "`invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such document, or not yours", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn get(
    State(app): State<App>,
    caller: Caller,
    Keys(name, number): Keys<TenantName, String>,
    Query(file): Query<File>,
) -> Result<Response, Error> {
    let tenant = visible(&app, &caller, &name).await?;
    let (format, language) = (file.format.unwrap_or_default(), language(file.language.as_deref())?);
    let text = statements::text(&app.pool, tenant.id, &number).await?;
    // A long document takes a tenth of a second, which is not for the threads that answer.
    let written = tokio::task::spawn_blocking(move || format.write(&text, language)).await;
    let written = written.map_err(|cause| Error::Fault(format!("failed to write {number}: {cause}")))??;
    let (media, ending) = format.media();
    Ok(attachment(media, &format!("{number}.{ending}"), written))
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

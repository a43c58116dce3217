//! Answers that are files.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};

/// The media type of CSV (RFC 4180).
pub const CSV: &str = "text/csv; charset=utf-8";

/// An answer that is kept under `name`, which has no quotes.
pub fn attachment(media: &'static str, name: &str, body: impl Into<Body>) -> Response {
    let disposition = format!("attachment; filename=\"{name}\"");
    let headers = [(header::CONTENT_TYPE, media.to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    (headers, body.into()).into_response()
}

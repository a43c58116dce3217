//! Extractors whose refusals are problems, like every other refusal.

use crate::error::Error;
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use siyada_model::wire::code;
use std::str::FromStr;

/// A JSON body.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Error;
    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(JsonRejection::BytesRejection(cause)) if cause.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Error::refuse(code::TOO_LARGE, "the body is too large; send it in smaller parts"))
            }
            Err(cause) => Err(Error::invalid(cause.body_text())),
        }
    }
}

/// The query string.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(cause) => Err(Error::invalid(cause.body_text())),
        }
    }
}

/// The two parameters of the path. What cannot be the name of anything is not found.
pub struct Keys<A, B>(pub A, pub B);

impl<A: FromStr, B: FromStr, S: Send + Sync> FromRequestParts<S> for Keys<A, B> {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let texts = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Ok(Path((first, second))) = texts else { return Err(Error::not_found()) };
        match (first.parse(), second.parse()) {
            (Ok(first), Ok(second)) => Ok(Self(first, second)),
            _ => Err(Error::not_found()),
        }
    }
}

/// The one parameter of the path. What cannot be the name of anything is not found.
pub struct Key<T>(pub T);

impl<T: FromStr, S: Send + Sync> FromRequestParts<S> for Key<T> {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let Ok(Path(text)) = Path::<String>::from_request_parts(parts, state).await else {
            return Err(Error::not_found());
        };
        text.parse().map(Self).map_err(|_| Error::not_found())
    }
}

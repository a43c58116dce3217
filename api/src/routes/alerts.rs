//! Alerts, for the operator to make Events from.

use crate::error::Error;
use crate::extract::Query;
use crate::openapi::examples;
use crate::page::{PageQuery, one_more};
use crate::state::App;
use crate::store;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use siyada_model::wire::{Alert, Page, Problem};
use utoipa::IntoParams;

/// From where on a stream is read.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct After {
    /// Only rows with a greater id; all when absent.
    pub after: Option<i64>,
    /// Most rows to answer, 1 to 500; 100 when absent.
    pub page_size: Option<usize>,
}

impl After {
    /// The id after which to read, and most rows.
    ///
    /// # Errors
    /// Invalid when the size is not one.
    pub fn bounds(&self) -> Result<(i64, usize), Error> {
        let size = PageQuery { page_size: self.page_size, page_token: None }.size()?;
        Ok((self.after.unwrap_or(0), size))
    }
}

/// Alerts in the order in which they were written. Keep the last id: nothing with a lower one appears later.
#[utoipa::path(get, path = "/v1/alerts", tag = "alerts", params(After),
    responses(
        (status = 200, description = "A page; its token is the last id", body = Page<Alert>, example = json!({"items": [examples::alert()]})),
        (status = 403, description = "Only for the platform", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn list(State(app): State<App>, Query(after): Query<After>) -> Result<Json<Page<Alert>>, Error> {
    let (after, size) = after.bounds()?;
    let rows = store::alerts::after(&app.pool, after, one_more(size)).await?;
    Ok(Json(crate::page::page(rows, size, |alert| alert.id.to_string())))
}

//! What is measured.

use crate::error::Error;
use crate::extract::Query;
use crate::openapi::examples;
use crate::page::{PageQuery, one_more, page};
use crate::state::App;
use crate::store;
use axum::Json;
use axum::extract::State;
use siyada_model::wire::{MeterRecord, Page};

/// Every meter: what it counts, in which unit, and how it is called.
#[utoipa::path(get, path = "/v1/meters", tag = "usage",
    params(PageQuery),
    responses(
        (status = 200, description = "A page, by name", body = Page<MeterRecord>, example = json!({"items": [examples::meter()]})),
    ))]
pub async fn list(
    State(app): State<App>,
    Query(which): Query<PageQuery>,
) -> Result<Json<Page<MeterRecord>>, Error> {
    let size = which.size()?;
    let rows = store::meters::list(&app.pool, which.after(), one_more(size)).await?;
    Ok(Json(page(rows, size, |row| row.name.to_string())))
}

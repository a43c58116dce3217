//! For national finance: the lines of all tenants in one stream, and the settlement between administrations.

use super::budget::snapshot;
use super::statements::language;
use crate::error::Error;
use crate::extract::Query;
use crate::file::{CSV, attachment};
use crate::openapi::examples;
use crate::state::App;
use crate::store::national::{self, Share, Source, months_of};
use crate::store::periods;
use crate::stream;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use siyada_documents::{annex_pdf, cell, line_cells, part_cells, parts};
use siyada_model::money::Currency;
use siyada_model::national::{ExportEnd, ExportRecord, ExportRow, Movement, Proof, SettlementAnnex};
use siyada_model::period::Month;
use siyada_model::statement::StatementLine;
use siyada_model::wire::{Problem, code};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::{IntoParams, ToSchema};

/// How an export is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ExportFormat {
    /// CSV (RFC 4180).
    #[default]
    Csv,
    /// One JSON object on each line.
    Ndjson,
}

/// Which month, and how it is written.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// The month, like `2026-10`.
    #[param(value_type = String)]
    pub period: Month,
    /// `csv` or `ndjson`.
    #[param(inline)]
    pub format: Option<ExportFormat>,
}

/// Every part of every line of a month, of all tenants: of a closed month exactly the lines and corrections of its
/// statements, of an open one what was used so far. Streamed; the last record says how many rows came before it, their
/// sum and the SHA-256 of every byte before it, and a file without it is not whole. Credit notes are not in it.
#[utoipa::path(get, path = "/v1/usage/export", tag = "finance", params(Which),
    responses(
        (status = 200, description = "The file", content(
            (String = "text/csv"),
            (ExportEnd = "application/x-ndjson", example = json!(examples::export_end())),
        )),
        (status = 403, description = "Only for national finance and auditors of the nation", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`issuer-unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`: no such month", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many exports at once; try again", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn export(State(app): State<App>, Query(which): Query<Which>) -> Result<Response, Error> {
    let turn = app.exports.try_acquire_owned();
    let turn = turn.map_err(|_| Error::unavailable("other exports are being read; try again in a minute"))?;
    let format = which.format.unwrap_or_default();
    let (source, currency) = Source::begin(app.pool, which.period).await?;
    let writer = Writer { month: which.period, format, currency, proof: Proof::default(), _turn: turn };
    let (kind, ending) = match format {
        ExportFormat::Csv => (CSV, "csv"),
        ExportFormat::Ndjson => ("application/x-ndjson", "ndjson"),
    };
    let name = format!("usage-{}.{ending}", which.period);
    Ok(attachment(kind, &name, stream::body(Cursor { writer, at: At::Head(source) }, part)))
}

struct Cursor {
    writer: Writer,
    at: At,
}

enum At {
    Head(Source),
    Lines(Source),
    Done,
}

/// The part of the export at the cursor, and where the next one is.
async fn part(cursor: Cursor) -> Result<Option<(String, Cursor)>, Error> {
    let Cursor { mut writer, at } = cursor;
    let mut source = match at {
        At::Done => return Ok(None),
        At::Head(source) if writer.format == ExportFormat::Csv => {
            let text = writer.hashed(HEADER.to_owned());
            return Ok(Some((text, Cursor { writer, at: At::Lines(source) })));
        }
        At::Head(source) | At::Lines(source) => source,
    };
    loop {
        let Some((shares, rest)) = source.next().await? else {
            return Ok(Some((writer.end()?, Cursor { writer, at: At::Done })));
        };
        source = rest;
        let mut text = String::new();
        for share in &shares {
            writer.share(&mut text, share)?;
        }
        if !text.is_empty() {
            return Ok(Some((writer.hashed(text), Cursor { writer, at: At::Lines(source) })));
        }
    }
}

/// Writes rows and proves them.
struct Writer {
    month: Month,
    format: ExportFormat,
    currency: Currency,
    proof: Proof,
    _turn: OwnedSemaphorePermit,
}

const HEADER: &str = "record,period,statement,payer,month,tenant,namespace,name,orderUid,service,meter,sku,priceList,unit,\
    unitPrice,start,end,quantityMs,lineAmount,taxBasisPoints,costCentre,budgetLine,reference,millionths,amount,currency,\
    rows,sha256\r\n";

impl Writer {
    fn hashed(&mut self, text: String) -> String {
        self.proof.written(&text);
        text
    }

    fn share(&mut self, text: &mut String, share: &Share) -> Result<(), Error> {
        for line in &share.lines {
            self.line(text, share, ExportRecord::Line, line)?;
        }
        for line in &share.corrections {
            self.line(text, share, ExportRecord::Correction, line)?;
        }
        Ok(())
    }

    fn line(
        &mut self,
        text: &mut String,
        share: &Share,
        record: ExportRecord,
        line: &StatementLine,
    ) -> Result<(), Error> {
        for part in &parts(line) {
            let (statement, payer, currency) = (share.statement.as_deref(), &share.payer, share.currency);
            let row = ExportRow { record, statement, payer, line, part, currency };
            match self.format {
                ExportFormat::Csv => text.push_str(&csv_row(self.month, &row)),
                ExportFormat::Ndjson => text.push_str(&json_line(&row)?),
            }
            self.proof.count(part.minor);
        }
        Ok(())
    }

    fn end(&self) -> Result<String, Error> {
        let end = self.proof.end(self.currency);
        match self.format {
            ExportFormat::Ndjson => json_line(&end),
            ExportFormat::Csv => Ok(csv_end(self.month, &end)),
        }
    }
}

fn json_line(value: &impl serde::Serialize) -> Result<String, Error> {
    let text = serde_json::to_string(value);
    Ok(text.map_err(|cause| Error::Fault(format!("failed to write a row: {cause}")))? + "\n")
}

fn csv_row(period: Month, row: &ExportRow<'_>) -> String {
    let head = [
        row.record.as_str().to_owned(),
        period.to_string(),
        row.statement.map(cell).unwrap_or_default(),
        row.payer.to_string(),
    ];
    let rest = part_cells(row.line, row.part, row.currency);
    // The last two columns are of the last row.
    let last = [String::new(), String::new()];
    let cells: Vec<String> = head.into_iter().chain(line_cells(row.line)).chain(rest).chain(last).collect();
    cells.join(",") + "\r\n"
}

/// The last row: the sum in minor units under `lineAmount`, so that the column `amount` still adds up without it.
fn csv_end(period: Month, end: &ExportEnd) -> String {
    let ExportEnd { record, rows, minor, currency, sha256 } = end;
    let (before, between) = (",".repeat(17), ",".repeat(7));
    format!("{record},{period}{before}{minor}{between}{currency},{rows},{sha256}\r\n")
}

/// How a settlement annex is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct Settled {
    /// One closed month, like `2026-10`.
    #[param(value_type = Option<String>)]
    pub period: Option<Month>,
    /// Or what is closed of a fiscal year: the year in which it begins.
    pub fiscal_year: Option<i16>,
    /// `json`, `csv` or `pdf`.
    #[param(inline)]
    pub format: Option<AnnexFormat>,
    /// `fr`, `ar` or `en`, for PDF; French when absent.
    pub language: Option<String>,
}

/// How a settlement annex is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum AnnexFormat {
    /// JSON.
    #[default]
    Json,
    /// CSV (RFC 4180), one row for each movement.
    Csv,
    /// For people: PDF/UA, in a language.
    Pdf,
}

/// Most movements of an annex as PDF: some 150 pages.
const MOST_PRINTED: usize = 5_000;

/// The annex of a settlement between administrations: from which line of whose budget to which, how much, and on what
/// legal basis. From closed statements and credit notes alone; its sum is that of the ledger, or there is no annex.
#[utoipa::path(get, path = "/v1/settlement-annex", tag = "finance", params(Settled),
    responses(
        (status = 200, description = "The annex, or a file", content(
            (SettlementAnnex = "application/json", example = json!(examples::annex())),
            (String = "text/csv"),
            (Vec<u8> = "application/pdf"),
        )),
        (status = 403, description = "Only for national finance and auditors of the nation", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`too-large`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`: a month that is not closed", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn annex(State(app): State<App>, Query(asked): Query<Settled>) -> Result<Response, Error> {
    let months = match (asked.period, asked.fiscal_year) {
        (Some(month), None) => {
            let state = periods::find(&mut *app.pool.acquire().await?, month).await?;
            if state.is_none_or(|state| state.closed_at.is_none()) {
                let detail =
                    format!("{month} is not closed; GET /v1/periods/{month}/closing says what blocks it");
                return Err(Error::invalid(detail));
            }
            (month, month)
        }
        (None, Some(year)) => {
            let (tx, year) = snapshot(&app, Some(year)).await?;
            drop(tx);
            months_of(year)?
        }
        _ => return Err(Error::invalid("give either period or fiscalYear")),
    };
    let language = language(asked.language.as_deref())?;
    let annex = national::annex(&app.pool, months).await?;
    let name = |ending| format!("settlement-{}-{}.{ending}", annex.from, annex.to);
    match asked.format.unwrap_or_default() {
        AnnexFormat::Json => Ok(Json(annex).into_response()),
        AnnexFormat::Csv => Ok(attachment(CSV, &name("csv"), annex_csv(&annex))),
        AnnexFormat::Pdf => {
            let count = annex.movements.len();
            if count > MOST_PRINTED {
                let detail = format!(
                    "a PDF shows at most {MOST_PRINTED} movements, and these are {count}; take the CSV"
                );
                return Err(Error::refuse(code::TOO_LARGE, detail));
            }
            let name = name("pdf");
            // A long document takes a tenth of a second, which is not for the threads that answer.
            let written = tokio::task::spawn_blocking(move || annex_pdf(&annex, language)).await;
            let fault = |cause: String| Error::Fault(format!("failed to write an annex: {cause}"));
            let written = written.map_err(|cause| fault(cause.to_string()))?;
            Ok(attachment("application/pdf", &name, written.map_err(|cause| fault(cause.to_string()))?))
        }
    }
}

fn annex_csv(annex: &SettlementAnnex) -> String {
    let mut text = String::from(
        "month,number,kind,tenant,account,fromNameFr,fromNameAr,fromIce,fromBudgetLine,costCentre,reference,toNameFr,\
         toNameAr,toIce,toBudgetLine,net,tax,gross,currency,legalBasis,taxLegalBasis,reason\r\n",
    );
    for movement in &annex.movements {
        text.push_str(&annex_row(movement));
    }
    text
}

fn annex_row(movement: &Movement) -> String {
    let word = |text: &Option<String>| cell(text.as_deref().unwrap_or_default());
    let Movement { from, to, .. } = movement;
    let cells = [
        movement.month.to_string(),
        cell(&movement.number),
        movement.kind.as_str().to_owned(),
        movement.tenant.to_string(),
        cell(&movement.account),
        word(&from.party.display_name.fr),
        word(&from.party.display_name.ar),
        word(&from.party.ice),
        word(&from.budget_line),
        word(&movement.cost_centre),
        word(&movement.reference),
        word(&to.party.display_name.fr),
        word(&to.party.display_name.ar),
        word(&to.party.ice),
        word(&to.budget_line),
        movement.net.decimal(),
        movement.tax.decimal(),
        movement.gross.decimal(),
        movement.gross.currency.to_string(),
        cell(&movement.legal_basis.join("; ")),
        cell(&movement.tax_legal_basis),
        word(&movement.reason),
    ];
    cells.join(",") + "\r\n"
}

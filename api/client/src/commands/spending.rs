//! Budget lines, where an order is booked, and the stages of expenditure.

use super::{of, own_file, record};
use crate::arguments::Reject;
use crate::arguments::spending::{Booked, BudgetTask, Spending};
use crate::error::Error;
use crate::server::Server;
use crate::table::{self, Output};
use crate::views::spending::BudgetLineHistory;
use reqwest::Method;
use siyada_model::allocation::{Allocation, Shares};
use siyada_model::budget::{BudgetLine, BudgetLineRecord, BudgetLineVersion, LineName};
use siyada_model::id::TenantName;
use siyada_model::settlement::{BookedStages, Stage, StageRecord, StageRequest};
use siyada_model::wire::{AllocationRequest, Page};

/// Does what the command says.
pub async fn run(server: &Server, output: Output, command: Spending) -> Result<(), Error> {
    match command {
        Spending::Stages { tenant, number, history } => {
            stages(server, output, (&tenant, &number), history).await
        }
        Spending::Certify(booked) => put_stage(server, output, &booked, Stage::Certified).await,
        Spending::Order(booked) => put_stage(server, output, &booked, Stage::Ordered).await,
        Spending::Pay { booked, date } => {
            let request = booked.request(Stage::Paid, Some(date), None);
            put(server, output, (&booked.tenant, &booked.number), &request).await
        }
        Spending::Budget { task: Some(BudgetTask::Put { tenant, line, file }), .. } => {
            let record: BudgetLineRecord = record(&file, "the credits of a budget line")?;
            record.check().map_err(|cause| Error::Wrong(cause.to_string()))?;
            let path = ["tenants", tenant.as_str(), "budget-lines", line.as_str()];
            let version: BudgetLineVersion = server.send(Method::PUT, &path, &[], Some(&record)).await?;
            table::single(output, version)
        }
        Spending::Budget { task: None, tenant, line, fiscal_year } => {
            let tenant = tenant.ok_or_else(|| Error::Wrong("give the name of the tenant".to_owned()))?;
            let year = fiscal_year.map(|year| year.to_string());
            budget(server, output, (&tenant, line.as_ref()), year).await
        }
        Spending::Allocate { tenant, order, shares, at } => {
            let shares = Shares::try_from(shares).map_err(|cause| Error::Wrong(cause.to_string()))?;
            let path = ["tenants", tenant.as_str(), "orders", order.as_str(), "allocation"];
            let request = AllocationRequest { at, shares };
            let booked: Allocation = server.send(Method::PUT, &path, &[], Some(&request)).await?;
            if output == Output::Json {
                return table::json(&booked);
            }
            table::list(output, booked.shares.as_slice())?;
            table::note(output, &format!("From {} on", booked.at))
        }
    }
}

async fn stages(
    server: &Server,
    output: Output,
    (tenant, number): (&TenantName, &str),
    history: bool,
) -> Result<(), Error> {
    let path = ["tenants", tenant.as_str(), "statements", number, "stages"];
    let parts: Vec<BookedStages> = server.all(&path, &[]).await?;
    if !history {
        return table::list(output, &parts);
    }
    table::list::<StageRecord>(output, &parts.into_iter().flat_map(|part| part.history).collect::<Vec<_>>())
}

async fn put_stage(server: &Server, output: Output, booked: &Booked, stage: Stage) -> Result<(), Error> {
    let request = booked.request(stage, None, None);
    put(server, output, (&booked.tenant, &booked.number), &request).await
}

/// Rejects what a statement books.
pub async fn reject(server: &Server, output: Output, reject: Reject) -> Result<(), Error> {
    let Reject { tenant, what, reason, budget_line, reference, .. } = reject;
    let request = StageRequest { stage: Stage::Rejected, budget_line, date: None, reference, reason };
    put(server, output, (&tenant, &what), &request).await
}

async fn put(
    server: &Server,
    output: Output,
    (tenant, number): (&TenantName, &str),
    request: &StageRequest,
) -> Result<(), Error> {
    request.check().map_err(|cause| Error::Wrong(cause.to_string()))?;
    let path = ["tenants", tenant.as_str(), "statements", number, "stages"];
    let all: Page<BookedStages> = server.send(Method::POST, &path, &[], Some(request)).await?;
    table::list(output, &all.items)
}

async fn budget(
    server: &Server,
    output: Output,
    (tenant, line): (&TenantName, Option<&LineName>),
    year: Option<String>,
) -> Result<(), Error> {
    let query = [("fiscalYear", year)];
    let Some(line) = line else {
        let path = of(tenant, "budget-lines");
        if output == Output::Csv {
            return own_file(server, &path, &query).await;
        }
        return table::list::<BudgetLine>(output, &server.all(&path, &query).await?);
    };
    let path = ["tenants", tenant.as_str(), "budget-lines", line.as_str()];
    let known: BudgetLineHistory = server.get(&path, &query).await?;
    match output {
        Output::Json => table::json(&known),
        Output::Csv => table::list(output, &known.versions),
        Output::Table => {
            table::list(output, std::slice::from_ref(&known.line))?;
            table::print("\n")?;
            table::list(output, &known.versions)
        }
    }
}

//! What is about all tenants, and what the ledger does by itself.

use super::{listed, own_file, record};
use crate::arguments::national::{CostTask, National, SettingsTask, Settlement};
use crate::arguments::{Grouped, word};
use crate::download;
use crate::error::Error;
use crate::server::Server;
use crate::table::{self, Output};
use crate::views::national::{self as views, FoundExample};
use crate::whole::Whole;
use reqwest::Method;
use siyada_model::coverage::{CostCoverage, CostRecord, CostVersion};
use siyada_model::health::MeteringHealth;
use siyada_model::id::TenantName;
use siyada_model::national::SettlementAnnex;
use siyada_model::schedule::Settings;
use siyada_model::statement::breakdown::GroupedUsage;

/// Does what the command says.
pub async fn run(server: &Server, output: Output, command: National) -> Result<(), Error> {
    match command {
        National::Export { month, format, save } => {
            let query = [("period", Some(month.to_string())), ("format", word(&format))];
            let asked = (&["usage", "export"][..], &query[..]);
            download::save_whole(server, output, asked, &save, Whole::new(format)).await
        }
        National::Settlement(asked) => settlement(server, output, &asked).await,
        National::Costs { task: None, fiscal_year } => {
            let year = [("fiscalYear", fiscal_year.map(|year| year.to_string()))];
            listed::<CostVersion>(server, output, &["costs"], &year).await
        }
        National::Costs { task: Some(CostTask::Put { fiscal_year, category, file }), .. } => {
            let record: CostRecord = record(&file, "a cost")?;
            record.check().map_err(|cause| Error::Wrong(cause.to_string()))?;
            let year = fiscal_year.to_string();
            let path = ["costs", &year, category.as_str()];
            let version: CostVersion = server.send(Method::PUT, &path, &[], Some(&record)).await?;
            table::single(output, version)
        }
        National::Coverage { fiscal_year } => {
            let year = [("fiscalYear", fiscal_year.map(|year| year.to_string()))];
            let found: CostCoverage = server.get(&["cost-coverage"], &year).await?;
            coverage(output, &found)
        }
        National::Health => health(server, output).await,
        National::Settings { task } => settings(server, output, task).await,
    }
}

/// A month of a tenant, grouped.
pub async fn usage(
    server: &Server,
    output: Output,
    tenant: &TenantName,
    asked: &Grouped,
) -> Result<(), Error> {
    let path = ["tenants", tenant.as_str(), "usage", "grouped"];
    let query = asked.query();
    if asked.save.file.is_some() {
        let query = [&query[..], &[("format", Some("csv".to_owned()))]].concat();
        return download::save(server, output, (&path, &query), &asked.save).await;
    }
    if output == Output::Csv {
        return own_file(server, &path, &query).await;
    }
    let found: GroupedUsage = server.get(&path, &query).await?;
    if output == Output::Json {
        return table::json(&found);
    }
    let (heads, rows) = views::grouped(&found);
    table::print(&table::aligned(&heads, &rows))?;
    let state = if found.closed { "closed" } else { "open" };
    let month = found.period.month;
    table::print(&format!("{month} is {state}: {} until {}, without tax\n", found.total, found.until))?;
    match found.forecast {
        Some(forecast) => table::print(&format!("{forecast} by its end if nothing changes\n")),
        None => Ok(()),
    }
}

async fn settlement(server: &Server, output: Output, asked: &Settlement) -> Result<(), Error> {
    let path = ["settlement-annex"];
    let months = [
        ("period", asked.period.map(|month| month.to_string())),
        ("fiscalYear", asked.fiscal_year.map(|year| year.to_string())),
    ];
    if let Some(format) = asked.format {
        let form = [("format", word(&format)), ("language", asked.language.as_ref().and_then(word))];
        let query = [&months[..], &form].concat();
        return download::save(server, output, (&path, &query), &asked.save).await;
    }
    if asked.save.file.is_some() {
        return Err(Error::Wrong("a file needs --format, for example --format csv".to_owned()));
    }
    if output == Output::Csv {
        return own_file(server, &path, &months).await;
    }
    let annex: SettlementAnnex = server.get(&path, &months).await?;
    if output == Output::Json {
        return table::json(&annex);
    }
    table::list(output, &annex.movements)?;
    let SettlementAnnex { net, tax, gross, .. } = annex;
    table::print(&format!("Total {gross}: {net} and {tax} of tax; the ledger says the same\n"))
}

fn coverage(output: Output, found: &CostCoverage) -> Result<(), Error> {
    table::one(output, found, views::coverage(found))?;
    if output == Output::Table && !found.categories.is_empty() {
        table::print("\n")?;
        table::list(output, &found.categories)?;
    }
    Ok(())
}

/// Shows every check. What one of them found is an error, once it is shown.
async fn health(server: &Server, output: Output) -> Result<(), Error> {
    let page: MeteringHealth = server.get(&["health", "metering"], &[]).await?;
    match output {
        Output::Json => table::json(&page)?,
        Output::Csv => table::list(output, &page.checks)?,
        Output::Table => {
            table::list(output, &page.checks)?;
            let examples = FoundExample::all(&page);
            if !examples.is_empty() {
                table::print("\n")?;
                table::list(output, &examples)?;
            }
        }
    }
    match page.checks.iter().filter(|finding| !finding.ok).count() {
        0 => Ok(()),
        count => Err(Error::OnRecord(format!("{count} checks of metering found something"))),
    }
}

async fn settings(server: &Server, output: Output, task: Option<SettingsTask>) -> Result<(), Error> {
    let settings: Settings = match task {
        None | Some(SettingsTask::Get) => server.get(&["settings"], &[]).await?,
        Some(SettingsTask::Put { file }) => {
            let new: Settings = record(&file, "settings")?;
            new.check().map_err(|cause| Error::Wrong(cause.to_string()))?;
            server.send(Method::PUT, &["settings"], &[], Some(&new)).await?
        }
    };
    table::one(output, &settings, views::settings(&settings))
}

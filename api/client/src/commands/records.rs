//! Gaps of measurement, the ledger's journal, and the audit trail.

use super::{listed, of, own_file};
use crate::arguments::records::{Decide, Records, TrailFormat};
use crate::arguments::{Save, word};
use crate::download;
use crate::error::Error;
use crate::server::Server;
use crate::table::{self, Output};
use reqwest::Method;
use siyada_model::audit::AuditEvent;
use siyada_model::id::TenantName;
use siyada_model::wire::{GapDecisionRequest, GapRecord};

/// Does what the command says.
pub async fn run(server: &Server, output: Output, command: Records) -> Result<(), Error> {
    match command {
        Records::Gaps { tenant, state, period } => {
            let [from, to] = period.query();
            listed::<GapRecord>(
                server,
                output,
                &of_some(tenant.as_ref(), "gaps"),
                &[("state", state.as_ref().and_then(word)), from, to],
            )
            .await
        }
        Records::Decide(decide) => self::decide(server, output, decide).await,
        Records::Journal { period, save } => {
            let query = [("period", period.map(|month| month.to_string()))];
            download::save(server, output, (&["ledger", "journal"], &query), &save).await
        }
        Records::Audit { tenant, after, format, save } => {
            audit(server, output, (tenant.as_ref(), after), format, &save).await
        }
    }
}

/// The path of something of a tenant, or of all.
fn of_some<'a>(tenant: Option<&'a TenantName>, what: &'a str) -> Vec<&'a str> {
    tenant.map_or_else(|| vec![what], |tenant| of(tenant, what).to_vec())
}

async fn decide(server: &Server, output: Output, decide: Decide) -> Result<(), Error> {
    let id = decide.id.to_string();
    let path = ["tenants", decide.tenant.as_str(), "gaps", &id, "decision"];
    let request = GapDecisionRequest { billed: decide.bill, evidence: decide.evidence };
    let gap: GapRecord = server.send(Method::POST, &path, &[], Some(&request)).await?;
    table::single(output, gap)
}

async fn audit(
    server: &Server,
    output: Output,
    (tenant, after): (Option<&TenantName>, i64),
    format: Option<TrailFormat>,
    save: &Save,
) -> Result<(), Error> {
    let path = of_some(tenant, "audit");
    let Some(format) = format else {
        if save.file.is_some() {
            return Err(Error::Wrong("a file needs --format csv or --format lines".to_owned()));
        }
        if output == Output::Csv {
            return own_file(server, &path, &[("after", Some(after.to_string()))]).await;
        }
        let events: Vec<AuditEvent> = server.stream(&path, after).await?;
        return table::list(output, &events);
    };
    let query = [("format", word(&format)), ("after", Some(after.to_string()))];
    download::save(server, output, (&path, &query), save).await
}

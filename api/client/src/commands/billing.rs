//! Months, who bills, who is billed, and documents.

use super::{NOTHING, listed, of, record};
use crate::arguments::billing::{AccountTask, Billing, Credit, IssuerTask, StatementFile};
use crate::arguments::word;
use crate::download;
use crate::error::Error;
use crate::server::Server;
use crate::table::{self, Output};
use crate::views::billing::{self as views, DocumentLine};
use crate::views::records::SigningKey;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use siyada_model::party::{AccountRecord, IssuerRecord};
use siyada_model::period::Month;
use siyada_model::statement::Statement;
use siyada_model::wire::{AccountEntry, Closing, CreditRequest, PeriodState, StatementEntry};
use std::io::{IsTerminal, Write};

/// Does what the command says.
pub async fn run(server: &Server, output: Output, command: Billing) -> Result<(), Error> {
    match command {
        Billing::Periods => listed::<PeriodState>(server, output, &["periods"], &[]).await,
        Billing::Close { month, yes } => close(server, output, month, yes).await,
        Billing::Issuer { task } => issuer(server, output, task).await,
        Billing::Accounts { task: None } => listed::<AccountEntry>(server, output, &["accounts"], &[]).await,
        Billing::Accounts { task: Some(AccountTask::Put { account, file }) } => {
            let record: AccountRecord = record(&file, "an account")?;
            let path = ["accounts", account.as_str()];
            let entry: AccountEntry = server.send(Method::PUT, &path, &[], Some(&record)).await?;
            table::single(output, entry)
        }
        Billing::Statements { tenant } => {
            listed::<StatementEntry>(server, output, &of(&tenant, "statements"), &[]).await
        }
        Billing::Statement(file) => statement(server, output, &file).await,
        Billing::Credit(credit) => self::credit(server, output, &credit).await,
        Billing::SigningKey => {
            let key: SigningKey = server
                .get(&["signing-key"], &[])
                .await
                .map_err(|cause| cause.if_absent("documents are not signed here: the ledger has no key"))?;
            table::one(output, &key, key.facts())
        }
    }
}

async fn issuer(server: &Server, output: Output, task: Option<IssuerTask>) -> Result<(), Error> {
    let issuer: IssuerRecord = match task {
        None | Some(IssuerTask::Get) => server.get(&["issuer"], &[]).await.map_err(|cause| {
            cause.if_absent("nobody is on record who bills; national finance says it: siyada issuer put FILE")
        })?,
        Some(IssuerTask::Put { file }) => {
            let record: IssuerRecord = record(&file, "an issuer")?;
            server.send(Method::PUT, &["issuer"], &[], Some(&record)).await?
        }
    };
    table::one(output, &issuer, views::issuer(&issuer))
}

/// Closes a month. Nobody closes it without having said so.
async fn close(server: &Server, output: Output, month: Month, yes: bool) -> Result<(), Error> {
    let label = month.to_string();
    let path = ["periods", label.as_str(), "closing"];
    let never_opened = format!("{month} was never opened; `siyada periods` lists the months");
    if !yes {
        let preview: Closing =
            server.get(&path, &[]).await.map_err(|cause| cause.if_absent(&never_opened))?;
        show(output, &preview)?;
        if preview.closed {
            return Ok(());
        }
        confirm(&format!("Close {month}? That cannot be undone. Type yes:"))?;
    }
    let closing: Result<Closing, Error> = server.send(Method::POST, &path, &[], NOTHING).await;
    show(output, &closing.map_err(|cause| cause.if_absent(&never_opened))?)
}

/// Shows what a closing came to, or would. What blocks it is an error, once it is shown.
fn show(output: Output, closing: &Closing) -> Result<(), Error> {
    if closing.closed || closing.blockers.is_empty() {
        return table::one(output, closing, views::closing(closing));
    }
    match output {
        Output::Json => table::json(closing)?,
        Output::Table | Output::Csv => table::list(output, &closing.blockers)?,
    }
    let (month, count) = (closing.month, closing.blockers.len());
    Err(Error::OnRecord(format!(
        "{month} does not close before this is settled ({count} shown); nothing was written"
    )))
}

/// Asks for a yes. Nothing else counts, and nobody is asked who is not there.
fn confirm(question: &str) -> Result<(), Error> {
    let (input, mut asked) = (std::io::stdin(), std::io::stderr());
    if !input.is_terminal() || !asked.is_terminal() {
        return Err(Error::Wrong(
            "nothing was closed: there is no terminal to say yes at; give --yes".to_owned(),
        ));
    }
    let mut answer = String::new();
    write!(asked, "{question} ").and_then(|()| asked.flush()).map_err(Error::file("the terminal"))?;
    input.read_line(&mut answer).map_err(Error::file("the terminal"))?;
    if answer.trim() == "yes" {
        return Ok(());
    }
    Err(Error::Stopped("nothing was closed".to_owned()))
}

async fn statement(server: &Server, output: Output, file: &StatementFile) -> Result<(), Error> {
    let path = ["tenants", file.tenant.as_str(), "statements", &file.number];
    let Some(format) = file.format else {
        if file.save.file.is_some() {
            return Err(Error::Wrong("a file needs --format, for example --format pdf".to_owned()));
        }
        let answered: Value = server.get(&path, &[]).await?;
        return shown(output, &answered);
    };
    let query = [("format", word(&format)), ("language", file.language.as_ref().and_then(word))];
    download::save(server, output, (&path, &query), &file.save).await
}

/// The lines of a document and its sums; as JSON all of it, members of later versions included.
fn shown(output: Output, answered: &Value) -> Result<(), Error> {
    if output == Output::Json {
        return table::json(answered);
    }
    let document: Statement =
        Statement::deserialize(answered).map_err(|cause| Error::not_understood(&cause))?;
    table::list(output, &DocumentLine::all(&document))?;
    if output == Output::Table {
        table::print("\n")?;
        table::one(output, &document, views::document(&document))?;
    }
    Ok(())
}

async fn credit(server: &Server, output: Output, credit: &Credit) -> Result<(), Error> {
    let path = ["tenants", credit.tenant.as_str(), "statements", &credit.number, "credit-notes"];
    let statement: Statement = server.get(&path[..4], &[]).await?;
    let lines = credit.lines.iter().map(|part| part.credited(statement.currency));
    let lines: Vec<_> = lines.collect::<Result<_, _>>().map_err(Error::Wrong)?;
    let request = CreditRequest {
        key: credit.key.clone(),
        reason: credit.reason.clone(),
        lines: (!lines.is_empty()).then_some(lines),
    };
    let note: Statement = server.send(Method::POST, &path, &[], Some(&request)).await?;
    table::one(output, &note, views::document(&note))
}

//! What each command does: ask, then print. A further one is an arm here and its row in `views`.

mod billing;
mod national;
mod records;
mod spending;

use crate::arguments::{Arguments, Command, Period, Reject};
use crate::error::Error;
use crate::server::{Query, Server};
use crate::sign_in;
use crate::table::{self, Cell, Listed, Output};
use crate::views::{Dimensional, ListedPrice, Proof, Proven};
use reqwest::Method;
use serde::de::DeserializeOwned;
use siyada_model::id::{OrderUid, TenantName};
use siyada_model::usage::Interval;
use siyada_model::wire::{
    Alert, Approval, ApprovalDecision, ApproveRequest, Commitments, Counted, LARGEST_PAGE, MeterRecord,
    PriceListRecord, QuotaView, Quote, QuoteRequest, ReportLine, TenantSummary, UsageReport, WhoAmI,
};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Nothing to send.
const NOTHING: Option<&()> = None;

/// Does what the command line says.
pub async fn run(arguments: Arguments) -> Result<(), Error> {
    let Arguments { reach, output, command } = arguments;
    match command {
        Command::Login(login) => return sign_in::login(&reach, login).await,
        Command::Logout => return sign_in::logout().await,
        _ => {}
    }
    let server = Server::reach(&reach).await?;
    match command {
        Command::Login(_) | Command::Logout => Ok(()),
        Command::Token => table::print(&format!("{}\n", server.token())),
        Command::Whoami => whoami(&server, output).await,
        Command::Tenants { search } => {
            listed::<TenantSummary>(&server, output, &["tenants"], &[("search", search)]).await
        }
        Command::Quota { tenant } => quota(&server, output, &tenant).await,
        Command::Usage { tenant, grouped, .. } if !grouped.by.is_empty() => {
            national::usage(&server, output, &tenant, &grouped).await
        }
        Command::Usage { grouped, .. } if grouped.save.file.is_some() => {
            Err(Error::Wrong("a file needs --by, for example --by service".to_owned()))
        }
        Command::Usage { tenant, period, evidence, .. } => {
            usage(&server, output, &tenant, (&period, evidence)).await
        }
        Command::Intervals { tenant, period } => {
            listed::<Interval>(&server, output, &of(&tenant, "intervals"), &period.query()).await
        }
        Command::Counters { tenant, period, windows } => {
            let [from, to] = period.query();
            let per = ("per", windows.then(|| "window".to_owned()));
            let rows: Vec<Counted> = server.all(&of(&tenant, "counters"), &[from, to, per]).await?;
            table::list(output, &rows)
        }
        Command::Meters => {
            let rows: Vec<MeterRecord> = server.all(&["meters"], &[]).await?;
            table::list(output, &rows)
        }
        Command::Commitments { tenant } => commitments(&server, output, &tenant).await,
        Command::Approvals { tenant, state } => {
            listed::<Approval>(&server, output, &of(&tenant, "approvals"), &[("state", state)]).await
        }
        Command::Approve { tenant, order, comment, up_to } => {
            let request = ApproveRequest { up_to, comment };
            decide(&server, output, (&tenant, &order), Method::POST, &[], Some(&request)).await
        }
        Command::Reject(reject) => self::reject(&server, output, reject).await,
        Command::Decisions(after) => {
            let rows: Vec<ApprovalDecision> = server.stream(&["approvals"], after.after).await?;
            table::list(output, &rows)
        }
        Command::Alerts(after) => {
            let rows: Vec<Alert> = server.stream(&["alerts"], after.after).await?;
            table::list(output, &rows)
        }
        Command::Prices => prices(&server, output).await,
        Command::Quote(quote) => self::quote(&server, output, &quote.request()).await,
        Command::Billing(command) => billing::run(&server, output, command).await,
        Command::Spending(command) => spending::run(&server, output, command).await,
        Command::Records(command) => records::run(&server, output, command).await,
        Command::National(command) => national::run(&server, output, command).await,
    }
}

/// The path of something of a tenant.
fn of<'a>(tenant: &'a TenantName, what: &'a str) -> [&'a str; 3] {
    ["tenants", tenant.as_str(), what]
}

/// Prints every row of a list.
async fn listed<T: Listed + DeserializeOwned>(
    server: &Server,
    output: Output,
    path: &[&str],
    query: &Query<'_>,
) -> Result<(), Error> {
    table::list::<T>(output, &server.all(path, query).await?)
}

/// Prints the ledger's own file: the same bytes that finance gets from it directly.
async fn own_file(server: &Server, path: &[&str], query: &Query<'_>) -> Result<(), Error> {
    let query = [query, &[("format", Some("csv".to_owned()))]].concat();
    table::print_bytes(&server.file(path, &query).await?)
}

/// Largest file that is sent; the ledger takes no larger one.
const LARGEST_RECORD: u64 = 1024 * 1024;

/// A record in a file, or on standard input.
fn record<T: DeserializeOwned>(file: &Path, what: &str) -> Result<T, Error> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(LARGEST_RECORD).read_to_string(&mut text)
    } else {
        File::open(file).and_then(|open| open.take(LARGEST_RECORD).read_to_string(&mut text))
    };
    read.map_err(Error::file(file))?;
    serde_json::from_str(&text)
        .map_err(|cause| Error::Wrong(format!("{} is not {what}: {cause}", file.display())))
}

/// Who somebody is and which roles he has.
async fn whoami(server: &Server, output: Output) -> Result<(), Error> {
    let me: WhoAmI = server.get(&["whoami"], &[]).await?;
    let roles: Vec<String> = me.tenant_roles.iter().map(|r| format!("{} of {}", r.role, r.tenant)).collect();
    let groups: Vec<&str> = me.groups.iter().map(String::as_str).collect();
    let platform: Vec<&str> = me.platform_roles.iter().map(|role| role.as_str()).collect();
    let facts = vec![
        ("subject", (&me.subject).into()),
        ("groups", (&groups.join(", ")).into()),
        ("platformRoles", (&platform.join(", ")).into()),
        ("tenantRoles", (&roles.join(", ")).into()),
    ];
    table::one(output, &me, facts)
}

async fn quota(server: &Server, output: Output, tenant: &TenantName) -> Result<(), Error> {
    let view: QuotaView = server.get(&of(tenant, "quota"), &[]).await?;
    if output == Output::Json {
        return table::json(&view);
    }
    let currency = view.held.monthly_cost.currency;
    let rows: Vec<_> = view.dimensions.iter().map(|view| Dimensional { view: *view, currency }).collect();
    table::list(output, &rows)?;
    match view.pending {
        Some(pending) if output == Output::Table && pending.count > 0 => table::print(&format!(
            "{} orders wait for an approval, {} a month: siyada approvals {tenant} --state pending\n",
            pending.count, pending.monthly_cost
        )),
        _ => Ok(()),
    }
}

async fn usage(
    server: &Server,
    output: Output,
    tenant: &TenantName,
    (period, evidence): (&Period, bool),
) -> Result<(), Error> {
    let report: UsageReport = server.get(&of(tenant, "usage"), &period.query()).await?;
    if evidence {
        let asked = Period { from: Some(report.from), to: Some(report.to) };
        let all: Vec<Interval> = server.all(&of(tenant, "intervals"), &asked.query()).await?;
        let proven: Vec<Proven> = report.lines.iter().map(|line| proven(line, &all)).collect();
        if output == Output::Json {
            return table::json(&proven);
        }
        let proofs = proven.into_iter().flat_map(|Proven { line, intervals }| {
            intervals.into_iter().map(move |interval| Proof { line: line.clone(), interval })
        });
        table::list(output, &proofs.collect::<Vec<_>>())?;
    } else if output == Output::Json {
        return table::json(&report);
    } else {
        table::list(output, &report.lines)?;
    }
    table::note(output, &format!("Total {} from {} to {}", report.total, report.from, report.to))
}

/// A line with the intervals it comes from.
fn proven(line: &ReportLine, all: &[Interval]) -> Proven {
    let of = &line.line;
    let behind = |i: &&Interval| i.order_uid == of.order_uid && i.meter == of.meter && i.level.sku == of.sku;
    Proven { line: line.clone(), intervals: all.iter().filter(behind).cloned().collect() }
}

/// Rejects an order, or what a statement books.
async fn reject(server: &Server, output: Output, reject: Reject) -> Result<(), Error> {
    let Some(comment) = reject.comment else { return spending::reject(server, output, reject).await };
    let order: OrderUid = reject.what.parse().map_err(|cause| Error::Wrong(format!("{cause}")))?;
    let comment = [("comment", Some(comment))];
    decide(server, output, (&reject.tenant, &order), Method::DELETE, &comment, None).await
}

async fn commitments(server: &Server, output: Output, tenant: &TenantName) -> Result<(), Error> {
    let path = of(tenant, "commitments");
    if output == Output::Csv {
        return own_file(server, &path, &[]).await;
    }
    let page = ("pageSize", Some(LARGEST_PAGE.to_string()));
    let mut whole: Commitments = server.get(&path, std::slice::from_ref(&page)).await?;
    while let Some(token) = whole.next_page_token.take() {
        let next: Commitments = server.get(&path, &[page.clone(), ("pageToken", Some(token))]).await?;
        whole.items.extend(next.items);
        whole.next_page_token = next.next_page_token;
    }
    if output == Output::Json {
        return table::json(&whole);
    }
    table::list(output, &whole.items)?;
    table::print(&format!(
        "Total {} a month at most, {} orders\n",
        whole.total.monthly_cost, whole.reservations
    ))?;
    let Some(forecast) = &whole.forecast else { return Ok(()) };
    for (name, period) in [("month", &forecast.month), ("fiscal year", &forecast.fiscal_year)] {
        let (used, total) = (period.used, period.total);
        table::print(&format!(
            "This {name} until {}: {used} so far, {total} if nothing changes\n",
            period.to
        ))?;
    }
    Ok(())
}

async fn decide(
    server: &Server,
    output: Output,
    (tenant, order): (&TenantName, &OrderUid),
    method: Method,
    query: &Query<'_>,
    request: Option<&ApproveRequest>,
) -> Result<(), Error> {
    let path = ["tenants", tenant.as_str(), "approvals", order.as_str()];
    let decided: Approval = match request {
        Some(request) => server.send(method, &path, query, Some(request)).await?,
        None => server.send(method, &path, query, NOTHING).await?,
    };
    table::single(output, decided)
}

async fn prices(server: &Server, output: Output) -> Result<(), Error> {
    let lists: Vec<PriceListRecord> = server.all(&["price-lists"], &[]).await?;
    if output == Output::Json {
        return table::json(&lists);
    }
    let priced = |list: &PriceListRecord| {
        let list = list.clone();
        list.prices.skus.clone().into_iter().map(move |price| ListedPrice { list: list.clone(), price })
    };
    table::list(output, &lists.iter().flat_map(priced).collect::<Vec<_>>())
}

async fn quote(server: &Server, output: Output, request: &QuoteRequest) -> Result<(), Error> {
    let quote: Quote = server.send(Method::POST, &["quotes"], &[], Some(request)).await?;
    let mut facts: Vec<(&str, Cell)> = vec![
        ("monthlyMaximum", quote.monthly_maximum.into()),
        ("priceList", (&quote.price_list).into()),
        ("committed", quote.committed.into()),
        ("committedAfter", quote.committed_after.into()),
    ];
    facts.extend(quote.limit.map(|limit| ("limit", limit.into())));
    let fits = quote.shortfall.as_ref().map_or_else(|| "yes".to_owned(), |short| format!("no: {short}"));
    facts.push(("fits", (&fits).into()));
    let freeable = quote.shortfall.as_ref().and_then(|short| short.freeable_words());
    facts.extend(freeable.map(|words| ("freeable", Cell::Text(words))));
    let needed = quote.approval_needed.as_ref();
    facts.extend(
        needed.map(|n| {
            ("approval", Cell::Text(format!("an approver of {} decides above {}", n.tenant, n.above)))
        }),
    );
    facts.extend(quote.soft_limits.iter().map(|limit| ("softLimit", limit.into())));
    table::one(output, &quote, facts)
}

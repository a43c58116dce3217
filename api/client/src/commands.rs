//! What each command does: ask, then print. A further one is an arm here and its row in `views`.

use crate::arguments::{Arguments, Command, Period};
use crate::error::Error;
use crate::server::Server;
use crate::sign_in;
use crate::table::{self, Cell, Output};
use crate::views::{Dimensional, ListedPrice};
use reqwest::Method;
use siyada_model::id::{OrderUid, TenantName};
use siyada_model::usage::Interval;
use siyada_model::wire::{
    Alert, Approval, ApprovalDecision, ApproveRequest, Commitments, Counted, LARGEST_PAGE, MeterRecord,
    PriceListRecord, QuotaView, Quote, QuoteRequest, TenantSummary, UsageReport, WhoAmI,
};

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
            let rows: Vec<TenantSummary> = server.all(&["tenants"], &[("search", search)]).await?;
            table::list(output, &rows)
        }
        Command::Quota { tenant } => quota(&server, output, &tenant).await,
        Command::Usage { tenant, period } => usage(&server, output, &tenant, &period).await,
        Command::Intervals { tenant, period } => {
            let rows: Vec<Interval> = server.all(&of(&tenant, "intervals"), &period.query()).await?;
            table::list(output, &rows)
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
            let rows: Vec<Approval> = server.all(&of(&tenant, "approvals"), &[("state", state)]).await?;
            table::list(output, &rows)
        }
        Command::Approve { tenant, order, comment, up_to } => {
            let request = ApproveRequest { up_to, comment };
            decide(&server, output, (&tenant, &order), Method::POST, &[], Some(&request)).await
        }
        Command::Reject { tenant, order, comment } => {
            let comment = [("comment", Some(comment))];
            decide(&server, output, (&tenant, &order), Method::DELETE, &comment, None).await
        }
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
    }
}

/// The path of something of a tenant.
fn of<'a>(tenant: &'a TenantName, what: &'a str) -> [&'a str; 3] {
    ["tenants", tenant.as_str(), what]
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

async fn usage(server: &Server, output: Output, tenant: &TenantName, period: &Period) -> Result<(), Error> {
    let report: UsageReport = server.get(&of(tenant, "usage"), &period.query()).await?;
    if output == Output::Json {
        return table::json(&report);
    }
    table::list(output, &report.lines)?;
    if output == Output::Table {
        table::print(&format!("Total {} from {} to {}\n", report.total, report.from, report.to))?;
    }
    Ok(())
}

async fn commitments(server: &Server, output: Output, tenant: &TenantName) -> Result<(), Error> {
    let path = of(tenant, "commitments");
    if output == Output::Csv {
        // The ledger's own file: the same bytes that finance gets from it directly.
        let file = server.file(&path, &[("format", Some("csv".to_owned()))]).await?;
        return table::print(&String::from_utf8_lossy(&file));
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
    query: &crate::server::Query<'_>,
    request: Option<&ApproveRequest>,
) -> Result<(), Error> {
    let path = ["tenants", tenant.as_str(), "approvals", order.as_str()];
    let decided: Approval = match request {
        Some(request) => server.send(method, &path, query, Some(request)).await?,
        None => server.send(method, &path, query, NOTHING).await?,
    };
    if output == Output::Json {
        return table::json(&decided);
    }
    table::list(output, std::slice::from_ref(&decided))
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

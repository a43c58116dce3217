//! The command line.

pub mod billing;
pub mod national;
pub mod records;
pub mod spending;

use crate::amounts;
use crate::error::EXIT_CODES;
use crate::table::Output;
use billing::Billing;
use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
use national::National;
use records::Records;
use siyada_model::id::{OrderUid, TenantName};
use siyada_model::money::Money;
use siyada_model::period::Month;
use siyada_model::price::Item;
use siyada_model::quantity;
use siyada_model::resources::Resources;
use siyada_model::statement::breakdown::Dimension;
use siyada_model::wire::QuoteRequest;
use spending::Spending;
use std::net::IpAddr;
use std::path::PathBuf;

/// Over the options that each command has.
const EVERYWHERE: &str = "Options of every command";

/// Ask the ledger of Siyada what is held, used and committed, and decide what waits.
#[derive(Parser)]
#[command(name = "siyada", version, about, after_help = EXIT_CODES)]
pub struct Arguments {
    /// Where the ledger is.
    #[command(flatten)]
    pub reach: Reach,
    /// As a table for people, or as json or csv for programs.
    #[arg(short, long, global = true, help_heading = EVERYWHERE, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where the ledger is and as whom to ask it. After `siyada login` none of it is needed.
#[derive(Args, Clone)]
pub struct Reach {
    /// URL of the ledger, for example https://ledger.example.
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "SIYADA_SERVER")]
    pub server: Option<String>,
    /// File with its certificate authority; the system's when absent.
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "SIYADA_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Address to connect to instead of the name's own, for example 127.0.0.1 for a port-forward.
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "SIYADA_CONNECT_TO", value_name = "ADDRESS")]
    pub connect_to: Option<IpAddr>,
    /// For programs: a file with the token to send, instead of a session; read at each call.
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "SIYADA_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Sign in with your administration's account.
    #[command(
        after_help = "Example:\n  siyada login --server https://ledger.example --issuer https://id.interior.example"
    )]
    Login(Login),
    /// Sign out: the issuer is told, and the session is forgotten.
    #[command(after_help = "Example:\n  siyada logout")]
    Logout,
    /// Print a token that is good now, for curl and other programs.
    #[command(
        after_help = "Example:\n  curl -H \"Authorization: Bearer $(siyada token)\" https://ledger.example/v1/whoami"
    )]
    Token,
    /// Who the ledger takes you for, with your roles.
    #[command(after_help = "Example:\n  siyada whoami")]
    Whoami,
    /// The tenants that you may see.
    #[command(after_help = "Example:\n  siyada tenants --search interior")]
    Tenants {
        /// Only those with this in a name, in any script.
        #[arg(long)]
        search: Option<String>,
    },
    /// What a tenant and everything below it may hold, holds and uses.
    #[command(after_help = "Example:\n  siyada quota interior")]
    Quota {
        /// Name of the tenant.
        tenant: TenantName,
    },
    /// What was used and what it costs so far.
    #[command(
        after_help = "Example:\n  siyada usage interior --from 2026-10-01\n  siyada usage interior --from 2026-10-01 --evidence\n  siyada usage interior --by day,service\n  siyada usage interior --by budgetLine --period 2026-10 --only service=PostgresInstance --file usage.csv"
    )]
    Usage {
        /// Name of the tenant.
        tenant: TenantName,
        /// From when until when.
        #[command(flatten)]
        period: Period,
        /// The intervals behind each figure.
        #[arg(long)]
        evidence: bool,
        /// Or a month, grouped.
        #[command(flatten)]
        grouped: Grouped,
    },
    /// The evidence of the usage: which order had how much from when to when.
    #[command(after_help = "Example:\n  siyada intervals interior --from 2026-10-01 --to 2026-11-01")]
    Intervals {
        /// Name of the tenant.
        tenant: TenantName,
        /// From when until when.
        #[command(flatten)]
        period: Period,
    },
    /// What counters counted, such as transactions; they are not billed.
    #[command(
        after_help = "Example:\n  siyada counters interior --from 2026-10-01\n  siyada counters interior --from 2026-10-01 --windows -o csv"
    )]
    Counters {
        /// Name of the tenant.
        tenant: TenantName,
        /// From when until when.
        #[command(flatten)]
        period: Period,
        /// One row for each reading instead of one for each order and meter.
        #[arg(long)]
        windows: bool,
    },
    /// What is measured, in which unit.
    #[command(after_help = "Example:\n  siyada meters")]
    Meters,
    /// What is committed, by whom, where it is booked, and where it leads.
    #[command(after_help = "Example:\n  siyada commitments interior -o csv")]
    Commitments {
        /// Name of the tenant.
        tenant: TenantName,
    },
    /// Orders that wait for an approval, or waited.
    #[command(after_help = "Example:\n  siyada approvals interior --state pending")]
    Approvals {
        /// Name of the tenant.
        tenant: TenantName,
        /// Only those that stand so: pending, approved or rejected.
        #[arg(long)]
        state: Option<String>,
    },
    /// Approve an order.
    #[command(
        after_help = "Example:\n  siyada approve interior 4f9c0f5e-0a57-4d4e-b9a8-2f1f54a0a001 --comment \"Budget 2026, chapter 30\""
    )]
    Approve {
        /// Name of the tenant.
        tenant: TenantName,
        /// The order, as `siyada approvals` shows it.
        order: OrderUid,
        /// Words for the record.
        #[arg(long)]
        comment: Option<String>,
        /// Up to which monthly cost, like "1300.00 MAD"; exactly what is asked when absent.
        #[arg(long, value_parser = amounts::money)]
        up_to: Option<Money>,
    },
    /// Reject an order or withdraw its approval (--comment), or reject what a statement books (--reason).
    #[command(
        after_help = "Example:\n  siyada reject interior 4f9c0f5e-0a57-4d4e-b9a8-2f1f54a0a001 --comment \"Chapter 30 is empty\"\n  siyada reject interior SIY-2026-000001 --budget-line 2026-30-20 --reason \"Service not done\""
    )]
    Reject(Reject),
    /// Every decision in its order; for the platform.
    #[command(after_help = "Example:\n  siyada decisions --after 12")]
    Decisions(After),
    /// Every alert in its order; for the platform.
    #[command(after_help = "Example:\n  siyada alerts --after 12")]
    Alerts(After),
    /// Every price.
    #[command(after_help = "Example:\n  siyada prices")]
    Prices,
    /// What an order would cost at most a month, and whether it fits.
    #[command(
        after_help = "Example:\n  siyada quote interior --cpu 1 --memory 2Gi --storage 10Gi --item postgres-small=1 --item block-storage=10240"
    )]
    Quote(Quote),
    /// What is billed.
    #[command(flatten)]
    Billing(Billing),
    /// What is spent.
    #[command(flatten)]
    Spending(Spending),
    /// What is on record.
    #[command(flatten)]
    Records(Records),
    /// What is about all tenants.
    #[command(flatten)]
    National(National),
}

/// How to sign in.
#[derive(Args)]
pub struct Login {
    /// URL of the issuer that has your account, exactly as the platform names it.
    #[arg(long, env = "SIYADA_LOGIN_ISSUER")]
    pub issuer: String,
    /// File with the issuer's certificate authority; the system's when absent.
    #[arg(long, env = "SIYADA_LOGIN_ISSUER_CA", value_name = "FILE")]
    pub issuer_ca: Option<PathBuf>,
    /// As which client the issuer knows this program.
    #[arg(long, env = "SIYADA_LOGIN_CLIENT_ID", default_value = "siyada")]
    pub client_id: String,
    /// What to ask for.
    #[arg(long, env = "SIYADA_LOGIN_SCOPE", default_value = "openid offline_access")]
    pub scope: String,
    /// What the token is for (RFC 8707), if the issuer wants to be told.
    #[arg(long, env = "SIYADA_LOGIN_RESOURCE", value_name = "URI")]
    pub resource: Option<String>,
    /// Send the ID token, for an issuer whose access tokens are not for others to read.
    #[arg(long)]
    pub id_token: bool,
    /// With a code that you type on another device.
    #[arg(long, conflicts_with = "browser")]
    pub device: bool,
    /// With a browser on this machine.
    #[arg(long)]
    pub browser: bool,
    /// Only print the address; do not open the browser.
    #[arg(long, requires = "browser")]
    pub no_open: bool,
}

/// What is rejected, and why.
#[derive(Args)]
pub struct Reject {
    /// Name of the tenant.
    pub tenant: TenantName,
    /// The order, as `siyada approvals` shows it, or the number of the statement.
    #[arg(value_name = "ORDER|NUMBER")]
    pub what: String,
    /// Words for the record, for an order.
    #[arg(long, required_unless_present = "reason", conflicts_with = "reason")]
    pub comment: Option<String>,
    /// Why, for a statement: for a certifier or finance.
    #[arg(long)]
    pub reason: Option<String>,
    /// Only what the statement books on this line; all of it when absent.
    #[arg(long, value_name = "LINE", requires = "reason")]
    pub budget_line: Option<String>,
    /// Number of the refusal where it was made.
    #[arg(long, requires = "reason")]
    pub reference: Option<String>,
}

/// The word of a choice, as the ledger takes it.
pub fn word(choice: &impl ValueEnum) -> Option<String> {
    choice.to_possible_value().map(|value| value.get_name().to_owned())
}

/// Where a file of the ledger goes.
#[derive(Args)]
pub struct Save {
    /// File or directory to write to; - for standard output, and the ledger's own name here when absent.
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// Write over a file that is there.
    #[arg(long)]
    pub force: bool,
}

/// From when until when.
#[derive(Args)]
pub struct Period {
    /// A day (UTC) or an instant; the start of this month when absent.
    #[arg(long, value_parser = amounts::instant)]
    pub from: Option<Timestamp>,
    /// The first day or instant after it; now when absent.
    #[arg(long, value_parser = amounts::instant)]
    pub to: Option<Timestamp>,
}

impl Period {
    /// As it is asked.
    pub fn query(&self) -> [(&'static str, Option<String>); 2] {
        let text = |at: &Option<Timestamp>| at.map(|at| at.to_string());
        [("from", text(&self.from)), ("to", text(&self.to))]
    }
}

/// A month's cost and its forecast, grouped so that every grouping sums to the bill.
#[derive(Args)]
pub struct Grouped {
    /// By some of day, tenant, service, instance, plan, meter, costCentre, budgetLine and priceList, with commas.
    #[arg(long, value_name = "WHAT", value_delimiter = ',', conflicts_with_all = ["from", "to", "evidence"])]
    pub by: Vec<Dimension>,
    /// The month, like 2026-10; the issuer's current one when absent.
    #[arg(long = "period", value_name = "MONTH", requires = "by")]
    pub month: Option<Month>,
    /// Only what has this value, WHAT=VALUE, again for each; an empty value is none.
    #[arg(long, value_name = "WHAT=VALUE", value_parser = amounts::only, requires = "by")]
    pub only: Vec<(Dimension, String)>,
    /// Write it to a file, as CSV.
    #[command(flatten)]
    pub save: Save,
}

impl Grouped {
    /// As it is asked.
    pub fn query(&self) -> Vec<(&'static str, Option<String>)> {
        let by: Vec<&str> = self.by.iter().map(|dimension| dimension.as_str()).collect();
        let mut query =
            vec![("groupBy", Some(by.join(","))), ("period", self.month.map(|month| month.to_string()))];
        query.extend(self.only.iter().map(|(dimension, value)| (dimension.as_str(), Some(value.clone()))));
        query
    }
}

/// From where on a stream is read.
#[derive(Args)]
pub struct After {
    /// Only what came after this id.
    #[arg(long, default_value_t = 0)]
    pub after: i64,
}

/// What would be ordered.
#[derive(Args)]
pub struct Quote {
    /// Who would pay.
    pub tenant: TenantName,
    /// An order that exists and would be changed: only the difference must fit.
    #[arg(long)]
    pub order: Option<OrderUid>,
    /// How many instances.
    #[arg(long, default_value_t = 1)]
    pub instances: i64,
    /// CPUs of all of them: 2 or 500m.
    #[arg(long, value_parser = quantity::cpu_milli)]
    pub cpu: i64,
    /// Memory of all of them: 2Gi.
    #[arg(long, value_parser = quantity::bytes)]
    pub memory: i64,
    /// Storage of all of them: 10Gi.
    #[arg(long, value_parser = quantity::bytes)]
    pub storage: i64,
    /// What is priced, KEY=QUANTITY, again for each: postgres-small=1, block-storage=10240 (MiB).
    #[arg(long = "item", value_parser = amounts::item, required = true)]
    pub items: Vec<Item>,
}

impl Quote {
    /// As it is asked.
    pub fn request(self) -> QuoteRequest {
        let resources = Resources {
            instances: self.instances,
            cpu_milli: self.cpu,
            memory_bytes: self.memory,
            storage_bytes: self.storage,
        };
        QuoteRequest { tenant: self.tenant, order_uid: self.order, resources, items: self.items }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_is_needed_is_asked_for() {
        let check = |line: &str, expect: bool| {
            let words = std::iter::once("siyada").chain(line.split_whitespace());
            assert_eq!(Arguments::try_parse_from(words).is_ok(), expect, "{line}");
        };
        check("usage interior --from 2026-10-01 -o csv", true);
        check("usage Interior", false);
        check("usage interior --from october", false);
        check("usage interior --by day --from 2026-10-01", false);
        check("usage interior --by day --evidence", false);
        check("usage interior --by colour", false);
        check("usage interior --period 2026-10", false);
        check("usage interior --by day --only colour=red", false);
        check("usage interior --by day,service --only budgetLine=", true);
        check("settlement", false);
        check("settlement --period 2026-10 --fiscal-year 2026", false);
        check("settlement --period 2026-10 --language ar", false);
        check("export october", false);
        check("costs put 2026 energy", false);
        check("reject interior u-1", false);
        check("reject interior u-1 --comment no", true);
        check("login --issuer https://id.example --device --browser", false);
        check("quote interior --cpu 1 --memory 2Gi --storage 10Gi", false);
        check("quote interior --cpu 1 --memory 2Gi --storage 10Gi --item postgres-small=1", true);
        check("tenants -o yaml", false);
        check("reject interior SIY-2026-000001 --reason no --comment no", false);
        check("reject interior SIY-2026-000001", false);
        check("pay interior SIY-2026-000001 --date 2026-11-20", false);
        check("pay interior SIY-2026-000001 --reference TR-9", false);
        check("pay interior SIY-2026-000001 --reference TR-9 --date 2026-11-31", false);
        check("budget", false);
        check("budget put interior", false);
        check("budget -- put", true);
        check("decide interior 7 --evidence seen", false);
        check("decide interior 7 --bill --waive --evidence seen", false);
        check("statement interior SIY-2026-000001 --language ar", false);
        check("close 2026-13", false);
        check("credit interior SIY-2026-000001 --key 1 --reason x --line 0", false);
    }

    /// A command line as a shell reads it, if it has no quotes but double ones.
    fn words(line: &str) -> Vec<String> {
        let parts = line.split('"').enumerate();
        parts
            .flat_map(|(place, part)| match place % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect(),
                _ => vec![part.to_owned()],
            })
            .collect()
    }

    fn understood(line: &str) {
        let line = line.split([';', '|', '>']).next().unwrap().split(" # ").next().unwrap();
        match Arguments::try_parse_from(words(line)) {
            Err(cause) if cause.kind() != clap::error::ErrorKind::DisplayHelp => panic!("{line}: {cause}"),
            _ => {}
        }
    }

    fn check_examples(command: &clap::Command, path: &str) {
        for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
            let path = format!("{path} {}", command.get_name());
            let help =
                command.get_after_help().unwrap_or_else(|| panic!("{path} has no example")).to_string();
            let examples = help.lines().map(str::trim).filter(|line| line.starts_with("siyada"));
            examples.clone().for_each(understood);
            let named = help.contains(&path) || path == "siyada token";
            assert!(named, "{path} has no example of itself: {help}");
            check_examples(command, &path);
        }
    }

    #[test]
    fn every_command_has_an_example_that_is_understood() {
        check_examples(&Arguments::command(), "siyada");
    }

    #[test]
    fn what_the_guides_say_is_understood() {
        let guides = [
            include_str!("../../../../docs/guide/finance.md"),
            include_str!("../../../../docs/guide/sign-in.md"),
        ];
        let spans = |line: &'static str| line.split('`').skip(1).step_by(2).collect::<Vec<_>>();
        let said = |line: &'static str| match line.strip_prefix("$ ") {
            Some(typed) => vec![typed],
            None => spans(line),
        };
        let lines = guides.iter().flat_map(|guide| guide.lines()).flat_map(said);
        let said: Vec<&str> = lines.filter_map(|line| line.strip_prefix("siyada ")).collect();
        assert!(said.len() > 60, "{}", said.len());
        for line in said {
            understood(&format!("siyada {}", line.replace("ORDER", "u-1")));
        }
    }
}

//! The command line.

use crate::amounts;
use crate::error::EXIT_CODES;
use crate::table::Output;
use clap::{Args, Parser, Subcommand};
use jiff::Timestamp;
use siyada_model::id::{OrderUid, TenantName};
use siyada_model::money::Money;
use siyada_model::price::Item;
use siyada_model::quantity;
use siyada_model::resources::Resources;
use siyada_model::wire::QuoteRequest;
use std::net::IpAddr;
use std::path::PathBuf;

/// Ask the ledger of Siyada what is held, used and committed, and decide what waits.
#[derive(Parser)]
#[command(name = "siyada", version, about, after_help = EXIT_CODES)]
pub struct Arguments {
    /// Where the ledger is.
    #[command(flatten)]
    pub reach: Reach,
    /// As a table for people, or as json or csv for programs.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where the ledger is and as whom to ask it. After `siyada login` none of it is needed.
#[derive(Args, Clone)]
pub struct Reach {
    /// URL of the ledger, for example https://ledger.example.
    #[arg(long, global = true, env = "SIYADA_SERVER")]
    pub server: Option<String>,
    /// File with its certificate authority; the system's when absent.
    #[arg(long, global = true, env = "SIYADA_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Address to connect to instead of the name's own, for example 127.0.0.1 for a port-forward.
    #[arg(long, global = true, env = "SIYADA_CONNECT_TO", value_name = "ADDRESS")]
    pub connect_to: Option<IpAddr>,
    /// For programs: a file with the token to send, instead of a session; read at each call.
    #[arg(long, global = true, env = "SIYADA_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Sign in with your administration's account.
    Login(Login),
    /// Sign out: the issuer is told, and the session is forgotten.
    Logout,
    /// Print a token that is good now, for curl and other programs.
    Token,
    /// Who the ledger takes you for, with your roles.
    Whoami,
    /// The tenants that you may see.
    Tenants {
        /// Only those with this in a name, in any script.
        #[arg(long)]
        search: Option<String>,
    },
    /// What a tenant and everything below it may hold, holds and uses.
    Quota {
        /// Name of the tenant.
        tenant: TenantName,
    },
    /// What was used and what it costs so far.
    Usage {
        /// Name of the tenant.
        tenant: TenantName,
        /// From when until when.
        #[command(flatten)]
        period: Period,
    },
    /// The evidence of the usage: which order had how much from when to when.
    Intervals {
        /// Name of the tenant.
        tenant: TenantName,
        /// From when until when.
        #[command(flatten)]
        period: Period,
    },
    /// What counters counted, such as transactions; they are not billed.
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
    Meters,
    /// What is committed, by whom, where it is booked, and where it leads.
    Commitments {
        /// Name of the tenant.
        tenant: TenantName,
    },
    /// Orders that wait for an approval, or waited.
    Approvals {
        /// Name of the tenant.
        tenant: TenantName,
        /// Only those that stand so: pending, approved or rejected.
        #[arg(long)]
        state: Option<String>,
    },
    /// Approve an order.
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
    /// Reject an order, or withdraw its approval.
    Reject {
        /// Name of the tenant.
        tenant: TenantName,
        /// The order, as `siyada approvals` shows it.
        order: OrderUid,
        /// Words for the record.
        #[arg(long)]
        comment: String,
    },
    /// Every decision in its order; for the platform.
    Decisions(After),
    /// Every alert in its order; for the platform.
    Alerts(After),
    /// Every price.
    Prices,
    /// What an order would cost at most a month, and whether it fits.
    Quote(Quote),
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
        check("reject interior u-1", false);
        check("reject interior u-1 --comment no", true);
        check("login --issuer https://id.example --device --browser", false);
        check("quote interior --cpu 1 --memory 2Gi --storage 10Gi", false);
        check("quote interior --cpu 1 --memory 2Gi --storage 10Gi --item postgres-small=1", true);
        check("tenants -o yaml", false);
    }
}

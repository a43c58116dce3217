//! Everything that can be set, read once.

use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Turns orders into running services.
#[derive(Parser, Debug)]
#[command(name = "siyada-operator", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the controllers, the webhook and the probes.
    Run(Box<Config>),
    /// Print what an order would become, without a cluster.
    Plan(PlanArguments),
    /// List or remove the data that deleted orders left.
    #[command(subcommand)]
    Retained(RetainedCommand),
}

/// Arguments of `plan`.
#[derive(Args, Debug)]
pub struct PlanArguments {
    /// Files with the order and the catalogue it refers to (Tenant, Site, ServiceOffering, PriceList); `-` is standard
    /// input.
    #[arg(short = 'f', long = "file", required = true)]
    pub files: Vec<PathBuf>,
}

/// What to do with retained data.
#[derive(Subcommand, Debug)]
pub enum RetainedCommand {
    /// List it: uid, tenant, order, storage, since when.
    List,
    /// Remove the data of one deleted order, for ever.
    Remove {
        /// The order's uid, as `list` shows it.
        uid: String,
        /// The order's name again, as a confirmation.
        #[arg(long)]
        confirm: String,
    },
}

/// Settings of `run`. Each can be given as an environment variable too.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Namespace of the operator itself.
    #[arg(long, env = "POD_NAMESPACE", default_value = "siyada-system")]
    pub namespace: String,
    /// Name of this process in the lease.
    #[arg(long, env = "POD_NAME", default_value = "siyada-operator")]
    pub identity: String,
    /// Address of the ledger.
    #[arg(long, env = "SIYADA_LEDGER_URL", default_value = "https://siyada-api.siyada-system.svc:8443")]
    pub ledger_url: String,
    /// File with the service account token (audience `siyada-api`) for the ledger.
    #[arg(long, env = "SIYADA_LEDGER_TOKEN_FILE", default_value = "/var/run/secrets/siyada/ledger/token")]
    pub ledger_token_file: PathBuf,
    /// Namespace of CloudNativePG.
    #[arg(long, env = "SIYADA_ENGINE_NAMESPACE", default_value = "cnpg-system")]
    pub engine_namespace: String,
    /// Folder for files that clients want as files; it may be lost at any time.
    #[arg(long, env = "SIYADA_WORK_DIR", default_value = "/tmp")]
    pub work_dir: PathBuf,
    /// Where health and metrics listen.
    #[arg(long, env = "SIYADA_LISTEN_HEALTH", default_value = "0.0.0.0:8080")]
    pub listen_health: SocketAddr,
    /// Where the webhook listens.
    #[arg(long, env = "SIYADA_LISTEN_WEBHOOK", default_value = "0.0.0.0:9443")]
    pub listen_webhook: SocketAddr,
    /// Service of the webhook: the name in its certificate.
    #[arg(long, env = "SIYADA_WEBHOOK_SERVICE", default_value = "siyada-operator")]
    pub webhook_service: String,
    /// The webhook configuration that gets the authority's certificate.
    #[arg(long, env = "SIYADA_WEBHOOK_CONFIGURATION", default_value = "siyada-orders")]
    pub webhook_configuration: String,
    /// Service of the api: the operator makes its certificate.
    #[arg(long, env = "SIYADA_API_SERVICE", default_value = "siyada-api")]
    pub api_service: String,
    /// Orders worked on at once.
    #[arg(long, env = "SIYADA_CONCURRENCY", default_value_t = 16)]
    pub concurrency: u16,
    /// Restore drills at once; 0: none begins.
    #[arg(long, env = "SIYADA_DRILLS_AT_ONCE", default_value_t = 2)]
    pub drills_at_once: u16,
    /// Deletions of data within ten minutes; more are stopped until the platform confirms.
    #[arg(long, env = "SIYADA_DELETIONS_AT_MOST", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    pub deletions_at_most: u16,
    /// Seconds between two checkpoints: what was seen is told to the ledger as all that there was.
    #[arg(long, env = "SIYADA_CHECKPOINT_SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u16).range(10..=300))]
    pub checkpoint_seconds: u16,
    /// Admission policies without which nothing runs: they hold who may write what.
    #[arg(long, env = "SIYADA_REQUIRED_POLICIES", value_delimiter = ',')]
    pub required_policies: Vec<String>,
    /// Log as JSON, for machines; text otherwise.
    #[arg(long, env = "SIYADA_LOG_JSON", default_value_t = false)]
    pub log_json: bool,
}

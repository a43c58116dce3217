//! The command `siyada-operator`.

use anyhow::{Context as _, Result};
use clap::Parser as _;
use siyada_operator::config::{Cli, Command, RetainedCommand};
use siyada_operator::{plan_command, retained, run};
use tracing_subscriber::EnvFilter;

fn main() -> Result<()> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider was installed before ours"))?;
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match cli.command {
        Command::Plan(arguments) => plan_command::run(&arguments.files),
        Command::Retained(command) => runtime.block_on(async {
            let client = kube::Client::try_default()
                .await
                .context("failed to find the cluster: is KUBECONFIG set?")?;
            match command {
                RetainedCommand::List => retained::list(&client).await,
                RetainedCommand::Remove { uid, confirm } => retained::remove(&client, &uid, &confirm).await,
            }
        }),
        Command::Run(config) => {
            let filter =
                EnvFilter::try_from_env("SIYADA_LOG").unwrap_or_else(|_| EnvFilter::new("info,kube=warn"));
            let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
            if config.log_json {
                log.json().init()
            } else {
                log.init()
            }
            runtime.block_on(run::run(*config))
        }
    }
}

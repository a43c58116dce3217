//! `siyada-api`: the ledger.

use clap::Parser;
use siyada_api::config::{Cli, Command};
use siyada_api::{openapi, serve};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    siyada_api::install_tls_provider();
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("SIYADA_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            tracing::error!(cause = format!("{cause:#}"), "failed");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(args) => Box::pin(serve::serve(*args)).await,
        Command::Migrate(args) => serve::migrate(args).await,
        Command::Recover(args) => serve::recover(args).await,
        Command::Export(args) => serve::export(args).await,
        Command::Verify(args) => serve::verify(&args),
        Command::Openapi => {
            print!("{}", openapi::document()?);
            Ok(())
        }
        Command::Version => {
            println!("siyada-api {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    }
}

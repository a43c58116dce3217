//! `siyada`: the command line for people. Sign in once, then ask the ledger and decide.

mod amounts;
mod arguments;
mod commands;
mod download;
mod error;
mod server;
mod session;
mod sign_in;
mod table;
mod views;
mod web;
mod whole;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = arguments::Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("siyada: {}", table::harmless(&error.to_string()));
            if let Some(way_out) = error.way_out() {
                eprintln!("        {way_out}");
            }
            ExitCode::from(error.exit())
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(arguments: arguments::Arguments) -> Result<(), error::Error> {
    // `ring` is the TLS provider of every program of ours; only a second call could fail.
    let _first = rustls::crypto::ring::default_provider().install_default();
    Box::pin(commands::run(arguments)).await
}

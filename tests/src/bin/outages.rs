//! Each part of the platform away for ten minutes; writes docs/outages.md.

use anyhow::{Result, ensure};
use clap::Parser;
use siyada_tests::outages::{Outage, Seen, all};
use siyada_tests::platform;
use siyada_tests::soak::report::{commit, machine};
use siyada_tests::wait::seconds;
use std::fmt::Write as _;
use std::time::Instant;

/// Takes one part of the platform away after the other, on a cluster without the platform, under a client that writes.
#[derive(Parser)]
struct Arguments {
    /// How long each is away.
    #[arg(long, default_value_t = 600, env = "SIYADA_OUTAGE_SECONDS")]
    seconds: u64,
    /// Only those whose name has this text; then no report is written.
    #[arg(long)]
    only: Option<String>,
    /// Say what there is, and stop.
    #[arg(long)]
    list: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("two TLS providers"))?;
    let arguments = Arguments::parse();
    let mut outages = all();
    outages.retain(|outage| arguments.only.as_ref().is_none_or(|text| outage.name.contains(text.as_str())));
    ensure!(!outages.is_empty(), "there is no such part: --list says what there is");
    if arguments.list {
        outages.iter().for_each(|outage| println!("{}", outage.name));
        return Ok(());
    }
    platform::install().await?;
    platform::wait_until_it_works().await?;
    platform::set_up().await?;
    let mut lived = Vec::new();
    for outage in outages {
        let started = Instant::now();
        println!("{} goes away for {} s", outage.name, arguments.seconds);
        let seen = outage.live(seconds(arguments.seconds)).await;
        let took = started.elapsed().as_secs();
        match &seen {
            Ok(seen) => println!("ok      {} ({took} s): {seen:?}", outage.name),
            Err(error) => println!("FAILED  {} ({took} s): {error:#}", outage.name),
        }
        let failed = seen.is_err();
        lived.push((outage, seen));
        if failed {
            println!("what follows would mean nothing, and is left out");
            break;
        }
    }
    if arguments.only.is_none() {
        let page = page(&commit(&platform::folder())?, &machine(), &lived);
        std::fs::write(platform::folder().join("docs/outages.md"), page)?;
    }
    let failed = lived.iter().filter(|(_, seen)| seen.is_err()).count();
    println!("{} passed, {failed} failed", lived.len() - failed);
    std::process::exit(i32::from(failed > 0));
}

fn page(commit: &str, machine: &str, lived: &[(Outage, Result<Seen>)]) -> String {
    let mut page = format!(
        "# Outages\nWritten by `make soak`; never by hand. Each part is away while a client writes five rows a second; afterwards \
         every acknowledged row is there, and no order, engine object, volume, Secret, Service or backup is gone. What each \
         does: tests/src/outages.rs.\n\nCommit `{commit}`, {machine}.\n\n\
         | away | seconds | rows | longest pause, ms | all as before after, s | what was told meanwhile |\n|---|---|---|---|---|---|\n"
    );
    for (outage, seen) in lived {
        let row = match seen {
            Ok(seen) => format!(
                "{} | {} | {} | {} | {}",
                seen.away_seconds,
                seen.rows,
                seen.longest_pause_ms,
                seen.converged_seconds,
                cell(&seen.told)
            ),
            Err(error) => format!("- | - | - | - | **failed**: {}", cell(&format!("{error:#}"))),
        };
        // Writing to a String never fails.
        let _ = writeln!(page, "| {} | {row} |", outage.name);
    }
    page
}

/// Text that stays in one cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

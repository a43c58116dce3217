//! Lives every story on the cluster it is run in, and says which held.

use anyhow::Result;
use clap::Parser;
use futures::StreamExt as _;
use siyada_tests::platform;
use siyada_tests::stories::{Story, all};
use std::time::{Duration, Instant};

/// Databases that start at once: more would only wait for each other on two cores.
const AT_ONCE: usize = 3;
/// A story that takes longer is stuck.
const LONGEST: Duration = Duration::from_secs(900);

/// Lives every story.
#[derive(Parser)]
struct Arguments {
    /// Only stories whose name has this text.
    #[arg(long)]
    only: Option<String>,
    /// Say what there is, and stop.
    #[arg(long)]
    list: bool,
    /// The charts are installed and the tenants are set up already.
    #[arg(long)]
    installed: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("two TLS providers"))?;
    let arguments = Arguments::parse();
    let wanted =
        |story: &Story| arguments.only.as_ref().is_none_or(|text| story.name.contains(text.as_str()));
    let stories: Vec<Story> = all().into_iter().filter(wanted).collect();
    if arguments.list {
        stories.iter().for_each(|story| println!("{}", story.name));
        return Ok(());
    }
    let started = Instant::now();
    if !arguments.installed {
        platform::install().await?;
        platform::wait_until_it_works().await?;
        platform::set_up().await?;
        println!("installed and set up in {} s", started.elapsed().as_secs());
    }
    let (alone, together): (Vec<Story>, Vec<Story>) = stories.into_iter().partition(|story| story.alone);
    let mut passed = 0;
    let mut failed = 0;
    let mut count = |held: bool| if held { passed += 1 } else { failed += 1 };
    let outcomes: Vec<bool> =
        futures::stream::iter(together).map(live).buffer_unordered(AT_ONCE).collect().await;
    outcomes.into_iter().for_each(&mut count);
    for story in alone {
        count(live(story).await);
    }
    println!("stories took {} s", started.elapsed().as_secs());
    println!("{passed} passed, {failed} failed");
    std::process::exit(i32::from(failed > 0));
}

async fn live(story: Story) -> bool {
    let started = Instant::now();
    let outcome = match tokio::time::timeout(LONGEST, (story.live)()).await {
        Ok(outcome) => outcome,
        Err(_) => Err(anyhow::anyhow!("it took longer than {} s", LONGEST.as_secs())),
    };
    let took = started.elapsed().as_secs();
    match outcome {
        Ok(()) => println!("ok      {} ({took} s)", story.name),
        Err(ref error) => println!("FAILED  {} ({took} s): {error:#}", story.name),
    }
    outcome.is_ok()
}

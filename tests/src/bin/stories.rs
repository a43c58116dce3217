//! Lives every story on the cluster it is run in, and says which held.

use anyhow::{Result, ensure};
use clap::Parser;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use siyada_tests::platform;
use siyada_tests::soak::report::{commit, seed_of};
use siyada_tests::stories::{Story, Turn, all, beginning};
use std::time::{Duration, Instant};

/// Stories that are lived at once: more would only wait for each other on two cores.
const AT_ONCE: usize = 4;
/// Parts of the node that they share, of 150 thousandths of a processor: what the platform leaves of two.
const ROOM: u8 = 10;
/// A story that takes longer is stuck.
const LONGEST: Duration = Duration::from_secs(900);

/// Lives every story, on a cluster without the platform.
///
/// The first installs the previous landing and upgrades it to this one under live orders (`harness trial --previous`
/// brings what it needs); all others are lived on what it leaves.
#[derive(Parser)]
struct Arguments {
    /// Only stories whose name has this text, or another one that is given. Unless the upgrade is one of them, the platform is
    /// installed directly.
    #[arg(long)]
    only: Vec<String>,
    /// Leave out every other one of the longest, as the commit has it.
    #[arg(long, conflicts_with = "only")]
    sample: bool,
    /// Say what there is, and stop.
    #[arg(long)]
    list: bool,
    /// The charts are installed and the tenants are set up already: the upgrade is left out.
    #[arg(long)]
    installed: bool,
    /// The webhook, which only advises, is taken away whenever the charts bring it: what is refused must be refused without
    /// it, by conditions. The upgrade is left out.
    #[arg(long)]
    without_webhook: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("two TLS providers"))?;
    let arguments = Arguments::parse();
    let wanted = |story: &Story| {
        arguments.only.is_empty() || arguments.only.iter().any(|text| story.name.contains(text))
    };
    let mut beginning = Some(beginning()).filter(wanted).filter(|_| !arguments.installed);
    if arguments.without_webhook {
        platform::keep_webhook_away();
        if let Some(story) = beginning.take() {
            println!("left out  {}: the advice of both landings is a part of it", story.name);
        }
    }
    let mut stories: Vec<Story> = all().into_iter().filter(wanted).collect();
    if arguments.sample {
        stories = sample(stories, seed_of(&commit(&platform::folder())?));
    }
    if arguments.list {
        beginning.iter().chain(&stories).for_each(|story| println!("{}", story.name));
        return Ok(());
    }
    ensure!(beginning.is_some() || !stories.is_empty(), "there is no such story: --list says what there is");
    let started = Instant::now();
    let (mut passed, mut failed) = (0, 0);
    let mut count = |held: bool| if held { passed += 1 } else { failed += 1 };
    if let Some(story) = beginning {
        count(live(story).await);
    }
    // After the upgrade nothing is left to do here, unless it failed half way.
    if !arguments.installed {
        platform::install().await?;
        platform::wait_until_it_works().await?;
        platform::set_up().await?;
        println!("installed and set up in {} s", started.elapsed().as_secs());
    }
    let (alone, together): (Vec<Story>, Vec<Story>) =
        stories.into_iter().partition(|story| matches!(story.turn, Turn::Alone | Turn::Seldom));
    side_by_side(together).await.into_iter().for_each(&mut count);
    for story in alone {
        count(live(story).await);
    }
    if let Err(error) = platform::webhook_is_as_wanted().await {
        println!("FAILED  {error:#}");
        count(false);
    }
    println!("stories took {} s", started.elapsed().as_secs());
    println!("{passed} passed, {failed} failed");
    std::process::exit(i32::from(failed > 0));
}

/// All but every other one of the longest; says which those are.
fn sample(stories: Vec<Story>, seed: u64) -> Vec<Story> {
    let mut number = seed % 2;
    let keep = |story: &Story| {
        number += u64::from(story.turn.is_long());
        let kept = !story.turn.is_long() || number.is_multiple_of(2);
        if !kept {
            println!("left out by the commit  {}", story.name);
        }
        kept
    };
    stories.into_iter().filter(keep).collect()
}

/// Lives stories beside each other, always the first that the node has room for; what takes long begins first.
async fn side_by_side(mut waiting: Vec<Story>) -> Vec<bool> {
    waiting.sort_by_key(|story| !matches!(story.turn, Turn::First(_) | Turn::ByTurns(_)));
    let (mut running, mut free, mut outcomes) = (FuturesUnordered::new(), ROOM, Vec::new());
    loop {
        while running.len() < AT_ONCE
            && let Some(next) = waiting.iter().position(|story| story.turn.parts() <= free)
        {
            let story = waiting.remove(next);
            let parts = story.turn.parts();
            free -= parts;
            running.push(async move { (parts, live(story).await) });
        }
        let Some((parts, held)) = running.next().await else { return outcomes };
        free += parts;
        outcomes.push(held);
    }
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

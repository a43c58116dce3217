//! Soaks the platform: `soak` is the sample of `make test`, `soak --full` everything.

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use siyada_tests::platform::folder;
use siyada_tests::soak::dice::Dice;
use siyada_tests::soak::matrix::{Life, lives};
use siyada_tests::soak::report::{Outcome, Progress, claim, commit, machine, seed_of};
use siyada_tests::soak::runner::Runner;
use siyada_tests::soak::{rest, step, walk};
use siyada_tests::wait::seconds;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a sample takes.
const SAMPLE: u64 = 150;
/// Walks of the full soak, and the steps of each.
const WALKS: usize = 8;
/// Steps of a walk of the full soak.
const STEPS: usize = 25;
/// Steps of a walk that time ends.
const MOST_STEPS: usize = 500;
/// What ends a walk: everything goes, with its data.
const END: Duration = seconds(75);
/// A walk of the full soak, usually; it is never cut short.
const WALK: Duration = seconds(750);
/// The rest, usually.
const REST: Duration = seconds(720);
/// A life of the matrix, usually.
const LIFE: Duration = seconds(100);

/// Soaks the platform.
#[derive(Parser)]
struct Arguments {
    /// Begin nothing more after so many seconds; by default 150, and no limit with --full or --only.
    #[arg(long, env = "SIYADA_SOAK_SECONDS")]
    seconds: Option<u64>,
    /// What everything is drawn from; by default the commit.
    #[arg(long)]
    seed: Option<u64>,
    /// Every cell of the matrix, every walk and the rest; goes on where it was interrupted, beside others of its kind; writes
    /// docs/soak.md.
    #[arg(long)]
    full: bool,
    /// Only parts whose name has this text.
    #[arg(long)]
    only: Option<String>,
    /// Steps of a walk.
    #[arg(long)]
    steps: Option<usize>,
    /// Say what would be done, and stop.
    #[arg(long)]
    list: bool,
}

/// A part of the soak.
enum Part {
    Walk(usize),
    Life(Life),
    Rest,
}

impl Part {
    fn name(&self) -> String {
        match self {
            Self::Walk(number) => format!("walk {number}"),
            Self::Life(life) => life.name(),
            Self::Rest => "rest".to_owned(),
        }
    }

    /// Less time than this is not worth a beginning.
    fn least(&self, full: bool) -> Duration {
        match self {
            Self::Walk(_) if full => WALK,
            Self::Walk(_) => END * 2,
            Self::Life(_) => LIFE,
            Self::Rest => REST,
        }
    }
}

/// The soak under way.
struct Soak {
    arguments: Arguments,
    progress: Progress,
    file: PathBuf,
    until: Option<Instant>,
    /// Holds the part under way against other processes.
    claim: Option<File>,
}

impl Soak {
    fn new(arguments: Arguments) -> Result<Self> {
        let sample = (!arguments.full && arguments.only.is_none()).then_some(SAMPLE);
        let until = arguments.seconds.or(sample).map(|count| Instant::now() + seconds(count));
        let commit = commit(&folder())?;
        let seed = arguments.seed.unwrap_or_else(|| seed_of(&commit));
        let file = folder().join("target/soak.json");
        let progress =
            if arguments.full { Progress::read(&file, &commit, seed) } else { Progress::new(&commit, seed) };
        Ok(Self { arguments, progress, file, until, claim: None })
    }

    /// All parts, in the order in which they are done: walks, and lives drawn by the seed between them.
    fn parts(&self) -> Vec<Part> {
        let mut drawn = lives();
        Dice::for_part(self.progress.seed, "matrix").shuffle(&mut drawn);
        let walks = if self.arguments.full { WALKS } else { 1 };
        let mut parts = Vec::new();
        for (number, lives) in (1..).zip(drawn.chunks(drawn.len().div_ceil(walks))) {
            parts.push(Part::Walk(number));
            parts.extend(lives.iter().cloned().map(Part::Life));
        }
        if self.arguments.full {
            parts.push(Part::Rest);
        }
        parts.retain(|part| {
            self.arguments.only.as_ref().is_none_or(|text| part.name().contains(text.as_str()))
        });
        parts
    }

    fn left(&self) -> Duration {
        self.until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()))
    }

    /// The walk of a sample takes half of the time; one of the full soak is never cut short.
    fn walk_until(&self) -> Option<Instant> {
        let left = self.left();
        let walk = if self.arguments.only.is_some() { left } else { left / 2 };
        self.until.filter(|_| !self.arguments.full).map(|_| Instant::now() + walk.saturating_sub(END))
    }

    async fn part(&self, part: &Part, runner: &mut Runner) -> Result<u64> {
        let seed = self.progress.seed;
        match part {
            Part::Walk(_) => {
                let until = self.walk_until();
                let more = || until.is_none_or(|until| Instant::now() < until);
                let steps =
                    self.arguments.steps.unwrap_or(if self.arguments.full { STEPS } else { MOST_STEPS });
                let walked = walk::walk(runner, seed, &part.name(), steps, more).await?;
                Ok(u64::try_from(walked)?)
            }
            Part::Life(life) => runner.live(life, seed).await.map(|()| life.cells()),
            Part::Rest => {
                let api = runner.api().await?;
                rest::rest(&runner.server, &api).await.map(|()| 1)
            }
        }
    }

    async fn run(&mut self) -> Result<()> {
        let parts = self.parts();
        let server = walk::set_up().await?;
        println!("set up");
        let mut runner = Runner::new(server.clone()).await?;
        for part in &parts {
            let name = part.name();
            if !self.take(&name)? {
                continue;
            }
            if self.left() < part.least(self.arguments.full) {
                continue;
            }
            let started = Instant::now();
            let outcome = self.part(part, &mut runner).await;
            let took = started.elapsed().as_secs();
            match &outcome {
                Ok(cases) => println!("ok      {name} ({took} s, {cases} cases)"),
                Err(error) => {
                    println!("FAILED  {name} ({took} s): {error:#}\n{}", self.repeat(part, &runner))
                }
            }
            let failure = outcome.as_ref().err().map(|error| format!("{error:#}"));
            let cases = outcome.as_ref().map_or(0, |cases| *cases);
            let failed = failure.is_some();
            let outcome = Outcome { failure, seconds: took, cases };
            self.done(&name, outcome, std::mem::take(&mut runner.counts), parts.len())?;
            if failed {
                runner = self.begin_again(runner).await?;
            }
        }
        Ok(())
    }

    fn repeat(&self, part: &Part, runner: &Runner) -> String {
        let steps = match part {
            Part::Walk(_) => format!(" --steps {}", runner.walked + 1),
            _ => String::new(),
        };
        format!(
            "repeat it: git checkout {} && make build && target/debug/harness trial --name soak -- target/debug/soak --seed {} \
             --only {:?}{steps}",
            self.progress.commit.trim_end_matches('+'),
            self.progress.seed,
            part.name()
        )
    }

    /// After a failure the full soak goes on, if everything can be removed; the sample stops.
    async fn begin_again(&self, mut runner: Runner) -> Result<Runner> {
        if !self.arguments.full {
            bail!("the sample ends with its first failure");
        }
        // What the ledger said binds from here on as before.
        runner.memory.pods.clear();
        runner.end().await.context("nothing more can be soaked in this cluster")?;
        Ok(runner)
    }

    fn is_whole(&self) -> bool {
        self.arguments.full && self.arguments.only.is_none()
    }

    /// Takes a part that is neither done nor under way in another process, which may work at the same soak in another cluster.
    fn take(&mut self, name: &str) -> Result<bool> {
        if !self.is_whole() {
            return Ok(true);
        }
        self.claim = claim(&self.file, name)?;
        self.progress = Progress::read(&self.file, &self.progress.commit, self.progress.seed);
        Ok(self.claim.is_some() && !self.progress.parts.contains_key(name))
    }

    fn done(
        &mut self,
        name: &str,
        outcome: Outcome,
        counts: BTreeMap<String, u64>,
        parts: usize,
    ) -> Result<()> {
        if !self.is_whole() {
            self.progress.insert(name, outcome, counts);
            return Ok(());
        }
        self.progress.add(&self.file, name, outcome, counts)?;
        std::fs::write(folder().join("docs/soak.md"), self.progress.page(&machine(), parts))?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("two TLS providers"))?;
    let mut soak = Soak::new(Arguments::parse())?;
    println!("soak of {} with --seed {}", soak.progress.commit, soak.progress.seed);
    if soak.arguments.list {
        for part in soak.parts() {
            println!("{}", part.name());
            if let (Part::Walk(_), true) = (&part, soak.arguments.only.is_some()) {
                let steps = soak.arguments.steps.unwrap_or(STEPS);
                step::walk(soak.progress.seed, &part.name(), steps)
                    .iter()
                    .for_each(|step| println!("  {step}"));
            }
        }
        return Ok(());
    }
    let started = Instant::now();
    let outcome = soak.run().await;
    for (what, count) in &soak.progress.counts {
        println!("{count:>6}  {what}");
    }
    let (passed, failed) = soak.progress.verdict();
    println!("soak took {} s", started.elapsed().as_secs());
    println!("{passed} passed, {failed} failed");
    if failed == 0 {
        outcome?;
    } else if let Err(error) = outcome {
        println!("the soak ended early: {error:#}");
    }
    std::process::exit(i32::from(failed > 0));
}

//! The matrix of faults. On a cluster without nodes: `harness up --name faults --no-node`, then
//! `harness exec --name faults -- target/debug/faults`. With the real engine: `harness trial -- target/debug/faults --real`.

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use siyada_fault::matrix::{Cell, Outcome, Pending, References, alike, cells, run, undisturbed};
use siyada_fault::operation::{OPERATIONS, Operation, SHORT, alive, clear, quiet};
use siyada_fault::progress::{Part, Progress, Row, cases, page, tally};
use siyada_fault::record::record;
use siyada_fault::stage::{Engine, Stage};
use siyada_tests::soak::dice::Dice;
use siyada_tests::soak::report::{claim, commit, machine, seed_of};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Disturbs the operator at each of its writes.
#[derive(Parser)]
struct Arguments {
    /// Run each operation undisturbed, and name its writes; disturb nothing.
    #[arg(long)]
    list: bool,
    /// Only cells whose name, as `create/7/kill-after`, contains this.
    #[arg(long)]
    only: Option<String>,
    /// Every case that ever ended elsewhere, then cells drawn at random; begins none after so many seconds.
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["only", "list"])]
    sample: Option<u64>,
    /// What the sample is drawn by; by default the commit.
    #[arg(long, env = "SIYADA_SEED")]
    seed: Option<u64>,
    /// Every cell; goes on where it was interrupted, beside others of its kind in other clusters; writes docs/faults.md.
    #[arg(long, conflicts_with_all = ["only", "sample", "list", "real"])]
    full: bool,
    /// With the real engine, on a cluster with a node.
    #[arg(long)]
    real: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Write what the real engine says into tests/fault/recording.json, on a cluster with a node.
    Record,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let project = here.ancestors().nth(2).context("no project")?.to_path_buf();
    let started = Instant::now();
    // What runs is of this commit, whatever is committed while the undisturbed runs take their minutes.
    let commit = commit(&project)?;
    let recording = arguments.command.is_some();
    let engine = if arguments.real || recording { Engine::Real } else { Engine::Played };
    let mut stage = Stage::start(&project, engine).await?;
    println!("the platform runs after {:.1} s", started.elapsed().as_secs_f64());
    if recording {
        let file = here.join("recording.json");
        let text = record(&mut stage).await?;
        std::fs::write(&file, text)?;
        println!("wrote {}", file.display());
        return Ok(());
    }
    // Where the text names an operation, the others need not be run undisturbed.
    let named = arguments.only.as_deref().and_then(|only| only.split('/').next());
    let one = OPERATIONS.into_iter().find(|operation| named == Some(operation.name()));
    let wanted: Vec<Operation> = OPERATIONS
        .into_iter()
        .filter(|operation| one.is_none_or(|one| one == *operation))
        .filter(|operation| stage.archives || *operation != Operation::Restore)
        .collect();
    let references = references(&mut stage, &wanted, &arguments).await?;
    if arguments.list {
        return Ok(());
    }
    let mut faults = Faults::new(arguments, project, commit, started);
    faults.run(&mut stage, &references).await?;
    faults.end(&references)
}

/// Each operation undisturbed. For a whole run twice: if those two differ, a disturbed one that differs tells nothing.
async fn references(stage: &mut Stage, wanted: &[Operation], arguments: &Arguments) -> Result<References> {
    let mut all = undisturbed(stage, wanted).await?;
    if arguments.full || arguments.list {
        let again = undisturbed(stage, wanted).await?;
        for (operation, run) in &again {
            let before = all.get(operation).context("no first run")?;
            alike(*operation, before, run)?;
        }
        all = again;
    }
    all.retain(|operation, _| wanted.contains(operation) || arguments.list);
    for (operation, run) in &all {
        let (name, writes) = (operation.name(), run.writes.len());
        println!("{name}: {writes} writes, created {:?}, deleted {:?}", run.created, run.deleted);
        if arguments.list {
            let number = |(index, write): (usize, &_)| println!("  {} {write}", index + 1);
            run.writes.iter().enumerate().for_each(number);
        }
    }
    Ok(all)
}

/// A run under way.
struct Faults {
    arguments: Arguments,
    project: PathBuf,
    commit: String,
    started: Instant,
    progress: Progress,
    /// What this process found.
    rows: BTreeMap<String, Row>,
    /// When the last row was written.
    last: Instant,
}

impl Faults {
    fn new(arguments: Arguments, project: PathBuf, commit: String, started: Instant) -> Self {
        let progress = Progress::of(&project, &commit);
        Self { arguments, project, commit, started, progress, rows: BTreeMap::new(), last: started }
    }

    /// The cells of this run, in their order; of a sample only the cases that every sample has, and the others after them.
    fn cells(&self, references: &References) -> Result<[Vec<Cell>; 2]> {
        let mut all = cells(references);
        let mut first = Vec::new();
        if let Some(only) = &self.arguments.only {
            all.retain(|cell| cell.name.contains(only.as_str()));
        }
        if self.arguments.sample.is_some() {
            let seed = self.arguments.seed.unwrap_or_else(|| seed_of(&self.commit));
            println!("a sample with --seed {seed}");
            Dice::new(seed).shuffle(&mut all);
            first = cases(include_str!("../../cases.txt"), references)?;
            all.retain(|cell| !first.contains(cell));
        }
        if self.arguments.full {
            let done = self.progress.rows();
            all.retain(|cell| !done.contains_key(&cell.name));
            println!("{} cells are done, {} are left", done.len(), all.len());
        } else {
            ensure!(!all.is_empty(), "no cell has such a name");
        }
        Ok([first, all])
    }

    /// Whether another cell is begun.
    fn goes_on(&self) -> bool {
        self.arguments.sample.is_none_or(|limit| self.started.elapsed() < Duration::from_secs(limit))
    }

    async fn run(&mut self, stage: &mut Stage, references: &References) -> Result<()> {
        let [first, rest] = self.cells(references)?;
        self.last = Instant::now();
        clear(stage).await?;
        self.live(stage, Pending::new(first), references, false).await?;
        self.live(stage, Pending::new(rest), references, true).await
    }

    /// Lives lives until no cell waits, or the time of a sample is over.
    async fn live(
        &mut self,
        stage: &mut Stage,
        mut pending: Pending,
        references: &References,
        timed: bool,
    ) -> Result<()> {
        while !pending.is_empty() && (!timed || self.goes_on()) {
            let mut life = self.claimed(pending.life())?.into_iter();
            for (operation, held) in life.by_ref() {
                let ends_well = self.step(stage, (operation, held), references).await?;
                if !ends_well || timed && !self.goes_on() {
                    break;
                }
            }
            life.filter_map(|(_, held)| held).for_each(|(cell, _)| pending.put_back(cell));
            clear(stage).await?;
        }
        Ok(())
    }

    /// Holds the cells of a life against other processes; those that are done or held elsewhere are left out.
    fn claimed(&self, life: Vec<(Operation, Option<Cell>)>) -> Result<Vec<(Operation, Option<Held>)>> {
        if !self.arguments.full {
            return Ok(life.into_iter().map(|(o, cell)| (o, cell.map(|cell| (cell, None)))).collect());
        }
        let done = self.progress.rows();
        let mut all = Vec::new();
        for (operation, cell) in life {
            let held = match cell.filter(|cell| !done.contains_key(&cell.name)) {
                Some(cell) => {
                    let lock = claim(self.progress.file(), &cell.name.replace('/', "-"))?;
                    lock.map(|lock| (cell, Some(lock)))
                }
                None => None,
            };
            all.push((operation, held));
        }
        let whole = all.iter().rposition(|(_, held)| held.is_some()).map_or(0, |last| last + 1);
        all.truncate(whole);
        Ok(all)
    }

    /// One operation of a life; false when the life cannot go on from where it ended.
    async fn step(
        &mut self,
        stage: &mut Stage,
        (operation, held): (Operation, Option<Held>),
        references: &References,
    ) -> Result<bool> {
        let cell = held.as_ref().map(|(cell, _)| cell);
        let plan = cell.map(|cell| cell.plan);
        let Some(reference) = references.get(&operation) else {
            // It only leads to what is wanted.
            return self.leads(stage, operation).await;
        };
        // A cell that cannot be run is told as one that ended elsewhere; the next is tried.
        let outcome = match run(stage, operation, plan, reference).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome {
                hit: stage.proxy.struck_at(),
                wrong: vec![format!("{error:#}")],
                took: Duration::ZERO,
            },
        };
        let good = outcome.wrong.is_empty();
        // One without a fault leads to others, and is told only when it ended elsewhere.
        let undisturbed = format!("{}/0/none", operation.name());
        if cell.is_some() || !good {
            self.note(cell.map_or(&undisturbed, |cell| &cell.name), outcome)?;
        }
        Ok(good)
    }

    /// Does an operation that nothing is held against.
    async fn leads(&self, stage: &mut Stage, operation: Operation) -> Result<bool> {
        stage.proxy.arm(None, None);
        operation.act(stage).await?;
        alive(stage, operation.name(), async |stage| operation.done(stage).await).await?;
        quiet(stage, SHORT).await?;
        Ok(true)
    }

    fn note(&mut self, name: &str, outcome: Outcome) -> Result<()> {
        let row = Row::new(name, outcome, self.last.elapsed().as_secs_f64());
        self.last = Instant::now();
        let good = if row.wrong.is_empty() { "ok" } else { "WRONG" };
        let hit = row.hit.as_deref().unwrap_or("no such write");
        println!("{good} {name} ({hit}) {:.1} s of {:.1} s", row.took, row.whole);
        row.wrong.iter().for_each(|line| println!("    {line}"));
        if self.arguments.full {
            self.progress.add(&row)?;
        }
        self.rows.insert(row.name.clone(), row);
        Ok(())
    }

    fn end(&self, references: &References) -> Result<()> {
        let rows = if self.arguments.full { self.progress.rows() } else { self.rows.clone() };
        let (bad, missed) = tally(rows.values());
        let (count, seconds) = (rows.len(), self.started.elapsed().as_secs());
        println!("{count} cells, {seconds} s: {bad} ended elsewhere, {missed} had no such write");
        let page_of = match (self.arguments.full, self.arguments.real && self.arguments.sample.is_some()) {
            (true, _) => Some((Part::Whole, "docs/faults.md")),
            (_, true) => Some((Part::Real, "docs/faults-real.md")),
            _ => None,
        };
        if let Some((part, file)) = page_of {
            let file = self.project.join(file);
            std::fs::write(&file, page(part, (&self.commit, &machine()), references, &rows)?)?;
            println!("wrote {}", file.display());
        }
        ensure!(bad == 0, "{bad} cells ended elsewhere");
        Ok(())
    }
}

/// A cell, and what holds it against other processes.
type Held = (Cell, Option<File>);

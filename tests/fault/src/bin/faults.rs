//! The matrix of faults on a cluster without nodes: `harness up --name faults --no-node`, then
//! `harness exec --name faults -- target/debug/faults`.

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use siyada_fault::matrix::{FAULTS, OPERATIONS, Operation, Outcome, Reference, cell, undisturbed, unlike};
use siyada_fault::plan::Plan;
use siyada_fault::player;
use siyada_fault::snapshot::ENGINE;
use siyada_fault::stage::Stage;
use std::fmt::Write as _;
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
    /// Cells drawn at random until so many seconds are over.
    #[arg(long, value_name = "SECONDS")]
    sample: Option<u64>,
    /// What the sample is drawn by.
    #[arg(long, env = "SIYADA_SEED", default_value_t = 1)]
    seed: u64,
    /// Every cell; writes docs/faults.md.
    #[arg(long, conflicts_with_all = ["only", "sample", "list"])]
    full: bool,
}

struct Cell {
    operation: Operation,
    reference: usize,
    plan: Plan,
    name: String,
}

struct Row {
    name: String,
    outcome: Outcome,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let project = here.ancestors().nth(2).context("no project")?.to_path_buf();
    let started = Instant::now();
    let mut stage = Stage::start(&project).await?;
    println!("the platform runs after {:.1} s", started.elapsed().as_secs_f64());
    let engine = siyada_fault::stage::administrator()?;
    tokio::spawn(async move { player::play(&engine, ENGINE).await });
    // Where the text names an operation, the others need not be run undisturbed.
    let named = arguments.only.as_deref().and_then(|only| only.split('/').next());
    let one = OPERATIONS.into_iter().find(|operation| named == Some(operation.name()));
    let wanted = |operation: &Operation| one.is_none_or(|one| one == *operation);
    let operations: Vec<Operation> = OPERATIONS.into_iter().filter(wanted).collect();
    let references = references(&mut stage, &operations, arguments.list).await?;
    if arguments.list {
        return Ok(());
    }
    let mut cells = cells(&operations, &references);
    if let Some(only) = &arguments.only {
        cells.retain(|cell| cell.name.contains(only.as_str()));
    }
    ensure!(!cells.is_empty(), "no cell has such a name");
    if arguments.sample.is_some() {
        shuffle(&mut cells, arguments.seed);
    }
    let whole = cells.len();
    let rows = run(&mut stage, cells, &references, arguments.sample).await?;
    let bad = rows.iter().filter(|row| !row.outcome.wrong.is_empty()).count();
    let missed = rows.iter().filter(|row| row.outcome.hit.is_none()).count();
    println!(
        "{} of {whole} cells in {:.0} s: {bad} ended elsewhere, {missed} had no such write",
        rows.len(),
        started.elapsed().as_secs_f64()
    );
    if arguments.full {
        let page: PathBuf = project.join("docs/faults.md");
        std::fs::write(&page, report(&operations, &references, &rows, started.elapsed())?)?;
        println!("wrote {}", page.display());
    }
    ensure!(bad == 0, "{bad} cells ended elsewhere");
    Ok(())
}

/// Each operation twice undisturbed: if those two differ, a disturbed one that differs tells nothing.
async fn references(stage: &mut Stage, operations: &[Operation], list: bool) -> Result<Vec<Reference>> {
    let mut all = Vec::new();
    for operation in operations {
        let one = undisturbed(stage, *operation).await?;
        let other = undisturbed(stage, *operation).await?;
        println!(
            "{}: {} writes ({} in the first run), created {:?}, deleted {:?}",
            operation.name(),
            other.writes.len(),
            one.writes.len(),
            other.created,
            other.deleted
        );
        if list {
            for (number, write) in other.writes.iter().enumerate() {
                println!("  {} {write}", number + 1);
            }
        }
        let unlike = unlike(&one, &other);
        ensure!(
            unlike.is_empty(),
            "two undisturbed runs of {} differ: {}",
            operation.name(),
            unlike.join("\n")
        );
        // The first may still have had to do with the start of the platform.
        all.push(other);
    }
    Ok(all)
}

fn cells(operations: &[Operation], references: &[Reference]) -> Vec<Cell> {
    let mut all = Vec::new();
    for (reference, (operation, run)) in operations.iter().zip(references).enumerate() {
        for at in 1..=run.writes.len() {
            for (fault_name, fault) in FAULTS {
                let name = format!("{}/{at}/{fault_name}", operation.name());
                all.push(Cell { operation: *operation, reference, plan: Plan { at, fault }, name });
            }
        }
    }
    all
}

/// The same seed draws the same order (Fisher and Yates, with SplitMix64).
fn shuffle(cells: &mut [Cell], mut seed: u64) {
    for last in (1..cells.len()).rev() {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let bound = u64::try_from(last).unwrap_or(u64::MAX).saturating_add(1);
        cells.swap(last, usize::try_from(mixed % bound).unwrap_or(0));
    }
}

async fn run(
    stage: &mut Stage,
    cells: Vec<Cell>,
    references: &[Reference],
    seconds: Option<u64>,
) -> Result<Vec<Row>> {
    let (started, limit) = (Instant::now(), seconds.map(Duration::from_secs));
    let mut rows = Vec::new();
    for one in cells {
        if limit.is_some_and(|limit| started.elapsed() >= limit) {
            break;
        }
        let reference = references.get(one.reference).context("no undisturbed run")?;
        // A cell that cannot be run is told as one that ended elsewhere; the next is tried.
        let outcome = match cell(stage, one.operation, one.plan, reference).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome {
                hit: stage.proxy.struck_at(),
                wrong: vec![format!("{error:#}")],
                took: Duration::ZERO,
            },
        };
        let hit = outcome.hit.as_ref().map_or_else(|| "no such write".to_owned(), ToString::to_string);
        let good = if outcome.wrong.is_empty() { "ok" } else { "WRONG" };
        println!("{good} {} ({hit}) {:.1} s", one.name, outcome.took.as_secs_f64());
        outcome.wrong.iter().for_each(|line| println!("    {line}"));
        rows.push(Row { name: one.name, outcome });
    }
    Ok(rows)
}

fn report(
    operations: &[Operation],
    references: &[Reference],
    rows: &[Row],
    took: Duration,
) -> Result<String> {
    let mut text = String::from(
        "# The operator disturbed at each of its writes\n\nWritten by `make soak` (target/debug/faults --full). What it \
         means, and what it does not: docs/adr/0025.\n\n| operation | writes | cells | ended elsewhere | had no such \
         write |\n|---|---|---|---|---|\n",
    );
    for (operation, reference) in operations.iter().zip(references) {
        let of: Vec<&Row> =
            rows.iter().filter(|row| row.name.split('/').next() == Some(operation.name())).collect();
        let bad = of.iter().filter(|row| !row.outcome.wrong.is_empty()).count();
        let missed = of.iter().filter(|row| row.outcome.hit.is_none()).count();
        writeln!(
            text,
            "| {} | {} | {} | {bad} | {missed} |",
            operation.name(),
            reference.writes.len(),
            of.len()
        )?;
    }
    writeln!(text, "\n{} cells in {} minutes.\n", rows.len(), took.as_secs() / 60)?;
    for row in rows.iter().filter(|row| !row.outcome.wrong.is_empty()) {
        let hit = row.outcome.hit.as_ref().map(ToString::to_string).unwrap_or_default();
        writeln!(text, "- `{}` ({hit}): {}", row.name, row.outcome.wrong.join("; "))?;
    }
    Ok(text)
}

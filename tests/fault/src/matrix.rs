//! Every write of every operation, with every fault: each must end where the undisturbed run ends.

use crate::operation::{LIVES, Operation, SHORT, alive, clear, origin, quiet, rows};
use crate::plan::{Fault, Plan, Refusal, created, deleted};
use crate::snapshot::{self, differences};
use crate::stage::Stage;
use crate::write::Write;
use anyhow::{Result, ensure};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Nothing is written for so long: an undisturbed run is over, the operator's passes that only time begins too.
const LONG: Duration = Duration::from_secs(4);
/// Between two looks at everything there is: each is dozens of requests.
const LOOK: Duration = Duration::from_millis(300);

/// Every fault, with the name that it has on the command line.
pub const FAULTS: [(&str, Fault); 9] = [
    ("kill-before", Fault::KillBefore),
    ("kill-after", Fault::KillAfter),
    ("delay", Fault::Delay(Duration::from_secs(1))),
    ("drop", Fault::Drop),
    ("duplicate", Fault::Duplicate),
    ("conflict", Fault::Answer(Refusal::Conflict)),
    ("too-many", Fault::Answer(Refusal::TooMany)),
    ("internal", Fault::Answer(Refusal::Internal)),
    ("cut-watches", Fault::CutWatches),
];

/// What an undisturbed run wrote and where it ended.
#[derive(Clone, Debug, Default)]
pub struct Reference {
    /// Each write, in its order.
    pub writes: Vec<Write>,
    /// The objects that it made, by resource.
    pub created: BTreeMap<String, usize>,
    /// The objects that it removed, by resource.
    pub deleted: BTreeMap<String, usize>,
    pub(crate) end: Value,
}

/// Where each operation ends undisturbed.
pub type References = BTreeMap<Operation, Reference>;

/// What became of one cell.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The write that was hit; nothing when this run had fewer writes than the undisturbed one.
    pub hit: Option<Write>,
    /// What is not as in the undisturbed run; empty when all is.
    pub wrong: Vec<String>,
    /// How long the operation took.
    pub took: Duration,
}

/// One fault at one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What is done.
    pub operation: Operation,
    /// What happens to which write.
    pub plan: Plan,
    /// Its name, as `create/7/kill-after`.
    pub name: String,
}

/// Every cell of some operations.
pub fn cells(references: &References) -> Vec<Cell> {
    let mut all = Vec::new();
    for (operation, run) in references {
        for at in 1..=run.writes.len() {
            for (fault_name, fault) in FAULTS {
                let name = format!("{}/{at}/{fault_name}", operation.name());
                all.push(Cell { operation: *operation, plan: Plan { at, fault }, name });
            }
        }
    }
    all
}

/// Cells that wait for their turn, by operation.
#[derive(Debug, Default)]
pub struct Pending {
    waiting: BTreeMap<Operation, VecDeque<Cell>>,
    /// How many there were at first.
    whole: BTreeMap<Operation, usize>,
}

impl Pending {
    /// All of these, each operation's in this order.
    pub fn new(cells: impl IntoIterator<Item = Cell>) -> Self {
        let mut all = Self::default();
        for cell in cells {
            *all.whole.entry(cell.operation).or_default() += 1;
            all.waiting.entry(cell.operation).or_default().push_back(cell);
        }
        all
    }

    /// How many of a thousand wait.
    fn left(&self, operation: Operation) -> usize {
        let waiting = self.waiting.get(&operation).map_or(0, VecDeque::len);
        waiting * 1000 / self.whole.get(&operation).copied().unwrap_or(1)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.values().map(VecDeque::len).sum()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next life: its operations, and to each the cell that it is the turn of. It ends with the last cell that it has.
    pub fn life(&mut self) -> Vec<(Operation, Option<Cell>)> {
        // All have to be created; the life that is behind with the rest is the next, so that a sample has some of each.
        let most = |life: &&[Operation]| {
            life.iter().filter(|o| **o != Operation::Create).map(|o| self.left(*o)).max().unwrap_or(0)
        };
        let Some(life) = LIVES.into_iter().rev().max_by_key(most) else { return Vec::new() };
        let mut steps: Vec<_> = life
            .iter()
            .map(|operation| (*operation, self.waiting.get_mut(operation).and_then(VecDeque::pop_front)))
            .collect();
        let whole = steps.iter().rposition(|(_, cell)| cell.is_some()).map_or(0, |last| last + 1);
        steps.truncate(whole);
        steps
    }

    /// Takes a cell back that was not run: it is the next.
    pub fn put_back(&mut self, cell: Cell) {
        self.waiting.entry(cell.operation).or_default().push_front(cell);
    }
}

/// Lives every life that has one of these operations undisturbed, each operation where it comes in its life.
///
/// # Errors
/// When one does not end, or two that should be alike are not: then what is compared is not the operator's doing.
pub async fn undisturbed(stage: &mut Stage, wanted: &[Operation]) -> Result<References> {
    let mut all = References::new();
    // What a platform writes once, as the record of its first deletion, is no part of any operation.
    clear(stage).await?;
    Operation::Create.act(stage).await?;
    alive(stage, "a first order", async |stage| Operation::Create.done(stage).await).await?;
    clear(stage).await?;
    if wanted.contains(&Operation::Restore) {
        origin(stage).await?;
    }
    for life in LIVES {
        let Some(last) = life.iter().rposition(|operation| wanted.contains(operation)) else { continue };
        clear(stage).await?;
        for operation in life.iter().take(last + 1) {
            stage.proxy.arm(None, None);
            operation.act(stage).await?;
            alive(stage, operation.name(), async |stage| operation.done(stage).await).await?;
            quiet(stage, LONG).await?;
            let seen = stage.proxy.seen();
            let end = snapshot::take(&stage.admin, &stage.ledger).await?;
            let writes = seen.iter().map(|one| one.write.clone()).collect();
            let run = Reference { writes, created: created(&seen), deleted: deleted(&seen), end };
            // The first run may still have had to do with the start of the platform: the last is kept.
            if let Some(before) = all.insert(*operation, run.clone()) {
                alike(*operation, &before, &run)?;
            }
        }
    }
    Ok(all)
}

/// Holds two undisturbed runs against each other.
///
/// # Errors
/// What differs.
pub fn alike(operation: Operation, one: &Reference, other: &Reference) -> Result<()> {
    let mut all = differences(&one.end, &other.end);
    all.extend(counts(one, &other.created, &other.deleted));
    ensure!(all.is_empty(), "two undisturbed runs of {} differ: {}", operation.name(), all.join("\n"));
    Ok(())
}

/// What was made must be what was made undisturbed. With the same end as many went, by whoever's hand: what is owned by an
/// order that is gone the garbage collector removes, and after a restart it may come first. More than undisturbed may nobody.
fn counts(
    reference: &Reference,
    created: &BTreeMap<String, usize>,
    deleted: &BTreeMap<String, usize>,
) -> Vec<String> {
    let mut all = Vec::new();
    if *created != reference.created {
        all.push(format!("created: expected {:?}, found {created:?}", reference.created));
    }
    let most = |resource: &String| reference.deleted.get(resource).copied().unwrap_or(0);
    if deleted.iter().any(|(resource, count)| *count > most(resource)) {
        all.push(format!("deleted: expected {:?}, found {deleted:?}", reference.deleted));
    }
    all
}

/// Runs an operation, with a fault at one of its writes, from where the operation before it ended.
///
/// # Errors
/// When it could not be run; what it found wrong is no error.
pub async fn run(
    stage: &mut Stage,
    operation: Operation,
    plan: Option<Plan>,
    expected: &Reference,
) -> Result<Outcome> {
    let victim = stage.operator()?;
    stage.proxy.arm(plan, Some(victim));
    let started = Instant::now();
    let mut wrong = Vec::new();
    if let Err(error) = operation.act(stage).await {
        wrong.push(format!("{error:#}"));
    }
    let (differ, took) = loop {
        stage.revive().await?;
        let mut differ = match snapshot::take(&stage.admin, &stage.ledger).await {
            Ok(end) => differences(&expected.end, &end),
            Err(error) => vec![format!("{error:#}")],
        };
        if differ.is_empty() {
            quiet(stage, SHORT).await?;
            // What came after the look counts too.
            let end = snapshot::take(&stage.admin, &stage.ledger).await?;
            differ = differences(&expected.end, &end);
        }
        if differ.is_empty() || started.elapsed() > stage.limit {
            break (differ, started.elapsed());
        }
        tokio::time::sleep(LOOK).await;
    };
    wrong.extend(differ);
    if operation == Operation::Restore {
        wrong.extend(rows(stage).await?);
    }
    let seen = stage.proxy.seen();
    wrong.extend(counts(expected, &created(&seen), &deleted(&seen)));
    Ok(Outcome { hit: stage.proxy.struck_at(), wrong, took })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::OPERATIONS;

    #[test]
    fn every_cell_has_its_turn_once_and_lives_do_not_go_on_for_nothing() {
        let count = |operation: Operation| 3 + 5 * usize::from(operation == Operation::Create);
        let all = OPERATIONS.into_iter().flat_map(|operation| {
            (1..=count(operation)).map(move |at| Cell {
                operation,
                plan: Plan { at, fault: Fault::Drop },
                name: format!("{}/{at}/drop", operation.name()),
            })
        });
        let mut pending = Pending::new(all);
        let (whole, mut names, mut lives) = (pending.len(), Vec::new(), 0);
        while !pending.is_empty() {
            let life = pending.life();
            assert!(life.last().is_some_and(|(_, cell)| cell.is_some()), "{life:?}");
            assert!(LIVES.iter().any(|l| l.iter().copied().zip(&life).all(|(o, (step, _))| o == *step)));
            names.extend(life.into_iter().filter_map(|(_, cell)| cell).map(|cell| cell.name));
            lives += 1;
        }
        assert_eq!((names.len(), lives), (whole, 8 + 3), "a restore creates");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), whole);
    }

    #[test]
    fn one_object_more_is_told_and_one_that_somebody_else_removed_is_not() {
        let of = |count: usize| BTreeMap::from([("secrets".to_owned(), count)]);
        let reference = Reference { created: of(2), deleted: of(3), ..Reference::default() };
        let told = |created, deleted| counts(&reference, &of(created), &of(deleted)).len();
        assert_eq!((told(2, 3), told(2, 2)), (0, 0));
        assert_eq!((told(1, 3), told(3, 3), told(2, 4)), (1, 1, 1));
        assert_eq!(counts(&reference, &of(2), &BTreeMap::from([("clusters".to_owned(), 1)])).len(), 1);
    }

    #[test]
    fn a_cell_that_is_put_back_is_the_next() {
        let cell = |at| Cell {
            operation: Operation::Create,
            plan: Plan { at, fault: Fault::Drop },
            name: at.to_string(),
        };
        let mut pending = Pending::new([cell(1), cell(2)]);
        let first = pending.life().remove(0).1;
        assert_eq!(first, Some(cell(1)));
        pending.put_back(cell(1));
        assert_eq!(pending.life().remove(0).1, Some(cell(1)));
        assert_eq!(pending.len(), 1);
    }
}

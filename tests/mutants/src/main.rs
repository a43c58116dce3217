//! Lets the mutants live one after the other, and writes docs/mutations.md.

use anyhow::{Result, ensure};
use clap::Parser;
use siyada_mutants::{Fate, MUTANTS, Mutant, Page, Tree, commit};
use std::collections::BTreeMap;
use std::time::Instant;

/// Breaks each invariant on purpose, and looks whether its test fails.
#[derive(Parser)]
struct Arguments {
    /// Only mutants whose name, test or invariant (I7) has this text.
    #[arg(long)]
    only: Option<String>,
    /// Only those that docs/mutations.md does not list.
    #[arg(long)]
    missing: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let commit = commit()?;
    let mut page = Page::read();
    let named = |mutant: &&Mutant| {
        arguments.only.as_ref().is_none_or(|text| {
            [mutant.name, mutant.test].iter().any(|of| of.contains(text.as_str()))
                || format!("I{}", mutant.invariant) == *text
        })
    };
    let mut chosen: Vec<&Mutant> =
        MUTANTS.iter().filter(named).filter(|m| !arguments.missing || !page.lists(m.name)).collect();
    ensure!(!chosen.is_empty(), "there is no such mutant");
    // What is tested by the same program comes together, so that as little as possible is compiled.
    let program = |mutant: &Mutant| (mutant.package != "siyada-model", mutant.package, mutant.target);
    chosen.sort_by_key(|mutant| program(mutant));
    let tree = Tree::new()?;
    let mut lives = Vec::new();
    let mut under_way = None;
    for mutant in &chosen {
        if under_way.replace(program(mutant)) != Some(program(mutant)) {
            // A test that fails by itself kills nothing.
            let together = chosen.iter().filter(|other| program(other) == program(mutant));
            let tests: BTreeMap<&str, &Mutant> = together.map(|other| (other.test, *other)).collect();
            tests.into_values().try_for_each(|one| tree.is_sound(one))?;
        }
        let begins = Instant::now();
        let fate = tree.try_out(mutant)?;
        let seconds = begins.elapsed().as_secs();
        match &fate {
            Fate::Killed => println!("killed  I{} {} ({seconds} s)", mutant.invariant, mutant.name),
            Fate::Lives => println!("LIVES   I{} {} ({seconds} s)", mutant.invariant, mutant.name),
            Fate::Spoilt(why) => println!("SPOILT  I{} {}:\n{why}", mutant.invariant, mutant.name),
        }
        let killed = fate == Fate::Killed;
        page.put(mutant.name, killed.then_some(commit.as_str()))?;
        if !killed {
            lives.push(mutant.name);
        }
    }
    ensure!(lives.is_empty(), "not killed: {}", lives.join(", "));
    println!("{} mutants, all killed", chosen.len());
    Ok(())
}

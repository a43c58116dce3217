//! Lets the mutants live one after the other, and writes docs/mutations.md.

use anyhow::{Result, ensure};
use clap::Parser;
use siyada_mutants::{Fate, MUTANTS, Mutant, Page, Tree, commit};
use std::collections::BTreeSet;
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
    let chosen: Vec<&Mutant> =
        MUTANTS.iter().filter(named).filter(|m| !arguments.missing || !page.lists(m.name)).collect();
    ensure!(!chosen.is_empty(), "there is no such mutant");
    let tree = Tree::new()?;
    let mut sound = BTreeSet::new();
    let mut lives = Vec::new();
    for mutant in &chosen {
        let begins = Instant::now();
        // A test that fails by itself kills nothing.
        if sound.insert((mutant.package, mutant.test)) {
            tree.is_sound(mutant)?;
        }
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

//! The list does not rot: every mutant can be made, is about an invariant, and was seen to be killed.

use siyada_mutants::{MUTANTS, Page, folder};
use std::collections::BTreeSet;

#[test]
fn the_text_of_every_mutant_is_in_its_file_exactly_once() {
    for mutant in MUTANTS {
        let source = std::fs::read_to_string(folder().join(mutant.file)).unwrap();
        let found = source.matches(mutant.text).count();
        assert_eq!(found, 1, "{}: its text is {found} times in {}; mend the list", mutant.name, mutant.file);
        assert_ne!(mutant.text, mutant.instead, "{}", mutant.name);
    }
}

#[test]
fn every_mutant_has_its_own_name_and_was_seen_to_be_killed() {
    let page = Page::read();
    let mut names = BTreeSet::new();
    for mutant in MUTANTS {
        assert!(names.insert(mutant.name), "{} is there twice", mutant.name);
        assert!(
            page.lists(mutant.name),
            "docs/mutations.md does not list {}; run: make mutants, or cargo run -p siyada-mutants -- --only {}",
            mutant.name,
            mutant.name
        );
    }
}

#[test]
fn every_invariant_has_a_mutant_and_tests_are_named_by_it() {
    let covered: BTreeSet<u8> = MUTANTS.iter().map(|mutant| mutant.invariant).collect();
    let missing: Vec<u8> = (1..=21).filter(|number| !covered.contains(number)).collect();
    assert!(missing.is_empty(), "no mutant breaks {missing:?}");
    for mutant in MUTANTS {
        let name = mutant.test.rsplit("::").next().unwrap();
        let number = name.get(1..3).and_then(|digits| digits.parse::<u8>().ok());
        assert!(name.starts_with('i') && number.is_some(), "{name} is not named by an invariant");
    }
}

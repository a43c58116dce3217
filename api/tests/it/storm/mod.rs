//! A storm of kills over the ledger: the api dies at each of its fail points and at random, PostgreSQL and its processes
//! die, batches come again, in another order and from operators that were replaced, and months close in between. At the
//! end the documents are those of a run in which nothing happened.
//!
//! So it holds I1 to I4 after any crash, and by what it checks at the end I2 (all that was told is billed once), I6, I8 and I9
//! (sums), I12 and I19 (the same bytes, also offline), I13 and I14 (numbers, chain and audit trail). After every kill it looks
//! whether what was acknowledged stands.
//!
//! `SIYADA_SEED` repeats a storm, `SIYADA_KILLS` says how long it is. What is drawn is the same for the same seed; where in
//! the program a kill at random meets it is not.

mod driver;
mod plan;
mod recount;
mod report;
mod world;

pub use world::sums_are_right;

use crate::audit::verified;
use crate::closing::documents;
use crate::storm::driver::Storm;
use crate::storm::plan::Plan;
use crate::storm::report::Report;
use crate::support::fresh_database;
use siyada_api::export::export;
use siyada_api::store;
use siyada_api::verify::verify;
use std::collections::BTreeMap;

/// Kills of each month of a storm, at most.
const KILLS_A_MONTH: usize = 20;
/// Kills of the sample that every test run has.
const SAMPLE: usize = 100;
/// Kills of the whole storm, at least.
const WHOLE: usize = 500;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Rides out a storm, and says what happened.
async fn ride(seed: u64, kills: usize) -> BTreeMap<String, u64> {
    siyada_api::install_tls_provider();
    let months = kills.div_ceil(KILLS_A_MONTH);
    let plan = Plan::draw(seed, months);
    let expected = world::undisturbed(store::pool(fresh_database().await), &plan).await;
    let mut storm = Storm::begin(seed, &plan).await;
    for number in 0..months {
        storm.month(number, kills * (number + 1) / months - kills * number / months).await;
    }
    let found = documents(&storm.world).await;
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(world::bytes(found), world::bytes(expected), "{} is not as without a storm", found.number);
    }
    storm.nothing_is_lost_or_doubled().await;
    recount::all_is_billed_once(&plan, &found);
    verified(&storm.world).await;
    world::sums_are_right(&storm.world).await;
    let place = storm.server.place("export");
    export(&storm.world.pool, &place).await.unwrap();
    let verified = verify(&place, None).unwrap();
    assert_eq!((verified.documents, verified.months), (found.len(), months));
    storm.count("documents, all as without the storm", found.len());
    storm.count("months closed", months);
    storm.count("records of usage", verified.records);
    storm.counts
}

#[tokio::test(flavor = "multi_thread")]
async fn i04_a_sample_of_a_storm_loses_nothing_and_bills_nothing_twice() {
    let seed = number("SIYADA_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let kills = number("SIYADA_KILLS").map_or(SAMPLE, |kills| usize::try_from(kills).unwrap());
    println!("storm: SIYADA_SEED={seed} SIYADA_KILLS={kills} repeats it");
    let counts = ride(seed, kills).await;
    assert_eq!(counts["kills"], u64::try_from(kills).unwrap(), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes some minutes: make storm"]
async fn i04_a_whole_storm_loses_nothing_and_bills_nothing_twice() {
    let kills = number("SIYADA_KILLS").map_or(WHOLE, |kills| usize::try_from(kills).unwrap());
    let report = Report::begin(number("SIYADA_SEED"), kills);
    println!("storm: SIYADA_SEED={} SIYADA_KILLS={kills} repeats it", report.seed);
    let outcome = tokio::spawn(ride(report.seed, kills)).await.map_err(|cause| {
        let said = |panic: Box<dyn std::any::Any + Send>| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        };
        cause.try_into_panic().ok().and_then(said).unwrap_or_else(|| "it ended without a word".to_owned())
    });
    report.write(&outcome);
    outcome.unwrap();
}

//! What is billed, counted from the facts of the plan by arithmetic that shares nothing with the ledger's.

use crate::storm::plan::Plan;
use jiff::Timestamp;
use siyada_model::statement::Statement;
use std::collections::BTreeMap;

type Stream = (String, String);

/// Base units x milliseconds of each order and meter: those of the facts are those of all lines and corrections.
pub fn all_is_billed_once(plan: &Plan, documents: &[Statement]) {
    let end = documents.iter().map(|d| d.period.end.as_millisecond()).max().unwrap();
    let mut facts: BTreeMap<Stream, BTreeMap<i64, i128>> = BTreeMap::new();
    let first = ("s-00".to_owned(), "compute".to_owned());
    let begins: Timestamp = "2024-01-31T23:00:00Z".parse().unwrap();
    facts.entry(first).or_default().insert(begins.as_millisecond(), 1);
    for told in plan.months.iter().flat_map(|month| &month.batches).flatten() {
        let text = |name: &str| told.fact[name].as_str().unwrap().to_owned();
        let at: Timestamp = text("at").parse().unwrap();
        let quantity = told.fact["level"]["quantity"].as_i64().unwrap_or(0);
        let stream = facts.entry((text("orderUid"), text("meter"))).or_default();
        stream.insert(at.as_millisecond(), i128::from(quantity));
    }
    let mut used: BTreeMap<Stream, i128> = BTreeMap::new();
    for (stream, changes) in facts {
        let ends = changes.keys().skip(1).copied().chain([end]);
        let sum = changes.iter().zip(ends).map(|((start, quantity), end)| i128::from(end - start) * quantity);
        used.insert(stream, sum.sum());
    }
    let mut billed: BTreeMap<Stream, i128> = BTreeMap::new();
    for line in documents.iter().flat_map(|d| d.lines.iter().chain(&d.corrections)) {
        let stream = (line.order.uid.to_string(), line.meter.to_string());
        *billed.entry(stream).or_default() += line.quantity_ms.parse::<i128>().unwrap();
    }
    used.retain(|_, sum| *sum != 0);
    billed.retain(|_, sum| *sum != 0);
    assert_eq!(billed, used);
}

//! CSV, read back with another library.

use crate::fixture::{hostile_month, month, statements};
use proptest::prelude::*;
use siyada_documents::{availability_csv, csv};
use siyada_model::money::Money;
use siyada_model::statement::Statement;
use std::collections::BTreeMap;

/// The rows of a file, each by the names of its columns.
pub fn rows(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
    let heads = reader.headers().unwrap().clone();
    let row = |row: Result<csv::StringRecord, csv::Error>| {
        let row = row.unwrap();
        assert_eq!(row.len(), heads.len());
        heads.iter().map(str::to_owned).zip(row.iter().map(str::to_owned)).collect()
    };
    reader.records().map(row).collect()
}

/// A decimal amount in minor units, exactly.
pub fn minor(text: &str, statement: &Statement) -> i64 {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    Money::parse(digits, statement.currency).unwrap().minor * sign
}

#[test]
fn there_is_a_row_for_each_instance() {
    for statement in [month(&["interieur", "sante"], 2), hostile_month()] {
        let period = (statement.period.start, statement.period.end);
        let rows = rows(&availability_csv(period, &statement.availability));
        assert_eq!(rows.len(), statement.availability.len());
        for (row, one) in rows.iter().zip(&statement.availability) {
            assert_eq!(row["orderUid"], one.order.uid.to_string());
            assert_eq!(row["upMs"], one.figures.up_ms.to_string());
            assert_eq!(row["percent"], one.figures.percent.clone().unwrap_or_default());
            let sum = ["upMs", "downMs", "unobservedMs"].map(|name| row[name].parse::<i64>().unwrap());
            assert_eq!(sum.iter().sum::<i64>().to_string(), row["shouldRunMs"]);
            assert!(!row["name"].starts_with(['=', '+', '-', '@']), "{}", row["name"]);
        }
    }
}

#[test]
fn there_is_a_row_for_each_part() {
    let statement = month(&["interieur", "sante"], 3);
    let rows = rows(&csv(&statement).unwrap());
    let lines = statement.lines.iter().chain(&statement.corrections);
    let parts: Vec<_> = lines.flat_map(|line| line.parts.iter().map(move |part| (line, part))).collect();
    assert_eq!(rows.len(), parts.len());
    for (row, (line, part)) in rows.iter().zip(parts) {
        assert_eq!(row["orderUid"], line.order.uid.to_string());
        assert_eq!(row["quantityMs"], line.quantity_ms);
        assert_eq!(row["start"], line.start.to_string());
        assert_eq!(row["budgetLine"], part.booking.budget_line.clone().unwrap());
        assert_eq!(minor(&row["amount"], &statement), part.minor);
    }
    let first = &rows[0];
    assert_eq!(first["statementMonth"], "2026-10");
    assert_eq!((first["section"].as_str(), first["quantity"].as_str()), ("line", "393.683"));
    let last = rows.last().unwrap();
    assert_eq!((last["section"].as_str(), last["month"].as_str()), ("correction", "2026-09"));
    assert_eq!((last["quantity"].as_str(), last["amount"].as_str()), ("-7.500", "-1.53"));
}

#[test]
fn no_text_is_a_formula() {
    let statement = hostile_month();
    let rows = rows(&csv(&statement).unwrap());
    let name = statement.lines[0].order.name.clone();
    assert!(name.starts_with('='));
    for row in rows {
        assert_eq!(row["name"], format!("'{name}"));
        for (head, value) in row {
            let number = value
                .strip_prefix('-')
                .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
            assert!(number || !value.starts_with(['=', '+', '-', '@', '\t', '\r']), "{head}: {value:.40}");
        }
    }
}

#[test]
fn a_line_without_parts_is_not_lost() {
    let mut statement = month(&["interieur"], 1);
    let amount = statement.lines[0].minor;
    statement.lines.truncate(1);
    statement.corrections.clear();
    statement.lines[0].parts.clear();
    let rows = rows(&csv(&statement).unwrap());
    assert_eq!((rows.len(), minor(&rows[0]["amount"], &statement)), (1, amount));
}

proptest! {
    #[test]
    fn the_amounts_sum_to_the_net_total(statement in statements()) {
        let sum: i64 = rows(&csv(&statement).unwrap()).iter().map(|row| minor(&row["amount"], &statement)).sum();
        prop_assert_eq!(sum, statement.totals.net_minor);
    }
}

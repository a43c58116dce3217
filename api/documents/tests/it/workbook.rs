//! The workbook, read back with another library.

use crate::fixture::{hostile_month, month, statements};
use crate::tools::{output, python, written};
use calamine::{Data, Range, Reader, Xlsx};
use proptest::prelude::*;
use siyada_documents::{DocumentError, Language, xlsx};
use siyada_model::statement::Statement;
use std::io::Cursor;
use std::process::Command;

/// Column of the amounts, from zero.
const AMOUNT: u32 = 15;

fn open(statement: &Statement, language: Language) -> Xlsx<Cursor<Vec<u8>>> {
    calamine::open_workbook_from_rs(Cursor::new(xlsx(statement, language).unwrap())).unwrap()
}

fn cell(sheet: &Range<Data>, row: u32, column: u32) -> Data {
    sheet.get_value((row, column)).cloned().unwrap_or_default()
}

/// An amount of a sheet in hundredths: what a reader of the file sees.
fn hundredths(value: &Data) -> i64 {
    let Data::Float(float) = value else { panic!("{value:?} is no number") };
    let text = format!("{float:.2}").replace('.', "");
    text.parse().unwrap()
}

#[test]
fn numbers_are_numbers_and_names_are_texts() {
    let statement = month(&["interieur", "sante"], 2);
    for language in Language::ALL {
        let mut book = open(&statement, language);
        assert_eq!(book.sheet_names(), ["Lines", "Booked", "Gaps", "Availability", "Control"]);
        let lines = book.worksheet_range("Lines").unwrap();
        let parts =
            statement.lines.iter().chain(&statement.corrections).map(|line| line.parts.len()).sum::<usize>();
        assert_eq!(lines.height(), parts + 1);
        assert_eq!(cell(&lines, 1, 5), Data::String("7c0f9a3e-5d1b-4c52-9e0a-000000000000".to_owned()));
        assert_eq!(cell(&lines, 1, 12), Data::Float(393.683));
        assert_eq!(cell(&lines, 1, 14), Data::Float(0.2035));
        assert_eq!(hundredths(&cell(&lines, 1, AMOUNT)), statement.lines[0].parts[0].minor);
        let Data::String(exact) = cell(&lines, 1, 20) else { panic!("the exact quantity is a text") };
        assert_eq!(exact, statement.lines[0].quantity_ms);
        let booked = book.worksheet_range("Booked").unwrap();
        for (row, total) in (1..).zip(&statement.totals.booked) {
            assert_eq!(hundredths(&cell(&booked, row, 5)), total.gross_minor);
        }
        assert_eq!(book.worksheet_range("Gaps").unwrap().height(), statement.gaps.len() + 1);
        let available = book.worksheet_range("Availability").unwrap();
        assert_eq!(available.height(), statement.availability.len() + 1);
        assert_eq!(cell(&available, 1, 6), Data::String("743:33:07.750".to_owned()));
        assert_eq!(cell(&available, 1, 9), Data::Float(99.95));
        assert_eq!(cell(&available, 2, 9), Data::Empty);
    }
}

#[test]
fn only_the_control_has_formulas() {
    for statement in [month(&["interieur", "sante"], 2), hostile_month()] {
        let mut book = open(&statement, Language::French);
        for name in ["Lines", "Booked", "Gaps", "Availability"] {
            let formulas = book.worksheet_formula(name).unwrap();
            assert!(formulas.used_cells().all(|(_, _, formula)| formula.is_empty()), "{name}");
        }
        let formulas = book.worksheet_formula("Control").unwrap();
        let found: Vec<String> = formulas.used_cells().map(|(_, _, formula)| formula.clone()).collect();
        let rows =
            statement.lines.iter().chain(&statement.corrections).map(|line| line.parts.len()).sum::<usize>();
        let (taxes, places) = (statement.totals.taxes.len(), statement.totals.booked.len());
        let expected = [
            format!("SUM(Lines!P2:P{})", rows + 1),
            "ROUND(B2-C2,2)".to_owned(),
            format!("SUM(B2:B{})", taxes + 2),
            format!("ROUND(B{0}-C{0},2)", taxes + 3),
            format!("SUM(Booked!F2:F{})", places + 1),
            format!("ROUND(B{0}-C{0},2)", taxes + 4),
        ];
        assert_eq!(found, expected);
    }
}

#[test]
fn hostile_names_are_short_texts() {
    let mut book = open(&hostile_month(), Language::Arabic);
    let lines = book.worksheet_range("Lines").unwrap();
    let Data::String(name) = cell(&lines, 1, 4) else { panic!("a name is a text") };
    assert!(name.starts_with("=cmd()|' /C calc'!A0 gnp.exe *bold*") && name.chars().count() <= 301, "{name}");
}

#[test]
fn what_a_cell_would_round_is_refused() {
    let mut statement = month(&["interieur"], 1);
    statement.lines[0].parts[0].minor = 999_999_999_999_999;
    assert!(xlsx(&statement, Language::English).is_ok());
    statement.lines[0].parts[0].minor = 1_000_000_000_000_000;
    assert!(matches!(xlsx(&statement, Language::English), Err(DocumentError::Digits(_))));
}

#[test]
fn the_same_statement_gives_the_same_bytes_with_the_date_of_issue() {
    let statement = month(&["interieur"], 2);
    let file = xlsx(&statement, Language::English).unwrap();
    assert!(file == xlsx(&statement, Language::English).unwrap());
    let path = written("dated.xlsx", &file);
    let read = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); print(z.read('docProps/core.xml').decode()); \
        print(sorted({i.date_time for i in z.infolist()}))";
    let text = output(Command::new(python()).args(["-c", read]).arg(path), "");
    assert!(text.contains(">2026-11-03T08:15:07Z</dcterms:created>"), "{text}");
    assert!(text.contains(">2026-11-03T08:15:07Z</dcterms:modified>"), "{text}");
    assert!(text.contains("[(1980, 1, 1, 0, 0, 0)]"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_lines_sum_to_what_the_control_shows(statement in statements()) {
        let mut book = open(&statement, Language::English);
        let lines = book.worksheet_range("Lines").unwrap();
        let rows = 1..u32::try_from(lines.height()).unwrap();
        let sum: i64 = rows.map(|row| hundredths(&cell(&lines, row, AMOUNT))).sum();
        prop_assert_eq!(sum, statement.totals.net_minor);
        let control = book.worksheet_range("Control").unwrap();
        // What stands beside a formula is shown before anything computes it.
        prop_assert_eq!(hundredths(&cell(&control, 1, 1)), statement.totals.net_minor);
        prop_assert_eq!(hundredths(&cell(&control, 1, 2)), statement.totals.net_minor);
        let last = 2 + u32::try_from(statement.totals.taxes.len()).unwrap();
        prop_assert_eq!(hundredths(&cell(&control, last, 2)), statement.totals.gross_minor);
    }
}

//! What is printed: aligned tables for people, JSON and CSV for programs.

use crate::error::Error;
use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;
use siyada_model::money::Money;
use std::io::Write;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How the answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns for people.
    Table,
    /// JSON, as the ledger answers it; a list is one array.
    Json,
    /// CSV (RFC 4180); amounts are plain numbers with their currency beside them.
    Csv,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Words: to the left.
    Text,
    /// A sentence with a way out, which is of no use by half.
    Sentence,
    /// A number: to the right.
    Number,
    /// Money: to the right; in CSV with a column for the currency.
    Money,
}

/// The head of a column: its name as in JSON, and what it holds.
pub type Head = (&'static str, Kind);

/// A column of a list, and what a row has in it.
pub struct Column<T> {
    head: Head,
    cell: fn(&T) -> Cell,
}

/// A column of words.
pub const fn text<T>(name: &'static str, cell: fn(&T) -> Cell) -> Column<T> {
    Column { head: (name, Kind::Text), cell }
}

/// A column of sentences, as the last one.
pub const fn sentence<T>(name: &'static str, cell: fn(&T) -> Cell) -> Column<T> {
    Column { head: (name, Kind::Sentence), cell }
}

/// A column of numbers.
pub const fn number<T>(name: &'static str, cell: fn(&T) -> Cell) -> Column<T> {
    Column { head: (name, Kind::Number), cell }
}

/// A column of amounts.
pub const fn money<T>(name: &'static str, cell: fn(&T) -> Cell) -> Column<T> {
    Column { head: (name, Kind::Money), cell }
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Words, or a number as it is.
    Text(String),
    /// An amount.
    Money(Money),
}

impl<T: ToString> From<&T> for Cell {
    fn from(value: &T) -> Self {
        Self::Text(value.to_string())
    }
}

impl From<Money> for Cell {
    fn from(money: Money) -> Self {
        Self::Money(money)
    }
}

/// A value that may be absent.
pub fn some<T: ToString>(value: Option<&T>) -> Cell {
    Cell::Text(value.map(ToString::to_string).unwrap_or_default())
}

/// An instant to the second, for people.
pub fn at(instant: Timestamp) -> Cell {
    let second = Timestamp::from_second(instant.as_second()).unwrap_or(instant);
    Cell::Text(second.to_string())
}

/// A row of a list. Everything that is listed is described once, and printed in every way.
pub trait Listed: Serialize + Sized + 'static {
    /// The columns, for people and for programs alike.
    const COLUMNS: &'static [Column<Self>];
}

/// Prints a list.
pub fn list<T: Listed>(output: Output, rows: &[T]) -> Result<(), Error> {
    let heads: Vec<Head> = T::COLUMNS.iter().map(|column| column.head).collect();
    let cells = |row: &T| T::COLUMNS.iter().map(|column| (column.cell)(row)).collect();
    let cells = || rows.iter().map(cells).collect::<Vec<Vec<Cell>>>();
    match output {
        Output::Json => json(&rows),
        Output::Table => print(&aligned(&heads, &cells())),
        Output::Csv => print(&csv(&heads, &cells())),
    }
}

/// Prints a row that is alone; as JSON it is no list.
pub fn single<T: Listed>(output: Output, row: T) -> Result<(), Error> {
    if output == Output::Json { json(&row) } else { list(output, &[row]) }
}

/// Prints a line below a table, for people only.
pub fn note(output: Output, line: &str) -> Result<(), Error> {
    if output == Output::Table { print(&format!("{line}\n")) } else { Ok(()) }
}

/// Prints one thing: what is known of it as lines, or as JSON or a CSV of one row.
pub fn one(output: Output, whole: &impl Serialize, facts: Vec<(&str, Cell)>) -> Result<(), Error> {
    match output {
        Output::Json => json(whole),
        Output::Table => {
            let width = facts.iter().map(|(name, _)| title(name).width()).max().unwrap_or_default();
            let line = |(name, cell): &(&str, Cell)| {
                format!("{}  {}\n", pad(&title(name), width, Kind::Text), shown(cell))
            };
            print(&facts.iter().map(line).collect::<String>())
        }
        Output::Csv => {
            let line = |cells: Vec<String>| cells.join(",") + "\r\n";
            let names = facts.iter().map(|(name, _)| quoted(name)).collect();
            print(&(line(names) + &line(facts.iter().map(|(_, cell)| plain(cell, Kind::Text)).collect())))
        }
    }
}

/// Prints JSON.
pub fn json(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(|cause| Error::Failed(cause.to_string()))?;
    print(&(text + "\n"))
}

/// Prints a text.
pub fn print(text: &str) -> Result<(), Error> {
    print_bytes(text.as_bytes())
}

/// Prints what is printed already. Whoever stopped reading is no error.
pub fn print_bytes(bytes: &[u8]) -> Result<(), Error> {
    match std::io::stdout().write_all(bytes) {
        Err(cause) if cause.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::file("standard output")(cause))
        }
        _ => Ok(()),
    }
}

/// Columns for people: two spaces apart, numbers to the right.
pub fn aligned(columns: &[Head], rows: &[Vec<Cell>]) -> String {
    let head: Vec<String> = columns.iter().map(|(name, _)| title(name)).collect();
    let fit = |(cell, (_, kind)): (&Cell, &Head)| match kind {
        Kind::Sentence => shown(cell),
        Kind::Text | Kind::Number | Kind::Money => short(shown(cell)),
    };
    let shown: Vec<Vec<String>> = rows.iter().map(|row| row.iter().zip(columns).map(fit).collect()).collect();
    let all = || std::iter::once(&head).chain(&shown);
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| all().filter_map(|row| row.get(column)).map(|cell| cell.width()).max().unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).zip(columns);
        let padded = cells.map(|((cell, width), (_, kind))| pad(cell, *width, *kind) + kept_apart(cell));
        padded.collect::<Vec<_>>().join("  ").trim_end_matches([' ', LEFT_TO_RIGHT]).to_owned() + "\n"
    };
    all().map(line).collect()
}

fn pad(text: &str, width: usize, kind: Kind) -> String {
    let space = " ".repeat(width.saturating_sub(text.width()));
    match kind {
        Kind::Text | Kind::Sentence => format!("{text}{space}"),
        Kind::Number | Kind::Money => format!("{space}{text}"),
    }
}

/// Mark of the direction in which a table is read (UAX #9): it is not seen.
const LEFT_TO_RIGHT: char = '\u{200e}';

/// What must follow a cell so that a terminal that turns Arabic does not draw the numbers after it into it.
fn kept_apart(cell: &str) -> &'static str {
    let turned =
        |c: char| matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}');
    if cell.contains(turned) { "\u{200e}" } else { "" }
}

/// Widest cell of a table for people; programs get all of it.
const WIDEST: usize = 80;

fn short(text: String) -> String {
    if text.width() <= WIDEST {
        return text;
    }
    let mut width = 1;
    let fits = |c: &char| {
        width += c.width().unwrap_or(0);
        width <= WIDEST
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// `monthlyCost` as people read it at the head of a column: `MONTHLY COST`.
fn title(name: &str) -> String {
    let mut title = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() {
            title.push(' ');
        }
        title.extend(letter.to_uppercase());
    }
    title
}

fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => harmless(text),
        Cell::Money(money) => money.to_string(),
    }
}

/// The text without what would move the cursor or turn the direction of a line: names come from others.
pub fn harmless(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let show =
        |c: char| if c.is_control() || turns(c) { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(show).collect()
}

/// CSV (RFC 4180).
pub fn csv(columns: &[Head], rows: &[Vec<Cell>]) -> String {
    let mut text = String::new();
    let head: Vec<String> = columns
        .iter()
        .map(|(name, kind)| match kind {
            Kind::Money => format!("{name},{name}Currency"),
            Kind::Text | Kind::Sentence | Kind::Number => (*name).to_owned(),
        })
        .collect();
    text.push_str(&head.join(","));
    text.push_str("\r\n");
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(columns).map(|(cell, (_, kind))| plain(cell, *kind)).collect();
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text
}

fn plain(cell: &Cell, kind: Kind) -> String {
    match (cell, kind) {
        (Cell::Money(money), Kind::Money) => format!("{},{}", money.decimal(), money.currency),
        (Cell::Money(money), _) => format!("{} {}", money.decimal(), money.currency),
        // An absent amount has no currency either.
        (Cell::Text(text), Kind::Money) => format!("{},", quoted(text)),
        (Cell::Text(text), Kind::Number) => text.clone(),
        (Cell::Text(text), Kind::Text | Kind::Sentence) => quoted(text),
    }
}

/// A text as a cell. A spreadsheet must not take it for a formula.
fn quoted(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use siyada_model::money::Currency;

    const COLUMNS: &[Head] = &[("name", Kind::Text), ("count", Kind::Number), ("monthlyCost", Kind::Money)];

    fn row(name: &str, count: i64, minor: Option<i64>) -> Vec<Cell> {
        let money = minor.map(|minor| Money { minor, currency: Currency::MAD });
        vec![(&name).into(), (&count).into(), money.map_or_else(|| some::<String>(None), Cell::Money)]
    }

    #[test]
    fn columns_are_aligned_whatever_the_script() {
        let rows = [row("الداخلية", 12, Some(124_050)), row("été", 1, None), row("内政", 3, Some(5))];
        let expect = "NAME      COUNT  MONTHLY COST\n\
                      الداخلية\u{200e}     12  1 240.50 MAD\n\
                      été           1\n\
                      内政          3      0.05 MAD\n";
        assert_eq!(aligned(COLUMNS, &rows), expect);
        assert_eq!(aligned(COLUMNS, &[]), "NAME  COUNT  MONTHLY COST\n");
    }

    #[test]
    fn a_long_text_is_cut_for_people_and_whole_for_programs() {
        let rows = [row(&"ع".repeat(64 * 1024), 1, None)];
        let table = aligned(COLUMNS, &rows);
        let line = table.lines().nth(1).unwrap();
        assert!(line.starts_with(&format!("{}…\u{200e}  ", "ع".repeat(79))) && line.width() < 100, "{line}");
        assert!(csv(COLUMNS, &rows).len() > 128 * 1024);
        let sentence = "Close it first. ".repeat(20);
        let table = aligned(&[("detail", Kind::Sentence)], &[vec![(&sentence).into()]]);
        assert_eq!(table.lines().nth(1).unwrap(), sentence.trim_end(), "a way out is shown whole");
    }

    #[test]
    fn hostile_names_do_no_harm() {
        let rows = [row("=cmd()", -1, Some(-5)), row("a,\"b\"\u{202e}\u{1b}[2J", 1, None)];
        let expect = "name,count,monthlyCost,monthlyCostCurrency\r\n\
                      '=cmd(),-1,-0.05,MAD\r\n\
                      \"a,\"\"b\"\"\u{202e}\u{1b}[2J\",1,,\r\n";
        assert_eq!(csv(COLUMNS, &rows), expect);
        let table = aligned(COLUMNS, &rows);
        let hidden = harmless("a\u{61c}b\u{2028}c\u{2069}");
        assert_eq!(hidden, r"a\u{61c}b\u{2028}c\u{2069}");
        assert!(table.contains(r"\u{202e}\u{1b}[2J") && !table.contains(['\u{202e}', '\u{1b}']), "{table}");
    }
}

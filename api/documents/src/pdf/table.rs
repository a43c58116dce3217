//! Tables: cells that wrap, rows that stay together, headers that come again on every page.

use super::fonts::Weight;
use super::pages::{Align, Colour, MARGIN, Pages, Role, WIDTH};
use super::setting::{Line, Style};
use crate::shown::Shown;
use krilla::tagging::{ArtifactType, TableHeaderScope, Tag, TagKind};
use std::num::NonZeroU32;

const SIZE: f32 = 8.0;
/// Empty at the sides of a cell, and above and below its text.
const SIDE: f32 = 4.0;
const ABOVE: f32 = 2.2;
/// Most lines of one cell: what is longer was cut before.
const MOST_LINES: usize = 12;

/// A column.
pub struct Column {
    /// What its header says; nothing in a table whose rows have headers.
    pub head: Shown,
    /// Its part of the width.
    pub share: f32,
    pub align: Align,
}

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The header of the rows below it.
    Group,
    /// A smaller one.
    Subgroup,
    Body,
    /// A sum of the rows above.
    Total,
}

/// A row: its cells, of which the first spans what is not given.
pub struct Row {
    pub kind: Kind,
    pub cells: Vec<Shown>,
}

/// A table with headers on its columns, on its rows, or on both.
pub struct Table {
    pub summary: String,
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
    pub row_headers: bool,
}

/// A cell that was set: its lines, where it is, and how many columns it spans.
struct Set {
    lines: Vec<Line>,
    start: f32,
    width: f32,
    span: usize,
    align: Align,
}

impl Table {
    /// Places the table below what is there.
    pub fn place(self, pages: &mut Pages) {
        let table = pages.node(Tag::Table.with_summary(Some(self.summary.clone())), None);
        let has_head = self.has_head();
        let head = self.head();
        let header = self.set(pages, &head, true);
        let rows: Vec<Vec<Set>> = self.rows.iter().map(|row| self.set(pages, row, false)).collect();
        let heights: Vec<f32> = rows.iter().map(|row| height(pages, row)).collect();
        let header_height = if has_head { height(pages, &header) } else { 0.0 };
        if has_head {
            // A header is never alone at the foot of a page.
            pages.need(header_height + self.together(&heights, 0));
            let group = pages.node(Tag::THead, Some(table));
            self.header(pages, header, Some(group));
        }
        let body = pages.node(Tag::TBody, Some(table));
        for (index, set) in rows.into_iter().enumerate() {
            if !pages.fits(self.together(&heights, index)) {
                pages.turn();
                if has_head {
                    let again = self.set(pages, &head, true);
                    self.header(pages, again, None);
                }
            }
            self.row(pages, (index, set), heights[index], body);
        }
    }

    fn has_head(&self) -> bool {
        self.columns.iter().any(|column| column.head != Shown::default())
    }

    fn head(&self) -> Row {
        Row { kind: Kind::Body, cells: self.columns.iter().map(|column| column.head.clone()).collect() }
    }

    /// The height of a row and of what must not be parted from it: a group from its first row.
    fn together(&self, heights: &[f32], index: usize) -> f32 {
        let rest = self.rows.iter().zip(heights).skip(index);
        let mut sum = 0.0;
        for (row, height) in rest {
            sum += height;
            if matches!(row.kind, Kind::Body | Kind::Total) {
                break;
            }
        }
        sum
    }

    fn set(&self, pages: &Pages, row: &Row, header: bool) -> Vec<Set> {
        let whole: f32 = self.columns.iter().map(|column| column.share).sum();
        let unit = (WIDTH - 2.0 * MARGIN) / whole;
        let first_span = self.columns.len().saturating_sub(row.cells.len()) + 1;
        // A cell without content would have no tag, and its row a cell less than the others.
        let nothing = Shown::word("—");
        let mut start = 0.0;
        let mut next = 0;
        let mut cells = Vec::new();
        for (index, cell) in row.cells.iter().enumerate() {
            let span = if index == 0 { first_span } else { 1 };
            let columns = self.columns.get(next..next + span).unwrap_or_default();
            let width = columns.iter().map(|column| column.share).sum::<f32>() * unit;
            let align = columns.last().filter(|_| span == 1).map_or(Align::Start, |column| column.align);
            // Where only rows have headers, these are the ones to see.
            let names_row = self.row_headers && index == 0 && !self.has_head();
            let style = style(row, header || names_row);
            let cell = if cell.plain().is_empty() { &nothing } else { cell };
            let mut lines = pages.setter.lines(cell, style, width - 2.0 * SIDE);
            lines.truncate(MOST_LINES);
            cells.push(Set { lines, start, width, span, align });
            start += width;
            next += span;
        }
        cells
    }

    /// The header: content where it is first, an artifact where it comes again.
    fn header(&self, pages: &mut Pages, cells: Vec<Set>, group: Option<usize>) {
        let row = group.map(|group| pages.node(Tag::TR, Some(group)));
        let height = height(pages, &cells);
        let top = pages.y;
        pages.area(0.0, top + height - 0.9, (WIDTH - 2.0 * MARGIN, 0.9), Colour::Accent);
        for cell in cells {
            let role = match row {
                Some(row) => Role::Leaf(pages.node(Tag::TH(TableHeaderScope::Column), Some(row))),
                None => Role::Artifact(ArtifactType::PaginationOther),
            };
            let boxed = (cell.start + SIDE, top + ABOVE, cell.width - 2.0 * SIDE);
            pages.place(cell.lines, boxed, (cell.align, Colour::Accent), role);
        }
        pages.y += height;
    }

    fn row(&self, pages: &mut Pages, (index, cells): (usize, Vec<Set>), height: f32, body: usize) {
        let kind = self.rows.get(index).map_or(Kind::Body, |row| row.kind);
        let row = pages.node(Tag::TR, Some(body));
        let (top, width) = (pages.y, WIDTH - 2.0 * MARGIN);
        match kind {
            Kind::Group => pages.area(0.0, top, (width, height), Colour::Ground),
            Kind::Total => pages.area(0.0, top, (width, 0.9), Colour::Accent),
            Kind::Subgroup | Kind::Body if index > 0 => pages.area(0.0, top, (width, 0.4), Colour::Rule),
            Kind::Subgroup | Kind::Body => {}
        }
        for (place, cell) in cells.into_iter().enumerate() {
            let names_row = place == 0 && (self.row_headers || !matches!(kind, Kind::Body));
            let node = pages.node(tag(names_row, cell.span), Some(row));
            let boxed = (cell.start + SIDE, top + ABOVE, cell.width - 2.0 * SIDE);
            pages.place(cell.lines, boxed, (cell.align, Colour::Ink), Role::Leaf(node));
        }
        pages.y += height;
    }
}

fn style(row: &Row, header: bool) -> Style {
    let bold = header || !matches!(row.kind, Kind::Body);
    Style { size: SIZE, weight: if bold { Weight::Bold } else { Weight::Regular } }
}

fn tag(header: bool, span: usize) -> TagKind {
    let span = u32::try_from(span).ok().filter(|span| *span > 1).and_then(NonZeroU32::new);
    if header {
        Tag::TH(TableHeaderScope::Row).with_col_span(span).into()
    } else {
        Tag::TD.with_col_span(span).into()
    }
}

fn height(pages: &Pages, cells: &[Set]) -> f32 {
    let lines = cells.iter().map(|cell| cell.lines.len().max(1)).max().unwrap_or(1);
    lines as f32 * pages.leading(SIZE) + 2.0 * ABOVE
}

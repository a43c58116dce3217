//! What was used: lines, corrections, gaps and availability.

use super::pages::{Align, Colour, Pages};
use super::table::{Kind, Row, Table};
use super::{Content, TEXT, column, room};
use crate::DocumentError;
use crate::numbers::{clock, decimal_of_thousandths, instant, localized, rate, thousandths};
use crate::shown::{NAME, SENTENCE, Shown, clean};
use jiff::Timestamp;
use siyada_model::availability::Availability;
use siyada_model::money::InvalidMoney;
use siyada_model::statement::{Billed, ListedGap, StatementKind, StatementLine};
use siyada_model::usage::Meter;

impl Content<'_> {
    pub(super) fn lines(&self, pages: &mut Pages) -> Result<(), DocumentError> {
        pages.heading(2, &Shown::word(self.words.lines), room(6));
        if self.statement.lines.is_empty() {
            pages.paragraph(&Shown::word(self.words.no_lines), TEXT, Colour::Ink);
            pages.y += 12.0;
            return Ok(());
        }
        self.table_of_lines(pages, self.words.lines, &self.statement.lines)
    }

    pub(super) fn corrections(&self, pages: &mut Pages) -> Result<(), DocumentError> {
        if self.statement.corrections.is_empty() {
            return Ok(());
        }
        pages.heading(2, &Shown::word(self.words.corrections), room(7));
        pages.paragraph(&Shown::word(self.words.about_corrections), TEXT, Colour::Grey);
        pages.y += 3.0;
        self.table_of_lines(pages, self.words.corrections, &self.statement.corrections)
    }

    fn table_of_lines(
        &self,
        pages: &mut Pages,
        summary: &str,
        lines: &[StatementLine],
    ) -> Result<(), DocumentError> {
        let words = self.words;
        let columns = vec![
            column(words.line, 33.0, Align::Start),
            column(words.price_list, 16.0, Align::Start),
            column(words.quantity, 19.0, Align::Right),
            self.currency_column(14.0, words.unit_price),
            column(words.rate, 8.0, Align::Right),
            self.currency_column(15.0, words.amount),
        ];
        let mut rows = Vec::new();
        for of_tenant in lines.chunk_by(|a, b| a.order.tenant == b.order.tenant) {
            let Some(first) = of_tenant.first() else { continue };
            let tenant = Shown::data(first.order.tenant.as_str(), NAME);
            let label = Shown::word(words.tenant).and(&Shown::word(self.words.colon)).and(&tenant);
            rows.push(Row { kind: Kind::Group, cells: vec![label, self.money(sum(of_tenant)?)] });
            for of_order in of_tenant.chunk_by(|a, b| a.order == b.order) {
                rows.extend(
                    of_order
                        .first()
                        .map(|line| Row { kind: Kind::Subgroup, cells: vec![order(&line.order)] }),
                );
                for line in of_order {
                    rows.push(Row { kind: Kind::Body, cells: self.line(line)? });
                }
            }
        }
        let cells = vec![Shown::word(words.total), self.money(sum(lines)?)];
        rows.push(Row { kind: Kind::Total, cells });
        Table { summary: summary.to_owned(), columns, rows, row_headers: true }.place(pages);
        pages.y += 12.0;
        Ok(())
    }

    fn line(&self, line: &StatementLine) -> Result<Vec<Shown>, DocumentError> {
        let dot = Shown::word(" · ");
        let sku = Shown::figure(line.sku.as_str());
        let mut first = self.meter(line.meter).and(&dot).and(&sku);
        let period = &self.statement.period;
        if line.month != period.month {
            first = Shown::figure(&line.month.to_string()).and(&dot).and(&first);
        }
        if (line.start, line.end) != (period.start, period.end) {
            first = first.and(&Shown::word(" ")).and(&self.span(line.start, line.end));
        }
        let tax = line.tax_basis_points.map(|basis_points| Shown::figure(&rate(basis_points, self.language)));
        Ok(vec![
            first,
            Shown::figure(line.price_list.as_str()),
            self.quantity(line)?,
            Shown::figure(&localized(&line.unit_price, self.language)),
            tax.unwrap_or_default(),
            self.money(line.minor),
        ])
    }

    /// How much it was; nothing in a credit note, which takes back money and no use.
    fn quantity(&self, line: &StatementLine) -> Result<Shown, DocumentError> {
        let thousandths = thousandths(&line.quantity_ms, line.unit)?;
        if thousandths == 0 && self.statement.kind == StatementKind::CreditNote {
            return Ok(Shown::default());
        }
        let number = localized(&decimal_of_thousandths(thousandths), self.language);
        let unit = Shown::word(self.words.unit(line.unit));
        Ok(Shown::figure(&number).and(&Shown::word("\u{00A0}")).and(&unit))
    }

    fn span(&self, start: Timestamp, end: Timestamp) -> Shown {
        let mut parts = self.words.from_to.split("{}");
        let mut text = Shown::default();
        for at in [start, end] {
            let at = Shown::figure(&instant(at).replace(' ', "\u{00A0}"));
            text = text.and(&Shown::word(parts.next().unwrap_or_default())).and(&at);
        }
        text
    }

    pub(super) fn gaps(&self, pages: &mut Pages) {
        let words = self.words;
        if self.statement.kind == StatementKind::CreditNote && self.statement.gaps.is_empty() {
            return;
        }
        pages.heading(2, &Shown::word(words.gaps), room(7));
        if self.statement.gaps.is_empty() {
            pages.paragraph(&Shown::word(words.no_gaps), TEXT, Colour::Ink);
            pages.y += 12.0;
            return;
        }
        pages.paragraph(&Shown::word(words.about_gaps), TEXT, Colour::Grey);
        pages.y += 3.0;
        let columns = vec![
            column(words.order, 27.0, Align::Start),
            column(words.gap, 23.0, Align::Start),
            column(words.reason, 22.0, Align::Start),
            column(words.decision, 28.0, Align::Start),
        ];
        let rows =
            self.statement.gaps.iter().map(|gap| Row { kind: Kind::Body, cells: self.gap(gap) }).collect();
        Table { summary: words.gaps.to_owned(), columns, rows, row_headers: false }.place(pages);
        pages.y += 12.0;
    }

    /// For how long each instance was available; nothing in a document that says nothing of it.
    pub(super) fn availability(&self, pages: &mut Pages) {
        let (words, instances) = (self.words, &self.statement.availability);
        if instances.is_empty() {
            return;
        }
        pages.heading(2, &Shown::word(words.availability), room(8));
        pages.paragraph(&Shown::word(words.about_availability), TEXT, Colour::Grey);
        pages.y += 3.0;
        let columns = vec![
            column(words.order, 33.0, Align::Start),
            column(words.should_run, 16.0, Align::Right),
            column(words.up, 15.0, Align::Right),
            column(words.down, 13.0, Align::Right),
            column(words.unobserved, 13.0, Align::Right),
            column(words.available, 10.0, Align::Right),
        ];
        let row = |kind, first, figures| Row { kind, cells: self.figures(first, figures) };
        let mut rows: Vec<Row> = instances
            .iter()
            .map(|one| {
                let tenant = Shown::data(one.order.tenant.as_str(), NAME);
                let first = tenant.and(&Shown::word(" · ")).and(&order(&one.order));
                row(Kind::Body, first, &one.figures)
            })
            .collect();
        let total = Availability::sum(instances.iter().map(|one| &one.figures));
        rows.push(row(Kind::Total, Shown::word(words.total), &total));
        Table { summary: words.availability.to_owned(), columns, rows, row_headers: true }.place(pages);
        pages.y += 12.0;
    }

    fn figures(&self, first: Shown, figures: &Availability) -> Vec<Shown> {
        let Availability { should_run_ms, up_ms, down_ms, unobserved_ms, percent } = figures;
        let times = [should_run_ms, up_ms, down_ms, unobserved_ms].map(|ms| Shown::figure(&clock(*ms)));
        let percent = percent.as_deref().map(|percent| Shown::figure(&localized(percent, self.language)));
        std::iter::once(first).chain(times).chain([percent.unwrap_or_default()]).collect()
    }

    fn meter(&self, meter: Meter) -> Shown {
        self.words.meter(meter).map_or_else(|| Shown::figure(meter.as_str()), Shown::word)
    }

    fn gap(&self, gap: &ListedGap) -> Vec<Shown> {
        let (words, space, dot) = (self.words, Shown::word(" "), Shown::word(" · "));
        let tenant = Shown::data(gap.order.tenant.as_str(), NAME);
        let decided = Shown::word(if gap.billed { words.billed } else { words.not_billed });
        let by = Shown::word(words.decided_by).and(&space).and(&Shown::data(&gap.decided_by, NAME));
        let evidence = Shown::data(&gap.evidence, SENTENCE);
        vec![
            tenant.and(&dot).and(&order(&gap.order)).and(&dot).and(&self.meter(gap.meter)),
            self.span(gap.start, gap.end),
            Shown::data(&gap.reason, SENTENCE),
            decided.and(&space).and(&by).and(&Shown::word(self.words.colon)).and(&evidence),
        ]
    }
}

/// An order: its service, its name and its uid.
fn order(order: &Billed) -> Shown {
    // Both names in one isolate: apart, the second would stand to the left of the first between Arabic words.
    let name = format!("{}/{}", clean(&order.namespace, NAME), clean(&order.name, NAME));
    let dot = Shown::word(" · ");
    Shown::data(&order.kind, NAME)
        .and(&dot)
        .and(&Shown::data(&name, 2 * NAME + 3))
        .and(&dot)
        .and(&Shown::figure(order.uid.as_str()))
}

fn sum(lines: &[StatementLine]) -> Result<i64, InvalidMoney> {
    let add = |sum: i64, line: &StatementLine| sum.checked_add(line.minor);
    lines.iter().try_fold(0, add).ok_or(InvalidMoney::TooLarge)
}

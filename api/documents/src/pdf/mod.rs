//! The statement as a document for people: PDF/UA-1.

mod annex;
mod fonts;
mod lines;
mod pages;
mod setting;
mod table;

use crate::numbers::{amount, date, decimal_of_thousandths, hours, instant, localized, rate};
use crate::shown::{NAME, SENTENCE, Shown};
use crate::words::Words;
use crate::{DocumentError, Language};
pub use annex::annex_pdf;
use fonts::{Fonts, Weight};
use krilla::Document;
use krilla::SerializeSettings;
use krilla::configure::{Accessibility, ConfigurationBuilder};
use krilla::metadata::{DateTime, Metadata, TextDirection};
use krilla::tagging::Tag;
use pages::{Align, Colour, MARGIN, Pages, Role, WIDTH};
use setting::Style;
use siyada_model::allocation::Booking;
use siyada_model::canonical::sha256;
use siyada_model::party::Party;
use siyada_model::period::Month;
use siyada_model::statement::chain::extend;
use siyada_model::statement::{Statement, StatementKind};
use std::num::NonZeroU16;
use table::{Column, Kind, Row, Table};

const TEXT: Style = Style { size: 8.5, weight: Weight::Regular };
const LABEL: Style = Style { size: 8.5, weight: Weight::Bold };
const LARGE: Style = Style { size: 13.0, weight: Weight::Bold };

/// The statement in `language` as PDF/UA-1. The same statement gives the same bytes.
///
/// # Errors
/// [`DocumentError`] for a statement that was not computed.
pub fn pdf(statement: &Statement, language: Language) -> Result<Vec<u8>, DocumentError> {
    let fonts = Fonts::read()?;
    let content =
        Content { statement, language, words: language.words(), sha256: sha256(&statement.bytes()?) };
    let mut pages = Pages::new(&fonts, language);
    content.head(&mut pages);
    content.parties(&mut pages);
    content.facts(&mut pages);
    content.totals(&mut pages);
    content.booked(&mut pages);
    content.lines(&mut pages)?;
    content.corrections(&mut pages)?;
    content.gaps(&mut pages);
    content.availability(&mut pages);
    content.proof(&mut pages);
    finish(pages, content.metadata(), &content.running())
}

/// The pages as a file, with `running` at the foot of each.
fn finish(pages: Pages<'_>, metadata: Metadata, running: &Shown) -> Result<Vec<u8>, DocumentError> {
    let mut document = Document::new_with(settings()?);
    document.set_metadata(metadata);
    pages.draw(&mut document, running)?;
    document.finish().map_err(|error| DocumentError::Pdf(format!("{error:?}").chars().take(500).collect()))
}

/// What every document says about itself.
fn about(language: Language) -> Metadata {
    let direction =
        if language.right_to_left() { TextDirection::RightToLeft } else { TextDirection::LeftToRight };
    Metadata::new().creator("Siyada".to_owned()).language(language.tag().to_owned()).text_direction(direction)
}

/// The month, with its name.
fn month_of(month: Month, words: &Words) -> Shown {
    let month = month.to_string();
    let (year, number) = month.split_once('-').unwrap_or((&month, ""));
    let name = words.month(number.parse().unwrap_or_default());
    Shown::word(name).and(&Shown::word(" ")).and(&Shown::figure(year))
}

/// The name of a body.
fn name_of(party: &Party, language: Language) -> Shown {
    let name = language.name(&party.display_name);
    name.map_or(Shown::word(language.words().no_name), |name| Shown::data(name, NAME))
}

fn settings() -> Result<SerializeSettings, DocumentError> {
    let configuration = ConfigurationBuilder::new().with_accessibility_validator(Accessibility::UA1).finish();
    let configuration = configuration.map_err(|error| DocumentError::Pdf(format!("{error:?}")))?;
    Ok(SerializeSettings { configuration, ..SerializeSettings::default() })
}

struct Content<'a> {
    statement: &'a Statement,
    language: Language,
    words: &'static Words,
    sha256: String,
}

impl Content<'_> {
    fn title(&self) -> &'static str {
        match self.statement.kind {
            StatementKind::Statement => self.words.statement,
            StatementKind::CreditNote => self.words.credit_note,
        }
    }

    fn money(&self, minor: i64) -> Shown {
        Shown::figure(&amount(minor, self.statement.currency, self.language))
    }

    /// The amount with its currency.
    fn price(&self, minor: i64) -> Shown {
        let amount = amount(minor, self.statement.currency, self.language);
        Shown::figure(&format!("{amount}\u{00A0}{}", self.statement.currency))
    }

    fn metadata(&self) -> Metadata {
        let at = self.statement.issued_at.to_zoned(jiff::tz::TimeZone::UTC).datetime();
        let small = |n: i8| u8::try_from(n).unwrap_or_default();
        let date = DateTime::new(u16::try_from(at.year()).unwrap_or_default())
            .month(small(at.month()))
            .day(small(at.day()))
            .hour(small(at.hour()))
            .minute(small(at.minute()))
            .second(small(at.second()))
            .utc_offset_hour(0);
        let issuer = name_of(&self.statement.issuer, self.language).plain();
        about(self.language)
            .title(format!("{} {}", self.title(), self.number().plain()))
            .authors(vec![issuer])
            .creation_date(date)
            .document_id(self.sha256.clone())
    }

    fn number(&self) -> Shown {
        Shown::data(&self.statement.number, NAME)
    }

    fn month(&self) -> Shown {
        month_of(self.statement.period.month, self.words)
    }

    /// What stands at the foot of each page.
    fn running(&self) -> Shown {
        let short: String = self.sha256.chars().take(16).collect();
        let hash = Shown::figure(&format!("SHA-256 {short}…"));
        let dot = Shown::word(" · ");
        Shown::word(self.title()).and(&dot).and(&self.number()).and(&dot).and(&hash)
    }

    fn head(&self, pages: &mut Pages) {
        let heading = Shown::word(self.title()).and(&Shown::word(" · ")).and(&self.month());
        pages.heading(1, &heading, 0.0);
        let issued = date(self.statement.issued_at, self.words);
        let space = Shown::word(" ");
        let label = |word| Shown::word(word).and(&space);
        let line = label(self.words.number).and(&self.number()).and(&Shown::word(" · "));
        let line = line.and(&label(self.words.issued)).and(&issued);
        pages.paragraph(&line, TEXT, Colour::Grey);
        pages.y += 12.0;
    }

    /// Who bills and who is billed, side by side.
    fn parties(&self, pages: &mut Pages) {
        let statement = self.statement;
        let account = [
            (self.words.account, Shown::data(&statement.buyer.account, NAME)),
            (self.words.tenant, Shown::data(statement.buyer.tenant.as_str(), NAME)),
        ];
        let top = pages.y;
        let gap = 24.0;
        let width = (WIDTH - 2.0 * MARGIN - gap) / 2.0;
        let issuer = self.party(pages, (self.words.issuer, &statement.issuer, &[]), (0.0, top, width));
        let buyer = (self.words.buyer, &statement.buyer.party, &account[..]);
        let buyer = self.party(pages, buyer, (width + gap, top, width));
        let bottom = issuer.max(buyer) + 4.0;
        for start in [0.0, width + gap] {
            pages.area(start, top, (2.0, bottom - top), Colour::Accent);
        }
        pages.y = bottom + 10.0;
    }

    fn party(
        &self,
        pages: &mut Pages,
        (heading, party, more): (&'static str, &Party, &[(&'static str, Shown)]),
        (start, top, width): (f32, f32, f32),
    ) -> f32 {
        let section = pages.node(Tag::Section, None);
        let (mut y, box_start, box_width) = (top + 5.0, start + 8.0, width - 16.0);
        let mut put = |pages: &mut Pages, text: &Shown, style: Style, colour, heading: bool| {
            let level = NonZeroU16::new(2).unwrap_or(NonZeroU16::MIN);
            let node = if heading {
                pages.node(Tag::Hn(level, Some(text.plain())), Some(section))
            } else {
                pages.node(Tag::P, Some(section))
            };
            let lines = pages.setter.lines(text, style, box_width);
            y += pages.place(lines, (box_start, y, box_width), (Align::Start, colour), Role::Leaf(node));
        };
        put(pages, &Shown::word(heading), Style { size: 8.0, ..LABEL }, Colour::Accent, true);
        put(pages, &name_of(party, self.language), Style { size: 10.0, ..LABEL }, Colour::Ink, false);
        if let Some(name) = &party.display_name.zgh {
            put(pages, &Shown::data(name, NAME), TEXT, Colour::Ink, false);
        }
        let texts = [
            (self.words.ice, &party.ice),
            (self.words.tax_id, &party.tax_id),
            (self.words.address, &party.address),
        ];
        let texts = texts.iter().filter_map(|(label, text)| {
            text.as_ref().map(|text| (*label, Shown::data(text, siyada_model::party::LONGEST_TEXT)))
        });
        for (label, text) in texts.chain(more.iter().cloned()) {
            let line = Shown::word(label).and(&Shown::word(self.words.colon)).and(&text);
            put(pages, &line, TEXT, Colour::Ink, false);
        }
        y
    }

    fn facts(&self, pages: &mut Pages) {
        let (words, statement) = (self.words, self.statement);
        let period = &statement.period;
        let paid = if statement.kind == StatementKind::CreditNote { words.credited } else { words.to_pay };
        let due =
            Shown::word(paid).and(&Shown::word(words.colon)).and(&self.price(statement.totals.gross_minor));
        pages.paragraph(&due, LARGE, Colour::Ink);
        pages.y += 6.0;
        let length = decimal_of_thousandths(hours(period.start, period.end));
        let length = localized(length.trim_end_matches('0').trim_end_matches('.'), self.language);
        let length = Shown::figure(&length).and(&Shown::word(" ")).and(&Shown::word(words.hours));
        let utc = |at| Shown::figure(&format!("{} UTC", instant(at)));
        let zone = format!("{} ({})", period.time_zone, period.tz_database);
        let mut rows = vec![
            (words.period, self.month().and(&Shown::word(" · ")).and(&length)),
            (words.begins, utc(period.start)),
            (words.ends, utc(period.end)),
            (words.zone, Shown::figure(&zone)),
        ];
        if let Some(number) = &statement.credits {
            rows.insert(0, (words.credits, Shown::data(number, NAME)));
        }
        if let Some(reason) = &statement.reason {
            rows.insert(1, (words.why, Shown::data(reason, SENTENCE)));
        }
        facts_table(pages, words.document, rows);
    }

    fn currency_column(&self, share: f32, word: &'static str) -> Column {
        let currency = Shown::figure(&format!("({})", self.statement.currency));
        let head = Shown::word(word).and(&Shown::word(" ")).and(&currency);
        Column { head, share, align: Align::Right }
    }

    fn totals(&self, pages: &mut Pages) {
        let (words, totals) = (self.words, &self.statement.totals);
        // Short tables are not parted.
        pages.heading(2, &Shown::word(words.totals), room(totals.taxes.len() + 4));
        let columns = vec![
            column(words.total, 46.0, Align::Start),
            column(words.rate, 14.0, Align::Right),
            self.currency_column(20.0, words.base),
            self.currency_column(20.0, words.sum),
        ];
        let body = |cells| Row { kind: Kind::Body, cells };
        let total =
            |label, minor| Row { kind: Kind::Total, cells: vec![Shown::word(label), self.money(minor)] };
        let mut rows = vec![body(vec![Shown::word(words.net), self.money(totals.net_minor)])];
        for tax in &totals.taxes {
            let rate = Shown::figure(&rate(tax.rate_basis_points, self.language));
            let base = self.money(tax.base_minor);
            rows.push(body(vec![Shown::word(words.tax), rate, base, self.money(tax.minor)]));
        }
        rows.push(total(words.gross, totals.gross_minor));
        let summary = words.totals.to_owned();
        Table { summary, columns, rows, row_headers: true }.place(pages);
        pages.y += 4.0;
        let basis = Shown::data(self.statement.tax.legal_basis(), SENTENCE);
        let regime =
            Shown::word(words.regime(&self.statement.tax)).and(&Shown::word(self.words.colon)).and(&basis);
        pages.paragraph(&regime, TEXT, Colour::Grey);
        pages.y += 12.0;
    }

    fn booked(&self, pages: &mut Pages) {
        let (words, totals) = (self.words, &self.statement.totals);
        if totals.booked.is_empty() {
            return;
        }
        pages.heading(2, &Shown::word(words.booked), room(totals.booked.len() + 4));
        let columns = vec![
            column(words.budget_line, 24.0, Align::Start),
            column(words.cost_centre, 18.0, Align::Start),
            column(words.reference, 18.0, Align::Start),
            self.currency_column(14.0, words.net),
            self.currency_column(12.0, words.tax),
            self.currency_column(14.0, words.gross),
        ];
        let place = |text: &Option<String>| Shown::data(text.as_deref().unwrap_or_default(), NAME);
        let mut rows = Vec::new();
        let mut tax_minor = 0_i64;
        for total in &totals.booked {
            let Booking { cost_centre, budget_line, reference } = &total.booking;
            let places = [place(budget_line), place(cost_centre), place(reference)];
            let figures =
                [total.net_minor, total.tax_minor, total.gross_minor].map(|minor| self.money(minor));
            rows.push(Row { kind: Kind::Body, cells: places.into_iter().chain(figures).collect() });
            tax_minor = tax_minor.saturating_add(total.tax_minor);
        }
        let sums = [totals.net_minor, tax_minor, totals.gross_minor].map(|minor| self.money(minor));
        let cells = std::iter::once(Shown::word(words.total)).chain(sums).collect();
        rows.push(Row { kind: Kind::Total, cells });
        Table { summary: words.booked.to_owned(), columns, rows, row_headers: false }.place(pages);
        pages.y += 12.0;
    }

    fn proof(&self, pages: &mut Pages) {
        let (words, statement) = (self.words, self.statement);
        pages.heading(2, &Shown::word(words.proof), room(9));
        let facts = vec![
            (words.sha256, Shown::figure(&self.sha256)),
            (words.previous, Shown::figure(&statement.previous_chain)),
            (words.chain, Shown::figure(&extend(&statement.previous_chain, &self.sha256))),
            (words.position, Shown::figure(&statement.position.to_string())),
            (words.as_of, Shown::figure(&statement.as_of.to_string())),
        ];
        facts_table(pages, words.proof, facts);
        pages.y -= 6.0;
        pages.paragraph(&Shown::word(words.how_to_verify), TEXT, Colour::Ink);
    }
}

/// The height of so many rows of a table: of a few at most, since a long table begins on any page.
fn room(rows: usize) -> f32 {
    rows.min(12) as f32 * 18.0
}

fn column(head: &'static str, share: f32, align: Align) -> Column {
    Column { head: Shown::word(head), share, align }
}

/// A table of two columns whose rows have headers.
fn facts_table(pages: &mut Pages, summary: &str, facts: Vec<(&'static str, Shown)>) {
    let column = |share| Column { head: Shown::default(), share, align: Align::Start };
    let row = |(label, value)| Row { kind: Kind::Body, cells: vec![Shown::word(label), value] };
    let rows = facts.into_iter().map(row).collect();
    let table = Table {
        summary: summary.to_owned(),
        columns: vec![column(36.0), column(64.0)],
        rows,
        row_headers: true,
    };
    table.place(pages);
    pages.y += 12.0;
}

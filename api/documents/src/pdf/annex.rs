//! The settlement annex as a document for people: PDF/UA-1.

use super::pages::{Align, Colour, Pages};
use super::table::{Kind, Row, Table};
use super::{LARGE, TEXT, about, column, facts_table, finish, month_of, name_of, room};
use crate::numbers::amount;
use crate::shown::{NAME, SENTENCE, Shown};
use crate::words::Words;
use crate::{DocumentError, Language};
use siyada_model::canonical::{bytes, sha256};
use siyada_model::id::TenantName;
use siyada_model::money::{InvalidMoney, Money};
use siyada_model::national::{Movement, SettlementAnnex};
use siyada_model::party::Party;
use siyada_model::statement::StatementKind;
use std::collections::BTreeMap;

/// The annex in `language` as PDF/UA-1. The same annex gives the same bytes.
///
/// # Errors
/// [`DocumentError`] for an annex that was not computed.
pub fn annex_pdf(annex: &SettlementAnnex, language: Language) -> Result<Vec<u8>, DocumentError> {
    let fonts = super::Fonts::read()?;
    let content = Annex {
        annex,
        language,
        words: language.words(),
        sha256: sha256(&bytes(annex)?),
        bases: Bases::of(&annex.movements),
    };
    let mut pages = Pages::new(&fonts, language);
    content.head(&mut pages);
    content.facts(&mut pages);
    content.movements(&mut pages)?;
    content.legal_bases(&mut pages);
    let title = format!("{} {}", content.words.annex, content.months().plain());
    let metadata = about(language).title(title).document_id(content.sha256.clone());
    finish(pages, metadata, &content.running())
}

/// What prices and tax of a document rest on.
type Basis<'a> = (&'a [String], &'a str);

/// Each basis once, numbered from 1 in the order in which the movements name it.
struct Bases<'a> {
    numbers: BTreeMap<Basis<'a>, usize>,
}

impl<'a> Bases<'a> {
    fn of(movements: &'a [Movement]) -> Self {
        let mut numbers = BTreeMap::new();
        for movement in movements {
            let next = numbers.len() + 1;
            numbers.entry(basis(movement)).or_insert(next);
        }
        Self { numbers }
    }

    fn number(&self, movement: &Movement) -> String {
        self.numbers.get(&basis(movement)).map(usize::to_string).unwrap_or_default()
    }

    fn in_order(&self) -> Vec<(usize, Basis<'a>)> {
        let mut all: Vec<_> = self.numbers.iter().map(|(basis, number)| (*number, *basis)).collect();
        all.sort_unstable();
        all
    }
}

fn basis(movement: &Movement) -> Basis<'_> {
    (&movement.legal_basis, &movement.tax_legal_basis)
}

/// Movements to one body, by who pays.
struct Receiver<'a> {
    party: &'a Party,
    buyers: BTreeMap<&'a TenantName, Vec<&'a Movement>>,
}

struct Annex<'a> {
    annex: &'a SettlementAnnex,
    language: Language,
    words: &'static Words,
    sha256: String,
    bases: Bases<'a>,
}

impl Annex<'_> {
    fn money(&self, money: Money) -> Shown {
        Shown::figure(&amount(money.minor, money.currency, self.language))
    }

    /// The amount with its currency.
    fn price(&self, money: Money) -> Shown {
        let amount = amount(money.minor, money.currency, self.language);
        Shown::figure(&format!("{amount}\u{00A0}{}", money.currency))
    }

    fn months(&self) -> Shown {
        let (from, to) = (self.annex.from, self.annex.to);
        let first = month_of(from, self.words);
        if from == to { first } else { first.and(&Shown::word(" – ")).and(&month_of(to, self.words)) }
    }

    /// What stands at the foot of each page.
    fn running(&self) -> Shown {
        let short: String = self.sha256.chars().take(16).collect();
        let dot = Shown::word(" · ");
        let hash = Shown::figure(&format!("SHA-256 {short}…"));
        Shown::word(self.words.annex).and(&dot).and(&self.months()).and(&dot).and(&hash)
    }

    fn head(&self, pages: &mut Pages) {
        pages.heading(1, &Shown::word(self.words.annex), 0.0);
        pages.paragraph(&self.months(), TEXT, Colour::Grey);
        pages.y += 10.0;
        let due = Shown::word(self.words.settled).and(&Shown::word(self.words.colon));
        pages.paragraph(&due.and(&self.price(self.annex.gross)), LARGE, Colour::Ink);
        pages.y += 6.0;
    }

    fn facts(&self, pages: &mut Pages) {
        let words = self.words;
        let facts = vec![
            (words.period, self.months()),
            (words.net, self.price(self.annex.net)),
            (words.tax, self.price(self.annex.tax)),
            (words.gross, self.price(self.annex.gross)),
            (words.by_ledger, self.price(self.annex.ledger_gross)),
            (words.sha256, Shown::figure(&self.sha256)),
        ];
        facts_table(pages, words.document, facts);
        pages.y -= 6.0;
        pages.paragraph(&Shown::word(words.about_annex), TEXT, Colour::Grey);
        pages.y += 12.0;
    }

    fn movements(&self, pages: &mut Pages) -> Result<(), DocumentError> {
        if self.annex.movements.is_empty() {
            pages.heading(2, &Shown::word(self.words.receiver), room(2));
            pages.paragraph(&Shown::word(self.words.no_movements), TEXT, Colour::Ink);
            pages.y += 12.0;
        }
        for receiver in receivers(&self.annex.movements) {
            self.receiver(pages, &receiver)?;
        }
        Ok(())
    }

    fn receiver(&self, pages: &mut Pages, receiver: &Receiver<'_>) -> Result<(), DocumentError> {
        let words = self.words;
        let name = name_of(receiver.party, self.language);
        let heading = Shown::word(words.receiver).and(&Shown::word(words.colon)).and(&name);
        pages.heading(2, &heading, room(7));
        pages.paragraph(&self.identified(receiver.party, None), TEXT, Colour::Grey);
        pages.y += 3.0;
        let currency = Shown::figure(&format!("({})", self.annex.gross.currency));
        let amount = |share, word| {
            let head = Shown::word(word).and(&Shown::word(" ")).and(&currency);
            super::Column { head, share, align: Align::Right }
        };
        let columns = vec![
            column(words.debited, 34.0, Align::Start),
            column(words.credited_line, 20.0, Align::Start),
            amount(15.0, words.net),
            amount(13.0, words.tax),
            amount(18.0, words.gross),
        ];
        let mut rows = Vec::new();
        for movements in receiver.buyers.values() {
            rows.extend(self.buyer(movements)?);
        }
        let all: Vec<&Movement> = receiver.buyers.values().flatten().copied().collect();
        let sums = [self.sum(&all, |m| m.net)?, self.sum(&all, |m| m.tax)?, self.sum(&all, |m| m.gross)?];
        let cells = std::iter::once(Shown::word(words.total)).chain(sums).collect();
        rows.push(Row { kind: Kind::Total, cells });
        Table { summary: heading.plain(), columns, rows, row_headers: true }.place(pages);
        pages.y += 12.0;
        Ok(())
    }

    /// The rows of one buyer: who it is, each document, and from which line to which each part of it moves.
    fn buyer(&self, movements: &[&Movement]) -> Result<Vec<Row>, DocumentError> {
        let Some(last) = movements.last() else { return Ok(Vec::new()) };
        let space = Shown::word(" · ");
        let known = self.identified(&last.from.party, Some(&last.account));
        let label = name_of(&last.from.party, self.language).and(&space).and(&known);
        let mut rows = vec![Row { kind: Kind::Group, cells: vec![label, self.sum(movements, |m| m.gross)?] }];
        for of_document in movements.chunk_by(|a, b| a.number == b.number) {
            rows.extend(of_document.first().map(|first| self.document(first)));
            for movement in of_document {
                let place = |text: &Option<String>| text.as_deref().map(|text| Shown::data(text, NAME));
                let places = [&movement.from.budget_line, &movement.cost_centre, &movement.reference];
                let places = places.into_iter().filter_map(place);
                let from = places.reduce(|text, next| text.and(&space).and(&next)).unwrap_or_default();
                let cells = vec![
                    from,
                    place(&movement.to.budget_line).unwrap_or_default(),
                    self.money(movement.net),
                    self.money(movement.tax),
                    self.money(movement.gross),
                ];
                rows.push(Row { kind: Kind::Body, cells });
            }
        }
        Ok(rows)
    }

    fn document(&self, movement: &Movement) -> Row {
        let words = self.words;
        let kind = match movement.kind {
            StatementKind::Statement => words.statement,
            StatementKind::CreditNote => words.credit_note,
        };
        let dot = Shown::word(" · ");
        let number = Shown::data(&movement.number, NAME);
        let basis = Shown::word(words.basis).and(&Shown::word(" "));
        let basis = basis.and(&Shown::figure(&self.bases.number(movement)));
        let mut text = Shown::word(kind).and(&Shown::word(" ")).and(&number);
        text = text.and(&dot).and(&month_of(movement.month, words)).and(&dot).and(&basis);
        if let Some(reason) = &movement.reason {
            let why = Shown::word(words.why).and(&Shown::word(words.colon));
            text = text.and(&dot).and(&why).and(&Shown::data(reason, SENTENCE));
        }
        Row { kind: Kind::Subgroup, cells: vec![text] }
    }

    /// The numbers that a body is known by, and its account.
    fn identified(&self, party: &Party, account: Option<&str>) -> Shown {
        let numbers = [
            (self.words.ice, party.ice.as_deref()),
            (self.words.tax_id, party.tax_id.as_deref()),
            (self.words.account, account),
        ];
        let numbers = numbers.into_iter().filter_map(|(label, number)| Some((label, number?)));
        let named =
            |(label, number)| Shown::word(label).and(&Shown::word(" ")).and(&Shown::data(number, NAME));
        let dot = Shown::word(" · ");
        numbers.map(named).reduce(|text, next| text.and(&dot).and(&next)).unwrap_or_default()
    }

    fn legal_bases(&self, pages: &mut Pages) {
        let words = self.words;
        let bases = self.bases.in_order();
        if bases.is_empty() {
            return;
        }
        pages.heading(2, &Shown::word(words.legal_bases), room(bases.len() + 2));
        let columns = vec![
            column(words.basis, 12.0, Align::Start),
            column(words.of_prices, 48.0, Align::Start),
            column(words.of_tax, 40.0, Align::Start),
        ];
        let row = |(number, (prices, tax)): (usize, Basis<'_>)| {
            let cells = vec![
                Shown::figure(&number.to_string()),
                Shown::data(&prices.join("; "), SENTENCE),
                Shown::data(tax, SENTENCE),
            ];
            Row { kind: Kind::Body, cells }
        };
        let rows = bases.into_iter().map(row).collect();
        Table { summary: words.legal_bases.to_owned(), columns, rows, row_headers: true }.place(pages);
    }

    fn sum(&self, movements: &[&Movement], figure: fn(&Movement) -> Money) -> Result<Shown, InvalidMoney> {
        let zero = Money::zero(self.annex.gross.currency);
        let sum = movements.iter().map(|movement| figure(movement)).try_fold(zero, Money::add)?;
        Ok(self.money(sum))
    }
}

/// Movements by who receives them and who pays, each in the order of the annex.
fn receivers(movements: &[Movement]) -> Vec<Receiver<'_>> {
    let mut found: Vec<Receiver<'_>> = Vec::new();
    for movement in movements {
        // Who bills changes once in years.
        let known = found.iter().position(|receiver| *receiver.party == movement.to.party);
        let place = known.unwrap_or_else(|| {
            found.push(Receiver { party: &movement.to.party, buyers: BTreeMap::new() });
            found.len() - 1
        });
        if let Some(receiver) = found.get_mut(place) {
            receiver.buyers.entry(&movement.tenant).or_default().push(movement);
        }
    }
    found
}

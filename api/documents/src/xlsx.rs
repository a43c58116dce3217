//! The statement as a workbook.

use crate::csv::parts;
use crate::numbers::{clock, decimal_of_thousandths, instant, percent, thousandths};
use crate::shown::{SENTENCE, clean};
use crate::words::Words;
use crate::{DocumentError, Language};
use jiff::tz::TimeZone;
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, FormatAlign, Formula, Workbook, Worksheet};
use siyada_model::allocation::Booking;
use siyada_model::availability::OfInstance;
use siyada_model::canonical::sha256;
use siyada_model::money::{Currency, Money};
use siyada_model::statement::chain::extend;
use siyada_model::statement::{ListedGap, Statement, StatementLine};

/// Digits that a cell keeps exactly, because it is a float.
const MOST_DIGITS: usize = 15;

/// The statement as a workbook with the sheets Lines, Booked, Gaps, Availability where it says something of it, and Control. Amounts are numbers, identifiers are
/// texts, and no text of the statement is a formula. The sheet Control sums the lines and compares.
///
/// # Errors
/// [`DocumentError::Digits`] for an amount of more than 15 digits: a workbook would show another one.
pub fn xlsx(statement: &Statement, language: Language) -> Result<Vec<u8>, DocumentError> {
    let sheets = Sheets { statement, words: language.words(), formats: Formats::new(statement.currency) };
    let mut workbook = Workbook::new();
    workbook.set_properties(&sheets.properties()?);
    let rows = sheets.lines(named(&mut workbook, "Lines", language)?)?;
    sheets.booked(named(&mut workbook, "Booked", language)?)?;
    sheets.gaps(named(&mut workbook, "Gaps", language)?)?;
    if !statement.availability.is_empty() {
        sheets.availability(named(&mut workbook, "Availability", language)?)?;
    }
    sheets.control(named(&mut workbook, "Control", language)?, rows)?;
    Ok(workbook.save_to_buffer()?)
}

fn named<'a>(
    workbook: &'a mut Workbook,
    name: &str,
    language: Language,
) -> Result<&'a mut Worksheet, DocumentError> {
    let sheet = workbook.add_worksheet();
    sheet.set_name(name)?.set_right_to_left(language.right_to_left()).set_landscape();
    Ok(sheet)
}

struct Formats {
    head: Format,
    amount: Format,
    quantity: Format,
    wrapped: Format,
}

impl Formats {
    fn new(currency: Currency) -> Self {
        let decimals = usize::try_from(currency.exponent()).unwrap_or(0);
        let amount =
            if decimals == 0 { "#,##0".to_owned() } else { format!("#,##0.{}", "0".repeat(decimals)) };
        Self {
            head: Format::new().set_bold().set_text_wrap().set_align(FormatAlign::Top),
            amount: Format::new().set_num_format(amount),
            quantity: Format::new().set_num_format("#,##0.000"),
            wrapped: Format::new().set_text_wrap().set_align(FormatAlign::Top),
        }
    }
}

/// A cell before it is written.
enum Cell {
    Text(String),
    /// A plain decimal number.
    Number(String),
    Amount(i64),
    Quantity(String),
}

struct Sheets<'a> {
    statement: &'a Statement,
    words: &'static Words,
    formats: Formats,
}

/// Where something is booked, in the order of the columns.
fn places(booking: &Booking) -> [Cell; 3] {
    [&booking.budget_line, &booking.cost_centre, &booking.reference]
        .map(|text| Cell::Text(text.clone().unwrap_or_default()))
}

impl Sheets<'_> {
    fn properties(&self) -> Result<DocProperties, DocumentError> {
        let issued = self.statement.issued_at.to_zoned(TimeZone::UTC).datetime();
        let small = |n: i8| u8::try_from(n).unwrap_or_default();
        let year = u16::try_from(issued.year()).unwrap_or_default();
        let at = ExcelDateTime::from_ymd(year, small(issued.month()), small(issued.day()))?;
        let at = at.and_hms(small(issued.hour()).into(), small(issued.minute()), issued.second())?;
        let title = clean(&self.statement.number, SENTENCE);
        Ok(DocProperties::new().set_title(title).set_author("Siyada").set_creation_datetime(&at))
    }

    /// The number of rows with amounts, which begin in the second row.
    fn lines(&self, sheet: &mut Worksheet) -> Result<u32, DocumentError> {
        let w = self.words;
        let heads = [
            w.section,
            w.month,
            w.tenant,
            w.namespace,
            w.name,
            w.uid,
            w.service,
            w.meter,
            w.sku,
            w.price_list,
            w.begins,
            w.ends,
            w.quantity,
            w.unit,
            w.unit_price,
            w.amount,
            w.rate,
            w.budget_line,
            w.cost_centre,
            w.reference,
            w.exact_quantity,
        ];
        self.heads(sheet, &heads)?;
        let lines = self.statement.lines.iter().map(|line| (w.line, line));
        let corrections = self.statement.corrections.iter().map(|line| (w.correction, line));
        let mut row = 0;
        for (section, line) in lines.chain(corrections) {
            for part in parts(line) {
                row += 1;
                self.row(sheet, row, self.cells(section, line, (&part.booking, part.minor))?)?;
            }
        }
        if row > 0 {
            let last = u16::try_from(heads.len()).unwrap_or(1).saturating_sub(1);
            sheet.autofilter(0, 0, row, last)?;
        }
        Ok(row)
    }

    fn cells(
        &self,
        section: &str,
        line: &StatementLine,
        (booking, minor): (&Booking, i64),
    ) -> Result<Vec<Cell>, DocumentError> {
        let (order, words) = (&line.order, self.words);
        let text = |text: &str| Cell::Text(text.to_owned());
        let [budget_line, cost_centre, reference] = places(booking);
        Ok(vec![
            text(section),
            Cell::Text(line.month.to_string()),
            text(order.tenant.as_str()),
            text(&order.namespace),
            text(&order.name),
            text(order.uid.as_str()),
            text(&order.kind),
            text(words.meter(line.meter).unwrap_or(line.meter.as_str())),
            text(line.sku.as_str()),
            text(line.price_list.as_str()),
            Cell::Text(instant(line.start)),
            Cell::Text(instant(line.end)),
            // The quantity of the line, also where only a part of it is booked.
            Cell::Quantity(decimal_of_thousandths(thousandths(&line.quantity_ms, line.unit)?)),
            text(words.unit(line.unit)),
            Cell::Number(line.unit_price.clone()),
            Cell::Amount(minor),
            line.tax_basis_points
                .map_or(Cell::Text(String::new()), |rate| Cell::Text(format!("{}%", percent(rate)))),
            budget_line,
            cost_centre,
            reference,
            text(&line.quantity_ms),
        ])
    }

    fn booked(&self, sheet: &mut Worksheet) -> Result<(), DocumentError> {
        let w = self.words;
        self.heads(sheet, &[w.budget_line, w.cost_centre, w.reference, w.net, w.tax, w.gross])?;
        for (row, total) in (1..).zip(&self.statement.totals.booked) {
            let figures = [total.net_minor, total.tax_minor, total.gross_minor].map(Cell::Amount);
            self.row(sheet, row, places(&total.booking).into_iter().chain(figures))?;
        }
        Ok(())
    }

    fn gaps(&self, sheet: &mut Worksheet) -> Result<(), DocumentError> {
        let w = self.words;
        let heads = [
            w.tenant,
            w.namespace,
            w.name,
            w.uid,
            w.service,
            w.meter,
            w.begins,
            w.ends,
            w.reason,
            w.decision,
            w.decided_by,
            w.evidence,
        ];
        self.heads(sheet, &heads)?;
        for (row, gap) in (1..).zip(&self.statement.gaps) {
            let ListedGap { order, meter, start, end, reason, billed, decided_by, evidence } = gap;
            let decision = if *billed { w.billed } else { w.not_billed };
            let texts = [
                order.tenant.as_str(),
                &order.namespace,
                &order.name,
                order.uid.as_str(),
                &order.kind,
                w.meter(*meter).unwrap_or(meter.as_str()),
                &instant(*start),
                &instant(*end),
                reason,
                decision,
                decided_by,
                evidence,
            ];
            self.row(sheet, row, texts.map(|text| Cell::Text(text.to_owned())))?;
        }
        Ok(())
    }

    fn availability(&self, sheet: &mut Worksheet) -> Result<(), DocumentError> {
        let w = self.words;
        let times = [w.should_run, w.up, w.down, w.unobserved];
        let heads = [w.tenant, w.namespace, w.name, w.uid, w.service].into_iter().chain(times);
        self.heads(sheet, &heads.chain([w.available]).collect::<Vec<_>>())?;
        for (row, OfInstance { order, figures }) in (1..).zip(&self.statement.availability) {
            let names =
                [order.tenant.as_str(), &order.namespace, &order.name, order.uid.as_str(), &order.kind];
            let times = [figures.should_run_ms, figures.up_ms, figures.down_ms, figures.unobserved_ms];
            let texts = names.map(str::to_owned).into_iter().chain(times.map(clock));
            let percent = figures.percent.clone().map_or(Cell::Text(String::new()), Cell::Number);
            self.row(sheet, row, texts.map(Cell::Text).chain([percent]))?;
        }
        Ok(())
    }

    /// Sums by formula beside the figures of the document.
    fn control(&self, sheet: &mut Worksheet, rows: u32) -> Result<(), DocumentError> {
        let (w, statement) = (self.words, self.statement);
        let totals = &statement.totals;
        self.heads(sheet, &[w.control, w.summed, w.shown, w.difference])?;
        let last = rows.max(1) + 1;
        // P is the column of amounts.
        let amounts = format!("=SUM(Lines!P2:P{last})");
        let mut row = 1;
        self.compared(sheet, row, (w.net, &amounts, totals.net_minor))?;
        for tax in &totals.taxes {
            row += 1;
            let rate = percent(tax.rate_basis_points);
            self.row(
                sheet,
                row,
                [Cell::Text(format!("{} {rate}%", w.tax)), Cell::Amount(tax.minor), Cell::Amount(tax.minor)],
            )?;
        }
        let gross = format!("=SUM(B2:B{})", row + 1);
        row += 1;
        self.compared(sheet, row, (w.gross, &gross, totals.gross_minor))?;
        let booked = format!("=SUM(Booked!F2:F{})", totals.booked.len().max(1) + 1);
        row += 1;
        self.compared(sheet, row, (w.booked, &booked, totals.gross_minor))?;
        let hash = sha256(&statement.bytes()?);
        let facts = [
            (w.number, statement.number.clone()),
            (w.currency, statement.currency.to_string()),
            (w.issued, format!("{} UTC", instant(statement.issued_at))),
            (w.begins, format!("{} UTC", instant(statement.period.start))),
            (w.ends, format!("{} UTC", instant(statement.period.end))),
            (w.sha256, hash.clone()),
            (w.previous, statement.previous_chain.clone()),
            (w.chain, extend(&statement.previous_chain, &hash)),
        ];
        row += 1;
        for (label, text) in facts {
            row += 1;
            self.row(sheet, row, [Cell::Text(label.to_owned()), Cell::Text(text)])?;
        }
        sheet.set_column_width(0, 34)?.set_column_width(1, 26)?;
        sheet.write_string_with_format(row + 2, 0, w.about_control, &self.formats.wrapped)?;
        Ok(())
    }

    /// A row that sums by formula, shows the document's figure and their difference, rounded to the minor unit because a
    /// sum of floats may be off by less than that.
    fn compared(
        &self,
        sheet: &mut Worksheet,
        row: u32,
        (label, formula, minor): (&str, &str, i64),
    ) -> Result<(), DocumentError> {
        let (amount, decimals) = (&self.formats.amount, self.statement.currency.exponent());
        let shown = Money { minor, currency: self.statement.currency }.decimal();
        sheet.write_string(row, 0, label)?;
        sheet.write_formula_with_format(row, 1, Formula::new(formula).set_result(&shown), amount)?;
        sheet.write_number_with_format(row, 2, float(&shown)?, amount)?;
        let line = row + 1;
        let difference = format!("=ROUND(B{line}-C{line},{decimals})");
        sheet.write_formula_with_format(row, 3, Formula::new(difference).set_result("0"), amount)?;
        Ok(())
    }

    fn heads(&self, sheet: &mut Worksheet, heads: &[&str]) -> Result<(), DocumentError> {
        for (column, head) in (0..).zip(heads) {
            sheet.write_string_with_format(0, column, *head, &self.formats.head)?;
            sheet.set_column_width(column, 17)?;
        }
        sheet.set_freeze_panes(1, 0)?;
        Ok(())
    }

    fn row(
        &self,
        sheet: &mut Worksheet,
        row: u32,
        cells: impl IntoIterator<Item = Cell>,
    ) -> Result<(), DocumentError> {
        for (column, cell) in (0..).zip(cells) {
            match cell {
                // Never `write`, which would look for formulas and links.
                Cell::Text(text) => sheet.write_string(row, column, clean(&text, SENTENCE))?,
                Cell::Amount(minor) => {
                    let amount = Money { minor, currency: self.statement.currency }.decimal();
                    sheet.write_number_with_format(row, column, float(&amount)?, &self.formats.amount)?
                }
                Cell::Quantity(decimal) => match float(&decimal) {
                    Ok(number) => {
                        sheet.write_number_with_format(row, column, number, &self.formats.quantity)?
                    }
                    Err(_) => sheet.write_string(row, column, decimal)?,
                },
                Cell::Number(decimal) => match float(&decimal) {
                    Ok(number) => sheet.write_number(row, column, number)?,
                    Err(_) => sheet.write_string(row, column, clean(&decimal, SENTENCE))?,
                },
            };
        }
        Ok(())
    }
}

/// The float that shows as `decimal`: the nearest one, which is told from its neighbours by 15 digits.
fn float(decimal: &str) -> Result<f64, DocumentError> {
    let refused = || DocumentError::Digits(decimal.chars().take(60).collect());
    let digits = decimal.bytes().filter(u8::is_ascii_digit).count();
    let leading =
        decimal.bytes().take_while(|b| matches!(b, b'0' | b'.' | b'-')).filter(|b| *b == b'0').count();
    let plain = decimal.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-'));
    if !plain || digits.saturating_sub(leading) > MOST_DIGITS {
        return Err(refused());
    }
    decimal.parse().map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_keeps_fifteen_digits_and_no_more() {
        assert!(float("9999999999999.99").is_ok());
        assert!(float("99999999999999.99").is_err());
        assert!(float("0.00201389").is_ok());
        assert!(float("-0.000000000000001").is_ok());
        for text in ["", "-", "=1", "1e9", "nan", "inf"] {
            assert!(float(text).is_err(), "{text}");
        }
    }
}

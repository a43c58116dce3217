//! CSV: one row for each part of a line; one for each instance and its availability.

use crate::DocumentError;
use crate::numbers::{decimal_of_thousandths, thousandths};
use jiff::Timestamp;
use siyada_model::availability::OfInstance;
use siyada_model::money::{Currency, Money};
use siyada_model::statement::{Part, Statement, StatementLine};

const HEADER: &str = "number,kind,issuedAt,statementMonth,account,section,month,tenant,namespace,name,orderUid,service,\
    meter,sku,priceList,unit,unitPrice,start,end,quantityMs,quantity,lineAmount,taxBasisPoints,costCentre,budgetLine,\
    reference,millionths,amount,currency";

/// One row for each part of each line and correction (RFC 4180). The column `amount` sums to the net total, to the last
/// minor unit; taxes are computed on the whole and are not here. The names of the columns do not change.
///
/// # Errors
/// [`DocumentError::Quantity`] for a statement that was not computed.
pub fn csv(statement: &Statement) -> Result<String, DocumentError> {
    let mut text = format!("{HEADER}\r\n");
    let lines = statement.lines.iter().map(|line| ("line", line));
    for (section, line) in lines.chain(statement.corrections.iter().map(|line| ("correction", line))) {
        for part in parts(line) {
            row(&mut text, statement, section, (line, &part))?;
        }
    }
    Ok(text)
}

/// One row for each instance: for how long somebody could log in to it between `from` and `to` (RFC 4180). The names of the
/// columns do not change.
pub fn availability_csv((from, to): (Timestamp, Timestamp), instances: &[OfInstance]) -> String {
    let mut text = String::from(
        "from,to,tenant,namespace,name,orderUid,service,shouldRunMs,upMs,downMs,unobservedMs,percent\r\n",
    );
    for OfInstance { order, figures } in instances {
        let cells = [
            from.to_string(),
            to.to_string(),
            order.tenant.to_string(),
            cell(&order.namespace),
            cell(&order.name),
            order.uid.to_string(),
            cell(&order.kind),
            figures.should_run_ms.to_string(),
            figures.up_ms.to_string(),
            figures.down_ms.to_string(),
            figures.unobserved_ms.to_string(),
            figures.percent.clone().unwrap_or_default(),
        ];
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text
}

/// The parts of a line; all of it in no place if it has none, so that no amount is lost.
pub fn parts(line: &StatementLine) -> Vec<Part> {
    if line.parts.is_empty() {
        return vec![Part {
            booking: siyada_model::allocation::Booking::default(),
            millionths: 0,
            minor: line.minor,
        }];
    }
    line.parts.clone()
}

fn row(
    text: &mut String,
    statement: &Statement,
    section: &str,
    (line, part): (&StatementLine, &Part),
) -> Result<(), DocumentError> {
    let head = [
        cell(&statement.number),
        statement.kind.as_str().to_owned(),
        statement.issued_at.to_string(),
        statement.period.month.to_string(),
        cell(&statement.buyer.account),
        section.to_owned(),
    ];
    let quantity = decimal_of_thousandths(thousandths(&line.quantity_ms, line.unit)?);
    let rest = part_cells(line, part, statement.currency);
    let cells: Vec<String> = head.into_iter().chain(line_cells(line)).chain([quantity]).chain(rest).collect();
    text.push_str(&cells.join(","));
    text.push_str("\r\n");
    Ok(())
}

/// The cells of a line up to its quantity: month, tenant, namespace, name, orderUid, service, meter, sku, priceList, unit,
/// unitPrice, start, end and quantityMs.
pub fn line_cells(line: &StatementLine) -> [String; 14] {
    let order = &line.order;
    [
        line.month.to_string(),
        order.tenant.to_string(),
        cell(&order.namespace),
        cell(&order.name),
        order.uid.to_string(),
        cell(&order.kind),
        line.meter.to_string(),
        line.sku.to_string(),
        line.price_list.to_string(),
        line.unit.as_str().to_owned(),
        cell(&line.unit_price),
        line.start.to_string(),
        line.end.to_string(),
        number(&line.quantity_ms),
    ]
}

/// The cells of a part of a line: lineAmount, taxBasisPoints, costCentre, budgetLine, reference, millionths, amount and
/// currency.
pub fn part_cells(line: &StatementLine, part: &Part, currency: Currency) -> [String; 8] {
    let amount = |minor| Money { minor, currency }.decimal();
    let word = |text: &Option<String>| cell(text.as_deref().unwrap_or_default());
    [
        amount(line.minor),
        line.tax_basis_points.map(|rate| rate.to_string()).unwrap_or_default(),
        word(&part.booking.cost_centre),
        word(&part.booking.budget_line),
        word(&part.booking.reference),
        part.millionths.to_string(),
        amount(part.minor),
        currency.to_string(),
    ]
}

/// A whole number as it is; anything else is a text.
fn number(text: &str) -> String {
    if text.parse::<i128>().is_ok() { text.to_owned() } else { cell(text) }
}

/// A text as a cell of CSV. A spreadsheet must not take it for a formula.
pub fn cell(text: &str) -> String {
    quoted(unformulated(text))
}

/// A text that does not begin like a formula.
pub(crate) fn unformulated(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if formula { format!("'{text}") } else { text.to_owned() }
}

/// A text in quotes where it needs them.
pub(crate) fn quoted(text: String) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_quoted_and_never_a_formula() {
        let check = |text: &str, expect: &str| assert_eq!(cell(text), expect);
        check("DSI", "DSI");
        check("a,\"b\"", "\"a,\"\"b\"\"\"");
        check("=1+1", "'=1+1");
        check("ⵜⴰⵎⴰⵡⴰⵙⵜ", "ⵜⴰⵎⴰⵡⴰⵙⵜ");
        check("\t=1", "'\t=1");
        check("\r=1,2", "\"'\r=1,2\"");
        check("@SUM(A1)", "'@SUM(A1)");
    }
}

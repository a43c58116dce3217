//! Credit notes: what takes back a statement or a part of it, so that all of them together cancel it exactly.
//!
//! Rounding each note by itself would leave a hundredth over or under. Instead, what has been credited in all is computed
//! as if it were one note, and a note is the difference to those before it. Once everything is credited, that sum is the
//! statement itself, figure by figure.

use super::{Part, Statement, StatementLine, TaxAmount, Totals, totals};
use crate::allocation::split;
use crate::money::InvalidMoney;
use std::collections::BTreeMap;

/// Why nothing is credited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreditError {
    /// No such line.
    #[error("the statement has {lines} lines and corrections; there is no number {index}")]
    Line {
        /// What was asked.
        index: usize,
        /// How many there are.
        lines: usize,
    },
    /// More than is left.
    #[error("of line {index}, {left} minor units are left to be credited, not {asked}")]
    More {
        /// The line.
        index: usize,
        /// What can be credited still.
        left: i64,
        /// What was asked.
        asked: i64,
    },
    /// Nothing at all.
    #[error("nothing is left to be credited")]
    Nothing,
    /// A sum does not fit.
    #[error(transparent)]
    Money(#[from] InvalidMoney),
}

/// What of a statement is credited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// All that is left.
    Rest,
    /// So many minor units, without tax, of lines by their index; corrections are counted after the lines.
    Lines(BTreeMap<usize, i64>),
}

/// The lines and totals of the next credit note of `original`, after `earlier` ones. All amounts are those of the
/// original, negated.
///
/// # Errors
/// [`CreditError`], which names the line and what is left of it.
pub fn credit(
    original: &Statement,
    earlier: &[&Statement],
    ask: &Ask,
) -> Result<(Vec<StatementLine>, Totals), CreditError> {
    let billed: Vec<&StatementLine> = original.lines.iter().chain(&original.corrections).collect();
    let before = credited(&billed, earlier)?;
    let mut after = before.clone();
    match ask {
        Ask::Rest => after = billed.iter().map(|line| Some(line.minor)).collect(),
        Ask::Lines(asked) => {
            for (index, minor) in asked {
                let unknown = CreditError::Line { index: *index, lines: billed.len() };
                let (line, sum) = billed.get(*index).zip(after.get_mut(*index)).ok_or(unknown)?;
                *sum = Some(grown(*index, line.minor, sum.unwrap_or(0), *minor)?);
            }
        }
    }
    let (old, new) = (lines_of(&billed, &before)?, lines_of(&billed, &after)?);
    let lines = old.iter().zip(&new).map(|(old, new)| less(old, new)).filter_map(Result::transpose);
    let lines = lines.collect::<Result<Vec<_>, _>>()?;
    if lines.is_empty() {
        return Err(CreditError::Nothing);
    }
    let totals = difference(&totals(old.iter())?, &totals(new.iter())?)?;
    Ok((lines, totals))
}

/// How much of each line earlier notes have taken back, with the sign of the line; nothing of one that none names.
fn credited(billed: &[&StatementLine], earlier: &[&Statement]) -> Result<Vec<Option<i64>>, CreditError> {
    let mut sums = vec![None; billed.len()];
    for line in earlier.iter().flat_map(|note| &note.lines) {
        let same = |other: &&StatementLine| {
            other.order == line.order
                && (other.month, other.meter, &other.sku, &other.price_list, other.start, other.end)
                    == (line.month, line.meter, &line.sku, &line.price_list, line.start, line.end)
                && other.parts.iter().map(|p| &p.booking).eq(line.parts.iter().map(|p| &p.booking))
        };
        if let Some(sum) = billed.iter().position(same).and_then(|index| sums.get_mut(index)) {
            *sum = Some(minus(sum.unwrap_or(0), line.minor)?);
        }
    }
    Ok(sums)
}

/// The sum of a line after `asked` more, which has the sign of the line and does not pass it.
fn grown(index: usize, billed: i64, sum: i64, asked: i64) -> Result<i64, CreditError> {
    let left = billed.checked_sub(sum).ok_or(InvalidMoney::TooLarge)?;
    if asked == 0 || asked.signum() != left.signum() || asked.unsigned_abs() > left.unsigned_abs() {
        return Err(CreditError::More { index, left, asked });
    }
    Ok(sum.checked_add(asked).ok_or(InvalidMoney::TooLarge)?)
}

/// The lines as if `sums` of them had been billed, with their parts in proportion.
fn lines_of(billed: &[&StatementLine], sums: &[Option<i64>]) -> Result<Vec<StatementLine>, InvalidMoney> {
    billed.iter().zip(sums).map(|(line, sum)| line_of(line, *sum)).collect()
}

fn line_of(line: &StatementLine, sum: Option<i64>) -> Result<StatementLine, InvalidMoney> {
    let minors = match sum {
        None => vec![0; line.parts.len()],
        // All of it: exactly as billed, whatever the signs of the parts of a correction are.
        Some(sum) if sum == line.minor => line.parts.iter().map(|p| p.minor).collect(),
        Some(sum) => {
            split(sum, &line.parts.iter().map(|p| i128::from(p.minor.unsigned_abs())).collect::<Vec<_>>())?
        }
    };
    let parts = line.parts.iter().zip(minors).map(|(part, minor)| Part { minor, ..part.clone() });
    Ok(StatementLine { minor: sum.unwrap_or(0), parts: parts.collect(), ..line.clone() })
}

fn minus(old: i64, new: i64) -> Result<i64, InvalidMoney> {
    old.checked_sub(new).ok_or(InvalidMoney::TooLarge)
}

/// The line of a note that leads from `old` to `new`; none if nothing was credited of it.
fn less(old: &StatementLine, new: &StatementLine) -> Result<Option<StatementLine>, InvalidMoney> {
    let parts = old.parts.iter().zip(&new.parts);
    let parts = parts.map(|(old, new)| Ok(Part { minor: minus(old.minor, new.minor)?, ..new.clone() }));
    let parts = parts.collect::<Result<Vec<_>, InvalidMoney>>()?;
    let minor = minus(old.minor, new.minor)?;
    if minor == 0 && parts.iter().all(|part| part.minor == 0) {
        return Ok(None);
    }
    // A note takes back money; how much was used is as it was.
    Ok(Some(StatementLine { minor, parts, quantity_ms: "0".to_owned(), ..new.clone() }))
}

/// `old` less `new`, figure by figure. Both are about the same lines, so they have the same rates and places.
fn difference(old: &Totals, new: &Totals) -> Result<Totals, InvalidMoney> {
    let taxes = old.taxes.iter().zip(&new.taxes).map(|(old, new)| {
        Ok(TaxAmount {
            rate_basis_points: new.rate_basis_points,
            base_minor: minus(old.base_minor, new.base_minor)?,
            minor: minus(old.minor, new.minor)?,
        })
    });
    let booked = old.booked.iter().zip(&new.booked).map(|(old, new)| {
        Ok(super::BookedTotal {
            booking: new.booking.clone(),
            net_minor: minus(old.net_minor, new.net_minor)?,
            tax_minor: minus(old.tax_minor, new.tax_minor)?,
            gross_minor: minus(old.gross_minor, new.gross_minor)?,
        })
    });
    Ok(Totals {
        net_minor: minus(old.net_minor, new.net_minor)?,
        gross_minor: minus(old.gross_minor, new.gross_minor)?,
        taxes: taxes.collect::<Result<_, InvalidMoney>>()?,
        booked: booked.collect::<Result<_, InvalidMoney>>()?,
    })
}

//! Budget lines: credits of a tenant for a fiscal year, what is committed of them, and how far it went.

use crate::id::TenantName;
use crate::ledger::{Account, AccountKind, Entry, InvalidTransaction, Transaction, TransactionKind, word};
use crate::money::{Currency, InvalidMoney, Money};
use crate::party::{InvalidParty, plain, plain_name, plain_names};
use crate::period::{Month, YEARS};
use crate::wire::DisplayName;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::{fmt, str::FromStr};

/// Most places of a nomenclature in which a line stands.
pub const MOST_PLACES: usize = 20;

/// Why something about a budget line is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLine {
    /// No such year.
    #[error("fiscalYear is 2000 to 9998, not {0}")]
    Year(i16),
    /// Credits below nothing.
    #[error("{0} cannot be negative")]
    Negative(&'static str),
    /// Credits in two currencies.
    #[error("opened is in {0}, carried in {1}; give both in one currency")]
    Mixed(Currency, Currency),
    /// Too many places.
    #[error("a nomenclature has at most 20 places, not {0}")]
    Places(usize),
    /// One place twice.
    #[error("the nomenclature names {0:?} twice; keep one")]
    Twice(String),
    /// A text that cannot be printed.
    #[error(transparent)]
    Text(#[from] InvalidParty),
}

plain_name! {
    /// Name of a budget line: what orders and tenants have in `billing.budgetLine`.
    LineName, "budgetLine"
}

/// A place in the nomenclature of the budget, for example chapter 30.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Place {
    /// What kind of place, for example `chapitre`.
    pub key: String,
    /// Which one.
    pub value: String,
}

/// `PUT /v1/tenants/{tenant}/budget-lines/{line}`: the credits of a line for a fiscal year.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BudgetLineRecord {
    /// The year in which the fiscal year begins.
    pub fiscal_year: i16,
    /// Its names.
    #[serde(default)]
    pub display_name: DisplayName,
    /// Where it stands in the nomenclature, from the widest place to the narrowest.
    #[serde(default)]
    pub nomenclature: Vec<Place>,
    /// Credits that were opened.
    pub opened: Money,
    /// Credits carried over from the year before; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried: Option<Money>,
}

impl BudgetLineRecord {
    /// # Errors
    /// [`InvalidLine`], which names the field.
    pub fn check(&self) -> Result<(), InvalidLine> {
        if !YEARS.contains(&self.fiscal_year) {
            return Err(InvalidLine::Year(self.fiscal_year));
        }
        if self.opened.minor < 0 {
            return Err(InvalidLine::Negative("opened"));
        }
        if let Some(carried) = self.carried {
            if carried.minor < 0 {
                return Err(InvalidLine::Negative("carried"));
            }
            if carried.currency != self.opened.currency {
                return Err(InvalidLine::Mixed(self.opened.currency, carried.currency));
            }
        }
        if self.nomenclature.len() > MOST_PLACES {
            return Err(InvalidLine::Places(self.nomenclature.len()));
        }
        let mut seen = BTreeSet::new();
        for place in &self.nomenclature {
            plain("nomenclature.key", &place.key)?;
            plain("nomenclature.value", &place.value)?;
            if !seen.insert(&place.key) {
                return Err(InvalidLine::Twice(place.key.clone()));
            }
        }
        Ok(plain_names(&self.display_name)?)
    }

    /// Credits carried over.
    pub fn carried(&self) -> Money {
        self.carried.unwrap_or(Money::zero(self.opened.currency))
    }
}

/// A budget line as it was put on record by somebody. A change is a new version; none is ever altered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct BudgetLineVersion {
    /// From 1.
    pub version: i32,
    /// What was put.
    #[serde(flatten)]
    pub record: BudgetLineRecord,
    /// Who put it: the subject of his token.
    pub by: String,
    /// When.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
}

/// A budget line and how far its credits went. Each stage includes those after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct BudgetLine {
    /// Its tenant.
    pub tenant: TenantName,
    /// Its name.
    pub line: LineName,
    /// Its last version.
    #[serde(flatten)]
    pub current: BudgetLineVersion,
    /// What everything that is held and booked on it costs at most a month.
    pub held_monthly: Money,
    /// What is billed, and what is held until the fiscal year ends, at most.
    pub committed: Money,
    /// What statements of the fiscal year book on it, with tax.
    pub billed: Money,
    /// Certified as done.
    pub certified: Money,
    /// Ordered to be paid.
    pub ordered: Money,
    /// Paid.
    pub paid: Money,
    /// Credits that nothing is committed of (*reste à engager*); below zero when too much is.
    pub remaining_to_commit: Money,
    /// What is committed and not paid (*reste à payer*).
    pub remaining_to_pay: Money,
}

/// What a budget line is computed from, in minor units of its currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// At most a month of what is held now.
    pub held_monthly: i64,
    /// Of what is held, until the fiscal year ends.
    pub to_come: i64,
    /// Billed.
    pub billed: i64,
    /// Certified, ordered and paid included.
    pub certified: i64,
    /// Ordered, paid included.
    pub ordered: i64,
    /// Paid.
    pub paid: i64,
}

impl BudgetLine {
    /// The line with what remains.
    ///
    /// # Errors
    /// [`InvalidMoney::TooLarge`] when a sum is outside of 64 bits.
    pub fn new(
        (tenant, line): (TenantName, LineName),
        current: BudgetLineVersion,
        amounts: &Amounts,
    ) -> Result<Self, InvalidMoney> {
        let currency = current.record.opened.currency;
        let money = |minor: i64| Money { minor, currency };
        let plus = |a: i64, b: i64| a.checked_add(b).ok_or(InvalidMoney::TooLarge);
        let minus = |a: i64, b: i64| a.checked_sub(b).ok_or(InvalidMoney::TooLarge);
        let committed = plus(amounts.billed, amounts.to_come)?;
        let credits = plus(current.record.opened.minor, current.record.carried().minor)?;
        Ok(Self {
            tenant,
            line,
            held_monthly: money(amounts.held_monthly),
            committed: money(committed),
            billed: money(amounts.billed),
            certified: money(amounts.certified),
            ordered: money(amounts.ordered),
            paid: money(amounts.paid),
            remaining_to_commit: money(minus(credits, committed)?),
            remaining_to_pay: money(minus(committed, amounts.paid)?),
            current,
        })
    }
}

/// How many months of a fiscal year that begins with the month `start` of its year do not lie before `first`.
pub fn months_left(fiscal_year: i16, start: i8, first: Month) -> i64 {
    let begins = i32::from(fiscal_year).saturating_mul(12).saturating_add(i32::from(start)).saturating_sub(1);
    let ends = begins.saturating_add(12);
    i64::from(ends.saturating_sub(first.ordinal().max(begins)).max(0))
}

/// The account of a budget line; of what is booked on none, when there is no name.
pub fn account(tenant: &TenantName, fiscal_year: i16, line: Option<&str>) -> Account {
    let year = Account::new(AccountKind::Budget, &[tenant.as_str(), &fiscal_year.to_string()]);
    match line {
        Some(line) => year.below(line),
        // No name is written so.
        None => Account::recorded(format!("{year}:%")),
    }
}

/// What a new version of a budget line moves: the difference in credits.
///
/// # Errors
/// [`InvalidTransaction`] when an amount is outside of what can be written.
pub fn post_credits(
    (tenant, line): (&TenantName, &LineName),
    before: Option<&BudgetLineRecord>,
    version: &BudgetLineVersion,
    (tenant_id, date): (i64, Date),
) -> Result<Transaction, InvalidTransaction> {
    let record = &version.record;
    let account = account(tenant, record.fiscal_year, Some(line.as_str()));
    let mut entries = Vec::new();
    let pairs = [
        ("opened", before.map(|b| b.opened), record.opened),
        ("carried", before.map(BudgetLineRecord::carried), record.carried()),
    ];
    for (name, before, after) in pairs {
        if let Some(before) = before {
            entries.push(Entry::add(account.clone().below(name), before));
            entries.push(Entry::take(account.clone().below("available"), before)?);
        }
        entries.push(Entry::take(account.clone().below(name), after)?);
        entries.push(Entry::add(account.clone().below("available"), after));
    }
    let id =
        format!("credits/{tenant_id}/{}/{}/{}", record.fiscal_year, word(line.as_str()), version.version);
    Transaction::new(id, TransactionKind::Credits, (version.at, date), entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(opened: i64, carried: i64) -> BudgetLineRecord {
        let money = |minor| Money { minor, currency: Currency::MAD };
        BudgetLineRecord {
            fiscal_year: 2026,
            display_name: DisplayName::default(),
            nomenclature: vec![Place { key: "chapitre".to_owned(), value: "30".to_owned() }],
            opened: money(opened),
            carried: Some(money(carried)),
        }
    }

    fn version(number: i32, record: BudgetLineRecord) -> BudgetLineVersion {
        BudgetLineVersion { version: number, record, by: "oidc:amina".to_owned(), at: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        let check = |change: &dyn Fn(&mut BudgetLineRecord), expect: &str| {
            let mut wrong = record(1, 1);
            change(&mut wrong);
            assert_eq!(wrong.check().unwrap_err().to_string(), expect);
        };
        assert_eq!(record(0, 0).check(), Ok(()));
        check(&|r| r.fiscal_year = 26, "fiscalYear is 2000 to 9998, not 26");
        check(&|r| r.opened.minor = -1, "opened cannot be negative");
        check(
            &|r| r.opened.currency = Currency::EUR,
            "opened is in EUR, carried in MAD; give both in one currency",
        );
        check(
            &|r| r.nomenclature.push(r.nomenclature[0].clone()),
            "the nomenclature names \"chapitre\" twice; keep one",
        );
        check(
            &|r| r.display_name.fr = Some("a\u{202E}b".to_owned()),
            "displayName.fr must have 1 to 200 characters, without control characters and without marks of text direction",
        );
        assert!("".parse::<LineName>().is_err() && "a\nb".parse::<LineName>().is_err());
        assert_eq!("30 / 10 ميزانية".parse::<LineName>().unwrap().as_str(), "30 / 10 ميزانية");
    }

    #[test]
    fn months_of_the_fiscal_year_that_are_not_over() {
        let check = |year, start, first: &str, expect| {
            assert_eq!(months_left(year, start, first.parse().unwrap()), expect, "{year} {start} {first}");
        };
        check(2026, 1, "2026-11", 2);
        check(2026, 1, "2025-03", 12);
        check(2026, 1, "2027-01", 0);
        check(2026, 4, "2027-03", 1);
        check(2026, 4, "2026-01", 12);
    }

    #[test]
    fn i06_versions_move_the_difference_in_credits() {
        let (tenant, line) = ("interior".parse().unwrap(), "30 10".parse().unwrap());
        let posted = |before: Option<&BudgetLineRecord>, after| {
            post_credits((&tenant, &line), before, &version(1, after), (7, "2026-01-02".parse().unwrap()))
                .unwrap()
        };
        let entries = |transaction: &Transaction| -> Vec<String> {
            let text = |e: &Entry| format!("{} {}", e.account, e.amount.minor);
            transaction.entries().iter().map(text).collect()
        };
        let first = posted(None, record(100, 20));
        assert_eq!(first.id(), "credits/7/2026/30%2010/1");
        assert_eq!(
            entries(&first),
            [
                "budget:interior:2026:30%2010:available 120",
                "budget:interior:2026:30%2010:carried -20",
                "budget:interior:2026:30%2010:opened -100"
            ]
        );
        let second = posted(Some(&record(100, 20)), record(90, 20));
        assert_eq!(
            entries(&second),
            ["budget:interior:2026:30%2010:available -10", "budget:interior:2026:30%2010:opened 10"]
        );
        assert!(entries(&posted(Some(&record(1, 1)), record(1, 1))).is_empty());
    }

    #[test]
    fn what_remains_is_credits_less_commitments_and_commitments_less_payments() {
        let amounts =
            Amounts { held_monthly: 10, to_come: 20, billed: 50, certified: 40, ordered: 30, paid: 25 };
        let names = ("interior".parse().unwrap(), "30".parse().unwrap());
        let line = BudgetLine::new(names, version(1, record(100, 5)), &amounts).unwrap();
        assert_eq!(
            (line.committed.minor, line.remaining_to_commit.minor, line.remaining_to_pay.minor),
            (70, 35, 45)
        );
    }
}

//! Double entry: what moves money from one account to another, and never makes or loses any.
//!
//! Accounts are named by their place, from the widest to the narrowest, with colons between:
//!
//! | account | its balance |
//! |---|---|
//! | `receivable:<tenant>` | what the tenant was billed and has not paid |
//! | `revenue:<service>` | what the service earned without tax, as a negative amount |
//! | `tax:<basis points>` | the tax billed at that rate, as a negative amount |
//! | `settled:<tenant>` | what the tenant paid |
//! | `budget:<tenant>:<fiscal year>:<line>:opened`, `:carried` | credits opened and carried over, as negative amounts |
//! | `budget:...:available`, `:certified`, `:ordered`, `:paid` | where these credits are now |
//!
//! A statement moves from revenue and tax to the receivable; a credit note has negative figures and so moves them back.
//! A stage of expenditure moves an amount of a budget line from the stage before to the next; a payment moves the
//! receivable to what is settled as well. Each transaction sums to zero in each currency, and so does all of it.

use crate::canonical::{self, NotCanonical};
use crate::money::{Currency, InvalidMoney, Money};
use crate::statement::{Statement, StatementKind};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

/// Longest id of a transaction and longest name of an account, in bytes.
pub const LONGEST_NAME: usize = 2_000;

/// Why there is no such transaction.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTransaction {
    /// Money would be made or lost.
    #[error("transaction {id} sums to {left}, not to zero")]
    Uneven {
        /// The transaction.
        id: String,
        /// What is left.
        left: Money,
    },
    /// An amount is outside of what can be written.
    #[error(transparent)]
    Money(#[from] InvalidMoney),
    /// It has no canonical form.
    #[error(transparent)]
    Canonical(#[from] NotCanonical),
    /// Its date is none.
    #[error("transaction {0} has no date")]
    Date(String),
    /// An id or a name is too long.
    #[error("{0:?} is longer than 2000 bytes")]
    Long(String),
}

/// What an account is for: the first part of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccountKind {
    /// What was billed and is not paid.
    Receivable,
    /// What a service earned.
    Revenue,
    /// Tax billed at a rate.
    Tax,
    /// What was paid.
    Settled,
    /// Credits of a budget line, by where they are.
    Budget,
}

impl AccountKind {
    /// The first part of the name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Receivable => "receivable",
            Self::Revenue => "revenue",
            Self::Tax => "tax",
            Self::Settled => "settled",
            Self::Budget => "budget",
        }
    }
}

/// Name of an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Account(String);

impl Account {
    /// The account of this kind at this place. A part may be any text: what would not stay one word is written as
    /// `%` and the hexadecimal digits of its bytes, so that no two places share a name.
    pub fn new(kind: AccountKind, parts: &[&str]) -> Self {
        parts.iter().fold(Self(kind.as_str().to_owned()), |account, part| account.below(part))
    }

    /// The account `part` below this one.
    #[must_use]
    pub fn below(mut self, part: &str) -> Self {
        self.0.push(':');
        self.0.push_str(&word(part));
        self
    }

    /// The account of a name that is on record.
    pub fn recorded(name: String) -> Self {
        Self(name)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text as one word of letters, digits, `.`, `_`, `-` and `%`. Two texts never have the same word.
pub fn word(text: &str) -> String {
    let mut word = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_alphanumeric() || matches!(c, '.' | '_' | '-') {
            word.push(c);
            continue;
        }
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            let _ = write!(word, "%{byte:02X}");
        }
    }
    word
}

/// What a transaction is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TransactionKind {
    /// A month was billed.
    Statement,
    /// Something billed was taken back.
    CreditNote,
    /// Credits of a budget line were opened, carried or changed.
    Credits,
    /// A service was certified as done.
    Certified,
    /// Its payment was ordered.
    Ordered,
    /// It was paid.
    Paid,
    /// It was refused.
    Rejected,
}

impl TransactionKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Statement,
        Self::CreditNote,
        Self::Credits,
        Self::Certified,
        Self::Ordered,
        Self::Paid,
        Self::Rejected,
    ];

    /// The name on record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Statement => "statement",
            Self::CreditNote => "creditNote",
            Self::Credits => "credits",
            Self::Certified => "certified",
            Self::Ordered => "ordered",
            Self::Paid => "paid",
            Self::Rejected => "rejected",
        }
    }
}

/// An amount added to an account; a negative one is taken from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The account.
    pub account: Account,
    /// How much.
    #[serde(flatten)]
    pub amount: Money,
}

impl Entry {
    /// `amount` added to `account`.
    pub fn add(account: Account, amount: Money) -> Self {
        Self { account, amount }
    }

    /// `amount` taken from `account`.
    ///
    /// # Errors
    /// [`InvalidMoney::TooLarge`] for the one amount that has no opposite.
    pub fn take(account: Account, amount: Money) -> Result<Self, InvalidMoney> {
        let minor = amount.minor.checked_neg().ok_or(InvalidMoney::TooLarge)?;
        Ok(Self { account, amount: Money { minor, ..amount } })
    }
}

/// Entries that sum to zero in each currency: only [`Transaction::new`] makes one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transaction {
    id: String,
    kind: TransactionKind,
    effective: Timestamp,
    date: Date,
    entries: Vec<Entry>,
}

impl Transaction {
    /// The transaction `id`. Entries of one account are added up; those that come to nothing are left out.
    ///
    /// # Errors
    /// [`InvalidTransaction::Uneven`] when a currency does not sum to zero.
    pub fn new(
        id: String,
        kind: TransactionKind,
        (effective, date): (Timestamp, Date),
        entries: Vec<Entry>,
    ) -> Result<Self, InvalidTransaction> {
        let mut sums: BTreeMap<(Account, Currency), i64> = BTreeMap::new();
        let mut left: BTreeMap<Currency, i128> = BTreeMap::new();
        for Entry { account, amount } in entries {
            if account.as_str().len() > LONGEST_NAME {
                return Err(InvalidTransaction::Long(account.0));
            }
            let sum = sums.entry((account, amount.currency)).or_default();
            *sum = sum.checked_add(amount.minor).ok_or(InvalidMoney::TooLarge)?;
            let of_currency = left.entry(amount.currency).or_default();
            *of_currency = of_currency.saturating_add(i128::from(amount.minor));
        }
        if id.len() > LONGEST_NAME {
            return Err(InvalidTransaction::Long(id));
        }
        if let Some((currency, minor)) = left.into_iter().find(|(_, minor)| *minor != 0) {
            let minor = i64::try_from(minor).map_err(|_| InvalidMoney::TooLarge)?;
            return Err(InvalidTransaction::Uneven { id, left: Money { minor, currency } });
        }
        let entries = sums
            .into_iter()
            .filter(|(_, minor)| *minor != 0)
            .map(|((account, currency), minor)| Entry { account, amount: Money { minor, currency } })
            .collect();
        Ok(Self { id, kind, effective, date, entries })
    }

    /// The key its author gave it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it is about.
    pub fn kind(&self) -> TransactionKind {
        self.kind
    }

    /// The instant from which it counts.
    pub fn effective(&self) -> Timestamp {
        self.effective
    }

    /// The day it counts for, as the books have it.
    pub fn date(&self) -> Date {
        self.date
    }

    /// The entries, by account.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// SHA-256 of its canonical bytes: two of one id are the same only if this is.
    ///
    /// # Errors
    /// [`NotCanonical::Number`] for an amount above 2^53 - 1 minor units.
    pub fn sha256(&self) -> Result<String, NotCanonical> {
        Ok(canonical::sha256(&canonical::bytes(self)?))
    }
}

/// What a statement or a credit note moves: from revenue, by service, and tax, by rate, to what its buyer owes. It counts
/// for the last day of its month.
///
/// # Errors
/// [`InvalidTransaction::Uneven`] when its lines and taxes are not its total.
pub fn post_statement(statement: &Statement) -> Result<Transaction, InvalidTransaction> {
    let money = |minor| Money { minor, currency: statement.currency };
    let id = format!("statement/{}", word(&statement.number));
    let date = statement.period.month.last_day().ok_or_else(|| InvalidTransaction::Date(id.clone()))?;
    let effective = statement.period.end.checked_sub(1.millisecond());
    let effective = effective.map_err(|_| InvalidTransaction::Date(id.clone()))?;
    let receivable = Account::new(AccountKind::Receivable, &[statement.buyer.tenant.as_str()]);
    let mut entries = vec![Entry::add(receivable, money(statement.totals.gross_minor))];
    for line in statement.lines.iter().chain(&statement.corrections) {
        let revenue = Account::new(AccountKind::Revenue, &[&line.order.kind]);
        entries.push(Entry::take(revenue, money(line.minor))?);
    }
    for tax in &statement.totals.taxes {
        let account = Account::new(AccountKind::Tax, &[&tax.rate_basis_points.to_string()]);
        entries.push(Entry::take(account, money(tax.minor))?);
    }
    let kind = match statement.kind {
        StatementKind::Statement => TransactionKind::Statement,
        StatementKind::CreditNote => TransactionKind::CreditNote,
    };
    Transaction::new(id, kind, (effective, date), entries)
}

/// How a plain-text journal of hledger or Ledger begins: each currency with its decimals.
pub fn journal_head() -> String {
    let mut head = String::from("; The ledger as a journal, for hledger and Ledger.\n");
    for currency in Currency::ALL {
        let one_thousand =
            Money { minor: 10_i64.saturating_pow(currency.exponent()).saturating_mul(1_000), currency };
        let plain = one_thousand.decimal();
        let point = if plain.contains('.') { "" } else { "." };
        let _ = write!(head, "commodity {currency}\n    format {plain}{point} {currency}\n");
    }
    head + "\n"
}

/// A transaction in a plain-text journal.
pub fn journal_entry(transaction: &Transaction, recorded: Timestamp, sha256: &str) -> String {
    let Transaction { id, kind, date, entries, .. } = transaction;
    let mut text = format!("{date} ({id}) {}\n    ; recorded {recorded}, sha256 {sha256}\n", kind.as_str());
    for Entry { account, amount } in entries {
        let _ = writeln!(text, "    {account}  {} {}", amount.decimal(), amount.currency);
    }
    text + "\n"
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::allocation::Booking;
    use crate::party::{Party, TaxRegime};
    use crate::period::Period;
    use crate::price::Unit;
    use crate::statement::{Billed, Buyer, FORMAT, Part, StatementLine, totals};
    use crate::usage::Meter;
    use proptest::prelude::*;

    const SERVICES: [&str; 3] = ["PostgresInstance", "DocumentStoreInstance", "a b;(c)"];

    fn line(service: usize, minor: i64, tax_basis_points: Option<u32>) -> StatementLine {
        let at = Timestamp::UNIX_EPOCH;
        StatementLine {
            month: "2026-10".parse().unwrap(),
            order: Billed {
                tenant: "interior".parse().unwrap(),
                namespace: "interior-apps".to_owned(),
                name: "db".to_owned(),
                uid: "u-1".parse().unwrap(),
                kind: SERVICES[service % SERVICES.len()].to_owned(),
            },
            meter: Meter::COMPUTE,
            sku: "postgres-small".parse().unwrap(),
            unit: Unit::Hour,
            unit_price: "1.25".to_owned(),
            price_list: "tarif".parse().unwrap(),
            start: at,
            end: at,
            quantity_ms: "0".to_owned(),
            minor,
            tax_basis_points,
            parts: vec![Part { booking: Booking::default(), millionths: 1_000_000, minor }],
        }
    }

    fn statement(number: &str, lines: Vec<StatementLine>) -> Statement {
        Statement {
            format: FORMAT.to_owned(),
            kind: StatementKind::Statement,
            number: number.to_owned(),
            issued_at: Timestamp::UNIX_EPOCH,
            issuer: Party::default(),
            buyer: Buyer {
                tenant: "interior".parse().unwrap(),
                account: "1.2.10".to_owned(),
                party: Party::default(),
            },
            period: Period::first("2026-10".parse().unwrap(), "Africa/Casablanca").unwrap(),
            currency: Currency::MAD,
            tax: TaxRegime::Outside { legal_basis: "CGI art. 87".to_owned() },
            credits: None,
            reason: None,
            totals: totals(lines.iter()).unwrap(),
            lines,
            corrections: vec![],
            gaps: vec![],
            availability: vec![],
            as_of: 1,
            position: 1,
            previous_chain: "0".repeat(64),
        }
    }

    fn sum(transaction: &Transaction) -> i128 {
        transaction.entries().iter().map(|entry| i128::from(entry.amount.minor)).sum()
    }

    #[test]
    fn a_statement_moves_revenue_and_tax_to_what_is_owed() {
        let lines = vec![line(0, 10_000, Some(2_000)), line(1, 5_001, Some(1_000)), line(0, 1, None)];
        let posted = post_statement(&statement("SIY-2026-000001", lines)).unwrap();
        let entries: Vec<String> = posted
            .entries()
            .iter()
            .map(|entry| format!("{} {}", entry.account, entry.amount.decimal()))
            .collect();
        assert_eq!(
            entries,
            [
                "receivable:interior 175.02",
                "revenue:DocumentStoreInstance -50.01",
                "revenue:PostgresInstance -100.01",
                "tax:1000 -5.00",
                "tax:2000 -20.00"
            ]
        );
        assert_eq!(
            (posted.id(), posted.date().to_string().as_str()),
            ("statement/SIY-2026-000001", "2026-10-31")
        );
        assert_eq!(posted.effective().as_millisecond() % 1_000, 999);
    }

    #[test]
    fn what_is_not_its_total_is_not_posted() {
        let mut wrong = statement("n", vec![line(0, 100, Some(2_000))]);
        wrong.totals.gross_minor += 1;
        let refused = post_statement(&wrong).unwrap_err().to_string();
        assert_eq!(refused, "transaction statement/n sums to 0.01 MAD, not to zero");
    }

    #[test]
    fn a_name_is_one_word_and_no_two_places_share_one() {
        let check = |text: &str, expect: &str| assert_eq!(word(text), expect);
        check("2026-30-10", "2026-30-10");
        check("a:b  c;(d)", "a%3Ab%20%20c%3B%28d%29");
        check("ميزانية", "ميزانية");
        check("%41", "%2541");
        check("=cmd()", "%3Dcmd%28%29");
        check("a\u{202E}b", "a%E2%80%AEb");
    }

    #[test]
    fn a_journal_reads_as_people_write_one() {
        let posted = post_statement(&statement("n", vec![line(2, 123_456, None)])).unwrap();
        let text = journal_entry(&posted, Timestamp::UNIX_EPOCH, "abc");
        assert_eq!(
            text,
            "2026-10-31 (statement/n) statement\n    ; recorded 1970-01-01T00:00:00Z, sha256 abc\n    \
             receivable:interior  1234.56 MAD\n    revenue:a%20b%3B%28c%29  -1234.56 MAD\n\n"
        );
        assert!(
            journal_head()
                .contains("commodity TND\n    format 1000.000 TND\ncommodity XOF\n    format 1000. XOF\n")
        );
    }

    fn lines() -> impl Strategy<Value = Vec<StatementLine>> {
        let rate =
            prop_oneof![Just(None), Just(Some(2_000)), Just(Some(1_000)), (0_u32..=10_000).prop_map(Some)];
        proptest::collection::vec((0..3_usize, -1_000_000_000_i64..1_000_000_000, rate), 0..30).prop_map(
            |lines| lines.into_iter().map(|(service, minor, rate)| line(service, minor, rate)).collect(),
        )
    }

    proptest! {
        #[test]
        fn i06_every_statement_sums_to_zero(lines in lines()) {
            let statement = statement("n", lines);
            let posted = post_statement(&statement).unwrap();
            prop_assert_eq!(sum(&posted), 0);
            let owed: i64 = posted.entries().iter().filter(|e| e.account.as_str() == "receivable:interior")
                .map(|e| e.amount.minor).sum();
            prop_assert_eq!(owed, statement.totals.gross_minor);
        }

        #[test]
        fn i06_a_credit_note_of_everything_leaves_nothing(lines in lines()) {
            let bill = post_statement(&statement("n", lines.clone())).unwrap();
            let back = lines.into_iter().map(|mut line| {
                line.minor = -line.minor;
                for part in &mut line.parts {
                    part.minor = -part.minor;
                }
                line
            }).collect();
            let note = post_statement(&Statement { kind: StatementKind::CreditNote, ..statement("c", back) }).unwrap();
            let mut left: BTreeMap<Account, i64> = BTreeMap::new();
            for entry in bill.entries().iter().chain(note.entries()) {
                *left.entry(entry.account.clone()).or_default() += entry.amount.minor;
            }
            prop_assert!(left.values().all(|minor| *minor == 0), "{left:?}");
            prop_assert_eq!(note.kind(), TransactionKind::CreditNote);
        }

        #[test]
        fn i07_another_amount_is_another_content(lines in lines(), more in 1_i64..1_000) {
            let first = post_statement(&statement("n", lines.clone())).unwrap();
            prop_assert_eq!(first.sha256().unwrap(), post_statement(&statement("n", lines.clone())).unwrap().sha256().unwrap());
            let other = post_statement(&statement("n", [lines, vec![line(0, more, None)]].concat())).unwrap();
            prop_assert_ne!(first.sha256().unwrap(), other.sha256().unwrap());
        }

        #[test]
        fn i17_two_texts_never_share_a_word(a in ".{0,12}", b in ".{0,12}") {
            prop_assert_eq!(a == b, word(&a) == word(&b));
            prop_assert!(!word(&a).contains([':', ' ', ';', '(', ')', '\n', '"']));
        }
    }
}

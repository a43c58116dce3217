//! The stages of public expenditure on what a statement books: certified, ordered, paid, or rejected.

use crate::budget::account;
use crate::id::TenantName;
use crate::ledger::{Account, AccountKind, Entry, InvalidTransaction, Transaction, TransactionKind, word};
use crate::money::Money;
use crate::party::{InvalidParty, all_plain};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// A stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// A named person certifies that the service was done (*service fait*).
    Certified,
    /// Its payment is ordered (*ordonnancement*).
    Ordered,
    /// It is paid.
    Paid,
    /// It is refused, with a reason; it may be certified later.
    Rejected,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Certified, Self::Ordered, Self::Paid, Self::Rejected];

    /// The name on record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certified => "certified",
            Self::Ordered => "ordered",
            Self::Paid => "paid",
            Self::Rejected => "rejected",
        }
    }

    /// Whether it may come after `last`, or first. The database holds the same rule.
    pub fn follows(self, last: Option<Self>) -> bool {
        match self {
            Self::Certified => matches!(last, None | Some(Self::Rejected)),
            Self::Ordered => last == Some(Self::Certified),
            Self::Paid => last == Some(Self::Ordered),
            Self::Rejected => matches!(last, None | Some(Self::Certified | Self::Ordered)),
        }
    }

    /// Where in a budget line its amount is: of none, and of a rejected one, among the available credits.
    fn place(stage: Option<Self>) -> &'static str {
        match stage {
            None | Some(Self::Rejected) => "available",
            Some(stage) => stage.as_str(),
        }
    }

    fn kind(self) -> TransactionKind {
        match self {
            Self::Certified => TransactionKind::Certified,
            Self::Ordered => TransactionKind::Ordered,
            Self::Paid => TransactionKind::Paid,
            Self::Rejected => TransactionKind::Rejected,
        }
    }
}

/// Why a stage cannot be put on record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStage {
    /// A payment must be found again.
    #[error("stage paid needs the date of the payment and its reference")]
    Payment,
    /// A refusal without a reason.
    #[error("stage rejected needs a reason")]
    Reason,
    /// Only a payment has a date of its own.
    #[error("only stage paid has a date")]
    Date,
    /// A text that cannot be printed.
    #[error(transparent)]
    Text(#[from] InvalidParty),
}

/// `POST /v1/tenants/{tenant}/statements/{number}/stages`: puts a stage on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StageRequest {
    /// The stage.
    pub stage: Stage,
    /// The budget line it is about; every one of the statement, and what is booked on none, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_line: Option<String>,
    /// The day of the payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Date))]
    pub date: Option<Date>,
    /// Number of the certificate, the order or the payment where it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Why it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl StageRequest {
    /// # Errors
    /// [`InvalidStage`] says what is missing.
    pub fn check(&self) -> Result<(), InvalidStage> {
        match self.stage {
            Stage::Paid if self.date.is_none() || self.reference.is_none() => {
                return Err(InvalidStage::Payment);
            }
            Stage::Rejected if self.reason.is_none() => return Err(InvalidStage::Reason),
            Stage::Certified | Stage::Ordered | Stage::Rejected if self.date.is_some() => {
                return Err(InvalidStage::Date);
            }
            _ => {}
        }
        Ok(all_plain([
            ("budgetLine", &self.budget_line),
            ("reference", &self.reference),
            ("reason", &self.reason),
        ])?)
    }
}

/// A stage on record. For ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct StageRecord {
    /// The statement.
    pub statement: String,
    /// The budget line; absent for what is booked on none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_line: Option<String>,
    /// The stage.
    pub stage: Stage,
    /// The amount, with tax.
    pub amount: Money,
    /// The fiscal year it counts for.
    pub fiscal_year: i16,
    /// Who: the subject of the token.
    pub by: String,
    /// When.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// The day of the payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Date))]
    pub date: Option<Date>,
    /// Number of the certificate, the order or the payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What is booked in one place of a statement, and its stages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct BookedStages {
    /// The budget line; absent for what is booked on none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_line: Option<String>,
    /// The amount, with tax.
    pub amount: Money,
    /// The stage it is at; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// All of its stages, the oldest first.
    pub history: Vec<StageRecord>,
}

/// What a stage moves: the amount in its budget line from the stage before; a payment also what is owed to what is
/// settled. `nth` is its place among the stages of the same amount, from 1.
///
/// # Errors
/// [`InvalidTransaction`] when an amount is outside of what can be written.
pub fn post_stage(
    tenant: &TenantName,
    record: &StageRecord,
    before: Option<Stage>,
    (nth, date): (usize, Date),
) -> Result<Transaction, InvalidTransaction> {
    let line = account(tenant, record.fiscal_year, record.budget_line.as_deref());
    let mut entries = vec![
        Entry::take(line.clone().below(Stage::place(before)), record.amount)?,
        Entry::add(line.below(Stage::place(Some(record.stage))), record.amount),
    ];
    if record.stage == Stage::Paid {
        let of = |kind| Account::new(kind, &[tenant.as_str()]);
        entries.push(Entry::take(of(AccountKind::Receivable), record.amount)?);
        entries.push(Entry::add(of(AccountKind::Settled), record.amount));
    }
    let booking = record.budget_line.as_deref().map_or_else(|| "%".to_owned(), word);
    let id = format!("stage/{}/{booking}/{nth}", word(&record.statement));
    Transaction::new(id, record.stage.kind(), (record.at, date), entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Currency;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn record(stage: Stage, minor: i64) -> StageRecord {
        StageRecord {
            statement: "SIY-2026-000001".to_owned(),
            budget_line: Some("30-10".to_owned()),
            stage,
            amount: Money { minor, currency: Currency::MAD },
            fiscal_year: 2026,
            by: "oidc:amina".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            date: None,
            reference: None,
            reason: None,
        }
    }

    #[test]
    fn what_a_stage_lacks_is_said() {
        let request = |value| serde_json::from_value::<StageRequest>(value).unwrap();
        let check = |value, expect: &str| {
            assert_eq!(request(value).check().unwrap_err().to_string(), expect);
        };
        use serde_json::json;
        check(
            json!({"stage": "paid", "reference": "OP-1"}),
            "stage paid needs the date of the payment and its reference",
        );
        check(
            json!({"stage": "paid", "date": "2026-11-02"}),
            "stage paid needs the date of the payment and its reference",
        );
        check(json!({"stage": "rejected"}), "stage rejected needs a reason");
        check(json!({"stage": "ordered", "date": "2026-11-02"}), "only stage paid has a date");
        assert!(request(json!({"stage": "certified"})).check().is_ok());
        assert!(request(json!({"stage": "certified", "reference": "a\nb"})).check().is_err());
    }

    proptest! {
        /// Whatever way an amount takes, it is in one place of its line, and what is paid is no longer owed.
        #[test]
        fn i06_stages_move_an_amount_and_never_make_one(
            asked in proptest::collection::vec(0..4_usize, 0..20), minor in -1_000_000_i64..1_000_000,
        ) {
            let tenant: TenantName = "interior".parse().unwrap();
            let mut balances: BTreeMap<String, i64> = BTreeMap::new();
            let (mut last, mut nth) = (None, 0);
            for stage in asked.into_iter().map(|index| Stage::ALL[index]).collect::<Vec<_>>() {
                if !stage.follows(last) {
                    continue;
                }
                nth += 1;
                let posted = post_stage(&tenant, &record(stage, minor), last, (nth, "2026-11-02".parse().unwrap())).unwrap();
                prop_assert_eq!(posted.entries().iter().map(|e| e.amount.minor).sum::<i64>(), 0);
                for entry in posted.entries() {
                    *balances.entry(entry.account.to_string()).or_default() += entry.amount.minor;
                }
                last = Some(stage);
            }
            balances.retain(|_, minor| *minor != 0);
            let mut expect = BTreeMap::new();
            if let Some(stage @ (Stage::Certified | Stage::Ordered | Stage::Paid)) = last {
                expect.insert("budget:interior:2026:30-10:available".to_owned(), -minor);
                expect.insert(format!("budget:interior:2026:30-10:{}", stage.as_str()), minor);
            }
            if last == Some(Stage::Paid) {
                expect.insert("receivable:interior".to_owned(), -minor);
                expect.insert("settled:interior".to_owned(), minor);
            }
            expect.retain(|_, minor| *minor != 0);
            prop_assert_eq!(balances, expect);
        }
    }
}

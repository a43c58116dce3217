//! Whether metering can be believed: what is checked, under a word that never changes, and what to do about it.

use crate::id::{OrderUid, TenantName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Most examples of a finding.
pub const MOST_EXAMPLES: usize = 20;

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum Check {
    /// An order is held for 30 minutes, is not kept data, and its compute was never metered or nothing of it is any more.
    RunningWithoutInterval,
    /// Something is used that the price list in force has no price for.
    IntervalWithoutPrice,
    /// A collector has not finished a report for 15 minutes.
    WatermarkStandsStill,
    /// Something is used, and no use was confirmed for 15 minutes.
    TotalsStopped,
    /// An order is used by the record, and its collector has passed it over for 15 minutes.
    NotProven,
    /// Time that no observation proves, and nobody has decided whether it is billed.
    GapsUndecided,
    /// The last documents or the last events of the audit trail do not follow each other.
    ChainBroken,
    /// A month should have been closed by itself, and could not.
    ClosingBlocked,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::RunningWithoutInterval,
        Self::IntervalWithoutPrice,
        Self::WatermarkStandsStill,
        Self::TotalsStopped,
        Self::NotProven,
        Self::GapsUndecided,
        Self::ChainBroken,
        Self::ClosingBlocked,
    ];

    /// The word used in HTTP, in SQL and as a label of the metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RunningWithoutInterval => "runningWithoutInterval",
            Self::IntervalWithoutPrice => "intervalWithoutPrice",
            Self::WatermarkStandsStill => "watermarkStandsStill",
            Self::TotalsStopped => "totalsStopped",
            Self::NotProven => "notProven",
            Self::GapsUndecided => "gapsUndecided",
            Self::ChainBroken => "chainBroken",
            Self::ClosingBlocked => "closingBlocked",
        }
    }

    /// What to do when it found something.
    pub fn advice(self) -> &'static str {
        match self {
            Self::RunningWithoutInterval => {
                "look at the order's conditions: it never became Ready (or was suspended from its beginning), or it runs and \
                 the operator does not report it; its log says why a report was refused"
            }
            Self::IntervalWithoutPrice => {
                "publish a price list that knows the SKU; until then the month does not close and its total is not known"
            }
            Self::WatermarkStandsStill => {
                "look whether the operator of that cluster runs, leads and reaches the api; what happens meanwhile is \
                 reported late, and no month closes before that"
            }
            Self::TotalsStopped => {
                "the operator reports that it sees no order at all, while the ledger bills some: look at its log, and \
                 whether it watches the cluster that the orders are in"
            }
            Self::NotProven => {
                "the operator does not see these orders any more, and they are billed: look whether they are there; if not, \
                 the hourly comparison of reservations and orders ends them"
            }
            Self::GapsUndecided => {
                "ask whoever decides in the tenant: POST /v1/tenants/{tenant}/gaps/{id}/decision, with the evidence; its month \
                 does not close before"
            }
            Self::ChainBroken => {
                "somebody changed the ledger's database past its rules: keep a copy as it is, run siyada-api export and \
                 siyada-api verify, which name the first document, and compare with the auditors' last export"
            }
            Self::ClosingBlocked => {
                "do what each reason says; closing is tried again every hour, and POST /v1/periods/{month}/closing does it at \
                 once"
            }
        }
    }
}

/// One of what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Example {
    /// The order, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_uid: Option<OrderUid>,
    /// Its tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantName>,
    /// What is so.
    pub detail: String,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What was checked.
    pub check: Check,
    /// Whether nothing was found.
    pub ok: bool,
    /// How many were found.
    pub count: i64,
    /// Up to 20 of them.
    pub examples: Vec<Example>,
    /// What to do; absent when nothing was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// `GET /v1/health/metering`: every check, by one state of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct MeteringHealth {
    /// When, by the ledger's clock.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// Whether no check found anything.
    pub ok: bool,
    /// Every check, what is found or not.
    pub checks: Vec<Finding>,
}

/// Something that a check found, as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The check.
    pub check: Check,
    /// How many it found in all.
    pub total: i64,
    /// One of them.
    pub example: Example,
}

/// The page: every check once, in its order, with what it found.
pub fn judge(at: Timestamp, found: &[Found]) -> MeteringHealth {
    let checks: Vec<Finding> = Check::ALL
        .into_iter()
        .map(|check| {
            let of = || found.iter().filter(|found| found.check == check);
            let count = of().map(|found| found.total).max().unwrap_or(0);
            let examples: Vec<Example> =
                of().take(MOST_EXAMPLES).map(|found| found.example.clone()).collect();
            let advice = (count > 0).then(|| check.advice().to_owned());
            Finding { check, ok: count == 0, count, examples, advice }
        })
        .collect();
    MeteringHealth { at, ok: checks.iter().all(|finding| finding.ok), checks }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_is_told_with_its_word_whether_it_found_something_or_not() {
        let of = |check: Check, total: i64, detail: &str| {
            let example = Example { order_uid: None, tenant: None, detail: detail.to_owned() };
            Found { check, total, example }
        };
        let many: Vec<Found> = (0..25).map(|n| of(Check::NotProven, 4_000, &n.to_string())).collect();
        let found = [many, vec![of(Check::ChainBroken, 1, "SIY-2026-000003")]].concat();
        let page = judge(Timestamp::UNIX_EPOCH, &found);
        assert!(!page.ok);
        assert_eq!(page.checks.iter().map(|f| f.check).collect::<Vec<_>>(), Check::ALL);
        let one = |check: Check| page.checks.iter().find(|finding| finding.check == check).unwrap();
        let shape =
            |check| (one(check).ok, one(check).count, one(check).examples.len(), one(check).advice.is_some());
        assert_eq!(shape(Check::NotProven), (false, 4_000, MOST_EXAMPLES, true));
        assert_eq!(shape(Check::ChainBroken), (false, 1, 1, true));
        assert_eq!(shape(Check::TotalsStopped), (true, 0, 0, false));
        assert!(judge(Timestamp::UNIX_EPOCH, &[]).ok);
        for check in Check::ALL {
            assert_eq!(serde_json::to_value(check).unwrap(), check.as_str());
        }
    }
}

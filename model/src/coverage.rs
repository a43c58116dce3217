//! Cost coverage: what the hosting body spends against what it billed and what was paid.

use crate::money::{InvalidMoney, Money};
use crate::party::{InvalidParty, WHOLE_BASIS_POINTS, plain, plain_name, plain_names};
use crate::period::Month;
use crate::wire::DisplayName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Most categories of costs of a fiscal year.
pub const MOST_CATEGORIES: usize = 200;

/// Why a cost is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCost {
    /// Below nothing.
    #[error("a cost cannot be negative")]
    Negative,
    /// A text that cannot be printed.
    #[error(transparent)]
    Text(#[from] InvalidParty),
}

plain_name! {
    /// A category of costs: `energy`, `staff`.
    Category, "category"
}

/// `PUT /v1/costs/{fiscalYear}/{category}`: what was spent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CostRecord {
    /// Its names.
    #[serde(default)]
    pub display_name: DisplayName,
    /// What was spent in the fiscal year so far, all of it.
    pub amount: Money,
    /// Where the amount comes from: an account, a report.
    pub source: String,
}

impl CostRecord {
    /// # Errors
    /// [`InvalidCost`], which names the field.
    pub fn check(&self) -> Result<(), InvalidCost> {
        if self.amount.minor < 0 {
            return Err(InvalidCost::Negative);
        }
        plain("source", &self.source)?;
        Ok(plain_names(&self.display_name)?)
    }
}

/// A cost as it was put on record by somebody. A change is a new version; none is ever altered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CostVersion {
    /// The year in which the fiscal year begins.
    pub fiscal_year: i16,
    /// The category.
    pub category: Category,
    /// From 1.
    pub version: i32,
    /// What was put.
    #[serde(flatten)]
    pub record: CostRecord,
    /// Who put it: the subject of his token.
    pub by: String,
    /// When.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
}

/// What was billed for a month, less what credit notes took back, and what of it was paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct MonthRevenue {
    /// The month.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub month: Month,
    /// Billed without tax.
    pub billed: Money,
    /// Paid of it, without tax.
    pub paid: Money,
}

/// What a service earned, less what credit notes took back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ServiceRevenue {
    /// The kind of the orders.
    pub service: String,
    /// Billed without tax.
    pub billed: Money,
}

/// `GET /v1/cost-coverage?fiscalYear=`: the hosting body's own revenue against what it spends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CostCoverage {
    /// The year in which the fiscal year begins.
    pub fiscal_year: i16,
    /// Own revenue: what was billed without tax, less what was taken back.
    pub billed: Money,
    /// What of it was paid.
    pub paid: Money,
    /// What was spent.
    pub costs: Money,
    /// What is billed of each ten thousandth of the costs, rounded down; absent without costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billed_basis_points: Option<i64>,
    /// What is paid, in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_basis_points: Option<i64>,
    /// What must be covered, as the platform configured it; absent when nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold_basis_points: Option<u32>,
    /// Whether what is billed reaches it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<bool>,
    /// By month.
    pub months: Vec<MonthRevenue>,
    /// By service, as the ledger has it.
    pub services: Vec<ServiceRevenue>,
    /// The costs, each as it was put last.
    pub categories: Vec<CostVersion>,
}

/// `part` of `whole` in basis points, rounded down; none of nothing.
pub fn basis_points(part: i64, whole: i64) -> Option<i64> {
    let points = i128::from(part).checked_mul(i128::from(WHOLE_BASIS_POINTS))?;
    let points = if whole > 0 { points.checked_div_euclid(i128::from(whole)) } else { None };
    points.and_then(|points| i64::try_from(points).ok())
}

/// The coverage of a fiscal year by these months, services and costs, which are in the currency of `zero`.
///
/// # Errors
/// [`InvalidMoney`] when a sum does not fit or currencies are mixed.
pub fn coverage(
    (fiscal_year, zero): (i16, Money),
    months: Vec<MonthRevenue>,
    services: Vec<ServiceRevenue>,
    categories: Vec<CostVersion>,
    threshold_basis_points: Option<u32>,
) -> Result<CostCoverage, InvalidMoney> {
    let billed = months.iter().try_fold(zero, |sum, month| sum.add(month.billed))?;
    let paid = months.iter().try_fold(zero, |sum, month| sum.add(month.paid))?;
    let costs = categories.iter().try_fold(zero, |sum, cost| sum.add(cost.record.amount))?;
    let billed_basis_points = basis_points(billed.minor, costs.minor);
    // Rounding down never makes more of what is covered; whole figures decide all the same.
    let reached = billed_basis_points.zip(threshold_basis_points);
    let reached = reached.map(|(points, threshold)| points >= i64::from(threshold));
    Ok(CostCoverage {
        fiscal_year,
        billed,
        paid,
        costs,
        billed_basis_points,
        paid_basis_points: basis_points(paid.minor, costs.minor),
        threshold_basis_points,
        reached,
        months,
        services,
        categories,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Currency;
    use proptest::prelude::*;

    fn mad(minor: i64) -> Money {
        Money { minor, currency: Currency::MAD }
    }

    fn cost(minor: i64) -> CostVersion {
        CostVersion {
            fiscal_year: 2026,
            category: "energy".parse().unwrap(),
            version: 1,
            record: CostRecord {
                display_name: DisplayName::default(),
                amount: mad(minor),
                source: "a".to_owned(),
            },
            by: "x".to_owned(),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_threshold_is_reached_exactly_or_not() {
        let check = |billed: i64, costs: Vec<i64>, expect: (Option<i64>, Option<bool>)| {
            let month = MonthRevenue { month: "2026-10".parse().unwrap(), billed: mad(billed), paid: mad(1) };
            let costs = costs.into_iter().map(cost).collect();
            let found = coverage((2026, mad(0)), vec![month], vec![], costs, Some(3_000)).unwrap();
            assert_eq!((found.billed_basis_points, found.reached), expect, "{billed}");
        };
        check(300, vec![400, 600], (Some(3_000), Some(true)));
        check(299, vec![1_000], (Some(2_990), Some(false)));
        check(29_999, vec![100_000], (Some(2_999), Some(false)));
        check(-1, vec![100_000], (Some(-1), Some(false)));
        check(300, vec![], (None, None));
        check(1_500, vec![1_000], (Some(15_000), Some(true)));
    }

    #[test]
    fn a_cost_that_cannot_be_is_refused() {
        assert!(cost(0).record.check().is_ok() && cost(-1).record.check().is_err());
        let nowhere = CostRecord { source: String::new(), ..cost(1).record };
        assert_eq!(
            nowhere.check().unwrap_err().to_string(),
            "source must have 1 to 200 characters, without control characters and without marks of text direction"
        );
    }

    proptest! {
        #[test]
        fn basis_points_round_down_by_less_than_one(part in any::<i64>(), whole in 1_i64..) {
            prop_assume!(i64::try_from(i128::from(part) * 10_000 / i128::from(whole)).is_ok());
            if let Some(points) = basis_points(part, whole) {
                let exact = i128::from(part) * 10_000 - i128::from(points) * i128::from(whole);
                prop_assert!((0..i128::from(whole)).contains(&exact));
            }
        }
    }
}

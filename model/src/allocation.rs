//! Where an order's cost is booked: dated shares that sum to one.

use crate::money::InvalidMoney;
use crate::party::{InvalidParty, all_plain};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Millionths in a whole.
pub const WHOLE_MILLIONTHS: u32 = 1_000_000;
/// Most shares of one order at a time.
pub const MOST_SHARES: usize = 20;

/// Why shares are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidShares {
    /// They are not the whole.
    #[error("the shares of an order sum to 1000000 millionths; these sum to {0}")]
    Sum(u64),
    /// A share of nothing.
    #[error("a share is above zero")]
    Zero,
    /// None, or too many.
    #[error("an order has 1 to 20 shares, not {0}")]
    Count(usize),
    /// Two for one place.
    #[error("two shares name the same cost centre, budget line and reference; add them up")]
    Twice,
    /// A text that cannot be printed.
    #[error(transparent)]
    Text(#[from] InvalidParty),
}

/// Where a part of a cost is booked.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Booking {
    /// Cost centre.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_centre: Option<String>,
    /// Budget line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_line: Option<String>,
    /// Commitment number or another reference of the buyer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// A share of an order's cost.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// Where it is booked.
    #[serde(flatten)]
    pub booking: Booking,
    /// How much of it, in millionths.
    pub millionths: u32,
}

/// Shares that sum to one, in the order of their bookings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = Vec<Share>))]
#[serde(try_from = "Vec<Share>", into = "Vec<Share>")]
pub struct Shares(Vec<Share>);

impl Shares {
    /// All of it in one place.
    pub fn whole(booking: Booking) -> Self {
        Self(vec![Share { booking, millionths: WHOLE_MILLIONTHS }])
    }

    /// The shares.
    pub fn as_slice(&self) -> &[Share] {
        &self.0
    }

    /// `minor` in parts, one for each share in their order: they sum to `minor` exactly. What rounding leaves goes to
    /// the largest remainders, the first of equal ones first.
    ///
    /// # Errors
    /// [`InvalidMoney::TooLarge`]: not for amounts of 64 bits.
    pub fn split(&self, minor: i64) -> Result<Vec<i64>, InvalidMoney> {
        split(minor, &self.0.iter().map(|share| i128::from(share.millionths)).collect::<Vec<_>>())
    }
}

impl TryFrom<Vec<Share>> for Shares {
    type Error = InvalidShares;
    fn try_from(mut shares: Vec<Share>) -> Result<Self, InvalidShares> {
        if shares.is_empty() || shares.len() > MOST_SHARES {
            return Err(InvalidShares::Count(shares.len()));
        }
        for share in &shares {
            let booking = &share.booking;
            all_plain([
                ("costCentre", &booking.cost_centre),
                ("budgetLine", &booking.budget_line),
                ("reference", &booking.reference),
            ])?;
        }
        shares.sort_by(|a, b| a.booking.cmp(&b.booking));
        if shares.windows(2).any(|pair| matches!(pair, [a, b] if a.booking == b.booking)) {
            return Err(InvalidShares::Twice);
        }
        if shares.iter().any(|share| share.millionths == 0) {
            return Err(InvalidShares::Zero);
        }
        let sum = shares.iter().fold(0_u64, |sum, share| sum.saturating_add(u64::from(share.millionths)));
        if sum == u64::from(WHOLE_MILLIONTHS) { Ok(Self(shares)) } else { Err(InvalidShares::Sum(sum)) }
    }
}

impl From<Shares> for Vec<Share> {
    fn from(shares: Shares) -> Self {
        shares.0
    }
}

/// From `at` on, an order's cost is booked so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Allocation {
    /// The instant, to the millisecond.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// Where.
    pub shares: Shares,
}

/// `whole` in parts by `weights`, none of which is negative, by the largest remainder. The parts sum to `whole`; a
/// negative whole has the parts of the positive one, negated. Without any weight the first part is the whole.
///
/// # Errors
/// [`InvalidMoney::TooLarge`] when a product does not fit 128 bits, or there is no part to hold it.
pub fn split(whole: i64, weights: &[i128]) -> Result<Vec<i64>, InvalidMoney> {
    let too_large = || InvalidMoney::TooLarge;
    let total = weights.iter().try_fold(0_i128, |sum, w| sum.checked_add(*w)).ok_or_else(too_large)?;
    if total <= 0 {
        let mut parts = vec![0; weights.len()];
        *parts.first_mut().ok_or_else(too_large)? = whole;
        return Ok(parts);
    }
    let amount = i128::from(whole.unsigned_abs());
    let mut parts = Vec::with_capacity(weights.len());
    let mut left = amount;
    for (index, weight) in weights.iter().enumerate() {
        let product = amount.checked_mul(*weight).ok_or_else(too_large)?;
        let part = product.checked_div(total).ok_or_else(too_large)?;
        left = left.checked_sub(part).ok_or_else(too_large)?;
        parts.push((index, part, product.checked_rem(total).ok_or_else(too_large)?));
    }
    // Fewer are left than there are parts: each gets one at most.
    parts.sort_by(|a, b| b.2.cmp(&a.2).then(a.0.cmp(&b.0)));
    for part in &mut parts {
        if left > 0 {
            part.1 = part.1.saturating_add(1);
            left = left.saturating_sub(1);
        }
    }
    parts.sort_by_key(|part| part.0);
    let sign = i128::from(whole.signum());
    let signed = |part: i128| i64::try_from(part.saturating_mul(sign)).map_err(|_| too_large());
    parts.into_iter().map(|(_, part, _)| signed(part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(line: &str, millionths: u32) -> Share {
        Share { booking: Booking { budget_line: Some(line.to_owned()), ..Booking::default() }, millionths }
    }

    #[test]
    fn shares_are_the_whole_or_refused() {
        let check = |shares: Vec<Share>, expect: &str| {
            assert_eq!(Shares::try_from(shares).unwrap_err().to_string(), expect);
        };
        check(vec![], "an order has 1 to 20 shares, not 0");
        check(
            vec![share("a", 999_999)],
            "the shares of an order sum to 1000000 millionths; these sum to 999999",
        );
        check(vec![share("a", 1_000_000), share("b", 0)], "a share is above zero");
        check(
            vec![share("a", 1), share("a", 999_999)],
            "two shares name the same cost centre, budget line and reference; add them up",
        );
        check(
            vec![share("", 1_000_000)],
            "budgetLine must have 1 to 200 characters, without control characters and without marks of text direction",
        );
    }

    #[test]
    fn the_remainder_goes_to_the_largest_share_of_it() {
        let check = |whole: i64, weights: &[i128], expect: &[i64]| {
            assert_eq!(split(whole, weights).unwrap(), expect);
        };
        check(100, &[1, 1, 1], &[34, 33, 33]);
        check(-100, &[1, 1, 1], &[-34, -33, -33]);
        check(10, &[999_999, 1], &[10, 0]);
        check(1, &[1, 2], &[0, 1]);
        check(7, &[0, 0], &[7, 0]);
        assert!(split(7, &[]).is_err());
    }

    proptest! {
        #[test]
        fn i16_parts_sum_to_the_whole_and_err_by_less_than_one(whole in any::<i64>(), weights in proptest::collection::vec(0_i128..2_000_000, 1..20)) {
            prop_assume!(weights.iter().any(|w| *w > 0));
            let parts = split(whole, &weights).unwrap();
            prop_assert_eq!(parts.iter().map(|p| i128::from(*p)).sum::<i128>(), i128::from(whole));
            let total: i128 = weights.iter().sum();
            for (part, weight) in parts.iter().zip(&weights) {
                let error = i128::from(*part) * total - i128::from(whole) * weight;
                prop_assert!(error.abs() < total);
            }
            prop_assert_eq!(split(whole, &weights).unwrap(), parts);
        }
    }
}

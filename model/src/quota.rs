//! The limits of a tenant, and whether something still fits.

use crate::id::TenantName;
use crate::money::Money;
use crate::quantity::{show_bytes, show_cpu};
use crate::resources::Resources;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One dimension of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum Dimension {
    /// Count of instances.
    Instances,
    /// Millicores.
    Cpu,
    /// Bytes of memory.
    Memory,
    /// Bytes of volumes.
    Storage,
    /// Minor units of money a month.
    MonthlyCost,
}

impl Dimension {
    /// Every dimension, in the order in which a shortfall is looked for.
    pub const ALL: [Self; 5] = [Self::Instances, Self::Cpu, Self::Memory, Self::Storage, Self::MonthlyCost];

    /// The word used in YAML, SQL and HTTP.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Instances => "instances",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Storage => "storage",
            Self::MonthlyCost => "monthlyCost",
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a tenant and everything below it may hold; a dimension that is absent is not limited at this tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// Count of instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<i64>,
    /// CPU in millicores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_milli: Option<i64>,
    /// Memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<i64>,
    /// Volumes in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_bytes: Option<i64>,
    /// Committed money a month, at the price of the longest month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly_cost: Option<Money>,
}

/// Resources and money together: what is held, asked or free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Commitment {
    /// The resources.
    pub resources: Resources,
    /// The money of the longest month.
    pub monthly_cost: Money,
}

/// Which limit stops an order, and by how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Shortfall {
    /// The tenant in the chain whose limit it is.
    pub tenant: TenantName,
    /// The dimension.
    pub dimension: Dimension,
    /// What the order asks beyond what it already holds, in the dimension's unit.
    pub asked: i64,
    /// What is free, never below zero.
    pub free: i64,
    /// The limit.
    pub limit: i64,
    /// Currency, for money only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<crate::money::Currency>,
}

impl Shortfall {
    fn show(&self, value: i64) -> String {
        match (self.dimension, self.currency) {
            (Dimension::MonthlyCost, Some(currency)) => format!("{}/month", Money { minor: value, currency }),
            (Dimension::Cpu, _) => show_cpu(value),
            (Dimension::Memory | Dimension::Storage, _) => show_bytes(value),
            _ => value.to_string(),
        }
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of tenant {}: asked {}, free {} of {}",
            self.dimension,
            self.tenant,
            self.show(self.asked),
            self.show(self.free),
            self.show(self.limit)
        )
    }
}

/// Value and limit of each dimension of a quota, in the order of [`Dimension::ALL`].
fn limits(quota: &Quota) -> [Option<i64>; 5] {
    let money = quota.monthly_cost.map(|m| m.minor);
    [quota.instances, quota.cpu_milli, quota.memory_bytes, quota.storage_bytes, money]
}

/// Values of a commitment, in the order of [`Dimension::ALL`].
fn values(commitment: &Commitment) -> [i64; 5] {
    let r = &commitment.resources;
    [r.instances, r.cpu_milli, r.memory_bytes, r.storage_bytes, commitment.monthly_cost.minor]
}

/// The first dimension of `tenant` in which `growth` does not fit beside `held`. What does not grow always fits: a
/// limit lowered below use blocks growth only.
///
/// # Errors
/// The [`Shortfall`], with what was asked and what is free.
pub fn fits(
    tenant: &TenantName,
    quota: &Quota,
    held: &Commitment,
    growth: &Commitment,
) -> Result<(), Shortfall> {
    let (limits, held, asked) = (limits(quota), values(held), values(growth));
    for (index, dimension) in Dimension::ALL.into_iter().enumerate() {
        let (Some(limit), asked, held) = (limits[index], asked[index], held[index]) else { continue };
        let free = limit.saturating_sub(held).max(0);
        if asked > 0 && asked > free {
            let currency = (dimension == Dimension::MonthlyCost).then_some(growth.monthly_cost.currency);
            return Err(Shortfall { tenant: tenant.clone(), dimension, asked, free, limit, currency });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Currency;
    use proptest::prelude::*;

    fn commitment(instances: i64, minor: i64) -> Commitment {
        let resources = Resources { instances, ..Resources::default() };
        Commitment { resources, monthly_cost: Money { minor, currency: Currency::MAD } }
    }

    #[test]
    fn a_shortfall_reads_as_a_sentence() {
        let quota = Quota {
            monthly_cost: Some(Money { minor: 500_000, currency: Currency::MAD }),
            ..Quota::default()
        };
        let tenant = "interior".parse().unwrap();
        let refused = fits(&tenant, &quota, &commitment(3, 376_000), &commitment(1, 150_000)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "monthlyCost of tenant interior: asked 1 500.00 MAD/month, free 1 240.00 MAD/month of 5 000.00 MAD/month"
        );
    }

    proptest! {
        #[test]
        fn what_fits_stays_within_the_limit(limit in 0..100_i64, held in 0..200_i64, asked in -50..100_i64) {
            let quota = Quota { instances: Some(limit), ..Quota::default() };
            let tenant = "t".parse().unwrap();
            match fits(&tenant, &quota, &commitment(held, 0), &commitment(asked, 0)) {
                Ok(()) => prop_assert!(asked <= 0 || held + asked <= limit),
                Err(short) => {
                    prop_assert!(asked > 0 && held + asked > limit);
                    prop_assert!(short.free >= 0 && short.asked == asked);
                }
            }
        }
    }
}

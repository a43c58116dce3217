//! The limits of a tenant, and whether something still fits.

use crate::id::TenantName;
use crate::money::{Currency, Money};
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
    pub currency: Option<Currency>,
    /// The largest of what the ordering tenant and those below it hold in this dimension, at most [`MOST_FREEABLE`].
    /// Orders of other tenants are never named, whichever tenant's limit it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeable: Vec<Freeable>,
}

/// Most reservations named in a [`Shortfall`].
pub const MOST_FREEABLE: usize = 5;

/// A reservation that would make room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Freeable {
    /// Kind of the order.
    pub kind: String,
    /// Namespace of the order.
    pub namespace: String,
    /// Name of the order.
    pub name: String,
    /// What it holds in the dimension of the shortfall, in the dimension's unit.
    pub amount: i64,
}

/// A value of a dimension as people read it.
fn show(dimension: Dimension, currency: Option<Currency>, value: i64) -> String {
    match (dimension, currency) {
        (Dimension::MonthlyCost, Some(currency)) => format!("{}/month", Money { minor: value, currency }),
        (Dimension::Cpu, _) => show_cpu(value),
        (Dimension::Memory | Dimension::Storage, _) => show_bytes(value),
        _ => value.to_string(),
    }
}

impl Shortfall {
    fn show(&self, value: i64) -> String {
        show(self.dimension, self.currency, value)
    }

    /// What could be freed, in words; nothing when nothing is named.
    pub fn freeable_words(&self) -> Option<String> {
        let named = |f: &Freeable| format!("{} {}/{} ({})", f.kind, f.namespace, f.name, self.show(f.amount));
        let words: Vec<String> = self.freeable.iter().map(named).collect();
        (!words.is_empty()).then(|| format!("the largest that could be freed: {}", words.join(", ")))
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
            let (tenant, freeable) = (tenant.clone(), Vec::new());
            return Err(Shortfall { tenant, dimension, asked, free, limit, currency, freeable });
        }
    }
    Ok(())
}

/// One dimension of a quota as people look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DimensionView {
    /// The dimension.
    pub dimension: Dimension,
    /// The limit; absent when this tenant sets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// What is held: reserved by orders and kept data, whether it runs or not.
    pub held: i64,
    /// What of it is billed now: CPU and memory of what runs, storage of volumes that are there, instances and money a month
    /// at most of what has either. An older api says none.
    #[serde(default)]
    pub used: i64,
    /// What is free below this tenant's own limit, never below zero; absent without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<i64>,
    /// By how much more is held than the limit: it was lowered, or prices rose. Growth is blocked until it is zero.
    #[serde(default)]
    pub over: i64,
}

/// Every dimension of a quota beside what is held, and what of that is used.
pub fn view(quota: &Quota, held: &Commitment, used: &Commitment) -> Vec<DimensionView> {
    let rows = Dimension::ALL.into_iter().zip(limits(quota)).zip(values(held).into_iter().zip(values(used)));
    rows.map(|((dimension, limit), (held, used))| DimensionView {
        dimension,
        limit,
        held,
        used,
        free: limit.map(|limit| limit.saturating_sub(held).max(0)),
        over: limit.map_or(0, |limit| held.saturating_sub(limit).max(0)),
    })
    .collect()
}

/// Whether `held` is at least `percent` of `limit`. Of a limit of zero, anything above zero is all of it.
fn reaches(percent: u8, held: i64, limit: i64) -> bool {
    let (held, limit) = (i128::from(held), i128::from(limit));
    held > 0 && held.saturating_mul(100) >= limit.saturating_mul(i128::from(percent))
}

/// What one dimension of a tenant looks like at one moment, for [`crossed`].
#[derive(Clone, Copy, Debug)]
pub struct Level<'a> {
    /// The thresholds in percent of the limit.
    pub percent: &'a [u8],
    /// The limit, if there is one.
    pub limit: Option<i64>,
    /// What is held.
    pub held: i64,
}

impl Level<'_> {
    fn reached(&self) -> Option<u8> {
        let limit = self.limit?;
        self.percent.iter().copied().filter(|p| reaches(*p, self.held, limit)).max()
    }
}

/// The highest threshold that is reached `after` a change and was not before it. Having fallen below, a threshold is
/// armed again; there is no hysteresis, so that what was alerted follows from the sums alone.
pub fn crossed(before: Level<'_>, after: Level<'_>) -> Option<u8> {
    let reached = after.reached()?;
    let known = before
        .limit
        .is_some_and(|limit| before.percent.contains(&reached) && reaches(reached, before.held, limit));
    (!known).then_some(reached)
}

/// A tenant's quota at one moment, for [`crossings`].
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// The thresholds in percent of each limit.
    pub percent: &'a [u8],
    /// The limits.
    pub limit: &'a Quota,
    /// What is held.
    pub held: &'a Commitment,
}

/// A threshold that a change reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// The dimension.
    pub dimension: Dimension,
    /// The threshold in percent.
    pub percent: u8,
    /// What is held now.
    pub held: i64,
    /// The limit now.
    pub limit: i64,
}

/// The thresholds that one change of a tenant crosses: at most one in each dimension.
pub fn crossings(before: Standing<'_>, after: Standing<'_>) -> Vec<Crossing> {
    let levels = |standing: Standing<'_>| limits(standing.limit).into_iter().zip(values(standing.held));
    let rows = Dimension::ALL.into_iter().zip(levels(before).zip(levels(after)));
    rows.filter_map(|(dimension, ((old_limit, old_held), (limit, held)))| {
        let old = Level { percent: before.percent, limit: old_limit, held: old_held };
        let percent = crossed(old, Level { percent: after.percent, limit, held })?;
        Some(Crossing { dimension, percent, held, limit: limit? })
    })
    .collect()
}

/// A dimension that would be near its limit: advice, never a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SoftLimit {
    /// The tenant in the chain whose soft limit it is.
    pub tenant: TenantName,
    /// The dimension.
    pub dimension: Dimension,
    /// The soft limit in percent of the limit.
    pub percent: u8,
    /// What would be held, in the dimension's unit.
    pub held: i64,
    /// The limit.
    pub limit: i64,
    /// Currency, for money only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
}

impl fmt::Display for SoftLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value| show(self.dimension, self.currency, value);
        write!(
            f,
            "{} of tenant {}: {} of {} would be held, past the soft limit of {} %",
            self.dimension,
            self.tenant,
            show(self.held),
            show(self.limit),
            self.percent
        )
    }
}

/// Every dimension that grows and would then be at or past `percent` of its limit.
pub fn soft_limits(
    tenant: &TenantName,
    percent: u8,
    quota: &Quota,
    held: &Commitment,
    growth: &Commitment,
) -> Vec<SoftLimit> {
    let (limits, held, growing) = (limits(quota), values(held), values(growth));
    let rows = Dimension::ALL.into_iter().zip(limits).zip(held.into_iter().zip(growing));
    rows.filter_map(|((dimension, limit), (held, growing))| {
        let (limit, held) = (limit?, held.saturating_add(growing));
        let currency = (dimension == Dimension::MonthlyCost).then_some(growth.monthly_cost.currency);
        (growing > 0 && reaches(percent, held, limit)).then(|| SoftLimit {
            tenant: tenant.clone(),
            dimension,
            percent,
            held,
            limit,
            currency,
        })
    })
    .collect()
}

impl Commitment {
    /// Whether this is at least `other` in every dimension, money included.
    pub fn covers(&self, other: &Self) -> bool {
        self.monthly_cost.currency == other.monthly_cost.currency
            && values(self).into_iter().zip(values(other)).all(|(mine, theirs)| mine >= theirs)
    }
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

    #[test]
    fn a_threshold_is_crossed_once_and_again_after_it_fell_below() {
        let usual = [70, 85, 95, 100];
        let check = |before: (i64, i64), after: (i64, i64), expect: Option<u8>| {
            let level = |(held, limit): (i64, i64)| Level { percent: &usual, limit: Some(limit), held };
            assert_eq!(crossed(level(before), level(after)), expect, "{before:?} {after:?}");
        };
        check((0, 100), (69, 100), None);
        check((69, 100), (70, 100), Some(70));
        check((70, 100), (84, 100), None);
        check((60, 100), (96, 100), Some(95));
        check((96, 100), (80, 100), None);
        check((80, 100), (90, 100), Some(85));
        check((50, 100), (50, 50), Some(100));
        check((100, 100), (130, 100), None);
        check((0, 0), (0, 0), None);
        check((0, 0), (1, 0), Some(100));
        check((i64::MAX, i64::MAX), (i64::MAX, i64::MAX), None);
        let (none, some) = (
            Level { percent: &usual, limit: None, held: 9 },
            Level { percent: &usual, limit: Some(10), held: 9 },
        );
        assert_eq!((crossed(none, some), crossed(some, none)), (Some(85), None));
        // A threshold that is new is reached for the first time, even if nothing else moves.
        let added = Level { percent: &[90], limit: Some(10), held: 9 };
        assert_eq!(crossed(some, added), Some(90));
    }

    #[test]
    fn a_soft_limit_warns_about_growth_only() {
        let quota = Quota {
            instances: Some(10),
            monthly_cost: Some(Money { minor: 1_000, currency: Currency::MAD }),
            ..Quota::default()
        };
        let tenant = "interior".parse().unwrap();
        let warned = soft_limits(&tenant, 80, &quota, &commitment(7, 100), &commitment(1, 600));
        assert_eq!(warned.len(), 1);
        assert_eq!(
            warned[0].to_string(),
            "instances of tenant interior: 8 of 10 would be held, past the soft limit of 80 %"
        );
        assert_eq!(soft_limits(&tenant, 80, &quota, &commitment(9, 900), &commitment(0, 0)), vec![]);
    }

    #[test]
    fn a_view_shows_what_is_free_and_what_is_over() {
        let quota = Quota { instances: Some(2), storage_bytes: Some(0), ..Quota::default() };
        let rows = view(&quota, &commitment(3, 5), &commitment(1, 2));
        let row = |d: Dimension| *rows.iter().find(|r| r.dimension == d).unwrap();
        assert_eq!((row(Dimension::Instances).free, row(Dimension::Instances).over), (Some(0), 1));
        assert_eq!((row(Dimension::Storage).free, row(Dimension::Storage).over), (Some(0), 0));
        assert_eq!((row(Dimension::MonthlyCost).free, row(Dimension::MonthlyCost).held), (None, 5));
        assert_eq!((row(Dimension::Instances).used, row(Dimension::MonthlyCost).used), (1, 2));
    }

    #[test]
    fn an_approval_covers_what_is_not_larger_in_any_dimension() {
        let check = |asked: Commitment, expect: bool| {
            assert_eq!(commitment(2, 100).covers(&asked), expect, "{asked:?}");
        };
        check(commitment(2, 100), true);
        check(commitment(1, 1), true);
        check(commitment(3, 1), false);
        check(commitment(1, 101), false);
        let euros = Money { minor: 1, currency: Currency::EUR };
        check(Commitment { monthly_cost: euros, ..commitment(1, 1) }, false);
    }

    proptest! {
        #[test]
        fn i08_what_fits_stays_within_the_limit(limit in 0..100_i64, held in 0..200_i64, asked in -50..100_i64) {
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

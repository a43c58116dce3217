//! What an order takes from its tenant's quota.

use serde::{Deserialize, Serialize};

/// An amount of each resource that a quota bounds, money apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Instances; one that is suspended or retained counts no longer.
    pub instances: i64,
    /// CPU in millicores.
    pub cpu_milli: i64,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Volumes in bytes.
    pub storage_bytes: i64,
}

impl Resources {
    /// The sum, or nothing when it is outside of 64 bits.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Some(Self {
            instances: self.instances.checked_add(other.instances)?,
            cpu_milli: self.cpu_milli.checked_add(other.cpu_milli)?,
            memory_bytes: self.memory_bytes.checked_add(other.memory_bytes)?,
            storage_bytes: self.storage_bytes.checked_add(other.storage_bytes)?,
        })
    }

    /// Each resource times `count`, or nothing when it is outside of 64 bits.
    pub fn checked_mul(self, count: i64) -> Option<Self> {
        Some(Self {
            instances: self.instances.checked_mul(count)?,
            cpu_milli: self.cpu_milli.checked_mul(count)?,
            memory_bytes: self.memory_bytes.checked_mul(count)?,
            storage_bytes: self.storage_bytes.checked_mul(count)?,
        })
    }
}

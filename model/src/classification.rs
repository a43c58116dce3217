//! How sensitive the data of an order is.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Classification of data, from the least to the most sensitive; the order of the variants is the order of the scale.
///
/// A site and a tenant each name the highest they may hold; an order must name its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Classification {
    /// May be published.
    Public,
    /// For the administration's own use.
    Internal,
    /// Personal or confidential data.
    Confidential,
    /// Data whose disclosure would harm the State.
    Restricted,
}

impl Classification {
    /// Every class, from the least to the most sensitive.
    pub const ALL: [Self; 4] = [Self::Public, Self::Internal, Self::Confidential, Self::Restricted];

    /// The word used in YAML, SQL and HTTP.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "Public",
            Self::Internal => "Internal",
            Self::Confidential => "Confidential",
            Self::Restricted => "Restricted",
        }
    }
}

impl fmt::Display for Classification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_rises_from_public_to_restricted() {
        assert!(Classification::ALL.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

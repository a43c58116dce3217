//! Identifiers that cannot be mixed up.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Why a text is not an identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{kind} {value:?} must be 1 to {longest} characters of a-z, 0-9 and '-', and begin and end with a letter or digit"
)]
pub struct InvalidId {
    pub(crate) kind: &'static str,
    pub(crate) value: String,
    pub(crate) longest: usize,
}

pub(crate) fn is_dns_label(value: &str, longest: usize) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = value.as_bytes();
    bytes.len() <= longest
        && bytes.first().is_some_and(|b| alphanumeric(*b))
        && bytes.last().is_some_and(|b| alphanumeric(*b))
        && bytes.iter().all(|b| alphanumeric(*b) || *b == b'-')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $longest:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Longest text that is accepted, in characters.
            pub const LONGEST: usize = $longest;

            /// The text of the identifier.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(value: &str) -> Result<Self, InvalidId> {
                value.to_owned().try_into()
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(value: String) -> Result<Self, InvalidId> {
                if is_dns_label(&value, $longest) {
                    Ok(Self(value))
                } else {
                    Err(InvalidId { kind: $kind, value, longest: $longest })
                }
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// Name of a tenant. At most 40 characters, so that `siyada-t-<tenant>` is a namespace name.
    TenantName, "tenant", 40
}
name! {
    /// Key of a price in a price list, for example `postgres-small`.
    Sku, "SKU", 60
}
name! {
    /// Name of a price list.
    PriceListName, "price list", 63
}
name! {
    /// The uid that Kubernetes gave to an order. It survives nothing: a name ordered again has another one.
    OrderUid, "order uid", 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        let check =
            |value: &str, expect: bool| assert_eq!(value.parse::<TenantName>().is_ok(), expect, "{value:?}");
        check("interior", true);
        check("a", true);
        check("9-lives", true);
        check("", false);
        check("-a", false);
        check("a-", false);
        check("Interior", false);
        check("وزارة", false);
        check(&"a".repeat(40), true);
        check(&"a".repeat(41), false);
    }

    #[test]
    fn the_refusal_says_what_is_allowed() {
        let error = "A b".parse::<TenantName>().unwrap_err().to_string();
        assert!(error.contains("\"A b\"") && error.contains("1 to 40"), "{error}");
    }
}

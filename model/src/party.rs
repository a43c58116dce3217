//! Who bills and who is billed: identity, and the tax between them. All of it is configuration that finance puts on
//! record; no rate and no exemption is in the code, because laws change and differ.

use crate::id::Sku;
use crate::period::{InvalidPeriod, zone};
use crate::wire::DisplayName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest text of a party, in characters.
pub const LONGEST_TEXT: usize = 200;
/// Basis points in a whole: 2000 of them are 20 %.
pub const WHOLE_BASIS_POINTS: u32 = 10_000;

/// Why something about a party is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidParty {
    /// Not an *identifiant commun de l'entreprise*.
    #[error("ice {0:?} must have 15 digits (identifiant commun de l'entreprise)")]
    Ice(String),
    /// More than everything.
    #[error("a tax rate is 0 to 10000 basis points (100 %); {0} is not")]
    Rate(u32),
    /// Empty, too long, or it would change how the text around it reads.
    #[error(
        "{0} must have 1 to 200 characters, without control characters and without marks of text direction"
    )]
    Text(&'static str),
    /// Not a prefix of numbers.
    #[error("number prefix {0:?} must have 1 to 8 characters of A-Z and 0-9")]
    Prefix(String),
    /// Not the name of an account.
    #[error("account {0:?} must have 1 to 63 characters of A-Z, a-z, 0-9, '.', '_' and '-'")]
    Account(String),
    /// Not a month.
    #[error("a fiscal year begins in month 1 to 12, not {0}")]
    FiscalYear(i8),
    /// Not in the tz database.
    #[error(transparent)]
    Zone(#[from] InvalidPeriod),
}

/// Identity of a party, as a statement prints it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Party {
    /// Its name in the languages of the administration.
    #[serde(default)]
    pub display_name: DisplayName,
    /// *Identifiant commun de l'entreprise*: 15 digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ice: Option<String>,
    /// Tax identification (*identifiant fiscal*).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax_id: Option<String>,
    /// Postal address, one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl Party {
    /// Checks what can be checked without asking anybody.
    ///
    /// # Errors
    /// [`InvalidParty`], which names the field.
    pub fn check(&self) -> Result<(), InvalidParty> {
        if let Some(ice) = &self.ice
            && !(ice.len() == 15 && ice.bytes().all(|b| b.is_ascii_digit()))
        {
            return Err(InvalidParty::Ice(ice.clone()));
        }
        plain_names(&self.display_name)?;
        all_plain([("taxId", &self.tax_id), ("address", &self.address)])
    }
}

/// Names that read as they are written.
///
/// # Errors
/// As for [`plain`].
pub fn plain_names(names: &DisplayName) -> Result<(), InvalidParty> {
    all_plain([
        ("displayName.fr", &names.fr),
        ("displayName.ar", &names.ar),
        ("displayName.en", &names.en),
        ("displayName.zgh", &names.zgh),
    ])
}

/// Texts, if they are there, that read as they are written.
///
/// # Errors
/// As for [`plain`].
pub fn all_plain<'a>(
    texts: impl IntoIterator<Item = (&'static str, &'a Option<String>)>,
) -> Result<(), InvalidParty> {
    texts.into_iter().try_for_each(|(field, text)| text.as_ref().map_or(Ok(()), |text| plain(field, text)))
}

/// A text that reads as it is written wherever it is printed.
///
/// # Errors
/// [`InvalidParty::Text`] names `field`.
pub fn plain(field: &'static str, text: &str) -> Result<(), InvalidParty> {
    // Embeddings, overrides and isolates of Unicode's bidirectional algorithm (UAX #9) can make a text show another.
    let turns = |c: char| matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{200E}' | '\u{200F}' | '\u{061C}');
    let length = text.chars().count();
    let ok = (1..=LONGEST_TEXT).contains(&length) && !text.chars().any(|c| c.is_control() || turns(c));
    if ok { Ok(()) } else { Err(InvalidParty::Text(field)) }
}

/// A name that reads as it is written ([`plain`]); a refusal calls it by its field.
macro_rules! plain_name {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text of the name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidParty;
            fn try_from(text: String) -> Result<Self, InvalidParty> {
                plain($field, &text)?;
                Ok(Self(text))
            }
        }

        impl FromStr for $name {
            type Err = InvalidParty;
            fn from_str(text: &str) -> Result<Self, InvalidParty> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
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
pub(crate) use plain_name;

/// The tax on what an issuer bills a buyer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", tag = "regime", deny_unknown_fields)]
pub enum TaxRegime {
    /// Tax is due.
    #[serde(rename_all = "camelCase")]
    Taxable {
        /// The rate in basis points: 2000 is 20 %.
        rate_basis_points: u32,
        /// SKUs with another rate.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        #[cfg_attr(feature = "openapi", schema(value_type = std::collections::BTreeMap<String, u32>))]
        other_rates: BTreeMap<Sku, u32>,
        /// The text that says so.
        legal_basis: String,
    },
    /// In the scope of the tax, but exempt from it.
    #[serde(rename_all = "camelCase")]
    Exempt {
        /// The text that says so.
        legal_basis: String,
    },
    /// Outside of the scope of the tax.
    #[serde(rename_all = "camelCase")]
    Outside {
        /// The text that says so.
        legal_basis: String,
    },
}

impl TaxRegime {
    /// The rate on `sku` in basis points; none where no tax is computed.
    pub fn rate(&self, sku: &Sku) -> Option<u32> {
        match self {
            Self::Taxable { rate_basis_points, other_rates, .. } => {
                Some(other_rates.get(sku).copied().unwrap_or(*rate_basis_points))
            }
            Self::Exempt { .. } | Self::Outside { .. } => None,
        }
    }

    /// The text that says so.
    pub fn legal_basis(&self) -> &str {
        match self {
            Self::Taxable { legal_basis, .. }
            | Self::Exempt { legal_basis }
            | Self::Outside { legal_basis } => legal_basis,
        }
    }

    /// # Errors
    /// [`InvalidParty`] for a rate above a whole, or no legal basis.
    pub fn check(&self) -> Result<(), InvalidParty> {
        if let Self::Taxable { rate_basis_points, other_rates, .. } = self {
            let rates = std::iter::once(rate_basis_points).chain(other_rates.values());
            if let Some(rate) = rates.copied().find(|rate| *rate > WHOLE_BASIS_POINTS) {
                return Err(InvalidParty::Rate(rate));
            }
        }
        plain("legalBasis", self.legal_basis())
    }
}

/// `PUT /v1/issuer`: the body that bills, and how it counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IssuerRecord {
    /// Who it is.
    #[serde(flatten)]
    pub party: Party,
    /// Its time zone: months begin at its midnight. Another one counts from the next period that opens.
    pub time_zone: String,
    /// The month in which its fiscal year begins, 1 to 12.
    pub fiscal_year_start_month: i8,
    /// What every number begins with: `SIY` gives `SIY-2026-000001`.
    pub number_prefix: String,
    /// Tax for accounts that have no regime of their own.
    pub tax: TaxRegime,
    /// Whether a month closes only when every amount has a budget line.
    pub require_budget_line: bool,
    /// The line of the issuer's own budget on which its revenue is booked: what a settlement between administrations names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revenue_line: Option<String>,
}

impl IssuerRecord {
    /// # Errors
    /// [`InvalidParty`], which names the field.
    pub fn check(&self) -> Result<(), InvalidParty> {
        self.party.check()?;
        self.tax.check()?;
        all_plain([("revenueLine", &self.revenue_line)])?;
        zone(&self.time_zone)?;
        if !(1..=12).contains(&self.fiscal_year_start_month) {
            return Err(InvalidParty::FiscalYear(self.fiscal_year_start_month));
        }
        let prefix = &self.number_prefix;
        let word = prefix.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if !word || prefix.is_empty() || prefix.len() > 8 {
            return Err(InvalidParty::Prefix(prefix.clone()));
        }
        Ok(())
    }
}

/// The name of an account: 1 to 63 of A-Z, a-z, 0-9, `.`, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName(String);

impl AccountName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for AccountName {
    type Err = InvalidParty;
    fn from_str(text: &str) -> Result<Self, InvalidParty> {
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let ok = (1..=63).contains(&text.len()) && text.bytes().all(word);
        if ok { Ok(Self(text.to_owned())) } else { Err(InvalidParty::Account(text.to_owned())) }
    }
}

/// `PUT /v1/accounts/{account}`: a buyer, named by `billing.account` of tenants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccountRecord {
    /// Who it is.
    #[serde(flatten)]
    pub party: Party,
    /// The tax between the issuer and it; the issuer's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax: Option<TaxRegime>,
}

impl AccountRecord {
    /// # Errors
    /// [`InvalidParty`], which names the field.
    pub fn check(&self) -> Result<(), InvalidParty> {
        self.party.check()?;
        self.tax.as_ref().map_or(Ok(()), TaxRegime::check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer() -> IssuerRecord {
        IssuerRecord {
            party: Party { ice: Some("001234567000089".to_owned()), ..Party::default() },
            time_zone: "Africa/Casablanca".to_owned(),
            fiscal_year_start_month: 1,
            number_prefix: "SIY".to_owned(),
            tax: TaxRegime::Outside { legal_basis: "CGI art. 87".to_owned() },
            require_budget_line: true,
            revenue_line: None,
        }
    }

    #[test]
    fn what_is_wrong_with_an_issuer_is_said() {
        let check = |change: &dyn Fn(&mut IssuerRecord), expect: &str| {
            let mut record = issuer();
            change(&mut record);
            assert_eq!(record.check().map_err(|e| e.to_string()).unwrap_err(), expect);
        };
        assert_eq!(issuer().check(), Ok(()));
        check(
            &|i| i.party.ice = Some("12".to_owned()),
            "ice \"12\" must have 15 digits (identifiant commun de l'entreprise)",
        );
        check(
            &|i| i.number_prefix = "si-y".to_owned(),
            "number prefix \"si-y\" must have 1 to 8 characters of A-Z and 0-9",
        );
        check(&|i| i.fiscal_year_start_month = 13, "a fiscal year begins in month 1 to 12, not 13");
        check(
            &|i| i.time_zone = "Casablanca".to_owned(),
            "time zone \"Casablanca\" is not in the tz database; use a name like Africa/Casablanca",
        );
        check(
            &|i| i.party.address = Some("a\u{202E}b".to_owned()),
            "address must have 1 to 200 characters, without control characters and without marks of text direction",
        );
        let taxed = |rate| TaxRegime::Taxable {
            rate_basis_points: rate,
            other_rates: BTreeMap::new(),
            legal_basis: "CGI".to_owned(),
        };
        check(&|i| i.tax = taxed(10_001), "a tax rate is 0 to 10000 basis points (100 %); 10001 is not");
    }

    #[test]
    fn a_sku_may_have_a_rate_of_its_own() {
        let sku: Sku = "backup".parse().unwrap();
        let regime = TaxRegime::Taxable {
            rate_basis_points: 2_000,
            other_rates: BTreeMap::from([(sku.clone(), 1_000)]),
            legal_basis: "CGI".to_owned(),
        };
        assert_eq!(regime.rate(&sku), Some(1_000));
        assert_eq!(regime.rate(&"compute".parse().unwrap()), Some(2_000));
        let written = serde_json::to_value(&regime).unwrap();
        assert_eq!(written["regime"], "taxable");
        assert_eq!(serde_json::from_value::<TaxRegime>(written).unwrap(), regime);
    }
}

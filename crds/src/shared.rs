//! Types that several kinds share.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How sensitive data is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataClassification {
    /// May be published.
    Public,
    /// For the administration's own use.
    Internal,
    /// Personal or confidential data.
    Confidential,
    /// Data whose disclosure would harm the State.
    Restricted,
}

impl From<DataClassification> for siyada_model::classification::Classification {
    fn from(class: DataClassification) -> Self {
        match class {
            DataClassification::Public => Self::Public,
            DataClassification::Internal => Self::Internal,
            DataClassification::Confidential => Self::Confidential,
            DataClassification::Restricted => Self::Restricted,
        }
    }
}

/// A name in the languages of the administration.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
pub struct DisplayName {
    /// French.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fr: Option<String>,
    /// Arabic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ar: Option<String>,
    /// English.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub en: Option<String>,
    /// Standard Moroccan Tamazight, in Tifinagh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zgh: Option<String>,
}

/// An amount of money.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
pub struct Amount {
    /// A plain decimal number with at most the currency's decimals, like "5000.00".
    #[schemars(regex(pattern = r"^[0-9]{1,15}(\.[0-9]{1,3})?$"))]
    pub amount: String,
    /// ISO 4217 code: MAD, EUR, USD, TND or XOF.
    #[x_kube(validation = ("self in ['MAD','EUR','USD','TND','XOF']", "currency must be one of MAD, EUR, USD, TND, XOF"))]
    pub currency: String,
}

/// A maintenance window: two hours of each week.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WindowSpec {
    /// The day on which it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day_of_week: Option<DayOfWeek>,
    /// When it begins, by the clocks of the time zone, like `02:00`. Where the clocks leave it out, as much later as they leap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub start_time: Option<String>,
    /// An IANA time zone, like `Africa/Casablanca`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
}

/// A day of the week.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DayOfWeek {
    /// Monday.
    Monday,
    /// Tuesday.
    Tuesday,
    /// Wednesday.
    Wednesday,
    /// Thursday.
    Thursday,
    /// Friday.
    Friday,
    /// Saturday.
    Saturday,
    /// Sunday.
    Sunday,
}

/// What the platform says about an object it read.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SimpleStatus {
    /// Generation of the spec this speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

//! Kubernetes quantities (`500m`, `10Gi`) as exact integers.

/// Why a text is not a quantity that can be used here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuantity {
    /// Not a number with a known suffix.
    #[error("quantity {0:?} is not a number with a unit, like 500m, 2, 512Mi or 10Gi")]
    Format(String),
    /// Not a whole count of the base unit (millicores or bytes).
    #[error("quantity {0:?} is finer than the smallest unit (1m of CPU, 1 byte)")]
    Fraction(String),
    /// Zero or negative where something is needed.
    #[error("quantity {0:?} must be greater than zero")]
    NotPositive(String),
    /// More than 64 bits hold.
    #[error("quantity {0:?} is too large")]
    TooLarge(String),
}

/// Bytes in one GiB.
pub const GIB: i64 = 1 << 30;
/// Bytes in one MiB.
pub const MIB: i64 = 1 << 20;

/// Numerator and denominator of a suffix.
fn suffix(text: &str) -> Option<(i128, i128)> {
    Some(match text {
        "" => (1, 1),
        "m" => (1, 1_000),
        "k" => (1_000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        _ => return None,
    })
}

/// `text` times `scale` as a whole, positive number.
fn parse(text: &str, scale: i128) -> Result<i64, InvalidQuantity> {
    let format = || InvalidQuantity::Format(text.to_owned());
    let too_large = || InvalidQuantity::TooLarge(text.to_owned());
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(unit_at).ok_or_else(format)?;
    let (multiply, divide) = suffix(unit).ok_or_else(format)?;
    let (negative, number) = number.strip_prefix('-').map_or((false, number), |rest| (true, rest));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return Err(format());
    }
    if whole.len() > 19 || fraction.len() > 9 {
        return Err(too_large());
    }
    let mantissa: i128 = format!("{whole}{fraction}").parse().map_err(|_| format())?;
    let decimals = u32::try_from(fraction.len()).map_err(|_| too_large())?;
    let divisor = 10_i128.checked_pow(decimals).and_then(|d| d.checked_mul(divide)).ok_or_else(too_large)?;
    let scaled = mantissa.checked_mul(multiply).and_then(|m| m.checked_mul(scale)).ok_or_else(too_large)?;
    if scaled.checked_rem(divisor) != Some(0) {
        return Err(InvalidQuantity::Fraction(text.to_owned()));
    }
    if negative || scaled == 0 {
        return Err(InvalidQuantity::NotPositive(text.to_owned()));
    }
    let value = scaled.checked_div(divisor).ok_or_else(too_large)?;
    i64::try_from(value).map_err(|_| too_large())
}

/// CPU in millicores: `500m` is 500, `2` is 2000.
///
/// # Errors
/// See [`InvalidQuantity`]; each names the text and what is wanted.
pub fn cpu_milli(text: &str) -> Result<i64, InvalidQuantity> {
    parse(text, 1_000)
}

/// Memory or storage in bytes: `10Gi` is 10737418240.
///
/// # Errors
/// See [`InvalidQuantity`]; each names the text and what is wanted.
pub fn bytes(text: &str) -> Result<i64, InvalidQuantity> {
    parse(text, 1)
}

/// Bytes as people write them: `10Gi`, `1536Mi`, else the plain number.
pub fn show_bytes(bytes: i64) -> String {
    for (unit, name) in [(GIB, "Gi"), (MIB, "Mi")] {
        if bytes != 0 && bytes.checked_rem(unit) == Some(0) {
            return format!("{}{name}", bytes.checked_div(unit).unwrap_or(0));
        }
    }
    bytes.to_string()
}

/// Millicores as people write them: `2`, `500m`.
pub fn show_cpu(milli: i64) -> String {
    match (milli.checked_rem(1_000), milli.checked_div(1_000)) {
        (Some(0), Some(cores)) => cores.to_string(),
        _ => format!("{milli}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantities_are_exact_or_refused() {
        let check = |text: &str, expect: Option<i64>| assert_eq!(bytes(text).ok(), expect, "{text:?}");
        check("10Gi", Some(10 * GIB));
        check("1.5Gi", Some(1_610_612_736));
        check("10G", Some(10_000_000_000));
        check("0", None);
        check("0Gi", None);
        check("-1Gi", None);
        check("10 Gi", None);
        check("10GB", None);
        check("1e3", None);
        check("100m", None);
        check("9999999Pi", None);
        check("Gi", None);
        check("١Gi", None);
    }

    #[test]
    fn cpu_counts_millicores() {
        let check = |text: &str, expect: Option<i64>| assert_eq!(cpu_milli(text).ok(), expect, "{text:?}");
        check("500m", Some(500));
        check("2", Some(2_000));
        check("0.25", Some(250));
        check("0.0001", None);
        check("1.5m", None);
    }

    proptest! {
        #[test]
        fn shown_bytes_read_back(value in 1..i64::MAX / 2) {
            prop_assert_eq!(bytes(&show_bytes(value)), Ok(value));
        }
        #[test]
        fn shown_cpu_reads_back(value in 1..i64::MAX / 2_000) {
            prop_assert_eq!(cpu_milli(&show_cpu(value)), Ok(value));
        }
        #[test]
        fn no_text_panics(text in ".{0,24}") {
            let _ = bytes(&text);
            let _ = cpu_milli(&text);
        }
    }
}

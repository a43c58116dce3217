//! One byte form for one value, so that a hash of it means something: JSON by RFC 8785 (JCS), narrowed.
//!
//! Numbers are whole and within ±(2^53 - 1); larger ones are written as texts. Keys are ASCII, so that their order by
//! bytes is the order of the standard. Nothing is escaped but what JSON must escape.

use serde::Serialize;
use serde_json::{Number, Value};
use sha2::{Digest as _, Sha256};

/// The largest whole number that every reader of JSON keeps exactly.
pub const LARGEST_NUMBER: i64 = (1 << 53) - 1;

/// Why a value has no canonical form.
#[derive(Debug, thiserror::Error)]
pub enum NotCanonical {
    /// It cannot be written as JSON at all.
    #[error("failed to write the value as JSON")]
    Json(#[from] serde_json::Error),
    /// A number that not every reader keeps exactly.
    #[error("{0} is not a whole number within ±(2^53 - 1)")]
    Number(serde_json::Number),
    /// A key that two readers may sort differently.
    #[error("key {0:?} is not ASCII")]
    Key(String),
}

/// The canonical bytes of `value`.
///
/// # Errors
/// [`NotCanonical`]: never for a type whose numbers are in range.
pub fn bytes(value: &impl Serialize) -> Result<Vec<u8>, NotCanonical> {
    let mut out = Vec::new();
    write(&serde_json::to_value(value)?, &mut out)?;
    Ok(out)
}

/// What stands for a hash where nothing was hashed yet: 64 zeros.
pub const NOTHING_BEFORE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// SHA-256 of bytes, as 64 hexadecimal digits: what `sha256sum` prints.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The number, if it is whole and every reader of JSON keeps it exactly.
pub fn whole(number: &Number) -> Option<i64> {
    number.as_i64().filter(|n| n.unsigned_abs() <= LARGEST_NUMBER.unsigned_abs())
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), NotCanonical> {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                separate(index, out);
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(members) => {
            // Sorted here: serde_json keeps the order of insertion if any crate of the build asks it to.
            let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| *key);
            out.push(b'{');
            for (index, (key, member)) in sorted.into_iter().enumerate() {
                if !key.is_ascii() {
                    return Err(NotCanonical::Key(key.clone()));
                }
                separate(index, out);
                serde_json::to_writer(&mut *out, key)?;
                out.push(b':');
                write(member, out)?;
            }
            out.push(b'}');
        }
        Value::Number(number) => {
            let whole = whole(number).ok_or_else(|| NotCanonical::Number(number.clone()))?;
            out.extend_from_slice(whole.to_string().as_bytes());
        }
        Value::Null | Value::Bool(_) | Value::String(_) => serde_json::to_writer(out, value)?,
    }
    Ok(())
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_value_has_one_form() {
        let check = |value: Value, expect: &str| {
            assert_eq!(String::from_utf8(bytes(&value).unwrap()).unwrap(), expect);
        };
        check(
            json!({"b": 1, "a": [true, null, "ة\n\u{1}\"/"]}),
            "{\"a\":[true,null,\"ة\\n\\u0001\\\"/\"],\"b\":1}",
        );
        check(
            json!({"aa": 1, "a": 2, "B": -9_007_199_254_740_991_i64}),
            "{\"B\":-9007199254740991,\"a\":2,\"aa\":1}",
        );
    }

    #[test]
    fn what_readers_would_read_differently_is_refused() {
        for value in [json!(1.5), json!(9_007_199_254_740_992_i64), json!(u64::MAX), json!({"é": 1})] {
            assert!(bytes(&value).is_err(), "{value}");
        }
    }

    #[test]
    fn the_hash_is_what_coreutils_prints() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    proptest! {
        #[test]
        fn the_form_reads_back_and_is_stable(members in proptest::collection::hash_map("[ -~]{0,6}", ".{0,12}", 0..8)) {
            let form = bytes(&members).unwrap();
            let back: Value = serde_json::from_slice(&form).unwrap();
            prop_assert_eq!(&back, &json!(members));
            prop_assert_eq!(bytes(&back).unwrap(), form);
        }
    }
}

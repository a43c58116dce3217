//! Texts as parts of a URI (RFC 3986).

use std::fmt::Write as _;

/// A text as one value: every byte but the unreserved ones, letters, digits and `-._~`, is percent-encoded.
pub fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        let _ = if plain { write!(escaped, "{}", char::from(byte)) } else { write!(escaped, "%{byte:02X}") };
        escaped
    })
}

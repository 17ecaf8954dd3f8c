//! Bytes as text, as PostgreSQL can hold them, and back.

use std::fmt::Write as _;

/// Prefix of bytes that are written in hex.
const HEX: &str = r"\x";

/// Returns bytes as text. Those that are none, hold a NUL or look like hex already are written as `\x…` in hex, so
/// that [`to_bytes`] gets back what it was.
pub fn to_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') && !text.starts_with(HEX) => text.to_owned(),
        _ => hex(bytes),
    }
}

/// Returns the bytes that [`to_text`] made a text of.
pub fn to_bytes(text: &str) -> Vec<u8> {
    text.strip_prefix(HEX).and_then(from_hex).unwrap_or_else(|| text.as_bytes().to_vec())
}

/// Returns bytes that are no text as `\x…`, in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(HEX.to_owned(), |mut hex, byte| {
        // Writing to a string can't fail.
        let _infallible = write!(hex, "{byte:02x}");
        hex
    })
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some((digit(*high)? << 4 | digit(*low)?) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_shown_in_hex() {
        assert_eq!(to_text(b"plain"), "plain");
        assert_eq!(to_text(&[0xff, 0x00]), "\\xff00");
        assert_eq!(to_text(b"a\0b"), "\\x610062");
    }

    #[test]
    fn every_text_leads_back_to_its_bytes() {
        let all: Vec<u8> = (0..=255).collect();
        for bytes in [&all, &b"plain"[..], b"", b"\\x", b"\\xff", b"\\x6", "\u{e9}\u{1b}".as_bytes()] {
            assert_eq!(to_bytes(&to_text(bytes)), bytes);
        }
        for text in [r"\x6", r"\x+1", r"\xg0", r"\x€"] {
            assert_eq!(to_bytes(text), text.as_bytes(), "what others wrote stays what it is");
        }
    }
}

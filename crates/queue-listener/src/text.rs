//! Bytes as text: as PostgreSQL can hold them, and as a terminal may see them.

use std::fmt::Write as _;

/// In front of bytes that are written in hex.
const HEX: &str = r"\x";

/// Bytes as text. Those that are none, hold a NUL or look like hex already are written as `\x…` in hex, so
/// that [`to_bytes`] gets back what it was.
pub(crate) fn to_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') && !text.starts_with(HEX) => text.to_owned(),
        _ => bytes.iter().fold(HEX.to_owned(), |mut hex, byte| {
            // Writing to a string can't fail.
            let _infallible = write!(hex, "{byte:02x}");
            hex
        }),
    }
}

/// The bytes that [`to_text`] made a text of.
pub(crate) fn to_bytes(text: &str) -> Vec<u8> {
    text.strip_prefix(HEX).and_then(from_hex).unwrap_or_else(|| text.as_bytes().to_vec())
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some((digit(*high)? << 4 | digit(*low)?) as u8)).collect()
}

/// A text without anything that a terminal would obey: control and other invisible characters are escaped as
/// Rust writes them, and so is the backslash that begins an escape.
pub(crate) fn escaped(text: &str) -> String {
    let escaped = text.chars().map(|char| match char {
        '"' | '\'' => char.to_string(),
        other => other.escape_debug().to_string(),
    });
    escaped.collect()
}

/// A value as JSON in one line of ASCII: a terminal obeys more characters than JSON makes a writer escape.
pub(crate) fn json_line(value: &serde_json::Value) -> String {
    let json = value.to_string();
    let mut line = String::with_capacity(json.len());
    for char in json.chars() {
        // What isn't printable ASCII stands within a JSON string, where UTF-16 escapes are understood.
        if char.is_ascii() && !char.is_ascii_control() {
            line.push(char);
        } else {
            for unit in char.encode_utf16(&mut [0; 2]) {
                let _infallible = write!(line, "\\u{unit:04x}");
            }
        }
    }
    line
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

    #[test]
    fn no_control_character_reaches_a_terminal() {
        // ESC, a C1 control, a change of direction, a line break, DEL.
        let evil = "a\u{1b}[2J\u{9b}2J\u{202e}\n\u{7f}\\\"é";
        assert_eq!(escaped(evil), r#"a\u{1b}[2J\u{9b}2J\u{202e}\n\u{7f}\\"é"#);
        let line = json_line(&serde_json::json!({ "key": evil }));
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
        assert_eq!(read["key"], evil);
    }
}

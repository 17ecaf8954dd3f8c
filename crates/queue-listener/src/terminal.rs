//! Text as a terminal may see it.

use std::fmt::Write as _;

/// Returns a text without anything that a terminal would obey: control and other invisible characters are escaped as
/// Rust writes them, and so is the backslash that begins an escape.
pub(crate) fn escaped(text: &str) -> String {
    let escaped = text.chars().map(|char| match char {
        '"' | '\'' => char.to_string(),
        other => other.escape_debug().to_string(),
    });
    escaped.collect()
}

/// Returns a value as JSON in one line of ASCII: a terminal obeys more characters than JSON makes a writer escape.
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

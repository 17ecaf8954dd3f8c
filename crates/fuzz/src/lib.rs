//! What the fuzz targets of `tests/it` share.

// `cargo bolero` builds a test of this library as well, and has the engine's counters in it.
#[cfg(test)]
use bolero as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use domain::fields::FieldErrors;
use domain::record::{Header, Reason, Rejection};
use ring::hmac;

/// Returns the present of all targets, 2026-01-01 12:00 UTC: what fails once fails again.
pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_268_800, 0).unwrap_or_default()
}

/// Splits bytes at the first line break. Without one all of them come second.
pub fn split(bytes: &[u8]) -> (Option<&[u8]>, &[u8]) {
    match bytes.iter().position(|&byte| byte == b'\n') {
        Some(at) => (Some(&bytes[..at]), &bytes[at + 1..]),
        None => (None, bytes),
    }
}

/// Returns headers, one a line: `name: value`, without the colon one that has no value; a name that is no text stays out,
/// as one that the client library can't hand out.
pub fn headers(lines: &[u8]) -> Vec<Option<Header<'_>>> {
    lines.split(|&byte| byte == b'\n').map(header).collect()
}

fn header(line: &[u8]) -> Option<Header<'_>> {
    let colon = line.iter().position(|&byte| byte == b':');
    let name = std::str::from_utf8(&line[..colon.unwrap_or(line.len())]).ok()?;
    Some(Header { name, value: colon.map(|at| &line[at + 1..]) })
}

/// Returns a JWT of this head and these claims, whatever they are, with a good signature.
pub fn signed(head: &[u8], claims: &[u8], secret: &str) -> String {
    let words = format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), words.as_bytes());
    format!("{words}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Tells whether something wrong is named, with a sentence for each field, and no field that was not read.
pub fn are_named(errors: &FieldErrors, fields: &[&str]) -> bool {
    let is_told = |(field, sentences): (&str, &[String])| {
        fields.contains(&field)
            && !sentences.is_empty()
            && sentences.iter().all(|sentence| is_sentence(sentence))
    };
    !errors.is_empty() && errors.iter().all(is_told)
}

/// Tells whether a rejection is fit for a log line, a terminal and a table, and no mistake of ours.
pub fn is_printable(rejection: &Rejection) -> bool {
    let detail = rejection.detail();
    rejection.reason() != Reason::Panicked
        && !detail.is_empty()
        && detail.len() <= Rejection::MAX_DETAIL_BYTES
        && !detail.contains(char::is_control)
}

/// Tells whether a text ends as a sentence does.
pub fn is_sentence(text: &str) -> bool {
    text.len() > 1 && text.ends_with('.')
}

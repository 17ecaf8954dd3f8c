use super::message;
use crate::message::Message;
use crate::message::record::{decode, encode};
use crate::record::spoiling::encoded;
use crate::record::{Reason, Rejection};

const GOLDEN: &str =
    r#"{"ns-message":{"subject":"Hello","body":"World","reference_url":null,"is_active":true}}"#;

#[test]
fn a_message_is_encoded_to_these_very_bytes() {
    let full =
        Message::new("\u{1F4C4} \"\\/\n", "\u{1f}\u{7f}é", Some("HTTPS://example.com/?a=\"b\""), false);
    for (message, bytes) in [
        (message("Hello", "World"), GOLDEN),
        (
            full.expect("a valid message"),
            concat!(
                "{\"ns-message\":{\"subject\":\"\u{1F4C4} \\\"\\\\/\\n\",\"body\":\"\\u001f\u{7f}é\",",
                "\"reference_url\":\"HTTPS://example.com/?a=\\\"b\\\"\",\"is_active\":false}}"
            ),
        ),
    ] {
        assert_eq!(String::from_utf8_lossy(&encode(&message)), bytes);
        assert_eq!(decode(Some(bytes.as_bytes())), Ok(message));
    }
}

#[test]
fn these_values_are_understood() {
    let golden = message("Hello", "World");
    let (bom, once) = ('\u{feff}', encoded(GOLDEN));
    // What Python's json.dumps writes of {"ns-message": {"subject": "é\u{1F4C4}", …}}, and of its result.
    let dumped = r#"{"ns-message": {"subject": "\u00e9\ud83d\udcc4", "body": "a\"b", "reference_url": null, "is_active": true}}"#;
    let dumped_twice = r#""{\"ns-message\": {\"subject\": \"\\u00e9\\ud83d\\udcc4\", \"body\": \"a\\\"b\", \"reference_url\": null, \"is_active\": true}}""#;
    let from_python = message("é\u{1F4C4}", "a\"b");
    for (value, expected, why) in [
        (GOLDEN, &golden, "what this service writes"),
        (&once, &golden, "encoded twice"),
        (&format!("{bom}{GOLDEN}"), &golden, "a byte order mark"),
        (&format!("{bom}{once}"), &golden, "a byte order mark, encoded twice"),
        (&encoded(&format!("{bom}\n{GOLDEN} ")), &golden, "a byte order mark inside the string"),
        (dumped, &from_python, "as Python's json.dumps writes it"),
        (dumped_twice, &from_python, "the same, twice"),
        (r#"{"ns-message":{"body":"World","subject":"Hello"}}"#, &golden, "in another order"),
    ] {
        assert_eq!(decode(Some(value.as_bytes())).as_ref(), Ok(expected), "{why}: {value}");
    }
}

#[test]
fn what_is_no_message_is_refused_with_a_reason() {
    let member = |member: &str| format!(r#"{{"ns-message":{{{member}}}}}"#);
    let and = |rest: &str| member(&format!(r#""subject":"s","body":"b",{rest}"#));
    let url = |url: &str| and(&format!(r#""reference_url":"{url}""#));
    for (value, reason, why) in [
        (String::new(), Reason::Empty, "no bytes"),
        (GOLDEN[..40].to_owned(), Reason::NotJson, "cut"),
        (GOLDEN.repeat(2), Reason::NotJson, "two in one record"),
        ("[".repeat(10_000), Reason::NotJson, "10,000 nested arrays"),
        (member("\"subject\":"), Reason::NotJson, "a member without a value"),
        (format!("[{GOLDEN}]"), Reason::NotAnObject, "an array"),
        (encoded(&encoded(&encoded(GOLDEN))), Reason::EncodedTooOften, "three encodings"),
        (r#"{"subject":"s","body":"b"}"#.to_owned(), Reason::NoMessage, "without its envelope"),
        (r#"{"ns-message":null}"#.to_owned(), Reason::NoMessage, "null"),
        (r#"{"ns-message":"{}"}"#.to_owned(), Reason::NoMessage, "no object"),
        (r#"{"ns-message":{},"ns-message":{}}"#.to_owned(), Reason::RepeatedMember, "two envelopes"),
        (and(r#""body":"b""#), Reason::RepeatedMember, "two bodies"),
        (member(r#""body":"b""#), Reason::InvalidSubject, "no subject"),
        (member(r#""subject":"\ud800","body":"b""#), Reason::InvalidSubject, "half a surrogate pair"),
        (member(r#""subject":"s""#), Reason::InvalidBody, "no body"),
        (member(r#""subject":"s","body":"a\u0000""#), Reason::InvalidBody, "a NUL"),
        (url("javascript:alert(1)"), Reason::InvalidReferenceUrl, "no web address"),
        (and(r#""is_active":"yes""#), Reason::InvalidIsActive, "no boolean"),
    ] {
        assert_refused(Some(value.as_bytes()), reason, why);
    }
    assert_refused(Some(b"\xff\xfe{}"), Reason::NotUtf8, "invalid UTF-8");
    assert_refused(None, Reason::NoValue, "a tombstone");
}

fn assert_refused(value: Option<&[u8]>, reason: Reason, why: &str) {
    let rejection: Rejection = decode(value).expect_err(why);
    assert_eq!(rejection.reason(), reason, "{why}: {rejection}");
    assert!(rejection.detail().ends_with('.'), "{why}: a detail is a sentence: {rejection}");
}

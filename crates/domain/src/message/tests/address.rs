use uuid::Uuid;

use crate::message::{key_text, recipient_of_key, recipient_of_topic, topic_of};
use crate::record::Reason;

const UUID: &str = "018f3b1c-7c5e-7abc-8def-0123456789ab";

#[test]
fn a_user_s_topic_is_the_uuid_in_one_form_only() {
    let user = Uuid::try_parse(UUID).expect("a uuid");
    assert_eq!(topic_of(user), UUID);
    assert_eq!(recipient_of_topic(UUID), Some(user));
    for other in [
        "018F3B1C-7C5E-7ABC-8DEF-0123456789AB",
        "018f3b1c7c5e7abc8def0123456789ab",
        "{018f3b1c-7c5e-7abc-8def-0123456789ab}",
        "urn:uuid:018f3b1c-7c5e-7abc-8def-0123456789ab",
        " 018f3b1c-7c5e-7abc-8def-0123456789ab",
        "018f3b1c-7c5e-7abc-8def-0123456789ag",
        "topic_data_created",
        "",
    ] {
        assert_eq!(recipient_of_topic(other), None, "{other}");
    }
}

#[test]
fn the_key_of_a_shared_topic_is_a_uuid_in_any_form() {
    let user = Uuid::try_parse(UUID).expect("a uuid");
    for key in [UUID, "018F3B1C7C5E7ABC8DEF0123456789AB", &format!("{{{UUID}}}")] {
        assert_eq!(recipient_of_key(Some(key)), Ok(user), "{key}");
    }
    let quoted = key_text(Some(format!("\"{UUID}\"").as_bytes()));
    assert_eq!(recipient_of_key(quoted.as_deref()), Ok(user), "a JSON string");
    for (key, why) in
        [(None, "no key"), (Some(""), "an empty one"), (Some("me"), "a name"), (Some("\\xff"), "bytes")]
    {
        let rejection = recipient_of_key(key).expect_err(why);
        assert_eq!(rejection.reason(), Reason::InvalidKey, "{why}");
        assert!(rejection.detail().ends_with('.'), "{why}: a detail is a sentence: {rejection}");
    }
}

#[test]
fn a_key_is_stored_as_text() {
    for (key, text, why) in [
        (b"user-1".as_slice(), "user-1", "a text"),
        (b"", "", "an empty one"),
        (b" a ", " a ", "nothing is trimmed"),
        (b"\"user-1\"", "user-1", "a JSON string"),
        (br#""\u00e9\n""#, "é\n", "its escapes"),
        (br#""\"a\"""#, "\"a\"", "one layer only"),
        (b"\"", "\"", "a quote alone"),
        (b"\"a\" \"b\"", "\"a\" \"b\"", "two JSON strings"),
        (br#""\ud800""#, r#""\ud800""#, "half a surrogate pair stays as it was written"),
        (b"\xff\x00\xab", r"\xff00ab", "bytes that are no text"),
        (b"a\0", r"\x6100", "a NUL"),
        (br#""\u0000""#, r"\x225c753030303022", "a NUL in a JSON string"),
    ] {
        assert_eq!(key_text(Some(key)).as_deref(), Some(text), "{why}");
    }
    assert_eq!(key_text(None), None);
}

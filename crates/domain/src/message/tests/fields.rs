use super::message;
use crate::fields::{FieldErrors, MalformedJson};
use crate::message::{Message, MessageFields};

fn parse(body: &str) -> Result<Message, FieldErrors> {
    MessageFields::from_json(body.as_bytes()).expect("JSON").parse()
}

/// Returns the message with one member more, or its errors as one line.
fn with(member: &str) -> Result<Message, String> {
    parse(&format!(r#"{{"ns-message":{{"subject":"s","body":"b",{member}}}}}"#))
        .map_err(|errors| errors.to_string())
}

#[test]
fn what_may_be_left_out_has_a_default_and_other_members_mean_nothing() {
    for body in [
        r#"{"ns-message":{"subject":"s","body":"b"}}"#,
        r#"{"ns-message":{"subject":"s","body":"b","reference_url":null,"is_active":null}}"#,
        r#"{"ns-message":{"subject":"s","body":"b","reference_url":"","is_active":true}}"#,
        r#"{"x":[{}],"ns-message":{"id":7,"subject":"s","body":"b","created_by":["me"]},"y":null}"#,
        "\u{feff} {\"ns-message\": {\"subject\": \"s\", \"body\": \"b\"}} ",
    ] {
        assert_eq!(parse(body), Ok(message("s", "b")), "{body}");
    }
    assert_eq!(with(r#""is_active":false"#), Ok(Message::new("s", "b", None, false).expect("valid")));
}

#[test]
fn a_subject_has_1_to_255_characters_and_everything_is_kept_as_it_comes() {
    let longest = "\u{1F4C4}".repeat(255);
    for (subject, body) in [(" a ", "\n b\t"), (&longest, "x"), ("\u{1b}[2J", &"y".repeat(100_000))] {
        let message = message(subject, body);
        assert_eq!((message.subject(), message.body()), (subject, body));
    }
    let too_long = Message::new(&"x".repeat(256), "b", None, true).expect_err("256 characters");
    assert_eq!(too_long.to_string(), "subject: Ensure this field has no more than 255 characters.");
}

#[test]
fn every_wrong_field_is_named_with_a_sentence() {
    for (members, expected) in [
        ("", "subject: This field is required.; body: This field is required."),
        (
            r#""subject":null,"body":null"#,
            "subject: This field may not be null.; body: This field may not be null.",
        ),
        (
            r#""subject":"","body":" \u00a0\n""#,
            "subject: This field may not be blank.; body: This field may not be blank.",
        ),
        (
            r#""subject":"a\u0000","body":"\u0000""#,
            "subject: Null characters are not allowed.; body: Null characters are not allowed.",
        ),
        (r#""subject":"\ud800","body":7"#, "subject: Not a valid string.; body: Not a valid string."),
        (
            r#""subject":"s","body":["b"],"reference_url":7,"is_active":"true""#,
            "body: Not a valid string.; reference_url: Not a valid string.; is_active: Must be a valid boolean.",
        ),
    ] {
        let errors = parse(&format!(r#"{{"ns-message":{{{members}}}}}"#)).expect_err(members);
        assert_eq!(errors.to_string(), expected, "{members}");
    }
    for not_a_boolean in ["1", "0", r#""""#, "[]", "{}"] {
        let errors = with(&format!(r#""is_active":{not_a_boolean}"#)).expect_err(not_a_boolean);
        assert_eq!(errors, "is_active: Must be a valid boolean.", "{not_a_boolean}");
    }
}

#[test]
fn without_an_object_ns_message_is_what_is_wrong() {
    for (body, sentence) in [
        ("{}", "This field is required."),
        (r#"{"ns_message":{}}"#, "This field is required."),
        (r#"{"ns-message":null}"#, "This field may not be null."),
        (r#"{"ns-message":"{}"}"#, "A JSON object is required."),
        (r#"{"ns-message":[{}]}"#, "A JSON object is required."),
        (r#"{"ns-message":true}"#, "A JSON object is required."),
    ] {
        assert_eq!(parse(body), Err(FieldErrors::of("ns-message", sentence)), "{body}");
    }
}

#[test]
fn a_repeated_member_is_refused_by_name() {
    for (body, field) in [
        (r#"{"ns-message":{},"ns-message":{}}"#, "ns-message"),
        (r#"{"ns-message":{"subject":"a","subject":"a"}}"#, "subject"),
        (r#"{"ns-message":{"body":"a","b\u006fdy":null}}"#, "body"),
        (r#"{"ns-message":{"is_active":true,"is_active":true}}"#, "is_active"),
    ] {
        match MessageFields::from_json(body.as_bytes()) {
            Err(MalformedJson::Repeated(repeated)) => assert_eq!(repeated.field(), field),
            other => panic!("{body}: {other:?}"),
        }
    }
    let unknown = r#"{"x":1,"x":2,"ns-message":{"subject":"s","body":"b","y":1,"y":2}}"#;
    assert_eq!(parse(unknown), Ok(message("s", "b")), "of no consequence");
}

#[test]
fn a_web_address_is_kept_as_it_comes() {
    let longest = format!("https://example.com/{}", "é".repeat(1_980));
    for url in [
        "http://example.com",
        "HTTPS://Example.COM:8443/a%20b?x=1#y",
        "hTTp://127.0.0.1/",
        "https://[2001:db8::1]:443/",
        "https://пример.рф/путь",
        "https://example.com/a@b?c=d@e",
        "https://example.com?q",
        &longest,
    ] {
        let message = Message::new("s", "b", Some(url), true).expect(url);
        assert_eq!(message.reference_url(), Some(url));
    }
}

// Break: leave one condition out of `is_web_address` in message/mod.rs.
#[test]
fn what_readers_could_take_for_different_addresses_is_refused() {
    let too_long = format!("https://example.com/{}", "x".repeat(1_981));
    for (url, why) in [
        (" ", "blank"),
        ("example.com", "no scheme"),
        ("//example.com", "no scheme"),
        ("/a", "relative"),
        ("ftp://example.com", "another scheme"),
        ("javascript:alert(1)", "another scheme"),
        ("javascript://example.com/%0aalert(1)", "another scheme"),
        ("data:text/html,x", "another scheme"),
        (" http://example.com", "white space in front"),
        ("http://example.com ", "white space behind"),
        ("http:example.com", "no slashes"),
        ("http:/example.com", "one slash"),
        ("http:///example.com", "three slashes"),
        ("http://", "no host"),
        ("http://?q", "no host"),
        ("http://:80", "no host"),
        ("http://user@example.com", "a user"),
        ("http://user:password@example.com", "a password"),
        ("http://@example.com", "an empty user"),
        ("http://:@example.com", "an empty user and password"),
        ("http://example.com\\@evil.example", "a backslash"),
        ("http:\\\\example.com", "backslashes"),
        ("http://exa\nmple.com", "a line break"),
        ("http://example.com/\ta", "a tab"),
        ("http://example.com/\u{85}", "a C1 control"),
        ("http://example.com/a b", "a space"),
        ("http://example.com/\u{a0}", "a wide space"),
        ("http://example.com/\0", "a NUL"),
        ("http://exa mple.com", "a space in the host"),
        ("http://example.com:99999", "no such port"),
        ("http://[::1", "half a bracket"),
        ("http://256.256.256.256", "no such address"),
        (&too_long, "2,001 characters"),
    ] {
        let errors = Message::new("s", "b", Some(url), true).expect_err(why);
        assert_eq!(
            errors.iter().map(|(field, _)| field).collect::<Vec<_>>(),
            ["reference_url"],
            "{why}: {url}"
        );
    }
}

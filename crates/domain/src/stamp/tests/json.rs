use crate::stamp::{MalformedJson, StampFields};

#[test]
fn json_that_is_not_one_object_is_refused_as_a_whole() {
    let nested = "[".repeat(10_000);
    let nested_member = format!(r#"{{"x":{nested}"#);
    let balanced = format!("{nested}{}", "]".repeat(10_000));
    for (json, expected, why) in [
        (b"".as_slice(), "malformed", "nothing"),
        (b"{", "malformed", "cut"),
        (br#"{"object_cid":"a","#, "malformed", "cut after a member"),
        (br#"{"object_cid":"a"}}"#, "malformed", "trailing garbage"),
        (br#"{"object_cid":"a"}{}"#, "malformed", "two objects"),
        (br"{'object_cid':'a'}", "malformed", "not JSON's quotes"),
        (b"{\"object_cid\":\"a\x01\"}", "malformed", "a bare control character"),
        (br#"{"object_cid":NaN}"#, "malformed", "not a number of JSON's"),
        (br#"{"object_cid":01}"#, "malformed", "a leading zero"),
        (nested.as_bytes(), "malformed", "10,000 arrays, none closed"),
        (nested_member.as_bytes(), "malformed", "10,000 arrays inside a member"),
        (balanced.as_bytes(), "object is required", "10,000 arrays, all closed"),
        (b"[]", "object is required", "an array"),
        (b"null", "object is required", "null"),
        (br#""{}""#, "object is required", "a string"),
        (b"{\"object_cid\":\"\xff\"}", "not UTF-8", "bytes that are no text"),
        (
            br#"{"object_cid":"a","object_cid":"a"}"#,
            "object_cid is given more than once",
            "a repeated member",
        ),
        (br#"{"created_date":null,"created_date":null}"#, "more than once", "a repeated null"),
        (br#"{"object_cid":1,"object\u005fcid":2}"#, "more than once", "a repetition in disguise"),
    ] {
        let error = StampFields::from_json(json).expect_err(why).to_string();
        assert!(error.contains(expected), "{why}: {error}");
    }
}

#[test]
fn deep_nesting_in_an_ignored_member_is_skipped() {
    let nested = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let json = format!(r#"{{"x":{nested},"object_cid":"a","time_tolerance":1}}"#);
    assert!(StampFields::from_json(json.as_bytes()).is_ok());
}

#[test]
fn a_bad_item_of_an_array_spoils_itself_only() {
    let body = br#"[{"object_cid":"a"}, 1, {"object_cid":1,"object_cid":2}, [], {"object_cid":"b"}]"#;
    let items = StampFields::from_json_array(body, 5).expect("an array");
    assert_eq!(items.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, false, true]);
    assert!(matches!(StampFields::from_json_array(body, 4), Err(MalformedJson::TooManyItems { max: 4 })));
    assert!(matches!(StampFields::from_json_array(b"[]", 0), Ok(items) if items.is_empty()));
    assert!(matches!(StampFields::from_json_array(b"{}", 5), Err(MalformedJson::NotAnArray)));
    assert!(matches!(StampFields::from_json_array(b"[1,", 5), Err(MalformedJson::Syntax(_))));
    assert!(matches!(StampFields::from_json_array(b"[1]]", 5), Err(MalformedJson::Syntax(_))));
}

#[test]
fn an_array_of_too_many_items_is_not_kept_however_many_there_are() {
    // A bad item costs more memory than the two bytes that it is written with.
    let many = format!("[{}0]", "0,".repeat(4_000_000));
    let refused = StampFields::from_json_array(many.as_bytes(), 10_000);
    assert!(matches!(refused, Err(MalformedJson::TooManyItems { max: 10_000 })), "{:?}", refused.map(drop));
    // What comes behind them is read all the same: a cut body is a cut body.
    let cut = StampFields::from_json_array(&many.as_bytes()[..many.len() - 1], 10_000);
    assert!(matches!(cut, Err(MalformedJson::Syntax(_))), "{:?}", cut.map(drop));
}

#[test]
fn a_bad_line_spoils_itself_only_and_empty_ones_are_none() {
    let body = b"\xef\xbb\xbf\n{\"object_cid\":\"a\"}\r\n\n \t\r\n{\n\xff\n{\"object_cid\":\"b\"}{}\n[]\n{\"object_cid\":\"c\"}";
    let items = StampFields::from_json_lines(body, 6).expect("lines");
    assert_eq!(items.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, false, false, true]);
    assert!(matches!(StampFields::from_json_lines(body, 5), Err(MalformedJson::TooManyItems { max: 5 })));
    for nothing in ["", "\n", "\r\n\r\n"] {
        assert!(StampFields::from_json_lines(nothing.as_bytes(), 0).is_ok_and(|items| items.is_empty()));
    }
}

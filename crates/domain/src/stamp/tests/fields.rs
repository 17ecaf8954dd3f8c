use std::borrow::Cow;

use chrono::{DateTime, TimeDelta, Utc};

use super::{cid, minutes};
use crate::stamp::{FieldErrors, IntakeLimits, Stamp, StampFields};

const DEFAULT_DATE: DateTime<Utc> = DateTime::from_timestamp_nanos(1_700_000_000_000_000_000);

/// Returns the stamp of a JSON object, or what is wrong with it as one line.
fn from_json(json: &str) -> Result<Stamp, String> {
    let fields = StampFields::from_json(json.as_bytes()).map_err(|error| error.to_string())?;
    fields.parse(Some(DEFAULT_DATE)).map_err(|errors| errors.to_string())
}

/// Returns the stamp of a form body, or what is wrong with it as one line.
fn from_form(pairs: &[(&'static str, &'static str)]) -> Result<Stamp, String> {
    let pairs = pairs.iter().map(|&(name, text)| (Cow::Borrowed(name), Cow::Borrowed(text)));
    let fields = StampFields::from_text_pairs(pairs).map_err(|error| error.to_string())?;
    fields.parse(Some(DEFAULT_DATE)).map_err(|errors| errors.to_string())
}

#[test]
fn the_value_forms_of_json_are_accepted() {
    for (json, cid, tolerance, why) in [
        (r#"{"object_cid":"a","time_tolerance":10}"#, "a", 10, "the plain form"),
        (r#"{"object_cid":"a","time_tolerance":"10"}"#, "a", 10, "a tolerance as text"),
        (r#"{"object_cid":"a","time_tolerance":10.0}"#, "a", 10, "a tolerance with a fraction of zero"),
        (r#"{"object_cid":"a","time_tolerance":"10.0"}"#, "a", 10, "the same as text"),
        (r#"{"object_cid":"a","time_tolerance":"\u0031"}"#, "a", 1, "an escaped digit"),
        (r#"{"object_cid":1.0,"time_tolerance":1}"#, "1.0", 1, "a number as written"),
        (r#"{"object_cid":1e5,"time_tolerance":1}"#, "1e5", 1, "a number with an exponent"),
        (r#"{"object_cid":-0,"time_tolerance":1}"#, "-0", 1, "minus zero"),
        (
            r#"{"object_cid":123456789012345678901234567890,"time_tolerance":1}"#,
            "123456789012345678901234567890",
            1,
            "a number that no machine integer holds",
        ),
        (r#"{"object_cid":"\u00e9\ud83d\udcc4\/","time_tolerance":1}"#, "é\u{1F4C4}/", 1, "escapes"),
        (r#"{"object\u005fcid":"a","time_tolerance":1}"#, "a", 1, "an escaped name"),
        (r#"{"object_cid":"a","time_tolerance":1,"created_date":null}"#, "a", 1, "null is absent"),
        (
            r#"{"object_cid":"a","x":{"object_cid":"b"},"x":1e999,"time_tolerance":1}"#,
            "a",
            1,
            "other members",
        ),
        (r#"{"object_cid":"a","x":"\ud800","time_tolerance":1}"#, "a", 1, "half a pair where nobody looks"),
        (
            "\u{feff} {\"object_cid\" : \"a\", \"time_tolerance\" : 1 } \n",
            "a",
            1,
            "byte order mark, white space",
        ),
    ] {
        let expected = Stamp::new(self::cid(cid), minutes(tolerance), DEFAULT_DATE).expect("in range");
        assert_eq!(from_json(json), Ok(expected), "{why}");
    }
}

#[test]
fn every_wrong_field_is_named_with_its_sentence() {
    const DATE_FORMS: &str = "created_date: Datetime has wrong format. Use RFC 3339 or extended ISO 8601: \
                              YYYY-MM-DD[Thh:mm[:ss[.ffffff]][Z|+hh:mm|-hh:mm]].";
    let rest = r#","time_tolerance":1}"#;
    for (json, expected) in [
        ("{}".to_owned(), "object_cid: This field is required.; time_tolerance: This field is required."),
        (
            r#"{"object_cid":null,"time_tolerance":null}"#.to_owned(),
            "object_cid: This field may not be null.; time_tolerance: This field may not be null.",
        ),
        (format!(r#"{{"object_cid":""{rest}"#), "object_cid: This field may not be blank."),
        (
            format!(r#"{{"object_cid":"{}"{rest}"#, "é".repeat(256)),
            "object_cid: Ensure this field has no more than 255 characters.",
        ),
        (
            format!(r#"{{"object_cid":{}{rest}"#, "1".repeat(256)),
            "object_cid: Ensure this field has no more than 255 characters.",
        ),
        (format!(r#"{{"object_cid":"\u0000"{rest}"#), "object_cid: Null characters are not allowed."),
        (format!(r#"{{"object_cid":true{rest}"#), "object_cid: Not a valid string."),
        (format!(r#"{{"object_cid":["a"]{rest}"#), "object_cid: Not a valid string."),
        (format!(r#"{{"object_cid":{{}}{rest}"#), "object_cid: Not a valid string."),
        (format!(r#"{{"object_cid":"\ud800"{rest}"#), "object_cid: Not a valid string."),
        (format!(r#"{{"object_cid":"\udc00\ud800"{rest}"#), "object_cid: Not a valid string."),
        (
            r#"{"object_cid":"a","time_tolerance":true}"#.to_owned(),
            "time_tolerance: A valid integer is required.",
        ),
        (
            r#"{"object_cid":"a","time_tolerance":""}"#.to_owned(),
            "time_tolerance: A valid integer is required.",
        ),
        (
            r#"{"object_cid":"a","time_tolerance":1e999}"#.to_owned(),
            "time_tolerance: A valid integer is required.",
        ),
        (
            r#"{"object_cid":"a","time_tolerance":-1}"#.to_owned(),
            "time_tolerance: Ensure this value is greater than or equal to 0.",
        ),
        (
            r#"{"object_cid":"a","time_tolerance":2147483648}"#.to_owned(),
            "time_tolerance: Ensure this value is less than or equal to 2147483647.",
        ),
        (format!(r#"{{"object_cid":"a","created_date":""{rest}"#), DATE_FORMS),
        (format!(r#"{{"object_cid":"a","created_date":1767225600{rest}"#), DATE_FORMS),
        (format!(r#"{{"object_cid":"a","created_date":[]{rest}"#), DATE_FORMS),
        (
            format!(r#"{{"object_cid":"a","created_date":"2026-02-30"{rest}"#),
            "created_date: There is no such date or time of day.",
        ),
        (
            format!(r#"{{"object_cid":"a","created_date":"9999-12-31T23:59:59Z"{rest}"#),
            "created_date: Ensure this date, and this date plus the time tolerance, lie in the years 0001 to 9999.",
        ),
    ] {
        assert_eq!(from_json(&json), Err(expected.to_owned()), "{json}");
    }
    let all_wrong =
        from_json(r#"{"created_date":1,"time_tolerance":5.5,"object_cid":false}"#).expect_err("wrong");
    let order = ["object_cid:", "time_tolerance:", "created_date:"].map(|field| all_wrong.find(field));
    assert!(order.is_sorted() && order[0] == Some(0), "all three, in order: {all_wrong}");
}

#[test]
fn without_a_default_the_created_date_is_required() {
    for json in [
        r#"{"object_cid":"a","time_tolerance":1}"#,
        r#"{"object_cid":"a","time_tolerance":1,"created_date":null}"#,
    ] {
        let fields = StampFields::from_json(json.as_bytes()).expect("an object");
        assert_eq!(
            fields.parse(None),
            Err(FieldErrors::of("created_date", "This field is required.")),
            "{json}"
        );
    }
}

#[test]
fn a_form_is_read_like_json_with_an_empty_date_as_an_absent_one() {
    let expected = Stamp::new(cid(" a"), minutes(10), DEFAULT_DATE).expect("in range");
    let form = [
        ("object_cid", " a"),
        ("other", "1"),
        ("other", "2"),
        ("time_tolerance", "10"),
        ("created_date", ""),
    ];
    assert_eq!(from_form(&form), Ok(expected));
    assert_eq!(
        from_form(&[("object_cid", "a"), ("time_tolerance", "")]),
        Err("time_tolerance: A valid integer is required.".to_owned())
    );
    assert_eq!(
        from_form(&[("created_date", ""), ("created_date", "2026-01-01")]),
        Err("The field created_date is given more than once.".to_owned())
    );
}

#[test]
fn the_intake_limits_bound_the_tolerance_and_the_clock_of_the_client() {
    let limits = IntakeLimits { max_tolerance: minutes(60), now: DEFAULT_DATE };
    let stamp =
        |tolerance, ahead| Stamp::new(cid("a"), minutes(tolerance), DEFAULT_DATE + ahead).expect("in range");
    assert_eq!(limits.check(&stamp(60, TimeDelta::minutes(5))), Ok(()));
    assert_eq!(limits.check(&stamp(0, TimeDelta::days(-700_000))), Ok(()));
    let errors = limits.check(&stamp(61, TimeDelta::milliseconds(300_001))).expect_err("both are wrong");
    assert_eq!(
        errors.to_string(),
        "time_tolerance: Ensure this value is less than or equal to 60.; \
         created_date: Ensure this date is no more than 5 minutes in the future."
    );
}

#[test]
fn field_errors_serialize_as_lists_by_field() {
    let mut errors = FieldErrors::of("time_tolerance", "One.");
    errors.push("object_cid", "Two.");
    errors.push("time_tolerance", "Three.");
    assert_eq!(
        serde_json::to_string(&errors).expect("plain text"),
        r#"{"time_tolerance":["One.","Three."],"object_cid":["Two."]}"#
    );
    assert_eq!(errors.to_string(), "time_tolerance: One. Three.; object_cid: Two.");
}

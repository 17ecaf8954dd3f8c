mod properties;

use chrono::{DateTime, TimeDelta, Utc};

use crate::record::spoiling::encoded;
use crate::record::{Reason, Rejection};
use crate::stamp::event::{MAX_AHEAD, decode, encode};
use crate::stamp::{ObjectCid, Stamp, TimeTolerance, parse_date};

const GOLDEN: &str =
    r#"{"object_cid":"bafy-1","time_tolerance":10,"created_date":"2026-01-01T00:00:00.000000Z"}"#;

fn stamp(cid: &str, minutes: i32, created_date: &str) -> Stamp {
    Stamp::new(
        ObjectCid::parse(cid).expect("a valid identifier"),
        TimeTolerance::from_minutes(minutes).expect("a valid tolerance"),
        date(created_date),
    )
    .expect("in range")
}

fn date(text: &str) -> DateTime<Utc> {
    parse_date(text).expect("a valid date")
}

fn now() -> DateTime<Utc> {
    date("2026-01-01T12:00:00Z")
}

fn record_timestamp() -> DateTime<Utc> {
    date("2026-01-01T11:00:00.123Z")
}

fn decode_bytes(value: impl AsRef<[u8]>) -> Result<Stamp, Rejection> {
    decode(Some(value.as_ref()), Some(record_timestamp()), now())
}

#[test]
fn a_stamp_is_encoded_to_these_very_bytes() {
    for (stamp, bytes) in [
        (stamp("bafy-1", 10, "2026-01-01"), GOLDEN),
        (
            stamp("\u{1F4C4} \"\\/\n\u{1f}\u{7f}\u{2028}", 0, "1969-12-31T23:59:59.123456+02:00"),
            concat!(
                "{\"object_cid\":\"\u{1F4C4} \\\"\\\\/\\n\\u001f\u{7f}\u{2028}\",\"time_tolerance\":0,",
                "\"created_date\":\"1969-12-31T21:59:59.123456Z\"}"
            ),
        ),
        (
            stamp("{}", i32::MAX, "0001-01-01T00:00:00.9999999Z"),
            r#"{"object_cid":"{}","time_tolerance":2147483647,"created_date":"0001-01-01T00:00:00.999999Z"}"#,
        ),
    ] {
        assert_eq!(String::from_utf8_lossy(&encode(&stamp)), bytes);
    }
}

#[test]
fn these_values_are_understood() {
    let golden = stamp("bafy-1", 10, "2026-01-01");
    let by_record = stamp("a", 10, "2026-01-01T11:00:00.123Z");
    let of_255 = "\u{1F4C4}".repeat(255);
    let nested = format!(
        r#"{{"x":{}{},"object_cid":"a","time_tolerance":10}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    let bom = '\u{feff}';
    let dated = |date: &str| format!(r#"{{"object_cid":"a","time_tolerance":10,"created_date":"{date}"}}"#);
    for (value, expected, why) in [
        (GOLDEN.to_owned(), golden.clone(), "what this service writes"),
        (encoded(GOLDEN), golden.clone(), "encoded twice, as the Django demo sends it"),
        (format!("{bom}{GOLDEN}"), golden.clone(), "23: a byte order mark"),
        (format!("{bom}{}", encoded(GOLDEN)), golden.clone(), "23: a byte order mark, encoded twice"),
        (encoded(&format!("{bom}{GOLDEN}")), golden.clone(), "23: a byte order mark inside the string"),
        (format!(" \r\n{} \t", encoded(&format!("\n{GOLDEN} "))), golden, "white space around both layers"),
        (r#"{"object_cid":"a","time_tolerance":10}"#.to_owned(), by_record.clone(), "the record's timestamp"),
        (
            r#"{"object_cid":"a","time_tolerance":"10","created_date":null}"#.to_owned(),
            by_record.clone(),
            "13: a tolerance as text; a null date",
        ),
        (
            r#"{"version":99,"schema":{"id":"x"},"object_cid":"a","time_tolerance":10}"#.to_owned(),
            by_record.clone(),
            "18: there are no versions, other members mean nothing",
        ),
        (nested, by_record, "17: 10,000 nested arrays in a member that means nothing"),
        (
            format!(r#"{{"object_cid":"{of_255}","time_tolerance":0,"created_date":"2026-01-01"}}"#),
            stamp(&of_255, 0, "2026-01-01"),
            "8: 255 characters of four bytes",
        ),
        (dated("2026-01-01T10:30"), stamp("a", 10, "2026-01-01T10:30:00Z"), "14: no zone is UTC"),
        (dated("2026-01-01T24:00"), stamp("a", 10, "2026-01-02"), "14: the midnight after"),
        (dated("2016-12-31T23:59:60Z"), stamp("a", 10, "2017-01-01"), "14: a leap second"),
        (dated("0001-01-01T00:00:00Z"), stamp("a", 10, "0001-01-01"), "15: the far past is only overdue"),
    ] {
        assert_eq!(decode_bytes(&value), Ok(expected), "{why}: {value:.200}");
    }
}

#[test]
fn what_is_no_json_is_refused() {
    for (value, reason, why) in [
        (b"".as_slice(), Reason::Empty, "1: no bytes"),
        (b" \n\t", Reason::Empty, "1: only white space"),
        (b"\xef\xbb\xbf", Reason::Empty, "1: only a byte order mark"),
        (b"\xff\xfe{}", Reason::NotUtf8, "3: invalid UTF-8"),
        (b"{\"object_cid\":\"\xe9\"}", Reason::NotUtf8, "3: Latin-1"),
        (b"{\"x\":\"\xe9\"}", Reason::NotUtf8, "3: even where nobody looks"),
        (&GOLDEN.as_bytes()[..40], Reason::NotJson, "4: cut"),
        (&encoded(GOLDEN).as_bytes()[..40], Reason::NotJson, "4: cut, encoded twice"),
        (encoded(&GOLDEN[..40]).as_bytes(), Reason::NotJson, "4: cut before the second encoding"),
        (GOLDEN.repeat(2).as_bytes(), Reason::NotJson, "4: two events in one record"),
        (b"hello", Reason::NotJson, "4: no JSON at all"),
        ("[".repeat(10_000).as_bytes(), Reason::NotJson, "17: 10,000 nested arrays"),
        (r#"{"x":"#.repeat(10_000).as_bytes(), Reason::NotJson, "17: 10,000 nested objects"),
    ] {
        assert_refused(value, reason, why);
    }
}

#[test]
fn json_that_is_no_object_is_refused() {
    let once = encoded(GOLDEN);
    for (value, reason, why) in [
        ("42", Reason::NotAnObject, "5: a number"),
        ("null", Reason::NotAnObject, "5: null"),
        ("true", Reason::NotAnObject, "5: true"),
        (&format!("[{GOLDEN}]"), Reason::NotAnObject, "5: an array"),
        (r#""hello""#, Reason::NotAnObject, "5: a string that holds no object"),
        (r#""""#, Reason::NotAnObject, "5: an empty string"),
        (r#""\"""#, Reason::NotAnObject, "5: a string that holds half a string"),
        (&encoded("[1]"), Reason::NotAnObject, "5: an array, encoded twice"),
        (&encoded(&"[".repeat(10_000)), Reason::NotAnObject, "17: 10,000 nested arrays, encoded twice"),
        (&encoded(&once), Reason::EncodedTooOften, "three encodings"),
        (&encoded(&encoded(&once)), Reason::EncodedTooOften, "four encodings"),
    ] {
        assert_refused(value, reason, why);
    }
}

#[test]
fn a_wrong_object_cid_is_refused() {
    let of_256 = encoded(&"x".repeat(256));
    for (cid, why) in [
        ("null", "6: a null"),
        (r#""""#, "7: empty"),
        (r#"" \u00a0""#, "7: blank"),
        (&of_256, "8: 256 characters"),
        (r#""a\u0000""#, "9: a NUL"),
        (r#""\ud800""#, "10: half a surrogate pair"),
        ("true", "a boolean"),
        (r#"["a"]"#, "an array"),
    ] {
        let value = format!(r#"{{"object_cid":{cid},"time_tolerance":10}}"#);
        assert_refused(encoded(&value), Reason::InvalidObjectCid, why);
        assert_refused(value, Reason::InvalidObjectCid, why);
    }
    assert_refused(r#"{"time_tolerance":10}"#, Reason::InvalidObjectCid, "6: missing");
    assert_refused(
        r#""{\"object_cid\":\"\ud800\"}""#,
        Reason::NotJson,
        "10: half a pair in the outer string",
    );
}

#[test]
fn a_wrong_time_tolerance_is_refused() {
    for (tolerance, why) in [
        ("-1", "11: negative"),
        ("2147483648", "12: 2^31"),
        ("9223372036854775808", "12: 2^63"),
        ("1e999", "12: more than a double holds"),
        ("5.5", "13: not whole"),
        ("true", "13: a boolean"),
        ("null", "13: null"),
        (r#""""#, "13: an empty text"),
    ] {
        let value = format!(r#"{{"object_cid":"a","time_tolerance":{tolerance}}}"#);
        assert_refused(value, Reason::InvalidTimeTolerance, why);
    }
    assert_refused(r#"{"object_cid":"a"}"#, Reason::InvalidTimeTolerance, "13: missing");
    let four_millennia = r#"{"object_cid":"a","time_tolerance":2147483647}"#;
    assert_refused(four_millennia, Reason::DueTooFarAhead, "4083 years");
}

#[test]
fn a_wrong_created_date_is_refused() {
    for (date, reason, why) in [
        (r#""24:00""#, Reason::InvalidCreatedDate, "14: a time without a day"),
        (r#""""#, Reason::InvalidCreatedDate, "14: an empty text"),
        ("1767225600", Reason::InvalidCreatedDate, "14: a number"),
        (r#""+294277-01-01T00:00Z""#, Reason::InvalidCreatedDate, "15: six digits of a year"),
        (r#""9999-12-31T23:59:59Z""#, Reason::InvalidCreatedDate, "15: due in the year 10000"),
        (r#""9999-12-31T00:00:00Z""#, Reason::DueTooFarAhead, "15: due in the year 9999"),
    ] {
        let value = format!(r#"{{"object_cid":"a","time_tolerance":10,"created_date":{date}}}"#);
        assert_refused(value, reason, why);
    }
}

#[test]
fn a_repeated_member_is_refused() {
    for (value, why) in [
        (r#"{"object_cid":"a","object_cid":"b","time_tolerance":10}"#, "16: two values"),
        (r#"{"object_cid":"a","object_cid":"a","time_tolerance":10}"#, "16: the same value twice"),
        (r#"{"object_cid":"a","time_tolerance":10,"time_tolerance":null}"#, "16: a null"),
    ] {
        assert_refused(value, Reason::RepeatedMember, why);
    }
}

fn assert_refused(value: impl AsRef<[u8]>, reason: Reason, why: &str) {
    let rejection = decode_bytes(value).expect_err(why);
    assert_eq!(rejection.reason(), reason, "{why}: {rejection}");
    assert!(rejection.detail().ends_with('.'), "{why}: a detail is a sentence: {rejection}");
}

#[test]
fn a_tombstone_is_refused() {
    let rejection = decode(None, Some(record_timestamp()), now()).expect_err("no value");
    assert_eq!(rejection.reason(), Reason::NoValue);
}

#[test]
fn without_a_created_date_and_a_record_timestamp_an_event_is_refused() {
    let value = br#"{"object_cid":"a","time_tolerance":10}"#;
    let rejection = decode(Some(value), None, now()).expect_err("no date");
    assert_eq!(rejection.to_string(), "invalid_created_date: created_date: This field is required.");
}

#[test]
fn the_due_time_may_be_366_days_ahead_and_no_more() {
    let last = stamp("a", 10, "2026-01-01").due() - MAX_AHEAD;
    let value = encode(&stamp("a", 10, "2026-01-01"));
    assert!(decode(Some(&value), None, last).is_ok());
    let rejection = decode(Some(&value), None, last - TimeDelta::microseconds(1)).expect_err("too far");
    assert_eq!(rejection.reason(), Reason::DueTooFarAhead);
    assert_eq!(
        rejection.detail(),
        "created_date plus the time tolerance is 2026-01-01T00:10:00.000000Z, over 366 days ahead."
    );
}

#[test]
fn a_detail_is_short_and_without_control_characters() {
    let rejection = Rejection::new(Reason::NotJson, format!("a\0\n\u{1b}[2J\u{85}{}", "é".repeat(300)));
    assert!(rejection.detail().starts_with("a   [2J é"));
    assert!((250..=Rejection::MAX_DETAIL_BYTES).contains(&rejection.detail().len()));
}

#[test]
fn all_wrong_fields_are_in_the_detail() {
    let value = br#"{"object_cid":"","time_tolerance":-1,"created_date":"9999-99-99"}"#;
    assert_eq!(
        decode_bytes(value).expect_err("three errors").detail(),
        "object_cid: This field may not be blank.; \
         time_tolerance: Ensure this value is greater than or equal to 0.; \
         created_date: There is no such date or time of day."
    );
}

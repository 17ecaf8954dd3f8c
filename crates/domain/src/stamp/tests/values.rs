use chrono::{DateTime, TimeDelta, Utc};

use super::{cid, date, minutes};
use crate::stamp::{DueOutOfRange, InvalidObjectCid, InvalidTolerance, ObjectCid, Stamp, TimeTolerance};

#[test]
fn an_object_cid_has_1_to_255_characters_and_is_kept_as_it_comes() {
    let long = "\u{1F4C4}".repeat(255);
    for (text, why) in [
        ("a", "the shortest"),
        (long.as_str(), "255 characters, 1020 bytes"),
        (" a\t", "nothing is trimmed"),
        ("e\u{301}", "nothing is composed"),
        ("\u{200b}", "a zero width space is no white space"),
    ] {
        let cid = ObjectCid::parse(text).unwrap_or_else(|error| panic!("{why}: {error}"));
        assert_eq!(cid.as_str(), text, "{why}");
    }
    for (text, error, why) in [
        ("", InvalidObjectCid::Blank, "empty"),
        (" \t\u{a0}\u{3000}", InvalidObjectCid::Blank, "only white space"),
        (&format!("{long}x"), InvalidObjectCid::TooLong, "256 characters"),
        ("a\0b", InvalidObjectCid::Nul, "a NUL inside"),
        ("\0", InvalidObjectCid::Nul, "only a NUL"),
    ] {
        assert_eq!(ObjectCid::parse(text), Err(error), "{why}");
    }
}

#[test]
fn a_tolerance_is_read_from_an_integer_however_it_is_written() {
    use InvalidTolerance::{Negative, NotAnInteger, TooLarge};
    for (text, expected) in [
        ("0", Ok(0)),
        ("-0", Ok(0)),
        ("10", Ok(10)),
        ("10.0", Ok(10)),
        ("10.000", Ok(10)),
        ("010", Ok(10)),
        ("2147483647", Ok(i32::MAX)),
        ("2147483648", Err(TooLarge)),
        ("9223372036854775808", Err(TooLarge)),
        ("-1", Err(Negative)),
        ("-1.0", Err(Negative)),
        ("-99999999999999999999", Err(Negative)),
        ("", Err(NotAnInteger)),
        ("-", Err(NotAnInteger)),
        ("+10", Err(NotAnInteger)),
        (" 10", Err(NotAnInteger)),
        ("10 ", Err(NotAnInteger)),
        ("5.5", Err(NotAnInteger)),
        ("10.", Err(NotAnInteger)),
        (".0", Err(NotAnInteger)),
        ("10.0.0", Err(NotAnInteger)),
        ("1e999", Err(NotAnInteger)),
        ("0x10", Err(NotAnInteger)),
        ("١٠", Err(NotAnInteger)),
    ] {
        assert_eq!(text.parse().map(TimeTolerance::minutes), expected, "{text:?}");
    }
    assert_eq!(TimeTolerance::from_minutes(-1), Err(Negative));
}

#[test]
fn a_stamp_is_due_at_created_date_plus_tolerance_in_whole_microseconds() {
    let stamp = Stamp::new(cid("a"), minutes(90), date("2026-01-01T00:00:00.123456789Z")).expect("in range");
    assert_eq!(stamp.created_date(), date("2026-01-01T00:00:00.123456Z"));
    assert_eq!(stamp.due(), date("2026-01-01T01:30:00.123456Z"));

    let before_1970 =
        Stamp::new(cid("a"), minutes(0), date("1969-12-31T23:59:59.9999999Z")).expect("in range");
    assert_eq!(before_1970.due(), date("1969-12-31T23:59:59.999999Z"), "cut, not rounded towards 1970");
}

#[test]
fn a_stamp_outside_the_years_1_to_9999_is_refused() {
    for (tolerance, created_date, expected, why) in [
        (0, date("9999-12-31T23:59:59Z"), true, "the last second"),
        (1, date("9999-12-31T23:59:59Z"), false, "due in the year 10000"),
        (i32::MAX, date("2026-01-01"), true, "4083 years more"),
        (i32::MAX, date("6000-01-01"), false, "due in the year 10083"),
        (0, date("0001-01-01"), true, "the first second"),
        (0, date("0001-01-01") - TimeDelta::microseconds(1), false, "the year 0"),
        (0, DateTime::<Utc>::MIN_UTC, false, "the first date of chrono"),
        (i32::MAX, DateTime::<Utc>::MAX_UTC, false, "the sum overflows chrono"),
    ] {
        let outcome = Stamp::new(cid("a"), minutes(tolerance), created_date);
        assert_eq!(outcome.err(), (!expected).then_some(DueOutOfRange), "{why}");
    }
}

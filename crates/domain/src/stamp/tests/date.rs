use chrono::{DateTime, Datelike};
use proptest::prelude::*;

use crate::stamp::{InvalidDate, format_date, parse_date};

#[test]
fn a_date_is_accepted_in_rfc_3339_and_extended_iso_8601() {
    for (text, expected) in [
        ("2026-01-01T10:30:15Z", "2026-01-01T10:30:15.000000Z"),
        ("2026-01-01t10:30:15z", "2026-01-01T10:30:15.000000Z"),
        ("2026-01-01 10:30:15", "2026-01-01T10:30:15.000000Z"),
        ("2026-01-01T10:30", "2026-01-01T10:30:00.000000Z"),
        ("2026-01-01T10:30+02:00", "2026-01-01T08:30:00.000000Z"),
        ("2026-01-01", "2026-01-01T00:00:00.000000Z"),
        ("2026-01-01T10:30:15.5Z", "2026-01-01T10:30:15.500000Z"),
        ("2026-01-01T10:30:15,25Z", "2026-01-01T10:30:15.250000Z"),
        ("2026-01-01T10:30:15.1234567899999Z", "2026-01-01T10:30:15.123456Z"),
        ("2026-01-01T10:30:15+0530", "2026-01-01T05:00:15.000000Z"),
        ("2026-01-01T10:30:15+05:30", "2026-01-01T05:00:15.000000Z"),
        ("2026-01-01T10:30:15+05", "2026-01-01T05:30:15.000000Z"),
        ("2026-01-01T10:30:15-23:59", "2026-01-02T10:29:15.000000Z"),
        ("2026-01-01T10:30:15-00:00", "2026-01-01T10:30:15.000000Z"),
        ("2024-02-29", "2024-02-29T00:00:00.000000Z"),
        ("2026-12-31T24:00:00Z", "2027-01-01T00:00:00.000000Z"),
        ("2026-12-31T24:00", "2027-01-01T00:00:00.000000Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000Z"),
        ("2016-12-31T23:59:60.999Z", "2017-01-01T00:00:00.000000Z"),
        ("2016-12-31T15:59:60-08:00", "2017-01-01T00:00:00.000000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ] {
        assert_eq!(parse_date(text).map(format_date), Ok(expected.to_owned()), "{text:?}");
    }
}

#[test]
fn a_date_in_any_other_form_is_refused() {
    use InvalidDate::{NoSuchTime, OutOfRange, WrongFormat};
    for (text, expected) in [
        ("", WrongFormat),
        (" 2026-01-01", WrongFormat),
        ("2026-01-01 ", WrongFormat),
        ("2026-01-01Z", WrongFormat),
        ("2026-01-01T", WrongFormat),
        ("2026-01-01T10", WrongFormat),
        ("2026-01-01T10:30:", WrongFormat),
        ("2026-01-01T10:30:15.", WrongFormat),
        ("2026-01-01T10:30:15.Z", WrongFormat),
        ("2026-01-01T10:30.5", WrongFormat),
        ("2026-01-01  10:30", WrongFormat),
        ("2026-01-01T10:30 +05:30", WrongFormat),
        ("2026-01-01T10:30+5", WrongFormat),
        ("2026-01-01T10:30+05:", WrongFormat),
        ("2026-01-01T10:30+053", WrongFormat),
        ("2026-01-01T10:30Z+05", WrongFormat),
        ("2026-01-01T10:30\u{2212}05:00", WrongFormat),
        ("20260101T103015Z", WrongFormat),
        ("2026-1-1", WrongFormat),
        ("26-01-01", WrongFormat),
        ("+294277-01-01T00:00:00Z", WrongFormat),
        ("-0001-01-01", WrongFormat),
        ("2026-W01-1", WrongFormat),
        ("1767225600", WrongFormat),
        ("infinity", WrongFormat),
        ("２０２６-01-01", WrongFormat),
        ("2026-02-29", NoSuchTime),
        ("2026-13-01", NoSuchTime),
        ("2026-00-10", NoSuchTime),
        ("2026-01-01T24:00:01", NoSuchTime),
        ("2026-01-01T25:00", NoSuchTime),
        ("2026-01-01T10:60", NoSuchTime),
        ("2026-01-01T10:30:60Z", NoSuchTime),
        ("2026-01-01T23:59:61Z", NoSuchTime),
        ("2026-01-01T23:59:60+01:00", NoSuchTime),
        ("2026-01-01T10:30+24:00", NoSuchTime),
        ("2026-01-01T10:30+05:60", NoSuchTime),
        ("0000-01-01", OutOfRange),
        ("0001-01-01T00:00+00:01", OutOfRange),
        ("9999-12-31T24:00:00Z", OutOfRange),
        ("9999-12-31T23:59:60Z", OutOfRange),
        ("9999-12-31T23:59:59-00:01", OutOfRange),
    ] {
        assert_eq!(parse_date(text), Err(expected), "{text:?}");
    }
}

proptest! {
    #[test]
    fn a_formatted_date_is_read_back(micros in -62_135_596_800_000_000_i64..=253_402_300_799_999_999) {
        let date = DateTime::from_timestamp_micros(micros).expect("in chrono's range");
        prop_assert_eq!(parse_date(&format_date(date)), Ok(date));
    }

    #[test]
    fn any_text_is_a_date_or_refused(text in "[-+0-9TtZz:., ]{0,40}|.*") {
        if let Ok(date) = parse_date(&text) {
 prop_assert!((1..=9999).contains(&date.year()));
 }
    }

    #[test]
    fn parse_date_agrees_with_chrono_on_rfc_3339(
        text in "[0-9]{4}-(0[1-9]|1[0-2])-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,12})?(Z|[+-][01][0-9]:[0-5][0-9])"
    ) {
        let theirs = DateTime::parse_from_rfc3339(&text).map(|date| date.to_utc()).ok();
        // Chrono has no 24:00 and knows a year 0.
        if !text.contains("T24:00:00") && !matches!(parse_date(&text), Err(InvalidDate::OutOfRange)) {
            prop_assert_eq!(parse_date(&text).ok(), theirs);
        }
    }
}

//! Bodies, and what is made of each.

use crate::harness::{FORM, JSON};

/// What a request is answered with.
pub(super) enum Expected {
    /// 201 with this id, tolerance and, where it was given, date.
    Created(String, i32, Option<&'static str>),
    /// A problem with this status, and errors of exactly these fields.
    Refused(u16, &'static [&'static str]),
}

pub(super) struct Case {
    pub(super) headers: String,
    pub(super) body: Vec<u8>,
    pub(super) expected: Expected,
    pub(super) why: &'static str,
}

/// Returns a case that is accepted, told apart by an id of its own.
pub(super) fn accepted(
    headers: &str,
    body: impl Into<Vec<u8>>,
    id: &str,
    minutes: i32,
    why: &'static str,
) -> Case {
    let expected = Expected::Created(id.to_owned(), minutes, None);
    Case { headers: headers.to_owned(), body: body.into(), expected, why }
}

pub(super) fn refused(
    headers: &str,
    body: impl Into<Vec<u8>>,
    status: u16,
    fields: &'static [&'static str],
    why: &'static str,
) -> Case {
    let expected = Expected::Refused(status, fields);
    Case { headers: headers.to_owned(), body: body.into(), expected, why }
}

/// Returns JSON with this text as the value of `object_cid`.
pub(super) fn cid(text: &str) -> String {
    format!(r#"{{"object_cid":{text},"time_tolerance":10}}"#)
}

pub(super) const CID: &[&str] = &["object_cid"];
pub(super) const TOLERANCE: &[&str] = &["time_tolerance"];
pub(super) const DATE: &[&str] = &["created_date"];
pub(super) const ALL: [&str; 3] = ["object_cid", "time_tolerance", "created_date"];

pub(super) fn ids() -> Vec<Case> {
    let long = |count: usize| "\u{1f600}".repeat(count);
    let quoted = |text: &str| cid(&format!("\"{text}\""));
    vec![
        accepted(JSON, cid("\"a\""), "a", 10, "a plain one"),
        refused(JSON, cid("\"a\""), 409, CID, "the same again"),
        accepted(JSON, cid("17"), "17", 10, "a number is its text"),
        refused(JSON, cid("\"17\""), 409, CID, "and so the same as that text"),
        accepted(JSON, cid("17.0"), "17.0", 10, "every digit counts"),
        accepted(JSON, cid("1e999"), "1e999", 10, "no float can hold it"),
        accepted(JSON, cid("-0"), "-0", 10, "a sign"),
        refused(JSON, cid(&"9".repeat(256)), 400, CID, "a number of 256 digits"),
        refused(JSON, cid("017"), 400, &[], "no JSON number"),
        refused(JSON, cid("NaN"), 400, &[], "no JSON"),
        accepted(JSON, quoted(&long(255)), &long(255), 10, "255 characters of four bytes"),
        refused(JSON, quoted(&long(256)), 400, CID, "256 of them"),
        refused(JSON, quoted(&"a".repeat(256)), 400, CID, "256 of one byte"),
        refused(JSON, quoted(r"a\u0000b"), 400, CID, "a NUL, escaped"),
        refused(JSON, quoted("a\0b"), 400, &[], "a raw control character is no JSON string"),
        refused(JSON, quoted(r"\ud800"), 400, CID, "a lone surrogate"),
        refused(JSON, quoted(r"a\udc00\ud800"), 400, CID, "a pair the wrong way round"),
        accepted(JSON, quoted(r"\ud83d\ude00"), "\u{1f600}", 10, "a pair is one character"),
        refused(JSON, quoted(""), 400, CID, "empty"),
        refused(JSON, quoted(r" \t\r\n"), 400, CID, "blank"),
        refused(JSON, quoted("\u{a0}\u{3000}\u{85}\u{2028}"), 400, CID, "blank in Unicode"),
        accepted(JSON, quoted("\u{200b}"), "\u{200b}", 10, "no width, and yet no white space"),
        accepted(JSON, quoted(" s "), " s ", 10, "nothing is trimmed"),
        accepted(JSON, quoted("s "), "s ", 10, "nor on one side"),
        accepted(JSON, quoted("s"), "s", 10, "so these are three stamps"),
        accepted(JSON, quoted("\u{e9}"), "\u{e9}", 10, "composed"),
        accepted(JSON, quoted("e\u{301}"), "e\u{301}", 10, "decomposed: another stamp"),
        accepted(JSON, quoted("A"), "A", 10, "another than a"),
        accepted(JSON, quoted("\u{202e}gpj.exe"), "\u{202e}gpj.exe", 10, "right to left"),
        accepted(JSON, quoted(r"x\r\ny: z"), "x\r\ny: z", 10, "no header comes of it"),
        accepted(JSON, quoted(r"\u001b[31m\u0007"), "\u{1b}[31m\u{7}", 10, "a terminal's"),
        accepted(JSON, quoted(r"..\/..\/etc"), "../../etc", 10, "no path comes of it"),
        accepted(JSON, quoted("'); DROP TABLE stamps; --"), "'); DROP TABLE stamps; --", 10, "SQL"),
        accepted(JSON, quoted("$1{{7*7}}%s%n"), "$1{{7*7}}%s%n", 10, "templates"),
        accepted(JSON, quoted("\u{feff}b"), "\u{feff}b", 10, "a mark that is part of the text"),
        accepted(JSON, quoted("\u{10ffff}\u{fffe}"), "\u{10ffff}\u{fffe}", 10, "no characters, and yet text"),
        accepted(JSON, quoted("bulk"), "bulk", 10, "an ordinary one"),
        accepted(JSON, quoted("null"), "null", 10, "a text"),
        refused(JSON, cid("null"), 400, CID, "null"),
        refused(JSON, cid("true"), 400, CID, "true"),
        refused(JSON, cid("[\"a\"]"), 400, CID, "a list"),
        refused(JSON, cid("{\"$ne\":null}"), 400, CID, "an object"),
        refused(JSON, cid(&("[".repeat(10_000) + &"]".repeat(10_000))), 400, CID, "10,000 lists"),
    ]
}

pub(super) fn tolerances() -> Vec<Case> {
    let good = [
        ("0", 0, "due at once"),
        ("10", 10, "a number"),
        ("\"10\"", 10, "its text"),
        ("10.0", 10, "a whole fraction"),
        ("\"10.00\"", 10, "its text"),
        ("-0", 0, "zero"),
        ("10080", 10_080, "the most"),
    ];
    let bad = [
        ("10081", "over the most"),
        ("2147483647", "the column's most"),
        ("2147483648", "over the column's most"),
        ("9223372036854775808", "2^63"),
        ("1e999", "over any float"),
        ("1e1", "an exponent"),
        ("-1", "negative"),
        ("\"-1\"", "the same as text"),
        ("10.5", "a fraction"),
        ("\" 10\"", "white space"),
        ("\"+10\"", "a plus"),
        ("\"1_0\"", "an underscore"),
        ("\"\u{661}\u{660}\"", "digits of another script"),
        ("\"0x10\"", "hex"),
        ("\"\"", "empty"),
        ("\"ten\"", "a word"),
        ("true", "true"),
        ("null", "null"),
        ("[10]", "a list"),
        ("{}", "an object"),
    ];
    let body = |id: &str, text: &str| format!(r#"{{"object_cid":"{id}","time_tolerance":{text}}}"#);
    let good = good.iter().enumerate().map(|(number, (text, minutes, why))| {
        let id = format!("tolerance {number}");
        accepted(JSON, body(&id, text), &id, *minutes, why)
    });
    let bad = bad.iter().map(|(text, why)| refused(JSON, body("bad", text), 400, TOLERANCE, why));
    good.chain(bad).collect()
}

pub(super) fn dates(ahead: &str, too_far_ahead: &str) -> Vec<Case> {
    let good = [
        ("2026-01-01T10:30:00Z", "2026-01-01T10:30:00.000000Z", "RFC 3339"),
        ("2026-01-01t10:30:00z", "2026-01-01T10:30:00.000000Z", "in small letters"),
        ("2026-01-01 10:30:00+05:30", "2026-01-01T05:00:00.000000Z", "with a space and an offset"),
        ("2026-01-01T10:30:00.5+0530", "2026-01-01T05:00:00.500000Z", "an offset without a colon"),
        ("2026-01-01T10:30:00-05", "2026-01-01T15:30:00.000000Z", "an offset of hours"),
        ("2026-01-01T10:30:00", "2026-01-01T10:30:00.000000Z", "without an offset"),
        ("2026-01-01T10:30", "2026-01-01T10:30:00.000000Z", "without seconds"),
        ("2026-01-01", "2026-01-01T00:00:00.000000Z", "a day"),
        ("2026-01-01T10:30:00.123456789Z", "2026-01-01T10:30:00.123456Z", "nanoseconds are cut off"),
        ("2026-01-01T10:30:00,5Z", "2026-01-01T10:30:00.500000Z", "a comma"),
        ("2025-12-31T24:00:00Z", "2026-01-01T00:00:00.000000Z", "midnight of ISO 8601"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000Z", "a leap second"),
        ("2024-02-29", "2024-02-29T00:00:00.000000Z", "a leap day"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z", "the first moment"),
    ];
    let bad = [
        ("\"\"", "empty"),
        ("\"yesterday\"", "a word"),
        ("\"2026-02-29\"", "no such day"),
        ("\"2026-13-01\"", "no such month"),
        ("\"2026-01-01T25:00:00Z\"", "no such hour"),
        ("\"2026-01-01T24:00:01Z\"", "after midnight"),
        ("\"2026-01-01T10:30:60Z\"", "no second to leap"),
        ("\"2026-01-01T10:30:00+24:00\"", "no such offset"),
        ("\"2026-01-01T10:30:00 Z\"", "a space too many"),
        ("\" 2026-01-01\"", "a space in front"),
        ("\"20260101T103000Z\"", "the basic form"),
        ("\"2026-W01-1\"", "a week"),
        ("\"01/02/2026\"", "whose order?"),
        ("\"Thu, 01 Jan 2026 00:00:00 GMT\"", "HTTP's own"),
        ("\"0000-01-01T00:00:00Z\"", "the year 0"),
        ("\"0001-01-01T00:00:00+00:01\"", "a minute before the year 1"),
        ("\"9999-12-31T23:59:59Z\"", "far ahead, and due after the year 9999"),
        ("\"+294277-01-01T00:00:00Z\"", "over what PostgreSQL holds"),
        ("\"-4713-01-01T00:00:00Z\"", "before what PostgreSQL holds"),
        ("\"infinity\"", "PostgreSQL's own"),
        ("\"now\"", "PostgreSQL's own"),
        ("\"2026-01-01T10:30:00Z\\u0000\"", "a NUL"),
        ("\"\\ud800\"", "a lone surrogate"),
        ("1767225600", "a number"),
        ("true", "true"),
        ("[]", "a list"),
    ];
    let body = |id: &str, text: &str| {
        format!(r#"{{"object_cid":"{id}","time_tolerance":10,"created_date":{text}}}"#)
    };
    let good = good.iter().enumerate().map(|(number, (text, date, why))| {
        let id = format!("date {number}");
        let mut case = accepted(JSON, body(&id, &format!("\"{text}\"")), &id, 10, why);
        case.expected = Expected::Created(id, 10, Some(date));
        case
    });
    let bad = bad.iter().map(|(text, why)| refused(JSON, body("bad", text), 400, DATE, why));
    let others = [
        accepted(JSON, body("date null", "null"), "date null", 10, "null is absent"),
        accepted(JSON, body("date ahead", ahead), "date ahead", 10, "4 minutes ahead"),
        refused(JSON, body("bad", too_far_ahead), 400, DATE, "6 minutes ahead"),
    ];
    good.chain(bad).chain(others).collect()
}

pub(super) fn bodies() -> Vec<Case> {
    let padded = |bytes: usize| {
        let body = cid("\"full\"").replace('}', ",\"pad\":\"\"}");
        let pad = "x".repeat(bytes - body.len());
        body.replace("\"\"", &format!("\"{pad}\""))
    };
    let nested = format!(
        r#"{{"object_cid":"nested","time_tolerance":1,"x":{}1{}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    let fine = |id: &str| cid(&format!("\"{id}\""));
    vec![
        refused(JSON, "", 400, &[], "nothing"),
        refused(JSON, " \n", 400, &[], "white space"),
        refused(JSON, "null", 400, &[], "null"),
        refused(JSON, "{}", 400, &["object_cid", "time_tolerance"], "an object of nothing"),
        refused(JSON, "[]", 400, &[], "a list"),
        refused(JSON, format!("[{}]", fine("bad")), 400, &[], "a list of one"),
        refused(JSON, "\"a\"", 400, &[], "a text"),
        refused(JSON, "1", 400, &[], "a number"),
        refused(JSON, &fine("bad")[..20], 400, &[], "cut off"),
        refused(JSON, fine("bad") + "{}", 400, &[], "two objects"),
        refused(JSON, fine("bad") + "\0", 400, &[], "a NUL behind it"),
        refused(JSON, "{'object_cid':'bad','time_tolerance':1}", 400, &[], "apostrophes"),
        refused(JSON, r#"{"object_cid":"bad","time_tolerance":1,}"#, 400, &[], "a comma too many"),
        refused(JSON, "/**/".to_owned() + &fine("bad"), 400, &[], "a comment"),
        refused(JSON, b"{\"object_cid\":\"\xff\",\"time_tolerance\":1}", 400, &[], "not UTF-8"),
        refused(
            JSON,
            b"{\"object_cid\":\"\xed\xa0\x80\",\"time_tolerance\":1}",
            400,
            &[],
            "a surrogate in UTF-8",
        ),
        refused(
            JSON,
            b"{\"object_cid\":\"\xc0\xaf\",\"time_tolerance\":1}",
            400,
            &[],
            "longer than it need be",
        ),
        refused(JSON, b"\xff\xfe{\0}\0", 400, &[], "UTF-16"),
        accepted(JSON, "\u{feff}".to_owned() + &fine("marked"), "marked", 10, "a byte order mark"),
        accepted(JSON, format!(" \r\n\t{} \n", fine("spaced")), "spaced", 10, "white space around it"),
        refused(JSON, r#"{"object_cid":"a1","object_cid":"a2","time_tolerance":1}"#, 400, CID, "repeated"),
        refused(
            JSON,
            r#"{"object_cid":"a1","object_cid":"a1","time_tolerance":1}"#,
            400,
            CID,
            "even the same",
        ),
        refused(
            JSON,
            r#"{"object_cid":"a1","object\u005fcid":"a2","time_tolerance":1}"#,
            400,
            CID,
            "in disguise",
        ),
        refused(
            JSON,
            r#"{"object_cid":"a1","time_tolerance":1,"time_tolerance":2}"#,
            400,
            TOLERANCE,
            "repeated",
        ),
        accepted(
            JSON,
            r#"{"object_cid":"others","x":1,"x":2,"id":7,"batch_id":1,"state":"processed","OBJECT_CID":"B","time_tolerance":3,"":null}"#,
            "others",
            3,
            "other members are ignored, repeated or not",
        ),
        accepted(
            JSON,
            r#"{"__proto__":{"object_cid":"p"},"object_cid":"proto","time_tolerance":3}"#,
            "proto",
            3,
            "no prototypes",
        ),
        accepted(JSON, nested, "nested", 1, "10,000 lists in a member that is ignored"),
        refused(JSON, "[".repeat(10_000), 400, &[], "10,000 lists that never end"),
        refused(JSON, r#"{"a":"#.repeat(10_000), 400, &[], "10,000 objects that never end"),
        accepted(JSON, padded(64 * 1024), "full", 10, "64 KiB"),
        refused(JSON, padded(64 * 1024 + 1), 413, &[], "a byte more"),
        refused(JSON, " ".repeat(3_000_000), 413, &[], "3 MB"),
    ]
}

pub(super) fn types() -> Vec<Case> {
    let bomb = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0xae, 5, 0];
    let with = |line: &str| format!("{JSON}{line}\r\n");
    let as_type = |content_type: &str| format!("content-type: {content_type}\r\n");
    let fine = |id: &str| cid(&format!("\"{id}\""));
    vec![
        refused("", fine("bad"), 415, &[], "no content type"),
        refused(&as_type("text/plain"), fine("bad"), 415, &[], "text"),
        refused(&as_type("application/xml"), "<a/>", 415, &[], "XML"),
        refused(&as_type("multipart/form-data; boundary=x"), "--x--", 415, &[], "a form with files"),
        refused(&as_type("application/json; charset=utf-7"), fine("bad"), 415, &[], "UTF-7"),
        refused(&as_type("application/json; charset=utf-16"), fine("bad"), 415, &[], "UTF-16"),
        refused(&as_type("application/json, text/plain"), fine("bad"), 415, &[], "a list of types"),
        refused(&as_type("application/json\u{e9}"), fine("bad"), 415, &[], "not ASCII"),
        accepted(&as_type("APPLICATION/JSON ; charset=\"UTF-8\""), fine("loud"), "loud", 10, "in capitals"),
        refused(&with("content-encoding: gzip"), bomb, 415, &[], "compressed"),
        refused(&with("content-encoding: identity, gzip"), bomb, 415, &[], "in a list"),
        refused(&with("content-type: text/plain"), fine("bad"), 415, &[], "two types"),
        accepted(&with("x-http-method-override: DELETE"), fine("override"), "override", 10, "no override"),
        accepted(&with("expect: 200-maybe"), fine("expect"), "expect", 10, "an expectation nobody knows"),
    ]
}

pub(super) fn forms() -> Vec<Case> {
    let form = |id: &str| format!("object_cid={id}&time_tolerance=10");
    vec![
        accepted(FORM, form("form"), "form", 10, "a plain one"),
        accepted(FORM, form("f%2Fg"), "f/g", 10, "decoded"),
        accepted(FORM, form("f%252Fg"), "f%2Fg", 10, "once"),
        accepted(FORM, form("f+g"), "f g", 10, "a plus is a space"),
        accepted(FORM, form("f%2Bg"), "f+g", 10, "an encoded one is a plus"),
        accepted(FORM, form("f%20g%20"), "f g ", 10, "nothing is trimmed"),
        accepted(FORM, form("f%f0%9F%98%80"), "f\u{1f600}", 10, "hex in both cases"),
        accepted(FORM, form("f\u{1f600}g"), "f\u{1f600}g", 10, "not encoded at all"),
        accepted(FORM, form("100%"), "100%", 10, "a percent sign alone"),
        accepted(FORM, form("%zz%4"), "%zz%4", 10, "no hex digits"),
        accepted(FORM, form("f=g=h"), "f=g=h", 10, "more equals signs"),
        accepted(FORM, form("f;g"), "f;g", 10, "no separator"),
        accepted(FORM, form("%EF%BB%BFf"), "\u{feff}f", 10, "a mark that is part of the text"),
        accepted(FORM, "%6fbject_cid=name&time%5Ftolerance=10", "name", 10, "encoded names"),
        accepted(FORM, form("dated") + "&created_date=", "dated", 10, "an empty date is an absent one"),
        accepted(
            FORM,
            form("other") + "&id=7&id=8&&=&",
            "other",
            10,
            "other fields are ignored, repeated or not",
        ),
        refused(FORM, form("%00"), 400, CID, "a NUL"),
        refused(FORM, form("a\0"), 400, CID, "a raw one"),
        refused(FORM, form("%FF"), 400, &[], "not UTF-8"),
        refused(FORM, form("%C0%AF"), 400, &[], "longer than it need be"),
        refused(FORM, form("%ED%A0%80"), 400, &[], "a surrogate"),
        refused(FORM, form("+%09%C2%A0"), 400, CID, "blank"),
        refused(FORM, form(""), 400, CID, "empty"),
        refused(FORM, form(&"%F0%9F%98%80".repeat(256)), 400, CID, "256 characters"),
        refused(FORM, form("a") + "&object_cid=b", 400, CID, "repeated"),
        refused(FORM, form("a") + "&%6fbject_cid=b", 400, CID, "in disguise"),
        refused(FORM, "object_cid[]=a&time_tolerance=1", 400, CID, "a list"),
        refused(FORM, "", 400, &["object_cid", "time_tolerance"], "nothing"),
        refused(FORM, cid("\"bad\""), 400, &["object_cid", "time_tolerance"], "JSON"),
        refused(FORM, form("bad") + "&created_date=+", 400, DATE, "a blank date"),
        refused(JSON, form("bad"), 400, &[], "a form that says it is JSON"),
    ]
}

//! Bodies of requests.

use bolero::check;
use domain::message::{BODY, IS_ACTIVE, MessageFields, NS_MESSAGE, REFERENCE_URL, SUBJECT, record};
use domain::stamp::{
    CREATED_DATE, FieldErrors, IntakeLimits, MalformedJson, OBJECT_CID, Stamp, StampFields, TIME_TOLERANCE,
    TimeTolerance, event,
};
use fuzz::{are_named, is_sentence, now};
use serde_json::Value;
use stamp_api::http::body::form_pairs;
use url::form_urlencoded;

use crate::RANDOM;

/// How many stamps a body of many may hold here.
const MAX: usize = 3;

/// Takes a stamp in, or makes sure that what is wrong is told.
fn accept(fields: StampFields<'_>) -> Option<Stamp> {
    let max_tolerance = TimeTolerance::from_minutes(10_080).expect("a tolerance");
    let limits = IntakeLimits { max_tolerance, now: now() };
    match limits.accept(fields) {
        Ok(stamp) => {
            assert!(stamp.time_tolerance() <= max_tolerance, "{stamp:?}");
            // What was accepted is never refused later.
            assert_eq!(event::decode(Some(&event::encode(&stamp)), None, now()), Ok(stamp.clone()));
            Some(stamp)
        }
        Err(errors) => {
            assert!(are_named(&errors, &[OBJECT_CID, TIME_TOLERANCE, CREATED_DATE]), "{errors}");
            None
        }
    }
}

/// Makes sure that an outcome is that of `serde_json`, as far as that understands the text: it takes less.
fn judge_json<T>(body: &[u8], outcome: &Result<T, MalformedJson>, is_shape: fn(&Value) -> bool) {
    if let Err(error) = outcome {
        assert!(is_sentence(&error.to_string()), "{error}");
    }
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        let is_wrong_shape = matches!(outcome, Err(MalformedJson::NotAnObject | MalformedJson::NotAnArray));
        let is_no_json = matches!(outcome, Err(MalformedJson::Syntax(_) | MalformedJson::NotUtf8(_)));
        assert!(!is_no_json && is_wrong_shape != is_shape(&value), "{:?}", outcome.as_ref().err());
    }
}

// Break: let `object_cid` of stamp/fields.rs trim its text.
#[test]
fn stamp_json() {
    check!().with_iterations(RANDOM).for_each(|body: &[u8]| {
        let fields = StampFields::from_json(body);
        judge_json(body, &fields, Value::is_object);
        let Some(stamp) = fields.ok().and_then(accept) else { return };
        let Ok(value) = serde_json::from_slice::<Value>(body) else { return };
        if let Some(text) = value[OBJECT_CID].as_str() {
            assert_eq!(stamp.object_cid().as_str(), text, "kept as it came");
        }
        if let Some(minutes) = value[TIME_TOLERANCE].as_i64() {
            assert_eq!(i64::from(stamp.time_tolerance().minutes()), minutes);
        }
        if value[CREATED_DATE].is_null() {
            assert_eq!(stamp.created_date(), now());
        }
    });
}

// Break: let `visit_seq` in fields/json.rs take items while there are no more than `max`.
#[test]
fn stamp_array() {
    check!().with_iterations(RANDOM).for_each(|body: &[u8]| {
        let items = StampFields::from_json_array(body, MAX);
        judge_json(body, &items, Value::is_array);
        if let Ok(Value::Array(values)) = serde_json::from_slice(body) {
            let found = items.as_ref().map(Vec::len).ok();
            assert_eq!(found, Some(values.len()).filter(|count| *count <= MAX));
        }
        for item in items.into_iter().flatten() {
            match item {
                Ok(fields) => drop(accept(fields)),
                Err(error) => assert!(is_sentence(&error.to_string()), "{error}"),
            }
        }
    });
}

// Break: let `lines` of fields/json.rs take one line less than `max`.
#[test]
fn stamp_lines() {
    check!().with_iterations(RANDOM).for_each(|body: &[u8]| {
        let is_blank = |line: &&[u8]| line.iter().all(u8::is_ascii_whitespace) && !line.contains(&0x0c);
        let without_mark = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
        let lines: Vec<&[u8]> =
            without_mark.split(|byte| *byte == b'\n').filter(|line| !is_blank(line)).collect();
        match StampFields::from_json_lines(body, MAX) {
            Ok(items) => {
                assert_eq!(items.len(), lines.len());
                for (item, line) in items.into_iter().zip(lines) {
                    let alone = StampFields::from_json(line).ok().and_then(accept);
                    assert_eq!(item.ok().and_then(accept), alone, "a line is what it is alone");
                }
            }
            Err(error) => assert!(lines.len() > MAX && is_sentence(&error.to_string()), "{error}"),
        }
    });
}

// Break: let `form_text` of stamp-api's http/body.rs leave a `+` as it is.
#[test]
fn form() {
    check!().with_iterations(RANDOM).for_each(|body: &[u8]| {
        // The standard's own decoder puts a replacement character for what is no UTF-8.
        let standard: Vec<_> = form_urlencoded::parse(body).collect();
        match form_pairs(body) {
            Ok(pairs) => {
                assert_eq!(pairs, standard);
                match StampFields::from_text_pairs(pairs.into_iter()) {
                    Ok(fields) => drop(accept(fields)),
                    Err(repeated) => {
                        let errors = FieldErrors::from(repeated);
                        assert!(are_named(&errors, &[OBJECT_CID, TIME_TOLERANCE, CREATED_DATE]), "{errors}");
                    }
                }
            }
            Err(error) => {
                let replaced =
                    standard.iter().any(|(name, value)| format!("{name}{value}").contains('\u{fffd}'));
                assert!(replaced && is_sentence(&error.to_string()), "{error}");
            }
        }
    });
}

// Break: let `encode` of message/record.rs leave the reference_url out.
#[test]
fn message() {
    check!().with_iterations(RANDOM).for_each(|body: &[u8]| {
        let fields = MessageFields::from_json(body);
        // That `ns-message` is no object is said of the field.
        judge_json(body, &fields, Value::is_object);
        match fields.map(MessageFields::parse) {
            Ok(Ok(message)) => assert_eq!(record::decode(Some(&record::encode(&message))), Ok(message)),
            Ok(Err(errors)) => {
                let fields = [NS_MESSAGE, SUBJECT, BODY, REFERENCE_URL, IS_ACTIVE];
                assert!(are_named(&errors, &fields), "{errors}");
            }
            Err(_) => {}
        }
    });
}

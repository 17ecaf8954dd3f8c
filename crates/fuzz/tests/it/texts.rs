//! Texts: dates, cursors, tokens, and the address of the database.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bolero::check;
use chrono::{DateTime, Datelike as _, Timelike as _};
use domain::stamp::{format_date, parse_date};
use fuzz::{is_sentence, now, signed, split};
use platform::settings::Secret;
use serde_json::Value;
use stamp_api::auth::key::Key;
use stamp_api::auth::settings::AuthSettings;
use stamp_api::auth::token::Verifier;
use stamp_api::http::cursor;
use store::DatabaseUrl;
use uuid::Uuid;

use crate::RANDOM;

// Break: let `Written::instant` of stamp/date.rs add an offset that it should subtract.
#[test]
fn date() {
    check!().with_iterations(RANDOM).for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let outcome = parse_date(text);
        match outcome {
            Ok(date) => {
                let written = format_date(date);
                let again = parse_date(&written).expect("it was written here");
                assert_eq!(
                    (again.timestamp_micros(), format_date(again)),
                    (date.timestamp_micros(), written)
                );
            }
            Err(error) => assert!(is_sentence(&error.to_string()), "{error}"),
        }
        // Of the forms that both know, chrono has another opinion about leap seconds alone.
        if let Ok(theirs) = DateTime::parse_from_rfc3339(text)
            && theirs.nanosecond() < 1_000_000_000
            && (1..=9999).contains(&theirs.to_utc().year())
            && text.is_ascii()
        {
            assert_eq!(outcome, Ok(theirs.to_utc()));
        }
    });
}

// Break: leave `encode(list, *place) == text` out of `decode` in stamp-api's http/cursor.rs.
#[test]
fn cursor_of_a_list() {
    fn judge<const N: usize>(text: &str) {
        match cursor::decode::<N>(text, "stamps") {
            Ok(place) => assert_eq!(cursor::encode("stamps", place), text),
            Err(sentence) => assert!(is_sentence(&sentence), "{sentence}"),
        }
    }
    check!().with_iterations(RANDOM).for_each(|bytes: &[u8]| {
        // As they are, and as what is under the base64, which no engine sees through.
        for text in [String::from_utf8_lossy(bytes).into_owned(), URL_SAFE_NO_PAD.encode(bytes)] {
            judge::<1>(&text);
            judge::<2>(&text);
        }
    });
}

const SECRET: &str = "a secret of at least thirty-two bytes";
const ANOTHER: &str = "another one of at least thirty-two bytes";

// Break: let `verify` of stamp-api's auth/token.rs take a token without `exp` as one that never ends.
#[test]
fn token() {
    let key = Key::from_secret(SECRET.to_owned()).expect("long enough");
    let settings = AuthSettings { key: Some(key), audience: None, issuer: None, stamps_require_auth: false };
    let verifier = Verifier::new(settings).expect("there is a key");
    check!().with_iterations(RANDOM).for_each(|bytes: &[u8]| {
        assert!(verifier.verify(&String::from_utf8_lossy(bytes), now()).is_err(), "nobody can sign");
        let (head, claims) = split(bytes);
        let head = head.unwrap_or(br#"{"alg":"HS256"}"#);
        assert!(verifier.verify(&signed(head, claims, ANOTHER), now()).is_err(), "signed by another");
        match verifier.verify(&signed(head, claims, SECRET), now()) {
            Ok(caller) => {
                let (head, claims): (Value, Value) = (json(head), json(claims));
                assert_eq!(head["alg"], "HS256");
                assert!(head["crit"].is_null(), "{head}");
                let subject = claims["sub"].as_str().and_then(|subject| Uuid::parse_str(subject).ok());
                assert_eq!(subject, Some(caller.subject()));
                let at = now().timestamp() as f64;
                assert!(claims["exp"].as_f64().is_some_and(|end| end > at - 5.0), "{claims}");
                assert!(claims["nbf"].as_f64().is_none_or(|start| start <= at + 5.0), "{claims}");
            }
            Err(error) => assert!(is_sentence(&error.to_string()), "{error}"),
        }
    });
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("what is trusted is JSON")
}

/// What stands for a password, and is none of the words of an error.
const PASSWORD: &str = "7f3k9q";

// Break: let `Parameters::parse` of store's connection/url.rs show the value of a parameter that it doesn't know.
#[test]
fn database_url() {
    check!().with_iterations(RANDOM).for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        // The name of a parameter is shown, and this must not be one.
        if text.contains(PASSWORD) {
            return;
        }
        for url in [text.to_owned(), format!("postgres://u:{PASSWORD}@{text}"), format!("{text}={PASSWORD}")]
        {
            let parsed = DatabaseUrl::parse(&Secret::new(url));
            match &parsed {
                Ok(parsed) => {
                    assert!(!parsed.hosts.is_empty(), "a connection leads somewhere");
                    for host in &parsed.hosts {
                        assert_eq!(host.get_hosts().len(), 1);
                        assert!(host.get_hostaddrs().len() <= 1 && host.get_ports().len() <= 1, "{host:?}");
                    }
                }
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.starts_with("DATABASE_URL (not shown) is not accepted"), "{error}");
                    assert!(!error.contains(PASSWORD), "{error}");
                }
            }
        }
    });
}

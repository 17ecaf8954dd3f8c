//! Every way in which a token can be wrong, and the few in which it is right.
//!
//! The files beside this one hold what can't be made here, since ring makes no RSA keys: two public keys and a token.
//! Their private keys are gone; others are made with `openssl genrsa`, `openssl rsa -pubout` and
//! `openssl dgst -sha256 -sign`.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use platform::settings::{Environment, InvalidSetting};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use serde_json::{Value, json};

use super::caller::{Caller, STAMPS_READ, STAMPS_WRITE};
use super::issue::Grant;
use super::token::TokenError;
use super::*;
use uuid::Uuid;

const SECRET: &str = "canary-0123456789-0123456789-0123";
const USER: &str = "6f1c2a52-7d0e-4a34-9d0b-2f6f5f0c9a11";
const RSA_2048: &str = include_str!("rsa_2048.pem");
const RSA_1024: &str = include_str!("rsa_1024.pem");
/// A token signed with the private half of `RSA_2048`; for `USER`, until an hour after `now()`.
const RS256: &str = include_str!("rs256.jwt");

/// Returns 2026-01-01 12:00 UTC.
fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_268_800, 0).expect("a time")
}

fn settings(variables: &[(&str, &str)]) -> Result<AuthSettings, InvalidSetting> {
    let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    AuthSettings::from_environment(&Environment::from_variables(owned)?)
}

fn verifier(variables: &[(&str, &str)]) -> Verifier {
    Verifier::new(settings(variables).expect("good settings")).expect("a key")
}

fn with_secret() -> Verifier {
    verifier(&[("JWT_SECRET", SECRET)])
}

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

/// Returns a token of these parts, whatever they are.
fn signed(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn hmac(key: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
    move |message| ring::hmac::sign(&key, message).as_ref().to_vec()
}

/// Returns a token that is signed as it should be.
fn hs256(claims: &Value) -> String {
    signed(&json!({"alg": "HS256"}), claims, hmac(SECRET.as_bytes()))
}

/// Returns good claims with some changed, or taken out by a null.
fn claims(changes: Value) -> Value {
    let mut claims = json!({"sub": USER, "exp": now().timestamp() + 3_600});
    let Value::Object(changes) = changes else { panic!("an object") };
    let members = claims.as_object_mut().expect("an object");
    for (name, value) in changes {
        if value.is_null() {
            members.remove(&name)
        } else {
            members.insert(name, value)
        };
    }
    claims
}

#[track_caller]
fn all_refused(verifier: &Verifier, cases: &[(&str, String, TokenError)]) {
    for (why, token, error) in cases {
        assert_eq!(verifier.verify(token, now()), Err(*error), "{why}: {token}");
    }
}

#[test]
fn a_good_token_names_its_user_and_scopes() {
    let token =
        hs256(&claims(json!({"scope": "messages:send stamps:read", "aud": "anybody", "unknown": [1]})));
    let caller = with_secret().verify(&token, now()).expect("a good token");
    assert_eq!(caller.subject().to_string(), USER);
    assert!(caller.has_scope("messages:send") && caller.has_scope(STAMPS_READ));
    for scope in [STAMPS_WRITE, "messages", "send", "messages:send stamps:read"] {
        assert!(!caller.has_scope(scope), "{scope}");
    }

    let reads =
        |claims: Value| with_secret().verify(&hs256(&claims), now()).expect("good").has_scope(STAMPS_READ);
    assert!(reads(claims(json!({"scope": ["messages:send", "stamps:read"]}))), "a list of scopes");
    let mut null = claims(json!({}));
    assert!(!reads(null.clone()), "no scope");
    null["scope"] = Value::Null;
    assert!(!reads(null), "null for a scope");
}

#[test]
fn a_key_id_or_the_address_of_a_key_in_a_token_changes_nothing() {
    for header in [
        json!({"kid": "another"}),
        json!({"kid": "../../../../dev/null"}),
        json!({"kid": "http://127.0.0.1:1/key"}),
        json!({"jku": "http://127.0.0.1:1/jwks.json"}),
        json!({"x5u": "http://127.0.0.1:1/cert.pem"}),
        json!({"jwk": {"kty": "oct", "k": URL_SAFE_NO_PAD.encode("of the attacker's own making, 32 b")}}),
    ] {
        let mut header = header;
        header["alg"] = json!("HS256");
        let foreign = signed(&header, &claims(json!({})), hmac(b"of the attacker's own making, 32 b"));
        assert_eq!(with_secret().verify(&foreign, now()), Err(TokenError::Signature), "{header}");
        let empty = signed(&header, &claims(json!({})), hmac(b""));
        assert_eq!(with_secret().verify(&empty, now()), Err(TokenError::Signature), "{header}");
        let own = signed(&header, &claims(json!({})), hmac(SECRET.as_bytes()));
        with_secret().verify(&own, now()).expect("our own signature");
    }
}

// Break: push another algorithm to `validation.algorithms` in `Verifier::new` of auth/token.rs.
#[test]
fn the_algorithm_is_the_key_s_and_never_the_token_s() {
    let unsigned = |alg: &str| signed(&json!({"alg": alg}), &claims(json!({})), |_| Vec::new());
    let called = |alg: &str| signed(&json!({"alg": alg}), &claims(json!({})), hmac(SECRET.as_bytes()));
    all_refused(
        &with_secret(),
        &[
            ("no algorithm", unsigned("none"), TokenError::Malformed),
            ("in other letters", unsigned("nOnE"), TokenError::Malformed),
            ("no signature", unsigned("HS256"), TokenError::Signature),
            ("another hash", called("HS512"), TokenError::Algorithm),
            ("a public key's", called("RS256"), TokenError::Algorithm),
            ("one that does not exist", called("HS257"), TokenError::Malformed),
        ],
    );
    let body = RSA_2048.lines().filter(|line| !line.starts_with('-')).collect::<String>();
    let der = STANDARD.decode(body).expect("PEM");
    let confused = |secret: &[u8]| signed(&json!({"alg": "HS256"}), &claims(json!({})), hmac(secret));
    let rsa = verifier(&[("JWT_PUBLIC_KEY", RSA_2048)]);
    all_refused(
        &rsa,
        &[
            ("the public key as a secret, PEM", confused(RSA_2048.as_bytes()), TokenError::Algorithm),
            ("the same without a line feed", confused(RSA_2048.trim_end().as_bytes()), TokenError::Algorithm),
            ("DER", confused(&der), TokenError::Algorithm),
            ("DER without its wrapping", confused(&der[24..]), TokenError::Algorithm),
            ("a sibling", called("RS512"), TokenError::Algorithm),
            ("the other padding", called("PS256"), TokenError::Algorithm),
            ("an elliptic curve's", called("ES256"), TokenError::Algorithm),
            ("a signature that is none", called("RS256"), TokenError::Signature),
        ],
    );
}

#[test]
fn each_kind_of_public_key_takes_its_own_signatures_and_no_others() {
    let random = SystemRandom::new();
    let ec = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    let ec_signer = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &ec.serialize_der(), &random)
        .expect("a key");
    let ed = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    let ed_signer = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&ed.serialize_der()).expect("a key");
    let es256 = signed(&json!({"alg": "ES256"}), &claims(json!({})), |message| {
        ec_signer.sign(&random, message).expect("a signature").as_ref().to_vec()
    });
    let eddsa = signed(&json!({"alg": "EdDSA"}), &claims(json!({})), |message| {
        ed_signer.sign(message).as_ref().to_vec()
    });
    let keys = [RSA_2048.to_owned(), ec.public_key_pem(), ed.public_key_pem()];
    let tokens = [RS256.trim_end(), &es256, &eddsa];
    for (own, pem) in keys.iter().enumerate() {
        let verifier = verifier(&[("JWT_PUBLIC_KEY", pem)]);
        for (index, token) in tokens.into_iter().enumerate() {
            let outcome = verifier.verify(token, now()).map(|caller| caller.subject().to_string());
            let expected = if index == own { Ok(USER.to_owned()) } else { Err(TokenError::Algorithm) };
            assert_eq!(outcome, expected, "token {index} with key {own}");
        }
        let (message, signature) = tokens[own].rsplit_once('.').expect("three parts");
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64");
        bytes[7] ^= 1;
        let forged = format!("{message}.{}", URL_SAFE_NO_PAD.encode(bytes));
        assert_eq!(verifier.verify(&forged, now()), Err(TokenError::Signature), "key {own}");
    }
    let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key").public_key_pem();
    assert_eq!(verifier(&[("JWT_PUBLIC_KEY", &other)]).verify(&es256, now()), Err(TokenError::Signature));
}

// Break: set `validation.validate_exp` to true in auth/token.rs.
#[test]
fn times_are_compared_with_the_given_clock_and_a_leeway_of_five_seconds() {
    let second = now().timestamp();
    let with = |changes: Value| hs256(&claims(changes));
    for (why, token) in [
        ("expired within the leeway", with(json!({"exp": second - 4}))),
        ("a fraction", with(json!({"exp": second as f64 + 0.5}))),
        ("not before now", with(json!({"nbf": second}))),
        ("not before the leeway's end", with(json!({"nbf": second + 5}))),
        ("until the end of time", with(json!({"exp": 1e300}))),
        ("issued in the future, which RFC 7519 does not forbid", with(json!({"iat": second + 60}))),
    ] {
        assert!(with_secret().verify(&token, now()).is_ok(), "{why}");
    }
    all_refused(
        &with_secret(),
        &[
            ("expired", with(json!({"exp": second - 5})), TokenError::Expired),
            ("expired long ago", with(json!({"exp": 1})), TokenError::Expired),
            ("before 1970", with(json!({"exp": -1})), TokenError::Expired),
            ("not yet", with(json!({"nbf": second + 6})), TokenError::NotYet),
            ("for ever", with(json!({"exp": null})), TokenError::NoExpiry),
            (
                "an expiry that is a text",
                with(json!({"exp": (second + 60).to_string()})),
                TokenError::Malformed,
            ),
            ("a start that is a text", with(json!({"nbf": "now"})), TokenError::Malformed),
        ],
    );
    // Neither the host's clock, which is years away from these, nor anything else has a say.
    let token = with(json!({}));
    assert!(with_secret().verify(&token, now() - TimeDelta::days(9_000)).is_ok());
    assert_eq!(with_secret().verify(&token, now() + TimeDelta::hours(2)), Err(TokenError::Expired));
}

#[test]
fn audience_and_issuer_match_where_they_are_configured() {
    let verifier = verifier(&[("JWT_SECRET", SECRET), ("JWT_AUDIENCE", "stamps"), ("JWT_ISSUER", "us")]);
    let with = |changes: Value| hs256(&claims(changes));
    for audience in [json!("stamps"), json!(["others", "stamps"])] {
        verifier.verify(&with(json!({"aud": audience, "iss": "us"})), now()).expect("both match");
    }
    all_refused(
        &verifier,
        &[
            ("another audience", with(json!({"aud": "others", "iss": "us"})), TokenError::Audience),
            ("a part of it", with(json!({"aud": "stamp", "iss": "us"})), TokenError::Audience),
            ("other audiences", with(json!({"aud": ["a", "b"], "iss": "us"})), TokenError::Audience),
            ("nobody", with(json!({"aud": [], "iss": "us"})), TokenError::Audience),
            ("no audience", with(json!({"iss": "us"})), TokenError::Audience),
            ("no text", with(json!({"aud": 1, "iss": "us"})), TokenError::Audience),
            ("another issuer", with(json!({"aud": "stamps", "iss": "them"})), TokenError::Issuer),
            ("no issuer", with(json!({"aud": "stamps"})), TokenError::Issuer),
        ],
    );
}

#[test]
fn what_is_not_the_token_that_was_signed_is_refused() {
    let good = hs256(&claims(json!({})));
    let (head, signature) = good.rsplit_once('.').expect("three parts");
    let header = head.split('.').next().expect("a header");
    let other = encoded(&claims(json!({"sub": Uuid::nil()})));
    let with = |changes: Value| hs256(&claims(changes));
    let critical = json!({"alg": "HS256", "crit": ["exp"]});
    all_refused(
        &with_secret(),
        &[
            ("another's claims", format!("{header}.{other}.{signature}"), TokenError::Signature),
            ("half a signature", good[..good.len() - 23].to_owned(), TokenError::Signature),
            ("no signature", format!("{head}."), TokenError::Signature),
            ("two parts", head.to_owned(), TokenError::Malformed),
            ("four parts", format!("{good}.e30"), TokenError::Malformed),
            ("five parts, as of a JWE", format!("{good}.e30.e30"), TokenError::Malformed),
            ("one word", "token".to_owned(), TokenError::Malformed),
            ("dots", "..".to_owned(), TokenError::Malformed),
            ("two tokens", format!("{good}, {good}"), TokenError::Malformed),
            ("padding", format!("{good}="), TokenError::Malformed),
            ("no user", with(json!({"sub": null})), TokenError::Subject),
            ("a name", with(json!({"sub": "admin"})), TokenError::Subject),
            ("an empty name", with(json!({"sub": ""})), TokenError::Subject),
            ("a number", with(json!({"sub": 7})), TokenError::Malformed),
            ("a list of scopes with a number", with(json!({"scope": ["a", 1]})), TokenError::Malformed),
            ("a number for a scope", with(json!({"scope": 1})), TokenError::Malformed),
            (
                "an extension that has to be understood",
                signed(&critical, &claims(json!({})), hmac(SECRET.as_bytes())),
                TokenError::Critical,
            ),
        ],
    );
}

#[test]
fn a_key_that_can_t_be_used_is_named_and_not_shown() {
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
    let ed = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    let broken = RSA_2048.replacen('M', "A", 2);
    for (variables, expected) in [
        (&[("JWT_SECRET", "0123456789012345678901234canary")][..], "this has 31"),
        (&[("JWT_PUBLIC_KEY", "canary")], "this is none"),
        (&[("JWT_PUBLIC_KEY", &broken)], "this is none"),
        (&[("JWT_PUBLIC_KEY", &ed.serialize_pem())], "this is none"),
        (&[("JWT_PUBLIC_KEY", RSA_1024)], "an RSA key of 1024 bits"),
        (&[("JWT_PUBLIC_KEY", &p384.public_key_pem())], "a key of another kind"),
        (&[("JWT_PUBLIC_KEY", RSA_2048), ("JWT_SECRET", SECRET)], "set one of them"),
        (&[("STAMPS_REQUIRE_AUTH", "true")], "set JWT_SECRET or JWT_PUBLIC_KEY"),
        (&[("STAMPS_REQUIRE_AUTH", "yes"), ("JWT_SECRET", SECRET)], "true or false"),
    ] {
        let error = settings(variables).expect_err(expected).to_string();
        assert!(error.starts_with(variables[0].0), "{error}");
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("canary") && !error.contains('\n'), "{error}");
    }
    assert!(settings(&[]).expect("open").key.is_none());
    assert!(settings(&[("JWT_SECRET", SECRET), ("STAMPS_REQUIRE_AUTH", "true")]).is_ok());
}

#[test]
fn a_token_that_is_made_here_is_good_here() {
    let grant = Grant {
        user: Uuid::parse_str(USER).expect("a uuid"),
        scopes: vec!["messages:send".to_owned(), STAMPS_READ.to_owned()],
        ttl: std::time::Duration::from_secs(60),
    };
    let plain = [("JWT_SECRET", SECRET)];
    let named = [("JWT_SECRET", SECRET), ("JWT_AUDIENCE", "stamps"), ("JWT_ISSUER", "us")];
    for variables in [&plain[..], &named] {
        let token = issue::token(&settings(variables).expect("good"), &grant, now()).expect("a token");
        let caller = verifier(variables).verify(&token, now()).expect("good");
        assert_eq!(caller, Caller::new(grant.user, "messages:send stamps:read".to_owned()));
        let later = now() + TimeDelta::seconds(66);
        assert_eq!(verifier(variables).verify(&token, later), Err(TokenError::Expired));
    }
    for variables in [&[][..], &[("JWT_PUBLIC_KEY", RSA_2048)]] {
        let error = issue::token(&settings(variables).expect("good"), &grant, now()).expect_err("no secret");
        assert!(
            error.is::<InvalidSetting>() && error.to_string().starts_with("JWT_SECRET is not set"),
            "{error}"
        );
    }
}

#[test]
fn a_secret_is_in_nothing_that_is_printed() {
    let settings = settings(&[("JWT_SECRET", SECRET)]).expect("good");
    let printed = format!("{settings:?} {:?} {:?}", with_secret(), Auth::new(settings.clone()));
    assert!(!printed.contains("canary"), "{printed}");
    assert!(!printed.contains(&format!("{:?}", SECRET.as_bytes())), "{printed}");
}

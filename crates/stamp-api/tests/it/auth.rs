//! Who may use which route. A new route is a row of `ROUTES`.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use platform::clock::host_time;
use platform::settings::Environment;
use stamp_api::auth::issue::{self, Grant};
use stamp_api::auth::settings::AuthSettings;
use stamp_api::auth::{STAMPS_READ, STAMPS_WRITE};
use uuid::Uuid;

use crate::harness::{Answer, JSON, World};

/// Long enough, and found in no log by chance.
const SECRET: &str = "canary-0123456789-0123456789-0123";
const OTHER_SECRET: &str = "another-0123456789-0123456789-012";
const PROTECTED: [(&str, &str); 2] = [("JWT_SECRET", SECRET), ("STAMPS_REQUIRE_AUTH", "true")];
/// Whose tokens they are: a path may hold it.
const CALLER: Uuid = Uuid::from_u128(0x6f1c_2a52_7d0e_4a34_9d0b_2f6f_5f0c_9a11);
const STAMP: &str = r#"{"object_cid":"CID","time_tolerance":10}"#;

/// Method, path, body, scope, and the status with the right token. `CID` is another id for every request.
const ROUTES: &[(&str, &str, &str, &str, u16)] = &[
    ("POST", "/datasender/create_stamp/", STAMP, STAMPS_WRITE, 201),
    ("POST", "/datasender/create_stamp", STAMP, STAMPS_WRITE, 201),
    ("POST", "/v1/stamps", STAMP, STAMPS_WRITE, 201),
    ("POST", "/v1/stamps/", STAMP, STAMPS_WRITE, 201),
    ("GET", "/v1/stamps/known", "", STAMPS_READ, 200),
    ("HEAD", "/v1/stamps/known", "", STAMPS_READ, 200),
    ("GET", "/v1/stamps/unknown", "", STAMPS_READ, 404),
    ("GET", "/v1/batches/1", "", STAMPS_READ, 404),
];

/// A token of the issuer that the service trusts, or of another.
fn token(secret: &str, scopes: &[&str], issued: DateTime<Utc>) -> String {
    let variables = [("JWT_SECRET".to_owned(), secret.to_owned())];
    let environment = Environment::from_variables(variables).expect("no files are named");
    let settings = AuthSettings::from_environment(&environment).expect("a secret");
    let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
    let grant = Grant { user: CALLER, scopes, ttl: Duration::from_mins(10) };
    issue::token(&settings, &grant, issued).expect("a token")
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

/// What a request carries, and what becomes of it.
struct Case {
    why: &'static str,
    headers: String,
    status: u16,
    challenge: Option<String>,
    detail: String,
}

/// What a route does with everything that a client may send as its authorization.
fn cases(scope: &str, success: u16) -> Vec<Case> {
    let now = host_time();
    let every_other: Vec<&str> =
        ["messages:send", STAMPS_READ, STAMPS_WRITE].into_iter().filter(|&other| other != scope).collect();
    let right = token(SECRET, &["a", scope], now);
    let refused = |why, headers, code: &str, detail: &str| Case {
        why,
        headers,
        status: if code.contains("scope") { 403 } else { 401 },
        challenge: Some(format!("Bearer realm=\"stamp-api\"{code}")),
        detail: detail.to_owned(),
    };
    let invalid =
        |why, token: &str, detail| refused(why, bearer(token), r#", error="invalid_token""#, detail);
    let insufficient = |why, token: &str| {
        let code = format!(r#", error="insufficient_scope", scope="{scope}""#);
        refused(why, bearer(token), &code, &format!("the scope {scope}"))
    };
    let passes =
        |why, headers| Case { why, headers, status: success, challenge: None, detail: String::new() };
    vec![
        refused("no token", String::new(), "", "Send a token"),
        refused("another scheme", "authorization: Basic YTpi\r\n".to_owned(), "", "Send a token"),
        refused("no token after the scheme", "authorization: Bearer\r\n".to_owned(), "", "Send a token"),
        refused("two headers", bearer(&right).repeat(2), "", "more than one"),
        invalid("no JWT", "nonsense", "malformed"),
        invalid("100 KB", &"x".repeat(100_000), "too long"),
        invalid("a foreign signature", &token(OTHER_SECRET, &[scope], now), "signature"),
        invalid("expired", &token(SECRET, &[scope], now - TimeDelta::minutes(11)), "expired"),
        insufficient("no scope", &token(SECRET, &[], now)),
        insufficient("every other scope", &token(SECRET, &every_other, now)),
        passes("the right scope", bearer(&right)),
        passes("the scheme in small letters", bearer(&right).replace("Bearer", "bearer")),
    ]
}

#[track_caller]
fn assert_answer(route: &str, case: &Case, answer: &Answer, body_is_sent: bool) {
    let Case { why, status, challenge, detail, .. } = case;
    assert_eq!(answer.status, *status, "{route}, {why}: {answer:?}");
    assert_eq!(answer.header("www-authenticate"), challenge.as_deref(), "{route}, {why}");
    if challenge.is_some() && body_is_sent {
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{route}, {why}");
        let problem = answer.json();
        assert!(
            problem["detail"].as_str().is_some_and(|text| text.contains(detail.as_str())),
            "{why}: {problem}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_route_takes_its_own_scope_and_nothing_less_and_no_log_tells_a_secret() {
    let log = Log::capture();
    let world = World::new().await;
    let api = world.serve(&PROTECTED).await;
    let known = api
        .request(
            "POST",
            "/v1/stamps",
            &(JSON.to_owned() + &bearer(&token(SECRET, &[STAMPS_WRITE], host_time()))),
            &STAMP.replace("CID", "known"),
        )
        .await;
    assert_eq!(known.status, 201, "{known:?}");
    let mut sent = Vec::new();
    for (index, &(method, path, body, scope, success)) in ROUTES.iter().enumerate() {
        let route = format!("{method} {path}");
        for (number, case) in cases(scope, success).into_iter().enumerate() {
            let headers = JSON.to_owned() + &case.headers;
            let body = body.replace("CID", &format!("{index}-{number}"));
            let answer = api.request(method, path, &headers, &body).await;
            assert_answer(&route, &case, &answer, method != "HEAD");
            sent.extend(
                case.headers.split_ascii_whitespace().filter(|word| word.len() > 40).map(str::to_owned),
            );
        }
    }
    // Two of the cases pass.
    let writers = ROUTES.iter().filter(|route| route.3 == STAMPS_WRITE).count() as i64;
    assert_eq!(world.stamps().await, 1 + 2 * writers);
    for path in ["/livez", "/readyz"] {
        assert_eq!(api.get(path).await.status, 200, "{path}");
    }
    api.stop().await;
    let log = log.text();
    assert!(log.contains("taking stamps in"), "the log is captured: {log}");
    for secret in sent.iter().map(String::as_str).chain([SECRET]) {
        assert!(!log.contains(secret), "{secret:.60} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn open_routes_look_at_no_token() {
    let world = World::new().await;
    let api = world.serve(&[("JWT_SECRET", SECRET)]).await;
    for (index, headers) in
        ["", "authorization: Bearer nonsense\r\n", "authorization: Basic YTpi\r\n"].iter().enumerate()
    {
        let body = STAMP.replace("CID", &format!("open-{index}"));
        let answer = api.request("POST", "/v1/stamps", &format!("{JSON}{headers}"), &body).await;
        assert_eq!(answer.status, 201, "{headers}: {answer:?}");
        let answer = api.request("GET", &format!("/v1/stamps/open-{index}"), headers, "").await;
        assert_eq!(answer.status, 200, "{headers}: {answer:?}");
    }
    api.stop().await;
}

/// All that this process logs, whatever `RUST_LOG` would say.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn capture() -> Self {
        let log = Self::default();
        let writer = log.clone();
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .init();
        log
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

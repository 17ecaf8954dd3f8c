//! Who may use which route. A new route is a row of `ROUTES`.

use chrono::TimeDelta;
use stamp_api::auth::caller::{MESSAGES_SEND, STAMPS_READ, STAMPS_WRITE};
use store::clock::host_time;
use test_support::TestTopic;
use uuid::Uuid;

use crate::harness::{Answer, JSON, World};
use crate::log::Log;
use crate::tokens::{SECRET, bearer, token};

const OTHER_SECRET: &str = "another-0123456789-0123456789-012";
const PROTECTED: [(&str, &str); 2] = [("JWT_SECRET", SECRET), ("STAMPS_REQUIRE_AUTH", "true")];
/// The user whose tokens are sent: a path may hold this id.
const CALLER: Uuid = Uuid::from_u128(0x6f1c_2a52_7d0e_4a34_9d0b_2f6f_5f0c_9a11);
const STAMP: &str = r#"{"object_cid":"CID","time_tolerance":10}"#;
const MANY: &str = r#"[{"object_cid":"CID","time_tolerance":10}]"#;
const MESSAGE: &str = r#"{"ns-message":{"subject":"s","body":"b"}}"#;

/// Whose token a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Anybody's token with this scope.
    Scope(&'static str),
    /// The token of the user in the path.
    Self_,
}
use Needs::{Scope, Self_};

/// Method, path, body, whose token the route takes, and the status with the right one. `CID` is another id for every
/// request, `USER` the caller, and `UUID` a message of theirs.
const ROUTES: &[(&str, &str, &str, Needs, u16)] = &[
    ("POST", "/datasender/create_stamp/", STAMP, Scope(STAMPS_WRITE), 201),
    ("POST", "/datasender/create_stamp", STAMP, Scope(STAMPS_WRITE), 201),
    ("POST", "/v1/stamps", STAMP, Scope(STAMPS_WRITE), 201),
    ("POST", "/v1/stamps/", STAMP, Scope(STAMPS_WRITE), 201),
    ("POST", "/v1/stamps/bulk", MANY, Scope(STAMPS_WRITE), 200),
    ("POST", "/v1/stamps/bulk/", MANY, Scope(STAMPS_WRITE), 200),
    ("GET", "/v1/stamps/bulk", "", Scope(STAMPS_READ), 404),
    ("GET", "/v1/stamps/known", "", Scope(STAMPS_READ), 200),
    ("HEAD", "/v1/stamps/known", "", Scope(STAMPS_READ), 200),
    ("GET", "/v1/stamps/unknown", "", Scope(STAMPS_READ), 404),
    ("GET", "/v1/stamps", "", Scope(STAMPS_READ), 200),
    ("GET", "/v1/batches", "", Scope(STAMPS_READ), 200),
    ("GET", "/v1/batches/1", "", Scope(STAMPS_READ), 404),
    ("POST", "/v1/users/USER/messages", MESSAGE, Scope(MESSAGES_SEND), 201),
    ("POST", "/v1/users/USER/messages/", MESSAGE, Scope(MESSAGES_SEND), 201),
    ("POST", "/v1/users/USER/messages/check", "", Self_, 200),
    ("POST", "/v1/users/USER/messages/check/", "", Self_, 200),
    ("GET", "/v1/users/USER/messages", "", Self_, 200),
    ("HEAD", "/v1/users/USER/messages/", "", Self_, 200),
    ("GET", "/v1/users/USER/messages?limit=0", "", Self_, 400),
    ("GET", "/v1/users/USER/messages/counts", "", Self_, 200),
    ("GET", "/v1/users/USER/messages/counts/", "", Self_, 200),
    ("GET", "/v1/users/USER/messages/UUID", "", Self_, 200),
    ("HEAD", "/v1/users/USER/messages/UUID/", "", Self_, 200),
    ("POST", "/v1/users/USER/messages/UUID/trash", "", Self_, 200),
    ("POST", "/v1/users/USER/messages/UUID/trash/", "", Self_, 200),
    ("POST", "/v1/users/USER/messages/UUID/restore", "", Self_, 200),
    ("POST", "/v1/users/USER/messages/UUID/restore/", "", Self_, 200),
    ("DELETE", "/v1/users/USER/messages/UUID", "", Self_, 409),
    ("DELETE", "/v1/users/USER/messages/UUID/", "", Self_, 409),
];

/// What a request carries, and what becomes of it.
struct Case {
    why: &'static str,
    headers: String,
    status: u16,
    challenge: Option<String>,
    detail: String,
}

/// Returns what a route does with everything that a client may send as its authorization.
fn cases(needs: Needs, success: u16) -> Vec<Case> {
    let now = host_time();
    let all = [MESSAGES_SEND, STAMPS_READ, STAMPS_WRITE];
    let scopes = match &needs {
        Scope(scope) => std::slice::from_ref(scope),
        Self_ => &[],
    };
    let right = token(SECRET, CALLER, &[&["a"], scopes].concat(), now);
    let refused = |why, headers, code: &str, detail: &str| Case {
        why,
        headers,
        status: if code.contains("scope") { 403 } else { 401 },
        challenge: Some(format!("Bearer realm=\"stamp-api\"{code}")),
        detail: detail.to_owned(),
    };
    let invalid =
        |why, token: &str, detail| refused(why, bearer(token), r#", error="invalid_token""#, detail);
    let passes =
        |why, headers| Case { why, headers, status: success, challenge: None, detail: String::new() };
    let mut cases = vec![
        refused("no token", String::new(), "", "Send a token"),
        refused("another scheme", "authorization: Basic YTpi\r\n".to_owned(), "", "Send a token"),
        refused("no token after the scheme", "authorization: Bearer\r\n".to_owned(), "", "Send a token"),
        refused("two headers", bearer(&right).repeat(2), "", "more than one"),
        invalid("no JWT", "nonsense", "malformed"),
        invalid("100 KB", &"x".repeat(100_000), "too long"),
        invalid("a foreign signature", &token(OTHER_SECRET, CALLER, scopes, now), "signature"),
        invalid("expired", &token(SECRET, CALLER, scopes, now - TimeDelta::minutes(11)), "expired"),
        passes("the right token", bearer(&right)),
        passes("the scheme in small letters", bearer(&right).replace("Bearer", "bearer")),
    ];
    match needs {
        Scope(scope) => {
            let code = format!(r#", error="insufficient_scope", scope="{scope}""#);
            let every_other: Vec<&str> = all.into_iter().filter(|&other| other != scope).collect();
            for (why, scopes) in [("no scope", &[][..]), ("every other scope", &every_other)] {
                let token = token(SECRET, CALLER, scopes, now);
                cases.push(refused(why, bearer(&token), &code, &format!("the scope {scope}")));
            }
            cases.push(passes("another user", bearer(&token(SECRET, Uuid::new_v4(), &[scope], now))));
        }
        Self_ => {
            for (why, scopes) in [("another user", &[][..]), ("another user with every scope", &all)] {
                let other = bearer(&token(SECRET, Uuid::new_v4(), scopes, now));
                cases.push(Case { status: 403, ..passes(why, other) });
            }
        }
    }
    cases
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

// Break: count no refusals in http/measure.rs, take the `StampReader` from `show` in http/routes/batches.rs, or log the token in `bearer_token` of
// http/caller.rs.
#[tokio::test(flavor = "multi_thread")]
async fn each_route_takes_its_own_scope_or_user_and_nothing_less_and_no_log_tells_a_secret() {
    let log = Log::capture();
    let (world, _topic) = (World::new().await, TestTopic::unmade_of_user(CALLER));
    let api = world.serve(&PROTECTED).await;
    let everything = token(SECRET, CALLER, &[STAMPS_WRITE, MESSAGES_SEND], host_time());
    let messages = format!("/v1/users/{CALLER}/messages");
    let mut known = Vec::new();
    for (path, body) in [
        ("/v1/stamps", STAMP.replace("CID", "known")),
        (&messages, MESSAGE.to_owned()),
        (&(messages.clone() + "/check"), String::new()),
    ] {
        let answer = api.request("POST", path, &(JSON.to_owned() + &bearer(&everything)), &body).await;
        assert!(matches!(answer.status, 200 | 201), "{path}: {answer:?}");
        known.push(answer);
    }
    let uuid = known[2].json()["messages"][0]["uuid"].as_str().expect("a message").to_owned();
    let mut sent = Vec::new();
    for (index, &(method, path, body, needs, success)) in ROUTES.iter().enumerate() {
        let route = format!("{method} {path}");
        let path = path.replace("USER", &CALLER.to_string()).replace("UUID", &uuid);
        for (number, case) in cases(needs, success).into_iter().enumerate() {
            let headers = JSON.to_owned() + &case.headers;
            let body = body.replace("CID", &format!("{index}-{number}"));
            let answer = api.request(method, &path, &headers, &body).await;
            assert_answer(&route, &case, &answer, method != "HEAD");
            sent.extend(
                case.headers.split_ascii_whitespace().filter(|word| word.len() > 40).map(str::to_owned),
            );
        }
    }
    // Three of the cases pass.
    let writers = ROUTES.iter().filter(|route| route.3 == Scope(STAMPS_WRITE)).count() as i64;
    assert_eq!(world.stamps().await, 1 + 3 * writers);
    for path in ["/livez", "/readyz"] {
        assert_eq!(api.get(path).await.status, 200, "{path}");
    }
    for (reason, of_each_route) in [("missing", 3), ("expired", 1), ("signature", 1), ("too_long", 1)] {
        let counted = api.metric(&format!(r#"stamp_api_http_refusals_total{{reason="{reason}"}}"#)).await;
        assert_eq!(counted as usize, of_each_route * ROUTES.len(), "{reason}");
    }
    api.stop().await;
    let log = log.text();
    assert!(log.contains("taking stamps in"), "the log is captured: {log}");
    assert!(log.contains("caller refused"), "refusals are told: {log}");
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

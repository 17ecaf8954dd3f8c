//! Attacks on the routes of messages. The names in front are those of the security checklist.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::{Value, json};
use stamp_api::auth::caller::MESSAGES_SEND;
use store::clock::host_time;
use uuid::Uuid;

use super::{KEY, User, send, subjects, uuid};
use crate::harness::{Answer, Api, FORM, JSON, World};
use crate::log::Log;
use crate::tokens::{SECRET, authorization, bearer, token};

/// A text for every place that takes one.
pub(super) const SQL: &str = "'); DROP TABLE stored_messages; --";

pub(super) fn sender() -> String {
    authorization(Uuid::new_v4(), &[MESSAGES_SEND])
}

/// Returns a user with one message in the inbox.
pub(super) async fn with_message(api: &Api, subject: &str) -> (User, Value) {
    let user = User::new();
    let sent = send(api, &user, &json!({"subject": subject, "body": "b"})).await;
    assert_eq!(sent.status, 201, "{sent:?}");
    let message = user.check(api).await.remove(0);
    (user, message)
}

fn without_request_id(answer: &Answer) -> (u16, &str, Option<&str>) {
    (answer.status, &answer.body, answer.header("content-type"))
}

// Break: leave `require_self` out of `own` in http/routes/messages/mod.rs.
#[tokio::test(flavor = "multi_thread")]
async fn another_s_messages_are_403_by_user_and_by_uuid_the_same_404_as_a_random_one() {
    let world = World::new().await;
    let api = world.serve(&KEY).await;
    let ((mine, _), (theirs, message)) =
        (with_message(&api, "mine").await, with_message(&api, "theirs").await);
    for (method, rest) in [("GET", ""), ("POST", "/trash"), ("POST", "/restore"), ("DELETE", "")] {
        let path = |user: Uuid, uuid: &str| format!("/v1/users/{user}/messages/{uuid}{rest}");
        let (api, mine) = (&api, &mine);
        let ask = |path: String| async move { api.request(method, &path, &mine.authorization, "").await };
        let found = ask(path(mine.id, uuid(&message))).await;
        let random = ask(path(mine.id, &Uuid::new_v4().to_string())).await;
        assert_eq!(found.status, 404, "A1 {method} {rest}");
        assert_eq!(without_request_id(&found), without_request_id(&random), "A1 {method} {rest}");
        let (real, random) = (
            ask(path(theirs.id, uuid(&message))).await,
            ask(path(theirs.id, &Uuid::new_v4().to_string())).await,
        );
        assert_eq!(real.status, 403, "A1 {method} {rest}");
        assert_eq!(without_request_id(&real), without_request_id(&random), "A1 {method} {rest}");
    }
    for (method, rest) in [("GET", ""), ("GET", "/counts"), ("POST", "/check"), ("GET", "?limit=x")] {
        let path = format!("/v1/users/{}/messages{rest}", theirs.id);
        assert_eq!(
            api.request(method, &path, &mine.authorization, "").await.status,
            403,
            "A1 {method} {rest}"
        );
    }
    let line = format!("{}x-user-id: {}\r\n", mine.authorization, theirs.id);
    for query in ["user_id", "user", "sub", "recipient", "owner"] {
        let path = format!("/v1/users/{}/messages?{query}={}", mine.id, theirs.id);
        let listed = api.request("GET", &path, &line, &json!({"owner": theirs.id}).to_string()).await;
        assert_eq!(listed.status, 200, "A2 {query}");
        assert_eq!(subjects(listed.json()["items"].as_array().expect("a list")), ["mine"], "A2 {query}");
    }
    assert_eq!(theirs.get(&api, "").await["items"], json!([message]), "and nothing of it has changed");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_cursors_that_were_tampered_with_are_400_with_that_field() {
    let world = World::new().await;
    let api = world.serve(&KEY).await;
    let (user, _) = with_message(&api, "mine").await;
    for limit in
        ["abc", "0", "201", "-1", "1000000000", "1%20OR%201=1", "1e2", "0x10", "%00", "", "1&limit=2"]
    {
        let answer = user.ask(&api, "GET", &format!("?limit={limit}")).await;
        assert_eq!((answer.status, answer.json()["limit"].is_array()), (400, true), "A3 {limit}: {answer:?}");
    }
    // With the end that every cursor has.
    let encode = |plain: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(format!("{plain};"))
    };
    assert_eq!(user.ask(&api, "GET", &format!("?after={}", encode("inbox:1"))).await.status, 200, "a cursor");
    let long = "A".repeat(10_000);
    for (cursor, why) in [
        (encode("trash:1"), "another folder's"),
        (encode("inbox:-1"), "negative"),
        (encode("inbox:99999999999999999999"), "huge"),
        (encode(&format!("inbox:{SQL}")), "SQL"),
        ("%00".to_owned(), "a NUL"),
        ("..%2F..".to_owned(), "a path"),
        (long, "10 KB"),
    ] {
        let answer = user.ask(&api, "GET", &format!("?after={cursor}")).await;
        assert_eq!((answer.status, answer.json()["after"].is_array()), (400, true), "A3 {why}: {answer:?}");
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trashing_and_restoring_at_the_same_time_ends_in_one_of_the_two_and_nothing_is_deleted_from_the_inbox()
 {
    let world = World::new().await;
    let api = world.serve(&KEY).await;
    let (user, message) = with_message(&api, "mine").await;
    let one = format!("/{}", uuid(&message));
    let actions = (0..100).map(|number| if number % 2 == 0 { "/trash" } else { "/restore" });
    let answers = actions.map(|action| {
        let rest = format!("{one}{action}");
        let (user, api) = (&user, &api);
        async move { user.ask(api, "POST", &rest).await.status }
    });
    let statuses: BTreeSet<u16> = futures_util::future::join_all(answers).await.into_iter().collect();
    assert_eq!(statuses, BTreeSet::from([200]), "A6");
    let counts = user.get(&api, "/counts").await;
    assert_eq!(counts["inbox"].as_i64().zip(counts["trash"].as_i64()).map(|(a, b)| a + b), Some(1), "A6");
    assert_eq!(user.ask(&api, "POST", &format!("{one}/restore")).await.status, 200);
    let answer = user.ask(&api, "DELETE", &one).await;
    assert_eq!(answer.status, 409, "A6 a repeated request never deletes more than was meant");
    assert!(answer.header("location").is_none() && !answer.body.contains(uuid(&message)), "A5 {answer:?}");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_one_header_that_is_signed_and_in_time_and_everything_else_is_401() {
    let world = World::new().await;
    let api = world.serve(&KEY).await;
    let (user, message) = with_message(&api, "mine").await;
    let now = host_time();
    let right = token(SECRET, user.id, &[MESSAGES_SEND], now);
    let (_, rest) = right.split_once('.').expect("a header");
    let (claims, _) = rest.split_once('.').expect("claims");
    let with_header = |header: &str| {
        use base64::Engine as _;
        format!("{}.{rest}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header))
    };
    let url = format!("?access_token={right}");
    for (headers, query, why) in [
        (String::new(), "", "A7 no token"),
        ("authorization: \r\n".to_owned(), "", "A7 an empty one"),
        ("authorization: Bearer\r\n".to_owned(), "", "A7 the scheme alone"),
        (bearer(&right).repeat(2), "", "A7 two headers"),
        (bearer(&"x".repeat(100_000)), "", "A7 100 KB"),
        (bearer(&(with_header(r#"{"alg":"none"}"#))), "", "A8 no algorithm"),
        (bearer(&format!("eyJhbGciOiJub25lIn0.{claims}.")), "", "A8 no algorithm and no signature"),
        (bearer(&with_header(r#"{"alg":"RS256"}"#)), "", "A8 another algorithm"),
        (bearer(&with_header(r#"{"alg":"HS256","kid":"../../etc/passwd"}"#)), "", "A8 a path for a key"),
        (bearer(&with_header(r#"{"alg":"HS256","jku":"http://127.0.0.1/"}"#)), "", "A8 an address of keys"),
        (bearer(&token(&"y".repeat(32), user.id, &[], now)), "", "A8 another key"),
        (bearer(&token(SECRET, user.id, &[], now - TimeDelta::hours(1))), "", "A8 expired"),
        (bearer(&(right.clone() + "x")), "", "A9 a wrong tail"),
        (bearer(&right[..right.len() - 1]), "", "A9 cut"),
        (String::new(), url.as_str(), "A9 in the URL"),
        (format!("cookie: token={right}\r\n"), "", "A9 in a cookie"),
    ] {
        let one = format!("/{}", uuid(&message));
        for (method, rest) in [("GET", ""), ("POST", "/check"), ("POST", ""), ("DELETE", &one), ("GET", "/x")]
        {
            let path = format!("/v1/users/{}/messages{rest}{query}", user.id);
            let answer = api.request(method, &path, &(JSON.to_owned() + &headers), "{").await;
            assert_eq!(answer.status, 401, "{why}, {method} {rest}: {answer:?}");
            assert!(answer.header("www-authenticate").is_some(), "{why}, {method} {rest}: {answer:?}");
        }
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_taken_as_it_is_or_refused_with_its_fields_and_never_does_more_than_it_says() {
    let (log, world, user) = (Log::capture(), World::new().await, User::new());
    let api = world.serve(&KEY).await;
    let with = |name: &str, value: Value| {
        let mut message = json!({"subject": "s", "body": "b"});
        message[name] = value;
        message
    };
    let forged = "x\n2026-01-01T00:00:00Z ERROR canary \u{1b}[31m {\"level\":\"ERROR\"}";
    let crlf = "a\r\nSet-Cookie: a=b\r\n\r\n<html>";
    let mut taken = Vec::new();
    let long = "l".repeat(60_000);
    for (message, fields, why) in [
        (with("is_active", json!(true)), &[][..], "as it should be"),
        (with("uuid", json!(Uuid::nil())), &[], "A4 an id of one's own"),
        (with("recipient", json!(Uuid::nil())), &[], "A4 another recipient"),
        (with("created_by", json!("root")), &[], "A4 another author"),
        (with("deleted_at", json!("2026-01-01")), &[], "A4 deleted from the start"),
        (with("subject", json!(SQL)), &[], "A19 SQL in the subject"),
        (with("body", json!(SQL)), &[], "A19 SQL in the body"),
        (with("reference_url", json!("https://example.com/';DROP")), &[], "A19 SQL in the address"),
        (with("reference_url", json!("javascript:alert(1)")), &["reference_url"], "A20 a script"),
        (with("reference_url", json!("JaVaScRiPt:alert(1)")), &["reference_url"], "A20 in mixed case"),
        (with("reference_url", json!("\tjavascript:alert(1)")), &["reference_url"], "A20 behind a tab"),
        (with("reference_url", json!("data:text/html,x")), &["reference_url"], "A20 data"),
        (with("reference_url", json!("vbscript:x")), &["reference_url"], "A20 another script"),
        (with("reference_url", json!("//evil")), &["reference_url"], "A20 no scheme"),
        (with("reference_url", json!("https://good@evil/")), &["reference_url"], "A20 user info"),
        (with("reference_url", json!("file:///etc/passwd")), &["reference_url"], "A20 a file"),
        (with("reference_url", json!("https://\r\nevil/")), &["reference_url"], "A20 a line break"),
        (with("subject", json!(crlf)), &[], "A23 a header in the subject"),
        (with("body", json!(crlf)), &[], "A23 a header in the body"),
        (with("subject", json!("a\0b")), &["subject"], "A23 a NUL in the subject"),
        (with("body", json!("a\0b")), &["body"], "A23 a NUL in the body"),
        (with("reference_url", json!("https://a/\0")), &["reference_url"], "A23 a NUL in the address"),
        (with("subject", json!(forged)), &[], "A24 a line of the log"),
        (with("body", json!(forged.repeat(100))), &[], "A24 many lines"),
        (with("body", json!(long)), &[], "A24 60 KB"),
        (with("subject", json!("s".repeat(256))), &["subject"], "a long subject"),
        (json!({}), &["body", "subject"], "nothing"),
        (json!([]), &["ns-message"], "no object"),
    ] {
        let answer = send(&api, &user, &message).await;
        assert!(answer.header("set-cookie").is_none(), "{why}: {answer:?}");
        if fields.is_empty() {
            assert_eq!(answer.status, 201, "{why}: {answer:?}");
            taken.push(message);
        } else {
            let problem = answer.json();
            let named: Vec<&str> =
                problem.as_object().expect("an object").keys().map(String::as_str).collect();
            let own = ["detail", "status", "title", "type"];
            let named: Vec<&str> = named.into_iter().filter(|name| !own.contains(name)).collect();
            assert_eq!((answer.status, named.as_slice()), (400, fields), "{why}: {answer:?}");
        }
    }
    let stored = user.check(&api).await;
    assert_eq!(stored.len(), taken.len(), "what was refused is not in the topic");
    for (message, sent) in stored.iter().zip(&taken) {
        assert_eq!((&message["subject"], &message["body"]), (&sent["subject"], &sent["body"]));
        assert_eq!(
            (&message["created_by"], &message["kafka"]["topic"]),
            (&json!("System Account"), &json!(user.id))
        );
        assert_ne!(uuid(message), Uuid::nil().to_string());
    }
    api.stop().await;
    // The database client's own log at TRACE has the values, escaped; none begins a line.
    let log = log.text();
    assert!(!log.contains('\u{1b}') && !log.lines().any(|line| line.starts_with("2026-01-01")), "A24");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_long_and_a_body_in_another_form_are_refused_on_these_routes_too() {
    let (world, user) = (World::new().await, User::new());
    let api = world.serve(&KEY).await;
    let path = format!("/v1/users/{}/messages", user.id);
    let body = r#"{"ns-message":{"subject":"s","body":"b"}}"#;
    let json = JSON.to_owned() + &sender();
    let many = json.clone() + &"x: a\r\n".repeat(97);
    let large = format!("{json}x: {}\r\n", "a".repeat(140_000));
    let form = FORM.to_owned() + &sender();
    let gzip = json.clone() + "content-encoding: gzip\r\n";
    let long = " ".repeat(64 * 1024 + 1);
    for (path, headers, body, status, why) in [
        (path.clone() + &"/a".repeat(35_000), &json, body, 400, "A13 a path of 70 KB"),
        (
            path.clone() + "/" + &"a".repeat(50_000),
            &json,
            body,
            405,
            "A13 50 KB, for a resource that takes no POST",
        ),
        (path.clone(), &many, body, 431, "A13 over 96 headers"),
        (path.clone(), &large, body, 431, "A13 140 KB of headers"),
        (path.clone(), &form, "subject=s&body=b", 415, "a form"),
        (path.clone(), &gzip, body, 415, "an encoding"),
        (path.clone(), &json, &long, 413, "over 64 KiB"),
        (path.clone(), &json, "{", 400, "no JSON"),
        (path.clone(), &json, r#"{"ns-message":{"subject":"s","body":"b"},"ns-message":{}}"#, 400, "twice"),
    ] {
        let answer = api.request("POST", &path, headers, body).await;
        assert_eq!(answer.status, status, "{why}: {answer:?}");
    }
    assert_eq!(user.ask(&api, "POST", "/check").await.json(), json!({"created": 0, "messages": []}));
    assert!(!user.topic.exists(), "nobody made it");
    for (method, rest, allow) in [
        ("PUT", "", "GET, HEAD, POST"),
        ("GET", "/check", "POST"),
        ("POST", "/counts", "GET, HEAD"),
        ("PATCH", "/x", "GET, HEAD, DELETE"),
        ("GET", "/x/trash/", "POST"),
        ("DELETE", "/x/restore", "POST"),
    ] {
        let answer = user.ask(&api, method, rest).await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some(allow)),
            "{method} {rest}: {answer:?}"
        );
    }
    api.stop().await;
}

//! The shape of every answer, over TCP as clients see it, with neither PostgreSQL nor Kafka there.

mod described;

use std::net::SocketAddr;

use platform::settings::Environment;
use platform::shutdown::CancellationToken;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::{self, RunningApi};
use crate::settings::ApiSettings;

const JSON: &str = "content-type: application/json\r\n";
const STAMP: &str = r#"{"object_cid":"a","time_tolerance":1}"#;

/// A service whose database and brokers never answer.
struct Service {
    running: RunningApi,
    stop: CancellationToken,
}

impl Service {
    fn start() -> Self {
        Self::with(&[])
    }

    fn with(further: &[(&str, &str)]) -> Self {
        let own = [
            ("DATABASE_URL", "postgres://u:p@127.0.0.1:1/d"),
            ("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1"),
            ("HTTP_ADDR", "127.0.0.1:0"),
            ("ADMIN_ADDR", "127.0.0.1:0"),
            ("SHUTDOWN_TIMEOUT_SECS", "2"),
        ];
        let variables =
            own.iter().chain(further).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let environment = Environment::from_variables(variables).expect("no files are named");
        let settings = ApiSettings::from_environment(&environment).expect("good settings");
        let stop = CancellationToken::new();
        Self { running: app::start(settings, stop.clone()).expect("free ports"), stop }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.running.join().await.expect("a clean stop");
    }

    async fn ask(&self, method: &str, path: &str) -> Answer {
        self.send(method, path, "", "").await
    }

    async fn post(&self, headers: &str, body: &str) -> Answer {
        self.send("POST", "/v1/stamps", headers, body).await
    }

    async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {length}\r\n");
        exchange(self.running.http, &format!("{head}connection: close\r\n\r\n{body}")).await
    }
}

async fn exchange(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Asserts that the answer is a problem with this status, and tells nothing of the inside.
    #[track_caller]
    fn is_problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert!(self.header("x-request-id").is_some(), "{self:?}");
        assert!(self.header("location").is_none(), "{self:?}");
        let problem: Value = serde_json::from_str(&self.body).expect("a JSON document");
        assert_eq!(problem["status"], status, "{problem}");
        for member in ["type", "title", "detail"] {
            assert!(problem[member].is_string(), "{member} of {problem}");
        }
        for secret in ["postgres", "sql", "127.0.0.1", "src/"] {
            assert!(!self.body.to_lowercase().contains(secret), "{problem}");
        }
        problem
    }
}

#[actix_web::test]
async fn a_path_that_leads_nowhere_is_404_and_never_a_redirect() {
    let service = Service::start();
    for path in [
        "/",
        "/nope",
        "//",
        "/v1",
        "/V1/stamps",
        "//datasender//create_stamp/",
        "/datasender/create_stamp//",
        "/datasender/./create_stamp/",
        "/v1//stamps",
        "/v1/stamps/a/b",
        "/v1/stamps//",
        "/v1/stamps/%FF",
        "/v1/stamps/%00",
        "/v1/stamps/%20",
        "/v1/batches/x",
        "/v1/batches/-1",
        "/v1/batches/99999999999999999999",
        "/v1/batches/1/2",
        "/metrics",
        "/v1/../metrics",
        "/v1/stamps/a%2Fb/c?x=%",
    ] {
        service.ask("GET", path).await.is_problem(404);
    }
    service.send("POST", "//datasender//create_stamp/", JSON, STAMP).await.is_problem(404);
    service.stop().await;
}

#[actix_web::test]
async fn a_method_that_a_resource_does_not_have_is_405_with_allow() {
    let service = Service::start();
    for (path, allow, methods) in [
        ("/v1/stamps", "GET, HEAD, POST", ["DELETE", "PUT", "TRACE", "BREW"]),
        ("/v1/stamps/", "GET, HEAD, POST", ["DELETE", "PUT", "OPTIONS", "PATCH"]),
        ("/datasender/create_stamp", "POST", ["GET", "DELETE", "TRACE", "OPTIONS"]),
        ("/datasender/create_stamp/", "POST", ["GET", "PUT", "TRACE", "post"]),
        ("/v1/stamps/bulk", "GET, HEAD, POST", ["PUT", "DELETE", "PATCH", "TRACE"]),
        ("/v1/stamps/a", "GET, HEAD", ["POST", "PUT", "DELETE", "TRACE"]),
        ("/v1/batches", "GET, HEAD", ["POST", "PUT", "DELETE", "TRACE"]),
        ("/v1/batches/1", "GET, HEAD", ["POST", "PUT", "DELETE", "TRACE"]),
        ("/livez", "GET, HEAD", ["POST", "PUT", "DELETE", "TRACE"]),
    ] {
        for method in methods {
            let answer = service.send(method, path, "x-http-method-override: POST\r\n", "").await;
            assert_eq!(answer.header("allow"), Some(allow), "{method} {path}: {answer:?}");
            if method == "HEAD" {
                assert_eq!((answer.status, answer.body.as_str()), (405, ""));
            } else {
                answer.is_problem(405);
            }
        }
    }
    service.stop().await;
}

#[actix_web::test]
async fn a_body_is_refused_for_its_type_its_length_or_its_form() {
    let service = Service::start();
    for headers in [
        "",
        "content-type: text/plain\r\n",
        "content-type: application/xml\r\n",
        "content-type: application/json; charset=utf-7\r\n",
        "content-type: application/json\r\ncontent-encoding: gzip\r\n",
        "content-type: application/json\r\ncontent-type: text/plain\r\n",
    ] {
        service.post(headers, STAMP).await.is_problem(415);
    }
    for body in ["", "{", "[]", "null", "\"a\"", "{} {}"] {
        service.post(JSON, body).await.is_problem(400);
    }
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    service.post(form, "object_cid=%FF").await.is_problem(400);
    let twice = service.post(form, "object_cid=a&object_cid=b").await.is_problem(400);
    assert!(twice["object_cid"][0].is_string(), "{twice}");

    for (path, too_long) in [("/v1/stamps", (64 << 10) + 1), ("/v1/stamps/bulk", (8 << 20) + 1)] {
        service.send("POST", path, JSON, &" ".repeat(too_long)).await.is_problem(413);
    }
    service.stop().await;
}

#[actix_web::test]
async fn a_connection_with_an_unread_body_is_closed_even_if_the_client_falls_silent() {
    let service = Service::start();
    let chunk = "3b9aca00\r\n".to_owned() + &"x".repeat(100_000);
    for (path, content_type, status) in
        [("/v1/stamps", JSON, 413), ("/v1/stamps", "", 415), ("/nope", JSON, 404), ("/livez", JSON, 405)]
    {
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: a\r\n{content_type}transfer-encoding: chunked\r\n\r\n");
        let answer = exchange(service.running.http, &(head + &chunk)).await;
        assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
        answer.is_problem(status);
    }
    service.stop().await;
}

// Break: take the `StampWriter` from `create` in http/routes/stamps.rs.
#[actix_web::test]
async fn who_may_not_pass_is_told_so_before_the_body_is_looked_at() {
    let secret = "0123456789abcdef0123456789abcdef";
    let service = Service::with(&[("JWT_SECRET", secret), ("STAMPS_REQUIRE_AUTH", "true")]);
    for (headers, body) in [
        (JSON, STAMP),
        (JSON, "{"),
        ("", STAMP),
        ("content-type: text/plain\r\ncontent-encoding: gzip\r\n", ""),
        (JSON, &" ".repeat(64 * 1024 + 1)),
        ("authorization: Basic YTpi\r\n", STAMP),
    ] {
        let answer = service.post(headers, body).await;
        assert_eq!(answer.header("www-authenticate"), Some(r#"Bearer realm="stamp-api""#), "{answer:?}");
        answer.is_problem(401);
    }
    // Nothing of these bodies ever comes.
    for framing in ["content-length: 60000", "content-length: 99999999999", "transfer-encoding: chunked"] {
        let head =
            format!("POST /v1/stamps HTTP/1.1\r\nhost: a\r\n{JSON}{framing}\r\nconnection: close\r\n\r\n");
        let answer = exchange(service.running.http, &head).await;
        answer.is_problem(401);
    }
    for path in ["/v1/stamps/a", "/v1/stamps/%FF", "/v1/batches/1", "/v1/batches/x"] {
        service.ask("GET", path).await.is_problem(401);
    }
    assert_eq!(service.ask("GET", "/livez").await.status, 200);
    assert_eq!(service.ask("GET", "/readyz").await.status, 503);
    service.stop().await;
}

#[actix_web::test]
async fn without_a_database_everything_else_is_503_and_may_be_tried_again() {
    let service = Service::start();
    for answer in [
        service.post(JSON, STAMP).await,
        service.send("POST", "/datasender/create_stamp/", JSON, "{}").await,
        service.send("POST", "/v1/stamps/bulk", JSON, "[]").await,
        service.ask("GET", "/v1/stamps/a%2Fb").await,
        service.ask("GET", "/v1/batches/1").await,
        service.ask("GET", "/v1/batches/1/").await,
        service.ask("GET", "/readyz").await,
    ] {
        assert_eq!(answer.header("retry-after"), Some("1"), "{answer:?}");
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    // No key is configured, so nobody can be told from anybody, and trying again changes nothing.
    for answer in [
        service.ask("GET", "/v1/users/x/messages").await,
        service.send("POST", "/v1/users/x/messages", "", "{").await,
    ] {
        assert_eq!((answer.status, answer.header("retry-after")), (503, None), "{answer:?}");
        assert!(answer.body.contains("no key"), "{answer:?}");
    }
    let alive = service.ask("GET", "/livez").await;
    assert_eq!((alive.status, alive.body.as_str()), (200, r#"{"status":"alive"}"#));
    let head = service.ask("HEAD", "/livez").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    service.stop().await;
}

#[actix_web::test]
async fn every_answer_carries_the_client_s_request_id_or_a_new_one() {
    let service = Service::start();
    for path in ["/livez", "/nope", "/v1/stamps"] {
        let kept = service.send("GET", path, "x-request-id: abc-1._\r\n", "").await;
        assert_eq!(kept.header("x-request-id"), Some("abc-1._"), "{kept:?}");
        let replaced = service.send("GET", path, "x-request-id: \"a\"; b\r\n", "").await;
        let id = replaced.header("x-request-id").expect("an id");
        assert!(uuid::Uuid::parse_str(id).is_ok(), "{id}");
    }
    service.stop().await;
}

#[actix_web::test]
async fn requests_are_counted_by_pattern_never_by_path() {
    let service = Service::start();
    for (method, path) in [
        ("GET", "/nope/1"),
        ("BREW", "/nope/2"),
        ("GET", "/v1/stamps/%FF"),
        ("PUT", "/datasender/create_stamp"),
        ("GET", "/v1/users/a/messages/"),
        ("POST", "/v1/users/b/messages/check"),
        ("PUT", "/v1/users/c/messages/d/trash/"),
    ] {
        service.ask(method, path).await;
    }
    let scrape = "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let metrics = exchange(service.running.admin, scrape).await.body;
    for line in [
        r#"requests_total{method="GET",route="unmatched",status="404"} 1"#,
        r#"requests_total{method="OTHER",route="unmatched",status="404"} 1"#,
        r#"requests_total{method="GET",route="/v1/stamps/{object_cid}",status="404"} 1"#,
        r#"requests_total{method="PUT",route="/datasender/create_stamp/",status="405"} 1"#,
        r#"requests_total{method="GET",route="/v1/users/{user}/messages",status="503"} 1"#,
        r#"requests_total{method="POST",route="/v1/users/{user}/messages/check",status="503"} 1"#,
        r#"requests_total{method="PUT",route="/v1/users/{user}/messages/{uuid}/trash",status="405"} 1"#,
        r#"request_duration_seconds_count{method="GET",route="unmatched"} 1"#,
        "stamp_api_outbox_pending 0",
        "stamp_api_outbox_oldest_seconds 0",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    service.stop().await;
}

#[actix_web::test]
async fn what_is_not_http_gets_a_bare_400() {
    let service = Service::start();
    for request in [
        "nonsense\r\n\r\n",
        "POST /v1/stamps HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "POST /v1/stamps HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /v1/stamps HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    ] {
        let answer = exchange(service.running.http, request).await;
        assert_eq!((answer.status, answer.body.as_str()), (400, ""), "{request:?}");
    }
    service.stop().await;
}

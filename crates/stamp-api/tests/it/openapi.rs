//! The description of the routes, beside what they do.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use serde_json::Value;
use stamp_api::auth::caller::{MESSAGES_SEND, STAMPS_READ, STAMPS_WRITE};
use test_support::TestTopic;
use uuid::Uuid;

use crate::harness::{Answer, Api, World};
use crate::tokens::{SECRET, authorization};

/// A body in JSON, from within a trace.
const JSON: &str = "content-type: application/json\r\n\
                    traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";

const CALLER: Uuid = Uuid::from_u128(0x6f1c_2a52_7d0e_4a34_9d0b_2f6f_5f0c_9a12);
const MESSAGE: &str = r#"{"ns-message":{"subject":"s","body":"b"}}"#;
/// The one answer that takes a hundred topics to produce: messages/topics.rs does.
const ELSEWHERE: (&str, u16) = ("/v1/users/{user}/messages", 429);

/// What a request is made of. `N` in its body is a number of its own.
struct Operation {
    method: &'static str,
    /// The path as the description has it.
    template: &'static str,
    /// A path that leads somewhere.
    path: String,
    /// A path that leads nowhere, where the description has 404.
    nowhere: String,
    body: &'static str,
}

fn operations(message: &str) -> Vec<Operation> {
    let stamp = r#"{"object_cid":"N","time_tolerance":10}"#;
    let user = |rest: &str| format!("/v1/users/{CALLER}/messages{rest}");
    let operation = |method, template, path: &str, nowhere: &str, body| Operation {
        method,
        template,
        path: path.to_owned(),
        nowhere: nowhere.to_owned(),
        body,
    };
    let of_one = format!("/{message}");
    let unknown = user(&format!("/{}", Uuid::nil()));
    vec![
        operation("post", "/datasender/create_stamp/", "/datasender/create_stamp/", "", stamp),
        operation("post", "/v1/stamps", "/v1/stamps", "", stamp),
        operation("get", "/v1/stamps", "/v1/stamps", "", ""),
        operation(
            "post",
            "/v1/stamps/bulk",
            "/v1/stamps/bulk",
            "",
            r#"[{"object_cid":"N","time_tolerance":10}]"#,
        ),
        operation("get", "/v1/stamps/{object_cid}", "/v1/stamps/known", "/v1/stamps/unknown", ""),
        operation("get", "/v1/batches", "/v1/batches", "", ""),
        operation("get", "/v1/batches/{id}", "/v1/batches/1", "/v1/batches/2", ""),
        operation("get", "/v1/users/{user}/messages", &user(""), "/v1/users/x/messages", ""),
        operation("post", "/v1/users/{user}/messages", &user(""), "/v1/users/x/messages", MESSAGE),
        operation(
            "post",
            "/v1/users/{user}/messages/check",
            &user("/check"),
            "/v1/users/x/messages/check",
            "",
        ),
        operation(
            "get",
            "/v1/users/{user}/messages/counts",
            &user("/counts"),
            "/v1/users/x/messages/counts",
            "",
        ),
        operation("get", "/v1/users/{user}/messages/{uuid}", &user(&of_one), &unknown, ""),
        operation(
            "post",
            "/v1/users/{user}/messages/{uuid}/restore",
            &user(&format!("{of_one}/restore")),
            &format!("{unknown}/restore"),
            "",
        ),
        operation(
            "post",
            "/v1/users/{user}/messages/{uuid}/trash",
            &user(&format!("{of_one}/trash")),
            &format!("{unknown}/trash"),
            "",
        ),
        operation("delete", "/v1/users/{user}/messages/{uuid}", &user(&of_one), &unknown, ""),
        operation("get", "/livez", "/livez", "", ""),
        operation("get", "/readyz", "/readyz", "", ""),
        operation("get", "/openapi.json", "/openapi.json", "", ""),
        operation("get", "/docs/", "/docs/", "", ""),
    ]
}

/// Two services: one that works, and one whose database is away.
struct Services {
    world: World,
    working: Api,
    away: Api,
}

impl Services {
    async fn ask(&self, operation: &Operation, status: u16) -> Answer {
        let Operation { method, path, nowhere, body, .. } = operation;
        let everything = authorization(CALLER, &[STAMPS_READ, STAMPS_WRITE, MESSAGES_SEND]);
        let headers = format!("{JSON}{everything}");
        let body = body.replace('N', &Uuid::new_v4().to_string());
        let method = method.to_uppercase();
        let send = async |path: &str, headers: &str, body: &str| {
            self.working.request(&method, path, headers, body).await
        };
        let in_the_trash =
            format!("UPDATE stored_messages SET is_active = {} WHERE uuid IS NOT NULL", status == 409);
        self.world.database.run(&in_the_trash).await;
        let head = |length: usize| {
            format!(
                "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
            )
        };
        match status {
            400 if body.is_empty() => send(&format!("{path}?limit=0"), &headers, "").await,
            400 => send(path, &headers, "{").await,
            401 => send(path, JSON, &body).await,
            403 => send(path, &format!("{JSON}{}", authorization(Uuid::new_v4(), &[])), &body).await,
            404 => send(nowhere, &headers, &body).await,
            408 => self.working.exchange(head(10).as_bytes()).await,
            409 if body.is_empty() => send(path, &headers, "").await,
            409 => {
                send(path, &headers, &body).await;
                send(path, &headers, &body).await
            }
            413 => self.working.exchange(head(9 << 20).as_bytes()).await,
            415 => send(path, &headers.replace("json", "xml"), &body).await,
            503 => self.away.request(&method, path, &headers, &body).await,
            _ => send(path, &headers, &body).await,
        }
    }
}

/// Returns what a service has that works, with a batch and a message, and one that does not work.
async fn services() -> (Services, String) {
    let variables = [("JWT_SECRET", SECRET), ("STAMPS_REQUIRE_AUTH", "true")];
    let world = World::new().await;
    let away = world.start(&[&variables[..], &[("DATABASE_URL", "postgres://a@127.0.0.1:1/a")]].concat());
    let working = world.serve(&variables).await;
    let known = "INSERT INTO stamps (object_cid, time_tolerance, created_date, batch_id, kafka_partition, kafka_offset)
                 VALUES ('known', 1, now(), 1, 0, 0)";
    world.database.run(known).await;
    let batch = "INSERT INTO batches (trigger, size, listener, topic, processed_at) VALUES ('deadline', 1, 'l', 't', now())";
    world.database.run(batch).await;
    let everything = format!("{JSON}{}", authorization(CALLER, &[MESSAGES_SEND]));
    let messages = format!("/v1/users/{CALLER}/messages");
    working.request("POST", &messages, &everything, MESSAGE).await;
    let found = working.request("POST", &format!("{messages}/check"), &everything, "").await.json();
    let message = found["messages"][0]["uuid"].as_str().expect("a message").to_owned();
    (Services { world, working, away }, message)
}

// Break: leave 409 out of `OfNewStamp` in http/problems.rs, or add 404 to it.
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_that_is_described_can_be_produced_with_its_headers_and_its_form() {
    let _topic = TestTopic::unmade_of_user(CALLER);
    let (services, message) = services().await;
    let document = services.working.get("/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let operations = operations(&message);
    let (mut produced, mut slow) = (BTreeSet::new(), Vec::new());
    for operation in &operations {
        let Operation { method, template, .. } = operation;
        let described = &document["paths"][*template][*method]["responses"];
        let described = described.as_object().unwrap_or_else(|| panic!("{template} is not described"));
        // What ends a message comes last.
        let described: BTreeMap<_, _> =
            described.iter().map(|(status, answer)| ((status == "204", status), answer)).collect();
        for ((_, status), answer) in described {
            let status: u16 = status.parse().expect("a status");
            match status {
                408 => slow.push((operation, answer)),
                _ if (*template, status) == ELSEWHERE => {}
                _ => is_as_described(operation, status, &services.ask(operation, status).await, answer),
            }
        }
        produced.insert(((*template).to_owned(), (*method).to_owned()));
    }
    // Each takes ten seconds.
    let answers = join_all(slow.iter().map(|(operation, _)| services.ask(operation, 408))).await;
    for ((operation, described), answer) in slow.iter().zip(answers) {
        is_as_described(operation, 408, &answer, described);
    }
    let described = document["paths"].as_object().expect("paths").iter();
    let described: BTreeSet<(String, String)> = described
        .flat_map(|(path, item)| {
            item.as_object().expect("methods").keys().map(|method| (path.clone(), method.clone()))
        })
        .collect();
    assert_eq!(described, produced, "each operation of the description is asked");
    services.working.stop().await;
}

fn is_as_described(operation: &Operation, status: u16, answer: &Answer, described: &Value) {
    let route = format!("{} {}, {status}", operation.method, operation.template);
    assert_eq!(answer.status, status, "{route}: {answer:?}");
    for header in described["headers"].as_object().expect("headers").keys() {
        assert!(answer.header(header).is_some(), "{route}: {header} in {answer:?}");
    }
    let Some(content) = described["content"].as_object() else {
        assert_eq!(answer.body, "", "{route}");
        return;
    };
    let kind = answer.header("content-type").expect("a content type");
    let is_described = content.keys().any(|described| kind.starts_with(described.as_str()));
    assert!(is_described, "{route}: {kind} is none of {content:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_the_description_and_load_nothing_from_elsewhere() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    let page = api.get("/docs/").await;
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    assert!(!page.body.contains("http://") && !page.body.contains("https://"), "{}", page.body);
    assert!(!page.body.contains("<script>"), "a script in the page would not run: {}", page.body);
    assert!(api.get("/docs/swagger-initializer.js").await.body.contains("/openapi.json"));
    for nowhere in ["/docs", "/docs/x", "/docs/../livez", "/docs/%2e%2e/x"] {
        assert_eq!(api.get(nowhere).await.status, 404, "{nowhere}");
    }
    api.stop().await;
}

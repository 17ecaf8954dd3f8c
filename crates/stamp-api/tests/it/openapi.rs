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

/// The header that answers of this status need not have: a scope may be what is missing, or not.
const SOMETIMES: (u16, &str) = (403, "WWW-Authenticate");
/// Headers that tell a client what to do next, which have to be described where an answer has them.
const TELLING: [&str; 4] = ["Location", "WWW-Authenticate", "Retry-After", "Content-Security-Policy"];

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
    let headers = described["headers"].as_object().expect("headers");
    for header in headers.keys().filter(|header| (status, header.as_str()) != SOMETIMES) {
        assert!(answer.header(header).is_some(), "{route}: {header} in {answer:?}");
    }
    for header in TELLING.into_iter().filter(|header| answer.header(header).is_some()) {
        assert!(headers.contains_key(header), "{route}: {header} is not described");
    }
    let Some(content) = described["content"].as_object() else {
        assert_eq!(answer.body, "", "{route}");
        return;
    };
    let kind = answer.header("content-type").expect("a content type");
    let is_described = content.keys().any(|described| kind.starts_with(described.as_str()));
    assert!(is_described, "{route}: {kind} is none of {content:?}");
}

/// Returns what a reference leads to.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let name = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/components/schemas/"));
    name.map_or(schema, |name| &document["components"]["schemas"][name])
}

/// Tells whether a schema has an example, or one of what its list has.
fn has_example(document: &Value, schema: &Value) -> bool {
    let schema = resolved(document, schema);
    let items =
        [&schema["items"], &schema["properties"]["items"]["items"]].map(|items| resolved(document, items));
    items.iter().chain([&schema]).any(|schema| !schema["example"].is_null() || !schema["examples"].is_null())
}

// Break: take an example away, from a parameter, a header or a body.
#[tokio::test(flavor = "multi_thread")]
async fn each_parameter_header_and_body_has_an_example() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    let document = api.get("/openapi.json").await.json();
    let mut missing = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            let named = |list: &Value| -> Vec<(String, Value)> {
                let parameters = list.as_array().into_iter().flatten();
                let name = |one: &Value| one["name"].as_str().expect("a name").to_owned();
                parameters.map(|one| (name(one), one.clone())).collect()
            };
            let mut described = named(&operation["parameters"]);
            let responses = operation["responses"].as_object().expect("responses").iter();
            let mut bodies = vec![("body".to_owned(), operation["requestBody"]["content"].clone())];
            for (status, response) in responses {
                let headers = response["headers"].as_object().into_iter().flatten();
                described.extend(headers.map(|(name, header)| (format!("{status} {name}"), header.clone())));
                bodies.push((status.clone(), response["content"].clone()));
            }
            for (name, one) in described {
                if one["example"].is_null() && !has_example(&document, &one["schema"]) {
                    missing.push(format!("{method} {path}: {name}"));
                }
            }
            for (name, content) in bodies {
                let kinds = content.as_object().into_iter().flatten();
                for (kind, body) in
                    kinds.filter(|(kind, _)| kind.ends_with("/json") || kind.ends_with("+json"))
                {
                    if body["example"].is_null() && !has_example(&document, &body["schema"]) {
                        missing.push(format!("{method} {path}: {name}, {kind}"));
                    }
                }
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
    api.stop().await;
}

// Break: let `MAX_LIMIT` of http/query.rs be another one than is described.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_query_may_hold_is_taken_up_to_its_described_bounds_and_no_further() {
    let (services, message) = services().await;
    let document = services.working.get("/openapi.json").await.json();
    let token = authorization(CALLER, &[STAMPS_READ]);
    let (mut limits, mut words) = (0, 0);
    for Operation { method, template, path, .. } in operations(&message) {
        let ask = async |query: String| {
            services.working.request("GET", &format!("{path}?{query}"), &token, "").await.status
        };
        for parameter in document["paths"][template][method]["parameters"].as_array().into_iter().flatten() {
            let (name, schema) = (parameter["name"].as_str().expect("a name"), &parameter["schema"]);
            if let (Some(least), Some(most)) = (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
                for (limit, expected) in [(least - 1, 400), (least, 200), (most, 200), (most + 1, 400)] {
                    assert_eq!(ask(format!("{name}={limit}")).await, expected, "{template}: {name}={limit}");
                }
                limits += 1;
            }
            let pattern = schema["pattern"].as_str().and_then(|pattern| pattern.strip_prefix("^("));
            for word in pattern
                .and_then(|pattern| pattern.strip_suffix(")$"))
                .into_iter()
                .flat_map(|all| all.split('|'))
            {
                assert_eq!(ask(format!("{name}={word}")).await, 200, "{template}: {name}={word}");
                assert_eq!(ask(format!("{name}={word}s")).await, 400, "{template}: {name}={word}s");
                words += 1;
            }
        }
    }
    assert_eq!((limits, words), (4, 4));
    services.working.stop().await;
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
    let settings = api.get("/docs/swagger-initializer.js").await.body;
    assert!(settings.contains("/openapi.json"), "{settings}");
    assert!(settings.contains(r#""validatorUrl": "none""#), "nobody else is asked to check it: {settings}");
    let moved = api.get("/docs").await;
    assert_eq!((moved.status, moved.header("location")), (308, Some("/docs/")));
    for nowhere in ["/docsx", "/docs/x", "/docs/../livez", "/docs/%2e%2e/x"] {
        assert_eq!(api.get(nowhere).await.status, 404, "{nowhere}");
    }
    api.stop().await;
}

//! Messages to users, from a request to a topic, from there into the database, and what users do with them. No
//! listener runs.

mod attacks;
mod outages;
mod paths;
mod refusals;
mod topics;

use domain::message::Message;
use domain::message::record::encode;
use futures_util::future::join_all;
use serde_json::{Value, json};
use stamp_api::auth::caller::MESSAGES_SEND;
use test_support::TestTopic;
use uuid::Uuid;

use crate::harness::{Answer, Api, JSON, World};
use crate::tokens::{SECRET, authorization};

const KEY: [(&str, &str); 1] = [("JWT_SECRET", SECRET)];

/// A user with a topic that does not exist yet.
struct User {
    id: Uuid,
    authorization: String,
    topic: TestTopic,
}

impl User {
    fn new() -> Self {
        let id = Uuid::new_v4();
        Self { id, authorization: authorization(id, &[]), topic: TestTopic::unmade_of_user(id) }
    }

    /// Asks for what lies under the user's messages.
    async fn ask(&self, api: &Api, method: &str, rest: &str) -> Answer {
        let path = format!("/v1/users/{}/messages{rest}", self.id);
        api.request(method, &path, &self.authorization, "").await
    }

    /// Asks for what lies under the user's messages and has to be there.
    async fn get(&self, api: &Api, rest: &str) -> Value {
        let answer = self.ask(api, "GET", rest).await;
        assert_eq!(answer.status, 200, "{rest}: {answer:?}");
        answer.json()
    }

    /// Checks the user's topic, and returns the messages that were stored by that.
    async fn check(&self, api: &Api) -> Vec<Value> {
        let answer = self.ask(api, "POST", "/check").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let checked = answer.json();
        let messages = checked["messages"].as_array().expect("a list").clone();
        assert_eq!(checked["created"], messages.len(), "{checked}");
        messages
    }

    /// Publishes messages with these subjects as another producer does, and waits until Kafka has them.
    fn publish(&self, subjects: impl IntoIterator<Item = String>) {
        for subject in subjects {
            self.topic.send(Some(&self.id.to_string()), Some(&value(&subject)));
        }
        self.topic.flush();
    }
}

/// Sends a message as somebody who may.
async fn send(api: &Api, user: &User, message: &Value) -> Answer {
    send_with("", api, user, message).await
}

/// Sends a message with a further header.
async fn send_with(header: &str, api: &Api, user: &User, message: &Value) -> Answer {
    let headers = format!("{JSON}{header}{}", authorization(Uuid::new_v4(), &[MESSAGES_SEND]));
    let body = json!({ "ns-message": message }).to_string();
    api.request("POST", &format!("/v1/users/{}/messages", user.id), &headers, &body).await
}

fn value(subject: &str) -> Vec<u8> {
    encode(&Message::new(subject, "body", None, true).expect("a valid message"))
}

/// Returns `count` subjects in their order.
fn numbered(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("{number:03}"))
}

fn subjects(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["subject"].as_str().expect("a subject")).collect()
}

fn uuid(message: &Value) -> &str {
    message["uuid"].as_str().expect("a uuid")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_from_its_sender_to_the_inbox_the_trash_and_away_with_no_listener() {
    let (world, user) = (World::new().await, User::new());
    let api = world.serve(&KEY).await;
    assert_eq!(user.check(&api).await, [Value::Null; 0], "there is no topic");
    assert!(!user.topic.exists(), "and a check makes none");

    let message = json!({"subject": "Welcome", "body": "Hello", "reference_url": "https://example.com/a"});
    let sent = send(&api, &user, &message).await;
    assert_eq!(sent.status, 201, "{sent:?}");
    let key = user.id.to_string();
    assert_eq!(sent.json(), json!({"topic": key, "partition": 0, "offset": 0, "key": key}));

    let checked = user.check(&api).await;
    assert_eq!(subjects(&checked), ["Welcome"]);
    assert_eq!(user.check(&api).await, [Value::Null; 0]);
    let [message] = &checked[..] else { panic!("one message: {checked:?}") };
    assert_eq!(message["kafka"], sent.json());
    assert_eq!(
        (&message["body"], &message["reference_url"], &message["is_active"]),
        (&json!("Hello"), &json!("https://example.com/a"), &json!(true))
    );
    assert_eq!(message["created_by"], "System Account");

    let one = format!("/{}", uuid(message));
    assert_eq!(user.get(&api, &one).await, *message);
    assert_eq!(user.get(&api, "").await, json!({"items": [message], "next": null}));
    assert_eq!(user.get(&api, "/counts").await, json!({"inbox": 1, "trash": 0}));
    let refused = user.ask(&api, "DELETE", &one).await;
    let problem = refused.json();
    assert_eq!(
        (refused.status, problem.as_object().map(serde_json::Map::len)),
        (409, Some(5)),
        "{refused:?}"
    );
    assert_eq!(problem["is_active"], json!(["Put the message into the trash first."]));

    for (action, is_active) in [("trash", false), ("restore", true), ("trash", false)] {
        for _repeated in 0..2 {
            let answer = user.ask(&api, "POST", &format!("{one}/{action}")).await;
            assert_eq!(answer.status, 200, "{action}: {answer:?}");
            let changed = answer.json();
            assert_eq!((&changed["is_active"], &changed["modified_by"]), (&json!(is_active), &json!(key)));
        }
    }
    assert_eq!(user.get(&api, "").await["items"], json!([]));
    assert_eq!(user.get(&api, "?folder=trash").await["items"][0]["uuid"], message["uuid"]);
    assert_eq!(user.get(&api, "/counts").await, json!({"inbox": 0, "trash": 1}));

    let deleted = user.ask(&api, "DELETE", &one).await;
    assert_eq!((deleted.status, deleted.body.as_str()), (204, ""));
    for (method, rest) in [("DELETE", ""), ("GET", ""), ("POST", "/trash"), ("POST", "/restore")] {
        assert_eq!(user.ask(&api, method, &format!("{one}{rest}")).await.status, 404, "{method} {rest}");
    }
    assert_eq!(user.check(&api).await, [Value::Null; 0], "it never comes back");
    assert_eq!(user.get(&api, "/counts").await, json!({"inbox": 0, "trash": 0}));
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_published_as_other_programs_read_it_under_its_user_s_key_with_a_trace() {
    let (world, user) = (World::new().await, User::new());
    let api = world.serve(&KEY).await;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (active, header) in [(true, String::new()), (false, format!("traceparent: {traceparent}\r\n"))] {
        let message = json!({"subject": "s", "body": "b", "is_active": active, "created_by": "me"});
        assert_eq!(send_with(&header, &api, &user, &message).await.status, 201);
    }
    let records = user.topic.read_as(|record| {
        use rdkafka::Message as _;
        use rdkafka::message::Headers as _;
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.expect("there").to_vec()).expect("text");
        let headers = record.headers().expect("headers");
        let trace = headers.get(0);
        assert_eq!((headers.count(), trace.key), (1, "traceparent"));
        (text(record.key()), text(record.payload()), text(trace.value))
    });
    for ((key, value, trace), active) in records.iter().zip([true, false]) {
        assert_eq!(*key, user.id.to_string());
        let expected = format!(
            r#"{{"ns-message":{{"subject":"s","body":"b","reference_url":null,"is_active":{active}}}}}"#
        );
        assert_eq!(*value, expected);
        // A trace that nobody has begun is one that nobody records.
        assert!(
            trace.len() == 55 && trace.starts_with("00-") && (active == trace.ends_with("-00")),
            "{trace}"
        );
    }
    assert_eq!(records[1].2, traceparent, "the sender's trace goes on");
    assert_eq!(records.len(), 2);
    let messages = user.check(&api).await;
    assert_eq!(user.get(&api, "?folder=trash").await["items"], json!([messages[1]]));
    api.stop().await;
}

// Break: let `Cursor::decode` in http/routes/messages/inbox.rs take any folder.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_listed_page_by_page_the_newest_first_and_a_cursor_is_good_for_its_folder_alone() {
    let (world, user, other) = (World::new().await, User::new(), User::new());
    let api = world.serve(&KEY).await;
    for user in [&user, &other] {
        assert_eq!(send(&api, user, &json!({"subject": "000", "body": "b"})).await.status, 201);
        user.publish(numbered(60).skip(1));
        assert_eq!(user.check(&api).await.len(), 60);
    }
    for (limit, pages) in [("", 2), ("limit=7", 9), ("limit=30", 2), ("limit=60", 1), ("limit=200", 1)] {
        let (mut listed, mut cursor, mut count) = (Vec::new(), String::new(), 0);
        loop {
            let page = user.get(&api, &format!("?{limit}{cursor}")).await;
            listed.extend(page["items"].as_array().expect("a list").clone());
            count += 1;
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&after={next}");
        }
        let expected: Vec<String> = numbered(60).collect::<Vec<_>>().into_iter().rev().collect();
        assert_eq!(
            (subjects(&listed), count),
            (expected.iter().map(String::as_str).collect(), pages),
            "{limit}"
        );
    }
    let cursor = user.get(&api, "?limit=1").await["next"].as_str().expect("a next page").to_owned();
    for (query, fields, why) in [
        (format!("?folder=trash&after={cursor}"), vec!["after"], "another folder's"),
        (format!("?after=x{cursor}"), vec!["after"], "changed"),
        ("?after=".to_owned(), vec!["after"], "empty"),
        (format!("?after={cursor}&after={cursor}"), vec!["after"], "twice"),
        ("?folder=spam".to_owned(), vec!["folder"], "no folder"),
        ("?folder=".to_owned(), vec!["folder"], "no folder"),
        ("?folder=inbox&folder=inbox".to_owned(), vec!["folder"], "twice"),
        ("?limit=0&folder=x&after=y".to_owned(), vec!["after", "folder", "limit"], "all of them"),
        ("?sort=subject&limit=1".to_owned(), vec![], "unknown ones are ignored"),
    ] {
        let answer = user.ask(&api, "GET", &query).await;
        assert_eq!(answer.status, if fields.is_empty() { 200 } else { 400 }, "{why}: {answer:?}");
        let problem = answer.json();
        let known = ["type", "title", "status", "detail", "items", "next"];
        let mut found: Vec<&String> = problem.as_object().expect("an object").keys().collect();
        found.retain(|name| !known.contains(&name.as_str()));
        found.sort();
        assert_eq!(found, fields, "{why}");
    }
    let theirs = other.get(&api, &format!("?after={cursor}")).await;
    let own = |message: &Value| message["kafka"]["topic"] == other.id.to_string();
    assert!(theirs["items"].as_array().expect("a list").iter().all(own), "another's cursor: {theirs}");
    api.stop().await;
}

// Break: leave `ON CONFLICT` out of `made` in `store` of store's messages/rows.rs.
#[tokio::test(flavor = "multi_thread")]
async fn checks_at_the_same_time_store_each_message_once_and_tell_of_it_once() {
    let (world, user) = (World::new().await, User::new());
    let api = world.serve(&KEY).await;
    assert_eq!(send(&api, &user, &json!({"subject": "000", "body": "b"})).await.status, 201);
    user.publish(numbered(50).skip(1));
    let checked = join_all((0..20).map(|_| user.check(&api))).await;
    let mut told: Vec<&str> = checked.iter().flat_map(|messages| subjects(messages)).collect();
    told.sort_unstable();
    let expected: Vec<String> = numbered(50).collect();
    assert_eq!(told, expected.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(user.get(&api, "/counts").await, json!({"inbox": 50, "trash": 0}));
    assert_eq!(world.database.number("SELECT count(*) FROM stored_messages").await, 50);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_deleted_while_checks_are_under_way_never_comes_back() {
    const COUNT: usize = 40;
    let (world, user) = (World::new().await, User::new());
    let api = world.serve(&KEY).await;
    assert_eq!(send(&api, &user, &json!({"subject": "000", "body": "b"})).await.status, 201);
    let deleted = std::cell::Cell::new(0);
    let checks = join_all((0..3).map(|_| async {
        let mut told = 0;
        while deleted.get() < COUNT {
            told += user.check(&api).await.len();
        }
        told
    }));
    let deletes = async {
        let mut subjects = numbered(COUNT).skip(1);
        while deleted.get() < COUNT {
            user.publish(subjects.next());
            for message in user.get(&api, "").await["items"].as_array().expect("a list") {
                let one = format!("/{}", uuid(message));
                assert_eq!(user.ask(&api, "POST", &format!("{one}/trash")).await.status, 200);
                assert_eq!(user.ask(&api, "DELETE", &one).await.status, 204);
                deleted.set(deleted.get() + 1);
            }
        }
    };
    let (told, ()) = tokio::join!(checks, deletes);
    assert_eq!(told.iter().sum::<usize>(), COUNT);
    // What the listener or a check may do at any time: read everything once more.
    let everything =
        "DELETE FROM stored_messages WHERE kafka_offset = (SELECT max(kafka_offset) FROM stored_messages)";
    world.database.run(everything).await;
    assert_eq!(user.check(&api).await.len(), 1, "what has no row is new");
    assert_eq!(user.get(&api, "/counts").await, json!({"inbox": 1, "trash": 0}));
    assert_eq!(world.database.number("SELECT count(*) FROM stored_messages").await, COUNT as i64);
    api.stop().await;
}

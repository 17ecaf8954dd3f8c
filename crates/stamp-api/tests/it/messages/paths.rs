//! Paths of messages as nobody well-meaning writes them.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_json::json;
use stamp_api::auth::caller::MESSAGES_SEND;
use test_support::stack;
use uuid::Uuid;

use super::attacks::sender;
use super::{KEY, User};
use crate::harness::{JSON, World};
use crate::tokens::authorization;

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_a_path_is_a_uuid_in_any_spelling_and_no_topic_is_made_of_anything_else() {
    let (world, user) = (World::new().await, User::new());
    let api = world.serve(&KEY).await;
    let (id, body) = (user.id, r#"{"ns-message":{"subject":"s","body":"b"}}"#);
    let headers = JSON.to_owned() + &authorization(id, &[MESSAGES_SEND]);
    // Topics that no other test makes meanwhile: theirs have names of their own or those of random users.
    let odd = |name: &String| !name.starts_with("test-") && Uuid::try_parse(name).is_err();
    let before: Vec<String> = topics().into_iter().filter(odd).collect();
    for name in [
        "../x",
        "..%2Fx",
        "__consumer_offsets",
        "a.b",
        "^.*",
        "%5E.%2A",
        "*",
        "%00",
        "%FF",
        "",
        "topic_data_created",
        world.topic.name(),
        &"a".repeat(300),
        &format!("{id}x"),
        &format!("{id}%00"),
        &format!("{id}%0A"),
        &format!("%20{id}"),
        &format!("{id}%2F..%2Fx"),
        "6f1c2a52-7d0e-4a34-9d0b-2f6f5f0c9a1",
    ] {
        for rest in ["", "/check"] {
            let path = format!("/v1/users/{name}/messages{rest}");
            let answer = api.request("POST", &path, &headers, body).await;
            assert_eq!(answer.status, 404, "A22 {name}: {answer:?}");
        }
        let path = format!("/v1/users/{name}/messages");
        assert_eq!(api.request("GET", &path, &headers, "").await.status, 404, "A22 {name}");
    }
    assert!(topics().into_iter().filter(odd).eq(before), "A22 no topic was made");
    assert!(!user.topic.exists(), "A22 nor the user's");
    let spellings = [
        id.to_string(),
        id.to_string().to_uppercase(),
        id.simple().to_string(),
        id.urn().to_string(),
        format!("%7B{id}%7D"),
    ];
    for (offset, name) in spellings.iter().enumerate() {
        let answer = api.request("POST", &format!("/v1/users/{name}/messages"), &headers, body).await;
        let expected = json!({"topic": id, "partition": 0, "offset": offset, "key": id});
        assert_eq!((answer.status, answer.json()), (201, expected), "A22 {name}");
        let answer = api.request("POST", &format!("/v1/users/{name}/messages/check"), &headers, "").await;
        assert_eq!(answer.json()["created"], 1, "A22 {name}: {answer:?}");
    }
    let its = |name: &String| Uuid::try_parse(name).is_ok_and(|name| name == id);
    assert!(topics().into_iter().filter(its).eq([id.to_string()]), "A22 and one for all spellings");
    api.stop().await;
}

// Break: call `require_scope` after `Body::read` in `send` of http/routes/messages/topic.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_none_comes_before_the_caller_s_rights_and_those_before_the_request_itself() {
    let world = World::new().await;
    let api = world.serve(&KEY).await;
    let (caller, id) = (authorization(Uuid::nil(), &[]), Uuid::new_v4());
    let mine = format!("/v1/users/{}/messages", Uuid::nil());
    let theirs = format!("/v1/users/{id}/messages");
    for (method, path, headers, status, why) in [
        ("POST", "/v1/users/x/messages", "", 401, "no token, and no user"),
        ("POST", "/v1/users/x/messages", caller.as_str(), 404, "no user, no scope, no body"),
        ("POST", &theirs, &caller, 403, "no scope, no body"),
        ("POST", &theirs, &sender(), 415, "no body"),
        ("GET", &(theirs.clone() + "/x"), &caller, 404, "no uuid, of another"),
        ("GET", &(theirs.clone() + "?limit=x"), &caller, 403, "another's, and a wrong limit"),
        ("GET", &(mine.clone() + "?limit=x"), &caller, 400, "a wrong limit"),
        ("GET", &(mine.clone() + "/counts/x"), &caller, 404, "nothing"),
        ("GET", &(mine + "//"), &caller, 404, "an empty segment"),
    ] {
        let answer = api.request(method, path, headers, "{").await;
        assert_eq!(answer.status, status, "{why}: {answer:?}");
    }
    api.stop().await;
}

/// Returns the names of all topics.
fn topics() -> BTreeSet<String> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &stack().kafka_bootstrap_servers)
        .create()
        .expect("a client");
    let all = consumer.fetch_metadata(None, Duration::from_secs(10)).expect("Kafka answers");
    all.topics().iter().map(|topic| topic.name().to_owned()).collect()
}

//! What a check finds in topics of every kind.

use std::time::Duration;

use futures_util::future::join_all;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::json;
use stamp_api::auth::caller::MESSAGES_SEND;
use test_support::{TestTopic, eventually, stack};
use uuid::Uuid;

use super::{KEY, User, numbered, send, subjects, value};
use crate::harness::{JSON, World};
use crate::tokens::{SECRET, authorization};

// Break: let `look_at` in messages/reader.rs compare the offsets alone, or let `Span::new` begin after the stored
// record.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_recreated_is_read_from_its_start() {
    let world = World::new().await;
    let api = world.serve(&KEY).await;
    // As long as the old one or longer, and shorter.
    for (again, why) in [(5, "as long"), (9, "longer"), (2, "shorter")] {
        let user = User::new();
        assert_eq!(send(&api, &user, &json!({"subject": "000", "body": "b"})).await.status, 201);
        user.publish(numbered(5).skip(1));
        assert_eq!(user.check(&api).await.len(), 5);
        user.topic.make_again(1).await;
        user.publish(numbered(again));
        let expected: Vec<String> = numbered(again).collect();
        assert_eq!(subjects(&user.check(&api).await), expected, "{why}");
        for _again in 0..5 {
            assert_eq!(user.check(&api).await.len(), 0, "{why}");
        }
    }
    api.stop().await;
}

// Break: let `send` in messages/sender.rs return the first error.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_deleted_is_recreated_by_the_next_message() {
    let (world, user) = (World::new().await, User::new());
    let api = world.serve(&KEY).await;
    let message = json!({"subject": "s", "body": "b"});
    assert_eq!(send(&api, &user, &message).await.status, 201);
    user.topic.delete().await;
    eventually("it is gone", || async { user.topic.exists() }, |exists| !exists).await;
    let sent = || async { send(&api, &user, &message).await };
    let sent = eventually("it is sent", sent, |answer| answer.status == 201).await;
    assert_eq!(sent.json()["offset"], 0, "{sent:?}");
    assert_eq!(user.topic.read().len(), 1);
    assert_eq!(user.check(&api).await.len(), 1);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_has_removed_is_not_waited_for() {
    let (world, user) = (World::new().await, User::new());
    let api = world.serve(&KEY).await;
    assert_eq!(send(&api, &user, &json!({"subject": "000", "body": "b"})).await.status, 201);
    user.publish(numbered(3).skip(1));
    assert_eq!(user.check(&api).await.len(), 3);
    user.publish(numbered(2));
    user.topic.delete_records(1).await;
    assert_eq!(user.check(&api).await.len(), 0, "all that is left is nothing");
    user.publish(numbered(2));
    assert_eq!(subjects(&user.check(&api).await), ["000", "001"]);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_understood_becomes_a_dead_letter_once_and_the_check_goes_on() {
    let (world, user) = (World::new().await, User::new());
    let api = world.serve(&KEY).await;
    assert_eq!(send(&api, &user, &json!({"subject": "000", "body": "b"})).await.status, 201);
    user.topic.send(None, Some(b"not json"));
    user.topic.send(None, None);
    user.publish(numbered(3).skip(2));
    assert_eq!(subjects(&user.check(&api).await), ["000", "002"]);
    user.topic.send(None, Some(b""));
    user.topic.flush();
    for _again in 0..2 {
        assert_eq!(user.check(&api).await.len(), 0);
        assert_eq!(world.database.number("SELECT count(*) FROM dead_letters").await, 3);
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_of_older_producers_is_read_as_well() {
    let (world, user) = (World::new().await, User::new());
    let api = world.serve(&KEY).await;
    assert_eq!(send(&api, &user, &json!({"subject": "new", "body": "b"})).await.status, 201);
    let message =
        json!({"ns-message": {"subject": "old", "body": "b", "reference_url": "", "is_active": true}});
    let encoded_twice = json!(message.to_string()).to_string();
    user.topic.send(Some(&json!(user.id).to_string()), Some(encoded_twice.as_bytes()));
    user.topic.flush();
    let messages = user.check(&api).await;
    assert_eq!(subjects(&messages), ["new", "old"]);
    assert_eq!(messages[1]["kafka"]["key"], user.id.to_string());
    assert_eq!(messages[1]["reference_url"], json!(null));
    api.stop().await;
}

// Break: let `next_chunk` in messages/reader.rs go on at `PartitionEOF`.
#[tokio::test(flavor = "multi_thread")]
async fn the_markers_of_transactions_are_offsets_without_records_and_no_check_waits_for_those() {
    let (world, user) = (World::new().await, User::new());
    let api = world.serve(&KEY).await;
    assert_eq!(send(&api, &user, &json!({"subject": "first", "body": "b"})).await.status, 201);
    let limit = Duration::from_secs(10);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &stack().kafka_bootstrap_servers)
        .set("transactional.id", Uuid::new_v4().to_string())
        .create()
        .expect("a producer");
    producer.init_transactions(limit).expect("ready");
    for (subject, commit) in [("committed", true), ("aborted", false), ("last", true), ("aborted", false)] {
        producer.begin_transaction().expect("begun");
        let value = value(subject);
        let record: BaseRecord<'_, str, [u8]> = BaseRecord::to(user.topic.name()).payload(&value);
        producer.send(record).map_err(|(error, _)| error).expect("queued");
        producer.flush(limit).expect("sent");
        let ended =
            if commit { producer.commit_transaction(limit) } else { producer.abort_transaction(limit) };
        ended.expect("ended");
    }
    assert_eq!(subjects(&user.check(&api).await), ["first", "committed", "last"]);
    for _again in 0..2 {
        assert_eq!(user.check(&api).await.len(), 0);
    }
    user.publish(numbered(1));
    assert_eq!(subjects(&user.check(&api).await), ["000"]);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_many_chunks_is_stored_whole() {
    const COUNT: usize = 2_345;
    let (world, user) = (World::new().await, User::new());
    let api = world.serve(&KEY).await;
    assert_eq!(send(&api, &user, &json!({"subject": "000", "body": "b"})).await.status, 201);
    user.publish(numbered(COUNT).skip(1));
    let expected: Vec<String> = numbered(COUNT).collect();
    assert_eq!(subjects(&user.check(&api).await), expected);
    api.stop().await;
}

// Break: leave the filter out of `Checked::add` in messages/check.rs.
#[tokio::test(flavor = "multi_thread")]
async fn on_the_topic_of_all_users_a_check_stores_everybody_s_messages_and_tells_of_its_user_s() {
    let (world, topic, users) = (World::new().await, TestTopic::unmade(), [User::new(), User::new()]);
    let api = world.serve(&[("JWT_SECRET", SECRET), ("MESSAGE_TOPIC", topic.name())]).await;
    for subject in ["a", "b", "c"] {
        for user in &users {
            let sent = send(&api, user, &json!({"subject": subject, "body": "b"})).await;
            assert_eq!(sent.status, 201, "{sent:?}");
            let sent = sent.json();
            assert_eq!((&sent["topic"], &sent["key"]), (&json!(topic.name()), &json!(user.id)));
        }
    }
    topic.send(Some("nobody"), Some(&value("lost")));
    topic.flush();
    let [one, other] = &users;
    assert_eq!(subjects(&one.check(&api).await), ["a", "b", "c"]);
    assert_eq!(other.check(&api).await.len(), 0, "they were stored by then");
    assert_eq!(other.get(&api, "/counts").await, json!({"inbox": 3, "trash": 0}));
    assert_eq!(
        world.database.number("SELECT count(*) FROM dead_letters WHERE reason = 'invalid_key'").await,
        1
    );
    let partitions = "SELECT count(DISTINCT key) FROM unnest(ARRAY[$1::text, $2]) AS k (key)
                      JOIN stored_messages ON kafka_key = key";
    let keys = world.database.query(partitions, &[&one.id.to_string(), &other.id.to_string()]).await;
    assert_eq!(keys[0].get::<_, i64>(0), 2);
    for user in &users {
        assert!(!user.topic.exists(), "nobody needs a topic of their own");
    }
    api.stop().await;
}

// Break: don't ask for leave in `make` of messages/sender.rs.
#[tokio::test(flavor = "multi_thread")]
async fn one_sender_has_a_hundred_topics_made_and_writes_to_those_that_are_there_on() {
    let world = World::new().await;
    let api = world.serve(&KEY).await;
    let sender = JSON.to_owned() + &authorization(Uuid::new_v4(), &[MESSAGES_SEND]);
    let body = json!({"ns-message": {"subject": "s", "body": "b"}}).to_string();
    let send = async |user: &User| {
        api.request("POST", &format!("/v1/users/{}/messages", user.id), &sender, &body).await
    };
    let mut users: Vec<User> = (0..101).map(|_| User::new()).collect();
    for some in users[..100].chunks(10) {
        for answer in join_all(some.iter().map(&send)).await {
            assert_eq!(answer.status, 201, "{answer:?}");
        }
    }
    api.metric_is("stamp_api_user_topics_made", 100.0).await;
    let mut refused = send(&users[100]).await;
    // A slow machine has earned leave for a few more meanwhile.
    while refused.status == 201 {
        users[100] = User::new();
        refused = send(&users[100]).await;
    }
    let seconds = refused.header("retry-after").and_then(|seconds| seconds.parse::<u64>().ok());
    assert!(
        refused.status == 429 && seconds.is_some_and(|seconds| (1..=7).contains(&seconds)),
        "{refused:?}"
    );
    assert_eq!(send(&users[0]).await.status, 201, "that topic is there");
    let message = json!({"subject": "s", "body": "b"});
    assert_eq!(super::send(&api, &users[100], &message).await.status, 201, "somebody else sends it");
    assert_eq!(send(&users[100]).await.status, 201, "the topic is there now");
    api.stop().await;
}

// Break: let `join` of messages/turns.rs queue a topic that is under way.
#[tokio::test(flavor = "multi_thread")]
async fn one_user_s_checks_of_a_long_topic_keep_nobody_else_waiting() {
    const BACKLOG: usize = 60_000;
    let (world, one, other) = (World::new().await, User::new(), User::new());
    let api = world.serve(&KEY).await;
    let message = json!({"subject": "s", "body": "b"});
    for user in [&one, &other] {
        assert_eq!(send(&api, user, &message).await.status, 201);
    }
    one.publish((1..BACKLOG).map(|number| number.to_string()));
    let long = join_all((0..8).map(|_| one.ask(&api, "POST", "/check")));
    let others = async {
        let mut found = 0;
        // As soon as the long ones are under way, and all the time that they take.
        for _ in 0..10 {
            let asked = std::time::Instant::now();
            found += other.check(&api).await.len();
            assert!(asked.elapsed() < Duration::from_millis(1_500), "{:?}", asked.elapsed());
        }
        found
    };
    let (long, found) = tokio::join!(long, others);
    assert_eq!(found, 1);
    // Those who came while a check was under way waited for the next one, which found nothing.
    let created: i64 = long
        .iter()
        .filter(|answer| answer.status == 200)
        .map(|answer| answer.json()["created"].as_i64().expect("a number"))
        .sum();
    let stored = world.database.number("SELECT count(*) FROM stored_messages").await;
    assert!(created <= BACKLOG as i64 && stored as usize <= BACKLOG + 1, "{created} of {stored}");
    assert_eq!(long.iter().filter(|answer| !matches!(answer.status, 200 | 503)).count(), 0);
    api.stop().await;
}

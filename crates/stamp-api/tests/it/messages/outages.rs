//! Sending and checking while Kafka or PostgreSQL is away.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use test_support::{KafkaLink, eventually};

use super::{KEY, User, send, subjects};
use crate::harness::{Answer, Api, World};
use crate::tokens::SECRET;

/// How long an answer may take. README: "503 within 2 s"; the rest is for a client on a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_millis(2_500);

/// Asserts that the answer is one for a client that tries again, and came in time.
#[track_caller]
fn assert_unavailable(answer: &Answer, asked: Instant, why: &str) {
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{why}: {answer:?}");
    assert!(asked.elapsed() < ANSWER_LIMIT, "{why} took {:?}", asked.elapsed());
}

async fn all_is_refused(api: &Api, known: &User, unknown: &User) {
    let message = json!({"subject": "never", "body": "b"});
    for (user, why) in [(known, "a known topic"), (unknown, "a topic to be made")] {
        let asked = Instant::now();
        assert_unavailable(&send(api, user, &message).await, asked, why);
        let asked = Instant::now();
        assert_unavailable(&user.ask(api, "POST", "/check").await, asked, why);
    }
    let asked = Instant::now();
    for answer in join_all((0..30).map(|_| known.ask(api, "POST", "/check"))).await {
        assert_unavailable(&answer, asked, "many checks");
    }
}

async fn all_works(api: &Api, user: &User) {
    let message = json!({"subject": "after", "body": "b"});
    let sent = || async { send(api, user, &message).await.status };
    eventually("a message is sent", sent, |status| *status == 201).await;
    let check = || async { user.ask(api, "POST", "/check").await };
    let checked = eventually("a check is done", check, |answer| answer.status == 200).await;
    let checked = checked.json();
    let messages: &Vec<Value> = checked["messages"].as_array().expect("a list");
    assert!(subjects(messages).contains(&"after"), "{messages:?}");
}

// Break: make `PATIENCE` in messages/reader.rs 8 s, or leave `purge` out of messages/sender.rs and give
// `message.timeout.ms` 60 s.
#[tokio::test(flavor = "multi_thread")]
async fn while_kafka_is_away_sending_and_checking_are_503_in_time_and_nothing_is_sent_later() {
    let mut kafka = KafkaLink::open().await;
    let (world, known, unknown) = (World::new().await, User::new(), User::new());
    let servers = kafka.bootstrap_servers();
    let api = world.serve(&[("JWT_SECRET", SECRET), ("KAFKA_BOOTSTRAP_SERVERS", &servers)]).await;
    all_works(&api, &known).await;

    kafka.cut().await;
    all_is_refused(&api, &known, &unknown).await;
    kafka.restore().await;
    all_works(&api, &known).await;
    assert_eq!(known.check(&api).await.len(), 0);
    assert!(known.topic.read().iter().all(|record| {
        let value = record.value.as_deref().unwrap_or_default();
        !String::from_utf8_lossy(value).contains("never")
    }));
    all_works(&api, &unknown).await;
    assert_eq!(unknown.topic.read()[0].offset, 0);

    // Connections that are half open: what was on its way never arrives.
    kafka.freeze();
    all_is_refused(&api, &known, &unknown).await;
    kafka.cut().await;
    kafka.restore().await;
    all_works(&api, &known).await;
    api.stop().await;
}

// Break: let `last_stored` in store's messages/rows.rs ask by `run` with `LIMIT` instead of `ask`, and let
// `Worker::check` in messages/check.rs await it without `timeout_at`.
#[tokio::test(flavor = "multi_thread")]
async fn while_postgresql_is_away_a_check_is_503_in_time_and_the_next_one_stores_what_it_did_not() {
    let (world, user) = (World::new().await, User::new());
    let (mut link, url) = world.database.proxied().await;
    let api = world.serve(&[("JWT_SECRET", SECRET), ("DATABASE_URL", &url)]).await;
    all_works(&api, &user).await;
    for freeze in [true, false] {
        if freeze {
            link.freeze();
        } else {
            link.cut().await;
        }
        // Sending needs no database.
        assert_eq!(send(&api, &user, &json!({"subject": "during", "body": "b"})).await.status, 201);
        for (method, rest) in [("POST", "/check"), ("GET", ""), ("GET", "/counts")] {
            let asked = Instant::now();
            assert_unavailable(&user.ask(&api, method, rest).await, asked, rest);
        }
        link.restore().await;
        all_works(&api, &user).await;
    }
    let subjects = "SELECT count(*) FROM messages WHERE subject = 'during'";
    assert_eq!(world.database.number(subjects).await, 2);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_ends_in_time_after_messages_and_checks() {
    let (world, user) = (World::new().await, User::new());
    let api = world.serve(&KEY).await;
    all_works(&api, &user).await;
    let stopped = Instant::now();
    api.stop().await;
    assert!(stopped.elapsed() < Duration::from_secs(10), "{:?}", stopped.elapsed());
}

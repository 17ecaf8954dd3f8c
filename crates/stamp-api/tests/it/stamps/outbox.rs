//! The outbox while Kafka refuses events, is away, or takes less than it is given.

use std::time::Duration;

use futures_util::future::join_all;
use test_support::patience::within;
use test_support::{KafkaLink, TestDatabase, TestTopic, eventually};

use crate::harness::{Api, World};
use crate::log::Log;

/// How long two thousand events may take, each of which the broker may have to be shown in a batch of its own.
const PUBLISHED: Duration = Duration::from_secs(20);

/// Returns a world whose topic takes batches of so many bytes.
async fn world_of_batches(bytes: &str) -> World {
    World {
        database: TestDatabase::new().await,
        topic: TestTopic::with_settings(&[("max.message.bytes", bytes)]).await,
    }
}

/// Posts stamps over as many connections as a busy service has.
async fn create_all(api: &Api, ids: &[String]) {
    for some in ids.chunks(50) {
        for answer in join_all(some.iter().map(|id| api.create(id))).await {
            assert_eq!(answer.status, 201, "{answer:?}");
        }
    }
}

/// Makes the outbox of a dead owner, with a stamp for each id.
async fn left_behind(world: &World, ids: &[String]) {
    let sql = "WITH owner AS (
                   INSERT INTO intake_owners (seen_at) VALUES ('-infinity') RETURNING id
               ), made AS (
                   INSERT INTO stamps (object_cid, time_tolerance, created_date)
                   SELECT id, 10, now() FROM unnest($1::text[]) AS id
                   RETURNING id)
               INSERT INTO pending_stamps (stamp_id, owner, seq)
               SELECT made.id, owner.id, row_number() OVER (ORDER BY made.id) FROM made, owner";
    world.database.query(sql, &[&ids]).await;
}

fn ids(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{name}-{number}")).collect()
}

/// Waits until the topic holds so many keys, each once or more often, and returns them.
async fn published(world: &World, count: usize) -> Vec<String> {
    let keys = || async {
        let mut keys = world.published();
        keys.dedup();
        keys.len()
    };
    within(PUBLISHED, "events are published", keys, |keys| *keys == count).await;
    world.published()
}

// Break: don't publish alone in `on_refused` of outbox/owner/rows.rs.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_refuses_is_named_and_tried_again_and_everything_else_is_published() {
    let log = Log::capture();
    let world = world_of_batches("1500").await;
    // Too large for the topic by itself: key and value hold it.
    let refused = "\u{1f4a5}".repeat(250);
    let mut left = ids("left", 1_000);
    left.insert(500, refused.clone());
    left_behind(&world, &left).await;
    let api = world.serve(&[]).await;
    create_all(&api, &ids("fresh", 999)).await;
    let keys = published(&world, 1_999).await;
    assert!(!keys.contains(&refused));
    let named =
        || async { log.text().lines().any(|line| line.contains("refuse") && line.contains(&refused)) };
    eventually("the log names it", named, |named| *named).await;
    api.reads("/readyz", r#""degraded""#).await;
    api.metric_is("stamp_api_outbox_refused", 1.0).await;
    api.metric_is("stamp_api_outbox_pending", 1.0).await;

    world.topic.set("max.message.bytes", "100000").await;
    published(&world, 2_000).await;
    api.reads("/readyz", r#""ready""#).await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_takes_small_batches_alone_gets_every_event() {
    let world = world_of_batches("20000").await;
    left_behind(&world, &ids("left", 1_000)).await;
    let api = world.serve(&[]).await;
    create_all(&api, &ids("fresh", 1_000)).await;
    published(&world, 2_000).await;
    api.metric_is("stamp_api_outbox_pending", 0.0).await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gauges_tell_what_waits_while_kafka_is_away_and_to_the_next_process_too() {
    let mut kafka = KafkaLink::open().await;
    let world = World::new().await;
    let servers = kafka.bootstrap_servers();
    let through = [("KAFKA_BOOTSTRAP_SERVERS", servers.as_str()), ("SHUTDOWN_TIMEOUT_SECS", "4")];
    let api = world.serve(&through).await;
    kafka.cut().await;
    create_all(&api, &ids("waits", 50)).await;
    api.metric_is("stamp_api_outbox_pending", 50.0).await;
    let oldest = || api.metric("stamp_api_outbox_oldest_seconds");
    let before = eventually("the oldest gets older", oldest, |seconds| *seconds > 1.0).await;
    api.reads("/readyz", "50 events wait for Kafka, the oldest for ").await;
    api.stop().await;

    let next = world.start(&through);
    next.metric_is("stamp_api_outbox_pending", 50.0).await;
    let oldest = || next.metric("stamp_api_outbox_oldest_seconds");
    eventually("it is as old as it is", oldest, |seconds| *seconds > before).await;
    kafka.restore().await;
    published(&world, 50).await;
    next.metric_is("stamp_api_outbox_pending", 0.0).await;
    next.metric_is("stamp_api_outbox_oldest_seconds", 0.0).await;
    next.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_every_event_is_refused_the_service_is_degraded_and_the_gauges_say_so() {
    let world = world_of_batches("100").await;
    let api = world.serve(&[]).await;
    create_all(&api, &ids("refused", 20)).await;
    api.metric_is("stamp_api_outbox_pending", 20.0).await;
    let oldest = || api.metric("stamp_api_outbox_oldest_seconds");
    eventually("the oldest gets older", oldest, |seconds| *seconds > 1.0).await;
    api.reads("/readyz", r#""degraded""#).await;
    world.topic.set("max.message.bytes", "100000").await;
    published(&world, 20).await;
    api.metric_is("stamp_api_outbox_pending", 0.0).await;
    api.stop().await;
}

// Break: give all committers lane 0 in stamps/intake.rs.
#[tokio::test(flavor = "multi_thread")]
async fn commits_at_the_same_time_make_no_multixacts() {
    const STAMPS: usize = 1_000;
    let world = World::new().await;
    let api = world.serve(&[]).await;
    let before = world.next_multixact().await;
    // By few clients at a time, so that there are many commits.
    for some in ids("stamp", STAMPS).chunks(4) {
        create_all(&api, some).await;
    }
    let made = world.next_multixact().await - before;
    // One for each renewal that meets a commit, and those of whoever else is on this server.
    assert!(made < 40, "{made} multixacts");
    api.stop().await;
}

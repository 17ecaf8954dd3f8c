//! Telling a topic.

use std::collections::BTreeMap;

use cloudevents::{AttributesReader as _, Event};
use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Headers as _};
use test_support::{TestTopic, eventually};

use super::stamps;
use crate::harness::{LONG, World};

async fn all_are_told(world: &World) {
    let waiting = "SELECT count(*) FROM deliveries WHERE next_attempt_at IS NOT NULL";
    eventually("all told", || world.database.number(waiting), |waiting| *waiting == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_batch_is_in_the_topic_as_a_cloud_event_with_its_id_as_key() {
    let world = World::new(2).await;
    let told = TestTopic::new(3).await;
    let listener =
        world.listen(&[("BATCH_SINK", "kafka"), ("BATCH_TOPIC", told.name()), ("BATCH_SOURCE", "/test")]);
    for number in 0..20 {
        world.topic.send_stamp(&format!("cid-{number:04}"), 0, "2026-01-01T00:00:00Z");
    }
    world.topic.flush();
    world.processed(20).await;
    all_are_told(&world).await;
    let read = |record: &BorrowedMessage<'_>| {
        let value = record.payload().unwrap_or_default();
        let event: Event = serde_json::from_slice(value).expect("a cloud event");
        assert_eq!((event.ty(), event.source().as_str()), ("stamp.batch.processed", "/test"));
        let key = String::from_utf8_lossy(record.key().unwrap_or_default()).into_owned();
        assert_eq!(format!("batch-{key}"), event.id());
        let header = record.headers().map(|headers| headers.get(0)).expect("a header");
        assert_eq!((header.key, header.value), ("content-type", Some(&b"application/cloudevents+json"[..])));
        serde_json::from_slice(value).expect("JSON")
    };
    let values: Vec<serde_json::Value> = told.read_as(read);
    assert_eq!(stamps(&values).len(), 20);
    listener.stop().await;
}

// Break: let `try_to_process` of store's processing/write.rs chain the members with a row after those without one.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_at_once_is_what_is_told_again_from_the_tables() {
    told_twice(400, 10).await;
    // Too large for one event.
    told_twice(10_000, 5_000).await;
}

async fn told_twice(count: usize, size: usize) {
    let world = World::new(1).await;
    let told = TestTopic::new(1).await;
    let now = world.minutes_ago(0.0).await;
    // Every second one has a row, with other values than its event, and in another order.
    let rows = "WITH stamp AS (INSERT INTO stamps (object_cid, time_tolerance, created_date)
                               SELECT 'cid-' || to_char(number, 'FM0000'), 9000, now()
                               FROM generate_series($1::bigint - 1, 0, -2) AS number RETURNING id)
                INSERT INTO pending_stamps (stamp_id, owner, seq) SELECT id, 1, id FROM stamp";
    world.database.query(rows, &[&(count as i64)]).await;
    (0..count).for_each(|number| world.topic.send_stamp(&format!("cid-{number:04}"), LONG, &now));
    world.topic.flush();
    let size = size.to_string();
    let sizes = [("MIN_BATCH_SIZE", size.as_str()), ("MAX_BATCH_SIZE", &size)];
    let sink = [("BATCH_SINK", "kafka"), ("BATCH_TOPIC", told.name())];
    let listener = world.listen(&[sizes, sink].concat());
    world.processed(count as i64).await;
    all_are_told(&world).await;
    let retried = world.deliveries("retry --since 2026-01-01");
    assert!(retried.ends_with("changed"), "{retried}");
    all_are_told(&world).await;
    let mut events: BTreeMap<String, Vec<serde_json::Value>> = BTreeMap::new();
    for record in told.read() {
        let event: serde_json::Value =
            serde_json::from_slice(&record.value.unwrap_or_default()).expect("JSON");
        events.entry(event["id"].to_string()).or_default().push(event);
    }
    for (id, told) in &events {
        assert_eq!(told.len(), 2, "{id}");
        assert_eq!(told[0], told[1], "{id}");
    }
    assert_eq!(stamps(events.values().map(|told| &told[0])).len(), count);
    let is_cut = events.values().any(|told| told[0]["data"]["parts"] != 1);
    assert_eq!(is_cut, count > 1_000, "{:?}", events.keys());
    listener.stop().await;
}

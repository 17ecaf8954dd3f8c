//! Batches that are told to a receiver that fails, by listeners that are killed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use test_support::patience::within;

use crate::receiver::receive;
use e2e::world::World;

const STAMPS: i64 = 4_000;
const LIMIT: Duration = Duration::from_secs(120);

/// What a receiver knows.
#[derive(Default)]
struct Known {
    /// The events that were taken, by their id, with how often.
    events: Mutex<BTreeMap<String, Vec<Value>>>,
    requests: AtomicUsize,
    /// Whether the receiver is away: connections are closed without an answer.
    is_away: AtomicBool,
}

impl Known {
    /// Takes an event, or refuses it for a while, as it does with every third one.
    fn take(&self, body: &[u8]) -> Option<&'static str> {
        if self.is_away.load(Ordering::Relaxed) {
            return None;
        }
        if self.requests.fetch_add(1, Ordering::Relaxed) % 10 < 3 {
            return Some("HTTP/1.1 500 No\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n");
        }
        let event: Value = serde_json::from_slice(body).expect("JSON");
        let id = event["id"].as_str().expect("an id").to_owned();
        self.events.lock().expect("no panic").entry(id).or_default().push(event);
        Some("HTTP/1.1 204 Yes\r\n\r\n")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_batch_is_told_the_same_however_often_a_receiver_fails_and_a_listener_is_killed() {
    let world = World::new().await;
    let known = Arc::new(Known::default());
    let taking = Arc::clone(&known);
    let url = receive(move |body| taking.take(body)).await;
    let variables = [
        ("BATCH_SINK", "webhook"),
        ("BATCH_WEBHOOK_URL", url.as_str()),
        ("BATCH_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ];
    let first = world.listener(&variables).await;
    let _second = world.listener(&variables).await;
    (0..STAMPS).for_each(|id| world.topic.send_stamp(&format!("cid-{id}"), 0, "2026-01-01T00:00:00Z"));
    world.topic.flush();
    let told = || async { known.events.lock().expect("no panic").len() };
    within(LIMIT, "some are told", told, |told| *told > 20).await;
    known.is_away.store(true, Ordering::Relaxed);
    first.signal("KILL");
    let processed = "SELECT count(*) FROM stamp_states WHERE state = 'processed'";
    within(LIMIT, "all are processed", || world.database.number(processed), |count| *count == STAMPS).await;
    known.is_away.store(false, Ordering::Relaxed);
    let waiting = "SELECT count(*) FROM deliveries WHERE delivered_at IS NULL";
    within(LIMIT, "all are told", || world.database.number(waiting), |count| *count == 0).await;
    let events = known.events.lock().expect("no panic").clone();
    assert_eq!(events.len() as i64, world.database.number("SELECT count(*) FROM batches").await);
    let mut stamps = Vec::new();
    for told in events.values() {
        assert!(told.iter().all(|again| *again == told[0]), "{told:?}");
        let of = told[0]["data"]["stamps"].as_array().expect("stamps");
        stamps.extend(of.iter().map(|stamp| stamp["object_cid"].as_str().expect("an id").to_owned()));
    }
    stamps.sort();
    stamps.dedup();
    assert_eq!(stamps.len() as i64, STAMPS);
}

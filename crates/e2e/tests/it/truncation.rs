//! A log that loses its tail under a listener.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use test_support::patience::within;
use test_support::{OwnKafka, TestTopic, eventually};

use e2e::world::World;

const DUE: &str = "2026-01-01T00:00:00Z";

// Break: let `begin_lap` in batch/heart/ledgers.rs forget all that is incomplete.
#[tokio::test(flavor = "multi_thread")]
async fn a_stamp_that_waits_below_the_point_where_a_log_was_cut_is_processed_when_it_is_due() {
    let mut kafka = OwnKafka::start().await;
    let servers = kafka.address();
    let world = World { topic: TestTopic::on(&servers, 1).await, ..World::new().await };
    // Nothing leaves before it is due. The session outlasts the broker's restart, so that the listener keeps its
    // partition.
    let variables = [
        ("KAFKA_BOOTSTRAP_SERVERS", servers.as_str()),
        ("MIN_BATCH_SIZE", "1000"),
        ("MAX_BATCH_SIZE", "1000"),
        ("KAFKA_CONF_SESSION_TIMEOUT_MS", "20000"),
    ];
    let first = world.listener(&variables).await;
    let now: DateTime<Utc> = world.database.query("SELECT clock_timestamp()", &[]).await[0].get(0);
    world.topic.send_stamp_to(0, "waits", 1, &now.to_rfc3339_opts(SecondsFormat::Micros, true));
    for number in 0..20 {
        // Each is a batch of its own in the log.
        world.topic.flush();
        world.topic.send_stamp_to(0, &format!("early-{number}"), 0, DUE);
    }
    world.topic.flush();
    let processed = "SELECT count(*) FROM stamp_states WHERE state = 'processed'";
    eventually("what is due is processed", || world.database.number(processed), |count| *count == 20).await;
    assert_eq!(world.topic.committed(world.group()), 0, "the first record waits");

    kafka.kill();
    kafka.truncate(world.topic.name(), 0, 6);
    kafka.start_again().await;
    for number in 0..10 {
        world.topic.send_stamp_to(0, &format!("late-{number}"), 0, DUE);
    }
    world.topic.flush();
    eventually("the listener goes on", || world.database.number(processed), |count| *count == 30).await;
    // What the listener commits for these is committed once further ones are processed.
    world.topic.send_stamp_to(0, "last", 0, DUE);
    world.topic.flush();
    eventually("the listener goes on", || world.database.number(processed), |count| *count == 31).await;
    drop(first);

    let _next = world.start("queue-listener", &variables);
    let waits = "SELECT count(*) FROM stamp_states WHERE state = 'processed' AND object_cid = 'waits'";
    let limit = Duration::from_mins(2);
    within(limit, "it is processed", || world.database.number(waits), |count| *count == 1).await;
}

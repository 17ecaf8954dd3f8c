//! Events that wait longer than their topic is sure to keep them.

use test_support::eventually;

use crate::harness::World;

/// Retention of a topic: a day, in milliseconds.
const RETENTION: (&str, &str) = ("retention.ms", "86400000");

// Break: pass `horizon: None` in stamps/run.rs.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_waits_longer_than_half_its_topic_s_retention_waits_in_the_table() {
    let world = World::with_settings(&[RETENTION]).await;
    let now = world.minutes_ago(0.0).await;
    // Half a day and a little more, and a little less.
    world.topic.send_stamp("distant", 730, &now);
    world.topic.send_stamp("near", 700, &now);
    world.topic.flush();
    let listener = world.listen(&[]);
    world.committed(world.group(), 1).await;
    let row = "SELECT count(*) FROM pending_stamps p JOIN stamps s ON s.id = p.stamp_id
               WHERE s.object_cid = 'distant' AND p.due_at = s.created_date + interval '730 minutes'
                 AND p.owner IS NULL AND p.kafka_partition = 0 AND p.kafka_offset = 0 AND p.kafka_timestamp > 0";
    assert_eq!(world.database.number(row).await, 1);
    // The distant stamp fills no batch, though min_batch_size is two.
    let waiting = || async { listener.metric("queue_listener_pending").await };
    eventually("one waits in memory", waiting, |pending| *pending == 1).await;
    assert_eq!(world.batches().await, []);
    listener.stop().await;

    // Kafka has lost the records. What is in the table leaves by the table.
    world.topic.delete_records(1).await;
    world.topic.send_stamp("distant", 0, "2026-01-01T00:00:00Z");
    let listener = world.listen(&[]);
    world.processed(1).await;
    let state = "SELECT count(*) FROM stamp_states WHERE object_cid = 'distant' AND kafka_offset = 0";
    assert_eq!(world.database.number(state).await, 1, "it keeps the coordinates of its first event");
    assert_eq!(world.database.number("SELECT count(*) FROM pending_stamps").await, 0);
    listener.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_distant_events_of_one_stamp_the_earlier_due_time_counts() {
    let world = World::with_settings(&[RETENTION]).await;
    let now = world.minutes_ago(0.0).await;
    let due = "SELECT extract(epoch FROM p.due_at - s.created_date)::bigint / 60
               FROM pending_stamps p JOIN stamps s ON s.id = p.stamp_id";
    // Together in one chunk, then one after the other.
    for tolerance in [900, 800, 850] {
        world.topic.send_stamp("distant", tolerance, &now);
    }
    world.topic.flush();
    let listener = world.listen(&[]);
    world.committed(world.group(), 3).await;
    assert_eq!(world.database.number(due).await, 800);
    for (offsets, tolerance, expected) in [(4, 750, 750), (5, 950, 750)] {
        world.topic.send_stamp("distant", tolerance, &now);
        world.committed(world.group(), offsets).await;
        assert_eq!(world.database.number(due).await, expected);
    }
    assert_eq!(world.database.number("SELECT count(*) FROM stamps").await, 1);
    listener.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_topic_keeps_its_records_for_ever_nothing_waits_in_the_table() {
    let world = World::with_settings(&[("retention.ms", "-1")]).await;
    let now = world.minutes_ago(0.0).await;
    world.topic.send_stamp("far away", 500_000, &now);
    world.topic.flush();
    let listener = world.listen(&[]);
    let waiting = || async { listener.metric("queue_listener_pending").await };
    eventually("it waits in memory", waiting, |pending| *pending == 1).await;
    assert_eq!(world.database.number("SELECT count(*) FROM pending_stamps").await, 0);
    listener.stop().await;
}

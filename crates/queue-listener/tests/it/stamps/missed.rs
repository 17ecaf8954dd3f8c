//! What counts as a missed deadline.

use rdkafka::producer::BaseRecord;
use test_support::eventually;

use crate::harness::World;

/// Publishes a stamp that was due so many minutes ago, in a record that says it was sent so many minutes ago.
async fn send(world: &World, object_cid: &str, due: f64, sent: f64) {
    let created = world.minutes_ago(due).await;
    let value =
        format!(r#"{{"object_cid": "{object_cid}", "time_tolerance": 0, "created_date": "{created}"}}"#);
    let millis = "SELECT (extract(epoch FROM clock_timestamp() - make_interval(secs => $1)) * 1000)::bigint";
    let sent: i64 = world.database.query(millis, &[&(sent * 60.0)]).await[0].get(0);
    let record = BaseRecord::to(world.topic.name()).key(object_cid).payload(value.as_bytes()).timestamp(sent);
    world.topic.send_record(record);
}

// Break: look at the stamps of `deadline` batches alone in `measure` of stamps/shell.rs, or leave out `sent_late`.
#[tokio::test(flavor = "multi_thread")]
async fn a_stamp_that_was_sent_in_time_and_leaves_late_is_counted_in_whatever_batch_and_no_other_is() {
    let world = World::new(1).await;
    // Nobody listened when these were due; together they leave as a full batch.
    for id in ["a", "b"] {
        send(&world, id, 5.0, 5.0).await;
    }
    let listener = world.listen(&[]);
    world.processed(2).await;
    assert_eq!(world.batches().await, [("min_batch_size".to_owned(), 2, 2)]);
    let missed = || listener.metric("queue_listener_deadlines_missed_total");
    eventually("both are counted", missed, |missed| *missed == 2).await;
    // A client may send what was due long ago, and a clock may be slow.
    send(&world, "old", 5.0, 0.0).await;
    world.processed(3).await;
    // Due in a second.
    send(&world, "new", -1.0 / 60.0, 0.0).await;
    world.processed(4).await;
    let measured = || listener.metric("queue_listener_lateness_seconds_count");
    eventually("the others are measured", measured, |measured| *measured == 2).await;
    assert_eq!(missed().await, 2);
    assert_eq!(listener.metric("queue_listener_partitions").await, 1);
    listener.stop().await;
}

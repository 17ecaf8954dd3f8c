//! What is committed to Kafka, and what a restart finds.

use test_support::eventually;

use crate::harness::{AT_ONCE, LONG, World};

#[tokio::test(flavor = "multi_thread")]
async fn the_committed_offset_stays_at_the_first_that_waits() {
    let world = World::new(1).await;
    let listener = world.listen(&[("MIN_BATCH_SIZE", "4")]);
    let now = world.minutes_ago(0.0).await;
    world.topic.send_stamp("first", 0, &now);
    world.topic.send_stamp("waits", LONG, &now);
    world.topic.send_stamp("third", 0, &now);
    world.processed(2).await;
    world.committed(world.group(), 1).await;
    listener.stop().await;
    assert_eq!(world.topic.committed(world.group()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_when_a_listener_stops_is_processed_by_the_next_one() {
    let world = World::new(3).await;
    let now = world.minutes_ago(0.0).await;
    let first = world.listen(&[("MIN_BATCH_SIZE", "3")]);
    world.topic.send_stamp("a", LONG, &now);
    world.topic.send_stamp("b", 0, &now);
    world.processed(1).await;
    first.stop().await;
    world.topic.send_stamp("c", LONG, &now);
    let second = world.listen(&[("MIN_BATCH_SIZE", "2")]);
    world.processed(3).await;
    world.committed(world.group(), 3).await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_read_again_change_nothing_and_fill_no_batch() {
    let world = World::new(3).await;
    let now = world.minutes_ago(0.0).await;
    (0..50).for_each(|id| world.topic.send_stamp(&id.to_string(), LONG, &now));
    world.topic.flush();
    let first = world.listen(&[AT_ONCE]);
    world.processed(50).await;
    first.stop().await;
    let batches = world.batches().await;
    // Another group starts from the beginning, as after a reset of the offsets.
    let second = world.listen(&[AT_ONCE, ("KAFKA_GROUP_ID", "reset")]);
    world.committed("reset", 50).await;
    second.stop().await;
    assert_eq!(world.batches().await, batches);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_listeners_on_the_same_records_make_each_stamp_part_of_one_batch() {
    let world = World::new(6).await;
    let now = world.minutes_ago(0.0).await;
    (0..5_000).for_each(|id| world.topic.send_stamp(&id.to_string(), LONG, &now));
    world.topic.flush();
    // Two groups read everything twice, at the same time.
    let (one, other) = (world.listen(&[AT_ONCE]), world.listen(&[AT_ONCE, ("KAFKA_GROUP_ID", "other")]));
    world.committed(world.group(), 5_000).await;
    world.committed("other", 5_000).await;
    world.processed(5_000).await;
    assert!(
        world.batches().await.iter().all(|(_, size, members)| i64::from(*size) == *members && *size <= 10)
    );
    one.stop().await;
    other.stop().await;
}

// Break: resume an empty list when a `Pause` of group/member.rs is dropped.
#[tokio::test(flavor = "multi_thread")]
async fn after_partitions_were_paused_for_a_lock_everything_is_read_on() {
    // More than the listener takes in while it can write nothing.
    const RECORDS: i64 = 25_000;
    let world = World::new(3).await;
    let now = world.minutes_ago(0.0).await;
    let listener = world.listen(&[AT_ONCE]);
    let holder = world.database.connect().await;
    let lock = "BEGIN; LOCK TABLE processed_stamps IN ACCESS EXCLUSIVE MODE";
    holder.batch_execute(lock).await.expect("the table's lock");
    (0..RECORDS).for_each(|id| world.topic.send_stamp(&id.to_string(), LONG, &now));
    world.topic.flush();
    let paused = |text: &String| text.contains("queue_listener_paused 1\n");
    eventually("partitions are paused", || listener.get("/metrics"), paused).await;
    let told = |text: &String| text.contains("degraded") && text.contains("what is to be written");
    eventually("it says why", || listener.get("/readyz"), told).await;
    holder.batch_execute("COMMIT").await.expect("the lock is given back");
    world.processed(RECORDS).await;
    world.committed(world.group(), RECORDS).await;
    let again = listener.get("/metrics").await;
    assert!(again.contains("queue_listener_paused 0\n"), "{again}");
    assert!(listener.get("/readyz").await.contains(r#""ready""#));
    listener.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn none_of_the_records_of_a_topic_that_was_recreated_is_taken_for_an_old_one() {
    let world = World::new(1).await;
    let now = world.minutes_ago(0.0).await;
    let listener = world.listen(&[]);
    world.topic.send_stamp("old 1", LONG, &now);
    world.topic.send(None, Some(b"old bad one"));
    world.topic.send_stamp("old 2", LONG, &now);
    world.processed(2).await;
    world.committed(world.group(), 3).await;
    listener.stop().await;

    world.topic.make_again(1).await;
    // The same offsets as before hold something else now.
    world.topic.send_stamp("new 1", LONG, &now);
    world.topic.send(None, Some(b"new bad one"));
    world.topic.send_stamp("new 2", LONG, &now);
    let listener = world.listen(&[]);
    world.processed(4).await;
    world.committed(world.group(), 3).await;
    let letters = "SELECT count(*) FROM dead_letters WHERE value IN ('old bad one', 'new bad one')";
    assert_eq!(world.database.number(letters).await, 2);
    listener.stop().await;
}

// Break: never call `rewind` in stamps/consumer/watchdog.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_is_attached_while_its_topic_is_recreated_reads_the_new_one_from_its_start() {
    let world = World::new(1).await;
    let now = world.minutes_ago(0.0).await;
    let listener = world.listen(&[AT_ONCE]);
    (0..4).for_each(|id| world.topic.send_stamp(&format!("old {id}"), LONG, &now));
    world.processed(4).await;
    world.committed(world.group(), 4).await;
    world.topic.make_again(1).await;
    (0..6).for_each(|id| world.topic.send_stamp(&format!("new {id}"), LONG, &now));
    world.processed(10).await;
    listener.stop().await;
}

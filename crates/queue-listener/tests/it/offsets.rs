//! What is committed to Kafka, and what a restart finds.

use crate::harness::{LONG, World};

#[tokio::test(flavor = "multi_thread")]
async fn the_committed_offset_stays_at_the_first_that_waits() {
    let world = World::new(1).await;
    let listener = world.listen(&[("MIN_BATCH_SIZE", "4")]);
    let now = world.minutes_ago(0.0).await;
    world.topic.send_stamp("first", 0, &now);
    world.topic.send_stamp("waits", LONG, &now);
    world.topic.send_stamp("third", 0, &now);
    world.processed(2).await;
    world.committed("user_group", 1).await;
    listener.stop().await;
    assert_eq!(world.topic.committed("user_group"), 1);
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
    world.committed("user_group", 3).await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_read_again_change_nothing_and_fill_no_batch() {
    let world = World::new(3).await;
    let now = world.minutes_ago(0.0).await;
    (0..50).for_each(|id| world.topic.send_stamp(&id.to_string(), LONG, &now));
    world.topic.flush();
    let first = world.listen(&[]);
    world.processed(50).await;
    first.stop().await;
    let batches = world.batches().await;
    // Another group starts from the beginning, as after a reset of the offsets.
    let second = world.listen(&[("KAFKA_GROUP_ID", "reset")]);
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
    let (one, other) = (world.listen(&[]), world.listen(&[("KAFKA_GROUP_ID", "other")]));
    world.committed("user_group", 5_000).await;
    world.committed("other", 5_000).await;
    world.processed(5_000).await;
    assert!(
        world.batches().await.iter().all(|(_, size, members)| i64::from(*size) == *members && *size <= 10)
    );
    one.stop().await;
    other.stop().await;
}

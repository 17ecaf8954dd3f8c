//! What leaves together, and when.

use test_support::eventually;

use crate::harness::{LONG, World};

#[tokio::test(flavor = "multi_thread")]
async fn two_stamps_of_another_producer_leave_together_and_are_stamps_from_then_on() {
    let world = World::new(3).await;
    let listener = world.listen(&[]);
    let now = world.minutes_ago(0.0).await;
    world.topic.send_stamp("a", 10, &now);
    world.topic.send_stamp("b", 10, &now);
    world.processed(2).await;
    assert_eq!(world.batches().await, [("min_batch_size".to_owned(), 2, 2)]);
    let columns = "SELECT count(*) FROM stamp_states
                   WHERE kafka_topic IS NOT NULL AND kafka_offset IS NOT NULL AND batch_id IS NOT NULL
                     AND process_after = created_date + interval '10 minutes'";
    assert_eq!(world.database.number(columns).await, 2);
    listener.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn below_min_exactly_the_due_one_leaves_and_not_before_its_time() {
    let world = World::new(1).await;
    let listener = world.listen(&[("MIN_BATCH_SIZE", "3")]);
    world.topic.send_stamp("waits", LONG, &world.minutes_ago(0.0).await);
    // Due two seconds from now.
    world.topic.send_stamp("due", 1, &world.minutes_ago(58.0 / 60.0).await);
    world.processed(1).await;
    assert_eq!(world.batches().await, [("deadline".to_owned(), 1, 1)]);
    let early = "SELECT count(*) FROM stamp_states WHERE processed_at < process_after";
    assert_eq!(world.database.number(early).await, 0);
    assert_eq!(world.state("waits").await, None, "it is nobody's business before it is processed");
    listener.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_more_urgent_arrival_moves_the_alarm_earlier() {
    let world = World::new(1).await;
    let listener = world.listen(&[("MIN_BATCH_SIZE", "5")]);
    let now = world.minutes_ago(0.0).await;
    world.topic.send_stamp("later", LONG, &now);
    eventually("it waits", || listener.get("/metrics"), |text| text.contains("queue_listener_pending 1"))
        .await;
    world.topic.send_stamp("at once", 0, &now);
    world.processed(1).await;
    assert_eq!(world.state("at once").await.as_deref(), Some("processed"));
    listener.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_five_that_wait_in_kafka_leave_as_10_10_and_5() {
    let world = World::new(12).await;
    let now = world.minutes_ago(0.0).await;
    (0..25).for_each(|id| world.topic.send_stamp(&id.to_string(), LONG, &now));
    world.topic.flush();
    let listener = world.listen(&[]);
    world.processed(25).await;
    let sizes: Vec<i32> = world.batches().await.iter().map(|(_, size, _)| *size).collect();
    assert_eq!(sizes, [10, 10, 5]);
    listener.stop().await;
}

// Break: let `on_screened` in batch/heart/step.rs admit all stamps.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_event_does_not_fill_a_batch() {
    let world = World::new(1).await;
    let listener = world.listen(&[]);
    let now = world.minutes_ago(0.0).await;
    world.topic.send_stamp("a", LONG, &now);
    world.topic.send_stamp("a", LONG, &now);
    let duplicates = |count: i32| format!("queue_listener_messages_total{{result=\"duplicate\"}} {count}\n");
    eventually("one repeat", || listener.get("/metrics"), |text| text.contains(&duplicates(1))).await;
    world.topic.send_stamp("b", LONG, &now);
    world.processed(2).await;
    // Processed by now: another repeat and one new stamp are one, not two.
    world.topic.send_stamp("a", LONG, &now);
    world.topic.send_stamp("c", LONG, &now);
    eventually("another repeat", || listener.get("/metrics"), |text| text.contains(&duplicates(2))).await;
    eventually("c waits", || listener.get("/metrics"), |text| text.contains("queue_listener_pending 1"))
        .await;
    assert_eq!(world.batches().await, [("min_batch_size".to_owned(), 2, 2)]);
    listener.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_event_and_row_differ_the_event_decides_and_the_view_shows_it() {
    let world = World::new(1).await;
    let now = world.minutes_ago(0.0).await;
    world
        .database
        .run(
            "WITH stamp AS (INSERT INTO stamps (object_cid, time_tolerance, created_date)
                            VALUES ('a', 9000, now()) RETURNING id)
             INSERT INTO pending_stamps (stamp_id, owner, seq) SELECT id, 1, 1 FROM stamp",
        )
        .await;
    world.topic.send_stamp("a", 0, &now);
    let listener = world.listen(&[]);
    world.processed(1).await;
    let shown = "SELECT count(*) FROM stamp_states WHERE time_tolerance = 0 AND process_after = created_date";
    assert_eq!(world.database.number(shown).await, 1);
    assert_eq!(world.database.number("SELECT count(*) FROM pending_stamps").await, 0);
    listener.stop().await;
}

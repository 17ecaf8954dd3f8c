//! Records that can't be understood, and those around them.

use test_support::eventually;

use crate::harness::{AT_ONCE, LONG, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_no_stamp_becomes_a_dead_letter_and_its_neighbours_go_on() {
    let world = World::new(1).await;
    let listener = world.listen(&[]);
    let now = world.minutes_ago(0.0).await;
    let twice = format!(r#""{{\"object_cid\":\"a\",\"time_tolerance\":10,\"created_date\":\"{now}\"}}""#);
    world.topic.send(Some("key.data.created"), Some(twice.as_bytes()));
    world.topic.send(Some("k"), Some(b"not json"));
    world.topic.send(None, None);
    world.topic.send_stamp("b", LONG, &now);
    world.processed(2).await;
    let count = "SELECT count(*) FROM dead_letters";
    eventually("dead letters", || world.database.number(count), |seen| *seen == 2).await;
    let rows = world
        .database
        .query(
            r#"SELECT key, value, reason, "offset", "timestamp" > 0 FROM dead_letters ORDER BY "offset""#,
            &[],
        )
        .await;
    assert_eq!(rows[0].get::<_, Option<&[u8]>>(0), Some(&b"k"[..]));
    assert_eq!(rows[0].get::<_, Option<&[u8]>>(1), Some(&b"not json"[..]));
    assert_eq!(
        (rows[0].get::<_, &str>(2), rows[0].get::<_, i64>(3), rows[0].get::<_, bool>(4)),
        ("not_json", 1, true)
    );
    assert_eq!(rows[1].get::<_, Option<&[u8]>>(1), None);
    world.committed(world.group(), 4).await;
    listener.stop().await;
}

// Break: leave `ON CONFLICT` out of `insert` in dead_letters/mod.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_read_again_is_the_same_one() {
    let world = World::new(1).await;
    world.topic.send(None, Some(b"[]"));
    world.topic.flush();
    for group in ["one", "two"] {
        let listener = world.listen(&[("KAFKA_GROUP_ID", group)]);
        world.committed(group, 1).await;
        listener.stop().await;
    }
    assert_eq!(world.database.number("SELECT count(*) FROM dead_letters").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stamp_that_the_database_refuses_stands_alone_in_the_end_and_the_rest_goes_on() {
    let world = World::new(1).await;
    world.database.refuse("stamps", "NEW.object_cid = 'bad'", "22023").await;
    let now = world.minutes_ago(0.0).await;
    for id in 0..30 {
        world.topic.send_stamp(if id == 17 { "bad".to_owned() } else { id.to_string() }.as_str(), LONG, &now);
    }
    world.topic.flush();
    let listener = world.listen(&[AT_ONCE]);
    world.processed(29).await;
    world.committed(world.group(), 30).await;
    let rows = world.database.query("SELECT value, reason, detail FROM dead_letters", &[]).await;
    assert_eq!(rows.len(), 1);
    let sent = world.topic.read().into_iter().find(|record| record.offset == 17).expect("it is in the topic");
    assert_eq!(rows[0].get::<_, Option<Vec<u8>>>(0), sent.value);
    assert_eq!(rows[0].get::<_, &str>(1), "refused_by_database");
    assert!(rows[0].get::<_, &str>(2).contains("not this one"));
    listener.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_on_the_table_delays_and_makes_no_dead_letter() {
    let world = World::new(1).await;
    let listener = world.listen(&[]);
    let locking = world.database.connect().await;
    let lock = "BEGIN; LOCK TABLE processed_stamps IN ACCESS EXCLUSIVE MODE";
    locking.batch_execute(lock).await.expect("the table is locked");
    let now = world.minutes_ago(0.0).await;
    world.topic.send_stamp("a", 0, &now);
    let refused = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    let before = world.database.number(refused).await;
    eventually("it has been refused", || world.database.number(refused), |seen| *seen > before).await;
    locking.batch_execute("COMMIT").await.expect("the table is free");
    world.processed(1).await;
    assert_eq!(world.database.number("SELECT count(*) FROM dead_letters").await, 0);
    listener.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_whose_records_die_raises_an_alarm_and_goes_on() {
    let world = World::new(1).await;
    let listener = world.listen(&[]);
    (0..100).for_each(|_| world.topic.send(None, Some(b"{}")));
    let raised = |text: &String| text.contains("queue_listener_poisoned_partitions 1");
    eventually("the alarm", || listener.get("/metrics"), raised).await;
    let degraded = |text: &String| text.contains("degraded") && text.contains("dead letters");
    eventually("it shows", || listener.get("/readyz"), degraded).await;
    world.topic.send_stamp("good", 0, &world.minutes_ago(0.0).await);
    world.processed(1).await;
    eventually("it ends", || listener.get("/readyz"), |text| !text.contains("degraded")).await;
    listener.stop().await;
}

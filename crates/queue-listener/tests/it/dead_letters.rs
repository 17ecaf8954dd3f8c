//! Records that can't be understood, and those around them.

use test_support::eventually;

use crate::harness::{LONG, World};

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
    world.committed("user_group", 4).await;
    listener.stop().await;
}

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

//! Records that Kafka has acknowledged and lost, or may lose before they are due.

use test_support::eventually;

use e2e::world::World;

// Break: begin no `overdue` in app.rs of the listener.
#[tokio::test(flavor = "multi_thread")]
async fn a_stamp_whose_record_kafka_has_lost_leaves_by_the_table_when_it_is_due() {
    let world = World::new().await;
    let (_api, url) = world.api().await;
    for id in 0..5 {
        assert_eq!(world.create(&url, &format!("lost-{id}"), "0").await.expect("an answer").0, 201);
    }
    eventually("published", || async { world.topic.read().len() }, |count| *count == 5).await;
    world.topic.delete_records(12).await;
    assert!(world.topic.read().is_empty(), "Kafka has lost them");
    let (_listener, admin) = world.listener_with_url(&[]).await;
    world.every_stamp_is_in_one_batch(5).await;
    let overdue = || world.metric(&admin, "queue_listener_overdue_total");
    eventually("all are counted", overdue, |count| *count == Some(5.0)).await;
    let stamp = world.processed(&url, "lost-0").await;
    assert!(stamp["kafka"].is_null(), "nobody has read its event: {stamp}");
    assert!(world.topic.read().is_empty(), "it was published, and is not published again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stamp_that_waits_longer_than_its_topic_is_sure_to_keep_it_leaves_by_the_table_once_it_is_due() {
    let world = World::new().await;
    let (_api, url) = world.api().await;
    let _listener = world.listener(&[]).await;
    // The topic keeps records for 14 days, and this one is due in seven days and some minutes.
    let ahead = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC' + interval '4 min', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
    let created: String = world.database.query(ahead, &[]).await[0].get(0);
    let body = format!(r#"{{"object_cid":"distant","time_tolerance":10080,"created_date":"{created}"}}"#);
    let request = world.client.post(format!("{url}/v1/stamps")).header("content-type", "application/json");
    assert_eq!(request.body(body).send().await.expect("an answer").status(), 201);
    let kept = "SELECT count(*) FROM pending_stamps WHERE kafka_offset = 0";
    eventually("it is kept in the table", || world.database.number(kept), |count| *count == 1).await;

    // A week passes, so to say, and Kafka has lost the record.
    world.topic.delete_records(12).await;
    world
        .database
        .run(
            "UPDATE stamps SET created_date = created_date - interval '10090 min';
             UPDATE pending_stamps SET due_at = due_at - interval '10090 min'",
        )
        .await;
    let stamp = world.processed(&url, "distant").await;
    assert_eq!(stamp["kafka"]["offset"], 0, "it keeps the coordinates of its first event: {stamp}");
    assert_eq!(stamp["batch"]["trigger"], "deadline");
}

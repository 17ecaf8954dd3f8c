//! Records that Kafka has acknowledged and lost.

use test_support::eventually;

use e2e::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn stamps_whose_records_kafka_has_lost_are_published_again_and_only_those() {
    let world = World::new().await;
    let (api, url) = world.api().await;
    let api_admin = format!("http://{}", api.address("metrics").await);
    for id in 0..5 {
        assert_eq!(world.create(&url, &format!("lost-{id}"), "0").await.expect("an answer").0, 201);
    }
    eventually("published", || async { world.topic.read().len() }, |count| *count == 5).await;
    world.topic.delete_records(12).await;
    assert!(world.topic.read().is_empty(), "Kafka has lost them");

    let _listener = world.listener(&[]).await;
    for id in 0..5 {
        assert_eq!(world.create(&url, &format!("kept-{id}"), "0").await.expect("an answer").0, 201);
    }
    let kept = "SELECT count(*) FROM stamp_states WHERE state = 'processed' AND object_cid LIKE 'kept-%'";
    eventually("what is not lost is processed", || world.database.number(kept), |count| *count == 5).await;
    assert_eq!(world.database.number("SELECT count(*) FROM pending_stamps").await, 5);
    assert_eq!(world.metric(&api_admin, "stamp_api_swept_total").await, Some(0.0));

    // Half a minute passes, so to say, and the listener has processed what came half a minute later.
    world
        .database
        .run(
            "UPDATE pending_stamps SET due_at = due_at - interval '70 s', sweep_after = sweep_after - interval '70 s';
             UPDATE batches SET processed_at = processed_at - interval '31 s'",
        )
        .await;
    world.every_stamp_is_in_one_batch(10).await;
    assert_eq!(world.metric(&api_admin, "stamp_api_swept_total").await, Some(5.0));
}

//! Batches of any size, as clients read them.

use serde_json::json;

use crate::harness::World;

/// Makes a batch of so many stamps, as a listener does.
async fn batch_of(world: &World, size: i64) {
    let sql = "
        WITH made AS (
            INSERT INTO stamps (object_cid, time_tolerance, created_date)
            SELECT number::text, 1, now() FROM generate_series(1, $1::bigint) number RETURNING id
        ), batch AS (
            INSERT INTO batches (trigger, size, listener, topic, processed_at)
            VALUES ('min_batch_size', $1::bigint::int, 'l', 't', now()) RETURNING id
        )
        INSERT INTO processed_stamps (stamp_id, batch_id, time_tolerance, created_date, kafka_partition, kafka_offset)
        SELECT made.id, batch.id, 1, now(), 0, 0 FROM made, batch";
    world.database.query(sql, &[&size]).await;
}

// Break: leave the limit out of `find` in store's stamps/batches.rs.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_so_many_of_a_batch_s_stamps_as_is_asked_for_and_no_more_than_a_thousand() {
    let world = World::new().await;
    batch_of(&world, 2_500).await;
    let api = world.serve(&[]).await;
    for (query, stamps) in [("", 200), ("?limit=1", 1), ("?limit=1000", 1_000)] {
        let batch = api.get(&format!("/v1/batches/1{query}")).await.json();
        assert_eq!(
            (batch["size"].as_i64(), batch["stamps"].as_array().expect("stamps").len()),
            (Some(2_500), stamps)
        );
    }
    for limit in ["0", "-1", "1.5", "1001", "100000000000000000000", ""] {
        let answer = api.get(&format!("/v1/batches/1?limit={limit}")).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.json()["limit"].is_array(), "{answer:?}");
    }
    api.stop().await;
}

// Break: leave the `FILTER` out of what `SUMMARY` of store's deliveries/queries.rs says of the last error.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_shows_what_has_become_of_telling_it() {
    let world = World::new().await;
    batch_of(&world, 3).await;
    let api = world.serve(&[]).await;
    assert_eq!(api.get("/v1/batches/1").await.json()["delivery"], json!(null));
    let parts = "
        INSERT INTO deliveries (batch_id, part, parts, sink, attempts, next_attempt_at, delivered_at, last_error) VALUES
        (1, 1, 3, 'webhook', 2, NULL, '2026-01-01T00:00:01Z', 'the receiver answered 500'),
        (1, 2, 3, 'webhook', 4, '2026-01-01T00:00:03Z', NULL, 'the receiver answered 503'),
        (1, 3, 3, 'webhook', 0, '2026-01-01T00:00:02Z', NULL, NULL)";
    world.database.run(parts).await;
    let mut expected = json!({
        "sink": "webhook", "state": "waiting", "attempts": 4, "next_attempt_at": "2026-01-01T00:00:02.000000Z",
        "delivered_at": null, "last_error": "the receiver answered 503",
    });
    assert_eq!(api.get("/v1/batches/1").await.json()["delivery"], expected);
    world.database.run("UPDATE deliveries SET next_attempt_at = NULL WHERE part = 2").await;
    expected["state"] = "failed".into();
    assert_eq!(api.get("/v1/batches/1").await.json()["delivery"], expected);
    world
        .database
        .run("UPDATE deliveries SET next_attempt_at = NULL, delivered_at = '2026-01-01T00:00:04Z'")
        .await;
    expected["state"] = "delivered".into();
    expected["next_attempt_at"] = json!(null);
    expected["delivered_at"] = "2026-01-01T00:00:04.000000Z".into();
    expected["last_error"] = api.get("/v1/batches/1").await.json()["delivery"]["last_error"].clone();
    assert_eq!(api.get("/v1/batches/1").await.json()["delivery"], expected);
    api.stop().await;
}

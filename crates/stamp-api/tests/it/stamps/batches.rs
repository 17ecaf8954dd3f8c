//! Batches of any size, as clients read them.

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

//! The states of stamps as others read them.

use test_support::TestDatabase;

async fn plan(database: &TestDatabase, condition: &str) -> String {
    let sql = format!("EXPLAIN SELECT * FROM stamp_states WHERE {condition}");
    let plan = database.query(&sql, &[]).await;
    plan.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n")
}

// Break: let the view `stamp_states` join all tables in one arm, as its `down.sql` does.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_stamps_of_one_state_or_for_one_stamp_reads_no_others() {
    let database = TestDatabase::new().await;
    database
        .run(
            "INSERT INTO stamps (object_cid, time_tolerance, created_date)
             SELECT n::text, 10, now() FROM generate_series(1, 100000) AS n;
             INSERT INTO pending_stamps (stamp_id, owner, seq)
             SELECT id, 1, id FROM stamps ORDER BY id DESC LIMIT 5000;
             INSERT INTO batches (trigger, size, listener, topic, processed_at)
             SELECT 'deadline', 10, 'l', 't', now() FROM generate_series(1, 9500);
             INSERT INTO processed_stamps (stamp_id, batch_id, time_tolerance, created_date)
             SELECT id, 1 + (id - 1) / 10, 10, now() FROM stamps ORDER BY id LIMIT 95000;
             ANALYZE",
        )
        .await;
    let pending = plan(&database, "state = 'pending'").await;
    assert!(pending.contains("pending_stamps") && !pending.contains("processed_stamps"), "{pending}");
    assert!(!plan(&database, "state = 'processed'").await.contains("pending_stamps"));
    for condition in ["object_cid = '7'", "batch_id = 7"] {
        let one = plan(&database, condition).await;
        assert!(!one.contains("Seq Scan"), "{condition}: {one}");
    }
    let count = "SELECT count(*) FROM stamp_states WHERE state = ";
    assert_eq!(database.number(&format!("{count} 'pending'")).await, 5_000);
    assert_eq!(database.number(&format!("{count} 'processed'")).await, 95_000);
}

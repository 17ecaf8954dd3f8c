//! Replays of dead letters: each publication counts once, in whatever order things are heard of.

use domain::record::Verdict;
use store::Database;
use store::dead_letters::replays::{mark_replayed, settle};
use test_support::TestDatabase;

/// Returns a database with one dead letter, and the id of that.
async fn buried() -> (TestDatabase, Database, i64) {
    let database = TestDatabase::new().await;
    let insert = r#"INSERT INTO dead_letters (topic, partition, "offset", "timestamp", reason, detail)
                    VALUES ('t', 0, 0, -1, 'no_value', '') RETURNING id"#;
    let id = database.query(insert, &[]).await[0].get(0);
    let pool = database.pool();
    (database, pool, id)
}

/// Returns `replays`, and whether a replay is under way or has succeeded.
async fn row(database: &TestDatabase) -> (i32, bool, bool) {
    let sql = "SELECT replays, replayed_at IS NOT NULL, resolved_at IS NOT NULL FROM dead_letters";
    let row = &database.query(sql, &[]).await[0];
    (row.get(0), row.get(1), row.get(2))
}

// Break: leave the condition on `replays` out of `update` in dead_letters/replays.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_read_before_its_acknowledgement_is_noted_counts_once() {
    let (database, pool, id) = buried().await;
    let bad = Verdict { id, replays: Some(0), understood: false };
    for _redelivered in 0..2 {
        settle(&pool, &[bad, bad]).await.expect("settled");
        assert_eq!(row(&database).await, (1, false, false));
    }
    assert_eq!(mark_replayed(&pool, &[(id, 0)]).await.expect("nothing to mark"), 0);
    assert_eq!(row(&database).await, (1, false, false), "it waits for the next replay");

    assert_eq!(mark_replayed(&pool, &[(id, 1)]).await.expect("marked"), 1);
    settle(&pool, &[bad]).await.expect("nothing to settle");
    assert_eq!(row(&database).await, (1, true, false), "that was the first publication, read again");
    let good = Verdict { id, replays: Some(1), understood: true };
    for _redelivered in 0..2 {
        settle(&pool, &[good]).await.expect("settled");
        assert_eq!(row(&database).await, (1, true, true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_does_not_tell_which_one_it_is_counts_while_one_is_under_way() {
    let (database, pool, id) = buried().await;
    let bad = Verdict { id, replays: None, understood: false };
    settle(&pool, &[bad]).await.expect("nothing to settle");
    assert_eq!(row(&database).await, (0, false, false));
    mark_replayed(&pool, &[(id, 0)]).await.expect("marked");
    for _redelivered in 0..2 {
        settle(&pool, &[bad]).await.expect("settled");
        assert_eq!(row(&database).await, (1, false, false));
    }
    settle(&pool, &[Verdict { understood: true, ..bad }]).await.expect("settled");
    assert_eq!(row(&database).await, (1, false, true));
}

//! What the sweeper takes, and that it takes nothing of listeners that are off or behind.

use domain::batch::assignment::Position;
use domain::batch::heart::Distant;
use domain::batch::pending::PendingStamp;
use domain::stamp::Stamp;
use store::Database;
use store::stamps::intake::{self, GroupCommit};
use store::stamps::{distant, owners, sweep};
use test_support::TestDatabase;

use crate::values::{numbered, stamp, stamp_due_after};

/// Returns a database in which these stamps have been due for a hundred seconds and published for as long.
async fn overdue(ids: &[&str]) -> (TestDatabase, Database) {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let owner = owners::register(&pool).await.expect("an owner");
    let stored = intake::store(&pool, owner, &numbered(1, ids)).await.expect("the database answers");
    assert!(matches!(stored, GroupCommit::Committed { .. }));
    owners::renew(&pool, &[(owner, ids.len() as i64)]).await.expect("renewed");
    database
        .run(
            "UPDATE pending_stamps
             SET due_at = now() - interval '100 s', sweep_after = now() - interval '70 s'",
        )
        .await;
    (database, pool)
}

/// Notes a batch that somebody has processed so many seconds ago.
async fn processed(database: &TestDatabase, seconds_ago: i32) {
    let sql = format!(
        "INSERT INTO batches (trigger, size, listener, topic, processed_at)
         VALUES ('deadline', 1, 'l', 't', now() - interval '{seconds_ago} s')"
    );
    database.run(&sql).await;
}

async fn swept(pool: &Database) -> Vec<String> {
    let swept = sweep::sweep(pool, 1_000).await.expect("swept");
    let mut ids: Vec<String> = swept.iter().map(|stamp| stamp.object_cid().as_str().to_owned()).collect();
    ids.sort();
    ids
}

// Break: let `WITNESS` in stamps/sweep.rs be any batch.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_swept_while_no_batch_was_processed_half_a_minute_after_it_was_due() {
    let (database, pool) = overdue(&["a"]).await;
    assert!(swept(&pool).await.is_empty(), "no listener is there");
    processed(&database, 90).await;
    assert!(swept(&pool).await.is_empty(), "it has stopped before it was this one's turn");
    processed(&database, 10).await;
    assert!(swept(&pool).await.is_empty(), "it has just begun again");
    processed(&database, 35).await;
    assert_eq!(swept(&pool).await, ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_stamp_is_swept_twice_at_most() {
    let (database, pool) = overdue(&["a"]).await;
    processed(&database, 35).await;
    for _ in 0..2 {
        assert_eq!(swept(&pool).await, ["a"]);
        assert!(swept(&pool).await.is_empty(), "it is put off");
        let put_off = "SELECT count(*) FROM pending_stamps WHERE sweep_after > now() + interval '50 s'";
        assert_eq!(database.number(put_off).await, 1);
        database.run("UPDATE pending_stamps SET sweep_after = now() - interval '70 s'").await;
    }
    assert!(swept(&pool).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_owner_has_still_to_publish_is_left_to_it() {
    let (database, pool) = overdue(&["published", "unpublished"]).await;
    processed(&database, 35).await;
    database.run("UPDATE intake_owners SET published_through = 1").await;
    assert_eq!(swept(&pool).await, ["published"]);
}

/// Stores stamps as a listener does whose topic may not keep their events for so long.
async fn keep(pool: &Database, stamps: Vec<Stamp>) {
    let distant = |(offset, stamp)| {
        let position = Position { partition: 0, lap: 1, offset };
        Distant { waiting: PendingStamp { stamp, position }, timestamp: 1 }
    };
    let distant: Vec<Distant> = (0..).zip(stamps).map(distant).collect();
    distant::store(pool, "t", &[], &distant).await.expect("stored");
}

async fn taken(pool: &Database) -> Vec<Stamp> {
    sweep::take_distant(pool, 1_000).await.expect("taken")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_the_table_alone_is_taken_when_it_is_due_until_somebody_has_processed_it() {
    // One is stamp-api's, and its owner has published it; the other is another producer's.
    let (database, pool) = overdue(&["own"]).await;
    keep(&pool, vec![stamp("own"), stamp("other")]).await;
    assert!(swept(&pool).await.is_empty(), "it is no loss");
    database.run("UPDATE pending_stamps SET due_at = now() + interval '1 s', sweep_after = due_at").await;
    assert!(taken(&pool).await.is_empty(), "nothing is due");
    for minutes in [1, 2, 4, 8] {
        database.run("UPDATE pending_stamps SET due_at = now(), sweep_after = now()").await;
        assert_eq!(taken(&pool).await.len(), 2, "without any batch");
        assert!(taken(&pool).await.is_empty(), "it is put off");
        let put_off = format!(
            "SELECT count(*) FROM pending_stamps
             WHERE sweep_after BETWEEN now() + interval '{minutes} min' - interval '9 s' AND now() + interval '{minutes} min'"
        );
        assert_eq!(database.number(&put_off).await, 2, "{minutes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_time_that_was_moved_forward_goes_with_the_event() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let (later, earlier) = (stamp("a"), stamp_due_after("a", 3));
    keep(&pool, vec![later]).await;
    keep(&pool, vec![earlier.clone()]).await;
    let taken = taken(&pool).await;
    assert_eq!(taken.iter().map(Stamp::due).collect::<Vec<_>>(), [earlier.due()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_an_older_binary_gets_its_due_time_and_is_swept_like_any_other() {
    let (database, pool) = overdue(&["old"]).await;
    processed(&database, 35).await;
    database
        .run(
            "UPDATE pending_stamps SET due_at = NULL, sweep_after = '-infinity';
             UPDATE stamps SET created_date = now() - interval '700 s'",
        )
        .await;
    assert_eq!(swept(&pool).await, ["old"]);
    let dated = "SELECT count(*) FROM pending_stamps p JOIN stamp_states s ON s.process_after = p.due_at";
    assert_eq!(database.number(dated).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_of_a_large_table_reads_indexes() {
    let (database, pool) = overdue(&["one"]).await;
    database
        .run(
            "INSERT INTO stamps (object_cid, time_tolerance, created_date)
             SELECT 'many-' || n, 10, now() FROM generate_series(1, 100000) AS n;
             INSERT INTO pending_stamps (stamp_id, owner, seq, due_at)
             SELECT id, 1, id + 10, created_date + interval '10 min' FROM stamps WHERE object_cid LIKE 'many-%';
             ANALYZE",
        )
        .await;
    processed(&database, 35).await;
    for statement in sweep::sweep_statements() {
        let plan = plan(&database, &statement).await;
        assert!(!plan.contains("Seq Scan on pending_stamps"), "{statement}\n{plan}");
        assert!(plan.contains("pending_stamps_"), "{statement}\n{plan}");
    }
    assert_eq!(swept(&pool).await, ["one"]);
}

/// Returns the plan of a prepared statement whose values are not known, as the services' are after some runs.
async fn plan(database: &TestDatabase, statement: &str) -> String {
    let (types, arguments) = if statement.contains("$2") {
        ("float8, int4, int8, int8", "30, 2, 1000, 100000")
    } else {
        ("int8", "10000")
    };
    database.run("SET plan_cache_mode = force_generic_plan").await;
    database.run(&format!("PREPARE sweep({types}) AS {statement}")).await;
    let rows = database.query(&format!("EXPLAIN EXECUTE sweep({arguments})"), &[]).await;
    database.run("DEALLOCATE sweep").await;
    rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n")
}

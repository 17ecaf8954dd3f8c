//! What leaves by the table, and what becomes of the events that were not published by then.

use std::time::Duration;

use domain::batch::assignment::Position;
use domain::batch::heart::{Distant, Failure};
use domain::batch::net::Seen;
use domain::batch::pending::PendingStamp;
use domain::batch::policy::Trigger::Deadline;
use domain::stamp::Stamp;
use store::Database;
use store::stamps::intake::{self, GroupCommit, Numbered, Taken};
use store::stamps::processing::overdue::{self, Take};
use store::stamps::{distant, owners, processing};
use test_support::{TestDatabase, eventually};

use crate::values::{batches, maker, numbered, stamp, stamp_due_after};

/// Returns a database with stamps of an owner that has published none of them, due so many milliseconds ago.
async fn due(ids: &[(&str, i64)]) -> (TestDatabase, Database, i64) {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let owner = owners::register(&pool).await.expect("an owner");
    let names: Vec<&str> = ids.iter().map(|(id, _)| *id).collect();
    let stored = intake::store(&pool, owner, &numbered(1, &names), Taken::Unlikely)
        .await
        .expect("the database answers");
    assert!(matches!(stored, GroupCommit::Committed { .. }));
    for (id, ms) in ids {
        set_due(&database, id, &format!("clock_timestamp() - interval '{ms} ms'")).await;
    }
    (database, pool, owner)
}

async fn set_due(database: &TestDatabase, id: &str, due: &str) {
    let sql = format!(
        "UPDATE pending_stamps SET due_at = {due} WHERE stamp_id = (SELECT id FROM stamps WHERE object_cid = '{id}')"
    );
    database.run(&sql).await;
}

async fn look(pool: &Database) -> Vec<Seen> {
    overdue::look(pool).await.expect("the database answers")
}

async fn rows(pool: &Database) -> Vec<i64> {
    look(pool).await.iter().map(|seen| seen.row).collect()
}

/// Takes everything that a look sees. Returns the sizes of the batches.
async fn take(pool: &Database, max: usize) -> Vec<usize> {
    let taken =
        overdue::take(pool, &rows(pool).await, max, &maker("l", "t")).await.expect("the database answers");
    let Take::Taken { batches, lateness, .. } = taken else { panic!("it is our turn") };
    let sizes: Vec<usize> = batches.iter().map(|batch| batch.size).collect();
    assert_eq!(sizes.iter().sum::<usize>(), lateness.len());
    assert!(lateness.iter().all(|late| *late >= Duration::from_millis(500)), "{lateness:?}");
    sizes
}

async fn processed(database: &TestDatabase) -> Vec<String> {
    let sql = "SELECT object_cid FROM stamp_states WHERE state = 'processed' ORDER BY object_cid";
    database.query(sql, &[]).await.iter().map(|row| row.get(0)).collect()
}

/// Returns the numbers of an owner's events that are to be published, above a mark.
async fn outbox(pool: &Database, owner: i64, above: i64) -> Vec<i64> {
    let rows = owners::outbox(pool, owner, above, 10).await.expect("read");
    rows.iter().map(|Numbered { number, .. }| *number).collect()
}

// Break: judge a stamp by its due time alone in `take_statement` of stamps/processing/overdue.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_counts_as_missed_two_seconds_after_it_unless_the_stamp_was_stored_after_it() {
    let (database, pool, _) = due(&[("missed", 2_500), ("kept", 700), ("came late", 3_600_000)]).await;
    database
        .run(
            "UPDATE pending_stamps p SET stored_at = p.due_at FROM stamps s
             WHERE s.id = p.stamp_id AND s.object_cid IN ('missed', 'kept')",
        )
        .await;
    let rows = rows(&pool).await;
    let taken = overdue::take(&pool, &rows, 10, &maker("l", "t")).await.expect("the database answers");
    let Take::Taken { lateness, missed, .. } = taken else { panic!("it is our turn") };
    assert_eq!((lateness.len(), missed), (3, 1));
}

async fn unpublished(database: &TestDatabase) -> i64 {
    database.number("SELECT count(*) FROM left_events WHERE published_at IS NULL").await
}

// Break: leave the condition on `due_at` out of `take_statement` in stamps/processing/overdue.rs.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_been_due_for_half_a_second_leaves_in_batches_of_up_to_max_and_nothing_else_does() {
    let hour = 3_600_000;
    let (database, pool, _) =
        due(&[("c", 600), ("a", hour), ("b", 700), ("later", -hour), ("soon", -900)]).await;
    let seen = look(&pool).await;
    assert_eq!(seen.len(), 4, "what is due within a second, the most overdue first");
    assert!(seen.is_sorted_by_key(|seen| seen.due));
    assert_eq!(take(&pool, 2).await, [2, 1]);
    assert_eq!(processed(&database).await, ["a", "b", "c"]);
    let one = "SELECT count(*) FROM stamp_states a JOIN stamp_states b USING (batch_id)
               WHERE a.object_cid = 'a' AND b.object_cid = 'b' AND a.trigger = 'deadline' AND a.batch_size = 2";
    assert_eq!(database.number(one).await, 1, "the most overdue leave together");
    let bare = "SELECT count(*) FROM stamp_states WHERE state = 'processed'
                AND num_nulls(kafka_topic, kafka_partition, kafka_offset) = 3";
    assert_eq!(database.number(bare).await, 3, "nobody has read their events");
    let true_to_time =
        "SELECT count(*) FROM stamp_states WHERE processed_at - process_after > interval '500 ms'";
    assert_eq!(database.number(true_to_time).await, 3);
    // What comes by Kafka afterwards is a repeat.
    let by_kafka =
        processing::process(&pool, &batches(["a", "b"], 2, &[Deadline]), &maker("k", "t"), false).await;
    assert!(by_kafka.expect("asked").won.iter().all(Option::is_none));
    assert_eq!(database.number(bare).await, 3, "and they stay without");
}

// Break: let `take_statement` of stamps/processing/overdue.rs write no left events.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_not_known_to_be_published_stays_in_the_outbox_until_it_is() {
    let (database, pool, owner) = due(&[("a", 600), ("b", 600), ("c", 600), ("d", -10_000)]).await;
    owners::renew(&pool, &[(owner, 1)]).await.expect("renewed");
    assert_eq!(take(&pool, 10).await, [3]);
    assert_eq!(unpublished(&database).await, 2, "the first is in Kafka");
    assert_eq!(outbox(&pool, owner, 1).await, [2, 3, 4]);
    assert_eq!(outbox(&pool, owner, 2).await, [3, 4]);
    owners::renew(&pool, &[(owner, 2)]).await.expect("renewed");
    assert_eq!(unpublished(&database).await, 1);
    assert_eq!(outbox(&pool, owner, 0).await, [3, 4]);
    owners::retire(&pool, owner).await.expect("retired");
    owners::forget(&pool, owner).await.expect("forgotten");
    assert_eq!(unpublished(&database).await, 0, "all of it is published");
    // A stamp whose owner is gone is in Kafka.
    set_due(&database, "d", "clock_timestamp() - interval '1 s'").await;
    assert_eq!(take(&pool, 10).await, [1]);
    assert_eq!(unpublished(&database).await, 0);
}

// Break: look for no `gone` owners in `retire_silent` of stamps/owners.rs.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_is_gone_although_an_event_of_it_is_not_published_is_put_back() {
    let (database, pool, owner) = due(&[("a", 600), ("b", 600), ("waits", -10_000)]).await;
    assert_eq!(take(&pool, 10).await, [2]);
    // An older binary reads pending rows alone, and then forgets.
    database.run("DELETE FROM intake_owners").await;
    let silent = async |except: &[i64]| {
        owners::retire_silent(&pool, Duration::from_secs(5), except).await.expect("asked")
    };
    assert_eq!(silent(&[owner]).await, None);
    let back = silent(&[]).await.expect("it is put back");
    assert_eq!((back.id, back.mark), (owner, 0));
    assert_eq!(silent(&[]).await, None, "once");
    assert_eq!(
        outbox(&pool, owner, back.mark).await,
        [1, 2],
        "what waits was published before it was forgotten"
    );
    let retired = intake::store(&pool, owner, &numbered(4, &["late"]), Taken::Unlikely).await.expect("asked");
    assert!(matches!(retired, GroupCommit::OwnerRetired));
    owners::forget(&pool, owner).await.expect("forgotten");
    assert_eq!(unpublished(&database).await, 0);
    assert_eq!(silent(&[]).await, None);
}

// Break: let `retire_silent` of stamps/owners.rs return the owner's own mark.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_an_older_binary_has_published_is_read_again_from_its_left_events_on() {
    let (database, pool, _) = due(&[("a", -10_000), ("left", 600), ("b", -10_000)]).await;
    assert_eq!(take(&pool, 10).await, [1]);
    // It reads pending rows alone, and so passes the left event.
    database.run("UPDATE intake_owners SET published_through = 3, seen_at = '-infinity'").await;
    let silent = owners::retire_silent(&pool, Duration::from_secs(5), &[]).await.expect("asked");
    let silent = silent.expect("it was given up");
    assert_eq!(silent.mark, 1);
    assert_eq!(outbox(&pool, silent.id, silent.mark).await, [2], "what else is pending is in Kafka");
}

// Break: leave SKIP LOCKED out of `take_statement` in stamps/processing/overdue.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_holds_holds_up_no_other_and_one_listener_takes_at_a_time() {
    let (database, pool, _) = due(&[("held", 900), ("free", 600)]).await;
    let holder = database.connect().await;
    let hold = "BEGIN; SELECT FROM pending_stamps p JOIN stamps s ON s.id = p.stamp_id
                WHERE s.object_cid = 'held' FOR UPDATE OF p";
    holder.batch_execute(hold).await.expect("held");
    assert_eq!(take(&pool, 10).await, [1]);
    assert_eq!(processed(&database).await, ["free"]);
    let held = rows(&pool).await[0];
    assert_eq!(overdue::put_off(&pool, held).await.expect("asked"), None, "nor does it wait to be put off");
    // As a listener does that is taking.
    let turn = "ROLLBACK; BEGIN;
                SELECT pg_advisory_xact_lock(1953854062::int8 << 32 | 'pending_stamps'::regclass::oid::int8)";
    holder.batch_execute(turn).await.expect("its turn");
    let held = rows(&pool).await;
    assert_eq!(overdue::take(&pool, &held, 10, &maker("l", "t")).await.expect("asked"), Take::NotOurTurn);
    holder.batch_execute("COMMIT").await.expect("the turn is over");
    assert_eq!(take(&pool, 10).await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_refuses_is_left_alone_for_a_minute_then_two_and_an_hour_at_most() {
    let (database, pool, _) = due(&[("good", 600), ("bad", 600)]).await;
    database.refuse("processed_stamps", "NEW.stamp_id = 1", "22000").await;
    let refused =
        overdue::take(&pool, &rows(&pool).await, 10, &maker("l", "t")).await.expect_err("it is refused");
    assert_eq!(refused.failure(), Failure::Data);
    let put_off = async || overdue::put_off(&pool, 1).await.expect("asked");
    for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
        // Whoever is told of a refusal is so a moment before the row is free.
        let told = eventually("it is put off", put_off, Option::is_some).await.expect("put off");
        assert_eq!((&*told.object_cid, told.pause), ("bad", Duration::from_secs(60 * minutes)));
        assert_eq!(put_off().await, None, "another listener has done that");
        assert_eq!(rows(&pool).await, [2], "no listener sees it");
        database.run("UPDATE pending_stamps SET retry_at = now() WHERE stamp_id = 1").await;
    }
    put_off().await;
    assert_eq!(take(&pool, 10).await, [1]);
    assert_eq!(processed(&database).await, ["good"]);
    assert_eq!(put_off().await, None);
}

// Break: leave `isfinite` out of `take_statement` or `look_statement` in stamps/processing/overdue.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_due_time_without_end_is_seen_as_none_and_one_far_in_the_past_leaves_at_once() {
    let (database, pool, _) = due(&[("never", 0), ("ever", 0), ("old", 0), ("good", 600)]).await;
    set_due(&database, "never", "'infinity'").await;
    set_due(&database, "ever", "'-infinity'").await;
    set_due(&database, "old", "'4000-01-01 BC'").await;
    let seen = look(&pool).await;
    let without: Vec<i64> = seen.iter().filter(|seen| seen.due.is_none()).map(|seen| seen.row).collect();
    assert_eq!((seen.len(), without), (4, vec![1, 3]));
    assert_eq!(take(&pool, 10).await, [2]);
    for row in [1, 3] {
        assert!(overdue::put_off(&pool, row).await.expect("asked").is_some());
    }
    assert!(look(&pool).await.is_empty());
    let left = "SELECT count(*) FROM pending_stamps";
    assert_eq!(database.number(left).await, 2, "nothing is lost");
}

/// Stores stamps as a listener does whose topic may not keep their events for so long.
async fn keep(pool: &Database, topic: &str, stamp: Stamp) {
    let position = Position { partition: 3, lap: 1, offset: 7 };
    let distant =
        Distant { waiting: PendingStamp { stamp, position, has_row: false, sent_late: false }, timestamp: 1 };
    distant::store(pool, topic, &[], &[distant]).await.expect("stored");
}

// Break: let `make` of stamps/processing/mod.rs write no topic.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_another_producer_leaves_with_its_coordinates_and_the_due_time_that_came_first() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let earlier = stamp_due_after("a", 3);
    keep(&pool, "t", stamp("a")).await;
    keep(&pool, "t", earlier.clone()).await;
    keep(&pool, "another", stamp("b")).await;
    assert_eq!(take(&pool, 10).await, [2]);
    assert_eq!(unpublished(&database).await, 0, "nobody publishes it");
    for (id, topic) in [("a", "t"), ("b", "another")] {
        let state = store::stamps::states::find(&pool, id).await.expect("asked").expect("it is there");
        assert_eq!(state.kafka_topic.as_deref(), Some(topic));
        assert_eq!((state.kafka_partition, state.kafka_offset), (Some(3), Some(7)));
    }
    let state = store::stamps::states::find(&pool, "a").await.expect("asked").expect("it is there");
    assert_eq!(state.process_after, earlier.due());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_an_older_binary_gets_its_due_time_and_is_seen_at_once() {
    let (database, pool, _) = due(&[("old", 0), ("endless", 0)]).await;
    database
        .run(
            "UPDATE pending_stamps SET due_at = NULL;
             UPDATE stamps SET created_date = CASE object_cid WHEN 'old' THEN now() - interval '700 s'
                ELSE '294000-01-01'::timestamptz END",
        )
        .await;
    let seen = look(&pool).await;
    assert_eq!(seen.len(), 1);
    let dated = "SELECT count(*) FROM pending_stamps p JOIN stamp_states s ON s.process_after = p.due_at";
    assert_eq!(database.number(dated).await, 1);
    assert_eq!(take(&pool, 10).await, [1]);
    let endless = look(&pool).await;
    assert_eq!(endless.iter().map(|seen| seen.due).collect::<Vec<_>>(), [None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_a_large_table_reads_indexes() {
    let (database, pool, _) = due(&[("one", 600)]).await;
    database
        .run(
            "INSERT INTO stamps (object_cid, time_tolerance, created_date)
             SELECT 'many-' || n, 10, now() FROM generate_series(1, 100000) AS n;
             INSERT INTO pending_stamps (stamp_id, owner, seq, due_at)
             SELECT id, 1, id + 10, created_date + interval '10 min' FROM stamps WHERE object_cid LIKE 'many-%';
             ANALYZE",
        )
        .await;
    // As a prepared statement is planned whose values are not known, which the services' are after some runs.
    database.run("SET plan_cache_mode = force_generic_plan").await;
    database.run(&format!("PREPARE look(float8, int8, int8) AS {}", overdue::look_statement())).await;
    let plan = database.query("EXPLAIN EXECUTE look(1, 1000, 10000)", &[]).await;
    let plan = plan.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n");
    assert!(!plan.contains("Seq Scan on pending_stamps"), "{plan}");
    assert!(
        plan.contains("pending_stamps_due_at") && plan.contains("pending_stamps_without_due_at"),
        "{plan}"
    );
    assert_eq!(take(&pool, 10).await, [1]);
}

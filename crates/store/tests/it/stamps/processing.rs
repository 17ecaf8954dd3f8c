//! The statement that processes batches: who wins, and that nobody deadlocks.

use domain::batch::heart::{Batch, Failure};
use domain::batch::policy::Trigger;
use domain::batch::policy::Trigger::{Deadline, MinBatchSize};
use store::stamps::intake::{self, Taken};
use store::stamps::processing::{Processed, StampStanding};
use store::stamps::{owners, processing};
use store::{Database, Plans};
use test_support::{TestDatabase, eventually};

use crate::values::{batches, maker, numbered};

/// Looks the members of batches up, as a listener does when it reads their events.
async fn looked_up(pool: &Database, mut batches: Vec<Batch>) -> Vec<Batch> {
    for member in batches.iter_mut().flat_map(|batch| &mut batch.members) {
        let found = processing::standings(pool, &[member.stamp.object_cid().as_str()]).await;
        member.has_row = found.expect("looked up") == [StampStanding::Pending];
    }
    batches
}

fn wins(processed: &Processed) -> Vec<bool> {
    processed.won.iter().map(Option::is_some).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_winners_are_members_and_a_batch_without_one_is_not_made() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let owner = owners::register(&pool).await.expect("an owner");
    intake::store(&pool, owner, &numbered(1, &["a", "b", "c"]), Taken::Unlikely).await.expect("stored");

    let first = looked_up(&pool, batches(["b", "a"], 2, &[MinBatchSize])).await;
    let first = processing::process(&pool, &first, &maker("one", "t"), false).await.expect("processed");
    assert_eq!(wins(&first), [true, true]);
    // A redelivered pair, then one stamp of each kind: pending, processed, of another producer.
    let again = batches(["a", "b", "c", "a", "new"], 2, &[MinBatchSize, MinBatchSize, Deadline]);
    let again = looked_up(&pool, again).await;
    let again = processing::process(&pool, &again, &maker("two", "t"), false).await;
    let again = again.expect("processed");
    assert_eq!(wins(&again), [false, false, true, false, true]);
    let made: Vec<(Trigger, usize)> = again.batches.iter().map(|batch| (batch.trigger, batch.size)).collect();
    assert_eq!(made, [(MinBatchSize, 1), (Deadline, 1)]);

    assert_eq!(database.number("SELECT count(*) FROM batches").await, 3);
    assert_eq!(database.number("SELECT count(*) FROM pending_stamps").await, 0);
    assert_eq!(database.number("SELECT count(*) FROM stamp_states WHERE state = 'processed'").await, 4);
    intake::store(&pool, owner, &numbered(4, &["waits"]), Taken::Unlikely).await.expect("stored");
    let found = processing::standings(&pool, &["new", "nobody", "a", "waits"]).await.expect("looked up");
    assert_eq!(
        found,
        [StampStanding::Processed, StampStanding::Unknown, StampStanding::Processed, StampStanding::Pending]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_meet_in_opposite_orders_share_the_stamps_without_a_deadlock() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let owner = owners::register(&pool).await.expect("an owner");
    let ids: Vec<String> = (0..300).map(|id| format!("cid-{id:03}")).collect();
    // Half of them are ours, half another producer's.
    let ours: Vec<&str> = ids.iter().step_by(2).map(String::as_str).collect();
    intake::store(&pool, owner, &numbered(1, &ours), Taken::Unlikely).await.expect("stored");

    let mut writers = Vec::new();
    for writer in 0..8 {
        let (pool, ids) = (database.pool(), ids.clone());
        writers.push(tokio::spawn(async move {
            let forwards = ids.iter().map(String::as_str);
            let triggers = [MinBatchSize; 30];
            let order = if writer % 2 == 0 {
                batches(forwards, 10, &triggers)
            } else {
                batches(forwards.rev(), 10, &triggers)
            };
            let order = looked_up(&pool, order).await;
            let result = processing::process(&pool, &order, &maker("w", "t"), false).await;
            result.expect("no deadlock").won.iter().flatten().count()
        }));
    }
    let mut won = 0;
    for writer in writers {
        won += writer.await.expect("no panic");
    }
    assert_eq!(won, 300);
    assert_eq!(database.number("SELECT sum(size)::bigint FROM batches").await, 300);
    assert_eq!(
        database.number("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").await,
        0
    );
}

// Break: don't compare the offsets in `recover` of stamps/processing/write.rs, or take the trigger of what is written.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_answer_the_same_listener_is_told_again_what_it_made_of_these_very_records() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let owner = owners::register(&pool).await.expect("an owner");
    intake::store(&pool, owner, &numbered(1, &["b"]), Taken::Unlikely).await.expect("stored");
    let triggers = [MinBatchSize, Deadline];
    let three = looked_up(&pool, batches(["a", "b", "c"], 2, &triggers)).await;
    // The answer to the write is lost, so to say.
    let lost = processing::process(&pool, &three, &maker("one", "t"), false).await.expect("processed");

    let told = processing::process(&pool, &three, &maker("one", "t"), true).await.expect("asked");
    assert_eq!(wins(&told), [true; 3]);
    assert_eq!((told.won[2], told.batches), (lost.won[2], lost.batches));
    assert!(told.clock.is_none(), "nothing was made now");

    // What is new is processed beside it, and may have been decided to leave with the others, for another reason.
    let mut more = batches(["a", "b", "c", "d"], 4, &[Deadline]);
    let told = processing::process(&pool, &more, &maker("one", "t"), true).await.expect("asked");
    assert_eq!(told.won[..3], lost.won, "each is a member of the batch that it is in");
    let new = told.won[3].expect("won").batch;
    let made: Vec<(i64, Trigger, usize)> =
        told.batches.iter().map(|batch| (batch.id, batch.trigger, batch.size)).collect();
    assert_eq!(made, [(new, Deadline, 1), (1, MinBatchSize, 2), (2, Deadline, 1)]);

    for member in more.iter_mut().flat_map(|batch| &mut batch.members) {
        member.offset += 10;
    }
    let others = [
        ("two", "t", &three, true),
        ("one", "u", &three, true),
        ("one", "t", &more, true),
        ("one", "t", &three, false),
    ];
    for (listener, topic, batches, after_lost_answer) in others {
        let told = processing::process(&pool, batches, &maker(listener, topic), after_lost_answer).await;
        let told = told.expect("asked");
        assert!(!wins(&told).contains(&true), "{listener} {topic} {after_lost_answer}");
        assert_eq!(told.batches, []);
    }
    assert_eq!(database.number("SELECT count(*) FROM batches").await, 3);
}

// Break: leave `queue_mode` out of the bulk pool in `Database::new` of database.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_warm_pool_has_run_the_statements_on_every_connection_and_then_uses_the_last_one() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    processing::warm_up(&pool, &maker("one", "t")).await.expect("warm");
    // What a session has run last, as the server tells it.
    let warm = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND query LIKE '%FROM processed_stamps p WHERE%' AND pid <> pg_backend_pid()";
    assert_eq!(database.number(warm).await, 10);
    assert_eq!(Database::connections(std::slice::from_ref(&pool)), [0, 10, 0]);
    for _ in 0..5 {
        store::clock::ClockSample::of(&pool).await.expect("the time");
    }
    assert_eq!(database.number(warm).await, 9, "one of them has been used since");
    assert_eq!(database.number("SELECT count(*) FROM stamps").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_says_what_the_database_refuses_and_leaves_nothing_behind() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    database.refuse("stamps", "NEW.object_cid = 'bad'", "22000").await;
    let probe = async |ids: &[&str]| {
        let [batch] = &batches(ids.iter().copied(), ids.len(), &[Deadline])[..] else { unreachable!() };
        processing::probe(&pool, &batch.members, &maker("one", "t")).await.map_err(|error| error.failure())
    };
    assert_eq!(probe(&["a", "b"]).await, Ok(()));
    assert_eq!(probe(&["a", "bad"]).await, Err(Failure::Data));
    assert_eq!(probe(&["a"]).await, Ok(()), "the connection serves as before");
    for table in ["stamps", "processed_stamps", "batches"] {
        assert_eq!(database.number(&format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
    }
}

// Break: don't ask `are_pending` in `process` of stamps/processing/mod.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_stamp_that_somebody_else_stores_meanwhile_is_won_and_not_left_to_its_row() {
    let database = TestDatabase::new().await;
    let holder = database.connect().await;
    let store =
        "BEGIN; INSERT INTO stamps (object_cid, time_tolerance, created_date) VALUES ('a', 20, now());
                 INSERT INTO pending_stamps
                     (stamp_id, due_at, kafka_topic, kafka_partition, kafka_offset, kafka_timestamp)
                 SELECT id, now() + interval '20 min', 't', 0, 7, 1 FROM stamps";
    holder.batch_execute(store).await.expect("stored, and not committed");
    let pool = database.pool();
    let near = tokio::spawn(async move {
        processing::process(&pool, &batches(["a"], 1, &[Deadline]), &maker("one", "t"), false).await
    });
    let waits = "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("it waits for the row", || database.number(waits), |count| *count == 1).await;
    holder.batch_execute("COMMIT").await.expect("committed");
    assert_eq!(wins(&near.await.expect("no panic").expect("processed")), [true]);
    assert_eq!(database.number("SELECT count(*) FROM pending_stamps").await, 0);
}

// Break: let `freed` in stamps/processing/write.rs delete `USING known`, or join in `STANDINGS` of mod.rs there.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_and_a_look_up_read_the_rows_they_are_about_and_no_others() {
    const MEMBERS: i64 = 2_000;
    let database = TestDatabase::new().await;
    database
        .run(
            "INSERT INTO stamps (object_cid, time_tolerance, created_date)
             SELECT n::text, 10, now() FROM generate_series(1, 20000) AS n;
             INSERT INTO pending_stamps (stamp_id, owner, seq, due_at) SELECT id, 1, id, now() FROM stamps;
             ANALYZE",
        )
        .await;
    let read = "SELECT coalesce(sum(idx_tup_read), 0)::bigint FROM pg_stat_user_indexes
                WHERE relname IN ('stamps', 'pending_stamps')";
    for (plans, first) in [(Plans::EachTime, 1), (Plans::Once, 1 + MEMBERS)] {
        let before = database.number(read).await;
        let [pool] = Database::shares(&database.settings(), "test", [(1, plans)]).expect("the URL is valid");
        processing::warm_up(&pool, &maker("one", "t")).await.expect("planned");
        let ids: Vec<String> = (first..first + MEMBERS).map(|id| id.to_string()).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let standings = processing::standings(&pool, &ids).await.expect("looked up");
        assert!(!standings.contains(&StampStanding::Unknown));
        let mut batches = batches(ids.iter().copied(), 10, &[MinBatchSize; MEMBERS as usize / 10]);
        batches.iter_mut().flat_map(|batch| &mut batch.members).for_each(|member| member.has_row = true);
        let processed =
            processing::process(&pool, &batches, &maker("one", "t"), false).await.expect("processed");
        assert!(!wins(&processed).contains(&false));
        // A session counts what it has read at its end.
        drop(pool);
        let least = before + 3 * MEMBERS;
        eventually("it is counted", || database.number(read), |read| *read >= least).await;
        let read = database.number(read).await - before;
        assert!(read < 4 * MEMBERS, "{read} rows were read for {MEMBERS}, planned {plans:?}");
    }
}

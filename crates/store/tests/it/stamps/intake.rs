//! The outbox and its owners.

use std::time::Duration;

use domain::trace::TraceContext;
use store::Database;
use store::stamps::intake::{self, GroupCommit, Numbered, Taken};
use store::stamps::owners;
use store::stamps::processing::overdue::{self, Take};
use test_support::TestDatabase;

use crate::values::{maker, numbered};

async fn store(pool: &Database, owner: i64, first: i64, ids: &[&str]) -> Option<Vec<i64>> {
    store_as(Taken::Unlikely, pool, owner, first, ids).await
}

async fn store_as(taken: Taken, pool: &Database, owner: i64, first: i64, ids: &[&str]) -> Option<Vec<i64>> {
    match intake::store(pool, owner, &numbered(first, ids), taken).await.expect("the database answers") {
        GroupCommit::Committed { mut accepted, .. } => {
            accepted.sort_unstable();
            Some(accepted)
        }
        GroupCommit::OwnerRetired => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_are_taken_are_told_by_their_numbers() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let owner = owners::register(&pool).await.expect("an owner");
    assert_eq!(store(&pool, owner, 1, &["b", "a"]).await, Some(vec![1, 2]));
    assert_eq!(store_as(Taken::Likely, &pool, owner, 3, &["b", "a"]).await, Some(vec![]));
    assert_eq!(store_as(Taken::Unlikely, &pool, owner, 3, &["c", "a", "ä"]).await, Some(vec![3, 5]));
    assert_eq!(database.number("SELECT count(*) FROM stamps").await, 4);
    assert_eq!(database.number("SELECT count(*) FROM pending_stamps").await, 4);
    let outbox = owners::outbox(&pool, owner, 1, 10).await.expect("the outbox");
    let read: Vec<(i64, &str)> =
        outbox.iter().map(|row| (row.number, row.stamp.object_cid().as_str())).collect();
    assert_eq!(read, [(2, "a"), (3, "c"), (5, "ä")]);
}

// Break: leave out `with_trace` in stamps/owners.rs, or the traces of the row in `Group::of` of stamps/intake.rs.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_publishes_a_stamp_later_knows_where_it_was_asked_for() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let owner = owners::register(&pool).await.expect("an owner");
    let trace = TraceContext::new(1, 2, true);
    let mut rows = numbered(1, &["a", "b"]);
    rows[1].stamp = rows[1].stamp.clone().with_trace(trace);
    intake::store(&pool, owner, &rows, Taken::Unlikely).await.expect("the database answers");
    let outbox = owners::outbox(&pool, owner, 0, 10).await.expect("the outbox");
    let traces_of =
        |outbox: &[Numbered]| -> Vec<_> { outbox.iter().map(|row| row.stamp.trace().copied()).collect() };
    assert_eq!(traces_of(&outbox), [None, trace]);
    let due = "UPDATE pending_stamps SET due_at = now() - interval '1 min'";
    database.run(due).await;
    let seen = overdue::look(&pool).await.expect("the database answers");
    let seen: Vec<i64> = seen.iter().map(|seen| seen.row).collect();
    let taken = overdue::take(&pool, &seen, 10, &maker("l", "t")).await.expect("the database answers");
    let Take::Taken { batches, traces, .. } = taken else { panic!("it is our turn") };
    assert_eq!(traces, [(batches[0].id, trace.expect("ids"))]);
    let outbox = owners::outbox(&pool, owner, 0, 10).await.expect("the outbox");
    assert_eq!(traces_of(&outbox), [None, trace], "they have left, and their events wait to be published");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_row_says_when_its_stamp_is_due_and_older_binaries_may_leave_that_out() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let owner = owners::register(&pool).await.expect("an owner");
    assert_eq!(store(&pool, owner, 1, &["a"]).await, Some(vec![1]));
    let due = "SELECT count(*) FROM pending_stamps p JOIN stamp_states s ON s.process_after = p.due_at
               WHERE s.object_cid = 'a' AND p.stored_at BETWEEN now() - interval '1 min' AND now()";
    assert_eq!(database.number(due).await, 1);
    database.run("INSERT INTO pending_stamps (stamp_id, owner, seq) VALUES (1000, 1, 2)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stored_under_a_retired_owner() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let owner = owners::register(&pool).await.expect("an owner");
    assert_eq!(owners::renew(&pool, &[(owner, 5)]).await.expect("renewed"), [(owner, false)]);
    let retired = owners::retire(&pool, owner).await.expect("retired").expect("it was there");
    assert_eq!((retired.id, retired.mark), (owner, 5));
    assert_eq!(store(&pool, owner, 6, &["a"]).await, None);
    assert_eq!(database.number("SELECT count(*) FROM stamps").await, 0);
    let renewed = owners::renew(&pool, &[(owner, 5)]).await.expect("asked");
    assert_eq!(renewed, [(owner, true)], "it may take no rows any more");
    owners::forget(&pool, owner).await.expect("forgotten");
    assert_eq!(owners::renew(&pool, &[(owner, 5)]).await.expect("asked"), []);
    assert_eq!(store(&pool, owner, 6, &["a"]).await, None, "nor once its row is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_owner_is_retired_once_and_a_live_one_is_not() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let (silent, live) =
        (owners::register(&pool).await.expect("one"), owners::register(&pool).await.expect("two"));
    database
        .run(&format!("UPDATE intake_owners SET seen_at = now() - interval '6 s' WHERE id = {silent}"))
        .await;
    let silence = Duration::from_secs(5);
    assert_eq!(owners::retire_silent(&pool, silence, &[silent]).await.expect("asked"), None, "it is our own");
    let retired = owners::retire_silent(&pool, silence, &[]).await.expect("asked").expect("one is silent");
    assert_eq!(retired.id, silent);
    assert_eq!(owners::retire_silent(&pool, silence, &[]).await.expect("asked"), None);
    assert_eq!(owners::renew(&pool, &[(live, 0)]).await.expect("renewed"), [(live, false)]);
    owners::abandon(&pool, &[(live, 9)]).await.expect("abandoned");
    let left = owners::retire_silent(&pool, silence, &[]).await.expect("asked").expect("it was given up");
    assert_eq!((left.id, left.mark), (live, 9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retirement_waits_for_an_insert_that_is_under_way() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    let owner = owners::register(&pool).await.expect("an owner");
    // An insert that has locked its owner and has not committed.
    database.run(&format!("BEGIN; SELECT id FROM intake_owners WHERE id = {owner} FOR KEY SHARE")).await;
    let retirement = tokio::spawn({
        let pool = pool.clone();
        async move { owners::retire(&pool, owner).await }
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    test_support::eventually("it waits", || database.number(waiting), |count| *count == 1).await;
    assert!(!retirement.is_finished());
    database.run("COMMIT").await;
    assert!(retirement.await.expect("no panic").expect("retired").is_some());
}

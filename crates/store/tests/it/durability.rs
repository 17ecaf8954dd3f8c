//! Every statement that writes waits for the disk, whatever the database has as its default.

use std::time::Duration;

use domain::batch::policy::Trigger::MinBatchSize;
use domain::record::{Coordinates, Verdict};
use store::dead_letters::queries::{self, Filter};
use store::dead_letters::replays;
use store::messages::inbox;
use store::messages::rows;
use store::stamps::intake::{self, Taken};
use store::stamps::processing::overdue;
use store::stamps::{owners, processing};
use store::{Database, dead_letters};
use test_support::{TestDatabase, eventually};
use uuid::Uuid;

use crate::values::{batches, letter, maker, message, numbered};

/// Refuses every row that is written by a transaction with another setting, and notes what was written.
async fn watch(database: &TestDatabase, default: &str, expected: &str) {
    database
        .run(&format!(
            "CREATE TABLE written (what text PRIMARY KEY);
             CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF current_setting('synchronous_commit') <> '{expected}' THEN
                     RAISE EXCEPTION '% % with %', TG_OP, TG_TABLE_NAME, current_setting('synchronous_commit');
                 END IF;
                 INSERT INTO written VALUES (TG_OP || ' ' || TG_TABLE_NAME) ON CONFLICT DO NOTHING;
                 RETURN NULL;
             END $$;
             DO $$
             DECLARE
                 name text;
             BEGIN
                 FOR name IN SELECT tablename FROM pg_tables
                     WHERE schemaname = 'public' AND tablename NOT IN ('written', '__diesel_schema_migrations')
                 LOOP
                     EXECUTE format('CREATE TRIGGER look AFTER INSERT OR UPDATE OR DELETE ON %I
                         FOR EACH ROW EXECUTE FUNCTION look()', name);
                 END LOOP;
                 EXECUTE format('ALTER DATABASE %I SET synchronous_commit = {default}', current_database());
             END $$"
        ))
        .await;
}

/// Has every function of the crate write that writes anything.
async fn write(pool: &Database) {
    let owner = owners::register(pool).await.expect("registered");
    intake::store(pool, owner, &numbered(1, &["a", "b"]), Taken::Unlikely).await.expect("stored");
    owners::renew(pool, &[(owner, 2)]).await.expect("renewed");
    // Two that are overdue, whose owner has not published them: one leaves, the other is put off.
    let seen = overdue::look(pool).await.expect("seen");
    overdue::put_off(pool, seen[1].row).await.expect("put off").expect("it is pending");
    overdue::take(pool, &[seen[0].row], 10, &maker("l", "t")).await.expect("taken");
    processing::process(pool, &batches(["a", "new"], 2, &[MinBatchSize]), &maker("l", "t"), false)
        .await
        .expect("processed");
    owners::abandon(pool, &[(owner, 2)]).await.expect("abandoned");
    owners::retire_silent(pool, Duration::from_secs(5), &[]).await.expect("asked").expect("it was given up");
    owners::retire(pool, owner).await.expect("retired");
    owners::forget(pool, owner).await.expect("forgotten");
    let back = owners::retire_silent(pool, Duration::from_secs(5), &[]).await.expect("asked");
    owners::forget(pool, back.expect("it is put back").id).await.expect("forgotten");

    dead_letters::store(pool, &[letter("t", 0, 0, 0)]).await.expect("stored");
    let id = queries::list(pool, Filter::default(), 1).await.expect("listed")[0].id;
    assert_eq!(replays::mark_replayed(pool, &[(id, 0)]).await.expect("marked"), 1);
    let verdict = Verdict { id, replays: Some(0), understood: true };
    assert_eq!(replays::settle(pool, &[verdict]).await.expect("settled"), 1);
    assert_eq!(
        queries::purge(pool, Filter { resolved: true, ..Filter::default() }).await.expect("purged"),
        1
    );

    let user = Uuid::new_v4();
    let passed = Coordinates { topic: "t".to_owned(), partition: 1, offset: 0, timestamp: 0 };
    // Each of the three by itself, and all together.
    rows::store(pool, &[message(user, 0)], &[], &[]).await.expect("stored");
    rows::store(pool, &[], &[letter("t", 0, 1, 0)], &[]).await.expect("stored");
    rows::store(pool, &[], &[], std::slice::from_ref(&passed)).await.expect("stored");
    rows::store(pool, &[message(user, 1)], &[letter("t", 0, 2, 0)], &[passed]).await.expect("stored");
    let uuid = inbox::list(pool, user, inbox::Folder::Inbox, None, 1).await.expect("listed").messages[0].uuid;
    inbox::set_active(pool, user, uuid, false, user).await.expect("asked").expect("moved");
    assert_eq!(inbox::delete(pool, user, uuid).await.expect("asked"), inbox::Deletion::Deleted);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_that_writes_waits_for_the_disk_whatever_the_database_has_as_its_default() {
    for (default, expected) in [
        ("off", "on"),
        ("local", "on"),
        ("remote_write", "on"),
        ("on", "on"),
        ("remote_apply", "remote_apply"),
    ] {
        let database = TestDatabase::new().await;
        // Stamps of an older binary, whose owner has published nothing, and an event whose owner is gone.
        database
            .run(
                "INSERT INTO intake_owners (published_through) VALUES (0);
                 INSERT INTO stamps (object_cid, time_tolerance, created_date)
                 VALUES ('old-1', 0, '2026-01-01'), ('old-2', 0, '2026-01-01');
                 INSERT INTO pending_stamps (stamp_id, owner, seq) SELECT id, 1, id FROM stamps;
                 INSERT INTO left_events (stamp_id, owner, seq) VALUES (99, 99, 1)",
            )
            .await;
        watch(&database, default, expected).await;
        write(&database.pool()).await;
        let written = "SELECT string_agg(what, ', ' ORDER BY what) FROM written";
        let written: String = database.query(written, &[]).await[0].get(0);
        assert_eq!(
            written,
            "DELETE dead_letters, DELETE intake_owners, DELETE pending_stamps, INSERT batches, \
             INSERT dead_letters, INSERT intake_owners, INSERT left_events, INSERT pending_stamps, \
             INSERT processed_stamps, INSERT stamps, INSERT stored_messages, UPDATE dead_letters, \
             UPDATE intake_owners, UPDATE left_events, UPDATE pending_stamps, UPDATE stored_messages",
            "nothing was left out"
        );
    }
}

// Break: leave `default_transaction_isolation` out of tls.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_stricter_isolation_as_the_database_s_default_changes_nothing_for_writers_that_meet() {
    let database = TestDatabase::new().await;
    database
        .run(
            "DO $$ BEGIN
                 EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable',
                     current_database());
             END $$",
        )
        .await;
    let ids: Vec<String> = (0..30).map(|id| format!("cid-{id:02}")).collect();
    let holder = database.connect().await;
    holder.batch_execute("BEGIN; LOCK TABLE batches").await.expect("the table's lock");
    let mut writers = Vec::new();
    for _ in 0..4 {
        let (pool, ids) = (database.pool(), ids.clone());
        writers.push(tokio::spawn(async move {
            let batches = batches(ids.iter().map(String::as_str), 10, &[MinBatchSize; 3]);
            let result = processing::process(&pool, &batches, &maker("w", "t"), false).await;
            result.map(|processed| processed.won.iter().flatten().count())
        }));
    }
    // One of them waits for the table, the others for its stamps.
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("all have begun", || database.number(waiting), |count| *count == 4).await;
    holder.batch_execute("COMMIT").await.expect("the lock is given back");
    let mut won = 0;
    for writer in writers {
        won += writer.await.expect("no panic").expect("nobody is turned away");
    }
    assert_eq!(won, 30);
}

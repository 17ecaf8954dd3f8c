//! Messages: each record is stored once and for ever, and what users do with theirs.

use domain::message::record::NewMessage;
use domain::message::{Message, topic_of};
use domain::record::{Coordinates, DeadLetter};
use store::messages::inbox::{Counts, Deletion, Folder, counts, delete, find, list, set_active};
use store::messages::rows::{self, StoredMessage, last_stored};
use store::{Database, DatabaseError};
use test_support::{TestDatabase, eventually};
use uuid::Uuid;

use crate::values::{letter, message};

const NO_LETTERS: &[DeadLetter] = &[];

/// Stores a chunk without replays.
async fn store<'a>(
    pool: &Database,
    messages: impl IntoIterator<Item = &'a NewMessage>,
    letters: impl IntoIterator<Item = &'a DeadLetter>,
) -> Result<Vec<StoredMessage>, DatabaseError> {
    rows::store(pool, messages, letters, []).await
}

/// Stores messages of the user with these offsets.
async fn stored(pool: &Database, user: Uuid, offsets: impl IntoIterator<Item = i64>) -> Vec<StoredMessage> {
    let messages: Vec<NewMessage> = offsets.into_iter().map(|offset| message(user, offset)).collect();
    store(pool, &messages, NO_LETTERS).await.expect("stored")
}

fn offsets(messages: &[StoredMessage]) -> Vec<i64> {
    messages.iter().map(|message| message.kafka_offset).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_what_was_read_and_lies_unchanged_since_then() {
    let database = TestDatabase::new().await;
    let (pool, user) = (database.pool(), Uuid::new_v4());
    let url = "https://example.com/é";
    let full =
        Message::new("\u{1F4C4}".repeat(255).as_str(), " b\n", Some(url), false).expect("a valid message");
    let coordinates = Coordinates { topic: topic_of(user), partition: 3, offset: 7, timestamp: -1 };
    let full = NewMessage { message: full, coordinates, key: None, ..message(user, 7) };
    let row = store(&pool, [&full], NO_LETTERS).await.expect("stored").remove(0);
    let found = find(&pool, user, row.uuid).await.expect("found");
    assert_eq!(found.as_ref(), Some(&row));
    let NewMessage { message: said, recipient, coordinates, key } = full;
    let Coordinates { topic, partition, offset, timestamp } = coordinates;
    assert_eq!((row.subject.as_str(), row.body.as_str()), (said.subject(), said.body()));
    assert_eq!((row.reference_url.as_deref(), row.is_active), (Some(url), false));
    assert_eq!((row.recipient, row.kafka_topic, row.kafka_partition), (recipient, topic, partition));
    assert_eq!((row.kafka_offset, row.kafka_timestamp, row.kafka_key), (offset, timestamp, key));
    assert_eq!((row.created_by.as_str(), row.modified_by.as_str()), ("System Account", "System Account"));
    assert_eq!(row.modified_date, Some(row.created_date));
    let fresh =
        "SELECT count(*) FROM messages WHERE created_date BETWEEN now() - interval '1 minute' AND now()";
    assert_eq!(database.number(fresh).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_new_records_are_returned_in_the_order_of_their_coordinates() {
    let database = TestDatabase::new().await;
    let (pool, user) = (database.pool(), Uuid::new_v4());
    assert_eq!(offsets(&stored(&pool, user, [5, 1, 3]).await), [1, 3, 5]);
    assert_eq!(offsets(&stored(&pool, user, [3, 2, 5, 4]).await), [2, 4]);
    assert_eq!(offsets(&stored(&pool, user, [1, 1, 6, 6]).await), [6], "twice in one chunk");
    assert_eq!(offsets(&stored(&pool, user, []).await), Vec::<i64>::new());
    let mut again = message(user, 1);
    again.coordinates.timestamp += 1;
    let again = store(&pool, [&again], NO_LETTERS).await.expect("stored");
    assert_eq!(offsets(&again), [1], "with another timestamp it is a record of a topic that was recreated");
    assert_eq!(database.number("SELECT count(*) FROM messages").await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_and_dead_letters_of_a_chunk_are_stored_together_or_not_at_all() {
    let database = TestDatabase::new().await;
    let (pool, user) = (database.pool(), Uuid::new_v4());
    let good = message(user, 1);
    let dead = [letter(&good.coordinates.topic, 0, 0, -1), letter(&good.coordinates.topic, 0, 2, -1)];
    for table in ["dead_letters", "stored_messages"] {
        database.refuse(table, "true", "22023").await;
        store(&pool, [&good], &dead).await.expect_err("one of them is refused");
        database.run("DROP FUNCTION refuse CASCADE").await;
        let sql = "SELECT (SELECT count(*) FROM dead_letters) + (SELECT count(*) FROM stored_messages)";
        assert_eq!(database.number(sql).await, 0, "{table}");
    }
    for new in [1, 0] {
        assert_eq!(store(&pool, [&good], &dead).await.expect("stored").len(), new);
        assert_eq!(database.number("SELECT count(*) FROM dead_letters").await, 2);
    }
}

// Break: leave the `ORDER BY` out of `made` in `store` of messages/rows.rs, or out of `insert` in dead_letters/mod.rs.
#[tokio::test(flavor = "multi_thread")]
async fn those_who_store_the_same_records_in_any_order_make_one_row_each_without_a_deadlock() {
    let database = TestDatabase::new().await;
    let user = Uuid::new_v4();
    // Each row takes its time, so that the statements meet whatever the machine.
    database
        .run(
            "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END $$;
             CREATE TRIGGER dawdle BEFORE INSERT ON stored_messages FOR EACH ROW EXECUTE FUNCTION dawdle();
             CREATE TRIGGER dawdle BEFORE INSERT ON dead_letters FOR EACH ROW EXECUTE FUNCTION dawdle()",
        )
        .await;
    // Messages and dead letters; then dead letters alone, which have to wait for no message.
    for (topic, count) in [("t", 100), ("u", 0)] {
        let mut tasks = Vec::new();
        for task in 0..8 {
            let pool = database.pool();
            // Eight orders: each from a place of its own, forwards or backwards, by a stride that is prime to 100.
            let stride = [1, 99, 3, 97, 7, 93, 9, 91][task];
            let order = (0..100).map(move |index| (index * stride + 13 * task as i64) % 100);
            let letters: Vec<DeadLetter> = order.clone().map(|offset| letter(topic, 0, offset, -1)).collect();
            let messages: Vec<NewMessage> = order.take(count).map(|offset| message(user, offset)).collect();
            let store = async move { store(&pool, &messages, &letters).await.map(|rows| rows.len()) };
            tasks.push(tokio::spawn(store));
        }
        let mut new = 0;
        for task in tasks {
            new += task.await.expect("no panic").expect("no deadlock");
        }
        assert_eq!(new, count);
    }
    assert_eq!(database.number("SELECT count(*) FROM messages").await, 100);
    assert_eq!(database.number("SELECT count(*) FROM dead_letters").await, 200);
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(database.number(deadlocks).await, 0);
}

// Break: leave `ON CONFLICT` out of `made` in `store` of messages/rows.rs.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_deleted_for_good_keeps_its_coordinates_and_never_comes_back() {
    let database = TestDatabase::new().await;
    let (pool, user) = (database.pool(), Uuid::new_v4());
    let row = stored(&pool, user, [4]).await.remove(0);
    set_active(&pool, user, row.uuid, false, user).await.expect("trashed");
    assert_eq!(delete(&pool, user, row.uuid).await.expect("deleted"), Deletion::Deleted);
    let kept = "SELECT string_agg(column_name, ' ' ORDER BY column_name) FROM stored_messages s
        CROSS JOIN LATERAL jsonb_each(to_jsonb(s)) AS c (column_name, value) WHERE value <> 'null'";
    let kept: String = database.query(kept, &[]).await[0].get(0);
    assert_eq!(kept, "deleted_at id kafka_offset kafka_partition kafka_timestamp kafka_topic");

    assert_eq!(stored(&pool, user, [4]).await, []);
    assert_eq!(database.number("SELECT count(*) FROM messages").await, 0);
    assert_eq!(database.number("SELECT count(*) FROM stored_messages").await, 1);
    assert_eq!(find(&pool, user, row.uuid).await.expect("asked"), None);
    assert_eq!(set_active(&pool, user, row.uuid, true, user).await.expect("asked"), None);
    assert_eq!(delete(&pool, user, row.uuid).await.expect("asked"), Deletion::NotFound);
    assert_eq!(counts(&pool, user).await.expect("counted"), Counts::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_itself_keeps_messages_whole_or_gone() {
    let database = TestDatabase::new().await;
    let (pool, user) = (database.pool(), Uuid::new_v4());
    stored(&pool, user, [0]).await;
    let client = database.connect().await;
    for half in ["deleted_at = now()", "body = NULL", "recipient = NULL", "uuid = NULL", "created_by = NULL"]
    {
        let error =
            client.batch_execute(&format!("UPDATE stored_messages SET {half}")).await.expect_err(half);
        let constraint = error.as_db_error().and_then(tokio_postgres::error::DbError::constraint);
        assert_eq!(constraint, Some("stored_messages_are_whole_or_gone"), "{half}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_position_is_the_highest_offset_of_each_partition_with_that_record_s_timestamp() {
    let database = TestDatabase::new().await;
    let (pool, user) = (database.pool(), Uuid::new_v4());
    let topic = message(user, 0).coordinates.topic;
    assert_eq!(last_stored(&pool, &topic).await.expect("asked"), []);
    let place =
        |partition, offset, timestamp| Coordinates { topic: topic.clone(), partition, offset, timestamp };
    let at = |partition, offset, timestamp| NewMessage {
        coordinates: place(partition, offset, timestamp),
        ..message(user, offset)
    };
    // Partition 0 ends with a message, 2 with a dead letter, 5 with one that is deleted, 7 holds a dead letter only;
    // in 9 the topic was deleted and recreated. What is in between, and other topics, have no rows.
    let messages = [
        at(0, 9, 900),
        at(0, 3, 999),
        at(2, 4, 400),
        at(5, 1, 100),
        at(5, 2, 200),
        at(9, 3, 300),
        at(9, 3, 800),
    ];
    let letters = [
        letter(&topic, 2, 6, 600),
        letter(&topic, 0, 8, 999),
        letter(&topic, 7, 0, -1),
        letter(&topic, 5, 0, 999),
        letter(&topic, 9, 3, 500),
        letter("other", 5, 70, 1),
    ];
    let rows = store(&pool, &messages, &letters).await.expect("stored");
    let last = rows.iter().find(|row| row.kafka_timestamp == 200).expect("it is stored");
    stored(&pool, Uuid::new_v4(), [1_000]).await;
    set_active(&pool, user, last.uuid, false, user).await.expect("trashed");
    delete(&pool, user, last.uuid).await.expect("deleted");
    let ends = [(0, 9, 900), (2, 6, 600), (5, 2, 200), (7, 0, -1), (9, 3, 800)];
    let expected = ends.map(|(partition, offset, timestamp)| place(partition, offset, timestamp));
    assert_eq!(last_stored(&pool, &topic).await.expect("asked"), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_are_read_page_by_page_newest_first_and_by_nobody_else() {
    let database = TestDatabase::new().await;
    let (pool, user, other) = (database.pool(), Uuid::new_v4(), Uuid::new_v4());
    let rows = stored(&pool, user, 0..5).await;
    let theirs = stored(&pool, other, 0..3).await;
    for row in [&rows[1], &rows[3]] {
        set_active(&pool, user, row.uuid, false, user).await.expect("trashed");
    }
    let page =
        async |folder, before| offsets(&list(&pool, user, folder, before, 2).await.expect("listed").messages);
    assert_eq!(page(Folder::Inbox, None).await, [4, 2]);
    assert_eq!(page(Folder::Inbox, Some(rows[2].id)).await, [0]);
    assert_eq!(page(Folder::Inbox, Some(rows[0].id)).await, Vec::<i64>::new());
    assert_eq!(page(Folder::Trash, None).await, [3, 1]);
    assert_eq!(counts(&pool, user).await.expect("counted"), Counts { inbox: 3, trash: 2 });
    assert_eq!(counts(&pool, other).await.expect("counted"), Counts { inbox: 3, trash: 0 });
    assert_eq!(find(&pool, user, theirs[0].uuid).await.expect("asked"), None);
    assert_eq!(set_active(&pool, user, theirs[0].uuid, false, user).await.expect("asked"), None);
    assert_eq!(delete(&pool, user, theirs[0].uuid).await.expect("asked"), Deletion::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_a_message_is_noted_once_with_who_did_it() {
    let database = TestDatabase::new().await;
    let (pool, user, helper) = (database.pool(), Uuid::new_v4(), Uuid::new_v4());
    let row = stored(&pool, user, [0]).await.remove(0);
    let moved = async |active, by| {
        set_active(&pool, user, row.uuid, active, by).await.expect("asked").expect("it is there")
    };
    assert_eq!(moved(true, user).await, row, "it lies there already");
    let trashed = moved(false, helper).await;
    assert_eq!((trashed.is_active, &trashed.modified_by), (false, &helper.to_string()));
    assert!(trashed.modified_date > row.modified_date);
    assert_eq!(moved(false, user).await, trashed, "a repeated request changes nothing");
    let restored = moved(true, user).await;
    assert!(restored.is_active && restored.modified_date > trashed.modified_date);
    let unchanged =
        StoredMessage { modified_by: row.modified_by.clone(), modified_date: row.modified_date, ..restored };
    assert_eq!(unchanged, row);
}

// Break: leave `is_active` out of `delete` in messages/inbox.rs.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_lies_in_the_trash_is_deleted_whoever_restores_it_meanwhile() {
    let database = TestDatabase::new().await;
    let (pool, user) = (database.pool(), Uuid::new_v4());
    let row = stored(&pool, user, [0]).await.remove(0);
    assert_eq!(delete(&pool, user, row.uuid).await.expect("asked"), Deletion::InInbox);
    assert_eq!(delete(&pool, user, Uuid::new_v4()).await.expect("asked"), Deletion::NotFound);

    set_active(&pool, user, row.uuid, false, user).await.expect("trashed");
    // The message is being restored: the deletion has to wait, and finds it in the inbox.
    let restoring = database.connect().await;
    restoring.batch_execute("BEGIN; UPDATE messages SET is_active = true").await.expect("it is under way");
    let deletion = tokio::spawn({
        let pool = pool.clone();
        async move { delete(&pool, user, row.uuid).await.expect("asked") }
    });
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    eventually("the deletion waits", || database.number(waiting), |count| *count == 1).await;
    restoring.batch_execute("COMMIT").await.expect("restored");
    assert_eq!(deletion.await.expect("no panic"), Deletion::InInbox);
    assert_eq!(counts(&pool, user).await.expect("counted"), Counts { inbox: 1, trash: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_and_a_position_are_found_in_their_indexes() {
    let database = TestDatabase::new().await;
    let pool = database.pool();
    // 10,000 messages of 500 users in 20 topics, a fifth of them in the trash; one user has 100.
    let user = Uuid::new_v4();
    database
        .query(
            "INSERT INTO stored_messages
                (kafka_topic, kafka_partition, kafka_offset, kafka_timestamp, subject, body, is_active, recipient)
             SELECT 't' || n % 20, n % 3, n, n, 's', repeat('b', 500), n % 500 >= 100,
                CASE WHEN n % 100 = 0 THEN $1 ELSE md5((n % 500)::text)::uuid END
             FROM generate_series(1, 10000) n",
            &[&user],
        )
        .await;
    database
        .run(
            r#"INSERT INTO dead_letters (topic, partition, "offset", "timestamp", reason, detail)
               SELECT 't' || n % 20, n % 3, n, n, 'r', '' FROM generate_series(1, 5000) n;
               ANALYZE"#,
        )
        .await;
    let page = "EXPLAIN SELECT * FROM messages WHERE recipient = $1 AND is_active AND id < 9000
                ORDER BY id DESC LIMIT 50";
    let plan: Vec<String> = database.query(page, &[&user]).await.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    assert!(plan.contains("Index Scan using stored_messages_folder"), "{plan}");
    assert!(!plan.contains("Sort"), "{plan}");

    // The very statements: they never read a table from its start.
    let scans = "SELECT sum(seq_scan)::bigint FROM pg_stat_user_tables
                 WHERE relname IN ('stored_messages', 'dead_letters')";
    let before = database.number(scans).await;
    assert_eq!(list(&pool, user, Folder::Inbox, Some(9_000), 50).await.expect("listed").messages.len(), 50);
    let ends = last_stored(&pool, "t0").await.expect("asked");
    assert_eq!(ends.iter().map(|end| end.offset).collect::<Vec<_>>(), [9_960, 10_000, 9_980]);
    // A connection that ends tells the statistics at once.
    drop(pool);
    let used = "SELECT count(*) FROM pg_stat_user_indexes WHERE idx_scan > 0 AND indexrelname IN
        ('stored_messages_folder', 'dead_letters_topic_partition_offset_timestamp_key',
         'stored_messages_kafka_topic_kafka_partition_kafka_offset_ka_key')";
    eventually("the statistics tell", || database.number(used), |count| *count == 3).await;
    assert_eq!(database.number(scans).await, before);
}

//! The way of a user's records from Kafka to rows: what is understood, what dies, and what is a replay.

use domain::message::Message;
use domain::message::record::{MessageRecord, Recipients, encode};
use platform::kafka::record;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use store::Database;
use store::messages::records::store_all;
use store::messages::rows::StoredMessage;
use test_support::{TestDatabase, TestTopic};
use uuid::Uuid;

/// A database, and a topic of its own for a user.
struct World {
    database: TestDatabase,
    pool: Database,
    user: Uuid,
    topic: TestTopic,
}

/// What a dead letter's replay says of its original: partition, offset, timestamp, how often it had come back.
type Original<'a> = [&'a str; 4];

const ORIGINAL: Original<'_> = ["7", "42", "1767225600000", "0"];

impl World {
    async fn new() -> Self {
        let (database, user) = (TestDatabase::new().await, Uuid::new_v4());
        let (pool, topic) = (database.pool(), TestTopic::of_user(user).await);
        Self { database, pool, user, topic }
    }

    fn records(&self) -> Vec<MessageRecord> {
        self.topic.read_as(|record| MessageRecord::decode(&record::read(record), Recipients::FromTopic))
    }

    /// Stores the whole topic.
    async fn store(&self) -> Vec<StoredMessage> {
        store_all(&self.pool, self.records()).await.expect("stored")
    }

    /// Stores a dead letter of this topic, under coordinates that no other record has.
    async fn bury(&self, key: &str, value: &[u8]) {
        let sql = r#"INSERT INTO dead_letters (topic, partition, "offset", "timestamp", key, value, reason, detail)
                     VALUES ($1, 7, 42, 1767225600000, $2, $3, 'not_json', 'A test.')"#;
        self.database.query(sql, &[&self.topic.name(), &key.as_bytes(), &value]).await;
    }

    /// Publishes a record that says it is a replay.
    fn replay(&self, original: Original<'_>, key: &str, value: &[u8]) {
        let names = ["x-original-partition", "x-original-offset", "x-original-timestamp", "x-replays"];
        let first = Header { key: "x-original-topic", value: Some(self.topic.name()) };
        let headers =
            names.iter().zip(original).fold(OwnedHeaders::new().insert(first), |headers, (key, value)| {
                headers.insert(Header { key, value: Some(value) })
            });
        self.topic.send_record(BaseRecord::to(self.topic.name()).key(key).payload(value).headers(headers));
        self.topic.flush();
    }

    /// Returns `replays`, and whether a replay is under way or has succeeded, of each dead letter.
    async fn letters(&self) -> Vec<(String, i32, bool, bool)> {
        let sql = "SELECT reason, replays, replayed_at IS NOT NULL, resolved_at IS NOT NULL
                   FROM dead_letters ORDER BY id";
        let rows = self.database.query(sql, &[]).await;
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
    }

    /// Makes the database refuse messages with this subject, as if their values were at fault.
    async fn refuse(&self, subject: &str) {
        let rows = format!("NEW.subject = '{subject}'");
        self.database.refuse("stored_messages", &rows, "22023").await;
    }
}

fn value(subject: &str) -> Vec<u8> {
    encode(&Message::new(subject, "body", None, true).expect("a valid message"))
}

fn subjects(messages: &[StoredMessage]) -> Vec<&str> {
    messages.iter().map(|message| message.subject.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_of_a_topic_is_a_message_or_a_dead_letter_and_reading_it_again_changes_nothing() {
    let world = World::new().await;
    world.topic.send(Some("\"me\""), Some(&value("first")));
    world.topic.send(None, Some(b"not json"));
    world.topic.send(None, None);
    world.topic.send(None, Some(&value("last")));
    world.topic.flush();
    let records = world.records();
    let understood: Vec<bool> = records.iter().map(|record| record.message().is_some()).collect();
    assert_eq!(understood, [true, false, false, true]);
    assert!(records.iter().all(|record| record.message().is_some() != record.dead_letter().is_some()));

    let rows = world.store().await;
    assert_eq!(subjects(&rows), ["first", "last"]);
    let coordinates = |row: &StoredMessage| (row.kafka_topic.clone(), row.kafka_partition, row.kafka_offset);
    assert_eq!(
        rows.iter().map(coordinates).collect::<Vec<_>>(),
        [(world.topic.name().to_owned(), 0, 0), (world.topic.name().to_owned(), 0, 3)]
    );
    assert_eq!((rows[0].kafka_key.as_deref(), rows[1].kafka_key.as_deref()), (Some("me"), None));
    assert!(rows.iter().all(|row| row.recipient == world.user && row.kafka_timestamp > 0));
    assert_eq!(world.store().await, []);
    let reasons: Vec<String> = world.letters().await.into_iter().map(|letter| letter.0).collect();
    assert_eq!(reasons, ["not_json", "no_value"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_shared_topic_the_key_says_whom_a_message_is_for() {
    let (database, topic) = (TestDatabase::new().await, TestTopic::new(1).await);
    let users = [Uuid::new_v4(), Uuid::new_v4()];
    topic.send(Some(&users[0].to_string()), Some(&value("a")));
    topic.send(Some(&format!("\"{}\"", users[1])), Some(&value("b")));
    topic.send(Some("somebody"), Some(&value("c")));
    topic.send(None, Some(&value("d")));
    topic.flush();
    let records = topic.read_as(|record| MessageRecord::decode(&record::read(record), Recipients::FromKey));
    let reasons: Vec<&str> =
        records.iter().filter_map(MessageRecord::dead_letter).map(|letter| letter.reason.as_str()).collect();
    assert_eq!(reasons, ["invalid_key", "invalid_key"]);
    let rows = store_all(&database.pool(), records).await.expect("stored");
    let recipients: Vec<(Uuid, &str)> =
        rows.iter().map(|row| (row.recipient, row.subject.as_str())).collect();
    assert_eq!(recipients, [(users[0], "a"), (users[1], "b")]);

    let misread = topic.read_as(|record| MessageRecord::decode(&record::read(record), Recipients::FromTopic));
    let letter = misread[0].dead_letter().expect("the topic is no user's");
    assert_eq!(letter.reason.as_str(), "invalid_topic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_understood_now_is_stored_once_under_its_original_coordinates() {
    let world = World::new().await;
    world.bury("me", &value("again")).await;
    world.replay(ORIGINAL, "me", &value("again"));
    let rows = world.store().await;
    let row = &rows[0];
    assert_eq!((rows.len(), row.subject.as_str()), (1, "again"));
    assert_eq!((row.kafka_partition, row.kafka_offset, row.kafka_timestamp), (7, 42, 1_767_225_600_000));
    let resolved = [("not_json".to_owned(), 0, false, true)];
    assert_eq!(world.letters().await, resolved);
    // As if nobody had lived to note the acknowledgement: it is published once more.
    world.replay(ORIGINAL, "me", &value("again"));
    assert_eq!(world.store().await, []);
    assert_eq!(world.letters().await, resolved);
    assert_eq!(world.database.number("SELECT count(*) FROM messages").await, 1);
    // Once the dead letter is purged nothing tells any more that these were its replays.
    world.database.run("DELETE FROM dead_letters").await;
    assert_eq!(world.store().await, []);
    assert_eq!(world.database.number("SELECT count(*) FROM messages").await, 1);
    let gone = "SELECT count(*) FROM stored_messages WHERE deleted_at IS NOT NULL";
    assert_eq!(world.database.number(gone).await, 2, "a row for the place of each replay");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_still_bad_makes_no_second_row_and_counts_once() {
    let world = World::new().await;
    world.bury("me", b"still bad").await;
    world.replay(ORIGINAL, "me", b"still bad");
    for _redelivered in 0..2 {
        assert_eq!(world.store().await, []);
        assert_eq!(world.letters().await, [("not_json".to_owned(), 1, false, false)]);
    }
}

// Break: don't compare key and value in `recognise` of dead_letters/replays.rs.
#[tokio::test(flavor = "multi_thread")]
async fn headers_mean_nothing_without_a_dead_letter_of_these_coordinates_and_bytes() {
    let world = World::new().await;
    world.bury("me", &value("true")).await;
    world.replay(["7", "42", "1767225600000", "0"], "me", &value("forged"));
    world.replay(["7", "42", "1767225600000", "0"], "you", &value("true"));
    world.replay(["7", "41", "1767225600000", "0"], "me", &value("true"));
    world.replay(["7", "42", "-1", "0"], "me", b"not json");
    let rows = world.store().await;
    let own = |row: &StoredMessage| (row.kafka_partition, row.kafka_offset);
    assert_eq!(rows.iter().map(own).collect::<Vec<_>>(), [(0, 0), (0, 1), (0, 2)]);
    let untouched = ("not_json".to_owned(), 0, false, false);
    assert_eq!(world.letters().await, [untouched.clone(), untouched], "and a dead letter of its own");
    // Among others, the true one is found.
    world.replay(ORIGINAL, "me", &value("true"));
    let rows = world.store().await;
    assert_eq!(rows.iter().map(own).collect::<Vec<_>>(), [(7, 42)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_database_refuses_becomes_a_dead_letter_and_the_others_are_stored() {
    let world = World::new().await;
    world.refuse("poison").await;
    for subject in ["a", "b", "poison", "c", "d"] {
        world.topic.send(Some("k"), Some(&value(subject)));
    }
    world.topic.send(None, Some(b"not json"));
    world.topic.send(None, Some(&value("poison")));
    world.topic.flush();
    assert_eq!(subjects(&world.store().await), ["a", "b", "c", "d"]);
    assert_eq!(world.store().await, []);
    let sql = r#"SELECT "offset", reason, value, key, detail FROM dead_letters ORDER BY "offset""#;
    let rows = world.database.query(sql, &[]).await;
    let dead: Vec<(i64, &str)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(dead, [(2, "refused_by_database"), (5, "not_json"), (6, "refused_by_database")]);
    assert_eq!((rows[0].get::<_, Vec<u8>>(2), rows[0].get::<_, &[u8]>(3)), (value("poison"), &b"k"[..]));
    let detail: &str = rows[0].get(4);
    assert!(detail.contains("not this one"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_the_database_refuses_came_back_too() {
    let world = World::new().await;
    world.refuse("poison").await;
    world.bury("me", &value("poison")).await;
    world.replay(ORIGINAL, "me", &value("poison"));
    for _redelivered in 0..2 {
        assert_eq!(world.store().await, []);
        assert_eq!(world.letters().await, [("not_json".to_owned(), 1, false, false)]);
    }
    world.database.run("DROP FUNCTION refuse CASCADE").await;
    world.replay(["7", "42", "1767225600000", "1"], "me", &value("poison"));
    assert_eq!(subjects(&world.store().await), ["poison"]);
    assert_eq!(world.letters().await, [("not_json".to_owned(), 1, false, true)]);
}

// Break: let `store_all` in messages/records.rs store the dead letters beforehand.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_stores_nothing_and_is_for_the_caller_to_wait_for() {
    let world = World::new().await;
    world.topic.send(None, Some(&value("a")));
    world.topic.send(None, Some(b"not json"));
    world.topic.flush();
    world.database.run("ALTER TABLE stored_messages RENAME TO away").await;
    store_all(&world.pool, world.records()).await.expect_err("the table is away");
    assert_eq!(world.letters().await, [], "the dead letter is not there before the message");
    world.database.run("ALTER TABLE away RENAME TO stored_messages").await;
    assert_eq!(subjects(&world.store().await), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_s_size_counts_everything_that_a_producer_can_blow_up() {
    let world = World::new().await;
    let large = "x".repeat(100_000);
    world.topic.send(None, Some(&value("small")));
    world.topic.send(Some(&large), Some(&value("key")));
    world.topic.send(None, Some(large.as_bytes()));
    world.replay(ORIGINAL, &large, b"replay");
    let headers = OwnedHeaders::new().insert(Header { key: "x", value: Some(&large) });
    let record: BaseRecord<'_, str, [u8]> = BaseRecord::to(world.topic.name()).headers(headers);
    world.topic.send_record(record);
    world.topic.flush();
    let sizes: Vec<usize> = world.records().iter().map(MessageRecord::size).collect();
    assert!(sizes[0] < 2_000, "{sizes:?}");
    assert!(sizes[1..].iter().all(|size| *size >= 100_000), "{sizes:?}");
}

//! Users' messages: from their topics to rows, beside the stamps. A listener reads the topics of all tests' users, so
//! each test looks only at its own.

mod loads;
mod outages;
mod recreated;

use std::time::{Duration, Instant};

use store::messages::inbox;
use test_support::{TestTopic, eventually};
use uuid::Uuid;

use crate::harness::{Listener, World};

/// A user and their topic.
struct User {
    id: Uuid,
    topic: TestTopic,
}

impl User {
    async fn new() -> Self {
        let id = Uuid::new_v4();
        Self { id, topic: TestTopic::of_user(id).await }
    }

    async fn some(count: usize) -> Vec<Self> {
        let mut users = Vec::new();
        for _ in 0..count {
            users.push(Self::new().await);
        }
        users
    }

    /// Publishes a message and waits until Kafka has it.
    fn send(&self, subject: &str) {
        self.send_all([subject]);
    }

    /// Publishes messages and waits until Kafka has them.
    fn send_all(&self, subjects: impl IntoIterator<Item = impl AsRef<str>>) {
        for subject in subjects {
            self.topic.send(None, Some(&value(subject.as_ref())));
        }
        self.topic.flush();
    }

    /// Waits until the group has committed everything up to this offset.
    async fn committed(&self, group: &str, offset: i64) {
        let seen = || async { self.topic.committed(group) };
        eventually("offsets of messages committed", seen, |seen| *seen == offset).await;
    }

    /// Returns the subjects of the user's messages, in the order of the topic's records.
    async fn subjects(&self, world: &World) -> Vec<String> {
        let sql = "SELECT subject FROM messages WHERE recipient = $1
                   ORDER BY kafka_timestamp, kafka_partition, kafka_offset";
        world.database.query(sql, &[&self.id]).await.iter().map(|row| row.get(0)).collect()
    }

    /// Waits until the user has messages with these subjects.
    async fn has(&self, world: &World, subjects: &[&str]) {
        let seen = || self.subjects(world);
        let mut expected = subjects.to_vec();
        expected.sort_unstable();
        let is_so = |seen: &Vec<String>| {
            let mut seen: Vec<&str> = seen.iter().map(String::as_str).collect();
            seen.sort_unstable();
            seen == expected
        };
        eventually("messages stored", seen, is_so).await;
    }

    /// Returns everything that is stored of the user's messages.
    async fn rows(&self, world: &World) -> Vec<String> {
        let sql = "SELECT m::text FROM stored_messages m WHERE recipient = $1 ORDER BY id";
        world.database.query(sql, &[&self.id]).await.iter().map(|row| row.get(0)).collect()
    }

    /// Returns offset and reason of the dead letters of the user's topic.
    async fn letters(&self, world: &World) -> Vec<(i64, String)> {
        letters(world, self.topic.name()).await
    }
}

async fn letters(world: &World, topic: &str) -> Vec<(i64, String)> {
    let sql = r#"SELECT "offset", reason FROM dead_letters WHERE topic = $1 ORDER BY partition, "offset""#;
    let rows = world.database.query(sql, &[&topic]).await;
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn value(subject: &str) -> Vec<u8> {
    let message = serde_json::json!({"ns-message": {"subject": subject, "body": "b", "reference_url": null}});
    message.to_string().into_bytes()
}

/// Starts a listener and waits until it has joined its groups.
async fn listen(world: &World, variables: &[(&str, &str)]) -> Listener {
    let listener = world.listen(variables);
    listener.ready().await;
    listener
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_stored_once_with_all_that_the_view_shows() {
    let (world, user) = (World::new(1).await, User::new().await);
    let url = r#"{"ns-message":{"subject":"s","body":"b","reference_url":"https://example.org/x","is_active":false}}"#;
    user.topic.send(Some("a key"), Some(url.as_bytes()));
    user.send("plain");
    let listener = listen(&world, &[]).await;
    user.has(&world, &["s", "plain"]).await;
    user.committed(&world.message_group(), 2).await;
    let sql = "SELECT to_jsonb(m) - 'id' - 'uuid' - 'created_date' - 'modified_date' - 'kafka_timestamp'
               FROM messages m WHERE recipient = $1 ORDER BY kafka_offset";
    let rows = world.database.query(sql, &[&user.id]).await;
    let seen: Vec<serde_json::Value> = rows.iter().map(|row| row.get(0)).collect();
    let topic = user.id.to_string();
    let row = |offset: i64, subject: &str, active: bool, url: Option<&str>, key: Option<&str>| {
        serde_json::json!({
            "subject": subject, "body": "b", "reference_url": url, "is_active": active,
            "created_by": "System Account", "modified_by": "System Account", "kafka_topic": topic,
            "kafka_partition": 0, "kafka_offset": offset, "kafka_key": key, "recipient": topic
        })
    };
    let first = row(0, "s", false, Some("https://example.org/x"), Some("a key"));
    assert_eq!(seen, [first, row(1, "plain", true, None, None)]);
    let recent = "SELECT count(*) FROM messages WHERE recipient = $1 AND kafka_timestamp > 0
                  AND created_date > now() - interval '5 minutes' AND modified_date = created_date";
    assert_eq!(world.database.query(recent, &[&user.id]).await[0].get::<_, i64>(0), 2);
    assert!(listener.metric(r#"queue_listener_user_messages_total{result="stored"}"#).await >= 2);
    assert!(listener.metric("queue_listener_user_message_topics").await >= 1);
    listener.stop().await;
}

// Break: leave `topic.metadata.refresh.interval.ms` in messages/poller.rs at its default of 300000.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_while_listeners_run_is_read_within_five_seconds() {
    let (world, other) = (World::new(1).await, User::new().await);
    let mut listeners = vec![listen(&world, &[]).await];
    other.send("the group has something to read");
    other.has(&world, &["the group has something to read"]).await;
    for replicas in 1..=2 {
        let mut took = Vec::new();
        for _ in 0..5 {
            let started = Instant::now();
            let user = User::new().await;
            user.send("hello");
            user.has(&world, &["hello"]).await;
            took.push(started.elapsed());
        }
        println!("{replicas} replicas: stored after {took:.1?}");
        took.sort_unstable();
        // Other tests make and delete topics all the time, and each of them is a rebalance of these listeners too.
        assert!(took[took.len() / 2] < Duration::from_secs(5), "{replicas} replicas: {took:?}");
        if replicas == 1 {
            listeners.push(listen(&world, &[]).await);
        }
    }
    for listener in listeners {
        listener.stop().await;
    }
}

// Break: let `USERS_TOPICS` in messages/poller.rs take `A-F` too.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_whose_name_is_no_canonical_uuid_is_nobodys() {
    let (world, user) = (World::new(1).await, User::new().await);
    let other = Uuid::new_v4();
    let upper = TestTopic::named(&other.to_string().to_uppercase(), 1).await;
    upper.send(None, Some(&value("not read")));
    upper.flush();
    user.send("read");
    let listener = listen(&world, &[]).await;
    user.has(&world, &["read"]).await;
    user.send("read as well");
    user.has(&world, &["read", "read as well"]).await;
    assert_eq!(upper.committed(&world.message_group()), 0);
    assert!(letters(&world, upper.name()).await.is_empty());
    listener.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_listeners_share_the_topics_and_no_message_is_stored_twice() {
    let (world, users) = (World::new(1).await, User::some(6).await);
    let (one, other) = (listen(&world, &[]).await, listen(&world, &[]).await);
    for listener in [&one, &other] {
        let topics = || listener.metric("queue_listener_user_message_topics");
        eventually("it has a share of the topics", topics, |topics| *topics > 0).await;
    }
    let subjects: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    for user in &users {
        user.send_all(&subjects);
    }
    let expected: Vec<&str> = subjects.iter().map(String::as_str).collect();
    for user in &users {
        user.has(&world, &expected).await;
        user.committed(&world.message_group(), 50).await;
        assert_eq!(user.rows(&world).await.len(), 50);
    }
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_read_again_change_nothing() {
    let (world, user) = (World::new(1).await, User::new().await);
    user.send("one");
    user.topic.send(None, Some(b"bad"));
    user.send("two");
    let first = listen(&world, &[]).await;
    user.committed(&world.message_group(), 3).await;
    first.stop().await;
    let (rows, letters) = (user.rows(&world).await, user.letters(&world).await);
    // Another group starts from the beginning, as after a reset of the offsets.
    let again = format!("again-{}", user.id);
    let second = listen(&world, &[("MESSAGE_GROUP_ID", &again)]).await;
    user.committed(&again, 3).await;
    assert!(second.metric(r#"queue_listener_user_messages_total{result="duplicate"}"#).await >= 2);
    second.stop().await;
    assert_eq!((user.rows(&world).await, user.letters(&world).await), (rows, letters));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_deleted_for_good_stays_away_whatever_is_read_again() {
    let (world, user) = (World::new(1).await, User::new().await);
    let (pool, group) = (world.database.pool(), world.message_group());
    user.send("keep");
    user.send("delete");
    let listener = listen(&world, &[]).await;
    user.has(&world, &["keep", "delete"]).await;
    user.committed(&group, 2).await;
    listener.stop().await;
    let sql = "SELECT uuid FROM messages WHERE recipient = $1 AND subject = 'delete'";
    let uuid: Uuid = world.database.query(sql, &[&user.id]).await[0].get(0);
    inbox::set_active(&pool, user.id, uuid, false, user.id).await.expect("in the trash");
    inbox::delete(&pool, user.id, uuid).await.expect("deleted");
    let rows = user.rows(&world).await;
    user.topic.move_offset(&group, 0).await;
    let listener = listen(&world, &[]).await;
    user.committed(&group, 2).await;
    listener.stop().await;
    assert_eq!(user.subjects(&world).await, ["keep"]);
    assert_eq!(user.rows(&world).await, rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_no_message_is_a_dead_letter_and_its_partition_goes_on() {
    let (world, user) = (World::new(1).await, User::new().await);
    let listener = listen(&world, &[]).await;
    user.send("before");
    for bad in [&b"not json"[..], br#"{"ns-message":{"subject":"no body"}}"#, b"\xff\x00"] {
        user.topic.send(None, Some(bad));
    }
    user.topic.send(None, None);
    user.send("after");
    user.has(&world, &["before", "after"]).await;
    user.committed(&world.message_group(), 6).await;
    let letters = user.letters(&world).await;
    assert_eq!(letters.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [1, 2, 3, 4], "{letters:?}");
    let value = r#"SELECT value FROM dead_letters WHERE topic = $1 AND "offset" = 3"#;
    let value = world.database.query(value, &[&user.topic.name()]).await;
    assert_eq!(value[0].get::<_, &[u8]>(0), b"\xff\x00");
    assert!(listener.metric(r#"queue_listener_user_messages_total{result="dead"}"#).await >= 4);
    listener.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_shared_topic_the_key_tells_whose_a_message_is() {
    let world = World::new(1).await;
    let (one, other) = (User::new().await, User::new().await);
    let shared = TestTopic::unmade();
    // The listener makes the topic.
    let listener = listen(&world, &[("MESSAGE_TOPIC", shared.name())]).await;
    for (user, subject) in [(&one, "first"), (&other, "second"), (&one, "third")] {
        shared.send(Some(&user.id.to_string()), Some(&value(subject)));
    }
    shared.send(Some(&format!("\"{}\"", other.id)), Some(&value("quoted")));
    shared.send(Some("nobody"), Some(&value("lost")));
    shared.send(None, Some(&value("lost")));
    shared.flush();
    // Nobody listens to a user's own topic.
    one.send("unheard");
    one.has(&world, &["first", "third"]).await;
    other.has(&world, &["second", "quoted"]).await;
    let reasons =
        || async { letters(&world, shared.name()).await.into_iter().map(|(_, reason)| reason).collect() };
    let both = |reasons: &Vec<String>| *reasons == ["invalid_key", "invalid_key"];
    eventually("dead letters", reasons, both).await;
    eventually("committed", || async { shared.committed(&world.message_group()) }, |seen| *seen == 6).await;
    assert_eq!(one.topic.committed(&world.message_group()), 0);
    listener.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_of_the_older_producer_is_understood() {
    let (world, user) = (World::new(1).await, User::new().await);
    // The record's key was JSON as well, and everything beyond ASCII was escaped.
    let escaped = r#"{"ns-message": {"subject": "Gr\u00fc\u00dfe \ud83d\udc4b", "body": "\u4f60\u597d", "reference_url": "", "is_active": true}}"#;
    user.topic.send(Some(r#""sch\u00f6n""#), Some(escaped.as_bytes()));
    user.topic.flush();
    let listener = listen(&world, &[]).await;
    user.has(&world, &["Grüße 👋"]).await;
    let sql = "SELECT body, reference_url, kafka_key FROM messages WHERE recipient = $1";
    let row = &world.database.query(sql, &[&user.id]).await[0];
    let seen = (row.get::<_, &str>(0), row.get::<_, Option<&str>>(1), row.get::<_, &str>(2));
    assert_eq!(seen, ("你好", None, "schön"));
    listener.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_of_a_users_topic_can_be_replayed() {
    let (world, user) = (World::new(1).await, User::new().await);
    let bury = r#"INSERT INTO dead_letters (topic, partition, "offset", "timestamp", key, value, reason, detail)
                  VALUES ($1, 0, $2, 1767225600000, 'k', $3, 'not_json', 'A test.')"#;
    let name = user.topic.name();
    world.database.query(bury, &[&name, &41_i64, &value("understood now")]).await;
    world.database.query(bury, &[&name, &42_i64, &&b"still bad"[..]]).await;
    let listener = listen(&world, &[]).await;
    let replay = format!("replay --topic {name}");
    assert_eq!(world.dlq(&replay), "2 rows changed");
    user.has(&world, &["understood now"]).await;
    let sql = r#"SELECT "offset", replays, resolved_at IS NOT NULL, replayed_at IS NOT NULL
                 FROM dead_letters WHERE topic = $1 ORDER BY 1"#;
    let rows = || async {
        let rows = world.database.query(sql, &[&name]).await;
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect::<Vec<_>>()
    };
    let settled = |rows: &Vec<(i64, i32, bool, bool)>| *rows == [(41, 0, true, true), (42, 1, false, false)];
    eventually("both are settled", rows, settled).await;
    let original = "SELECT kafka_offset, kafka_timestamp FROM messages WHERE recipient = $1";
    let row = &world.database.query(original, &[&user.id]).await[0];
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (41, 1_767_225_600_000));
    // As if the command had been killed before the mark: published twice, it counts once.
    world.database.run("UPDATE dead_letters SET replayed_at = NULL, resolved_at = NULL").await;
    assert_eq!(world.dlq(&replay), "2 rows changed");
    user.committed(&world.message_group(), 4).await;
    assert_eq!(user.rows(&world).await.len(), 1);
    let settled = |rows: &Vec<(i64, i32, bool, bool)>| *rows == [(41, 0, true, true), (42, 2, false, false)];
    eventually("both are settled again", rows, settled).await;
    listener.stop().await;
}

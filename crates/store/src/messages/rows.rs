//! Storing messages with the dead letters of their chunk, and how far a topic is stored.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use domain::message::record::NewMessage;
use domain::record::{Coordinates, DeadLetter};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::connection::Parameter;
use crate::database::Database;
use crate::dead_letters;
use crate::durable::DURABLE;
use crate::error::DatabaseError;
use crate::schema::messages;

/// The limit of a statement that stores messages, as long as for dead letters, which go into the same one: both may be
/// large.
const LIMIT: Duration = Duration::from_secs(20);

/// A row of the view `messages`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = messages)]
pub struct StoredMessage {
    /// Id of the message: a later one was stored later.
    pub id: i64,
    /// Id of the message for those who read it over HTTP.
    pub uuid: Uuid,
    /// Subject of the message.
    pub subject: String,
    /// Text of the message.
    pub body: String,
    /// URL where more can be read, if there is one.
    pub reference_url: Option<String>,
    /// Whether the message lies in the inbox, not in the trash.
    pub is_active: bool,
    /// Who made the message.
    pub created_by: String,
    /// When the message was stored.
    pub created_date: DateTime<Utc>,
    /// Who changed the message last.
    pub modified_by: String,
    /// When the message was changed last.
    pub modified_date: Option<DateTime<Utc>>,
    /// Topic of the record.
    pub kafka_topic: String,
    /// Partition of the record.
    pub kafka_partition: i32,
    /// Offset of the record in its partition.
    pub kafka_offset: i64,
    /// Timestamp of the record in milliseconds since 1970; -1 if it has none.
    pub kafka_timestamp: i64,
    /// Key of the record as text, if it has one.
    pub kafka_key: Option<String>,
    /// User whom the message is for.
    pub recipient: Uuid,
}

/// Stores the messages and dead letters of one chunk, each once by its coordinates, in one transaction: nobody ever
/// sees a later record of a partition stored and an earlier one not. Returns the messages that are new, in order of
/// their coordinates; one that was deleted for good is not.
///
/// * `passed`: where replays were read, which are stored in the place of the dead letters that they repeat. Each leaves
///   a row that holds its coordinates and nothing else. So it is never taken for a message of its own, not even once the
///   dead letter is purged.
///
/// # Errors
/// Whatever the database says; then nothing was stored, or the answer was lost and a second try finds out.
pub async fn store<'a>(
    database: &Database,
    messages: impl IntoIterator<Item = &'a NewMessage>,
    letters: impl IntoIterator<Item = &'a DeadLetter>,
    passed: impl IntoIterator<Item = &'a Coordinates>,
) -> Result<Vec<StoredMessage>, DatabaseError> {
    // Both are inserted in the order of their keys, messages always first: two who store the same wait for each
    // other instead of deadlocking.
    let sql = format!(
        r#"
        WITH buried AS ({bury}
        ), made AS (
            INSERT INTO stored_messages (kafka_topic, kafka_partition, kafka_offset, kafka_timestamp, kafka_key,
                recipient, subject, body, reference_url, is_active)
            SELECT * FROM unnest($10::text[], $11::int4[], $12::int8[], $13::int8[], $14::text[],
                                 $15::uuid[], $16::text[], $17::text[], $18::text[], $19::bool[])
                AS i (topic, partition, "offset", "timestamp", key, recipient, subject, body, reference_url, is_active)
            WHERE {DURABLE}
            ORDER BY i.topic COLLATE "C", i.partition, i."offset", i."timestamp"
            ON CONFLICT (kafka_topic, kafka_partition, kafka_offset, kafka_timestamp) DO NOTHING
            RETURNING *
        ), passed AS (
            INSERT INTO stored_messages (kafka_topic, kafka_partition, kafka_offset, kafka_timestamp, deleted_at,
                subject, uuid, body, is_active, created_by, created_date, modified_by, modified_date)
            SELECT i.*, clock_timestamp(), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
            FROM unnest($20::text[], $21::int4[], $22::int8[], $23::int8[])
                AS i (topic, partition, "offset", "timestamp")
            WHERE {DURABLE}
            ORDER BY i.topic COLLATE "C", i.partition, i."offset", i."timestamp"
            ON CONFLICT (kafka_topic, kafka_partition, kafka_offset, kafka_timestamp) DO NOTHING
        )
        SELECT * FROM made ORDER BY kafka_topic, kafka_partition, kafka_offset, kafka_timestamp"#,
        bury = dead_letters::insert(),
    );
    let (columns, letters) = (MessageColumns::of(messages), dead_letters::LetterColumns::of(letters));
    let passed: Vec<Coordinates> = passed.into_iter().cloned().collect();
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                let mut parameters = letters.parameters().to_vec();
                parameters.extend(columns.parameters());
                let topics: Vec<&str> = passed.iter().map(|passed| passed.topic.as_str()).collect();
                let partitions: Vec<i32> = passed.iter().map(|passed| passed.partition).collect();
                let offsets: Vec<i64> = passed.iter().map(|passed| passed.offset).collect();
                let timestamps: Vec<i64> = passed.iter().map(|passed| passed.timestamp).collect();
                let of_passed: [&dyn Parameter; 4] = [&topics, &partitions, &offsets, &timestamps];
                parameters.extend(of_passed);
                let rows = session.query(&sql, &parameters).await?;
                rows.iter().map(StoredMessage::from_row).collect()
            })
        })
        .await
}

/// Returns the last record of each partition of a topic that is stored, over messages, deleted ones and dead letters;
/// nothing for a partition of which there is no row. Of several records at one offset, of topics that were deleted and
/// recreated, it is the one with the latest timestamp.
///
/// # Errors
/// Whatever the database says.
pub async fn last_stored(database: &Database, topic: &str) -> Result<Vec<Coordinates>, DatabaseError> {
    // From one partition's last row to that of the next one below: each step looks at one entry of an index.
    const SQL: &str = r#"
        WITH RECURSIVE stored AS (
            (SELECT kafka_partition AS partition, kafka_offset AS "offset", kafka_timestamp AS "timestamp"
             FROM stored_messages WHERE kafka_topic = $1
             ORDER BY kafka_partition DESC, kafka_offset DESC, kafka_timestamp DESC LIMIT 1)
            UNION ALL
            SELECT below.* FROM stored CROSS JOIN LATERAL (
                SELECT kafka_partition, kafka_offset, kafka_timestamp
                FROM stored_messages WHERE kafka_topic = $1 AND kafka_partition < stored.partition
                ORDER BY kafka_partition DESC, kafka_offset DESC, kafka_timestamp DESC LIMIT 1) below
        ), dead AS (
            (SELECT partition, "offset", "timestamp"
             FROM dead_letters WHERE topic = $1
             ORDER BY partition DESC, "offset" DESC, "timestamp" DESC LIMIT 1)
            UNION ALL
            SELECT below.* FROM dead CROSS JOIN LATERAL (
                SELECT partition, "offset", "timestamp"
                FROM dead_letters WHERE topic = $1 AND partition < dead.partition
                ORDER BY partition DESC, "offset" DESC, "timestamp" DESC LIMIT 1) below
        )
        SELECT DISTINCT ON (partition) partition, "offset", "timestamp"
        FROM (SELECT * FROM stored UNION ALL SELECT * FROM dead) ends
        ORDER BY partition, "offset" DESC, "timestamp" DESC"#;
    let topic = topic.to_owned();
    database
        .ask(|session| {
            Box::pin(async move {
                let rows = session.query(SQL, &[&topic]).await?;
                let coordinates = |row: &Row| {
                    let (partition, offset) = (row.try_get(0)?, row.try_get(1)?);
                    Ok(Coordinates { topic: topic.clone(), partition, offset, timestamp: row.try_get(2)? })
                };
                rows.iter().map(coordinates).collect()
            })
        })
        .await
}

impl StoredMessage {
    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            id: row.try_get("id")?,
            uuid: row.try_get("uuid")?,
            subject: row.try_get("subject")?,
            body: row.try_get("body")?,
            reference_url: row.try_get("reference_url")?,
            is_active: row.try_get("is_active")?,
            created_by: row.try_get("created_by")?,
            created_date: row.try_get("created_date")?,
            modified_by: row.try_get("modified_by")?,
            modified_date: row.try_get("modified_date")?,
            kafka_topic: row.try_get("kafka_topic")?,
            kafka_partition: row.try_get("kafka_partition")?,
            kafka_offset: row.try_get("kafka_offset")?,
            kafka_timestamp: row.try_get("kafka_timestamp")?,
            kafka_key: row.try_get("kafka_key")?,
            recipient: row.try_get("recipient")?,
        })
    }
}

/// Messages, column by column.
#[derive(Default)]
struct MessageColumns {
    topics: Vec<String>,
    partitions: Vec<i32>,
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    keys: Vec<Option<String>>,
    recipients: Vec<Uuid>,
    subjects: Vec<String>,
    bodies: Vec<String>,
    reference_urls: Vec<Option<String>>,
    actives: Vec<bool>,
}

impl MessageColumns {
    fn of<'a>(messages: impl IntoIterator<Item = &'a NewMessage>) -> Self {
        let mut columns = Self::default();
        for NewMessage { message, recipient, coordinates, key } in messages {
            columns.topics.push(coordinates.topic.clone());
            columns.partitions.push(coordinates.partition);
            columns.offsets.push(coordinates.offset);
            columns.timestamps.push(coordinates.timestamp);
            columns.keys.push(key.clone());
            columns.recipients.push(*recipient);
            columns.subjects.push(message.subject().to_owned());
            columns.bodies.push(message.body().to_owned());
            columns.reference_urls.push(message.reference_url().map(str::to_owned));
            columns.actives.push(message.is_active());
        }
        columns
    }

    fn parameters(&self) -> [&dyn Parameter; 10] {
        [
            &self.topics,
            &self.partitions,
            &self.offsets,
            &self.timestamps,
            &self.keys,
            &self.recipients,
            &self.subjects,
            &self.bodies,
            &self.reference_urls,
            &self.actives,
        ]
    }
}

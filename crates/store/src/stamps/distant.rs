//! Stamps of other producers that are due so late that Kafka may not keep their events until then: they wait in the
//! table, as the stamps of `stamp-api` do.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::batch::heart::Distant;
use domain::record::DeadLetter;
use domain::stamp::Stamp;

use crate::connection::Parameter;
use crate::database::Database;
use crate::dead_letters;
use crate::durable::DURABLE;
use crate::error::DatabaseError;

/// How long the statement that stores distant stamps may take: it stores dead letters too, which may be large.
const LIMIT: Duration = Duration::from_secs(20);

/// Stores a chunk's dead letters and its distant stamps in one statement, each once: what is there stays. Where one of
/// these stamps is pending already, the earlier of the two due times counts, and its row is the table's from now on,
/// whoever wrote it.
///
/// # Errors
/// Whatever the database says.
pub async fn store(
    database: &Database,
    topic: &str,
    letters: &[DeadLetter],
    distant: &[Distant],
) -> Result<(), DatabaseError> {
    if distant.is_empty() {
        return dead_letters::store(database, letters).await.map(drop);
    }
    let letters = dead_letters::LetterColumns::of(letters);
    let topic = topic.to_owned();
    let stamps = || distant.iter().map(|distant| &distant.waiting.stamp);
    let ids: Vec<String> = stamps().map(|stamp| stamp.object_cid().as_str().to_owned()).collect();
    let tolerances: Vec<i32> = stamps().map(|stamp| stamp.time_tolerance().minutes()).collect();
    let dates: Vec<DateTime<Utc>> = stamps().map(Stamp::created_date).collect();
    let due: Vec<DateTime<Utc>> = stamps().map(Stamp::due).collect();
    let partitions: Vec<i32> = distant.iter().map(|distant| distant.waiting.position.partition).collect();
    let offsets: Vec<i64> = distant.iter().map(|distant| distant.waiting.position.offset).collect();
    let timestamps: Vec<i64> = distant.iter().map(|distant| distant.timestamp).collect();
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                let mut parameters = letters.parameters().to_vec();
                let own: [&dyn Parameter; 8] =
                    [&ids, &tolerances, &dates, &due, &partitions, &offsets, &timestamps, &topic];
                parameters.extend(own);
                session.execute(&statement(), &parameters).await.map(drop)
            })
        })
        .await
}

/// Returns the statement that stores dead letters and distant stamps. Rows are locked in the order of their keys, as
/// everywhere.
fn statement() -> String {
    let letters = dead_letters::insert();
    format!(
        r#"
        WITH letters AS ({letters}
        ), input AS MATERIALIZED (
            SELECT DISTINCT ON (i.object_cid COLLATE "C") *
            FROM unnest($10::text[], $11::int4[], $12::timestamptz[], $13::timestamptz[], $14::int4[], $15::int8[],
                        $16::int8[])
                AS i (object_cid, time_tolerance, created_date, due_at, kafka_partition, kafka_offset, kafka_timestamp)
            WHERE {DURABLE}
            ORDER BY i.object_cid COLLATE "C", i.due_at
        ), made AS (
            INSERT INTO stamps (object_cid, time_tolerance, created_date)
            SELECT i.object_cid, i.time_tolerance, i.created_date FROM input i
            ORDER BY i.object_cid COLLATE "C"
            ON CONFLICT (object_cid) DO NOTHING
            RETURNING id, object_cid
        ), placed AS (
            INSERT INTO pending_stamps
                (stamp_id, due_at, kafka_topic, kafka_partition, kafka_offset, kafka_timestamp)
            SELECT m.id, i.due_at, $17, i.kafka_partition, i.kafka_offset, i.kafka_timestamp
            FROM made m JOIN input i ON i.object_cid = m.object_cid
            ORDER BY m.id
        ), met AS MATERIALIZED (
            SELECT p.stamp_id, least(p.due_at, i.due_at) AS due_at, i.kafka_partition, i.kafka_offset, i.kafka_timestamp
            FROM input i JOIN stamps s ON s.object_cid = i.object_cid JOIN pending_stamps p ON p.stamp_id = s.id
            WHERE p.kafka_offset IS NULL OR p.due_at > i.due_at
            ORDER BY p.stamp_id FOR NO KEY UPDATE OF p
        )
        UPDATE pending_stamps p
        SET due_at = m.due_at,
            kafka_topic = coalesce(p.kafka_topic, $17),
            kafka_partition = coalesce(p.kafka_partition, m.kafka_partition),
            kafka_offset = coalesce(p.kafka_offset, m.kafka_offset),
            kafka_timestamp = coalesce(p.kafka_timestamp, m.kafka_timestamp)
        FROM met m WHERE p.stamp_id = m.stamp_id"#
    )
}

//! The listener's two bulk statements: which stamps are processed already, and processing batches.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use domain::batch::policy::Trigger;
use domain::stamp::Stamp;

use super::durable::DURABLE;
use super::{Database, DatabaseError};

/// Usual is a tenth of a second. What takes longer than this is a lock, a link that went half open, or a disk that
/// can't keep up, and is tried again.
const LIMIT: Duration = Duration::from_secs(5);

/// One stamp of a batch, as its event told it.
#[derive(Debug, Clone)]
pub struct Member {
    /// The stamp with the values of the event.
    pub stamp: Stamp,
    /// Where the event was read.
    pub partition: i32,
    /// The same.
    pub offset: i64,
    /// The batch it goes into, as an index into the triggers.
    pub batch: usize,
}

/// What the database made of the batches.
#[derive(Debug)]
pub struct Processed {
    /// For each member, by position: whether it was processed by this statement.
    pub won: Vec<bool>,
    /// The batches that were made: index into the triggers, number, size.
    pub batches: Vec<(usize, i64, usize)>,
    /// The server's time when they were made, if any was, with when the statement was sent and answered.
    pub clock: Option<(Instant, DateTime<Utc>, Instant)>,
}

/// Returns those of the ids whose stamps are processed.
///
/// # Errors
/// Whatever the database says.
pub async fn processed_among(database: &Database, ids: &[&str]) -> Result<HashSet<String>, DatabaseError> {
    const SQL: &str = "
        SELECT s.object_cid
        FROM unnest($1::text[]) AS i (object_cid)
        JOIN stamps s ON s.object_cid = i.object_cid
        JOIN processed_stamps p ON p.stamp_id = s.id";
    let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    database
        .bulk(LIMIT, |client| {
            Box::pin(async move {
                let statement = client.prepare_cached(SQL).await?;
                let rows = client.query(&statement, &[&ids]).await?;
                rows.iter().map(|row| row.try_get(0)).collect()
            })
        })
        .await
}

/// Processes batches in one transaction. Each `object_cid` may occur once among the members.
///
/// A stamp is won by whoever deletes its pending row or, for an event of another producer, inserts the stamp.
/// Only winners become members of batches; a batch without a winner is not made. So a redelivered event, a
/// replica that was thought dead or an offset that was reset wins nothing.
///
/// Rows are locked and inserted in the order of their keys throughout: two replicas that meet wait for each
/// other instead of deadlocking.
///
/// # Errors
/// Whatever the database says; then nothing was processed, or the answer was lost and a second try finds out.
pub async fn process(
    database: &Database,
    members: Vec<Member>,
    triggers: &[Trigger],
    listener: &str,
    topic: &str,
) -> Result<Processed, DatabaseError> {
    let sql = statement();
    let count = members.len();
    let triggers: Vec<&'static str> = triggers.iter().map(|trigger| trigger.as_str()).collect();
    let (listener, topic) = (listener.to_owned(), topic.to_owned());
    database
        .bulk(LIMIT, |client| {
            Box::pin(async move {
                let ids: Vec<&str> =
                    members.iter().map(|member| member.stamp.object_cid().as_str()).collect();
                let tolerances: Vec<i32> =
                    members.iter().map(|member| member.stamp.time_tolerance().minutes()).collect();
                let dates: Vec<DateTime<Utc>> =
                    members.iter().map(|member| member.stamp.created_date()).collect();
                let partitions: Vec<i32> = members.iter().map(|member| member.partition).collect();
                let offsets: Vec<i64> = members.iter().map(|member| member.offset).collect();
                let batches: Vec<i32> = members.iter().map(|member| member.batch as i32).collect();
                let statement = client.prepare_cached(&sql).await?;
                let sent = Instant::now();
                let row = client
                    .query_one(
                        &statement,
                        &[
                            &ids,
                            &tolerances,
                            &dates,
                            &partitions,
                            &offsets,
                            &batches,
                            &triggers,
                            &listener,
                            &topic,
                        ],
                    )
                    .await?;
                let received = Instant::now();
                let (ordinals, indexes): (Vec<i64>, Vec<i32>) = (row.try_get(0)?, row.try_get(1)?);
                let (numbers, sizes): (Vec<i64>, Vec<i32>) = (row.try_get(2)?, row.try_get(3)?);
                let processed_at: Option<DateTime<Utc>> = row.try_get(4)?;
                let mut won = vec![false; count];
                for ordinal in ordinals {
                    won[ordinal as usize - 1] = true;
                }
                let batches = indexes
                    .into_iter()
                    .zip(numbers)
                    .zip(sizes)
                    .map(|((index, number), size)| (index as usize, number, size as usize))
                    .collect();
                Ok(Processed { won, batches, clock: processed_at.map(|time| (sent, time, received)) })
            })
        })
        .await
}

/// The statement that processes batches.
fn statement() -> String {
    format!(
        r#"
        WITH input AS MATERIALIZED (
            SELECT * FROM unnest($1::text[], $2::int4[], $3::timestamptz[], $4::int4[], $5::int8[], $6::int4[])
                WITH ORDINALITY
                AS i (object_cid, time_tolerance, created_date, kafka_partition, kafka_offset, batch, ordinal)
            WHERE {DURABLE}
        ), known AS MATERIALIZED (
            SELECT i.ordinal, s.id AS stamp_id FROM input i JOIN stamps s ON s.object_cid = i.object_cid
        ), locked AS MATERIALIZED (
            SELECT k.ordinal, p.stamp_id
            FROM known k JOIN pending_stamps p ON p.stamp_id = k.stamp_id
            ORDER BY p.stamp_id FOR UPDATE OF p
        ), taken AS (
            DELETE FROM pending_stamps p USING locked l WHERE p.stamp_id = l.stamp_id
            RETURNING l.ordinal, l.stamp_id
        ), made AS (
            INSERT INTO stamps (object_cid, time_tolerance, created_date)
            SELECT i.object_cid, i.time_tolerance, i.created_date
            FROM input i LEFT JOIN known k ON k.ordinal = i.ordinal
            WHERE k.ordinal IS NULL
            ORDER BY i.object_cid COLLATE "C"
            ON CONFLICT (object_cid) DO NOTHING
            RETURNING object_cid, id
        ), won AS MATERIALIZED (
            SELECT t.stamp_id, i.* FROM taken t JOIN input i ON i.ordinal = t.ordinal
            UNION ALL
            SELECT m.id, i.* FROM made m JOIN input i ON i.object_cid = m.object_cid
        ), sized AS MATERIALIZED (
            SELECT batch, count(*)::int4 AS size FROM won GROUP BY batch ORDER BY batch
        ), numbered AS MATERIALIZED (
            SELECT batch, size, nextval('batches_id_seq') AS id FROM sized
        ), batched AS (
            INSERT INTO batches (id, trigger, size, listener, topic, processed_at)
            SELECT id, ($7::text[])[batch + 1], size, $8, $9, clock_timestamp() FROM numbered
            RETURNING processed_at
        ), joined AS (
            INSERT INTO processed_stamps
                (stamp_id, batch_id, time_tolerance, created_date, kafka_partition, kafka_offset)
            SELECT w.stamp_id, n.id, w.time_tolerance, w.created_date, w.kafka_partition, w.kafka_offset
            FROM won w JOIN numbered n ON n.batch = w.batch
            ORDER BY w.stamp_id
        )
        SELECT
            ARRAY(SELECT ordinal FROM won),
            ARRAY(SELECT batch FROM numbered ORDER BY batch),
            ARRAY(SELECT id FROM numbered ORDER BY batch),
            ARRAY(SELECT size FROM numbered ORDER BY batch),
            (SELECT max(processed_at) FROM batched)"#
    )
}

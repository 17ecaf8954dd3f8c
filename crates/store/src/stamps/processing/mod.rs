//! Which stamps are processed already, and processing batches: of what Kafka has brought here, of what is [`overdue`]
//! there.
//!
//! Nothing else deletes pending rows, and nothing else writes batches and their members.

pub mod overdue;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use domain::batch::heart::{Batch, Member};
use domain::batch::policy::Trigger;

use crate::clock::ClockSample;
use crate::connection::{Parameter, Session};
use crate::database::Database;
use crate::durable::DURABLE;
use crate::error::DatabaseError;

/// The limit of a statement that usually takes a tenth of a second. What takes longer than this is a lock, a link that
/// went half open, or a disk that can't keep up, and is tried again.
const LIMIT: Duration = Duration::from_secs(5);

/// What the database made of the batches.
#[derive(Debug)]
pub struct Processed {
    /// When each member was processed, by position; `None` for one that somebody else has processed.
    pub won: Vec<Option<DateTime<Utc>>>,
    /// The batches that were made.
    pub batches: Vec<MadeBatch>,
    /// The server's time when this call made batches, if it did.
    pub clock: Option<ClockSample>,
}

impl Processed {
    /// Adds what a further statement has made of the same members.
    fn add(&mut self, further: Self) {
        for (won, again) in self.won.iter_mut().zip(further.won) {
            *won = won.or(again);
        }
        self.batches.extend(further.batches);
        self.clock = further.clock.or(self.clock);
    }
}

/// A batch that the database has committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MadeBatch {
    /// Id of the batch.
    pub id: i64,
    /// Why the batch left.
    pub trigger: Trigger,
    /// How many stamps the batch holds.
    pub size: usize,
}

const PROCESSED_AMONG: &str = "
    SELECT s.object_cid
    FROM unnest($1::text[]) AS i (object_cid)
    JOIN stamps s ON s.object_cid = i.object_cid
    JOIN processed_stamps p ON p.stamp_id = s.id";

/// Returns which of the ids are those of processed stamps.
///
/// # Errors
/// Whatever the database says.
pub async fn processed_among(database: &Database, ids: &[&str]) -> Result<HashSet<String>, DatabaseError> {
    let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                let rows = session.query(PROCESSED_AMONG, &[&ids]).await?;
                rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
            })
        })
        .await
}

/// Opens the connections for bulk statements and has each run a listener's statements on nothing. Otherwise the first
/// batches of a process wait for connections, for tables to be looked up and for statements to be planned.
///
/// # Errors
/// Whatever the database says; it mends nothing to try again.
pub async fn warm_up(database: &Database) -> Result<(), DatabaseError> {
    database
        .on_every_connection(LIMIT, |session| {
            Box::pin(async move {
                MemberColumns::of(&[], "", "").process(session).await?;
                session.query(PROCESSED_AMONG, &[&Vec::<&str>::new()]).await?;
                Ok(())
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
/// After an answer that was lost, by a broken connection or because this side gave a slow statement up, the members
/// may be in batches already. With `after_lost_answer` those of this very listener and these very records count as
/// won: nobody else has told of them.
///
/// # Errors
/// Whatever the database says; then nothing was processed, or the answer was lost and a second try finds out.
pub async fn process(
    database: &Database,
    batches: &[Batch],
    listener: &str,
    topic: &str,
    after_lost_answer: bool,
) -> Result<Processed, DatabaseError> {
    let columns = MemberColumns::of(batches, listener, topic);
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                let mut processed = columns.process(session).await?;
                if processed.won.contains(&None) && columns.are_pending(session, &processed).await? {
                    // A row was committed while this statement waited for it, too late to be seen. Now it is.
                    processed.add(columns.process(session).await?);
                }
                if after_lost_answer && processed.won.contains(&None) {
                    columns.recover(session, &mut processed).await?;
                }
                Ok(processed)
            })
        })
        .await
}

/// Processes stamps as one batch and takes that back: it only tells whether the database refuses them.
///
/// # Errors
/// Whatever the database says.
pub async fn probe(
    database: &Database,
    members: &[Member],
    listener: &str,
    topic: &str,
) -> Result<(), DatabaseError> {
    let batch = Batch { trigger: Trigger::Deadline, members: members.to_vec() };
    let columns = MemberColumns::of(&[batch], listener, topic);
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                session.take_back();
                columns.process(session).await.map(drop)
            })
        })
        .await
}

/// The parameters of the statements that process batches, column by column.
struct MemberColumns {
    ids: Vec<String>,
    tolerances: Vec<i32>,
    dates: Vec<DateTime<Utc>>,
    partitions: Vec<i32>,
    offsets: Vec<i64>,
    batches: Vec<i32>,
    triggers: Vec<Trigger>,
    listener: String,
    topic: String,
}

impl MemberColumns {
    fn of(batches: &[Batch], listener: &str, topic: &str) -> Self {
        let members: Vec<&Member> = batches.iter().flat_map(|batch| &batch.members).collect();
        let index = |(index, batch): (usize, &Batch)| std::iter::repeat_n(index as i32, batch.members.len());
        Self {
            ids: members.iter().map(|member| member.stamp.object_cid().as_str().to_owned()).collect(),
            tolerances: members.iter().map(|member| member.stamp.time_tolerance().minutes()).collect(),
            dates: members.iter().map(|member| member.stamp.created_date()).collect(),
            partitions: members.iter().map(|member| member.partition).collect(),
            offsets: members.iter().map(|member| member.offset).collect(),
            batches: batches.iter().enumerate().flat_map(index).collect(),
            triggers: batches.iter().map(|batch| batch.trigger).collect(),
            listener: listener.to_owned(),
            topic: topic.to_owned(),
        }
    }

    async fn process(&self, session: &Session) -> Result<Processed, DatabaseError> {
        let Self { ids, tolerances, dates, partitions, offsets, batches, triggers, listener, topic } = self;
        let names: Vec<&str> = triggers.iter().map(|trigger| trigger.as_str()).collect();
        let sent = Instant::now();
        let parameters: [&dyn Parameter; 9] =
            [ids, tolerances, dates, partitions, offsets, batches, &names, listener, topic];
        let row = session.query_one(&statement(), &parameters).await?;
        let received = Instant::now();
        let (ordinals, indexes): (Vec<i64>, Vec<i32>) = (row.try_get(0)?, row.try_get(1)?);
        let (numbers, sizes): (Vec<i64>, Vec<i32>) = (row.try_get(2)?, row.try_get(3)?);
        let processed_at: Option<DateTime<Utc>> = row.try_get(4)?;
        let mut won = vec![None; ids.len()];
        for ordinal in ordinals {
            won[ordinal as usize - 1] = processed_at;
        }
        let made = |((index, id), size): ((i32, i64), i32)| MadeBatch {
            id,
            trigger: triggers[index as usize],
            size: size as usize,
        };
        let batches = indexes.into_iter().zip(numbers).zip(sizes).map(made).collect();
        Ok(Processed { won, batches, clock: processed_at.map(|time| ClockSample { sent, time, received }) })
    }

    /// Tells whether any stamp that was not won is still to be had.
    async fn are_pending(&self, session: &Session, processed: &Processed) -> Result<bool, DatabaseError> {
        const SQL: &str = "
            SELECT EXISTS (
                SELECT FROM unnest($1::text[]) AS i (object_cid)
                JOIN stamps s ON s.object_cid = i.object_cid
                JOIN pending_stamps p ON p.stamp_id = s.id)";
        let lost = self.ids.iter().zip(&processed.won).filter(|(_, won)| won.is_none());
        let lost: Vec<&str> = lost.map(|(id, _)| id.as_str()).collect();
        Ok(session.query_one(SQL, &[&lost]).await?.try_get(0)?)
    }

    /// Finds what an earlier try has processed, whose answer was lost.
    async fn recover(&self, session: &Session, processed: &mut Processed) -> Result<(), DatabaseError> {
        const SQL: &str = "
            SELECT i.ordinal, b.processed_at, b.id, i.batch, b.size
            FROM unnest($1::text[], $2::int4[], $3::int8[], $4::int4[]) WITH ORDINALITY
                AS i (object_cid, kafka_partition, kafka_offset, batch, ordinal)
            JOIN stamps s ON s.object_cid = i.object_cid
            JOIN processed_stamps p ON p.stamp_id = s.id
                AND p.kafka_partition = i.kafka_partition AND p.kafka_offset = i.kafka_offset
            JOIN batches b ON b.id = p.batch_id AND b.listener = $5 AND b.topic = $6
            ORDER BY b.id";
        let Self { ids, partitions, offsets, batches, listener, topic, triggers, .. } = self;
        let parameters: [&dyn Parameter; 6] = [ids, partitions, offsets, batches, listener, topic];
        for row in session.query(SQL, &parameters).await? {
            let won = &mut processed.won[row.try_get::<_, i64>(0)? as usize - 1];
            if won.is_some() {
                continue;
            }
            *won = row.try_get(1)?;
            let (id, index, size): (i64, i32, i32) = (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
            let trigger = triggers[index as usize];
            // In order of the batches, so the members of one come together.
            if processed.batches.last().is_none_or(|last| last.id != id) {
                processed.batches.push(MadeBatch { id, trigger, size: size as usize });
            }
        }
        Ok(())
    }
}

/// Returns the part of a statement that makes batches of what the part `won` has won: rows of `stamp_id`, `batch`,
/// `time_tolerance`, `created_date`, `kafka_topic`, `kafka_partition` and `kafka_offset`, the last three null where they
/// are not known. Each batch has the number of its rows under `batch`; `numbered` tells its `id` and `size`, and
/// `batched` when it was made.
fn make(trigger: &str, listener: &str, topic: &str) -> String {
    format!(
        "sized AS MATERIALIZED (
            SELECT batch, count(*)::int4 AS size FROM won WHERE {DURABLE} GROUP BY batch ORDER BY batch
        ), numbered AS MATERIALIZED (
            SELECT batch, size, nextval('batches_id_seq') AS id FROM sized
        ), batched AS (
            INSERT INTO batches (id, trigger, size, listener, topic, processed_at)
            SELECT id, {trigger}, size, {listener}, {topic}, clock_timestamp() FROM numbered
            RETURNING processed_at
        ), joined AS (
            INSERT INTO processed_stamps
                (stamp_id, batch_id, time_tolerance, created_date, kafka_topic, kafka_partition, kafka_offset)
            SELECT w.stamp_id, n.id, w.time_tolerance, w.created_date, nullif(w.kafka_topic, {topic}),
                w.kafka_partition, w.kafka_offset
            FROM won w JOIN numbered n ON n.batch = w.batch
            ORDER BY w.stamp_id
        )"
    )
}

/// Returns the statement that processes batches.
fn statement() -> String {
    let made = make("($7::text[])[batch + 1]", "$8", "$9");
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
            RETURNING l.ordinal, l.stamp_id, p.kafka_topic AS own_topic, p.kafka_partition AS own_partition,
                p.kafka_offset AS own_offset
        ), made AS (
            INSERT INTO stamps (object_cid, time_tolerance, created_date)
            SELECT i.object_cid, i.time_tolerance, i.created_date
            FROM input i LEFT JOIN known k ON k.ordinal = i.ordinal
            WHERE k.ordinal IS NULL
            ORDER BY i.object_cid COLLATE "C"
            ON CONFLICT (object_cid) DO NOTHING
            RETURNING object_cid, id
        ), won AS MATERIALIZED (
            SELECT t.stamp_id, i.ordinal, i.batch, i.time_tolerance, i.created_date, t.own_topic AS kafka_topic,
                coalesce(t.own_partition, i.kafka_partition) AS kafka_partition,
                coalesce(t.own_offset, i.kafka_offset) AS kafka_offset
            FROM taken t JOIN input i ON i.ordinal = t.ordinal
            UNION ALL
            SELECT m.id, i.ordinal, i.batch, i.time_tolerance, i.created_date, NULL, i.kafka_partition, i.kafka_offset
            FROM made m JOIN input i ON i.object_cid = m.object_cid
        ), {made}
        SELECT
            ARRAY(SELECT ordinal FROM won),
            ARRAY(SELECT batch FROM numbered ORDER BY batch),
            ARRAY(SELECT id FROM numbered ORDER BY batch),
            ARRAY(SELECT size FROM numbered ORDER BY batch),
            (SELECT max(processed_at) FROM batched)"#
    )
}

//! Stamps that leave by the table: which are about to be due, taking those that still are pending, and putting off what
//! the database refuses.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::batch::net::{AHEAD, GRACE, SEEN, Seen};
use domain::batch::policy::Trigger;
use domain::batch::promise::{PROMISED, SENT_IN_TIME};
use domain::delivery::Sink;
use domain::trace::TraceContext;

use super::made::{MadeBatch, Maker, join, make};
use crate::connection::Parameter;
use crate::database::Database;
use crate::durable::DURABLE;
use crate::error::DatabaseError;

/// How long a statement may take that usually takes some milliseconds.
const LIMIT: Duration = Duration::from_secs(5);
/// The most rows of older binaries that are given their due time in one look.
const DATED: i64 = 10_000;
/// The first pause of a stamp that the database refuses; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause of a stamp that the database refuses.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// Number of the advisory lock by which listeners take turns, together with the table's own.
const TURN: i32 = 0x7475_726e;

/// The condition for a pending row `p` that is not put off.
const NOT_PUT_OFF: &str = "(p.retry_at IS NULL OR p.retry_at <= now())";

/// What came of taking stamps.
#[derive(Debug, Clone, PartialEq)]
pub enum Take {
    /// Another listener is taking, and nothing was taken.
    NotOurTurn,
    /// These were pending still, and have left.
    Taken {
        /// The batches that they have left in.
        batches: Vec<MadeBatch>,
        /// How long after its due time each stamp was processed.
        lateness: Vec<Duration>,
        /// How many of them were stored in time and have left too late all the same.
        missed: usize,
        /// Where those of them were asked for whose trace is kept, each with the id of its batch.
        traces: Vec<(i64, TraceContext)>,
    },
}

/// A stamp that was put off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutOff {
    /// Id of the stamp.
    pub object_cid: String,
    /// How long the stamp is left alone.
    pub pause: Duration,
}

/// Returns up to [`SEEN`] stamps that are pending and due, or will be within [`AHEAD`], the most overdue first.
///
/// Rows of older binaries, which know no due time, are given theirs.
///
/// # Errors
/// Whatever the database says.
pub async fn look(database: &Database) -> Result<Vec<Seen>, DatabaseError> {
    let ahead = AHEAD.as_seconds_f64();
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                let rows = session.query(&look_statement(), &[&ahead, &(SEEN as i64), &DATED]).await?;
                let seen = |row: &tokio_postgres::Row| -> Result<Seen, DatabaseError> {
                    Ok(Seen { row: row.try_get(0)?, due: row.try_get::<_, Option<DateTime<Utc>>>(1)? })
                };
                rows.iter().map(seen).collect()
            })
        })
        .await
}

/// Returns the statement of a look. A test looks at its plan.
pub fn look_statement() -> String {
    format!(
        "
        WITH undated AS MATERIALIZED (
            SELECT p.stamp_id FROM pending_stamps p
            WHERE p.due_at IS NULL ORDER BY p.stamp_id LIMIT $3 FOR UPDATE SKIP LOCKED
        ), dated AS (
            UPDATE pending_stamps p
            -- The last date that PostgreSQL knows lies only a few thousand years further on.
            SET due_at = CASE WHEN s.created_date < '290000-01-01'
                THEN s.created_date + make_interval(mins => s.time_tolerance) ELSE 'infinity' END
            FROM undated u JOIN stamps s ON s.id = u.stamp_id
            WHERE p.stamp_id = u.stamp_id AND {DURABLE}
            RETURNING p.stamp_id, p.due_at
        )
        SELECT seen.stamp_id, CASE WHEN isfinite(seen.due_at) THEN seen.due_at END
        FROM (
            (SELECT p.stamp_id, p.due_at FROM pending_stamps p
             WHERE p.due_at <= now() + make_interval(secs => $1) AND {NOT_PUT_OFF}
             ORDER BY p.due_at LIMIT $2)
            UNION ALL
            (SELECT p.stamp_id, p.due_at FROM pending_stamps p
             WHERE p.due_at = 'infinity' AND {NOT_PUT_OFF} LIMIT $2)
            UNION ALL
            SELECT d.stamp_id, d.due_at FROM dated d WHERE d.due_at <= now() + make_interval(secs => $1)
        ) AS seen
        ORDER BY seen.due_at LIMIT $2"
    )
}

/// Processes those of these rows that are pending still and have been due for [`GRACE`], in batches of up to `max`.
///
/// One listener takes at a time, so that batches are full. A row that somebody holds is left to who holds it: it holds
/// up no other. Unless the event of a stamp is known to be in Kafka, it stays among those to be published.
///
/// # Errors
/// Whatever the database says; then nothing was taken, or the answer was lost.
pub async fn take(
    database: &Database,
    rows: &[i64],
    max: usize,
    maker: &Maker,
) -> Result<Take, DatabaseError> {
    let (rows, max, maker) = (rows.to_vec(), max as i64, maker.clone());
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                let grace = GRACE.as_seconds_f64();
                let (promised, in_time) = (PROMISED.as_seconds_f64(), SENT_IN_TIME.as_seconds_f64());
                let parameters: [&dyn Parameter; 7] =
                    [&rows, &grace, &max, &maker.listener, &maker.topic, &promised, &in_time];
                let row = session.query_one(&take_statement(maker.sink), &parameters).await?;
                if !row.try_get::<_, bool>(0)? {
                    return Ok(Take::NotOurTurn);
                }
                let (sizes, lateness): (Vec<i32>, Vec<f64>) = (row.try_get(1)?, row.try_get(2)?);
                let (ids, processed_at): (Vec<i64>, Option<DateTime<Utc>>) =
                    (row.try_get(3)?, row.try_get(4)?);
                let made = |(id, size): (i64, i32)| {
                    let (trigger, size, members) = (Trigger::Deadline, size as usize, Vec::new());
                    Some(MadeBatch { id, trigger, size, processed_at: processed_at?, members })
                };
                let batches = ids.into_iter().zip(sizes).filter_map(made).collect();
                let (traced, traces): (Vec<i64>, Vec<String>) = (row.try_get(5)?, row.try_get(6)?);
                let trace =
                    |(batch, text): (i64, String)| Some((batch, TraceContext::parse(text.as_bytes())?));
                let traces = traced.into_iter().zip(traces).filter_map(trace).collect();
                let late = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
                let lateness = lateness.into_iter().map(late).collect();
                let missed = row.try_get::<_, i64>(7)? as usize;
                Ok(Take::Taken { batches, lateness, missed, traces })
            })
        })
        .await
}

fn take_statement(sink: Option<Sink>) -> String {
    let (join, make) = (join("won", "$5"), make("$4", "$5", sink));
    format!(
        "
        WITH turn AS MATERIALIZED (
            SELECT pg_try_advisory_xact_lock({TURN}::int8 << 32 | 'pending_stamps'::regclass::oid::int8) AS is_ours
        ), locked AS MATERIALIZED (
            SELECT p.stamp_id, s.time_tolerance
            FROM pending_stamps p JOIN stamps s ON s.id = p.stamp_id
            WHERE (SELECT is_ours FROM turn) AND p.stamp_id = ANY($1::int8[])
              -- Written so that the index of due times is of no use: a backlog would be walked through for each take.
              AND p.due_at + make_interval(secs => $2) <= now() AND isfinite(p.due_at) AND {NOT_PUT_OFF}
              AND {DURABLE}
            FOR UPDATE OF p SKIP LOCKED
        ), taken AS (
            DELETE FROM pending_stamps p WHERE p.stamp_id = ANY (ARRAY(SELECT stamp_id FROM locked))
            RETURNING p.*
        ), divided AS MATERIALIZED (
            -- Another event may have moved the due time forward.
            SELECT t.stamp_id, l.time_tolerance, t.due_at - make_interval(mins => l.time_tolerance) AS created_date,
                t.due_at, t.stored_at, t.kafka_topic, t.kafka_partition, t.kafka_offset, t.traceparent,
                (row_number() OVER (ORDER BY t.due_at, t.stamp_id) - 1) / $3 AS batch
            FROM taken t JOIN locked l ON l.stamp_id = t.stamp_id
        ), numbered AS MATERIALIZED (
            SELECT d.batch, 'deadline' AS trigger, nextval('batches_id_seq') AS id
            FROM (SELECT DISTINCT batch FROM divided ORDER BY batch) AS d
        ), won AS MATERIALIZED (
            SELECT d.*, n.id AS batch_id FROM divided d JOIN numbered n ON n.batch = d.batch
        ), unpublished AS (
            INSERT INTO left_events (stamp_id, owner, seq, stored_at, traceparent)
            SELECT t.stamp_id, t.owner, t.seq, t.stored_at, t.traceparent
            FROM taken t JOIN intake_owners o ON o.id = t.owner AND o.published_through < t.seq
            ORDER BY t.stamp_id
        ), {join}, {make}
        SELECT (SELECT is_ours FROM turn), ARRAY(SELECT size FROM sized ORDER BY id),
            ARRAY(SELECT extract(epoch FROM (SELECT max(processed_at) FROM batched) - due_at)::float8 FROM won),
            ARRAY(SELECT id FROM sized ORDER BY id), (SELECT max(processed_at) FROM batched),
            ARRAY(SELECT batch_id FROM won WHERE traceparent IS NOT NULL ORDER BY stamp_id),
            ARRAY(SELECT traceparent FROM won WHERE traceparent IS NOT NULL ORDER BY stamp_id),
            (SELECT count(*) FROM won
             WHERE (SELECT max(processed_at) FROM batched) > due_at + make_interval(secs => $6)
               AND coalesce(stored_at, due_at) <= due_at + make_interval(secs => $7))"
    )
}

/// Leaves a pending row alone: for a minute, and each further time twice as long, up to an hour. Every listener obeys.
/// Returns the stamp, or `None` if it has left, was put off by another listener just now, or somebody holds its row.
///
/// # Errors
/// Whatever the database says.
pub async fn put_off(database: &Database, row: i64) -> Result<Option<PutOff>, DatabaseError> {
    let sql = format!(
        "
        WITH free AS MATERIALIZED (
            SELECT p.stamp_id FROM pending_stamps p
            WHERE p.stamp_id = $1 AND {NOT_PUT_OFF} AND {DURABLE} FOR UPDATE SKIP LOCKED
        )
        UPDATE pending_stamps p
        SET refusals = p.refusals + 1,
            retry_at = now() + make_interval(secs => least($2 * power(2, least(p.refusals, 30)), $3))
        FROM free f JOIN stamps s ON s.id = f.stamp_id
        WHERE p.stamp_id = f.stamp_id
        RETURNING s.object_cid, extract(epoch FROM p.retry_at - now())::float8"
    );
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                let (first, longest) = (FIRST_PAUSE.as_secs_f64(), LONGEST_PAUSE.as_secs_f64());
                let Some(row) = session.query_opt(&sql, &[&row, &first, &longest]).await? else {
                    return Ok(None);
                };
                let pause = Duration::try_from_secs_f64(row.try_get(1)?).unwrap_or_default();
                Ok(Some(PutOff { object_cid: row.try_get(0)?, pause }))
            })
        })
        .await
}

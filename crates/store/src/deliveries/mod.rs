//! Deliveries of batches: taking parts in hand and noting what became of them; what is told of them ([`content`]), and
//! looking at them ([`queries`]).

pub mod content;
pub mod queries;

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::delivery::courier::{Held, LEASE, Note};
use domain::delivery::schedule::Fate;
use domain::delivery::{PartId, Sink};
use tokio_postgres::Row;

use crate::database::Database;
use crate::durable::DURABLE;
use crate::error::DatabaseError;

/// How long a statement may take that usually takes some milliseconds.
const LIMIT: Duration = Duration::from_secs(5);

/// Takes up to `limit` parts of a sink in hand whose time has come, those that have waited for longest first.
///
/// # Errors
/// Whatever the database says; then nothing was taken, or the answer was lost and the parts come again when
/// [`LEASE`] is over.
pub async fn claim(database: &Database, sink: Sink, limit: usize) -> Result<Vec<Held>, DatabaseError> {
    let sql = format!(
        "
        WITH due AS MATERIALIZED (
            SELECT d.batch_id, d.part FROM deliveries d
            WHERE d.sink = $1 AND d.next_attempt_at <= now() AND {DURABLE}
            ORDER BY d.next_attempt_at LIMIT $2 FOR UPDATE SKIP LOCKED
        ), held AS (
            UPDATE deliveries d
            SET claims = d.claims + 1, next_attempt_at = clock_timestamp() + make_interval(secs => $3)
            FROM due WHERE d.batch_id = due.batch_id AND d.part = due.part
            RETURNING d.*
        )
        SELECT h.batch_id, h.part, h.claims, h.next_attempt_at, h.attempts, h.first_attempt_at, b.size
        FROM held h CROSS JOIN LATERAL (SELECT size FROM batches WHERE id = h.batch_id OFFSET 0) AS b
        ORDER BY h.batch_id, h.part"
    );
    let (limit, lease) = (limit as i64, LEASE.as_seconds_f64());
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                let rows = session.query(&sql, &[&sink.as_str(), &limit, &lease]).await?;
                rows.iter().map(held).collect()
            })
        })
        .await
}

fn held(row: &Row) -> Result<Held, DatabaseError> {
    let (tries, size): (i32, i32) = (row.try_get(4)?, row.try_get(6)?);
    Ok(Held {
        id: PartId { batch: row.try_get(0)?, part: row.try_get(1)? },
        claim: row.try_get(2)?,
        until: row.try_get(3)?,
        tries: tries as u32,
        first_try: row.try_get(5)?,
        size: size as usize,
    })
}

/// Writes what became of tries. A note counts if the part is still in the hand that had it, or if the receiver has it.
///
/// # Errors
/// Whatever the database says; the notes may be written again.
pub async fn note(database: &Database, notes: &[Note]) -> Result<(), DatabaseError> {
    let sql = format!(
        "
        WITH input AS MATERIALIZED (
            SELECT * FROM unnest($1::int8[], $2::int4[], $3::int4[], $4::timestamptz[], $5::bool[], $6::timestamptz[], $7::text[])
                AS i (batch_id, part, claim, began, is_delivered, next_attempt_at, error)
        ), locked AS MATERIALIZED (
            SELECT i.* FROM input i CROSS JOIN LATERAL (
                SELECT d.claims, d.delivered_at FROM deliveries d
                WHERE d.batch_id = i.batch_id AND d.part = i.part FOR UPDATE OF d
            ) AS d
            WHERE d.delivered_at IS NULL AND (i.is_delivered OR d.claims = i.claim) AND {DURABLE}
        )
        UPDATE deliveries d SET
            parts = coalesce(d.parts, 1),
            attempts = d.attempts + 1,
            first_attempt_at = coalesce(d.first_attempt_at, l.began),
            next_attempt_at = l.next_attempt_at,
            delivered_at = CASE WHEN l.is_delivered THEN clock_timestamp() END,
            last_error = coalesce(l.error, d.last_error)
        FROM locked l WHERE d.batch_id = l.batch_id AND d.part = l.part"
    );
    let mut sorted: Vec<&Note> = notes.iter().collect();
    // As all who lock several of them do.
    sorted.sort_by_key(|note| note.id);
    let batches: Vec<i64> = sorted.iter().map(|note| note.id.batch).collect();
    let parts: Vec<i32> = sorted.iter().map(|note| note.id.part).collect();
    let claims: Vec<i32> = sorted.iter().map(|note| note.claim).collect();
    let began: Vec<DateTime<Utc>> = sorted.iter().map(|note| note.began).collect();
    let delivered: Vec<bool> = sorted.iter().map(|note| note.fate == Fate::Delivered).collect();
    let next = |note: &&Note| match note.fate {
        Fate::Waiting(next) => Some(next),
        Fate::Delivered | Fate::Failed => None,
    };
    let next: Vec<Option<DateTime<Utc>>> = sorted.iter().map(next).collect();
    let errors: Vec<Option<String>> = sorted.iter().map(|note| note.error.clone()).collect();
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                session
                    .execute(&sql, &[&batches, &parts, &claims, &began, &delivered, &next, &errors])
                    .await
                    .map(drop)
            })
        })
        .await
}

/// How a sink's deliveries stand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WaitingDeliveries {
    /// How many parts wait, counted up to [`COUNTED`].
    pub waiting: i64,
    /// How long ago the batch was made that waits for longest.
    pub oldest: Duration,
}

/// Further waiting parts are not counted: it would take longer the more there are.
pub const COUNTED: i64 = 100_000;

/// Returns how the deliveries of a sink stand.
///
/// # Errors
/// If the database can't be asked.
pub async fn standing(database: &Database, sink: Sink) -> Result<WaitingDeliveries, DatabaseError> {
    const SQL: &str = "
        SELECT (SELECT count(*) FROM (
                SELECT FROM deliveries WHERE sink = $1 AND next_attempt_at IS NOT NULL LIMIT $2) AS counted),
            coalesce((SELECT greatest(extract(epoch FROM now() - b.processed_at), 0)::float8
                FROM batches b WHERE b.id = (
                    SELECT min(batch_id) FROM (
                        SELECT batch_id FROM deliveries WHERE sink = $1 AND next_attempt_at IS NOT NULL LIMIT $2
                    ) AS seen)), 0)";
    database
        .ask(|session| {
            Box::pin(async move {
                let row = session.query_one(SQL, &[&sink.as_str(), &COUNTED]).await?;
                let oldest = Duration::try_from_secs_f64(row.try_get(1)?).unwrap_or_default();
                Ok(WaitingDeliveries { waiting: row.try_get(0)?, oldest })
            })
        })
        .await
}

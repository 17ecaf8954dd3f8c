//! What the outboxes of owners still have to publish, as the database knows it.

use std::time::Duration;

use domain::outbox::owner::Standing;

use super::owners::LIMIT;
use crate::database::Database;
use crate::error::DatabaseError;

/// The most rows of one owner that are counted: an index of a million is read in a quarter of a second. Where there are
/// more, this is what is shown.
const COUNTED: i64 = 1_000_000;

/// What the outboxes of owners have still to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxBacklog {
    /// How many rows are not in the process's memory.
    pub unread: i64,
    /// For how long the oldest of all events that are not in Kafka has been stored.
    pub oldest: Duration,
}

/// Returns what owners have still to publish.
///
/// # Errors
/// If the database can't be reached.
pub async fn backlog(database: &Database, owners: &[Standing]) -> Result<OutboxBacklog, DatabaseError> {
    // A row from before `stored_at` is as old as its stamp, as far as anybody knows.
    const SQL: &str = "
        SELECT
            coalesce(sum(unread.count), 0)::bigint,
            coalesce(extract(epoch FROM clock_timestamp() - min(oldest.stored_at)), 0)::float8
        FROM unnest($1::int8[], $2::int8[], $3::int8[]) AS o (id, mark, unread_above)
        LEFT JOIN LATERAL (
            SELECT min(coalesce(first.stored_at, s.created_date)) AS stored_at
            FROM (
                (SELECT stamp_id, stored_at FROM pending_stamps
                 WHERE owner = o.id AND seq > o.mark ORDER BY seq LIMIT 1)
                UNION ALL
                (SELECT stamp_id, stored_at FROM left_events
                 WHERE owner = o.id AND seq > o.mark AND published_at IS NULL ORDER BY seq LIMIT 1)
            ) AS first JOIN stamps s ON s.id = first.stamp_id
        ) AS oldest ON true
        LEFT JOIN LATERAL (
            SELECT (
                SELECT count(*) FROM (
                    SELECT FROM pending_stamps WHERE owner = o.id AND seq > o.unread_above LIMIT $4
                ) AS waiting
            ) + (
                SELECT count(*) FROM (
                    SELECT FROM left_events
                    WHERE owner = o.id AND seq > o.unread_above AND published_at IS NULL LIMIT $4
                ) AS left_ones
            ) AS count
        ) AS unread ON o.unread_above IS NOT NULL";
    let ids: Vec<i64> = owners.iter().map(|owner| owner.owner.0).collect();
    let marks: Vec<i64> = owners.iter().map(|owner| owner.mark).collect();
    let unread: Vec<Option<i64>> = owners.iter().map(|owner| owner.unread_above).collect();
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                let row = session.query_one(SQL, &[&ids, &marks, &unread, &COUNTED]).await?;
                let seconds: f64 = row.try_get(1)?;
                // The server's clock may have been set back since.
                Ok(OutboxBacklog {
                    unread: row.try_get(0)?,
                    oldest: Duration::from_secs_f64(seconds.max(0.0)),
                })
            })
        })
        .await
}

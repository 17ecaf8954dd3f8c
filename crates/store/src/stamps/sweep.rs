//! Stamps that are published again: those that are pending long after they were due, although Kafka has had their
//! events, and those that have waited in the table alone.

use domain::stamp::Stamp;

use super::owners::LIMIT;
use super::row::{SWEEP_GRACE, stamp};
use crate::database::Database;
use crate::durable::DURABLE;
use crate::error::DatabaseError;

/// How often a stamp is swept: what was lost twice is lost for a reason that a third record does not mend.
const SWEEPS: i32 = 2;
/// The most overdue rows that are looked at in one sweep: a second's work. While the outbox has more rows to publish,
/// nothing is known to be lost.
const EXAMINED: i64 = 100_000;
/// The most rows of older binaries that are given their due time in one sweep.
const DATED: i64 = 10_000;

/// Of the stamps that owners have published, those that are pending although somebody processed batches after they
/// were due, and for so long since that it would have been their turn. Listeners that are off or behind process no
/// such batch, and what waits for them is no loss.
const FORGOTTEN: &str = "
    SELECT p.stamp_id
    FROM (
        SELECT stamp_id, due_at FROM pending_stamps
        WHERE due_at <= (SELECT processed_at FROM witness) - make_interval(secs => $1)
          AND sweep_after <= (SELECT processed_at FROM witness)
          AND sweeps < $2 AND kafka_offset IS NULL
        ORDER BY due_at LIMIT $4
    ) AS overdue JOIN pending_stamps p ON p.stamp_id = overdue.stamp_id
    WHERE NOT EXISTS (SELECT FROM intake_owners o WHERE o.id = p.owner AND o.published_through < p.seq)
      -- Once more, for whoever has waited for another sweep's lock.
      AND p.sweep_after <= (SELECT processed_at FROM witness) AND p.sweeps < $2
    ORDER BY overdue.due_at LIMIT $3 FOR UPDATE OF p SKIP LOCKED";

/// The newest batch that is old enough to tell something.
const WITNESS: &str = "
    SELECT processed_at FROM batches
    WHERE processed_at <= now() - make_interval(secs => $1) ORDER BY id DESC LIMIT 1";

/// Rows of older binaries, which know no due time. Their sweepers may have counted high.
const UNDATED: &str = "
    SELECT p.stamp_id FROM pending_stamps p
    WHERE p.due_at IS NULL ORDER BY p.stamp_id LIMIT $1 FOR UPDATE OF p SKIP LOCKED";

/// Takes up to `limit` stamps that should have been processed long ago although Kafka has had their events, and puts
/// each off.
///
/// What some owner has still to publish is left to that owner. Two processes that sweep at once take different
/// stamps.
///
/// # Errors
/// If the database can't be reached.
pub async fn sweep(database: &Database, limit: i64) -> Result<Vec<Stamp>, DatabaseError> {
    let [date, take] = sweep_statements();
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                session.execute(&date, &[&DATED]).await?;
                let grace = SWEEP_GRACE.as_secs_f64();
                stamps(&session.query(&take, &[&grace, &SWEEPS, &limit, &EXAMINED]).await?)
            })
        })
        .await
}

/// Returns the statements of a sweep: one dates rows of older binaries, one takes. A test looks at their plans.
pub fn sweep_statements() -> [String; 2] {
    let date = format!(
        "WITH undated AS MATERIALIZED ({UNDATED})
         UPDATE pending_stamps p
         SET due_at = s.created_date + make_interval(mins => s.time_tolerance), sweeps = 0
         FROM undated u JOIN stamps s ON s.id = u.stamp_id WHERE p.stamp_id = u.stamp_id AND {DURABLE}"
    );
    let take = format!(
        "WITH witness AS MATERIALIZED ({WITNESS}), forgotten AS MATERIALIZED ({FORGOTTEN}), put_off AS (
            UPDATE pending_stamps p
            SET sweeps = p.sweeps + 1, sweep_after = now() + 2 * make_interval(secs => $1)
            FROM forgotten f WHERE p.stamp_id = f.stamp_id AND {DURABLE}
         )
         SELECT s.object_cid, s.time_tolerance, s.created_date
         FROM forgotten f JOIN stamps s ON s.id = f.stamp_id"
    );
    [date, take]
}

/// Takes up to `limit` stamps that wait in the table alone and have fallen due, the most overdue first. Each is put
/// off, twice as far every time up to a day: until somebody has processed it, there is no other way for it.
///
/// The stamps come with the due time of their row, which another event may have moved forward.
///
/// # Errors
/// If the database can't be reached.
pub async fn take_distant(database: &Database, limit: i64) -> Result<Vec<Stamp>, DatabaseError> {
    let sql = format!(
        "WITH due AS MATERIALIZED (
            SELECT p.stamp_id, p.due_at
            FROM pending_stamps p
            WHERE p.kafka_offset IS NOT NULL AND p.due_at <= now() AND p.sweep_after <= now()
            ORDER BY p.due_at LIMIT $2 FOR UPDATE OF p SKIP LOCKED
         ), put_off AS (
            UPDATE pending_stamps p
            SET sweeps = p.sweeps + 1,
                sweep_after = now() + 2 * make_interval(secs => $1) * power(2, least(p.sweeps, 10))
            FROM due d WHERE p.stamp_id = d.stamp_id AND {DURABLE}
         )
         SELECT s.object_cid, s.time_tolerance,
            least(s.created_date, d.due_at - make_interval(mins => s.time_tolerance))
         FROM due d JOIN stamps s ON s.id = d.stamp_id"
    );
    database
        .run(LIMIT, |session| {
            Box::pin(
                async move { stamps(&session.query(&sql, &[&SWEEP_GRACE.as_secs_f64(), &limit]).await?) },
            )
        })
        .await
}

fn stamps(rows: &[tokio_postgres::Row]) -> Result<Vec<Stamp>, DatabaseError> {
    let stamp = |row: &tokio_postgres::Row| Ok(stamp(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
    let stamps: Result<Vec<_>, DatabaseError> = rows.iter().map(stamp).collect();
    Ok(stamps?.into_iter().flatten().collect())
}

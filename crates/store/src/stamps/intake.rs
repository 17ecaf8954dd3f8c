//! Group commits: stamps with their pending rows, which are their places in the outbox.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use domain::stamp::Stamp;

use crate::clock::ClockSample;
use crate::database::Database;
use crate::durable::DURABLE;
use crate::error::DatabaseError;

/// How long one group commit may take: an answer is due within two seconds.
const STORE_LIMIT: Duration = Duration::from_millis(1_500);

/// A stamp with its number in the owner's outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// Number of the stamp, counted by the owner.
    pub number: i64,
    /// The stamp.
    pub stamp: Stamp,
}

/// What became of a group commit.
#[derive(Debug)]
pub enum GroupCommit {
    /// The group is committed. Rows whose number is missing here had an `object_cid` that was taken already.
    Committed {
        /// The numbers of the rows that were stored.
        accepted: Vec<i64>,
        /// The server's time of the commit.
        clock: ClockSample,
    },
    /// The owner is retired or gone: nothing was stored, and nothing will be under this owner.
    OwnerRetired,
}

/// Stores stamps and their pending rows in one transaction. Each `object_cid` may occur once.
///
/// # Errors
/// Whatever the database says; [`DatabaseError::had_no_effect`] tells whether the rows may be there all the same.
pub async fn store(database: &Database, owner: i64, rows: &[Numbered]) -> Result<GroupCommit, DatabaseError> {
    let sql = format!(
        r#"
        WITH owner AS MATERIALIZED (
            SELECT id FROM intake_owners WHERE id = $1 AND NOT retired AND {DURABLE} FOR KEY SHARE
        ), input AS MATERIALIZED (
            SELECT i.*, i.created_date + make_interval(mins => i.time_tolerance) AS due_at
            FROM unnest($2::text[], $3::int4[], $4::timestamptz[], $5::int8[])
                AS i (object_cid, time_tolerance, created_date, seq)
        ), made AS (
            INSERT INTO stamps (object_cid, time_tolerance, created_date)
            SELECT i.object_cid, i.time_tolerance, i.created_date
            FROM input i CROSS JOIN owner
            ORDER BY i.object_cid COLLATE "C"
            ON CONFLICT (object_cid) DO NOTHING
            RETURNING id, object_cid
        ), queued AS (
            INSERT INTO pending_stamps (stamp_id, owner, seq, due_at)
            SELECT m.id, $1, i.seq, i.due_at
            FROM made m JOIN input i ON i.object_cid = m.object_cid ORDER BY m.id
            RETURNING seq
        )
        SELECT EXISTS (SELECT FROM owner), ARRAY(SELECT seq FROM queued), clock_timestamp()"#
    );
    let ids: Vec<String> = rows.iter().map(|row| row.stamp.object_cid().as_str().to_owned()).collect();
    let tolerances: Vec<i32> = rows.iter().map(|row| row.stamp.time_tolerance().minutes()).collect();
    let dates: Vec<DateTime<Utc>> = rows.iter().map(|row| row.stamp.created_date()).collect();
    let seqs: Vec<i64> = rows.iter().map(|row| row.number).collect();
    let stored = database.run(STORE_LIMIT, |session| {
        Box::pin(async move {
            let sent = Instant::now();
            let row = session.query_one(&sql, &[&owner, &ids, &tolerances, &dates, &seqs]).await?;
            Ok((sent, row, Instant::now()))
        })
    });
    let (sent, row, received) = stored.await?;
    if row.try_get(0)? {
        let accepted = row.try_get(1)?;
        let clock = ClockSample { sent, time: row.try_get(2)?, received };
        return Ok(GroupCommit::Committed { accepted, clock });
    }
    Ok(GroupCommit::OwnerRetired)
}

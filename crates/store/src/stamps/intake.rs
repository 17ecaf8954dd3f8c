//! Group commits: stamps with their pending rows, which are their places in the outbox.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use domain::stamp::Stamp;

use crate::clock::ClockSample;
use crate::connection::{Parameter, Session};
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

/// Whether the ids of a group are looked up before they are inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// No id is expected to be taken. Nothing is looked up, which saves a fifth of the statement; where an id is taken
    /// all the same, the statement fails, which PostgreSQL logs, and is run again as for [`Self::Likely`].
    Unlikely,
    /// Some of the ids may well be taken.
    Likely,
}

/// Stores stamps and their pending rows in one transaction. Each `object_cid` may occur once.
///
/// # Errors
/// Whatever the database says; [`DatabaseError::had_no_effect`] tells whether the rows may be there all the same.
pub async fn store(
    database: &Database,
    owner: i64,
    rows: &[Numbered],
    taken: Taken,
) -> Result<GroupCommit, DatabaseError> {
    let group = Group::of(owner, rows);
    let stored = database.run(STORE_LIMIT, |session| {
        Box::pin(async move {
            match taken {
                Taken::Likely => group.store(session, LOOK_UP).await,
                Taken::Unlikely => match group.store(session, "").await {
                    Err(error) if error.is_taken() => group.store(session, LOOK_UP).await,
                    stored => stored,
                },
            }
        })
    });
    stored.await
}

/// Leaves out the stamps whose id is taken.
const LOOK_UP: &str = "ON CONFLICT (object_cid) DO NOTHING";

/// Stamps that are to be stored, column by column, in the order of their ids, as all writers insert them.
struct Group {
    owner: i64,
    ids: Vec<String>,
    tolerances: Vec<i32>,
    dates: Vec<DateTime<Utc>>,
    numbers: Vec<i64>,
    traces: Vec<Option<String>>,
}

impl Group {
    fn of(owner: i64, rows: &[Numbered]) -> Self {
        let mut sorted: Vec<&Numbered> = rows.iter().collect();
        sorted.sort_unstable_by_key(|row| row.stamp.object_cid().as_str());
        Self {
            owner,
            ids: sorted.iter().map(|row| row.stamp.object_cid().as_str().to_owned()).collect(),
            tolerances: sorted.iter().map(|row| row.stamp.time_tolerance().minutes()).collect(),
            dates: sorted.iter().map(|row| row.stamp.created_date()).collect(),
            numbers: sorted.iter().map(|row| row.number).collect(),
            traces: sorted.iter().map(|row| row.stamp.trace().map(ToString::to_string)).collect(),
        }
    }

    async fn store(&self, session: &Session, on_conflict: &str) -> Result<GroupCommit, DatabaseError> {
        let sent = Instant::now();
        let parameters: [&dyn Parameter; 6] =
            [&self.owner, &self.ids, &self.tolerances, &self.dates, &self.numbers, &self.traces];
        let row = session.query_one(&statement(on_conflict), &parameters).await?;
        let received = Instant::now();
        if !row.try_get::<_, bool>(0)? {
            return Ok(GroupCommit::OwnerRetired);
        }
        let clock = ClockSample { sent, time: row.try_get(2)?, received };
        Ok(GroupCommit::Committed { accepted: row.try_get(1)?, clock })
    }
}

fn statement(on_conflict: &str) -> String {
    format!(
        "
        WITH owner AS MATERIALIZED (
            SELECT id FROM intake_owners WHERE id = $1 AND NOT retired AND {DURABLE} FOR KEY SHARE
        ), input AS MATERIALIZED (
            SELECT i.*, i.created_date + make_interval(mins => i.time_tolerance) AS due_at
            FROM unnest($2::text[], $3::int4[], $4::timestamptz[], $5::int8[], $6::text[])
                AS i (object_cid, time_tolerance, created_date, seq, traceparent)
        ), made AS (
            INSERT INTO stamps (object_cid, time_tolerance, created_date)
            SELECT i.object_cid, i.time_tolerance, i.created_date
            FROM input i CROSS JOIN owner
            {on_conflict}
            RETURNING id, object_cid
        ), queued AS (
            INSERT INTO pending_stamps (stamp_id, owner, seq, due_at, traceparent)
            SELECT m.id, $1, i.seq, i.due_at, i.traceparent
            FROM made m JOIN input i ON i.object_cid = m.object_cid ORDER BY m.id
            RETURNING seq
        )
        SELECT EXISTS (SELECT FROM owner), ARRAY(SELECT seq FROM queued), clock_timestamp()"
    )
}

//! The outbox: stamps with their pending rows, and the owners who publish them.
//!
//! Every committer of a `stamp-api` puts stamps in under an *owner*, an identity of its own, and numbers them. The
//! owner's one row says up to which number everything is in Kafka, so that an acknowledgement costs no write
//! for each stamp. An owner that falls silent is *retired* by another process, which then publishes what lies
//! above the mark. An insert and a retirement lock the owner's row against each other: once an owner is
//! retired, nothing more can appear under it.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use domain::stamp::{ObjectCid, Stamp, TimeTolerance};

use crate::clock::ClockSample;
use crate::database::Database;
use crate::durable::DURABLE;
use crate::error::DatabaseError;

/// How long one group commit may take: an answer is due within two seconds.
const STORE_LIMIT: Duration = Duration::from_millis(1_500);
/// A stamp that is still pending so long after it was due, and after it came, may be looked after by the sweeper.
pub const SWEEP_GRACE: Duration = Duration::from_secs(30);
/// How long other statements of the outbox may take.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// A stamp with its number in the owner's outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// The number, counted by the owner.
    pub seq: i64,
    /// The stamp.
    pub stamp: Stamp,
}

/// What a group commit did.
#[derive(Debug)]
pub enum Stored {
    /// It is committed. Rows whose number is missing here had an `object_cid` that was taken already.
    Committed {
        /// The numbers of the rows that were stored.
        accepted: Vec<i64>,
        /// The server's time of the commit.
        clock: ClockSample,
    },
    /// The owner is retired or gone: nothing was stored, and nothing will be under this owner.
    OwnerRetired,
}

/// An owner whose outbox has to be published by somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetiredOwner {
    /// Its number.
    pub id: i64,
    /// Up to here everything is in Kafka.
    pub published_through: i64,
}

/// Makes a new owner.
///
/// # Errors
/// If the database can't be reached.
pub async fn register(database: &Database) -> Result<i64, DatabaseError> {
    let sql = format!("INSERT INTO intake_owners (published_through) SELECT 0 WHERE {DURABLE} RETURNING id");
    database
        .bulk(LIMIT, |client| {
            Box::pin(async move {
                let row = client.query_one(&sql, &[]).await?;
                row.try_get(0)
            })
        })
        .await
}

/// Stores stamps and their pending rows in one transaction. Each `object_cid` may occur once.
///
/// # Errors
/// Whatever the database says; [`DatabaseError::had_no_effect`] tells whether the rows may be there all the same.
pub async fn store(database: &Database, owner: i64, rows: &[Numbered]) -> Result<Stored, DatabaseError> {
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
            INSERT INTO pending_stamps (stamp_id, owner, seq, due_at, sweep_after)
            SELECT m.id, $1, i.seq, i.due_at,
                greatest(i.due_at, clock_timestamp()) + make_interval(secs => $6)
            FROM made m JOIN input i ON i.object_cid = m.object_cid ORDER BY m.id
            RETURNING seq
        )
        SELECT EXISTS (SELECT FROM owner), ARRAY(SELECT seq FROM queued), clock_timestamp()"#
    );
    let ids: Vec<String> = rows.iter().map(|row| row.stamp.object_cid().as_str().to_owned()).collect();
    let tolerances: Vec<i32> = rows.iter().map(|row| row.stamp.time_tolerance().minutes()).collect();
    let dates: Vec<DateTime<Utc>> = rows.iter().map(|row| row.stamp.created_date()).collect();
    let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
    let stored = database.bulk(STORE_LIMIT, |client| {
        Box::pin(async move {
            let statement = client.prepare_cached(&sql).await?;
            let sent = Instant::now();
            let grace = SWEEP_GRACE.as_secs_f64();
            let row =
                client.query_one(&statement, &[&owner, &ids, &tolerances, &dates, &seqs, &grace]).await?;
            Ok((sent, row, Instant::now()))
        })
    });
    let (sent, row, received) = stored.await?;
    if row.try_get(0)? {
        let accepted = row.try_get(1)?;
        let clock = ClockSample { sent, time: row.try_get(2)?, received };
        return Ok(Stored::Committed { accepted, clock });
    }
    Ok(Stored::OwnerRetired)
}

/// Renews owners and raises their marks, all in one statement. Returns those that are there, and whether each is
/// retired.
///
/// # Errors
/// If the database can't be reached.
pub async fn renew(database: &Database, marks: &[(i64, i64)]) -> Result<Vec<(i64, bool)>, DatabaseError> {
    // Locked in order: another process may have adopted some of them.
    let sql = format!(
        "
        WITH own AS MATERIALIZED (
            SELECT o.id FROM intake_owners o WHERE o.id = ANY($1::int8[]) AND {DURABLE}
            ORDER BY o.id FOR NO KEY UPDATE
        )
        UPDATE intake_owners o
        SET seen_at = clock_timestamp(), published_through = greatest(o.published_through, m.mark)
        FROM own JOIN unnest($1::int8[], $2::int8[]) AS m (id, mark) ON m.id = own.id
        WHERE o.id = own.id
        RETURNING o.id, o.retired"
    );
    let (owners, marks): (Vec<i64>, Vec<i64>) = marks.iter().copied().unzip();
    database
        .bulk(LIMIT, |client| {
            Box::pin(async move {
                let rows = client.query(&sql, &[&owners, &marks]).await?;
                rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
            })
        })
        .await
}

/// Retires an owner of one's own and waits for the inserts that are under way. Returns it with its mark.
///
/// # Errors
/// If the database can't be reached.
pub async fn retire(database: &Database, owner: i64) -> Result<Option<RetiredOwner>, DatabaseError> {
    let sql = format!(
        "
        WITH own AS (SELECT id FROM intake_owners WHERE id = $1 AND {DURABLE} FOR UPDATE)
        UPDATE intake_owners o SET retired = true, seen_at = clock_timestamp()
        FROM own WHERE o.id = own.id
        RETURNING o.id, o.published_through"
    );
    database
        .bulk(LIMIT, |client| Box::pin(async move { retired(client.query_opt(&sql, &[&owner]).await?) }))
        .await
}

/// Retires an owner that was silent for so long, if there is one that nobody else is retiring and that is none of
/// `except`: a process is slow sometimes, and its own owners are not silent to itself.
///
/// # Errors
/// If the database can't be reached.
pub async fn retire_silent(
    database: &Database,
    silence: Duration,
    except: &[i64],
) -> Result<Option<RetiredOwner>, DatabaseError> {
    let sql = format!(
        "
        WITH silent AS (
            SELECT id FROM intake_owners
            WHERE seen_at < clock_timestamp() - make_interval(secs => $1) AND id <> ALL($2::int8[]) AND {DURABLE}
            ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1
        )
        UPDATE intake_owners o SET retired = true, seen_at = clock_timestamp()
        FROM silent WHERE o.id = silent.id
        RETURNING o.id, o.published_through"
    );
    let (seconds, except) = (silence.as_secs_f64(), except.to_vec());
    database
        .bulk(LIMIT, |client| {
            Box::pin(async move { retired(client.query_opt(&sql, &[&seconds, &except]).await?) })
        })
        .await
}

fn retired(row: Option<tokio_postgres::Row>) -> Result<Option<RetiredOwner>, tokio_postgres::Error> {
    row.map(|row| Ok(RetiredOwner { id: row.try_get(0)?, published_through: row.try_get(1)? })).transpose()
}

/// Gives owners up at the end of a process, so that another takes what is left of their outboxes at once.
///
/// # Errors
/// If the database can't be reached.
pub async fn abandon(database: &Database, marks: &[(i64, i64)]) -> Result<(), DatabaseError> {
    let sql = format!(
        "
        UPDATE intake_owners o
        SET seen_at = '-infinity', published_through = greatest(o.published_through, m.mark)
        FROM unnest($1::int8[], $2::int8[]) AS m (id, mark) WHERE o.id = m.id AND {DURABLE}"
    );
    let (owners, marks): (Vec<i64>, Vec<i64>) = marks.iter().copied().unzip();
    database
        .bulk(LIMIT, |client| {
            Box::pin(async move { client.execute(&sql, &[&owners, &marks]).await.map(drop) })
        })
        .await
}

/// Removes a retired owner once everything of its outbox is in Kafka.
///
/// # Errors
/// If the database can't be reached.
pub async fn forget(database: &Database, owner: i64) -> Result<(), DatabaseError> {
    let sql = format!("DELETE FROM intake_owners WHERE id = $1 AND retired AND {DURABLE}");
    database
        .bulk(LIMIT, |client| Box::pin(async move { client.execute(&sql, &[&owner]).await.map(drop) }))
        .await
}

/// Reads what an owner has in its outbox above a number, in order of the numbers.
///
/// # Errors
/// If the database can't be reached.
pub async fn outbox(
    database: &Database,
    owner: i64,
    above: i64,
    limit: i64,
) -> Result<Vec<Numbered>, DatabaseError> {
    const SQL: &str = "
        SELECT p.seq, s.object_cid, s.time_tolerance, s.created_date
        FROM pending_stamps p JOIN stamps s ON s.id = p.stamp_id
        WHERE p.owner = $1 AND p.seq > $2
        ORDER BY p.seq LIMIT $3";
    let rows = database
        .bulk(LIMIT, |client| {
            Box::pin(async move {
                let rows = client.query(SQL, &[&owner, &above, &limit]).await?;
                rows.iter()
                    .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?)))
                    .collect::<Result<Vec<(i64, String, i32, DateTime<Utc>)>, tokio_postgres::Error>>()
            })
        })
        .await?;
    let numbered =
        |(seq, id, tolerance, created)| Some(Numbered { seq, stamp: stamp(id, tolerance, created)? });
    Ok(rows.into_iter().filter_map(numbered).collect())
}

/// A stamp as it was stored: every row was one then.
pub(super) fn stamp(object_cid: String, time_tolerance: i32, created_date: DateTime<Utc>) -> Option<Stamp> {
    let object_cid = ObjectCid::parse(object_cid).ok()?;
    Stamp::new(object_cid, TimeTolerance::from_minutes(time_tolerance).ok()?, created_date).ok()
}

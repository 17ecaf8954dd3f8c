//! The owners of the outbox, who publish it.
//!
//! Every committer of a `stamp-api` puts stamps in under an *owner*, an identity of its own, and numbers them. The
//! owner's one row says up to which number everything is in Kafka, so that an acknowledgement costs no write
//! for each stamp. An owner that falls silent is *retired* by another process, which then publishes what lies
//! above the mark. An insert and a retirement lock the owner's row against each other: once an owner is
//! retired, nothing more can appear under it.
//!
//! A stamp that leaves by the table leaves its pending row. Unless its event is below the mark, the place in the outbox
//! stays, in `left_events`, until somebody knows the event to be in Kafka.

use std::time::Duration;

use domain::trace::TraceContext;

use super::intake::Numbered;
use super::row::stamp;
use crate::database::Database;
use crate::durable::DURABLE;
use crate::error::DatabaseError;

/// How long a statement of the outbox may take, a group commit excepted.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// Left events that are noted as published in one statement.
const NOTED: i64 = 10_000;

/// An owner whose outbox has to be published by somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetiredOwner {
    /// Id of the owner.
    pub id: i64,
    /// Mark of the owner: the number up to which everything is in Kafka.
    pub mark: i64,
}

/// Makes a new owner and returns its id.
///
/// # Errors
/// If the database can't be reached.
pub async fn register(database: &Database) -> Result<i64, DatabaseError> {
    let sql = format!("INSERT INTO intake_owners (published_through) SELECT 0 WHERE {DURABLE} RETURNING id");
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                let row = session.query_one(&sql, &[]).await?;
                Ok(row.try_get(0)?)
            })
        })
        .await
}

/// Renews owners, raises their marks, and notes of stamps that have left which events are published, all in one
/// statement. Returns the owners that are there, and whether each is retired.
///
/// # Errors
/// If the database can't be reached.
pub async fn renew(database: &Database, marks: &[(i64, i64)]) -> Result<Vec<(i64, bool)>, DatabaseError> {
    let noted = note();
    // Locked in order: another process may have adopted some of them.
    let sql = format!(
        "
        WITH own AS MATERIALIZED (
            SELECT o.id FROM intake_owners o WHERE o.id = ANY($1::int8[]) AND {DURABLE}
            ORDER BY o.id FOR NO KEY UPDATE
        ), {noted}
        UPDATE intake_owners o
        SET seen_at = clock_timestamp(), published_through = greatest(o.published_through, m.mark)
        FROM own JOIN unnest($1::int8[], $2::int8[]) AS m (id, mark) ON m.id = own.id
        WHERE o.id = own.id
        RETURNING o.id, o.retired"
    );
    let (owners, marks): (Vec<i64>, Vec<i64>) = marks.iter().copied().unzip();
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                let rows = session.query(&sql, &[&owners, &marks]).await?;
                rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
            })
        })
        .await
}

/// Returns the parts of a statement that note which events of stamps that have left are published: those up to the marks
/// `$2` of the owners `$1`.
fn note() -> String {
    format!(
        "published AS MATERIALIZED (
            SELECT l.stamp_id
            FROM unnest($1::int8[], $2::int8[]) AS m (id, mark)
            JOIN left_events l ON l.owner = m.id AND l.seq <= m.mark AND l.published_at IS NULL
            WHERE {DURABLE}
            LIMIT {NOTED} FOR UPDATE OF l SKIP LOCKED
        ), noted AS (
            UPDATE left_events l SET published_at = clock_timestamp()
            FROM published p WHERE l.stamp_id = p.stamp_id
        )"
    )
}

/// Retires an owner of one's own and waits for the inserts that are under way. Returns the owner with its mark.
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
        .run(LIMIT, |session| Box::pin(async move { retired(session.query_opt(&sql, &[&owner]).await?) }))
        .await
}

/// Retires an owner that was silent for so long, if there is one that nobody else is retiring and that is none of
/// `except`: a process is slow sometimes, and its own owners are not silent to itself. If there is none, puts an owner
/// back, retired, that is gone although events of stamps that have left are not known to be published: an older binary
/// does not look for those, and a stamp may leave while its owner goes.
///
/// # Errors
/// If the database can't be reached.
pub async fn retire_silent(
    database: &Database,
    silence: Duration,
    except: &[i64],
) -> Result<Option<RetiredOwner>, DatabaseError> {
    // The owners of left events are few, and each is found by one step in the index.
    let sql = format!(
        "
        WITH RECURSIVE silent AS MATERIALIZED (
            SELECT id FROM intake_owners
            WHERE seen_at < clock_timestamp() - make_interval(secs => $1) AND id <> ALL($2::int8[]) AND {DURABLE}
            ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1
        ), retired AS (
            UPDATE intake_owners o SET retired = true, seen_at = clock_timestamp()
            FROM silent WHERE o.id = silent.id
            -- An older binary reads no left events, and raises the mark above them.
            RETURNING o.id, least(o.published_through, (
                SELECT min(l.seq) - 1 FROM left_events l WHERE l.owner = o.id AND l.published_at IS NULL
            )) AS published_through
        ), leaver (owner) AS (
            SELECT min(owner) FROM left_events WHERE published_at IS NULL
            UNION ALL
            SELECT (SELECT min(l.owner) FROM left_events l WHERE l.published_at IS NULL AND l.owner > leaver.owner)
            FROM leaver WHERE leaver.owner IS NOT NULL
        ), gone AS (
            SELECT l.owner, (
                SELECT min(e.seq) - 1 FROM left_events e WHERE e.owner = l.owner AND e.published_at IS NULL
            ) AS mark
            FROM leaver l
            WHERE l.owner IS NOT NULL AND l.owner <> ALL($2::int8[])
              AND NOT EXISTS (SELECT FROM intake_owners o WHERE o.id = l.owner)
            LIMIT 1
        ), back AS (
            -- All that is pending of an owner that was forgotten is published.
            INSERT INTO intake_owners (id, retired, published_through) OVERRIDING SYSTEM VALUE
            SELECT g.owner, true, {} FROM gone g WHERE NOT EXISTS (SELECT FROM silent) AND {DURABLE}
            ON CONFLICT (id) DO NOTHING
            RETURNING id
        )
        SELECT id, published_through FROM retired
        UNION ALL SELECT b.id, g.mark FROM back b JOIN gone g ON g.owner = b.id",
        i64::MAX
    );
    let (seconds, except) = (silence.as_secs_f64(), except.to_vec());
    database
        .run(LIMIT, |session| {
            Box::pin(async move { retired(session.query_opt(&sql, &[&seconds, &except]).await?) })
        })
        .await
}

fn retired(row: Option<tokio_postgres::Row>) -> Result<Option<RetiredOwner>, DatabaseError> {
    row.map(|row| Ok(RetiredOwner { id: row.try_get(0)?, mark: row.try_get(1)? })).transpose()
}

/// Gives owners up at the end of a process, so that another takes what is left of their outboxes at once.
///
/// # Errors
/// If the database can't be reached.
pub async fn abandon(database: &Database, marks: &[(i64, i64)]) -> Result<(), DatabaseError> {
    let noted = note();
    let sql = format!(
        "
        WITH {noted}
        UPDATE intake_owners o
        SET seen_at = '-infinity', published_through = greatest(o.published_through, m.mark)
        FROM unnest($1::int8[], $2::int8[]) AS m (id, mark) WHERE o.id = m.id AND {DURABLE}"
    );
    let (owners, marks): (Vec<i64>, Vec<i64>) = marks.iter().copied().unzip();
    database
        .run(LIMIT, |session| {
            Box::pin(async move { session.execute(&sql, &[&owners, &marks]).await.map(drop) })
        })
        .await
}

/// Removes a retired owner once everything of its outbox is in Kafka, and notes that of the stamps that have left.
///
/// # Errors
/// If the database can't be reached.
pub async fn forget(database: &Database, owner: i64) -> Result<(), DatabaseError> {
    let note = format!(
        "
        UPDATE left_events l SET published_at = clock_timestamp()
        FROM (SELECT stamp_id FROM left_events WHERE owner = $1 AND published_at IS NULL LIMIT {NOTED}) AS published
        WHERE l.stamp_id = published.stamp_id AND {DURABLE}"
    );
    let forget = format!("DELETE FROM intake_owners WHERE id = $1 AND retired AND {DURABLE}");
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                while session.execute(&note, &[&owner]).await? > 0 {}
                session.execute(&forget, &[&owner]).await.map(drop)
            })
        })
        .await
}

/// Reads what an owner has in its outbox above a number, in order of the numbers: of stamps that are pending and above
/// the owner's mark, and of those that have left and whose events are not known to be published.
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
        SELECT p.seq, s.object_cid, s.time_tolerance, s.created_date, p.traceparent
        FROM (
            (SELECT stamp_id, seq, traceparent FROM pending_stamps
             WHERE owner = $1 AND seq > greatest($2, (SELECT published_through FROM intake_owners WHERE id = $1))
             ORDER BY seq LIMIT $3)
            UNION ALL
            (SELECT stamp_id, seq, traceparent FROM left_events
             WHERE owner = $1 AND seq > $2 AND published_at IS NULL ORDER BY seq LIMIT $3)
        ) AS p JOIN stamps s ON s.id = p.stamp_id
        ORDER BY p.seq LIMIT $3";
    let rows = database
        .run(LIMIT, |session| {
            Box::pin(async move {
                let rows = session.query(SQL, &[&owner, &above, &limit]).await?;
                rows.iter().map(numbered).collect::<Result<Vec<_>, DatabaseError>>()
            })
        })
        .await?;
    Ok(rows.into_iter().flatten().collect())
}

fn numbered(row: &tokio_postgres::Row) -> Result<Option<Numbered>, DatabaseError> {
    let (number, trace) = (row.try_get(0)?, row.try_get::<_, Option<&str>>(4)?);
    let trace = trace.and_then(|text| TraceContext::parse(text.as_bytes()));
    let stamp = stamp(row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    Ok(stamp.map(|stamp| Numbered { number, stamp: stamp.with_trace(trace) }))
}

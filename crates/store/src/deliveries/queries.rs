//! Looking at deliveries, trying them again and giving them up.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::delivery::Sink;
use tokio_postgres::Row;

use crate::database::Database;
use crate::durable::DURABLE;
use crate::error::DatabaseError;

const LIMIT: Duration = Duration::from_secs(20);

/// What has become of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// Some part waits for a try, and none is given up.
    Waiting,
    /// The receiver has all parts.
    Delivered,
    /// Some part is given up.
    Failed,
}

impl DeliveryState {
    /// All states, by their words.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Delivered, Self::Failed];

    /// Returns the word for the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

/// The delivery of a batch, or one part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Id of the batch.
    pub batch: i64,
    /// How many parts the batch is told in, one as long as nobody knows better.
    pub parts: i32,
    /// Where the batch is told.
    pub sink: String,
    /// What has become of it.
    pub state: DeliveryState,
    /// How many tries are noted, of the part that has most.
    pub attempts: i32,
    /// When the next part may be tried.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When the receiver had all parts.
    pub delivered_at: Option<DateTime<Utc>>,
    /// What went wrong last, of the part that is worst off.
    pub last_error: Option<String>,
}

/// The columns of a [`Delivery`], of rows of `deliveries d` that are grouped by batch.
const SUMMARY: &str = "
    d.batch_id, coalesce(max(d.parts), 1), min(d.sink),
    CASE WHEN bool_or(d.next_attempt_at IS NULL AND d.delivered_at IS NULL) THEN 'failed'
        WHEN bool_or(d.delivered_at IS NULL) THEN 'waiting' ELSE 'delivered' END AS state,
    max(d.attempts), min(d.next_attempt_at),
    CASE WHEN bool_and(d.delivered_at IS NOT NULL) THEN max(d.delivered_at) END,
    (array_agg(d.last_error ORDER BY d.delivered_at IS NULL DESC, d.next_attempt_at NULLS FIRST, d.part)
        FILTER (WHERE d.last_error IS NOT NULL))[1]";

fn delivery(row: &Row) -> Result<Delivery, DatabaseError> {
    let word: &str = row.try_get(3)?;
    let state = DeliveryState::ALL.into_iter().find(|state| state.as_str() == word);
    Ok(Delivery {
        batch: row.try_get(0)?,
        parts: row.try_get(1)?,
        sink: row.try_get(2)?,
        state: state.unwrap_or(DeliveryState::Waiting),
        attempts: row.try_get(4)?,
        next_attempt_at: row.try_get(5)?,
        delivered_at: row.try_get(6)?,
        last_error: row.try_get(7)?,
    })
}

/// Returns the deliveries of batches; a batch that was made while no sink was set has none.
///
/// # Errors
/// If the database can't be asked.
pub async fn of(database: &Database, batches: &[i64]) -> Result<Vec<Delivery>, DatabaseError> {
    let sql =
        format!("SELECT {SUMMARY} FROM deliveries d WHERE d.batch_id = ANY ($1::int8[]) GROUP BY d.batch_id");
    let batches = batches.to_vec();
    database
        .ask(|session| {
            Box::pin(async move { session.query(&sql, &[&batches]).await?.iter().map(delivery).collect() })
        })
        .await
}

/// Returns each part of a batch's delivery, in their order.
///
/// # Errors
/// If the database can't be asked.
pub async fn parts(database: &Database, batch: i64) -> Result<Vec<Delivery>, DatabaseError> {
    let sql = format!(
        "SELECT {SUMMARY} FROM deliveries d WHERE d.batch_id = $1 GROUP BY d.batch_id, d.part ORDER BY d.part"
    );
    database
        .run(LIMIT, |session| {
            Box::pin(async move { session.query(&sql, &[&batch]).await?.iter().map(delivery).collect() })
        })
        .await
}

/// Returns up to `limit` deliveries, the newest batches first, of one state if one is named.
///
/// # Errors
/// If the database can't be asked.
pub async fn list(
    database: &Database,
    state: Option<DeliveryState>,
    limit: i64,
) -> Result<Vec<Delivery>, DatabaseError> {
    let filter = match state {
        None => "true",
        Some(DeliveryState::Waiting) => "f.next_attempt_at IS NOT NULL",
        Some(DeliveryState::Failed) => "f.next_attempt_at IS NULL AND f.delivered_at IS NULL",
        Some(DeliveryState::Delivered) => "f.delivered_at IS NOT NULL",
    };
    let state = state.map_or("", DeliveryState::as_str);
    let sql = format!(
        "SELECT summary.* FROM (
            SELECT DISTINCT f.batch_id FROM deliveries f WHERE {filter} ORDER BY f.batch_id DESC
        ) AS named CROSS JOIN LATERAL (
            SELECT {SUMMARY} FROM deliveries d WHERE d.batch_id = named.batch_id GROUP BY d.batch_id
        ) AS summary
        WHERE $2 IN ('', summary.state) LIMIT $1"
    );
    database
        .run(LIMIT, |session| {
            Box::pin(
                async move { session.query(&sql, &[&limit, &state]).await?.iter().map(delivery).collect() },
            )
        })
        .await
}

/// Which deliveries are told again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Again {
    /// Those of these batches, which get one if they have none.
    Batches(Vec<i64>),
    /// All that are given up.
    Failed,
    /// Those of all batches made since then, which get one if they have none.
    Since(DateTime<Utc>),
}

/// Lets deliveries be told again: the failed parts of a failed one, all parts of a delivered one. What waits is left as it
/// is. Returns the batches concerned, up to `limit` of them that come after the batch `after`; with `dry_run` nothing is
/// changed.
///
/// # Errors
/// Whatever the database says.
pub async fn retry(
    database: &Database,
    again: &Again,
    sink: Option<Sink>,
    after: i64,
    limit: i64,
    dry_run: bool,
) -> Result<Vec<i64>, DatabaseError> {
    let sql = retry_statement(again);
    let (batches, since) = match again {
        Again::Batches(batches) => (batches.clone(), DateTime::UNIX_EPOCH),
        Again::Failed => (Vec::new(), DateTime::UNIX_EPOCH),
        Again::Since(since) => (Vec::new(), *since),
    };
    let sink = sink.map_or("", Sink::as_str);
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                let rows = session.query(&sql, &[&batches, &since, &after, &limit, &sink, &dry_run]).await?;
                rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
            })
        })
        .await
}

/// Returns the statement of [`retry`]: batches, a time, the batch before, a limit, the sink of new deliveries, whether it is a
/// dry run.
fn retry_statement(again: &Again) -> String {
    let named = match again {
        Again::Batches(_) => "b.id = ANY ($1::int8[])",
        Again::Failed => {
            "EXISTS (
            SELECT FROM deliveries f
            WHERE f.batch_id = b.id AND f.next_attempt_at IS NULL AND f.delivered_at IS NULL)"
        }
        Again::Since(_) => "b.processed_at >= $2",
    };
    format!(
        "
        WITH named AS MATERIALIZED (
            SELECT b.id FROM batches b
            WHERE b.id > $3 AND {named} AND cardinality($1::int8[]) >= 0 AND $2::timestamptz IS NOT NULL
              AND ($5::text <> '' OR EXISTS (SELECT FROM deliveries e WHERE e.batch_id = b.id))
              AND NOT EXISTS (SELECT FROM deliveries w WHERE w.batch_id = b.id AND w.next_attempt_at IS NOT NULL
                AND NOT EXISTS (SELECT FROM deliveries f WHERE f.batch_id = b.id
                    AND f.next_attempt_at IS NULL AND f.delivered_at IS NULL))
            ORDER BY b.id LIMIT $4
        ), locked AS MATERIALIZED (
            SELECT d.batch_id, d.part, d.delivered_at FROM deliveries d
            WHERE d.batch_id = ANY (ARRAY(SELECT id FROM named)) AND NOT $6 AND {DURABLE}
            ORDER BY d.batch_id, d.part FOR UPDATE
        ), told AS (
            UPDATE deliveries d
            SET claims = d.claims + 1, attempts = 0, first_attempt_at = NULL, next_attempt_at = clock_timestamp(),
                delivered_at = NULL
            FROM locked l
            WHERE d.batch_id = l.batch_id AND d.part = l.part AND d.next_attempt_at IS NULL
              AND (l.delivered_at IS NULL OR NOT EXISTS (
                SELECT FROM locked other WHERE other.batch_id = l.batch_id AND other.delivered_at IS NULL))
        ), new AS (
            INSERT INTO deliveries (batch_id, sink, next_attempt_at)
            SELECT n.id, $5, clock_timestamp() FROM named n
            WHERE NOT $6 AND NOT EXISTS (SELECT FROM deliveries d WHERE d.batch_id = n.id) AND {DURABLE}
            ORDER BY n.id
            ON CONFLICT (batch_id, part) DO NOTHING
        )
        SELECT id FROM named ORDER BY id"
    )
}

/// Returns the first of these batches that does not exist or, unless there is a sink, has no delivery, and whether it exists.
///
/// # Errors
/// If the database can't be asked.
pub async fn not_retryable(
    database: &Database,
    batches: &[i64],
    sink: Option<Sink>,
) -> Result<Option<(i64, bool)>, DatabaseError> {
    const SQL: &str = "
        SELECT n.id, n.is_there
        FROM unnest($1::int8[]) WITH ORDINALITY AS i (id, ordinal)
        CROSS JOIN LATERAL (SELECT i.id, EXISTS (SELECT FROM batches b WHERE b.id = i.id) AS is_there) AS n
        WHERE NOT n.is_there OR (NOT $2 AND NOT EXISTS (SELECT FROM deliveries d WHERE d.batch_id = n.id))
        ORDER BY i.ordinal LIMIT 1";
    let (batches, has_sink) = (batches.to_vec(), sink.is_some());
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                let row = session.query_opt(SQL, &[&batches, &has_sink]).await?;
                row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
            })
        })
        .await
}

/// Returns how many parts wait for a sink, of batches made before a time if one is named.
///
/// # Errors
/// If the database can't be asked.
pub async fn waiting(
    database: &Database,
    sink: Sink,
    before: Option<DateTime<Utc>>,
) -> Result<usize, DatabaseError> {
    count(database, format!("SELECT count(*) FROM ({WAITING}) AS waiting"), sink, before).await
}

/// Gives up what waits for a sink, up to `limit` parts at once, of batches made before a time if one is named. Returns how
/// many parts.
///
/// # Errors
/// Whatever the database says.
pub async fn fail(
    database: &Database,
    sink: Sink,
    before: Option<DateTime<Utc>>,
    limit: usize,
) -> Result<usize, DatabaseError> {
    let sql = format!(
        "
        WITH waiting AS MATERIALIZED (
            {WAITING} AND {DURABLE} ORDER BY d.batch_id, d.part LIMIT {limit} FOR UPDATE OF d
        ), failed AS (
            UPDATE deliveries d
            SET next_attempt_at = NULL, claims = d.claims + 1, last_error = 'given up by an operator'
            FROM waiting w WHERE d.batch_id = w.batch_id AND d.part = w.part
            RETURNING d.part
        )
        SELECT count(*) FROM failed"
    );
    count(database, sql, sink, before).await
}

const WAITING: &str = "
    SELECT d.batch_id, d.part FROM deliveries d
    CROSS JOIN LATERAL (SELECT processed_at FROM batches WHERE id = d.batch_id OFFSET 0) AS b
    WHERE d.sink = $1 AND d.next_attempt_at IS NOT NULL AND b.processed_at < $2";

async fn count(
    database: &Database,
    sql: String,
    sink: Sink,
    before: Option<DateTime<Utc>>,
) -> Result<usize, DatabaseError> {
    // Later than any batch: the last date that RFC 3339 knows.
    let before = before.or_else(|| DateTime::from_timestamp(253_402_300_799, 0)).unwrap_or_default();
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                let count: i64 = session.query_one(&sql, &[&sink.as_str(), &before]).await?.try_get(0)?;
                Ok(count as usize)
            })
        })
        .await
}

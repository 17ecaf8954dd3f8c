//! What is told of batches, as it is committed: the same whoever reads it.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::result::Error::NotFound;
use domain::batch::policy::Trigger;
use domain::delivery::PartId;
use domain::delivery::courier::Held;
use domain::delivery::cut::Cutter;
use domain::stamp::Stamp;
use tokio_postgres::Row;

use crate::connection::Session;
use crate::database::Database;
use crate::durable::DURABLE;
use crate::error::DatabaseError;
use crate::stamps::processing::trigger_of;
use crate::stamps::row::stamp;

const LIMIT: Duration = Duration::from_secs(5);
/// A batch of more stamps than these is read page by page before it is told.
pub const PAGE: usize = 10_000;

/// A part as it is told.
#[derive(Debug, Clone)]
pub struct PartContent {
    /// Which part.
    pub id: PartId,
    /// How many parts the batch has; `None` where nobody has told it or cut it yet.
    pub parts: Option<i32>,
    /// Why the batch left.
    pub trigger: Trigger,
    /// How many stamps the whole batch holds.
    pub size: usize,
    /// When the batch was committed.
    pub processed_at: DateTime<Utc>,
    /// The stamps of the part, in the order of their internal ids.
    pub stamps: Vec<Stamp>,
}

/// Returns the parts that are still in this hand, with their stamps. A part that is missing in the answer is in another
/// hand, or its batch is gone.
///
/// # Errors
/// Whatever the database says.
pub async fn read(database: &Database, held: &[Held]) -> Result<Vec<PartContent>, DatabaseError> {
    const PARTS: &str = "
        SELECT d.batch_id, d.part, d.parts, coalesce(before.through, 0),
            coalesce(d.through, b.size) - coalesce(before.through, 0), b.trigger, b.size, b.processed_at
        FROM unnest($1::int8[], $2::int4[], $3::int4[]) AS i (batch_id, part, claim)
        CROSS JOIN LATERAL (
            SELECT * FROM deliveries d WHERE d.batch_id = i.batch_id AND d.part = i.part OFFSET 0
        ) AS d
        CROSS JOIN LATERAL (SELECT * FROM batches WHERE id = i.batch_id OFFSET 0) AS b
        LEFT JOIN LATERAL (
            SELECT e.through FROM deliveries e WHERE e.batch_id = i.batch_id AND e.part = i.part - 1 OFFSET 0
        ) AS before ON true
        WHERE d.claims = i.claim AND d.delivered_at IS NULL";
    let batches: Vec<i64> = held.iter().map(|held| held.id.batch).collect();
    let parts: Vec<i32> = held.iter().map(|held| held.id.part).collect();
    let claims: Vec<i32> = held.iter().map(|held| held.claim).collect();
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                let (mut contents, mut ranges) = (HashMap::new(), Ranges::default());
                for row in session.query(PARTS, &[&batches, &parts, &claims]).await? {
                    let id = PartId { batch: row.try_get(0)?, part: row.try_get(1)? };
                    ranges.push(id, row.try_get(3)?, row.try_get(4)?);
                    let (trigger, size): (&str, i32) = (row.try_get(5)?, row.try_get(6)?);
                    let content = PartContent {
                        id,
                        parts: row.try_get(2)?,
                        trigger: trigger_of(trigger),
                        size: size as usize,
                        processed_at: row.try_get(7)?,
                        stamps: Vec::new(),
                    };
                    contents.insert(id, content);
                }
                for (id, stamp) in ranges.stamps(session).await? {
                    if let Some(content) = contents.get_mut(&id) {
                        content.stamps.push(stamp);
                    }
                }
                Ok(contents.into_values().collect())
            })
        })
        .await
}

/// Ranges of stamps within batches, column by column.
#[derive(Default)]
struct Ranges {
    ids: Vec<PartId>,
    batches: Vec<i64>,
    /// How many stamps come before the range.
    skipped: Vec<i32>,
    counts: Vec<i32>,
}

impl Ranges {
    fn push(&mut self, id: PartId, skipped: i32, count: i32) {
        self.ids.push(id);
        self.batches.push(id.batch);
        self.skipped.push(skipped);
        self.counts.push(count);
    }

    /// Reads the stamps of each range, in the order of their internal ids.
    async fn stamps(&self, session: &Session) -> Result<Vec<(PartId, Stamp)>, DatabaseError> {
        // The stamps of a batch are found by the batch, never by walking along all ids: that is what `OFFSET 0` is for.
        const SQL: &str = "
            SELECT i.ordinal, m.object_cid, m.time_tolerance, m.created_date
            FROM unnest($1::int8[], $2::int4[], $3::int4[]) WITH ORDINALITY AS i (batch_id, skipped, count, ordinal)
            CROSS JOIN LATERAL (
                SELECT * FROM (
                    SELECT s.id AS stamp_id, s.object_cid, s.time_tolerance, s.created_date
                    FROM stamps s WHERE s.batch_id = i.batch_id
                    UNION ALL
                    SELECT s.id, s.object_cid, coalesce(p.time_tolerance, s.time_tolerance),
                        coalesce(p.created_date, s.created_date)
                    FROM processed_stamps p
                    CROSS JOIN LATERAL (SELECT * FROM stamps WHERE id = p.stamp_id OFFSET 0) AS s
                    WHERE p.batch_id = i.batch_id
                    OFFSET 0
                ) AS batch
                ORDER BY stamp_id OFFSET i.skipped LIMIT i.count
            ) AS m";
        let rows = session.query(SQL, &[&self.batches, &self.skipped, &self.counts]).await?;
        let stamp = |row: &Row| {
            let ordinal: i64 = row.try_get(0)?;
            let stamp = stamp(row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
            Ok((self.ids[ordinal as usize - 1], stamp.ok_or(NotFound)?))
        };
        rows.iter().map(stamp).collect()
    }
}

/// Returns where a batch is to be cut, which is read page by page: how many stamps are told with each part and those before
/// it.
///
/// # Errors
/// Whatever the database says.
pub async fn ends(database: &Database, held: Held) -> Result<Vec<i32>, DatabaseError> {
    let mut cutter = Cutter::default();
    for skipped in (0..held.size).step_by(PAGE) {
        for stamp in page(database, held.id, skipped as i32).await? {
            cutter.add(&stamp);
        }
    }
    Ok(cutter.ends())
}

async fn page(database: &Database, id: PartId, skipped: i32) -> Result<Vec<Stamp>, DatabaseError> {
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                let mut range = Ranges::default();
                range.push(id, skipped, PAGE as i32);
                Ok(range.stamps(session).await?.into_iter().map(|(_, stamp)| stamp).collect())
            })
        })
        .await
}

/// Stores where a batch is cut, unless it is cut already or somebody else has it in hand. Returns the parts, all of them in
/// this hand.
///
/// # Errors
/// Whatever the database says.
pub async fn cut(database: &Database, held: Held, ends: &[i32]) -> Result<Vec<Held>, DatabaseError> {
    let sql = format!(
        "
        WITH uncut AS MATERIALIZED (
            SELECT * FROM deliveries
            WHERE batch_id = $1 AND part = 1 AND parts IS NULL AND claims = $2 AND {DURABLE} FOR UPDATE
        ), first AS (
            UPDATE deliveries d SET parts = cardinality($3::int4[]), through = ($3::int4[])[1]
            FROM uncut u WHERE d.batch_id = u.batch_id AND d.part = 1
            RETURNING d.part
        ), others AS (
            INSERT INTO deliveries (batch_id, part, parts, through, sink, claims, next_attempt_at)
            SELECT u.batch_id, i.part, cardinality($3::int4[]), i.through, u.sink, u.claims, u.next_attempt_at
            FROM uncut u CROSS JOIN unnest($3::int4[]) WITH ORDINALITY AS i (through, part)
            WHERE i.part > 1 AND {DURABLE} ORDER BY i.part
            RETURNING part
        )
        SELECT part FROM first UNION ALL SELECT part FROM others ORDER BY part"
    );
    let ends = ends.to_vec();
    database
        .run(LIMIT, |session| {
            Box::pin(async move {
                let rows = session.query(&sql, &[&held.id.batch, &held.claim, &ends]).await?;
                let part = |row: &Row| Ok(Held { id: PartId { part: row.try_get(0)?, ..held.id }, ..held });
                rows.iter().map(part).collect()
            })
        })
        .await
}

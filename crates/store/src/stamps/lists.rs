//! Lists of stamps, page by page.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;

use super::states::StampState;
use crate::database::Database;
use crate::error::DatabaseError;

/// Which stamps a list has, and in what order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StampList {
    /// All stamps, those first that were stored last.
    All,
    /// The pending ones, those first that were stored last.
    Pending,
    /// The processed ones, those first that were processed last.
    Processed,
    /// The ones of a batch, in the order in which they were stored.
    OfBatch(i64),
}

/// Where a stamp stands in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Id of the batch in a list of processed stamps, else 0.
    pub batch: i64,
    /// Internal id of the stamp.
    pub stamp: i64,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StampPage {
    /// The stamps.
    pub stamps: Vec<StampState>,
    /// Where the last of them stands, if the list goes on.
    pub next: Option<Place>,
}

/// A row of an answer.
#[derive(QueryableByName)]
struct Listed {
    #[diesel(sql_type = BigInt)]
    place_batch: i64,
    #[diesel(sql_type = BigInt)]
    place_stamp: i64,
    #[diesel(embed)]
    state: StampState,
}

impl StampList {
    /// Returns the statement that finds at most `$4` stamps by an index: `batch_id` and `stamp_id` after the place `$1`,
    /// `$2` of the batch `$3`; and how they are sorted.
    fn statement(self) -> (&'static str, &'static str) {
        const NEWEST: &str = "n.batch_id DESC, n.stamp_id DESC";
        match self {
            Self::All => (
                "SELECT 0::bigint AS batch_id, id AS stamp_id FROM stamps
                 WHERE $1 >= 0 AND id < $2 AND $3 >= 0 ORDER BY id DESC LIMIT $4",
                NEWEST,
            ),
            Self::Pending => (
                "SELECT 0::bigint AS batch_id, stamp_id FROM pending_stamps
                 WHERE $1 >= 0 AND stamp_id < $2 AND $3 >= 0 ORDER BY stamp_id DESC LIMIT $4",
                NEWEST,
            ),
            Self::Processed => (
                "SELECT * FROM (
                    (SELECT batch_id, stamp_id FROM processed_stamps
                     WHERE $3 >= 0 AND (batch_id, stamp_id) < ($1, $2)
                     ORDER BY batch_id DESC, stamp_id DESC LIMIT $4)
                    UNION ALL
                    (SELECT batch_id, id FROM stamps
                     WHERE batch_id IS NOT NULL AND (batch_id, id) < ($1, $2)
                     ORDER BY batch_id DESC, id DESC LIMIT $4)
                 ) AS both_kinds ORDER BY batch_id DESC, stamp_id DESC LIMIT $4",
                NEWEST,
            ),
            Self::OfBatch(_) => (
                "SELECT * FROM (
                    SELECT 0::bigint AS batch_id, stamp_id FROM processed_stamps WHERE batch_id = $3
                    UNION ALL
                    SELECT 0, id FROM stamps WHERE batch_id = $3
                    OFFSET 0
                 ) AS members WHERE $1 >= 0 AND stamp_id > $2 ORDER BY stamp_id LIMIT $4",
                "n.stamp_id",
            ),
        }
    }

    /// Returns the place before the first one.
    fn beginning(self) -> Place {
        match self {
            Self::OfBatch(_) => Place { batch: 0, stamp: 0 },
            Self::All | Self::Pending | Self::Processed => Place { batch: i64::MAX, stamp: i64::MAX },
        }
    }
}

/// Returns at most `limit` stamps of a list, those after a place if one is named.
///
/// The stamps of a page are found by an index; those of a batch are sorted for each page.
///
/// # Errors
/// If the database can't be asked.
pub async fn page(
    database: &Database,
    list: StampList,
    after: Option<Place>,
    limit: i64,
) -> Result<StampPage, DatabaseError> {
    let (named, order) = list.statement();
    let Place { batch, stamp } = after.unwrap_or_else(|| list.beginning());
    let of = if let StampList::OfBatch(batch) = list { batch } else { 0 };
    let sql = format!(
        "WITH named AS MATERIALIZED ({named})
         SELECT n.batch_id AS place_batch, n.stamp_id AS place_stamp, v.*
         FROM named n
         CROSS JOIN LATERAL (SELECT object_cid FROM stamps WHERE id = n.stamp_id OFFSET 0) AS s
         CROSS JOIN LATERAL (SELECT * FROM stamp_states WHERE object_cid = s.object_cid OFFSET 0) AS v
         ORDER BY {order}"
    );
    database
        .ask(|session| {
            Box::pin(async move {
                let query = sql_query(sql).bind::<BigInt, _>(batch).bind::<BigInt, _>(stamp);
                // One more than is shown tells whether the list goes on.
                let query = query.bind::<BigInt, _>(of).bind::<BigInt, _>(limit + 1);
                let mut rows: Vec<Listed> = query.load(session).await?;
                let goes_on = rows.len() > limit as usize;
                rows.truncate(limit as usize);
                let last = rows.last().map(|row| Place { batch: row.place_batch, stamp: row.place_stamp });
                let stamps = rows.into_iter().map(|row| row.state).collect();
                Ok(StampPage { stamps, next: last.filter(|_| goes_on) })
            })
        })
        .await
}

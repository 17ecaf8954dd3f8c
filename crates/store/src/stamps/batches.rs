//! Reading batches.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::states::StampState;
use crate::database::Database;
use crate::error::DatabaseError;
use crate::schema::{batches, stamp_states};

/// A row of `batches`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = batches)]
pub struct BatchRow {
    /// Id of the batch.
    pub id: i64,
    /// Why the batch left.
    pub trigger: String,
    /// How many stamps the batch holds.
    pub size: i32,
    /// Name of the instance that made the batch.
    pub listener: String,
    /// When the batch was committed.
    pub processed_at: DateTime<Utc>,
}

/// Returns one batch with up to `limit` of its stamps, due ones first, `None` where there is no such batch. Of more
/// stamps than that it is not said which ones: to find the first ones all would have to be read.
///
/// # Errors
/// If the database can't be asked.
pub async fn find(
    database: &Database,
    id: i64,
    limit: i64,
) -> Result<Option<(BatchRow, Vec<StampState>)>, DatabaseError> {
    database
        .ask(|session| {
            Box::pin(async move {
                let batch =
                    batches::table.find(id).select(BatchRow::as_select()).first(session).await.optional()?;
                let Some(batch) = batch else { return Ok(None) };
                let stamps = stamp_states::table.filter(stamp_states::batch_id.eq(id)).limit(limit);
                let mut stamps: Vec<StampState> =
                    stamps.select(StampState::as_select()).load(session).await?;
                stamps.sort_by(|one, other| {
                    (one.process_after, &one.object_cid).cmp(&(other.process_after, &other.object_cid))
                });
                Ok(Some((batch, stamps)))
            })
        })
        .await
}

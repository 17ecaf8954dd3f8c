//! Reading batches.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use crate::database::Database;
use crate::error::DatabaseError;
use crate::schema::batches;

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

/// Returns one batch, `None` where there is no such batch.
///
/// # Errors
/// If the database can't be asked.
pub async fn find(database: &Database, id: i64) -> Result<Option<BatchRow>, DatabaseError> {
    database
        .ask(|session| {
            Box::pin(async move {
                let found = batches::table.find(id).select(BatchRow::as_select()).first(session).await;
                Ok(found.optional()?)
            })
        })
        .await
}

/// Returns at most `limit` batches, those first that were made last, of those with lower ids than `before` if that is named;
/// and whether there are more.
///
/// # Errors
/// If the database can't be asked.
pub async fn list(
    database: &Database,
    before: Option<i64>,
    limit: i64,
) -> Result<(Vec<BatchRow>, bool), DatabaseError> {
    database
        .ask(move |session| {
            Box::pin(async move {
                let mut rows: Vec<BatchRow> = batches::table
                    .filter(batches::id.lt(before.unwrap_or(i64::MAX)))
                    .order(batches::id.desc())
                    // One more than is shown tells whether there are more.
                    .limit(limit + 1)
                    .select(BatchRow::as_select())
                    .load(session)
                    .await?;
                let are_more = rows.len() > limit as usize;
                rows.truncate(limit as usize);
                Ok((rows, are_more))
            })
        })
        .await
}

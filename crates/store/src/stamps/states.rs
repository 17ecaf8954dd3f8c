//! Reading the states of stamps.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use crate::database::Database;
use crate::error::DatabaseError;
use crate::schema::stamp_states;

/// A row of the view `stamp_states`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = stamp_states)]
pub struct StampState {
    /// The stamp's id.
    pub object_cid: String,
    /// Minutes.
    pub time_tolerance: i32,
    /// When the sender says it was made.
    pub created_date: DateTime<Utc>,
    /// When it is due.
    pub process_after: DateTime<Utc>,
    /// `pending` or `processed`.
    pub state: String,
    /// The batch, once there is one.
    pub batch_id: Option<i64>,
    /// Why the batch left.
    pub trigger: Option<String>,
    /// When the batch was committed.
    pub processed_at: Option<DateTime<Utc>>,
    /// Where the event was read.
    pub kafka_topic: Option<String>,
    /// The same.
    pub kafka_partition: Option<i32>,
    /// The same.
    pub kafka_offset: Option<i64>,
    /// How many stamps the batch holds.
    pub batch_size: Option<i32>,
}

/// Returns the state of one stamp, `None` where there is no such stamp.
///
/// # Errors
/// If the database can't be asked.
pub async fn find(database: &Database, object_cid: &str) -> Result<Option<StampState>, DatabaseError> {
    let object_cid = object_cid.to_owned();
    database
        .ask(|connection| {
            Box::pin(async move {
                stamp_states::table
                    .find(object_cid)
                    .select(StampState::as_select())
                    .first(connection)
                    .await
                    .optional()
            })
        })
        .await
}

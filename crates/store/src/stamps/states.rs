//! Reading the states of stamps.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use crate::database::Database;
use crate::error::DatabaseError;
use crate::schema::stamp_states;

/// A row of the view `stamp_states`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, QueryableByName, Selectable)]
#[diesel(table_name = stamp_states)]
pub struct StampState {
    /// Id of the stamp (`object_cid`).
    pub object_cid: String,
    /// Tolerance of the stamp in minutes.
    pub time_tolerance: i32,
    /// When the stamp was made, as its sender says.
    pub created_date: DateTime<Utc>,
    /// When the stamp is due.
    pub process_after: DateTime<Utc>,
    /// State of the stamp: `pending` or `processed`.
    pub state: String,
    /// Id of the batch, once there is one.
    pub batch_id: Option<i64>,
    /// Why the batch left, once there is one.
    pub trigger: Option<String>,
    /// When the batch was committed, once there is one.
    pub processed_at: Option<DateTime<Utc>>,
    /// Topic of the event, if the listener has read it.
    pub kafka_topic: Option<String>,
    /// Partition of the event, if the listener has read it.
    pub kafka_partition: Option<i32>,
    /// Offset of the event in its partition, if the listener has read it.
    pub kafka_offset: Option<i64>,
    /// How many stamps the batch holds, once there is one.
    pub batch_size: Option<i32>,
}

/// Returns the state of one stamp, `None` where there is no such stamp.
///
/// # Errors
/// If the database can't be asked.
pub async fn find(database: &Database, object_cid: &str) -> Result<Option<StampState>, DatabaseError> {
    let object_cid = object_cid.to_owned();
    database
        .ask(|session| {
            Box::pin(async move {
                let found =
                    stamp_states::table.find(object_cid).select(StampState::as_select()).first(session).await;
                Ok(found.optional()?)
            })
        })
        .await
}

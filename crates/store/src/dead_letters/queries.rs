//! What operators ask of dead letters, and how they clear them away.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Integer;
use diesel_async::RunQueryDsl;
use serde::Serialize;

use super::LIMIT;
use crate::database::Database;
use crate::durable::durable;
use crate::error::DatabaseError;
use crate::schema::dead_letters;

/// Which dead letters are meant; what is `None` or `false` does not narrow it.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only the dead letters with these ids.
    pub ids: Option<Vec<i64>>,
    /// Only the dead letters whose records were read from this topic.
    pub topic: Option<String>,
    /// Only the dead letters with this reason.
    pub reason: Option<String>,
    /// Only the dead letters that were stored then or later.
    pub since: Option<DateTime<Utc>>,
    /// Only the dead letters that were stored earlier.
    pub before: Option<DateTime<Utc>>,
    /// Only the dead letters that have come back from fewer replays than this.
    pub replays_below: Option<i32>,
    /// Only the dead letters that wait for a replay: none is under way, and none has succeeded.
    pub waiting: bool,
    /// Only the dead letters that were understood in the end.
    pub resolved: bool,
}

/// A dead letter without what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Queryable, Selectable)]
#[diesel(table_name = dead_letters)]
pub struct LetterSummary {
    /// Id of the dead letter.
    pub id: i64,
    /// Topic of the record.
    pub topic: String,
    /// Partition of the record.
    pub partition: i32,
    /// Offset of the record in its partition.
    pub offset: i64,
    /// Timestamp of the record in milliseconds since 1970; -1 if it has none.
    pub timestamp: i64,
    /// Code of the reason.
    pub reason: String,
    /// A sentence about the reason, for people.
    pub detail: String,
    /// When the dead letter was stored.
    pub received_at: DateTime<Utc>,
    /// How often the dead letter was replayed and not understood.
    pub replays: i32,
    /// When Kafka acknowledged a replay of the dead letter, while that is not decided.
    pub replayed_at: Option<DateTime<Utc>>,
    /// When the dead letter was understood in the end.
    pub resolved_at: Option<DateTime<Utc>>,
}

/// A dead letter with all it holds.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = dead_letters)]
pub struct WholeLetter {
    /// The dead letter without what it holds.
    #[diesel(embed)]
    pub summary: LetterSummary,
    /// Key of the record, if it has one.
    pub key: Option<Vec<u8>>,
    /// Value of the record, if it has one.
    pub value: Option<Vec<u8>>,
    /// Headers of the record, as [`DeadLetter::headers`](super::DeadLetter::headers) has them.
    pub headers: serde_json::Value,
}

impl Filter {
    fn query(self) -> dead_letters::BoxedQuery<'static, Pg> {
        use dead_letters::{id, reason, received_at, replayed_at, replays, resolved_at, topic};
        let mut query = dead_letters::table.into_boxed();
        if let Some(ids) = self.ids {
            query = query.filter(id.eq_any(ids));
        }
        if let Some(of) = self.topic {
            query = query.filter(topic.eq(of));
        }
        if let Some(with) = self.reason {
            query = query.filter(reason.eq(with));
        }
        if let Some(since) = self.since {
            query = query.filter(received_at.ge(since));
        }
        if let Some(before) = self.before {
            query = query.filter(received_at.lt(before));
        }
        if let Some(limit) = self.replays_below {
            query = query.filter(replays.lt(limit));
        }
        if self.waiting {
            query = query.filter(replayed_at.is_null()).filter(resolved_at.is_null());
        }
        if self.resolved {
            query = query.filter(resolved_at.is_not_null());
        }
        query
    }
}

/// Lists dead letters, the newest first.
///
/// # Errors
/// Whatever the database says.
pub async fn list(
    database: &Database,
    filter: Filter,
    limit: i64,
) -> Result<Vec<LetterSummary>, DatabaseError> {
    database
        .run(LIMIT, |session| {
            let query = filter.query().order(dead_letters::id.desc()).limit(limit);
            Box::pin(async move { Ok(query.select(LetterSummary::as_select()).load(session).await?) })
        })
        .await
}

/// Returns dead letters whole, the oldest first.
///
/// # Errors
/// Whatever the database says.
pub async fn load(database: &Database, filter: Filter) -> Result<Vec<WholeLetter>, DatabaseError> {
    database
        .run(LIMIT, |session| {
            let query = filter.query().order(dead_letters::id);
            Box::pin(async move { Ok(query.select(WholeLetter::as_select()).load(session).await?) })
        })
        .await
}

/// Returns the ids of dead letters and about how many bytes each takes, the oldest first.
///
/// # Errors
/// Whatever the database says.
pub async fn select(database: &Database, filter: Filter) -> Result<Vec<(i64, i32)>, DatabaseError> {
    database
        .run(LIMIT, |session| {
            let size = diesel::dsl::sql::<Integer>(
                "coalesce(octet_length(key), 0) + coalesce(octet_length(value), 0) + pg_column_size(headers)",
            );
            let query = filter.query().order(dead_letters::id).select((dead_letters::id, size));
            Box::pin(async move { Ok(query.load(session).await?) })
        })
        .await
}

/// Removes dead letters and returns how many there were.
///
/// # Errors
/// Whatever the database says.
pub async fn purge(database: &Database, filter: Filter) -> Result<usize, DatabaseError> {
    database
        .run(LIMIT, |session| {
            let ids = filter.query().select(dead_letters::id);
            let these = dead_letters::table.filter(dead_letters::id.eq_any(ids)).filter(durable());
            Box::pin(async move { Ok(diesel::delete(these).execute(session).await?) })
        })
        .await
}

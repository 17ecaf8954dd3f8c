//! What users do with their messages. A recipient that is not the message's finds nothing.

use chrono::{DateTime, Utc};
use diesel::dsl::{case_when, count_star, now};
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::rows::StoredMessage;
use crate::database::Database;
use crate::durable::durable;
use crate::error::DatabaseError;
use crate::schema::{messages, stored_messages};

/// The folder that a message lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folder {
    /// The messages that are active.
    Inbox,
    /// The messages that are not active.
    Trash,
}

/// How many messages a user has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many messages the user has in the inbox.
    pub inbox: i64,
    /// How many messages the user has in the trash.
    pub trash: i64,
}

/// What became of a message that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// The message is gone for good.
    Deleted,
    /// The message lies in the inbox, from where nothing is deleted.
    InInbox,
    /// The user has no such message.
    NotFound,
}

/// A part of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Messages of the folder, the newest first.
    pub messages: Vec<StoredMessage>,
    /// Whether there are older messages in the folder.
    pub is_more: bool,
}

/// The bytes that bodies of one page take at most, unless a single one is larger: other producers' messages may have a
/// megabyte each.
const PAGE_BYTES: usize = 8 << 20;

diesel::define_sql_function! {
    /// The length of a text in bytes of UTF-8; it is known without reading the text.
    fn octet_length(text: Text) -> Integer;
}

/// Lists at most `limit` messages of a folder, the newest first; after a page those whose `id` is below that of its
/// last. A page of large messages ends earlier.
///
/// # Errors
/// Whatever the database says.
pub async fn list(
    database: &Database,
    recipient: Uuid,
    folder: Folder,
    before_id: Option<i64>,
    limit: i64,
) -> Result<Page, DatabaseError> {
    let its = messages::recipient.eq(recipient).and(messages::is_active.eq(folder == Folder::Inbox));
    database
        .ask(move |session| {
            Box::pin(async move {
                let sizes: Vec<(i64, i32)> = messages::table
                    .filter(its.and(messages::id.lt(before_id.unwrap_or(i64::MAX))))
                    .order(messages::id.desc())
                    // One more than is shown tells whether there are more.
                    .limit(limit + 1)
                    .select((messages::id, octet_length(messages::body)))
                    .load(session)
                    .await?;
                let (ids, is_more) = fitting(&sizes, limit as usize);
                let messages = messages::table
                    .filter(its.and(messages::id.eq_any(ids)))
                    .order(messages::id.desc())
                    .select(StoredMessage::as_select())
                    .load(session)
                    .await?;
                Ok(Page { messages, is_more })
            })
        })
        .await
}

/// Returns the first of these ids whose messages fit on a page together, one at least, and whether some are left.
fn fitting(sizes: &[(i64, i32)], limit: usize) -> (Vec<i64>, bool) {
    let mut bytes = 0;
    let fits = |(_, size): &&(i64, i32)| {
        let is_first = bytes == 0;
        bytes += 1 + usize::try_from(*size).unwrap_or_default();
        is_first || bytes <= PAGE_BYTES
    };
    let ids: Vec<i64> = sizes.iter().take(limit).take_while(fits).map(|(id, _)| *id).collect();
    let is_more = ids.len() < sizes.len();
    (ids, is_more)
}

/// Returns one message of a user.
///
/// # Errors
/// Whatever the database says.
pub async fn find(
    database: &Database,
    recipient: Uuid,
    uuid: Uuid,
) -> Result<Option<StoredMessage>, DatabaseError> {
    database
        .ask(|session| {
            Box::pin(async move {
                let found = messages::table
                    .filter(messages::recipient.eq(recipient).and(messages::uuid.eq(uuid)))
                    .select(StoredMessage::as_select())
                    .first(session)
                    .await;
                Ok(found.optional()?)
            })
        })
        .await
}

/// Counts a user's messages.
///
/// # Errors
/// Whatever the database says.
pub async fn counts(database: &Database, recipient: Uuid) -> Result<Counts, DatabaseError> {
    database
        .ask(|session| {
            Box::pin(async move {
                let rows: Vec<(bool, i64)> = messages::table
                    .filter(messages::recipient.eq(recipient))
                    .group_by(messages::is_active)
                    .select((messages::is_active, count_star()))
                    .load(session)
                    .await?;
                let of = |active| rows.iter().find(|row| row.0 == active).map_or(0, |row| row.1);
                Ok(Counts { inbox: of(true), trash: of(false) })
            })
        })
        .await
}

/// Moves a message to the inbox or the trash and returns it, changed `by` that user now; one that lies there already
/// is returned as it is.
///
/// # Errors
/// Whatever the database says.
pub async fn set_active(
    database: &Database,
    recipient: Uuid,
    uuid: Uuid,
    active: bool,
    by: Uuid,
) -> Result<Option<StoredMessage>, DatabaseError> {
    use messages::{is_active, modified_by, modified_date};
    database
        .ask(|session| {
            Box::pin(async move {
                let its = messages::recipient.eq(recipient).and(messages::uuid.eq(uuid));
                let by =
                    case_when(is_active.ne(active), by.to_string().into_sql::<Text>()).otherwise(modified_by);
                let date = case_when(is_active.ne(active), now.into_sql::<Nullable<Timestamptz>>())
                    .otherwise(modified_date);
                let moved = diesel::update(messages::table.filter(its).filter(durable()))
                    .set((is_active.eq(active), modified_by.eq(by), modified_date.eq(date)))
                    .returning(StoredMessage::as_returning())
                    .get_result(session)
                    .await;
                Ok(moved.optional()?)
            })
        })
        .await
}

/// Deletes a message from the trash for good: its coordinates are all that stays.
///
/// # Errors
/// Whatever the database says.
pub async fn delete(database: &Database, recipient: Uuid, uuid: Uuid) -> Result<Deletion, DatabaseError> {
    let nothing = Gone::default();
    let deleted = database
        .ask(|session| {
            Box::pin(async move {
                // One statement, so that a message which is being restored is either that or deleted.
                let its = stored_messages::recipient.eq(recipient).and(stored_messages::uuid.eq(uuid));
                let trashed = stored_messages::table
                    .filter(its.and(stored_messages::is_active.eq(false)))
                    .filter(durable());
                let gone = (stored_messages::deleted_at.eq(now), nothing);
                Ok(diesel::update(trashed).set(gone).execute(session).await?)
            })
        })
        .await?;
    if deleted > 0 {
        return Ok(Deletion::Deleted);
    }
    let there = find(database, recipient, uuid).await?;
    Ok(there.map_or(Deletion::NotFound, |_| Deletion::InInbox))
}

/// What a deleted message loses.
#[derive(Default, AsChangeset)]
#[diesel(table_name = stored_messages, treat_none_as_null = true)]
struct Gone {
    subject: Option<String>,
    uuid: Option<Uuid>,
    body: Option<String>,
    reference_url: Option<String>,
    is_active: Option<bool>,
    created_by: Option<String>,
    created_date: Option<DateTime<Utc>>,
    modified_by: Option<String>,
    modified_date: Option<DateTime<Utc>>,
    kafka_key: Option<String>,
    recipient: Option<Uuid>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_where_its_messages_get_too_large_and_has_one_at_least() {
        let large = PAGE_BYTES as i32;
        for (sizes, limit, shown, is_more) in [
            (vec![], 2, 0, false),
            (vec![1, 1], 2, 2, false),
            (vec![1, 1, 1], 2, 2, true),
            (vec![large, 1], 2, 1, true),
            (vec![2 * large], 2, 1, false),
            (vec![1, large, 1], 3, 1, true),
            (vec![large / 2, large / 2 - 2, 1], 3, 2, true),
        ] {
            let sizes: Vec<(i64, i32)> = (0..).zip(sizes).collect();
            let (ids, more) = fitting(&sizes, limit);
            assert_eq!((ids.len(), more), (shown, is_more), "{sizes:?}");
        }
    }
}

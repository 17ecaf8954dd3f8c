//! Records that could not be understood: storing them, replaying them ([`replays`]), looking at them
//! ([`queries`]).

pub mod queries;
pub mod replays;

use std::time::Duration;

use domain::record::{Coordinates, DeadLetter};
use serde_json::Value;

use crate::connection::Parameter;
use crate::database::Database;
use crate::durable::DURABLE;
use crate::error::DatabaseError;

const LIMIT: Duration = Duration::from_secs(20);

/// Stores dead letters, each once by its coordinates: a redelivered one changes nothing.
/// Returns how many were new.
///
/// # Errors
/// Whatever the database says.
pub async fn store(database: &Database, letters: &[DeadLetter]) -> Result<u64, DatabaseError> {
    let columns = LetterColumns::of(letters);
    database
        .run(LIMIT, |session| {
            Box::pin(async move { session.execute(&insert(), &columns.parameters()).await })
        })
        .await
}

/// Logs a record that has become a dead letter.
pub fn tell_of(letter: &DeadLetter) {
    let DeadLetter { coordinates, reason, detail, .. } = letter;
    let Coordinates { topic, partition, offset, .. } = coordinates;
    let reason = reason.as_str();
    tracing::warn!(
        kafka.topic = topic,
        kafka.partition = partition,
        kafka.offset = offset,
        dead_letter.reason = reason,
        dead_letter.detail = detail,
        "a record became a dead letter"
    );
}

/// Returns the statement that inserts the dead letters which [`LetterColumns`] holds; they are its first parameters.
pub(crate) fn insert() -> String {
    format!(
        r#"
    INSERT INTO dead_letters (topic, partition, "offset", "timestamp", key, value, headers, reason, detail)
    SELECT * FROM unnest($1::text[], $2::int4[], $3::int8[], $4::int8[], $5::bytea[], $6::bytea[],
                         $7::jsonb[], $8::text[], $9::text[])
        AS i (topic, partition, "offset", "timestamp", key, value, headers, reason, detail)
    WHERE {DURABLE}
    ORDER BY i.topic COLLATE "C", i.partition, i."offset", i."timestamp"
    ON CONFLICT (topic, partition, "offset", "timestamp") DO NOTHING"#
    )
}

/// Dead letters, column by column.
#[derive(Default)]
pub(crate) struct LetterColumns {
    topics: Vec<String>,
    partitions: Vec<i32>,
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    keys: Vec<Option<Vec<u8>>>,
    values: Vec<Option<Vec<u8>>>,
    headers: Vec<Value>,
    reasons: Vec<&'static str>,
    details: Vec<String>,
}

impl LetterColumns {
    pub(crate) fn of<'a>(letters: impl IntoIterator<Item = &'a DeadLetter>) -> Self {
        let mut columns = Self::default();
        for letter in letters {
            columns.topics.push(letter.coordinates.topic.clone());
            columns.partitions.push(letter.coordinates.partition);
            columns.offsets.push(letter.coordinates.offset);
            columns.timestamps.push(letter.coordinates.timestamp);
            columns.keys.push(letter.key.clone());
            columns.values.push(letter.value.clone());
            columns.headers.push(letter.headers.clone());
            columns.reasons.push(letter.reason.as_str());
            columns.details.push(letter.detail.clone());
        }
        columns
    }

    pub(crate) fn parameters(&self) -> [&dyn Parameter; 9] {
        [
            &self.topics,
            &self.partitions,
            &self.offsets,
            &self.timestamps,
            &self.keys,
            &self.values,
            &self.headers,
            &self.reasons,
            &self.details,
        ]
    }
}

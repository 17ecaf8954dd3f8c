//! Records that could not be understood: storing them, replaying them ([`replays`]), looking at them
//! ([`queries`]).

pub mod queries;
pub mod replays;

use std::time::Duration;

use serde_json::Value;
use tokio_postgres::types::ToSql;

use super::durable::DURABLE;
use super::{Database, DatabaseError};

const LIMIT: Duration = Duration::from_secs(20);

/// A record as it came, and why it was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it was read.
    pub topic: String,
    /// The same.
    pub partition: i32,
    /// The same.
    pub offset: i64,
    /// Milliseconds since 1970, -1 if the record has none.
    pub timestamp: i64,
    /// Its key, if it has one.
    pub key: Option<Vec<u8>>,
    /// Its value, if it has one.
    pub value: Option<Vec<u8>>,
    /// Its headers, in order: `[{"key": …, "value": …}, …]`; values that are no text as `\x…`.
    pub headers: Value,
    /// A short code.
    pub reason: String,
    /// A sentence for people.
    pub detail: String,
}

impl DeadLetter {
    /// Roughly how much memory the parts take whose length a producer chooses, in bytes: all of them go into one
    /// statement with others.
    pub fn size(&self) -> usize {
        let bytes = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        let text = |header: &Value, part: &str| header[part].as_str().map_or(0, str::len);
        let headers = self.headers.as_array().into_iter().flatten();
        let headers: usize = headers.map(|header| 32 + text(header, "key") + text(header, "value")).sum();
        bytes(&self.key) + bytes(&self.value) + headers
    }
}

/// Stores dead letters, each once by its coordinates: a redelivered one changes nothing.
/// Returns how many were new.
///
/// # Errors
/// Whatever the database says.
pub async fn store(database: &Database, letters: &[DeadLetter]) -> Result<u64, DatabaseError> {
    let columns = Columns::of(letters);
    database
        .bulk(LIMIT, |client| {
            Box::pin(async move {
                let statement = client.prepare_cached(&insert()).await?;
                client.execute(&statement, &columns.parameters()).await
            })
        })
        .await
}

/// The statement that inserts the dead letters which [`Columns`] holds; they are its first parameters.
pub(super) fn insert() -> String {
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
pub(super) struct Columns {
    topics: Vec<String>,
    partitions: Vec<i32>,
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    keys: Vec<Option<Vec<u8>>>,
    values: Vec<Option<Vec<u8>>>,
    headers: Vec<Value>,
    reasons: Vec<String>,
    details: Vec<String>,
}

impl Columns {
    pub(super) fn of<'a>(letters: impl IntoIterator<Item = &'a DeadLetter>) -> Self {
        let mut columns = Self::default();
        for letter in letters {
            columns.topics.push(letter.topic.clone());
            columns.partitions.push(letter.partition);
            columns.offsets.push(letter.offset);
            columns.timestamps.push(letter.timestamp);
            columns.keys.push(letter.key.clone());
            columns.values.push(letter.value.clone());
            columns.headers.push(letter.headers.clone());
            columns.reasons.push(letter.reason.clone());
            columns.details.push(letter.detail.clone());
        }
        columns
    }

    pub(super) fn parameters(&self) -> [&(dyn ToSql + Sync); 9] {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_size_counts_everything_that_a_producer_can_blow_up() {
        let size = |key: usize, value: usize, header: usize| {
            let letter = DeadLetter {
                topic: "t".to_owned(),
                partition: 0,
                offset: 0,
                timestamp: -1,
                key: Some(vec![0; key]),
                value: Some(vec![0; value]),
                headers: json!([{"key": "k", "value": "v".repeat(header)}, {"key": null, "value": null}]),
                reason: "r".to_owned(),
                detail: "d".to_owned(),
            };
            letter.size()
        };
        for large in [size(1 << 20, 0, 0), size(0, 1 << 20, 0), size(0, 0, 1 << 20)] {
            assert!(large > 1 << 20 && large < 2 << 20, "{large}");
        }
    }
}

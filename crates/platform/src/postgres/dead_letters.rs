//! Records that could not be understood: storing them, replaying them ([`replays`]), looking at them
//! ([`queries`]).

pub mod queries;
pub mod replays;

use std::time::Duration;

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
    pub headers: serde_json::Value,
    /// A short code.
    pub reason: String,
    /// A sentence for people.
    pub detail: String,
}

/// Stores dead letters, each once by its coordinates: a redelivered one changes nothing.
/// Returns how many were new.
///
/// # Errors
/// Whatever the database says.
pub async fn store(database: &Database, letters: &[DeadLetter]) -> Result<u64, DatabaseError> {
    const SQL: &str = r#"
        INSERT INTO dead_letters (topic, partition, "offset", "timestamp", key, value, headers, reason, detail)
        SELECT * FROM unnest($1::text[], $2::int4[], $3::int8[], $4::int8[], $5::bytea[], $6::bytea[],
                             $7::jsonb[], $8::text[], $9::text[])
            AS i (topic, partition, "offset", "timestamp", key, value, headers, reason, detail)
        ORDER BY i.topic COLLATE "C", i.partition, i."offset", i."timestamp"
        ON CONFLICT (topic, partition, "offset", "timestamp") DO NOTHING"#;
    let letters = letters.to_vec();
    database
        .bulk(LIMIT, |client| {
            Box::pin(async move {
                let statement = client.prepare_cached(SQL).await?;
                let column = |text: fn(&DeadLetter) -> &str| letters.iter().map(text).collect::<Vec<_>>();
                let topics = column(|letter| &letter.topic);
                let partitions: Vec<i32> = letters.iter().map(|letter| letter.partition).collect();
                let offsets: Vec<i64> = letters.iter().map(|letter| letter.offset).collect();
                let timestamps: Vec<i64> = letters.iter().map(|letter| letter.timestamp).collect();
                let keys: Vec<Option<&[u8]>> = letters.iter().map(|letter| letter.key.as_deref()).collect();
                let values: Vec<Option<&[u8]>> =
                    letters.iter().map(|letter| letter.value.as_deref()).collect();
                let headers: Vec<&serde_json::Value> = letters.iter().map(|letter| &letter.headers).collect();
                let (reasons, details) = (column(|letter| &letter.reason), column(|letter| &letter.detail));
                client
                    .execute(
                        &statement,
                        &[
                            &topics,
                            &partitions,
                            &offsets,
                            &timestamps,
                            &keys,
                            &values,
                            &headers,
                            &reasons,
                            &details,
                        ],
                    )
                    .await
            })
        })
        .await
}

//! A Kafka record as the pipeline takes it: a stamp that was understood, or a dead letter.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use domain::batch::Position;
use domain::batch::pending::Message;
use domain::event;
use platform::postgres::dead_letters::DeadLetter;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::json;

/// A record that was read.
#[derive(Debug)]
pub(crate) enum Record {
    /// It holds a stamp.
    Stamp(Message),
    /// It can't be understood.
    Dead(Position, Box<DeadLetter>),
}

/// How often a record is tried whose decoding panics.
const ATTEMPTS: usize = 3;
/// How long reading a record again may take.
const READ_LIMIT: Duration = Duration::from_secs(5);

impl Record {
    /// Decodes a record that was read during an assignment. One whose decoding panics again and again is a dead
    /// letter, not the end of the process.
    pub(crate) fn decode(record: &BorrowedMessage<'_>, assignment: u32, now: DateTime<Utc>) -> Self {
        let position = Position { partition: record.partition(), assignment, offset: record.offset() };
        let recorded = record.timestamp().to_millis().and_then(DateTime::from_timestamp_millis);
        let dead = |reason, detail| Self::Dead(position, Box::new(dead_letter(record, reason, detail)));
        match guarded(|| event::decode(record.payload(), recorded, now)) {
            Some(Ok(stamp)) => Self::Stamp(Message { stamp, position }),
            Some(Err(rejection)) => dead(rejection.reason().as_str(), rejection.detail()),
            None => dead("panicked", "Decoding it ended in a panic, three times; the log has the place."),
        }
    }

    /// Roughly how much memory it takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Stamp(_) => 128,
            Self::Dead(_, letter) => 256 + letter.value.as_ref().map_or(0, Vec::len),
        }
    }
}

/// Runs what may panic, a few times; `None` if it always does.
fn guarded<T>(attempt: impl Fn() -> T) -> Option<T> {
    (0..ATTEMPTS).find_map(|_| catch_unwind(AssertUnwindSafe(&attempt)).ok())
}

fn dead_letter(record: &BorrowedMessage<'_>, reason: &str, detail: &str) -> DeadLetter {
    DeadLetter {
        topic: record.topic().to_owned(),
        partition: record.partition(),
        offset: record.offset(),
        timestamp: record.timestamp().to_millis().unwrap_or(-1),
        key: record.key().map(<[u8]>::to_vec),
        value: record.payload().map(<[u8]>::to_vec),
        headers: headers(record),
        reason: reason.to_owned(),
        detail: detail.to_owned(),
    }
}

/// Reads a record again, outside of any group, as a dead letter. `None` if Kafka does not have it any more or
/// does not answer. Blocks.
pub(crate) fn read_again(
    config: &ClientConfig,
    topic: &str,
    partition: i32,
    offset: i64,
    reason: &str,
    detail: &str,
) -> Option<DeadLetter> {
    let mut config = config.clone();
    // A consumer has to name a group, even one that joins none and commits nothing.
    config.set("group.id", "read-again").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().ok()?;
    let mut position = TopicPartitionList::new();
    position.add_partition_offset(topic, partition, Offset::Offset(offset)).ok()?;
    consumer.assign(&position).ok()?;
    let deadline = Instant::now() + READ_LIMIT;
    while Instant::now() < deadline {
        if let Some(Ok(record)) = consumer.poll(Duration::from_millis(100)) {
            return (record.offset() == offset).then(|| dead_letter(&record, reason, detail));
        }
    }
    None
}

fn headers(record: &BorrowedMessage<'_>) -> serde_json::Value {
    let headers = record.headers().into_iter().flat_map(|headers| headers.iter());
    headers
        .map(|header| json!({"key": text(header.key.as_bytes()), "value": header.value.map(text)}))
        .collect()
}

/// Bytes as PostgreSQL's text can hold them: those that are no text, or hold a NUL, as `\x…` in hex.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => text.to_owned(),
        _ => bytes.iter().fold("\\x".to_owned(), |hex, byte| format!("{hex}{byte:02x}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_panics_every_time_is_given_up_and_what_recovers_is_not() {
        let tries = std::cell::Cell::new(0);
        let failing_until = |success: i32| {
            tries.set(0);
            guarded(|| {
                tries.set(tries.get() + 1);
                assert!(tries.get() >= success, "deliberate");
            })
        };
        assert_eq!(failing_until(3), Some(()));
        assert_eq!((failing_until(4), tries.get()), (None, 3));
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_in_hex() {
        assert_eq!(text(b"plain"), "plain");
        assert_eq!(text(&[0xff, 0x00]), "\\xff00");
        assert_eq!(text(b"a\0b"), "\\x610062");
    }
}

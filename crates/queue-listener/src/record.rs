//! A Kafka record as the pipeline takes it: a stamp that was understood, or a dead letter.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use domain::batch::Position;
use domain::batch::pending::Message;
use domain::event;
use platform::postgres::dead_letters::DeadLetter;
use platform::postgres::dead_letters::replays::Claim;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Header, Headers as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::replay::{self, Replay};
use crate::text::to_text;

/// A record that was read.
#[derive(Debug)]
pub(crate) enum Record {
    /// It holds a stamp.
    Stamp(Message),
    /// It can't be understood.
    Dead(Position, Box<DeadLetter>),
    /// It says that it is a dead letter's replay.
    Replay(Box<Replay>),
}

/// How often a record is tried whose decoding panics.
const ATTEMPTS: usize = 3;
/// How long reading a record again may take.
const READ_LIMIT: Duration = Duration::from_secs(5);

impl Record {
    /// Decodes a record that was read during an assignment.
    pub(crate) fn decode(record: &BorrowedMessage<'_>, assignment: u32, now: DateTime<Utc>) -> Self {
        let position = Position { partition: record.partition(), assignment, offset: record.offset() };
        let own = Self::decode_at(record, position, record.timestamp().to_millis(), now);
        let Some(claim) = replay::claim(record) else { return own };
        let timestamp = Some(claim.timestamp).filter(|millis| *millis >= 0);
        let original = Self::decode_at(record, position, timestamp, now);
        Self::Replay(Box::new(Replay { position, claim, original, own }))
    }

    /// Decodes a record as if it had this timestamp. One whose decoding panics again and again is a dead letter,
    /// not the end of the process.
    fn decode_at(
        record: &BorrowedMessage<'_>,
        position: Position,
        timestamp: Option<i64>,
        now: DateTime<Utc>,
    ) -> Self {
        let recorded = timestamp.and_then(DateTime::from_timestamp_millis);
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
            Self::Dead(_, letter) => 256 + length(letter),
            Self::Replay(replay) => replay.size(),
        }
    }
}

/// How long the parts are whose length a producer chooses: all of them go into one statement with others.
fn length(letter: &DeadLetter) -> usize {
    let bytes = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
    let text = |header: &Value, part: &str| header[part].as_str().map_or(0, str::len);
    let headers = letter.headers.as_array().into_iter().flatten();
    let headers: usize = headers.map(|header| 32 + text(header, "key") + text(header, "value")).sum();
    bytes(&letter.key) + bytes(&letter.value) + headers
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

/// Reads a record again, outside of any group, as a dead letter, with what it says of itself. `None` if Kafka does
/// not have it any more or does not answer. Blocks.
pub(crate) fn read_again(
    config: &ClientConfig,
    topic: &str,
    partition: i32,
    offset: i64,
    reason: &str,
    detail: &str,
) -> Option<(DeadLetter, Option<Claim>)> {
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
            return (record.offset() == offset)
                .then(|| (dead_letter(&record, reason, detail), replay::claim(&record)));
        }
    }
    None
}

/// The headers in their order. One whose name is no text is shown as two nulls: the client library panics instead of
/// handing it out.
fn headers(record: &BorrowedMessage<'_>) -> Value {
    let shown = |header: Option<Header<'_, &[u8]>>| match header {
        Some(Header { key, value }) => json!({"key": to_text(key.as_bytes()), "value": value.map(to_text)}),
        None => json!({"key": null, "value": null}),
    };
    each_header(record).map(shown).collect()
}

/// The headers in their order, `None` for one whose name is no text.
pub(crate) fn each_header<'a>(
    record: &'a BorrowedMessage<'_>,
) -> impl Iterator<Item = Option<Header<'a, &'a [u8]>>> {
    let headers = record.headers();
    let count = headers.map_or(0, rdkafka::message::Headers::count);
    (0..count).map(move |index| catch_unwind(AssertUnwindSafe(|| headers?.try_get(index))).ok().flatten())
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
    fn the_size_of_a_dead_letter_counts_everything_that_a_producer_can_blow_up() {
        let letter = |key: usize, value: usize, header: usize| {
            let headers = json!([{"key": "k", "value": "v".repeat(header)}, {"key": null, "value": null}]);
            let (key, value) = (Some(vec![0; key]), Some(vec![0; value]));
            let (topic, reason, detail) = ("t".to_owned(), "r".to_owned(), "d".to_owned());
            let letter = DeadLetter {
                topic,
                partition: 0,
                offset: 0,
                timestamp: -1,
                key,
                value,
                headers,
                reason,
                detail,
            };
            Record::Dead(Position { partition: 0, assignment: 1, offset: 0 }, Box::new(letter)).size()
        };
        for large in [letter(1 << 20, 0, 0), letter(0, 1 << 20, 0), letter(0, 0, 1 << 20)] {
            assert!(large > 1 << 20 && large < 2 << 20, "{large}");
        }
    }
}

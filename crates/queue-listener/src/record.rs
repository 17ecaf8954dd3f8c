//! A Kafka record as the pipeline takes it: a stamp that was understood, or a dead letter.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use domain::batch::Position;
use domain::batch::pending::Message;
use domain::event;
use platform::kafka::record::{dead_letter, guarded};
use platform::kafka::replay::claim;
use platform::postgres::dead_letters::DeadLetter;
use platform::postgres::dead_letters::replays::Claim;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::replay::Replay;

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

/// How long reading a record again may take.
const READ_LIMIT: Duration = Duration::from_secs(5);

impl Record {
    /// Decodes a record that was read during an assignment.
    pub(crate) fn decode(record: &BorrowedMessage<'_>, assignment: u32, now: DateTime<Utc>) -> Self {
        let position = Position { partition: record.partition(), assignment, offset: record.offset() };
        let own = Self::decode_at(record, position, record.timestamp().to_millis(), now);
        let Some(claim) = claim(record) else { return own };
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
        match guarded(|| event::decode(record.payload(), recorded, now)) {
            Ok(stamp) => Self::Stamp(Message { stamp, position }),
            Err(rejection) => {
                let letter = dead_letter(record, rejection.reason().as_str(), rejection.detail());
                Self::Dead(position, Box::new(letter))
            }
        }
    }

    /// Roughly how much memory it takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Stamp(_) => 128,
            Self::Dead(_, letter) => 256 + letter.size(),
            Self::Replay(replay) => replay.size(),
        }
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
                .then(|| (dead_letter(&record, reason, detail), claim(&record)));
        }
    }
    None
}

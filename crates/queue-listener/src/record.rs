//! A Kafka record as the heart takes it: a stamp that was understood, or what the database has to see first.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use domain::batch::heart::{Content, Position};
use domain::batch::pending::PendingStamp;
use domain::stamp::Stamp;
use domain::stamp::event;
use platform::kafka::record::{dead_letter, guarded};
use platform::kafka::replay::claim;
use platform::postgres::dead_letters::DeadLetter;
use platform::postgres::dead_letters::replays::{Claim, Verdict};
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// How long reading a record again may take.
const READ_LIMIT: Duration = Duration::from_secs(5);

/// What the bytes of a record say.
#[derive(Debug, Clone)]
pub(crate) enum Decoded {
    /// A stamp.
    Stamp(Stamp),
    /// Nothing that can be understood.
    Dead(Box<DeadLetter>),
}

/// A record that the database has to see before anything else.
#[derive(Debug, Clone)]
pub(crate) enum Other {
    /// It can't be understood.
    Dead(Box<DeadLetter>),
    /// It says that it is a dead letter's replay.
    Replay(Box<Replay>),
}

/// A record that says of itself that it is a dead letter's replay. Only the database knows whether it is one.
#[derive(Debug, Clone)]
pub(crate) struct Replay {
    /// What it says of itself.
    pub(crate) claim: Claim,
    /// What it is if that is true: the same bytes, read under the original coordinates.
    original: Decoded,
    /// What it is if not.
    own: Decoded,
}

/// Decodes a record that was read at `now`. Returns what it holds, and roughly how much memory that takes, in bytes.
pub(crate) fn decode(record: &BorrowedMessage<'_>, now: DateTime<Utc>) -> (Content<Other>, usize) {
    let own = decode_at(record, record.timestamp().to_millis(), now);
    let size = own.size();
    let Some(claim) = claim(record) else {
        let content = match own {
            Decoded::Stamp(stamp) => Content::Stamp(stamp),
            Decoded::Dead(letter) => Content::Other(Other::Dead(letter)),
        };
        return (content, size);
    };
    let timestamp = Some(claim.timestamp).filter(|millis| *millis >= 0);
    let original = decode_at(record, timestamp, now);
    let size = 256 + claim.size() + original.size() + size;
    (Content::Other(Other::Replay(Box::new(Replay { claim, original, own }))), size)
}

/// Decodes a record as if it had this timestamp. One whose decoding panics again and again is a dead letter, not the
/// end of the process.
fn decode_at(record: &BorrowedMessage<'_>, timestamp: Option<i64>, now: DateTime<Utc>) -> Decoded {
    let recorded = timestamp.and_then(DateTime::from_timestamp_millis);
    match guarded(|| event::decode(record.payload(), recorded, now)) {
        Ok(stamp) => Decoded::Stamp(stamp),
        Err(rejection) => {
            Decoded::Dead(Box::new(dead_letter(record, rejection.reason().as_str(), rejection.detail())))
        }
    }
}

impl Decoded {
    fn size(&self) -> usize {
        match self {
            Self::Stamp(_) => 128,
            Self::Dead(letter) => 256 + letter.size(),
        }
    }

    /// Sorts it by what becomes of it: a stamp waits, and a dead letter is stored.
    pub(crate) fn sort(self, position: Position) -> Result<PendingStamp, Box<DeadLetter>> {
        match self {
            Self::Stamp(stamp) => Ok(PendingStamp { stamp, position }),
            Self::Dead(letter) => Err(letter),
        }
    }
}

impl Replay {
    /// Tells what it is, once it is known whether it repeats a dead letter.
    pub(crate) fn decoded(&self, genuine: bool) -> &Decoded {
        if genuine { &self.original } else { &self.own }
    }

    /// Tells what the dead letter with this number comes to by it.
    pub(crate) fn verdict(&self, id: i64) -> Verdict {
        let understood = matches!(self.original, Decoded::Stamp(_));
        Verdict { id, replays: self.claim.replays, understood }
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

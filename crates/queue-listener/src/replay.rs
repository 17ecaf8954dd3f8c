//! A record that says of itself that it is a dead letter's replay.

use domain::batch::Position;
use platform::postgres::dead_letters::replays::{Claim, Verdict};
use rdkafka::Message as _;
use rdkafka::message::BorrowedMessage;

use crate::record::{Record, each_header};

/// The headers of a replay: where the dead letter was read.
pub(crate) const TOPIC: &str = "x-original-topic";
/// The same.
pub(crate) const PARTITION: &str = "x-original-partition";
/// The same.
pub(crate) const OFFSET: &str = "x-original-offset";
/// The same, in milliseconds since 1970; -1 for none.
pub(crate) const TIMESTAMP: &str = "x-original-timestamp";
/// How often the dead letter had come back when this was published: tells its publications apart.
pub(crate) const REPLAYS: &str = "x-replays";

/// Such a record. Only the database knows whether it is one; until then it is both.
#[derive(Debug)]
pub(crate) struct Replay {
    /// Where it was read itself.
    pub(crate) position: Position,
    /// What it says of itself.
    pub(crate) claim: Claim,
    /// What it is if that is true: the same bytes, read under the original coordinates.
    pub(crate) original: Record,
    /// What it is if not.
    pub(crate) own: Record,
}

impl Replay {
    /// Tells what it is, once it is known whether it repeats a dead letter.
    pub(crate) fn into_record(self, genuine: bool) -> Record {
        if genuine { self.original } else { self.own }
    }

    /// Tells what the dead letter with this number comes to by it.
    pub(crate) fn verdict(&self, id: i64) -> Verdict {
        let understood = matches!(self.original, Record::Stamp(_));
        Verdict { id, replays: self.claim.replays, understood }
    }

    /// Roughly how much memory it takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        let bytes = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        let claim = 256 + bytes(&self.claim.key) + bytes(&self.claim.value);
        claim + self.original.size() + self.own.size()
    }
}

/// What a record of the listener's own topic says of itself. `None` if it says nothing, or what can't be.
pub(crate) fn claim(record: &BorrowedMessage<'_>) -> Option<Claim> {
    const NAMES: [&str; 5] = [TOPIC, PARTITION, OFFSET, TIMESTAMP, REPLAYS];
    let mut values = [None; NAMES.len()];
    for header in each_header(record).flatten() {
        if let Some(index) = NAMES.iter().position(|name| *name == header.key) {
            // The last one counts: a dead letter may have had such headers before it was replayed.
            values[index] = header.value.and_then(|value| std::str::from_utf8(value).ok());
        }
    }
    let [topic, partition, offset, timestamp, replays] = values;
    Some(Claim {
        topic: topic.filter(|topic| *topic == record.topic())?.to_owned(),
        partition: partition?.parse().ok()?,
        offset: offset?.parse().ok()?,
        timestamp: timestamp?.parse().ok()?,
        replays: replays.and_then(|count| count.parse().ok()),
        key: record.key().map(<[u8]>::to_vec),
        value: record.payload().map(<[u8]>::to_vec),
    })
}

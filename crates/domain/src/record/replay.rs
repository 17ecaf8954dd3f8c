//! A dead letter that is published once more: what its record says of itself, and what it comes to.
//!
//! `replays` counts how often a dead letter came back, and so numbers its publications too: the record says how high
//! the count was when it was published. A publication counts only while the dead letter still says so. Hence it does
//! not matter whether the record is read before Kafka's acknowledgement is noted, published twice because nobody lived
//! to note it, or read twice.

use super::coordinates::Coordinates;
use super::kafka::{Header, KafkaRecord};

/// Header of a replay: topic of the dead letter's record.
pub const TOPIC: &str = "x-original-topic";
/// Header of a replay: partition of the dead letter's record.
pub const PARTITION: &str = "x-original-partition";
/// Header of a replay: offset of the dead letter's record.
pub const OFFSET: &str = "x-original-offset";
/// Header of a replay: timestamp of the dead letter's record, in milliseconds since 1970; -1 for none.
pub const TIMESTAMP: &str = "x-original-timestamp";
/// Header of a replay: how often the dead letter had come back when the replay was published, which tells its
/// publications apart.
pub const REPLAYS: &str = "x-replays";

/// What a record says of itself: which dead letter it repeats. Anyone can say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Where the dead letter's record was read.
    pub original: Coordinates,
    /// How often the dead letter had come back when this record was published, if the record tells.
    pub replays: Option<i32>,
    /// Key of the record itself, which has to be the dead letter's.
    pub key: Option<Vec<u8>>,
    /// Value of the record itself, which has to be the dead letter's.
    pub value: Option<Vec<u8>>,
}

impl Claim {
    /// Returns what a record says of itself if it says that it repeats one of its own topic; `None` if it says nothing
    /// of the kind, or what can't be.
    pub fn of(record: &KafkaRecord<'_>) -> Option<Self> {
        const NAMES: [&str; 5] = [TOPIC, PARTITION, OFFSET, TIMESTAMP, REPLAYS];
        let mut values = [None; NAMES.len()];
        for Header { name, value } in record.headers.iter().flatten() {
            if let Some(index) = NAMES.iter().position(|known| known == name) {
                // The last one counts: a dead letter may have had such headers before it was replayed.
                values[index] = value.and_then(|value| std::str::from_utf8(value).ok());
            }
        }
        let [topic, partition, offset, timestamp, replays] = values;
        Some(Self {
            original: Coordinates {
                topic: topic.filter(|topic| *topic == record.topic)?.to_owned(),
                partition: partition?.parse().ok()?,
                offset: offset?.parse().ok()?,
                timestamp: timestamp?.parse().ok()?,
            },
            replays: replays.and_then(|count| count.parse().ok()),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
        })
    }

    /// Returns roughly how much memory the parts take whose length a producer chooses, in bytes.
    pub fn size(&self) -> usize {
        let bytes = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        bytes(&self.key) + bytes(&self.value)
    }

    /// Returns what the dead letter with this id comes to by the record.
    pub fn verdict(&self, id: i64, understood: bool) -> Verdict {
        Verdict { id, replays: self.replays, understood }
    }
}

/// What became of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Id of the dead letter.
    pub id: i64,
    /// Which publication of the dead letter the replay was: [`Claim::replays`].
    pub replays: Option<i32>,
    /// Whether the record is a stamp or a message now.
    pub understood: bool,
}

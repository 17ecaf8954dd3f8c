//! What a record says of itself that is a dead letter's replay.

use rdkafka::Message as _;
use rdkafka::message::BorrowedMessage;

use super::record::each_header;
use crate::postgres::dead_letters::replays::Claim;

/// The headers of a replay: where the dead letter was read.
pub const TOPIC: &str = "x-original-topic";
/// The same.
pub const PARTITION: &str = "x-original-partition";
/// The same.
pub const OFFSET: &str = "x-original-offset";
/// The same, in milliseconds since 1970; -1 for none.
pub const TIMESTAMP: &str = "x-original-timestamp";
/// How often the dead letter had come back when this was published: tells its publications apart.
pub const REPLAYS: &str = "x-replays";

/// What a record says of itself if it says that it repeats one of its own topic. `None` if it says nothing, or what can't be.
pub fn claim(record: &BorrowedMessage<'_>) -> Option<Claim> {
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

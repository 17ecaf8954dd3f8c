//! Reading one record again, outside of any group.

use std::time::{Duration, Instant};

use domain::record::KafkaRecord;
use platform::kafka::record;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

/// How long reading a record again may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Reads a record again and returns what `look` makes of it. `None` if Kafka does not have the record any more or does
/// not answer. Blocks.
pub(crate) fn read_again<T>(
    kafka: &ClientConfig,
    topic: &str,
    partition: i32,
    offset: i64,
    look: impl FnOnce(&KafkaRecord<'_>) -> T,
) -> Option<T> {
    let mut config = kafka.clone();
    // A consumer has to name a group, even one that joins none and commits nothing.
    config.set("group.id", "read-again").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().ok()?;
    let mut position = TopicPartitionList::new();
    position.add_partition_offset(topic, partition, Offset::Offset(offset)).ok()?;
    consumer.assign(&position).ok()?;
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        if let Some(Ok(record)) = consumer.poll(Duration::from_millis(100)) {
            return (record.offset() == offset).then(|| look(&record::read(&record)));
        }
    }
    None
}

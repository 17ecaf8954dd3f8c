//! Reading outside of any group: from given positions, or one record again.

use std::time::{Duration, Instant};

use domain::record::KafkaRecord;
use platform::kafka::record;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

/// How long reading a record again may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Makes a consumer that joins no group, commits nothing, and reads from these positions on; it tells of ends as well.
///
/// # Errors
/// If the client can't be made, or does not take the positions.
pub(crate) fn read_from(kafka: &ClientConfig, positions: &TopicPartitionList) -> KafkaResult<BaseConsumer> {
    let mut config = kafka.clone();
    // A consumer has to name a group, even one that joins none.
    config.set("group.id", "outside").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    let consumer: BaseConsumer = config.create()?;
    consumer.assign(positions)?;
    Ok(consumer)
}

/// Reads a record again and returns what `look` makes of it. `None` if Kafka does not have the record any more or does
/// not answer. Blocks.
pub(crate) fn read_again<T>(
    kafka: &ClientConfig,
    topic: &str,
    partition: i32,
    offset: i64,
    look: impl FnOnce(&KafkaRecord<'_>) -> T,
) -> Option<T> {
    let mut position = TopicPartitionList::new();
    position.add_partition_offset(topic, partition, Offset::Offset(offset)).ok()?;
    let consumer = read_from(kafka, &position).ok()?;
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        if let Some(Ok(record)) = consumer.poll(Duration::from_millis(100)) {
            return (record.offset() == offset).then(|| look(&record::read(&record)));
        }
    }
    None
}

//! A transaction of a producer that is nobody of ours.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use uuid::Uuid;

use crate::topic::TestTopic;

const LIMIT: Duration = Duration::from_secs(10);

/// A transaction that is open: a consumer gets nothing that comes after its first record.
pub struct OpenTransaction(BaseProducer);

impl OpenTransaction {
    /// Begins a transaction with a record in each of the topic's first `partitions`.
    pub fn begin(topic: &TestTopic, servers: &str, partitions: i32, value: &[u8]) -> Self {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", servers)
            .set("transactional.id", Uuid::new_v4().to_string())
            .create()
            .expect("a producer");
        producer.init_transactions(LIMIT).expect("Kafka answers");
        producer.begin_transaction().expect("begun");
        for partition in 0..partitions {
            let record = BaseRecord::<(), _>::to(topic.name()).partition(partition).payload(value);
            producer.send(record).map_err(|(error, _)| error).expect("there is room");
        }
        producer.flush(LIMIT).expect("Kafka takes the records");
        Self(producer)
    }

    /// Ends the transaction, so that its records count.
    pub fn commit(self) {
        self.0.commit_transaction(LIMIT).expect("committed");
    }
}

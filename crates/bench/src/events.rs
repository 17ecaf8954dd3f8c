//! Events that wait in Kafka, and the limit of reading them.

use std::time::{Duration, Instant};

use anyhow::ensure;
use chrono::{DateTime, SecondsFormat, Utc};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use test_support::{TestTopic, stack};

use crate::ids::text;
use crate::requests::TOLERANCE;

/// The name of the limit of whatever reads events.
pub const READING: &str = "reading";
/// How long a record may be waited for.
const LIMIT: Duration = Duration::from_secs(10);

/// A topic full of events of stamps that are not due during the run.
pub struct Events {
    /// Where the events are.
    pub topic: TestTopic,
    /// The seed of the stamps' ids; their numbers are all below `count`.
    pub seed: u64,
    /// How many there are.
    pub count: u64,
    /// The stamps' creation date.
    pub created: String,
    partitions: i32,
}

impl Events {
    /// Publishes events.
    pub async fn publish(partitions: i32, seed: u64, count: u64, created: DateTime<Utc>) -> Self {
        let created = created.to_rfc3339_opts(SecondsFormat::Micros, true);
        let topic = TestTopic::new(partitions).await;
        tokio::task::block_in_place(|| {
            for number in 0..count {
                topic.send_stamp(&text(seed, number), TOLERANCE, &created);
            }
            topic.flush();
        });
        Self { topic, seed, count, created, partitions }
    }

    /// Reads all events and looks at none. Returns how many came in a second, from the first one on.
    ///
    /// # Errors
    /// If Kafka does not bring them.
    pub fn read(&self) -> anyhow::Result<f64> {
        tokio::task::block_in_place(|| {
            let consumer: BaseConsumer = ClientConfig::new()
                .set("bootstrap.servers", &stack().kafka_bootstrap_servers)
                .set("group.id", "nobody")
                .set("enable.auto.commit", "false")
                // With its default of a second the client stands still once its queue was full.
                .set("fetch.queue.backoff.ms", "10")
                .create()?;
            let mut all = TopicPartitionList::new();
            for partition in 0..self.partitions {
                all.add_partition_offset(self.topic.name(), partition, Offset::Beginning)?;
            }
            consumer.assign(&all)?;
            let mut began = None;
            for _ in 0..self.count {
                let record = consumer.poll(LIMIT).transpose()?;
                ensure!(record.is_some(), "no record within {LIMIT:?}");
                began.get_or_insert_with(Instant::now);
            }
            let took = began.map_or(0.0, |began| began.elapsed().as_secs_f64());
            Ok(self.count as f64 / took)
        })
    }
}

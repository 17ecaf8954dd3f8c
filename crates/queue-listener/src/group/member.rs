//! What the poll threads of stamps and of messages have in common: how a member of a group is configured, the one
//! place that commits offsets, and pausing.

use std::collections::HashSet;
use std::time::Duration;

use platform::kafka::KafkaSettings;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::{ClientConfig, TopicPartitionList};

/// The most records that are worked on together.
pub(crate) const CHUNK_RECORDS: usize = 2_000;
/// The most bytes of records that are worked on together.
pub(crate) const CHUNK_BYTES: usize = 8 << 20;
/// How long a poll waits for a record.
pub(crate) const POLL: Duration = Duration::from_millis(100);
/// How long those who take the records are waited for before the partitions are paused: a pause throws away what the
/// client has fetched ahead.
pub(crate) const PATIENCE: Duration = Duration::from_millis(500);
/// How long leaving the group may take; the broker notices by itself later.
pub(crate) const CLOSE_PATIENCE: Duration = Duration::from_secs(4);
/// How long going back to the start of a partition may take.
pub(crate) const SEEK_LIMIT: Duration = Duration::from_secs(2);

/// Returns what a member of a group is made from: the defaults of its kind, the operator's settings, and the promises.
pub(crate) fn member(kafka: &KafkaSettings, group_id: &str, defaults: &[(&str, &str)]) -> ClientConfig {
    let mut config = kafka.client_config_with(defaults);
    config
        .set("group.id", group_id)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("partition.assignment.strategy", "cooperative-sticky");
    config
}

/// Commits offsets, as nothing else does. Returns whether that succeeded, or was sent off where nobody waits for it: of
/// that one the client library tells no result.
///
/// A failed commit is logged and harmless: what lies behind it is read again and found in the database.
pub(crate) fn commit<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    offsets: &TopicPartitionList,
    mode: CommitMode,
) -> bool {
    if offsets.count() == 0 {
        return true;
    }
    let result = client.commit(offsets, mode);
    if let Err(error) = &result {
        tracing::info!(error = error.to_string(), "offsets were not committed; they are committed again");
    }
    result.is_ok()
}

/// A pause of everything that is assigned: while it lives nothing is read.
pub(crate) struct Pause<'a, C: ConsumerContext> {
    client: &'a BaseConsumer<C>,
    paused: TopicPartitionList,
}

impl<'a, C: ConsumerContext> Pause<'a, C> {
    pub(crate) fn begin(client: &'a BaseConsumer<C>) -> Self {
        let mut pause = Self { client, paused: TopicPartitionList::new() };
        pause.keep();
        pause
    }

    /// Pauses the partitions that came in a rebalance meanwhile; to be called before each poll.
    pub(crate) fn keep(&mut self) {
        if let Ok(assigned) = self.client.assignment()
            && self.client.pause(&assigned).is_ok()
        {
            self.paused = assigned;
        }
    }
}

impl<C: ConsumerContext> Drop for Pause<'_, C> {
    /// Resumes only what is still assigned and was paused here: resuming anything else delivers records twice.
    fn drop(&mut self) {
        let assigned = self.client.assignment().unwrap_or_default();
        let elements = assigned.elements();
        let still: HashSet<_> =
            elements.iter().map(|element| (element.topic(), element.partition())).collect();
        let mut resumed = TopicPartitionList::new();
        for element in self.paused.elements() {
            if still.contains(&(element.topic(), element.partition())) {
                resumed.add_partition(element.topic(), element.partition());
            }
        }
        if let Err(error) = self.client.resume(&resumed) {
            tracing::warn!(error = error.to_string(), "partitions can't be resumed");
        }
    }
}

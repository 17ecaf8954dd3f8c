//! What the poll threads of stamps and of messages have in common: how a member of a group is configured, the one
//! place that commits offsets, pausing, and the errors of a client.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use platform::kafka::KafkaSettings;
use prometheus::IntGauge;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, TopicPartitionList};

/// Records that are worked on together, at most.
pub(crate) const CHUNK_RECORDS: usize = 2_000;
/// The same in bytes.
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

/// How long after the last word of it a partition counts as standing still: the client tries a batch that it can't
/// unpack twice a second.
const STANDSTILL: Duration = Duration::from_secs(10);

/// What a member of a group is made from: the defaults of its kind, the operator's settings, and the promises.
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

/// The only caller of Kafka's offset commit. Returns whether it succeeded, or was sent off where nobody waits for it:
/// of that one the client library tells no result.
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

/// While it lives nothing is read: everything that is assigned is paused.
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

/// Whether a client stands still at a batch that it can't unpack. Such a batch can't be handed over either, not even
/// as a dead letter.
#[derive(Debug)]
pub(crate) struct Standstill {
    /// When the client last met that batch.
    last: Mutex<Option<Instant>>,
    /// How many clients of the process stand still.
    gauge: IntGauge,
}

impl Standstill {
    pub(crate) fn new(gauge: IntGauge) -> Self {
        Self { last: Mutex::default(), gauge }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.last().is_some()
    }

    /// Takes it back once nothing was heard of it for a while.
    pub(crate) fn forget_old(&self) {
        if self.last().take_if(|last| last.elapsed() > STANDSTILL).is_some() {
            self.gauge.dec();
        }
    }

    /// Tells of an error that a poll has returned.
    pub(crate) fn report(&self, error: &KafkaError) {
        match error.rdkafka_error_code() {
            // Said by the reachability probe.
            Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure) => {
                tracing::debug!(error = error.to_string(), "the brokers are away");
            }
            Some(
                RDKafkaErrorCode::BadCompression
                | RDKafkaErrorCode::BadMessage
                | RDKafkaErrorCode::InvalidMessage
                | RDKafkaErrorCode::MessageSizeTooLarge,
            ) => {
                if self.last().replace(Instant::now()).is_none() {
                    self.gauge.inc();
                    tracing::error!(
                        error = error.to_string(),
                        "a partition stands still at a batch that can't be unpacked: move its offset by hand"
                    );
                }
            }
            _ => tracing::warn!(error = error.to_string(), "Kafka reports an error"),
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clients_that_stand_still_are_two_and_one_that_goes_on_takes_back_its_own_only() {
        let gauge = IntGauge::new("unreadable", "A test.").expect("a gauge");
        let (one, other) = (Standstill::new(gauge.clone()), Standstill::new(gauge.clone()));
        let error = KafkaError::MessageConsumption(RDKafkaErrorCode::BadCompression);
        one.report(&error);
        one.report(&error);
        other.report(&error);
        assert_eq!((one.is_on(), gauge.get()), (true, 2));
        one.forget_old();
        assert_eq!(gauge.get(), 2, "it was heard of just now");
        *one.last() = Some(Instant::now() - STANDSTILL - Duration::from_secs(1));
        one.forget_old();
        assert_eq!((one.is_on(), other.is_on(), gauge.get()), (false, true, 1));
    }
}

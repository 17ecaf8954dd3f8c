//! What Kafka refuses a member of a group: to read its topics, or to be a member.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use platform::kafka::refusal::takes_an_operator;
use prometheus::IntGauge;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::reread::read_from;

/// How long a look may take at whether the topics can be read again.
const LOOK_LIMIT: Duration = Duration::from_secs(3);

/// What Kafka refuses one client.
#[derive(Debug)]
pub(crate) struct MemberRefusals {
    reading: AtomicBool,
    membership: AtomicBool,
    /// How many refusals there are in the process.
    gauge: IntGauge,
}

impl MemberRefusals {
    pub(crate) fn new(gauge: IntGauge) -> Self {
        Self { reading: AtomicBool::default(), membership: AtomicBool::default(), gauge }
    }

    /// Takes note of an error that a poll has returned. Returns whether the error is a refusal.
    pub(crate) fn note(&self, error: &KafkaError) -> bool {
        let Some(code) = error.rdkafka_error_code().filter(|code| takes_an_operator(*code)) else {
            return false;
        };
        let what = match code {
            RDKafkaErrorCode::GroupAuthorizationFailed => &self.membership,
            _ => &self.reading,
        };
        if !what.swap(true, Ordering::AcqRel) {
            self.gauge.inc();
            tracing::error!(error = error.to_string(), "Kafka refuses: its operator has to act");
        }
        true
    }

    /// Takes note of an assignment.
    pub(crate) fn is_member(&self) {
        self.end(&self.membership, "Kafka lets the group be joined");
    }

    /// Tells whether topics can't be read, as far as is known.
    pub(crate) fn cannot_read(&self) -> bool {
        self.reading.load(Ordering::Acquire)
    }

    /// Looks whether partitions can be read that could not. The client tells of a refusal once for each, and of its end
    /// by the next record, which may be long in coming. Blocks.
    pub(crate) fn look_again<'p>(
        &self,
        kafka: &ClientConfig,
        partitions: impl IntoIterator<Item = (&'p str, i32)>,
    ) {
        if self.cannot_read() && can_read(kafka, partitions) {
            self.end(&self.reading, "Kafka lets the topics be read");
        }
    }

    fn end(&self, what: &AtomicBool, news: &str) {
        if what.swap(false, Ordering::AcqRel) {
            self.gauge.dec();
            tracing::info!("{news}");
        }
    }
}

/// Tells whether all partitions, of which there is one at least, can be read, by a client of its own in no group.
fn can_read<'p>(kafka: &ClientConfig, partitions: impl IntoIterator<Item = (&'p str, i32)>) -> bool {
    let mut ends = TopicPartitionList::new();
    for (topic, partition) in partitions {
        // Adding fails for what is no offset.
        let _added = ends.add_partition_offset(topic, partition, Offset::End);
    }
    let mut unread = ends.count();
    if unread == 0 {
        return false;
    }
    let Ok(client) = read_from(kafka, &ends) else { return false };
    let deadline = Instant::now() + LOOK_LIMIT;
    while unread > 0 && Instant::now() < deadline {
        match client.poll(deadline.saturating_duration_since(Instant::now())) {
            Some(Err(KafkaError::PartitionEOF(_))) => unread -= 1,
            Some(Err(error))
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed) =>
            {
                return false;
            }
            // The group is not joined, so it does not matter who may. What comes meanwhile is read by the member.
            Some(_) | None => {}
        }
    }
    unread == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_counts_once_until_it_ends_and_other_errors_are_none() {
        let gauge = IntGauge::new("refused", "A test.").expect("a gauge");
        let refusals = MemberRefusals::new(gauge.clone());
        let error = KafkaError::MessageConsumption;
        for _ in 0..2 {
            assert!(refusals.note(&error(RDKafkaErrorCode::GroupAuthorizationFailed)));
        }
        assert!(refusals.note(&error(RDKafkaErrorCode::TopicAuthorizationFailed)));
        assert!(!refusals.note(&error(RDKafkaErrorCode::AllBrokersDown)));
        assert_eq!(gauge.get(), 2);
        refusals.is_member();
        refusals.is_member();
        assert_eq!(gauge.get(), 1);
    }
}

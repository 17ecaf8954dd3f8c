//! Notices a topic that was deleted and recreated under the same name. The client asks for records by the topic's
//! name and goes on at the old topic's offset; Kafka's topic ids would tell, but the client library does not hand
//! them out.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::record::Coordinates;
use platform::kafka::record;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use crate::group::reread::read_again;

/// How long the brokers may take to answer.
const LIMIT: Duration = Duration::from_secs(2);

/// What is remembered of the first record that was read of a partition in an assignment. Times are in milliseconds since
/// 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FirstRead {
    /// Where the record was read, which has a timestamp.
    pub(crate) coordinates: Coordinates,
    /// The timestamp above which no record up to this one has one, as far as is known.
    newest: i64,
}

impl FirstRead {
    /// Returns what to remember of this record, if it has a timestamp.
    pub(crate) fn of(record: &BorrowedMessage<'_>) -> Option<Self> {
        let coordinates = record::read(record).coordinates();
        let newest = coordinates.timestamp;
        (newest >= 0).then_some(Self { coordinates, newest })
    }

    /// Returns what to remember once it is known that records before this one have timestamps after `newest`.
    fn raised(self) -> Self {
        // By more each time, so that it ends soon.
        const STEP: i64 = 1_000;
        let newest = self.newest + STEP.max(2 * (self.newest - self.coordinates.timestamp));
        Self { newest, ..self }
    }
}

/// The first record that was read of each of a topic's partitions, where it has a timestamp.
#[derive(Debug, Default)]
pub(crate) struct FirstReads(BTreeMap<i32, FirstRead>);

impl FirstReads {
    /// Takes note of the first record of an assignment, or of one whose offset goes back. A log that was truncated still
    /// has the records below.
    pub(crate) fn note(&mut self, record: &BorrowedMessage<'_>) {
        let partition = record.partition();
        if self.0.get(&partition).is_some_and(|first| first.coordinates.offset < record.offset()) {
            return;
        }
        self.0.remove(&partition);
        self.0.extend(FirstRead::of(record).map(|first| (partition, first)));
    }

    /// Forgets partitions that were taken away.
    pub(crate) fn forget(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.0.remove(partition);
        }
    }

    /// Returns the first reads of all partitions.
    pub(crate) fn all(&self) -> Vec<FirstRead> {
        self.0.values().cloned().collect()
    }

    /// Replaces what is remembered of a first read, unless there is another one by now.
    pub(crate) fn remember(&mut self, raised: FirstRead) {
        if let Some(known) = self.0.get_mut(&raised.coordinates.partition)
            && known.coordinates == raised.coordinates
        {
            *known = raised;
        }
    }
}

/// What was found out about first reads.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// First reads of partitions that hold other records now.
    pub(crate) recreated: Vec<FirstRead>,
    /// What is to be remembered of first reads whose records are still there.
    pub(crate) raised: Vec<FirstRead>,
}

/// Finds the partitions that hold other records than those that were read. `kafka` reaches the brokers aside from the
/// client. Blocks; no answer proves nothing.
///
/// In a topic that was recreated, records newer than the first one that was read stand at its offset or below.
/// So may they in the same topic, if producers' clocks differ; then the record at that offset tells.
pub(crate) fn find<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    kafka: &ClientConfig,
    first_reads: Vec<FirstRead>,
) -> Findings {
    let mut findings = Findings::default();
    let newer = first_reads.iter().map(|FirstRead { coordinates, newest }| {
        (coordinates.topic.as_str(), coordinates.partition, Offset::Offset(newest + 1))
    });
    let Ok(newer) = offsets(client, newer) else { return findings };
    for first in first_reads {
        let Coordinates { topic, partition, offset, timestamp } = &first.coordinates;
        let is_suspected = offset_of(&newer, topic, *partition).is_some_and(|newer| newer <= *offset);
        if !is_suspected {
            continue;
        }
        match read_again(kafka, topic, *partition, *offset, |record| record.timestamp) {
            Some(found) if found == *timestamp => findings.raised.push(first.raised()),
            Some(_) => findings.recreated.push(first),
            // The topic is gone, or the brokers are.
            None => {}
        }
    }
    findings
}

/// Asks the brokers, in one request, for the first offset from a timestamp on, or for the end.
pub(crate) fn offsets<'a, C: ConsumerContext>(
    client: &BaseConsumer<C>,
    questions: impl Iterator<Item = (&'a str, i32, Offset)>,
) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (topic, partition, question) in questions {
        list.add_partition_offset(topic, partition, question)?;
    }
    if list.count() == 0 { Ok(list) } else { client.offsets_for_times(list, LIMIT) }
}

/// Returns what the brokers have answered for a partition, if they have.
pub(crate) fn offset_of(list: &TopicPartitionList, topic: &str, partition: i32) -> Option<i64> {
    match list.find_partition(topic, partition)?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

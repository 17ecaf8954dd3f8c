//! Looks after one client, from outside, for two things that the client itself does not notice.
//!
//! A partition that is assigned, has records to read and is *silent* gets a fresh client. Known ways into that
//! state are a pause that outlives its rebalance and a fetch that is never sent again (librdkafka #4637, #5591;
//! rust-rdkafka #840).
//!
//! A topic that was *made again* under the same name is read from its start. The client asks for records by the
//! topic's name and goes on at the old topic's offset.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::callbacks::{Callbacks, FirstRead, Shared};
use crate::record::read_again;

type Client = BaseConsumer<Callbacks>;

/// How often the client is looked at.
const PERIOD: Duration = Duration::from_secs(2);
/// How long the brokers may take to answer.
const LIMIT: Duration = Duration::from_secs(2);

/// What it takes to look after a client.
#[derive(Clone)]
pub(super) struct Watchdog {
    /// How to reach the brokers aside from the client.
    pub(super) kafka: ClientConfig,
    /// How long a partition that has records may be silent.
    pub(super) silence: Duration,
}

impl Watchdog {
    /// Looks until the client is gone or sets `stuck`.
    pub(super) async fn watch(self, client: Weak<Client>, stuck: Arc<AtomicBool>) {
        loop {
            tokio::time::sleep(PERIOD).await;
            let Some(client) = client.upgrade() else { return };
            let watchdog = self.clone();
            let looked = tokio::task::spawn_blocking(move || watchdog.look(&client));
            if looked.await.is_ok_and(|is_stuck| is_stuck) {
                stuck.store(true, Ordering::Release);
                return;
            }
        }
    }

    /// Tells whether the client needs to be replaced.
    fn look(&self, client: &Client) -> bool {
        // A question of any kind also wakes the client's own thread: it waits by the host's clock, and would
        // otherwise sleep through its heartbeats after that clock was set back.
        let _awake = client.assignment();
        let shared = &client.context().shared;
        for partition in self.made_again(client, shared) {
            tracing::warn!(partition, "the topic was made again; the partition is read from its start");
            shared.rewind(partition);
        }
        let silent = silent(client, shared, self.silence);
        if silent.is_empty() {
            return false;
        }
        shared.note_silent(&silent);
        tracing::error!(
            partitions = ?silent,
            silence_secs = self.silence.as_secs(),
            "partitions have records and none comes; a fresh consumer takes over"
        );
        true
    }

    /// The partitions that hold other records than those that were read.
    ///
    /// In a topic that was made again, records newer than the first one that was read stand at its offset or below.
    /// So may they in the same topic, if producers' clocks differ; then the record at that offset tells.
    fn made_again(&self, client: &Client, shared: &Shared) -> Vec<i32> {
        let first_reads = shared.first_reads();
        let newer = first_reads.iter().map(|first| (first.partition, Offset::Offset(first.newest + 1)));
        // No answer proves nothing.
        let Ok(newer) = offsets(client, &shared.topic, newer) else { return Vec::new() };
        let suspected = first_reads.into_iter().filter(|first| {
            offset_of(&newer, &shared.topic, first.partition).is_some_and(|newer| newer <= first.offset)
        });
        suspected.filter(|first| self.is_another(shared, *first)).map(|first| first.partition).collect()
    }

    fn is_another(&self, shared: &Shared, first: FirstRead) -> bool {
        match read_again(&self.kafka, &shared.topic, first.partition, first.offset, "", "") {
            Some((record, _)) if record.timestamp == first.timestamp => {
                shared.raise_newest(first);
                false
            }
            Some(_) => true,
            // It is gone, or the brokers are.
            None => false,
        }
    }
}

/// The partitions that have records which don't come.
pub(super) fn silent(client: &Client, shared: &Shared, silence: Duration) -> Vec<i32> {
    // A batch that can't be unpacked is silent too, and a fresh client can't unpack it either.
    if shared.metrics.unreadable.get() > 0 {
        return Vec::new();
    }
    let suspects = shared.silent_for(silence);
    // While the brokers are away nothing is wrong with the client.
    let ends = suspects.iter().map(|(partition, _)| (*partition, Offset::End));
    let Ok(ends) = offsets(client, &shared.topic, ends) else { return Vec::new() };
    let has_records = |(partition, read_below): &(i32, i64)| {
        offset_of(&ends, &shared.topic, *partition).is_some_and(|end| end > *read_below)
    };
    suspects.iter().filter(|suspect| has_records(suspect)).map(|(partition, _)| *partition).collect()
}

/// Asks the brokers, in one request, for the first offset from a timestamp on, or for the end.
fn offsets(
    client: &Client,
    topic: &str,
    questions: impl Iterator<Item = (i32, Offset)>,
) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (partition, question) in questions {
        list.add_partition_offset(topic, partition, question)?;
    }
    if list.count() == 0 { Ok(list) } else { client.offsets_for_times(list, LIMIT) }
}

fn offset_of(list: &TopicPartitionList, topic: &str, partition: i32) -> Option<i64> {
    match list.find_partition(topic, partition)?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

//! Looks after one client, from outside, for two things that the client itself does not notice.
//!
//! A partition that is assigned, has records to read and is *silent* gets a fresh client. Known ways into that
//! state are a pause that outlives its rebalance and a fetch that is never sent again (librdkafka #4637, #5591;
//! rust-rdkafka #840).
//!
//! A topic that was *recreated* under the same name is read from its start.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset};

use super::callbacks::{ConsumerState, StampCallbacks};
use crate::group::recreated::{self, Findings, offset_of, offsets};

type Client = BaseConsumer<StampCallbacks>;

/// How often the client is looked at.
const PERIOD: Duration = Duration::from_secs(2);

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
        let assigned = client.assignment().unwrap_or_default();
        let shared = &client.context().shared;
        let assigned = assigned.elements();
        shared.refusals.look_again(&self.kafka, assigned.iter().map(|it| (it.topic(), it.partition())));
        let of_topic = assigned.iter().map(|it| (it.topic(), it.partition()));
        shared.asked_ends.look(client, shared.metrics.paused.get() == 1, of_topic);
        // The poll thread waits for nothing that is asked of the brokers here.
        let first_reads = shared.first_reads().all();
        let Findings { recreated, raised } = recreated::find(client, &self.kafka, first_reads);
        for first in raised {
            shared.first_reads().remember(first);
        }
        for first in recreated {
            let partition = first.coordinates.partition;
            tracing::warn!(
                kafka.partition = partition,
                "the topic was deleted and recreated; the partition is read from its start"
            );
            shared.rewind(partition);
        }
        let silent = silent(client, shared, self.silence);
        if silent.is_empty() {
            return false;
        }
        tracing::error!(
            kafka.partitions = ?silent,
            kafka.silence_s = self.silence.as_secs(),
            "partitions have records and none comes; a fresh consumer takes over"
        );
        true
    }
}

/// Returns the partitions that have records which don't come.
pub(super) fn silent(client: &Client, shared: &ConsumerState, silence: Duration) -> Vec<i32> {
    // A batch that can't be decoded is silent too, and a fresh client can't decode it either.
    if shared.undecodable.is_on() {
        return Vec::new();
    }
    let suspects = shared.reader().suspects(silence, shared.elapsed());
    // While the brokers are away nothing is wrong with the client.
    let ends =
        suspects.iter().map(|suspect| (shared.topic.as_str(), suspect.assignment.partition, Offset::End));
    let Ok(ends) = offsets(client, ends) else { return Vec::new() };
    let end_of = |partition: i32| offset_of(&ends, &shared.topic, partition);
    let mut reader = shared.reader();
    let stuck = reader.convict(&suspects, end_of, silence, shared.elapsed());
    shared.metrics.silent.set(reader.silent() as i64);
    stuck
}

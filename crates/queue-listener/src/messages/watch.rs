//! Has a user's topic read from its start that was deleted and recreated so quickly that the client's metadata never
//! showed it missing. (Where they do, the topic leaves the assignment and comes back, and Kafka has deleted the old
//! offsets with the old topic.) And has those that Kafka refused looked at again, and asks for the ends of those that are
//! paused.

use std::sync::{Arc, Weak};
use std::time::Duration;

use domain::record::Coordinates;
use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;

use super::callbacks::MessageCallbacks;
use crate::group::recreated::{self, Findings, FirstRead};

/// How often the topics are looked at, with one question about all of them.
const PERIOD: Duration = Duration::from_secs(5);

/// Looks until the consumer is gone, over a client of its own: one that is shared can't leave its group before the
/// answer has come.
pub(super) async fn watch(kafka: ClientConfig, callbacks: Weak<MessageCallbacks>) {
    let mut client: Option<Arc<BaseConsumer>> = None;
    loop {
        tokio::time::sleep(PERIOD).await;
        let Some(callbacks) = callbacks.upgrade() else { return };
        if callbacks.refusals.cannot_read() {
            let (asked, kafka) = (Arc::clone(&callbacks), kafka.clone());
            let looking = tokio::task::spawn_blocking(move || {
                let assigned = asked.assigned();
                let assigned = assigned.iter().map(|(topic, partition)| (topic.as_str(), *partition));
                asked.refusals.look_again(&kafka, assigned);
            });
            let _looked = looking.await;
        }
        let first_reads = callbacks.first_reads();
        if first_reads.is_empty() && !callbacks.is_paused() {
            continue;
        }
        client = client.or_else(|| kafka.create().ok().map(Arc::new));
        let Some(client) = client.clone() else { continue };
        let kafka = kafka.clone();
        // Whether it panics or not, the next look comes.
        let _looked =
            tokio::task::spawn_blocking(move || look(&client, &kafka, &callbacks, first_reads)).await;
    }
}

fn look(
    client: &BaseConsumer,
    kafka: &ClientConfig,
    callbacks: &MessageCallbacks,
    first_reads: Vec<FirstRead>,
) {
    let assigned = callbacks.assigned();
    let partitions = assigned.iter().map(|(topic, partition)| (topic.as_str(), *partition));
    callbacks.asked_ends.look(client, callbacks.is_paused(), partitions);
    let Findings { recreated, raised } = recreated::find(client, kafka, first_reads);
    for first in raised {
        callbacks.remember(first);
    }
    for first in recreated {
        let Coordinates { topic, partition, .. } = first.coordinates;
        tracing::warn!(
            kafka.topic = topic,
            kafka.partition = partition,
            "the topic was deleted and recreated; the partition is read from its start"
        );
        callbacks.rewind((topic, partition));
    }
}

//! What librdkafka calls back for messages, on the thread that polls: rebalances and statistics.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use domain::record::Coordinates;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientContext, Message as _, Offset, Statistics, TopicPartitionList};

use super::metrics::MessageMetrics;
use crate::group::behind::Behind;
use crate::group::ends::{AskedEnds, PartitionEnds};
use crate::group::member::commit;
use crate::group::recreated::FirstRead;
use crate::group::refusals::MemberRefusals;
use crate::metrics::ListenerMetrics;

/// A topic and the number of a partition.
pub(super) type Partition = (String, i32);

/// How far partitions were read: the assignment under which each was, and the offset after its last record.
pub(super) type ReadUpTo = HashMap<Partition, (u64, i64)>;

/// The listener's end of the client.
pub(super) struct MessageCallbacks {
    pub(super) joined: Arc<AtomicBool>,
    metrics: MessageMetrics,
    started: Instant,
    pub(super) refusals: MemberRefusals,
    assignments: Mutex<Assignments>,
    behind: Mutex<Behind<Partition>>,
    pub(super) asked_ends: AskedEnds,
}

#[derive(Default)]
struct Assignments {
    last: u64,
    current: HashMap<Partition, HeldPartition>,
    /// Partitions that are to be read from their start.
    rewound: HashSet<Partition>,
}

/// One partition, from the time it is given until it is taken.
#[derive(Default)]
struct HeldPartition {
    number: u64,
    first: Option<FirstRead>,
    /// The offset after the last record that was read; 0 if none was.
    next: i64,
    /// The offset below which everything is stored, and not committed yet.
    stored: Option<i64>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MessageCallbacks {
    pub(super) fn new(joined: Arc<AtomicBool>, metrics: &ListenerMetrics) -> Self {
        let refusals = MemberRefusals::new(metrics.refused.clone());
        Self {
            joined,
            metrics: metrics.user_messages.clone(),
            started: Instant::now(),
            refusals,
            assignments: Mutex::default(),
            behind: Mutex::default(),
            asked_ends: AskedEnds::default(),
        }
    }

    /// Tells whether nothing is read because what was read can't be stored.
    pub(super) fn is_paused(&self) -> bool {
        self.metrics.paused.get() == 1
    }

    /// Returns what is assigned.
    pub(super) fn assigned(&self) -> Vec<Partition> {
        self.assignments().current.keys().cloned().collect()
    }

    fn assignments(&self) -> MutexGuard<'_, Assignments> {
        lock(&self.assignments)
    }

    /// Takes note of a record that was read, here and in what is known of its chunk.
    pub(super) fn note(&self, record: &BorrowedMessage<'_>, read: &mut ReadUpTo) {
        let partition = (record.topic().to_owned(), record.partition());
        let mut assignments = self.assignments();
        // Until it is read from its start, what comes is from where the old topic ended.
        if assignments.rewound.contains(&partition) {
            return;
        }
        let Some(assignment) = assignments.current.get_mut(&partition) else { return };
        // The client itself goes back to the start of a topic that has become shorter.
        if assignment.first.as_ref().is_none_or(|first| record.offset() < first.coordinates.offset) {
            assignment.first = FirstRead::of(record);
        }
        // The last one counts, not the highest: a topic that was recreated begins anew.
        assignment.next = record.offset() + 1;
        read.insert(partition, (assignment.number, assignment.next));
    }

    /// Takes note that a chunk is stored. What was taken away meanwhile, or was taken and given again, is not this
    /// assignment's to commit.
    pub(super) fn finish(&self, read: ReadUpTo) {
        let mut assignments = self.assignments();
        for (partition, (number, next)) in read {
            let assignment = assignments.current.get_mut(&partition);
            if let Some(assignment) = assignment.filter(|assignment| assignment.number == number) {
                assignment.stored = Some(next);
            }
        }
    }

    /// Commits what is stored and not committed. What a rebalance refuses is left for the next time.
    pub(super) fn commit_stored(&self, client: &BaseConsumer<Self>) {
        let offsets = self.uncommitted();
        if commit(client, &offsets, CommitMode::Sync) {
            self.forget(&offsets);
        }
    }

    /// Takes note that offsets are committed.
    fn forget(&self, offsets: &TopicPartitionList) {
        let mut assignments = self.assignments();
        for element in offsets.elements() {
            let partition = (element.topic().to_owned(), element.partition());
            if let Some(assignment) = assignments.current.get_mut(&partition) {
                assignment.stored.take_if(|next| element.offset() == Offset::Offset(*next));
            }
        }
    }

    fn uncommitted(&self) -> TopicPartitionList {
        let mut offsets = TopicPartitionList::new();
        for ((topic, partition), assignment) in &self.assignments().current {
            if let Some(next) = assignment.stored {
                // Adding fails for what is no offset.
                let _added = offsets.add_partition_offset(topic, *partition, Offset::Offset(next));
            }
        }
        offsets
    }

    pub(super) fn first_reads(&self) -> Vec<FirstRead> {
        let assignments = self.assignments();
        assignments.current.values().filter_map(|assignment| assignment.first.clone()).collect()
    }

    /// Replaces what is remembered of a first read, unless there is another one by now.
    pub(super) fn remember(&self, raised: FirstRead) {
        let mut assignments = self.assignments();
        let Coordinates { topic, partition, .. } = &raised.coordinates;
        let partition = (topic.clone(), *partition);
        let known = assignments.current.get_mut(&partition).and_then(|assignment| assignment.first.as_mut());
        if let Some(known) = known
            && known.coordinates == raised.coordinates
        {
            *known = raised;
        }
    }

    /// Has a partition read from its start, under a new assignment: what was read before is another topic's.
    pub(super) fn rewind(&self, partition: Partition) {
        let mut assignments = self.assignments();
        if assignments.current.contains_key(&partition) {
            assignments.begin(partition.clone());
            assignments.rewound.insert(partition);
        }
    }

    /// Returns the partitions to read from their start, until they are [`found`](Self::found_start).
    pub(super) fn rewound(&self) -> Vec<Partition> {
        self.assignments().rewound.iter().cloned().collect()
    }

    /// Takes note that what comes next of a partition is its start.
    pub(super) fn found_start(&self, partition: &Partition) {
        self.assignments().rewound.remove(partition);
    }
}

impl Assignments {
    fn begin(&mut self, partition: Partition) {
        self.last += 1;
        self.current.insert(partition, HeldPartition { number: self.last, ..HeldPartition::default() });
    }

    fn topics(&self) -> usize {
        self.current.keys().map(|(topic, _)| topic).collect::<HashSet<_>>().len()
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<Partition> {
    let elements = list.elements();
    elements.iter().map(|element| (element.topic().to_owned(), element.partition())).collect()
}

impl ClientContext for MessageCallbacks {
    fn stats(&self, statistics: Statistics) {
        let (assignments, mut behind) = (self.assignments(), lock(&self.behind));
        let (mut lag, now) = (0, self.started.elapsed());
        for (partition, held) in &assignments.current {
            let topic = statistics.topics.get(&partition.0);
            let Some(told) = topic.and_then(|topic| topic.partitions.get(&partition.1)) else { continue };
            let asked = self.asked_ends.of(&partition.0, partition.1);
            let ends = PartitionEnds::new(told, held.next, asked);
            lag += ends.lag();
            if let Some(unfinished) = ends.unfinished(held.stored) {
                behind.note(partition.clone(), unfinished, now);
            }
        }
        behind.keep(|partition| assignments.current.contains_key(partition));
        self.metrics.lag.set(lag);
        self.metrics.lag_seconds.set(behind.longest(now).as_secs_f64());
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(error = error.to_string(), kafka.reason = reason, "librdkafka");
    }
}

impl ConsumerContext for MessageCallbacks {
    fn pre_rebalance(&self, client: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(list) = rebalance else { return };
        let (taken, lost) = (partitions(list), client.assignment_lost());
        if !lost {
            self.commit_stored(client);
        }
        let mut assignments = self.assignments();
        for partition in &taken {
            assignments.current.remove(partition);
            assignments.rewound.remove(partition);
        }
        self.metrics.topics.set(assignments.topics() as i64);
        tracing::info!(
            kafka.partition_count = taken.len(),
            kafka.lost = lost,
            "partitions of messages revoked"
        );
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => {
                let given = partitions(list);
                let count = given.len();
                let mut assignments = self.assignments();
                for partition in given {
                    assignments.begin(partition);
                }
                self.metrics.topics.set(assignments.topics() as i64);
                self.joined.store(true, Ordering::Release);
                self.refusals.is_member();
                if count > 0 {
                    tracing::info!(kafka.partition_count = count, "partitions of messages assigned");
                }
            }
            Rebalance::Revoke(_) => {}
            Rebalance::Error(error) => tracing::warn!(error = error.to_string(), "a rebalance failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    // Break: don't compare the numbers in `finish` of messages/callbacks.rs.
    #[test]
    fn what_was_stored_for_an_earlier_assignment_is_not_committed() {
        let callbacks = MessageCallbacks::new(
            Arc::default(),
            &ListenerMetrics::register(&Registry::new()).expect("metrics"),
        );
        let partition = |name: &str| (name.to_owned(), 0);
        for name in ["kept", "taken", "given again", "recreated"] {
            callbacks.assignments().begin(partition(name));
        }
        let read: ReadUpTo = callbacks
            .assignments()
            .current
            .iter()
            .map(|(partition, assignment)| (partition.clone(), (assignment.number, 7)))
            .collect();
        callbacks.assignments().current.remove(&partition("taken"));
        callbacks.assignments().begin(partition("given again"));
        callbacks.rewind(partition("recreated"));
        callbacks.finish(read);
        let mut expected = TopicPartitionList::new();
        expected.add_partition_offset("kept", 0, Offset::Offset(7)).expect("an offset");
        assert_eq!(callbacks.uncommitted(), expected);
        callbacks.forget(&expected);
        assert_eq!(callbacks.uncommitted().count(), 0, "Kafka has it");
    }
}

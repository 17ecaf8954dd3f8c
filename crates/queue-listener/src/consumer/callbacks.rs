//! What librdkafka calls back, on the thread that polls: rebalances, statistics, results of commits.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel as reply_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientContext, Message as _, Offset, Statistics, TopicPartitionList};
use tokio::sync::mpsc::UnboundedSender;

use super::{Control, Frontiers};
use crate::made_again::FirstRead;
use crate::metrics::Metrics;
use crate::polling::{Standstill, commit};

/// How long a rebalance waits for the write that is under way.
const REVOKE_PATIENCE: Duration = Duration::from_secs(3);

/// The listener's end of one client.
pub(super) struct Callbacks {
    pub(super) shared: Arc<Shared>,
    /// Another client has taken this one's place: what it still calls back concerns nobody.
    pub(super) replaced: AtomicBool,
}

/// What one client hands on to the next.
pub(super) struct Shared {
    pub(super) topic: String,
    pub(super) control: UnboundedSender<Control>,
    pub(super) joined: Arc<AtomicBool>,
    pub(super) metrics: Metrics,
    pub(super) standstill: Standstill,
    pub(super) assignments: Mutex<Assignments>,
}

/// The numbers under which partitions are assigned, and what was heard of each.
#[derive(Default)]
pub(super) struct Assignments {
    last: u32,
    current: HashMap<i32, Assignment>,
    /// The partitions are paused: that nothing comes is wanted.
    paused: bool,
    /// Partitions that the watchdog has found and that nothing was heard of since.
    silent: HashSet<i32>,
    /// Partitions that are to be read from their start.
    rewound: Vec<i32>,
}

struct Assignment {
    number: u32,
    last_offset: i64,
    first: Option<FirstRead>,
    read_to_end: bool,
    /// When the last record came, or the word that there are no more.
    heard: Instant,
    /// Below which offset everything was read, as far as the client tells: an offset that holds no record, such
    /// as the mark of a transaction, counts too.
    read_below: i64,
}

impl Assignment {
    fn read(&mut self, record: &BorrowedMessage<'_>) {
        if self.last_offset < 0 {
            self.first = FirstRead::of(record);
        }
        self.last_offset = record.offset();
        self.read_below = record.offset() + 1;
    }
}

impl Assignments {
    fn begin(&mut self, partition: i32) -> u32 {
        self.last += 1;
        let assignment = Assignment {
            number: self.last,
            last_offset: -1,
            first: None,
            read_to_end: false,
            heard: Instant::now(),
            read_below: 0,
        };
        self.current.insert(partition, assignment);
        self.last
    }

    fn hear(&mut self, partition: i32) -> Option<&mut Assignment> {
        self.silent.remove(&partition);
        let assignment = self.current.get_mut(&partition)?;
        assignment.heard = Instant::now();
        Some(assignment)
    }

    fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
        let now = Instant::now();
        self.current.values_mut().for_each(|assignment| assignment.heard = now);
    }

    /// Partitions of which nothing was heard for so long, each with the offset below which it was read.
    fn silent_for(&self, silence: Duration) -> Vec<(i32, i64)> {
        let silent = |assignment: &Assignment| !self.paused && assignment.heard.elapsed() >= silence;
        let silent = self.current.iter().filter(|(_, assignment)| silent(assignment));
        silent.map(|(partition, assignment)| (*partition, assignment.read_below)).collect()
    }
}

impl Shared {
    pub(super) fn assignments(&self) -> MutexGuard<'_, Assignments> {
        self.assignments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Frontiers as the client takes them.
    pub(super) fn offsets(&self, frontiers: &Frontiers) -> TopicPartitionList {
        let mut offsets = TopicPartitionList::with_capacity(frontiers.len());
        for (partition, frontier) in frontiers {
            // It fails for what is no offset.
            let _added = offsets.add_partition_offset(&self.topic, *partition, Offset::Offset(*frontier));
        }
        offsets
    }

    fn tell(&self, control: Control) {
        // Without a pipeline the process is ending.
        let _ending = self.control.send(control);
    }

    /// The number under which a record was read. An offset that goes back means that the topic was made again:
    /// what follows belongs to a new assignment.
    pub(super) fn assignment_of(&self, record: &BorrowedMessage<'_>) -> u32 {
        let (partition, offset) = (record.partition(), record.offset());
        let mut assignments = self.assignments();
        match assignments.hear(partition) {
            Some(assignment) if assignment.last_offset < offset => {
                assignment.read(record);
                assignment.number
            }
            _ => {
                let number = assignments.begin(partition);
                if let Some(assignment) = assignments.hear(partition) {
                    assignment.read(record);
                }
                tracing::warn!(partition, offset, "offsets start again: the topic was made again");
                self.tell(Control::Assigned(vec![(partition, number)]));
                number
            }
        }
    }

    /// Takes note that a partition was read to its end. Returns its number if that is news in this assignment.
    pub(super) fn reached_end(&self, partition: i32) -> Option<(i32, u32)> {
        let mut assignments = self.assignments();
        let assignment = assignments.hear(partition).filter(|assignment| !assignment.read_to_end)?;
        assignment.read_to_end = true;
        Some((partition, assignment.number))
    }

    /// Tells whether the partitions are paused.
    pub(super) fn set_paused(&self, paused: bool) {
        self.assignments().set_paused(paused);
        self.metrics.paused.set(i64::from(paused));
    }

    pub(super) fn silent_for(&self, silence: Duration) -> Vec<(i32, i64)> {
        self.assignments().silent_for(silence)
    }

    pub(super) fn note_silent(&self, partitions: &[i32]) {
        let mut assignments = self.assignments();
        assignments.silent.extend(partitions);
        self.metrics.silent.set(assignments.silent.len() as i64);
    }

    /// The first record that was read in each partition, where there is one and it has a timestamp.
    pub(super) fn first_reads(&self) -> Vec<FirstRead> {
        self.assignments().current.values().filter_map(|assignment| assignment.first.clone()).collect()
    }

    /// Replaces what is remembered of a first read, unless there is another one by now.
    pub(super) fn remember(&self, raised: FirstRead) {
        if let Some(assignment) = self.assignments().current.get_mut(&raised.partition)
            && let Some(known) = assignment.first.as_mut()
            && (known.offset, known.timestamp) == (raised.offset, raised.timestamp)
        {
            *known = raised;
        }
    }

    /// Has a partition read from its start.
    pub(super) fn rewind(&self, partition: i32) {
        self.assignments().rewound.push(partition);
    }

    /// The partitions to read from their start, each once.
    pub(super) fn take_rewound(&self) -> Vec<i32> {
        std::mem::take(&mut self.assignments().rewound)
    }

    /// Takes all partitions away from the pipeline on behalf of a client that can't.
    pub(super) fn lose_everything(&self) {
        let partitions: Vec<i32> =
            self.assignments().current.drain().map(|(partition, _)| partition).collect();
        if !partitions.is_empty() {
            let (reply, _nobody_asks) = reply_channel();
            self.tell(Control::Revoked { partitions, lost: true, reply });
        }
    }
}

impl Callbacks {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, replaced: AtomicBool::new(false) }
    }

    fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Acquire)
    }

    fn revoke(&self, client: &BaseConsumer<Self>, partitions: &[i32]) {
        let lost = client.assignment_lost();
        {
            let mut assignments = self.shared.assignments();
            assignments.current.retain(|partition, _| !partitions.contains(partition));
            assignments.silent.retain(|partition| !partitions.contains(partition));
        }
        let (reply, answer) = reply_channel();
        self.shared.tell(Control::Revoked { partitions: partitions.to_vec(), lost, reply });
        let frontiers = answer.recv_timeout(REVOKE_PATIENCE);
        tracing::info!(?partitions, lost, "partitions revoked");
        match frontiers {
            Ok(frontiers) if !lost => {
                commit(client, &self.shared.offsets(&frontiers), CommitMode::Sync);
            }
            Err(RecvTimeoutError::Timeout) => tracing::warn!(
                ?partitions,
                "the write under way did not end in time; the partitions' next owner reads them again"
            ),
            _ => {}
        }
    }

    fn ours(&self, list: &TopicPartitionList) -> Vec<i32> {
        let mut ours: Vec<i32> = list
            .elements()
            .iter()
            .filter(|element| element.topic() == self.shared.topic)
            .map(rdkafka::topic_partition_list::TopicPartitionListElem::partition)
            .collect();
        ours.sort_unstable();
        ours
    }
}

impl ClientContext for Callbacks {
    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(&self.shared.topic).filter(|_| !self.is_replaced()) else {
            return;
        };
        let mut assignments = self.shared.assignments();
        let (mut lag, mut committed) = (0, Frontiers::new());
        for (partition, told) in &topic.partitions {
            if let Some(assignment) = assignments.current.get_mut(partition) {
                lag += told.consumer_lag.max(0);
                committed.push((*partition, told.committed_offset));
                let read = told.app_offset.max(told.eof_offset).max(told.committed_offset);
                assignment.read_below = assignment.read_below.max(read);
            }
        }
        self.shared.metrics.lag.set(lag);
        self.shared.metrics.silent.set(assignments.silent.len() as i64);
        drop(assignments);
        self.shared.tell(Control::Committed(committed));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(error = error.to_string(), reason, "librdkafka");
    }
}

impl ConsumerContext for Callbacks {
    fn pre_rebalance(&self, client: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if self.is_replaced() {
            return;
        }
        if let Rebalance::Revoke(list) = rebalance {
            let partitions = self.ours(list);
            if !partitions.is_empty() {
                self.shared.metrics.rebalances.inc();
                self.revoke(client, &partitions);
            }
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) if !self.is_replaced() => {
                let partitions = self.ours(list);
                let numbered: Vec<(i32, u32)> = {
                    let mut assignments = self.shared.assignments();
                    partitions.iter().map(|partition| (*partition, assignments.begin(*partition))).collect()
                };
                if !numbered.is_empty() {
                    self.shared.metrics.rebalances.inc();
                    tracing::info!(?partitions, "partitions assigned");
                    self.shared.tell(Control::Assigned(numbered));
                }
                self.shared.joined.store(true, Ordering::Release);
            }
            Rebalance::Assign(_) | Rebalance::Revoke(_) => {}
            Rebalance::Error(error) => tracing::warn!(error = error.to_string(), "a rebalance failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_assignment_has_a_number_of_its_own() {
        let mut assignments = Assignments::default();
        let first = assignments.begin(0);
        let second = assignments.begin(1);
        let third = assignments.begin(0);
        assert!(first < second && second < third);
        assert_eq!(assignments.current[&0].number, third);
    }

    #[test]
    fn a_partition_is_silent_until_something_is_heard_of_it_unless_it_is_paused() {
        let silence = Duration::from_secs(30);
        let mut assignments = Assignments::default();
        for partition in [0, 1] {
            assignments.begin(partition);
            let assignment = assignments.current.get_mut(&partition).expect("assigned");
            assignment.heard =
                Instant::now().checked_sub(silence).expect("the machine is up for long enough");
        }
        assert_eq!(assignments.silent_for(silence).len(), 2);
        assignments.hear(0);
        assert_eq!(assignments.silent_for(silence), [(1, 0)]);
        assignments.set_paused(true);
        assert!(assignments.silent_for(Duration::ZERO).is_empty());
        assignments.set_paused(false);
        assert!(assignments.silent_for(silence).is_empty(), "the time begins anew");
    }
}

//! What librdkafka calls back, on the thread that polls: rebalances and statistics.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel as reply_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::batch::assignment::{Assignment, Commit};
use domain::batch::heart::reader::{Read, Reader};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientContext, Message as _, Offset, Statistics, TopicPartitionList};
use tokio::sync::mpsc::UnboundedSender;

use crate::group::behind::Behind;
use crate::group::ends::{AskedEnds, HeldBack, PartitionEnds, position};
use crate::group::member::commit;
use crate::group::recreated::FirstReads;
use crate::group::refusals::MemberRefusals;
use crate::group::undecodable::UndecodableBatch;
use crate::metrics::ListenerMetrics;
use crate::stamps::control::Control;

/// How long a rebalance waits for the write that is under way. The whole group waits with it, and what is not committed
/// in time is read again and found processed; so it is no longer than a write takes on a busy machine.
const REVOKE_PATIENCE: Duration = Duration::from_secs(1);

/// The listener's end of one client.
pub(super) struct StampCallbacks {
    pub(super) shared: Arc<ConsumerState>,
    /// Whether another client has taken this one's place: what it still calls back concerns nobody.
    pub(super) replaced: AtomicBool,
}

/// What one client hands on to the next.
pub(super) struct ConsumerState {
    pub(super) topic: String,
    pub(super) control: UnboundedSender<Control>,
    pub(super) joined: Arc<AtomicBool>,
    pub(super) metrics: ListenerMetrics,
    pub(super) undecodable: UndecodableBatch,
    pub(super) refusals: MemberRefusals,
    pub(super) asked_ends: AskedEnds,
    reader: Mutex<Reader>,
    first_reads: Mutex<FirstReads>,
    /// Partitions that are to be read from their start.
    rewound: Mutex<Vec<i32>>,
    held_back: Mutex<HeldBack>,
    behind: Mutex<Behind<i32>>,
    started: Instant,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ConsumerState {
    pub(super) fn new(
        topic: &str,
        control: UnboundedSender<Control>,
        joined: Arc<AtomicBool>,
        metrics: ListenerMetrics,
    ) -> Self {
        Self {
            topic: topic.to_owned(),
            control,
            joined,
            undecodable: UndecodableBatch::new(metrics.unreadable.clone()),
            refusals: MemberRefusals::new(metrics.refused.clone()),
            metrics,
            asked_ends: AskedEnds::default(),
            reader: Mutex::default(),
            first_reads: Mutex::default(),
            rewound: Mutex::default(),
            held_back: Mutex::default(),
            behind: Mutex::default(),
            started: Instant::now(),
        }
    }

    pub(super) fn reader(&self) -> MutexGuard<'_, Reader> {
        lock(&self.reader)
    }

    pub(super) fn first_reads(&self) -> MutexGuard<'_, FirstReads> {
        lock(&self.first_reads)
    }

    /// Returns the reader's time.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns offsets as the client takes them.
    pub(super) fn offsets(&self, commits: &[Commit]) -> TopicPartitionList {
        let mut offsets = TopicPartitionList::with_capacity(commits.len());
        for Commit { assignment, offset } in commits {
            // Adding fails for what is no offset.
            let _added =
                offsets.add_partition_offset(&self.topic, assignment.partition, Offset::Offset(*offset));
        }
        offsets
    }

    fn count_partitions(&self) {
        self.metrics.partitions.set(self.reader().assigned() as i64);
    }

    fn tell(&self, control: Control) {
        // Without a shell the process is ending.
        let _ending = self.control.send(control);
    }

    /// Takes note of a record. Returns during which assignment it was read, `None` if the record is somebody else's.
    pub(super) fn note(&self, record: &BorrowedMessage<'_>) -> Option<Assignment> {
        let (partition, offset) = (record.partition(), record.offset());
        let Read { assignment, is_first, goes_back } =
            self.reader().read(partition, offset, self.elapsed())?;
        if goes_back {
            tracing::warn!(
                kafka.partition = partition,
                kafka.offset = offset,
                "offsets start again: the log was truncated, or the topic deleted and recreated"
            );
        }
        if is_first || goes_back {
            self.first_reads().note(record);
        }
        Some(assignment)
    }

    /// Takes note of whether the partitions are paused.
    pub(super) fn set_paused(&self, paused: bool) {
        self.reader().set_paused(paused, self.elapsed());
        self.metrics.paused.set(i64::from(paused));
    }

    /// Has a partition read from its start.
    pub(super) fn rewind(&self, partition: i32) {
        lock(&self.rewound).push(partition);
    }

    /// Takes the partitions that are to be read from their start.
    pub(super) fn take_rewound(&self) -> Vec<i32> {
        std::mem::take(&mut *lock(&self.rewound))
    }

    /// Takes all partitions away from the heart on behalf of a client that can't.
    pub(super) fn lose_everything(&self) {
        let assignments = self.reader().revoke_all();
        self.count_partitions();
        if !assignments.is_empty() {
            self.tell(Control::Revoked { assignments, lost: true, reply: None });
        }
    }
}

impl StampCallbacks {
    pub(super) fn new(shared: Arc<ConsumerState>) -> Self {
        Self { shared, replaced: AtomicBool::new(false) }
    }

    fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Acquire)
    }

    fn revoke(&self, client: &BaseConsumer<Self>, partitions: &[i32]) {
        let lost = client.assignment_lost();
        let assignments = self.shared.reader().revoke(partitions);
        self.shared.count_partitions();
        self.shared.first_reads().forget(partitions);
        tracing::info!(kafka.partitions = ?partitions, kafka.lost = lost, "partitions revoked");
        if lost {
            self.shared.tell(Control::Revoked { assignments, lost, reply: None });
            return;
        }
        let (reply, answer) = reply_channel();
        self.shared.tell(Control::Revoked { assignments, lost, reply: Some(reply) });
        match answer.recv_timeout(REVOKE_PATIENCE) {
            Ok(frontiers) => {
                commit(client, &self.shared.offsets(&frontiers), CommitMode::Sync);
            }
            Err(RecvTimeoutError::Timeout) => tracing::warn!(
                kafka.partitions = ?partitions,
                "the write under way did not end in time; the partitions' next owner reads them again"
            ),
            Err(RecvTimeoutError::Disconnected) => {}
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

impl ClientContext for StampCallbacks {
    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(&self.shared.topic).filter(|_| !self.is_replaced()) else {
            return;
        };
        let mut reader = self.shared.reader();
        let (mut held_back, mut behind) = (lock(&self.shared.held_back), lock(&self.shared.behind));
        let now = self.shared.elapsed();
        let (mut lag, mut known, mut held) = (0, Vec::new(), Vec::new());
        for (partition, told) in &topic.partitions {
            if let Some(assignment) = reader.is_read_below(*partition, position(told)) {
                let asked = self.shared.asked_ends.of(&self.shared.topic, *partition);
                let ends = PartitionEnds::new(told, reader.next(*partition), asked);
                lag += ends.lag();
                known.push(Commit { assignment, offset: ends.committed });
                if let Some(unread) = ends.unread() {
                    behind.note(*partition, unread, now);
                }
                if held_back.note(*partition, &ends, now) {
                    held.push(*partition);
                }
            }
        }
        let is_ours = |partition| known.iter().any(|commit| commit.assignment.partition == partition);
        held_back.keep(is_ours);
        behind.keep(|partition| is_ours(*partition));
        self.shared.metrics.lag.set(lag);
        self.shared.metrics.lag_seconds.set(behind.longest(now).as_secs_f64());
        drop((held_back, behind));
        self.shared.metrics.silent.set(reader.silent() as i64);
        drop(reader);
        if self.shared.metrics.held_back.get() == 0 && !held.is_empty() {
            tracing::warn!(kafka.partitions = ?held, "an open transaction of another producer holds records back");
        }
        self.shared.metrics.held_back.set(held.len() as i64);
        self.shared.tell(Control::Known(known));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(error = error.to_string(), kafka.reason = reason, "librdkafka");
    }
}

impl ConsumerContext for StampCallbacks {
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
                if !partitions.is_empty() {
                    let assignments = self.shared.reader().assign(&partitions, self.shared.elapsed());
                    self.shared.count_partitions();
                    self.shared.metrics.rebalances.inc();
                    tracing::info!(kafka.partitions = ?partitions, "partitions assigned");
                    self.shared.tell(Control::Assigned(assignments));
                }
                self.shared.joined.store(true, Ordering::Release);
                self.shared.refusals.is_member();
            }
            Rebalance::Assign(_) | Rebalance::Revoke(_) => {}
            Rebalance::Error(error) => tracing::warn!(error = error.to_string(), "a rebalance failed"),
        }
    }
}

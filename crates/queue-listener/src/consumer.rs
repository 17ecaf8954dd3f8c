//! The poll thread: reads records, serves rebalances, and is the one place that commits offsets.
//!
//! librdkafka runs its callbacks on the thread that polls, so this thread always polls. It waits for nothing
//! but, for a bounded time, the pipeline: with the channel full it pauses its partitions and goes on polling.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel as reply_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak, mpsc};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use platform::clock::Clock;
use platform::kafka::KafkaSettings;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientContext, Message as _, Offset, Statistics, TopicPartitionList};
use tokio::sync::mpsc::{Sender, UnboundedSender};
use tokio::sync::oneshot;

use crate::metrics::Metrics;
use crate::record::Record;

/// Records that were read together.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    pub(crate) records: Vec<Record>,
    /// Partitions that were read to their end for the first time in this assignment.
    pub(crate) ends: Vec<(i32, u32)>,
}

/// What happens to partitions. It reaches the pipeline before any record that was read after it.
#[derive(Debug)]
pub(crate) enum Control {
    /// Partitions were assigned, each under a number of its own.
    Assigned(Vec<(i32, u32)>),
    /// Partitions are taken away. The reply carries what may be committed for them.
    Revoked {
        partitions: Vec<i32>,
        /// They are somebody else's already: nothing may be committed.
        lost: bool,
        reply: mpsc::Sender<Frontiers>,
    },
}

/// Records handed over at once, at most.
const CHUNK_RECORDS: usize = 2_000;
const CHUNK_BYTES: usize = 8 << 20;
const POLL: Duration = Duration::from_millis(100);
/// How long a full channel is waited for before the partitions are paused: a pause throws away what the client
/// has fetched ahead.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a rebalance waits for the write that is under way.
const REVOKE_PATIENCE: Duration = Duration::from_secs(3);
/// How long leaving the group may take; the broker notices by itself later.
const CLOSE_PATIENCE: Duration = Duration::from_secs(4);

/// How long after the last word of it a partition counts as standing still: the client tries a batch that it can't
/// unpack twice a second.
const STANDSTILL: Duration = Duration::from_secs(10);

/// Partitions and the offsets that may be committed for them.
pub(crate) type Frontiers = Vec<(i32, i64)>;

/// A running consumer.
pub(crate) struct Consumer {
    client: Weak<BaseConsumer<Callbacks>>,
    topic: String,
    stop: Arc<OnceLock<Frontiers>>,
    ended: oneshot::Receiver<()>,
}

/// What the poll thread works with.
pub(crate) struct Channels {
    pub(crate) fetched: Sender<Fetched>,
    pub(crate) control: UnboundedSender<Control>,
    /// Set once the group has given this member its first assignment, empty or not.
    pub(crate) joined: Arc<AtomicBool>,
}

impl Consumer {
    /// Subscribes and starts the poll thread.
    ///
    /// # Errors
    /// If the client can't be made.
    pub(crate) fn start(
        kafka: &KafkaSettings,
        group_id: &str,
        topic: &str,
        channels: Channels,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let callbacks = Callbacks {
            control: channels.control,
            joined: channels.joined,
            assignments: Mutex::default(),
            topic: topic.to_owned(),
            metrics: metrics.clone(),
        };
        let client: BaseConsumer<Callbacks> = kafka
            .client_config()
            .set("group.id", group_id)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", "10000")
            .set("heartbeat.interval.ms", "3000")
            // The default of a second halves the rate once the local queue has been full.
            .set("fetch.queue.backoff.ms", "10")
            // Bounds how long a backlog's last records wait for the word that there are no more.
            .set("fetch.wait.max.ms", "100")
            .set("queued.max.messages.kbytes", "32768")
            .set("statistics.interval.ms", "2000")
            .create_with_context(callbacks)
            .context("the Kafka consumer can't be made")?;
        client.subscribe(&[topic])?;
        let client = Arc::new(client);
        let (stop, (ended_sender, ended)) = (Arc::new(OnceLock::new()), oneshot::channel());
        let consumer =
            Self { client: Arc::downgrade(&client), topic: topic.to_owned(), stop: Arc::clone(&stop), ended };
        let runtime = tokio::runtime::Handle::current();
        let poller = Poller {
            client,
            topic: topic.to_owned(),
            fetched: channels.fetched,
            clock,
            stop,
            runtime,
            metrics,
            unreadable: Cell::default(),
        };
        std::thread::Builder::new().name("kafka-poll".to_owned()).spawn(move || {
            poller.run();
            // Dropping the client leaves the group.
            drop(poller);
            let _nobody_waits = ended_sender.send(());
        })?;
        Ok(consumer)
    }

    /// Commits frontiers without waiting; what fails is committed with the next ones.
    pub(crate) fn commit(&self, frontiers: &[(i32, i64)]) {
        if let Some(client) = self.client.upgrade() {
            report(commit(&client, &self.topic, frontiers, CommitMode::Async));
        }
    }

    /// Commits the last frontiers, leaves the group and ends the thread; gives up after a few seconds.
    pub(crate) async fn close(self, frontiers: Frontiers) {
        let _first_stop = self.stop.set(frontiers);
        if tokio::time::timeout(CLOSE_PATIENCE, self.ended).await.is_err() {
            tracing::warn!("the group was not left in time; its broker will notice");
        }
    }
}

/// The only caller of Kafka's offset commit.
fn commit(
    client: &BaseConsumer<Callbacks>,
    topic: &str,
    frontiers: &[(i32, i64)],
    mode: CommitMode,
) -> KafkaResult<()> {
    if frontiers.is_empty() {
        return Ok(());
    }
    let mut offsets = TopicPartitionList::with_capacity(frontiers.len());
    for (partition, frontier) in frontiers {
        offsets.add_partition_offset(topic, *partition, Offset::Offset(*frontier))?;
    }
    client.commit(&offsets, mode)
}

/// A failed commit is harmless: what lies behind it is read again and found processed.
fn report(result: KafkaResult<()>) {
    if let Err(error) = result {
        tracing::info!(error = error.to_string(), "offsets were not committed; the next commit covers them");
    }
}

struct Poller {
    client: Arc<BaseConsumer<Callbacks>>,
    topic: String,
    fetched: Sender<Fetched>,
    clock: Arc<dyn Clock>,
    stop: Arc<OnceLock<Frontiers>>,
    runtime: tokio::runtime::Handle,
    metrics: Metrics,
    /// When the client last met a batch that it can't unpack.
    unreadable: Cell<Option<Instant>>,
}

impl Poller {
    fn run(&self) {
        while !self.stopping() {
            self.forget_standstill();
            let mut chunk = Fetched::default();
            self.fetch(POLL, &mut chunk);
            let nothing = chunk.records.is_empty() && chunk.ends.is_empty();
            if !nothing && !self.hand_over(chunk) {
                break;
            }
        }
        if let Some(frontiers) = self.stop.get() {
            report(commit(&self.client, &self.topic, frontiers, CommitMode::Sync));
        }
    }

    fn stopping(&self) -> bool {
        self.stop.get().is_some()
    }

    /// Waits for a record, then takes all that the client has fetched already, up to a chunk.
    fn fetch(&self, wait: Duration, chunk: &mut Fetched) {
        let (mut wait, mut bytes) = (wait, 0);
        while chunk.records.len() < CHUNK_RECORDS && bytes < CHUNK_BYTES {
            match self.client.poll(wait) {
                None => return,
                Some(Ok(record)) => {
                    let record = self.decode(&record);
                    bytes += record.size();
                    chunk.records.push(record);
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    chunk.ends.extend(self.client.context().reached_end(partition));
                }
                Some(Err(error)) => self.report(&error),
            }
            wait = Duration::ZERO;
        }
    }

    fn decode(&self, record: &BorrowedMessage<'_>) -> Record {
        let assignment = self.client.context().assignment_of(record);
        Record::decode(record, assignment, self.clock.now())
    }

    /// Gives a chunk to the pipeline. Returns false once there is none any more.
    fn hand_over(&self, chunk: Fetched) -> bool {
        let room =
            self.runtime.block_on(async { tokio::time::timeout(PATIENCE, self.fetched.reserve()).await });
        match room {
            Ok(Ok(permit)) => {
                permit.send(chunk);
                true
            }
            Ok(Err(_closed)) => false,
            Err(_full) => self.hand_over_paused(chunk),
        }
    }

    /// The same while the pipeline is busy for long: the partitions are paused, the polling goes on.
    fn hand_over_paused(&self, mut chunk: Fetched) -> bool {
        tracing::debug!("the pipeline is busy; partitions are paused");
        let mut paused = TopicPartitionList::new();
        let delivered = loop {
            if self.stopping() {
                break false;
            }
            // Partitions that came in a rebalance meanwhile are not paused yet.
            if let Ok(assigned) = self.client.assignment()
                && self.client.pause(&assigned).is_ok()
            {
                paused = assigned;
            }
            // What was under way already comes all the same.
            self.fetch(POLL, &mut chunk);
            match self.fetched.try_reserve() {
                Ok(permit) => {
                    permit.send(chunk);
                    break true;
                }
                Err(tokio::sync::mpsc::error::TrySendError::Full(())) => {}
                Err(tokio::sync::mpsc::error::TrySendError::Closed(())) => break false,
            }
        };
        // Only what is still assigned and was paused here: resuming anything else delivers records twice.
        let still = self.client.assignment().unwrap_or_default();
        let mut resumed = TopicPartitionList::new();
        for element in paused.elements() {
            if still.find_partition(element.topic(), element.partition()).is_some() {
                resumed.add_partition(element.topic(), element.partition());
            }
        }
        if let Err(error) = self.client.resume(&resumed) {
            tracing::warn!(error = error.to_string(), "partitions can't be resumed");
        }
        delivered
    }

    fn forget_standstill(&self) {
        if self.unreadable.get().is_some_and(|last| last.elapsed() > STANDSTILL) {
            self.unreadable.set(None);
            self.metrics.unreadable.set(0);
        }
    }

    fn report(&self, error: &KafkaError) {
        match error.rdkafka_error_code() {
            // Said by the reachability probe.
            Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure) => {
                tracing::debug!(error = error.to_string(), "the brokers are away");
            }
            // What the client can't unpack it can't hand over either, not even as a dead letter.
            Some(
                RDKafkaErrorCode::BadCompression
                | RDKafkaErrorCode::BadMessage
                | RDKafkaErrorCode::InvalidMessage
                | RDKafkaErrorCode::MessageSizeTooLarge,
            ) => {
                if self.unreadable.replace(Some(Instant::now())).is_none() {
                    tracing::error!(
                        error = error.to_string(),
                        "a partition stands still at a batch that can't be unpacked: move its offset by hand"
                    );
                }
                self.metrics.unreadable.set(1);
            }
            _ => tracing::warn!(error = error.to_string(), "Kafka reports an error"),
        }
    }
}

/// What librdkafka calls back, always on the poll thread.
struct Callbacks {
    control: UnboundedSender<Control>,
    joined: Arc<AtomicBool>,
    assignments: Mutex<Assignments>,
    topic: String,
    metrics: Metrics,
}

/// The numbers under which partitions are assigned.
#[derive(Default)]
struct Assignments {
    last: u32,
    current: HashMap<i32, Assignment>,
}

struct Assignment {
    number: u32,
    last_offset: i64,
    read_to_end: bool,
}

impl Assignments {
    fn begin(&mut self, partition: i32) -> u32 {
        self.last += 1;
        self.current.insert(partition, Assignment { number: self.last, last_offset: -1, read_to_end: false });
        self.last
    }
}

impl Callbacks {
    fn assignments(&self) -> std::sync::MutexGuard<'_, Assignments> {
        self.assignments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, control: Control) {
        // Without a pipeline the process is ending.
        let _ending = self.control.send(control);
    }

    /// The number under which a record was read. An offset that goes back means that the topic was made again:
    /// what follows belongs to a new assignment.
    fn assignment_of(&self, record: &BorrowedMessage<'_>) -> u32 {
        let (partition, offset) = (record.partition(), record.offset());
        let mut assignments = self.assignments();
        match assignments.current.get_mut(&partition) {
            Some(assignment) if assignment.last_offset < offset => {
                assignment.last_offset = offset;
                assignment.number
            }
            _ => {
                let number = assignments.begin(partition);
                if let Some(assignment) = assignments.current.get_mut(&partition) {
                    assignment.last_offset = offset;
                }
                tracing::warn!(partition, offset, "offsets start again: the topic was made again");
                self.tell(Control::Assigned(vec![(partition, number)]));
                number
            }
        }
    }

    fn reached_end(&self, partition: i32) -> Option<(i32, u32)> {
        let mut assignments = self.assignments();
        let assignment =
            assignments.current.get_mut(&partition).filter(|assignment| !assignment.read_to_end)?;
        assignment.read_to_end = true;
        Some((partition, assignment.number))
    }

    fn revoke(&self, client: &BaseConsumer<Self>, partitions: &[i32]) {
        let lost = client.assignment_lost();
        self.assignments().current.retain(|partition, _| !partitions.contains(partition));
        let (reply, answer) = reply_channel();
        self.tell(Control::Revoked { partitions: partitions.to_vec(), lost, reply });
        let frontiers = answer.recv_timeout(REVOKE_PATIENCE);
        tracing::info!(?partitions, lost, "partitions revoked");
        match frontiers {
            Ok(frontiers) if !lost => report(commit(client, &self.topic, &frontiers, CommitMode::Sync)),
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
            .filter(|element| element.topic() == self.topic)
            .map(rdkafka::topic_partition_list::TopicPartitionListElem::partition)
            .collect();
        ours.sort_unstable();
        ours
    }
}

impl ClientContext for Callbacks {
    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(&self.topic) else {
            return;
        };
        let assigned = self.assignments();
        let lag = topic
            .partitions
            .iter()
            .filter(|(partition, _)| assigned.current.contains_key(partition))
            .map(|(_, partition)| partition.consumer_lag.max(0))
            .sum();
        self.metrics.lag.set(lag);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(error = error.to_string(), reason, "librdkafka");
    }
}

impl ConsumerContext for Callbacks {
    fn pre_rebalance(&self, client: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(list) = rebalance {
            let partitions = self.ours(list);
            if !partitions.is_empty() {
                self.metrics.rebalances.inc();
                self.revoke(client, &partitions);
            }
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => {
                let partitions = self.ours(list);
                let numbered: Vec<(i32, u32)> = {
                    let mut assignments = self.assignments();
                    partitions.iter().map(|partition| (*partition, assignments.begin(*partition))).collect()
                };
                if !numbered.is_empty() {
                    self.metrics.rebalances.inc();
                    tracing::info!(?partitions, "partitions assigned");
                    self.tell(Control::Assigned(numbered));
                }
                self.joined.store(true, Ordering::Release);
            }
            Rebalance::Revoke(_) => {}
            Rebalance::Error(error) => tracing::warn!(error = error.to_string(), "a rebalance failed"),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        report(result);
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
}

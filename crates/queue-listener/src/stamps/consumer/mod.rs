//! The poll thread of stamps: reads records, serves rebalances, and commits frontiers.
//!
//! librdkafka runs its callbacks on the thread that polls, so this thread always polls. It waits for nothing
//! but, for a bounded time, the shell: with the channel full it pauses its partitions and goes on polling.

mod callbacks;
pub(crate) mod clients;
#[cfg(test)]
mod tests;
mod watchdog;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use domain::batch::assignment::Commit;
use domain::batch::heart::{Chunk, Record};
use domain::record::KafkaRecord;
use platform::kafka::{KafkaSettings, record};
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use store::clock::Clock;
use tokio::sync::mpsc::{Sender, UnboundedSender};
use tokio::sync::oneshot;

use self::callbacks::{ConsumerState, StampCallbacks};
use self::clients::{Clients, CurrentClient, OffsetCommitter, Watched};
use crate::group::member::{
    CHUNK_BYTES, CHUNK_RECORDS, CLOSE_PATIENCE, PATIENCE, POLL, Pause, SEEK_LIMIT, commit,
};
use crate::metrics::ListenerMetrics;
use crate::stamps::control::Control;
use crate::stamps::record::{Other, decode};

/// How long a partition that has records may be silent: far longer than a fetch, a rebalance or a new leader takes.
const SILENCE: Duration = Duration::from_secs(30);

/// A running consumer.
pub(crate) struct Consumer {
    stop: mpsc::Sender<Vec<Commit>>,
    ended: oneshot::Receiver<()>,
}

/// What the poll thread works with.
pub(crate) struct Channels {
    pub(crate) fetched: Sender<Chunk<Other>>,
    pub(crate) control: UnboundedSender<Control>,
    /// Whether the group has given this member its first assignment, empty or not.
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
        metrics: ListenerMetrics,
    ) -> anyhow::Result<(Self, OffsetCommitter)> {
        let Channels { fetched, control, joined } = channels;
        let clients = Clients {
            kafka: kafka.clone(),
            group_id: group_id.to_owned(),
            shared: Arc::new(ConsumerState::new(topic, control, joined, metrics)),
            silence: SILENCE,
        };
        Self::start_with(clients, fetched, clock)
    }

    fn start_with(
        clients: Clients,
        fetched: Sender<Chunk<Other>>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<(Self, OffsetCommitter)> {
        let watched = clients.connect()?;
        let current = CurrentClient::default();
        current.set(&watched.client);
        let ((stop, stopped), (ended_sender, ended)) = (mpsc::channel(), oneshot::channel());
        let committer = OffsetCommitter(current.clone());
        let runtime = tokio::runtime::Handle::current();
        let poller = StampPoller { clients, watched, current, fetched, clock, stopped, last: None, runtime };
        std::thread::Builder::new().name("kafka-poll".to_owned()).spawn(move || {
            poller.run();
            let _nobody_waits = ended_sender.send(());
        })?;
        Ok((Self { stop, ended }, committer))
    }

    /// Commits what may be committed last, leaves the group and ends the thread; gives up after `patience`, or a few
    /// seconds.
    pub(crate) async fn close(self, frontiers: Vec<Commit>, patience: Duration) {
        let _thread_is_gone = self.stop.send(frontiers);
        if tokio::time::timeout(CLOSE_PATIENCE.min(patience), self.ended).await.is_err() {
            tracing::warn!("the group was not left in time; its broker will notice");
        }
    }
}

struct StampPoller {
    clients: Clients,
    watched: Watched,
    current: CurrentClient,
    fetched: Sender<Chunk<Other>>,
    clock: Arc<dyn Clock>,
    stopped: mpsc::Receiver<Vec<Commit>>,
    /// What may be committed last, once that is known.
    last: Option<Vec<Commit>>,
    runtime: tokio::runtime::Handle,
}

impl StampPoller {
    fn run(mut self) {
        while !self.is_stopping() {
            if self.watched.stuck.load(Ordering::Acquire) {
                match self.with_a_fresh_client() {
                    Ok(poller) => self = poller,
                    Err(error) => {
                        tracing::error!(error = format!("{error:#}"), "no fresh consumer can be made");
                        return;
                    }
                }
            }
            self.rewind();
            self.clients.shared.undecodable.forget_old();
            let mut chunk = Chunk { records: Vec::new(), ends: Vec::new() };
            self.fetch(POLL, &mut chunk);
            let nothing = chunk.records.is_empty() && chunk.ends.is_empty();
            if !nothing && !self.hand_over(chunk) {
                break;
            }
        }
        // Nobody takes records any more; whoever did says soon what may be committed.
        while !self.is_stopping() {
            self.fetch(POLL, &mut Chunk { records: Vec::new(), ends: Vec::new() });
        }
        let last = self.clients.shared.reader().still_ours(&self.last.take().unwrap_or_default());
        commit(self.client(), &self.clients.shared.offsets(&last), CommitMode::Sync);
    }

    fn is_stopping(&mut self) -> bool {
        match self.stopped.try_recv() {
            Ok(frontiers) => self.last = Some(frontiers),
            // Nobody will say.
            Err(mpsc::TryRecvError::Disconnected) => {
                self.last.get_or_insert_default();
            }
            Err(mpsc::TryRecvError::Empty) => {}
        }
        self.last.is_some()
    }

    fn with_a_fresh_client(self) -> anyhow::Result<Self> {
        let Self { clients, watched, current, fetched, clock, stopped, last, runtime } = self;
        watched.close(&clients.shared);
        let watched = {
            let _runtime = runtime.enter();
            clients.connect()?
        };
        current.set(&watched.client);
        Ok(Self { clients, watched, current, fetched, clock, stopped, last, runtime })
    }

    /// Goes back to the start of partitions that were recreated; their lower offsets begin a new lap.
    fn rewind(&self) {
        for partition in self.clients.shared.take_rewound() {
            if let Err(error) = self.client().seek(self.topic(), partition, Offset::Beginning, SEEK_LIMIT) {
                tracing::warn!(
                    kafka.partition = partition,
                    error = error.to_string(),
                    "the partition can't be read from its start"
                );
            }
        }
    }

    fn client(&self) -> &BaseConsumer<StampCallbacks> {
        &self.watched.client
    }

    fn topic(&self) -> &str {
        &self.clients.shared.topic
    }

    /// Waits for a record, then takes all that the client has fetched already, up to a chunk. It polls at least
    /// once, whatever the chunk holds: a poll also serves the group.
    fn fetch(&self, wait: Duration, chunk: &mut Chunk<Other>) {
        let (mut wait, mut bytes) = (wait, 0);
        loop {
            match self.client().poll(wait) {
                None => return,
                Some(Ok(record)) => {
                    let Some(assignment) = self.clients.shared.note(&record) else { continue };
                    let record = record::read(&record);
                    let (content, size) = decode(&record, self.clock.now());
                    bytes += size;
                    let KafkaRecord { offset, timestamp, .. } = record;
                    chunk.records.push(Record { assignment, offset, timestamp, content });
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    let shared = &self.clients.shared;
                    let end = shared.reader().reached_end(partition, shared.elapsed());
                    chunk.ends.extend(end);
                }
                Some(Err(error)) if self.clients.shared.refusals.note(&error) => {}
                Some(Err(error)) => self.clients.shared.undecodable.report(&error),
            }
            if chunk.records.len() >= CHUNK_RECORDS || bytes >= CHUNK_BYTES {
                return;
            }
            wait = Duration::ZERO;
        }
    }

    /// Gives a chunk to the heart. Returns false once there is no heart any more, or a stop.
    fn hand_over(&mut self, chunk: Chunk<Other>) -> bool {
        let room = async { tokio::time::timeout(PATIENCE, self.fetched.reserve()).await };
        match self.runtime.block_on(room) {
            Ok(Ok(permit)) => {
                permit.send(chunk);
                return true;
            }
            Ok(Err(_closed)) => return false,
            Err(_full) => {}
        }
        self.hand_over_paused(chunk)
    }

    /// Gives a chunk to a heart that is busy for long: the partitions are paused, the polling goes on.
    fn hand_over_paused(&mut self, mut chunk: Chunk<Other>) -> bool {
        tracing::debug!("what was read can't be taken yet; partitions are paused");
        self.clients.shared.set_paused(true);
        let client = Arc::clone(&self.watched.client);
        let mut pause = Pause::begin(&*client);
        let delivered = loop {
            if self.is_stopping() {
                break false;
            }
            // What was under way already comes all the same.
            self.fetch(POLL, &mut chunk);
            match self.fetched.try_reserve() {
                Ok(permit) => {
                    permit.send(chunk);
                    break true;
                }
                Err(tokio::sync::mpsc::error::TrySendError::Full(())) => pause.keep(),
                Err(tokio::sync::mpsc::error::TrySendError::Closed(())) => break false,
            }
        };
        drop(pause);
        self.clients.shared.set_paused(false);
        delivered
    }
}

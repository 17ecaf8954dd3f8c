//! The poll thread of stamps: reads records, serves rebalances, and commits frontiers.
//!
//! librdkafka runs its callbacks on the thread that polls, so this thread always polls. It waits for nothing
//! but, for a bounded time, the pipeline: with the channel full it pauses its partitions and goes on polling.

mod callbacks;
#[cfg(test)]
mod tests;
mod watchdog;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak, mpsc};
use std::time::Duration;

use anyhow::Context as _;
use platform::clock::Clock;
use platform::kafka::KafkaSettings;
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use tokio::sync::mpsc::{Sender, UnboundedSender};
use tokio::sync::oneshot;

use self::callbacks::{Assignments, Callbacks, Shared};
use self::watchdog::Watchdog;

use crate::metrics::Metrics;
use crate::polling::{
    CHUNK_BYTES, CHUNK_RECORDS, CLOSE_PATIENCE, PATIENCE, POLL, Pause, SEEK_LIMIT, Standstill, commit, member,
};
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
    /// What is committed, as far as the client knows: less than it was told if a rebalance refused that.
    Committed(Frontiers),
}

/// How long a partition that has records may be silent: far longer than a fetch, a rebalance or a new leader takes.
const SILENCE: Duration = Duration::from_secs(30);

/// Partitions and the offsets that may be committed for them.
pub(crate) type Frontiers = Vec<(i32, i64)>;

/// A running consumer.
pub(crate) struct Consumer {
    client: CurrentClient,
    stop: Arc<OnceLock<Frontiers>>,
    ended: oneshot::Receiver<()>,
}

/// The client that is in use; a fresh one may take its place.
#[derive(Clone, Default)]
struct CurrentClient(Arc<Mutex<Weak<BaseConsumer<Callbacks>>>>);

impl CurrentClient {
    fn get(&self) -> Option<Arc<BaseConsumer<Callbacks>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    fn set(&self, client: &Arc<BaseConsumer<Callbacks>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(client);
    }
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
        let Channels { fetched, control, joined } = channels;
        let assignments = Mutex::<Assignments>::default();
        let standstill = Standstill::new(metrics.unreadable.clone());
        let shared = Shared { topic: topic.to_owned(), control, joined, metrics, standstill, assignments };
        let clients = Clients {
            kafka: kafka.clone(),
            group_id: group_id.to_owned(),
            shared: Arc::new(shared),
            silence: SILENCE,
        };
        Self::start_with(clients, fetched, clock)
    }

    fn start_with(clients: Clients, fetched: Sender<Fetched>, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let watched = clients.connect()?;
        let current = CurrentClient::default();
        current.set(&watched.client);
        let (stop, (ended_sender, ended)) = (Arc::new(OnceLock::new()), oneshot::channel());
        let consumer = Self { client: current.clone(), stop: Arc::clone(&stop), ended };
        let runtime = tokio::runtime::Handle::current();
        let poller = Poller { clients, watched, current, fetched, clock, stop, runtime };
        std::thread::Builder::new().name("kafka-poll".to_owned()).spawn(move || {
            poller.run();
            let _nobody_waits = ended_sender.send(());
        })?;
        Ok(consumer)
    }

    /// Commits frontiers without waiting; what fails shows in [`Control::Committed`].
    pub(crate) fn commit(&self, frontiers: &Frontiers) {
        if let Some(client) = self.client.get() {
            commit(&client, &client.context().shared.offsets(frontiers), CommitMode::Async);
        }
    }

    /// Commits the last frontiers, leaves the group and ends the thread; gives up after `patience`, or a few seconds.
    pub(crate) async fn close(self, frontiers: Frontiers, patience: Duration) {
        let _first_stop = self.stop.set(frontiers);
        if tokio::time::timeout(CLOSE_PATIENCE.min(patience), self.ended).await.is_err() {
            tracing::warn!("the group was not left in time; its broker will notice");
        }
    }
}

/// Makes the clients, one after the other.
struct Clients {
    kafka: KafkaSettings,
    group_id: String,
    shared: Arc<Shared>,
    silence: Duration,
}

/// A client that is looked after.
struct Watched {
    client: Arc<BaseConsumer<Callbacks>>,
    /// Set by the watchdog: nothing more is to be expected of this client.
    stuck: Arc<AtomicBool>,
}

impl Clients {
    /// Subscribes with a new client.
    fn connect(&self) -> anyhow::Result<Watched> {
        const DEFAULTS: [(&str, &str); 5] = [
            ("session.timeout.ms", "10000"),
            ("heartbeat.interval.ms", "3000"),
            // The default of a second halves the rate once the local queue has been full.
            ("fetch.queue.backoff.ms", "10"),
            // Bounds how long a backlog's last records wait for the word that there are no more.
            ("fetch.wait.max.ms", "100"),
            ("queued.max.messages.kbytes", "32768"),
        ];
        let client: BaseConsumer<Callbacks> = member(&self.kafka, &self.group_id, &DEFAULTS)
            .set("enable.partition.eof", "true")
            .set("statistics.interval.ms", "2000")
            .create_with_context(Callbacks::new(Arc::clone(&self.shared)))
            .context("the Kafka consumer can't be made")?;
        client.subscribe(&[&self.shared.topic])?;
        let (client, stuck) = (Arc::new(client), Arc::new(AtomicBool::new(false)));
        let watchdog = Watchdog { kafka: self.kafka.client_config(), silence: self.silence };
        tokio::spawn(watchdog.watch(Arc::downgrade(&client), Arc::clone(&stuck)));
        Ok(Watched { client, stuck })
    }
}

impl Watched {
    /// Leaves the group, which calls back to give the partitions back. A client that hangs is left to itself after
    /// a few seconds.
    fn close(self, shared: &Shared) {
        let (sender, closed) = mpsc::channel();
        let client = Arc::clone(&self.client);
        drop(self);
        let context = Arc::clone(client.context());
        // Dropping the client leaves the group, and may block.
        let closing = std::thread::Builder::new().name("kafka-close".to_owned()).spawn(move || {
            drop(client);
            let _nobody_waits = sender.send(());
        });
        if closing.is_err() || closed.recv_timeout(CLOSE_PATIENCE).is_err() {
            tracing::warn!("the group was not left in time; its broker will notice");
        }
        context.replaced.store(true, Ordering::Release);
        shared.lose_everything();
    }
}

struct Poller {
    clients: Clients,
    watched: Watched,
    current: CurrentClient,
    fetched: Sender<Fetched>,
    clock: Arc<dyn Clock>,
    stop: Arc<OnceLock<Frontiers>>,
    runtime: tokio::runtime::Handle,
}

impl Poller {
    fn run(mut self) {
        while !self.stopping() {
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
            self.clients.shared.standstill.forget_old();
            let mut chunk = Fetched::default();
            self.fetch(POLL, &mut chunk);
            let nothing = chunk.records.is_empty() && chunk.ends.is_empty();
            if !nothing && !self.hand_over(chunk) {
                break;
            }
        }
        if let Some(frontiers) = self.stop.get() {
            commit(self.client(), &self.clients.shared.offsets(frontiers), CommitMode::Sync);
        }
    }

    fn with_a_fresh_client(self) -> anyhow::Result<Self> {
        let Self { clients, watched, current, fetched, clock, stop, runtime } = self;
        watched.close(&clients.shared);
        let watched = {
            let _runtime = runtime.enter();
            clients.connect()?
        };
        current.set(&watched.client);
        Ok(Self { clients, watched, current, fetched, clock, stop, runtime })
    }

    /// Goes back to the start of partitions that were made again; their lower offsets begin a new assignment.
    fn rewind(&self) {
        for partition in self.clients.shared.take_rewound() {
            if let Err(error) = self.client().seek(self.topic(), partition, Offset::Beginning, SEEK_LIMIT) {
                tracing::warn!(
                    partition,
                    error = error.to_string(),
                    "the partition can't be read from its start"
                );
            }
        }
    }

    fn client(&self) -> &BaseConsumer<Callbacks> {
        &self.watched.client
    }

    fn topic(&self) -> &str {
        &self.clients.shared.topic
    }

    fn stopping(&self) -> bool {
        self.stop.get().is_some()
    }

    /// Waits for a record, then takes all that the client has fetched already, up to a chunk. It polls at least
    /// once, whatever the chunk holds: a poll also serves the group.
    fn fetch(&self, wait: Duration, chunk: &mut Fetched) {
        let (mut wait, mut bytes) = (wait, 0);
        loop {
            match self.client().poll(wait) {
                None => return,
                Some(Ok(record)) => {
                    let record = self.decode(&record);
                    bytes += record.size();
                    chunk.records.push(record);
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    chunk.ends.extend(self.clients.shared.reached_end(partition));
                }
                Some(Err(error)) => self.clients.shared.standstill.report(&error),
            }
            if chunk.records.len() >= CHUNK_RECORDS || bytes >= CHUNK_BYTES {
                return;
            }
            wait = Duration::ZERO;
        }
    }

    fn decode(&self, record: &BorrowedMessage<'_>) -> Record {
        let assignment = self.clients.shared.assignment_of(record);
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
        self.clients.shared.set_paused(true);
        let mut pause = Pause::begin(self.client());
        let delivered = loop {
            if self.stopping() {
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

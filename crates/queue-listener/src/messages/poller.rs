//! The poll thread of messages. It reads a chunk, has it stored, and commits its offsets; while storing takes long,
//! the partitions are paused and the polling goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use domain::message::recipient_of_topic;
use domain::message::record::{MessageRecord, Recipients};
use platform::kafka::{KafkaSettings, record};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset};
use store::Database;
use store::dead_letters::tell_of;
use store::messages::records::store_all;
use tokio_util::sync::CancellationToken;

use super::callbacks::{MessageCallbacks, ReadUpTo};
use super::patience::{Unwritable, patiently};
use super::watch;
use crate::group::member::{CHUNK_BYTES, CHUNK_RECORDS, PATIENCE, POLL, Pause, SEEK_LIMIT, member};
use crate::group::undecodable::UndecodableBatch;
use crate::metrics::ListenerMetrics;

/// How often the thread looks after what no record brings up.
const PERIOD: Duration = Duration::from_secs(1);
/// How long the brokers may take to list all topics.
const METADATA_LIMIT: Duration = Duration::from_secs(2);

/// The names of users' topics, as `domain::message::topic_of` writes them: canonical uuids and nothing else.
const USERS_TOPICS: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";

/// What it takes to listen for messages.
pub(crate) struct MessageParts {
    pub(crate) kafka: KafkaSettings,
    pub(crate) group_id: String,
    /// The one topic of all users; `None` if each has a topic.
    pub(crate) topic: Option<String>,
    pub(crate) database: Database,
    pub(crate) metrics: ListenerMetrics,
    /// Whether the group was joined, or there is nothing yet to join it for.
    pub(crate) joined: Arc<AtomicBool>,
    /// How long a stop waits for what is being stored.
    pub(crate) patience: Duration,
}

impl MessageParts {
    fn subscription(&self) -> &str {
        self.topic.as_deref().unwrap_or(USERS_TOPICS)
    }

    fn recipients(&self) -> Recipients {
        if self.topic.is_some() { Recipients::FromKey } else { Recipients::FromTopic }
    }
}

/// Records that are stored together.
#[derive(Default)]
struct MessageChunk {
    records: Vec<MessageRecord>,
    bytes: usize,
    read: ReadUpTo,
}

/// How waiting for a chunk has ended.
enum Waited {
    Yes,
    /// The time of a stop is over; what is being stored is read again by the next listener.
    GivenUp,
}

pub(super) struct MessagePoller {
    client: BaseConsumer<MessageCallbacks>,
    parts: MessageParts,
    undecodable: UndecodableBatch,
    stop: CancellationToken,
    runtime: tokio::runtime::Handle,
}

impl MessagePoller {
    /// Subscribes, so that the thread can be run.
    ///
    /// # Errors
    /// If the client can't be made.
    pub(super) fn start(parts: MessageParts, stop: CancellationToken) -> anyhow::Result<Self> {
        let callbacks = MessageCallbacks::new(parts.joined.clone(), &parts.metrics);
        let client: BaseConsumer<MessageCallbacks> = config(&parts.kafka, &parts.group_id)
            .create_with_context(callbacks)
            .context("the Kafka consumer of messages can't be made")?;
        client.subscribe(&[parts.subscription()])?;
        let watch = watch::watch(parts.kafka.client_config(), Arc::downgrade(client.context()));
        tokio::spawn(watch);
        let undecodable = UndecodableBatch::new(parts.metrics.unreadable.clone());
        Ok(Self { client, parts, undecodable, stop, runtime: tokio::runtime::Handle::current() })
    }

    /// Polls until the stop, or until the database refuses what no waiting mends.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let (mut chunk, mut looked) = (MessageChunk::default(), None);
        while !self.stop.is_cancelled() {
            if looked.is_none_or(|looked: Instant| looked.elapsed() >= PERIOD) {
                self.look_around();
                looked = Some(Instant::now());
            }
            self.rewind();
            self.fetch(&mut chunk);
            if !chunk.records.is_empty() {
                chunk = self.store(chunk)?;
            }
        }
        self.client.context().commit_stored(&self.client);
        Ok(())
    }

    fn look_around(&self) {
        self.undecodable.forget_old();
        // What a rebalance has refused, if no record brings the next commit.
        self.client.context().commit_stored(&self.client);
        // A question of any kind also wakes the client's own thread: it waits by the host's clock, and would
        // otherwise sleep through its heartbeats after that clock was set back.
        let _awake = self.client.assignment();
        // While no topic has a name that is subscribed to, the client joins no group.
        if !self.parts.joined.load(Ordering::Acquire) && self.has_nothing_to_join_for() {
            self.parts.joined.store(true, Ordering::Release);
        }
    }

    fn has_nothing_to_join_for(&self) -> bool {
        self.parts.topic.is_none()
            && self.client.fetch_metadata(None, METADATA_LIMIT).is_ok_and(|metadata| {
                metadata.topics().iter().all(|topic| recipient_of_topic(topic.name()).is_none())
            })
    }

    /// Goes back to the start of partitions that were recreated.
    fn rewind(&self) {
        for at in self.client.context().rewound() {
            let (topic, partition) = &at;
            match self.client.seek(topic, *partition, Offset::Beginning, SEEK_LIMIT) {
                Ok(()) => self.client.context().found_start(&at),
                Err(error) => {
                    let error = error.to_string();
                    tracing::warn!(
                        kafka.topic = topic,
                        kafka.partition = partition,
                        error,
                        "the partition can't be read from its start yet"
                    );
                }
            }
        }
    }

    /// Waits for a record, then takes all that the client has fetched already, up to a chunk. It polls at least once,
    /// whatever the chunk holds: a poll also serves the group.
    fn fetch(&self, chunk: &mut MessageChunk) {
        let mut wait = POLL;
        loop {
            match self.client.poll(wait) {
                None => return,
                Some(Ok(record)) => {
                    self.client.context().note(&record, &mut chunk.read);
                    let record = MessageRecord::decode(&record::read(&record), self.parts.recipients());
                    chunk.bytes += record.size();
                    chunk.records.push(record);
                }
                Some(Err(error)) if self.client.context().refusals.note(&error) => {}
                Some(Err(error)) => self.report(&error),
            }
            if chunk.records.len() >= CHUNK_RECORDS || chunk.bytes >= CHUNK_BYTES {
                return;
            }
            wait = Duration::ZERO;
        }
    }

    fn report(&self, error: &KafkaError) {
        // A user's topic may be deleted; the next look at the metadata takes it out of the assignment.
        if matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopicId)
        ) {
            tracing::debug!(error = error.to_string(), "a topic is gone");
        } else {
            self.undecodable.report(error);
        }
    }

    /// Has a chunk stored, however long that takes, and its offsets committed. Returns what was read meanwhile.
    fn store(&self, chunk: MessageChunk) -> anyhow::Result<MessageChunk> {
        let (sender, result) = mpsc::channel();
        let (database, metrics) = (self.parts.database.clone(), self.parts.metrics.clone());
        // In a task of its own: a transaction must not be dropped half way.
        self.runtime.spawn(async move {
            let _given_up =
                sender.send(metrics.stall.during(store(&database, &metrics, chunk.records)).await);
        });
        let mut next = MessageChunk::default();
        let stored = match result.recv_timeout(PATIENCE) {
            Ok(stored) => stored.map(|()| Waited::Yes)?,
            Err(RecvTimeoutError::Timeout) => {
                let paused = &self.parts.metrics.user_messages.paused;
                paused.set(1);
                let waited = self.wait_paused(&result, &mut next);
                paused.set(0);
                waited?
            }
            Err(RecvTimeoutError::Disconnected) => bail!(PANICKED),
        };
        match stored {
            Waited::Yes => {
                self.client.context().finish(chunk.read);
                self.client.context().commit_stored(&self.client);
            }
            Waited::GivenUp => {
                tracing::warn!("messages were not stored in time; the next listener reads them again");
            }
        }
        Ok(next)
    }

    fn wait_paused(
        &self,
        result: &Receiver<Result<(), Unwritable>>,
        next: &mut MessageChunk,
    ) -> anyhow::Result<Waited> {
        tracing::debug!("storing messages takes long; partitions are paused");
        let mut pause = Pause::begin(&self.client);
        let mut stopped: Option<Instant> = None;
        loop {
            // What was under way already comes all the same.
            self.fetch(next);
            match result.try_recv() {
                Ok(stored) => return Ok(stored.map(|()| Waited::Yes)?),
                Err(TryRecvError::Disconnected) => bail!(PANICKED),
                Err(TryRecvError::Empty) => pause.keep(),
            }
            if self.stop.is_cancelled()
                && stopped.get_or_insert_with(Instant::now).elapsed() >= self.parts.patience
            {
                return Ok(Waited::GivenUp);
            }
        }
    }
}

/// Makes a consumer and drops it.
///
/// # Errors
/// If the client can't be made.
pub(crate) fn try_out(kafka: &KafkaSettings) -> KafkaResult<()> {
    config(kafka, "trial").create::<BaseConsumer>().map(drop)
}

fn config(kafka: &KafkaSettings, group_id: &str) -> ClientConfig {
    const DEFAULTS: [(&str, &str); 8] = [
        ("session.timeout.ms", "10000"),
        // A new topic is found by the metadata and shared out in a rebalance, of which the others learn by their
        // heartbeats: together this takes about two seconds.
        ("topic.metadata.refresh.interval.ms", "1000"),
        ("heartbeat.interval.ms", "1000"),
        // One fetch brings so much of each partition, and there may be thousands: 64 KiB, and as much in the client
        // before it fetches again. A larger record comes alone.
        ("queued.max.messages.kbytes", "64"),
        ("fetch.message.max.bytes", "65536"),
        // One answer of a broker stays in memory until its last record is taken.
        ("fetch.max.bytes", "8388608"),
        // The default of a second is long for a queue that is full so soon.
        ("fetch.queue.backoff.ms", "10"),
        // A topic that was deleted is no reason to ask for the others less often.
        ("fetch.error.backoff.ms", "100"),
    ];
    let mut config = member(kafka, group_id, &DEFAULTS);
    // They tell how far behind the listener is, in 2 KiB for each topic: with thousands of users not too often.
    config.set("statistics.interval.ms", "5000");
    config
}

const PANICKED: &str = "storing messages panicked";

/// Stores records, counts them and tells of those that died.
async fn store(
    database: &Database,
    metrics: &ListenerMetrics,
    records: Vec<MessageRecord>,
) -> Result<(), Unwritable> {
    let stored = patiently("messages can't be stored", || store_all(database, records.clone())).await?.len();
    let dead = records.iter().filter_map(MessageRecord::dead_letter).count();
    // Of a replay that is still bad the dead letter was there already.
    let letters = records.iter().filter(|record| record.claim().is_none());
    letters.filter_map(MessageRecord::dead_letter).for_each(tell_of);
    metrics.user_messages.finished(stored, records.len().saturating_sub(stored + dead), dead);
    Ok(())
}

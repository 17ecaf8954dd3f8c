//! From the outbox to Kafka.
//!
//! Three tasks: one publishes what the intake hands over, one keeps this process's owner alive and looks for
//! owners that have fallen silent, one publishes what retired owners have left in the database. An owner of
//! our own is retired the same way whenever something of it may not be on its way: its queue overflowed while
//! Kafka was away, the answer to a commit was lost, or the producer failed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::event;
use domain::stamp::Stamp;
use platform::kafka::KafkaSettings;
use platform::postgres::intake::{self, RetiredOwner};
use platform::postgres::{Database, DatabaseError};
use platform::retry::Backoff;
use prometheus::IntGauge;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::kafka::{producer_config, traceparent};
use crate::metrics::Metrics;
use crate::outbox::{Outbox, Owner};

/// Events that may wait for the producer; what comes beyond is read from the database later.
pub const QUEUE: usize = 100_000;
/// How often the owner's row is renewed.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// An owner that is silent for so long is taken for dead.
const SILENCE: Duration = Duration::from_secs(5);
/// Rows of a retired owner that are read, published and acknowledged together.
const PAGE: i64 = 5_000;
/// How long giving the outbox up at the end may take.
const ABANDON_LIMIT: Duration = Duration::from_secs(1);
/// How long to wait while the producer's queue is full.
const FULL: Duration = Duration::from_millis(20);

/// A stored stamp on its way to Kafka.
#[derive(Debug)]
pub struct Event {
    /// Under which owner of this process it is numbered.
    pub epoch: u32,
    /// Its number.
    pub seq: i64,
    /// The stamp.
    pub stamp: Stamp,
}

/// This process's owners: the present one and those that are retired and not published yet.
pub struct Owners {
    pub(crate) outbox: Outbox,
    database: Database,
    /// One replacement at a time.
    replacing: tokio::sync::Mutex<()>,
    retired: mpsc::UnboundedSender<RetiredOwner>,
    adopted: Mutex<Vec<RetiredOwner>>,
}

impl Owners {
    /// Registers a first owner, for as long as that takes.
    pub async fn register(database: Database) -> (Arc<Self>, mpsc::UnboundedReceiver<RetiredOwner>) {
        let mut backoff = Backoff::default();
        let owner = loop {
            match intake::register(&database).await {
                Ok(owner) => break owner,
                Err(error) => {
                    tracing::warn!(error = error.to_string(), "waiting for PostgreSQL");
                    tokio::time::sleep(backoff.delay()).await;
                }
            }
        };
        let (retired, receiver) = mpsc::unbounded_channel();
        let owners = Self {
            outbox: Outbox::new(owner),
            database,
            replacing: tokio::sync::Mutex::default(),
            retired,
            adopted: Mutex::default(),
        };
        (Arc::new(owners), receiver)
    }

    /// Goes on under a new owner if `old` is still the present one, and has the old one's outbox published.
    ///
    /// # Errors
    /// If the database can't be reached; then nothing has changed.
    pub async fn replace(&self, old: Owner) -> Result<(), DatabaseError> {
        let _one_at_a_time = self.replacing.lock().await;
        if self.outbox.owner() != old {
            return Ok(());
        }
        let new = intake::register(&self.database).await?;
        let mark = self.outbox.backlog().published_through;
        self.outbox.begin(new);
        // Waits for the inserts under way. Where this fails, the old owner falls silent and is found so.
        if let Some(retired) = intake::retire(&self.database, old.id).await? {
            self.adopt(RetiredOwner { published_through: retired.published_through.max(mark), ..retired });
        }
        Ok(())
    }

    fn adopt(&self, owner: RetiredOwner) {
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner).push(owner);
        // The adopter ends with the process.
        let _ending = self.retired.send(owner);
    }

    fn adopted(&self) -> Vec<RetiredOwner> {
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn release(&self, owner: RetiredOwner) {
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| other.id != owner.id);
    }

    /// Renews the owners of this process, replaces the present one if need be, and looks for silent ones.
    async fn beat(&self) -> Result<(), DatabaseError> {
        let (owner, backlog) = (self.outbox.owner(), self.outbox.backlog());
        let alive = intake::renew(&self.database, owner.id, backlog.published_through).await?;
        if !alive || self.outbox.is_given_up() {
            tracing::info!(owner = owner.id, alive, "the outbox goes on under a new owner");
            self.replace(owner).await?;
        }
        for adopted in self.adopted() {
            intake::renew(&self.database, adopted.id, adopted.published_through).await?;
        }
        while let Some(silent) = intake::retire_silent(&self.database, SILENCE).await? {
            tracing::info!(owner = silent.id, "an owner fell silent; its outbox is taken over");
            self.adopt(silent);
        }
        Ok(())
    }
}

/// Keeps the owners alive until `stop`.
pub async fn keep_owners(owners: Arc<Owners>, gauges: Gauges, stop: CancellationToken) {
    loop {
        match stop.run_until_cancelled(owners.beat()).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::warn!(error = error.to_string(), "the outbox's owner can't be renewed");
            }
        }
        gauges.show(&owners.outbox);
        if stop.run_until_cancelled(tokio::time::sleep(HEARTBEAT)).await.is_none() {
            return;
        }
    }
}

/// What the outbox shows of itself.
#[derive(Clone)]
pub struct Gauges {
    /// Stamps that are stored and not in Kafka.
    pub pending: IntGauge,
    /// For how long the oldest of them has been, in seconds.
    pub oldest: prometheus::Gauge,
    /// How many are left of retired owners' outboxes.
    pub adopted: Arc<AtomicUsize>,
}

impl Gauges {
    /// Gauges that show themselves among the service's metrics.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            pending: metrics.outbox_pending.clone(),
            oldest: metrics.outbox_oldest.clone(),
            adopted: Arc::default(),
        }
    }

    fn show(&self, outbox: &Outbox) {
        let backlog = outbox.backlog();
        self.pending.set((backlog.outstanding + self.adopted.load(Ordering::Relaxed)) as i64);
        self.oldest.set(backlog.oldest.as_secs_f64());
    }
}

/// Publishes what the intake hands over, until it hands over no more.
pub async fn publish_fresh(publisher: Arc<Publisher>, mut events: mpsc::Receiver<Event>) {
    while let Some(Event { epoch, seq, stamp }) = events.recv().await {
        // What is left of a retired owner comes from the database.
        if publisher.owners.outbox.owner().epoch == epoch {
            publisher.publish(&stamp, Delivery::Fresh { epoch, seq }).await;
        }
    }
}

/// Publishes what retired owners have left in the database, one after the other, until `stop`.
pub async fn publish_adopted(
    publisher: Arc<Publisher>,
    owners: Arc<Owners>,
    mut retired: mpsc::UnboundedReceiver<RetiredOwner>,
    gauges: Gauges,
    stop: CancellationToken,
) {
    while let Some(Some(owner)) = stop.run_until_cancelled(retired.recv()).await {
        let mut backoff = Backoff::default();
        let mut from = owner.published_through;
        loop {
            let page = publish_page(&publisher, &owners.database, owner, from, &gauges);
            match stop.run_until_cancelled(page).await {
                None => return,
                Some(Ok(Some(through))) => from = through,
                Some(Ok(None)) => break,
                Some(Err(error)) => {
                    tracing::warn!(owner = owner.id, error, "an outbox can't be published yet");
                    tokio::time::sleep(backoff.delay()).await;
                }
            }
        }
        gauges.adopted.store(0, Ordering::Relaxed);
        owners.release(owner);
        tracing::info!(owner = owner.id, "a retired owner's outbox is published");
    }
}

/// Publishes one page above a number and waits until Kafka has it. Returns the last number of the page, or
/// `None` where there was nothing left and the owner is gone.
async fn publish_page(
    publisher: &Publisher,
    database: &Database,
    owner: RetiredOwner,
    above: i64,
    gauges: &Gauges,
) -> Result<Option<i64>, String> {
    let page = intake::outbox(database, owner.id, above, PAGE).await.map_err(|error| error.to_string())?;
    let Some(last) = page.last().map(|row| row.seq) else {
        intake::forget(database, owner.id).await.map_err(|error| error.to_string())?;
        return Ok(None);
    };
    gauges.adopted.store(page.len(), Ordering::Relaxed);
    let stamps: Vec<Stamp> = page.into_iter().map(|row| row.stamp).collect();
    if !publisher.publish_all(&stamps).await {
        return Err("Kafka refused an event".to_owned());
    }
    intake::renew(database, owner.id, last).await.map_err(|error| error.to_string())?;
    Ok(Some(last))
}

/// The acknowledgements that somebody waits for.
struct Outstanding {
    left: AtomicUsize,
    failed: AtomicBool,
    done: Notify,
}

impl Outstanding {
    fn new(count: usize) -> Self {
        Self { left: AtomicUsize::new(count), failed: AtomicBool::new(false), done: Notify::new() }
    }

    fn delivered(&self, success: bool) {
        if !success {
            self.failed.store(true, Ordering::Release);
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }

    async fn all_delivered(&self) -> bool {
        self.done.notified().await;
        !self.failed.load(Ordering::Acquire)
    }
}

/// What an acknowledgement is for.
enum Delivery {
    Fresh { epoch: u32, seq: i64 },
    Awaited(Arc<Outstanding>),
}

/// The producer, made anew when it has failed for good.
pub struct Publisher {
    kafka: KafkaSettings,
    topic: String,
    owners: Arc<Owners>,
    producer: Mutex<Arc<ThreadedProducer<Deliveries>>>,
}

impl Publisher {
    /// Makes a producer.
    ///
    /// # Errors
    /// If the client can't be made.
    pub fn new(kafka: KafkaSettings, topic: String, owners: Arc<Owners>) -> Result<Self, KafkaError> {
        let producer = Mutex::new(Arc::new(Self::producer(&kafka, &owners)?));
        Ok(Self { kafka, topic, owners, producer })
    }

    fn producer(
        kafka: &KafkaSettings,
        owners: &Arc<Owners>,
    ) -> Result<ThreadedProducer<Deliveries>, KafkaError> {
        producer_config(kafka)
            // The outbox keeps an event for as long as Kafka is away, so it is never given up.
            .set("message.timeout.ms", "0")
            .create_with_context(Deliveries { owners: Arc::clone(owners) })
    }

    fn current(&self) -> Arc<ThreadedProducer<Deliveries>> {
        Arc::clone(&self.producer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Hands an event to the producer, waiting while its queue is full. The delivery is told when it is decided.
    async fn publish(&self, stamp: &Stamp, delivery: Delivery) {
        let value = event::encode(stamp);
        let headers = OwnedHeaders::new().insert(Header { key: "traceparent", value: Some(&traceparent()) });
        let mut record = BaseRecord::with_opaque_to(&self.topic, Box::new(delivery))
            .key(stamp.object_cid().as_str())
            .payload(value.as_slice())
            .headers(headers);
        loop {
            let producer = self.current();
            match producer.send(record) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    tokio::time::sleep(FULL).await;
                }
                Err((error, back)) => {
                    tracing::warn!(error = error.to_string(), "the producer takes no events");
                    record = back;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    self.replace_if_failed(&producer);
                }
            }
        }
    }

    /// Publishes stamps and waits until Kafka has decided on all. Returns whether it took them.
    pub async fn publish_all(&self, stamps: &[Stamp]) -> bool {
        let outstanding = Arc::new(Outstanding::new(stamps.len()));
        for stamp in stamps {
            self.publish(stamp, Delivery::Awaited(Arc::clone(&outstanding))).await;
        }
        stamps.is_empty() || outstanding.all_delivered().await
    }

    /// A fatal error of the idempotent producer ends it (KIP-360); what it had not delivered fails with it and
    /// is read from the database again.
    fn replace_if_failed(&self, failed: &Arc<ThreadedProducer<Deliveries>>) {
        if failed.client().fatal_error().is_none() {
            return;
        }
        let mut current = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current, failed) {
            return;
        }
        match Self::producer(&self.kafka, &self.owners) {
            Ok(producer) => {
                tracing::warn!("the producer failed for good; a new one takes its place");
                *current = Arc::new(producer);
            }
            Err(error) => tracing::error!(error = error.to_string(), "no new producer can be made"),
        }
    }

    /// Waits until Kafka has everything, for so long at most. Blocks.
    pub fn flush(&self, limit: Duration) {
        if let Err(error) = self.current().flush(limit) {
            tracing::warn!(
                error = error.to_string(),
                "not everything reached Kafka; the outbox keeps the rest"
            );
        }
    }
}

/// The end of a process's outbox: its mark is stored, and what lies above is anybody's.
pub async fn abandon(owners: &Owners) {
    let (owner, backlog) = (owners.outbox.owner(), owners.outbox.backlog());
    let abandoned = intake::abandon(&owners.database, owner.id, backlog.published_through);
    let abandoned = tokio::time::timeout(ABANDON_LIMIT, abandoned).await;
    if !matches!(abandoned, Ok(Ok(()))) {
        tracing::warn!("the outbox can't be given up; it is taken over after a few seconds of silence");
    }
}

/// Told of every acknowledgement, on the producer's thread.
struct Deliveries {
    owners: Arc<Owners>,
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(error = error.to_string(), reason, "librdkafka");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Delivery>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery: Box<Delivery>) {
        if let Err((error, _)) = result {
            tracing::warn!(error = error.to_string(), "Kafka refused an event; the outbox keeps it");
        }
        match *delivery {
            Delivery::Fresh { epoch, seq } if result.is_ok() => self.owners.outbox.finish(epoch, seq),
            Delivery::Fresh { epoch, .. } => self.owners.outbox.give_up(epoch),
            Delivery::Awaited(outstanding) => outstanding.delivered(result.is_ok()),
        }
    }
}

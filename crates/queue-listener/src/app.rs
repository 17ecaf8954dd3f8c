//! Puts the listener together, and takes it apart in order.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use chrono::TimeDelta;
use domain::batch::heart;
use platform::admin;
use platform::health::Health;
use platform::kafka::reachability::{self, Reachability};
use platform::kafka::topics::{TopicSpec, retention};
use platform::metrics::database_connections;
use platform::shutdown::CancellationToken;
use prometheus::Registry;
use store::Database;
use store::clock::{Clock, PostgresClock};
use store::readiness::{self, wait_for_database};
use store::stamps::processing;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::messages;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::stamps::consumer::{Channels, Consumer};
use crate::stamps::shell;
use crate::stamps::writer::Writer;

/// Chunks between the poll thread and the heart.
const CHUNKS: usize = 4;
/// What a stop keeps back from its time to end the servers and the process in.
const RESERVE: Duration = Duration::from_millis(500);

/// A listener that runs.
pub struct Running {
    /// Where its operators reach it.
    pub admin: SocketAddr,
    work: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Waits for the end.
    ///
    /// # Errors
    /// If the listener failed.
    pub async fn join(self) -> anyhow::Result<()> {
        self.work.await.context("the listener panicked")?
    }
}

/// Starts a listener. It waits by itself for PostgreSQL and Kafka.
///
/// # Errors
/// If the settings can't be used or the address can't be bound.
pub fn start(settings: Settings, stop: CancellationToken) -> anyhow::Result<Running> {
    let registry = Registry::new();
    let metrics = Metrics::register(&registry)?;
    let database = Database::new(&settings.database, "queue-listener")?;
    let pools = database.clone();
    database_connections(&registry, "queue_listener", move || pools.connections())?;
    let topics = std::iter::once(TopicSpec::of_stamps(&settings.topics))
        .chain(TopicSpec::of_shared_messages(&settings.topics))
        .collect();
    let kafka = reachability::watch(settings.kafka.client_config(), topics, stop.clone());
    let joined = Joined::default();
    let Joined { stamps, messages } = joined.clone();
    let health = Health::new(kafka.clone())
        .ask(Box::new(readiness::probe(database.clone())))
        .require(Box::new(move || not_yet(&stamps, "the consumer group has not been joined yet")))
        .require(Box::new(move || {
            not_yet(&messages, "the consumer group of messages has not been joined yet")
        }));
    let poisoned = metrics.poisoned.clone();
    let health = health.desire(Box::new(move || {
        let partitions = poisoned.get();
        (partitions > 0).then(|| format!("too many records of {partitions} partitions become dead letters"))
    }));
    let unreadable = metrics.unreadable.clone();
    let health = health.desire(Box::new(move || {
        (unreadable.get() > 0)
            .then(|| "a partition stands still at a batch that can't be unpacked".to_owned())
    }));
    let silent = metrics.silent.clone();
    let health = health.desire(Box::new(move || {
        let partitions = silent.get();
        (partitions > 0).then(|| format!("{partitions} partitions have records of which none comes"))
    }));
    let stall = metrics.stall.clone();
    let health = health.desire(Box::new(move || stall.reason()));
    let (server, handle, admin) = admin::server(settings.process.admin_addr, Arc::new(health), registry)?;
    tokio::spawn(server);
    let work = tokio::spawn(async move {
        let result = work(settings, database, kafka, metrics, joined, stop).await;
        handle.stop(false).await;
        result
    });
    Ok(Running { admin, work })
}

/// Whether the groups were joined for the first time.
#[derive(Clone, Default)]
struct Joined {
    stamps: Arc<AtomicBool>,
    messages: Arc<AtomicBool>,
}

fn not_yet(joined: &AtomicBool, what: &str) -> Option<String> {
    (!joined.load(Ordering::Acquire)).then(|| what.to_owned())
}

async fn work(
    settings: Settings,
    database: Database,
    mut kafka: watch::Receiver<Reachability>,
    metrics: Metrics,
    joined: Joined,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let ready = async {
        wait_for_database(&database).await?;
        let clock = PostgresClock::synchronised(&database).await;
        kafka.wait_for(|state| *state != Reachability::NotYet).await?;
        anyhow::Ok(clock)
    };
    let Some(clock) = stop.run_until_cancelled(ready).await else {
        return Ok(());
    };
    let clock = Arc::new(clock?);
    tokio::spawn(Arc::clone(&clock).keep(database.clone(), stop.clone()));
    // Half of the time of a stop is for what is being written, half for leaving the groups.
    let patience = settings.process.shutdown_timeout.saturating_sub(RESERVE) / 2;
    let messages = messages::Parts {
        kafka: settings.kafka.clone(),
        group_id: settings.message_group_id.clone(),
        topic: settings.topics.message_topic.clone(),
        database: database.clone(),
        metrics: metrics.clone(),
        joined: joined.messages,
        patience,
    };
    // One half that ends, ends the other one as a signal does.
    let stop = stop.child_token();
    let stamps = stamps(settings, database, clock, metrics, joined.stamps, patience, &stop);
    let stamps = async { stamps.await.inspect_err(|_| stop.cancel()) };
    let messages = async { messages::run(messages, stop.clone()).await.inspect_err(|_| stop.cancel()) };
    let (stamps, messages) = tokio::join!(stamps, messages);
    stamps.and(messages)
}

/// Processes stamps until `stop`.
async fn stamps(
    settings: Settings,
    database: Database,
    clock: Arc<PostgresClock>,
    metrics: Metrics,
    joined: Arc<AtomicBool>,
    patience: Duration,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let (fetched_sender, fetched) = mpsc::channel(CHUNKS);
    let (control_sender, control) = mpsc::unbounded_channel();
    let topic = settings.topics.stamp_topic;
    let channels = Channels { fetched: fetched_sender, control: control_sender, joined };
    let as_clock: Arc<dyn Clock> = clock.clone();
    // What lies beyond is stored in the table: half of the topic's retention is left for whoever reads it next.
    let retention = retention(&settings.kafka.client_config(), &topic).await;
    let horizon = retention.and_then(|kept| TimeDelta::from_std(kept / 2).ok());
    // So that the first batches are as quick as the others. Where it fails they are slower, and that is all.
    let _cold = processing::warm_up(&database).await;
    let (consumer, committer) =
        Consumer::start(&settings.kafka, &settings.group_id, &topic, channels, as_clock, metrics.clone())?;
    tracing::info!(
        listener = settings.instance_id,
        group = settings.group_id,
        topic,
        message_group = settings.message_group_id,
        message_topic = settings.topics.message_topic.as_deref().unwrap_or("one per user"),
        min_batch_size = settings.limits.min(),
        max_batch_size = settings.limits.max(),
        "listening"
    );
    let heart = heart::Settings { limits: settings.limits, horizon, seed: seed(&settings.instance_id) };
    let parts = shell::Parts {
        settings: heart,
        clock,
        writer: Arc::new(Writer { database, kafka: settings.kafka, listener: settings.instance_id, topic }),
        committer,
        metrics,
        fetched,
        control,
    };
    let mut shell = tokio::spawn(shell::run(parts, stop.clone()));
    let stopped = async {
        stop.cancelled().await;
        tokio::time::sleep(patience).await;
    };
    let frontiers = tokio::select! {
        ended = &mut shell => ended.context("the heart panicked")?,
        () = stopped => {
            tracing::warn!("the write under way did not end in time; it is taken up by the next listener");
            shell.abort();
            Ok(Vec::new())
        }
    };
    let last = frontiers.as_ref().cloned().unwrap_or_default();
    consumer.close(last, patience).await;
    frontiers.map(drop)
}

/// Listeners of different names try again at different moments.
fn seed(instance_id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    instance_id.hash(&mut hasher);
    hasher.finish()
}

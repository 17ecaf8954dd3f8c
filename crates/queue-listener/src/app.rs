//! Puts the listener together, and takes it apart in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use platform::admin;
use platform::health::Health;
use platform::kafka::reachability::{self, Reachability};
use platform::kafka::topics::TopicSpec;
use platform::metrics::{database_connections, database_state};
use platform::shutdown::CancellationToken;
use prometheus::Registry;
use store::Database;
use store::clock::PostgresClock;
use store::readiness::{self, DatabaseState, wait_for_database};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::messages::{self, poller::MessageParts};
use crate::metrics::ListenerMetrics;
use crate::settings::ListenerSettings;
use crate::stamps;

/// What a stop of the listener keeps back from its time to end the servers and the process in.
const RESERVE: Duration = Duration::from_millis(500);

/// A listener that runs.
pub struct RunningListener {
    /// The address where operators reach the listener.
    pub admin: SocketAddr,
    work: JoinHandle<anyhow::Result<()>>,
}

impl RunningListener {
    /// Waits until the listener has ended.
    ///
    /// # Errors
    /// If the listener failed.
    pub async fn join(self) -> anyhow::Result<()> {
        self.work.await.context("the listener panicked")?
    }
}

/// Starts a listener, which waits by itself for PostgreSQL and Kafka.
///
/// # Errors
/// If the settings can't be used or the address can't be bound.
pub fn start(settings: ListenerSettings, stop: CancellationToken) -> anyhow::Result<RunningListener> {
    let registry = Registry::new();
    let metrics = ListenerMetrics::register(&registry)?;
    // A lock on the tables of one half holds up nothing of the other.
    let [database, for_messages] = Database::shares(&settings.database, "queue-listener", [3, 2])?;
    let pools = [database.clone(), for_messages.clone()];
    database_connections(&registry, "queue_listener", move || Database::connections(&pools))?;
    let topics = std::iter::once(TopicSpec::of_stamps(&settings.topics))
        .chain(TopicSpec::of_shared_messages(&settings.topics))
        .collect();
    let kafka = reachability::watch(settings.kafka.client_config(), topics, stop.clone());
    let joined = Joined::default();
    let Joined { stamps, messages } = joined.clone();
    let seen = readiness::watch(database.clone(), stop.clone());
    let shown = seen.clone();
    database_state(&registry, "queue_listener", &DatabaseState::NAMES, move || shown.borrow().ordinal())?;
    let troubled = database.clone();
    let health = Health::new(kafka.clone())
        .require(Box::new(move || seen.borrow().reason()))
        .desire(Box::new(move || troubled.trouble()))
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
        (unreadable.get() > 0).then(|| "a partition stands still at a batch that can't be decoded".to_owned())
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
        let result = work(settings, database, for_messages, kafka, metrics, joined, stop).await;
        handle.stop(false).await;
        result
    });
    Ok(RunningListener { admin, work })
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
    settings: ListenerSettings,
    database: Database,
    for_messages: Database,
    mut kafka: watch::Receiver<Reachability>,
    metrics: ListenerMetrics,
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
    let messages = MessageParts {
        kafka: settings.kafka.clone(),
        group_id: settings.message_group_id.clone(),
        topic: settings.topics.message_topic.clone(),
        database: for_messages,
        metrics: metrics.clone(),
        joined: joined.messages,
        patience,
    };
    // One half that ends, ends the other one as a signal does.
    let stop = stop.child_token();
    let stamps = stamps::run::run(settings, database, clock, metrics, joined.stamps, patience, &stop);
    let stamps = async { stamps.await.inspect_err(|_| stop.cancel()) };
    let messages = async { messages::run::run(messages, stop.clone()).await.inspect_err(|_| stop.cancel()) };
    let (stamps, messages) = tokio::join!(stamps, messages);
    stamps.and(messages)
}

//! Puts the listener together, and takes it apart in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use platform::kafka::ClientKind;
use platform::kafka::reachability::{self, Reachability};
use platform::kafka::topics::{TopicMaker, TopicSpec};
use platform::metrics::{database_connections, state};
use platform::shutdown::CancellationToken;
use platform::{admin, descriptors};
use prometheus::Registry;
use store::Database;
use store::clock::PostgresClock;
use store::readiness::{self, DatabaseState, wait_for_database};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::health::{Joined, health};
use crate::messages::{self, poller::MessageParts};
use crate::metrics::ListenerMetrics;
use crate::settings::ListenerSettings;
use crate::stamps;

/// What a stop of the listener keeps back from its time to end the servers and the process in.
const RESERVE: Duration = Duration::from_millis(500);

/// The kinds of clients that the listener makes.
const CLIENTS: [ClientKind; 3] = [
    ("the client that makes topics", |kafka| TopicMaker::new(kafka).map(drop)),
    ("the consumer of stamps", stamps::consumer::clients::try_out),
    ("the consumer of messages", messages::poller::try_out),
];

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
    settings.kafka.try_out(&CLIENTS)?;
    // A client of Kafka has a connection to each broker, and there may be many of those.
    descriptors::raise_limit();
    let registry = Registry::new();
    let metrics = ListenerMetrics::register(&registry)?;
    // A lock on the tables of one half holds up nothing of the other.
    let [database, for_messages] = Database::shares(&settings.database, "queue-listener", [3, 2])?;
    let pools = [database.clone(), for_messages.clone()];
    database_connections(&registry, "queue_listener", move || Database::connections(&pools))?;
    let maker = TopicMaker::new(&settings.kafka).context("the Kafka client for topics can't be made")?;
    let kafka = reachability::watch(maker, TopicSpec::of_both(&settings.topics), stop.clone());
    let joined = Joined::default();
    let seen = readiness::watch(database.clone(), stop.clone());
    let health = health(&kafka, seen.clone(), database.clone(), &joined, &metrics);
    state(&registry, "queue_listener_database_state", &DatabaseState::NAMES, move || {
        seen.borrow().ordinal()
    })?;
    let seen = kafka.clone();
    state(&registry, "queue_listener_kafka_state", &Reachability::NAMES, move || seen.borrow().ordinal())?;
    let (server, handle, admin) = admin::server(settings.process.admin_addr, Arc::new(health), registry)?;
    tokio::spawn(server);
    let work = tokio::spawn(async move {
        let result = work(settings, database, for_messages, kafka, metrics, joined, stop).await;
        handle.stop(false).await;
        result
    });
    Ok(RunningListener { admin, work })
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
        kafka.wait_for(|state| !matches!(state, Reachability::NotYet(_))).await?;
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

//! Puts the listener together, and takes it apart in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use platform::kafka::ClientKind;
use platform::kafka::reachability::{self, Reachability};
use platform::kafka::topics::{TopicMaker, TopicSpec};
use platform::metrics::{database_connections, process_registry, state};
use platform::shutdown::CancellationToken;
use platform::{admin, descriptors};
use store::clock::PostgresClock;
use store::readiness::{self, DatabaseState, wait_for_database};
use store::{Database, Plans};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::deliveries::handover::Handover;
use crate::deliveries::{self, run::DeliveryParts};
use crate::health::{Joined, health};
use crate::messages::{self, poller::MessageParts};
use crate::metrics::ListenerMetrics;
use crate::settings::ListenerSettings;
use crate::stamps;
use crate::stamps::feed::Feed;
use crate::stamps::overdue::Overdue;
use crate::stamps::run::{StampParts, seed};

/// What a stop of the listener keeps back from its time to end the servers and the process in.
const RESERVE: Duration = Duration::from_millis(500);

/// How long a listener is not ready because Kafka does not answer: it takes what is overdue from the table all the while.
const WAITED_ENOUGH: Duration = Duration::from_secs(10);

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
    let registry = process_registry("queue_listener", env!("CARGO_PKG_VERSION"))?;
    let metrics = ListenerMetrics::register(&registry)?;
    // A lock on the tables of one half holds up nothing of the other.
    let [database, for_messages, for_overdue, for_deliveries] = Database::shares(
        &settings.database,
        "queue-listener",
        [(3, Plans::Once), (2, Plans::EachTime), (1, Plans::EachTime), (2, Plans::EachTime)],
    )?;
    let pools = [database.clone(), for_messages.clone(), for_overdue.clone(), for_deliveries.clone()];
    database_connections(&registry, "queue_listener", move || Database::connections(&pools))?;
    let maker = TopicMaker::new(&settings.kafka).context("the Kafka client for topics can't be made")?;
    let kafka = reachability::watch(maker, TopicSpec::of_both(&settings.topics), stop.clone());
    let joined = Joined::default();
    tokio::spawn(give_up_waiting(kafka.clone(), Arc::clone(&joined.waited_enough)));
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
        let pools = Pools {
            stamps: database,
            messages: for_messages,
            overdue: for_overdue,
            deliveries: for_deliveries,
        };
        let result = work(settings, pools, kafka, metrics, joined, stop).await;
        handle.stop(false).await;
        result
    });
    Ok(RunningListener { admin, work })
}

/// The connections of each part: a lock on the tables of one holds up nothing of the others.
struct Pools {
    stamps: Database,
    messages: Database,
    overdue: Database,
    deliveries: Database,
}

async fn work(
    settings: ListenerSettings,
    pools: Pools,
    mut kafka: watch::Receiver<Reachability>,
    metrics: ListenerMetrics,
    joined: Joined,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Some(clock) = clock(&pools.stamps, &stop).await? else { return Ok(()) };
    // Half of the time of a stop is for what is being written, half for leaving the groups.
    let patience = settings.process.shutdown_timeout.saturating_sub(RESERVE) / 2;
    let messages = MessageParts {
        kafka: settings.kafka.clone(),
        group_id: settings.message_group_id.clone(),
        topic: settings.topics.message_topic.clone(),
        database: pools.messages,
        metrics: metrics.clone(),
        joined: joined.messages,
        patience,
    };
    let feed = Feed::default();
    let (handover, deliveries) = deliveries(&settings, pools.deliveries, &clock, &metrics);
    let overdue = Overdue {
        database: pools.overdue,
        clock: Arc::clone(&clock),
        metrics: metrics.clone(),
        feed: feed.clone(),
        maker: settings.maker(),
        handover: handover.clone(),
        max: settings.limits.max(),
        seed: seed(&settings.instance_id),
    };
    // A part that fails ends the others as a signal does.
    let stop = stop.child_token();
    let failing = |result: anyhow::Result<()>| result.inspect_err(|_| stop.cancel());
    // What is due leaves by the table although Kafka is away.
    let overdue = async { failing(overdue.run(patience, &stop).await) };
    let by_kafka = async {
        let answers = kafka.wait_for(|state| !matches!(state, Reachability::NotYet(_)));
        if stop.run_until_cancelled(answers).await.is_none() {
            return Ok(());
        }
        let database = pools.stamps;
        let joined = joined.stamps;
        let stamps = StampParts { settings, database, clock, metrics, joined, feed, handover, patience };
        let stamps = async { failing(stamps::run::run(stamps, &stop).await) };
        let messages = async { failing(messages::run::run(messages, stop.clone()).await) };
        let (stamps, messages) = tokio::join!(stamps, messages);
        stamps.and(messages)
    };
    let deliveries = async {
        let Some(parts) = deliveries else { return Ok(()) };
        failing(deliveries::run::run(parts, patience, &stop).await)
    };
    let (by_kafka, overdue, deliveries) = tokio::join!(by_kafka, overdue, deliveries);
    by_kafka.and(overdue).and(deliveries)
}

/// Waits for the database and returns its clock, which is kept from then on; none if `stop` comes first.
async fn clock(database: &Database, stop: &CancellationToken) -> anyhow::Result<Option<Arc<PostgresClock>>> {
    let ready = async {
        wait_for_database(database).await?;
        anyhow::Ok(PostgresClock::synchronised(database).await)
    };
    let Some(clock) = stop.run_until_cancelled(ready).await else { return Ok(None) };
    let clock = Arc::new(clock?);
    tokio::spawn(Arc::clone(&clock).keep(database.clone(), stop.clone()));
    Ok(Some(clock))
}

/// Returns what hands batches over and what tells them, if there is a sink.
fn deliveries(
    settings: &ListenerSettings,
    database: Database,
    clock: &Arc<PostgresClock>,
    metrics: &ListenerMetrics,
) -> (Handover, Option<DeliveryParts>) {
    let Some(sink) = settings.sink.clone() else { return (Handover::default(), None) };
    let (handover, made) = Handover::new();
    let parts = DeliveryParts {
        settings: sink,
        kafka: settings.kafka.clone(),
        replication_factor: settings.topics.replication_factor,
        database,
        clock: Arc::clone(clock),
        metrics: metrics.clone(),
        made,
        seed: seed(&settings.instance_id),
    };
    (handover, Some(parts))
}

/// Takes note once Kafka refuses, or has not answered for so long that a listener is of use without it.
async fn give_up_waiting(mut kafka: watch::Receiver<Reachability>, waited_enough: Arc<AtomicBool>) {
    let is_reachable = |state: &Reachability| matches!(state, Reachability::Reachable);
    let answers = |state: &Reachability| is_reachable(state) || matches!(state, Reachability::Refusing(_));
    while kafka.wait_for(|state| !is_reachable(state)).await.is_ok() {
        match tokio::time::timeout(WAITED_ENOUGH, kafka.wait_for(answers)).await {
            Ok(Ok(state)) if is_reachable(&state) => {}
            Ok(Err(_ended)) => return,
            Ok(Ok(_)) | Err(_) => {
                waited_enough.store(true, Ordering::Release);
                return;
            }
        }
    }
}

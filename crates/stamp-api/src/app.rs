//! The parts of the service, how they start, and the order in which they stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpServer;
use actix_web::dev::{Server, ServerHandle};
use anyhow::{Context, anyhow};
use domain::outbox::Event;
use domain::stamp::TimeTolerance;
use platform::health::Health;
use platform::kafka::reachability;
use platform::kafka::topics::TopicSpec;
use platform::metrics::{database_connections, observed};
use platform::shutdown::CancellationToken;
use platform::{admin, telemetry};
use prometheus::Registry;
use store::Database;
use store::clock::PostgresClock;
use store::readiness::{self, wait_for_database};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::auth::Auth;
use crate::http::application::{Shared, application};
use crate::http::connections::Connections;
use crate::http::state::{AppState, OpenIntake};
use crate::messages::check::Checker;
use crate::messages::sender::Sender;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::stamps::intake::Intake;
use crate::stamps::outbox::{Outbox, Wanted};
use crate::stamps::owners::{self, Complaint};
use crate::stamps::relay::{Packing, Publisher, publish};
use crate::stamps::sweeper;

/// A head takes less than a second on any network; who takes longer only holds the connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than the pause between two requests of a busy client.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// The rest of a head that follows another request has to come within the head's time once the pause is over.
const IDLE_LIMIT: Duration = KEEP_ALIVE.saturating_add(HEAD_TIMEOUT);
const MAX_CONNECTIONS_A_WORKER: usize = 10_000;
const BACKLOG: u32 = 1_024;
/// What a stop keeps back from its time to end the process in.
const RESERVE: Duration = Duration::from_millis(500);

/// Serves until `stop`, or until a part fails.
///
/// # Errors
/// What kept the service from starting, or the part that ended and why.
pub async fn serve(settings: Settings, stop: CancellationToken) -> anyhow::Result<()> {
    start(settings, stop)?.join().await
}

/// A service that has bound its addresses.
pub struct Running {
    /// Where clients reach it.
    pub http: SocketAddr,
    /// Where operators reach it.
    pub admin: SocketAddr,
    supervisor: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Waits for the end.
    ///
    /// # Errors
    /// The part that ended by itself, and why.
    pub async fn join(self) -> anyhow::Result<()> {
        self.supervisor.await?
    }
}

/// Binds both addresses at once, whether PostgreSQL and Kafka are there or not, and starts everything else.
///
/// # Errors
/// If a setting can't be used or an address can't be bound.
pub fn start(settings: Settings, stop: CancellationToken) -> anyhow::Result<Running> {
    let database = Database::new(&settings.database, "stamp-api")?;
    let max_time_tolerance = TimeTolerance::from_minutes(settings.topics.max_time_tolerance_minutes)?;
    let state =
        Arc::new(AppState::new(database.clone(), max_time_tolerance, Auth::new(settings.auth.clone())));
    let topics =
        [Some(TopicSpec::of_stamps(&settings.topics)), TopicSpec::of_shared_messages(&settings.topics)];
    let topics = topics.into_iter().flatten().collect();
    let kafka = reachability::watch(settings.kafka.client_config(), topics, stop.clone());
    let sender = Sender::new(settings.kafka.clone(), settings.topics.clone())
        .context("the Kafka clients for messages can't be made")?;
    let checker = Checker::start(&settings.kafka, settings.topics.message_topic.as_deref(), &database)
        .context("the threads for checks can't be started")?;
    let watched = Arc::clone(&state);
    let closed = move || (!watched.is_open()).then(|| "the intake is not open".to_owned());
    let complaint = Arc::new(Complaint::default());
    let outbox = Arc::clone(&complaint);
    let health = Health::new(kafka).ask(Box::new(readiness::probe(database))).require(Box::new(closed));
    let health = Arc::new(health.desire(Box::new(move || outbox.get())));
    let registry = Registry::new();
    let metrics = Metrics::register(&registry)?;

    let shared = Shared {
        state: Arc::clone(&state),
        sender: Arc::new(sender),
        checker: Arc::new(checker),
        health: Arc::clone(&health),
        metrics: metrics.clone(),
    };
    let limit = settings.process.shutdown_timeout;
    let connections = Arc::new(Connections::new(IDLE_LIMIT));
    show_bounded(&registry, &state, &connections)?;
    tokio::spawn(Arc::clone(&connections).watch(stop.clone()));
    let (http, http_address) = http_server(&settings, shared, connections)?;
    let (admin, admin_handle, admin_address) = admin::server(settings.process.admin_addr, health, registry)?;
    let drain = CancellationToken::new();
    let parts = Parts {
        http_handle: http.handle(),
        http: tokio::spawn(http),
        admin_handle,
        admin: tokio::spawn(admin),
        intake: tokio::spawn(run_intake(settings, state, metrics, complaint, drain.clone())),
        drain,
    };
    let supervisor = tokio::spawn(parts.supervise(stop, limit));
    Ok(Running { http: http_address, admin: admin_address, supervisor })
}

/// What has a bound shows how much of it is taken.
fn show_bounded(
    registry: &Registry,
    state: &Arc<AppState>,
    open: &Arc<Connections>,
) -> prometheus::Result<()> {
    let (taking_in, open) = (Arc::clone(state), Arc::clone(open));
    let queued = move || taking_in.intake().map_or(0, |it| it.intake.queued() as i64);
    let database = state.database.clone();
    database_connections(registry, "stamp_api", move || database.connections())?;
    observed(registry, "stamp_api_intake_queue", "Stamps that wait to be stored, 10,000 at most.", queued)?;
    let count = move || open.count() as i64;
    observed(registry, "stamp_api_http_connections", "Connections of clients.", count)
}

fn http_server(
    settings: &Settings,
    shared: Shared,
    connections: Arc<Connections>,
) -> anyhow::Result<(Server, SocketAddr)> {
    let address = settings.http_addr;
    let server = HttpServer::new(move || application(shared.clone()))
        .on_connect(move |stream, data| connections.enter(stream, data))
        .client_request_timeout(HEAD_TIMEOUT)
        .keep_alive(KEEP_ALIVE)
        .tcp_nodelay(true)
        .max_connections(MAX_CONNECTIONS_A_WORKER)
        .backlog(BACKLOG)
        // Half of the time to stop in is for requests, the other half for what they have stored.
        .shutdown_timeout(settings.process.shutdown_timeout.as_secs() / 2)
        .disable_signals()
        .bind(address)
        .with_context(|| format!("HTTP_ADDR={address} can't be bound"))?;
    let bound = server.addrs().first().copied().unwrap_or(address);
    telemetry::announce("stamps", bound);
    Ok((server.run(), bound))
}

/// Opens the intake as soon as the database is there; at `drain` closes it and publishes what it has stored.
async fn run_intake(
    settings: Settings,
    state: Arc<AppState>,
    metrics: Metrics,
    complaint: Arc<Complaint>,
    drain: CancellationToken,
) -> anyhow::Result<()> {
    let database = &state.database;
    let prepare = async {
        wait_for_database(database).await?;
        anyhow::Ok(Arc::new(PostgresClock::synchronised(database).await))
    };
    let Some(clock) = drain.run_until_cancelled(prepare).await else { return Ok(()) };
    let clock = clock?;
    let (outbox, wanted) = Outbox::new();
    let outbox = Arc::new(outbox);
    let mut relay = Relay::start(&settings, &outbox, database, wanted)?;
    // What ends with the requests.
    let mut background = JoinSet::new();
    background.spawn(Arc::clone(&clock).keep(database.clone(), drain.clone()));
    let shown =
        owners::show(Arc::clone(&outbox), database.clone(), metrics.clone(), complaint, drain.clone());
    background.spawn(shown);
    let sweeper = Arc::clone(&relay.publishers[1]);
    background.spawn(sweeper::run(sweeper, database.clone(), metrics.swept.clone(), drain.clone()));
    let mut committers = JoinSet::new();
    tokio::select! {
        () = drain.cancelled() => {}
        ended = relay.ended() => ended.context("the relay ended")?,
        () = outbox.opened() => {
            let (intake, started) = Intake::start(database, &clock, &outbox);
            committers = started;
            state.open(OpenIntake { clock, intake });
            tracing::info!("taking stamps in");
        }
    }
    tokio::select! {
        () = drain.cancelled() => {}
        ended = relay.ended() => ended.context("the relay ended")?,
        Some(ended) = background.join_next() => ended.context("a part of the intake ended")?,
        Some(ended) = committers.join_next() => ended.context("a committer ended")?,
    }
    state.close();
    committers.join_all().await;
    outbox.tell(Event::Stop);
    relay.stop(settings.process.shutdown_timeout / 4).await?;
    background.join_all().await;
    owners::abandon(&outbox, database).await;
    Ok(())
}

/// What goes on until everything that was stored is published.
struct Relay {
    /// One that packs events together, one that sends each alone.
    publishers: [Arc<Publisher>; 2],
    parts: JoinSet<()>,
    closed: CancellationToken,
}

impl Relay {
    fn start(
        settings: &Settings,
        outbox: &Arc<Outbox>,
        database: &Database,
        wanted: Wanted,
    ) -> anyhow::Result<Self> {
        let publisher = |packing| {
            let (kafka, topic) = (settings.kafka.clone(), settings.topics.stamp_topic.clone());
            let publisher = Publisher::new(kafka, topic, packing, Arc::clone(outbox));
            publisher.map(Arc::new).context("the Kafka producer can't be made")
        };
        let publishers = [publisher(Packing::Together)?, publisher(Packing::Alone)?];
        let closed = CancellationToken::new();
        let mut parts = JoinSet::new();
        for (publisher, events) in publishers.iter().zip([wanted.together, wanted.alone]) {
            parts.spawn(publish(Arc::clone(publisher), events, closed.clone()));
        }
        parts.spawn(owners::keep(Arc::clone(outbox), database.clone(), wanted.database, closed.clone()));
        Ok(Self { publishers, parts, closed })
    }

    /// Waits for a part that ends by itself.
    async fn ended(&mut self) -> Result<(), JoinError> {
        self.parts.join_next().await.unwrap_or(Ok(()))
    }

    /// Publishes what was handed out, as far as that takes no longer than `limit`, and twice that with what is on
    /// its way.
    async fn stop(self, limit: Duration) -> Result<(), JoinError> {
        self.closed.cancel();
        if tokio::time::timeout(limit, self.parts.join_all()).await.is_err() {
            tracing::warn!("not everything was handed to Kafka; the outbox keeps the rest");
        }
        let flushed =
            self.publishers.map(|publisher| tokio::task::spawn_blocking(move || publisher.flush(limit)));
        for flushed in flushed {
            flushed.await?;
        }
        Ok(())
    }
}

/// What runs, and how it is told to stop.
struct Parts {
    http: JoinHandle<std::io::Result<()>>,
    http_handle: ServerHandle,
    admin: JoinHandle<std::io::Result<()>>,
    admin_handle: ServerHandle,
    intake: JoinHandle<anyhow::Result<()>>,
    /// Cancelled when no request can come any more.
    drain: CancellationToken,
}

impl Parts {
    /// Waits until it is time to stop, or until a part ends that should not have; then stops everything.
    async fn supervise(mut self, stop: CancellationToken, limit: Duration) -> anyhow::Result<()> {
        let outcome = tokio::select! {
            () = stop.cancelled() => Ok(()),
            ended = &mut self.http => Err(early("the HTTP server", ended.map(|end| end.map_err(Into::into)))),
            ended = &mut self.admin => Err(early("the admin server", ended.map(|end| end.map_err(Into::into)))),
            ended = &mut self.intake => Err(early("the intake", ended)),
        };
        stop.cancel();
        self.stop(Instant::now() + limit.saturating_sub(RESERVE)).await;
        outcome
    }

    /// Requests first, then what they have stored, then the view of it all.
    async fn stop(mut self, deadline: Instant) {
        if tokio::time::timeout_at(deadline, self.http_handle.stop(true)).await.is_err() {
            tracing::warn!("stopped before every request was answered");
        }
        self.drain.cancel();
        if !self.intake.is_finished() && tokio::time::timeout_at(deadline, &mut self.intake).await.is_err() {
            tracing::warn!("stopped before every stored event was published; the rest is published later");
        }
        self.admin_handle.stop(false).await;
    }
}

/// Names a part that ended by itself.
fn early(part: &str, ended: Result<anyhow::Result<()>, JoinError>) -> anyhow::Error {
    let why = match ended {
        Ok(Ok(())) => anyhow!("nobody told it to"),
        Ok(Err(error)) => error,
        Err(panic) => panic.into(),
    };
    why.context(format!("{part} ended"))
}

//! The parts of the service, how they start, and the order in which they stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpServer;
use actix_web::dev::{Server, ServerHandle};
use anyhow::{Context, anyhow};
use domain::stamp::TimeTolerance;
use platform::health::Health;
use platform::kafka::ClientKind;
use platform::kafka::reachability::{self, Reachability};
use platform::kafka::topics::{TopicMaker, TopicSpec};
use platform::metrics::{self, database_connections, observed, process_registry};
use platform::shutdown::CancellationToken;
use platform::{admin, descriptors, telemetry};
use prometheus::Registry;
use store::readiness::{self, DatabaseState};
use store::{Database, Plans};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use crate::auth::Auth;
use crate::http::application::{Shared, application};
use crate::http::budget::BodyBudget;
use crate::http::connections::{Connections, ENTERING, most_connections};
use crate::http::state::AppState;
use crate::messages::check::Checker;
use crate::messages::sender::Sender;
use crate::metrics::ApiMetrics;
use crate::settings::ApiSettings;
use crate::stamps::owners::Complaint;
use crate::stamps::publisher::Publisher;
use crate::stamps::run;

/// How long a head may take: less than a second on any network; who takes longer only holds the connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const BACKLOG: u32 = 1_024;
/// What a stop of the service keeps back from its time to end the process in.
const RESERVE: Duration = Duration::from_millis(500);

/// What of the connections is for the intake's group commits, for all else that stamps need, and for messages.
const SHARES: [(usize, Plans); 3] = [(4, Plans::Once), (3, Plans::EachTime), (3, Plans::EachTime)];

/// The kinds of clients that the service makes.
const CLIENTS: [ClientKind; 4] = [
    ("the client that makes topics", |kafka| TopicMaker::new(kafka).map(drop)),
    ("the producer of events", Publisher::try_out),
    ("the producer of messages", Sender::try_out),
    ("the consumer of checks", Checker::try_out),
];

/// Serves until `stop`, or until a part fails.
///
/// # Errors
/// What kept the service from starting, or the part that ended and why.
pub async fn serve(settings: ApiSettings, stop: CancellationToken) -> anyhow::Result<()> {
    start(settings, stop)?.join().await
}

/// A service that has bound its addresses.
pub struct RunningApi {
    /// The address where clients reach the service.
    pub http: SocketAddr,
    /// The address where operators reach the service.
    pub admin: SocketAddr,
    supervisor: JoinHandle<anyhow::Result<()>>,
}

impl RunningApi {
    /// Waits until the service has ended.
    ///
    /// # Errors
    /// The part that ended by itself, and why.
    pub async fn join(self) -> anyhow::Result<()> {
        self.supervisor.await?
    }
}

/// Binds both addresses at once, whether PostgreSQL and Kafka are there or not, and starts everything else. `asked`:
/// that the service is to stop.
///
/// # Errors
/// If a setting can't be used or an address can't be bound.
pub fn start(settings: ApiSettings, asked: CancellationToken) -> anyhow::Result<RunningApi> {
    settings.kafka.try_out(&CLIENTS)?;
    let stop = CancellationToken::new();
    // Stamps are taken in whatever becomes of the rest.
    let [intake, stamps, messages] = Database::shares(&settings.database, "stamp-api", SHARES)?;
    let max_time_tolerance = TimeTolerance::from_minutes(settings.topics.max_time_tolerance_minutes)?;
    let auth = Auth::new(settings.auth.clone());
    let state = Arc::new(AppState::new(stamps.clone(), messages.clone(), max_time_tolerance, auth));
    let maker = TopicMaker::new(&settings.kafka).context("the Kafka client for topics can't be made")?;
    let sender = Sender::new(settings.kafka.clone(), settings.topics.clone(), maker.clone())
        .context("the Kafka producer of messages can't be made")?;
    let kafka = reachability::watch(maker, TopicSpec::of_both(&settings.topics), stop.clone());
    let checker = Checker::start(&settings.kafka, settings.topics.message_topic.as_deref(), &messages)
        .context("the threads for checks can't be started")?;
    let registry = process_registry("stamp_api", env!("CARGO_PKG_VERSION"))?;
    let complaint = Arc::new(Complaint::default());
    let seen = readiness::watch(stamps.clone(), stop.clone());
    let health = Arc::new(health(kafka.clone(), seen.clone(), &state, Arc::clone(&complaint), asked.clone()));
    show_states(&registry, kafka, seen)?;
    let metrics = ApiMetrics::register(&registry)?;
    let shared = Shared {
        state: Arc::clone(&state),
        sender: Arc::new(sender),
        checker: Arc::new(checker),
        bodies: BodyBudget::new(settings.body_budget),
        health: Arc::clone(&health),
        metrics: metrics.clone(),
    };
    let limit = settings.process.shutdown_timeout;
    let most = most_connections(descriptors::raise_limit(), settings.database.pool_size);
    // The rest of a head that follows another request has to come within the head's time once the pause is over.
    let connections = Arc::new(Connections::new(settings.keep_alive + HEAD_TIMEOUT, most));
    show_bounded(&registry, &state, &connections, &shared)?;
    let pools = [intake.clone(), stamps.clone(), messages];
    database_connections(&registry, "stamp_api", move || Database::connections(&pools))?;
    tokio::spawn(Arc::clone(&connections).watch(stop.clone()));
    let (http, http_address) = http_server(&settings, shared, connections)?;
    let (admin, admin_handle, admin_address) = admin::server(settings.process.admin_addr, health, registry)?;
    let drain = CancellationToken::new();
    let stamps = run::IntakeParts {
        intake,
        stamps,
        kafka: settings.kafka,
        topic: settings.topics.stamp_topic,
        gate: Arc::clone(&state.gate),
        metrics,
        complaint,
        patience: limit / 4,
    };
    let parts = Servers {
        http_handle: http.handle(),
        http: tokio::spawn(http),
        admin_handle,
        admin: tokio::spawn(admin),
        intake: tokio::spawn(run::run(stamps, drain.clone())),
        drain,
    };
    let supervisor = tokio::spawn(parts.supervise(late(asked, settings.shutdown_delay), stop, limit));
    Ok(RunningApi { http: http_address, admin: admin_address, supervisor })
}

/// Waits until the service was asked to stop and whoever sends requests here has had time to learn it from `/readyz`.
async fn late(asked: CancellationToken, delay: Duration) {
    asked.cancelled().await;
    tokio::time::sleep(delay).await;
}

/// Returns what `/readyz` looks at.
fn health(
    kafka: watch::Receiver<Reachability>,
    database: watch::Receiver<DatabaseState>,
    state: &AppState,
    complaint: Arc<Complaint>,
    asked: CancellationToken,
) -> Health {
    let (gate, troubled) = (Arc::clone(&state.gate), state.stamps.clone());
    Health::new(kafka)
        .require(Box::new(move || asked.is_cancelled().then(|| "the service is about to stop".to_owned())))
        .require(Box::new(move || database.borrow().reason()))
        .require(Box::new(move || (!gate.is_open()).then(|| "the intake is not open".to_owned())))
        .desire(Box::new(move || complaint.get()))
        .desire(Box::new(move || troubled.trouble()))
}

/// Shows what was seen of Kafka and of the database last.
fn show_states(
    registry: &Registry,
    kafka: watch::Receiver<Reachability>,
    database: watch::Receiver<DatabaseState>,
) -> prometheus::Result<()> {
    let of_database = move || database.borrow().ordinal();
    metrics::state(registry, "stamp_api_database_state", &DatabaseState::NAMES, of_database)?;
    metrics::state(registry, "stamp_api_kafka_state", &Reachability::NAMES, move || kafka.borrow().ordinal())
}

/// Shows how much is taken of whatever has a bound.
fn show_bounded(
    registry: &Registry,
    state: &Arc<AppState>,
    open: &Arc<Connections>,
    shared: &Shared,
) -> prometheus::Result<()> {
    let (bodies, sender) = (shared.bodies.clone(), Arc::clone(&shared.sender));
    let made = move || sender.topics_made() as i64;
    observed(registry, "stamp_api_user_topics_made", "Topics of users that this process has made.", made)?;
    let taken = move || bodies.taken() as i64;
    observed(
        registry,
        "stamp_api_http_body_bytes",
        "Bytes of bodies in memory, HTTP_BODY_BUDGET_BYTES at most.",
        taken,
    )?;
    let (gate, open) = (Arc::clone(&state.gate), Arc::clone(open));
    let queued = move || gate.intake().map_or(0, |it| it.intake.queued() as i64);
    observed(
        registry,
        "stamp_api_intake_queue",
        "Single stamps that wait to be stored, 10,000 at most.",
        queued,
    )?;
    let count = move || open.count() as i64;
    observed(registry, "stamp_api_http_connections", "Connections of clients.", count)
}

fn http_server(
    settings: &ApiSettings,
    shared: Shared,
    connections: Arc<Connections>,
) -> anyhow::Result<(Server, SocketAddr)> {
    let address = settings.http_addr;
    // A connection is taken in before another one is closed for it.
    let max_of_worker = connections.most() + ENTERING;
    let server = HttpServer::new(move || application(shared.clone()))
        .on_connect(move |stream, data| connections.enter(stream, data))
        .client_request_timeout(HEAD_TIMEOUT)
        .keep_alive(settings.keep_alive)
        .tcp_nodelay(true)
        .max_connections(max_of_worker)
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

/// The parts that run, and how each is told to stop.
struct Servers {
    http: JoinHandle<std::io::Result<()>>,
    http_handle: ServerHandle,
    admin: JoinHandle<std::io::Result<()>>,
    admin_handle: ServerHandle,
    intake: JoinHandle<anyhow::Result<()>>,
    /// The token that is cancelled when no request can come any more.
    drain: CancellationToken,
}

impl Servers {
    /// Waits until it is time to stop, or until a part ends that should not have; then stops everything.
    async fn supervise(
        mut self,
        asked: impl Future<Output = ()>,
        stop: CancellationToken,
        limit: Duration,
    ) -> anyhow::Result<()> {
        let outcome = tokio::select! {
            () = asked => Ok(()),
            ended = &mut self.http => Err(early("the HTTP server", ended.map(|end| end.map_err(Into::into)))),
            ended = &mut self.admin => Err(early("the admin server", ended.map(|end| end.map_err(Into::into)))),
            ended = &mut self.intake => Err(early("the intake", ended)),
        };
        stop.cancel();
        self.stop(Instant::now() + limit.saturating_sub(RESERVE)).await;
        outcome
    }

    /// Stops the requests first, then what they have stored, then the view of it all.
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

/// Returns the error that names a part which ended by itself.
fn early(part: &str, ended: Result<anyhow::Result<()>, JoinError>) -> anyhow::Error {
    let why = match ended {
        Ok(Ok(())) => anyhow!("nobody told it to"),
        Ok(Err(error)) => error,
        Err(panic) => panic.into(),
    };
    why.context(format!("{part} ended"))
}

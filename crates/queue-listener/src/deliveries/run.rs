//! Carries out what the courier decides: takes parts in hand, tells them, notes what became of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use domain::batch::heart::Moment;
use domain::delivery::Sink;
use domain::delivery::courier::{Courier, CourierCommand, CourierEvent, Note};
use domain::delivery::schedule::Fate;
use platform::kafka::KafkaSettings;
use platform::kafka::topics::TopicSpec;
use store::Database;
use store::clock::{Clock as _, PostgresClock};
use store::deliveries::{self, WaitingDeliveries};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::handover::{Contents, HandedOver, Made};
use super::kafka::ToTopic;
use super::settings::{SinkSettings, SinkTarget};
use super::teller::{Receiver, Teller};
use super::webhook::ToReceiver;
use crate::metrics::ListenerMetrics;

/// How often it is counted what waits.
const PERIOD: Duration = Duration::from_secs(5);
/// How many partitions the topic of batches is made with.
const PARTITIONS: i32 = 12;

/// What it takes to tell batches.
pub(crate) struct DeliveryParts {
    pub(crate) settings: SinkSettings,
    pub(crate) kafka: KafkaSettings,
    /// With how many replicas the topic of batches is made.
    pub(crate) replication_factor: i32,
    pub(crate) database: Database,
    pub(crate) clock: Arc<PostgresClock>,
    pub(crate) metrics: ListenerMetrics,
    pub(crate) made: HandedOver,
    /// Lets listeners try again at different moments.
    pub(crate) seed: u64,
}

/// Tells batches until `stop`; then what is being told is finished and noted, as far as that takes no longer than
/// `patience`.
///
/// # Errors
/// If a client can't be made.
pub(crate) async fn run(
    parts: DeliveryParts,
    patience: Duration,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let DeliveryParts { settings, kafka, replication_factor, database, clock, metrics, made, seed } = parts;
    let SinkSettings { source, target } = settings;
    let sink = target.sink();
    let receiver = match target {
        SinkTarget::Kafka { topic } => {
            let spec = TopicSpec { name: topic, partitions: PARTITIONS, replication_factor, retention: None };
            Receiver::Topic(ToTopic::new(&kafka, spec).context("the producer of batches can't be made")?)
        }
        SinkTarget::Webhook { url, signers } => Receiver::Webhook(ToReceiver::new(url, signers)?),
    };
    let counting = tokio::spawn(count(database.clone(), sink, metrics.clone(), stop.clone()));
    let contents = Mutex::new(Contents::default());
    let teller = Teller { database: database.clone(), clock: Arc::clone(&clock), source, receiver, contents };
    let shell = CourierShell {
        courier: Courier::new(sink, seed),
        sink,
        teller: Arc::new(teller),
        database,
        clock,
        metrics,
        started: Instant::now(),
        tasks: JoinSet::new(),
    };
    let stopped = async {
        stop.cancelled().await;
        tokio::time::sleep(patience).await;
    };
    tokio::select! {
        () = shell.run(made, stop) => {}
        () = stopped => tracing::warn!("a delivery did not end in time; another listener takes it up"),
    }
    counting.abort();
    Ok(())
}

struct CourierShell {
    courier: Courier,
    sink: Sink,
    teller: Arc<Teller>,
    database: Database,
    clock: Arc<PostgresClock>,
    metrics: ListenerMetrics,
    started: Instant,
    /// What is under way; each ends with what is to be told to the courier.
    tasks: JoinSet<CourierEvent>,
}

impl CourierShell {
    async fn run(mut self, mut made: HandedOver, stop: &CancellationToken) {
        let mut event = CourierEvent::Time;
        let mut is_stopping = false;
        loop {
            self.step(event);
            if is_stopping && self.courier.is_at_rest() {
                return;
            }
            let wake = self.courier.wake().map(|elapsed| self.started + elapsed);
            event = tokio::select! {
                biased;
                () = stop.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    CourierEvent::Stop
                }
                Some(done) = self.tasks.join_next() => match done {
                    Ok(event) => event,
                    Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
                },
                Some(batches) = made.recv(), if !is_stopping => self.made(batches),
                () = sleep(wake) => CourierEvent::Time,
            };
        }
    }

    fn made(&self, batches: Vec<Made>) -> CourierEvent {
        let mut contents = self.teller.contents.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = |(held, content): Made| {
            if let Some(content) = content {
                contents.keep(content);
            }
            held
        };
        CourierEvent::Made(batches.into_iter().map(keep).collect())
    }

    fn step(&mut self, event: CourierEvent) {
        let now = Moment { time: self.clock.now(), elapsed: self.started.elapsed() };
        for command in self.courier.step(now, event) {
            let (database, sink) = (self.database.clone(), self.sink);
            match command {
                CourierCommand::Claim(limit) => {
                    self.tasks.spawn(async move {
                        match deliveries::claim(&database, sink, limit).await {
                            Ok(held) => CourierEvent::Claimed(held),
                            Err(error) => {
                                tracing::warn!(error = error.to_string(), "deliveries can't be looked for");
                                CourierEvent::NotClaimed
                            }
                        }
                    });
                }
                CourierCommand::Tell(group) => {
                    let teller = Arc::clone(&self.teller);
                    self.tasks.spawn(async move { CourierEvent::Told(teller.tell(group).await) });
                }
                CourierCommand::Note(notes) => {
                    self.show(&notes);
                    self.tasks.spawn(async move {
                        match deliveries::note(&database, &notes).await {
                            Ok(()) => CourierEvent::Noted,
                            Err(error) => {
                                tracing::warn!(
                                    error = error.to_string(),
                                    "deliveries can't be noted; trying again"
                                );
                                CourierEvent::NotNoted(notes)
                            }
                        }
                    });
                }
            }
        }
    }

    fn show(&self, notes: &[Note]) {
        for note in notes {
            let error = note.error.as_deref().unwrap_or_default();
            let (batch, part) = (note.id.batch, note.id.part);
            self.metrics.deliveries.result(note.fate);
            match note.fate {
                Fate::Delivered => {}
                Fate::Waiting(next) => {
                    tracing::debug!(
                        batch.id = batch,
                        delivery.part = part,
                        error,
                        delivery.next_attempt = next.to_rfc3339(),
                        "a batch was not delivered"
                    );
                }
                Fate::Failed => {
                    tracing::error!(
                        batch.id = batch,
                        delivery.part = part,
                        error,
                        "the delivery of a batch is given up"
                    );
                }
            }
        }
    }
}

async fn sleep(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Counts now and then what waits.
async fn count(database: Database, sink: Sink, metrics: ListenerMetrics, stop: CancellationToken) {
    loop {
        if let Ok(WaitingDeliveries { waiting, oldest }) = deliveries::standing(&database, sink).await {
            metrics.deliveries.waiting.set(waiting);
            metrics.deliveries.oldest.set(oldest.as_secs_f64());
        }
        if stop.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_none() {
            return;
        }
    }
}

//! The stamps' way from its beginning to its end.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;
use domain::batch::heart;
use platform::kafka::topics::retention;
use store::Database;
use store::clock::{Clock, PostgresClock};
use store::stamps::processing;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::consumer::{Channels, Consumer};
use super::feed::Feed;
use super::shell::{self, ShellParts};
use super::writer::Writer;
use crate::deliveries::handover::Handover;
use crate::metrics::ListenerMetrics;
use crate::settings::ListenerSettings;

/// Chunks between the poll thread and the heart.
const CHUNKS: usize = 4;

/// What it takes to process stamps.
pub(crate) struct StampParts {
    pub(crate) settings: ListenerSettings,
    pub(crate) database: Database,
    pub(crate) clock: Arc<PostgresClock>,
    pub(crate) metrics: ListenerMetrics,
    /// Set with the first assignment.
    pub(crate) joined: Arc<AtomicBool>,
    /// Takes note of what Kafka brings.
    pub(crate) feed: Feed,
    /// Takes the batches that are to be told.
    pub(crate) handover: Handover,
    /// How long the write under way may take at the end; leaving the group may take as long again.
    pub(crate) patience: Duration,
}

/// Processes stamps until `stop`, then leaves the group; gives up on that after a few seconds.
///
/// # Errors
/// If a client can't be made, or a step fails that no waiting mends.
pub(crate) async fn run(parts: StampParts, stop: &CancellationToken) -> anyhow::Result<()> {
    let StampParts { settings, database, clock, metrics, joined, feed, handover, patience } = parts;
    let (fetched_sender, fetched) = mpsc::channel(CHUNKS);
    let (control_sender, control) = mpsc::unbounded_channel();
    let maker = settings.maker();
    let topic = maker.topic.clone();
    let channels = Channels { fetched: fetched_sender, control: control_sender, joined };
    let as_clock: Arc<dyn Clock> = clock.clone();
    // What lies beyond is stored in the table: half of the topic's retention is left for whoever reads it next.
    let retention = retention(&settings.kafka, &topic).await;
    let horizon = retention.and_then(|kept| TimeDelta::from_std(kept / 2).ok());
    // So that the first batches are as quick as the others. Where it fails they are slower, and that is all.
    let _cold = processing::warm_up(&database, &maker).await;
    let (consumer, committer) =
        Consumer::start(&settings.kafka, &settings.group_id, &topic, channels, as_clock, metrics.clone())?;
    tracing::info!(
        listener.id = settings.instance_id,
        kafka.group = settings.group_id,
        kafka.topic = topic,
        kafka.message_group = settings.message_group_id,
        kafka.message_topic = settings.topics.message_topic.as_deref().unwrap_or("one per user"),
        listener.min_batch_size = settings.limits.min(),
        listener.max_batch_size = settings.limits.max(),
        "listening"
    );
    let heart = heart::HeartSettings { limits: settings.limits, horizon, seed: seed(&settings.instance_id) };
    let parts = ShellParts {
        settings: heart,
        clock,
        writer: Arc::new(Writer { database, kafka: settings.kafka, maker }),
        committer,
        metrics,
        feed,
        handover,
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

/// Returns a seed, so that listeners of different names try again at different moments.
pub(crate) fn seed(instance_id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    instance_id.hash(&mut hasher);
    hasher.finish()
}

//! What the listener counts.

use platform::metrics::{counter, counters, gauge, histogram, seconds};
use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, Registry};

use crate::deliveries::metrics::DeliveryMetrics;
use crate::messages::metrics::MessageMetrics;
use crate::stall::Stall;

/// The listener's metrics, of one process.
#[derive(Clone)]
pub(crate) struct ListenerMetrics {
    pub(crate) messages: IntCounterVec,
    pub(crate) batches: IntCounterVec,
    pub(crate) batch_size: Histogram,
    pub(crate) lateness: Histogram,
    /// Stamps that left too late, whatever their batch.
    pub(crate) missed: IntCounter,
    /// Stamps that were taken from the table.
    pub(crate) overdue: IntCounter,
    /// How often the database has refused an overdue stamp.
    pub(crate) overdue_refused: IntCounter,
    pub(crate) pending: IntGauge,
    pub(crate) next_due: Gauge,
    pub(crate) partitions: IntGauge,
    pub(crate) lag: IntGauge,
    pub(crate) lag_seconds: Gauge,
    pub(crate) rebalances: IntCounter,
    pub(crate) commit_duration: Histogram,
    pub(crate) poisoned: IntGauge,
    pub(crate) unreadable: IntGauge,
    pub(crate) silent: IntGauge,
    pub(crate) refused: IntGauge,
    pub(crate) held_back: IntGauge,
    pub(crate) paused: IntGauge,
    /// What the database is asked for at the moment.
    pub(crate) stall: Stall,
    pub(crate) user_messages: MessageMetrics,
    pub(crate) deliveries: DeliveryMetrics,
}

/// Upper bounds of batch sizes.
const SIZES: [f64; 11] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 500.0, 1_000.0, 5_000.0, 10_000.0];
/// Upper bounds of lateness in seconds: from a listener's own to that of an hour without one.
const LATENESS: [f64; 16] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0, 900.0, 3_600.0];

impl ListenerMetrics {
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            stall: Stall::register(registry)?,
            user_messages: MessageMetrics::register(registry)?,
            deliveries: DeliveryMetrics::register(registry)?,
            messages: counters(
                registry,
                "queue_listener_messages_total",
                "Records that are finished, by result: processed, duplicate or dead.",
                &["result"],
            )?,
            batches: counters(registry, "queue_listener_batches_total", "Committed batches.", &["trigger"])?,
            batch_size: histogram(registry, "queue_listener_batch_size", "Stamps in a batch.", &SIZES)?,
            lateness: histogram(
                registry,
                "queue_listener_lateness_seconds",
                "How long after its due time a stamp of a deadline batch was processed, by Kafka's way or from the table.",
                &LATENESS,
            )?,
            missed: counter(
                registry,
                "queue_listener_deadlines_missed_total",
                "Stamps that left over 2 s after they were due though sent in time, in whatever batch; 0 in health.",
            )?,
            overdue: counter(
                registry,
                "queue_listener_overdue_total",
                "Stamps that were taken from the table half a second after they were due; 0 in health.",
            )?,
            overdue_refused: counter(
                registry,
                "queue_listener_overdue_refused_total",
                "How often a stamp could not be taken from the table; the log names it.",
            )?,
            pending: gauge(registry, "queue_listener_pending", "Stamps that wait for their batch.")?,
            next_due: seconds(
                registry,
                "queue_listener_next_due_seconds",
                "Seconds until the next waiting stamp falls due; 0 if none waits.",
            )?,
            partitions: gauge(
                registry,
                "queue_listener_partitions",
                "Partitions of the stamps' topic that are assigned to this process.",
            )?,
            lag: gauge(
                registry,
                "queue_listener_lag",
                "Offsets that are not committed, or not read; those behind an open transaction count.",
            )?,
            lag_seconds: seconds(
                registry,
                "queue_listener_lag_seconds",
                "For how long the oldest stamp that is not read has been known to be there; 0 without any.",
            )?,
            rebalances: counter(
                registry,
                "queue_listener_rebalances_total",
                "Partitions were given or taken.",
            )?,
            poisoned: gauge(
                registry,
                "queue_listener_poisoned_partitions",
                "Partitions of whose last 1,000 records more than a fifth died, or the last 100.",
            )?,
            unreadable: gauge(
                registry,
                "queue_listener_unreadable",
                "Consumers that stand still at a batch which the client library can't decode.",
            )?,
            silent: gauge(
                registry,
                "queue_listener_silent_partitions",
                "Partitions that have records of which none comes; a fresh consumer was made for them.",
            )?,
            held_back: gauge(
                registry,
                "queue_listener_held_back_partitions",
                "Partitions in which an open transaction of another producer holds records back.",
            )?,
            refused: gauge(
                registry,
                "queue_listener_refused",
                "What Kafka refuses until its operator acts: to read topics or to join a group, for stamps and for messages.",
            )?,
            paused: gauge(
                registry,
                "queue_listener_paused",
                "1 while nothing is read because the database can't keep up or is away, else 0.",
            )?,
            commit_duration: histogram(
                registry,
                "queue_listener_commit_duration_seconds",
                "How long the statement took that commits batches.",
                &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0],
            )?,
        };
        metrics.show_what_did_not_happen_yet();
        Ok(metrics)
    }

    fn show_what_did_not_happen_yet(&self) {
        for result in ["processed", "duplicate", "dead"] {
            self.messages.with_label_values(&[result]);
        }
        for trigger in ["min_batch_size", "deadline"] {
            self.batches.with_label_values(&[trigger]);
        }
    }
}

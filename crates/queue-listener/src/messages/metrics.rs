//! What is counted of users' messages.

use platform::metrics::{counters, gauge, seconds};
use prometheus::{Gauge, IntCounterVec, IntGauge, Registry};

/// What is counted of users' messages.
#[derive(Clone)]
pub(crate) struct MessageMetrics {
    results: IntCounterVec,
    pub(crate) topics: IntGauge,
    pub(crate) lag: IntGauge,
    pub(crate) lag_seconds: Gauge,
    pub(crate) paused: IntGauge,
}

impl MessageMetrics {
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            results: counters(
                registry,
                "queue_listener_user_messages_total",
                "Records of users' topics that are finished, by result: stored, duplicate or dead.",
                &["result"],
            )?,
            topics: gauge(
                registry,
                "queue_listener_user_message_topics",
                "Topics of users' messages of which partitions are assigned.",
            )?,
            lag: gauge(
                registry,
                "queue_listener_user_messages_lag",
                "Offsets of users' topics that are not committed, or not read.",
            )?,
            lag_seconds: seconds(
                registry,
                "queue_listener_user_messages_lag_seconds",
                "For how long the oldest message that is not stored has been known to be there; 0 without any.",
            )?,
            paused: gauge(
                registry,
                "queue_listener_user_messages_paused",
                "1 while no messages are read because the database can't keep up or is away, else 0.",
            )?,
        };
        metrics.finished(0, 0, 0);
        Ok(metrics)
    }

    /// Counts records that are finished.
    pub(crate) fn finished(&self, stored: usize, duplicate: usize, dead: usize) {
        for (result, records) in [("stored", stored), ("duplicate", duplicate), ("dead", dead)] {
            self.results.with_label_values(&[result]).inc_by(records as u64);
        }
    }
}

//! What is counted of deliveries.

use domain::delivery::schedule::Fate;
use platform::metrics::{counters, gauge, seconds};
use prometheus::{Gauge, IntCounterVec, IntGauge, Registry};

/// What is counted of deliveries.
#[derive(Clone)]
pub(crate) struct DeliveryMetrics {
    results: IntCounterVec,
    pub(crate) waiting: IntGauge,
    pub(crate) oldest: Gauge,
    /// Tries in vain since the last one that was not.
    pub(crate) failing: IntGauge,
}

impl DeliveryMetrics {
    const RESULTS: [&str; 3] = ["delivered", "retried", "failed"];

    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            results: counters(
                registry,
                "queue_listener_deliveries_total",
                "Tries to deliver a batch or a part of one, by result: delivered, retried or failed.",
                &["result"],
            )?,
            waiting: gauge(
                registry,
                "queue_listener_deliveries_waiting",
                "Parts of batches that wait to be delivered, whichever listener makes the try; counted up to 100,000.",
            )?,
            oldest: seconds(
                registry,
                "queue_listener_delivery_oldest_seconds",
                "How long ago the batch was made that waits for longest to be delivered; 0 if none waits.",
            )?,
            failing: gauge(
                registry,
                "queue_listener_deliveries_failing",
                "Tries in vain since the last batch of this listener was delivered.",
            )?,
        };
        for result in Self::RESULTS {
            metrics.results.with_label_values(&[result]);
        }
        Ok(metrics)
    }

    /// Counts what became of a try.
    pub(crate) fn result(&self, fate: Fate) {
        let result = match fate {
            Fate::Delivered => "delivered",
            Fate::Waiting(_) => "retried",
            Fate::Failed => "failed",
        };
        self.results.with_label_values(&[result]).inc();
        if fate == Fate::Delivered {
            self.failing.set(0);
        } else {
            self.failing.inc();
        }
    }
}

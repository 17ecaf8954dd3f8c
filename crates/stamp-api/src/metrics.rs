//! What the service counts.

use std::time::Duration;

use platform::metrics::{counters, gauge, seconds};
use prometheus::{Gauge, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Registry};

const REQUESTS: &str = "stamp_api_http_requests_total";
const DURATION: &str = "stamp_api_http_request_duration_seconds";
const REFUSALS: &str = "stamp_api_http_refusals_total";
const SENDS: &str = "stamp_api_message_sends_total";
const CHECKS: &str = "stamp_api_message_checks_total";
const OUTBOX_PENDING: &str = "stamp_api_outbox_pending";
const OUTBOX_OLDEST: &str = "stamp_api_outbox_oldest_seconds";
const OUTBOX_REFUSED: &str = "stamp_api_outbox_refused";

/// What a caller can be refused for: what is wrong with the token, and what else.
const REASONS: [&str; 17] = [
    "missing",
    "ambiguous",
    "too_long",
    "malformed",
    "algorithm",
    "critical",
    "signature",
    "audience",
    "issuer",
    "no_expiry",
    "expired",
    "not_yet",
    "subject",
    "scope",
    "other_user",
    "cross_site",
    "no_key",
];

/// The bounds of answers' durations in seconds: from an answer out of memory to a database that is away.
const DURATION_BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The metrics of one process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    refusals: IntCounterVec,
    sends: IntCounterVec,
    checks: IntCounterVec,
    /// Stored events of this process's owners that are not in Kafka.
    pub outbox_pending: IntGauge,
    /// The age in seconds of the oldest stored event that is not in Kafka, 0 if there is none.
    pub outbox_oldest: Gauge,
    /// Events that Kafka refuses by themselves.
    pub outbox_refused: IntGauge,
}

impl ApiMetrics {
    /// Registers all metrics of the process.
    ///
    /// # Errors
    /// If the metrics are registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let labels = ["route", "method", "status"];
        let requests = counters(registry, REQUESTS, "HTTP requests that were answered.", &labels)?;
        let duration = HistogramOpts::new(DURATION, "Time from the head of a request to its answer.")
            .buckets(DURATION_BUCKETS.to_vec());
        let duration = HistogramVec::new(duration, &["route", "method"])?;
        registry.register(Box::new(duration.clone()))?;
        let refusals = counters(
            registry,
            REFUSALS,
            "Requests whose caller may not do what was asked, by reason.",
            &["reason"],
        )?;
        let sends = counters(registry, SENDS, "Messages that clients sent, by outcome.", &["outcome"])?;
        let checks = counters(registry, CHECKS, "Checks of users' topics, by outcome.", &["outcome"])?;
        let outbox_pending = gauge(registry, OUTBOX_PENDING, "Stored events that are not in Kafka.")?;
        let outbox_oldest =
            seconds(registry, OUTBOX_OLDEST, "Age of the oldest of these events, 0 without any.")?;
        let outbox_refused = gauge(registry, OUTBOX_REFUSED, "Events that Kafka refuses; 0 in health.")?;
        // What counts from 0 shows its first one as a rise.
        for reason in REASONS {
            refusals.with_label_values(&[reason]);
        }
        for outcome in ["sent", "too_large", "too_many_topics", "refused", "unavailable"] {
            sends.with_label_values(&[outcome]);
        }
        for outcome in ["done", "busy", "refused", "unavailable", "failed"] {
            checks.with_label_values(&[outcome]);
        }
        Ok(Self {
            requests,
            duration,
            refusals,
            sends,
            checks,
            outbox_pending,
            outbox_oldest,
            outbox_refused,
        })
    }

    /// Counts an answer. Each of the three texts is one of a bounded number.
    pub fn answered(&self, route: &str, method: &str, status: &str, took: Duration) {
        self.requests.with_label_values(&[route, method, status]).inc();
        self.duration.with_label_values(&[route, method]).observe(took.as_secs_f64());
    }

    /// Counts that a caller may not do what was asked, for one of a bounded number of reasons.
    pub fn refused(&self, reason: &str) {
        debug_assert!(REASONS.contains(&reason), "{reason} counts from 0 too");
        self.refusals.with_label_values(&[reason]).inc();
    }

    /// Counts what became of a message that a client sent. The outcome is one of a bounded number.
    pub fn message_sent(&self, outcome: &str) {
        self.sends.with_label_values(&[outcome]).inc();
    }

    /// Counts what became of a check of a user's topic. The outcome is one of a bounded number.
    pub fn message_check(&self, outcome: &str) {
        self.checks.with_label_values(&[outcome]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_carry_the_names_that_dashboards_know() {
        let registry = Registry::new();
        let metrics = ApiMetrics::register(&registry).expect("a new registry");
        metrics.answered("/v1/stamps", "POST", "201", Duration::from_millis(3));
        let mut names: Vec<String> =
            registry.gather().iter().map(|family| family.name().to_owned()).collect();
        names.sort();
        let expected =
            [REFUSALS, DURATION, REQUESTS, CHECKS, SENDS, OUTBOX_OLDEST, OUTBOX_PENDING, OUTBOX_REFUSED];
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(names, expected);
    }
}

//! What the Kafka clients of this service share.

use platform::kafka::KafkaSettings;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use uuid::Uuid;

/// Returns what every producer of this service is configured with; it lacks how long a record may take.
pub(crate) fn producer_config(kafka: &KafkaSettings) -> ClientConfig {
    // As Java's clients choose partitions, so that other producers of the same keys agree.
    let partitioner = ("partitioner", "murmur2_random");
    let mut config =
        kafka.client_config_with(&[("linger.ms", "1"), ("queue.buffering.max.kbytes", "65536"), partitioner]);
    config.set("acks", "all").set("enable.idempotence", "true");
    config
}

/// Returns a new trace for each record (W3C Trace Context, section 3.2).
pub(crate) fn traceparent() -> String {
    let (trace, span) = (Uuid::new_v4().simple(), Uuid::new_v4().as_u128() as u64 | 1);
    format!("00-{trace}-{span:016x}-01")
}

/// Keeps a client's complaints out of the log: whoever waits for it hears of a failure anyway.
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(error = error.to_string(), reason, "librdkafka");
    }
}

impl ConsumerContext for Quiet {}

//! What all producers share.

use super::settings::KafkaSettings;
use domain::trace::{TRACEPARENT, TraceContext};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use uuid::Uuid;

/// Defaults of a producer for whose records somebody waits: they are sent at once, and bounded in memory.
pub const PROMPT: [(&str, &str); 2] = [("linger.ms", "1"), ("queue.buffering.max.kbytes", "65536")];

/// Returns what a producer is made from: the defaults of its kind, the operator's settings, and the promises. It lacks
/// how long a record may take.
pub fn producer_config(kafka: &KafkaSettings, defaults: &[(&str, &str)]) -> ClientConfig {
    // As Java's clients choose partitions, so that other producers of the same keys agree.
    let defaults = [defaults, &[("partitioner", "murmur2_random")]].concat();
    let mut config = kafka.client_config_with(&defaults);
    config.set("acks", "all").set("enable.idempotence", "true");
    config
}

/// Returns the headers of a record: where it was asked for, else a new trace that nobody records.
pub fn trace_headers(asked: Option<&TraceContext>) -> OwnedHeaders {
    let new = || TraceContext::new(Uuid::new_v4().as_u128(), Uuid::new_v4().as_u128() as u64 | 1, false);
    let value = asked.copied().or_else(new).map(|context| context.to_string());
    OwnedHeaders::new_with_capacity(1).insert(Header { key: TRACEPARENT, value: value.as_ref() })
}

/// Keeps a client's complaints out of the log: whoever waits for it hears of a failure anyway.
pub struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(error = error.to_string(), kafka.reason = reason, "librdkafka");
    }
}

impl ConsumerContext for Quiet {}

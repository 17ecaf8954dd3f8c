//! Kafka: what every client is configured with, topics, whether the brokers can be reached, and records.

pub mod producer;
mod properties;
pub mod reachability;
pub mod record;
pub mod refusal;
mod settings;
pub mod topics;

pub use self::settings::{ClientKind, KafkaSettings, TopicSettings};

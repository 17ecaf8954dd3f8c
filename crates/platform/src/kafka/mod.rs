//! Kafka: what every client is configured with, topics, whether the brokers can be reached, and records.

pub mod producer;
pub mod reachability;
pub mod record;
mod settings;
pub mod topics;

pub use self::settings::{KafkaSettings, TopicSettings};

//! The API on a real PostgreSQL and a real Kafka.

mod auth;
mod harness;
mod hostile;
mod log;
mod messages;
mod outbox;
mod takeover;
mod tokens;
mod wire;

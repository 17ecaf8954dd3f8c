//! The listener on a real Kafka and a real PostgreSQL. The folders mirror those of `src`.

mod deliveries;
mod dlq;
mod harness;
mod messages;
mod stamps;

//! The listener on a real Kafka and a real PostgreSQL.

mod batching;
mod dead_letters;
mod distant;
mod dlq;
mod harness;
mod messages;
mod offsets;
mod poison;
mod replays;
mod wire;

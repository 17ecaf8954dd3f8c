//! Takes stamp events from Kafka and processes them in batches, none later than its sender allowed.
//!
//! ```text
//! consumer (one thread polls) ─► record (decode) ─► pipeline (pending → policy) ─► writer ─► PostgreSQL
//!                                                        └─ frontier ─► consumer (offset commit)
//! ```

mod alarm;
pub mod app;
pub mod cli;

mod consumer;
mod dlq;
mod metrics;
mod pipeline;
mod record;
mod replay;
mod screening;
pub mod settings;
mod text;
mod writer;

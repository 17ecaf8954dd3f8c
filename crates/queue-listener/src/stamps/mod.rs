//! Stamps: from Kafka's records to batches in PostgreSQL.
//!
//! ```text
//! consumer (one thread polls) ─► record (decode) ─► shell ◄─► heart (decides) ─► writer ─► PostgreSQL
//!                                                └─ frontier ─► consumer (offset commit)
//! ```

pub(crate) mod consumer;
mod control;
mod poisoned;
mod record;
pub(crate) mod run;
mod screening;
mod shell;
mod writer;

//! Stamps: from Kafka's records to batches in PostgreSQL.
//!
//! ```text
//! consumer (one thread polls) ─► record (decode) ─► shell ◄─► heart (decides) ─► writer ─► PostgreSQL
//!                                                └─ frontier ─► consumer (offset commit)
//! ```

pub(crate) mod consumer;
mod poisoned;
mod record;
mod screening;
pub(crate) mod shell;
pub(crate) mod writer;

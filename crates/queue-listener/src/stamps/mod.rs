//! Stamps: from Kafka's records to batches in PostgreSQL.
//!
//! ```text
//! consumer (one thread polls) ─► record (decode) ─► shell ◄─► heart (decides) ─► writer ─► PostgreSQL
//!                                                └─ frontier ─► consumer (offset commit)
//! PostgreSQL (what is due) ─► overdue ◄─► net (decides) ─► PostgreSQL
//! ```

pub(crate) mod consumer;
mod control;
pub(crate) mod feed;
pub(crate) mod overdue;
mod poisoned;
mod record;
pub(crate) mod run;
mod screening;
mod shell;
mod told;
mod wake;
mod writer;

//! Takes stamp events from Kafka and processes them in batches, none later than its sender allowed; and stores users'
//! messages, beside the stamps and independent of them.
//!
//! ```text
//! consumer (one thread polls) ─► record (decode) ─► shell ◄─► heart (decides) ─► writer ─► PostgreSQL
//!                                                └─ frontier ─► consumer (offset commit)
//!
//! messages (another thread polls) ─► platform::messages ─► PostgreSQL
//! ```

pub mod app;
pub mod cli;

mod consumer;
mod dlq;
mod made_again;
mod messages;
mod metrics;
mod poisoned;
mod polling;
mod record;
mod reread;
mod screening;
pub mod settings;
mod shell;
mod stall;
mod text;
mod writer;

//! Takes stamp events from Kafka and processes them in batches, none later than its sender allowed; and stores users'
//! messages, beside the stamps and independent of them.
//!
//! * [`app`]: which parts there are, how they start and in which order they stop.
//! * `stamps`: from Kafka's records to batches; `messages`: from users' topics to rows.
//! * `group`: what both do as members of a consumer group.
//! * `deliveries`: telling the outside of batches that are committed.
//! * `dlq`: the commands that work on dead letters.
//! * `health`: when the listener is ready, and when degraded.
//! * `output`, `terminal`: what commands print.
//! * [`settings`], `metrics`, `stall`, [`cli`]: the environment, the counts, what takes too long, and the commands.

pub mod app;
pub mod cli;

mod deliveries;
mod dlq;
mod group;
mod health;
mod messages;
mod metrics;
mod output;
pub mod settings;
mod stall;
mod stamps;
mod terminal;

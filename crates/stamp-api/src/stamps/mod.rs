//! Stamps from their request to Kafka.
//!
//! * [`intake`]: stores stamps with their places in the outbox, many requests in one commit.
//! * [`outbox`]: which events are stored and not published yet; [`owners`]: the outbox's rows in the database.
//! * [`relay`]: publishes events.
//! * [`sweeper`]: publishes again what was lost after all that.

pub mod intake;
pub mod outbox;
pub mod owners;
pub mod relay;
pub mod sweeper;

//! Stamps from their request to Kafka.
//!
//! * [`intake`]: stores stamps with their places in the outbox, many requests in one commit; [`gate`] holds it for the
//!   routes.
//! * [`outbox`]: which events are stored and not published yet; [`owners`]: the outbox's rows in the database.
//! * [`relay`], [`publisher`]: from the outbox to Kafka.
//! * [`run`]: all of it from its opening to its end.

pub mod gate;
pub mod intake;
pub mod outbox;
pub mod owners;
pub mod publisher;
pub mod relay;
pub mod run;

//! `stamp-api`: HTTP in; a PostgreSQL row and a Kafka event out.
//!
//! * [`app`]: which parts there are, how they start and in which order they stop.
//! * [`routes`]: one file per resource; [`body`] reads what they are sent, [`error`] is the one map to HTTP.
//! * [`connections`]: cuts those that only stay open.
//! * [`auth`]: who calls, and what they may do.
//! * [`request_id`], [`metrics`]: what every request carries and leaves behind.
//! * [`intake`]: stores stamps with their events, many requests in one commit.
//! * [`outbox`], [`relay`]: which events are stored and not published yet; publishing them.
//! * [`sender`], [`check`]: messages to users, to Kafka and from there into the database.
//! * [`sweeper`]: publishes again what was lost after all that.
//! * [`settings`], [`cli`]: the environment and the commands.

pub mod app;
pub mod auth;
pub mod body;
pub mod check;
pub mod cli;
pub mod connections;
pub mod error;
pub mod intake;
mod kafka;
pub mod keeper;
pub mod metrics;
pub mod outbox;
pub mod relay;
pub mod request_id;
pub mod routes;
pub mod sender;
pub mod settings;
pub mod sweeper;

//! `stamp-api`: HTTP in; a PostgreSQL row and a Kafka event out.
//!
//! * [`app`]: which parts there are, how they start and in which order they stop.
//! * [`http`]: routes, bodies, errors, connections.
//! * [`auth`]: who calls, and what they may do.
//! * [`stamps`]: from a request to a row and an event.
//! * [`messages`]: to a user's topic, and from there into the database.
//! * [`settings`], [`metrics`], [`cli`]: the environment, the counts and the commands.

pub mod app;
pub mod auth;
pub mod cli;
pub mod http;
pub mod messages;
pub mod metrics;
pub mod settings;
pub mod stamps;

//! Hearts and nets of listeners in a modelled world.
//!
//! [`seeded`] makes a history out of a number and plays it: listeners with real [hearts](domain::batch::heart) and real
//! [nets](domain::batch::net) on a model of Kafka and PostgreSQL, in which everything is chosen and nothing waits. A judge looks on from the outside.
//! What breaks a promise is [shortened](shrink) and can be [played](run) again. The README says how to read a history.

#![allow(clippy::expect_used, reason = "the models are wrong where an expectation fails")]

mod client;
mod database;
pub mod deliveries;
mod group;
mod history;
mod judge;
mod log;
mod meetings;
mod member;
mod pending;
mod rest;
mod run;
mod shrink;
mod swarm;
mod world;

pub use self::history::{Choice, History, Settings};
pub use self::meetings::{Meeting, Meetings};
pub use self::run::{Outcome, run};
pub use self::shrink::shrink;
pub use self::swarm::seeded;

//! Telling the outside of batches that are committed.
//!
//! [`commands`] is for operators. [`run`] carries out what [`domain::delivery::courier`] decides; [`kafka`] and [`webhook`] tell one event. Nothing in
//! here holds up a batch: what is to be told waits in PostgreSQL.

pub(crate) mod commands;
pub(crate) mod echo;
pub(crate) mod handover;
mod kafka;
pub(crate) mod metrics;
mod outgoing;
pub(crate) mod run;
pub(crate) mod settings;
mod teller;
mod webhook;

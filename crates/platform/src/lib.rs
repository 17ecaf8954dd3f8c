//! What both services stand on, and nothing of what either of them is for.
//!
//! * [`settings`]: the environment, read once.
//! * [`kafka`]: client configuration, topics, reachability, what is common to all records.
//! * [`health`], [`admin`]: whether the process can work; `/livez`, `/readyz` and `/metrics`.
//! * [`healthcheck`], [`exit`]: asking a service whether it is ready; how a program ends.
//! * [`telemetry`], [`metrics`], [`shutdown`], [`retry`]: logs, counts, signals, patience.
//! * [`spans`], `collector`: spans of traces, and their way out; [`http_client`]: requests that a service makes.

pub mod admin;
mod collector;
pub mod descriptors;
pub mod exit;
pub mod health;
pub mod healthcheck;
pub mod http_client;
pub mod kafka;
pub mod metrics;
pub mod retry;
pub mod settings;
pub mod shutdown;
pub mod spans;
pub mod telemetry;

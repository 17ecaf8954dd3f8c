//! What both services stand on, and nothing of what either of them is for.
//!
//! * [`settings`]: the environment, read once.
//! * [`clock`]: PostgreSQL's time, kept by the process.
//! * [`postgres`]: connections, queries by table, error classes, migrations.
//! * [`kafka`]: client configuration, topics, reachability, what is common to all records.
//! * [`messages`]: from the records of users' topics to rows.
//! * [`health`], [`admin`]: whether the process can work; `/livez`, `/readyz` and `/metrics`.
//! * [`healthcheck`], [`exit`]: asking a service whether it is ready; how a program ends.
//! * [`telemetry`], [`metrics`], [`shutdown`], [`retry`]: logs, counts, signals, patience.

pub mod admin;
pub mod clock;
pub mod exit;
pub mod health;
pub mod healthcheck;
pub mod kafka;
pub mod messages;
pub mod metrics;
pub mod postgres;
pub mod retry;
pub mod settings;
pub mod shutdown;
pub mod telemetry;

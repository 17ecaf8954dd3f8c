//! PostgreSQL: all SQL of the project, what its errors mean, and the one clock.
//!
//! * [`database`]: the pools; [`settings`]: how to reach the server; [`error`]: what an error means.
//! * [`clock`]: PostgreSQL's time, kept by the process.
//! * [`migrations`], [`readiness`]: the schema, and whether it serves this version.
//! * [`stamps`]: stamps from their intake to their batches, and the outbox between.
//! * [`deliveries`]: batches that are told to the outside.
//! * [`messages`]: from decoded records of users' topics to rows, and the user's inbox and trash.
//! * [`dead_letters`]: records that could not be understood.

pub mod clock;
mod connection;
pub mod database;
pub mod dead_letters;
pub mod deliveries;
mod durable;
pub mod error;
pub mod messages;
pub mod migrations;
pub mod readiness;
pub mod schema;
pub mod settings;
pub mod stamps;
mod trouble;

pub use self::connection::Plans;
pub use self::connection::url::DatabaseUrl;
pub use self::database::Database;
pub use self::error::{DatabaseError, ErrorClass};

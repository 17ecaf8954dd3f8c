//! The database side of both services, on a real PostgreSQL.

mod intake;
mod migrations;
mod processing;
mod values;

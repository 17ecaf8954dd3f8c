//! The API on a real PostgreSQL and a real Kafka. The folders mirror those of `src`.

mod auth;
mod harness;
mod http;
mod log;
mod messages;
mod openapi;
mod rights;
mod stamps;
mod tokens;

//! HTTP: what clients can ask for, and what surrounds every request.
//!
//! * [`routes`]: one file or folder per resource, each made by [`resource`]; [`application`] puts them together.
//! * [`body`], [`query`] with its [`cursor`]: reading what a request carries, within a [`budget`] of memory; [`media_type`]: in which form.
//! * [`error`]: the one map to statuses.
//! * [`problems`], [`headers`]: those that the description of the routes has.
//! * [`caller`]: who calls, as an argument of a handler.
//! * [`holding`]: keeps what an answer needs until it is sent; [`connections`]: cuts connections that only stay open; [`request_id`], [`measure`]: what every request carries and
//!   leaves behind; [`sparing`]: what of that the log is spared; [`trace`]: where a request stands in a trace.
//! * [`state`]: what the routes share.

pub mod application;
pub mod body;
pub mod budget;
pub mod caller;
pub mod connections;
pub mod cursor;
pub mod error;
pub mod headers;
pub mod holding;
pub mod measure;
pub mod media_type;
pub mod problems;
pub mod query;
pub mod request_id;
pub mod resource;
pub mod routes;
pub mod sparing;
pub mod state;
#[cfg(test)]
mod tests;
pub mod trace;

//! Messages to users, to Kafka and from there into the database.
//!
//! * [`sender`]: sends a message to a user's topic.
//! * [`check`]: stores what is in a user's topic, which [`reader`] reads.

pub mod check;
pub mod reader;
pub mod sender;

//! Messages to users, to Kafka and from there into the database.
//!
//! * [`sender`]: sends a message to a user's topic; [`new_topics`]: how many topics one sender may have made.
//! * [`check`]: stores what is in a user's topic, which [`reader`] reads.

pub mod check;
pub mod new_topics;
pub mod reader;
pub mod sender;
mod turns;

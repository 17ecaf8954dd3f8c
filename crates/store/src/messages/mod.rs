//! Messages to users.
//!
//! * [`records`]: from decoded records to rows.
//! * [`rows`]: storing messages with the dead letters of their chunk, and how far a topic is stored.
//! * [`inbox`]: what users do with their messages.

pub mod inbox;
pub mod records;
pub mod rows;

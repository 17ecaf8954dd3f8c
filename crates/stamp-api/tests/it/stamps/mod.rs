//! Stamps: from a request to a row and an event.

mod outbox;
mod takeover;

//! Stamps: from a request to a row and an event.

mod batches;
mod intake;
mod lists;
mod outbox;
mod takeover;

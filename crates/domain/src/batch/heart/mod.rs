//! The heart of a listener: everything that it decides about stamps, without I/O.
//!
//! [`Heart::step`] takes one [`Event`] in and returns the [`Command`]s that follow from it; a thin shell carries them
//! out and reports what became of them. Whatever can be decided about partitions, offsets, batches and retries is
//! decided here, so that the same choices give the same commands and millions of orders of events can be tried.
//!
//! A second, smaller machine is the [`Reader`](reader::Reader), which lives on the thread that polls: it names
//! assignments, guards commits, and tells when a client has to be given up.
//!
//! Work is named by an [`Assignment`](super::assignment::Assignment), a partition together with the number of its
//! assignment. A partition that is taken away and comes back is another assignment, and what was begun under the first
//! moves nothing in the second.

mod backlog;
mod event;
mod ledgers;
pub mod reader;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod work;

pub use self::backlog::BACKLOG_PATIENCE;
pub use self::event::{
    Batch, Chunk, Command, Content, Distant, Event, Failure, Member, Moment, Record, Request, Screened,
    Screening, Step, Wake, Write,
};
pub use self::state::{COMMIT_PAUSE, Heart, HeartSettings, TRANSACTION};

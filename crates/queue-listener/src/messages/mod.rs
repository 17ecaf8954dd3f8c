//! Users' messages: from their topics to rows, beside the stamps and independent of them.
//!
//! ```text
//! poller (one thread polls) ─► domain (decode) ─► store (a chunk) ─► PostgreSQL
//!        └─ what is stored ─► callbacks (per partition) ─► offset commit
//! ```
//!
//! A record is finished once its chunk is stored, and chunks are stored one after the other. So the last offset of
//! each partition is all that has to be known, and no ledger is needed.

mod callbacks;
pub(crate) mod metrics;
mod patience;
pub(crate) mod poller;
pub(crate) mod run;
mod watch;

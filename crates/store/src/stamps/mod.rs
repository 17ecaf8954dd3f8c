//! Stamps from their intake to their batches.
//!
//! * [`intake`]: group commits; [`owners`]: the owners of the outbox; [`backlog`]: what they still have to publish.
//! * [`processing`]: which stamps are processed already, and processing batches of what Kafka brought or is overdue.
//! * [`distant`]: stamps that wait in the table alone.
//! * [`states`], [`lists`], [`batches`]: what readers are shown.

pub mod backlog;
pub mod batches;
pub mod distant;
pub mod intake;
pub mod lists;
pub mod owners;
pub mod processing;
pub(crate) mod row;
pub mod states;

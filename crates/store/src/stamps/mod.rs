//! Stamps from their intake to their batches.
//!
//! * [`intake`]: group commits; [`owners`]: the owners of the outbox; [`backlog`]: what they still have to publish.
//! * [`processing`]: which stamps are processed already, and processing batches.
//! * [`distant`]: stamps that wait in the table alone; [`sweep`]: stamps that are published again.
//! * [`states`], [`batches`]: what readers are shown.

pub mod backlog;
pub mod batches;
pub mod distant;
pub mod intake;
pub mod owners;
pub mod processing;
mod row;
pub mod states;
pub mod sweep;

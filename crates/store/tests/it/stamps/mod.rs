//! Stamps from their intake to their batches.

mod intake;
mod overdue;
mod processing;
mod states;

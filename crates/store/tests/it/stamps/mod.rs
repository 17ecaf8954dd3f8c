//! Stamps from their intake to their batches.

mod intake;
mod processing;
mod sweeps;

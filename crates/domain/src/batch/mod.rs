//! Deadline batching: the limits and the rule ([`policy`]), the stamps that wait ([`pending`]), the partitions that they
//! come from ([`assignment`]), what decides about a listener's stamps and offsets ([`heart`]), what leaves by the table
//! ([`net`]), and what counts as too late ([`promise`]).
//!
//! The policy looks at counts and a due time, the pending set keeps order; neither knows of the heart that asks them.

pub mod assignment;
pub mod heart;
pub mod net;
pub mod pending;
pub mod policy;
pub mod promise;
#[cfg(test)]
mod properties;
mod retry;

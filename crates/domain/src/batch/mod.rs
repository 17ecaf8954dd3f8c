//! Deadline batching: the limits and the rule ([`policy`]), the stamps that wait ([`pending`]) and the
//! offsets that are finished ([`ledger`]).
//!
//! The three know nothing of each other's insides: the policy looks at counts and a due time, the pending
//! set keeps order, the ledger keeps offsets.

pub mod heart;
pub mod ledger;
pub mod pending;
pub mod policy;
#[cfg(test)]
mod properties;

/// Where a record was read: one assignment of a partition, and the offset in it.
///
/// Assignments are numbered by the reader, each with a number of its own. Work that carries the number of an
/// assignment that has ended can't move anything in the one that followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Kafka's partition number.
    pub partition: i32,
    /// The number of the assignment during which the record was read.
    pub assignment: u32,
    /// Kafka's offset in the partition.
    pub offset: i64,
}

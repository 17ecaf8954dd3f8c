//! A partition in the hands of this member: its assignment, the places in it, and what may be committed for it.

/// One assignment of a partition to this member. Numbers are never used twice, and later ones are higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Assignment {
    /// Kafka's partition number.
    pub partition: i32,
    /// The number that the reader has given this assignment.
    pub number: u32,
}

/// The place where a record was charged. A lap is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Kafka's partition number.
    pub partition: i32,
    /// The lap during which the record was read; each assignment begins one, and so does an offset that goes back.
    pub lap: u32,
    /// Kafka's offset in the partition.
    pub offset: i64,
}

/// An offset to commit for an assignment, or one that is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The assignment on whose behalf the offset is committed.
    pub assignment: Assignment,
    /// The offset that whoever has the partition next begins with.
    pub offset: i64,
}

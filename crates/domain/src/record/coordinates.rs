//! Where a Kafka record was read.

/// The place of a Kafka record, and its timestamp, which tells records apart that had the same place: a topic that is
/// deleted and recreated begins at offset 0 again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Coordinates {
    /// Topic of the record.
    pub topic: String,
    /// Partition of the record.
    pub partition: i32,
    /// Offset of the record in its partition.
    pub offset: i64,
    /// Timestamp of the record in milliseconds since 1970; -1 if it has none.
    pub timestamp: i64,
}

//! How the pending set keeps a stamp in little memory.

use chrono::TimeDelta;

use crate::batch::assignment::Position;
use crate::stamp::{ObjectCid, TimeTolerance};

/// The end of a chain of slots.
pub(super) const NONE: u32 = u32::MAX;

/// A stamp as the slab keeps it: flat, so that a million stay small.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent of each other, and four take one word"
)]
pub(super) struct Slot {
    pub(super) object_cid: ObjectCid,
    /// The stamp's `created_date` in microseconds since 1970.
    pub(super) created: i64,
    pub(super) offset: i64,
    pub(super) partition: i32,
    pub(super) lap: u32,
    pub(super) time_tolerance: TimeTolerance,
    /// Neighbours in order of arrival, while the stamp waits.
    pub(super) earlier: u32,
    pub(super) later: u32,
    pub(super) taken: bool,
    pub(super) doubtful: bool,
    pub(super) has_row: bool,
    pub(super) sent_late: bool,
}

impl Slot {
    /// Returns when the stamp falls due, in microseconds since 1970.
    pub(super) fn due(&self) -> i64 {
        let tolerance = TimeDelta::minutes(i64::from(self.time_tolerance.minutes()));
        self.created + tolerance.num_microseconds().unwrap_or(i64::MAX)
    }

    pub(super) fn position(&self) -> Position {
        Position { partition: self.partition, lap: self.lap, offset: self.offset }
    }
}

/// A due time in microseconds since 1970, and the slot that falls due then: in three words of 32 bits, since a
/// pair with a 64-bit number would take a third more. The order is that of the times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    high: i32,
    low: u32,
    pub(super) slot: u32,
}

impl Due {
    pub(super) fn new(micros: i64, slot: u32) -> Self {
        Self { high: (micros >> 32) as i32, low: micros as u32, slot }
    }

    pub(super) fn micros(self) -> i64 {
        i64::from(self.high) << 32 | i64::from(self.low)
    }
}

//! What is so, whatever a heart thinks.

use chrono::{DateTime, TimeDelta, Utc};
use domain::stamp::Stamp;

use crate::log::Log;
use crate::pending::PendingTable;

/// What is so, whatever the heart thinks.
pub(crate) struct Facts<'a> {
    pub(crate) log: &'a Log,
    pub(crate) stamps: &'a [Option<Stamp>],
    /// Stamps whose values the database refuses.
    pub(crate) refused: &'a std::collections::BTreeSet<u8>,
    pub(crate) pending: &'a PendingTable,
    /// Microseconds since the start of the world.
    pub(crate) now: i64,
    pub(crate) start: DateTime<Utc>,
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) horizon: Option<TimeDelta>,
}

/// A broken promise, in words.
pub(crate) type Broken = Result<(), String>;

impl Facts<'_> {
    /// Returns when a stamp falls due, in microseconds of the world.
    pub(super) fn due(&self, id: u8) -> i64 {
        let stamp = self.stamps[usize::from(id)].as_ref().expect("a stamp that was appended");
        self.micros(stamp.due())
    }

    /// Returns when it is a time of PostgreSQL's, in microseconds of the world.
    pub(super) fn micros(&self, time: DateTime<Utc>) -> i64 {
        (time - self.start).num_microseconds().expect("centuries at most")
    }

    /// Returns PostgreSQL's time.
    pub(super) fn time(&self) -> DateTime<Utc> {
        self.start + TimeDelta::microseconds(self.now)
    }

    pub(super) fn is_distant(&self, id: u8) -> bool {
        self.horizon.is_some_and(|horizon| TimeDelta::microseconds(self.due(id) - self.now) > horizon)
    }
}

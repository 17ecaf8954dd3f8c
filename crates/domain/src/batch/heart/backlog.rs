//! The partitions that are being read for the first time since they were assigned.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::batch::assignment::Assignment;

/// Bounds how long a due stamp of a partition that was just assigned may wait for the rest of its backlog.
pub const BACKLOG_PATIENCE: Duration = Duration::from_secs(1);

/// Assignments whose backlog is worth waiting for, each for a while of its own.
#[derive(Debug, Default)]
pub(super) struct Backlogs {
    /// The assignment of each partition that is waited for, and until when.
    reading: BTreeMap<i32, (Assignment, Duration)>,
}

impl Backlogs {
    pub(super) fn begin(&mut self, assignment: Assignment, elapsed: Duration) {
        self.reading.insert(assignment.partition, (assignment, elapsed + BACKLOG_PATIENCE));
    }

    /// Ends the wait for an assignment: it was read to its end, or has ended.
    pub(super) fn end(&mut self, assignment: Assignment) {
        if self.reading.get(&assignment.partition).is_some_and(|(known, _)| *known == assignment) {
            self.reading.remove(&assignment.partition);
        }
    }

    /// Forgets assignments that were waited for long enough. Returns until when the next one is waited for, if any is.
    pub(super) fn waited_for_until(&mut self, elapsed: Duration) -> Option<Duration> {
        self.reading.retain(|_, (_, until)| *until > elapsed);
        self.reading.values().map(|(_, until)| *until).min()
    }

    /// Tells whether a partition's backlog is being read.
    pub(super) fn is_read(&self, partition: i32) -> bool {
        self.reading.contains_key(&partition)
    }
}
